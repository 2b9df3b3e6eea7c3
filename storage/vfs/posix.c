/* vfs/posix.c: to be written. */
