/* value_log_writer.c: to be written. */
