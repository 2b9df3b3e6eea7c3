/*
 * Resident memory under loads that each take their memory elsewhere: connections with long pipelines, commits
 *of many keys, caches full of values large and small, commands on a hundred thousand fields of one hash.
 *
 *	memory SERVER [--maxmemory BYTES] [--rounds N] [--percent N] [--seed N]
 *
 * The server's VmHWM over all of it must stay within `percent` of maxmemory, in the commands on many fields within as much
 * more as they take and return; 0: it is not judged (a sanitizer's build).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "server_process.h"
#include "values.h"

enum {
	KEYS = 100000,
	VALUE_MAX = 4096,
	CONNECTIONS_MAX = 500,
	SET_OF = 10,
	WORDS_MAX = 1 + 2 * SET_OF,
	KEY_MAX = 24
};

struct phase {
	const char *name, *command;
	unsigned connections, pipeline, keys; /* keys: of one command */
	size_t value;
};

static const struct phase phases[] = {
	{"many connections", "SET", CONNECTIONS_MAX, 16, 1, 100},
	{"commits of ten keys", "MSET", 50, 16, SET_OF, 100},
	{"long pipelines", "SET", 50, 100, 1, 100},
	{"values of 1 KiB", "SET", 50, 16, 1, 1024},
	{"values of 4 KiB", "SET", 50, 4, 1, VALUE_MAX},
	{"reading all that", "GET", 50, 16, 1, 0},
	{"reading with many connections", "GET", CONNECTIONS_MAX, 4, 1, 0},
};

struct trial {
	redisContext *contexts[CONNECTIONS_MAX];
	struct random random;
	char value[VALUE_MAX];
};

static bool
ask(struct trial *trial, redisContext *context, const struct phase *phase)
{
	char keys[SET_OF][KEY_MAX];
	const char *words[WORDS_MAX] = {phase->command};
	size_t sizes[WORDS_MAX] = {strlen(phase->command)};
	int count = 1;
	for (unsigned i = 0; i < phase->keys; i++) {
		snprintf(keys[i], KEY_MAX, "key:%" PRIu64, random_below(&trial->random, KEYS));
		words[count] = keys[i];
		sizes[count++] = strlen(keys[i]);
		if (phase->value == 0)
			continue;
		words[count] = trial->value;
		sizes[count++] = phase->value;
	}
	return load_append(context, count, words, sizes);
}

static bool
send_all(redisContext *context)
{
	int done = 0;
	while (!done)
		if (redisBufferWrite(context, &done) != REDIS_OK)
			return false;
	return true;
}

static bool
take_replies(redisContext *context, const struct phase *phase)
{
	for (unsigned i = 0; i < phase->pipeline; i++) {
		redisReply *reply = load_reply(context);
		bool right = reply != NULL &&
			(phase->value > 0
				 ? reply->type == REDIS_REPLY_STATUS
				 : reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_NIL);
		if (!right)
			printf("FAILED: %s: %s\n", phase->name, reply == NULL ? "no reply" : reply->str);
		if (reply != NULL)
			freeReplyObject(reply);
		if (!right)
			return false;
	}
	return true;
}

static bool
run_phase(struct trial *trial, const struct phase *phase, uint64_t rounds)
{
	for (uint64_t round = 0; round < rounds; round++) {
		for (unsigned c = 0; c < phase->connections; c++)
			for (unsigned i = 0; i < phase->pipeline; i++)
				if (!ask(trial, trial->contexts[c], phase))
					return false;
		for (unsigned c = 0; c < phase->connections; c++)
			if (!send_all(trial->contexts[c]))
				return false;
		for (unsigned c = 0; c < phase->connections; c++)
			if (!take_replies(trial->contexts[c], phase))
				return false;
	}
	return true;
}

/* ---- one command on many fields ---- */

enum { FIELDS = 100000, FIELD_MAX = 16, FIELDS_AT_ONCE = 500, WIDE_PERCENT = 100 };

struct wide_phase {
	const char *name;
	const char *words[3]; /* the fields follow the second one, or, if there is a third, do not */
	long long wanted;     /* an integer, or the elements of an array */
};

static const struct wide_phase wide_phases[] = {
	{"HMGET of 100,000 fields", {"HMGET", "wide"}, FIELDS},
	{"a script of 50,000 HGETs",
	 {"EVAL",
	  "local n = 0 for i = 0, 49999 do n = n + #redis.call('HGET', 'wide', 'field:' .. i) end return n",
	  "0"},
	 50000 * 100},
	{"SMISMEMBER of 100,000 members", {"SMISMEMBER", "members"}, FIELDS},
	{"HDEL of 100,000 fields", {"HDEL", "wide"}, FIELDS},
};

/* HSET or SADD of all fields, some at a time. */
static bool
fill_wide(struct trial *trial, redisContext *context, const char *command, const char *key, bool has_values)
{
	char names[FIELDS_AT_ONCE][FIELD_MAX];
	const char *words[2 + 2 * FIELDS_AT_ONCE] = {command, key};
	size_t sizes[2 + 2 * FIELDS_AT_ONCE] = {strlen(command), strlen(key)};
	for (int i = 0; i < FIELDS; i += FIELDS_AT_ONCE) {
		int count = 2;
		for (int j = 0; j < FIELDS_AT_ONCE; j++) {
			words[count] = names[j];
			sizes[count++] = (size_t)snprintf(names[j], FIELD_MAX, "field:%d", i + j);
			words[count] = trial->value;
			sizes[count] = 100;
			count += has_values;
		}
		redisReply *reply = load_append(context, count, words, sizes) ? load_reply(context) : NULL;
		bool right = reply != NULL && reply->type == REDIS_REPLY_INTEGER;
		if (reply != NULL)
			freeReplyObject(reply);
		if (!right)
			return false;
	}
	return true;
}

static bool
ask_wide(redisContext *context, const struct wide_phase *phase, const char **words, char (*names)[FIELD_MAX])
{
	int count = phase->words[2] != NULL ? 3 : 2 + FIELDS;
	memcpy(words, phase->words, sizeof(phase->words));
	for (int i = 2; i < count && phase->words[2] == NULL; i++)
		words[i] = names[i - 2];
	redisReply *reply = load_append(context, count, words, NULL) ? load_reply(context) : NULL;
	long long got = reply == NULL                ? -1
		: reply->type == REDIS_REPLY_ARRAY   ? (long long)reply->elements
		: reply->type == REDIS_REPLY_INTEGER ? reply->integer
						     : -1;
	if (got != phase->wanted)
		printf("FAILED: %s: %lld, %s\n", phase->name, got,
		       reply == NULL                              ? "no reply"
			       : reply->type == REDIS_REPLY_ERROR ? reply->str
								  : "");
	if (reply != NULL)
		freeReplyObject(reply);
	return got == phase->wanted;
}

static bool
run_wide(struct trial *trial, struct server_process *server, uint64_t maxmemory, uint64_t percent)
{
	redisContext *context = trial->contexts[0];
	char(*names)[FIELD_MAX] = malloc(FIELDS * sizeof(*names));
	const char **words = malloc((2 + FIELDS) * sizeof(*words));
	bool passed = names != NULL && words != NULL && fill_wide(trial, context, "HSET", "wide", true) &&
		fill_wide(trial, context, "SADD", "members", false);
	for (int i = 0; passed && i < FIELDS; i++)
		snprintf(names[i], FIELD_MAX, "field:%d", i);
	for (size_t i = 0; passed && i < sizeof(wide_phases) / sizeof(wide_phases[0]); i++) {
		const struct wide_phase *phase = &wide_phases[i];
		bool reset = server_process_reset_peak(server);
		passed = ask_wide(context, phase, words, names);
		uint64_t peak = server_process_peak_memory(server);
		bool judged = percent > 0 && reset && peak > 0;
		bool within = !judged || peak <= maxmemory / 100 * (percent + WIDE_PERCENT);
		printf("%s: %" PRIu64 " KiB resident at most, %.2f x maxmemory%s\n", phase->name, peak / 1024,
		       (double)peak / (double)maxmemory, within ? "" : " FAILED");
		passed &= within;
	}
	free(names);
	free(words);
	return passed;
}

static bool
run(struct trial *trial, struct server_process *server, uint64_t maxmemory, uint64_t rounds, uint64_t percent)
{
	bool passed = true;
	for (unsigned c = 0; c < CONNECTIONS_MAX; c++) {
		trial->contexts[c] = load_connect(server_process_port(server));
		if (trial->contexts[c] == NULL)
			return false;
	}
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		const struct phase *phase = &phases[i];
		/* Each about as many commands. */
		uint64_t commands = (uint64_t)phase->connections * phase->pipeline * phase->keys;
		bool reset = server_process_reset_peak(server);
		if (!run_phase(trial, phase, (rounds * 8000 + commands - 1) / commands))
			return false;
		uint64_t peak = server_process_peak_memory(server);
		bool judged = percent > 0 && reset && peak > 0;
		bool within = !judged || peak <= maxmemory / 100 * percent;
		printf("%s: %" PRIu64 " KiB resident at most, %.2f x maxmemory%s\n", phase->name, peak / 1024,
		       (double)peak / (double)maxmemory, within ? "" : " FAILED");
		passed &= within;
	}
	return run_wide(trial, server, maxmemory, percent) && passed;
}

int
main(int argc, char **argv)
{
	uint64_t maxmemory = 64 << 20, rounds = 40, percent = 110, seed = 1;
	const struct load_option options[] = {{"maxmemory", &maxmemory, NULL},
					      {"rounds", &rounds, NULL},
					      {"percent", &percent, NULL},
					      {"seed", &seed, NULL},
					      {0}};
	const char *path;
	char limit[24];
	if (!load_options(argc, argv, options, &path))
		return 2;
	snprintf(limit, sizeof(limit), "%" PRIu64, maxmemory);
	struct server_process *server =
		server_process_start(path, NULL, (const char *const[]){"--maxmemory", limit, NULL});
	struct trial *trial = calloc(1, sizeof(*trial));
	if (server == NULL || trial == NULL)
		return 1;
	trial->random.state = seed;
	value_fill(trial->value, sizeof(trial->value), value_mix(seed, 1));
	bool passed = run(trial, server, maxmemory, rounds, percent);
	for (unsigned c = 0; c < CONNECTIONS_MAX; c++)
		if (trial->contexts[c] != NULL)
			redisFree(trial->contexts[c]);
	free(trial);
	return load_finish(server, passed);
}
