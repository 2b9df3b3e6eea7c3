/* A value of any type as it stands in an RDB file or a dumped payload, read element by element from untrusted bytes.
 *
 *     0 string    string
 *     1 list      length, string ...
 *     2 set       length, string ...
 *     3 zset      length, (string, old double) ...
 *     4 hash      length, (name, value) ...
 *     5 zset      length, (string, double) ...
 *     9 hash      zipmap
 *     10 list     ziplist                            11 set    intset
 *     12 zset     ziplist: member, score ...         13 hash   ziplist: name, value ...
 *     14 list     length, ziplist ...                15 stream (stream_form.h)
 *     16 hash     listpack: name, value ...          17 zset   listpack: member, score ...
 *     18 list     length, (1, string that is not empty, or 2, listpack) ...
 *     19 stream                                      20 set    listpack               21 stream
 *     24 hash     u64le first deadline, length, (deadline, name, value) ...    a deadline is a length: 0 for none,
 *                                                    else ms after the first one, plus 1
 *     25 hash     u64le first deadline, listpack: name, value, deadline in ms since 1970 or 0 ...
 *
 * The forms in one string are in blob.h, lengths and strings in input.h. Types up to 19 are those of RDB version 10, 20
 * and 21 came with version 11, 24 and 25 with 12; others are of modules or were never released.
 *
 *     rdb_reader_open(&reader, payload)
 *     while ((status = rdb_reader_next(&reader, &element)) == SETT_OK)
 *             use it
 *     rdb_reader_close(&reader)
 *
 * What only a whole collection shows, that an element comes twice, is for who builds it to find. */
#ifndef SETT_RDB_VALUE_READER_H
#define SETT_RDB_VALUE_READER_H

#include "keyspace/key.h"
#include "rdb/blob.h"

enum rdb_type {
	RDB_STRING = 0,
	RDB_LIST = 1,
	RDB_SET = 2,
	RDB_ZSET_TEXT = 3,
	RDB_HASH = 4,
	RDB_ZSET = 5,
	RDB_HASH_ZIPMAP = 9,
	RDB_LIST_ZIPLIST = 10,
	RDB_SET_INTSET = 11,
	RDB_ZSET_ZIPLIST = 12,
	RDB_HASH_ZIPLIST = 13,
	RDB_LIST_QUICKLIST = 14,
	RDB_STREAM = 15,
	RDB_HASH_LISTPACK = 16,
	RDB_ZSET_LISTPACK = 17,
	RDB_LIST_QUICKLIST_2 = 18,
	RDB_STREAM_2 = 19,
	RDB_SET_LISTPACK = 20,
	RDB_STREAM_3 = 21,
	RDB_HASH_DEADLINES = 24,
	RDB_HASH_LISTPACK_DEADLINES = 25,
	RDB_TYPE_END = 26,
};
/* Nodes of a list of RDB_LIST_QUICKLIST_2. */
enum { QUICKLIST_PLAIN = 1, QUICKLIST_PACKED = 2 };

/* Slices are valid until the next call. */
struct rdb_element {
	struct bytes
		name; /* of a field; the element of a list or set, the member of a sorted set, the whole string */
	struct bytes value; /* of a field */
	double score;       /* no NaN */
	uint64_t deadline;  /* of a field: ms since 1970, 0 = none */
};

struct rdb_form;
struct rdb_reader {
	enum value_type type; /* what it makes */
	enum rdb_type rdb_type;
	const struct rdb_form *form;
	struct rdb_input in;     /* what comes after what was read */
	uint64_t left;           /* elements or nodes to come */
	uint64_t count;          /* elements so far */
	uint64_t first_deadline; /* where a form has one */
	bool in_blob;
	bool is_empty; /* it has come to the end of a collection without elements */
	struct blob blob;
	struct rdb_room blob_room, name_room, value_room;
};

/* `data` begins with the byte of the type, and lasts as long as the reader, which must not be moved or copied. To be closed if SETT_OK. RDB_MALFORMED,
 * SETT_NO_MEMORY. Of a stream only the type is read: stream_form.h has what reads on. */
int rdb_reader_open(struct rdb_reader *, struct bytes data);
/* The same for a value whose type was read before. */
int rdb_reader_open_typed(struct rdb_reader *, uint8_t type, struct rdb_input);
/* About how many bytes of elements it makes, from what its beginning says. */
uint64_t rdb_reader_weight(const struct rdb_reader *);
/* About how many elements a collection has, rather too many, before the first of them is read. */
uint64_t rdb_reader_elements(const struct rdb_reader *);
/* SETT_NOT_FOUND at the end; what follows the value is then `in`. RDB_MALFORMED (also for a collection without
 * elements), SETT_NO_MEMORY. */
int rdb_reader_next(struct rdb_reader *, struct rdb_element *ret);
void rdb_reader_close(struct rdb_reader *);
/* What Redis calls the form of the value, for the log. Also if opening it has failed. */
const char *rdb_reader_form_name(const struct rdb_reader *);

#endif
