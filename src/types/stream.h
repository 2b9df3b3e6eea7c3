/* Streams: entries in the order of their ids, with an id that never goes back.
 *
 * The newest entries lie in the body of the root. Once the body would be larger than `packed_size`, all of it, the new entry
 * included, becomes a *node*, an engine entry of its own, and the body begins anew; so in the long run an XADD writes the root
 * and its share of a node, and a node is large enough for the value log (types/limits.h). A small stream has no nodes. An entry
 * that is larger is a node by itself.
 *
 *     fields   count added last deleted first run-count base groups next-group nodes      all varints, ids two of them
 *     value  = run                                                                        (stream_run.h), of `base`
 *     node     prefix 00 ms:u64be seq:u64be      head: count:varint    body: run
 *
 *     prefix       keyspace_element_prefix
 *     count        entries; added: as XINFO tells, may be set by the client
 *     last         the id given last; deleted: the highest that XDEL removed; first: of the first entry, 0-0 if there is none
 *     run-count    entries of the body; base: of its run
 *     groups       for consumer groups: how many there are, and a number that none has had
 *
 * A node's key is the base of its run, and stays when entries are removed from it. Trimmed nodes leave the engine only
 * after a while: no walk meets those before the first entry, as it begins at `first`.
 *
 *     struct stream s;
 *     stream_open(&key, packed_size, &s);
 *     stream_add(&s, id, texts, count);
 *     stream_save(&s);
 *
 * Changes are seen at once through the same struct stream. Functions return statuses of the engine. Conflicts are the
 * root's: the caller has opened the key. */
#ifndef SETT_TYPES_STREAM_H
#define SETT_TYPES_STREAM_H

#include "keyspace/key.h"
#include "types/stream_run.h"

struct digest;

/* In files. */
enum stream_encoding { STREAM_RUNS = 1 };

enum { STREAM_NODE_KEY_SIZE = ELEMENT_PREFIX_SIZE + 1 + 16 };

struct stream {
	struct key *key;
	struct keyspace_view
		*elements;  /* through which nodes and groups are read and written: the key's, or a build's */
	size_t packed_size; /* the body is not larger, nor a node without its last entry */
	uint64_t count, added;
	struct stream_id last, deleted, first;
	uint64_t run_count;
	struct stream_id base;
	uint64_t groups, next_group;
	uint64_t nodes;
	uint64_t object; /* 0: none yet */
	uint64_t object_bytes;
	bool changed;      /* the root has to be written */
	struct bytes body; /* once it is read */
	bool is_body_read;
	uint8_t *own; /* the body's memory once it is changed, in the view's arena */
	size_t own_capacity;
};

/* The key has been opened; it is absent, then the stream is empty, or holds a stream. SETT_CORRUPT. */
int stream_open(struct key *, size_t packed_size, struct stream *ret);
/* The same stream in another transaction with the same snapshot, for walks alone. `ret` is a copy of a struct stream whose body
 * was read; the body's bytes are the caller's. `key` is memory for the handle; `epoch` is that of the stream's key. */
void stream_go_on(struct keyspace_view *, uint64_t epoch, struct key *key, struct stream *ret);
int stream_read_body(struct stream *);
/* Adds an entry; `id` is above `last`. `texts`: names and values in turn. */
int stream_add(struct stream *, struct stream_id, const struct bytes *texts, size_t count);
/* The same of texts as they are in a run. */
int stream_add_texts(struct stream *, struct stream_id, const struct stream_texts *);
/* Whether it was there. Sets `deleted`. */
int stream_delete(struct stream *, struct stream_id, bool *ret);
/* Removes the first `count` entries, which it has. */
int stream_drop(struct stream *, uint64_t count);
/* How many entries have a lower id, if it is less than `most`, else `most`. */
int stream_count_below(struct stream *, struct stream_id, uint64_t most, uint64_t *ret);
/* The object of the stream, which may have none yet, for entries beside the nodes. New ones are written in commits of their own where
 * that is allowed (keyspace/build.h): after each, `elements` takes a build_step. */
int stream_take_object(struct stream *);
/* Writes the root, if there is something to write. The key is there afterwards, with an empty stream too. */
int stream_save(struct stream *);

/* Entries whose ids are from `from` to `to`, both included, in order or backwards. The stream must not be changed
 * meanwhile. */
struct stream_walk {
	struct stream *stream;
	struct stream_id from, to;
	bool backward;
	enum { STREAM_WALK_BEGINS, STREAM_WALK_NODES, STREAM_WALK_BODY, STREAM_WALK_ENDS } state;
	struct stream_id node;          /* where it may begin; zeros: to be searched for */
	struct sett_iterator *iterator; /* over nodes; NULL, too, in a node that was found without it */
	struct stream_id base;          /* of the present run */
	struct bytes run;
	size_t offset;   /* of the next entry */
	size_t *offsets; /* backwards: of all of the run's, of which `left` are to come; in the arena */
	size_t left, capacity;
};
void stream_walk(struct stream *, struct stream_id from, struct stream_id to, bool backward,
		 struct stream_walk *ret);
/* The entry before the first one of the walk, which goes forward, was found in this node (stream_walk_node). A hint: zeros, or that
 * of a node which is gone, only cost a search. */
void stream_walk_behind(struct stream_walk *, struct stream_id node);
/* The node in which the present entry is; zeros: in none. */
struct stream_id stream_walk_node(const struct stream_walk *);
/* Whether the next entry is not of the node that the last one was of: then nothing that was read of that is needed any more. Of a walk
 * that goes forward. */
static inline bool
stream_walk_is_between(const struct stream_walk *w)
{
	return w->offset == w->run.size;
}
/* SETT_NOT_FOUND at the end. What it gives is valid until the next call. */
int stream_walk_next(struct stream_walk *, struct stream_entry *ret);
void stream_walk_close(struct stream_walk *);

/* ---- for the table of types ---- */
const char *stream_encoding_name(const struct root *);
int stream_copy(const struct key *from, struct key *to);
int stream_digest(struct key *, struct digest *);

#endif
