/* base/thread.c: to be written. */
