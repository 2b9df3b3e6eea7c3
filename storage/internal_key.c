/* internal_key.c: to be written. */
