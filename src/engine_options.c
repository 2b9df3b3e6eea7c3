/* See engine_options.h. */
#include "engine_options.h"

#include "memory_keeper.h"

enum sett_sync_policy
engine_sync_policy(const struct config *config)
{
	switch (__atomic_load_n(&config->sync, __ATOMIC_RELAXED)) {
	case CONFIG_SYNC_ALWAYS:
		return SETT_SYNC_ALWAYS;
	case CONFIG_SYNC_EVERYSEC:
		return SETT_SYNC_EVERYSEC;
	default:
		return SETT_SYNC_NO;
	}
}

void
engine_options_of(const struct config *config, struct sett_options *o)
{
	o->memory_budget = (size_t)memory_keeper_share(config_effective_memory(config));
	o->value_threshold = (size_t)config->value_threshold;
	o->value_log_file_size = config->value_log_file_size;
	o->space_amplification_limit = config->space_amplification_limit;
	o->table_compression = (enum sett_compression)config->table_compression;
	o->bottom_compression = (enum sett_compression)config->bottom_compression;
	o->value_compression = (enum sett_compression)config->value_compression;
	o->compression_level = config->compression_level;
	o->sync = engine_sync_policy(config);
	o->never_cut_log = !config->aof_load_truncated;
	o->workers = config->workers > 0 ? (unsigned)config->workers : 0;
}
