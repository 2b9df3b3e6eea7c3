/* The replication's state, which the files of this room share. */
#ifndef SETT_REPL_PRIVATE_H
#define SETT_REPL_PRIVATE_H

#include "loop/list.h"
#include "repl/history.h"
#include "repl/replicas.h"
#include "repl/replication.h"
#include "storage/base/thread.h"

enum { MARKS = 256, MS_PER_SECOND = 1000 };

/* Bytes up to `end` in offset are safe once `timestamp` is. */
struct safety_mark {
	uint64_t end, timestamp;
};

struct replication {
	struct replication_options options;
	struct mutex lock;
	/* All below is under the lock, but for what says otherwise. */
	enum replication_role
		role; /* atomic (relaxed), too: read without the lock by replication_is_replica */
	struct stream_position position;
	uint64_t ids;      /* grows when the ids change */
	bool ids_are_kept; /* the entry of the keyspace has them */
	bool link_is_up;   /* of a replica */
	bool streams;      /* changed under the commit lock, too */
	unsigned
		selects; /* so many parts are to select their database, as another one had to be prepared again */
	struct history history;
	struct safety_mark marks[MARKS]; /* oldest first, a ring */
	unsigned mark_first, mark_count;
	uint64_t safe;                   /* offset up to which bytes may leave, as of the last look */
	uint64_t newest;                 /* timestamp of the newest part */
	uint64_t durable;                /* offset up to which the data is durable, as of the last look */
	struct safety_mark durable_next; /* a place behind it that is not; no timestamp: none is known */
	struct list_link replicas;       /* struct replica, by their coming */
	unsigned replica_count;
	uint64_t alone_since_ms; /* when the last replica went; 0: there are some */
	uint64_t lacking;        /* the least offset that a replica had when it went; UINT64_MAX: none went */
	bool is_ending;          /* replication_end: what replicas lack is kept */
	uint64_t syncs_full, syncs_partial, syncs_refused;
	struct full_sync *sync; /* being made, or NULL */
	pthread_t sync_thread;
	bool has_sync_thread, sync_has_ended; /* it is to be joined; at once */
	struct list_link ack_waits;           /* struct ack_wait (acks.c) */
	bool wants_acks;                      /* replicas are to be asked */
	unsigned holds;                       /* replication_hold */
	/* the thread (keeper.c) */
	bool has_keeper, stopping;
	pthread_t keeper;
	struct condition news; /* for it */
	/* Bits of reactors, by number modulo 64. Atomic. */
	uint64_t listening; /* relaxed: with replicas; changed under the lock */
	uint64_t
		called; /* to deliver: set (release) by who has news, taken (acquire) by replication_deliver */
	uint64_t held;  /* whose replicas wait for the frontier; sequentially consistent with the frontiers */
	unsigned
		good_replicas; /* relaxed: online, and with a recent acknowledgement (min-replicas-max-lag) */
};

/* Calls the reactors of a set. */
void replication_call(struct replication *, uint64_t reactors);
static inline uint64_t
reactor_bit(unsigned reactor)
{
	return (uint64_t)1 << reactor % 64;
}
/* Looks at the frontier: the offset up to which bytes may leave. */
uint64_t replication_safe_locked(struct replication *r) REQUIRES(&r->lock);
/* Forgets bytes that nobody needs. */
void replication_trim_locked(struct replication *r) REQUIRES(&r->lock);
/* Replicas know this master's ids: they are kept, also before the first byte of a stream. SETT_ABORTED: they have changed
 * meanwhile; statuses of commits. */
int replication_keep_ids(struct replication *);
static inline uint64_t
replication_now_ms(const struct replication *r)
{
	return clock_monotonic_ns(r->options.clock) / 1000000;
}

/* A replica that waits becomes a user of the full sync that is being made, if that is what it wants. */
void replica_join_locked(struct replica *);
/* Counts anew which replicas are good ones. */
void replicas_judge_locked(struct replication *r) REQUIRES(&r->lock);
/* Closes all before any byte that comes next: they know the stream under another id, and are to ask again. replication_wake
 * is to follow. */
void replicas_drop_locked(struct replication *r, const char *why) REQUIRES(&r->lock);

/* Ends the waits that have enough (acks.h). */
void acks_settle_locked(struct replication *r) REQUIRES(&r->lock);

/* ---- keeper.c: a thread that spills, pings, times out, starts full syncs ---- */
/* SETT_NO_MEMORY. */
int keeper_start(struct replication *);
void keeper_stop(struct replication *);

#endif
