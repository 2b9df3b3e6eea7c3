/* flush_job.c: to be written. */
