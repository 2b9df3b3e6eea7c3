/* Commands on several lists: LMOVE, RPOPLPUSH, LMPOP, and those that wait. */
#include "cmd/blocking.h"
#include "cmd/commands.h"
#include "cmd/lists.h"
#include "txn/propagation.h"

/* Gives the element to the reply, and as bytes that stay what they are while lists change. */
static int
take_value(struct command_context *c, struct list *l, enum list_end from, struct bytes *ret)
{
	struct list_element element;
	int status = list_at(l, from == LIST_FRONT ? 0 : l->count - 1, &element);
	if (status == SETT_OK)
		status = reply_list_element(c, l, &element);
	if (status == SETT_OK)
		status = list_value(l, &element, ret);
	if (status != SETT_OK || element.is_raw)
		return status;
	const void *copy = arena_copy(c->arena, ret->data, ret->size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	ret->data = copy;
	return SETT_OK;
}

/* BLMOVE and BRPOPLPUSH, without the time-out. */
static int
propagate_move(struct command_context *c)
{
	bool names_ends = c->argc == 6;
	return propagate_as(c, names_ends ? "LMOVE" : "RPOPLPUSH", c->argv + 1, names_ends ? 4 : 2);
}

static int
propagate_pop(struct command_context *c, const struct key *k, enum list_end end, uint64_t count)
{
	const char *name = end == LIST_FRONT ? "LPOP" : "RPOP";
	return count == 0 ? propagate(c, name, k->name)
			  : propagate(c, name, k->name, propagated_unsigned(c, count));
}

static int
move(struct command_context *c, enum list_end from, enum list_end to, struct wait_keys *keys)
{
	struct open_list source, other, *target = &other;
	struct bytes value, name;
	int status = next_wait_key(c, keys, &name);
	if (status == SETT_NOT_FOUND)
		return wait_for_keys(c, keys);
	if (status == SETT_OK)
		status = open_list(c, name, &source);
	if (status != SETT_OK)
		return status;
	if (bytes_equal(c->argv[1], c->argv[2]))
		target = &source;
	else
		status = open_list(c, c->argv[2], &other);
	if (status == SETT_OK)
		status = take_value(c, &source.list, from, &value);
	if (status == SETT_OK)
		status = list_drop(&source.list, from, 1);
	if (status == SETT_OK)
		status = list_push(&target->list, to, value);
	if (status == SETT_OK)
		status = list_save(&target->list);
	status = tell(status, &target->key, EVENT_LIST, to == LIST_FRONT ? "lpush" : "rpush");
	if (status == SETT_OK)
		status = list_save(&source.list);
	status = tell_popped(status, &source.key, from);
	return status == SETT_OK && keys->waits ? propagate_move(c) : status;
}

static int
move_at_once(struct command_context *c, enum list_end from, enum list_end to)
{
	struct wait_keys keys = {.keys = c->argv + 1, .count = 1, .type = VALUE_LIST};
	return move(c, from, to, &keys);
}

static int
move_or_wait(struct command_context *c, enum list_end from, enum list_end to, struct bytes timeout)
{
	struct wait_keys keys = {.keys = c->argv + 1, .count = 1, .waits = true, .type = VALUE_LIST};
	if (!context_timeout(c, timeout, &keys.until_ns))
		return OUTCOME_FAILED;
	return move(c, from, to, &keys);
}

int
command_lmove(struct command_context *c)
{
	enum list_end from, to;
	if (!context_list_end(c, c->argv[3], &from) || !context_list_end(c, c->argv[4], &to))
		return OUTCOME_FAILED;
	return move_at_once(c, from, to);
}

int
command_rpoplpush(struct command_context *c)
{
	return move_at_once(c, LIST_BACK, LIST_FRONT);
}

int
command_blmove(struct command_context *c)
{
	enum list_end from, to;
	if (!context_list_end(c, c->argv[3], &from) || !context_list_end(c, c->argv[4], &to))
		return OUTCOME_FAILED;
	return move_or_wait(c, from, to, c->argv[5]);
}

int
command_brpoplpush(struct command_context *c)
{
	return move_or_wait(c, LIST_BACK, LIST_FRONT, c->argv[3]);
}

/* ---- BLPOP, BRPOP ---- */

static int
pop_or_wait(struct command_context *c, enum list_end end)
{
	struct wait_keys keys = {.keys = c->argv + 1,
				 .count = c->argc - 2,
				 .waits = true,
				 .type = VALUE_LIST,
				 .null_is_array = true};
	struct open_list l;
	struct bytes name;
	if (!context_timeout(c, c->argv[c->argc - 1], &keys.until_ns))
		return OUTCOME_FAILED;
	int status = next_wait_key(c, &keys, &name);
	if (status == SETT_NOT_FOUND)
		return wait_for_keys(c, &keys);
	if (status == SETT_OK)
		status = open_list(c, name, &l);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, 2);
	reply_bytes(c, name);
	status = reply_from_end(c, &l.list, end, 1);
	if (status == SETT_OK)
		status = list_drop(&l.list, end, 1);
	if (status == SETT_OK)
		status = list_save(&l.list);
	status = tell_popped(status, &l.key, end);
	return status == SETT_OK ? propagate_pop(c, &l.key, end, 0) : status;
}

int
command_blpop(struct command_context *c)
{
	return pop_or_wait(c, LIST_FRONT);
}

int
command_brpop(struct command_context *c)
{
	return pop_or_wait(c, LIST_BACK);
}

/* ---- LMPOP ---- */

static int
pop_from(struct command_context *c, struct open_list *l, enum list_end end, uint64_t count)
{
	if (count > l->list.count)
		count = l->list.count;
	resp_array(c->reply, 2);
	reply_bytes(c, l->key.name);
	resp_array(c->reply, count);
	int status = reply_from_end(c, &l->list, end, count);
	if (status == SETT_OK)
		status = list_drop(&l->list, end, count);
	if (status == SETT_OK)
		status = list_save(&l->list);
	status = tell_popped(status, &l->key, end);
	return status == SETT_OK ? propagate_pop(c, &l->key, end, count) : status;
}

/* What comes after the keys: LEFT or RIGHT, and perhaps COUNT. */
static bool
parse_tail(struct command_context *c, size_t i, enum list_end *ret_end, int64_t *ret_count)
{
	bool has_count = false;
	*ret_count = 1;
	if (!context_list_end(c, c->argv[i++], ret_end))
		return false;
	for (; i < c->argc; i += 2) {
		if (has_count || i + 1 == c->argc || !argument_is(c->argv[i], "COUNT"))
			return context_syntax_error(c) == SETT_OK;
		if (!context_integer_range(c, c->argv[i + 1], 1, INT64_MAX,
					   "ERR count should be greater than 0", ret_count))
			return false;
		has_count = true;
	}
	return true;
}

/* The number of keys is argv[first]. */
static int
pop_first(struct command_context *c, size_t first, struct wait_keys *keys)
{
	enum list_end end;
	int64_t number, count;
	struct open_list l;
	struct bytes name;
	if (!context_integer_range(c, c->argv[first], 1, INT64_MAX, "ERR numkeys should be greater than 0",
				   &number))
		return OUTCOME_FAILED;
	if ((uint64_t)number > c->argc - first - 2)
		return context_syntax_error(c);
	keys->keys = c->argv + first + 1;
	keys->count = (size_t)number;
	if (!parse_tail(c, first + 1 + keys->count, &end, &count))
		return OUTCOME_FAILED;
	int status = next_wait_key(c, keys, &name);
	if (status == SETT_NOT_FOUND)
		return wait_for_keys(c, keys);
	if (status == SETT_OK)
		status = open_list(c, name, &l);
	return status == SETT_OK ? pop_from(c, &l, end, (uint64_t)count) : status;
}

int
command_lmpop(struct command_context *c)
{
	struct wait_keys keys = {.type = VALUE_LIST, .null_is_array = true};
	return pop_first(c, 1, &keys);
}

int
command_blmpop(struct command_context *c)
{
	struct wait_keys keys = {.waits = true, .type = VALUE_LIST, .null_is_array = true};
	if (!context_timeout(c, c->argv[1], &keys.until_ns))
		return OUTCOME_FAILED;
	return pop_first(c, 2, &keys);
}
