/* Sources of replies that read the database (I20): they keep the snapshot of the command's transaction, and each piece is
 * read in a transaction of its own in that snapshot. So one piece is in memory, and between pieces nothing but the
 * snapshot is held. Its limits are those of the directives snapshot-limit-seconds and snapshot-limit-bytes. */
#ifndef SETT_TXN_SNAPSHOT_SOURCE_H
#define SETT_TXN_SNAPSHOT_SOURCE_H

#include "txn/command.h"

/* What reads. The command allocates it, with its own state behind it. */
struct snapshot_reader {
	/* Appends elements to the piece until it has at least `enough` bytes, beginning after those of the call
	 * before. The last element ends without its line end: each begins with that of the one before it, if there is
	 * one (snapshot_reader_separate). SETT_NOT_FOUND: nothing is left. The view is of a transaction that waits for
	 * the disk where need be. */
	int (*next)(struct snapshot_reader *, struct keyspace_view *, struct resp_writer *piece,
		    size_t enough);
	void (*free)(struct snapshot_reader *);
	bool has_begun;
	/* Set by `next` before it returns SETT_OK: these bytes follow the piece, before it is called again. */
	struct sett_body_stream *body;
};
/* Called before an element is appended. */
static inline void
snapshot_reader_separate(struct snapshot_reader *reader, struct resp_writer *piece)
{
	if (reader->has_begun)
		resp_raw(piece, "\r\n", 2);
	reader->has_begun = true;
}

/* Appends an element that is a bulk: of these bytes; of the body of a record that was read in the view, from `offset` on. A
 * large body follows the piece as a stream, if it can be one: then `reader->body` is set. Statuses of reading. */
void snapshot_reader_bulk(struct snapshot_reader *, struct resp_writer *piece, struct bytes);
int snapshot_reader_record(struct snapshot_reader *, struct keyspace_view *, const struct sett_record *,
			   uint64_t offset, struct resp_writer *piece);

/* Appends what `reader` reads to the reply; `size` is about how many bytes that will be, 0 if
 * that is not known. Takes the reader over if it
 * returns SETT_OK. SETT_NO_MEMORY; SETT_TOO_LARGE: too many snapshots are kept, the command has to reply another way. */
int context_reply_snapshot(struct command_context *, struct snapshot_reader *, uint64_t size);

#endif
