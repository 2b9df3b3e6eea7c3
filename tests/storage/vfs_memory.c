/* The in-memory vfs: the contract, and that a crash clone is what a power cut could leave, no more and no
 * less. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <sched.h>

#include "vfs_contract.h"

Test(vfs_memory, open)
{
	struct vfs *v = test_memory_vfs("d");
	contract_open(v, "d");
	test_vfs_destroy(v);
}

Test(vfs_memory, content)
{
	struct vfs *v = test_memory_vfs("d");
	for (uint64_t seed = 1; seed <= 10; seed++)
		contract_content(v, "d", seed);
	test_vfs_destroy(v);
}

Test(vfs_memory, directories)
{
	struct vfs *v = test_memory_vfs("d");
	contract_directories(v, "d");
	test_vfs_destroy(v);
}

Test(vfs_memory, lock)
{
	struct vfs *v = test_memory_vfs("d");
	contract_lock(v, "d");
	test_vfs_destroy(v);
}

/* The whole contract holds without memory of what was not synced, and for half of the bytes. */
Test(vfs_memory, a_volatile_one_keeps_each_byte_once)
{
	enum { SIZE = 8 << 20, PIECE = 64 << 10 };
	struct vfs *v = vfs_memory_create_volatile();
	struct sett_error error = {0};
	struct vfs_file *f;
	static uint8_t piece[PIECE];
	MUST(vfs_make_directory(v, "d", &error), &error);
	contract_open(v, "d");
	for (uint64_t seed = 1; seed <= 3; seed++)
		contract_content(v, "d", seed);
	contract_lock(v, "d");
	memset(piece, 'x', sizeof(piece));
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (int round = 0; round < 2; round++) {
		MUST(vfs_open(v, "d/large", VFS_READ | VFS_WRITE | VFS_CREATE, &f, &error), &error);
		for (uint64_t at = 0; at < SIZE; at += PIECE)
			MUST(vfs_write_bytes(f, piece, PIECE, at, &error), &error);
		size_t unsynced = mallinfo2().uordblks + mallinfo2().hblkhd - before;
		MUST(vfs_sync(f, &error), &error);
		MUST(vfs_sync_directory(v, "d", &error), &error);
		size_t synced = mallinfo2().uordblks + mallinfo2().hblkhd - before;
		cr_assert(unsynced < SIZE * 5 / 4 && synced < SIZE * 5 / 4, "%zu, %zu", unsynced, synced);
		MUST(vfs_close(f, &error), &error);
		MUST(vfs_remove(v, "d/large", &error), &error); /* and gives them back at once */
	}
	test_vfs_destroy(v);
	v = vfs_memory_create_volatile();
	MUST(vfs_make_directory(v, "d", &error), &error);
	contract_directories(v, "d");
	test_vfs_destroy(v);
}

Test(vfs_memory, paths_have_one_root)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct buffer content;
	test_put_file(v, "/d//./a", BYTES_LITERAL("A"));
	cr_assert(test_get_file(v, "d/a", &content));
	buffer_free(&content);
	MUST_FAIL(vfs_remove(v, "d/../d/a", &error), SETT_IO);
	MUST_FAIL(vfs_remove(v, "d", &error), SETT_IO);
	char name[300];
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	MUST_FAIL(vfs_remove(v, name, &error), SETT_IO);
	struct vfs_file *f;
	MUST_FAIL(vfs_open(v, "/", VFS_READ, &f, &error), SETT_IO);
	MUST_FAIL(vfs_open(v, "", VFS_WRITE | VFS_CREATE, &f, &error), SETT_IO);
	test_vfs_destroy(v);
}

/* ---- what survives ---- */

/* The content of a file in a crash clone, as a comparison: "-" for no such file. */
static bool
left(struct vfs *v, enum vfs_crash_mode mode, uint64_t seed, const char *path, const char *expected)
{
	struct vfs *clone = vfs_memory_crash_clone(v, mode, seed);
	cr_assert_not_null(clone);
	struct buffer content = {0};
	bool found = test_get_file(clone, path, &content);
	bool same = found ? bytes_equal(buffer_bytes(&content), bytes_of_string(expected))
			  : strcmp(expected, "-") == 0;
	buffer_free(&content);
	test_vfs_destroy(clone);
	return same;
}

static bool
left_drop(struct vfs *v, const char *path, const char *expected)
{
	return left(v, VFS_CRASH_DROP, 0, path, expected);
}

static bool
left_keep(struct vfs *v, const char *path, const char *expected)
{
	return left(v, VFS_CRASH_KEEP, 0, path, expected);
}

/* Whether some of the first seeds leaves this. */
static bool
left_somewhen(struct vfs *v, const char *path, const char *expected)
{
	for (uint64_t seed = 0; seed < 500; seed++)
		if (left(v, VFS_CRASH_RANDOM, seed, path, expected))
			return true;
	return false;
}

Test(vfs_memory, a_name_needs_its_directory_synced_and_content_its_file)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_write_bytes(f, "one", 3, 0, &error), &error);
	cr_assert(left_drop(v, "d/a", "-"));
	cr_assert(left_keep(v, "d/a", "one"));
	MUST(vfs_sync(f, &error), &error);
	cr_assert(left_drop(v, "d/a", "-"), "synced bytes without a synced name");
	cr_assert(left_somewhen(v, "d/a", "-"));
	cr_assert(left_somewhen(v, "d/a", "one"));
	MUST(vfs_sync_directory(v, "d", &error), &error);
	cr_assert(left_drop(v, "d/a", "one"));
	cr_assert_not(left_somewhen(v, "d/a", "-"));
	MUST(vfs_write_bytes(f, "two", 3, 3, &error), &error);
	cr_assert(left_drop(v, "d/a", "one"));
	cr_assert(left_keep(v, "d/a", "onetwo"));
	MUST(vfs_truncate(f, 1, &error), &error);
	cr_assert(left_drop(v, "d/a", "one"));
	cr_assert(left_keep(v, "d/a", "o"));
	cr_assert(left_somewhen(v, "d/a", "onetwo"));
	MUST(vfs_close(f, &error), &error);
	test_vfs_destroy(v);
}

Test(vfs_memory, a_directory_is_an_entry_of_its_parent)
{
	struct vfs *v = test_memory_vfs(NULL);
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_make_directory(v, "d", &error), &error);
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_write_bytes(f, "one", 3, 0, &error), &error);
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_close(f, &error), &error);
	MUST(vfs_sync_directory(v, "d", &error), &error);
	cr_assert(left_drop(v, "d/a", "-"));
	MUST(vfs_sync_directory(v, "/", &error), &error);
	cr_assert(left_drop(v, "d/a", "one"));
	test_vfs_destroy(v);
}

/* The usual replacement of a small file: written beside, synced, renamed. At no time is it gone or mixed. */
Test(vfs_memory, a_rename_is_undone_or_whole)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	for (int i = 0; i < 2; i++) {
		const char *path = i == 0 ? "d/current" : "d/next";
		MUST(vfs_open(v, path, VFS_WRITE | VFS_CREATE, &f, &error), &error);
		MUST(vfs_write_bytes(f, i == 0 ? "old" : "new", 3, 0, &error), &error);
		MUST(vfs_sync(f, &error), &error);
		MUST(vfs_close(f, &error), &error);
		if (i == 0)
			MUST(vfs_sync_directory(v, "d", &error), &error);
	}
	MUST(vfs_rename(v, "d/next", "d/current", &error), &error);
	cr_assert(left_drop(v, "d/current", "old"));
	cr_assert(left_drop(v, "d/next", "-"));
	cr_assert(left_keep(v, "d/current", "new"));
	cr_assert(left_somewhen(v, "d/current", "old"));
	cr_assert(left_somewhen(v, "d/current", "new"));
	cr_assert(left_somewhen(v, "d/next", "new"));
	for (uint64_t seed = 0; seed < 300; seed++)
		cr_assert(left(v, VFS_CRASH_RANDOM, seed, "d/current", "old") ||
			  left(v, VFS_CRASH_RANDOM, seed, "d/current", "new"));
	MUST(vfs_sync_directory(v, "d", &error), &error);
	cr_assert(left_drop(v, "d/current", "new"));
	test_vfs_destroy(v);
}

Test(vfs_memory, a_removal_is_undone_until_the_directory_is_synced)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_write_bytes(f, "one", 3, 0, &error), &error);
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_close(f, &error), &error);
	MUST(vfs_sync_directory(v, "d", &error), &error);
	MUST(vfs_remove(v, "d/a", &error), &error);
	cr_assert(left_drop(v, "d/a", "one"));
	cr_assert(left_keep(v, "d/a", "-"));
	/* A new file of that name: old, new or none may be left. */
	test_put_file(v, "d/a", BYTES_LITERAL("2"));
	cr_assert(left_somewhen(v, "d/a", "one"));
	cr_assert(left_somewhen(v, "d/a", "-"));
	cr_assert(left_somewhen(v, "d/a", "2"));
	cr_assert(left_somewhen(v, "d/a", ""));
	MUST(vfs_sync_directory(v, "d", &error), &error);
	cr_assert(left_drop(v, "d/a", ""));
	test_vfs_destroy(v);
}

/* Three writes of known letters, of 4, 3.x and 1 sectors: each sector of the result must be explained by one
 * of the writes that touch it, or by what was there; and over many seeds all sorts must occur. */
Test(vfs_memory, unsynced_writes_are_dropped_kept_or_torn_at_sectors)
{
	enum { SECTOR = 512, SIZE = 8 * SECTOR };
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	static uint8_t data[SIZE];
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error);
	memset(data, '.', SIZE);
	MUST(vfs_write_bytes(f, data, 4 * SECTOR, 0, &error), &error);
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_sync_directory(v, "d", &error), &error);
	memset(data, 'a', SIZE);
	MUST(vfs_write_bytes(f, data, 4 * SECTOR, 0, &error), &error);
	memset(data, 'b', SIZE);
	MUST(vfs_write_bytes(f, data, 3 * SECTOR + 100, 4 * SECTOR, &error), &error);
	int all_lost = 0, all_kept = 0, torn = 0, hole = 0, only_second = 0;
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct vfs *clone = vfs_memory_crash_clone(v, VFS_CRASH_RANDOM, seed);
		struct buffer b = {0};
		cr_assert(test_get_file(clone, "d/a", &b));
		cr_assert(b.size >= 4 * SECTOR && b.size <= 7 * SECTOR + 100);
		cr_assert(b.size % SECTOR == 0 || b.size == 7 * SECTOR + 100);
		size_t as = 0, bs = 0, zeros = 0;
		for (size_t i = 0; i < b.size; i++) {
			uint8_t c = b.data[i];
			cr_assert(i < 4 * SECTOR ? c == '.' || c == 'a' : c == 0 || c == 'b');
			if (i % SECTOR != 0)
				cr_assert_eq(c, b.data[i - 1], "one sector is one");
			as += c == 'a';
			bs += c == 'b';
			zeros += c == 0;
		}
		all_lost += as + bs == 0 && b.size == 4 * SECTOR;
		all_kept += as == 4 * SECTOR && bs == 3 * SECTOR + 100;
		only_second += as == 0 && bs == 3 * SECTOR + 100;
		torn += as > 0 && as < 4 * SECTOR;
		hole += zeros > 0;
		buffer_free(&b);
		test_vfs_destroy(clone);
	}
	cr_assert_gt(all_lost, 20);
	cr_assert_gt(all_kept, 20);
	cr_assert_gt(only_second, 5);
	cr_assert_gt(torn, 20);
	cr_assert_gt(hole, 5);
	MUST(vfs_close(f, &error), &error);
	test_vfs_destroy(v);
}

Test(vfs_memory, files_fare_independently_and_seeds_repeat)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	test_put_file(v, "d/a", (struct bytes){0});
	test_put_file(v, "d/b", (struct bytes){0});
	MUST(vfs_sync_directory(v, "d", &error), &error);
	struct vfs_file *f;
	for (int i = 0; i < 2; i++) {
		MUST(vfs_open(v, i == 0 ? "d/a" : "d/b", VFS_WRITE, &f, &error), &error);
		MUST(vfs_write_bytes(f, "x", 1, 0, &error), &error);
		MUST(vfs_close(f, &error), &error);
	}
	int seen[2][2] = {{0}};
	for (uint64_t seed = 0; seed < 200; seed++) {
		bool a = left(v, VFS_CRASH_RANDOM, seed, "d/a", "x"),
		     b = left(v, VFS_CRASH_RANDOM, seed, "d/b", "x");
		seen[a][b]++;
		cr_assert_eq(left(v, VFS_CRASH_RANDOM, seed, "d/a", "x"), a);
	}
	for (int i = 0; i < 4; i++)
		cr_assert_gt(seen[i / 2][i % 2], 10);
	test_vfs_destroy(v);
}

/* KEEP is what was seen, DROP what was synced: against random work over several files and names. */
Test(vfs_memory, keep_is_the_present_and_a_clone_is_synced)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct random r;
	random_seed(&r, 99);
	for (int step = 0; step < 300; step++) {
		char path[SETT_TEST_PATH], other[SETT_TEST_PATH],
			name[2] = {(char)('a' + random_below(&r, 6)), 0};
		contract_path(path, "d", name);
		name[0] = (char)('a' + random_below(&r, 6));
		contract_path(other, "d", name);
		struct vfs_file *f;
		unsigned flags = VFS_WRITE | (random_below(&r, 2) ? VFS_CREATE : 0);
		switch (random_below(&r, 4)) {
		case 0:
			(void)vfs_rename(v, path, other, NULL);
			break;
		case 1:
			(void)(random_below(&r, 2) ? vfs_remove(v, path, NULL)
						   : vfs_sync_directory(v, "d", NULL));
			break;
		default:
			if (vfs_open(v, path, flags, &f, NULL) != SETT_OK)
				break;
			MUST(vfs_write_bytes(f, &step, sizeof step, random_below(&r, 3000), &error), &error);
			if (random_below(&r, 3) == 0)
				MUST(vfs_sync(f, &error), &error);
			if (random_below(&r, 5) == 0)
				MUST(vfs_truncate(f, random_below(&r, 3000), &error), &error);
			MUST(vfs_close(f, &error), &error);
		}
		struct vfs *kept = vfs_memory_crash_clone(v, VFS_CRASH_KEEP, 0);
		struct vfs *kept_dropped = vfs_memory_crash_clone(kept, VFS_CRASH_DROP, 0);
		for (char c = 'a'; c < 'g'; c++) {
			struct buffer now = {0}, then = {0};
			name[0] = c;
			contract_path(path, "d", name);
			bool is = test_get_file(v, path, &now);
			cr_assert_eq(test_get_file(kept_dropped, path, &then), is, "step %d, %s", step, path);
			cr_assert(bytes_equal(buffer_bytes(&now), buffer_bytes(&then)), "step %d", step);
			buffer_free(&now);
			buffer_free(&then);
		}
		test_vfs_destroy(kept);
		test_vfs_destroy(kept_dropped);
	}
	test_vfs_destroy(v);
}

/* ---- the other handles for tests ---- */

Test(vfs_memory, a_cut_comes_before_its_operation)
{
	struct sett_error error = {0};
	uint64_t n = 0;
	for (;;) {
		struct vfs *v = test_memory_vfs("d");
		struct test_cut cut;
		struct vfs_file *f;
		test_cut_arm(&cut, v, ++n, VFS_CRASH_KEEP, 0);
		MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error); /* 1 */
		MUST(vfs_allocate(f, 1, &error), &error);                             /* 2 */
		MUST(vfs_write_bytes(f, "1", 1, 0, &error), &error);                  /* 3 */
		MUST(vfs_write_bytes(f, "2", 1, 1, &error), &error);                  /* 4 */
		MUST(vfs_sync(f, &error), &error);                                    /* 5 */
		MUST(vfs_truncate(f, 1, &error), &error);                             /* 6 */
		MUST(vfs_rename(v, "d/a", "d/b", &error), &error);                    /* 7 */
		MUST(vfs_sync_directory(v, "d", &error), &error);                     /* 8 */
		MUST(vfs_remove(v, "d/b", &error), &error);                           /* 9 */
		MUST(vfs_close(f, &error), &error);
		if (cut.clone != NULL) {
			static const char *const a[] = {"-", "", "z", "1", "12", "12", "1", "-", "-"};
			struct buffer b = {0};
			cr_assert_leq(n, 9);
			cr_assert_eq(test_get_file(cut.clone, "d/a", &b), a[n - 1][0] != '-', "%d", (int)n);
			cr_assert_eq(b.size, a[n - 1][0] == '-' ? 0 : strlen(a[n - 1]), "%d", (int)n);
			buffer_free(&b);
			bool has_b = test_get_file(cut.clone, "d/b", &b);
			cr_assert_eq(has_b, n >= 8, "%d", (int)n);
			if (has_b)
				buffer_free(&b);
			test_vfs_destroy(cut.clone);
		}
		bool done = cut.clone == NULL;
		test_vfs_destroy(v);
		if (done)
			break;
	}
	cr_assert_eq(n, 10, "every operation was counted once");
}

struct held_sync {
	struct vfs_file *file;
	bool done;
};

static void *
sync_thread(void *arg)
{
	struct held_sync *h = arg;
	(void)vfs_sync(h->file, NULL);
	/* Release; its partner is the acquire of the test. */
	__atomic_store_n(&h->done, true, __ATOMIC_RELEASE);
	return NULL;
}

Test(vfs_memory, a_held_sync_waits_and_covers_only_what_came_before)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct held_sync h = {0};
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &h.file, &error), &error);
	MUST(vfs_sync_directory(v, "d", &error), &error);
	MUST(vfs_write_bytes(h.file, "one", 3, 0, &error), &error);
	vfs_memory_hold_sync(v, true);
	uint64_t before = vfs_memory_operation_count(v);
	pthread_t thread;
	cr_assert_eq(thread_start(&thread, "sync", sync_thread, &h), SETT_OK);
	while (vfs_memory_operation_count(v) == before)
		sched_yield();
	cr_assert_not(__atomic_load_n(&h.done, __ATOMIC_ACQUIRE));
	cr_assert(left_drop(v, "d/a", ""));
	vfs_memory_hold_sync(v, false);
	thread_join(thread);
	cr_assert(left_drop(v, "d/a", "one"));
	MUST(vfs_close(h.file, &error), &error);
	test_vfs_destroy(v);
}

Test(vfs_memory, damage_reaches_every_state)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(v, "d/a", VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_write_bytes(f, "abc", 3, 0, &error), &error);
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_sync_directory(v, "d", &error), &error);
	MUST(vfs_write_bytes(f, "def", 3, 3, &error), &error);
	cr_assert_eq(vfs_memory_damage(v, "d/a", 1, 'b' ^ 'X'), SETT_OK);
	cr_assert_eq(vfs_memory_damage(v, "d/a", 4, 'e' ^ 'Y'), SETT_OK);
	cr_assert_eq(vfs_memory_damage(v, "d/a", 6, 1), SETT_INVALID);
	cr_assert_eq(vfs_memory_damage(v, "d/b", 0, 1), SETT_NOT_FOUND);
	cr_assert(left_drop(v, "d/a", "aXc"));
	cr_assert(left_keep(v, "d/a", "aXcdYf"));
	struct buffer b;
	cr_assert(test_get_file(v, "d/a", &b));
	cr_assert(bytes_equal(buffer_bytes(&b), BYTES_LITERAL("aXcdYf")));
	buffer_free(&b);
	MUST(vfs_close(f, &error), &error);
	test_vfs_destroy(v);
}

Test(vfs_memory, cold_reads_come_in_the_share_asked_for)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	test_put_file(v, "d/a", BYTES_LITERAL("abc"));
	MUST(vfs_open(v, "d/a", VFS_READ, &f, &error), &error);
	static const unsigned shares[] = {0, 30, 100};
	for (int i = 0; i < 3; i++) {
		vfs_memory_set_cold(v, shares[i], 4);
		int cold = 0;
		for (int k = 0; k < 1000; k++) {
			uint8_t byte;
			size_t n = 77;
			int status = vfs_read(f, &byte, 1, 0, VFS_NOWAIT, &n, &error);
			cr_assert(status == SETT_OK ? n == 1 : status == SETT_WOULD_BLOCK && n == 77);
			cold += status == SETT_WOULD_BLOCK;
			MUST(vfs_read_exact(f, &byte, 1, 0, 0, &error), &error);
		}
		cr_assert(cold >= (int)shares[i] * 10 - 60 && cold <= (int)shares[i] * 10 + 60, "%d", cold);
		cr_assert(shares[i] != 0 || cold == 0);
		cr_assert(shares[i] != 100 || cold == 1000);
	}
	MUST(vfs_close(f, &error), &error);
	test_vfs_destroy(v);
}

Test(vfs_memory, a_preallocated_file_costs_little_and_cannot_be_absurd)
{
	struct vfs *v = test_memory_vfs("d");
	struct sett_error error = {0};
	struct vfs_file *f;
	MUST(vfs_open(v, "d/a", VFS_READ | VFS_WRITE | VFS_CREATE, &f, &error), &error);
	MUST(vfs_allocate(f, 1ULL << 33, &error), &error);
	uint8_t bytes[16];
	MUST(vfs_read_exact(f, bytes, 16, (1ULL << 33) - 16, 0, &error), &error);
	cr_assert_eq(bytes[15], 0);
	MUST_FAIL(vfs_truncate(f, UINT64_MAX, &error), SETT_NO_SPACE);
	MUST_FAIL(vfs_write_bytes(f, "x", 1, UINT64_MAX, &error), SETT_NO_SPACE);
	MUST(vfs_close(f, &error), &error);
	test_vfs_destroy(v);
}
