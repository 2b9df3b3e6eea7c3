/* What groups still want of entries that are to be deleted: XDELEX, XACKDEL and trimming since Redis 8.2. */
#ifndef SETT_TYPES_STREAM_REFS_H
#define SETT_TYPES_STREAM_REFS_H

#include "types/stream_groups.h"

enum stream_refs_mode {
	STREAM_KEEP_REFS,   /* entries go, what is pending stays */
	STREAM_DELETE_REFS, /* what is pending of them goes too */
	STREAM_ACKED,       /* only those go that all groups have read and acknowledged */
};
enum stream_deletion { STREAM_ABSENT, STREAM_DELETED, STREAM_WANTED };

/* What is deleted here, entries and what was pending of them, is told to replicas as XDEL and XACK; entries that are
 * trimmed from the front are the caller's to tell of. */

/* All groups of a stream, in the view's arena. No other struct of one of them may be changed meanwhile. */
struct stream_refs {
	struct stream *stream;
	enum stream_refs_mode mode;
	struct stream_group *groups; /* none if they are kept */
	size_t count;
	struct stream_id read; /* no group has read less; only matters if there is one */
};

int stream_refs_open(struct stream *, enum stream_refs_mode, struct stream_refs *ret);
/* NULL: there is no such group. */
struct stream_group *stream_refs_group(struct stream_refs *, struct bytes name);
/* One entry. What is pending of it goes also if it is absent. */
int stream_refs_delete(struct stream_refs *, struct stream_id, enum stream_deletion *ret);
/* Deletes `count` entries of those from the first up to `last`, or as many as may go. */
int stream_refs_trim(struct stream_refs *, uint64_t count, struct stream_id last, uint64_t *ret);
/* Writes the groups; before stream_save. */
int stream_refs_save(struct stream_refs *);

#endif
