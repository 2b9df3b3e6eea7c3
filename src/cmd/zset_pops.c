/* ZPOPMIN, ZPOPMAX, ZMPOP, and those that wait; ZRANDMEMBER and ZSCAN, which treat a sorted set as the hash of its members. */
#include "cmd/blocking.h"
#include "cmd/commands.h"
#include "cmd/zsets.h"
#include "txn/propagation.h"

/* ---- popping ---- */

static int
reply_elements(struct command_context *c, struct zset *z, const struct zset_range *range, bool nested)
{
	struct zset_walk walk;
	struct zset_element element;
	int status = SETT_OK;
	zset_walk(z, range->start, range->backwards, &walk);
	for (uint64_t i = 0; i < range->count && status == SETT_OK; i++) {
		status = zset_walk_next(&walk, &element);
		if (status != SETT_OK)
			break;
		if (nested)
			resp_array(c->reply, 2);
		reply_bytes(c, element.name);
		resp_double(c->reply, element.score);
	}
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* Without a header of their own. */
static int
pop_elements(struct command_context *c, struct zset *z, uint64_t count, bool from_top, bool nested)
{
	uint64_t size = zset_count(z);
	struct zset_range range = {.start = from_top ? size - 1 : 0, .count = count, .backwards = from_top};
	int status = count > ZSET_LONG_WALK ? context_enter_long_lane(c) : SETT_OK;
	context_allow_builds(c);
	if (status == SETT_OK)
		status = reply_elements(c, z, &range, nested);
	if (status == SETT_OK)
		status = zset_remove_ranks(z, from_top ? size - count : 0, count);
	if (status == SETT_OK)
		status = save_changed_zset(c, z);
	return tell(status, zset_key(z), EVENT_ZSET, from_top ? "zpopmax" : "zpopmin");
}

/* Of those that take from the first of several keys, or wait; `count` is 0 for those that take one. */
static int
propagate_pop(struct command_context *c, int status, struct bytes key, bool from_top, uint64_t count)
{
	const char *name = from_top ? "ZPOPMAX" : "ZPOPMIN";
	if (status != SETT_OK)
		return status;
	return count == 0 ? propagate(c, name, key) : propagate(c, name, key, propagated_unsigned(c, count));
}

static int
pop(struct command_context *c, struct zset *z, uint64_t count, bool from_top, bool nested)
{
	resp_array(c->reply, nested ? count : 2 * count);
	return pop_elements(c, z, count, from_top, nested);
}

static int
pop_one_key(struct command_context *c, bool from_top)
{
	struct open_zset room;
	struct zset *z;
	int64_t count = 1;
	if (c->argc > 3)
		return context_syntax_error(c);
	if (c->argc == 3 &&
	    !context_integer_range(c, c->argv[2], 0, INT64_MAX, "ERR value is out of range, must be positive",
				   &count))
		return OUTCOME_FAILED;
	int status = open_zset_to_change(c, c->argv[1], &room, &z);
	if (status != SETT_OK)
		return status;
	uint64_t size = zset_count(z), wanted = (uint64_t)count < size ? (uint64_t)count : size;
	if (wanted == 0) {
		resp_array(c->reply, 0);
		return SETT_OK;
	}
	return pop(c, z, wanted, from_top, c->argc == 3 && c->protocol == 3);
}

int
command_zpopmin(struct command_context *c)
{
	return pop_one_key(c, false);
}

int
command_zpopmax(struct command_context *c)
{
	return pop_one_key(c, true);
}

/* ---- from the first of several keys ---- */

/* BZPOPMIN and BZPOPMAX. */
static int
wait_and_pop(struct command_context *c, bool from_top)
{
	struct wait_keys keys = {.keys = c->argv + 1,
				 .count = c->argc - 2,
				 .waits = true,
				 .type = VALUE_ZSET,
				 .null_is_array = true};
	struct open_zset z;
	struct bytes name;
	if (!context_timeout(c, c->argv[c->argc - 1], &keys.until_ns))
		return OUTCOME_FAILED;
	int status = next_wait_key(c, &keys, &name);
	if (status == SETT_NOT_FOUND)
		return wait_for_keys(c, &keys);
	if (status == SETT_OK)
		status = open_zset(c, name, &z);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, 3);
	reply_bytes(c, name);
	status = pop_elements(c, &z.zset, 1, from_top, false);
	return propagate_pop(c, status, name, from_top, 0);
}

int
command_bzpopmin(struct command_context *c)
{
	return wait_and_pop(c, false);
}

int
command_bzpopmax(struct command_context *c)
{
	return wait_and_pop(c, true);
}

/* What follows the time-out of BZMPOP, or the name of ZMPOP, begins at argv[first]. */
static bool
parse_mpop(struct command_context *c, size_t first, struct wait_keys *ret_keys, bool *ret_from_top,
	   int64_t *ret_count)
{
	static const char keys_error[] = "ERR numkeys should be greater than 0";
	static const char count_error[] = "ERR count should be greater than 0";
	int64_t keys;
	*ret_count = 1;
	if (!context_integer_range(c, c->argv[first], 1, INT64_MAX, keys_error, &keys))
		return false;
	size_t at = first + 1 + (size_t)keys;
	if (keys >= (int64_t)c->argc || at >= c->argc ||
	    (!argument_is(c->argv[at], "MIN") && !argument_is(c->argv[at], "MAX"))) {
		context_syntax_error(c);
		return false;
	}
	ret_keys->keys = c->argv + first + 1;
	ret_keys->count = (size_t)keys;
	*ret_from_top = argument_is(c->argv[at], "MAX");
	if (at + 1 == c->argc)
		return true;
	if (!argument_is(c->argv[at + 1], "COUNT") || at + 2 >= c->argc) {
		context_syntax_error(c);
		return false;
	}
	if (!context_integer_range(c, c->argv[at + 2], 1, INT64_MAX, count_error, ret_count))
		return false;
	if (at + 3 < c->argc)
		context_syntax_error(c);
	return at + 3 == c->argc;
}

static int
pop_first(struct command_context *c, size_t first, struct wait_keys *keys)
{
	struct open_zset z;
	struct bytes name;
	int64_t count;
	bool from_top;
	if (!parse_mpop(c, first, keys, &from_top, &count))
		return OUTCOME_FAILED;
	int status = next_wait_key(c, keys, &name);
	if (status == SETT_NOT_FOUND)
		return wait_for_keys(c, keys);
	if (status == SETT_OK)
		status = open_zset(c, name, &z);
	if (status != SETT_OK)
		return status;
	uint64_t size = zset_count(&z.zset), taken = (uint64_t)count < size ? (uint64_t)count : size;
	resp_array(c->reply, 2);
	reply_bytes(c, name);
	status = pop(c, &z.zset, taken, from_top, true);
	return propagate_pop(c, status, name, from_top, taken);
}

int
command_zmpop(struct command_context *c)
{
	struct wait_keys keys = {.type = VALUE_ZSET, .null_is_array = true};
	return pop_first(c, 1, &keys);
}

int
command_bzmpop(struct command_context *c)
{
	struct wait_keys keys = {.waits = true, .type = VALUE_ZSET, .null_is_array = true};
	if (!context_timeout(c, c->argv[1], &keys.until_ns))
		return OUTCOME_FAILED;
	return pop_first(c, 2, &keys);
}

/* ---- as a hash ---- */

int
command_zrandmember(struct command_context *c)
{
	struct open_zset z;
	int64_t count;
	bool with_scores;
	if (!parse_random_arguments(c, "WITHSCORES", &count, &with_scores))
		return OUTCOME_FAILED;
	int status = open_zset(c, c->argv[1], &z);
	if (status != SETT_OK)
		return status;
	return c->argc >= 3 ? reply_random_fields(c, &z.members, count, with_scores)
			    : reply_random_field(c, &z.members);
}

int
command_zscan(struct command_context *c)
{
	struct open_zset z;
	uint64_t cursor;
	if (!scan_parse_cursor(c, c->argv[2], &cursor))
		return OUTCOME_FAILED;
	int status = open_zset(c, c->argv[1], &z);
	return status == SETT_OK ? scan_hash(c, &z.members, cursor, SCAN_ZSET) : status;
}
