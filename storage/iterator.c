/* iterator.c: to be written. */
