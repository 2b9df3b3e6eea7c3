/* A reactor's requests: reading, batches, execution.
 *
 * Batches. Before the first request of a batch runs, all are parsed and shown to the handler, which prefetches the
 * memory that they need: a short command spends most of its time waiting for memory, if it fetches one thing after
 * the other.
 *
 * Order. A connection runs one request at a time, in the order they came; while one is parked (parked.c), no later
 * one runs. Its bytes stay in the input buffer, which does not move meanwhile, so arguments that the pool uses point
 * into it, too. */
#include "net/requests.h"

#include <assert.h>
#include <errno.h>

#include "config/config.h"
#include "net/bodies.h"
#include "net/connections.h"
#include "net/eviction.h"
#include "net/parked.h"
#include "net/reactor_private.h"
#include "net/replies.h"
#include "net/slow_reader.h"
#include "net/upload.h"

enum {
	ARGUMENTS_FIRST = 64,
	ARGUMENTS_KEPT = 65536,   /* slots of the reactor's array between ticks */
	REQUESTS_PER_TICK = 1000, /* of one connection; then the others get their turn */
	/* About as many are looked at before the first of them runs. More share more of what a commit costs; with many more the
	 * first lines that were prefetched leave the cache before they are used. */
	BATCH_REQUESTS = 112,
	BATCH_CONNECTIONS = 64,
	BATCH_ARGUMENTS = 512,          /* likewise */
	SHARED_BYTES_MAX = 1024 * 1024, /* arguments of requests that share a transaction */
};

/* ---- reading ---- */

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
	if (!connections_want_input(r, c) || (!c->throttled && connection_has_input(c)))
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
		if (__builtin_expect(c->transport.receive_awaits_out, 0)) {
			c->writable = false;
			connections_update_watch(r, c);
		}
		break;
	case INPUT_END:
		c->input_ended = true;
		if (c->client.is_replica) {
			/* What it is sent has no end. */
			connections_close(r, c);
			break;
		}
		connections_update_watch(r, c);
		connections_queue_send(r, c);
		break;
	case INPUT_ERROR:
		connections_input_failed(r, c);
		break;
	}
	if (__builtin_expect(transport_pending(&c->transport) > 0, 0))
		c->readable = true; /* no event will report these bytes */
	if (__builtin_expect(c->throttled, 0))
		slow_reader_received(r, c);
}

/* ---- one request ---- */

/* Appends the arguments of a request to the reactor's; its bytes begin at `start` of the input. */
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
		.argc = p->argc, .argv = r->argv + p->argv, .foreseen = p->foreseen, .overdue = c->overdue};
}

/* The next request has been answered. */
static void
complete(struct reactor *r, struct connection *c, size_t reply_end, uint64_t release)
{
	parked_request_succeeded(r, c);
	replies_finish_request(r, c, c->output.base, reply_end, release);
	if (__builtin_expect(c->client.pause_ns != 0, 0))
		park_slowed(r, c);
}

/* As in Redis, a client that publishes to itself is told before it is answered: what is said by now comes before the reply,
 * which begins at `start` of the output. False: the connection closes. */
static bool
tell_before_reply(struct reactor *r, struct connection *c, size_t start)
{
	const struct request_handler *handler = &r->net->handler;
	struct resp_writer *w = &c->output.writer;
	if (w->failed || c->client.reply_streams != NULL || !handler->has_news(handler->arg, r->index))
		return true;
	struct resp_writer reply;
	resp_writer_init(&reply, w->protocol);
	resp_raw(&reply, w->data + start, w->size - start);
	if (!reply.failed) {
		resp_truncate(w, start);
		c->reply_is_held = true;
		handler->deliver(handler->arg, r->index);
		c->reply_is_held = false;
		resp_raw(w, reply.data, reply.size);
	}
	resp_writer_free(&reply);
	return !c->closing;
}

/* Runs the next request. */
static void
execute(struct reactor *r, struct connection *c)
{
	struct net *net = r->net;
	struct parsed_request *p = connection_next(c);
	assert(c->state == CONNECTION_OPEN && !c->closing);
	if (c->batch != r->batch && !collect_arguments(r, c, p, c->input_start)) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Out of memory for a request");
		connections_close(r, c);
		return;
	}
	struct request request = request_of(r, c, p);
	connection_show(c, p->argument_bytes, loop_wall_ms(r->loop));
	if (__builtin_expect(client_is_told(&c->client), 0)) {
		net->handler.deliver(net->handler.arg, r->index);
		if (c->closing || c->throttled)
			return;
	}
	size_t before = c->output.writer.size;
	uint64_t release = 0;
	c->client.request++;
	c->output.writer.protocol = c->client.protocol;
	enum request_result result = net->handler.execute(net->handler.arg, r->handler_thread, &c->client,
							  &request, &c->output.writer, &release);
	if (result == REQUEST_DONE) {
		if (__builtin_expect(client_is_subscribed(&c->client), 0) && !tell_before_reply(r, c, before))
			return;
		complete(r, c, c->output.writer.size, release);
		return;
	}
	if (!c->output.writer.failed)
		resp_truncate(&c->output.writer, before);
	park_request(r, c, &request, result);
}

/* Answers malformed input; the connection closes once that has left. */
static void
refuse_input(struct reactor *r, struct connection *c)
{
	assert(c->parser.error != NULL && !c->closing);
	log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Protocol error (%s) from client: id=%llu addr=%s",
			c->parser.error, (unsigned long long)c->client.id, c->client.address);
	resp_error_format(&c->output.writer, "ERR %s", c->parser.error);
	output_stamp_free(&c->output);
	connections_queue_send(r, c);
}

/* ---- large arguments ---- */

/* Begins the upload of the argument that the parser is in. False if its bytes go to the input buffer like others:
 * it has to be in memory, or there is no memory for the upload. */
static bool
begin_upload(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	struct parsed_request begun = {.argc = c->parser.argc, .first_argument = c->argument_count};
	if (handler->large_argument == NULL || eviction_awaits(r->net, c, c->parser.bulk_size) ||
	    !collect_arguments(r, c, &begun, c->parse_start))
		return false;
	enum argument_way way =
		handler->large_argument(handler->arg, &c->client, begun.argc, r->argv + begun.argv,
					begun.argc + c->parser.remaining, c->parser.bulk_size);
	return way != ARGUMENT_WHOLE && bodies_begin(r, c, way == ARGUMENT_DROPPED);
}

/* The parser waits in a large argument. False if its bytes go to the input buffer like others. */
static bool
run_large(struct reactor *r, struct connection *c)
{
	if (c->upload == NULL && !begin_upload(r, c))
		return false;
	bodies_advance(r, c);
	return true;
}

/* ---- batches ---- */

/* Parks the connection if its next request waits for its turn: to foresee what is behind it would be in vain. */
static bool
parks_for_turn(struct reactor *r, struct connection *c, const struct parsed_request *p)
{
	const struct request_handler *handler = &r->net->handler;
	if (p->foreseen == 0 || handler->waits_for_turn == NULL || c->overdue)
		return false;
	struct request request = request_of(r, c, p);
	if (!handler->waits_for_turn(handler->arg, r->handler_thread, &c->client, &request))
		return false;
	park_request(r, c, &request, REQUEST_TURN);
	connections_account(r, c);
	return true;
}

/* Shows the handler what the connection is about to run. False: it is parked. */
static bool
look_ahead(struct reactor *r, struct connection *c)
{
	const struct request_handler *handler = &r->net->handler;
	size_t start = c->input_start;
	for (unsigned i = c->parsed_first; i < c->parsed_end; i++) {
		struct parsed_request *p = &c->parsed[i];
		if (!collect_arguments(r, c, p, start))
			return true;
		if (handler->foresee != NULL)
			p->foreseen = handler->foresee(handler->arg, r->handler_thread, &c->client, p->argc,
						       r->argv + p->argv);
		if (i == c->parsed_first && parks_for_turn(r, c, p))
			return false;
		start += p->size;
	}
	c->batch = r->batch;
	return true;
}

/* ---- requests that share a transaction ---- */

/* A connection of a batch, and the outcome of parsing its input. */
struct batch_member {
	struct connection *connection;
	enum parse_result parsed;
};

/* Adds the connection's requests that may share, in order; false if one may not, or there is no room. */
static bool
gather(struct reactor *r, struct connection *c, struct shared_request *shared, size_t *count, size_t *bytes)
{
	const struct request_handler *handler = &r->net->handler;
	if (c->batch != r->batch || !connections_can_run(r, c))
		return false;
	for (unsigned i = c->parsed_first; i < c->parsed_end; i++) {
		struct parsed_request *p = &c->parsed[i];
		struct request request = request_of(r, c, p);
		*bytes += p->argument_bytes;
		if (*count == SHARED_REQUESTS_MAX || *bytes > SHARED_BYTES_MAX ||
		    !handler->may_share(handler->arg, r->handler_thread, &c->client, &request, *count == 0))
			return false;
		shared[(*count)++] = (struct shared_request){
			.client = &c->client, .reply = &c->output.writer, .request = request};
	}
	return true;
}

/* Settles what was executed together for one connection, which comes first. Returns how many requests are its own. */
static size_t
settle_connection(struct reactor *r, const struct shared_request *shared, size_t count)
{
	struct connection *c = shared[0].client->connection;
	size_t own = 0;
	assert(count > 0);
	if (c->closing || c->state != CONNECTION_OPEN)
		return 1;
	for (; own < count && shared[own].client == &c->client && shared[own].result == REQUEST_DONE; own++) {
		parked_request_succeeded(r, c);
		replies_add_shared(r, c, shared[own].reply_end, shared[own].release);
	}
	c->ran += (unsigned)own;
	if (own > 0)
		replies_finish_shared(r, c, own);
	/* What is behind one that waits is left. */
	bool waits = own < count && shared[own].client == &c->client;
	if (waits && shared[own].result != REQUEST_LEFT && !c->closing) {
		c->ran++;
		c->client.pause_ns = 0; /* it waits anyway */
		park_request(r, c, &shared[own].request, shared[own].result);
	} else if (__builtin_expect(c->client.pause_ns != 0, 0)) {
		park_slowed(r, c);
	}
	return waits ? own + 1 : own;
}

/* Runs requests beginning with the first member's, as far as consecutive ones may share a transaction. execute
 * runs the remaining ones. */
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
		for (size_t i = 0; i < count;)
			i += settle_connection(r, shared + i, count - i);
}

/* ---- the run phase of a tick ---- */

/* Runs what was parsed, or handles the outcome of parsing. `waiting` are connections that run again in this
 * tick. */
static void
run_connection(struct reactor *r, struct connection *c, enum parse_result parsed, struct list_link *waiting)
{
	switch (parsed) {
	case PARSE_REQUEST:
		for (; connection_has_parsed(c) && connections_can_run(r, c); c->ran++)
			execute(r, c);
		break;
	case PARSE_MORE:
		if (connection_awaits_large(c) && run_large(r, c))
			return;
		connections_rest(r, c);
		return;
	case PARSE_ERROR:
		refuse_input(r, c);
		break;
	case PARSE_NO_MEMORY:
		errno = ENOMEM;
		connections_input_failed(r, c);
		break;
	}
	if (c->closing)
		return;
	if (!connection_is_in_pool(c))
		connections_account(r, c);
	if (!connections_can_run(r, c))
		return;
	if (c->ran < REQUESTS_PER_TICK)
		list_append(waiting, &c->run_link);
	else
		connections_queue_run(r, c);
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
		if (!connections_can_run(r, c) || parked_waits_on(r, c))
			continue;
		enum parse_result parsed = connection_parse(c, bulk_max);
		if (parsed == PARSE_REQUEST && !look_ahead(r, c))
			continue;
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
requests_run(struct reactor *r)
{
	struct list_link ready, read;
	r->parked.refused = 0;
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
