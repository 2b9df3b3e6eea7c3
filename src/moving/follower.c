/* See follower.h. */
#include "moving/follower.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/config.h"
#include "expire/expirer.h"
#include "moving/failover.h"
#include "moving/handshake.h"
#include "moving/link.h"
#include "moving/master_stream.h"
#include "moving/sync_receiver.h"
#include "repl/acks.h"
#include "storage/base/random.h"
#include "txn/pause.h"
#include "txn/waiting.h"

enum {
	MS_PER_SECOND = 1000,
	SECRET_SIZE = 1024,
	CUT_REST_MS = 100,
	QUIET_MS = 10, /* after so long without a word of the master's it hears how far we are */
	OWING_MS = 20, /* so often it is looked whether what was asked for is durable */
	FAILOVER_STEP_MS = 10,
	PAUSE_STEP_MS = 20,         /* so often it is looked whether a CLIENT PAUSE is over */
	PAUSED_BYTES = 1024 * 1024, /* are received meanwhile; the rest stays with the master */
};
#define NS_PER_MS 1000000ull
#define NS_PER_SECOND 1000000000ull

struct follower {
	struct server *server;
	int wake; /* eventfd: readable from an order on until the thread takes it up */
	bool has_thread;
	pthread_t thread;
	struct mutex lock;
	struct condition changed;
	/* under the lock */
	char host[FOLLOWER_HOST_SIZE]; /* empty: none is followed */
	unsigned port;
	bool stop;
	struct failover failover; /* has a lock of its own */
	/* Atomic: how often that has changed. Stored under the commit lock and the lock (release; partner: allegiance_holds). */
	uint64_t orders;
	/* atomic (relaxed): figures */
	enum follower_state state;
	uint64_t last_io_ns, down_since_ns; /* monotonic; 0: never */
	uint64_t waiting_bytes;             /* received and not applied */
	uint64_t full_syncs, partial_syncs;
	struct sync_receiver_facts sync;
	/* the thread's */
	struct link link;
	struct master_stream stream;
	struct allegiance allegiance;
	char link_host[FOLLOWER_HOST_SIZE];
	unsigned link_port;
	bool acknowledges;     /* the master knows of offsets */
	bool distrusts;        /* the stream made no sense: what is here may not be what the offset says */
	bool is_held_back;     /* by CLIENT PAUSE: what has come waits, as writes of clients do */
	bool owes_offset;      /* more has come than it was told of */
	uint64_t told_ns;      /* when it was told that we are alive */
	uint64_t owed_offset;  /* it has asked lately, and is to hear when this is durable; 0: it has not */
	uint64_t connected_ns; /* when the link's stream began; 0: it has not */
};

static uint64_t
now_ns(const struct follower *f)
{
	return clock_monotonic_ns(f->server->clock);
}

static void
set_state(struct follower *f, enum follower_state state)
{
	enum follower_state before = __atomic_exchange_n(&f->state, state, __ATOMIC_RELAXED);
	if (before == FOLLOWER_CONNECTED && state != before)
		__atomic_store_n(&f->down_since_ns, now_ns(f), __ATOMIC_RELAXED);
	__atomic_store_n(&f->server->replica_role.link_is_up, state == FOLLOWER_CONNECTED, __ATOMIC_RELAXED);
	replication_set_link(f->server->replication, state == FOLLOWER_CONNECTED);
}

static void
note_io(void *arg)
{
	struct follower *f = arg;
	__atomic_store_n(&f->last_io_ns, now_ns(f), __ATOMIC_RELAXED);
}

static int
timeout_ms(const struct follower *f)
{
	int64_t seconds = __atomic_load_n(&f->server->config->repl_timeout, __ATOMIC_RELAXED);
	return seconds < INT_MAX / MS_PER_SECOND ? (int)seconds * MS_PER_SECOND : INT_MAX;
}

/* Ends what the thread waits for. */
static void
wake_locked(struct follower *f) REQUIRES(&f->lock)
{
	assert(mutex_is_mine(&f->lock));
	uint64_t one = 1;
	(void)!write(f->wake, &one, sizeof(one)); /* it fails only where it is set already */
	condition_broadcast(&f->changed);
}

/* DEBUG SLEEP stops the link, too; but who cuts it is obeyed at once. */
static void
sleep_along(struct follower *f)
{
	struct pollfd cut = {.fd = f->wake, .events = POLLIN};
	uint64_t left;
	while ((left = net_sleep_left_ns(f->server->net)) > 0 &&
	       poll(&cut, 1, (int)(left / NS_PER_MS) + 1) == 0)
		continue;
}

/* ---- what is told to the master ---- */

/* How much of the stream is written here, and how much is durable (WAITAOF). */
static int
acknowledge(struct follower *f, struct sett_error *error)
{
	struct replication_state state;
	char offset[24], durable_offset[24];
	uint64_t durable = replication_durable(f->server->replication);
	replication_get(f->server->replication, &state);
	snprintf(offset, sizeof(offset), "%" PRIu64, state.position.offset);
	snprintf(durable_offset, sizeof(durable_offset), "%" PRIu64, durable);
	const char *words[] = {"REPLCONF", "ACK", offset, "FACK", durable_offset};
	f->owed_offset = f->stream.wants_ack && durable < state.position.offset ? state.position.offset : 0;
	f->stream.wants_ack = f->owes_offset = false;
	f->told_ns = now_ns(f);
	return f->acknowledges ? link_send_words(&f->link, words, 5, timeout_ms(f), error) : SETT_OK;
}

/* Also keeps the master from taking this side for dead while a data set is read. */
static bool
should_stop(void *arg)
{
	struct follower *f = arg;
	struct sett_error ignored;
	sleep_along(f);
	if (!allegiance_holds(&f->allegiance))
		return true;
	if (now_ns(f) - f->told_ns >= NS_PER_SECOND) {
		f->told_ns = now_ns(f);
		(void)link_send(&f->link, BYTES_LITERAL("\n"), 0,
				&ignored); /* a broken link shows when it is read */
	}
	return false;
}

/* ---- one link ---- */

/* A copy, NULL where the setting is empty. */
static const char *
copy_setting(char *const *setting, char *room, size_t size)
{
	if (*setting == NULL || (*setting)[0] == '\0')
		return NULL;
	snprintf(room, size, "%s", *setting);
	return room;
}

/* relaxed, all: numbers that stand for themselves */
static bool
is_over_tls(const struct config *config)
{
	return __atomic_load_n(&config->tls.replication, __ATOMIC_RELAXED);
}

static unsigned
announced_port(const struct server *server)
{
	const struct config *config = server->config;
	int port = __atomic_load_n(&config->replica_announce_port, __ATOMIC_RELAXED);
	if (port == 0 && is_over_tls(config))
		port = __atomic_load_n(&config->tls_port, __ATOMIC_RELAXED);
	return (unsigned)(port != 0 ? port : net_tcp_port(server->net));
}

static int
shake_hands(struct follower *f, struct sync_answer *ret, struct sett_error *error)
{
	struct config *config = f->server->config;
	struct replication_state state;
	char user[SECRET_SIZE], address[SECRET_SIZE];
	struct buffer password = {0};
	struct handshake h = {.timeout_ms = timeout_ms(f), .sink = f->server->sink};
	mutex_lock(config_lock(config));
	h.user = copy_setting(&config->master_user, user, sizeof(user));
	int status = buffer_append(&password, config->master_auth.data, config->master_auth.size);
	h.password = buffer_bytes(&password);
	h.announced_ip = copy_setting(&config->replica_announce_ip, address, sizeof(address));
	mutex_unlock(config_lock(config));
	h.port = announced_port(f->server);
	h.fails_over = failover_stage(&f->failover) == FAILOVER_HANDS_OVER;
	replication_get(f->server->replication, &state);
	if (!state.streams || f->distrusts)
		state.position.id[0] = '\0'; /* no master knows of it */
	status = status == SETT_OK ? handshake_introduce(&f->link, &h, error)
				   : sett_error_set(error, status, 0, "out of memory");
	buffer_free(&password);
	if (status != SETT_OK)
		return status;
	status = handshake_ask(&f->link, &h, &state.position, ret, error);
	if (status == SETT_OK)
		failover_settle(&f->failover);
	else if (h.fails_over && ret->kind != SYNC_UNANSWERED)
		failover_refused(&f->failover);
	return status;
}

static void
make_id(char ret[REPLICATION_ID_SIZE + 1])
{
	for (unsigned i = 0; i < REPLICATION_ID_SIZE; i += 8)
		snprintf(ret + i, REPLICATION_ID_SIZE + 1 - i, "%08x", (unsigned)random_entropy());
}

/* The position at which a data set stands. That of a master which says none is no stream's. */
static void
position_of(const struct sync_answer *answer, struct stream_position *ret)
{
	*ret = (struct stream_position){.offset = answer->offset, .second_offset = -1, .db = -1};
	memset(ret->second_id, '0', REPLICATION_ID_SIZE);
	if (answer->kind == SYNC_FULL)
		memcpy(ret->id, answer->id, sizeof(ret->id));
	else
		make_id(ret->id);
}

static int
sync_fully(struct follower *f, const struct sync_answer *answer, struct sett_error *error)
{
	const struct log_sink *sink = &f->server->sink;
	struct sync_receiver sync = {.server = f->server,
				     .link = &f->link,
				     .feed = &f->stream.feed,
				     .allegiance = f->allegiance,
				     .timeout_ms = timeout_ms(f),
				     .should_stop = should_stop,
				     .on_bytes = note_io,
				     .arg = f,
				     .facts = &f->sync};
	struct stream_position position;
	position_of(answer, &position);
	set_state(f, FOLLOWER_SYNC);
	if (answer->kind == SYNC_FULL)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Full resync from master: %s:%" PRIu64, answer->id,
				answer->offset);
	int status = sync_receiver_receive(&sync, error);
	if (status == SETT_OK) {
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"MASTER <-> REPLICA sync: Loading DB in memory, beside the old data, which "
				"are served meanwhile");
		status = sync_receiver_load(&sync, &position, error);
	}
	sync_receiver_clean(f->server);
	if (status == SETT_OK) {
		f->distrusts = false;
		__atomic_add_fetch(&f->full_syncs, 1, __ATOMIC_RELAXED);
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "MASTER <-> REPLICA sync: Finished with success");
	}
	return status;
}

static void
go_on(struct follower *f, const struct sync_answer *answer)
{
	struct replication_state state;
	const struct log_sink *sink = &f->server->sink;
	replication_get(f->server->replication, &state);
	__atomic_add_fetch(&f->partial_syncs, 1, __ATOMIC_RELAXED);
	log_sink_printf(sink, LOG_LEVEL_NOTICE, "Successful partial resynchronization with master.");
	if (answer->id[0] == '\0' || strcmp(answer->id, state.position.id) == 0)
		return;
	/* Not behind a REPLICAOF, which may have given this server an id of its own. */
	mutex_lock(&f->lock);
	bool is_obeyed = allegiance_holds(&f->allegiance);
	if (is_obeyed)
		replication_rename(f->server->replication, answer->id);
	mutex_unlock(&f->lock);
	if (is_obeyed)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Master replication ID changed to %s", answer->id);
}

static int
apply_received(struct follower *f, struct sett_error *error)
{
	const struct server *server = f->server;
	f->is_held_back = server->pause != NULL &&
		pause_mode_at(server->pause, clock_wall_ms(server->clock)) != PAUSE_NONE;
	if (f->is_held_back)
		return SETT_OK;
	int status = master_stream_apply(&f->stream, error);
	__atomic_store_n(&f->waiting_bytes, f->stream.size, __ATOMIC_RELAXED);
	return status;
}

/* What has come: applied, and the figures of it. */
static int
take_received(struct follower *f, struct sett_error *error)
{
	struct bytes received = link_received(&f->link);
	note_io(f);
	f->owes_offset = true;
	int status = master_stream_add(&f->stream, received, error);
	link_take(&f->link, received.size);
	__atomic_store_n(&f->waiting_bytes, f->stream.size, __ATOMIC_RELAXED);
	return status == SETT_OK ? apply_received(f, error) : status;
}

/* Until the pause is over: a little more is received. */
static int
sit_out_pause(struct follower *f, struct sett_error *error)
{
	struct timespec step = {.tv_nsec = PAUSE_STEP_MS * NS_PER_MS};
	int status = SETT_NOT_FOUND;
	if (f->stream.size < PAUSED_BYTES)
		status = link_fill(&f->link, PAUSE_STEP_MS, error);
	else
		nanosleep(&step, NULL);
	if (!allegiance_holds(&f->allegiance))
		return sett_error_set(error, SETT_ABORTED, 0, "it was given up");
	if (status == SETT_OK)
		return take_received(f, error);
	return status == SETT_NOT_FOUND ? apply_received(f, error) : status;
}

/* Each second, and when the master asks. */
static int
report(struct follower *f, struct sett_error *error)
{
	int status = master_stream_settle(&f->stream, error);
	__atomic_store_n(&f->waiting_bytes, f->stream.size, __ATOMIC_RELAXED);
	return status == SETT_OK ? acknowledge(f, error) : status;
}

/* Whether what the master has asked about has become durable. */
static bool
owes_word(struct follower *f)
{
	return f->owed_offset != 0 && replication_durable(f->server->replication) >= f->owed_offset;
}

/* The link is shown as a client from here on. */
static void
begin_stream(struct follower *f, int64_t db)
{
	char address[CLIENT_ADDRESS_SIZE];
	struct client *client = &f->stream.feed.client;
	snprintf(address, sizeof(address), "%.100s:%u", f->link_host, f->link_port);
	uint64_t id = net_take_client_id(f->server->net);
	mutex_lock(&f->lock);
	master_stream_begin(&f->stream, f->allegiance.order, db, address);
	client->id = id;
	client->fd = f->link.transport.fd;
	client->created_ms = client->last_active_ms = clock_wall_ms(f->server->clock);
	mutex_unlock(&f->lock);
}

static int
follow_stream(struct follower *f, struct sett_error *error)
{
	struct replication_state state;
	replication_get(f->server->replication, &state);
	begin_stream(f, state.position.db);
	bool no_delay = !__atomic_load_n(&f->server->config->repl_disable_tcp_nodelay, __ATOMIC_RELAXED);
	link_set_no_delay(&f->link, no_delay);
	note_io(f);
	f->connected_ns = now_ns(f);
	f->is_held_back = false;
	set_state(f, FOLLOWER_CONNECTED);
	int status = acknowledge(f, error);
	while (status == SETT_OK) {
		sleep_along(f);
		uint64_t since_ns = now_ns(f) - f->told_ns;
		if (f->stream.wants_ack || since_ns >= NS_PER_SECOND || owes_word(f)) {
			status = report(f, error);
			continue;
		}
		if (f->is_held_back) {
			status = sit_out_pause(f, error);
			continue;
		}
		int wait_ms = (int)((NS_PER_SECOND - since_ns) / NS_PER_MS) + 1;
		if (f->owed_offset != 0 && wait_ms > OWING_MS)
			wait_ms = OWING_MS;
		/* It keeps what we may lack, and a fail-over or a shutdown waits for us. */
		if (f->owes_offset && wait_ms > QUIET_MS)
			wait_ms = QUIET_MS;
		status = link_fill(&f->link, wait_ms, error);
		if (status == SETT_OK)
			status = take_received(f, error);
		else if (status == SETT_NOT_FOUND && f->owes_offset)
			status = report(f, error);
		else if (status == SETT_NOT_FOUND)
			status = now_ns(f) - f->last_io_ns < (uint64_t)timeout_ms(f) * NS_PER_MS
				? SETT_OK
				: sett_error_set(error, SETT_IO, ETIMEDOUT,
						 "MASTER timeout: no data nor PING received...");
	}
	/* The rest of what has come without data; its failure costs nothing but that it comes again. */
	struct sett_error ignored;
	if (status == SETT_IO && f->stream.whole_count == 0)
		(void)master_stream_settle(&f->stream, &ignored);
	return status;
}

static int
open_link(struct follower *f, struct sett_error *error)
{
	struct config *config = f->server->config;
	char source[SECRET_SIZE];
	struct link_peer peer = {.host = f->link_host,
				 .port = f->link_port,
				 .tls = is_over_tls(config) ? f->server->net : NULL};
	mutex_lock(config_lock(config));
	peer.source = copy_setting(&config->bind_source, source, sizeof(source));
	mutex_unlock(config_lock(config));
	return link_open(&f->link, f->wake, &peer, timeout_ms(f), error);
}

static int
run_link(struct follower *f, struct sett_error *error)
{
	const struct log_sink *sink = &f->server->sink;
	struct sync_answer answer = {.kind = SYNC_UNANSWERED};
	set_state(f, FOLLOWER_CONNECTING);
	log_sink_printf(sink, LOG_LEVEL_NOTICE, "Connecting to MASTER %s:%u", f->link_host, f->link_port);
	log_sink_printf(sink, LOG_LEVEL_NOTICE, "MASTER <-> REPLICA sync started");
	int status = open_link(f, error);
	if (status != SETT_OK)
		return status;
	log_sink_printf(sink, LOG_LEVEL_NOTICE, "Non blocking connect for SYNC fired the event.");
	link_set_no_delay(&f->link, true);
	note_io(f);
	set_state(f, FOLLOWER_HANDSHAKE);
	status = shake_hands(f, &answer, error);
	f->acknowledges = status == SETT_OK && answer.kind != SYNC_UNKNOWN;
	if (status == SETT_OK && answer.kind == SYNC_CONTINUE)
		go_on(f, &answer);
	else if (status == SETT_OK)
		status = sync_fully(f, &answer, error);
	return status == SETT_OK ? follow_stream(f, error) : status;
}

/* ---- the thread ---- */

/* Takes up the present order. */
static void
take_order_locked(struct follower *f) REQUIRES(&f->lock)
{
	assert(mutex_is_mine(&f->lock));
	uint64_t count;
	f->allegiance = (struct allegiance){.orders = &f->orders,
					    .order = __atomic_load_n(&f->orders, __ATOMIC_RELAXED)};
	snprintf(f->link_host, sizeof(f->link_host), "%s", f->host);
	f->link_port = f->port;
	if (!f->stop)
		(void)!read(f->wake, &count, sizeof(count)); /* nothing there is fine */
}

static void
log_end(struct follower *f, const struct sett_error *error)
{
	const struct log_sink *sink = &f->server->sink;
	bool was_connected = f->connected_ns != 0;
	enum follower_state state = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
	if (error->system_errno == ETIMEDOUT && !was_connected && state < FOLLOWER_SYNC)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Timeout connecting to the MASTER...");
	if (was_connected)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Connection with master lost.");
	log_sink_printf(sink, LOG_LEVEL_WARNING,
			was_connected ? "The link to the master ended: %s"
				      : "Error condition on socket for SYNC: %s",
			error->message);
}

static void
follow_once(struct follower *f)
{
	struct sett_error error = {0};
	failover_follow(&f->failover);
	f->connected_ns = 0;
	int status = run_link(f, &error);
	if (status == SETT_CORRUPT)
		f->distrusts = true;
	bool is_obeyed = allegiance_holds(&f->allegiance);
	if (is_obeyed)
		log_end(f, &error);
	/* After a good while at once; where the master has cut the stream, as Redis, soon; else in a second. */
	uint64_t rest_ns =
		status == SETT_IO && f->connected_ns != 0 ? CUT_REST_MS * NS_PER_MS : NS_PER_SECOND;
	bool was_short = f->connected_ns == 0 || now_ns(f) - f->connected_ns < NS_PER_SECOND;
	mutex_lock(&f->lock);
	f->stream.feed.client.fd = -1;
	set_state(f, f->host[0] != '\0' ? FOLLOWER_CONNECT : FOLLOWER_NONE);
	mutex_unlock(&f->lock);
	link_close(&f->link);
	__atomic_store_n(&f->waiting_bytes, 0, __ATOMIC_RELAXED);
	mutex_lock(&f->lock);
	if (!f->stop && is_obeyed && was_short)
		condition_wait_for(&f->changed, &f->lock, rest_ns);
	mutex_unlock(&f->lock);
}

/* Until whom to follow may have changed; with a fail-over under way it goes on. */
static void
wait_idle_locked(struct follower *f) REQUIRES(&f->lock)
{
	assert(mutex_is_mine(&f->lock));
	f->distrusts = false; /* a master's data are what its own stream says */
	mutex_unlock(&f->lock);
	bool fails_over = failover_step(&f->failover);
	mutex_lock(&f->lock);
	if (f->stop || f->host[0] != '\0')
		return;
	if (fails_over)
		(void)condition_wait_for(&f->changed, &f->lock, FAILOVER_STEP_MS * NS_PER_MS);
	else if (failover_stage(&f->failover) == FAILOVER_NONE)
		condition_wait(&f->changed, &f->lock);
}

static void *
run_thread(void *arg)
{
	struct follower *f = arg;
	for (;;) {
		mutex_lock(&f->lock);
		while (!f->stop && f->host[0] == '\0')
			wait_idle_locked(f);
		uint64_t left;
		while (!f->stop && (left = net_sleep_left_ns(f->server->net)) > 0)
			(void)condition_wait_for(&f->changed, &f->lock, left);
		bool stop = f->stop;
		take_order_locked(f);
		mutex_unlock(&f->lock);
		if (stop)
			return NULL;
		follow_once(f);
	}
}

/* ---- orders ---- */

static void
set_master(struct follower *f, const char *host, unsigned port)
{
	bool follows = host[0] != '\0';
	mutex_lock(&f->lock);
	snprintf(f->host, sizeof(f->host), "%s", host);
	f->port = port;
	__atomic_store_n(&f->orders, f->orders + 1, __ATOMIC_RELEASE);
	set_state(f, follows ? FOLLOWER_CONNECT : FOLLOWER_NONE);
	__atomic_store_n(&f->server->replica_role.active, follows, __ATOMIC_RELAXED);
	wake_locked(f);
	mutex_unlock(&f->lock);
	replication_take_role(f->server->replication, follows ? REPLICATION_REPLICA : REPLICATION_MASTER);
}

/* A REPLICAOF, until its commit and behind it. */
struct order {
	struct commit_participant participant;
	struct follower *follower;
	const struct keyspace_view *view; /* of its transaction; NULL: it writes nothing else */
	char host[FOLLOWER_HOST_SIZE];
	unsigned port;
};

/* What a MULTI block writes beside REPLICAOF NO ONE would be in no stream, as it began on a replica, and yet belong to a
 * master's data. */
static bool
may_commit(struct commit_participant *p)
{
	const struct order *o = (const struct order *)p;
	bool is_replica = replication_is_replica(o->follower->server->replication);
	return o->host[0] != '\0' || !is_replica || o->view == NULL || !sett_txn_has_writes(o->view->txn);
}

static void
answer_refused(struct commit_participant *p, struct command_context *c)
{
	(void)p;
	context_error(c, "ERR a replica can't become a master in a MULTI block that writes");
}

static void
note_commit(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	struct order *o = (struct order *)p;
	set_master(o->follower, o->host, o->port);
}

static void
log_order(struct server *server, const struct client *client, const struct order *o)
{
	struct buffer who = {0};
	int status = client_describe_for_log(client, clock_wall_ms(server->clock), &who);
	int size = status == SETT_OK ? (int)who.size : 0;
	if (o->host[0] != '\0')
		log_sink_printf(&server->sink, LOG_LEVEL_NOTICE,
				"REPLICAOF %s:%u enabled (user request from '%.*s')", o->host, o->port, size,
				(const char *)who.data);
	else
		log_sink_printf(&server->sink, LOG_LEVEL_NOTICE,
				"MASTER MODE enabled (user request from '%.*s')", size,
				(const char *)who.data);
	buffer_free(&who);
}

/* What others see of it, outside of locks. */
static void
settle_order(struct server *server, const struct order *o)
{
	if (config_note_replica_of(server->config, o->host, o->port) != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING,
				"No memory to keep `replicaof` for CONFIG REWRITE");
	if (o->host[0] != '\0') {
		waiting_end_all(server->waiting, WAIT_DEMOTED);
		acks_end_all(server->replication);
	}
	expirer_kick(server->expirer);
}

static void
finish_order(struct server *server, struct client *client, void *data)
{
	const struct order *o = data;
	log_order(server, client, o);
	settle_order(server, o);
}

int
follower_switch(struct follower *f, const char *host, unsigned port, struct commit_participant *also)
{
	struct server *server = f->server;
	struct order o = {
		.participant = {.validate = may_commit, .apply = note_commit}, .follower = f, .port = port};
	snprintf(o.host, sizeof(o.host), "%s", host);
	if (also != NULL)
		also->next = &o.participant;
	int status = commit_alone(server, also != NULL ? also : &o.participant);
	if (status == SETT_OK)
		settle_order(server, &o);
	return status;
}

int
follower_obey(struct command_context *c, struct bytes host, unsigned port)
{
	struct order *o = arena_allocate(c->arena, sizeof(*o), _Alignof(struct order));
	if (o == NULL)
		return SETT_NO_MEMORY;
	*o = (struct order){
		.participant = {.validate = may_commit, .apply = note_commit, .answer = answer_refused},
		.follower = c->server->follower,
		.view = &c->view,
		.port = port};
	snprintf(o->host, sizeof(o->host), "%.*s", (int)host.size, (const char *)host.data);
	context_join_commit(c, &o->participant);
	return context_defer(c, finish_order, o);
}

/* ---- beginning and end ---- */

/* "host port", as the directive has it. */
static bool
read_directive(struct config *config, char host[FOLLOWER_HOST_SIZE], unsigned *ret_port)
{
	mutex_lock(config_lock(config));
	const char *text = config->replica_of, *space = text != NULL ? strchr(text, ' ') : NULL;
	if (space != NULL) {
		snprintf(host, FOLLOWER_HOST_SIZE, "%.*s", (int)(space - text), text);
		*ret_port = (unsigned)strtoul(space + 1, NULL, 10);
	}
	mutex_unlock(config_lock(config));
	return space != NULL;
}

bool
follower_is_wanted(struct config *config)
{
	char host[FOLLOWER_HOST_SIZE];
	unsigned port;
	return read_directive(config, host, &port);
}

int
follower_create(struct server *server, struct follower **ret, struct sett_error *error)
{
	char host[FOLLOWER_HOST_SIZE];
	unsigned port;
	struct follower *f = calloc(1, sizeof(*f));
	if (f == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	f->server = server;
	f->link.transport.fd = -1;
	failover_init(&f->failover, server);
	mutex_init(&f->lock);
	condition_init(&f->changed);
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int status = f->wake >= 0 ? SETT_OK
				  : sett_error_set(error, SETT_IO, errno, "eventfd: %s", strerror(errno));
	if (status != SETT_OK) {
		follower_destroy(f);
		return status;
	}
	if (read_directive(server->config, host, &port))
		set_master(f, host, port);
	sync_receiver_clean(server);
	*ret = f;
	return SETT_OK;
}

int
follower_start(struct follower *f)
{
	mutex_lock(&f->lock); /* commands may ask already */
	int status = master_stream_open(&f->stream, f->server, &f->orders);
	mutex_unlock(&f->lock);
	if (status == SETT_OK)
		status = thread_start(&f->thread, "sett-follow", run_thread, f);
	f->has_thread = status == SETT_OK;
	return status;
}

void
follower_stop(struct follower *f)
{
	if (f == NULL)
		return;
	mutex_lock(&f->lock);
	f->stop = true;
	__atomic_store_n(&f->orders, f->orders + 1, __ATOMIC_RELEASE);
	if (f->wake >= 0)
		wake_locked(f);
	mutex_unlock(&f->lock);
	if (f->has_thread)
		thread_join(f->thread);
	f->has_thread = false;
}

void
follower_destroy(struct follower *f)
{
	if (f == NULL)
		return;
	assert(!f->has_thread);
	master_stream_close(&f->stream);
	if (f->wake >= 0)
		close(f->wake);
	condition_destroy(&f->changed);
	failover_free(&f->failover);
	mutex_destroy(&f->lock);
	free(f);
}

/* ---- for others ---- */

struct failover *
follower_failover(struct follower *f)
{
	return &f->failover;
}

bool
follower_begin_failover(struct follower *f, const struct failover_wish *wish)
{
	if (!failover_begin(&f->failover, wish))
		return false;
	mutex_lock(&f->lock);
	condition_broadcast(&f->changed);
	mutex_unlock(&f->lock);
	return true;
}

const char *
follower_state_name(enum follower_state state)
{
	static const char *const names[] = {"none",      "connect", "connecting",
					    "handshake", "sync",    "connected"};
	return names[state];
}

int
follower_each_link(struct follower *f, int (*each)(void *arg, struct client *), void *arg)
{
	int result = 0;
	mutex_lock(&f->lock);
	if (f->host[0] != '\0' && __atomic_load_n(&f->state, __ATOMIC_RELAXED) == FOLLOWER_CONNECTED)
		result = each(arg, &f->stream.feed.client);
	mutex_unlock(&f->lock);
	return result;
}

void
follower_foresee(const struct commit_participant *first, struct follower_facts *ret)
{
	for (const struct commit_participant *p = first; p != NULL; p = p->next) {
		const struct order *o = (const struct order *)p;
		if (p->apply != note_commit)
			continue;
		snprintf(ret->host, sizeof(ret->host), "%s", o->host);
		ret->port = o->port;
		ret->state = o->host[0] != '\0' ? FOLLOWER_CONNECT : FOLLOWER_NONE;
	}
}

/* Its thread will find out; clients are told at once. */
void
follower_cut_locked(struct follower *f) NO_THREAD_SAFETY_ANALYSIS
{
	set_state(f, FOLLOWER_CONNECT);
	wake_locked(f);
}

/* Clients that have heard of it may ask before the link's thread has got to it. */
static bool
master_has_closed_locked(struct follower *f) REQUIRES(&f->lock)
{
	struct pollfd look = {.fd = f->stream.feed.client.fd,
			      .events = POLLRDHUP}; /* -1: nothing is looked at */
	return __atomic_load_n(&f->state, __ATOMIC_RELAXED) == FOLLOWER_CONNECTED && poll(&look, 1, 0) > 0;
}

static int64_t
seconds_since(const struct follower *f, uint64_t ns)
{
	uint64_t now = now_ns(f);
	if (ns == 0)
		return -1;
	return now > ns ? (int64_t)((now - ns) / NS_PER_SECOND) : 0;
}

void
follower_facts(struct follower *f, struct follower_facts *ret)
{
	struct replication_state state;
	*ret = (struct follower_facts){.state = FOLLOWER_NONE};
	if (f == NULL)
		return;
	replication_get(f->server->replication, &state);
	mutex_lock(&f->lock);
	*ret = (struct follower_facts){.state = __atomic_load_n(&f->state, __ATOMIC_RELAXED),
				       .port = f->port,
				       .offset = state.position.offset};
	bool is_ending = master_has_closed_locked(f);
	snprintf(ret->host, sizeof(ret->host), "%s", f->host);
	mutex_unlock(&f->lock);
	ret->failover = failover_stage(&f->failover);
	if (is_ending)
		ret->state = FOLLOWER_CONNECT;
	if (ret->host[0] == '\0')
		ret->state = FOLLOWER_NONE; /* the thread may not know yet */
	ret->received_offset = ret->offset + __atomic_load_n(&f->waiting_bytes, __ATOMIC_RELAXED);
	ret->idle_seconds = -1;
	if (ret->state >= FOLLOWER_SYNC)
		ret->idle_seconds = seconds_since(f, __atomic_load_n(&f->last_io_ns, __ATOMIC_RELAXED));
	ret->down_seconds =
		is_ending ? 0 : seconds_since(f, __atomic_load_n(&f->down_since_ns, __ATOMIC_RELAXED));
	ret->total_bytes = __atomic_load_n(&f->sync.total_bytes, __ATOMIC_RELAXED);
	ret->read_bytes = __atomic_load_n(&f->sync.read_bytes, __ATOMIC_RELAXED);
	ret->takes_data = __atomic_load_n(&f->sync.is_loading, __ATOMIC_RELAXED) ||
		(ret->state == FOLLOWER_SYNC && ret->read_bytes > 0);
	ret->full_syncs = __atomic_load_n(&f->full_syncs, __ATOMIC_RELAXED);
	ret->partial_syncs = __atomic_load_n(&f->partial_syncs, __ATOMIC_RELAXED);
}
