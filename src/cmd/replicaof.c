/* REPLICAOF: whom this server follows. */
#include "cmd/commands.h"
#include "config/config.h"
#include "moving/follower.h"

enum { REPLICAOF_HOST_MAX = 200 /* as the directive takes */ };

/* Whether this command would change nothing; then it is answered. */
static bool
is_followed(struct command_context *c, struct bytes host, int64_t port)
{
	struct follower_facts facts;
	follower_facts(c->server->follower, &facts);
	/* As Redis compares. */
	if (facts.state == FOLLOWER_NONE || facts.port != port || !argument_is(host, facts.host))
		return false;
	log_sink_printf(
		&c->server->sink, LOG_LEVEL_NOTICE,
		"REPLICAOF would result into synchronization with the master we are already connected "
		"with. No operation performed.");
	resp_status(c->reply, "OK Already connected to specified master");
	return true;
}

static int
promote(struct command_context *c)
{
	resp_status(c->reply, "OK");
	if (!replica_role_is_active(&c->server->replica_role))
		return SETT_OK;
	return follower_obey(c, (struct bytes){0}, 0);
}

int
command_replicaof(struct command_context *c)
{
	int64_t port;
	struct bytes host = c->argv[1];
	struct follower *follower = c->server->follower;
	if (c->server->config->cluster_enabled)
		return context_error(c, "ERR REPLICAOF not allowed in cluster mode.");
	if (follower != NULL && failover_stage(follower_failover(follower)) != FAILOVER_NONE)
		return context_error(c, "ERR REPLICAOF not allowed while failing over.");
	if (argument_is(host, "NO") && argument_is(c->argv[2], "ONE"))
		return promote(c);
	if (!context_integer_range(c, c->argv[2], 0, UINT16_MAX, "ERR Invalid master port", &port))
		return OUTCOME_FAILED;
	if (follower == NULL)
		return context_error(c, "ERR this server can't be a replica");
	if (host.size == 0 || host.size > REPLICAOF_HOST_MAX || memchr(host.data, '\0', host.size) != NULL ||
	    memchr(host.data, ' ', host.size) != NULL)
		return context_error(c, "ERR Invalid master host");
	if (is_followed(c, host, port))
		return SETT_OK;
	resp_status(c->reply, "OK");
	return follower_obey(c, host, (unsigned)port);
}
