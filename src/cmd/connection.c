/* PING, ECHO, SELECT, QUIT, HELLO, RESET, AUTH: what concerns the connection itself.
 *
 * The selected database and the protocol are working copies in the context; what else changes on the client
 * is deferred to the commit (I2). */
#include "acl/password.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "config/config.h"
#include "net/net.h"
#include "pubsub/monitors.h"
#include "pubsub/tracking.h"
#include "txn/rights.h"
#include "txn/transaction.h"

#define WRONG_PASSWORD "WRONGPASS invalid username-password pair or user is disabled."

/* As of this command: within a MULTI block it may be so by one before it. */
static bool
is_subscribed(const struct command_context *c)
{
	if (c->subscriptions == NULL)
		return client_is_subscribed(c->client);
	size_t count = 0;
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		count += subscriptions_count(c->subscriptions, (enum subscription_kind)kind);
	return count > 0;
}

int
command_ping(struct command_context *c)
{
	if (c->argc > 2)
		return context_wrong_arity(c);
	/* Clients of RESP2 tell it from a message by its form. */
	if (c->protocol == 2 && is_subscribed(c)) {
		resp_array(c->reply, 2);
		resp_bulk_string(c->reply, "pong");
		resp_bulk(c->reply, c->argv[c->argc - 1].data, c->argc == 2 ? c->argv[1].size : 0);
		return SETT_OK;
	}
	if (c->argc == 2)
		resp_bulk(c->reply, c->argv[1].data, c->argv[1].size);
	else
		resp_status(c->reply, "PONG");
	return SETT_OK;
}

int
command_echo(struct command_context *c)
{
	resp_bulk(c->reply, c->argv[1].data, c->argv[1].size);
	return SETT_OK;
}

int
command_select(struct command_context *c)
{
	int64_t db;
	if (!context_integer(c, c->argv[1], &db))
		return OUTCOME_FAILED;
	if (db != 0 && c->server->config->cluster_enabled)
		return context_error(c, "ERR SELECT is not allowed in cluster mode");
	if (db < 0 || db >= (int64_t)keyspace_databases(c->server->keyspace))
		return context_error(c, "ERR DB index is out of range");
	c->db = (unsigned)db;
	resp_status(c->reply, "OK");
	return SETT_OK;
}

static void
close_soon(struct server *server, struct client *client, void *data)
{
	client->close_after_reply = true;
}

int
command_quit(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return context_defer(c, close_soon, NULL);
}

/* ---- AUTH ---- */

/* Logs in, or says why not. */
static int
log_in(struct command_context *c, struct bytes name, struct bytes password, const struct acl_user **ret)
{
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	const struct acl_user *user = acl_set_find(set, name);
	int status = user != NULL ? password_check(user, password) : SETT_INVALID;
	if (status == SETT_OK)
		*ret = user;
	if (status != SETT_INVALID)
		return status;
	enum acl_denial_context where = c->in_multi ? ACL_CONTEXT_MULTI : ACL_CONTEXT_TOP;
	status = rights_note_denial(c, ACL_REASON_AUTH, where, c->argv[0], name);
	return status == SETT_OK ? context_error(c, WRONG_PASSWORD) : status;
}

static const struct bytes default_name = {(const uint8_t *)"default", 7};

int
command_auth(struct command_context *c)
{
	const struct acl_user *user = NULL;
	if (c->argc > 3)
		return context_syntax_error(c);
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	if (c->argc == 2 && (acl_set_find(set, default_name)->flags & ACL_USER_NO_PASSWORD) != 0)
		return context_error(c,
				     "ERR AUTH <password> called without any password configured for the "
				     "default user. Are you sure your configuration is correct?");
	struct bytes name = c->argc == 3 ? c->argv[1] : default_name;
	int status = log_in(c, name, c->argv[c->argc - 1], &user);
	if (status != SETT_OK)
		return status;
	status = rights_log_in(c, user);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

/* ---- HELLO ---- */

struct hello {
	int protocol;
	bool has_auth, has_name;
	struct bytes user, password, name;
};

/* False: the error reply was given. */
static bool
parse_hello(struct command_context *c, struct hello *hello)
{
	int64_t version;
	hello->protocol = c->protocol;
	if (c->argc == 1)
		return true;
	if (!context_integer_or(c, c->argv[1], "ERR Protocol version is not an integer or out of range",
				&version))
		return false;
	if (version != 2 && version != 3) {
		context_error(c, "NOPROTO unsupported protocol version");
		return false;
	}
	hello->protocol = (int)version;
	for (size_t i = 2; i < c->argc; i++) {
		size_t more = c->argc - i - 1;
		if (argument_is(c->argv[i], "AUTH") && more >= 2) {
			hello->has_auth = true;
			hello->user = c->argv[i + 1];
			hello->password = c->argv[i + 2];
			i += 2;
		} else if (argument_is(c->argv[i], "SETNAME") && more >= 1) {
			hello->has_name = true;
			hello->name = c->argv[++i];
		} else {
			context_errorf(c, "ERR Syntax error in HELLO option '%.*s'",
				       c->argv[i].size < 128 ? (int)c->argv[i].size : 128,
				       (const char *)c->argv[i].data);
			return false;
		}
	}
	return true;
}

static void
reply_hello(struct command_context *c)
{
	enum { PAIRS = 7 };
	resp_map(c->reply, PAIRS);
	resp_bulk_string(c->reply, "server");
	resp_bulk_string(c->reply, "redis");
	resp_bulk_string(c->reply, "version");
	resp_bulk_string(c->reply, "7.0.15");
	resp_bulk_string(c->reply, "proto");
	resp_integer(c->reply, c->protocol);
	resp_bulk_string(c->reply, "id");
	resp_integer(c->reply, (int64_t)c->client->id);
	resp_bulk_string(c->reply, "mode");
	resp_bulk_string(c->reply, config_mode(c->server->config));
	resp_bulk_string(c->reply, "role");
	resp_bulk_string(c->reply, "master");
	resp_bulk_string(c->reply, "modules");
	resp_array(c->reply, 0);
}

int
command_hello(struct command_context *c)
{
	struct hello hello = {0};
	const struct acl_user *user = NULL;
	int status = SETT_OK;
	if (!parse_hello(c, &hello))
		return OUTCOME_FAILED;
	if (hello.has_auth)
		status = log_in(c, hello.user, hello.password, &user);
	else if (!c->authenticated)
		return context_error(c,
				     "NOAUTH HELLO must be called with the client already authenticated, "
				     "otherwise the HELLO AUTH <user> <pass> option can be used to "
				     "authenticate the client and select the RESP protocol version at the "
				     "same time");
	if (status == SETT_OK && hello.has_name) {
		if (!context_client_name_is_valid(c, hello.name))
			return OUTCOME_FAILED;
		status = context_set_client_name(c, hello.name);
	}
	if (status == SETT_OK && user != NULL)
		status = rights_log_in(c, user);
	if (status != SETT_OK)
		return status;
	c->protocol = hello.protocol;
	c->reply->protocol = hello.protocol;
	reply_hello(c);
	return SETT_OK;
}

/* ---- DURABILITY ---- */

static void
set_durability(struct server *server, struct client *client, void *data)
{
	(void)server;
	const char *const *name = data;
	__atomic_store_n(&client->next_durability, (enum durability)(name - durability_names),
			 __ATOMIC_RELAXED);
}

int
command_durability(struct command_context *c)
{
	if (c->argc > 2)
		return context_wrong_arity(c);
	if (c->argc == 1) {
		resp_bulk_string(c->reply, durability_names[c->client->next_durability]);
		return SETT_OK;
	}
	enum durability chosen;
	if (!durability_find(c->argv[1], &chosen))
		return context_syntax_error(c);
	resp_status(c->reply, "OK");
	return context_defer(c, set_durability, (void *)&durability_names[chosen]);
}

/* ---- RESET ---- */

static void
reset_client(struct server *server, struct client *client, void *data)
{
	transaction_reset(server, client, data);
	subscriptions_end(server->pubsub, client);
	tracking_end(server->pubsub, client);
	monitors_leave(server->pubsub, client);
	/* A name cannot be kept for lack of memory: an empty one needs none. */
	(void)net_set_client_name(server->net, client, (struct bytes){0});
	__atomic_store_n(&client->no_evict, false, __ATOMIC_RELAXED);
	__atomic_store_n(&client->next_durability, DURABILITY_DEFAULT, __ATOMIC_RELAXED);
}

int
command_reset(struct command_context *c)
{
	c->db = 0;
	c->protocol = 2;
	c->reply->protocol = 2;
	c->reply_flags = 0;
	c->tracking = 0;
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	int status = rights_log_in(c, acl_set_find(set, default_name));
	if (status != SETT_OK)
		return status;
	c->authenticated = (c->user->flags & (ACL_USER_NO_PASSWORD | ACL_USER_OFF)) == ACL_USER_NO_PASSWORD;
	resp_status(c->reply, "RESET");
	return context_defer(c, reset_client, NULL);
}
