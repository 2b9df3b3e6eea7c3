/* What maxmemory amounts to. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "config/config.h"

static uint64_t
find_machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t total = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 1ULL << 30;
	FILE *limit = fopen("/sys/fs/cgroup/memory.max", "re");
	if (limit != NULL) {
		uint64_t bytes;
		/* "max" where there is none. */
		if (fscanf(limit, "%" SCNu64, &bytes) == 1 && bytes > 0 && bytes < total)
			total = bytes;
		fclose(limit);
	}
	return total;
}

/* Memory of the machine, or what the control group leaves of it: looked up once. */
static uint64_t
machine_memory(void)
{
	static uint64_t known; /* atomic, relaxed: whoever looks first finds the same */
	uint64_t found = __atomic_load_n(&known, __ATOMIC_RELAXED);
	if (found == 0) {
		found = find_machine_memory();
		__atomic_store_n(&known, found, __ATOMIC_RELAXED);
	}
	return found;
}

uint64_t
config_effective_memory(const struct config *config)
{
	uint64_t set = __atomic_load_n(&config->max_memory, __ATOMIC_RELAXED);
	if (set != 0)
		return set;
	uint64_t quarter = machine_memory() / 4;
	return quarter > 0 ? quarter : 1;
}
