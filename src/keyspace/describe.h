/* What an engine key stands for (docs/format-keyspace.md): for tools, which have no server around them. Which
 * database an epoch belongs to stands in the entry of ENGINE_KEY_EPOCH, not in keys. */
#ifndef SETT_KEYSPACE_DESCRIBE_H
#define SETT_KEYSPACE_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/bytes.h"

enum engine_key_kind {
	ENGINE_KEY_OTHER,       /* none that a server writes */
	ENGINE_KEY_EPOCH,       /* db: its epoch is the entry's head */
	ENGINE_KEY_NEXT_EPOCH,  /* the next epoch that was never used */
	ENGINE_KEY_NEXT_OBJECT, /* the next object id that was never leased */
	ENGINE_KEY_MEMBER_SEED, /* the seed of members' hashes */
	ENGINE_KEY_KNOWN_FILES, /* what is known of Redis' files */
	ENGINE_KEY_POSITION,    /* the replication stream that the data stand in */
	ENGINE_KEY_STEM_COUNT,  /* stems of SCAN's cursors that were ever made */
	ENGINE_KEY_STEM,        /* generation, number: one of them, which is the entry's head */
	ENGINE_KEY_LIBRARIES,   /* how many libraries of functions there are */
	ENGINE_KEY_LIBRARY,     /* name: one of them, whose text is the body */
	ENGINE_KEY_ROOT,        /* epoch, name: a Redis key */
	ENGINE_KEY_ELEMENT,     /* epoch, object, name: of a spread collection; its bytes as they are */
};
struct engine_key {
	enum engine_key_kind kind;
	unsigned db;
	uint64_t epoch, object;
	uint32_t generation, number;
	struct bytes name;
	bool is_cut; /* a root whose name is too long for a key: `name` is its beginning */
};

/* Borrows the bytes. */
struct engine_key keyspace_describe_key(struct bytes engine_key);

#endif
