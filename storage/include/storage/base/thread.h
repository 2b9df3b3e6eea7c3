/* Mutexes, condition variables and threads with clang's thread-safety annotations. Failures of the lock calls
 * are programming errors and abort. */
#ifndef SETT_STORAGE_BASE_THREAD_H
#define SETT_STORAGE_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif
#define CAPABILITY(x) THREAD_ANNOTATION(capability(x))
#define ACQUIRES(...) THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRES(...) THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define RELEASES(...) THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define REQUIRES(...) THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS THREAD_ANNOTATION(no_thread_safety_analysis)

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t handle;
	const void *owner; /* atomic (relaxed): mutex_is_mine */
};

struct condition {
	pthread_cond_t handle; /* waits on CLOCK_MONOTONIC */
};

void mutex_init(struct mutex *);
void mutex_destroy(struct mutex *);
void mutex_lock(struct mutex *m) ACQUIRES(m);
bool mutex_try_lock(struct mutex *m) TRY_ACQUIRES(true, m);
void mutex_unlock(struct mutex *m) RELEASES(m);
/* Its address stands for the calling thread. */
extern _Thread_local char thread_mark;
/* For assertions: whether the calling thread holds it. */
static inline bool
mutex_is_mine(const struct mutex *m)
{
	/* Relaxed: a thread compares with its own mark, which no other stores. */
	return __atomic_load_n(&m->owner, __ATOMIC_RELAXED) == &thread_mark;
}

void condition_init(struct condition *);
void condition_destroy(struct condition *);
void condition_wait(struct condition *, struct mutex *m) REQUIRES(m);
/* Waits at most `timeout_ns`; false if it ran out. */
bool condition_wait_for(struct condition *, struct mutex *m, uint64_t timeout_ns) REQUIRES(m);
void condition_signal(struct condition *);
void condition_broadcast(struct condition *);

/* Blocks all signals but faults in this thread, until pthread_sigmask brings `ret_before` back: around the
 * start of threads that libraries start by themselves, which inherit the mask. */
void thread_block_signals(sigset_t *ret_before);
/* Starts a thread named `name` (cut at 15 bytes) with all signals but faults blocked; 0 or SETT_NO_MEMORY /
 * SETT_IO. */
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg);
void thread_join(pthread_t);

/* Calls `ask`, which makes system calls about the calling thread, in this process or in a child of it: a seccomp filter may end
 * a process for a call that it does not allow, so where there is a filter a child finds out. */
void thread_ask_system(void (*ask)(pid_t thread, const void *arg), const void *arg);
/* The calling thread gives way to the process's others from now on, where there are too few cores for all. A wish: the system
 * may not grant it. It can't be taken back. */
void thread_give_way(void);

#endif
