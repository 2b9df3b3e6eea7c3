/*
 * What a service manager sees of the server: systemd's notify protocol, under a system call filter like the one
 * of Debian's redis-server.service, which ends the process for a scheduling call.
 *
 *     supervised SERVER
 */
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 180000
#define TEXT_SIZE 1024

struct world {
	const char *server;
	char directory[64], socket[96];
	char notify[96]; /* NOTIFY_SOCKET; empty: not set */
	int notified;    /* the manager's end, -1 without */
	pid_t child;
	int failures;
};

static void
complain(struct world *w, const char *name, const char *what)
{
	printf("FAILED: %s: %s\n", name, what);
	w->failures++;
}

/* The manager's socket at a path, or, beginning with '@', at an abstract address. */
static bool
listen_at(struct world *w, const char *address)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	size_t size = strlen(address);

	snprintf(w->notify, sizeof w->notify, "%s", address);
	memcpy(name.sun_path, address, size);
	if (address[0] == '@')
		name.sun_path[0] = '\0';
	w->notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return w->notified >= 0 &&
		bind(w->notified, (struct sockaddr *)&name,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) == 0;
}

/* SystemCallFilter=@system-service with ~@resources kills for these. */
static void
filter_calls(void)
{
	static const int killed[] = {SYS_mincore,
				     SYS_sched_setattr,
				     SYS_sched_setaffinity,
				     SYS_sched_setparam,
				     SYS_sched_setscheduler,
				     SYS_setpriority,
				     SYS_ioprio_set,
				     SYS_mbind,
				     SYS_set_mempolicy,
				     SYS_migrate_pages,
				     SYS_move_pages};
	struct sock_filter code[2 * sizeof killed / sizeof *killed + 2];
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof killed / sizeof *killed; i++) {
		code[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)killed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.len = n, .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(99);
}

static void
start(struct world *w, const char *supervised, const char *daemonize)
{
	fflush(stdout);
	w->child = fork();
	if (w->child != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("UPSTART_JOB");
	if (w->notify[0] != '\0')
		setenv("NOTIFY_SOCKET", w->notify, 1);
	else
		unsetenv("NOTIFY_SOCKET");
	int log = open("/dev/null", O_WRONLY);
	dup2(log, STDOUT_FILENO);
	filter_calls();
	execl(w->server, w->server, "--port", "0", "--unixsocket", w->socket, "--dir", w->directory,
	      "--maxmemory", "64mb", "--supervised", supervised, "--daemonize", daemonize, (char *)NULL);
	_exit(98);
}

/* Waits for a message with `text`; others may come before. */
static bool
await(struct world *w, const char *text)
{
	for (int i = 0; i < 100; i++) {
		char message[TEXT_SIZE];
		struct pollfd wait = {.fd = w->notified, .events = POLLIN};
		if (poll(&wait, 1, TIMEOUT_MS) <= 0)
			return false;
		ssize_t size = recv(w->notified, message, sizeof message - 1, 0);
		if (size < 0)
			return false;
		message[size] = '\0';
		if (strstr(message, text) != NULL)
			return true;
	}
	return false;
}

/* Connects, also while the server still starts. */
static redisContext *
connect_to(struct world *w)
{
	for (int i = 0; i < TIMEOUT_MS / 20; i++) {
		redisContext *c = redisConnectUnix(w->socket);
		if (c != NULL && c->err == 0)
			return c;
		redisFree(c);
		poll(NULL, 0, 20);
	}
	return NULL;
}

static void
expect_info(struct world *w, const char *name, const char *line)
{
	redisContext *c = connect_to(w);
	redisReply *reply = c != NULL ? redisCommand(c, "INFO server") : NULL;
	char wanted[TEXT_SIZE];

	snprintf(wanted, sizeof wanted, "\n%s\r\n", line);
	if (reply == NULL || reply->str == NULL || strstr(reply->str, wanted) == NULL)
		complain(w, name, line);
	freeReplyObject(reply);
	redisFree(c);
}

static void
stop(struct world *w, const char *name)
{
	int status = -1;

	if (kill(w->child, SIGTERM) != 0)
		complain(w, name, "it is gone");
	if (w->notified >= 0 && !await(w, "STOPPING=1"))
		complain(w, name, "no STOPPING=1");
	waitpid(w->child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		complain(w, name, "the exit code is not 0");
	if (w->notified >= 0)
		close(w->notified);
	w->notified = -1;
	w->notify[0] = '\0';
}

/* A supervised server stays in the foreground whatever daemonize says: its messages come from the child. */
static void
check_systemd(struct world *w, const char *name, const char *address, const char *supervised)
{
	if (!listen_at(w, address)) {
		complain(w, name, strerror(errno));
		return;
	}
	start(w, supervised, "yes");
	if (!await(w, "STATUS=Sett is loading..."))
		complain(w, name, "no STATUS while it loads");
	if (!await(w, "READY=1"))
		complain(w, name, "no READY=1");
	if (waitpid(w->child, NULL, WNOHANG) != 0) {
		complain(w, name, "the process that was started ended");
		return;
	}
	expect_info(w, name, "process_supervised:systemd");
	stop(w, name);
}

/* A key with a value of 2 MiB, in a dump.rdb without a checksum. */
static bool
write_dump(struct world *w)
{
	static const uint8_t head[] = "REDIS0010\xfe\x00\x00\x01k\x80\x00\x20\x00\x00";
	static const uint8_t end[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t value[2 * 1024 * 1024];
	char path[96];

	snprintf(path, sizeof path, "%s/dump.rdb", w->directory);
	FILE *file = fopen(path, "w");
	if (file == NULL)
		return false;
	bool ok = fwrite(head, sizeof head - 1, 1, file) == 1 && fwrite(value, sizeof value, 1, file) == 1 &&
		fwrite(end, sizeof end, 1, file) == 1;
	return fclose(file) == 0 && ok;
}

/* A start that reads Redis' files says so while it looks through them, and asks for time. */
static void
check_taking_over(struct world *w, const char *address)
{
	const char *name = "systemd, Redis' files";
	if (!write_dump(w) || !listen_at(w, address)) {
		complain(w, name, strerror(errno));
		return;
	}
	start(w, "systemd", "no");
	if (!await(w, "STATUS=Looking through Redis' files: 2097171 of 2097180 bytes\nEXTEND_TIMEOUT_USEC="))
		complain(w, name, "it asks for no time while the files are looked through");
	if (!await(w, "READY=1"))
		complain(w, name, "no READY=1");
	stop(w, name);
}

static void
check_without(struct world *w, const char *name, const char *supervised)
{
	start(w, supervised, "no");
	expect_info(w, name, "process_supervised:no");
	stop(w, name);
}

/* Upstart's "expect stop": the server stops itself once it is ready. */
static void
check_upstart(struct world *w)
{
	int status;

	setenv("UPSTART_JOB", "sett", 1);
	fflush(stdout);
	w->child = fork();
	if (w->child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int log = open("/dev/null", O_WRONLY);
		dup2(log, STDOUT_FILENO);
		execl(w->server, w->server, "--port", "0", "--unixsocket", w->socket, "--dir", w->directory,
		      "--maxmemory", "64mb", "--supervised", "auto", (char *)NULL);
		_exit(98);
	}
	if (waitpid(w->child, &status, WUNTRACED) != w->child || !WIFSTOPPED(status)) {
		complain(w, "upstart", "it does not stop when it is ready");
		return;
	}
	kill(w->child, SIGCONT);
	expect_info(w, "upstart", "process_supervised:upstart");
	stop(w, "upstart");
}

int
main(int argc, char **argv)
{
	struct world w = {.notified = -1, .directory = "/tmp/sett-supervised-XXXXXX"};
	char path[96], abstract[96], command[160];

	if (argc != 2 || mkdtemp(w.directory) == NULL)
		return 2;
	w.server = argv[1];
	snprintf(w.socket, sizeof w.socket, "%s/socket", w.directory);
	snprintf(path, sizeof path, "%s/notify", w.directory);
	snprintf(abstract, sizeof abstract, "@sett-supervised-%d", (int)getpid());
	check_taking_over(&w, path);
	unlink(path);
	check_systemd(&w, "systemd", path, "systemd");
	check_systemd(&w, "systemd, abstract address", abstract, "auto");
	check_without(&w, "systemd without a socket", "systemd");
	check_without(&w, "auto without a manager", "auto");
	check_upstart(&w);
	snprintf(command, sizeof command, "rm -rf '%s'", w.directory);
	if (system(command) != 0)
		complain(&w, "clean-up", w.directory);
	if (w.failures == 0)
		puts("supervised: all as it should be");
	return w.failures > 0;
}
