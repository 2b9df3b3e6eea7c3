/* Large values on their way through a reactor: see bodies.h. */
#include "net/bodies.h"

#include <assert.h>
#include <errno.h>

#include "net/connections.h"
#include "net/reactor_private.h"
#include "net/upload.h"

enum { PIECE_KEPT = 1024 * 1024 /* a larger buffer is freed after its piece */ };

/* ---- out: pieces of large replies ---- */

/* On the reactor: the piece has been made, or could not be. */
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
		/* The beginning of the reply has left, so it can't become an error reply. */
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A reply cannot be read while it is being sent (%s): closing client addr=%s",
				c->piece.failure != NULL ? c->piece.failure
							 : sett_status_text(c->piece.status),
				c->client.address);
		connections_close(r, c);
		return;
	}
	if (c->piece.bytes.size == 0)
		connection_finish_piece(c);
	connections_account(r, c);
	__atomic_store_n(&c->client.last_active_ms, loop_wall_ms(r->loop), __ATOMIC_RELAXED);
	connections_queue_send(r, c);
	/* What has arrived meanwhile was left lying, and the watch that told of it has ended. */
	connections_update_watch(r, c);
	connections_queue_run(r, c);
}

static void
begin_piece(struct connection *c)
{
	struct piece *p = &c->piece;
	if (p->bytes.capacity > PIECE_KEPT)
		resp_writer_free(&p->bytes);
	resp_truncate(&p->bytes, 0);
	p->start = 0;
	p->is_last = false;
}

/* On a pool thread. Nothing of the connection may be touched after the post. */
static void
make_piece(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	assert(c->state == CONNECTION_READING && c->output.streams != NULL);
	struct reply_source *source = c->output.streams->source;
	struct piece *p = &c->piece;
	begin_piece(c);
	struct sett_error error = {0};
	p->status = source->operations->next(source, thread, &p->bytes, &p->is_last, &error);
	if (p->status != SETT_OK && error.message[0] != 0)
		p->failure = strdup(error.message);
	if (p->status == SETT_OK && p->bytes.failed)
		p->status = SETT_NO_MEMORY;
	loop_post(c->reactor->loop, &c->pool.message);
}

/* What the source has at this moment: true if the connection's piece is made. */
static bool
take_at_hand(struct reactor *r, struct connection *c, enum source_state state)
{
	if (state == SOURCE_PIECE && !c->piece.bytes.failed) {
		connections_account(r, c);
		return true;
	}
	if (state != SOURCE_NOTHING)
		connections_close(r, c);
	return false;
}

bool
bodies_next_piece(struct reactor *r, struct connection *c)
{
	struct reply_source *source = c->output.streams->source;
	assert(connection_needs_piece(c));
	if (source->operations->at_hand != NULL) {
		begin_piece(c);
		enum source_state state = source->operations->at_hand(source, &c->piece.bytes);
		if (state != SOURCE_ON_DISK)
			return take_at_hand(r, c, state);
	}
	assert(c->state == CONNECTION_OPEN);
	c->pool.job.run = make_piece;
	c->pool.message.run = piece_done;
	c->state = CONNECTION_READING;
	pool_submit(r->net->pool, POOL_SHORT, &c->pool.job);
	return false;
}

bool
bodies_close_limited(struct reactor *r, struct connection *c)
{
	for (const struct output_stream *s = c->output.streams; s != NULL; s = s->next) {
		const char *why =
			s->source->operations->limit != NULL ? s->source->operations->limit(s->source) : NULL;
		if (why == NULL)
			continue;
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Closing client id=%llu addr=%s: it reads its reply too slowly, past %s",
				(unsigned long long)c->client.id, c->client.address, why);
		counter_add(&r->counters.replies_limited, 1);
		connections_close(r, c);
		return true;
	}
	return false;
}

/* ---- in: large arguments ---- */

/* On the reactor: the piece has been stored, or could not be. */
static void
piece_stored(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	const struct upload *u = c->upload;
	assert(reactor_is_here(r) && c->state == CONNECTION_STORING && u != NULL);
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
	assert(c->state == CONNECTION_STORING && c->upload != NULL);
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
		assert(c->state == CONNECTION_OPEN);
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
