/* The version set: the current version, the manifest behind it, and the numbers the manifest keeps.
 *
 * An edit's way (version_set_apply), each step after the one before has returned:
 *
 *     build the new version in memory        fails: nothing happened
 *     sync the directory                     the tables' names are durable (I10)
 *     append the edit to the manifest, sync  from here on it holds, whatever comes
 *     swap the current version, mark the removed tables obsolete
 *     tell the engine (on_install)
 *     write the manifest anew if it has grown
 *
 * Invariants:
 *  1. All memory an edit needs is taken before the manifest is touched: what is durable is also current.
 *  2. A file number is handed out only below the limit that the manifest holds durably, so a process that was
 *     killed cannot have used one that a later process gets. Each edit moves the limit on in passing.
 *  3. After a failed manifest sync the set takes no edit, and no table file is removed: which of two states
 *     the next start finds is not known, and both must be whole.
 *  4. If there is no manifest there must be no other file of a database: all are made after it, so it was
 *     lost, and taking the tables for orphans would finish the loss.
 *  5. Until version_set_take_over nothing on the disk is changed. A table that the manifest names and that is
 *     gone, while one is there that no edit knows, shows that edits were lost: an edit's input is removed
 *     after the edit is durable. Removing the orphan would then finish the loss. */
#include <assert.h>
#include <inttypes.h>

#include "file_names.h"
#include "version_private.h"

enum { NUMBER_LEASE = 4096 };     /* file numbers taken at once */
#define REWRITE_SIZE (1ULL << 20) /* a manifest below is not worth writing anew */

static int
out_of_memory(const struct version_set *set, struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", set->directory);
}

/* ---- the manifest as a whole ---- */

/* What a manifest says of the files beside the tables. */
struct log_position {
	uint64_t file_limit, log_segment, durable;
	bool is_closed;
};

static int
encode_state_locked(struct version_set *set, const struct log_position *position, struct buffer *ret)
	REQUIRES(&set->lock)
{
	assert(mutex_is_mine(&set->lock));
	int r = manifest_put_file_limit(ret, position->file_limit);
	if (r == SETT_OK)
		r = manifest_put_flush(ret, position->log_segment, set->flushed, set->now_ms);
	if (r == SETT_OK)
		r = manifest_put_durable(ret, position->durable, position->is_closed);
	if (r == SETT_OK)
		r = manifest_put_counters(ret, set->counters, set->counter_count);
	if (r == SETT_OK)
		r = manifest_put_pending(ret, buffer_bytes(&set->pending));
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		const struct level *level = &set->current->levels[l];
		for (size_t i = 0; r == SETT_OK && i < level->count; i++)
			r = manifest_put_table_added(ret, l, level->tables[i]);
	}
	return r;
}

/* The dead set changes with edits alone, of which there is none now; the lists are written without its lock. */
static int
encode_dead(struct version_set *set, struct buffer *ret)
{
	struct dead_view *view;
	int r = dead_set_view(&set->dead, false, &view);
	if (r != SETT_OK)
		return r;
	for (size_t i = 0; r == SETT_OK && i < view->count; i++)
		r = manifest_put_dead(ret, view->cohorts[i].timestamp, view->cohorts[i].list);
	dead_view_free(view);
	return r;
}

/* Holds the manifest lock (or nobody else is there yet). */
static int
rewrite_locked(struct version_set *set, struct sett_error *error) REQUIRES(&set->manifest_lock)
{
	assert(mutex_is_mine(&set->manifest_lock));
	struct buffer payload = {0};
	mutex_lock(&set->lock);
	uint64_t limit = set->next_file + NUMBER_LEASE;
	struct log_position position = {limit, set->log_segment, set->durable, set->is_closed};
	int r = encode_state_locked(set, &position, &payload);
	mutex_unlock(&set->lock);
	if (r == SETT_OK)
		r = encode_dead(set, &payload);
	if (r != SETT_OK) {
		buffer_free(&payload);
		return out_of_memory(set, error);
	}
	struct manifest *m;
	r = manifest_create(set->options.vfs, set->directory, buffer_bytes(&payload), &m, error);
	buffer_free(&payload);
	if (r == SETT_FAILED)
		set->failed = r;
	if (r != SETT_OK)
		return r;
	manifest_close(set->manifest);
	set->manifest = m;
	__atomic_store_n(&set->file_limit, limit, __ATOMIC_RELAXED); /* read without the lock */
	set->first_size = manifest_size(m);
	__atomic_store_n(&set->manifest_bytes, set->first_size, __ATOMIC_RELAXED);
	return SETT_OK;
}

int
version_set_picture(struct version_set *set, struct version **ret, struct buffer *ret_payload,
		    uint64_t *ret_flushed)
{
	struct buffer payload = {0};
	mutex_lock(&set->apply_lock);
	mutex_lock(&set->lock);
	struct version *version = set->current;
	uint64_t flushed = set->flushed;
	struct log_position position = {set->next_file, 0, flushed, true};
	version_retain(version);
	int r = encode_state_locked(set, &position, &payload);
	mutex_unlock(&set->lock);
	if (r == SETT_OK)
		r = encode_dead(set, &payload);
	mutex_unlock(&set->apply_lock);
	if (r != SETT_OK) {
		version_release(version);
		buffer_free(&payload);
		return r;
	}
	*ret = version;
	*ret_payload = payload;
	*ret_flushed = flushed;
	return SETT_OK;
}

static int
append_locked(struct version_set *set, struct bytes payload, struct sett_error *error)
	REQUIRES(&set->manifest_lock)
{
	assert(mutex_is_mine(&set->manifest_lock));
	assert(set->manifest != NULL); /* taken over */
	if (set->failed != SETT_OK)
		return sett_error_set(error, SETT_FAILED, 0, "%s/MANIFEST: an earlier write failed",
				      set->directory);
	int r = manifest_append(set->manifest, payload, error);
	if (r == SETT_FAILED)
		set->failed = r;
	return r;
}

/* ---- file numbers ---- */

static int
lease_locked(struct version_set *set, struct sett_error *error) REQUIRES(&set->manifest_lock)
{
	assert(mutex_is_mine(&set->manifest_lock));
	mutex_lock(&set->lock);
	uint64_t limit = set->next_file + NUMBER_LEASE;
	mutex_unlock(&set->lock);
	struct buffer payload = {0};
	int r = manifest_put_file_limit(&payload, limit);
	r = r == SETT_OK ? append_locked(set, buffer_bytes(&payload), error) : out_of_memory(set, error);
	buffer_free(&payload);
	if (r == SETT_OK)
		__atomic_store_n(&set->file_limit, limit, __ATOMIC_RELAXED); /* read without the lock */
	return r;
}

int
version_set_next_file_number(struct version_set *set, uint64_t *ret, struct sett_error *error)
{
	for (;;) {
		/* relaxed: the limit only grows; a stale one costs a visit to the manifest's lock */
		uint64_t limit = __atomic_load_n(&set->file_limit, __ATOMIC_RELAXED);
		mutex_lock(&set->lock);
		uint64_t number = set->next_file;
		bool leased = number < limit;
		if (leased)
			set->next_file++;
		mutex_unlock(&set->lock);
		if (leased) {
			*ret = number;
			return SETT_OK;
		}
		mutex_lock(&set->manifest_lock);
		int r = set->file_limit > number ? SETT_OK : lease_locked(set, error);
		mutex_unlock(&set->manifest_lock);
		if (r != SETT_OK)
			return r;
	}
}

void
version_set_note_file_number(struct version_set *set, uint64_t number)
{
	mutex_lock(&set->lock);
	if (set->next_file <= number)
		set->next_file = number + 1;
	mutex_unlock(&set->lock);
}

/* ---- opening ---- */

struct listing {
	struct version_set *set;
	const struct manifest_state *state; /* NULL: there is no manifest */
	size_t capacity;                    /* of the set's orphans */
	char stranded[64];                  /* name of a file that must not be there without a manifest */
};

static int
note_orphan(struct listing *l, uint64_t number)
{
	struct version_set *set = l->set;
	if (set->orphan_count == l->capacity) {
		size_t capacity = l->capacity ? l->capacity * 2 : 64;
		void *p = reallocarray(set->orphans, capacity, sizeof(*set->orphans));
		if (!p)
			return SETT_NO_MEMORY;
		set->orphans = p;
		l->capacity = capacity;
	}
	set->orphans[set->orphan_count++] = number;
	return SETT_OK;
}

static int
note_name(void *arg, const char *name)
{
	struct listing *l = arg;
	uint64_t number;
	if (!l->state && file_name_is_numbered(name))
		snprintf(l->stranded, sizeof(l->stranded), "%s", name);
	if (!table_name_parse(name, &number))
		return SETT_OK;
	version_set_note_file_number(l->set, number);
	return l->state && manifest_state_table(l->state, number) ? SETT_OK : note_orphan(l, number);
}

/* Finds the files that no edit knows; `state` is NULL if there is no manifest (invariant 4). */
static int
find_orphans(struct version_set *set, const struct manifest_state *state, struct sett_error *error)
{
	struct listing l = {.set = set, .state = state};
	int r = vfs_list(set->options.vfs, set->directory, note_name, &l, error);
	if (r == SETT_NO_MEMORY)
		return out_of_memory(set, error);
	if (r == SETT_OK && l.stranded[0])
		return sett_error_set(error, SETT_CORRUPT, 0, "%s/MANIFEST is missing, but there is %s/%s",
				      set->directory, set->directory, l.stranded);
	return r;
}

static int
remove_orphans(struct version_set *set, struct sett_error *error)
{
	int r = SETT_OK;
	for (; r == SETT_OK && set->orphan_count > 0; set->orphan_count -= r == SETT_OK) {
		char path[SETT_PATH_MAX];
		table_path(set->directory, set->orphans[set->orphan_count - 1], path);
		r = vfs_remove(set->options.vfs, path, error);
	}
	return r;
}

/* (invariant 5) */
int
version_set_lacks(const struct version_set *set, const char *path, struct sett_error *error)
{
	if (set->torn_at)
		return sett_error_set(
			error, SETT_CORRUPT, 0,
			"%s/MANIFEST at offset %" PRIu64
			": its last edits are damaged: what is before them needs %s, which is gone",
			set->directory, set->torn_at, path);
	if (set->orphan_count)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s/MANIFEST at offset %" PRIu64
				      ", its end: it needs %s, which is gone, and does not know %06" PRIu64
				      ".sst, which is there: it seems to have been cut short",
				      set->directory, set->manifest_end, path, set->orphans[0]);
	return sett_error_set(error, SETT_CORRUPT, 0, "%s is missing", path);
}

static int
open_table(struct version_set *set, const struct manifest_table *t, struct table_file **ret,
	   struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct table_file *f;
	table_path(set->directory, t->number, path);
	int r = table_file_open(set, t->number, 0, &f, error);
	if (r == SETT_NOT_FOUND)
		return version_set_lacks(set, path, error);
	if (r != SETT_OK)
		return r;
	if (f->size != t->size) {
		table_file_release(set, f);
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s: %" PRIu64 " bytes, the manifest says %" PRIu64, path, f->size,
				      t->size);
	}
	f->held_bytes = t->held_bytes;
	f->held_timestamp = t->held_timestamp;
	f->shadowed = t->shadowed;
	f->shadowed_is_known = t->shadowed_is_known;
	*ret = f;
	return SETT_OK;
}

static int
open_tables(struct version_set *set, const struct manifest_state *state, struct sett_error *error)
{
	struct version_edit_table *added = calloc(state->table_count + 1, sizeof(*added));
	if (!added)
		return out_of_memory(set, error);
	size_t count = 0;
	int r = SETT_OK;
	for (; r == SETT_OK && count < state->table_count; count += r == SETT_OK) {
		added[count].level = state->tables[count].level;
		r = open_table(set, &state->tables[count], &added[count].file, error);
	}
	if (r == SETT_OK) {
		struct version_edit edit = {.added = added, .added_count = count};
		r = version_build(set, NULL, &edit, &set->current, error);
	}
	/* The version holds them now, or nobody does. */
	while (count > 0)
		table_file_release(set, added[--count].file);
	free(added);
	return r;
}

/* Takes over numbers, counters and prefixes. */
static int
adopt_state(struct version_set *set, struct manifest_state *state, struct sett_error *error)
{
	set->log_segment = state->log_segment;
	set->flushed = state->flushed;
	set->now_ms = state->now_ms;
	set->durable = state->durable;
	set->is_closed = state->is_closed;
	set->manifest_end = state->end;
	set->torn_at = state->torn_at;
	set->next_file = state->file_limit ? state->file_limit : 1;
	set->counters = state->counters;
	set->counter_count = state->counter_count;
	state->counters = NULL;
	set->pending = state->pending;
	state->pending = (struct buffer){0};
	struct dead_list *dead;
	int r = manifest_state_dead(state, &dead);
	if (r == SETT_OK && dead) {
		r = dead_set_reserve(&set->dead);
		if (r == SETT_OK)
			dead_set_add(&set->dead, dead, state->flushed);
		else
			dead_list_release(dead);
	}
	return r == SETT_OK ? r : out_of_memory(set, error);
}

static int
load(struct version_set *set, struct sett_error *error)
{
	struct manifest_state state = {0};
	int r = manifest_load(set->options.vfs, set->directory, &state, error);
	bool found = r == SETT_OK;
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return r;
	r = adopt_state(set, &state, error);
	if (r == SETT_OK)
		r = find_orphans(set, found ? &state : NULL, error);
	if (r == SETT_OK)
		r = open_tables(set, &state, error);
	manifest_state_free(&state);
	return r;
}

static void
free_set(struct version_set *set)
{
	version_release(set->current);
	manifest_close(set->manifest);
	dead_set_free(&set->dead);
	buffer_free(&set->pending);
	free(set->counters);
	free(set->orphans);
	mutex_destroy(&set->apply_lock);
	mutex_destroy(&set->manifest_lock);
	mutex_destroy(&set->lock);
	free(set->directory);
	free(set);
}

int
version_set_open(const struct version_set_options *options, struct version_set **ret,
		 struct sett_error *error)
{
	struct version_set *set = calloc(1, sizeof(*set));
	if (!set)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", options->directory);
	set->options = *options;
	set->sequence = 1;
	mutex_init(&set->apply_lock);
	mutex_init(&set->manifest_lock);
	mutex_init(&set->lock);
	dead_set_init(&set->dead);
	set->directory = strdup(options->directory);
	int r = set->directory
		? load(set, error)
		: sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", options->directory);
	if (r != SETT_OK) {
		free_set(set);
		return r;
	}
	*ret = set;
	return SETT_OK;
}

int
version_set_take_over(struct version_set *set, uint64_t durable, struct sett_error *error)
{
	mutex_lock(&set->manifest_lock);
	assert(set->manifest == NULL && durable >= set->durable);
	mutex_lock(&set->lock);
	set->durable = durable;
	set->is_closed = false;
	mutex_unlock(&set->lock);
	int r = rewrite_locked(set, error); /* drops a torn tail, and leases numbers */
	mutex_unlock(&set->manifest_lock);
	return r == SETT_OK ? remove_orphans(set, error) : r;
}

void
version_set_close(struct version_set *set)
{
	if (set)
		free_set(set);
}

/* ---- edits ---- */

/* Memory that the installation will need (invariant 1). */
struct prepared {
	struct version *version;
	struct counter_value *counters;
	struct buffer pending;
	struct buffer payload;
};

static int
encode_edit(const struct version_edit *edit, struct buffer *b)
{
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < edit->removed_count; i++)
		r = manifest_put_table_removed(b, edit->removed[i].file->number);
	for (size_t i = 0; r == SETT_OK && i < edit->added_count; i++)
		r = manifest_put_table_added(b, edit->added[i].level, edit->added[i].file);
	if (r == SETT_OK && edit->has_flush) {
		r = manifest_put_flush(b, edit->log_segment, edit->flushed, edit->now_ms);
		if (r == SETT_OK)
			r = manifest_put_counters(b, edit->counters, edit->counter_count);
		if (r == SETT_OK)
			r = manifest_put_pending(b, edit->pending);
		if (r == SETT_OK && edit->dead)
			r = manifest_put_dead(b, edit->flushed, edit->dead);
	}
	for (size_t i = 0; r == SETT_OK && i < edit->departure_count; i++)
		r = manifest_put_dead_gone(b, edit->departures[i].gone);
	return r;
}

static int
prepare(struct version_set *set, const struct version_edit *edit, struct prepared *p,
	struct sett_error *error)
{
	/* `current` changes only under the apply lock. */
	assert(mutex_is_mine(&set->apply_lock));
	int r = version_build(set, set->current, edit, &p->version, error);
	if (r != SETT_OK)
		return r;
	if (edit->has_flush) {
		p->counters = calloc(edit->counter_count + 1, sizeof(*p->counters));
		if (!p->counters)
			return out_of_memory(set, error);
		if (edit->counter_count)
			memcpy(p->counters, edit->counters, edit->counter_count * sizeof(*p->counters));
		r = buffer_append(&p->pending, edit->pending.data, edit->pending.size);
	}
	if (r != SETT_OK || encode_edit(edit, &p->payload) != SETT_OK ||
	    (edit->dead && dead_set_reserve(&set->dead) != SETT_OK))
		return out_of_memory(set, error);
	return SETT_OK;
}

/* Under the manifest lock: makes the edit durable, and moves the limit of file numbers on. */
static int
commit_locked(struct version_set *set, struct prepared *p, struct sett_error *error)
	REQUIRES(&set->manifest_lock)
{
	assert(mutex_is_mine(&set->manifest_lock));
	mutex_lock(&set->lock);
	uint64_t limit = set->next_file + NUMBER_LEASE;
	mutex_unlock(&set->lock);
	if (limit > set->file_limit && manifest_put_file_limit(&p->payload, limit) != SETT_OK)
		return out_of_memory(set, error);
	int r = append_locked(set, buffer_bytes(&p->payload), error);
	if (r == SETT_OK && limit > set->file_limit)
		__atomic_store_n(&set->file_limit, limit, __ATOMIC_RELAXED);
	return r;
}

static bool
is_added(const struct version_edit *edit, const struct table_file *f)
{
	for (size_t i = 0; i < edit->added_count; i++) {
		if (edit->added[i].file == f)
			return true;
	}
	return false;
}

static bool
was_removed(const struct version_edit *edit, const struct table_file *f)
{
	for (size_t i = 0; i < edit->removed_count; i++) {
		if (edit->removed[i].file == f)
			return true;
	}
	return false;
}

/* Nothing here can fail. */
static void
install(struct version_set *set, const struct version_edit *edit, struct prepared *p)
{
	struct version *old;
	assert(mutex_is_mine(&set->apply_lock) &&
	       (!set->current || p->version->number > set->current->number));
	mutex_lock(&set->lock);
	old = set->current;
	set->current = p->version;
	if (edit->has_flush) {
		assert(edit->flushed >= set->flushed && edit->log_segment >= set->log_segment);
		set->log_segment = edit->log_segment;
		set->flushed = edit->flushed;
		set->now_ms = edit->now_ms > set->now_ms ? edit->now_ms : set->now_ms;
		free(set->counters);
		set->counters = p->counters;
		set->counter_count = edit->counter_count;
		p->counters = NULL;
		buffer_free(&set->pending);
		set->pending = p->pending;
		p->pending = (struct buffer){0};
	}
	mutex_unlock(&set->lock);
	if (edit->dead)
		dead_set_add(&set->dead, dead_list_retain(edit->dead), edit->flushed);
	for (size_t i = 0; i < edit->departure_count; i++)
		dead_set_replace(&set->dead, edit->departures[i].cohort,
				 dead_list_retain(edit->departures[i].stays));
	for (size_t i = 0; i < edit->removed_count; i++) {
		/* release: with the acquire load of whoever drops the last reference */
		if (!is_added(edit, edit->removed[i].file))
			__atomic_store_n(&edit->removed[i].file->obsolete, true, __ATOMIC_RELEASE);
	}
	for (size_t i = 0; i < edit->added_count; i++) {
		if (!was_removed(edit, edit->added[i].file))
			table_file_release(set,
					   edit->added[i].file); /* the maker's: the version has its own */
	}
	version_release(old);
}

static bool
is_due_for_rewrite_locked(struct version_set *set) REQUIRES(&set->manifest_lock)
{
	assert(mutex_is_mine(&set->manifest_lock));
	uint64_t size = manifest_size(set->manifest);
	__atomic_store_n(&set->manifest_bytes, size, __ATOMIC_RELAXED);
	return set->failed == SETT_OK && size > REWRITE_SIZE && size > 4 * set->first_size;
}

/* Under the apply lock. */
static void
maybe_rewrite(struct version_set *set)
{
	assert(mutex_is_mine(&set->apply_lock));
	struct sett_error error = {0};
	mutex_lock(&set->manifest_lock);
	if (is_due_for_rewrite_locked(set) && rewrite_locked(set, &error) != SETT_OK)
		log_sink_printf(&set->options.sink, LOG_LEVEL_WARNING, "cannot write the manifest anew: %s",
				error.message);
	mutex_unlock(&set->manifest_lock);
}

int
version_set_rewrite_manifest(struct version_set *set, struct sett_error *error)
{
	mutex_lock(&set->apply_lock);
	mutex_lock(&set->manifest_lock);
	int r = rewrite_locked(set, error);
	mutex_unlock(&set->manifest_lock);
	mutex_unlock(&set->apply_lock);
	return r;
}

int
version_set_apply(struct version_set *set, const struct version_edit *edit, struct sett_error *error)
{
	struct prepared p = {0};
	mutex_lock(&set->apply_lock);
	int r = prepare(set, edit, &p, error);
	if (r == SETT_OK)
		r = vfs_sync_directory(set->options.vfs, set->directory, error);
	if (r == SETT_OK) {
		mutex_lock(&set->manifest_lock);
		r = commit_locked(set, &p, error);
		mutex_unlock(&set->manifest_lock);
	}
	if (r == SETT_OK) {
		install(set, edit, &p);
		if (set->options.on_install)
			set->options.on_install(set->options.on_install_arg, set->current);
		maybe_rewrite(set);
	} else {
		version_release(p.version);
	}
	mutex_unlock(&set->apply_lock);
	free(p.counters);
	buffer_free(&p.pending);
	buffer_free(&p.payload);
	return r;
}

static int
note_durable_locked(struct version_set *set, uint64_t durable, bool is_closed, struct sett_error *error)
	REQUIRES(&set->manifest_lock)
{
	assert(durable >= set->durable);
	assert(mutex_is_mine(&set->manifest_lock));
	struct buffer payload = {0};
	mutex_lock(&set->lock);
	uint64_t next = set->next_file;
	mutex_unlock(&set->lock);
	int r = manifest_put_durable(&payload, durable, is_closed);
	/* Gives back the numbers that were leased and not used. */
	if (r == SETT_OK && is_closed)
		r = manifest_put_file_limit(&payload, next);
	r = r == SETT_OK ? append_locked(set, buffer_bytes(&payload), error) : out_of_memory(set, error);
	buffer_free(&payload);
	if (r != SETT_OK)
		return r;
	if (is_closed)
		__atomic_store_n(&set->file_limit, next, __ATOMIC_RELAXED);
	/* Before the manifest is unlocked: who writes it anew must not take this back. */
	mutex_lock(&set->lock);
	set->durable = durable;
	set->is_closed = is_closed;
	mutex_unlock(&set->lock);
	return SETT_OK;
}

int
version_set_note_durable(struct version_set *set, uint64_t durable, bool is_closed, struct sett_error *error)
{
	mutex_lock(&set->manifest_lock);
	assert(durable >= set->durable && !set->is_closed);
	int r = note_durable_locked(set, durable, is_closed, error);
	bool is_large = r == SETT_OK && is_due_for_rewrite_locked(set);
	mutex_unlock(&set->manifest_lock);
	if (is_large) {
		/* Without this lock an edit may be in the file and not yet in the state that is written. */
		mutex_lock(&set->apply_lock);
		maybe_rewrite(set);
		mutex_unlock(&set->apply_lock);
	}
	return r;
}

/* ---- what it knows ---- */

uint64_t
version_set_disk_bytes(struct version_set *set, uint64_t *ret_tables)
{
	*ret_tables = __atomic_load_n(&set->table_bytes, __ATOMIC_RELAXED);
	return *ret_tables + __atomic_load_n(&set->manifest_bytes, __ATOMIC_RELAXED);
}

uint64_t
version_set_log_segment(struct version_set *set)
{
	mutex_lock(&set->lock);
	uint64_t v = set->log_segment;
	mutex_unlock(&set->lock);
	return v;
}

uint64_t
version_set_flushed(struct version_set *set)
{
	mutex_lock(&set->lock);
	uint64_t v = set->flushed;
	mutex_unlock(&set->lock);
	return v;
}

uint64_t
version_set_durable(struct version_set *set)
{
	mutex_lock(&set->lock);
	uint64_t v = set->durable;
	mutex_unlock(&set->lock);
	return v;
}

bool
version_set_was_closed(struct version_set *set)
{
	mutex_lock(&set->lock);
	bool v = set->is_closed;
	mutex_unlock(&set->lock);
	return v;
}

uint64_t
version_set_now_ms(struct version_set *set)
{
	mutex_lock(&set->lock);
	uint64_t v = set->now_ms;
	mutex_unlock(&set->lock);
	return v;
}

int
version_set_counters(struct version_set *set, struct counter_value **ret, size_t *ret_count)
{
	mutex_lock(&set->lock);
	struct counter_value *copy = calloc(set->counter_count + 1, sizeof(*copy));
	if (copy) {
		if (set->counter_count)
			memcpy(copy, set->counters, set->counter_count * sizeof(*copy));
		*ret = copy;
		*ret_count = set->counter_count;
	}
	mutex_unlock(&set->lock);
	return copy ? SETT_OK : SETT_NO_MEMORY;
}

int
version_set_pending(struct version_set *set, struct buffer *ret)
{
	mutex_lock(&set->lock);
	int r = buffer_append(ret, set->pending.data, set->pending.size);
	mutex_unlock(&set->lock);
	return r;
}

struct version *
version_set_current(struct version_set *set)
{
	mutex_lock(&set->lock);
	struct version *v = set->current;
	version_retain(v);
	mutex_unlock(&set->lock);
	return v;
}

struct version *
version_set_current_locked(struct version_set *set)
{
	assert(mutex_is_mine(&set->lock));
	return set->current;
}

struct mutex *
version_set_lock(struct version_set *set)
{
	return &set->lock;
}

uint64_t
version_set_sequence(struct version_set *set)
{
	mutex_lock(&set->lock);
	uint64_t v = ++set->sequence;
	mutex_unlock(&set->lock);
	return v;
}

/* ---- dead prefixes and ids ---- */

struct dead_set *
version_set_dead(struct version_set *set)
{
	return &set->dead;
}

static uint64_t
next_sequence(void *arg)
{
	return version_set_sequence(arg);
}

void
version_set_dead_advance(struct version_set *set, uint64_t oldest_snapshot)
{
	dead_set_advance(&set->dead, oldest_snapshot, next_sequence, set);
}
