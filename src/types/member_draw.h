/* Draws of members' names from a spread collection.
 *
 * The hashes of members are cut into ranges, and a draw asks for all names of a range, which are kept as notes of the engine
 * (sett_txn_note). They are kept under how many members there are and were removed, in sum: that tells one *addition* from
 * another, and stays the same when members are removed. So the notes of a state have all members that it has now, and
 * perhaps some that are gone: who draws a name of a note that is not the newest looks whether it is still there, and draws
 * again if not. A collection that is read, or popped from, is drawn from without a walk. Of a sorted set, which does not
 * count what was removed, each commit has notes of its own.
 *
 * The names that are noted are those from before the transaction's own writes, which may come to nothing. If it has added
 * members, or moved some to another generation, names are not drawn from notes. */
#ifndef SETT_TYPES_MEMBER_DRAW_H
#define SETT_TYPES_MEMBER_DRAW_H

#include "types/members.h"

/* Of a collection whose members have no deadlines. */
struct member_counts {
	uint64_t count; /* of members */
	uint64_t dead;  /* removed of this generation, see hash.h */
	uint64_t
		version; /* of a collection that does not count what is removed (a sorted set): its newest commit; else 0 */
	uint64_t bytes;    /* of all names and values, about */
	bool is_committed; /* the transaction has not changed who is a member */
};

struct member_draw {
	const struct members *members;
	uint64_t additions, dead; /* now */
	uint64_t version;         /* as in member_counts */
	uint64_t noted_dead;      /* before the transaction's own writes */
	uint64_t start;           /* members when its ranges were cut, not below those that are left */
	unsigned halvings, width; /* enum draw_width */
	struct member_walk walk;  /* its iterator is NULL: it was not needed yet */
	struct buffer note, names;
	struct buffer drawn;
};
/* False: there are so few that a walk is cheaper, or so many that their names would take the room of all else, or what the
 * transaction has written is in the way. */
bool member_draw_begin(const struct members *, const struct member_counts *, struct member_draw *ret);
/* The `stored` of a member drawn at random, each with the same probability, until the next call. Not `ret_is_certain`: it may
 * be gone; then draw again. SETT_NOT_FOUND: none was hit in as many tries as are reasonable, or a walk is cheaper. */
int member_draw_next(struct member_draw *, struct bytes *ret_stored, bool *ret_is_certain);
void member_draw_end(struct member_draw *);

#endif
