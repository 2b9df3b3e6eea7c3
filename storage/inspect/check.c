/* The whole of a database held against itself, without changing anything.
 *
 *     manifest -> each table: blocks, order, properties -> the tables of a level against each other
 *              \-> the log, as recovery would read it    \-> pointers -> values
 *     then whether the manifest fits what was found, and what the directory holds besides
 *
 * The checks are those of the code that reads the files (table_examine, manifest_read, log_examine,
 * value_log_read); here is what they add up to. After damage the check goes on with what does not depend on
 * it. */
#include "check.h"

#include <stdarg.h>
#include <stdlib.h>

#include "batch.h"
#include "log.h"
#include "log_format.h"
#include "manifest_format.h"

static const struct bytes no_key = {0};

/* ---- findings ---- */

void
check_find(struct check *c, enum sett_finding_kind kind, const char *file, struct bytes key, const char *text)
{
	struct sett_finding finding = {kind, file, text, key};
	switch (kind) {
	case SETT_DAMAGE:
		c->figures->damages++;
		break;
	case SETT_CUT:
		c->figures->cuts++;
		break;
	case SETT_NOTE:
		c->figures->notes++;
		break;
	}
	if (c->options->on_finding)
		c->options->on_finding(c->options->arg, &finding);
}

static void __attribute__((format(printf, 4, 5)))
find(struct check *c, enum sett_finding_kind kind, const char *file, const char *format, ...)
{
	char text[SETT_PATH_MAX + 400];
	va_list args;
	int n = snprintf(text, sizeof(text), "%s%s%s", c->directory.path, *file ? "/" : "", file);
	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	check_find(c, kind, file, no_key, text);
}

int
check_no_memory(struct check *c)
{
	return sett_error_set(c->error, SETT_NO_MEMORY, 0, "%s: out of memory", c->directory.path);
}

int
check_aborted(struct check *c)
{
	return sett_error_set(c->error, SETT_ABORTED, 0, "%s: the check was stopped", c->directory.path);
}

void
check_progress(struct check *c, uint64_t bytes)
{
	enum { STEP = 4 << 20 };
	c->done += bytes;
	if (c->total < c->done)
		c->total = c->done;
	if (c->done - c->reported < STEP)
		return;
	c->reported = c->done;
	if (c->options->on_progress)
		c->options->on_progress(c->options->arg, c->done, c->total);
	if (c->options->should_stop && c->options->should_stop(c->options->arg))
		c->is_stopped = true;
}

void
check_file_name(uint64_t number, const char *suffix, char ret[CHECK_NAME_MAX])
{
	snprintf(ret, CHECK_NAME_MAX, "%06" PRIu64 "%s", number, suffix);
}

/* ---- the manifest ---- */

static int
manifest_record(void *arg, uint64_t offset, enum manifest_record kind, uint64_t size)
{
	struct check *c = arg;
	if (kind == MANIFEST_LOST_MARK)
		find(c, SETT_NOTE, "MANIFEST",
		     " at offset %" PRIu64 ": a mark was lost, which takes nothing along", offset);
	if (kind == MANIFEST_TORN) {
		c->manifest.torn_at = offset;
		c->torn_size = size;
	} else {
		c->manifest.end = offset + MANIFEST_RECORD_HEADER_SIZE + size;
	}
	return SETT_OK;
}

static int
manifest_field(void *arg, struct manifest_field *field)
{
	return manifest_state_apply(&((struct check *)arg)->manifest, field);
}

static int
check_manifest(struct check *c)
{
	char path[SETT_PATH_MAX];
	struct sett_error error = {0};
	struct manifest_visitor visitor = {NULL, manifest_record, manifest_field, c};
	snprintf(path, sizeof(path), "%s/MANIFEST", c->directory.path);
	int r = manifest_read(c->directory.vfs, path, &visitor, &error);
	check_progress(c, c->directory.manifest_size);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	c->has_manifest = r == SETT_OK;
	if (r == SETT_NOT_FOUND)
		find(c, SETT_DAMAGE, "MANIFEST", " is missing, and with it what the other files mean");
	else if (r != SETT_OK)
		check_find(c, SETT_DAMAGE, "MANIFEST", no_key, error.message);
	if (r != SETT_OK)
		c->is_whole = false;
	if (c->directory.is_half_restored)
		find(c, SETT_DAMAGE, SETT_RESTORING_NAME,
		     ": a restore was cut short; a start refuses what is there");
	if (c->directory.has_new_manifest)
		find(c, SETT_NOTE, "MANIFEST.tmp", ": left over; the next start removes it");
	return SETT_OK;
}

/* Once all files were looked for. The next start refuses under the same conditions (version_set_lacks). */
static void
check_manifest_fits(struct check *c)
{
	const struct manifest_state *m = &c->manifest;
	if (m->torn_at && c->lacks[0])
		find(c, SETT_DAMAGE, "MANIFEST",
		     " at offset %" PRIu64
		     ": its last edits are damaged: what is before them needs %s, which is "
		     "gone",
		     m->torn_at, c->lacks);
	else if (m->torn_at)
		find(c, SETT_CUT, "MANIFEST",
		     " at offset %" PRIu64 ": %" PRIu64 " bytes of a torn last edit, of which nothing else "
		     "shows a trace; the next start leaves them "
		     "out",
		     m->torn_at, c->torn_size);
	else if (c->lacks[0] && c->stray)
		find(c, SETT_DAMAGE, "MANIFEST",
		     " at offset %" PRIu64
		     ", its end: it needs %s, which is gone, and does not know %06" PRIu64
		     ".sst, which is there: it seems to have been cut short",
		     m->end, c->lacks, c->stray);
}

static void
note_lacking(struct check *c, uint64_t number, const char *suffix)
{
	if (!c->lacks[0])
		check_file_name(number, suffix, c->lacks);
}

/* ---- tables ---- */

struct table_check {
	struct check *check;
	uint64_t number;
	char name[CHECK_NAME_MAX];
};

static int
table_entry(void *arg, struct ikey key, struct bytes value, uint64_t offset)
{
	struct table_check *t = arg;
	struct entry e;
	t->check->figures->entries++;
	if (entry_decode(value, &e) != SETT_OK || e.kind != ENTRY_POINTER)
		return SETT_OK; /* what does not decode is damage that the walk reports */
	return check_values_hold(t->check, &e.pointer, t->number, key.user);
}

static void
table_damage(void *arg, const char *text)
{
	struct table_check *t = arg;
	t->check->is_whole = false;
	check_find(t->check, SETT_DAMAGE, t->name, no_key, text);
}

/* What the check of the levels needs, when the table is closed. */
static int
remember_table(struct check *c, unsigned level, uint64_t number, const struct table_properties *p)
{
	struct level *l = &c->levels[level];
	struct table_file *file = calloc(1, sizeof(*file));
	struct table_properties *copy = calloc(1, sizeof(*copy));
	if (!file || !copy ||
	    !array_grow((void **)&l->tables, l->count, &c->level_capacity[level], sizeof(*l->tables))) {
		free(file);
		free(copy);
		return check_no_memory(c);
	}
	copy->smallest_timestamp = p->smallest_timestamp;
	copy->largest_timestamp = p->largest_timestamp;
	file->number = number;
	file->properties = copy;
	l->tables[l->count++] = file;
	if (buffer_append(&copy->smallest, p->smallest.data, p->smallest.size) != SETT_OK ||
	    buffer_append(&copy->largest, p->largest.data, p->largest.size) != SETT_OK)
		return check_no_memory(c);
	return SETT_OK;
}

static int
check_open_table(struct table_check *t, struct table *table, const struct manifest_table *listed)
{
	struct check *c = t->check;
	struct sett_error error = {0};
	const struct table_properties *p = table_properties(table);
	struct table_visitor visitor = {table_entry, table_damage, t};
	c->total += p->referenced_bytes;
	for (size_t i = 0; i < p->reference_count; i++) {
		check_values_reference(c, p->references[i].file);
		if (!found_files_find(&c->directory.value_files, p->references[i].file))
			find(c, SETT_DAMAGE, t->name,
			     ": points into value-log file %" PRIu64 ", which is not there",
			     p->references[i].file);
	}
	int r = table_examine(table, &visitor, &error);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	if (r == SETT_ABORTED)
		return check_aborted(c);
	if (r == SETT_OK)
		c->figures->tables++;
	else if (r != SETT_CORRUPT)
		table_damage(t, error.message);
	if (!listed)
		return SETT_OK;
	if (p->largest_timestamp > c->manifest.flushed)
		find(c, SETT_DAMAGE, t->name,
		     ": holds commit %" PRIu64 ", but by the manifest tables go up to %" PRIu64,
		     p->largest_timestamp, c->manifest.flushed);
	return remember_table(c, listed->level, t->number, p);
}

/* `listed` is NULL for one that is looked at without a manifest. */
static int
check_table(struct check *c, uint64_t number, const struct manifest_table *listed)
{
	char path[SETT_PATH_MAX];
	struct table_check t = {.check = c, .number = number};
	struct vfs_file *file;
	struct table *table;
	struct sett_error error = {0};
	check_file_name(number, ".sst", t.name);
	table_path(c->directory.path, number, path);
	int r = vfs_open(c->directory.vfs, path, VFS_READ, &file, &error);
	if (r == SETT_OK)
		r = table_open(file, path, number, NULL, &table, &error);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	if (r != SETT_OK) {
		if (r == SETT_NOT_FOUND) {
			snprintf(error.message, sizeof(error.message), "%.300s is missing", path);
			note_lacking(c, number, ".sst");
		}
		table_damage(&t, error.message);
		return SETT_OK;
	}
	uint64_t size = table_file_size(table);
	if (listed && size != listed->size) {
		c->is_whole = false;
		find(c, SETT_DAMAGE, t.name, ": %" PRIu64 " bytes, the manifest says %" PRIu64, size,
		     listed->size);
	}
	r = check_open_table(&t, table, listed);
	table_close(table);
	check_progress(c, size);
	return r == SETT_OK && c->is_stopped ? check_aborted(c) : r;
}

static int
check_levels(struct check *c)
{
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		struct sett_error error = {0};
		if (level_sort(c->directory.path, &c->levels[l], l, &error) == SETT_CORRUPT)
			check_find(c, SETT_DAMAGE, "MANIFEST", no_key, error.message);
	}
	return SETT_OK;
}

static int
check_tables(struct check *c)
{
	const struct manifest_state *m = &c->manifest;
	const struct found_files *found = &c->directory.tables;
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && c->has_manifest && i < m->table_count; i++) {
		if (m->tables[i].number >= m->file_limit)
			find(c, SETT_DAMAGE, "MANIFEST",
			     ": names table %" PRIu64 ", but by its own limit numbers go up to %" PRIu64,
			     m->tables[i].number, m->file_limit);
		r = check_table(c, m->tables[i].number, &m->tables[i]);
	}
	for (size_t i = 0; r == SETT_OK && i < found->count; i++) {
		uint64_t number = found->files[i].number;
		char name[CHECK_NAME_MAX];
		check_file_name(number, ".sst", name);
		if (!c->has_manifest)
			r = check_table(c, number, NULL);
		else if (!manifest_state_table(m, number)) {
			c->stray = number;
			find(c, SETT_NOTE, name,
			     ": no edit of the manifest knows it; the next start removes it");
		}
	}
	if (r == SETT_OK)
		r = check_values_read_held(c);
	return r == SETT_OK ? check_levels(c) : r;
}

/* ---- the log ---- */

struct log_damage {
	uint64_t segment, offset;
	const char *what;
};
struct log_check {
	struct check *check;
	const struct log_record *record;
	struct sett_error *error;   /* log_examine's */
	struct log_damage *damages; /* owned; places where the chain is broken */
	size_t count, capacity;
	int failure;
};

static int
log_entry(void *arg, struct bytes key, struct bytes value)
{
	struct log_check *l = arg;
	struct entry e;
	if (entry_decode(value, &e) != SETT_OK)
		return SETT_CORRUPT;
	if (e.kind != ENTRY_POINTER)
		return SETT_OK;
	struct sett_error error = {0};
	check_values_reference(l->check, e.pointer.file);
	int r = check_values_read(l->check, &e.pointer, &error);
	if (r == SETT_NOT_FOUND && !l->record->is_durable)
		*l->error = error; /* goes into the reason of the cut */
	if (r != SETT_NOT_FOUND || !l->record->is_durable)
		return r;
	char holder[CHECK_NAME_MAX];
	snprintf(holder, sizeof(holder), "commit %" PRIu64, l->record->timestamp);
	return check_values_lose(l->check, &e.pointer, holder, key, &error);
}

static int
log_counter(void *arg, const struct batch_counter *counter)
{
	return SETT_OK;
}

static int
log_prefix(void *arg, const struct prefix_change *change)
{
	return SETT_OK;
}

static int
log_replay(void *arg, const struct log_record *record)
{
	struct log_check *l = arg;
	struct batch_visitor visitor = {log_entry, log_counter, log_prefix, l, NULL};
	char name[CHECK_NAME_MAX];
	l->record = record;
	int r = batch_visit(record->payload, &visitor);
	if (r == SETT_CORRUPT) {
		check_file_name(record->segment, LOG_SUFFIX, name);
		find(l->check, SETT_DAMAGE, name, " at offset %" PRIu64 ": the commit's batch is malformed",
		     record->offset);
		r = SETT_OK;
	}
	l->check->figures->log_records += r == SETT_OK;
	return r; /* SETT_NOT_FOUND: a commit that was never durable lacks a value; the log is cut there */
}

static void
log_broken(void *arg, uint64_t segment, uint64_t offset, const char *what)
{
	struct log_check *l = arg;
	if (array_grow((void **)&l->damages, l->count, &l->capacity, sizeof(*l->damages)))
		l->damages[l->count++] = (struct log_damage){segment, offset, what};
	else
		l->failure = SETT_NO_MEMORY;
}

static void
log_segment_found(void *arg, const struct log_segment_info *info)
{
	struct log_check *l = arg;
	char name[CHECK_NAME_MAX];
	check_file_name(info->number, LOG_SUFFIX, name);
	check_progress(l->check, info->size);
	if (info->is_leftover)
		find(l->check, SETT_NOTE, name, ": not needed any more; the next start removes it");
	else if (info->is_unused)
		find(l->check, SETT_NOTE, name,
		     ": no whole header, and nothing behind it: it was being made, or is damaged");
}

/* The chain is broken where something durable is missing: all places, the one that recovery would name first.
 */
static void
tell_broken_log(struct check *c, const struct log_check *l, const struct sett_error *error)
{
	char name[CHECK_NAME_MAX], place[SETT_PATH_MAX + CHECK_NAME_MAX];
	for (size_t i = 0; i < l->count; i++) {
		check_file_name(l->damages[i].segment, LOG_SUFFIX, name);
		snprintf(place, sizeof(place), "%s/%s at offset %" PRIu64 ":", c->directory.path, name,
			 l->damages[i].offset);
		if (strstr(error->message, place))
			check_find(c, SETT_DAMAGE, name, no_key, error->message);
		else
			find(c, SETT_DAMAGE, name, " at offset %" PRIu64 ": %s", l->damages[i].offset,
			     l->damages[i].what);
	}
	if (l->count == 0)
		check_find(c, SETT_DAMAGE, "", no_key, error->message);
}

static int
check_log(struct check *c)
{
	struct sett_error error = {0};
	struct log_check l = {.check = c, .error = &error};
	const struct manifest_state *m = &c->manifest;
	struct log_recovery recovery = {.replay = log_replay,
					.damage = log_broken,
					.segment = log_segment_found,
					.arg = &l,
					.first_segment = m->log_segment,
					.durable = m->durable > m->flushed ? m->durable : m->flushed,
					.after = m->flushed,
					.must_be_whole = m->is_closed};
	struct log_recovered recovered;
	char name[CHECK_NAME_MAX];
	int r = log_examine(c->directory.vfs, c->directory.path, &recovery, &recovered, &error);
	if (r == SETT_NO_MEMORY || l.failure != SETT_OK) {
		free(l.damages);
		return check_no_memory(c);
	}
	if (r != SETT_OK) {
		c->is_whole = false;
		tell_broken_log(c, &l, &error);
		if (m->log_segment && !found_files_find(&c->directory.segments, m->log_segment))
			note_lacking(c, m->log_segment, LOG_SUFFIX);
	} else if (recovered.cut_segment) {
		check_file_name(recovered.cut_segment, LOG_SUFFIX, name);
		find(c, SETT_CUT, name,
		     " at offset %" PRIu64 ": %s. The next start cuts the log here, after commit %" PRIu64
		     ": %" PRIu64 " bytes, %" PRIu64
		     " whole commits among them, of which nothing says that they were durable",
		     recovered.cut_offset, recovered.cut_reason, recovered.last, recovered.cut_bytes,
		     recovered.cut_commits);
	}
	free(l.damages);
	return SETT_OK;
}

/* ---- the whole ---- */

static void
close_check(struct check *c)
{
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < c->levels[l].count; i++) {
			struct table_file *file = c->levels[l].tables[i];
			struct table_properties *p = (struct table_properties *)(uintptr_t)file->properties;
			table_properties_free(p);
			free(p);
			free(file);
		}
		free(c->levels[l].tables);
	}
	check_values_close(c);
	manifest_state_free(&c->manifest);
	directory_close(&c->directory);
}

int
sett_check(const char *path, const struct sett_check_options *options, struct sett_check_figures *ret,
	   struct sett_error *error)
{
	struct sett_check_figures figures = {0};
	struct check c = {.options = options, .figures = &figures, .error = error, .is_whole = true};
	int r = directory_open(options->vfs, path, &c.directory, error);
	if (r != SETT_OK)
		return r;
	figures.files = c.directory.file_count;
	figures.bytes = c.total = c.directory.bytes;
	r = check_values_open(&c);
	if (r == SETT_OK)
		r = check_manifest(&c);
	if (r == SETT_OK)
		r = check_tables(&c);
	/* Without a manifest nobody knows where the log begins. */
	if (r == SETT_OK && c.has_manifest)
		r = check_log(&c);
	if (r == SETT_OK && c.has_manifest)
		check_manifest_fits(&c);
	if (r == SETT_OK)
		r = check_values_walk(&c);
	if (r == SETT_OK && c.directory.strangers.size)
		find(&c, SETT_NOTE, "", ": not of the database: %.200s",
		     (const char *)c.directory.strangers.data);
	if (r == SETT_OK && options->on_progress)
		options->on_progress(options->arg, c.done, c.done);
	close_check(&c);
	if (r == SETT_OK)
		*ret = figures;
	return r;
}
