/* See redis_files.h. */
#include "moving/redis_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rdb/crc64.h"

struct search {
	const struct config *config;
	bool has_database;
	bool has_append_directory;
	const char *found; /* the configured name of the first of Redis' files */
};

static bool
ends_with(const char *name, const char *end)
{
	size_t size = strlen(name), end_size = strlen(end);
	return size > end_size && strcmp(name + size - end_size, end) == 0;
}

/* Tables and values without a manifest are damage, which opening the database reports. */
static bool
is_of_database(const char *name)
{
	return strcmp(name, "MANIFEST") == 0 || ends_with(name, ".sst") || ends_with(name, ".vlog");
}

static int
look_at_name(void *arg, const char *name)
{
	struct search *search = arg;
	const struct config *config = search->config;
	if (is_of_database(name))
		search->has_database = true;
	else if (strcmp(name, config->dump_file) == 0)
		search->found = config->dump_file;
	else if (strcmp(name, config->append_file) == 0)
		search->found = config->append_file;
	else if (strcmp(name, config->append_directory) == 0)
		search->has_append_directory = true;
	return 0;
}

static int
stop_at_first(void *arg, const char *name)
{
	return 1;
}

/* What cannot be listed (no leave to read it, or a file of that name) counts as full. */
static bool
is_empty_directory(struct vfs *vfs, const char *parent, const char *name)
{
	char path[PATH_MAX];
	int size = snprintf(path, sizeof(path), "%s/%s", parent, name);
	return size > 0 && (size_t)size < sizeof(path) && vfs_list(vfs, path, stop_at_first, NULL, NULL) == 0;
}

int
redis_files_check(const struct config *config, struct vfs *vfs, const struct log_sink *sink,
		  struct sett_error *error)
{
	struct search search = {.config = config};
	int status = vfs_list(vfs, config->dir, look_at_name, &search, error);
	if (status != SETT_OK)
		return status;
	if (search.found == NULL && search.has_append_directory &&
	    !is_empty_directory(vfs, config->dir, config->append_directory))
		search.found = config->append_directory;
	if (search.found == NULL)
		return SETT_OK;
	if (!search.has_database && !config->ignore_redis_files)
		return sett_error_set(
			error, SETT_INVALID, 0,
			"%s/%s holds data of Redis, which Sett cannot read yet, and there is no "
			"Sett database beside it. Set dir to another directory, or start once "
			"with --ignore-redis-files yes to begin empty and leave the file as it is",
			config->dir, search.found);
	log_sink_printf(sink, LOG_LEVEL_WARNING,
			"%s/%s holds data of Redis and is not read: the data served is the Sett database's",
			config->dir, search.found);
	return SETT_OK;
}

/* ---- telling files apart ---- */

enum { EDGE_SIZE = 64 * 1024 };

static int
sum_edges(struct vfs_file *file, uint8_t *edge, struct known_file *ret, struct sett_error *error)
{
	uint64_t size;
	size_t got;
	int status = vfs_size(file, &size, error);
	if (status == SETT_OK)
		status = vfs_read(file, edge, EDGE_SIZE, 0, 0, &got, error);
	if (status != SETT_OK)
		return status;
	uint64_t crc = crc64(0, bytes_of(edge, got));
	if (size > EDGE_SIZE) {
		status = vfs_read(file, edge, EDGE_SIZE, size - EDGE_SIZE, 0, &got, error);
		if (status != SETT_OK)
			return status;
		crc = crc64(crc, bytes_of(edge, got));
	}
	*ret = (struct known_file){.size = size, .crc = crc};
	return SETT_OK;
}

int
redis_file_fingerprint(struct vfs *vfs, const char *path, struct known_file *ret, struct sett_error *error)
{
	struct vfs_file *file;
	int status = vfs_open(vfs, path, VFS_READ, &file, error);
	if (status != SETT_OK)
		return status;
	uint8_t *edge = malloc(EDGE_SIZE);
	status = edge != NULL ? sum_edges(file, edge, ret, error)
			      : sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	free(edge);
	int closed = vfs_close(file, status == SETT_OK ? error : NULL);
	return status != SETT_OK ? status : closed;
}
