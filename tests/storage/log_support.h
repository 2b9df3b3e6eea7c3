/* What the tests of the write-ahead log share: commits whose payload follows from their timestamp, so that
 * any record can be checked by itself, and a recovery that notes what it was given. */
#ifndef SETT_TESTS_LOG_SUPPORT_H
#define SETT_TESTS_LOG_SUPPORT_H

#include <criterion/criterion.h>

#include "log.h"
#include "log_format.h"
#include "storage/base/random.h"
#include "storage/base/thread.h"

#define TEST_DIRECTORY "db"

static inline int
test_next_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	*ret = __atomic_add_fetch((uint64_t *)arg, 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

static inline size_t
test_payload_size(uint64_t timestamp)
{
	return (size_t)(hash64(&timestamp, sizeof(timestamp), 1) % 90);
}

static inline struct bytes
test_payload(uint64_t timestamp, uint8_t room[128])
{
	size_t size = test_payload_size(timestamp);
	for (size_t i = 0; i < size; i++)
		room[i] = (uint8_t)(timestamp * 31 + i * 7 + 1);
	return bytes_of(room, size);
}

static inline struct vfs *
test_memory(void)
{
	struct vfs *vfs = vfs_memory_create();
	cr_assert_not_null(vfs);
	cr_assert_eq(vfs_make_directory(vfs, TEST_DIRECTORY, NULL), SETT_OK);
	cr_assert_eq(vfs_sync_directory(vfs, ".", NULL), SETT_OK);
	return vfs;
}

static inline struct log *
test_log(struct vfs *vfs, uint64_t *numbers, uint64_t segment_size, uint64_t last)
{
	struct log_options options = {
		.vfs = vfs,
		.directory = TEST_DIRECTORY,
		.segment_size = segment_size,
		.next_file_number = test_next_number,
		.next_file_number_arg = numbers,
	};
	struct log *log;
	struct sett_error error = {0};
	cr_assert_eq(log_create(&options, last, &log, &error), SETT_OK, "%s", error.message);
	return log;
}

/* One of three was copied before. */
static inline int
test_append(struct log *log, uint64_t timestamp)
{
	uint8_t room[128];
	struct log_record_copy *copy;
	if (timestamp % 3 != 0)
		return log_append(log, timestamp, timestamp + 1000, test_payload(timestamp, room));
	cr_assert_eq(log_copy_record(log, test_payload(timestamp, room), &copy), SETT_OK);
	int status = log_append_copy(log, timestamp, timestamp + 1000, copy);
	if (status != SETT_OK)
		log_free_copy(copy);
	return status;
}

/* What a replay was given. `refuse`: say SETT_NOT_FOUND to this timestamp. */
struct test_replay {
	uint64_t first, last, count, refuse;
	bool is_wrong; /* a record was not what its timestamp says, or out of order */
};

static inline int
test_replay_record(void *arg, const struct log_record *record)
{
	struct test_replay *replay = arg;
	uint8_t room[128];
	if (record->timestamp == replay->refuse)
		return SETT_NOT_FOUND;
	if (record->now_ms != record->timestamp + 1000 ||
	    !bytes_equal(record->payload, test_payload(record->timestamp, room)) ||
	    (replay->count > 0 && record->timestamp != replay->last + 1))
		replay->is_wrong = true;
	if (replay->count++ == 0)
		replay->first = record->timestamp;
	replay->last = record->timestamp;
	return SETT_OK;
}

static inline int
test_recover(struct vfs *vfs, uint64_t after, uint64_t durable, struct test_replay *replay,
	     struct log_recovered *ret)
{
	struct log_recovery recovery = {
		.replay = test_replay_record,
		.arg = replay,
		.after = after,
		.durable = durable,
	};
	struct sett_error error = {0};
	int status = log_recover(vfs, TEST_DIRECTORY, &recovery, ret, &error);
	if (status == SETT_CORRUPT)
		cr_assert_gt(strlen(error.message), 10);
	return status;
}

/* Recovers with nothing known from elsewhere; the status must be SETT_OK and the records 1..n. Returns n. */
static inline uint64_t
test_recover_count(struct vfs *vfs)
{
	struct test_replay replay = {0};
	struct log_recovered recovered;
	cr_assert_eq(test_recover(vfs, 0, 0, &replay, &recovered), SETT_OK);
	cr_assert_not(replay.is_wrong);
	cr_assert_eq(replay.count, recovered.last);
	cr_assert(replay.count == 0 || replay.first == 1);
	return replay.count;
}

static inline void
test_segment_path(uint64_t number, char ret[SETT_PATH_MAX])
{
	cr_assert_eq(file_name_make(TEST_DIRECTORY, number, LOG_SUFFIX, ret), SETT_OK);
}

static inline struct buffer
test_read_file(struct vfs *vfs, const char *path)
{
	struct buffer all = {0};
	struct vfs_file *file;
	uint64_t size;
	cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_size(file, &size, NULL), SETT_OK);
	cr_assert_eq(buffer_reserve(&all, size + 1), SETT_OK);
	cr_assert_eq(vfs_read_exact(file, all.data, size, 0, 0, NULL), SETT_OK);
	all.size = size;
	vfs_close(file, NULL);
	return all;
}

static inline void
test_write_file(struct vfs *vfs, const char *path, const void *data, size_t size)
{
	struct vfs_file *file;
	cr_assert_eq(vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &file, NULL), SETT_OK);
	if (size > 0)
		cr_assert_eq(vfs_write_bytes(file, data, size, 0, NULL), SETT_OK);
	vfs_close(file, NULL);
}

static inline void
test_destroy(struct vfs *vfs)
{
	vfs->operations->destroy(vfs);
}

#endif
