/* SCAN's cursors.
 *
 * A scan walks the keys in their order. A cursor names a *place* among them, a string of bytes: the next
 * call begins with the first key that is not less. The place between two neighbouring keys is the
 * beginning of the second one up to the first byte in which they differ: between `user:00000019` and
 * `user:00000020` it is `user:0000002`. No state is kept for a scan, in memory or on the disk. So any
 * number of scans go on side by side, and over restarts.
 *
 * A cursor is a number of 53 bits. Clients that keep it in a signed 64-bit integer or in a double
 * (node-redis 4) give it back unchanged.
 *
 *     bit 52        51 .. 46     45               44 .. 17    16 .. 0
 *     0             effort       the place itself, up to 5 bytes
 *     1             effort       generation       stem        tail
 *
 * Bytes are digits of base 257 (1 + byte; 0 = no more bytes). So different places are different numbers,
 * and none is 0.
 *
 * A longer place is a *stem* and the 1 or 2 bytes after it. A stem is numbered once, by an entry in the
 * database, and all scans share it. It serves all places under it: about 1,000 keys where names end in
 * decimal digits and COUNT is 10. To need few stems, a call that has looked at COUNT keys looks at half as
 * many more, 64 at most, for a place that needs no new stem. If there is none it ends at the shortest
 * place that it met, and makes a stem two bytes shorter than that.
 *
 *     00 'c'                               -> how many stems were ever made
 *     00 'c' generation:u32be number:u32be -> stem
 *
 * A stem's number is a hash of it, or the next free number. Its entry is a commit of its own, and the
 * reply with the cursor waits for that commit (I1). If a power cut takes the entry back, the stem most
 * likely gets the same number again. The number of stems is bounded: when a generation is full the next
 * one begins, and the one before is dropped; a cursor holds the lowest bit of its generation. While the
 * disk takes no commit, new stems are kept in memory, REMEMBERED of them.
 *
 * Completeness. A place is greater than the last key that was looked at, and not greater than the next
 * one. So a key that is there throughout is met exactly once, whatever is written meanwhile. A cursor
 * whose stem is lost (dropped with its generation, or kept in memory until the restart) begins with the
 * first key: that costs duplicates.
 *
 * Termination. Each call looks at COUNT keys at least, and its place is greater than all of them. Without
 * writers a database of N keys is passed in N / COUNT calls. But writers that add keys ahead of the scan
 * faster than it goes on (names that hold a time, deleted at the other end) could keep it from ever
 * arriving, and so could the repeated loss of its stem. Therefore a cursor holds *effort*: about how many
 * keys the scan has looked at so far, in half powers of two, rounded up or down by chance so that it is
 * right on average. Once that is four times the keys of the database, COUNT grows in proportion to it.
 * From then on the calls go exponentially further, until one goes from its place to the end: that call has
 * a snapshot, so it ends.
 *
 * Threads: any. `lock` is held for a commit, so reactors only try it. `memory_lock`, taken under it, is a
 * leaf. */
#include <assert.h>

#include "keyspace/key.h"
#include "keyspace/private.h"

#include "storage/base/hash.h"
#include "storage/base/varint.h"

enum {
	BASE = 257,
	DIRECT_BYTES = 5, /* of a place that needs no stem */
	TAIL_BYTES = 2,
	TAIL_BITS = 17,
	NUMBER_BITS = 28,
	EFFORT_SHIFT = 46,
	EFFORT_MAX = 63,
	EFFORT_UNIT = 64,    /* keys of the first step */
	STEMS_MAX = 1 << 24, /* of a generation: a sixteenth of the numbers, so a free one is near */
	PROBES = 8,
	REMEMBERED = 1024,
	COUNTS = 16,
	COUNT_MS = 1000, /* so long a count is good enough */
	SLACK_MAX = 64,  /* keys beyond COUNT, and half of it at most, that are looked at for a good place */
	LAPS_MAX = 4,    /* a scan that has looked at so many times the keys of the database is driven */
	SMALL_KEYS = 1024, /* a database of fewer keys counts as one of so many */
	STEM_KEY_SIZE = 10,
	GENERATION_PREFIX_SIZE = 6,
};

#define KIND_STEM (UINT64_C(1) << 52)
#define LOW_MASK ((UINT64_C(1) << EFFORT_SHIFT) - 1)
#define GENERATION_SHIFT (TAIL_BITS + NUMBER_BITS)

static const uint8_t count_key[2] = {KIND_META, 'c'};

struct remembered_stem {
	uint64_t id;
	uint8_t *data; /* owned; NULL: none */
	size_t size;
};

/* About how many keys an epoch had at a moment. */
struct key_count {
	uint64_t epoch, keys, at_ms;
};

struct scan_cursors {
	struct sett_engine *engine;
	uint64_t generation_size; /* STEMS_MAX, but in tests */
	struct mutex lock;
	struct sett_txn *txn; /* under the lock */
	uint64_t made; /* atomic: stems so far; stored under the lock, release; partner: generation_of */
	struct mutex memory_lock;
	unsigned remembered; /* atomic, relaxed: 0 spares the look. Under memory_lock, like the next one */
	struct remembered_stem memory[REMEMBERED]; /* by number */
	struct key_count counts[COUNTS];           /* by epoch */
};

/* ---- effort ---- */

/* Keys looked at: 0, then 64, 96, 128, 192, 256, ... */
static uint64_t
effort_keys(unsigned effort)
{
	if (effort == 0)
		return 0;
	unsigned step = effort - 1;
	return (uint64_t)EFFORT_UNIT * (step % 2 == 0 ? 2 : 3) / 2 << step / 2;
}

static unsigned
add_effort(struct keyspace *k, unsigned effort, uint64_t looked)
{
	uint64_t keys = effort_keys(effort);
	if (looked > effort_keys(EFFORT_MAX) - keys)
		return EFFORT_MAX;
	keys += looked;
	while (effort < EFFORT_MAX && effort_keys(effort + 1) <= keys)
		effort++;
	if (effort == EFFORT_MAX)
		return effort;
	uint64_t rest = keys - effort_keys(effort), step = effort_keys(effort + 1) - effort_keys(effort);
	assert(rest < step);
	return effort + (keyspace_random(k) % step < rest);
}

/* Whether the count was good enough. */
static bool
recall_count(struct scan_cursors *s, uint64_t epoch, uint64_t now_ms, uint64_t *ret)
{
	mutex_lock(&s->memory_lock);
	const struct key_count *count = &s->counts[epoch % COUNTS];
	bool known = count->epoch == epoch && now_ms - count->at_ms < COUNT_MS;
	if (known)
		*ret = count->keys;
	mutex_unlock(&s->memory_lock);
	return known;
}

/* About how many keys the database has; UINT64_MAX if that can't be found out now. The view's transaction is
 * not used: its reads of counters are validated, and a scan must not run again because keys come and go. */
static uint64_t
count_keys(struct keyspace_view *view, uint64_t epoch)
{
	struct scan_cursors *s = view->keyspace->cursors;
	uint64_t known = UINT64_MAX;
	int64_t keys = 0;
	if (recall_count(s, epoch, view->now_ms, &known) || !mutex_try_lock(&s->lock))
		return known;
	int status = sett_txn_begin(s->txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_NOWAIT);
	if (status == SETT_OK) {
		status = sett_txn_counter(s->txn, keys_counter(epoch), &keys);
		sett_txn_discard(s->txn);
	}
	if (status == SETT_OK) {
		known = keys > 0 ? (uint64_t)keys : 0;
		mutex_lock(&s->memory_lock);
		s->counts[epoch % COUNTS] =
			(struct key_count){.epoch = epoch, .keys = known, .at_ms = view->now_ms};
		mutex_unlock(&s->memory_lock);
	}
	mutex_unlock(&s->lock);
	return known;
}

/* The COUNT of a scan that has come so far. */
static uint64_t
raise_count(struct keyspace_view *view, uint64_t epoch, uint64_t count, unsigned effort)
{
	uint64_t looked = effort_keys(effort);
	if (looked < (uint64_t)LAPS_MAX * SMALL_KEYS)
		return count;
	uint64_t keys = count_keys(view, epoch);
	uint64_t laps = looked / (keys > SMALL_KEYS ? keys : (uint64_t)SMALL_KEYS);
	if (laps < LAPS_MAX)
		return count;
	return count > UINT64_MAX / 4 / laps ? UINT64_MAX / 4 : count * laps;
}

/* ---- digits ---- */

static uint64_t
encode(struct bytes bytes, size_t digits)
{
	uint64_t value = 0;
	assert(bytes.size > 0 && bytes.size <= digits);
	for (size_t i = 0; i < digits; i++)
		value = value * BASE + (i < bytes.size ? bytes.data[i] + 1u : 0);
	return value;
}

/* How many bytes; up to the first 0, whatever comes after it. */
static size_t
decode(uint64_t value, size_t digits, uint8_t *ret)
{
	size_t size = digits;
	for (size_t i = digits; i-- > 0; value /= BASE) {
		unsigned digit = (unsigned)(value % BASE);
		if (digit == 0)
			size = i;
		else
			ret[i] = (uint8_t)(digit - 1);
	}
	return size;
}

/* ---- stems ---- */

static uint64_t
generation_of(const struct scan_cursors *s)
{
	return __atomic_load_n(&s->made, __ATOMIC_ACQUIRE) / s->generation_size;
}

static uint64_t
stem_id(uint64_t generation, uint64_t number)
{
	return generation << 32 | number;
}

static struct bytes
stem_key(uint64_t id, uint8_t room[STEM_KEY_SIZE])
{
	memcpy(room, count_key, sizeof(count_key));
	put_be64(room + sizeof(count_key), id);
	return bytes_of(room, STEM_KEY_SIZE);
}

/* In the arena. SETT_NOT_FOUND, SETT_NO_MEMORY. */
static int
recall(struct scan_cursors *s, uint64_t id, struct arena *arena, struct bytes *ret)
{
	if (__atomic_load_n(&s->remembered, __ATOMIC_RELAXED) == 0)
		return SETT_NOT_FOUND;
	int status = SETT_NOT_FOUND;
	mutex_lock(&s->memory_lock);
	const struct remembered_stem *stem = &s->memory[id % REMEMBERED];
	if (stem->data != NULL && stem->id == id) {
		const void *copy = arena_copy(arena, stem->data, stem->size);
		status = copy != NULL ? SETT_OK : SETT_NO_MEMORY;
		if (copy != NULL)
			*ret = bytes_of(copy, stem->size);
	}
	mutex_unlock(&s->memory_lock);
	return status;
}

static int
remember(struct scan_cursors *s, uint64_t id, struct bytes stem)
{
	uint8_t *copy = malloc(stem.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	memcpy(copy, stem.data, stem.size);
	mutex_lock(&s->memory_lock);
	struct remembered_stem *place = &s->memory[id % REMEMBERED];
	if (place->data == NULL)
		__atomic_store_n(&s->remembered, s->remembered + 1, __ATOMIC_RELAXED);
	free(place->data);
	*place = (struct remembered_stem){.id = id, .data = copy, .size = stem.size};
	mutex_unlock(&s->memory_lock);
	return SETT_OK;
}

/* The stem as `txn` sees it. SETT_NOT_FOUND if there is none. */
static int
read_stem(struct scan_cursors *s, struct sett_txn *txn, struct arena *arena, uint64_t id, struct bytes *ret)
{
	uint8_t room[STEM_KEY_SIZE];
	struct sett_record record;
	int status = recall(s, id, arena, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	status = sett_txn_get(txn, stem_key(id, room), &record);
	if (status == SETT_OK && (record.head.size == 0 || record.head.size > LONG_KEY_STORED_SIZE))
		return SETT_CORRUPT;
	if (status == SETT_OK)
		*ret = record.head;
	return status;
}

static int
begin_anew(struct scan_cursors *s, const struct keyspace_view *view)
{
	return sett_txn_begin(
		s->txn, SETT_TXN_MANUAL_CONFLICTS | (sett_txn_may_wait(view->txn) ? 0 : SETT_TXN_NOWAIT));
}

static int
lock(struct scan_cursors *s, const struct keyspace_view *view)
{
	if (sett_txn_may_wait(view->txn))
		mutex_lock(&s->lock);
	else if (!mutex_try_lock(&s->lock))
		return SETT_WOULD_BLOCK;
	return SETT_OK;
}

/* The stem that the view does not see, as there is now: a transaction of several scans, or of the past, is older than the stems
 * that its own scans have made. */
static int
read_newer_stem(struct scan_cursors *s, struct keyspace_view *view, uint64_t id, struct bytes *ret)
{
	int status = lock(s, view);
	if (status != SETT_OK)
		return status;
	status = begin_anew(s, view);
	if (status == SETT_OK) {
		status = read_stem(s, s->txn, view->arena, id, ret);
		const void *copy = status == SETT_OK ? arena_copy(view->arena, ret->data, ret->size) : NULL;
		if (status == SETT_OK && copy == NULL)
			status = SETT_NO_MEMORY;
		if (status == SETT_OK)
			*ret = bytes_of(copy, ret->size);
		assert(status != SETT_OK || ret->size > 0);
		if (sett_txn_observed(s->txn) > view->observed)
			view->observed = sett_txn_observed(s->txn);
		sett_txn_discard(s->txn);
	}
	mutex_unlock(&s->lock);
	return status;
}

/* SETT_OK: the stem has this id. SETT_NOT_FOUND: it has none, and `ret` is a free one. SETT_TOO_LARGE: no id
 * near its hash is free. */
static int
find_stem(struct scan_cursors *s, struct sett_txn *txn, struct arena *arena, struct bytes stem, uint64_t *ret)
{
	uint64_t generation = generation_of(s), hash = hash64_bytes(stem, 0);
	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t id = stem_id(generation, (hash + i) & ((UINT64_C(1) << NUMBER_BITS) - 1));
		struct bytes found;
		int status = read_stem(s, txn, arena, id, &found);
		if (status == SETT_OK && !bytes_equal(found, stem))
			continue;
		if (status == SETT_OK || status == SETT_NOT_FOUND)
			*ret = id;
		return status;
	}
	return SETT_TOO_LARGE;
}

static int
put_stem_locked(struct scan_cursors *s, uint64_t id, struct bytes stem)
{
	uint8_t room[STEM_KEY_SIZE], count[8];
	uint64_t made = s->made + 1, generation = made / s->generation_size;
	put_le64(count, made);
	int status = sett_txn_put(s->txn, stem_key(id, room), &(struct sett_put){.head = stem});
	if (status == SETT_OK)
		status = sett_txn_put(s->txn, bytes_of(count_key, sizeof(count_key)),
				      &(struct sett_put){.head = bytes_of(count, sizeof(count))});
	if (status == SETT_OK && made % s->generation_size == 0 && generation >= 2)
		status = sett_txn_drop_prefix(
			s->txn,
			bytes_of(stem_key(stem_id(generation - 2, 0), room).data, GENERATION_PREFIX_SIZE));
	return status;
}

/* Makes a stem, unless somebody else just did. A failure of the commit is returned. */
static int
make_stem_locked(struct scan_cursors *s, struct keyspace_view *view, struct bytes stem, uint64_t *ret_id)
{
	uint64_t timestamp = 0;
	int status = begin_anew(s, view);
	if (status != SETT_OK)
		return status;
	bool is_new = false;
	status = find_stem(s, s->txn, view->arena, stem, ret_id);
	if (status == SETT_NOT_FOUND) {
		is_new = true;
		status = put_stem_locked(s, *ret_id, stem);
	}
	if (status == SETT_OK)
		timestamp = sett_txn_observed(s->txn);
	if (status == SETT_OK && is_new)
		status = sett_txn_commit(s->txn, NULL, &timestamp);
	else
		sett_txn_discard(s->txn);
	if (status != SETT_OK)
		return status;
	if (is_new)
		__atomic_store_n(&s->made, s->made + 1, __ATOMIC_RELEASE);
	if (timestamp > view->observed)
		view->observed = timestamp;
	return SETT_OK;
}

/* SETT_WOULD_BLOCK, SETT_CONFLICT, SETT_TOO_LARGE (no number is free), SETT_NO_MEMORY, SETT_CORRUPT. */
static int
make_stem(struct keyspace_view *view, struct bytes stem, uint64_t *ret_id)
{
	struct scan_cursors *s = view->keyspace->cursors;
	uint64_t id = UINT64_MAX;
	int status = lock(s, view);
	if (status != SETT_OK)
		return status;
	status = make_stem_locked(s, view, stem, &id);
	/* The disk takes nothing: keys can be walked all the same. */
	if (status == SETT_NO_SPACE || status == SETT_IO || status == SETT_FAILED || status == SETT_READ_ONLY)
		status = id != UINT64_MAX ? remember(s, id, stem) : status;
	mutex_unlock(&s->lock);
	if (status == SETT_OK)
		*ret_id = id;
	return status;
}

/* ---- cursors ---- */

static uint64_t
stem_cursor(uint64_t id, struct bytes tail)
{
	uint64_t generation = id >> 32, number = (uint32_t)id;
	return KIND_STEM | (generation & 1) << GENERATION_SHIFT | number << TAIL_BITS |
		encode(tail, TAIL_BYTES);
}

/* The cursor of a place, without its effort. SETT_NOT_FOUND: it needs a stem that is not there. */
static int
find_cursor(struct keyspace_view *view, struct bytes place, uint64_t *ret)
{
	uint64_t id;
	if (place.size <= DIRECT_BYTES) {
		*ret = encode(place, DIRECT_BYTES);
		return SETT_OK;
	}
	for (size_t tail = TAIL_BYTES; tail > 0; tail--) {
		size_t size = place.size - tail;
		int status = find_stem(view->keyspace->cursors, view->txn, view->arena,
				       bytes_of(place.data, size), &id);
		if (status == SETT_OK)
			*ret = stem_cursor(id, bytes_of(place.data + size, tail));
		if (status != SETT_NOT_FOUND && status != SETT_TOO_LARGE)
			return status;
	}
	return SETT_NOT_FOUND;
}

static int
make_cursor(struct keyspace_view *view, struct bytes place, uint64_t *ret)
{
	uint64_t id;
	size_t size = place.size - TAIL_BYTES;
	assert(place.size > DIRECT_BYTES);
	int status = make_stem(view, bytes_of(place.data, size), &id);
	if (status == SETT_OK)
		*ret = stem_cursor(id, bytes_of(place.data + size, TAIL_BYTES));
	return status;
}

/* The place of a cursor, in the arena; empty if it is lost, or no cursor. */
static int
find_place(struct keyspace_view *view, uint64_t cursor, struct bytes *ret)
{
	struct scan_cursors *s = view->keyspace->cursors;
	uint8_t tail[DIRECT_BYTES];
	struct bytes stem = {0};
	size_t size;
	if ((cursor & KIND_STEM) == 0) {
		size = decode(cursor & LOW_MASK, DIRECT_BYTES, tail);
	} else {
		uint64_t newest = generation_of(s),
			 number = cursor >> TAIL_BITS & ((UINT64_C(1) << NUMBER_BITS) - 1);
		uint64_t older = (cursor >> GENERATION_SHIFT ^ newest) & 1,
			 id = stem_id(newest - older, number);
		int status =
			older > newest ? SETT_NOT_FOUND : read_stem(s, view->txn, view->arena, id, &stem);
		if (status == SETT_NOT_FOUND && older <= newest)
			status = read_newer_stem(s, view, id, &stem);
		if (status == SETT_NOT_FOUND) {
			*ret = (struct bytes){0};
			return SETT_OK;
		}
		if (status != SETT_OK)
			return status;
		size = decode(cursor & ((UINT64_C(1) << TAIL_BITS) - 1), TAIL_BYTES, tail);
	}
	uint8_t *place = arena_allocate(view->arena, stem.size + size + 1, 1);
	if (place == NULL)
		return SETT_NO_MEMORY;
	if (stem.size > 0)
		memcpy(place, stem.data, stem.size);
	memcpy(place + stem.size, tail, size);
	size += stem.size;
	*ret = bytes_of(place, size < LONG_KEY_STORED_SIZE ? size : (size_t)LONG_KEY_STORED_SIZE);
	return SETT_OK;
}

/* ---- one call ---- */

int
keyspace_scan_begin(struct keyspace_view *view, unsigned db, uint64_t cursor, uint64_t count,
		    struct keyspace_scan *ret)
{
	uint64_t epoch;
	struct keyspace_scan scan = {.view = view, .count = count};
	assert(count > 0);
	if (cursor >= KIND_STEM << 1)
		cursor = 0; /* none of this server's */
	scan.effort = (unsigned)(cursor >> EFFORT_SHIFT) & EFFORT_MAX;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = find_place(view, cursor, &scan.place);
	if (status != SETT_OK)
		return status;
	scan.count = raise_count(view, epoch, count, scan.effort);
	*ret = scan;
	return SETT_OK;
}

/* Keeps the key before a place where the call may end. */
static int
keep_last(struct keyspace_scan *scan, struct bytes key)
{
	enum { SIZE = EPOCH_PREFIX_SIZE + LONG_KEY_STORED_SIZE, FIRST = 256 };
	assert(key.size <= SIZE);
	/* A transaction of many scans keeps what each has taken. */
	if (scan->last_capacity < key.size) {
		size_t capacity = 2 * key.size > FIRST ? 2 * key.size : FIRST;
		if ((scan->last = arena_allocate(scan->view->arena, capacity, 1)) == NULL)
			return SETT_NO_MEMORY;
		scan->last_capacity = capacity;
	}
	memcpy(scan->last, key.data, key.size);
	scan->last_size = key.size;
	return SETT_OK;
}

/* The shortest place between the last key and `next`. */
static struct bytes
place_between(const struct keyspace_scan *scan, struct bytes next)
{
	size_t same = EPOCH_PREFIX_SIZE;
	while (same < scan->last_size && same < next.size && scan->last[same] == next.data[same])
		same++;
	assert(same < next.size); /* the keys ascend */
	return bytes_of(next.data + EPOCH_PREFIX_SIZE, same + 1 - EPOCH_PREFIX_SIZE);
}

static uint64_t
finish(struct keyspace_scan *scan, uint64_t cursor, uint64_t looked)
{
	unsigned effort = add_effort(scan->view->keyspace, scan->effort, looked);
	cursor |= (uint64_t)effort << EFFORT_SHIFT;
	assert(cursor != 0 && cursor < KIND_STEM << 1);
	return cursor;
}

/* The call has looked at `count` keys: may it end before `next`? */
static int
try_to_stop(struct keyspace_scan *scan, struct bytes next, enum scan_step *ret_step, uint64_t *ret_cursor)
{
	uint64_t cursor, slack = scan->count / 2 < SLACK_MAX ? scan->count / 2 : (uint64_t)SLACK_MAX;
	struct bytes place = place_between(scan, next);
	int status = find_cursor(scan->view, place, &cursor);
	if (status == SETT_OK) {
		*ret_step = SCAN_STOP;
		*ret_cursor = finish(scan, cursor, scan->looked);
		return SETT_OK;
	}
	if (status != SETT_NOT_FOUND)
		return status;
	if (scan->best.size == 0 || place.size < scan->best.size) {
		const void *copy = arena_copy(scan->view->arena, place.data, place.size);
		if (copy == NULL)
			return SETT_NO_MEMORY;
		scan->best = bytes_of(copy, place.size);
		scan->best_looked = scan->looked;
		*ret_step = SCAN_MARK;
	}
	if (scan->looked - scan->count < slack + scan->more)
		return SETT_OK;
	status = make_cursor(scan->view, scan->best, &cursor);
	if (status == SETT_TOO_LARGE) {
		/* No number for it: another place is looked for. */
		scan->best.size = 0;
		scan->more += slack;
		return SETT_OK;
	}
	if (status == SETT_OK) {
		*ret_step = *ret_step == SCAN_MARK ? SCAN_STOP : SCAN_STOP_AT_MARK;
		*ret_cursor = finish(scan, cursor, scan->best_looked);
	}
	return status;
}

int
keyspace_scan_step(struct keyspace_scan *scan, const struct key *next, enum scan_step *ret_step,
		   uint64_t *ret_cursor)
{
	struct bytes engine_key = next->engine_key.bytes;
	enum scan_step step = SCAN_GO_ON;
	int status = SETT_OK;
	if (scan->looked >= scan->count)
		status = try_to_stop(scan, engine_key, &step, ret_cursor);
	if (status == SETT_OK && (step == SCAN_GO_ON || step == SCAN_MARK)) {
		scan->looked++;
		if (scan->looked >= scan->count)
			status = keep_last(scan, engine_key);
	}
	if (status == SETT_OK)
		*ret_step = step;
	return status;
}

/* ---- opening ---- */

static int
read_count(struct scan_cursors *s)
{
	struct sett_record record;
	int status = sett_txn_begin(s->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status != SETT_OK)
		return status;
	status = sett_txn_get(s->txn, bytes_of(count_key, sizeof(count_key)), &record);
	if (status == SETT_OK && record.head.size == 8)
		s->made = get_le64(record.head.data);
	else if (status == SETT_OK)
		status = SETT_CORRUPT;
	sett_txn_discard(s->txn);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
scan_cursors_open(struct sett_engine *engine, struct scan_cursors **ret)
{
	struct scan_cursors *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	s->engine = engine;
	s->generation_size = STEMS_MAX;
	mutex_init(&s->lock);
	mutex_init(&s->memory_lock);
	int status = sett_txn_create(engine, &s->txn);
	if (status == SETT_OK)
		status = read_count(s);
	if (status != SETT_OK) {
		scan_cursors_close(s);
		return status;
	}
	*ret = s;
	return SETT_OK;
}

void
scan_cursors_close(struct scan_cursors *s)
{
	if (s == NULL)
		return;
	sett_txn_destroy(s->txn);
	for (int i = 0; i < REMEMBERED; i++)
		free(s->memory[i].data);
	mutex_destroy(&s->memory_lock);
	mutex_destroy(&s->lock);
	free(s);
}

void
scan_cursors_set_generation_size(struct scan_cursors *s, uint64_t stems)
{
	s->generation_size = stems;
}
