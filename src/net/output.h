/* What a connection has yet to send, and how far it may be sent (I1).
 *
 * Replies are appended to `writer` one behind the other; each is then stamped with the timestamp it depends
 * on. One thread at a time. */
#ifndef SETT_NET_OUTPUT_H
#define SETT_NET_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp/writer.h"

enum { OUTPUT_MARKS = 32 };

/* Bytes before stream position `end` that are behind the previous mark wait for `timestamp`. */
struct output_mark {
	uint64_t end;
	uint64_t timestamp;
};

struct output {
	struct resp_writer writer; /* unsent bytes begin at `sent` */
	size_t sent;
	uint64_t base;                          /* stream position of writer.data[0] */
	uint64_t released;                      /* stream position up to which bytes may leave */
	uint64_t released_timestamp;            /* of the newest mark that was released */
	struct output_mark marks[OUTPUT_MARKS]; /* oldest first */
	unsigned mark_count;
};

void output_init(struct output *);
void output_free(struct output *);

/* Everything that was appended since the last stamp depends on `timestamp` (0: on nothing of its own).
 * `frontier` is a release frontier that was reached. */
void output_stamp(struct output *, uint64_t timestamp, uint64_t frontier);
/* Releases what depends on timestamps up to `frontier`. */
void output_release(struct output *, uint64_t frontier);
static inline bool
output_is_held(const struct output *o)
{
	return o->mark_count > 0;
}
/* The timestamp that the first held byte waits for. Only if something is held. */
static inline uint64_t
output_held_for(const struct output *o)
{
	return o->marks[0].timestamp;
}
/* Unsent bytes, held or not. */
static inline size_t
output_pending(const struct output *o)
{
	return o->writer.size - o->sent;
}
/* Unsent bytes that may leave. */
static inline size_t
output_sendable(const struct output *o)
{
	return (size_t)(o->released - o->base) - o->sent;
}
/* The first `size` sendable bytes have left. */
void output_consume(struct output *, size_t size);
/* Takes over the bytes of `reply`, which is empty and freed or reusable after: its buffer itself where that
 * saves a copy. False if out of memory. */
bool output_take(struct output *, struct resp_writer *reply);
/* Frees the buffer if it is empty and larger than `keep` bytes. */
void output_shrink(struct output *, size_t keep);

#endif
