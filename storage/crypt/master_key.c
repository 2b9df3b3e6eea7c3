/* Where a master key comes from: a file, or the output of a command (a key store's client, a TPM, a token). */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt_private.h"

enum { TEXT_MAX = 4096 };

extern char **environ;

/* All that comes, up to the room; -1 with errno. */
static ssize_t
read_all(int fd, uint8_t *room, size_t size)
{
	size_t done = 0;
	while (done < size) {
		ssize_t n = read(fd, room + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* `from` names the source for people; the text is wiped. */
static int
take(const char *from, uint8_t *text, ssize_t size, uint8_t ret[SETT_MASTER_KEY_SIZE],
     struct sett_error *error)
{
	int status = SETT_INVALID;
	if (size >= 0)
		status = sett_master_key_parse(text, (size_t)size, ret);
	OPENSSL_cleanse(text, TEXT_MAX);
	return status == SETT_OK
		? status
		: sett_error_set(error, SETT_INVALID, 0,
				 "%s holds no key: 64 hexadecimal digits or 32 bytes are one", from);
}

int
sett_master_key_from_file(const char *path, uint8_t ret[SETT_MASTER_KEY_SIZE], struct sett_error *error)
{
	uint8_t text[TEXT_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return sett_error_set(error, SETT_IO, errno, "the key file %s: %s", path, strerror(errno));
	ssize_t size = read_all(fd, text, sizeof(text));
	int system_errno = errno;
	(void)close(fd); /* it was only read */
	if (size < 0)
		return sett_error_set(error, SETT_IO, system_errno, "the key file %s: %s", path,
				      strerror(system_errno));
	return take(path, text, size, ret, error);
}

/* Starts the shell with its output in a pipe. */
static int
start(const char *command, int *ret_fd, pid_t *ret_pid)
{
	int ends[2];
	posix_spawn_file_actions_t actions;
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command, NULL};
	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	int failed = posix_spawn_file_actions_init(&actions);
	if (failed == 0) {
		failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (failed == 0)
			failed = posix_spawn(ret_pid, "/bin/sh", &actions, NULL, argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)close(ends[1]);
	if (failed != 0)
		(void)close(ends[0]);
	else
		*ret_fd = ends[0];
	return failed;
}

int
sett_master_key_from_command(const char *command, uint8_t ret[SETT_MASTER_KEY_SIZE], struct sett_error *error)
{
	uint8_t text[TEXT_MAX];
	int fd = -1, state = 0;
	pid_t pid, waited;
	int failed = start(command, &fd, &pid);
	if (failed != 0)
		return sett_error_set(error, SETT_IO, failed, "the key command does not start: %s",
				      strerror(failed));
	ssize_t size = read_all(fd, text, sizeof(text));
	(void)close(fd); /* it was only read */
	do
		waited = waitpid(pid, &state, 0);
	while (waited < 0 && errno == EINTR);
	if (waited < 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0) {
		OPENSSL_cleanse(text, sizeof(text));
		return sett_error_set(error, SETT_INVALID, 0, "the key command has failed (%s %d)",
				      waited >= 0 && WIFSIGNALED(state) ? "signal" : "exit code",
				      waited < 0                   ? -1
					      : WIFSIGNALED(state) ? WTERMSIG(state)
								   : WEXITSTATUS(state));
	}
	return take("the key command's output", text, size, ret, error);
}
