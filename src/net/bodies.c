/* Large values on their way through a reactor: see bodies.h. */
#include "net/bodies.h"

#include <assert.h>
#include <errno.h>

#include "net/connections.h"
#include "net/reactor_private.h"
#include "net/upload.h"

/* ---- out: pieces of large replies ---- */

/* On the reactor: the piece has been read, or could not be. */
static void
piece_done(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	c->state = CONNECTION_OPEN;
	if (c->closing) {
		connections_queue_free(r, c);
		return;
	}
	if (c->piece.status != SETT_OK) {
		/* The header has left: there is no way to say it in the reply. */
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A value cannot be read while it is being sent (%s): closing client addr=%s",
				c->piece.error.message, c->client.address);
		connections_close(r, c);
		return;
	}
	__atomic_store_n(&c->client.last_active_ms, loop_wall_ms(r->loop), __ATOMIC_RELAXED);
	connections_queue_send(r, c);
}

/* On a pool thread. Nothing of the connection may be touched after the post. */
static void
read_piece(struct pool_job *job, void *thread)
{
	(void)thread;
	struct connection *c = list_entry(job, struct connection, pool.job);
	struct piece *p = &c->piece;
	p->start = p->end = 0;
	p->status = sett_body_stream_read(c->output.streams->body, p->data, PIECE_SIZE, &p->end, &p->error);
	loop_post(c->reactor->loop, &c->pool.message);
}

void
bodies_read_piece(struct reactor *r, struct connection *c)
{
	assert(connection_needs_piece(c));
	if (c->piece.data == NULL) {
		c->piece.data = malloc(PIECE_SIZE);
		if (c->piece.data == NULL) {
			log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
					"Out of memory for a reply: closing client addr=%s",
					c->client.address);
			connections_close(r, c);
			return;
		}
		connections_account(r, c);
	}
	c->pool.job.run = read_piece;
	c->pool.message.run = piece_done;
	c->state = CONNECTION_READING;
	pool_submit(r->net->pool, POOL_SHORT, &c->pool.job);
}

/* ---- in: large arguments ---- */

/* On the reactor: the piece has been stored, or could not be. */
static void
piece_stored(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	const struct upload *u = c->upload;
	c->state = CONNECTION_OPEN;
	if (c->closing) {
		connections_queue_free(r, c);
		return;
	}
	if (u->argument->status != SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A value of %llu bytes cannot be stored (%s): client addr=%s",
				(unsigned long long)u->argument->size, u->error.message, c->client.address);
	bodies_advance(r, c);
	if (!c->closing)
		connections_update_watch(r, c);
}

/* On a pool thread. */
static void
store_piece(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	upload_store(c->upload, c->reactor->net->engine);
	loop_post(c->reactor->loop, &c->pool.message);
}

void
bodies_advance(struct reactor *r, struct connection *c)
{
	struct upload *u = c->upload;
	assert(u != NULL);
	if (!connections_can_run(r, c))
		return;
	upload_take(c);
	/* An argument that cannot be stored is read all the same: the next requests follow it. */
	while (u->argument->status != SETT_OK && upload_is_ready(u) && !upload_is_over(u)) {
		u->filled = 0;
		upload_take(c);
	}
	connection_show(c, 0, loop_wall_ms(r->loop));
	__atomic_add_fetch(&c->client.query_buffer_bytes, u->filled, __ATOMIC_RELAXED);
	if (upload_is_over(u)) {
		if (!upload_end(c)) {
			errno = ENOMEM;
			connections_input_failed(r, c);
			return;
		}
		connections_queue_run(r, c);
	} else if (upload_is_ready(u)) {
		c->pool.job.run = store_piece;
		c->pool.message.run = piece_stored;
		c->state = CONNECTION_STORING;
		pool_submit(r->net->pool, POOL_SHORT, &c->pool.job);
	} else {
		connections_await_input(r, c);
	}
}

bool
bodies_begin(struct reactor *r, struct connection *c, bool drops)
{
	if (!upload_begin(c, drops))
		return false;
	connections_account(r, c);
	return true;
}
