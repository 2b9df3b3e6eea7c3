#include "reserve.h"

#include <stdlib.h>

#include "storage/base/thread.h"
#include "storage/limits.h"

struct reserve {
	struct vfs *vfs;
	char path[SETT_PATH_MAX];
	struct mutex lock;     /* guards the rest */
	struct vfs_file *file; /* NULL: not made yet */
	uint64_t bytes;        /* atomic; stored under the lock */
};

static void
set_bytes(struct reserve *r, uint64_t bytes)
{
	/* relaxed: readers use the number by itself */
	__atomic_store_n(&r->bytes, bytes, __ATOMIC_RELAXED);
}

int
reserve_open(struct vfs *vfs, const char *directory, struct reserve **ret, struct sett_error *error)
{
	struct reserve *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	r->vfs = vfs;
	mutex_init(&r->lock);
	if (snprintf(r->path, sizeof(r->path), "%s/RESERVE", directory) >= (int)sizeof(r->path)) {
		reserve_close(r);
		return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", directory);
	}
	int status = vfs_open(vfs, r->path, VFS_READ | VFS_WRITE, &r->file, error);
	if (status == SETT_OK)
		status = vfs_size(r->file, &r->bytes, error);
	else if (status == SETT_NOT_FOUND)
		status = SETT_OK;
	if (status != SETT_OK) {
		reserve_close(r);
		return status;
	}
	*ret = r;
	return SETT_OK;
}

void
reserve_close(struct reserve *r)
{
	if (r == NULL)
		return;
	if (r->file != NULL)
		vfs_close(r->file, NULL);
	mutex_destroy(&r->lock);
	free(r);
}

int
reserve_fill(struct reserve *r, uint64_t bytes, struct sett_error *error)
{
	int status = SETT_OK;
	mutex_lock(&r->lock);
	uint64_t before = r->bytes;
	if (bytes == before)
		goto out;
	if (r->file == NULL)
		status = vfs_open(r->vfs, r->path, VFS_READ | VFS_WRITE | VFS_CREATE, &r->file, error);
	if (status == SETT_OK)
		status = bytes > before ? vfs_allocate(r->file, bytes, error)
					: vfs_truncate(r->file, bytes, error);
	if (status == SETT_OK)
		set_bytes(r, bytes);
	else if (r->file != NULL)
		vfs_truncate(r->file, before,
			     NULL); /* a part may have been allocated; if it stays, no harm */
out:
	mutex_unlock(&r->lock);
	return status;
}

uint64_t
reserve_give(struct reserve *r, uint64_t bytes)
{
	mutex_lock(&r->lock);
	uint64_t given = bytes < r->bytes ? bytes : r->bytes;
	if (given > 0 && vfs_truncate(r->file, r->bytes - given, NULL) != SETT_OK)
		given = 0;
	set_bytes(r, r->bytes - given);
	mutex_unlock(&r->lock);
	return given;
}

uint64_t
reserve_bytes(const struct reserve *r)
{
	return __atomic_load_n(&r->bytes, __ATOMIC_RELAXED);
}
