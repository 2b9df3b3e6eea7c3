/* Elements of a list in one run of bytes; the layout is in list_entries.h. */
#include "types/list_entries.h"

#include <assert.h>

uint8_t *
list_entry_write(uint8_t *p, struct bytes value)
{
	uint8_t *end = varint_put(p, value.size);
	size_t n = (size_t)(end - p);
	if (value.size > 0)
		memcpy(end, value.data, value.size);
	end += value.size;
	for (size_t i = 0; i < n; i++)
		end[i] = p[n - 1 - i];
	return end + n;
}

/* Whether the `n` bytes at `p` are those at `back` in reverse order. */
static inline bool
is_reverse(const uint8_t *p, const uint8_t *back, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != back[n - 1 - i])
			return false;
	return true;
}

int
list_entry_at(struct bytes run, size_t offset, struct list_entry *ret)
{
	const uint8_t *start = run.data + offset, *end = run.data + run.size;
	uint64_t size;
	if (offset == run.size)
		return SETT_NOT_FOUND;
	const uint8_t *p = varint_get(start, end, &size);
	if (p == NULL)
		return SETT_CORRUPT;
	size_t n = (size_t)(p - start), left = (size_t)(end - p);
	if (size > left || n > left - size || !is_reverse(start, p + size, n))
		return SETT_CORRUPT;
	*ret = (struct list_entry){
		.value = bytes_of(p, (size_t)size), .offset = offset, .size = 2 * n + (size_t)size};
	return SETT_OK;
}

int
list_entry_before(struct bytes run, size_t end, struct list_entry *ret)
{
	uint8_t reversed[VARINT_MAX_SIZE];
	size_t n = 0;
	uint64_t size;
	if (end == 0)
		return SETT_NOT_FOUND;
	do {
		if (n == end || n == VARINT_MAX_SIZE)
			return SETT_CORRUPT;
		reversed[n] = run.data[end - 1 - n];
	} while ((reversed[n++] & 0x80) != 0);
	if (varint_get(reversed, reversed + n, &size) == NULL)
		return SETT_CORRUPT;
	if (size > end || 2 * n > end - size)
		return SETT_CORRUPT;
	size_t offset = end - (size_t)size - 2 * n;
	if (memcmp(run.data + offset, reversed, n) != 0)
		return SETT_CORRUPT;
	*ret = (struct list_entry){.value = bytes_of(run.data + offset + n, (size_t)size),
				   .offset = offset,
				   .size = 2 * n + (size_t)size};
	return SETT_OK;
}

int
list_entry_index(struct bytes run, uint64_t count, uint64_t index, struct list_entry *ret)
{
	struct list_entry entry = {.offset = 0};
	int status = SETT_OK;
	assert(index < count);
	if (index < count / 2) {
		for (uint64_t i = 0; i <= index && status == SETT_OK; i++)
			status = list_entry_at(run, entry.offset + entry.size, &entry);
	} else {
		entry.offset = run.size;
		for (uint64_t i = count; i > index && status == SETT_OK; i--)
			status = list_entry_before(run, entry.offset, &entry);
	}
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	*ret = entry;
	return SETT_OK;
}

int
list_entry_offset(struct bytes run, uint64_t count, uint64_t index, size_t *ret)
{
	struct list_entry entry = {.offset = run.size};
	int status = index < count ? list_entry_index(run, count, index, &entry) : SETT_OK;
	if (status == SETT_OK)
		*ret = entry.offset;
	return status;
}
