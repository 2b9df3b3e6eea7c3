/* Commands of append-only files: what is whole, what is cut off, and what is none. */
#include "moving/aof_reader.h"

#include <criterion/criterion.h>

static struct aof_reader
reader_of(const char *text)
{
	return (struct aof_reader){.file = bytes_of_string(text)};
}

Test(aof_reader, commands_and_annotations)
{
	struct aof_reader a = reader_of(
		"#TS:1\r\n*1\r\n$5\r\nMULTI\r\n#TS:2\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
	cr_assert_eq(aof_reader_next(&a), SETT_OK);
	cr_assert(a.argc == 1 && a.begin == 7 && bytes_equal(a.argv[0], BYTES_LITERAL("MULTI")));
	cr_assert_eq(aof_reader_next(&a), SETT_OK);
	cr_assert(a.argc == 3 && a.argv[1].size == 0 && bytes_equal(a.argv[2], BYTES_LITERAL("a\r\nb")));
	cr_assert_eq(aof_reader_next(&a), SETT_NOT_FOUND);
	cr_assert_eq(a.at, a.file.size);
	aof_reader_free(&a);
}

Test(aof_reader, every_cut_is_seen)
{
	static const char text[] = "*1\r\n$4\r\nPING\r\n#TS:2\r\n*2\r\n$3\r\nGET\r\n$2\r\nab\r\n";
	enum { FIRST = 14, SECOND = 21 };
	for (size_t size = 0; size < sizeof(text) - 1; size++) {
		struct aof_reader a = {.file = bytes_of(text, size)};
		int status = SETT_OK;
		size_t count = 0;
		while ((status = aof_reader_next(&a)) == SETT_OK)
			count++;
		cr_assert_eq(count, size >= FIRST ? 1 : 0, "%zu", size);
		bool is_whole = size == 0 || size == FIRST || size == SECOND;
		cr_assert_eq(status, is_whole ? SETT_NOT_FOUND : RDB_TRUNCATED, "%zu", size);
		aof_reader_free(&a);
	}
}

Test(aof_reader, what_is_no_command)
{
	static const char *const texts[] = {
		"PING\r\n",           "*0\r\n",  "*x\r\n",      "*1\r\nPING\r\n",      "*1\r\n$x\r\n",
		"*1\r\n$1\r\nab\r\n", "*-1\r\n", "*1\n$1\na\n", "*99999999999999\r\n", "*1\r\n$-1\r\nab\r\n"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct aof_reader a = reader_of(texts[i]);
		cr_assert_eq(aof_reader_next(&a), RDB_MALFORMED, "%s", texts[i]);
		aof_reader_free(&a);
	}
}
