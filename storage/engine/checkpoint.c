/* Checkpoints; see storage/checkpoint.h. Each step after the one before has returned:
 *
 *     make the directory, sync the one above
 *     end the newest generation, retire the active value-log file, wait for the flush
 *     take a picture: a version, and the manifest that says just that (version_set_picture)
 *     make LOCK; link its tables and the value-log files they point into; copy what is not sealed yet
 *     sync the directory
 *     write MANIFEST beside, sync, rename, sync the directory
 *
 * Invariants:
 *  1. The picture's version is held until the end: no file of it is removed meanwhile (I9).
 *  2. It is whole without a log: what it has is in tables, and `flushed` says up to which commit. The flush has
 *     synced the values that tables point at.
 *  3. A linked file never changes again. The one that commits write to may, so of that there is a copy. It is
 *     retired after the generation has ended: what the flushed commits point at is in files that are sealed, but
 *     for writes that are under way. */
#include "storage/checkpoint.h"

#include <assert.h>
#include <stdlib.h>

#include "engine_private.h"
#include "file_names.h"
#include "manifest.h"
#include "storage/base/sync_point.h"
#include "storage/keyring.h"
#include "value_log_format.h"
#include "version.h"

enum { COPY_SIZE = 1 << 20 };

struct value_file {
	uint64_t number, size;
	bool is_sealed, is_needed;
};

struct checkpoint {
	struct sett_engine *engine;
	const char *directory;
	struct sett_error *error;
	struct version *version;
	struct buffer manifest;
	uint64_t commit;
	struct value_file *values; /* by number */
	size_t value_count, value_capacity;
	bool out_of_memory;
};

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "checkpoint: out of memory");
}

/* ---- the directory ---- */

static int
refuse_name(void *arg, const char *name)
{
	struct checkpoint *c = arg;
	return sett_error_set(c->error, SETT_INVALID, 0, "%s is not empty: there is %s", c->directory, name);
}

static int
make_directory(struct checkpoint *c)
{
	struct vfs *vfs = c->engine->vfs;
	if (c->engine->options.in_memory)
		return sett_error_set(c->error, SETT_INVALID, 0,
				      "a database in memory has no files for a checkpoint");
	if (strlen(c->directory) >= SETT_PATH_MAX - 32)
		return sett_error_set(c->error, SETT_INVALID, 0, "%s: the path is too long", c->directory);
	int r = vfs_make_durable_directory(vfs, c->directory, c->error);
	return r == SETT_OK ? vfs_list(vfs, c->directory, refuse_name, c, c->error) : r;
}

struct discard {
	struct vfs *vfs;
	const char *directory;
	struct sett_error *error;
};

static int
discard_name(const struct discard *d, const char *name)
{
	char path[SETT_PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/%s", d->directory, name) >= (int)sizeof(path))
		return sett_error_set(d->error, SETT_INVALID, 0, "%s: the path is too long", d->directory);
	int r = vfs_remove(d->vfs, path, d->error);
	return r == SETT_NOT_FOUND ? SETT_OK : r;
}

bool
sett_checkpoint_has_name(const char *name)
{
	/* What an open has made of the checkpoint goes too. */
	static const char *const names[] = {"MANIFEST", "MANIFEST.tmp", "RESERVE",
					    "LOCK",     SETT_KEYS_NAME, SETT_KEYS_NAME ".tmp"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return file_name_is_numbered(name);
}

static int
discard_own(void *arg, const char *name)
{
	return sett_checkpoint_has_name(name) ? discard_name(arg, name) : SETT_OK;
}

int
sett_checkpoint_discard(struct vfs *vfs, const char *directory, struct sett_error *error)
{
	struct discard d = {vfs, directory, error};
	int r = discard_name(&d, "MANIFEST");
	if (r == SETT_OK)
		r = vfs_sync_directory(vfs, directory, error);
	if (r == SETT_NOT_FOUND)
		return SETT_OK;
	if (r == SETT_OK)
		r = vfs_list(vfs, directory, discard_own, &d, error);
	return r;
}

/* ---- what belongs to it ---- */

static int
compare_numbers(const void *a, const void *b)
{
	const struct value_file *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Calls `each` for every table until it fails. */
static int
each_table(struct checkpoint *c, int (*each)(struct checkpoint *, const struct table_file *))
{
	int r = SETT_OK;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		const struct level *level = &c->version->levels[l];
		for (size_t i = 0; r == SETT_OK && i < level->count; i++)
			r = each(c, level->tables[i]);
	}
	return r;
}

static void
note_value_file(void *arg, const struct value_log_file_info *info)
{
	struct checkpoint *c = arg;
	if (c->value_count == c->value_capacity) {
		size_t capacity = c->value_capacity ? 2 * c->value_capacity : 64;
		void *grown = reallocarray(c->values, capacity, sizeof(*c->values));
		if (!grown) {
			c->out_of_memory = true;
			return;
		}
		c->values = grown;
		c->value_capacity = capacity;
	}
	c->values[c->value_count++] =
		(struct value_file){.number = info->number, .size = info->size, .is_sealed = info->sealed};
}

static int
mark_references(struct checkpoint *c, const struct table_file *f)
{
	const struct table_properties *p = f->properties;
	for (size_t i = 0; i < p->reference_count; i++) {
		struct value_file key = {.number = p->references[i].file};
		struct value_file *found =
			bsearch(&key, c->values, c->value_count, sizeof(key), compare_numbers);
		assert(found); /* the table holds a reference (I9) */
		found->is_needed = true;
	}
	return SETT_OK;
}

/* Files that are made from now on are no business of the picture. */
static int
find_value_files(struct checkpoint *c)
{
	value_log_each_file(c->engine->value_log, note_value_file, c);
	if (c->out_of_memory)
		return out_of_memory(c->error);
	return c->value_count > 0 ? each_table(c, mark_references) : SETT_OK;
}

static bool
is_flushed(void *arg)
{
	const struct checkpoint *c = arg;
	return version_set_flushed(c->engine->versions) >= c->commit || !engine_is_flushing(c->engine);
}

static int
take_picture(struct checkpoint *c)
{
	struct sett_engine *engine = c->engine;
	int r = engine_end_newest(engine, &c->commit, c->error);
	if (r != SETT_OK)
		return r;
	value_log_retire_active(engine->value_log);
	r = engine_wait_for_flush(engine, is_flushed, c, c->error);
	if (r == SETT_OK)
		r = version_set_picture(engine->versions, &c->version, &c->manifest, &c->commit);
	if (r != SETT_OK)
		return r == SETT_NO_MEMORY ? out_of_memory(c->error) : r;
	return find_value_files(c);
}

/* ---- its files ---- */

static int
copy_bytes(struct checkpoint *c, struct vfs_file *from, struct vfs_file *to, uint64_t size)
{
	uint8_t *room = malloc(COPY_SIZE);
	if (!room)
		return out_of_memory(c->error);
	int r = SETT_OK;
	for (uint64_t at = 0; r == SETT_OK && at < size;) {
		size_t n, piece = size - at < COPY_SIZE ? (size_t)(size - at) : COPY_SIZE;
		/* Writes that are under way may lie at the end, or not be there yet: nothing points at them. */
		r = vfs_read(from, room, piece, at, 0, &n, c->error);
		if (r == SETT_OK && n == 0)
			break;
		if (r == SETT_OK)
			r = vfs_write_bytes(to, room, n, at, c->error);
		at += n;
	}
	free(room);
	return r == SETT_OK ? vfs_sync(to, c->error) : r;
}

static int
copy_file(struct checkpoint *c, const char *from_path, const char *to_path, uint64_t size)
{
	struct vfs *vfs = c->engine->vfs;
	struct vfs_file *from, *to;
	int r = vfs_open(vfs, from_path, VFS_READ | VFS_SEQUENTIAL, &from, c->error);
	if (r != SETT_OK)
		return r;
	r = vfs_open(vfs, to_path, VFS_READ | VFS_WRITE | VFS_CREATE, &to, c->error);
	if (r == SETT_OK) {
		r = copy_bytes(c, from, to, size);
		int closed = vfs_close(to, r == SETT_OK ? c->error : NULL);
		r = r == SETT_OK ? closed : r;
	}
	(void)vfs_close(from, NULL);
	return r;
}

static int
put_file(struct checkpoint *c, uint64_t number, const char *suffix, bool is_sealed, uint64_t size)
{
	char from[SETT_PATH_MAX], to[SETT_PATH_MAX];
	if (file_name_make(c->engine->directory, number, suffix, from) != SETT_OK ||
	    file_name_make(c->directory, number, suffix, to) != SETT_OK)
		return sett_error_set(c->error, SETT_INVALID, 0, "%s: the path is too long", c->directory);
	return is_sealed ? vfs_link(c->engine->vfs, from, to, c->error) : copy_file(c, from, to, size);
}

static int
put_table(struct checkpoint *c, const struct table_file *f)
{
	return put_file(c, f->number, ".sst", true, f->size);
}

/* Who opens it for reading alone makes no file: this is what tells a writer of him. */
static int
put_lock(struct checkpoint *c)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *lock;
	snprintf(path, sizeof(path), "%s/LOCK", c->directory); /* there is room: make_directory */
	int r = vfs_lock(c->engine->vfs, path, &lock, c->error);
	return r == SETT_OK ? vfs_close(lock, c->error) : r;
}

static int
put_files(struct checkpoint *c)
{
	int r = put_lock(c);
	if (r == SETT_OK && c->engine->vfs->keys)
		r = sett_keyring_copy(c->engine->vfs->keys, c->directory, c->error);
	if (r == SETT_OK)
		r = each_table(c, put_table);
	for (size_t i = 0; r == SETT_OK && i < c->value_count; i++) {
		const struct value_file *f = &c->values[i];
		if (f->is_needed)
			r = put_file(c, f->number, VALUE_LOG_SUFFIX, f->is_sealed, f->size);
	}
	return r == SETT_OK ? vfs_sync_directory(c->engine->vfs, c->directory, c->error) : r;
}

static int
make(struct checkpoint *c)
{
	struct manifest *manifest;
	int r = take_picture(c);
	SYNC_POINT("checkpoint: pictured");
	if (r == SETT_OK)
		r = put_files(c);
	if (r == SETT_OK)
		r = manifest_create(c->engine->vfs, c->directory, buffer_bytes(&c->manifest), &manifest,
				    c->error);
	if (r == SETT_OK)
		manifest_close(manifest);
	return r;
}

int
sett_checkpoint(struct sett_engine *engine, const char *directory, uint64_t *ret_commit,
		struct sett_error *error)
{
	struct checkpoint c = {.engine = engine, .directory = directory, .error = error};
	int r = make_directory(&c);
	if (r != SETT_OK)
		return r;
	r = make(&c);
	if (r != SETT_OK)
		(void)sett_checkpoint_discard(engine->vfs, directory, NULL);
	version_release(c.version);
	buffer_free(&c.manifest);
	free(c.values);
	if (r == SETT_OK && ret_commit)
		*ret_commit = c.commit;
	return r;
}
