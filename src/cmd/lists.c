/* Commands on the ends of lists, and on elements by their indexes. */
#include "cmd/lists.h"

#include "cmd/commands.h"
#include "config/config.h"
#include "types/limits.h"

size_t
list_packed_size(const struct config *config)
{
	return limits_of_runs(config);
}

int
open_list(struct command_context *c, struct bytes name, struct open_list *ret)
{
	int status = open_typed(c, name, VALUE_LIST, &ret->key);
	return status == SETT_OK ? list_open(&ret->key, list_packed_size(c->server->config), &ret->list)
				 : status;
}

int
reply_list_element(struct command_context *c, const struct list *l, const struct list_element *element)
{
	struct bytes value;
	if (element->is_raw)
		return context_reply_record(c, &element->record, 0);
	int status = list_value(l, element, &value);
	if (status == SETT_OK)
		reply_bytes(c, value);
	return status;
}

bool
context_list_end(struct command_context *c, struct bytes argument, enum list_end *ret)
{
	if (argument_is(argument, "LEFT"))
		*ret = LIST_FRONT;
	else if (argument_is(argument, "RIGHT"))
		*ret = LIST_BACK;
	else
		return context_syntax_error(c) == SETT_OK;
	return true;
}

/* ---- pushes ---- */

static int
push(struct command_context *c, enum list_end end, bool must_exist)
{
	const char *event = end == LIST_FRONT ? "lpush" : "rpush";
	struct open_list l;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (must_exist && !l.key.exists) {
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++)
		status = list_push(&l.list, end, c->argv[i]);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)l.list.count);
	return tell(list_save(&l.list), &l.key, EVENT_LIST, event);
}

int
command_lpush(struct command_context *c)
{
	return push(c, LIST_FRONT, false);
}

int
command_rpush(struct command_context *c)
{
	return push(c, LIST_BACK, false);
}

int
command_lpushx(struct command_context *c)
{
	return push(c, LIST_FRONT, true);
}

int
command_rpushx(struct command_context *c)
{
	return push(c, LIST_BACK, true);
}

/* ---- pops ---- */

int
reply_from_end(struct command_context *c, struct list *l, enum list_end end, uint64_t count)
{
	struct list_walk walk;
	struct list_element element;
	int status = l->object != 0 && count > LIST_LONG_ELEMENTS ? context_enter_long_lane(c) : SETT_OK;
	list_walk(l, end == LIST_BACK ? l->count : 0, end == LIST_BACK, &walk);
	for (uint64_t i = 0; i < count && status == SETT_OK; i++) {
		status = list_walk_next(&walk, &element);
		if (status == SETT_OK)
			status = reply_list_element(c, l, &element);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static int
pop_one(struct command_context *c, struct list *l, enum list_end end)
{
	struct list_element element;
	int status = list_at(l, end == LIST_FRONT ? 0 : l->count - 1, &element);
	if (status == SETT_OK)
		status = reply_list_element(c, l, &element);
	if (status == SETT_OK)
		status = list_drop(l, end, 1);
	return status == SETT_OK ? list_save(l) : status;
}

int
tell_popped(int status, const struct key *k, enum list_end end)
{
	return tell(status, k, EVENT_LIST, end == LIST_FRONT ? "lpop" : "rpop");
}

static int
pop_some(struct command_context *c, struct list *l, enum list_end end, uint64_t count)
{
	if (count > l->count)
		count = l->count;
	resp_array(c->reply, count);
	if (count == 0)
		return SETT_OK;
	int status = reply_from_end(c, l, end, count);
	if (status == SETT_OK)
		status = list_drop(l, end, count);
	return status == SETT_OK ? list_save(l) : status;
}

static int
pop(struct command_context *c, enum list_end end)
{
	struct open_list l;
	int64_t count = 0;
	bool has_count = c->argc == 3;
	if (c->argc > 3)
		return context_wrong_arity(c);
	if (has_count &&
	    !context_integer_range(c, c->argv[2], 0, INT64_MAX, "ERR value is out of range, must be positive",
				   &count))
		return OUTCOME_FAILED;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (l.key.exists && has_count) {
		status = pop_some(c, &l.list, end, (uint64_t)count);
		return count > 0 ? tell_popped(status, &l.key, end) : status;
	}
	if (l.key.exists)
		return tell_popped(pop_one(c, &l.list, end), &l.key, end);
	if (has_count)
		resp_null_array(c->reply);
	else
		resp_null(c->reply);
	return SETT_OK;
}

int
command_lpop(struct command_context *c)
{
	return pop(c, LIST_FRONT);
}

int
command_rpop(struct command_context *c)
{
	return pop(c, LIST_BACK);
}

/* ---- by index ---- */

/* The place that an index means, which counts from the end if it is negative; false if there is none. */
static bool
find_index(const struct list *l, int64_t index, uint64_t *ret)
{
	if (index < 0)
		index += (int64_t)l->count;
	*ret = (uint64_t)index;
	return index >= 0 && *ret < l->count;
}

int
command_llen(struct command_context *c)
{
	struct open_list l;
	int status = open_list(c, c->argv[1], &l);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)l.list.count);
	return status;
}

int
command_lindex(struct command_context *c)
{
	struct open_list l;
	struct list_element element;
	int64_t index = 0;
	uint64_t place;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	/* As in Redis, nobody looks at the index if there is no list. */
	if (l.key.exists && !context_integer(c, c->argv[2], &index))
		return OUTCOME_FAILED;
	if (!find_index(&l.list, index, &place)) {
		resp_null(c->reply);
		return SETT_OK;
	}
	status = list_at(&l.list, place, &element);
	return status == SETT_OK ? reply_list_element(c, &l.list, &element) : status;
}

int
command_lset(struct command_context *c)
{
	struct open_list l;
	int64_t index;
	uint64_t place;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (!l.key.exists)
		return context_error(c, "ERR no such key");
	if (!context_integer(c, c->argv[2], &index))
		return OUTCOME_FAILED;
	if (!find_index(&l.list, index, &place))
		return context_error(c, "ERR index out of range");
	status = list_set(&l.list, place, c->argv[3]);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return tell(list_save(&l.list), &l.key, EVENT_LIST, "lset");
}

/* ---- ranges ---- */

/* The elements from `start` to `stop`, both of which count from the end if they are negative. */
static void
find_range(const struct list *l, int64_t start, int64_t stop, uint64_t *ret_index, uint64_t *ret_count)
{
	int64_t count = (int64_t)l->count;
	start = start < 0 ? start + count : start;
	stop = stop < 0 ? stop + count : stop;
	if (start < 0)
		start = 0;
	if (stop >= count)
		stop = count - 1;
	*ret_index = *ret_count = 0;
	if (start > stop)
		return;
	*ret_index = (uint64_t)start;
	*ret_count = (uint64_t)(stop - start) + 1;
}

int
reply_list_range(struct command_context *c, struct open_list *o, uint64_t index, uint64_t count)
{
	struct list *l = &o->list;
	struct list_walk walk;
	struct list_element element;
	int status = SETT_TOO_LARGE;
	uint64_t size = l->count > 0 ? l->tree.bytes / l->count * count : 0;
	bool is_long = l->object != 0 && (count > LIST_LONG_ELEMENTS || size > LIST_LONG_BYTES);
	if (is_long && !key_is_changed(&o->key))
		status = reply_list_source(c, l, index, count, size);
	if (status != SETT_TOO_LARGE)
		return status;
	/* No snapshot has the list as this transaction sees it, or none can be kept; or it is small. */
	status = is_long ? context_enter_long_lane(c) : SETT_OK;
	list_walk(l, index, false, &walk);
	for (uint64_t i = 0; i < count && status == SETT_OK; i++) {
		status = context_is_given_up(c) ? context_give_up(c) : list_walk_next(&walk, &element);
		if (status == SETT_OK)
			status = reply_list_element(c, l, &element);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
command_lrange(struct command_context *c)
{
	struct open_list l;
	int64_t start, stop;
	uint64_t index, count;
	if (!context_integer(c, c->argv[2], &start) || !context_integer(c, c->argv[3], &stop))
		return OUTCOME_FAILED;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	find_range(&l.list, start, stop, &index, &count);
	resp_array(c->reply, count);
	return count > 0 ? reply_list_range(c, &l, index, count) : SETT_OK;
}

int
command_ltrim(struct command_context *c)
{
	struct open_list l;
	int64_t start, stop;
	uint64_t index, count;
	if (!context_integer(c, c->argv[2], &start) || !context_integer(c, c->argv[3], &stop))
		return OUTCOME_FAILED;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	find_range(&l.list, start, stop, &index, &count);
	if (l.list.object != 0 && count > 0 && l.list.count - count > LIST_LONG_ELEMENTS)
		status = context_enter_long_lane(c);
	if (status == SETT_OK && count < l.list.count)
		status = list_keep(&l.list, index, count);
	else if (status == SETT_OK && l.key.exists)
		/* To WATCH it is a change, as in Redis. */
		status = key_set_expiry(&l.key, l.key.root.expires_at);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	bool existed = l.key.exists;
	status = list_save(&l.list);
	return existed ? tell(status, &l.key, EVENT_LIST, "ltrim") : status;
}
