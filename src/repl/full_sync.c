/* See full_sync.h. */
#include "repl/full_sync.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "rdb/crc64.h"
#include "rdb/database_writer.h"
#include "rdb/payload.h"
#include "repl/private.h"
#include "storage/base/random.h"

enum { MOMENT_TRIES = 100000, PATH_SIZE = 4096 };

static const char file_name[] = "replication-sync.tmp";

/* ---- users ---- */

static void
destroy(struct full_sync *s)
{
	if (s->file != NULL)
		(void)vfs_close(s->file, NULL); /* it has no name: nothing is left of it */
	rdb_snapshot_release(s->snapshot);
	free(s);
}

static bool
knows_field_deadlines(const struct replica *replica)
{
	return (replica->abilities & REPLICA_KNOWS_FIELD_DEADLINES) != 0;
}

struct full_sync *
full_sync_join(struct replication *r, const struct replica *replica)
{
	struct full_sync *s = r->sync;
	if (s == NULL || s->id[0] == '\0' || __atomic_load_n(&s->failed, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&s->unwanted, __ATOMIC_RELAXED) || strcmp(s->id, r->position.id) != 0 ||
	    s->leaves_out_keys != replica->leaves_out_keys ||
	    s->leaves_out_functions != replica->leaves_out_functions ||
	    s->has_field_deadlines != knows_field_deadlines(replica) || s->offset + 1 < r->history.start)
		return NULL;
	s->users++;
	return s;
}

void
full_sync_leave(struct full_sync *s)
{
	s->users--;
	if (s->users == 1 && s->replication->sync == s)
		__atomic_store_n(&s->unwanted, true, __ATOMIC_RELAXED);
	if (s->users == 0)
		destroy(s);
}

/* ---- the moment ---- */

struct moment {
	struct full_sync *sync;
	struct rdb_snapshot *snapshot;
};

/* Under the commit lock: nothing has become visible since the snapshot was taken, so it is that of the present offset. */
static int
is_present(void *arg)
{
	const struct moment *m = arg;
	struct sett_engine *engine = m->sync->replication->options.engine;
	return rdb_snapshot_timestamp(m->snapshot) == sett_engine_visible(engine) ? SETT_OK : SETT_ABORTED;
}

/* A master's stream selects its database anew behind it, as a replica that begins there has none selected. A replica's is its
 * master's as it comes: the one that is selected is told. */
static void
take_offset(void *arg, uint64_t timestamp)
{
	struct moment *m = arg;
	struct full_sync *s = m->sync;
	struct replication *r = s->replication;
	(void)timestamp;
	mutex_lock(&r->lock);
	s->offset = r->position.offset;
	memcpy(s->id, r->position.id, sizeof(s->id));
	if (r->role == REPLICATION_MASTER)
		r->position.db = STREAM_DB_ANY;
	s->db = r->position.db > 0 ? (uint64_t)r->position.db : 0;
	mutex_unlock(&r->lock);
}

static int
try_moment(struct full_sync *s, struct sett_txn *txn)
{
	const struct replication_options *o = &s->replication->options;
	struct moment m = {.sync = s};
	struct sett_commit_hooks hooks = {.check = is_present, .publish = take_offset, .arg = &m};
	int status = rdb_snapshot_take(o->engine, o->keyspace, &m.snapshot);
	if (status != SETT_OK)
		return status;
	status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = sett_txn_commit(txn, &hooks, NULL);
	if (status == SETT_OK)
		s->snapshot = m.snapshot;
	else
		rdb_snapshot_release(m.snapshot);
	return status;
}

static int
take_moment(struct full_sync *s)
{
	struct sett_txn *txn = NULL;
	int status = sett_txn_create(s->replication->options.engine, &txn);
	if (status == SETT_OK)
		status = SETT_ABORTED;
	for (int tries = 0; status == SETT_ABORTED && tries < MOMENT_TRIES; tries++)
		status = try_moment(s, txn);
	sett_txn_destroy(txn);
	if (status != SETT_OK)
		sett_error_set(&s->error, status, 0, "no snapshot could be taken: %s",
			       sett_status_text(status));
	return status;
}

/* ---- the file ---- */

static int
open_file(struct full_sync *s)
{
	char path[PATH_SIZE];
	struct vfs *vfs = s->replication->options.vfs;
	int size = snprintf(path, sizeof(path), "%s/%s", s->replication->options.config->dir, file_name);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(&s->error, SETT_INVALID, 0,
				      "the path of the data directory is too long");
	struct sett_error ignored;
	int status = vfs_remove(vfs, path, &ignored); /* of a process that was killed in between */
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		s->error = ignored;
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_SEALED, &s->file,
				  &s->error);
	return status == SETT_OK ? vfs_remove(vfs, path, &s->error) : status;
}

static uint64_t
bit_of(const struct replica *replica)
{
	return reactor_bit(replica->reactor);
}

static void
call_users(struct full_sync *s)
{
	struct replication *r = s->replication;
	uint64_t reactors = 0;
	mutex_lock(&r->lock);
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		if (replica->sync == s)
			reactors |= bit_of(replica);
	}
	mutex_unlock(&r->lock);
	replication_call(r, reactors);
}

/* The drain of the RDB writer. */
static int
write_bytes(void *arg, struct bytes bytes)
{
	struct full_sync *s = arg;
	struct iovec io = {(void *)(uintptr_t)bytes.data, bytes.size};
	int status = vfs_write(s->file, &io, 1, s->written, &s->error);
	if (status != SETT_OK)
		return status;
	s->crc = crc64(s->crc, bytes);
	s->written += bytes.size;
	/* Release: partner of the acquire in replica_source.c. */
	__atomic_store_n(&s->size, s->written, __ATOMIC_RELEASE);
	call_users(s);
	return SETT_OK;
}

static int
go_on(void *arg, uint64_t keys)
{
	struct full_sync *s = arg;
	const struct replication_options *o = &s->replication->options;
	uint64_t limit = (uint64_t)__atomic_load_n(&o->config->snapshot_limit_bytes, __ATOMIC_RELAXED);
	uint64_t now = replication_now_ms(s->replication);
	(void)keys;
	if (__atomic_load_n(&s->unwanted, __ATOMIC_RELAXED))
		return sett_error_set(&s->error, SETT_ABORTED, 0, "no replica wants it any more");
	if (now - s->looked_ms < MS_PER_SECOND)
		return SETT_OK;
	s->looked_ms = now;
	if (limit != 0 && sett_snapshot_held_bytes(rdb_snapshot_kept(s->snapshot)) > limit)
		return sett_error_set(&s->error, SETT_TOO_LARGE, 0,
				      "its snapshot keeps more than snapshot-limit-bytes on the disk");
	return SETT_OK;
}

static int
write_databases(struct full_sync *s)
{
	const struct replication_options *o = &s->replication->options;
	bool leaves_out = __atomic_load_n(&o->config->replica_field_deadlines, __ATOMIC_RELAXED) ==
		CONFIG_FIELD_DEADLINES_LEAVE_OUT;
	unsigned version = (unsigned)__atomic_load_n(&o->config->rdb_version, __ATOMIC_RELAXED);
	struct rdb_database_options options = {
		.version = s->has_field_deadlines ? (unsigned)RDB_VERSION_DEADLINES : version,
		.created_ms = clock_wall_ms(o->clock),
		.leaves_out_keys = s->leaves_out_keys,
		.leaves_out_libraries = s->leaves_out_functions,
		.replication_id = s->id,
		.replication_offset = s->offset,
		.replication_db = s->db,
		.progress = go_on,
		.arg = s,
		.gone = &s->unwanted,
		.key_delay = __atomic_load_n(&o->config->rdb_key_save_delay, __ATOMIC_RELAXED),
	};
	struct rdb_writer writer;
	struct sett_error error = {0};
	rdb_writer_init(&writer, __atomic_load_n(&o->config->rdb_compression, __ATOMIC_RELAXED));
	writer.leaves_out_field_deadlines = leaves_out && options.version < RDB_VERSION_DEADLINES;
	writer.drain = write_bytes;
	writer.drain_arg = s;
	int status = rdb_write_databases(s->snapshot, &options, &writer, &error);
	rdb_writer_free(&writer);
	if (status == SETT_OK) {
		/* 0 says that there is none. */
		uint64_t crc = o->config->rdb_checksum ? s->crc : 0;
		status = write_bytes(s, bytes_of(&crc, sizeof(crc)));
	} else if (s->error.status == SETT_OK) {
		s->error = error;
	}
	return status;
}

/* ---- the thread ---- */

/* The replicas that wait for such a one are its users from now on. */
static void
enlist(struct full_sync *s)
{
	struct replication *r = s->replication;
	mutex_lock(&r->lock);
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		struct replica *replica = list_entry(l, struct replica, link);
		if (replica->state == REPLICA_WAITS)
			replica_join_locked(replica);
	}
	if (s->users == 1)
		__atomic_store_n(&s->unwanted, true, __ATOMIC_RELAXED);
	mutex_unlock(&r->lock);
	call_users(s);
}

/* Those that wait would wait for the same: they are to come again. */
static void
drop_users(struct full_sync *s)
{
	struct replication *r = s->replication;
	uint64_t reactors = 0;
	mutex_lock(&r->lock);
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		struct replica *replica = list_entry(l, struct replica, link);
		if (replica->sync != s && replica->state != REPLICA_WAITS)
			continue;
		replica->gone = "its full sync failed";
		reactors |= bit_of(replica);
	}
	mutex_unlock(&r->lock);
	replication_call(r, reactors);
}

static void
finish(struct full_sync *s, int status)
{
	struct replication *r = s->replication;
	const struct log_sink *sink = r->options.sink;
	if (status == SETT_OK)
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"Databases for replicas were written: %" PRIu64 " bytes", s->written);
	else
		log_sink_printf(sink, LOG_LEVEL_WARNING, "A full sync failed: %s%s", s->error.message,
				s->error.status == SETT_INVALID && !s->has_field_deadlines
					? ", or replica-field-deadlines to leave-out"
					: "");
	__atomic_store_n(&s->failed, status != SETT_OK, __ATOMIC_RELAXED);
	if (status != SETT_OK)
		drop_users(s);
	rdb_snapshot_release(s->snapshot);
	s->snapshot = NULL;
	/* Release: partner of the acquire in replica_source.c. */
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	call_users(s);
	mutex_lock(&r->lock);
	r->sync = NULL;
	full_sync_leave(s);
	r->sync_has_ended = true;
	condition_signal(&r->news);
	mutex_unlock(&r->lock);
}

static void *
run(void *arg)
{
	struct full_sync *s = arg;
	struct replication *r = s->replication;
	int status = replication_begin_stream(r);
	if (status != SETT_OK)
		sett_error_set(&s->error, status, 0, "the stream can't begin: %s", sett_status_text(status));
	if (status == SETT_OK)
		status = open_file(s);
	if (status == SETT_OK)
		status = take_moment(s);
	/* What a replica has must not be lost here by a power cut. */
	if (status == SETT_OK)
		status = sett_engine_sync(r->options.engine, &s->error);
	if (status == SETT_OK) {
		enlist(s);
		status = write_databases(s);
	}
	finish(s, status);
	return NULL;
}

/* Whether a replica has waited long enough, and for which contents. */
static const struct replica *
find_due_locked(struct replication *r, uint64_t now) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	const struct config *config = r->options.config;
	int64_t delay = __atomic_load_n(&config->repl_diskless_sync_delay, __ATOMIC_RELAXED);
	int64_t most = __atomic_load_n(&config->repl_diskless_sync_max_replicas, __ATOMIC_RELAXED);
	bool diskless = __atomic_load_n(&config->repl_diskless_sync, __ATOMIC_RELAXED);
	int64_t waiting = 0;
	const struct replica *first = NULL;
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		if (replica->state != REPLICA_WAITS || replica->gone != NULL)
			continue;
		waiting++;
		if (!diskless || (replica->abilities & REPLICA_CAN_EOF) == 0 ||
		    now - replica->waits_since_ms >= (uint64_t)delay * MS_PER_SECOND)
			first = first == NULL ? replica : first;
		if (most > 0 && waiting >= most && first == NULL)
			first = replica;
	}
	return first;
}

void
full_sync_begin(struct replication *r)
{
	struct full_sync *s = NULL;
	mutex_lock(&r->lock);
	if (r->sync_has_ended) {
		thread_join(r->sync_thread); /* it needs the lock no more */
		r->sync_has_ended = r->has_sync_thread = false;
	}
	const struct replica *replica =
		r->has_sync_thread || r->stopping ? NULL : find_due_locked(r, replication_now_ms(r));
	if (replica != NULL)
		s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->replication = r;
		s->users = 1;
		s->leaves_out_keys = replica->leaves_out_keys;
		s->leaves_out_functions = replica->leaves_out_functions;
		s->has_field_deadlines = knows_field_deadlines(replica);
		s->looked_ms = replication_now_ms(r);
		for (unsigned i = 0; i < SYNC_MARK_SIZE; i += 8)
			snprintf(s->mark + i, sizeof(s->mark) - i, "%08x", (unsigned)random_entropy());
		r->sync = s;
		r->has_sync_thread = thread_start(&r->sync_thread, "sett-sync", run, s) == SETT_OK;
		if (!r->has_sync_thread) {
			r->sync = NULL;
			full_sync_leave(s); /* it is tried again */
		}
	}
	mutex_unlock(&r->lock);
}

void
full_sync_stop(struct replication *r)
{
	mutex_lock(&r->lock);
	if (r->sync != NULL)
		__atomic_store_n(&r->sync->unwanted, true, __ATOMIC_RELAXED);
	bool joins = r->has_sync_thread;
	r->has_sync_thread = false;
	mutex_unlock(&r->lock);
	if (joins)
		thread_join(r->sync_thread);
}
