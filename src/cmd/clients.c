/* CLIENT: who is connected, and what one client may do to itself and to others. */
#include "cmd/commands.h"
#include "cmd/help.h"

#include <inttypes.h>
#include <limits.h>

#include "cmd/client_filter.h"
#include "moving/follower.h"
#include "net/net.h"
#include "repl/replicas.h"
#include "txn/pause.h"

/* ---- names ---- */

bool
context_client_name_is_valid(struct command_context *c, struct bytes name)
{
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] < '!' || name.data[i] > '~') {
			context_error(c,
				      "ERR Client names cannot contain spaces, newlines or special "
				      "characters.");
			return false;
		}
	return true;
}

static void
set_name(struct server *server, struct client *client, void *data)
{
	struct bytes *name = data;
	if (net_set_client_name(server->net, client, *name) != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "No memory for the name of client %" PRIu64,
				client->id);
}

int
context_set_client_name(struct command_context *c, struct bytes name)
{
	struct bytes *copy = context_copy_arguments(c, &name, 1);
	return copy == NULL ? SETT_NO_MEMORY : context_defer(c, set_name, copy);
}

int
command_client_setname(struct command_context *c)
{
	if (!context_client_name_is_valid(c, c->argv[2]))
		return OUTCOME_FAILED;
	resp_status(c->reply, "OK");
	return context_set_client_name(c, c->argv[2]);
}

int
command_client_getname(struct command_context *c)
{
	const struct bytes *set = context_deferred(c, set_name); /* in the same MULTI block */
	struct bytes name = set != NULL ? *set : bytes_of(c->client->name.data, c->client->name.size);
	if (name.size > 0)
		resp_bulk(c->reply, name.data, name.size);
	else
		resp_null(c->reply);
	return SETT_OK;
}

int
command_client_id(struct command_context *c)
{
	resp_integer(c->reply, (int64_t)c->client->id);
	return SETT_OK;
}

/* ---- CLIENT LIST, INFO ---- */

static int
write_client(const struct client *client, uint64_t now_ms, struct buffer *ret)
{
	int status = client_describe(client, now_ms, ret);
	return status == SETT_OK ? buffer_append(ret, "\n", 1) : status;
}

/* The master that this server follows counts as a client, too. */
static int
each_client(struct server *server, int (*each)(void *arg, struct client *), void *arg)
{
	int result = net_each_client(server->net, each, arg);
	return result == 0 && server->follower != NULL ? follower_each_link(server->follower, each, arg)
						       : result;
}

struct listing {
	struct client_filter filter;
	struct buffer text;
};

static int
list_client(void *arg, struct client *client)
{
	struct listing *listing = arg;
	/* What is closed may still be in the registry. */
	if (__atomic_load_n(&client->gone, __ATOMIC_RELAXED) ||
	    !client_filter_means(&listing->filter, client))
		return 0;
	return write_client(client, listing->filter.now_ms, &listing->text);
}

int
command_client_list(struct command_context *c)
{
	struct listing listing = {0};
	int status = client_filter_parse(c, 2, "ERR Invalid client ID", &listing.filter);
	if (status != SETT_OK)
		return status;
	status = each_client(c->server, list_client, &listing);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", listing.text.data, listing.text.size);
	buffer_free(&listing.text);
	return status;
}

int
command_client_info(struct command_context *c)
{
	struct buffer text = {0};
	int status = write_client(c->client, clock_wall_ms(c->server->clock), &text);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

/* ---- CLIENT KILL ---- */

struct killed_replica {
	uint64_t id;
	struct killed_replica *next;
};

struct kill_request {
	struct client_filter filter;
	struct server *server; /* NULL: only count */
	int64_t matched;
	struct command_context *context; /* while they are counted */
	/* They take part in the commit: what it says to replicas is not for them. */
	struct killed_replica *replicas;
	struct commit_participant participant;
	struct replication *replication;
};

/* Without memory it is closed behind the commit, as other clients are. */
static void
note_replica(struct kill_request *request, const struct client *client)
{
	struct killed_replica *note =
		arena_allocate(request->context->arena, sizeof(*note), _Alignof(struct killed_replica));
	if (note == NULL)
		return;
	*note = (struct killed_replica){.id = client->id, .next = request->replicas};
	request->replicas = note;
}

static void
close_replicas(struct commit_participant *p, uint64_t timestamp)
{
	const struct kill_request *request =
		(struct kill_request *)((char *)p - offsetof(struct kill_request, participant));
	(void)timestamp;
	for (const struct killed_replica *note = request->replicas; note != NULL; note = note->next)
		replicas_close(request->replication, note->id, "it was killed");
}

static int
kill_matching(void *arg, struct client *client)
{
	struct kill_request *request = arg;
	if (!client_filter_means(&request->filter, client))
		return 0;
	request->matched++;
	if (request->server == NULL && client->is_replica && client != request->filter.self)
		note_replica(request, client);
	if (request->server == NULL)
		return 0;
	/* Its own reply is sent before it goes. */
	if (client->is_master)
		follower_cut_locked(request->server->follower);
	else if (client == request->filter.self)
		client->close_after_reply = true;
	else
		client_kill_locked(request->server->net, client);
	return 0;
}

static void
kill_clients(struct server *server, struct client *client, void *data)
{
	struct kill_request *request = data;
	(void)client;
	request->server = server;
	(void)each_client(server, kill_matching, request);
}

int
command_client_kill(struct command_context *c)
{
	bool is_old_form = c->argc == 3;
	const struct bytes *argv = c->argv;
	const struct bytes *copy = context_copy_arguments(c, argv, c->argc);
	struct kill_request *request =
		arena_allocate(c->arena, sizeof *request, _Alignof(struct kill_request));
	if (copy == NULL || request == NULL)
		return SETT_NO_MEMORY;
	*request = (struct kill_request){.filter.skip_self = !is_old_form,
					 .context = c,
					 .participant = {.apply = close_replicas},
					 .replication = c->server->replication};
	c->argv = copy; /* what is parsed outlives the call */
	int status = SETT_OK;
	if (is_old_form)
		client_filter_by_address(c, copy[2], &request->filter);
	else
		status =
			client_filter_parse(c, 2, "ERR client-id should be greater than 0", &request->filter);
	c->argv = argv;
	if (status != SETT_OK)
		return status;
	(void)each_client(c->server, kill_matching, request);
	if (is_old_form && request->matched == 0)
		return context_error(c, "ERR No such client");
	if (is_old_form)
		resp_status(c->reply, "OK");
	else
		resp_integer(c->reply, request->matched);
	if (request->replicas != NULL)
		context_join_commit(c, &request->participant);
	return request->matched > 0 ? context_defer(c, kill_clients, request) : SETT_OK;
}

/* ---- CLIENT NO-EVICT, REPLY ---- */

static void
set_no_evict(struct server *server, struct client *client, void *data)
{
	__atomic_store_n(&client->no_evict, data != NULL, __ATOMIC_RELAXED);
	if (data == NULL && server->net != NULL)
		net_check_clients_memory(server->net);
}

int
command_client_no_evict(struct command_context *c)
{
	bool on = argument_is(c->argv[2], "ON");
	if (!on && !argument_is(c->argv[2], "OFF"))
		return context_syntax_error(c);
	resp_status(c->reply, "OK");
	return context_defer(c, set_no_evict, on ? c : NULL);
}

int
command_client_reply(struct command_context *c)
{
	if (argument_is(c->argv[2], "ON")) {
		c->reply_flags &= ~(unsigned)(REPLY_OFF | REPLY_SKIP);
		resp_status(c->reply, "OK");
	} else if (argument_is(c->argv[2], "OFF")) {
		c->reply_flags |= REPLY_OFF;
	} else if (argument_is(c->argv[2], "SKIP")) {
		/* OFF outlasts SKIP. */
		if ((c->reply_flags & REPLY_OFF) == 0)
			c->reply_flags |= REPLY_SKIP_NEXT;
	} else {
		return context_syntax_error(c);
	}
	return SETT_OK;
}

/* ---- CLIENT PAUSE, UNPAUSE ---- */

struct pause_request {
	enum pause_mode mode;
	int64_t duration_ms;
};

static void
start_pause(struct server *server, struct client *client, void *data)
{
	const struct pause_request *request = data;
	uint64_t now_ms = clock_wall_ms(server->clock);
	/* As in Redis, a deadline beyond all time has passed already. */
	if ((uint64_t)request->duration_ms > (uint64_t)INT64_MAX - now_ms)
		return;
	pause_set(server->pause, request->mode, now_ms, now_ms + (uint64_t)request->duration_ms);
}

int
command_client_pause(struct command_context *c)
{
	struct pause_request *request =
		arena_allocate(c->arena, sizeof *request, _Alignof(struct pause_request));
	if (request == NULL)
		return SETT_NO_MEMORY;
	request->mode = PAUSE_ALL;
	if (c->argc > 4)
		return context_unknown_subcommand(c);
	if (c->argc == 4 && argument_is(c->argv[3], "WRITE"))
		request->mode = PAUSE_WRITE;
	else if (c->argc == 4 && !argument_is(c->argv[3], "ALL"))
		return context_error(c, "ERR CLIENT PAUSE mode must be WRITE or ALL");
	if (!context_integer_or(c, c->argv[2], "ERR timeout is not an integer or out of range",
				&request->duration_ms))
		return OUTCOME_FAILED;
	if (request->duration_ms < 0)
		return context_error(c, "ERR timeout is negative");
	resp_status(c->reply, "OK");
	return context_defer(c, start_pause, request);
}

static void
end_pause(struct server *server, struct client *client, void *data)
{
	pause_clear(server->pause);
	net_resume_paused(server->net);
}

int
command_client_unpause(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return context_defer(c, end_pause, NULL);
}

int
command_client_help(struct command_context *c)
{
	static const char *const lines[] = {
		"CACHING (YES|NO)",
		"    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
		"GETREDIR",
		"    Return the client ID we are redirecting to when tracking is enabled.",
		"GETNAME",
		"    Return the name of the current connection.",
		"ID",
		"    Return the ID of the current connection.",
		"INFO",
		"    Return information about the current client connection.",
		"KILL <ip:port>",
		"    Kill connection made from <ip:port>.",
		"KILL <option> <value> [<option> <value> [...]]",
		"    Kill connections. Options are:",
		"    * ADDR (<ip:port>|<unixsocket>:0)",
		"      Kill connections made from the specified address",
		"    * LADDR (<ip:port>|<unixsocket>:0)",
		"      Kill connections made to specified local address",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
		"      Kill connections by type.",
		"    * USER <username>",
		"      Kill connections authenticated by <username>.",
		"    * SKIPME (YES|NO)",
		"      Skip killing current connection (default: yes).",
		"LIST [options ...]",
		"    Return information about client connections. Options:",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
		"      Return clients of specified type.",
		"UNPAUSE",
		"    Stop the current client pause, resuming traffic.",
		"PAUSE <timeout> [WRITE|ALL]",
		"    Suspend all, or just write, clients for <timeout> milliseconds.",
		"REPLY (ON|OFF|SKIP)",
		"    Control the replies sent to the current connection.",
		"SETNAME <name>",
		"    Assign the name <name> to the current connection.",
		"UNBLOCK <clientid> [TIMEOUT|ERROR]",
		"    Unblock the specified blocked client.",
		"TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
		"         [OPTIN] [OPTOUT] [NOLOOP]",
		"    Control server assisted client side caching.",
		"TRACKINGINFO",
		"    Report tracking status for the current connection.",
		"NO-EVICT (ON|OFF)",
		"    Protect current client connection from eviction.",
		NULL,
	};
	return context_help(c, lines);
}
