/* Index blocks: see table_index.h for the layout.
 *
 * A search touches one array of 64-bit words: the first bytes in which the separators differ, since what all
 * have in common is taken out. Only separators that agree in that word with the target are compared as bytes.
 *
 * Invariant: what index_view_parse accepted can be searched without any check: arrays inside the payload,
 * suffix ends ascending and inside it, offsets strictly ascending, words equal to the suffixes' first bytes.
 */
#include "table_index.h"

#include <assert.h>
#include <stdlib.h>

#include "table_format.h"

enum { HEADER_SIZE = 8, FIXED_PER_ENTRY = 8 + 8 + 8 + 4 };

static uint64_t
first_word(const uint8_t *p, size_t size)
{
	uint8_t padded[8] = {0};
	if (size >= 8)
		return get_be64(p);
	if (size)
		memcpy(padded, p, size);
	return get_be64(padded);
}

static uint64_t
word_of(const struct index_view *v, uint32_t i)
{
	return get_le64(v->words + 8 * (size_t)i);
}

uint64_t
index_timestamp(const struct index_view *v, uint32_t i)
{
	return get_le64(v->timestamps + 8 * (size_t)i);
}

static struct bytes
suffix_of(const struct index_view *v, uint32_t i)
{
	uint32_t start = i ? get_le32(v->suffix_ends + 4 * (size_t)(i - 1)) : 0;
	return bytes_of(v->suffixes + start, get_le32(v->suffix_ends + 4 * (size_t)i) - start);
}

/* ---- reading ---- */

struct index_view
index_view_again(struct bytes payload)
{
	struct index_view v = {.count = get_le32(payload.data), .prefix_size = get_le32(payload.data + 4)};
	v.words = payload.data + HEADER_SIZE;
	v.timestamps = v.words + 8 * (size_t)v.count;
	v.offsets = v.timestamps + 8 * (size_t)v.count;
	v.suffix_ends = v.offsets + 8 * ((size_t)v.count + 1);
	v.prefix = v.suffix_ends + 4 * (size_t)v.count;
	v.suffixes = v.prefix + v.prefix_size;
	return v;
}

int
index_view_parse(struct bytes payload, struct index_view *ret)
{
	if (payload.size < HEADER_SIZE + 8 + FIXED_PER_ENTRY)
		return SETT_CORRUPT;
	uint64_t count = get_le32(payload.data), prefix_size = get_le32(payload.data + 4);
	uint64_t fixed = HEADER_SIZE + 8 + count * FIXED_PER_ENTRY;
	if (count == 0 || fixed + prefix_size > payload.size || prefix_size > SETT_MAX_KEY_SIZE)
		return SETT_CORRUPT;
	uint64_t area = payload.size - fixed - prefix_size;
	struct index_view v = index_view_again(payload);
	uint32_t start = 0;
	for (uint32_t i = 0; i < v.count; i++) {
		uint32_t end = get_le32(v.suffix_ends + 4 * (size_t)i);
		if (end < start || end > area || end - start + prefix_size > SETT_MAX_KEY_SIZE ||
		    index_offset(&v, i) >= index_offset(&v, i + 1))
			return SETT_CORRUPT;
		struct ikey key = {suffix_of(&v, i), index_timestamp(&v, i)};
		if (word_of(&v, i) != first_word(key.user.data, key.user.size))
			return SETT_CORRUPT;
		if (i > 0 &&
		    ikey_compare((struct ikey){suffix_of(&v, i - 1), index_timestamp(&v, i - 1)}, key) >= 0)
			return SETT_CORRUPT;
		start = end;
	}
	if (start != area)
		return SETT_CORRUPT;
	*ret = v;
	return SETT_OK;
}

/* First i in [low, high) with words[i] >= word, or > word if `above`. */
static uint32_t
word_bound(const struct index_view *v, uint32_t low, uint32_t high, uint64_t word, bool above)
{
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t at = word_of(v, middle);
		if (at < word || (above && at == word))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t
index_find(const struct index_view *v, struct ikey target)
{
	size_t n = target.user.size < v->prefix_size ? target.user.size : v->prefix_size;
	int c = n ? memcmp(target.user.data, v->prefix, n) : 0;
	if (c > 0)
		return v->count;
	if (c < 0 || n < v->prefix_size)
		return 0;
	struct ikey rest = {bytes_from(target.user, n), target.timestamp};
	uint64_t word = first_word(rest.user.data, rest.user.size);
	uint32_t low = word_bound(v, 0, v->count, word, false);
	if (low == v->count || word_of(v, low) != word)
		return low;
	uint32_t high = word_bound(v, low, v->count, word, true);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct ikey key = {suffix_of(v, middle), index_timestamp(v, middle)};
		if (ikey_compare(key, rest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
index_separator(const struct index_view *v, uint32_t i, struct buffer *ret)
{
	struct bytes suffix = suffix_of(v, i);
	int r = buffer_reserve(ret, v->prefix_size + suffix.size + 1);
	if (r != SETT_OK)
		return r;
	memcpy(ret->data + ret->size, v->prefix, v->prefix_size);
	memcpy(ret->data + ret->size + v->prefix_size, suffix.data, suffix.size);
	ret->size += v->prefix_size + suffix.size;
	return SETT_OK;
}

/* ---- writing ---- */

int
index_builder_add(struct index_builder *b, struct ikey separator, uint64_t child_offset)
{
	if (b->count == b->capacity) {
		size_t capacity = b->capacity ? b->capacity * 2 : 64;
		struct index_separator_entry *grown = realloc(b->entries, capacity * sizeof(*grown));
		if (!grown)
			return SETT_NO_MEMORY;
		b->entries = grown;
		b->capacity = capacity;
	}
	assert(b->count == 0 || child_offset > b->entries[b->count - 1].offset);
	size_t at = b->keys.size;
	int r = buffer_append(&b->keys, separator.user.data, separator.user.size);
	if (r != SETT_OK)
		return r;
	b->entries[b->count++] =
		(struct index_separator_entry){separator.timestamp, child_offset, at, separator.user.size};
	return SETT_OK;
}

struct ikey
index_builder_separator(const struct index_builder *b, size_t i)
{
	assert(i < b->count);
	const struct index_separator_entry *e = &b->entries[i];
	return (struct ikey){bytes_of(b->keys.data ? b->keys.data + e->key : NULL, e->key_size),
			     e->timestamp};
}

/* Sorted keys: what the first and the last share, all share. */
static size_t
shared_by_all(struct bytes first, struct bytes last)
{
	size_t n = first.size < last.size ? first.size : last.size, i = 0;
	while (i < n && first.data[i] == last.data[i])
		i++;
	return i;
}

int
index_builder_encode(const struct index_builder *b, size_t first, size_t count, uint64_t end,
		     struct buffer *out)
{
	assert(count > 0 && first + count <= b->count);
	struct bytes front = index_builder_separator(b, first).user;
	size_t prefix = shared_by_all(front, index_builder_separator(b, first + count - 1).user);
	size_t total = HEADER_SIZE + 8 + count * FIXED_PER_ENTRY + prefix;
	for (size_t i = first; i < first + count; i++)
		total += b->entries[i].key_size - prefix;
	int r = buffer_reserve(out, total);
	if (r != SETT_OK)
		return r;
	uint8_t *p = out->data + out->size;
	put_le32(p, (uint32_t)count);
	put_le32(p + 4, (uint32_t)prefix);
	uint8_t *words = p + HEADER_SIZE, *timestamps = words + 8 * count, *offsets = timestamps + 8 * count;
	uint8_t *ends = offsets + 8 * (count + 1), *area = ends + 4 * count;
	if (prefix)
		memcpy(area, front.data, prefix);
	area += prefix;
	uint32_t at = 0;
	for (size_t i = 0; i < count; i++) {
		struct ikey key = index_builder_separator(b, first + i);
		struct bytes suffix = bytes_from(key.user, prefix);
		put_le64(words + 8 * i, first_word(suffix.data, suffix.size));
		put_le64(timestamps + 8 * i, key.timestamp);
		put_le64(offsets + 8 * i, b->entries[first + i].offset);
		if (suffix.size)
			memcpy(area + at, suffix.data, suffix.size);
		at += (uint32_t)suffix.size;
		put_le32(ends + 4 * i, at);
	}
	assert(end > b->entries[first + count - 1].offset);
	assert(area + at <= p + total); /* eight bytes stand behind */
	put_le64(offsets + 8 * count, end);
	out->size += total;
	return SETT_OK;
}

void
index_builder_free(struct index_builder *b)
{
	buffer_free(&b->keys);
	free(b->entries);
	*b = (struct index_builder){0};
}
