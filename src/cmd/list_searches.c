/* Commands that look for elements by their values. */
#include "cmd/commands.h"
#include "cmd/lists.h"

int
search_step(struct command_context *c, struct list_walk *walk, uint64_t *steps, struct list_element *ret)
{
	int status = ++*steps > LIST_LONG_ELEMENTS ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK && (c->command->flags & COMMAND_READONLY) != 0 && context_is_given_up(c))
		return context_give_up(c);
	return status == SETT_OK ? list_walk_next(walk, ret) : status;
}

/* ---- LINSERT ---- */

/* The index of the first element that equals the pivot. SETT_NOT_FOUND. */
static int
find_pivot(struct command_context *c, struct list *l, struct bytes pivot, uint64_t *ret)
{
	struct list_walk walk;
	struct list_element element;
	uint64_t steps = 0;
	bool is_equal = false;
	int status = list_walk_by(l, 0, false, &walk);
	while (status == SETT_OK && !is_equal) {
		status = search_step(c, &walk, &steps, &element);
		if (status == SETT_OK)
			status = list_element_equals(l, &element, pivot, &is_equal);
	}
	*ret = walk.index - 1;
	list_walk_close(&walk);
	return status;
}

int
command_linsert(struct command_context *c)
{
	struct open_list l;
	uint64_t index;
	bool after = argument_is(c->argv[2], "AFTER");
	if (!after && !argument_is(c->argv[2], "BEFORE"))
		return context_syntax_error(c);
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (!l.key.exists) {
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	status = find_pivot(c, &l.list, c->argv[3], &index);
	if (status == SETT_NOT_FOUND) {
		resp_integer(c->reply, -1);
		return SETT_OK;
	}
	if (status == SETT_OK)
		status = list_insert(&l.list, index + after, c->argv[4]);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)l.list.count);
	return tell(list_save(&l.list), &l.key, EVENT_LIST, "linsert");
}

/* ---- LREM ---- */

int
command_lrem(struct command_context *c)
{
	struct open_list l;
	int64_t count;
	uint64_t removed;
	if (!context_integer(c, c->argv[2], &count))
		return OUTCOME_FAILED;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (l.list.object != 0 && (l.list.count > LIST_LONG_ELEMENTS || l.list.tree.bytes > LIST_LONG_BYTES))
		status = context_enter_long_lane(c);
	uint64_t most = count == 0 ? UINT64_MAX : count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
	if (status == SETT_OK)
		status = list_remove(&l.list, c->argv[3], most, count < 0 ? LIST_BACK : LIST_FRONT, &removed);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)removed);
	status = list_save(&l.list);
	return removed > 0 ? tell(status, &l.key, EVENT_LIST, "lrem") : status;
}

/* ---- LPOS ---- */

struct lpos_options {
	int64_t rank;
	bool has_count;
	uint64_t count;    /* matches to be found, 0 = all */
	uint64_t most_len; /* elements to be looked at, 0 = all */
};

static bool
parse_lpos_options(struct command_context *c, struct lpos_options *ret)
{
	int64_t value;
	*ret = (struct lpos_options){.rank = 1};
	for (size_t i = 3; i < c->argc; i += 2) {
		bool is_rank = argument_is(c->argv[i], "RANK"), is_count = argument_is(c->argv[i], "COUNT");
		if (i + 1 == c->argc || (!is_rank && !is_count && !argument_is(c->argv[i], "MAXLEN")))
			return context_syntax_error(c) == SETT_OK;
		if (is_rank) {
			if (!context_integer(c, c->argv[i + 1], &ret->rank))
				return false;
			if (ret->rank == 0)
				return context_error(c,
						     "ERR RANK can't be zero: use 1 to start from the first "
						     "match, 2 from the second ... or use negative to start "
						     "from the end of the list") == SETT_OK;
			continue;
		}
		const char *error = is_count ? "ERR COUNT can't be negative" : "ERR MAXLEN can't be negative";
		if (!context_integer_range(c, c->argv[i + 1], 0, INT64_MAX, error, &value))
			return false;
		if (is_count) {
			ret->has_count = true;
			ret->count = (uint64_t)value;
		} else {
			ret->most_len = (uint64_t)value;
		}
	}
	return true;
}

/* Finds the next match, among at most so many elements. SETT_NOT_FOUND. */
static int
next_match(struct command_context *c, struct list_walk *walk, const struct lpos_options *o, uint64_t *steps,
	   uint64_t *ret)
{
	struct list_element element;
	bool is_equal = false;
	while (!is_equal) {
		if (o->most_len != 0 && *steps == o->most_len)
			return SETT_NOT_FOUND;
		int status = search_step(c, walk, steps, &element);
		if (status == SETT_OK)
			status = list_element_equals(walk->list, &element, c->argv[2], &is_equal);
		if (status != SETT_OK)
			return status;
	}
	*ret = walk->backward ? walk->index : walk->index - 1;
	return SETT_OK;
}

/* Calls for matches until `most` were found past those that the rank passes by; appends their indexes. */
static int
reply_matches(struct command_context *c, struct list *l, const struct lpos_options *o, uint64_t most,
	      uint64_t *ret_found)
{
	struct list_walk walk;
	bool backward = o->rank < 0;
	/* In Redis the least number has no positive counterpart, and counts as -1. */
	int64_t rank = o->rank == INT64_MIN ? -1 : o->rank;
	uint64_t pass = (uint64_t)(backward ? -rank : rank) - 1;
	uint64_t steps = 0, index, met = 0;
	*ret_found = 0;
	int status = list_walk_by(l, backward ? l->count : 0, backward, &walk);
	while (status == SETT_OK && *ret_found < most) {
		status = next_match(c, &walk, o, &steps, &index);
		if (status != SETT_OK)
			break;
		if (met++ < pass)
			continue;
		resp_integer(c->reply, (int64_t)index);
		++*ret_found;
	}
	list_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
command_lpos(struct command_context *c)
{
	struct open_list l;
	struct lpos_options o;
	uint64_t found = 0;
	if (!parse_lpos_options(c, &o))
		return OUTCOME_FAILED;
	int status = open_list(c, c->argv[1], &l);
	if (status != SETT_OK)
		return status;
	if (!o.has_count) {
		status = reply_matches(c, &l.list, &o, 1, &found);
		if (status == SETT_OK && found == 0)
			resp_null(c->reply);
		return status;
	}
	size_t token = resp_deferred_begin(c->reply);
	status = reply_matches(c, &l.list, &o, o.count != 0 ? o.count : UINT64_MAX, &found);
	if (status == SETT_OK)
		resp_deferred_array_end(c->reply, token, found);
	return status;
}
