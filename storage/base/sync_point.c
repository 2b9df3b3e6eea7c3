/* Sync points; see storage/base/sync_point.h. */
#include "storage/base/sync_point.h"

#ifdef SETT_SYNC_POINTS

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static struct sync_point *armed; /* atomic */

void
sync_point_arm(struct sync_point *point)
{
	/* Release: partner of the load below. */
	__atomic_store_n(&armed, point, __ATOMIC_RELEASE);
}

void
sync_point_reach(const char *name)
{
	struct sync_point *point = __atomic_load_n(&armed, __ATOMIC_ACQUIRE);
	if (point == NULL || strcmp(point->name, name) != 0)
		return;
	/* One of several threads takes it. */
	if (__atomic_compare_exchange_n(&armed, &point, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		point->run(point->arg);
}

#endif
