/*
 * Parts of long strings: GETRANGE, GETBIT, SETRANGE, SETBIT and APPEND in any order, single and in MULTI,
 *with arguments of any size, against a model in memory; through a kill; and on a string of several times the
 *memory, in a server that stays small.
 *
 *	long_strings SERVER [--seed N] [--edits N] [--maxmemory BYTES] [--size BYTES] [--slack BYTES]
 *
 * Memory is judged by the server's peak, which is reset before what is measured; slack 0: it is not judged (a
 * sanitizer's build).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "server_process.h"
#include "values.h"

enum { EDITED_MAX = 4 << 20, ARGUMENT_MAX = 3 << 20, READ_AT_ONCE = 16 << 20 };

static const char key[] = "long";

struct model {
	unsigned char *data;
	size_t size, capacity;
};

struct trial {
	struct server_process *server;
	redisContext *context;
	struct random random;
	struct model model;
	uint64_t seed, edits, memory, size, slack;
	bool failed;
};

static bool
fail(struct trial *t, const char *what)
{
	t->failed = true;
	printf("FAILED: %s (the string has %zu bytes)\n", what, t->model.size);
	return false;
}

/* ---- the model ---- */

static void
model_put(struct model *m, size_t offset, const void *data, size_t size)
{
	if (offset + size > m->capacity)
		abort(); /* the trial sees to it */
	if (offset > m->size)
		memset(m->data + m->size, 0, offset - m->size);
	memcpy(m->data + offset, data, size);
	if (offset + size > m->size)
		m->size = offset + size;
}

/* ---- commands; each gives its reply, NULL when the connection broke ---- */

static redisReply *
say(struct trial *t, const char *name, const char *first, const void *second, size_t second_size)
{
	const char *argv[] = {name, key, first, second};
	size_t sizes[] = {strlen(name), sizeof(key) - 1, first != NULL ? strlen(first) : 0, second_size};
	int argc = 2 + (first != NULL) + (second != NULL);
	if (first == NULL) {
		argv[2] = argv[3];
		sizes[2] = sizes[3];
	}
	return load_append(t->context, argc, argv, sizes) ? load_reply(t->context) : NULL;
}

static bool
expect_integer(struct trial *t, redisReply *reply, long long expected, const char *what)
{
	bool right = reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == expected;
	if (!right)
		fail(t, what);
	freeReplyObject(reply);
	return right;
}

static bool
expect_range(struct trial *t, size_t first, size_t last)
{
	char from[32], to[32];
	snprintf(from, sizeof(from), "%zu", first);
	snprintf(to, sizeof(to), "%zu", last);
	redisReply *reply = say(t, "GETRANGE", from, to, strlen(to));
	size_t end = last + 1 < t->model.size ? last + 1 : t->model.size;
	size_t size = first < end ? end - first : 0;
	bool right = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == size &&
		memcmp(reply->str, t->model.data + first, size) == 0;
	freeReplyObject(reply);
	return right || fail(t, "GETRANGE");
}

static bool
expect_whole(struct trial *t)
{
	for (size_t at = 0; at < t->model.size; at += READ_AT_ONCE)
		if (!expect_range(t, at, at + READ_AT_ONCE - 1))
			return false;
	return expect_integer(t, say(t, "STRLEN", NULL, NULL, 0), (long long)t->model.size, "STRLEN");
}

static bool
get_bit(struct trial *t, uint64_t bit)
{
	char text[32];
	int expected = bit / 8 < t->model.size ? t->model.data[bit / 8] >> (7 - bit % 8) & 1 : 0;
	snprintf(text, sizeof(text), "%" PRIu64, bit);
	return expect_integer(t, say(t, "GETBIT", text, NULL, 0), expected, "GETBIT");
}

/* ---- edits, told to the model; `queued`: in MULTI, the reply comes later ---- */

/* Whether the reply is right; while it is queued, what EXEC is to give is put into `ret_later`. */
static bool
finish_edit(struct trial *t, redisReply *reply, long long expected, long long *ret_later, const char *what)
{
	if (ret_later == NULL)
		return expect_integer(t, reply, expected, what);
	bool right = reply != NULL && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "QUEUED") == 0;
	*ret_later = expected;
	freeReplyObject(reply);
	return right || fail(t, what);
}

static bool
append(struct trial *t, const void *data, size_t size, long long *ret_later)
{
	model_put(&t->model, t->model.size, data, size);
	return finish_edit(t, say(t, "APPEND", NULL, data, size), (long long)t->model.size, ret_later,
			   "APPEND");
}

static bool
set_range(struct trial *t, size_t offset, const void *data, size_t size, long long *ret_later)
{
	char text[32];
	if (size > 0)
		model_put(&t->model, offset, data, size);
	snprintf(text, sizeof(text), "%zu", offset);
	return finish_edit(t, say(t, "SETRANGE", text, data, size), (long long)t->model.size, ret_later,
			   "SETRANGE");
}

static bool
set_bit(struct trial *t, uint64_t bit, int to, long long *ret_later)
{
	char text[32];
	unsigned char byte = bit / 8 < t->model.size ? t->model.data[bit / 8] : 0;
	int before = byte >> (7 - bit % 8) & 1;
	unsigned char mask = (unsigned char)(0x80 >> bit % 8);
	byte = (unsigned char)(to ? byte | mask : byte & ~mask);
	model_put(&t->model, bit / 8, &byte, 1);
	snprintf(text, sizeof(text), "%" PRIu64, bit);
	return finish_edit(t, say(t, "SETBIT", text, to ? "1" : "0", 1), before, ret_later, "SETBIT");
}

/* A place that is often near the end or a border of what is stored together. */
static size_t
some_offset(struct trial *t)
{
	size_t size = t->model.size;
	switch (random_below(&t->random, 4)) {
	case 0:
		return size > 10 ? size - random_below(&t->random, 10) : 0;
	case 1:
		return (size_t)(random_below(&t->random, size / 65536 + 1) * 65536 +
				random_below(&t->random, 3));
	case 2:
		return size + (size_t)random_below(&t->random, 100000);
	default:
		return size > 0 ? (size_t)random_below(&t->random, size) : 0;
	}
}

static size_t
some_size(struct trial *t)
{
	switch (random_below(&t->random, 8)) {
	case 0:
		return (size_t)random_below(&t->random, ARGUMENT_MAX);
	case 1:
		return (1 << 20) - 1 + (size_t)random_below(&t->random, 3);
	default:
		return (size_t)random_below(&t->random, 3000);
	}
}

static bool
edit(struct trial *t, void *argument, long long *ret_later)
{
	size_t offset = some_offset(t), size = some_size(t);
	value_fill(argument, size, random_next(&t->random));
	switch (random_below(&t->random, 3)) {
	case 0:
		return append(t, argument, size, ret_later);
	case 1:
		return set_range(t, offset, argument, size, ret_later);
	default:
		return set_bit(t, offset * 8 + random_below(&t->random, 8), (int)random_below(&t->random, 2),
			       ret_later);
	}
}

static bool
edit_in_multi(struct trial *t, void *argument)
{
	enum { MOST = 4 };
	long long later[MOST] = {0};
	size_t count = 1 + (size_t)random_below(&t->random, MOST);
	freeReplyObject(redisCommand(t->context, "MULTI"));
	for (size_t i = 0; i < count; i++)
		if (!edit(t, argument, &later[i]))
			return false;
	redisReply *reply = redisCommand(t->context, "EXEC");
	bool right = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == count;
	for (size_t i = 0; right && i < count; i++)
		right = reply->element[i]->type == REDIS_REPLY_INTEGER &&
			reply->element[i]->integer == later[i];
	freeReplyObject(reply);
	return right || fail(t, "EXEC");
}

/* The string begins anew, now and then as a short one. */
static bool
begin_anew(struct trial *t, void *argument)
{
	size_t size = some_size(t);
	value_fill(argument, size, random_next(&t->random));
	t->model.size = 0;
	model_put(&t->model, 0, argument, size);
	redisReply *reply = say(t, "SET", NULL, argument, size);
	return load_expect_ok(reply) || fail(t, "SET");
}

static bool
step(struct trial *t, void *argument)
{
	size_t from = some_offset(t);
	if (t->model.size > EDITED_MAX || random_below(&t->random, 30) == 0)
		return begin_anew(t, argument);
	switch (random_below(&t->random, 5)) {
	case 0:
		return edit_in_multi(t, argument);
	case 1:
		return expect_range(t, from, from + some_size(t));
	case 2:
		return get_bit(t, from * 8 + random_below(&t->random, 8));
	default:
		return edit(t, argument, NULL);
	}
}

static bool
restart(struct trial *t)
{
	redisFree(t->context);
	server_process_stop(t->server, SIGKILL, 10000);
	t->context = NULL;
	if (!server_process_restart(t->server))
		return fail(t, "the server does not come up again");
	t->context = load_connect(server_process_port(t->server));
	return t->context != NULL || fail(t, "no connection");
}

static bool
edit_at_random(struct trial *t)
{
	void *argument = malloc(ARGUMENT_MAX + 1);
	bool going = argument != NULL;
	for (uint64_t i = 0; going && i < t->edits; i++) {
		going = step(t, argument);
		if (going && i % 20 == 19)
			going = expect_whole(t);
		if (going && i == t->edits / 2)
			going = restart(t) && expect_whole(t);
	}
	free(argument);
	return going;
}

/* ---- a string of several times the memory ---- */

/* What is refused is not kept until then. */
static bool
refuse_the_largest(struct trial *t, const void *large)
{
	redisReply *reply = say(t, "NOSUCH", NULL, large, (size_t)t->size);
	bool right = reply != NULL && reply->type == REDIS_REPLY_ERROR &&
		strncmp(reply->str, "ERR unknown command 'NOSUCH'", 28) == 0;
	freeReplyObject(reply);
	return right || fail(t, "an unknown command");
}

static bool
edit_the_largest(struct trial *t)
{
	static unsigned char small[1000];
	size_t size = (size_t)t->size;
	unsigned char *large = malloc(size);
	if (large == NULL)
		abort();
	value_fill(large, size, 1);
	value_fill(small, sizeof(small), 2);
	t->model.size = 0;
	model_put(&t->model, 0, large, size);
	bool going = load_expect_ok(say(t, "SET", NULL, large, size)) || fail(t, "SET");
	going = going &&
		(server_process_reset_peak(t->server) || fail(t, "cannot reset the peak of the memory"));
	going = going && expect_range(t, size / 2, size / 2 + 3) && get_bit(t, size * 4 + 5) &&
		append(t, small, 1, NULL) && set_range(t, size / 3, small, sizeof(small), NULL) &&
		set_bit(t, size * 8 - 9, 1, NULL) && append(t, large, size / 4, NULL) &&
		set_range(t, size + size / 2, small, sizeof(small), NULL) && edit_in_multi(t, large) &&
		refuse_the_largest(t, large) && expect_whole(t);
	free(large);
	return going;
}

static void
judge_peak(struct trial *t)
{
	uint64_t peak = server_process_peak_memory(t->server);
	printf("long_strings: parts of %" PRIu64 " MiB: the server took %" PRIu64 " MiB at most\n",
	       t->size >> 20, peak >> 20);
	if (t->slack > 0 && (peak == 0 || peak > t->memory + t->slack))
		fail(t, "the server took too much memory");
}

int
main(int argc, char **argv)
{
	const char *path;
	struct trial t = {.seed = 1, .edits = 300, .memory = 64 << 20, .size = 200 << 20, .slack = 64 << 20};
	const struct load_option table[] = {{"seed", &t.seed, NULL},        {"edits", &t.edits, NULL},
					    {"maxmemory", &t.memory, NULL}, {"size", &t.size, NULL},
					    {"slack", &t.slack, NULL},      {0}};
	char memory_text[32];

	if (!load_options(argc, argv, table, &path))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(memory_text, sizeof(memory_text), "%" PRIu64, t.memory);
	const char *arguments[] = {"--maxmemory", memory_text, NULL};
	t.server = server_process_start(path, NULL, arguments);
	if (t.server == NULL)
		return 1;
	t.random.state = t.seed;
	t.model.capacity = (size_t)(2 * t.size) + 4 * ((size_t)EDITED_MAX + ARGUMENT_MAX);
	t.model.data = malloc(t.model.capacity);
	t.context = load_connect(server_process_port(t.server));
	if (t.model.data == NULL || t.context == NULL)
		t.failed = true;
	else if (edit_at_random(&t) && edit_the_largest(&t))
		judge_peak(&t);
	printf("long_strings: seed %" PRIu64 ": %s\n", t.seed, t.failed ? "failed" : "as it should be");
	redisFree(t.context);
	free(t.model.data);
	return load_finish(t.server, !t.failed);
}
