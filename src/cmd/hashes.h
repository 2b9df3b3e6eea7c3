/* What the files of commands on hashes and sets share. */
#ifndef SETT_CMD_HASHES_H
#define SETT_CMD_HASHES_H

#include "cmd/lookup.h"
#include "cmd/scan.h"
#include "types/hash.h"
#include "types/member_draw.h"
#include "types/set_result.h"

/* From the configuration. */
struct hash_limits hash_limits_of(const struct command_context *);

/* If the key holds another type: OUTCOME_FAILED, with the error reply. */
int open_hash(struct command_context *, struct bytes name, struct open_hash *ret);
int open_set(struct command_context *, struct bytes name, struct open_hash *ret);

/* The same to change one of this type, in rows of the command table that are marked `holds`: `ret` is what earlier requests of the
 * batch have changed, or `room`. It is saved with save_changed alone. */
int open_to_change(struct command_context *, struct bytes name, enum value_type, struct open_hash *room,
		   struct open_hash **ret);
int save_changed(const struct command_context *, struct open_hash *);
/* Whether the transaction may hold what the command has changed. */
static inline bool
may_hold(const struct command_context *c)
{
	return c->in_batch && !c->in_multi;
}

/* HDEL and SREM: removes the fields that are named from argument 2 on, saves, replies how many there were, and tells of
 * them (tell). */
int remove_named(struct command_context *, struct open_hash *, enum event_class, const char *event);

/* A walk over more fields takes long. */
enum { HASH_LONG_WALK = 1000 };
bool hash_is_long(const struct hash *);
/* To the long lane for a walk over all of it, if that takes long. */
int enter_lane_for_hash(struct command_context *, const struct hash *);
/* Counts the fields that are there, which takes a walk if some are past their deadlines. */
int count_live_fields(struct command_context *, struct open_hash *, uint64_t *ret);

/* Parts of a field that a reply has. */
enum { HASH_NAMES = 1, HASH_VALUES = 2, HASH_SCORE_TEXTS = 4 /* a sorted set's values, as bulks */ };
/* Appends these parts of all `count` fields of a spread hash, which the transaction has not changed, as a source: they
 * are read while the reply is sent. The caller has appended the header. SETT_NO_MEMORY; SETT_TOO_LARGE: too many
 * snapshots are kept, and nothing was appended. */
int reply_hash_source(struct command_context *, struct open_hash *, unsigned parts, uint64_t count);
/* The same of the `count` members of a result; the transaction has changed none of the sets. */
int reply_result_source(struct command_context *, enum set_operation, struct hash *const *sets,
			size_t set_count, unsigned parts, uint64_t count);

/* Appends these parts of all fields, as a map, a set or an array. */
int reply_whole_hash(struct command_context *, struct open_hash *, unsigned parts);
int reply_parts(struct command_context *, struct hash *, const struct hash_field *, unsigned parts);
/* HSCAN, SSCAN, ZSCAN. */
int scan_hash(struct command_context *, struct open_hash *, uint64_t cursor, enum scan_kind);

/* Draws of fields, each of those that are there with the same chance: by their names alone, if that will do and is cheaper, else by
 * a walk; where most are past their deadlines, by walking to one. `live` are there, not 0. With `is_whole` all of a field is
 * read, else its name. Between draws, fields that were drawn may be removed. */
struct field_draws {
	struct command_context *c;
	struct hash *hash;
	uint64_t live;
	bool is_whole;
	bool by_name;
	struct member_draw names; /* by_name */
	struct hash_walk walk;    /* else */
};
int begin_draws(struct command_context *, struct hash *, uint64_t live, bool is_whole,
		struct field_draws *ret);
/* `ret` until the next one. */
int next_draw(struct field_draws *, struct hash_field *ret);
/* The field that was drawn last has been removed. */
int draw_taken(struct field_draws *);
void end_draws(struct field_draws *);
/* The reply of HRANDFIELD and SRANDMEMBER, without a count and with one: negative, the same field may come again. */
int reply_random_field(struct command_context *, struct open_hash *);
int reply_random_fields(struct command_context *, struct open_hash *, int64_t count, bool with_values);
/* Their count. False: the error reply is given. */
bool parse_random_count(struct command_context *, struct bytes argument, int64_t *ret);
/* All arguments of HRANDFIELD and ZRANDMEMBER after the key; `word` is the option. False: the error reply is given. */
bool parse_random_arguments(struct command_context *, const char *word, int64_t *ret_count,
			    bool *ret_with_values);
/* Appends a value as a bulk; a sorted set's score as a number. */
int reply_field_value(struct command_context *, struct hash *, const struct hash_field *);

#endif
