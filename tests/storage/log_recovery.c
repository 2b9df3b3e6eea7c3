/* Recovery of the log: every truncation, every flipped byte, lost segments, power cuts at any point. */
#include "log_support.h"

#define SEGMENT 8192ULL
enum { SMALL = 12 }; /* commits of the small log; synced after 4 and 8, so the last carry durable = 8 */

/* One segment's bytes, without the zeros behind its records. */
static struct buffer
small_log(uint64_t offsets[SMALL + 1])
{
	uint64_t numbers = 0, at = LOG_SEGMENT_HEADER_SIZE;
	char path[SETT_PATH_MAX];
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	for (uint64_t t = 1; t <= SMALL; t++) {
		offsets[t - 1] = at;
		at += log_record_span(LOG_RECORD_HEADER_SIZE, test_payload_size(t));
		cr_assert_eq(test_append(log, t), SETT_OK);
		cr_assert_eq(t % 4 == 0 && t < SMALL ? log_sync(log, NULL) : log_write(log, NULL), SETT_OK);
	}
	offsets[SMALL] = at;
	test_segment_path(log_segment(log), path);
	log_destroy(log);
	struct buffer all = test_read_file(vfs, path);
	test_destroy(vfs);
	return all;
}

/* The number of whole records in front of `offset`. */
static uint64_t
records_before(const uint64_t offsets[SMALL + 1], uint64_t offset)
{
	uint64_t count = 0;
	while (count < SMALL && offsets[count + 1] <= offset)
		count++;
	return count;
}

/* What record t says is durable. */
static uint64_t
durable_of(uint64_t timestamp)
{
	return timestamp <= 4 ? 0 : timestamp <= 8 ? 4 : 8;
}

static int
expect_hello(void *arg, const struct log_record *record)
{
	++*(int *)arg;
	cr_assert(bytes_equal(record->payload, BYTES_LITERAL("hello")));
	cr_assert_eq(record->timestamp, 1);
	cr_assert_eq(record->durable, 0);
	cr_assert_eq(record->now_ms, 1700000000000);
	cr_assert_not(record->is_durable);
	return SETT_OK;
}

/* The worked example of docs/format-log.md: these bytes must be readable for ever. */
Test(log_recovery, golden_bytes)
{
	static const uint8_t golden[] = {
		0x53, 0x45, 0x54, 0x54, 0x4c, 0x4f, 0x47, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00,
		0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
		0x22, 0x11, 0x4b, 0xf8, 0x4a, 0x5b, 0x5c, 0xcc, 0x0b, 0x2f, 0x0c, 0x02, 0x3d, 0x56, 0x39,
		0xe3, 0x2f, 0x02, 0x05, 0x00, 0x00, 0x00, 0x38, 0x00, 0x00, 0x00, 0x08, 0xe8, 0xcc, 0x8e,
		0x7b, 0x16, 0xe9, 0x79, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x68,
		0xe5, 0xcf, 0x8b, 0x01, 0x00, 0x00, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00};
	char path[SETT_PATH_MAX];
	int count = 0;
	struct vfs *vfs = test_memory();
	struct log_recovery recovery = {.replay = expect_hello, .arg = &count};
	struct log_recovered recovered;
	test_segment_path(7, path);
	test_write_file(vfs, path, golden, sizeof(golden));
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, NULL), SETT_OK);
	cr_assert_eq(count, 1);
	cr_assert_eq(recovered.last, 1);
	cr_assert_eq(recovered.cut_bytes, 0);
	/* Under another number it is another file's. */
	cr_assert_eq(vfs_rename(vfs, path, TEST_DIRECTORY "/000008.log", NULL), SETT_OK);
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, NULL), SETT_CORRUPT);
	test_destroy(vfs);
}

Test(log_recovery, empty_directory)
{
	struct vfs *vfs = test_memory();
	struct test_replay replay = {0};
	struct log_recovered recovered;
	cr_assert_eq(test_recover(vfs, 7, 7, &replay, &recovered), SETT_OK);
	cr_assert_eq(recovered.last, 7);
	cr_assert_eq(recovered.newest_segment, 0);
	cr_assert_eq(replay.count, 0);
	cr_assert_eq(test_recover(vfs, 7, 8, &replay, &recovered), SETT_CORRUPT);
	test_destroy(vfs);
}

Test(log_recovery, every_truncation_leaves_a_prefix)
{
	uint64_t offsets[SMALL + 1];
	char path[SETT_PATH_MAX];
	struct buffer all = small_log(offsets);
	test_segment_path(1, path);
	for (size_t size = 0; size <= offsets[SMALL] + 64; size++) {
		struct vfs *vfs = test_memory();
		test_write_file(vfs, path, all.data, size);
		uint64_t whole = records_before(offsets, size);
		/* A header in front of the end, even of a torn record, tells what was durable. */
		uint64_t heads = whole;
		if (heads < SMALL && offsets[heads] + LOG_RECORD_HEADER_SIZE <= size)
			heads++;
		uint64_t durable = heads ? durable_of(heads) : 0;
		struct test_replay replay = {0};
		struct log_recovered recovered = {0};
		int status = test_recover(vfs, 0, 0, &replay, &recovered);
		cr_assert_eq(status, SETT_OK, "size %zu", size);
		cr_assert_eq(replay.count, whole);
		cr_assert_eq(recovered.durable, durable);
		/* Once more: the cut was made. */
		cr_assert_eq(test_recover(vfs, 0, 0, &replay, &recovered), SETT_OK);
		cr_assert_eq(recovered.cut_bytes, 0);
		test_destroy(vfs);
		/* With the durable point known, a log that is too short is refused. */
		vfs = test_memory();
		test_write_file(vfs, path, all.data, size);
		status = test_recover(vfs, 0, 8, &replay, &recovered);
		cr_assert_eq(status, whole >= 8 ? SETT_OK : SETT_CORRUPT);
		test_destroy(vfs);
	}
	buffer_free(&all);
}

Test(log_recovery, every_flipped_byte_is_corruption_or_a_cut)
{
	uint64_t offsets[SMALL + 1];
	char path[SETT_PATH_MAX];
	struct buffer all = small_log(offsets);
	test_segment_path(1, path);
	for (size_t at = 0; at < offsets[SMALL]; at++) {
		for (int bit = 0; bit < 8; bit += 5) {
			struct vfs *vfs = test_memory();
			all.data[at] ^= (uint8_t)(1 << bit);
			test_write_file(vfs, path, all.data, all.size);
			all.data[at] ^= (uint8_t)(1 << bit);
			struct test_replay replay = {0};
			struct log_recovered recovered = {0};
			uint64_t good = records_before(offsets, at);
			int status = test_recover(vfs, 0, 0, &replay, &recovered);
			cr_assert_not(replay.is_wrong);
			if (at < LOG_SEGMENT_HEADER_SIZE || good < 8) {
				cr_assert_eq(status, SETT_CORRUPT, "byte %zu", at);
				cr_assert_eq(replay.count, 0);
			} else {
				cr_assert_eq(status, SETT_OK, "byte %zu", at);
				cr_assert_eq(replay.count, good);
				cr_assert_gt(recovered.cut_bytes, 0);
			}
			test_destroy(vfs);
		}
	}
	buffer_free(&all);
}

/* Where nothing may be cut, every damage within the log and every end before its own is corruption. */
Test(log_recovery, a_log_that_must_be_whole_is_never_cut)
{
	uint64_t offsets[SMALL + 1];
	char path[SETT_PATH_MAX];
	struct buffer all = small_log(offsets);
	test_segment_path(1, path);
	for (size_t at = 0; at < 2 * offsets[SMALL]; at++) {
		struct test_replay replay = {0};
		struct log_recovered recovered;
		struct log_recovery recovery = {.replay = test_replay_record,
						.arg = &replay,
						.first_segment = 1,
						.durable = SMALL,
						.must_be_whole = true};
		struct sett_error error = {0};
		struct vfs *vfs = test_memory();
		bool flips = at < offsets[SMALL];
		size_t cut = flips ? all.size : at - offsets[SMALL];
		if (flips)
			all.data[at] ^= 4;
		test_write_file(vfs, path, all.data, cut);
		if (flips)
			all.data[at] ^= 4;
		uint64_t before = vfs_memory_operation_count(vfs);
		cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, &error), SETT_CORRUPT,
			     "byte %zu of %zu", at, cut);
		cr_assert_not_null(strstr(error.message, path), "%s", error.message);
		cr_assert_eq(vfs_memory_operation_count(vfs), before);
		cr_assert_eq(replay.count, 0);
		test_destroy(vfs);
	}
	buffer_free(&all);
}

/* Five segments of two commits each, written; synced up to commit `synced`. Segments are numbers 1, 2, ... */
static struct vfs *
segmented_log(uint64_t synced)
{
	uint64_t numbers = 0, segment;
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	for (uint64_t t = 1; t <= 10; t++) {
		cr_assert_eq(test_append(log, t), SETT_OK);
		cr_assert_eq(t == synced ? log_sync(log, NULL) : log_write(log, NULL), SETT_OK);
		if (t % 2 == 0) {
			cr_assert_eq(log_rotate(log, &segment), SETT_OK);
			cr_assert_eq(log_prepare(log, NULL), SETT_OK);
		}
	}
	log_destroy(log);
	return vfs;
}

/* Records beyond what others attest, and up to what the caller knows to be durable: their values are looked at,
 * and one that is gone is no cut. */
Test(log_recovery, what_only_the_caller_knows_to_be_durable_is_refused_without_its_values)
{
	for (uint64_t durable = 4; durable <= 10; durable++) {
		struct vfs *vfs = segmented_log(4);
		for (uint64_t refuse = 1; refuse <= 10; refuse++) {
			struct test_replay replay = {.refuse = refuse};
			struct log_recovered recovered;
			struct vfs *clone = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 0);
			int status = test_recover(clone, 0, durable, &replay, &recovered);
			cr_assert_eq(status, refuse <= durable ? SETT_CORRUPT : SETT_OK);
			if (status == SETT_OK) {
				cr_assert_eq(recovered.last, refuse - 1);
				cr_assert_eq(recovered.cut_commits, 10 - replay.count);
				cr_assert_not_null(strstr(recovered.cut_reason, "value"));
			}
			test_destroy(clone);
		}
		test_destroy(vfs);
	}
}

struct keeping {
	struct test_replay replay; /* first */
	struct vfs *vfs;
	uint64_t operations;
	int answer;
};

static bool
has_segment(struct vfs *vfs, uint64_t number)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	test_segment_path(number, path);
	int status = vfs_open(vfs, path, VFS_READ, &file, NULL);
	if (status == SETT_OK)
		cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	return status == SETT_OK;
}

static int
keep(void *arg, const struct log_recovered *recovered)
{
	struct keeping *k = arg;
	cr_assert_eq(recovered->last, 5);
	cr_assert_eq(k->replay.last, 5);
	for (uint64_t number = 1; number <= 5; number++)
		cr_assert(has_segment(k->vfs, number));
	/* What is kept is durable already. */
	struct vfs *clone = vfs_memory_crash_clone(k->vfs, VFS_CRASH_DROP, 0);
	struct test_replay replay = {0};
	struct log_recovered again;
	cr_assert_eq(test_recover(clone, 0, 5, &replay, &again), SETT_OK);
	cr_assert_eq(again.last, 5);
	test_destroy(clone);
	k->operations = vfs_memory_operation_count(k->vfs);
	return k->answer;
}

/* The caller makes the manifest durable after the log is, and before a file goes on its word (I10). */
Test(log_recovery, nothing_is_removed_before_the_caller_has_made_its_own_durable)
{
	for (int fails = 0; fails < 2; fails++) {
		char path[SETT_PATH_MAX];
		struct vfs *vfs = segmented_log(4);
		struct keeping k = {.vfs = vfs, .answer = fails ? SETT_IO : SETT_OK};
		struct log_recovery recovery = {.replay = test_replay_record,
						.kept = keep,
						.arg = &k,
						.first_segment = 2,
						.durable = 4,
						.after = 2};
		struct log_recovered recovered;
		test_segment_path(3, path);
		cr_assert_eq(
			vfs_memory_damage(vfs, path, 40 + log_record_span(56, test_payload_size(5)) + 60, 1),
			SETT_OK);
		cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, NULL), k.answer);
		for (uint64_t number = 1; number <= 5; number++)
			cr_assert_eq(has_segment(vfs, number), fails || number == 2 || number == 3);
		cr_assert_eq(vfs_memory_operation_count(vfs) == k.operations, fails);
		test_destroy(vfs);
	}
}

/* And not the next segment, which was made ahead of its use. */
Test(log_recovery, a_log_that_was_cut_between_two_records_is_named_where_it_ends)
{
	uint64_t numbers = 0, end = LOG_SEGMENT_HEADER_SIZE;
	char path[SETT_PATH_MAX], place[SETT_PATH_MAX + 32];
	struct test_replay replay = {0};
	struct log_recovered recovered;
	struct log_recovery recovery = {
		.replay = test_replay_record, .arg = &replay, .first_segment = 1, .durable = 10};
	struct sett_error error = {0};
	struct vfs *vfs = test_memory();
	struct vfs_file *file;
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	for (uint64_t t = 1; t <= 10; t++) {
		cr_assert_eq(test_append(log, t), SETT_OK);
		if (t <= 7)
			end += log_record_span(LOG_RECORD_HEADER_SIZE, test_payload_size(t));
	}
	cr_assert_eq(log_sync(log, NULL), SETT_OK);
	log_destroy(log);
	test_segment_path(1, path);
	cr_assert_eq(vfs_open(vfs, path, VFS_READ | VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_truncate(file, end, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, &error), SETT_CORRUPT);
	snprintf(place, sizeof(place), "%s at offset %" PRIu64 ": the log ends here", path, end);
	cr_assert_not_null(strstr(error.message, place), "%s", error.message);
	test_destroy(vfs);
}

Test(log_recovery, corruption_changes_nothing)
{
	uint64_t offsets[SMALL + 1];
	char path[SETT_PATH_MAX];
	struct buffer all = small_log(offsets);
	test_segment_path(1, path);
	struct vfs *vfs = test_memory();
	all.data[offsets[3] + 60] ^= 1;
	test_write_file(vfs, path, all.data, all.size);
	uint64_t before = vfs_memory_operation_count(vfs);
	struct test_replay replay = {0};
	struct log_recovered recovered;
	cr_assert_eq(test_recover(vfs, 0, 0, &replay, &recovered), SETT_CORRUPT);
	cr_assert_eq(vfs_memory_operation_count(vfs), before);
	/* Once the commits up to it are in tables, the damage is of no account. */
	cr_assert_eq(test_recover(vfs, 12, 12, &replay, &recovered), SETT_OK);
	buffer_free(&all);
	test_destroy(vfs);
}

Test(log_recovery, a_forged_record_in_a_payload_is_not_found)
{
	uint64_t numbers = 0;
	char path[SETT_PATH_MAX];
	struct vfs *vfs = test_memory();
	struct log *log = test_log(vfs, &numbers, SEGMENT, 0);
	uint8_t forged[LOG_RECORD_HEADER_SIZE];
	struct log_record_header header = {
		.header_size = LOG_RECORD_HEADER_SIZE, .timestamp = 99, .durable = 98};
	log_record_header_encode(forged, &header);
	/* All that the forger can't know is the segment's salt. */
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE + LOG_RECORD_HEADER_SIZE;
	log_record_seal(forged, log_segment_seed(log_segment(log), 0) + offset);
	cr_assert_eq(log_append(log, 1, 0, bytes_of(forged, sizeof(forged))), SETT_OK);
	cr_assert_eq(log_write(log, NULL), SETT_OK);
	test_segment_path(log_segment(log), path);
	log_destroy(log);
	cr_assert_eq(vfs_memory_damage(vfs, path, LOG_SEGMENT_HEADER_SIZE + 3, 0xff), SETT_OK);
	cr_assert_eq(test_recover_count(vfs), 0);
	test_destroy(vfs);
}

Test(log_recovery, a_missing_segment_is_a_hole)
{
	for (uint64_t missing = 1; missing <= 5; missing++) {
		for (uint64_t synced = 0; synced <= 8; synced += 2) {
			char path[SETT_PATH_MAX];
			struct vfs *vfs = segmented_log(synced);
			test_segment_path(missing, path);
			cr_assert_eq(vfs_remove(vfs, path, NULL), SETT_OK);
			uint64_t good = (missing - 1) * 2;
			struct test_replay replay = {0};
			struct log_recovered recovered;
			int status = test_recover(vfs, 0, 0, &replay, &recovered);
			cr_assert_eq(status, good < synced ? SETT_CORRUPT : SETT_OK);
			if (status == SETT_OK)
				cr_assert_eq(recovered.last, good);
			test_destroy(vfs);
		}
	}
}

Test(log_recovery, torn_header_of_an_unused_segment)
{
	char path[SETT_PATH_MAX];
	static const uint8_t torn[3000] = "SETTLOG\n\1";
	for (size_t size = 0; size < sizeof(torn); size += 999) {
		struct vfs *vfs = segmented_log(8);
		test_segment_path(50, path);
		test_write_file(vfs, path, torn, size);
		struct test_replay replay = {0};
		struct log_recovered recovered;
		cr_assert_eq(test_recover(vfs, 0, 0, &replay, &recovered), SETT_OK);
		cr_assert_eq(recovered.last, 10);
		cr_assert_eq(recovered.newest_segment, 50);
		cr_assert_eq(recovered.cut_bytes, 0);
		struct vfs_file *file;
		cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
		test_destroy(vfs);
	}
}

Test(log_recovery, leftovers_are_removed)
{
	struct vfs *vfs = segmented_log(8);
	struct test_replay replay = {0};
	struct log_recovered recovered;
	struct log_recovery recovery = {
		.replay = test_replay_record, .arg = &replay, .first_segment = 3, .durable = 4, .after = 4};
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, NULL), SETT_OK);
	cr_assert_eq(replay.first, 5);
	cr_assert_eq(replay.last, 10);
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	test_segment_path(2, path);
	cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
	struct vfs *clone = vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, 1);
	cr_assert_eq(vfs_open(clone, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
	test_destroy(clone);
	test_destroy(vfs);
}

Test(log_recovery, the_first_segment_stays_while_the_manifest_names_it_and_its_loss_is_corruption)
{
	struct vfs *vfs = segmented_log(8);
	struct test_replay replay = {0};
	struct log_recovered recovered;
	struct sett_error error = {0};
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	/* All of its records are in tables. */
	struct log_recovery recovery = {
		.replay = test_replay_record, .arg = &replay, .first_segment = 3, .durable = 10, .after = 10};
	test_segment_path(3, path);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, &error), SETT_OK, "%s",
			     error.message);
		cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_OK);
		cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	}
	cr_assert_eq(vfs_remove(vfs, path, NULL), SETT_OK);
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, &recovered, &error), SETT_CORRUPT);
	cr_assert_not_null(strstr(error.message, path));
	test_destroy(vfs);
}

Test(log_recovery, a_missing_value_cuts_or_is_corruption)
{
	for (uint64_t refuse = 1; refuse <= 10; refuse++) {
		struct vfs *vfs = segmented_log(4);
		struct test_replay replay = {.refuse = refuse};
		struct log_recovered recovered;
		int status = test_recover(vfs, 0, 0, &replay, &recovered);
		cr_assert_eq(status, refuse <= 4 ? SETT_CORRUPT : SETT_OK);
		if (status == SETT_OK) {
			cr_assert_eq(recovered.last, refuse - 1);
			cr_assert_gt(recovered.cut_bytes, 0);
			/* New commits take the timestamps of the cut ones. */
			uint64_t numbers = recovered.newest_segment;
			struct log *log = test_log(vfs, &numbers, SEGMENT, refuse - 1);
			for (uint64_t t = refuse; t < refuse + 4; t++)
				cr_assert_eq(test_append(log, t), SETT_OK);
			cr_assert_eq(log_write(log, NULL), SETT_OK);
			log_destroy(log);
			cr_assert_eq(test_recover_count(vfs), refuse + 3);
		}
		test_destroy(vfs);
	}
}

/* ---- power cuts ---- */

struct cut {
	struct vfs *vfs, *clone;
	enum vfs_crash_mode mode;
	uint64_t seed;
};

static void
take_clone(void *arg)
{
	struct cut *cut = arg;
	cut->clone = vfs_memory_crash_clone(cut->vfs, cut->mode, cut->seed);
}

/* Random commits, writes, syncs and rotations from `last` on; returns the newest durable timestamp. */
static uint64_t
random_load(struct log *log, struct random *random, unsigned steps, uint64_t *last)
{
	uint64_t segment;
	for (unsigned i = 0; i < steps; i++) {
		switch (random_below(random, 10)) {
		case 0:
			cr_assert_eq(log_sync(log, NULL), SETT_OK);
			break;
		case 1:
		case 2:
		case 3:
			cr_assert_eq(log_write(log, NULL), SETT_OK);
			break;
		case 4:
			if (log_rotate(log, &segment) == SETT_WOULD_BLOCK)
				cr_assert_eq(log_prepare(log, NULL), SETT_OK);
			break;
		default:
			if (!log_is_full(log, test_payload_size(*last + 1))) {
				++*last;
				cr_assert_eq(test_append(log, *last), SETT_OK);
			}
		}
	}
	return log_durable(log);
}

Test(log_recovery, power_cuts_leave_a_prefix_with_all_that_was_durable)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct random random;
		uint64_t numbers = 0, last = 0;
		random_seed(&random, seed);
		struct vfs *vfs = test_memory();
		for (int round = 0; round < 4; round++) {
			struct log *log = test_log(vfs, &numbers, SEGMENT, last);
			uint64_t durable = random_load(log, &random, 60, &last);
			uint64_t written = log_written(log);
			enum vfs_crash_mode mode = (enum vfs_crash_mode)(seed % 3);
			struct vfs *clone = vfs_memory_crash_clone(vfs, mode, random_next(&random));
			log_destroy(log);
			test_destroy(vfs);
			vfs = clone;
			uint64_t kept = test_recover_count(vfs);
			cr_assert_geq(kept, durable, "seed %lu round %d", seed, round);
			cr_assert_leq(kept, last);
			if (mode == VFS_CRASH_KEEP)
				cr_assert_eq(kept, written);
			last = kept;
		}
		test_destroy(vfs);
	}
}

/* Cuts the power before each operation of a recovery that has to cut the log: the next one ends the same. */
Test(log_recovery, a_recovery_cut_short_ends_the_same)
{
	for (uint64_t n = 1;; n++) {
		char path[SETT_PATH_MAX];
		struct test_replay replay = {0};
		struct log_recovered recovered;
		cr_assert_lt(n, 100);
		struct vfs *live = segmented_log(4);
		struct vfs *vfs = vfs_memory_crash_clone(live, VFS_CRASH_KEEP, 0);
		test_destroy(live);
		test_segment_path(3, path);
		cr_assert_eq(vfs_memory_damage(vfs, path, 200, 0x10), SETT_OK);
		for (uint64_t seed = 0; seed < 8; seed++) {
			struct cut cut = {.vfs = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 0),
					  .mode = VFS_CRASH_RANDOM,
					  .seed = seed};
			vfs_memory_on_operation(cut.vfs, vfs_memory_operation_count(cut.vfs) + n, take_clone,
						&cut);
			cr_assert_eq(test_recover(cut.vfs, 0, 0, &replay, &recovered), SETT_OK);
			uint64_t expected = recovered.last;
			cr_assert(expected >= 4 && expected < 7);
			bool is_over = cut.clone == NULL;
			if (!is_over) {
				cr_assert_eq(test_recover_count(cut.clone), expected);
				test_destroy(cut.clone);
			}
			test_destroy(cut.vfs);
			if (is_over) {
				cr_assert_gt(n, 4);
				test_destroy(vfs);
				return;
			}
		}
		test_destroy(vfs);
	}
}
