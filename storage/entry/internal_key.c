/* Encoding and checking of entry values. The grammar stands in internal_key.h; in full, by kind:
 *
 *     tombstone   0x00
 *     inline      0x01 head_size head body               or  0x11 expires_at head_size head body
 *     pointer     0x02 head_size head pointer            or  0x12 expires_at head_size head pointer
 *
 * Example: head "ab", body "xyz", expiry 300:  11 ac 02 02 61 62 78 79 7a
 *
 * There is one encoding of each entry: a decoder that meets another (expiry 0 written out, bytes after a
 * pointer or a tombstone, an unknown kind) reports it as corrupt. */
#include "internal_key.h"

#include <assert.h>

#include "storage/limits.h"
#include "storage/status.h"

size_t
entry_encoded_size(const struct entry *e)
{
	if (e->kind == ENTRY_TOMBSTONE)
		return 1;
	size_t size = 1 + varint_size(e->head.size) + e->head.size;
	if (e->expires_at != 0)
		size += varint_size(e->expires_at);
	if (e->kind == ENTRY_INLINE)
		return size + e->body.size;
	return size + varint_size(e->pointer.file) + varint_size(e->pointer.offset) +
		varint_size(e->pointer.stored_size) + varint_size(e->pointer.body_size);
}

static uint8_t *
put_bytes(uint8_t *p, struct bytes b)
{
	if (b.size > 0)
		memcpy(p, b.data, b.size);
	return p + b.size;
}

/* varint_put asks for VARINT_MAX_SIZE bytes of room but writes no more than varint_size of them, so writing
 * into an exact fit is safe. */
uint8_t *
entry_encode(const struct entry *e, uint8_t *p)
{
	assert(e->kind <= ENTRY_POINTER);
	if (e->kind == ENTRY_TOMBSTONE) {
		*p++ = ENTRY_TOMBSTONE;
		return p;
	}
	*p++ = e->kind | (e->expires_at != 0 ? ENTRY_EXPIRES : 0);
	if (e->expires_at != 0)
		p = varint_put(p, e->expires_at);
	p = varint_put(p, e->head.size);
	p = put_bytes(p, e->head);
	if (e->kind == ENTRY_INLINE)
		return put_bytes(p, e->body);
	p = varint_put(p, e->pointer.file);
	p = varint_put(p, e->pointer.offset);
	p = varint_put(p, e->pointer.stored_size);
	return varint_put(p, e->pointer.body_size);
}

/* All of [p, end) must be one pointer. */
static int
pointer_decode(const uint8_t *p, const uint8_t *end, struct value_pointer *ret)
{
	struct value_pointer v;
	if ((p = varint_get(p, end, &v.file)) == NULL || (p = varint_get(p, end, &v.offset)) == NULL ||
	    (p = varint_get(p, end, &v.stored_size)) == NULL ||
	    (p = varint_get(p, end, &v.body_size)) == NULL)
		return SETT_CORRUPT;
	if (p != end || v.stored_size > UINT64_MAX - v.offset || v.body_size > SETT_MAX_BODY_SIZE)
		return SETT_CORRUPT;
	*ret = v;
	return SETT_OK;
}

int
entry_decode(struct bytes value, struct entry *ret)
{
	if (value.size == 0)
		return SETT_CORRUPT;
	const uint8_t *p = value.data, *end = bytes_end(value);
	uint8_t tag = *p++;
	/* Most entries are like this, and each read decodes one: a body, no deadline, and a head whose size takes a byte. */
	if (tag == ENTRY_INLINE && p < end && *p < 0x80 && *p < end - p) {
		size_t size = *p++;
		*ret = (struct entry){.kind = ENTRY_INLINE,
				      .head = bytes_of(p, size),
				      .body = bytes_of(p + size, (size_t)(end - p) - size)};
		return SETT_OK;
	}
	if (tag == ENTRY_TOMBSTONE && p == end) {
		*ret = (struct entry){.kind = ENTRY_TOMBSTONE};
		return SETT_OK;
	}
	struct entry e = {.kind = tag & ENTRY_KIND_MASK};
	if ((tag & ~(ENTRY_KIND_MASK | ENTRY_EXPIRES)) != 0 ||
	    (e.kind != ENTRY_INLINE && e.kind != ENTRY_POINTER))
		return SETT_CORRUPT;
	if (tag & ENTRY_EXPIRES) {
		p = varint_get(p, end, &e.expires_at);
		if (p == NULL || e.expires_at == 0)
			return SETT_CORRUPT;
	}
	uint64_t head_size;
	p = varint_get(p, end, &head_size);
	if (p == NULL || head_size > (uint64_t)(end - p))
		return SETT_CORRUPT;
	e.head = bytes_of(p, (size_t)head_size);
	p += head_size;
	if (e.kind == ENTRY_INLINE) {
		e.body = bytes_of(p, (size_t)(end - p));
	} else {
		int status = pointer_decode(p, end, &e.pointer);
		if (status != SETT_OK)
			return status;
	}
	*ret = e;
	return SETT_OK;
}

struct weight
entry_weight(struct bytes user_key, struct bytes value)
{
	struct weight w = {.index = user_key.size + IKEY_TRAILER_SIZE + value.size};
	struct entry e;
	if (value.size > 0 && (value.data[0] & ENTRY_KIND_MASK) == ENTRY_POINTER &&
	    entry_decode(value, &e) == SETT_OK)
		w.values = e.pointer.stored_size;
	return w;
}
