/* A dataset that is being read from Redis' files: clients are told LOADING, but for commands that may run meanwhile, and
 * INFO shows how far it is. */
#ifndef SETT_TXN_LOADING_H
#define SETT_TXN_LOADING_H

#include <stdbool.h>
#include <stdint.h>

/* All atomic, relaxed: figures that stand for themselves. */
struct loading {
	bool active;
	uint64_t began_ms, total_bytes, done_bytes;
	uint64_t keys,
		expired; /* of the last RDB file that was read; expired: keys past their deadlines, left out */
};

static inline bool
loading_is_active(const struct loading *l)
{
	return __builtin_expect(__atomic_load_n(&l->active, __ATOMIC_RELAXED), 0);
}

#endif
