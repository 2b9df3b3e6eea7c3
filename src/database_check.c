/* See database_check.h. */
#include "database_check.h"

#include <inttypes.h>
#include <stdio.h>

enum { FINDINGS_LOGGED = 100 }; /* of a damaged disk's thousands */

struct checking {
	const struct sett_check_options *options; /* the caller's */
	const struct log_sink *sink;
	uint64_t found;
	char first[sizeof(((struct sett_error *)NULL)->message)]; /* damage */
};

static void
on_finding(void *arg, const struct sett_finding *finding)
{
	struct checking *c = arg;
	bool is_damage = finding->kind == SETT_DAMAGE;
	if (finding->kind == SETT_NOTE) {
		log_sink_printf(c->sink, LOG_LEVEL_VERBOSE, "Database check: note: %s", finding->text);
		return;
	}
	if (is_damage && c->first[0] == '\0')
		snprintf(c->first, sizeof(c->first), "%s", finding->text);
	if (c->found++ < FINDINGS_LOGGED)
		log_sink_printf(c->sink, LOG_LEVEL_WARNING, "Database check: %s: %s",
				is_damage ? "damage" : "cut", finding->text);
	else if (c->found == FINDINGS_LOGGED + 1)
		log_sink_printf(c->sink, LOG_LEVEL_WARNING,
				"Database check: there is more; sett-tool check lists it all");
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct sett_check_options *options = ((struct checking *)arg)->options;
	if (options->on_progress != NULL)
		options->on_progress(options->arg, done, total);
}

static bool
should_stop(void *arg)
{
	const struct sett_check_options *options = ((struct checking *)arg)->options;
	return options->should_stop != NULL && options->should_stop(options->arg);
}

int
database_check(const char *directory, const struct sett_check_options *options, const struct log_sink *sink,
	       struct sett_error *error)
{
	struct checking checking = {.options = options, .sink = sink};
	struct sett_check_options own = {.vfs = options->vfs,
					 .on_finding = on_finding,
					 .on_progress = on_progress,
					 .should_stop = should_stop,
					 .arg = &checking};
	struct sett_check_figures f;
	int status = sett_check(directory, &own, &f, error);
	if (status == SETT_NOT_FOUND) {
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Database check: there is no database yet");
		return SETT_OK;
	}
	if (status != SETT_OK)
		return status;
	log_sink_printf(sink, LOG_LEVEL_NOTICE,
			"Database check: %s: %" PRIu64 " files, %" PRIu64 " bytes; whole: %" PRIu64
			" tables with %" PRIu64 " entries, %" PRIu64 " log records, %" PRIu64 " values",
			f.damages > 0        ? "damaged"
				: f.cuts > 0 ? "cut"
					     : "clean",
			f.files, f.bytes, f.tables, f.entries, f.log_records, f.values);
	if (f.damages > 0)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "damaged places found by the check (check-at-start): %" PRIu64
				      ", the first: %.300s",
				      f.damages, checking.first);
	return SETT_OK;
}
