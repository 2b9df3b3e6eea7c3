/* The connections of a reactor: see connections.h. */
#include "net/connections.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "config/config.h"
#include "net/eviction.h"
#include "net/reactor_private.h"

/* Watched where input is wanted. The second says that the peer will send no more. */
enum { INPUT_EVENTS = EPOLLIN | EPOLLRDHUP };

/* ---- queues ---- */

void
connections_queue_run(struct reactor *r, struct connection *c)
{
	if (!c->closing && !list_is_linked(&c->run_link))
		list_append(&r->runnable, &c->run_link);
}

void
connections_queue_send(struct reactor *r, struct connection *c)
{
	if (!c->closing && !list_is_linked(&c->send_link))
		list_append(&r->sending, &c->send_link);
}

static void
set_account(struct reactor *r, struct connection *c, size_t bytes)
{
	counter_add(&r->counters.buffer_bytes, (uint64_t)bytes - (uint64_t)c->accounted);
	c->accounted = bytes;
	if (__builtin_expect(bytes > r->counters.largest_buffers, 0) && eviction_may_close(c))
		__atomic_store_n(&r->counters.largest_buffers, bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&c->client.memory_bytes, bytes, __ATOMIC_RELAXED);
}

void
connections_account(struct reactor *r, struct connection *c)
{
	size_t bytes = connection_memory(c);
	r->buffers_grew |= bytes > c->accounted && bytes >= BUFFERS_LARGE;
	set_account(r, c, bytes);
}

void
connections_forget_buffers(struct reactor *r, struct connection *c)
{
	assert(c->closing);
	set_account(r, c, 0);
	if (connection_is_in_pool(c))
		return;
	resp_writer_free(&c->output.writer);
	resp_writer_free(&c->pushes);
}

void
connections_arm_cron(struct reactor *r)
{
	if (timers_arm(loop_timers(r->loop), &r->cron, loop_now_ns(r->loop) + CRON_MS * 1000000ULL) !=
	    SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
}

/* ---- closing ---- */

void
connections_queue_free(struct reactor *r, struct connection *c)
{
	assert(reactor_is_here(r) && c->closing && !connection_is_in_pool(c) &&
	       c->state != CONNECTION_BLOCKED);
	assert(!list_is_linked(&c->parked_link));
	list_append(&r->dead, &c->parked_link);
}

void
connections_leave_blocked(struct reactor *r, struct connection *c)
{
	assert(reactor_is_here(r));
	assert(c->state == CONNECTION_BLOCKED);
	timers_disarm(loop_timers(r->loop), &c->wait_timer);
	counter_add(&r->counters.blocked, (uint64_t)-1);
	__atomic_store_n(&c->client.blocked, false, __ATOMIC_RELAXED);
	c->state = CONNECTION_OPEN;
}

void
connections_close(struct reactor *r, struct connection *c)
{
	assert(reactor_is_here(r) && c->reactor == r);
	if (c->closing)
		return;
	c->closing = true;
	__atomic_store_n(&c->client.gone, true, __ATOMIC_RELAXED); /* a long command may end */
	loop_remove(r->loop, &c->watch);
	list_remove(&c->run_link);
	list_remove(&c->send_link);
	list_remove(&c->held_link);
	if (connection_is_in_pool(c)) {
		/* The peer sees it at once; the memory follows when the pool is done with it. */
		shutdown(c->transport.fd, SHUT_RDWR);
		return;
	}
	if (c->state == CONNECTION_BLOCKED) {
		const struct request_handler *handler = &r->net->handler;
		if (!handler->end_wait(handler->arg, &c->client, WAIT_CLOSED)) {
			/* Another thread ends it, and its message follows. */
			shutdown(c->transport.fd, SHUT_RDWR);
			return;
		}
		connections_leave_blocked(r, c);
	}
	if (c->state == CONNECTION_PAUSED || c->state == CONNECTION_COLD || c->state == CONNECTION_SLOWED ||
	    c->state == CONNECTION_TURN) {
		list_remove(&c->parked_link);
		if (c->state == CONNECTION_PAUSED)
			counter_add(&r->counters.paused, (uint64_t)-1);
		c->state = CONNECTION_OPEN;
	}
	connections_queue_free(r, c);
}

void
connections_free_closed(struct reactor *r)
{
	struct list_link *link;
	while ((link = list_take_first(&r->dead)) != NULL) {
		struct connection *c = list_entry(link, struct connection, parked_link);
		struct net *net = r->net;
		assert(c->closing && !list_is_linked(&c->run_link) && !list_is_linked(&c->send_link));
		registry_remove(net, c);
		list_remove(&c->all_link);
		assert(r->connection_count > 0 && !list_is_linked(&c->held_link));
		r->connection_count--;
		net->handler.client_closed(net->handler.arg, &c->client);
		set_account(r, c, 0);
		connection_destroy(c);
		__atomic_fetch_sub(&r->load, 1, __ATOMIC_RELAXED);
		__atomic_fetch_sub(&net->accepted, 1, __ATOMIC_RELAXED);
	}
}

void
connections_close_killed(struct reactor *r)
{
	for (struct list_link *link = r->connections.next; link != &r->connections; link = link->next) {
		struct connection *c = list_entry(link, struct connection, all_link);
		if (__atomic_load_n(&c->killed, __ATOMIC_RELAXED))
			connections_close(r, c);
	}
}

/* The pool has ended: a request that is still with it was submitted too late for any thread to take it. */
void
connections_close_all(struct reactor *r)
{
	assert(reactor_is_here(r));
	for (struct list_link *link = r->connections.next; link != &r->connections; link = link->next) {
		struct connection *c = list_entry(link, struct connection, all_link);
		if (connection_is_in_pool(c)) {
			c->state = CONNECTION_OPEN;
			if (c->closing)
				connections_queue_free(r, c);
		}
		connections_close(r, c);
	}
	connections_free_closed(r);
}

/* ---- the socket ---- */

bool
connections_may_receive_ahead(const struct reactor *r, const struct connection *c)
{
	uint64_t limit =
		(uint64_t)__atomic_load_n(&r->net->config->client_query_buffer_limit, __ATOMIC_RELAXED);
	return !c->backlog_ended && connection_waiting_input(c) < limit;
}

bool
connections_want_input(const struct reactor *r, const struct connection *c)
{
	return c->state == CONNECTION_OPEN && !c->input_ended && !c->input_broken && !c->closing &&
		!c->client.close_after_reply && !r->stopping &&
		(!c->throttled || connections_may_receive_ahead(r, c));
}

bool
connections_can_run(const struct reactor *r, const struct connection *c)
{
	return c->state == CONNECTION_OPEN && !c->closing && !c->throttled && !c->input_broken &&
		!c->client.close_after_reply && !r->stopping;
}

/* A peer that leaves meanwhile is noticed. */
static bool
waits_long(const struct connection *c)
{
	return c->state == CONNECTION_PAUSED || c->state == CONNECTION_BLOCKED;
}

void
connections_update_watch(struct reactor *r, struct connection *c)
{
	bool wants = connections_want_input(r, c);
	if (c->hung_up) {
		/* No longer watched: it tries what it wants without an event. */
		if (wants && !c->closing) {
			c->readable = true;
			connections_queue_run(r, c);
		}
		return;
	}
	/* Input that is not wanted for a while is watched on, as that costs no call: an event ends it (connection_ready). */
	uint32_t events = c->watch.events & INPUT_EVENTS;
	if (wants)
		events = INPUT_EVENTS;
	else if (c->input_ended)
		events = 0;
	else if (waits_long(c))
		events |= EPOLLRDHUP;
	if (!c->writable)
		events |= EPOLLOUT;
	if (loop_change(r->loop, &c->watch, events) != SETT_OK)
		connections_close(r, c);
}

void
connections_await_input(struct reactor *r, struct connection *c)
{
	if (c->input_ended)
		connections_queue_send(r, c); /* which finds out whether it is finished */
	if (c->hung_up)
		c->readable = true; /* no event will say so */
	/* Bytes may have arrived while an earlier request was in the pool. */
	if ((c->readable || c->backlog.size > 0) && connections_want_input(r, c))
		connections_queue_run(r, c);
}

void
connections_rest(struct reactor *r, struct connection *c)
{
	connection_show(c, 0, loop_wall_ms(r->loop));
	connections_account(r, c);
	connections_await_input(r, c);
}

void
connections_input_failed(struct reactor *r, struct connection *c)
{
	int error = errno;
	if (error == EMSGSIZE)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Closing client that reached max query buffer length: id=%llu addr=%s",
				(unsigned long long)c->client.id, c->client.address);
	else if (error == ENOMEM)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Out of memory reading from client: addr=%s", c->client.address);
	else
		log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Reading from client: %s", strerror(error));
	connections_close(r, c);
}

static void
connection_ready(struct loop_watch *watch, uint32_t events)
{
	struct connection *c = list_entry(watch, struct connection, watch);
	struct reactor *r = c->reactor;
	if (events & EPOLLOUT) {
		c->writable = true;
		connections_queue_send(r, c);
		if (__builtin_expect(c->transport.receive_awaits_out, 0)) {
			c->readable = true;
			connections_queue_run(r, c);
		}
	}
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	if (connections_want_input(r, c)) {
		c->readable = true;
		connections_queue_run(r, c);
		return;
	}
	if (waits_long(c) && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
		connections_close(r, c);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		/* It would be reported again and again. A send meets the error by itself. */
		loop_remove(r->loop, watch);
		c->hung_up = true;
		c->writable = true;
		connections_queue_send(r, c);
	} else if (loop_change(r->loop, watch, watch->events & ~(events & INPUT_EVENTS)) != SETT_OK) {
		/* Input that is not wanted now is waited for again by connections_update_watch. */
		connections_close(r, c);
	}
}

void
connections_watch(struct reactor *r, struct connection *c)
{
	if (loop_add(r->loop, &c->watch, c->transport.fd, INPUT_EVENTS, connection_ready) != SETT_OK)
		connections_close(r, c);
}

bool
connections_enter(struct reactor *r, struct connection *c)
{
	assert(reactor_is_here(r) && c->reactor == r && !list_is_linked(&c->all_link));
	list_append(&r->connections, &c->all_link);
	r->connection_count++;
	connections_account(r, c);
	if (!timer_is_armed(&r->cron))
		connections_arm_cron(r);
	/* A kill that came before this was not found by connections_close_killed. */
	if (!r->stopping && !__atomic_load_n(&c->killed, __ATOMIC_RELAXED))
		return true;
	connections_close(r, c);
	return false;
}

static void
adopt(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, adopt_message);
	if (connections_enter(c->reactor, c))
		connections_watch(c->reactor, c);
}

void
connections_post(struct reactor *r, struct connection *c)
{
	assert(c->reactor == r);
	__atomic_fetch_add(&r->load, 1, __ATOMIC_RELAXED);
	loop_post(r->loop, &c->adopt_message);
}

void
connections_hand_over(struct reactor *r, struct connection *c)
{
	c->adopt_message.run = adopt;
	connections_post(r, c);
}
