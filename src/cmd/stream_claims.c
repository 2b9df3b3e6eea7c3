/* XCLAIM and XAUTOCLAIM. */
#include "cmd/commands.h"
#include "cmd/stream_groups.h"
#include "txn/propagation.h"

struct claim {
	struct stream_group *group;
	struct bytes name;                /* of the consumer who claims */
	struct stream_consumer *consumer; /* once it has got something */
	int64_t idle;                     /* entries idle for less are left */
	bool just_ids, force;
	int64_t delivered, count; /* -1: not given */
	struct stream_id last;
};

static bool
parse_claim_integer(struct command_context *c, struct bytes argument, const char *what, int64_t *ret)
{
	char name[CONTEXT_NAME_SIZE], text[2 * CONTEXT_NAME_SIZE];
	context_typed_name(c, name);
	snprintf(text, sizeof(text), "ERR Invalid %s argument for %s", what, name);
	return context_integer_or(c, argument, text, ret);
}

/* Whether the stream has the entry. With `reply` its id, or the entry, is appended. */
static int
find_entry(struct command_context *c, struct claim *claim, struct stream_id id, bool reply, bool *ret)
{
	struct stream_walk walk;
	struct stream_entry entry;
	stream_walk(claim->group->stream, id, id, false, &walk);
	int status = stream_walk_next(&walk, &entry);
	*ret = status == SETT_OK;
	if (*ret && reply && claim->just_ids)
		reply_stream_id(c, id);
	else if (*ret && reply)
		status = reply_stream_entry(c, &entry);
	stream_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

enum claim_result { CLAIM_LEFT, CLAIM_GONE, CLAIM_TAKEN };

/* `old`: as it is pending, or NULL. */
static int
claim_one(struct command_context *c, struct claim *claim, struct stream_id id,
	  const struct stream_pending *old, enum claim_result *ret)
{
	bool there;
	uint64_t now = c->view.now_ms;
	*ret = CLAIM_LEFT;
	int status = find_entry(c, claim, id, false, &there);
	if (status != SETT_OK)
		return status;
	if (!there) {
		*ret = CLAIM_GONE;
		status = old != NULL ? stream_pending_remove(claim->group, old) : SETT_OK;
		return status == SETT_OK && old != NULL ? propagate_acknowledged(c, claim->group, id)
							: status;
	}
	uint64_t idle = old != NULL && now > old->delivered ? now - old->delivered : 0;
	if ((old == NULL && !claim->force) ||
	    (old != NULL && claim->idle > 0 && idle < (uint64_t)claim->idle))
		return SETT_OK;
	if (claim->consumer == NULL)
		status = use_group_consumer(c, claim->group, claim->name, false, &claim->consumer);
	if (status != SETT_OK)
		return status;
	/* An entry that was not pending counts as delivered before. */
	uint64_t count = (old != NULL ? old->count : 1) + !claim->just_ids;
	if (claim->count >= 0)
		count = (uint64_t)claim->count;
	if (claim->delivered >= 0)
		now = (uint64_t)claim->delivered;
	status = stream_pending_put(claim->group, id, claim->consumer, now, count, old);
	if (status == SETT_OK)
		status = propagate_pending(c, claim->group, claim->name, id, now, count);
	if (status == SETT_OK)
		status = find_entry(c, claim, id, true, &there);
	*ret = CLAIM_TAKEN;
	return status;
}

/* ---- XCLAIM ---- */

static bool
parse_claim_option(struct command_context *c, size_t *i, struct claim *claim)
{
	struct bytes option = c->argv[*i];
	bool has_more = *i + 1 < c->argc;
	int64_t now = (int64_t)c->view.now_ms;
	if (argument_is(option, "FORCE")) {
		claim->force = true;
	} else if (argument_is(option, "JUSTID")) {
		claim->just_ids = true;
	} else if (argument_is(option, "IDLE") && has_more) {
		if (!parse_claim_integer(c, c->argv[++*i], "IDLE option", &claim->delivered))
			return false;
		claim->delivered = __builtin_sub_overflow(now, claim->delivered, &claim->delivered)
			? now
			: claim->delivered;
	} else if (argument_is(option, "TIME") && has_more) {
		return parse_claim_integer(c, c->argv[++*i], "TIME option", &claim->delivered);
	} else if (argument_is(option, "RETRYCOUNT") && has_more) {
		return parse_claim_integer(c, c->argv[++*i], "RETRYCOUNT option", &claim->count);
	} else if (argument_is(option, "LASTID") && has_more) {
		return context_stream_id(c, c->argv[++*i], &claim->last);
	} else {
		context_errorf(c, "ERR Unrecognized XCLAIM option '%.*s'", (int)option.size,
			       (const char *)option.data);
		return false;
	}
	return true;
}

int
command_xclaim(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct claim claim = {.group = &g, .name = c->argv[3], .delivered = -1, .count = -1};
	size_t ids_end = 5, taken = 0;
	struct stream_id id;
	propagate_nothing(c); /* but what it has done */
	int status = open_needed_group(c, c->argv[1], c->argv[2], &s, &g);
	if (status != SETT_OK)
		return status;
	if (!context_stream_name(c, claim.name) ||
	    !parse_claim_integer(c, c->argv[4], "min-idle-time", &claim.idle))
		return OUTCOME_FAILED;
	while (ids_end < c->argc && parse_stream_id(c->argv[ids_end], 0, &id))
		ids_end++;
	for (size_t i = ids_end; i < c->argc; i++)
		if (!parse_claim_option(c, &i, &claim))
			return OUTCOME_FAILED;
	if (claim.delivered > (int64_t)c->view.now_ms)
		claim.delivered = -1;
	if (stream_id_compare(claim.last, g.last) > 0) {
		/* A master's XREADGROUP: the entry was read. */
		if (c->client->loads && parse_stream_id(c->argv[5], 0, &id) &&
		    stream_id_compare(id, claim.last) == 0)
			stream_group_read(&g, id);
		g.last = claim.last;
		g.changed = true;
		status = propagate_position(c, &g);
	}
	size_t array = resp_deferred_begin(c->reply);
	for (size_t i = 5; i < ids_end && status == SETT_OK; i++) {
		struct stream_pending old;
		enum claim_result result = CLAIM_LEFT;
		if (!parse_stream_id(c->argv[i], 0, &id))
			break;
		status = stream_pending_get(&g, id, &old);
		if (status == SETT_OK || status == SETT_NOT_FOUND)
			status = claim_one(c, &claim, id, status == SETT_OK ? &old : NULL, &result);
		taken += result == CLAIM_TAKEN;
	}
	if (status != SETT_OK)
		return status;
	resp_deferred_array_end(c->reply, array, taken);
	return save_group(&g);
}

/* ---- XAUTOCLAIM ---- */

static bool
parse_xautoclaim(struct command_context *c, struct claim *claim, struct stream_id *ret_start,
		 int64_t *ret_count)
{
	*ret_count = 100;
	if (!parse_claim_integer(c, c->argv[4], "min-idle-time", &claim->idle) ||
	    !context_stream_bound(c, c->argv[5], false, ret_start))
		return false;
	for (size_t i = 6; i < c->argc; i++) {
		if (argument_is(c->argv[i], "COUNT") && i + 1 < c->argc) {
			if (!context_integer_range(c, c->argv[++i], 1, INT64_MAX / 16,
						   "ERR COUNT must be > 0", ret_count))
				return false;
		} else if (argument_is(c->argv[i], "JUSTID")) {
			claim->just_ids = true;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	return true;
}

int
command_xautoclaim(struct command_context *c)
{
	enum { LOOKED_AT = 10 /* for each entry to be claimed */ };
	struct open_stream s;
	struct stream_group g;
	struct claim claim = {.group = &g, .name = c->argv[3], .delivered = -1, .count = -1};
	struct stream_pending *list;
	struct stream_id start;
	size_t found, i = 0, taken = 0, gone = 0;
	int64_t count;
	propagate_nothing(c); /* but what it has done */
	if (!context_stream_name(c, claim.name) || !parse_xautoclaim(c, &claim, &start, &count))
		return OUTCOME_FAILED;
	int status = open_needed_group(c, c->argv[1], c->argv[2], &s, &g);
	uint64_t most = LOOKED_AT * (uint64_t)count;
	if (status == SETT_OK && most > STREAM_LONG_PENDING && g.pending > STREAM_LONG_PENDING)
		status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = stream_pending_list(&g, NULL, start, (struct stream_id){UINT64_MAX, UINT64_MAX},
					     most + 1, &list, &found);
	if (status != SETT_OK)
		return status;
	struct resp_writer entries;
	resp_writer_init(&entries, c->reply->protocol);
	struct resp_writer *reply = c->reply;
	c->reply = &entries;
	for (; i < found && i < most && count > 0 && status == SETT_OK; i++) {
		enum claim_result result = CLAIM_LEFT;
		status = claim_one(c, &claim, list[i].id, &list[i], &result);
		taken += result == CLAIM_TAKEN;
		count -= result != CLAIM_LEFT;
		/* Those that are gone come to the front: the list of ids is told at the end. */
		if (result == CLAIM_GONE)
			list[gone++] = list[i];
	}
	c->reply = reply;
	resp_array(c->reply, 3);
	reply_stream_id(c, i < found ? list[i].id : (struct stream_id){0});
	resp_array(c->reply, taken);
	resp_raw(c->reply, entries.data, entries.size);
	c->reply->failed |= entries.failed;
	resp_writer_free(&entries);
	resp_array(c->reply, gone);
	for (size_t n = 0; n < gone; n++)
		reply_stream_id(c, list[n].id);
	return status == SETT_OK ? save_group(&g) : status;
}
