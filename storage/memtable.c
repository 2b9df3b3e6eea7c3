/* memtable.c: to be written. */
