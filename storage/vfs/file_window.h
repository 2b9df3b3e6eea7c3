/* A file that is only read, through a window that moves along with the reader. One thread at a time. */
#ifndef SETT_FILE_WINDOW_H
#define SETT_FILE_WINDOW_H

#include "storage/base/bytes.h"
#include "storage/vfs.h"

enum { FILE_WINDOW_SIZE = 1 << 20 }; /* bytes read at once, if not more are asked for */

struct file_window {
	struct vfs_file *file;
	uint64_t size;        /* of the file, as it was when it was opened */
	struct buffer window; /* bytes from `base` on */
	uint64_t base;
	struct sett_error *error; /* gets the text of failed reads; the caller's */
};

/* SETT_NOT_FOUND, SETT_IO, ... */
int file_window_open(struct file_window *, struct vfs *, const char *path, struct sett_error *);
void file_window_close(struct file_window *);
/* Makes `size` bytes at `offset` readable until the next call; they must lie within the file. */
int file_window_fetch(struct file_window *, uint64_t offset, size_t size, const uint8_t **ret);

#endif
