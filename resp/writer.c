/* writer.c: to be written. */
