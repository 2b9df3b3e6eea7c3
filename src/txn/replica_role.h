/* A server that follows a master, as commands see it: what its clients may do. moving/follower.h fills it. */
#ifndef SETT_TXN_REPLICA_ROLE_H
#define SETT_TXN_REPLICA_ROLE_H

#include <stdbool.h>

/* Atomic, relaxed: each stands for itself. `active` changes under the commit lock. */
struct replica_role {
	bool active;     /* it is a replica */
	bool link_is_up; /* and what the master does comes in */
};

static inline bool
replica_role_is_active(const struct replica_role *f)
{
	return __builtin_expect(__atomic_load_n(&f->active, __ATOMIC_RELAXED), 0);
}

#endif
