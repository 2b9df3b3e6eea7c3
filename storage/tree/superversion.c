/* Superversions; see superversion.h. */
#include "superversion.h"

#include <assert.h>
#include <stdlib.h>

int
superversion_create(struct version *version, struct generation *const *newest_first, size_t count,
		    struct superversion **ret)
{
	assert(count > 0);
	struct superversion *sv = malloc(sizeof(*sv) + count * sizeof(sv->generations[0]));
	if (!sv)
		return SETT_NO_MEMORY;
	sv->references = 1;
	sv->version = version;
	version_retain(version);
	sv->generation_count = count;
	for (size_t i = 0; i < count; i++) {
		sv->generations[i] = newest_first[i];
		generation_retain(newest_first[i]);
	}
	*ret = sv;
	return SETT_OK;
}

void
superversion_retain(struct superversion *sv)
{
	uint64_t now = __atomic_add_fetch(&sv->references, 1, __ATOMIC_RELAXED);
	assert(now > 1);
	(void)now;
}

void
superversion_release(struct superversion *sv)
{
	if (!sv)
		return;
	uint64_t left = __atomic_sub_fetch(&sv->references, 1, __ATOMIC_ACQ_REL);
	assert(left != UINT64_MAX);
	if (left != 0)
		return;
	for (size_t i = 0; i < sv->generation_count; i++)
		generation_release(sv->generations[i]);
	version_release(sv->version);
	free(sv);
}

static void
run_release(struct rcu_deferred *deferred)
{
	superversion_release((struct superversion *)deferred);
}

void
superversion_release_later(struct superversion *sv)
{
	rcu_defer(&sv->deferred, run_release);
}
