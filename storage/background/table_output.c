/* What flush and compaction write: a row of tables.
 *
 * A table is written under its final name: until an edit names it, it is an orphan that the next start
 * removes. It is synced before it is opened, so that whatever an edit names is durable (I10); the directory
 * is synced by version_set_apply. */
#include "table_output.h"

#include <assert.h>

/* A table is also full when it points at this many times its size in the value log, so that GC and compaction
 * take bites of about one size; but not below a few entries. */
enum { REFERENCE_FACTOR = 8, MINIMUM_ENTRIES = 16 };

static int
begin_table(struct table_output *o, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	uint64_t number;
	assert(!o->file && !o->builder);
	int r = version_set_next_file_number(o->versions, &number, error);
	if (r != SETT_OK)
		return r;
	table_path(o->directory, number, path);
	r = vfs_open(o->vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_CLOSABLE, &o->file, error);
	if (r != SETT_OK) {
		o->file = NULL;
		return r;
	}
	o->number = number;
	o->held_bytes = o->held_timestamp = 0;
	struct table_builder_options options = {
		.number = number, .compression = o->compression, .zstd_level = o->zstd_level};
	r = table_builder_create(o->file, &options, &o->builder);
	if (r != SETT_OK) {
		o->builder = NULL;
		return sett_error_set(error, r, 0, "%s: cannot begin a table", path);
	}
	return SETT_OK;
}

static bool
is_full(const struct table_output *o)
{
	if (o->table_size == 0)
		return false;
	return table_builder_size(o->builder) >= o->table_size ||
		(table_builder_referenced_bytes(o->builder) >= o->table_size * REFERENCE_FACTOR &&
		 table_builder_entries(o->builder) >= MINIMUM_ENTRIES);
}

int
table_output_add(struct table_output *o, struct ikey key, struct bytes value, bool may_cut,
		 uint64_t held_until, struct sett_error *error)
{
	int r = SETT_OK;
	if (o->builder && may_cut && is_full(o))
		r = table_output_finish(o, error);
	if (r == SETT_OK && !o->builder)
		r = begin_table(o, error);
	if (r == SETT_OK)
		r = table_builder_add(o->builder, key, value, error);
	if (r == SETT_OK && held_until > 0) {
		struct weight w = entry_weight(key.user, value);
		o->held_bytes += w.index + w.values;
		if (held_until > o->held_timestamp)
			o->held_timestamp = held_until;
	}
	return r;
}

void
table_output_drop(struct table_output *o, struct ikey key, struct bytes value)
{
	weight_add(&o->dropped, entry_weight(key.user, value));
}

/* Each table gets a share by its entries: which of them shadow what is not known. */
void
table_outputs_set_shadowed(struct table_output *const *outputs, size_t count, struct weight garbage)
{
	uint64_t entries = 0;
	for (size_t i = 0; i < count; i++) {
		garbage = weight_less(garbage, outputs[i]->dropped);
		for (size_t t = 0; t < outputs[i]->count; t++) {
			garbage = weight_less(garbage, table_file_held(outputs[i]->tables[t]));
			entries += outputs[i]->tables[t]->properties->entries;
		}
	}
	for (size_t i = 0; i < count; i++) {
		assert(!outputs[i]->builder); /* all are finished */
		for (size_t t = 0; t < outputs[i]->count; t++) {
			struct table_file *f = outputs[i]->tables[t];
			double share = (double)f->properties->entries / (double)entries;
			f->shadowed = weight_scaled(garbage, share);
			f->shadowed_is_known = true;
		}
	}
}

static int
reserve_slot(struct table_output *o)
{
	if (o->count < o->capacity)
		return SETT_OK;
	size_t capacity = o->capacity ? o->capacity * 2 : 8;
	void *p = reallocarray(o->tables, capacity, sizeof(struct table_file *));
	if (!p)
		return SETT_NO_MEMORY;
	o->tables = p;
	o->capacity = capacity;
	return SETT_OK;
}

/* Closes builder and file. */
static int
close_current(struct table_output *o, struct sett_error *error)
{
	table_builder_destroy(o->builder);
	o->builder = NULL;
	struct vfs_file *file = o->file;
	o->file = NULL;
	return file ? vfs_close(file, error) : SETT_OK;
}

static void
drop_current(struct table_output *o)
{
	if (!o->file)
		return;
	char path[SETT_PATH_MAX];
	table_path(o->directory, o->number, path);
	(void)close_current(o, NULL);
	(void)vfs_remove(o->vfs, path, NULL); /* else an orphan, which the next start removes */
}

int
table_output_finish(struct table_output *o, struct sett_error *error)
{
	if (!o->builder)
		return SETT_OK;
	struct table_properties properties;
	uint64_t size;
	struct table_file *table;
	assert(o->file && table_builder_entries(o->builder) > 0);
	int r = reserve_slot(o);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	r = table_builder_finish(o->builder, &properties, &size, error);
	if (r != SETT_OK)
		return r;
	table_properties_free(&properties);
	r = vfs_sync(o->file, error);
	if (r != SETT_OK)
		return r;
	r = close_current(o, error);
	if (r == SETT_OK)
		r = table_file_open(o->versions, o->number, o->sequence, &table, error);
	if (r != SETT_OK) {
		char path[SETT_PATH_MAX];
		table_path(o->directory, o->number, path);
		(void)vfs_remove(o->vfs, path, NULL);
		return r;
	}
	table->held_bytes = o->held_bytes;
	table->held_timestamp = o->held_timestamp;
	assert(o->count < o->capacity && table->size == size);
	o->tables[o->count++] = table;
	o->bytes_written += size;
	return SETT_OK;
}

uint64_t
table_output_bytes(const struct table_output *o)
{
	return o->bytes_written + (o->builder ? table_builder_size(o->builder) : 0);
}

void
table_output_forget(struct table_output *o)
{
	assert(!o->file && !o->builder); /* what is not finished has no edit */
	o->count = 0;
}

void
table_output_free(struct table_output *o)
{
	drop_current(o);
	for (size_t i = 0; i < o->count; i++)
		table_file_abandon(o->versions, o->tables[i]);
	free(o->tables);
	o->tables = NULL;
	o->count = o->capacity = 0;
}
