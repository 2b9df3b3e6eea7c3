/* The figures behind INFO, gathered once a call. */
#ifndef SETT_INFO_FACTS_H
#define SETT_INFO_FACTS_H

#include <sys/resource.h>
#include <sys/utsname.h>

#include "expire/evictor.h"
#include "info/command_stats.h"
#include "keyspace/libraries.h"
#include "moving/backup.h"
#include "moving/follower.h"
#include "moving/saver.h"
#include "net/net.h"
#include "pubsub/tracking.h"
#include "repl/replication.h"
#include "script/script.h"
#include "storage/archive.h"
#include "storage/engine.h"
#include "storage/keyring.h"
#include "txn/moments.h"
#include "txn/server.h"

struct info_facts {
	struct server *server;
	struct utsname os;
	struct net_stats net;
	struct sett_stats storage;
	struct sett_error health;
	int health_status;
	uint64_t zero; /* what Sett has none of */
	uint64_t now_us, uptime_seconds, uptime_days, lru_clock, process_id, tcp_port, reactors;
	uint64_t allocated, active, resident; /* the allocator's */
	uint64_t used, used_peak;             /* what is allocated and mapped; its largest figure */
	uint64_t overhead, dataset, startup_memory;
	uint64_t rss, system_memory, memory_budget, max_memory;
	uint64_t clients; /* connections, without replicas */
	uint64_t max_clients, max_input_buffer, max_output_buffer, watching_clients;
	struct interactive_counts transactions;
	uint64_t io_threads_active, threaded_reads, threaded_writes;
	uint64_t startup_log_bytes, pending_syncs, expire_cpu_ms;
	struct saver_facts save;
	struct backup_facts backup;
	uint64_t backup_is_in_progress;
	struct sett_archive_facts archive;
	struct encryption_facts {
		uint64_t is_on, keys, refusals, is_rewriting, has_plain, last_failed;
	} encryption;
	struct follower_facts follower;
	struct replication_state replication;
	struct {
		uint64_t is_active, began_ms, total_bytes, done_bytes, keys, expired;
	} loading;
	uint64_t undurable_commits, unsaved_changes, last_save_seconds, sync_lag_us;
	uint64_t visible, written, durable, oldest_snapshot_age;
	uint64_t topics[SUBSCRIPTION_KINDS]; /* that anybody is subscribed to */
	struct tracking_stats tracking;
	struct moments_figures past;
	struct evictor_figures eviction;
	uint64_t maxdisk_refuses; /* 1: commands that take space are refused for it */
	uint64_t expired_keys, total_errors, keyspace_misses, keyspace_hits;
	struct command_rates rates;
	struct script_stats scripts;
	uint64_t script_bytes;            /* of scripts and functions, beside the interpreters */
	struct libraries_state libraries; /* of the view, if there is one */
	uint64_t hz;
	char allocator[64];
	char max_memory_policy[32];
	const char *config_file;
	struct rusage self, children;
	double main_user_seconds,
		main_system_seconds; /* processor time of the main thread, which only waits */
};

void info_gather(struct server *, struct info_facts *ret);

/* Keeps what the server had taken when it was ready, which later figures are compared with. Before it serves. */
void facts_note_start(struct server *);
/* Bytes that malloc has given out, from a walk over the allocator's arenas: some 50 us. Any thread. */
uint64_t facts_allocated_bytes(void);
/* Raises the peak of used_memory to `used`, if that is more. Any thread. */
void facts_note_used(struct server *, uint64_t used);
/* Gives back to the system what the allocator keeps of freed memory. Takes milliseconds. Any thread. */
void facts_purge_allocator(void);
/* Appends what the allocator reports of itself, for people. SETT_NO_MEMORY; SETT_INVALID if it has no report. */
int facts_allocator_report(struct buffer *ret);
/* What the process has resident, in bytes, as the kernel says; 0 if it doesn't. Any thread. */
uint64_t facts_resident_bytes(void);

#endif
