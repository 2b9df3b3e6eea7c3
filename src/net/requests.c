/* A reactor's requests: reading, running, the way through the pool and back, pauses.
 *
 * Batches. Before any of a batch of requests runs, all are parsed and shown to the handler, which asks memory
 * for what they need: fetched one behind another, that is what most of a short command's time would go into.
 *
 * Order. A connection runs one request at a time, in the order they came; while one is in the pool or paused,
 * no later one runs. Its bytes stay in the input buffer, which does not move meanwhile, so the pool's
 * arguments point into it too.
 *
 * Cold requests. A read that finds its bytes not in memory has told the system to fetch them, and the reactor
 * tries the request again a little later, when the disk has usually answered: a thread of the pool that waits
 * costs two wake-ups, which take longer than all else that is to be done. How long that is the reactor
 * learns. What takes much longer, or needs many reads (each try begins anew), goes to the pool, and so does
 * all for a while if this keeps happening (a slow disk, or a system that fetches nothing by itself).
 *
 * Large bodies within a reply (output.h) are read by the pool, piece by piece, as the socket takes them. The
 * connection is throttled meanwhile: no request runs, so the same job and message serve both.
 *
 * A client that does not read its replies is throttled: slow_reader.c.
 *
 * Large arguments (upload.h) are stored by the pool, piece by piece, as they come; the socket is not read
 * while a piece is on its way. No request runs meanwhile and no body is sent, so the same job and message
 * serve here too.
 *
 * Ownership. From pool_submit to the message's arrival the pool thread owns client and pool_request; the
 * reactor only marks the connection as closing, and frees it when the message is back. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "config/config.h"
#include "net/reactor_private.h"
#include "net/upload.h"

enum { ARGUMENTS_FIRST = 64, ARGUMENTS_KEPT = 65536 /* slots of the reactor's array between ticks */ };

/* ---- reading ---- */

bool
reactor_wants_input(const struct reactor *r, const struct connection *c)
{
	return c->state == CONNECTION_OPEN && !c->input_ended && !c->input_broken && !c->closing &&
		!c->client.close_after_reply && !r->stopping &&
		(!c->throttled || reactor_may_receive_ahead(r, c));
}

static void
read_failed(struct reactor *r, struct connection *c)
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
	reactor_close(r, c);
}

static enum input_result
receive(struct reactor *r, struct connection *c, size_t *ret_size)
{
	uint64_t limit =
		(uint64_t)__atomic_load_n(&r->net->config->client_query_buffer_limit, __ATOMIC_RELAXED);
	if (__builtin_expect(c->throttled, 0))
		return connection_receive_ahead(c, ret_size);
	return __builtin_expect(c->upload != NULL, 0) ? upload_read(c, ret_size)
						      : connection_read(c, limit, ret_size);
}

static void
read_input(struct reactor *r, struct connection *c)
{
	/* What is there already comes first: it may hold whole requests. */
	if (!reactor_wants_input(r, c) || (!c->throttled && connection_has_input(c)))
		return;
	bool from_socket = c->throttled || c->backlog.size == 0;
	size_t size = 0;
	c->readable = false;
	switch (receive(r, c, &size)) {
	case INPUT_OK:
		if (from_socket) {
			counter_add(&r->counters.bytes_in, size);
			counter_add(&r->counters.reads, 1);
		}
		break;
	case INPUT_NOTHING:
		break;
	case INPUT_END:
		c->input_ended = true;
		reactor_update_watch(r, c);
		reactor_queue_send(r, c);
		break;
	case INPUT_ERROR:
		read_failed(r, c);
		break;
	}
	if (__builtin_expect(c->throttled, 0))
		reactor_received_ahead(r, c);
}

/* ---- one request ---- */

/* The request is over and its reply is in the output. */
static void
finish_request(struct reactor *r, struct connection *c, uint64_t reply_start, size_t reply_end,
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
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Out of memory for a reply: closing client addr=%s", c->client.address);
		reactor_close(r, c);
		return;
	}
	if (release > r->newest)
		r->newest = release;
	output_stamp_to(&c->output, reply_end, release, reactor_frontier(r));
	connection_consume(c);
	reactor_check_unsent(r, c);
	reactor_queue_send(r, c);
}

static void
pause_request(struct reactor *r, struct connection *c)
{
	c->state = CONNECTION_PAUSED;
	list_append(&r->paused, &c->parked_link);
	counter_add(&r->counters.paused, 1);
	if (!timer_is_armed(&r->paused_retry) &&
	    timers_arm(loop_timers(r->loop), &r->paused_retry,
		       loop_now_ns(r->loop) + PAUSED_RETRY_MS * 1000000ULL) != SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
	reactor_update_watch(r, c);
}

static void
leave_pause(struct reactor *r, struct connection *c)
{
	list_remove(&c->parked_link);
	c->state = CONNECTION_OPEN;
	counter_add(&r->counters.paused, (uint64_t)-1);
}

/* ---- cold requests ---- */

/* What the request had missed is there. */
static void
learn_patience(struct reactor *r, struct connection *c)
{
	struct patience *p = &r->patience;
	uint64_t took = loop_now_ns(r->loop) - c->missed_ns;
	p->losses = 0;
	if (c->misses == 1) /* perhaps it was there long before */
		p->wait_ns -= p->wait_ns / 32;
	else if (took > p->wait_ns)
		p->wait_ns += (took - p->wait_ns) / 8;
	p->wait_ns = p->wait_ns < PATIENCE_MIN_NS ? PATIENCE_MIN_NS
		: p->wait_ns > PATIENCE_MAX_NS    ? PATIENCE_MAX_NS
						  : p->wait_ns;
	c->misses = 0;
}

/* In vain, for so long, which is nearly five times the first wait. Many may have begun before the wait grew.
 */
static void
lose_patience(struct patience *p, uint64_t now, uint64_t waited_ns)
{
	uint64_t wait_ns = waited_ns / 5 * 3 / 2;
	if (wait_ns > p->wait_ns)
		p->wait_ns = wait_ns < PATIENCE_MAX_NS ? wait_ns : PATIENCE_MAX_NS;
	if (wait_ns >= PATIENCE_MAX_NS && ++p->losses == PATIENCE_LOSSES) {
		p->losses = 0;
		p->rest_until_ns = now + PATIENCE_REST_NS;
	}
}

/* Whether the request, which just missed, is to be tried here again. */
static bool
await_disk(struct reactor *r, struct connection *c)
{
	struct patience *p = &r->patience;
	uint64_t now = loop_now_ns(r->loop);
	bool first = c->misses == 0;
	if (now < p->rest_until_ns || (first && p->in_pool < PATIENCE_ALONE))
		return false;
	if (!first && c->missing != c->client.missing) {
		learn_patience(r, c);
		if (++c->places == PATIENCE_PLACES)
			return false;
	}
	c->missing = c->client.missing;
	if (c->misses == PATIENCE_TRIES) {
		lose_patience(p, now, now - c->missed_ns);
		return false;
	}
	/* A quarter of the first wait again, then a half, then one, then two. */
	uint64_t wait = c->misses == 0 ? p->wait_ns : p->wait_ns / 4 << (c->misses - 1);
	if (c->misses++ == 0)
		c->missed_ns = now;
	c->retry_ns = now + wait;
	c->state = CONNECTION_COLD;
	list_append(&r->cold[c->misses - 1], &c->parked_link);
	return true;
}

/* The request has its turn later. Pauses grow while others are given out, so the list is in order, but for
 * what the longest pause cuts off. */
static void
await_turn(struct reactor *r, struct connection *c)
{
	c->paced = true;
	c->retry_ns = loop_now_ns(r->loop) + c->client.pause_ns;
	c->state = CONNECTION_SLOWED;
	list_append(&r->slowed, &c->parked_link);
}

static struct connection *
first_parked(struct list_link *list)
{
	return list_is_empty(list) ? NULL : list_entry(list->next, struct connection, parked_link);
}

static void
retry_list(struct reactor *r, struct list_link *list)
{
	uint64_t now = loop_now_ns(r->loop);
	struct connection *c;
	while ((c = first_parked(list)) != NULL && c->retry_ns <= now) {
		list_remove(&c->parked_link);
		c->state = CONNECTION_OPEN;
		reactor_update_watch(r, c);
		reactor_queue_run(r, c);
	}
}

void
reactor_retry_parked(struct reactor *r)
{
	for (int i = 0; i < PATIENCE_TRIES; i++)
		retry_list(r, &r->cold[i]);
	retry_list(r, &r->slowed);
}

static void
await_list(struct reactor *r, struct list_link *list, uint64_t late_ns)
{
	const struct connection *c = first_parked(list);
	if (c != NULL)
		loop_wait_until(r->loop, c->retry_ns + late_ns);
}

void
reactor_await_parked(struct reactor *r)
{
	for (int i = 0; i < PATIENCE_TRIES; i++)
		await_list(r, &r->cold[i], 0);
	await_list(r, &r->slowed, TURNS_NS);
}

/* ---- through the pool ---- */

/* On the reactor: the request is back. */
static void
pool_request_done(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	c->state = CONNECTION_OPEN;
	r->patience.in_pool -= c->pool.missed;
	if (c->closing) {
		reactor_bury(r, c);
		return;
	}
	if (c->pool.cancelled) {
		reactor_close(r, c);
		return;
	}
	if (c->pool.result == REQUEST_PAUSED) {
		pause_request(r, c);
		return;
	}
	uint64_t start = c->output.base + c->output.writer.size;
	if (c->pool.result != REQUEST_DONE || !output_take(&c->output, &c->pool.reply)) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A request failed in the blocking pool: closing client addr=%s",
				c->client.address);
		reactor_close(r, c);
		return;
	}
	finish_request(r, c, start, c->output.writer.size, c->pool.release);
	if (c->closing)
		return;
	reactor_update_watch(r, c);
	reactor_queue_run(r, c);
}

/* On a pool thread. Nothing of the connection may be touched after the post or the submission: it may be
 * freed by then. */
static void
run_in_pool(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	struct pool_request *p = &c->pool;
	struct net *net = c->reactor->net;
	/* Acquire pairs with net_stop's store; late is harmless: one request more is executed. */
	p->cancelled = __atomic_load_n(&net->stopping, __ATOMIC_ACQUIRE);
	if (!p->cancelled) {
		p->reply.protocol = c->client.protocol;
		p->release = 0;
		struct request request = {.argc = p->argc, .argv = p->argv, .in_long_lane = p->is_long};
		p->result = net->handler.execute(net->handler.arg, thread, &c->client, &request, &p->reply,
						 &p->release);
		if (p->result != REQUEST_DONE)
			resp_truncate(&p->reply, 0);
		if (p->result == REQUEST_MUST_WAIT_LONG && !p->is_long) {
			p->is_long = true;
			pool_submit(net->pool, POOL_LONG, &p->job);
			return;
		}
	}
	loop_post(c->reactor->loop, &p->message);
}

static void
send_to_pool(struct reactor *r, struct connection *c, enum request_result result,
	     const struct request *request)
{
	struct pool_request *p = &c->pool;
	size_t argc = request->argc;
	if (p->argument_capacity < argc) {
		struct bytes *grown = realloc(p->argv, argc * sizeof(*grown));
		if (grown == NULL) {
			log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a request");
			reactor_close(r, c);
			return;
		}
		p->argv = grown;
		p->argument_capacity = argc;
	}
	p->argc = argc;
	memcpy(p->argv, request->argv, argc * sizeof(*p->argv));
	p->job.run = run_in_pool;
	p->message.run = pool_request_done;
	c->state = CONNECTION_IN_POOL;
	p->missed = result == REQUEST_MISSED;
	r->patience.in_pool += p->missed;
	p->is_long = result == REQUEST_MUST_WAIT_LONG;
	pool_submit(r->net->pool, p->is_long ? POOL_LONG : POOL_SHORT, &p->job);
}

/* ---- pieces of large replies ---- */

/* On the reactor: the piece is there. */
static void
piece_done(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	c->state = CONNECTION_OPEN;
	if (c->closing) {
		reactor_bury(r, c);
		return;
	}
	if (c->piece.status != SETT_OK) {
		/* The header has left: there is no way to say it in the reply. */
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A value cannot be read while it is being sent (%s): closing client addr=%s",
				c->piece.error.message, c->client.address);
		reactor_close(r, c);
		return;
	}
	__atomic_store_n(&c->client.last_active_ms, loop_wall_ms(r->loop), __ATOMIC_RELAXED);
	reactor_queue_send(r, c);
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
reactor_read_piece(struct reactor *r, struct connection *c)
{
	if (c->piece.data == NULL) {
		c->piece.data = malloc(PIECE_SIZE);
		if (c->piece.data == NULL) {
			log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
					"Out of memory for a reply: closing client addr=%s",
					c->client.address);
			reactor_close(r, c);
			return;
		}
		reactor_account(r, c);
	}
	c->pool.job.run = read_piece;
	c->pool.message.run = piece_done;
	c->state = CONNECTION_READING;
	pool_submit(r->net->pool, POOL_SHORT, &c->pool.job);
}

/* ---- running ---- */

/* Puts the arguments of a request whose bytes begin at `start` of the input into the reactor's. */
static bool
collect_arguments(struct reactor *r, struct connection *c, struct parsed_request *p, size_t start)
{
	size_t needed = r->argument_count + p->argc;
	if (r->argument_capacity < needed) {
		size_t capacity = needed > ARGUMENTS_FIRST ? needed + needed / 2 : ARGUMENTS_FIRST;
		struct bytes *argv = realloc(r->argv, capacity * sizeof(*argv));
		if (argv == NULL)
			return false;
		r->argv = argv;
		r->argument_capacity = capacity;
	}
	p->argv = r->argument_count;
	p->argument_bytes = connection_arguments(c, p, start, r->argv + p->argv);
	p->foreseen = 0;
	r->argument_count = needed;
	return true;
}

static struct request
request_of(const struct reactor *r, const struct connection *c, const struct parsed_request *p)
{
	return (struct request){
		.argc = p->argc, .argv = r->argv + p->argv, .foreseen = p->foreseen, .paced = c->paced};
}

/* Nothing happened: the connection waits as the result says. */
static void
park(struct reactor *r, struct connection *c, const struct request *request, enum request_result result)
{
	if (result == REQUEST_MISSED && await_disk(r, c))
		return;
	c->misses = c->places = 0;
	if (result == REQUEST_SLOWED) {
		await_turn(r, c);
		return;
	}
	c->paced = false;
	if (result == REQUEST_PAUSED)
		pause_request(r, c);
	else
		send_to_pool(r, c, result, request);
}

/* The request that is next was answered. */
static void
complete(struct reactor *r, struct connection *c, size_t reply_end, uint64_t release)
{
	if (__builtin_expect(c->misses > 0, 0)) {
		learn_patience(r, c);
		c->places = 0;
	}
	c->paced = false;
	finish_request(r, c, c->output.base, reply_end, release);
}

/* Runs the request that is next. */
static void
execute(struct reactor *r, struct connection *c)
{
	struct net *net = r->net;
	struct parsed_request *p = connection_next(c);
	if (c->batch != r->batch && !collect_arguments(r, c, p, c->input_start)) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Out of memory for a request");
		reactor_close(r, c);
		return;
	}
	struct request request = request_of(r, c, p);
	connection_show(c, p->argument_bytes, loop_wall_ms(r->loop));
	size_t before = c->output.writer.size;
	uint64_t release = 0;
	c->output.writer.protocol = c->client.protocol;
	enum request_result result = net->handler.execute(net->handler.arg, r->handler_thread, &c->client,
							  &request, &c->output.writer, &release);
	if (result == REQUEST_DONE) {
		complete(r, c, c->output.writer.size, release);
		return;
	}
	if (!c->output.writer.failed)
		resp_truncate(&c->output.writer, before);
	park(r, c, &request, result);
}

/* Answers malformed input; the connection closes once that has left. */
static void
refuse_input(struct reactor *r, struct connection *c)
{
	log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Protocol error (%s) from client: id=%llu addr=%s",
			c->parser.error, (unsigned long long)c->client.id, c->client.address);
	resp_error_format(&c->output.writer, "ERR %s", c->parser.error);
	output_stamp(&c->output, 0, reactor_frontier(r));
	reactor_queue_send(r, c);
}

static bool
can_run(const struct reactor *r, const struct connection *c)
{
	return c->state == CONNECTION_OPEN && !c->closing && !c->throttled && !c->input_broken &&
		!c->client.close_after_reply && !r->stopping;
}

/* All requests that are complete have run. */
static void
await_input(struct reactor *r, struct connection *c)
{
	if (c->input_ended)
		reactor_queue_send(r, c); /* which finds out whether it is finished */
	if (c->hung_up)
		c->readable = true; /* no event will say so */
	/* Bytes may have arrived while an earlier request was in the pool. */
	if ((c->readable || c->backlog.size > 0) && reactor_wants_input(r, c))
		reactor_queue_run(r, c);
}

/* ---- large arguments ---- */

static void advance_upload(struct reactor *r, struct connection *c);

/* On the reactor: the piece is stored, or could not be. */
static void
piece_stored(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	const struct upload *u = c->upload;
	c->state = CONNECTION_OPEN;
	if (c->closing) {
		reactor_bury(r, c);
		return;
	}
	if (u->argument->status != SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A value of %llu bytes cannot be stored (%s): client addr=%s",
				(unsigned long long)u->argument->size, u->error.message, c->client.address);
	advance_upload(r, c);
	if (!c->closing)
		reactor_update_watch(r, c);
}

/* On a pool thread. */
static void
store_piece(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	upload_store(c->upload, c->reactor->net->engine);
	loop_post(c->reactor->loop, &c->pool.message);
}

/* Goes on with what has come of the argument. */
static void
advance_upload(struct reactor *r, struct connection *c)
{
	struct upload *u = c->upload;
	if (!can_run(r, c))
		return;
	upload_take(c);
	/* What cannot be stored is read all the same: behind it come the next requests. */
	while (u->argument->status != SETT_OK && upload_is_ready(u) && !upload_is_over(u)) {
		u->filled = 0;
		upload_take(c);
	}
	connection_show(c, 0, loop_wall_ms(r->loop));
	__atomic_add_fetch(&c->client.query_buffer_bytes, u->filled, __ATOMIC_RELAXED);
	if (upload_is_over(u)) {
		if (!upload_end(c)) {
			errno = ENOMEM;
			read_failed(r, c);
			return;
		}
		reactor_queue_run(r, c);
	} else if (upload_is_ready(u)) {
		c->pool.job.run = store_piece;
		c->pool.message.run = piece_stored;
		c->state = CONNECTION_STORING;
		pool_submit(r->net->pool, POOL_SHORT, &c->pool.job);
	} else {
		await_input(r, c);
	}
}

/* Whether the argument that the parser stands in is to go to the value log, or nowhere, and can. */
static bool
begin_upload(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	struct parsed_request begun = {.argc = c->parser.argc, .first_argument = c->argument_count};
	if (handler->large_argument == NULL || !collect_arguments(r, c, &begun, c->parse_start))
		return false;
	enum argument_way way =
		handler->large_argument(handler->arg, begun.argc, r->argv + begun.argv,
					begun.argc + c->parser.remaining, c->parser.bulk_size);
	if (way == ARGUMENT_WHOLE || !upload_begin(c, way == ARGUMENT_DROPPED))
		return false;
	reactor_account(r, c);
	return true;
}

/* The parser waits in a large argument. False if its bytes are to go to the input buffer like others. */
static bool
run_large(struct reactor *r, struct connection *c)
{
	if (c->upload == NULL && !begin_upload(r, c))
		return false;
	advance_upload(r, c);
	return true;
}

/* Shows the handler what the connection is about to run. */
static void
look_ahead(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	size_t start = c->input_start;
	for (unsigned i = c->parsed_first; i < c->parsed_end; i++) {
		struct parsed_request *p = &c->parsed[i];
		if (!collect_arguments(r, c, p, start))
			return;
		if (handler->foresee != NULL)
			p->foreseen = handler->foresee(handler->arg, r->handler_thread, &c->client, p->argc,
						       r->argv + p->argv);
		start += p->size;
	}
	c->batch = r->batch;
}

/* ---- requests that share a transaction ---- */

/* A connection of a batch, and what became of parsing its input. */
struct batch_member {
	struct connection *connection;
	enum parse_result parsed;
};

/* Adds the connection's requests that may share, in order; false if one may not, or there is no room. */
static bool
gather(struct reactor *r, struct connection *c, struct shared_request *shared, size_t *count, size_t *bytes)
{
	const struct request_handler *handler = &r->net->handler;
	if (c->batch != r->batch || !can_run(r, c))
		return false;
	for (unsigned i = c->parsed_first; i < c->parsed_end; i++) {
		struct parsed_request *p = &c->parsed[i];
		struct request request = request_of(r, c, p);
		*bytes += p->argument_bytes;
		if (*count == SHARED_REQUESTS_MAX || *bytes > SHARED_BYTES_MAX ||
		    !handler->may_share(handler->arg, r->handler_thread, &c->client, &request))
			return false;
		shared[(*count)++] = (struct shared_request){
			.client = &c->client, .reply = &c->output.writer, .request = request};
	}
	return true;
}

/* Settles what was executed together. */
static void
settle(struct reactor *r, const struct shared_request *shared, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct connection *c = shared[i].client->connection;
		if (c->closing || c->state != CONNECTION_OPEN || shared[i].result == REQUEST_LEFT)
			continue;
		c->ran++;
		if (shared[i].result == REQUEST_DONE)
			complete(r, c, shared[i].reply_end, shared[i].release);
		else
			park(r, c, &shared[i].request, shared[i].result);
	}
}

/* Runs requests from the first member's on, as far as consecutive ones may share a transaction. What is left is
 * for execute. */
static void
run_shared(struct reactor *r, const struct batch_member *members, size_t member_count)
{
	const struct request_handler *handler = &r->net->handler;
	struct shared_request shared[SHARED_REQUESTS_MAX];
	size_t count = 0, bytes = 0;
	if (handler->may_share == NULL)
		return;
	for (size_t i = 0; i < member_count; i++) {
		struct connection *c = members[i].connection;
		if (members[i].parsed != PARSE_REQUEST)
			continue;
		size_t before = count;
		bool all = gather(r, c, shared, &count, &bytes);
		if (count > before) {
			connection_show(c, c->parsed[c->parsed_first].argument_bytes, loop_wall_ms(r->loop));
			c->output.writer.protocol = c->client.protocol;
		}
		if (!all)
			break;
	}
	if (count > 1 && handler->execute_shared(handler->arg, r->handler_thread, shared, count))
		settle(r, shared, count);
}

/* Runs what was parsed, or does what became of parsing. `waiting` are those that have a turn in this tick. */
static void
run_connection(struct reactor *r, struct connection *c, enum parse_result parsed, struct list_link *waiting)
{
	switch (parsed) {
	case PARSE_REQUEST:
		for (; connection_has_parsed(c) && can_run(r, c); c->ran++)
			execute(r, c);
		break;
	case PARSE_MORE:
		if (connection_awaits_large(c) && run_large(r, c))
			return;
		connection_show(c, 0, loop_wall_ms(r->loop));
		reactor_account(r, c);
		await_input(r, c);
		return;
	case PARSE_ERROR:
		refuse_input(r, c);
		break;
	case PARSE_NO_MEMORY:
		errno = ENOMEM;
		read_failed(r, c);
		break;
	}
	if (c->closing)
		return;
	if (!connection_is_in_pool(c))
		reactor_account(r, c);
	if (!can_run(r, c))
		return;
	if (c->ran < REQUESTS_PER_TICK)
		list_append(waiting, &c->run_link);
	else
		reactor_queue_run(r, c);
}

static void
run_batch(struct reactor *r, struct list_link *waiting)
{
	struct batch_member batch[BATCH_CONNECTIONS];
	const struct request_handler *handler = &r->net->handler;
	uint64_t bulk_max = (uint64_t)__atomic_load_n(&r->net->config->proto_max_bulk_len, __ATOMIC_RELAXED);
	unsigned count = 0, requests = 0;
	struct list_link *link;
	r->argument_count = 0;
	while (count < BATCH_CONNECTIONS && requests < BATCH_REQUESTS &&
	       r->argument_count < BATCH_ARGUMENTS && (link = list_take_first(waiting)) != NULL) {
		struct connection *c = list_entry(link, struct connection, run_link);
		if (!can_run(r, c))
			continue;
		enum parse_result parsed = connection_parse(c, bulk_max);
		if (parsed == PARSE_REQUEST)
			look_ahead(r, c);
		requests += c->parsed_end - c->parsed_first;
		batch[count].connection = c;
		batch[count++].parsed = parsed;
	}
	if (requests > 0 && handler->fetch != NULL)
		handler->fetch(handler->arg, r->handler_thread);
	for (unsigned i = 0; i < count; i++) {
		if (batch[i].parsed == PARSE_REQUEST && connection_has_parsed(batch[i].connection))
			run_shared(r, &batch[i], count - i);
		run_connection(r, batch[i].connection, batch[i].parsed, waiting);
	}
	r->batch++;
}

void
reactor_run_requests(struct reactor *r)
{
	struct list_link ready, read;
	list_init(&ready);
	list_init(&read);
	list_splice(&ready, &r->runnable);
	struct list_link *link;
	while ((link = list_take_first(&ready)) != NULL) {
		struct connection *c = list_entry(link, struct connection, run_link);
		list_append(&read, link);
		c->ran = 0;
		if (c->readable || c->backlog.size > 0)
			read_input(r, c);
	}
	while (!list_is_empty(&read))
		run_batch(r, &read);
	if (r->argument_capacity > ARGUMENTS_KEPT) {
		free(r->argv);
		r->argv = NULL;
		r->argument_capacity = 0;
	}
}

void
reactor_retry_paused(struct reactor *r)
{
	struct list_link paused, *link;
	list_init(&paused);
	list_splice(&paused, &r->paused);
	r->argument_count = 0;
	while ((link = paused.next) != &paused) {
		struct connection *c = list_entry(link, struct connection, parked_link);
		leave_pause(r, c);
		if (!r->stopping)
			execute(r, c); /* may pause again: then it is on the reactor's list */
		if (c->closing || c->state != CONNECTION_OPEN)
			continue;
		reactor_update_watch(r, c);
		reactor_queue_run(r, c);
	}
}
