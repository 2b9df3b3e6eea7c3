/* liburcu's QSBR flavour, and what the thread sanitizer must be told about it.
 *
 * liburcu orders memory with barriers the sanitizer can't see. Two edges are declared to it:
 *   a reader's quiescent point (or going offline, or leaving)  ->  every deferred run that follows it
 *   the call of rcu_defer                                     ->  the run of that one
 * The first is drawn through one address for the whole process: wider than the truth (a run is also ordered
 * after readers that came later), so it may hide a race in code that frees too early, but never reports a
 * false one. Address sanitizer runs are there for the former.
 *
 * Invariants
 *  - A thread is known to liburcu exactly while its count of registrations is above zero.
 *  - `registration.online` is false for a thread that is not registered. */
#include "storage/base/rcu.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#include "storage/base/thread.h"

#if defined(__SANITIZE_THREAD__)
#define RCU_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_UNDER_TSAN 1
#endif
#endif

#ifdef RCU_UNDER_TSAN
/* The runtime's own declarations (sanitizer/tsan_interface.h) are not installed with every compiler. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
/* An address to hang the first edge on; never read or written. */
static char tsan_grace_period;
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_RELEASE(address) __tsan_release(address)
#else
#define TSAN_ACQUIRE(address) ((void)0)
#define TSAN_RELEASE(address) ((void)0)
#endif

static_assert(sizeof(struct rcu_head) <= sizeof(((struct rcu_deferred *)0)->reserved),
	      "rcu_deferred has room for liburcu's list node");
static_assert(alignof(struct rcu_head) <= alignof(void *), "and aligns it");
static_assert(offsetof(struct rcu_deferred, reserved) == 0, "the two have one address");

struct rcu_registration {
	unsigned count;
	bool online;
};

/* What this thread is to liburcu. */
static _Thread_local struct rcu_registration registration;
static unsigned registered; /* atomic: threads known to liburcu */
static uint64_t pending;    /* atomic: deferred and not through yet */

void
rcu_thread_register(void)
{
	if (registration.count++ > 0)
		return;
	/* Sequentially consistent: before whatever it reads. Partner: rcu_has_readers. */
	__atomic_add_fetch(&registered, 1, __ATOMIC_SEQ_CST);
	urcu_qsbr_register_thread(); /* leaves it online */
	registration.online = true;
}

void
rcu_thread_unregister(void)
{
	assert(registration.count > 0);
	if (--registration.count > 0)
		return;
	registration.online = false;
	TSAN_RELEASE(&tsan_grace_period);
	urcu_qsbr_unregister_thread();
	__atomic_sub_fetch(&registered, 1, __ATOMIC_RELEASE);
}

bool
rcu_has_readers(void)
{
	/* A thread that is not counted below will find what was published before. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&registered, __ATOMIC_ACQUIRE) > 0;
}

bool
rcu_thread_is_online(void)
{
	return registration.online;
}

void
rcu_thread_offline(void)
{
	if (!registration.online)
		return;
	registration.online = false;
	TSAN_RELEASE(&tsan_grace_period);
	urcu_qsbr_thread_offline();
}

void
rcu_thread_online(void)
{
	assert(registration.count > 0);
	if (registration.online)
		return;
	urcu_qsbr_thread_online();
	registration.online = true;
}

void
rcu_quiescent(void)
{
	assert(registration.online);
	TSAN_RELEASE(&tsan_grace_period);
	urcu_qsbr_quiescent_state();
}

static void
rcu_run_deferred(struct rcu_head *head)
{
	struct rcu_deferred *d = (struct rcu_deferred *)head;
	TSAN_ACQUIRE(d);
	TSAN_ACQUIRE(&tsan_grace_period);
	d->run(d); /* usually frees d */
	__atomic_sub_fetch(&pending, 1, __ATOMIC_RELEASE);
}

/* liburcu starts its thread at the first call_rcu; it must not inherit an open signal mask, or the main
 * thread's signals could end up there. Without a name of its own it would have the caller's. */
static void
rcu_start_thread(void)
{
	sigset_t before;
	thread_block_signals(&before);
	struct call_rcu_data *data = urcu_qsbr_get_default_call_rcu_data();
	(void)pthread_setname_np(urcu_qsbr_get_call_rcu_thread(data), "rcu");
	if (pthread_sigmask(SIG_SETMASK, &before, NULL) != 0)
		abort();
}

void
rcu_defer(struct rcu_deferred *d, void (*run)(struct rcu_deferred *))
{
	static pthread_once_t started = PTHREAD_ONCE_INIT;
	if (pthread_once(&started, rcu_start_thread) != 0)
		abort();
	d->run = run;
	__atomic_add_fetch(&pending, 1, __ATOMIC_RELAXED);
	TSAN_RELEASE(d);
	urcu_qsbr_call_rcu((struct rcu_head *)d, rcu_run_deferred);
}

/* What rcu_barrier_wait defers. */
struct rcu_marker {
	struct rcu_deferred deferred; /* first: the two have one address */
	struct mutex mutex;
	struct condition done_changed;
	bool done;
};

static void
rcu_marker_run(struct rcu_deferred *d)
{
	struct rcu_marker *m = (struct rcu_marker *)d;
	mutex_lock(&m->mutex);
	m->done = true;
	condition_signal(&m->done_changed);
	mutex_unlock(&m->mutex); /* the waiter may now end the marker's life */
}

/* All goes through liburcu's one default queue, first in first out, so what stood in it before the marker has
 * run when the marker runs. (liburcu's own barrier does the same, in a way the thread sanitizer takes for a
 * race.) */
void
rcu_barrier_wait(void)
{
	assert(!registration.online);
	/* Acquire: with the release behind each run. */
	if (__atomic_load_n(&pending, __ATOMIC_ACQUIRE) == 0)
		return;
	struct rcu_marker m = {.done = false};
	mutex_init(&m.mutex);
	condition_init(&m.done_changed);
	rcu_defer(&m.deferred, rcu_marker_run);
	mutex_lock(&m.mutex);
	while (!m.done)
		condition_wait(&m.done_changed, &m.mutex);
	mutex_unlock(&m.mutex);
	condition_destroy(&m.done_changed);
	mutex_destroy(&m.mutex);
}
