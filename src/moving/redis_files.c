/* See redis_files.h. */
#include "moving/redis_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moving/aof_manifest.h"
#include "rdb/crc64.h"
#include "storage/base/varint.h"

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

/* ---- what is there ---- */

struct search {
	const struct config *config;
	struct redis_files *files;
	bool has_dump, has_append_file, has_append_directory;
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
	struct search *s = arg;
	if (is_of_database(name))
		s->files->has_database = true;
	else if (strcmp(name, s->config->dump_file) == 0)
		s->has_dump = true;
	else if (strcmp(name, s->config->append_file) == 0)
		s->has_append_file = true;
	else if (strcmp(name, s->config->append_directory) == 0)
		s->has_append_directory = true;
	return 0;
}

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
}

static int
add_file(struct redis_files *files, struct vfs *vfs, const char *directory, const char *name,
	 struct sett_error *error)
{
	char path[PATH_MAX];
	struct redis_file file;
	int size = snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "the path of %s is too long", name);
	int status = redis_file_fingerprint(vfs, path, &file.print, error);
	if (status == SETT_NOT_FOUND)
		return sett_error_set(error, status, 0, "%s can't be opened: No such file or directory",
				      path);
	if (status != SETT_OK)
		return status;
	struct redis_file *more = reallocarray(files->files, files->count + 1, sizeof(*more));
	if (more == NULL)
		return out_of_memory(error);
	files->files = more;
	file.path = strdup(path);
	if (file.path == NULL)
		return out_of_memory(error);
	files->files[files->count++] = file;
	return SETT_OK;
}

/* ---- the manifest ---- */

enum { MANIFEST_MAX = 1024 * 1024 };

/* SETT_NOT_FOUND: there is no manifest. */
static int
read_manifest(const char *path, struct vfs *vfs, struct buffer *ret, struct sett_error *error)
{
	struct vfs_file *file;
	uint64_t size;
	int status = vfs_open(vfs, path, VFS_READ, &file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(file, &size, error);
	if (status == SETT_OK && size > MANIFEST_MAX)
		status = sett_error_set(error, SETT_INVALID, 0, "%s is too long for a manifest", path);
	if (status == SETT_OK && buffer_reserve(ret, (size_t)size) != SETT_OK)
		status = out_of_memory(error);
	if (status == SETT_OK)
		status = vfs_read(file, ret->data, (size_t)size, 0, 0, &ret->size, error);
	int closed = vfs_close(file, status == SETT_OK ? error : NULL);
	return status != SETT_OK ? status : closed;
}

/* A base that has the name from before Redis 7 may still lie where that version had it: its move was cut off. */
static bool
lies_outside(const struct search *s, const struct aof_manifest *manifest, struct vfs *vfs,
	     const char *directory)
{
	char path[PATH_MAX];
	struct vfs_file *file;
	if (!manifest->has_base || !s->has_append_file ||
	    strcmp(manifest->names[0], s->config->append_file) != 0)
		return false;
	int size = snprintf(path, sizeof(path), "%s/%s", directory, manifest->names[0]);
	if (size < 0 || (size_t)size >= sizeof(path))
		return false; /* add_file says so */
	int status = vfs_open(vfs, path, VFS_READ, &file, NULL);
	if (status == SETT_OK)
		status = vfs_close(file, NULL);
	return status == SETT_NOT_FOUND;
}

static int
add_named_files(struct search *s, struct vfs *vfs, const char *directory, const char *path, struct bytes text,
		struct sett_error *error)
{
	struct aof_manifest manifest;
	int status = aof_manifest_parse(text, path, &manifest, error);
	if (status != SETT_OK)
		return status;
	bool outside = lies_outside(s, &manifest, vfs, directory);
	for (size_t i = 0; i < manifest.count && status == SETT_OK; i++)
		status = add_file(s->files, vfs, i == 0 && outside ? s->config->dir : directory,
				  manifest.names[i], error);
	aof_manifest_free(&manifest);
	return status;
}

/* The files that the manifest names. None if there is no manifest: then the directory is not Redis'. */
static int
add_directory(struct search *s, struct vfs *vfs, struct sett_error *error)
{
	const struct config *config = s->config;
	char directory[PATH_MAX], path[PATH_MAX];
	struct buffer text = {0};
	int size = snprintf(directory, sizeof(directory), "%s/%s", config->dir, config->append_directory);
	if (size < 0 || (size_t)size >= sizeof(directory))
		return sett_error_set(error, SETT_INVALID, 0, "the path of %s is too long",
				      config->append_directory);
	size = snprintf(path, sizeof(path), "%s/%s.manifest", directory, config->append_file);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "the path of %s is too long",
				      config->append_file);
	int status = read_manifest(path, vfs, &text, NULL);
	if (status == SETT_NOT_FOUND)
		return SETT_OK;
	if (status == SETT_OK)
		status = add_named_files(s, vfs, directory, path, buffer_bytes(&text), error);
	else
		sett_error_set(error, status, 0, "%s can't be read", path);
	buffer_free(&text);
	return status;
}

/* ---- the choice ---- */

static void
sum_up(struct redis_files *files)
{
	struct known_file all = {0};
	for (size_t i = 0; i < files->count; i++) {
		const struct known_file *print = &files->files[i].print;
		uint8_t both[16];
		files->size += print->size;
		put_le64(both, print->size);
		put_le64(both + 8, print->crc);
		all.size += print->size;
		all.crc = crc64(all.crc, bytes_of(both, sizeof(both)));
	}
	files->print = files->count == 1 ? files->files[0].print : all;
}

static int
choose(struct search *s, struct vfs *vfs, struct sett_error *error)
{
	const struct config *config = s->config;
	struct redis_files *files = s->files;
	int status = SETT_OK;
	if (s->has_append_directory && (config->append_only || !s->has_dump))
		status = add_directory(s, vfs, error);
	if (status == SETT_OK && files->count == 0 && s->has_append_file &&
	    (config->append_only || !s->has_dump))
		status = add_file(files, vfs, config->dir, config->append_file, error);
	files->is_aof = files->count > 0;
	if (status == SETT_OK && files->count == 0 && s->has_dump)
		status = add_file(files, vfs, config->dir, config->dump_file, error);
	files->has_others = files->is_aof ? s->has_dump : s->has_append_file || s->has_append_directory;
	sum_up(files);
	return status;
}

int
redis_files_find(const struct config *config, struct vfs *vfs, struct redis_files *ret,
		 struct sett_error *error)
{
	struct search search = {.config = config, .files = ret};
	*ret = (struct redis_files){0};
	int status = vfs_list(vfs, config->dir, look_at_name, &search, error);
	if (status == SETT_OK)
		status = choose(&search, vfs, error);
	if (status != SETT_OK)
		redis_files_free(ret);
	return status;
}

void
redis_files_free(struct redis_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->files[i].path);
	free(files->files);
	*files = (struct redis_files){.has_database = files->has_database};
}
