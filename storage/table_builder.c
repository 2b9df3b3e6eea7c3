/* table_builder.c: to be written. */
