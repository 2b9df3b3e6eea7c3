/* Streams in RDB values: their nodes and groups, read from untrusted bytes and written.
 *
 *     stream    length, (id, node) ...                 both strings; id: of 16 bytes, ms:u64be seq:u64be
 *               entries:length last:id2
 *               [first:id2 deleted:id2 added:length]   not in RDB_STREAM
 *               groups:length, group ...
 *     id2       ms:length seq:length
 *     group     name:string last:id2 [read:length]     not in RDB_STREAM; all bits set: not known
 *               length, (id delivered:u64le count:length) ...                     all that is pending; here id is 16 bytes as they are
 *               length, consumer ...
 *     consumer  name:string seen:u64le [active:u64le]  RDB_STREAM_3 only
 *               length, id ...                         what is pending for it
 *
 *     node      a listpack: master, entry ...
 *     master    entries deleted names name ... 0       the names of the node's first entry
 *     entry     flags ms seq, then by the flags        ms and seq: less those of the node's id
 *               value ...  or  pairs (name value) ...
 *               size                                   elements of the entry before this one
 *     flags     1: deleted, 2: its names are the master's
 *
 * Times are ms since 1970. From what redis-server's DUMP prints, and from the comments in its t_stream.c. */
#ifndef SETT_RDB_STREAM_FORM_H
#define SETT_RDB_STREAM_FORM_H

#include "rdb/value_writer.h"
#include "types/stream_run.h"

/* ---- reading ---- */

struct rdb_stream_pending {
	struct stream_id id;
	uint64_t delivered, count;
	bool is_owned; /* by a consumer that was read */
};

/* Calls come in the order of the functions below, each until it says SETT_NOT_FOUND; slices are valid until the next call. */
struct rdb_stream_reader {
	struct rdb_reader *reader;
	bool has_numbers, has_read, has_active;
	uint64_t nodes, groups, consumers, owned; /* to come */
	struct stream_id node, last;              /* the id of the node; of the entry read last */
	uint64_t count;                           /* of entries so far */
	struct blob names;                        /* before the master's names */
	uint64_t name_count, node_entries, node_deleted, expanded;
	struct buffer texts, pending; /* pending: of struct rdb_stream_pending */
	size_t left;                  /* of `pending`: not owned yet */
};

struct rdb_stream_numbers {
	struct stream_id last, deleted;
	uint64_t added;
};

struct rdb_stream_group {
	struct bytes name;
	struct stream_id last;
	uint64_t read; /* + 1; 0: not known */
	bool has_read; /* else it is to be found out */
};

struct rdb_stream_consumer {
	struct bytes name;
	uint64_t seen;
};

/* The value is a stream whose type was read. All functions: RDB_MALFORMED, SETT_NO_MEMORY. */
int rdb_stream_open(struct rdb_stream_reader *, struct rdb_reader *);
void rdb_stream_close(struct rdb_stream_reader *);
/* Entries in the order of their ids. */
int rdb_stream_entry(struct rdb_stream_reader *, struct stream_id *ret, struct stream_texts *ret_texts);
/* Once. */
int rdb_stream_numbers(struct rdb_stream_reader *, struct rdb_stream_numbers *ret);
int rdb_stream_group(struct rdb_stream_reader *, struct rdb_stream_group *ret);
/* Of this group. At their end all that is pending had its consumer. */
int rdb_stream_consumer(struct rdb_stream_reader *, struct rdb_stream_consumer *ret);
/* Of this consumer. */
int rdb_stream_owned(struct rdb_stream_reader *, struct rdb_stream_pending *ret);

/* ---- writing ---- */

/* Gathers nodes as Redis 7.0 does with its default sizes. All zero, but for `out` and `expected`, at the beginning. */
struct rdb_stream_writer {
	struct rdb_writer *out;
	/* How many nodes there will be: then they end where rdb_stream_end_node says so, and nothing waits in `out` for their
	 * number. 0: not known. */
	uint64_t expected;
	size_t length_at;
	uint64_t nodes;
	struct stream_id node;
	uint64_t entries, name_count; /* of the present node */
	struct buffer names, others;  /* of its first entry, as in a run; of another one */
	struct listpack_writer master, body;
};

/* The type and what comes before the nodes. */
void rdb_stream_begin(struct rdb_stream_writer *);
/* SETT_CORRUPT: the entry is. */
int rdb_stream_put(struct rdb_stream_writer *, const struct stream_entry *);
/* Of an expected one, which has an entry at least. */
void rdb_stream_end_node(struct rdb_stream_writer *);
/* After the last entry. */
void rdb_stream_end(struct rdb_stream_writer *);
void rdb_stream_writer_free(struct rdb_stream_writer *);
/* id2 and id. */
void rdb_put_id_lengths(struct rdb_writer *, struct stream_id);
void rdb_put_id_bytes(struct rdb_writer *, struct stream_id);

#endif
