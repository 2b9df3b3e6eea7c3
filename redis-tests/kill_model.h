/*
 * What a writer of the kill test has done to its keys, as a value that can be copied, advanced by one change,
 * and compared with what a server has.
 */
#ifndef SETT_REDIS_TESTS_KILL_MODEL_H
#define SETT_REDIS_TESTS_KILL_MODEL_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "values.h"

enum {
	KILL_STRINGS = 200,     /* of each writer: SET, APPEND, DEL */
	KILL_COUNTERS = 8,      /* of each writer: INCR */
	KILL_BLOCKS = 8,        /* of each writer: MULTI blocks of KILL_PARTS keys */
	KILL_SHARED_BLOCKS = 4, /* written by all */
	KILL_FIELDS = 64, /* of each of a writer's collections: MULTI blocks that set or remove one in all */
	KILL_PARTS = 3,
	KILL_CHUNKS_MAX = 6, /* in one string */
	KILL_PENDING_MAX = 16,
	KILL_VALUE_MAX = 5 << 19,
	KILL_KEY_MAX = 32,
};

/* What a writer's collections are. All have the same fields: as fields, members or elements. */
enum kill_collection {
	KILL_HASH,
	KILL_OTHER_HASH,
	KILL_ZSET,
	KILL_MEMBERS,
	KILL_LIST,
	KILL_STREAM,  /* an entry for each field, whose id is the version */
	KILL_PENDING, /* what is pending in the stream's group: the same entries */
	KILL_LAST_ID, /* that the stream has given, which is there as long as the stream */
	KILL_COLLECTIONS
};

enum kill_kind {
	KILL_SET,
	KILL_APPEND,
	KILL_DEL,
	KILL_INCR,
	KILL_BLOCK,
	KILL_FIELD_SET,
	KILL_FIELD_DEL,
	KILL_SHARED_INCR,
	KILL_SHARED_BLOCK
};

/* Versions count one writer's changes, from 1. */
struct kill_change {
	enum kill_kind kind;
	unsigned key;
	uint32_t size; /* of the chunk; of a block's largest part */
	uint64_t version;
	uint64_t old; /* of the field, before */
};

struct kill_string {
	uint32_t count; /* of chunks; 0: the key is absent */
	uint32_t sizes[KILL_CHUNKS_MAX];
	uint64_t versions[KILL_CHUNKS_MAX];
};

/* Shared keys are not part of it. */
struct kill_model {
	struct kill_string strings[KILL_STRINGS];
	uint64_t counters[KILL_COUNTERS];
	uint64_t blocks[KILL_BLOCKS]; /* versions; 0: absent */
	uint64_t fields[KILL_FIELDS]; /* likewise */
	uint64_t has_stream, last_id; /* it stays when it has no entry */
};

/* A random change that is possible in the given state. */
struct kill_change kill_change_draw(struct random *random, const struct kill_model *model, uint64_t version);
void kill_model_apply(struct kill_model *model, const struct kill_change *change);
bool kill_model_equal(const struct kill_model *left, const struct kill_model *right);
/* Says where they differ first. */
void kill_model_difference(const struct kill_model *expected, const struct kill_model *found, char *ret,
			   size_t size);
uint64_t kill_model_keys(const struct kill_model *model);

void kill_key(unsigned writer, enum kill_kind kind, unsigned key, unsigned part, char ret[KILL_KEY_MAX]);
/* Who a chunk is written for: different for every key. */
uint64_t kill_owner(unsigned writer, enum kill_kind kind, unsigned key, unsigned part);
size_t kill_part_size(uint32_t size, unsigned part);
/* The version that a chunk carries: with the writer in it where several write. */
uint64_t kill_version(unsigned writer, const struct kill_change *change);
unsigned kill_version_writer(uint64_t version);
uint64_t kill_version_number(uint64_t version);

/* False: not a row of whole chunks of that key. */
bool kill_string_read(unsigned writer, unsigned key, const char *data, size_t size, struct kill_string *ret);
/* Reads the reply of MGET; false: not whole, or parts of different versions. 0: all absent. */
bool kill_block_read(unsigned writer, enum kill_kind kind, unsigned key, const redisReply *reply,
		     uint64_t *ret_version);
/* Name and value of a field. */
enum { KILL_FIELD_MAX = 64 };
void kill_field(const struct kill_change *change, char ret_name[KILL_FIELD_MAX],
		char ret_value[KILL_FIELD_MAX]);
/* Reads all keys of a writer from the server. False: something is half there, or an error; `why` says it. */
bool kill_model_read(redisContext *context, unsigned writer, struct kill_model *ret, char *why,
		     size_t why_size);

#endif
