/* Walking the keys of a database in order, and picking one at random. Bodies are never read, but for keys so
 * long that their text is kept there.
 *
 * A random key: a small database is walked to a uniformly chosen place. In a large one a random place of the
 * tree is chosen (a table's separator, or, while all is in memory, a prefix chosen byte by byte), then a few
 * random steps are made; not all keys are equally likely, but every region is reached. */
#include "keyspace/private.h"
#include "keyspace/root.h"

#include "storage/base/varint.h"

enum {
	UNIFORM_MAX = 256, /* keys of a database that is walked for a random key */
	RANDOM_STEPS = 32,
	RANDOM_TRIES = 8,
	DESCENTS_MAX = 16,
	DEPTH_MAX = 24, /* bytes of a key that are chosen one by one */
};

struct keyspace_cursor {
	struct keyspace_view *view;
	struct sett_iterator *iterator; /* NULL: the range is empty */
	uint64_t epoch;
	unsigned db;
	bool started;
	struct bytes prefix; /* of user keys */
};

/* The first key after all that begin with `prefix`, in place; its size shrinks. The epoch's kind byte is
 * never 0xff, so there is one. */
static void
successor(uint8_t *prefix, size_t *size)
{
	while (*size > 1 && prefix[*size - 1] == 0xff)
		--*size;
	prefix[*size - 1]++;
}

static int
prefix_bounds(struct keyspace_view *view, uint64_t epoch, struct bytes prefix, struct bytes *ret_lower,
	      struct bytes *ret_upper)
{
	size_t kept = prefix.size < KEYSPACE_MAX_KEY_SIZE ? prefix.size : (size_t)KEYSPACE_MAX_KEY_SIZE;
	size_t size = EPOCH_PREFIX_SIZE + kept;
	uint8_t *p = arena_allocate(view->arena, 2 * size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (kept > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, prefix.data, kept);
	memcpy(p + size, p, size);
	*ret_lower = bytes_of(p, size);
	successor(p + size, &size);
	*ret_upper = bytes_of(p + EPOCH_PREFIX_SIZE + kept, size);
	return SETT_OK;
}

static int
open_cursor(struct keyspace_view *view, unsigned db, uint64_t epoch, struct bytes prefix, struct bytes resume,
	    struct keyspace_cursor **ret)
{
	struct bytes lower, upper;
	int status = prefix_bounds(view, epoch, prefix, &lower, &upper);
	if (status == SETT_OK && resume.size > LONG_KEY_STORED_SIZE)
		status = SETT_INVALID;
	if (status != SETT_OK)
		return status;
	uint8_t *p = arena_allocate(view->arena, EPOCH_PREFIX_SIZE + resume.size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (resume.size > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, resume.data, resume.size);
	struct bytes from = bytes_of(p, EPOCH_PREFIX_SIZE + resume.size);
	struct keyspace_cursor *c = arena_allocate(view->arena, sizeof(*c), _Alignof(struct keyspace_cursor));
	if (c == NULL)
		return SETT_NO_MEMORY;
	*c = (struct keyspace_cursor){.view = view, .epoch = epoch, .db = db, .prefix = prefix};
	if (bytes_compare(from, lower) > 0)
		lower = from;
	if (bytes_compare(lower, upper) < 0) {
		struct sett_iterator_options options = {.lower = lower, .upper = upper};
		status = sett_iterator_open(view->txn, &options, &c->iterator);
		if (status != SETT_OK)
			return status;
	}
	*ret = c;
	return SETT_OK;
}

int
keyspace_cursor_open(struct keyspace_view *view, unsigned db, struct bytes prefix, struct bytes resume,
		     struct keyspace_cursor **ret)
{
	uint64_t epoch;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, existence_conflict_key(epoch));
	return status == SETT_OK ? open_cursor(view, db, epoch, prefix, resume, ret) : status;
}

int
keyspace_cursor_open_kept(struct keyspace_view *view, unsigned db, uint64_t epoch, struct bytes resume,
			  struct keyspace_cursor **ret)
{
	return open_cursor(view, db, epoch, (struct bytes){0}, resume, ret);
}

struct bytes
keyspace_cursor_place(const struct key *k)
{
	struct bytes whole = k->engine_key.bytes;
	assert(whole.size >= EPOCH_PREFIX_SIZE);
	return bytes_of(whole.data + EPOCH_PREFIX_SIZE, whole.size - EPOCH_PREFIX_SIZE);
}

void
keyspace_cursor_close(struct keyspace_cursor *c)
{
	if (c != NULL && c->iterator != NULL)
		sett_iterator_close(c->iterator);
	if (c != NULL)
		c->iterator = NULL;
}

/* A hint for the expirer; the iterator's key does not last. */
static int
note_expired(struct keyspace_cursor *c, struct bytes engine_key)
{
	size_t size = engine_key.size - EPOCH_PREFIX_SIZE;
	if (c->view->expired_count >= HINTS_MAX || size > KEYSPACE_MAX_KEY_SIZE)
		return SETT_OK;
	const uint8_t *copy = arena_copy(c->view->arena, engine_key.data + EPOCH_PREFIX_SIZE, size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	return keyspace_note_expired(c->view, c->db, bytes_of(copy, size));
}

static int
fill_handle(struct keyspace_cursor *c, const struct sett_record *record, struct key *ret)
{
	struct bytes engine_key = sett_iterator_key(c->iterator);
	*ret = (struct key){.view = c->view,
			    .engine_key = {.bytes = engine_key},
			    .epoch = c->epoch,
			    .db = c->db,
			    .exists = true,
			    .is_stored = true};
	int status = root_parse(record, &ret->root);
	if (status != SETT_OK)
		return status;
	ret->deadline = ret->root.expires_at;
	ret->has_due = ret->root.due_at != 0;
	ret->object = ret->root.object;
	ret->object_bytes = ret->root.object_bytes;
	if (!c->view->allow_expired && root_is_expired(c->view, &ret->root)) {
		ret->exists = false;
		status = note_expired(c, engine_key);
	}
	return status == SETT_OK ? root_user_key(c->view, engine_key, &ret->root, &ret->name) : status;
}

int
keyspace_cursor_step(struct keyspace_cursor *c, struct key *ret)
{
	struct sett_record record;
	if (c->iterator == NULL)
		return SETT_NOT_FOUND;
	for (;;) {
		int status = c->started ? sett_iterator_next(c->iterator) : sett_iterator_first(c->iterator);
		if (status != SETT_OK)
			return status;
		c->started = true;
		status = sett_iterator_record(c->iterator, &record);
		if (status == SETT_OK)
			status = fill_handle(c, &record, ret);
		if (status != SETT_OK)
			return status;
		/* Of a prefix beyond what engine keys hold, the rest is compared here. */
		if (c->prefix.size > KEYSPACE_MAX_KEY_SIZE && !bytes_has_prefix(ret->name, c->prefix))
			continue;
		return SETT_OK;
	}
}

int
keyspace_cursor_next(struct keyspace_cursor *c, struct key *ret)
{
	int status;
	do
		status = keyspace_cursor_step(c, ret);
	while (status == SETT_OK && !ret->exists);
	return status;
}

/* ---- a random key ---- */

/* The `skip`-th living key from `resume` on, or the last one before that; SETT_NOT_FOUND if there is none. */
static int
walk(struct keyspace_view *view, unsigned db, struct bytes resume, uint64_t skip, struct bytes *ret)
{
	struct keyspace_cursor *cursor;
	struct bytes found = {0};
	struct key k;
	bool any = false;
	int status = keyspace_cursor_open(view, db, (struct bytes){0}, resume, &cursor);
	if (status != SETT_OK)
		return status;
	struct buffer last = {0};
	for (uint64_t i = 0; i <= skip; i++) {
		status = keyspace_cursor_next(cursor, &k);
		if (status != SETT_OK)
			break;
		any = true;
		buffer_clear(&last);
		status = buffer_append(&last, k.name.data, k.name.size);
		if (status != SETT_OK)
			break;
	}
	keyspace_cursor_close(cursor);
	if (any && (status == SETT_OK || status == SETT_NOT_FOUND)) {
		void *copy = arena_copy(view->arena, last.data, last.size);
		status = copy != NULL ? SETT_OK : SETT_NO_MEMORY;
		found = bytes_of(copy, last.size);
	}
	buffer_free(&last);
	if (status == SETT_OK)
		*ret = found;
	return status;
}

/* Reservoir sampling of a database small enough to be walked (Vitter 1985). */
static int
uniform_key(struct keyspace_view *view, unsigned db, struct bytes *ret)
{
	struct keyspace_cursor *cursor;
	struct key k;
	uint64_t alive = 0, chosen = 0;
	int status = keyspace_cursor_open(view, db, (struct bytes){0}, (struct bytes){0}, &cursor);
	if (status != SETT_OK)
		return status;
	while ((status = keyspace_cursor_next(cursor, &k)) == SETT_OK) {
		alive++;
		if (keyspace_random(view->keyspace) % alive == 0)
			chosen = alive - 1;
	}
	keyspace_cursor_close(cursor);
	if (status != SETT_NOT_FOUND || alive == 0)
		return status;
	return walk(view, db, (struct bytes){0}, chosen, ret);
}

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

/* A place among `keys` keys that are in no table yet: from the front of the keys, byte by byte, to one of the
 * bytes that occur there. A key with few others beside it is reached more often than its share, and is taken
 * so much more seldom. */
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
		taken = luck * (double)keys < ways;
	}
	sett_iterator_close(iterator);
	return status;
}

static int
random_place(struct keyspace_view *view, unsigned db, int64_t keys, uint64_t *ret_steps, struct bytes *ret)
{
	uint64_t epoch;
	struct bytes lower, upper;
	struct buffer place = {0};
	uint64_t steps = keyspace_random(view->keyspace) % RANDOM_STEPS;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = prefix_bounds(view, epoch, (struct bytes){0}, &lower, &upper);
	if (status != SETT_OK)
		return status;
	status = sett_txn_sample(view->txn, lower, upper, keyspace_random(view->keyspace), &place);
	if (status == SETT_NOT_FOUND) {
		buffer_clear(&place);
		status = descend_from(view, lower, upper, keys, &place);
		steps = 0;
	}
	if (status == SETT_OK && place.size > EPOCH_PREFIX_SIZE) {
		/* Cut to what a key may be: a place, not a key, is wanted. */
		size_t size = place.size - EPOCH_PREFIX_SIZE;
		size = size < KEYSPACE_MAX_KEY_SIZE ? size : (size_t)KEYSPACE_MAX_KEY_SIZE;
		const void *copy = arena_copy(view->arena, place.data + EPOCH_PREFIX_SIZE, size);
		status = copy != NULL ? SETT_OK : SETT_NO_MEMORY;
		if (copy != NULL)
			*ret = bytes_of(copy, size);
	} else if (status == SETT_OK) {
		*ret = (struct bytes){0};
	}
	buffer_free(&place);
	if (status == SETT_OK)
		*ret_steps = steps;
	return status;
}

int
keyspace_random_key(struct keyspace_view *view, unsigned db, struct bytes *ret)
{
	int64_t keys, expires;
	int status = keyspace_count(view, db, &keys, &expires);
	if (status != SETT_OK)
		return status;
	if (keys <= UNIFORM_MAX)
		return uniform_key(view, db, ret);
	for (int i = 0; i < RANDOM_TRIES; i++) {
		struct bytes place;
		uint64_t steps;
		status = random_place(view, db, keys, &steps, &place);
		if (status == SETT_OK)
			status = walk(view, db, place, steps, ret);
		if (status != SETT_NOT_FOUND)
			return status;
	}
	/* Nothing alive behind all those places: from the front. */
	return walk(view, db, (struct bytes){0}, 0, ret);
}
