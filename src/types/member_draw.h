/* Draws of members' names from a spread collection.
 *
 * The hashes of members are cut into ranges, and a draw asks for all names of a range, which are kept as notes of the engine
 * (sett_txn_note), so that a collection is drawn from without a walk. How the ranges are cut says a note of its own, the
 * *state*; the first draw makes that alone, by those that come again the ranges' notes are made.
 *
 * A note has all members of its range, and perhaps some that are gone: who draws a name of a note from before the last removal
 * looks whether it is still there, and draws again if not. Whoever adds a member changes the note of its range with his
 * commit; where there is no state, he sees to it that nobody who has not seen the member makes one. With another state, ranges have
 * other notes: a range's note has the state's number in its key. So a note that was found under the newest state has missed no
 * member. What SPOP takes goes from the note, too, so that notes don't fill with what is gone.
 *
 * Of a sorted set, which changes no notes, each commit has notes of its own.
 *
 * What the transaction has added is in the notes that it changes, for itself alone until it commits. Other names that it notes
 * are those from before its own writes, which may come to nothing. If it has moved members to another generation, names are
 * not drawn from notes. */
#ifndef SETT_TYPES_MEMBER_DRAW_H
#define SETT_TYPES_MEMBER_DRAW_H

#include "types/members.h"

/* Of a collection whose members have no deadlines. */
struct member_counts {
	uint64_t count;   /* of members */
	uint64_t dead;    /* removed of this generation, see hash.h */
	uint64_t removed; /* of them, by the command, unsaved */
	uint64_t
		version; /* of a collection that does not count what is removed (a sorted set): its newest commit; else 0 */
	uint64_t bytes;    /* of all names and values, about */
	bool is_committed; /* no command of the transaction before this one has changed who is a member */
};

struct member_draw {
	const struct members *members;
	const struct drawn_state *state;
	uint64_t dead;           /* now */
	uint64_t places;         /* of a range */
	struct member_walk walk; /* its iterator is NULL: it was not needed yet */
	struct buffer note;
	/* The name that was drawn last: of the range that begins here, and where it is in `note`. */
	uint32_t begin;
	size_t at, size;
};
/* False: there are so few that a walk is cheaper, or so many that their names would take the room of all else, or it was not
 * drawn from before, or what the transaction has written is in the way. */
bool member_draw_begin(const struct members *, const struct member_counts *, struct member_draw *ret);
/* The `stored` of a member drawn at random, each with the same probability, until the next call. Not `ret_is_certain`: it may
 * be gone; then draw again. SETT_NOT_FOUND: none was hit in as many tries as are reasonable. */
int member_draw_next(struct member_draw *, struct bytes *ret_stored, bool *ret_is_certain);
/* The transaction has removed the member that was drawn last. */
int member_draw_taken(struct member_draw *);
void member_draw_end(struct member_draw *);

/* The transaction has added a member that was not there, to a collection that counts what is removed; `counts` after that. */
int member_draw_added(const struct members *, const struct member_counts *, struct bytes stored);
/* It has removed some, one command's in all. */
int member_draw_shrunk(const struct members *, const struct member_counts *);

#endif
