/* The archive of a running engine: chains, steps, and what they hold.
 *
 *     commit -> log (durable) --step: copy--> archive file (durable) --> `archived` --> the flush may go on
 *                  \______ held by the memtable that waits ______/
 *
 * Invariants:
 *  1. What is archived is durable in the database: each step syncs the log first. So no power cut leaves an archive with
 *     commits that the database has lost.
 *  2. No memtable is flushed before all of its commits are durable in the archive. Until then it keeps its log segments, and a
 *     reference on each value file that its commits point at (I9). So what is not archived yet is found again after any end of
 *     the process: recovery replays it, from the same segments.
 *  3. A chain has no gap, and one history: an engine goes on with it only if the directory's newest file was begun by this
 *     database (the *tip* in it is one of the two that the state file names), and its last commit is neither beyond the
 *     database's newest nor below what was flushed, and the newest time up to it is the same in both. Else a new chain
 *     begins, and the log says so.
 *  4. A file is never appended to after a failure or by another process: the next one begins behind what is known to be
 *     durable, and repeats what the last one may have beyond that.
 *  5. What is held is bounded: past `limit_bytes`, if a step does not help, or once writers would have to stop for an
 *     archive that can't be written, the chain is *broken*: the flush goes on, and a new chain begins as soon as that can be
 *     written.
 *
 * The state file, ARCHIVE in the database's directory, is durable before a file with its tip is begun. It is in no
 * checkpoint, so a restored database begins a chain of its own.
 *
 * Lock order: step_lock (held while files are read and written; the commit lock and the log's are taken under it), then
 * `lock`, a leaf. */
#include <assert.h>
#include <stdlib.h>

#include "archive_copy.h"
#include "archive_private.h"
#include "log_format.h"
#include "storage/base/stepper.h"
#include "storage/keyring.h"

#define MS_NS 1000000ULL
#define PATIENCE_NS 10000000000ULL /* without progress it is stuck */
enum {
	RETRY_MS = 1000,      /* so long after a failure it is tried again */
	IDLE_MARK_MS = 60000, /* how often a file says that nothing was committed */
	MEMTABLES_HELD =
		4, /* so many wait for an archive that is stuck; with five, writers stop (regulator.c) */
};
#define FOREVER_NS (3600000 * MS_NS)

struct archive {
	struct sett_engine *engine;
	struct vfs *vfs;
	struct stepper stepper;
	bool has_thread;

	/* What the options say; atomic (relaxed): each stands for itself. */
	uint64_t interval_ms, limit_bytes, retention_ms, retention_bytes, file_size;

	uint64_t
		archived; /* atomic; release after a step, acquire by the flush: all up to here is durable in the archive */
	bool holds;        /* atomic, likewise: it is on, and its chain is whole */
	uint64_t progress; /* atomic (relaxed): grows while a step is at work */
	uint64_t
		archived_bytes; /* atomic (relaxed): what `committed_bytes` was when all up to there was archived */
	bool hurries; /* atomic (relaxed): it was woken for the bytes that are behind, and no step has ended since */
	/* Steps by number: the newest that was begun, and the newest that went well. Atomic; release when one ended. */
	uint64_t begun, ended;
	/* of who looks whether it is stuck, under `lock` */
	uint64_t seen_progress, seen_ns;
	uint64_t
		over_until; /* the first step that was begun when the limit was passed already; 0: it is not passed */

	/* atomic (relaxed): after a failure, when it may be tried again; 0: at once */
	uint64_t retry_ns;

	struct mutex step_lock; /* guards the group below: one step at a time */
	bool is_on;
	char directory[SETT_PATH_MAX];
	struct vfs_file *lock_file;
	struct archive_files files;
	uint64_t next_number, previous; /* number of the next file; of the chain's last one, 0: none yet */
	uint64_t chain, tip;
	struct archive_copy done; /* what is durable in the archive */
	struct archive_writer writer;

	struct mutex lock;
	struct sett_archive_facts facts;
};

/* ---- what is told ---- */

/* The chain's first file, as far as it is there; NULL: its first is still to be begun. */
static const struct archive_header *
first_of_chain(const struct archive *a)
{
	for (size_t i = 0; i < a->files.count; i++) {
		const struct archive_file *f = &a->files.files[i];
		if (!f->is_unreadable && f->header.chain == a->chain)
			return &f->header;
	}
	return NULL;
}

static void
publish_files(struct archive *a)
{
	mutex_lock(&a->lock);
	a->facts.files = a->files.count;
	a->facts.bytes = a->files.bytes;
	mutex_unlock(&a->lock);
}

static void
publish(struct archive *a)
{
	const struct archive_header *first = first_of_chain(a);
	mutex_lock(&a->lock);
	if (first) {
		a->facts.since_commit = first->after;
		a->facts.since_ms = first->after_ms;
	}
	a->facts.commit = a->done.place.commit;
	/* In the millisecond `known_ms` another commit may come. */
	a->facts.time_ms = a->done.place.known_ms - (a->done.place.known_ms > 0);
	mutex_unlock(&a->lock);
	publish_files(a);
}

/* The first of several in a row is logged. */
static void
note_failure(struct archive *a, int status, const struct sett_error *error)
{
	const char *text = error->message[0] ? error->message : sett_status_text(status);
	mutex_lock(&a->lock);
	bool is_new = !a->facts.is_failing;
	a->facts.is_failing = true;
	snprintf(a->facts.error, sizeof(a->facts.error), "%s", text);
	mutex_unlock(&a->lock);
	if (is_new)
		log_sink_printf(
			&a->engine->sink, LOG_LEVEL_WARNING,
			"Commits can't be archived, which is tried again; until then they are kept: %s",
			text);
}

static void
note_success(struct archive *a)
{
	mutex_lock(&a->lock);
	bool was_failing = a->facts.is_failing;
	a->facts.is_failing = false;
	a->facts.error[0] = '\0';
	mutex_unlock(&a->lock);
	if (was_failing)
		log_sink_printf(&a->engine->sink, LOG_LEVEL_NOTICE, "Commits are archived again");
}

static void
kick(struct archive *a)
{
	if (a->has_thread)
		stepper_wake(&a->stepper);
}

/* For who needs a step soon: not at once after one that failed. That one told the workers, who come here again. */
static void
kick_unless_it_failed(struct archive *a)
{
	uint64_t retry = __atomic_load_n(&a->retry_ns, __ATOMIC_RELAXED);
	if (retry == 0 || clock_monotonic_ns(a->engine->clock) >= retry)
		kick(a);
}

/* What is held is let go. Any thread. */
static void
break_chain(struct archive *a, const char *why)
{
	mutex_lock(&a->lock);
	bool was_whole = __atomic_exchange_n(&a->holds, false, __ATOMIC_ACQ_REL);
	if (was_whole) {
		a->facts.breaks++;
		snprintf(a->facts.broken_by, sizeof(a->facts.broken_by), "%s", why);
	}
	mutex_unlock(&a->lock);
	if (!was_whole)
		return;
	log_sink_printf(
		&a->engine->sink, LOG_LEVEL_WARNING,
		"The archive's chain of commits is BROKEN behind commit %" PRIu64
		": %s. No moment behind it can be restored until a backup is made; archiving begins anew",
		__atomic_load_n(&a->archived, __ATOMIC_ACQUIRE), why);
	kick(a);
}

/* ---- the state file ---- */

struct state {
	uint64_t chain, tip, previous_tip;
};

static void
state_path(const struct archive *a, const char *suffix, char ret[SETT_PATH_MAX + 16])
{
	snprintf(ret, SETT_PATH_MAX + 16, "%s/" ARCHIVE_STATE_NAME "%s", a->engine->directory, suffix);
}

/* SETT_NOT_FOUND if there is none, or none that is whole. */
static int
read_state(const struct archive *a, struct state *ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16];
	uint8_t bytes[ARCHIVE_STATE_SIZE];
	struct vfs_file *file;
	size_t size;
	state_path(a, "", path);
	int r = vfs_open(a->vfs, path, VFS_READ, &file, error);
	if (r != SETT_OK)
		return r;
	r = vfs_read(file, bytes, sizeof(bytes), 0, 0, &size, error);
	(void)vfs_close(file, NULL); /* it was only read */
	if (r != SETT_OK)
		return r;
	if (size != sizeof(bytes) || memcmp(bytes, ARCHIVE_STATE_MAGIC, 8) != 0 ||
	    get_le64(bytes + 32) != hash64(bytes, 32, 0))
		return SETT_NOT_FOUND;
	*ret = (struct state){get_le64(bytes + 8), get_le64(bytes + 16), get_le64(bytes + 24)};
	return SETT_OK;
}

static int
write_state(const struct archive *a, const struct state *state, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16], temporary[SETT_PATH_MAX + 16];
	uint8_t bytes[ARCHIVE_STATE_SIZE];
	struct vfs_file *file;
	memcpy(bytes, ARCHIVE_STATE_MAGIC, 8);
	put_le64(bytes + 8, state->chain);
	put_le64(bytes + 16, state->tip);
	put_le64(bytes + 24, state->previous_tip);
	put_le64(bytes + 32, hash64(bytes, 32, 0));
	state_path(a, "", path);
	state_path(a, ".tmp", temporary);
	int r = vfs_remove(a->vfs, temporary, error);
	if (r == SETT_OK || r == SETT_NOT_FOUND)
		r = vfs_open(a->vfs, temporary, VFS_READ | VFS_WRITE | VFS_CREATE, &file, error);
	if (r != SETT_OK)
		return r;
	r = vfs_write_bytes(file, bytes, sizeof(bytes), 0, error);
	if (r == SETT_OK)
		r = vfs_sync(file, error);
	int closed = vfs_close(file, r == SETT_OK ? error : NULL);
	r = r == SETT_OK ? closed : r;
	if (r == SETT_OK)
		r = vfs_rename(a->vfs, temporary, path, error);
	return r == SETT_OK ? vfs_sync_directory(a->vfs, a->engine->directory, error) : r;
}

/* ---- files ---- */

/* The next file begins behind what is durable. */
static int
open_file(struct archive *a, struct sett_error *error)
{
	const struct archive_place *p = &a->done.place;
	struct archive_file f = {.header = {.number = a->next_number,
					    .chain = a->chain,
					    .tip = a->tip,
					    .after = p->commit,
					    .after_ms = p->time_ms,
					    .after_now_ms = p->now_ms,
					    .previous = a->previous}};
	int r = archive_writer_open(&a->writer, a->vfs, a->directory, &f.header, error);
	if (r != SETT_OK)
		return r;
	a->next_number++;
	r = archive_files_add(&a->files, &f);
	if (r != SETT_OK) {
		(void)archive_writer_abandon(&a->writer);
		return sett_error_set(error, r, 0, "out of memory for the archive");
	}
	a->previous = f.header.number;
	return SETT_OK;
}

/* After a failure. What it has written beyond what is durable is of no use, and takes room. */
static void
abandon_file(struct archive *a)
{
	if (!a->writer.file)
		return;
	struct archive_file *f = &a->files.files[a->files.count - 1];
	uint64_t left = archive_writer_abandon(&a->writer);
	a->files.bytes += left - f->size;
	f->size = left;
	if (left > 0)
		return;
	a->previous = f->header.previous;
	a->files.count--;
}

/* What the newest file takes now. */
static void
count_file(struct archive *a)
{
	struct archive_file *f = &a->files.files[a->files.count - 1];
	a->files.bytes += a->writer.size - f->size;
	f->size = a->writer.size;
}

static int
remove_oldest(struct archive *a, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct archive_files *list = &a->files;
	int r = file_name_make(a->directory, list->files[0].header.number, ARCHIVE_SUFFIX, path);
	if (r == SETT_OK)
		r = vfs_remove(a->vfs, path, error);
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return r;
	list->bytes -= list->files[0].size;
	list->count--;
	memmove(list->files, list->files + 1, list->count * sizeof(*list->files));
	return SETT_OK;
}

/* When the oldest file has ended: where the next one that can be read begins. UINT64_MAX: there is none. */
static uint64_t
end_of_oldest(const struct archive *a)
{
	for (size_t i = 1; i < a->files.count; i++) {
		if (!a->files.files[i].is_unreadable)
			return a->files.files[i].header.after_ms;
	}
	return UINT64_MAX;
}

/* The oldest files go whole, the newest one that can be read never. */
static void
retain(struct archive *a)
{
	struct sett_error error = {0};
	uint64_t ms = __atomic_load_n(&a->retention_ms, __ATOMIC_RELAXED),
		 now = clock_wall_ms(a->engine->clock);
	uint64_t bytes = __atomic_load_n(&a->retention_bytes, __ATOMIC_RELAXED);
	int r = SETT_OK;
	while (r == SETT_OK && a->files.count > 1) {
		uint64_t end = end_of_oldest(a);
		if (end == UINT64_MAX)
			break;
		bool is_old = ms > 0 && end < now && now - end > ms;
		if (!is_old && (bytes == 0 || a->files.bytes <= bytes))
			break;
		r = remove_oldest(a, &error);
	}
	if (r != SETT_OK)
		log_sink_printf(&a->engine->sink, LOG_LEVEL_WARNING,
				"Can't remove an old file of the archive: %s", error.message);
}

/* ---- chains ---- */

/* Where the engine stands. The commits behind it have times. */
static void
take_position(struct archive *a)
{
	struct sett_engine *engine = a->engine;
	struct archive_copy copy = {.engine = engine, .progress = &a->progress};
	mutex_lock(&engine->commit_lock);
	log_keep_times(engine->log, true);
	copy.place.commit = engine->visible;
	copy.place.now_ms = __atomic_load_n(&engine->newest_now_ms, __ATOMIC_RELAXED);
	log_position(engine->log, &copy.segment, &copy.offset);
	__atomic_store_n(&a->archived_bytes, engine->committed_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&a->archived, copy.place.commit, __ATOMIC_RELEASE);
	mutex_unlock(&engine->commit_lock);
	copy.place.time_ms = copy.place.known_ms = clock_wall_ms(engine->clock);
	a->done = copy;
}

static void
tell_beginning(struct archive *a)
{
	log_sink_printf(&a->engine->sink, LOG_LEVEL_NOTICE,
			"Commits are archived in %s from now on: every moment behind commit %" PRIu64
			" can be restored, with a backup that is made from now on",
			a->directory, a->done.place.commit);
}

/* From here on all is held, and archived. */
static int
begin_chain(struct archive *a, struct sett_error *error)
{
	/* First: what is committed behind the position must not be flushed before it is held. */
	__atomic_store_n(&a->archived, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&a->holds, true, __ATOMIC_RELEASE);
	archive_writer_close(&a->writer);
	take_position(a);
	a->chain = random_entropy();
	a->tip = random_entropy();
	a->previous = 0;
	/* Else a power cut might take back commits that the chain says are behind it. */
	int r = sett_engine_sync(a->engine, error);
	if (r == SETT_OK)
		r = write_state(a, &(struct state){a->chain, a->tip, a->tip}, error);
	if (r == SETT_OK)
		r = open_file(a, error);
	if (r == SETT_OK)
		r = archive_writer_append(&a->writer, ARCHIVE_MARK, a->done.place.commit,
					  a->done.place.known_ms, (struct bytes){0}, (struct bytes){0},
					  error);
	if (r == SETT_OK)
		r = archive_writer_sync(&a->writer, error);
	if (r != SETT_OK) {
		abandon_file(a);
		__atomic_store_n(&a->holds, false, __ATOMIC_RELEASE);
		return r;
	}
	count_file(a);
	tell_beginning(a);
	publish(a);
	return SETT_OK;
}

static int
pass_commit(void *arg, const struct archive_commit *commit)
{
	return SETT_OK;
}

/* The newest file of the directory, with its last commit, is durable. */
static int
settle_newest(struct archive *a, const struct archive_header *h, struct archive_place *ret,
	      struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	struct archive_visitor visitor = {.commit = pass_commit};
	/* Of this file alone: a later one may have begun before its end, and been cut short. */
	int r = archive_walk(a->vfs, a->directory, &a->files, h->chain, h->after, &visitor, ret, NULL, error);
	if (r == SETT_OK)
		r = file_name_make(a->directory, h->number, ARCHIVE_SUFFIX, path);
	if (r == SETT_OK)
		r = vfs_open(a->vfs, path, VFS_READ | VFS_WRITE, &file, error);
	if (r != SETT_OK)
		return r;
	r = vfs_sync(file, error);
	int closed = vfs_close(file, r == SETT_OK ? error : NULL);
	r = r == SETT_OK ? closed : r;
	return r == SETT_OK ? vfs_sync_directory(a->vfs, a->directory, error) : r;
}

/* Goes on behind the chain's end, which the log has the commits behind. */
static int
go_on(struct archive *a, const struct archive_header *newest, const struct archive_place *end,
      struct sett_error *error)
{
	a->chain = newest->chain;
	a->previous = newest->number;
	a->tip = random_entropy();
	int r = write_state(a, &(struct state){a->chain, a->tip, newest->tip}, error);
	if (r != SETT_OK)
		return r;
	a->done = (struct archive_copy){.engine = a->engine,
					.progress = &a->progress,
					.offset = LOG_SEGMENT_HEADER_SIZE,
					.place = *end};
	bool found = log_next_segment(a->engine->log, 0, &a->done.segment);
	assert(found); /* there is a current one */
	(void)found;
	__atomic_store_n(&a->archived, end->commit, __ATOMIC_RELEASE);
	__atomic_store_n(&a->holds, true, __ATOMIC_RELEASE);
	publish(a);
	return SETT_OK;
}

/* Why the chain can't be gone on with, or NULL. */
static const char *
reason_to_begin(struct archive *a, const struct archive_header *newest, struct archive_place *ret_end,
		int *ret_status, struct sett_error *error)
{
	struct state state;
	uint64_t now_ms;
	int r = read_state(a, &state, error);
	*ret_status = r == SETT_NOT_FOUND ? SETT_OK : r;
	if (r != SETT_OK)
		return ""; /* it never archived: no reason is needed */
	if (!newest)
		return "the directory has no file of it any more";
	if (newest->chain != state.chain || (newest->tip != state.tip && newest->tip != state.previous_tip))
		return "the directory's newest file is another database's, or this one is an older copy";
	*ret_status = settle_newest(a, newest, ret_end, error);
	if (*ret_status != SETT_OK)
		return "";
	if (ret_end->commit > a->engine->visible)
		return "the archive has commits that the database does not have";
	if (ret_end->commit < version_set_flushed(a->engine->versions))
		return "the log does not have the commits any more that follow: the database was open "
		       "without it, or the archive's newest file is damaged";
	*ret_status = archive_now_at(a->engine, ret_end->commit, &now_ms, error);
	if (*ret_status != SETT_OK)
		return "";
	if (now_ms != ret_end->now_ms)
		return "its last commit is not the database's of that number: this one is an older copy that "
		       "has gone "
		       "its own way";
	return NULL;
}

/* ---- the directory ---- */

static void
take_numbers(struct archive *a, const struct sett_archive_options *o)
{
	__atomic_store_n(&a->interval_ms, o->interval_ms ? o->interval_ms : 5000, __ATOMIC_RELAXED);
	__atomic_store_n(&a->limit_bytes, o->limit_bytes ? o->limit_bytes : 1ULL << 30, __ATOMIC_RELAXED);
	__atomic_store_n(&a->retention_ms, o->retention_ms, __ATOMIC_RELAXED);
	__atomic_store_n(&a->retention_bytes, o->retention_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&a->file_size, o->file_size ? o->file_size : 64ULL << 20, __ATOMIC_RELAXED);
}

static void
close_directory(struct archive *a)
{
	archive_writer_close(&a->writer);
	archive_files_free(&a->files);
	if (a->lock_file)
		(void)vfs_close(a->lock_file, NULL); /* nothing was written to it */
	a->lock_file = NULL;
	a->is_on = false;
}

/* It has a LOCK, too. */
static int
refuse_database(const struct archive *a, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16];
	struct vfs_file *file;
	snprintf(path, sizeof(path), "%s/MANIFEST", a->directory);
	int r = vfs_open(a->vfs, path, VFS_READ, &file, error);
	if (r != SETT_OK)
		return r == SETT_NOT_FOUND ? SETT_OK : r;
	(void)vfs_close(file, NULL); /* it was only looked for */
	return sett_error_set(error, SETT_INVALID, 0,
			      "%s: a database is there; an archive needs a directory of its own",
			      a->directory);
}

static int
open_directory(struct archive *a, const struct sett_archive_options *o, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 8];
	size_t size = strlen(o->directory);
	if (size == 0 || size >= SETT_PATH_MAX - 32)
		return sett_error_set(error, SETT_INVALID, 0, "the archive's path is empty or too long");
	memcpy(a->directory, o->directory, size + 1);
	take_numbers(a, o);
	int r = vfs_make_durable_directory(a->vfs, a->directory, error);
	if (r == SETT_OK)
		r = refuse_database(a, error);
	snprintf(path, sizeof(path), "%s/LOCK", a->directory);
	if (r == SETT_OK)
		r = vfs_lock(a->vfs, path, &a->lock_file, error);
	if (r == SETT_OK && a->vfs->keys)
		r = sett_keyring_follow(a->vfs->keys, a->directory, error);
	if (r == SETT_LOCKED)
		(void)sett_error_set(error, r, 0, "%s: another server archives there", a->directory);
	if (r == SETT_OK)
		r = archive_files_list(a->vfs, a->directory, &a->files, error);
	if (r != SETT_OK) {
		close_directory(a);
		return r;
	}
	a->next_number = a->files.count ? a->files.files[a->files.count - 1].header.number + 1 : 1;
	a->is_on = true;
	return SETT_OK;
}

static void
tell_state(struct archive *a)
{
	mutex_lock(&a->lock);
	a->facts.is_on = a->is_on;
	a->facts.is_failing = false;
	a->facts.error[0] = '\0';
	mutex_unlock(&a->lock);
}

int
archive_resume(struct archive *a, const struct sett_archive_options *o, struct sett_error *error)
{
	const struct archive_header *newest = NULL;
	struct archive_place end;
	mutex_lock(&a->step_lock);
	int r = open_directory(a, o, error);
	for (size_t i = 0; r == SETT_OK && i < a->files.count; i++)
		newest = a->files.files[i].is_unreadable ? newest : &a->files.files[i].header;
	const char *why = r == SETT_OK ? reason_to_begin(a, newest, &end, &r, error) : NULL;
	if (r == SETT_OK && why && why[0] != '\0') {
		__atomic_store_n(&a->holds, true, __ATOMIC_RELEASE); /* so that it is told */
		break_chain(a, why);
	}
	if (r == SETT_OK)
		r = why ? begin_chain(a, error) : go_on(a, newest, &end, error);
	if (r != SETT_OK)
		close_directory(a);
	tell_state(a);
	mutex_unlock(&a->step_lock);
	return r;
}

/* ---- steps ---- */

static int
append_mark(struct archive *a, const struct archive_place *p, struct sett_error *error)
{
	return archive_writer_append(&a->writer, ARCHIVE_MARK, p->commit, p->known_ms, (struct bytes){0},
				     (struct bytes){0}, error);
}

/* Copies up to `to`; before the moment `known_ms` nothing else was committed. */
static int
copy(struct archive *a, uint64_t to, uint64_t known_ms, struct sett_error *error)
{
	struct archive_copy next = a->done;
	int r = a->writer.file ? SETT_OK : open_file(a, error);
	if (r == SETT_OK && to > next.place.commit)
		r = archive_copy_up_to(&next, to, &a->writer, error);
	if (known_ms > next.place.known_ms)
		next.place.known_ms = known_ms;
	if (next.place.time_ms > next.place.known_ms)
		next.place.known_ms = next.place.time_ms;
	if (r == SETT_OK)
		r = append_mark(a, &next.place, error);
	if (r == SETT_OK)
		r = archive_writer_sync(&a->writer, error);
	if (r != SETT_OK) {
		abandon_file(a);
		return r;
	}
	count_file(a);
	a->done = next;
	__atomic_store_n(&a->archived, a->done.place.commit, __ATOMIC_RELEASE);
	if (a->writer.size >= __atomic_load_n(&a->file_size, __ATOMIC_RELAXED))
		archive_writer_close(&a->writer);
	return SETT_OK;
}

/* A failure that no other try mends. */
static bool
is_hopeless(int status)
{
	return status == SETT_CORRUPT || status == SETT_NOT_FOUND || status == SETT_INVALID;
}

/* `marks`: even if nothing was committed it says so. */
static int
advance(struct archive *a, bool marks, struct sett_error *error)
{
	/* Before the sync: what is committed at or after it is later than this. */
	uint64_t now = clock_wall_ms(a->engine->clock);
	uint64_t bytes = __atomic_load_n(&a->engine->committed_bytes, __ATOMIC_RELAXED);
	int r = sett_engine_sync(a->engine, error);
	if (r != SETT_OK)
		return r;
	uint64_t to = log_durable(a->engine->log);
	bool is_due = marks || to > a->done.place.commit || now >= a->done.place.known_ms + IDLE_MARK_MS;
	r = is_due ? copy(a, to, now, error) : SETT_OK;
	if (r == SETT_OK)
		__atomic_store_n(&a->archived_bytes, bytes, __ATOMIC_RELAXED);
	if (!is_hopeless(r))
		return r;
	break_chain(a, error->message[0] ? error->message : sett_status_text(r));
	return begin_chain(a, error);
}

static int
step_locked(struct archive *a, bool marks, struct sett_error *error) REQUIRES(&a->step_lock)
{
	if (!a->is_on)
		return SETT_OK;
	error->message[0] = '\0';
	uint64_t number = __atomic_add_fetch(&a->begun, 1, __ATOMIC_ACQ_REL);
	int r = __atomic_load_n(&a->holds, __ATOMIC_ACQUIRE) ? advance(a, marks, error)
							     : begin_chain(a, error);
	uint64_t retry = r == SETT_OK ? 0 : clock_monotonic_ns(a->engine->clock) + RETRY_MS * MS_NS;
	__atomic_store_n(&a->retry_ns, retry, __ATOMIC_RELAXED);
	retain(a); /* after a failure, too: the disk may be full */
	/* relaxed: see tell_progress in archive_copy.c */
	if (r == SETT_OK) {
		__atomic_fetch_add(&a->progress, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&a->ended, number, __ATOMIC_RELEASE);
		__atomic_store_n(&a->hurries, false, __ATOMIC_RELAXED);
		publish(a);
		note_success(a);
	} else {
		publish_files(a);
		note_failure(a, r, error);
	}
	if (a->engine->workers)
		workers_kick(a->engine->workers);
	return r;
}

int
sett_engine_archive(struct sett_engine *engine, struct sett_error *error)
{
	struct archive *a = engine->archive;
	struct sett_error ignored = {0};
	mutex_lock(&a->step_lock);
	int r = step_locked(a, false, error ? error : &ignored);
	mutex_unlock(&a->step_lock);
	return r;
}

static uint64_t
work(void *arg)
{
	struct archive *a = arg;
	struct sett_error error = {0};
	mutex_lock(&a->step_lock);
	int r = step_locked(a, false, &error);
	bool is_on = a->is_on;
	mutex_unlock(&a->step_lock);
	if (!is_on)
		return FOREVER_NS;
	uint64_t ns = __atomic_load_n(&a->interval_ms, __ATOMIC_RELAXED) * MS_NS;
	return r != SETT_OK && ns > RETRY_MS * MS_NS ? RETRY_MS * MS_NS : ns;
}

/* ---- what waits for it ---- */

bool
archive_is_stuck(struct archive *a, struct sett_error *error)
{
	uint64_t now = clock_monotonic_ns(a->engine->clock);
	mutex_lock(&a->lock);
	uint64_t archived = __atomic_load_n(&a->archived, __ATOMIC_ACQUIRE);
	/* What a try copies that fails in the end is no progress. */
	uint64_t progress =
		archived + (a->facts.is_failing ? 0 : __atomic_load_n(&a->progress, __ATOMIC_RELAXED));
	bool is_behind =
		__atomic_load_n(&a->holds, __ATOMIC_ACQUIRE) && archived < sett_engine_visible(a->engine);
	if (progress != a->seen_progress || !is_behind || a->seen_ns == 0) {
		a->seen_progress = progress;
		a->seen_ns = is_behind ? now : 0;
	}
	bool is_stuck = a->seen_ns > 0 && now - a->seen_ns >= PATIENCE_NS;
	if (is_stuck && error)
		(void)sett_error_set(error, SETT_IO, 0, "commits wait to be archived: %s",
				     a->facts.is_failing ? a->facts.error
							 : "the archive's files don't take them");
	mutex_unlock(&a->lock);
	return is_stuck;
}

/* Bytes that were committed and are not archived, or a little more. */
static uint64_t
bytes_behind(const struct archive *a)
{
	uint64_t archived = __atomic_load_n(&a->archived_bytes, __ATOMIC_RELAXED);
	return __atomic_load_n(&a->engine->committed_bytes, __ATOMIC_RELAXED) - archived;
}

/* Past the limit though a step was begun since and went well, or as none goes well. One that can't keep up is not waited for. */
static bool
is_past_limit(struct archive *a, bool is_stuck, uint64_t *ret_bytes)
{
	/* Before the bytes: a step that ends in between has made them fewer. */
	uint64_t ended = __atomic_load_n(&a->ended, __ATOMIC_ACQUIRE);
	uint64_t bytes = bytes_behind(a);
	mutex_lock(&a->lock);
	bool is_over = bytes > __atomic_load_n(&a->limit_bytes, __ATOMIC_RELAXED);
	if (!is_over)
		a->over_until = 0;
	else if (a->over_until == 0)
		a->over_until = __atomic_load_n(&a->begun, __ATOMIC_ACQUIRE) + 1;
	bool is_past = is_over && (is_stuck || a->facts.is_failing || ended >= a->over_until);
	mutex_unlock(&a->lock);
	*ret_bytes = bytes;
	return is_past;
}

void
archive_hurry(struct archive *a)
{
	if (!__atomic_load_n(&a->holds, __ATOMIC_RELAXED) || __atomic_load_n(&a->hurries, __ATOMIC_RELAXED) ||
	    bytes_behind(a) <= __atomic_load_n(&a->limit_bytes, __ATOMIC_RELAXED) / 2)
		return;
	__atomic_store_n(&a->hurries, true, __ATOMIC_RELAXED);
	kick_unless_it_failed(a);
}

bool
archive_lets_flush(struct archive *a, uint64_t last, size_t waiting)
{
	struct sett_error error = {0};
	if (!__atomic_load_n(&a->holds, __ATOMIC_ACQUIRE) ||
	    __atomic_load_n(&a->archived, __ATOMIC_ACQUIRE) >= last)
		return true;
	if (a->engine->options.manual_work && sett_engine_archive(a->engine, NULL) == SETT_OK)
		return archive_lets_flush(a, last, waiting);
	kick_unless_it_failed(a);
	bool is_stuck = archive_is_stuck(a, &error);
	uint64_t bytes;
	if (is_past_limit(a, is_stuck, &bytes)) {
		char why[120];
		snprintf(why, sizeof(why),
			 "%" PRIu64 " bytes are not archived yet, more than the limit allows", bytes);
		break_chain(a, why);
	} else if (is_stuck && waiting >= MEMTABLES_HELD) {
		break_chain(a, error.message);
	}
	return !__atomic_load_n(&a->holds, __ATOMIC_ACQUIRE);
}

/* ---- life ---- */

int
archive_create(struct sett_engine *engine, struct archive **ret)
{
	struct archive *a = calloc(1, sizeof(*a));
	if (!a)
		return SETT_NO_MEMORY;
	a->engine = engine;
	a->vfs = engine->options.vfs;
	mutex_init(&a->step_lock);
	mutex_init(&a->lock);
	stepper_init(&a->stepper, NULL, work, a);
	take_numbers(a, &(struct sett_archive_options){0});
	*ret = a;
	return SETT_OK;
}

int
archive_start_thread(struct archive *a, struct sett_error *error)
{
	int r = a->has_thread ? SETT_OK : stepper_start(&a->stepper, "sett-archive");
	a->has_thread |= r == SETT_OK;
	return r == SETT_OK ? r : sett_error_set(error, r, 0, "can't start the archive's thread");
}

void
archive_stop_thread(struct archive *a)
{
	if (a->has_thread)
		stepper_stop(&a->stepper);
	a->has_thread = false;
}

/* The last steps before it ends. The mark of the second says up to when nothing more was committed, and shows a reader that
 * what is in front of it was durable. */
static void
last_steps_locked(struct archive *a) REQUIRES(&a->step_lock)
{
	struct sett_error error = {0};
	/* Failures are logged there. */
	if (step_locked(a, false, &error) == SETT_OK)
		(void)step_locked(a, true, &error);
}

void
archive_finish(struct archive *a)
{
	mutex_lock(&a->step_lock);
	last_steps_locked(a); /* if it fails, the next start goes on */
	mutex_unlock(&a->step_lock);
}

void
archive_destroy(struct archive *a)
{
	if (!a)
		return;
	archive_stop_thread(a);
	close_directory(a);
	buffer_free(&a->writer.out);
	stepper_free(&a->stepper);
	mutex_destroy(&a->step_lock);
	mutex_destroy(&a->lock);
	free(a);
}

static void
stop_locked(struct archive *a) REQUIRES(&a->step_lock)
{
	if (!a->is_on)
		return;
	last_steps_locked(a);
	__atomic_store_n(&a->holds, false, __ATOMIC_RELEASE);
	mutex_lock(&a->engine->commit_lock);
	log_keep_times(a->engine->log, false);
	mutex_unlock(&a->engine->commit_lock);
	close_directory(a);
	log_sink_printf(&a->engine->sink, LOG_LEVEL_NOTICE,
			"Commits are not archived any more; the archive ends with %" PRIu64,
			a->done.place.commit);
	if (a->engine->workers)
		workers_kick(a->engine->workers);
}

int
sett_engine_archive_to(struct sett_engine *engine, const struct sett_archive_options *o,
		       struct sett_error *error)
{
	struct archive *a = engine->archive;
	int r = SETT_OK;
	if (engine->options.read_only)
		return sett_error_set(error, SETT_READ_ONLY, 0, "the database is open for reading alone");
	mutex_lock(&a->step_lock);
	stop_locked(a);
	if (o) {
		r = open_directory(a, o, error);
		if (r == SETT_OK)
			r = begin_chain(a, error);
		if (r != SETT_OK)
			close_directory(a);
	}
	tell_state(a);
	mutex_unlock(&a->step_lock);
	if (r == SETT_OK && o && !engine->options.manual_work)
		r = archive_start_thread(a, error);
	kick(a);
	return r;
}

void
sett_engine_set_archive(struct sett_engine *engine, const struct sett_archive_options *o)
{
	take_numbers(engine->archive, o);
	kick(engine->archive);
}

void
sett_engine_archive_facts(struct sett_engine *engine, struct sett_archive_facts *ret)
{
	struct archive *a = engine->archive;
	uint64_t visible = sett_engine_visible(engine);
	mutex_lock(&a->lock);
	*ret = a->facts;
	mutex_unlock(&a->lock);
	ret->behind = ret->is_on && visible > ret->commit ? visible - ret->commit : 0;
	ret->is_broken = ret->is_on && !__atomic_load_n(&a->holds, __ATOMIC_ACQUIRE);
}

const char *
sett_archive_state(const struct sett_archive_facts *f)
{
	if (!f->is_on)
		return "off";
	if (f->is_broken)
		return "broken";
	return f->is_failing ? "failing" : "ok";
}
