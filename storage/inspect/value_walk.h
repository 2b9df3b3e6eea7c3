/* A value-log file read from front to back, without pointers: what a reader of the database never does. */
#ifndef SETT_INSPECT_VALUE_WALK_H
#define SETT_INSPECT_VALUE_WALK_H

#include "storage/base/bytes.h"
#include "storage/vfs.h"

struct value_walk {
	/* A whole record of `size` bytes; how the body stands in the payload is in the low byte of `flags`.
	 * An encrypted one is decrypted, its seals apart. Of a payload larger than 1 MiB its beginning alone. Any may be NULL; results other than SETT_OK end
	 * the walk. */
	int (*record)(void *arg, uint64_t offset, uint64_t size, uint32_t flags, struct bytes payload);
	/* Bytes that are no whole record: a hole, a torn write, or damage. `text` says which, as far as one
	 * can tell. */
	int (*gap)(void *arg, uint64_t offset, uint64_t size, const char *text);
	/* The file's header is not what it should be, `text` says how; the walk goes on. */
	int (*bad_header)(void *arg, const char *text);
	void *arg;
};
/* SETT_NOT_FOUND, SETT_IO, SETT_NO_MEMORY, or a callback's result. */
int value_walk(struct vfs *, const char *path, uint64_t number, const struct value_walk *,
	       struct sett_error *);

#endif
