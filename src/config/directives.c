/* The directives: every one of Redis 7.0.15's, with its type, bounds and default, and Sett's own.
 *
 * Each row says what becomes of its setting: it has a FIELD that something reads, or says why it has NO_EFFECT,
 * or why any value but the default is REFUSED. NO_EFFECT: the value is accepted, shown and kept, and the log
 * names it. REFUSED: the setting guards data or access, so a start without what it asks for would be worse
 * than none. To add a directive, add a row, and a field to struct config if something reads it. */
#include <ctype.h>
#include <limits.h>
#include <syslog.h>

#include "config/directive.h"
#include "storage/engine.h"

#define IMMUTABLE DIRECTIVE_IMMUTABLE
#define PROTECTED DIRECTIVE_PROTECTED
#define MULTIPLE DIRECTIVE_MULTIPLE
#define HIDDEN DIRECTIVE_HIDDEN
#define MEMORY DIRECTIVE_MEMORY
#define NULLABLE DIRECTIVE_NULLABLE
#define SENSITIVE DIRECTIVE_SENSITIVE
#define FIXED DIRECTIVE_FIXED
#define REREAD DIRECTIVE_REREAD
#define BINARY DIRECTIVE_BINARY

#define NO_EFFECT(why) .no_effect = (why)
#define REFUSED(why) .refused = (why)
#define FIELD(member)                                                \
	.has_field = true, .field = offsetof(struct config, member), \
	.width = sizeof(((struct config *)NULL)->member)
#define BOOLEAN(text, default_text, how) \
	.name = text, .kind = KIND_BOOLEAN, .initial = default_text, .flags = how
#define STRING(text, default_text, how) \
	.name = text, .kind = KIND_STRING, .initial = default_text, .flags = how
#define CHOICE(text, list, default_text, how) \
	.name = text, .kind = KIND_CHOICE, .choices = list, .initial = default_text, .flags = how
#define INTEGER(text, least, most, default_text, how) \
	.name = text, .kind = KIND_INTEGER, .low = least, .high = most, .initial = default_text, .flags = how
#define SPECIAL(text, which, default_text, how) \
	.name = text, .kind = which, .initial = default_text, .flags = how

static const struct choice sync_choices[] = {
	{"everysec", CONFIG_SYNC_EVERYSEC}, {"always", CONFIG_SYNC_ALWAYS}, {"no", CONFIG_SYNC_NO}, {0}};
static const struct choice rotate_choices[] = {{"no", CONFIG_ROTATE_NOTHING},
					       {"master", CONFIG_ROTATE_MASTER},
					       {"data", CONFIG_ROTATE_DATA},
					       {"rewrite", CONFIG_ROTATE_REWRITE},
					       {0}};
static const struct choice compression_choices[] = {
	{"none", SETT_COMPRESSION_NONE}, {"lz4", SETT_COMPRESSION_LZ4}, {"zstd", SETT_COMPRESSION_ZSTD}, {0}};
static const struct choice level_choices[] = {{"debug", LOG_LEVEL_DEBUG},
					      {"verbose", LOG_LEVEL_VERBOSE},
					      {"notice", LOG_LEVEL_NOTICE},
					      {"warning", LOG_LEVEL_WARNING},
					      {0}};
static const struct choice supervised_choices[] = {{"upstart", CONFIG_SUPERVISED_UPSTART},
						   {"systemd", CONFIG_SUPERVISED_SYSTEMD},
						   {"auto", CONFIG_SUPERVISED_AUTO},
						   {"no", CONFIG_SUPERVISED_NO},
						   {0}};
static const struct choice facility_choices[] = {{"user", LOG_USER},     {"local0", LOG_LOCAL0},
						 {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
						 {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
						 {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
						 {"local7", LOG_LOCAL7}, {0}};
static const struct choice field_deadline_choices[] = {
	{"refuse", CONFIG_FIELD_DEADLINES_REFUSE}, {"leave-out", CONFIG_FIELD_DEADLINES_LEAVE_OUT}, {0}};
static const struct choice diskless_load_choices[] = {
	{"disabled", 0}, {"on-empty-db", 1}, {"swapdb", 2}, {0}};
static const struct choice policy_choices[] = {{"volatile-lru", CONFIG_POLICY_VOLATILE_LRU},
					       {"volatile-lfu", CONFIG_POLICY_VOLATILE_LFU},
					       {"volatile-random", CONFIG_POLICY_VOLATILE_RANDOM},
					       {"volatile-ttl", CONFIG_POLICY_VOLATILE_TTL},
					       {"allkeys-lru", CONFIG_POLICY_ALLKEYS_LRU},
					       {"allkeys-lfu", CONFIG_POLICY_ALLKEYS_LFU},
					       {"allkeys-random", CONFIG_POLICY_ALLKEYS_RANDOM},
					       {"noeviction", CONFIG_POLICY_NOEVICTION},
					       {0}};
static const struct choice score_choices[] = {{"no", 0}, {"yes", 1}, {"relative", 1}, {"absolute", 2}, {0}};
static const struct choice acl_pubsub_choices[] = {{"allchannels", 1}, {"resetchannels", 0}, {0}};
static const struct choice sanitize_choices[] = {{"no", 0}, {"yes", 1}, {"clients", 2}, {0}};
static const struct choice local_choices[] = {{"no", 0}, {"yes", 1}, {"local", 2}, {0}};
static const struct choice endpoint_choices[] = {{"ip", CONFIG_ENDPOINT_IP},
						 {"hostname", CONFIG_ENDPOINT_HOSTNAME},
						 {"unknown-endpoint", CONFIG_ENDPOINT_UNKNOWN},
						 {0}};
static const struct choice propagation_choices[] = {
	{"ignore", 0}, {"panic", 1}, {"panic-on-replicas", 2}, {0}};
static const struct choice tls_clients_choices[] = {{"no", CONFIG_TLS_CLIENTS_NO},
						    {"yes", CONFIG_TLS_CLIENTS_YES},
						    {"optional", CONFIG_TLS_CLIENTS_OPTIONAL},
						    {0}};
static const struct choice shutdown_choices[] = {{"default", 0},
						 {"save", CONFIG_SHUTDOWN_SAVE},
						 {"nosave", CONFIG_SHUTDOWN_NOSAVE},
						 {"now", CONFIG_SHUTDOWN_NOW},
						 {"force", CONFIG_SHUTDOWN_FORCE},
						 {0}};

static bool
refuse(char *ret_reason, const char *text)
{
	snprintf(ret_reason, DIRECTIVE_REASON_SIZE, "%s", text);
	return false;
}

static bool
check_shutdown(struct directive_value *value, char *ret_reason)
{
	enum { BOTH = CONFIG_SHUTDOWN_SAVE | CONFIG_SHUTDOWN_NOSAVE };
	if ((value->number & BOTH) == BOTH)
		return refuse(ret_reason, "shutdown options SAVE and NOSAVE can't be used simultaneously");
	return true;
}

static bool
check_hz(struct directive_value *value, char *ret_reason)
{
	enum { HZ_MIN = 1, HZ_MAX = 500 };
	if (value->number < HZ_MIN)
		value->number = HZ_MIN;
	if (value->number > HZ_MAX)
		value->number = HZ_MAX;
	return true;
}

static bool
check_no_defragmentation(struct directive_value *value, char *ret_reason)
{
	if (value->number == 0)
		return true;
	return refuse(ret_reason,
		      "Active defragmentation cannot be enabled: it requires a Redis server "
		      "compiled with a modified Jemalloc like the one shipped by default with "
		      "the Redis source distribution");
}

static bool
check_dump_name(struct directive_value *value, char *ret_reason)
{
	return strchr(value->text, '/') == NULL ||
		refuse(ret_reason, "dbfilename can't be a path, just a filename");
}

static bool
check_rdb_version(struct directive_value *value, char *ret_reason)
{
	enum { WITH_DEADLINES = 12, WITHOUT = 10 };
	return value->number == WITH_DEADLINES || value->number == WITHOUT ||
		refuse(ret_reason,
		       "rdb-version must be 10 (Redis 7.0) or 12 (Redis 7.4: hash fields with deadlines)");
}

static bool
check_append_file(struct directive_value *value, char *ret_reason)
{
	if (value->text[0] == '\0')
		return refuse(ret_reason, "appendfilename can't be empty");
	return strchr(value->text, '/') == NULL ||
		refuse(ret_reason, "appendfilename can't be a path, just a filename");
}

static bool
check_backup_directory(struct directive_value *value, char *ret_reason)
{
	if (value->text[0] == '\0' || strcmp(value->text, ".") == 0 || strcmp(value->text, "..") == 0)
		return refuse(ret_reason, "backupdirname must be the name of a directory");
	return strchr(value->text, '/') == NULL ||
		refuse(ret_reason, "backupdirname can't be a path, just a dirname");
}

static bool
check_archive_directory(struct directive_value *value, char *ret_reason)
{
	return (strcmp(value->text, ".") != 0 && strcmp(value->text, "..") != 0) ||
		refuse(ret_reason, "archive-dir must be a directory of its own");
}

static bool
check_append_directory(struct directive_value *value, char *ret_reason)
{
	if (value->text[0] == '\0')
		return refuse(ret_reason, "appenddirname can't be empty");
	return strchr(value->text, '/') == NULL ||
		refuse(ret_reason, "appenddirname can't be a path, just a dirname");
}

static bool
check_announce_hostname(struct directive_value *value, char *ret_reason)
{
	enum { HOSTNAME_MAX = 256 };
	if (value->text == NULL)
		return true;
	if (strlen(value->text) >= HOSTNAME_MAX)
		return refuse(ret_reason, "Hostnames must be less than 256 characters");
	for (const char *c = value->text; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
			return refuse(ret_reason,
				      "Hostnames may only contain alphanumeric characters, "
				      "hyphens or dots");
	return true;
}

static bool
check_title(struct directive_value *value, char *ret_reason)
{
	static const char *const variables[] = {"title",    "listen-addr", "server-mode", "port",
						"tls-port", "unixsocket",  "config-file"};
	for (const char *at = strchr(value->text, '{'); at != NULL; at = strchr(at + 1, '{')) {
		bool known = false;
		for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
			size_t size = strlen(variables[i]);
			known = known || (strncmp(at + 1, variables[i], size) == 0 && at[1 + size] == '}');
		}
		if (!known)
			return refuse(ret_reason, "template format is invalid or contains unknown variables");
	}
	return true;
}

/* ---- why settings have no effect, or are refused ---- */
static const char NO_MARK[] = "sockets are not marked";
static const char REACTORS_READ[] = "the threads of io-threads always read, too";
static const char NO_MODULES[] = "there are no modules";
static const char NO_REPORT[] = "a crash report has thread, registers and stack alone";
static const char NO_LOGO[] = "the log begins with a short banner instead";
static const char NO_THP[] = "transparent huge pages are left as the system has them";
static const char NO_CHECKS[] = "none of Redis' checks of the system are made";
static const char NO_TICK[] = "there is no periodic task: work begins when it is due";
static const char NO_PINNING[] = "threads are not bound to cores";
static const char NO_TENACITY[] = "keys are evicted on a thread of their own, beside the commands";
static const char NO_EFFORT[] = "expired keys are deleted when they are due, whatever that costs";
static const char FREED_LATER[] = "what is deleted is always freed in the background";
static const char NO_TABLES[] = "the data is not in memory: there is nothing to rehash or to defragment";
static const char NO_THREAD[] = "a thread of the server's own gives memory back";
static const char ALL_LOGGED[] = "every commit is in the server's own log: there is no AOF";
static const char ALL_SAVED[] = "every commit is in the server's own log: there is no RDB file";
static const char ALL_CHECKED[] = "every payload is checked";
static const char TRIED_AGAIN[] = "what a replica can't write is tried again each second, until it can";
static const char PASSED_OVER[] = "a command of the master's that fails is logged and passed over";
static const char BESIDE[] = "a replica receives a data set in a file, and reads it beside the old data, "
			     "which are served meanwhile";
static const char ALONE[] = "a cluster is one node, which has no links to others";
static const char OTHER_LAYOUT[] = "lists and streams are laid out in another way";

const struct directive directive_table[] = {
	/* Sett's own */
	{INTEGER("pool-threads", 1, 512, "8", FIXED), FIELD(pool_threads)},
	{INTEGER("workers", 1, 64, "2", FIXED), FIELD(workers)},
	{INTEGER("value-threshold", 1, 1 << 30, "1kb", FIXED | MEMORY), FIELD(value_threshold)},
	{INTEGER("value-log-file-size", 0, 1 << 30, "0", FIXED | MEMORY), FIELD(value_log_file_size)},
	{.name = "space-amplification-limit",
	 .kind = KIND_DECIMAL,
	 .low = 1,
	 .high = 100,
	 .initial = "1.5",
	 .flags = FIXED,
	 FIELD(space_amplification_limit)},
	{CHOICE("table-compression", compression_choices, "lz4", FIXED), FIELD(table_compression)},
	{CHOICE("bottom-compression", compression_choices, "zstd", FIXED), FIELD(bottom_compression)},
	{CHOICE("value-compression", compression_choices, "none", FIXED), FIELD(value_compression)},
	{INTEGER("compression-level", 1, 19, "1", FIXED), FIELD(compression_level)},
	{INTEGER("metrics-port", 0, 65535, "0", FIXED), FIELD(metrics_port)},
	{BOOLEAN("history", "yes", 0), FIELD(history)},
	{BOOLEAN("check-at-start", "no", FIXED), FIELD(check_at_start)},
	{INTEGER("rdb-version", 10, 12, "10", 0), FIELD(rdb_version), .check = check_rdb_version},
	{CHOICE("replica-field-deadlines", field_deadline_choices, "refuse", 0),
	 FIELD(replica_field_deadlines)},
	{BOOLEAN("ignore-redis-files", "no", IMMUTABLE | HIDDEN), FIELD(ignore_redis_files)},
	{BOOLEAN("import-redis-files", "no", IMMUTABLE | HIDDEN), FIELD(import_redis_files)},

	/* network */
	{INTEGER("port", 0, 65535, "6379", 0), FIELD(port)},
	{SPECIAL("bind", KIND_BIND, "* -::*", MULTIPLE), FIELD(bind)},
	{STRING("bind-source-addr", NULL, NULLABLE), FIELD(bind_source)},
	{INTEGER("tcp-backlog", 0, INT_MAX, "511", IMMUTABLE), FIELD(tcp_backlog)},
	{STRING("unixsocket", NULL, IMMUTABLE | NULLABLE), FIELD(unix_socket)},
	{INTEGER("unixsocketperm", 0, 0777, "0", IMMUTABLE | DIRECTIVE_OCTAL), FIELD(unix_socket_permission)},
	{BOOLEAN("protected-mode", "yes", 0), FIELD(protected_mode)},
	{INTEGER("maxclients", 1, UINT_MAX, "10000", 0), FIELD(max_clients)},
	{INTEGER("timeout", 0, INT_MAX, "0", 0), FIELD(timeout_seconds)},
	{INTEGER("tcp-keepalive", 0, INT_MAX, "300", 0), FIELD(tcp_keepalive)},
	{INTEGER("proto-max-bulk-len", 1024 * 1024, LONG_MAX, "512mb", MEMORY), FIELD(proto_max_bulk_len)},
	{INTEGER("client-query-buffer-limit", 1024 * 1024, LONG_MAX, "1gb", MEMORY),
	 FIELD(client_query_buffer_limit)},
	{INTEGER("snapshot-limit-seconds", 0, INT_MAX, "300", 0), FIELD(snapshot_limit_seconds)},
	{INTEGER("snapshot-limit-bytes", 0, LONG_MAX, "1gb", MEMORY), FIELD(snapshot_limit_bytes)},
	{INTEGER("transaction-timeout", 0, INT_MAX, "60", 0), FIELD(transaction_timeout)},
	{INTEGER("transaction-idle-timeout", 0, INT_MAX, "30", 0), FIELD(transaction_idle_timeout)},
	{INTEGER("as-of-window", 0, INT_MAX, "0", 0), FIELD(as_of_window)},
	{SPECIAL("client-output-buffer-limit", KIND_CLIENT_LIMITS,
		 "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60", MULTIPLE),
	 FIELD(output_limits)},
	{INTEGER("socket-mark-id", 0, UINT_MAX, "0", IMMUTABLE), NO_EFFECT(NO_MARK)},
	{INTEGER("io-threads", 0, 128, "0", IMMUTABLE), FIELD(io_threads)},
	{BOOLEAN("io-threads-do-reads", "no", IMMUTABLE), NO_EFFECT(REACTORS_READ)},
	{BOOLEAN("io-threads-yield", "no", 0), FIELD(io_threads_yield)},

	/* TLS */
	{INTEGER("tls-port", 0, 65535, "0", 0), FIELD(tls_port)},
	{INTEGER("tls-session-cache-size", 0, INT_MAX, "20480", 0), FIELD(tls.session_cache_size)},
	{INTEGER("tls-session-cache-timeout", 0, INT_MAX, "300", 0), FIELD(tls.session_cache_timeout)},
	{BOOLEAN("tls-cluster", "no", 0), FIELD(tls.cluster)},
	{BOOLEAN("tls-replication", "no", 0), FIELD(tls.replication)},
	{CHOICE("tls-auth-clients", tls_clients_choices, "yes", 0), FIELD(tls.auth_clients)},
	{BOOLEAN("tls-prefer-server-ciphers", "no", 0), FIELD(tls.prefer_server_ciphers)},
	{BOOLEAN("tls-session-caching", "yes", 0), FIELD(tls.session_caching)},
	{STRING("tls-cert-file", NULL, NULLABLE | REREAD), FIELD(tls.cert_file)},
	{STRING("tls-key-file", NULL, NULLABLE | REREAD), FIELD(tls.key_file)},
	{STRING("tls-key-file-pass", NULL, NULLABLE | SENSITIVE), FIELD(tls.key_file_pass)},
	{STRING("tls-client-cert-file", NULL, NULLABLE | REREAD), FIELD(tls.client_cert_file)},
	{STRING("tls-client-key-file", NULL, NULLABLE | REREAD), FIELD(tls.client_key_file)},
	{STRING("tls-client-key-file-pass", NULL, NULLABLE | SENSITIVE), FIELD(tls.client_key_file_pass)},
	{STRING("tls-dh-params-file", NULL, NULLABLE | REREAD), FIELD(tls.dh_params_file)},
	{STRING("tls-ca-cert-file", NULL, NULLABLE | REREAD), FIELD(tls.ca_cert_file)},
	{STRING("tls-ca-cert-dir", NULL, NULLABLE | REREAD), FIELD(tls.ca_cert_dir)},
	{STRING("tls-protocols", NULL, NULLABLE), FIELD(tls.protocols)},
	{STRING("tls-ciphers", NULL, NULLABLE), FIELD(tls.ciphers)},
	{STRING("tls-ciphersuites", NULL, NULLABLE), FIELD(tls.ciphersuites)},

	/* general */
	{SPECIAL("dir", KIND_DIRECTORY, ".", PROTECTED | FIXED), FIELD(dir)},
	{STRING("requirepass", NULL, NULLABLE | SENSITIVE | BINARY), FIELD(require_password)},
	{INTEGER("databases", 1, INT_MAX, "16", IMMUTABLE), FIELD(databases)},
	{STRING("logfile", "", IMMUTABLE), FIELD(log_file)},
	{CHOICE("loglevel", level_choices, "notice", 0), FIELD(log_level)},
	{BOOLEAN("daemonize", "no", IMMUTABLE), FIELD(daemonize)},
	{STRING("pidfile", NULL, IMMUTABLE | NULLABLE), FIELD(pid_file)},
	{CHOICE("enable-debug-command", local_choices, "no", IMMUTABLE), FIELD(enable_debug_command)},
	{CHOICE("enable-protected-configs", local_choices, "no", IMMUTABLE), FIELD(enable_protected_configs)},
	{CHOICE("enable-module-command", local_choices, "no", IMMUTABLE), NO_EFFECT(NO_MODULES)},
	{CHOICE("supervised", supervised_choices, "no", IMMUTABLE), FIELD(supervised)},
	{BOOLEAN("syslog-enabled", "no", IMMUTABLE), FIELD(syslog_enabled)},
	{STRING("syslog-ident", "redis", IMMUTABLE), FIELD(syslog_ident)},
	{CHOICE("syslog-facility", facility_choices, "local0", IMMUTABLE), FIELD(syslog_facility)},
	{BOOLEAN("crash-log-enabled", "yes", 0), FIELD(crash_log)},
	{BOOLEAN("crash-memcheck-enabled", "yes", 0), NO_EFFECT(NO_REPORT)},
	{BOOLEAN("use-exit-on-panic", "no", HIDDEN), NO_EFFECT(NO_REPORT)},
	{BOOLEAN("always-show-logo", "no", IMMUTABLE), NO_EFFECT(NO_LOGO)},
	{BOOLEAN("set-proc-title", "yes", IMMUTABLE), FIELD(set_title)},
	{STRING("proc-title-template", "{title} {listen-addr} {server-mode}", 0), .check = check_title,
	 FIELD(title_template)},
	{BOOLEAN("disable-thp", "yes", IMMUTABLE), NO_EFFECT(NO_THP)},
	{STRING("ignore-warnings", "", 0), NO_EFFECT(NO_CHECKS)},
	{INTEGER("hz", 0, INT_MAX, "10", 0), .check = check_hz, NO_EFFECT(NO_TICK)},
	{BOOLEAN("dynamic-hz", "yes", 0), NO_EFFECT(NO_TICK)},
	{INTEGER("watchdog-period", 0, INT_MAX, "0", HIDDEN), NO_EFFECT(NO_REPORT)},
	{INTEGER("shutdown-timeout", 0, INT_MAX, "10", 0), FIELD(shutdown_timeout)},
	{.name = "shutdown-on-sigint",
	 .kind = KIND_CHOICES,
	 .choices = shutdown_choices,
	 .initial = "default",
	 .flags = MULTIPLE,
	 .check = check_shutdown,
	 FIELD(shutdown_on_sigint)},
	{.name = "shutdown-on-sigterm",
	 .kind = KIND_CHOICES,
	 .choices = shutdown_choices,
	 .initial = "default",
	 .flags = MULTIPLE,
	 .check = check_shutdown,
	 FIELD(shutdown_on_sigterm)},
	{STRING("server_cpulist", NULL, IMMUTABLE | NULLABLE), NO_EFFECT(NO_PINNING)},
	{STRING("bio_cpulist", NULL, IMMUTABLE | NULLABLE), NO_EFFECT(NO_PINNING)},
	{STRING("aof_rewrite_cpulist", NULL, IMMUTABLE | NULLABLE), NO_EFFECT(NO_PINNING)},
	{STRING("bgsave_cpulist", NULL, IMMUTABLE | NULLABLE), NO_EFFECT(NO_PINNING)},
	{CHOICE("oom-score-adj", score_choices, "no", 0), FIELD(oom_score_adj)},
	{SPECIAL("oom-score-adj-values", KIND_SCORE_VALUES, "0 200 800", MULTIPLE), FIELD(oom_score_values)},
	{INTEGER("slowlog-log-slower-than", -1, LLONG_MAX, "10000", 0), FIELD(slowlog_slower_than)},
	{INTEGER("slowlog-max-len", 0, LONG_MAX, "128", 0), FIELD(slowlog_max_len)},
	{INTEGER("latency-monitor-threshold", 0, LLONG_MAX, "0", 0), FIELD(latency_monitor_threshold)},
	{BOOLEAN("latency-tracking", "yes", 0), FIELD(latency_tracking)},
	{SPECIAL("latency-tracking-info-percentiles", KIND_PERCENTILES, "50 99 99.9", MULTIPLE),
	 FIELD(latency_percentiles)},
	{SPECIAL("notify-keyspace-events", KIND_EVENTS, "", 0), FIELD(notify_events)},
	{INTEGER("tracking-table-max-keys", 0, LONG_MAX, "1000000", 0), FIELD(tracking_table_max_keys)},

	/* access */
	{STRING("aclfile", "", IMMUTABLE), FIELD(acl_file)},
	{INTEGER("acllog-max-len", 0, LONG_MAX, "128", 0), FIELD(acl_log_max_len)},
	{CHOICE("acl-pubsub-default", acl_pubsub_choices, "resetchannels", 0), FIELD(acl_channels_are_open)},

	/* memory */
	{INTEGER("maxmemory", 0, UINT64_MAX, "0", MEMORY), FIELD(max_memory)},
	{INTEGER("maxdisk", -100, SSIZE_MAX, "95%", MEMORY | DIRECTIVE_PERCENT), FIELD(max_disk)},
	{CHOICE("maxmemory-policy", policy_choices, "noeviction", 0), FIELD(max_memory_policy)},
	{INTEGER("maxmemory-samples", 1, INT_MAX, "5", 0), FIELD(max_memory_samples)},
	{INTEGER("maxmemory-eviction-tenacity", 0, 100, "10", 0), NO_EFFECT(NO_TENACITY)},
	{INTEGER("maxmemory-clients", -100, SSIZE_MAX, "0", MEMORY | DIRECTIVE_PERCENT),
	 FIELD(max_memory_clients)},
	{INTEGER("lfu-log-factor", 0, INT_MAX, "10", 0), FIELD(lfu_log_factor)},
	{INTEGER("lfu-decay-time", 0, INT_MAX, "1", 0), FIELD(lfu_decay_minutes)},
	{INTEGER("active-expire-effort", 1, 10, "1", 0), NO_EFFECT(NO_EFFORT)},
	{BOOLEAN("lazyfree-lazy-eviction", "no", 0), NO_EFFECT(FREED_LATER)},
	{BOOLEAN("lazyfree-lazy-expire", "no", 0), NO_EFFECT(FREED_LATER)},
	{BOOLEAN("lazyfree-lazy-server-del", "no", 0), NO_EFFECT(FREED_LATER)},
	{BOOLEAN("lazyfree-lazy-user-del", "no", 0), NO_EFFECT(FREED_LATER)},
	{BOOLEAN("lazyfree-lazy-user-flush", "no", 0), NO_EFFECT(FREED_LATER)},
	{BOOLEAN("activerehashing", "yes", 0), NO_EFFECT(NO_TABLES)},
	{BOOLEAN("activedefrag", "no", 0), .check = check_no_defragmentation, NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-ignore-bytes", 1, LLONG_MAX, "100mb", MEMORY), NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-threshold-lower", 0, 1000, "10", 0), NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-threshold-upper", 0, 1000, "100", 0), NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-cycle-min", 1, 99, "1", 0), NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-cycle-max", 1, 99, "25", 0), NO_EFFECT(NO_TABLES)},
	{INTEGER("active-defrag-max-scan-fields", 1, LONG_MAX, "1000", 0), NO_EFFECT(NO_TABLES)},
	{BOOLEAN("jemalloc-bg-thread", "yes", 0), NO_EFFECT(NO_THREAD)},

	/* persistence */
	{CHOICE("appendfsync", sync_choices, "everysec", 0), FIELD(sync)},
	{BOOLEAN("appendonly", "no", 0), FIELD(append_only), NO_EFFECT(ALL_LOGGED)},
	{STRING("appendfilename", "appendonly.aof", IMMUTABLE), FIELD(append_file),
	 .check = check_append_file},
	{STRING("appenddirname", "appendonlydir", IMMUTABLE), FIELD(append_directory),
	 .check = check_append_directory},
	{STRING("backupdirname", "backupdir", FIXED), FIELD(backup_directory),
	 .check = check_backup_directory},
	{INTEGER("backup-sealed-ttl", 0, INT_MAX, "0", 0), FIELD(backup_sealed_ttl)},
	{STRING("archive-dir", "", FIXED), FIELD(archive_directory), .check = check_archive_directory},
	{INTEGER("archive-interval", 1, INT_MAX, "5", 0), FIELD(archive_interval)},
	{INTEGER("archive-limit-bytes", 1, LLONG_MAX, "1gb", MEMORY), FIELD(archive_limit_bytes)},
	{INTEGER("archive-retention-seconds", 0, INT_MAX, "0", 0), FIELD(archive_retention_seconds)},
	{INTEGER("archive-retention-bytes", 0, LLONG_MAX, "0", MEMORY), FIELD(archive_retention_bytes)},
	{STRING("encryption-key-file", "", FIXED), FIELD(encryption_key_file)},
	{STRING("encryption-key-command", "", FIXED), FIELD(encryption_key_command)},
	{BOOLEAN("encryption-convert", "no", FIXED), FIELD(encryption_convert)},
	{CHOICE("encryption-rotate", rotate_choices, "no", 0), FIELD(encryption_rotate)},
	{BOOLEAN("encryption-plain-rdb", "no", 0), FIELD(encryption_plain_rdb)},
	{BOOLEAN("no-appendfsync-on-rewrite", "no", 0), NO_EFFECT(ALL_LOGGED)},
	{INTEGER("auto-aof-rewrite-percentage", 0, INT_MAX, "100", 0), NO_EFFECT(ALL_LOGGED)},
	{INTEGER("auto-aof-rewrite-min-size", 0, LLONG_MAX, "64mb", MEMORY), NO_EFFECT(ALL_LOGGED)},
	{BOOLEAN("aof-rewrite-incremental-fsync", "yes", 0), NO_EFFECT(ALL_LOGGED)},
	{BOOLEAN("aof-load-truncated", "yes", 0), FIELD(aof_load_truncated)},
	{BOOLEAN("aof-use-rdb-preamble", "yes", 0), NO_EFFECT(ALL_LOGGED)},
	{BOOLEAN("aof-timestamp-enabled", "no", 0), NO_EFFECT(ALL_LOGGED)},
	{BOOLEAN("aof-disable-auto-gc", "no", 0), NO_EFFECT(ALL_LOGGED)},
	{SPECIAL("save", KIND_SAVE, "", MULTIPLE | DIRECTIVE_CUMULATIVE), FIELD(save)},
	{STRING("dbfilename", "dump.rdb", PROTECTED), FIELD(dump_file), .check = check_dump_name},
	{BOOLEAN("rdbchecksum", "yes", IMMUTABLE), FIELD(rdb_checksum)},
	{BOOLEAN("rdbcompression", "yes", 0), FIELD(rdb_compression)},
	{BOOLEAN("rdb-del-sync-files", "no", 0), NO_EFFECT(ALL_SAVED)},
	{BOOLEAN("rdb-save-incremental-fsync", "yes", 0), NO_EFFECT(ALL_SAVED)},
	{INTEGER("rdb-key-save-delay", INT_MIN, INT_MAX, "0", HIDDEN), FIELD(rdb_key_save_delay)},
	{INTEGER("key-load-delay", INT_MIN, INT_MAX, "0", HIDDEN), FIELD(key_load_delay)},
	{INTEGER("loading-process-events-interval-bytes", 1024, INT_MAX, "2mb", HIDDEN | MEMORY),
	 NO_EFFECT(ALL_SAVED)},
	{CHOICE("sanitize-dump-payload", sanitize_choices, "no", 0), NO_EFFECT(ALL_CHECKED)},
	{BOOLEAN("stop-writes-on-bgsave-error", "yes", 0), FIELD(stop_writes_on_bgsave_error)},

	/* replication */
	{.alias = "slaveof",
	 SPECIAL("replicaof", KIND_REPLICA_OF, "", IMMUTABLE | MULTIPLE),
	 FIELD(replica_of)},
	{STRING("masteruser", NULL, NULLABLE | SENSITIVE), FIELD(master_user)},
	{STRING("masterauth", NULL, NULLABLE | SENSITIVE | BINARY), FIELD(master_auth)},
	{.alias = "slave-serve-stale-data",
	 BOOLEAN("replica-serve-stale-data", "yes", 0),
	 FIELD(replica_serve_stale_data)},
	{.alias = "slave-read-only", BOOLEAN("replica-read-only", "yes", 0), FIELD(replica_read_only)},
	{.alias = "slave-lazy-flush", BOOLEAN("replica-lazy-flush", "no", 0), NO_EFFECT(FREED_LATER)},
	{.alias = "slave-ignore-maxmemory",
	 BOOLEAN("replica-ignore-maxmemory", "yes", 0),
	 FIELD(replica_ignore_maxmemory)},
	{BOOLEAN("replica-announced", "yes", 0), FIELD(replica_announced)},
	{BOOLEAN("replica-ignore-disk-write-errors", "no", 0), NO_EFFECT(TRIED_AGAIN)},
	{.alias = "slave-priority",
	 INTEGER("replica-priority", 0, INT_MAX, "100", 0),
	 FIELD(replica_priority)},
	{.alias = "slave-announce-ip",
	 STRING("replica-announce-ip", NULL, NULLABLE),
	 FIELD(replica_announce_ip)},
	{.alias = "slave-announce-port",
	 INTEGER("replica-announce-port", 0, 65535, "0", 0),
	 FIELD(replica_announce_port)},
	{BOOLEAN("repl-disable-tcp-nodelay", "no", 0), FIELD(repl_disable_tcp_nodelay)},
	{BOOLEAN("repl-diskless-sync", "yes", 0), FIELD(repl_diskless_sync)},
	{INTEGER("repl-diskless-sync-delay", 0, INT_MAX, "5", 0), FIELD(repl_diskless_sync_delay)},
	{INTEGER("repl-diskless-sync-max-replicas", 0, INT_MAX, "0", 0),
	 FIELD(repl_diskless_sync_max_replicas)},
	{CHOICE("repl-diskless-load", diskless_load_choices, "disabled", 0), NO_EFFECT(BESIDE)},
	{INTEGER("repl-timeout", 1, INT_MAX, "60", 0), FIELD(repl_timeout)},
	{.alias = "repl-ping-slave-period",
	 INTEGER("repl-ping-replica-period", 1, INT_MAX, "10", 0),
	 FIELD(repl_ping_replica_period)},
	{INTEGER("repl-backlog-size", 1, LLONG_MAX, "1mb", MEMORY), FIELD(repl_backlog_size)},
	{INTEGER("repl-backlog-ttl", 0, LONG_MAX, "3600", 0), FIELD(repl_backlog_ttl)},
	{.alias = "min-slaves-to-write",
	 INTEGER("min-replicas-to-write", 0, INT_MAX, "0", 0),
	 FIELD(min_replicas_to_write)},
	{.alias = "min-slaves-max-lag",
	 INTEGER("min-replicas-max-lag", 0, INT_MAX, "10", 0),
	 FIELD(min_replicas_max_lag)},
	{CHOICE("propagation-error-behavior", propagation_choices, "ignore", 0), NO_EFFECT(PASSED_OVER)},

	/* cluster */
	{BOOLEAN("cluster-enabled", "no", IMMUTABLE), FIELD(cluster_enabled)},
	{STRING("cluster-config-file", "nodes.conf", IMMUTABLE), FIELD(cluster_config_file)},
	{INTEGER("cluster-port", 0, 65535, "0", IMMUTABLE), FIELD(cluster_port)},
	{INTEGER("cluster-node-timeout", 0, LLONG_MAX, "15000", 0), NO_EFFECT(ALONE)},
	{INTEGER("cluster-migration-barrier", 0, INT_MAX, "1", 0), NO_EFFECT(ALONE)},
	{.alias = "cluster-slave-validity-factor",
	 INTEGER("cluster-replica-validity-factor", 0, INT_MAX, "10", 0),
	 NO_EFFECT(ALONE)},
	{.alias = "cluster-slave-no-failover",
	 BOOLEAN("cluster-replica-no-failover", "no", 0),
	 NO_EFFECT(ALONE)},
	{BOOLEAN("cluster-require-full-coverage", "yes", 0), NO_EFFECT(ALONE)},
	{BOOLEAN("cluster-allow-reads-when-down", "no", 0), NO_EFFECT(ALONE)},
	{BOOLEAN("cluster-allow-pubsubshard-when-down", "yes", 0), NO_EFFECT(ALONE)},
	{BOOLEAN("cluster-allow-replica-migration", "yes", 0), NO_EFFECT(ALONE)},
	{STRING("cluster-announce-ip", NULL, NULLABLE), FIELD(cluster_announce_ip)},
	{STRING("cluster-announce-hostname", NULL, NULLABLE), .check = check_announce_hostname,
	 FIELD(cluster_announce_hostname)},
	{INTEGER("cluster-announce-port", 0, 65535, "0", 0), FIELD(cluster_announce_port)},
	{INTEGER("cluster-announce-tls-port", 0, 65535, "0", 0), NO_EFFECT(ALONE)},
	{INTEGER("cluster-announce-bus-port", 0, 65535, "0", 0), FIELD(cluster_announce_bus_port)},
	{CHOICE("cluster-preferred-endpoint-type", endpoint_choices, "ip", 0), FIELD(cluster_endpoint)},
	{INTEGER("cluster-link-sendbuf-limit", 0, LLONG_MAX, "0", MEMORY), NO_EFFECT(ALONE)},

	/* types */
	{.alias = "hash-max-ziplist-entries",
	 INTEGER("hash-max-listpack-entries", 0, LONG_MAX, "512", 0),
	 FIELD(hash_max_listpack_entries)},
	{.alias = "hash-max-ziplist-value",
	 INTEGER("hash-max-listpack-value", 0, LONG_MAX, "64", MEMORY),
	 FIELD(hash_max_listpack_value)},
	{INTEGER("packed-max-size", 64, 4096, "1000", MEMORY), FIELD(packed_max_size)},
	{.alias = "list-max-ziplist-size",
	 INTEGER("list-max-listpack-size", INT_MIN, INT_MAX, "-2", 0),
	 NO_EFFECT(OTHER_LAYOUT)},
	{INTEGER("list-compress-depth", 0, INT_MAX, "0", 0), NO_EFFECT(OTHER_LAYOUT)},
	{INTEGER("set-max-intset-entries", 0, LONG_MAX, "512", 0), FIELD(set_max_intset_entries)},
	{.alias = "zset-max-ziplist-entries",
	 INTEGER("zset-max-listpack-entries", 0, LONG_MAX, "128", 0),
	 FIELD(zset_max_listpack_entries)},
	{.alias = "zset-max-ziplist-value",
	 INTEGER("zset-max-listpack-value", 0, LONG_MAX, "64", MEMORY),
	 FIELD(zset_max_listpack_value)},
	{INTEGER("hll-sparse-max-bytes", 0, LONG_MAX, "3000", MEMORY), FIELD(hll_sparse_max_bytes)},
	{INTEGER("stream-node-max-bytes", 0, LONG_MAX, "4kb", MEMORY), NO_EFFECT(OTHER_LAYOUT)},
	{INTEGER("stream-node-max-entries", 0, LLONG_MAX, "100", 0), FIELD(stream_node_max_entries)},

	/* scripts */
	{.alias = "lua-time-limit",
	 INTEGER("busy-reply-threshold", 0, LONG_MAX, "5000", 0),
	 FIELD(busy_reply_threshold)},
	{BOOLEAN("lua-enable-deprecated-api", "no", IMMUTABLE | HIDDEN), FIELD(lua_enable_deprecated_api)},
};

const size_t directive_count = sizeof directive_table / sizeof *directive_table;

static bool
name_is(const char *name, struct bytes given)
{
	return name != NULL && strlen(name) == given.size &&
		strncasecmp(name, (const char *)given.data, given.size) == 0;
}

int
directive_index(struct bytes name)
{
	for (size_t i = 0; i < directive_count; i++)
		if (name_is(directive_table[i].name, name) || name_is(directive_table[i].alias, name))
			return (int)i;
	return -1;
}
