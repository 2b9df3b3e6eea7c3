/* A thread that does one job after another, while its owner makes the next one ready.
 *
 *     the owner      | ready 1 | ready 2 | ready 3 | ...
 *     the thread               | job 1   | job 2   | ...
 *
 * Threads: the owner's alone calls these. What a job did is there for it after second_thread_wait. */
#ifndef SETT_MOVING_SECOND_THREAD_H
#define SETT_MOVING_SECOND_THREAD_H

#include "storage/base/thread.h"

struct second_thread {
	void (*work)(void *job);
	struct mutex lock; /* guards the rest */
	struct condition changed;
	void *job; /* under way; NULL: none */
	bool stop;
	bool runs; /* there is such a thread; set before it starts */
	pthread_t thread;
};

/* Jobs are done by `work`; before second_thread_start by the owner itself. */
void second_thread_init(struct second_thread *, void (*work)(void *job));
/* Statuses of thread_start. */
int second_thread_start(struct second_thread *, const char *name);
/* No other job is under way. */
void second_thread_begin(struct second_thread *, void *job);
/* Until no job is under way. */
void second_thread_wait(struct second_thread *);
/* The job under way is done before. */
void second_thread_stop(struct second_thread *);

#endif
