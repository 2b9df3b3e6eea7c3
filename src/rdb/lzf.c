/* See lzf.h. The compressor remembers where each hash of three bytes was met last, and takes the first match it finds. */
#include "rdb/lzf.h"

#include <assert.h>
#include <stdlib.h>

enum {
	LITERAL_MAX = 32,
	COPY_MIN = 3,
	COPY_SHORT_MAX = 8, /* a longer one has a byte more */
	COPY_MAX = 264,
	DISTANCE_MAX = 8192,
	HASH_BITS = 14,
};

/* ---- expanding ---- */

/* The copy of `control`, whose other bytes begin at `*at`. */
static bool
expand_copy(unsigned control, const uint8_t **at, const uint8_t *end, const uint8_t *begin, uint8_t **to,
	    const uint8_t *to_end)
{
	size_t length = control >> 5, distance = (size_t)(control & 31) << 8;
	if (length == 7) {
		if (*at == end)
			return false;
		length += *(*at)++;
	}
	length += 2;
	if (*at == end)
		return false;
	distance += *(*at)++;
	distance++;
	if (distance > (size_t)(*to - begin) || length > (size_t)(to_end - *to))
		return false;
	/* Byte by byte: the copy may read what it wrote. */
	for (const uint8_t *from = *to - distance; length > 0; length--)
		*(*to)++ = *from++;
	return true;
}

bool
lzf_expand(struct bytes data, uint8_t *ret, size_t size)
{
	const uint8_t *at = data.data, *end = at + data.size, *to_end = ret + size;
	uint8_t *to = ret;
	while (at < end) {
		unsigned control = *at++;
		if (control >= LITERAL_MAX) {
			if (!expand_copy(control, &at, end, ret, &to, to_end))
				return false;
			continue;
		}
		size_t length = control + 1;
		if (length > (size_t)(end - at) || length > (size_t)(to_end - to))
			return false;
		memcpy(to, at, length);
		at += length;
		to += length;
	}
	return to == to_end;
}

/* ---- compressing ---- */

/* A place of the present data is `base` + its offset. Lower ones are of data before it, so that short strings don't
 * have to clear the table. */
struct lzf_state {
	uint32_t base;
	uint32_t places[1 << HASH_BITS];
};

struct lzf_state *
lzf_state_create(void)
{
	struct lzf_state *state = calloc(1, sizeof(*state));
	if (state != NULL)
		state->base = 1;
	return state;
}

static bool
make_places(struct lzf_state *state, size_t size)
{
	if (size >= UINT32_MAX - 1)
		return false;
	if (size > UINT32_MAX - state->base) {
		memset(state->places, 0, sizeof(state->places));
		state->base = 1;
	}
	return true;
}

/* How far before `offset` its hash was met last; 0: nowhere near. Notes the offset. */
static size_t
take_place(struct lzf_state *state, size_t hash, size_t offset)
{
	uint32_t place = state->places[hash];
	state->places[hash] = state->base + (uint32_t)offset;
	if (place < state->base)
		return 0;
	size_t distance = offset - (place - state->base);
	return distance <= DISTANCE_MAX ? distance : 0;
}

static size_t
hash_of(const uint8_t *p)
{
	uint32_t three = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
	return (size_t)((three * 2654435761u) >> (32 - HASH_BITS));
}

struct output {
	uint8_t *at, *end;
	bool full;
};

static void
put_literals(struct output *out, const uint8_t *from, size_t count)
{
	while (count > 0) {
		size_t part = count < LITERAL_MAX ? count : LITERAL_MAX;
		if ((size_t)(out->end - out->at) < part + 1) {
			out->full = true;
			return;
		}
		*out->at++ = (uint8_t)(part - 1);
		memcpy(out->at, from, part);
		out->at += part;
		from += part;
		count -= part;
	}
}

static void
put_copy(struct output *out, size_t distance, size_t length)
{
	assert(length >= COPY_MIN && length <= COPY_MAX && distance >= 1 && distance <= DISTANCE_MAX);
	if (out->end - out->at < 3) {
		out->full = true;
		return;
	}
	size_t high = (distance - 1) >> 8;
	if (length <= COPY_SHORT_MAX) {
		*out->at++ = (uint8_t)((length - 2) << 5 | high);
	} else {
		*out->at++ = (uint8_t)(7 << 5 | high);
		*out->at++ = (uint8_t)(length - 2 - 7);
	}
	*out->at++ = (uint8_t)(distance - 1);
}

static size_t
match_length(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
	size_t most = (size_t)(end - b) < COPY_MAX ? (size_t)(end - b) : COPY_MAX, length = 0;
	while (length < most && a[length] == b[length])
		length++;
	return length;
}

size_t
lzf_compress(struct lzf_state *state, struct bytes data, uint8_t *ret, size_t capacity)
{
	const uint8_t *begin = data.data, *end = begin + data.size, *at = begin, *literals = begin;
	struct output out = {.at = ret, .end = ret + capacity};
	if (!make_places(state, data.size))
		return 0;
	while (end - at >= COPY_MIN && !out.full) {
		size_t distance = take_place(state, hash_of(at), (size_t)(at - begin));
		size_t length = distance != 0 ? match_length(at - distance, at, end) : 0;
		if (length < COPY_MIN) {
			at++;
			continue;
		}
		put_literals(&out, literals, (size_t)(at - literals));
		if (!out.full)
			put_copy(&out, distance, length);
		at += length;
		literals = at;
	}
	if (!out.full)
		put_literals(&out, literals, (size_t)(end - literals));
	state->base += (uint32_t)data.size;
	return out.full ? 0 : (size_t)(out.at - ret);
}
