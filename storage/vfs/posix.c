/* The machine's file system, through system calls alone: no state but the descriptor.
 *
 * Calls are repeated on EINTR and on short results, so callers see all or an error. A failed sync is *not*
 * repeated: the kernel may have dropped the dirty pages and would report success (see the "fsyncgate" threads
 * of the PostgreSQL list, 2018).
 *
 * Invariants
 *  - Under VFS_NOWAIT no call is made that may wait for the device, and fewer bytes than asked for are
 *    returned at the end of the file only; a part that is in memory with a rest that is not is
 *    SETT_WOULD_BLOCK.
 *  - Every error text names the call, the path and the system's reason. */
#include "storage/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vfs_error.h"

enum {
	POSIX_FILE_MODE = 0644,
	POSIX_DIRECTORY_MODE = 0755,
	POSIX_VECTOR = 128,          /* iovecs handed to the kernel at once */
	POSIX_ZEROS = 64 * 1024,     /* bytes per write where fallocate is missing */
	POSIX_MAX_TRANSFER = 1 << 30 /* bytes per system call; Linux' own bound is a little below 2 GiB */
};

struct posix_file {
	struct vfs_file base;
	int fd;
	bool is_directory;
	char path[]; /* for error texts */
};

static struct posix_file *
posix_file_of(struct vfs_file *f)
{
	return (struct posix_file *)f;
}

static struct posix_file *
posix_file_new(const char *path)
{
	size_t n = strlen(path) + 1;
	struct posix_file *f = malloc(sizeof *f + n);
	if (f == NULL)
		return NULL;
	f->base.vfs = vfs_posix();
	f->fd = -1;
	f->is_directory = false;
	memcpy(f->path, path, n);
	return f;
}

static int
posix_open_fd(const char *path, int flags)
{
	int fd;
	do
		fd = open(path, flags | O_CLOEXEC, POSIX_FILE_MODE);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static int
posix_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	if ((flags & (VFS_READ | VFS_WRITE)) == 0)
		return sett_error_set(error, SETT_INVALID, 0, "open %s: neither for reading nor for writing",
				      path);
	int mode = (flags & VFS_WRITE) == 0 ? O_RDONLY : (flags & VFS_READ) == 0 ? O_WRONLY : O_RDWR;
	if (flags & VFS_CREATE)
		mode |= O_CREAT | O_EXCL;
	if (flags & VFS_DIRECTORY)
		mode |= O_DIRECTORY;
	struct posix_file *f = posix_file_new(path);
	if (f == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "open %s: out of memory", path);
	f->is_directory = (flags & VFS_DIRECTORY) != 0;
	f->fd = posix_open_fd(path, mode);
	if (f->fd < 0) {
		int status = vfs_system_error(error, errno, "open", path);
		free(f);
		return status;
	}
	if (flags & VFS_SEQUENTIAL)
		(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint: refusal costs nothing */
	*ret = &f->base;
	return SETT_OK;
}

/* The descriptor is gone whatever close says (Linux frees it first), so it is never called twice. */
static int
posix_close(struct vfs_file *file, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	int status = SETT_OK;
	if (close(f->fd) != 0 && errno != EINTR)
		status = vfs_system_error(error, errno, "close", f->path);
	free(f);
	return status;
}

/* Some kernels (5.9, 5.10) answer 0 to a read that would wait: it is the end of the file only if the size
 * says so. */
static int
posix_check_end(struct posix_file *f, uint64_t offset, struct sett_error *error)
{
	struct stat st;
	if (fstat(f->fd, &st) != 0)
		return vfs_system_error(error, errno, "fstat", f->path);
	return offset < (uint64_t)st.st_size ? vfs_would_block(error, offset) : SETT_OK;
}

static int
posix_read(struct vfs_file *file, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	   struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	bool nowait = (flags & VFS_NOWAIT) != 0;
	size_t done = 0;
	while (done < size) {
		size_t want = size - done < POSIX_MAX_TRANSFER ? size - done : POSIX_MAX_TRANSFER;
		struct iovec part = {(uint8_t *)buf + done, want};
		ssize_t n = nowait ? preadv2(f->fd, &part, 1, (off_t)(offset + done), RWF_NOWAIT)
				   : pread(f->fd, part.iov_base, want, (off_t)(offset + done));
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n == 0) {
			int status = nowait ? posix_check_end(f, offset + done, error) : SETT_OK;
			if (status != SETT_OK)
				return status;
			break;
		}
		if (errno == EINTR)
			continue;
		/* A file system or kernel without RWF_NOWAIT can't promise not to wait. */
		if (nowait && (errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS))
			return vfs_would_block(error, offset + done);
		return vfs_system_error(error, errno, nowait ? "preadv2" : "pread", f->path);
	}
	*ret = done;
	return SETT_OK;
}

static void
posix_prefetch(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	(void)posix_fadvise(posix_file_of(file)->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

/* Without waiting it takes no errors off the file: the next fdatasync tells them. */
static void
posix_begin_sync(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	(void)sync_file_range(posix_file_of(file)->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

/* It takes an error off the file, so it has to be told here. */
static int
posix_sync_range(struct vfs_file *file, uint64_t offset, uint64_t size, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	int result;
	do
		result = sync_file_range(f->fd, (off_t)offset, (off_t)size,
					 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
						 SYNC_FILE_RANGE_WAIT_AFTER);
	while (result != 0 && errno == EINTR);
	if (result != 0 && (errno == ENOSYS || errno == ESPIPE || errno == EINVAL || errno == EPERM))
		return SETT_OK; /* not on this system, or not for this kind of file: `sync` will wait for all */
	return result == 0 ? SETT_OK : vfs_system_error(error, errno, "sync_file_range", f->path);
}

/* Where in the caller's vector a write stands. */
struct posix_cursor {
	const struct iovec *iov;
	int left;    /* iovecs from `iov` on */
	size_t skip; /* bytes of iov[0] already written */
};

/* Fills `part` with what comes next; returns how many were filled, 0 if all is written. */
static int
posix_cursor_next(struct posix_cursor *c, struct iovec part[POSIX_VECTOR])
{
	int n = 0;
	size_t total = 0;
	for (int i = 0; i < c->left && n < POSIX_VECTOR && total < POSIX_MAX_TRANSFER; i++) {
		size_t skip = i == 0 ? c->skip : 0;
		size_t length = c->iov[i].iov_len - skip;
		if (length == 0)
			continue;
		if (length > POSIX_MAX_TRANSFER - total)
			length = POSIX_MAX_TRANSFER - total;
		part[n++] = (struct iovec){(uint8_t *)c->iov[i].iov_base + skip, length};
		total += length;
	}
	return n;
}

static void
posix_cursor_advance(struct posix_cursor *c, size_t written)
{
	while (c->left > 0 && written >= c->iov[0].iov_len - c->skip) {
		written -= c->iov[0].iov_len - c->skip;
		c->iov++;
		c->left--;
		c->skip = 0;
	}
	c->skip += written;
}

static int
posix_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
	    struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	struct posix_cursor cursor = {iov, count, 0};
	struct iovec part[POSIX_VECTOR];
	int parts;
	while ((parts = posix_cursor_next(&cursor, part)) > 0) {
		ssize_t n = pwritev(f->fd, part, parts, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		/* Nothing written and no reason given: going on might never end. */
		if (n <= 0)
			return vfs_system_error(error, n < 0 ? errno : EIO, "pwritev", f->path);
		offset += (uint64_t)n;
		posix_cursor_advance(&cursor, (size_t)n);
	}
	return SETT_OK;
}

static int
posix_sync(struct vfs_file *file, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	int result;
	do
		result = f->is_directory ? fsync(f->fd) : fdatasync(f->fd);
	while (result != 0 && errno == EINTR);
	return result == 0 ? SETT_OK
			   : vfs_system_error(error, errno, f->is_directory ? "fsync" : "fdatasync", f->path);
}

static int
posix_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	struct stat st;
	if (fstat(f->fd, &st) != 0)
		return vfs_system_error(error, errno, "fstat", f->path);
	*ret = (uint64_t)st.st_size;
	return SETT_OK;
}

/* Where fallocate is missing (NFS before 4.2, some overlays): writing zeros reserves as well, only slower.
 * Holes below the file's present end stay holes. */
static int
posix_allocate_by_writing(struct posix_file *f, uint64_t size, struct sett_error *error)
{
	static const uint8_t zeros[POSIX_ZEROS];
	uint64_t at;
	int status = posix_size(&f->base, &at, error);
	while (status == SETT_OK && at < size) {
		size_t n = size - at < sizeof zeros ? (size_t)(size - at) : sizeof zeros;
		status = vfs_write_bytes(&f->base, zeros, n, at, error);
		at += n;
	}
	return status;
}

static int
posix_allocate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	if (size == 0)
		return SETT_OK;
	int result;
	do
		result = fallocate(f->fd, 0, 0, (off_t)size);
	while (result != 0 && errno == EINTR);
	if (result == 0)
		return SETT_OK;
	if (errno == EOPNOTSUPP || errno == ENOSYS)
		return posix_allocate_by_writing(f, size, error);
	return vfs_system_error(error, errno, "fallocate", f->path);
}

static int
posix_truncate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct posix_file *f = posix_file_of(file);
	int result;
	do
		result = ftruncate(f->fd, (off_t)size);
	while (result != 0 && errno == EINTR);
	return result == 0 ? SETT_OK : vfs_system_error(error, errno, "ftruncate", f->path);
}

static int
posix_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	return unlink(path) == 0 ? SETT_OK : vfs_system_error(error, errno, "unlink", path);
}

static int
posix_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return rename(from, to) == 0 ? SETT_OK : vfs_system_error(error, errno, "rename", from);
}

static int
posix_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return link(from, to) == 0 ? SETT_OK : vfs_system_error(error, errno, "link", to);
}

static int
posix_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	if (mkdir(path, POSIX_DIRECTORY_MODE) == 0)
		return SETT_OK;
	if (errno != EEXIST)
		return vfs_system_error(error, errno, "mkdir", path);
	struct stat st;
	if (stat(path, &st) != 0)
		return vfs_system_error(error, errno, "stat", path);
	return S_ISDIR(st.st_mode) ? SETT_OK : vfs_system_error(error, ENOTDIR, "mkdir", path);
}

static int
posix_list(struct vfs *v, const char *path, int (*each)(void *arg, const char *name), void *arg,
	   struct sett_error *error)
{
	DIR *directory = opendir(path);
	if (directory == NULL)
		return vfs_system_error(error, errno, "opendir", path);
	int status = SETT_OK;
	while (status == SETT_OK) {
		errno = 0;
		struct dirent *entry = readdir(directory);
		if (entry == NULL) {
			if (errno != 0)
				status = vfs_system_error(error, errno, "readdir", path);
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			status = each(arg, entry->d_name);
	}
	(void)closedir(directory);
	return status;
}

/* An open file description lock: unlike fcntl's older kind it is not dropped when some other descriptor of
 * the file is closed, and it holds between two users in one process too. */
static int
lock_file(const char *path, int open_flags, short type, struct vfs_file **ret, struct sett_error *error)
{
	struct posix_file *f = posix_file_new(path);
	if (f == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "lock %s: out of memory", path);
	int status = SETT_OK;
	f->fd = posix_open_fd(path, open_flags);
	if (f->fd < 0) {
		status = vfs_system_error(error, errno, "open", path);
		goto out;
	}
	struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
	if (fcntl(f->fd, F_OFD_SETLK, &whole) == 0) {
		*ret = &f->base;
		return SETT_OK;
	}
	if (errno == EAGAIN || errno == EACCES)
		status = sett_error_set(error, SETT_LOCKED, errno, "lock %s: held by another process", path);
	else
		status = vfs_system_error(error, errno, "fcntl", path);
	(void)close(f->fd);
out:
	free(f);
	return status;
}

static int
posix_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return lock_file(path, O_RDWR | O_CREAT, F_WRLCK, ret, error);
}

static int
posix_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return lock_file(path, O_RDONLY, F_RDLCK, ret, error);
}

static int
posix_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	struct statvfs st;
	int result;
	do
		result = statvfs(path, &st);
	while (result != 0 && errno == EINTR);
	if (result != 0)
		return vfs_system_error(error, errno, "statvfs", path);
	*ret = (uint64_t)st.f_bavail * st.f_frsize;
	return SETT_OK;
}

static void
posix_destroy(struct vfs *v)
{
	/* It lives for ever. */
}

struct vfs *
vfs_posix(void)
{
	static const struct vfs_operations operations = {
		.open = posix_open,
		.close = posix_close,
		.read = posix_read,
		.prefetch = posix_prefetch,
		.begin_sync = posix_begin_sync,
		.write = posix_write,
		.sync_range = posix_sync_range,
		.sync = posix_sync,
		.allocate = posix_allocate,
		.truncate = posix_truncate,
		.size = posix_size,
		.remove = posix_remove,
		.rename = posix_rename,
		.link = posix_link,
		.make_directory = posix_make_directory,
		.list = posix_list,
		.lock = posix_lock,
		.lock_shared = posix_lock_shared,
		.free_space = posix_free_space,
		.destroy = posix_destroy,
	};
	static struct vfs posix = {&operations};
	return &posix;
}
