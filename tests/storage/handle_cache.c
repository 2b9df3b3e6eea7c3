/* The handle cache over the in-memory vfs: its bound, what closing a handle must not lose, and what happens when
 * there are no handles. */
#include "handle_cache.h"

#include <criterion/criterion.h>

#include "vfs_contract.h"

enum { FILES = 20, BUDGET = 3, SIZE = 2000 };

static struct vfs *memory, *faulty, *cache;
static struct sett_error error;

static void
make(size_t budget)
{
	memory = vfs_memory_create();
	faulty = vfs_fault_create(memory);
	MUST(vfs_make_directory(faulty, "d", &error), &error);
	MUST(handle_cache_create(faulty, "d", budget, &cache, &error), &error);
}

static void
destroy(void)
{
	cache->operations->destroy(cache);
	faulty->operations->destroy(faulty);
	memory->operations->destroy(memory); /* which asserts that no file is open */
}

static struct vfs_file *
open_file(const char *path, unsigned flags)
{
	struct vfs_file *f;
	MUST(vfs_open(cache, path, VFS_READ | VFS_CLOSABLE | flags, &f, &error), &error);
	return f;
}

static struct vfs_file *
create_file(const char *path)
{
	return open_file(path, VFS_WRITE | VFS_CREATE);
}

static void
write_text(struct vfs_file *f, const char *text)
{
	MUST(vfs_write_bytes(f, text, strlen(text), 0, &error), &error);
}

static void
close_file(struct vfs_file *f)
{
	MUST(vfs_close(f, &error), &error);
}

static size_t
open_handles(void)
{
	size_t open;
	uint64_t reopened;
	handle_cache_figures(cache, &open, &reopened);
	return open;
}

/* Opens another file, with a budget of one, so that the handle of the present one is closed. */
static void
take_the_handle(const char *path)
{
	struct vfs_file *other = create_file(path);
	cr_assert_eq(open_handles(), 1);
	close_file(other);
}

Test(handle_cache, keeps_the_contract)
{
	make(BUDGET);
	contract_open(cache, "d");
	contract_content(cache, "d", 1);
	contract_directories(cache, "d");
	contract_lock(cache, "d");
	destroy();
}

static void
check_content(struct vfs_file *f, const uint8_t *model, uint64_t size)
{
	uint8_t buffer[SIZE + 1];
	uint64_t said;
	size_t got;
	MUST(vfs_size(f, &said, &error), &error);
	cr_assert_eq(said, size);
	MUST(vfs_read(f, buffer, sizeof buffer, 0, 0, &got, &error), &error);
	cr_assert_eq(got, size);
	cr_assert_eq(memcmp(buffer, model, size), 0);
}

Test(handle_cache, many_files_with_few_handles)
{
	static uint8_t model[FILES][SIZE];
	uint64_t sizes[FILES] = {0}, reopened;
	struct vfs_file *files[FILES];
	char path[SETT_TEST_PATH];
	struct random r;
	size_t open;
	make(BUDGET);
	random_seed(&r, 1);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "d/%d", i);
		files[i] = create_file(path);
	}
	for (int step = 0; step < 5000; step++) {
		size_t i = random_below(&r, FILES);
		uint64_t offset = random_below(&r, SIZE), n = random_below(&r, SIZE - offset + 1);
		switch (random_below(&r, 4)) {
		case 0:
			memset(model[i] + offset, step & 0xff, n);
			MUST(vfs_write_bytes(files[i], model[i] + offset, n, offset, &error), &error);
			sizes[i] = n > 0 && offset + n > sizes[i] ? offset + n : sizes[i];
			break;
		case 1:
			MUST(vfs_truncate(files[i], offset, &error), &error);
			memset(model[i] + offset, 0, SIZE - offset);
			sizes[i] = offset;
			break;
		case 2:
			MUST(vfs_sync(files[i], &error), &error);
			break;
		default:
			check_content(files[i], model[i], sizes[i]);
			break;
		}
		cr_assert_leq(open_handles(), BUDGET);
	}
	handle_cache_figures(cache, &open, &reopened);
	cr_assert_gt(reopened, 1000);
	for (int i = 0; i < FILES; i++)
		close_file(files[i]);
	cr_assert_eq(open_handles(), 0);
	destroy();
}

Test(handle_cache, a_file_in_use_again_and_again_keeps_its_handle)
{
	struct vfs_file *files[FILES];
	char path[SETT_TEST_PATH];
	uint8_t byte;
	size_t n;
	make(BUDGET);
	struct vfs_file *hot = create_file("d/hot");
	write_text(hot, "x");
	MUST(vfs_sync(hot, &error), &error);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "d/%d", i);
		files[i] = create_file(path);
		MUST(vfs_read(hot, &byte, 1, 0, VFS_NOWAIT, &n, &error), &error);
	}
	for (int i = 0; i < FILES; i++)
		close_file(files[i]);
	close_file(hot);
	destroy();
}

Test(handle_cache, a_read_that_may_not_wait_opens_nothing)
{
	uint8_t byte;
	size_t n;
	make(1);
	struct vfs_file *f = create_file("d/a");
	write_text(f, "x");
	take_the_handle("d/b");
	MUST_FAIL(vfs_read(f, &byte, 1, 0, VFS_NOWAIT, &n, &error), SETT_WOULD_BLOCK);
	vfs_prefetch(f, 0, 1);
	cr_assert_eq(open_handles(), 0);
	MUST(vfs_read(f, &byte, 1, 0, 0, &n, &error), &error);
	MUST(vfs_read(f, &byte, 1, 0, VFS_NOWAIT, &n, &error), &error);
	cr_assert_eq(byte, 'x');
	close_file(f);
	destroy();
}

Test(handle_cache, what_was_written_is_synced_before_its_handle_is_closed)
{
	struct buffer content;
	make(1);
	struct vfs_file *f = create_file("d/a");
	MUST(vfs_sync_directory(cache, "d", &error), &error);
	MUST(vfs_sync_directory(cache, "/", &error), &error);
	write_text(f, "kept");
	take_the_handle("d/b");
	MUST(vfs_sync(f, &error), &error);
	cr_assert_eq(open_handles(), 0, "a sync of what is synced opens nothing");
	struct vfs *clone = vfs_memory_crash_clone(memory, VFS_CRASH_DROP, 1);
	cr_assert(test_get_file(clone, "d/a", &content));
	cr_assert(bytes_equal(buffer_bytes(&content), BYTES_LITERAL("kept")));
	buffer_free(&content);
	clone->operations->destroy(clone);
	close_file(f);
	destroy();
}

/* The kernel reports a lost write once, to those who had the file open then. */
Test(handle_cache, a_failed_sync_of_a_closed_handle_is_not_forgotten)
{
	make(1);
	struct vfs_file *f = create_file("d/a"), *g;
	write_text(f, "lost");
	vfs_fault_arm(faulty, VFS_FAULT_SYNC, 1, false);
	g = create_file("d/b");
	write_text(g, "kept");
	MUST(vfs_sync(g, &error), &error);
	for (int i = 0; i < 2; i++) {
		error = (struct sett_error){0};
		MUST_FAIL(vfs_sync(f, &error), SETT_IO);
		cr_assert_not_null(strstr(error.message, "d/a"));
		write_text(f, "again");
	}
	close_file(f);
	close_file(g);
	destroy();
}

/* A file that an earlier process wrote may have bytes that nobody has synced. */
Test(handle_cache, the_first_sync_of_a_file_is_made)
{
	make(1);
	test_put_file(memory, "d/a", BYTES_LITERAL("A"));
	struct vfs_file *f = open_file("d/a", 0);
	take_the_handle("d/b");
	uint64_t before = vfs_fault_count(faulty, VFS_FAULT_SYNC);
	MUST(vfs_sync(f, &error), &error);
	cr_assert_eq(vfs_fault_count(faulty, VFS_FAULT_SYNC), before + 1);
	take_the_handle("d/c");
	MUST(vfs_sync(f, &error), &error);
	cr_assert_eq(vfs_fault_count(faulty, VFS_FAULT_SYNC), before + 1);
	close_file(f);
	destroy();
}

Test(handle_cache, no_sync_needs_a_handle_that_is_not_there)
{
	uint8_t byte;
	size_t n;
	make(1);
	struct vfs_file *f = create_file("d/a");
	write_text(f, "x");
	take_the_handle("d/b");
	vfs_fault_arm(faulty, VFS_FAULT_OPEN, 1, true);
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_sync_directory(cache, "d", &error), &error);
	MUST_FAIL(vfs_read(f, &byte, 1, 0, 0, &n, &error), SETT_NO_HANDLES);
	cr_assert_eq(open_handles(), 0);
	vfs_fault_arm(faulty, VFS_FAULT_OPEN, 0, false);
	MUST(vfs_read(f, &byte, 1, 0, 0, &n, &error), &error);
	close_file(f);
	destroy();
}

/* The limit of the process, or of the system, may be lower than the budget was told. */
Test(handle_cache, gives_up_handles_where_there_are_fewer_than_the_budget)
{
	uint8_t byte;
	size_t n;
	make(2);
	struct vfs_file *a = create_file("d/a"), *b = create_file("d/b"), *c = create_file("d/c");
	cr_assert_eq(open_handles(), 2);
	close_file(b);
	cr_assert_eq(open_handles(), 1);
	write_text(c, "x");
	vfs_fault_arm(faulty, VFS_FAULT_OPEN, 1, false);
	MUST_FAIL(vfs_read(a, &byte, 1, 0, VFS_NOWAIT, &n, &error), SETT_WOULD_BLOCK);
	MUST(vfs_read(a, &byte, 1, 0, 0, &n, &error), &error);
	cr_assert_eq(open_handles(), 1, "the one of c");
	close_file(a);
	close_file(c);
	destroy();
}
