/* The snapshot slots, and the invariant they keep:
 *
 * (I8) A reader publishes its timestamp, fences, and re-reads the visible timestamp until it is unchanged; a
 * job reads the visible timestamp first and the slots second. So either the job sees the reader's slot, or
 * the reader's timestamp is not older than the visible one the job read, of which the newest version is
 * always kept. */
#include "snapshots.h"

#include <stdlib.h>
#include <string.h>

#include "storage/status.h"

void
snapshots_init(struct snapshots *snapshots)
{
	memset(snapshots, 0, sizeof(*snapshots));
	mutex_init(&snapshots->lock);
}

void
snapshots_destroy(struct snapshots *snapshots)
{
	mutex_destroy(&snapshots->lock);
}

struct snapshot_slot *
snapshots_take_slot(struct snapshots *snapshots)
{
	struct snapshot_slot *slot = NULL;
	mutex_lock(&snapshots->lock);
	for (size_t i = 0; i < SETT_MAX_TRANSACTIONS && slot == NULL; i++) {
		if (snapshots->taken[i])
			continue;
		snapshots->taken[i] = true;
		slot = &snapshots->slots[i];
		if (i >= snapshots->high)
			__atomic_store_n(&snapshots->high, i + 1, __ATOMIC_SEQ_CST);
	}
	mutex_unlock(&snapshots->lock);
	return slot;
}

void
snapshots_return_slot(struct snapshots *snapshots, struct snapshot_slot *slot)
{
	mutex_lock(&snapshots->lock);
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

void
snapshot_release(struct snapshot_slot *slot)
{
	__atomic_store_n(&slot->timestamp, 0, __ATOMIC_RELEASE);
}

static int
compare_timestamps(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

int
snapshots_list(struct snapshots *snapshots, const uint64_t *visible, uint64_t **ret, size_t *ret_count)
{
	uint64_t newest = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
	size_t high = __atomic_load_n(&snapshots->high, __ATOMIC_SEQ_CST);
	uint64_t *list = malloc((high + 1) * sizeof(*list));
	if (list == NULL)
		return SETT_NO_MEMORY;
	size_t n = 0;
	for (size_t i = 0; i < high; i++) {
		uint64_t t = __atomic_load_n(&snapshots->slots[i].timestamp, __ATOMIC_SEQ_CST);
		if (t != 0 && t < newest)
			list[n++] = t;
	}
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

uint64_t
snapshots_oldest(struct snapshots *snapshots, const uint64_t *visible)
{
	uint64_t oldest = __atomic_load_n(visible, __ATOMIC_SEQ_CST);
	size_t high = __atomic_load_n(&snapshots->high, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < high; i++) {
		uint64_t t = __atomic_load_n(&snapshots->slots[i].timestamp, __ATOMIC_SEQ_CST);
		if (t != 0 && t < oldest)
			oldest = t;
	}
	return oldest;
}
