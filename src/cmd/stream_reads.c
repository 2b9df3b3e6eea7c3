/* XRANGE, XREVRANGE, XREAD and XREADGROUP. */
#include "cmd/commands.h"
#include "cmd/stream_groups.h"
#include "storage/base/clock.h"
#include "txn/propagation.h"

struct xrange {
	struct stream_id ids[2];
	bool backward;
	uint64_t most;
};

/* Makes the reply in memory, unless it is long. */
static int
reply_if_short(struct command_context *c, struct stream *s, const struct xrange *x, bool *ret_is_long,
	       uint64_t *ret_count)
{
	enum { LONG_ENTRIES = 1000, LONG_BYTES = 256 * 1024 };
	struct stream_walk walk;
	struct stream_entry entry;
	size_t start = c->reply->size, array = resp_deferred_begin(c->reply);
	uint64_t count = 0;
	bool is_long = false;
	int status = SETT_OK;
	stream_walk(s, x->ids[0], x->ids[1], x->backward, &walk);
	while (count < x->most && !is_long && (status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		is_long = count == LONG_ENTRIES || c->reply->size - start > LONG_BYTES;
		status = is_long ? SETT_OK : reply_stream_entry(c, &entry);
		count++;
		if (status != SETT_OK)
			break;
	}
	stream_walk_close(&walk);
	resp_deferred_array_end(c->reply, array, count);
	if (is_long)
		resp_truncate(c->reply, start);
	*ret_is_long = is_long;
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
count_entries(struct command_context *c, struct stream *s, const struct xrange *x, uint64_t *ret)
{
	struct stream_walk walk;
	struct stream_entry entry;
	uint64_t count = 0;
	int status = SETT_OK;
	stream_walk(s, x->ids[0], x->ids[1], x->backward, &walk);
	while (count < x->most && status == SETT_OK) {
		status = context_is_given_up(c) ? context_give_up(c) : stream_walk_next(&walk, &entry);
		count += status == SETT_OK;
	}
	stream_walk_close(&walk);
	*ret = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* An array of entries; how many they are. */
static int
reply_range(struct command_context *c, struct stream *s, const struct xrange *x, uint64_t *ret_count)
{
	bool is_long;
	int status = reply_if_short(c, s, x, &is_long, ret_count);
	if (status != SETT_OK || !is_long)
		return status;
	status = context_enter_long_lane(c);
	if (status == SETT_OK && !key_is_changed(s->key)) {
		size_t start = c->reply->size;
		status = count_entries(c, s, x, ret_count);
		if (status != SETT_OK)
			return status;
		resp_array(c->reply, *ret_count);
		status = reply_stream_source(c, s, x->ids, x->backward, *ret_count);
		if (status != SETT_TOO_LARGE)
			return status;
		/* No snapshot can be kept. */
		resp_truncate(c->reply, start);
		status = SETT_OK;
	}
	return status == SETT_OK ? reply_stream_range(c, s, x->ids, x->backward, x->most, ret_count) : status;
}

static int
range_command(struct command_context *c, bool backward)
{
	struct open_stream s;
	struct xrange x = {.backward = backward};
	int64_t count = -1;
	uint64_t replied;
	if (!context_stream_bound(c, c->argv[backward ? 3 : 2], false, &x.ids[0]) ||
	    !context_stream_bound(c, c->argv[backward ? 2 : 3], true, &x.ids[1]))
		return OUTCOME_FAILED;
	for (size_t i = 4; i < c->argc; i += 2) {
		if (!argument_is(c->argv[i], "COUNT") || i + 1 >= c->argc)
			return context_syntax_error(c);
		if (!context_integer(c, c->argv[i + 1], &count))
			return OUTCOME_FAILED;
		if (count < 0)
			count = 0;
	}
	x.most = count < 0 ? UINT64_MAX : (uint64_t)count;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		resp_array(c->reply, 0);
	else if (count == 0)
		resp_null_array(c->reply);
	else
		return reply_range(c, &s.stream, &x, &replied);
	return SETT_OK;
}

int
command_xrange(struct command_context *c)
{
	return range_command(c, false);
}

int
command_xrevrange(struct command_context *c)
{
	return range_command(c, true);
}

/* ---- XREAD and XREADGROUP ---- */

struct xread {
	uint64_t count; /* of each stream; 0: all */
	bool waits, noack, claims;
	uint64_t claim_idle_ms;    /* claims: what is pending for as long is read first */
	const struct bytes *group; /* of XREADGROUP its name, and the consumer's; else NULL */
	uint64_t until_ns;
	size_t first, streams;     /* the first key's argument, and how many there are */
	struct xread_stream *each; /* in the arena */
};

struct xread_stream {
	struct stream_id after; /* what is read comes after this id */
	bool is_open;
	bool is_new; /* `>`: entries that the group has not read */
	struct open_stream s;
	struct stream_group group;
};

static bool
parse_block(struct command_context *c, struct bytes argument, struct xread *x)
{
	enum { NS_PER_MS = 1000000 };
	int64_t ms;
	uint64_t now_ns = clock_monotonic_ns(c->server->clock);
	if (c->in_script) {
		context_errorf(c, "ERR %.*s command is not allowed with BLOCK option from scripts",
			       (int)c->argv[0].size, (const char *)c->argv[0].data);
		return false;
	}
	if (!context_integer_or(c, argument, "ERR timeout is not an integer or out of range", &ms))
		return false;
	if (ms < 0)
		return context_error(c, "ERR timeout is negative") == SETT_OK;
	x->waits = true;
	/* Centuries from now is for ever. */
	x->until_ns = ms == 0 || (uint64_t)ms > (UINT64_MAX / 2 - now_ns) / NS_PER_MS
		? 0
		: now_ns + (uint64_t)ms * NS_PER_MS;
	return true;
}

static bool
parse_streams(struct command_context *c, size_t first, struct xread *x)
{
	size_t count = c->argc - first;
	x->first = first;
	x->streams = count / 2;
	if (count % 2 != 0)
		return context_error(
			       c,
			       "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must "
			       "be specified.") == SETT_OK;
	return true;
}

static bool
is_for_groups(struct command_context *c, const char *option)
{
	context_errorf(c, "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
		       option);
	return false;
}

static bool
has_group(struct command_context *c, const struct xread *x)
{
	if (x->group == NULL)
		return context_error(c, "ERR Missing GROUP option for XREADGROUP") == SETT_OK;
	return context_stream_name(c, x->group[1]);
}

static bool
parse_claim(struct command_context *c, struct bytes argument, struct xread *x)
{
	int64_t ms;
	if (!context_integer_or(c, argument, "ERR min-idle-time is not an integer", &ms))
		return false;
	if (ms < 0)
		return context_error(c, "ERR min-idle-time must be a positive integer") == SETT_OK;
	x->claims = true;
	x->claim_idle_ms = (uint64_t)ms;
	return true;
}

static bool
parse_xread(struct command_context *c, bool for_group, struct xread *x)
{
	int64_t count;
	for (size_t i = 1; i < c->argc; i++) {
		bool has_more = i + 1 < c->argc;
		if (has_more && argument_is(c->argv[i], "BLOCK")) {
			if (!parse_block(c, c->argv[++i], x))
				return false;
		} else if (has_more && argument_is(c->argv[i], "COUNT")) {
			if (!context_integer(c, c->argv[++i], &count))
				return false;
			x->count = count > 0 ? (uint64_t)count : 0;
		} else if (has_more && argument_is(c->argv[i], "STREAMS")) {
			return parse_streams(c, i + 1, x) && (!for_group || has_group(c, x));
		} else if (i + 2 < c->argc && argument_is(c->argv[i], "GROUP")) {
			if (!for_group)
				return is_for_groups(c, "GROUP");
			x->group = c->argv + i + 1;
			i += 2;
		} else if (has_more && argument_is(c->argv[i], "CLAIM")) {
			if (!for_group)
				return is_for_groups(c, "CLAIM");
			if (!parse_claim(c, c->argv[++i], x))
				return false;
		} else if (argument_is(c->argv[i], "NOACK")) {
			if (!for_group)
				return is_for_groups(c, "NOACK");
			x->noack = true;
		} else {
			break;
		}
	}
	context_syntax_error(c);
	return false;
}

static int
open_once(struct command_context *c, const struct xread *x, size_t i)
{
	struct xread_stream *one = &x->each[i];
	struct bytes name = c->argv[x->first + i];
	if (one->is_open)
		return SETT_OK;
	if (c->served != NULL) {
		/* Who has waited is not told that the key holds something else: it goes on waiting. */
		if (!bytes_equal(c->served_key, name))
			return SETT_OK;
		int status = key_open(&c->view, c->db, name, &one->s.key);
		if (status != SETT_OK || (one->s.key.exists && one->s.key.root.type != VALUE_STREAM))
			return status;
	}
	int status = open_stream(c, name, &one->s);
	one->is_open = status == SETT_OK;
	return status;
}

/* Who waits for what a group has not read is told that the stream, or the group, is gone. */
static int
open_read_group(struct command_context *c, const struct xread *x, size_t i)
{
	struct xread_stream *one = &x->each[i];
	struct bytes name = c->argv[x->first + i];
	if (c->served != NULL && !bytes_equal(c->served_key, name))
		return SETT_OK;
	int status = open_key(c, name, &one->s.key);
	if (status == SETT_OK && c->served != NULL &&
	    (!one->s.key.exists || one->s.key.root.type != VALUE_STREAM))
		return context_error(c, "UNBLOCKED the stream key no longer exists");
	if (status == SETT_OK)
		status = open_group(c, name, x->group[0], &one->s, &one->group);
	one->is_open = status == SETT_OK;
	if (status != SETT_NOT_FOUND)
		return status;
	if (c->served != NULL)
		return context_error(
			c, "NOGROUP the consumer group this client was blocked on no longer exists");
	return context_errorf(
		c, "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP option",
		(int)name.size, (const char *)name.data, (int)x->group[0].size,
		(const char *)x->group[0].data);
}

static int
read_group_id(struct command_context *c, struct xread *x, size_t i)
{
	struct bytes text = c->argv[x->first + x->streams + i];
	int status = open_read_group(c, x, i);
	if (status != SETT_OK)
		return status;
	if (argument_is(text, "$"))
		return context_error(
			c,
			"ERR The $ ID is meaningless in the context of XREADGROUP: you want to read "
			"the history of this consumer by specifying a proper ID, or use the > ID to "
			"get new messages. The $ ID would just return an empty result set.");
	struct xread_stream *one = &x->each[i];
	one->is_new = argument_is(text, ">");
	if (one->is_new)
		return SETT_OK;
	if (!context_stream_id(c, text, &one->after))
		return OUTCOME_FAILED;
	/* In Redis the largest id stands for `>`. */
	one->is_new = one->after.ms == UINT64_MAX && one->after.seq == UINT64_MAX;
	x->waits &= one->is_new; /* history is there at once */
	return SETT_OK;
}

/* `$` is the last id that the stream has now. */
static int
read_id(struct command_context *c, const struct xread *x, size_t i)
{
	struct bytes text = c->argv[x->first + x->streams + i];
	if (argument_is(text, ">"))
		return context_error(
			c,
			"ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
			"<group> <consumer> option.");
	if (!argument_is(text, "$"))
		return context_stream_id(c, text, &x->each[i].after) ? SETT_OK : OUTCOME_FAILED;
	int status = open_once(c, x, i);
	if (status == SETT_OK)
		x->each[i].after = x->each[i].s.stream.last;
	return status;
}

/* Appends [name, entries] if there are any. */
static int
read_stream(struct command_context *c, const struct xread *x, size_t i, uint64_t *replied)
{
	enum {
		STREAMS_FEW =
			9 /* their number takes one digit: what is read while it is sent stays in its place */
	};
	struct xread_stream *one = &x->each[i];
	struct xrange range = {.ids = {one->after, {UINT64_MAX, UINT64_MAX}},
			       .most = x->count > 0 ? x->count : UINT64_MAX};
	if (!one->is_open || stream_id_compare(one->s.stream.last, one->after) <= 0 ||
	    !stream_id_increase(&range.ids[0]))
		return SETT_OK;
	size_t start = c->reply->size;
	uint64_t count;
	if (c->protocol == 2)
		resp_array(c->reply, 2);
	reply_bytes(c, c->argv[x->first + i]);
	int status = x->streams <= STREAMS_FEW
		? reply_range(c, &one->s.stream, &range, &count)
		: reply_stream_range(c, &one->s.stream, range.ids, false, range.most, &count);
	if (status == SETT_OK && count == 0)
		resp_truncate(c->reply, start);
	*replied += count > 0;
	return status;
}

/* Ids, in the arena. */
struct id_list {
	struct stream_id *ids;
	size_t count, capacity;
	struct stream_id node; /* in which the last entry was found; zeros: in none */
};

static int
add_id(struct command_context *c, struct id_list *list, struct stream_id id)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
		struct stream_id *more =
			arena_allocate(c->arena, capacity * sizeof(*more), _Alignof(struct stream_id));
		if (more == NULL)
			return SETT_NO_MEMORY;
		if (list->count > 0)
			memcpy(more, list->ids, list->count * sizeof(*more));
		list->ids = more;
		list->capacity = capacity;
	}
	list->ids[list->count++] = id;
	return SETT_OK;
}

/* The entry is delivered to the consumer now. */
static int
put_pending(struct command_context *c, struct stream_group *g, struct stream_consumer *consumer,
	    struct stream_id id, uint64_t count, const struct stream_pending *old)
{
	uint64_t now = c->view.now_ms;
	int status = stream_pending_put(g, id, consumer, now, count, old);
	return status == SETT_OK ? propagate_pending(c, g, consumer->name, id, now, count) : status;
}

/* One that is pending; if it was deleted, it is pending no more. */
static int
claim_entry(struct command_context *c, struct stream_group *g, struct stream_consumer *consumer,
	    const struct stream_pending *pending, uint64_t *claimed)
{
	struct stream_walk walk;
	struct stream_entry entry;
	uint64_t now = c->view.now_ms, idle = now > pending->delivered ? now - pending->delivered : 0;
	stream_walk(g->stream, pending->id, pending->id, false, &walk);
	int status = stream_walk_next(&walk, &entry);
	bool is_gone = status == SETT_NOT_FOUND;
	if (status == SETT_OK)
		status = reply_claimed_entry(c, &entry, idle, pending->count);
	stream_walk_close(&walk);
	if (is_gone) {
		status = stream_pending_remove(g, pending);
		return status == SETT_OK ? propagate_acknowledged(c, g, pending->id) : status;
	}
	++*claimed;
	return status == SETT_OK ? put_pending(c, g, consumer, pending->id, pending->count + 1, pending)
				 : status;
}

/* Claims what has been pending for long enough, the oldest first, up to `most`. */
static int
claim_oldest(struct command_context *c, const struct xread *x, struct stream_group *g, uint64_t most,
	     uint64_t *ret)
{
	/* A run removes no more, so that its transaction is not too large: the next one goes on. */
	enum { REMOVED_MAX = 10000 };
	struct stream_consumer *consumer;
	struct stream_pending *list;
	size_t count = 0;
	uint64_t pending = g->pending, removed = 0, before;
	int status;
	/* Again if some were deleted: others may be as old. Each time fewer are pending that old. With CLAIM 0 those that were
	 * claimed just now are, too, so it goes on until there is one. A list passes over all that was removed before, so each
	 * is far longer than that. */
	do {
		uint64_t asked = most - *ret > 8 * removed ? most - *ret : 8 * removed;
		before = removed;
		status = asked > STREAM_LONG_PENDING && g->pending > STREAM_LONG_PENDING
			? context_enter_long_lane(c)
			: SETT_OK;
		if (status == SETT_OK)
			status = stream_pending_oldest(g, c->view.now_ms - x->claim_idle_ms, asked, &list,
						       &count);
		if (status == SETT_OK && count > 0)
			status = use_group_consumer(c, g, x->group[1], true, &consumer);
		for (size_t i = 0; i < count && status == SETT_OK && *ret < most && removed < REMOVED_MAX;
		     i++) {
			status = claim_entry(c, g, consumer, &list[i], ret);
			removed = pending - g->pending;
		}
	} while (status == SETT_OK && removed > before && removed < REMOVED_MAX && *ret < most &&
		 (x->claim_idle_ms > 0 || *ret == 0));
	return status;
}

/* Appends what it claims. */
static int
claim_idle(struct command_context *c, const struct xread *x, struct xread_stream *one, uint64_t most,
	   uint64_t *ret)
{
	const struct stream_group *g = &one->group;
	*ret = 0;
	if (!x->claims || c->view.now_ms < x->claim_idle_ms)
		return SETT_OK;
	/* Time brings it here, too, while writes are paused: it looks again when they are not. */
	if (c->served != NULL && context_is_paused(c, false)) {
		context_wake_at(c, c->view.now_ms + 1);
		return SETT_OK;
	}
	/* The first one who claims begins the ages of all. */
	int status =
		g->pending > STREAM_LONG_PENDING && g->oldest == 0 ? context_enter_long_lane(c) : SETT_OK;
	return status == SETT_OK ? claim_oldest(c, x, &one->group, most, ret) : status;
}

/* Nothing is old enough: when the oldest will be. What is delivered later touches the key, so this runs again. */
static void
wake_for_oldest(struct command_context *c, const struct xread *x, const struct stream_group *g)
{
	uint64_t at;
	/* Without ages it asks for what is older than time. */
	if (!x->claims || !x->waits || g->pending == 0 || g->oldest == 0)
		return;
	if (!__builtin_add_overflow(g->oldest - 1, x->claim_idle_ms, &at))
		context_wake_at(c, at > c->view.now_ms ? at : c->view.now_ms + 1);
}

static int
deliver(struct command_context *c, const struct xread *x, struct stream_group *g, const struct id_list *list)
{
	struct stream_consumer *consumer;
	int status = list->count > 0 ? use_group_consumer(c, g, x->group[1], x->noack, &consumer) : SETT_OK;
	for (size_t i = 0; i < list->count && status == SETT_OK; i++) {
		struct stream_pending old;
		stream_group_read(g, list->ids[i]);
		if (x->noack)
			continue;
		/* After XGROUP SETID it may be pending already. */
		status = stream_pending_get(g, list->ids[i], &old);
		if (status == SETT_OK || status == SETT_NOT_FOUND)
			status =
				put_pending(c, g, consumer, list->ids[i], 1, status == SETT_OK ? &old : NULL);
	}
	if (list->count > 0)
		stream_group_note_node(g, list->node);
	/* Else the entries' XCLAIMs tell of it. */
	return status == SETT_OK && list->count > 0 && x->noack ? propagate_position(c, g) : status;
}

/* Appends entries that the group has not read. */
static int
list_new(struct command_context *c, const struct xread *x, struct xread_stream *one, uint64_t most,
	 struct id_list *list)
{
	struct stream_id from = one->group.last;
	struct stream_walk walk;
	struct stream_entry entry;
	int status = SETT_OK;
	if (!stream_id_increase(&from))
		return SETT_OK;
	stream_walk(&one->s.stream, from, (struct stream_id){UINT64_MAX, UINT64_MAX}, false, &walk);
	stream_walk_behind(&walk, stream_group_node(&one->group));
	while (list->count < most && (status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		status = x->claims ? reply_claimed_entry(c, &entry, 0, 0) : reply_stream_entry(c, &entry);
		if (status == SETT_OK)
			status = add_id(c, list, entry.id);
		list->node = stream_walk_node(&walk);
		if (status == SETT_OK && list->count % STREAM_LONG_PENDING == 0)
			status = context_enter_long_lane(c);
		if (status != SETT_OK)
			break;
	}
	stream_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Appends what is claimed, and the entries that the group has not read; they become pending once the walk is over. */
static int
read_new(struct command_context *c, const struct xread *x, struct xread_stream *one, uint64_t *ret_count)
{
	struct id_list list = {0};
	uint64_t most = x->count > 0 ? x->count : UINT64_MAX;
	size_t array = resp_deferred_begin(c->reply);
	int status = claim_idle(c, x, one, most, ret_count);
	if (status == SETT_OK)
		status = list_new(c, x, one, most - *ret_count, &list);
	if (status != SETT_OK)
		return status;
	*ret_count += list.count;
	resp_deferred_array_end(c->reply, array, *ret_count);
	return deliver(c, x, &one->group, &list);
}

/* Appends what is pending for the consumer; of entries that were deleted the id alone. */
static int
read_history(struct command_context *c, const struct xread *x, struct xread_stream *one)
{
	struct stream_group *g = &one->group;
	struct stream_consumer *consumer;
	struct stream_pending *list = NULL;
	struct stream_id from = one->after;
	size_t count = 0;
	int status = use_group_consumer(c, g, x->group[1], true, &consumer);
	if (status == SETT_OK && consumer->pending > STREAM_LONG_PENDING &&
	    (x->count == 0 || x->count > STREAM_LONG_PENDING))
		status = context_enter_long_lane(c);
	if (status == SETT_OK && stream_id_increase(&from))
		status = stream_pending_list(g, consumer, from, (struct stream_id){UINT64_MAX, UINT64_MAX},
					     x->count > 0 ? x->count : UINT64_MAX, &list, &count);
	if (status == SETT_OK)
		resp_array(c->reply, count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		struct stream_walk walk;
		struct stream_entry entry;
		stream_walk(&one->s.stream, list[i].id, list[i].id, false, &walk);
		status = stream_walk_next(&walk, &entry);
		bool is_gone = status == SETT_NOT_FOUND;
		if (is_gone) {
			resp_array(c->reply, 2);
			reply_stream_id(c, list[i].id);
			resp_null_array(c->reply);
			status = SETT_OK;
		} else if (status == SETT_OK) {
			status = reply_stream_entry(c, &entry);
		}
		stream_walk_close(&walk);
		if (status == SETT_OK && !is_gone)
			status = put_pending(c, g, consumer, list[i].id, list[i].count + 1, &list[i]);
	}
	return status;
}

static int
read_for_group(struct command_context *c, const struct xread *x, size_t i, uint64_t *replied)
{
	struct xread_stream *one = &x->each[i];
	int status = SETT_OK;
	if (!one->is_open)
		return SETT_OK;
	/* The key may be there twice. */
	if (i > 0)
		status = open_read_group(c, x, i);
	bool has_more = one->s.stream.count > 0 && stream_id_compare(one->s.stream.last, one->group.last) > 0;
	/* Ages are kept from the first one on who claims. */
	bool may_claim = x->claims && (one->group.pending > 0 || one->group.oldest == 0);
	if (status != SETT_OK || (one->is_new && !has_more && !may_claim))
		return status;
	size_t start = c->reply->size;
	uint64_t count = 0, pending = one->group.pending, oldest = one->group.oldest;
	if (c->protocol == 2)
		resp_array(c->reply, 2);
	reply_bytes(c, c->argv[x->first + i]);
	status = one->is_new ? read_new(c, x, one, &count) : read_history(c, x, one);
	bool is_empty = one->is_new && count == 0;
	if (status == SETT_OK && is_empty) {
		resp_truncate(c->reply, start);
		wake_for_oldest(c, x, &one->group);
	}
	*replied += !is_empty;
	/* Who goes on waiting and has but looked commits nothing: a mark that has moved does not matter. */
	if (c->served != NULL && is_empty && one->group.pending == pending && oldest > 0)
		return status;
	return status == SETT_OK ? save_group(&one->group) : status;
}

/* Waits with ids in the place of `$`: who is served by an entry has waited for all that came after that moment. */
static int
wait_for_streams(struct command_context *c, const struct xread *x)
{
	struct bytes *argv = arena_allocate(c->arena, c->argc * sizeof(*argv), _Alignof(struct bytes));
	char *texts = arena_allocate(c->arena, x->streams * STREAM_ID_TEXT_MAX, 1);
	size_t used = 0;
	if (argv == NULL || texts == NULL)
		return SETT_NO_MEMORY;
	memcpy(argv, c->argv, c->argc * sizeof(*argv));
	for (size_t i = 0; i < x->streams; i++) {
		struct bytes *argument = &argv[x->first + x->streams + i];
		if (!argument_is(*argument, "$"))
			continue;
		*argument = bytes_of(texts + used, stream_id_text(x->each[i].after, texts + used));
		used += argument->size;
	}
	return context_wait_with(c, argv, bytes_of(texts, used), c->argv + x->first, x->streams, VALUE_STREAM,
				 x->until_ns);
}

static int
read_streams(struct command_context *c, bool for_group)
{
	struct xread x = {0};
	uint64_t replied = 0;
	int status = SETT_OK;
	if (!parse_xread(c, for_group, &x))
		return OUTCOME_FAILED;
	x.each = arena_allocate(c->arena, x.streams * sizeof(*x.each), _Alignof(struct xread_stream));
	if (x.each == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < x.streams && status == SETT_OK; i++) {
		x.each[i].is_open = false;
		status = for_group ? read_group_id(c, &x, i) : read_id(c, &x, i);
	}
	for (size_t i = 0; i < x.streams && status == SETT_OK && !for_group; i++)
		status = open_once(c, &x, i);
	if (status != SETT_OK)
		return status;
	size_t start = c->reply->size, map = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < x.streams && status == SETT_OK; i++)
		status = for_group ? read_for_group(c, &x, i, &replied) : read_stream(c, &x, i, &replied);
	if (status != SETT_OK)
		return status;
	if (replied > 0) {
		if (c->protocol == 2)
			resp_deferred_array_end(c->reply, map, replied);
		else
			resp_deferred_map_end(c->reply, map, replied);
		return SETT_OK;
	}
	resp_deferred_array_end(c->reply, map, 0);
	resp_truncate(c->reply, start);
	if (x.waits)
		return wait_for_streams(c, &x);
	resp_null_array(c->reply);
	return SETT_OK;
}

int
command_xread(struct command_context *c)
{
	return read_streams(c, false);
}

int
command_xreadgroup(struct command_context *c)
{
	propagate_nothing(c); /* but what it has done */
	return read_streams(c, true);
}
