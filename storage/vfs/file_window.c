#include "file_window.h"

int
file_window_open(struct file_window *w, struct vfs *vfs, const char *path, struct sett_error *error)
{
	*w = (struct file_window){.error = error};
	int status = vfs_open(vfs, path, VFS_READ | VFS_SEQUENTIAL, &w->file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(w->file, &w->size, error);
	if (status != SETT_OK)
		file_window_close(w);
	return status;
}

void
file_window_close(struct file_window *w)
{
	buffer_free(&w->window);
	(void)vfs_close(w->file, NULL); /* it was only read */
}

int
file_window_fetch(struct file_window *w, uint64_t offset, size_t size, const uint8_t **ret)
{
	struct buffer *window = &w->window;
	if (offset < w->base || offset + size > w->base + window->size) {
		uint64_t left = w->size - offset;
		size_t wanted = size > FILE_WINDOW_SIZE ? size : FILE_WINDOW_SIZE;
		if (wanted > left)
			wanted = left;
		buffer_clear(window);
		if (buffer_reserve(window, wanted) != SETT_OK)
			return sett_error_set(w->error, SETT_NO_MEMORY, 0,
					      "out of memory for %zu bytes of a file", wanted);
		int status = vfs_read_exact(w->file, window->data, wanted, offset, 0, w->error);
		if (status != SETT_OK)
			return status;
		window->size = wanted;
		w->base = offset;
	}
	*ret = window->data + (offset - w->base);
	return SETT_OK;
}
