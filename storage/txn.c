/* txn.c: to be written. */
