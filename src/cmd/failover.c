/* FAILOVER: a master hands its role to a replica. */
#include "cmd/commands.h"
#include "config/config.h"
#include "moving/follower.h"
#include "repl/replicas.h"

/* False: the error reply was given. */
static bool
parse_timeout(struct command_context *c, struct bytes argument, struct failover_wish *wish)
{
	int64_t ms;
	if (!context_integer(c, argument, &ms))
		return false;
	if (ms <= 0) {
		context_error(c, "ERR FAILOVER timeout must be greater than 0");
		return false;
	}
	wish->until_ms = clock_monotonic_ns(c->server->clock) / 1000000 + (uint64_t)ms;
	return true;
}

static bool
parse_target(struct command_context *c, struct bytes host, struct bytes port, struct failover_wish *wish)
{
	int64_t number;
	if (!context_integer(c, port, &number))
		return false;
	/* What is no port, or too long, names no replica. */
	wish->port = number > 0 && number <= UINT16_MAX ? (unsigned)number : 0;
	bool fits = host.size > 0 && host.size < FAILOVER_HOST_SIZE;
	snprintf(wish->host, sizeof(wish->host), "%.*s", fits ? (int)host.size : 1,
		 fits ? (const char *)host.data : " ");
	return true;
}

static bool
parse(struct command_context *c, struct failover_wish *wish)
{
	for (size_t i = 1; i < c->argc; i++) {
		size_t more = c->argc - i - 1;
		if (argument_is(c->argv[i], "TIMEOUT") && more >= 1 && wish->until_ms == 0) {
			if (!parse_timeout(c, c->argv[++i], wish))
				return false;
		} else if (argument_is(c->argv[i], "TO") && more >= 2 && wish->host[0] == '\0') {
			if (!parse_target(c, c->argv[i + 1], c->argv[i + 2], wish))
				return false;
			i += 2;
		} else if (argument_is(c->argv[i], "FORCE") && !wish->force) {
			wish->force = true;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	return true;
}

struct target_search {
	const struct failover_wish *wish;
	bool is_there, is_online;
};

static void
compare_replica(void *arg, const struct replica_facts *replica)
{
	struct target_search *s = arg;
	if (replica->port != s->wish->port ||
	    !argument_is(bytes_of(s->wish->host, strlen(s->wish->host)), replica->ip))
		return;
	s->is_there = true;
	s->is_online |= replica->state == REPLICA_ONLINE;
}

/* Why this can't be done, or NULL. */
static const char *
object(struct server *server, const struct failover_wish *wish)
{
	struct replication *r = server->replication;
	struct target_search search = {.wish = wish};
	if (failover_stage(follower_failover(server->follower)) != FAILOVER_NONE)
		return "ERR FAILOVER already in progress.";
	if (replication_is_replica(r))
		return "ERR FAILOVER is not valid when server is a replica.";
	if (replicas_count(r) == 0)
		return "ERR FAILOVER requires connected replicas.";
	if (wish->force && (wish->until_ms == 0 || wish->host[0] == '\0'))
		return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
	if (wish->host[0] == '\0')
		return NULL;
	replicas_each(r, compare_replica, &search);
	if (!search.is_there)
		return "ERR FAILOVER target HOST and PORT is not a replica.";
	return search.is_online ? NULL : "ERR FAILOVER target replica is not online.";
}

/* ---- what happens with the commit, and behind it ---- */

struct order {
	struct commit_participant participant;
	struct server *server;
	struct failover_wish wish;
	bool begins;
};

/* Another may have come in between: the command runs again, and says so. */
static bool
still_may_begin(struct commit_participant *p)
{
	const struct order *o = (const struct order *)p;
	return failover_stage(follower_failover(o->server->follower)) == FAILOVER_NONE &&
		!replication_is_replica(o->server->replication);
}

static void
begin(struct commit_participant *p, uint64_t timestamp)
{
	struct order *o = (struct order *)p;
	(void)timestamp;
	/* A REPLICAOF, or a FAILOVER, of the same MULTI block stands before it. */
	o->begins = !replication_is_replica(o->server->replication) &&
		follower_begin_failover(o->server->follower, &o->wish);
}

static void
log_begin(struct server *server, struct client *client, void *data)
{
	const struct order *o = data;
	(void)client;
	if (!o->begins)
		return;
	if (o->wish.host[0] != '\0')
		log_sink_printf(&server->sink, LOG_LEVEL_NOTICE, "FAILOVER requested to %s:%u.", o->wish.host,
				o->wish.port);
	else
		log_sink_printf(&server->sink, LOG_LEVEL_NOTICE, "FAILOVER requested.");
}

static void
finish_abort(struct server *server, struct client *client, void *data)
{
	(void)server;
	(void)client;
	failover_aborted(data, "Failover manually aborted");
}

static int
abort_failover(struct command_context *c)
{
	struct follower *follower = c->server->follower;
	struct failover_change *change =
		arena_allocate(c->arena, sizeof(*change), _Alignof(struct failover_change));
	if (change == NULL)
		return SETT_NO_MEMORY;
	if (follower == NULL || !failover_prepare_abort(follower_failover(follower), change))
		return context_error(c, "ERR No failover in progress.");
	resp_status(c->reply, "OK");
	context_join_commit(c, &change->participant);
	int status = SETT_OK;
	if (change->from == FAILOVER_HANDS_OVER)
		status = follower_obey(c, (struct bytes){0}, 0);
	return status == SETT_OK ? context_defer(c, finish_abort, change) : status;
}

int
command_failover(struct command_context *c)
{
	struct failover_wish wish = {0};
	if (c->server->config->cluster_enabled)
		return context_error(
			c, "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.");
	if (c->argc == 2 && argument_is(c->argv[1], "ABORT"))
		return abort_failover(c);
	if (!parse(c, &wish))
		return OUTCOME_FAILED;
	const char *objection = c->server->follower == NULL ? "ERR FAILOVER requires connected replicas."
							    : object(c->server, &wish);
	if (objection != NULL)
		return context_error(c, objection);
	struct order *o = arena_allocate(c->arena, sizeof(*o), _Alignof(struct order));
	if (o == NULL)
		return SETT_NO_MEMORY;
	*o = (struct order){.participant = {.validate = still_may_begin, .apply = begin},
			    .server = c->server,
			    .wish = wish};
	resp_status(c->reply, "OK");
	context_join_commit(c, &o->participant);
	return context_defer(c, log_begin, o);
}
