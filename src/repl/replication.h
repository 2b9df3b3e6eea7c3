/* Replication: the stream of commands that replicas follow, its ids and offsets, and who follows it.
 *
 *     transaction -> effects -> bytes of the stream -> commit -> history -> each replica, from its own place
 *
 * A commit that changes something appends its bytes under the commit lock, so their order is that of the commits, and
 * adds their number to the offset, which is kept with the data (keyspace/position.h). The bytes leave for replicas once
 * the commit's timestamp is safe (I1).
 *
 * There is a stream from the first replica on, or since this server follows a master, in which case the bytes are the
 * master's own. Without one nothing is encoded, and no offset moves. It ends when no replica has come for
 * repl-backlog-ttl.
 *
 * Each start of a master takes a new id; the old one stays as the second id, up to the offset that was recovered (I26).
 *
 * Lock: the replication's, a leaf; commits take it under the commit lock. Any thread. */
#ifndef SETT_REPL_REPLICATION_H
#define SETT_REPL_REPLICATION_H

#include "config/config.h"
#include "keyspace/position.h"
#include "storage/base/clock.h"

struct replication;

enum replication_role { REPLICATION_MASTER, REPLICATION_REPLICA };

/* What it is now, at one moment. */
struct replication_state {
	enum replication_role role;
	struct stream_position position;
	bool streams;
	uint64_t history_start,
		history_size; /* offset of the first byte that is kept, from 1; bytes that are kept */
	uint64_t history_memory;
	bool syncs;                                        /* databases are being made for a full sync */
	uint64_t syncs_full, syncs_partial, syncs_refused; /* of replicas, since the start */
};

struct replication_options {
	struct sett_engine *engine;
	struct keyspace *keyspace;
	struct config *config;
	struct vfs *vfs; /* for files of its own; NULL: vfs_posix() */
	const struct sett_clock *clock;
	const struct log_sink *sink;
	unsigned reactors;
	bool follows; /* it begins as a replica, where the position says: no new id */
	/* Makes a reactor call replication_deliver soon. Any thread. */
	void (*wake)(void *arg, unsigned reactor);
	void *wake_arg;
};

/* Reads the position. If there is one, this server is a master with a new id, and its stream goes on. All that the
 * options name outlives it. SETT_NO_MEMORY, SETT_CORRUPT, ... */
int replication_create(const struct replication_options *, struct replication **ret, struct sett_error *);
/* The server ends in good order, and closes its clients next. */
void replication_end(struct replication *);
/* Ends its threads. Before the engine is closed. NULL is fine, as of the next. */
void replication_stop(struct replication *);
/* After the last client and the last commit. Behind replication_end what replicas lack is kept for the next process. */
void replication_destroy(struct replication *);
void replication_get(struct replication *, struct replication_state *ret);
bool replication_is_replica(const struct replication *);
/* Whether it follows a master; the position stays. Commits of others than the master's commands are in no stream then.
 * Waits for the commit lock. */
int replication_set_role(struct replication *, enum replication_role);
/* The same from a commit's hook, under the commit lock. A replica that becomes a master takes a new id with it; the present
 * one becomes the second, and replicas are closed. */
void replication_take_role(struct replication *, enum replication_role);
/* Whether its data is its master's, as its link stands: only then can it have replicas of its own. */
void replication_set_link(struct replication *, bool is_up);
/* Whether replicas may come: it is a master, or a replica whose link stands. */
bool replication_can_serve(struct replication *);
/* Writes are held back, until as many releases: replicas are asked how far they are, and the master says nothing by itself,
 * so that they can have all. */
void replication_hold(struct replication *);
void replication_release(struct replication *);
/* Counts of syncs begin again (CONFIG RESETSTAT). */
void replication_reset_counts(struct replication *);

/* ---- ids ----
 * Another id is kept with the data by the next commit that moves the offset: until then nothing was said under it. */
/* A new id; the present one becomes the second, for what comes after the present offset (REPLICAOF NO ONE, a start). */
void replication_shift(struct replication *);
/* The master goes on under another id (+CONTINUE id): as replication_shift with a given one. Replicas are closed: what they
 * get next belongs to that id, which they learn when they ask again. */
void replication_rename(struct replication *, const char *id);
/* Another history, as a full sync brings it: the stream begins anew behind its offset, and replicas must sync. Within the
 * transaction that brings the data: `_prepare` adds the writes, `_apply` is for its commit's hook, under the commit lock. No
 * other transaction advances the position meanwhile. */
int replication_replace_prepare(struct replication *, struct keyspace_view *, const struct stream_position *);
void replication_replace_apply(struct replication *, const struct stream_position *, uint64_t timestamp);

/* The offset up to which the data is durable, at least. It keeps up as often as it is asked for. */
uint64_t replication_durable(struct replication *);

/* ---- the stream ---- */
/* Both wait for the commit lock. From then on commits are in the stream; or in none, and no id stands for what they do:
 * SETT_ABORTED where there are replicas, or a master. The server itself does both when it is time. */
int replication_begin_stream(struct replication *);
int replication_end_stream(struct replication *);
enum { STREAM_DB_ANY = -1, STREAM_DB_SAME = -2 };
/* What a transaction puts into the stream. Lives until it has ended, in its arena for example. */
struct stream_part {
	struct bytes bytes;
	int64_t db_before; /* must be selected before it, or its commit is refused; STREAM_DB_ANY */
	int64_t db;        /* selected after it; STREAM_DB_SAME */
	uint64_t ids;      /* replication_prepare's: the state of the ids that it has seen */
	int64_t kept_db;   /* likewise: what is kept as selected behind it; STREAM_DB_SAME: nothing new */
	uint64_t end;      /* replication_append's: the offset behind it */
};
/* Before the commit lock: the transaction moves the position on, and there is room in memory. After success
 * replication_append or replication_drop must come. SETT_NO_MEMORY, ... as of writes. */
int replication_prepare(struct replication *, struct keyspace_view *, struct stream_part *);
/* Under the commit lock: false if it must be prepared again. */
bool replication_allows(struct replication *, const struct stream_part *);
/* Likewise; can't fail. */
void replication_append(struct replication *, struct stream_part *, uint64_t timestamp);
/* It was not committed. */
void replication_drop(struct replication *, const struct stream_part *);
/* After the commit, without locks. */
void replication_wake(struct replication *);
/* Commits a part alone. Waits for the disk. SETT_ABORTED: nobody listens, or this is a replica. */
int replication_commit(struct replication *, struct stream_part *);
/* Which database a part may take as selected; STREAM_DB_ANY: it should select its own. A guess: replication_allows knows. */
int64_t replication_selected(struct replication *);

/* ---- net ---- */
/* Tells a reactor's replicas that there is something for them. On the reactor's thread. */
void replication_deliver(struct replication *, unsigned reactor);
/* The engine's frontier has moved. Any thread, without locks; never blocks for long. */
void replication_on_progress(struct replication *);

#endif
