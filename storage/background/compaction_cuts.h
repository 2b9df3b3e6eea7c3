/* Where a large compaction is cut, so that several workers can share it. */
#ifndef SETT_COMPACTION_CUTS_H
#define SETT_COMPACTION_CUTS_H

#include "regulator.h"

enum { COMPACTION_PARTS_MAX = 16 };

struct compaction_cuts {
	struct buffer
		keys[COMPACTION_PARTS_MAX - 1]; /* user keys, ascending: a part ends before the next cut */
	size_t count;
};

/* Cuts the task's keys into parts of about `part_bytes` (tables and what they point at) each, at keys that
 * stand between two blocks of its tables. Fewer, or none, where that cannot be told. May wait for the disk.
 */
void compaction_cuts_make(const struct task *, uint64_t part_bytes, struct compaction_cuts *ret);
void compaction_cuts_free(struct compaction_cuts *);
/* The keys of part `i` of count + 1: from `ret_low` (empty in the first) up to, but without, `ret_high`
 * (false in the last). */
bool compaction_cuts_range(const struct compaction_cuts *, size_t i, struct bytes *ret_low,
			   struct bytes *ret_high);

#endif
