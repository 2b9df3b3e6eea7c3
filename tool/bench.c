/* sett-tool bench: the engine alone under a load, in a directory of its own. The load is that of
 * `./dev bench engine` (bench/engine_workload.h), which sets it beside another engine. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_workload.h"
#include "text.h"
#include "tool.h"

enum { KINDS = ENGINE_MIXED + 1 };

struct bench {
	const char *directory;
	bool is_temporary; /* made by us, to be removed */
	bool json;
	bool chosen[KINDS];
	size_t value_size;
	struct engine_workload work; /* of all kinds */
	struct sett_options options;
	uint64_t written; /* bytes, by the engine, before the row */
	bool has_rows;    /* JSON: a comma is due */
};

/* ---- results ---- */

static double
microseconds(const struct histogram *h, double fraction)
{
	return (double)histogram_quantile(h, fraction) / 1e3;
}

static void
print_row(struct bench *b, enum engine_workload_kind kind, const struct engine_workload_result *result,
	  const struct sett_stats *stats)
{
	const struct histogram *h = &result->latency;
	double seconds = result->seconds > 0 ? result->seconds : 1e-9;
	double user = (double)result->writes * (double)(ENGINE_KEY_SIZE + b->value_size);
	double written = (double)(stats->bytes_written - b->written);
	b->written = stats->bytes_written;
	if (b->json)
		printf("%s{\"kind\":\"%s\",\"operations\":%" PRIu64
		       ",\"seconds\":%.3f,\"ops_per_second\":%.0f,"
		       "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"entries\":%" PRIu64
		       ",\"written_per_user_byte\":%.3f,\"disk_bytes\":%" PRIu64 "}",
		       b->has_rows ? ",\n " : "", engine_workload_name(kind), result->operations, seconds,
		       (double)result->operations / seconds, microseconds(h, 0.5), microseconds(h, 0.99),
		       microseconds(h, 0.999), (double)h->maximum / 1e3, result->entries,
		       user > 0 ? written / user : 0, stats->disk_bytes);
	else
		printf("%-10s %11.0f %9.1f %9.1f %9.1f %11.1f %10.2f %11s\n", engine_workload_name(kind),
		       (double)result->operations / seconds, microseconds(h, 0.5), microseconds(h, 0.99),
		       microseconds(h, 0.999), (double)h->maximum / 1e3, user > 0 ? written / user : 0,
		       size_text(stats->disk_bytes).text);
	b->has_rows = true;
	(void)fflush(stdout); /* a row takes a while; main looks whether it could be written */
}

static void
print_start(const struct bench *b)
{
	if (b->json) {
		printf("{\"keys\":%" PRIu64 ",\"value_size\":%zu,\"threads\":%u,\"memory\":%zu,\"rows\":[",
		       b->work.keys, b->value_size, b->work.threads, b->options.memory_budget);
		return;
	}
	printf("%" PRIu64 " keys, values of %zu bytes, %u thread%s, %s of memory; in %s\n", b->work.keys,
	       b->value_size, b->work.threads, b->work.threads == 1 ? "" : "s",
	       size_text(b->options.memory_budget).text, b->directory);
	puts("                 ops/s    p50 us    p99 us  p99.9 us      max us  written/B     on disk");
}

/* ---- the run ---- */

static int
run_rows(struct bench *b, struct sett_engine *engine)
{
	int r = SETT_OK;
	for (unsigned kind = 0; r == SETT_OK && kind < KINDS; kind++) {
		struct engine_workload_result *result;
		struct engine_workload work = b->work;
		struct sett_stats stats;
		if (!b->chosen[kind])
			continue;
		work.kind = (enum engine_workload_kind)kind;
		if (work.kind == ENGINE_FILL) {
			work.operations = 0; /* each key once, however long it takes */
			work.seconds = 0;
		}
		result = calloc(1, sizeof(*result));
		r = result ? engine_workload_run(engine, &work, result) : SETT_NO_MEMORY;
		if (r == SETT_OK) {
			sett_engine_stats(engine, &stats);
			print_row(b, work.kind, result, &stats);
		}
		free(result);
	}
	return r;
}

static int
run_bench(struct bench *b)
{
	struct values values;
	struct sett_engine *engine;
	struct sett_error error = {0};
	if (values_open(&values, b->value_size) != 0)
		return failure(SETT_NO_MEMORY, NULL);
	b->work.values = &values;
	int r = sett_engine_open(b->directory, &b->options, &engine, &error);
	if (r == SETT_OK) {
		print_start(b);
		r = run_rows(b, engine);
		if (r != SETT_OK)
			(void)sett_engine_health(engine, &error);
		if (b->json)
			puts("]}");
		struct sett_error closing = {0};
		int c = sett_engine_close(engine, &closing);
		if (r == SETT_OK && c != SETT_OK) {
			r = c;
			error = closing;
		}
	}
	values_close(&values);
	return r == SETT_OK ? EXIT_WELL : failure(r, &error);
}

/* ---- the directory ---- */

/* The engine must have it to itself: a load goes into no database that somebody needs. */
static int
check_directory(const char *path)
{
	struct sett_error error;
	DIR *dir = opendir(path);
	if (!dir && errno == ENOENT)
		return EXIT_WELL;
	if (!dir)
		return failure(sett_error_set(&error, SETT_IO, errno, "%s: %s", path, strerror(errno)),
			       &error);
	bool empty = true;
	for (struct dirent *e; empty && (e = readdir(dir)) != NULL;)
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	(void)closedir(dir);
	if (empty)
		return EXIT_WELL;
	return failure(sett_error_set(&error, SETT_INVALID, 0,
				      "%s is not empty: bench wants a directory of its own", path),
		       &error);
}

/* Its files are those that the engine made; it makes no folders. */
static int
remove_directory(const char *path)
{
	struct sett_error error;
	DIR *dir = opendir(path);
	int failed = dir ? 0 : errno;
	for (struct dirent *e; dir && !failed && (e = readdir(dir)) != NULL;) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    unlinkat(dirfd(dir), e->d_name, 0) != 0)
			failed = errno;
	}
	if (dir)
		(void)closedir(dir);
	if (!failed && rmdir(path) != 0)
		failed = errno;
	if (!failed)
		return EXIT_WELL;
	return failure(sett_error_set(&error, SETT_IO, failed, "can't remove %s: %s", path, strerror(failed)),
		       &error);
}

/* ---- the command ---- */

static bool
choose_kinds(const struct command *command, struct bench *b, char *list)
{
	char *rest = list, *name;
	memset(b->chosen, 0, sizeof(b->chosen));
	while ((name = strsep(&rest, ",")) != NULL) {
		enum engine_workload_kind kind;
		if (!engine_workload_find(name, &kind)) {
			usage_error(command, "'%s' is none of fill, overwrite, read, scan, mixed", name);
			return false;
		}
		b->chosen[kind] = true;
	}
	if (!b->chosen[ENGINE_FILL]) {
		usage_error(command, "without fill there is nothing to work on");
		return false;
	}
	return true;
}

static bool
take_option(const struct command *command, struct bench *b, int option, char *text)
{
	uint64_t n = 0;
	bool good = true;
	switch (option) {
	case 'w':
		good = choose_kinds(command, b, text);
		break;
	case 'k':
		good = parse_number(command, "keys", text, 1, 1000000000000U, &b->work.keys);
		break;
	case 'v':
		good = parse_number(command, "value-size", text, 1, VALUES_SIZE_MAX, &n);
		b->value_size = n;
		break;
	case 't':
		good = parse_number(command, "threads", text, 1, ENGINE_THREADS_MAX, &n);
		b->work.threads = (unsigned)n;
		break;
	case 's':
		good = parse_number(command, "seconds", text, 1, 1000000, &n);
		b->work.seconds = (double)n;
		break;
	case 'm':
		good = parse_number(command, "memory", text, 1, 1U << 20, &n);
		b->options.memory_budget = (size_t)n << 20;
		break;
	case 'd':
		good = parse_number(command, "seed", text, 0, UINT64_MAX, &b->work.seed);
		break;
	case 'j':
		b->json = true;
		break;
	default:
		return false;
	}
	return good;
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},          {"kinds", required_argument, NULL, 'w'},
		{"keys", required_argument, NULL, 'k'},    {"value-size", required_argument, NULL, 'v'},
		{"threads", required_argument, NULL, 't'}, {"seconds", required_argument, NULL, 's'},
		{"memory", required_argument, NULL, 'm'},  {"seed", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},          {0},
	};
	char temporary[] = "sett-bench.XXXXXX";
	struct bench b = {
		.chosen = {true, true, true, true, true},
		.value_size = 1024,
		.work = {.keys = 200000,
			 .threads = 1,
			 .seconds = 10,
			 .scan_length = 100,
			 .read_percent = 50,
			 .seed = 1},
		.options = {.memory_budget = 64 << 20},
	};
	int code = EXIT_FAILED, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		if (option == '?' || !take_option(command, &b, option, optarg))
			return code;
	}
	if (argc - optind > 1)
		return usage_error(command, "at most one directory");
	if (optind < argc) {
		b.directory = argv[optind];
		code = check_directory(b.directory);
		if (code != EXIT_WELL)
			return code;
	} else {
		struct sett_error error;
		b.is_temporary = true;
		b.directory = mkdtemp(temporary);
		if (!b.directory)
			return failure(sett_error_set(&error, SETT_IO, errno,
						      "can't make a directory here: %s", strerror(errno)),
				       &error);
	}
	code = run_bench(&b);
	int removed = b.is_temporary ? remove_directory(b.directory) : EXIT_WELL;
	return code != EXIT_WELL ? code : removed;
}

const struct command tool_bench = {
	.name = "bench",
	.summary = "how fast the storage engine is here, without a server",
	.help = "usage: sett-tool bench [options] [DIRECTORY]\n"
		"\n"
		"Puts a load on the storage engine and prints a row for each kind. The database is made in a "
		"new\n"
		"folder of the current directory and removed at the end, or in DIRECTORY, which must be "
		"empty or not\n"
		"there, and stays. Writes are in the log file when they count as done, not synced; keys are "
		"drawn\n"
		"uniformly; values don't compress.\n"
		"\n"
		"  fill       every key once, in a scattered order\n"
		"  overwrite  keys with a new value\n"
		"  read       keys, with their values\n"
		"  scan       100 entries from a key on, with their values\n"
		"  mixed      half reads, half overwrites\n"
		"\n"
		"  --kinds LIST      some of these, with commas between; fill is needed (all)\n"
		"  --keys N          different keys (200000)\n"
		"  --value-size N    bytes (1024)\n"
		"  --threads N       (1)\n"
		"  --seconds N       for each kind but fill (10)\n"
		"  --memory N        the engine's budget, MiB (64)\n"
		"  --seed N          of what is drawn (1)\n"
		"  --json            one JSON object instead of the table\n"
		"\n"
		"Columns: operations per second; latencies in microseconds; bytes the engine wrote for each "
		"byte of\n"
		"keys and values, background work of the row included as far as it got; bytes on disk after "
		"it.\n"
		"\n"
		"Exit codes: 0; 2 the command line is wrong, or it could not be done.\n",
	.run = run,
};
