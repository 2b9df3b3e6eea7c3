/* Commands on single members of sorted sets. */
#include "cmd/zsets.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "config/config.h"
#include "types/limits.h"

struct hash_limits
zset_limits_of(const struct command_context *c)
{
	return limits_of_zsets(c->server->config);
}

int
open_zset(struct command_context *c, struct bytes name, struct open_zset *ret)
{
	struct hash_limits limits = zset_limits_of(c);
	int status = open_typed(c, name, VALUE_ZSET, &ret->members.key);
	if (status != SETT_OK)
		return status;
	return zset_open(&ret->members.key, &limits, &ret->members.hash, &ret->zset);
}

int
open_zset_to_change(struct command_context *c, struct bytes name, struct open_zset *room, struct zset **ret)
{
	struct zset *held = may_hold(c) ? zset_held(&c->view, c->db, name) : NULL;
	if (held != NULL) {
		note_access(c, zset_key(held));
		*ret = held;
		return SETT_OK;
	}
	*ret = &room->zset;
	return open_zset(c, name, room);
}

int
save_changed_zset(const struct command_context *c, struct zset *z)
{
	return may_hold(c) ? zset_save_or_hold(z) : zset_save(z);
}

int
open_new_zset(struct command_context *c, struct bytes name, struct open_zset *ret)
{
	struct hash_limits limits = zset_limits_of(c);
	int status = open_key(c, name, &ret->members.key);
	if (status != SETT_OK)
		return status;
	zset_replace(&ret->members.key, &limits, &ret->members.hash, &ret->zset);
	context_allow_builds(c);
	return SETT_OK;
}

/* ---- scores ---- */

bool
parse_score(struct bytes text, double *ret)
{
	/* A finite double has at most 767 digits that matter; what is longer, Redis reads too. */
	char room[1100], *copy = room, *end;
	if (text.size == 0 || text.data[0] == ' ' || (text.data[0] >= '\t' && text.data[0] <= '\r'))
		return false;
	if (text.size >= sizeof(room) && (copy = malloc(text.size + 1)) == NULL)
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = 0;
	errno = 0;
	double value = strtod(copy, &end);
	bool whole = (size_t)(end - copy) == text.size;
	bool out_of_range =
		errno == ERANGE && (value == HUGE_VAL || value == -HUGE_VAL || fpclassify(value) == FP_ZERO);
	if (copy != room)
		free(copy);
	if (!whole || out_of_range || isnan(value))
		return false;
	*ret = value;
	return true;
}

bool
context_score(struct command_context *c, struct bytes argument, const char *error, double *ret)
{
	if (parse_score(argument, ret))
		return true;
	context_error(c, error);
	return false;
}

void
reply_elements_header(struct command_context *c, uint64_t count, bool with_scores)
{
	resp_array(c->reply, with_scores && c->protocol == 2 ? 2 * count : count);
}

void
reply_element(struct command_context *c, const struct zset_element *element, bool with_scores)
{
	if (with_scores && c->protocol == 3)
		resp_array(c->reply, 2);
	reply_bytes(c, element->name);
	if (with_scores)
		resp_double(c->reply, element->score);
}

/* ---- ZADD and ZINCRBY ---- */

struct adding {
	bool only_new, only_old, only_greater, only_less, changes, increments;
	size_t first; /* argument: the first score */
	size_t pairs;
	int64_t added, updated;
	bool done;    /* the last member was not passed over */
	double score; /* that it has now */
};

static bool
parse_adding(struct command_context *c, struct adding *a)
{
	size_t i = 2;
	for (; i < c->argc; i++) {
		struct bytes word = c->argv[i];
		if (argument_is(word, "NX"))
			a->only_new = true;
		else if (argument_is(word, "XX"))
			a->only_old = true;
		else if (argument_is(word, "CH"))
			a->changes = true;
		else if (argument_is(word, "INCR"))
			a->increments = true;
		else if (argument_is(word, "GT"))
			a->only_greater = true;
		else if (argument_is(word, "LT"))
			a->only_less = true;
		else
			break;
	}
	a->first = i;
	a->pairs = (c->argc - i) / 2;
	if ((c->argc - i) % 2 != 0 || a->pairs == 0)
		context_syntax_error(c);
	else if (a->only_new && a->only_old)
		context_error(c, "ERR XX and NX options at the same time are not compatible");
	else if ((a->only_greater && a->only_new) || (a->only_less && a->only_new) ||
		 (a->only_greater && a->only_less))
		context_error(c, "ERR GT, LT, and/or NX options at the same time are not compatible");
	else if (a->increments && a->pairs > 1)
		context_error(c, "ERR INCR option supports a single increment-element pair");
	else
		return true;
	return false;
}

/* What becomes of a member that is there. */
static int
update_member(struct command_context *c, struct adding *a, struct zset *z, struct bytes name, double score,
	      struct zset_member *old)
{
	if (a->only_new)
		return SETT_OK;
	if (a->increments)
		score += old->score;
	if (isnan(score))
		return context_error(c, "ERR resulting score is not a number (NaN)");
	if ((a->only_greater && score <= old->score) || (a->only_less && score >= old->score))
		return SETT_OK;
	a->done = true;
	a->score = score;
	a->updated += score != old->score;
	return zset_put(z, name, score, old);
}

static int
add_member(struct command_context *c, struct adding *a, struct zset *z, struct bytes name, double score)
{
	struct zset_member old;
	int status = zset_find(z, name, &old);
	a->done = false;
	if (status == SETT_OK)
		return update_member(c, a, z, name, score, &old);
	if (status != SETT_NOT_FOUND || a->only_old)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	a->done = true;
	a->score = score;
	a->added++;
	return zset_put(z, name, score, NULL);
}

static int
add_members(struct command_context *c, struct adding *a, struct zset *z, const double *scores)
{
	int status = SETT_OK;
	for (size_t i = 0; i < a->pairs && status == SETT_OK; i++)
		status = add_member(c, a, z, c->argv[a->first + 2 * i + 1], scores[i]);
	return status == SETT_OK ? save_changed_zset(c, z) : status;
}

static int
add(struct command_context *c, struct adding *a)
{
	struct open_zset room;
	struct zset *z;
	double few[8], *scores = few;
	if (a->pairs > sizeof(few) / sizeof(few[0])) {
		scores = arena_allocate(c->arena, a->pairs * sizeof(*scores), _Alignof(double));
		if (scores == NULL)
			return SETT_NO_MEMORY;
	}
	for (size_t i = 0; i < a->pairs; i++)
		if (!context_score(c, c->argv[a->first + 2 * i], "ERR value is not a valid float",
				   &scores[i]))
			return OUTCOME_FAILED;
	int status = open_zset_to_change(c, c->argv[1], &room, &z);
	if (status == SETT_OK)
		status = add_members(c, a, z, scores);
	if (a->added + a->updated == 0)
		return status;
	return tell(status, zset_key(z), EVENT_ZSET, a->increments ? "zincr" : "zadd");
}

int
command_zadd(struct command_context *c)
{
	struct adding a = {0};
	if (!parse_adding(c, &a))
		return OUTCOME_FAILED;
	int status = add(c, &a);
	if (status != SETT_OK)
		return status;
	if (!a.increments)
		resp_integer(c->reply, a.changes ? a.added + a.updated : a.added);
	else if (a.done)
		resp_double(c->reply, a.score);
	else
		resp_null(c->reply);
	return SETT_OK;
}

int
command_zincrby(struct command_context *c)
{
	struct adding a = {.increments = true, .first = 2, .pairs = 1};
	int status = add(c, &a);
	if (status == SETT_OK)
		resp_double(c->reply, a.score);
	return status;
}

/* ---- removing ---- */

int
command_zrem(struct command_context *c)
{
	struct open_zset room;
	struct zset *z;
	int64_t removed = 0;
	int status = open_zset_to_change(c, c->argv[1], &room, &z);
	if (status != SETT_OK)
		return status;
	for (size_t i = 2; i < c->argc && zset_count(z) > 0; i++) {
		struct zset_member member;
		status = zset_find(z, c->argv[i], &member);
		if (status == SETT_OK) {
			status = zset_remove(z, &member);
			removed++;
		}
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
	}
	resp_integer(c->reply, removed);
	status = save_changed_zset(c, z);
	return removed > 0 ? tell(status, zset_key(z), EVENT_ZSET, "zrem") : status;
}

/* ---- reading ---- */

int
command_zcard(struct command_context *c)
{
	struct open_zset z;
	int status = open_zset(c, c->argv[1], &z);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)zset_count(&z.zset));
	return status;
}

static int
reply_score_of(struct command_context *c, struct zset *z, struct bytes name)
{
	struct zset_member member;
	struct sett_read_mark reads = hash_read_mark(z->hash);
	int status = zset_find(z, name, &member);
	if (status == SETT_OK)
		resp_double(c->reply, member.score);
	else if (status == SETT_NOT_FOUND)
		resp_null(c->reply);
	hash_forget_reads(z->hash, &reads);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
command_zscore(struct command_context *c)
{
	struct open_zset z;
	int status = open_zset(c, c->argv[1], &z);
	return status == SETT_OK ? reply_score_of(c, &z.zset, c->argv[2]) : status;
}

int
command_zmscore(struct command_context *c)
{
	struct open_zset z;
	int status = open_zset(c, c->argv[1], &z);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++)
		status = reply_score_of(c, &z.zset, c->argv[i]);
	return status;
}

static int
reply_rank(struct command_context *c, bool backwards)
{
	struct open_zset z;
	struct zset_member member;
	uint64_t rank;
	bool with_score = c->argc == 4;
	if (c->argc > 4)
		return context_wrong_arity(c);
	if (with_score && !argument_is(c->argv[3], "WITHSCORE"))
		return context_syntax_error(c);
	int status = open_zset(c, c->argv[1], &z);
	if (status == SETT_OK)
		status = zset_find(&z.zset, c->argv[2], &member);
	if (status == SETT_NOT_FOUND) {
		if (with_score)
			resp_null_array(c->reply);
		else
			resp_null(c->reply);
		return SETT_OK;
	}
	if (status == SETT_OK)
		status = zset_rank(&z.zset, &member, &rank);
	if (status != SETT_OK)
		return status;
	if (with_score)
		resp_array(c->reply, 2);
	resp_integer(c->reply, (int64_t)(backwards ? zset_count(&z.zset) - 1 - rank : rank));
	if (with_score)
		resp_double(c->reply, member.score);
	return SETT_OK;
}

int
command_zrank(struct command_context *c)
{
	return reply_rank(c, false);
}

int
command_zrevrank(struct command_context *c)
{
	return reply_rank(c, true);
}
