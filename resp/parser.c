/*
 * The request parser: a state machine that stops wherever the bytes or the arguments array end.
 *
 *	START -> COUNT -> (BULK_HEADER -> BULK)* -> START        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
 *	START -> INLINE_LINE -> INLINE_SPLIT -> START            "GET k\r\n"
 *
 * Invariants:
 *  1. position <= scanned <= size of the last call, and no byte before `scanned` is searched for a line end
 *     again; so the work is linear in the bytes, however they arrive.
 *  2. Offsets count from the start of the request, so the caller's buffer may move.
 *  3. What is announced is never believed: the arguments array grows by what has arrived, and `bulk_size` is
 *     compared with what is there, never added to anything that could overflow.
 *  4. A line's fate does not depend on where it was cut: its length is checked also when it arrives whole.
 *  5. Unescaping writes behind what it reads, never past it (an escape is longer than what it stands for).
 *
 * The protocol: https://redis.io/docs/reference/protocol-spec. Limits, texts and quoting rules were taken
 * from the behaviour of Redis 7.0.15.
 */
#include "resp/parser.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* "-9223372036854775808" */
#define NUMBER_SIZE_MAX 20

void
resp_parser_init(struct resp_parser *parser)
{
	memset(parser, 0, sizeof(*parser));
	parser->bulk_max = RESP_BULK_MAX_DEFAULT;
	parser->state = RESP_STATE_START;
}

void
resp_parser_reset(struct resp_parser *parser)
{
	parser->state = RESP_STATE_START;
	parser->argc = 0;
	parser->consumed = 0;
	parser->error[0] = '\0';
}

void
resp_parser_shrink_bulk(struct resp_parser *parser, size_t kept)
{
	assert(parser->state == RESP_STATE_BULK && kept <= parser->bulk_size);
	parser->bulk_size = kept;
}

static enum resp_result
fail(struct resp_parser *parser, const char *reason)
{
	parser->state = RESP_STATE_FAILED;
	snprintf(parser->error, sizeof(parser->error), "Protocol error: %s", reason);
	return RESP_ERROR;
}

static enum resp_result
need_more(struct resp_parser *parser, size_t missing)
{
	parser->missing = missing;
	return RESP_NEED_MORE;
}

static enum resp_result
finish(struct resp_parser *parser, size_t consumed)
{
	parser->state = RESP_STATE_START;
	parser->consumed = consumed;
	return RESP_REQUEST;
}

/* Numbers in headers: no leading zeros, no '+', no "-0", nothing around the digits. */
static bool
parse_number(const uint8_t *text, size_t size, int64_t *ret_value)
{
	bool negative = size > 0 && text[0] == '-';
	size_t i = negative ? 1 : 0;
	uint64_t value = 0;

	if (size == i || size > NUMBER_SIZE_MAX)
		return false;
	if (text[i] == '0' && (size > 1))
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

enum line_result { LINE_FOUND, LINE_MISSING, LINE_TOO_LONG };

/* Searches `last`, the byte that ends a line beginning at `position`, among the bytes not searched before. */
static enum line_result
find_line_end(struct resp_parser *parser, const uint8_t *data, size_t size, int last, size_t *ret_end)
{
	size_t limit = parser->position + RESP_LINE_MAX + 1;
	size_t end = size < limit ? size : limit;
	const uint8_t *found = memchr(data + parser->scanned, last, end - parser->scanned);

	if (found != NULL) {
		*ret_end = (size_t)(found - data);
		parser->scanned = *ret_end;
		return LINE_FOUND;
	}
	if (size >= limit)
		return LINE_TOO_LONG;
	parser->scanned = size;
	return LINE_MISSING;
}

static enum resp_result
parse_count(struct resp_parser *parser, const uint8_t *data, size_t size)
{
	size_t end;
	int64_t count;

	switch (find_line_end(parser, data, size, '\r', &end)) {
	case LINE_MISSING:
		return need_more(parser, 2);
	case LINE_TOO_LONG:
		return fail(parser, "too big mbulk count string");
	case LINE_FOUND:
		break;
	}
	if (size - end < 2)
		return need_more(parser, 1);
	if (!parse_number(data + 1, end - 1, &count) || count > RESP_ARGUMENTS_MAX)
		return fail(parser, "invalid multibulk length");
	if (parser->unauthenticated && count > RESP_UNAUTHENTICATED_ARGUMENTS_MAX)
		return fail(parser, "unauthenticated multibulk length");

	parser->position = parser->scanned = end + 2;
	if (count <= 0)
		return finish(parser, parser->position);
	parser->remaining = (size_t)count;
	parser->state = RESP_STATE_BULK_HEADER;
	return RESP_REQUEST;
}

static enum resp_result
fail_dollar(struct resp_parser *parser, uint8_t got)
{
	if (got == '\0' || got == '\r' || got == '\n')
		got = ' ';
	parser->state = RESP_STATE_FAILED;
	snprintf(parser->error, sizeof(parser->error), "Protocol error: expected '$', got '%c'", got);
	return RESP_ERROR;
}

static enum resp_result
parse_bulk_header(struct resp_parser *parser, const uint8_t *data, size_t size)
{
	size_t position = parser->position;
	size_t end;
	int64_t length;

	switch (find_line_end(parser, data, size, '\r', &end)) {
	case LINE_MISSING:
		return need_more(parser, 2);
	case LINE_TOO_LONG:
		return fail(parser, "too big bulk count string");
	case LINE_FOUND:
		break;
	}
	if (size - end < 2)
		return need_more(parser, 1);
	if (data[position] != '$')
		return fail_dollar(parser, data[position]);
	if (!parse_number(data + position + 1, end - position - 1, &length) || length < 0 ||
	    (uint64_t)length > parser->bulk_max)
		return fail(parser, "invalid bulk length");
	if (parser->unauthenticated && length > RESP_UNAUTHENTICATED_BULK_MAX)
		return fail(parser, "unauthenticated bulk length");

	parser->position = parser->scanned = end + 2;
	parser->bulk_size = (size_t)length;
	parser->state = RESP_STATE_BULK;
	return RESP_REQUEST;
}

/* The array is full: asks for twice the room, but not for more than the request announced. */
static enum resp_result
need_arguments(struct resp_parser *parser, size_t most)
{
	size_t needed = parser->argument_capacity * 2;

	if (needed < 8)
		needed = 8;
	if (needed > most)
		needed = most;
	parser->arguments_needed = needed;
	return RESP_NEED_ARGUMENTS;
}

static enum resp_result
parse_bulk(struct resp_parser *parser, size_t size)
{
	size_t available = size - parser->position;

	if (available < 2 || available - 2 < parser->bulk_size)
		return need_more(parser, parser->bulk_size - available + 2);
	if (parser->argc >= parser->argument_capacity)
		return need_arguments(parser, parser->argc + parser->remaining);

	parser->arguments[parser->argc].offset = parser->position;
	parser->arguments[parser->argc].size = parser->bulk_size;
	parser->argc++;
	parser->position += parser->bulk_size + 2;
	parser->scanned = parser->position;
	parser->state = RESP_STATE_BULK_HEADER;
	if (--parser->remaining == 0)
		return finish(parser, parser->position);
	return RESP_REQUEST;
}

static enum resp_result
parse_inline_line(struct resp_parser *parser, const uint8_t *data, size_t size)
{
	size_t newline;

	switch (find_line_end(parser, data, size, '\n', &newline)) {
	case LINE_MISSING:
		return need_more(parser, 1);
	case LINE_TOO_LONG:
		return fail(parser, "too big inline request");
	case LINE_FOUND:
		break;
	}
	parser->line_end = newline;
	if (newline > 0 && data[newline - 1] == '\r')
		parser->line_end--;
	parser->scanned = newline + 1;
	parser->state = RESP_STATE_INLINE_SPLIT;
	return RESP_REQUEST;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t
escaped(uint8_t c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	default:
		return c;
	}
}

/* Where the unescaping of one line stands: `read` moves ahead of `write`. */
struct unescape {
	uint8_t *data;
	size_t read;
	size_t write;
	size_t end;
};

/* Behind an opening quote: copies up to the closing one, which must end the argument. False: unbalanced. */
static bool
unescape_quoted(struct unescape *u, uint8_t quote)
{
	uint8_t *data = u->data;

	while (u->read < u->end) {
		uint8_t c = data[u->read];
		size_t left = u->end - u->read;

		if (c == quote) {
			u->read++;
			return u->read == u->end || is_blank(data[u->read]);
		}
		if (c == '\\' && quote == '\'' && left > 1 && data[u->read + 1] == '\'') {
			c = '\'';
			u->read++;
		} else if (c == '\\' && quote == '"' && left > 3 && data[u->read + 1] == 'x' &&
			   hex_digit(data[u->read + 2]) >= 0 && hex_digit(data[u->read + 3]) >= 0) {
			c = (uint8_t)(hex_digit(data[u->read + 2]) * 16 + hex_digit(data[u->read + 3]));
			u->read += 3;
		} else if (c == '\\' && quote == '"' && left > 1) {
			c = escaped(data[u->read + 1]);
			u->read++;
		}
		data[u->write++] = c;
		u->read++;
	}
	return false;
}

/* One argument, from its first byte to the blank behind it. A quote may open in its middle. False:
 * unbalanced. */
static bool
unescape_argument(struct unescape *u)
{
	while (u->read < u->end) {
		uint8_t c = u->data[u->read];

		if (c == '"' || c == '\'') {
			u->read++;
			return unescape_quoted(u, c);
		}
		/* Not is_blank: inside a word Redis takes vertical tabs and form feeds as text. */
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			return true;
		u->data[u->write++] = c;
		u->read++;
	}
	return true;
}

static enum resp_result
parse_inline_split(struct resp_parser *parser, uint8_t *data)
{
	size_t end = parser->line_end;

	for (;;) {
		while (parser->position < end && is_blank(data[parser->position]))
			parser->position++;
		if (parser->position == end)
			return finish(parser, parser->scanned);
		if (parser->argc >= parser->argument_capacity)
			return need_arguments(parser, SIZE_MAX);

		size_t start = parser->position;
		struct unescape u = {.data = data, .read = start, .write = start, .end = end};
		if (!unescape_argument(&u))
			return fail(parser, "unbalanced quotes in request");
		parser->arguments[parser->argc].offset = start;
		parser->arguments[parser->argc].size = u.write - start;
		parser->argc++;
		parser->position = u.read;
	}
}

static void
begin_request(struct resp_parser *parser, uint8_t first)
{
	parser->argc = 0;
	parser->consumed = 0;
	parser->position = 0;
	parser->scanned = 0;
	parser->state = first == '*' ? RESP_STATE_COUNT : RESP_STATE_INLINE_LINE;
}

/* The header of a bulk: "$" and one to four digits with their line end. Returns where its bytes begin, NULL if it is
 * anything else. Seven bytes are there. */
static inline const uint8_t *
parse_short_header(const uint8_t *at, unsigned *ret_length)
{
	if (*at++ != '$')
		return NULL;
	unsigned length = (unsigned)(*at++ - '0');
	if (length > 9 || (length == 0 && *at != '\r'))
		return NULL;
	for (int more = 0; more < 3 && *at != '\r'; more++, at++) {
		unsigned digit = (unsigned)(*at - '0');
		if (digit > 9)
			return NULL;
		length = length * 10 + digit;
	}
	*ret_length = length;
	return *at == '\r' ? at + 2 : NULL;
}

/* Nearly every request: at most nine short arguments, which are there as a whole. False: anything else, for the states
 * to judge; nothing has changed then. It accepts nothing that they would not. */
static inline bool
parse_short_request(struct resp_parser *parser, const uint8_t *data, size_t size)
{
	static_assert(RESP_UNAUTHENTICATED_ARGUMENTS_MAX >= 9 && RESP_UNAUTHENTICATED_BULK_MAX >= 9999,
		      "the limits of a connection that has yet to authenticate hold for short requests");
	const uint8_t *at = data + 4, *end = data + size;
	if (size < 4 || data[0] != '*' || data[2] != '\r')
		return false;
	size_t count = (size_t)(data[1] - '0');
	if (count - 1 >= 9 || count > parser->argument_capacity)
		return false;
	for (size_t i = 0; i < count; i++) {
		unsigned length;
		if (end - at < 7 || (at = parse_short_header(at, &length)) == NULL ||
		    length > parser->bulk_max || end - at < (ptrdiff_t)length + 2)
			return false;
		parser->arguments[i] = (struct resp_argument){.offset = (size_t)(at - data), .size = length};
		at += length + 2;
	}
	parser->argc = count;
	parser->remaining = 0;
	parser->consumed = parser->position = parser->scanned = (size_t)(at - data);
	return true;
}

enum resp_result
resp_parse(struct resp_parser *parser, uint8_t *data, size_t size)
{
	enum resp_result result = RESP_REQUEST;

	if (parser->state == RESP_STATE_START) {
		if (parse_short_request(parser, data, size))
			return RESP_REQUEST;
		parser->argc = 0;
		if (size == 0)
			return need_more(parser, 1);
		begin_request(parser, data[0]);
	}
	/* A step that returns RESP_REQUEST went through; the request is complete when the state is START
	 * again. */
	do {
		switch (parser->state) {
		case RESP_STATE_COUNT:
			result = parse_count(parser, data, size);
			break;
		case RESP_STATE_BULK_HEADER:
			result = parse_bulk_header(parser, data, size);
			break;
		case RESP_STATE_BULK:
			result = parse_bulk(parser, size);
			break;
		case RESP_STATE_INLINE_LINE:
			result = parse_inline_line(parser, data, size);
			break;
		case RESP_STATE_INLINE_SPLIT:
			result = parse_inline_split(parser, data);
			break;
		case RESP_STATE_START:
		case RESP_STATE_FAILED:
			return RESP_ERROR;
		}
	} while (result == RESP_REQUEST && parser->state != RESP_STATE_START);
	return result;
}
