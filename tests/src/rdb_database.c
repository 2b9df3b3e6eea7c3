/* The entries of RDB files by hand: what older versions have, and what is refused. Whole files are for redis-tests/. */
#include "rdb/database_reader.h"

#include <criterion/criterion.h>

#include "rdb/crc64.h"

struct world {
	struct rdb_room room, value_room;
	struct rdb_database_reader reader;
	struct buffer file;
	struct rdb_entry entry;
};

#define TEXT(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static void
add(struct world *w, const void *data, size_t size)
{
	cr_assert_eq(buffer_append(&w->file, data, size), SETT_OK);
}

static int
open_file(struct world *w)
{
	return rdb_database_open(&w->reader, buffer_bytes(&w->file), &w->room, &w->value_room);
}

static int
next(struct world *w)
{
	return rdb_database_next(&w->reader, &w->entry);
}

/* A key `name` of one letter with a string of one letter; the value is read. */
static void
expect_string(struct world *w, char name)
{
	struct rdb_reader value;
	struct rdb_element element;
	cr_assert_eq(next(w), SETT_OK, "%s", w->reader.problem);
	cr_assert_eq(w->entry.kind, RDB_ENTRY_KEY);
	cr_assert(bytes_equal(w->entry.name, bytes_of(&name, 1)));
	cr_assert_eq(rdb_reader_open_typed(&value, w->entry.type, w->reader.in), SETT_OK);
	cr_assert_eq(rdb_reader_next(&value, &element), SETT_OK);
	cr_assert_eq(element.name.size, 1);
	cr_assert_eq(rdb_reader_next(&value, &element), SETT_NOT_FOUND);
	rdb_database_value_read(&w->reader, value.in);
	rdb_reader_close(&value);
}

static void
close_world(struct world *w)
{
	rdb_room_free(&w->room);
	rdb_room_free(&w->value_room);
	buffer_free(&w->file);
}

Test(rdb_database, version_1_has_deadlines_in_seconds_and_no_checksum)
{
	struct world w = {0};
	add(&w, "REDIS0001", 9);
	add(&w, TEXT(254, 3, 253, 0x10, 0x27, 0, 0, 0, 1, 'a', 1, 'x', 0, 1, 'b', 1, 'y', 255));
	cr_assert_eq(open_file(&w), SETT_OK);
	expect_string(&w, 'a');
	cr_assert_eq(w.entry.db, 3);
	cr_assert_eq(w.entry.deadline, 10000000);
	expect_string(&w, 'b');
	cr_assert_eq(w.entry.deadline, 0);
	cr_assert_eq(next(&w), SETT_NOT_FOUND);
	cr_assert_eq(rdb_database_offset(&w.reader), w.file.size);
	close_world(&w);
}

Test(rdb_database, everything_that_stands_before_a_key)
{
	struct world w = {0};
	add(&w, "REDIS0010", 9);
	add(&w, TEXT(250, 1, 'n', 1, 'v', 245, 2, 'f', 'n', 254, 0, 251, 2, 1));
	add(&w,
	    TEXT(252, 1, 2, 0, 0, 0, 0, 0, 0, 249, 77, 0, 1, 'a', 1, 'x', 248, 0x41, 0, 0, 1, 'b', 1, 'y',
		 255));
	uint64_t crc = crc64(0, buffer_bytes(&w.file));
	add(&w, &crc, sizeof(crc));
	add(&w, "*1", 2);
	cr_assert_eq(open_file(&w), SETT_OK);
	cr_assert_eq(next(&w), SETT_OK);
	cr_assert_eq(w.entry.kind, RDB_ENTRY_AUXILIARY);
	cr_assert(bytes_equal(w.entry.name, BYTES_LITERAL("n")) &&
		  bytes_equal(w.entry.value, BYTES_LITERAL("v")));
	cr_assert_eq(next(&w), SETT_OK);
	cr_assert_eq(w.entry.kind, RDB_ENTRY_FUNCTION);
	cr_assert(bytes_equal(w.entry.value, BYTES_LITERAL("fn")));
	expect_string(&w, 'a');
	cr_assert(w.entry.deadline == 0x201 && w.entry.frequency == 77 && w.entry.idle == -1);
	expect_string(&w, 'b');
	cr_assert(w.entry.deadline == 0 && w.entry.frequency == -1 && w.entry.idle == 256);
	cr_assert_eq(next(&w), SETT_NOT_FOUND);
	/* What follows is an append-only file's. */
	cr_assert_eq(rdb_database_offset(&w.reader), w.file.size - 2);
	close_world(&w);
}

Test(rdb_database, a_wrong_checksum_is_seen_and_none_is_fine)
{
	for (uint64_t crc = 0; crc < 2; crc++) {
		struct world w = {0};
		add(&w, "REDIS0005", 9);
		add(&w, TEXT(0, 1, 'a', 1, 'x', 255));
		add(&w, &crc, sizeof(crc));
		cr_assert_eq(open_file(&w), SETT_OK);
		expect_string(&w, 'a');
		cr_assert_eq(next(&w), crc == 0 ? SETT_NOT_FOUND : RDB_MALFORMED);
		close_world(&w);
	}
}

static void
expect_problem(const void *rest, size_t size, const char *said)
{
	struct world w = {0};
	add(&w, "REDIS0010", 9);
	add(&w, rest, size);
	cr_assert_eq(open_file(&w), SETT_OK);
	cr_assert_eq(next(&w), RDB_MALFORMED);
	cr_assert_not_null(strstr(w.reader.problem, said), "%s", w.reader.problem);
	close_world(&w);
}

Test(rdb_database, modules_are_refused_by_name)
{
	/* "ReJSON-RL" in nine characters of six bits, then a version of ten. */
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint64_t id = 0;
	for (const char *c = "ReJSON-RL"; *c != '\0'; c++)
		id = id << 6 | (uint64_t)(strchr(letters, *c) - letters);
	id = id << 10 | 3;
	uint8_t key[] = {7, 1, 'k', 0x81, 0, 0, 0, 0, 0, 0, 0, 0}, data[10] = {247, 0x81};
	for (int i = 0; i < 8; i++)
		key[4 + i] = data[2 + i] = (uint8_t)(id >> (56 - 8 * i));
	expect_problem(key, sizeof(key), "'k' holds a value of the module type ReJSON-RL");
	expect_problem(data, sizeof(data), "ReJSON-RL");
}

/* A survey names them, and goes on behind them. */
static void
expect_foreign(struct world *w, const char *key, const char *said)
{
	cr_assert_eq(next(w), SETT_OK, "%s", w->reader.problem);
	cr_assert_eq(w->entry.kind, RDB_ENTRY_FOREIGN);
	cr_assert(bytes_equal(w->entry.name, bytes_of_string(key)));
	cr_assert_str_eq((const char *)w->entry.value.data, said);
}

Test(rdb_database, a_survey_passes_over_modules_and_old_functions)
{
	struct world w = {0};
	uint8_t id[] = {0x81, 0, 0, 0, 0, 0, 0, 0, 3}; /* nine times A */
	uint8_t parts[] = {1, 5, 2, 0x40, 200, 3, 0, 0, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 5, 2, 'x', 'y', 0};
	add(&w, "REDIS0010", 9);
	add(&w, TEXT(247));
	add(&w, id, sizeof(id));
	add(&w, TEXT(2, 2));
	add(&w, parts, sizeof(parts));
	add(&w, TEXT(254, 1, 7, 1, 'k'));
	add(&w, id, sizeof(id));
	add(&w, parts, sizeof(parts));
	add(&w, TEXT(246, 1, 'f', 3, 'L', 'U', 'A', 1, 1, 'd', 2, 'x', 'y'));
	add(&w, TEXT(246, 1, 'g', 3, 'L', 'U', 'A', 0, 2, 'x', 'y'));
	add(&w, TEXT(0, 1, 'a', 1, 'x', 255, 0, 0, 0, 0, 0, 0, 0, 1));
	cr_assert_eq(open_file(&w), SETT_OK);
	w.reader.surveys = w.reader.ignores_checksum = true;
	expect_foreign(&w, "", "data of the module type AAAAAAAAA, and there are no modules");
	expect_foreign(&w, "k", "a value of the module type AAAAAAAAA, and there are no modules");
	for (int i = 0; i < 2; i++)
		expect_foreign(&w, "",
			       "a library of functions in the form of a release candidate of Redis 7.0");
	expect_string(&w, 'a');
	cr_assert_eq(next(&w), SETT_NOT_FOUND, "%s", w.reader.problem);
	cr_assert_eq(rdb_database_offset(&w.reader), w.file.size);
	close_world(&w);
}

/* Not as what it would be if it were whole. */
Test(rdb_database, what_is_foreign_and_cut_off_is_damaged)
{
	struct world w = {0};
	uint8_t id[] = {0x81, 0, 0, 0, 0, 0, 0, 0, 3};
	add(&w, "REDIS0010", 9);
	add(&w, TEXT(7, 1, 'k'));
	add(&w, id, sizeof(id));
	add(&w, TEXT(5, 60, 'x'));
	cr_assert_eq(open_file(&w), SETT_OK);
	w.reader.surveys = w.reader.ignores_checksum = true;
	cr_assert_eq(next(&w), RDB_MALFORMED);
	cr_assert(strstr(w.reader.problem, "ends too early") != NULL, "%s", w.reader.problem);
	close_world(&w);
}

Test(rdb_database, what_is_damaged_is_named)
{
	expect_problem(TEXT(200), "no type of value 200");
	expect_problem(TEXT(246, 1, 'x'), "release candidate");
	expect_problem(TEXT(0, 5, 'a'), "ends too early");
	expect_problem(TEXT(250, 1), "ends too early");
	expect_problem(NULL, 0, "ends too early");
	static const char *const heads[] = {"REDIS0000", "REDIS0013", "REDIS00x1", "REDIX0010", "REDIS"};
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct world w = {0};
		add(&w, heads[i], strlen(heads[i]));
		cr_assert_eq(open_file(&w), RDB_MALFORMED, "%s", heads[i]);
		cr_assert_neq(w.reader.problem[0], '\0');
		close_world(&w);
	}
}
