/* What every vfs promises, as checks that run against any of them. `v` has an empty directory at `d`. */
#ifndef SETT_TESTS_STORAGE_VFS_CONTRACT_H
#define SETT_TESTS_STORAGE_VFS_CONTRACT_H

#include "storage/base/random.h"
#include "support.h"

/* "d/name", in a buffer of the caller's. */
static inline const char *
contract_path(char path[SETT_TEST_PATH], const char *d, const char *name)
{
	int n = snprintf(path, SETT_TEST_PATH, "%s/%s", d, name);
	cr_assert(n > 0 && n < SETT_TEST_PATH);
	return path;
}

/* Opening: flags, presence, texts. */
static inline void
contract_open(struct vfs *v, const char *d)
{
	char path[SETT_TEST_PATH], other[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f = NULL;
	contract_path(path, d, "a");
	MUST_FAIL(vfs_open(v, path, VFS_READ, &f, &error), SETT_NOT_FOUND);
	cr_assert_null(f, "untouched on failure");
	cr_assert_not_null(strstr(error.message, path));
	cr_assert_not_null(strstr(error.message, "No such file"));
	cr_assert_eq(error.status, SETT_NOT_FOUND);
	MUST_FAIL(vfs_open(v, path, VFS_CREATE, &f, &error), SETT_INVALID);
	MUST(vfs_open(v, path, VFS_READ | VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_close(f, &error), &error);
	MUST_FAIL(vfs_open(v, path, VFS_WRITE | VFS_CREATE, &f, &error), SETT_IO);
	cr_assert_eq(error.system_errno, EEXIST);
	MUST_FAIL(vfs_open(v, contract_path(other, d, "no/a"), VFS_WRITE | VFS_CREATE, &f, NULL),
		  SETT_NOT_FOUND);
	MUST_FAIL(vfs_open(v, contract_path(other, d, "a/b"), VFS_WRITE | VFS_CREATE, &f, NULL), SETT_IO);
	MUST_FAIL(vfs_open(v, d, VFS_WRITE, &f, NULL), SETT_IO);

	uint8_t byte;
	size_t n;
	MUST(vfs_open(v, path, VFS_WRITE, &f, &error), &error);
	MUST_FAIL(vfs_read(f, &byte, 1, 0, 0, &n, NULL), SETT_IO);
	MUST(vfs_close(f, &error), &error);
	MUST(vfs_open(v, path, VFS_READ | VFS_SEQUENTIAL, &f, &error), &error);
	MUST_FAIL(vfs_write_bytes(f, "x", 1, 0, NULL), SETT_IO);
	MUST_FAIL(vfs_truncate(f, 5, NULL), SETT_IO);
	MUST_FAIL(vfs_allocate(f, 5, NULL), SETT_IO);
	MUST(vfs_close(f, &error), &error);
}

/* Random writes, truncations, allocations and reads against a plain array. */
static inline void
contract_content(struct vfs *v, const char *d, uint64_t seed)
{
	enum { LIMIT = 100000, PARTS = 300 };
	static uint8_t model[LIMIT], buf[LIMIT + 100], data[LIMIT];
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f;
	struct random r;
	uint64_t size = 0;
	random_seed(&r, seed);
	memset(model, 0, sizeof model);
	MUST(vfs_open(v, contract_path(path, d, "content"), VFS_READ | VFS_WRITE | VFS_CREATE, &f, &error),
	     &error);
	for (int step = 0; step < 400; step++) {
		uint64_t offset = random_below(&r, LIMIT / 2), n = random_below(&r, LIMIT / 2);
		switch (random_below(&r, 6)) {
		case 0: { /* more parts than a call of the kernel takes at once, some of them empty */
			struct iovec iov[PARTS];
			uint64_t total = 0;
			for (int i = 0; i < PARTS; i++) {
				size_t length = random_below(&r, 4) == 0 ? 0 : random_below(&r, 100);
				for (size_t k = 0; k < length; k++)
					data[total + k] = (uint8_t)random_next(&r);
				iov[i] = (struct iovec){data + total, length};
				total += length;
			}
			MUST(vfs_write(f, iov, PARTS, offset, &error), &error);
			memcpy(model + offset, data, total);
			size = offset + total > size ? offset + total : size;
			break;
		}
		case 1:
			memset(data, step & 0xff, n);
			MUST(vfs_write_bytes(f, data, n, offset, &error), &error);
			memset(model + offset, step & 0xff, n);
			size = n > 0 && offset + n > size ? offset + n : size;
			break;
		case 2:
			MUST(vfs_truncate(f, n, &error), &error);
			if (n < size)
				memset(model + n, 0, size - n);
			size = n;
			break;
		case 3:
			MUST(vfs_allocate(f, offset, &error), &error);
			size = offset > size ? offset : size;
			break;
		case 4:
			MUST(vfs_sync(f, &error), &error);
			break;
		default:
			break;
		}
		uint64_t said;
		size_t got = 999;
		MUST(vfs_size(f, &said, &error), &error);
		cr_assert_eq(said, size, "step %d", step);
		MUST(vfs_read(f, buf, n, offset, 0, &got, &error), &error);
		uint64_t expected = offset >= size ? 0 : size - offset < n ? size - offset : n;
		cr_assert_eq(got, expected, "step %d", step);
		cr_assert_eq(memcmp(buf, model + offset, got), 0, "step %d", step);
	}
	MUST(vfs_truncate(f, 10, &error), &error);
	MUST(vfs_read_exact(f, buf, 10, 0, 0, &error), &error);
	MUST_FAIL(vfs_read_exact(f, buf, 10, 1, 0, &error), SETT_CORRUPT);
	MUST(vfs_close(f, &error), &error);
	MUST(vfs_remove(v, path, &error), &error);
}

static inline int
contract_count(void *arg, const char *name)
{
	++*(int *)arg;
	return SETT_OK;
}

static inline int
contract_stop(void *arg, const char *name)
{
	++*(int *)arg;
	return 17;
}

/* Directories, renames, removal, and files that outlive their names. */
static inline void
contract_directories(struct vfs *v, const char *d)
{
	char path[SETT_TEST_PATH], other[SETT_TEST_PATH];
	struct sett_error error = {0};
	MUST(vfs_make_directory(v, contract_path(path, d, "sub"), &error), &error);
	MUST(vfs_make_directory(v, path, &error), &error);
	MUST_FAIL(vfs_make_directory(v, contract_path(other, d, "no/sub"), &error), SETT_NOT_FOUND);
	int count = 0;
	MUST(vfs_list(v, path, contract_count, &count, &error), &error);
	cr_assert_eq(count, 0);
	MUST_FAIL(vfs_list(v, contract_path(other, d, "no"), contract_count, &count, &error), SETT_NOT_FOUND);
	MUST_FAIL(vfs_sync_directory(v, other, &error), SETT_NOT_FOUND);
	struct vfs_file *directory;
	MUST(vfs_open(v, path, VFS_READ | VFS_DIRECTORY, &directory, &error), &error);

	test_put_file(v, contract_path(path, d, "sub/a"), BYTES_LITERAL("A"));
	test_put_file(v, contract_path(other, d, "sub/b"), BYTES_LITERAL("B"));
	MUST_FAIL(vfs_make_directory(v, path, &error), SETT_IO);
	MUST_FAIL(vfs_open(v, path, VFS_READ | VFS_DIRECTORY, &directory, NULL), SETT_IO);
	contract_path(other, d, "sub");
	MUST(vfs_sync_directory(v, other, &error), &error);
	MUST(vfs_sync(directory, &error), &error);
	uint8_t some;
	size_t got;
	MUST_FAIL(vfs_read(directory, &some, 1, 0, 0, &got, NULL), SETT_IO);
	MUST(vfs_close(directory, &error), &error);
	MUST(vfs_list(v, other, contract_count, &count, &error), &error);
	cr_assert_eq(count, 2);
	cr_assert_eq(vfs_list(v, other, contract_stop, &count, &error), 17);
	cr_assert_eq(count, 3, "stops at once");

	/* a takes b's place; who has b open keeps it. */
	struct vfs_file *f;
	uint8_t byte;
	MUST(vfs_open(v, contract_path(other, d, "sub/b"), VFS_READ, &f, &error), &error);
	MUST(vfs_rename(v, path, other, &error), &error);
	MUST_FAIL(vfs_rename(v, path, other, &error), SETT_NOT_FOUND);
	MUST(vfs_read_exact(f, &byte, 1, 0, 0, &error), &error);
	cr_assert_eq(byte, 'B');
	MUST(vfs_close(f, &error), &error);
	struct buffer content;
	cr_assert_not(test_get_file(v, path, &content));
	cr_assert(test_get_file(v, other, &content));
	cr_assert(bytes_equal(buffer_bytes(&content), BYTES_LITERAL("A")));
	buffer_free(&content);

	/* A second name stands for the same bytes, and outlives the first. */
	MUST(vfs_link(v, other, contract_path(path, d, "sub/c"), &error), &error);
	MUST_FAIL(vfs_link(v, other, path, &error), SETT_IO);
	MUST_FAIL(vfs_link(v, contract_path(path, d, "sub/no"), other, &error), SETT_NOT_FOUND);
	MUST(vfs_open(v, other, VFS_READ | VFS_WRITE, &f, &error), &error);
	MUST(vfs_write_bytes(f, "C", 1, 1, &error), &error);
	MUST(vfs_close(f, &error), &error);
	contract_path(path, d, "sub/c");
	cr_assert(test_get_file(v, path, &content));
	cr_assert(bytes_equal(buffer_bytes(&content), BYTES_LITERAL("AC")));
	buffer_free(&content);

	MUST(vfs_open(v, other, VFS_READ, &f, &error), &error);
	MUST(vfs_remove(v, other, &error), &error);
	cr_assert(test_get_file(v, path, &content));
	buffer_free(&content);
	MUST(vfs_remove(v, path, &error), &error);
	MUST_FAIL(vfs_remove(v, other, &error), SETT_NOT_FOUND);
	MUST(vfs_read_exact(f, &byte, 1, 0, 0, &error), &error);
	cr_assert_eq(byte, 'A');
	MUST(vfs_close(f, &error), &error);
}

/* Readers share; beside one of them there is no other holder, nor beside another holder a reader. */
static inline void
contract_lock_shared(struct vfs *v, const char *path)
{
	struct sett_error error = {0};
	struct vfs_file *first, *second, *other = NULL;
	MUST(vfs_lock(v, path, &first, &error), &error);
	MUST_FAIL(vfs_lock_shared(v, path, &other, &error), SETT_LOCKED);
	MUST(vfs_close(first, &error), &error);
	MUST(vfs_lock_shared(v, path, &first, &error), &error);
	MUST(vfs_lock_shared(v, path, &second, &error), &error);
	MUST_FAIL(vfs_lock(v, path, &other, &error), SETT_LOCKED);
	MUST(vfs_close(first, &error), &error);
	MUST_FAIL(vfs_lock(v, path, &other, &error), SETT_LOCKED);
	cr_assert_null(other);
	MUST(vfs_close(second, &error), &error);
	MUST(vfs_lock(v, path, &first, &error), &error);
	MUST(vfs_close(first, &error), &error);
}

/* One holder at a time, and none after closing. */
static inline void
contract_lock(struct vfs *v, const char *d)
{
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *first, *second = NULL;
	contract_path(path, d, "LOCK");
	MUST_FAIL(vfs_lock_shared(v, path, &first, &error), SETT_NOT_FOUND);
	MUST(vfs_lock(v, path, &first, &error), &error);
	MUST_FAIL(vfs_lock(v, path, &second, &error), SETT_LOCKED);
	cr_assert_null(second);
	/* Another descriptor of the file that comes and goes must not drop the lock. */
	MUST(vfs_open(v, path, VFS_READ | VFS_WRITE, &second, &error), &error);
	MUST(vfs_close(second, &error), &error);
	MUST_FAIL(vfs_lock(v, path, &second, &error), SETT_LOCKED);
	MUST(vfs_close(first, &error), &error);
	MUST(vfs_lock(v, path, &second, &error), &error);
	MUST(vfs_close(second, &error), &error);
	contract_lock_shared(v, path);
	uint64_t space = 0;
	MUST(vfs_free_space(v, d, &space, &error), &error);
	cr_assert_gt(space, 0);
}

#endif
