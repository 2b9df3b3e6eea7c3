/* sett-tool info: what a database consists of. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "storage/inspect.h"
#include "text.h"
#include "tool.h"

struct level_sum {
	uint64_t tables, bytes, referenced, entries, tombstones;
};

static void
sum_levels(const struct sett_description *d, struct level_sum ret[SETT_LEVELS])
{
	for (size_t i = 0; i < d->table_count; i++) {
		const struct sett_table_description *t = &d->tables[i];
		struct level_sum *l = &ret[t->level];
		l->tables++;
		l->bytes += t->size;
		l->referenced += t->referenced_bytes;
		l->entries += t->entries;
		l->tombstones += t->tombstones;
	}
}

/* ---- for people ---- */

static void
print_head(const struct sett_description *d)
{
	printf("formats        manifest %u, tables %u, log %u, value log %u\n", d->manifest_version,
	       d->table_version, d->log_version, d->value_log_version);
	printf("commits        %" PRIu64 " visible after a start, durable up to %" PRIu64
	       ", in tables up to %" PRIu64 "\n",
	       d->last, d->durable, d->flushed);
	printf("closed         %s\n", d->is_closed ? "in good order after the last commit" : "no");
	printf("newest         %s\n", d->now_ms ? time_text(d->now_ms).text : "no commit yet");
	printf("manifest       %s, file numbers below %" PRIu64 " may have been used\n",
	       size_text(d->manifest_bytes).text, d->file_limit);
}

static void
print_levels(const struct sett_description *d)
{
	struct level_sum levels[SETT_LEVELS] = {0};
	sum_levels(d, levels);
	puts("\nlevel  tables         bytes    referenced       entries    tombstones");
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		if (levels[l].tables)
			printf("%5u %7" PRIu64 " %13s %13s %13" PRIu64 " %13" PRIu64 "\n", l,
			       levels[l].tables, size_text(levels[l].bytes).text,
			       size_text(levels[l].referenced).text, levels[l].entries, levels[l].tombstones);
	}
	if (d->table_count == 0)
		puts("no tables");
}

static void
print_tables(const struct sett_description *d, bool raw)
{
	for (size_t i = 0; i < d->table_count; i++) {
		const struct sett_table_description *t = &d->tables[i];
		printf("  level %u %06" PRIu64 ".sst %s", t->level, t->number, size_text(t->size).text);
		if (!t->is_readable) {
			puts(", damaged");
			continue;
		}
		printf(", %" PRIu64 " entries (%" PRIu64 " tombstones), commits %" PRIu64 " to %" PRIu64
		       ", refers to %s, keys ",
		       t->entries, t->tombstones, t->smallest_timestamp, t->largest_timestamp,
		       size_text(t->referenced_bytes).text);
		print_key(stdout, buffer_bytes(&t->smallest), raw);
		fputs(" to ", stdout);
		print_key(stdout, buffer_bytes(&t->largest), raw);
		if (t->smallest_expiry != UINT64_MAX)
			printf(", first expiry %s", time_text(t->smallest_expiry).text);
		if (t->held_bytes)
			printf(", %s held for a snapshot", size_text(t->held_bytes).text);
		putchar('\n');
	}
}

static void
print_value_log(const struct sett_description *d)
{
	uint64_t size = 0, live = 0;
	for (size_t i = 0; i < d->value_file_count; i++) {
		size += d->value_files[i].size;
		live += d->value_files[i].live_bytes;
	}
	printf("\nvalue log      %zu files, %s", d->value_file_count, size_text(size).text);
	printf(", %s of them live\n", size_text(live).text);
	for (size_t i = 0; i < d->value_file_count; i++) {
		const struct sett_value_file_description *f = &d->value_files[i];
		double percent = f->size ? 100 * (double)f->live_bytes / (double)f->size : 0;
		printf("  %06" PRIu64 ".vlog  %s", f->number, size_text(f->size).text);
		printf(", live %s (%.0f%%)\n", size_text(f->live_bytes).text, percent > 100 ? 100 : percent);
	}
}

static void
print_log(const struct sett_description *d)
{
	printf("\nlog            %zu segments", d->segment_count);
	if (d->first_segment)
		printf(", begins with %06" PRIu64 ".log", d->first_segment);
	putchar('\n');
	for (size_t i = 0; i < d->segment_count; i++) {
		const struct sett_segment_description *s = &d->segments[i];
		printf("  %06" PRIu64 ".log  %s", s->number, size_text(s->size).text);
		if (s->is_leftover)
			puts(", not needed any more");
		else if (s->is_unused)
			puts(", never written");
		else
			printf(", %s used, %" PRIu64 " commits\n", size_text(s->used).text, s->records);
	}
	if (d->cut_segment)
		printf("  the next start cuts off %" PRIu64 " bytes at offset %" PRIu64 " of %06" PRIu64
		       ".log: nothing says that they were durable\n",
		       d->cut_bytes, d->cut_offset, d->cut_segment);
}

enum { PREFIXES_SHOWN = 20 };
/* docs/format-keyspace.md */
static void
print_counter_name(uint64_t counter)
{
	const uint64_t epoch = counter & (((uint64_t)1 << 62) - 1);
	if (counter >> 62 == 3)
		printf("  (sum of deadlines of epoch %" PRIu64 ")", epoch);
	else if (counter >> 62 == 2)
		printf("  (keys with a deadline among their elements of epoch %" PRIu64 ")", epoch);
	else
		printf("  (%s of epoch %" PRIu64 ")", counter % 2 ? "keys with an expiry" : "keys",
		       counter / 2);
}

static void
print_counters(const struct sett_description *d, bool raw)
{
	printf("\ncounters       %zu\n", d->counter_count);
	for (size_t i = 0; i < d->counter_count; i++) {
		const struct sett_counter_description *c = &d->counters[i];
		printf("  %" PRIu64 " is %" PRId64, c->counter, c->value);
		if (!raw && c->counter >= 2)
			print_counter_name(c->counter);
		putchar('\n');
	}
	printf("dead prefixes  %" PRIu64 "\n", d->dead_ids);
	for (size_t i = 0; i < d->dead_prefix_count && i < PREFIXES_SHOWN; i++) {
		const struct sett_prefix_description *p = &d->dead_prefixes[i];
		fputs("  ", stdout);
		print_key(stdout, buffer_bytes(&p->prefix), raw);
		if (p->count > 1)
			printf(" and %" PRIu64 " ids after it", p->count - 1);
		if (p->bytes > 0)
			printf(", about %" PRIu64 " bytes", p->bytes);
		putchar('\n');
	}
	if (d->dead_prefix_count > PREFIXES_SHOWN)
		puts("  ...");
}

static void
print_people(const struct sett_description *d, bool tables, bool raw)
{
	print_head(d);
	print_levels(d);
	if (tables)
		print_tables(d, raw);
	print_value_log(d);
	print_log(d);
	print_counters(d, raw);
	if (d->damage.size)
		printf("\ndamage\n%.*s", (int)d->damage.size, (const char *)d->damage.data);
}

/* ---- for scripts ---- */

static void
print_json_tables(const struct sett_description *d)
{
	printf("\"tables\":[");
	for (size_t i = 0; i < d->table_count; i++) {
		const struct sett_table_description *t = &d->tables[i];
		printf("%s{\"number\":%" PRIu64 ",\"level\":%u,\"bytes\":%" PRIu64 ",\"readable\":%s,"
		       "\"entries\":%" PRIu64 ",\"tombstones\":%" PRIu64 ",\"key_bytes\":%" PRIu64
		       ",\"value_bytes\":%" PRIu64 ",\"referenced_bytes\":%" PRIu64
		       ",\"smallest_timestamp\":%" PRIu64 ",\"largest_timestamp\":%" PRIu64
		       ",\"held_bytes\":%" PRIu64 ",\"smallest_expiry\":",
		       i ? "," : "", t->number, t->level, t->size, t->is_readable ? "true" : "false",
		       t->entries, t->tombstones, t->key_bytes, t->value_bytes, t->referenced_bytes,
		       t->smallest_timestamp, t->largest_timestamp, t->held_bytes);
		if (t->smallest_expiry == UINT64_MAX || !t->is_readable)
			printf("null");
		else
			printf("%" PRIu64, t->smallest_expiry);
		printf(",\"smallest\":");
		json_string(stdout, buffer_bytes(&t->smallest));
		printf(",\"largest\":");
		json_string(stdout, buffer_bytes(&t->largest));
		putchar('}');
	}
	printf("],");
}

static void
print_json_levels(const struct sett_description *d)
{
	struct level_sum levels[SETT_LEVELS] = {0};
	sum_levels(d, levels);
	printf("\"levels\":[");
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		printf("%s{\"level\":%u,\"tables\":%" PRIu64 ",\"bytes\":%" PRIu64
		       ",\"referenced_bytes\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"tombstones\":%" PRIu64
		       "}",
		       l ? "," : "", l, levels[l].tables, levels[l].bytes, levels[l].referenced,
		       levels[l].entries, levels[l].tombstones);
	printf("],");
}

static void
print_json_logs(const struct sett_description *d)
{
	printf("\"value_log\":[");
	for (size_t i = 0; i < d->value_file_count; i++)
		printf("%s{\"number\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"live_bytes\":%" PRIu64 "}",
		       i ? "," : "", d->value_files[i].number, d->value_files[i].size,
		       d->value_files[i].live_bytes);
	printf("],\"log\":[");
	for (size_t i = 0; i < d->segment_count; i++) {
		const struct sett_segment_description *s = &d->segments[i];
		printf("%s{\"number\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64
		       ",\"commits\":%" PRIu64 ",\"unused\":%s,\"leftover\":%s}",
		       i ? "," : "", s->number, s->size, s->used, s->records, s->is_unused ? "true" : "false",
		       s->is_leftover ? "true" : "false");
	}
	printf("],\"log_first\":%" PRIu64 ",\"log_cut\":", d->first_segment);
	if (d->cut_segment)
		printf("{\"segment\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 "},",
		       d->cut_segment, d->cut_offset, d->cut_bytes);
	else
		printf("null,");
}

/* The lines of a text, as an array. */
static void
print_json_lines(struct bytes text)
{
	bool first = true;
	while (text.size > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.size);
		size_t n = end ? (size_t)(end - text.data) : text.size;
		if (!first)
			putchar(',');
		first = false;
		json_string(stdout, bytes_of(text.data, n));
		n += end != NULL;
		text = bytes_of(text.data + n, text.size - n);
	}
}

static void
print_json(const struct sett_description *d)
{
	printf("{\"formats\":{\"manifest\":%u,\"tables\":%u,\"log\":%u,\"value_log\":%u},",
	       d->manifest_version, d->table_version, d->log_version, d->value_log_version);
	printf("\"visible\":%" PRIu64 ",\"durable\":%" PRIu64 ",\"flushed\":%" PRIu64
	       ",\"closed\":%s,\"now_ms\":%" PRIu64 ",\"file_limit\":%" PRIu64 ",\"manifest_bytes\":%" PRIu64
	       ",",
	       d->last, d->durable, d->flushed, d->is_closed ? "true" : "false", d->now_ms, d->file_limit,
	       d->manifest_bytes);
	print_json_levels(d);
	print_json_tables(d);
	print_json_logs(d);
	printf("\"counters\":[");
	for (size_t i = 0; i < d->counter_count; i++)
		printf("%s{\"counter\":%" PRIu64 ",\"value\":%" PRId64 "}", i ? "," : "",
		       d->counters[i].counter, d->counters[i].value);
	printf("],\"dead_ids\":%" PRIu64 ",\"dead_bytes\":%" PRIu64 ",\"dead_prefixes\":[", d->dead_ids,
	       d->dead_bytes);
	for (size_t i = 0; i < d->dead_prefix_count; i++) {
		printf("%s{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"prefix\":", i ? "," : "",
		       d->dead_prefixes[i].count, d->dead_prefixes[i].bytes);
		json_string(stdout, buffer_bytes(&d->dead_prefixes[i].prefix));
		putchar('}');
	}
	printf("],\"damage\":[");
	print_json_lines(buffer_bytes(&d->damage));
	puts("]}");
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"tables", no_argument, NULL, 't'},
		{"raw", no_argument, NULL, 'r'},
		{0},
	};
	bool json = false, tables = false, raw = false;
	int code = EXIT_FAILED, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 't':
			tables = true;
			break;
		case 'r':
			raw = true;
			break;
		default:
			return code;
		}
	}
	if (argc - optind != 1)
		return usage_error(command, "one directory is needed");
	struct sett_description d;
	struct sett_error error = {0};
	struct keyring *keys;
	int r = keys_open(argv[optind], &keys, &error);
	if (r == SETT_OK)
		r = sett_describe(argv[optind], keys_vfs(keys), &d, &error);
	if (r != SETT_OK) {
		(void)failure(r, &error);
		return r == SETT_CORRUPT ? EXIT_DAMAGE : EXIT_FAILED;
	}
	if (json)
		print_json(&d);
	else
		print_people(&d, tables, raw);
	code = d.damage.size ? EXIT_DAMAGE : EXIT_WELL;
	sett_description_free(&d);
	return code;
}

const struct command tool_info = {
	.name = "info",
	.summary = "what the database consists of: levels, value log, log, counters",
	.help = "usage: sett-tool info [options] DIRECTORY\n"
		"\n"
		"Reads the manifest, the log and each table's properties, not the data. The server must be "
		"stopped.\n"
		"\n"
		"  commits        timestamps: the newest commit that a start would show; up to which they "
		"are known\n"
		"                 to be durable; up to which they are in tables\n"
		"  closed         whether the server was stopped in good order: any damage of the log is "
		"then known\n"
		"                 for what it is\n"
		"  level          tables, their bytes, the value-log bytes they refer to\n"
		"  value log      files, their bytes, and how many of them tables or the log still need\n"
		"  log            segments, how far they are used, commits that are not in tables\n"
		"  counters       of the engine; a server's count keys, by epoch\n"
		"  dead prefixes  databases (FLUSHDB) and large values that were dropped and are not yet "
		"erased\n"
		"                 everywhere, and about how many bytes they held; the first of them\n"
		"\n"
		"  --json     one JSON object, with all tables\n"
		"  --tables   each table, too\n"
		"  --raw      keys as the engine has them, not as Redis keys\n"
		"\n"
		"Exit codes: 0; 1 something of it is damaged (sett-tool check finds out what else); 2 the "
		"command\n"
		"line is wrong, or it could not be done.\n",
	.run = run,
};
