/* base/arena.c: to be written. */
