/* The blocking pool: threads that may wait for the disk. Two lanes, so that long jobs do not hold up short
 * ones: most threads run the short lane only; the others prefer the long lane and help out when it is empty.
 * Handshakes have a pool of their own (handshakes.h). */
#ifndef SETT_NET_POOL_H
#define SETT_NET_POOL_H

#include <stdint.h>

#include "net/net.h"

enum pool_lane { POOL_SHORT, POOL_LONG, POOL_LANES };

/* Embedded in what is to be done. Belongs to the pool until `run` is called, which may free it. */
struct pool_job {
	struct pool_job *next;
	void (*run)(struct pool_job *, void *thread); /* thread: what the handler's thread_start gave */
};

struct pool;

/* Starts no thread: jobs may be submitted and wait. The handler is copied; its thread_start and thread_stop alone are called.
 * `name` is that of the threads, and stays. SETT_NO_MEMORY. */
int pool_create(const struct request_handler *, const char *name, unsigned threads, struct pool **ret);
/* Returns once each thread has its state. SETT_NO_MEMORY, SETT_IO, or what thread_start returned; the threads
 * that did start are stopped again. */
int pool_start(struct pool *);
/* Any thread. */
void pool_submit(struct pool *, enum pool_lane, struct pool_job *);
/* To be called a few times a second: the long lane gets a thread more if its jobs wait behind such as do not end. Any
 * thread. */
void pool_relieve(struct pool *, uint64_t now_ms);
/* Jobs that no thread has taken yet. Any thread. */
uint64_t pool_queue_length(struct pool *);
/* Runs what was submitted, then ends the threads. Without threads, the jobs stay. */
void pool_stop(struct pool *);
/* Stopped before. NULL is fine. */
void pool_destroy(struct pool *);

#endif
