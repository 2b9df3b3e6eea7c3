/* level_iterator.c: to be written. */
