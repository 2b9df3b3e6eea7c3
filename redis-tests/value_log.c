/*
 * The value log gives space back by itself.
 *
 *	value_log SERVER [--keys N] [--rounds N] [--size BYTES] [--seconds N] [--maxmemory BYTES] [--seed N]
 *
 * Writes `keys` incompressible values of `size` bytes and overwrites each `rounds` times, in a different
 *order each time. Then no command is sent until the directory, as `du` counts it, is below 1.6 times the live
 *bytes (keys and values); that may take `seconds`. Then every value is read and compared, and INFO's figures
 *are printed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "directory.h"
#include "load.h"
#include "server_process.h"
#include "values.h"

#define BATCH 200
#define BOUND 1.6
#define POLL_MS 100
#define KEY_SIZE 12

static uint64_t keys = 10000, rounds = 10, size = 4096, seconds = 180, memory = 64 << 20, seed = 1;

/* A prime step makes i -> i * step + start a different order each round; keys is not a multiple of it. */
static uint64_t
key_at(uint64_t round, uint64_t i)
{
	static const uint64_t steps[] = {7919, 104729, 15485863, 32452843, 49979687};

	return (i * steps[round % 5] + value_mix(seed, round)) % keys;
}

static void
key_text(uint64_t key, char text[KEY_SIZE + 1])
{
	snprintf(text, KEY_SIZE + 1, "key:%08" PRIu64, key % 100000000);
}

static uint64_t
content_of(uint64_t key, uint64_t round)
{
	return value_mix(value_mix(seed, key), round);
}

static bool
write_batch(redisContext *context, uint64_t round, uint64_t first, uint64_t count, char *value)
{
	char key[KEY_SIZE + 1];
	const char *set[] = {"SET", key, value};
	const size_t sizes[] = {3, KEY_SIZE, size};

	for (uint64_t i = first; i < first + count; i++) {
		uint64_t number = key_at(round, i);
		key_text(number, key);
		value_fill(value, size, content_of(number, round));
		if (!load_append(context, 3, set, sizes))
			return false;
	}
	for (uint64_t i = 0; i < count; i++)
		if (!load_expect_ok(load_reply(context)))
			return false;
	return true;
}

static bool
write_all(redisContext *context)
{
	char *value = malloc(size);
	bool written = value != NULL;

	for (uint64_t round = 0; written && round <= rounds; round++)
		for (uint64_t i = 0; written && i < keys; i += BATCH)
			written = write_batch(context, round, i, keys - i < BATCH ? keys - i : BATCH, value);
	free(value);
	if (!written)
		printf("FAILED: writing: %s\n", context->errstr);
	return written;
}

/* Wrong or missing values. */
static uint64_t
verify_all(redisContext *context)
{
	uint64_t wrong = 0;
	char key[KEY_SIZE + 1];
	const char *get[] = {"GET", key};

	for (uint64_t first = 0; first < keys; first += BATCH) {
		uint64_t last = first + BATCH < keys ? first + BATCH : keys;
		for (uint64_t i = first; i < last; i++) {
			key_text(i, key);
			if (!load_append(context, 2, get, NULL))
				return keys;
		}
		for (uint64_t i = first; i < last; i++) {
			redisReply *reply = load_reply(context);
			if (reply == NULL)
				return wrong + keys - i;
			if (reply->type != REDIS_REPLY_STRING || (uint64_t)reply->len != size ||
			    !value_is_filled(reply->str, size, content_of(i, rounds))) {
				if (wrong++ < 10)
					printf("FAILED: key %" PRIu64 " is wrong or missing\n", i);
			}
			freeReplyObject(reply);
		}
	}
	return wrong;
}

/* Seconds until the bound held, negative if it never did. */
static double
wait_for_space(const char *directory, uint64_t live, uint64_t *ret_first, uint64_t *ret_peak,
	       uint64_t *ret_last)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	uint64_t start = load_now_us(), bytes = directory_disk_bytes(directory);

	*ret_first = *ret_peak = bytes;
	while ((double)bytes >= BOUND * (double)live) {
		if (load_now_us() - start > seconds * 1000000) {
			*ret_last = bytes;
			return -1;
		}
		nanosleep(&pause, NULL);
		bytes = directory_disk_bytes(directory);
		if (bytes > *ret_peak)
			*ret_peak = bytes;
	}
	*ret_last = bytes;
	return (double)(load_now_us() - start) / 1e6;
}

static bool
run(struct server_process *server)
{
	redisContext *context = load_connect(server_process_port(server));
	uint64_t live = keys * (size + KEY_SIZE), first, peak, last, start = load_now_us(), wrong;
	const double mb = 1e6;
	double waited;

	if (context == NULL || !write_all(context))
		return false;
	printf("value_log: %" PRIu64 " keys of %" PRIu64 " bytes, written %" PRIu64
	       " times: %.1f s, %.1f MB/s\n",
	       keys, size, rounds + 1, (double)(load_now_us() - start) / 1e6,
	       (double)(live * (rounds + 1)) / (double)(load_now_us() - start));
	waited = wait_for_space(server_process_directory(server), live, &first, &peak, &last);
	printf("value_log: live %.1f MB; directory %.1f MB at the last write, then at most %.1f MB; "
	       "%.1f MB = %.2f x live %s %.1f s\n",
	       (double)live / mb, (double)first / mb, (double)peak / mb, (double)last / mb,
	       (double)last / (double)live, waited < 0 ? "still after" : "after",
	       waited < 0 ? (double)seconds : waited);
	wrong = verify_all(context);
	printf("value_log: INFO: value log live %lld, total %lld, moved %lld bytes in %lld files; "
	       "%" PRIu64 " of %" PRIu64 " values wrong\n",
	       load_info(context, "value_log_live_bytes"), load_info(context, "value_log_total_bytes"),
	       load_info(context, "value_log_moved_bytes"), load_info(context, "value_log_files"), wrong,
	       keys);
	bool has_info = load_info(context, "value_log_live_bytes") > 0 &&
		load_info(context, "value_log_total_bytes") > 0;
	if (!has_info)
		printf("FAILED: INFO says nothing of the value log\n");
	redisFree(context);
	return waited >= 0 && wrong == 0 && has_info;
}

int
main(int argc, char **argv)
{
	const char *path;
	const struct load_option table[] = {{"keys", &keys, NULL},
					    {"rounds", &rounds, NULL},
					    {"size", &size, NULL},
					    {"seconds", &seconds, NULL},
					    {"maxmemory", &memory, NULL},
					    {"seed", &seed, NULL},
					    {0}};
	char memory_text[32];

	if (!load_options(argc, argv, table, &path) || keys == 0 || keys > 100000000)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(memory_text, sizeof(memory_text), "%" PRIu64, memory);
	const char *arguments[] = {"--appendfsync", "everysec", "--maxmemory", memory_text, NULL};
	struct server_process *server = server_process_start(path, NULL, arguments);
	if (server == NULL)
		return 1;
	return load_finish(server, run(server));
}
