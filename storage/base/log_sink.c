/* base/log_sink.c: to be written. */
