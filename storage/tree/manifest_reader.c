/* Reading a manifest: what its records hold, and what they add up to. Which damage is which: the invariants
 * in manifest.c.
 *
 * Fields are decoded one by one (struct manifest_field) and handed to a visitor; manifest_load is the visitor
 * that folds them into a state. */
#include <inttypes.h>
#include <stdlib.h>

#include "manifest.h"
#include "manifest_format.h"
#include "seal.h"

/* ---- fields ---- */

/* What is being read: the fields of one record. */
struct field_reader {
	const uint8_t *p, *end;
};

static bool
take_numbers(struct field_reader *r, uint64_t *ret, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const uint8_t *next = varint_get(r->p, r->end, &ret[i]);
		if (!next)
			return false;
		r->p = next;
	}
	return true;
}

static int
read_counters(struct field_reader *r, struct manifest_field *ret)
{
	uint64_t count;
	/* Each takes two bytes at least. */
	if (!take_numbers(r, &count, 1) || count > (uint64_t)(r->end - r->p) / 2)
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
	ret->counters = counters;
	ret->counter_count = count;
	return SETT_OK;
}

static bool
take_sized(struct field_reader *r, struct bytes *ret)
{
	uint64_t size;
	if (!take_numbers(r, &size, 1) || size > (uint64_t)(r->end - r->p))
		return false;
	*ret = bytes_of(r->p, size);
	r->p += size;
	return true;
}

/* A prefix, as version 1 has it. */
static int
read_prefix(struct field_reader *r, struct manifest_field *ret)
{
	struct bytes prefix;
	if (!take_numbers(r, &ret->timestamp, 1) || !take_sized(r, &prefix) || prefix.size == 0 ||
	    prefix.size > SETT_MAX_PREFIX_SIZE)
		return SETT_CORRUPT;
	struct dead_range range = dead_range_of(prefix, false, 0);
	struct dead_list_builder b = {0};
	int status = dead_list_add(&b, &range);
	if (status == SETT_OK)
		return dead_list_finish(&b, &ret->dead);
	dead_list_builder_free(&b);
	return status;
}

static int
read_dead(struct field_reader *r, bool with_timestamp, struct manifest_field *ret)
{
	struct bytes data;
	if ((with_timestamp && !take_numbers(r, &ret->timestamp, 1)) || !take_sized(r, &data))
		return SETT_CORRUPT;
	int status = dead_list_decode(data, &ret->dead);
	return status == SETT_OK && !ret->dead ? SETT_CORRUPT : status;
}

/* On success the field's counters and list are the caller's to free. */
static int
read_field(struct field_reader *r, struct manifest_field *ret)
{
	uint64_t kind, n[5];
	if (!take_numbers(r, &kind, 1))
		return SETT_CORRUPT;
	*ret = (struct manifest_field){.kind = (enum manifest_field_kind)kind};
	switch (kind) {
	case MANIFEST_TABLE_ADDED:
		if (!take_numbers(r, n, 5) || n[0] >= SETT_LEVELS)
			return SETT_CORRUPT;
		ret->table = (struct manifest_table){.level = (unsigned)n[0],
						     .number = n[1],
						     .size = n[2],
						     .held_bytes = n[3],
						     .held_timestamp = n[4]};
		return SETT_OK;
	case MANIFEST_SHADOWED:
		if (!take_numbers(r, n, 3))
			return SETT_CORRUPT;
		ret->table = (struct manifest_table){
			.number = n[0], .shadowed = {n[1], n[2]}, .shadowed_is_known = true};
		return SETT_OK;
	case MANIFEST_TABLE_REMOVED:
		return take_numbers(r, &ret->table.number, 1) ? SETT_OK : SETT_CORRUPT;
	case MANIFEST_FLUSH:
		if (!take_numbers(r, n, 3))
			return SETT_CORRUPT;
		ret->log_segment = n[0];
		ret->flushed = n[1];
		ret->now_ms = n[2];
		return SETT_OK;
	case MANIFEST_COUNTERS:
		return read_counters(r, ret);
	case MANIFEST_PREFIX_DIED:
	case MANIFEST_PREFIX_GONE:
		return read_prefix(r, ret);
	case MANIFEST_PENDING:
		return take_sized(r, &ret->pending) ? SETT_OK : SETT_CORRUPT;
	case MANIFEST_DIED:
	case MANIFEST_GONE:
		return read_dead(r, kind == MANIFEST_DIED, ret);
	case MANIFEST_FILE_LIMIT:
		return take_numbers(r, &ret->file_limit, 1) ? SETT_OK : SETT_CORRUPT;
	case MANIFEST_DURABLE:
		if (!take_numbers(r, n, 2) || n[1] > 1)
			return SETT_CORRUPT;
		ret->timestamp = n[0];
		ret->is_closed = n[1] == 1;
		return SETT_OK;
	default:
		return SETT_CORRUPT;
	}
}

static int
read_payload(struct bytes payload, const struct manifest_visitor *visitor)
{
	struct field_reader r = {payload.data, bytes_end(payload)};
	while (r.p < r.end) {
		struct manifest_field field;
		int status = read_field(&r, &field);
		if (status != SETT_OK)
			return status;
		status = visitor->field(visitor->arg, &field);
		free(field.counters);
		dead_list_release(field.dead);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* ---- records ---- */

/* Whether a good record stands at `offset`. */
static bool
record_at(struct bytes file, uint64_t offset, struct bytes *ret_payload)
{
	if (file.size - offset < MANIFEST_RECORD_HEADER_SIZE ||
	    get_le32(file.data + offset) != MANIFEST_RECORD_MAGIC)
		return false;
	uint32_t size = get_le32(file.data + offset + 4);
	const uint8_t *payload = file.data + offset + MANIFEST_RECORD_HEADER_SIZE;
	if (size > file.size - offset - MANIFEST_RECORD_HEADER_SIZE ||
	    manifest_record_checksum(offset, payload, size) != get_le64(file.data + offset + 8))
		return false;
	*ret_payload = bytes_of(payload, size);
	return true;
}

/* Whether any good record stands behind `offset` (invariant 1). */
static bool
record_follows(struct bytes file, uint64_t offset)
{
	uint8_t magic[4];
	put_le32(magic, MANIFEST_RECORD_MAGIC);
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
tell(const struct manifest_visitor *visitor, uint64_t offset, enum manifest_record kind, uint64_t size)
{
	return visitor->record ? visitor->record(visitor->arg, offset, kind, size) : SETT_OK;
}

/* There is no good record at `offset`: a mark that was lost, the torn end, or damage. `ret_end`: the next
 * record, or the end of the file. */
static int
pass_damage(const char *path, struct bytes file, uint64_t offset, const struct manifest_visitor *visitor,
	    uint64_t *ret_end, struct sett_error *error)
{
	struct bytes next;
	if (offset > MANIFEST_HEADER_SIZE && file.size - offset > MANIFEST_RECORD_HEADER_SIZE &&
	    record_at(file, offset + MANIFEST_RECORD_HEADER_SIZE, &next)) {
		*ret_end = offset + MANIFEST_RECORD_HEADER_SIZE;
		return tell(visitor, offset, MANIFEST_LOST_MARK, 0);
	}
	if (offset > MANIFEST_HEADER_SIZE && !record_follows(file, offset)) {
		*ret_end = file.size; /* torn: never acknowledged */
		return tell(visitor, offset, MANIFEST_TORN, file.size - offset);
	}
	return sett_error_set(error, SETT_CORRUPT, 0, "%s at offset %llu: the edit is damaged", path,
			      (unsigned long long)offset);
}

static int
read_header(const char *path, struct bytes file, const struct manifest_visitor *visitor, bool takes_plain,
	    bool *ret_is_sealed, struct sett_error *error)
{
	uint32_t version;
	if (file.size < MANIFEST_HEADER_SIZE)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s: %zu bytes, shorter than any manifest: it was cut short", path,
				      file.size);
	if (!manifest_header_decode(file.data, &version))
		return sett_error_set(error, SETT_CORRUPT, 0, "%s at offset 0: the header is damaged", path);
	if (version < MANIFEST_OLDEST_VERSION || version > MANIFEST_SEALED_VERSION)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s at offset 0: a manifest of version %" PRIu32
				      "; this program reads versions %d to %d",
				      path, version, MANIFEST_OLDEST_VERSION, MANIFEST_SEALED_VERSION);
	*ret_is_sealed = version == MANIFEST_SEALED_VERSION;
	if (!*ret_is_sealed && !takes_plain)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s at offset 0: it is not encrypted, though the database is", path);
	/* Encrypted or not, it says the same. */
	if (visitor->version)
		visitor->version(visitor->arg, *ret_is_sealed ? MANIFEST_VERSION : version);
	return SETT_OK;
}

/* Decrypts the payload of the record at `offset`, in its place: it is read once. */
static int
unseal(const char *path, struct keyring *keys, uint64_t offset, struct bytes *payload,
       struct sett_error *error)
{
	struct seal_place place = {.kind = SEAL_MANIFEST, .offset = offset};
	const char *why = "the edit is not encrypted, though the manifest is";
	int r = SETT_CORRUPT;
	if (payload->size > SEAL_SIZE) {
		*payload = bytes_of(payload->data, payload->size - SEAL_SIZE);
		uint8_t *p = (uint8_t *)(uintptr_t)payload->data;
		r = seal_open(keys, &place, *payload, p + payload->size, p, &why);
	}
	return r == SETT_OK
		? r
		: sett_error_set(error, r, 0, "%s at offset %llu: %s", path, (unsigned long long)offset, why);
}

static int
read_records(const char *path, struct keyring *keys, struct bytes file,
	     const struct manifest_visitor *visitor, struct sett_error *error)
{
	bool is_sealed = false;
	int status = read_header(path, file, visitor, keys == NULL || keyring_takes_plain(keys), &is_sealed,
				 error);
	if (status != SETT_OK)
		return status;
	for (uint64_t offset = MANIFEST_HEADER_SIZE; offset < file.size || offset == MANIFEST_HEADER_SIZE;) {
		struct bytes payload;
		int r;
		if (!record_at(file, offset, &payload)) {
			r = pass_damage(path, file, offset, visitor, &offset, error);
			if (r != SETT_OK)
				return r;
			continue;
		}
		uint64_t span = MANIFEST_RECORD_HEADER_SIZE + payload.size;
		r = tell(visitor, offset, payload.size ? MANIFEST_EDIT : MANIFEST_MARK, payload.size);
		if (r == SETT_OK && is_sealed && payload.size > 0) {
			r = unseal(path, keys, offset, &payload, error);
			if (r != SETT_OK)
				return r;
		}
		if (r == SETT_OK)
			r = read_payload(payload, visitor);
		if (r != SETT_OK)
			return sett_error_set(error, r, 0, "%s at offset %llu: the edit makes no sense", path,
					      (unsigned long long)offset);
		offset += span;
	}
	return SETT_OK;
}

int
manifest_read(struct vfs *vfs, const char *path, const struct manifest_visitor *visitor,
	      struct sett_error *error)
{
	struct vfs_file *file;
	int r = vfs_open(vfs, path, VFS_READ | VFS_SEQUENTIAL, &file, error);
	if (r != SETT_OK)
		return r;
	uint8_t *data = NULL;
	uint64_t size;
	r = vfs_size(file, &size, error);
	if (r != SETT_OK)
		goto out;
	if (size > MANIFEST_MAX_SIZE) {
		r = sett_error_set(error, SETT_CORRUPT, 0, "%s: larger than any manifest", path);
		goto out;
	}
	data = malloc(size ? size : 1);
	r = data ? vfs_read_exact(file, data, size, 0, 0, error)
		 : sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", path);
	if (r == SETT_OK)
		r = read_records(path, file->vfs->keys, bytes_of(data, size), visitor, error);
out:
	free(data);
	(void)vfs_close(file, NULL);
	return r;
}

/* ---- the sum of all edits ---- */

static void
pile_free(struct dead_pile *pile)
{
	for (size_t i = 0; i < pile->count; i++)
		dead_list_release(pile->lists[i]);
	free(pile->lists);
}

void
manifest_state_free(struct manifest_state *s)
{
	pile_free(&s->died);
	pile_free(&s->gone);
	buffer_free(&s->pending);
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

const struct manifest_table *
manifest_state_table(const struct manifest_state *s, uint64_t number)
{
	size_t at = find_table(s, number);
	return at < s->table_count && s->tables[at].number == number ? &s->tables[at] : NULL;
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

static int
add_table(struct manifest_state *s, const struct manifest_table *table)
{
	size_t at = find_table(s, table->number);
	if (at < s->table_count && s->tables[at].number == table->number)
		return SETT_CORRUPT;
	int status = grow((void **)&s->tables, s->table_count, &s->table_capacity, sizeof(*s->tables));
	if (status != SETT_OK)
		return status;
	memmove(s->tables + at + 1, s->tables + at, (s->table_count - at) * sizeof(*s->tables));
	s->tables[at] = *table;
	s->table_count++;
	return SETT_OK;
}

static int
remove_table(struct manifest_state *s, uint64_t number)
{
	size_t at = find_table(s, number);
	if (at == s->table_count || s->tables[at].number != number)
		return SETT_CORRUPT;
	memmove(s->tables + at, s->tables + at + 1, (s->table_count - at - 1) * sizeof(*s->tables));
	s->table_count--;
	return SETT_OK;
}

static int
set_shadowed(struct manifest_state *s, const struct manifest_table *table)
{
	size_t at = find_table(s, table->number);
	if (at == s->table_count || s->tables[at].number != table->number)
		return SETT_CORRUPT;
	s->tables[at].shadowed = table->shadowed;
	s->tables[at].shadowed_is_known = true;
	return SETT_OK;
}

/* Adds the list; the newest lists of like size become one. */
static int
pile_add(struct dead_pile *pile, struct dead_list *list)
{
	int status = grow((void **)&pile->lists, pile->count, &pile->capacity, sizeof(*pile->lists));
	if (status != SETT_OK)
		return status;
	pile->lists[pile->count++] = dead_list_retain(list);
	while (pile->count > 1) {
		struct dead_list **last = &pile->lists[pile->count - 2], *both;
		if (last[0]->size > 2 * last[1]->size)
			break;
		status = dead_list_merge(last, 2, &both);
		if (status != SETT_OK)
			return status;
		dead_list_release(last[0]);
		dead_list_release(last[1]);
		last[0] = both;
		pile->count--;
	}
	return SETT_OK;
}

int
manifest_state_dead(const struct manifest_state *s, struct dead_list **ret)
{
	struct dead_list *died = NULL, *gone = NULL;
	int status = dead_list_merge(s->died.lists, s->died.count, &died);
	if (status == SETT_OK)
		status = dead_list_merge(s->gone.lists, s->gone.count, &gone);
	if (status == SETT_OK)
		status = dead_list_subtract(died, gone, ret);
	dead_list_release(died);
	dead_list_release(gone);
	return status;
}

int
manifest_state_apply(void *state, struct manifest_field *f)
{
	struct manifest_state *s = state;
	switch (f->kind) {
	case MANIFEST_TABLE_ADDED:
		return add_table(s, &f->table);
	case MANIFEST_TABLE_REMOVED:
		return remove_table(s, f->table.number);
	case MANIFEST_SHADOWED:
		return set_shadowed(s, &f->table);
	case MANIFEST_FLUSH:
		s->log_segment = f->log_segment;
		s->flushed = f->flushed;
		s->now_ms = f->now_ms;
		return SETT_OK;
	case MANIFEST_COUNTERS:
		free(s->counters);
		s->counters = f->counters;
		s->counter_count = f->counter_count;
		f->counters = NULL;
		return SETT_OK;
	case MANIFEST_PREFIX_DIED:
	case MANIFEST_DIED:
		return pile_add(&s->died, f->dead);
	case MANIFEST_PREFIX_GONE:
	case MANIFEST_GONE:
		return pile_add(&s->gone, f->dead);
	case MANIFEST_PENDING:
		buffer_clear(&s->pending);
		return buffer_append(&s->pending, f->pending.data, f->pending.size);
	case MANIFEST_FILE_LIMIT:
		s->file_limit = f->file_limit;
		return SETT_OK;
	case MANIFEST_DURABLE:
		s->durable = f->timestamp;
		s->is_closed = f->is_closed;
		return SETT_OK;
	}
	return SETT_CORRUPT;
}

static void
note_version(void *state, uint32_t version)
{
	((struct manifest_state *)state)->version = version;
}

static int
note_record(void *state, uint64_t offset, enum manifest_record kind, uint64_t size)
{
	struct manifest_state *s = state;
	if (kind == MANIFEST_TORN)
		s->torn_at = offset;
	else
		s->end = offset + MANIFEST_RECORD_HEADER_SIZE + size;
	return SETT_OK;
}

int
manifest_load(struct vfs *vfs, const char *directory, struct manifest_state *ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	snprintf(path, sizeof(path), "%s/MANIFEST", directory);
	struct manifest_state state = {0};
	struct manifest_visitor visitor = {note_version, note_record, manifest_state_apply, &state};
	int r = manifest_read(vfs, path, &visitor, error);
	if (r == SETT_OK)
		*ret = state;
	else
		manifest_state_free(&state);
	return r;
}
