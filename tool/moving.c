/* sett-tool import and export: Redis' files into a new database, and a database into an RDB file (src/offline.h). */
#include <inttypes.h>

#include "keys.h"
#include "offline.h"
#include "storage/base/clock.h"
#include "tool.h"

enum { MIB = 1 << 20, MEMORY_MAX_MIB = 1 << 24, DATABASES_MAX = INT32_MAX, PROGRESS_NS = 1000000000 };

struct moving {
	bool quiet;
	const char *unit;
	uint64_t shown_ns;
};

static void
write_line(void *arg, enum log_level level, const char *line)
{
	const struct moving *m = arg;
	if (level == LOG_LEVEL_WARNING || (level == LOG_LEVEL_NOTICE && !m->quiet))
		fprintf(stderr, "sett-tool: %s\n", line);
}

static void
show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct moving *m = arg;
	uint64_t now = clock_monotonic_ns(sett_system_clock());
	if (now - m->shown_ns < PROGRESS_NS || total == 0)
		return;
	m->shown_ns = now;
	fprintf(stderr, "sett-tool: %" PRIu64 " of %" PRIu64 " %s (%" PRIu64 " %%)\n", done, total, m->unit,
		done >= total ? 100 : (uint64_t)((double)done * 100 / (double)total));
}

/* The options of both, and the two paths behind them. False: `ret_code` is the exit code. */
static bool
read_options(const struct command *command, int argc, char **argv, struct offline_options *o,
	     struct moving *m, int *ret_code)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"databases", required_argument, NULL, 'd'},
		{"memory", required_argument, NULL, 'm'},
		{"quiet", no_argument, NULL, 'q'},
		{"rdb-version", required_argument, NULL, 'v'},
		{0},
	};
	int option;
	uint64_t mib = 0;
	while ((option = next_option(command, argc, argv, options, ret_code)) != -1) {
		bool ok = true;
		if (option == '?')
			return false;
		if (option == 'd')
			ok = parse_number(command, "databases", optarg, 1, DATABASES_MAX, &o->databases);
		else if (option == 'm')
			ok = parse_number(command, "memory", optarg, 1, MEMORY_MAX_MIB, &mib);
		else if (option == 'v' && command == &tool_export)
			ok = parse_number(command, "rdb-version", optarg, 10, 12, &o->rdb_version);
		else if (option == 'q')
			m->quiet = true;
		else if (option == 'v')
			ok = usage_error(command, "--rdb-version is for export") == 0;
		if (!ok) {
			*ret_code = EXIT_FAILED;
			return false;
		}
	}
	o->memory = mib * MIB;
	if (argc - optind != 2) {
		*ret_code = usage_error(command, "two paths are needed");
		return false;
	}
	return true;
}

static int
run(const struct command *command, int argc, char **argv)
{
	bool imports = command == &tool_import;
	struct moving m = {.unit = imports ? "bytes" : "keys"};
	struct offline_options o = {.sink = {write_line, &m}, .arg = &m};
	struct sett_error error = {0};
	int code = EXIT_FAILED;
	if (!read_options(command, argc, argv, &o, &m, &code))
		return code;
	o.on_progress = m.quiet ? NULL : show_progress;
	o.file = argv[imports ? optind : optind + 1];
	o.directory = argv[imports ? optind + 1 : optind];
	m.shown_ns = clock_monotonic_ns(sett_system_clock());
	int status = keys_open(o.directory, &o.keys, &error);
	if (status == SETT_OK)
		status = imports ? offline_import(&o, &error) : offline_export(&o, &error);
	if (status == SETT_OK)
		return EXIT_WELL;
	(void)failure(status, &error);
	return status == SETT_CORRUPT ? EXIT_DAMAGE : EXIT_FAILED;
}

const struct command tool_import = {
	.name = "import",
	.summary = "makes a database of Redis' files",
	.help = "usage: sett-tool import [options] FILES DIRECTORY\n"
		"\n"
		"Makes a database in DIRECTORY, which must be empty or not be there, of Redis' own files, as "
		"a start "
		"of\n"
		"the server beside them does. FILES stay as they are, and are one of:\n"
		"\n"
		"  an RDB file                      such as dump.rdb, of versions 1 to 12\n"
		"  a directory with a manifest      such as appendonlydir: the append-only files that it "
		"names\n"
		"  a directory of redis-server      its append-only files if it has any, else its dump.rdb\n"
		"\n"
		"  --databases N     how many databases there are (16)\n"
		"  --memory MIB      what it may take for caches, as maxmemory (a share of the system's)\n"
		"  --quiet           no progress, and warnings alone\n"
		"\n"
		"A file that is damaged, or has values of modules, is one line that says where; exit code 1. "
		"What is "
		"in\n"
		"DIRECTORY then is of no use: remove it.\n",
	.run = run,
};

const struct command tool_export = {
	.name = "export",
	.summary = "writes a database as an RDB file",
	.help = "usage: sett-tool export [options] DIRECTORY FILE\n"
		"\n"
		"Writes all databases in DIRECTORY to FILE, which redis-server 7.0 loads, as SAVE does. A "
		"file of that "
		"name\n"
		"is replaced once the new one is complete. DIRECTORY is opened as by a server: its log is "
		"read, and "
		"files\n"
		"may be merged.\n"
		"\n"
		"  --databases N     those from N on are left out (16384)\n"
		"  --rdb-version N   10 to 12: 12, of Redis 7.4, has room for deadlines of hash fields, "
		"which are an "
		"error\n"
		"                    with those below (10)\n"
		"  --memory MIB      what it may take for caches, as maxmemory (a share of the system's)\n"
		"  --quiet           no progress, and warnings alone\n",
	.run = run,
};
