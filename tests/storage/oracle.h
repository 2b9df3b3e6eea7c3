/* What a database must hold after its first k commits, for tests that cut the power or make calls fail.
 *
 * The history is known in order: commit number i (from 1) has timestamp i. Each writes and deletes a few of
 * ORACLE_KEYS keys and changes one counter; some make an id with a few entries, or fill one in several commits,
 * publish or drop one (I22). Contents come from seeds, so the oracle keeps no bytes. */
#ifndef SETT_TESTS_ORACLE_H
#define SETT_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/random.h"
#include "storage/engine.h"
#include "upload.h"

enum {
	ORACLE_KEYS = 60,
	ORACLE_COMMITS = 400, /* at most */
	ORACLE_WRITES = 6,    /* in one commit, at most */
	ORACLE_VALUE_MAX = 3000,
	ORACLE_COUNTER = 7,
};

struct oracle_write {
	uint8_t key; /* index */
	bool is_delete;
	uint64_t content; /* seed of its bytes */
	uint32_t size;
};

enum oracle_id_event {
	ORACLE_ID_NONE,
	ORACLE_ID_MADE,
	ORACLE_ID_BEGUN,
	ORACLE_ID_FILLED,
	ORACLE_ID_PUBLISHED,
	ORACLE_ID_DROPPED
};

struct oracle_commit {
	unsigned count;
	struct oracle_write writes[ORACLE_WRITES];
	int64_t delta; /* of the counter */
	enum oracle_id_event event;
	size_t id;     /* of the event: the index of the commit that made or began it */
	unsigned life; /* of the engine */
};

struct oracle {
	struct oracle_commit commits[ORACLE_COMMITS];
	size_t count;
	unsigned life;                /* counted up at each open: what was pending before is dead then */
	struct sett_engine *engine;   /* bodies are also written to it in pieces; NULL: none are */
	struct upload upload;         /* begun, or whole and not put yet */
	struct sett_body_writer *put; /* what the newest commit put */
	char *why;                    /* what went wrong; the caller's */
	size_t why_size;
};

/* Writes the reason and returns -1. */
int oracle_complain(struct oracle *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Begins the transaction, buffers the next commit of the history in it, and enters it in the history. The
 * status of the call that failed, if one did: then the transaction is discarded and the history as it was. */
int oracle_prepare(struct oracle *, struct random *, struct sett_txn *);
/* Lets go of all bodies in pieces and of the engine, before that is closed. */
void oracle_let_go(struct oracle *);
/* The newest commit has not happened after all. */
void oracle_take_back(struct oracle *);

/* Compares the whole database, as the transaction (running) shows it, with the first `commits` commits; with
 * `counter` the counter too. 0, or -1 and the reason. A read that fails is a difference, unless `allowed` is
 * its status: then the key is left out (SETT_OK: none is). */
int oracle_check(struct oracle *, struct sett_txn *, size_t commits, bool counter, int allowed);
/* After a compaction: nothing of dead ids is left. 0, or -1 and the reason. */
int oracle_check_erased(struct oracle *, struct sett_engine *, size_t commits);
/* As oracle_check, in a transaction of its own. */
int oracle_check_engine(struct oracle *, struct sett_engine *, size_t commits);

#endif
