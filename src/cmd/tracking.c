/* CLIENT TRACKING and its kin, as long as it is always off; CLIENT UNBLOCK. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "net/net.h"
#include "txn/waiting.h"

/* ---- CLIENT TRACKING ---- */

struct tracking_options {
	bool broadcast, opt_in, opt_out, has_prefix;
	int64_t redirect; /* 0: none */
};

static int
has_id(void *arg, struct client *client)
{
	return client->id == *(const uint64_t *)arg;
}

/* False: the error reply was given. */
static bool
parse_redirect(struct command_context *c, struct bytes argument, struct tracking_options *options)
{
	if (options->redirect != 0) {
		context_error(c, "ERR A client can only redirect to a single other client");
		return false;
	}
	if (!context_integer(c, argument, &options->redirect))
		return false;
	uint64_t id = (uint64_t)options->redirect;
	if (c->server->net == NULL || net_each_client(c->server->net, has_id, &id) == 0) {
		context_error(c, "ERR The client ID you want redirect to does not exist");
		return false;
	}
	return true;
}

static bool
parse_tracking(struct command_context *c, struct tracking_options *options)
{
	for (size_t i = 3; i < c->argc; i++) {
		bool more = i + 1 < c->argc;
		if (argument_is(c->argv[i], "REDIRECT") && more) {
			if (!parse_redirect(c, c->argv[++i], options))
				return false;
		} else if (argument_is(c->argv[i], "BCAST")) {
			options->broadcast = true;
		} else if (argument_is(c->argv[i], "OPTIN")) {
			options->opt_in = true;
		} else if (argument_is(c->argv[i], "OPTOUT")) {
			options->opt_out = true;
		} else if (argument_is(c->argv[i], "PREFIX") && more) {
			options->has_prefix = true;
			i++;
		} else if (!argument_is(c->argv[i], "NOLOOP")) {
			context_syntax_error(c);
			return false;
		}
	}
	return true;
}

/* Whoever asks for notices must not wait for them in vain: ON is refused. */
int
command_client_tracking(struct command_context *c)
{
	struct tracking_options options = {0};
	if (!parse_tracking(c, &options))
		return OUTCOME_FAILED;
	if (argument_is(c->argv[2], "OFF")) {
		resp_status(c->reply, "OK");
		return SETT_OK;
	}
	if (!argument_is(c->argv[2], "ON"))
		return context_syntax_error(c);
	if (!options.broadcast && options.has_prefix)
		return context_error(c, "ERR PREFIX option requires BCAST mode to be enabled");
	if (options.broadcast && (options.opt_in || options.opt_out))
		return context_error(c, "ERR OPTIN and OPTOUT are not compatible with BCAST");
	if (options.opt_in && options.opt_out)
		return context_error(c, "ERR You can't specify both OPTIN mode and OPTOUT mode");
	return context_error(c, "ERR client tracking is not supported yet");
}

int
command_client_trackinginfo(struct command_context *c)
{
	resp_map(c->reply, 3);
	resp_bulk_string(c->reply, "flags");
	resp_set(c->reply, 1);
	resp_bulk_string(c->reply, "off");
	resp_bulk_string(c->reply, "redirect");
	resp_integer(c->reply, -1);
	resp_bulk_string(c->reply, "prefixes");
	resp_array(c->reply, 0);
	return SETT_OK;
}

int
command_client_getredir(struct command_context *c)
{
	resp_integer(c->reply, -1);
	return SETT_OK;
}

int
command_client_caching(struct command_context *c)
{
	return context_error(c,
			     "ERR CLIENT CACHING can be called only when the client is in tracking mode with "
			     "OPTIN or OPTOUT mode enabled");
}

/* ---- CLIENT UNBLOCK ---- */

int
command_client_unblock(struct command_context *c)
{
	int64_t id;
	if (c->argc > 4)
		return context_unknown_subcommand(c);
	if (c->argc == 4 && !argument_is(c->argv[3], "TIMEOUT") && !argument_is(c->argv[3], "ERROR"))
		return context_error(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
	if (!context_integer(c, c->argv[2], &id))
		return OUTCOME_FAILED;
	bool with_error = c->argc == 4 && argument_is(c->argv[3], "ERROR");
	/* Not deferred: the reply says what came of it. */
	resp_integer(c->reply,
		     waiting_unblock(c->server->waiting, (uint64_t)id,
				     with_error ? WAIT_UNBLOCKED : WAIT_TIMED_OUT));
	return SETT_OK;
}
