/* The manifest: which tables make up the tree, and the few numbers beside them, as a log of edits.
 *
 * The file is DIRECTORY/MANIFEST. Its first record holds all there was when it was written; each later one is
 * an edit. A new file is written as MANIFEST.tmp, synced, and renamed over the old one; the directory is
 * synced after, so that a power cut leaves one of the two, whole.
 *
 * Invariants:
 *  1. A record is written only after the sync of the one before it has returned. So a damaged record that any
 *     good record follows was once durable: corruption. A damaged record that nothing good follows is taken
 *     for the torn last edit, which was never acknowledged: it is left out. If the other files show that
 *     later edits were acknowledged, whoever opens the database refuses (version_set.c).
 *  2. Each synced edit is followed by a *mark* (an empty record), written without a sync of its own. It makes
 *     damage to the very last edit visible: without it that edit would look torn.
 *  3. The first record is in the file before the file has its name: damage to it is always corruption.
 *  4. A failed write is taken back (cut off and synced) before the caller learns of it; where that fails
 *     too, the manifest refuses further edits. */
#include "manifest.h"

#include <assert.h>

#include "manifest_format.h"
#include "seal.h"

struct manifest {
	struct vfs_file *file;
	uint64_t size; /* of the good records */
	bool failed;
	struct keyring *keys; /* by which edits are sealed; NULL: by none */
};

static void
manifest_path(const char *directory, const char *name, char ret[SETT_PATH_MAX])
{
	snprintf(ret, SETT_PATH_MAX, "%s/%s", directory, name);
}

/* ---- writing ---- */

static int
put_numbers(struct buffer *b, const uint64_t *numbers, size_t count)
{
	int r = buffer_reserve(b, count * VARINT_MAX_SIZE);
	if (r != SETT_OK)
		return r;
	uint8_t *p = b->data + b->size;
	for (size_t i = 0; i < count; i++)
		p = varint_put(p, numbers[i]);
	b->size = (size_t)(p - b->data);
	return SETT_OK;
}

int
manifest_put_table_added(struct buffer *b, unsigned level, const struct table_file *f)
{
	uint64_t n[] = {MANIFEST_TABLE_ADDED, level, f->number, f->size, f->held_bytes, f->held_timestamp};
	uint64_t shadowed[] = {MANIFEST_SHADOWED, f->number, f->shadowed.index, f->shadowed.values};
	int r = put_numbers(b, n, sizeof(n) / sizeof(*n));
	if (r == SETT_OK && f->shadowed_is_known && level < SETT_LEVELS - 1)
		r = put_numbers(b, shadowed, sizeof(shadowed) / sizeof(*shadowed));
	return r;
}

int
manifest_put_table_removed(struct buffer *b, uint64_t number)
{
	return put_numbers(b, (uint64_t[]){MANIFEST_TABLE_REMOVED, number}, 2);
}

int
manifest_put_flush(struct buffer *b, uint64_t log_segment, uint64_t flushed, uint64_t now_ms)
{
	return put_numbers(b, (uint64_t[]){MANIFEST_FLUSH, log_segment, flushed, now_ms}, 4);
}

int
manifest_put_counters(struct buffer *b, const struct counter_value *counters, size_t count)
{
	int r = put_numbers(b, (uint64_t[]){MANIFEST_COUNTERS, count}, 2);
	for (size_t i = 0; r == SETT_OK && i < count; i++) {
		int64_t v = counters[i].value;
		uint64_t zigzag = ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
		r = put_numbers(b, (uint64_t[]){counters[i].counter, zigzag}, 2);
	}
	return r;
}

/* Numbers, the last of them the size of what follows. */
static int
put_sized(struct buffer *b, const uint64_t *numbers, size_t count, const void *data, size_t size)
{
	int r = put_numbers(b, numbers, count);
	return r == SETT_OK ? buffer_append(b, data, size) : r;
}

int
manifest_put_pending(struct buffer *b, struct bytes pending)
{
	return put_sized(b, (uint64_t[]){MANIFEST_PENDING, pending.size}, 2, pending.data, pending.size);
}

int
manifest_put_dead(struct buffer *b, uint64_t timestamp, const struct dead_list *list)
{
	return put_sized(b, (uint64_t[]){MANIFEST_DIED, timestamp, list->size}, 3, list->data, list->size);
}

int
manifest_put_dead_gone(struct buffer *b, const struct dead_list *list)
{
	return put_sized(b, (uint64_t[]){MANIFEST_GONE, list->size}, 2, list->data, list->size);
}

int
manifest_put_file_limit(struct buffer *b, uint64_t limit)
{
	return put_numbers(b, (uint64_t[]){MANIFEST_FILE_LIMIT, limit}, 2);
}

int
manifest_put_durable(struct buffer *b, uint64_t durable, bool is_closed)
{
	return put_numbers(b, (uint64_t[]){MANIFEST_DURABLE, durable, is_closed}, 3);
}

/* The payload as it will stand at the end of the file, in memory that the caller frees. */
static int
seal_payload(const struct manifest *m, struct bytes payload, struct bytes *ret)
{
	uint8_t *p = malloc(payload.size + SEAL_SIZE);
	struct seal_place place = {.kind = SEAL_MANIFEST, .offset = m->size};
	if (!p)
		return SETT_NO_MEMORY;
	int r = seal_make(m->keys, &place, payload, p, p + payload.size);
	if (r == SETT_OK)
		*ret = bytes_of(p, payload.size + SEAL_SIZE);
	else
		free(p);
	return r;
}

static void
encode_record_header(uint8_t *p, uint64_t offset, struct bytes payload)
{
	put_le32(p, MANIFEST_RECORD_MAGIC);
	put_le32(p + 4, (uint32_t)payload.size);
	put_le64(p + 8, manifest_record_checksum(offset, payload.data, (uint32_t)payload.size));
}

static int
write_record(struct manifest *m, struct bytes payload, uint64_t *ret_size, struct sett_error *error)
{
	uint8_t header[MANIFEST_RECORD_HEADER_SIZE];
	bool is_sealed = m->keys && payload.size > 0;
	if (is_sealed) {
		int r = seal_payload(m, payload, &payload);
		if (r != SETT_OK)
			return sett_error_set(error, r, 0, "MANIFEST: an edit cannot be encrypted: %s",
					      sett_status_text(r));
	}
	encode_record_header(header, m->size, payload);
	struct iovec iov[2] = {{header, sizeof(header)}, {(void *)(uintptr_t)payload.data, payload.size}};
	int r = vfs_write(m->file, iov, payload.size ? 2 : 1, m->size, error);
	if (is_sealed)
		free((void *)(uintptr_t)payload.data);
	*ret_size = MANIFEST_RECORD_HEADER_SIZE + payload.size;
	return r;
}

static int
write_new_file(struct manifest *m, struct bytes payload, struct sett_error *error)
{
	uint8_t header[MANIFEST_HEADER_SIZE];
	manifest_header_encode(header, m->keys ? MANIFEST_SEALED_VERSION : MANIFEST_VERSION);
	int r = vfs_write_bytes(m->file, header, sizeof(header), 0, error);
	if (r != SETT_OK)
		return r;
	uint64_t size;
	m->size = MANIFEST_HEADER_SIZE;
	r = write_record(m, payload, &size, error);
	if (r != SETT_OK)
		return r;
	m->size += size;
	return vfs_sync(m->file, error);
}

int
manifest_create(struct vfs *vfs, const char *directory, struct bytes payload, struct manifest **ret,
		struct sett_error *error)
{
	char path[SETT_PATH_MAX], temporary[SETT_PATH_MAX];
	manifest_path(directory, "MANIFEST", path);
	manifest_path(directory, "MANIFEST.tmp", temporary);
	if (payload.size > MANIFEST_MAX_SIZE / 2)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "%s: too many tables for one manifest", path);
	int r = vfs_remove(vfs, temporary, error);
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return r;
	struct manifest *m = calloc(1, sizeof(*m));
	if (!m)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", path);
	r = vfs_open(vfs, temporary, VFS_READ | VFS_WRITE | VFS_CREATE, &m->file, error);
	if (r != SETT_OK)
		goto out;
	m->keys = vfs_seals(m->file->vfs) ? m->file->vfs->keys : NULL;
	r = write_new_file(m, payload, error);
	if (r == SETT_OK)
		r = vfs_rename(vfs, temporary, path, error);
	if (r != SETT_OK) {
		(void)vfs_remove(vfs, temporary, NULL);
		goto out;
	}
	r = vfs_sync_directory(vfs, directory, error);
	if (r != SETT_OK) {
		/* The new file has the name, but a power cut may bring the old one back. */
		if (error)
			error->status = SETT_FAILED;
		r = SETT_FAILED;
	}
out:
	if (r == SETT_OK)
		*ret = m;
	else
		manifest_close(m);
	return r;
}

/* Invariant 4. */
static void
take_back(struct manifest *m)
{
	if (vfs_truncate(m->file, m->size, NULL) != SETT_OK || vfs_sync(m->file, NULL) != SETT_OK)
		m->failed = true;
}

int
manifest_append(struct manifest *m, struct bytes payload, struct sett_error *error)
{
	assert(payload.size > 0); /* an empty record is a mark */
	if (m->failed)
		return sett_error_set(error, SETT_FAILED, 0, "MANIFEST: an earlier write failed");
	if (payload.size > MANIFEST_MAX_SIZE / 2)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "MANIFEST: the edit is too large");
	uint64_t size;
	int r = write_record(m, payload, &size, error);
	if (r != SETT_OK) {
		take_back(m);
		return m->failed ? SETT_FAILED : r;
	}
	r = vfs_sync(m->file, error);
	if (r != SETT_OK) {
		m->failed = true; /* after a failed sync nothing can be said of what is on the disk */
		if (error)
			error->status = SETT_FAILED;
		return SETT_FAILED;
	}
	m->size += size;
	/* The mark (invariant 2). If it cannot be written, the next edit takes its place. */
	if (write_record(m, (struct bytes){0}, &size, NULL) == SETT_OK)
		m->size += size;
	return SETT_OK;
}

uint64_t
manifest_size(const struct manifest *m)
{
	return m->size;
}

void
manifest_close(struct manifest *m)
{
	if (!m)
		return;
	if (m->file)
		(void)vfs_close(m->file, NULL);
	free(m);
}
