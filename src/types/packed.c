/* Fields of a small hash within one body; the layout is in packed.h. */
#include "types/packed.h"

#include "storage/base/varint.h"

/* A run of `size` bytes at `p`, NULL if there are fewer before `end`. */
static const uint8_t *
take(const uint8_t *p, const uint8_t *end, uint64_t size, struct bytes *ret)
{
	if (p == NULL || size > (size_t)(end - p))
		return NULL;
	*ret = bytes_of(p, (size_t)size);
	return p + size;
}

int
packed_at(struct bytes body, size_t offset, struct packed_field *ret)
{
	const uint8_t *start = body.data + offset, *end = body.data + body.size, *p;
	struct packed_field field = {.offset = offset};
	struct bytes deadline;
	uint64_t head, size = 0;
	if (offset == body.size)
		return SETT_NOT_FOUND;
	p = varint_get(start, end, &head);
	if (p != NULL && (head & 1) != 0) {
		p = take(p, end, 8, &deadline);
		if (p != NULL)
			field.deadline = get_le64(deadline.data);
	}
	p = take(p, end, head >> 1, &field.name);
	if (p != NULL)
		p = varint_get(p, end, &size);
	p = take(p, end, size, &field.value);
	if (p == NULL || ((head & 1) != 0 && field.deadline == 0))
		return SETT_CORRUPT;
	field.size = (size_t)(p - start);
	*ret = field;
	return SETT_OK;
}

int
packed_find(struct bytes body, struct bytes name, struct packed_field *ret)
{
	struct packed_field field;
	size_t offset = 0;
	int status;
	while ((status = packed_at(body, offset, &field)) == SETT_OK) {
		if (bytes_equal(field.name, name)) {
			*ret = field;
			return SETT_OK;
		}
		offset += field.size;
	}
	return status;
}

size_t
packed_size(struct bytes name, struct bytes value, uint64_t deadline)
{
	return varint_size((uint64_t)name.size << 1) + (deadline != 0 ? 8 : 0) + name.size +
		varint_size(value.size) + value.size;
}

static uint8_t *
write_bytes(uint8_t *p, struct bytes bytes)
{
	if (bytes.size > 0)
		memcpy(p, bytes.data, bytes.size);
	return p + bytes.size;
}

uint8_t *
packed_write(uint8_t *p, struct bytes name, struct bytes value, uint64_t deadline)
{
	p = varint_put(p, (uint64_t)name.size << 1 | (deadline != 0));
	if (deadline != 0) {
		put_le64(p, deadline);
		p += 8;
	}
	p = write_bytes(p, name);
	p = varint_put(p, value.size);
	return write_bytes(p, value);
}
