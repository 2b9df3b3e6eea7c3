/* The engine beside a model; see model_run.h.
 *
 * Keys 0 .. KEYS-1 stand for "key000" and on, in order. Group g's keys begin with the id g after the stem "z",
 * past all of those; walks over the keys end before. A third of the groups is dropped by prefix, the others as
 * ids, and half of these come in several commits, pending until the last. A dropped group is never touched again
 * by later snapshots, as sett_txn_drop_prefix asks. */
#include "model_run.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/random.h"
#include "storage/engine.h"
#include "upload.h"

enum {
	UPLOADS = 4, /* bodies in pieces at once */
	KEYS = 120,
	TXNS = 6,
	MAX_RANGES = 16,
	MAX_MARKS = 4,
	MAX_BODY = 6000,
	COUNTERS = 3,
	GROUPS = 400,
	GROUP_KEYS = 5,
	NEVER = -1, /* no own write */
};

struct value {
	bool live;
	uint64_t content; /* seed of the body */
	uint32_t size;
	uint64_t head, expires_at;
};

struct version {
	uint64_t timestamp;
	struct value value;
};

struct key {
	struct version *versions; /* oldest first */
	size_t count, capacity;
};

struct own_write {
	bool written;
	struct value value;
};

struct own { /* what a transaction has buffered */
	struct own_write writes[KEYS];
	int64_t deltas[COUNTERS];
	bool counter_dropped[COUNTERS];
};

struct range { /* observed: no key in [low, high] may change */
	int low, high;
};

struct txn {
	struct sett_txn *txn;
	bool running;
	uint64_t snapshot;
	struct own own;
	bool read[KEYS], ever_written;
	struct range ranges[MAX_RANGES];
	size_t range_count;
	bool ranges_used;
	struct {
		size_t mark;
		struct own own;
	} marks[MAX_MARKS];
	size_t mark_count;
};

struct run {
	struct random random;
	struct vfs *vfs;
	struct sett_engine *engine;
	struct key keys[KEYS];
	struct txn txns[TXNS];
	int64_t counters[COUNTERS];
	uint64_t groups_made[GROUPS], groups_dropped[GROUPS]; /* timestamps; 0 = not (yet) */
	unsigned groups_filled[GROUPS];                       /* keys that were put */
	bool groups_pending[GROUPS];
	unsigned group_count;
	uint64_t last; /* newest commit */
	struct upload uploads[UPLOADS];
	unsigned users[UPLOADS]; /* the running transactions that put it, a bit each */
	struct model_figures *figures;
	char *why;
	size_t why_size;
	uint8_t body[MAX_BODY];
};

static int __attribute__((format(printf, 2, 3))) complain(struct run *run, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(run->why, run->why_size, format, arguments);
	va_end(arguments);
	return -1;
}

static unsigned
below(struct run *run, unsigned bound)
{
	return (unsigned)random_below(&run->random, bound);
}

static struct bytes
key_name(int key, char name[16])
{
	int n = snprintf(name, 16, "key%03d", key);
	return bytes_of(name, (size_t)n);
}

static struct bytes
body_of(struct run *run, const struct value *value)
{
	upload_fill(run->body, value->size, value->content);
	return bytes_of(run->body, value->size);
}

/* ---- the model ---- */

static const struct version *
version_at(const struct run *run, int key, uint64_t snapshot)
{
	const struct key *k = &run->keys[key];
	for (size_t i = k->count; i-- > 0;)
		if (k->versions[i].timestamp <= snapshot)
			return &k->versions[i];
	return NULL;
}

static struct value
seen(const struct run *run, const struct txn *t, int key)
{
	if (t->own.writes[key].written)
		return t->own.writes[key].value;
	const struct version *v = version_at(run, key, t->snapshot);
	return v ? v->value : (struct value){0};
}

static int
add_version(struct run *run, int key, const struct value *value)
{
	struct key *k = &run->keys[key];
	if (k->count == k->capacity) {
		size_t capacity = k->capacity ? 2 * k->capacity : 16;
		struct version *more = realloc(k->versions, capacity * sizeof(*more));
		if (!more)
			return complain(run, "out of memory");
		k->versions = more;
		k->capacity = capacity;
	}
	k->versions[k->count++] = (struct version){run->last, *value};
	return 0;
}

static bool
changed_since(const struct run *run, int key, uint64_t snapshot)
{
	const struct key *k = &run->keys[key];
	return k->count && k->versions[k->count - 1].timestamp > snapshot;
}

static bool
must_conflict(const struct run *run, const struct txn *t)
{
	for (int k = 0; k < KEYS; k++)
		if (t->read[k] && changed_since(run, k, t->snapshot))
			return true;
	for (size_t i = 0; i < t->range_count; i++)
		for (int k = t->ranges[i].low; k <= t->ranges[i].high; k++)
			if (changed_since(run, k, t->snapshot))
				return true;
	return false;
}

/* A walk saw every key from `low` to `high`. */
static void
observe(struct txn *t, int low, int high)
{
	t->ranges_used = true;
	low = low < 0 ? 0 : low;
	high = high >= KEYS ? KEYS - 1 : high;
	if (low > high || t->range_count == MAX_RANGES)
		return; /* an unnoted range can only make the test more lenient */
	struct range *newest = t->range_count ? &t->ranges[t->range_count - 1] : NULL;
	if (newest && low <= newest->high + 1 && high + 1 >= newest->low) {
		newest->low = low < newest->low ? low : newest->low;
		newest->high = high > newest->high ? high : newest->high;
		return;
	}
	t->ranges[t->range_count++] = (struct range){low, high};
}

/* ---- reading ---- */

static int
check_record(struct run *run, struct txn *t, int key, const struct sett_record *record)
{
	struct value v = seen(run, t, key);
	uint64_t timestamp =
		t->own.writes[key].written ? UINT64_MAX : version_at(run, key, t->snapshot)->timestamp;
	struct bytes body;
	if (!v.live)
		return complain(run, "key %d is there, and should not be", key);
	if (record->body_size != v.size || record->expires_at != v.expires_at || record->head.size != 8 ||
	    memcmp(record->head.data, &v.head, 8) != 0 || record->timestamp != timestamp)
		return complain(run, "the record of key %d is not what was written", key);
	if (below(run, 3))
		return 0;
	int r = sett_txn_body(t->txn, record, &body);
	if (r != SETT_OK || !bytes_equal(body, body_of(run, &v)))
		return complain(run, "the body of key %d is not what was written (%d)", key, r);
	return 0;
}

static int
do_get(struct run *run, struct txn *t)
{
	char name[16];
	int key = (int)below(run, KEYS);
	struct sett_record record;
	int r = sett_txn_get(t->txn, key_name(key, name), &record);
	t->read[key] = true;
	if (r == SETT_NOT_FOUND)
		return seen(run, t, key).live ? complain(run, "key %d is missing", key) : 0;
	return r == SETT_OK ? check_record(run, t, key, &record) : complain(run, "get: %d", r);
}

/* The nearest live key from `from` on, in steps of `by`, within [low, high); `high` or low - 1 if none. */
static int
nearest(const struct run *run, const struct txn *t, int from, int by, int low, int high)
{
	int k = from;
	while (k >= low && k < high && !seen(run, t, k).live)
		k += by;
	return k < low ? low - 1 : k > high ? high : k;
}

static int
check_position(struct run *run, struct txn *t, struct sett_iterator *it, int r, int expected, int low,
	       int high)
{
	char name[16];
	struct sett_record record;
	if (expected < low || expected >= high)
		return r == SETT_NOT_FOUND && !sett_iterator_is_valid(it)
			? 0
			: complain(run, "a walk should have ended (%d)", r);
	if (r != SETT_OK || !sett_iterator_is_valid(it))
		return complain(run, "a walk stopped before key %d (%d)", expected, r);
	struct bytes key = sett_iterator_key(it);
	if (!bytes_equal(key, key_name(expected, name)))
		return complain(run, "a walk is at %.*s instead of %s", (int)key.size, (const char *)key.data,
				name);
	r = sett_iterator_record(it, &record);
	return r == SETT_OK ? check_record(run, t, expected, &record) : complain(run, "record: %d", r);
}

static int
do_walk(struct run *run, struct txn *t)
{
	char names[3][16];
	int low = below(run, 3) ? 0 : (int)below(run, KEYS),
	    high = below(run, 3) ? KEYS : (int)below(run, KEYS);
	struct sett_iterator_options options = {.lower = low ? key_name(low, names[0]) : bytes_of("", 0),
						.upper = high < KEYS ? key_name(high, names[1])
								     : BYTES_LITERAL("y")};
	struct sett_iterator *it;
	int r = sett_iterator_open(t->txn, &options, &it);
	if (r != SETT_OK)
		return complain(run, "iterator: %d", r);
	if (high < low)
		high = low; /* an empty range */
	int at = low - 1, moves = 1 + (int)below(run, 12), result = 0, direction = below(run, 2) ? 1 : -1;
	bool positioned = false;
	for (int i = 0; result == 0 && i < moves; i++) {
		int target = (int)below(run, KEYS), before = at;
		unsigned how = positioned && at >= low && at < high ? below(run, 10) : 0;
		if (how < 2) {
			switch (below(run, 4)) {
			case 0:
				r = sett_iterator_first(it);
				at = nearest(run, t, low, 1, low, high);
				observe(t, low, at < high ? at : high - 1);
				break;
			case 1:
				r = sett_iterator_last(it);
				at = nearest(run, t, high - 1, -1, low, high);
				observe(t, at < low ? low : at, high - 1);
				break;
			case 2:
				r = sett_iterator_seek(it, key_name(target, names[2]));
				target = target < low ? low : target > high ? high : target;
				at = nearest(run, t, target, 1, low, high);
				observe(t, target, at < high ? at : high - 1);
				break;
			default:
				r = sett_iterator_seek_before(it, key_name(target, names[2]));
				target = target < low ? low : target > high ? high : target;
				at = nearest(run, t, target - 1, -1, low, high);
				observe(t, at < low ? low : at, target - 1);
			}
		} else {
			if (below(run, 6) == 0)
				direction = -direction;
			r = direction > 0 ? sett_iterator_next(it) : sett_iterator_previous(it);
			at = nearest(run, t, at + direction, direction, low, high);
			observe(t,
				(before < at ? before : at) < low ? low
					: before < at             ? before
								  : at,
				(before > at ? before : at) < high ? (before > at ? before : at) : high - 1);
		}
		positioned = true;
		run->figures->operations++;
		result = check_position(run, t, it, r, at, low, high);
	}
	sett_iterator_close(it);
	return result;
}

static int
do_counter(struct run *run, struct txn *t)
{
	unsigned c = below(run, COUNTERS);
	int64_t found, delta = (int64_t)below(run, 100) - 50;
	int r = SETT_OK;
	switch (below(run, 6)) {
	case 0:
		r = sett_txn_counter(t->txn, c, &found);
		int64_t expected = (t->own.counter_dropped[c] ? 0 : run->counters[c]) + t->own.deltas[c];
		if (r == SETT_OK && found != expected)
			return complain(run, "counter %u is %lld, not %lld", c, (long long)found,
					(long long)expected);
		break;
	case 1:
		r = sett_txn_counter_drop(t->txn, c);
		t->own.counter_dropped[c] = true;
		t->own.deltas[c] = 0;
		break;
	default:
		r = sett_txn_counter_add(t->txn, c, delta);
		t->own.deltas[c] += delta;
	}
	return r == SETT_OK ? 0 : complain(run, "counter: %d", r);
}

/* ---- writing ---- */

static int
do_put(struct run *run, struct txn *t)
{
	char name[16], other[16];
	int key = (int)below(run, KEYS);
	struct sett_record record;
	struct sett_put put = {0};
	struct value v = {
		.live = true, .content = random_next(&run->random), .head = random_next(&run->random)};
	v.size = below(run, 8) ? below(run, below(run, 2) ? 40 : 700) : below(run, MAX_BODY);
	v.expires_at = below(run, 4) ? 0 : 1 + below(run, 1000);
	unsigned upload = below(run, UPLOADS);
	if (run->uploads[upload].finished) { /* with a body that came in pieces */
		put.written = run->uploads[upload].writer;
		v.content = run->uploads[upload].content;
		v.size = run->uploads[upload].size;
		run->users[upload] |= 1u << (t - run->txns);
	} else if (below(run, 6) == 0) { /* with the body of some other record */
		int from = (int)below(run, KEYS);
		int r = sett_txn_get(t->txn, key_name(from, other), &record);
		t->read[from] = true;
		struct value source = seen(run, t, from);
		if ((r == SETT_OK) != source.live || (r != SETT_OK && r != SETT_NOT_FOUND))
			return complain(run, "get before a put: %d", r);
		if (r == SETT_OK) {
			put.body_of = &record;
			v.content = source.content;
			v.size = source.size;
		}
	}
	put.head = bytes_of(&v.head, 8);
	put.expires_at = v.expires_at;
	if (!put.body_of && !put.written)
		put.body = body_of(run, &v);
	int r = sett_txn_put(t->txn, key_name(key, name), &put);
	t->own.writes[key] = (struct own_write){true, v};
	return r == SETT_OK ? 0 : complain(run, "put: %d", r);
}

static int
do_delete(struct run *run, struct txn *t)
{
	char name[16];
	int key = (int)below(run, KEYS);
	int r = sett_txn_delete(t->txn, key_name(key, name));
	t->own.writes[key] = (struct own_write){.written = true};
	return r == SETT_OK ? 0 : complain(run, "delete: %d", r);
}

static int
do_savepoint(struct run *run, struct txn *t)
{
	if (t->mark_count && below(run, 2)) {
		size_t to = below(run, (unsigned)t->mark_count);
		sett_txn_rollback_to(t->txn, t->marks[to].mark);
		t->own = t->marks[to].own;
		t->mark_count = to;
	} else if (t->mark_count < MAX_MARKS) {
		t->marks[t->mark_count].mark = sett_txn_savepoint(t->txn);
		t->marks[t->mark_count++].own = t->own;
	}
	return 0;
}

/* ---- the life of a transaction ---- */

static int
begin(struct run *run, struct txn *t)
{
	int r = sett_txn_begin(t->txn, 0);
	if (r != SETT_OK)
		return complain(run, "begin: %d", r);
	struct sett_txn *handle = t->txn;
	memset(t, 0, sizeof(*t));
	t->txn = handle;
	t->running = true;
	t->snapshot = sett_txn_snapshot(handle);
	return t->snapshot == run->last
		? 0
		: complain(run, "a snapshot at %llu of %llu", (unsigned long long)t->snapshot,
			   (unsigned long long)run->last);
}

static int
apply(struct run *run, const struct txn *t)
{
	int r = 0;
	run->last++;
	for (int k = 0; r == 0 && k < KEYS; k++)
		if (t->own.writes[k].written)
			r = add_version(run, k, &t->own.writes[k].value);
	for (int c = 0; c < COUNTERS; c++)
		run->counters[c] = (t->own.counter_dropped[c] ? 0 : run->counters[c]) + t->own.deltas[c];
	return r;
}

/* The transaction has ended: what it put in pieces is no longer its concern. */
static void
leave_uploads(struct run *run, const struct txn *t)
{
	for (int i = 0; i < UPLOADS; i++)
		run->users[i] &= ~(1u << (t - run->txns));
}

static int
commit(struct run *run, struct txn *t)
{
	uint64_t timestamp = 0;
	bool writes = sett_txn_has_writes(t->txn), expected = must_conflict(run, t);
	t->running = false;
	for (int k = 0; k < KEYS; k++)
		if (t->own.writes[k].written && !writes)
			return complain(run, "a transaction has forgotten its writes");
	int r = sett_txn_commit(t->txn, NULL, &timestamp);
	leave_uploads(run, t);
	if (!writes)
		return r == SETT_OK || r == SETT_CONFLICT ? 0 : complain(run, "commit of a reader: %d", r);
	if (r == SETT_CONFLICT) {
		run->figures->conflicts++;
		/* Walks may be taken for wider than they were, and two keys for one when the table is full.
		 */
		run->figures->needless += !expected && !t->ranges_used;
		return 0;
	}
	if (r != SETT_OK)
		return complain(run, "commit: %d", r);
	if (expected)
		return complain(run, "a conflict was missed (snapshot %llu, commit %llu)",
				(unsigned long long)t->snapshot, (unsigned long long)timestamp);
	if (timestamp != run->last + 1)
		return complain(run, "commit %llu got %llu", (unsigned long long)run->last + 1,
				(unsigned long long)timestamp);
	run->figures->commits++;
	return apply(run, t);
}

static int
use_upload(struct run *run)
{
	unsigned i = below(run, UPLOADS);
	if (!run->uploads[i].finished) {
		int r = upload_step(&run->uploads[i], run->engine, random_next(&run->random), MAX_BODY);
		return r == SETT_OK ? 0 : complain(run, "a body in pieces: %d", r);
	}
	if (!run->users[i] && below(run, 4) == 0)
		upload_close(&run->uploads[i]);
	return 0;
}

static int
use_transaction(struct run *run, struct txn *t)
{
	if (!t->running)
		return begin(run, t);
	switch (below(run, 24)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		return do_put(run, t);
	case 6:
	case 7:
		return do_delete(run, t);
	case 8:
	case 9:
	case 10:
		return do_walk(run, t);
	case 11:
		return do_counter(run, t);
	case 12:
	case 13:
		return do_savepoint(run, t);
	case 14:
	case 15:
	case 16:
	case 17:
		/* The first two of them are long-lived. */
		return t < &run->txns[2] && below(run, 20) ? do_get(run, t) : commit(run, t);
	case 18:
		if (t < &run->txns[2])
			return do_get(run, t);
		sett_txn_discard(t->txn);
		t->running = false;
		leave_uploads(run, t);
		return 0;
	default:
		return do_get(run, t);
	}
}

/* ---- groups: prefixes and ids that are made once, and dropped once ---- */

enum group_kind { GROUP_PREFIX, GROUP_ID, GROUP_BUILT, GROUP_KIND_COUNT };
#define GROUP_STEM BYTES_LITERAL("z")

static enum group_kind
group_kind(unsigned group)
{
	return (enum group_kind)(group % GROUP_KIND_COUNT);
}

static struct bytes
group_key(unsigned group, unsigned key, uint8_t name[SETT_MAX_PREFIX_SIZE])
{
	size_t size = sett_id_prefix(GROUP_STEM, group, name);
	name[size] = (uint8_t)('0' + key);
	return bytes_of(name, size + 1);
}

static struct value
group_value(unsigned group, unsigned key)
{
	return (struct value){.live = true, .content = group * 100 + key, .size = key * 311};
}

static int
put_group_keys(struct run *run, struct sett_txn *txn, unsigned group, unsigned from, unsigned to)
{
	uint8_t name[SETT_MAX_PREFIX_SIZE];
	int r = SETT_OK;
	for (unsigned k = from; r == SETT_OK && k < to; k++) {
		struct value v = group_value(group, k);
		r = sett_txn_put(txn, group_key(group, k, name),
				 &(struct sett_put){.body = body_of(run, &v)});
	}
	return r;
}

/* What the next commit for the group does; `to`: keys that are there then. */
static int
buffer_group(struct run *run, struct sett_txn *txn, unsigned group, bool drop, unsigned to)
{
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	unsigned from = run->groups_filled[group];
	int r = SETT_OK;
	if (drop && group_kind(group) == GROUP_PREFIX)
		return sett_txn_drop_prefix(txn, bytes_of(prefix, sett_id_prefix(GROUP_STEM, group, prefix)));
	if (drop)
		return sett_txn_drop_id(txn, GROUP_STEM, group, below(run, 2) ? 0 : from * 700);
	if (run->groups_pending[group] && from == GROUP_KEYS)
		return sett_txn_publish_id(txn, GROUP_STEM, group);
	if (group_kind(group) == GROUP_BUILT)
		r = from == 0 ? sett_txn_pend_id(txn, GROUP_STEM, group)
			      : sett_txn_check_pending(txn, GROUP_STEM, group);
	return r == SETT_OK ? put_group_keys(run, txn, group, from, to) : r;
}

/* Begins it, goes on with it, or drops it, in a transaction of its own. */
static int
change_group(struct run *run, unsigned group, bool drop)
{
	struct sett_txn *txn;
	unsigned to = GROUP_KEYS;
	if (group_kind(group) == GROUP_BUILT && run->groups_filled[group] + 2 < GROUP_KEYS)
		to = run->groups_filled[group] + 2;
	if (sett_txn_create(run->engine, &txn) != SETT_OK || sett_txn_begin(txn, 0) != SETT_OK)
		return complain(run, "no transaction");
	int r = buffer_group(run, txn, group, drop, to);
	if (r == SETT_OK)
		r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	if (r != SETT_OK)
		return complain(run, "%s of group %u: %d", drop ? "drop" : "creation", group, r);
	run->last++;
	run->figures->dropped += drop;
	if (drop) {
		run->groups_dropped[group] = run->last;
		run->groups_pending[group] = false;
		return 0;
	}
	bool published = run->groups_pending[group] && run->groups_filled[group] == GROUP_KEYS;
	run->groups_filled[group] = to;
	run->groups_pending[group] = group_kind(group) == GROUP_BUILT && !published;
	if (!run->groups_pending[group])
		run->groups_made[group] = run->last;
	return 0;
}

/* Gives it up without a commit. */
static int
abandon_group(struct run *run, unsigned group)
{
	int r = sett_engine_abandon_id(run->engine, GROUP_STEM, group);
	if (r != SETT_OK)
		return complain(run, "group %u is not pending: %d", group, r);
	run->groups_pending[group] = false;
	run->groups_dropped[group] = run->last;
	run->figures->dropped++;
	return 0;
}

/* Nothing is committed under what is not pending. */
static int
intrude(struct run *run, unsigned group)
{
	struct sett_txn *txn;
	if (sett_txn_create(run->engine, &txn) != SETT_OK || sett_txn_begin(txn, 0) != SETT_OK)
		return complain(run, "no transaction");
	int r = sett_txn_check_pending(txn, GROUP_STEM, group);
	if (r == SETT_OK)
		r = put_group_keys(run, txn, group, 0, 1);
	if (r == SETT_OK)
		r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return r == SETT_ABORTED
		? 0
		: complain(run, "a commit under group %u, which is not pending: %d", group, r);
}

/* Reads a group as this snapshot must see it, unless it is one that must not look. */
static int
check_group(struct run *run, const struct txn *t, unsigned group)
{
	uint8_t name[SETT_MAX_PREFIX_SIZE];
	struct sett_record record;
	struct bytes body;
	if (run->groups_made[group] == 0)
		return 0; /* pending, or never published: nothing leads there */
	if (run->groups_dropped[group] && run->groups_dropped[group] <= t->snapshot)
		return 0;
	for (unsigned k = 0; k < GROUP_KEYS; k++) {
		struct value v = group_value(group, k);
		int r = sett_txn_get(t->txn, group_key(group, k, name), &record);
		if (run->groups_made[group] > t->snapshot) {
			/* Nothing leads there yet; what was built before may be seen. */
			if (r != SETT_NOT_FOUND && group_kind(group) != GROUP_BUILT)
				return complain(run, "key %u of group %u came too early: %d", k, group, r);
			continue;
		}
		if (r == SETT_OK)
			r = sett_txn_body(t->txn, &record, &body);
		if (r != SETT_OK || !bytes_equal(body, body_of(run, &v)))
			return complain(run, "key %u of group %u is not what it was (%d)", k, group, r);
	}
	return 0;
}

static int
use_groups(struct run *run)
{
	if (run->group_count < GROUPS && below(run, 3) == 0)
		return change_group(run, run->group_count++, false);
	if (run->group_count == 0)
		return 0;
	unsigned group = run->group_count - 1 -
		below(run, run->group_count < 12 ? run->group_count : 12); /* a recent one */
	bool pending = run->groups_pending[group];
	if (below(run, 4) == 0 && !run->groups_dropped[group])
		return pending && below(run, 2) ? abandon_group(run, group) : change_group(run, group, true);
	if (pending)
		return change_group(run, group, false);
	if (below(run, 8) == 0)
		return intrude(run, group);
	struct txn *t = &run->txns[below(run, TXNS)];
	return t->running ? check_group(run, t, group) : 0;
}

/* ---- upkeep ---- */

static int
open_engine(struct run *run)
{
	static const size_t thresholds[] = {1, 64, 300, 1024, 4096};
	static const uint64_t file_sizes[] = {16 << 10, 64 << 10, 1 << 20};
	struct sett_error error = {0};
	struct sett_options options = {.vfs = run->vfs,
				       .seed = 1 + random_next(&run->random) / 2,
				       .memory_budget = (size_t)(1 + below(run, 4)) << 20,
				       .value_threshold = thresholds[below(run, 5)],
				       .value_log_file_size = file_sizes[below(run, 3)],
				       .space_amplification_limit = below(run, 2) ? 0 : 1.2,
				       .table_compression = (enum sett_compression)below(run, 4),
				       .bottom_compression = (enum sett_compression)below(run, 4),
				       .value_compression = (enum sett_compression)below(run, 4),
				       .open_files = below(run, 2) ? 0 : 1 + below(run, 4),
				       .large_commit = below(run, 2) ? 0 : 1 + below(run, 20),
				       .manual_work = true};
	int r = sett_engine_open("db", &options, &run->engine, &error);
	if (r != SETT_OK)
		return complain(run, "open: %d %s", r, error.message);
	for (int i = 0; i < TXNS; i++)
		if (sett_txn_create(run->engine, &run->txns[i].txn) != SETT_OK)
			return complain(run, "no transaction");
	uint64_t visible = sett_engine_visible(run->engine);
	return visible == run->last ? 0
				    : complain(run, "reopened at %llu of %llu", (unsigned long long)visible,
					       (unsigned long long)run->last);
}

static void
close_transactions(struct run *run)
{
	for (int i = 0; i < TXNS; i++) {
		sett_txn_destroy(run->txns[i].txn);
		memset(&run->txns[i], 0, sizeof(run->txns[i]));
	}
	memset(run->users, 0, sizeof(run->users));
}

static void
close_uploads(struct run *run)
{
	for (int i = 0; i < UPLOADS; i++)
		upload_close(&run->uploads[i]);
}

static void
add_figures(struct run *run)
{
	struct sett_stats stats;
	sett_engine_stats(run->engine, &stats);
	run->figures->flushes += stats.flushes;
	run->figures->compactions += stats.compactions;
	run->figures->moved_bytes += stats.value_log_moved_bytes;
}

static int
reopen(struct run *run)
{
	struct sett_error error = {0};
	close_transactions(run);
	close_uploads(run);
	add_figures(run);
	int r = sett_engine_close(run->engine, &error);
	run->engine = NULL;
	run->figures->reopened++;
	for (unsigned g = 0; g < run->group_count; g++) {
		if (run->groups_pending[g]) /* whoever built it is gone */
			run->groups_dropped[g] = run->last;
		run->groups_pending[g] = false;
	}
	return r == SETT_OK ? open_engine(run) : complain(run, "close: %d %s", r, error.message);
}

/* With no snapshot left, compacting everything leaves nothing of dropped groups and all of the others. */
static int
check_all_groups(struct run *run)
{
	struct sett_error error = {0};
	struct sett_iterator *it;
	uint8_t name[SETT_MAX_PREFIX_SIZE];
	close_transactions(run);
	int r = sett_engine_compact(run->engine, &error);
	if (r != SETT_OK)
		return complain(run, "compact: %d %s", r, error.message);
	for (int i = 0; i < TXNS; i++)
		if (sett_txn_create(run->engine, &run->txns[i].txn) != SETT_OK)
			return complain(run, "no transaction");
	r = begin(run, &run->txns[0]);
	if (r != 0)
		return r;
	if (sett_iterator_open(run->txns[0].txn, &(struct sett_iterator_options){.lower = GROUP_STEM}, &it) !=
	    SETT_OK)
		return complain(run, "no iterator");
	int status = sett_iterator_first(it);
	for (unsigned g = 0; r == 0 && g < run->group_count; g++) {
		if (run->groups_dropped[g])
			continue;
		for (unsigned k = 0; r == 0 && k < run->groups_filled[g]; k++) {
			if (status != SETT_OK || !bytes_equal(sett_iterator_key(it), group_key(g, k, name)))
				r = complain(run, "compacting everything left no key %u of group %u, or more",
					     k, g);
			else
				status = sett_iterator_next(it);
		}
	}
	if (r == 0 && status != SETT_NOT_FOUND)
		r = complain(run, "compacting everything left some of a dropped prefix (%d)", status);
	sett_iterator_close(it);
	run->txns[0].ranges_used = true;
	return r;
}

static int
upkeep(struct run *run)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	switch (below(run, 40)) {
	case 0:
		return reopen(run);
	case 1:
		return below(run, 4) ? 0 : check_all_groups(run);
	case 2:
		r = sett_engine_compact(run->engine, &error);
		break;
	case 3:
	case 4:
	case 5:
		r = sett_engine_flush(run->engine, &error);
		break;
	case 6:
		r = sett_engine_sync(run->engine, &error);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
	case 11:
		r = sett_engine_write(run->engine);
		break;
	default:
		r = sett_engine_work(run->engine, &error);
	}
	return r == SETT_OK || r == SETT_NOT_FOUND ? 0 : complain(run, "upkeep: %d %s", r, error.message);
}

int
model_run(uint64_t seed, uint64_t operations, struct model_figures *figures, char *ret_why, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));
	struct sett_error error;
	if (!run)
		return -1;
	run->why = ret_why;
	run->why_size = size;
	run->figures = figures;
	random_seed(&run->random, seed);
	run->vfs = vfs_memory_create();
	uint64_t until = figures->operations + operations;
	int r = run->vfs ? open_engine(run) : complain(run, "no vfs");
	while (r == 0 && figures->operations < until) {
		figures->operations++;
		unsigned what = below(run, 100);
		r = what < 2       ? upkeep(run)
			: what < 4 ? use_groups(run)
			: what < 6 ? use_upload(run)
				   : use_transaction(run, &run->txns[below(run, TXNS)]);
	}
	if (r == 0)
		r = reopen(run);
	if (r == 0)
		r = check_all_groups(run);
	close_transactions(run);
	close_uploads(run);
	if (run->engine && sett_engine_close(run->engine, &error) != SETT_OK && r == 0)
		r = complain(run, "close failed at the end");
	if (run->vfs && r == 0)
		run->vfs->operations->destroy(run->vfs);
	for (int k = 0; k < KEYS; k++)
		free(run->keys[k].versions);
	free(run);
	return r;
}
