/* block_cache.c: to be written. */
