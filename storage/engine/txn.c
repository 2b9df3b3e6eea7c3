/* Transactions: begin, read, buffer writes, end. Committing is in commit.c, iterating in iterator.c.
 *
 * A read looks at the transaction's own writes, then into the record cache, then at the generations, newest
 * first, then at the tree; the first version at or before the snapshot wins. With SETT_TXN_NOWAIT the
 * superversion is borrowed under RCU; otherwise a reference is held. */
#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "engine_private.h"
#include "storage/base/hash.h"
#include "value_log_pieces.h"

enum { ARENA_BLOCK = 16 << 10, KEPT_BATCH = 1 << 20, KEPT_ENTRIES = 16384 - 1 /* of each array */ };

uint64_t
sett_engine_hash(const struct sett_engine *engine, struct bytes key)
{
	return record_cache_hash(engine->records, key);
}

static struct sett_key
with_hash(const struct sett_txn *txn, struct bytes key)
{
	return (struct sett_key){key, sett_engine_hash(txn->engine, key)};
}

/* ---- life ---- */

int
sett_txn_create(struct sett_engine *engine, struct sett_txn **ret)
{
	struct sett_txn *txn = calloc(1, sizeof(*txn));
	if (!txn)
		return SETT_NO_MEMORY;
	txn->slot = snapshots_take_slot(&engine->snapshots);
	if (!txn->slot) {
		free(txn);
		return SETT_TOO_LARGE;
	}
	txn->engine = engine;
	arena_init(&txn->arena, ARENA_BLOCK);
	arena_init(&txn->reads_arena, ARENA_BLOCK);
	write_buffer_init(&txn->writes, &txn->arena);
	*ret = txn;
	return SETT_OK;
}

void
sett_txn_destroy(struct sett_txn *txn)
{
	if (!txn)
		return;
	sett_txn_discard(txn);
	sett_txn_release_claim(txn);
	snapshots_return_slot(&txn->engine->snapshots, txn->slot);
	write_buffer_free(&txn->writes);
	arena_free(&txn->arena);
	arena_free(&txn->reads_arena);
	for (size_t i = 0; i < txn->range_capacity; i++) {
		buffer_free(&txn->ranges[i].low);
		buffer_free(&txn->ranges[i].high);
	}
	free(txn->held_files);
	free(txn->ranges);
	free(txn->reads);
	free(txn->written);
	free(txn->pointers);
	free(txn->bodies);
	buffer_free(&txn->batch);
	free(txn);
}

int
sett_txn_begin(struct sett_txn *txn, unsigned flags)
{
	return sett_txn_begin_at(txn, flags, clock_wall_ms(txn->engine->clock));
}

static void
limit_memory(struct sett_txn *txn)
{
	/* relaxed: the number stands for itself */
	txn->arena.limit = txn->reads_arena.limit =
		__atomic_load_n(&txn->engine->transaction_memory, __ATOMIC_RELAXED) *
		(txn->flags & SETT_TXN_ROOMY ? SETT_ROOMY_FACTOR : 1);
}

void
sett_txn_leave_room(struct sett_txn *txn)
{
	assert(txn->running);
	txn->flags &= ~(unsigned)SETT_TXN_ROOMY;
	limit_memory(txn);
}

void
sett_txn_lift_limit(struct sett_txn *txn)
{
	assert(txn->running);
	txn->arena.limit = txn->reads_arena.limit = 0;
}

static inline void
borrow(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	txn->owns_superversion = !(txn->flags & SETT_TXN_NOWAIT);
	txn->superversion = txn->owns_superversion ? engine_acquire(engine) : rcu_read(engine->current);
}

/* What every begin does after the slot has the snapshot. */
static inline void
begin(struct sett_txn *txn, unsigned flags)
{
	assert(txn->iterators == NULL && txn->superversion == NULL);
	txn->flags = flags;
	borrow(txn);
	txn->observed = 0;
	txn->observed_own = txn->validate_reads = txn->is_as_of = false;
	txn->missing = txn->pause_ns = txn->unforeseen = txn->lost_to = 0;
	txn->met_claim = false;
	txn_forget_keys(txn);
	txn->range_count = 0;
	limit_memory(txn);
	txn->live_until = UINT64_MAX;
	txn->running = true;
}

int
sett_txn_begin_at(struct sett_txn *txn, unsigned flags, uint64_t now_ms)
{
	struct sett_engine *engine = txn->engine;
	if (txn->running)
		return SETT_INVALID;
	/* After the log failed, only what it holds is shown (I12). */
	uint64_t cap = UINT64_MAX;
	if (__builtin_expect(log_health(engine->log, NULL) != SETT_OK, 0))
		cap = log_written(engine->log);
	txn->snapshot = snapshot_acquire(txn->slot, &engine->visible, cap);
	begin(txn, flags);
	uint64_t floor = __atomic_load_n(&engine->newest_now_ms, __ATOMIC_ACQUIRE);
	/* Acquire: partner of the compare-and-swap in sett_txn_deadline_passed. */
	uint64_t passed = __atomic_load_n(&engine->passed_ms, __ATOMIC_ACQUIRE);
	txn->now_ms = now_ms > floor ? now_ms : floor;
	if (__builtin_expect(txn->now_ms <= passed, 0))
		txn->now_ms = passed + 1;
	return SETT_OK;
}

/* ---- snapshots that are kept ---- */

struct sett_snapshot {
	struct sett_engine *engine;
	struct snapshot_slot *slot;
	uint64_t now_ms;
};

int
sett_snapshot_keep(const struct sett_txn *txn, struct sett_snapshot **ret)
{
	assert(txn->running);
	struct sett_snapshot *snapshot = malloc(sizeof(*snapshot));
	if (!snapshot)
		return SETT_NO_MEMORY;
	*snapshot = (struct sett_snapshot){.engine = txn->engine,
					   .slot = snapshots_keep(&txn->engine->snapshots, txn->slot),
					   .now_ms = txn->now_ms};
	if (!snapshot->slot) {
		free(snapshot);
		return SETT_TOO_LARGE;
	}
	*ret = snapshot;
	return SETT_OK;
}

void
sett_snapshot_release(struct sett_snapshot *snapshot)
{
	if (!snapshot)
		return;
	snapshot_release(snapshot->slot);
	snapshots_return_slot(&snapshot->engine->snapshots, snapshot->slot);
	free(snapshot);
}

static uint64_t
held_bytes(struct sett_engine *engine, uint64_t own)
{
	if (snapshots_oldest(&engine->snapshots, &engine->visible) < own)
		return 0;
	struct superversion *sv = engine_acquire(engine);
	uint64_t held = version_held_bytes(sv->version, own);
	superversion_release(sv);
	return held;
}

uint64_t
sett_snapshot_held_bytes(const struct sett_snapshot *snapshot)
{
	/* relaxed: the slot is the caller's */
	return held_bytes(snapshot->engine, __atomic_load_n(&snapshot->slot->timestamp, __ATOMIC_RELAXED));
}

int
sett_txn_begin_kept(struct sett_txn *txn, const struct sett_snapshot *snapshot, unsigned flags)
{
	if (txn->running)
		return SETT_INVALID;
	assert(snapshot->engine == txn->engine);
	txn->snapshot = snapshot_join(txn->slot, snapshot->slot);
	begin(txn, flags);
	txn->now_ms = snapshot->now_ms;
	return SETT_OK;
}

/* ---- the past ---- */

int
sett_txn_begin_as_of(struct sett_txn *txn, uint64_t commit, uint64_t now_ms, unsigned flags)
{
	struct sett_engine *engine = txn->engine;
	if (txn->running)
		return SETT_INVALID;
	uint64_t newest = __atomic_load_n(&engine->visible, __ATOMIC_SEQ_CST);
	if (log_health(engine->log, NULL) != SETT_OK && log_written(engine->log) < newest)
		newest = log_written(engine->log); /* (I12) */
	if (commit > newest)
		return SETT_INVALID;
	if (!snapshot_acquire_past(&engine->snapshots, txn->slot, commit))
		return SETT_NOT_FOUND;
	txn->snapshot = commit;
	begin(txn, flags);
	txn->now_ms = now_ms;
	txn->is_as_of = true;
	return SETT_OK;
}

bool
sett_txn_is_as_of(const struct sett_txn *txn)
{
	return txn->is_as_of;
}

/* Gives back an array that one large transaction has made grow. */
#define SHRINK(array, capacity)                  \
	do {                                     \
		if ((capacity) > KEPT_ENTRIES) { \
			free(array);             \
			(array) = NULL;          \
			(capacity) = 0;          \
		}                                \
	} while (0)

void
txn_forget_keys(struct sett_txn *txn)
{
	txn->read_count = txn->written_count = 0;
	if (__builtin_expect((txn->read_capacity | txn->written_capacity) <= KEPT_ENTRIES, 1))
		return;
	SHRINK(txn->reads, txn->read_capacity);
	SHRINK(txn->written, txn->written_capacity);
}

/* The arrays are kept between transactions; not so large ones. */
static void
shrink(struct sett_txn *txn)
{
	struct write_buffer *writes = &txn->writes;
	if (__builtin_expect((txn->body_capacity | writes->operation_capacity | writes->counter_capacity) <=
				     KEPT_ENTRIES,
			     1))
		return;
	if (txn->body_capacity > KEPT_ENTRIES) {
		free(txn->pointers);
		txn->pointers = NULL;
	}
	SHRINK(txn->bodies, txn->body_capacity);
	SHRINK(writes->operations, writes->operation_capacity);
	SHRINK(writes->counters, writes->counter_capacity);
}

/* What a thread borrows while it uses the transaction. */
static inline void
give_back(struct sett_txn *txn)
{
	while (txn->iterators)
		sett_iterator_close(txn->iterators);
	if (txn->owns_superversion)
		superversion_release(txn->superversion);
	txn->superversion = NULL;
	if (txn->ahead.runs[0].file || txn->ahead.counts_misses)
		txn->ahead = (struct value_ahead){0};
}

void
txn_end(struct sett_txn *txn)
{
	assert(txn->running);
	give_back(txn);
	snapshot_release(txn->slot);
	write_buffer_clear(&txn->writes);
	notes_clear(txn);
	while (__builtin_expect(txn->held_count > 0, 0))
		value_log_release_number(txn->engine->value_log, txn->held_files[--txn->held_count]);
	arena_reset(&txn->arena);
	arena_reset(&txn->reads_arena);
	shrink(txn);
	if (txn->batch.capacity > KEPT_BATCH)
		buffer_free(&txn->batch);
	txn->running = false;
}

void
sett_txn_discard(struct sett_txn *txn)
{
	if (txn->running)
		txn_end(txn);
}

/* ---- transactions that last ---- */

void
sett_txn_suspend(struct sett_txn *txn)
{
	assert(txn->running && (txn->flags & SETT_TXN_HELD) != 0);
	give_back(txn);
	arena_reset(&txn->reads_arena);
	txn->owns_superversion = false;
}

void
sett_txn_resume(struct sett_txn *txn, unsigned flags)
{
	const unsigned changing = SETT_TXN_NOWAIT | SETT_TXN_PACED;
	assert(txn->running && txn->superversion == NULL && (flags & ~changing) == 0);
	txn->flags = (txn->flags & ~changing) | flags;
	limit_memory(txn);
	borrow(txn);
	txn->missing = txn->pause_ns = 0;
}

/* (I9) The value stays where the pointer says until the commit, whatever compaction does meanwhile. */
static int
hold_file(struct sett_txn *txn, uint64_t file)
{
	for (size_t i = 0; i < txn->held_count; i++)
		if (txn->held_files[i] == file)
			return SETT_OK;
	if (txn->held_count == txn->held_capacity) {
		size_t capacity = txn->held_capacity ? 2 * txn->held_capacity : 8;
		uint64_t *files = realloc(txn->held_files, capacity * sizeof(*files));
		if (!files)
			return SETT_NO_MEMORY;
		txn->held_files = files;
		txn->held_capacity = capacity;
	}
	int r = value_log_retain_number(txn->engine->value_log, file);
	if (r != SETT_OK)
		return SETT_CORRUPT; /* a pointer whose file is gone is damage */
	txn->held_files[txn->held_count++] = file;
	return SETT_OK;
}

size_t
sett_txn_memory(const struct sett_txn *txn)
{
	const struct write_buffer *writes = &txn->writes;
	return sizeof(*txn) + txn->arena.allocated + txn->reads_arena.allocated +
		(txn->read_capacity + txn->written_capacity) * sizeof(uint64_t) +
		writes->operation_capacity * sizeof(*writes->operations) +
		writes->counter_capacity * sizeof(*writes->counters);
}

uint64_t
sett_txn_held_bytes(const struct sett_txn *txn)
{
	assert(txn->running);
	return held_bytes(txn->engine, txn->snapshot);
}

bool
sett_txn_may_wait(const struct sett_txn *txn)
{
	return !(txn->flags & SETT_TXN_NOWAIT);
}

bool
sett_txn_is_running(const struct sett_txn *txn)
{
	return txn->running;
}

uint64_t
sett_txn_snapshot(const struct sett_txn *txn)
{
	return txn->snapshot;
}

uint64_t
sett_txn_now_ms(const struct sett_txn *txn)
{
	return txn->now_ms;
}

void
sett_txn_deadline_passed(struct sett_txn *txn, uint64_t deadline_ms)
{
	uint64_t *passed = &txn->engine->passed_ms, before = __atomic_load_n(passed, __ATOMIC_RELAXED);
	assert(deadline_ms < txn->now_ms);
	if (txn->is_as_of)
		return; /* its moment is not that of others */
	/* Release: partners are the load of sett_txn_begin_at and that of a commit. */
	while (before < deadline_ms &&
	       !__atomic_compare_exchange_n(passed, &before, deadline_ms, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		continue;
}

void
sett_txn_deadline_ahead(struct sett_txn *txn, uint64_t deadline_ms)
{
	assert(txn->running);
	assert(deadline_ms >= txn->now_ms);
	if (deadline_ms < txn->live_until)
		txn->live_until = deadline_ms;
}

uint64_t
sett_txn_observed(const struct sett_txn *txn)
{
	return txn->observed;
}

void
sett_txn_observe_anew(struct sett_txn *txn)
{
	txn->observed = 0;
	txn->observed_own = false;
}

bool
sett_txn_observed_own(const struct sett_txn *txn)
{
	return txn->observed_own;
}

void
sett_txn_observe_own(struct sett_txn *txn)
{
	txn->observed_own = true;
}

/* ---- conflict keys ---- */

static int
append_key(const struct sett_txn *txn, uint64_t **keys, size_t *count, size_t *capacity, uint64_t key)
{
	if (txn->is_as_of)
		return SETT_OK;
	/* A command reads and then writes the same key: the commonest repetition. */
	if (*count && (*keys)[*count - 1] == key)
		return SETT_OK;
	if (*count == *capacity) {
		size_t more = *capacity ? *capacity * 2 : 16, limit = txn->arena.limit;
		/* One that lasts goes on reading for as long as its client likes. */
		if ((txn->flags & SETT_TXN_HELD) && limit != 0 && more * sizeof(**keys) > limit)
			return SETT_NO_MEMORY;
		uint64_t *bigger = realloc(*keys, more * sizeof(*bigger));
		if (!bigger)
			return SETT_NO_MEMORY;
		*keys = bigger;
		*capacity = more;
	}
	(*keys)[(*count)++] = key;
	return SETT_OK;
}

int
sett_txn_read_conflict(struct sett_txn *txn, uint64_t key)
{
	return append_key(txn, &txn->reads, &txn->read_count, &txn->read_capacity, key);
}

int
sett_txn_write_conflict(struct sett_txn *txn, uint64_t key)
{
	return append_key(txn, &txn->written, &txn->written_count, &txn->written_capacity, key);
}

void
sett_txn_validate_reads(struct sett_txn *txn)
{
	txn->validate_reads = true;
}

int
txn_add_range(struct sett_txn *txn, size_t *ret)
{
	assert(txn->running);
	if (txn->range_count == txn->range_capacity) {
		size_t capacity = txn->range_capacity ? txn->range_capacity * 2 : 4;
		struct read_range *ranges = realloc(txn->ranges, capacity * sizeof(*ranges));
		if (!ranges)
			return SETT_NO_MEMORY;
		memset(ranges + txn->range_capacity, 0, (capacity - txn->range_capacity) * sizeof(*ranges));
		txn->ranges = ranges;
		txn->range_capacity = capacity;
	}
	struct read_range *range = &txn->ranges[txn->range_count];
	buffer_clear(&range->low);
	buffer_clear(&range->high);
	range->to_end = range->from_start = range->used = false;
	*ret = txn->range_count++;
	return SETT_OK;
}

/* ---- reading ---- */

int
record_from_value(struct bytes value, uint64_t timestamp, struct sett_record *ret)
{
	struct entry entry;
	if (entry_decode(value, &entry) != SETT_OK)
		return SETT_CORRUPT;
	if (entry.kind == ENTRY_TOMBSTONE)
		return SETT_NOT_FOUND;
	ret->head = entry.head;
	ret->body_size = entry.kind == ENTRY_INLINE ? entry.body.size : entry.pointer.body_size;
	ret->expires_at = entry.expires_at;
	ret->timestamp = timestamp;
	ret->reserved_value = value;
	ret->reserved_key = (struct sett_key){0};
	ret->reserved_cached = false;
	return SETT_OK;
}

/* The newest version in generations and tree; SETT_NOT_FOUND if there is none. */
static int
find_in_tree(struct sett_txn *txn, struct bytes key, struct bytes *ret_value, uint64_t *ret_timestamp)
{
	assert(txn->running);
	struct superversion *sv = txn->superversion;
	assert(sv != NULL);
	for (size_t i = 0; i < sv->generation_count; i++)
		if (memtable_get(sv->generations[i]->memtable, key, txn->snapshot, ret_value,
				 ret_timestamp) == SETT_OK)
			return SETT_OK;
	struct table_hit hit;
	unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
	int r = version_get(sv->version, key, txn->snapshot, flags, &hit, &txn->error);
	if (r != SETT_OK)
		return r;
	/* A copy: a block is many times as large, and the cache may have given it up already. */
	const void *copy = arena_copy(&txn->reads_arena, hit.value.data, hit.value.size);
	block_release(hit.pin);
	*ret_value = bytes_of(copy, hit.value.size);
	*ret_timestamp = hit.timestamp;
	return copy ? SETT_OK : SETT_NO_MEMORY;
}

static int
find_committed(struct sett_txn *txn, struct sett_key hashed, struct bytes *ret_value, uint64_t *ret_timestamp,
	       bool *ret_cached)
{
	struct record_cache *cache = txn->engine->records;
	struct bytes key = hashed.bytes;
	uint64_t hash = hashed.hash;
	int r = record_cache_get(cache, hash, key, txn->snapshot, &txn->reads_arena, ret_value,
				 ret_timestamp);
	*ret_cached = r == SETT_OK;
	if (r != SETT_NOT_FOUND)
		return r;
	r = find_in_tree(txn, key, ret_value, ret_timestamp);
	if (r == SETT_OK)
		record_cache_admit(cache, hash, key, txn->snapshot, *ret_value, *ret_timestamp);
	else if (r == SETT_NOT_FOUND)
		record_cache_admit(cache, hash, key, txn->snapshot, bytes_of(NULL, 0), 0);
	return r;
}

/* Of a record whose body stands in the value log, or may: the key, to look again where, and to have the
 * record cache hold the body. */
static int
remember_key(struct sett_txn *txn, struct sett_key key, bool cached, struct sett_record *ret)
{
	if (ret->body_size < txn->engine->options.value_threshold &&
	    (ret->reserved_value.data[0] & ENTRY_KIND_MASK) != ENTRY_POINTER)
		return SETT_OK;
	const void *copy = arena_copy(&txn->reads_arena, key.bytes.data, key.bytes.size);
	if (!copy)
		return SETT_NO_MEMORY;
	ret->reserved_key = (struct sett_key){bytes_of(copy, key.bytes.size), key.hash};
	ret->reserved_cached = cached;
	return SETT_OK;
}

int
txn_entry(struct sett_txn *txn, const struct sett_record *record, bool inline_will_do, struct entry *ret)
{
	if (entry_decode(record->reserved_value, ret) != SETT_OK)
		return SETT_CORRUPT;
	if (!record->reserved_cached || (inline_will_do && ret->kind == ENTRY_INLINE))
		return SETT_OK;
	struct bytes value;
	uint64_t timestamp;
	int r = find_in_tree(txn, record->reserved_key.bytes, &value, &timestamp);
	if (r == SETT_NOT_FOUND || (r == SETT_OK && timestamp != record->timestamp))
		r = sett_error_set(&txn->error, SETT_CORRUPT, 0, "A record of the cache is not in the tree");
	return r == SETT_OK ? entry_decode(value, ret) : r;
}

/* Has the record cache hold a body that was just read. */
static void
cache_body(struct sett_txn *txn, const struct sett_record *record, struct bytes body)
{
	struct entry entry = {
		.kind = ENTRY_INLINE, .head = record->head, .body = body, .expires_at = record->expires_at};
	struct sett_key key = record->reserved_key;
	size_t size = entry_encoded_size(&entry);
	if (!key.bytes.data || !record_cache_takes(txn->engine->records, key.bytes.size + size))
		return;
	uint8_t *value = arena_allocate(&txn->reads_arena, size, 1);
	if (!value)
		return; /* it is but a cache */
	(void)entry_encode(&entry, value);
	record_cache_admit(txn->engine->records, key.hash, key.bytes, txn->snapshot, bytes_of(value, size),
			   record->timestamp);
}

void
txn_note_read(struct sett_txn *txn, int status)
{
	if (status == SETT_WOULD_BLOCK)
		txn->missing = txn->error.missing + 1;
	else if (status == SETT_CORRUPT || status == SETT_IO)
		log_sink_printf(&txn->engine->sink, LOG_LEVEL_WARNING, "A read failed: %s",
				txn->error.message);
}

int
sett_txn_get(struct sett_txn *txn, struct bytes key, struct sett_record *ret)
{
	return sett_txn_get_hashed(txn, with_hash(txn, key), ret);
}

int
sett_txn_get_hashed(struct sett_txn *txn, struct sett_key key, struct sett_record *ret)
{
	assert(txn->running);
	if (!(txn->flags & SETT_TXN_MANUAL_CONFLICTS)) {
		int r = sett_txn_read_conflict(txn, key.hash);
		if (r != SETT_OK)
			return r;
	}
	struct write_version *own = write_buffer_find(&txn->writes, key.bytes, key.hash);
	if (own) {
		txn->observed_own = true;
		return record_from_value(own->encoded, WRITE_OWN_TIMESTAMP, ret);
	}
	struct bytes value;
	uint64_t timestamp;
	bool cached;
	int r = find_committed(txn, key, &value, &timestamp, &cached);
	if (r == SETT_OK) {
		txn_observe(txn, timestamp);
		r = record_from_value(value, timestamp, ret);
	}
	if (r == SETT_OK)
		r = remember_key(txn, key, cached, ret);
	txn_note_read(txn, r);
	return r;
}

void
sett_txn_fetch(struct sett_txn *txn, struct sett_key *keys, size_t count)
{
	const struct record_cache *records = txn->engine->records;
	for (size_t i = 0; i < count; i++) {
		keys[i] = with_hash(txn, keys[i].bytes);
		record_cache_fetch_bucket(records, keys[i].hash);
	}
	for (size_t i = 0; i < count; i++)
		(void)record_cache_fetch_record(records, keys[i].hash);
}

/* `keeps`: the caller is not through with the body at once. */
static int
read_body(struct sett_txn *txn, const struct sett_record *record, bool keeps, struct bytes *ret)
{
	struct entry entry;
	int r = txn_entry(txn, record, true, &entry);
	if (r == SETT_OK && entry.kind == ENTRY_INLINE) {
		*ret = entry.body;
		return SETT_OK;
	}
	if (r == SETT_OK && entry.pointer.body_size > SETT_MAX_BODY_SIZE)
		r = SETT_CORRUPT;
	if (r == SETT_OK) {
		unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
		/* An own write's body may have come since something was read ahead from its place; and what is read ahead
		 * must stay. */
		struct value_ahead none = {0};
		bool reads_ahead = keeps && record->timestamp != WRITE_OWN_TIMESTAMP;
		r = value_log_read_ahead(txn->engine->value_log, reads_ahead ? &txn->ahead : &none,
					 &entry.pointer, flags, &txn->reads_arena, ret, &txn->error);
		if (r == SETT_NOT_FOUND) /* a pointer whose file is gone is damage, not absence */
			r = SETT_CORRUPT;
	}
	if (r == SETT_OK)
		cache_body(txn, record, *ret);
	txn_note_read(txn, r);
	return r;
}

struct sett_read_mark
sett_txn_read_mark(const struct sett_txn *txn)
{
	return (struct sett_read_mark){.place = arena_mark(&txn->reads_arena), .keys = txn->read_count};
}

void
sett_txn_forget_reads(struct sett_txn *txn, const struct sett_read_mark *since)
{
	if (txn->ahead.runs[0].file)
		value_ahead_forget(&txn->ahead);
	arena_rewind(&txn->reads_arena, &since->place);
}

int
sett_txn_body(struct sett_txn *txn, const struct sett_record *record, struct bytes *ret)
{
	return read_body(txn, record, true, ret);
}

uint64_t
sett_txn_missing(const struct sett_txn *txn)
{
	return txn->missing;
}

uint64_t
sett_txn_pause_ns(const struct sett_txn *txn)
{
	return txn->pause_ns;
}

uint64_t
sett_txn_lost_to(const struct sett_txn *txn)
{
	return txn->lost_to;
}

bool
sett_txn_met_claim(const struct sett_txn *txn)
{
	return txn->met_claim;
}

const char *
sett_txn_failure(const struct sett_txn *txn)
{
	return txn->error.message;
}

int
sett_txn_body_part(struct sett_txn *txn, const struct sett_record *record, uint64_t offset, size_t size,
		   void *ret)
{
	struct entry entry;
	struct bytes body;
	if (offset > record->body_size || size > record->body_size - offset)
		return SETT_INVALID;
	if (size == 0)
		return SETT_OK;
	int r = record->body_size < SETT_MAX_PACKED_SIZE ? SETT_OK : txn_entry(txn, record, true, &entry);
	if (r != SETT_OK) {
		txn_note_read(txn, r);
		return r;
	}
	if (record->body_size < SETT_MAX_PACKED_SIZE || entry.kind != ENTRY_POINTER) {
		struct arena_mark place = arena_mark(&txn->reads_arena);
		r = read_body(txn, record, false, &body);
		if (r == SETT_OK)
			memcpy(ret, body.data + offset, size);
		arena_rewind(&txn->reads_arena, &place);
		return r;
	}
	r = value_log_read_part(txn->engine->value_log, &entry.pointer, offset, size,
				txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0, ret, &txn->error);
	if (r == SETT_NOT_FOUND) /* a pointer whose file is gone is damage, not absence */
		r = SETT_CORRUPT;
	txn_note_read(txn, r);
	return r;
}

int
sett_body_stream_open(struct sett_txn *txn, const struct sett_record *record, uint64_t offset, uint64_t size,
		      struct sett_body_stream **ret)
{
	struct entry entry;
	int r = txn_entry(txn, record, true, &entry);
	txn_note_read(txn, r);
	if (r != SETT_OK)
		return r;
	if (entry.kind != ENTRY_POINTER || value_log_is_packed(&entry.pointer))
		return SETT_INVALID;
	return body_stream_open(txn->engine->value_log, &entry.pointer, offset, size, ret, &txn->error);
}

uint64_t
sett_record_size(struct bytes key, const struct sett_record *record)
{
	return key.size + record->head.size + record->body_size;
}

/* ---- writing ---- */

/* The encoding's size is left of it, without the bytes. */
struct sett_record
sett_record_to_go_over(const struct sett_record *record)
{
	assert(record->body_size == 0);
	return (struct sett_record){.timestamp = record->timestamp,
				    .reserved_value = bytes_of(NULL, record->reserved_value.size)};
}

/* Of a committed entry that was read; 0 of an own write, which is not committed. */
static struct weight
record_weight(const struct sett_txn *txn, struct bytes key, const struct sett_record *record)
{
	if (record->timestamp == WRITE_OWN_TIMESTAMP)
		return (struct weight){0};
	if (record->reserved_value.data == NULL)
		return (struct weight){.index = key.size + IKEY_TRAILER_SIZE + record->reserved_value.size};
	struct weight w = entry_weight(key, record->reserved_value);
	/* The record cache may have the body of a value that lies in the log. */
	if (w.values == 0 && record->body_size >= txn->engine->options.value_threshold) {
		w.index -= record->body_size;
		w.values = VALUE_LOG_RECORD_HEADER_SIZE + record->body_size;
	}
	return w;
}

static int
check_key(struct sett_txn *txn, struct sett_key key)
{
	if (key.bytes.size > SETT_MAX_KEY_SIZE)
		return SETT_TOO_LARGE;
	if (!(txn->flags & SETT_TXN_MANUAL_CONFLICTS))
		return sett_txn_write_conflict(txn, key.hash);
	return SETT_OK;
}

int
sett_txn_put(struct sett_txn *txn, struct bytes key, const struct sett_put *put)
{
	txn->unforeseen++;
	return sett_txn_put_hashed(txn, with_hash(txn, key), put);
}

int
sett_txn_put_hashed(struct sett_txn *txn, struct sett_key key, const struct sett_put *put)
{
	assert(txn->running);
	int r = check_key(txn, key);
	if (r != SETT_OK)
		return r;
	struct entry entry = {.kind = ENTRY_INLINE, .body = put->body};
	if (put->body_of && (r = txn_entry(txn, put->body_of, false, &entry)) != SETT_OK) {
		txn_note_read(txn, r);
		return r;
	}
	if (put->written) {
		const struct value_pointer *pointer = body_writer_pointer(put->written);
		if (!pointer)
			return SETT_INVALID;
		entry = (struct entry){.kind = ENTRY_POINTER, .pointer = *pointer};
	}
	if (__builtin_expect((txn->flags & SETT_TXN_HELD) != 0 && entry.kind == ENTRY_POINTER, 0)) {
		r = hold_file(txn, entry.pointer.file);
		if (r != SETT_OK)
			return r;
	}
	entry.head = put->head;
	entry.expires_at = put->expires_at;
	if (entry.head.size > SETT_MAX_HEAD_SIZE || entry.body.size > SETT_MAX_BODY_SIZE)
		return SETT_TOO_LARGE;
	struct weight shadowed = {0};
	if (put->over)
		shadowed = record_weight(txn, key.bytes, put->over);
	return write_buffer_put(&txn->writes, key.bytes, key.hash, &entry, shadowed);
}

int
sett_txn_delete(struct sett_txn *txn, struct bytes key)
{
	txn->unforeseen++;
	return sett_txn_delete_hashed(txn, with_hash(txn, key), NULL);
}

int
sett_txn_delete_over(struct sett_txn *txn, struct bytes key, const struct sett_record *over)
{
	txn->unforeseen++;
	return sett_txn_delete_hashed(txn, with_hash(txn, key), over);
}

int
sett_txn_delete_hashed(struct sett_txn *txn, struct sett_key key, const struct sett_record *over)
{
	assert(txn->running);
	int r = check_key(txn, key);
	struct entry tombstone = {.kind = ENTRY_TOMBSTONE};
	struct weight shadowed =
		over ? record_weight(txn, key.bytes, over) : workers_average_entry(txn->engine->workers);
	return r != SETT_OK ? r : write_buffer_put(&txn->writes, key.bytes, key.hash, &tombstone, shadowed);
}

int
sett_txn_drop_prefix(struct sett_txn *txn, struct bytes prefix)
{
	assert(txn->running);
	if (prefix.size == 0 || prefix.size > SETT_MAX_PREFIX_SIZE)
		return SETT_INVALID;
	return write_buffer_change_prefix(&txn->writes, &(struct prefix_change){PREFIX_DROPPED, prefix, 0});
}

size_t
sett_id_prefix(struct bytes stem, uint64_t id, uint8_t ret[SETT_MAX_PREFIX_SIZE])
{
	if (stem.size > SETT_MAX_PREFIX_SIZE - SETT_ID_SIZE)
		return 0;
	if (stem.size)
		memcpy(ret, stem.data, stem.size);
	id = htobe64(id);
	memcpy(ret + stem.size, &id, SETT_ID_SIZE);
	return stem.size + SETT_ID_SIZE;
}

static int
change_id(struct sett_txn *txn, enum prefix_change_kind kind, struct bytes stem, uint64_t id, uint64_t bytes)
{
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	size_t size = sett_id_prefix(stem, id, prefix);
	if (size == 0)
		return SETT_INVALID;
	return write_buffer_change_prefix(&txn->writes,
					  &(struct prefix_change){kind, bytes_of(prefix, size), bytes});
}

int
sett_txn_drop_id(struct sett_txn *txn, struct bytes stem, uint64_t id, uint64_t bytes)
{
	return change_id(txn, ID_DROPPED, stem, id, bytes);
}

int
sett_txn_pend_id(struct sett_txn *txn, struct bytes stem, uint64_t id)
{
	return change_id(txn, ID_PENDING, stem, id, 0);
}

int
sett_txn_check_pending(struct sett_txn *txn, struct bytes stem, uint64_t id)
{
	return change_id(txn, ID_CHECKED, stem, id, 0);
}

int
sett_txn_publish_id(struct sett_txn *txn, struct bytes stem, uint64_t id)
{
	return change_id(txn, ID_PUBLISHED, stem, id, 0);
}

int
sett_txn_counter_add(struct sett_txn *txn, uint64_t counter, int64_t delta)
{
	return delta == 0 ? SETT_OK : write_buffer_counter_add(&txn->writes, counter, delta);
}

int
sett_txn_counter_drop(struct sett_txn *txn, uint64_t counter)
{
	return write_buffer_counter_drop(&txn->writes, counter);
}

int
sett_txn_counter(struct sett_txn *txn, uint64_t counter, int64_t *ret)
{
	assert(txn->running);
	if (txn->is_as_of)
		return SETT_INVALID; /* no earlier sums are kept */
	struct sett_engine *engine = txn->engine;
	const struct counter_delta *own = write_buffer_counter(&txn->writes, counter);
	int64_t sum = 0;
	if (!own || !own->dropped) {
		mutex_lock(&engine->commit_lock);
		sum = counters_get(&engine->counters, counter);
		/* It may include commits after the snapshot: what they revealed must be safe too (I1). */
		txn_observe(txn, engine->visible);
		mutex_unlock(&engine->commit_lock);
		txn->validate_reads = true;
	}
	*ret = sum + (own ? own->delta : 0);
	return SETT_OK;
}

size_t
sett_txn_savepoint(struct sett_txn *txn)
{
	return write_buffer_savepoint(&txn->writes);
}

void
sett_txn_rollback_to(struct sett_txn *txn, size_t savepoint)
{
	write_buffer_rollback(&txn->writes, savepoint);
	notes_roll_back(txn);
}

bool
sett_txn_has_writes(const struct sett_txn *txn)
{
	return !write_buffer_is_empty(&txn->writes);
}
