/* Draws of members' names from a spread collection that stays as it is meanwhile.
 *
 * The hashes of members are cut into ranges, and a draw asks for all names of a range. Those are kept as notes of the
 * engine (sett_txn_note), under the timestamp of the root, which every change of who is a member writes anew. So a collection
 * that is read and not changed is drawn from without a walk. */
#ifndef SETT_TYPES_MEMBER_DRAW_H
#define SETT_TYPES_MEMBER_DRAW_H

#include "types/members.h"

struct member_draw {
	const struct members *members;
	uint64_t state, count;
	struct member_walk walk; /* its iterator is NULL: it was not needed yet */
	struct buffer names;     /* of a range, each behind its size */
	struct buffer drawn;
};
/* `state`: the timestamp of the root, which this transaction has not changed. False: there are so few that a walk is cheaper,
 * or so many that their names would take the room of all else. */
bool member_draw_begin(const struct members *, uint64_t state, uint64_t count, struct member_draw *ret);
/* A member drawn at random, each with the same probability: its `stored`, until the next call. SETT_NOT_FOUND: none was hit in
 * as many tries as are reasonable. */
int member_draw_next(struct member_draw *, struct bytes *ret_stored);
void member_draw_end(struct member_draw *);

#endif
