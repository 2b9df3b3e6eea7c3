/* XINFO. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "cmd/stream_groups.h"

static void
reply_name(struct command_context *c, const char *name)
{
	resp_bulk_string(c->reply, name);
}

static void
reply_numbers(struct command_context *c, const struct stream *s)
{
	uint64_t runs = s->nodes + (s->run_count > 0);
	reply_name(c, "length");
	resp_integer(c->reply, (int64_t)s->count);
	reply_name(c, "radix-tree-keys");
	resp_integer(c->reply, (int64_t)runs);
	reply_name(c, "radix-tree-nodes");
	resp_integer(c->reply, (int64_t)runs + 1);
	reply_name(c, "last-generated-id");
	reply_stream_id(c, s->last);
	reply_name(c, "max-deleted-entry-id");
	reply_stream_id(c, s->deleted);
	reply_name(c, "entries-added");
	resp_integer(c->reply, (int64_t)s->added);
	reply_name(c, "recorded-first-entry-id");
	reply_stream_id(c, s->first);
}

static int
reply_end_entry(struct command_context *c, struct stream *s, bool last)
{
	struct stream_walk walk;
	struct stream_entry entry;
	stream_walk(s, (struct stream_id){0}, (struct stream_id){UINT64_MAX, UINT64_MAX}, last, &walk);
	int status = stream_walk_next(&walk, &entry);
	if (status == SETT_OK)
		status = reply_stream_entry(c, &entry);
	stream_walk_close(&walk);
	if (status != SETT_NOT_FOUND)
		return status;
	resp_null(c->reply);
	return SETT_OK;
}

static int
reply_short(struct command_context *c, struct stream *s)
{
	resp_map(c->reply, 10);
	reply_numbers(c, s);
	reply_name(c, "groups");
	resp_integer(c->reply, (int64_t)s->groups);
	reply_name(c, "first-entry");
	int status = reply_end_entry(c, s, false);
	reply_name(c, "last-entry");
	return status == SETT_OK ? reply_end_entry(c, s, true) : status;
}

static int
reply_full(struct command_context *c, struct stream *s, uint64_t count)
{
	const struct stream_id all[2] = {{0}, {UINT64_MAX, UINT64_MAX}};
	resp_map(c->reply, 9);
	reply_numbers(c, s);
	reply_name(c, "entries");
	int status = reply_stream_range(c, s, all, false, count > 0 ? count : UINT64_MAX, NULL);
	reply_name(c, "groups");
	return status == SETT_OK ? reply_full_groups(c, s, count > 0 ? count : UINT64_MAX) : status;
}

int
command_xinfo_stream(struct command_context *c)
{
	enum { DEFAULT_COUNT = 10 };
	struct open_stream s;
	int64_t count = DEFAULT_COUNT;
	bool full = c->argc > 3;
	int status = open_stream(c, c->argv[2], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		return context_error(c, "ERR no such key");
	if (full && (!argument_is(c->argv[3], "FULL") || c->argc == 5 || c->argc > 6))
		return context_unknown_subcommand(c);
	if (c->argc == 6) {
		if (!argument_is(c->argv[4], "COUNT"))
			return context_unknown_subcommand(c);
		if (!context_integer(c, c->argv[5], &count))
			return OUTCOME_FAILED;
		if (count < 0)
			count = DEFAULT_COUNT;
	}
	return full ? reply_full(c, &s.stream, (uint64_t)count) : reply_short(c, &s.stream);
}

int
command_xinfo_help(struct command_context *c)
{
	static const char *const lines[] = {"CONSUMERS <key> <groupname>",
					    "    Show consumers of <groupname>.",
					    "GROUPS <key>",
					    "    Show the stream consumer groups.",
					    "STREAM <key> [FULL [COUNT <count>]",
					    "    Show information about the stream.",
					    NULL};
	return context_help(c, lines);
}
