/* log_recovery.c: to be written. */
