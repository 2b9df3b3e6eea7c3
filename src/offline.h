/* Redis' files into a new database directory, and a database into an RDB file, by the server's own code but without a
 * server: what sett-tool import and export do. One call at a time, on a thread that may wait. */
#ifndef SETT_OFFLINE_H
#define SETT_OFFLINE_H

#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/log_sink.h"
#include "storage/status.h"

struct offline_options {
	const char *directory; /* the database's */
	/* Of RDB or append-only files, or the RDB file that is written. An import takes an RDB file; a directory with Redis' files
	   (the append-only ones if there are any); one with a manifest and what it names */
	const char *file;
	uint64_t databases;   /* 0: 16 for an import; for an export all that any database is likely to have */
	uint64_t memory;      /* bytes, as maxmemory; 0: as a server without that directive */
	uint64_t rdb_version; /* of an export; 0: that of Redis 7.0 */
	struct log_sink sink;
	struct keyring *
		keys; /* of the database, and of an RDB file that is taken over; NULL: neither is encrypted. An export is not */
	/* Told now and then: bytes of the files, or keys. May be NULL. */
	void (*on_progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* `directory` is made, or is empty. What a failure has left there is of no use. SETT_INVALID: it is not empty; SETT_NOT_FOUND: there is
 * no such file; SETT_CORRUPT: a file is damaged, or has what can't be carried: the error says where; SETT_IO, ... */
int offline_import(const struct offline_options *, struct sett_error *);
/* `file` is replaced as a whole, once it is complete. SETT_NOT_FOUND: there is no database; SETT_LOCKED: a server has it open; SETT_INVALID: the
 * version can't hold a value; ... */
int offline_export(const struct offline_options *, struct sett_error *);

/* A new database in `target`, which is made, or is empty, of what is whole in options->directory: keyspace/salvage.h. `options` but for
 * `engine` and `config`, which are made here. What a failure has left in `target` is no database, and a start refuses it. Statuses of
 * salvage_all; SETT_INVALID: it is not empty. */
struct salvage_options;
struct salvage_figures;
int offline_salvage(struct salvage_options *options, const char *target, uint64_t memory,
		    struct salvage_figures *ret, struct sett_error *);

/* Appends the figures that a server with this directory kept (info/figure_ring.h), of the last `seconds` before the newest, as HISTORY returns
 * them. A server may have it open. SETT_NOT_FOUND: there are none; SETT_CORRUPT: they are of another version, or damaged; SETT_IO, ... */
enum { OFFLINE_HISTORY_SECONDS = 86400 /* at most */ };
int offline_history(const char *directory, uint64_t seconds, struct buffer *ret, struct sett_error *);

#endif
