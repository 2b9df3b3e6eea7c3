/* The picker turns "compact this level" into a task: which tables, with which others, and whether it may run
 * beside what is running. Every function here is called under the version set's lock, on its current version.
 */
#ifndef SETT_COMPACTION_PICKER_H
#define SETT_COMPACTION_PICKER_H

#include "regulator.h"

enum {
	BOTTOM_LEVEL = SETT_LEVELS - 1,
	TOP_TRIGGER = 4, /* tables in L0 that make it due */
};

/* How large the levels should be, from the bottom up. */
struct level_plan {
	uint64_t weights[SETT_LEVELS]; /* bytes of tables and of what they point at */
	uint64_t targets[SETT_LEVELS]; /* 0: should be empty; the bottom has none (UINT64_MAX) */
	double scores[SETT_LEVELS];    /* 1 and more: due */
	double urgency[SETT_LEVELS];   /* the score, less what the level below is over: which is first */
	unsigned base;                 /* where L0 goes */
};
/* `gathered`: so many tables in L0 make it due; 0: the usual few. */
void level_plan_make(const struct version *, uint64_t memtable_size, unsigned gathered,
		     struct level_plan *ret);

/* The tasks that run now, linked by `next`. */
struct picker {
	struct version *version; /* current */
	struct task *running;
};

/* Whether a table is wanted, and how much (0 = not): the measure by which runs are limited. */
struct table_filter {
	uint64_t (*measure)(void *arg, const struct table_file *);
	void *arg;
};

/* Each returns SETT_OK with a new task (its tables not yet marked), SETT_NOT_FOUND if there is nothing of the
 * kind, SETT_WOULD_BLOCK if there is but it is in the way of running tasks, or SETT_NO_MEMORY. */
/* All of L0 into the base level. */
int pick_top(const struct picker *, unsigned base, struct task **ret);
/* The table of `level` (from 1, not the bottom) that has least below it, into the next one. */
int pick_down(const struct picker *, unsigned level, const struct table_filter *, struct task **ret);
/* Neighbouring tables of `level` (from 1) that are wanted, up to `limit` in sum, written anew in place. */
int pick_run(const struct picker *, unsigned level, const struct table_filter *, uint64_t limit,
	     struct task **ret);
/* A table dense with tombstones goes one level down; those on the bottom, up to `limit` bytes of them, are
 * written anew in place once the `oldest` snapshot needs them no more. */
int pick_dense(const struct picker *, uint64_t oldest, uint64_t limit, struct task **ret);

/* The tables of the output level that a compaction replaces, disjoint and in key order. */
struct table_file **task_replaced(const struct task *, size_t *ret_count);
/* The first of these has been replaced, in `current`; there are more. Returns the version that the task was on: a
 * reference, to be released without the lock, as files may go with it. */
struct version *task_advance(struct task *, struct version *current);

struct task *task_create(enum task_kind, struct version *);
void task_free(struct task *);
/* Sets or clears being_compacted of all its tables. */
void task_mark(struct task *, bool being_compacted);

#endif
