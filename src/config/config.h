/* Directives: one table of rows (name, type, default, bounds, can it change at run time, who listens), read
 * from a redis.conf, the command line, CONFIG SET; written by CONFIG REWRITE.
 *
 * `struct config` holds the current values, for all rooms. Fields are read on any thread: scalars that can
 * change at run time are written with
 * __atomic_store_n and may be read with a relaxed load; strings change only under config_lock. */
#ifndef SETT_CONFIG_CONFIG_H
#define SETT_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/words.h"
#include "storage/base/bytes.h"
#include "storage/base/log_sink.h"
#include "storage/base/thread.h"
#include "storage/status.h"

/* The classes of client-output-buffer-limit, in the order of its text. */
enum config_client_class {
	CONFIG_CLIENT_NORMAL,
	CONFIG_CLIENT_REPLICA,
	CONFIG_CLIENT_PUBSUB,
	CONFIG_CLIENT_CLASSES
};

/* Bytes of replies that may wait to be sent to one client; 0 = no limit. */
struct config_output_limit {
	uint64_t hard; /* never as many */
	uint64_t soft; /* not as many for longer than soft_seconds */
	uint64_t soft_seconds;
};

/* A point of `save`: an RDB file is written after so many seconds with so many changes. */
struct config_save_point {
	int64_t seconds, changes;
};

enum config_rotate { CONFIG_ROTATE_NOTHING, CONFIG_ROTATE_MASTER, CONFIG_ROTATE_DATA, CONFIG_ROTATE_REWRITE };
enum config_sync { CONFIG_SYNC_NO, CONFIG_SYNC_EVERYSEC, CONFIG_SYNC_ALWAYS }; /* appendfsync */
enum config_field_deadlines { CONFIG_FIELD_DEADLINES_REFUSE, CONFIG_FIELD_DEADLINES_LEAVE_OUT };
enum config_policy { /* maxmemory-policy */
		     CONFIG_POLICY_VOLATILE_LRU,
		     CONFIG_POLICY_VOLATILE_LFU,
		     CONFIG_POLICY_VOLATILE_RANDOM,
		     CONFIG_POLICY_VOLATILE_TTL,
		     CONFIG_POLICY_ALLKEYS_LRU,
		     CONFIG_POLICY_ALLKEYS_LFU,
		     CONFIG_POLICY_ALLKEYS_RANDOM,
		     CONFIG_POLICY_NOEVICTION
};
enum config_supervised {
	CONFIG_SUPERVISED_NO,
	CONFIG_SUPERVISED_AUTO,
	CONFIG_SUPERVISED_SYSTEMD,
	CONFIG_SUPERVISED_UPSTART
};

enum config_tls_clients { CONFIG_TLS_CLIENTS_NO, CONFIG_TLS_CLIENTS_YES, CONFIG_TLS_CLIENTS_OPTIONAL };

/* The tls- directives, but for the port. All (runtime, under lock). */
struct config_tls {
	char *cert_file, *key_file, *key_file_pass; /* NULL = not given, as are the next */
	char *client_cert_file, *client_key_file, *client_key_file_pass;
	char *dh_params_file, *ca_cert_file, *ca_cert_dir;
	char *protocols, *ciphers, *ciphersuites;
	int auth_clients; /* enum config_tls_clients */
	bool prefer_server_ciphers, session_caching;
	bool replication, cluster;
	int64_t session_cache_size, session_cache_timeout;
};

/* Classes of keyspace events, and the channels in which they are told. */
#define CONFIG_EVENT_LETTERS "g$lshzxetdKEmnoc"

enum config_endpoint { CONFIG_ENDPOINT_IP, CONFIG_ENDPOINT_HOSTNAME, CONFIG_ENDPOINT_UNKNOWN };

/* What a signal that ends the server asks for. */
enum {
	CONFIG_SHUTDOWN_SAVE = 1 << 0,
	CONFIG_SHUTDOWN_NOSAVE = 1 << 1,
	CONFIG_SHUTDOWN_NOW = 1 << 2,
	CONFIG_SHUTDOWN_FORCE = 1 << 3,
};

struct config {
	/* network; set at start unless marked (runtime) */
	int port;         /* (runtime) */
	int tls_port;     /* (runtime) */
	int metrics_port; /* 0 = none */
	bool history;     /* (runtime) figures of the last day are kept */
	struct config_tls tls;
	char *bind; /* (runtime, under lock) space separated, as in the file; "*" and "-::*" forms as Redis */
	int tcp_backlog;
	char *unix_socket; /* NULL = none */
	unsigned unix_socket_permission;
	int io_threads;                    /* reactors; 0 = cores */
	bool io_threads_yield;             /* reactors yield their core before they sleep */
	int pool_threads;                  /* threads of the blocking pool: 8 */
	bool protected_mode;               /* (runtime) */
	int64_t max_clients;               /* (runtime) */
	int64_t timeout_seconds;           /* (runtime) idle clients; 0 = never */
	int64_t tcp_keepalive;             /* (runtime) seconds; 0 = off */
	int64_t proto_max_bulk_len;        /* (runtime) */
	int64_t client_query_buffer_limit; /* (runtime) */
	int64_t snapshot_limit_seconds;    /* (runtime) of what holds a snapshot; 0 = no limit */
	int64_t snapshot_limit_bytes;      /* (runtime) that it alone keeps on the disk; 0 = no limit */
	int64_t transaction_timeout;       /* (runtime) seconds from BEGIN on; 0 = no limit */
	int64_t transaction_idle_timeout; /* (runtime) seconds between two commands after BEGIN; 0 = no limit */
	int64_t as_of_window; /* (runtime) seconds for which the past can be read (txn/moments.h); 0 = not at all */
	struct config_output_limit output_limits[CONFIG_CLIENT_CLASSES]; /* (runtime) */
	unsigned notify_events; /* (runtime) a bit for each of CONFIG_EVENT_LETTERS, in their order */
	/* general */
	char *dir; /* data directory as given; the process does not change into it for the engine: see
		      data_directory */
	struct bytes require_password; /* (runtime, under lock) empty = none */
	char *acl_file;                /* "" = none */
	int64_t acl_log_max_len;       /* (runtime) entries of ACL LOG */
	int acl_channels_are_open;     /* (runtime) acl-pubsub-default: users begin with all channels */
	int databases;
	char *log_file; /* "" = stdout */
	int log_level;  /* (runtime) enum log_level */
	bool syslog_enabled;
	char *syslog_ident;
	int syslog_facility; /* as of syslog.h */
	bool daemonize;
	int supervised; /* enum config_supervised, as set: see supervisor.h for what was found */
	char *pid_file;
	bool crash_log;              /* (runtime) crash-log-enabled */
	bool set_title;              /* set-proc-title */
	char *title_template;        /* (runtime, under lock) proc-title-template */
	int oom_score_adj;           /* (runtime) 0: left alone, 1: relative to what it was, 2: absolute */
	char *oom_score_values;      /* (runtime, under lock) three numbers */
	int64_t slowlog_slower_than; /* (runtime) microseconds; negative = off */
	int64_t slowlog_max_len;     /* (runtime) */
	int64_t busy_reply_threshold; /* (runtime) milliseconds that a script runs before SCRIPT KILL may end it */
	int64_t tracking_table_max_keys; /* (runtime) 0: no limit */
	int max_memory_policy; /* (runtime) enum config_policy: what is evicted, and what OBJECT FREQ and IDLETIME
				   count */
	int max_memory_samples; /* (runtime) of so many keys that are looked at, one may be evicted */
	int lfu_log_factor;     /* (runtime) */
	int lfu_decay_minutes;  /* (runtime) lfu-decay-time */
	bool latency_tracking;  /* (runtime) */
	int64_t latency_monitor_threshold; /* (runtime) milliseconds; 0 = off */
	char *latency_percentiles;         /* (runtime, under lock) words, each 0 to 100 */
	int enable_debug_command;          /* 0 no, 1 yes, 2 local */
	int enable_protected_configs;
	/* names in `dir` of what redis-server would load (redis_files.h) */
	char *dump_file; /* (runtime, under lock) */
	char *append_file, *append_directory;
	char *backup_directory;    /* name in `dir` */
	int64_t backup_sealed_ttl; /* seconds; 0: for good (runtime) */
	char *archive_directory;   /* absolute, or in `dir`; empty: nothing is archived */
	int64_t archive_interval, archive_retention_seconds;  /* (runtime) seconds */
	int64_t archive_limit_bytes, archive_retention_bytes; /* (runtime) */
	/* where the master key comes from: one of them, or neither: nothing is encrypted (encryption.h) */
	char *encryption_key_file, *encryption_key_command;
	int encryption_rotate;     /* (runtime) enum config_rotate: what was asked for last */
	bool encryption_convert;   /* a database that is not encrypted is opened, and becomes it */
	bool encryption_plain_rdb; /* (runtime) dumps are not encrypted, so that redis-server can read them */
	bool append_only;          /* which of them, where there are both kinds */
	bool ignore_redis_files, import_redis_files;
	bool check_at_start, aof_load_truncated;
	/* replication */
	char *replica_of; /* (runtime, under lock) "host port", empty: none. Changed by config_note_replica_of alone */
	char *master_user;         /* (runtime, under lock) NULL = none */
	struct bytes master_auth;  /* (runtime, under lock) empty = none */
	char *bind_source;         /* (runtime, under lock) of links to masters; NULL = the system chooses */
	char *replica_announce_ip; /* (runtime, under lock) NULL = what the master sees */
	int replica_announce_port; /* (runtime) 0 = port */
	bool replica_serve_stale_data; /* (runtime) */
	bool replica_read_only;        /* (runtime) */
	bool replica_announced;        /* (runtime) */
	int replica_priority;          /* (runtime) */
	bool repl_disable_tcp_nodelay; /* (runtime) */
	/* storage */
	enum config_sync sync; /* (runtime) appendfsync */
	uint64_t max_memory;   /* as set; 0 = a quarter of the machine's */
	int64_t max_disk; /* (runtime) bytes, or as a negative number per cent of the file system; 0 = no limit */
	int64_t max_memory_clients; /* (runtime) bytes, or as a negative number per cent of maxmemory; 0 = not set */
	uint64_t value_threshold, value_log_file_size;
	double space_amplification_limit;
	int table_compression, bottom_compression, value_compression; /* enum sett_compression */
	int compression_level;
	int workers;
	/* types */
	int64_t hash_max_listpack_entries, hash_max_listpack_value; /* (runtime) */
	int64_t set_max_intset_entries;                             /* (runtime) */
	char *save; /* (runtime, under lock) points, for config_next_save_point; empty: none */
	bool stop_writes_on_bgsave_error; /* (runtime) */
	bool rdb_compression;             /* (runtime) of strings in dumped values and RDB files */
	bool rdb_checksum;                /* RDB files end with one */
	int rdb_version;                  /* (runtime) of files that are written */
	int64_t key_load_delay;           /* (runtime) likewise, for each key that is loaded */
	int64_t rdb_key_save_delay;       /* (runtime) see rdb/database_writer.h */
	enum config_field_deadlines replica_field_deadlines; /* (runtime) for those that don't know them */
	bool cluster_enabled;
	char *cluster_config_file;
	char *cluster_announce_ip, *cluster_announce_hostname; /* (runtime, under lock) NULL: none */
	int cluster_port, cluster_announce_port, cluster_announce_bus_port; /* the latter two (runtime) */
	int cluster_endpoint;     /* (runtime) enum config_endpoint: what CLUSTER SLOTS calls a node by */
	int64_t shutdown_timeout; /* (runtime) seconds that replicas are waited for */
	int shutdown_on_sigint, shutdown_on_sigterm; /* (runtime) CONFIG_SHUTDOWN_..., or'ed */
	int64_t repl_backlog_size; /* (runtime) bytes of the stream that are kept for replicas that come back */
	int64_t repl_backlog_ttl, repl_timeout, repl_ping_replica_period; /* (runtime) seconds */
	bool replica_ignore_maxmemory; /* (runtime) a replica evicts nothing by itself */
	bool repl_diskless_sync;       /* (runtime) */
	int64_t repl_diskless_sync_delay, repl_diskless_sync_max_replicas; /* (runtime) seconds, replicas */
	int64_t min_replicas_to_write, min_replicas_max_lag;               /* (runtime) replicas, seconds */
	int64_t zset_max_listpack_entries, zset_max_listpack_value;        /* (runtime) */
	int64_t stream_node_max_entries; /* (runtime) approximate trimming goes by so many entries; 0: by 100 */
	int64_t packed_max_size;         /* (runtime) bytes of a collection that is kept within its root */
	int64_t hll_sparse_max_bytes;    /* (runtime) */
	bool active_expire;              /* (runtime) DEBUG SET-ACTIVE-EXPIRE */
	bool lua_enable_deprecated_api; /* scripts have setfenv, getfenv, newproxy */
	struct config_private *private; /* the rows that are accepted and shown but used by nothing, the
					   file's path and lines, the listeners */
};

/* Defaults, then the file, then the command line, as redis-server reads them: [path] [--directive value ...]
 * [-]. On SETT_INVALID `error` has Redis' own wording, several lines long if need be ("*** FATAL CONFIG FILE
 * ERROR (Redis 7.0.15) ***", "Reading the configuration file, at line 3", ">>> '...'", the reason). What
 * was accepted without effect is logged once there is a sink: config_print_warnings. */
int config_load(int argc, char **argv, struct config **ret, struct buffer *ret_error);
/* "cluster" or "standalone". */
static inline const char *
config_mode(const struct config *config)
{
	return config->cluster_enabled ? "cluster" : "standalone";
}
void config_destroy(struct config *);
void config_print_warnings(struct config *, const struct log_sink *);
struct mutex *config_lock(struct config *);
/* Why setting this directive changes nothing, or not all that it says; NULL if it works or there is none. */
const char *config_no_effect(struct bytes directive);
/* A `rename-command` line, for main: this room does not know the commands. */
struct config_rename {
	struct config_rename *next; /* in the order of the lines */
	struct buffer from, to;     /* `to` empty: the command is to be gone */
	struct buffer line;
	size_t line_number;
};
/* NULL: there are none. Lives as long as the configuration. */
const struct config_rename *config_renames(const struct config *);
/* A `user` line, likewise for who knows what its rules mean. */
struct config_user {
	struct config_user *next; /* in the order of the lines */
	struct words words;       /* "user", the name, the rules */
	struct buffer line;
	size_t line_number;
};
/* NULL: there are none. Lives as long as the configuration. */
const struct config_user *config_users(const struct config *);
/* Words the refusal of a line of the configuration, as config_load does. SETT_INVALID, SETT_NO_MEMORY. */
int config_refuse_line(struct buffer *ret_error, size_t line_number, struct bytes line, const char *reason);
/* Whether maxmemory-policy is one of the two LFU, or LRU, policies. */
bool config_policy_is_lfu(const struct config *);
bool config_policy_is_lru(const struct config *);
/* What maxmemory amounts to in bytes, never 0. */
uint64_t config_effective_memory(const struct config *);

/* Calls `each` with name and value of every directive that any of the words asks for, in table order. A word
 * is a name or an alias, which `each` gets as it is written there, or a glob pattern, for which `each` gets the
 * names of the table. */
void config_get(struct config *, const struct bytes *words, size_t count,
		void (*each)(void *arg, struct bytes name, struct bytes value), void *arg);
/* Sets all or none. `arguments` are name, value, name, value. On failure `ret_error` has Redis' text, e.g.
 * "ERR CONFIG SET failed (possibly related to argument 'port') - ...". */
int config_set(struct config *, const struct bytes *arguments, size_t count, struct buffer *ret_error);
/* The same for a client that is known to be local (or not), which enable-protected-configs may ask. */
int config_set_from(struct config *, const struct bytes *arguments, size_t count, bool is_local,
		    struct buffer *ret_error);
/* Whether config_set_from would do it; changes nothing. */
int config_check_from(struct config *, const struct bytes *arguments, size_t count, bool is_local,
		      struct buffer *ret_error);
/* REPLICAOF: `replicaof` says this from now on; an empty host: nothing. SETT_NO_MEMORY; SETT_INVALID: the directive would
 * not take it. */
int config_note_replica_of(struct config *, const char *host, unsigned port);
/* Rewrites the file it was started from, keeping comments and order, through a temporary file, fsync and
 * rename. "ERR The server is running without a config file". */
int config_rewrite(struct config *, bool force_all, struct buffer *ret_error);
/* What CONFIG REWRITE writes as `user` lines: `append(arg, ret)` appends them, each with a line end. It is called with the
 * configuration's lock held. Nobody is asked at first: then the lines stay as they are. */
void config_set_users(struct config *, int (*append)(void *arg, struct buffer *ret), void *arg);
/* Whether the values of a directive of this name are secrets, not to be logged. */
bool config_directive_is_sensitive(struct bytes name);
/* SETT_NO_MEMORY, SETT_INVALID (no such directive). `changed(arg)` runs after a successful config_set that
 * touched the directive, outside the lock. */
int config_listen(struct config *, const char *directive, void (*changed)(void *arg), void *arg);
/* Before the directive changes, config_set and config_check_from ask `allows(arg, planned, reason, size)`, under the lock
 * (call nothing of this header): `planned` has all values as they would be, and lives as long as the call. False, with the
 * reason, refuses the change. It may be asked again, and for changes that are not made. SETT_NO_MEMORY, SETT_INVALID (no
 * such directive). */
int config_guard(struct config *, const char *directive,
		 bool (*allows)(void *arg, const struct config *planned, char *ret_reason, size_t size),
		 void *arg);
/* The first point of `text`, which then begins after it. False: there is none. */
bool config_next_save_point(const char **text, struct config_save_point *ret);
/* The path CONFIG REWRITE writes to, NULL if none. */
const char *config_file_path(const struct config *);

#endif
