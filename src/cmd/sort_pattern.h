/* The patterns of SORT's BY and GET: where the value that belongs to an element lies.
 *
 *     #                 the element itself
 *     before*after      the string under the key that has the element in place of the first '*'
 *     before*after->f   field f of the hash under that key
 *     anything else     nothing */
#ifndef SETT_CMD_SORT_PATTERN_H
#define SETT_CMD_SORT_PATTERN_H

#include "cmd/lookup.h"

struct sort_pattern {
	bool is_element;
	bool has_star;
	bool has_field;
	struct bytes before, after, field;
};

/* Slices of `text`. */
struct sort_pattern sort_pattern_parse(struct bytes text);
/* The value; false in `ret_exists` if there is none. It is valid until the transaction ends, or as long as the element.
 * `room` is for the key's name. Statuses of reading. */
int sort_pattern_value(struct command_context *, const struct sort_pattern *, struct bytes element,
		       struct buffer *room, struct bytes *ret, bool *ret_exists);

#endif
