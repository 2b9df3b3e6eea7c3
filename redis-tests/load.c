/* Errors that a test cannot survive (no memory) end the program with a message. */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "server_process.h"

#define TIMEOUT_S 180
#define STOP_TIMEOUT_MS 180000

static bool
take_option(const struct load_option *table, const char *name, const char *value)
{
	char *end;

	for (; table->name != NULL; table++) {
		if (strcmp(table->name, name) != 0)
			continue;
		if (table->text != NULL) {
			*table->text = value;
			return true;
		}
		*table->number = strtoull(value, &end, 10);
		return end != value && *end == '\0';
	}
	return false;
}

bool
load_options(int argc, char **argv, const struct load_option *table, const char **ret_server)
{
	bool valid = argc >= 2 && argc % 2 == 0;

	for (int i = 2; valid && i + 1 < argc; i += 2)
		valid = strncmp(argv[i], "--", 2) == 0 && take_option(table, argv[i] + 2, argv[i + 1]);
	if (!valid) {
		fprintf(stderr, "usage: %s SERVER", argv[0]);
		for (; table->name != NULL; table++)
			fprintf(stderr, " [--%s %s]", table->name, table->text != NULL ? "WORD" : "N");
		fprintf(stderr, "\n");
		return false;
	}
	*ret_server = argv[1];
	return true;
}

redisContext *
load_connect(int port)
{
	struct timeval timeout = {.tv_sec = TIMEOUT_S};
	redisContext *context = redisConnectWithTimeout("127.0.0.1", port, timeout);

	if (context != NULL && context->err == 0 && redisSetTimeout(context, timeout) == REDIS_OK)
		return context;
	fprintf(stderr, "cannot connect: %s\n", context != NULL ? context->errstr : "out of memory");
	if (context != NULL)
		redisFree(context);
	return NULL;
}

uint64_t
load_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

bool
load_append(redisContext *context, int argc, const char **argv, const size_t *sizes)
{
	return redisAppendCommandArgv(context, argc, argv, sizes) == REDIS_OK;
}

redisReply *
load_reply(redisContext *context)
{
	void *reply = NULL;

	return redisGetReply(context, &reply) == REDIS_OK ? reply : NULL;
}

bool
load_expect_ok(redisReply *reply)
{
	bool is_ok = reply != NULL && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "OK") == 0;

	if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
		fprintf(stderr, "error reply: %s\n", reply->str);
	if (reply != NULL)
		freeReplyObject(reply);
	return is_ok;
}

long long
load_info(redisContext *context, const char *field)
{
	redisReply *reply = redisCommand(context, "INFO");
	size_t length = strlen(field);
	long long value = -1;

	if (reply == NULL)
		return -1;
	for (const char *line = reply->type == REDIS_REPLY_STRING ? reply->str : NULL; line != NULL;) {
		if (strncmp(line, field, length) == 0 && line[length] == ':')
			value = strtoll(line + length + 1, NULL, 10);
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	freeReplyObject(reply);
	return value;
}

int
load_finish(struct server_process *server, bool passed)
{
	int status = server_process_stop(server, SIGTERM, STOP_TIMEOUT_MS);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		printf("FAILED: the server does not end cleanly: wait status %d\n", status);
		passed = false;
	}
	server_process_free(server, !passed);
	return passed ? 0 : 1;
}

static void
reserve(struct latencies *latencies, size_t count)
{
	if (latencies->count + count <= latencies->capacity)
		return;
	size_t capacity = latencies->capacity * 2 + count + 1024;
	uint32_t *us = realloc(latencies->us, capacity * sizeof(*us));
	if (us == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	latencies->us = us;
	latencies->capacity = capacity;
}

void
latencies_add(struct latencies *latencies, uint64_t us)
{
	reserve(latencies, 1);
	latencies->us[latencies->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void
latencies_merge(struct latencies *into, struct latencies *from)
{
	reserve(into, from->count);
	if (from->count > 0)
		memcpy(into->us + into->count, from->us, from->count * sizeof(*from->us));
	into->count += from->count;
	latencies_free(from);
}

static int
compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

uint32_t
latencies_at(struct latencies *latencies, unsigned per_mille)
{
	if (latencies->count == 0)
		return 0;
	qsort(latencies->us, latencies->count, sizeof(*latencies->us), compare);
	return latencies->us[(latencies->count - 1) * per_mille / 1000];
}

void
latencies_free(struct latencies *latencies)
{
	free(latencies->us);
	*latencies = (struct latencies){0};
}
