/* sett-tool backup: copies a checkpoint of a database, of a server that runs (BACKUP) or of a directory that none has open, with a manifest of
 * checksums.
 *
 * Invariants:
 *  1. backup.manifest comes last, by rename, once all it names is on the device: a backup that was cut has none.
 *  2. A file is taken for one of an earlier backup if name, size and time of its last change are the same: files of a database never change once
 *     a checkpoint has them, and no number is used twice; a database that was restored, and went another way, has written its files at
 *     another time. So what has not changed is not even read.
 *  3. Whatever ends it but a kill, the server's files are let go. After a kill the same command goes on. */
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup_manifest.h"
#include "pour.h"
#include "server_link.h"
#include "storage/checkpoint.h"
#include "storage/inspect.h"
#include "text.h"
#include "tool.h"

enum { TIMEOUT_S = 600, TAR_BLOCK = 512 };
#define OFFLINE_NAME "sett-tool-backup" /* in the database's directory */
#define PART_NAME "backup.part"         /* in a target that is not finished, and only there */
#define NS_PER_SECOND 1000000000
#define TAR_TIME_MAX ((uint64_t)077777777777)

struct backup {
	const char *source;
	const char *target;          /* NULL: a pipe */
	const char *base;            /* NULL: a full one */
	bool takes_sealed, is_quiet; /* options */
	bool goes_on;                /* the target has something of one that was cut */
	struct server_link link;
	struct sett_engine *engine; /* of a directory */
	bool owns;                  /* what was sealed is to be cleaned up */
	char files[PATH_MAX];       /* the directory of the checkpoint */
	char base_directory[PATH_MAX];
	struct pour pour;
	struct backup_manifest old, new;
	uint64_t copied_files, copied_bytes, shared_files, absent_files;
	struct sett_error error;
};

static void
end(int number)
{
	(void)number;
	server_link_is_ended = 1;
}

/* ---- the source: a server ---- */

static int
no_link(struct backup *b)
{
	static const char prefix[] = "sett-tool: "; /* failure() has it too */
	return sett_error_set(&b->error, SETT_IO, 0, "%s", b->link.complaint + sizeof(prefix) - 1);
}

/* The reply's parts into `ret`. */
static int
ask(struct backup *b, const char *subcommand, struct buffer *ret, size_t *ret_count)
{
	const char *words[] = {"BACKUP", subcommand};
	b->link.complaint[0] = '\0';
	return server_link_ask_parts(&b->link, words, 2, ret, ret_count) == EXIT_WELL ? SETT_OK : no_link(b);
}

/* The value behind a name in the flat list of a map; "" if it is not there. */
static const char *
value_of(const struct buffer *parts, size_t count, const char *name)
{
	const char *at = (const char *)parts->data;
	for (size_t i = 0; i + 1 < count; i += 2) {
		const char *value = at + strlen(at) + 1;
		if (strcmp(at, name) == 0)
			return value;
		at = value + strlen(value) + 1;
	}
	return "";
}

static int
seal(struct backup *b)
{
	struct buffer reply = {0};
	size_t count = 0;
	int status = ask(b, "STATUS", &reply, &count);
	if (status != SETT_OK)
		goto out;
	if (strcmp(value_of(&reply, count, "state"), "sealed") == 0) {
		/* That of one that was killed, if there is something of it. */
		b->owns = !b->takes_sealed && b->goes_on;
		if (!b->takes_sealed && !b->goes_on)
			status = sett_error_set(
				&b->error, SETT_LOCKED, 0,
				"the server has a sealed backup already, of %s: --sealed copies it, BACKUP "
				"CLEANUP removes it",
				time_text(strtoull(value_of(&reply, count, "end_time"), NULL, 10) * 1000)
					.text);
	} else if (b->takes_sealed) {
		status = sett_error_set(&b->error, SETT_INVALID, 0, "the server has no sealed backup");
	} else {
		status = ask(b, "START", &reply, &count);
		if (status == SETT_OK)
			status = ask(b, "SEAL", &reply, &count);
		b->owns = status == SETT_OK;
	}
out:
	buffer_free(&reply);
	return status;
}

/* Where the sealed files are. */
static int
find_files(struct backup *b)
{
	struct buffer reply = {0};
	size_t count = 0;
	int status = ask(b, "LIST", &reply, &count);
	if (status == SETT_OK &&
	    (count == 0 || reply.size > INT_MAX || strlen((const char *)reply.data) >= sizeof(b->files)))
		status = sett_error_set(&b->error, SETT_IO, 0, "the server names no files of its backup");
	if (status == SETT_OK)
		snprintf(b->files, sizeof(b->files), "%s", dirname((char *)reply.data));
	buffer_free(&reply);
	return status;
}

static int
open_server(struct backup *b)
{
	static char host[PATH_MAX];
	struct stat st;
	if (stat(b->source, &st) == 0 && S_ISSOCK(st.st_mode)) {
		b->link.socket = b->source;
	} else {
		snprintf(host, sizeof(host), "%s", b->source);
		char *colon = strrchr(host, ':');
		if (colon == NULL || colon[1] == '\0')
			return sett_error_set(&b->error, SETT_INVALID, 0,
					      "%s is neither a directory nor a socket, nor HOST:PORT",
					      b->source);
		*colon = '\0';
		b->link.host = host[0] != '\0' ? host : "127.0.0.1";
		b->link.port = colon + 1;
	}
	if (server_link_open(&b->link) != EXIT_WELL)
		return no_link(b);
	int status = seal(b);
	if (status == SETT_OK)
		status = find_files(b);
	if (status == SETT_OK && access(b->files, R_OK | X_OK) != 0)
		status = sett_error_set(
			&b->error, SETT_IO, errno,
			"%s: %s: the files are copied on the server's own machine, by who may read them",
			b->files, strerror(errno));
	return status;
}

/* ---- the source: a directory ---- */

static int
open_directory(struct backup *b)
{
	struct sett_options options = {.must_exist = true};
	char manifest[PATH_MAX];
	int status = pour_path(manifest, sizeof(manifest), b->source, "MANIFEST", "", &b->error);
	if (status == SETT_OK && access(manifest, F_OK) != 0)
		status = pour_failed("open", manifest, &b->error);
	if (status == SETT_OK)
		status = pour_path(b->files, sizeof(b->files), b->source, OFFLINE_NAME, "", &b->error);
	if (status == SETT_OK)
		status = sett_engine_open(b->source, &options, &b->engine, &b->error);
	if (status == SETT_OK) /* what one that was killed has left */
		status = sett_checkpoint_discard(vfs_posix(), b->files, &b->error);
	if (status == SETT_OK)
		status = sett_checkpoint(b->engine, b->files, NULL, &b->error);
	b->owns = status == SETT_OK;
	return status;
}

static int
open_source(struct backup *b)
{
	struct stat st;
	return stat(b->source, &st) == 0 && S_ISDIR(st.st_mode) ? open_directory(b) : open_server(b);
}

/* The first failure is the one that is told of. */
static int
close_source(struct backup *b, int status)
{
	struct sett_error *error = status == SETT_OK ? &b->error : &(struct sett_error){0};
	int closed = SETT_OK;
	if (b->engine != NULL) {
		if (b->owns)
			closed = sett_checkpoint_discard(vfs_posix(), b->files, error);
		(void)rmdir(b->files); /* empty, or of use to who looks why it is not */
		int ended = sett_engine_close(b->engine, closed == SETT_OK ? error : NULL);
		closed = closed == SETT_OK ? ended : closed;
	} else if (b->owns && b->link.fd >= 0) {
		struct sett_error first = b->error;
		struct buffer reply = {0};
		size_t count;
		closed = ask(b, "CLEANUP", &reply, &count);
		if (status != SETT_OK)
			b->error = first;
		buffer_free(&reply);
	}
	if (b->engine == NULL)
		(void)server_link_close(&b->link, EXIT_WELL); /* `error` says what went wrong */
	return status == SETT_OK ? closed : status;
}

/* ---- the target: a directory ---- */

static int
refuse_name(void *arg, const char *name)
{
	struct backup *b = arg;
	return sett_error_set(&b->error, SETT_INVALID, 0,
			      strcmp(name, BACKUP_MANIFEST_NAME) == 0 ? "%s holds a backup already: %s"
								      : "%s is not empty: there is %s",
			      b->target, name);
}

/* Absent, empty, or with what one that was cut has left: nothing else is touched. */
static int
look_at_target(struct backup *b)
{
	char part[PATH_MAX], manifest[PATH_MAX];
	int status = pour_path(part, sizeof(part), b->target, PART_NAME, "", &b->error);
	if (status == SETT_OK)
		status =
			pour_path(manifest, sizeof(manifest), b->target, BACKUP_MANIFEST_NAME, "", &b->error);
	if (status != SETT_OK)
		return status;
	if (access(manifest, F_OK) == 0)
		return refuse_name(b, BACKUP_MANIFEST_NAME);
	b->goes_on = access(part, F_OK) == 0;
	if (b->goes_on)
		return SETT_OK;
	status = vfs_list(vfs_posix(), b->target, refuse_name, b, &b->error);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* There is something to copy: from now on it can be gone on with. */
static int
mark_target(struct backup *b)
{
	int status = pour_make_directory(b->target, &b->error);
	return status == SETT_OK ? pour_bytes("", 0, b->target, PART_NAME, &b->error) : status;
}

static int
remove_stray(void *arg, const char *name)
{
	struct backup *b = arg;
	char path[PATH_MAX];
	if (backup_manifest_find(&b->new, name) != NULL || strcmp(name, PART_NAME) == 0)
		return SETT_OK;
	int status = pour_path(path, sizeof(path), b->target, name, "", &b->error);
	return status == SETT_OK && unlink(path) != 0 ? pour_failed("unlink", path, &b->error) : status;
}

static int64_t
time_of(const struct stat *st)
{
	return st->st_mtim.tv_sec * (int64_t)NS_PER_SECOND + st->st_mtim.tv_nsec;
}

/* Whether the target has the file. */
static bool
is_there(const char *path, const struct backup_entry *e)
{
	struct stat st;
	return stat(path, &st) == 0 && (uint64_t)st.st_size == e->size && time_of(&st) == e->mtime_ns;
}

/* A file of the base, by a link; or it is left to the base. */
static int
share(struct backup *b, const struct backup_entry *e)
{
	char from[PATH_MAX], path[PATH_MAX];
	int status = pour_path(from, sizeof(from), b->base_directory, e->name, "", &b->error);
	if (status == SETT_OK)
		status = pour_path(path, sizeof(path), b->target, e->name, "", &b->error);
	if (status != SETT_OK)
		return status;
	if (is_there(path, e)) {
		b->shared_files++;
		return SETT_OK;
	}
	if (unlink(path) != 0 && errno != ENOENT)
		return pour_failed("unlink", path, &b->error);
	if (is_there(from, e) && link(from, path) == 0)
		b->shared_files++;
	else
		b->absent_files++;
	return SETT_OK;
}

static int
copy(struct backup *b, const char *from, struct backup_entry *e)
{
	char path[PATH_MAX];
	uint64_t size = 0;
	int status = pour_path(path, sizeof(path), b->target, e->name, "", &b->error);
	if (status != SETT_OK)
		return status;
	if (is_there(path, e)) /* one that was cut has copied it */
		status = pour_file(&b->pour, path, -1, NULL, &size, &e->sum, &b->error);
	else
		status =
			pour_copy(&b->pour, from, b->target, e->name, e->mtime_ns, &size, &e->sum, &b->error);
	if (status == SETT_OK && size != e->size)
		status = sett_error_set(&b->error, SETT_CORRUPT, 0, "%s has changed its size", from);
	return status;
}

/* ---- the target: a pipe ---- */

static int
put_header(struct backup *b, const char *name, uint64_t size, int64_t mtime_ns)
{
	struct {
		char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100],
			magic[6], version[2], rest[247];
	} h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
	_Static_assert(sizeof(h) == TAR_BLOCK, "a header is a block");
	unsigned sum = 0;
	if (size >= 1ULL << 33)
		return sett_error_set(&b->error, SETT_TOO_LARGE, 0,
				      "%s: a file of 8 GiB does not go into a pipe", name);
	snprintf(h.name, sizeof(h.name), "%s", name);
	snprintf(h.mode, sizeof(h.mode), "%07o", 0640U);
	snprintf(h.uid, sizeof(h.uid), "%07o", 0U);
	snprintf(h.gid, sizeof(h.gid), "%07o", 0U);
	snprintf(h.size, sizeof(h.size), "%011" PRIo64, size);
	snprintf(h.mtime, sizeof(h.mtime), "%011" PRIo64,
		 (uint64_t)(mtime_ns / NS_PER_SECOND) & TAR_TIME_MAX);
	memset(h.sum, ' ', sizeof(h.sum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((const uint8_t *)&h)[i];
	snprintf(h.sum, sizeof(h.sum), "%06o", sum);
	return pour_write(STDOUT_FILENO, "the pipe", &h, sizeof(h), &b->error);
}

/* Zeros to the end of a block. */
static int
put_padding(struct backup *b, uint64_t size)
{
	static const uint8_t zeros[TAR_BLOCK];
	size_t rest = (size_t)(size % TAR_BLOCK);
	return rest == 0 ? SETT_OK
			 : pour_write(STDOUT_FILENO, "the pipe", zeros, TAR_BLOCK - rest, &b->error);
}

static int
put(struct backup *b, const char *from, struct backup_entry *e)
{
	uint64_t size = 0;
	int status = put_header(b, e->name, e->size, e->mtime_ns);
	if (status == SETT_OK)
		status = pour_file(&b->pour, from, STDOUT_FILENO, "the pipe", &size, &e->sum, &b->error);
	if (status == SETT_OK && size != e->size)
		status = sett_error_set(&b->error, SETT_CORRUPT, 0, "%s has changed its size", from);
	return status == SETT_OK ? put_padding(b, size) : status;
}

static int
put_end(struct backup *b, const struct buffer *manifest)
{
	static const uint8_t zeros[2 * TAR_BLOCK];
	int status = put_header(b, BACKUP_MANIFEST_NAME, manifest->size, (int64_t)b->new.time_ms * 1000000);
	if (status == SETT_OK)
		status = pour_write(STDOUT_FILENO, "the pipe", manifest->data, manifest->size, &b->error);
	if (status == SETT_OK)
		status = put_padding(b, manifest->size);
	return status == SETT_OK ? pour_write(STDOUT_FILENO, "the pipe", zeros, sizeof(zeros), &b->error)
				 : status;
}

/* ---- the whole ---- */

static int
add_name(void *arg, const char *name)
{
	struct backup *b = arg;
	struct backup_entry e = {0};
	enum sett_file_kind kind;
	uint64_t number;
	char path[PATH_MAX];
	struct stat st;
	if (!sett_file_classify(name, &kind, &number) || strlen(name) >= sizeof(e.name))
		return SETT_OK;
	int status = pour_path(path, sizeof(path), b->files, name, "", &b->error);
	if (status != SETT_OK)
		return status;
	if (stat(path, &st) != 0)
		return pour_failed("stat", path, &b->error);
	memcpy(e.name, name, strlen(name) + 1);
	e.size = (uint64_t)st.st_size;
	e.mtime_ns = time_of(&st);
	return backup_manifest_add(&b->new, &e) == SETT_OK
		? SETT_OK
		: sett_error_set(&b->error, SETT_NO_MEMORY, 0, "out of memory");
}

static const struct backup_entry *
find_same(const struct backup *b, const struct backup_entry *e)
{
	const struct backup_entry *old = backup_manifest_find(&b->old, e->name);
	return old != NULL && old->size == e->size && old->mtime_ns == e->mtime_ns ? old : NULL;
}

static int
take_file(struct backup *b, struct backup_entry *e)
{
	char from[PATH_MAX];
	const struct backup_entry *same = find_same(b, e);
	if (same != NULL) {
		e->sum = same->sum;
		if (b->target != NULL)
			return share(b, e);
		b->absent_files++;
		return SETT_OK;
	}
	int status = pour_path(from, sizeof(from), b->files, e->name, "", &b->error);
	if (status == SETT_OK)
		status = b->target != NULL ? copy(b, from, e) : put(b, from, e);
	b->copied_files += status == SETT_OK;
	b->copied_bytes += status == SETT_OK ? e->size : 0;
	return status;
}

static int
take_files(struct backup *b)
{
	struct sett_description d;
	int status = vfs_list(vfs_posix(), b->files, add_name, b, &b->error);
	if (status == SETT_OK)
		status = sett_describe(b->files, NULL, &d, &b->error);
	if (status != SETT_OK)
		return status;
	b->new.commit = d.last;
	b->new.time_ms = d.now_ms;
	sett_description_free(&d);
	for (size_t i = 0; i < b->new.count; i++)
		b->pour.total += find_same(b, &b->new.entries[i]) == NULL ? b->new.entries[i].size : 0;
	for (size_t i = 0; status == SETT_OK && i < b->new.count; i++)
		status = take_file(b, &b->new.entries[i]);
	return status;
}

/* From here on it holds a backup, and nothing is to be gone on with. */
static int
remove_mark(struct backup *b)
{
	char path[PATH_MAX];
	int status = pour_path(path, sizeof(path), b->target, PART_NAME, "", &b->error);
	if (status == SETT_OK && unlink(path) != 0)
		status = pour_failed("unlink", path, &b->error);
	return status == SETT_OK ? pour_sync_directory(b->target, &b->error) : status;
}

/* (invariant 1) */
static int
finish(struct backup *b)
{
	struct buffer text = {0};
	if (b->absent_files > 0)
		memcpy(b->new.base, b->base_directory, sizeof(b->new.base));
	int status = backup_manifest_format(&b->new, &text);
	if (status != SETT_OK)
		(void)sett_error_set(&b->error, status, 0, "out of memory");
	else if (b->target == NULL)
		status = put_end(b, &text);
	else
		status = vfs_list(vfs_posix(), b->target, remove_stray, b, &b->error);
	if (status == SETT_OK && b->target != NULL)
		status = pour_sync_directory(b->target, &b->error);
	if (status == SETT_OK && b->target != NULL)
		status = pour_bytes(text.data, text.size, b->target, BACKUP_MANIFEST_NAME, &b->error);
	if (status == SETT_OK && b->target != NULL)
		status = remove_mark(b);
	buffer_free(&text);
	return status;
}

static int
read_base(struct backup *b)
{
	char name[PATH_MAX];
	struct stat st;
	if (b->base == NULL)
		return SETT_OK;
	int status = backup_manifest_read(b->base, &b->old, &b->error);
	if (status != SETT_OK)
		return status;
	snprintf(name, sizeof(name), "%s", b->base);
	const char *directory = stat(name, &st) == 0 && S_ISDIR(st.st_mode) ? name : dirname(name);
	if (realpath(directory, b->base_directory) == NULL || strchr(b->base_directory, '\n') != NULL)
		return pour_failed("realpath", b->base, &b->error);
	return SETT_OK;
}

static int
back_up(struct backup *b)
{
	int status = read_base(b);
	if (status == SETT_OK && b->target != NULL)
		status = look_at_target(b);
	if (status == SETT_OK) {
		status = open_source(b);
		if (status == SETT_OK && b->target != NULL)
			status = mark_target(b);
		if (status == SETT_OK)
			status = take_files(b);
		if (status == SETT_OK)
			status = finish(b);
		status = close_source(b, status);
	}
	return status;
}

static void
report(const struct backup *b)
{
	fprintf(b->target != NULL ? stdout : stderr,
		"backup: commits up to %" PRIu64 ", of %s; files %zu (%s); copied %" PRIu64 " (%s)",
		b->new.commit, time_text(b->new.time_ms).text, b->new.count, size_text(b->new.bytes).text,
		b->copied_files, size_text(b->copied_bytes).text);
	FILE *out = b->target != NULL ? stdout : stderr;
	if (b->shared_files > 0)
		fprintf(out, ", shared with %s %" PRIu64, b->base_directory, b->shared_files);
	if (b->absent_files > 0)
		fprintf(out, ", left to %s %" PRIu64, b->base_directory, b->absent_files);
	fputc('\n', out);
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},   {"incremental-from", required_argument, NULL, 'i'},
		{"sealed", no_argument, NULL, 's'}, {"user", required_argument, NULL, 'u'},
		{"quiet", no_argument, NULL, 'q'},  {0},
	};
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	static struct backup b;
	int code = EXIT_WELL, option;
	b.link = (struct server_link)SERVER_LINK_DEFAULTS;
	b.link.timeout_seconds = TIMEOUT_S;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		if (option == '?')
			return code;
		if (option == 'i')
			b.base = optarg;
		else if (option == 'u')
			b.link.user = optarg;
		b.takes_sealed |= option == 's';
		b.is_quiet |= option == 'q';
	}
	if (argc - optind != 2)
		return usage_error(command, "a source and a directory (or - for a pipe) are needed");
	b.source = argv[optind];
	b.target = strcmp(argv[optind + 1], "-") != 0 ? argv[optind + 1] : NULL;
	if (b.target == NULL && isatty(STDOUT_FILENO))
		return usage_error(command, "a backup does not go to a terminal");
	struct sigaction action = {.sa_handler = end};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* a pipe that is gone is an error of the write */
	int status = pour_init(&b.pour, b.is_quiet, "copied", &server_link_is_ended);
	if (status == SETT_OK)
		status = back_up(&b);
	if (status == SETT_OK)
		report(&b);
	else
		code = failure(status, &b.error);
	pour_free(&b.pour);
	backup_manifest_free(&b.old);
	backup_manifest_free(&b.new);
	return status == SETT_CORRUPT ? EXIT_DAMAGE : code;
}

const struct command tool_backup = {
	.name = "backup",
	.summary = "makes a backup, while a server runs",
	.help = "usage: sett-tool backup [options] HOST:PORT | SOCKET | DIRECTORY  TARGET | -\n"
		"\n"
		"Copies the database as it is at this moment, all commits up to one, to the directory "
		"TARGET, which must be\n"
		"empty or not be there, with a manifest of checksums; or to standard output, as a tar file. "
		"It runs on the server's\n"
		"machine, as a user who may read its files. One that was cut goes on when it is called "
		"again. "
		"In place of a server\n"
		"a database's DIRECTORY that no server has open will do.\n"
		"\n"
		"  --incremental-from BACKUP  copies what is new since that one: a backup's directory, or "
		"its "
		"backup.manifest\n"
		"  --sealed                   copies what BACKUP SEAL has frozen before, and leaves it "
		"there\n"
		"  --user NAME                to log in as (default), with the password that the variable "
		"REDISCLI_AUTH holds\n"
		"  --quiet                    does not say how far it is\n"
		"\n"
		"Exit codes: 0; 1 something is damaged; 2 it could not be done.\n",
	.run = run,
};
