/* value_log.c: to be written. */
