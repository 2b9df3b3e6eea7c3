/* Compaction: tables of one or two levels become new tables of one, without what nobody can see any more. */
#ifndef SETT_COMPACTION_JOB_H
#define SETT_COMPACTION_JOB_H

#include "job.h"
#include "regulator.h"

/* Runs a TASK_COMPACT, TASK_MOVE or TASK_DROP and applies its edit. `ret_unreadable` (0 = none): a marked
 * value-log file in which a damaged value was found and left. SETT_ABORTED if the pause said so. */
int compaction_job_run(const struct job_context *, struct task *, uint64_t *ret_unreadable,
		       struct sett_error *);

#endif
