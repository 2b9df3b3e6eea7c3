/* See replicas.h. */
#include "repl/replicas.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "repl/full_sync.h"
#include "repl/private.h"
#include "repl/replica_source.h"

enum { LOGGED_ERROR_MAX = 512 };

/* ---- a replica's life ---- */

int
replica_of(struct replication *r, struct client *client, struct replica **ret)
{
	if (client->replica == NULL) {
		struct replica *replica = calloc(1, sizeof(*replica));
		if (replica == NULL)
			return SETT_NO_MEMORY;
		*replica = (struct replica){
			.replication = r, .client = client, .users = 1, .reactor = client->reactor};
		client->replica = replica;
	}
	*ret = client->replica;
	return SETT_OK;
}

static void
drop_user_locked(struct replica *replica)
{
	if (--replica->users == 0)
		free(replica);
}

void
replica_forget(struct client *client)
{
	struct replica *replica = client->replica;
	if (replica == NULL)
		return;
	struct replication *r = replica->replication;
	mutex_lock(&r->lock);
	replica->client = NULL;
	drop_user_locked(replica);
	mutex_unlock(&r->lock);
	client->replica = NULL;
}

static void
note_listeners_locked(struct replication *r) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	uint64_t reactors = 0;
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next)
		reactors |= reactor_bit(list_entry(l, struct replica, link)->reactor);
	__atomic_store_n(&r->listening, reactors, __ATOMIC_RELAXED);
}

static void
enter_locked(struct replication *r, struct replica *replica) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	list_append(&r->replicas, &replica->link);
	r->replica_count++;
	r->alone_since_ms = 0;
	replica->users++;
	replica->gone = NULL;
	replica->acknowledged = replica->acknowledged_durable = 0;
	replica->heard_ms = replica->took_ms = replication_now_ms(r);
	note_listeners_locked(r);
}

/* It may come back, and then asks for what follows what it has: what it has acknowledged, or more. */
static void
note_lack_locked(struct replication *r, const struct replica *replica) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	if (replica->state == REPLICA_ONLINE && replica->acknowledged > 0 &&
	    replica->acknowledged < r->lacking)
		r->lacking = replica->acknowledged;
}

void
replica_end(struct replica *replica)
{
	struct replication *r = replica->replication;
	mutex_lock(&r->lock);
	note_lack_locked(r, replica);
	list_remove(&replica->link);
	if (--r->replica_count == 0)
		r->alone_since_ms = replication_now_ms(r);
	if (replica->sync != NULL)
		full_sync_leave(replica->sync);
	replica->sync = NULL;
	replica->state = REPLICA_HANDSHAKE;
	note_listeners_locked(r);
	replicas_judge_locked(r);
	drop_user_locked(replica);
	mutex_unlock(&r->lock);
}

/* ---- what it tells of itself ---- */

void
replica_set_port(struct replica *replica, int64_t port)
{
	mutex_lock(&replica->replication->lock);
	replica->port = port;
	mutex_unlock(&replica->replication->lock);
}

void
replica_set_ip(struct replica *replica, struct bytes ip)
{
	mutex_lock(&replica->replication->lock);
	snprintf(replica->ip, sizeof(replica->ip), "%.*s", (int)ip.size, (const char *)ip.data);
	mutex_unlock(&replica->replication->lock);
}

void
replica_add_ability(struct replica *replica, enum replica_ability ability)
{
	mutex_lock(&replica->replication->lock);
	replica->abilities |= ability;
	mutex_unlock(&replica->replication->lock);
}

void
replica_set_only_databases(struct replica *replica, bool only)
{
	mutex_lock(&replica->replication->lock);
	replica->only_databases = only;
	mutex_unlock(&replica->replication->lock);
}

void
replica_set_filter(struct replica *replica, bool leaves_out_keys, bool leaves_out_functions)
{
	mutex_lock(&replica->replication->lock);
	replica->leaves_out_keys = leaves_out_keys;
	replica->leaves_out_functions = leaves_out_functions;
	mutex_unlock(&replica->replication->lock);
}

/* ---- the wish for the stream ---- */

/* Why it can't go on from where it is, or NULL. */
static const char *
refuse_partial_locked(struct replication *r, const struct replica_wish *wish) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	const struct stream_position *p = &r->position;
	bool is_first = wish->id != NULL && strcmp(wish->id, p->id) == 0;
	bool is_second = wish->id != NULL && !is_first && strcmp(wish->id, p->second_id) == 0;
	if (!is_first && !is_second)
		return "its stream is another one";
	if (is_second && (int64_t)wish->offset > p->second_offset)
		return "it has bytes of its stream that this server has not";
	if (!r->streams || wish->offset < r->history.start || wish->offset > r->history.end + 1)
		return "the bytes that it lacks are not in the backlog";
	return NULL;
}

/* The host of "host:port", or of "[host]:port". */
static void
copy_host(const char *address, char ret[REPLICA_ADDRESS_SIZE])
{
	const char *colon = strrchr(address, ':');
	size_t size = colon != NULL ? (size_t)(colon - address) : strlen(address);
	if (size >= 2 && address[0] == '[') {
		address++;
		size -= 2;
	}
	snprintf(ret, REPLICA_ADDRESS_SIZE, "%.*s", (int)size, address);
}

static const char *
port_text(const struct replica *replica, char ret[REPLICA_ADDRESS_SIZE + 32])
{
	char host[REPLICA_ADDRESS_SIZE];
	copy_host(replica->client->address, host);
	snprintf(ret, REPLICA_ADDRESS_SIZE + 32, "%s:%" PRId64, replica->ip[0] != '\0' ? replica->ip : host,
		 replica->port);
	return ret;
}

static void
begin_partial_locked(struct replication *r, struct replica *replica, const struct replica_wish *wish,
		     struct resp_writer *reply) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	char name[REPLICA_ADDRESS_SIZE + 32];
	replica->state = REPLICA_ONLINE;
	replica->offset = wish->offset - 1;
	r->syncs_partial++;
	if ((replica->abilities & REPLICA_CAN_PSYNC2) != 0) {
		resp_raw(reply, "+CONTINUE ", 10);
		resp_raw(reply, r->position.id, REPLICATION_ID_SIZE);
		resp_raw(reply, "\r\n", 2);
	} else {
		resp_raw(reply, "+CONTINUE\r\n", 11);
	}
	log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE,
			"Partial resynchronization request from %s accepted. Sending %" PRIu64
			" bytes of backlog starting from offset %" PRIu64 ".",
			port_text(replica, name), r->history.end + 1 - wish->offset, wish->offset);
}

static void
begin_full_locked(struct replication *r, struct replica *replica, const struct replica_wish *wish,
		  const char *why) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	char name[REPLICA_ADDRESS_SIZE + 32];
	port_text(replica, name);
	if (wish->id != NULL) {
		r->syncs_refused++;
		log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE,
				"Partial resynchronization not accepted for replica %s: %s", name, why);
	}
	r->syncs_full++;
	replica->state = REPLICA_WAITS;
	replica->waits_since_ms = replication_now_ms(r);
	replica->offset = r->history.end;
	condition_signal(&r->news);
	log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE, "Full resync requested by replica %s", name);
}

int
replica_begin(struct replication *r, struct client *client, const struct replica_wish *wish,
	      struct resp_writer *reply, struct reply_source **ret)
{
	struct replica *replica;
	int status = replica_of(r, client, &replica);
	if (status == SETT_OK)
		status = keeper_start(r);
	if (status != SETT_OK)
		return status;
	struct reply_source *source = replica_source_create(replica);
	if (source == NULL)
		return SETT_NO_MEMORY;
	mutex_lock(&r->lock);
	replication_trim_locked(r); /* CONFIG SET repl-backlog-size, replicas that have gone */
	const char *why = refuse_partial_locked(r, wish);
	replica->is_old = wish->is_old;
	enter_locked(r, replica);
	if (why == NULL)
		begin_partial_locked(r, replica, wish, reply);
	else
		begin_full_locked(r, replica, wish, why);
	replicas_judge_locked(r);
	mutex_unlock(&r->lock);
	*ret = source;
	return SETT_OK;
}

void
replica_join_locked(struct replica *replica)
{
	struct full_sync *sync = full_sync_join(replica->replication, replica);
	if (sync == NULL)
		return;
	replica->sync = sync;
	replica->state = REPLICA_SYNCS;
	replica->offset = sync->offset;
}

/* ---- what it says ---- */

void
replica_acknowledge(struct client *client, uint64_t offset, uint64_t durable)
{
	struct replica *replica = client->replica;
	if (replica == NULL)
		return;
	struct replication *r = replica->replication;
	mutex_lock(&r->lock);
	replica->heard_ms = replication_now_ms(r);
	if (offset > replica->acknowledged)
		replica->acknowledged = offset;
	if (durable > replica->acknowledged_durable)
		replica->acknowledged_durable = durable;
	if (replica->state == REPLICA_SENT && replica->gone == NULL) {
		replica->state = REPLICA_ONLINE;
		replication_call(r, reactor_bit(replica->reactor));
		log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE,
				"Synchronization with replica %s succeeded", client->address);
	}
	if (!replica->is_good)
		replicas_judge_locked(r);
	acks_settle_locked(r);
	mutex_unlock(&r->lock);
}

void
replica_refuse(struct client *client, const char *command, struct bytes error)
{
	struct replica *replica = client->replica;
	struct replication *r = replica->replication;
	if (error.size > 0)
		log_sink_printf(r->options.sink, LOG_LEVEL_WARNING,
				"== CRITICAL == This master is sending an error to its replica: '%.*s' after "
				"processing "
				"the command '%s'",
				error.size < LOGGED_ERROR_MAX ? (int)error.size : LOGGED_ERROR_MAX,
				(const char *)error.data, command != NULL ? command : "NULL");
	log_sink_printf(r->options.sink, LOG_LEVEL_WARNING,
			"Replica generated a reply to command '%s', disconnecting it: addr=%s",
			command != NULL ? command : "NULL", client->address);
	mutex_lock(&r->lock);
	replica->gone = "it caused a reply";
	mutex_unlock(&r->lock);
	replication_call(r, reactor_bit(replica->reactor));
}

/* ---- all of them ---- */

const char *
replica_state_name(enum replica_state state)
{
	/* As Redis names them with repl-diskless-sync: what is being made is on its way already. */
	static const char *const names[] = {[REPLICA_HANDSHAKE] = "wait_bgsave",
					    [REPLICA_WAITS] = "wait_bgsave",
					    [REPLICA_SYNCS] = "wait_bgsave",
					    [REPLICA_SENT] = "send_bulk",
					    [REPLICA_ONLINE] = "online"};
	return names[state];
}

void
replicas_judge_locked(struct replication *r)
{
	int64_t lag = __atomic_load_n(&r->options.config->min_replicas_max_lag, __ATOMIC_RELAXED);
	uint64_t now = replication_now_ms(r);
	unsigned good = 0;
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		struct replica *replica = list_entry(l, struct replica, link);
		replica->is_good = replica->state == REPLICA_ONLINE && replica->gone == NULL &&
			(now - replica->heard_ms) / MS_PER_SECOND <= (uint64_t)lag;
		good += replica->is_good;
	}
	__atomic_store_n(&r->good_replicas, good, __ATOMIC_RELAXED);
}

void
replicas_judge(struct replication *r)
{
	mutex_lock(&r->lock);
	replicas_judge_locked(r);
	mutex_unlock(&r->lock);
}

unsigned
replicas_good(const struct replication *r)
{
	return __atomic_load_n(&r->good_replicas, __ATOMIC_RELAXED);
}

unsigned
replicas_count(struct replication *r)
{
	mutex_lock(&r->lock);
	unsigned count = r->replica_count;
	mutex_unlock(&r->lock);
	return count;
}

void
replicas_each(struct replication *r, void (*each)(void *arg, const struct replica_facts *), void *arg)
{
	uint64_t now = replication_now_ms(r);
	mutex_lock(&r->lock);
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		struct replica_facts facts = {.port = replica->port,
					      .state = replica->state,
					      .only_databases = replica->only_databases,
					      .acknowledged = replica->acknowledged,
					      .lag_seconds =
						      (int64_t)((now - replica->heard_ms) / MS_PER_SECOND)};
		if (replica->ip[0] != '\0')
			snprintf(facts.ip, sizeof(facts.ip), "%s", replica->ip);
		else if (replica->client != NULL)
			copy_host(replica->client->address, facts.ip);
		if (replica->client != NULL)
			each(arg, &facts);
	}
	mutex_unlock(&r->lock);
}

void
replicas_close(struct replication *r, uint64_t client_id, const char *why)
{
	mutex_lock(&r->lock);
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		struct replica *replica = list_entry(l, struct replica, link);
		if (replica->client != NULL && replica->client->id == client_id)
			replica->gone = why;
	}
	replicas_judge_locked(r);
	mutex_unlock(&r->lock);
}

void
replicas_drop_locked(struct replication *r, const char *why)
{
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next)
		list_entry(l, struct replica, link)->gone = why;
	replicas_judge_locked(r);
}

void
replicas_drop(struct replication *r, const char *why)
{
	mutex_lock(&r->lock);
	replicas_drop_locked(r, why);
	mutex_unlock(&r->lock);
	replication_wake(r);
}
