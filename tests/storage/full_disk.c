/* A disk that is full: deletions go through, give their space back, and everything goes on by itself. The disk is the
 * in-memory file system with a capacity; jobs run in this thread. */
#include <criterion/criterion.h>

#include "reserve.h"
#include "storage/base/sync_point.h"
#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum {
	CAPACITY = 12 << 20,
	LARGE_CAPACITY = 40 << 20,
	CLONES = 3,
	BODY = 20000,
	KEYS_MAX = 1000000,
	ROUNDS_MAX = 500
};

/* What a file of the value log holds where there is enough for some. */
static const uint64_t USUAL_FILE = 16 << 20;

static struct vfs *vfs;
static uint64_t file_size;
static struct sett_engine *engine;
static size_t large_commit;
static struct sett_txn *txn;

static int
try_start(struct sett_error *error)
{
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_log_file_size = file_size,
				       .large_commit = large_commit,
				       .manual_work = true};
	return sett_engine_open("db", &options, &engine, error);
}

static void
start(void)
{
	struct sett_error error = {0};
	int r = try_start(&error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
	MUST(sett_txn_create(engine, &txn));
}

static void
stop(void)
{
	sett_txn_destroy(txn);
	(void)sett_engine_close(engine, NULL);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	vfs_memory_set_capacity(vfs, CAPACITY);
	file_size = 256 << 10;
	start();
}

static void
tear_down(void)
{
	stop();
	vfs->operations->destroy(vfs);
}

TestSuite(full_disk, .init = set_up, .fini = tear_down);

static void
restart_with(uint64_t capacity)
{
	stop();
	vfs->operations->destroy(vfs);
	vfs = vfs_memory_create();
	vfs_memory_set_capacity(vfs, capacity);
	start();
}

static struct sett_key
key_of(const char *prefix, unsigned i, char text[24])
{
	int n = snprintf(text, 24, "%s%06u", prefix, i);
	struct bytes key = bytes_of(text, (size_t)n);
	return (struct sett_key){key, sett_engine_hash(engine, key)};
}

static int
put(const char *prefix, unsigned i, size_t size)
{
	static uint8_t body[BODY];
	char text[24];
	uint32_t noise = i; /* nothing that compresses */
	for (size_t b = 0; b < size; b++)
		body[b] = (uint8_t)((noise = noise * 1664525 + 1013904223) >> 24);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_put_hashed(txn, key_of(prefix, i, text),
				 &(struct sett_put){.body = bytes_of(body, size)}));
	return sett_txn_commit(txn, NULL, NULL);
}

static int delete (const char *prefix, unsigned i)
{
	char text[24];
	struct sett_record record;
	struct sett_key key = key_of(prefix, i, text);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_get_hashed(txn, key, &record));
	MUST(sett_txn_delete_hashed(txn, key, &record));
	return sett_txn_commit(txn, NULL, NULL);
}

/* How many were put before the disk was full. */
static unsigned
put_until_full(const char *prefix, size_t size)
{
	for (unsigned i = 0; i < KEYS_MAX; i++) {
		int r = put(prefix, i, size);
		if (r == SETT_OK)
			continue;
		cr_assert_eq(r, SETT_NO_SPACE);
		return i;
	}
	cr_assert(false, "the disk was never full");
	return 0;
}

static void
delete_all(const char *prefix, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int r = delete (prefix, i);
		cr_assert_eq(r, SETT_OK, "deletion %u of %u: %s", i, count, sett_status_text(r));
	}
}

/* Takes what is left of the disk. */
static void
fill_to_the_last_byte(void)
{
	struct vfs_file *filler;
	uint64_t size;
	MUST(vfs_free_space(vfs, "db", &size, NULL));
	MUST(vfs_open(vfs, "filler", VFS_READ | VFS_WRITE | VFS_CREATE, &filler, NULL));
	if (size > 0)
		MUST(vfs_allocate(filler, size, NULL));
	MUST(vfs_close(filler, NULL));
}

static uint64_t
free_space(void)
{
	uint64_t bytes;
	MUST(vfs_free_space(vfs, "db", &bytes, NULL));
	return bytes;
}

static void
settle(void)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	for (unsigned i = 0; (r == SETT_OK || r == SETT_NO_SPACE) && i < ROUNDS_MAX; i++)
		r = sett_engine_work(engine, &error);
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
}

static void
check_all_is_well(const char *when)
{
	struct sett_stats stats;
	struct sett_error error = {0};
	sett_engine_stats(engine, &stats);
	cr_assert_eq(sett_engine_health(engine, &error), SETT_OK, "%s: %s", when, error.message);
	cr_assert_geq(stats.reserve_bytes, 1 << 20, "%s", when);
	cr_assert_eq(put("after", 0, BODY), SETT_OK, "%s", when);
}

Test(full_disk, deletions_give_space_back)
{
	unsigned count = put_until_full("k", BODY);
	delete_all("k", count);
	settle();
	cr_assert_gt(free_space(), CAPACITY * 2 / 3);
	check_all_is_well("after deletions");
}

static void
check_every_second_is_there(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char text[24];
		struct sett_record record;
		struct bytes body;
		MUST(sett_txn_begin(txn, 0));
		int r = sett_txn_get_hashed(txn, key_of("k", i, text), &record);
		cr_assert_eq(r, i % 2 ? SETT_OK : SETT_NOT_FOUND);
		if (r == SETT_OK)
			MUST(sett_txn_body(txn, &record, &body));
		sett_txn_discard(txn);
	}
}

static void
delete_every_second(void)
{
	unsigned count = put_until_full("k", BODY);
	for (unsigned i = 0; i < count; i += 2)
		MUST(delete ("k", i));
	settle();
	cr_assert_gt(free_space(), (uint64_t)count * BODY / 5);
	check_all_is_well("after deletions");
	check_every_second_is_there(count);
}

/* The keys that stay have values among those that go. */
Test(full_disk, half_of_the_keys_go)
{
	delete_every_second();
}

/* The disk has room for few files of the usual size: half of one is more than all that may be spent for moving it. */
Test(full_disk, half_of_the_keys_go_on_a_small_disk)
{
	file_size = USUAL_FILE;
	restart_with(LARGE_CAPACITY);
	delete_every_second();
}

/* Others have taken the last byte, and there are files of the usual size: collection has the reserve alone. */
Test(full_disk, a_share_of_the_keys_goes_on_the_last_byte)
{
	static const unsigned shares[] = {3, 4, 10};
	file_size = USUAL_FILE;
	for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
		restart_with(LARGE_CAPACITY);
		unsigned count = put_until_full("k", BODY);
		fill_to_the_last_byte();
		(void)put_until_full("s", 100);
		for (unsigned i = 0; i < count; i += shares[s])
			MUST(delete ("k", i));
		settle();
		cr_assert_gt(free_space(), (uint64_t)count / shares[s] * BODY * 3 / 4);
		check_all_is_well("after deletions");
	}
}

/* Of `count` keys every second one below `deleted` is gone. */
static void
check_half_is_gone(unsigned count, unsigned deleted)
{
	for (unsigned i = 0; i < count; i++) {
		char text[24];
		struct sett_record record;
		MUST(sett_txn_begin(txn, 0));
		cr_assert_eq(sett_txn_get_hashed(txn, key_of("s", i, text), &record),
			     i % 2 == 0 && i < deleted ? SETT_NOT_FOUND : SETT_OK);
		sett_txn_discard(txn);
	}
}

/* Each time a piece of a compaction is done: what a kill would leave then, the last CLONES of them. */
struct clones {
	struct sync_point point;
	struct vfs *vfs[CLONES];
	unsigned deleted[CLONES];
	unsigned count, deleted_now;
};

static void
take_clone(void *arg)
{
	struct clones *c = arg;
	unsigned at = c->count++ % CLONES;
	if (c->vfs[at])
		c->vfs[at]->operations->destroy(c->vfs[at]);
	c->vfs[at] = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 1);
	cr_assert(c->vfs[at]);
	c->deleted[at] = c->deleted_now;
	sync_point_arm(&c->point);
}

/* The same with values that stand in tables: what stays of them has to be written anew before what goes is free. */
Test(full_disk, half_of_the_small_keys_go)
{
	struct clones clones = {.count = 0};
	clones.point = (struct sync_point){"compaction: piece done", take_clone, &clones};
	restart_with(LARGE_CAPACITY);
	unsigned count = put_until_full("s", 100), failed = 0;
	fill_to_the_last_byte();
	sync_point_arm(&clones.point);
	for (unsigned i = 0; i < count; i += 2) {
		failed += delete ("s", i) != SETT_OK;
		clones.deleted_now = i + 1;
		if (i % 10000 == 0)
			settle();
	}
	cr_assert_eq(failed, 0);
	settle();
	sync_point_arm(NULL);
	cr_assert_gt(free_space(), (uint64_t)count * 100 / 5);
	check_all_is_well("after deletions");
	check_half_is_gone(count, count);
	cr_assert_geq(clones.count, CLONES);
	/* A compaction that was cut off between two pieces is begun again. */
	for (unsigned i = 0; i < CLONES; i++) {
		stop();
		vfs->operations->destroy(vfs);
		vfs = clones.vfs[i];
		vfs_memory_set_capacity(vfs, LARGE_CAPACITY);
		start();
		check_half_is_gone(count, clones.deleted[i]);
		settle();
		check_half_is_gone(count, clones.deleted[i]);
	}
}

Test(full_disk, deletions_go_through_on_the_last_byte)
{
	unsigned count = put_until_full("k", BODY);
	fill_to_the_last_byte();
	unsigned small = put_until_full("s", 100);
	cr_assert_eq(free_space(), 0);
	cr_assert_eq(put("more", 0, 10), SETT_NO_SPACE);
	delete_all("k", count);
	settle();
	cr_assert_gt(free_space(), (uint64_t)count * BODY * 3 / 4);
	check_all_is_well("after deletions");
	delete_all("s", small);
}

/* A job has found no room, and writers are slowed: what frees space is not refused for it. */
Test(full_disk, deletions_go_through_beside_a_job_without_room)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	for (unsigned i = 0; i < 400; i++)
		MUST(put("k", i, BODY));
	vfs_memory_set_capacity(vfs, CAPACITY / 4);
	for (unsigned i = 0; i < 200; i++)
		MUST(delete ("k", i));
	for (unsigned i = 0; r != SETT_NO_SPACE && i < ROUNDS_MAX; i++)
		r = sett_engine_work(engine, &error);
	cr_assert_eq(r, SETT_NO_SPACE);
	sett_engine_slow_writers(engine, 0.5);
	for (unsigned i = 200; i < 250; i++)
		MUST(delete ("k", i));
	cr_assert_eq(put("more", 0, 10), SETT_NO_SPACE);
	sett_engine_slow_writers(engine, 0);
	vfs_memory_set_capacity(vfs, CAPACITY);
	settle();
	check_all_is_well("with space");
}

static int
put_several(unsigned from, unsigned count)
{
	char text[24];
	static uint8_t body[1000];
	MUST(sett_txn_begin(txn, 0));
	for (unsigned i = from; i < from + count; i++)
		MUST(sett_txn_put_hashed(txn, key_of("l", i, text),
					 &(struct sett_put){.body = bytes_of(body, sizeof(body))}));
	return sett_txn_commit(txn, NULL, NULL);
}

/* (I17) The segment can't grow, but the next one is there: a large commit goes to it. */
Test(full_disk, a_large_commit_goes_to_the_segment_that_is_ready)
{
	struct sett_stats stats;
	enum { LARGE = 60 }; /* entries: five such commits are a segment's */
	stop();
	large_commit = 8;
	start();
	unsigned done = 0;
	for (; done < 3; done++)
		MUST(put_several(done * LARGE, LARGE));
	sett_engine_stats(engine, &stats);
	cr_assert_eq(stats.log_segments, 2, "one in use and one ready");
	fill_to_the_last_byte();
	for (; done < 8; done++) {
		int r = put_several(done * LARGE, LARGE);
		cr_assert_eq(r, SETT_OK, "commit %u: %s", done, sett_status_text(r));
	}
	cr_assert_eq(free_space(), 0);
	MUST(vfs_remove(vfs, "filler", NULL));
	settle();
	check_all_is_well("with space");
}

Test(full_disk, a_dropped_prefix_goes_through_on_the_last_byte)
{
	unsigned count = put_until_full("k", BODY);
	fill_to_the_last_byte();
	(void)put_until_full("s", 100);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_drop_prefix(txn, BYTES_LITERAL("k")));
	MUST(sett_txn_put(txn, BYTES_LITERAL("epoch"), &(struct sett_put){.head = BYTES_LITERAL("1")}));
	MUST(sett_txn_commit(txn, NULL, NULL));
	settle();
	cr_assert_gt(free_space(), (uint64_t)count * BODY * 3 / 4);
	check_all_is_well("after the drop");
}

/* Deletions that free nothing much use no more than their half of the reserve, at whatever number. */
Test(full_disk, deletions_do_not_drain_the_reserve)
{
	for (unsigned i = 0; i < 20000; i++)
		MUST(put("s", i, 10));
	unsigned count = put_until_full("k", BODY);
	fill_to_the_last_byte();
	delete_all("s", 20000);
	delete_all("k", count);
	settle();
	cr_assert_gt(free_space(), (uint64_t)count * BODY * 3 / 4);
	check_all_is_well("after deletions");
}

Test(full_disk, a_start_on_a_full_disk)
{
	unsigned count = put_until_full("k", BODY);
	fill_to_the_last_byte();
	unsigned small = put_until_full("s", 100);
	for (unsigned round = 0; round < 3; round++) {
		stop();
		start();
		char text[24];
		struct sett_record record;
		MUST(sett_txn_begin(txn, 0));
		MUST(sett_txn_get_hashed(txn, key_of("k", count - 1, text), &record));
		MUST(sett_txn_get_hashed(txn, key_of("s", small - 1, text), &record));
		sett_txn_discard(txn);
		cr_assert_eq(put("more", 0, 10), SETT_NO_SPACE);
		struct sett_error error = {0};
		cr_assert_eq(sett_engine_health(engine, &error), SETT_NO_SPACE);
		cr_assert(strstr(error.message, "The disk is full"), "%s", error.message);
	}
	delete_all("k", count);
	settle();
	cr_assert_gt(free_space(), (uint64_t)count * BODY * 3 / 4);
	check_all_is_well("after deletions");
}

/* Somebody else's file goes. */
Test(full_disk, writes_go_on_when_there_is_space_again)
{
	for (unsigned i = 0; i < 100; i++)
		MUST(put("k", i, BODY));
	fill_to_the_last_byte();
	(void)put_until_full("s", 100);
	cr_assert_eq(put("k", 100, BODY), SETT_NO_SPACE);
	MUST(vfs_remove(vfs, "filler", NULL));
	cr_assert_eq(put("k", 100, BODY), SETT_OK);
	check_all_is_well("with space");
}

/* What deletes little and writes much does not free anything. */
Test(full_disk, what_writes_more_than_it_frees_is_refused)
{
	char text[24];
	struct sett_record record;
	for (unsigned i = 0; i < 10; i++)
		MUST(put("k", i, 50));
	fill_to_the_last_byte();
	(void)put_until_full("s", 100);
	for (unsigned more = 0; more < 2; more++) {
		MUST(sett_txn_begin(txn, 0));
		MUST(sett_txn_get_hashed(txn, key_of("k", 0, text), &record));
		MUST(sett_txn_delete_hashed(txn, key_of("k", 0, text), &record));
		static uint8_t body[200];
		MUST(sett_txn_put(txn, BYTES_LITERAL("new"),
				  &(struct sett_put){.body = bytes_of(body, more ? 10 : sizeof(body))}));
		cr_assert_eq(sett_txn_commit(txn, NULL, NULL), more ? SETT_OK : SETT_NO_SPACE);
	}
}

Test(full_disk, the_reserve_gives_and_takes)
{
	struct reserve *reserve;
	MUST(vfs_make_directory(vfs, "other", NULL));
	uint64_t before = free_space();
	MUST(reserve_open(vfs, "other", &reserve, NULL));
	cr_assert_eq(reserve_bytes(reserve), 0);
	cr_assert_eq(reserve_give(reserve, 1000), 0);
	MUST(reserve_fill(reserve, 5000, NULL));
	cr_assert_eq(free_space(), before - 5000);
	cr_assert_eq(reserve_give(reserve, 2000), 2000);
	cr_assert_eq(reserve_bytes(reserve), 3000);
	cr_assert_eq(free_space(), before - 3000);
	cr_assert_eq(reserve_fill(reserve, before + 1, NULL), SETT_NO_SPACE);
	cr_assert_eq(reserve_bytes(reserve), 3000);
	reserve_close(reserve);
	MUST(reserve_open(vfs, "other", &reserve, NULL));
	cr_assert_eq(reserve_bytes(reserve), 3000);
	cr_assert_eq(reserve_give(reserve, UINT64_MAX), 3000);
	cr_assert_eq(free_space(), before);
	MUST(reserve_fill(reserve, 100, NULL));
	reserve_close(reserve);
}
