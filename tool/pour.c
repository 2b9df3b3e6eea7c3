/* See pour.h. */
#include "pour.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base/clock.h"
#include "storage/vfs.h"
#include "text.h"

enum { ROOM_SIZE = 1 << 20, FILE_MODE = 0640 };
#define SHOWN_NS 1000000000ull
#define NS_PER_SECOND 1000000000

int
pour_init(struct pour *p, bool is_quiet, const char *verb, const volatile sig_atomic_t *is_ended)
{
	*p = (struct pour){.is_quiet = is_quiet,
			   .verb = verb,
			   .is_ended = is_ended,
			   .room = malloc(ROOM_SIZE),
			   .hash = hash64_stream_create(),
			   .shown_ns = clock_monotonic_ns(sett_system_clock())};
	return p->room != NULL && p->hash != NULL ? SETT_OK : SETT_NO_MEMORY;
}

void
pour_free(struct pour *p)
{
	free(p->room);
	hash64_stream_free(p->hash);
}

int
pour_failed(const char *call, const char *path, struct sett_error *error)
{
	int number = errno;
	int status = number == ENOENT                  ? SETT_NOT_FOUND
		: number == ENOSPC || number == EDQUOT ? SETT_NO_SPACE
						       : SETT_IO;
	return sett_error_set(error, status, number, "%s %s: %s", call, path, strerror(number));
}

int
pour_path(char *ret, size_t size, const char *directory, const char *name, const char *suffix,
	  struct sett_error *error)
{
	int n = snprintf(ret, size, "%s/%s%s", directory, name, suffix);
	return n > 0 && (size_t)n < size
		? SETT_OK
		: sett_error_set(error, SETT_INVALID, ENAMETOOLONG, "%s: the path is too long", directory);
}

static void
show(struct pour *p)
{
	uint64_t now = clock_monotonic_ns(sett_system_clock());
	if (p->is_quiet || now - p->shown_ns < SHOWN_NS)
		return;
	p->shown_ns = now;
	fprintf(stderr, "sett-tool: %s of %s %s\n", size_text(p->done).text, size_text(p->total).text,
		p->verb);
}

/* SETT_ABORTED: it is to end. */
static int
go_on(struct pour *p, struct sett_error *error)
{
	if (p->is_ended != NULL && *p->is_ended)
		return sett_error_set(error, SETT_ABORTED, EINTR, "interrupted");
	uint64_t now = clock_monotonic_ns(sett_system_clock());
	if (p->tick != NULL && now - p->ticked_ns >= POUR_TICK_NS) {
		p->ticked_ns = now;
		p->tick(p->tick_arg);
	}
	return SETT_OK;
}

int
pour_write(struct pour *p, int to, const char *to_name, const void *data, size_t size,
	   struct sett_error *error)
{
	for (size_t done = 0; done < size;) {
		int status = go_on(p, error);
		if (status != SETT_OK)
			return status;
		ssize_t n = write(to, (const uint8_t *)data + done, size - done);
		if (n < 0 && errno != EINTR)
			return pour_failed("write", to_name, error);
		done += n > 0 ? (size_t)n : 0;
	}
	return SETT_OK;
}

static int
pour_all(struct pour *p, int from, const char *from_name, int to, const char *to_name, uint64_t *ret_size,
	 struct sett_error *error)
{
	hash64_stream_reset(p->hash, 0);
	for (*ret_size = 0;;) {
		int status = go_on(p, error);
		if (status != SETT_OK)
			return status;
		ssize_t n = read(from, p->room, ROOM_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pour_failed("read", from_name, error);
		if (n == 0)
			return SETT_OK;
		hash64_stream_update(p->hash, p->room, (size_t)n);
		status = to < 0 ? SETT_OK : pour_write(p, to, to_name, p->room, (size_t)n, error);
		if (status != SETT_OK)
			return status;
		*ret_size += (uint64_t)n;
		p->done += (uint64_t)n;
		show(p);
	}
}

int
pour_file(struct pour *p, const char *from, int to, const char *to_name, uint64_t *ret_size,
	  uint64_t *ret_sum, struct sett_error *error)
{
	int file = open(from, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return pour_failed("open", from, error);
	(void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
	int status = pour_all(p, file, from, to, to_name, ret_size, error);
	(void)close(file); /* nothing was written to it */
	if (status == SETT_OK)
		*ret_sum = hash64_stream_digest(p->hash);
	return status;
}

/* On the device under its name, or gone. Closes the file. */
static int
finish(int file, int status, const char *part, const char *path, int64_t mtime_ns, struct sett_error *error)
{
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = mtime_ns / NS_PER_SECOND, .tv_nsec = mtime_ns % NS_PER_SECOND},
	};
	if (status == SETT_OK && mtime_ns > 0 && futimens(file, times) != 0)
		status = pour_failed("futimens", part, error);
	if (status == SETT_OK && fsync(file) != 0)
		status = pour_failed("fsync", part, error);
	if (close(file) != 0 && status == SETT_OK)
		status = pour_failed("close", part, error);
	if (status == SETT_OK && rename(part, path) != 0)
		status = pour_failed("rename", part, error);
	if (status != SETT_OK)
		(void)unlink(part); /* what stays is no file of a backup by its name */
	return status;
}

static int
create_part(const char *directory, const char *name, char *part, char *path, int *ret,
	    struct sett_error *error)
{
	int status = pour_path(part, PATH_MAX, directory, name, ".part", error);
	if (status == SETT_OK)
		status = pour_path(path, PATH_MAX, directory, name, "", error);
	if (status != SETT_OK)
		return status;
	*ret = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	return *ret < 0 ? pour_failed("open", part, error) : SETT_OK;
}

int
pour_copy(struct pour *p, const char *from, const char *directory, const char *name, int64_t mtime_ns,
	  uint64_t *ret_size, uint64_t *ret_sum, struct sett_error *error)
{
	char part[PATH_MAX], path[PATH_MAX];
	int file;
	int status = create_part(directory, name, part, path, &file, error);
	if (status != SETT_OK)
		return status;
	status = pour_file(p, from, file, part, ret_size, ret_sum, error);
	return finish(file, status, part, path, mtime_ns, error);
}

int
pour_bytes(struct pour *p, const void *data, size_t size, const char *directory, const char *name,
	   struct sett_error *error)
{
	char part[PATH_MAX], path[PATH_MAX];
	int file;
	int status = create_part(directory, name, part, path, &file, error);
	if (status != SETT_OK)
		return status;
	status = pour_write(p, file, part, data, size, error);
	return finish(file, status, part, path, 0, error);
}

int
pour_make_directory(const char *directory, struct sett_error *error)
{
	return vfs_make_durable_directory(vfs_posix(), directory, error);
}

int
pour_sync_directory(const char *directory, struct sett_error *error)
{
	return vfs_sync_directory(vfs_posix(), directory, error);
}
