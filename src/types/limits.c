#include "types/limits.h"

/* Relaxed, all of them: numbers that stand for themselves. */

static size_t
size_within_root(const struct config *config)
{
	return (size_t)__atomic_load_n(&config->packed_max_size, __ATOMIC_RELAXED);
}

struct hash_limits
limits_of_hashes(const struct config *config)
{
	return (struct hash_limits){
		.packed_size = size_within_root(config),
		.listpack_entries =
			(uint64_t)__atomic_load_n(&config->hash_max_listpack_entries, __ATOMIC_RELAXED),
		.listpack_value =
			(uint64_t)__atomic_load_n(&config->hash_max_listpack_value, __ATOMIC_RELAXED),
	};
}

struct hash_limits
limits_of_zsets(const struct config *config)
{
	return (struct hash_limits){
		.packed_size = size_within_root(config),
		.listpack_entries =
			(uint64_t)__atomic_load_n(&config->zset_max_listpack_entries, __ATOMIC_RELAXED),
		.listpack_value =
			(uint64_t)__atomic_load_n(&config->zset_max_listpack_value, __ATOMIC_RELAXED),
	};
}

struct set_limits
limits_of_sets(const struct config *config)
{
	return (struct set_limits){
		.packed_size = size_within_root(config),
		.intset_entries =
			(uint64_t)__atomic_load_n(&config->set_max_intset_entries, __ATOMIC_RELAXED),
	};
}

size_t
limits_of_runs(const struct config *config)
{
	size_t packed = size_within_root(config), threshold = (size_t)config->value_threshold;
	return threshold > packed && threshold <= 2 * packed ? threshold - 1 : packed;
}
