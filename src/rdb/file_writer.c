/* See file_writer.h. */
#include "rdb/file_writer.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>

#include "rdb/crc64.h"

/* The device gets so many bytes at once, and has twice as many to do at most: neither they nor the sync at the end hold up the
 * log's for long. */
enum { SYNC_STEP = 4 * 1024 * 1024 };

static int
path_of(char ret[PATH_MAX], const char *directory, const char *name, struct sett_error *error)
{
	int size = snprintf(ret, PATH_MAX, "%s/%s", directory, name);
	if (size < 0 || size >= PATH_MAX)
		return sett_error_set(error, SETT_INVALID, 0, "the path of %s is too long", name);
	return SETT_OK;
}

int
rdb_file_create(struct rdb_file *f, struct vfs *vfs, const char *directory, const char *temporary_name,
		struct sett_error *error)
{
	*f = (struct rdb_file){.vfs = vfs};
	snprintf(f->directory, sizeof(f->directory), "%s", directory);
	int status = path_of(f->temporary, directory, temporary_name, error);
	if (status != SETT_OK)
		return status;
	status = vfs_remove(vfs, f->temporary, NULL);
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = vfs_open(vfs, f->temporary, VFS_WRITE | VFS_CREATE | VFS_SEALED, &f->file, error);
	else
		sett_error_set(error, status, 0, "%s can't be removed", f->temporary);
	f->is_there = status == SETT_OK;
	return status;
}

int
rdb_file_write(void *arg, struct bytes data)
{
	struct rdb_file *f = arg;
	int status = vfs_write_bytes(f->file, data.data, data.size, f->size, &f->error);
	if (status != SETT_OK)
		return status;
	f->crc = crc64(f->crc, data);
	f->size += data.size;
	if (f->size - f->sync_begun < SYNC_STEP)
		return SETT_OK;
	vfs_begin_sync(f->file, f->sync_begun, f->size - f->sync_begun);
	if (f->sync_begun > f->synced) /* not in the first step */
		status = vfs_sync_range(f->file, f->synced, f->sync_begun - f->synced, &f->error);
	f->synced = f->sync_begun;
	f->sync_begun = f->size;
	return status;
}

int
rdb_file_finish(struct rdb_file *f, bool with_checksum, struct sett_error *error)
{
	uint64_t crc = htole64(with_checksum ? f->crc : 0);
	int status = rdb_file_write(f, bytes_of(&crc, sizeof(crc)));
	if (status != SETT_OK) {
		*error = f->error;
		return status;
	}
	status = vfs_sync(f->file, error);
	struct vfs_file *file = f->file;
	f->file = NULL;
	int closed = vfs_close(file, status == SETT_OK ? error : NULL);
	return status != SETT_OK ? status : closed;
}

int
rdb_file_replace(struct rdb_file *f, const char *name, struct sett_error *error)
{
	char path[PATH_MAX];
	assert(f->file == NULL && f->is_there);
	int status = path_of(path, f->directory, name, error);
	if (status == SETT_OK)
		status = vfs_rename(f->vfs, f->temporary, path, error);
	if (status != SETT_OK)
		return status;
	f->is_there = false;
	return vfs_sync_directory(f->vfs, f->directory, error);
}

void
rdb_file_close(struct rdb_file *f)
{
	/* What is left of a file that failed is nobody's: its failure is known. */
	if (f->file != NULL)
		(void)vfs_close(f->file, NULL);
	if (f->is_there)
		(void)vfs_remove(f->vfs, f->temporary, NULL);
	f->file = NULL;
	f->is_there = false;
}
