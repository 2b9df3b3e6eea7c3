/*
 * Child servers. A thread drains the child's output for as long as it lives, so the child never blocks on a
 * full pipe; it keeps the last part for messages and reports the line that says the server is ready.
 */
#include "server_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_TEXT "Ready to accept connections"
#define READY_TIMEOUT_S 180
/* As in ports.py. */
#define FIRST_PORT 29000
#define PORT_COUNT 3768
#define OUTPUT_SIZE 65536
/* Of that, printed on demand. */
#define OUTPUT_SHOWN 6000
#define ARGUMENTS_MAX 64

struct server_process {
	char path[1024];
	char directory[1024];
	bool temporary;
	const char *arguments[ARGUMENTS_MAX];
	int port;
	int port_fd; /* keeps it from other tests */
	pid_t pid;   /* 0: none runs */
	int status;
	int output_fd;
	pthread_t drain;
	bool draining;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	char output[OUTPUT_SIZE]; /* its last part */
	size_t output_size;
	bool ready;
	bool ended; /* the child closed its output */
};

static void
keep_output(struct server_process *server, const char *data, size_t size)
{
	if (size > OUTPUT_SIZE - 1 - server->output_size) {
		size_t half = server->output_size / 2;
		memmove(server->output, server->output + half, server->output_size - half);
		server->output_size -= half;
	}
	if (size > OUTPUT_SIZE - 1 - server->output_size)
		size = OUTPUT_SIZE - 1 - server->output_size;
	memcpy(server->output + server->output_size, data, size);
	server->output_size += size;
	server->output[server->output_size] = '\0';
}

static void *
drain_output(void *context)
{
	struct server_process *server = context;
	char part[4096];
	ssize_t got;

	do {
		got = read(server->output_fd, part, sizeof(part));
		if (got < 0 && errno == EINTR)
			continue;
		pthread_mutex_lock(&server->lock);
		if (got > 0)
			keep_output(server, part, (size_t)got);
		if (!server->ready && strstr(server->output, READY_TEXT) != NULL)
			server->ready = true;
		if (got <= 0)
			server->ended = true;
		pthread_cond_broadcast(&server->changed);
		pthread_mutex_unlock(&server->lock);
	} while (got > 0 || (got < 0 && errno == EINTR));
	return NULL;
}

static bool
is_free(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_ANY),
				      .sin_port = htons((uint16_t)port)};
	int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	bool is_bound = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
		bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0;
	close(fd);
	return is_bound;
}

/* A socket whose name tells other tests, those of ports.py among them, that the port is taken; -1 if another has it. */
static int
hold_port(int port)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int length = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "sett-test-port-%d", port);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&name, size) == 0 && is_free(port))
		return fd;
	close(fd);
	return -1;
}

/* Below those that the system gives to connections, so that no connection has it while the server is down. */
static bool
take_port(struct server_process *server)
{
	uint16_t draw;

	for (int attempt = 0; attempt < PORT_COUNT && server->port_fd < 0; attempt++) {
		if (getrandom(&draw, sizeof(draw), 0) != sizeof(draw))
			return false;
		server->port = FIRST_PORT + draw % PORT_COUNT;
		server->port_fd = hold_port(server->port);
	}
	return server->port_fd >= 0;
}

static void
exec_child(const struct server_process *server, int output)
{
	char port[16];
	const char *argv[ARGUMENTS_MAX + 16] = {server->path,
						"--port",
						port,
						"--bind",
						"127.0.0.1",
						"--dir",
						server->directory,
						"--save",
						"",
						"--appendonly",
						"no",
						"--enable-debug-command",
						"yes"};
	size_t argc = 13;

	for (size_t i = 0; server->arguments[i] != NULL; i++)
		argv[argc++] = server->arguments[i];
	argv[argc] = NULL;
	snprintf(port, sizeof(port), "%d", server->port);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		_exit(126);
	execv(server->path, (char *const *)argv);
	fprintf(stderr, "%s: %s\n", server->path, strerror(errno));
	_exit(127);
}

static void
finish_drain(struct server_process *server)
{
	if (!server->draining)
		return;
	pthread_join(server->drain, NULL);
	close(server->output_fd);
	server->draining = false;
}

static bool
wait_ready(struct server_process *server)
{
	struct timespec deadline;
	bool ready;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += READY_TIMEOUT_S;
	pthread_mutex_lock(&server->lock);
	while (!server->ready && !server->ended) {
		if (pthread_cond_timedwait(&server->changed, &server->lock, &deadline) == ETIMEDOUT)
			break;
	}
	ready = server->ready;
	pthread_mutex_unlock(&server->lock);
	return ready;
}

static bool
start_once(struct server_process *server)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	server->output_size = 0;
	server->output[0] = '\0';
	server->ready = server->ended = false;
	server->pid = fork();
	if (server->pid == 0)
		exec_child(server, ends[1]);
	close(ends[1]);
	if (server->pid < 0) {
		server->pid = 0;
		close(ends[0]);
		return false;
	}
	server->output_fd = ends[0];
	if (pthread_create(&server->drain, NULL, drain_output, server) != 0) {
		close(ends[0]);
		kill(server->pid, SIGKILL);
		waitpid(server->pid, &server->status, 0);
		server->pid = 0;
		return false;
	}
	server->draining = true;
	if (wait_ready(server))
		return true;
	server_process_stop(server, SIGKILL, 10000);
	return false;
}

struct server_process *
server_process_start(const char *path, const char *directory, const char *const *arguments)
{
	struct server_process *server = calloc(1, sizeof(*server));
	const char *base = getenv("TMPDIR");

	if (server == NULL)
		return NULL;
	server->port_fd = -1;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->changed, NULL);
	snprintf(server->path, sizeof(server->path), "%s", path);
	for (size_t i = 0; arguments != NULL && arguments[i] != NULL && i < ARGUMENTS_MAX - 1; i++)
		server->arguments[i] = arguments[i];
	if (directory != NULL) {
		snprintf(server->directory, sizeof(server->directory), "%s", directory);
	} else {
		snprintf(server->directory, sizeof(server->directory), "%s/sett-redis-test-XXXXXX",
			 base != NULL ? base : "/tmp");
		if (mkdtemp(server->directory) == NULL) {
			fprintf(stderr, "%s: %s\n", server->directory, strerror(errno));
			free(server);
			return NULL;
		}
		server->temporary = true;
	}
	if (take_port(server) && start_once(server))
		return server;
	fprintf(stderr, "%s does not come up; its output:\n%s\n", path, server->output);
	server_process_free(server, false);
	return NULL;
}

bool
server_process_restart(struct server_process *server)
{
	if (server->pid != 0)
		server_process_stop(server, SIGKILL, 10000);
	return start_once(server);
}

int
server_process_port(const struct server_process *server)
{
	return server->port;
}

pid_t
server_process_pid(const struct server_process *server)
{
	return server->pid;
}

const char *
server_process_directory(const struct server_process *server)
{
	return server->directory;
}

bool
server_process_alive(struct server_process *server)
{
	if (server->pid == 0)
		return false;
	if (waitpid(server->pid, &server->status, WNOHANG) != server->pid)
		return true;
	server->pid = 0;
	finish_drain(server);
	return false;
}

/* The child's output ends with the child: waiting for that needs no clock ticks. */
static void
wait_end(struct server_process *server, int timeout_ms)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += timeout_ms / 1000;
	deadline.tv_nsec += timeout_ms % 1000 * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&server->lock);
	while (!server->ended) {
		if (pthread_cond_timedwait(&server->changed, &server->lock, &deadline) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&server->lock);
}

uint64_t
server_process_peak_memory(const struct server_process *server)
{
	static const char name[] = "VmHWM:";
	char path[64], line[256];
	unsigned long long kib = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)server->pid);
	FILE *file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, name, sizeof(name) - 1) == 0)
			kib = strtoull(line + sizeof(name) - 1, NULL, 10);
	if (file != NULL)
		fclose(file);
	return (uint64_t)kib << 10;
}

bool
server_process_reset_peak(const struct server_process *server)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)server->pid);
	FILE *file = fopen(path, "w");
	if (file == NULL)
		return false;
	bool written = fputs("5", file) >= 0;
	return fclose(file) == 0 && written;
}

int
server_process_stop(struct server_process *server, int signal_number, int timeout_ms)
{
	if (server->pid == 0)
		return server->status;
	if (signal_number != 0)
		kill(server->pid, signal_number);
	wait_end(server, timeout_ms);
	pthread_mutex_lock(&server->lock);
	bool ended = server->ended;
	pthread_mutex_unlock(&server->lock);
	if (!ended) {
		fprintf(stderr, "%s: still there %d ms after signal %d: killed\n", server->path, timeout_ms,
			signal_number);
		kill(server->pid, SIGKILL);
	}
	while (waitpid(server->pid, &server->status, 0) < 0 && errno == EINTR)
		;
	server->pid = 0;
	finish_drain(server);
	return server->status;
}

static int
remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
	(void)info;
	(void)type;
	(void)where;
	return remove(path);
}

void
server_process_free(struct server_process *server, bool show_output)
{
	if (server == NULL)
		return;
	server_process_stop(server, SIGKILL, 10000);
	if (show_output) {
		size_t skipped = server->output_size > OUTPUT_SHOWN ? server->output_size - OUTPUT_SHOWN : 0;
		fprintf(stderr, "output of %s:\n%s\n", server->path, server->output + skipped);
	}
	if (server->temporary && nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0)
		fprintf(stderr, "%s: %s\n", server->directory, strerror(errno));
	if (server->port_fd >= 0)
		close(server->port_fd);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->changed);
	free(server);
}
