/* See encryption.h. */
#include "encryption.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "txn/server.h"

int
encryption_master_key(const struct config *config, uint8_t ret[SETT_MASTER_KEY_SIZE], bool *ret_is_named,
		      struct sett_error *error)
{
	bool has_file = config->encryption_key_file[0] != '\0', has_command = config->encryption_key_command[0] != '\0';
	if (has_file && has_command)
		return sett_error_set(error, SETT_INVALID, 0, "encryption-key-file and encryption-key-command are both set");
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
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Encryption: core files can't be switched off: %s", strerror(errno));
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
