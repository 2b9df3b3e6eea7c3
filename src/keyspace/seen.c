/* Four bits for each name, and a word for each four names: of a hundred new ones about one is called seen. */
#include "keyspace/seen.h"

#include <stdlib.h>
#include <string.h>

#include "storage/status.h"

enum { NAMES_OF_WORD = 4, WORDS_MIN = 8, WORDS_MAX = 1 << 22, BITS = 4, BIT_SHIFT = 6 };

int
seen_begin(struct seen *s, uint64_t names)
{
	size_t count = WORDS_MIN;
	while (count < WORDS_MAX && count < names / NAMES_OF_WORD)
		count *= 2;
	if (count > s->capacity) {
		seen_free(s);
		s->words = malloc(count * sizeof(*s->words));
		if (s->words == NULL)
			return SETT_NO_MEMORY;
		s->capacity = count;
	}
	memset(s->words, 0, count * sizeof(*s->words));
	s->count = count;
	return SETT_OK;
}

static uint64_t
bits_of(uint64_t hash)
{
	uint64_t bits = 0, left = hash >> 32;
	for (unsigned i = 0; i < BITS; i++, left >>= BIT_SHIFT)
		bits |= 1ULL << (left & 63);
	return bits;
}

bool
seen_add(struct seen *s, uint64_t hash)
{
	bool was_there = seen_has(s, hash);
	if (!was_there)
		s->words[hash & (s->count - 1)] |= bits_of(hash);
	return was_there;
}

bool
seen_has(const struct seen *s, uint64_t hash)
{
	uint64_t bits = bits_of(hash);
	return s->count == 0 || (s->words[hash & (s->count - 1)] & bits) == bits;
}

void
seen_free(struct seen *s)
{
	free(s->words);
	*s = (struct seen){0};
}
