/* The replication stream: what commits put into it, what is kept of it, and how it goes on after a start (repl/). */
#include "keyspace/position.h"
#include "repl/encoding.h"
#include "repl/history.h"
#include "repl/kept_history.h"
#include "repl/replicas.h"
#include "server_support.h"
#include "storage/base/sync_point.h"

#define expect(f, client, line, expected) fixture_expect_at(f, client, line, expected, __LINE__)

/* ---- history ---- */

static uint8_t
byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 31 + (offset >> 16));
}

/* Appends bytes up to `end` in offset, `step` at a time. */
static void
fill(struct history *h, uint64_t end, size_t step)
{
	uint8_t *bytes = malloc(step);
	while (h->end < end) {
		size_t size = end - h->end < step ? (size_t)(end - h->end) : step;
		for (size_t i = 0; i < size; i++)
			bytes[i] = byte_at(h->end + i);
		cr_assert_eq(history_reserve(h, size), SETT_OK);
		history_append(h, bytes_of(bytes, size));
	}
	free(bytes);
}

/* All that is there, from `offset` on, is what was appended. How much of it came from the file. */
static uint64_t
expect_bytes(struct history *h, uint64_t offset)
{
	static uint8_t buffer[HISTORY_BLOCK];
	uint64_t from_file = 0;
	struct sett_error error = {0};
	while (offset < h->end) {
		struct history_place place;
		size_t size = history_find(h, offset, h->end, &place);
		cr_assert_gt(size, 0);
		const uint8_t *bytes = place.bytes.data;
		if (place.block != NULL) {
			cr_assert_eq(history_read_file(h, &place, buffer, size, &error), SETT_OK, "%s",
				     error.message);
			history_release(h, &place);
			bytes = buffer;
			from_file += size;
		}
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(bytes[i], byte_at(offset + i), "at %llu",
				     (unsigned long long)(offset + i));
		offset += size;
	}
	return from_file;
}

static int
spill_all(struct history *h, struct sett_error *error)
{
	struct history_block *b;
	uint64_t number;
	int status = SETT_OK;
	while (status == SETT_OK && (b = history_next_to_spill(h, &number)) != NULL) {
		status = history_write(h, b, error);
		history_spilled(h, b, number, status);
	}
	return status;
}

Test(replication, history_keeps_bytes_across_blocks)
{
	struct vfs *vfs = vfs_memory_create();
	struct history h;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	history_restart(&h, 1000000);
	cr_assert_eq(history_size(&h), 0);
	fill(&h, 1000000 + 5 * HISTORY_BLOCK, 777);
	cr_assert_eq(history_size(&h), 5 * HISTORY_BLOCK);
	expect_bytes(&h, 1000000);
	expect_bytes(&h, h.end - 1);
	history_trim(&h, h.end - HISTORY_BLOCK);
	cr_assert_eq(h.start, h.end - HISTORY_BLOCK);
	cr_assert_lt(h.end - h.first_block * HISTORY_BLOCK, 3 * HISTORY_BLOCK);
	expect_bytes(&h, h.start - 1);
	fill(&h, h.end + 3, 3);
	history_restart(&h, 7);
	cr_assert_eq(history_size(&h), 0);
	fill(&h, 20, 1);
	expect_bytes(&h, 7);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

Test(replication, history_beyond_memory_lies_in_the_file)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct history h;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	history_restart(&h, 12345);
	for (int round = 0; round < 6; round++) {
		fill(&h, h.end + HISTORY_MEMORY / 2, 100000);
		cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	}
	cr_assert_leq(h.memory_blocks, HISTORY_MEMORY / HISTORY_BLOCK);
	cr_assert_eq(history_size(&h), 3 * (uint64_t)HISTORY_MEMORY);
	uint64_t from_file = expect_bytes(&h, 12345);
	cr_assert_gt(from_file, HISTORY_MEMORY);
	/* A reader keeps its block while it is trimmed; places in the file are used again. */
	struct history_place place;
	static uint8_t buffer[HISTORY_BLOCK];
	size_t size = history_find(&h, 12345, h.end, &place);
	cr_assert_not_null(place.block);
	history_trim(&h, h.end - HISTORY_MEMORY);
	cr_assert_eq(history_read_file(&h, &place, buffer, size, &error), SETT_OK);
	cr_assert_eq(buffer[0], byte_at(12345));
	history_release(&h, &place);
	uint64_t slots = h.slots;
	fill(&h, h.end + HISTORY_MEMORY / 2, 100000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK);
	cr_assert_eq(h.slots, slots);
	expect_bytes(&h, h.start - 1);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

Test(replication, history_gives_the_files_space_back)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct history h;
	uint64_t slots, size;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	fill(&h, 4 * (uint64_t)HISTORY_MEMORY, 100000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	cr_assert_not(history_must_cut(&h, &slots));
	/* What is left lies at the file's end; what comes next takes the places before it. */
	history_trim(&h, h.end - HISTORY_MEMORY - 4 * HISTORY_BLOCK);
	cr_assert_not(history_must_cut(&h, &slots));
	fill(&h, h.end + HISTORY_MEMORY / 2, 100000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	history_trim(&h, h.end - HISTORY_MEMORY - 4 * HISTORY_BLOCK);
	cr_assert(history_must_cut(&h, &slots));
	cr_assert_eq(history_cut_file(&h, slots, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(vfs_size(h.file, &size, &error), SETT_OK);
	cr_assert_leq(size, (uint64_t)HISTORY_MEMORY);
	cr_assert_not(history_must_cut(&h, &slots));
	cr_assert_gt(expect_bytes(&h, h.start - 1), 0);
	fill(&h, h.end + 2 * (uint64_t)HISTORY_MEMORY, 100000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	expect_bytes(&h, h.start - 1);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

/* ---- what one process keeps for the next ---- */

static int
take_kept(struct vfs *vfs, const char *id, uint64_t offset, struct history *ret)
{
	struct sett_error error = {0};
	struct stream_position position = {.offset = offset};
	snprintf(position.id, sizeof(position.id), "%s", id);
	cr_assert_eq(history_init(ret, vfs, "."), SETT_OK);
	history_restart(ret, offset);
	return kept_history_take(ret, &position, &error);
}

static const char an_id[] = "0123456789012345678901234567890123456789",
		  another_id[] = "0123456789012345678901234567890123456780";

static void
keep(struct vfs *vfs, uint64_t start, uint64_t end, uint64_t from)
{
	struct sett_error error = {0};
	struct history h;
	struct stream_position position = {.offset = end};
	snprintf(position.id, sizeof(position.id), "%s", an_id);
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	history_restart(&h, start);
	fill(&h, end, 30000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(kept_history_write(&h, &position, from, &error), SETT_OK, "%s", error.message);
	history_free(&h);
}

Test(replication, a_kept_history_is_taken_once)
{
	struct vfs *vfs = vfs_memory_create();
	struct history h;
	const uint64_t end = 1000 + 2 * (uint64_t)HISTORY_MEMORY;
	keep(vfs, 1000, end, 70000);
	cr_assert_eq(take_kept(vfs, an_id, end, &h), SETT_OK);
	cr_assert_eq(h.start, 70001);
	cr_assert_eq(h.end, end);
	expect_bytes(&h, 70000);
	history_free(&h);
	cr_assert_eq(take_kept(vfs, an_id, end, &h), SETT_NOT_FOUND, "it was taken already");
	cr_assert_eq(history_size(&h), 0);
	history_free(&h);
	/* Of one that is too long its newest bytes are kept, and nothing where nobody lacks any. */
	const uint64_t long_end = 4000 + 2 * (uint64_t)KEPT_HISTORY_MAX;
	keep(vfs, 4000, long_end, 1);
	cr_assert_eq(take_kept(vfs, an_id, long_end, &h), SETT_OK);
	cr_assert_eq(history_size(&h), (uint64_t)KEPT_HISTORY_MAX);
	expect_bytes(&h, h.start - 1);
	history_free(&h);
	keep(vfs, 1000, end, end);
	cr_assert_eq(take_kept(vfs, an_id, end, &h), SETT_NOT_FOUND);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

Test(replication, a_kept_history_of_another_position_is_not_taken)
{
	struct vfs *vfs = vfs_memory_create();
	struct history h;
	const struct {
		const char *id;
		uint64_t end;
	} others[] = {{another_id, 100000}, {an_id, 99999}, {an_id, 100001}};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		keep(vfs, 1000, 100000, 5000);
		cr_assert_eq(take_kept(vfs, others[i].id, others[i].end, &h), SETT_NOT_FOUND);
		cr_assert_eq(h.end, others[i].end);
		cr_assert_eq(history_size(&h), 0);
		history_free(&h);
	}
	vfs->operations->destroy(vfs);
}

Test(replication, a_damaged_kept_history_is_not_taken)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct history h;
	for (uint64_t at = 0; at < 3000; at += at < 90 ? 1 : 97) {
		struct vfs_file *file;
		uint8_t byte;
		size_t got;
		keep(vfs, 1000, 4000, 1000);
		cr_assert_eq(vfs_open(vfs, "./replication-backlog", VFS_READ | VFS_WRITE, &file, &error),
			     SETT_OK);
		cr_assert_eq(vfs_read(file, &byte, 1, at, 0, &got, &error), SETT_OK);
		byte ^= 1;
		struct iovec bytes = {&byte, 1};
		cr_assert_eq(vfs_write(file, &bytes, 1, at, &error), SETT_OK);
		cr_assert_eq(vfs_close(file, &error), SETT_OK);
		cr_assert_eq(take_kept(vfs, an_id, 4000, &h), SETT_NOT_FOUND, "byte %d", (int)at);
		cr_assert_eq(history_size(&h), 0);
		history_free(&h);
	}
	vfs->operations->destroy(vfs);
}

Test(replication, history_forgets_what_cannot_be_written)
{
	struct vfs *memory = vfs_memory_create(), *vfs = vfs_fault_create(memory);
	struct sett_error error = {0};
	struct history h;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	fill(&h, HISTORY_MEMORY + 10 * HISTORY_BLOCK, 50000);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 3, false);
	cr_assert_eq(spill_all(&h, &error), SETT_NO_SPACE);
	cr_assert_eq(h.start, 3 * HISTORY_BLOCK + 1);
	expect_bytes(&h, h.start - 1);
	cr_assert_eq(spill_all(&h, &error), SETT_OK);
	cr_assert_gt(expect_bytes(&h, h.start - 1), 0);
	history_free(&h);
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
}

Test(replication, history_in_memory_is_bounded)
{
	struct vfs *vfs = vfs_memory_create();
	struct history h;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	fill(&h, HISTORY_MEMORY_MAX + (16 << 20), 1 << 20);
	cr_assert_lt(history_memory(&h), (uint64_t)HISTORY_MEMORY_MAX + (4 << 20));
	expect_bytes(&h, h.start - 1);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

Test(replication, history_keeps_a_large_commit_until_it_is_in_the_file)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct history h;
	const uint64_t large = HISTORY_MEMORY_MAX + (16 << 20);
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	fill(&h, 100000, 1000);
	fill(&h, h.end + large, large);
	fill(&h, h.end + (1 << 20), 100000);
	cr_assert_eq(h.start, 1);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(h.start, 1);
	cr_assert_gt(expect_bytes(&h, 0), large - HISTORY_MEMORY);
	/* Once it is there, the bound is that of others. */
	fill(&h, h.end + HISTORY_MEMORY, 100000);
	cr_assert_eq(spill_all(&h, &error), SETT_OK, "%s", error.message);
	fill(&h, h.end + HISTORY_MEMORY_MAX + (16 << 20), 1 << 20);
	cr_assert_leq(h.memory_blocks, (HISTORY_MEMORY_MAX + (2 << 20)) / HISTORY_BLOCK);
	expect_bytes(&h, h.start - 1);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

Test(replication, history_takes_back_what_was_reserved)
{
	struct vfs *vfs = vfs_memory_create();
	struct history h;
	cr_assert_eq(history_init(&h, vfs, "."), SETT_OK);
	cr_assert_eq(history_reserve(&h, 3 * HISTORY_BLOCK), SETT_OK);
	cr_assert_eq(history_reserve(&h, 10), SETT_OK);
	history_unreserve(&h, 3 * HISTORY_BLOCK);
	history_append(&h, BYTES_LITERAL("0123456789"));
	cr_assert_eq(h.promised, 0);
	cr_assert_eq(history_size(&h), 10);
	history_free(&h);
	vfs->operations->destroy(vfs);
}

/* ---- encoding ---- */

static void
expect_encoded(const struct effect *first, int64_t db, const char *expected, int64_t db_after)
{
	struct resp_writer out;
	int64_t found;
	resp_writer_init(&out, 2);
	cr_assert_eq(stream_encode(first, db, &out, &found), SETT_OK);
	cr_assert(out.size == strlen(expected) &&
			  memcmp(out.data != NULL ? (const char *)out.data : "", expected, out.size) == 0,
		  "expected %s, got %.*s", expected, (int)out.size, (const char *)out.data);
	cr_assert_eq(found, db_after);
	resp_writer_free(&out);
}

#define SET_K "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
#define DEL_K "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define SELECT(n) "*2\r\n$6\r\nSELECT\r\n$1\r\n" #n "\r\n"

Test(replication, effects_become_commands)
{
	const struct bytes set[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), BYTES_LITERAL("v")};
	const struct bytes del[] = {BYTES_LITERAL("DEL"), BYTES_LITERAL("k")};
	struct effect event = {.kind = EFFECT_EVENT};
	struct effect second = {.kind = EFFECT_COMMAND, .argc = 2, .argv = del};
	struct effect first = {.kind = EFFECT_COMMAND, .apart = true, .argc = 3, .argv = set};
	expect_encoded(NULL, 0, "", 0);
	expect_encoded(&event, -1, "", -1);
	expect_encoded(&first, 0, SET_K, 0);
	expect_encoded(&first, -1, SELECT(0) SET_K, 0);
	first.next = &event;
	event.next = &second;
	expect_encoded(&first, 0, MULTI SET_K DEL_K EXEC, 0);
	second.db = 3;
	expect_encoded(&first, 0, MULTI SET_K SELECT(3) DEL_K EXEC, 3);
	expect_encoded(&first, 5, SELECT(0) MULTI SET_K SELECT(3) DEL_K EXEC, 3);
	second.apart = true;
	expect_encoded(&first, 0, SET_K SELECT(3) DEL_K, 3);
}

/* ---- the position ---- */

static struct replication_state
state_of(struct fixture *f)
{
	struct replication_state state;
	replication_get(f->server.replication, &state);
	return state;
}

/* Of "INCR n" and "SELECT 0" as arrays. */
enum { INCR_SIZE = 21, SELECT_SIZE = 23 };

Test(replication, no_offset_moves_without_a_stream)
{
	struct fixture *f = fixture_open();
	expect(f, 0, "INCR n", ":1\r\n");
	cr_assert_eq(state_of(f).position.offset, 0);
	cr_assert(!state_of(f).streams);
	fixture_stop(f);
	fixture_start(f);
	cr_assert_eq(state_of(f).position.second_offset, -1);
	fixture_close(f);
}

Test(replication, offset_and_ids_outlive_a_start)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
	struct replication_state before = state_of(f);
	for (int i = 0; i < 10; i++)
		fixture_run_line(f, 0, "INCR n");
	cr_assert_eq(state_of(f).position.offset, SELECT_SIZE + 10 * INCR_SIZE);
	fixture_stop(f);
	fixture_start(f);
	struct replication_state after = state_of(f);
	cr_assert(after.streams);
	cr_assert_eq(after.position.offset, SELECT_SIZE + 10 * INCR_SIZE);
	cr_assert_str_neq(after.position.id, before.position.id);
	cr_assert_str_eq(after.position.second_id, before.position.id);
	cr_assert_eq(after.position.second_offset, SELECT_SIZE + 10 * INCR_SIZE + 1);
	/* Nothing is selected after a start. */
	fixture_run_line(f, 0, "INCR n");
	cr_assert_eq(state_of(f).position.offset, 2 * SELECT_SIZE + 11 * INCR_SIZE);
	fixture_close(f);
}

/* Whatever a power cut leaves of the commits, the offset is that of what is left. */
Test(replication, offset_after_a_power_cut_is_that_of_the_data)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct fixture *f = fixture_open();
		struct sett_error error;
		cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
		for (uint64_t i = 0; i < 10 + seed; i++) {
			fixture_run_line(f, 0, "INCR n");
			if (i == seed / 2)
				cr_assert_eq(sett_engine_sync(f->server.engine, &error), SETT_OK);
			else if (i % 3 == 0)
				cr_assert_eq(sett_engine_write(f->server.engine), SETT_OK);
		}
		struct vfs *before = f->vfs;
		struct vfs *clone = vfs_memory_crash_clone(before, VFS_CRASH_RANDOM, seed);
		fixture_stop(f);
		f->vfs = clone;
		fixture_start(f);
		fixture_run_line(f, 0, "GET n");
		uint64_t n = strtoull(strchr((const char *)f->reply.data, '\n') + 1, NULL, 10);
		cr_assert_geq(n, seed / 2 + 1);
		cr_assert_eq(state_of(f).position.offset, SELECT_SIZE + n * INCR_SIZE, "seed %llu",
			     (unsigned long long)seed);
		fixture_close(f);
		before->operations->destroy(before);
	}
}

static uint64_t
number_of(struct fixture *f, unsigned client)
{
	fixture_run_line(f, client, "GET n");
	return strtoull(strchr((const char *)f->reply.data, '\n') + 1, NULL, 10);
}

/* A master that comes back as a replica goes on from there, in the database that is selected there. */
Test(replication, selected_database_after_a_power_cut_is_that_of_the_data)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct fixture *f = fixture_open();
		struct sett_error error;
		struct stream_position position;
		cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
		fixture_run_line(f, 1, "SELECT 3");
		for (uint64_t i = 0; i < 10 + seed; i++) {
			fixture_run_line(f, i / 2 % 2, "INCR n");
			cr_assert_eq(i == seed / 2 ? sett_engine_sync(f->server.engine, &error)
						   : sett_engine_write(f->server.engine),
				     SETT_OK);
		}
		struct vfs *before = f->vfs;
		struct vfs *clone = vfs_memory_crash_clone(before, VFS_CRASH_RANDOM, seed);
		fixture_stop(f);
		f->vfs = clone;
		fixture_start(f);
		fixture_run_line(f, 1, "SELECT 3");
		uint64_t n = number_of(f, 0) + number_of(f, 1);
		cr_assert_geq(n, seed / 2 + 1);
		cr_assert_eq(position_read(f->server.engine, &position, &error), SETT_OK);
		cr_assert_eq(position.db, (n - 1) / 2 % 2 == 0 ? 0 : 3, "seed %llu, after %llu",
			     (unsigned long long)seed, (unsigned long long)n);
		fixture_close(f);
		before->operations->destroy(before);
	}
}

Test(replication, the_stream_selects_databases)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
	fixture_run_line(f, 1, "SELECT 3");
	uint64_t expected = 0;
	for (int i = 0; i < 6; i++) {
		/* Each begins with the database of the one before. */
		fixture_run_line(f, i % 2, "INCR n");
		expected += SELECT_SIZE + INCR_SIZE;
		cr_assert_eq(state_of(f).position.offset, expected);
	}
	fixture_run_line(f, 1, "INCR n");
	cr_assert_eq(state_of(f).position.offset, expected + INCR_SIZE);
	cr_assert_eq(f->clients[1].stream_offset, expected + INCR_SIZE);
	fixture_close(f);
}

Test(replication, a_part_for_another_database_is_refused)
{
	struct fixture *f = fixture_open();
	struct replication *r = f->server.replication;
	cr_assert_eq(replication_begin_stream(r), SETT_OK);
	fixture_run_line(f, 0, "INCR n");
	struct stream_part part = {.db_before = 5, .db = 5, .kept_db = STREAM_DB_SAME};
	cr_assert(!replication_allows(r, &part));
	/* The next one is told to select its own. */
	cr_assert_eq(replication_selected(r), STREAM_DB_ANY);
	cr_assert_eq(replication_selected(r), 0);
	/* Nor is one whose database would be known of in memory alone. */
	part = (struct stream_part){.db_before = STREAM_DB_ANY, .db = 5, .kept_db = STREAM_DB_SAME};
	cr_assert(!replication_allows(r, &part));
	part = (struct stream_part){.db_before = STREAM_DB_ANY, .db = STREAM_DB_SAME, .kept_db = 5};
	cr_assert(!replication_allows(r, &part));
	replication_shift(r);
	part.kept_db = STREAM_DB_SAME;
	cr_assert(!replication_allows(r, &part), "the ids have changed");
	fixture_close(f);
}

Test(replication, no_id_stands_for_what_is_in_no_stream)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
	fixture_run_line(f, 0, "INCR n");
	cr_assert_eq(replication_end_stream(f->server.replication), SETT_OK);
	struct replication_state ended = state_of(f);
	cr_assert(!ended.streams);
	cr_assert_eq(ended.position.second_offset, -1);
	fixture_run_line(f, 0, "INCR n");
	cr_assert_eq(state_of(f).position.offset, ended.position.offset);
	fixture_stop(f);
	fixture_start(f);
	cr_assert(!state_of(f).streams);
	cr_assert_eq(state_of(f).position.second_offset, -1);
	fixture_close(f);
}

Test(replication, replconf)
{
	struct fixture *f = fixture_open();
	expect(f, 0, "REPLCONF listening-port 7000 capa eof capa psync2 ip-address 1.2.3.4", "+OK\r\n");
	expect(f, 0, "REPLCONF listening-port", "-ERR syntax error\r\n");
	expect(f, 0, "REPLCONF colour red", "-ERR Unrecognized REPLCONF option: colour\r\n");
	expect(f, 0, "REPLCONF rdb-only 2", "-ERR value is out of range, value must between 0 and 1\r\n");
	expect(f, 0, "REPLCONF rdb-filter-only keys", "-ERR Unsupported rdb-filter-only option: keys\r\n");
	expect(f, 0, "REPLCONF rdb-filter-only functions", "+OK\r\n");
	expect(f, 0, "REPLCONF ACK 5", "");
	expect(f, 0, "WAIT 0 0", ":0\r\n");
	expect(f, 0, "WAIT 1 -1", "-ERR timeout is negative\r\n");
	expect(f, 0, "WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1\r\n");
	expect(f, 0, "WAITAOF 0 0 0", "*2\r\n:0\r\n:0\r\n");
	expect(f, 0, "ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
	fixture_close(f);
}

/* ---- a role that changes between the look at it and the commit ---- */

static void
become_replica(void *arg)
{
	struct fixture *f = arg;
	__atomic_store_n(&f->server.replica_role.active, true, __ATOMIC_RELAXED);
}

/* Whether the write of a client lands, where this server becomes a replica just before its commit. */
static void
expect_demoted_write(bool read_only, const char *line, const char *reply, const char *value)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	f->server.config->replica_read_only = read_only;
	sync_point_arm(&(struct sync_point){.name = "commit: prepared", .run = become_replica, .arg = f});
	expect(f, 0, line, reply);
	sync_point_arm(NULL);
	expect(f, 1, "GET key", value);
	rcu_thread_unregister();
	fixture_close(f);
}

#define READ_ONLY "-READONLY You can't write against a read only replica.\r\n"

Test(replication, a_write_that_a_demotion_overtakes_is_refused)
{
	expect_demoted_write(true, "SET key value", READ_ONLY, "$-1\r\n");
	expect_demoted_write(true, "MSET other 1 key 2", READ_ONLY, "$-1\r\n");
	expect_demoted_write(false, "SET key value", "+OK\r\n", "$5\r\nvalue\r\n");
}

/* A batch is taken back, and its requests run one by one. */
Test(replication, a_batch_that_a_demotion_overtakes_is_taken_back)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	const struct request_handler *h = &f->handler;
	struct bytes argv[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("key"), BYTES_LITERAL("value")};
	struct resp_writer reply;
	resp_writer_init(&reply, 2);
	struct shared_request r = {
		.client = &f->clients[0], .reply = &reply, .request = {.argc = 3, .argv = argv}};
	r.request.foreseen = h->foresee(h->arg, f->reactor, r.client, 3, argv);
	h->fetch(h->arg, f->reactor);
	cr_assert(h->may_share(h->arg, f->reactor, r.client, &r.request, true));
	become_replica(f);
	cr_assert_not(h->execute_shared(h->arg, f->reactor, &r, 1));
	cr_assert_eq(reply.size, 0);
	expect(f, 1, "GET key", "$-1\r\n");
	expect(f, 0, "SET key value", READ_ONLY);
	resp_writer_free(&reply);
	rcu_thread_unregister();
	fixture_close(f);
}
