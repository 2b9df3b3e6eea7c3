/* merging_iterator.c: to be written. */
