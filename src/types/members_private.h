/* What the files of members share: keys and heads of their entries. The layout is in members.h. */
#ifndef SETT_TYPES_MEMBERS_PRIVATE_H
#define SETT_TYPES_MEMBERS_PRIVATE_H

#include "storage/base/varint.h"
#include "types/members.h"

enum {
	KIND_MEMBER = 0,
	KIND_DEADLINE = 1,
	KIND_RENEWED = 2,
	FLAG_DEADLINE = 1,
	FLAG_NAME_IN_BODY = 2,
	STORED_MAX = MEMBER_STORED_MAX + NAME_HASH_SIZE,
	KIND_SIZE = ELEMENT_PREFIX_SIZE + 1,
	GENERATION_SIZE = 4,
	HASH_SIZE = 4,
	MEMBER_START = KIND_SIZE + HASH_SIZE,           /* of the first generation */
	RENEWED_START = MEMBER_START + GENERATION_SIZE, /* of others */
	DEADLINE_START = KIND_SIZE + 8,
	KEY_MAX = RENEWED_START + STORED_MAX,
	HEAD_MAX = 1 + 8 + VARINT_MAX_SIZE,
	/* What an entry takes beside its name and value: key, head, the engine's own. */
	MEMBER_OVERHEAD = MEMBER_START + 16,
};

/* An engine key under construction; only the first `size` bytes are set. */
struct element_key {
	size_t size;
	uint8_t bytes[KEY_MAX];
};

static inline struct bytes
element_key_bytes(const struct element_key *k)
{
	return bytes_of(k->bytes, k->size);
}

/* The generation of members with this hash. */
static inline uint32_t
members_generation_of(const struct members *m, uint32_t hash)
{
	return m->generation + (hash < m->moved);
}

/* Where `stored` begins in keys of members. */
static inline size_t
member_start(uint32_t generation)
{
	return generation == 0 ? MEMBER_START : RENEWED_START;
}

/* Writes what the keys of a generation begin with, RENEWED_START bytes at most; returns its size. */
size_t members_begin_generation(const struct members *, uint32_t generation, uint8_t *ret);
/* The key of a member in this generation; in that of its hash. */
void member_key_in(const struct members *, uint32_t generation, uint32_t hash, struct bytes stored,
		   struct element_key *ret);
void member_key(const struct members *, uint32_t hash, struct bytes stored, struct element_key *ret);
uint32_t members_hash(const struct members *, struct bytes stored);
/* Range of hashes to draw from, chosen at random, and the number of places in it: see member_walk.c. */
enum { DRAWS_MAX = 512 };
enum draw_width { DRAW_NARROW, DRAW_WIDE };
struct draw_range {
	uint64_t begin, end; /* hashes */
	uint64_t places;
	bool is_all; /* there is but one range */
};
void draw_range(struct keyspace *, uint64_t count, enum draw_width, struct draw_range *ret);
/* The range that has this hash; there are several. */
void draw_range_of(uint32_t hash, uint64_t count, enum draw_width, struct draw_range *ret);
/* The places of a range of those for `count` members, while there are at most so many. */
uint64_t draw_places(uint64_t count, enum draw_width, uint64_t most);
/* Whether so many members have more than one. */
bool members_have_ranges(uint64_t count, enum draw_width);
/* A walk over what was there before the transaction's own writes. */
int members_walk_committed(const struct members *, struct member_walk *ret);
/* Reads the head of `record`. SETT_CORRUPT. */
int member_decode_head(struct member *);

#endif
