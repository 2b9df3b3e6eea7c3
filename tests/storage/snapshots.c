/* Snapshot slots under races (I8): while a reader holds a timestamp, no job's list is without it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

#include "snapshots.h"
#include "storage/status.h"

enum { READERS = 2, ROUNDS = 60000, LIST_MAX = READERS + 1 };

/* What a compaction goes by: it keeps, for each timestamp of the list, the newest version not after it. */
struct list {
	uint64_t sequence; /* odd while it changes; acquire and release, partner: the other side */
	uint64_t timestamps[LIST_MAX], count;
};

struct race {
	struct snapshots snapshots;
	uint64_t visible;
	struct list list;
	bool stop;       /* atomic, relaxed */
	uint64_t missed; /* atomic, relaxed: read after the threads were joined */
};

/* Commits, and takes a list at once, as a job that begins at this moment would. */
static void *
commit_and_list(void *arg)
{
	struct race *race = arg;
	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		uint64_t *timestamps;
		size_t count;
		__atomic_add_fetch(&race->visible, 1, __ATOMIC_SEQ_CST);
		if (snapshots_list(&race->snapshots, &race->visible, &timestamps, &count) != SETT_OK ||
		    count > LIST_MAX)
			abort();
		struct list *list = &race->list;
		__atomic_add_fetch(&list->sequence, 1, __ATOMIC_SEQ_CST);
		for (size_t i = 0; i < count; i++)
			__atomic_store_n(&list->timestamps[i], timestamps[i], __ATOMIC_RELAXED);
		__atomic_store_n(&list->count, count, __ATOMIC_RELAXED);
		__atomic_add_fetch(&list->sequence, 1, __ATOMIC_SEQ_CST);
		free(timestamps);
	}
	return NULL;
}

/* Whether the newest list would have kept what a reader at `timestamp` sees; true if the list is changing. */
static bool
is_kept(struct race *race, uint64_t timestamp)
{
	struct list *list = &race->list;
	uint64_t before = __atomic_load_n(&list->sequence, __ATOMIC_SEQ_CST), newest = 0;
	bool found = false;
	size_t count = __atomic_load_n(&list->count, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < count && i < LIST_MAX; i++) {
		newest = __atomic_load_n(&list->timestamps[i], __ATOMIC_SEQ_CST);
		found |= newest == timestamp;
	}
	if (before % 2 || __atomic_load_n(&list->sequence, __ATOMIC_SEQ_CST) != before)
		return true;
	return found || timestamp >= newest;
}

static void *
read_some(void *arg)
{
	struct race *race = arg;
	struct snapshot_slot *slot = snapshots_take_slot(&race->snapshots);
	if (!slot)
		abort();
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t timestamp = snapshot_acquire(slot, &race->visible, UINT64_MAX);
		for (int look = 0; look < 8; look++)
			if (!is_kept(race, timestamp))
				__atomic_add_fetch(&race->missed, 1, __ATOMIC_RELAXED);
		snapshot_release(slot);
	}
	snapshots_return_slot(&race->snapshots, slot);
	return NULL;
}

Test(snapshots, a_job_keeps_what_a_reader_that_registers_meanwhile_sees)
{
	struct race *race = calloc(1, sizeof(*race));
	pthread_t writer, readers[READERS];
	cr_assert_not_null(race);
	race->visible = 1;
	snapshots_init(&race->snapshots);
	cr_assert_eq(pthread_create(&writer, NULL, commit_and_list, race), 0);
	for (int i = 0; i < READERS; i++)
		cr_assert_eq(pthread_create(&readers[i], NULL, read_some, race), 0);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	__atomic_store_n(&race->stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	cr_assert_eq(race->missed, 0, "%llu times", (unsigned long long)race->missed);
	snapshots_destroy(&race->snapshots);
	free(race);
}

Test(snapshots, a_list_is_sorted_has_each_once_and_ends_in_the_visible)
{
	struct snapshots snapshots;
	uint64_t visible = 9, *list;
	size_t count;
	snapshots_init(&snapshots);
	struct snapshot_slot *slots[4];
	for (int i = 0; i < 4; i++)
		slots[i] = snapshots_take_slot(&snapshots);
	cr_assert_eq(snapshot_acquire(slots[0], &visible, 7), 7);
	cr_assert_eq(snapshot_acquire(slots[1], &visible, 3), 3);
	cr_assert_eq(snapshot_acquire(slots[2], &visible, 7), 7);
	cr_assert_eq(snapshot_acquire(slots[3], &visible, UINT64_MAX), 9);
	cr_assert_eq(snapshots_list(&snapshots, &visible, &list, &count), SETT_OK);
	cr_assert_eq(count, 3);
	cr_assert(list[0] == 3 && list[1] == 7 && list[2] == 9);
	free(list);
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), 3);
	snapshot_release(slots[1]);
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), 7);
	for (int i = 0; i < 4; i++)
		snapshots_return_slot(&snapshots, slots[i]);
	snapshots_destroy(&snapshots);
}
