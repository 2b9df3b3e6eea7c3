/* One connection's bytes: in, parsed, out. Knows neither the reactor's phases nor the handler.
 *
 * Input. The socket is read straight into the buffer that requests are parsed from and that arguments point
 * into: nothing is copied on the way to the handler. What is left of a cut-off request moves to the buffer's
 * start before the next read. A big argument gets a buffer of exactly its need, and is read without the bytes
 * behind it, so nothing has to move when it is done.
 *
 * Requests are parsed a few at a time, so that what several of them need can be fetched at once before the
 * first one runs. What a request changes for the parser (AUTH: how long an argument may be) holds for those
 * parsed after it; those of a client that has not authenticated are parsed one by one.
 *
 * Invariants:
 * - input_start <= parse_start <= input_seen <= input_end <= input_capacity; the parser has seen the bytes
 *   before input_seen. Without parsed requests input_start is parse_start.
 * - More is read only when what is there holds no further complete request; so the buffer is bounded by one
 *   request and one chunk, and never moves while there are parsed requests, of which the first may be with
 *   the handler or the pool.
 * - While the connection is throttled the socket is read into the backlog, which is read before the socket
 *   afterwards: bytes keep their order. */
#include "net/connection.h"

#include <assert.h>
#include <errno.h>

#include "acl/user.h"
#include "net/upload.h"

enum {
	ARGUMENTS_INITIAL = 16,
	ARGUMENTS_KEEP = 64,            /* larger arrays are freed when idle */
	OUTPUT_KEEP = 1024,             /* an idle client keeps output buffers up to this size */
	PIECE_KEEP = 64 * 1024,         /* bytes of a source whose next piece is not at hand */
	INPUT_GROWTH_MAX = 1024 * 1024, /* most bytes added at once for small arguments */
};

struct connection *
connection_create(struct transport transport)
{
	struct connection *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	resp_parser_init(&c->parser);
	c->arguments = malloc(ARGUMENTS_INITIAL * sizeof(c->arguments[0]));
	if (c->arguments == NULL) {
		free(c);
		return NULL;
	}
	c->argument_capacity = ARGUMENTS_INITIAL;
	output_init(&c->output);
	resp_writer_init(&c->pool.reply, 2);
	resp_writer_init(&c->pushes, 2);
	c->client.connection = c;
	c->transport = transport;
	c->client.fd = transport.fd;
	c->client.protocol = 2;
	c->client.multi_count = UINT32_MAX;
	c->writable = true;
	return c;
}

void
connection_destroy(struct connection *c)
{
	transport_close(&c->transport);
	free(c->input);
	free(c->arguments);
	free(c->pool.argv);
	resp_writer_free(&c->pool.reply);
	resp_writer_free(&c->pushes);
	output_streams_free(c->client.reply_streams);
	argument_bodies_free(c->client.argument_bodies);
	upload_free(c->upload);
	backlog_free(&c->backlog);
	resp_writer_free(&c->piece.bytes);
	free(c->piece.failure);
	output_free(&c->output);
	buffer_free(&c->client.name);
	acl_user_release(c->client.user);
	free(c);
}

/* Moves the unconsumed bytes to the front. */
static void
close_gap(struct connection *c)
{
	size_t left = c->input_end - c->input_start;
	if (c->input_start == 0)
		return;
	if (left > 0)
		memmove(c->input, c->input + c->input_start, left);
	c->input_seen -= c->input_start;
	c->parse_start -= c->input_start;
	c->input_end = left;
	c->input_start = 0;
}

/* Makes room for what is to be read next and says how much that is; 0 if out of memory. */
static size_t
make_room(struct connection *c)
{
	close_gap(c);
	bool big = c->request_started && c->parser.state == RESP_STATE_BULK &&
		c->parser.bulk_size >= INPUT_BIG_ARGUMENT;
	size_t want = big ? c->input_wanted : INPUT_CHUNK;
	if (want < c->input_wanted)
		want = c->input_wanted;
	if (c->input_capacity - c->input_end >= want)
		return big ? want : c->input_capacity - c->input_end;
	size_t capacity = c->input_end + want;
	if (!big) {
		size_t extra = c->input_end < INPUT_GROWTH_MAX ? c->input_end : INPUT_GROWTH_MAX;
		capacity += extra;
		if (capacity < INPUT_INITIAL)
			capacity = INPUT_INITIAL;
	}
	uint8_t *input = realloc(c->input, capacity);
	if (input == NULL)
		return 0;
	c->input = input;
	c->input_capacity = capacity;
	return big ? want : capacity - c->input_end;
}

/* What a failed read of the socket means. */
static enum input_result
read_error(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? INPUT_NOTHING : INPUT_ERROR;
}

bool
connection_reserve_input(struct connection *c, size_t extra)
{
	if (c->input_capacity - c->input_end >= extra)
		return true;
	uint8_t *input = realloc(c->input, c->input_end + extra);
	if (input == NULL)
		return false;
	c->input = input;
	c->input_capacity = c->input_end + extra;
	return true;
}

enum input_result
connection_receive(struct connection *c, void *to, size_t room, size_t *ret_size)
{
	if (__builtin_expect(c->backlog.size > 0, 0)) {
		*ret_size = backlog_take(&c->backlog, to, room);
		return INPUT_OK;
	}
	ssize_t got = transport_receive(&c->transport, to, room);
	if (got == 0)
		return INPUT_END;
	if (got < 0)
		return read_error();
	*ret_size = (size_t)got;
	return INPUT_OK;
}

enum input_result
connection_receive_ahead(struct connection *c, size_t *ret_size)
{
	ssize_t got = backlog_receive(&c->backlog, &c->transport);
	if (got < 0)
		return read_error();
	if (got == 0) {
		c->backlog_ended = true;
		return INPUT_NOTHING; /* the end is met again once all before it was read */
	}
	*ret_size = (size_t)got;
	return INPUT_OK;
}

enum input_result
connection_read(struct connection *c, uint64_t limit, size_t *ret_size)
{
	size_t room = make_room(c);
	if (room == 0) {
		errno = ENOMEM;
		return INPUT_ERROR;
	}
	size_t got;
	enum input_result result = connection_receive(c, c->input + c->input_end, room, &got);
	if (result != INPUT_OK)
		return result;
	c->input_end += got;
	if (c->input_end > c->input_peak)
		c->input_peak = c->input_end;
	c->input_wanted = c->input_wanted > got ? c->input_wanted - got : 0;
	if (c->input_end > limit) {
		errno = EMSGSIZE;
		return INPUT_ERROR;
	}
	*ret_size = got;
	return INPUT_OK;
}

/* Gives the parser, which is behind the arguments of the parsed requests, more room. */
static bool
grow_arguments(struct connection *c)
{
	size_t needed = c->parser.arguments_needed;
	if (needed > SIZE_MAX / sizeof(c->arguments[0]) - c->argument_count)
		return false;
	needed += c->argument_count;
	struct resp_argument *arguments = realloc(c->arguments, needed * sizeof(c->arguments[0]));
	if (arguments == NULL)
		return false;
	c->arguments = arguments;
	c->argument_capacity = needed;
	return true;
}

/* The request in progress needs more bytes. For a big argument the buffer is made now, not when its bytes
 * arrive, unless requests are in front of it: then the parser is asked once more behind them. For one that
 * may go to the value log, it is made when it turns out that it does not. */
static enum parse_result
await_more(struct connection *c)
{
	c->input_wanted = c->parser.missing;
	if (connection_has_parsed(c))
		return PARSE_REQUEST;
	c->input_seen = c->input_end;
	if (c->parser.state == RESP_STATE_BULK && c->parser.bulk_size >= INPUT_BIG_ARGUMENT &&
	    !connection_awaits_large(c) && make_room(c) == 0)
		return PARSE_NO_MEMORY;
	return PARSE_MORE;
}

/* Puts the request that the parser has complete behind the others. */
static void
keep_request(struct connection *c)
{
	struct resp_parser *parser = &c->parser;
	c->input_wanted = 0;
	c->request_started = false;
	c->parse_start += parser->consumed;
	c->input_seen = c->parse_start;
	if (parser->argc > 0) {
		c->parsed[c->parsed_end++] = (struct parsed_request){
			.argc = parser->argc, .first_argument = c->argument_count, .size = parser->consumed};
		c->argument_count += parser->argc;
	} else if (connection_has_parsed(c)) {
		c->parsed[c->parsed_end - 1].size += parser->consumed;
	} else {
		c->input_start = c->parse_start;
	}
}

static bool
may_parse_ahead(const struct connection *c)
{
	if (!connection_has_parsed(c))
		return true;
	return c->parsed_end < PARSED_MAX && c->argument_count < PARSED_ARGUMENTS_MAX &&
		c->client.authenticated;
}

/* Nothing is parsed and nothing is left: the buffer is used from its start again. */
static void
rewind_input(struct connection *c)
{
	if (c->input_start == c->input_end)
		c->input_start = c->parse_start = c->input_end = c->input_seen = 0;
}

static enum parse_result
parse_requests(struct connection *c)
{
	struct resp_parser *parser = &c->parser;
	while (may_parse_ahead(c) && c->parse_start < c->input_end) {
		c->request_started = true;
		parser->arguments = c->arguments + c->argument_count;
		parser->argument_capacity = c->argument_capacity - c->argument_count;
		switch (resp_parse(parser, c->input + c->parse_start, c->input_end - c->parse_start)) {
		case RESP_NEED_MORE:
			return await_more(c);
		case RESP_NEED_ARGUMENTS:
			if (!grow_arguments(c))
				return connection_has_parsed(c) ? PARSE_REQUEST : PARSE_NO_MEMORY;
			break;
		case RESP_ERROR:
			c->parse_failed = true;
			return connection_has_parsed(c) ? PARSE_REQUEST : PARSE_ERROR;
		case RESP_REQUEST:
			keep_request(c);
			break;
		}
	}
	if (connection_has_parsed(c))
		return PARSE_REQUEST;
	rewind_input(c);
	return PARSE_MORE;
}

enum parse_result
connection_parse(struct connection *c, uint64_t bulk_max)
{
	if (connection_has_parsed(c))
		return PARSE_REQUEST;
	enum parse_result result = c->parse_failed ? PARSE_ERROR : PARSE_MORE;
	if (!c->parse_failed && c->input_end > c->input_seen) {
		c->parser.bulk_max = bulk_max;
		c->parser.unauthenticated = !c->client.authenticated;
		result = parse_requests(c);
	}
	if (result == PARSE_ERROR) {
		c->parse_failed = false;
		c->input_broken = true;
	}
	return result;
}

size_t
connection_arguments(const struct connection *c, const struct parsed_request *request, size_t start,
		     struct bytes *argv)
{
	const struct resp_argument *arguments = c->arguments + request->first_argument;
	size_t sum = 0;
	for (size_t i = 0; i < request->argc; i++) {
		argv[i] = bytes_of(c->input + start + arguments[i].offset, arguments[i].size);
		sum += arguments[i].size;
	}
	return sum;
}

void
connection_consume_last(struct connection *c)
{
	c->parsed_first = c->parsed_end = 0;
	if (c->request_started && c->argument_count > 0 && c->parser.argc > 0)
		memmove(c->arguments, c->arguments + c->argument_count,
			c->parser.argc * sizeof(c->arguments[0]));
	c->argument_count = 0;
	rewind_input(c);
}

/* One send; `ret_size` of the bytes have left. False if the socket is broken. */
static bool
send_bytes(struct connection *c, const uint8_t *data, size_t size, size_t *ret_size)
{
	ssize_t sent = transport_send(&c->transport, data, size);
	*ret_size = 0;
	if (sent < 0) {
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return false;
		c->writable = false;
		return true;
	}
	c->writable = (size_t)sent == size;
	*ret_size = (size_t)sent;
	return true;
}

static bool
send_text(struct connection *c, size_t *ret_size)
{
	size_t size = output_sendable(&c->output);
	*ret_size = 0;
	if (size == 0)
		return true;
	if (!send_bytes(c, c->output.writer.data + c->output.sent, size, ret_size))
		return false;
	if (*ret_size > 0)
		output_consume(&c->output, *ret_size);
	return true;
}

void
connection_finish_piece(struct connection *c)
{
	struct piece *p = &c->piece;
	assert(p->start == p->bytes.size && c->output.streams != NULL);
	if (p->is_last)
		output_finish_stream(&c->output);
	if (c->output.streams == NULL) {
		resp_writer_free(&p->bytes);
		*p = (struct piece){0};
	}
}

static bool
send_piece(struct connection *c, size_t *ret_size)
{
	struct piece *p = &c->piece;
	if (!send_bytes(c, p->bytes.data + p->start, p->bytes.size - p->start, ret_size))
		return false;
	p->start += *ret_size;
	if (p->start == p->bytes.size)
		connection_finish_piece(c);
	return true;
}

/* Text and sources in turn, until the socket is full or a piece has to be made. Each round but the last sends all of
 * the text before a source, or all of a piece. */
static bool
send_streams(struct connection *c, size_t *ret_size)
{
	size_t size;
	do {
		bool has_piece = c->piece.start < c->piece.bytes.size;
		if (!(has_piece ? send_piece(c, &size) : send_text(c, &size)))
			return false;
		*ret_size += size;
	} while (size > 0 && c->writable);
	return true;
}

bool
connection_send(struct connection *c, size_t *ret_size)
{
	*ret_size = 0;
	if (__builtin_expect(c->output.streams != NULL, 0))
		return c->state == CONNECTION_READING || send_streams(c, ret_size);
	return send_text(c, ret_size);
}

/* Gives the input buffer `capacity` bytes, or as many as it holds. */
static void
resize_input(struct connection *c, size_t capacity)
{
	close_gap(c);
	if (capacity < c->input_end)
		capacity = c->input_end;
	if (capacity >= c->input_capacity)
		return;
	if (capacity == 0) {
		free(c->input);
		c->input = NULL;
		c->input_capacity = 0;
		return;
	}
	uint8_t *input = realloc(c->input, capacity);
	if (input == NULL)
		return;
	c->input = input;
	c->input_capacity = capacity;
}

static void
shrink_arguments(struct connection *c)
{
	free(c->pool.argv);
	c->pool.argv = NULL;
	c->pool.argument_capacity = 0;
	if (c->request_started || c->argument_capacity <= ARGUMENTS_KEEP)
		return;
	struct resp_argument *arguments = realloc(c->arguments, ARGUMENTS_INITIAL * sizeof(c->arguments[0]));
	if (arguments == NULL)
		return;
	c->arguments = arguments;
	c->argument_capacity = ARGUMENTS_INITIAL;
}

/* A source that goes on for as long as the connection does, as a replica's stream, has left a large piece once: such a
 * client is never idle. */
static void
shrink_piece(struct connection *c)
{
	struct piece *p = &c->piece;
	if (c->state == CONNECTION_OPEN && p->start == p->bytes.size && p->bytes.capacity > PIECE_KEEP) {
		resp_writer_free(&p->bytes);
		p->start = 0;
	}
}

void
connection_shrink(struct connection *c, bool idle)
{
	if (connection_has_parsed(c))
		return; /* they point into the buffers */
	shrink_piece(c);
	size_t peak = c->input_peak;
	c->input_peak = c->input_end - c->input_start;
	if (idle) {
		resize_input(c, 0);
		output_shrink(&c->output, OUTPUT_KEEP);
		if (c->pool.reply.capacity > 0)
			resp_writer_free(&c->pool.reply);
		shrink_arguments(c);
	} else if (c->input_capacity > INPUT_BIG_ARGUMENT && c->input_capacity / 2 > peak &&
		   c->input_wanted == 0) {
		resize_input(c, INPUT_INITIAL);
	}
}

uint64_t
connection_unsent(const struct connection *c)
{
	uint64_t unsent =
		output_pending(&c->output) + c->pushes.size + (c->piece.bytes.size - c->piece.start);
	for (const struct output_stream *s = c->output.streams; s != NULL; s = s->next)
		unsent += s->source->remaining;
	return unsent;
}

size_t
connection_memory(const struct connection *c)
{
	return sizeof(*c) + c->transport.memory + c->input_capacity + backlog_memory(&c->backlog) +
		c->output.writer.capacity + c->piece.bytes.capacity + c->pushes.capacity +
		(c->upload != NULL ? sizeof(*c->upload) : 0) +
		c->argument_capacity * sizeof(c->arguments[0]) + client_kept_bytes(&c->client);
}

/* Of a request whose large argument is arriving: the bytes in front of that, which Redis counts as arguments, not as
 * its query buffer. */
static size_t
input_before_large(const struct connection *c, size_t *argument_bytes)
{
	if (connection_has_parsed(c) || c->parser.state != RESP_STATE_BULK ||
	    c->parser.bulk_size < INPUT_BIG_ARGUMENT)
		return 0;
	for (size_t i = 0; i < c->parser.argc; i++)
		*argument_bytes += c->arguments[c->argument_count + i].size;
	return c->parse_start + c->parser.position - c->input_start;
}

void
connection_show(struct connection *c, size_t argument_bytes, uint64_t now_ms)
{
	struct client *client = &c->client;
	size_t before = input_before_large(c, &argument_bytes);
	assert(before <= connection_waiting_input(c));
	__atomic_store_n(&client->query_buffer_bytes, connection_waiting_input(c) - before, __ATOMIC_RELAXED);
	__atomic_store_n(&client->query_buffer_free, c->input_capacity - c->input_end, __ATOMIC_RELAXED);
	__atomic_store_n(&client->output_bytes, output_pending(&c->output), __ATOMIC_RELAXED);
	__atomic_store_n(&client->argument_bytes, argument_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&client->last_active_ms, now_ms, __ATOMIC_RELAXED);
}
