/* A random key, each as likely as can be had without a count for every range of keys.
 *
 * A small database is walked. In a large one the blocks of the tables cut the keys into stretches. One is drawn, and taken with a chance that grows with the number of its living keys, and then one of these: so each key
 * has the same chance, unless its stretch has more than STRETCH_SPREAD times as many keys as the average. While nearly
 * all is in memory there are too few stretches; then a key is found byte by byte (descend_from). */
#include "keyspace/private.h"
#include "keyspace/root.h"

enum {
	UNIFORM_MAX = 256, /* keys of a database that is walked for a random key */
	STRETCH_SPREAD = 4,
	STRETCH_AVERAGE = 500, /* keys of a stretch: with more it takes too long to walk one */
	STRETCH_MAX = 50000,   /* keys that are looked at, if one has very many more than others */
	DRAWS_MAX = 48,
	WAYS_SPREAD = 2, /* see descend_from */
	DESCENTS_MAX = 32,
	DEPTH_MAX = 24, /* bytes of a key that are chosen one by one */
};

/* One of the living keys from `from` on, each as likely, up to the first that stands behind `to` (empty: there is no
 * such end); not `from` itself if `skips_from`. `ret_count`: how many they are; 0: nothing is chosen. */
static int
choose(struct keyspace_view *view, unsigned db, struct bytes from, bool skips_from, struct bytes to,
       uint64_t limit, struct buffer *chosen, uint64_t *ret_count)
{
	struct keyspace_cursor *cursor;
	struct key k;
	uint64_t count = 0;
	int status = keyspace_cursor_open(view, db, (struct bytes){0}, from, &cursor);
	if (status != SETT_OK)
		return status;
	while (count < limit && (status = keyspace_cursor_next(cursor, &k)) == SETT_OK) {
		struct bytes place = keyspace_cursor_place(&k);
		if (to.size > 0 && bytes_compare(place, to) > 0)
			break;
		if (skips_from && bytes_equal(place, from))
			continue;
		if (keyspace_random(view->keyspace) % ++count != 0) /* reservoir sampling (Vitter 1985) */
			continue;
		buffer_clear(chosen);
		status = buffer_append(chosen, k.name.data, k.name.size);
		if (status != SETT_OK)
			break;
	}
	keyspace_cursor_close(cursor);
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* What stands behind the epoch's prefix, cut to what a key may be: a place, not a key, is wanted. */
static struct bytes
place_in_epoch(struct bytes engine_key)
{
	if (engine_key.size <= EPOCH_PREFIX_SIZE)
		return (struct bytes){0};
	size_t size = engine_key.size - EPOCH_PREFIX_SIZE;
	return bytes_of(engine_key.data + EPOCH_PREFIX_SIZE,
			size < KEYSPACE_MAX_KEY_SIZE ? size : (size_t)KEYSPACE_MAX_KEY_SIZE);
}

/* ---- in memory ---- */

/* The first key at or behind `target` that begins with `prefix`; SETT_NOT_FOUND if there is none. */
static int
seek_within(struct sett_iterator *iterator, struct bytes prefix, struct bytes target, struct bytes *ret)
{
	int status = sett_iterator_seek(iterator, target);
	if (status != SETT_OK)
		return status;
	struct bytes key = sett_iterator_key(iterator);
	if (!bytes_has_prefix(key, prefix))
		return SETT_NOT_FOUND;
	*ret = key;
	return SETT_OK;
}

/* Adds to `place`, a prefix of some keys, one of the bytes with which they go on, each as likely: `ways` is
 * multiplied by their number. `ret_done`: the key that is chosen ends here. */
static int
descend(struct keyspace *k, struct sett_iterator *iterator, struct buffer *place, double *ways,
	bool *ret_done)
{
	uint8_t bytes[256];
	size_t count = 0;
	struct bytes key;
	bool ends = false;
	int status = seek_within(iterator, buffer_bytes(place), buffer_bytes(place), &key);
	if (status != SETT_OK)
		return status;
	size_t at = place->size;
	if (key.size == at) {
		ends = true;
	} else {
		bytes[count++] = key.data[at];
	}
	status = buffer_append(place, "", 1);
	unsigned next = ends ? 0 : bytes[0] + 1u;
	while (status == SETT_OK && next < sizeof(bytes)) {
		place->data[at] = (uint8_t)next;
		status = seek_within(iterator, bytes_of(place->data, at), buffer_bytes(place), &key);
		if (status == SETT_OK) {
			bytes[count++] = key.data[at];
			next = key.data[at] + 1u;
		}
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	uint64_t chosen = keyspace_random(k) % (count + ends);
	*ways *= (double)(count + ends);
	*ret_done = chosen == count;
	if (*ret_done)
		place->size = at;
	else
		place->data[at] = bytes[chosen];
	return SETT_OK;
}

/* A place among `keys` keys: from the front of the keys, byte by byte, to one of the bytes that occur there. A key with
 * few others beside it is reached more often than its share, and is taken so much more seldom: all have the same
 * chance of which there are no more than WAYS_SPREAD times as many ways as keys. */
static int
descend_from(struct keyspace_view *view, struct bytes lower, struct bytes upper, int64_t keys,
	     struct buffer *ret)
{
	struct sett_iterator *iterator;
	struct sett_iterator_options options = {.lower = lower, .upper = upper};
	int status = sett_iterator_open(view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	bool taken = false;
	for (int tries = 0; tries < DESCENTS_MAX && status == SETT_OK && !taken; tries++) {
		bool done = false;
		double ways = 1;
		buffer_clear(ret);
		status = buffer_append(ret, lower.data, lower.size);
		for (int depth = 0; depth < DEPTH_MAX && status == SETT_OK && !done; depth++)
			status = descend(view->keyspace, iterator, ret, &ways, &done);
		double luck = (double)(keyspace_random(view->keyspace) >> 11) / (double)(1ull << 53);
		taken = luck * WAYS_SPREAD * (double)keys < ways;
	}
	sett_iterator_close(iterator);
	return status;
}

static int
choose_in_memory(struct keyspace_view *view, unsigned db, struct bytes lower, struct bytes upper,
		 int64_t keys, struct buffer *chosen, uint64_t *ret_count)
{
	struct buffer place = {0};
	int status = descend_from(view, lower, upper, keys, &place);
	if (status == SETT_OK)
		status = choose(view, db, place_in_epoch(buffer_bytes(&place)), false, (struct bytes){0}, 1,
				chosen, ret_count);
	buffer_free(&place);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- in tables ---- */

struct stretch {
	struct buffer low, high; /* engine keys; empty: the end of the database */
	uint64_t count;          /* of all stretches */
};

/* Draws until a stretch is taken; `ret_count` 0: none was. SETT_NOT_FOUND: there are too few stretches. */
static int
choose_in_tables(struct keyspace_view *view, unsigned db, struct bytes lower, struct bytes upper,
		 int64_t keys, struct buffer *chosen, uint64_t *ret_count)
{
	struct stretch s = {0};
	int status = SETT_OK;
	bool taken = false;
	for (int i = 0; i < DRAWS_MAX && !taken && status == SETT_OK; i++) {
		uint64_t count = 0;
		status = sett_txn_sample(view->txn, lower, upper, keyspace_random(view->keyspace), &s.low,
					 &s.high, &s.count);
		if (status == SETT_OK && (uint64_t)keys / s.count > STRETCH_AVERAGE)
			status = SETT_NOT_FOUND;
		if (status != SETT_OK)
			break;
		uint64_t most = STRETCH_SPREAD * (uint64_t)keys / s.count + 1;
		status = choose(view, db, place_in_epoch(buffer_bytes(&s.low)), s.low.size > 0,
				place_in_epoch(buffer_bytes(&s.high)), STRETCH_MAX, chosen, &count);
		if (count > 0)
			*ret_count = count;
		taken = keyspace_random(view->keyspace) % most < count;
	}
	buffer_free(&s.low);
	buffer_free(&s.high);
	return status;
}

/* ---- anywhere ---- */

int
keyspace_random_place(struct keyspace_view *view, unsigned db, struct buffer *ret)
{
	int64_t keys, expires;
	uint64_t epoch, stretches;
	struct bytes lower, upper;
	struct buffer place = {0}, high = {0};
	buffer_clear(ret);
	int status = keyspace_count(view, db, &keys, &expires);
	if (status == SETT_OK)
		status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = keyspace_prefix_bounds(view, epoch, (struct bytes){0}, &lower, &upper);
	if (status != SETT_OK || keys <= UNIFORM_MAX)
		return status;
	status = sett_txn_sample(view->txn, lower, upper, keyspace_random(view->keyspace), &place, &high,
				 &stretches);
	if (status == SETT_NOT_FOUND || (status == SETT_OK && (uint64_t)keys / stretches > STRETCH_AVERAGE)) {
		buffer_clear(&place);
		status = descend_from(view, lower, upper, keys, &place);
	}
	if (status == SETT_OK) {
		struct bytes found = place_in_epoch(buffer_bytes(&place));
		status = buffer_append(ret, found.data, found.size);
	}
	buffer_free(&place);
	buffer_free(&high);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
keyspace_random_key(struct keyspace_view *view, unsigned db, struct bytes *ret)
{
	int64_t keys, expires;
	uint64_t epoch, count = 0;
	struct bytes lower, upper;
	struct buffer chosen = {0};
	int status = keyspace_count(view, db, &keys, &expires);
	if (status == SETT_OK)
		status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = keyspace_prefix_bounds(view, epoch, (struct bytes){0}, &lower, &upper);
	if (status == SETT_OK && keys > UNIFORM_MAX) {
		status = choose_in_tables(view, db, lower, upper, keys, &chosen, &count);
		if (status == SETT_NOT_FOUND)
			status = choose_in_memory(view, db, lower, upper, keys, &chosen, &count);
	}
	/* Few keys, or nothing alive in all those places: from the front. */
	if (status == SETT_OK && count == 0)
		status = choose(view, db, (struct bytes){0}, false, (struct bytes){0},
				keys > UNIFORM_MAX ? STRETCH_MAX : UINT64_MAX, &chosen, &count);
	if (status == SETT_OK && count == 0)
		status = SETT_NOT_FOUND;
	if (status == SETT_OK) {
		void *copy = arena_copy(view->arena, chosen.data, chosen.size);
		status = copy != NULL ? SETT_OK : SETT_NO_MEMORY;
		*ret = bytes_of(copy, chosen.size);
	}
	buffer_free(&chosen);
	return status;
}
