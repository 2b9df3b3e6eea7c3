/* Where a large part of a reply comes from, piece by piece, while it is being sent: a body of the value log, or what a
 * command reads in a snapshot that it keeps (txn/snapshot_source.h). One piece is in memory.
 *
 * A source belongs to its reply: it is run once, and never again after its first byte, so an error can only close the
 * connection. One thread at a time: a pool thread within `next`, else the connection's reactor. */
#ifndef SETT_NET_REPLY_SOURCE_H
#define SETT_NET_REPLY_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "resp/writer.h"

struct reply_source;
struct sett_body_stream; /* storage/engine.h */
struct sett_error;

enum { REPLY_PIECE_SIZE = 256 * 1024 };

/* What a source without an end has at this moment. */
enum source_state {
	SOURCE_PIECE,   /* a piece was made */
	SOURCE_ON_DISK, /* `next` makes it, on the pool */
	SOURCE_NOTHING, /* nothing: client_resume is called when there may be more */
	SOURCE_CLOSE,   /* nothing any more: the connection is to be closed */
	SOURCE_AGAIN,   /* for the source's own use */
};

struct reply_source_operations {
	/* For sources without an end, which wait for what happens: appends the next piece, if that can be had without
	 * waiting. On the reactor. NULL: the pool makes all pieces. */
	enum source_state (*at_hand)(struct reply_source *, struct resp_writer *piece);
	/* Appends the next REPLY_PIECE_SIZE bytes, or about as many, to the piece, which is empty. `ret_is_last`: none
	 * follow. On a pool thread, whose state `thread` is (request_handler.thread_start). May wait for the disk.
	 * A negative status of the engine, with its text. */
	int (*next)(struct reply_source *, void *thread, struct resp_writer *piece, bool *ret_is_last,
		    struct sett_error *);
	/* Why it must not go on; NULL: it may. Called now and then on the reactor. NULL: it always may. */
	const char *(*limit)(struct reply_source *);
	/* Frees it. Does not wait. */
	void (*close)(struct reply_source *);
};

struct reply_source {
	const struct reply_source_operations *operations;
	uint64_t remaining; /* bytes to come, about: they count for client-output-buffer-limit */
};

/* A stream's bytes. Takes the stream over; NULL if out of memory (the stream stays the caller's). */
struct reply_source *reply_source_of_body(struct sett_body_stream *);

#endif
