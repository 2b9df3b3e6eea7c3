/* sett-tool dump: the content of files, a line for each thing. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "keys.h"
#include "storage/inspect.h"
#include "text.h"
#include "tool.h"

struct dump {
	enum sett_file_kind kind;
	const char *path; /* of the file being read */
	uint64_t limit;   /* lines */
	uint64_t lines;
	size_t shown; /* bytes of a value */
	bool keys_only, raw;
	bool is_damaged;
};

static const struct {
	const char *name, *title;
	enum sett_file_kind kind;
} kinds[] = {
	{"log", "log segment", SETT_FILE_LOG},
	{"table", "table", SETT_FILE_TABLE},
	{"manifest", "manifest", SETT_FILE_MANIFEST},
	{"value-log", "value-log file", SETT_FILE_VALUE_LOG},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void
print_entry(const struct dump *d, const struct sett_item *item)
{
	const struct sett_stored_entry *e = &item->entry;
	if (d->kind == SETT_FILE_TABLE)
		printf("%" PRIu64 " commit %" PRIu64 " ", item->offset, item->timestamp);
	else
		fputs("    ", stdout);
	fputs(e->kind == SETT_STORED_TOMBSTONE ? "delete " : "put ", stdout);
	print_key(stdout, e->key, d->raw);
	if (e->kind != SETT_STORED_TOMBSTONE && e->head.size) {
		fputs(" head ", stdout);
		print_bytes(stdout, e->head, d->shown);
	}
	if (e->kind == SETT_STORED_INLINE) {
		fputs(" value ", stdout);
		print_bytes(stdout, e->body, d->shown);
	} else if (e->kind == SETT_STORED_POINTER) {
		printf(" value of %" PRIu64 " bytes in %06" PRIu64 ".vlog at %" PRIu64 " (%" PRIu64 " there)",
		       e->body_size, e->file, e->offset, e->stored_size);
	}
	if (e->expires_at)
		printf(" expires %s", time_text(e->expires_at).text);
	putchar('\n');
}

static void
print_table(const struct dump *d, const struct sett_table_description *t)
{
	printf("properties: %" PRIu64 " entries, %" PRIu64 " tombstones, %" PRIu64 " key bytes, %" PRIu64
	       " value bytes, commits %" PRIu64 " to %" PRIu64 ", ",
	       t->entries, t->tombstones, t->key_bytes, t->value_bytes, t->smallest_timestamp,
	       t->largest_timestamp);
	if (t->smallest_expiry != UINT64_MAX)
		printf("first expiry %s, ", time_text(t->smallest_expiry).text);
	fputs("keys ", stdout);
	print_key(stdout, buffer_bytes(&t->smallest), d->raw);
	fputs(" to ", stdout);
	print_key(stdout, buffer_bytes(&t->largest), d->raw);
	putchar('\n');
}

static void
print_prefix(const struct dump *d, const struct sett_item *item, const char *what)
{
	printf("    %s ", what);
	print_bytes(stdout, item->key, SIZE_MAX);
	if (item->count > 1)
		printf(" and %" PRIu64 " ids after it", item->count - 1);
	if (item->size > 0)
		printf(", about %" PRIu64 " bytes", item->size);
	if (item->timestamp > 0)
		printf(", of commits up to %" PRIu64, item->timestamp);
	putchar('\n');
}

static void
print_damage(struct dump *d, const struct sett_item *item)
{
	d->is_damaged = true;
	/* A text with a place of its own comes from a reader that knows it. */
	if (strstr(item->text, " at offset "))
		printf("damage: %s\n", item->text);
	else if (item->size)
		printf("damage: %s at offset %" PRIu64 ": %s (%" PRIu64 " bytes)\n", d->path, item->offset,
		       item->text, item->size);
	else
		printf("damage: %s at offset %" PRIu64 ": %s\n", d->path, item->offset, item->text);
}

static void
print_value(const struct dump *d, const struct sett_item *item)
{
	size_t shown = item->key.size < d->shown ? item->key.size : d->shown;
	printf("%" PRIu64 " value of %" PRIu64 " bytes ", item->offset, item->count);
	print_bytes(stdout, bytes_of(item->key.data, shown), shown);
	if (shown < item->count)
		fputs("...", stdout);
	if (item->text)
		printf(" packed with %s, %" PRIu64 " bytes there", item->text, item->size);
	putchar('\n');
}

static void
print_item(struct dump *d, const struct sett_item *item)
{
	switch (item->kind) {
	case SETT_ITEM_FILE:
		printf("%s: %s, %" PRIu64 " bytes\n", d->path, kinds[d->kind].title, item->size);
		break;
	case SETT_ITEM_COMMIT:
		printf("%" PRIu64 " commit %" PRIu64 " after %" PRIu64 ", durable %" PRIu64 ", %s, %" PRIu64
		       " bytes\n",
		       item->offset, item->timestamp, item->previous, item->durable,
		       time_text(item->now_ms).text, item->size);
		break;
	case SETT_ITEM_ENTRY:
		print_entry(d, item);
		break;
	case SETT_ITEM_COUNTER:
		printf(d->kind == SETT_FILE_LOG ? "    counter %" PRIu64 " %+" PRId64 "\n"
						: "    counter %" PRIu64 " is %" PRId64 "\n",
		       item->counter, item->value);
		break;
	case SETT_ITEM_COUNTER_DROPPED:
		printf("    counter %" PRIu64 " dropped\n", item->counter);
		break;
	case SETT_ITEM_PREFIX_DROPPED:
		print_prefix(d, item, "drop prefix");
		break;
	case SETT_ITEM_PREFIX_ERASED:
		print_prefix(d, item, "erased prefix");
		break;
	case SETT_ITEM_ID_PENDING:
		print_prefix(d, item, "pending prefix");
		break;
	case SETT_ITEM_ID_PUBLISHED:
		print_prefix(d, item, "published prefix");
		break;
	case SETT_ITEM_PROPERTIES:
		print_table(d, item->table);
		break;
	case SETT_ITEM_REFERENCE:
		printf("refers to %06" PRIu64 ".vlog: %" PRIu64 " bytes, %" PRIu64 " entries\n", item->number,
		       item->size, item->count);
		break;
	case SETT_ITEM_EDIT:
		printf("%" PRIu64 " edit of %" PRIu64 " bytes\n", item->offset, item->size);
		break;
	case SETT_ITEM_MARK:
		printf("%" PRIu64 " mark\n", item->offset);
		break;
	case SETT_ITEM_TABLE_ADDED:
		printf("    table %06" PRIu64 " of %" PRIu64 " bytes joins level %u\n", item->number,
		       item->size, item->level);
		break;
	case SETT_ITEM_TABLE_REMOVED:
		printf("    table %06" PRIu64 " leaves\n", item->number);
		break;
	case SETT_ITEM_FLUSH:
		printf("    flushed up to commit %" PRIu64 ", log needed from %06" PRIu64 ".log, %s\n",
		       item->timestamp, item->number, time_text(item->now_ms).text);
		break;
	case SETT_ITEM_FILE_LIMIT:
		printf("    file numbers below %" PRIu64 " may be used\n", item->number);
		break;
	case SETT_ITEM_DURABLE:
		printf("    durable up to commit %" PRIu64 "%s\n", item->timestamp,
		       item->count ? ", closed in good order" : "");
		break;
	case SETT_ITEM_VALUE:
		print_value(d, item);
		break;
	case SETT_ITEM_UNUSED:
		printf("%" PRIu64 " unused: %" PRIu64 " bytes\n", item->offset, item->size);
		break;
	case SETT_ITEM_DAMAGE:
		print_damage(d, item);
		break;
	}
}

static int
on_item(void *arg, const struct sett_item *item)
{
	struct dump *d = arg;
	if (d->keys_only && item->kind != SETT_ITEM_ENTRY && item->kind != SETT_ITEM_DAMAGE)
		return SETT_OK;
	if (d->lines >= d->limit)
		return SETT_ABORTED;
	d->lines++;
	if (d->keys_only && item->kind == SETT_ITEM_ENTRY) {
		print_key(stdout, item->entry.key, d->raw);
		putchar('\n');
	} else {
		print_item(d, item);
	}
	return ferror(stdout) ? SETT_ABORTED : SETT_OK;
}

/* One whose name does not say what it is, or says something else, has no number, and no checksum would fit.
 */
static int
dump_file(const struct command *command, struct dump *d, const char *path)
{
	const char *slash = strrchr(path, '/');
	enum sett_file_kind kind;
	uint64_t number;
	if (!sett_file_classify(slash ? slash + 1 : path, &kind, &number) || kind != d->kind)
		return usage_error(command, "by its name, %s is no %s", path, kinds[d->kind].title);
	struct sett_error error = {0};
	d->path = path;
	struct keyring *keys;
	char directory[SETT_PATH_MAX];
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	int r = keys_open(slash == path ? "/" : directory, &keys, &error);
	if (r == SETT_OK)
		r = sett_read_file(keys_vfs(keys), path, kind, number, on_item, d, &error);
	return r == SETT_OK || r == SETT_ABORTED ? EXIT_WELL : failure(r, &error);
}

/* ---- directories ---- */

struct name_list {
	char **names;
	size_t count, capacity;
};

static int
compare_names(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t m = strlen(x), n = strlen(y);
	return m != n ? (m < n ? -1 : 1) : strcmp(x, y); /* longer numbers are larger */
}

static int
add_name(struct name_list *l, const char *name)
{
	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 64;
		char **names = reallocarray(l->names, capacity, sizeof(*names));
		if (!names)
			return SETT_NO_MEMORY;
		l->names = names;
		l->capacity = capacity;
	}
	l->names[l->count] = strdup(name);
	return l->names[l->count] ? (l->count++, SETT_OK) : SETT_NO_MEMORY;
}

static int
list_files(const struct dump *d, const char *directory, struct name_list *ret)
{
	struct dirent *entry;
	int r = SETT_OK;
	DIR *dir = opendir(directory);
	if (!dir)
		return SETT_IO;
	while (r == SETT_OK && (errno = 0, entry = readdir(dir)) != NULL) {
		enum sett_file_kind kind;
		uint64_t number;
		if (sett_file_classify(entry->d_name, &kind, &number) && kind == d->kind)
			r = add_name(ret, entry->d_name);
	}
	if (r == SETT_OK && errno != 0)
		r = SETT_IO;
	(void)closedir(dir);
	if (ret->count)
		qsort(ret->names, ret->count, sizeof(*ret->names), compare_names);
	return r;
}

static int
dump_directory(const struct command *command, struct dump *d, const char *directory)
{
	struct name_list list = {0};
	struct sett_error error = {0};
	int r = list_files(d, directory, &list), code = EXIT_WELL;
	if (r == SETT_IO)
		sett_error_set(&error, r, errno, "%s: %s", directory, strerror(errno));
	if (r == SETT_OK && list.count == 0)
		r = sett_error_set(&error, SETT_NOT_FOUND, 0, "%s: there is no %s in it", directory,
				   kinds[d->kind].title);
	if (r != SETT_OK)
		code = failure(r, &error);
	for (size_t i = 0; r == SETT_OK && code == EXIT_WELL && d->lines < d->limit && i < list.count; i++) {
		char path[SETT_PATH_MAX];
		if (snprintf(path, sizeof(path), "%s/%s", directory, list.names[i]) >= (int)sizeof(path))
			code = failure(SETT_INVALID, NULL);
		else
			code = dump_file(command, d, path);
	}
	for (size_t i = 0; i < list.count; i++)
		free(list.names[i]);
	free(list.names);
	return code;
}

/* ---- the command ---- */

static bool
find_kind(const char *name, enum sett_file_kind *ret)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (strcmp(kinds[i].name, name) == 0) {
			*ret = kinds[i].kind;
			return true;
		}
	}
	return false;
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},        {"limit", required_argument, NULL, 'l'},
		{"bytes", required_argument, NULL, 'b'}, {"keys-only", no_argument, NULL, 'k'},
		{"raw", no_argument, NULL, 'r'},         {0},
	};
	struct dump d = {.limit = UINT64_MAX, .shown = 64};
	int code = EXIT_FAILED, option;
	uint64_t number;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		switch (option) {
		case 'l':
			if (!parse_number(command, "limit", optarg, 1, UINT64_MAX, &d.limit))
				return EXIT_FAILED;
			break;
		case 'b':
			if (!parse_number(command, "bytes", optarg, 0, SIZE_MAX, &number))
				return EXIT_FAILED;
			d.shown = (size_t)number;
			break;
		case 'k':
			d.keys_only = true;
			break;
		case 'r':
			d.raw = true;
			break;
		default:
			return code;
		}
	}
	if (argc - optind != 2)
		return usage_error(command, "a kind of file, and a file or directory are needed");
	char **words = argv + optind;
	if (!find_kind(words[0], &d.kind))
		return usage_error(command, "'%s' is no kind of file: log, table, manifest or value-log",
				   words[0]);
	if (d.keys_only && (d.kind == SETT_FILE_MANIFEST || d.kind == SETT_FILE_VALUE_LOG))
		return usage_error(command, "there are no keys in a %s", kinds[d.kind].title);
	struct stat st;
	if (stat(words[1], &st) != 0) {
		struct sett_error error;
		return failure(sett_error_set(&error, SETT_IO, errno, "%s: %s", words[1], strerror(errno)),
			       &error);
	}
	code = S_ISDIR(st.st_mode) ? dump_directory(command, &d, words[1]) : dump_file(command, &d, words[1]);
	return code == EXIT_WELL && d.is_damaged ? EXIT_DAMAGE : code;
}

const struct command tool_dump = {
	.name = "dump",
	.summary = "the content of log, table, manifest or value-log files",
	.help = "usage: sett-tool dump [options] log|table|manifest|value-log FILE|DIRECTORY\n"
		"\n"
		"Prints what is in a file, or in all files of that kind in a directory, in order: a line for "
		"each\n"
		"thing, in front of it the offset in the file. Bytes are in double quotes, those that are "
		"not\n"
		"printable as \\xNN. Files must have the names the engine gave them: their checksums depend "
		"on the\n"
		"number. No lock is taken; while a server runs, the end of a file may look unfinished.\n"
		"\n"
		"  log         commits: timestamp, predecessor, what was known to be durable; then their "
		"puts,\n"
		"              deletes, counters and dropped prefixes\n"
		"  table       properties, value-log files it refers to, entries in key order, newest first\n"
		"  manifest    edits: tables that join and leave, flushes, counters, prefixes\n"
		"  value-log   values in the order they were written, needed or not\n"
		"\n"
		"A Redis key is shown as: epoch N \"name\"; the entry epoch-of-db D says which database has "
		"which\n"
		"epoch.\n"
		"\n"
		"  --limit N     at most N lines\n"
		"  --bytes N     at most N bytes of each value (64)\n"
		"  --keys-only   keys alone (log and table)\n"
		"  --raw         keys as the engine has them, not as Redis keys\n"
		"\n"
		"Exit codes: 0; 1 something was damaged; 2 the command line is wrong, or it could not be "
		"done.\n",
	.run = run,
};
