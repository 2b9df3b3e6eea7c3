/* A file that is a run of bytes in memory: what a table is written to and read from in tests and fuzzing,
 * where every byte must be within reach. It belongs to the test: closing it only counts. */
#ifndef SETT_TESTS_BYTES_FILE_H
#define SETT_TESTS_BYTES_FILE_H

#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/vfs.h"

struct bytes_file {
	struct vfs_file file;
	struct vfs vfs;
	struct buffer content;
	bool cold;       /* reads with VFS_NOWAIT would block */
	int fail_writes; /* a status for every write, if not 0 */
	unsigned reads, writes, closes;
};

static inline int
bytes_file_close(struct vfs_file *file, struct sett_error *error)
{
	((struct bytes_file *)file)->closes++;
	return SETT_OK;
}

static inline int
bytes_file_read(struct vfs_file *file, void *to, size_t size, uint64_t offset, unsigned flags, size_t *ret,
		struct sett_error *error)
{
	struct bytes_file *f = (struct bytes_file *)file;
	if (f->cold && (flags & VFS_NOWAIT))
		return SETT_WOULD_BLOCK;
	f->reads++;
	size_t left = offset < f->content.size ? f->content.size - (size_t)offset : 0;
	size_t n = size < left ? size : left;
	if (n)
		memcpy(to, f->content.data + offset, n);
	*ret = n;
	return SETT_OK;
}

static inline int
bytes_file_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
		 struct sett_error *error)
{
	struct bytes_file *f = (struct bytes_file *)file;
	f->writes++;
	if (f->fail_writes)
		return sett_error_set(error, f->fail_writes, 0, "write refused");
	for (int i = 0; i < count; i++) {
		size_t end = (size_t)offset + iov[i].iov_len;
		if (end > f->content.size) {
			if (buffer_reserve(&f->content, end - f->content.size) != SETT_OK)
				return SETT_NO_MEMORY;
			if (offset > f->content.size)
				memset(f->content.data + f->content.size, 0,
				       (size_t)offset - f->content.size);
			f->content.size = end;
		}
		memcpy(f->content.data + offset, iov[i].iov_base, iov[i].iov_len);
		offset += iov[i].iov_len;
	}
	return SETT_OK;
}

static inline int
bytes_file_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	*ret = ((struct bytes_file *)file)->content.size;
	return SETT_OK;
}

static const struct vfs_operations bytes_file_operations = {
	.close = bytes_file_close,
	.read = bytes_file_read,
	.write = bytes_file_write,
	.size = bytes_file_size,
};

/* `f` may be all zero, or hold content already. */
static inline struct vfs_file *
bytes_file_open(struct bytes_file *f)
{
	f->vfs.operations = &bytes_file_operations;
	f->file.vfs = &f->vfs;
	return &f->file;
}

#endif
