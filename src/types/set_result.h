/* Unions, intersections and differences of sets, member by member: nothing is gathered in memory, so sets may be of any size.
 *
 * A union walks one set after the other and leaves out what is in a set before; an intersection walks the first
 * set and keeps what is in all others, a difference what is in none of them. Sets of one epoch are ordered alike, so that
 * lookups in the others move through them in order. */
#ifndef SETT_TYPES_SET_RESULT_H
#define SETT_TYPES_SET_RESULT_H

#include "types/hash.h"

enum set_operation { SET_UNION, SET_INTERSECTION, SET_DIFFERENCE };

struct set_result {
	enum set_operation operation;
	struct hash *const *sets;
	size_t count;
	size_t at; /* the set that is walked */
	bool is_walking;
	struct hash_walk walk;
};

/* Puts the sets in the order that costs least; the first of a difference stays the first. */
void set_result_order(enum set_operation, struct hash **sets, size_t count);
/* How many of them, from the first on, are walked. */
size_t set_result_walked(enum set_operation, size_t count);
/* There is at least one set. The sets must not change before set_result_close. */
void set_result_init(struct set_result *, enum set_operation, struct hash *const *sets, size_t count);
/* The next member, valid until the next call; SETT_NOT_FOUND at the end. Of a hash its fields, past their deadlines left
 * out. */
int set_result_next(struct set_result *, struct hash_field *ret);
void set_result_close(struct set_result *);

/* Where a walk is, to go on in another transaction of the same snapshot. */
struct set_place {
	size_t at;
	size_t offset; /* in a packed set */
	uint32_t hash; /* in a spread set: the last member's */
	struct bytes stored;
};
/* After set_result_next gave `last`. `stored` is a slice of it. */
void set_result_place(const struct set_result *, const struct hash_field *last, struct set_place *ret);
/* Directly after set_result_init. SETT_CORRUPT, ... */
int set_result_resume(struct set_result *, const struct set_place *);

#endif
