/* Internal keys and entry values: what memtables, log batches and tables hold.
 *
 * An internal key is the user's bytes followed by the big-endian complement of the commit timestamp, so that
 * versions of one key sort newest first. Order: user bytes (bytes_compare), then timestamp descending.
 * Comparing the encoded bytes as a whole would be wrong where one user key is a prefix of another.
 *
 * An entry value is
 *     kind:u8  [expires_at:varint if kind has ENTRY_EXPIRES]  head_size:varint head  payload
 * and the payload depends on the kind:
 *     tombstone  nothing, and there is no head either
 *     inline     the body's bytes, up to the end
 *     pointer    file:varint offset:varint stored_size:varint body_size:varint */
#ifndef SETT_INTERNAL_KEY_H
#define SETT_INTERNAL_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/varint.h"

enum { IKEY_TRAILER_SIZE = 8 };

struct ikey {
	struct bytes user;
	uint64_t timestamp;
};

static inline int
ikey_compare(struct ikey a, struct ikey b)
{
	int c = bytes_compare(a.user, b.user);
	if (c != 0)
		return c;
	return a.timestamp > b.timestamp ? -1 : a.timestamp < b.timestamp;
}

/* `encoded` has at least IKEY_TRAILER_SIZE bytes. The result borrows it. */
static inline struct ikey
ikey_decode(struct bytes encoded)
{
	size_t n = encoded.size - IKEY_TRAILER_SIZE;
	return (struct ikey){bytes_of(encoded.data, n), ~get_be64(encoded.data + n)};
}

/* Writes user.size + IKEY_TRAILER_SIZE bytes. */
static inline void
ikey_encode(struct ikey key, uint8_t *p)
{
	if (key.user.size)
		memcpy(p, key.user.data, key.user.size);
	put_be64(p + key.user.size, ~key.timestamp);
}

enum entry_kind {
	ENTRY_TOMBSTONE = 0,
	ENTRY_INLINE = 1,
	ENTRY_POINTER = 2,
	ENTRY_KIND_MASK = 0x0f,
	ENTRY_EXPIRES = 0x10, /* flag */
};

/* Where a body lies in the value log. `stored_size` counts the record with its header: what it takes on disk.
 */
struct value_pointer {
	uint64_t file, offset, stored_size, body_size;
};

struct entry {
	uint8_t kind; /* enum entry_kind without flags */
	uint64_t expires_at;
	struct bytes head;
	struct bytes body;            /* ENTRY_INLINE */
	struct value_pointer pointer; /* ENTRY_POINTER */
};

/* Bytes entry_encode will write. */
size_t entry_encoded_size(const struct entry *);
/* Returns the byte after the last one written. */
uint8_t *entry_encode(const struct entry *, uint8_t *p);
/* Borrows `value`. 0 or SETT_CORRUPT (checks every length). */
int entry_decode(struct bytes value, struct entry *ret);

/* What entries take, in bytes. Garbage and live bytes are counted so. */
struct weight {
	uint64_t index;  /* internal keys and encoded values, before compression */
	uint64_t values; /* records in the value log that they point at */
};

static inline void
weight_add(struct weight *sum, struct weight more)
{
	sum->index += more.index;
	sum->values += more.values;
}

/* Down to 0 at the least: some weights are estimates. */
static inline struct weight
weight_less(struct weight from, struct weight w)
{
	return (struct weight){from.index > w.index ? from.index - w.index : 0,
			       from.values > w.values ? from.values - w.values : 0};
}

static inline struct weight
weight_scaled(struct weight w, double factor)
{
	return (struct weight){(uint64_t)((double)w.index * factor), (uint64_t)((double)w.values * factor)};
}

static inline bool
weight_is_zero(struct weight w)
{
	return w.index == 0 && w.values == 0;
}

/* Of an entry whose encoded value is `value`. */
struct weight entry_weight(struct bytes user_key, struct bytes value);

#endif
