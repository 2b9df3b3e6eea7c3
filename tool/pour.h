/* Files that are copied with their checksums, and how far that is. One thread. */
#ifndef SETT_TOOL_POUR_H
#define SETT_TOOL_POUR_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/base/hash.h"
#include "storage/status.h"

#define POUR_TICK_NS 500000000ull

struct pour {
	bool is_quiet;
	const char *verb; /* "copied", for the lines that say how far it is */
	const volatile sig_atomic_t
		*is_ended; /* once it is set, a copy ends with SETT_ABORTED; may be NULL */
	void (*tick)(
		void *arg); /* called while it copies, not more often than each POUR_TICK_NS; may be NULL */
	void *tick_arg;
	uint64_t done, total; /* bytes */
	uint64_t shown_ns, ticked_ns;
	uint8_t *room;
	struct hash64_stream *hash;
};
/* SETT_NO_MEMORY. */
int pour_init(struct pour *, bool is_quiet, const char *verb, const volatile sig_atomic_t *is_ended);
void pour_free(struct pour *);

/* What the last system call has done, with errno: SETT_NOT_FOUND, SETT_NO_SPACE, SETT_IO. */
int pour_failed(const char *call, const char *path, struct sett_error *);
/* Reads the file to its end, and writes it to `to` (-1: nowhere; named `to_name`). SETT_NOT_FOUND: there is no `from`. */
int pour_file(struct pour *, const char *from, int to, const char *to_name, uint64_t *ret_size,
	      uint64_t *ret_sum, struct sett_error *);
/* A copy, DIRECTORY/NAME, which is there whole or not at all, on the device, with this time. */
int pour_copy(struct pour *, const char *from, const char *directory, const char *name, int64_t mtime_ns,
	      uint64_t *ret_size, uint64_t *ret_sum, struct sett_error *);
/* The same of bytes. */
int pour_bytes(struct pour *, const void *data, size_t size, const char *directory, const char *name,
	       struct sett_error *);
/* All of the bytes. A signal that interrupts the write lets it look whether it is ended. */
int pour_write(struct pour *, int to, const char *to_name, const void *data, size_t size,
	       struct sett_error *);
/* "DIRECTORY/NAME" + `suffix`; SETT_INVALID: too long. */
int pour_path(char *ret, size_t size, const char *directory, const char *name, const char *suffix,
	      struct sett_error *);
/* DIRECTORY is made if it is not there, and its name is on the device. */
int pour_make_directory(const char *directory, struct sett_error *);
int pour_sync_directory(const char *directory, struct sett_error *);

#endif
