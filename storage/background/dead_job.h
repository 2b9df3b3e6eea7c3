/* Upkeep of the dead set: tables that hold nothing but the dead vanish unread, ids of which no table can hold
 * anything leave the set, and cohorts are united where there are many. */
#ifndef SETT_DEAD_JOB_H
#define SETT_DEAD_JOB_H

#include "job.h"
#include "regulator.h"

/* More cohorts than this are united, two at a time: each costs every flush and compaction a look. */
enum { DEAD_COHORTS_MAX = 12 };

/* The key ranges of tables, by their smallest key. */
struct table_span {
	struct bytes low, high;
	uint64_t created_sequence;
};
/* Of all tables of the version, which the caller keeps. `ret` is malloc'd. SETT_NO_MEMORY. */
int table_spans_make(const struct version *, struct table_span **ret, size_t *ret_count);

/* Whether enough of the effective cohort can leave to write it anew without that. `all`: every cohort there
 * is. */
bool dead_cohort_is_loose(const struct dead_cohort *, const struct dead_view *all,
			  const struct table_span *spans, size_t span_count);

/* Runs a TASK_DROP. */
int dead_job_run(const struct job_context *, const struct task *, struct sett_error *);

#endif
