/* Properties of a table. The block's payload is a run of varints and the two keys, in the order of
 * table_properties_encode; a reader must use it up exactly.
 *
 * The references are what value-log accounting is derived from: for each value-log file the stored bytes and
 * the number of this table's entries that point into it, sorted by file, each file once. */
#include "table_properties.h"

#include <stdlib.h>

#include "table_format.h"

enum { FIXED_FIELDS = 10 };

void
table_properties_free(struct table_properties *p)
{
	free(p->references);
	buffer_free(&p->smallest);
	buffer_free(&p->largest);
	*p = (struct table_properties){0};
}

/* ---- gathering ---- */

void
property_collector_init(struct property_collector *c)
{
	*c = (struct property_collector){0};
	c->properties.smallest_timestamp = c->properties.smallest_expiry = UINT64_MAX;
}

void
property_collector_free(struct property_collector *c)
{
	table_properties_free(&c->properties);
}

static int
encode_key(struct buffer *out, struct ikey key)
{
	out->size = 0;
	int r = buffer_reserve(out, key.user.size + IKEY_TRAILER_SIZE);
	if (r != SETT_OK)
		return r;
	ikey_encode(key, out->data);
	out->size = key.user.size + IKEY_TRAILER_SIZE;
	return SETT_OK;
}

/* The place of `file` among the references, made if it is missing; NULL if memory runs out. */
static struct table_reference *
reference_of(struct property_collector *c, uint64_t file)
{
	struct table_properties *p = &c->properties;
	uint32_t *place = &c->places[file % REFERENCE_PLACES];
	if (*place < p->reference_count && p->references[*place].file == file)
		return &p->references[*place];
	size_t low = 0, high = p->reference_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->references[middle].file < file)
			low = middle + 1;
		else
			high = middle;
	}
	*place = (uint32_t)low;
	if (low < p->reference_count && p->references[low].file == file)
		return &p->references[low];
	if (p->reference_count == c->reference_capacity) {
		size_t capacity = c->reference_capacity ? c->reference_capacity * 2 : 8;
		struct table_reference *grown = realloc(p->references, capacity * sizeof(*grown));
		if (!grown)
			return NULL;
		p->references = grown;
		c->reference_capacity = capacity;
	}
	memmove(&p->references[low + 1], &p->references[low],
		(p->reference_count - low) * sizeof(*p->references));
	p->references[low] = (struct table_reference){.file = file};
	p->reference_count++;
	return &p->references[low];
}

int
property_collector_add(struct property_collector *c, struct ikey key, struct bytes value)
{
	struct table_properties *p = &c->properties;
	struct entry e;
	int r = entry_decode(value, &e);
	if (r == SETT_OK && p->entries == 0)
		r = encode_key(&p->smallest, key);
	if (r != SETT_OK)
		return r;
	if (e.kind == ENTRY_POINTER) {
		struct table_reference *reference = reference_of(c, e.pointer.file);
		if (!reference)
			return SETT_NO_MEMORY;
		reference->bytes += e.pointer.stored_size;
		reference->entries++;
		p->referenced_bytes += e.pointer.stored_size;
	}
	p->entries++;
	p->tombstones += e.kind == ENTRY_TOMBSTONE;
	p->key_bytes += key.user.size + IKEY_TRAILER_SIZE;
	p->value_bytes += value.size;
	if (key.timestamp < p->smallest_timestamp)
		p->smallest_timestamp = key.timestamp;
	if (key.timestamp > p->largest_timestamp)
		p->largest_timestamp = key.timestamp;
	if (e.expires_at && e.expires_at < p->smallest_expiry)
		p->smallest_expiry = e.expires_at;
	return SETT_OK;
}

int
property_collector_finish(struct property_collector *c, struct ikey last)
{
	return encode_key(&c->properties.largest, last);
}

/* ---- the block ---- */

int
table_properties_encode(const struct table_properties *p, uint64_t data_blocks, struct buffer *out)
{
	size_t room = (FIXED_FIELDS + 2 + p->reference_count * 3) * VARINT_MAX_SIZE + p->smallest.size +
		p->largest.size;
	int r = buffer_reserve(out, room);
	if (r != SETT_OK)
		return r;
	const uint64_t fields[FIXED_FIELDS] = {
		p->entries,         p->tombstones,         p->key_bytes,
		p->value_bytes,     p->smallest_timestamp, p->largest_timestamp,
		p->smallest_expiry, p->referenced_bytes,   data_blocks,
		p->reference_count};
	uint8_t *at = out->data + out->size;
	for (size_t i = 0; i < FIXED_FIELDS; i++)
		at = varint_put(at, fields[i]);
	for (size_t i = 0; i < p->reference_count; i++) {
		at = varint_put(at, p->references[i].file);
		at = varint_put(at, p->references[i].bytes);
		at = varint_put(at, p->references[i].entries);
	}
	const struct buffer *keys[2] = {&p->smallest, &p->largest};
	for (size_t i = 0; i < 2; i++) {
		at = varint_put(at, keys[i]->size);
		memcpy(at, keys[i]->data, keys[i]->size);
		at += keys[i]->size;
	}
	out->size = (size_t)(at - out->data);
	return SETT_OK;
}

static int
decode_references(const uint8_t **p, const uint8_t *end, uint64_t count, struct table_properties *ret)
{
	if (count > (uint64_t)(end - *p) / 3) /* each takes three bytes at least */
		return SETT_CORRUPT;
	if (count == 0)
		return SETT_OK;
	ret->references = calloc((size_t)count, sizeof(*ret->references));
	if (!ret->references)
		return SETT_NO_MEMORY;
	ret->reference_count = (size_t)count;
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		struct table_reference *reference = &ret->references[i];
		if (!(*p = varint_get(*p, end, &reference->file)) ||
		    !(*p = varint_get(*p, end, &reference->bytes)) ||
		    !(*p = varint_get(*p, end, &reference->entries)))
			return SETT_CORRUPT;
		if (i > 0 && reference->file <= reference[-1].file)
			return SETT_CORRUPT;
		sum += reference->bytes;
	}
	return sum == ret->referenced_bytes ? SETT_OK : SETT_CORRUPT;
}

static int
decode_key(const uint8_t **p, const uint8_t *end, struct buffer *ret)
{
	uint64_t size;
	if (!(*p = varint_get(*p, end, &size)) || size < IKEY_TRAILER_SIZE ||
	    size > SETT_MAX_KEY_SIZE + IKEY_TRAILER_SIZE || size > (uint64_t)(end - *p))
		return SETT_CORRUPT;
	int r = buffer_append(ret, *p, (size_t)size);
	*p += size;
	return r;
}

int
table_properties_decode(struct bytes payload, struct table_properties *ret, uint64_t *ret_data_blocks)
{
	const uint8_t *p = payload.data, *end = bytes_end(payload);
	uint64_t fields[FIXED_FIELDS];
	for (size_t i = 0; i < FIXED_FIELDS; i++)
		if (!(p = varint_get(p, end, &fields[i])))
			return SETT_CORRUPT;
	struct table_properties out = {
		.entries = fields[0],
		.tombstones = fields[1],
		.key_bytes = fields[2],
		.value_bytes = fields[3],
		.smallest_timestamp = fields[4],
		.largest_timestamp = fields[5],
		.smallest_expiry = fields[6],
		.referenced_bytes = fields[7],
	};
	int r = decode_references(&p, end, fields[9], &out);
	if (r == SETT_OK)
		r = decode_key(&p, end, &out.smallest);
	if (r == SETT_OK)
		r = decode_key(&p, end, &out.largest);
	if (r == SETT_OK &&
	    (p != end || out.entries == 0 || out.tombstones > out.entries ||
	     out.smallest_timestamp > out.largest_timestamp || fields[8] == 0 || fields[8] > out.entries ||
	     (out.reference_count == 0 && out.referenced_bytes != 0) ||
	     ikey_compare(ikey_decode(buffer_bytes(&out.smallest)), ikey_decode(buffer_bytes(&out.largest))) >
		     0))
		r = SETT_CORRUPT;
	if (r != SETT_OK) {
		table_properties_free(&out);
		return r;
	}
	*ret = out;
	*ret_data_blocks = fields[8];
	return SETT_OK;
}

bool
table_properties_equal(const struct table_properties *a, const struct table_properties *b)
{
	return a->entries == b->entries && a->tombstones == b->tombstones && a->key_bytes == b->key_bytes &&
		a->value_bytes == b->value_bytes && a->smallest_timestamp == b->smallest_timestamp &&
		a->largest_timestamp == b->largest_timestamp && a->smallest_expiry == b->smallest_expiry &&
		a->referenced_bytes == b->referenced_bytes && a->reference_count == b->reference_count &&
		(a->reference_count == 0 ||
		 memcmp(a->references, b->references, a->reference_count * sizeof(*a->references)) == 0) &&
		bytes_equal(buffer_bytes(&a->smallest), buffer_bytes(&b->smallest)) &&
		bytes_equal(buffer_bytes(&a->largest), buffer_bytes(&b->largest));
}
