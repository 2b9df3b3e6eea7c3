/* CLIENT: who is connected, and what one client may do to itself and to others. */
#include "cmd/commands.h"
#include "cmd/help.h"

#include <inttypes.h>
#include <limits.h>

#include "net/net.h"
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
	const struct buffer *name = &c->client->name;
	if (name->size > 0)
		resp_bulk(c->reply, name->data, name->size);
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

enum client_type { CLIENT_NORMAL, CLIENT_REPLICA, CLIENT_PUBSUB, CLIENT_MASTER, CLIENT_TYPE_UNKNOWN };

static enum client_type
client_type_of(struct bytes word)
{
	static const struct {
		const char *word;
		enum client_type type;
	} types[] = {{"normal", CLIENT_NORMAL},
		     {"slave", CLIENT_REPLICA},
		     {"replica", CLIENT_REPLICA},
		     {"pubsub", CLIENT_PUBSUB},
		     {"master", CLIENT_MASTER}};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (argument_is(word, types[i].word))
			return types[i].type;
	return CLIENT_TYPE_UNKNOWN;
}

/* There are no replicas and masters yet. */
static bool
client_is_of_type(const struct client *client, enum client_type type)
{
	return type == (client_is_subscribed(client) ? CLIENT_PUBSUB : CLIENT_NORMAL);
}

static int
unknown_type(struct command_context *c, struct bytes word)
{
	return context_errorf(c, "ERR Unknown client type '%.*s'", word.size < 128 ? (int)word.size : 128,
			      (const char *)word.data);
}

static int
write_client(const struct client *client, uint64_t now_ms, struct buffer *ret)
{
	int status = client_describe(client, now_ms, ret);
	return status == SETT_OK ? buffer_append(ret, "\n", 1) : status;
}

struct listing {
	uint64_t now_ms;
	bool by_type;
	enum client_type type;
	const uint64_t *ids;
	size_t id_count;
	struct buffer text;
};

static int
list_client(void *arg, struct client *client)
{
	struct listing *listing = arg;
	bool wanted = listing->id_count == 0;
	for (size_t i = 0; i < listing->id_count; i++)
		wanted = wanted || listing->ids[i] == client->id;
	if (!wanted || (listing->by_type && !client_is_of_type(client, listing->type)))
		return 0;
	return write_client(client, listing->now_ms, &listing->text);
}

static int
parse_ids(struct command_context *c, struct listing *listing)
{
	size_t count = c->argc - 3;
	uint64_t *ids = arena_allocate(c->arena, count * sizeof *ids, sizeof *ids);
	if (ids == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		int64_t id;
		if (!context_integer_range(c, c->argv[i + 3], 1, INT64_MAX, "ERR Invalid client ID", &id))
			return OUTCOME_FAILED;
		ids[i] = (uint64_t)id;
	}
	listing->ids = ids;
	listing->id_count = count;
	return SETT_OK;
}

int
command_client_list(struct command_context *c)
{
	struct listing listing = {.now_ms = clock_wall_ms(c->server->clock)};
	int status = SETT_OK;
	if (c->argc == 4 && argument_is(c->argv[2], "TYPE")) {
		listing.by_type = true;
		listing.type = client_type_of(c->argv[3]);
		if (listing.type == CLIENT_TYPE_UNKNOWN)
			return unknown_type(c, c->argv[3]);
	} else if (c->argc > 3 && argument_is(c->argv[2], "ID")) {
		status = parse_ids(c, &listing);
	} else if (c->argc != 2) {
		return context_syntax_error(c);
	}
	if (status != SETT_OK)
		return status;
	status = net_each_client(c->server->net, list_client, &listing);
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

struct kill_filter {
	struct client *self;
	struct net *net; /* NULL: only count */
	uint64_t id;     /* 0 = any */
	struct bytes address, local_address;
	bool has_address, has_local_address, by_type, skip_self;
	enum client_type type;
	int64_t matched;
};

static int
kill_matching(void *arg, struct client *client)
{
	struct kill_filter *filter = arg;
	if ((filter->id != 0 && client->id != filter->id) ||
	    (filter->has_address && !bytes_equal(bytes_of_string(client->address), filter->address)) ||
	    (filter->has_local_address &&
	     !bytes_equal(bytes_of_string(client->local_address), filter->local_address)) ||
	    (filter->by_type && !client_is_of_type(client, filter->type)) ||
	    (filter->skip_self && client == filter->self))
		return 0;
	filter->matched++;
	if (filter->net == NULL)
		return 0;
	/* Its own reply is sent before it goes. */
	if (client == filter->self)
		client->close_after_reply = true;
	else
		client_kill_locked(filter->net, client);
	return 0;
}

static void
kill_clients(struct server *server, struct client *client, void *data)
{
	struct kill_filter *filter = data;
	filter->net = server->net;
	(void)net_each_client(server->net, kill_matching, filter);
}

/* False: the error reply was given. */
static bool
parse_kill_option(struct command_context *c, struct bytes name, struct bytes value,
		  struct kill_filter *filter)
{
	int64_t id;
	if (argument_is(name, "ID")) {
		if (!context_integer_range(c, value, 1, INT64_MAX, "ERR client-id should be greater than 0",
					   &id))
			return false;
		filter->id = (uint64_t)id;
	} else if (argument_is(name, "TYPE")) {
		filter->by_type = true;
		filter->type = client_type_of(value);
		if (filter->type == CLIENT_TYPE_UNKNOWN)
			unknown_type(c, value);
	} else if (argument_is(name, "ADDR")) {
		filter->has_address = true;
		filter->address = value;
	} else if (argument_is(name, "LADDR")) {
		filter->has_local_address = true;
		filter->local_address = value;
	} else if (argument_is(name, "USER")) {
		if (!bytes_equal(value, BYTES_LITERAL("default")))
			context_errorf(c, "ERR No such user '%.*s'", value.size < 128 ? (int)value.size : 128,
				       (const char *)value.data);
	} else if (argument_is(name, "SKIPME") && argument_is(value, "yes")) {
		filter->skip_self = true;
	} else if (argument_is(name, "SKIPME") && argument_is(value, "no")) {
		filter->skip_self = false;
	} else {
		context_syntax_error(c);
	}
	return !c->failed;
}

int
command_client_kill(struct command_context *c)
{
	bool is_old_form = c->argc == 3;
	struct bytes *argv = context_copy_arguments(c, c->argv, c->argc);
	struct kill_filter *filter = arena_allocate(c->arena, sizeof *filter, _Alignof(struct kill_filter));
	if (argv == NULL || filter == NULL)
		return SETT_NO_MEMORY;
	*filter = (struct kill_filter){.self = c->client, .skip_self = !is_old_form};
	if (is_old_form) {
		filter->has_address = true;
		filter->address = argv[2];
	} else if (c->argc % 2 != 0) {
		return context_syntax_error(c);
	}
	for (size_t i = 2; i + 1 < c->argc; i += 2)
		if (!parse_kill_option(c, argv[i], argv[i + 1], filter))
			return OUTCOME_FAILED;
	(void)net_each_client(c->server->net, kill_matching, filter);
	if (is_old_form && filter->matched == 0)
		return context_error(c, "ERR No such client");
	if (is_old_form)
		resp_status(c->reply, "OK");
	else
		resp_integer(c->reply, filter->matched);
	return filter->matched > 0 ? context_defer(c, kill_clients, filter) : SETT_OK;
}

/* ---- CLIENT NO-EVICT, REPLY ---- */

static void
set_no_evict(struct server *server, struct client *client, void *data)
{
	__atomic_store_n(&client->no_evict, data != NULL, __ATOMIC_RELAXED);
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
