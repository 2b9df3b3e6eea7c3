/* The handle cache; see handle_cache.h.
 *
 * A file's state is one atomic word:
 *
 *     | OPEN | RECENT | UNSYNCED | SYNCED |     users     |
 *
 * To use a file is to count oneself among its users and then to look at OPEN, in one atomic addition: if it is
 * set, the handle is there until the user leaves. To close a handle is to take OPEN away while there is no
 * user, in one compare-and-swap: whoever comes later does not see OPEN and goes by the lock.
 *
 * Open files are in one list, which CLOCK (Corbato 1968) goes round: a file used since its last turn has
 * another one.
 *
 * Invariants
 * - OPEN changes only under the lock. `handle` is set before OPEN (release; partner: the acquire of a user's
 *   addition), and is taken away after it.
 * - `open` counts the handles of closable files that are open or being opened, and is at most `budget`. A
 *   thread that finds every handle in use waits: uses are single calls, and none takes a second handle.
 * - No unsynced byte is left without a handle: a file whose last write no sync has covered (UNSYNCED) is synced
 *   before its handle is closed. Where that fails, the file says so at its next sync: a handle opened later
 *   would not be told by the kernel.
 * - So a closed file that was ever synced (SYNCED) has nothing to sync, and a sync of it opens nothing: after
 *   the first sync of each file no sync can fail for want of a handle.
 * - While `busy`, one thread opens or closes the file's handle; others wait for it.
 *
 * The lock is a leaf, and no I/O is done under it. */
#include "handle_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/thread.h"
#include "vfs_error.h"

#define STATE_OPEN (1ULL << 63)
#define STATE_RECENT (1ULL << 62)   /* used since the clock's hand passed */
#define STATE_UNSYNCED (1ULL << 61) /* written since its last sync began */
#define STATE_SYNCED (1ULL << 60)   /* a sync was made, whatever it said */
#define STATE_USERS (STATE_SYNCED - 1)
/* Between two looks for a handle that is not in use. */
#define ALL_IN_USE_NS 1000000ULL

struct cached_file {
	struct vfs_file base;
	uint64_t state; /* atomic */
	struct vfs_file *handle;
	unsigned flags; /* to open it again */
	/* under the cache's lock */
	bool busy;
	struct cached_file *next, *previous; /* in the ring of open files */
	struct sett_error failure;           /* of the sync before its handle was closed; SETT_OK: none */
	char path[];
};

struct handle_cache {
	struct vfs base;
	struct vfs *inner;
	struct cached_file *directory; /* open, not in the ring, never closed before the cache is destroyed */
	size_t budget;
	struct mutex lock;
	struct condition changed; /* a file is no longer busy, or a handle was closed */
	/* under the lock */
	struct cached_file *hand; /* the ring's next candidate; NULL: it is empty */
	size_t open;
	uint64_t reopened;
};

static const struct vfs_operations cache_operations;

static struct handle_cache *
cache_of(struct vfs *v)
{
	assert(v->operations == &cache_operations);
	return (struct handle_cache *)v;
}

static struct cached_file *
file_of(struct vfs_file *f)
{
	return (struct cached_file *)f;
}

/* ---- the ring ---- */

static void
ring_insert_locked(struct handle_cache *c, struct cached_file *f) REQUIRES(&c->lock)
{
	assert(f->next == NULL && f->previous == NULL);
	assert(mutex_is_mine(&c->lock));
	struct cached_file *hand = c->hand;
	if (hand == NULL) {
		c->hand = f->next = f->previous = f;
		return;
	}
	f->next = hand; /* the last to be looked at */
	f->previous = hand->previous;
	hand->previous->next = f;
	hand->previous = f;
}

static void
ring_remove_locked(struct handle_cache *c, struct cached_file *f) REQUIRES(&c->lock)
{
	assert(f->next != NULL && c->hand != NULL);
	assert(mutex_is_mine(&c->lock));
	if (c->hand == f)
		c->hand = f->next == f ? NULL : f->next;
	f->previous->next = f->next;
	f->next->previous = f->previous;
	f->next = f->previous = NULL;
}

/* ---- closing ---- */

/* Takes OPEN from the file unless somebody uses it. Acquire: what users did to the handle happens before it is
 * closed; partner: the release of leave. */
static bool
take_handle(struct cached_file *f)
{
	uint64_t state = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
	while ((state & STATE_USERS) == 0)
		if (__atomic_compare_exchange_n(&f->state, &state, state & ~(STATE_OPEN | STATE_RECENT),
						false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* The next file that CLOCK gives up, out of the ring, busy, and not open; NULL if all are in use. Unsynced
 * ones only if nothing else is there. */
static struct cached_file *
take_victim_locked(struct handle_cache *c) REQUIRES(&c->lock)
{
	assert(mutex_is_mine(&c->lock));
	enum { ROUNDS = 2 }; /* the second meets no marks but those of files used meanwhile */
	for (int unsynced = 0; unsynced <= 1; unsynced++) {
		size_t steps = c->hand != NULL ? ROUNDS * c->open : 0;
		for (; steps > 0; steps--) {
			struct cached_file *f = c->hand;
			uint64_t state = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
			bool stays = (state & STATE_RECENT) || (!unsynced && (state & STATE_UNSYNCED));
			if (!stays && take_handle(f)) {
				ring_remove_locked(c, f);
				f->busy = true;
				return f;
			}
			c->hand = f->next;
			__atomic_fetch_and(&f->state, ~STATE_RECENT, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

/* Closes the victim's handle, without the lock. */
static void
close_victim(struct cached_file *f)
{
	assert(f->busy);
	struct sett_error error = {0};
	/* Nobody writes to it meanwhile: it is busy. */
	if (__atomic_fetch_and(&f->state, ~STATE_UNSYNCED, __ATOMIC_RELAXED) & STATE_UNSYNCED) {
		int status = vfs_sync(f->handle, &error);
		__atomic_fetch_or(&f->state, STATE_SYNCED, __ATOMIC_RELAXED);
		if (status != SETT_OK && f->failure.status == SETT_OK) {
			f->failure = error;
			f->failure.status = status;
		}
	}
	(void)vfs_close(f->handle, NULL); /* all that was written is synced */
	f->handle = NULL;
}

/* ---- opening ---- */

static bool
is_out_of_handles(int status, const struct sett_error *error)
{
	return status != SETT_OK && (error->system_errno == EMFILE || error->system_errno == ENFILE);
}

/* Makes room for one more handle: counted already, or taken from a victim. False: all are in use. May let go of
 * the lock meanwhile. */
static bool
find_room_locked(struct handle_cache *c, bool is_short) REQUIRES(&c->lock)
{
	assert(mutex_is_mine(&c->lock));
	if (!is_short && c->open < c->budget) {
		c->open++;
		return true;
	}
	struct cached_file *victim = take_victim_locked(c);
	if (victim == NULL)
		return false;
	mutex_unlock(&c->lock);
	close_victim(victim);
	mutex_lock(&c->lock);
	victim->busy = false;
	condition_broadcast(&c->changed);
	assert(c->open > 0);
	return true; /* the victim's place in `open` */
}

/* Opens the inner file in a place that find_room_locked found. Where the process, or the system, has fewer
 * handles than the budget says, others of ours make room as long as there are any. */
static int
open_inner_locked(struct handle_cache *c, struct cached_file *f, unsigned flags, struct sett_error *error)
	REQUIRES(&c->lock)
{
	assert(mutex_is_mine(&c->lock));
	struct sett_error cause;
	int status;
	do {
		cause = (struct sett_error){0};
		mutex_unlock(&c->lock);
		status = vfs_open(c->inner, f->path, flags, &f->handle, &cause);
		mutex_lock(&c->lock);
		if (!is_out_of_handles(status, &cause))
			break;
		if (!find_room_locked(c, true))
			break;
		c->open--; /* the victim's place: this file has one */
	} while (true);
	if (status == SETT_OK) {
		ring_insert_locked(c, f);
		/* Not RECENT before a second use: a walk over many files must not push out those in use.
		 * Release: partner of the acquire in enter. */
		__atomic_fetch_or(&f->state, STATE_OPEN, __ATOMIC_RELEASE);
	} else {
		assert(c->open > 0);
		c->open--;
		if (error != NULL)
			*error = cause;
	}
	return status;
}

/* Opens the file, or waits until somebody has. The caller is among its users, so it stays open. */
static int
open_for_use(struct handle_cache *c, struct cached_file *f, struct sett_error *error)
{
	int status = SETT_OK;
	mutex_lock(&c->lock);
	while (status == SETT_OK && !(__atomic_load_n(&f->state, __ATOMIC_ACQUIRE) & STATE_OPEN)) {
		if (f->busy) {
			condition_wait(&c->changed, &c->lock);
			continue;
		}
		f->busy = true;
		if (find_room_locked(c, false)) {
			status = open_inner_locked(c, f, f->flags, error);
			c->reopened += status == SETT_OK;
		} else {
			(void)condition_wait_for(&c->changed, &c->lock, ALL_IN_USE_NS);
		}
		f->busy = false;
		condition_broadcast(&c->changed);
	}
	mutex_unlock(&c->lock);
	return status;
}

/* ---- using ---- */

/* True: the handle is there until leave. */
static bool
enter(struct cached_file *f)
{
	/* Acquire: partner of the release in open_inner_locked. */
	uint64_t state = __atomic_fetch_add(&f->state, 1, __ATOMIC_ACQUIRE);
	if (!(state & STATE_OPEN))
		return false;
	if (!(state & STATE_RECENT))
		__atomic_fetch_or(&f->state, STATE_RECENT, __ATOMIC_RELAXED);
	return true;
}

static void
leave(struct cached_file *f)
{
	/* Release: partner of the acquire in take_handle. */
	uint64_t before = __atomic_fetch_sub(&f->state, 1, __ATOMIC_RELEASE);
	assert((before & STATE_USERS) > 0);
	(void)before;
}

/* As enter, but opens the file where that must be; on failure there is nothing to leave. */
static int
use(struct cached_file *f, struct sett_error *error)
{
	if (enter(f))
		return SETT_OK;
	int status = open_for_use(cache_of(f->base.vfs), f, error);
	if (status != SETT_OK)
		leave(f);
	return status;
}

static int
cache_read(struct vfs_file *file, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	   struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = SETT_OK;
	if (!enter(f)) {
		status = flags & VFS_NOWAIT ? vfs_would_block(error, offset)
					    : open_for_use(cache_of(file->vfs), f, error);
	}
	if (status == SETT_OK)
		status = vfs_read(f->handle, buf, size, offset, flags, ret, error);
	leave(f);
	return status;
}

static void
cache_prefetch(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	struct cached_file *f = file_of(file);
	if (enter(f)) /* opening may wait, and this is a hint */
		vfs_prefetch(f->handle, offset, size);
	leave(f);
}

static void
cache_begin_sync(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	struct cached_file *f = file_of(file);
	if (enter(f))
		vfs_begin_sync(f->handle, offset, size);
	leave(f);
}

/* After a change, also one that failed half way; before leave, so that nobody closes the handle in between. A
 * sync that began before the change was through does not cover it, hence not earlier. */
static void
note_change(struct cached_file *f)
{
	/* Relaxed: read by who takes the handle, after leave. */
	if (!(__atomic_load_n(&f->state, __ATOMIC_RELAXED) & STATE_UNSYNCED))
		__atomic_fetch_or(&f->state, STATE_UNSYNCED, __ATOMIC_RELAXED);
}

static int
cache_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
	    struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = use(f, error);
	if (status != SETT_OK)
		return status;
	status = vfs_write(f->handle, iov, count, offset, error);
	note_change(f);
	leave(f);
	return status;
}

static int
cache_allocate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = use(f, error);
	if (status != SETT_OK)
		return status;
	status = vfs_allocate(f->handle, size, error);
	note_change(f);
	leave(f);
	return status;
}

static int
cache_truncate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = use(f, error);
	if (status != SETT_OK)
		return status;
	status = vfs_truncate(f->handle, size, error);
	note_change(f);
	leave(f);
	return status;
}

/* Whether a sync of the file, among whose users the caller is, has nothing to do: it was synced when its handle
 * was closed, or that failed, which is for good. Then `ret` is what it answers. */
static bool
is_settled(struct handle_cache *c, struct cached_file *f, int *ret, struct sett_error *error)
{
	mutex_lock(&c->lock);
	while (f->busy)
		condition_wait(&c->changed, &c->lock);
	uint64_t state = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
	bool settled = f->failure.status != SETT_OK || (state & (STATE_SYNCED | STATE_OPEN)) == STATE_SYNCED;
	*ret = f->failure.status;
	if (f->failure.status != SETT_OK && error != NULL)
		*error = f->failure;
	mutex_unlock(&c->lock);
	return settled;
}

static int
cache_sync_range(struct vfs_file *file, uint64_t offset, uint64_t size, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = enter(f) ? SETT_OK : open_for_use(cache_of(file->vfs), f, error);
	if (status == SETT_OK)
		status = vfs_sync_range(f->handle, offset, size, error);
	leave(f);
	return status;
}

static int
cache_sync(struct vfs_file *file, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	struct handle_cache *c = cache_of(file->vfs);
	int status = SETT_OK;
	bool entered = enter(f);
	if (is_settled(c, f, &status, error))
		goto out;
	if (!entered)
		status = open_for_use(c, f, error);
	if (status != SETT_OK)
		goto out;
	/* Before the sync: a write that ends later is marked again. */
	__atomic_fetch_and(&f->state, ~STATE_UNSYNCED, __ATOMIC_RELAXED);
	status = vfs_sync(f->handle, error);
	__atomic_fetch_or(&f->state, STATE_SYNCED, __ATOMIC_RELAXED);
out:
	leave(f);
	return status;
}

static int
cache_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	int status = use(f, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(f->handle, ret, error);
	leave(f);
	return status;
}

/* ---- files ---- */

static struct cached_file *
file_new(struct handle_cache *c, const char *path, unsigned flags)
{
	size_t size = strlen(path) + 1;
	struct cached_file *f = calloc(1, sizeof(*f) + size);
	if (f == NULL)
		return NULL;
	f->base.vfs = &c->base;
	f->flags = flags & ~(unsigned)VFS_CREATE;
	memcpy(f->path, path, size);
	return f;
}

static int
open_closable(struct handle_cache *c, const char *path, unsigned flags, struct vfs_file **ret,
	      struct sett_error *error)
{
	struct cached_file *f = file_new(c, path, flags);
	if (f == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "open %s: out of memory", path);
	mutex_lock(&c->lock);
	while (!find_room_locked(c, false))
		(void)condition_wait_for(&c->changed, &c->lock, ALL_IN_USE_NS);
	int status = open_inner_locked(c, f, flags, error);
	mutex_unlock(&c->lock);
	if (status == SETT_OK)
		*ret = &f->base;
	else
		free(f);
	return status;
}

static int
cache_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	struct handle_cache *c = cache_of(v);
	if (flags & VFS_DIRECTORY && strcmp(path, c->directory->path) == 0) {
		*ret = &c->directory->base;
		return SETT_OK;
	}
	if (flags & VFS_CLOSABLE)
		return open_closable(c, path, flags, ret, error);
	return vfs_open(c->inner, path, flags, ret, error);
}

static int
cache_close(struct vfs_file *file, struct sett_error *error)
{
	struct cached_file *f = file_of(file);
	struct handle_cache *c = cache_of(file->vfs);
	if (f == c->directory)
		return SETT_OK;
	mutex_lock(&c->lock);
	while (f->busy)
		condition_wait(&c->changed, &c->lock);
	uint64_t state = __atomic_load_n(&f->state, __ATOMIC_ACQUIRE);
	assert((state & STATE_USERS) == 0);
	if (state & STATE_OPEN) {
		ring_remove_locked(c, f);
		c->open--;
		condition_broadcast(&c->changed);
	}
	mutex_unlock(&c->lock);
	int status = state & STATE_OPEN ? vfs_close(f->handle, error) : SETT_OK;
	free(f);
	return status;
}

/* ---- what is passed on ---- */

static int
cache_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_remove(cache_of(v)->inner, path, error);
}

static int
cache_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_rename(cache_of(v)->inner, from, to, error);
}

static int
cache_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_link(cache_of(v)->inner, from, to, error);
}

static int
cache_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_make_directory(cache_of(v)->inner, path, error);
}

static int
cache_list(struct vfs *v, const char *path, int (*each)(void *arg, const char *name), void *arg,
	   struct sett_error *error)
{
	return vfs_list(cache_of(v)->inner, path, each, arg, error);
}

static int
cache_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return vfs_lock(cache_of(v)->inner, path, ret, error);
}

static int
cache_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return vfs_lock_shared(cache_of(v)->inner, path, ret, error);
}

static int
cache_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	return vfs_free_space(cache_of(v)->inner, path, ret, error);
}

/* ---- the cache ---- */

static void
cache_destroy(struct vfs *v)
{
	struct handle_cache *c = cache_of(v);
	assert(c->open == 0 && c->hand == NULL);
	(void)vfs_close(c->directory->handle, NULL); /* opened for reading: nothing can be lost */
	free(c->directory);
	mutex_destroy(&c->lock);
	condition_destroy(&c->changed);
	free(c);
}

static const struct vfs_operations cache_operations = {
	.open = cache_open,
	.close = cache_close,
	.read = cache_read,
	.prefetch = cache_prefetch,
	.begin_sync = cache_begin_sync,
	.write = cache_write,
	.sync_range = cache_sync_range,
	.sync = cache_sync,
	.allocate = cache_allocate,
	.truncate = cache_truncate,
	.size = cache_size,
	.remove = cache_remove,
	.rename = cache_rename,
	.link = cache_link,
	.make_directory = cache_make_directory,
	.list = cache_list,
	.lock = cache_lock,
	.lock_shared = cache_lock_shared,
	.free_space = cache_free_space,
	.destroy = cache_destroy,
};

int
handle_cache_create(struct vfs *inner, const char *directory, size_t budget, struct vfs **ret,
		    struct sett_error *error)
{
	assert(budget > 0);
	struct handle_cache *c = calloc(1, sizeof(*c));
	if (c != NULL)
		c->directory = file_new(c, directory, VFS_READ | VFS_DIRECTORY);
	if (c == NULL || c->directory == NULL) {
		free(c);
		return sett_error_set(error, SETT_NO_MEMORY, 0, "open %s: out of memory", directory);
	}
	int status = vfs_open(inner, directory, c->directory->flags, &c->directory->handle, error);
	if (status != SETT_OK) {
		free(c->directory);
		free(c);
		return status;
	}
	c->directory->state = STATE_OPEN;
	c->base.operations = &cache_operations;
	c->base.keys = inner->keys;
	c->inner = inner;
	c->budget = budget;
	mutex_init(&c->lock);
	condition_init(&c->changed);
	*ret = &c->base;
	return SETT_OK;
}

void
handle_cache_figures(struct vfs *v, size_t *ret_open, uint64_t *ret_reopened)
{
	struct handle_cache *c = cache_of(v);
	mutex_lock(&c->lock);
	*ret_open = c->open;
	*ret_reopened = c->reopened;
	mutex_unlock(&c->lock);
}
