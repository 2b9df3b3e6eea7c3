/* base/random.c: to be written. */
