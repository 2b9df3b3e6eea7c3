/* A reactor: the tick.
 *
 *     collect  loop_wait: ready sockets, due timers, messages (adopted connections, requests from the pool)
 *     run      read all sockets that were reported, then run their requests (requests.c)
 *     write    one call of the engine for all that committed; under `always` the sync is begun once no socket
 * is ready any more, so that it covers the commits of as many connections as there are send     what the
 * frontier releases; the rest is held until net_on_progress wakes the reactor reap     free what was closed
 *
 * Invariants:
 * - (I1) A reply leaves only when its timestamp is written (`everysec`, `no`) or durable (`always`): only
 *   send_replies calls connection_send, after output_release with a frontier read from the engine.
 * - (I7) Between ticks the thread holds no RCU-protected pointer: it passes a quiescent point at the end of
 *   each and is offline while it sleeps.
 * - No wake-up for held replies is lost. The reactor sets `holding`, fences, reads the frontier again; the
 *   engine moves the frontier, net_on_progress fences and reads `holding`. One of the two sees the other.
 * - Memory of a connection is freed only in reap: no event, timer or message of the tick refers to it any
 *   more, and it is off the registry before.
 *
 * A write that fails is tried again with every tick (the cron's at the latest); its replies stay held. Once
 * the engine says that its log has failed for good, connections that hold replies are closed: those can never
 * be given, and whether their commits survive is unknown. */
#include "net/reactor.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "config/config.h"
#include "net/reactor_private.h"
#include "storage/base/rcu.h"

/* As in Redis, `everysec` holds write replies while a sync is this late. */
static const uint64_t sync_lag_max_ns = 2000000000;
/* While input keeps coming, a sync waits for more commits no longer than this. */
static const uint64_t sync_delay_max_ns = 1000000;

/* ---- lists ---- */

void
reactor_queue_run(struct reactor *r, struct connection *c)
{
	if (!c->closing && !list_is_linked(&c->run_link))
		list_append(&r->runnable, &c->run_link);
}

void
reactor_queue_send(struct reactor *r, struct connection *c)
{
	if (!c->closing && !list_is_linked(&c->send_link))
		list_append(&r->sending, &c->send_link);
}

static void
set_account(struct reactor *r, struct connection *c, size_t bytes)
{
	counter_add(&r->counters.buffer_bytes, (uint64_t)bytes - (uint64_t)c->accounted);
	c->accounted = bytes;
}

void
reactor_account(struct reactor *r, struct connection *c)
{
	set_account(r, c, connection_buffer_bytes(c));
}

/* ---- closing ---- */

void
reactor_bury(struct reactor *r, struct connection *c)
{
	list_append(&r->dead, &c->parked_link);
}

void
reactor_close(struct reactor *r, struct connection *c)
{
	if (c->closing)
		return;
	c->closing = true;
	loop_remove(r->loop, &c->watch);
	list_remove(&c->run_link);
	list_remove(&c->send_link);
	list_remove(&c->held_link);
	if (connection_is_in_pool(c)) {
		/* The peer sees it at once; the memory follows when the pool is done with it. */
		shutdown(c->client.fd, SHUT_RDWR);
		return;
	}
	if (c->state == CONNECTION_PAUSED || c->state == CONNECTION_COLD || c->state == CONNECTION_SLOWED) {
		list_remove(&c->parked_link);
		if (c->state == CONNECTION_PAUSED)
			counter_add(&r->counters.paused, (uint64_t)-1);
		c->state = CONNECTION_OPEN;
	}
	reactor_bury(r, c);
}

static void
reap(struct reactor *r)
{
	struct list_link *link;
	while ((link = list_take_first(&r->dead)) != NULL) {
		struct connection *c = list_entry(link, struct connection, parked_link);
		struct net *net = r->net;
		registry_remove(net, c);
		list_remove(&c->all_link);
		r->connection_count--;
		net->handler.client_closed(net->handler.arg, &c->client);
		set_account(r, c, 0);
		connection_destroy(c);
		__atomic_fetch_sub(&r->load, 1, __ATOMIC_RELAXED);
		__atomic_fetch_sub(&net->accepted, 1, __ATOMIC_RELAXED);
	}
}

static void
close_killed(struct reactor *r)
{
	for (struct list_link *link = r->connections.next; link != &r->connections; link = link->next) {
		struct connection *c = list_entry(link, struct connection, all_link);
		if (__atomic_load_n(&c->killed, __ATOMIC_RELAXED))
			reactor_close(r, c);
	}
}

/* ---- the socket ---- */

void
reactor_update_watch(struct reactor *r, struct connection *c)
{
	bool wants = reactor_wants_input(r, c);
	if (c->hung_up) {
		/* Not watched any more: try by itself what it wants. */
		if (wants && !c->closing) {
			c->readable = true;
			reactor_queue_run(r, c);
		}
		return;
	}
	uint32_t events = c->watch.events & EPOLLIN;
	if (wants)
		events = EPOLLIN;
	else if (c->input_ended)
		events = 0;
	else if (c->state == CONNECTION_PAUSED)
		events = EPOLLRDHUP; /* a pause may be long: notice a peer that leaves */
	if (!c->writable)
		events |= EPOLLOUT;
	if (loop_change(r->loop, &c->watch, events) != SETT_OK)
		reactor_close(r, c);
}

static void
connection_ready(struct loop_watch *watch, uint32_t events)
{
	struct connection *c = list_entry(watch, struct connection, watch);
	struct reactor *r = c->reactor;
	if (events & EPOLLOUT) {
		c->writable = true;
		reactor_queue_send(r, c);
	}
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	if (reactor_wants_input(r, c)) {
		c->readable = true;
		reactor_queue_run(r, c);
		return;
	}
	if (c->state == CONNECTION_PAUSED) {
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			reactor_close(r, c);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR)) {
		/* Would be told again and again. What it has yet to send meets the error by itself. */
		loop_remove(r->loop, watch);
		c->hung_up = true;
		c->writable = true;
		reactor_queue_send(r, c);
	} else if (loop_change(r->loop, watch, watch->events & ~(uint32_t)EPOLLIN) != SETT_OK) {
		/* Input that is not wanted now is waited for again by reactor_update_watch. */
		reactor_close(r, c);
	}
}

static void
adopt(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, adopt_message);
	struct reactor *r = c->reactor;
	list_append(&r->connections, &c->all_link);
	r->connection_count++;
	if (!timer_is_armed(&r->cron) &&
	    timers_arm(loop_timers(r->loop), &r->cron, loop_now_ns(r->loop) + CRON_MS * 1000000ULL) !=
		    SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
	/* A kill that came before this was not found by close_killed. */
	if (r->stopping || __atomic_load_n(&c->killed, __ATOMIC_RELAXED) ||
	    loop_add(r->loop, &c->watch, c->client.fd, EPOLLIN, connection_ready) != SETT_OK)
		reactor_close(r, c);
}

void
reactor_hand_over(struct reactor *r, struct connection *c)
{
	__atomic_fetch_add(&r->load, 1, __ATOMIC_RELAXED);
	c->adopt_message.run = adopt;
	loop_post(r->loop, &c->adopt_message);
}

/* ---- write and send ---- */

static uint64_t
read_frontier(struct reactor *r)
{
	struct net *net = r->net;
	int sync = (int)__atomic_load_n(&net->config->sync, __ATOMIC_RELAXED);
	r->policy = sync;
	if (sync == CONFIG_SYNC_ALWAYS)
		return sett_engine_durable(net->engine);
	uint64_t written = sett_engine_written(net->engine);
	if (sync == CONFIG_SYNC_EVERYSEC && written > r->frontier &&
	    sett_engine_sync_lag_ns(net->engine) > sync_lag_max_ns) {
		uint64_t durable = sett_engine_durable(net->engine);
		return durable > r->frontier ? durable : r->frontier;
	}
	return written;
}

uint64_t
reactor_frontier(struct reactor *r)
{
	/* CONFIG SET appendfsync: what was enough for the old policy may not be for the new one. */
	if (r->policy != (int)__atomic_load_n(&r->net->config->sync, __ATOMIC_RELAXED))
		r->frontier = read_frontier(r);
	return r->frontier;
}

static void
write_commits(struct reactor *r)
{
	struct net *net = r->net;
	if (r->newest <= sett_engine_written(net->engine))
		return;
	int status = sett_engine_write_unsynced(net->engine);
	uint64_t now_ms = loop_wall_ms(r->loop);
	if (status == SETT_OK || now_ms - r->last_error_ms < ERROR_LOG_INTERVAL_MS)
		return;
	r->last_error_ms = now_ms;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Writing the log: %s; replies are held back",
			sett_status_text(status));
}

/* For what is written, whoever wrote it, and was not asked for. After a tick in which some
 * connection had input (`busy`) the next one is likely to commit more. */
static void
start_sync(struct reactor *r, bool busy)
{
	struct net *net = r->net;
	uint64_t now = loop_now_ns(r->loop);
	bool always = __atomic_load_n(&net->config->sync, __ATOMIC_RELAXED) == CONFIG_SYNC_ALWAYS;
	if (!always || r->newest <= r->sync_asked || r->newest > sett_engine_written(net->engine)) {
		r->sync_due = false;
		return;
	}
	if (!r->sync_due)
		r->sync_due_since_ns = now;
	r->sync_due = busy && now - r->sync_due_since_ns < sync_delay_max_ns;
	if (r->sync_due)
		return;
	r->sync_asked = r->newest;
	if (r->newest > sett_engine_durable(net->engine))
		sett_engine_start_sync(net->engine);
}

/* Nothing more will come from this connection's requests, and all is sent. */
static bool
is_finished(const struct reactor *r, const struct connection *c)
{
	if (c->state != CONNECTION_OPEN || output_pending(&c->output) > 0 || output_is_held(&c->output))
		return false;
	return c->client.close_after_reply || c->input_broken ||
		(c->input_ended && !connection_has_input(c) && !list_is_linked(&c->run_link));
}

static void
send_connection(struct reactor *r, struct connection *c)
{
	size_t size = 0;
	output_release(&c->output, r->frontier);
	if (output_is_held(&c->output) != list_is_linked(&c->held_link)) {
		if (output_is_held(&c->output))
			list_append(&r->held, &c->held_link);
		else
			list_remove(&c->held_link);
	}
	if (c->writable && !connection_send(c, &size)) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Error writing to client: %s",
				strerror(errno));
		reactor_close(r, c);
		return;
	}
	if (size > 0) {
		counter_add(&r->counters.bytes_out, size);
		counter_add(&r->counters.writes, 1);
	}
	if (!c->client.authenticated && reactor_close_stranger(r, c))
		return;
	if (is_finished(r, c)) {
		reactor_close(r, c);
		return;
	}
	if (connection_needs_piece(c)) {
		reactor_read_piece(r, c);
		if (c->closing)
			return;
	}
	if (c->throttled && output_pending(&c->output) <= OUTPUT_LOW && c->output.streams == NULL) {
		c->throttled = false;
		reactor_queue_run(r, c); /* which reads the backlog, too */
		reactor_update_watch(r, c);
	} else if (c->writable == ((c->watch.events & EPOLLOUT) != 0)) {
		reactor_update_watch(r, c);
	}
}

/* Sends what was queued, with all that the frontier has released since the last time. */
static void
send_queued(struct reactor *r)
{
	uint64_t frontier = r->frontier = read_frontier(r);
	if (frontier != r->walked) {
		r->walked = frontier;
		for (struct list_link *l = r->held.next; l != &r->held; l = l->next) {
			struct connection *c = list_entry(l, struct connection, held_link);
			if (output_held_for(&c->output) <= frontier)
				reactor_queue_send(r, c);
		}
	}
	struct list_link *link;
	while ((link = list_take_first(&r->sending)) != NULL)
		send_connection(r, list_entry(link, struct connection, send_link));
}

static void
send_replies(struct reactor *r)
{
	send_queued(r);
	bool holding = !list_is_empty(&r->held);
	if (holding == __atomic_load_n(&r->holding, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&r->holding, holding, __ATOMIC_SEQ_CST);
	if (!holding)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: reactor_on_progress */
	if (read_frontier(r) != r->frontier)
		loop_wake(r->loop); /* it moved in between: once more, at once */
}

void
reactor_on_progress(struct reactor *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: send_replies */
	if (__atomic_load_n(&r->holding, __ATOMIC_SEQ_CST))
		loop_wake(r->loop);
}

/* ---- the cron ---- */

static void
look_after(struct reactor *r, struct connection *c)
{
	struct client *client = &c->client;
	uint64_t now = loop_wall_ms(r->loop);
	if (c->closing || connection_is_in_pool(c))
		return;
	reactor_look_at_unsent(r, c);
	if (c->state != CONNECTION_OPEN || c->closing)
		return;
	uint64_t idle = now > client->last_active_ms ? now - client->last_active_ms : 0;
	int64_t timeout = __atomic_load_n(&r->net->config->timeout_seconds, __ATOMIC_RELAXED);
	if (timeout > 0 && idle > (uint64_t)timeout * 1000) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Closing idle client");
		reactor_close(r, c);
		return;
	}
	if (list_is_linked(&c->run_link) || list_is_linked(&c->send_link))
		return;
	connection_shrink(c, idle > SHRINK_AFTER_MS);
	__atomic_store_n(&client->query_buffer_free, c->input_capacity - c->input_end, __ATOMIC_RELAXED);
	reactor_account(r, c);
}

/* The log has failed: what is held can never be sent. */
static void
close_held_if_failed(struct reactor *r)
{
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
		reactor_close(r, list_entry(link, struct connection, held_link));
	}
}

static void
run_cron(void *arg)
{
	struct reactor *r = arg;
	uint64_t count = r->connection_count / CRON_SHARE + CRON_CONNECTIONS_MIN;
	for (uint64_t i = 0; i < count && i < r->connection_count; i++) {
		struct connection *c = list_entry(r->connections.next, struct connection, all_link);
		list_remove(&c->all_link);
		list_append(&r->connections, &c->all_link);
		look_after(r, c);
	}
	close_held_if_failed(r);
	if (r->connection_count > 0 &&
	    timers_arm(loop_timers(r->loop), &r->cron, loop_now_ns(r->loop) + CRON_MS * 1000000ULL) !=
		    SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
}

static void
run_paused_retry(void *arg)
{
	reactor_retry_paused(arg);
}

/* ---- the thread ---- */

static void
before_sleep(void *arg)
{
	rcu_thread_offline();
}

static void
after_sleep(void *arg)
{
	rcu_thread_online();
}

static void
obey(struct reactor *r)
{
	unsigned bits = __atomic_exchange_n(&r->control, 0, __ATOMIC_ACQUIRE);
	if (bits & REACTOR_KILL)
		close_killed(r);
	if (bits & (REACTOR_STOP | REACTOR_EXIT)) {
		if (r->listeners != NULL)
			listeners_unwatch(r->listeners, r->loop);
		r->stopping = true;
	}
	if (bits & REACTOR_EXIT)
		r->exiting = true;
	if (bits & REACTOR_RESUME)
		reactor_retry_paused(r);
}

/* The pool has ended: a request that is still with it was submitted too late for any thread to take it. */
static void
close_all(struct reactor *r)
{
	for (struct list_link *link = r->connections.next; link != &r->connections; link = link->next) {
		struct connection *c = list_entry(link, struct connection, all_link);
		if (connection_is_in_pool(c)) {
			c->state = CONNECTION_OPEN;
			if (c->closing)
				reactor_bury(r, c);
		}
		reactor_close(r, c);
	}
	reap(r);
}

static void
tick(struct reactor *r)
{
	static const struct loop_hooks hooks = {.before_sleep = before_sleep, .after_sleep = after_sleep};
	bool idle = list_is_empty(&r->runnable) && list_is_empty(&r->sending) && list_is_empty(&r->dead);
	bool may_sleep = idle && !r->sync_due && !r->exiting;
	reactor_await_parked(r);
	if (may_sleep && r->net->config->io_threads_yield)
		sched_yield();
	loop_wait(r->loop, may_sleep, &hooks);
	obey(r);
	reactor_retry_parked(r);
	bool busy = !list_is_empty(&r->runnable);
	reactor_run_requests(r);
	write_commits(r);
	start_sync(r, busy);
	send_replies(r);
	reap(r);
	rcu_quiescent();
}

static void *
reactor_main(void *arg)
{
	struct reactor *r = arg;
	struct net *net = r->net;
	rcu_thread_register();
	/* Waits for the disk are short: without this they would be 50 us longer than asked for. */
	(void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	int status = net->handler.thread_start(net->handler.arg, false, &r->handler_thread);
	bool prepared = status == SETT_OK;
	if (status == SETT_OK && r->listeners != NULL)
		status = listeners_watch(r->listeners, r->loop);
	net_thread_ready(net, status);
	if (status == SETT_OK) {
		while (!r->exiting)
			tick(r);
		loop_wake(r->loop); /* nothing else would: the last tick must not sleep */
		tick(r); /* messages that came between the last wait and the look at the control bits */
		close_all(r);
	}
	if (prepared)
		net->handler.thread_stop(net->handler.arg, r->handler_thread);
	rcu_thread_unregister();
	return NULL;
}

int
reactor_create(struct net *net, unsigned index, struct reactor **ret, struct sett_error *error)
{
	struct reactor *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);
	if (r == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a reactor");
	memset(r, 0, sizeof(*r));
	r->net = net;
	r->index = index;
	r->batch = 1;
	list_init(&r->connections);
	list_init(&r->runnable);
	list_init(&r->sending);
	list_init(&r->held);
	list_init(&r->paused);
	for (int i = 0; i < PATIENCE_TRIES; i++)
		list_init(&r->cold[i]);
	list_init(&r->slowed);
	r->patience.wait_ns = PATIENCE_MIN_NS;
	list_init(&r->dead);
	r->cron = (struct timer){.run = run_cron, .arg = r};
	r->paused_retry = (struct timer){.run = run_paused_retry, .arg = r};
	int status = loop_create(net->clock, &r->loop, error);
	if (status != SETT_OK) {
		free(r);
		return status;
	}
	*ret = r;
	return SETT_OK;
}

int
reactor_start(struct reactor *r, struct listeners *listeners)
{
	char name[16];
	snprintf(name, sizeof(name), "reactor-%u", r->index % 1000);
	r->listeners = listeners;
	int status = thread_start(&r->thread, name, reactor_main, r);
	r->started = status == SETT_OK;
	return status;
}

void
reactor_join(struct reactor *r)
{
	if (r->started)
		thread_join(r->thread);
	r->started = false;
}

void
reactor_destroy(struct reactor *r)
{
	if (r == NULL)
		return;
	loop_destroy(r->loop);
	free(r->argv);
	free(r);
}

void
reactor_control(struct reactor *r, unsigned bits)
{
	__atomic_fetch_or(&r->control, bits, __ATOMIC_RELEASE); /* partner: obey */
	loop_wake(r->loop);
}

uint64_t
reactor_load(struct reactor *r)
{
	return __atomic_load_n(&r->load, __ATOMIC_RELAXED);
}

void
reactor_count_received(struct reactor *r)
{
	counter_add(&r->counters.connections_received, 1);
}

void
reactor_count_rejected(struct reactor *r)
{
	counter_add(&r->counters.connections_rejected, 1);
}

void
reactor_add_stats(struct reactor *r, struct net_stats *ret)
{
	const struct reactor_counters *from = &r->counters;
	ret->connections_received += __atomic_load_n(&from->connections_received, __ATOMIC_RELAXED);
	ret->connections_rejected += __atomic_load_n(&from->connections_rejected, __ATOMIC_RELAXED);
	ret->commands_processed += __atomic_load_n(&from->commands_processed, __ATOMIC_RELAXED);
	ret->bytes_in += __atomic_load_n(&from->bytes_in, __ATOMIC_RELAXED);
	ret->bytes_out += __atomic_load_n(&from->bytes_out, __ATOMIC_RELAXED);
	ret->reads += __atomic_load_n(&from->reads, __ATOMIC_RELAXED);
	ret->writes += __atomic_load_n(&from->writes, __ATOMIC_RELAXED);
	ret->client_buffer_bytes += __atomic_load_n(&from->buffer_bytes, __ATOMIC_RELAXED);
	ret->paused_clients += __atomic_load_n(&from->paused, __ATOMIC_RELAXED);
}
