/* sett-tool restore: makes a database directory of a backup, once every file of it was read and is right. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup_manifest.h"
#include "keys.h"
#include "moment.h"
#include "pour.h"
#include "storage/archive.h"
#include "storage/vfs.h"
#include "text.h"
#include "tool.h"

struct restore {
	const char *backup, *target;
	bool only_checks;
	const char *archive; /* NULL: the backup alone */
	struct sett_moment moment;
	struct sett_archive_point point; /* in the archive */
	struct keyring *archive_keys;    /* of an encrypted one */
	bool *refused; /* of the places that were given: the archive is another database's than the backup there */
	size_t given;
	struct pour pour;
	struct backup_manifest manifest;
	struct backup_places places; /* in which files are looked for, the backup first */
	size_t *found;               /* of each file: which place has it whole */
	bool writes;                 /* all was whole, and the target is being made */
	uint64_t damages;
	struct sett_error error;
};

/* ---- an archive ---- */

/* The newest backup among the places that the archive leads from to the moment. */
static int
choose_backup(struct restore *r)
{
	uint64_t newest = 0;
	r->backup = NULL;
	for (size_t i = 0; i < r->given; i++) {
		struct backup_manifest m;
		if (r->refused[i] || backup_manifest_read(r->places.paths[i], &m, &r->error) != SETT_OK)
			continue; /* it may be there for its files alone */
		if (m.commit >= r->point.since_commit && m.commit <= r->point.commit &&
		    (!r->backup || m.commit > newest)) {
			r->backup = r->places.paths[i];
			newest = m.commit;
		}
		backup_manifest_free(&m);
	}
	if (r->backup)
		return SETT_OK;
	return sett_error_set(&r->error, SETT_NOT_FOUND, 0,
			      "%s: commit %" PRIu64 ", of %s, is reached from a backup of commits %" PRIu64
			      " to %" PRIu64 ", and none of them is given",
			      r->archive, r->point.commit, time_text(r->point.time_ms).text,
			      r->point.since_commit, r->point.commit);
}

static bool
is_ended(void *arg)
{
	const struct restore *r = arg;
	return r->pour.is_ended && *r->pour.is_ended;
}

static struct sett_archive_replay
replay_of(struct restore *r)
{
	return (struct sett_archive_replay){.vfs = keys_vfs(r->archive_keys),
					    .directory = r->archive,
					    .chain = r->point.chain,
					    .from = r->manifest.commit,
					    .from_now_ms = r->manifest.time_ms,
					    .to = r->point.commit,
					    .should_stop = is_ended,
					    .arg = r};
}

static int
read_manifest(struct restore *r)
{
	int status = backup_manifest_read(r->backup, &r->manifest, &r->error);
	if (status == SETT_OK && backup_manifest_find(&r->manifest, "MANIFEST") == NULL)
		status = sett_error_set(&r->error, SETT_CORRUPT, 0, "%s: it names no MANIFEST", r->backup);
	return status;
}

/* A backup of another history may have a number that fits: then the next older one is taken. */
static int
check_archive(struct restore *r)
{
	struct sett_error first = {0};
	struct sett_archive_replay replay = replay_of(r);
	int status = r->archive ? sett_archive_check(&replay, &r->error) : SETT_OK;
	while (status == SETT_INVALID) {
		first = first.message[0] == '\0' ? r->error : first;
		for (size_t i = 0; i < r->given; i++)
			r->refused[i] |= r->places.paths[i] == r->backup;
		if (choose_backup(r) != SETT_OK) {
			r->error = first;
			return SETT_INVALID;
		}
		backup_manifest_free(&r->manifest);
		status = read_manifest(r);
		replay = replay_of(r);
		if (status == SETT_OK)
			status = sett_archive_check(&replay, &r->error);
	}
	return status;
}

static int
apply_archive(struct restore *r)
{
	struct sett_archive_replay replay = replay_of(r);
	struct sett_options options = {.must_exist = true, .replays = true};
	struct sett_engine *engine;
	struct keyring *keys;
	int status = keys_open(r->target, &keys, &r->error);
	options.vfs = status == SETT_OK ? keys_vfs(keys) : NULL;
	if (status == SETT_OK)
		status = sett_engine_open(r->target, &options, &engine, &r->error);
	if (status != SETT_OK)
		return status;
	status = sett_archive_apply(engine, &replay, &r->error);
	int closed = sett_engine_close(engine, status == SETT_OK ? &r->error : NULL);
	return status == SETT_OK ? closed : status;
}

/* While it is there no server opens what is there. */
static int
mark_target(struct restore *r, bool is_there)
{
	char path[PATH_MAX];
	if (is_there)
		return pour_bytes(&r->pour, "", 0, r->target, SETT_RESTORING_NAME, &r->error);
	int status = pour_path(path, sizeof(path), r->target, SETT_RESTORING_NAME, "", &r->error);
	if (status == SETT_OK && unlink(path) != 0)
		status = pour_failed("unlink", path, &r->error);
	return status == SETT_OK ? pour_sync_directory(r->target, &r->error) : status;
}

/* ---- verifying ---- */

/* SETT_OK: the place has the file whole; SETT_NOT_FOUND: not at all; SETT_CORRUPT: another, or damaged, which `what` says. */
static int
look(struct restore *r, const struct backup_entry *e, const char *place, char *what, size_t what_size)
{
	char path[PATH_MAX];
	uint64_t size, sum;
	struct stat st;
	int status = pour_path(path, sizeof(path), place, e->name, "", &r->error);
	if (status != SETT_OK)
		return status;
	if (stat(path, &st) != 0 && errno == ENOENT)
		return SETT_NOT_FOUND;
	status = pour_file(&r->pour, path, -1, NULL, &size, &sum, &r->error);
	if (status == SETT_ABORTED || status == SETT_NOT_FOUND)
		return status;
	if (status != SETT_OK)
		snprintf(what, what_size, "%s", r->error.message);
	else if (size != e->size)
		snprintf(what, what_size, "%s: %" PRIu64 " bytes, not %" PRIu64, path, size, e->size);
	else if (sum != e->sum)
		snprintf(what, what_size, "%s: the checksum is wrong", path);
	else
		return SETT_OK;
	return SETT_CORRUPT;
}

static int
verify_file(struct restore *r, size_t index)
{
	const struct backup_entry *e = &r->manifest.entries[index];
	char what[PATH_MAX + 128] = "";
	for (size_t i = 0; i < r->places.count; i++) {
		char said[sizeof(what)];
		int status = look(r, e, r->places.paths[i], said, sizeof(said));
		if (status == SETT_OK) {
			r->found[index] = i;
			return SETT_OK;
		}
		if (status == SETT_CORRUPT && what[0] == '\0')
			memcpy(what, said, sizeof(what));
		if (status != SETT_CORRUPT && status != SETT_NOT_FOUND)
			return status;
	}
	if (what[0] != '\0')
		printf("damage: %s\n", what);
	else
		printf("damage: %s is missing: it is in none of %zu directories, from %s on\n", e->name,
		       r->places.count, r->places.paths[0]);
	r->damages++;
	return SETT_OK;
}

static int
verify(struct restore *r)
{
	r->found = calloc(r->manifest.count + 1, sizeof(*r->found));
	if (r->found == NULL)
		return sett_error_set(&r->error, SETT_NO_MEMORY, 0, "out of memory");
	r->pour.total = r->manifest.bytes * (r->only_checks ? 1 : 2);
	for (size_t i = 0; i < r->manifest.count; i++) {
		int status = verify_file(r, i);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* ---- writing ---- */

static int
refuse_name(void *arg, const char *name)
{
	struct restore *r = arg;
	return sett_error_set(&r->error, SETT_INVALID, 0, "%s is not empty: there is %s", r->target, name);
}

/* SETT_OK: absent or empty. */
static int
look_at_target(struct restore *r)
{
	int status = vfs_list(vfs_posix(), r->target, refuse_name, r, &r->error);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
write_file(struct restore *r, size_t index)
{
	const struct backup_entry *e = &r->manifest.entries[index];
	char from[PATH_MAX];
	uint64_t size = 0, sum = 0;
	int status = pour_path(from, sizeof(from), r->places.paths[r->found[index]], e->name, "", &r->error);
	if (status == SETT_OK)
		status = pour_copy(&r->pour, from, r->target, e->name, 0, &size, &sum, &r->error);
	if (status == SETT_OK && (size != e->size || sum != e->sum))
		status = sett_error_set(&r->error, SETT_CORRUPT, 0, "%s has changed meanwhile", from);
	return status;
}

/* The database's manifest last: without it no server takes for a database what an end in the middle has left. */
static int
write_all(struct restore *r)
{
	size_t manifest = r->manifest.count;
	r->writes = true;
	int status = pour_make_directory(r->target, &r->error);
	if (status == SETT_OK && r->archive)
		status = mark_target(r, true);
	if (status == SETT_OK && r->archive)
		status = pour_sync_directory(r->target, &r->error);
	for (size_t i = 0; status == SETT_OK && i < r->manifest.count; i++) {
		if (strcmp(r->manifest.entries[i].name, "MANIFEST") == 0)
			manifest = i;
		else
			status = write_file(r, i);
	}
	if (status == SETT_OK)
		status = pour_sync_directory(r->target, &r->error);
	if (status == SETT_OK)
		status = write_file(r, manifest);
	if (status == SETT_OK)
		status = pour_sync_directory(r->target, &r->error);
	if (status == SETT_OK && r->archive)
		status = apply_archive(r);
	return status == SETT_OK && r->archive ? mark_target(r, false) : status;
}

static int
restore(struct restore *r)
{
	int status = r->archive ? keys_open(r->archive, &r->archive_keys, &r->error) : SETT_OK;
	if (status == SETT_OK && r->archive)
		status = sett_archive_find(keys_vfs(r->archive_keys), r->archive, &r->moment, &r->point,
					   &r->error);
	if (status == SETT_OK && r->archive)
		status = choose_backup(r);
	if (status == SETT_OK)
		status = read_manifest(r);
	if (status == SETT_OK && !r->only_checks)
		status = look_at_target(r);
	if (status == SETT_OK)
		status = backup_places_add_bases(&r->places, &r->error);
	if (status == SETT_OK)
		status = check_archive(r);
	if (status == SETT_OK)
		status = verify(r);
	if (status == SETT_OK && r->damages == 0 && !r->only_checks)
		status = write_all(r);
	return status;
}

static int
report(struct restore *r, int status)
{
	if (status == SETT_CORRUPT) {
		printf("damage: %s\n", r->error.message);
		r->damages++;
	} else if (status != SETT_OK) {
		return failure(status, &r->error);
	}
	if (r->damages > 0) {
		printf("damaged: damages: %" PRIu64 "; %s\n", r->damages,
		       r->writes ? "what was written so far is no database" : "nothing was restored");
		return EXIT_DAMAGE;
	}
	printf("%s: commits up to %" PRIu64 ", of %s; files %zu (%s)", r->only_checks ? "whole" : "restored",
	       r->archive ? r->point.commit : r->manifest.commit,
	       time_text(r->archive ? r->point.time_ms : r->manifest.time_ms).text, r->manifest.count,
	       size_text(r->manifest.bytes).text);
	if (r->archive)
		printf("; from %s, commits up to %" PRIu64 ", and %" PRIu64 " commits of the archive",
		       r->backup, r->manifest.commit, r->point.commit - r->manifest.commit);
	printf("\n");
	if (r->archive && r->point.unread_bytes > 0)
		printf("note: the archive's last %" PRIu64 " bytes, from offset %" PRIu64 " of %06" PRIu64
		       ".arc on, are no whole block, and nothing of them was read: a write that was cut "
		       "short, or "
		       "damage\n",
		       r->point.unread_bytes, r->point.unread_offset, r->point.unread_number);
	return EXIT_WELL;
}

/* False, and says so, if the value is wrong. */
static bool
take_option(const struct command *command, struct restore *r, int option)
{
	uint64_t value = 0;
	if (option == 'c')
		r->only_checks = true;
	if (option == 'a')
		r->archive = optarg;
	if (option != 't' && option != 'n')
		return true;
	if (r->moment.kind != SETT_MOMENT_END) {
		usage_error(command, "--to and --to-commit: one moment is enough");
		return false;
	}
	if (option == 't' && !moment_parse(optarg, &value)) {
		usage_error(command,
			    "--to takes a time as 2026-11-29T12:34:56.789, of UTC unless it ends in +hh:mm, "
			    "not '%s'",
			    optarg);
		return false;
	}
	if (option == 'n' && !parse_number(command, "to-commit", optarg, 0, UINT64_MAX, &value))
		return false;
	r->moment = (struct sett_moment){option == 't' ? SETT_MOMENT_TIME : SETT_MOMENT_COMMIT, value};
	return true;
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"check", no_argument, NULL, 'c'},
		{"quiet", no_argument, NULL, 'q'},
		{"archive", required_argument, NULL, 'a'},
		{"to", required_argument, NULL, 't'},
		{"to-commit", required_argument, NULL, 'n'},
		{0},
	};
	struct restore r = {.moment.kind = SETT_MOMENT_END};
	bool is_quiet = false;
	int code = EXIT_WELL, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		if (option == '?' || !take_option(command, &r, option))
			return option == '?' ? code : EXIT_FAILED;
		is_quiet |= option == 'q';
	}
	if (!r.archive && r.moment.kind != SETT_MOMENT_END)
		return usage_error(command, "--to and --to-commit need --archive");
	int paths = argc - optind;
	if (paths < (r.only_checks ? 1 : 2))
		return usage_error(command,
				   r.only_checks ? "a backup is needed"
						 : "a backup and a directory are needed");
	r.backup = argv[optind];
	r.target = argv[argc - 1];
	int status = pour_init(&r.pour, is_quiet, r.only_checks ? "read" : "read and written", NULL);
	for (int i = optind; status == SETT_OK && i < argc - !r.only_checks; i++)
		status = backup_places_add(&r.places, argv[i], &r.error);
	r.given = r.places.count;
	r.refused = calloc(r.given + 1, sizeof(*r.refused));
	if (status == SETT_OK && r.refused == NULL)
		status = sett_error_set(&r.error, SETT_NO_MEMORY, 0, "out of memory");
	if (status == SETT_OK)
		status = restore(&r);
	code = report(&r, status);
	backup_places_free(&r.places);
	free(r.found);
	free(r.refused);
	backup_manifest_free(&r.manifest);
	pour_free(&r.pour);
	return code;
}

const struct command tool_restore = {
	.name = "restore",
	.summary = "makes a database directory of a backup",
	.help = "usage: sett-tool restore [options] BACKUP [MORE ...] DIRECTORY\n"
		"       sett-tool restore [options] BACKUP [MORE ...] --archive ARCHIVE [--to TIME | "
		"--to-commit N] "
		"DIRECTORY\n"
		"       sett-tool restore --check BACKUP [MORE ...] [--archive ...]\n"
		"\n"
		"Reads all of BACKUP, and only if every file of it is there and has its checksum makes a "
		"database of it in\n"
		"DIRECTORY, which must be empty or not be there. A file that BACKUP lacks, as an incremental "
		"one may, is taken\n"
		"from MORE, or from the backup that it was made from, where that still is.\n"
		"\n"
		"With an archive (directive archive-dir), the newest of the backups at or before that "
		"moment, and "
		"then the\n"
		"commits of the archive up to it: exactly those.\n"
		"\n"
		"  --archive ARCHIVE the archive's directory; without a moment up to its end\n"
		"  --to TIME         all commits up to then, and none after: 2026-11-29T12:34:56.789 (UTC; "
		"or with "
		"+hh:mm)\n"
		"  --to-commit N     all commits up to number N\n"
		"  --check           reads, and writes nothing\n"
		"  --quiet           does not say how far it is\n"
		"\n"
		"Exit codes: 0; 1 something is damaged or missing, and is named: nothing was written; 2 it "
		"could not be done.\n",
	.run = run,
};
