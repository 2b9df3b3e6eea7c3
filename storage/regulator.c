/* regulator.c: to be written. */
