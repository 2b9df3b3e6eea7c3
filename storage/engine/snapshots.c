/* The snapshot slots, and the invariant they keep:
 *
 * (I8) A reader publishes its timestamp, fences, and re-reads the visible timestamp until it is unchanged; a
 * job reads the visible timestamp first and the slots second. So either the job sees the reader's slot, or
 * the reader's timestamp is not older than the visible one the job read, of which the newest version is
 * always kept.
 *
 * A kept slot takes its timestamp over from a transaction that still has it, and jobs read the slots of
 * transactions first, kept ones second: so a job that no longer sees the one sees the other. Transactions that
 * join a kept snapshot end before it is given back.
 *
 * A job takes all from the horizon on for snapshots in use. It reads the visible timestamp first, then the horizon, then the
 * slots. Who begins in the past publishes its timestamp, at or past the horizon, under the lock under which that is moved: so a job
 * that reads a later horizon sees the slot. And where a job has read no horizon yet, the visible timestamp that it has read is not
 * newer than the one that is read once the horizon is set, which is where it is said to begin. */
#include "snapshots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/sync_point.h"
#include "storage/status.h"

void
snapshots_init(struct snapshots *snapshots)
{
	memset(snapshots, 0, sizeof(*snapshots));
	mutex_init(&snapshots->lock);
	snapshots->horizon = UINT64_MAX;
	snapshots->of_transactions = (struct snapshot_slots){
		.slots = snapshots->slots, .taken = snapshots->taken, .count = SETT_MAX_TRANSACTIONS};
	snapshots->kept = (struct snapshot_slots){.slots = snapshots->slots + SETT_MAX_TRANSACTIONS,
						  .taken = snapshots->taken + SETT_MAX_TRANSACTIONS,
						  .count = SETT_MAX_SNAPSHOTS};
}

void
snapshots_destroy(struct snapshots *snapshots)
{
	mutex_destroy(&snapshots->lock);
}

static struct snapshot_slot *
take(struct snapshots *snapshots, struct snapshot_slots *of)
{
	struct snapshot_slot *slot = NULL;
	mutex_lock(&snapshots->lock);
	for (size_t i = 0; i < of->count && slot == NULL; i++) {
		if (of->taken[i])
			continue;
		of->taken[i] = true;
		slot = &of->slots[i];
		assert(__atomic_load_n(&slot->timestamp, __ATOMIC_RELAXED) == 0);
		if (i >= of->high)
			__atomic_store_n(&of->high, i + 1, __ATOMIC_SEQ_CST);
	}
	mutex_unlock(&snapshots->lock);
	return slot;
}

struct snapshot_slot *
snapshots_take_slot(struct snapshots *snapshots)
{
	return take(snapshots, &snapshots->of_transactions);
}

struct snapshot_slot *
snapshots_keep(struct snapshots *snapshots, const struct snapshot_slot *of)
{
	struct snapshot_slot *slot = take(snapshots, &snapshots->kept);
	if (slot != NULL)
		snapshot_join(slot, of);
	return slot;
}

void
snapshots_return_slot(struct snapshots *snapshots, struct snapshot_slot *slot)
{
	assert(__atomic_load_n(&slot->timestamp, __ATOMIC_RELAXED) == 0);
	mutex_lock(&snapshots->lock);
	assert(snapshots->taken[slot - snapshots->slots]);
	snapshots->taken[slot - snapshots->slots] = false;
	mutex_unlock(&snapshots->lock);
}

uint64_t
snapshot_acquire(struct snapshot_slot *slot, const uint64_t *visible, uint64_t cap)
{
	/* Ends: a turn repeats only if another commit became visible meanwhile. */
	uint64_t now = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
	for (;;) {
		uint64_t timestamp = now < cap ? now : cap;
		__atomic_store_n(&slot->timestamp, timestamp, __ATOMIC_SEQ_CST);
		if (timestamp == cap)
			return timestamp;
		uint64_t again = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
		if (again == now)
			return timestamp;
		now = again;
	}
}

uint64_t
snapshot_join(struct snapshot_slot *slot, const struct snapshot_slot *kept)
{
	assert(slot != kept);
	uint64_t timestamp = __atomic_load_n(&kept->timestamp, __ATOMIC_RELAXED);
	assert(timestamp != 0);
	__atomic_store_n(&slot->timestamp, timestamp, __ATOMIC_SEQ_CST);
	return timestamp;
}

void
snapshot_release(struct snapshot_slot *slot)
{
	__atomic_store_n(&slot->timestamp, 0, __ATOMIC_RELEASE);
}

/* ---- the horizon ---- */

uint64_t
snapshots_horizon(const struct snapshots *snapshots)
{
	return __atomic_load_n(&snapshots->horizon, __ATOMIC_SEQ_CST);
}

uint64_t
snapshots_set_horizon(struct snapshots *snapshots, const uint64_t *visible)
{
	mutex_lock(&snapshots->lock);
	if (snapshots->horizon == UINT64_MAX) {
		uint64_t before = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
		SYNC_POINT("horizon: a job knows of none");
		__atomic_store_n(&snapshots->horizon, before, __ATOMIC_SEQ_CST);
		/* Jobs that began without a horizon keep all that is newer than this. */
		uint64_t begin = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
		__atomic_store_n(&snapshots->horizon, begin, __ATOMIC_SEQ_CST);
	}
	uint64_t horizon = snapshots->horizon;
	mutex_unlock(&snapshots->lock);
	return horizon;
}

void
snapshots_move_horizon(struct snapshots *snapshots, const uint64_t *visible, uint64_t to)
{
	uint64_t newest = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
	if (to > newest)
		to = newest;
	mutex_lock(&snapshots->lock);
	if (snapshots->horizon != UINT64_MAX && snapshots->horizon < to)
		__atomic_store_n(&snapshots->horizon, to, __ATOMIC_SEQ_CST);
	mutex_unlock(&snapshots->lock);
}

void
snapshots_end_horizon(struct snapshots *snapshots)
{
	mutex_lock(&snapshots->lock);
	__atomic_store_n(&snapshots->horizon, UINT64_MAX, __ATOMIC_SEQ_CST);
	mutex_unlock(&snapshots->lock);
}

bool
snapshot_acquire_past(struct snapshots *snapshots, struct snapshot_slot *slot, uint64_t timestamp)
{
	mutex_lock(&snapshots->lock);
	bool is_kept = snapshots->horizon <= timestamp;
	if (is_kept)
		__atomic_store_n(&slot->timestamp, timestamp, __ATOMIC_SEQ_CST);
	mutex_unlock(&snapshots->lock);
	return is_kept;
}

/* ---- what jobs ask ---- */

/* Up to there snapshots are listed, and from there on all are in use. */
static uint64_t
end_of_list(const struct snapshots *snapshots, const uint64_t *visible)
{
	uint64_t newest = __atomic_load_n(visible, __ATOMIC_SEQ_CST), horizon = snapshots_horizon(snapshots);
	return horizon < newest ? horizon : newest;
}

static int
compare_timestamps(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Appends the timestamps of these slots that are older than `newest`; their number. */
static size_t
list_older(const struct snapshot_slots *of, uint64_t newest, uint64_t *ret)
{
	size_t n = 0, high = __atomic_load_n(&of->high, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < high; i++) {
		uint64_t t = __atomic_load_n(&of->slots[i].timestamp, __ATOMIC_SEQ_CST);
		if (t != 0 && t < newest)
			ret[n++] = t;
	}
	return n;
}

int
snapshots_list(struct snapshots *snapshots, const uint64_t *visible, uint64_t **ret, size_t *ret_count)
{
	uint64_t newest = end_of_list(snapshots, visible);
	uint64_t *list = malloc((SETT_MAX_TRANSACTIONS + SETT_MAX_SNAPSHOTS + 1) * sizeof(*list));
	if (list == NULL)
		return SETT_NO_MEMORY;
	size_t n = list_older(&snapshots->of_transactions, newest, list);
	n += list_older(&snapshots->kept, newest, list + n);
	qsort(list, n, sizeof(*list), compare_timestamps);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || list[kept - 1] != list[i])
			list[kept++] = list[i];
	list[kept++] = newest;
	*ret = list;
	*ret_count = kept;
	return SETT_OK;
}

static uint64_t
oldest_of(const struct snapshot_slots *of, uint64_t oldest)
{
	size_t high = __atomic_load_n(&of->high, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < high; i++) {
		uint64_t t = __atomic_load_n(&of->slots[i].timestamp, __ATOMIC_SEQ_CST);
		if (t != 0 && t < oldest)
			oldest = t;
	}
	return oldest;
}

uint64_t
snapshots_oldest(struct snapshots *snapshots, const uint64_t *visible)
{
	uint64_t oldest = end_of_list(snapshots, visible);
	oldest = oldest_of(&snapshots->of_transactions, oldest);
	return oldest_of(&snapshots->kept, oldest);
}
