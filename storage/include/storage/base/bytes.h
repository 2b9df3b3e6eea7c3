/* Byte slices and the one growable buffer. Nothing here is thread-safe; a slice owns nothing. */
#ifndef SETT_STORAGE_BASE_BYTES_H
#define SETT_STORAGE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes. `data` may be NULL only if `size` is 0. */
struct bytes {
	const uint8_t *data;
	size_t size;
};

#define BYTES_LITERAL(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct bytes
bytes_of(const void *data, size_t size)
{
	return (struct bytes){(const uint8_t *)data, size};
}

static inline struct bytes
bytes_of_string(const char *text)
{
	return bytes_of(text, strlen(text));
}

/* Where it ends, and what is left of it behind the first `n` bytes, which it must have. An empty slice may have no
 * address, to which C lets nothing be added, not even 0. */
static inline const uint8_t *
bytes_end(struct bytes b)
{
	return b.size == 0 ? b.data : b.data + b.size;
}

static inline struct bytes
bytes_from(struct bytes b, size_t n)
{
	return n == 0 ? b : bytes_of(b.data + n, b.size - n);
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Lexicographic order of unsigned bytes; a prefix sorts before what it begins. */
static inline int
bytes_compare(struct bytes a, struct bytes b)
{
	size_t n = a.size < b.size ? a.size : b.size;
	int c = n ? memcmp(a.data, b.data, n) : 0;
	if (c != 0)
		return c;
	return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool
bytes_has_prefix(struct bytes a, struct bytes prefix)
{
	return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* An owned, growable run of bytes. All zero is a valid empty buffer. Growth doubles. */
struct buffer {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

/* Makes room for `more` bytes past size; 0 or SETT_NO_MEMORY (buffer unchanged). */
int buffer_reserve(struct buffer *, size_t more);
/* 0 or SETT_NO_MEMORY. */
int buffer_append(struct buffer *, const void *data, size_t size);
/* Frees the memory and leaves an empty buffer. */
void buffer_free(struct buffer *);

static inline void
buffer_clear(struct buffer *b)
{
	b->size = 0;
}

static inline struct bytes
buffer_bytes(const struct buffer *b)
{
	return bytes_of(b->data, b->size);
}

#endif
