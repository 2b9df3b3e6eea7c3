/* sett-tool backup: copies a checkpoint of a database, of a server that runs (BACKUP) or of a directory that none has open, with a manifest of
 * checksums.
 *
 * Invariants:
 *  1. backup.manifest comes last, by rename, once all it names is on the device: a backup that was cut has none.
 *  2. A file is taken for one of an earlier backup if name, size and time of its last change are those in its manifest: files of a database never
 *     change once a checkpoint has them, and no number is used twice; a database that was restored, and went another way, has written its files
 *     at another time. So what has not changed is not even read. It is copied nevertheless unless the earlier backup has it: with that time, or,
 *     where that was copied itself, with that checksum.
 *  3. Whatever ends it but a kill, the server's files are let go. After a kill the same command goes on.
 *  4. backup.part is locked by who writes into its directory, and says which sealed backup is its own: no other is copied or cleaned up. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "backup_manifest.h"
#include "keys.h"
#include "pour.h"
#include "server_link.h"
#include "storage/checkpoint.h"
#include "storage/inspect.h"
#include "text.h"
#include "tool.h"

enum {
	TIMEOUT_S = 600,
	TAR_BLOCK = 512,
	CLEANUP_TRIES = 12,
	CLEANUP_PAUSE_MS = 250,
	MARK_SIZE = 64,
	PART_MODE = 0640
};
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
	int mark;                    /* backup.part, locked; -1 */
	/* The server's one that the files are copied of: when it began, in seconds (0: not known), and its commit (0: not sealed). */
	uint64_t start_s, commit;
	struct server_link link;
	struct sett_engine *engine; /* of a directory */
	struct keyring *keys;       /* of an encrypted one */
	bool owns;                  /* what was begun is to be cleaned up */
	char files[PATH_MAX];       /* the directory of the checkpoint */
	char base_directory[PATH_MAX];
	bool is_base_bare; /* a manifest alone: its files are not looked for */
	struct backup_places places;
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

/* It has interrupted a call: that is all. */
static void
wake(int number)
{
	(void)number;
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

static uint64_t
number_of(const struct buffer *parts, size_t count, const char *name)
{
	return strtoull(value_of(parts, count, name), NULL, 10);
}

/* What backup.part says of whose it is. What somebody else has sealed never becomes its own. */
static int
write_mark(struct backup *b)
{
	char text[MARK_SIZE];
	if (b->mark < 0)
		return SETT_OK;
	int size = snprintf(text, sizeof(text), "start %020" PRIu64 "\ncommit %020" PRIu64 "\n",
			    b->takes_sealed ? 0 : b->start_s, b->takes_sealed ? 0 : b->commit);
	ssize_t n = pwrite(b->mark, text, (size_t)size, 0);
	if (n == size)
		return SETT_OK;
	errno = n < 0 ? errno : ENOSPC;
	return pour_failed("write", PART_NAME, &b->error);
}

/* One that was cut before it knew says 0 and 0. */
static int
read_mark(struct backup *b)
{
	char text[MARK_SIZE] = "";
	ssize_t n = pread(b->mark, text, sizeof(text) - 1, 0);
	if (n < 0)
		return pour_failed("read", PART_NAME, &b->error);
	if (sscanf(text, "start %" SCNu64 "\ncommit %" SCNu64, &b->start_s, &b->commit) != 2)
		b->start_s = b->commit = 0;
	return SETT_OK;
}

/* Whether the server's backup is the one that `b` has noted. A server that was started anew does not know when its one began. */
static bool
is_own(const struct backup *b, const struct buffer *reply, size_t count)
{
	uint64_t start_s = number_of(reply, count, "start_time"), commit = number_of(reply, count, "commit");
	if (start_s != 0)
		return start_s == b->start_s && (b->commit == 0 || commit == 0 || commit == b->commit);
	return b->commit != 0 && commit == b->commit;
}

static int mark_target(struct backup *b);

/* The mark is there before anything is sealed. */
static int
begin(struct backup *b, struct buffer *reply, size_t *count)
{
	char failed[128];
	snprintf(failed, sizeof(failed), "%.100s", value_of(reply, *count, "error"));
	b->start_s = b->commit = 0;
	int status = ask(b, "START", reply, count);
	if (status != SETT_OK && failed[0] != '\0') {
		char first[sizeof(b->error.message)];
		memcpy(first, b->error.message, sizeof(first));
		return sett_error_set(
			&b->error, status, 0,
			"%.150s; the last one has failed (%.100s): BACKUP CLEANUP removes what it has left",
			first, failed);
	}
	if (status != SETT_OK)
		return status;
	b->owns = true;
	status = ask(b, "STATUS", reply, count);
	if (status == SETT_OK)
		b->start_s = number_of(reply, *count, "start_time");
	if (status == SETT_OK)
		status = mark_target(b);
	return status == SETT_OK ? ask(b, "SEAL", reply, count) : status;
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
		/* That of one that was killed, if it is the same. */
		b->owns = !b->takes_sealed && b->goes_on && is_own(b, &reply, count);
		if (!b->takes_sealed && !b->owns)
			status = sett_error_set(
				&b->error, SETT_LOCKED, 0,
				"the server has a sealed backup already, of %s: --sealed copies it, BACKUP "
				"CLEANUP removes it",
				time_text(number_of(&reply, count, "end_time") * 1000).text);
	} else if (b->takes_sealed) {
		status = sett_error_set(&b->error, SETT_INVALID, 0, "the server has no sealed backup");
	} else {
		status = begin(b, &reply, &count);
	}
	if (status == SETT_OK)
		status = ask(b, "STATUS", &reply, &count);
	if (status == SETT_OK) {
		b->start_s = number_of(&reply, count, "start_time");
		b->commit = number_of(&reply, count, "commit");
	}
	if (status == SETT_OK)
		status = mark_target(b);
out:
	buffer_free(&reply);
	return status;
}

/* While the files are copied: keeps the connection, and what is sealed for `backup-sealed-ttl`. What fails is seen when it is cleaned up. */
static void
keep_sealed(void *arg)
{
	struct backup *b = arg;
	struct sett_error first = b->error;
	struct buffer reply = {0};
	size_t count;
	if (ask(b, "LIST", &reply, &count) != SETT_OK) {
		(void)server_link_close(&b->link, EXIT_WELL); /* the next one finds a new one */
		(void)server_link_open(&b->link);
	}
	b->error = first;
	buffer_free(&reply);
}

static int
clean_up_once(struct backup *b)
{
	struct buffer reply = {0};
	size_t count;
	int status = ask(b, "STATUS", &reply, &count);
	if (status == SETT_OK && is_own(b, &reply, count)) {
		if (strcmp(value_of(&reply, count, "state"), "incrementing") == 0)
			(void)ask(b, "ABORT", &reply, &count); /* the next one says what can't be */
		status = ask(b, "CLEANUP", &reply, &count);
	}
	buffer_free(&reply);
	return status;
}

/* The connection may have been closed while the files were copied, and the server may be just starting. One on which an answer did not come
 * is of no use. */
static int
clean_up(struct backup *b)
{
	static const struct timespec pause = {.tv_nsec = CLEANUP_PAUSE_MS * 1000000L};
	int status = b->link.complaint[0] == '\0' ? clean_up_once(b) : SETT_IO;
	for (unsigned i = 0; status != SETT_OK && i < CLEANUP_TRIES; i++) {
		if (i > 0)
			(void)nanosleep(&pause, NULL); /* a signal may end it */
		(void)server_link_close(&b->link, EXIT_WELL);
		b->link.complaint[0] = '\0';
		status = server_link_open(&b->link) == EXIT_WELL ? clean_up_once(b) : no_link(b);
	}
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
	struct stat st;
	if (stat(b->source, &st) == 0 && S_ISSOCK(st.st_mode))
		b->link.socket = b->source;
	else if (!server_link_parse(&b->link, b->source))
		return sett_error_set(&b->error, SETT_INVALID, 0,
				      "%s is neither a directory nor a socket, nor HOST:PORT", b->source);
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
	struct stat st;
	int status = pour_path(manifest, sizeof(manifest), b->source, "MANIFEST", "", &b->error);
	if (status == SETT_OK && stat(manifest, &st) != 0)
		status = pour_failed("open", manifest, &b->error);
	/* The engine that opens it writes files, which a server of another user could not read. */
	if (status == SETT_OK && st.st_uid != geteuid())
		status = sett_error_set(
			&b->error, SETT_INVALID, EPERM,
			"%s belongs to user %u: a backup of a directory writes there, and must run as that "
			"user",
			manifest, (unsigned)st.st_uid);
	if (status == SETT_OK)
		status = pour_path(b->files, sizeof(b->files), b->source, OFFLINE_NAME, "", &b->error);
	if (status == SETT_OK)
		status = keys_open(b->source, &b->keys, &b->error);
	options.vfs = status == SETT_OK ? keys_vfs(b->keys) : NULL;
	if (status == SETT_OK)
		status = sett_engine_open(b->source, &options, &b->engine, &b->error);
	if (status == SETT_OK) /* what one that was killed has left */
		status = sett_checkpoint_discard(vfs_posix(), b->files, &b->error);
	if (status == SETT_OK)
		status = sett_checkpoint(b->engine, b->files, &b->commit, &b->error);
	b->owns = status == SETT_OK;
	return status == SETT_OK ? mark_target(b) : status;
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
	} else if (b->owns) {
		struct sett_error first = b->error;
		closed = clean_up(b);
		if (closed != SETT_OK && status == SETT_OK) {
			char why[sizeof(b->error.message)];
			memcpy(why, b->error.message, sizeof(why));
			closed = sett_error_set(
				&b->error, closed, 0,
				"the backup is whole, but the server keeps its files until BACKUP CLEANUP: "
				"%.300s",
				why);
		}
		if (status != SETT_OK)
			b->error = first;
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

static int
look_for_manifest(struct backup *b)
{
	char manifest[PATH_MAX];
	int status = pour_path(manifest, sizeof(manifest), b->target, BACKUP_MANIFEST_NAME, "", &b->error);
	return status == SETT_OK && access(manifest, F_OK) == 0 ? refuse_name(b, BACKUP_MANIFEST_NAME)
								: status;
}

/* That no other writes into the target (invariant 4). One that has ended meanwhile has removed the file that was opened. */
static int
lock_mark(struct backup *b, const char *part)
{
	struct stat own, named;
	bool is_free = flock(b->mark, LOCK_EX | LOCK_NB) == 0;
	if (!is_free && errno != EWOULDBLOCK)
		return pour_failed("flock", part, &b->error);
	if (is_free && fstat(b->mark, &own) == 0 && stat(part, &named) == 0 && own.st_ino == named.st_ino &&
	    own.st_dev == named.st_dev)
		return SETT_OK;
	return sett_error_set(&b->error, SETT_LOCKED, 0, "%s: another backup into it is at work", b->target);
}

/* Absent, empty, or with what one that was cut has left: nothing else is touched. */
static int
look_at_target(struct backup *b)
{
	char part[PATH_MAX];
	int status = pour_path(part, sizeof(part), b->target, PART_NAME, "", &b->error);
	if (status == SETT_OK)
		status = look_for_manifest(b);
	if (status != SETT_OK)
		return status;
	b->mark = open(part, O_RDWR | O_CLOEXEC);
	if (b->mark < 0 && errno != ENOENT)
		return pour_failed("open", part, &b->error);
	b->goes_on = b->mark >= 0;
	if (b->goes_on) {
		status = lock_mark(b, part);
		return status == SETT_OK ? read_mark(b) : status;
	}
	status = vfs_list(vfs_posix(), b->target, refuse_name, b, &b->error);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* There is something to copy: from now on it can be gone on with, if what is sealed is still there. Again once more is known. */
static int
mark_target(struct backup *b)
{
	char part[PATH_MAX];
	if (b->target == NULL || b->mark >= 0)
		return write_mark(b);
	int status = pour_make_directory(b->target, &b->error);
	if (status == SETT_OK)
		status = pour_path(part, sizeof(part), b->target, PART_NAME, "", &b->error);
	if (status != SETT_OK)
		return status;
	b->mark = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PART_MODE);
	if (b->mark < 0 && errno == EEXIST)
		return sett_error_set(&b->error, SETT_LOCKED, 0, "%s: another backup into it is at work",
				      b->target);
	if (b->mark < 0)
		return pour_failed("open", part, &b->error);
	status = lock_mark(b, part);
	if (status == SETT_OK) /* one that was begun and has ended since it was looked at */
		status = look_for_manifest(b);
	return status == SETT_OK ? write_mark(b) : status;
}

/* What a backup that was cut has written, and this one has not: nobody else's. */
static int
remove_stray(void *arg, const char *name)
{
	static const char suffix[] = ".part";
	struct backup *b = arg;
	char path[PATH_MAX], stem[NAME_MAX + 1];
	enum sett_file_kind kind;
	uint64_t number;
	size_t size = strlen(name), cut = sizeof(suffix) - 1;
	bool is_part = size > cut && strcmp(name + size - cut, suffix) == 0;
	snprintf(stem, sizeof(stem), "%.*s", (int)(is_part ? size - cut : size), name);
	bool is_ours = sett_file_classify(stem, &kind, &number) || strcmp(stem, BACKUP_MANIFEST_NAME) == 0 ||
		strcmp(stem, SETT_KEYS_NAME) == 0;
	if (!is_ours || backup_manifest_find(&b->new, name) != NULL)
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

/* SETT_OK: `ret` is a whole file of the base, or of one that it stands on; SETT_NOT_FOUND: none has it. (invariant 2) */
static int
find_in_base(struct backup *b, const struct backup_entry *e, char ret[PATH_MAX])
{
	for (size_t i = 0; i < b->places.count; i++) {
		struct stat st;
		struct sett_error unread = {0};
		uint64_t size, sum;
		int status = pour_path(ret, PATH_MAX, b->places.paths[i], e->name, "", &b->error);
		if (status != SETT_OK || is_there(ret, e))
			return status;
		if (stat(ret, &st) != 0 || (uint64_t)st.st_size != e->size)
			continue;
		b->pour.total += e->size;
		status = pour_file(&b->pour, ret, -1, NULL, &size, &sum, &unread);
		if (status == SETT_ABORTED)
			return sett_error_set(&b->error, status, unread.system_errno, "%s", unread.message);
		if (status == SETT_OK && size == e->size && sum == e->sum)
			return SETT_OK;
	}
	return SETT_NOT_FOUND;
}

/* A file of the base, by a link; or it is left to the base. SETT_NOT_FOUND: it is to be copied. */
static int
share(struct backup *b, const struct backup_entry *e)
{
	char from[PATH_MAX], path[PATH_MAX];
	int found = find_in_base(b, e, from);
	if (found != SETT_OK && (found != SETT_NOT_FOUND || !b->is_base_bare))
		return found;
	if (b->target == NULL) {
		b->absent_files++;
		return SETT_OK;
	}
	int status = pour_path(path, sizeof(path), b->target, e->name, "", &b->error);
	if (status != SETT_OK)
		return status;
	/* One that was cut may have made it. */
	if (unlink(path) != 0 && errno != ENOENT)
		return pour_failed("unlink", path, &b->error);
	if (found == SETT_OK && link(from, path) == 0)
		b->shared_files++;
	else if (found != SETT_OK || errno == EXDEV)
		b->absent_files++;
	else
		return SETT_NOT_FOUND;
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
	return pour_write(&b->pour, STDOUT_FILENO, "the pipe", &h, sizeof(h), &b->error);
}

/* Zeros to the end of a block. */
static int
put_padding(struct backup *b, uint64_t size)
{
	static const uint8_t zeros[TAR_BLOCK];
	size_t rest = (size_t)(size % TAR_BLOCK);
	return rest == 0
		? SETT_OK
		: pour_write(&b->pour, STDOUT_FILENO, "the pipe", zeros, TAR_BLOCK - rest, &b->error);
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
		status = pour_write(&b->pour, STDOUT_FILENO, "the pipe", manifest->data, manifest->size,
				    &b->error);
	if (status == SETT_OK)
		status = put_padding(b, manifest->size);
	return status == SETT_OK
		? pour_write(&b->pour, STDOUT_FILENO, "the pipe", zeros, sizeof(zeros), &b->error)
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
	bool is_ours = sett_file_classify(name, &kind, &number) || strcmp(name, SETT_KEYS_NAME) == 0;
	if (!is_ours || strlen(name) >= sizeof(e.name))
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
		int shared = share(b, e);
		if (shared != SETT_NOT_FOUND)
			return shared;
		b->pour.total += e->size;
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
		status = b->keys == NULL ? keys_open(b->files, &b->keys, &b->error) : SETT_OK;
	if (status == SETT_OK)
		status = sett_describe(b->files, keys_vfs(b->keys), &d, &b->error);
	if (status != SETT_OK)
		return status;
	b->new.commit = d.last;
	b->new.time_ms = d.now_ms;
	sett_description_free(&d);
	if (b->commit != 0 && b->new.commit != b->commit)
		return sett_error_set(
			&b->error, SETT_INVALID, 0,
			"%s is not what that server has sealed: the files are copied on the server's own "
			"machine",
			b->files);
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
		status = pour_bytes(&b->pour, text.data, text.size, b->target, BACKUP_MANIFEST_NAME,
				    &b->error);
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
	b->is_base_bare = stat(name, &st) != 0 || !S_ISDIR(st.st_mode);
	const char *directory = b->is_base_bare ? dirname(name) : name;
	if (realpath(directory, b->base_directory) == NULL || strchr(b->base_directory, '\n') != NULL)
		return pour_failed("realpath", b->base, &b->error);
	status = backup_places_add(&b->places, b->base_directory, &b->error);
	return status == SETT_OK ? backup_places_add_bases(&b->places, &b->error) : status;
}

/* Interrupts a write into a pipe that nobody reads, so that the server is asked nevertheless, and a signal that came just before it is seen. */
static void
set_alarm(long us)
{
	const struct itimerval timer = {.it_value.tv_usec = us, .it_interval.tv_usec = us};
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* it takes these numbers */
}

static int
take_source(struct backup *b)
{
	if (b->engine == NULL) {
		b->pour.tick = keep_sealed;
		b->pour.tick_arg = b;
	}
	set_alarm(POUR_TICK_NS / 1000);
	int status = take_files(b);
	if (status == SETT_OK)
		status = finish(b);
	set_alarm(0);
	return status;
}

static int
back_up(struct backup *b)
{
	int status = read_base(b);
	if (status == SETT_OK && b->target != NULL)
		status = look_at_target(b);
	if (status == SETT_OK) {
		status = open_source(b);
		if (status == SETT_OK)
			status = take_source(b);
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
	b.mark = -1;
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
	action.sa_handler = wake;
	sigaction(SIGALRM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* a pipe that is gone is an error of the write */
	int status = pour_init(&b.pour, b.is_quiet, "copied", &server_link_is_ended);
	if (status == SETT_OK)
		status = back_up(&b);
	if (status == SETT_OK)
		report(&b);
	else
		code = failure(status, &b.error);
	if (b.mark >= 0)
		(void)close(b.mark); /* what it says is there, or it is gone */
	pour_free(&b.pour);
	backup_places_free(&b.places);
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
		"a database's DIRECTORY that no server has open will do, whose files the caller owns.\n"
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
