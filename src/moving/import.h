/* Reading Redis' files into the databases: what the readers of the two kinds of files share.
 *
 * Keys are stored by ordinary transactions, many in each. Nobody else writes meanwhile (txn/loading.h).
 *
 * Threads: one. */
#ifndef SETT_MOVING_IMPORT_H
#define SETT_MOVING_IMPORT_H

#include "rdb/key_value.h"
#include "txn/runner.h"
#include "txn/server.h"

enum { IMPORT_KEY_BYTES = 64 /* of a key in a file, rather few */ };

/* What is not carried over, for the log. */
struct import_losses {
	uint64_t functions;
	uint64_t commands; /* of an append-only file that have failed */
};

struct survey;

/* A library of functions that is kept back (struct import). */
struct import_library {
	struct import_library *next;
	size_t size;
	uint8_t text[];
};

struct import {
	struct server *server;
	/* keyspace/replacement.h: where the keys go. Libraries of functions are then gathered in `libraries`, in order, for
	 * the commit that serves them: import_free_libraries. NULL: keys are served as they come. RDB files alone. */
	struct replacement *replacement;
	/* survey.h: files are only looked at, and nothing is stored. NULL: they are taken over. */
	struct survey *survey;
	struct import_library *libraries, **last_library;
	/* Asked now and then: whether to give up (SETT_ABORTED). May be NULL. */
	bool (*should_stop)(void *arg);
	/* Told now and then how far it is: the import; the survey before it. May be NULL. */
	void (*on_progress)(void *arg, uint64_t done, uint64_t total);
	void (*on_survey)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	/* It goes into databases that are empty, and nobody else writes there. The next file finds what it has put in. */
	bool fills_empty;
	/* Keys that may be there already, in all files, where several fill what was empty; NULL: each file for itself. */
	struct seen *keys_seen;
	bool replaces;      /* a key that is there already gives way; else it is damage */
	bool keeps_expired; /* commands that follow may give a key past its deadline a new one */
	struct import_losses losses;
	uint64_t keys, expired,
		empty; /* `empty`: collections without elements, which Redis once wrote, are left out */
	uint64_t done_before; /* bytes of the files before this one, in the import or the survey */
	int64_t stream_db; /* out: what a master's stream takes as selected behind the data; -1: not said */
	struct sett_error *error;
};

/* A file as it lies in memory, page by page as it is read. */
struct import_file {
	char path[4096];
	struct bytes content;
	size_t released; /* up to here the pages are given back */
};
/* One that is sealed (storage/keyring.h) is in memory as a whole. SETT_NOT_FOUND, SETT_IO, SETT_NO_MEMORY, SETT_CORRUPT;
 * SETT_INVALID: it is sealed, and `vfs` has no keys. */
int import_file_open(struct import_file *, struct vfs *, const char *path, struct sett_error *);
void import_file_close(struct import_file *);

/* Counts on: `at` bytes of the file are read, and their pages can be given back. SETT_ABORTED: to be given up. */
int import_progress(struct import *, struct import_file *, size_t at);

/* SETT_ABORTED, with its text. */
int import_given_up(struct import *);

/* SETT_CORRUPT, with the line that says where and what. */
int import_damaged(struct import *, const struct import_file *, uint64_t at, const char *what);

/* An RDB file, or the one at the beginning of an append-only file. `ret_size`: its bytes. SETT_CORRUPT: damaged, or it has what can't be carried:
 * the error says where. SETT_ABORTED; statuses of commits. */
int import_rdb(struct import *, struct import_file *, size_t *ret_size);
void import_free_libraries(struct import *);
/* An append-only file, with an RDB file at its beginning or not. Where its end is cut off: SETT_OK if `takes_truncated`,
 * with a line in the log. */
int import_aof(struct import *, struct import_file *, bool takes_truncated);

#endif
