/*
 * Data many times the memory, read from the disk, and hot keys beside it.
 *
 *	cold SERVER [--maxmemory BYTES] [--times N] [--connections N] [--seed N]
 *
 * Writes `times` x maxmemory of values of 1 to 4 KiB, has them flushed (SAVE), and drops the page cache. Then
 *four threads with `connections` connections read every key once, in random order, and check what comes;
 *meanwhile one connection reads a hundred hot keys again and again. The page cache is dropped again at every
 *quarter. The p50 and p99 of both are printed, and of the hot keys alone before.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "load.h"
#include "server_process.h"
#include "values.h"

#define THREADS 4
#define HOT 100
#define HOT_ALONE 5000
#define BATCH 200
#define KEY_MAX 24
#define CONNECTIONS_MAX 256

struct trial {
	struct server_process *server;
	uint64_t keys, seed, connections;
	uint64_t *order;   /* of the cold keys */
	uint64_t next;     /* atomic, relaxed: hands out places of `order` */
	uint64_t failures; /* atomic, relaxed */
	bool over;         /* atomic, relaxed: ends the hot reader */
};

struct cold_reader {
	struct trial *trial;
	pthread_t thread;
	struct latencies latencies;
};

struct hot_reader {
	struct trial *trial;
	pthread_t thread;
	struct latencies latencies;
};

static void
fail(struct trial *trial, const char *what, uint64_t key)
{
	if (__atomic_fetch_add(&trial->failures, 1, __ATOMIC_RELAXED) < 20)
		printf("FAILED: %s (%" PRIu64 ")\n", what, key);
}

static size_t
size_of(const struct trial *trial, uint64_t key)
{
	return 1024 + value_mix(trial->seed, key) % 3073;
}

static void
check_value(struct trial *trial, uint64_t key, const redisReply *reply)
{
	size_t size = size_of(trial, key);

	if (reply == NULL)
		fail(trial, "a connection broke at key", key);
	else if (reply->type == REDIS_REPLY_ERROR)
		fail(trial, reply->str, key);
	else if (reply->type != REDIS_REPLY_STRING || (size_t)reply->len != size ||
		 !value_is_filled(reply->str, size, value_mix(trial->seed + 1, key)))
		fail(trial, "a wrong value at key", key);
}

static bool
ask(redisContext *context, uint64_t key)
{
	char text[KEY_MAX];
	const char *get[] = {"GET", text};

	snprintf(text, sizeof(text), "key:%" PRIu64, key);
	return load_append(context, 2, get, NULL);
}

/* Fills the server; the keys are as many as make `bytes`. */
static bool
write_all(struct trial *trial, redisContext *context, uint64_t bytes)
{
	static char value[4096 + 1];
	uint64_t written = 0;

	while (written < bytes) {
		unsigned batch;
		for (batch = 0; batch < BATCH && written < bytes; batch++) {
			char key[KEY_MAX];
			const char *set[] = {"SET", key, value};
			snprintf(key, sizeof(key), "key:%" PRIu64, trial->keys);
			const size_t sizes[] = {3, strlen(key), size_of(trial, trial->keys)};
			value_fill(value, sizes[2], value_mix(trial->seed + 1, trial->keys++));
			written += sizes[2];
			if (!load_append(context, 3, set, sizes))
				return false;
		}
		while (batch-- > 0)
			if (!load_expect_ok(load_reply(context)))
				return false;
	}
	return load_expect_ok(redisCommand(context, "SAVE"));
}

static bool
shuffle(struct trial *trial)
{
	struct random random = {.state = trial->seed};

	trial->order = malloc(trial->keys * sizeof(*trial->order));
	if (trial->order == NULL)
		return false;
	for (uint64_t i = 0; i < trial->keys; i++)
		trial->order[i] = i;
	for (uint64_t i = trial->keys - 1; i > 0; i--) {
		uint64_t other = random_below(&random, i + 1), key = trial->order[i];
		trial->order[i] = trial->order[other];
		trial->order[other] = key;
	}
	return true;
}

/* One request on each of the thread's connections at a time, so that as many overlap as there are
 * connections. */
static void
read_in_step(struct cold_reader *reader, redisContext **contexts, uint64_t count)
{
	struct trial *trial = reader->trial;
	uint64_t keys[CONNECTIONS_MAX];

	for (;;) {
		uint64_t asked, start = load_now_us();
		for (asked = 0; asked < count; asked++) {
			uint64_t place = __atomic_fetch_add(&trial->next, 1, __ATOMIC_RELAXED);
			int done = 0;
			if (place >= trial->keys)
				break;
			if (place % (trial->keys / 4) == 0)
				directory_drop_cache(server_process_directory(trial->server));
			keys[asked] = trial->order[place];
			if (!ask(contexts[asked], keys[asked]) ||
			    redisBufferWrite(contexts[asked], &done) != REDIS_OK || !done)
				fail(trial, "cannot send for key", keys[asked]);
		}
		for (uint64_t i = 0; i < asked; i++) {
			redisReply *reply = load_reply(contexts[i]);
			latencies_add(&reader->latencies, load_now_us() - start);
			check_value(trial, keys[i], reply);
			if (reply == NULL)
				return;
			freeReplyObject(reply);
		}
		if (asked < count)
			return;
	}
}

static void *
run_cold(void *argument)
{
	struct cold_reader *reader = argument;
	uint64_t count = reader->trial->connections / THREADS, open;
	redisContext *contexts[CONNECTIONS_MAX];

	for (open = 0; open < count; open++) {
		contexts[open] = load_connect(server_process_port(reader->trial->server));
		if (contexts[open] == NULL) {
			fail(reader->trial, "no connection", open);
			break;
		}
	}
	if (open == count)
		read_in_step(reader, contexts, count);
	while (open-- > 0)
		redisFree(contexts[open]);
	return NULL;
}

static bool
read_hot(struct trial *trial, redisContext *context, uint64_t key, struct latencies *latencies)
{
	uint64_t start = load_now_us();
	redisReply *reply = ask(context, key) ? load_reply(context) : NULL;

	latencies_add(latencies, load_now_us() - start);
	check_value(trial, key, reply);
	if (reply == NULL)
		return false;
	freeReplyObject(reply);
	return true;
}

static void *
run_hot(void *argument)
{
	struct hot_reader *reader = argument;
	struct trial *trial = reader->trial;
	redisContext *context = load_connect(server_process_port(trial->server));

	for (uint64_t i = 0; context != NULL && !__atomic_load_n(&trial->over, __ATOMIC_RELAXED); i++)
		if (!read_hot(trial, context, i % HOT, &reader->latencies))
			break;
	if (context != NULL)
		redisFree(context);
	return NULL;
}

static void
print_latencies(const char *what, struct latencies *latencies)
{
	printf("cold: %s: %zu GETs, p50 %u us, p99 %u us, max %u us\n", what, latencies->count,
	       latencies_at(latencies, 500), latencies_at(latencies, 990), latencies_at(latencies, 1000));
	latencies_free(latencies);
}

static void
read_all(struct trial *trial)
{
	struct cold_reader readers[THREADS] = {0};
	struct hot_reader hot = {.trial = trial};
	struct latencies cold = {0};
	uint64_t start = load_now_us();

	if (pthread_create(&hot.thread, NULL, run_hot, &hot) != 0)
		abort();
	for (int i = 0; i < THREADS; i++) {
		readers[i].trial = trial;
		if (pthread_create(&readers[i].thread, NULL, run_cold, &readers[i]) != 0)
			abort();
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		latencies_merge(&cold, &readers[i].latencies);
	}
	uint64_t took = load_now_us() - start;
	__atomic_store_n(&trial->over, true, __ATOMIC_RELAXED);
	pthread_join(hot.thread, NULL);
	if (cold.count != trial->keys)
		fail(trial, "keys read", cold.count);
	printf("cold: %zu keys on %" PRIu64 " connections in %.1f s, %.0f a second\n", cold.count,
	       trial->connections, (double)took / 1e6, (double)cold.count * 1e6 / (double)took);
	print_latencies("cold keys", &cold);
	print_latencies("hot keys beside them", &hot.latencies);
}

static void
run(struct trial *trial, uint64_t bytes)
{
	redisContext *context = load_connect(server_process_port(trial->server));
	struct latencies alone = {0};
	bool going = context != NULL && write_all(trial, context, bytes) && shuffle(trial);

	if (!going)
		fail(trial, "cannot write the data; keys so far", trial->keys);
	for (uint64_t i = 0; going && i < HOT_ALONE; i++)
		going = read_hot(trial, context, i % HOT, &alone);
	if (going) {
		print_latencies("hot keys alone", &alone);
		read_all(trial);
	}
	free(trial->order);
	if (context != NULL)
		redisFree(context);
}

int
main(int argc, char **argv)
{
	const char *path;
	uint64_t memory = 16 << 20, times = 8, connections = 64, seed = 1;
	const struct load_option table[] = {{"maxmemory", &memory, NULL},
					    {"times", &times, NULL},
					    {"connections", &connections, NULL},
					    {"seed", &seed, NULL},
					    {0}};
	char memory_text[32];
	struct trial trial = {0};

	if (!load_options(argc, argv, table, &path) || connections < THREADS ||
	    connections / THREADS > CONNECTIONS_MAX)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(memory_text, sizeof(memory_text), "%" PRIu64, memory);
	const char *arguments[] = {"--maxmemory", memory_text, NULL};
	trial.server = server_process_start(path, NULL, arguments);
	if (trial.server == NULL)
		return 1;
	trial.seed = seed;
	trial.connections = connections;
	run(&trial, memory * times);
	printf("cold: maxmemory %" PRIu64 " MiB, data %" PRIu64 " times that: %" PRIu64 " failures\n",
	       memory >> 20, times, trial.failures);
	return load_finish(trial.server, trial.failures == 0);
}
