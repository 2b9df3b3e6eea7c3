/* Databases that are opened for reading alone: closed ones, and what a kill or a power cut left. Nothing is written. And
 * databases in memory. */
#include <stdio.h>

#include "storage/checkpoint.h"
#include "storage/engine.h"
#include "support.h"

enum { KEYS = 300 };

static struct vfs *vfs;
static struct sett_engine *engine;

static struct sett_options
options_for(struct vfs *files)
{
	return (struct sett_options){.vfs = files,
				     .seed = 42,
				     .memory_budget = 2 << 20,
				     .value_threshold = 64,
				     .value_log_file_size = 64 << 10,
				     .manual_work = true};
}

static void
set_up(void)
{
	struct sett_error error = {0};
	vfs = vfs_memory_create();
	struct sett_options options = options_for(vfs);
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
}

static void
close_engine(void)
{
	struct sett_error error = {0};
	MUST(sett_engine_close(engine, &error), &error);
	engine = NULL;
}

static void
tear_down(void)
{
	if (engine)
		close_engine();
	test_vfs_destroy(vfs);
}

static struct bytes
key_of(unsigned i, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "key%04u", i));
}

/* Each body says its number, and is in the value log every other time. */
static struct bytes
body_of(unsigned i, unsigned round, char room[160])
{
	int n = snprintf(room, 160, "%u:%u %s", i, round,
			 i % 2 ? "" : "a value of so many bytes that it is kept apart, as ");
	return bytes_of(room, (size_t)n + (i % 2 ? 0 : 40));
}

static void
write_round(struct sett_engine *e, unsigned round)
{
	struct sett_txn *txn;
	SUCCEED(sett_txn_create(e, &txn));
	for (unsigned i = 0; i < KEYS; i++) {
		char key[16], body[160] = {0};
		SUCCEED(sett_txn_begin(txn, 0));
		SUCCEED(sett_txn_put(txn, key_of(i, key),
				     &(struct sett_put){.body = body_of(i, round, body)}));
		SUCCEED(sett_txn_commit(txn, NULL, NULL));
	}
	sett_txn_destroy(txn);
}

/* Every key has its value of the round, or of the one before from some key on: a prefix of the commits. */
static void
check_rounds(struct sett_engine *e, unsigned round, bool is_whole)
{
	struct sett_txn *txn;
	bool before = false;
	SUCCEED(sett_txn_create(e, &txn));
	SUCCEED(sett_txn_begin(txn, 0));
	for (unsigned i = 0; i < KEYS; i++) {
		char key[16], room[160] = {0};
		struct sett_record record;
		struct bytes body;
		SUCCEED(sett_txn_get(txn, key_of(i, key), &record));
		SUCCEED(sett_txn_body(txn, &record, &body));
		before = before || !bytes_equal(body, body_of(i, round, room));
		memset(room, 0, sizeof(room));
		cr_assert(bytes_equal(body, body_of(i, before ? round - 1 : round, room)));
	}
	cr_assert(!before || !is_whole);
	sett_txn_destroy(txn);
}

/* ---- what is in a directory ---- */

struct picture {
	struct vfs *vfs;
	struct buffer text;
};

static int
picture_file(void *arg, const char *name)
{
	struct picture *p = arg;
	char path[SETT_TEST_PATH];
	struct buffer content;
	snprintf(path, sizeof(path), "db/%s", name);
	cr_assert(test_get_file(p->vfs, path, &content));
	SUCCEED(buffer_append(&p->text, name, strlen(name) + 1));
	SUCCEED(buffer_append(&p->text, &content.size, sizeof(content.size)));
	SUCCEED(buffer_append(&p->text, content.data, content.size));
	buffer_free(&content);
	return SETT_OK;
}

static struct buffer
picture(struct vfs *files)
{
	struct picture p = {.vfs = files};
	SUCCEED(vfs_list(files, "db", picture_file, &p, NULL));
	return p.text;
}

/* Opens for reading alone, looks, and makes sure that not a byte has changed. */
static void
check_read_only(struct vfs *files, unsigned round, bool is_whole)
{
	struct sett_error error = {0};
	struct sett_engine *reader, *second;
	struct sett_options options = options_for(files);
	options.read_only = true;
	struct buffer before = picture(files);
	uint64_t operations = vfs_memory_operation_count(files);
	MUST(sett_engine_open("db", &options, &reader, &error), &error);
	MUST(sett_engine_open("db", &options, &second, &error), &error);
	check_rounds(reader, round, is_whole);
	check_rounds(second, round, is_whole);
	cr_assert_eq(sett_engine_visible(reader), sett_engine_visible(second));
	MUST(sett_engine_close(second, &error), &error);
	MUST(sett_engine_close(reader, &error), &error);
	cr_assert_eq(vfs_memory_operation_count(files), operations);
	struct buffer after = picture(files);
	cr_assert(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
	buffer_free(&before);
	buffer_free(&after);
}

TestSuite(read_only, .init = set_up, .fini = tear_down);

Test(read_only, a_closed_database)
{
	struct sett_error error = {0};
	write_round(engine, 1);
	MUST(sett_engine_flush(engine, &error), &error);
	write_round(engine, 2);
	close_engine();
	check_read_only(vfs, 2, true);
	struct sett_options options = options_for(vfs);
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	check_rounds(engine, 2, true);
}

Test(read_only, a_directory_whose_process_was_killed)
{
	struct sett_error error = {0};
	write_round(engine, 1);
	MUST(sett_engine_compact(engine, &error), &error);
	write_round(engine, 2);
	SUCCEED(sett_engine_write(engine));
	struct vfs *killed = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 1);
	check_read_only(killed, 2, true);
	test_vfs_destroy(killed);
}

/* The log may be torn: what it ends with is not shown, and not cut off either. */
Test(read_only, what_power_cuts_leave)
{
	struct sett_error error = {0};
	write_round(engine, 1);
	MUST(sett_engine_sync(engine, &error), &error);
	write_round(engine, 2);
	SUCCEED(sett_engine_write(engine));
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct vfs *cut = vfs_memory_crash_clone(vfs, VFS_CRASH_RANDOM, seed);
		check_read_only(cut, 2, false);
		/* And the next who opens it finds the same. */
		struct sett_options options = options_for(cut);
		struct sett_engine *next, *reader;
		options.read_only = true;
		MUST(sett_engine_open("db", &options, &reader, &error), &error);
		uint64_t shown = sett_engine_visible(reader);
		MUST(sett_engine_close(reader, &error), &error);
		options.read_only = false;
		MUST(sett_engine_open("db", &options, &next, &error), &error);
		cr_assert_eq(sett_engine_visible(next), shown);
		MUST(sett_engine_close(next, &error), &error);
		test_vfs_destroy(cut);
	}
}

Test(read_only, nothing_can_be_written)
{
	struct sett_error error = {0};
	struct sett_engine *reader;
	struct sett_txn *txn;
	struct sett_body_writer *writer;
	write_round(engine, 1);
	close_engine();
	struct sett_options options = options_for(vfs);
	options.read_only = true;
	MUST(sett_engine_open("db", &options, &reader, &error), &error);
	sett_engine_stop_writes(reader, NULL, NULL);
	SUCCEED(sett_txn_create(reader, &txn));
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("a"), &(struct sett_put){.body = BYTES_LITERAL("b")}));
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_READ_ONLY);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_drop_prefix(txn, BYTES_LITERAL("key")));
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_READ_ONLY);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_counter_add(txn, 1, 1));
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_READ_ONLY);
	MUST_FAIL(sett_body_writer_open(reader, 1000, &writer, &error), SETT_READ_ONLY);
	MUST_FAIL(sett_engine_flush(reader, &error), SETT_READ_ONLY);
	MUST_FAIL(sett_engine_compact(reader, &error), SETT_READ_ONLY);
	MUST_FAIL(sett_engine_work(reader, &error), SETT_NOT_FOUND);
	MUST_FAIL(sett_checkpoint(reader, "copy", NULL, &error), SETT_READ_ONLY);
	sett_txn_destroy(txn);
	check_rounds(reader, 1, true);
	MUST(sett_engine_close(reader, &error), &error);
}

Test(read_only, it_shares_the_directory_with_readers_alone)
{
	struct sett_error error = {0};
	struct sett_engine *reader, *other;
	struct sett_options options = options_for(vfs), reading = options;
	reading.read_only = true;
	write_round(engine, 1);
	MUST_FAIL(sett_engine_open("db", &reading, &reader, &error), SETT_LOCKED);
	close_engine();
	MUST(sett_engine_open("db", &reading, &reader, &error), &error);
	MUST_FAIL(sett_engine_open("db", &options, &other, &error), SETT_LOCKED);
	MUST(sett_engine_close(reader, &error), &error);
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
}

Test(read_only, a_checkpoint_is_read_without_a_writer)
{
	struct sett_error error = {0};
	struct sett_engine *reader, *writer;
	struct sett_options options = options_for(vfs), reading = options;
	write_round(engine, 1);
	MUST(sett_checkpoint(engine, "copy", NULL, &error), &error);
	write_round(engine, 2);
	reading.read_only = true;
	MUST(sett_engine_open("copy", &reading, &reader, &error), &error);
	MUST_FAIL(sett_engine_open("copy", &options, &writer, &error), SETT_LOCKED);
	check_rounds(reader, 1, true);
	MUST(sett_engine_close(reader, &error), &error);
	MUST(sett_engine_open("copy", &options, &writer, &error), &error);
	MUST(sett_engine_close(writer, &error), &error);
}

/* A copy of the files alone, as another program may make one. */
Test(read_only, a_copy_has_no_lock_to_take)
{
	struct sett_error error = {0};
	struct sett_engine *reader;
	struct sett_options options = options_for(vfs);
	write_round(engine, 1);
	MUST(sett_checkpoint(engine, "copy", NULL, &error), &error);
	MUST(vfs_remove(vfs, "copy/LOCK", &error), &error);
	options.read_only = true;
	MUST(sett_engine_open("copy", &options, &reader, &error), &error);
	check_rounds(reader, 1, true);
	MUST(sett_engine_close(reader, &error), &error);
	struct vfs_file *lock;
	MUST_FAIL(vfs_open(vfs, "copy/LOCK", VFS_READ, &lock, NULL), SETT_NOT_FOUND);
}

Test(read_only, where_there_is_no_database)
{
	struct sett_error error = {0};
	struct sett_engine *reader;
	struct sett_options options = options_for(vfs);
	options.read_only = true;
	MUST_FAIL(sett_engine_open("nowhere", &options, &reader, &error), SETT_NOT_FOUND);
	MUST(vfs_make_directory(vfs, "empty", &error), &error);
	MUST_FAIL(sett_engine_open("empty", &options, &reader, &error), SETT_NOT_FOUND);
	options.in_memory = true;
	MUST_FAIL(sett_engine_open("db", &options, &reader, &error), SETT_INVALID);
}

/* Damage is refused as ever, and as ever nothing is changed. */
Test(read_only, damage_is_refused)
{
	struct sett_error error = {0};
	struct sett_engine *reader;
	struct sett_options options = options_for(vfs);
	options.read_only = true;
	write_round(engine, 1);
	close_engine();
	SUCCEED(vfs_memory_damage(vfs, "db/MANIFEST", 40, 0xff));
	uint64_t operations = vfs_memory_operation_count(vfs);
	MUST_FAIL(sett_engine_open("db", &options, &reader, &error), SETT_CORRUPT);
	cr_assert_eq(vfs_memory_operation_count(vfs), operations);
}

/* Each read in turn fails: the open fails cleanly, or the database is whole. */
Test(read_only, reads_that_fail)
{
	struct sett_error error = {0};
	write_round(engine, 1);
	MUST(sett_engine_flush(engine, &error), &error);
	write_round(engine, 2);
	close_engine();
	struct vfs *faults = vfs_fault_create(vfs);
	struct sett_options options = options_for(faults);
	options.read_only = true;
	bool failed = true;
	for (uint64_t n = 1; failed; n++) {
		struct sett_engine *reader;
		uint64_t before = vfs_fault_count(faults, VFS_FAULT_READ);
		vfs_fault_arm(faults, VFS_FAULT_READ, n, false);
		int r = sett_engine_open("db", &options, &reader, &error);
		failed = vfs_fault_count(faults, VFS_FAULT_READ) - before >= n;
		vfs_fault_arm(faults, VFS_FAULT_READ, 0, false);
		cr_assert(r == SETT_OK || (failed && r == SETT_IO), "%s", error.message);
		if (r != SETT_OK)
			continue;
		check_rounds(reader, 2, true);
		MUST(sett_engine_close(reader, &error), &error);
	}
	test_vfs_destroy(faults);
}

Test(read_only, a_database_in_memory)
{
	struct sett_error error = {0};
	struct sett_engine *memory;
	struct sett_options options = {.in_memory = true, .memory_budget = 2 << 20, .value_threshold = 64};
	uint64_t operations = vfs_memory_operation_count(vfs);
	MUST(sett_engine_open(NULL, &options, &memory, &error), &error);
	for (unsigned round = 1; round <= 20; round++)
		write_round(memory, round);
	MUST(sett_engine_compact(memory, &error), &error);
	check_rounds(memory, 20, true);
	MUST(sett_engine_sync(memory, &error), &error);
	MUST(sett_engine_close(memory, &error), &error);
	MUST(sett_engine_open(NULL, &options, &memory, &error), &error);
	cr_assert_eq(sett_engine_visible(memory), 0U);
	MUST_FAIL(sett_checkpoint(memory, "copy", NULL, &error), SETT_INVALID);
	cr_assert_str_eq(error.message, "a database in memory has no files for a checkpoint");
	MUST(sett_engine_close(memory, &error), &error);
	cr_assert_eq(vfs_memory_operation_count(vfs), operations);
}
