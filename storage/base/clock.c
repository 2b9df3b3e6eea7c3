/* base/clock.c: to be written. */
