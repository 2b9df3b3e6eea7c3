/* Commands on several lists: LMOVE, RPOPLPUSH, LMPOP. */
#include "cmd/commands.h"
#include "cmd/lists.h"

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

static int
move(struct command_context *c, enum list_end from, enum list_end to)
{
	struct open_list source, other, *target = &other;
	struct bytes value;
	int status = open_list(c, c->argv[1], &source);
	if (status != SETT_OK)
		return status;
	if (!source.key.exists) {
		resp_null(c->reply);
		return SETT_OK;
	}
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
	return status == SETT_OK ? list_save(&source.list) : status;
}

int
command_lmove(struct command_context *c)
{
	enum list_end from, to;
	if (!context_list_end(c, c->argv[3], &from) || !context_list_end(c, c->argv[4], &to))
		return OUTCOME_FAILED;
	return move(c, from, to);
}

int
command_rpoplpush(struct command_context *c)
{
	return move(c, LIST_BACK, LIST_FRONT);
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
	return status == SETT_OK ? list_save(&l->list) : status;
}

/* What comes after the keys: LEFT or RIGHT, and perhaps COUNT. */
static bool
parse_lmpop_tail(struct command_context *c, size_t i, enum list_end *ret_end, int64_t *ret_count)
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

int
command_lmpop(struct command_context *c)
{
	enum list_end end;
	int64_t keys, count;
	if (!context_integer_range(c, c->argv[1], 1, INT64_MAX, "ERR numkeys should be greater than 0",
				   &keys))
		return OUTCOME_FAILED;
	if ((uint64_t)keys > c->argc - 3)
		return context_syntax_error(c);
	if (!parse_lmpop_tail(c, 2 + (size_t)keys, &end, &count))
		return OUTCOME_FAILED;
	for (size_t i = 2; i < 2 + (size_t)keys; i++) {
		struct open_list l;
		int status = open_list(c, c->argv[i], &l);
		if (status != SETT_OK)
			return status;
		if (l.key.exists)
			return pop_from(c, &l, end, (uint64_t)count);
	}
	resp_null_array(c->reply);
	return SETT_OK;
}
