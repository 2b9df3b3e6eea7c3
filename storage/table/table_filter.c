/* The blocked Bloom filter: 10 bits a key, 6 probes, all in one cache line of 512 bits.
 *
 * The upper half of the key's hash chooses the line (multiply-shift); the bits come from a remix of all 64,
 * of which 6 times 9 are taken. Expected false positives are near 1 %, a little above an unblocked filter's
 * since lines fill unevenly. */
#include "table_filter.h"

#include <assert.h>
#include <stdlib.h>

#include "table.h"

enum {
	BITS_PER_KEY = 10,
	PROBES = 6,
	LINE_BITS = TABLE_FILTER_LINE * 8,
	PROBE_BITS = 9,
	PART_HASHES = 1022, /* 8 KiB */
	AHEAD = 16,
};

struct filter_part {
	struct filter_part *next;
	size_t count;
	uint64_t hashes[PART_HASHES];
};

_Static_assert(1 << PROBE_BITS == LINE_BITS, "a probe addresses a line");
_Static_assert(PROBES *PROBE_BITS <= 64, "the remix has bits enough");

static uint32_t
line_of(uint64_t hash, uint32_t count)
{
	return (uint32_t)(((hash >> 32) * count) >> 32);
}

static uint64_t
remix(uint64_t hash)
{
	hash *= 0x9fb21c651e98df25ULL;
	hash ^= hash >> 35;
	return hash * 0x9e3779b97f4a7c15ULL;
}

uint64_t
table_filter_hash(struct bytes user_key)
{
	return hash64_bytes(user_key, 0);
}

static const uint8_t *
line_at(const uint8_t *lines, uint32_t count, uint64_t hash)
{
	return lines + (size_t)TABLE_FILTER_LINE * line_of(hash, count);
}

void
filter_fetch(const uint8_t *lines, uint32_t count, uint64_t hash)
{
	__builtin_prefetch(line_at(lines, count, hash));
}

bool
filter_may_contain(const uint8_t *lines, uint32_t count, uint64_t hash)
{
	const uint8_t *line = line_at(lines, count, hash);
	uint64_t bits = remix(hash);
	for (int i = 0; i < PROBES; i++, bits <<= PROBE_BITS) {
		unsigned bit = (unsigned)(bits >> (64 - PROBE_BITS));
		if (!(line[bit / 8] & (1u << bit % 8)))
			return false;
	}
	return true;
}

int
filter_builder_add(struct filter_builder *b, uint64_t hash)
{
	struct filter_part *part = b->last;
	assert((part == NULL) == (b->count == 0) && (part == NULL || part->count > 0));
	if (part != NULL && part->hashes[part->count - 1] == hash)
		return SETT_OK;
	if (part == NULL || part->count == PART_HASHES) {
		part = malloc(sizeof(*part));
		if (part == NULL)
			return SETT_NO_MEMORY;
		part->next = NULL;
		part->count = 0;
		*(b->last != NULL ? &b->last->next : &b->first) = part;
		b->last = part;
	}
	part->hashes[part->count++] = hash;
	b->count++;
	return SETT_OK;
}

static void
set_bits(uint8_t *line, uint64_t hash)
{
	uint64_t bits = remix(hash);
	for (int i = 0; i < PROBES; i++, bits <<= PROBE_BITS) {
		unsigned bit = (unsigned)(bits >> (64 - PROBE_BITS));
		line[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

int
filter_builder_encode(const struct filter_builder *b, struct buffer *out)
{
	uint64_t lines = ((uint64_t)b->count * BITS_PER_KEY + LINE_BITS - 1) / LINE_BITS;
	lines = lines == 0 ? 1 : lines > UINT32_MAX ? UINT32_MAX : lines;
	size_t size = (size_t)lines * TABLE_FILTER_LINE;
	int r = buffer_reserve(out, size);
	if (r != SETT_OK)
		return r;
	uint8_t *area = out->data + out->size;
	size_t encoded = 0;
	memset(area, 0, size);
	for (const struct filter_part *part = b->first; part != NULL; part = part->next) {
		encoded += part->count;
		for (size_t k = 0; k < part->count; k++) {
			/* A filter is larger than the processor's nearer caches, and its lines come in no order. */
			if (k + AHEAD < part->count)
				__builtin_prefetch(line_at(area, (uint32_t)lines, part->hashes[k + AHEAD]),
						   1);
			set_bits(area + (size_t)TABLE_FILTER_LINE * line_of(part->hashes[k], (uint32_t)lines),
				 part->hashes[k]);
		}
	}
	assert(encoded == b->count);
	out->size += size;
	return SETT_OK;
}

void
filter_builder_free(struct filter_builder *b)
{
	for (struct filter_part *part = b->first, *next; part != NULL; part = next) {
		next = part->next;
		free(part);
	}
	*b = (struct filter_builder){0};
}
