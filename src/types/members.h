/* Members of a spread collection: the layout that hashes and sets share. Each member is an engine entry of its
 * own, ordered by a 32-bit hash of its name, so that a walk goes on from a number (HSCAN's cursor) and a random
 * member can be drawn. A member may have a value and a deadline; an index finds those whose deadlines come
 * first.
 *
 * What is removed stays in the engine for a while, and whoever walks over a range meets it. So that a collection from
 * which most was removed is still walked and drawn from at the cost of what it has, its members are moved to a new
 * *generation* of keys, a few with each removal, by ascending hash: the removed ones stay behind.
 *
 *     prefix 00 hash:u32be stored          head: [flags [deadline] [name size]]   body: [name] value
 *     prefix 02 generation:u32be hash:u32be stored        the same of a generation from 1 on
 *     prefix 01 deadline:u64be stored      both empty; one for each member with a deadline
 *
 *     prefix  keyspace_element_prefix
 *     stored  the name; of one longer than MEMBER_STORED_MAX its beginning and 128 bits of hash, the whole name
 *             then begins the body
 *     hash    the high half of the 64-bit XXH3 of `stored` under keyspace_member_seed
 *     head    empty, or flags:u8 of 1 (deadline:u64le follows) and 2 (the name's size follows, a varint)
 *
 * All functions return statuses of the engine: SETT_OK, SETT_NOT_FOUND where said, SETT_WOULD_BLOCK,
 * SETT_CORRUPT, SETT_NO_MEMORY, ... Conflicts are the root's: the caller has opened the key. */
#ifndef SETT_TYPES_MEMBERS_H
#define SETT_TYPES_MEMBERS_H

#include "keyspace/keyspace.h"

enum { MEMBER_STORED_MAX = KEYSPACE_MAX_KEY_SIZE };

struct members {
	struct keyspace_view *view;
	uint64_t seed;
	uint8_t prefix[ELEMENT_PREFIX_SIZE];
	/* The root's owner keeps these two. */
	uint32_t generation;
	uint32_t moved; /* members whose hash is below are in the next generation; 0: none is being made */
};
/* Of the first generation, with none being made. */
void members_init(struct members *, struct keyspace_view *, uint64_t epoch, uint64_t object);

/* A member as read. Slices live until the transaction ends; those that a walk gave, until it moves. */
struct member {
	struct bytes stored;
	uint32_t hash;
	uint64_t deadline;  /* ms since 1970, 0 = none */
	uint64_t name_size; /* not 0: the body begins with the name */
	struct sett_record record;
};

/* SETT_NOT_FOUND. SETT_INVALID: another long name has the same beginning and hash. */
int members_find(const struct members *, struct bytes name, struct member *ret);
/* The same by a member's `stored`. */
int members_find_stored(const struct members *, struct bytes stored, struct member *ret);
int members_name(const struct members *, const struct member *, struct bytes *ret);
int members_value(const struct members *, const struct member *, struct bytes *ret);
static inline uint64_t
member_value_size(const struct member *m)
{
	return m->record.body_size - m->name_size;
}
/* What stands for a name in keys (`stored`): itself, or in `room` if it is long. */
struct bytes members_stored(struct bytes name, uint8_t room[MEMBER_STORED_MAX + NAME_HASH_SIZE]);
/* About the bytes that a member takes. */
uint64_t member_size(struct bytes name, uint64_t value_size);

/* `old` is the member as it was found, NULL if it is new. */
int members_put(const struct members *, struct bytes name, struct bytes value, uint64_t deadline,
		const struct member *old);
/* Leaves the value where it is. */
int members_set_deadline(const struct members *, const struct member *, uint64_t deadline);
int members_remove(const struct members *, const struct member *);
/* The same of one without a deadline that is there, unread. */
int members_remove_stored(const struct members *, struct bytes stored);
/* Moves `most` members, or a few more, to the next generation; with the last of them the generation is made.
 * No walk over these members is open. */
int members_renew(struct members *, uint64_t most);
/* Gives the object `to`, which has no members, those of `from`. Values are not read. */
int members_copy(const struct members *from, const struct members *to);

/* ---- walking, by hash ---- */
struct member_walk {
	const struct members *members;
	struct sett_iterator *iterator;
	uint32_t start; /* of the walk, while it has not begun */
	bool begun;
	uint32_t generation; /* in which it is */
};
/* From the first member whose hash is not below `start`. Close it, or leave that to the transaction's end. */
int members_walk(const struct members *, uint32_t start, struct member_walk *ret);
/* Goes on after the member that this is of, as another walk gave it; SETT_CORRUPT if it is not there. */
int member_walk_resume(struct member_walk *, uint32_t hash, struct bytes stored);
/* The first member whose hash is not below `hash`. SETT_NOT_FOUND. */
int member_walk_seek(struct member_walk *, uint32_t hash, struct member *ret);
/* SETT_NOT_FOUND at the end. */
int member_walk_next(struct member_walk *, struct member *ret);
/* A member drawn at random, each with the same probability; `count` is how many there are. It moves the walk.
 * SETT_NOT_FOUND: none was hit in as many tries as are reasonable. */
int member_walk_draw(struct member_walk *, uint64_t count, struct member *ret);
void member_walk_close(struct member_walk *);

/* ---- deadlines ---- */
/* The earliest. SETT_NOT_FOUND if no member has one. */
int members_first_deadline(const struct members *, uint64_t *ret);
/* Up to `most` members whose deadlines are before `now_ms`, by `stored`, in an array in the view's arena. */
int members_due(const struct members *, uint64_t now_ms, size_t most, struct bytes **ret, size_t *ret_count);

#endif
