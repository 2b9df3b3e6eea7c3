/* Writes a table: data blocks as entries come, then index blocks, top index, filter, properties, footer.
 *
 * Memory: the unfinished block, a write run of about 256 KiB, eight bytes a user key for the filter, and the
 * separators (the whole index, near one percent of the data).
 *
 * A block's separator is chosen when the first key behind it is known: the shortest user key that still parts
 * the two, so that index blocks stay small. Between versions of one user key, and behind the last block, it
 * is the block's last key itself.
 *
 * Invariants
 * - `offset` is where the first byte of `out` will stand in the file; a block's checksum is made with the
 *   place it will have.
 * - After a failure the builder only fails again. */
#include <assert.h>
#include <stdlib.h>

#include "seal.h"
#include "table_block.h"
#include "table_filter.h"
#include "table_index.h"
#include "table_properties.h"

enum { DEFAULT_BLOCK_SIZE = 4096, WRITE_RUN = 256 * 1024 };

struct table_builder {
	struct vfs_file *file;
	struct table_builder_options options;
	uint64_t offset;   /* bytes written to the file */
	struct buffer out; /* bytes to be written behind them */
	struct block_builder block;
	struct block_packer packer;
	struct index_builder index;
	struct filter_builder filter;
	struct property_collector properties;
	bool separator_due;         /* `block` was packed; its separator waits for the next key */
	uint64_t last_block_offset; /* of the block that waits */
	int status;
};

int
table_builder_create(struct vfs_file *file, const struct table_builder_options *options,
		     struct table_builder **ret)
{
	struct table_builder *b = calloc(1, sizeof(*b));
	if (!b)
		return SETT_NO_MEMORY;
	b->file = file;
	b->options = *options;
	if (b->options.block_size == 0)
		b->options.block_size = DEFAULT_BLOCK_SIZE;
	b->packer.level = options->zstd_level;
	b->packer.keys = vfs_seals(file->vfs) ? file->vfs->keys : NULL;
	property_collector_init(&b->properties);
	*ret = b;
	return SETT_OK;
}

void
table_builder_destroy(struct table_builder *b)
{
	if (!b)
		return;
	buffer_free(&b->out);
	block_builder_free(&b->block);
	block_packer_free(&b->packer);
	index_builder_free(&b->index);
	filter_builder_free(&b->filter);
	property_collector_free(&b->properties);
	free(b);
}

uint64_t
table_builder_size(const struct table_builder *b)
{
	return b->offset + b->out.size + block_builder_size(&b->block);
}

uint64_t
table_builder_entries(const struct table_builder *b)
{
	return b->properties.properties.entries;
}

uint64_t
table_builder_referenced_bytes(const struct table_builder *b)
{
	return b->properties.properties.referenced_bytes;
}

static int
fail(struct table_builder *b, int status, struct sett_error *error)
{
	b->status = status;
	return sett_error_set(error, status, 0, "table %llu cannot be written: %s",
			      (unsigned long long)b->options.number, sett_status_text(status));
}

static int
flush_out(struct table_builder *b, struct sett_error *error)
{
	if (b->out.size == 0)
		return SETT_OK;
	int r = vfs_write_bytes(b->file, b->out.data, b->out.size, b->offset, error);
	if (r != SETT_OK) {
		b->status = r;
		return r;
	}
	b->offset += b->out.size;
	buffer_clear(&b->out);
	return SETT_OK;
}

/* Puts one block behind what is there. */
static int
put_block(struct table_builder *b, struct bytes payload, enum table_compression compression,
	  struct sett_error *error)
{
	int r = block_pack(&b->packer, payload, compression, b->options.number, b->offset + b->out.size,
			   &b->out);
	if (r != SETT_OK)
		return fail(b, r, error);
	return b->out.size >= WRITE_RUN ? flush_out(b, error) : SETT_OK;
}

static int
finish_data_block(struct table_builder *b, struct sett_error *error)
{
	int r = block_builder_finish(&b->block);
	if (r != SETT_OK)
		return fail(b, r, error);
	assert(!b->separator_due && b->block.data.size > 0);
	b->last_block_offset = b->offset + b->out.size;
	b->separator_due = true;
	r = put_block(b, buffer_bytes(&b->block.data), b->options.compression, error);
	block_builder_reset(&b->block);
	return r;
}

/* A short key s with last <= s < next, in `room` if it is not `last` itself. */
static struct ikey
separator_between(struct ikey last, struct bytes next_user, uint8_t room[SETT_MAX_KEY_SIZE])
{
	struct bytes a = last.user, b = next_user;
	size_t n = a.size < b.size ? a.size : b.size, i = 0;
	while (i < n && a.data[i] == b.data[i])
		i++;
	/* One more byte than they share, one higher than last's: still below next if it has room there, or if
	 * next goes on behind it. */
	if (i >= n || i + 1 >= a.size || a.data[i] == 0xff)
		return last;
	if (a.data[i] + 1 == b.data[i] && b.size == i + 1)
		return last;
	memcpy(room, a.data, i + 1);
	room[i]++;
	return (struct ikey){bytes_of(room, i + 1), 0};
}

static int
add_separator(struct table_builder *b, const struct bytes *next_user, struct sett_error *error)
{
	assert(b->separator_due);
	uint8_t room[SETT_MAX_KEY_SIZE];
	struct ikey last = {buffer_bytes(&b->block.last_user), b->block.last_timestamp};
	struct ikey separator = next_user ? separator_between(last, *next_user, room) : last;
	/* A timestamp of 0 sorts behind all versions, so the next key must lie behind the separator even
	 * where it continues it; and a key equal to it is not its version. */
	int r = index_builder_add(&b->index, separator, b->last_block_offset);
	b->separator_due = false;
	return r == SETT_OK ? r : fail(b, r, error);
}

static int
check_add(struct table_builder *b, struct ikey key, struct bytes value, struct sett_error *error)
{
	if (b->status != SETT_OK)
		return fail(b, b->status, error);
	if (key.user.size > SETT_MAX_KEY_SIZE || value.size > TABLE_MAX_VALUE_SIZE)
		return fail(b, SETT_TOO_LARGE, error);
	struct ikey last = {buffer_bytes(&b->block.last_user), b->block.last_timestamp};
	if (table_builder_entries(b) && ikey_compare(last, key) >= 0)
		return fail(b, SETT_INVALID, error);
	return SETT_OK;
}

int
table_builder_add(struct table_builder *b, struct ikey key, struct bytes value, struct sett_error *error)
{
	int r = check_add(b, key, value, error);
	if (r != SETT_OK)
		return r;
	/* A large entry gets a block of its own, so that small ones do not drag it along. */
	size_t size = block_builder_size(&b->block);
	if (size && size + key.user.size + value.size > b->options.block_size * 2 &&
	    (r = finish_data_block(b, error)) != SETT_OK)
		return r;
	if (b->separator_due && (r = add_separator(b, &key.user, error)) != SETT_OK)
		return r;
	r = property_collector_add(&b->properties, key, value);
	if (r == SETT_OK)
		r = filter_builder_add(&b->filter, table_filter_hash(key.user));
	if (r == SETT_OK)
		r = block_builder_add(&b->block, key, value);
	if (r != SETT_OK)
		return fail(b, r, error);
	return block_builder_size(&b->block) >= b->options.block_size ? finish_data_block(b, error) : SETT_OK;
}

/* ---- the end of the file ---- */

static uint64_t
here(const struct table_builder *b)
{
	return b->offset + b->out.size;
}

/* Index blocks of TABLE_INDEX_FANOUT entries each, then the top index over them. */
static int
put_index(struct table_builder *b, struct table_footer *footer, struct sett_error *error)
{
	struct index_builder top = {0};
	struct buffer payload = {0};
	int r = SETT_OK;
	for (size_t i = 0; i < b->index.count && r == SETT_OK; i += TABLE_INDEX_FANOUT) {
		size_t left = b->index.count - i;
		size_t count = left < TABLE_INDEX_FANOUT ? left : TABLE_INDEX_FANOUT;
		uint64_t end =
			i + count < b->index.count ? b->index.entries[i + count].offset : footer->data_end;
		buffer_clear(&payload);
		r = index_builder_encode(&b->index, i, count, end, &payload);
		if (r == SETT_OK)
			r = index_builder_add(&top, index_builder_separator(&b->index, i + count - 1),
					      here(b));
		if (r == SETT_OK)
			r = put_block(b, buffer_bytes(&payload), TABLE_RAW, error);
	}
	assert(here(b) >= footer->data_end);
	footer->index_end = here(b);
	buffer_clear(&payload);
	if (r == SETT_OK)
		r = index_builder_encode(&top, 0, top.count, footer->index_end, &payload);
	if (r == SETT_OK)
		r = put_block(b, buffer_bytes(&payload), TABLE_RAW, error);
	footer->top_end = here(b);
	buffer_free(&payload);
	index_builder_free(&top);
	return r == SETT_OK || b->status != SETT_OK ? r : fail(b, r, error);
}

static int
put_filter(struct table_builder *b, struct table_footer *footer, struct sett_error *error)
{
	struct buffer payload = {0};
	int r = filter_builder_encode(&b->filter, &payload);
	r = r == SETT_OK ? put_block(b, buffer_bytes(&payload), TABLE_RAW, error) : fail(b, r, error);
	buffer_free(&payload);
	footer->filter_end = here(b);
	return r;
}

static int
put_properties(struct table_builder *b, struct table_footer *footer, struct sett_error *error)
{
	struct buffer payload = {0};
	int r = table_properties_encode(&b->properties.properties, b->index.count, &payload);
	r = r == SETT_OK ? put_block(b, buffer_bytes(&payload), TABLE_RAW, error) : fail(b, r, error);
	buffer_free(&payload);
	footer->properties_end = here(b);
	return r;
}

static int
put_footer(struct table_builder *b, const struct table_footer *footer, struct sett_error *error)
{
	int r = buffer_reserve(&b->out, TABLE_FOOTER_SIZE);
	if (r != SETT_OK)
		return fail(b, r, error);
	table_footer_encode(footer, b->out.data + b->out.size);
	b->out.size += TABLE_FOOTER_SIZE;
	return flush_out(b, error);
}

int
table_builder_finish(struct table_builder *b, struct table_properties *ret, uint64_t *ret_size,
		     struct sett_error *error)
{
	if (b->status != SETT_OK || table_builder_entries(b) == 0)
		return fail(b, b->status ? b->status : SETT_INVALID, error);
	int r = SETT_OK;
	struct ikey last = {buffer_bytes(&b->block.last_user), b->block.last_timestamp};
	if (b->block.entries)
		r = finish_data_block(b, error);
	if (r == SETT_OK)
		r = add_separator(b, NULL, error);
	if (r != SETT_OK)
		return r;
	if ((r = property_collector_finish(&b->properties, last)) != SETT_OK)
		return fail(b, r, error);
	struct table_footer footer = {.number = b->options.number,
				      .version = b->packer.keys ? TABLE_SEALED_VERSION : TABLE_VERSION,
				      .index_fanout = TABLE_INDEX_FANOUT,
				      .data_end = here(b)};
	if ((r = put_index(b, &footer, error)) != SETT_OK || (r = put_filter(b, &footer, error)) != SETT_OK ||
	    (r = put_properties(b, &footer, error)) != SETT_OK ||
	    (r = put_footer(b, &footer, error)) != SETT_OK)
		return r;
	assert(footer.data_end <= footer.index_end && footer.index_end < footer.top_end);
	assert(footer.top_end < footer.filter_end && footer.filter_end < footer.properties_end);
	assert(b->out.size == 0 && b->offset == footer.properties_end + TABLE_FOOTER_SIZE);
	*ret = b->properties.properties;
	b->properties.properties = (struct table_properties){0};
	*ret_size = b->offset;
	b->status = SETT_INVALID; /* nothing more may be added */
	return SETT_OK;
}
