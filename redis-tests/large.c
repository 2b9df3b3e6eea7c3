/*
 * Values of up to many times the memory, whole in both directions, in a server that stays small; what else
 *may be done with large values; clients that leave in the middle, and a kill.
 *
 *	large SERVER [--maxmemory BYTES] [--size BYTES] [--connections N] [--slack BYTES]
 *
 * Every value follows from a seed, so nobody has to hold one whole. Memory is judged by the server's VmHWM,
 *which is reset before what is measured; slack 0: it is not judged (a sanitizer's build).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"
#include "server_process.h"
#include "values.h"

enum { PIECE = 64 * 1024, LINE = 128, CONNECTIONS_MAX = 16, TIMEOUT_S = 180 };

struct trial {
	struct server_process *server;
	uint64_t memory, size, connections, slack;
	uint64_t failures; /* atomic, relaxed */
};

struct link {
	struct trial *trial;
	int fd;
	size_t start, end;
	char input[PIECE];
};

static bool
fail(struct trial *trial, const char *what)
{
	__atomic_fetch_add(&trial->failures, 1, __ATOMIC_RELAXED);
	printf("FAILED: %s\n", what);
	return false;
}

/* ---- a connection that holds no more than a piece ---- */

static struct link *
link_open(struct trial *trial)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)server_process_port(trial->server)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval timeout = {.tv_sec = TIMEOUT_S};
	struct link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		abort();
	l->trial = trial;
	l->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
	    setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
	    connect(l->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail(trial, "no connection");
	return l;
}

static void
link_close(struct link *l)
{
	close(l->fd);
	free(l);
}

static bool
link_send(struct link *l, const void *data, size_t size)
{
	const char *at = data;
	while (size > 0) {
		ssize_t sent = send(l->fd, at, size, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		at += sent;
		size -= (size_t)sent;
	}
	return true;
}

static bool
say(struct link *l, const char *text)
{
	return link_send(l, text, strlen(text));
}

static bool
fill(struct link *l)
{
	if (l->start < l->end)
		return true;
	ssize_t got = recv(l->fd, l->input, sizeof(l->input), 0);
	if (got <= 0)
		return false;
	l->start = 0;
	l->end = (size_t)got;
	return true;
}

/* The next line, without its end. */
static bool
read_line(struct link *l, char line[LINE])
{
	size_t size = 0;
	while (fill(l)) {
		char c = l->input[l->start++];
		if (c == '\n' && size > 0 && line[size - 1] == '\r') {
			line[size - 1] = 0;
			return true;
		}
		if (size == LINE - 1)
			break;
		line[size++] = c;
	}
	line[size] = 0;
	return false;
}

static bool
expect(struct link *l, const char *wanted)
{
	char line[LINE];
	if (read_line(l, line) && strcmp(line, wanted) == 0)
		return true;
	printf("wanted '%s', got '%s'\n", wanted, line);
	return fail(l->trial, "a wrong reply");
}

/* ---- values: a sequence of words that follow from the seed ---- */

static void
value_part(uint64_t seed, uint64_t offset, char *data, size_t size)
{
	for (size_t i = 0; i < size;) {
		uint64_t word = value_mix(seed, (offset + i) / 8);
		size_t skip = (offset + i) % 8, part = 8 - skip;
		if (part > size - i)
			part = size - i;
		memcpy(data + i, (char *)&word + skip, part);
		i += part;
	}
}

/* The bytes alone. */
static bool
send_value(struct link *l, uint64_t seed, uint64_t size)
{
	char piece[PIECE];
	for (uint64_t done = 0; done < size;) {
		size_t part = size - done < PIECE ? (size_t)(size - done) : PIECE;
		value_part(seed, done, piece, part);
		if (!link_send(l, piece, part))
			return false;
		done += part;
	}
	return true;
}

static bool
send_set_header(struct link *l, const char *key, uint64_t size)
{
	char text[2 * LINE];
	snprintf(text, sizeof(text), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%" PRIu64 "\r\n", strlen(key), key,
		 size);
	return say(l, text);
}

static bool
send_set(struct link *l, const char *key, uint64_t seed, uint64_t size)
{
	return (send_set_header(l, key, size) && send_value(l, seed, size) && say(l, "\r\n")) ||
		fail(l->trial, "cannot send a SET");
}

static bool
set(struct link *l, const char *key, uint64_t seed, uint64_t size)
{
	return send_set(l, key, seed, size) && expect(l, "+OK");
}

/* Words with a value of `size` bytes for each %, and the reply they get. */
static bool
send_command(struct link *l, const char *words, uint64_t seed, uint64_t size, const char *reply)
{
	char header[LINE];
	unsigned count = 1;
	for (const char *p = words; *p != 0; p++)
		count += *p == ' ';
	snprintf(header, sizeof(header), "*%u\r\n", count);
	bool going = say(l, header);
	while (going && *words != 0) {
		size_t length = strcspn(words, " ");
		bool is_value = *words == '%';
		snprintf(header, sizeof(header), "$%" PRIu64 "\r\n", is_value ? size : length);
		going = say(l, header) &&
			(is_value ? send_value(l, seed, size) : link_send(l, words, length)) &&
			say(l, "\r\n");
		words += length;
		words += strspn(words, " ");
	}
	return (going || fail(l->trial, "cannot send a command")) && expect(l, reply);
}

/* `count` bytes of a value, from `offset` on. */
static bool
expect_part(struct link *l, uint64_t seed, uint64_t offset, uint64_t count)
{
	char piece[PIECE];
	while (count > 0) {
		if (!fill(l))
			return fail(l->trial, "the connection ended in a value");
		size_t part = l->end - l->start < count ? l->end - l->start : (size_t)count;
		value_part(seed, offset, piece, part);
		if (memcmp(piece, l->input + l->start, part) != 0)
			return fail(l->trial, "a wrong value");
		l->start += part;
		offset += part;
		count -= part;
	}
	return true;
}

static bool
expect_value(struct link *l, uint64_t seed, uint64_t size)
{
	char header[LINE];
	snprintf(header, sizeof(header), "$%" PRIu64, size);
	return expect(l, header) && expect_part(l, seed, 0, size) && expect(l, "");
}

static bool
get(struct link *l, const char *key, uint64_t seed, uint64_t size)
{
	char text[LINE + 16];
	snprintf(text, sizeof(text), "GET %s\r\n", key);
	return say(l, text) && expect_value(l, seed, size);
}

/* ---- memory ---- */

/* From now on the peak counts anew. */
static void
reset_peak(struct trial *trial)
{
	if (!server_process_reset_peak(trial->server))
		fail(trial, "cannot reset the peak of the memory");
}

static void
judge_peak(struct trial *trial, const char *what)
{
	uint64_t peak = server_process_peak_memory(trial->server);
	printf("large: %s: the server took %" PRIu64 " MiB at most\n", what, peak >> 20);
	if (trial->slack > 0 && (peak == 0 || peak > trial->memory + trial->slack))
		fail(trial, "the server took too much memory");
}

/* ---- several connections at once ---- */

struct worker {
	struct trial *trial;
	pthread_t thread;
	unsigned index;
	bool writes;
};

static const uint64_t small_sizes[] = {1 << 20,       (1 << 20) - 1, (1 << 20) + 1,
				       (5 << 20) + 3, 262144 * 9,    262144 * 9 + 1};
enum { SMALL_SIZES = sizeof(small_sizes) / sizeof(small_sizes[0]) };

static void *
run_worker(void *argument)
{
	struct worker *w = argument;
	struct link *l = link_open(w->trial);
	bool going = true;
	for (unsigned i = 0; going && i <= SMALL_SIZES; i++) {
		uint64_t size = i < SMALL_SIZES ? small_sizes[i] : w->trial->size - w->index;
		uint64_t seed = 1000 * w->index + i;
		char key[LINE];
		snprintf(key, sizeof(key), "key:%u:%u", w->index, i);
		going = w->writes ? set(l, key, seed, size) : get(l, key, seed, size);
	}
	link_close(l);
	return NULL;
}

static void
run_workers(struct trial *trial, bool writes)
{
	struct worker workers[CONNECTIONS_MAX];
	for (unsigned i = 0; i < trial->connections; i++) {
		workers[i] = (struct worker){.trial = trial, .index = i, .writes = writes};
		if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < trial->connections; i++)
		pthread_join(workers[i].thread, NULL);
}

/* ---- what else may happen to a large value ---- */

enum { MIDDLE = 48 << 20 };

/* One that takes its time gets what was there when it asked, whatever becomes of the key. */
static void
read_slowly(struct trial *trial)
{
	struct link *slow = link_open(trial), *other = link_open(trial);
	if (set(other, "slow", 77, MIDDLE) && say(slow, "GET slow\r\nPING\r\n") &&
	    expect(slow, "$50331648") && expect_part(slow, 77, 0, 100000) && say(other, "DEL slow\r\n") &&
	    expect(other, ":1") && set(other, "slow", 78, 3 << 20) && say(other, "SAVE\r\n") &&
	    expect(other, "+OK") && get(other, "slow", 78, 3 << 20) &&
	    expect_part(slow, 77, 100000, MIDDLE - 100000) && expect(slow, ""))
		expect(slow, "+PONG");
	link_close(slow);
	link_close(other);
}

static void
read_in_pipelines(struct trial *trial)
{
	struct link *l = link_open(trial);
	if (send_set(l, "p1", 1, 2 << 20) &&
	    say(l, "SET s small\r\nGET p1\r\nGET s\r\nGET p1\r\nMGET s p1 none p1\r\n") &&
	    send_set(l, "p1", 2, (4 << 20) + 1) && say(l, "GET p1\r\nPING\r\nGETSET p1 x\r\nGET p1\r\n")) {
		(void)(expect(l, "+OK") && expect(l, "+OK") && expect_value(l, 1, 2 << 20) &&
		       expect(l, "$5") && expect(l, "small") && expect_value(l, 1, 2 << 20) &&
		       expect(l, "*4") && expect(l, "$5") && expect(l, "small") &&
		       expect_value(l, 1, 2 << 20) && expect(l, "$-1") && expect_value(l, 1, 2 << 20) &&
		       expect(l, "+OK") && expect_value(l, 2, (4 << 20) + 1) && expect(l, "+PONG") &&
		       expect_value(l, 2, (4 << 20) + 1) && expect(l, "$1") && expect(l, "x"));
	}
	link_close(l);
}

static void
read_in_other_ways(struct trial *trial)
{
	struct link *l = link_open(trial);
	if (set(l, "o", 5, 2 << 20) && say(l, "GETEX o EX 100\r\n") && expect_value(l, 5, 2 << 20) &&
	    say(l, "SET o y GET\r\n") && expect_value(l, 5, 2 << 20) && set(l, "o", 6, 2 << 20) &&
	    say(l, "GETDEL o\r\n") && expect_value(l, 6, 2 << 20) && say(l, "GET o\r\n") &&
	    expect(l, "$-1") && set(l, "o", 7, 2 << 20) &&
	    say(l,
		"CLIENT REPLY SKIP\r\nGET o\r\nCLIENT REPLY OFF\r\nGET o\r\nCLIENT REPLY ON\r\nGET o\r\n") &&
	    expect(l, "+OK") && expect_value(l, 7, 2 << 20) && say(l, "GET o\r\nQUIT\r\n") &&
	    expect_value(l, 7, 2 << 20) && expect(l, "+OK") && fill(l))
		fail(trial, "bytes after QUIT");
	link_close(l);
}

static void
run_in_multi(struct trial *trial)
{
	struct link *l = link_open(trial);
	if (say(l, "MULTI\r\n") && expect(l, "+OK") && send_set(l, "m1", 11, 3 << 20) &&
	    expect(l, "+QUEUED") && send_set(l, "m2", 12, 2 << 20) && expect(l, "+QUEUED") &&
	    say(l, "GET m1\r\n") && expect(l, "+QUEUED") && say(l, "STRLEN m2\r\n") && expect(l, "+QUEUED") &&
	    say(l, "EXEC\r\n") && expect(l, "*4") && expect(l, "+OK") && expect(l, "+OK") &&
	    expect_value(l, 11, 3 << 20) && expect(l, ":2097152") && get(l, "m1", 11, 3 << 20) &&
	    get(l, "m2", 12, 2 << 20) && say(l, "MULTI\r\nGET m1\r\nINCR m1\r\nGET m2\r\nEXEC\r\n") &&
	    expect(l, "+OK") && expect(l, "+QUEUED") && expect(l, "+QUEUED") && expect(l, "+QUEUED") &&
	    expect(l, "*3") && expect_value(l, 11, 3 << 20) &&
	    expect(l, "-ERR value is not an integer or out of range"))
		expect_value(l, 12, 2 << 20);
	link_close(l);
}

/* Clients that go in the middle leave nothing behind. */
static void
leave_in_the_middle(struct trial *trial)
{
	struct link *l;
	for (int i = 0; i < 8; i++) {
		l = link_open(trial);
		if (!(say(l, "GET p2\r\n") && expect(l, "$50331648") && expect_part(l, 21, 0, 1000 << i)))
			return;
		link_close(l);
		l = link_open(trial);
		if (!send_set_header(l, "half", MIDDLE) || !send_value(l, 1, (uint64_t)100000 << i))
			fail(trial, "cannot send half of a SET");
		link_close(l);
	}
	l = link_open(trial);
	if (say(l, "GET half\r\nPING\r\n") && expect(l, "$-1") && expect(l, "+PONG"))
		get(l, "p2", 21, MIDDLE);
	link_close(l);
}

static void
survive_a_kill(struct trial *trial)
{
	struct link *l = link_open(trial), *half = link_open(trial);
	if (!send_set_header(half, "half", MIDDLE) || !send_value(half, 1, MIDDLE / 2))
		fail(trial, "cannot send half of a SET");
	set(l, "killed", 31, MIDDLE);
	server_process_stop(trial->server, SIGKILL, 10000);
	link_close(l);
	link_close(half);
	if (!server_process_restart(trial->server)) {
		fail(trial, "the server does not come up again");
		return;
	}
	l = link_open(trial);
	if (get(l, "killed", 31, MIDDLE) && say(l, "EXISTS half\r\n"))
		expect(l, ":0");
	link_close(l);
}

/* Commands that take a large value apart from SET, refusals among them; behind each comes the next. */
static void
write_in_other_ways(struct trial *trial)
{
	struct link *l = link_open(trial);
	if (send_command(l, "SETNX w1 %", 41, 3 << 20, ":1") &&
	    send_command(l, "SETNX w1 %", 42, 3 << 20, ":0") && get(l, "w1", 41, 3 << 20) &&
	    send_command(l, "SETEX w2 100 %", 43, 1 << 20, "+OK") &&
	    send_command(l, "PSETEX w2 100000 %", 44, 2 << 20, "+OK") && get(l, "w2", 44, 2 << 20) &&
	    send_command(l, "MSET w3 % w4 small w5 %", 45, 2 << 20, "+OK") && get(l, "w3", 45, 2 << 20) &&
	    get(l, "w5", 45, 2 << 20) && send_command(l, "MSETNX w6 % w5 %", 46, 2 << 20, ":0") &&
	    send_command(l, "SET w5 % NX", 47, 2 << 20, "$-1") && get(l, "w5", 45, 2 << 20) &&
	    send_command(l, "GETSET w6 %", 48, 2 << 20, "$-1") && get(l, "w6", 48, 2 << 20) &&
	    send_command(l, "SET w6 % EX", 49, 2 << 20, "-ERR syntax error") &&
	    send_command(l, "SETNX w6 % x", 49, 2 << 20,
			 "-ERR wrong number of arguments for 'setnx' command") &&
	    send_command(l, "APPEND w6 %", 50, 2 << 20, ":4194304") &&
	    say(l, "EXISTS w1 w2 w3 w4 w5 w6 w7\r\n"))
		expect(l, ":6");
	link_close(l);
}

/* A queue that is larger than the memory. */
static void
queue_more_than_memory(struct trial *trial)
{
	enum { COUNT = 4 };
	uint64_t size = trial->memory / 2;
	struct link *l = link_open(trial);
	bool going = say(l, "MULTI\r\n") && expect(l, "+OK");
	char key[LINE], header[LINE];
	for (unsigned i = 0; going && i < COUNT; i++) {
		snprintf(key, sizeof(key), "q%u", i);
		going = send_set(l, key, 60 + i, size) && expect(l, "+QUEUED");
	}
	snprintf(header, sizeof(header), "*%d", COUNT);
	going = going && say(l, "EXEC\r\n") && expect(l, header);
	for (unsigned i = 0; going && i < COUNT; i++)
		going = expect(l, "+OK");
	for (unsigned i = 0; going && i < COUNT; i++) {
		snprintf(key, sizeof(key), "q%u", i);
		going = get(l, key, 60 + i, size);
	}
	link_close(l);
}

static void
write_all(struct trial *trial)
{
	reset_peak(trial);
	run_workers(trial, true);
	judge_peak(trial, "writing");
	struct link *l = link_open(trial);
	set(l, "p2", 21, MIDDLE);
	link_close(l);
	write_in_other_ways(trial);
	reset_peak(trial);
	queue_more_than_memory(trial);
	judge_peak(trial, "queueing");
}

static void
run(struct trial *trial)
{
	write_all(trial);
	reset_peak(trial);
	run_workers(trial, false);
	judge_peak(trial, "reading");
	read_slowly(trial);
	read_in_pipelines(trial);
	read_in_other_ways(trial);
	run_in_multi(trial);
	leave_in_the_middle(trial);
	survive_a_kill(trial);
}

int
main(int argc, char **argv)
{
	const char *path;
	struct trial trial = {.memory = 64 << 20, .size = 256 << 20, .connections = 3, .slack = 64 << 20};
	const struct load_option table[] = {{"maxmemory", &trial.memory, NULL},
					    {"size", &trial.size, NULL},
					    {"connections", &trial.connections, NULL},
					    {"slack", &trial.slack, NULL},
					    {0}};
	char memory_text[32];

	if (!load_options(argc, argv, table, &path) || trial.connections > CONNECTIONS_MAX)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(memory_text, sizeof(memory_text), "%" PRIu64, trial.memory);
	const char *arguments[] = {"--maxmemory", memory_text, NULL};
	trial.server = server_process_start(path, NULL, arguments);
	if (trial.server == NULL)
		return 1;
	run(&trial);
	printf("large: %" PRIu64 " failures\n", trial.failures);
	return load_finish(trial.server, trial.failures == 0);
}
