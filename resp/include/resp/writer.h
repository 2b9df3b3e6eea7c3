/*
 * Writes replies (and requests) in RESP2 or RESP3 into a buffer that grows.
 *
 * The writer owns `data` (malloc). Running out of memory sets `failed`, which stays set: all further calls do
 * nothing, and what was written must not be sent. So a command appends its whole reply and the caller looks
 * once. Types that RESP2 lacks are written as Redis writes them for RESP2 clients.
 *
 * Threads: one at a time.
 */
#ifndef SETT_RESP_WRITER_H
#define SETT_RESP_WRITER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct resp_writer {
	uint8_t *data;   /* owned; may move with every call */
	size_t size;     /* bytes written */
	size_t capacity; /* bytes allocated */
	int protocol;    /* 2 or 3; the caller may change it between replies */
	bool failed;     /* out of memory: sticky until resp_writer_free */
};

/* Allocates nothing. protocol is 2 or 3. */
void resp_writer_init(struct resp_writer *writer, int protocol);
/* Releases the buffer; the writer is then as after init, with its protocol kept. */
void resp_writer_free(struct resp_writer *writer);
/* Makes room for `extra` more bytes. Returns false, and sets failed, when there is no memory. */
bool resp_reserve(struct resp_writer *writer, size_t extra);
/* Drops everything behind the first `size` bytes (size <= writer->size): takes back a reply. Keeps `failed`.
 */
void resp_truncate(struct resp_writer *writer, size_t size);

/* "+text". resp_status_data replaces line ends by spaces; the text of the other two has none. */
void resp_status_data(struct resp_writer *writer, const void *text, size_t size);
void resp_status_clean(struct resp_writer *writer, const char *text, size_t size);
/* A string of the program's own. */
static inline void
resp_status(struct resp_writer *writer, const char *text)
{
	resp_status_clean(writer, text, strlen(text)); /* mostly a constant */
}
/* "-text". text starts with its code ("ERR no such key"), without the '-'. Line ends become spaces. */
void resp_error(struct resp_writer *writer, const char *text);
void resp_error_data(struct resp_writer *writer, const void *text, size_t size);
/* The same, formatted; of any length. */
void resp_error_format(struct resp_writer *writer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void resp_error_format_va(struct resp_writer *writer, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));
void resp_integer(struct resp_writer *writer, int64_t value);
void resp_bulk(struct resp_writer *writer, const void *data, size_t size);
/* A bulk of a NUL-terminated string. */
void resp_bulk_string(struct resp_writer *writer, const char *text);
/* A bulk whose text is the number, as GET of a counter replies. */
void resp_bulk_integer(struct resp_writer *writer, int64_t value);
void resp_bulk_format(struct resp_writer *writer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A bulk of `size` bytes that the caller fills in at once, at the address returned (valid until the next call
   on the writer). NULL when failed. */
uint8_t *resp_bulk_space(struct resp_writer *writer, size_t size);
/* RESP2 "$-1", RESP3 "_". */
void resp_null(struct resp_writer *writer);
/* RESP2 "*-1", RESP3 "_". */
void resp_null_array(struct resp_writer *writer);
/* Headers: the elements follow through further calls. */
void resp_array(struct resp_writer *writer, size_t count);
/* `count` pairs: RESP2 writes an array of twice as many. */
void resp_map(struct resp_writer *writer, size_t count);
void resp_set(struct resp_writer *writer, size_t count);
/* RESP2: an array, as Redis writes its messages. */
void resp_push(struct resp_writer *writer, size_t count);
/* RESP2 has no attributes: writes nothing and returns false, and the caller leaves out the `count` pairs. */
bool resp_attribute(struct resp_writer *writer, size_t count);
/* "%.17g", "inf", "-inf", "nan": RESP2 a bulk, RESP3 ",...". */
void resp_double(struct resp_writer *writer, double value);
/* RESP2 ":1" or ":0", RESP3 "#t" or "#f". */
void resp_boolean(struct resp_writer *writer, bool value);
/* format: three characters, such as "txt" or "mkd". RESP2: a bulk of the text alone. */
void resp_verbatim(struct resp_writer *writer, const char *format, const void *data, size_t size);
/* digits: an integer of any length in decimal. RESP2: a bulk. */
void resp_big_number(struct resp_writer *writer, const char *digits, size_t size);
/* Bytes that are RESP already. */
void resp_raw(struct resp_writer *writer, const void *data, size_t size);

/*
 * Collections whose count is known only at their end. begin returns a token for the matching end; pairs nest
 * like brackets. The bytes written in between move if the header turns out longer than a one-digit one.
 */
size_t resp_deferred_begin(struct resp_writer *writer);
void resp_deferred_array_end(struct resp_writer *writer, size_t token, size_t count);
void resp_deferred_map_end(struct resp_writer *writer, size_t token, size_t count);
void resp_deferred_set_end(struct resp_writer *writer, size_t token, size_t count);

/* The decimal text of value, without a NUL; returns its length, at most RESP_INTEGER_MAX_SIZE. */
#define RESP_INTEGER_MAX_SIZE 20
size_t resp_format_integer(int64_t value, char ret_text[RESP_INTEGER_MAX_SIZE]);

#endif
