/* What the load programs share: options, hiredis connections, time, and percentiles. */
#ifndef SETT_REDIS_TESTS_LOAD_H
#define SETT_REDIS_TESTS_LOAD_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An option `--name value` with its default; text is for words, number for the rest. */
struct load_option {
	const char *name;
	uint64_t *number;
	const char **text;
};

/*
 * Reads `PROGRAM SERVER {--name value}`; the table ends with an empty row. False after a message when
 * something is unknown.
 */
bool load_options(int argc, char **argv, const struct load_option *table, const char **ret_server);

/* A blocking connection whose every call waits at most a minute. NULL after a message. */
redisContext *load_connect(int port);
uint64_t load_now_us(void); /* monotonic */

/* Queues argc arguments; sizes NULL: all are text. False: out of memory. */
bool load_append(redisContext *context, int argc, const char **argv, const size_t *sizes);
/* Reads the next reply; NULL when the connection broke. */
redisReply *load_reply(redisContext *context);
/* True if the reply is "+OK"; frees it. */
bool load_expect_ok(redisReply *reply);
/* The value of an INFO field, -1 if it is not there. */
long long load_info(redisContext *context, const char *field);

struct server_process;

/* Stops the server with SIGTERM, which must end it cleanly (sanitizers speak through its exit code), and
 * frees it; its output is shown if that or the test failed. Returns the program's exit code. */
int load_finish(struct server_process *server, bool passed);

struct latencies {
	uint32_t *us;
	size_t count, capacity;
};
void latencies_add(struct latencies *latencies, uint64_t us);
void latencies_merge(struct latencies *into, struct latencies *from); /* empties `from` */
/* Sorts. per_mille 990: the p99. 0 if there are none. */
uint32_t latencies_at(struct latencies *latencies, unsigned per_mille);
void latencies_free(struct latencies *latencies);

#endif
