/* Commands on ranges of sorted sets, by rank, by score and by name. Each range is turned into ranks first, so that its size
 * is known before it is walked. */
#include <math.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/zsets.h"

enum range_kind { BY_RANK, BY_SCORE, BY_NAME, BY_ANY /* what the options say */ };

/* One end of a range. `beyond`: before all (-1) or after all (1), whatever the set holds. */
struct bound {
	double score;
	struct bytes name;
	bool exclusive;
	int beyond;
};

struct request {
	enum range_kind kind;
	bool backwards, with_scores, has_limit;
	int64_t offset, limit;
	int64_t first, last;    /* ranks, from the end if negative */
	struct bound low, high; /* scores or names */
};

/* ---- arguments ---- */

/* As Redis reads it: what strtod takes up to the first NUL, nothing included, spaces before it too. */
static bool
parse_score_bound(struct command_context *c, struct bytes text, struct bound *ret)
{
	char *copy = arena_allocate(c->arena, text.size + 1, 1), *end;
	*ret = (struct bound){0};
	if (copy == NULL)
		return false;
	if (text.size > 0)
		memcpy(copy, text.data, text.size);
	copy[text.size] = 0;
	ret->exclusive = copy[0] == '(';
	ret->score = strtod(copy + ret->exclusive, &end);
	return *end == 0 && !isnan(ret->score);
}

static bool
parse_name_bound(struct bytes text, struct bound *ret)
{
	uint8_t first = text.size > 0 ? text.data[0] : 0;
	*ret = (struct bound){0};
	if (text.size == 1 && (first == '-' || first == '+')) {
		ret->beyond = first == '-' ? -1 : 1;
		return true;
	}
	if (first != '(' && first != '[')
		return false;
	ret->exclusive = first == '(';
	ret->name = bytes_of(text.data + 1, text.size - 1);
	return true;
}

/* The two ends, from argument `i` on, as they are given. */
static bool
parse_ends(struct command_context *c, size_t i, struct request *r)
{
	bool swapped = r->backwards && r->kind != BY_RANK;
	struct bytes low = c->argv[swapped ? i + 1 : i], high = c->argv[swapped ? i : i + 1];
	if (r->kind == BY_RANK)
		return context_integer(c, low, &r->first) && context_integer(c, high, &r->last);
	if (r->kind == BY_SCORE) {
		if (parse_score_bound(c, low, &r->low) && parse_score_bound(c, high, &r->high))
			return true;
		context_error(c, "ERR min or max is not a float");
		return false;
	}
	if (parse_name_bound(low, &r->low) && parse_name_bound(high, &r->high))
		return true;
	context_error(c, "ERR min or max not valid string range item");
	return false;
}

static bool
parse_options(struct command_context *c, size_t i, bool storing, bool any_direction, struct request *r)
{
	for (; i < c->argc; i++) {
		struct bytes word = c->argv[i];
		if (!storing && argument_is(word, "WITHSCORES")) {
			r->with_scores = true;
		} else if (argument_is(word, "LIMIT") && c->argc - i > 2) {
			if (!context_integer(c, c->argv[i + 1], &r->offset) ||
			    !context_integer(c, c->argv[i + 2], &r->limit))
				return false;
			r->has_limit = true;
			i += 2;
		} else if (any_direction && argument_is(word, "REV")) {
			r->backwards = true;
		} else if (r->kind == BY_ANY && argument_is(word, "BYLEX")) {
			r->kind = BY_NAME;
		} else if (r->kind == BY_ANY && argument_is(word, "BYSCORE")) {
			r->kind = BY_SCORE;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	if (r->kind == BY_ANY)
		r->kind = BY_RANK;
	return true;
}

/* `first` is the argument of the set's name. */
static bool
parse_request(struct command_context *c, size_t first, bool storing, bool any_direction, struct request *r)
{
	r->limit = -1;
	if (!parse_options(c, first + 3, storing, any_direction, r))
		return false;
	if (r->has_limit && r->limit != -1 && r->kind == BY_RANK) {
		context_error(c,
			      "ERR syntax error, LIMIT is only supported in combination with either "
			      "BYSCORE or BYLEX");
		return false;
	}
	if (r->with_scores && r->kind == BY_NAME) {
		context_error(c, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
		return false;
	}
	return parse_ends(c, first + 1, r);
}

/* ---- ranks ---- */

static void
find_by_rank(const struct request *r, uint64_t count, uint64_t *ret_from, uint64_t *ret_to)
{
	int64_t size = (int64_t)count;
	int64_t first = r->first < 0 ? r->first + size : r->first,
		last = r->last < 0 ? r->last + size : r->last;
	*ret_from = *ret_to = 0;
	if (first < 0)
		first = 0;
	if (first > last || first >= size)
		return;
	*ret_from = (uint64_t)first;
	*ret_to = (uint64_t)(last >= size ? size : last + 1);
}

/* The rank, at least `from`, of the first element that is not before the bound; of the upper end: of the first beyond it. */
static int
find_bound(struct zset *z, enum range_kind kind, const struct bound *b, bool is_upper, uint64_t from,
	   uint64_t *ret)
{
	bool after = b->exclusive != is_upper;
	*ret = b->beyond > 0 ? zset_count(z) : 0;
	if (b->beyond != 0)
		return SETT_OK;
	if (kind == BY_NAME)
		return zset_rank_of_name(z, from, b->name, after, ret);
	if (isinf(b->score) && after == (b->score > 0)) {
		*ret = after ? zset_count(z) : 0;
		return SETT_OK;
	}
	return zset_rank_of_score(z, b->score, after, ret);
}

/* The elements from rank `from` to below `to`, from the lowest. */
static int
find_ranks(struct zset *z, const struct request *r, uint64_t *ret_from, uint64_t *ret_to)
{
	*ret_from = *ret_to = 0;
	if (zset_count(z) == 0)
		return SETT_OK;
	if (r->kind == BY_RANK) {
		find_by_rank(r, zset_count(z), ret_from, ret_to);
		return SETT_OK;
	}
	int status = find_bound(z, r->kind, &r->low, false, 0, ret_from);
	if (status == SETT_OK)
		status = find_bound(z, r->kind, &r->high, true, *ret_from, ret_to);
	if (*ret_to < *ret_from)
		*ret_to = *ret_from;
	return status;
}

static int
find_range(struct zset *z, const struct request *r, struct zset_range *ret)
{
	uint64_t from, to;
	int status = find_ranks(z, r, &from, &to);
	if (status != SETT_OK)
		return status;
	uint64_t count = to - from, skipped = 0;
	if (r->has_limit && r->kind != BY_RANK) {
		/* As in Redis, a negative offset is beyond all, a negative limit none. */
		skipped = r->offset < 0 || (uint64_t)r->offset > count ? count : (uint64_t)r->offset;
		count -= skipped;
		if (r->limit >= 0 && (uint64_t)r->limit < count)
			count = (uint64_t)r->limit;
	}
	*ret = (struct zset_range){.count = count, .backwards = r->backwards};
	if (r->backwards && r->kind == BY_RANK)
		ret->start = zset_count(z) - 1 - from;
	else if (r->backwards)
		ret->start = to - 1 - skipped;
	else
		ret->start = from + skipped;
	return SETT_OK;
}

/* ---- replies ---- */

static int
reply_walk(struct command_context *c, struct open_zset *z, const struct zset_range *range, bool with_scores)
{
	struct zset_walk walk;
	struct zset_element element;
	int status = range->count > ZSET_LONG_WALK ? context_enter_long_lane(c) : SETT_OK;
	if (status != SETT_OK)
		return status;
	zset_walk(&z->zset, range->start, range->backwards, &walk);
	for (uint64_t i = 0; i < range->count && status == SETT_OK; i++) {
		status = context_is_given_up(c) ? context_give_up(c) : zset_walk_next(&walk, &element);
		if (status == SETT_OK)
			reply_element(c, &element, with_scores);
	}
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
reply_range(struct command_context *c, struct open_zset *z, const struct zset_range *range, bool with_scores)
{
	int status = SETT_TOO_LARGE;
	reply_elements_header(c, range->count, with_scores);
	if (range->count == 0)
		return SETT_OK;
	if (range->count > ZSET_LONG_WALK && z->zset.has_tree && !key_is_changed(&z->members.key))
		status = reply_zset_source(c, z, range, with_scores);
	/* No snapshot has the set as this transaction sees it, or none can be kept; or the range is small. */
	return status == SETT_TOO_LARGE ? reply_walk(c, z, range, with_scores) : status;
}

static int
reply_request(struct command_context *c, enum range_kind kind, bool backwards)
{
	struct request r = {.kind = kind, .backwards = backwards};
	struct open_zset z;
	struct zset_range range;
	if (!parse_request(c, 1, false, kind == BY_ANY, &r))
		return OUTCOME_FAILED;
	int status = open_zset(c, c->argv[1], &z);
	if (status == SETT_OK)
		status = find_range(&z.zset, &r, &range);
	return status == SETT_OK ? reply_range(c, &z, &range, r.with_scores) : status;
}

int
command_zrange(struct command_context *c)
{
	return reply_request(c, BY_ANY, false);
}

int
command_zrevrange(struct command_context *c)
{
	return reply_request(c, BY_RANK, true);
}

int
command_zrangebyscore(struct command_context *c)
{
	return reply_request(c, BY_SCORE, false);
}

int
command_zrevrangebyscore(struct command_context *c)
{
	return reply_request(c, BY_SCORE, true);
}

int
command_zrangebylex(struct command_context *c)
{
	return reply_request(c, BY_NAME, false);
}

int
command_zrevrangebylex(struct command_context *c)
{
	return reply_request(c, BY_NAME, true);
}

/* ---- counting, removing, storing ---- */

/* The set in argument 1, and the ranks of the range in the two after it. */
static int
open_range(struct command_context *c, enum range_kind kind, struct open_zset *z, uint64_t *ret_from,
	   uint64_t *ret_to)
{
	struct request r = {.kind = kind};
	if (!parse_ends(c, 2, &r))
		return OUTCOME_FAILED;
	int status = open_zset(c, c->argv[1], z);
	return status == SETT_OK ? find_ranks(&z->zset, &r, ret_from, ret_to) : status;
}

static int
count_range(struct command_context *c, enum range_kind kind)
{
	struct open_zset z;
	uint64_t from, to;
	int status = open_range(c, kind, &z, &from, &to);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(to - from));
	return status;
}

int
command_zcount(struct command_context *c)
{
	return count_range(c, BY_SCORE);
}

int
command_zlexcount(struct command_context *c)
{
	return count_range(c, BY_NAME);
}

static int
remove_range(struct command_context *c, enum range_kind kind)
{
	static const char *const events[] = {
		[BY_RANK] = "zremrangebyrank", [BY_SCORE] = "zremrangebyscore", [BY_NAME] = "zremrangebylex"};
	struct open_zset z;
	uint64_t from, to;
	int status = open_range(c, kind, &z, &from, &to);
	if (status == SETT_OK && to - from > ZSET_LONG_WALK && to - from < zset_count(&z.zset))
		status = context_enter_long_lane(c);
	if (status != SETT_OK)
		return status;
	context_allow_builds(c);
	resp_integer(c->reply, (int64_t)(to - from));
	status = zset_remove_ranks(&z.zset, from, to - from);
	if (status == SETT_OK)
		status = zset_save(&z.zset);
	return to > from ? tell(status, &z.members.key, EVENT_ZSET, events[kind]) : status;
}

int
command_zremrangebyrank(struct command_context *c)
{
	return remove_range(c, BY_RANK);
}

int
command_zremrangebyscore(struct command_context *c)
{
	return remove_range(c, BY_SCORE);
}

int
command_zremrangebylex(struct command_context *c)
{
	return remove_range(c, BY_NAME);
}

static int
copy_range(struct zset *from, const struct zset_range *range, struct zset *to)
{
	struct zset_walk walk;
	struct zset_element element;
	int status = SETT_OK;
	zset_walk(from, range->start, range->backwards, &walk);
	for (uint64_t i = 0; i < range->count && status == SETT_OK; i++) {
		status = zset_walk_next(&walk, &element);
		if (status == SETT_OK)
			status = zset_put(to, element.name, element.score, NULL);
	}
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
command_zrangestore(struct command_context *c)
{
	struct request r = {.kind = BY_ANY};
	struct open_zset from, to;
	struct zset_range range;
	if (!parse_request(c, 2, true, true, &r))
		return OUTCOME_FAILED;
	int status = open_zset(c, c->argv[2], &from);
	if (status == SETT_OK)
		status = count_source(c, &from.members.key);
	if (status == SETT_OK)
		status = find_range(&from.zset, &r, &range);
	if (status == SETT_OK && range.count > ZSET_LONG_WALK)
		status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = open_new_zset(c, c->argv[1], &to);
	bool existed = status == SETT_OK && to.members.key.exists;
	if (status == SETT_OK)
		status = copy_range(&from.zset, &range, &to.zset);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)range.count);
	return tell_stored(zset_save(&to.zset), &to.members.key, existed, VALUE_ZSET, "zrangestore");
}
