/* See handshakes.h. While a step is queued or with the pool, the socket is not watched: it would be reported all the time. */
#include "net/handshakes.h"

#include <assert.h>
#include <sys/epoll.h>

#include "net/connections.h"
#include "net/reactor_private.h"

enum {
	STEPS_IN_POOL = 2, /* of one reactor */
	WHY_SIZE = 256,
};

static void await_socket(struct reactor *r, struct connection *c, uint32_t events);

/* On a pool thread. Nothing of the connection may be touched after the post. */
static void
take_step(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	char why[WHY_SIZE] = "";
	c->handshake_step = transport_establish(&c->transport, why, sizeof(why));
	if (c->handshake_step == TRANSPORT_FAILED)
		log_sink_printf(&c->reactor->net->sink, LOG_LEVEL_WARNING,
				"Error accepting a client connection: %s (addr=%s laddr=%s)", why,
				c->client.address, c->client.local_address);
	loop_post(c->reactor->loop, &c->pool.message);
}

static void step_done(struct mailbox_message *message);

static void
submit_waiting(struct reactor *r)
{
	struct list_link *link;
	/* The stop does not wait for them. */
	while (r->stopping && (link = list_take_first(&r->handshakes.waiting)) != NULL)
		connections_close(r, list_entry(link, struct connection, run_link));
	while (r->handshakes.in_pool < STEPS_IN_POOL &&
	       (link = list_take_first(&r->handshakes.waiting)) != NULL) {
		struct connection *c = list_entry(link, struct connection, run_link);
		assert(c->state == CONNECTION_GREETING && !c->closing);
		c->state = CONNECTION_SHAKING;
		c->pool.job.run = take_step;
		c->pool.message.run = step_done;
		r->handshakes.in_pool++;
		pool_submit(r->net->handshake_pool, POOL_SHORT, &c->pool.job);
	}
}

static void
go_on(struct reactor *r, struct connection *c)
{
	switch (c->handshake_step) {
	case TRANSPORT_READY:
		c->state = CONNECTION_OPEN;
		connections_watch(r, c);
		if (c->closing)
			return;
		c->readable = true; /* bytes may have come with the last of the handshake */
		connections_queue_run(r, c);
		connections_queue_send(r, c);
		break;
	case TRANSPORT_AWAITS_INPUT:
		await_socket(r, c, EPOLLIN);
		break;
	case TRANSPORT_AWAITS_OUTPUT:
		await_socket(r, c, EPOLLOUT);
		break;
	case TRANSPORT_FAILED:
		connections_close(r, c);
		break;
	}
}

/* On the reactor: a step has been taken. */
static void
step_done(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	r->handshakes.in_pool--;
	c->state = CONNECTION_GREETING;
	if (c->closing)
		connections_queue_free(r, c);
	else
		go_on(r, c);
	submit_waiting(r);
}

static void
socket_ready(struct loop_watch *watch, uint32_t events)
{
	struct connection *c = list_entry(watch, struct connection, watch);
	struct reactor *r = c->reactor;
	loop_remove(r->loop, watch);
	list_append(&r->handshakes.waiting, &c->run_link);
	submit_waiting(r);
}

static void
await_socket(struct reactor *r, struct connection *c, uint32_t events)
{
	if (loop_add(r->loop, &c->watch, c->transport.fd, events, socket_ready) != SETT_OK)
		connections_close(r, c);
}

static void
adopt(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, adopt_message);
	struct reactor *r = c->reactor;
	c->state = CONNECTION_GREETING;
	if (connections_enter(r, c))
		await_socket(r, c, EPOLLIN);
}

void
handshakes_hand_over(struct reactor *r, struct connection *c)
{
	c->adopt_message.run = adopt;
	connections_post(r, c);
}

static int
start_thread(void *arg, bool waits, void **ret)
{
	thread_give_way();
	*ret = NULL;
	return SETT_OK;
}

static void
stop_thread(void *arg, void *thread)
{
}

int
handshakes_create_pool(unsigned reactors, struct pool **ret)
{
	struct request_handler handler = {.thread_start = start_thread, .thread_stop = stop_thread};
	return pool_create(&handler, "handshake", reactors, ret);
}

void
handshakes_init(struct reactor *r)
{
	list_init(&r->handshakes.waiting);
}
