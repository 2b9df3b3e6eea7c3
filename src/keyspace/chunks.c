/* Long strings that were edited in place; see chunks.h. */
#include "keyspace/chunks.h"

#include "keyspace/build.h"
#include "keyspace/private.h"
#include "keyspace/root.h"
#include "storage/base/varint.h"

enum {
	KEY_SIZE = ELEMENT_PREFIX_SIZE + 4,
	FEW_CHUNKS = 4, /* are read one by one, more by walking over them */
	CHUNK_OVERHEAD = KEY_SIZE + 16,
};

/* The engine key of a chunk. */
struct chunk_key {
	uint8_t data[KEY_SIZE];
};

static struct bytes
chunk_key(uint64_t epoch, uint64_t object, uint64_t index, struct chunk_key *room)
{
	assert(index <= UINT32_MAX);
	keyspace_element_prefix(room->data, epoch, object);
	for (int i = 0; i < 4; i++)
		room->data[ELEMENT_PREFIX_SIZE + i] = (uint8_t)(index >> (24 - 8 * i));
	return bytes_of(room->data, KEY_SIZE);
}

static uint64_t
chunk_index(struct bytes key)
{
	uint64_t index = 0;
	for (int i = 0; i < 4; i++)
		index = index << 8 | key.data[ELEMENT_PREFIX_SIZE + i];
	return index;
}

bool
chunks_parse_size(struct bytes fields, uint64_t base_size, uint64_t *ret)
{
	const uint8_t *end = fields.data + fields.size;
	return fields.size > 0 && varint_get(fields.data, end, ret) == end && *ret >= base_size &&
		*ret / CHUNK_SIZE < UINT32_MAX;
}

/* ---- reading ---- */

/* A range of the string, and where its bytes go. */
struct range {
	uint64_t offset;
	size_t size;
	uint8_t *bytes;
};

/* What the base has of the range; zeros after its end. */
static int
read_base(const struct key *k, const struct range *r)
{
	uint64_t base_size = k->root.record.body_size;
	uint64_t left = r->offset < base_size ? base_size - r->offset : 0;
	size_t part = left < r->size ? (size_t)left : r->size;
	memset(r->bytes + part, 0, r->size - part);
	return part > 0 ? sett_txn_body_part(k->view->txn, &k->root.record, r->offset, part, r->bytes)
			: SETT_OK;
}

/* Puts what the chunk has of the range in its place. */
static int
take_chunk(const struct key *k, uint64_t index, const struct sett_record *record, const struct range *r)
{
	uint64_t start = index * CHUNK_SIZE, end = start + CHUNK_SIZE;
	uint64_t from = start > r->offset ? start : r->offset;
	uint64_t to = end < r->offset + r->size ? end : r->offset + r->size;
	uint64_t stored_end = start + record->body_size < to ? start + record->body_size : to;
	uint8_t *place = r->bytes + (from - r->offset);
	if (record->body_size > CHUNK_SIZE)
		return SETT_CORRUPT;
	size_t part = stored_end > from ? (size_t)(stored_end - from) : 0;
	memset(place + part, 0, (size_t)(to - from) - part);
	return part > 0 ? sett_txn_body_part(k->view->txn, record, from - start, part, place) : SETT_OK;
}

/* The base is read for what has no chunk alone: it may be cold. */
static int
read_singly(const struct key *k, uint64_t first, uint64_t last, const struct range *r)
{
	for (uint64_t i = first; i <= last; i++) {
		struct chunk_key room;
		struct sett_record record;
		uint64_t start = i * CHUNK_SIZE, end = start + CHUNK_SIZE;
		uint64_t from = start > r->offset ? start : r->offset;
		uint64_t to = end < r->offset + r->size ? end : r->offset + r->size;
		struct range part = {
			.offset = from, .size = (size_t)(to - from), .bytes = r->bytes + (from - r->offset)};
		int status =
			sett_txn_get(k->view->txn, chunk_key(k->epoch, k->root.object, i, &room), &record);
		if (status == SETT_OK)
			status = take_chunk(k, i, &record, &part);
		else if (status == SETT_NOT_FOUND)
			status = read_base(k, &part);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
walk_chunks(const struct key *k, uint64_t first, uint64_t last, struct sett_iterator **ret)
{
	struct chunk_key lower, upper;
	struct sett_iterator_options options = {
		.lower = chunk_key(k->epoch, k->root.object, first, &lower),
		.upper = chunk_key(k->epoch, k->root.object, last + 1, &upper)};
	return sett_iterator_open(k->view->txn, &options, ret);
}

/* The base, and over it the chunks that there are. */
static int
read_by_walk(const struct key *k, uint64_t first, uint64_t last, const struct range *r)
{
	struct sett_iterator *iterator;
	struct sett_record record;
	int status = read_base(k, r);
	if (status == SETT_OK)
		status = walk_chunks(k, first, last, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct bytes key = sett_iterator_key(iterator);
		status = key.size == KEY_SIZE ? sett_iterator_record(iterator, &record) : SETT_CORRUPT;
		if (status == SETT_OK)
			status = take_chunk(k, chunk_index(key), &record, r);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
chunks_read(const struct key *k, uint64_t offset, size_t size, uint8_t *ret)
{
	struct range r = {.offset = offset, .size = size, .bytes = ret};
	if (size == 0)
		return SETT_OK;
	uint64_t first = offset / CHUNK_SIZE, last = (offset + size - 1) / CHUNK_SIZE;
	return last - first < FEW_CHUNKS ? read_singly(k, first, last, &r) : read_by_walk(k, first, last, &r);
}

/* ---- editing ---- */

/* The chunk that is being changed. */
struct edited_chunk {
	uint64_t index;
	bool is_loaded, is_stored;
	struct sett_record record; /* as stored */
	uint8_t bytes[CHUNK_SIZE];
};

struct editing {
	struct key *key;
	uint64_t object, object_bytes, size; /* of the string, as they will be */
	struct edited_chunk chunk;
};

static int
load_chunk(struct editing *e, uint64_t index)
{
	struct edited_chunk *c = &e->chunk;
	const struct key *k = e->key;
	struct chunk_key room;
	struct range r = {.offset = index * CHUNK_SIZE, .size = CHUNK_SIZE, .bytes = c->bytes};
	int status = SETT_NOT_FOUND;
	if (k->exists && k->root.object != 0)
		status = sett_txn_get(k->view->txn, chunk_key(k->epoch, k->root.object, index, &room),
				      &c->record);
	c->is_stored = status == SETT_OK;
	c->index = index;
	c->is_loaded = true;
	if (status == SETT_OK)
		return take_chunk(k, index, &c->record, &r);
	if (status != SETT_NOT_FOUND)
		return status;
	/* The body of a string without chunks is the base to be. */
	if (k->exists)
		return read_base(k, &r);
	memset(c->bytes, 0, CHUNK_SIZE);
	return SETT_OK;
}

static int
store_chunk(struct editing *e)
{
	struct edited_chunk *c = &e->chunk;
	struct chunk_key room;
	uint64_t left = e->size - c->index * CHUNK_SIZE;
	size_t size = left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE;
	struct sett_put put = {.body = bytes_of(c->bytes, size), .over = c->is_stored ? &c->record : NULL};
	if (!c->is_loaded)
		return SETT_OK;
	c->is_loaded = false;
	e->object_bytes += size + CHUNK_OVERHEAD;
	if (c->is_stored)
		e->object_bytes -= c->record.body_size + CHUNK_OVERHEAD;
	return sett_txn_put(e->key->view->txn, chunk_key(e->key->epoch, e->object, c->index, &room), &put);
}

static int
apply_edit(struct editing *e, const struct key_edit *edit)
{
	for (size_t done = 0; done < edit->data.size;) {
		uint64_t at = edit->offset + done, index = at / CHUNK_SIZE;
		size_t within = (size_t)(at % CHUNK_SIZE), left = edit->data.size - done;
		size_t part = left < CHUNK_SIZE - within ? left : CHUNK_SIZE - within;
		if (!e->chunk.is_loaded || e->chunk.index != index) {
			int status = store_chunk(e);
			if (status == SETT_OK)
				status = load_chunk(e, index);
			if (status != SETT_OK)
				return status;
		}
		memcpy(e->chunk.bytes + within, edit->data.data + done, part);
		done += part;
	}
	return SETT_OK;
}

/* The root says how long the string is now; its body stays what it was. */
static int
put_root(struct editing *e)
{
	struct key *k = e->key;
	uint8_t fields[VARINT_MAX_SIZE], *end = varint_put(fields, e->size);
	struct root_content content = {.type = VALUE_STRING,
				       .encoding = STRING_RAW,
				       .expires_at = k->exists ? k->root.expires_at : 0,
				       .object = e->object,
				       .object_bytes = e->object_bytes,
				       .fields = bytes_of(fields, (size_t)(end - fields)),
				       .body_of = k->exists ? &k->root.record : NULL};
	return key_put(k, &content);
}

bool
key_takes_edits(const struct key *k)
{
	return k->name.size + VARINT_MAX_SIZE <= root_longest_name_in_head();
}

int
key_edit(struct key *k, const struct key_edit *edits, size_t count)
{
	struct editing e = {.key = k,
			    .object = k->exists ? k->root.object : 0,
			    .object_bytes = k->exists ? k->root.object_bytes : 0,
			    .size = k->exists ? k->root.body_size : 0};
	int status = e.object == 0 ? keyspace_take_object(k->view, &e.object) : SETT_OK;
	assert(key_takes_edits(k));
	for (size_t i = 0; i < count; i++) {
		assert(i == 0 || edits[i].offset >= edits[i - 1].offset + edits[i - 1].data.size);
		if (e.size < edits[i].offset + edits[i].data.size)
			e.size = edits[i].offset + edits[i].data.size;
	}
	for (size_t i = 0; status == SETT_OK && i < count; i++)
		status = apply_edit(&e, &edits[i]);
	if (status == SETT_OK)
		status = store_chunk(&e);
	return status == SETT_OK ? put_root(&e) : status;
}

/* ---- copying ---- */

static int
copy_chunk(struct sett_iterator *from, struct sett_txn *txn, struct keyspace_view *to, uint64_t epoch,
	   uint64_t object)
{
	struct bytes key = sett_iterator_key(from);
	struct sett_record record;
	struct chunk_key room;
	uint8_t bytes[CHUNK_SIZE];
	int status = key.size == KEY_SIZE ? sett_iterator_record(from, &record) : SETT_CORRUPT;
	if (status == SETT_OK && record.body_size > CHUNK_SIZE)
		status = SETT_CORRUPT;
	if (status != SETT_OK)
		return status;
	size_t size = (size_t)record.body_size;
	status = sett_txn_body_part(txn, &record, 0, size, bytes);
	if (status == SETT_OK)
		status = sett_txn_put(to->txn, chunk_key(epoch, object, chunk_index(key), &room),
				      &(struct sett_put){.body = bytes_of(bytes, size)});
	return status == SETT_OK ? build_step(to, KEY_SIZE + size) : status;
}

static int
copy_chunks(const struct key *from, struct keyspace_view *to, uint64_t epoch, uint64_t object)
{
	struct sett_iterator *iterator;
	int status = walk_chunks(from, 0, UINT32_MAX - 1, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		status = copy_chunk(iterator, from->view->txn, to, epoch, object);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
key_copy_string(const struct key *from, struct key *to)
{
	uint64_t object;
	struct keyspace_view *elements;
	if (!root_is_chunked(&from->root))
		return key_copy_packed(from, to);
	if (!key_takes_edits(to)) {
		struct bytes value;
		int status = key_body(from, &value);
		return status == SETT_OK ? key_put_encoded(to, value, STRING_RAW, from->root.expires_at)
					 : status;
	}
	int status = build_begin(to->view, to->epoch, &object, &elements);
	if (status == SETT_OK)
		status = copy_chunks(from, elements, to->epoch, object);
	if (status == SETT_OK)
		status = build_finish(to->view, elements);
	struct root_content content = {.type = VALUE_STRING,
				       .encoding = STRING_RAW,
				       .expires_at = from->root.expires_at,
				       .object = object,
				       .object_bytes = from->root.object_bytes,
				       .fields = from->root.fields,
				       .body_of = &from->root.record};
	return status == SETT_OK ? key_put(to, &content) : status;
}
