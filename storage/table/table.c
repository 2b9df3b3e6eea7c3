/* Open tables: opening, point reads, sampling.
 *
 * A point read costs, in this order: one cache line of the filter; a search of the top index and of one index
 * block, over arrays of 64-bit words; one look into the block cache; a search of the restart points and up to
 * sixteen entries of the data block. Nothing is allocated or copied when the block is cached.
 *
 *     filter -> top index -> index block -> block cache -> data block
 *
 * Index blocks of tables whose whole index is at most RESIDENT_INDEX bytes stay in memory (about 24 MiB of
 * 4 KiB blocks with short keys); those of larger tables go through the block cache like data blocks.
 *
 * Invariant: sizes are trusted only after they were held against the file's length, so that a damaged file
 * cannot ask for more memory than it is long, but for one compressed block (TABLE_MAX_COMPRESSED). */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

#include "seal.h"
#include "table_filter.h"
#include "table_private.h"
#include "table_properties.h"

enum {
	RESIDENT_INDEX = 256 * 1024,
	STACK_READ = 8 * 1024, /* stored blocks up to this size are read into the stack */
	READAHEAD_MIN = 16 * 1024,
	READAHEAD_MAX = 256 * 1024,
};

static int
table_refuse(const struct table *t, int status, uint64_t offset, const char *why, struct sett_error *error)
{
	return sett_error_set(error, status, 0, "%s at offset %llu: %s", t->path, (unsigned long long)offset,
			      why);
}

int
table_corrupt(const struct table *t, uint64_t offset, const char *why, struct sett_error *error)
{
	return table_refuse(t, SETT_CORRUPT, offset, why, error);
}

static int
no_memory(const struct table *t, struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", t->path);
}

/* ---- reading bytes ---- */

static int
read_bytes(const struct table *t, uint8_t *p, size_t size, uint64_t offset, unsigned flags,
	   struct sett_error *error)
{
	size_t got;
	int r = vfs_read(t->file, p, size, offset, flags & TABLE_NOWAIT ? VFS_NOWAIT : 0, &got, error);
	if (r != SETT_OK)
		return r;
	return got == size ? SETT_OK : table_corrupt(t, offset + got, "the file is cut off", error);
}

void
table_readahead_free(struct table_readahead *a)
{
	free(a->data);
	*a = (struct table_readahead){0};
}

/* Makes [offset, offset + size) part of the run. */
static int
read_ahead(const struct table *t, struct table_readahead *a, uint64_t offset, size_t size, unsigned flags,
	   struct sett_error *error)
{
	if (offset >= a->offset && offset - a->offset <= a->size && size <= a->size - (offset - a->offset))
		return SETT_OK;
	/* Runs grow while the reader goes on where the last one ended. */
	bool sequential = a->size && offset >= a->offset && offset - a->offset <= a->size;
	a->run = sequential && a->run ? a->run * 2 : READAHEAD_MIN;
	if (a->run > READAHEAD_MAX)
		a->run = READAHEAD_MAX;
	uint64_t left = t->footer.data_end - offset;
	size_t want = a->run > size ? a->run : size;
	if (want > left)
		want = (size_t)left;
	if (want > a->capacity) {
		free(a->data);
		a->size = a->capacity = 0;
		a->data = malloc(want);
		if (!a->data)
			return no_memory(t, error);
		a->capacity = want;
	}
	a->size = 0;
	int r = read_bytes(t, a->data, want, offset, flags, error);
	if (r != SETT_OK)
		return r;
	a->offset = offset;
	a->size = want;
	return SETT_OK;
}

/* Reads and unpacks a block, past the cache. */
static int
load_block(struct table *t, uint64_t offset, size_t size, const struct table_access *access,
	   struct block **ret, struct sett_error *error)
{
	uint8_t stack[STACK_READ];
	uint8_t *heap = NULL;
	const uint8_t *stored = stack;
	int r;
	if (access->readahead && offset < t->footer.data_end) {
		r = read_ahead(t, access->readahead, offset, size, access->flags, error);
		stored = access->readahead->data + (offset - access->readahead->offset);
	} else {
		if (size > STACK_READ) {
			stored = heap = malloc(size);
			if (!heap)
				return no_memory(t, error);
		}
		r = read_bytes(t, heap ? heap : stack, size, offset, access->flags, error);
	}
	if (r == SETT_OK) {
		const char *why = "a block cannot be read";
		r = block_unpack(bytes_of(stored, size), t->number, offset, t->keys, t->cache, ret, &why);
		if (r == SETT_CORRUPT || r == SETT_IO)
			table_refuse(t, r, offset, why, error);
		else if (r != SETT_OK)
			no_memory(t, error);
	}
	free(heap);
	return r;
}

/* What stands in the cache was checked once: data blocks have a restart array that fits, index blocks can be
 * searched unchecked. */
static int
check_block(const struct table *t, uint64_t offset, const struct block *b, struct sett_error *error)
{
	if (offset < t->footer.data_end) {
		struct block_view view;
		if (block_view_parse(b, &view) != SETT_OK)
			return table_corrupt(t, offset, "a data block's restart points do not fit", error);
		return SETT_OK;
	}
	struct index_view index;
	if (index_view_parse(bytes_of(b->data, b->size), &index) != SETT_OK)
		return table_corrupt(t, offset, "an index block is malformed", error);
	if (index.count > t->footer.index_fanout || index_offset(&index, index.count) > t->footer.data_end)
		return table_corrupt(t, offset, "an index block points outside the data", error);
	return SETT_OK;
}

int
table_block(struct table *t, uint64_t offset, uint64_t end, const struct table_access *access,
	    struct block **ret, struct sett_error *error)
{
	if (end > t->footer.index_end || offset >= end || end - offset > TABLE_MAX_BLOCK_SIZE ||
	    end - offset <= TABLE_TRAILER_SIZE)
		return table_corrupt(t, offset, "a block's place is out of range", error);
	struct block *b =
		t->cache && !access->bypass_cache ? block_cache_lookup(t->cache, t->number, offset) : NULL;
	if (b) {
		*ret = b;
		return SETT_OK;
	}
	int r = load_block(t, offset, (size_t)(end - offset), access, &b, error);
	if (r != SETT_OK)
		return r;
	r = check_block(t, offset, b, error);
	if (r != SETT_OK) {
		block_release(b);
		return r;
	}
	if (t->cache && !access->bypass_cache && !(access->flags & TABLE_NO_FILL))
		block_cache_insert(t->cache, t->number, offset, b);
	*ret = b;
	return SETT_OK;
}

int
table_index(struct table *t, uint32_t i, const struct table_access *access, struct index_view *ret,
	    struct block **ret_pin, struct sett_error *error)
{
	if (t->index) {
		*ret = t->index[i];
		*ret_pin = NULL;
		return SETT_OK;
	}
	struct block *b;
	int r = table_block(t, index_offset(&t->top, i), index_offset(&t->top, i + 1), access, &b, error);
	if (r != SETT_OK)
		return r;
	*ret = index_view_again(bytes_of(b->data, b->size));
	*ret_pin = b;
	return SETT_OK;
}

int
table_find(struct table *t, struct ikey target, const struct table_access *access, uint64_t *ret_offset,
	   uint64_t *ret_end, struct sett_error *error)
{
	uint32_t i = index_find(&t->top, target);
	if (i == t->top.count)
		return SETT_NOT_FOUND;
	struct index_view index;
	struct block *pin;
	int r = table_index(t, i, access, &index, &pin, error);
	if (r != SETT_OK)
		return r;
	uint32_t j = index_find(&index, target);
	if (j == index.count) {
		r = table_corrupt(t, index_offset(&t->top, i), "an index block ends before its separator",
				  error);
	} else {
		*ret_offset = index_offset(&index, j);
		*ret_end = index_offset(&index, j + 1);
	}
	block_release(pin);
	return r;
}

/* ---- opening ---- */

int
table_read_raw(const struct table *t, uint64_t offset, uint64_t end, uint8_t *memory, const char *what,
	       struct sett_error *error)
{
	size_t size = (size_t)(end - offset), payload = size - TABLE_TRAILER_SIZE;
	int r = read_bytes(t, memory, size, offset, 0, error);
	if (r != SETT_OK)
		return r;
	if (get_le64(memory + payload + 1) != hash64(memory, payload + 1, table_seed(t->number, offset)) ||
	    memory[payload] != (t->keys ? TABLE_RAW | TABLE_SEALED : TABLE_RAW))
		return table_corrupt(t, offset, what, error);
	if (!t->keys)
		return SETT_OK;
	r = block_decrypt(bytes_of(memory, payload), memory[payload], t->number, offset, t->keys, memory,
			  &what);
	return r == SETT_OK ? r : table_refuse(t, r, offset, what, error);
}

/* Bytes of what is stored raw in `size` bytes. */
static size_t
raw_size(const struct table *t, uint64_t size)
{
	uint64_t beside = TABLE_TRAILER_SIZE + (t->keys ? SEAL_SIZE : 0);
	return size > beside ? (size_t)(size - beside) : 0;
}

static int
read_footer(struct table *t, struct sett_error *error)
{
	int r = vfs_size(t->file, &t->file_size, error);
	if (r != SETT_OK)
		return r;
	if (t->file_size < TABLE_FOOTER_SIZE)
		return table_corrupt(t, 0, "too short for a table", error);
	uint8_t footer[TABLE_FOOTER_SIZE];
	uint64_t offset = t->file_size - TABLE_FOOTER_SIZE;
	r = read_bytes(t, footer, sizeof(footer), offset, 0, error);
	if (r != SETT_OK)
		return r;
	const char *why;
	r = table_footer_decode(footer, t->file_size, t->number, &t->footer, &why);
	if (r != SETT_OK)
		return table_corrupt(t, offset, why, error);
	t->keys = t->footer.version == TABLE_SEALED_VERSION ? t->file->vfs->keys : NULL;
	if (t->footer.version == TABLE_SEALED_VERSION && !t->keys)
		return table_refuse(t, SETT_IO, offset, "it is encrypted, and no key was given", error);
	if (!t->keys && !vfs_takes_plain(t->file->vfs))
		return table_corrupt(t, offset, "it is not encrypted, though the database is", error);
	return SETT_OK;
}

static int
read_properties(struct table *t, struct sett_error *error)
{
	uint64_t offset = t->footer.filter_end;
	size_t size = (size_t)(t->footer.properties_end - offset);
	uint8_t *memory = malloc(size);
	if (!memory)
		return no_memory(t, error);
	int r = table_read_raw(t, offset, t->footer.properties_end, memory,
			       "the properties' checksum is wrong", error);
	if (r == SETT_OK) {
		r = table_properties_decode(bytes_of(memory, raw_size(t, size)), &t->properties,
					    &t->data_blocks);
		if (r == SETT_CORRUPT)
			table_corrupt(t, offset, "the properties are malformed", error);
		else if (r != SETT_OK)
			no_memory(t, error);
	}
	free(memory);
	return r;
}

static int
read_filter(struct table *t, struct sett_error *error)
{
	uint64_t offset = t->footer.top_end, size = t->footer.filter_end - offset;
	uint64_t payload = raw_size(t, size);
	if (payload % TABLE_FILTER_LINE != 0 || payload / TABLE_FILTER_LINE > UINT32_MAX)
		return table_corrupt(t, offset, "the filter's size is out of range", error);
	size_t room = (size_t)(size + TABLE_FILTER_LINE - 1) / TABLE_FILTER_LINE * TABLE_FILTER_LINE;
	t->filter = aligned_alloc(TABLE_FILTER_LINE, room);
	if (!t->filter)
		return no_memory(t, error);
	t->filter_lines = (uint32_t)(payload / TABLE_FILTER_LINE);
	t->memory += room;
	return table_read_raw(t, offset, t->footer.filter_end, t->filter, "the filter's checksum is wrong",
			      error);
}

static int
read_top(struct table *t, struct sett_error *error)
{
	const struct table_footer *f = &t->footer;
	uint64_t size = f->top_end - f->index_end;
	if (size > TABLE_MAX_BLOCK_SIZE)
		return table_corrupt(t, f->index_end, "the top index's size is out of range", error);
	t->top_block = block_allocate((uint32_t)size);
	if (!t->top_block)
		return no_memory(t, error);
	t->memory += size;
	int r = table_read_raw(t, f->index_end, f->top_end, t->top_block->data,
			       "the top index's checksum is wrong", error);
	if (r != SETT_OK)
		return r;
	if (index_view_parse(bytes_of(t->top_block->data, raw_size(t, size)), &t->top) != SETT_OK)
		return table_corrupt(t, f->index_end, "the top index is malformed", error);
	uint64_t blocks = t->data_blocks / f->index_fanout + (t->data_blocks % f->index_fanout != 0);
	if (index_offset(&t->top, 0) != f->data_end || index_offset(&t->top, t->top.count) != f->index_end ||
	    t->top.count != blocks)
		return table_corrupt(t, f->index_end, "the top index does not cover the index", error);
	return SETT_OK;
}

/* Every index block into memory, if there is not much of them. */
static int
read_index(struct table *t, struct sett_error *error)
{
	if (t->footer.index_end - t->footer.data_end > RESIDENT_INDEX)
		return SETT_OK;
	uint32_t count = t->top.count;
	t->index_blocks = calloc(count, sizeof(*t->index_blocks));
	struct index_view *views = calloc(count, sizeof(*views));
	int r = t->index_blocks && views ? SETT_OK : no_memory(t, error);
	struct table_access access = {.bypass_cache = true};
	uint64_t next = 0;
	for (uint32_t i = 0; i < count && r == SETT_OK; i++) {
		uint64_t offset = index_offset(&t->top, i);
		r = table_block(t, offset, index_offset(&t->top, i + 1), &access, &t->index_blocks[i], error);
		if (r != SETT_OK)
			break;
		const struct block *b = t->index_blocks[i];
		views[i] = index_view_again(bytes_of(b->data, b->size));
		if (index_offset(&views[i], 0) != next)
			r = table_corrupt(t, offset, "an index block does not follow the one before", error);
		next = index_offset(&views[i], views[i].count);
		t->memory += sizeof(*b) + b->size + sizeof(*views) + sizeof(*t->index_blocks);
	}
	if (r == SETT_OK && next != t->footer.data_end)
		r = table_corrupt(t, t->footer.data_end, "the index does not cover the data", error);
	if (r != SETT_OK) {
		free(views);
		return r;
	}
	t->index = views;
	return SETT_OK;
}

int
table_open(struct vfs_file *file, const char *path, uint64_t number, struct block_cache *cache,
	   struct table **ret, struct sett_error *error)
{
	struct table *t = calloc(1, sizeof(*t));
	if (!t || !(t->path = strdup(path))) {
		free(t);
		vfs_close(file, NULL);
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", path);
	}
	t->file = file;
	t->number = number;
	t->cache = cache;
	t->memory = sizeof(*t) + strlen(path) + 1;
	int r;
	if ((r = read_footer(t, error)) != SETT_OK || (r = read_properties(t, error)) != SETT_OK ||
	    (r = read_filter(t, error)) != SETT_OK || (r = read_top(t, error)) != SETT_OK ||
	    (r = read_index(t, error)) != SETT_OK) {
		table_close(t);
		return r;
	}
	*ret = t;
	return SETT_OK;
}

void
table_close(struct table *t)
{
	if (!t)
		return;
	if (t->index_blocks)
		for (uint32_t i = 0; i < t->top.count; i++)
			block_release(t->index_blocks[i]);
	free(t->index_blocks);
	free(t->index);
	block_release(t->top_block);
	free(t->filter);
	table_properties_free(&t->properties);
	vfs_close(t->file, NULL); /* it was only read */
	free(t->path);
	free(t);
}

const struct table_properties *
table_properties(const struct table *t)
{
	return &t->properties;
}

uint64_t
table_number(const struct table *t)
{
	return t->number;
}

uint64_t
table_file_size(const struct table *t)
{
	return t->file_size;
}

size_t
table_memory(const struct table *t)
{
	return t->memory;
}

/* ---- point reads ---- */

int
table_get(struct table *t, struct bytes user_key, uint64_t hash, uint64_t snapshot, unsigned flags,
	  struct table_hit *ret, struct sett_error *error)
{
	if (!filter_may_contain(t->filter, t->filter_lines, hash))
		return SETT_NOT_FOUND;
	struct ikey target = {user_key, snapshot};
	struct table_access access = {.flags = flags & VFS_NOWAIT ? TABLE_NOWAIT : 0};
	uint64_t offset, end;
	int r = table_find(t, target, &access, &offset, &end, error);
	if (r != SETT_OK)
		return r;
	struct block *b;
	r = table_block(t, offset, end, &access, &b, error);
	if (r != SETT_OK)
		return r;
	/* A version of the key behind this block would make the block's separator its last key, and that one
	 * would be at or after the target: so what is not in this block is nowhere. */
	struct block_view view;
	struct block_entry e;
	r = block_view_parse(b, &view);
	if (r == SETT_OK)
		r = block_get(&view, target, &e);
	if (r != SETT_OK) {
		if (r == SETT_CORRUPT)
			table_corrupt(t, offset, "a data block is malformed", error);
		block_release(b);
		return r;
	}
	*ret = (struct table_hit){block_entry_value(&e), e.timestamp, b};
	return SETT_OK;
}

void
table_fetch(const struct table *t, uint64_t hash)
{
	filter_fetch(t->filter, t->filter_lines, hash);
}

uint64_t
table_block_count(const struct table *t)
{
	return t->data_blocks;
}

int
table_sample(struct table *t, uint64_t random, unsigned flags, struct buffer *ret, struct sett_error *error)
{
	uint64_t number = random % t->data_blocks;
	uint32_t i = (uint32_t)(number / t->footer.index_fanout),
		 j = (uint32_t)(number % t->footer.index_fanout);
	struct table_access access = {.flags = flags & VFS_NOWAIT ? TABLE_NOWAIT : 0};
	struct index_view index;
	struct block *pin;
	int r = table_index(t, i, &access, &index, &pin, error);
	if (r != SETT_OK)
		return r;
	if (j >= index.count)
		r = table_corrupt(t, index_offset(&t->top, i), "an index block has too few entries", error);
	else if (index_separator(&index, j, ret) != SETT_OK)
		r = no_memory(t, error);
	block_release(pin);
	return r;
}
