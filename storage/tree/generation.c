/* Generations; see generation.h.
 *
 * (I9) A value-log file lives while a generation points into it: each generation holds one reference per file
 * from the first pointer until its memtable is freed, and by then the flushed table holds its own. */
#include "generation.h"

#include <assert.h>
#include <stdlib.h>

int
generation_create(struct value_log *value_log, uint64_t log_segment, struct generation **ret)
{
	struct generation *g = calloc(1, sizeof(*g));
	if (!g)
		return SETT_NO_MEMORY;
	int r = memtable_create(&g->memtable);
	if (r != SETT_OK) {
		free(g);
		return r;
	}
	drop_list_init(&g->drops);
	g->references = 1;
	g->value_log = value_log;
	g->log_segment = log_segment;
	g->smallest_expiry = UINT64_MAX;
	g->garbage_is_known = true;
	g->share = 1;
	*ret = g;
	return SETT_OK;
}

void
generation_retain(struct generation *g)
{
	uint64_t now = __atomic_add_fetch(&g->references, 1, __ATOMIC_RELAXED);
	assert(now > 1);
	(void)now;
}

void
generation_release(struct generation *g)
{
	if (!g)
		return;
	uint64_t left = __atomic_sub_fetch(&g->references, 1, __ATOMIC_ACQ_REL);
	assert(left != UINT64_MAX);
	if (left != 0)
		return;
	memtable_destroy(g->memtable);
	for (size_t i = 0; i < g->value_file_count; i++)
		value_log_release_number(g->value_log, g->value_files[i]);
	free(g->value_files);
	drop_list_free(&g->drops);
	free(g->counters);
	buffer_free(&g->pending);
	free(g);
}

static bool
holds_file(const struct generation *g, uint64_t file)
{
	/* Newest first: nearly always the last one. */
	for (size_t i = g->value_file_count; i-- > 0;)
		if (g->value_files[i] == file)
			return true;
	return false;
}

static int
reserve_files(struct generation *g, size_t more)
{
	if (g->value_file_count + more <= g->value_file_capacity)
		return SETT_OK;
	size_t capacity = g->value_file_count + more + 7;
	uint64_t *files = realloc(g->value_files, capacity * sizeof(*files));
	if (!files)
		return SETT_NO_MEMORY;
	g->value_files = files;
	g->value_file_capacity = capacity;
	return SETT_OK;
}

static int
hold_file(struct generation *g, uint64_t file)
{
	if (holds_file(g, file))
		return SETT_OK;
	int r = reserve_files(g, 1);
	if (r == SETT_OK)
		r = value_log_retain_number(g->value_log, file);
	if (r != SETT_OK)
		return r;
	assert(g->value_file_count < g->value_file_capacity);
	g->value_files[g->value_file_count++] = file;
	return SETT_OK;
}

int
generation_reserve(struct generation *g, size_t entries, size_t pointers, size_t prefixes, size_t bytes)
{
	int r = memtable_reserve(g->memtable, entries, bytes);
	if (r == SETT_OK)
		r = reserve_files(g, pointers);
	return r == SETT_OK ? drop_list_reserve(&g->drops, prefixes) : r;
}

size_t
generation_memory(const struct generation *g)
{
	return memtable_memory(g->memtable) + drop_list_memory(&g->drops);
}

/* One writer: the commit lock's. */
static void
add_bytes(uint64_t *sum, uint64_t bytes)
{
	__atomic_store_n(sum, __atomic_load_n(sum, __ATOMIC_RELAXED) + bytes, __ATOMIC_RELAXED);
}

int
generation_insert_entry(struct generation *g, struct ikey key, struct bytes value, const struct entry *entry)
{
	int r = entry->kind == ENTRY_POINTER ? hold_file(g, entry->pointer.file) : SETT_OK;
	if (r == SETT_OK)
		r = memtable_insert(g->memtable, key, value);
	if (r != SETT_OK)
		return r;
	if (entry->kind == ENTRY_POINTER)
		add_bytes(&g->referenced_bytes, entry->pointer.stored_size);
	add_bytes(&g->key_bytes, key.user.size + IKEY_TRAILER_SIZE + value.size);
	if (entry->expires_at && entry->expires_at < __atomic_load_n(&g->smallest_expiry, __ATOMIC_RELAXED))
		__atomic_store_n(&g->smallest_expiry, entry->expires_at, __ATOMIC_RELAXED);
	return SETT_OK;
}

int
generation_insert(struct generation *g, struct ikey key, struct bytes value)
{
	struct entry entry;
	int r = entry_decode(value, &entry);
	return r == SETT_OK ? generation_insert_entry(g, key, value, &entry) : r;
}

void
generation_add_garbage(struct generation *g, struct weight garbage)
{
	if (garbage.index > 0)
		add_bytes(&g->garbage.index, garbage.index);
	if (garbage.values > 0)
		add_bytes(&g->garbage.values, garbage.values);
}

struct weight
generation_garbage(const struct generation *g)
{
	return (struct weight){__atomic_load_n(&g->garbage.index, __ATOMIC_RELAXED),
			       __atomic_load_n(&g->garbage.values, __ATOMIC_RELAXED)};
}
