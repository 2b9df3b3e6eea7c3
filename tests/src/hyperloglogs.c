/* HyperLogLogs: the format's bytes, damaged values, and what a failure leaves behind. That replies and values are those
 * of Redis is compared with redis-server: redis-tests/scripts/hyperloglogs.txt, random_commands.c. */
#include "server_support.h"
#include "storage/base/random.h"
#include "types/hyperloglog.h"

static void
raise_register(struct buffer *value, unsigned index, unsigned rank)
{
	bool raised;
	cr_assert_eq(hll_raise(value, (struct hll_rank){.index = index, .rank = rank}, 3000, &raised),
		     SETT_OK);
	cr_assert(raised);
}

static void
expect_runs(struct buffer *value, const char *expected)
{
	struct buffer text = {0};
	cr_assert_eq(hll_describe(buffer_bytes(value), &text), SETT_OK);
	cr_assert(text.size == strlen(expected) && memcmp(text.data, expected, text.size) == 0,
		  "expected %s, got %.*s", expected, (int)text.size, (const char *)text.data);
	buffer_free(&text);
}

Test(hyperloglogs, runs_are_split_and_joined)
{
	struct buffer value = {0};
	cr_assert_eq(hll_make_empty(&value), SETT_OK);
	expect_runs(&value, "Z:16384");
	raise_register(&value, 100, 3);
	expect_runs(&value, "Z:100 v:3,1 Z:16283");
	raise_register(&value, 99, 3);
	raise_register(&value, 101, 3);
	raise_register(&value, 102, 3);
	expect_runs(&value, "Z:99 v:3,4 Z:16281");
	raise_register(&value, 103, 3);
	expect_runs(&value, "Z:99 v:3,4 v:3,1 Z:16280");
	raise_register(&value, 100, 5);
	expect_runs(&value, "Z:99 v:3,1 v:5,1 v:3,3 Z:16280");
	raise_register(&value, 0, 32);
	raise_register(&value, 50, 1);
	expect_runs(&value, "v:32,1 z:49 v:1,1 z:48 v:3,1 v:5,1 v:3,3 Z:16280");
	raise_register(&value, 16383, 1);
	expect_runs(&value, "v:32,1 z:49 v:1,1 z:48 v:3,1 v:5,1 v:3,3 Z:16279 v:1,1");
	cr_assert(!hll_is_dense(buffer_bytes(&value)));
	raise_register(&value, 7, 33);
	cr_assert(hll_is_dense(buffer_bytes(&value)));
	cr_assert_eq(value.size, HLL_DENSE_SIZE);
	unsigned rank;
	cr_assert_eq(hll_register(buffer_bytes(&value), 100, &rank), SETT_OK);
	cr_assert_eq(rank, 5);
	buffer_free(&value);
}

/* The forms hold the same registers all the way. */
Test(hyperloglogs, sparse_and_dense_agree)
{
	struct buffer sparse = {0}, dense = {0};
	struct random random;
	random_seed(&random, 1);
	hll_make_empty(&sparse);
	hll_make_empty(&dense);
	cr_assert_eq(hll_make_dense(&dense), SETT_OK);
	for (int i = 0; i < 8000; i++) {
		static uint8_t a[HLL_REGISTERS], b[HLL_REGISTERS];
		bool in_sparse, in_dense;
		struct hll_rank to = {.index = (unsigned)random_below(
					      &random, random_below(&random, 2) ? 300 : HLL_REGISTERS),
				      .rank = (unsigned)random_below(&random, 32) + 1};
		cr_assert_eq(hll_raise(&sparse, to, UINT64_MAX, &in_sparse), SETT_OK);
		cr_assert_eq(hll_raise(&dense, to, 0, &in_dense), SETT_OK);
		cr_assert_eq(in_sparse, in_dense);
		if (i % 500 != 0)
			continue;
		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		cr_assert_eq(hll_merge(buffer_bytes(&sparse), a), SETT_OK);
		cr_assert_eq(hll_merge(buffer_bytes(&dense), b), SETT_OK);
		cr_assert(memcmp(a, b, sizeof(a)) == 0);
	}
	cr_assert(!hll_is_dense(buffer_bytes(&sparse)));
	buffer_free(&sparse);
	buffer_free(&dense);
}

/* Any bytes after a good header: an answer or SETT_CORRUPT. */
Test(hyperloglogs, damaged_runs_are_found)
{
	struct random random;
	unsigned corrupt = 0;
	random_seed(&random, 2);
	for (int i = 0; i < 20000; i++) {
		uint8_t registers[HLL_REGISTERS] = {0};
		unsigned histogram[HLL_RANKS], rank;
		bool raised;
		struct buffer value = {0};
		hll_make_empty(&value);
		value.size = HLL_HEADER_SIZE;
		for (size_t runs = random_below(&random, 12); runs > 0; runs--) {
			uint8_t byte = (uint8_t)random_below(&random, 256);
			cr_assert_eq(buffer_append(&value, &byte, 1), SETT_OK);
		}
		int status = hll_merge(buffer_bytes(&value), registers);
		cr_assert(status == SETT_OK || status == SETT_CORRUPT);
		corrupt += status == SETT_CORRUPT;
		cr_assert_eq(hll_histogram(buffer_bytes(&value), histogram), status);
		struct hll_rank to = {.index = (unsigned)random_below(&random, HLL_REGISTERS),
				      .rank = (unsigned)random_below(&random, 52) + 1};
		hll_register(buffer_bytes(&value), to.index, &rank);
		hll_raise(&value, to, random_below(&random, 40), &raised);
		status = hll_make_dense(&value);
		cr_assert(status == SETT_OK || status == SETT_CORRUPT);
		buffer_free(&value);
	}
	cr_assert_gt(corrupt, 10000);
}

Test(hyperloglogs, a_failed_command_changes_nothing)
{
	struct fixture *f = fixture_open();
	/* All registers but the last 1024: most elements find theirs. */
	static const uint8_t damaged[] = {'H', 'Y', 'L', 'L', 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff};
	struct bytes set[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of(damaged, sizeof(damaged))};
	fixture_run(f, 0, 3, set);
	EXPECT(f, 0,
	       "PFADD k a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 "
	       "15",
	       "-INVALIDOBJ Corrupted HLL object detected");
	EXPECT(f, 0, "STRLEN k", ":18");
	EXPECT(f, 0, "PFCOUNT k", ":7");
	EXPECT(f, 0, "PFADD good a", ":1");
	EXPECT(f, 0, "PFMERGE good k", "-INVALIDOBJ Corrupted HLL object detected");
	EXPECT(f, 0, "PFCOUNT good", ":1");
	/* Longer than any that makes sense: it is not read. */
	EXPECT(f, 0, "SETRANGE k 40000 x", ":40001");
	EXPECT(f, 0, "PFADD k a", "-INVALIDOBJ Corrupted HLL object detected");
	EXPECT(f, 0, "PFDEBUG DECODE k", "-INVALIDOBJ Corrupted HLL object detected");
	fixture_close(f);
}

Test(hyperloglogs, estimates_are_kept_and_survive_a_restart)
{
	struct fixture *f = fixture_open();
	char line[64];
	for (int i = 0; i < 20000; i++) {
		snprintf(line, sizeof(line), "PFADD k element:%d", i);
		fixture_run_line(f, 0, line);
	}
	EXPECT(f, 0, "PFDEBUG ENCODING k", "+dense");
	fixture_run_line(f, 0, "PFCOUNT k");
	long count = strtol((const char *)f->reply.data + 1, NULL, 10);
	cr_assert(count > 19000 && count < 21000, "%ld", count);
	EXPECT(f, 1, "WATCH k", "+OK");
	fixture_run_line(f, 0, "PFCOUNT k");
	EXPECT(f, 0, "PFADD k element:5", ":0");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "EXEC", "*0");
	fixture_stop(f);
	fixture_start(f);
	fixture_run_line(f, 0, "PFCOUNT k");
	cr_assert_eq(strtol((const char *)f->reply.data + 1, NULL, 10), count);
	EXPECT(f, 0, "PFSELFTEST", "+OK");
	fixture_close(f);
}
