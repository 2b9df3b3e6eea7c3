/* value_log_gc.c: to be written. */
