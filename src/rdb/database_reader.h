/* The entries of an RDB file (database_writer.h), versions 1 to 12, read from untrusted bytes.
 *
 *     rdb_database_open(&reader, file, &room);
 *     while ((status = rdb_database_next(&reader, &entry)) == SETT_OK)
 *             of a key: read the value with rdb_reader_open_typed(&value, entry.type, reader.in), then
 *             rdb_database_value_read(&reader, value.in);
 *
 * The reader is a plain value: a copy of it goes on from the same place. */
#ifndef SETT_RDB_DATABASE_READER_H
#define SETT_RDB_DATABASE_READER_H

#include "rdb/database_writer.h"
#include "rdb/value_reader.h"

enum { RDB_DATABASE_PROBLEM_SIZE = 160 };

struct rdb_database_reader {
	struct rdb_input in;
	const uint8_t *begin, *summed; /* `summed`: up to where the checksum is made */
	uint64_t crc;
	struct rdb_room *room; /* for names and texts, one at a time */
	struct rdb_room *value_room;
	unsigned version;
	uint64_t db;
	/* Set after opening: what can't be taken over is an entry, not a problem; the checksum is not looked at. */
	bool surveys, ignores_checksum;
	char problem[RDB_DATABASE_PROBLEM_SIZE]; /* RDB_MALFORMED: what is wrong, for people; may be empty */
};

enum rdb_entry_kind {
	RDB_ENTRY_KEY,
	RDB_ENTRY_AUXILIARY,
	RDB_ENTRY_FUNCTION,
	RDB_ENTRY_FOREIGN /* `surveys` alone: what can't be taken over, passed over. `value` says what it is */
};

/* Slices are valid until the next call. */
struct rdb_entry {
	enum rdb_entry_kind kind;
	struct bytes name;  /* of the key or of the field; empty: what can't be taken over is no key's */
	struct bytes value; /* of an auxiliary field; the code of a function */
	uint64_t db;
	uint64_t deadline;       /* ms since 1970, 0 = none */
	int64_t idle, frequency; /* -1: not said */
	uint8_t type;            /* of a key's value, which comes next */
	const uint8_t *value_at; /* where it begins */
};

/* Whether these bytes begin as an RDB file does. */
bool rdb_database_begins(struct bytes file);
/* The file, or what of it is there, lasts as long as the reader; so do the rooms, which the caller frees. RDB_MALFORMED. */
int rdb_database_open(struct rdb_database_reader *, struct bytes file, struct rdb_room *room,
		      struct rdb_room *value_room);
/* SETT_NOT_FOUND: that was all, the checksum is right, and `in` is behind it. RDB_MALFORMED, SETT_NO_MEMORY. */
int rdb_database_next(struct rdb_database_reader *, struct rdb_entry *ret);
void rdb_database_value_read(struct rdb_database_reader *, struct rdb_input);
static inline uint64_t
rdb_database_offset(const struct rdb_database_reader *r)
{
	return (uint64_t)(r->in.at - r->begin);
}

#endif
