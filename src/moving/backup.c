/* See backup.h. */
#include "moving/backup.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "storage/base/stepper.h"
#include "storage/checkpoint.h"
#include "storage/inspect.h"
#include "storage/keyring.h"

#define NS_PER_SECOND 1000000000ull
#define NS_PER_HOUR (3600 * NS_PER_SECOND)
#define MEASURE_NS (5 * NS_PER_SECOND)
enum { MS_PER_SECOND = 1000 };

struct backup {
	struct server *server;
	char directory[PATH_MAX];
	struct stepper watcher;
	bool watches;
	struct mutex lock;
	/* under lock */
	bool is_busy;       /* files are made or removed: nobody else changes the state */
	uint64_t listed_ms; /* when its files were asked for: somebody copies them */
	struct backup_facts facts;
};

static uint64_t
now_ms(const struct backup *b)
{
	return clock_wall_ms(b->server->clock);
}

/* ---- the directory ---- */

struct walk {
	const char *directory;
	int (*each)(void *arg, const char *path);
	void *arg;
	struct sett_error *error;
};

static int
visit_name(void *arg, const char *name)
{
	const struct walk *w = arg;
	enum sett_file_kind kind;
	uint64_t number;
	char path[PATH_MAX];
	bool is_ours = sett_file_classify(name, &kind, &number) ? kind != SETT_FILE_MANIFEST
								: strcmp(name, SETT_KEYS_NAME) == 0;
	if (!is_ours)
		return SETT_OK;
	int size = snprintf(path, sizeof(path), "%s/%s", w->directory, name);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(w->error, SETT_INVALID, 0, "%s: the path is too long", w->directory);
	return w->each(w->arg, path);
}

/* The manifest last. */
static int
walk_files(const struct backup *b, int (*each)(void *arg, const char *path), void *arg,
	   struct sett_error *error)
{
	struct walk w = {b->directory, each, arg, error};
	char path[PATH_MAX];
	struct stat st;
	int status = vfs_list(vfs_posix(), b->directory, visit_name, &w, error);
	if (status == SETT_NOT_FOUND)
		return SETT_OK;
	int size = snprintf(path, sizeof(path), "%s/MANIFEST", b->directory);
	if (status == SETT_OK && size > 0 && (size_t)size < sizeof(path) && stat(path, &st) == 0)
		status = each(arg, path);
	return status;
}

struct sum {
	uint64_t files, bytes, held;
	bool has_manifest;
	uint64_t manifest_ms; /* when it was written */
};

static int
add_file(void *arg, const char *path)
{
	struct sum *sum = arg;
	struct stat st;
	if (stat(path, &st) != 0)
		return SETT_OK; /* gone meanwhile */
	sum->files++;
	sum->bytes += (uint64_t)st.st_size;
	sum->held += st.st_nlink == 1 ? (uint64_t)st.st_size : 0;
	const char *name = strrchr(path, '/');
	if (strcmp(name, "/MANIFEST") == 0) {
		sum->has_manifest = true;
		sum->manifest_ms = (uint64_t)st.st_mtim.tv_sec * MS_PER_SECOND;
	}
	return SETT_OK;
}

static int
refuse_name(void *arg, const char *name)
{
	struct walk *w = arg;
	return sett_error_set(w->error, SETT_INVALID, 0, "The backup directory is not empty: there is %s/%s",
			      w->directory, name);
}

static void
publish_locked(struct backup *b, const struct sum *sum)
{
	b->facts.files = sum->files;
	b->facts.bytes = sum->bytes;
	b->facts.held_bytes = sum->held;
	/* relaxed: a figure that stands for itself; partner: the evictor's measure */
	__atomic_store_n(&b->server->backup_held_bytes, sum->held, __ATOMIC_RELAXED);
}

/* ---- what lasts ---- */

/* Looks how much is held now, and whether the time of what is sealed is up. */
static uint64_t
watch(void *arg)
{
	struct backup *b = arg;
	struct sett_error error = {0};
	struct sum sum = {0};
	uint64_t seconds = (uint64_t)__atomic_load_n(&b->server->config->backup_sealed_ttl, __ATOMIC_RELAXED);
	mutex_lock(&b->lock);
	bool is_sealed = b->facts.state == BACKUP_SEALED && !b->is_busy;
	uint64_t end_ms = b->facts.end_ms > b->listed_ms ? b->facts.end_ms : b->listed_ms, now = now_ms(b);
	mutex_unlock(&b->lock);
	if (!is_sealed)
		return NS_PER_HOUR; /* a seal wakes it */
	if (seconds > 0 && now >= end_ms && now - end_ms >= seconds * MS_PER_SECOND) {
		if (backup_clean_up(b, &error) != SETT_OK)
			log_sink_printf(&b->server->sink, LOG_LEVEL_WARNING,
					"A backup whose time is up can't be removed: %s", error.message);
		else
			log_sink_printf(&b->server->sink, LOG_LEVEL_NOTICE,
					"The sealed backup is removed, as backup-sealed-ttl says");
		return MEASURE_NS;
	}
	if (walk_files(b, add_file, &sum, &error) == SETT_OK) {
		mutex_lock(&b->lock);
		if (b->facts.state == BACKUP_SEALED && !b->is_busy)
			publish_locked(b, &sum);
		mutex_unlock(&b->lock);
	}
	return seconds > 0 && seconds * NS_PER_SECOND < MEASURE_NS ? NS_PER_SECOND / 4 : MEASURE_NS;
}

static void
time_changed(void *arg)
{
	struct backup *b = arg;
	if (b->watches)
		stepper_wake(&b->watcher);
}

static int
note_own(void *arg, const char *name)
{
	bool *ret = arg;
	*ret = *ret || sett_checkpoint_has_name(name);
	return SETT_OK;
}

/* What another process has left: a seal that was cut may have made its lock file alone, and no file that a backup
 * lists. */
static void
adopt(struct backup *b)
{
	struct sett_error error = {0};
	struct sum sum = {0};
	struct sett_description d;
	uint64_t commit = 0;
	bool has_own = false;
	if (vfs_list(vfs_posix(), b->directory, note_own, &has_own, &error) != SETT_OK || !has_own ||
	    walk_files(b, add_file, &sum, &error) != SETT_OK)
		return;
	if (sum.has_manifest && sett_describe(b->directory, NULL, &d, &error) == SETT_OK) {
		commit = d.last;
		sett_description_free(&d);
	}
	mutex_lock(&b->lock);
	publish_locked(b, &sum);
	b->facts.commit = commit;
	b->facts.state = sum.has_manifest ? BACKUP_SEALED : BACKUP_FAILED;
	b->facts.end_ms = sum.manifest_ms;
	if (!sum.has_manifest)
		snprintf(b->facts.error, sizeof(b->facts.error), "the server ended while it was sealed");
	mutex_unlock(&b->lock);
}

int
backup_create(struct server *server, struct backup **ret, struct sett_error *error)
{
	const struct config *config = server->config;
	struct backup *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	b->server = server;
	mutex_init(&b->lock);
	stepper_init(&b->watcher, NULL, watch, b);
	int size =
		snprintf(b->directory, sizeof(b->directory), "%s/%s", config->dir, config->backup_directory);
	int status = size > 0 && size < SETT_PATH_MAX - 32
		? SETT_OK
		: sett_error_set(error, SETT_INVALID, 0, "backupdirname: the path is too long");
	if (status == SETT_OK) {
		adopt(b);
		status = config_listen(server->config, "backup-sealed-ttl", time_changed, b);
		if (status == SETT_OK)
			status = stepper_start(&b->watcher, "sett-backup");
		b->watches = status == SETT_OK;
		if (status != SETT_OK)
			(void)sett_error_set(error, status, 0, "out of memory");
	}
	if (status != SETT_OK) {
		backup_destroy(b);
		return status;
	}
	*ret = b;
	return SETT_OK;
}

void
backup_destroy(struct backup *b)
{
	if (b == NULL)
		return;
	if (b->watches)
		stepper_stop(&b->watcher);
	stepper_free(&b->watcher);
	mutex_destroy(&b->lock);
	free(b);
}

/* ---- the states ---- */

int
backup_check(struct backup *b, struct sett_error *error)
{
	struct walk w = {.directory = b->directory, .error = error};
	mutex_lock(&b->lock);
	enum backup_state state = b->facts.state;
	bool is_busy = b->is_busy;
	mutex_unlock(&b->lock);
	if (is_busy || state == BACKUP_INCREMENTING)
		return sett_error_set(error, SETT_LOCKED, 0, "A backup is already in progress");
	if (state == BACKUP_SEALED)
		return sett_error_set(error, SETT_LOCKED, 0,
				      "A sealed backup is there: BACKUP CLEANUP removes it");
	int status = vfs_list(vfs_posix(), b->directory, refuse_name, &w, error);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

void
backup_begin(struct backup *b)
{
	mutex_lock(&b->lock);
	/* Of two that ask at once the other has begun it. */
	if (!b->is_busy && b->facts.state != BACKUP_SEALED && b->facts.state != BACKUP_INCREMENTING)
		b->facts = (struct backup_facts){.state = BACKUP_INCREMENTING, .start_ms = now_ms(b)};
	mutex_unlock(&b->lock);
}

/* Files are made or removed from now on, if the state is one of two. */
static bool
take(struct backup *b, enum backup_state one, enum backup_state other)
{
	mutex_lock(&b->lock);
	bool may = !b->is_busy && (b->facts.state == one || b->facts.state == other);
	if (may)
		b->is_busy = true;
	mutex_unlock(&b->lock);
	return may;
}

static void
fail_locked(struct backup *b, const char *why) REQUIRES(&b->lock)
{
	assert(mutex_is_mine(&b->lock));
	uint64_t start_ms = b->facts.start_ms;
	b->facts = (struct backup_facts){.state = BACKUP_FAILED, .start_ms = start_ms};
	snprintf(b->facts.error, sizeof(b->facts.error), "%s", why);
	publish_locked(b, &(struct sum){0});
}

int
backup_seal(struct backup *b, struct sett_error *error)
{
	struct sum sum = {0};
	uint64_t commit = 0;
	if (!take(b, BACKUP_INCREMENTING, BACKUP_INCREMENTING))
		return sett_error_set(error, SETT_INVALID, 0, "No backup ready to seal");
	int status = sett_checkpoint(b->server->engine, b->directory, &commit, error);
	if (status == SETT_OK)
		status = walk_files(b, add_file, &sum, error);
	mutex_lock(&b->lock);
	if (status == SETT_OK) {
		b->facts.state = BACKUP_SEALED;
		b->facts.end_ms = now_ms(b);
		b->facts.commit = commit;
		publish_locked(b, &sum);
	} else {
		fail_locked(b, error->message);
	}
	b->is_busy = false;
	mutex_unlock(&b->lock);
	if (status == SETT_OK)
		log_sink_printf(&b->server->sink, LOG_LEVEL_NOTICE,
				"A backup is sealed: commits up to %" PRIu64 ", %" PRIu64 " files of %" PRIu64
				" MB in %s",
				commit, sum.files, sum.bytes >> 20, b->directory);
	stepper_wake(&b->watcher);
	return status;
}

int
backup_abort(struct backup *b, struct sett_error *error)
{
	mutex_lock(&b->lock);
	bool may = !b->is_busy && b->facts.state == BACKUP_INCREMENTING;
	if (may)
		fail_locked(b, "aborted by user");
	mutex_unlock(&b->lock);
	return may ? SETT_OK : sett_error_set(error, SETT_INVALID, 0, "No backup in progress");
}

int
backup_clean_up(struct backup *b, struct sett_error *error)
{
	if (!take(b, BACKUP_SEALED, BACKUP_FAILED)) {
		mutex_lock(&b->lock);
		bool is_idle = b->facts.state == BACKUP_IDLE;
		mutex_unlock(&b->lock);
		return is_idle ? SETT_OK : sett_error_set(error, SETT_LOCKED, 0, "A backup is in progress");
	}
	int status = sett_checkpoint_discard(vfs_posix(), b->directory, error);
	mutex_lock(&b->lock);
	if (status == SETT_OK) {
		b->facts = (struct backup_facts){.state = BACKUP_IDLE};
		publish_locked(b, &(struct sum){0});
	} else {
		fail_locked(b, error->message);
	}
	b->is_busy = false;
	mutex_unlock(&b->lock);
	return status;
}

void
backup_facts(struct backup *b, struct backup_facts *ret)
{
	mutex_lock(&b->lock);
	*ret = b->facts;
	mutex_unlock(&b->lock);
}

int
backup_list(struct backup *b, int (*each)(void *arg, const char *path), void *arg, struct sett_error *error)
{
	mutex_lock(&b->lock);
	bool is_sealed = b->facts.state == BACKUP_SEALED;
	if (is_sealed)
		b->listed_ms = now_ms(b);
	mutex_unlock(&b->lock);
	return is_sealed ? walk_files(b, each, arg, error) : SETT_OK;
}
