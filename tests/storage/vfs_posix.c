/* The machine's file system behind the vfs: the contract, and what only a real one can show. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfs_contract.h"

/* A fresh directory on disk per test. */
static char directory[] = "/tmp/sett-vfs-posix-XXXXXX";

static void
make_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
}

static int
remove_entry(void *arg, const char *name)
{
	char path[SETT_TEST_PATH];
	contract_path(path, arg, name);
	if (unlink(path) != 0) {
		(void)vfs_list(vfs_posix(), path, remove_entry, path, NULL);
		(void)rmdir(path);
	}
	return SETT_OK;
}

static void
remove_directory(void)
{
	(void)vfs_list(vfs_posix(), directory, remove_entry, directory, NULL);
	(void)rmdir(directory);
}

TestSuite(vfs_posix, .init = make_directory, .fini = remove_directory);

Test(vfs_posix, open)
{
	contract_open(vfs_posix(), directory);
}

Test(vfs_posix, content)
{
	contract_content(vfs_posix(), directory, 1);
}

Test(vfs_posix, directories)
{
	contract_directories(vfs_posix(), directory);
}

Test(vfs_posix, lock)
{
	contract_lock(vfs_posix(), directory);
}

/* A lock is gone with the process that held it, however it ended. */
Test(vfs_posix, the_lock_of_a_dead_process_is_free)
{
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f;
	contract_path(path, directory, "LOCK");
	pid_t child = fork();
	if (child == 0)
		_exit(vfs_lock(vfs_posix(), path, &f, NULL) == SETT_OK ? 0 : 1);
	int result;
	cr_assert_eq(waitpid(child, &result, 0), child);
	cr_assert_eq(result, 0);
	MUST(vfs_lock(vfs_posix(), path, &f, &error), &error);
	MUST(vfs_close(f, &error), &error);
}

/* Just written bytes are in memory: a read that must not wait has them, or (on a file system without such
 * reads) says that it would wait; it never gives fewer than there are. */
Test(vfs_posix, a_read_that_must_not_wait_gives_all_or_would_block)
{
	enum { SIZE = 1 << 20 };
	static uint8_t data[SIZE], read[SIZE];
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f;
	memset(data, 0x5a, sizeof data);
	contract_path(path, directory, "cold");
	test_put_file(vfs_posix(), path, bytes_of(data, sizeof data));
	MUST(vfs_open(vfs_posix(), path, VFS_READ | VFS_WRITE, &f, &error), &error);
	MUST(vfs_sync(f, &error), &error);
	for (int round = 0; round < 20; round++) {
		/* Asks the kernel to drop a part of the file: the rest stays in memory. */
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		cr_assert_geq(fd, 0);
		cr_assert_eq(posix_fadvise(fd, round * 40960, 81920, POSIX_FADV_DONTNEED), 0);
		close(fd);
		size_t n = 12345;
		int status = vfs_read(f, read, SIZE, 0, VFS_NOWAIT, &n, &error);
		if (status == SETT_WOULD_BLOCK) {
			cr_assert_eq(n, 12345, "untouched");
			MUST(vfs_read(f, read, SIZE, 0, 0, &n, &error), &error);
		} else {
			MUST(status, &error);
		}
		cr_assert_eq(n, SIZE);
		cr_assert_arr_eq(read, data, SIZE);
	}
	/* At the end of the file fewer bytes are right. */
	size_t n = 5;
	int status = vfs_read(f, read, 100, SIZE - 10, VFS_NOWAIT, &n, &error);
	cr_assert(status == SETT_WOULD_BLOCK || (status == SETT_OK && n == 10));
	status = vfs_read(f, read, 100, SIZE + 10, VFS_NOWAIT, &n, &error);
	cr_assert(status == SETT_WOULD_BLOCK || (status == SETT_OK && n == 0));
	MUST(vfs_close(f, &error), &error);
}

/* The kernel cuts a write at the file size limit: what follows must be an error, not silence. */
Test(vfs_posix, a_short_write_goes_on_to_the_error)
{
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f;
	uint8_t data[4096] = {1};
	struct rlimit before, limit;
	MUST(vfs_open(vfs_posix(), contract_path(path, directory, "short"), VFS_WRITE | VFS_CREATE, &f,
		      &error),
	     &error);
	cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){6000, before.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	struct iovec iov[] = {{data, 4096}, {data, 4096}};
	int status = vfs_write(f, iov, 2, 0, &error);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	cr_assert_eq(status, SETT_IO);
	cr_assert_eq(error.system_errno, EFBIG);
	cr_assert_not_null(strstr(error.message, path));
	uint64_t size;
	MUST(vfs_size(f, &size, &error), &error);
	cr_assert_eq(size, 6000);
	MUST(vfs_close(f, &error), &error);
}

/* /dev/full answers every write with ENOSPC. */
Test(vfs_posix, a_full_disk_has_a_status_of_its_own)
{
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(vfs_posix(), "/dev/full", VFS_WRITE, &f, &error), &error);
	MUST_FAIL(vfs_write_bytes(f, "x", 1, 0, &error), SETT_NO_SPACE);
	cr_assert_eq(error.system_errno, ENOSPC);
	cr_assert_not_null(strstr(error.message, "/dev/full"));
	MUST(vfs_close(f, &error), &error);
}

Test(vfs_posix, allocated_space_is_really_there)
{
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(vfs_posix(), contract_path(path, directory, "full"), VFS_WRITE | VFS_CREATE, &f,
		      &error),
	     &error);
	MUST(vfs_allocate(f, 1 << 20, &error), &error);
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_size, 1 << 20);
	cr_assert_geq(st.st_blocks, (1 << 20) / 512);
	MUST(vfs_allocate(f, 0, &error), &error);
	MUST(vfs_close(f, &error), &error);
}
