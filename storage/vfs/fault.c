/* A vfs that fails on request, around one that works. It serves fault sweeps: run a scenario, count its calls
 * of a kind, then run it again for each n with the n-th failing, and look at what is left.
 *
 * What a fault leaves behind is what a device would: a failed write wrote nothing (or, short, the first half
 * of its bytes), a failed sync made nothing durable.
 *
 * A call may be of several kinds (every write may also be cut short, or find the disk full); each of them
 * counts it, and the first armed one in the order of the enum decides. */
#include "storage/vfs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/thread.h"
#include "vfs_error.h"

struct fault {
	uint64_t count; /* calls so far */
	uint64_t at;    /* the call to fail, 0 if none */
	bool sticky;
};

struct fault_vfs {
	struct vfs base;
	struct vfs *inner;
	struct mutex mutex; /* covers `faults` */
	struct fault faults[VFS_FAULT_KINDS];
	uint64_t prefetches; /* atomic */
};

struct fault_file {
	struct vfs_file base;
	struct vfs_file *inner;
	bool is_directory;
	char path[]; /* for error texts */
};

static const struct vfs_operations fault_operations;

static struct fault_vfs *
fault_of(struct vfs *v)
{
	assert(v->operations == &fault_operations);
	return (struct fault_vfs *)v;
}

static struct fault_file *
fault_file_of(struct vfs_file *f)
{
	return (struct fault_file *)f;
}

/* Counts a call of this kind; true if it is to fail. */
static bool
strikes(struct vfs *v, enum vfs_fault_kind kind)
{
	struct fault_vfs *v_fault = fault_of(v);
	mutex_lock(&v_fault->mutex);
	struct fault *f = &v_fault->faults[kind];
	f->count++;
	bool strike = f->at != 0 && (f->count == f->at || (f->sticky && f->count > f->at));
	mutex_unlock(&v_fault->mutex);
	return strike;
}

/* ---- files ---- */

enum opening { TO_USE, TO_LOCK, TO_LOCK_SHARED };

/* Puts a file of the inner vfs into one of ours. */
static int
open_file(struct vfs *v, const char *path, unsigned flags, enum opening why, struct vfs_file **ret,
	  struct sett_error *error)
{
	size_t path_size = strlen(path) + 1;
	struct fault_file *f = malloc(sizeof *f + path_size);
	if (f == NULL)
		return vfs_system_error(error, ENOMEM, "open", path);
	f->base.vfs = v;
	f->is_directory = (flags & VFS_DIRECTORY) != 0;
	memcpy(f->path, path, path_size);
	struct vfs *inner = fault_of(v)->inner;
	int status = why == TO_LOCK     ? vfs_lock(inner, path, &f->inner, error)
		: why == TO_LOCK_SHARED ? vfs_lock_shared(inner, path, &f->inner, error)
					: vfs_open(inner, path, flags, &f->inner, error);
	if (status != SETT_OK) {
		free(f);
		return status;
	}
	*ret = &f->base;
	return SETT_OK;
}

static int
fault_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	bool creates = (flags & VFS_CREATE) != 0;
	if (strikes(v, creates ? VFS_FAULT_DIRECTORY : VFS_FAULT_OPEN))
		return vfs_system_error(error, creates ? EIO : EMFILE, "open", path);
	return open_file(v, path, flags, TO_USE, ret, error);
}

static int
fault_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return open_file(v, path, 0, TO_LOCK, ret, error);
}

static int
fault_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return open_file(v, path, 0, TO_LOCK_SHARED, ret, error);
}

static int
fault_close(struct vfs_file *file, struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	int status = vfs_close(f->inner, error);
	free(f);
	return status;
}

static int
fault_read(struct vfs_file *file, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	   struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	if (strikes(file->vfs, VFS_FAULT_READ))
		return vfs_system_error(error, EIO, "read", f->path);
	return vfs_read(f->inner, buf, size, offset, flags, ret, error);
}

static void
fault_prefetch(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	__atomic_fetch_add(&fault_of(file->vfs)->prefetches, 1, __ATOMIC_RELAXED);
	vfs_prefetch(fault_file_of(file)->inner, offset, size);
}

static void
fault_begin_sync(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	vfs_begin_sync(fault_file_of(file)->inner, offset, size);
}

/* Writes the first half of the bytes, and fails. */
static int
write_short(struct fault_file *f, const struct iovec *iov, int count, uint64_t offset,
	    struct sett_error *error)
{
	size_t total = 0;
	for (int i = 0; i < count; i++)
		total += iov[i].iov_len;
	size_t left = total / 2;
	for (int i = 0; i < count && left > 0; i++) {
		size_t n = iov[i].iov_len < left ? iov[i].iov_len : left;
		int status = vfs_write_bytes(f->inner, iov[i].iov_base, n, offset, error);
		if (status != SETT_OK)
			return status;
		offset += n;
		left -= n;
	}
	return vfs_system_error(error, EIO, "write", f->path);
}

static int
fault_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
	    struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	bool fails = strikes(file->vfs, VFS_FAULT_WRITE);
	bool is_short = strikes(file->vfs, VFS_FAULT_SHORT_WRITE);
	bool no_space = strikes(file->vfs, VFS_FAULT_NO_SPACE);
	if (fails)
		return vfs_system_error(error, EIO, "write", f->path);
	if (is_short)
		return write_short(f, iov, count, offset, error);
	if (no_space)
		return vfs_system_error(error, ENOSPC, "write", f->path);
	return vfs_write(f->inner, iov, count, offset, error);
}

static int
fault_sync_range(struct vfs_file *file, uint64_t offset, uint64_t size, struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	if (strikes(file->vfs, VFS_FAULT_SYNC))
		return vfs_system_error(error, EIO, "sync_file_range", f->path);
	return vfs_sync_range(f->inner, offset, size, error);
}

static int
fault_sync(struct vfs_file *file, struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	if (strikes(file->vfs, f->is_directory ? VFS_FAULT_DIRECTORY : VFS_FAULT_SYNC))
		return vfs_system_error(error, EIO, "sync", f->path);
	return vfs_sync(f->inner, error);
}

static int
fault_allocate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	bool no_space = strikes(file->vfs, VFS_FAULT_NO_SPACE);
	bool fails = strikes(file->vfs, VFS_FAULT_RESIZE);
	if (no_space || fails)
		return vfs_system_error(error, no_space ? ENOSPC : EIO, "allocate", f->path);
	return vfs_allocate(f->inner, size, error);
}

static int
fault_truncate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct fault_file *f = fault_file_of(file);
	if (strikes(file->vfs, VFS_FAULT_RESIZE))
		return vfs_system_error(error, EIO, "truncate", f->path);
	return vfs_truncate(f->inner, size, error);
}

static int
fault_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	return vfs_size(fault_file_of(file)->inner, ret, error);
}

/* ---- directories ---- */

static int
fault_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	if (strikes(v, VFS_FAULT_DIRECTORY))
		return vfs_system_error(error, EIO, "remove", path);
	return vfs_remove(fault_of(v)->inner, path, error);
}

static int
fault_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	if (strikes(v, VFS_FAULT_DIRECTORY))
		return vfs_system_error(error, EIO, "rename", from);
	return vfs_rename(fault_of(v)->inner, from, to, error);
}

static int
fault_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	if (strikes(v, VFS_FAULT_DIRECTORY))
		return vfs_system_error(error, EIO, "link", to);
	return vfs_link(fault_of(v)->inner, from, to, error);
}

static int
fault_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_make_directory(fault_of(v)->inner, path, error);
}

static int
fault_list(struct vfs *v, const char *path, int (*each)(void *arg, const char *name), void *arg,
	   struct sett_error *error)
{
	return vfs_list(fault_of(v)->inner, path, each, arg, error);
}

static int
fault_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	return vfs_free_space(fault_of(v)->inner, path, ret, error);
}

static void
fault_destroy(struct vfs *v)
{
	struct fault_vfs *f = fault_of(v);
	mutex_destroy(&f->mutex);
	free(f);
}

static const struct vfs_operations fault_operations = {
	.open = fault_open,
	.close = fault_close,
	.read = fault_read,
	.prefetch = fault_prefetch,
	.begin_sync = fault_begin_sync,
	.write = fault_write,
	.sync_range = fault_sync_range,
	.sync = fault_sync,
	.allocate = fault_allocate,
	.truncate = fault_truncate,
	.size = fault_size,
	.remove = fault_remove,
	.rename = fault_rename,
	.link = fault_link,
	.make_directory = fault_make_directory,
	.list = fault_list,
	.lock = fault_lock,
	.lock_shared = fault_lock_shared,
	.free_space = fault_free_space,
	.destroy = fault_destroy,
};

struct vfs *
vfs_fault_create(struct vfs *inner)
{
	struct fault_vfs *f = calloc(1, sizeof *f);
	if (f == NULL)
		return NULL;
	f->base.operations = &fault_operations;
	f->base.keys = inner->keys;
	f->inner = inner;
	mutex_init(&f->mutex);
	return &f->base;
}

void
vfs_fault_arm(struct vfs *v, enum vfs_fault_kind kind, uint64_t n, bool sticky)
{
	assert(kind < VFS_FAULT_KINDS);
	struct fault_vfs *f = fault_of(v);
	mutex_lock(&f->mutex);
	struct fault *fault = &f->faults[kind];
	fault->at = n == 0 ? 0 : fault->count + n;
	fault->sticky = sticky;
	mutex_unlock(&f->mutex);
}

uint64_t
vfs_fault_count(struct vfs *v, enum vfs_fault_kind kind)
{
	assert(kind < VFS_FAULT_KINDS);
	struct fault_vfs *f = fault_of(v);
	mutex_lock(&f->mutex);
	uint64_t n = f->faults[kind].count;
	mutex_unlock(&f->mutex);
	return n;
}

uint64_t
vfs_fault_prefetch_count(struct vfs *v)
{
	return __atomic_load_n(&fault_of(v)->prefetches, __ATOMIC_RELAXED);
}
