/* ACL LOG: what was denied lately (acl/denials.h). */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "txn/rights.h"

struct listing {
	struct resp_writer *reply;
	uint64_t now_ms;
};

static void
begin_list(void *arg, size_t count)
{
	struct listing *listing = arg;
	resp_array(listing->reply, count);
}

static void
reply_field(struct resp_writer *reply, const char *name, struct bytes value)
{
	resp_bulk_string(reply, name);
	resp_bulk(reply, value.data, value.size);
}

static void
reply_denial(void *arg, const struct acl_denial *denial)
{
	static const char *const reasons[] = {
		[ACL_REASON_COMMAND] = "command",
		[ACL_REASON_KEY] = "key",
		[ACL_REASON_CHANNEL] = "channel",
		[ACL_REASON_AUTH] = "auth",
	};
	static const char *const contexts[] = {
		[ACL_CONTEXT_TOP] = "toplevel",
		[ACL_CONTEXT_MULTI] = "multi",
		[ACL_CONTEXT_SCRIPT] = "lua",
	};
	enum { FIELDS = 7 };
	const struct listing *listing = arg;
	struct resp_writer *reply = listing->reply;
	double age_ms = (double)listing->now_ms - (double)denial->time_ms;
	resp_map(reply, FIELDS);
	resp_bulk_string(reply, "count");
	resp_integer(reply, (int64_t)denial->count);
	reply_field(reply, "reason", bytes_of_string(reasons[denial->reason]));
	reply_field(reply, "context", bytes_of_string(contexts[denial->context]));
	reply_field(reply, "object", denial->object);
	reply_field(reply, "username", denial->username);
	resp_bulk_string(reply, "age-seconds");
	resp_double(reply, age_ms / 1000);
	reply_field(reply, "client-info", denial->client);
}

static void
reset_log(struct server *server, struct client *client, void *data)
{
	acl_denials_reset(server->denials);
}

int
command_acl_log(struct command_context *c)
{
	enum { SHOWN = 10 };
	struct listing listing = {.reply = c->reply, .now_ms = clock_wall_ms(c->server->clock)};
	int64_t count = SHOWN;
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 3 && argument_is(c->argv[2], "RESET")) {
		resp_status(c->reply, "OK");
		return context_defer(c, reset_log, NULL);
	}
	if (c->argc == 3 && !context_integer(c, c->argv[2], &count))
		return OUTCOME_FAILED;
	acl_denials_each(c->server->denials, count > 0 ? (uint64_t)count : 0, begin_list, reply_denial,
			 &listing);
	return SETT_OK;
}
