/* What a database consists of: the manifest's state, each table's properties, the log's commits on top.
 *
 * The log is read as recovery would (log_examine), so that counters, prefixes and references are those of the
 * newest commit that an open would show. */
#include "describe.h"

#include <stdlib.h>

#include "batch.h"
#include "counters.h"
#include "directory.h"
#include "drop_list.h"
#include "log.h"
#include "log_format.h"
#include "manifest_format.h"
#include "pending_set.h"
#include "table_format.h"
#include "value_log_format.h"

struct describer {
	struct directory *directory;
	struct manifest_state manifest;
	struct counters counters;
	struct sett_description *d;
	struct pending_set pending;
	struct drop_list drops; /* of the log */
	size_t table_capacity, segment_capacity, counter_capacity;
	struct sett_error *error;
};

static int
out_of_memory(const struct describer *s)
{
	return sett_error_set(s->error, SETT_NO_MEMORY, 0, "%s: out of memory", s->directory->path);
}

static int
note_damage(struct describer *s, const char *text)
{
	struct buffer *b = &s->d->damage;
	if (buffer_append(b, text, strlen(text)) != SETT_OK || buffer_append(b, "\n", 1) != SETT_OK)
		return out_of_memory(s);
	return SETT_OK;
}

static void
add_live(struct describer *s, uint64_t file, uint64_t bytes)
{
	const struct found_files *files = &s->directory->value_files;
	const struct found_file *found = found_files_find(files, file);
	if (found)
		s->d->value_files[found - files->files].live_bytes += bytes;
}

/* ---- tables ---- */

int
table_describe(const struct table_properties *p, struct sett_table_description *ret)
{
	struct bytes smallest = ikey_decode(buffer_bytes(&p->smallest)).user;
	struct bytes largest = ikey_decode(buffer_bytes(&p->largest)).user;
	ret->is_readable = true;
	ret->entries = p->entries;
	ret->tombstones = p->tombstones;
	ret->key_bytes = p->key_bytes;
	ret->value_bytes = p->value_bytes;
	ret->referenced_bytes = p->referenced_bytes;
	ret->smallest_timestamp = p->smallest_timestamp;
	ret->largest_timestamp = p->largest_timestamp;
	ret->smallest_expiry = p->smallest_expiry;
	int r = buffer_append(&ret->smallest, smallest.data, smallest.size);
	return r == SETT_OK ? buffer_append(&ret->largest, largest.data, largest.size) : r;
}

void
table_description_free(struct sett_table_description *t)
{
	buffer_free(&t->smallest);
	buffer_free(&t->largest);
}

static int
describe_table(struct describer *s, const struct manifest_table *t)
{
	struct sett_description *d = s->d;
	if (!array_grow((void **)&d->tables, d->table_count, &s->table_capacity, sizeof(*d->tables)))
		return out_of_memory(s);
	struct sett_table_description *ret = &d->tables[d->table_count++];
	*ret = (struct sett_table_description){
		.number = t->number, .size = t->size, .level = t->level, .held_bytes = t->held_bytes};
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	struct table *table;
	struct sett_error error = {0};
	table_path(s->directory->path, t->number, path);
	int r = vfs_open(s->directory->vfs, path, VFS_READ, &file, &error);
	if (r == SETT_OK)
		r = table_open(file, path, t->number, NULL, &table, &error);
	if (r == SETT_NO_MEMORY)
		return out_of_memory(s);
	if (r != SETT_OK)
		return note_damage(s, error.message);
	const struct table_properties *p = table_properties(table);
	r = table_describe(p, ret);
	for (size_t i = 0; i < p->reference_count; i++)
		add_live(s, p->references[i].file, p->references[i].bytes);
	table_close(table);
	return r == SETT_OK ? SETT_OK : out_of_memory(s);
}

static int
compare_tables(const void *a, const void *b)
{
	const struct sett_table_description *x = a, *y = b;
	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int
describe_tables(struct describer *s)
{
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < s->manifest.table_count; i++)
		r = describe_table(s, &s->manifest.tables[i]);
	if (s->d->table_count > 1)
		qsort(s->d->tables, s->d->table_count, sizeof(*s->d->tables), compare_tables);
	return r;
}

/* ---- the log ---- */

static int
replay_entry(void *arg, struct bytes key, struct bytes value)
{
	struct entry e;
	if (entry_decode(value, &e) != SETT_OK)
		return SETT_CORRUPT;
	if (e.kind == ENTRY_POINTER)
		add_live(arg, e.pointer.file, e.pointer.stored_size);
	return SETT_OK;
}

static int
replay_counter(void *arg, const struct batch_counter *counter)
{
	struct describer *s = arg;
	return counters_apply(&s->counters, counter->counter, counter->forget, counter->delta);
}

static int
replay_prefix(void *arg, const struct prefix_change *change)
{
	struct describer *s = arg;
	int r = SETT_OK;
	if (prefix_change_drops(change))
		r = drop_list_add(&s->drops, change);
	else if (change->kind == ID_PENDING)
		r = pending_set_reserve(&s->pending, 1);
	if (r == SETT_OK)
		pending_set_apply(&s->pending, change);
	return r;
}

static int
replay_record(void *arg, const struct log_record *record)
{
	struct describer *s = arg;
	struct batch_visitor visitor = {replay_entry, replay_counter, replay_prefix, s, NULL};
	if (record->now_ms > s->d->now_ms)
		s->d->now_ms = record->now_ms;
	int r = batch_visit(record->payload, &visitor);
	if (r == SETT_CORRUPT)
		sett_error_set(s->error, r, 0,
			       "%s/%06" PRIu64 LOG_SUFFIX " at offset %" PRIu64
			       ": the commit's batch is malformed",
			       s->directory->path, record->segment, record->offset);
	return r;
}

static void
note_segment(void *arg, const struct log_segment_info *info)
{
	struct describer *s = arg;
	struct sett_description *d = s->d;
	if (!array_grow((void **)&d->segments, d->segment_count, &s->segment_capacity, sizeof(*d->segments)))
		return; /* the next allocation will fail, too */
	const struct found_file *file = found_files_find(&s->directory->segments, info->number);
	d->segments[d->segment_count++] =
		(struct sett_segment_description){.number = info->number,
						  .size = file ? file->size : info->size,
						  .used = info->used,
						  .records = info->records,
						  .is_unused = info->is_unused,
						  .is_leftover = info->is_leftover};
}

static int
describe_log(struct describer *s)
{
	struct sett_description *d = s->d;
	const struct manifest_state *m = &s->manifest;
	struct log_recovery recovery = {.replay = replay_record,
					.segment = note_segment,
					.arg = s,
					.first_segment = s->manifest.log_segment,
					.durable = m->durable > m->flushed ? m->durable : m->flushed,
					.after = m->flushed,
					.must_be_whole = m->is_closed};
	struct log_recovered recovered;
	int r = log_examine(s->directory->vfs, s->directory->path, &recovery, &recovered, s->error);
	if (r == SETT_CORRUPT || r == SETT_IO)
		return note_damage(s, s->error->message);
	if (r != SETT_OK)
		return r;
	d->last = recovered.last;
	d->durable = recovered.durable;
	d->cut_segment = recovered.cut_segment;
	d->cut_offset = recovered.cut_segment ? recovered.cut_offset : 0;
	d->cut_bytes = recovered.cut_bytes;
	return SETT_OK;
}

/* ---- the whole ---- */

static int
compare_counters(const void *a, const void *b)
{
	const struct sett_counter_description *x = a, *y = b;
	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

static int
take_counters(struct describer *s)
{
	struct sett_description *d = s->d;
	d->counters = calloc(s->counters.count + 1, sizeof(*d->counters));
	if (!d->counters)
		return out_of_memory(s);
	for (; d->counter_count < s->counters.count; d->counter_count++)
		d->counters[d->counter_count] =
			(struct sett_counter_description){s->counters.values[d->counter_count].counter,
							  s->counters.values[d->counter_count].value};
	qsort(d->counters, d->counter_count, sizeof(*d->counters), compare_counters);
	return SETT_OK;
}

static int
describe_dead(struct describer *s, const struct dead_list *list)
{
	struct sett_description *d = s->d;
	struct dead_cursor c;
	size_t count = list && list->sum.ranges < SETT_DESCRIBED_PREFIXES ? list->sum.ranges
									  : SETT_DESCRIBED_PREFIXES;
	d->dead_ids = list ? list->sum.ids : 0;
	d->dead_bytes = list ? list->sum.units * DEAD_UNIT : 0;
	d->dead_prefixes = calloc(count, sizeof(*d->dead_prefixes));
	if (!d->dead_prefixes)
		return SETT_NO_MEMORY;
	for (dead_cursor_init(&c, list); c.valid && d->dead_prefix_count < count; dead_cursor_next(&c)) {
		struct sett_prefix_description *p = &d->dead_prefixes[d->dead_prefix_count++];
		p->count = c.now.count;
		p->bytes = c.now.units * DEAD_UNIT;
		if (buffer_append(&p->prefix, c.now.low, c.now.size) != SETT_OK)
			return SETT_NO_MEMORY;
	}
	return SETT_OK;
}

/* As an open would have it: what is pending is dead. */
static int
take_dead(struct describer *s)
{
	struct dead_list *lists[2] = {0}, *all = NULL;
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < s->pending.count; i++) {
		const struct pending_id *id = &s->pending.ids[i];
		r = drop_list_add(&s->drops,
				  &(struct prefix_change){ID_DROPPED, bytes_of(id->prefix, id->size), 0});
	}
	if (r == SETT_OK)
		r = manifest_state_dead(&s->manifest, &lists[0]);
	if (r == SETT_OK)
		r = drop_list_sort(&s->drops, false, &lists[1]);
	if (r == SETT_OK)
		r = dead_list_merge(lists, 2, &all);
	if (r == SETT_OK)
		r = describe_dead(s, all);
	dead_list_release(lists[0]);
	dead_list_release(lists[1]);
	dead_list_release(all);
	return r == SETT_OK ? r : out_of_memory(s);
}

/* What the manifest says, and the places of what is counted later. */
static int
begin(struct describer *s)
{
	struct sett_description *d = s->d;
	const struct manifest_state *m = &s->manifest;
	const struct found_files *files = &s->directory->value_files;
	d->manifest_version = m->version;
	d->table_version = TABLE_VERSION;
	d->log_version = LOG_VERSION;
	d->value_log_version = VALUE_LOG_VERSION;
	d->manifest_bytes = s->directory->manifest_size;
	d->file_limit = m->file_limit;
	d->flushed = d->durable = d->last = m->flushed;
	d->now_ms = m->now_ms;
	d->is_closed = m->is_closed;
	d->first_segment = m->log_segment;
	int r = counters_reserve(&s->counters, m->counter_count);
	for (size_t i = 0; r == SETT_OK && i < m->counter_count; i++)
		counters_add(&s->counters, m->counters[i].counter, m->counters[i].value);
	if (r == SETT_OK)
		r = pending_set_decode(&s->pending, buffer_bytes(&m->pending));
	if (r == SETT_CORRUPT)
		return sett_error_set(s->error, r, 0, "%s/MANIFEST: the pending ids make no sense",
				      s->directory->path);
	d->value_files = calloc(files->count + 1, sizeof(*d->value_files));
	if (r != SETT_OK || !d->value_files)
		return out_of_memory(s);
	for (; d->value_file_count < files->count; d->value_file_count++)
		d->value_files[d->value_file_count] = (struct sett_value_file_description){
			.number = files->files[d->value_file_count].number,
			.size = files->files[d->value_file_count].size};
	return SETT_OK;
}

static int
load_manifest(struct describer *s)
{
	int r = manifest_load(s->directory->vfs, s->directory->path, &s->manifest, s->error);
	return r == SETT_NOT_FOUND
		? sett_error_set(s->error, SETT_CORRUPT, 0, "%s/MANIFEST is missing", s->directory->path)
		: r;
}

int
sett_describe(const char *path, struct vfs *vfs, struct sett_description *ret, struct sett_error *error)
{
	struct directory directory;
	struct sett_error ignored = {0};
	struct sett_description d = {0};
	struct describer s = {.directory = &directory, .d = &d, .error = error ? error : &ignored};
	int r = directory_open(vfs, path, &directory, s.error);
	if (r != SETT_OK)
		return r;
	drop_list_init(&s.drops);
	r = load_manifest(&s);
	if (r == SETT_OK)
		r = begin(&s);
	if (r == SETT_OK)
		r = describe_tables(&s);
	if (r == SETT_OK)
		r = describe_log(&s);
	if (r == SETT_OK)
		r = take_counters(&s);
	if (r == SETT_OK)
		r = take_dead(&s);
	pending_set_free(&s.pending);
	drop_list_free(&s.drops);
	manifest_state_free(&s.manifest);
	counters_free(&s.counters);
	directory_close(&directory);
	if (r == SETT_OK)
		*ret = d;
	else
		sett_description_free(&d);
	return r;
}

void
sett_description_free(struct sett_description *d)
{
	for (size_t i = 0; i < d->table_count; i++)
		table_description_free(&d->tables[i]);
	for (size_t i = 0; i < d->dead_prefix_count; i++)
		buffer_free(&d->dead_prefixes[i].prefix);
	free(d->tables);
	free(d->value_files);
	free(d->segments);
	free(d->counters);
	free(d->dead_prefixes);
	buffer_free(&d->damage);
	*d = (struct sett_description){0};
}
