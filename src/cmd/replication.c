/* What replicas and those who wait for them ask a master: PSYNC, SYNC, REPLCONF, WAIT, WAITAOF, ROLE. */
#include "cmd/commands.h"
#include "keyspace/integer.h"
#include "moving/follower.h"
#include "net/output.h"
#include "net/reply_source.h"
#include "repl/acks.h"
#include "repl/replicas.h"

enum { FAILOVER_PATIENCE_MS = 500, FAILOVER_LOOK_MS = 2 };

/* ---- PSYNC, SYNC ---- */

/* The stream follows the reply's line, and has no end. */
static int
begin_stream(struct command_context *c, const struct replica_wish *wish)
{
	struct reply_source *source = NULL;
	int status = replica_begin(c->server->replication, c->client, wish, c->reply, &source);
	if (status != SETT_OK)
		return status;
	struct output_stream *stream = output_stream_create(source, c->reply->size);
	if (stream == NULL) {
		source->operations->close(source);
		return SETT_NO_MEMORY;
	}
	context_add_stream(c, stream);
	__atomic_store_n(&c->client->is_replica, true, __ATOMIC_RELAXED);
	return SETT_OK;
}

/* False: the reply says why not, or there is none. */
static bool
may_begin_stream(struct command_context *c)
{
	if (c->client->is_replica)
		return false; /* it has it already */
	struct follower *follower = c->server->follower;
	if (follower != NULL && failover_stage(follower_failover(follower)) != FAILOVER_NONE) {
		context_error(c, "NOMASTERLINK Can't SYNC while failing over");
		return false;
	}
	return true;
}

static bool
can_serve(struct command_context *c)
{
	if (!replication_can_serve(c->server->replication)) {
		context_error(c, "NOMASTERLINK Can't SYNC while not connected with my master");
		return false;
	}
	return true;
}

int
command_sync(struct command_context *c)
{
	if (!may_begin_stream(c) || !can_serve(c))
		return c->failed ? OUTCOME_FAILED : SETT_OK;
	return begin_stream(c, &(struct replica_wish){.is_old = true});
}

/* The rest of the master's stream, which may be on its way over the other connection. */
static void
wait_for_stream(struct command_context *c, uint64_t offset)
{
	struct follower_facts facts;
	struct timespec pause = {.tv_nsec = FAILOVER_LOOK_MS * 1000000L};
	for (int ms = 0; ms < FAILOVER_PATIENCE_MS; ms += FAILOVER_LOOK_MS) {
		follower_facts(c->server->follower, &facts);
		if (facts.state != FOLLOWER_CONNECTED || facts.offset >= offset)
			return;
		nanosleep(&pause, NULL);
	}
}

/* Its master has asked before, and has not heard that this server took over. */
static bool
took_over(const struct stream_position *p, const struct replica_wish *wish)
{
	return wish->id != NULL && strcmp(wish->id, p->second_id) == 0 && p->second_offset > 0 &&
		wish->offset == (uint64_t)p->second_offset;
}

/* The master of this replica wants to follow it: this server is the master from here on. */
static int
take_over(struct command_context *c, const struct replica_wish *wish)
{
	struct replication_state state;
	replication_get(c->server->replication, &state);
	if (state.role == REPLICATION_MASTER && took_over(&state.position, wish))
		return SETT_OK;
	if (state.role != REPLICATION_REPLICA)
		return context_error(c, "ERR PSYNC FAILOVER can't be sent to a master.");
	if (wish->id == NULL || strcmp(wish->id, state.position.id) != 0)
		return context_error(c, "ERR PSYNC FAILOVER replid must match my replid.");
	int status = context_enter_long_lane(c);
	if (status != SETT_OK)
		return status;
	log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "Failover request received for replid %s.",
			wish->id);
	wait_for_stream(c, wish->offset - (wish->offset > 0));
	status = follower_switch(c->server->follower, "", 0, NULL);
	if (status == SETT_OK)
		log_sink_printf(&c->server->sink, LOG_LEVEL_NOTICE,
				"MASTER MODE enabled (failover request from '%s')", c->client->address);
	return status;
}

int
command_psync(struct command_context *c)
{
	char id[REPLICATION_ID_SIZE + 1];
	int64_t offset;
	if (!may_begin_stream(c))
		return c->failed ? OUTCOME_FAILED : SETT_OK;
	bool is_failover = c->argc == 4 && argument_is(c->argv[3], "FAILOVER");
	if (c->argc > 3 && !is_failover)
		return context_syntax_error(c);
	if (!context_integer(c, c->argv[2], &offset)) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
				"Replica %s asks for synchronization but with a wrong offset",
				c->client->address);
		return OUTCOME_FAILED;
	}
	struct replica_wish wish = {.offset = offset > 0 ? (uint64_t)offset : 0};
	if (c->argv[1].size == REPLICATION_ID_SIZE) {
		memcpy(id, c->argv[1].data, REPLICATION_ID_SIZE);
		id[REPLICATION_ID_SIZE] = '\0';
		wish.id = id;
	}
	int status = is_failover ? take_over(c, &wish) : SETT_OK;
	if (status != SETT_OK)
		return status;
	if (!can_serve(c))
		return OUTCOME_FAILED;
	return begin_stream(c, &wish);
}

/* ---- REPLCONF ---- */

static int
set_port(struct command_context *c, struct replica *replica, struct bytes value)
{
	int64_t port;
	if (!context_integer(c, value, &port))
		return OUTCOME_FAILED;
	replica_set_port(replica, port);
	return SETT_OK;
}

static int
set_address(struct command_context *c, struct replica *replica, struct bytes value)
{
	if (value.size >= REPLICA_ADDRESS_SIZE)
		return context_errorf(
			c, "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes",
			value.size);
	replica_set_ip(replica, value);
	return SETT_OK;
}

static int
add_ability(struct command_context *c, struct replica *replica, struct bytes value)
{
	(void)c;
	/* Others are of later versions, and ask for nothing. */
	if (argument_is(value, "eof"))
		replica_add_ability(replica, REPLICA_CAN_EOF);
	else if (argument_is(value, "psync2"))
		replica_add_ability(replica, REPLICA_CAN_PSYNC2);
	else if (argument_is(value, "field-deadlines"))
		replica_add_ability(replica, REPLICA_KNOWS_FIELD_DEADLINES);
	return SETT_OK;
}

static int
set_only_databases(struct command_context *c, struct replica *replica, struct bytes value)
{
	int64_t only;
	if (!context_integer_range(c, value, 0, 1, "ERR value is out of range, value must between 0 and 1",
				   &only))
		return OUTCOME_FAILED;
	replica_set_only_databases(replica, only == 1);
	return SETT_OK;
}

/* Words of what is wanted, of which there is one; an empty text asks for nothing but the frame. */
static int
set_filter(struct command_context *c, struct replica *replica, struct bytes value)
{
	bool functions = false;
	for (size_t at = 0; at < value.size;) {
		size_t end = at;
		while (end < value.size && value.data[end] != ' ')
			end++;
		struct bytes word = bytes_of(value.data + at, end - at);
		if (argument_is(word, "functions"))
			functions = true;
		else if (word.size > 0)
			return context_errorf(c, "ERR Unsupported rdb-filter-only option: %.*s",
					      (int)word.size, (const char *)word.data);
		at = end + 1;
	}
	replica_set_filter(replica, true, !functions);
	return SETT_OK;
}

static const struct replconf_option {
	const char *name;
	int (*set)(struct command_context *, struct replica *, struct bytes value);
} replconf_options[] = {{"listening-port", set_port},
			{"ip-address", set_address},
			{"capa", add_ability},
			{"rdb-only", set_only_databases},
			{"rdb-filter-only", set_filter}};

/* ACK offset [FACK offset]: never answered. */
static int
acknowledge(struct command_context *c)
{
	int64_t offset, durable = 0;
	if (!c->client->is_replica || !parse_integer(c->argv[2], &offset) || offset < 0)
		return SETT_OK;
	if (c->argc > 4 && argument_is(c->argv[3], "fack") &&
	    (!parse_integer(c->argv[4], &durable) || durable < 0))
		durable = 0;
	replica_acknowledge(c->client, (uint64_t)offset, (uint64_t)durable);
	return SETT_OK;
}

static int
set_option(struct command_context *c, struct replica *replica, struct bytes name, struct bytes value)
{
	for (size_t i = 0; i < sizeof(replconf_options) / sizeof(replconf_options[0]); i++)
		if (argument_is(name, replconf_options[i].name))
			return replconf_options[i].set(c, replica, value);
	return context_errorf(c, "ERR Unrecognized REPLCONF option: %.*s",
			      (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
}

int
command_replconf(struct command_context *c)
{
	struct replica *replica;
	if (c->argc % 2 == 0)
		return context_syntax_error(c);
	int status = replica_of(c->server->replication, c->client, &replica);
	for (size_t i = 1; i < c->argc && status == SETT_OK; i += 2) {
		if (argument_is(c->argv[i], "ack"))
			return acknowledge(c);
		if (argument_is(c->argv[i], "getack"))
			return SETT_OK; /* of a master alone */
		status = set_option(c, replica, c->argv[i], c->argv[i + 1]);
	}
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

/* ---- WAIT, WAITAOF ---- */

static int
answer_or_wait(struct command_context *c, const struct ack_wish *wish, int64_t timeout_ms)
{
	struct ack_count count;
	if (!acks_count(c->server->replication, wish, &count) && !c->in_multi) {
		uint64_t now = clock_monotonic_ns(c->server->clock);
		uint64_t until_ns = timeout_ms == 0 ? 0 : now + (uint64_t)timeout_ms * 1000000;
		int status = acks_wait(c->server->replication, c->client, wish, until_ns);
		return status == SETT_OK ? OUTCOME_BLOCKED : status;
	}
	if (wish->durable) {
		resp_array(c->reply, 2);
		resp_integer(c->reply, wish->here && count.here);
	}
	resp_integer(c->reply, (int64_t)count.replicas);
	return SETT_OK;
}

/* Milliseconds, as many as a clock can be ahead. */
static bool
parse_timeout(struct command_context *c, struct bytes argument, int64_t *ret)
{
	if (!context_integer_or(c, argument, "ERR timeout is not an integer or out of range", ret))
		return false;
	if (*ret < 0) {
		context_error(c, "ERR timeout is negative");
		return false;
	}
	if (*ret > INT64_MAX / 2000000) {
		context_error(c, "ERR timeout is out of range");
		return false;
	}
	return true;
}

int
command_wait(struct command_context *c)
{
	int64_t replicas, timeout;
	if (replication_is_replica(c->server->replication))
		return context_error(
			c,
			"ERR WAIT cannot be used with replica instances. Please also note that since Redis "
			"4.0 if a replica is configured to be writable (which is not the default) writes to "
			"replicas are just local and are not propagated.");
	if (!context_integer(c, c->argv[1], &replicas) || !parse_timeout(c, c->argv[2], &timeout))
		return OUTCOME_FAILED;
	struct ack_wish wish = {.offset = c->client->stream_offset,
				.replicas = replicas > 0 ? (uint64_t)replicas : 0};
	return answer_or_wait(c, &wish, timeout);
}

int
command_waitaof(struct command_context *c)
{
	int64_t here, replicas, timeout;
	if (!context_integer_range(c, c->argv[1], 0, 1,
				   "ERR value is out of range, value must between 0 and 1", &here) ||
	    !context_integer_range(c, c->argv[2], 0, INT64_MAX, "ERR value is out of range, must be positive",
				   &replicas) ||
	    !parse_timeout(c, c->argv[3], &timeout))
		return OUTCOME_FAILED;
	if (replication_is_replica(c->server->replication))
		return context_error(
			c,
			"ERR WAITAOF cannot be used with replica instances. Please also note that writes "
			"to replicas are just local and are not propagated.");
	struct ack_wish wish = {.offset = c->client->stream_offset,
				.replicas = (uint64_t)replicas,
				.durable = true,
				.here = here == 1,
				.timestamp = c->client->write_timestamp};
	return answer_or_wait(c, &wish, timeout);
}

/* ---- ROLE ---- */

struct role_reply {
	struct resp_writer *reply; /* NULL: they are counted */
	size_t count;
};

static void
add_replica(void *arg, const struct replica_facts *replica)
{
	struct role_reply *r = arg;
	if (replica->state != REPLICA_ONLINE)
		return;
	r->count++;
	resp_array(r->reply, 3);
	resp_bulk_string(r->reply, replica->ip);
	resp_bulk_integer(r->reply, replica->port);
	resp_bulk_integer(r->reply, (int64_t)replica->acknowledged);
}

static int
answer_role_of_replica(struct command_context *c, const struct follower_facts *facts)
{
	resp_array(c->reply, 5);
	resp_bulk_string(c->reply, "slave");
	resp_bulk_string(c->reply, facts->host);
	resp_integer(c->reply, facts->port);
	resp_bulk_string(c->reply, follower_state_name(facts->state));
	resp_integer(c->reply, facts->state == FOLLOWER_CONNECTED ? (int64_t)facts->offset : -1);
	return SETT_OK;
}

int
command_role(struct command_context *c)
{
	struct follower_facts facts;
	follower_facts(c->server->follower, &facts);
	if (facts.state != FOLLOWER_NONE)
		return answer_role_of_replica(c, &facts);
	struct replication_state state;
	struct resp_writer list;
	struct role_reply role = {.reply = &list};
	resp_writer_init(&list, c->protocol);
	replication_get(c->server->replication, &state);
	replicas_each(c->server->replication, add_replica, &role);
	resp_array(c->reply, 3);
	resp_bulk_string(c->reply, "master");
	resp_integer(c->reply, (int64_t)state.position.offset);
	resp_array(c->reply, role.count);
	resp_raw(c->reply, list.data, list.size);
	int status = list.failed ? SETT_NO_MEMORY : SETT_OK;
	resp_writer_free(&list);
	return status;
}
