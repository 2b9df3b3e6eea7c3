/* What every vfs offers on top of its operations. */
#include "storage/vfs.h"

#include <inttypes.h>

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
vfs_write_bytes(struct vfs_file *f, const void *data, size_t size, uint64_t offset, struct sett_error *error)
{
	/* iovec is shared with reading, hence not const; no implementation writes through it. */
	struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	return vfs_write(f, &part, 1, offset, error);
}
