/* sett-tool salvage: a new database of what is whole of a damaged one (keyspace/salvage.h, types/mend.h). */
#include <inttypes.h>
#include <unistd.h>

#include "keys.h"
#include "keyspace/salvage.h"
#include "offline.h"
#include "storage/base/clock.h"
#include "text.h"
#include "tool.h"

enum {
	MIB = 1 << 20,
	MEMORY_MAX_MIB = 1 << 24,
	LINES = 100, /* of a kind that are printed, unless it is told else */
	NAME_SHOWN = 200,
	PROGRESS_NS = 1000000000,
};

enum line {
	LINE_LOST,
	LINE_KEY,
	LINE_NOTE,
	LINE_DOUBT,
	LINE_SALVAGED,
	LINE_KINDS = LINE_SALVAGED + SALVAGED_HOMELESS + 1
};

struct salvage {
	bool is_quiet, is_raw;
	uint64_t most; /* lines of a kind */
	uint64_t lines[LINE_KINDS];
	uint64_t shown_ns;
};

/* ---- what is told ---- */

/* Whether the line is to be printed; the first that is not says so. */
static bool
begin_line(struct salvage *s, unsigned kind)
{
	uint64_t before = s->lines[kind]++;
	if (before == s->most)
		printf("... there are more such lines: --lines N\n");
	return before < s->most;
}

static void
print_range(const struct salvage *s, const struct sett_salvage_finding *f)
{
	if (f->from.data == NULL) {
		printf("; any key may lack what was lost, and be older");
		return;
	}
	printf("; keys");
	if (f->from.size > 0) {
		printf(" behind ");
		print_key(stdout, f->from, s->is_raw);
	}
	if (f->to.data != NULL) {
		printf(" before ");
		print_key(stdout, f->to, s->is_raw);
	}
	printf("%s may be lost, or be older", f->from.size == 0 && f->to.data == NULL ? " of all kinds" : "");
}

static void
on_finding(void *arg, const struct sett_salvage_finding *f)
{
	struct salvage *s = arg;
	switch (f->kind) {
	case SETT_SALVAGE_LOST:
		if (!begin_line(s, LINE_LOST))
			return;
		printf("damage: %s", f->text);
		print_range(s, f);
		break;
	case SETT_SALVAGE_KEY:
		if (!begin_line(s, LINE_KEY))
			return;
		printf("lost: ");
		print_key(stdout, f->key, s->is_raw);
		printf(": its value: %s", f->text);
		break;
	case SETT_SALVAGE_DOUBT:
		if (!begin_line(s, LINE_DOUBT))
			return;
		printf("doubt: %s", f->text);
		break;
	case SETT_SALVAGE_NOTE:
		if (s->is_quiet || !begin_line(s, LINE_NOTE))
			return;
		printf("note: %s", f->text);
		break;
	}
	putchar('\n');
	(void)fflush(stdout);
}

static void
print_name(const struct salvaged *k)
{
	printf("database %u ", k->db);
	print_bytes(stdout, k->name, NAME_SHOWN);
}

static void
on_salvaged(void *arg, const struct salvaged *k)
{
	struct salvage *s = arg;
	bool is_note = k->kind == SALVAGED_ORPHANS || k->kind == SALVAGED_HOMELESS;
	if ((is_note && s->is_quiet) || !begin_line(s, LINE_SALVAGED + k->kind))
		return;
	switch (k->kind) {
	case SALVAGED_MENDED:
	case SALVAGED_UNSORTED:
		printf("mended: ");
		print_name(k);
		printf(": %s of %" PRIu64 " elements, its root has counted %" PRIu64 "%s",
		       value_type_name(k->type), k->has - (k->type == VALUE_STREAM),
		       k->had - (k->type == VALUE_STREAM),
		       k->kind == SALVAGED_UNSORTED ? "; some may stand in another order" : "");
		break;
	case SALVAGED_OLDER:
		printf("older: ");
		print_name(k);
		printf(": parts of the string may be older");
		break;
	case SALVAGED_GONE:
		printf("lost: ");
		print_name(k);
		printf(": %s of which no element is left (%" PRIu64 " were counted)",
		       value_type_name(k->type), k->had);
		break;
	case SALVAGED_STALE:
		printf("lost: ");
		print_name(k);
		printf(": it was older than the key that has its elements now");
		break;
	case SALVAGED_ODD:
		printf("lost: ");
		print_name(k);
		printf(": its root makes no sense to this version");
		break;
	case SALVAGED_ORPHANS:
		printf("note: object %" PRIu64 " of epoch %" PRIu64 ": %" PRIu64
		       " entries to which no key leads are left out",
		       k->object, k->epoch, k->has);
		break;
	case SALVAGED_ADOPTED:
		printf("mended: %" PRIu64 " keys of epoch %" PRIu64
		       " are in database %u: the entry that said whose they are is lost",
		       k->has, k->epoch, k->db);
		break;
	case SALVAGED_HOMELESS:
		printf("note: %" PRIu64 " keys of epoch %" PRIu64 ", which is of no database, are left out",
		       k->has, k->epoch);
		break;
	}
	putchar('\n');
	(void)fflush(stdout);
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct salvage *s = arg;
	uint64_t now = clock_monotonic_ns(sett_system_clock());
	if (s->is_quiet || now - s->shown_ns < PROGRESS_NS || total == 0)
		return;
	s->shown_ns = now;
	fprintf(stderr, "sett-tool: %s of %s read (%u %%)\n", size_text(done).text, size_text(total).text,
		done >= total ? 100 : (unsigned)((double)done * 100 / (double)total));
}

/* ---- the command ---- */

static int
report(const struct salvage_figures *f)
{
	uint64_t lost = f->files.lost + f->files.lost_keys + f->files.doubts + f->left_out + f->strangers;
	printf("%s: keys %" PRIu64 ", elements %" PRIu64 ", libraries %" PRIu64 " (%s) of files %" PRIu64
	       " (%s); tables %" PRIu64 ", commits of the log %" PRIu64,
	       lost > 0                     ? "in part"
		       : f->files.is_closed ? "whole"
					    : "whole, as far as can be told",
	       f->keys, f->elements, f->libraries, size_text(f->bytes).text, f->files.files,
	       size_text(f->files.bytes).text, f->files.tables, f->files.commits);
	if (lost > 0)
		printf("; damaged places %" PRIu64 ", in doubt %" PRIu64 ", values lost %" PRIu64
		       ", keys left out %" PRIu64 ", collections mended %" PRIu64,
		       f->files.lost, f->files.doubts, f->files.lost_keys, f->left_out, f->mended);
	if (f->orphans > 0)
		printf("; entries without a key %" PRIu64, f->orphans);
	if (f->strangers > 0)
		printf("; entries that no server writes, left out %" PRIu64, f->strangers);
	printf("\n");
	if (f->files.lost > 0)
		printf("What was overwritten or deleted by what is lost may be there again.\n");
	return lost > 0 ? EXIT_DAMAGE : EXIT_WELL;
}

/* The keys of both directories: what is encrypted stays so, by keys of the new database's own. */
static int
open_keys(const char *directory, const char *target, struct salvage_options *o, struct sett_error *error)
{
	struct keyring *keys;
	bool is_encrypted = false;
	int status = keys_open(directory, &keys, error);
	if (status == SETT_CORRUPT)
		return sett_error_set(error, SETT_INVALID, 0,
				      "%s/" SETT_KEYS_NAME " is damaged, and without it nothing can be read",
				      directory);
	if (status != SETT_OK || keys == NULL)
		return status;
	status = sett_keys_exist(NULL, directory, &is_encrypted, error);
	if (status == SETT_OK && !is_encrypted)
		return sett_error_set(error, SETT_INVALID, 0,
				      "%s has no file " SETT_KEYS_NAME
				      ": without it nothing encrypted can be read, and what is not encrypted "
				      "needs no key",
				      directory);
	o->vfs = keys_vfs(keys);
	return status == SETT_OK ? keys_open(target, &o->target_keys, error) : status;
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},         {"quiet", no_argument, NULL, 'q'},
		{"raw", no_argument, NULL, 'r'},          {"lines", required_argument, NULL, 'l'},
		{"memory", required_argument, NULL, 'm'}, {0},
	};
	struct salvage s = {.most = LINES, .shown_ns = clock_monotonic_ns(sett_system_clock())};
	struct salvage_options o = {
		.on_finding = on_finding, .on_salvaged = on_salvaged, .on_progress = on_progress, .arg = &s};
	struct salvage_figures figures = {0};
	struct sett_error error = {0};
	uint64_t mib = 0;
	int code = EXIT_FAILED, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		bool ok = true;
		if (option == '?')
			return code;
		s.is_quiet |= option == 'q';
		s.is_raw |= option == 'r';
		if (option == 'l')
			ok = parse_number(command, "lines", optarg, 0, UINT64_MAX, &s.most);
		if (option == 'm')
			ok = parse_number(command, "memory", optarg, 1, MEMORY_MAX_MIB, &mib);
		if (!ok)
			return EXIT_FAILED;
	}
	if (argc - optind != 2)
		return usage_error(command, "two directories are needed");
	o.directory = argv[optind];
	int status = open_keys(o.directory, argv[optind + 1], &o, &error);
	if (status == SETT_OK)
		status = offline_salvage(&o, argv[optind + 1], mib * MIB, &figures, &error);
	return status == SETT_OK ? report(&figures) : failure(status, &error);
}

const struct command tool_salvage = {
	.name = "salvage",
	.summary = "makes a database of what is whole of a damaged one",
	.help = "usage: sett-tool salvage [options] DIRECTORY TARGET\n"
		"\n"
		"Takes out of the damaged database in DIRECTORY all that is whole, makes a new one of it in "
		"TARGET, "
		"which must\n"
		"be empty or not be there, and says what is not. Nothing in DIRECTORY is changed. The server "
		"must be "
		"stopped.\n"
		"\n"
		"It reads tables block by block, also without their index; of the log every commit whose "
		"checksum is "
		"right, also\n"
		"behind damage; without the manifest all tables and log segments that are there. Collections "
		"that "
		"lack\n"
		"something are built anew from what is left of them. What was overwritten or deleted comes "
		"back where "
		"that which\n"
		"said so is lost.\n"
		"\n"
		"An encrypted database becomes an encrypted one, by the same key and data keys of its own. "
		"Its "
		"file `keys` must\n"
		"be whole: without it nothing can be read.\n"
		"\n"
		"Prints a line for each thing found, and a summary that begins with \"whole\" or \"in "
		"part\":\n"
		"  damage: ...   a place that can't be read, and which keys may be lost by it, or be older\n"
		"  lost: ...     a key, or an element of one, that is left out\n"
		"  mended: ...   a collection that lacks something\n"
		"  doubt: ...    the log may have had more here; it can't be told\n"
		"  older: ...    a long string of which an edit may be missing\n"
		"  note: ...     takes nothing away\n"
		"\n"
		"  --lines N      of each kind so many lines at most (100)\n"
		"  --memory MIB   what it may take for caches, as maxmemory (a share of the system's); the "
		"log's entries "
		"come on top\n"
		"  --raw          keys as the engine has them, not as Redis keys\n"
		"  --quiet        no notes, and not how far it is\n"
		"\n"
		"Exit codes: 0 all was whole, or nothing shows else; 1 something is lost, or may be; 2 it "
		"could not be done: what is in TARGET "
		"then is no "
		"database,\n"
		"and to be removed before it is tried again.\n",
	.run = run,
};
