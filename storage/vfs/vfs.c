/* What every vfs offers on top of its operations. */
#include "storage/vfs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/limits.h"
#include "vfs_error.h"

int
vfs_read_exact(struct vfs_file *f, void *buf, size_t size, uint64_t offset, unsigned flags,
	       struct sett_error *error)
{
	size_t n;
	int status = vfs_read(f, buf, size, offset, flags, &n, error);
	if (status != SETT_OK)
		return status;
	if (n != size)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "the file ends at %" PRIu64 ": %zu bytes were expected at %" PRIu64,
				      offset + n, size, offset);
	return SETT_OK;
}

int
vfs_sync_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	struct vfs_file *directory;
	int status = vfs_open(v, path, VFS_READ | VFS_DIRECTORY, &directory, error);
	if (status != SETT_OK)
		return status;
	status = vfs_sync(directory, error);
	(void)vfs_close(directory, NULL); /* opened for reading: nothing can be lost */
	return status;
}

int
vfs_make_durable_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	char parent[SETT_PATH_MAX];
	int status = vfs_make_directory(v, path, error);
	if (status != SETT_OK)
		return status;
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	if (n >= sizeof(parent))
		return sett_error_set(error, SETT_INVALID, ENAMETOOLONG, "The directory's path is too long");
	if (n == 0)
		snprintf(parent, sizeof(parent), ".");
	else
		snprintf(parent, sizeof(parent), "%.*s", (int)n, path);
	return vfs_sync_directory(v, parent, error);
}

int
vfs_write_bytes(struct vfs_file *f, const void *data, size_t size, uint64_t offset, struct sett_error *error)
{
	/* iovec is shared with reading, hence not const; no implementation writes through it. */
	struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	return vfs_write(f, &part, 1, offset, error);
}

int
vfs_system_error(struct sett_error *error, int system_errno, const char *call, const char *path)
{
	int status = SETT_IO;
	if (system_errno == ENOENT)
		status = SETT_NOT_FOUND;
	else if (system_errno == ENOSPC || system_errno == EDQUOT)
		status = SETT_NO_SPACE;
	else if (system_errno == ENOMEM)
		status = SETT_NO_MEMORY;
	else if (system_errno == EMFILE || system_errno == ENFILE)
		status = SETT_NO_HANDLES;
	char reason[128];
	return sett_error_set(error, status, system_errno, "%s %s: %s", call, path,
			      strerror_r(system_errno, reason, sizeof reason));
}

int
vfs_would_block(struct sett_error *error, uint64_t offset)
{
	if (error != NULL) {
		static const char text[] = "the bytes are not in memory";
		error->status = SETT_WOULD_BLOCK;
		error->system_errno = 0;
		error->missing = offset;
		memcpy(error->message, text, sizeof text);
	}
	return SETT_WOULD_BLOCK;
}
