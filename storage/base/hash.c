/* base/hash.c: to be written. */
