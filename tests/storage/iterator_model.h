/* A sorted array of versions as the oracle of anything that is an internal iterator, and the walks that
 * compare the two. Shared by the tests of memtables, tables and merges. */
#ifndef SETT_TESTS_ITERATOR_MODEL_H
#define SETT_TESTS_ITERATOR_MODEL_H

#include <criterion/criterion.h>

#include "internal_iterator.h"
#include "storage/base/random.h"

struct model_entry {
	struct ikey key;
	struct bytes value; /* an encoded entry */
};

struct model {
	struct model_entry *entries; /* sorted, distinct */
	size_t count;
};

static inline int
model_compare(const void *a, const void *b)
{
	return ikey_compare(((const struct model_entry *)a)->key, ((const struct model_entry *)b)->key);
}

static inline struct bytes
model_copy(const void *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	cr_assert_not_null(copy);
	if (size)
		memcpy(copy, data, size);
	return bytes_of(copy, size);
}

static inline struct bytes
model_encode(const struct entry *e)
{
	size_t size = entry_encoded_size(e);
	uint8_t *p = malloc(size);
	cr_assert_not_null(p);
	cr_assert_eq(entry_encode(e, p), p + size);
	return bytes_of(p, size);
}

/* A random encoded entry: tombstones, inline bodies (text that compresses or noise), pointers, expiries. */
static inline struct bytes
model_random_value(struct random *r, size_t max_body)
{
	static const uint8_t text[64] = "all work and no play makes jack a dull boy, all work and no pla";
	uint8_t *body = malloc(max_body + 1);
	cr_assert_not_null(body);
	size_t size = random_below(r, max_body + 1);
	bool noise = random_below(r, 2);
	for (size_t i = 0; i < size; i++)
		body[i] = noise ? (uint8_t)random_next(r) : text[i % 63];
	struct entry e = {.kind = ENTRY_INLINE, .body = bytes_of(body, size)};
	switch (random_below(r, 8)) {
	case 0:
		e = (struct entry){.kind = ENTRY_TOMBSTONE};
		break;
	case 1:
	case 2:
		e.kind = ENTRY_POINTER;
		e.body = bytes_of(NULL, 0);
		e.pointer = (struct value_pointer){1 + random_below(r, 5), random_below(r, 1 << 26),
						   1024 + random_below(r, 1 << 20),
						   1000 + random_below(r, 1 << 20)};
		break;
	default:
		break;
	}
	if (e.kind != ENTRY_TOMBSTONE && random_below(r, 3) == 0)
		e.expires_at = 1700000000000ULL + random_below(r, 1 << 30);
	if (e.kind != ENTRY_TOMBSTONE)
		e.head = bytes_of(text, random_below(r, 12));
	struct bytes encoded = model_encode(&e);
	free(body);
	return encoded;
}

/* About `keys` user keys of one to four versions each: short, long, empty, prefixes of one another, with
 * long common beginnings, and with bytes on both sides of 0x80. */
static inline struct model
model_create(uint64_t seed, size_t keys, size_t max_body)
{
	struct random r;
	random_seed(&r, seed);
	struct model m = {calloc(keys * 4 + 4, sizeof(struct model_entry)), 0};
	cr_assert_not_null(m.entries);
	uint64_t timestamp = 1;
	for (size_t k = 0; k < keys; k++) {
		uint8_t key[96];
		size_t size = 0;
		switch (k == 0 ? 3 : random_below(&r, 3)) {
		case 0:
			size = (size_t)snprintf((char *)key, sizeof(key), "user:%09u:name",
						(unsigned)random_below(&r, keys * 4));
			break;
		case 1:
			size = 1 + random_below(&r, 6);
			for (size_t i = 0; i < size; i++)
				key[i] = (uint8_t[]){0, 1, 0x7f, 0x80, 0xff, 'a'}[random_below(&r, 6)];
			break;
		case 2:
			size = 1 + random_below(&r, sizeof(key));
			memset(key, 'k', size);
			key[size - 1] = (uint8_t)random_next(&r);
			break;
		default:
			break; /* the empty key */
		}
		size_t versions = 1 + random_below(&r, 4);
		for (size_t v = 0; v < versions; v++) {
			timestamp += 1 + random_below(&r, 3);
			m.entries[m.count++] = (struct model_entry){{model_copy(key, size), timestamp},
								    model_random_value(&r, max_body)};
		}
	}
	qsort(m.entries, m.count, sizeof(*m.entries), model_compare);
	return m;
}

static inline void
model_free(struct model *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free((void *)(uintptr_t)m->entries[i].key.user.data);
		free((void *)(uintptr_t)m->entries[i].value.data);
	}
	free(m->entries);
	*m = (struct model){0};
}

/* Index of the first entry >= target. */
static inline size_t
model_lower_bound(const struct model *m, struct ikey target)
{
	size_t low = 0, high = m->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ikey_compare(m->entries[middle].key, target) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The iterator stands on entry `at`, or is invalid if `at` is not below count. */
static inline void
model_expect_at(const struct model *m, const struct internal_iterator *i, int status, size_t at)
{
	if (at >= m->count) {
		cr_assert_eq(status, SETT_NOT_FOUND, "status %d, expected the end", status);
		cr_assert_not(i->valid);
		return;
	}
	cr_assert_eq(status, SETT_OK, "status %d at entry %zu of %zu", status, at, m->count);
	cr_assert(i->valid);
	cr_assert_eq(ikey_compare(i->key, m->entries[at].key), 0, "wrong key at entry %zu", at);
	cr_assert(bytes_equal(i->value, m->entries[at].value), "wrong value at entry %zu", at);
}

/* The longest key that a model may have, and what a target may have more. */
enum { MODEL_KEY_MAX = 8192, MODEL_ROOM = MODEL_KEY_MAX + 1 };

/* A target on, between, before and behind the model's keys. */
static inline struct ikey
model_random_target(const struct model *m, struct random *r, uint8_t room[MODEL_ROOM])
{
	if (m->count == 0 || random_below(r, 20) == 0)
		return (struct ikey){bytes_of(room, 0), random_below(r, 2) ? UINT64_MAX : 0};
	struct ikey target = m->entries[random_below(r, m->count)].key;
	switch (random_below(r, 6)) {
	case 0:
		break;
	case 1:
		target.timestamp = UINT64_MAX;
		break;
	case 2:
		target.timestamp = 0;
		break;
	case 3:
		target.timestamp += random_below(r, 2) ? 1 : -1ULL;
		break;
	default:
		if (target.user.size)
			memcpy(room, target.user.data, target.user.size);
		if (random_below(r, 2) || target.user.size == 0)
			room[target.user.size++] = (uint8_t)random_next(r);
		else
			room[random_below(r, target.user.size)] = (uint8_t)random_next(r);
		target.user.data = room;
		break;
	}
	return target;
}

/* Front to back, back to front, then `steps` random seeks and steps in both directions. */
static inline void
model_check_iterator(const struct model *m, struct internal_iterator *i, uint64_t seed, size_t steps)
{
	int status = iiter_first(i);
	for (size_t at = 0; at < m->count; at++, status = iiter_next(i))
		model_expect_at(m, i, status, at);
	model_expect_at(m, i, status, m->count);
	status = iiter_last(i);
	for (size_t at = m->count; at-- > 0; status = iiter_previous(i))
		model_expect_at(m, i, status, at);
	model_expect_at(m, i, status, SIZE_MAX);

	struct random r;
	random_seed(&r, seed);
	size_t at = SIZE_MAX;
	uint8_t room[MODEL_ROOM];
	for (size_t step = 0; step < steps; step++) {
		unsigned move = (unsigned)random_below(&r, i->valid ? 12 : 4);
		struct ikey target = model_random_target(m, &r, room);
		if (move == 0) {
			status = iiter_seek(i, target);
			at = model_lower_bound(m, target);
		} else if (move == 1) {
			status = iiter_seek_before(i, target);
			at = model_lower_bound(m, target) - 1;
		} else if (move == 2 && random_below(&r, 4) == 0) {
			status = iiter_first(i);
			at = 0;
		} else if (move == 3 && random_below(&r, 4) == 0) {
			status = iiter_last(i);
			at = m->count - 1;
		} else if (!i->valid) {
			continue;
		} else if (move == 4 && ikey_compare(i->key, target) < 0) {
			status = iiter_skip_to(i, target);
			at = model_lower_bound(m, target);
		} else if (move % 2) {
			status = iiter_next(i);
			at++;
		} else {
			status = iiter_previous(i);
			at--;
		}
		model_expect_at(m, i, status, at);
	}
}

#endif
