/* The write-ahead log: frontiers, group writes, rotation, room, failures. */
#include <malloc.h>

#include "log_support.h"

#define SEGMENT (64ULL * 1024)

static void
append_range(struct log *log, uint64_t first, uint64_t last)
{
	for (uint64_t t = first; t <= last; t++)
		cr_assert_eq(test_append(log, t), SETT_OK);
}

Test(log, frontiers_move_in_order)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	append_range(log, 1, 10);
	cr_assert_eq(log_written(log), 0);
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	cr_assert_eq(log_written(log), 10);
	cr_assert_eq(log_durable(log), 0);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	cr_assert_eq(log_durable(log), 10);
	append_range(log, 11, 12);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	cr_assert_eq(log_durable(log), 12);
	cr_assert_eq(log_append(log, 12, 0, bytes_of(NULL, 0)), SETT_INVALID);
	cr_assert_gt(log_bytes_written(log), 12 * LOG_RECORD_HEADER_SIZE);
	log_destroy(log);
	cr_assert_eq(test_recover_count(vfs), 12);
	test_destroy(vfs);
}

Test(log, nothing_is_written_without_a_write)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	append_range(log, 1, 5);
	log_destroy(log);
	cr_assert_eq(test_recover_count(vfs), 0);
	test_destroy(vfs);
}

Test(log, rotates_into_the_spare_and_removes_old_segments)
{
	uint64_t numbers = 0, segment, count, bytes;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	uint64_t first = log_segment(log);
	append_range(log, 1, 3);
	cr_assert(log_has_spare(log));
	cr_assert_eq(log_rotate(log, &segment), SETT_OK);
	cr_assert_gt(segment, first);
	cr_assert_eq(log_segment(log), segment);
	append_range(log, 4, 6);
	uint64_t third;
	cr_assert_eq(log_rotate(log, &third), SETT_WOULD_BLOCK);
	cr_assert_eq(log_prepare(log, NULL), SETT_OK);
	cr_assert_eq(log_prepare(log, NULL), SETT_OK);
	cr_assert_eq(log_rotate(log, &third), SETT_OK);
	append_range(log, 7, 9);
	/* One sync covers all three. */
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	struct vfs *lost = vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, 1);
	cr_assert_eq(test_recover_count(lost), 9);
	test_destroy(lost);

	log_figures(log, &count, &bytes);
	cr_assert_eq(count, 3);
	cr_assert_eq(bytes, 3 * SEGMENT);
	cr_assert_eq(log_remove_before(log, segment, NULL), SETT_OK);
	log_figures(log, &count, &bytes);
	cr_assert_eq(count, 2);
	cr_assert_eq(log_remove_before(log, UINT64_MAX, NULL), SETT_OK); /* never the current one */
	log_figures(log, &count, &bytes);
	cr_assert_eq(count, 1);
	append_range(log, 10, 10);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	log_destroy(log);

	struct test_replay replay = {0};
	struct log_recovered recovered;
	cr_assert_eq(test_recover(vfs, 6, 6, &replay, &recovered), SETT_OK);
	cr_assert_eq(replay.first, 7);
	cr_assert_eq(recovered.last, 10);
	cr_assert_eq(recovered.newest_now_ms, 1010);
	cr_assert_eq(recovered.newest_segment, third);
	test_destroy(vfs);
}

Test(log, a_new_log_offers_old_segments_for_removal)
{
	uint64_t numbers = 0, count, bytes;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	append_range(log, 1, 3);
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	log_destroy(log);
	cr_assert_eq(test_recover_count(vfs), 3);
	log = test_log(vfs, &numbers, SEGMENT, 3);
	cr_assert_eq(log_durable(log), 3);
	append_range(log, 4, 5);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	log_figures(log, &count, &bytes);
	cr_assert_eq(count, 3);
	uint64_t current = log_segment(log);
	log_destroy(log);
	cr_assert_eq(test_recover_count(vfs), 5);
	log = test_log(vfs, &numbers, SEGMENT, 5);
	cr_assert_eq(log_remove_before(log, log_segment(log), NULL), SETT_OK);
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	test_segment_path(current, path);
	cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
	log_destroy(log);
	test_destroy(vfs);
}

/* Bytes of the segment that is made next. */
static uint64_t
next_segment_bytes(struct log *log)
{
	uint64_t segments, before, after;
	log_figures(log, &segments, &before);
	cr_assert_eq(log_prepare(log, NULL), SETT_OK);
	log_figures(log, &segments, &after);
	return after - before;
}

/* Preallocated space counts against the space bound: a segment gets twice what the last one took. */
Test(log, segments_are_as_large_as_they_were_of_use)
{
	enum { MIB = 1 << 20 };
	/* Taken of one segment after the other, and what the second behind it gets: the spare is there by
	 * then. */
	static const uint64_t taken[] = {1 * MIB, 7 * MIB, 13 * MIB, 1000, 0},
			      got[] = {4 * MIB, 4 * MIB, 14 * MIB, 26 * MIB, 4 * MIB};
	static uint8_t payload[MIB - 1000];
	struct vfs *vfs = test_memory();
	uint64_t numbers = 0, timestamp = 1, segment;
	struct log *log = test_log(vfs, &numbers, 26 * MIB + 5, 0);
	cr_assert_eq(log_rotate(log, &segment), SETT_OK); /* into the spare that a new log has */
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		uint64_t bytes = next_segment_bytes(log);
		cr_assert(bytes >= got[i] - 30000 && bytes <= got[i], "segment %zu has %llu bytes", i,
			  (unsigned long long)bytes);
		for (uint64_t k = 0; k < taken[i] / MIB; k++, timestamp++) {
			struct bytes p = bytes_of(payload, sizeof(payload));
			cr_assert_eq(log_reserve(log, sizeof(payload), NULL), SETT_OK);
			cr_assert_eq(log_append(log, timestamp, 1, p), SETT_OK);
		}
		cr_assert_eq(log_write(log, NULL), SETT_OK);
		cr_assert_eq(log_rotate(log, &segment), SETT_OK);
	}
	log_destroy(log);
	vfs->operations->destroy(vfs);
}

Test(log, room_is_refused_before_it_runs_out)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	static uint8_t big[5 * SEGMENT];
	memset(big, 0xab, sizeof(big));
	cr_assert_not(log_is_full(log, 1000));
	cr_assert(log_is_full(log, SEGMENT));
	cr_assert_eq(log_append(log, 1, 0, bytes_of(big, sizeof(big))), SETT_NO_SPACE);
	cr_assert_eq(log_reserve(log, sizeof(big), NULL), SETT_OK);
	cr_assert_not(log_is_full(log, sizeof(big)));
	cr_assert_eq(log_append(log, 1, 0, bytes_of(big, sizeof(big))), SETT_OK);
	cr_assert_eq(log_reserve(log, SETT_MAX_BATCH_SIZE + 1, NULL), SETT_TOO_LARGE);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	uint64_t t = 1;
	while (!log_is_full(log, 1000))
		cr_assert_eq(log_append(log, ++t, 0, bytes_of(big, 1000)), SETT_OK);
	cr_assert_eq(log_append(log, ++t, 0, bytes_of(big, 1000)), SETT_NO_SPACE);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	cr_assert_eq(log_durable(log), t - 1);
	log_destroy(log);
	test_destroy(vfs);
}

/* ---- groups ---- */

enum { THREADS = 4, COMMITS = 3000 };

struct group {
	struct log *log;
	struct mutex commit_lock;
	uint64_t last; /* under commit_lock */
};

static void
group_commit(struct group *group, uint64_t *ret)
{
	for (;;) {
		uint64_t segment;
		mutex_lock(&group->commit_lock);
		bool full = log_is_full(group->log, test_payload_size(group->last + 1));
		int status = full ? log_rotate(group->log, &segment) : SETT_OK;
		if (status == SETT_OK) {
			*ret = ++group->last;
			cr_assert_eq(test_append(group->log, *ret), SETT_OK);
			mutex_unlock(&group->commit_lock);
			return;
		}
		mutex_unlock(&group->commit_lock);
		cr_assert_eq(log_prepare(group->log, NULL), SETT_OK);
	}
}

static void *
group_run(void *arg)
{
	struct group *group = arg;
	uint64_t mine = 0;
	for (int i = 0; i < COMMITS; i++) {
		group_commit(group, &mine);
		if (i % 3 == 0) {
			cr_assert_eq(log_write(group->log, NULL), SETT_OK);
			cr_assert_geq(log_written(group->log), mine);
		}
		if (i % 97 == 0) {
			cr_assert_eq(log_sync(group->log, NULL), SETT_OK);
			cr_assert_geq(log_durable(group->log), mine);
		}
	}
	return NULL;
}

/* A chunk made for one large record must not wait for the next commit. */
Test(log, a_large_record_leaves_no_memory_behind)
{
	enum { LARGE = 48 << 20 };
	struct vfs *vfs = test_memory();
	uint64_t numbers = 0;
	struct log *log = test_log(vfs, &numbers, 1 << 20, 0);
	uint8_t *payload = calloc(1, LARGE);
	cr_assert_eq(log_reserve(log, LARGE, NULL), SETT_OK);
	cr_assert_eq(log_append(log, 1, 1, bytes_of(payload, LARGE)), SETT_OK);
	free(payload);
	size_t before = mallinfo2().hblkhd;
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	size_t after = mallinfo2().hblkhd;
	/* The in-memory file system has as much by then. */
	cr_assert_lt(after, before + LARGE / 2, "%zu bytes before, %zu after", before, after);
	cr_assert_eq(test_append(log, 2), SETT_OK);
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	cr_assert_eq(log_written(log), 2);
	log_destroy(log);
	vfs->operations->destroy(vfs);
}

Test(log, threads_write_and_sync_as_groups)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct group group = {.log = test_log(vfs, &numbers, SEGMENT, 0)};
	pthread_t threads[THREADS];
	mutex_init(&group.commit_lock);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(thread_start(&threads[i], "committer", group_run, &group), SETT_OK);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	cr_assert_eq(log_write(group.log, NULL), SETT_OK);
	cr_assert_eq(log_written(group.log), THREADS * COMMITS);
	log_destroy(group.log);
	mutex_destroy(&group.commit_lock);
	cr_assert_eq(test_recover_count(vfs), THREADS * COMMITS);
	test_destroy(vfs);
}

static void *
sync_run(void *arg)
{
	cr_assert_eq(log_sync(arg, NULL), SETT_OK);
	return NULL;
}

Test(log, writes_go_on_while_a_sync_is_under_way)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	pthread_t thread;
	append_range(log, 1, 4);
	vfs_memory_hold_sync(vfs, true);
	cr_assert_eq(thread_start(&thread, "syncer", sync_run, log), SETT_OK);
	append_range(log, 5, 8);
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	cr_assert_eq(log_written(log), 8);
	cr_assert_eq(log_durable(log), 0);
	vfs_memory_hold_sync(vfs, false);
	thread_join(thread);
	cr_assert_geq(log_durable(log), 4);
	log_destroy(log);
	test_destroy(vfs);
}

/* ---- failures ---- */

struct values {
	struct log *log;
	uint64_t calls, durable_at_call, append; /* append: commit this one while the values are synced */
	int status;
};

static int
sync_values(void *arg, struct sett_error *error)
{
	struct values *values = arg;
	values->calls++;
	values->durable_at_call = values->log ? log_durable(values->log) : 0;
	if (values->append != 0) {
		cr_assert_eq(test_append(values->log, values->append), SETT_OK);
		values->append = 0;
	}
	return values->status == SETT_OK ? SETT_OK : sett_error_set(error, values->status, 5, "values");
}

Test(log, values_are_synced_before_their_records_are_durable)
{
	uint64_t numbers = 0;
	struct vfs *vfs = test_memory();
	struct values values = {0};
	struct log_options options = {vfs,      TEST_DIRECTORY, SEGMENT, test_next_number,
				      &numbers, sync_values,    &values};
	cr_assert_eq(log_create(&options, 0, &values.log, NULL), SETT_OK);
	cr_assert_eq(values.calls, 1);
	append_range(values.log, 1, 2);
	values.append = 3;
	cr_assert_eq(log_sync(values.log, NULL), SETT_OK);
	cr_assert_eq(values.calls, 2);
	cr_assert_eq(log_durable(values.log), 2); /* the values of 3 may have come too late */
	cr_assert_eq(values.durable_at_call, 0);
	values.status = SETT_IO;
	struct sett_error error = {0};
	cr_assert_eq(log_sync(values.log, &error), SETT_FAILED);
	cr_assert_eq(error.system_errno, 5);
	values.status = SETT_OK;
	cr_assert_eq(log_sync(values.log, NULL), SETT_FAILED);
	cr_assert_eq(log_durable(values.log), 2);
	cr_assert_eq(log_written(values.log), 3);
	log_destroy(values.log);
	test_destroy(vfs);
}

/* Fails the n-th call of a kind, for every n until one run goes through: whatever happens, the log stops for
 * good, its frontiers stay, and the disk holds a prefix that includes all that was durable. */
static void
sweep(enum vfs_fault_kind kind)
{
	for (uint64_t n = 1;; n++) {
		cr_assert_lt(n, 200);
		uint64_t numbers = 0, segment, last = 0;
		struct vfs *memory = test_memory();
		struct vfs *vfs = vfs_fault_create(memory);
		struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
		vfs_fault_arm(vfs, kind, n, false);
		int status = SETT_OK;
		while (status == SETT_OK && last < 40) {
			cr_assert_eq(test_append(log, ++last), SETT_OK);
			status = last % 4 == 0 ? log_sync(log, NULL) : log_write(log, NULL);
			if (status == SETT_OK && last % 10 == 0) {
				cr_assert_eq(log_rotate(log, &segment), SETT_OK);
				while (log_prepare(log, NULL) != SETT_OK)
					cr_assert_not(log_has_spare(log));
			}
		}
		uint64_t written = log_written(log), durable = log_durable(log);
		if (status != SETT_OK) {
			cr_assert_eq(status, SETT_FAILED);
			cr_assert_eq(written, kind == VFS_FAULT_SYNC ? last : last - 1);
			cr_assert_eq(test_append(log, last + 1), SETT_FAILED);
			cr_assert_eq(log_write(log, NULL), SETT_FAILED);
			cr_assert_eq(log_sync(log, NULL), SETT_FAILED);
			struct sett_error error = {0};
			cr_assert_eq(log_health(log, &error), SETT_FAILED);
			cr_assert_gt(strlen(error.message), 10);
			cr_assert_eq(log_written(log), written);
			cr_assert_eq(log_durable(log), durable);
		}
		log_destroy(log);
		struct vfs *lost = vfs_memory_crash_clone(memory, VFS_CRASH_DROP, n);
		cr_assert_geq(test_recover_count(lost), durable);
		cr_assert_geq(test_recover_count(memory), written);
		test_destroy(lost);
		test_destroy(vfs);
		test_destroy(memory);
		if (status == SETT_OK)
			return;
	}
}

Test(log, a_failed_write_stops_it_for_good)
{
	sweep(VFS_FAULT_WRITE);
}

Test(log, a_torn_write_stops_it_for_good)
{
	sweep(VFS_FAULT_SHORT_WRITE);
}

Test(log, a_failed_sync_stops_it_for_good)
{
	sweep(VFS_FAULT_SYNC);
}

Test(log, a_full_disk_is_met_before_a_commit)
{
	uint64_t numbers = 0, segment;
	struct vfs *memory = test_memory();
	struct vfs *vfs = vfs_fault_create(memory);
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	cr_assert_eq(log_rotate(log, &segment), SETT_OK);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 1, true);
	cr_assert_eq(log_prepare(log, NULL), SETT_NO_SPACE);
	cr_assert_eq(log_reserve(log, 2 * SEGMENT, NULL), SETT_NO_SPACE);
	cr_assert_eq(log_health(log, NULL), SETT_OK);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 0, false);
	cr_assert_eq(log_prepare(log, NULL), SETT_OK);
	append_range(log, 1, 3);
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	log_destroy(log);
	cr_assert_eq(test_recover_count(memory), 3);
	test_destroy(vfs);
	test_destroy(memory);
}
