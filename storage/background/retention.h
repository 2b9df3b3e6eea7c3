/* Which versions of a key a flush or a compaction must keep. */
#ifndef SETT_RETENTION_H
#define SETT_RETENTION_H

#include "version.h"

/* Set up by the caller; what it points at is the caller's until retention_free, but for the walk. */
struct retention {
	const uint64_t *snapshots; /* ascending, the visible timestamp or the horizon last; at least one */
	size_t snapshot_count;
	struct dead_walk dead; /* what is erased; retention_free frees it */
	unsigned
		keep_versions; /* of each key that stay in any case, but for those before a deletion; 0 is 1 */
	/* Older versions of a key may stand in levels `first_level` and deeper of `version`. */
	const struct version *version;
	unsigned first_level;

	/* The walk's state. */
	struct buffer key;
	bool has_key, is_dead;
	unsigned spared; /* versions of the key that are still to stay whatever snapshots see */
	size_t stripe;   /* of the version before, SIZE_MAX if none */
	uint64_t newer;  /* timestamp of the version before */
};

/* Whether the entry, the next one in key order, stays. If so, `ret_held_until` is the timestamp at which the
 * oldest snapshot must be for it to go, 0 if it is not held by a snapshot. `ret_new_key`: it is the first
 * version of its key (also if it goes). SETT_NO_MEMORY. */
int retention_judge(struct retention *, struct ikey key, struct bytes value, bool *ret_keep,
		    bool *ret_new_key, uint64_t *ret_held_until);
void retention_free(struct retention *);

#endif
