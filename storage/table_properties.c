/* table_properties.c: to be written. */
