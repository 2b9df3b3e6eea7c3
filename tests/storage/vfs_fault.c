/* The fault injector: transparent until armed, then exact. */
#include <criterion/criterion.h>

#include "vfs_contract.h"

struct layers {
	struct vfs *memory, *v;
	struct vfs_file *file; /* d/f, open through `v` */
};

static struct layers
layers_make(void)
{
	struct sett_error error = {0};
	struct layers l = {.memory = test_memory_vfs("d")};
	l.v = vfs_fault_create(l.memory);
	cr_assert_not_null(l.v);
	MUST(vfs_open(l.v, "d/f", VFS_READ | VFS_WRITE | VFS_CREATE, &l.file, &error), &error);
	return l;
}

static void
layers_free(struct layers *l)
{
	MUST_FAIL(vfs_close(l->file, NULL), SETT_OK);
	test_vfs_destroy(l->v);
	test_vfs_destroy(l->memory);
}

Test(vfs_fault, unarmed_it_is_the_vfs_inside)
{
	struct layers l = layers_make();
	contract_open(l.v, "d");
	contract_content(l.v, "d", 5);
	contract_directories(l.v, "d");
	contract_lock(l.v, "d");
	layers_free(&l);
}

/* One call of each kind. */
static int
call(struct layers *l, enum vfs_fault_kind kind, struct sett_error *error)
{
	uint8_t byte;
	size_t n;
	switch (kind) {
	case VFS_FAULT_WRITE:
	case VFS_FAULT_SHORT_WRITE:
	case VFS_FAULT_NO_SPACE:
		return vfs_write_bytes(l->file, "0123456789", 10, 0, error);
	case VFS_FAULT_SYNC:
		return vfs_sync(l->file, error);
	case VFS_FAULT_READ:
		return vfs_read(l->file, &byte, 1, 0, 0, &n, error);
	case VFS_FAULT_DIRECTORY:
		return vfs_sync_directory(l->v, "d", error);
	case VFS_FAULT_RESIZE:
		return vfs_truncate(l->file, 10, error);
	case VFS_FAULT_OPEN: {
		struct vfs_file *f;
		int status = vfs_open(l->v, "d/f", VFS_READ, &f, error);
		if (status == SETT_OK)
			MUST(vfs_close(f, error), error);
		return status;
	}
	case VFS_FAULT_KINDS:
		break;
	}
	abort();
}

Test(vfs_fault, exactly_the_nth_call_fails)
{
	for (enum vfs_fault_kind kind = 0; kind < VFS_FAULT_KINDS; kind++) {
		int expected = kind == VFS_FAULT_NO_SPACE ? SETT_NO_SPACE
			: kind == VFS_FAULT_OPEN          ? SETT_NO_HANDLES
							  : SETT_IO;
		for (uint64_t n = 1; n <= 5; n++) {
			for (int sticky = 0; sticky < 2; sticky++) {
				struct layers l = layers_make();
				uint64_t before = vfs_fault_count(l.v, kind);
				MUST_FAIL(call(&l, kind, NULL), SETT_OK);
				vfs_fault_arm(l.v, kind, n, sticky);
				for (uint64_t i = 1; i <= 8; i++) {
					struct sett_error error = {0};
					int status = call(&l, kind, &error);
					bool strikes = i == n || (sticky && i > n);
					cr_assert_eq(status, strikes ? expected : SETT_OK,
						     "kind %d, n %d, call %d", (int)kind, (int)n, (int)i);
					cr_assert_eq(error.status, status);
					cr_assert_eq(error.message[0] != '\0', strikes);
				}
				vfs_fault_arm(l.v, kind, 0, false);
				MUST_FAIL(call(&l, kind, NULL), SETT_OK);
				cr_assert_eq(vfs_fault_count(l.v, kind), before + 10);
				layers_free(&l);
			}
		}
	}
}

static struct bytes
content(struct layers *l, uint8_t buf[100])
{
	struct sett_error error = {0};
	size_t n;
	MUST(vfs_read(l->file, buf, 100, 0, 0, &n, &error), &error);
	return bytes_of(buf, n);
}

Test(vfs_fault, a_failed_write_leaves_nothing_and_a_short_one_half)
{
	uint8_t buf[100];
	struct layers l = layers_make();
	vfs_fault_arm(l.v, VFS_FAULT_WRITE, 1, false);
	MUST_FAIL(vfs_write_bytes(l.file, "abcdef", 6, 0, NULL), SETT_IO);
	cr_assert_eq(content(&l, buf).size, 0);
	vfs_fault_arm(l.v, VFS_FAULT_NO_SPACE, 1, false);
	MUST_FAIL(vfs_write_bytes(l.file, "abcdef", 6, 0, NULL), SETT_NO_SPACE);
	MUST_FAIL(vfs_write_bytes(l.file, "", 0, 0, NULL), SETT_OK);
	cr_assert_eq(content(&l, buf).size, 0);
	vfs_fault_arm(l.v, VFS_FAULT_SHORT_WRITE, 1, false);
	char data[] = "abcdefgh";
	struct iovec iov[] = {{data, 2}, {data, 0}, {data + 2, 6}};
	MUST_FAIL(vfs_write(l.file, iov, 3, 1, NULL), SETT_IO);
	cr_assert(bytes_equal(content(&l, buf), BYTES_LITERAL("\0abcd")));
	layers_free(&l);
}

Test(vfs_fault, a_failed_sync_makes_nothing_durable)
{
	struct sett_error error = {0};
	struct layers l = layers_make();
	MUST(vfs_sync_directory(l.v, "d", &error), &error);
	MUST(vfs_write_bytes(l.file, "abc", 3, 0, &error), &error);
	vfs_fault_arm(l.v, VFS_FAULT_SYNC, 1, false);
	MUST_FAIL(vfs_sync(l.file, &error), SETT_IO);
	for (int i = 0; i < 2; i++) {
		struct vfs *clone = vfs_memory_crash_clone(l.memory, VFS_CRASH_DROP, 0);
		struct buffer b;
		cr_assert(test_get_file(clone, "d/f", &b));
		cr_assert_eq(b.size, i == 0 ? 0 : 3);
		buffer_free(&b);
		test_vfs_destroy(clone);
		MUST(vfs_sync(l.file, &error), &error);
	}
	layers_free(&l);
}

Test(vfs_fault, directory_faults_cover_each_call_and_change_nothing)
{
	struct sett_error error = {0};
	struct vfs_file *f = NULL;
	struct buffer b;
	struct layers l = layers_make();
	vfs_fault_arm(l.v, VFS_FAULT_DIRECTORY, 1, true);
	MUST_FAIL(vfs_open(l.v, "d/g", VFS_WRITE | VFS_CREATE, &f, &error), SETT_IO);
	MUST_FAIL(vfs_rename(l.v, "d/f", "d/g", &error), SETT_IO);
	MUST_FAIL(vfs_link(l.v, "d/f", "d/g", &error), SETT_IO);
	MUST_FAIL(vfs_remove(l.v, "d/f", &error), SETT_IO);
	MUST_FAIL(vfs_sync_directory(l.v, "d", &error), SETT_IO);
	cr_assert_null(f);
	cr_assert_not(test_get_file(l.memory, "d/g", &b));
	cr_assert(test_get_file(l.v, "d/f", &b), "opening without creating is no directory change");
	buffer_free(&b);
	vfs_fault_arm(l.v, VFS_FAULT_NO_SPACE, 1, false);
	MUST_FAIL(vfs_allocate(l.file, 100, &error), SETT_NO_SPACE);
	vfs_fault_arm(l.v, VFS_FAULT_RESIZE, 1, false);
	MUST_FAIL(vfs_allocate(l.file, 100, &error), SETT_IO);
	MUST(vfs_allocate(l.file, 100, &error), &error);
	layers_free(&l);
}
