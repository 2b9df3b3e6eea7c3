/* Members of spread collections that a batch of commands is about to look at: their memory is asked for together, before the
 * first command runs (sett_engine_fetch). All of it is a hint: where something fails nothing is asked for. */
#ifndef SETT_TYPES_ELEMENTS_AHEAD_H
#define SETT_TYPES_ELEMENTS_AHEAD_H

#include "types/members.h"

enum { ELEMENTS_AHEAD_MAX = 64 };

struct elements_ahead {
	struct sett_engine *engine;
	struct keyspace_view *view;
	/* The key of the command before, and its members. */
	struct bytes key;
	unsigned db;
	bool is_spread;
	struct members members;
	struct sett_fetch fetches[ELEMENTS_AHEAD_MAX];
	size_t count;
};

void elements_ahead_begin(struct elements_ahead *, struct sett_engine *, struct keyspace_view *);
/* `names` begin with one of an element of the key; each `step`-th of so many is one. */
void elements_ahead_add(struct elements_ahead *, unsigned db, struct bytes key, const struct bytes *names,
			size_t count, size_t step);
void elements_ahead_fetch(const struct elements_ahead *);

#endif
