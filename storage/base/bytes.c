/* base/bytes.c: to be written. */
