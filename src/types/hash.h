/* Hashes: fields with values, and perhaps deadlines of their own. Sets (set.h) are stored the same way.
 *
 * A small hash is packed into the body of its root (packed.h). One whose body would be larger than
 * `packed_size` is spread (members.h), and stays so. The root's fields are varints: the number of fields, and of those
 * with a deadline; then, unless all three are 0, the removals since the generation of its members was begun, that
 * generation, and below which hash they are in the next one.
 *
 *     struct hash h;
 *     hash_open(&key, &limits, &h);
 *     hash_put(&h, name, value, 0, NULL);
 *     hash_save(&h);
 *
 * A field past its deadline reads as absent, though it is stored, and counted, until it is deleted. Changes
 * are seen at once through the same struct hash; the root is written by hash_save, which deletes the key when
 * no field is left. Of one key there may be only one struct hash that is changed and not yet saved.
 *
 * Functions return statuses of the engine, as members.h says. */
#ifndef SETT_TYPES_HASH_H
#define SETT_TYPES_HASH_H

#include "keyspace/key.h"
#include "types/members.h"
#include "types/packed.h"

struct digest;
struct member_counts;

/* What OBJECT ENCODING says, by Redis' rules; how the hash is stored is another matter. In files. */
enum hash_encoding { HASH_LISTPACK = 1, HASH_HASHTABLE = 2 };

enum { HASH_TAIL_MAX = 128 };

struct hash_limits {
	size_t packed_size; /* a larger body is spread */
	/* More fields, or a longer name or value, make a hashtable; of a set: more members. */
	uint64_t listpack_entries;
	uint64_t listpack_value;
};

struct hash {
	struct key *key;
	enum value_type type; /* VALUE_HASH, VALUE_SET or VALUE_ZSET */
	struct hash_limits limits;
	uint64_t count;         /* fields that are stored */
	uint64_t with_deadline; /* of them */
	uint64_t due_at;        /* the earliest of their deadlines, 0 = none */
	bool some_due;          /* at hash_open the earliest deadline had passed */
	bool due_unknown;       /* that one is gone: hash_save finds the next */
	bool changed;           /* the root has to be written */
	bool touched;           /* only elements were changed */
	bool replaces;          /* the key's old content goes with hash_save */
	uint64_t *
		changes; /* of a held one (hash_save_or_hold): one more for each change, before it is made; else NULL */
	bool owes_root; /* held: what was changed is not in the root yet */
	uint8_t encoding;
	struct bytes tail;     /* of a VALUE_ZSET: what follows in the root's fields (zset.h) */
	uint64_t object;       /* 0: packed */
	uint64_t object_bytes; /* about what the elements take */
	struct members members;
	uint64_t dead;     /* removals since its generation was begun */
	uint64_t removed;  /* since hash_open */
	struct bytes body; /* packed: once it is read */
	bool is_body_read;
	uint8_t *own; /* packed: the body's memory once it is changed, in the view's arena */
	size_t own_capacity;
	size_t last_at; /* packed: offset of the last entry, 0: it is the first, or not known */
};

/* A key with the hash, set or sorted set that it holds; an absent key is an empty one. */
struct open_hash {
	struct key key;
	struct hash hash;
};

/* A field as read. Slices of it live until the hash is changed. */
struct hash_field {
	struct bytes name;
	uint64_t deadline; /* ms since 1970, 0 = none */
	uint64_t value_size;
	bool is_due; /* past its deadline */
	bool is_spread;
	struct packed_field packed;
	struct member member;
};

/* The key has been opened; it is absent or holds a hash. SETT_CORRUPT. */
int hash_open(struct key *, const struct hash_limits *, struct hash *ret);
/* The same for a key that may hold a VALUE_SET or VALUE_ZSET instead, with limits of those. */
int hash_open_as(struct key *, enum value_type, const struct hash_limits *, struct hash *ret);
/* An empty one, which takes the place of whatever the key holds, deadline included, when it is saved. */
void hash_replace(struct key *, enum value_type, const struct hash_limits *, struct hash *ret);
/* SETT_NOT_FOUND: there is none, or (with `ret->is_due`, and all of `ret` set) it is past its deadline. */
int hash_find(struct hash *, struct bytes name, struct hash_field *ret);
/* The same of a spread one without deadlines, by what is stored for the name (members.h). */
int hash_find_stored(struct hash *, struct bytes stored, struct hash_field *ret);
/* The same for who wants to know no more; nothing is kept of it. */
int hash_has(struct hash *, struct bytes name, bool *ret);
/* A caller that meets many fields is through with those it has read since `since`: their slices are void. What else of the
 * hash was read stays. */
struct sett_read_mark hash_read_mark(const struct hash *);
void hash_forget_reads(const struct hash *, const struct sett_read_mark *since);
/* Of a packed hash: its body (packed.h). */
int hash_body(struct hash *, struct bytes *ret);
int hash_value(struct hash *, const struct hash_field *, struct bytes *ret);
/* Adds a field or replaces its value and deadline (0 = none). `old`: the field as it was found, with no change of the hash
 * since, NULL if there is none. Where it is moved with the others to entries of their own, `old` follows. */
int hash_put_over(struct hash *, struct bytes name, struct bytes value, uint64_t deadline,
		  struct hash_field *old);
/* The same, whether it is there or not. `ret_existed` (may be NULL): it was there. */
int hash_put(struct hash *, struct bytes name, struct bytes value, uint64_t deadline, bool *ret_existed);
/* Adds a member without a value, if it is not there. */
int hash_add(struct hash *, struct bytes name, bool *ret_existed);
/* The same for one that is known not to be there. */
int hash_add_new(struct hash *, struct bytes name);
/* Both: the field as hash_find gave it, with no change of the hash since. */
int hash_set_deadline(struct hash *, const struct hash_field *, uint64_t deadline);
int hash_remove(struct hash *, const struct hash_field *);
/* Of a spread one without deadlines: a field that is known to be there, with a value of this size, is not read. Its name is
 * no longer than MEMBER_STORED_MAX. */
int hash_remove_member(struct hash *, struct bytes name, uint64_t value_size);
int hash_save(struct hash *);
/* The same within a batch: a spread one without deadlines goes on in memory (keyspace/held.h), for commands that find it by
 * hash_held. This handle is not used any more, unless it is the held one. */
int hash_save_or_hold(struct hash *);
/* What is held under this key, or NULL. It may be changed, and read. */
struct open_hash *hash_held(struct keyspace_view *, unsigned db, struct bytes name, enum value_type);
/* What draws of members' names ask for (member_draw.h). */
void hash_member_counts(const struct hash *, struct member_counts *ret);

/* ---- walking ----
 * The hash must not be changed meanwhile. */
struct hash_walk {
	struct hash *hash;
	size_t offset; /* packed */
	struct member_walk members;
};
int hash_walk(struct hash *, struct hash_walk *ret);
/* The same from a cursor on: a spread hash's fields whose hash is not below `start`. */
int hash_walk_from(struct hash *, uint32_t start, struct hash_walk *ret);
/* A spread hash for walks and finds alone, in another transaction of the same snapshot. `key` is memory for the handle. */
struct hash_origin {
	uint64_t epoch, object;
	uint32_t generation, moved;
};
void hash_origin(const struct hash *, struct hash_origin *ret);
void hash_of_object(struct keyspace_view *, const struct hash_origin *, struct key *key, struct hash *ret);
/* The same for the content of a packed hash, which lasts as long as the handle. */
void hash_of_body(struct keyspace_view *, struct bytes body, struct key *key, struct hash *ret);
/* Goes on after this field of a spread hash, as another walk gave it, of the same snapshot. */
int hash_walk_resume(struct hash_walk *, uint32_t hash, struct bytes stored);
/* The next field that is not past its deadline; SETT_NOT_FOUND at the end. Valid until the next call. */
int hash_walk_next(struct hash_walk *, struct hash_field *ret);
/* The same, one step only: a field past its deadline comes too (`is_due`). */
int hash_walk_step(struct hash_walk *, struct hash_field *ret);
/* Removes the field that the walk has just given; the walk goes on after it. Others must not be walking. */
int hash_walk_remove(struct hash_walk *, const struct hash_field *);
void hash_walk_close(struct hash_walk *);
/* One of the fields, each with the same probability. SETT_NOT_FOUND: no field was hit, because there is none,
 * or because most are past their deadlines. It moves the walk. */
int hash_walk_draw(struct hash_walk *, struct hash_field *ret);

/* ---- for the table of types ---- */
const char *hash_encoding_name(const struct root *);
int hash_copy(const struct key *from, struct key *to);
/* The same of a spread one with what else `more` writes of its object (keyspace/build.h). */
int hash_copy_with(const struct key *from, struct key *to,
		   int (*more)(const struct key *from, struct keyspace_view *elements, uint64_t epoch,
			       uint64_t object));
int hash_digest(struct key *, struct digest *);
/* Deletes up to `most` fields that are past their deadlines, of which there are some, and the key if none is
 * left. */
int hash_expire(struct key *, size_t most, size_t *ret_deleted, uint64_t *ret_due_at);

#endif
