/*
 * The reply reader: lines and bulk bytes in, visitor calls out.
 *
 *	LINE   the next thing is a line: a scalar, or the header of a bulk or collection
 *	BULK   bulk_left bytes, then a line end, belong to a bulk (or to one chunk of a streamed one)
 *	CHUNK  a streamed bulk: the next thing is a ";size" line
 *
 * Invariants:
 *  1. Bytes are consumed by whole lines, or as bulk bytes; what is not consumed is at most one line.
 *  2. frames[0 .. depth) are the open collections, none of them complete: one that has got its last element
 *     is closed at once, and counts as an element of the one around it (attributes excepted: they only
 *     precede one).
 *  3. Counts and sizes are compared with what arrives and allocate nothing, so a hostile one costs nothing.
 *
 * The protocol: https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md, with its
 * streamed strings and collections.
 */
#include "resp/reply_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_LINE, STATE_BULK, STATE_CHUNK, STATE_FAILED };

/* Elements of one collection: more than any server can mean. */
#define COUNT_MAX (INT64_MAX / 4)

/* Internal outcome of a step, beside the results of feed. */
#define GO_ON (-1)

void
resp_reader_init(struct resp_reply_reader *reader, const struct resp_visitor *visitor)
{
	memset(reader, 0, offsetof(struct resp_reply_reader, frames));
	reader->visitor = visitor;
	reader->state = STATE_LINE;
}

static int
fail(struct resp_reply_reader *reader, const char *error)
{
	reader->state = STATE_FAILED;
	reader->error = error;
	return RESP_READER_ERROR;
}

/* Turns a visitor's answer into the outcome of a step. */
static int
visited(struct resp_reply_reader *reader, int answer)
{
	if (answer == 0)
		return GO_ON;
	reader->state = STATE_FAILED;
	reader->stop_reason = answer;
	return RESP_READER_STOPPED;
}

static int
visit_open(struct resp_reply_reader *reader, enum resp_reply_type type, int64_t count)
{
	const struct resp_visitor *v = reader->visitor;

	return visited(reader, v->open != NULL ? v->open(v->context, type, count) : 0);
}

static int
visit_close(struct resp_reply_reader *reader, enum resp_reply_type type)
{
	const struct resp_visitor *v = reader->visitor;

	return visited(reader, v->close != NULL ? v->close(v->context, type) : 0);
}

/* "12", "-12", "+12". */
static bool
parse_integer(const uint8_t *text, size_t size, int64_t *ret_value)
{
	bool negative = size > 0 && text[0] == '-';
	size_t i = size > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
	uint64_t value = 0;

	if (i == size)
		return false;
	for (; i < size; i++) {
		uint8_t digit = (uint8_t)(text[i] - '0');
		if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (value > (uint64_t)INT64_MAX + negative)
		return false;
	*ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

static bool
text_is(const uint8_t *text, size_t size, const char *word)
{
	return size == strlen(word) && memcmp(text, word, size) == 0;
}

static bool
parse_double(const uint8_t *text, size_t size, double *ret_value)
{
	/* The longest exact decimal of a double needs under 800 bytes; more is no number that a server
	 * writes. */
	char copy[1100];
	char *end;

	if (text_is(text, size, "inf") || text_is(text, size, "+inf")) {
		*ret_value = INFINITY;
		return true;
	}
	if (text_is(text, size, "-inf")) {
		*ret_value = -INFINITY;
		return true;
	}
	if (text_is(text, size, "nan") || text_is(text, size, "-nan")) {
		*ret_value = NAN;
		return true;
	}
	if (size == 0 || size >= sizeof(copy))
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (strspn(copy, "0123456789+-.eE") != size)
		return false;
	*ret_value = strtod(copy, &end);
	return end == copy + size;
}

static bool
is_big_number(const uint8_t *text, size_t size)
{
	size_t i = size > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;

	if (i == size)
		return false;
	for (; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return true;
}

/* An element is complete: counts it, and closes every collection that it completes. */
static int
element_done(struct resp_reply_reader *reader)
{
	while (reader->depth > 0) {
		struct resp_reader_frame *frame = &reader->frames[reader->depth - 1];
		int outcome;

		if (frame->remaining < 0) {
			frame->odd = !frame->odd;
			return GO_ON;
		}
		if (frame->remaining > 0)
			frame->remaining--;
		if (frame->remaining > 0)
			return GO_ON;
		reader->depth--;
		outcome = visit_close(reader, frame->type);
		if (outcome != GO_ON || frame->type == RESP_REPLY_ATTRIBUTE)
			return outcome;
	}
	return RESP_READER_REPLY;
}

static int
scalar_done(struct resp_reply_reader *reader, const struct resp_scalar *scalar)
{
	const struct resp_visitor *v = reader->visitor;
	int outcome = visited(reader, v->scalar != NULL ? v->scalar(v->context, scalar) : 0);

	return outcome == GO_ON ? element_done(reader) : outcome;
}

static int
take_scalar(struct resp_reply_reader *reader, uint8_t type, const uint8_t *text, size_t size)
{
	struct resp_scalar scalar = {.type = type, .header = type, .text = text, .size = size};

	switch (type) {
	case RESP_REPLY_INTEGER:
		if (!parse_integer(text, size, &scalar.integer))
			return fail(reader, "invalid integer");
		break;
	case RESP_REPLY_NULL:
		if (size != 0)
			return fail(reader, "invalid null");
		break;
	case RESP_REPLY_BOOLEAN:
		if (!text_is(text, size, "t") && !text_is(text, size, "f"))
			return fail(reader, "invalid boolean");
		scalar.integer = text[0] == 't';
		break;
	case RESP_REPLY_DOUBLE:
		if (!parse_double(text, size, &scalar.number))
			return fail(reader, "invalid double");
		break;
	case RESP_REPLY_BIG_NUMBER:
		if (!is_big_number(text, size))
			return fail(reader, "invalid big number");
		break;
	default: /* status and error: any text */
		break;
	}
	return scalar_done(reader, &scalar);
}

static int
take_null(struct resp_reply_reader *reader, uint8_t header, const uint8_t *text, size_t size)
{
	struct resp_scalar scalar = {.type = RESP_REPLY_NULL, .header = header, .text = text, .size = size};

	return scalar_done(reader, &scalar);
}

static int
take_bulk(struct resp_reply_reader *reader, uint8_t type, const uint8_t *text, size_t size)
{
	const struct resp_visitor *v = reader->visitor;
	int64_t length = RESP_REPLY_UNKNOWN;
	bool streamed = type == RESP_REPLY_BULK && text_is(text, size, "?");

	if (type == RESP_REPLY_BULK && text_is(text, size, "-1"))
		return take_null(reader, type, text, size);
	if (!streamed && (!parse_integer(text, size, &length) || length < 0))
		return fail(reader, "invalid bulk length");
	if (type == RESP_REPLY_VERBATIM && length < 4)
		return fail(reader, "invalid verbatim length");
	reader->bulk_type = type;
	reader->bulk_streamed = streamed;
	reader->bulk_left = streamed ? 0 : (uint64_t)length;
	reader->state = streamed ? STATE_CHUNK : STATE_BULK;
	return visited(reader, v->bulk_begin != NULL ? v->bulk_begin(v->context, type, length) : 0);
}

static int
take_collection(struct resp_reply_reader *reader, uint8_t type, const uint8_t *text, size_t size)
{
	int64_t count = RESP_REPLY_UNKNOWN;
	bool streamed = text_is(text, size, "?") && type != RESP_REPLY_PUSH;
	bool pairs = type == RESP_REPLY_MAP || type == RESP_REPLY_ATTRIBUTE;
	int outcome;

	if (type == RESP_REPLY_ARRAY && text_is(text, size, "-1"))
		return take_null(reader, type, text, size);
	if (!streamed && (!parse_integer(text, size, &count) || count < 0 || count > COUNT_MAX))
		return fail(reader, "invalid count");
	if (type == RESP_REPLY_PUSH && reader->depth > 0)
		return fail(reader, "push inside a reply");
	if (reader->depth == RESP_REPLY_DEPTH_MAX)
		return fail(reader, "nested too deeply");
	outcome = visit_open(reader, type, count);
	if (outcome != GO_ON)
		return outcome;
	if (count == 0) {
		outcome = visit_close(reader, type);
		if (outcome != GO_ON || type == RESP_REPLY_ATTRIBUTE)
			return outcome;
		return element_done(reader);
	}
	reader->frames[reader->depth++] = (struct resp_reader_frame){
		.remaining = streamed ? -1 : count * (pairs ? 2 : 1), .type = type};
	return GO_ON;
}

/* The "." line that ends a streamed collection. */
static int
take_end(struct resp_reply_reader *reader, size_t size)
{
	struct resp_reader_frame *frame = reader->depth > 0 ? &reader->frames[reader->depth - 1] : NULL;
	bool pairs;
	int outcome;

	if (size != 0 || frame == NULL || frame->remaining >= 0)
		return fail(reader, "unexpected end of a collection");
	pairs = frame->type == RESP_REPLY_MAP || frame->type == RESP_REPLY_ATTRIBUTE;
	if (pairs && frame->odd)
		return fail(reader, "a key without its value");
	reader->depth--;
	outcome = visit_close(reader, frame->type);
	if (outcome != GO_ON || frame->type == RESP_REPLY_ATTRIBUTE)
		return outcome;
	return element_done(reader);
}

static int
take_line(struct resp_reply_reader *reader, const uint8_t *line, size_t size)
{
	if (size == 0)
		return fail(reader, "empty line");
	switch (line[0]) {
	case RESP_REPLY_STATUS:
	case RESP_REPLY_ERROR:
	case RESP_REPLY_INTEGER:
	case RESP_REPLY_NULL:
	case RESP_REPLY_DOUBLE:
	case RESP_REPLY_BOOLEAN:
	case RESP_REPLY_BIG_NUMBER:
		return take_scalar(reader, line[0], line + 1, size - 1);
	case RESP_REPLY_BULK:
	case RESP_REPLY_BULK_ERROR:
	case RESP_REPLY_VERBATIM:
		return take_bulk(reader, line[0], line + 1, size - 1);
	case RESP_REPLY_ARRAY:
	case RESP_REPLY_MAP:
	case RESP_REPLY_SET:
	case RESP_REPLY_ATTRIBUTE:
	case RESP_REPLY_PUSH:
		return take_collection(reader, line[0], line + 1, size - 1);
	case '.':
		return take_end(reader, size - 1);
	default:
		return fail(reader, "unknown type byte");
	}
}

static int
bulk_done(struct resp_reply_reader *reader)
{
	const struct resp_visitor *v = reader->visitor;
	int outcome = visited(reader, v->bulk_end != NULL ? v->bulk_end(v->context, reader->bulk_type) : 0);

	if (outcome != GO_ON)
		return outcome;
	reader->state = STATE_LINE;
	return element_done(reader);
}

/* A ";size" line. */
static int
take_chunk_header(struct resp_reply_reader *reader, const uint8_t *line, size_t size)
{
	int64_t length;

	if (size < 2 || line[0] != ';' || !parse_integer(line + 1, size - 1, &length) || length < 0)
		return fail(reader, "invalid chunk");
	if (length == 0)
		return bulk_done(reader);
	reader->bulk_left = (uint64_t)length;
	reader->state = STATE_BULK;
	return GO_ON;
}

/* Takes bulk bytes that are there, and the line end when it is whole. */
static int
feed_bulk(struct resp_reply_reader *reader, const uint8_t *data, size_t size, size_t *consumed)
{
	const struct resp_visitor *v = reader->visitor;
	size_t part = size - *consumed;
	int outcome;

	if (part > reader->bulk_left)
		part = (size_t)reader->bulk_left;
	if (part > 0) {
		const uint8_t *bytes = data + *consumed;
		*consumed += part;
		reader->bulk_left -= part;
		outcome = visited(reader, v->bulk_data != NULL ? v->bulk_data(v->context, bytes, part) : 0);
		if (outcome != GO_ON)
			return outcome;
	}
	if (reader->bulk_left > 0 || size - *consumed < 2)
		return RESP_READER_NEED_MORE;
	if (data[*consumed] != '\r' || data[*consumed + 1] != '\n')
		return fail(reader, "a bulk without its line end");
	*consumed += 2;
	if (reader->bulk_streamed) {
		reader->state = STATE_CHUNK;
		return GO_ON;
	}
	return bulk_done(reader);
}

static int
feed_line(struct resp_reply_reader *reader, const uint8_t *data, size_t size, size_t *consumed)
{
	const uint8_t *line = data + *consumed;
	size_t available = size - *consumed;
	const uint8_t *newline = NULL;
	size_t length;

	if (available > reader->scanned)
		newline = memchr(line + reader->scanned, '\n', available - reader->scanned);
	length = newline != NULL ? (size_t)(newline - line) : available;
	if (length > RESP_REPLY_LINE_MAX + 1)
		return fail(reader, "line too long");
	if (newline == NULL) {
		reader->scanned = available;
		return RESP_READER_NEED_MORE;
	}
	reader->scanned = 0;
	if (length == 0 || line[length - 1] != '\r')
		return fail(reader, "a line feed without its carriage return");
	*consumed += length + 1;
	if (reader->state == STATE_CHUNK)
		return take_chunk_header(reader, line, length - 1);
	return take_line(reader, line, length - 1);
}

enum resp_reader_result
resp_reader_feed(struct resp_reply_reader *reader, const uint8_t *data, size_t size, size_t *ret_consumed)
{
	size_t consumed = 0;
	int outcome = reader->state == STATE_FAILED ? RESP_READER_ERROR : GO_ON;

	while (outcome == GO_ON && consumed < size) {
		if (reader->state == STATE_BULK)
			outcome = feed_bulk(reader, data, size, &consumed);
		else
			outcome = feed_line(reader, data, size, &consumed);
	}
	*ret_consumed = consumed;
	return outcome == GO_ON ? RESP_READER_NEED_MORE : (enum resp_reader_result)outcome;
}
