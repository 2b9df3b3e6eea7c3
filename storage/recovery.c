/* recovery.c: to be written. */
