/* See storage/salvage.h.
 *
 *     MANIFEST -> which tables and segments count, what was dropped (gone or damaged: all that are there)
 *     segments -> entries in memory, sorted \
 *     tables   -> blocks, one by one        -> merged by key, newest version first -> not dropped -> its value -> out
 *
 * Of each table that the merge has not come to, one block is in memory and no file is open.
 *
 * Invariants
 *   1. Of each key the newest version that was found is given out, or nothing: where its value is lost an older one would
 *      pass for it.
 *   2. With a whole manifest the tables that it does not name are left out: they may have what was deleted since. */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "log_format.h"
#include "manifest_format.h"
#include "salvage_private.h"
#include "storage/keyring.h"
#include "value_log_format.h"

static const struct bytes any = {0};

/* ---- findings ---- */

void
salvage_name(uint64_t number, const char *suffix, char ret[SALVAGE_NAME_MAX])
{
	snprintf(ret, SALVAGE_NAME_MAX, "%06" PRIu64 "%s", number, suffix);
}

static void
give_finding(struct sett_salvage *s, const struct sett_salvage_finding *f)
{
	s->figures.lost += f->kind == SETT_SALVAGE_LOST;
	s->figures.lost_keys += f->kind == SETT_SALVAGE_KEY;
	s->figures.notes += f->kind == SETT_SALVAGE_NOTE;
	s->figures.doubts += f->kind == SETT_SALVAGE_DOUBT;
	if (s->options.on_finding)
		s->options.on_finding(s->options.arg, f);
}

void
salvage_find(struct sett_salvage *s, enum sett_salvage_kind kind, const char *file, struct bytes from,
	     struct bytes to, const char *format, ...)
{
	char text[SETT_PATH_MAX + 600];
	va_list args;
	int n = snprintf(text, sizeof(text), "%s%s%s", s->path, *file ? "/" : "", file);
	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	give_finding(s,
		     &(struct sett_salvage_finding){
			     .kind = kind, .file = file, .text = text, .from = from, .to = to});
}

int
salvage_no_memory(struct sett_salvage *s)
{
	return sett_error_set(s->error, SETT_NO_MEMORY, 0, "%s: out of memory", s->path);
}

int
salvage_progress(struct sett_salvage *s, uint64_t bytes)
{
	enum { STEP = 4 << 20 };
	s->done += bytes;
	if (s->total < s->done)
		s->total = s->done;
	if (s->done - s->reported < STEP)
		return SETT_OK;
	s->reported = s->done;
	if (s->options.on_progress)
		s->options.on_progress(s->options.arg, s->done, s->total);
	if (s->options.should_stop && s->options.should_stop(s->options.arg))
		s->is_stopped = true;
	return s->is_stopped ? sett_error_set(s->error, SETT_ABORTED, 0, "%s: it was stopped", s->path)
			     : SETT_OK;
}

/* ---- the manifest ---- */

static int
apply_field(void *arg, struct manifest_field *field)
{
	return manifest_state_apply(arg, field);
}

/* A file that the manifest needs is gone while one is there that it does not know: it has lost its end. */
static bool
manifest_fits(const struct sett_salvage *s)
{
	const struct manifest_state *m = &s->manifest;
	bool lacks = m->log_segment != 0 && !found_files_find(&s->directory.segments, m->log_segment);
	bool has_stranger = false;
	for (size_t i = 0; i < m->table_count; i++)
		lacks |= !found_files_find(&s->directory.tables, m->tables[i].number);
	for (size_t i = 0; i < s->directory.tables.count; i++)
		has_stranger |= manifest_state_table(m, s->directory.tables.files[i].number) == NULL;
	return !lacks || !has_stranger;
}

/* What a later version wrote is not damaged, and may mean something else. */
static int
refuse_other_version(struct sett_salvage *s, const char *path)
{
	uint8_t header[MANIFEST_HEADER_SIZE];
	uint32_t version = MANIFEST_VERSION;
	struct vfs_file *file;
	struct sett_error ignored = {0};
	if (vfs_open(s->directory.vfs, path, VFS_READ, &file, &ignored) != SETT_OK)
		return SETT_OK;
	bool is_header = vfs_read_exact(file, header, sizeof(header), 0, 0, &ignored) == SETT_OK &&
		manifest_header_decode(header, &version);
	(void)vfs_close(file, NULL);
	if (is_header && version == MANIFEST_SEALED_VERSION && s->directory.vfs->keys == NULL)
		return sett_error_set(s->error, SETT_INVALID, 0,
				      "%s is encrypted, and the file " SETT_KEYS_NAME
				      " is missing, without which nothing can be read",
				      path);
	if (!is_header || (version >= MANIFEST_OLDEST_VERSION && version <= MANIFEST_SEALED_VERSION))
		return SETT_OK;
	return sett_error_set(s->error, SETT_INVALID, 0,
			      "%s is of version %" PRIu32 "; this program reads versions %d to %d", path,
			      version, MANIFEST_OLDEST_VERSION, MANIFEST_SEALED_VERSION);
}

/* Of a damaged one what stands before the damage is true: what was dropped stays so. */
static int
read_manifest(struct sett_salvage *s)
{
	char path[SETT_PATH_MAX + 16];
	struct sett_error error = {0};
	struct manifest_visitor visitor = {.field = apply_field, .arg = &s->manifest};
	snprintf(path, sizeof(path), "%s/MANIFEST", s->path);
	int r = refuse_other_version(s, path);
	if (r != SETT_OK)
		return r;
	r = manifest_read(s->directory.vfs, path, &visitor, &error);
	if (r == SETT_NO_MEMORY)
		return salvage_no_memory(s);
	s->figures.has_manifest = r == SETT_OK && manifest_fits(s);
	s->figures.is_closed = s->figures.has_manifest && s->manifest.is_closed;
	if (r == SETT_NOT_FOUND)
		salvage_find(s, SETT_SALVAGE_LOST, "MANIFEST", any, any,
			     " is missing: all tables and log segments that are there are taken for the "
			     "database's");
	else if (r != SETT_OK)
		give_finding(s,
			     &(struct sett_salvage_finding){
				     .kind = SETT_SALVAGE_LOST, .file = "MANIFEST", .text = error.message});
	else if (!s->figures.has_manifest)
		salvage_find(
			s, SETT_SALVAGE_LOST, "MANIFEST", any, any,
			": it needs files that are gone, and does not know some that are there: it has lost "
			"its end");
	if (!s->figures.has_manifest)
		s->manifest.flushed = s->manifest.durable = 0;
	return salvage_progress(s, s->directory.manifest_size);
}

/* All that was ever said to be dropped, also what was erased since: an old table may still have it. */
static int
gather_dead(struct sett_salvage *s)
{
	struct dead_list *lists[2] = {0};
	int r = dead_list_merge(s->manifest.died.lists, s->manifest.died.count, &lists[0]);
	if (r == SETT_OK)
		r = drop_list_sort(&s->drops, false, &lists[1]);
	if (r == SETT_OK)
		r = dead_list_merge(lists, 2, &s->dead);
	dead_list_release(lists[0]);
	dead_list_release(lists[1]);
	dead_cursor_init(&s->dead_cursor, s->dead);
	return r == SETT_OK ? r : salvage_no_memory(s);
}

/* ---- sources ---- */

static bool
is_before(const struct salvage_source *a, const struct salvage_source *b)
{
	return ikey_compare(a->key, b->key) < 0;
}

static void
sift_down(struct sett_salvage *s, size_t at)
{
	for (;;) {
		size_t least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->source_count; child++) {
			if (is_before(&s->sources[child], &s->sources[least]))
				least = child;
		}
		if (least == at)
			return;
		struct salvage_source moved = s->sources[at];
		s->sources[at] = s->sources[least];
		s->sources[least] = moved;
		at = least;
	}
}

/* How a table ends, once all its blocks were looked for. */
static void
tell_of_end(struct sett_salvage *s, const struct table_scan *t)
{
	char name[SALVAGE_NAME_MAX];
	salvage_name(t->number, ".sst", name);
	if (!t->end_is_known) /* the gap was told of */
		return;
	if (!t->has_footer)
		salvage_find(s, SETT_SALVAGE_NOTE, name, any, any,
			     ": its footer is damaged; its %" PRIu64 " blocks were found without it",
			     t->blocks);
}

/* What is behind the key can't be read, for the reason in `error`: SETT_IO, or SETT_NOT_FOUND, the file is gone. */
static int
lose_rest(struct sett_salvage *s, uint64_t number, struct bytes from, int status)
{
	char name[SALVAGE_NAME_MAX];
	salvage_name(number, ".sst", name);
	salvage_find(s, SETT_SALVAGE_LOST, name, from, any, ": %s",
		     status == SETT_IO ? s->error->message
				       : "the manifest names this table, and it is missing");
	return SETT_OK;
}

/* The next entry of the source. SETT_NOT_FOUND: it has no more. */
static int
advance(struct sett_salvage *s, struct salvage_source *source)
{
	struct table_scan *t = source->table;
	if (t == NULL) {
		if (s->log_at == s->log_count)
			return SETT_NOT_FOUND;
		const struct log_item *item = &s->log[s->log_at++];
		source->key = (struct ikey){item->key, item->timestamp};
		source->value = item->value;
		s->figures.versions++;
		return SETT_OK;
	}
	t->error = s->error;
	int r = table_scan_next(t);
	if (r == SETT_IO) {
		(void)lose_rest(s, t->number, t->has_key ? buffer_bytes(&t->user) : bytes_of("", 0), r);
		r = SETT_NOT_FOUND;
	}
	uint64_t read = (r == SETT_NOT_FOUND ? t->size : t->offset) - source->counted;
	source->counted += read;
	source->key = t->key;
	source->value = t->value;
	if (r == SETT_OK)
		s->figures.versions++;
	if (r == SETT_NOT_FOUND) {
		s->figures.tables++;
		s->figures.blocks += t->blocks;
		tell_of_end(s, t);
		table_scan_close(t);
	}
	int progress = read > 0 ? salvage_progress(s, read) : SETT_OK;
	return progress != SETT_OK ? progress : r;
}

/* The source with the least key goes on. */
static int
advance_first(struct sett_salvage *s)
{
	int r = advance(s, &s->sources[0]);
	if (r == SETT_NOT_FOUND) {
		s->sources[0] = s->sources[--s->source_count];
		r = SETT_OK;
	}
	sift_down(s, 0);
	return r;
}

/* ---- opening ---- */

static void
on_gap(void *arg, const struct table_scan *t, const struct table_gap *gap)
{
	struct sett_salvage *s = arg;
	char name[SALVAGE_NAME_MAX];
	salvage_name(t->number, ".sst", name);
	/* Behind the last block there is none to name the end; without data it is open. */
	struct bytes from = gap->before.data ? gap->before : bytes_of("", 0);
	if (t->end_is_known)
		salvage_find(s, SETT_SALVAGE_LOST, name, from, gap->behind,
			     " at offset %" PRIu64 ": in %" PRIu64 " bytes there is no whole block",
			     gap->offset, gap->size);
	else
		salvage_find(s, SETT_SALVAGE_LOST, name, from, gap->behind,
			     " at offset %" PRIu64 ": in %" PRIu64
			     " bytes there is no whole block; what of them had entries can't be told, as the "
			     "footer "
			     "is damaged too",
			     gap->offset, gap->size);
}

/* A table joins the merge with its first entry. */
static int
add_table(struct sett_salvage *s, uint64_t number)
{
	char path[SETT_PATH_MAX];
	struct table_scan *t = &s->tables[s->table_count];
	struct salvage_source source = {.table = t};
	table_path(s->path, number, path);
	int r = table_scan_open(t, s->directory.vfs, path, number, s->error);
	if (r == SETT_NOT_FOUND || r == SETT_IO)
		return lose_rest(s, number, bytes_of("", 0), r);
	if (r != SETT_OK)
		return r;
	s->table_count++;
	t->on_gap = on_gap;
	t->arg = s;
	r = advance(s, &source);
	if (r == SETT_OK)
		s->sources[s->source_count++] = source;
	table_scan_pause(t);
	return r == SETT_NOT_FOUND ? SETT_OK : r; /* there is no whole block: told of */
}

static int
add_tables(struct sett_salvage *s)
{
	const struct found_files *found = &s->directory.tables;
	const struct manifest_state *m = &s->manifest;
	size_t count = s->figures.has_manifest ? m->table_count : found->count;
	int r = SETT_OK;
	s->tables = calloc(count + 1, sizeof(*s->tables));
	s->sources = calloc(count + 1, sizeof(*s->sources));
	if (s->tables == NULL || s->sources == NULL)
		return salvage_no_memory(s);
	for (size_t i = 0; r == SETT_OK && i < count; i++)
		r = add_table(s, s->figures.has_manifest ? m->tables[i].number : found->files[i].number);
	struct salvage_source log = {.table = NULL};
	if (r == SETT_OK && s->log_count > 0 && (r = advance(s, &log)) == SETT_OK)
		s->sources[s->source_count++] = log;
	for (size_t i = s->source_count; i-- > 0;)
		sift_down(s, i);
	return r;
}

/* Each value that it has had is told of where a key leads there. */
static void
on_bad_values(void *arg, uint64_t number, const struct sett_error *why)
{
	char name[SALVAGE_NAME_MAX];
	salvage_name(number, VALUE_LOG_SUFFIX, name);
	salvage_find(arg, SETT_SALVAGE_NOTE, name, any, any, " is left out: %s", why->message);
}

/* Records are looked at when a pointer leads there. */
static int
open_values(struct sett_salvage *s)
{
	struct sett_error error = {0};
	struct value_log_options options = {.vfs = s->directory.vfs,
					    .directory = s->path,
					    .on_bad_file = on_bad_values,
					    .on_bad_file_arg = s};
	int r = value_log_open(&options, &s->values, &error);
	if (r == SETT_NO_MEMORY)
		return salvage_no_memory(s);
	if (r != SETT_OK)
		give_finding(s,
			     &(struct sett_salvage_finding){
				     .kind = SETT_SALVAGE_LOST, .file = "", .text = error.message});
	return SETT_OK;
}

/* What the manifest knows to be durable was there. */
static void
hold_against_manifest(struct sett_salvage *s)
{
	uint64_t durable = s->manifest.durable;
	if (s->figures.has_manifest && durable > s->manifest.flushed && durable > s->last_commit)
		salvage_find(s, SETT_SALVAGE_LOST, "", any, any,
			     ": commits up to %" PRIu64
			     " were durable; what of the log is there ends with commit %" PRIu64,
			     durable,
			     s->last_commit > s->manifest.flushed ? s->last_commit : s->manifest.flushed);
}

static int
begin(struct sett_salvage *s)
{
	s->figures.files = s->directory.file_count;
	s->figures.bytes = s->total = s->directory.bytes;
	if (s->directory.is_half_restored)
		salvage_find(s, SETT_SALVAGE_LOST, SETT_RESTORING_NAME, any, any,
			     " is there: the restore or salvage that made this database has not come to its "
			     "end");
	int r = read_manifest(s);
	if (r == SETT_OK)
		r = salvage_read_log(s, s->figures.has_manifest ? s->manifest.log_segment : 0);
	if (r == SETT_OK)
		r = gather_dead(s);
	if (r == SETT_OK)
		r = open_values(s);
	if (r == SETT_OK)
		r = add_tables(s);
	if (r == SETT_OK)
		hold_against_manifest(s);
	return r;
}

int
sett_salvage_open(const char *directory, const struct sett_salvage_options *options,
		  struct sett_salvage **ret, struct sett_error *error)
{
	enum { ARENA_BLOCK = 1 << 20 };
	struct sett_salvage *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	s->options = *options;
	s->error = error;
	arena_init(&s->arena, ARENA_BLOCK);
	drop_list_init(&s->drops);
	int r = SETT_OK;
	if (snprintf(s->path, sizeof(s->path), "%s", directory) >= (int)sizeof(s->path) - 32)
		r = sett_error_set(error, SETT_INVALID, 0, "The directory's path is too long: %s", directory);
	if (r == SETT_OK)
		r = directory_open(options->vfs, s->path, &s->directory, error);
	if (r == SETT_OK)
		r = begin(s);
	if (r != SETT_OK) {
		sett_salvage_close(s);
		return r;
	}
	*ret = s;
	return SETT_OK;
}

void
sett_salvage_close(struct sett_salvage *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->table_count; i++)
		table_scan_close(&s->tables[i]);
	free(s->tables);
	free(s->sources);
	value_log_close(s->values);
	arena_free(&s->arena);
	free(s->log);
	drop_list_free(&s->drops);
	dead_list_release(s->dead);
	manifest_state_free(&s->manifest);
	buffer_free(&s->key);
	buffer_free(&s->value);
	buffer_free(&s->body);
	if (s->directory.vfs != NULL)
		directory_close(&s->directory);
	free(s);
}

/* ---- values ---- */

/* SETT_NOT_FOUND: it is not whole, and was told of; else it is in `body`, or to be streamed. */
static int
lose_value(struct sett_salvage *s, const struct sett_error *why)
{
	char name[SALVAGE_NAME_MAX], text[SETT_PATH_MAX + sizeof(why->message)];
	salvage_name(s->pointer.file, VALUE_LOG_SUFFIX, name);
	snprintf(text, sizeof(text), "%s", why->message);
	give_finding(
		s,
		&(struct sett_salvage_finding){
			.kind = SETT_SALVAGE_KEY, .file = name, .text = text, .key = buffer_bytes(&s->key)});
	return SETT_NOT_FOUND;
}

static int
read_value(struct sett_salvage *s, const struct value_pointer *pointer, struct sett_salvage_entry *ret)
{
	struct sett_error error = {0};
	s->pointer = *pointer;
	s->streamed = 0;
	ret->body_size = pointer->body_size;
	if (s->values == NULL) {
		sett_error_set(&error, SETT_CORRUPT, 0, "%s: the value log can't be read", s->path);
		return lose_value(s, &error);
	}
	if (pointer->body_size >= SETT_MAX_PACKED_SIZE) {
		ret->is_streamed = true;
		return SETT_OK;
	}
	buffer_clear(&s->body);
	int r = value_log_read(s->values, pointer, 0, &s->body, &error);
	if (r == SETT_NO_MEMORY)
		return salvage_no_memory(s);
	if (r != SETT_OK)
		return lose_value(s, &error);
	ret->body = buffer_bytes(&s->body);
	return salvage_progress(s, pointer->stored_size);
}

int
sett_salvage_read(struct sett_salvage *s, void *data, size_t size, struct sett_error *error)
{
	struct sett_error why = {0};
	s->error = error;
	assert(size <= s->pointer.body_size - s->streamed);
	int r = value_log_read_part(s->values, &s->pointer, s->streamed, size, 0, data, &why);
	if (r == SETT_NO_MEMORY)
		return salvage_no_memory(s);
	if (r != SETT_OK) {
		(void)lose_value(s, &why);
		return sett_error_set(error, SETT_CORRUPT, 0, "%s", why.message);
	}
	s->streamed += size;
	return salvage_progress(s, size);
}

/* ---- entries ---- */

/* The newest version of the next key is in `key` and `value`, and the older ones are passed over. */
static int
take_newest(struct sett_salvage *s, uint64_t *ret_timestamp)
{
	const struct salvage_source *first = &s->sources[0];
	int r = SETT_OK;
	buffer_clear(&s->key);
	buffer_clear(&s->value);
	if (buffer_append(&s->key, first->key.user.data, first->key.user.size) != SETT_OK ||
	    buffer_append(&s->value, first->value.data, first->value.size) != SETT_OK)
		return salvage_no_memory(s);
	*ret_timestamp = first->key.timestamp;
	while (r == SETT_OK && s->source_count > 0 &&
	       bytes_equal(s->sources[0].key.user, buffer_bytes(&s->key)))
		r = advance_first(s);
	return r;
}

static bool
was_dropped(struct sett_salvage *s, struct bytes key)
{
	dead_cursor_advance(&s->dead_cursor, key);
	return s->dead_cursor.valid && dead_range_covers(&s->dead_cursor.now, key);
}

int
sett_salvage_next(struct sett_salvage *s, struct sett_salvage_entry *ret, struct sett_error *error)
{
	s->error = error;
	while (s->source_count > 0) {
		struct entry e;
		struct sett_salvage_entry out = {0};
		int r = take_newest(s, &out.timestamp);
		if (r != SETT_OK)
			return r;
		out.key = buffer_bytes(&s->key);
		r = entry_decode(buffer_bytes(&s->value), &e);
		assert(r == SETT_OK); /* both kinds of sources have looked */
		if (e.kind == ENTRY_TOMBSTONE || was_dropped(s, out.key))
			continue;
		out.head = e.head;
		out.expires_at = e.expires_at;
		out.body = e.body;
		out.body_size = e.body.size;
		if (e.kind == ENTRY_POINTER)
			r = read_value(s, &e.pointer, &out);
		if (r == SETT_NOT_FOUND)
			continue;
		if (r == SETT_OK)
			*ret = out;
		return r;
	}
	return SETT_NOT_FOUND;
}

void
sett_salvage_figures(const struct sett_salvage *s, struct sett_salvage_figures *ret)
{
	*ret = s->figures;
}
