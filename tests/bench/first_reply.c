/*
 * sett-first-reply: starts a server in a session of its own and waits until it answers PING.
 *
 *	sett-first-reply PORT LOG COMMAND [ARGUMENT ...]
 *
 * Prints {"pid":N,"first_reply_ms":T}: T from the moment before the fork to the first +PONG. The server keeps
 * running, with its output in the file LOG; the caller ends it by its pid, which is its process group too.
 * A server that ends, or gives no answer within 120 s (it is killed then), is an error: exit status 1.
 * A port that is in use already: exit status 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "swarm.h"

#define PATIENCE_NS 120000000000ULL
#define PAUSE_NS 200000

static void
become_server(const char *log, char **command)
{
	int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (setsid() < 0 || out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	execvp(command[0], command);
	(void)dprintf(2, "%s: %s\n", command[0], strerror(errno));
	_exit(127);
}

/* One PING on a connection of its own: true if the answer is PONG. */
static bool
answers(const struct swarm_settings *address)
{
	char reply[8];
	int fd = swarm_connect(address);
	if (fd < 0)
		return false;
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	bool right = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && poll(&ready, 1, 1000) == 1 &&
		recv(fd, reply, sizeof(reply), 0) == 7 && memcmp(reply, "+PONG\r\n", 7) == 0;
	(void)close(fd);
	return right;
}

int
main(int argc, char **argv)
{
	if (argc < 4) {
		(void)fputs("sett-first-reply PORT LOG COMMAND [ARGUMENT ...]\n", stderr);
		return 2;
	}
	struct swarm_settings address = {.host = "127.0.0.1", .port = (unsigned)strtoul(argv[1], NULL, 10)};
	int fd = swarm_connect(&address);
	if (fd >= 0) {
		(void)close(fd);
		(void)fprintf(stderr, "sett-first-reply: port %u is in use\n", address.port);
		return 3;
	}
	uint64_t start = swarm_now();
	pid_t pid = fork();
	if (pid < 0) {
		perror("sett-first-reply: fork");
		return 1;
	}
	if (pid == 0)
		become_server(argv[2], argv + 3);
	while (!answers(&address)) {
		struct timespec pause = {.tv_nsec = PAUSE_NS};
		int status;
		if (waitpid(pid, &status, WNOHANG) == pid) {
			(void)fprintf(stderr, "sett-first-reply: the server ended: %s\n", argv[2]);
			return 1;
		}
		if (swarm_now() - start > PATIENCE_NS) {
			(void)kill(pid, SIGKILL);
			(void)fprintf(stderr, "sett-first-reply: no answer: %s\n", argv[2]);
			return 1;
		}
		(void)nanosleep(&pause, NULL);
	}
	/* Another server on the same port would have answered too. */
	int status;
	if (waitpid(pid, &status, WNOHANG) == pid) {
		(void)fprintf(stderr, "sett-first-reply: the server ended: %s\n", argv[2]);
		return 1;
	}
	printf("{\"pid\":%d,\"first_reply_ms\":%.1f}\n", (int)pid, (double)(swarm_now() - start) / 1e6);
	return 0;
}
