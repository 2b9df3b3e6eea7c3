/* Segments whose file had an earlier life: what it held then is never taken for a record, and the log's end
 * is told from damage. */
#include "log_support.h"

enum { SEGMENT = 64 * 1024, FIRST_LIFE = 400, BEFORE = FIRST_LIFE + 2, MOST = 150 };

/* A log whose current segment lies in the file of its first one: commits up to FIRST_LIFE are gone with that,
 * BEFORE is the last one in other segments. */
struct reused {
	struct vfs *memory, *vfs; /* `vfs` injects faults */
	struct log *log;
	uint64_t numbers, flushed_to; /* the first segment that is needed */
	char path[SETT_PATH_MAX];     /* of the current segment */
};

static void
append_range(struct log *log, uint64_t first, uint64_t last)
{
	for (uint64_t t = first; t <= last; t++)
		cr_assert_eq(test_append(log, t), SETT_OK);
}

/* Up to where the file is retired and the next segment is not made. */
static void
retire_first(struct reused *r)
{
	uint64_t segment;
	*r = (struct reused){.memory = test_memory()};
	r->vfs = vfs_fault_create(r->memory);
	r->log = test_log(r->vfs, &r->numbers, SEGMENT, 0);
	append_range(r->log, 1, FIRST_LIFE);
	cr_assert_eq(log_rotate(r->log, &r->flushed_to), SETT_OK);
	append_range(r->log, FIRST_LIFE + 1, BEFORE);
	cr_assert_eq(log_prepare(r->log, NULL), SETT_OK);
	cr_assert_eq(log_sync(r->log, NULL), SETT_OK);
	cr_assert_eq(log_rotate(r->log, &segment), SETT_OK);
	cr_assert_eq(log_remove_before(r->log, r->flushed_to, NULL), SETT_OK);
}

static void
make_reused(struct reused *r)
{
	uint64_t segment;
	retire_first(r);
	cr_assert_eq(log_prepare(r->log, NULL), SETT_OK);
	cr_assert_eq(log_rotate(r->log, &segment), SETT_OK);
	test_segment_path(segment, r->path);
	struct buffer content = test_read_file(r->memory, r->path);
	uint64_t left = 0;
	for (size_t i = LOG_PAGE; i < content.size; i++)
		left += content.data[i] != 0;
	cr_assert_gt(left, 1000, "the file has no earlier life");
	buffer_free(&content);
}

static void
destroy(struct reused *r)
{
	log_destroy(r->log);
	test_destroy(r->vfs);
	test_destroy(r->memory);
}

struct seen {
	struct test_replay replay; /* first */
	unsigned damages;
};

static void
note_damage(void *arg, uint64_t segment, uint64_t offset, const char *what)
{
	(void)segment, (void)offset, (void)what;
	((struct seen *)arg)->damages++;
}

/* Recovers with what a manifest would know. Returns the number of damaged places. */
static unsigned
recover(struct vfs *vfs, const struct reused *r, struct log_recovered *ret)
{
	struct seen seen = {0};
	struct sett_error error = {0};
	struct log_recovery recovery = {.replay = test_replay_record,
					.damage = note_damage,
					.arg = &seen,
					.first_segment = r->flushed_to,
					.after = FIRST_LIFE,
					.durable = FIRST_LIFE};
	cr_assert_eq(log_recover(vfs, TEST_DIRECTORY, &recovery, ret, &error), SETT_OK, "%s", error.message);
	cr_assert_not(seen.replay.is_wrong);
	cr_assert_eq(ret->last, FIRST_LIFE + seen.replay.count);
	return seen.damages;
}

/* Wherever in a page it ends, and whether or not the power goes. */
Test(log_reuse, the_end_is_told_from_what_was_there_before)
{
	struct reused r;
	struct log_recovered recovered;
	make_reused(&r);
	for (uint64_t t = BEFORE; t <= BEFORE + MOST; t++) {
		if (t > BEFORE)
			cr_assert_eq(test_append(r.log, t), SETT_OK);
		cr_assert_eq(log_sync(r.log, NULL), SETT_OK);
		static const enum vfs_crash_mode modes[] = {VFS_CRASH_KEEP, VFS_CRASH_DROP};
		for (int mode = 0; mode < 2; mode++) {
			struct vfs *clone = vfs_memory_crash_clone(r.memory, modes[mode], t);
			cr_assert_eq(recover(clone, &r, &recovered), 0);
			cr_assert_eq(recovered.last, t);
			cr_assert_eq(recovered.cut_bytes, 0);
			test_destroy(clone);
		}
	}
	destroy(&r);
}

static int
accept(void *arg, const struct log_record *record)
{
	((struct seen *)arg)->replay.last = record->timestamp;
	return SETT_OK;
}

/* There the zeros behind the end are a page of their own. */
Test(log_reuse, the_end_is_at_the_end_of_a_page)
{
	static const uint8_t zeros[2 * LOG_PAGE];
	struct reused r;
	struct seen seen = {0};
	struct log_recovered recovered;
	make_reused(&r);
	size_t size = 2 * LOG_PAGE - LOG_SEGMENT_HEADER_SIZE - LOG_RECORD_HEADER_SIZE;
	cr_assert_eq(log_append(r.log, BEFORE + 1, 0, bytes_of(zeros, size)), SETT_OK);
	cr_assert_eq(log_sync(r.log, NULL), SETT_OK);
	struct log_recovery recovery = {.replay = accept,
					.damage = note_damage,
					.arg = &seen,
					.first_segment = r.flushed_to,
					.after = FIRST_LIFE,
					.durable = FIRST_LIFE};
	cr_assert_eq(log_recover(r.memory, TEST_DIRECTORY, &recovery, &recovered, NULL), SETT_OK);
	cr_assert_eq(seen.replay.last, BEFORE + 1);
	cr_assert_eq(seen.damages, 0);
	destroy(&r);
}

Test(log_reuse, a_power_cut_leaves_a_prefix_with_all_that_was_synced)
{
	enum { ROUNDS = 60, WRITES = 8, CUTS = 6 };
	struct random random;
	unsigned cut_short = 0;
	random_seed(&random, 7);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct reused r;
		struct log_recovered recovered;
		make_reused(&r);
		uint64_t synced = BEFORE, end = BEFORE;
		for (unsigned i = 0; i < WRITES; i++) {
			uint64_t more = 1 + random_below(&random, 40);
			append_range(r.log, end + 1, end + more);
			end += more;
			if (random_below(&random, 3) == 0) {
				cr_assert_eq(log_sync(r.log, NULL), SETT_OK);
				synced = end;
			}
			cr_assert_eq(log_write(r.log, NULL), SETT_OK);
		}
		for (unsigned i = 0; i < CUTS; i++) {
			struct vfs *clone =
				vfs_memory_crash_clone(r.memory, VFS_CRASH_RANDOM, random_next(&random));
			recover(clone, &r, &recovered);
			cr_assert_geq(recovered.last, synced);
			cr_assert_leq(recovered.last, end);
			cut_short += recovered.last < end;
			/* What was cut does not come back. */
			uint64_t last = recovered.last;
			cr_assert_eq(recover(clone, &r, &recovered), 0);
			cr_assert_eq(recovered.last, last);
			test_destroy(clone);
		}
		destroy(&r);
	}
	cr_assert_gt(cut_short, ROUNDS);
}

Test(log_reuse, a_damaged_record_is_told)
{
	struct reused r;
	struct log_recovered recovered;
	make_reused(&r);
	uint64_t end = LOG_SEGMENT_HEADER_SIZE, last = 0;
	for (uint64_t t = BEFORE + 1; t <= BEFORE + 10; t++) {
		cr_assert_eq(test_append(r.log, t), SETT_OK);
		last = end;
		end += log_record_span(LOG_RECORD_HEADER_SIZE, test_payload_size(t));
	}
	cr_assert_eq(log_write(r.log, NULL), SETT_OK);
	for (uint64_t at = last; at < end; at++) {
		struct vfs *clone = vfs_memory_crash_clone(r.memory, VFS_CRASH_KEEP, 0);
		cr_assert_eq(vfs_memory_damage(clone, r.path, at, 0x10), SETT_OK);
		cr_assert_gt(recover(clone, &r, &recovered), 0);
		cr_assert_eq(recovered.last, BEFORE + 9);
		test_destroy(clone);
	}
	destroy(&r);
}

/* Whatever fails on the way, there is a segment in the end, and no file too many. */
Test(log_reuse, where_a_file_cannot_be_used_again_a_new_one_is_made)
{
	static const enum vfs_fault_kind kinds[] = {VFS_FAULT_WRITE, VFS_FAULT_SYNC, VFS_FAULT_DIRECTORY,
						    VFS_FAULT_RESIZE, VFS_FAULT_NO_SPACE};
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (uint64_t n = 1; n <= 2; n++) {
			struct reused r;
			struct log_recovered recovered;
			uint64_t segment, count, bytes;
			retire_first(&r);
			vfs_fault_arm(r.vfs, kinds[k], n, false);
			int status = log_prepare(r.log, NULL);
			vfs_fault_arm(r.vfs, kinds[k], 0, false);
			cr_assert_eq(status, SETT_OK, "kind %d, call %d", (int)kinds[k], (int)n);
			cr_assert_eq(log_rotate(r.log, &segment), SETT_OK);
			append_range(r.log, BEFORE + 1, BEFORE + 5);
			cr_assert_eq(log_sync(r.log, NULL), SETT_OK);
			log_figures(r.log, &count, &bytes);
			cr_assert_eq(count, 3);
			cr_assert_eq(bytes, 3 * SEGMENT);
			struct vfs *clone = vfs_memory_crash_clone(r.memory, VFS_CRASH_DROP, 0);
			cr_assert_eq(recover(clone, &r, &recovered), 0);
			cr_assert_eq(recovered.last, BEFORE + 5);
			test_destroy(clone);
			destroy(&r);
		}
	}
}

Test(log_reuse, the_kept_file_counts_and_goes_with_the_log)
{
	struct reused r;
	uint64_t count, bytes;
	retire_first(&r);
	log_figures(r.log, &count, &bytes);
	cr_assert_eq(count, 2);
	cr_assert_eq(bytes, 3 * SEGMENT);
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	test_segment_path(1, path);
	cr_assert_eq(vfs_open(r.memory, path, VFS_READ, &file, NULL), SETT_OK);
	vfs_close(file, NULL);
	log_destroy(r.log);
	cr_assert_eq(vfs_open(r.memory, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
	test_destroy(r.vfs);
	test_destroy(r.memory);
}
