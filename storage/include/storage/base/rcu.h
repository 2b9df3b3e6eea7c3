/* Read-copy-update: the one wrapper around liburcu's QSBR flavour (https://liburcu.org).
 *
 * A registered thread is *online* (it may hold RCU-protected pointers) or *offline* (it holds none and never
 * delays a grace period). Each call of rcu_quiescent says: I hold none right now. A reactor calls it once a
 * tick and goes offline before it sleeps; a thread that waits for a disk or a lock is offline while it waits
 * (I7).
 *
 * The hand-over by grace period is invisible to the thread sanitizer; this file alone annotates it. */
#ifndef SETT_STORAGE_BASE_RCU_H
#define SETT_STORAGE_BASE_RCU_H

#include <stdbool.h>

/* A thread registers once, and is online after; nested registration is counted. */
void rcu_thread_register(void);
void rcu_thread_unregister(void);
bool rcu_thread_is_online(void);
void rcu_thread_offline(void);
void rcu_thread_online(void);
void rcu_quiescent(void);
/* False: no thread is registered, so nobody can hold what was published before, and replaced. */
bool rcu_has_readers(void);

/* Embedded in what is to be freed. */
struct rcu_deferred {
	void *reserved[4];
	void (*run)(struct rcu_deferred *);
};

/* Runs `run(d)` on a thread of its own after every reader online now has passed a quiescent point. Never
 * blocks. Callable from any thread, also with locks held. */
void rcu_defer(struct rcu_deferred *d, void (*run)(struct rcu_deferred *));
/* Waits until all that was deferred before the call has run. The caller must be offline or unregistered. */
void rcu_barrier_wait(void);

/* Publication and reading of a protected pointer (release / consume). */
#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)
#define rcu_read(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
