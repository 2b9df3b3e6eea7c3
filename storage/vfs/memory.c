/* vfs/memory.c: to be written. */
