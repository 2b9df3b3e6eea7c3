/* conflict_table.c: to be written. */
