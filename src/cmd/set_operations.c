/* SUNION, SINTER, SDIFF, their STORE forms, and SINTERCARD. */
#include "cmd/commands.h"
#include "cmd/sets.h"

/* Sets that make a result together; those that are absent and change nothing are left out. */
struct sources {
	enum set_operation operation;
	struct hash **sets; /* none: the result is empty */
	size_t count;
	bool is_changed; /* the transaction has changed one of them */
};

static bool
makes_nothing(const struct sources *s, size_t index, const struct open_hash *set)
{
	if (set->key.exists || s->operation == SET_UNION)
		return false;
	return s->operation == SET_INTERSECTION || index == 0;
}

/* Opens all keys, so that one of another type is an error whatever the others hold. */
static int
open_sources(struct command_context *c, enum set_operation operation, const struct bytes *names, size_t count,
	     struct sources *ret)
{
	struct open_hash *opened =
		arena_allocate(c->arena, count * sizeof(*opened), _Alignof(struct open_hash));
	bool is_empty = false;
	*ret = (struct sources){.operation = operation};
	ret->sets = arena_allocate(c->arena, count * sizeof(*ret->sets), _Alignof(struct hash *));
	if (opened == NULL || ret->sets == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		int status = open_set(c, names[i], &opened[i]);
		if (status == SETT_OK)
			status = count_source(c, &opened[i].key);
		if (status != SETT_OK)
			return status;
		if (opened[i].key.exists)
			ret->sets[ret->count++] = &opened[i].hash;
		is_empty = is_empty || makes_nothing(ret, i, &opened[i]);
		ret->is_changed = ret->is_changed || key_is_changed(&opened[i].key);
	}
	if (is_empty)
		ret->count = 0;
	set_result_order(operation, ret->sets, ret->count);
	return SETT_OK;
}

static bool
takes_long(const struct sources *s)
{
	uint64_t walked = 0;
	bool is_long = false;
	for (size_t i = 0; i < s->count && i < set_result_walked(s->operation, s->count); i++) {
		walked += s->sets[i]->count;
		is_long = is_long || hash_is_long(s->sets[i]);
	}
	return is_long || walked > HASH_LONG_WALK;
}

/* To the long lane if there is much to walk over, and to the first member. */
static int
begin_result(struct command_context *c, const struct sources *s, struct set_result *ret)
{
	if (takes_long(s) && context_enter_long_lane(c) != SETT_OK)
		return OUTCOME_LONG;
	set_result_init(ret, s->operation, s->sets, s->count);
	return SETT_OK;
}

/* The next member of a result that is the reply, or counted for it. */
static int
next_for_reader(struct command_context *c, struct set_result *result, struct hash_field *ret)
{
	return context_is_given_up(c) ? context_give_up(c) : set_result_next(result, ret);
}

/* Appends the members as long as the reply is small, and counts them all. */
static int
reply_first_members(struct command_context *c, struct set_result *result, size_t most, uint64_t *ret_count)
{
	struct hash_field member;
	int status;
	for (*ret_count = 0; (status = next_for_reader(c, result, &member)) == SETT_OK; ++*ret_count)
		if (c->reply->size < most)
			reply_bytes(c, member.name);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Appends what is counted, from the snapshot while it is sent, or else now. */
static int
reply_counted(struct command_context *c, const struct sources *s, uint64_t count)
{
	struct set_result result;
	uint64_t found;
	int status = SETT_TOO_LARGE;
	resp_set(c->reply, count);
	if (!s->is_changed)
		status = reply_result_source(c, s->operation, s->sets, s->count, HASH_NAMES, count);
	if (status != SETT_TOO_LARGE)
		return status;
	set_result_init(&result, s->operation, s->sets, s->count);
	status = reply_first_members(c, &result, SIZE_MAX, &found);
	set_result_close(&result);
	assert(status != SETT_OK || found == count);
	return status;
}

static int
reply_result(struct command_context *c, const struct sources *s)
{
	enum { MADE_IN_MEMORY = 128 * 1024 };
	struct set_result result;
	uint64_t count;
	if (s->count == 0) {
		resp_set(c->reply, 0);
		return SETT_OK;
	}
	int status = begin_result(c, s, &result);
	if (status != SETT_OK)
		return status;
	size_t mark = c->reply->size, most = mark + MADE_IN_MEMORY, token = resp_deferred_begin(c->reply);
	status = reply_first_members(c, &result, most, &count);
	set_result_close(&result);
	if (status != SETT_OK)
		return status;
	if (c->reply->size < most) {
		resp_deferred_set_end(c->reply, token, count);
		return SETT_OK;
	}
	resp_truncate(c->reply, mark);
	return reply_counted(c, s, count);
}

static int
reply_operation(struct command_context *c, enum set_operation operation)
{
	struct sources sources;
	int status = open_sources(c, operation, c->argv + 1, c->argc - 1, &sources);
	return status == SETT_OK ? reply_result(c, &sources) : status;
}

int
command_sunion(struct command_context *c)
{
	return reply_operation(c, SET_UNION);
}

int
command_sinter(struct command_context *c)
{
	return reply_operation(c, SET_INTERSECTION);
}

int
command_sdiff(struct command_context *c)
{
	return reply_operation(c, SET_DIFFERENCE);
}

/* ---- storing ---- */

static int
add_members(struct command_context *c, const struct sources *s, struct hash *to)
{
	struct set_result result;
	struct hash_field member;
	if (s->count == 0)
		return SETT_OK;
	int status = begin_result(c, s, &result);
	if (status != SETT_OK)
		return status;
	context_allow_builds(c);
	while ((status = set_result_next(&result, &member)) == SETT_OK) {
		status = set_add_new(to, member.name);
		if (status != SETT_OK)
			break;
	}
	set_result_close(&result);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
store_operation(struct command_context *c, enum set_operation operation)
{
	static const char *const events[] = {[SET_UNION] = "sunionstore",
					     [SET_INTERSECTION] = "sinterstore",
					     [SET_DIFFERENCE] = "sdiffstore"};
	struct sources sources;
	struct open_hash to;
	struct set_limits limits = set_limits_of(c);
	int status = open_sources(c, operation, c->argv + 2, c->argc - 2, &sources);
	if (status == SETT_OK)
		status = open_key(c, c->argv[1], &to.key);
	if (status != SETT_OK)
		return status;
	bool existed = to.key.exists;
	set_replace(&to.key, &limits, &to.hash);
	status = add_members(c, &sources, &to.hash);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)to.hash.count);
	return tell_stored(hash_save(&to.hash), &to.key, existed, VALUE_SET, events[operation]);
}

int
command_sunionstore(struct command_context *c)
{
	return store_operation(c, SET_UNION);
}

int
command_sinterstore(struct command_context *c)
{
	return store_operation(c, SET_INTERSECTION);
}

int
command_sdiffstore(struct command_context *c)
{
	return store_operation(c, SET_DIFFERENCE);
}

/* ---- SINTERCARD ---- */

/* Number of members, up to `most`. */
static int
count_result(struct command_context *c, const struct sources *s, uint64_t most, uint64_t *ret)
{
	struct set_result result;
	struct hash_field member;
	*ret = 0;
	if (s->count == 0)
		return SETT_OK;
	int status = begin_result(c, s, &result);
	if (status != SETT_OK)
		return status;
	while (*ret < most && (status = next_for_reader(c, &result, &member)) == SETT_OK)
		++*ret;
	set_result_close(&result);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* The LIMIT; 0: none. */
static bool
parse_limit(struct command_context *c, size_t first, int64_t *ret)
{
	*ret = 0;
	for (size_t i = first; i < c->argc; i += 2) {
		if (!argument_is(c->argv[i], "LIMIT") || i + 1 == c->argc) {
			context_syntax_error(c);
			return false;
		}
		if (!context_integer_range(c, c->argv[i + 1], 0, INT64_MAX, "ERR LIMIT can't be negative",
					   ret))
			return false;
	}
	return true;
}

int
command_sintercard(struct command_context *c)
{
	struct sources sources;
	int64_t keys, limit;
	uint64_t count;
	if (!context_integer_range(c, c->argv[1], 1, INT64_MAX, "ERR numkeys should be greater than 0",
				   &keys))
		return OUTCOME_FAILED;
	if ((uint64_t)keys > c->argc - 2)
		return context_error(c, "ERR Number of keys can't be greater than number of args");
	if (!parse_limit(c, 2 + (size_t)keys, &limit))
		return OUTCOME_FAILED;
	int status = open_sources(c, SET_INTERSECTION, c->argv + 2, (size_t)keys, &sources);
	if (status == SETT_OK)
		status = count_result(c, &sources, limit == 0 ? UINT64_MAX : (uint64_t)limit, &count);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)count);
	return status;
}
