/* The in-memory file system, for tests: fast, and honest about power cuts.
 *
 * Paths are walked from one root, whether they begin with a slash or not; "." components are skipped, ".." is
 * refused. A directory is itself an entry of its parent: until the parent is synced, a power cut may take it
 * with all that is in it.
 *
 * Invariants
 *  - `mutex` covers every node. It is never held while foreign code runs (`at` of vfs_memory_on_operation,
 *    `each` of a listing), so that code may call back, e.g. to make a crash clone.
 *  - A sync makes durable what was written before it was called, not what came while it was held up. */
#include "storage/vfs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory_node.h"
#include "storage/base/random.h"
#include "storage/base/thread.h"
#include "vfs_error.h"

/* What free_space says: as much as a large disk. */
#define MEMORY_FREE_SPACE (1ULL << 40)

struct memory_vfs {
	struct vfs base;
	struct mutex mutex; /* all below */
	struct condition sync_released;
	struct memory_node *root;
	uint64_t next_id;   /* of nodes */
	uint64_t next_pass; /* of crash clones */
	uint64_t open_files;
	bool hold_sync;

	uint64_t operations, stop_at;
	void (*at)(void *arg); /* NULL once called */
	void *at_arg;

	unsigned cold_percent;
	struct random cold_random;
	uint64_t capacity; /* bytes that all files may have; 0: no limit */
};

enum lock_kind { NO_LOCK, LOCK_SHARED, LOCK_EXCLUSIVE };

struct memory_file {
	struct vfs_file base;
	struct memory_node *node; /* one reference */
	unsigned flags;
	enum lock_kind lock;
	char path[]; /* for error texts */
};

static const struct vfs_operations memory_operations;

static struct memory_vfs *
memory_of(struct vfs *v)
{
	assert(v->operations == &memory_operations);
	return (struct memory_vfs *)v;
}

static struct memory_file *
memory_file_of(struct vfs_file *f)
{
	return (struct memory_file *)f;
}

/* Bytes of all files that have a name. */
static uint64_t
used_bytes(const struct memory_node *n)
{
	uint64_t sum = n->is_directory ? 0 : n->current.size;
	for (size_t i = 0; n->is_directory && i < n->entries.count; i++)
		sum += used_bytes(n->entries.list[i].node);
	return sum;
}

/* Whether a file may become `size` bytes long. */
static bool
has_room(const struct memory_vfs *m, const struct memory_file *f, uint64_t size)
{
	uint64_t before = f->node->current.size;
	return m->capacity == 0 || size <= before || used_bytes(m->root) + (size - before) <= m->capacity;
}

/* Counts an operation that changes something; called without the mutex, before anything is done. */
static void
count_operation(struct memory_vfs *m)
{
	void (*at)(void *arg) = NULL;
	mutex_lock(&m->mutex);
	if (++m->operations == m->stop_at) {
		at = m->at;
		m->at = NULL;
	}
	void *arg = m->at_arg;
	mutex_unlock(&m->mutex);
	if (at != NULL)
		at(arg);
}

/* The status of a node operation, with a text. */
static int
explain(int status, const char *call, const char *path, struct sett_error *error)
{
	if (status == SETT_OK)
		return SETT_OK;
	return vfs_system_error(error, status == SETT_NO_SPACE ? ENOSPC : ENOMEM, call, path);
}

/* ---- paths ---- */

/* Takes the next component off *path into `name`. 0 at the end, 1 if there was one, else a negative errno. */
static int
next_component(const char **path, char name[MEMORY_NAME_MAX + 1])
{
	const char *p = *path;
	for (;;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		*path = p + n;
		if (n == 0)
			return 0;
		if (n == 1 && p[0] == '.') {
			p += n;
			continue;
		}
		if (n > MEMORY_NAME_MAX)
			return -ENAMETOOLONG;
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return -EINVAL;
		memcpy(name, p, n);
		name[n] = '\0';
		return 1;
	}
}

/* Finds the directory that holds, or would hold, the last component, and that component; `name` is empty for
 * the root itself. Borrowed. 0 or an errno. */
static int
walk_locked(struct memory_vfs *m, const char *path, struct memory_node **ret_parent,
	    char name[MEMORY_NAME_MAX + 1]) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	struct memory_node *at = m->root;
	int more = next_component(&path, name);
	if (more <= 0)
		name[0] = '\0';
	while (more > 0) {
		char next[MEMORY_NAME_MAX + 1];
		more = next_component(&path, next);
		if (more <= 0)
			break;
		at = memory_entries_find(&at->entries, name);
		if (at == NULL)
			return ENOENT;
		if (!at->is_directory)
			return ENOTDIR;
		memcpy(name, next, sizeof next);
	}
	*ret_parent = at;
	return -more;
}

/* The node of a path, borrowed. 0 or an errno. */
static int
find_locked(struct memory_vfs *m, const char *path, struct memory_node **ret) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char name[MEMORY_NAME_MAX + 1];
	struct memory_node *parent, *node;
	int error = walk_locked(m, path, &parent, name);
	if (error != 0)
		return error;
	node = name[0] == '\0' ? parent : memory_entries_find(&parent->entries, name);
	if (node == NULL)
		return ENOENT;
	*ret = node;
	return 0;
}

/* Makes a node under a name that is free. 0 or an errno. */
static int
create_locked(struct memory_vfs *m, struct memory_node *parent, const char *name, bool is_directory,
	      struct memory_node **ret) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	struct memory_node *node = memory_node_new(is_directory, m->next_id++);
	if (node == NULL)
		return ENOMEM;
	node->is_volatile = m->root->is_volatile;
	int status = memory_directory_change(parent, NULL, name, node);
	memory_node_unref(node); /* the entry holds it now */
	if (status != SETT_OK)
		return ENOMEM;
	*ret = node;
	return 0;
}

/* ---- files ---- */

/* Finds or makes the file to open; borrowed. 0 or an errno. */
static int
open_node_locked(struct memory_vfs *m, const char *path, bool create, bool exclusive,
		 struct memory_node **ret) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char name[MEMORY_NAME_MAX + 1];
	struct memory_node *parent;
	int error = walk_locked(m, path, &parent, name);
	if (error != 0)
		return error;
	if (name[0] == '\0')
		return EISDIR;
	struct memory_node *node = memory_entries_find(&parent->entries, name);
	if (node == NULL)
		return create ? create_locked(m, parent, name, false, ret) : ENOENT;
	if (exclusive)
		return EEXIST;
	if (node->is_directory)
		return EISDIR;
	*ret = node;
	return 0;
}

static bool
lock_node_locked(struct memory_node *node, enum lock_kind lock)
{
	if (lock == LOCK_EXCLUSIVE ? node->locks != 0 : lock == LOCK_SHARED && node->locks < 0)
		return false;
	node->locks += lock == LOCK_EXCLUSIVE ? -1 : lock == LOCK_SHARED;
	return true;
}

static int
open_file(struct vfs *v, const char *path, unsigned flags, enum lock_kind lock, struct vfs_file **ret,
	  struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	size_t path_size = strlen(path) + 1;
	struct memory_file *f = malloc(sizeof *f + path_size);
	if (f == NULL)
		return vfs_system_error(error, ENOMEM, "open", path);
	*f = (struct memory_file){.base.vfs = v, .flags = flags, .lock = lock};
	memcpy(f->path, path, path_size);

	bool exclusive = (flags & VFS_CREATE) != 0, is_directory = (flags & VFS_DIRECTORY) != 0;
	mutex_lock(&m->mutex);
	struct memory_node *node;
	int system_errno = is_directory
		? find_locked(m, path, &node)
		: open_node_locked(m, path, exclusive || lock == LOCK_EXCLUSIVE, exclusive, &node);
	if (system_errno == 0 && is_directory && !node->is_directory)
		system_errno = ENOTDIR;
	if (system_errno == 0 && !lock_node_locked(node, lock))
		system_errno = EAGAIN;
	if (system_errno == 0) {
		f->node = memory_node_ref(node);
		m->open_files++;
	}
	mutex_unlock(&m->mutex);
	if (system_errno != 0) {
		free(f);
		if (system_errno == EAGAIN)
			return sett_error_set(error, SETT_LOCKED, EAGAIN, "lock %s: held already", path);
		return vfs_system_error(error, system_errno, "open", path);
	}
	*ret = &f->base;
	return SETT_OK;
}

static int
memory_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	if ((flags & (VFS_READ | VFS_WRITE)) == 0)
		return sett_error_set(error, SETT_INVALID, 0, "open %s: neither for reading nor for writing",
				      path);
	if (flags & VFS_CREATE)
		count_operation(memory_of(v));
	return open_file(v, path, flags, NO_LOCK, ret, error);
}

static int
memory_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return open_file(v, path, VFS_READ | VFS_WRITE, LOCK_EXCLUSIVE, ret, error);
}

static int
memory_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return open_file(v, path, VFS_READ, LOCK_SHARED, ret, error);
}

static int
memory_close(struct vfs_file *file, struct sett_error *error)
{
	struct memory_file *f = memory_file_of(file);
	struct memory_vfs *m = memory_of(file->vfs);
	mutex_lock(&m->mutex);
	f->node->locks += f->lock == LOCK_EXCLUSIVE ? 1 : f->lock == LOCK_SHARED ? -1 : 0;
	memory_node_unref(f->node);
	assert(m->open_files > 0);
	m->open_files--;
	mutex_unlock(&m->mutex);
	free(f);
	return SETT_OK;
}

static int
memory_read(struct vfs_file *file, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	    struct sett_error *error)
{
	struct memory_file *f = memory_file_of(file);
	struct memory_vfs *m = memory_of(file->vfs);
	if ((f->flags & VFS_READ) == 0)
		return vfs_system_error(error, EBADF, "read", f->path);
	if (f->flags & VFS_DIRECTORY)
		return vfs_system_error(error, EISDIR, "read", f->path);
	mutex_lock(&m->mutex);
	bool cold = (flags & VFS_NOWAIT) != 0 && m->cold_percent > 0 &&
		random_below(&m->cold_random, 100) < m->cold_percent;
	size_t n = cold ? 0 : memory_content_read(&f->node->current, buf, size, offset);
	mutex_unlock(&m->mutex);
	if (cold)
		return vfs_would_block(error, offset);
	*ret = n;
	return SETT_OK;
}

static int
memory_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
	     struct sett_error *error)
{
	struct memory_file *f = memory_file_of(file);
	struct memory_vfs *m = memory_of(file->vfs);
	if ((f->flags & VFS_WRITE) == 0)
		return vfs_system_error(error, EBADF, "write", f->path);
	count_operation(m);
	mutex_lock(&m->mutex);
	uint64_t end = offset;
	for (int i = 0; i < count; i++)
		end += iov[i].iov_len;
	int status = has_room(m, f, end) ? memory_file_write(f->node, iov, count, offset) : SETT_NO_SPACE;
	mutex_unlock(&m->mutex);
	return explain(status, "write", f->path, error);
}

static int
memory_sync(struct vfs_file *file, struct sett_error *error)
{
	struct memory_file *f = memory_file_of(file);
	struct memory_vfs *m = memory_of(file->vfs);
	count_operation(m);
	mutex_lock(&m->mutex);
	uint64_t until = f->node->changes;
	while (m->hold_sync && !f->node->is_directory)
		condition_wait(&m->sync_released, &m->mutex);
	int status =
		f->node->is_directory ? memory_directory_sync(f->node) : memory_file_sync(f->node, until);
	mutex_unlock(&m->mutex);
	return explain(status, "sync", f->path, error);
}

static int
resize_file(struct vfs_file *file, enum memory_change_kind kind, uint64_t size, const char *call,
	    struct sett_error *error)
{
	struct memory_file *f = memory_file_of(file);
	struct memory_vfs *m = memory_of(file->vfs);
	if ((f->flags & VFS_WRITE) == 0)
		return vfs_system_error(error, EBADF, call, f->path);
	count_operation(m);
	mutex_lock(&m->mutex);
	int status = has_room(m, f, size) ? memory_file_resize(f->node, kind, size) : SETT_NO_SPACE;
	mutex_unlock(&m->mutex);
	return explain(status, call, f->path, error);
}

static int
memory_allocate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	return resize_file(file, MEMORY_ALLOCATE, size, "allocate", error);
}

static int
memory_truncate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	return resize_file(file, MEMORY_TRUNCATE, size, "truncate", error);
}

static int
memory_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(file->vfs);
	mutex_lock(&m->mutex);
	*ret = memory_file_of(file)->node->current.size;
	mutex_unlock(&m->mutex);
	return SETT_OK;
}

/* ---- directories ---- */

static int
remove_locked(struct memory_vfs *m, const char *path) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char name[MEMORY_NAME_MAX + 1];
	struct memory_node *parent;
	int error = walk_locked(m, path, &parent, name);
	if (error != 0)
		return error;
	struct memory_node *node = name[0] == '\0' ? parent : memory_entries_find(&parent->entries, name);
	if (node == NULL)
		return ENOENT;
	if (node->is_directory)
		return EISDIR;
	return memory_directory_change(parent, name, NULL, NULL) == SETT_OK ? 0 : ENOMEM;
}

static int
memory_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	count_operation(m);
	mutex_lock(&m->mutex);
	int system_errno = remove_locked(m, path);
	mutex_unlock(&m->mutex);
	return system_errno == 0 ? SETT_OK : vfs_system_error(error, system_errno, "remove", path);
}

/* Files only. Between two directories it is two changes, of which a power cut may keep either. */
static int
rename_locked(struct memory_vfs *m, const char *from, const char *to) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char from_name[MEMORY_NAME_MAX + 1], to_name[MEMORY_NAME_MAX + 1];
	struct memory_node *from_parent, *to_parent;
	int error = walk_locked(m, from, &from_parent, from_name);
	if (error == 0)
		error = walk_locked(m, to, &to_parent, to_name);
	if (error != 0)
		return error;
	if (from_name[0] == '\0' || to_name[0] == '\0')
		return EISDIR;
	struct memory_node *node = memory_entries_find(&from_parent->entries, from_name);
	struct memory_node *replaced = memory_entries_find(&to_parent->entries, to_name);
	if (node == NULL)
		return ENOENT;
	if (node->is_directory || (replaced != NULL && replaced->is_directory))
		return EISDIR;
	if (node == replaced)
		return 0;
	if (from_parent == to_parent)
		return memory_directory_change(to_parent, from_name, to_name, node) == SETT_OK ? 0 : ENOMEM;
	if (memory_directory_change(to_parent, NULL, to_name, node) != SETT_OK ||
	    memory_directory_change(from_parent, from_name, NULL, NULL) != SETT_OK)
		return ENOMEM;
	return 0;
}

static int
memory_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	count_operation(m);
	mutex_lock(&m->mutex);
	int system_errno = rename_locked(m, from, to);
	mutex_unlock(&m->mutex);
	return system_errno == 0 ? SETT_OK : vfs_system_error(error, system_errno, "rename", from);
}

static int
link_locked(struct memory_vfs *m, const char *from, const char *to) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char name[MEMORY_NAME_MAX + 1];
	struct memory_node *node, *parent;
	int error = find_locked(m, from, &node);
	if (error == 0)
		error = walk_locked(m, to, &parent, name);
	if (error != 0)
		return error;
	if (node->is_directory)
		return EPERM;
	if (name[0] == '\0' || memory_entries_find(&parent->entries, name) != NULL)
		return EEXIST;
	return memory_directory_change(parent, NULL, name, node) == SETT_OK ? 0 : ENOMEM;
}

static int
memory_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	count_operation(m);
	mutex_lock(&m->mutex);
	int system_errno = link_locked(m, from, to);
	mutex_unlock(&m->mutex);
	return system_errno == 0 ? SETT_OK : vfs_system_error(error, system_errno, "link", to);
}

static int
make_directory_locked(struct memory_vfs *m, const char *path) REQUIRES(&m->mutex)
{
	assert(mutex_is_mine(&m->mutex));
	char name[MEMORY_NAME_MAX + 1];
	struct memory_node *parent, *made;
	int error = walk_locked(m, path, &parent, name);
	if (error != 0)
		return error;
	struct memory_node *node = name[0] == '\0' ? parent : memory_entries_find(&parent->entries, name);
	if (node != NULL)
		return node->is_directory ? 0 : ENOTDIR;
	return create_locked(m, parent, name, true, &made);
}

static int
memory_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	count_operation(m);
	mutex_lock(&m->mutex);
	int system_errno = make_directory_locked(m, path);
	mutex_unlock(&m->mutex);
	return system_errno == 0 ? SETT_OK : vfs_system_error(error, system_errno, "make_directory", path);
}

/* Walks a copy: `each` may remove what it is shown. */
static int
memory_list(struct vfs *v, const char *path, int (*each)(void *arg, const char *name), void *arg,
	    struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	struct memory_entries entries = {0};
	struct memory_node *node;
	mutex_lock(&m->mutex);
	int system_errno = find_locked(m, path, &node);
	if (system_errno == 0 && !node->is_directory)
		system_errno = ENOTDIR;
	if (system_errno == 0 && memory_entries_copy(&entries, &node->entries) != SETT_OK)
		system_errno = ENOMEM;
	mutex_unlock(&m->mutex);
	if (system_errno != 0)
		return vfs_system_error(error, system_errno, "list", path);
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < entries.count; i++)
		status = each(arg, entries.list[i].name);
	mutex_lock(&m->mutex); /* for the nodes' references */
	memory_entries_free(&entries);
	mutex_unlock(&m->mutex);
	return status;
}

static void
memory_prefetch(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	/* All is in memory. */
}

static void
memory_begin_sync(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	/* Only a sync decides what a crash leaves. */
}

static int
memory_sync_range(struct vfs_file *file, uint64_t offset, uint64_t size, struct sett_error *error)
{
	return SETT_OK; /* as above */
}

static int
memory_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	uint64_t used = m->capacity ? used_bytes(m->root) : 0;
	*ret = m->capacity == 0 ? MEMORY_FREE_SPACE : m->capacity > used ? m->capacity - used : 0;
	mutex_unlock(&m->mutex);
	return SETT_OK;
}

void
vfs_memory_set_capacity(struct vfs *v, uint64_t bytes)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	m->capacity = bytes;
	mutex_unlock(&m->mutex);
}

static void
memory_destroy(struct vfs *v)
{
	struct memory_vfs *m = memory_of(v);
	assert(m->open_files == 0);
	memory_node_unref(m->root);
	condition_destroy(&m->sync_released);
	mutex_destroy(&m->mutex);
	free(m);
}

static const struct vfs_operations memory_operations = {
	.open = memory_open,
	.close = memory_close,
	.read = memory_read,
	.prefetch = memory_prefetch,
	.begin_sync = memory_begin_sync,
	.write = memory_write,
	.sync_range = memory_sync_range,
	.sync = memory_sync,
	.allocate = memory_allocate,
	.truncate = memory_truncate,
	.size = memory_size,
	.remove = memory_remove,
	.rename = memory_rename,
	.link = memory_link,
	.make_directory = memory_make_directory,
	.list = memory_list,
	.lock = memory_lock,
	.lock_shared = memory_lock_shared,
	.free_space = memory_free_space,
	.destroy = memory_destroy,
};

/* ---- what tests use ---- */

/* Takes the reference to `root`; NULL for `root` or as the result means out of memory. */
static struct vfs *
memory_vfs_over(struct memory_node *root, uint64_t next_id)
{
	struct memory_vfs *m = root != NULL ? calloc(1, sizeof *m) : NULL;
	if (m == NULL) {
		memory_node_unref(root);
		return NULL;
	}
	m->base.operations = &memory_operations;
	mutex_init(&m->mutex);
	condition_init(&m->sync_released);
	m->root = root;
	m->next_id = next_id;
	m->next_pass = 1; /* nodes begin with 0 */
	return &m->base;
}

struct vfs *
vfs_memory_create(void)
{
	return memory_vfs_over(memory_node_new(true, 0), 1);
}

struct vfs *
vfs_memory_create_volatile(void)
{
	struct memory_node *root = memory_node_new(true, 0);
	if (root != NULL)
		root->is_volatile = true;
	return memory_vfs_over(root, 1);
}

struct vfs *
vfs_memory_crash_clone(struct vfs *v, enum vfs_crash_mode mode, uint64_t seed)
{
	struct memory_vfs *m = memory_of(v);
	assert(!m->root->is_volatile);
	mutex_lock(&m->mutex);
	struct memory_node *root = memory_crash_tree(m->root, mode, seed, m->next_pass++);
	uint64_t next_id = m->next_id;
	mutex_unlock(&m->mutex);
	return memory_vfs_over(root, next_id);
}

void
vfs_memory_on_operation(struct vfs *v, uint64_t n, void (*at)(void *arg), void *arg)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	m->stop_at = n;
	m->at = at;
	m->at_arg = arg;
	mutex_unlock(&m->mutex);
}

uint64_t
vfs_memory_operation_count(struct vfs *v)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	uint64_t n = m->operations;
	mutex_unlock(&m->mutex);
	return n;
}

void
vfs_memory_hold_sync(struct vfs *v, bool hold)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	m->hold_sync = hold;
	if (!hold)
		condition_broadcast(&m->sync_released);
	mutex_unlock(&m->mutex);
}

void
vfs_memory_set_cold(struct vfs *v, unsigned percent, uint64_t seed)
{
	struct memory_vfs *m = memory_of(v);
	mutex_lock(&m->mutex);
	m->cold_percent = percent;
	random_seed(&m->cold_random, seed);
	mutex_unlock(&m->mutex);
}

/* Damages one byte of a content, if it reaches that far. */
static int
flip(struct memory_content *c, uint64_t offset, uint8_t mask)
{
	uint8_t byte;
	if (memory_content_read(c, &byte, 1, offset) == 0)
		return SETT_OK;
	byte ^= mask;
	return memory_content_write(c, &byte, 1, offset);
}

int
vfs_memory_damage(struct vfs *v, const char *path, uint64_t offset, uint8_t mask)
{
	struct memory_vfs *m = memory_of(v);
	struct memory_node *node;
	mutex_lock(&m->mutex);
	int status = SETT_OK;
	if (find_locked(m, path, &node) != 0 || node->is_directory)
		status = SETT_NOT_FOUND;
	else if (offset >= node->current.size)
		status = SETT_INVALID;
	if (status == SETT_OK)
		status = flip(&node->current, offset, mask);
	if (status == SETT_OK)
		status = flip(&node->durable, offset, mask);
	/* And in what a crash clone would apply. */
	if (status == SETT_OK)
		for (struct memory_file_change *c = node->first_change; c != NULL; c = c->next)
			if (c->kind == MEMORY_WRITE && offset >= c->offset && offset - c->offset < c->size)
				c->data[offset - c->offset] ^= mask;
	mutex_unlock(&m->mutex);
	return status;
}
