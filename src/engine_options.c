/* See engine_options.h. */
#include "engine_options.h"

#include <stdio.h>

#include "memory_keeper.h"
#include "storage/limits.h"

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

static uint64_t
number_of(const int64_t *field)
{
	/* relaxed: CONFIG SET may change it at any time; the number stands for itself */
	return (uint64_t)__atomic_load_n(field, __ATOMIC_RELAXED);
}

bool
engine_archive_options(const struct config *config, char path[SETT_PATH_MAX], struct sett_archive_options *o)
{
	enum { MS_PER_SECOND = 1000 };
	const char *name = config->archive_directory;
	if (name[0] == '\0')
		return false;
	int size = snprintf(path, SETT_PATH_MAX, "%s%s%s", name[0] == '/' ? "" : config->dir,
			    name[0] == '/' ? "" : "/", name);
	if (size < 0 || size >= SETT_PATH_MAX)
		path[0] = '\0'; /* which the engine refuses */
	*o = (struct sett_archive_options){
		.directory = path,
		.interval_ms = number_of(&config->archive_interval) * MS_PER_SECOND,
		.limit_bytes = number_of(&config->archive_limit_bytes),
		.retention_ms = number_of(&config->archive_retention_seconds) * MS_PER_SECOND,
		.retention_bytes = number_of(&config->archive_retention_bytes)};
	return true;
}
