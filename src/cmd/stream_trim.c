/* Trimming: XTRIM, and XADD's options. */
#include "cmd/commands.h"
#include "cmd/streams.h"
#include "config/config.h"
#include "txn/propagation.h"

/* Approximate trimming goes by whole nodes in Redis, which have so many entries. */
static uint64_t
entries_per_node(const struct command_context *c)
{
	int64_t n = __atomic_load_n(&c->server->config->stream_node_max_entries, __ATOMIC_RELAXED);
	return n > 0 ? (uint64_t)n : 100;
}

/* The option at argv[i], if it is MAXLEN or MINID with their threshold; how many arguments it is, 0: it is none, -1: the
 * error reply was given. */
static int
parse_strategy(struct command_context *c, size_t i, struct stream_trim *trim)
{
	bool by_count = argument_is(c->argv[i], "MAXLEN");
	size_t more = c->argc - 1 - i, at = i + 1;
	int64_t count;
	if ((!by_count && !argument_is(c->argv[i], "MINID")) || more == 0)
		return 0;
	if (trim->by != TRIM_NOTHING) {
		context_error(
			c, "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
		return -1;
	}
	trim->by = by_count ? TRIM_COUNT : TRIM_BELOW;
	trim->approximate = more >= 2 && argument_is(c->argv[at], "~");
	if (trim->approximate || (more >= 2 && argument_is(c->argv[at], "=")))
		at++;
	if (!by_count)
		return context_stream_id(c, c->argv[at], &trim->below) ? (int)(at + 1 - i) : -1;
	if (!context_integer(c, c->argv[at], &count))
		return -1;
	if (count < 0) {
		context_error(c, "ERR The MAXLEN argument must be >= 0.");
		return -1;
	}
	trim->count = (uint64_t)count;
	return (int)(at + 1 - i);
}

/* The same for LIMIT. */
static int
parse_limit(struct command_context *c, size_t i, struct stream_trim *trim)
{
	if (!argument_is(c->argv[i], "LIMIT") || i + 1 >= c->argc)
		return 0;
	if (!context_integer(c, c->argv[i + 1], &trim->limit))
		return -1;
	if (trim->limit < 0) {
		context_error(c, "ERR The LIMIT argument must be >= 0.");
		return -1;
	}
	trim->has_limit = true;
	return 2;
}

bool
context_check_trim(struct command_context *c, struct stream_trim *trim)
{
	enum { LIMIT_MOST = 1000000, NODES = 100 };
	if (trim->limit != 0 && trim->by == TRIM_NOTHING) {
		context_error(
			c, "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
		return false;
	}
	if (trim->has_limit && !trim->approximate) {
		context_error(c, "ERR syntax error, LIMIT cannot be used without the special ~ option");
		return false;
	}
	if (!trim->has_limit && trim->approximate) {
		uint64_t limit = entries_per_node(c) < LIMIT_MOST ? NODES * entries_per_node(c) : LIMIT_MOST;
		trim->limit = limit < LIMIT_MOST ? (int64_t)limit : LIMIT_MOST;
	}
	return true;
}

int
context_refs_mode(struct command_context *c, size_t i, enum stream_refs_mode *mode, bool *has_mode)
{
	static const char *const names[] = {
		[STREAM_KEEP_REFS] = "KEEPREF", [STREAM_DELETE_REFS] = "DELREF", [STREAM_ACKED] = "ACKED"};
	for (int m = STREAM_KEEP_REFS; m <= STREAM_ACKED; m++) {
		if (!argument_is(c->argv[i], names[m]))
			continue;
		if (*has_mode) {
			context_syntax_error(c);
			return -1;
		}
		*has_mode = true;
		*mode = (enum stream_refs_mode)m;
		return 1;
	}
	return 0;
}

int
context_stream_trim(struct command_context *c, size_t i, struct stream_trim *trim)
{
	int taken = parse_strategy(c, i, trim);
	if (taken == 0)
		taken = parse_limit(c, i, trim);
	return taken != 0 ? taken : context_refs_mode(c, i, &trim->refs, &trim->has_refs);
}

/* How many entries of the front go. */
static int
count_to_trim(struct command_context *c, struct stream *s, const struct stream_trim *trim, uint64_t *ret)
{
	uint64_t most = trim->limit > 0 ? (uint64_t)trim->limit : UINT64_MAX, count = 0;
	int status = SETT_OK;
	if (trim->by == TRIM_COUNT)
		count = s->count > trim->count ? s->count - trim->count : 0;
	else if (trim->by == TRIM_BELOW)
		status = stream_count_below(s, trim->below, most, &count);
	if (count > most)
		count = most;
	/* Redis' nodes begin at every so many entries added, as long as all were removed from the front. The last node may have
	 * fewer, and goes with all of its entries. */
	if (trim->approximate && count < s->count) {
		uint64_t gone = s->added > s->count ? s->added - s->count : 0;
		uint64_t beyond = (gone + count) % entries_per_node(c);
		count -= beyond < count ? beyond : count;
	}
	*ret = count;
	return status;
}

/* Up to `*count` entries, which is how many went. */
static int
remove_front(struct stream *s, const struct stream_trim *trim, uint64_t *count)
{
	struct stream_refs refs;
	struct stream_id last = {UINT64_MAX, UINT64_MAX};
	/* Those that groups want are passed over, but not that threshold. */
	if (trim->by == TRIM_BELOW) {
		last = trim->below;
		if (!stream_id_decrease(&last))
			return SETT_OK;
	}
	int status = stream_refs_open(s, trim->refs, &refs);
	if (status == SETT_OK)
		status = stream_refs_trim(&refs, *count, last, count);
	return status == SETT_OK ? stream_refs_save(&refs) : status;
}

int
trim_stream(struct command_context *c, struct stream *s, const struct stream_trim *trim, uint64_t *ret_count)
{
	enum { LONG_ENTRIES = 10000 };
	int status = count_to_trim(c, s, trim, ret_count);
	if (status == SETT_OK && *ret_count > LONG_ENTRIES)
		status = context_enter_long_lane(c);
	if (status == SETT_OK && *ret_count > 0)
		status = remove_front(s, trim, ret_count);
	if (status == SETT_OK && *ret_count > 0)
		status = key_event(s->key, EVENT_STREAM, "xtrim");
	return status;
}

int
propagate_length(struct command_context *c, const struct stream *s, struct propagated *p)
{
	int status = propagated_add(c, p, BYTES_LITERAL("MAXLEN"));
	if (status == SETT_OK)
		status = propagated_add(c, p, BYTES_LITERAL("="));
	return status == SETT_OK ? propagated_add(c, p, propagated_unsigned(c, s->count)) : status;
}

static int
propagate_trimmed(struct command_context *c, const struct stream *s)
{
	struct propagated p = {0};
	int status = propagated_add(c, &p, c->argv[1]);
	if (status == SETT_OK)
		status = propagate_length(c, s, &p);
	return status == SETT_OK && p.count > 0 ? propagate_as(c, "XTRIM", p.arguments, p.count) : status;
}

int
command_xtrim(struct command_context *c)
{
	struct stream_trim trim = {.by = TRIM_NOTHING};
	struct open_stream s;
	uint64_t count;
	for (size_t i = 2; i < c->argc;) {
		int taken = context_stream_trim(c, i, &trim);
		if (taken <= 0)
			return taken == 0 ? context_syntax_error(c) : OUTCOME_FAILED;
		i += (size_t)taken;
	}
	if (trim.by == TRIM_NOTHING && trim.limit == 0)
		return context_error(c, "ERR syntax error, XTRIM must be called with a trimming strategy");
	if (!context_check_trim(c, &trim))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists) {
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	status = trim_stream(c, &s.stream, &trim, &count);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)count);
	status = stream_save(&s.stream);
	return status == SETT_OK && count > 0 ? propagate_trimmed(c, &s.stream) : status;
}
