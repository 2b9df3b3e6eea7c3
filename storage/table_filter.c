/* table_filter.c: to be written. */
