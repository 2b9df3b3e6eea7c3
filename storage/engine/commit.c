/* Commit: from a transaction's buffered writes to a visible timestamp.
 *
 *     outside the lock   bodies to the value log; the batch encoded; room in the log made sure of
 *     commit lock        claim?  conflicts?  check hook
 *                        ---- from here on nothing may fail ----
 *                        timestamp, log, memtable, conflict table, counters, publish hook, visible
 *
 * Before the line everything may fail, and nothing has happened then. What could fail after it is done or
 * reserved before.
 *
 * (I6, I19) A transaction that lost several times claims the conflict keys that its last run read (claims.h). Commits that
 * write one of them wait outside the lock (or answer SETT_WOULD_BLOCK), and then count as conflicts.
 * (I10) Bodies are in the value-log file before the log record that points at them is appended.
 * (I12) Room in the log is made sure of before validation, so a full disk is an error on writes only and heals
 * by itself.
 * (I17) Of a large write set (SETT_LARGE_WRITES) nothing is done for each entry under the lock: its memtable and its log
 * record are made before (large_commit.c), and every key counts as written instead of each of its own: whoever runs
 * beside it and has read something runs again.
 * (I18) A commit that took a deadline as still ahead is a conflict once another has treated it as passed. */
#include <assert.h>
#include <stdlib.h>

#include "archive_private.h"
#include "batch.h"
#include "engine_private.h"

enum { FETCH_AHEAD = 16 }; /* so many conflict keys before they are looked at */

static const uint64_t WAIT_STEP_NS = 2000000;        /* of a commit that is held back */
static const uint64_t FLUSH_WAIT_NS = 5000000000ULL; /* for room in the log of a full disk */

/* ---- validation ---- */

static bool
range_has(const struct read_range *range, struct bytes key)
{
	return (range->from_start || bytes_compare(key, buffer_bytes(&range->low)) >= 0) &&
		(range->to_end || bytes_compare(key, buffer_bytes(&range->high)) <= 0);
}

/* Ranges are checked against a ring of recently written keys; a snapshot older than the ring's memory is a
 * conflict. */
static bool
ranges_conflict_locked(const struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	const struct sett_engine *engine = txn->engine;
	bool used = false;
	for (size_t i = 0; i < txn->range_count; i++)
		used |= txn->ranges[i].used;
	if (!used)
		return false;
	if (engine->recent_floor > txn->snapshot)
		return true;
	for (size_t i = 0; engine->recent && i < RECENT_WRITES; i++) {
		const struct recent_write *write = &engine->recent[i];
		if (write->timestamp <= txn->snapshot)
			continue;
		for (size_t r = 0; r < txn->range_count; r++)
			if (txn->ranges[r].used && range_has(&txn->ranges[r], buffer_bytes(&write->key)))
				return true;
	}
	return false;
}

static bool
conflicts_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	const struct conflict_table *table = &txn->engine->conflicts;
	for (size_t i = 0; i < txn->read_count; i++) {
		if (i + FETCH_AHEAD < txn->read_count)
			conflict_table_fetch(table, txn->reads[i + FETCH_AHEAD]);
		if (conflict_table_newest(table, txn->reads[i]) > txn->snapshot) {
			txn->lost_to = txn->reads[i];
			return true;
		}
	}
	return ranges_conflict_locked(txn);
}

/* Whether an earlier write of the transaction marks the id. */
static bool
marks_pending(const struct write_buffer *writes, struct bytes prefix, size_t before)
{
	const struct prefix_change *c;
	for (size_t at = 0; (c = write_buffer_next_prefix(writes, &at)) != NULL && at < before;)
		if (c->kind == ID_PENDING && bytes_equal(c->prefix, prefix))
			return true;
	return false;
}

/* (I22) Nothing commits under a dead id: what a builder names must still be pending, and what it marks must
 * not be yet. */
static bool
pending_fits_locked(const struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	const struct write_buffer *writes = &txn->writes;
	const struct prefix_change *c;
	for (size_t at = 0; (c = write_buffer_next_prefix(writes, &at)) != NULL;) {
		if (prefix_change_drops(c))
			continue;
		bool pending = pending_set_has(&txn->engine->pending, c->prefix) ||
			marks_pending(writes, c->prefix, at);
		if (pending != (c->kind != ID_PENDING))
			return false;
	}
	return true;
}

static int
reserve_pending_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	struct pending_set *set = &txn->engine->pending;
	const struct prefix_change *c;
	size_t more = 0;
	for (size_t at = 0; (c = write_buffer_next_prefix(&txn->writes, &at)) != NULL;)
		more += c->kind == ID_PENDING;
	/* A history has those, too, that were given up without a commit. */
	if (more > 0 && set->count + more > SETT_MAX_PENDING && !txn->engine->options.replays)
		return SETT_TOO_LARGE;
	return pending_set_reserve(set, more);
}

static int
prepare_recent_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	if (txn->flags & SETT_TXN_MANUAL_CONFLICTS || engine->recent)
		return SETT_OK;
	engine->recent = calloc(RECENT_WRITES, sizeof(*engine->recent));
	engine->recent_floor = engine->visible;
	return engine->recent ? SETT_OK : SETT_NO_MEMORY;
}

static void
remember_recent_locked(struct sett_txn *txn, uint64_t timestamp) REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	if (txn->flags & SETT_TXN_MANUAL_CONFLICTS)
		return;
	if (txn->writes.node_count > RECENT_WRITES) { /* none of them before would be left */
		engine->recent_floor = timestamp;
		return;
	}
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		struct recent_write *slot = &engine->recent[engine->recent_next++ % RECENT_WRITES];
		if (slot->timestamp > engine->recent_floor)
			engine->recent_floor = slot->timestamp;
		buffer_clear(&slot->key);
		slot->timestamp = timestamp;
		if (buffer_append(&slot->key, n->key.data, n->key.size) != SETT_OK)
			engine->recent_floor =
				timestamp; /* can't remember it: everything before counts as forgotten */
	}
}

/* ---- before the lock ---- */

static bool
is_separate(const struct sett_txn *txn, const struct write_node *node)
{
	const struct entry *entry = &node->newest->entry;
	return entry->kind == ENTRY_INLINE && entry->body.size >= txn->engine->options.value_threshold;
}

static int
reserve_bodies(struct sett_txn *txn, size_t count)
{
	if (count <= txn->body_capacity)
		return SETT_OK;
	struct bytes *bodies = realloc(txn->bodies, 2 * count * sizeof(*bodies));
	if (bodies)
		txn->bodies = bodies;
	struct value_pointer *pointers = realloc(txn->pointers, 2 * count * sizeof(*pointers));
	if (pointers)
		txn->pointers = pointers;
	if (!bodies || !pointers)
		return SETT_NO_MEMORY;
	txn->body_capacity = 2 * count;
	return SETT_OK;
}

static int
collect_bodies(struct sett_txn *txn, size_t *ret_count)
{
	size_t count = 0;
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		if (!is_separate(txn, n))
			continue;
		int r = reserve_bodies(txn, count + 1);
		if (r != SETT_OK)
			return r;
		txn->bodies[count++] = n->newest->entry.body;
	}
	*ret_count = count;
	return SETT_OK;
}

static void
release_pointers(struct sett_txn *txn, size_t count)
{
	assert(count <= txn->body_capacity);
	for (size_t i = 0; i < count; i++)
		value_log_release_number(txn->engine->value_log, txn->pointers[i].file);
}

/* Puts pointers in place of the bodies that collect_bodies found. */
static int
point_at_bodies(struct sett_txn *txn)
{
	const struct value_pointer *pointer = txn->pointers;
	assert(pointer != NULL);
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		if (!is_separate(txn, n))
			continue;
		struct write_version *version = n->newest;
		version->entry.kind = ENTRY_POINTER;
		version->entry.pointer = *pointer++;
		size_t size = entry_encoded_size(&version->entry);
		uint8_t *data = arena_allocate(&txn->arena, size, 1);
		if (!data)
			return SETT_NO_MEMORY;
		entry_encode(&version->entry, data);
		version->whole = version->encoded;
		version->encoded = bytes_of(data, size);
	}
	return SETT_OK;
}

/* For a commit that is made again: what it has written to the value log is garbage. */
static void
take_bodies_back(struct sett_txn *txn)
{
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		struct write_version *version = n->newest;
		if (!version->whole.data)
			continue;
		version->encoded = version->whole;
		version->whole = (struct bytes){0};
		int r = entry_decode(version->encoded, &version->entry);
		assert(r == SETT_OK && version->entry.kind == ENTRY_INLINE);
		(void)r;
	}
}

/* Writes the separated bodies and encodes the batch; `ret_count` pointers hold a reference on their file
 * each. */
static int
prepare_batch(struct sett_txn *txn, size_t *ret_count)
{
	struct sett_engine *engine = txn->engine;
	size_t count = 0;
	int r = collect_bodies(txn, &count);
	if (r == SETT_OK && count)
		r = value_log_write(engine->value_log, txn->bodies, count, txn->pointers, &txn->error);
	if (r != SETT_OK)
		return r;
	if (count)
		r = point_at_bodies(txn);
	buffer_clear(&txn->batch);
	if (r == SETT_OK)
		r = batch_encode(&txn->writes, &txn->batch, &txn->garbage);
	if (r != SETT_OK) {
		release_pointers(txn, count);
		return r;
	}
	*ret_count = count;
	return SETT_OK;
}

static bool
is_overdue(struct sett_engine *engine)
{
	/* Past its size twice over: there was no log segment to go on in. */
	return __atomic_load_n(&engine->memtable_memory, __ATOMIC_RELAXED) > 2 * engine->memtable_size;
}

/* Commits end a full memtable, but those that wait for room make none: so it is ended here. Without this, a
 * segment that came too late would find nobody to begin it. */
static int
end_full_memtable(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	if (__atomic_load_n(&engine->memtable_memory, __ATOMIC_RELAXED) < engine->memtable_size)
		return SETT_OK;
	int r = log_prepare(engine->log, &txn->error); /* a full disk is an error, not a wait (I12) */
	if (r != SETT_OK)
		return r;
	mutex_lock(&engine->commit_lock);
	if (__atomic_load_n(&engine->memtable_memory, __ATOMIC_RELAXED) >= engine->memtable_size)
		r = engine_rotate_locked(engine);
	mutex_unlock(&engine->commit_lock);
	return r == SETT_WOULD_BLOCK ? SETT_OK : r; /* someone took the spare: next time round */
}

static uint64_t
written_bytes(const struct sett_txn *txn)
{
	uint64_t bytes = 0;
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		const struct entry *entry = &n->newest->entry;
		bytes += n->key.size + entry->head.size + entry->body.size;
	}
	return bytes;
}

/* (I12) On a full disk only what frees space is written. */
static int
admit_while_short(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	if (engine->options.manual_work)
		engine_fill_reserve(engine);
	return !engine_is_short(engine) || txn_frees_space(txn) ? SETT_OK : SETT_NO_SPACE;
}

void
sett_engine_stop_writes(struct sett_engine *engine, bool (*stop)(void *arg), void *arg)
{
	mutex_lock(&engine->stop_lock);
	engine->stop_writes = stop;
	engine->stop_arg = arg;
	mutex_unlock(&engine->stop_lock);
	/* relaxed: who sees it late asks one commit later */
	__atomic_store_n(&engine->asks_stop, stop != NULL || engine->options.read_only, __ATOMIC_RELAXED);
}

static bool
writes_are_stopped(struct sett_engine *engine)
{
	if (__builtin_expect(!__atomic_load_n(&engine->asks_stop, __ATOMIC_RELAXED), 1))
		return false;
	mutex_lock(&engine->stop_lock);
	bool stopped = engine->options.read_only ||
		(engine->stop_writes != NULL && engine->stop_writes(engine->stop_arg));
	mutex_unlock(&engine->stop_lock);
	return stopped;
}

/* Slows writers down as flush and compaction fall behind: not at all, a little (pacer.h), or until there is
 * room. Reactors never sleep. They pay later: the commit goes ahead, and the reactor is told how long the writer must wait before
 * its next one. (If the commit were refused instead, a whole batch would have to be run again.) Where writers wait for room, the
 * reactor is told to run the request on the pool. */
static int
admit_write(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	if (log_health(engine->log, NULL) != SETT_OK)
		return SETT_FAILED;
	if (__builtin_expect(engine_is_short(engine), 0)) {
		int r = admit_while_short(txn);
		if (r != SETT_OK)
			return r;
	}
	for (uint64_t waited_ns = 0;; waited_ns += WAIT_STEP_NS) {
		if (writes_are_stopped(engine))
			return SETT_READ_ONLY;
		double pressure = engine_pressure(engine);
		if (pressure <= 0 && !is_overdue(engine))
			return SETT_OK;
		bool stop = pressure >= 1 || is_overdue(engine), nowait = txn->flags & SETT_TXN_NOWAIT;
		if (nowait && stop)
			return SETT_WOULD_BLOCK;
		int failure = __atomic_load_n(&engine->failure, __ATOMIC_ACQUIRE);
		bool is_remedy =
			failure == SETT_NO_SPACE && waited_ns < FLUSH_WAIT_NS && txn_frees_space(txn);
		if (failure != SETT_OK && !is_remedy)
			return sett_status_heals(failure) ? failure : SETT_FAILED;
		if (is_remedy && !stop)
			return SETT_OK; /* jobs are behind for want of what it frees: it is not slowed for them */
		if (engine->options.manual_work) {
			struct sett_error error;
			int r = stop ? sett_engine_work(engine, &error) : SETT_OK;
			if (r != SETT_OK || !stop)
				return r == SETT_NOT_FOUND ? SETT_OK : r;
			continue;
		}
		int r = stop ? end_full_memtable(txn) : SETT_OK;
		if (r != SETT_OK)
			return r;
		if (!stop && txn->flags & SETT_TXN_PACED)
			return SETT_OK;
		uint64_t pause_ns = WAIT_STEP_NS;
		if (!stop)
			pause_ns = pacer_admit(&engine->pacer, clock_monotonic_ns(engine->clock),
					       written_bytes(txn), pacer_writers_rate(pressure));
		assert(!nowait || !stop);
		txn->pause_ns = nowait ? pause_ns : 0;
		if (nowait || pause_ns == 0)
			return SETT_OK;
		struct timespec pause = {0, (long)pause_ns};
		nanosleep(&pause, NULL);
		if (!stop)
			return SETT_OK;
	}
}

/* Room in the log for the batch: in this segment, in the spare, or by growing. */
static int
find_log_room(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	if (txn->batch.size < engine->memtable_size / 2 && log_has_spare(engine->log))
		return SETT_OK; /* rotation under the lock will do if this segment is full */
	if (engine->options.manual_work && !log_has_spare(engine->log)) {
		int r = log_prepare(engine->log, &txn->error);
		if (r != SETT_OK && r != SETT_NO_SPACE)
			return r;
	}
	return log_reserve(engine->log, txn->batch.size, &txn->error);
}

/* What frees space finds room in the log at the cost of the reserve, or after a flush. */
static int
ensure_log_room(struct sett_txn *txn)
{
	struct sett_engine *engine = txn->engine;
	for (uint64_t waited_ns = 0;;) {
		int r = find_log_room(txn);
		if (r != SETT_NO_SPACE || !txn_frees_space(txn))
			return r;
		if (engine_spend_reserve(engine, RESERVE_FOR_REST))
			continue;
		if (txn->flags & SETT_TXN_NOWAIT)
			return SETT_WOULD_BLOCK;
		if (waited_ns >= FLUSH_WAIT_NS)
			return r;
		waited_ns += WAIT_STEP_NS;
		if (!engine_is_flushing(engine))
			engine_rotate(engine);
		if (engine->options.manual_work) {
			r = workers_step(engine->workers, &txn->error);
			if (r != SETT_OK)
				return r == SETT_NOT_FOUND ? SETT_NO_SPACE : r;
			continue;
		}
		struct timespec pause = {0, (long)WAIT_STEP_NS};
		nanosleep(&pause, NULL);
	}
}

/* ---- under the lock ---- */

/* (I17) Of the next entries of a large write set the processor is asked for what their insertion looks at: one after another
 * they would wait for memory several times each. */
static void
fetch_group(const struct sett_txn *txn, const struct generation *generation, const struct write_node *n,
	    uint64_t timestamp)
{
	const struct record_cache *records = txn->engine->records;
	struct bytes keys[MEMTABLE_FETCH_MAX];
	uint64_t hashes[MEMTABLE_FETCH_MAX];
	size_t count = 0;
	for (; n && count < MEMTABLE_FETCH_MAX; n = write_buffer_next(&txn->writes, n), count++) {
		keys[count] = n->key;
		hashes[count] = n->hash;
		record_cache_fetch_bucket(records, n->hash);
	}
	for (size_t i = 0; i < count; i++)
		(void)record_cache_fetch_record(records, hashes[i]);
	memtable_fetch(generation->memtable, keys, count, timestamp, true);
}

static int
insert_entries_locked(struct sett_txn *txn, struct generation *generation, uint64_t timestamp)
	REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	const struct write_buffer *writes = &txn->writes;
	bool fetches = writes->node_count > MEMTABLE_FETCH_MAX && !txn->fetched;
	size_t done = 0;
	int r = SETT_OK;
	for (struct write_node *n = NULL; r == SETT_OK && (n = write_buffer_next(writes, n)) != NULL;
	     done++) {
		if (fetches && done % MEMTABLE_FETCH_MAX == 0)
			fetch_group(txn, generation, n, timestamp);
		assert(n->batch_size > 0 && n->batch_at + n->batch_size <= txn->batch.size);
		struct bytes value = bytes_of(txn->batch.data + n->batch_at, n->batch_size);
		record_cache_update(engine->records, n->hash, n->key, value, n->newest->whole, timestamp);
		r = generation_insert_entry(generation, (struct ikey){n->key, timestamp}, value,
					    &n->newest->entry);
	}
	return r;
}

static int
note_drops_locked(struct sett_txn *txn, struct generation *generation) REQUIRES(&txn->engine->commit_lock)
{
	const struct prefix_change *change;
	int r = SETT_OK;
	for (size_t at = 0; r == SETT_OK && (change = write_buffer_next_prefix(&txn->writes, &at)) != NULL;)
		if (prefix_change_drops(change))
			r = drop_list_add(&generation->drops, change);
	return r;
}

static void
apply_counters_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	struct counters *counters = &txn->engine->counters;
	for (size_t i = 0; i < txn->writes.counter_count; i++) {
		const struct counter_delta *c = &txn->writes.counters[i];
		if (c->dropped)
			counters_forget(counters, c->counter);
		if (!c->dropped || c->delta != 0)
			counters_add(counters, c->counter, c->delta);
	}
}

/* There is memory: reserve_pending_locked. */
static void
apply_pending_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	const struct prefix_change *change;
	if (txn->writes.prefix_count == 0)
		return;
	for (size_t at = 0; (change = write_buffer_next_prefix(&txn->writes, &at)) != NULL;)
		pending_set_apply(&txn->engine->pending, change);
}

/* Whether a segment has taken a memtable's bytes, or does with this commit. Large commits end their generations early, so no
 * generation tells. */
static bool
segment_is_spent_locked(struct sett_txn *txn) REQUIRES(&txn->engine->commit_lock)
{
	uint64_t segment, offset;
	log_position(txn->engine->log, &segment, &offset);
	return offset + txn->batch.size > txn->engine->memtable_size;
}

/* The generation to write to, rotated if it is full. A large commit has its own, but may need the next segment: without
 * a rotation no flush would ever free this one. */
static int
make_room_locked(struct sett_txn *txn, bool is_large) REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	struct generation *g = engine->generations[0];
	uint64_t referenced = __atomic_load_n(&g->referenced_bytes, __ATOMIC_RELAXED);
	size_t memory = generation_memory(g) + referenced / 8;
	if (memory < engine->memtable_size && referenced >= workers_memtable_limit(engine->workers))
		memory = engine->memtable_size;
	__atomic_store_n(&engine->memtable_memory, memory, __ATOMIC_RELAXED);
	bool log_full = log_is_full(engine->log, txn->batch.size);
	if (memory < engine->memtable_size && !log_full && !(is_large && segment_is_spent_locked(txn)))
		return SETT_OK;
	int r = engine_rotate_locked(txn->engine);
	if (r == SETT_WOULD_BLOCK)
		log_thread_kick(engine);
	/* No spare segment yet: go on in this one as long as the log has room. */
	return r == SETT_WOULD_BLOCK && !log_full ? SETT_OK : r;
}

static void
set_conflicts_locked(struct sett_txn *txn, uint64_t timestamp) REQUIRES(&txn->engine->commit_lock)
{
	struct conflict_table *table = &txn->engine->conflicts;
	if (txn->written_count > SETT_LARGE_WRITES) {
		conflict_table_set_all(table, timestamp);
		return;
	}
	for (size_t i = 0; i < txn->written_count; i++) {
		if (i + FETCH_AHEAD < txn->written_count)
			conflict_table_fetch(table, txn->written[i + FETCH_AHEAD]);
		conflict_table_set(table, txn->written[i], timestamp);
	}
}

static void
count_bytes_locked(struct sett_engine *engine, uint64_t bytes) REQUIRES(&engine->commit_lock)
{
	__atomic_store_n(&engine->committed_bytes, engine->committed_bytes + bytes, __ATOMIC_RELAXED);
	archive_hurry(engine->archive);
}

/* The writes, into the newest generation. */
static int
write_locked(struct sett_txn *txn, uint64_t timestamp) REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	int r = make_room_locked(txn, false);
	struct generation *generation = engine->generations[0];
	size_t operations = txn->writes.operation_count, prefixes = txn->writes.prefix_count;
	if (r == SETT_OK)
		r = generation_reserve(generation, operations, operations, prefixes, txn->batch.size);
	if (r == SETT_OK)
		r = log_append(engine->log, timestamp, txn->now_ms, buffer_bytes(&txn->batch));
	if (r != SETT_OK)
		return r;
	uint64_t bytes = generation_bytes(generation);
	r = insert_entries_locked(txn, generation, timestamp);
	if (r == SETT_OK && prefixes)
		r = note_drops_locked(txn, generation);
	if (r != SETT_OK) {
		/* Memory was reserved, so this is a fault of ours: the log has it, memory does not, and
		 * only a restart brings both together. */
		engine_note_failure(engine, SETT_FAILED, NULL);
		abort();
	}
	memtable_trim(generation->memtable);
	count_bytes_locked(txn->engine, generation_bytes(generation) - bytes);
	__atomic_store_n(&generation->last, timestamp, __ATOMIC_RELAXED);
	generation_add_garbage(generation, txn->garbage);
	return SETT_OK;
}

/* The same of a large write set: they are in a generation already. */
static int
link_locked(struct sett_txn *txn, struct large_commit *large, uint64_t timestamp)
	REQUIRES(&txn->engine->commit_lock)
{
	assert(mutex_is_mine(&txn->engine->commit_lock));
	struct sett_engine *engine = txn->engine;
	uint64_t bytes = generation_bytes(large->generation);
	int r = make_room_locked(txn, true);
	if (r == SETT_OK && log_is_full(engine->log, txn->batch.size))
		r = SETT_NO_SPACE; /* of the next segment, too */
	if (r == SETT_OK)
		r = engine_link_filled_locked(txn->engine, large->generation, large->record, timestamp,
					      txn->now_ms);
	if (r != SETT_OK)
		return r;
	count_bytes_locked(txn->engine, bytes);
	large->generation = NULL;
	large->record = NULL;
	return SETT_OK;
}

static int
apply_locked(struct sett_txn *txn, const struct sett_commit_hooks *hooks, struct large_commit *large,
	     uint64_t *ret_timestamp) REQUIRES(&txn->engine->commit_lock)
{
	struct sett_engine *engine = txn->engine;
	int r = counters_reserve(&engine->counters, txn->writes.counter_count);
	if (r == SETT_OK)
		r = prepare_recent_locked(txn);
	if (r == SETT_OK && txn->writes.prefix_count > 0)
		r = reserve_pending_locked(txn);
	if (r != SETT_OK)
		return r;
	uint64_t timestamp = engine->visible + 1;
	assert(timestamp > txn->snapshot);
	r = large->generation ? link_locked(txn, large, timestamp) : write_locked(txn, timestamp);
	if (r != SETT_OK)
		return r;
	notes_apply(txn, timestamp);
	apply_counters_locked(txn);
	apply_pending_locked(txn);
	set_conflicts_locked(txn, timestamp);
	remember_recent_locked(txn, timestamp);
	struct generation *generation = engine->generations[0];
	assert(__atomic_load_n(&generation->last, __ATOMIC_RELAXED) == timestamp);
	if (txn->now_ms > generation->now_ms)
		generation->now_ms = txn->now_ms;
	if (txn->now_ms > __atomic_load_n(&engine->newest_now_ms, __ATOMIC_RELAXED))
		__atomic_store_n(&engine->newest_now_ms, txn->now_ms, __ATOMIC_RELEASE);
	if (hooks && hooks->publish)
		hooks->publish(hooks->arg, timestamp);
	__atomic_store_n(&engine->visible, timestamp, __ATOMIC_SEQ_CST);
	if (__builtin_expect(engine->subscriptions != NULL, 0))
		subscriptions_tell_locked(txn, timestamp);
	__atomic_add_fetch(&engine->commits, 1, __ATOMIC_RELAXED);
	*ret_timestamp = timestamp;
	return SETT_OK;
}

/* `writes`: NULL if it writes nothing. SETT_WOULD_BLOCK: a claim is in the way (then `ret_claim` gets its number), or the log
 * has no room after all. */
static int
commit_locked(struct sett_txn *txn, const struct sett_commit_hooks *hooks, struct large_commit *writes,
	      uint64_t *ret_claim, uint64_t *ret_timestamp) REQUIRES(&txn->engine->commit_lock)
{
	assert(mutex_is_mine(&txn->engine->commit_lock));
	struct sett_engine *engine = txn->engine;
	/* Too many keys to be looked for one by one: with a claim there they are sorted first, outside the lock. */
	if (writes && writes->generation && claims_are_held(&engine->claims) && !txn->written_is_sorted)
		return SETT_WOULD_BLOCK;
	*ret_claim = writes ? claims_meet_locked(txn, txn->written_is_sorted) : 0;
	if (*ret_claim) {
		txn->met_claim = true;
		return SETT_WOULD_BLOCK;
	}
	/* Acquire: partner of the compare-and-swap in sett_txn_deadline_passed (I18). */
	if (conflicts_locked(txn) ||
	    (writes && txn->live_until <= __atomic_load_n(&engine->passed_ms, __ATOMIC_ACQUIRE))) {
		__atomic_add_fetch(&engine->conflict_count, 1, __ATOMIC_RELAXED);
		return SETT_CONFLICT;
	}
	if (!pending_fits_locked(txn))
		return SETT_ABORTED;
	if (hooks && hooks->check && hooks->check(hooks->arg) != 0)
		return SETT_ABORTED;
	if (writes)
		return apply_locked(txn, hooks, writes, ret_timestamp);
	if (hooks && hooks->publish)
		hooks->publish(hooks->arg, 0);
	return SETT_OK;
}

int
sett_txn_check_reads(struct sett_txn *txn, const struct sett_read_mark *since)
{
	struct sett_engine *engine = txn->engine;
	bool changed = false;
	if (!txn->validate_reads)
		return SETT_OK;
	/* The last one before the mark may stand for one after it: it is not appended again. */
	mutex_lock(&engine->commit_lock);
	for (size_t i = since->keys > 0 ? since->keys - 1 : 0; i < txn->read_count && !changed; i++)
		changed = conflict_table_newest(&engine->conflicts, txn->reads[i]) > txn->snapshot;
	mutex_unlock(&engine->commit_lock);
	if (changed)
		return SETT_CONFLICT;
	txn->validate_reads = false;
	return SETT_OK;
}

static int
commit_writes(struct sett_txn *txn, const struct sett_commit_hooks *hooks, uint64_t *ret_timestamp)
{
	struct sett_engine *engine = txn->engine;
	size_t pointer_count = 0;
	struct large_commit large = {0};
	int r = admit_write(txn);
	if (r == SETT_OK)
		r = prepare_batch(txn, &pointer_count);
	if (r != SETT_OK)
		return r;
	txn->written_is_sorted = false;
	if (__builtin_expect(large_commit_is_due(txn), 0)) {
		r = large_commit_prepare(txn, &large);
		if (r != SETT_OK) {
			release_pointers(txn, pointer_count);
			return r;
		}
	} else {
		txn->fetched = fetch_written(txn);
	}
	uint64_t claim = 0;
	for (int attempt = 0;; attempt++) {
		r = ensure_log_room(txn);
		if (r != SETT_OK)
			break;
		/* One that comes later is found under the lock. */
		if (large.generation && claims_are_held(&engine->claims)) {
			claims_sort_keys(txn->written, txn->written_count);
			txn->written_is_sorted = true;
		}
		mutex_lock(&txn->engine->commit_lock);
		r = commit_locked(txn, hooks, &large, &claim, ret_timestamp);
		mutex_unlock(&txn->engine->commit_lock);
		/* One that lasts can't be run again: what the claim's owner has not changed stays as it was read. */
		if (claim && (txn->flags & SETT_TXN_HELD) && !(txn->flags & SETT_TXN_NOWAIT) && attempt < 8) {
			claims_wait_for(txn, claim);
			continue;
		}
		/* A full segment and no spare: somebody took the room that was made. */
		if ((r != SETT_NO_SPACE && (r != SETT_WOULD_BLOCK || claim)) || attempt == 8)
			break;
		r = log_reserve(engine->log, txn->batch.size, &txn->error);
		if (r != SETT_OK && r != SETT_NO_SPACE)
			break;
	}
	if (__builtin_expect(large.holds, 0))
		large_commit_end(txn, &large, r == SETT_OK ? *ret_timestamp : 0);
	release_pointers(txn, pointer_count); /* the generation has its own by now */
	if (r == SETT_WOULD_BLOCK && pointer_count > 0)
		take_bodies_back(txn);
	if (r == SETT_WOULD_BLOCK && !(txn->flags & SETT_TXN_NOWAIT)) {
		if (claim)
			claims_wait_for(txn, claim);
		r = SETT_CONFLICT; /* what held it back has passed: run again */
	}
	return r;
}

int
sett_txn_commit(struct sett_txn *txn, const struct sett_commit_hooks *hooks, uint64_t *ret_timestamp)
{
	uint64_t timestamp = 0;
	int r = SETT_OK;
	if (!txn->running)
		return SETT_INVALID;
	if (__builtin_expect(txn->is_as_of, 0) && !write_buffer_is_empty(&txn->writes)) {
		r = SETT_INVALID;
	} else if (!write_buffer_is_empty(&txn->writes)) {
		r = commit_writes(txn, hooks, &timestamp);
	} else if (txn->validate_reads || (hooks && hooks->check)) {
		uint64_t claim = 0;
		mutex_lock(&txn->engine->commit_lock);
		r = commit_locked(txn, hooks, NULL, &claim, &timestamp);
		mutex_unlock(&txn->engine->commit_lock);
	}
	if (r == SETT_OK && ret_timestamp)
		*ret_timestamp = timestamp;
	if (r == SETT_WOULD_BLOCK && (txn->flags & SETT_TXN_HELD))
		return r; /* it goes on */
	txn_end(txn);
	if (r != SETT_CONFLICT) {
		sett_txn_release_claim(txn);
		txn_forget_keys(txn); /* else a claim needs them */
	}
	return r;
}
