/* Flush: one memtable becomes one L0 table. */
#ifndef SETT_FLUSH_JOB_H
#define SETT_FLUSH_JOB_H

#include "job.h"

/* Writes the table and applies the edit; calls the engine's `flushed` once that is durable. One flush at a
 * time, oldest memtable first. SETT_ABORTED if the pause said so. */
int flush_job_run(const struct job_context *, const struct flush_source *, struct sett_error *);

#endif
