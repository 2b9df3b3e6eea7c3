/* An archive of the commits: beside a checkpoint (checkpoint.h) it gives back the database as of any later commit, or
 * moment.
 *
 * While an engine archives, a thread of it copies each commit, with the values that it wrote, to files in another
 * directory, every few seconds. Nothing is flushed before it is archived: so what the archive has yet to copy stays in the
 * log and in the files of the value log (I9). Only what is durable is archived, so the archive never has a commit that the
 * database could lose. Format: docs/format-archive.md.
 *
 * The commits of an archive form *chains*. A chain has no gap; where the engine had to let go of what was not copied yet,
 * or another database was archived, a new one begins. */
#ifndef SETT_STORAGE_ARCHIVE_H
#define SETT_STORAGE_ARCHIVE_H

#include "storage/engine.h"

/* ---- while the engine runs ---- */

/* What sett_options.archive points at. */
struct sett_archive_options {
	const char *directory; /* made if it is not there; no other engine archives there meanwhile */
	uint64_t interval_ms;  /* 5,000: how often it is looked for new commits */
	/* 1 GiB: with half of it not copied yet, a step begins early; with more than all of it the chain is broken unless a step
	 * helps, and what is on the disk is let go. It is also broken
	 * once writers would have to stop since nothing can be copied. */
	uint64_t limit_bytes;
	/* A file is removed once all in it is older, or all files take more. 0: for good. */
	uint64_t retention_ms, retention_bytes;
	uint64_t file_size; /* 64 MiB: a file that is past this is followed by another */
};

/* Archives from now on, in a new chain; what was archived before in another directory ends there. NULL: ends it. Waits for
 * the disk. Any thread, one at a time. On failure nothing is archived. SETT_LOCKED, SETT_INVALID, SETT_IO, ... */
int sett_engine_archive_to(struct sett_engine *, const struct sett_archive_options *, struct sett_error *);
/* From now on the numbers of `options` hold. Any thread. */
void sett_engine_set_archive(struct sett_engine *, const struct sett_archive_options *options);
/* Archives all that is visible now, and waits for it. SETT_OK too if nothing is archived at all. Statuses of
 * sett_engine_sync, SETT_IO, ... : it is tried again later. */
int sett_engine_archive(struct sett_engine *, struct sett_error *);

struct sett_archive_facts {
	bool is_on;
	bool is_failing; /* the last try failed: `error` */
	bool is_broken;  /* ... to begin a new chain: nothing is kept for the archive */
	uint64_t commit,
		time_ms; /* everything up to this commit, and to this moment, is durable in the archive */
	uint64_t since_commit,
		since_ms;      /* behind this commit the chain begins: it needs a checkpoint at or after it */
	uint64_t behind;       /* commits that are not archived yet */
	uint64_t files, bytes; /* of the directory, those of older chains too */
	uint64_t breaks;       /* of chains since the engine was opened */
	char error[sizeof(((struct sett_error *)0)->message)];
	char broken_by[sizeof(((struct sett_error *)0)->message)]; /* why the last chain broke */
};
/* Any thread; does not wait for the disk. */
void sett_engine_archive_facts(struct sett_engine *, struct sett_archive_facts *ret);

/* In a word: off, ok, failing or broken. */
const char *sett_archive_state(const struct sett_archive_facts *);

/* ---- afterwards ---- */

enum sett_moment_kind { SETT_MOMENT_TIME, SETT_MOMENT_COMMIT, SETT_MOMENT_END };
struct sett_moment {
	enum sett_moment_kind kind;
	uint64_t
		value; /* milliseconds since 1970: all commits up to that time and none after; or the commit's number */
};
/* A place in an archive. */
struct sett_archive_point {
	uint64_t chain;
	uint64_t commit;
	uint64_t time_ms; /* of this commit; where the chain begins behind it, that of the beginning */
	uint64_t since_commit, since_ms; /* what the chain's files begin behind */
	/* SETT_MOMENT_END: bytes behind that end that are no whole block, from this offset of this file on. A write that was cut
	 * short leaves such; damage of what was written last can't be told from it. */
	uint64_t unread_bytes, unread_offset, unread_number;
};
/* Which commit that is. Of several chains the newest that has begun by then counts. SETT_NOT_FOUND: the archive does not
 * reach there; SETT_CORRUPT: a file on the way is missing or damaged; the text says which. SETT_IO, SETT_NO_MEMORY. The vfs
 * may be NULL: vfs_posix(). */
int sett_archive_find(struct vfs *, const char *directory, const struct sett_moment *,
		      struct sett_archive_point *ret, struct sett_error *);

struct sett_archive_replay {
	struct vfs *vfs; /* NULL: vfs_posix() */
	const char *directory;
	uint64_t chain;
	uint64_t from; /* the database's newest commit */
	/* The newest `now` of its commits: another one is another database's (SETT_INVALID). */
	uint64_t from_now_ms;
	uint64_t to;                                     /* the last commit to be applied */
	void (*on_progress)(void *arg, uint64_t commit); /* after every few commits; may be NULL */
	bool (*should_stop)(void *arg);                  /* likewise; true: SETT_ABORTED */
	void *arg;
};
/* Reads the commits behind `from` up to `to`, and changes nothing: whether they are there and whole, and are those of this
 * database. SETT_CORRUPT: something is missing or damaged; SETT_INVALID: another database's; SETT_IO, SETT_NO_MEMORY, SETT_ABORTED. */
int sett_archive_check(const struct sett_archive_replay *, struct sett_error *);
/* Applies them to an engine that was opened with `replays` of its options, and whose newest commit is `from`; nobody else uses it. Each is the same
 * commit afterwards, with the same number. Statuses as above, and those of commits. */
int sett_archive_apply(struct sett_engine *, const struct sett_archive_replay *, struct sett_error *);

#endif
