/* What many storage tests need: a clock they can hold and move, a log they can read, a file system in memory,
 * and power cuts in it. All of it fails the running test where something unforeseen happens. */
#ifndef SETT_TESTS_STORAGE_SUPPORT_H
#define SETT_TESTS_STORAGE_SUPPORT_H

#include <criterion/criterion.h>
#include <errno.h>

#include "storage/base/bytes.h"
#include "storage/base/clock.h"
#include "storage/base/log_sink.h"
#include "storage/base/thread.h"
#include "storage/status.h"
#include "storage/vfs.h"

enum { SETT_TEST_PATH = 512 }; /* room for paths that tests put together */

/* Runs a call that takes a `struct sett_error *` named by ERROR and must succeed; says what went wrong. */
#define MUST(call, error)                                                                               \
	do {                                                                                            \
		int must_status = (call);                                                               \
		cr_assert_eq(must_status, SETT_OK, "%s: %s (%s)", #call, sett_status_text(must_status), \
			     (error)->message);                                                         \
	} while (0)

/* And one that must fail in a certain way. */
#define MUST_FAIL(call, expected)                                                        \
	do {                                                                             \
		int must_status = (call);                                                \
		cr_assert_eq(must_status, (expected), "%s: %s, not %s", #call,           \
			     sett_status_text(must_status), sett_status_text(expected)); \
	} while (0)

/* One that takes no error, and must succeed. */
#define SUCCEED(call) MUST_FAIL(call, SETT_OK)

/* ---- a clock that stands still until it is moved; any thread may move it ---- */

struct test_clock {
	struct sett_clock clock; /* what is handed to the code under test */
	uint64_t wall_ms, monotonic_ns;
};

static inline uint64_t
test_clock_wall_ms(void *arg)
{
	/* Relaxed, like all of this clock: time orders nothing. */
	return __atomic_load_n(&((struct test_clock *)arg)->wall_ms, __ATOMIC_RELAXED);
}

static inline uint64_t
test_clock_monotonic_ns(void *arg)
{
	return __atomic_load_n(&((struct test_clock *)arg)->monotonic_ns, __ATOMIC_RELAXED);
}

/* Must not be moved in memory afterwards. */
static inline void
test_clock_init(struct test_clock *c, uint64_t wall_ms)
{
	c->clock = (struct sett_clock){test_clock_wall_ms, test_clock_monotonic_ns, c};
	c->wall_ms = wall_ms;
	c->monotonic_ns = 1000000000;
}

/* Both clocks go on. */
static inline void
test_clock_advance_ms(struct test_clock *c, uint64_t ms)
{
	__atomic_fetch_add(&c->wall_ms, ms, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->monotonic_ns, ms * 1000000, __ATOMIC_RELAXED);
}

/* The wall clock jumps, forward or back; the monotonic one doesn't. */
static inline void
test_clock_set_wall_ms(struct test_clock *c, uint64_t wall_ms)
{
	__atomic_store_n(&c->wall_ms, wall_ms, __ATOMIC_RELAXED);
}

/* ---- a log that is kept ---- */

struct test_log {
	struct log_sink sink; /* what is handed to the code under test */
	struct mutex mutex;
	struct buffer text; /* each line ends in a newline; terminated by a zero byte past `size` */
	unsigned warnings;
};

static inline void
test_log_write(void *arg, enum log_level level, const char *line)
{
	struct test_log *l = arg;
	size_t n = strlen(line);
	mutex_lock(&l->mutex);
	if (buffer_reserve(&l->text, n + 2) == SETT_OK) {
		memcpy(l->text.data + l->text.size, line, n);
		memcpy(l->text.data + l->text.size + n, "\n", 2);
		l->text.size += n + 1;
	}
	l->warnings += level == LOG_LEVEL_WARNING;
	mutex_unlock(&l->mutex);
}

/* Must not be moved in memory afterwards. */
static inline void
test_log_init(struct test_log *l)
{
	*l = (struct test_log){.sink = {test_log_write, l}};
	mutex_init(&l->mutex);
}

/* Whether some line so far holds the text. */
static inline bool
test_log_contains(struct test_log *l, const char *text)
{
	mutex_lock(&l->mutex);
	bool found = l->text.size > 0 && strstr((const char *)l->text.data, text) != NULL;
	mutex_unlock(&l->mutex);
	return found;
}

static inline unsigned
test_log_warnings(struct test_log *l)
{
	mutex_lock(&l->mutex);
	unsigned n = l->warnings;
	mutex_unlock(&l->mutex);
	return n;
}

static inline void
test_log_free(struct test_log *l)
{
	buffer_free(&l->text);
	mutex_destroy(&l->mutex);
}

/* ---- a file system in memory ---- */

/* With the directory `path` (one component) in it, durably; NULL for none. */
static inline struct vfs *
test_memory_vfs(const char *path)
{
	struct vfs *v = vfs_memory_create();
	cr_assert_not_null(v);
	if (path != NULL) {
		struct sett_error error = {0};
		MUST(vfs_make_directory(v, path, &error), &error);
		MUST(vfs_sync_directory(v, ".", &error), &error);
	}
	return v;
}

static inline void
test_vfs_destroy(struct vfs *v)
{
	v->operations->destroy(v);
}

/* Creates a file with these bytes; neither it nor its directory is synced. */
static inline void
test_put_file(struct vfs *v, const char *path, struct bytes content)
{
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(v, path, VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_write_bytes(f, content.data, content.size, 0, &error), &error);
	MUST(vfs_close(f, &error), &error);
}

/* The whole of a file, for buffer_free; false if there is none. */
static inline bool
test_get_file(struct vfs *v, const char *path, struct buffer *ret)
{
	struct sett_error error = {0};
	struct vfs_file *f;
	int status = vfs_open(v, path, VFS_READ, &f, &error);
	if (status == SETT_NOT_FOUND)
		return false;
	MUST(status, &error);
	struct buffer content = {0};
	uint64_t size;
	MUST(vfs_size(f, &size, &error), &error);
	cr_assert_eq(buffer_reserve(&content, (size_t)size + 1), SETT_OK);
	MUST(vfs_read_exact(f, content.data, (size_t)size, 0, 0, &error), &error);
	content.size = (size_t)size;
	MUST(vfs_close(f, &error), &error);
	*ret = content;
	return true;
}

/* ---- power cuts ---- */

/* A cut that happens by itself, before the n-th changing operation of the vfs from now. To sweep: run a
 * scenario with n = 1, 2, 3, ... until `clone` stays NULL, and reopen each clone. */
struct test_cut {
	struct vfs *vfs;
	enum vfs_crash_mode mode;
	uint64_t seed;
	struct vfs *clone; /* what the cut left; the test's to destroy. NULL before the cut */
};

static inline void
test_cut_now(void *arg)
{
	struct test_cut *c = arg;
	c->clone = vfs_memory_crash_clone(c->vfs, c->mode, c->seed);
	cr_assert_not_null(c->clone);
}

/* Must not be moved in memory until the cut, or the end of the vfs. */
static inline void
test_cut_arm(struct test_cut *c, struct vfs *v, uint64_t n, enum vfs_crash_mode mode, uint64_t seed)
{
	*c = (struct test_cut){.vfs = v, .mode = mode, .seed = seed};
	vfs_memory_on_operation(v, vfs_memory_operation_count(v) + n, test_cut_now, c);
}

#endif
