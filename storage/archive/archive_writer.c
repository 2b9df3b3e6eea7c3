/* See archive_writer.h. */
#include "archive_writer.h"

#include <assert.h>

enum { WRITTEN_AT_ONCE = 1 << 20 }; /* bytes that are gathered before they are written */

static int
write_out(struct archive_writer *w, struct sett_error *error)
{
	if (w->out.size == 0)
		return SETT_OK;
	assert(w->file && w->size - w->out.size >= w->synced);
	int r = vfs_write_bytes(w->file, w->out.data, w->out.size, w->size - w->out.size, error);
	if (r == SETT_OK)
		buffer_clear(&w->out);
	return r;
}

static int
append_bytes(struct archive_writer *w, struct bytes b, struct sett_error *error)
{
	if (b.size > 0 && buffer_append(&w->out, b.data, b.size) != SETT_OK)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the archive");
	w->size += b.size;
	return SETT_OK;
}

int
archive_writer_open(struct archive_writer *w, struct vfs *vfs, const char *directory,
		    const struct archive_header *h, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	uint8_t bytes[ARCHIVE_HEADER_SIZE];
	assert(!w->file);
	struct buffer out = w->out;
	buffer_clear(&out);
	if (file_name_make(directory, h->number, ARCHIVE_SUFFIX, path) != SETT_OK)
		return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", directory);
	struct vfs_file *file;
	int r = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &file, error);
	if (r != SETT_OK)
		return r;
	*w = (struct archive_writer){.vfs = vfs,
				     .directory = directory,
				     .file = file,
				     .header = *h,
				     .seed = archive_seed(h->chain, h->number),
				     .out = out,
				     .is_new = true};
	archive_header_encode(bytes, h);
	r = append_bytes(w, bytes_of(bytes, sizeof(bytes)), error);
	if (r != SETT_OK)
		(void)archive_writer_abandon(w);
	return r;
}

static uint64_t
checksum_of(struct bytes first, struct bytes second, uint64_t seed, struct buffer *scratch, int *ret_status)
{
	if (second.size == 0)
		return hash64_bytes(first, seed);
	size_t before = scratch->size;
	*ret_status = buffer_append(scratch, first.data, first.size);
	if (*ret_status == SETT_OK)
		*ret_status = buffer_append(scratch, second.data, second.size);
	uint64_t sum =
		*ret_status == SETT_OK ? hash64(scratch->data + before, scratch->size - before, seed) : 0;
	scratch->size = before;
	return sum;
}

/* The block is put together where it will stand, and encrypted there. */
static int
append_sealed(struct archive_writer *w, enum archive_block_kind kind, uint64_t commit, uint64_t time_ms,
	      struct bytes first, struct bytes second, struct sett_error *error)
{
	uint8_t also[20];
	size_t size = first.size + second.size;
	uint64_t seed = w->seed + w->size;
	struct archive_block b = {.kind = kind, .commit = commit, .time_ms = time_ms};
	struct seal_place place = archive_place_of(w->header.number, w->header.chain, w->size, &b, also);
	int r = buffer_reserve(&w->out, ARCHIVE_BLOCK_SIZE + size + SEAL_SIZE);
	if (r == SETT_OK) {
		uint8_t *header = w->out.data + w->out.size, *p = header + ARCHIVE_BLOCK_SIZE;
		memcpy(p, first.data, first.size);
		if (second.size > 0)
			memcpy(p + first.size, second.data, second.size);
		r = seal_make(w->file->vfs->keys, &place, bytes_of(p, size), p, p + size);
		b.kind |= ARCHIVE_SEALED;
		b.size = size + SEAL_SIZE;
		b.payload_checksum = hash64(p, (size_t)b.size, seed);
		archive_block_encode(header, &b, seed);
	}
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "a block of the archive cannot be encrypted: %s",
				      sett_status_text(r));
	w->out.size += ARCHIVE_BLOCK_SIZE + (size_t)b.size;
	w->size += ARCHIVE_BLOCK_SIZE + b.size;
	return w->out.size >= WRITTEN_AT_ONCE ? write_out(w, error) : SETT_OK;
}

int
archive_writer_append(struct archive_writer *w, enum archive_block_kind kind, uint64_t commit,
		      uint64_t time_ms, struct bytes first, struct bytes second, struct sett_error *error)
{
	if (vfs_seals(w->file->vfs) && first.size + second.size > 0)
		return append_sealed(w, kind, commit, time_ms, first, second, error);
	uint8_t bytes[ARCHIVE_BLOCK_SIZE];
	uint64_t seed = w->seed + w->size;
	assert(w->file && w->size >= ARCHIVE_HEADER_SIZE);
	int r = SETT_OK;
	struct archive_block b = {
		.size = first.size + second.size, .kind = kind, .commit = commit, .time_ms = time_ms};
	/* Where the payload will stand anyway. */
	b.payload_checksum = checksum_of(first, second, seed, &w->out, &r);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory for the archive");
	archive_block_encode(bytes, &b, seed);
	r = append_bytes(w, bytes_of(bytes, sizeof(bytes)), error);
	if (r == SETT_OK)
		r = append_bytes(w, first, error);
	if (r == SETT_OK)
		r = append_bytes(w, second, error);
	return r == SETT_OK && w->out.size >= WRITTEN_AT_ONCE ? write_out(w, error) : r;
}

/* A file that somebody has removed takes bytes, and keeps none. */
static int
look_for_file(const struct archive_writer *w, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	int r = file_name_make(w->directory, w->header.number, ARCHIVE_SUFFIX, path);
	if (r == SETT_OK)
		r = vfs_open(w->vfs, path, VFS_READ, &file, error);
	if (r == SETT_NOT_FOUND)
		return sett_error_set(error, r, 0, "%s is gone: somebody has removed it", path);
	if (r == SETT_OK)
		(void)vfs_close(file, NULL); /* it was only looked for */
	return r;
}

int
archive_writer_sync(struct archive_writer *w, struct sett_error *error)
{
	int r = write_out(w, error);
	if (r == SETT_OK)
		r = vfs_sync(w->file, error);
	if (r == SETT_OK && w->is_new) {
		r = vfs_sync_directory(w->vfs, w->directory, error);
		w->is_new = r != SETT_OK;
	}
	assert(r != SETT_OK || w->out.size == 0);
	if (r == SETT_OK)
		w->synced = w->size;
	return r == SETT_OK ? look_for_file(w, error) : r;
}

uint64_t
archive_writer_abandon(struct archive_writer *w)
{
	char path[SETT_PATH_MAX];
	uint64_t left = w->synced;
	assert(w->file && left <= w->size);
	if (left > 0 && vfs_truncate(w->file, left, NULL) != SETT_OK)
		left = w->size; /* at most; a reader passes over it */
	archive_writer_close(w);
	if (left > 0)
		return left;
	int r = file_name_make(w->directory, w->header.number, ARCHIVE_SUFFIX, path);
	if (r == SETT_OK)
		r = vfs_remove(w->vfs, path, NULL);
	return r == SETT_OK || r == SETT_NOT_FOUND ? 0 : w->size;
}

void
archive_writer_close(struct archive_writer *w)
{
	if (w->file)
		(void)vfs_close(w->file, NULL); /* what counts was synced */
	w->file = NULL;
	buffer_clear(&w->out);
}
