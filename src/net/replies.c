/* When replies may leave (I1), and their sending: see replies.h. */
#include "net/replies.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "config/config.h"
#include "net/argument_body.h"
#include "net/bodies.h"
#include "net/connections.h"
#include "net/eviction.h"
#include "net/reactor_private.h"
#include "net/slow_reader.h"

enum {
	ERROR_LOG_INTERVAL_MS = 1000,
	PIECES_AT_ONCE = 8, /* then others have their turn */
};

/* As in Redis, `everysec` holds write replies while a sync is this late. */
static const uint64_t sync_lag_max_ns = 2000000000;
/* While input keeps coming, a sync waits for more commits no longer than this. */
static const uint64_t sync_delay_max_ns = 1000000;

/* ---- the frontier ---- */

/* How far `appendfsync` lets replies leave. */
static uint64_t
by_policy(const struct reactor *r, uint64_t written, uint64_t durable)
{
	uint64_t before = r->frontier.reached[DURABILITY_DEFAULT];
	if (r->policy == CONFIG_SYNC_ALWAYS)
		return durable;
	if (r->policy == CONFIG_SYNC_EVERYSEC && written > before &&
	    sett_engine_sync_lag_ns(r->net->engine) > sync_lag_max_ns)
		return durable > before ? durable : before;
	return written;
}

static struct frontier
read_frontier(struct reactor *r)
{
	struct net *net = r->net;
	uint64_t durable = sett_engine_durable(net->engine), written = sett_engine_written(net->engine);
	r->policy = (int)__atomic_load_n(&net->config->sync, __ATOMIC_RELAXED);
	return (struct frontier){{[DURABILITY_DEFAULT] = by_policy(r, written, durable),
				  [DURABILITY_WRITTEN] = written,
				  [DURABILITY_SYNC] = durable}};
}

static bool
is_same(const struct frontier *a, const struct frontier *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

const struct frontier *
replies_frontier(struct reactor *r)
{
	/* CONFIG SET appendfsync: what was enough for the old policy may not be for the new one. */
	if (r->policy != (int)__atomic_load_n(&r->net->config->sync, __ATOMIC_RELAXED))
		r->frontier = read_frontier(r);
	return &r->frontier;
}

/* What was appended to the output, up to `end` bytes of the writer, depends on `timestamp`. */
static void
stamp(struct reactor *r, struct connection *c, size_t end, uint64_t timestamp)
{
	enum durability need = c->client.durability;
	if (timestamp > r->newest)
		r->newest = timestamp;
	output_stamp_to(&c->output, end, timestamp, need, replies_frontier(r));
	if (__builtin_expect(c->output.awaits_sync > r->newest_to_sync, 0))
		r->newest_to_sync = c->output.awaits_sync;
}

/* There is no look at the clock unless somebody wants to know. */
static int
write_log(struct net *net)
{
	bool is_timed = __atomic_load_n(&net->config->latency_monitor_threshold, __ATOMIC_RELAXED) > 0;
	if (__builtin_expect(!is_timed || net->handler.wrote_log == NULL, 1))
		return sett_engine_write_unsynced(net->engine);
	uint64_t began = clock_monotonic_ns(net->clock);
	int status = sett_engine_write_unsynced(net->engine);
	net->handler.wrote_log(net->handler.arg, clock_monotonic_ns(net->clock) - began);
	return status;
}

void
replies_write_commits(struct reactor *r)
{
	struct net *net = r->net;
	if (r->newest <= sett_engine_written(net->engine))
		return;
	int status = write_log(net);
	uint64_t now_ms = loop_wall_ms(r->loop);
	if (status == SETT_OK || now_ms - r->last_error_ms < ERROR_LOG_INTERVAL_MS)
		return;
	r->last_error_ms = now_ms;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Writing the log: %s; replies are held back",
			sett_status_text(status));
}

void
replies_start_sync(struct reactor *r, bool busy)
{
	struct net *net = r->net;
	uint64_t now = loop_now_ns(r->loop);
	bool always = __atomic_load_n(&net->config->sync, __ATOMIC_RELAXED) == CONFIG_SYNC_ALWAYS;
	uint64_t wanted = always ? r->newest : r->newest_to_sync;
	if (wanted <= r->sync_asked || wanted > sett_engine_written(net->engine)) {
		r->sync_due = false;
		return;
	}
	if (!r->sync_due)
		r->sync_due_since_ns = now;
	r->sync_due = busy && now - r->sync_due_since_ns < sync_delay_max_ns;
	if (r->sync_due)
		return;
	r->sync_asked = wanted;
	if (wanted > sett_engine_durable(net->engine))
		sett_engine_start_sync(net->engine);
}

/* ---- messages ---- */

static void
close_without_memory(struct reactor *r, struct connection *c)
{
	log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a reply: closing client addr=%s",
			c->client.address);
	connections_close(r, c);
}

/* One message may go to very many clients, and many messages come in one tick. */
static void
relieve(struct reactor *r)
{
	if (__builtin_expect(!r->buffers_grew, 1))
		return;
	r->buffers_grew = false;
	eviction_run(r);
}

/* Sends once what may leave. False: the socket is broken, and the connection closed. */
static bool
send_once(struct reactor *r, struct connection *c)
{
	size_t size = 0;
	if (c->writable && !connection_send(c, &size)) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Error writing to client: %s",
				strerror(errno));
		connections_close(r, c);
		return false;
	}
	if (size > 0) {
		counter_add(&r->counters.bytes_out, size);
		counter_add(&r->counters.writes, 1);
	}
	return true;
}

/* The output has grown by a message that depends on `timestamp`. */
static void
stamp_message(struct reactor *r, struct connection *c, uint64_t timestamp)
{
	if (c->output.writer.failed) {
		close_without_memory(r, c);
		return;
	}
	stamp(r, c, c->output.writer.size, timestamp);
	/* While a piece is made, the rest of the output belongs to the pool (the next message, or the cron, checks). */
	if (c->state != CONNECTION_READING) {
		if (slow_reader_takes_now(r, c)) {
			replies_write_commits(r);
			r->frontier = read_frontier(r);
			output_release(&c->output, &r->frontier);
			(void)send_once(r, c);
		}
		slow_reader_check(r, c);
	}
	connections_account(r, c);
	connections_queue_send(r, c);
	relieve(r);
}

static void
add_behind_reply(struct reactor *r, struct connection *c, struct bytes message, uint64_t timestamp)
{
	resp_raw(&c->pushes, message.data, message.size);
	if (timestamp > c->pushes_timestamp)
		c->pushes_timestamp = timestamp;
	if (c->pushes.failed) {
		close_without_memory(r, c);
		return;
	}
	slow_reader_check(r, c);
	connections_account(r, c);
	relieve(r);
}

/* From the pool, from the thread that has ended its wait, or from execute. */
static bool
reply_is_under_way(const struct connection *c)
{
	return c->state == CONNECTION_IN_POOL || c->reply_is_held ||
		(c->state == CONNECTION_BLOCKED && __atomic_load_n(&c->client.is_served, __ATOMIC_ACQUIRE));
}

void
replies_push(struct reactor *r, struct connection *c, struct bytes message, uint64_t timestamp,
	     bool behind_reply)
{
	assert(reactor_is_here(r) && c->reactor == r);
	if (c->closing)
		return;
	if (message.size == 0) {
		close_without_memory(r, c);
		return;
	}
	if (reply_is_under_way(c) && (behind_reply || c->pushes.size > 0)) {
		add_behind_reply(r, c, message, timestamp);
		return;
	}
	resp_raw(&c->output.writer, message.data, message.size);
	stamp_message(r, c, timestamp);
}

void
client_push(struct client *client, struct bytes message, uint64_t timestamp, bool behind_reply)
{
	struct connection *c = client->connection;
	replies_push(c->reactor, c, message, timestamp, behind_reply);
}

void
replies_add_pushes(struct reactor *r, struct connection *c)
{
	if (c->pushes.size == 0)
		return;
	resp_raw(&c->output.writer, c->pushes.data, c->pushes.size);
	resp_writer_free(&c->pushes);
	stamp_message(r, c, c->pushes_timestamp);
	c->pushes_timestamp = 0;
}

void
client_resume(struct client *client, uint64_t timestamp)
{
	struct connection *c = client->connection;
	if (timestamp > c->reactor->newest)
		c->reactor->newest = timestamp;
	connections_queue_send(c->reactor, c);
}

/* ---- sending ---- */

/* The output has grown by replies. */
static void
finish(struct reactor *r, struct connection *c)
{
	slow_reader_check(r, c);
	connections_queue_send(r, c);
	if (__builtin_expect(c->pushes.size > 0, 0) && !c->closing)
		replies_add_pushes(r, c);
}

void
replies_finish_request(struct reactor *r, struct connection *c, uint64_t reply_start, size_t reply_end,
		       uint64_t release)
{
	counter_add(&r->counters.commands_processed, 1);
	if (__builtin_expect(c->client.reply_streams != NULL, 0)) {
		output_add_streams(&c->output, c->client.reply_streams, reply_start);
		c->client.reply_streams = NULL;
	}
	if (__builtin_expect(c->client.argument_bodies != NULL, 0)) {
		argument_bodies_free(c->client.argument_bodies);
		c->client.argument_bodies = NULL;
	}
	if (c->output.writer.failed) {
		close_without_memory(r, c);
		return;
	}
	if (__builtin_expect(c->client.reply_durability != 0, 0)) {
		c->client.durability = (enum durability)(c->client.reply_durability - 1);
		c->client.reply_durability = 0;
	}
	stamp(r, c, reply_end, release);
	/* What a request chooses is for those behind it, also where it is a block that wrote before. */
	c->client.durability = __atomic_load_n(&c->client.next_durability, __ATOMIC_RELAXED);
	connection_consume(c);
	finish(r, c);
}

void
replies_add_shared(struct reactor *r, struct connection *c, size_t reply_end, uint64_t release)
{
	assert(c->client.reply_streams == NULL && c->client.argument_bodies == NULL &&
	       c->client.reply_durability == 0);
	stamp(r, c, reply_end, release);
	connection_consume(c);
}

void
replies_finish_shared(struct reactor *r, struct connection *c, size_t count)
{
	counter_add(&r->counters.commands_processed, count);
	if (c->output.writer.failed)
		close_without_memory(r, c);
	else
		finish(r, c);
}

/* Whether no request will add output any more, and all of it has left. */
static bool
is_finished(const struct reactor *r, const struct connection *c)
{
	if (c->state != CONNECTION_OPEN || output_pending(&c->output) > 0 || output_is_held(&c->output))
		return false;
	return c->client.close_after_reply || c->input_broken ||
		(c->input_ended && !connection_has_input(c) && !list_is_linked(&c->run_link));
}

/* Pieces that are at hand are sent one behind the other. False: the connection is closed. */
static bool
send_sources(struct reactor *r, struct connection *c)
{
	for (int i = 0; i < PIECES_AT_ONCE; i++) {
		if (!connection_needs_piece(c) || !bodies_next_piece(r, c))
			return !c->closing;
		if (!send_once(r, c))
			return false;
	}
	connections_queue_send(r, c);
	return true;
}

static void
send_connection(struct reactor *r, struct connection *c)
{
	output_release(&c->output, &r->frontier);
	if (output_is_held(&c->output) != list_is_linked(&c->held_link)) {
		if (output_is_held(&c->output))
			list_append(&r->held, &c->held_link);
		else
			list_remove(&c->held_link);
	}
	if (!send_once(r, c))
		return;
	if (!c->client.authenticated && slow_reader_close_unauthenticated(r, c))
		return;
	if (is_finished(r, c)) {
		connections_close(r, c);
		return;
	}
	if (connection_needs_piece(c) && !send_sources(r, c))
		return;
	if (__builtin_expect(c->throttled, 0) && slow_reader_may_go_on(r, c)) {
		c->throttled = false;
		connections_queue_run(r, c); /* which reads the backlog, too */
		connections_update_watch(r, c);
	} else if (c->writable == ((c->watch.events & EPOLLOUT) != 0)) {
		connections_update_watch(r, c);
	}
}

/* Sends the output of queued connections, and of those whose held replies the frontier has released. */
static void
send_queued(struct reactor *r)
{
	r->frontier = read_frontier(r);
	if (!is_same(&r->frontier, &r->walked)) {
		r->walked = r->frontier;
		for (struct list_link *l = r->held.next; l != &r->held; l = l->next) {
			struct connection *c = list_entry(l, struct connection, held_link);
			if (output_may_go_on(&c->output, &r->frontier))
				connections_queue_send(r, c);
		}
	}
	/* What is queued meanwhile has its turn in the next tick. */
	struct list_link sending, *link;
	list_init(&sending);
	list_splice(&sending, &r->sending);
	while ((link = list_take_first(&sending)) != NULL)
		send_connection(r, list_entry(link, struct connection, send_link));
}

void
replies_send(struct reactor *r)
{
	send_queued(r);
	bool holding = !list_is_empty(&r->held);
	if (holding == __atomic_load_n(&r->holding, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&r->holding, holding, __ATOMIC_SEQ_CST);
	if (!holding)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: replies_on_progress */
	struct frontier now = read_frontier(r);
	if (!is_same(&now, &r->frontier))
		loop_wake(r->loop); /* it moved in between: once more, at once */
}

void
replies_on_progress(struct reactor *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: replies_send */
	if (__atomic_load_n(&r->holding, __ATOMIC_SEQ_CST))
		loop_wake(r->loop);
}

void
replies_close_held(struct reactor *r)
{
	assert(reactor_is_here(r));
	struct sett_error error = {0};
	if (list_is_empty(&r->held) || sett_engine_health(r->net->engine, &error) != SETT_FAILED)
		return;
	if (!r->failure_logged)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"The log has failed (%s): closing the clients that wait for their commits",
				error.message);
	r->failure_logged = true;
	struct list_link *link, *next;
	for (link = r->held.next; link != &r->held; link = next) {
		next = link->next;
		connections_close(r, list_entry(link, struct connection, held_link));
	}
}
