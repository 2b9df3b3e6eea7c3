/* See saver.h. The new file is known to the database before it has its name, so that no start meets one that is not. */
#include "moving/saver.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "moving/redis_files.h"
#include "rdb/database_writer.h"
#include "rdb/file_writer.h"
#include "storage/base/stepper.h"
#include "storage/base/thread.h"
#include "storage/engine.h"

enum { MS_PER_SECOND = 1000, NAME_MAX_SIZE = 256, PROGRESS_LOG_MS = 5000, RETRY_SECONDS = 5 };
#define NS_PER_SECOND 1000000000ull
#define NS_PER_HOUR (3600 * NS_PER_SECOND)

/* One file being written. */
struct save {
	struct saver *saver;
	struct rdb_snapshot *snapshot;
	const bool *gone;
	unsigned version; /* 0: rdb-version */
	uint64_t changes; /* by the moment */
	struct sett_error error;
	uint64_t logged_ms;
};

struct saver {
	struct server *server;
	struct mutex lock;
	struct condition ended; /* something is written no more */
	/* under lock */
	bool busy, again; /* another one is wanted behind it */
	bool has_thread;  /* to be joined */
	bool stop;        /* atomic, too: what is being written is given up */
	pthread_t thread;
	struct save background;
	struct saver_facts facts;
	uint64_t began_ms;
	uint64_t tried_ms; /* when one in the background was to begin */
	bool watches;      /* `points` runs; main's */
	struct stepper points;
	bool has_points;    /* atomic; written under lock */
	uint64_t keys_done; /* atomic */
	bool in_background; /* atomic */
	bool given_up;      /* atomic: the one in the background */
};

static uint64_t
now_ms(const struct saver *s)
{
	return clock_wall_ms(s->server->clock);
}

/* ---- what a kill has left ---- */

static void
own_name(char ret[NAME_MAX_SIZE])
{
	/* Redis' own checks of a directory look for names of this form. */
	snprintf(ret, NAME_MAX_SIZE, "temp-%d.rdb", (int)getpid());
}

void
saver_remove_own(const struct server *server)
{
	char name[NAME_MAX_SIZE], path[PATH_MAX];
	own_name(name);
	int size = snprintf(path, sizeof(path), "%s/%s", server->config->dir, name);
	if (size > 0 && (size_t)size < sizeof(path) && unlink(path) != 0 && errno != ENOENT)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING,
				"%s, which a save has left, can't be removed: %s", name, strerror(errno));
}

static int
remove_leftover(void *arg, const char *name)
{
	struct saver *s = arg;
	static const char prefix[] = "temp-";
	char path[PATH_MAX], *end;
	const char *number = name + sizeof(prefix) - 1;
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0 || !isdigit((unsigned char)*number))
		return 0;
	long pid = strtol(number, &end, 10);
	/* A number that is in use is a redis-server's that saves, or our own from before, as in a container. */
	if (pid <= 0 || pid > INT_MAX || strcmp(end, ".rdb") != 0 ||
	    (pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH)))
		return 0;
	int size = snprintf(path, sizeof(path), "%s/%s", s->server->config->dir, name);
	if (size > 0 && (size_t)size < sizeof(path) && unlink(path) == 0)
		log_sink_printf(&s->server->sink, LOG_LEVEL_NOTICE, "%s, which a save has left, is removed",
				path);
	else
		log_sink_printf(&s->server->sink, LOG_LEVEL_WARNING,
				"%s, which a save has left, can't be removed: %s", name, strerror(errno));
	return 0;
}

void
saver_remove_leftovers(struct saver *s)
{
	struct sett_error error;
	if (vfs_list(vfs_posix(), s->server->config->dir, remove_leftover, s, &error) != SETT_OK)
		log_sink_printf(&s->server->sink, LOG_LEVEL_WARNING, "%s", error.message);
}

static uint64_t look_at_points(void *arg);

int
saver_create(struct server *server, struct saver **ret)
{
	struct saver *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	s->server = server;
	mutex_init(&s->lock);
	condition_init(&s->ended);
	stepper_init(&s->points, NULL, look_at_points, s);
	s->facts = (struct saver_facts){.last_seconds = -1, .last_save_ms = server->started_ms};
	*ret = s;
	return SETT_OK;
}

/* ---- writing a file ---- */

static int
go_on(void *arg, uint64_t keys)
{
	struct save *save = arg;
	const struct server *server = save->saver->server;
	uint64_t limit = (uint64_t)__atomic_load_n(&server->config->snapshot_limit_bytes, __ATOMIC_RELAXED);
	/* relaxed: figures and wishes that stand for themselves */
	__atomic_store_n(&save->saver->keys_done, keys, __ATOMIC_RELAXED);
	if (__atomic_load_n(&save->saver->stop, __ATOMIC_RELAXED) ||
	    (save->gone == NULL && __atomic_load_n(&save->saver->given_up, __ATOMIC_RELAXED)) ||
	    (save->gone != NULL && __atomic_load_n(save->gone, __ATOMIC_RELAXED)))
		return sett_error_set(&save->error, SETT_ABORTED, 0, "it was given up");
	uint64_t now = now_ms(save->saver);
	if (now - save->logged_ms < MS_PER_SECOND)
		return SETT_OK;
	if (limit != 0 && sett_snapshot_held_bytes(rdb_snapshot_kept(save->snapshot)) > limit)
		return sett_error_set(&save->error, SETT_TOO_LARGE, 0,
				      "its snapshot keeps more than snapshot-limit-bytes on the disk");
	save->logged_ms = now;
	return SETT_OK;
}

static int
write_databases(struct save *save, struct rdb_file *file)
{
	const struct server *server = save->saver->server;
	const struct config *config = server->config;
	struct rdb_database_options options = {
		.version = save->version != 0
			? save->version
			: (unsigned)__atomic_load_n(&config->rdb_version, __ATOMIC_RELAXED),
		.used_memory = __atomic_load_n(&server->used_memory_peak, __ATOMIC_RELAXED),
		.created_ms = now_ms(save->saver),
		/* acquire: partner of server_note_accesses */
		.accesses = __atomic_load_n(&server->accesses, __ATOMIC_ACQUIRE),
		.uses = config_policy_is_lfu(config)   ? RDB_USES_FREQUENCY
			: config_policy_is_lru(config) ? RDB_USES_IDLE
						       : RDB_USES_NONE,
		.rule = server_access_rule(server),
		.progress = go_on,
		.arg = save,
		.gone = save->gone != NULL ? save->gone : &save->saver->given_up,
		.key_delay = __atomic_load_n(&config->rdb_key_save_delay, __ATOMIC_RELAXED),
	};
	struct rdb_writer writer;
	rdb_writer_init(&writer, __atomic_load_n(&config->rdb_compression, __ATOMIC_RELAXED));
	writer.drain = rdb_file_write;
	writer.drain_arg = file;
	struct sett_error error;
	int status = rdb_write_databases(save->snapshot, &options, &writer, &error);
	/* Who failed first has the text. */
	if (status != SETT_OK && save->error.status == SETT_OK)
		save->error = file->error.status != SETT_OK ? file->error : error;
	rdb_writer_free(&writer);
	return status;
}

static int
note_file(struct save *save, const struct rdb_file *file)
{
	struct known_files known;
	struct known_file new;
	struct sett_engine *engine = save->saver->server->engine;
	int status = redis_file_fingerprint(file->vfs, file->temporary, &new, &save->error);
	if (status == SETT_OK)
		status = known_files_read(engine, &known, &save->error);
	if (status != SETT_OK)
		return status;
	known_files_add(&known, &new);
	return known_files_write(engine, &known, &save->error);
}

static int
write_file(struct save *save)
{
	struct config *config = save->saver->server->config;
	struct rdb_file file;
	char name[NAME_MAX_SIZE], temporary[NAME_MAX_SIZE];
	mutex_lock(config_lock(config));
	snprintf(name, sizeof(name), "%s", config->dump_file);
	mutex_unlock(config_lock(config));
	own_name(temporary);
	/* Relaxed: CONFIG SET may change it at any time. */
	bool is_plain = __atomic_load_n(&config->encryption_plain_rdb, __ATOMIC_RELAXED);
	struct vfs *vfs = is_plain ? vfs_posix() : server_vfs(save->saver->server);
	int status = rdb_file_create(&file, vfs, config->dir, temporary, &save->error);
	if (status == SETT_OK)
		status = write_databases(save, &file);
	if (status == SETT_OK)
		status = rdb_file_finish(&file, config->rdb_checksum, &save->error);
	if (status == SETT_OK)
		status = note_file(save, &file);
	if (status == SETT_OK)
		status = rdb_file_replace(&file, name, &save->error);
	rdb_file_close(&file);
	return status;
}

/* ---- one at a time ---- */

static int
take_moment(struct saver *s, struct save *ret)
{
	*ret = (struct save){.saver = s, .logged_ms = now_ms(s)};
	ret->changes = __atomic_load_n(&s->server->changes, __ATOMIC_RELAXED);
	int status = rdb_snapshot_take(s->server->engine, s->server->keyspace, &ret->snapshot);
	if (status != SETT_OK)
		sett_error_set(&ret->error, status, 0, "%s", sett_status_text(status));
	return status;
}

static void
begin_locked(struct saver *s, const struct save *save, bool in_background) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	s->busy = true;
	s->began_ms = now_ms(s);
	s->facts.in_background = in_background;
	__atomic_store_n(&s->given_up, false, __ATOMIC_RELAXED);
	__atomic_store_n(&s->in_background, in_background, __ATOMIC_RELAXED);
	s->facts.keys_all = rdb_snapshot_keys(save->snapshot);
	__atomic_store_n(&s->keys_done, 0, __ATOMIC_RELAXED);
}

/* Redis asks for save points, as who has none does not count on the file. */
static void
judge_writes_locked(struct saver *s) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	const struct config *config = s->server->config;
	server_refuse(s->server, REFUSE_UNSAVED,
		      saver_has_points(s) && s->facts.last_failed &&
			      __atomic_load_n(&config->stop_writes_on_bgsave_error, __ATOMIC_RELAXED));
}

static void
end_locked(struct saver *s, const struct save *save, int status) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	uint64_t now = now_ms(s);
	const struct log_sink *sink = &s->server->sink;
	s->busy = false;
	condition_broadcast(&s->ended);
	if (s->facts.in_background) {
		if (status != SETT_ABORTED) /* that says nothing of the next one */
			s->facts.last_failed = status != SETT_OK;
		s->facts.last_seconds = (int64_t)((now - s->began_ms) / MS_PER_SECOND);
	}
	s->facts.in_background = false;
	__atomic_store_n(&s->in_background, false, __ATOMIC_RELAXED);
	if (status == SETT_OK) {
		s->facts.saves++;
		s->facts.last_save_ms = now;
		s->facts.last_changes = save->changes;
		s->facts.last_failed = false;
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "DB saved on disk");
	} else {
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Saving the DB failed: %s", save->error.message);
	}
	judge_writes_locked(s);
}

/* Writes the moment that was taken, and forgets it. */
static int
write_moment(struct save *save)
{
	int status = sett_engine_sync(save->saver->server->engine, &save->error);
	if (status == SETT_OK)
		status = write_file(save);
	if (status != SETT_OK && save->error.status == SETT_OK)
		sett_error_set(&save->error, status, 0, "%s", sett_status_text(status));
	rdb_snapshot_release(save->snapshot);
	save->snapshot = NULL;
	return status;
}

static void *
run_thread(void *arg)
{
	struct saver *s = arg;
	for (;;) {
		int status = write_moment(&s->background);
		mutex_lock(&s->lock);
		end_locked(s, &s->background, status);
		if (status == SETT_OK)
			log_sink_printf(&s->server->sink, LOG_LEVEL_NOTICE,
					"Background saving terminated with success");
		bool more = s->again && !s->stop;
		s->again = false;
		if (more && take_moment(s, &s->background) != SETT_OK) {
			log_sink_printf(&s->server->sink, LOG_LEVEL_WARNING,
					"The scheduled background save can't begin: %s",
					s->background.error.message);
			s->facts.last_failed = true;
			judge_writes_locked(s);
			more = false;
		}
		if (more)
			begin_locked(s, &s->background, true);
		mutex_unlock(&s->lock);
		if (!more)
			return NULL;
	}
}

static int
start_locked(struct saver *s, struct sett_error *error) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	if (s->has_thread)
		thread_join(s->thread); /* it is through, or about to be: it needs the lock no more */
	s->has_thread = false;
	s->tried_ms = now_ms(s);
	int status = take_moment(s, &s->background);
	if (status == SETT_OK) {
		/* All is said before the thread may forget the moment. */
		begin_locked(s, &s->background, true);
		status = thread_start(&s->thread, "sett-save", run_thread, s);
	}
	if (status != SETT_OK) {
		rdb_snapshot_release(s->background.snapshot);
		s->background.snapshot = NULL;
		s->busy = s->facts.in_background = false;
		__atomic_store_n(&s->in_background, false, __ATOMIC_RELAXED);
		s->facts.last_failed = true;
		judge_writes_locked(s);
		return sett_error_set(error, status, 0, "%s", sett_status_text(status));
	}
	s->has_thread = true;
	return SETT_OK;
}

int
saver_start(struct saver *s, struct sett_error *error)
{
	int status = SETT_OK;
	mutex_lock(&s->lock);
	if (s->busy)
		s->again = true;
	else
		status = start_locked(s, error);
	mutex_unlock(&s->lock);
	return status;
}

int
saver_run(struct saver *s, unsigned version, const bool *gone, struct sett_error *error)
{
	struct save save;
	int status = SETT_LOCKED;
	mutex_lock(&s->lock);
	if (!s->busy) {
		status = take_moment(s, &save);
		if (status == SETT_OK)
			begin_locked(s, &save, false);
		else
			*error = save.error;
	}
	mutex_unlock(&s->lock);
	if (status != SETT_OK)
		return status;
	save.gone = gone;
	save.version = version;
	status = write_moment(&save);
	struct sett_error ignored;
	mutex_lock(&s->lock);
	end_locked(s, &save, status);
	if (s->again && !s->stop)
		(void)start_locked(s, &ignored); /* its failure is among the facts */
	s->again = false;
	mutex_unlock(&s->lock);
	if (status != SETT_OK)
		*error = save.error;
	return status;
}

/* ---- save points ---- */

bool
saver_has_points(const struct saver *s)
{
	/* relaxed: it stands for itself */
	return __atomic_load_n(&s->has_points, __ATOMIC_RELAXED);
}

/* Under both locks, so that of two changes the later one stays. */
static void
config_changed(void *arg)
{
	struct saver *s = arg;
	struct config *config = s->server->config;
	mutex_lock(&s->lock);
	mutex_lock(config_lock(config));
	__atomic_store_n(&s->has_points, config->save[0] != '\0', __ATOMIC_RELAXED);
	mutex_unlock(config_lock(config));
	judge_writes_locked(s);
	mutex_unlock(&s->lock);
	stepper_wake(&s->points);
}

int
saver_follow_config(struct saver *s)
{
	struct config *config = s->server->config;
	int status = config_listen(config, "save", config_changed, s);
	if (status == SETT_OK)
		status = config_listen(config, "stop-writes-on-bgsave-error", config_changed, s);
	if (status == SETT_OK)
		config_changed(s);
	return status;
}

/* Whole seconds, as Redis counts. A clock that was set back makes none. */
static uint64_t
seconds_since(const struct saver *s, uint64_t then_ms)
{
	uint64_t now = now_ms(s) / MS_PER_SECOND, then = then_ms / MS_PER_SECOND;
	return now > then ? now - then : 0;
}

static bool
find_due_point_locked(struct saver *s, struct config_save_point *ret) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	struct config *config = s->server->config;
	uint64_t seconds = seconds_since(s, s->facts.last_save_ms);
	uint64_t changes = __atomic_load_n(&s->server->changes, __ATOMIC_RELAXED) - s->facts.last_changes;
	bool is_due = false;
	mutex_lock(config_lock(config));
	const char *text = config->save;
	while (!is_due && config_next_save_point(&text, ret))
		is_due = seconds > (uint64_t)ret->seconds && changes >= (uint64_t)ret->changes;
	mutex_unlock(config_lock(config));
	return is_due;
}

/* A step of `points`. */
static uint64_t
look_at_points(void *arg)
{
	struct saver *s = arg;
	const struct log_sink *sink = &s->server->sink;
	struct config_save_point point;
	struct sett_error error;
	if (!saver_has_points(s))
		return NS_PER_HOUR; /* config_changed wakes it */
	mutex_lock(&s->lock);
	bool may_try = !s->busy && !loading_is_active(&s->server->loading) &&
		(!s->facts.last_failed || seconds_since(s, s->tried_ms) > RETRY_SECONDS);
	if (may_try && find_due_point_locked(s, &point)) {
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"%" PRId64 " changes in %" PRId64 " seconds. Saving...", point.changes,
				point.seconds);
		if (start_locked(s, &error) != SETT_OK)
			log_sink_printf(sink, LOG_LEVEL_WARNING, "Can't save in background: %s",
					error.message);
	}
	mutex_unlock(&s->lock);
	return NS_PER_SECOND;
}

int
saver_watch_points(struct saver *s)
{
	int status = stepper_start(&s->points, "sett-points");
	s->watches = status == SETT_OK;
	return status;
}

void
saver_destroy(struct saver *s)
{
	if (s == NULL)
		return;
	if (s->watches)
		stepper_stop(&s->points);
	stepper_free(&s->points);
	mutex_lock(&s->lock);
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	__atomic_store_n(&s->given_up, true, __ATOMIC_RELAXED);
	bool has_thread = s->has_thread;
	mutex_unlock(&s->lock);
	if (has_thread)
		thread_join(s->thread);
	condition_destroy(&s->ended);
	mutex_destroy(&s->lock);
	free(s);
}

bool
saver_is_in_background(const struct saver *s)
{
	return __atomic_load_n(&s->in_background, __ATOMIC_RELAXED);
}

void
saver_give_up(struct saver *s)
{
	__atomic_store_n(&s->given_up, true, __ATOMIC_RELAXED);
}

void
saver_end_background(struct saver *s)
{
	mutex_lock(&s->lock);
	s->again = false;
	while (s->busy && s->facts.in_background) {
		saver_give_up(s);
		condition_wait(&s->ended, &s->lock);
	}
	mutex_unlock(&s->lock);
}

bool
saver_is_busy(struct saver *s)
{
	mutex_lock(&s->lock);
	bool busy = s->busy;
	mutex_unlock(&s->lock);
	return busy;
}

void
saver_facts(struct saver *s, struct saver_facts *ret)
{
	mutex_lock(&s->lock);
	*ret = s->facts;
	ret->keys_done = __atomic_load_n(&s->keys_done, __ATOMIC_RELAXED);
	if (!s->busy)
		ret->keys_done = ret->keys_all = 0;
	ret->current_seconds =
		s->facts.in_background ? (int64_t)((now_ms(s) - s->began_ms) / MS_PER_SECOND) : -1;
	mutex_unlock(&s->lock);
}
