/* What regulator.c (order of work) and regulator_space.c (garbage) share. */
#ifndef SETT_REGULATOR_PRIVATE_H
#define SETT_REGULATOR_PRIVATE_H

#include "compaction_picker.h"
#include "regulator.h"
#include "version.h"

struct regulator {
	const struct worker_options *options;
	uint64_t pressure;      /* atomic: the bits of a double */
	uint64_t urgency;       /* atomic: as well */
	uint64_t space;         /* atomic: as well: garbage as a share of what is allowed, */
	uint64_t space_at_pick; /* atomic: as well: the same when a pick looked for work on it last */
	uint64_t pinned; /* atomic: bytes of value-log files that no table of the version referred to, */
	uint64_t pinned_removed;     /* atomic: when so much had been removed of the value log */
	uint64_t memtable_limit;     /* atomic */
	struct weight average_entry; /* atomic fields (relaxed) */
	/* Atomic: what a flush brings, with what it points at, of late; no less than the table of a full memtable takes. */
	uint64_t flush_bytes;

	unsigned gathered; /* atomic (relaxed): regulator_gather, or what was there at first */
	uint64_t
		gathered_until; /* atomic (relaxed): a sequence: tables of L0 up to it are those; 0: it goes on */

	/* Under the version set's lock. */
	struct task *running;
	bool flushing;
	struct gc_marks *avoid; /* files with damaged values */

	/* Of the one thread that picks. */
	uint64_t oldest; /* snapshot, as of this pick */
	uint64_t visible;
	bool in_steps;
	struct gc_marks *marks;          /* files being emptied; NULL if none */
	uint64_t round_sequence;         /* when they were marked: tables of before are sunk on the way */
	struct memtable_weight memtable; /* as of this pick */
	uint64_t memtable_since_ns;      /* when its bytes last changed */
	uint64_t active_size;      /* of the value-log file that commits write, when it was last looked at */
	uint64_t active_since_ns;  /* when that last changed */
	uint64_t rotated_at_bytes; /* memtable bytes when a rotation was last asked for; 0 = not since a flush
				    */
	uint64_t last_flush_ns;    /* atomic (relaxed): when a flush was last picked */
	uint64_t newest_top;       /* number of the newest L0 table that was counted in flush_bytes */

	/* Of the same thread: what the dead set is to the version (regulator_dead.c). */
	uint64_t dead_bytes;     /* atomic (relaxed): about what tables of the bottom level hold of it */
	uint64_t dead_changes;   /* dead_set_changes, */
	uint64_t dead_version;   /* and the version's number, when that was looked at */
	bool dead_covers;        /* some table holds nothing else */
	bool dead_overlaps;      /* some table holds some of it */
	bool dead_loose;         /* a cohort is worth writing anew, or there are too many */
	uint64_t dead_clean_ns;  /* no cleaning for it before */
	uint64_t drops_since_ns; /* when the first drop of unknown size was seen in a memtable; 0 = none is */
};

/* What is to be gained, in bytes. */
struct space {
	uint64_t bottom;   /* tables and references of the bottom level, without the dead */
	uint64_t upper;    /* same, above it, or what the tables there shadow if that is more */
	uint64_t doomed;   /* as far as it is more: bytes of lower levels that merging will free */
	uint64_t held;     /* bottom tables' versions that no snapshot holds any more */
	uint64_t garbage;  /* in the value log, as far as it can be collected */
	uint64_t active;   /* garbage in the file that commits write */
	uint64_t memtable; /* what memtables hold, or what they shadow if that is more */
	uint64_t dead;     /* on the bottom, of dropped prefixes and ids */
	uint64_t dropped;  /* by commits that are not in tables yet */
	uint64_t pinned;   /* value-log files that no table refers to: readers or memtables hold them */
	uint64_t allowed;  /* how much all that may be, pinned files apart */
};
static inline uint64_t
space_sum(const struct space *s)
{
	return s->upper + s->held + s->garbage + s->active + s->memtable + s->dead + s->dropped;
}

static inline uint64_t
regulator_flush_bytes(const struct regulator *r)
{
	return __atomic_load_n(&r->flush_bytes, __ATOMIC_RELAXED);
}

/* With how many tables L0 is due while some are gathered, or left of those; 0: none are. */
unsigned regulator_gathered(const struct regulator *, const struct version *);

static inline void
regulator_plan(const struct regulator *r, const struct version *v, struct level_plan *ret)
{
	level_plan_make(v, regulator_flush_bytes(r), regulator_gathered(r, v), ret);
}

/* Tables of L0: from TOP_PACED on writers are slowed, with TOP_FULL they wait. */
enum { TOP_PACED = 8, TOP_FULL = 20 };

/* What pressure and urgency come from. */
struct load {
	double space;     /* garbage and what may be some, as a share of what is allowed */
	double memtables; /* waiting, and the filled part of the newest */
	double top;       /* tables in L0, as regulator_gather has them count */
	double dead; /* the same with what is dead on the bottom: no reason to slow writers, but to hurry */
	double deep; /* the highest score of a deeper level */
	bool calm;   /* nobody writes much: the background disturbs nobody */
	bool left;   /* what was gathered, or there at first, is to be merged */
};
double load_pressure(const struct load *);
double load_urgency(const struct load *);

/* Shares of what is allowed, in percent. Collection begins at SPACE_DUE, gently, and hurries soon after: what
 * it moves takes space before what it frees is gone. From SPACE_PACED on writers are slowed, to a crawl at
 * SPACE_FULL. Beyond SPACE_URGENT it goes before the deeper levels: else a steady load would starve it. Each
 * round leaves SPACE_AIM. The higher all of them, the less is moved for each byte that is freed; the smaller
 * the rounds, the more often tables are written anew for them (docs/performance.md has what was measured). */
enum { SPACE_AIM = 62, SPACE_DUE = 80, SPACE_PACED = 82, SPACE_URGENT = 93, SPACE_FULL = 95 };
static inline bool
space_is_due(const struct space *s)
{
	return space_sum(s) > s->allowed / 100 * SPACE_DUE;
}
static inline bool
space_is_urgent(const struct space *s)
{
	return space_sum(s) > s->allowed / 100 * SPACE_URGENT;
}

/* What the bound allows beside `bottom` bytes that are alive, of which `tables`, with so much in the log.
 * While it is busy, a small database may have some memtables of garbage: it would be written anew for each of
 * them. */
uint64_t regulator_allowed(const struct regulator *, uint64_t bottom, uint64_t tables, uint64_t log_bytes,
			   bool busy);
/* Fills `ret`; the account of files only if space is due or files are marked (else count 0). `v` is held by
 * the caller. */
int regulator_space(struct regulator *, const struct version *v, struct space *ret,
		    struct gc_account *ret_account);
/* Runs `pick` under the version set's lock with the current version and enters its task. */
int regulator_enter(struct regulator *,
		    int (*pick)(struct regulator *, const struct picker *, void *, struct task **), void *arg,
		    struct task **ret);
/* Marks files for collection, unless some are marked. SETT_NOT_FOUND if none is worth it. Compactions that
 * are picked from then on move what they meet. */
int regulator_begin_round(struct regulator *, const struct space *, const struct gc_account *);
/* Asks the engine to rotate a memtable that is idle, or `large`. */
int regulator_pick_rotation(struct regulator *, bool large, struct task **ret);
/* What brings the sum of garbage down, the largest part first. */
int regulator_pick_space(struct regulator *, const struct space *, const struct gc_account *,
			 struct task **ret);
/* All of L0, written anew even where it could move as it is. Under the version set's lock. */
int regulator_pick_top_anew(struct regulator *, const struct picker *, struct task **ret);
/* The memtable has not changed for a while. */
bool regulator_is_idle(const struct regulator *);

/* regulator_dead.c */
/* Looks at what the dead set holds of each table of the current version, if one of the two changed.
 * SETT_NO_MEMORY. */
int regulator_weigh_dead(struct regulator *);
/* Tables that hold nothing but the dead, and ids that are through. */
int regulator_pick_dead(struct regulator *, struct task **ret);
/* Tables of which enough is dead; a rotation for what was dropped and is in no table yet. */
int regulator_pick_unclean(struct regulator *, struct task **ret);
/* Any table that holds some of the dead, those that hold much first. */
int regulator_pick_densest_dead(struct regulator *, struct task **ret);

#endif
