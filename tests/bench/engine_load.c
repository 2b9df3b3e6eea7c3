/*
 * sett-engine-load: puts a load on a database directory through the engine's public interface, waits until
 * background work has come to rest, and prints one line of JSON. See `sett-engine-load --help`.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "disk_usage.h"
#include "engine_workload.h"

#define SAMPLE_NS 20000000ULL
/* The engine rests when it has written nothing for so long: more than the regulator waits before it works in
 * quiet times. */
#define QUIET_SECONDS 4.0
#define PATIENCE_SECONDS 600.0

struct load {
	const char *directory;
	struct sett_options options;
	struct engine_workload work;
	size_t value_size;
	bool idle; /* wait for it */
	bool cold; /* nothing of the files in memory at the start */
};

enum option_code {
	OPTION_DIR = 1,
	OPTION_KIND,
	OPTION_KEYS,
	OPTION_VALUE_SIZE,
	OPTION_THREADS,
	OPTION_OPERATIONS,
	OPTION_SECONDS,
	OPTION_RATE,
	OPTION_SCAN_LENGTH,
	OPTION_READ_PERCENT,
	OPTION_SEED,
	OPTION_CHECK,
	OPTION_NO_IDLE,
	OPTION_COLD,
	OPTION_MEMORY,
	OPTION_THRESHOLD,
	OPTION_VALUE_LOG_FILE,
	OPTION_SPACE_LIMIT,
	OPTION_WORKERS,
	OPTION_HELP,
};

static const struct option options[] = {
	{"dir", required_argument, NULL, OPTION_DIR},
	{"kind", required_argument, NULL, OPTION_KIND},
	{"keys", required_argument, NULL, OPTION_KEYS},
	{"value-size", required_argument, NULL, OPTION_VALUE_SIZE},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"operations", required_argument, NULL, OPTION_OPERATIONS},
	{"seconds", required_argument, NULL, OPTION_SECONDS},
	{"rate", required_argument, NULL, OPTION_RATE},
	{"scan-length", required_argument, NULL, OPTION_SCAN_LENGTH},
	{"read-percent", required_argument, NULL, OPTION_READ_PERCENT},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"no-idle", no_argument, NULL, OPTION_NO_IDLE},
	{"cold", no_argument, NULL, OPTION_COLD},
	{"memory", required_argument, NULL, OPTION_MEMORY},
	{"value-threshold", required_argument, NULL, OPTION_THRESHOLD},
	{"value-log-file-size", required_argument, NULL, OPTION_VALUE_LOG_FILE},
	{"space-limit", required_argument, NULL, OPTION_SPACE_LIMIT},
	{"workers", required_argument, NULL, OPTION_WORKERS},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static void
usage(FILE *out)
{
	(void)fputs("sett-engine-load --dir DIRECTORY [options]: load the storage engine; prints one line of "
		    "JSON\n"
		    "  --kind KIND              fill, overwrite, read, scan or mixed (fill)\n"
		    "  --keys N                 different keys (1000000)\n"
		    "  --value-size N           bytes (1024)\n"
		    "  --threads N              (1)\n"
		    "  --operations N           of all threads together; fill does one a key\n"
		    "  --seconds S              at most so long\n"
		    "  --rate R                 operations per second of all threads together (no limit)\n"
		    "  --scan-length N          entries of a scan (100)\n"
		    "  --read-percent N         of mixed (50)\n"
		    "  --seed N                 (1)\n"
		    "  --check                  every byte that is read, instead of each value's first ones\n"
		    "  --no-idle                don't wait for background work at the end\n"
		    "  --cold                   start with nothing of the files in the page cache\n"
		    "  --memory N               memory budget, bytes (402653184)\n"
		    "  --value-threshold N, --value-log-file-size N, --space-limit X, --workers N\n"
		    "                           the engine's options of these names (its defaults)\n",
		    out);
}

static void
take_option(struct load *load, enum option_code option, const char *name, const char *text)
{
	struct engine_workload *work = &load->work;
	switch (option) {
	case OPTION_DIR:
		load->directory = text;
		break;
	case OPTION_KIND:
		if (!engine_workload_find(text, &work->kind))
			argument_refuse(name, text);
		break;
	case OPTION_KEYS:
		work->keys = argument_number(name, text, 1, 1000000000000ULL);
		break;
	case OPTION_VALUE_SIZE:
		load->value_size = (size_t)argument_number(name, text, 1, VALUES_SIZE_MAX);
		break;
	case OPTION_THREADS:
		work->threads = (unsigned)argument_number(name, text, 1, ENGINE_THREADS_MAX);
		break;
	case OPTION_OPERATIONS:
		work->operations = argument_number(name, text, 1, UINT64_MAX);
		break;
	case OPTION_SECONDS:
		work->seconds = argument_real(name, text, 1e6, "seconds");
		break;
	case OPTION_RATE:
		work->rate = argument_real(name, text, 1e9, "operations per second");
		break;
	case OPTION_SCAN_LENGTH:
		work->scan_length = (unsigned)argument_number(name, text, 1, 1U << 30);
		break;
	case OPTION_READ_PERCENT:
		work->read_percent = (unsigned)argument_number(name, text, 0, 100);
		break;
	case OPTION_SEED:
		work->seed = argument_number(name, text, 0, UINT64_MAX);
		break;
	case OPTION_CHECK:
		work->check_all = true;
		break;
	case OPTION_NO_IDLE:
		load->idle = false;
		break;
	case OPTION_COLD:
		load->cold = true;
		break;
	case OPTION_MEMORY:
		load->options.memory_budget = (size_t)argument_number(name, text, 1U << 20, 1ULL << 40);
		break;
	case OPTION_THRESHOLD:
		load->options.value_threshold = (size_t)argument_number(name, text, 1, SIZE_MAX);
		break;
	case OPTION_VALUE_LOG_FILE:
		load->options.value_log_file_size = argument_number(name, text, 1U << 16, 1ULL << 40);
		break;
	case OPTION_SPACE_LIMIT:
		load->options.space_amplification_limit = argument_real(name, text, 100, "a factor");
		break;
	case OPTION_WORKERS:
		load->options.workers = (unsigned)argument_number(name, text, 1, 64);
		break;
	case OPTION_HELP:
		usage(stdout);
		exit(0);
	}
}

static void
take_options(struct load *load, int argc, char **argv)
{
	for (;;) {
		int index = 0;
		int option = getopt_long(argc, argv, "", options, &index);
		if (option == -1)
			break;
		if (option == '?') {
			usage(stderr);
			exit(2);
		}
		take_option(load, (enum option_code)option, options[index].name, optarg);
	}
	const struct engine_workload *work = &load->work;
	bool ends = work->kind == ENGINE_FILL || work->operations > 0 || work->seconds > 0;
	if (optind != argc || !load->directory || !ends) {
		usage(stderr);
		exit(2);
	}
}

struct outcome {
	struct engine_workload_result result;
	struct disk_sampler sampler;
	struct disk_usage after;
	struct sett_stats stats;
	bool rested;
};

static double
microseconds(const struct histogram *histogram, double fraction)
{
	return (double)histogram_quantile(histogram, fraction) / 1e3;
}

static void
report_latency(const char *prefix, const struct histogram *histogram)
{
	printf("\"%sp50_us\":%.1f,\"%sp99_us\":%.1f,\"%sp999_us\":%.1f,\"%smax_us\":%.1f,", prefix,
	       microseconds(histogram, 0.5), prefix, microseconds(histogram, 0.99), prefix,
	       microseconds(histogram, 0.999), prefix, (double)histogram->maximum / 1e3);
}

static void
report(const struct load *load, const struct outcome *o)
{
	const struct engine_workload *work = &load->work;
	const struct engine_workload_result *result = &o->result;
	uint64_t written = result->writes * (ENGINE_KEY_SIZE + load->value_size);
	double seconds = result->seconds > 0 ? result->seconds : 1;
	printf("{\"kind\":\"%s\",\"keys\":%llu,\"value_size\":%zu,\"threads\":%u,\"operations\":%llu,"
	       "\"writes\":%llu,\"entries\":%llu,\"missing\":%llu,\"seconds\":%.3f,\"ops_per_second\":%.0f,",
	       engine_workload_name(work->kind), (unsigned long long)work->keys, load->value_size,
	       work->threads, (unsigned long long)result->operations, (unsigned long long)result->writes,
	       (unsigned long long)result->entries, (unsigned long long)result->missing, result->seconds,
	       (double)result->operations / seconds);
	report_latency("", &result->latency);
	if (work->rate > 0)
		report_latency("response_", &result->response);
	printf("\"user_bytes\":%llu,\"engine_bytes_written\":%llu,\"moved_bytes\":%llu,\"flushes\":%llu,"
	       "\"compactions\":%llu,\"rested\":%s,",
	       (unsigned long long)written, (unsigned long long)o->stats.bytes_written,
	       (unsigned long long)o->stats.value_log_moved_bytes, (unsigned long long)o->stats.flushes,
	       (unsigned long long)o->stats.compactions, o->rested ? "true" : "false");
	printf("\"disk_samples\":%llu,\"disk_peak_bytes\":%llu,\"disk_peak_allocated\":%llu,\"disk_bytes\":%"
	       "llu,"
	       "\"disk_allocated\":%llu}\n",
	       (unsigned long long)o->sampler.samples, (unsigned long long)o->sampler.largest.size,
	       (unsigned long long)o->sampler.largest.allocated, (unsigned long long)o->after.size,
	       (unsigned long long)o->after.allocated);
}

static int
fail(const char *what, int status, const struct sett_error *error)
{
	(void)fprintf(stderr, "sett-engine-load: %s: %s%s%s\n", what, sett_status_text(status),
		      error && *error->message ? ": " : "", error ? error->message : "");
	return 1;
}

/* Between opening and closing. */
static int
run(const struct load *load, struct sett_engine *engine, struct outcome *o)
{
	if (disk_sampler_start(&o->sampler, load->directory, SAMPLE_NS) != 0)
		return fail("sampling the disk", SETT_NO_MEMORY, NULL);
	int r = engine_workload_run(engine, &load->work, &o->result);
	bool works = load->idle && o->result.writes > 0;
	o->rested = r == SETT_OK && (!works || engine_wait_idle(engine, QUIET_SECONDS, PATIENCE_SECONDS));
	disk_sampler_stop(&o->sampler);
	sett_engine_stats(engine, &o->stats);
	if (r != SETT_OK) {
		struct sett_error error = {0};
		(void)sett_engine_health(engine, &error);
		return fail("the load", r, &error);
	}
	if (o->sampler.failure != 0)
		return fail("sampling the disk", SETT_IO, NULL);
	return 0;
}

int
main(int argc, char **argv)
{
	struct load load = {
		.options = {.memory_budget = 402653184},
		.work = {.keys = 1000000, .threads = 1, .scan_length = 100, .read_percent = 50, .seed = 1},
		.value_size = 1024,
		.idle = true};
	take_options(&load, argc, argv);
	struct values values;
	struct outcome *o = calloc(1, sizeof(*o));
	if (!o || values_open(&values, load.value_size) != 0)
		return fail("starting", SETT_NO_MEMORY, NULL);
	load.work.values = &values;
	struct sett_engine *engine;
	struct sett_error error = {0};
	if (load.cold && disk_cache_drop(load.directory) != 0) {
		perror("sett-engine-load: --cold");
		return 1;
	}
	int r = sett_engine_open(load.directory, &load.options, &engine, &error);
	if (r != SETT_OK)
		return fail(load.directory, r, &error);
	int status = run(&load, engine, o);
	r = sett_engine_close(engine, &error);
	if (r != SETT_OK)
		status = fail("closing", r, &error);
	if (disk_usage_measure(load.directory, &o->after) != 0)
		status = fail("measuring the disk", SETT_IO, NULL);
	if (status == 0)
		report(&load, o);
	values_close(&values);
	free(o);
	return status;
}
