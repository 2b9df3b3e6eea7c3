/* A new database from what is sorted already: written straight to tables of the bottom level, and to the value log, without a log,
 * memtables or compaction. Several streams of disjoint keys may be written at once, each by a thread.
 *
 *     struct sett_bulk_load *load;
 *     struct sett_bulk_stream *stream;
 *     sett_bulk_load_open("data", &options, &load, &error);
 *     sett_bulk_stream_open(load, &stream);                     // on each of some threads
 *     while (...)
 *             sett_bulk_stream_add(stream, key, &put, &error);  // ascending keys
 *     sett_bulk_stream_close(stream, &error);
 *     sett_bulk_load_finish(load, &error);                      // now there is a database, as of one commit
 *
 * Until it is finished there is no database: after a failure, a kill or a power cut an open refuses the directory, and
 * sett_checkpoint_discard (storage/checkpoint.h) empties it. Into a database that has something already: storage/write_batch.h,
 * with sett_engine_gather. */
#ifndef SETT_STORAGE_BULK_LOAD_H
#define SETT_STORAGE_BULK_LOAD_H

#include "storage/engine.h"

/* All zero is a valid set of options. What has the name of a field of struct sett_options means what it does there. */
struct sett_bulk_options {
	struct vfs *vfs;
	const struct sett_clock *clock;
	size_t value_threshold;
	uint64_t value_log_file_size;
	enum sett_compression bottom_compression, value_compression; /* ZSTD, none */
	int compression_level;
	uint64_t table_size; /* 32 MiB */
};

struct sett_bulk_load;
struct sett_bulk_stream;

/* `directory` is absent or empty, and locked from here on. SETT_INVALID: it is neither, or its path too long; SETT_LOCKED, SETT_IO,
 * SETT_NO_MEMORY. */
int sett_bulk_load_open(const char *directory, const struct sett_bulk_options *, struct sett_bulk_load **ret,
			struct sett_error *);
/* All streams are closed. The database holds, durably, what was added, as its commit 1. SETT_INVALID: keys of two streams
 * overlap, or nothing was added; an earlier failure of a stream; SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY. Frees the load in any
 * case; after a failure the directory was emptied, as far as that was possible. */
int sett_bulk_load_finish(struct sett_bulk_load *, struct sett_error *);
/* All streams are closed. Empties the directory; NULL is fine. */
void sett_bulk_load_abandon(struct sett_bulk_load *);

/* Any thread; each stream is one thread's at a time. SETT_NO_MEMORY. */
int sett_bulk_stream_open(struct sett_bulk_load *, struct sett_bulk_stream **ret);
/* Keys ascend; none comes twice. One that does not ascend from the last of a table that is full is found by
 * sett_bulk_load_finish, if tables overlap by it; else the database has what was added, in its order. Of `put` its head, body and expires_at count; with one of the others set: SETT_INVALID, as if
 * keys don't ascend. SETT_TOO_LARGE, SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY. After a failure it is only to be closed. */
int sett_bulk_stream_add(struct sett_bulk_stream *, struct bytes key, const struct sett_put *put,
			 struct sett_error *);
/* Makes durable what was added, or says again what failed: then the load can't be finished. NULL is fine. */
int sett_bulk_stream_close(struct sett_bulk_stream *, struct sett_error *);

#endif
