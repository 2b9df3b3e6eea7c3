/* The value log: bodies of large values, apart from the tree. Format: docs/format-value-log.md.
 *
 * Files `NNNNNN.vlog` of records (header, body). Commits write to the *active* file, GC writes through
 * writers of its own. A file is *sealed* when it is full or its writer is done: never appended to again. A
 * file is deleted when nothing refers to it (I9): references are counted per file and held by reservations,
 * memtables and open tables. */
#ifndef SETT_VALUE_LOG_H
#define SETT_VALUE_LOG_H

#include "codec.h"
#include "internal_key.h"
#include "storage/base/log_sink.h"
#include "storage/vfs.h"

struct value_log;
struct value_log_file; /* reference counted */

struct value_log_options {
	struct vfs *vfs;
	const char *directory;
	uint64_t file_size;     /* of large logs: a file is sealed once it is past this */
	enum codec compression; /* of bodies below SETT_MAX_PACKED_SIZE, where that saves an eighth */
	int compression_level;
	int (*next_file_number)(void *arg, uint64_t *ret, struct sett_error *);
	void *next_file_number_arg;
	struct log_sink sink;
	/* A file that can't be opened, or is not this log's, is told of and left out; NULL: then nothing is opened. */
	void (*on_bad_file)(void *arg, uint64_t number, const struct sett_error *);
	void *on_bad_file_arg;
};

/* Finds the files in the directory (all sealed). Changes nothing. SETT_CORRUPT: one is of another version, or
 * has another's name; SETT_IO, SETT_NO_MEMORY. */
int value_log_open(const struct value_log_options *, struct value_log **ret, struct sett_error *);
/* On a thread that is not online with rcu.h. */
void value_log_close(struct value_log *);

/* ---- writing (any thread) ---- */
/* Writes the bodies to the active file, one system call, and fills the pointers. The file of each pointer is
 * retained once per pointer for the caller: release each with value_log_release_number (or hand the
 * references on to a memtable). Not durable yet. SETT_NO_SPACE, SETT_IO. */
int value_log_write(struct value_log *, const struct bytes *bodies, size_t count, struct value_pointer *ret,
		    struct sett_error *);
/* Syncs every file with unsynced writes that returned before this call, and the directory if a file is new.
 * SETT_IO is for good. */
int value_log_sync(struct value_log *, struct sett_error *);

/* Retires the active file if it holds anything: it is sealed as soon as no write into it is under way, and
 * the next write begins a new one. So that garbage in it can be collected. */
void value_log_retire_active(struct value_log *);

/* ---- GC's own file (one thread) ---- */
struct value_log_writer;
int value_log_writer_create(struct value_log *, struct value_log_writer **ret);
/* Buffers; starts a new file when one is full. The writer holds a reference on each file it made until
 * destroy. */
int value_log_writer_add(struct value_log_writer *, struct bytes body, struct value_pointer *ret,
			 struct sett_error *);
/* Adds a copy of the body that `from` points at, by way of a buffer of bounded size. SETT_NOT_FOUND and
 * SETT_CORRUPT speak of the source; the writer can be used on. */
int value_log_writer_copy(struct value_log_writer *, const struct value_pointer *from,
			  struct value_pointer *ret, struct sett_error *);
/* Writes out, syncs files and directory, seals. */
int value_log_writer_finish(struct value_log_writer *, struct sett_error *);
void value_log_writer_destroy(struct value_log_writer *);

/* ---- reading (any thread; the caller's snapshot holds the file) ---- */
/* Appends the body to `ret`, checksum verified. `flags`: VFS_NOWAIT. SETT_WOULD_BLOCK, SETT_NOT_FOUND (no
 * such file), SETT_CORRUPT, SETT_IO. */
int value_log_read(struct value_log *, const struct value_pointer *, unsigned flags, struct buffer *ret,
		   struct sett_error *);
/* Same, into memory of body_size bytes at `ret`. */
int value_log_read_into(struct value_log *, const struct value_pointer *, unsigned flags, uint8_t *ret,
			struct sett_error *);
/* Same, `size` bytes of a body of SETT_MAX_PACKED_SIZE and more, from `position` on: costs no more for what
 * is around them. They lie within the body. */
int value_log_read_part(struct value_log *, const struct value_pointer *, uint64_t position, size_t size,
			unsigned flags, uint8_t *ret, struct sett_error *);
/* A hint that the body is read soon. Does not wait. */
void value_log_prefetch(struct value_log *, const struct value_pointer *);
/* Whether the body, which is not packed, can be read, of any size, in little memory. SETT_NOT_FOUND,
 * SETT_CORRUPT, SETT_IO, SETT_NO_MEMORY. */
int value_log_verify(struct value_log *, const struct value_pointer *, struct sett_error *);

/* ---- references ---- */
/* SETT_NOT_FOUND if there is no such file. */
int value_log_retain_number(struct value_log *, uint64_t file);
/* At zero references a sealed file is removed from the disk at once. */
void value_log_release_number(struct value_log *, uint64_t file);
/* After recovery: removes sealed files without references. */
int value_log_remove_unreferenced(struct value_log *, struct sett_error *);

/* From here on no file is removed. Before the owners of references are torn down at the end of the process
 * (or when opening fails): what the log's records or tables on disk point at must stay. */
void value_log_keep_files(struct value_log *);

/* ---- figures ---- */
struct value_log_file_info {
	uint64_t number, size; /* bytes on disk */
	uint64_t promised;     /* of them: bodies that come in pieces, or have come and wait for a commit */
	bool sealed;
	bool written_by_commits; /* since opening: entries in memtables may point at it */
};
/* Calls `each` for every file, in order of number, under the log's lock: be short, call nothing of this
 * header. */
void value_log_each_file(struct value_log *, void (*each)(void *arg, const struct value_log_file_info *),
			 void *arg);
uint64_t value_log_total_bytes(struct value_log *);
/* Sum of all files that were removed since the opening, those of which are counted that are about to be. */
uint64_t value_log_removed_bytes(struct value_log *);
/* What a file is to hold now, so that the files that are being filled or emptied take little beside the rest: a
 * sixteenth of the whole, from 1 MiB to 16 MiB, then a sixty-fourth; never more than `file_size`. */
uint64_t value_log_file_size(struct value_log *);
uint64_t value_log_bytes_written(struct value_log *); /* since opening, GC included */

#endif
