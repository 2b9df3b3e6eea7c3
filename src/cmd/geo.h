/* What the files of geo commands share. */
#ifndef SETT_CMD_GEO_H
#define SETT_CMD_GEO_H

#include "cmd/zsets.h"
#include "types/geo.h"

/* Arguments, with Redis' error texts; false: the error reply is given. A place is two arguments, a unit one. */
bool context_place(struct command_context *, const struct bytes *arguments, struct geo_place *ret);
bool context_unit(struct command_context *, struct bytes argument, double *ret_metres);
/* "12.3456", and a pair of coordinates. */
void reply_distance(struct command_context *, double);
void reply_place(struct command_context *, struct geo_place);
/* The place of a member. SETT_NOT_FOUND. */
int find_place(struct zset *, struct bytes name, struct geo_place *ret);

#endif
