/* What every job of the workers is given. */
#ifndef SETT_JOB_H
#define SETT_JOB_H

#include "worker.h"

struct job_context {
	const struct worker_options *options;
	/* Called between stretches of work, with the bytes that each has written; may wait. SETT_ABORTED:
	 * give up, leave nothing behind. */
	int (*pause)(void *arg, uint64_t written);
	void *pause_arg;
	/* Calls run(arg, 0 .. count - 1), each once, here and on workers that have nothing better to do;
	 * returns when all have returned. `classes`: what those workers must be there for. */
	void (*share)(void *share_arg, unsigned classes, void (*run)(void *arg, size_t index), void *arg,
		      size_t count);
	void *share_arg;
	/* Counted up as the job's edit goes through (relaxed atomics). */
	struct worker_figures *figures;
};

static inline void
figure_add(uint64_t *figure, uint64_t more)
{
	__atomic_fetch_add(figure, more, __ATOMIC_RELAXED);
}

/* The hook's snapshots, for a retention. SETT_NO_MEMORY, or what the hook says. */
static inline int
job_snapshots(const struct job_context *c, uint64_t **ret, size_t *ret_count)
{
	return c->options->hooks.snapshots(c->options->hooks.arg, ret, ret_count);
}

#endif
