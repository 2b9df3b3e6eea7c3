/* See encryption.h. */
#include "encryption.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage/base/thread.h"
#include "storage/engine.h"
#include "txn/server.h"

int
encryption_master_key(const struct config *config, uint8_t ret[SETT_MASTER_KEY_SIZE], bool *ret_is_named,
		      struct sett_error *error)
{
	bool has_file = config->encryption_key_file[0] != '\0',
	     has_command = config->encryption_key_command[0] != '\0';
	if (has_file && has_command)
		return sett_error_set(error, SETT_INVALID, 0,
				      "encryption-key-file and encryption-key-command are both set");
	int status = has_file ? sett_master_key_from_file(config->encryption_key_file, ret, error)
		: has_command ? sett_master_key_from_command(config->encryption_key_command, ret, error)
			      : SETT_OK;
	if (status == SETT_OK)
		*ret_is_named = has_file || has_command;
	return status;
}

/* Keys and values stand in memory in clear. A pipe that cores are sent to gets the process whatever the limit says: so
 * nothing of its memory is to be in them either. */
static void
forbid_cores(const struct log_sink *sink)
{
	static const char nothing[] = "0";
	struct rlimit none = {0, 0};
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	bool is_done = fd >= 0 && write(fd, nothing, sizeof(nothing) - 1) == (ssize_t)sizeof(nothing) - 1;
	if (fd >= 0)
		(void)close(fd);
	if (setrlimit(RLIMIT_CORE, &none) != 0 || !is_done)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Encryption: core files can't be switched off: %s",
				strerror(errno));
}

int
encryption_begin(struct server *s, struct sett_error *error)
{
	uint8_t master[SETT_MASTER_KEY_SIZE];
	bool is_named = false;
	s->vfs = vfs_posix();
	int status = encryption_master_key(s->config, master, &is_named, error);
	if (status != SETT_OK || !is_named)
		return status;
	forbid_cores(&s->sink);
	status = sett_keyring_open(NULL, s->config->dir, master, &s->keys, error);
	OPENSSL_cleanse(master, sizeof(master));
	if (status != SETT_OK)
		return status;
	sett_keyring_set_converts(s->keys, s->config->encryption_convert);
	s->vfs = sett_keyring_vfs(s->keys);
	return SETT_OK;
}

void
encryption_end(struct server *s)
{
	sett_keyring_close(s->keys);
	s->keys = NULL;
	s->vfs = vfs_posix();
}

/* ---- rotation ---- */

struct rotation {
	struct mutex lock; /* one change at a time */
	pthread_t thread;  /* of a rewriting */
	bool has_thread;
	bool is_stopping; /* atomic */
};

static bool
should_stop(void *arg)
{
	/* Acquire: partner of the release in encryption_stop. */
	return __atomic_load_n(&((struct rotation *)arg)->is_stopping, __ATOMIC_ACQUIRE);
}

static void
conclude(struct server *s, const char *what, int status, const struct sett_error *error)
{
	/* relaxed: a figure */
	__atomic_store_n(&s->encryption.last_failed, status != SETT_OK, __ATOMIC_RELAXED);
	if (status == SETT_OK)
		log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Encryption: %s", what);
	else if (status != SETT_ABORTED)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Encryption: the rotation has failed: %s",
				error->message);
}

static int
rotate_master(struct server *s, struct sett_error *error)
{
	uint8_t master[SETT_MASTER_KEY_SIZE];
	bool is_named = false;
	int status = encryption_master_key(s->config, master, &is_named, error);
	if (status == SETT_OK && is_named)
		status = sett_keyring_set_master(s->keys, master, error);
	OPENSSL_cleanse(master, sizeof(master));
	return status;
}

static void *
rewrite(void *arg)
{
	struct server *s = arg;
	struct sett_error error = {0};
	log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Encryption: all is written anew by a new data key");
	int status = sett_engine_rewrite(s->engine, should_stop, s->rotation, &error);
	conclude(s, "all was written anew by a new data key", status, &error);
	__atomic_store_n(&s->encryption.is_rewriting, false, __ATOMIC_RELEASE);
	return NULL;
}

/* One at a time. */
static void
begin_rewriting(struct server *s)
{
	struct rotation *r = s->rotation;
	bool was = __atomic_exchange_n(&s->encryption.is_rewriting, true, __ATOMIC_ACQ_REL);
	if (was) {
		log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Encryption: all is being written anew already");
		return;
	}
	if (r->has_thread)
		thread_join(r->thread);
	r->has_thread = thread_start(&r->thread, "sett-rewrite", rewrite, s) == SETT_OK;
	if (r->has_thread)
		return;
	__atomic_store_n(&s->encryption.is_rewriting, false, __ATOMIC_RELEASE);
	log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Encryption: the thread that rewrites can't be started");
}

static void
rotate(void *arg)
{
	struct server *s = arg;
	struct sett_error error = {0};
	/* relaxed: the number stands for itself */
	int what = __atomic_load_n(&s->config->encryption_rotate, __ATOMIC_RELAXED);
	if (what == CONFIG_ROTATE_NOTHING)
		return;
	mutex_lock(&s->rotation->lock);
	if (s->keys == NULL)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Encryption: there is no key to rotate");
	else if (what == CONFIG_ROTATE_MASTER)
		conclude(s, "the data keys are wrapped by the new master key", rotate_master(s, &error),
			 &error);
	else if (what == CONFIG_ROTATE_DATA)
		conclude(s, "what is written from now on has a new data key",
			 sett_keyring_add_key(s->keys, &error), &error);
	else
		begin_rewriting(s);
	mutex_unlock(&s->rotation->lock);
}

int
encryption_listen(struct server *s)
{
	s->rotation = calloc(1, sizeof(*s->rotation));
	if (s->rotation == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&s->rotation->lock);
	if (config_listen(s->config, "encryption-rotate", rotate, s) != SETT_OK)
		return SETT_NO_MEMORY;
	/* What a conversion, or one that was cut short, has left. */
	if (s->keys != NULL && sett_keyring_has_plain(s->keys)) {
		mutex_lock(&s->rotation->lock);
		begin_rewriting(s);
		mutex_unlock(&s->rotation->lock);
	}
	return SETT_OK;
}

/* Clients are gone: nobody asks for a rotation any more. */
void
encryption_stop(struct server *s)
{
	struct rotation *r = s->rotation;
	if (r == NULL)
		return;
	__atomic_store_n(&r->is_stopping, true, __ATOMIC_RELEASE);
	if (r->has_thread)
		thread_join(r->thread);
	mutex_destroy(&r->lock);
	free(r);
	s->rotation = NULL;
}
