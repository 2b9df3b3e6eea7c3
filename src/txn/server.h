/* The server as commands see it: a plain record of the rooms' objects, filled by main. No room below txn
 * knows it. */
#ifndef SETT_TXN_SERVER_H
#define SETT_TXN_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "keyspace/accesses.h"
#include "storage/base/bytes.h"
#include "storage/base/clock.h"
#include "storage/base/log_sink.h"
#include "storage/vfs.h"
#include "txn/loading.h"
#include "txn/replica_role.h"

struct sett_engine;
struct config;
struct keyspace;
struct net;
struct acl_users;
struct acl_denials;
struct pubsub;
struct replication;
struct interest_table;
struct waiting_table;
struct expirer;
struct evictor;
struct backup;
struct saver;
struct shutdown;
struct cluster_node;
struct follower;
struct runner;
struct moments;
struct slowlog;
struct latency_monitor;
struct command_stats;
struct figure_history;
struct pause_state;
struct server;
struct argument_body;
struct accesses;
struct client;
struct command;
struct command_table;
struct script_library;
struct command_context; /* txn/command.h */
struct script_vm;

/* A command that ran, with what it was given. Borrowed for the call. */
struct command_run {
	const struct command *command;
	const struct client *client;
	size_t argc;
	const struct bytes *argv;
	const struct argument_body *bodies; /* of large values among argv */
	uint64_t duration_ns;
	uint64_t misses, hits; /* keys that it read, absent and there; EXEC: of all its commands */
	struct bytes error;    /* the text of its error reply, empty if it did not fail */
	bool error_is_counted; /* as that of a command which it called */
};

/* What is done beside commands, and may hold them up. */
enum server_work {
	WORK_EXPIRE,    /* a transaction that deletes keys past their deadlines */
	WORK_EVICT,     /* keys are chosen and evicted */
	WORK_WRITE_LOG, /* a reactor writes the log file */
	WORK_SYNC_LOG,  /* a sync that replies may wait for */
};

/* What the rooms above txn want to hear of requests. They enter themselves before the first request
 * (expirer_create, recorder_listen); NULL: nobody listens. Called by any thread, outside locks. */
struct server_listeners {
	/* A commit gave the key a deadline. `is_own`: it is a replica's client's, so no master will delete the key. */
	void (*deadline)(struct server *, unsigned db, struct bytes key, uint64_t deadline_ms, bool is_own);
	/* A command met the key past its deadline, and its commit did not delete it. */
	void (*met_expired)(struct server *, unsigned db, struct bytes key);
	/* A commit deleted so many keys past their deadlines. */
	void (*expired)(struct server *, uint64_t count);
	void (*ran)(struct server *, const struct command_run *);
	/* It was not run: `command` is NULL where there is none of that name. */
	void (*refused)(struct server *, const struct command *, struct bytes error);
	/* Such work is done. Atomic, as some of it is done before requests are; called by server_took. */
	void (*took)(struct server *, enum server_work, uint64_t duration_ns);
	/* A thread ends that has run scripts. */
	void (*script_thread_ends)(struct script_vm *);
	/* Asked for: the flags (COMMAND_WRITE, ...) of a request; of one that runs a script, those that its first line
	 * declares. Within a transaction: statuses of reads, SETT_NO_MEMORY, OUTCOME_LONG. */
	int (*declared_flags)(struct command_context *, const struct command *, const struct bytes *argv,
			      uint32_t *ret);
};

struct rotation; /* encryption.c */

struct server {
	struct sett_engine *engine;
	struct keyring *keys; /* encryption.h; NULL: nothing is encrypted */
	struct rotation *rotation;
	struct encryption_state {
		bool is_rewriting, last_failed; /* atomic: what INFO shows of rotations */
	} encryption;
	struct vfs *vfs; /* of the data directory: with the keys, if there are any; NULL: vfs_posix() */
	struct config *config;
	struct keyspace *keyspace;
	struct net *net;
	struct acl_users *users;              /* acl/users.h; NULL: there are none, and clients have none */
	struct acl_denials *denials;          /* acl/denials.h: ACL LOG */
	struct pubsub *pubsub;                /* pubsub/pubsub.h; NULL: nobody is told of effects */
	struct replication *replication;      /* repl/replication.h; NULL: nobody is told of commands */
	const struct command_table *commands; /* cmd/commands.h, as cmd is a room above */
	struct interest_table *interest;      /* txn/interest.h: WATCH */
	struct waiting_table *waiting;        /* txn/waiting.h: BLPOP and its kin; NULL: nobody waits */
	struct script_library *scripts;       /* script/script.h */
	struct expirer *expirer;              /* expire/expirer.h */
	struct evictor *evictor;              /* expire/evictor.h */
	struct runner *runner;                /* txn/runner.h */
	struct moments *moments;              /* txn/moments.h; NULL: the past can't be read */
	struct saver *saver;                  /* moving/saver.h */
	struct backup *backup;                /* moving/backup.h */
	struct cluster_node *cluster;         /* cluster/node.h; NULL: it is none (cluster-enabled) */
	struct shutdown *shutdown;            /* moving/shutdown.h */
	struct follower *follower;            /* moving/follower.h; NULL: it can't follow a master */
	struct slowlog *slowlog;              /* info/slowlog.h */
	struct latency_monitor *latency_monitor; /* info/latency_monitor.h */
	struct command_stats *command_stats;     /* info/command_stats.h: calls, failures, error counts */
	struct figure_history *history;          /* info/figure_history.h */
	struct accesses *accesses; /* keyspace/accesses.h; NULL: uses of keys are not noted. Atomic:
						 released by server_note_accesses, acquired where keys are opened */
	bool scripts_may_call_all; /* atomic (relaxed): DEBUG SET-DISABLE-DENY-SCRIPTS */
	bool payloads_are_trusted; /* atomic (relaxed): DEBUG SET-SKIP-CHECKSUM-VALIDATION */
	struct pause_state *pause; /* txn/pause.h: CLIENT PAUSE */
	struct server_listeners listeners;
	struct loading loading;
	struct replica_role replica_role;
	const struct sett_clock *clock;
	struct log_sink sink;
	uint64_t started_ms, started_monotonic_ns;
	char run_id[41];        /* 40 hex digits, random per start */
	const char *executable; /* absolute path, for INFO */
	const char *supervised; /* "systemd", "upstart", "no", for INFO; NULL: no */
	bool stopping;          /* atomic (relaxed): what has not answered yet never will */
	int shutdown_failed;    /* atomic */
	uint64_t startup_memory, startup_log_bytes; /* used_memory, length of the log: facts_note_start */
	uint64_t used_memory_peak;                  /* atomic: info/facts.h */
	/* atomic: bytes that one transaction may take for its queue, and as many for running it; 0: no limit */
	uint64_t transaction_memory;
	/* atomic: maxmemory is passed, and no cache is left to give way: queues must not grow large */
	bool memory_is_short;
	/* Keys changed by commits since the start, each as often as it was. Written under the commit lock; atomic (relaxed: a figure
	 * that stands for itself). */
	uint64_t changes;
	/* Of BEGIN: open now, ended by COMMIT, lost to another's commit, ended by a limit. Atomic (relaxed: figures) */
	struct interactive_counts {
		uint64_t open, committed, conflicts, limited;
	} interactive;
	/* Of files that a sealed backup alone keeps. Atomic (relaxed: it stands for itself) */
	uint64_t backup_held_bytes;
	bool disk_is_short; /* atomic (relaxed: it stands for itself): the files are near maxdisk, so that writers are slowed */
	uint64_t room_until_ns; /* atomic (relaxed: it stands for itself), monotonic: see HOLD_LATE_LOOK */
	unsigned refusals;      /* atomic (relaxed: it stands for itself): enum refusal, or-ed */
};

/* Any thread. */
static inline void
server_took(struct server *server, enum server_work work, uint64_t duration_ns)
{
	/* acquire: what it records in is there; partner recorder_listen */
	void (*took)(struct server *, enum server_work, uint64_t) =
		__atomic_load_n(&server->listeners.took, __ATOMIC_ACQUIRE);
	if (took != NULL)
		took(server, work, duration_ns);
}

/* Why commands that take memory or space (COMMAND_DENYOOM) are refused, with EXECUTION_NO_MEMORY_TEXT, or held; the last is
 * why all that write are refused. */
enum refusal {
	REFUSE_FULL_DISK = 1 << 0, /* maxdisk is reached, and nothing can be evicted: expire/evictor.h */
	REFUSE_NO_MEMORY = 1 << 1, /* maxmemory is so small that no server keeps it: memory_keeper.h */
	HOLD_FULL_DISK = 1 << 2,   /* maxdisk is reached, and room is being made: they wait */
	HOLD_LATE_LOOK = 1 << 3,   /* maxdisk is near: they wait from `room_until_ns` on, for the next look */
	REFUSE_UNSAVED = 1 << 4,   /* a save that `save` asks for has failed (stop-writes-on-bgsave-error) */
};
/* Whether any of these reasons is there. Any thread. */
static inline bool
server_refuses(const struct server *server, unsigned reasons)
{
	return __builtin_expect((__atomic_load_n(&server->refusals, __ATOMIC_RELAXED) & reasons) != 0, 0);
}
/* Whether commands that take space wait now. Any thread. */
static inline bool
server_holds(const struct server *server)
{
	if (!server_refuses(server, HOLD_FULL_DISK | HOLD_LATE_LOOK))
		return false;
	return server_refuses(server, HOLD_FULL_DISK) ||
		clock_monotonic_ns(server->clock) > __atomic_load_n(&server->room_until_ns, __ATOMIC_RELAXED);
}
static inline void
server_refuse(struct server *server, enum refusal reason, bool on)
{
	if (on)
		__atomic_or_fetch(&server->refusals, (unsigned)reason, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&server->refusals, ~(unsigned)reason, __ATOMIC_RELAXED);
}
/* Any thread. */
static inline struct interactive_counts
server_interactive_counts(const struct server *s)
{
	const struct interactive_counts *counts = &s->interactive;
	return (struct interactive_counts){.open = __atomic_load_n(&counts->open, __ATOMIC_RELAXED),
					   .committed = __atomic_load_n(&counts->committed, __ATOMIC_RELAXED),
					   .conflicts = __atomic_load_n(&counts->conflicts, __ATOMIC_RELAXED),
					   .limited = __atomic_load_n(&counts->limited, __ATOMIC_RELAXED)};
}
static inline void
server_reset_interactive_counts(struct server *s)
{
	struct interactive_counts *counts = &s->interactive;
	__atomic_store_n(&counts->committed, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&counts->conflicts, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&counts->limited, 0, __ATOMIC_RELAXED);
}
/* How uses of keys are counted, from the configuration. */
struct access_rule server_access_rule(const struct server *);

/* Whether payloads of DUMP are taken whatever their checksum says. */
static inline bool
server_trusts_payloads(const struct server *s)
{
	return __atomic_load_n(&s->payloads_are_trusted, __ATOMIC_RELAXED);
}

/* From now on uses of keys are noted. Any thread; does nothing from the second time on. SETT_NO_MEMORY. */
int server_note_accesses(struct server *);

/* The data directory's file system. */
static inline struct vfs *
server_vfs(const struct server *s)
{
	return s->vfs != NULL ? s->vfs : vfs_posix();
}

#endif
