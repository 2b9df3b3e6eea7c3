/* Sorted sets: members with scores, in the order of (score, member).
 *
 * The members are a hash (hash.h) whose values are the scores, without deadlines. While it is packed, its few members
 * lie in their order; should they not, they are sorted when it is asked for. A spread one has their order in a ranked tree (ranked.h) beside them;
 * its top follows the hash's numbers in the root's fields.
 *
 *     value of a member     score:u64be
 *     key in the tree       score:u64be stored
 *
 *     score    the bits of the double, those of a negative one inverted, else the first one set: so the order of the
 *              bytes is that of the numbers. Never NaN; -0 is 0.
 *     stored   as in members.h; members of equal score that are longer than MEMBER_STORED_MAX and begin alike are in the
 *              order of their hashes
 *
 *     struct zset z;
 *     zset_open(&key, &limits, &hash, &z);
 *     zset_find(&z, name, &member);
 *     zset_put(&z, name, 2.5, NULL);
 *     zset_save(&z);
 *
 * Changes are seen at once. Functions return statuses of the engine, as members.h says. */
#ifndef SETT_TYPES_ZSET_H
#define SETT_TYPES_ZSET_H

#include "types/hash.h"
#include "types/ranked.h"

enum { SCORE_SIZE = 8 };

/* What OBJECT ENCODING says, by Redis' rules. In files. */
enum zset_encoding { ZSET_LISTPACK = HASH_LISTPACK, ZSET_SKIPLIST = HASH_HASHTABLE };

/* Limits are those of a hash: more entries, or a longer member, make a skiplist. */
struct zset {
	struct hash *hash;
	bool has_tree; /* spread: the tree is loaded */
	struct ranked tree;
	struct zset_element *
		elements; /* packed: in order, in the view's arena, once they are needed; NULL after a change */
	uint8_t saved[RANKED_SAVED_MAX];
};

/* Of a walk, or a packed set's order. */
struct zset_element {
	struct bytes name;
	double score;
};

/* A member as found; for changes, with none since. */
struct zset_member {
	struct hash_field field;
	double score;
};

/* The key has been opened; it is absent or holds a sorted set. `hash` is memory for the handle. SETT_CORRUPT. */
int zset_open(struct key *, const struct hash_limits *, struct hash *, struct zset *ret);
/* An empty one, which takes the place of whatever the key holds when it is saved. */
void zset_replace(struct key *, const struct hash_limits *, struct hash *, struct zset *ret);
static inline uint64_t
zset_count(const struct zset *z)
{
	return z->hash->count;
}
/* SETT_NOT_FOUND. */
int zset_find(struct zset *, struct bytes name, struct zset_member *ret);
/* The score of a field of the hash. */
int zset_score(struct hash *, const struct hash_field *, double *ret);
/* Adds a member or gives it another score; `old` is the member as found, or NULL. `name` is no slice of the set. */
int zset_put(struct zset *, struct bytes name, double score, struct zset_member *old);
int zset_remove(struct zset *, const struct zset_member *);
int zset_save(struct zset *);
/* As hash_save_or_hold. */
int zset_save_or_hold(struct zset *);
/* The handle of the set that is held under this key, or NULL. It may be changed, and read. */
struct zset *zset_held(struct keyspace_view *, unsigned db, struct bytes name);

/* ---- order ---- */

/* How many members come before this one. */
int zset_rank(struct zset *, const struct zset_member *, uint64_t *ret);
/* How many have a lower score; with `after`: this one or a lower one. */
int zset_rank_of_score(struct zset *, double score, bool after, uint64_t *ret);
/* The lowest rank from `from` on whose member does not come before this name; with `after`: comes after it. If scores are not
 * all equal, the names are taken to be in the order of the scores. */
int zset_rank_of_name(struct zset *, uint64_t from, struct bytes name, bool after, uint64_t *ret);
/* Removes members from the rank `start` on. Nothing was changed through the handle before. */
int zset_remove_ranks(struct zset *, uint64_t start, uint64_t count);

/* Elements one after the other, from a rank on, upwards or downwards. The set must not be changed meanwhile. One at a
 * time, and none of the functions above in between. */
struct zset_walk {
	struct zset *zset;
	bool backwards, has_begun;
	uint64_t at; /* the rank it begins at; packed: of the next */
	struct ranked_cursor cursor;
};
void zset_walk(struct zset *, uint64_t rank, bool backwards, struct zset_walk *ret);
/* A spread set's, after the element with this key in the tree, as zset_walk_key gave it, of the same snapshot. */
int zset_walk_resume(struct zset_walk *, struct bytes key);
/* The next element, valid until the next call; SETT_NOT_FOUND at the end. */
int zset_walk_next(struct zset_walk *, struct zset_element *ret);
struct bytes zset_walk_key(const struct zset_walk *);
void zset_walk_close(struct zset_walk *);

/* A spread set for walks alone, in a transaction that has not opened its key: by what its key said, and the top of its
 * tree (`hash.tail`). `key` and `hash` are memory for the handle. SETT_CORRUPT. */
int zset_of_object(struct keyspace_view *, uint64_t epoch, uint64_t object, struct bytes top, struct key *key,
		   struct hash *hash, struct zset *ret);

/* ---- for the table of types ---- */
const char *zset_encoding_name(const struct root *);
int zset_copy(const struct key *from, struct key *to);

#endif
