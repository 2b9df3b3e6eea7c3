/*
 * What a load consists of: which command, which keys, which values, and what the reply must be.
 *
 * Values are those of values.h, so a reply can be checked byte by byte.
 *
 * Threads: one at a time.
 */
#ifndef SETT_BENCH_WORKLOAD_H
#define SETT_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "values.h"

/* Most placeholders of one request. */
#define WORKLOAD_SEGMENTS_MAX 64

enum workload_reply {
	WORKLOAD_REPLY_OK,       /* +OK */
	WORKLOAD_REPLY_POSITIVE, /* an integer above 0 */
	WORKLOAD_REPLY_VALUE,    /* the value of the request's key */
	WORKLOAD_REPLY_NULL,     /* $-1 */
	WORKLOAD_REPLY_BINARY,   /* :0 or :1 */
	WORKLOAD_REPLY_NUMBER,   /* an integer, 0 too */
	WORKLOAD_REPLY_BULK,     /* any bulk string */
	WORKLOAD_REPLY_ELEMENTS, /* an array of bulk strings, not empty */
};

/* One row of the command table in workload.c. */
struct workload_command {
	const char *name;
	/* Words between single spaces. {key} and {value} stand for a key and its value, {number} for any number of 12
	 * digits, {low} for one of the lower half. What follows the word | is a command of its own: the two are one operation. */
	const char *text;
	const char *repeat; /* further words, `repeats` times; or NULL */
	unsigned repeats;
	const char *prefix; /* of every key */
	enum workload_reply reply;
	const char *load;           /* the row whose every key must have been written before */
	enum workload_reply second; /* of the command after |, if there is one */
};

enum workload_check {
	WORKLOAD_MORE,  /* the reply is not complete */
	WORKLOAD_RIGHT, /* as it must be */
	WORKLOAD_WRONG,
};

struct workload_settings {
	const struct workload_command *command;
	uint64_t keys;     /* how many different keys; 1 to 10^12 */
	size_t value_size; /* bytes, at least 1 */
	bool zipf;         /* else uniform */
	bool each_once;    /* every key once, in a scattered order, instead of random ones */
	uint64_t seed;
};

struct workload_segment {
	size_t start; /* literal bytes in text, which come first */
	size_t size;
	enum { WORKLOAD_KEY, WORKLOAD_VALUE, WORKLOAD_RANDOM, WORKLOAD_LOW, WORKLOAD_END } then;
};

struct workload {
	struct workload_settings settings;
	size_t request_max; /* bytes of one request */
	size_t reply_max;   /* bytes of one reply, when it is right */

	/* The workload's own. */
	uint64_t random;
	uint64_t stride; /* shares no factor with keys: rank * stride % keys visits every key */
	uint64_t next;   /* each_once */
	double zipf_alpha, zipf_zeta, zipf_eta, zipf_half;
	struct values values;
	char *text; /* owned: the literal parts of a request */
	size_t text_size, text_capacity;
	struct workload_segment segments[WORKLOAD_SEGMENTS_MAX];
	unsigned segment_count;
	char value_head[32]; /* "$100\r\n" */
	size_t value_head_size;
};

/* The row of that name, in any case of letters; NULL if there is none. */
const struct workload_command *workload_command_find(const char *name);
/* All rows, constant. */
const struct workload_command *workload_commands(unsigned *ret_count);

/* Returns 0, or -1 when out of memory or the settings are out of range. */
int workload_open(struct workload *workload, const struct workload_settings *settings);
void workload_close(struct workload *workload);

/* Writes one request of at most request_max bytes; returns its end. *ret_key: hand it to workload_check. */
uint8_t *workload_write(struct workload *workload, uint8_t *at, uint64_t *ret_key);
/* Looks at the reply that starts at data. *ret_used: its size, when it is right. */
enum workload_check workload_check(const struct workload *workload, uint64_t key, const uint8_t *data,
				   size_t size, size_t *ret_used);

#endif
