/* The value log: writing from many threads, references and removal, syncing, damage, GC's writer. */
#include <criterion/criterion.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/base/thread.h"
#include "value_log_support.h"

Test(value_log, bodies_of_every_size_come_back)
{
	static const size_t sizes[] = {0, 1, 15, 1024, 4079, 4080, 4081, 70000, 3 << 20};
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	struct world w = world_make(64 << 20);
	struct buffer bodies[COUNT];
	struct bytes slices[COUNT];
	struct value_pointer pointers[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		bodies[i] = make_body(i, sizes[i]);
		slices[i] = buffer_bytes(&bodies[i]);
	}
	cr_assert_eq(value_log_write(w.log, slices, COUNT, pointers, NULL), SETT_OK);
	uint64_t total = 0;
	for (size_t i = 0; i < COUNT; i++) {
		cr_assert_eq(pointers[i].body_size, sizes[i]);
		cr_assert_eq(check(&w, i, &pointers[i]), SETT_OK);
		total += pointers[i].stored_size;
		buffer_free(&bodies[i]);
	}
	cr_assert_eq(value_log_bytes_written(w.log), total);
	cr_assert_eq(value_log_total_bytes(w.log), total + VALUE_LOG_FILE_HEADER_SIZE);
	world_free(&w);
}

Test(value_log, files_are_small_while_there_is_little)
{
	enum { MIB = 1 << 20 };
	struct world w = world_make(64 * MIB);
	cr_assert_eq(value_log_file_size(w.log), MIB);
	uint64_t before = value_log_removed_bytes(w.log);
	struct buffer body = make_body(1, 300 * 1024);
	struct bytes slice = buffer_bytes(&body);
	struct value_pointer pointers[8];
	for (int i = 0; i < 8; i++) /* four fill a file */
		cr_assert_eq(value_log_write(w.log, &slice, 1, &pointers[i], NULL), SETT_OK);
	cr_assert_eq(pointers[0].file, pointers[3].file);
	cr_assert_neq(pointers[3].file, pointers[4].file);
	cr_assert_eq(pointers[4].file, pointers[7].file);
	uint64_t total = value_log_total_bytes(w.log);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(value_log_removed_bytes(w.log), before);
		value_log_release_number(w.log, pointers[i].file);
	}
	uint64_t removed = value_log_removed_bytes(w.log) - before;
	cr_assert_gt(removed, 4 * 300 * 1024);
	cr_assert_eq(value_log_total_bytes(w.log), total - removed);
	buffer_free(&body);
	world_free(&w);
	w = world_make(MIB / 4);
	cr_assert_eq(value_log_file_size(w.log), MIB / 4);
	world_free(&w);
}

Test(value_log, files_grow_with_the_whole)
{
	enum { MIB = 1 << 20, COUNT = 12 };
	struct world w = world_make(2 * MIB);
	struct buffer body = make_body(1, 4 * MIB);
	struct bytes slice = buffer_bytes(&body);
	/* Each fills a file, whose making set the size by those before it. */
	for (uint64_t i = 0; i < COUNT; i++) {
		struct value_pointer pointer;
		uint64_t least = MIB > i * MIB / 4 ? MIB : i * MIB / 4;
		cr_assert_eq(value_log_write(w.log, &slice, 1, &pointer, NULL), SETT_OK);
		if (least > 2 * MIB)
			least = 2 * MIB;
		cr_assert_geq(value_log_file_size(w.log), least);
		cr_assert_lt(value_log_file_size(w.log), least + 1000);
	}
	buffer_free(&body);
	world_free(&w);
}

/* The worked example of docs/format-value-log.md: these bytes must be readable for ever. */
Test(value_log, golden_bytes)
{
	static const uint8_t golden[] = {0x53, 0x45, 0x54, 0x54, 0x56, 0x4c, 0x47, 0x0a, 0x01, 0x00, 0x00,
					 0x00, 0x20, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00,
					 0x00, 0x00, 0x96, 0xc1, 0xe8, 0x84, 0x3a, 0xeb, 0x01, 0x74, 0xc9,
					 0x01, 0xf8, 0x54, 0x2f, 0x3f, 0xa7, 0xd9, 0x05, 0x00, 0x00, 0x00,
					 0x00, 0x00, 0x00, 0x00, 0x68, 0x65, 0x6c, 0x6c, 0x6f};
	struct world w = world_make(1000);
	struct value_pointer pointer = {.file = 9, .offset = 32, .stored_size = 21, .body_size = 5};
	struct vfs_file *file;
	uint8_t body[5];
	value_log_close(w.log);
	cr_assert_eq(vfs_open(w.memory, DIRECTORY "/000009.vlog", VFS_WRITE | VFS_CREATE, &file, NULL),
		     SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, golden, sizeof(golden), 0, NULL), SETT_OK);
	vfs_close(file, NULL);
	world_open(&w);
	cr_assert_eq(value_log_read_into(w.log, &pointer, 0, body, NULL), SETT_OK);
	cr_assert(bytes_equal(bytes_of(body, 5), BYTES_LITERAL("hello")));
	value_log_close(w.log);

	/* And they are what is written today. */
	*w.numbers = 8;
	cr_assert_eq(vfs_remove(w.memory, DIRECTORY "/000009.vlog", NULL), SETT_OK);
	world_open(&w);
	struct bytes hello = BYTES_LITERAL("hello");
	cr_assert_eq(value_log_write(w.log, &hello, 1, &pointer, NULL), SETT_OK);
	uint8_t written[sizeof(golden)];
	cr_assert_eq(vfs_open(w.memory, DIRECTORY "/000009.vlog", VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_read_exact(file, written, sizeof(written), 0, 0, NULL), SETT_OK);
	vfs_close(file, NULL);
	cr_assert_eq(memcmp(written, golden, sizeof(golden)), 0);
	world_free(&w);
}

/* The same of a body in pieces, by the words of docs/format-value-log.md. */
Test(value_log, golden_bytes_of_pieces)
{
	enum { BODY = (1 << 20) + 1, PIECES = 17, PAYLOAD = BODY + 8 * PIECES };
	static uint8_t body[BODY], record[16 + PAYLOAD], place[24], read[BODY];
	struct world w = world_make(4 << 20);
	struct value_pointer pointer;
	struct vfs_file *file;
	for (size_t i = 0; i < BODY; i++)
		body[i] = (uint8_t)(i * i >> 8);
	*w.numbers = 8;
	struct bytes slice = bytes_of(body, BODY);
	cr_assert_eq(value_log_write(w.log, &slice, 1, &pointer, NULL), SETT_OK);
	cr_assert_eq(pointer.stored_size, sizeof(record));
	cr_assert_eq(vfs_open(w.memory, DIRECTORY "/000009.vlog", VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_read_exact(file, record, sizeof(record), 32, 0, NULL), SETT_OK);
	vfs_close(file, NULL);
	cr_assert_eq(get_le32(record + 8), PAYLOAD);
	cr_assert_eq(get_le32(record + 12), 0x100);
	cr_assert_eq(memcmp(record + 16, body, BODY), 0);
	const uint8_t *table = record + 16 + BODY;
	for (size_t i = 0; i < PIECES; i++)
		cr_assert_eq(get_le64(table + 8 * i), hash64(body + 65536 * i, i == 16 ? 1 : 65536, 0));
	put_le64(place, 9);
	put_le64(place + 8, 32);
	put_le32(place + 16, PAYLOAD);
	put_le32(place + 20, 0x100);
	cr_assert_eq(get_le64(record), hash64(table, 8 * PIECES, hash64(place, sizeof(place), 0)));
	cr_assert_eq(get_le64(record), 0x446d3059fd65db24ULL);
	cr_assert_eq(value_log_read_into(w.log, &pointer, 0, read, NULL), SETT_OK);
	cr_assert_eq(memcmp(read, body, BODY), 0);
	world_free(&w);
}

Test(value_log, thousands_of_bodies_in_one_call)
{
	enum { COUNT = 3000 };
	struct world w = world_make(64 << 20);
	struct bytes slices[COUNT];
	struct value_pointer pointers[COUNT];
	struct buffer body = make_body(7, 2000);
	for (size_t i = 0; i < COUNT; i++)
		slices[i] = bytes_of(body.data, i % 2000);
	cr_assert_eq(value_log_write(w.log, slices, COUNT, pointers, NULL), SETT_OK);
	for (size_t i = 0; i < COUNT; i++)
		cr_assert_eq(check(&w, 7, &pointers[i]), SETT_OK);
	buffer_free(&body);
	world_free(&w);
}

Test(value_log, a_file_goes_with_its_last_reference)
{
	struct value_pointer a, b, c;
	struct world w = world_make(1000);
	cr_assert_eq(put(&w, 1, 600, &a), SETT_OK);
	cr_assert_eq(put(&w, 2, 600, &b), SETT_OK);
	cr_assert_eq(a.file, b.file);
	value_log_release_number(w.log, a.file);
	cr_assert(exists(&w, a.file));
	cr_assert_eq(value_log_retain_number(w.log, b.file), SETT_OK);
	value_log_release_number(w.log, b.file);
	value_log_release_number(w.log, b.file);
	/* No reference, but not sealed: it stays until the next file takes over. */
	cr_assert(exists(&w, a.file));
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	cr_assert_eq(put(&w, 3, 600, &c), SETT_OK);
	cr_assert_neq(c.file, a.file);
	cr_assert_not(exists(&w, a.file));
	cr_assert_eq(check(&w, 1, &a), SETT_NOT_FOUND);
	cr_assert_eq(value_log_retain_number(w.log, a.file), SETT_NOT_FOUND);
	cr_assert_eq(check(&w, 3, &c), SETT_OK);
	world_free(&w);
}

static void
note_sealed(void *arg, const struct value_log_file_info *info)
{
	uint64_t *sealed = arg;
	cr_assert(info->written_by_commits);
	*sealed += info->sealed;
}

Test(value_log, a_pinned_file_is_not_removed)
{
	struct value_pointer a, b;
	struct world w = world_make(1000);
	uint64_t sealed = 0;
	cr_assert_eq(put(&w, 1, 1200, &a), SETT_OK);
	cr_assert_eq(put(&w, 2, 1200, &b), SETT_OK);
	value_log_each_file(w.log, note_sealed, &sealed);
	cr_assert_eq(sealed, 1);
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	value_log_release_number(w.log, a.file);
	cr_assert_not(exists(&w, a.file));
	world_free(&w);
}

struct retirement {
	struct value_log *log;
	uint64_t sealed_in_flight;
	bool came;
};

/* The file's only writer is in the middle of its write. */
static void
retire_in_flight(void *arg)
{
	struct retirement *r = arg;
	r->came = true;
	value_log_retire_active(r->log);
	value_log_each_file(r->log, note_sealed, &r->sealed_in_flight);
}

Test(value_log, a_file_is_not_sealed_under_a_write)
{
	struct value_pointer a, b;
	struct world w = world_make(100000);
	struct retirement retirement = {.log = w.log};
	uint64_t sealed = 0;
	cr_assert_eq(put(&w, 1, 1200, &a), SETT_OK);
	vfs_memory_on_operation(w.memory, vfs_memory_operation_count(w.memory) + 1, retire_in_flight,
				&retirement);
	cr_assert_eq(put(&w, 2, 1200, &b), SETT_OK);
	cr_assert(retirement.came);
	cr_assert_eq(retirement.sealed_in_flight, 0);
	value_log_each_file(w.log, note_sealed, &sealed);
	cr_assert_eq(sealed, 1, "retired, and sealed once the write was over");
	cr_assert_eq(check(&w, 2, &b), SETT_OK);
	world_free(&w);
}

Test(value_log, found_files_stay_until_recovery_is_through)
{
	struct value_pointer a, b, c;
	struct world w = world_make(1000);
	cr_assert_eq(put(&w, 1, 1200, &a), SETT_OK);
	cr_assert_eq(put(&w, 2, 1200, &b), SETT_OK);
	cr_assert_eq(put(&w, 3, 1200, &c), SETT_OK);
	cr_assert_eq(value_log_sync(w.log, NULL), SETT_OK);
	world_crash(&w, VFS_CRASH_DROP, 1);
	cr_assert_eq(value_log_retain_number(w.log, b.file), SETT_OK);
	cr_assert_eq(value_log_retain_number(w.log, c.file), SETT_OK);
	value_log_release_number(w.log, c.file);
	cr_assert_eq(check(&w, 3, &c), SETT_OK);
	cr_assert_eq(value_log_remove_unreferenced(w.log, NULL), SETT_OK);
	cr_assert_not(exists(&w, a.file));
	cr_assert_not(exists(&w, c.file));
	cr_assert_eq(check(&w, 2, &b), SETT_OK);
	value_log_release_number(w.log, b.file);
	cr_assert_not(exists(&w, b.file));
	cr_assert_eq(value_log_total_bytes(w.log), 0);
	world_free(&w);
}

Test(value_log, synced_values_survive_a_power_cut)
{
	enum { COUNT = 60 };
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world w = world_make(8000);
		struct value_pointer pointers[COUNT];
		struct random random;
		size_t synced = 0;
		random_seed(&random, seed);
		for (size_t i = 0; i < COUNT; i++) {
			cr_assert_eq(put(&w, i, random_below(&random, 3000), &pointers[i]), SETT_OK);
			if (random_below(&random, 12) == 0) {
				cr_assert_eq(value_log_sync(w.log, NULL), SETT_OK);
				synced = i + 1;
			}
		}
		world_crash(&w, (enum vfs_crash_mode)(seed % 3), seed);
		for (size_t i = 0; i < COUNT; i++) {
			/* Others may be there or not; never as something else. */
			int status = check(&w, i, &pointers[i]);
			if (i < synced)
				cr_assert_eq(status, SETT_OK, "seed %lu value %zu of %zu", seed, i, synced);
			else
				cr_assert(status == SETT_OK || status == SETT_CORRUPT ||
					  status == SETT_NOT_FOUND);
		}
		world_free(&w);
	}
}

Test(value_log, values_of_a_killed_process_are_synced_by_the_next)
{
	struct value_pointer a;
	struct world w = world_make(8000);
	cr_assert_eq(put(&w, 1, 3000, &a), SETT_OK);
	value_log_close(w.log); /* the file system lives on */
	world_open(&w);
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	cr_assert_eq(value_log_sync(w.log, NULL), SETT_OK);
	world_crash(&w, VFS_CRASH_DROP, 1);
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	world_free(&w);
}

Test(value_log, every_damaged_byte_is_found)
{
	char path[SETT_PATH_MAX];
	struct value_pointer a, b;
	struct world w = world_make(1 << 20);
	cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
	cr_assert_eq(put(&w, 1, 100, &b), SETT_OK);
	path_of(a.file, path);
	for (uint64_t at = 0; at < a.stored_size; at++) {
		cr_assert_eq(vfs_memory_damage(w.memory, path, a.offset + at, 0x40), SETT_OK);
		cr_assert_eq(check(&w, 1, &a), SETT_CORRUPT);
		cr_assert_eq(check(&w, 1, &b), SETT_OK);
		cr_assert_eq(vfs_memory_damage(w.memory, path, a.offset + at, 0x40), SETT_OK);
	}
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	world_free(&w);
}

/* Writes the header of a value-log file over that of file 1; `checksum` is added to the right one. */
static void
write_header(struct world *w, uint32_t version, uint64_t number, uint64_t checksum)
{
	uint8_t header[VALUE_LOG_FILE_HEADER_SIZE];
	struct vfs_file *file;
	value_log_file_header_encode(header, number);
	put_le32(header + 8, version);
	put_le64(header + 24, hash64(header, 24, 0) + checksum);
	cr_assert_eq(vfs_open(w->memory, DIRECTORY "/000001.vlog", VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, header, sizeof(header), 0, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
}

Test(value_log, a_file_of_another_version_or_name_is_refused)
{
	struct world w = world_make(1000);
	struct value_pointer pointer;
	struct sett_error error = {0};
	cr_assert_eq(put(&w, 1, 100, &pointer), SETT_OK);
	cr_assert_eq(pointer.file, 1);
	for (uint32_t version = 0; version <= 2; version += 2) {
		char said[64];
		value_log_close(w.log);
		write_header(&w, version, 1, 0);
		uint64_t before = vfs_memory_operation_count(w.memory);
		cr_assert_eq(world_try_open(&w, &error), SETT_CORRUPT);
		cr_assert_eq(vfs_memory_operation_count(w.memory), before);
		snprintf(said, sizeof(said), "db/000001.vlog at offset 0: a value log of version %u;",
			 version);
		cr_assert_not_null(strstr(error.message, said), "%s", error.message);
		/* Torn or damaged, it says nothing: records prove themselves. */
		write_header(&w, version, 1, 1);
		world_open(&w);
		cr_assert_eq(check(&w, 1, &pointer), SETT_OK);
	}
	value_log_close(w.log);
	write_header(&w, VALUE_LOG_VERSION, 7, 0);
	cr_assert_eq(world_try_open(&w, &error), SETT_CORRUPT);
	cr_assert_not_null(
		strstr(error.message, "db/000001.vlog at offset 0: the file has another file's name"), "%s",
		error.message);
	write_header(&w, VALUE_LOG_VERSION, 1, 0);
	world_open(&w);
	world_free(&w);
}

Test(value_log, whole_bytes_in_the_wrong_place_are_found)
{
	struct value_pointer a, b;
	struct world w = world_make(1 << 20);
	cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
	cr_assert_eq(put(&w, 2, 100, &b), SETT_OK);
	struct vfs_file *file;
	char path[SETT_PATH_MAX];
	uint8_t record[116];
	path_of(a.file, path);
	cr_assert_eq(vfs_open(w.memory, path, VFS_READ | VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_read_exact(file, record, sizeof(record), a.offset, 0, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, record, sizeof(record), b.offset, NULL), SETT_OK);
	vfs_close(file, NULL);
	cr_assert_eq(check(&w, 1, &b), SETT_CORRUPT);
	world_free(&w);
}

Test(value_log, pointers_are_checked)
{
	struct value_pointer a, p;
	struct world w = world_make(1 << 20);
	cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
	p = a;
	p.offset = UINT64_MAX;
	cr_assert_eq(check(&w, 1, &p), SETT_CORRUPT);
	p = a;
	p.offset += 1;
	cr_assert_eq(check(&w, 1, &p), SETT_CORRUPT);
	p = a;
	p.stored_size = 90;
	cr_assert_eq(check(&w, 1, &p), SETT_CORRUPT);
	p = a;
	p.body_size = 99;
	p.stored_size = 115;
	cr_assert_eq(check(&w, 1, &p), SETT_CORRUPT);
	struct buffer none = {0};
	p = a;
	p.body_size = UINT64_MAX - 10;
	p.stored_size = p.body_size + 16;
	cr_assert_eq(value_log_read(w.log, &p, 0, &none, NULL), SETT_CORRUPT);
	p = a;
	p.file = 77;
	cr_assert_eq(check(&w, 1, &p), SETT_NOT_FOUND);
	p.file = 0;
	cr_assert_eq(check(&w, 1, &p), SETT_NOT_FOUND);
	buffer_free(&none);
	world_free(&w);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 400 };

struct load {
	struct world *world;
	uint64_t id;
};

static void *
load_run(void *arg)
{
	struct load *load = arg;
	struct world *w = load->world;
	rcu_thread_register();
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t id = load->id * ROUNDS + i;
		struct value_pointer pointer;
		cr_assert_eq(put(w, id, 100 + id % 900, &pointer), SETT_OK);
		if (i % 2 == 0)
			rcu_thread_offline();
		cr_assert_eq(check(w, id, &pointer), SETT_OK);
		if (i % 40 == 0)
			cr_assert_eq(value_log_sync(w->log, NULL), SETT_OK);
		if (i % 2 == 0)
			rcu_thread_online();
		rcu_quiescent();
		if (i % 50 != 0)
			value_log_release_number(w->log, pointer.file);
	}
	rcu_thread_unregister();
	return NULL;
}

Test(value_log, threads_write_read_and_release)
{
	struct world w = world_make(4000);
	struct load loads[THREADS];
	pthread_t threads[THREADS];
	uint64_t sealed = 0;
	for (uint64_t i = 0; i < THREADS; i++) {
		loads[i] = (struct load){&w, i};
		cr_assert_eq(thread_start(&threads[i], "writer", load_run, &loads[i]), SETT_OK);
	}
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	value_log_each_file(w.log, note_sealed, &sealed);
	/* Each thread kept 8 references; all other files but the active one are gone. */
	cr_assert_leq(sealed, THREADS * ROUNDS / 50);
	cr_assert_geq(sealed, 1);
	world_free(&w);
	rcu_barrier_wait();
}

/* ---- failures ---- */

Test(value_log, a_full_disk_heals)
{
	struct value_pointer a, b = {.file = 99}, c;
	struct world w = world_make(150);
	cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
	vfs_fault_arm(w.vfs, VFS_FAULT_NO_SPACE, 1, true);
	cr_assert_eq(put(&w, 2, 100, &b), SETT_NO_SPACE);
	cr_assert_eq(b.file, 99);
	vfs_fault_arm(w.vfs, VFS_FAULT_NO_SPACE, 0, false);
	cr_assert_eq(put(&w, 2, 100, &b), SETT_OK);
	cr_assert_eq(b.offset, a.offset + a.stored_size); /* the range was taken back */
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	cr_assert_eq(check(&w, 2, &b), SETT_OK);
	value_log_release_number(w.log, a.file);
	value_log_release_number(w.log, b.file);
	/* The write that failed holds no reference: the file goes once another takes over. */
	cr_assert_eq(put(&w, 3, 100, &c), SETT_OK);
	cr_assert_neq(c.file, a.file);
	cr_assert_not(exists(&w, a.file));
	world_free(&w);
}

Test(value_log, a_file_that_cannot_be_made_leaves_nothing)
{
	for (int kind = 0; kind < VFS_FAULT_KINDS; kind++) {
		struct value_pointer a;
		struct world w = world_make(1000);
		vfs_fault_arm(w.vfs, (enum vfs_fault_kind)kind, 1, false);
		int status = put(&w, 1, 100, &a);
		vfs_fault_arm(w.vfs, (enum vfs_fault_kind)kind, 0, false);
		if (status != SETT_OK) {
			cr_assert_eq(value_log_total_bytes(w.log), 0);
			cr_assert_not(exists(&w, 1));
			cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
		}
		cr_assert_eq(check(&w, 1, &a), SETT_OK);
		world_free(&w);
	}
}

Test(value_log, a_failed_sync_is_for_good)
{
	struct value_pointer a;
	struct sett_error error = {0};
	struct world w = world_make(1000);
	cr_assert_eq(put(&w, 1, 100, &a), SETT_OK);
	vfs_fault_arm(w.vfs, VFS_FAULT_SYNC, 1, false);
	cr_assert_eq(value_log_sync(w.log, &error), SETT_IO);
	cr_assert_gt(strlen(error.message), 10);
	cr_assert_eq(value_log_sync(w.log, NULL), SETT_IO);
	cr_assert_eq(check(&w, 1, &a), SETT_OK);
	world_free(&w);
}

/* ---- GC's writer ---- */

Test(value_log, the_writer_fills_files_and_makes_them_durable)
{
	enum { COUNT = 40 };
	struct world w = world_make(20000);
	struct value_log_writer *writer;
	struct value_pointer pointers[COUNT];
	cr_assert_eq(value_log_writer_create(w.log, &writer), SETT_OK);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct buffer body = make_body(i, i == 20 ? 3 << 20 : i * 100);
		cr_assert_eq(value_log_writer_add(writer, buffer_bytes(&body), &pointers[i], NULL), SETT_OK);
		buffer_free(&body);
	}
	cr_assert_eq(value_log_writer_finish(writer, NULL), SETT_OK);
	cr_assert_neq(pointers[0].file, pointers[COUNT - 1].file);
	for (uint64_t i = 0; i < COUNT; i++)
		if (i % 2)
			cr_assert_eq(value_log_retain_number(w.log, pointers[i].file), SETT_OK);
	value_log_writer_destroy(writer);
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(check(&w, i, &pointers[i]), SETT_OK);
	world_crash(&w, VFS_CRASH_DROP, 1);
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(check(&w, i, &pointers[i]), SETT_OK);
	world_free(&w);
}

/* By way of its buffer, or in pieces; a damaged source is told, whatever its size, and hurts no other. */
Test(value_log, the_writer_copies_bodies_of_any_size)
{
	static const size_t sizes[] = {0, 100, (1 << 20) - 16, (1 << 20) - 15, (3 << 20) + 1, 7};
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	struct value_pointer from[COUNT], to[COUNT];
	char path[SETT_PATH_MAX];
	for (int damaged = -1; damaged < COUNT; damaged++) {
		struct world w = world_make(1 << 22);
		struct value_log_writer *writer;
		for (size_t i = 0; i < COUNT; i++)
			cr_assert_eq(put(&w, i, sizes[i], &from[i]), SETT_OK);
		if (damaged >= 0) {
			const struct value_pointer *p = &from[damaged];
			path_of(p->file, path);
			cr_assert_eq(vfs_memory_damage(w.memory, path, p->offset + p->stored_size - 1, 1),
				     SETT_OK);
		}
		cr_assert_eq(value_log_writer_create(w.log, &writer), SETT_OK);
		for (int i = 0; i < COUNT; i++)
			cr_assert_eq(value_log_writer_copy(writer, &from[i], &to[i], NULL),
				     i == damaged ? SETT_CORRUPT : SETT_OK, "%d of %d", i, damaged);
		cr_assert_eq(value_log_writer_finish(writer, NULL), SETT_OK);
		for (int i = 0; i < COUNT; i++) {
			if (i == damaged)
				continue;
			cr_assert_neq(to[i].file, from[i].file);
			cr_assert_eq(check(&w, (uint64_t)i, &to[i]), SETT_OK, "%d of %d", i, damaged);
			cr_assert_eq(value_log_verify(w.log, &to[i], NULL), SETT_OK);
		}
		value_log_writer_destroy(writer);
		world_free(&w);
	}
}

Test(value_log, a_writer_given_up_leaves_no_file)
{
	struct world w = world_make(1000);
	struct value_log_writer *writer;
	struct value_pointer pointer;
	for (int finish = 0; finish < 3; finish++) {
		cr_assert_eq(value_log_writer_create(w.log, &writer), SETT_OK);
		for (uint64_t i = 0; finish > 0 && i < 5; i++) {
			struct buffer body = make_body(i, 600);
			cr_assert_eq(value_log_writer_add(writer, buffer_bytes(&body), &pointer, NULL),
				     SETT_OK);
			buffer_free(&body);
		}
		if (finish == 2)
			cr_assert_eq(value_log_writer_finish(writer, NULL), SETT_OK);
		value_log_writer_destroy(writer);
		cr_assert_eq(value_log_total_bytes(w.log), 0);
	}
	for (uint64_t number = 1; number <= *w.numbers; number++)
		cr_assert_not(exists(&w, number));
	world_free(&w);
}
