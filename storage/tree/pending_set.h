/* Ids that a builder fills in several commits before one publishes them (I22). An id is in the set from the
 * commit that marks it pending to the one that publishes or drops it, or a prefix of it. Whatever is in the
 * set when the log ends is dead: recovery drops it.
 *
 * Guarded by the engine's commit lock. Small: one id for each build that is under way. */
#ifndef SETT_PENDING_SET_H
#define SETT_PENDING_SET_H

#include "prefix_change.h"
#include "storage/limits.h"

struct pending_id {
	uint8_t size;
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
};

/* All zero is an empty one. */
struct pending_set {
	struct pending_id *ids; /* sorted by prefix */
	size_t count, capacity;
};

void pending_set_free(struct pending_set *);
/* Makes sure that `more` ids can be added. SETT_NO_MEMORY. Their number is bounded by commits alone: a log
 * may have more, as ids are abandoned without a record. */
int pending_set_reserve(struct pending_set *, size_t more);
bool pending_set_has(const struct pending_set *, struct bytes prefix);
/* What a commit does: adds, publishes, drops what it names. There is memory for what it adds. */
void pending_set_apply(struct pending_set *, const struct prefix_change *);

/* As in the manifest: { size:varint prefix }*. Appends. SETT_NO_MEMORY. */
int pending_set_encode(const struct pending_set *, struct buffer *ret);
/* Adds what was encoded. SETT_CORRUPT, SETT_NO_MEMORY. */
int pending_set_decode(struct pending_set *, struct bytes);

#endif
