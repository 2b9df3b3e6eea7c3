/* The manifest: which tables make up the tree, and the few numbers beside them, as a log of edits.
 *
 * The file is DIRECTORY/MANIFEST. Its first record holds all there was when it was written; each later one is
 * an edit. A new file is written as MANIFEST.tmp, synced, and renamed over the old one; the directory is
 * synced after, so that a power cut leaves one of the two, whole.
 *
 * Invariants:
 *  1. A record is written only after the sync of the one before it has returned. So a damaged record that any
 *     good record follows was once durable: corruption. A damaged record that nothing good follows is the
 * torn last edit of which nobody was told: it is left out.
 *  2. Each synced edit is followed by a *mark* (an empty record), written without a sync of its own. It is
 * what makes damage to the very last edit found: without it that edit would look torn.
 *  3. The first record is in the file before the file has its name: damage to it is always corruption.
 *  4. A failed write is taken back (cut off and synced) before the caller learns of it; where that fails too,
 * the manifest refuses further edits. */
#include "manifest.h"

#include <assert.h>

#include "storage/base/hash.h"

enum {
	HEADER_SIZE = 16,
	RECORD_HEADER_SIZE = 16,
	FORMAT_VERSION = 1,
};
#define RECORD_MAGIC 0x74644553U /* "SEdt" */
#define MAX_MANIFEST_SIZE (1ULL << 30)

static const uint8_t file_magic[8] = {'s', 'e', 't', 't', 'm', 'a', 'n', 'i'};

enum field {
	FIELD_TABLE_ADDED = 1,
	FIELD_TABLE_REMOVED = 2,
	FIELD_FLUSH = 3,
	FIELD_COUNTERS = 4,
	FIELD_DEAD_ADDED = 5,
	FIELD_DEAD_REMOVED = 6,
	FIELD_FILE_LIMIT = 7,
};

struct manifest {
	struct vfs_file *file;
	uint64_t size; /* of the good records */
	bool failed;
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
	uint64_t n[] = {FIELD_TABLE_ADDED, level, f->number, f->size, f->held_bytes, f->held_timestamp};
	return put_numbers(b, n, sizeof(n) / sizeof(*n));
}

int
manifest_put_table_removed(struct buffer *b, uint64_t number)
{
	return put_numbers(b, (uint64_t[]){FIELD_TABLE_REMOVED, number}, 2);
}

int
manifest_put_flush(struct buffer *b, uint64_t log_segment, uint64_t flushed, uint64_t now_ms)
{
	return put_numbers(b, (uint64_t[]){FIELD_FLUSH, log_segment, flushed, now_ms}, 4);
}

int
manifest_put_counters(struct buffer *b, const struct counter_value *counters, size_t count)
{
	int r = put_numbers(b, (uint64_t[]){FIELD_COUNTERS, count}, 2);
	for (size_t i = 0; r == SETT_OK && i < count; i++) {
		int64_t v = counters[i].value;
		uint64_t zigzag = ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
		r = put_numbers(b, (uint64_t[]){counters[i].counter, zigzag}, 2);
	}
	return r;
}

int
manifest_put_dead(struct buffer *b, bool added, const struct dead_prefix *d)
{
	int r = put_numbers(
		b, (uint64_t[]){added ? FIELD_DEAD_ADDED : FIELD_DEAD_REMOVED, d->timestamp, d->prefix.size},
		3);
	return r == SETT_OK ? buffer_append(b, d->prefix.data, d->prefix.size) : r;
}

int
manifest_put_file_limit(struct buffer *b, uint64_t limit)
{
	return put_numbers(b, (uint64_t[]){FIELD_FILE_LIMIT, limit}, 2);
}

static void
encode_header(uint8_t *p)
{
	memcpy(p, file_magic, sizeof(file_magic));
	put_le32(p + 8, FORMAT_VERSION);
	put_le32(p + 12, (uint32_t)hash64(p, 12, 0));
}

static uint64_t
record_checksum(uint64_t offset, const uint8_t *payload, uint32_t size)
{
	return hash64(payload, size, hash64(&(uint64_t){htole64(offset)}, 8, size));
}

static void
encode_record_header(uint8_t *p, uint64_t offset, struct bytes payload)
{
	put_le32(p, RECORD_MAGIC);
	put_le32(p + 4, (uint32_t)payload.size);
	put_le64(p + 8, record_checksum(offset, payload.data, (uint32_t)payload.size));
}

static int
write_record(struct manifest *m, struct bytes payload, struct sett_error *error)
{
	uint8_t header[RECORD_HEADER_SIZE];
	encode_record_header(header, m->size, payload);
	struct iovec iov[2] = {{header, sizeof(header)}, {(void *)(uintptr_t)payload.data, payload.size}};
	return vfs_write(m->file, iov, payload.size ? 2 : 1, m->size, error);
}

static int
write_new_file(struct manifest *m, struct bytes payload, struct sett_error *error)
{
	uint8_t header[HEADER_SIZE];
	encode_header(header);
	int r = vfs_write_bytes(m->file, header, sizeof(header), 0, error);
	if (r != SETT_OK)
		return r;
	m->size = HEADER_SIZE;
	r = write_record(m, payload, error);
	if (r != SETT_OK)
		return r;
	m->size += RECORD_HEADER_SIZE + payload.size;
	return vfs_sync(m->file, error);
}

int
manifest_create(struct vfs *vfs, const char *directory, struct bytes payload, struct manifest **ret,
		struct sett_error *error)
{
	char path[SETT_PATH_MAX], temporary[SETT_PATH_MAX];
	manifest_path(directory, "MANIFEST", path);
	manifest_path(directory, "MANIFEST.tmp", temporary);
	if (payload.size > MAX_MANIFEST_SIZE / 2)
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
	if (payload.size > MAX_MANIFEST_SIZE / 2)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "MANIFEST: the edit is too large");
	int r = write_record(m, payload, error);
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
	m->size += RECORD_HEADER_SIZE + payload.size;
	/* The mark (invariant 2). If it cannot be written, the next edit takes its place. */
	if (write_record(m, (struct bytes){0}, NULL) == SETT_OK)
		m->size += RECORD_HEADER_SIZE;
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

/* ---- reading ---- */

void
manifest_state_free(struct manifest_state *s)
{
	for (size_t i = 0; i < s->dead_count; i++)
		buffer_free(&s->dead[i].prefix);
	free(s->dead);
	free(s->counters);
	free(s->tables);
	*s = (struct manifest_state){0};
}

/* Index of the first table whose number is not below `number`. */
static size_t
find_table(const struct manifest_state *s, uint64_t number)
{
	size_t low = 0, high = s->table_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->tables[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Makes room for one more element. */
static int
grow(void **array, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return SETT_OK;
	size_t wanted = *capacity ? *capacity * 2 : 16;
	void *p = reallocarray(*array, wanted, size);
	if (!p)
		return SETT_NO_MEMORY;
	*array = p;
	*capacity = wanted;
	return SETT_OK;
}

/* What is being read: the fields of one record. */
struct field_reader {
	const uint8_t *p, *end;
};

static bool
take_number(struct field_reader *r, uint64_t *ret)
{
	const uint8_t *next = varint_get(r->p, r->end, ret);
	if (!next)
		return false;
	r->p = next;
	return true;
}

static bool
take_numbers(struct field_reader *r, uint64_t *ret, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!take_number(r, &ret[i]))
			return false;
	}
	return true;
}

static int
read_table_added(struct field_reader *r, struct manifest_state *s)
{
	uint64_t n[5];
	if (!take_numbers(r, n, 5) || n[0] >= SETT_LEVELS)
		return SETT_CORRUPT;
	size_t at = find_table(s, n[1]);
	if (at < s->table_count && s->tables[at].number == n[1])
		return SETT_CORRUPT;
	int status = grow((void **)&s->tables, s->table_count, &s->table_capacity, sizeof(*s->tables));
	if (status != SETT_OK)
		return status;
	memmove(s->tables + at + 1, s->tables + at, (s->table_count - at) * sizeof(*s->tables));
	s->tables[at] = (struct manifest_table){(unsigned)n[0], n[1], n[2], n[3], n[4]};
	s->table_count++;
	return SETT_OK;
}

static int
read_table_removed(struct field_reader *r, struct manifest_state *s)
{
	uint64_t number;
	if (!take_number(r, &number))
		return SETT_CORRUPT;
	size_t at = find_table(s, number);
	if (at == s->table_count || s->tables[at].number != number)
		return SETT_CORRUPT;
	memmove(s->tables + at, s->tables + at + 1, (s->table_count - at - 1) * sizeof(*s->tables));
	s->table_count--;
	return SETT_OK;
}

static int
read_flush(struct field_reader *r, struct manifest_state *s)
{
	uint64_t n[3];
	if (!take_numbers(r, n, 3))
		return SETT_CORRUPT;
	s->log_segment = n[0];
	s->flushed = n[1];
	s->now_ms = n[2];
	return SETT_OK;
}

static int
read_counters(struct field_reader *r, struct manifest_state *s)
{
	uint64_t count;
	/* Each takes two bytes at least. */
	if (!take_number(r, &count) || count > (uint64_t)(r->end - r->p) / 2)
		return SETT_CORRUPT;
	struct counter_value *counters = calloc(count ? count : 1, sizeof(*counters));
	if (!counters)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		uint64_t n[2];
		if (!take_numbers(r, n, 2)) {
			free(counters);
			return SETT_CORRUPT;
		}
		uint64_t v = (n[1] >> 1) ^ (0 - (n[1] & 1));
		counters[i] = (struct counter_value){n[0], (int64_t)v};
	}
	free(s->counters);
	s->counters = counters;
	s->counter_count = count;
	return SETT_OK;
}

static int
read_dead(struct field_reader *r, struct manifest_state *s, bool added)
{
	uint64_t n[2];
	if (!take_numbers(r, n, 2) || n[1] > SETT_MAX_PREFIX_SIZE || n[1] > (uint64_t)(r->end - r->p))
		return SETT_CORRUPT;
	struct bytes prefix = bytes_of(r->p, n[1]);
	r->p += n[1];
	if (!added) {
		for (size_t i = 0; i < s->dead_count; i++) {
			struct dead_prefix *d = &s->dead[i];
			if (d->timestamp == n[0] && bytes_equal(buffer_bytes(&d->prefix), prefix)) {
				buffer_free(&d->prefix);
				*d = s->dead[--s->dead_count];
				return SETT_OK;
			}
		}
		return SETT_OK; /* never flushed */
	}
	int status = grow((void **)&s->dead, s->dead_count, &s->dead_capacity, sizeof(*s->dead));
	if (status != SETT_OK)
		return status;
	struct dead_prefix d = {.timestamp = n[0], .sequence = UINT64_MAX};
	status = buffer_append(&d.prefix, prefix.data, prefix.size);
	if (status == SETT_OK)
		s->dead[s->dead_count++] = d;
	return status;
}

static int
read_field(struct field_reader *r, struct manifest_state *s)
{
	uint64_t field;
	if (!take_number(r, &field))
		return SETT_CORRUPT;
	switch (field) {
	case FIELD_TABLE_ADDED:
		return read_table_added(r, s);
	case FIELD_TABLE_REMOVED:
		return read_table_removed(r, s);
	case FIELD_FLUSH:
		return read_flush(r, s);
	case FIELD_COUNTERS:
		return read_counters(r, s);
	case FIELD_DEAD_ADDED:
		return read_dead(r, s, true);
	case FIELD_DEAD_REMOVED:
		return read_dead(r, s, false);
	case FIELD_FILE_LIMIT:
		return take_number(r, &s->file_limit) ? SETT_OK : SETT_CORRUPT;
	default:
		return SETT_CORRUPT;
	}
}

static int
read_payload(struct bytes payload, struct manifest_state *s)
{
	struct field_reader r = {payload.data, payload.data + payload.size};
	while (r.p < r.end) {
		int status = read_field(&r, s);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* Whether a good record stands at `offset`. */
static bool
record_at(struct bytes file, uint64_t offset, struct bytes *ret_payload)
{
	if (file.size - offset < RECORD_HEADER_SIZE || get_le32(file.data + offset) != RECORD_MAGIC)
		return false;
	uint32_t size = get_le32(file.data + offset + 4);
	const uint8_t *payload = file.data + offset + RECORD_HEADER_SIZE;
	if (size > file.size - offset - RECORD_HEADER_SIZE ||
	    record_checksum(offset, payload, size) != get_le64(file.data + offset + 8))
		return false;
	*ret_payload = bytes_of(payload, size);
	return true;
}

/* Whether any good record stands behind `offset` (invariant 1). */
static bool
record_follows(struct bytes file, uint64_t offset)
{
	uint8_t magic[4];
	put_le32(magic, RECORD_MAGIC);
	for (uint64_t at = offset + 1; at < file.size;) {
		const uint8_t *p = memmem(file.data + at, file.size - at, magic, sizeof(magic));
		struct bytes payload;
		if (!p)
			return false;
		if (record_at(file, (uint64_t)(p - file.data), &payload))
			return true;
		at = (uint64_t)(p - file.data) + 1;
	}
	return false;
}

static int
read_records(const char *path, struct bytes file, struct manifest_state *s, struct sett_error *error)
{
	uint8_t header[HEADER_SIZE];
	encode_header(header);
	if (file.size < HEADER_SIZE || memcmp(file.data, header, HEADER_SIZE) != 0)
		return sett_error_set(error, SETT_CORRUPT, 0, "%s: the header at offset 0 is damaged", path);
	for (uint64_t offset = HEADER_SIZE; offset < file.size || offset == HEADER_SIZE;) {
		struct bytes payload;
		if (!record_at(file, offset, &payload)) {
			/* A mark that was lost, or is damaged, takes nothing along. */
			if (offset > HEADER_SIZE && file.size - offset > RECORD_HEADER_SIZE &&
			    record_at(file, offset + RECORD_HEADER_SIZE, &payload)) {
				offset += RECORD_HEADER_SIZE;
				continue;
			}
			if (offset > HEADER_SIZE && !record_follows(file, offset))
				return SETT_OK; /* torn: nobody was told */
			return sett_error_set(error, SETT_CORRUPT, 0,
					      "%s: the edit at offset %llu is damaged", path,
					      (unsigned long long)offset);
		}
		int r = read_payload(payload, s);
		if (r != SETT_OK)
			return sett_error_set(error, r, 0, "%s: the edit at offset %llu makes no sense", path,
					      (unsigned long long)offset);
		offset += RECORD_HEADER_SIZE + payload.size;
	}
	return SETT_OK;
}

int
manifest_load(struct vfs *vfs, const char *directory, struct manifest_state *ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	manifest_path(directory, "MANIFEST", path);
	struct vfs_file *file;
	int r = vfs_open(vfs, path, VFS_READ | VFS_SEQUENTIAL, &file, error);
	if (r != SETT_OK)
		return r;
	struct manifest_state state = {0};
	uint8_t *data = NULL;
	uint64_t size;
	r = vfs_size(file, &size, error);
	if (r != SETT_OK)
		goto out;
	if (size > MAX_MANIFEST_SIZE) {
		r = sett_error_set(error, SETT_CORRUPT, 0, "%s: larger than any manifest", path);
		goto out;
	}
	data = malloc(size ? size : 1);
	r = data ? vfs_read_exact(file, data, size, 0, 0, error)
		 : sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", path);
	if (r == SETT_OK)
		r = read_records(path, bytes_of(data, size), &state, error);
out:
	free(data);
	(void)vfs_close(file, NULL);
	if (r == SETT_OK)
		*ret = state;
	else
		manifest_state_free(&state);
	return r;
}
