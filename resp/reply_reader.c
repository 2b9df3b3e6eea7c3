/* reply_reader.c: to be written. */
