/* sett-server: reads the configuration, makes the rooms' objects, runs until it is asked to stop.
 *
 * Order of the start: the port is bound before the database is opened, so that a second server on the same
 * port ends at once and touches nothing; threads that serve start last. The stop takes it all down in
 * reverse, with one exception: net outlives the engine, which reports its progress to it.
 *
 * Every failure before "Ready to accept connections" is one line in the log (or on standard error, where the
 * configuration itself is wrong) and exit code 1; a check (check-at-start) that a signal ends is no failure. */
#include <errno.h>
#include <unistd.h>

#include "acl/denials.h"
#include "acl/files.h"
#include "cluster/node.h"
#include "cmd/commands.h"
#include "config/config.h"
#include "crash_report.h"
#include "database_check.h"
#include "descriptors.h"
#include "encryption.h"
#include "engine_options.h"
#include "expire/evictor.h"
#include "expire/expirer.h"
#include "info/command_stats.h"
#include "info/facts.h"
#include "info/figure_history.h"
#include "info/latency_monitor.h"
#include "info/recorder.h"
#include "info/slowlog.h"
#include "keyspace/keyspace.h"
#include "memory_keeper.h"
#include "metrics.h"
#include "moving/backup.h"
#include "moving/follower.h"
#include "moving/importer.h"
#include "moving/saver.h"
#include "moving/shutdown.h"
#include "net/net.h"
#include "oom_score.h"
#include "process.h"
#include "process_title.h"
#include "pubsub/tracking.h"
#include "repl/replication.h"
#include "script/script.h"
#include "server_log.h"
#include "storage/archive.h"
#include "storage/base/random.h"
#include "storage/engine.h"
#include "supervisor.h"
#include "txn/command.h"
#include "txn/command_rename.h"
#include "txn/interest.h"
#include "txn/moments.h"
#include "txn/pause.h"
#include "txn/runner.h"
#include "txn/server.h"
#include "txn/waiting.h"

enum { PATH_SIZE = 4096, PROGRESS_INTERVAL_MS = 2000 };

/* Everything that lives as long as the process. */
struct program {
	struct server_log log;
	struct server server;
	struct signal_watch signals;
	struct cluster_node cluster;
	struct supervisor supervisor;
	struct memory_keeper *memory_keeper;
	struct metrics *metrics;
	struct descriptors descriptors;
	uint64_t progress_logged_ms; /* of check, recovery or import */
	bool serves;                 /* net_start was called */
	struct oom_score oom_score;
	struct process_title title;
	char executable[PATH_SIZE];
};

/* ---- words ---- */

static int
print_version(void)
{
	printf("Sett server v=%s redis=7.0.15 malloc=%s bits=64\n", SETT_VERSION, SETT_ALLOCATOR);
	return 0;
}

static int
print_help(void)
{
	printf("Usage: sett-server [/path/to/sett.conf] [options] [-]\n"
	       "       sett-server -            (reads the configuration from standard input)\n"
	       "       sett-server -v or --version\n"
	       "       sett-server -h or --help\n"
	       "\n"
	       "A configuration file has the directives of redis.conf; each can be given as an option, too:\n"
	       "       sett-server --port 7777 --dir /var/lib/sett --appendfsync always\n"
	       "       sett-server /etc/sett.conf --loglevel verbose\n"
	       "\n"
	       "Where Redis' own files (dump.rdb, appendonlydir) lie in the data directory and no Sett "
	       "database with\n"
	       "keys does, they are read, and stay as they are; --ignore-redis-files yes begins empty "
	       "beside them.\n"
	       "\n"
	       "A start reads manifest and log, and refuses damage there. With --check-at-start yes it first "
	       "reads\n"
	       "all data and refuses any damage. With --aof-load-truncated no it refuses to cut off an end "
	       "of "
	       "the\n"
	       "log that is torn or damaged.\n");
	return 0;
}

static void
greet(struct program *p)
{
	const struct log_sink *sink = &p->server.sink;
	log_sink_printf(sink, LOG_LEVEL_WARNING, "oO0OoO0OoO0Oo Sett is starting oO0OoO0OoO0Oo");
	log_sink_printf(sink, LOG_LEVEL_WARNING,
			"Sett version=%s, redis=7.0.15, bits=64, pid=%d, just started", SETT_VERSION,
			(int)getpid());
	if (config_file_path(p->server.config) != NULL)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Configuration loaded");
	config_print_warnings(p->server.config, sink);
}

/* What scripts look for to learn that the server runs, and as which process. */
static void
show_process(struct program *p)
{
	char text[200];
	log_sink_printf(&p->server.sink, LOG_LEVEL_NOTICE, "Running mode=%s, port=%d.",
			config_mode(p->server.config), p->server.config->port);
	snprintf(text, sizeof(text), "\n     Sett %s\n     Port: %d\n     PID: %d\n\n", SETT_VERSION,
		 p->server.config->port, (int)getpid());
	server_log_raw(&p->log, text);
	log_sink_printf(&p->server.sink, LOG_LEVEL_WARNING, "Server initialized");
}

/* ---- the database ---- */

/* A line every two seconds, and word for the service manager. */
static void
log_progress(struct program *p, const char *what, uint64_t done, uint64_t total)
{
	uint64_t now = clock_wall_ms(p->server.clock);
	if (total == 0 || now - p->progress_logged_ms < PROGRESS_INTERVAL_MS)
		return;
	p->progress_logged_ms = now;
	log_sink_printf(&p->server.sink, LOG_LEVEL_NOTICE, "%s: %llu of %llu bytes", what,
			(unsigned long long)done, (unsigned long long)total);
	supervisor_progress(&p->supervisor, what, done, total);
}

static void
on_recovery(void *arg, uint64_t done, uint64_t total)
{
	log_progress(arg, "Recovering the log", done, total);
}

static void
on_check(void *arg, uint64_t done, uint64_t total)
{
	log_progress(arg, "Database check", done, total);
}

static bool
should_stop_check(void *arg)
{
	return signal_watch_is_asked(&((struct program *)arg)->signals);
}

/* All of the database is looked at, if that is wanted. */
static int
check_database(struct program *p, struct sett_error *error)
{
	struct server *s = &p->server;
	struct sett_check_options options = {
		.vfs = s->vfs, .on_progress = on_check, .should_stop = should_stop_check, .arg = p};
	if (!s->config->check_at_start)
		return SETT_OK;
	log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Database check: reading all of %s before it is served",
			s->config->dir);
	return database_check(s->config->dir, &options, &s->sink, error);
}

static void
sync_changed(void *arg)
{
	struct server *server = arg;
	sett_engine_set_sync_policy(server->engine, engine_sync_policy(server->config));
}

static void
archive_changed(void *arg)
{
	struct server *server = arg;
	char path[SETT_PATH_MAX];
	struct sett_archive_options options;
	if (engine_archive_options(server->config, path, &options))
		sett_engine_set_archive(server->engine, &options);
}

static void
room_changed(void *arg)
{
	struct server *server = arg;
	if (server->evictor != NULL)
		evictor_look(server->evictor);
}

/* An LRU or LFU policy asks for the uses of keys. */
static void
policy_changed(void *arg)
{
	struct server *server = arg;
	if ((config_policy_is_lfu(server->config) || config_policy_is_lru(server->config)) &&
	    server_note_accesses(server) != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "No memory to note uses of keys");
	room_changed(server);
}

static void
events_changed(void *arg)
{
	struct server *server = arg;
	/* relaxed: the number stands for itself */
	unsigned events = __atomic_load_n(&server->config->notify_events, __ATOMIC_RELAXED);
	bool are_told = (events & (EVENT_BY_KEY | EVENT_BY_NAME)) != 0;
	keyspace_set_events(server->keyspace, are_told ? events : 0);
}

static void
tracking_limit_changed(void *arg)
{
	struct server *server = arg;
	/* relaxed: the number stands for itself */
	int64_t keys = __atomic_load_n(&server->config->tracking_table_max_keys, __ATOMIC_RELAXED);
	tracking_set_limit(server->pubsub, (uint64_t)keys);
}

static void
on_progress(void *arg)
{
	struct server *server = arg;
	/* Acquire: partner of the release in create_rooms; the engine runs before. */
	struct replication *replication = __atomic_load_n(&server->replication, __ATOMIC_ACQUIRE);
	net_on_progress(server->net);
	if (replication != NULL)
		replication_on_progress(replication);
}

static void
on_sync(void *arg, uint64_t duration_ns)
{
	struct server *server = arg;
	/* Otherwise nobody waits for it. Relaxed: CONFIG SET may change it at any time. */
	if (__atomic_load_n(&server->config->sync, __ATOMIC_RELAXED) == CONFIG_SYNC_ALWAYS)
		server_took(server, WORK_SYNC_LOG, duration_ns);
}

static int
open_database(struct program *p, struct sett_error *error)
{
	struct server *s = &p->server;
	const struct config *config = s->config;
	struct sett_options options = {
		.vfs = s->vfs,
		.clock = s->clock,
		.sink = s->sink,
		.open_files = (size_t)p->descriptors.files,
		.on_progress = on_progress,
		.on_progress_arg = s,
		.on_sync = on_sync,
		.on_sync_arg = s,
		.on_recovery = on_recovery,
		.on_recovery_arg = p,
	};
	char archive_path[SETT_PATH_MAX];
	struct sett_archive_options archive;
	engine_options_of(config, &options);
	if (engine_archive_options(config, archive_path, &archive))
		options.archive = &archive;
	int status = check_database(p, error);
	if (status == SETT_OK)
		status = sett_engine_open(config->dir, &options, &s->engine, error);
	if (status != SETT_OK)
		return status;
	net_set_engine(s->net, s->engine);
	return keyspace_open(s->engine, (unsigned)config->databases, &s->keyspace, error);
}

/* ---- start and stop ---- */

static void
identify(struct program *p)
{
	struct server *s = &p->server;
	s->clock = sett_system_clock();
	s->started_ms = clock_wall_ms(s->clock);
	s->started_monotonic_ns = clock_monotonic_ns(s->clock);
	for (unsigned i = 0; i < 40; i += 8)
		snprintf(s->run_id + i, sizeof(s->run_id) - i, "%08x", (unsigned)random_entropy());
	ssize_t size = readlink("/proc/self/exe", p->executable, sizeof(p->executable) - 1);
	p->executable[size > 0 ? size : 0] = '\0';
	s->executable = p->executable;
}

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
}

/* The runner and the sockets. net logs its own failures: `error` stays without a message. */
static int
open_net(struct program *p)
{
	struct server *s = &p->server;
	if (runner_create(s, &s->runner) != SETT_OK)
		return SETT_NO_MEMORY;
	struct net_options options = {.config = s->config,
				      .users = s->users,
				      .sink = s->sink,
				      .handler = runner_handler(s->runner)};
	return net_create(&options, &s->net, NULL);
}

/* What CONFIG REWRITE writes. Where there is an ACL file, the configuration has no users. */
static int
append_users(void *arg, struct buffer *ret)
{
	struct server *s = arg;
	if (s->config->acl_file[0] != '\0')
		return SETT_OK;
	struct acl_set *set = acl_set_hold(s->users);
	int status = acl_describe_set(s->users, set, ret);
	acl_set_release(set);
	return status;
}

/* Before anybody can connect. What is wrong is logged. */
static int
open_users(struct server *s)
{
	int status = acl_users_create(&sett_commands, &s->config->acl_channels_are_open, s->sink, &s->users);
	if (status == SETT_OK)
		status = acl_denials_create(&s->denials);
	if (status == SETT_OK)
		status = acl_load_all(s->users, s->config, &s->sink);
	if (status == SETT_OK)
		config_set_users(s->config, append_users, s);
	return status;
}

static void
wake_reactor(void *net, unsigned reactor)
{
	net_wake_reactor(net, reactor);
}

/* Title, readiness to be ended, and what is said at a crash. */
static int
show_to_system(struct program *p)
{
	struct server *s = &p->server;
	int status = crash_report_start(s->config);
	if (status == SETT_OK)
		status = process_title_start(&p->title, s->config);
	if (status == SETT_OK)
		status = oom_score_start(&p->oom_score, s->config, s->sink);
	return status;
}

static int
create_rooms(struct program *p, struct sett_error *error)
{
	struct server *s = &p->server;
	if (pubsub_create(net_reactor_count(s->net), wake_reactor, s->net, &s->pubsub) != SETT_OK ||
	    interest_create(&s->interest) != SETT_OK ||
	    waiting_create(net_wait_has_news, &s->waiting) != SETT_OK ||
	    script_library_create(s, &s->scripts) != SETT_OK || pause_create(&s->pause) != SETT_OK ||
	    slowlog_create(s->config, &s->slowlog) != SETT_OK ||
	    latency_monitor_create(&s->latency_monitor) != SETT_OK ||
	    command_stats_create(s->commands->row_count, &s->command_stats) != SETT_OK ||
	    config_listen(s->config, "appendfsync", sync_changed, s) != SETT_OK ||
	    config_listen(s->config, "archive-interval", archive_changed, s) != SETT_OK ||
	    config_listen(s->config, "archive-limit-bytes", archive_changed, s) != SETT_OK ||
	    config_listen(s->config, "archive-retention-seconds", archive_changed, s) != SETT_OK ||
	    config_listen(s->config, "archive-retention-bytes", archive_changed, s) != SETT_OK ||
	    config_listen(s->config, "maxmemory-policy", policy_changed, s) != SETT_OK ||
	    config_listen(s->config, "maxdisk", room_changed, s) != SETT_OK ||
	    config_listen(s->config, "maxmemory", memory_keeper_limit_changed, s) != SETT_OK ||
	    config_listen(s->config, "notify-keyspace-events", events_changed, s) != SETT_OK ||
	    config_listen(s->config, "tracking-table-max-keys", tracking_limit_changed, s) != SETT_OK ||
	    config_guard(s->config, "maxclients", descriptors_allow_clients, &p->descriptors) != SETT_OK ||
	    net_follow_config(s->net) != SETT_OK || show_to_system(p) != SETT_OK)
		return out_of_memory(error);
	pubsub_use_keyspace(s->pubsub, s->keyspace);
	struct replication_options replication = {.engine = s->engine,
						  .keyspace = s->keyspace,
						  .config = s->config,
						  .clock = s->clock,
						  .vfs = s->vfs,
						  .sink = &s->sink,
						  .reactors = net_reactor_count(s->net),
						  .follows = follower_is_wanted(s->config),
						  .wake = wake_reactor,
						  .wake_arg = s->net};
	struct replication *created;
	if (replication_create(&replication, &created, error) != SETT_OK)
		return error->status;
	__atomic_store_n(&s->replication, created, __ATOMIC_RELEASE); /* partner: on_progress */
	if (follower_create(s, &s->follower, error) != SETT_OK)
		return error->status;
	policy_changed(s);
	events_changed(s);
	tracking_limit_changed(s);
	if (saver_create(s, &s->saver) != SETT_OK || saver_follow_config(s->saver) != SETT_OK)
		return out_of_memory(error);
	saver_remove_leftovers(s->saver);
	if (backup_create(s, &s->backup, error) != SETT_OK)
		return error->status;
	recorder_listen(s);
	if (encryption_listen(s) != SETT_OK)
		return out_of_memory(error);
	if (memory_keeper_start(s, &p->memory_keeper) != SETT_OK)
		return out_of_memory(error);
	int status = moments_create(s, &s->moments);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "starting the thread of the past: %s",
				      sett_status_text(status));
	status = expirer_create(s, &s->expirer);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "starting the expirer: %s", sett_status_text(status));
	status = evictor_create(s, &s->evictor, error);
	if (status != SETT_OK)
		return status;
	if (config_guard(s->config, "maxdisk", evictor_allows, s->evictor) != SETT_OK)
		return out_of_memory(error);
	status = figure_history_start(s, &s->history);
	return status == SETT_OK ? SETT_OK
				 : sett_error_set(error, status, 0, "starting the thread of the history: %s",
						  sett_status_text(status));
}

/* ---- a cluster of one node ---- */

static int
join_cluster(struct program *p, struct sett_error *error)
{
	struct server *s = &p->server;
	if (!s->config->cluster_enabled)
		return SETT_OK;
	if (follower_is_wanted(s->config))
		return sett_error_set(error, SETT_INVALID, 0,
				      "replicaof directive not allowed in cluster mode");
	int status = cluster_node_open(&p->cluster, s->config, error);
	if (status == SETT_OK) {
		s->cluster = &p->cluster;
		log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Node configuration loaded, I'm %s",
				p->cluster.id);
	}
	return status;
}

/* Clients could not get at keys of other databases than the first. */
static int
check_other_databases(struct server *s, struct sett_error *error)
{
	enum { BLOCK = 4096 };
	struct sett_txn *txn = NULL;
	struct arena arena;
	struct keyspace_view view;
	int64_t keys = 0, expires;
	if (s->cluster == NULL)
		return SETT_OK;
	arena_init(&arena, BLOCK);
	int status = sett_txn_create(s->engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = keyspace_begin(&view, s->keyspace, txn, &arena);
	for (unsigned db = 1; db < keyspace_databases(s->keyspace) && status == SETT_OK && keys == 0; db++)
		status = keyspace_count(&view, db, &keys, &expires);
	sett_txn_destroy(txn);
	arena_free(&arena);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "counting keys: %s", sett_status_text(status));
	if (keys > 0)
		return sett_error_set(error, SETT_INVALID, 0,
				      "You can't have keys in a DB different than DB 0 when in Cluster mode");
	return SETT_OK;
}

/* ---- Redis' files ---- */

static void
on_import(void *arg, uint64_t done, uint64_t total)
{
	log_progress(arg, "Taking over Redis' files", done, total);
}

static void
on_survey(void *arg, uint64_t done, uint64_t total)
{
	log_progress(arg, "Looking through Redis' files", done, total);
}

static bool
should_stop_import(void *arg)
{
	return net_shutdown_is_requested(((struct program *)arg)->server.net);
}

static int
import_files(struct program *p, const struct redis_files *files, struct sett_error *error)
{
	struct import import = {.server = &p->server,
				.should_stop = should_stop_import,
				.on_progress = on_import,
				.on_survey = on_survey,
				.arg = p};
	return importer_run(&import, files, error);
}

/* Clients are served from here on: where Redis' files are taken over, with LOADING until that is done. */
static int
serve(struct program *p, const struct redis_files *files, struct sett_error *error)
{
	struct server *s = &p->server;
	bool imports = false;
	int status = importer_decide(s, files, &imports, error);
	if (status != SETT_OK)
		return status;
	__atomic_store_n(&s->loading.active, imports, __ATOMIC_RELAXED);
	facts_note_start(s);
	status = net_start(s->net, error);
	p->serves = status == SETT_OK;
	if (status == SETT_OK)
		status = metrics_start(s, &p->metrics, error);
	if (status == SETT_OK && imports)
		status = import_files(p, files, error);
	if (status == SETT_OK)
		status = check_other_databases(s, error);
	if (status == SETT_OK)
		__atomic_store_n(&s->loading.active, false, __ATOMIC_RELAXED);
	if (status == SETT_OK && saver_watch_points(s->saver) != SETT_OK)
		status = sett_error_set(error, SETT_NO_MEMORY, 0,
					"starting the thread that watches save points failed");
	if (status == SETT_OK && follower_start(s->follower) != SETT_OK)
		status = sett_error_set(error, SETT_NO_MEMORY, 0,
					"starting the thread that follows a master failed");
	return status;
}

/* Everything up to "Ready". On failure the reason is logged. */
static int
start(struct program *p)
{
	struct sett_error error = {0};
	struct redis_files files = {0};
	struct server *s = &p->server;
	int status = open_users(s);
	if (status == SETT_OK)
		status = open_net(p);
	if (status != SETT_OK)
		return status;
	status = shutdown_create(s, &s->shutdown);
	if (status == SETT_OK)
		status = signal_watch_start(&p->signals, s->shutdown, s->sink);
	if (status != SETT_OK)
		sett_error_set(&error, status, 0, "starting the signal thread: %s", sett_status_text(status));
	if (status == SETT_OK) {
		show_process(p);
		status = encryption_begin(s, &error);
	}
	if (status == SETT_OK) {
		status = redis_files_find(s->config, s->vfs, &files, &error);
	}
	if (status == SETT_OK) {
		status = open_database(p, &error);
		if (status == SETT_ABORTED) {
			log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
					"Received shutdown signal during loading, exiting now.");
			redis_files_free(&files);
			return status;
		}
		if (status != SETT_OK) {
			log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
					"Can't open the database in %s: %s, exiting.", s->config->dir,
					error.message);
			redis_files_free(&files);
			return status;
		}
	}
	if (status == SETT_OK)
		status = join_cluster(p, &error);
	if (status == SETT_OK)
		status = create_rooms(p, &error);
	if (status == SETT_OK)
		status = serve(p, &files, &error);
	redis_files_free(&files);
	if (status == SETT_ABORTED)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
				"Received shutdown signal during loading, exiting now.");
	else if (status != SETT_OK)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Can't start: %s", error.message);
	else
		log_sink_printf(&s->sink, LOG_LEVEL_NOTICE, "Ready to accept connections");
	return status;
}

/* Also after a start that failed half way. False if the database could not be closed in good order. */
static bool
stop(struct program *p)
{
	struct server *s = &p->server;
	struct sett_error error = {0};
	bool ok = true;
	__atomic_store_n(&s->stopping, true, __ATOMIC_RELAXED);
	metrics_stop(p->metrics);
	follower_stop(s->follower);
	if (s->replication != NULL)
		replication_end(s->replication);
	if (p->serves)
		net_stop(s->net);
	signal_watch_stop(&p->signals);
	replication_stop(s->replication);
	encryption_stop(s);
	saver_destroy(s->saver);
	backup_destroy(s->backup);
	figure_history_stop(s->history);
	evictor_destroy(s->evictor);
	expirer_destroy(s->expirer);
	memory_keeper_stop(p->memory_keeper);
	moments_destroy(s->moments);
	follower_destroy(s->follower);
	command_stats_destroy(s->command_stats);
	accesses_destroy(s->accesses);
	slowlog_destroy(s->slowlog);
	if (s->pause != NULL)
		pause_destroy(s->pause);
	interest_destroy(s->interest);
	waiting_destroy(s->waiting);
	script_library_destroy(s->scripts);
	pubsub_destroy(s->pubsub);
	if (s->keyspace != NULL)
		keyspace_close(s->keyspace);
	if (s->engine != NULL && sett_engine_close(s->engine, &error) != SETT_OK) {
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Closing the database: %s", error.message);
		ok = false;
	}
	latency_monitor_destroy(
		s->latency_monitor); /* the engine's log thread has recorded what its syncs took */
	net_destroy(s->net);
	replication_destroy(s->replication);
	runner_destroy(s->runner);
	shutdown_destroy(s->shutdown);
	acl_denials_destroy(s->denials);
	acl_users_destroy(s->users);
	encryption_end(s);
	return ok;
}

static int
run(struct program *p)
{
	struct server *s = &p->server;
	if (!server_log_open(&p->log)) {
		fprintf(stderr, "Can't open the log file: %s\n", strerror(errno));
		return 1;
	}
	supervisor_find(&p->supervisor, s->config, s->sink);
	s->supervised = supervisor_name(&p->supervisor);
	bool in_background = s->config->daemonize && p->supervisor.mode == CONFIG_SUPERVISED_NO;
	if (in_background && !process_daemonize()) {
		fprintf(stderr, "Can't daemonize: %s\n", strerror(errno));
		return 1;
	}
	process_prepare_signals();
	process_shorten_slices();
	identify(p);
	greet(p);
	if (!descriptors_share(s->config, &s->sink, &p->descriptors))
		return 1;
	int status = start(p);
	if (status != SETT_OK) {
		stop(p);
		return status == SETT_ABORTED ? 0 : 1;
	}
	process_write_pid_file(s->config, in_background, &s->sink);
	supervisor_ready(&p->supervisor);
	net_wait_for_shutdown(s->net);
	while (!shutdown_carry_out(s->shutdown)) {
		signal_watch_forget(&p->signals);
		net_wait_for_shutdown(s->net);
	}
	supervisor_stopping(&p->supervisor);
	bool ok = stop(p);
	process_remove_pid_file(s->config, in_background);
	log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "Sett is now ready to exit, bye bye...");
	return ok ? 0 : 1;
}

/* The table with the names that the configuration gives; NULL if it gives none. */
static int
rename_commands(struct config *config, struct command_table **ret, struct buffer *ret_error)
{
	const struct config_rename *first = config_renames(config), *r;
	size_t count = 0, i = 0, failed = 0;
	const char *reason = NULL;
	for (r = first; r != NULL; r = r->next)
		count++;
	if (count == 0)
		return SETT_OK;
	struct command_rename *renames = calloc(count, sizeof(*renames));
	if (renames == NULL)
		return SETT_NO_MEMORY;
	for (r = first; r != NULL; r = r->next, i++)
		renames[i] = (struct command_rename){buffer_bytes(&r->from), buffer_bytes(&r->to)};
	int status = command_table_rename(&sett_commands, renames, count, ret, &failed, &reason);
	if (status == SETT_INVALID) {
		for (r = first; failed > 0; failed--)
			r = r->next;
		status = config_refuse_line(ret_error, r->line_number, buffer_bytes(&r->line), reason);
	}
	free(renames);
	return status;
}

/* Whether `user` lines can be read; the server reads them when it has its log. */
static int
check_users(struct config *config, struct buffer *ret_error)
{
	struct acl_users *scratch;
	struct log_sink silent = {0};
	if (config_users(config) == NULL)
		return SETT_OK;
	int status = acl_users_create(&sett_commands, &config->acl_channels_are_open, silent, &scratch);
	if (status != SETT_OK)
		return status;
	status = acl_check_lines(scratch, config, ret_error);
	acl_users_destroy(scratch);
	return status;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0))
		return print_version();
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
		return print_help();
	struct process_title title;
	if (!process_title_prepare(&title, argc, argv)) {
		fprintf(stderr, "Out of memory\n");
		return 1;
	}
	struct buffer error = {0};
	struct config *config = NULL;
	struct command_table *renamed = NULL;
	int status = config_load(argc, argv, &config, &error);
	if (status == SETT_OK)
		status = rename_commands(config, &renamed, &error);
	if (status == SETT_OK)
		status = check_users(config, &error);
	if (status != SETT_OK) {
		fprintf(stderr, "%.*s", (int)error.size, error.data != NULL ? (const char *)error.data : "");
		buffer_free(&error);
		command_table_free(renamed);
		config_destroy(config);
		process_title_free(&title);
		return 1;
	}
	struct program *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		fprintf(stderr, "Out of memory\n");
		command_table_free(renamed);
		config_destroy(config);
		process_title_free(&title);
		return 1;
	}
	p->log.config = config;
	p->title = title;
	p->server.config = config;
	p->server.sink = server_log_sink(&p->log);
	p->server.commands = renamed != NULL ? renamed : &sett_commands;
	int code = run(p);
	command_table_free(renamed);
	free(p);
	config_destroy(config);
	process_title_free(&title);
	buffer_free(&error);
	return code;
}
