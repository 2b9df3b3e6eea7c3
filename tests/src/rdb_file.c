/* An RDB file replaces the one of its name as a whole, whatever fails on the way. */
#include "rdb/file_writer.h"

#include <criterion/criterion.h>

static const char directory[] = "dir", name[] = "dump.rdb";

static struct vfs *
make_world(struct vfs **ret_memory)
{
	struct vfs_file *file;
	struct vfs *memory = vfs_memory_create();
	cr_assert_not_null(memory);
	cr_assert_eq(vfs_make_directory(memory, directory, NULL), SETT_OK);
	cr_assert_eq(vfs_open(memory, "dir/dump.rdb", VFS_WRITE | VFS_CREATE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, "old", 3, 0, NULL), SETT_OK);
	cr_assert_eq(vfs_sync(file, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	cr_assert_eq(vfs_sync_directory(memory, directory, NULL), SETT_OK);
	cr_assert_eq(vfs_sync_directory(memory, ".", NULL), SETT_OK);
	*ret_memory = memory;
	return vfs_fault_create(memory);
}

static int
write_file(struct vfs *vfs, bool with_checksum)
{
	struct rdb_file file;
	struct rdb_writer w;
	struct sett_error error;
	int status = rdb_file_create(&file, vfs, directory, "temp-1.rdb", &error);
	if (status != SETT_OK) {
		rdb_file_close(&file);
		return status;
	}
	rdb_writer_init(&w, false);
	w.drain = rdb_file_write;
	w.drain_arg = &file;
	for (int i = 0; i < 100; i++) {
		rdb_put_bytes(&w, BYTES_LITERAL("0123456789"));
		(void)rdb_writer_drain(&w, 100); /* a failure is kept */
	}
	status = rdb_writer_drain(&w, 1);
	if (status == SETT_OK)
		status = rdb_file_finish(&file, with_checksum, &error);
	if (status == SETT_OK)
		status = rdb_file_replace(&file, name, &error);
	rdb_writer_free(&w);
	rdb_file_close(&file);
	return status;
}

/* Its size: 3 of the old one, 1,008 of the new one. */
static uint64_t
size_of_file(struct vfs *vfs, const char *path)
{
	struct vfs_file *file;
	uint64_t size;
	if (vfs_open(vfs, path, VFS_READ, &file, NULL) != SETT_OK)
		return 0;
	cr_assert_eq(vfs_size(file, &size, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	return size;
}

Test(rdb_file, a_failure_leaves_the_old_one_and_nothing_else)
{
	static const enum vfs_fault_kind kinds[] = {VFS_FAULT_WRITE, VFS_FAULT_SHORT_WRITE,
						    VFS_FAULT_NO_SPACE, VFS_FAULT_SYNC, VFS_FAULT_DIRECTORY};
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (uint64_t n = 1;; n++) {
			struct vfs *memory, *vfs = make_world(&memory);
			vfs_fault_arm(vfs, kinds[k], n, false);
			int status = write_file(vfs, true);
			uint64_t size = size_of_file(memory, "dir/dump.rdb");
			cr_assert(size == 3 || size == 1008, "kind %zu, call %d: %d bytes", k, (int)n,
				  (int)size);
			cr_assert(status != SETT_OK || size == 1008);
			if (size == 3)
				cr_assert_eq(size_of_file(memory, "dir/temp-1.rdb"), 0);
			vfs->operations->destroy(vfs);
			memory->operations->destroy(memory);
			cr_assert_lt(n, 1000);
			if (status == SETT_OK) {
				cr_assert_gt(n, 1, "nothing of kind %zu was called", k);
				break;
			}
		}
}

Test(rdb_file, a_power_cut_leaves_one_of_the_two)
{
	struct vfs *memory, *vfs = make_world(&memory);
	cr_assert_eq(write_file(vfs, true), SETT_OK);
	struct vfs *after = vfs_memory_crash_clone(memory, VFS_CRASH_DROP, 1);
	cr_assert_eq(size_of_file(after, "dir/dump.rdb"), 1008);
	after->operations->destroy(after);
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
}

Test(rdb_file, without_a_checksum_it_ends_with_zeros)
{
	for (int with = 0; with < 2; with++) {
		struct vfs *memory, *vfs = make_world(&memory);
		struct vfs_file *file;
		uint8_t end[8];
		static const uint8_t zeros[8];
		cr_assert_eq(write_file(vfs, with), SETT_OK);
		cr_assert_eq(vfs_open(memory, "dir/dump.rdb", VFS_READ, &file, NULL), SETT_OK);
		cr_assert_eq(vfs_read_exact(file, end, sizeof(end), 1000, 0, NULL), SETT_OK);
		cr_assert_eq(memcmp(end, zeros, sizeof(end)) == 0, !with);
		cr_assert_eq(vfs_close(file, NULL), SETT_OK);
		vfs->operations->destroy(vfs);
		memory->operations->destroy(memory);
	}
}

/* What a step's sync has told, the one at the end does not tell again. */
Test(rdb_file, a_failure_of_the_device_on_the_way_is_told)
{
	enum { PIECE = 1024 * 1024, PIECES = 20 };
	static uint8_t piece[PIECE];
	for (uint64_t n = 1;; n++) {
		struct vfs *memory, *vfs = make_world(&memory);
		struct rdb_file file;
		struct sett_error error;
		cr_assert_eq(rdb_file_create(&file, vfs, directory, "temp-1.rdb", &error), SETT_OK);
		vfs_fault_arm(vfs, VFS_FAULT_SYNC, n, false);
		int status = SETT_OK;
		for (int i = 0; i < PIECES && status == SETT_OK; i++)
			status = rdb_file_write(&file, bytes_of(piece, PIECE));
		if (status == SETT_OK)
			status = rdb_file_finish(&file, true, &error);
		rdb_file_close(&file);
		vfs->operations->destroy(vfs);
		memory->operations->destroy(memory);
		if (status == SETT_OK) {
			cr_assert_gt(n, 4, "there were %d steps", (int)n - 1);
			break;
		}
		cr_assert_eq(status, SETT_IO);
	}
}
