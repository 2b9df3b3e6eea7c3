/* Sections of INFO that are lists: commands, error codes, latencies, databases. */
#include <inttypes.h>
#include <stdlib.h>

#include "config/config.h"
#include "info/command_stats.h"
#include "info/sections.h"
#include "txn/command.h"

static void
write_command(const struct info_facts *facts, const struct command *command, struct output *out)
{
	struct command_figures f;
	command_stats_get(facts->server->command_stats, command->index, &f);
	if (f.calls == 0 && f.rejected == 0 && f.failed == 0)
		return;
	info_print(out,
		   "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,rejected_calls=%" PRIu64
		   ",failed_calls=%" PRIu64 "\r\n",
		   command->full_name, f.calls, f.microseconds,
		   f.calls ? (double)f.microseconds / (double)f.calls : 0, f.rejected, f.failed);
}

int
info_write_commands(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	const struct command_table *table = facts->server->commands;
	for (size_t i = 0; i < table->row_count; i++)
		write_command(facts, &table->rows[i], out);
	return SETT_OK;
}

static void
write_error(void *arg, const char *code, uint64_t count)
{
	info_print(arg, "errorstat_%s:count=%" PRIu64 "\r\n", code, count);
}

int
info_write_errors(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	command_stats_each_error(facts->server->command_stats, write_error, out);
	return SETT_OK;
}

/* The percentiles that are configured, as "50 99 99.9"; the caller frees the text. NULL: out of memory. */
static char *
copy_percentiles(struct config *config)
{
	mutex_lock(config_lock(config));
	const char *text = config->latency_percentiles;
	char *copy = strdup(text != NULL ? text : "");
	mutex_unlock(config_lock(config));
	return copy;
}

static void
write_latency(const struct command *command, const struct histogram *histogram, const char *percentiles,
	      struct output *out)
{
	info_print(out, "latency_percentiles_usec_%s:", command->full_name);
	for (const char *at = percentiles; *at != '\0';) {
		char *end;
		double percentile = strtod(at, &end);
		info_print(out, "%sp%.10g=%.3f", at == percentiles ? "" : ",", percentile,
			   (double)histogram_percentile(histogram, percentile) / 1000);
		at = end + (*end == ' ');
	}
	info_print(out, "\r\n");
}

int
info_write_latencies(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	const struct server *server = facts->server;
	if (!__atomic_load_n(&server->config->latency_tracking, __ATOMIC_RELAXED))
		return SETT_OK;
	char *percentiles = copy_percentiles(server->config);
	struct histogram *histogram = malloc(sizeof *histogram);
	int status = percentiles != NULL && histogram != NULL ? SETT_OK : SETT_NO_MEMORY;
	for (size_t i = 0; i < server->commands->row_count && status == SETT_OK; i++) {
		const struct command *row = &server->commands->rows[i];
		if (command_stats_latency(server->command_stats, row->index, histogram))
			write_latency(row, histogram, percentiles, out);
	}
	free(histogram);
	free(percentiles);
	return status;
}

int
info_write_databases(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	if (view == NULL)
		return SETT_OK;
	const struct keyspace *keyspace = facts->server->keyspace;
	for (unsigned db = 0; (db = keyspace_next_database(keyspace, db)) < keyspace_databases(keyspace);
	     db++) {
		int64_t keys, expires;
		uint64_t ttl_ms;
		int status = keyspace_count(view, db, &keys, &expires);
		if (status == SETT_OK)
			status = keyspace_average_ttl(view, db, &ttl_ms);
		if (status != SETT_OK)
			return status;
		if (keys > 0 || expires > 0)
			info_print(out, "db%u:keys=%" PRId64 ",expires=%" PRId64 ",avg_ttl=%" PRIu64 "\r\n",
				   db, keys, expires, ttl_ms);
	}
	return SETT_OK;
}
