/*
 * The reply writer: formats straight into the buffer, with one look at the capacity for each reply.
 *
 * Numbers are written two digits at a time from a table, backwards into a small array. A reply never stands
 * half in the buffer for lack of memory: room for all of it is made first.
 *
 * Deferred collections leave room for the header of a count below ten, which is the common case; a longer
 * header moves the content by a few bytes when it is known.
 */
#include "resp/writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The smallest buffer, in bytes. */
#define CAPACITY_MIN 256
/* Type byte, number, line end. */
#define HEADER_MAX (1 + RESP_INTEGER_MAX_SIZE + 2)
/* "*N\r\n" */
#define DEFERRED_HEADER 4

static const char digit_pairs[] = "0001020304050607080910111213141516171819"
				  "2021222324252627282930313233343536373839"
				  "4041424344454647484950515253545556575859"
				  "6061626364656667686970717273747576777879"
				  "8081828384858687888990919293949596979899";

void
resp_writer_init(struct resp_writer *writer, int protocol)
{
	memset(writer, 0, sizeof(*writer));
	writer->protocol = protocol;
}

void
resp_writer_free(struct resp_writer *writer)
{
	free(writer->data);
	resp_writer_init(writer, writer->protocol);
}

static bool __attribute__((noinline)) grow(struct resp_writer *writer, size_t extra)
{
	size_t needed;
	size_t capacity;
	uint8_t *data;

	if (writer->failed)
		return false;
	if (__builtin_add_overflow(writer->size, extra, &needed) ||
	    __builtin_mul_overflow(writer->capacity, 2, &capacity)) {
		writer->failed = true;
		return false;
	}
	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	if (capacity < needed)
		capacity = needed;
	data = realloc(writer->data, capacity);
	if (data == NULL) {
		writer->failed = true;
		return false;
	}
	writer->data = data;
	writer->capacity = capacity;
	return true;
}

static inline bool
reserve(struct resp_writer *writer, size_t extra)
{
	if (__builtin_expect(writer->capacity - writer->size >= extra && !writer->failed, 1))
		return true;
	return grow(writer, extra);
}

bool
resp_reserve(struct resp_writer *writer, size_t extra)
{
	return reserve(writer, extra);
}

void
resp_truncate(struct resp_writer *writer, size_t size)
{
	if (size < writer->size)
		writer->size = size;
}

/* The digits of value at the end of text; returns where they begin. */
static inline char *
format_unsigned(uint64_t value, char text[RESP_INTEGER_MAX_SIZE])
{
	char *at = text + RESP_INTEGER_MAX_SIZE;

	while (value >= 100) {
		at -= 2;
		memcpy(at, digit_pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10) {
		at -= 2;
		memcpy(at, digit_pairs + value * 2, 2);
	} else {
		*--at = (char)('0' + value);
	}
	return at;
}

size_t
resp_format_integer(int64_t value, char ret_text[RESP_INTEGER_MAX_SIZE])
{
	char digits[RESP_INTEGER_MAX_SIZE];
	const char *start = format_unsigned(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, digits);
	size_t size = (size_t)(digits + RESP_INTEGER_MAX_SIZE - start);

	if (value < 0)
		*ret_text++ = '-';
	memcpy(ret_text, start, size);
	return size + (value < 0);
}

/* Room for HEADER_MAX bytes must be there. */
static inline void
put_header(struct resp_writer *writer, char type, uint64_t count)
{
	uint8_t *at = writer->data + writer->size;
	char digits[RESP_INTEGER_MAX_SIZE];

	*at++ = (uint8_t)type;
	if (count < 10) {
		*at++ = (uint8_t)('0' + count);
	} else {
		const char *start = format_unsigned(count, digits);
		size_t size = (size_t)(digits + RESP_INTEGER_MAX_SIZE - start);
		memcpy(at, start, size);
		at += size;
	}
	*at++ = '\r';
	*at++ = '\n';
	writer->size = (size_t)(at - writer->data);
}

static inline void
put(struct resp_writer *writer, const void *data, size_t size)
{
	if (size > 0)
		memcpy(writer->data + writer->size, data, size);
	writer->size += size;
}

static void
header(struct resp_writer *writer, char type, uint64_t count)
{
	if (reserve(writer, HEADER_MAX))
		put_header(writer, type, count);
}

/* A type byte, `size` bytes and a line end; line ends inside would end the reply early and become spaces. */
static void
line(struct resp_writer *writer, char type, const char *text, size_t size)
{
	if (size > SIZE_MAX - HEADER_MAX || !reserve(writer, size + 3))
		return;
	uint8_t *at = writer->data + writer->size;
	*at++ = (uint8_t)type;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		*at++ = (uint8_t)(c == '\r' || c == '\n' ? ' ' : c);
	}
	*at++ = '\r';
	*at++ = '\n';
	writer->size = (size_t)(at - writer->data);
}

void
resp_status_data(struct resp_writer *writer, const void *text, size_t size)
{
	line(writer, '+', text, size);
}

void
resp_status_clean(struct resp_writer *writer, const char *text, size_t size)
{
	if (!reserve(writer, size + 3))
		return;
	uint8_t *at = writer->data + writer->size;
	*at++ = '+';
	memcpy(at, text, size);
	memcpy(at + size, "\r\n", 2);
	writer->size += size + 3;
}

void
resp_error_data(struct resp_writer *writer, const void *text, size_t size)
{
	const char *bytes = text;

	while (size > 0 && (bytes[size - 1] == '\r' || bytes[size - 1] == '\n'))
		size--;
	line(writer, '-', bytes, size);
}

void
resp_error(struct resp_writer *writer, const char *text)
{
	resp_error_data(writer, text, strlen(text));
}

/* The formatted text in `stack` if it fits, else in memory to be freed; NULL, and failed, when there is none.
 */
static __attribute__((format(printf, 4, 0))) char *
format_text(struct resp_writer *writer, char *stack, size_t stack_size, const char *format, va_list arguments,
	    size_t *ret_size)
{
	va_list again;
	char *text = stack;

	va_copy(again, arguments);
	int size = vsnprintf(stack, stack_size, format, arguments);
	if (size >= 0 && (size_t)size >= stack_size) {
		text = malloc((size_t)size + 1);
		if (text != NULL)
			size = vsnprintf(text, (size_t)size + 1, format, again);
	}
	va_end(again);
	if (size < 0 && text != stack) {
		free(text);
		text = NULL;
	}
	if (text == NULL || size < 0) {
		writer->failed = true;
		return NULL;
	}
	*ret_size = (size_t)size;
	return text;
}

void
resp_error_format_va(struct resp_writer *writer, const char *format, va_list arguments)
{
	char stack[256];
	size_t size;
	char *text = format_text(writer, stack, sizeof(stack), format, arguments, &size);

	if (text == NULL)
		return;
	resp_error_data(writer, text, size);
	if (text != stack)
		free(text);
}

void
resp_error_format(struct resp_writer *writer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	resp_error_format_va(writer, format, arguments);
	va_end(arguments);
}

void
resp_integer(struct resp_writer *writer, int64_t value)
{
	if (!reserve(writer, HEADER_MAX))
		return;
	if (value >= 0) {
		put_header(writer, ':', (uint64_t)value);
		return;
	}
	writer->data[writer->size++] = ':';
	writer->size += resp_format_integer(value, (char *)writer->data + writer->size);
	put(writer, "\r\n", 2);
}

uint8_t *
resp_bulk_space(struct resp_writer *writer, size_t size)
{
	uint8_t *space;

	if (size > SIZE_MAX - HEADER_MAX - 2) {
		writer->failed = true;
		return NULL;
	}
	if (!reserve(writer, size + HEADER_MAX + 2))
		return NULL;
	put_header(writer, '$', size);
	space = writer->data + writer->size;
	writer->size += size;
	put(writer, "\r\n", 2);
	return space;
}

void
resp_bulk(struct resp_writer *writer, const void *data, size_t size)
{
	uint8_t *space = resp_bulk_space(writer, size);

	if (space != NULL && size > 0)
		memcpy(space, data, size);
}

void
resp_bulk_string(struct resp_writer *writer, const char *text)
{
	resp_bulk(writer, text, strlen(text));
}

void
resp_bulk_integer(struct resp_writer *writer, int64_t value)
{
	char text[RESP_INTEGER_MAX_SIZE];

	resp_bulk(writer, text, resp_format_integer(value, text));
}

void
resp_bulk_format(struct resp_writer *writer, const char *format, ...)
{
	char stack[256];
	size_t size;
	va_list arguments;

	va_start(arguments, format);
	char *text = format_text(writer, stack, sizeof(stack), format, arguments, &size);
	va_end(arguments);
	if (text == NULL)
		return;
	resp_bulk(writer, text, size);
	if (text != stack)
		free(text);
}

void
resp_null(struct resp_writer *writer)
{
	if (writer->protocol >= 3)
		resp_raw(writer, "_\r\n", 3);
	else
		resp_raw(writer, "$-1\r\n", 5);
}

void
resp_null_array(struct resp_writer *writer)
{
	if (writer->protocol >= 3)
		resp_raw(writer, "_\r\n", 3);
	else
		resp_raw(writer, "*-1\r\n", 5);
}

void
resp_array(struct resp_writer *writer, size_t count)
{
	header(writer, '*', count);
}

void
resp_map(struct resp_writer *writer, size_t count)
{
	if (writer->protocol >= 3)
		header(writer, '%', count);
	else
		header(writer, '*', (uint64_t)count * 2);
}

void
resp_set(struct resp_writer *writer, size_t count)
{
	header(writer, writer->protocol >= 3 ? '~' : '*', count);
}

void
resp_push(struct resp_writer *writer, size_t count)
{
	header(writer, writer->protocol >= 3 ? '>' : '*', count);
}

bool
resp_attribute(struct resp_writer *writer, size_t count)
{
	if (writer->protocol < 3)
		return false;
	header(writer, '|', count);
	return true;
}

/* Whether "%.17g" shows it as an integer: all digits of one below 10^15, without an exponent. */
static bool
is_short_integer(double value)
{
	return value > -1e15 && value < 1e15 && (double)(int64_t)value == value &&
		!(value == 0 && signbit(value));
}

void
resp_double(struct resp_writer *writer, double value)
{
	/* "%.17g" is at most "-1.2345678901234567e-308". */
	char text[40];
	int size;

	if (isinf(value))
		size = snprintf(text, sizeof(text), "%s", value > 0 ? "inf" : "-inf");
	else if (isnan(value))
		size = snprintf(text, sizeof(text), "nan");
	else if (is_short_integer(value))
		size = (int)resp_format_integer((int64_t)value, text);
	else
		size = snprintf(text, sizeof(text), "%.17g", value);
	if (writer->protocol >= 3)
		line(writer, ',', text, (size_t)size);
	else
		resp_bulk(writer, text, (size_t)size);
}

void
resp_boolean(struct resp_writer *writer, bool value)
{
	if (writer->protocol >= 3)
		resp_raw(writer, value ? "#t\r\n" : "#f\r\n", 4);
	else
		resp_raw(writer, value ? ":1\r\n" : ":0\r\n", 4);
}

void
resp_verbatim(struct resp_writer *writer, const char *format, const void *data, size_t size)
{
	if (writer->protocol < 3) {
		resp_bulk(writer, data, size);
		return;
	}
	if (size > SIZE_MAX - HEADER_MAX - 6) {
		writer->failed = true;
		return;
	}
	if (!reserve(writer, HEADER_MAX + 4 + size + 2))
		return;
	put_header(writer, '=', size + 4);
	put(writer, format, 3);
	put(writer, ":", 1);
	put(writer, data, size);
	put(writer, "\r\n", 2);
}

void
resp_big_number(struct resp_writer *writer, const char *digits, size_t size)
{
	if (writer->protocol >= 3)
		line(writer, '(', digits, size);
	else
		resp_bulk(writer, digits, size);
}

void
resp_raw(struct resp_writer *writer, const void *data, size_t size)
{
	if (reserve(writer, size))
		put(writer, data, size);
}

size_t
resp_deferred_begin(struct resp_writer *writer)
{
	size_t token = writer->size;

	if (reserve(writer, DEFERRED_HEADER)) {
		memset(writer->data + writer->size, 0, DEFERRED_HEADER);
		writer->size += DEFERRED_HEADER;
	}
	return token;
}

static void
deferred_end(struct resp_writer *writer, size_t token, char type, uint64_t count)
{
	char digits[RESP_INTEGER_MAX_SIZE];
	const char *start = format_unsigned(count, digits);
	size_t digits_size = (size_t)(digits + RESP_INTEGER_MAX_SIZE - start);
	size_t extra = digits_size + 3 - DEFERRED_HEADER;
	uint8_t *at;

	if (!reserve(writer, extra))
		return;
	at = writer->data + token;
	if (extra > 0)
		memmove(at + DEFERRED_HEADER + extra, at + DEFERRED_HEADER,
			writer->size - token - DEFERRED_HEADER);
	*at++ = (uint8_t)type;
	memcpy(at, start, digits_size);
	memcpy(at + digits_size, "\r\n", 2);
	writer->size += extra;
}

void
resp_deferred_array_end(struct resp_writer *writer, size_t token, size_t count)
{
	deferred_end(writer, token, '*', count);
}

void
resp_deferred_map_end(struct resp_writer *writer, size_t token, size_t count)
{
	if (writer->protocol >= 3)
		deferred_end(writer, token, '%', count);
	else
		deferred_end(writer, token, '*', (uint64_t)count * 2);
}

void
resp_deferred_set_end(struct resp_writer *writer, size_t token, size_t count)
{
	deferred_end(writer, token, writer->protocol >= 3 ? '~' : '*', count);
}
