/*
 * Sizes and numbers that a server meets in earnest: long pipelines, many connections, values from nothing to
 *256 MiB, binary keys, and ends by signal and by command.
 *
 *	stress SERVER [--durable]
 *
 * With --durable the data must also survive a restart after SIGTERM, SHUTDOWN and SIGKILL.
 */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "client.h"
#include "server_process.h"

#define TIMEOUT_MS 180000
#define PIPELINE 10000
#define CONNECTIONS 1000
#define LARGEST (256u << 20)
#define PIECE (1u << 20)

struct stress {
	struct server_process *server;
	size_t failures;
};

static void __attribute__((format(printf, 3, 4)))
check(struct stress *stress, bool holds, const char *format, ...)
{
	va_list arguments;

	if (holds || ++stress->failures > 50)
		return;
	va_start(arguments, format);
	printf("FAILED: ");
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
}

static struct client *
connect_or_exit(struct stress *stress)
{
	struct client *client = client_connect(server_process_port(stress->server), TIMEOUT_MS);

	if (client == NULL) {
		perror("connect");
		server_process_free(stress->server, true);
		exit(1);
	}
	return client;
}

/* Checks a reply against its rendering, and frees it. */
static void
expect(struct stress *stress, struct client *client, struct reply *reply, const char *expected,
       const char *what)
{
	char *text;

	if (reply == NULL) {
		check(stress, false, "%s: %s", what, client_error(client));
		return;
	}
	text = reply_render(reply);
	check(stress, strcmp(text, expected) == 0, "%s: got %.200s, want %.200s", what, text, expected);
	free(text);
	reply_free(reply);
}

/* Incompressible, and known from the position: 8 bytes for each 8-byte place. */
static void
fill(unsigned char *data, size_t size, uint64_t seed, size_t offset)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t x = (seed << 40) + (offset + i) / 8 + 1;
		x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
		x = (x ^ x >> 27) * 0x94d049bb133111ebu;
		data[i] = (unsigned char)((x ^ x >> 31) >> (offset + i) % 8 * 8);
	}
}

static void
pipeline_hiredis(struct stress *stress)
{
	redisContext *context = redisConnect("127.0.0.1", server_process_port(stress->server));
	void *answer;

	if (context == NULL || context->err != 0) {
		check(stress, false, "hiredis cannot connect");
		return;
	}
	for (int i = 0; i < PIPELINE; i++) {
		redisAppendCommand(context, "SET pipe:%d value:%d", i, i);
		redisAppendCommand(context, "INCR pipe:counter");
	}
	for (int i = 0; i < PIPELINE; i++)
		redisAppendCommand(context, "GET pipe:%d", i);
	for (int i = 0; i < 2 * PIPELINE; i++) {
		if (redisGetReply(context, &answer) != REDIS_OK) {
			check(stress, false, "pipeline reply %d: %s", i, context->errstr);
			redisFree(context);
			return;
		}
		const redisReply *reply = answer;
		if (i % 2 == 0)
			check(stress, reply->type == REDIS_REPLY_STATUS, "pipelined SET %d", i / 2);
		else
			check(stress, reply->type == REDIS_REPLY_INTEGER && reply->integer == i / 2 + 1,
			      "pipelined INCR %d", i / 2);
		freeReplyObject(answer);
	}
	for (int i = 0; i < PIPELINE; i++) {
		char expected[32];
		snprintf(expected, sizeof(expected), "value:%d", i);
		if (redisGetReply(context, &answer) != REDIS_OK) {
			check(stress, false, "pipelined GET %d: %s", i, context->errstr);
			break;
		}
		const redisReply *reply = answer;
		check(stress, reply->type == REDIS_REPLY_STRING && strcmp(reply->str, expected) == 0,
		      "pipelined GET %d", i);
		freeReplyObject(answer);
	}
	redisFree(context);
}

/* One write of 10,000 requests whose replies are 20 MB: the server must read on while we don't, or push back.
 */
static void
pipeline_large_replies(struct stress *stress)
{
	struct client *client = connect_or_exit(stress);
	static unsigned char value[2048];
	const char *set[] = {"SET", "pipe:large", (char *)value};
	const size_t sizes[] = {3, 10, sizeof(value)};

	fill(value, sizeof(value), 5, 0);
	expect(stress, client, client_call(client, 3, set, sizes), "+OK", "SET pipe:large");
	for (int i = 0; i < PIPELINE; i++) {
		const char *get[] = {"GET", "pipe:large"};
		client_append(client, 2, get, NULL);
	}
	for (int i = 0; i < PIPELINE; i++) {
		struct reply *reply = client_read(client);
		if (reply == NULL) {
			check(stress, false, "large pipeline, reply %d: %s", i, client_error(client));
			break;
		}
		check(stress, reply->size == sizeof(value) && memcmp(reply->text, value, sizeof(value)) == 0,
		      "large pipeline, reply %d", i);
		reply_free(reply);
	}
	client_close(client);
}

static void
many_connections(struct stress *stress)
{
	static struct client *clients[CONNECTIONS];
	struct rlimit limit = {.rlim_cur = 0};
	char key[32];

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < CONNECTIONS + 100) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (size_t i = 0; i < CONNECTIONS; i++)
		clients[i] = connect_or_exit(stress);
	/* Everyone has a request under way before anyone reads. */
	for (size_t i = 0; i < CONNECTIONS; i++) {
		const char *set[] = {"SET", key, key};
		const char *incr[] = {"INCR", "connections:counter"};
		const char *get[] = {"GET", key};
		snprintf(key, sizeof(key), "connection:%zu", i);
		client_append(clients[i], 3, set, NULL);
		client_append(clients[i], 2, incr, NULL);
		client_append(clients[i], 2, get, NULL);
		check(stress, client_flush(clients[i]), "connection %zu: %s", i, client_error(clients[i]));
	}
	for (size_t i = 0; i < CONNECTIONS; i++) {
		char expected[40];
		expect(stress, clients[i], client_read(clients[i]), "+OK", "SET on one of 1,000 connections");
		reply_free(client_read(clients[i]));
		snprintf(expected, sizeof(expected), "$\"connection:%zu\"", i);
		expect(stress, clients[i], client_read(clients[i]), expected,
		       "GET on one of 1,000 connections");
	}
	expect(stress, clients[0], client_command(clients[0], "GET", "connections:counter", NULL),
	       "$\"1000\"", "INCR from 1,000 connections");
	for (size_t i = 0; i < CONNECTIONS; i++)
		client_close(clients[i]);
}

/* Sends SET in pieces and compares GET, STRLEN and a range. */
static void
value_of_size(struct stress *stress, struct client *client, size_t size)
{
	static unsigned char piece[PIECE];
	char header[128], expected[64], from[32];
	struct reply *reply;
	bool equal = true;

	snprintf(header, sizeof(header), "*3\r\n$3\r\nSET\r\n$5\r\nsized\r\n$%zu\r\n", size);
	client_append_raw(client, header, strlen(header));
	for (size_t at = 0; at < size; at += PIECE) {
		size_t part = size - at < PIECE ? size - at : PIECE;
		fill(piece, part, size, at);
		client_append_raw(client, piece, part);
		check(stress, client_flush(client), "a value of %zu bytes: %s", size, client_error(client));
	}
	client_append_raw(client, "\r\n", 2);
	expect(stress, client, client_read(client), "+OK", "SET of a sized value");
	snprintf(expected, sizeof(expected), "(integer) %zu", size);
	expect(stress, client, client_command(client, "STRLEN", "sized", NULL), expected,
	       "STRLEN of a sized value");

	reply = client_command(client, "GET", "sized", NULL);
	check(stress, reply != NULL && reply->type == '$' && reply->size == size, "GET of %zu bytes: %s",
	      size, reply == NULL ? client_error(client) : "wrong size");
	for (size_t at = 0; reply != NULL && reply->size == size && at < size; at += PIECE) {
		size_t part = size - at < PIECE ? size - at : PIECE;
		fill(piece, part, size, at);
		equal = equal && memcmp(piece, reply->text + at, part) == 0;
	}
	check(stress, equal, "GET of %zu bytes: not what was set", size);
	reply_free(reply);

	size_t start = size / 2, count = size - start < 5 ? size - start : 5;
	snprintf(from, sizeof(from), "%zu", start);
	snprintf(header, sizeof(header), "%zu", start + 4);
	reply = client_command(client, "GETRANGE", "sized", from, header, NULL);
	fill(piece, count, size, start);
	check(stress, reply != NULL && reply->size == count && memcmp(reply->text, piece, count) == 0,
	      "GETRANGE in %zu bytes", size);
	reply_free(reply);
}

static void
values(struct stress *stress)
{
	static const size_t sizes[] = {
		0,        1,      2,     15,    16,    63,    64,    127,     128,           255,
		256,      1000,   1023,  1024,  1025,  4000,  4095,  4096,    4097,          16383,
		16384,    32767,  32768, 32769, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, (4 << 20) - 1,
		16 << 20, LARGEST};
	struct client *client = connect_or_exit(stress);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		value_of_size(stress, client, sizes[i]);
	expect(stress, client, client_command(client, "DEL", "sized", NULL), "(integer) 1", "DEL of 256 MiB");
	expect(stress, client, client_command(client, "GET", "sized", NULL), "(nil $)",
	       "GET of what was deleted");
	client_close(client);
}

static void
one_binary_key(struct stress *stress, struct client *client, const unsigned char *key, size_t size)
{
	const char *set[] = {"SET", (const char *)key, (const char *)key};
	const char *get[] = {"GET", (const char *)key};
	const size_t sizes[] = {3, size, size};
	struct reply *reply;

	expect(stress, client, client_call(client, 3, set, sizes), "+OK", "SET of a binary key");
	reply = client_call(client, 2, get, sizes);
	check(stress,
	      reply != NULL && reply->type == '$' && reply->size == size &&
		      memcmp(reply->text, key, size) == 0,
	      "GET of a binary key of %zu bytes", size);
	reply_free(reply);
}

static void
binary_keys(struct stress *stress)
{
	static unsigned char key[1 << 16];
	static const size_t sizes[] = {0, 1, 2, 3, 255, 256, 1024, 4095, 4096, 4097, 5000, 65535, 65536};
	struct client *client = connect_or_exit(stress);
	char expected[64];
	size_t count = 0;

	expect(stress, client, client_command(client, "FLUSHALL", NULL), "+OK", "FLUSHALL");
	/* Every byte alone, and around a NUL: neighbours in order, prefixes of each other. */
	for (unsigned byte = 0; byte < 256; byte++) {
		key[0] = (unsigned char)byte;
		one_binary_key(stress, client, key, 1);
		key[1] = 0;
		one_binary_key(stress, client, key, 2);
		key[2] = (unsigned char)byte;
		one_binary_key(stress, client, key, 3);
		count += 3;
	}
	/* Long keys that differ in their last byte alone. */
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(key, sizes[i], 99, 0);
		if (sizes[i] > 3) {
			one_binary_key(stress, client, key, sizes[i]);
			key[sizes[i] - 1]++;
			one_binary_key(stress, client, key, sizes[i]);
			count += 2;
		}
	}
	one_binary_key(stress, client, key, 0);
	count++;
	snprintf(expected, sizeof(expected), "(integer) %zu", count);
	expect(stress, client, client_command(client, "DBSIZE", NULL), expected, "DBSIZE of binary keys");
	struct reply *reply = client_command(client, "KEYS", "*", NULL);
	check(stress, reply != NULL && reply->count == count, "KEYS * of binary keys: %zu of %zu",
	      reply != NULL ? reply->count : 0, count);
	reply_free(reply);
	client_close(client);
}

enum end { END_TERM, END_SHUTDOWN, END_KILL };

static void
end_and_restart(struct stress *stress, enum end end, bool durable)
{
	static const char *const names[] = {"SIGTERM", "SHUTDOWN", "SIGKILL"};
	struct client *client = connect_or_exit(stress);
	int status;

	expect(stress, client, client_command(client, "SET", "kept", names[end], NULL), "+OK",
	       "SET before an end");
	if (end == END_SHUTDOWN) {
		struct reply *reply = client_command(client, "SHUTDOWN", "NOSAVE", NULL);
		check(stress, reply == NULL && strcmp(client_error(client), "closed") == 0,
		      "SHUTDOWN replied");
		reply_free(reply);
	}
	status = server_process_stop(stress->server,
				     end == END_TERM           ? SIGTERM
					     : end == END_KILL ? SIGKILL
							       : 0,
				     TIMEOUT_MS);
	if (end == END_KILL)
		check(stress, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "SIGKILL: status %d",
		      status);
	else
		check(stress, WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %d", names[end],
		      status);
	client_close(client);
	if (!server_process_restart(stress->server)) {
		check(stress, false, "no restart after %s", names[end]);
		server_process_free(stress->server, true);
		exit(1);
	}
	client = connect_or_exit(stress);
	if (durable) {
		char expected[32];
		snprintf(expected, sizeof(expected), "$\"%s\"", names[end]);
		expect(stress, client, client_command(client, "GET", "kept", NULL), expected,
		       "GET after a restart");
	}
	client_close(client);
}

int
main(int argc, char **argv)
{
	struct stress stress = {.failures = 0};
	bool durable = argc == 3 && strcmp(argv[2], "--durable") == 0;
	static const struct {
		const char *name;
		void (*run)(struct stress *stress);
	} parts[] = {{"a pipeline of 10,000", pipeline_hiredis},
		     {"20 MB of pipelined replies", pipeline_large_replies},
		     {"1,000 connections", many_connections},
		     {"values of 0 bytes to 256 MiB", values},
		     {"binary keys", binary_keys}};

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: %s SERVER [--durable]\n", argv[0]);
		return 2;
	}
	stress.server = server_process_start(argv[1], NULL, NULL);
	if (stress.server == NULL)
		return 1;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t before = stress.failures;
		parts[i].run(&stress);
		printf("%s: %s\n", parts[i].name, stress.failures == before ? "ok" : "FAILED");
		fflush(stdout);
	}
	for (enum end end = END_TERM; end <= END_KILL; end++)
		end_and_restart(&stress, end, durable);
	printf("%zu failures\n", stress.failures);
	server_process_free(stress.server, stress.failures > 0);
	return stress.failures == 0 ? 0 : 1;
}
