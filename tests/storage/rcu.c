/* Deferred runs come after the readers, and all of them come. Best run under the thread and address
 * sanitizers. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "storage/base/rcu.h"
#include "storage/base/thread.h"
#include "storage/status.h"

Test(rcu, registration_is_counted_and_offline_is_remembered)
{
	cr_assert_not(rcu_thread_is_online());
	cr_assert_not(rcu_has_readers());
	rcu_thread_register();
	cr_assert(rcu_thread_is_online());
	cr_assert(rcu_has_readers());
	rcu_thread_register();
	rcu_thread_unregister();
	cr_assert(rcu_thread_is_online() && rcu_has_readers(), "registered twice, left once");
	rcu_thread_offline();
	cr_assert_not(rcu_thread_is_online());
	rcu_thread_offline();
	rcu_thread_online();
	rcu_thread_online();
	cr_assert(rcu_thread_is_online());
	rcu_quiescent();
	rcu_thread_unregister();
	cr_assert_not(rcu_thread_is_online());
	cr_assert_not(rcu_has_readers());
}

struct counted {
	struct rcu_deferred deferred;
	unsigned *ran;
};

static void
count(struct rcu_deferred *d)
{
	struct counted *c = (struct counted *)d;
	(*c->ran)++; /* one thread runs all; the barrier orders the reading */
	free(c);
}

Test(rcu, the_barrier_waits_for_all_that_was_deferred)
{
	unsigned ran = 0;
	for (unsigned round = 1; round <= 5; round++) {
		for (int i = 0; i < 1000; i++) {
			struct counted *c = malloc(sizeof *c);
			cr_assert_not_null(c);
			c->ran = &ran;
			rcu_defer(&c->deferred, count);
		}
		rcu_barrier_wait();
		cr_assert_eq(ran, round * 1000);
	}
}

/* ---- a run waits for a reader that is online ---- */

struct waiting {
	struct rcu_deferred deferred;
	bool ran, reader_ready, reader_may_go;
};

static void
note_run(struct rcu_deferred *d)
{
	__atomic_store_n(&((struct waiting *)d)->ran, true, __ATOMIC_RELEASE); /* with the tests' acquire */
}

static void *
stubborn_reader(void *arg)
{
	struct waiting *w = arg;
	rcu_thread_register();
	__atomic_store_n(&w->reader_ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w->reader_may_go, __ATOMIC_ACQUIRE))
		sched_yield();
	/* Online and without a quiescent point until here: nothing deferred may have run. */
	bool early = __atomic_load_n(&w->ran, __ATOMIC_ACQUIRE);
	rcu_thread_unregister();
	return early ? arg : NULL;
}

static void
nothing(struct rcu_deferred *d)
{
	free(d);
}

Test(rcu, a_run_waits_for_a_reader_that_is_online)
{
	struct waiting w = {0};
	pthread_t thread;
	cr_assert_eq(thread_start(&thread, "reader", stubborn_reader, &w), SETT_OK);
	while (!__atomic_load_n(&w.reader_ready, __ATOMIC_ACQUIRE))
		sched_yield();
	rcu_defer(&w.deferred, note_run);
	for (int i = 0; i < 2000; i++) {
		cr_assert_not(__atomic_load_n(&w.ran, __ATOMIC_ACQUIRE));
		sched_yield();
	}
	__atomic_store_n(&w.reader_may_go, true, __ATOMIC_RELEASE);
	void *early;
	cr_assert_eq(pthread_join(thread, &early), 0);
	cr_assert_null(early);
	rcu_barrier_wait();
	cr_assert(__atomic_load_n(&w.ran, __ATOMIC_ACQUIRE));
}

static void *
sleeping_reader(void *arg)
{
	struct waiting *w = arg;
	rcu_thread_register();
	rcu_thread_offline();
	__atomic_store_n(&w->reader_ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w->reader_may_go, __ATOMIC_ACQUIRE))
		sched_yield();
	rcu_thread_online();
	rcu_thread_unregister();
	return NULL;
}

/* Would hang otherwise, and run into the test's time limit. */
Test(rcu, a_run_does_not_wait_for_a_reader_that_is_offline, .timeout = 300)
{
	struct waiting w = {0};
	pthread_t thread;
	cr_assert_eq(thread_start(&thread, "reader", sleeping_reader, &w), SETT_OK);
	while (!__atomic_load_n(&w.reader_ready, __ATOMIC_ACQUIRE))
		sched_yield();
	rcu_defer(&w.deferred, note_run);
	rcu_barrier_wait();
	cr_assert(__atomic_load_n(&w.ran, __ATOMIC_ACQUIRE));
	__atomic_store_n(&w.reader_may_go, true, __ATOMIC_RELEASE);
	thread_join(thread);
}

/* ---- readers against a writer that replaces and frees ---- */

enum { READERS = 3, REPLACEMENTS = 3000, DEAD = 0x0dead };

struct item {
	struct rcu_deferred deferred;
	int value, twice;
};

struct stage {
	struct item *current; /* published and read by rcu_publish and rcu_read */
	bool stop;
};

static void
kill_item(struct rcu_deferred *d)
{
	struct item *item = (struct item *)d;
	item->value = DEAD;
	free(item);
}

static void *
read_items(void *arg)
{
	struct stage *s = arg;
	int wrong = 0, last = 0;
	rcu_thread_register();
	for (int i = 0; !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE); i++) {
		struct item *item = rcu_read(s->current);
		wrong += item->twice != 2 * item->value || item->value < last;
		last = item->value;
		if (i % 3 == 0)
			rcu_quiescent();
		if (i % 100 == 0) {
			rcu_thread_offline();
			rcu_thread_online();
		}
	}
	rcu_thread_unregister();
	return wrong ? arg : NULL;
}

static struct item *
item_new(int value)
{
	struct item *item = malloc(sizeof *item);
	cr_assert_not_null(item);
	item->value = value;
	item->twice = 2 * value;
	return item;
}

Test(rcu, readers_never_see_what_was_freed)
{
	struct stage s = {.current = item_new(0)};
	pthread_t readers[READERS];
	for (int i = 0; i < READERS; i++)
		cr_assert_eq(thread_start(&readers[i], "reader", read_items, &s), SETT_OK);
	for (int i = 1; i <= REPLACEMENTS; i++) {
		struct item *old = s.current, *item = item_new(i);
		rcu_publish(s.current, item);
		rcu_defer(&old->deferred, kill_item);
		if (i % 100 == 0)
			sched_yield();
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS; i++) {
		void *wrong;
		cr_assert_eq(pthread_join(readers[i], &wrong), 0);
		cr_assert_null(wrong);
	}
	rcu_barrier_wait();
	free(s.current);
	/* A run with nobody around. */
	struct rcu_deferred *last = malloc(sizeof *last);
	cr_assert_not_null(last);
	rcu_defer(last, nothing);
	rcu_barrier_wait();
}

/* ---- the thread helpers ---- */

/* Signals belong to the main thread; faults to whoever commits them, or nobody would hear of them. */
static bool
mask_is_right(void)
{
	sigset_t blocked;
	return pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM) &&
		sigismember(&blocked, SIGINT) && !sigismember(&blocked, SIGSEGV) &&
		!sigismember(&blocked, SIGBUS) && !sigismember(&blocked, SIGFPE) &&
		!sigismember(&blocked, SIGILL);
}

static void *
look_at_thread(void *arg)
{
	char *name = arg;
	if (!mask_is_right())
		return NULL;
	/* The name is given from outside, maybe a moment later. */
	for (int i = 0; i < 1000000; i++) {
		if (pthread_getname_np(pthread_self(), name, 16) == 0 && strncmp(name, "sett", 4) == 0)
			return arg;
		sched_yield();
	}
	return NULL;
}

Test(thread, has_a_name_and_blocks_signals)
{
	char name[16] = "";
	pthread_t thread;
	cr_assert_eq(thread_start(&thread, "sett-a-name-too-long", look_at_thread, name), SETT_OK);
	void *result;
	cr_assert_eq(pthread_join(thread, &result), 0);
	cr_assert_not_null(result);
	cr_assert_str_eq(name, "sett-a-name-too");
	sigset_t mine;
	cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	cr_assert_not(sigismember(&mine, SIGTERM), "the creator's mask is as it was");
}

struct mask_seen {
	struct rcu_deferred deferred;
	bool right;
};

static void
look_at_mask(struct rcu_deferred *d)
{
	((struct mask_seen *)d)->right = mask_is_right();
}

Test(thread, that_runs_what_was_deferred_blocks_signals_too)
{
	struct mask_seen seen = {.right = false};
	rcu_defer(&seen.deferred, look_at_mask);
	rcu_barrier_wait();
	cr_assert(seen.right);
}

static void *
hold_mutex(void *arg)
{
	return mutex_try_lock(arg) ? arg : NULL;
}

Test(thread, waits_end_and_locks_exclude)
{
	struct mutex m;
	struct condition c;
	mutex_init(&m);
	condition_init(&c);
	mutex_lock(&m);
	cr_assert_not(condition_wait_for(&c, &m, 0));
	cr_assert_not(condition_wait_for(&c, &m, 1000000));
	pthread_t thread;
	cr_assert_eq(thread_start(&thread, "other", hold_mutex, &m), SETT_OK);
	void *got;
	cr_assert_eq(pthread_join(thread, &got), 0);
	cr_assert_null(got);
	mutex_unlock(&m);
	if (mutex_try_lock(&m))
		mutex_unlock(&m);
	else
		cr_assert_fail("it is locked still");
	condition_destroy(&c);
	mutex_destroy(&m);
}
