/* sett-tool check: holds the whole of a database against itself. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"
#include "storage/inspect.h"
#include "text.h"
#include "tool.h"

enum { KINDS = SETT_NOTE + 1 };

struct printing {
	bool json, raw, quiet;
	bool progress;    /* on standard error: one line that is written over if it is a terminal */
	bool is_terminal; /* standard error */
	unsigned percent; /* shown last, plus one */
	struct {
		FILE *file; /* JSON: findings of a kind, as they come, to be printed at the end */
		char *text;
		size_t size;
		unsigned count;
	} lists[KINDS];
};

static void
clear_progress(const struct printing *p)
{
	if (p->progress && p->is_terminal && p->percent > 0)
		fputs("\r\033[K", stderr);
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct printing *p = arg;
	unsigned percent = total ? (unsigned)((double)done * 100 / (double)total) : 100;
	if (!p->progress || percent + 1 == p->percent || (!p->is_terminal && percent % 5 != 0))
		return;
	p->percent = percent + 1;
	fprintf(stderr, p->is_terminal ? "\r%3u%% of %s " : "%u%% of %s\n", percent, size_text(total).text);
}

static void
list_finding(struct printing *p, const struct sett_finding *f)
{
	FILE *out = p->lists[f->kind].file;
	fputs(p->lists[f->kind].count++ ? ",{\"file\":" : "{\"file\":", out);
	json_text(out, f->file);
	fputs(",\"text\":", out);
	json_text(out, f->text);
	if (f->key.data) {
		fputs(",\"key\":", out);
		json_string(out, f->key);
	}
	fputc('}', out);
}

static void
on_finding(void *arg, const struct sett_finding *f)
{
	static const char *const words[KINDS] = {
		[SETT_DAMAGE] = "damage", [SETT_CUT] = "cut", [SETT_NOTE] = "note"};
	struct printing *p = arg;
	if (p->json) {
		list_finding(p, f);
		return;
	}
	if (p->quiet && f->kind == SETT_NOTE)
		return;
	clear_progress(p);
	printf("%s: %s", words[f->kind], f->text);
	if (f->key.data) {
		fputs(", for key ", stdout);
		print_key(stdout, f->key, p->raw);
	}
	putchar('\n');
	(void)fflush(stdout); /* a long check tells early; main looks whether it could */
}

static void
print_summary(const struct printing *p, const struct sett_check_figures *f)
{
	if (p->quiet)
		return;
	printf("%s: files %" PRIu64 " (%s); whole: tables %" PRIu64 " (entries %" PRIu64
	       "), log records %" PRIu64 ", values %" PRIu64,
	       f->damages        ? "damaged"
		       : f->cuts ? "cut"
				 : "clean",
	       f->files, size_text(f->bytes).text, f->tables, f->entries, f->log_records, f->values);
	if (f->damages)
		printf("; damages: %" PRIu64, f->damages);
	putchar('\n');
}

static void
print_json(const struct printing *p, const struct sett_check_figures *f)
{
	printf("{\"clean\":%s,\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"tables\":%" PRIu64
	       ",\"entries\":%" PRIu64 ",\"log_records\":%" PRIu64 ",\"values\":%" PRIu64
	       ",\"stored_values\":%" PRIu64 ",\"damages\":[%s],\"cuts\":[%s],\"notes\":[%s]}\n",
	       f->damages || f->cuts ? "false" : "true", f->files, f->bytes, f->tables, f->entries,
	       f->log_records, f->values, f->stored_values, p->lists[SETT_DAMAGE].text,
	       p->lists[SETT_CUT].text, p->lists[SETT_NOTE].text);
}

static int
check(struct printing *p, const char *directory)
{
	struct sett_check_options options = {.on_finding = on_finding, .on_progress = on_progress, .arg = p};
	struct sett_check_figures figures;
	struct sett_error error = {0};
	struct keyring *keys;
	int r = keys_open(directory, &keys, &error);
	options.vfs = r == SETT_OK ? keys_vfs(keys) : NULL;
	if (r == SETT_OK)
		r = sett_check(directory, &options, &figures, &error);
	clear_progress(p);
	for (size_t i = 0; p->json && i < KINDS; i++) {
		if (fclose(p->lists[i].file) != 0)
			r = SETT_NO_MEMORY;
	}
	if (r != SETT_OK)
		return failure(r, &error);
	if (p->json)
		print_json(p, &figures);
	else
		print_summary(p, &figures);
	return figures.damages ? EXIT_DAMAGE : EXIT_WELL;
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"quiet", no_argument, NULL, 'q'},
		{"progress", no_argument, NULL, 'p'},
		{"no-progress", no_argument, NULL, 'n'},
		{"raw", no_argument, NULL, 'r'},
		{0},
	};
	struct printing p = {.is_terminal = isatty(STDERR_FILENO)};
	int code = EXIT_FAILED, option;
	p.progress = p.is_terminal;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		switch (option) {
		case 'j':
			p.json = true;
			break;
		case 'q':
			p.quiet = true;
			break;
		case 'p':
			p.progress = true;
			break;
		case 'n':
			p.progress = false;
			break;
		case 'r':
			p.raw = true;
			break;
		default:
			return code;
		}
	}
	if (argc - optind != 1)
		return usage_error(command, "one directory is needed");
	for (size_t i = 0; p.json && i < KINDS; i++) {
		p.lists[i].file = open_memstream(&p.lists[i].text, &p.lists[i].size);
		if (!p.lists[i].file)
			return failure(SETT_NO_MEMORY, NULL);
	}
	code = check(&p, argv[optind]);
	for (size_t i = 0; i < KINDS; i++)
		free(p.lists[i].text);
	return code;
}

const struct command tool_check = {
	.name = "check",
	.summary = "reads everything and says whether it is whole",
	.help = "usage: sett-tool check [options] DIRECTORY\n"
		"\n"
		"Reads every file of the database: every checksum; order, key range, counts and references "
		"of each\n"
		"table; that the tables of a level do not overlap; that the manifest fits the files; the "
		"log's chain\n"
		"of commits, as a start would read it; that every pointer leads to a whole value of its "
		"size.\n"
		"Changes nothing. The server must be stopped.\n"
		"\n"
		"Prints a line for each thing found, file and offset in it, and a summary:\n"
		"  damage: ...   a start would refuse, or reads of some keys would fail\n"
		"  cut: ...      an end of the log or the manifest that the next start cuts off, since "
		"nothing says\n"
		"                that it was ever durable: a power cut leaves such an end, and so does "
		"damage\n"
		"  note: ...     takes nothing away: files that nothing needs any more, damaged bytes that "
		"no key\n"
		"                needs\n"
		"The summary begins with \"damaged\", \"cut\" or \"clean\".\n"
		"\n"
		"  --json          one JSON object instead\n"
		"  --quiet         damages and cuts alone\n"
		"  --progress      how far it is, on standard error (by default if that is a terminal)\n"
		"  --no-progress   never that\n"
		"  --raw           keys as the engine has them, not as Redis keys\n"
		"\n"
		"Exit codes: 0 no damage; 1 damage; 2 the command line is wrong, or it could not be done.\n",
	.run = run,
};
