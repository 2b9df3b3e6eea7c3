/* See as_of.h. */
#include "txn/as_of.h"

#include <inttypes.h>

#include "keyspace/integer.h"
#include "txn/server.h"

enum { ARGUMENTS = 4 };

int
as_of_parse(struct command_context *c, size_t first, struct as_of *ret)
{
	const struct bytes *argv = c->argv + first;
	int64_t number;
	*ret = (struct as_of){.kind = AS_OF_NOW};
	if (c->argc == first)
		return SETT_OK;
	if (c->argc != first + ARGUMENTS || !argument_is(argv[0], "as") || !argument_is(argv[1], "of"))
		return context_syntax_error(c);
	bool by_time = argument_is(argv[2], "timestamp");
	if (!by_time && !argument_is(argv[2], "commit"))
		return context_syntax_error(c);
	if (!parse_integer(argv[3], &number) || number < 0)
		return context_error(c, "ERR AS OF: the moment is no positive integer");
	*ret = (struct as_of){.kind = by_time ? AS_OF_TIMESTAMP : AS_OF_COMMIT, .number = (uint64_t)number};
	return SETT_OK;
}

static int
tell_gone(struct command_context *c, const struct moment *oldest)
{
	return context_errorf(
		c, "ERR AS OF: the oldest moment that is kept is TIMESTAMP %" PRIu64 ", COMMIT %" PRIu64,
		oldest->ms, oldest->commit);
}

static int
tell_to_come(struct command_context *c, const struct moment *newest)
{
	return context_errorf(c,
			      "ERR AS OF: it has not come yet: the newest moment is TIMESTAMP %" PRIu64
			      ", COMMIT %" PRIu64,
			      newest->ms, newest->commit);
}

static int
tell_none(struct command_context *c)
{
	return context_error(c, "ERR AS OF: no moment of the past is kept: as-of-window is 0");
}

int
as_of_find(struct command_context *c, const struct as_of *as_of, struct moment *ret)
{
	struct moments *moments = c->server->moments;
	enum moments_answer answer = as_of->kind == AS_OF_TIMESTAMP
		? moments_at_time(moments, as_of->number, ret)
		: moments_at_commit(moments, as_of->number, ret);
	switch (answer) {
	case MOMENTS_FOUND:
		return SETT_OK;
	case MOMENTS_GONE:
		return tell_gone(c, ret);
	case MOMENTS_TO_COME:
		return tell_to_come(c, ret);
	case MOMENTS_NONE:
		break;
	}
	return tell_none(c);
}

int
as_of_is_gone(struct command_context *c)
{
	struct moment oldest;
	return moments_oldest(c->server->moments, &oldest) ? tell_gone(c, &oldest) : tell_none(c);
}

void
as_of_reply(struct command_context *c, const struct moment *moment)
{
	resp_map(c->reply, 2);
	resp_bulk(c->reply, "commit", sizeof("commit") - 1);
	resp_integer(c->reply, (int64_t)moment->commit);
	resp_bulk(c->reply, "timestamp", sizeof("timestamp") - 1);
	resp_integer(c->reply, (int64_t)moment->ms);
}
