/* Everything that is there, or all under a prefix, or all that came since a commit, by several threads at once. The keys are cut
 * into ranges of about one size (storage/key_ranges.h); each thread takes one after the other. All see one snapshot. */
#ifndef SETT_STORAGE_STREAM_H
#define SETT_STORAGE_STREAM_H

#include "storage/engine.h"

struct sett_stream_options {
	struct bytes prefix;
	uint64_t since; /* as in struct sett_iterator_options, as is the next */
	bool all_versions;
	unsigned threads; /* 4; more than 64 are 64 */
	unsigned ranges;  /* eight for each thread; fewer where there is little */
	/* Each entry, in order within its range; ranges are numbered in the order of keys, and may come at once on several threads.
	 * `it` is at the entry; bodies are read in `txn`, and forgotten after the call. A status other than SETT_OK ends the stream.
	 */
	int (*entry)(void *arg, unsigned range, struct sett_txn *txn, struct sett_iterator *it);
	/* The range has come to its end, on the thread that had it. May be NULL. */
	int (*range_done)(void *arg, unsigned range);
	void *arg;
};

/* Runs to the end, on threads of its own, which wait for the disk. `ret_snapshot` (may be NULL): the commit up to which it shows
 * all. What a callback said; statuses of reads, SETT_NO_MEMORY, SETT_TOO_LARGE (sett_txn_create, sett_snapshot_keep): then the
 * other threads have ended early, too. Keeps a snapshot meanwhile. Any thread. */
int sett_stream(struct sett_engine *, const struct sett_stream_options *, uint64_t *ret_snapshot,
		struct sett_error *);

#endif
