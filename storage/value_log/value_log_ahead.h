/* Reading many values of one snapshot: where they follow one another in a file, one read brings many.
 *
 * Values that GC has moved lie in the order of their keys, so a walk over a range of keys meets them front to
 * back, with gaps where newer versions went elsewhere. Up to VALUE_AHEAD_RUNS such runs are followed at once.
 * Values that lie scattered are read one by one, as value_log_read_into does.
 *
 * One thread; belongs to one transaction: what is read ahead is only ever used for values that its snapshot
 * sees. */
#ifndef SETT_VALUE_LOG_AHEAD_H
#define SETT_VALUE_LOG_AHEAD_H

#include "storage/base/arena.h"
#include "value_log.h"

enum { VALUE_AHEAD_RUNS = 4 };

struct value_ahead_run {
	uint64_t file;        /* 0: none */
	uint64_t end;         /* where the value last taken ends */
	uint64_t start, stop; /* what `bytes` holds of the file */
	const uint8_t *bytes; /* in the arena; NULL: nothing was read ahead */
	uint64_t used;        /* bytes of it that were asked for */
	uint64_t step;        /* how much was read ahead last; 0: nothing yet */
};

/* All zero is valid. Before the arena is reset: value_ahead_forget, or all zero again. */
struct value_ahead {
	struct value_ahead_run runs[VALUE_AHEAD_RUNS];
	unsigned next;      /* the run to give up for a new one */
	bool counts_misses; /* set by who wants `misses`: costs a call more for each of them */
	unsigned misses;    /* scattered values that were not in memory */
};

/* The body, checksum verified, in memory of the arena. `flags` and results as value_log_read; out of memory
 * is SETT_NO_MEMORY. */
int value_log_read_ahead(struct value_log *, struct value_ahead *, const struct value_pointer *,
			 unsigned flags, struct arena *, struct bytes *ret, struct sett_error *);

/* Lets go of what was read ahead; the runs go on. Bodies that were given out are as lost as the arena. */
void value_ahead_forget(struct value_ahead *);

#endif
