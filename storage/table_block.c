/* table_block.c: to be written. */
