/* Reads one log segment, a damaged one too: what stands where. For recovery (log_recovery.c) and for those
 * who look without recovering (inspect.h). What the records of several segments add up to, it does not know.
 * One thread at a time. */
#ifndef SETT_LOG_READER_H
#define SETT_LOG_READER_H

#include "file_window.h"
#include "log.h"

struct log_reader {
	struct file_window bytes;
	uint64_t number;     /* as the file's name has it */
	uint64_t seed;       /* of its checksums; set by log_reader_header, or by who knows it */
	struct buffer clear; /* the payload that was decrypted last */
};

/* SETT_NOT_FOUND, SETT_IO, ... */
int log_reader_open(struct log_reader *, struct vfs *, const char *path, uint64_t number,
		    struct sett_error *);
void log_reader_close(struct log_reader *);

enum log_header {
	LOG_HEADER_INTACT,
	LOG_HEADER_BLANK,   /* damaged or cut short, and nothing but zeros behind it: it was being made */
	LOG_HEADER_DAMAGED, /* ... and something behind it */
	LOG_HEADER_OTHER_VERSION,
	LOG_HEADER_OTHER_NUMBER,
};
/* To be called before what follows, unless the seed is known. */
int log_reader_header(struct log_reader *, enum log_header *ret);

enum log_found {
	LOG_FOUND_RECORD,  /* intact */
	LOG_FOUND_DAMAGED, /* its header is intact, its payload is not */
	LOG_FOUND_ZEROS, /* to the end of the page (LOG_PAGE), or of the file: the end of what was written */
	LOG_FOUND_NOISE,
};
/* What stands at `offset` (a multiple of 8, below the size). For a header that is intact `ret` and `ret_next`
 * (where the next record would begin) are set; the payload is valid until the next call. */
int log_reader_look(struct log_reader *, uint64_t offset, enum log_found *ret_found, struct log_record *ret,
		    uint64_t *ret_next);
/* Looks from `offset` on for the next record whose header is intact; the file's size if there is none.
 * `ret_noise_end`: end of the last bytes passed over that are not zero, 0 if all are; behind a log's end they
 * mean nothing. */
int log_reader_search(struct log_reader *, uint64_t offset, uint64_t *ret, uint64_t *ret_noise_end);

#endif
