/* Commands on one set, and SMOVE. */
#include "cmd/sets.h"

#include "cmd/commands.h"
#include "config/config.h"
#include "txn/propagation.h"
#include "types/limits.h"

struct set_limits
set_limits_of(const struct command_context *c)
{
	return limits_of_sets(c->server->config);
}

int
open_set(struct command_context *c, struct bytes name, struct open_hash *ret)
{
	struct set_limits limits = set_limits_of(c);
	int status = open_typed(c, name, VALUE_SET, &ret->key);
	return status == SETT_OK ? set_open(&ret->key, &limits, &ret->hash) : status;
}

/* ---- writing ---- */

int
command_sadd(struct command_context *c)
{
	struct open_hash room, *set;
	int64_t added = 0;
	int status = open_to_change(c, c->argv[1], VALUE_SET, &room, &set);
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++) {
		bool existed;
		status = set_add(&set->hash, c->argv[i], &existed);
		added += status == SETT_OK && !existed;
	}
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, added);
	status = save_changed(c, set);
	return added > 0 ? tell(status, &set->key, EVENT_SET, "sadd") : status;
}

int
command_srem(struct command_context *c)
{
	struct open_hash room, *set;
	int status = open_to_change(c, c->argv[1], VALUE_SET, &room, &set);
	return status == SETT_OK ? remove_named(c, set, EVENT_SET, "srem") : status;
}

static int
move_member(struct command_context *c, struct open_hash *from, struct open_hash *to, struct bytes member)
{
	struct hash_field found;
	bool existed;
	int status = hash_find(&from->hash, member, &found);
	resp_integer(c->reply, status == SETT_OK);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	status = hash_remove(&from->hash, &found);
	if (status == SETT_OK)
		status = hash_save(&from->hash);
	status = tell(status, &from->key, EVENT_SET, "srem");
	if (status == SETT_OK)
		status = set_add(&to->hash, member, &existed);
	if (status != SETT_OK)
		return status;
	status = hash_save(&to->hash);
	return existed ? status : tell(status, &to->key, EVENT_SET, "sadd");
}

int
command_smove(struct command_context *c)
{
	struct open_hash from, to;
	bool is_there;
	int status = open_set(c, c->argv[1], &from);
	if (status != SETT_OK)
		return status;
	/* As in Redis, nobody looks at the target if there is no source. */
	if (!from.key.exists) {
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	if (!bytes_equal(c->argv[1], c->argv[2])) {
		status = open_set(c, c->argv[2], &to);
		return status == SETT_OK ? move_member(c, &from, &to, c->argv[3]) : status;
	}
	status = hash_has(&from.hash, c->argv[3], &is_there);
	resp_integer(c->reply, is_there);
	return status;
}

/* ---- reading ---- */

int
command_scard(struct command_context *c)
{
	struct open_hash set;
	int status = open_set(c, c->argv[1], &set);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)set.hash.count);
	return status;
}

static int
reply_is_member(struct command_context *c, struct open_hash *set, struct bytes member)
{
	bool is_there;
	int status = hash_has(&set->hash, member, &is_there);
	resp_integer(c->reply, is_there);
	return status;
}

int
command_sismember(struct command_context *c)
{
	struct open_hash set;
	int status = open_set(c, c->argv[1], &set);
	return status == SETT_OK ? reply_is_member(c, &set, c->argv[2]) : status;
}

int
command_smismember(struct command_context *c)
{
	struct open_hash set;
	int status = open_set(c, c->argv[1], &set);
	if (status == SETT_OK)
		resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++)
		status = reply_is_member(c, &set, c->argv[i]);
	return status;
}

int
command_smembers(struct command_context *c)
{
	struct open_hash set;
	int status = open_set(c, c->argv[1], &set);
	return status == SETT_OK ? reply_whole_hash(c, &set, HASH_NAMES) : status;
}

int
command_sscan(struct command_context *c)
{
	struct open_hash set;
	uint64_t cursor;
	if (!scan_parse_cursor(c, c->argv[2], &cursor))
		return OUTCOME_FAILED;
	int status = open_set(c, c->argv[1], &set);
	return status == SETT_OK ? scan_hash(c, &set, cursor, SCAN_SET) : status;
}

/* ---- random members ---- */

int
command_srandmember(struct command_context *c)
{
	struct open_hash set;
	int64_t count;
	if (c->argc > 3)
		return context_syntax_error(c);
	if (c->argc == 3 && !parse_random_count(c, c->argv[2], &count))
		return OUTCOME_FAILED;
	int status = open_set(c, c->argv[1], &set);
	if (status != SETT_OK)
		return status;
	return c->argc == 3 ? reply_random_fields(c, &set, count, false) : reply_random_field(c, &set);
}

/* What SPOP takes, for replicas: so many at once as Redis tells of. */
enum { PROPAGATED_MEMBERS = 1024 };

static int
propagate_taken(struct command_context *c, struct propagated *taken)
{
	int status = taken->count > 1 ? propagate_as(c, "SREM", taken->arguments, taken->count) : SETT_OK;
	*taken = (struct propagated){0};
	return status;
}

static int
note_taken(struct command_context *c, const struct open_hash *set, struct propagated *taken,
	   struct bytes member)
{
	int status = SETT_OK;
	if (!is_propagated(c))
		return SETT_OK;
	if (taken->count == PROPAGATED_MEMBERS + 1)
		status = propagate_taken(c, taken);
	if (status == SETT_OK && taken->count == 0)
		status = propagated_add(c, taken, set->key.name);
	return status == SETT_OK ? propagated_add(c, taken, member) : status;
}

/* Takes a member that is drawn, and appends it to the reply. */
static int
pop_drawn(struct command_context *c, struct open_hash *set, struct field_draws *draws,
	  struct propagated *taken)
{
	struct hash_field member;
	struct sett_read_mark reads = hash_read_mark(&set->hash);
	draws->live = set->hash.count;
	int status = next_draw(draws, &member);
	if (status == SETT_OK)
		status = reply_parts(c, &set->hash, &member, HASH_NAMES);
	if (status == SETT_OK)
		status = note_taken(c, set, taken, member.name);
	if (status == SETT_OK)
		status = hash_remove(&set->hash, &member);
	if (status == SETT_OK)
		status = draw_taken(draws);
	hash_forget_reads(&set->hash, &reads);
	return status;
}

static int
pop_one(struct command_context *c, struct open_hash *set)
{
	struct field_draws draws;
	struct propagated taken = {0};
	if (set->hash.count == 0) {
		resp_null(c->reply);
		return SETT_OK;
	}
	int status = begin_draws(c, &set->hash, set->hash.count, true, &draws);
	if (status != SETT_OK)
		return status;
	status = pop_drawn(c, set, &draws, &taken);
	end_draws(&draws);
	if (status == SETT_OK)
		status = save_changed(c, set);
	if (status == SETT_OK)
		status = propagate_taken(c, &taken);
	return tell(status, &set->key, EVENT_SET, "spop");
}

/* Walks over the set and takes `count` of its members, each choice of so many with the same chance (Knuth's algorithm
 * S). */
static int
pop_selection(struct command_context *c, struct open_hash *set, uint64_t count, struct propagated *taken)
{
	struct hash_walk walk;
	struct hash_field member;
	int status = hash_walk(&set->hash, &walk);
	if (status != SETT_OK)
		return status;
	for (uint64_t left = set->hash.count; count > 0 && status == SETT_OK; left--) {
		status = hash_walk_next(&walk, &member);
		if (status != SETT_OK || keyspace_random(c->server->keyspace) % left >= count)
			continue;
		count--;
		status = reply_parts(c, &set->hash, &member, HASH_NAMES);
		if (status == SETT_OK)
			status = note_taken(c, set, taken, member.name);
		if (status == SETT_OK)
			status = hash_walk_remove(&walk, &member);
	}
	hash_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static int
pop_drawn_ones(struct command_context *c, struct open_hash *set, uint64_t count, struct propagated *taken)
{
	struct field_draws draws;
	int status = begin_draws(c, &set->hash, set->hash.count, true, &draws);
	if (status != SETT_OK)
		return status;
	for (; count > 0 && status == SETT_OK; count--)
		status = pop_drawn(c, set, &draws, taken);
	end_draws(&draws);
	return status;
}

static int
pop_some(struct command_context *c, struct open_hash *set, uint64_t count)
{
	uint64_t there = set->hash.count;
	struct propagated taken = {0};
	if (count == 0 || there == 0) {
		resp_set(c->reply, 0);
		return SETT_OK;
	}
	if (count >= there) {
		int status = reply_whole_hash(c, set, HASH_NAMES);
		if (status == SETT_OK)
			status = key_delete(&set->key);
		if (status == SETT_OK)
			status = propagate(c, "DEL", set->key.name);
		return tell(status, &set->key, EVENT_SET, "spop");
	}
	int status = count > HASH_LONG_WALK ? enter_lane_for_hash(c, &set->hash) : SETT_OK;
	if (status != SETT_OK)
		return status;
	resp_set(c->reply, count);
	if (set->hash.object == 0 || count >= there / 3) {
		status = enter_lane_for_hash(c, &set->hash);
		if (status == SETT_OK)
			status = pop_selection(c, set, count, &taken);
	} else {
		status = pop_drawn_ones(c, set, count, &taken);
	}
	if (status == SETT_OK)
		status = hash_save(&set->hash);
	if (status == SETT_OK)
		status = propagate_taken(c, &taken);
	return tell(status, &set->key, EVENT_SET, "spop");
}

int
command_spop(struct command_context *c)
{
	struct open_hash room, *set = &room;
	int64_t count;
	if (c->argc > 3)
		return context_syntax_error(c);
	if (c->argc == 3 &&
	    !context_integer_range(c, c->argv[2], 0, INT64_MAX, "ERR value is out of range, must be positive",
				   &count))
		return OUTCOME_FAILED;
	int status = c->argc == 3 ? open_set(c, c->argv[1], set)
				  : open_to_change(c, c->argv[1], VALUE_SET, &room, &set);
	if (status != SETT_OK)
		return status;
	return c->argc == 3 ? pop_some(c, set, (uint64_t)count) : pop_one(c, set);
}
