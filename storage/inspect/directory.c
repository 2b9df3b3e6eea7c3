/* Listing and locking a directory that is only looked at. */
#include "directory.h"

#include <stdlib.h>

#include "archive_format.h"
#include "log_format.h"
#include "storage/keyring.h"
#include "value_log_format.h"
#include "version.h"

#define MANIFEST_NAME "MANIFEST"
#define HISTORY_NAME "sett-history" /* the server's, beside the database (docs/format-history.md) */

bool
array_grow(void **array, size_t count, size_t *capacity, size_t element)
{
	if (count < *capacity)
		return true;
	size_t wanted = *capacity ? 2 * *capacity : 16;
	void *grown = reallocarray(*array, wanted, element);
	if (grown == NULL)
		return false;
	*array = grown;
	*capacity = wanted;
	return true;
}

bool
sett_file_classify(const char *name, enum sett_file_kind *ret, uint64_t *ret_number)
{
	if (table_name_parse(name, ret_number)) {
		*ret = SETT_FILE_TABLE;
	} else if (file_name_parse(name, LOG_SUFFIX, ret_number)) {
		*ret = SETT_FILE_LOG;
	} else if (file_name_parse(name, VALUE_LOG_SUFFIX, ret_number)) {
		*ret = SETT_FILE_VALUE_LOG;
	} else if (strcmp(name, MANIFEST_NAME) == 0) {
		*ret = SETT_FILE_MANIFEST;
		*ret_number = 0;
	} else {
		return false;
	}
	return true;
}

struct found_file *
found_files_find(const struct found_files *list, uint64_t number)
{
	size_t low = 0, high = list->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (list->files[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && list->files[low].number == number ? &list->files[low] : NULL;
}

static int
compare_files(const void *a, const void *b)
{
	const struct found_file *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int
file_size(const struct directory *d, const char *name, uint64_t *ret)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	if (snprintf(path, sizeof(path), "%s/%s", d->path, name) >= (int)sizeof(path))
		return SETT_INVALID;
	int r = vfs_open(d->vfs, path, VFS_READ, &file, NULL);
	if (r != SETT_OK)
		return r;
	r = vfs_size(file, ret, NULL);
	(void)vfs_close(file, NULL);
	return r;
}

static int
note_stranger(struct directory *d, const char *name)
{
	struct buffer *b = &d->strangers;
	if (buffer_reserve(b, strlen(name) + 3) != SETT_OK)
		return SETT_NO_MEMORY;
	int n = snprintf((char *)b->data + b->size, b->capacity - b->size, "%s%s", b->size ? ", " : "", name);
	b->size += (size_t)n;
	return SETT_OK;
}

static int
note_name(void *arg, const char *name)
{
	struct directory *d = arg;
	enum sett_file_kind kind;
	uint64_t number, size = 0;
	if (strcmp(name, "LOCK") == 0 || strcmp(name, "RESERVE") == 0 || strcmp(name, SETT_KEYS_NAME) == 0 ||
	    strcmp(name, SETT_KEYS_NAME ".tmp") == 0)
		return SETT_OK;
	if (strcmp(name, HISTORY_NAME) == 0)
		return SETT_OK;
	if (strcmp(name, ARCHIVE_STATE_NAME) == 0 || strcmp(name, ARCHIVE_STATE_NAME ".tmp") == 0)
		return SETT_OK;
	if (strcmp(name, SETT_RESTORING_NAME) == 0) {
		d->is_half_restored = true;
		return SETT_OK;
	}
	if (strcmp(name, MANIFEST_NAME ".tmp") == 0) {
		d->has_new_manifest = true;
		return SETT_OK;
	}
	if (!sett_file_classify(name, &kind, &number))
		return note_stranger(d, name);
	/* One that can't be opened counts as empty here; whoever needs it says so. */
	(void)file_size(d, name, &size);
	d->bytes += size;
	d->file_count++;
	if (kind == SETT_FILE_MANIFEST) {
		d->has_manifest = true;
		d->manifest_size = size;
		return SETT_OK;
	}
	struct found_files *list = kind == SETT_FILE_TABLE ? &d->tables
		: kind == SETT_FILE_LOG                    ? &d->segments
							   : &d->value_files;
	if (!array_grow((void **)&list->files, list->count, &list->capacity, sizeof(*list->files)))
		return SETT_NO_MEMORY;
	list->files[list->count++] = (struct found_file){number, size};
	return SETT_OK;
}

static void
sort_files(struct found_files *list)
{
	if (list->count > 0)
		qsort(list->files, list->count, sizeof(*list->files), compare_files);
}

static int
lock_directory(struct directory *d, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/LOCK", d->path) >= (int)sizeof(path) - 32)
		return sett_error_set(error, SETT_INVALID, 0, "The directory's path is too long: %s",
				      d->path);
	int r = vfs_lock_shared(d->vfs, path, &d->lock, error);
	if (r == SETT_LOCKED)
		return sett_error_set(error, r, 0, "%s: a server has it open; stop it first", d->path);
	return r == SETT_NOT_FOUND ? SETT_OK : r;
}

static int
refuse_without_key(const struct directory *d, struct sett_error *error)
{
	bool is_encrypted = false;
	int r = d->vfs->keys ? SETT_OK : sett_keys_exist(d->vfs, d->path, &is_encrypted, error);
	return r == SETT_OK && is_encrypted
		? sett_error_set(error, SETT_INVALID, 0,
				 "%s: the database is encrypted, and no key was given", d->path)
		: r;
}

int
directory_open(struct vfs *vfs, const char *path, struct directory *ret, struct sett_error *error)
{
	struct directory d = {.vfs = vfs ? vfs : vfs_posix(), .path = path};
	int r = refuse_without_key(&d, error);
	if (r == SETT_OK)
		r = lock_directory(&d, error);
	if (r == SETT_OK)
		r = vfs_list(d.vfs, path, note_name, &d, error);
	if (r == SETT_NOT_FOUND)
		sett_error_set(error, r, 0, "%s: no such directory", path);
	else if (r == SETT_NO_MEMORY)
		sett_error_set(error, r, 0, "%s: out of memory", path);
	if (r == SETT_OK && d.file_count == 0)
		r = sett_error_set(error, SETT_NOT_FOUND, 0, "%s: there is no database in it", path);
	if (r != SETT_OK) {
		directory_close(&d);
		return r;
	}
	sort_files(&d.tables);
	sort_files(&d.segments);
	sort_files(&d.value_files);
	*ret = d;
	return SETT_OK;
}

void
directory_close(struct directory *d)
{
	if (d->lock)
		(void)vfs_close(d->lock, NULL);
	free(d->tables.files);
	free(d->segments.files);
	free(d->value_files.files);
	buffer_free(&d->strangers);
	*d = (struct directory){0};
}
