/* write_buffer.c: to be written. */
