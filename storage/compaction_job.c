/* compaction_job.c: to be written. */
