/* See overlay.h.
 *
 *     open, list   a name that is in memory, else that of the base unless it is hidden
 *     create       in memory; what the base has under the name is hidden
 *     remove       from memory; what the base has under the name is hidden
 *
 * Files are those of the two file systems below: only names are looked up here.
 *
 * Invariant: a name that was ever in memory is hidden in the base. So what was removed does not come back. */
#include "overlay.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/bytes.h"
#include "storage/base/thread.h"
#include "storage/limits.h"

#define MEMORY_DIRECTORY "overlay"

struct overlay {
	struct vfs vfs;
	struct vfs *base, *memory;
	struct mutex lock;    /* what follows, and the names in memory */
	struct buffer hidden; /* names, each ended by a zero byte */
	char directory[SETT_PATH_MAX];
};

static struct overlay *
overlay_of(struct vfs *vfs)
{
	return (struct overlay *)vfs;
}

/* What a path of the directory names; "" for the directory itself. */
static const char *
name_in(const struct overlay *o, const char *path)
{
	size_t n = strlen(o->directory);
	assert(strncmp(path, o->directory, n) == 0 && (path[n] == '/' || path[n] == 0));
	return path[n] == '/' ? path + n + 1 : "";
}

struct memory_path {
	char text[SETT_PATH_MAX + sizeof(MEMORY_DIRECTORY) + 1];
};

static const char *
in_memory(const struct overlay *o, const char *path, struct memory_path *ret)
{
	const char *name = name_in(o, path);
	snprintf(ret->text, sizeof(ret->text), MEMORY_DIRECTORY "%s%s", *name ? "/" : "", name);
	return ret->text;
}

static bool
is_hidden_locked(const struct overlay *o, const char *name) REQUIRES(&o->lock)
{
	const char *at = (const char *)o->hidden.data, *end = at + o->hidden.size;
	for (; at != end; at += strlen(at) + 1)
		if (strcmp(at, name) == 0)
			return true;
	return false;
}

static int
hide_locked(struct overlay *o, const char *name) REQUIRES(&o->lock)
{
	return is_hidden_locked(o, name) ? SETT_OK : buffer_append(&o->hidden, name, strlen(name) + 1);
}

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
}

static int
not_found(const char *path, struct sett_error *error)
{
	return sett_error_set(error, SETT_NOT_FOUND, 0, "%s: there is no such file", path);
}

static int
refuse(const char *path, struct sett_error *error)
{
	return sett_error_set(error, SETT_READ_ONLY, 0, "%s: the database is open for reading alone", path);
}

static int
open_locked(struct overlay *o, const char *path, unsigned flags, struct vfs_file **ret,
	    struct sett_error *error) REQUIRES(&o->lock)
{
	struct memory_path inner;
	const char *name = name_in(o, path);
	if ((flags & VFS_CREATE) != 0 && hide_locked(o, name) != SETT_OK)
		return out_of_memory(error);
	int r = vfs_open(o->memory, in_memory(o, path, &inner), flags, ret, error);
	if (r != SETT_NOT_FOUND || (flags & VFS_CREATE) != 0)
		return r;
	if (is_hidden_locked(o, name))
		return not_found(path, error);
	return flags & VFS_WRITE ? refuse(path, error) : vfs_open(o->base, path, flags, ret, error);
}

static int
overlay_open(struct vfs *vfs, const char *path, unsigned flags, struct vfs_file **ret,
	     struct sett_error *error)
{
	struct overlay *o = overlay_of(vfs);
	mutex_lock(&o->lock);
	int r = open_locked(o, path, flags, ret, error);
	mutex_unlock(&o->lock);
	return r;
}

static int
overlay_remove(struct vfs *vfs, const char *path, struct sett_error *error)
{
	struct overlay *o = overlay_of(vfs);
	struct memory_path inner;
	struct vfs_file *file;
	mutex_lock(&o->lock);
	int r = vfs_remove(o->memory, in_memory(o, path, &inner), error);
	if (r == SETT_NOT_FOUND && !is_hidden_locked(o, name_in(o, path))) {
		r = vfs_open(o->base, path, VFS_READ, &file, error);
		if (r == SETT_OK) {
			(void)vfs_close(file, NULL); /* it was only looked for */
			r = hide_locked(o, name_in(o, path)) == SETT_OK ? SETT_OK : out_of_memory(error);
		}
	}
	mutex_unlock(&o->lock);
	return r;
}

/* Only what is in memory is ever renamed: a new file to its name. */
static int
overlay_rename(struct vfs *vfs, const char *from, const char *to, struct sett_error *error)
{
	struct overlay *o = overlay_of(vfs);
	struct memory_path a, b;
	mutex_lock(&o->lock);
	int r = hide_locked(o, name_in(o, to)) == SETT_OK ? SETT_OK : out_of_memory(error);
	if (r == SETT_OK)
		r = vfs_rename(o->memory, in_memory(o, from, &a), in_memory(o, to, &b), error);
	mutex_unlock(&o->lock);
	return r;
}

static int
overlay_link(struct vfs *vfs, const char *from, const char *to, struct sett_error *error)
{
	return refuse(to, error);
}

static int
overlay_make_directory(struct vfs *vfs, const char *path, struct sett_error *error)
{
	return refuse(path, error);
}

struct listing {
	struct overlay *o;
	int (*each)(void *arg, const char *name);
	void *arg;
};

static int
list_unhidden(void *arg, const char *name)
{
	const struct listing *l = arg;
	mutex_lock(&l->o->lock);
	bool hidden = is_hidden_locked(l->o, name);
	mutex_unlock(&l->o->lock);
	return hidden ? SETT_OK : l->each(l->arg, name);
}

static int
overlay_list(struct vfs *vfs, const char *path, int (*each)(void *, const char *), void *arg,
	     struct sett_error *error)
{
	struct overlay *o = overlay_of(vfs);
	struct listing l = {o, each, arg};
	int r = vfs_list(o->memory, MEMORY_DIRECTORY, each, arg, error);
	return r == SETT_OK ? vfs_list(o->base, path, list_unhidden, &l, error) : r;
}

static int
overlay_lock(struct vfs *vfs, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	struct overlay *o = overlay_of(vfs);
	struct memory_path inner;
	int r = vfs_lock_shared(o->base, path, ret, error);
	return r == SETT_NOT_FOUND ? vfs_lock(o->memory, in_memory(o, path, &inner), ret, error) : r;
}

static int
overlay_free_space(struct vfs *vfs, const char *path, uint64_t *ret, struct sett_error *error)
{
	return vfs_free_space(overlay_of(vfs)->memory, MEMORY_DIRECTORY, ret, error);
}

static void
overlay_destroy(struct vfs *vfs)
{
	struct overlay *o = overlay_of(vfs);
	if (o->memory)
		o->memory->operations->destroy(o->memory);
	buffer_free(&o->hidden);
	mutex_destroy(&o->lock);
	free(o);
}

/* Of files there are none: they belong to the file systems below. */
static const struct vfs_operations overlay_operations = {
	.open = overlay_open,
	.remove = overlay_remove,
	.rename = overlay_rename,
	.link = overlay_link,
	.make_directory = overlay_make_directory,
	.list = overlay_list,
	.lock = overlay_lock,
	.lock_shared = overlay_lock,
	.free_space = overlay_free_space,
	.destroy = overlay_destroy,
};

int
overlay_create(struct vfs *base, const char *directory, struct vfs **ret)
{
	assert(strlen(directory) < SETT_PATH_MAX);
	struct overlay *o = calloc(1, sizeof(*o));
	if (!o)
		return SETT_NO_MEMORY;
	o->vfs.operations = &overlay_operations;
	o->vfs.keys = base->keys;
	o->base = base;
	mutex_init(&o->lock);
	memcpy(o->directory, directory, strlen(directory) + 1);
	o->memory = vfs_memory_create_volatile();
	int r = o->memory ? vfs_make_directory(o->memory, MEMORY_DIRECTORY, NULL) : SETT_NO_MEMORY;
	/* Room that is kept on the disk for writes: none come. */
	mutex_lock(&o->lock);
	if (r == SETT_OK)
		r = hide_locked(o, "RESERVE");
	mutex_unlock(&o->lock);
	if (r != SETT_OK) {
		overlay_destroy(&o->vfs);
		return r;
	}
	*ret = &o->vfs;
	return SETT_OK;
}
