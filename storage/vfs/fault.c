/* vfs/fault.c: to be written. */
