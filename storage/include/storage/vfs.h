/* The only door to the file system.
 *
 * Three implementations: POSIX; in memory, which can be cloned as a power cut would leave it; and fault
 * injecting, which wraps another. All functions may be called from any thread; two calls on one file may run
 * at once (writes to overlapping ranges are the caller's fault). Paths are what the caller gave, relative or
 * absolute. Errors: SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY, SETT_NO_HANDLES, and those named. The text goes to
 * `error` if not NULL. */
#ifndef SETT_STORAGE_VFS_H
#define SETT_STORAGE_VFS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "storage/status.h"

struct vfs;
struct vfs_file;

enum vfs_open_flags {
	VFS_READ = 1,
	VFS_WRITE = 2,
	/* The file must not exist (O_EXCL). */
	VFS_CREATE = 4,
	/* Hint: read once, front to back. */
	VFS_SEQUENTIAL = 8,
	/* A directory (with VFS_READ), for vfs_sync alone: the entries created, renamed and removed in it reach
	 * the device. */
	VFS_DIRECTORY = 16,
	/* The file keeps its name as long as it is open: who bounds open handles (vfs/handle_cache.h) may close
	 * the handle, and open it again by its path. */
	VFS_CLOSABLE = 32,
	/* The file system seals the file's pages, if it has keys (storage/keyring.h): for files that are written
	 * whole before they count, and for those that nobody needs after a crash. */
	VFS_SEALED = 64,
};

enum vfs_read_flags {
	VFS_NOWAIT = 1, /* SETT_WOULD_BLOCK if the bytes are not in memory (RWF_NOWAIT) */
};

struct vfs_operations {
	int (*open)(struct vfs *, const char *path, unsigned flags, struct vfs_file **ret,
		    struct sett_error *);
	int (*close)(struct vfs_file *, struct sett_error *);
	/* Reads up to `size` bytes at `offset`; fewer only at the end of the file. */
	int (*read)(struct vfs_file *, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
		    struct sett_error *);
	/* A hint that these bytes are read soon, so that several places can come from the device at once.
	 * Neither waits for them nor fails. */
	void (*prefetch)(struct vfs_file *, uint64_t offset, uint64_t size);
	/* Writes all of the vector at `offset`, or fails (some bytes may then be there). Extends the file. */
	int (*write)(struct vfs_file *, const struct iovec *, int count, uint64_t offset,
		     struct sett_error *);
	/* A hint that these bytes, which were written, are synced soon: the device may begin with them.
	 * Neither waits for it nor fails, and says nothing of the bytes' fate. Never of no bytes: to the system 0 means all
	 * from the offset on; so for sync_range. */
	void (*begin_sync)(struct vfs_file *, uint64_t offset, uint64_t size);
	/* These bytes, which were written, reach the device: what one who writes much waits for, so that the device's queue
	 * stays short. No promise that they are there after a power cut: that is `sync`'s. */
	int (*sync_range)(struct vfs_file *, uint64_t offset, uint64_t size, struct sett_error *);
	/* Data and length reach the device (fdatasync). */
	int (*sync)(struct vfs_file *, struct sett_error *);
	/* Reserves space for [0, size) and makes the file that long, filled with zeros (fallocate). */
	int (*allocate)(struct vfs_file *, uint64_t size, struct sett_error *);
	int (*truncate)(struct vfs_file *, uint64_t size, struct sett_error *);
	int (*size)(struct vfs_file *, uint64_t *ret, struct sett_error *);
	/* SETT_NOT_FOUND if absent. */
	int (*remove)(struct vfs *, const char *path, struct sett_error *);
	int (*rename)(struct vfs *, const char *from, const char *to, struct sett_error *);
	/* Gives the file `from` a second name on the same file system. SETT_IO if `to` is there already. */
	int (*link)(struct vfs *, const char *from, const char *to, struct sett_error *);
	/* Creates one directory; SETT_OK if it is there already. */
	int (*make_directory)(struct vfs *, const char *path, struct sett_error *);
	/* Calls `each` with every name in the directory except . and .. ; stops at its first non-zero result
	 * and returns it. SETT_NOT_FOUND if there is no such directory. */
	int (*list)(struct vfs *, const char *path, int (*each)(void *arg, const char *name), void *arg,
		    struct sett_error *);
	/* Takes an exclusive lock on `path` (created if missing) until the file is closed; SETT_LOCKED if
	 * held. */
	int (*lock)(struct vfs *, const char *path, struct vfs_file **ret, struct sett_error *);
	/* The same for those who only read: any number may hold it, but nobody together with an exclusive
	 * one. Never creates the file (SETT_NOT_FOUND), nor needs leave to write it. */
	int (*lock_shared)(struct vfs *, const char *path, struct vfs_file **ret, struct sett_error *);
	/* Bytes that this process could still write to the file system of `path`. */
	int (*free_space)(struct vfs *, const char *path, uint64_t *ret, struct sett_error *);
	/* Frees a vfs made by vfs_memory_create or vfs_fault_create; no file may be open. */
	void (*destroy)(struct vfs *);
};

/* First member of every implementation's own struct. */
struct keyring;
struct vfs {
	const struct vfs_operations *operations;
	struct keyring *keys; /* by which what is written here is sealed; NULL: by none */
};
struct vfs_file {
	struct vfs *vfs;
};

/* Shorthands: vfs_open(v, ...) is v->operations->open(v, ...), and so on. */
static inline int
vfs_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *e)
{
	return v->operations->open(v, path, flags, ret, e);
}
static inline int
vfs_close(struct vfs_file *f, struct sett_error *e)
{
	return f->vfs->operations->close(f, e);
}
static inline int
vfs_read(struct vfs_file *f, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	 struct sett_error *e)
{
	return f->vfs->operations->read(f, buf, size, offset, flags, ret, e);
}
static inline void
vfs_prefetch(struct vfs_file *f, uint64_t offset, uint64_t size)
{
	f->vfs->operations->prefetch(f, offset, size);
}
static inline int
vfs_write(struct vfs_file *f, const struct iovec *iov, int count, uint64_t offset, struct sett_error *e)
{
	return f->vfs->operations->write(f, iov, count, offset, e);
}
static inline void
vfs_begin_sync(struct vfs_file *f, uint64_t offset, uint64_t size)
{
	assert(size > 0);
	f->vfs->operations->begin_sync(f, offset, size);
}
static inline int
vfs_sync_range(struct vfs_file *f, uint64_t offset, uint64_t size, struct sett_error *e)
{
	assert(size > 0);
	return f->vfs->operations->sync_range(f, offset, size, e);
}
static inline int
vfs_sync(struct vfs_file *f, struct sett_error *e)
{
	return f->vfs->operations->sync(f, e);
}
static inline int
vfs_allocate(struct vfs_file *f, uint64_t size, struct sett_error *e)
{
	return f->vfs->operations->allocate(f, size, e);
}
static inline int
vfs_truncate(struct vfs_file *f, uint64_t size, struct sett_error *e)
{
	return f->vfs->operations->truncate(f, size, e);
}
static inline int
vfs_size(struct vfs_file *f, uint64_t *ret, struct sett_error *e)
{
	return f->vfs->operations->size(f, ret, e);
}
static inline int
vfs_remove(struct vfs *v, const char *path, struct sett_error *e)
{
	return v->operations->remove(v, path, e);
}
static inline int
vfs_rename(struct vfs *v, const char *from, const char *to, struct sett_error *e)
{
	return v->operations->rename(v, from, to, e);
}
static inline int
vfs_link(struct vfs *v, const char *from, const char *to, struct sett_error *e)
{
	return v->operations->link(v, from, to, e);
}
static inline int
vfs_make_directory(struct vfs *v, const char *path, struct sett_error *e)
{
	return v->operations->make_directory(v, path, e);
}
static inline int
vfs_list(struct vfs *v, const char *path, int (*each)(void *, const char *), void *arg, struct sett_error *e)
{
	return v->operations->list(v, path, each, arg, e);
}
static inline int
vfs_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *e)
{
	return v->operations->lock(v, path, ret, e);
}
static inline int
vfs_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *e)
{
	return v->operations->lock_shared(v, path, ret, e);
}
static inline int
vfs_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *e)
{
	return v->operations->free_space(v, path, ret, e);
}

/* Reads exactly `size` bytes; SETT_CORRUPT if the file ends before. */
int vfs_read_exact(struct vfs_file *, void *buf, size_t size, uint64_t offset, unsigned flags,
		   struct sett_error *);
/* Opens the directory, syncs it and closes it. */
int vfs_sync_directory(struct vfs *, const char *path, struct sett_error *);
/* Makes the directory, if it is not there, and its entry in the directory above durable. */
int vfs_make_durable_directory(struct vfs *, const char *path, struct sett_error *);
/* Writes one run of bytes. */
int vfs_write_bytes(struct vfs_file *, const void *data, size_t size, uint64_t offset, struct sett_error *);

/* The machine's file system. Lives for ever. */
struct vfs *vfs_posix(void);

/* ---- in memory ---- */
struct vfs *vfs_memory_create(void); /* NULL if out of memory */
/* The same, of which no crash clone can be made: it takes half of the memory, as nothing is kept of what was not synced. */
struct vfs *vfs_memory_create_volatile(void);

/* What a power cut does to writes and directory changes that were not synced. A directory is an entry of its
 * parent like any other: it may vanish with all in it until the parent is synced. */
enum vfs_crash_mode {
	VFS_CRASH_DROP,   /* all of them are lost */
	VFS_CRASH_KEEP,   /* all of them arrived */
	VFS_CRASH_RANDOM, /* by seed: each unsynced write dropped, kept, or torn at a 512-byte sector; each
			   * unsynced directory change dropped or kept; independent between files */
};
/* A new in-memory vfs holding what a power cut now would leave. Safe while the original is in use. */
struct vfs *vfs_memory_crash_clone(struct vfs *, enum vfs_crash_mode, uint64_t seed);
/* Counts every operation that changes something (write, sync, allocate, truncate, remove, rename,
 * link, make_directory, open with VFS_CREATE), so that a test can cut after the n-th. When the
 * count since creation reaches `n` (n > 0), `at(arg)` is called once, before the operation takes effect; it
 * may use the vfs. */
void vfs_memory_on_operation(struct vfs *, uint64_t n, void (*at)(void *arg), void *arg);
uint64_t vfs_memory_operation_count(struct vfs *);
/* While held, vfs_sync of files blocks; release lets all go on. */
void vfs_memory_hold_sync(struct vfs *, bool hold);
/* From now on `percent` of a hundred VFS_NOWAIT reads, drawn by seed, answer SETT_WOULD_BLOCK (at first:
 * none).
 */
void vfs_memory_set_cold(struct vfs *, unsigned percent, uint64_t seed);
/* From now on files may have this many bytes in all (holes count, a file with two
 * names twice); beyond, writes and allocations fail with
 * SETT_NO_SPACE and change nothing. 0: no limit, as at first. */
void vfs_memory_set_capacity(struct vfs *, uint64_t bytes);
/* Flips the bits of `mask` in one byte of a file: damage for tests. SETT_NOT_FOUND, SETT_INVALID past the
 * end. */
int vfs_memory_damage(struct vfs *, const char *path, uint64_t offset, uint8_t mask);

/* ---- fault injecting ---- */
enum vfs_fault_kind {
	VFS_FAULT_WRITE,       /* a write writes nothing: SETT_IO */
	VFS_FAULT_SHORT_WRITE, /* a write writes the first half of its bytes: SETT_IO */
	VFS_FAULT_SYNC,        /* of a file; nothing became durable: SETT_IO */
	VFS_FAULT_NO_SPACE,    /* of write and allocate: SETT_NO_SPACE, nothing written */
	VFS_FAULT_READ,
	VFS_FAULT_DIRECTORY, /* open with VFS_CREATE, rename, link, remove, sync of a directory */
	VFS_FAULT_RESIZE,    /* allocate, truncate: SETT_IO */
	VFS_FAULT_OPEN,      /* open without VFS_CREATE: SETT_NO_HANDLES */
	VFS_FAULT_KINDS
};
/* Wraps `inner`, which must outlive it. */
struct vfs *vfs_fault_create(struct vfs *inner);
/* The n-th next call (from 1) of this kind fails, and with `sticky` every later one; n = 0 clears. */
void vfs_fault_arm(struct vfs *, enum vfs_fault_kind, uint64_t n, bool sticky);
/* How often a call of this kind was made since creation. */
uint64_t vfs_fault_count(struct vfs *, enum vfs_fault_kind);
/* How often vfs_prefetch was called; it has no way to fail. */
uint64_t vfs_fault_prefetch_count(struct vfs *);

#endif
