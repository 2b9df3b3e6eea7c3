/* XRANGE, XREVRANGE and XREAD. */
#include "cmd/streams.h"

#include "cmd/commands.h"
#include "storage/base/clock.h"

static int
range_command(struct command_context *c, bool backward)
{
	struct open_stream s;
	struct stream_id range[2];
	int64_t count = -1;
	if (!context_stream_bound(c, c->argv[backward ? 3 : 2], false, &range[0]) ||
	    !context_stream_bound(c, c->argv[backward ? 2 : 3], true, &range[1]))
		return OUTCOME_FAILED;
	for (size_t i = 4; i < c->argc; i += 2) {
		if (!argument_is(c->argv[i], "COUNT") || i + 1 >= c->argc)
			return context_syntax_error(c);
		if (!context_integer(c, c->argv[i + 1], &count))
			return OUTCOME_FAILED;
		if (count < 0)
			count = 0;
	}
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		resp_array(c->reply, 0);
	else if (count == 0)
		resp_null_array(c->reply);
	else
		return reply_stream_range(c, &s.stream, range, backward,
					  count < 0 ? UINT64_MAX : (uint64_t)count, NULL);
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

/* ---- XREAD ---- */

struct xread {
	uint64_t count; /* of each stream; 0: all */
	bool waits;
	uint64_t until_ns;
	size_t first, streams;     /* the first key's argument, and how many there are */
	struct xread_stream *each; /* in the arena */
};

struct xread_stream {
	struct stream_id after; /* what is read comes after this id */
	bool is_open, is_served;
	struct open_stream s;
};

static bool
parse_block(struct command_context *c, struct bytes argument, struct xread *x)
{
	enum { NS_PER_MS = 1000000 };
	int64_t ms;
	uint64_t now_ns = clock_monotonic_ns(c->server->clock);
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
parse_xread(struct command_context *c, struct xread *x)
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
			return parse_streams(c, i + 1, x);
		} else if ((i + 2 < c->argc && argument_is(c->argv[i], "GROUP")) ||
			   argument_is(c->argv[i], "NOACK")) {
			return context_errorf(c,
					      "ERR The %s option is only supported by XREADGROUP. You called "
					      "XREAD instead.",
					      argument_is(c->argv[i], "GROUP") ? "GROUP" : "NOACK") ==
				SETT_OK;
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
	struct xread_stream *one = &x->each[i];
	struct stream_id range[2] = {one->after, {UINT64_MAX, UINT64_MAX}};
	if (!one->is_open || stream_id_compare(one->s.stream.last, one->after) <= 0 ||
	    !stream_id_increase(&range[0]))
		return SETT_OK;
	size_t start = c->reply->size;
	uint64_t count;
	if (c->protocol == 2)
		resp_array(c->reply, 2);
	reply_bytes(c, c->argv[x->first + i]);
	int status = reply_stream_range(c, &one->s.stream, range, false, x->count > 0 ? x->count : UINT64_MAX,
					&count);
	if (status == SETT_OK && count == 0)
		resp_truncate(c->reply, start);
	*replied += count > 0;
	return status;
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

int
command_xread(struct command_context *c)
{
	struct xread x = {0};
	uint64_t replied = 0;
	int status = SETT_OK;
	if (!parse_xread(c, &x))
		return OUTCOME_FAILED;
	x.each = arena_allocate(c->arena, x.streams * sizeof(*x.each), _Alignof(struct xread_stream));
	if (x.each == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < x.streams && status == SETT_OK; i++) {
		x.each[i].is_open = false;
		status = read_id(c, &x, i);
	}
	for (size_t i = 0; i < x.streams && status == SETT_OK; i++)
		status = open_once(c, &x, i);
	if (status != SETT_OK)
		return status;
	size_t start = c->reply->size, map = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < x.streams && status == SETT_OK; i++)
		status = read_stream(c, &x, i, &replied);
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
