/* snapshots.c: to be written. */
