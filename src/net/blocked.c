/* See blocked.h. */
#include "net/blocked.h"

#include <assert.h>

#include "net/connections.h"
#include "net/reactor_private.h"
#include "net/replies.h"

/* The wait is over: its reply is the request's. */
static void
finish(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	uint64_t start = c->output.base + c->output.writer.size, release = 0;
	c->wait_is_over = false;
	c->client.wait_wake_ns = 0;
	__atomic_store_n(&c->client.is_served, false, __ATOMIC_RELAXED);
	c->output.writer.protocol = c->client.protocol;
	handler->take_wait_reply(handler->arg, &c->client, &c->output.writer, &release);
	replies_finish_request(r, c, start, c->output.writer.size, release);
	if (c->closing)
		return;
	connections_update_watch(r, c);
	if (connection_has_input(c))
		connections_queue_run(r, c);
	else
		connections_rest(r, c);
}

/* Whether it is to be woken before its time is over. */
static bool
wakes_first(const struct client *client)
{
	return client->wait_wake_ns != 0 &&
		(client->wait_until_ns == 0 || client->wait_wake_ns < client->wait_until_ns);
}

static void
arm_timer(struct reactor *r, struct connection *c)
{
	assert(!c->closing);
	const struct client *client = &c->client;
	uint64_t due_ns = wakes_first(client) ? client->wait_wake_ns : client->wait_until_ns;
	if (due_ns == 0) {
		timers_disarm(loop_timers(r->loop), &c->wait_timer);
	} else if (timers_arm(loop_timers(r->loop), &c->wait_timer, due_ns) != SETT_OK) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
		connections_close(r, c);
	}
}

static void
take_news(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, wait_message);
	struct reactor *r = c->reactor;
	const struct request_handler *handler = &r->net->handler;
	uint64_t wake_ns;
	assert(reactor_is_here(r));
	bool is_over = handler->wait_news(handler->arg, &c->client, &wake_ns);
	if (!is_over)
		c->client.wait_wake_ns = wake_ns;
	if (c->state != CONNECTION_BLOCKED) {
		/* Its request has not come back from the pool yet. */
		assert(c->state == CONNECTION_IN_POOL);
		c->wait_is_over = is_over;
		return;
	}
	if (!is_over) {
		if (!c->closing)
			arm_timer(r, c);
		return;
	}
	connections_leave_blocked(r, c);
	if (c->closing)
		connections_queue_free(r, c);
	else
		finish(r, c);
}

static void
time_has_come(void *arg)
{
	struct connection *c = arg;
	struct reactor *r = c->reactor;
	const struct request_handler *handler = &r->net->handler;
	if (c->closing)
		return; /* the message follows */
	if (wakes_first(&c->client)) {
		handler->wake_wait(handler->arg, r->handler_thread, &c->client);
		arm_timer(r, c);
		return;
	}
	assert(c->client.wait_until_ns != 0); /* each change of its moments arms the timer anew */
	if (!handler->end_wait(handler->arg, &c->client, WAIT_TIMED_OUT))
		return; /* the message follows */
	connections_leave_blocked(r, c);
	finish(r, c);
}

void
blocked_init(struct connection *c)
{
	c->wait_timer = (struct timer){.run = time_has_come, .arg = c};
	c->wait_message.run = take_news;
}

static void
enter(struct reactor *r, struct connection *c)
{
	assert(reactor_is_here(r) && !list_is_linked(&c->parked_link));
	c->state = CONNECTION_BLOCKED;
	counter_add(&r->counters.blocked, 1);
	__atomic_store_n(&c->client.blocked, true, __ATOMIC_RELAXED);
	/* What would come behind the reply does not wait for a reply that may never come. */
	if (!__atomic_load_n(&c->client.is_served, __ATOMIC_ACQUIRE))
		replies_add_pushes(r, c);
}

void
blocked_begin(struct reactor *r, struct connection *c)
{
	if (c->wait_is_over) {
		finish(r, c);
		return;
	}
	enter(r, c);
	if (c->closing)
		return;
	if (c->input_ended || c->hung_up) {
		connections_close(r, c); /* as in Redis: who has closed its side waits for nothing */
		return;
	}
	arm_timer(r, c);
	if (c->closing)
		return;
	connections_update_watch(r, c);
	connections_account(r, c);
}

void
blocked_begin_closing(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	assert(c->closing);
	if (!c->wait_is_over && !handler->end_wait(handler->arg, &c->client, WAIT_CLOSED))
		enter(r, c); /* until the message comes */
	else
		connections_queue_free(r, c);
}

void
net_wait_has_news(struct client *client)
{
	struct connection *c = client->connection;
	loop_post(c->reactor->loop, &c->wait_message);
}
