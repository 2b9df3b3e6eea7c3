/* What a connection has yet to send, and how far it may be sent (I1).
 *
 * Replies are appended to `writer` one behind the other; each is then stamped with the timestamp it depends
 * on. One thread at a time. */
#ifndef SETT_NET_OUTPUT_H
#define SETT_NET_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/durability.h"
#include "net/reply_source.h"
#include "resp/writer.h"

enum {
	OUTPUT_MARKS = 32,
	OUTPUT_UNCOUNTED = 16 * 1024, /* unsent bytes that no limit counts: Redis' fixed reply buffer */
};

/* Release frontiers: the newest timestamps that have got there. */
struct frontier {
	uint64_t reached[DURABILITIES];
};

/* Bytes before stream position `end` that are behind the previous mark wait until `timestamp` has got to where `need`
 * says. */
struct output_mark {
	uint64_t end;
	uint64_t timestamp : 62;
	uint64_t need : 2; /* enum durability; packed, as idle connections have many marks */
};

/* A large part of a reply: made and sent piece by piece when all before it has left. */
struct output_stream {
	struct output_stream *next;
	uint64_t position; /* its bytes come behind those before it; themselves they are not counted. While it
			      is on its way from the command: an offset into the reply */
	struct reply_source *source; /* owned */
};

/* Takes the source over. NULL if out of memory (the source stays the caller's). */
struct output_stream *output_stream_create(struct reply_source *, uint64_t position);
/* Turns a list around. */
struct output_stream *output_streams_reverse(struct output_stream *);
/* Frees the stream and those that follow it. NULL is fine. */
void output_streams_free(struct output_stream *);

struct output {
	struct resp_writer writer; /* unsent bytes begin at `sent` */
	size_t sent;
	uint64_t base;                          /* stream position of writer.data[0] */
	uint64_t released;                      /* stream position up to which bytes may leave */
	uint64_t released_timestamp;            /* of the last mark that was released */
	struct output_mark marks[OUTPUT_MARKS]; /* oldest first */
	unsigned mark_count;
	uint64_t awaits_sync;          /* the newest timestamp that any mark wanted, or wants, on the disk */
	struct output_stream *streams; /* yet to be sent, by position */
};

void output_init(struct output *);
void output_free(struct output *);

/* What was appended since the last stamp, up to `end` bytes of the writer, depends on `timestamp` (0: on nothing
 * of its own). */
void output_stamp_to(struct output *, size_t end, uint64_t timestamp, enum durability need,
		     const struct frontier *);
static inline void
output_stamp(struct output *o, uint64_t timestamp, enum durability need, const struct frontier *frontier)
{
	output_stamp_to(o, o->writer.size, timestamp, need, frontier);
}
/* The same for what depends on nothing of its own. */
static inline void
output_stamp_free(struct output *o)
{
	static const struct frontier nothing;
	output_stamp(o, 0, DURABILITY_DEFAULT, &nothing);
}
/* Releases what the frontiers have reached. */
void output_release(struct output *, const struct frontier *);
static inline bool
output_is_held(const struct output *o)
{
	return o->mark_count > 0;
}
/* Whether the frontiers have reached what the first held byte waits for. Only if something is held. */
static inline bool
output_may_go_on(const struct output *o, const struct frontier *frontier)
{
	return o->marks[0].timestamp <= frontier->reached[o->marks[0].need];
}
/* Unsent bytes, held or not. */
static inline size_t
output_pending(const struct output *o)
{
	return o->writer.size - o->sent;
}
/* Unsent bytes that may leave now, that is before the next stream. */
static inline size_t
output_sendable(const struct output *o)
{
	uint64_t end = o->released;
	if (__builtin_expect(o->streams != NULL, 0) && o->streams->position < end)
		end = o->streams->position;
	return (size_t)(end - o->base) - o->sent;
}
/* The stream whose turn it is: all before it has left, and it may leave too. NULL if there is none. */
static inline struct output_stream *
output_ready_stream(const struct output *o)
{
	struct output_stream *s = o->streams;
	return s != NULL && s->position == o->base + o->sent && s->position < o->released ? s : NULL;
}
/* Takes over the streams of a reply, whose position 0 is the stream position `start`. Behind all others. */
void output_add_streams(struct output *, struct output_stream *, uint64_t start);
/* Frees the first stream: all of it has left. */
void output_finish_stream(struct output *);
/* The first `size` sendable bytes have left. */
void output_consume(struct output *, size_t size);
/* Takes over the bytes of `reply`, which is empty and freed or reusable after: its buffer itself where that
 * saves a copy. False if out of memory. */
bool output_take(struct output *, struct resp_writer *reply);
/* Frees the buffer if it is empty and larger than `keep` bytes. */
void output_shrink(struct output *, size_t keep);

#endif
