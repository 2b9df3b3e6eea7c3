/* A shim for LD_PRELOAD: keeps, beside the files of a server, what a power cut would leave of them.
 *
 *     $SYNCED_ROOT            the server's folder, as its programs see it
 *     $SYNCED_COPY/names/     what is durable of it: the names, each a link to
 *     $SYNCED_COPY/files/     the contents
 *
 * - Bytes are durable once fdatasync or fsync of their file has returned: it copies what was written since the last one. A
 *   hint (sync_file_range that only begins to write) makes nothing durable.
 * - Names (made, renamed, removed) are durable once fsync of their folder has returned.
 * - Nothing is synced really, as the copy is the disk: kill the server, and put the names in place of its folder.
 *
 * Before a start the copy must hold the folder as it is. Clean bytes are the same on both sides, so one range per file is
 * enough to know what is to be copied. A call that fails here ends the program: a test must not go on with half a disk. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FD_MAX = 65536, COPY_SIZE = 256 * 1024 };

struct file {
	struct file *next;
	ino_t inode;
	bool is_directory;
	char copy[PATH_MAX]; /* of its content; of a folder: its path below the root */
	/* under the lock: written and not copied, and whether the size may have changed */
	uint64_t from, to;
	bool is_resized;
	pthread_mutex_t syncing; /* who syncs waits for who does it already */
};

enum change_kind { NAME_MADE, NAME_MOVED, NAME_REMOVED };
struct change {
	struct change *next;
	enum change_kind kind;
	char name[PATH_MAX], to[PATH_MAX]; /* below the root */
	char copy[PATH_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files; /* newest first: a number of an inode may come again */
static struct file *open_files[FD_MAX];
static struct change *changes, **last_change = &changes;
static char *root, *copy_root;
static unsigned copies;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static void
fail(const char *what, const char *name)
{
	dprintf(2, "synced_files: %s %s: %s\n", what, name, strerror(errno));
	_exit(99);
}

static void
find(void *to, const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (function == NULL)
		fail("dlsym", name);
	memcpy(to, &function, sizeof(function));
}

/* A copy: the server writes its title over its environment. */
static char *
setting(const char *name)
{
	const char *value = getenv(name);
	char *copy = value != NULL && value[0] == '/' ? strdup(value) : NULL;
	if (copy == NULL)
		fail("setting", name);
	return copy;
}

__attribute__((constructor)) static void
begin(void)
{
	find(&real_open, "open64");
	find(&real_close, "close");
	find(&real_write, "write");
	find(&real_pwritev, "pwritev64");
	find(&real_fsync, "fsync");
	find(&real_fdatasync, "fdatasync");
	find(&real_ftruncate, "ftruncate64");
	find(&real_fallocate, "fallocate64");
	find(&real_rename, "rename");
	find(&real_unlink, "unlink");
	root = setting("SYNCED_ROOT");
	copy_root = setting("SYNCED_COPY");
}

/* ---- paths ---- */

static void
join(char to[PATH_MAX], const char *first, const char *second, const char *third)
{
	if (snprintf(to, PATH_MAX, "%s/%s/%s", first, second, third) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		fail("path", third);
	}
}

/* The part below the root; NULL: it lies elsewhere. */
static const char *
below_root(const char *path, char room[PATH_MAX])
{
	if (path[0] != '/') {
		char here[PATH_MAX];
		if (getcwd(here, sizeof(here)) == NULL)
			fail("getcwd", path);
		join(room, here, ".", path);
		path = room;
	}
	size_t n = strlen(root);
	if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	path += n;
	while (path[0] == '/' || (path[0] == '.' && (path[1] == '/' || path[1] == '\0')))
		path++;
	return path;
}

static bool
is_directly_in(const char *name, const char *directory)
{
	const char *slash = strrchr(name, '/');
	size_t n = slash != NULL ? (size_t)(slash - name) : 0;
	return strlen(directory) == n && strncmp(name, directory, n) == 0;
}

/* ---- files ---- */

static void
new_copy_locked(char to[PATH_MAX])
{
	char name[64];
	snprintf(name, sizeof(name), "%d.%u", (int)getpid(), copies++);
	join(to, copy_root, "files", name);
}

static struct change *
add_change_locked(enum change_kind kind, const char *name)
{
	struct change *c = calloc(1, sizeof(*c));
	if (c == NULL)
		fail("memory for", name);
	c->kind = kind;
	snprintf(c->name, sizeof(c->name), "%s", name);
	*last_change = c;
	last_change = &c->next;
	return c;
}

static struct file *
add_file_locked(const char *name, const struct stat *st, bool is_new)
{
	struct file *f = calloc(1, sizeof(*f));
	if (f == NULL)
		fail("memory for", name);
	pthread_mutex_init(&f->syncing, NULL);
	f->inode = st->st_ino;
	f->is_directory = S_ISDIR(st->st_mode);
	if (f->is_directory) {
		snprintf(f->copy, sizeof(f->copy), "%s", name);
	} else if (is_new) {
		new_copy_locked(f->copy);
		int fd = real_open(f->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || real_close(fd) != 0)
			fail("open", f->copy);
		struct change *c = add_change_locked(NAME_MADE, name);
		memcpy(c->copy, f->copy, sizeof(c->copy));
	} else {
		char durable[PATH_MAX];
		join(durable, copy_root, "names", name);
		new_copy_locked(f->copy);
		if (link(durable, f->copy) != 0)
			fail("link", durable);
	}
	f->next = files;
	return files = f;
}

static void
note_open(int fd, const char *path, bool is_new)
{
	char room[PATH_MAX];
	struct stat st;
	const char *name = below_root(path, room);
	if (name == NULL || fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	if (fd >= FD_MAX) {
		errno = EMFILE;
		fail("open", path);
	}
	pthread_mutex_lock(&lock);
	struct file *f = files;
	while (f != NULL && f->inode != st.st_ino)
		f = f->next;
	if (f == NULL || is_new)
		f = add_file_locked(name, &st, is_new);
	open_files[fd] = f;
	pthread_mutex_unlock(&lock);
}

static struct file *
file_of(int fd)
{
	if (fd < 0 || fd >= FD_MAX)
		return NULL;
	return __atomic_load_n(&open_files[fd], __ATOMIC_ACQUIRE);
}

static void
note_bytes(struct file *f, uint64_t from, uint64_t to)
{
	pthread_mutex_lock(&lock);
	if (f->from == f->to) {
		f->from = from;
		f->to = to;
	} else {
		f->from = from < f->from ? from : f->from;
		f->to = to > f->to ? to : f->to;
	}
	pthread_mutex_unlock(&lock);
}

static void
note_size(struct file *f)
{
	pthread_mutex_lock(&lock);
	f->is_resized = true;
	pthread_mutex_unlock(&lock);
}

/* ---- syncs ---- */

static void
copy_bytes(int fd, int to, uint64_t at, uint64_t end, const char *name)
{
	uint8_t *room = malloc(COPY_SIZE);
	while (room != NULL && at < end) {
		size_t size = end - at < COPY_SIZE ? (size_t)(end - at) : COPY_SIZE;
		ssize_t n = pread(fd, room, size, (off_t)at);
		if (n == 0)
			break; /* it has become shorter */
		if (n < 0 || pwrite(to, room, (size_t)n, (off_t)at) != n)
			fail("copy", name);
		at += (uint64_t)n;
	}
	if (room == NULL)
		fail("memory for", name);
	free(room);
}

static void
sync_file(struct file *f, int fd)
{
	struct stat st;
	pthread_mutex_lock(&f->syncing);
	pthread_mutex_lock(&lock);
	uint64_t from = f->from, end = f->to;
	bool is_resized = f->is_resized;
	f->from = f->to = 0;
	f->is_resized = false;
	pthread_mutex_unlock(&lock);
	if (from != end || is_resized) {
		char own[64];
		/* One that may read, whatever the other was opened for. */
		snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
		int in = real_open(own, O_RDONLY | O_CLOEXEC);
		int out = real_open(f->copy, O_WRONLY | O_CLOEXEC);
		if (in < 0 || out < 0 || fstat(in, &st) != 0 || real_ftruncate(out, st.st_size) != 0)
			fail("open", f->copy);
		copy_bytes(in, out, from, end, f->copy);
		if (real_close(in) != 0 || real_close(out) != 0)
			fail("close", f->copy);
	}
	pthread_mutex_unlock(&f->syncing);
}

static void
apply_change(const struct change *c)
{
	char name[PATH_MAX], to[PATH_MAX];
	join(name, copy_root, "names", c->name);
	switch (c->kind) {
	case NAME_MADE:
		if ((real_unlink(name) != 0 && errno != ENOENT) || link(c->copy, name) != 0)
			fail("link", name);
		break;
	case NAME_MOVED:
		join(to, copy_root, "names", c->to);
		if (real_rename(name, to) != 0)
			fail("rename", name);
		break;
	case NAME_REMOVED:
		if (real_unlink(name) != 0)
			fail("unlink", name);
		break;
	}
}

static void
sync_names(const char *directory)
{
	pthread_mutex_lock(&lock);
	struct change **place = &changes;
	while (*place != NULL) {
		struct change *c = *place;
		if (!is_directly_in(c->name, directory)) {
			place = &c->next;
			continue;
		}
		apply_change(c);
		*place = c->next;
		free(c);
	}
	last_change = place;
	pthread_mutex_unlock(&lock);
}

/* ---- what stands in for the system's ---- */

#define SHOWN __attribute__((visibility("default")))

SHOWN int
open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	struct stat st;
	va_list list;
	va_start(list, flags);
	if ((flags & (O_CREAT | O_TMPFILE)) != 0)
		mode = va_arg(list, mode_t);
	va_end(list);
	bool is_new = (flags & O_CREAT) != 0 && stat(path, &st) != 0;
	int fd = real_open(path, flags, mode);
	if (fd >= 0)
		note_open(fd, path, is_new);
	return fd;
}

SHOWN int
close(int fd)
{
	if (fd >= 0 && fd < FD_MAX)
		__atomic_store_n(&open_files[fd], NULL, __ATOMIC_RELEASE);
	return real_close(fd);
}

SHOWN ssize_t
write(int fd, const void *data, size_t size)
{
	struct file *f = file_of(fd);
	off_t at = f != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = real_write(fd, data, size);
	if (f != NULL && n > 0) {
		note_bytes(f, (uint64_t)at, (uint64_t)at + (uint64_t)n);
		note_size(f);
	}
	return n;
}

SHOWN ssize_t
pwritev64(int fd, const struct iovec *iov, int count, off_t at)
{
	struct file *f = file_of(fd);
	ssize_t n = real_pwritev(fd, iov, count, at);
	if (f != NULL && n > 0) {
		note_bytes(f, (uint64_t)at, (uint64_t)at + (uint64_t)n);
		note_size(f);
	}
	return n;
}

SHOWN int
ftruncate64(int fd, off_t size)
{
	struct file *f = file_of(fd);
	struct stat st;
	if (f == NULL || fstat(fd, &st) != 0)
		return real_ftruncate(fd, size);
	int result = real_ftruncate(fd, size);
	if (size < st.st_size)
		note_bytes(f, (uint64_t)size, (uint64_t)st.st_size);
	note_size(f);
	return result;
}

SHOWN int
fallocate64(int fd, int mode, off_t at, off_t size)
{
	int result = real_fallocate(fd, mode, at, size);
	if (file_of(fd) != NULL)
		note_size(file_of(fd));
	return result;
}

SHOWN int
fsync(int fd)
{
	struct file *f = file_of(fd);
	if (f == NULL)
		return real_fsync(fd);
	if (f->is_directory)
		sync_names(f->copy);
	else
		sync_file(f, fd);
	return 0;
}

SHOWN int
fdatasync(int fd)
{
	return file_of(fd) != NULL ? fsync(fd) : real_fdatasync(fd);
}

SHOWN int
rename(const char *from, const char *to)
{
	char from_room[PATH_MAX], to_room[PATH_MAX];
	const char *from_name = below_root(from, from_room), *to_name = below_root(to, to_room);
	pthread_mutex_lock(&lock);
	int result = real_rename(from, to);
	int saved_errno = errno;
	if (result == 0 && from_name != NULL && to_name != NULL) {
		struct change *c = add_change_locked(NAME_MOVED, from_name);
		snprintf(c->to, sizeof(c->to), "%s", to_name);
	}
	pthread_mutex_unlock(&lock);
	errno = saved_errno;
	return result;
}

SHOWN int
unlink(const char *path)
{
	char room[PATH_MAX];
	const char *name = below_root(path, room);
	pthread_mutex_lock(&lock);
	int result = real_unlink(path);
	int saved_errno = errno;
	if (result == 0 && name != NULL)
		add_change_locked(NAME_REMOVED, name);
	pthread_mutex_unlock(&lock);
	errno = saved_errno;
	return result;
}
