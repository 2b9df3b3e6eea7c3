/* dead_set.c: to be written. */
