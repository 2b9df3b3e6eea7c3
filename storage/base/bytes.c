/* The growable buffer. Capacity doubles, so appending n bytes one at a time costs O(n); it never shrinks. */
#include "storage/base/bytes.h"

#include <stdlib.h>

#include "storage/status.h"

enum { BUFFER_FIRST_CAPACITY = 64 };

int
buffer_reserve(struct buffer *b, size_t more)
{
	if (more <= b->capacity - b->size)
		return SETT_OK;
	if (more > SIZE_MAX / 2 - b->size)
		return SETT_NO_MEMORY;
	size_t need = b->size + more;
	size_t capacity = b->capacity > 0 ? b->capacity : BUFFER_FIRST_CAPACITY;
	while (capacity < need)
		capacity *= 2;
	uint8_t *data = realloc(b->data, capacity);
	if (data == NULL)
		return SETT_NO_MEMORY;
	b->data = data;
	b->capacity = capacity;
	return SETT_OK;
}

int
buffer_append(struct buffer *b, const void *data, size_t size)
{
	if (size == 0)
		return SETT_OK;
	int status = buffer_reserve(b, size);
	if (status != SETT_OK)
		return status;
	memcpy(b->data + b->size, data, size);
	b->size += size;
	return SETT_OK;
}

void
buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}
