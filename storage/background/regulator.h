/* The regulator decides what is due: which flush, which compaction, which tables for value-log GC. It looks
 * at the current version, the value log and the engine's hooks, and does nothing itself. */
#ifndef SETT_REGULATOR_H
#define SETT_REGULATOR_H

#include "value_log_gc.h"
#include "worker.h"

enum {
	REGULATOR_BUSY_MEMTABLES = 6, /* a small database under load may have so many memtables of garbage */
	RUN_BYTES = 64 * 1024 * 1024, /* bite of a task in place */
};

/* By falling priority. */
enum work_class {
	WORK_FLUSH = 1,
	WORK_TOP = 2,   /* out of L0 */
	WORK_DEEP = 4,  /* between deeper levels, and tables that a dropped prefix swallowed */
	WORK_SPACE = 8, /* garbage: value-log GC, what snapshots left, dropped prefixes, downwards for the
			   space bound */
	WORK_ALL = 15,
};

enum task_kind {
	TASK_FLUSH,
	TASK_COMPACT, /* merge inputs and overlaps into the output level (the same level: write anew in place)
		       */
	TASK_MOVE,    /* inputs go to the output level as they are */
	TASK_DROP,    /* tables vanish unread, dead ids leave their set (dead_job.h) */
	TASK_ROTATE,  /* the engine is asked to rotate its memtable */
};

struct task {
	enum task_kind kind;
	struct flush_source source; /* TASK_FLUSH */
	struct version *version;    /* which the task was picked from; a reference */
	unsigned input_level, output_level;
	struct table_file **inputs; /* on input_level, in the level's order; owned array */
	size_t input_count;
	struct table_file **overlaps; /* on output_level; owned array */
	size_t overlap_count;
	struct version_edit_table *dropped; /* TASK_DROP: owned array */
	size_t dropped_count;
	struct gc_marks *marks; /* values in these files move; a reference, may be NULL */
	struct bytes low, high; /* user keys that inputs and overlaps span (in the tables' memory) */
	/* TASK_COMPACT on a disk that has no room for the whole: one table of the output level after the other, each
	 * with an edit of its own. `pieces` is how many there are in all, 0 if the task is done as one. */
	size_t pieces, pieces_done;
	struct task *next; /* the regulator's list of running tasks */
};

struct regulator;
/* The options must outlive it. */
int regulator_create(const struct worker_options *, struct regulator **ret);
void regulator_destroy(struct regulator *);

/* The next task of the classes in `classes`; SETT_NOT_FOUND if none is due. Tables of the task are marked
 * being_compacted. One caller at a time. `in_steps`: no time plays a part (workers_step). */
int regulator_pick(struct regulator *, unsigned classes, bool in_steps, struct task **ret);
/* The task has ended, well or not; frees it. With `quarantine` its tables are never picked again. Any thread.
 */
void regulator_done(struct regulator *, struct task *, bool quarantine);
/* A value in this file is damaged: never mark it (again). Any thread. */
void regulator_avoid_file(struct regulator *, uint64_t file);

/* For workers_compact_all. What is left of tables at `level` that were there when `sequence` was taken goes
 * down; on the bottom level, tables that hold what no snapshot needs any more are written anew. As
 * regulator_pick. */
int regulator_pick_level(struct regulator *, unsigned level, uint64_t sequence, struct task **ret);
/* Work for dropped prefixes, without waiting for more of it to gather. */
int regulator_pick_dropped(struct regulator *, struct task **ret);
/* Whether a flush is running. Any thread. */
bool regulator_is_flushing(struct regulator *);
/* Marks every file that is worth it. SETT_NOT_FOUND if none is. Not while a task is being picked. */
int regulator_mark_all(struct regulator *);
/* Tables with a number below `below`, and those that point into value-log files below it, are written anew, and such
 * values with them. Takes the place of what was marked. As regulator_pick. */
int regulator_pick_older(struct regulator *, uint64_t below, struct task **ret);
/* A GC task of the files marked now; SETT_NOT_FOUND if none is left to pick. */
int regulator_pick_marked(struct regulator *, struct task **ret);

/* After a compaction: finds the value-log files that no table refers to any more. They wait for their removal, and no longer
 * count for the pressure on writers. Not while a task is being picked. */
void regulator_see_emptied(struct regulator *);

/* See sett_engine_gather. Any thread. */
void regulator_gather(struct regulator *, unsigned tables);

/* See workers_pressure; lock-free. */
double regulator_pressure(struct regulator *);
/* How much what is due hurries: 0 = not, 1 = it must not be held back. Lock-free. */
double regulator_urgency(struct regulator *);
/* Whether garbage is due, and has grown enough since the last pick that another may find work. Lock-free. */
bool regulator_space_grew(struct regulator *);
/* Whether no flush has begun for a while: nobody writes much. Any thread. */
bool regulator_is_calm(const struct regulator *);
/* See workers_memtable_limit; lock-free. */
uint64_t regulator_memtable_limit(struct regulator *);
/* See workers_average_entry; lock-free. */
struct weight regulator_average_entry(struct regulator *);
/* Looks at the state again for the four above. Any thread. */
void regulator_measure(struct regulator *);

#endif
