/* Snapshot slots: a job that looks at them at any moment of a reader's registration keeps what it sees (I8).
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "snapshots.h"
#include "storage/base/sync_point.h"
#include "storage/limits.h"
#include "storage/status.h"

enum { INTERRUPTIONS = 4000 };

/* The reader is interrupted by a signal, whose handler commits and looks at the slots as a job does: so the
 * job comes between any two instructions of the registration, which threads alone hardly ever hit. */
static struct interruption {
	struct snapshots snapshots;
	uint64_t visible;
	uint64_t horizon; /* atomic: what the newest job kept: older versions that are shadowed are gone */
	sem_t handled;    /* posted by each job, which may be in a signal handler */
	bool stop;        /* atomic */
	pthread_t reader;
} interruption;

static void
commit_and_look(int signal_number)
{
	struct interruption *i = &interruption;
	__atomic_add_fetch(&i->visible, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&i->horizon, snapshots_oldest(&i->snapshots, &i->visible), __ATOMIC_SEQ_CST);
	sem_post(&i->handled);
}

static void *
interrupt(void *arg)
{
	struct interruption *i = arg;
	for (uint64_t n = 0; n < INTERRUPTIONS; n++) {
		pthread_kill(i->reader, SIGUSR1);
		while (sem_wait(&i->handled) != 0)
			; /* a signal of somebody else's */
	}
	__atomic_store_n(&i->stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

Test(snapshots, a_job_keeps_what_a_reader_that_registers_meanwhile_sees)
{
	struct interruption *i = &interruption;
	pthread_t thread;
	uint64_t missed = 0;
	i->visible = 1;
	i->reader = pthread_self();
	snapshots_init(&i->snapshots);
	struct snapshot_slot *slot = snapshots_take_slot(&i->snapshots);
	cr_assert_eq(sem_init(&i->handled, 0, 0), 0);
	cr_assert_eq(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = commit_and_look}, NULL), 0);
	cr_assert_eq(pthread_create(&thread, NULL, interrupt, i), 0);
	while (!__atomic_load_n(&i->stop, __ATOMIC_SEQ_CST)) {
		uint64_t timestamp = snapshot_acquire(slot, &i->visible, UINT64_MAX);
		missed += timestamp < __atomic_load_n(&i->horizon, __ATOMIC_SEQ_CST);
		snapshot_release(slot);
	}
	pthread_join(thread, NULL);
	sem_destroy(&i->handled);
	cr_assert_eq(missed, 0, "%llu of %d times", (unsigned long long)missed, INTERRUPTIONS);
	snapshots_return_slot(&i->snapshots, slot);
	snapshots_destroy(&i->snapshots);
}

struct job {
	struct snapshots *snapshots;
	uint64_t *visible, oldest;
};

static void
look_without_horizon(void *arg)
{
	struct job *job = arg;
	++*job->visible;
	job->oldest = snapshots_oldest(job->snapshots, job->visible);
}

/* What a job that knows of no horizon lets go is older than what the horizon promises. */
Test(snapshots, a_horizon_promises_what_a_job_keeps_that_began_before)
{
	struct snapshots snapshots = {0};
	uint64_t visible = 9;
	struct job job = {.snapshots = &snapshots, .visible = &visible};
	struct sync_point point = {"horizon: a job knows of none", look_without_horizon, &job};
	snapshots_init(&snapshots);
	sync_point_arm(&point);
	uint64_t promised = snapshots_set_horizon(&snapshots, &visible);
	cr_assert(job.oldest == 10 && promised >= job.oldest, "%llu", (unsigned long long)promised);
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), promised);
	snapshots_end_horizon(&snapshots);
	snapshots_destroy(&snapshots);
}

Test(snapshots, a_list_ends_at_the_horizon)
{
	struct snapshots snapshots = {0};
	uint64_t visible = 9, *list;
	size_t count;
	snapshots_init(&snapshots);
	struct snapshot_slot *slots[3];
	for (int i = 0; i < 3; i++)
		slots[i] = snapshots_take_slot(&snapshots);
	cr_assert_eq(snapshots_horizon(&snapshots), UINT64_MAX);
	cr_assert(!snapshot_acquire_past(&snapshots, slots[0], 9), "there is no horizon");
	cr_assert_eq(snapshots_set_horizon(&snapshots, &visible), 9);
	visible = 20;
	cr_assert(!snapshot_acquire_past(&snapshots, slots[0], 8));
	cr_assert(snapshot_acquire_past(&snapshots, slots[0], 11));
	cr_assert(snapshot_acquire_past(&snapshots, slots[1], 15));
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), 9);
	snapshots_move_horizon(&snapshots, &visible, 13);
	snapshots_move_horizon(&snapshots, &visible, 12);
	cr_assert_eq(snapshots_horizon(&snapshots), 13);
	cr_assert(!snapshot_acquire_past(&snapshots, slots[2], 12));
	cr_assert_eq(snapshots_list(&snapshots, &visible, &list, &count), SETT_OK);
	cr_assert(count == 2 && list[0] == 11 && list[1] == 13);
	free(list);
	snapshots_move_horizon(&snapshots, &visible, 100);
	cr_assert_eq(snapshots_horizon(&snapshots), 20, "not past what is visible");
	snapshots_end_horizon(&snapshots);
	visible = 21;
	cr_assert_eq(snapshots_list(&snapshots, &visible, &list, &count), SETT_OK);
	cr_assert(count == 3 && list[0] == 11 && list[1] == 15 && list[2] == 21);
	free(list);
	snapshot_release(slots[0]);
	snapshot_release(slots[1]);
	for (int i = 0; i < 3; i++)
		snapshots_return_slot(&snapshots, slots[i]);
	snapshots_destroy(&snapshots);
}

Test(snapshots, a_list_is_sorted_has_each_once_and_ends_in_the_visible)
{
	struct snapshots snapshots = {0};
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
		snapshot_release(slots[i]);
	for (int i = 0; i < 4; i++)
		snapshots_return_slot(&snapshots, slots[i]);
	snapshots_destroy(&snapshots);
}

Test(snapshots, a_kept_one_lasts_beyond_its_transaction_and_takes_no_place_of_one)
{
	static struct snapshots snapshots;
	static struct snapshot_slot *kept[SETT_MAX_SNAPSHOTS], *slots[SETT_MAX_TRANSACTIONS];
	uint64_t visible = 5, *list;
	size_t count;
	snapshots_init(&snapshots);
	slots[0] = snapshots_take_slot(&snapshots);
	cr_assert_eq(snapshot_acquire(slots[0], &visible, UINT64_MAX), 5);
	for (int i = 0; i < SETT_MAX_SNAPSHOTS; i++)
		cr_assert_not_null(kept[i] = snapshots_keep(&snapshots, slots[0]));
	cr_assert_null(snapshots_keep(&snapshots, slots[0]));
	snapshot_release(slots[0]);
	visible = 9;
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), 5);
	cr_assert_eq(snapshots_list(&snapshots, &visible, &list, &count), SETT_OK);
	cr_assert(count == 2 && list[0] == 5 && list[1] == 9);
	free(list);
	for (int i = 1; i < SETT_MAX_TRANSACTIONS; i++)
		cr_assert_not_null(slots[i] = snapshots_take_slot(&snapshots));
	cr_assert_null(snapshots_take_slot(&snapshots));
	cr_assert_eq(snapshot_join(slots[1], kept[7]), 5);
	snapshot_release(slots[1]);
	for (int i = 0; i < SETT_MAX_SNAPSHOTS; i++) {
		cr_assert_eq(snapshots_oldest(&snapshots, &visible), 5);
		snapshot_release(kept[i]);
		snapshots_return_slot(&snapshots, kept[i]);
	}
	cr_assert_eq(snapshots_oldest(&snapshots, &visible), 9);
	snapshots_destroy(&snapshots);
}
