/* Status codes of the storage engine.
 *
 * Every function that can fail returns an int: SETT_OK (0) or one of the negative codes below. Outputs
 * (`ret_…`) are untouched on failure. Detail for people (which file, which offset, which system call) goes
 * into a `struct sett_error` where a function takes one. */
#ifndef SETT_STORAGE_STATUS_H
#define SETT_STORAGE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

enum sett_status {
	SETT_OK = 0,
	SETT_NOT_FOUND = -1,   /* no such key, file, ... */
	SETT_WOULD_BLOCK = -2, /* the answer needs the disk (or a wait) and the caller asked not to wait */
	SETT_CONFLICT = -3,    /* another transaction committed something this one read: run again */
	SETT_ABORTED = -4,     /* the caller's own commit check said no */
	SETT_CORRUPT = -5,     /* a checksum, a length or an order is wrong in a file */
	SETT_IO = -6,          /* a system call failed; the error text names it */
	SETT_NO_SPACE = -7,    /* ENOSPC or EDQUOT; heals when space returns */
	SETT_NO_MEMORY = -8,   /* an allocation failed */
	SETT_INVALID = -9,     /* an argument is out of its range */
	SETT_LOCKED = -10,     /* another process has the directory open */
	SETT_READ_ONLY = -11,  /* the engine, or the transaction, takes no writes */
	SETT_FAILED = -12,     /* the log failed earlier; writes are refused until reopened */
	SETT_TOO_LARGE = -13,  /* a key, value or transaction beyond the bounds in storage/limits.h */
	SETT_NO_HANDLES = -14, /* EMFILE or ENFILE; heals when others close files */
};

/* Where a failure happened, in words; `message` is always terminated. */
struct sett_error {
	int status;
	int system_errno; /* 0 where no system call was involved */
	uint64_t missing; /* SETT_WOULD_BLOCK of a file's read: offset of the first byte that is not in memory
			   */
	char message[400];
};

/* A short constant phrase for a status, e.g. "not found". Never NULL. */
const char *sett_status_text(int status);

/* Whether a failure passes once others give up space, memory or handles: what failed is tried again. */
bool sett_status_heals(int status);

/* Fills `error` (which may be NULL) and returns `status`, so that a caller can `return sett_error_set(...)`.
 */
int sett_error_set(struct sett_error *error, int status, int system_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
