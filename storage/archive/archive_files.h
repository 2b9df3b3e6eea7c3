/* Which files an archive consists of, and how the blocks of one are read (docs/format-archive.md). */
#ifndef SETT_ARCHIVE_FILES_H
#define SETT_ARCHIVE_FILES_H

#include "archive_format.h"
#include "file_window.h"

struct archive_file {
	struct archive_header header; /* of one that is unreadable: its number alone */
	uint64_t size;
	bool is_unreadable;
};
/* All zero is an empty list. */
struct archive_files {
	struct archive_file *files; /* by number */
	size_t count, capacity;
	uint64_t bytes;
};
/* Reads the headers of all files. A directory that is not there has none. SETT_CORRUPT: a file is of another version;
 * SETT_IO, SETT_NO_MEMORY. */
int archive_files_list(struct vfs *, const char *directory, struct archive_files *ret, struct sett_error *);
/* At the end. SETT_NO_MEMORY. */
int archive_files_add(struct archive_files *, const struct archive_file *);
void archive_files_free(struct archive_files *);

/* The blocks of one file, one after the other. */
struct archive_reader {
	struct file_window bytes;
	uint64_t seed, offset;
	uint64_t number, chain;
	struct buffer clear; /* the payload that was decrypted last */
};
int archive_reader_open(struct archive_reader *, struct vfs *, const char *directory,
			const struct archive_header *, struct sett_error *);
void archive_reader_close(struct archive_reader *);
/* SETT_NOT_FOUND: the file ends at `offset`, or what stands there is no whole block. The payload is valid until the next call. */
int archive_reader_next(struct archive_reader *, struct archive_block *ret, struct bytes *ret_payload);

/* ---- the commits of a chain ---- */

struct archive_place {
	uint64_t commit;
	uint64_t time_ms;
	uint64_t now_ms;   /* the newest `now` of all commits so far */
	uint64_t known_ms; /* before this moment there is no commit but those so far */
};
struct archive_commit {
	struct archive_place place; /* of this commit */
	uint64_t now_ms;            /* its own */
	struct bytes batch;
};
/* What stands behind the last whole block of a chain. */
struct archive_tail {
	uint64_t number, offset, bytes; /* file, place in it, and how much; 0 bytes: nothing */
	bool is_damage; /* it was durable once. If not, a write that was cut short looks the same. */
};
enum { ARCHIVE_ENOUGH = 1 }; /* what a visitor says to end the walk */
struct archive_visitor {
	/* Where the walk begins: at `from` or before it. May be NULL, as all but `commit`. */
	int (*begin)(void *arg, const struct archive_place *);
	int (*commit)(void *arg, const struct archive_commit *);
	/* The next piece of a body of commit number `commit`, which is still to come. */
	int (*body)(void *arg, uint64_t commit, uint64_t index, uint64_t total, struct bytes piece);
	/* Bodies of no commit so far won't have one. */
	void (*forget)(void *arg);
	void *arg;
};
/* Shows the commits of the chain in order, from the file on that begins at or before commit `from`. `ret_end`: behind the last
 * that was shown. SETT_OK: to the archive's end, or as a visitor said; SETT_NOT_FOUND: it begins later; SETT_CORRUPT: a file
 * is missing or damaged, and others follow; what a visitor said; SETT_IO, SETT_NO_MEMORY. `ret_tail` may be NULL; nothing if a
 * visitor ended the walk. */
int archive_walk(struct vfs *, const char *directory, const struct archive_files *, uint64_t chain,
		 uint64_t from, const struct archive_visitor *, struct archive_place *ret_end,
		 struct archive_tail *ret_tail, struct sett_error *);

#endif
