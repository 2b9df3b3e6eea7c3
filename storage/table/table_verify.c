/* Checks a whole table file against itself: what a reader relies on but does not look at.
 *
 * All of it is read from the file again, past caches and resident index: every checksum; that blocks follow
 * one another without a gap; that keys ascend, prefixes are shared as far as they go and restart points stand
 * where they should (block_get relies on that); that each separator parts its blocks; that the filter knows
 * every key; that the properties are those of the entries.
 *
 * A visitor that wants to hear of every damage gets the next one too: a block that can't be read is left out,
 * and what depends on all of them (the properties) is then not looked at. */
#include <stdlib.h>

#include "table_filter.h"
#include "table_private.h"
#include "table_properties.h"

struct verifier {
	struct table *table;
	struct sett_error *error;
	struct table_access access;
	struct table_readahead readahead;
	struct property_collector properties;
	struct buffer last_user;
	uint64_t last_timestamp;
	struct buffer separator; /* of the block before */
	uint64_t separator_timestamp;
	uint64_t next_block; /* where the next data block must begin */
	uint64_t blocks;
	uint64_t offset; /* of the block being checked, for error texts */
	const struct table_visitor *visitor;
	bool is_damaged; /* and the visitor was told */
	bool has_gap;    /* an index block was left out: next_block is not known */
};

/* Damage that the visitor takes note of is no reason to stop. */
static int
pass_on(struct verifier *v, int status)
{
	if (status != SETT_CORRUPT || v->visitor->damage == NULL)
		return status;
	v->visitor->damage(v->visitor->arg, v->error->message);
	v->is_damaged = true;
	return SETT_OK;
}

static int
corrupt(const struct verifier *v, const char *why)
{
	return table_corrupt(v->table, v->offset, why, v->error);
}

static struct ikey
last_key(const struct verifier *v)
{
	return (struct ikey){buffer_bytes(&v->last_user), v->last_timestamp};
}

/* Rebuilds the key of `e` and holds it against the one before. */
static int
check_key(struct verifier *v, const struct block_entry *e, bool is_restart)
{
	struct buffer *user = &v->last_user;
	size_t shared = e->shared, size = shared + e->unshared;
	if (shared > user->size || (is_restart && shared != 0))
		return corrupt(v, "an entry shares more than there is");
	if (size > SETT_MAX_KEY_SIZE)
		return corrupt(v, "a key is too long");
	if (!is_restart && e->unshared && shared < user->size && e->key[0] == user->data[shared])
		return corrupt(v, "an entry shares less than it could");
	uint8_t key[SETT_MAX_KEY_SIZE];
	if (shared)
		memcpy(key, user->data, shared);
	if (e->unshared)
		memcpy(key + shared, e->key, e->unshared);
	struct ikey now = {bytes_of(key, size), e->timestamp};
	if (v->properties.properties.entries && ikey_compare(last_key(v), now) >= 0)
		return corrupt(v, "keys are out of order");
	if (v->blocks &&
	    ikey_compare((struct ikey){buffer_bytes(&v->separator), v->separator_timestamp}, now) >= 0)
		return corrupt(v, "a key is not behind the separator before it");
	if (!filter_may_contain(v->table->filter, v->table->filter_lines, table_filter_hash(now.user)))
		return corrupt(v, "the filter denies a key");
	user->size = 0;
	v->last_timestamp = e->timestamp;
	if (buffer_append(user, key, size) != SETT_OK)
		return sett_error_set(v->error, SETT_NO_MEMORY, 0, "%s: out of memory", v->table->path);
	return SETT_OK;
}

static int
check_data_block(struct verifier *v, const struct block *b)
{
	struct block_view view;
	if (block_view_parse(b, &view) != SETT_OK)
		return corrupt(v, "a data block's restart points do not fit");
	uint32_t restart = 0;
	for (const uint8_t *p = view.data; p < view.limit;) {
		struct block_entry e;
		if (!block_entry_decode(p, view.limit, &e))
			return corrupt(v, "an entry does not fit its block");
		bool is_restart = restart < view.restart_count &&
			block_restart(&view, restart) == (uint32_t)(p - view.data);
		if (p == view.data && !is_restart)
			return corrupt(v, "a block does not begin with a restart point");
		int r = check_key(v, &e, is_restart);
		if (r != SETT_OK)
			return r;
		r = property_collector_add(&v->properties, last_key(v), block_entry_value(&e));
		if (r != SETT_OK)
			return r == SETT_CORRUPT ? corrupt(v, "an entry's value is malformed") : r;
		if (v->visitor->entry)
			r = v->visitor->entry(v->visitor->arg, last_key(v), block_entry_value(&e), v->offset);
		if (r != SETT_OK)
			return r;
		restart += is_restart;
		p = e.next;
	}
	return restart == view.restart_count ? SETT_OK : corrupt(v, "a restart point is not an entry");
}

/* The block of entry `i` of an index block, and the separator behind it. */
static int
check_child(struct verifier *v, const struct index_view *index, uint32_t i)
{
	struct block *b;
	uint64_t end = index_offset(index, i + 1);
	v->offset = index_offset(index, i);
	int r = table_block(v->table, v->offset, end, &v->access, &b, v->error);
	if (r == SETT_OK) {
		r = check_data_block(v, b);
		block_release(b);
	}
	bool is_whole = r == SETT_OK;
	r = pass_on(v, r);
	if (r != SETT_OK)
		return r;
	buffer_clear(&v->separator);
	if ((r = index_separator(index, i, &v->separator)) != SETT_OK)
		return r;
	v->separator_timestamp = index_timestamp(index, i);
	v->blocks++;
	if (is_whole &&
	    ikey_compare(last_key(v), (struct ikey){buffer_bytes(&v->separator), v->separator_timestamp}) > 0)
		return corrupt(v, "a separator is before its block's last key");
	return SETT_OK;
}

static int
check_index_block(struct verifier *v, const struct index_view *index, uint64_t index_offset_in_file)
{
	for (uint32_t i = 0; i < index->count; i++) {
		uint64_t offset = index_offset(index, i);
		bool follows = offset == v->next_block || v->has_gap;
		v->has_gap = false;
		v->offset = index_offset_in_file;
		v->next_block = index_offset(index, i + 1);
		int r = follows ? check_child(v, index, i)
				: corrupt(v, "data blocks do not follow one another");
		r = pass_on(v, r);
		if (r != SETT_OK)
			return r;
	}
	return SETT_OK;
}

static int
check_top_entry(struct verifier *v, uint32_t i)
{
	struct table *t = v->table;
	uint64_t offset = index_offset(&t->top, i);
	struct block *b;
	v->offset = offset;
	int r = table_block(t, offset, index_offset(&t->top, i + 1), &v->access, &b, v->error);
	if (r != SETT_OK) {
		v->has_gap = true;
		return r;
	}
	struct index_view index = index_view_again(bytes_of(b->data, b->size));
	struct buffer top_separator = {0};
	if (i + 1 < t->top.count && index.count != t->footer.index_fanout)
		r = corrupt(v, "an index block is not full");
	if (r == SETT_OK)
		r = check_index_block(v, &index, offset);
	if (r == SETT_OK)
		r = index_separator(&t->top, i, &top_separator);
	v->offset = offset;
	if (r == SETT_OK &&
	    (!bytes_equal(buffer_bytes(&top_separator), buffer_bytes(&v->separator)) ||
	     index_timestamp(&t->top, i) != v->separator_timestamp))
		r = corrupt(v, "the top index disagrees with an index block");
	buffer_free(&top_separator);
	block_release(b);
	return r;
}

/* Every index block, and through it every data block. */
static int
check_blocks(struct verifier *v)
{
	int r = SETT_OK;
	for (uint32_t i = 0; i < v->table->top.count && r == SETT_OK; i++)
		r = pass_on(v, check_top_entry(v, i));
	return r;
}

/* Top index, filter, properties and footer were verified when the table was opened; the file may have rotted
 * since. */
static int
check_rest(struct verifier *v)
{
	const struct table *t = v->table;
	const uint64_t bounds[] = {t->footer.index_end, t->footer.top_end, t->footer.filter_end,
				   t->footer.properties_end};
	int r = SETT_OK;
	for (size_t i = 0; i + 1 < sizeof(bounds) / sizeof(bounds[0]) && r == SETT_OK; i++) {
		uint8_t *memory = malloc((size_t)(bounds[i + 1] - bounds[i]));
		if (!memory)
			return sett_error_set(v->error, SETT_NO_MEMORY, 0, "%s: out of memory", t->path);
		r = pass_on(v,
			    table_read_raw(t, bounds[i], bounds[i + 1], memory, "a block's checksum is wrong",
					   v->error));
		free(memory);
	}
	if (r != SETT_OK)
		return r;
	uint8_t stored[TABLE_FOOTER_SIZE], expected[TABLE_FOOTER_SIZE];
	table_footer_encode(&t->footer, expected);
	size_t got;
	r = vfs_read(t->file, stored, sizeof(stored), t->footer.properties_end, 0, &got, v->error);
	if (r != SETT_OK)
		return r;
	v->offset = t->footer.properties_end;
	if (got != sizeof(stored) || memcmp(stored, expected, sizeof(stored)) != 0)
		return pass_on(v, corrupt(v, "the footer has changed"));
	return SETT_OK;
}

static int
check_properties(struct verifier *v)
{
	v->offset = v->table->footer.filter_end;
	int r = property_collector_finish(&v->properties, last_key(v));
	if (r != SETT_OK)
		return sett_error_set(v->error, r, 0, "%s: out of memory", v->table->path);
	if (v->next_block != v->table->footer.data_end || v->blocks != v->table->data_blocks)
		return corrupt(v, "the index does not cover the data");
	if (!table_properties_equal(&v->properties.properties, &v->table->properties))
		return corrupt(v, "the properties are not those of the entries");
	return SETT_OK;
}

int
table_examine(struct table *t, const struct table_visitor *visitor, struct sett_error *error)
{
	struct sett_error found = {0};
	struct verifier v = {.table = t, .error = &found, .visitor = visitor};
	v.access = (struct table_access){TABLE_NO_FILL, true, &v.readahead};
	property_collector_init(&v.properties);
	int r = check_rest(&v);
	if (r == SETT_OK)
		r = check_blocks(&v);
	if (r == SETT_OK && !v.is_damaged)
		r = pass_on(&v, check_properties(&v));
	property_collector_free(&v.properties);
	table_readahead_free(&v.readahead);
	buffer_free(&v.last_user);
	buffer_free(&v.separator);
	if (r == SETT_OK && v.is_damaged)
		r = SETT_CORRUPT;
	if (r != SETT_OK && error)
		*error = found;
	return r;
}

int
table_verify(struct table *t, struct sett_error *error)
{
	return table_examine(t, &(struct table_visitor){0}, error);
}
