/* A thread that takes steps, and sleeps between them, until it is told to stop. */
#ifndef SETT_STORAGE_BASE_STEPPER_H
#define SETT_STORAGE_BASE_STEPPER_H

#include "storage/base/thread.h"

struct stepper {
	void (*begin)(void *arg);    /* before the first step; may be NULL */
	uint64_t (*step)(void *arg); /* returns for how many ns it may sleep then */
	void *arg;
	pthread_t thread;
	struct mutex lock; /* a leaf */
	struct condition told;
	/* under the lock */
	bool stop;
	bool is_woken; /* since its last step began */
};

void stepper_init(struct stepper *, void (*begin)(void *arg), uint64_t (*step)(void *arg), void *arg);
/* It does not run. */
void stepper_free(struct stepper *);
/* Once. Statuses of thread_start; after a failure it does not run. */
int stepper_start(struct stepper *, const char *name);
/* Waits for the end of its step. Not by its own thread. */
void stepper_stop(struct stepper *);
/* It takes a step now; if it is taking one, another one follows at once. Any thread, its own too. */
void stepper_wake(struct stepper *);

#endif
