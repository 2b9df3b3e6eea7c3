/* table_iterator.c: to be written. */
