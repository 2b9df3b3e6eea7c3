/* superversion.c: to be written. */
