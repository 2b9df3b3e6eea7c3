/* The compact forms in which Redis keeps small collections, and which stand in RDB values as one string: read one
 * element after another, from untrusted bytes. Everything that a form says twice is compared: sizes, counts, the way
 * back.
 *
 * All numbers are little endian, except where said.
 *
 *     listpack  size:u32 count:u16 element ... 0xff        size: of all; count: 0xffff if not known
 *     element   0nnnnnnn                                   0 to 127
 *               10ssssss bytes                             a string of s bytes
 *               110nnnnn n:u8                              13 bits, signed, the high ones first
 *               1110ssss s:u8 bytes                        12 bits, the high ones first
 *               0xf0 s:u32 bytes
 *               0xf1 n:i16   0xf2 n:i24   0xf3 n:i32   0xf4 n:i64
 *               each with its own size behind it: 1 to 5 bytes of 7 bits, the high ones first, all but the first
 *               with the bit 128
 *
 *     ziplist   size:u32 last:u32 count:u16 entry ... 0xff last: offset of the last entry, or of the 0xff
 *     entry     before                                     size of the entry before: u8, or 0xfe and u32
 *               00ssssss bytes   01ssssss s:u8 bytes       14 bits, the high ones first
 *               0x80 s:u32be bytes
 *               0xc0 n:i16   0xd0 n:i32   0xe0 n:i64   0xf0 n:i24   0xfe n:i8   0xf1 to 0xfd: 0 to 12
 *
 *     zipmap    count:u8 pair ... 0xff                     count: 254 if not known
 *     pair      s name:bytes s unused:u8 value:bytes, and so many unused bytes       s: u8 below 254, or 0xfe and u32 from 254 on
 *
 *     intset    width:u32 count:u32 n ...                  2, 4 or 8 bytes each, ascending
 *
 * From "Redis RDB Dump File Format" of the redis-rdb-tools wiki, "Listpack specification" (antirez/listpack), and from
 * what redis-server's DUMP prints. */
#ifndef SETT_RDB_BLOB_H
#define SETT_RDB_BLOB_H

#include "rdb/input.h"

enum blob_form { BLOB_LISTPACK, BLOB_ZIPLIST, BLOB_ZIPMAP, BLOB_INTSET };

struct blob_element {
	bool is_integer;
	int64_t integer;
	struct bytes text; /* of the blob, if it is no integer */
};

struct blob {
	const struct blob_operations *operations;
	const uint8_t *begin;
	struct rdb_input in;
	uint64_t seen;     /* elements so far */
	uint64_t expected; /* by the header; UINT64_MAX: not said */
	uint64_t width;    /* intset: of an element; ziplist: of the entry before */
	uint64_t last;     /* ziplist: where the last entry should be */
	int64_t previous;  /* intset: the element before */
};

/* The bytes must last as long as the blob. SETT_OK, RDB_MALFORMED. */
int blob_open(enum blob_form, struct bytes, struct blob *ret);
/* The next element; names and values of a zipmap take turns. SETT_NOT_FOUND at the end, RDB_MALFORMED. */
int blob_next(struct blob *, struct blob_element *ret);

/* ---- for the forms ---- */
struct blob_operations {
	int (*open)(struct blob *);
	int (*next)(struct blob *, struct blob_element *ret);
};
extern const struct blob_operations listpack_operations, ziplist_operations, zipmap_operations,
	intset_operations;

static inline uint64_t
blob_offset(const struct blob *b)
{
	return (uint64_t)(b->in.at - b->begin);
}
/* Little-endian, 1 to 8 bytes. SETT_OK, RDB_MALFORMED. */
int blob_get_unsigned(struct blob *, size_t size, uint64_t *ret);
int blob_get_signed(struct blob *, size_t size, int64_t *ret);
/* An element that is an integer. */
int blob_get_integer(struct blob *, size_t size, struct blob_element *ret);
/* The u16 in a header that says how many elements there are, or that nobody knows. */
int blob_get_count(struct blob *);
int blob_get_text(struct blob *, uint64_t size, struct bytes *ret);
/* At the byte after the last element: whether all is read, and as many elements as were said. SETT_NOT_FOUND if so. */
int blob_end(const struct blob *);

enum { BLOB_END = 0xff };

/* Bytes of the size behind an element of `size` bytes in a listpack. */
static inline size_t
listpack_back_size(uint64_t size)
{
	/* 16,383 would fit two bytes, but Redis takes three. */
	return size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5;
}

#endif
