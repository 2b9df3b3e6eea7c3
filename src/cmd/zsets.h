/* What the files of sorted-set commands share. */
#ifndef SETT_CMD_ZSETS_H
#define SETT_CMD_ZSETS_H

#include "cmd/hashes.h"
#include "types/zset.h"

/* From the configuration. */
struct hash_limits zset_limits_of(const struct command_context *);

/* A key with the sorted set that it holds; an absent key is an empty one. The members are also a hash, for what is the
 * same for all hashes. */
struct open_zset {
	struct open_hash members;
	struct zset zset;
};
/* If the key holds another type: OUTCOME_FAILED, with the error reply. */
int open_zset(struct command_context *, struct bytes name, struct open_zset *ret);
/* The same to change it, in rows of the command table that are marked `holds`: `ret` is the set that earlier requests of the batch
 * have changed, or that of `room`; its key is zset_key. It is saved with save_changed_zset alone. */
int open_zset_to_change(struct command_context *, struct bytes name, struct open_zset *room,
			struct zset **ret);
int save_changed_zset(const struct command_context *, struct zset *);
static inline const struct key *
zset_key(const struct zset *z)
{
	return z->hash->key;
}
/* A key's new content, whatever it holds now: open_key, then an empty set. */
int open_new_zset(struct command_context *, struct bytes name, struct open_zset *ret);

/* As Redis reads a score: what strtod takes, without spaces before it; no NaN, nothing out of range. */
bool parse_score(struct bytes text, double *ret);
bool context_score(struct command_context *, struct bytes argument, const char *error, double *ret);

/* The header of a reply of elements, and one element: with scores in RESP3 each is an array of two. */
void reply_elements_header(struct command_context *, uint64_t count, bool with_scores);
void reply_element(struct command_context *, const struct zset_element *, bool with_scores);

/* What is walked over in one go by a thread that has others to serve. */
enum { ZSET_LONG_WALK = 1000 };

/* Some of a set's elements, one after the other: `count` from the rank `start` on (which is counted from the lowest), upwards or
 * downwards. */
struct zset_range {
	uint64_t start, count;
	bool backwards;
};
/* Replies them, header included: large ranges while the reply is sent. */
int reply_range(struct command_context *, struct open_zset *, const struct zset_range *, bool with_scores);
/* Appends them as a source. The transaction has not changed the set, which is spread. SETT_NO_MEMORY; SETT_TOO_LARGE:
 * too many snapshots are kept, and nothing was appended. */
int reply_zset_source(struct command_context *, const struct open_zset *, const struct zset_range *,
		      bool with_scores);

#endif
