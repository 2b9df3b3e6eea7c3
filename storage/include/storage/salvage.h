/* What is whole of a damaged directory: the newest version of each key that can be read, in order, and what can't.
 *
 *     sett_salvage_open(directory, &options, &salvage, &error);
 *     while ((status = sett_salvage_next(salvage, &entry, &error)) == SETT_OK)
 *             put it into another database
 *     sett_salvage_close(salvage);
 *
 * Tables are read block by block, without their index where that is damaged; of the log every record whose checksum
 * is right is taken, also behind damage; a value is taken if its checksum is right. If the manifest is damaged or
 * gone, all tables and segments there are count. Nothing is given out that a checksum does not vouch for; but where
 * what was written last is lost, what it had overwritten or deleted comes back, and what a commit wrote may be there
 * in part. What was dropped by a prefix or an id stays away as far as manifest and log say so.
 *
 * Of an encrypted directory the file `keys` must be whole: nothing can be read without it. A wrong seal is damage.
 *
 * Nothing in the directory is changed. It is locked as by sett_check (inspect.h). One thread at a time. */
#ifndef SETT_STORAGE_SALVAGE_H
#define SETT_STORAGE_SALVAGE_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/limits.h"
#include "storage/status.h"
#include "storage/vfs.h"

struct sett_salvage;

enum sett_salvage_kind {
	SETT_SALVAGE_LOST,  /* a part of a file can't be read: what it held is lost */
	SETT_SALVAGE_KEY,   /* the newest version of `key` is there, but not its value: the key is left out */
	SETT_SALVAGE_DOUBT, /* the log may have had commits here: a torn end looks the same */
	SETT_SALVAGE_NOTE,  /* damage that takes nothing away */
};
struct sett_salvage_finding {
	enum sett_salvage_kind kind;
	const char *file; /* name in the directory; "" if it is of none */
	const char *text; /* as that of struct sett_finding */
	struct bytes key; /* of SETT_SALVAGE_KEY */
	/* Of SETT_SALVAGE_LOST: engine keys from here to there may be lost, or be older ones; `to` without data: up to the
	 * last key; both without: any key. Not included themselves, but for an empty `from`. */
	struct bytes from, to;
};
struct sett_salvage_options {
	struct vfs *
		vfs; /* NULL: vfs_posix(); that of a keyring of the directory if it is encrypted (keyring.h) */
	/* May be NULL, as the next. Slices and texts are valid during the call. */
	void (*on_finding)(void *arg, const struct sett_salvage_finding *);
	void (*on_progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes); /* after every few MiB */
	bool (*should_stop)(void *arg); /* asked every few MiB: true ends it with SETT_ABORTED */
	void *arg;
};
struct sett_salvage_figures {
	uint64_t files, bytes;             /* of the database */
	uint64_t tables, blocks, versions; /* that were read */
	uint64_t commits;                  /* of the log */
	uint64_t lost, lost_keys, notes;   /* findings */
	uint64_t doubts;                   /* findings */
	bool is_closed;    /* it was closed in good order, so it is known where the log ends */
	bool has_manifest; /* it was whole: which files count, and what was dropped, is known */
};

/* Reads the manifest and the log, whose entries stay in memory, and looks at each table's end. SETT_NOT_FOUND: there is
 * no file of a database; SETT_INVALID: it is encrypted, and no key was given, or its keys are gone; SETT_LOCKED, SETT_IO, SETT_NO_MEMORY, SETT_ABORTED. Options are copied. */
int sett_salvage_open(const char *directory, const struct sett_salvage_options *, struct sett_salvage **ret,
		      struct sett_error *);
/* NULL is fine. */
void sett_salvage_close(struct sett_salvage *);

/* Valid until the next call. */
struct sett_salvage_entry {
	struct bytes key, head;
	uint64_t expires_at; /* ms since 1970; 0 = never */
	uint64_t timestamp;  /* of its commit */
	uint64_t body_size;
	bool is_streamed; /* the body is read by sett_salvage_read; else it is: */
	struct bytes body;
};
/* The next key that is there. SETT_NOT_FOUND: that was the last; SETT_IO, SETT_NO_MEMORY, SETT_ABORTED. */
int sett_salvage_next(struct sett_salvage *, struct sett_salvage_entry *ret, struct sett_error *);
/* The next `size` bytes of a streamed body, which has them. SETT_CORRUPT: they are damaged, and the key was told of as
 * lost: nothing of it is to be taken. SETT_NO_MEMORY, ... */
int sett_salvage_read(struct sett_salvage *, void *data, size_t size, struct sett_error *);
void sett_salvage_figures(const struct sett_salvage *, struct sett_salvage_figures *ret);

#endif
