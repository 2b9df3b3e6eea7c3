/* What a finished request leaves behind in the figures. Keeps nothing of its own: counters belong to
 * command_stats.c, entries to slowlog.c, samples to latency_monitor.c. */
#include "info/recorder.h"

#include "config/config.h"
#include "info/command_stats.h"
#include "info/latency_monitor.h"
#include "info/slowlog.h"
#include "net/client.h"
#include "txn/command.h"

static void
record_slow(struct server *server, const struct command_run *run)
{
	struct slowlog_record record = {.duration_ns = run->duration_ns,
					.wall_ms = clock_wall_ms(server->clock),
					.command = run->command,
					.argc = run->argc,
					.argv = run->argv,
					.bodies = run->bodies,
					.client_address = run->client->address,
					.client_name = buffer_bytes(&run->client->name)};
	slowlog_record(server->slowlog, &record);
}

static void
hear_ran(struct server *server, const struct command_run *run)
{
	struct command_outcome outcome = {
		.duration_ns = run->duration_ns,
		.misses = run->misses,
		.hits = run->hits,
		.failed = run->error.size > 0,
		.tracks_latency = __atomic_load_n(&server->config->latency_tracking, __ATOMIC_RELAXED)};
	command_stats_record(server->command_stats, run->command, &outcome);
	if (run->error.size > 0 && !run->error_is_counted)
		command_stats_record_error(server->command_stats, run->error);
	if (slowlog_wants(server->config, run->duration_ns) &&
	    (run->command->flags & COMMAND_SKIP_SLOWLOG) == 0)
		record_slow(server, run);
	if (latency_monitor_wants(server->config, run->duration_ns))
		latency_monitor_record(server->latency_monitor,
				       run->command->flags & COMMAND_FAST ? LATENCY_FAST_COMMAND
									  : LATENCY_COMMAND,
				       clock_wall_ms(server->clock), run->duration_ns);
}

static void
hear_took(struct server *server, enum server_work work, uint64_t duration_ns)
{
	static const enum latency_event events[] = {
		[WORK_EXPIRE] = LATENCY_EXPIRE_CYCLE,
		[WORK_EVICT] = LATENCY_EVICTION_CYCLE,
		[WORK_WRITE_LOG] = LATENCY_LOG_WRITE,
		[WORK_SYNC_LOG] = LATENCY_LOG_SYNC,
	};
	if (latency_monitor_wants(server->config, duration_ns))
		latency_monitor_record(server->latency_monitor, events[work], clock_wall_ms(server->clock),
				       duration_ns);
}

static void
hear_refused(struct server *server, const struct command *command, struct bytes error)
{
	if (command != NULL)
		command_stats_record_rejected(server->command_stats, command);
	command_stats_record_error(server->command_stats, error);
}

void
recorder_listen(struct server *server)
{
	server->listeners.ran = hear_ran;
	server->listeners.refused = hear_refused;
	/* release: partner server_took */
	__atomic_store_n(&server->listeners.took, hear_took, __ATOMIC_RELEASE);
}
