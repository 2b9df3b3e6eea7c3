/* Slices, the growable buffer, status texts, seeded random numbers, hashing and log lines. */
#include <criterion/criterion.h>

#include "storage/base/bytes.h"
#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "support.h"

Test(bytes, order_is_unsigned_and_prefixes_come_first)
{
	/* Each sorts before the next. */
	const struct bytes sorted[] = {
		BYTES_LITERAL(""),     BYTES_LITERAL("\x00"), BYTES_LITERAL("\x00\x00"),
		BYTES_LITERAL("a"),    BYTES_LITERAL("aa"),   BYTES_LITERAL("b"),
		BYTES_LITERAL("\x7f"), BYTES_LITERAL("\x80"), BYTES_LITERAL("\xff"),
	};
	int n = (int)(sizeof sorted / sizeof sorted[0]);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < n; k++) {
			int c = bytes_compare(sorted[i], sorted[k]);
			cr_assert_eq((c > 0) - (c < 0), (i > k) - (i < k), "%d against %d", i, k);
			cr_assert_eq(bytes_equal(sorted[i], sorted[k]), i == k);
		}
	}
	cr_assert_eq(bytes_compare((struct bytes){0}, BYTES_LITERAL("")), 0);
}

Test(bytes, prefixes)
{
	cr_assert(bytes_has_prefix(BYTES_LITERAL("abc"), BYTES_LITERAL("")));
	cr_assert(bytes_has_prefix(BYTES_LITERAL("abc"), BYTES_LITERAL("abc")));
	cr_assert_not(bytes_has_prefix(BYTES_LITERAL("abc"), BYTES_LITERAL("abcd")));
	cr_assert_not(bytes_has_prefix(BYTES_LITERAL("abc"), BYTES_LITERAL("b")));
	cr_assert(bytes_has_prefix((struct bytes){0}, (struct bytes){0}));
}

Test(bytes, a_buffer_keeps_what_was_appended)
{
	struct buffer b = {0};
	struct random r;
	random_seed(&r, 7);
	static uint8_t expected[200000];
	for (size_t i = 0; i < sizeof expected; i++)
		expected[i] = (uint8_t)random_next(&r);
	size_t done = 0;
	while (done < sizeof expected) {
		size_t n = random_below(&r, 300);
		if (n > sizeof expected - done)
			n = sizeof expected - done;
		cr_assert_eq(buffer_append(&b, expected + done, n), SETT_OK);
		done += n;
		cr_assert_eq(b.size, done);
		cr_assert_geq(b.capacity, b.size);
	}
	cr_assert(bytes_equal(buffer_bytes(&b), bytes_of(expected, sizeof expected)));
	size_t capacity = b.capacity;
	buffer_clear(&b);
	cr_assert_eq(buffer_append(&b, "x", 1), SETT_OK);
	cr_assert_eq(b.capacity, capacity, "clearing keeps the memory");
	buffer_free(&b);
	cr_assert_null(b.data);
	cr_assert_eq(b.capacity, 0);
}

Test(bytes, a_buffer_refuses_what_cannot_be)
{
	struct buffer b = {0};
	cr_assert_eq(buffer_append(&b, NULL, 0), SETT_OK);
	cr_assert_eq(buffer_append(&b, "abc", 3), SETT_OK);
	cr_assert_eq(buffer_reserve(&b, SIZE_MAX), SETT_NO_MEMORY);
	cr_assert_eq(buffer_reserve(&b, SIZE_MAX - 3), SETT_NO_MEMORY);
	cr_assert(bytes_equal(buffer_bytes(&b), BYTES_LITERAL("abc")));
	buffer_free(&b);
}

Test(status, every_code_has_a_text_of_its_own)
{
	for (int a = SETT_NO_HANDLES; a <= SETT_OK; a++) {
		cr_assert_str_neq(sett_status_text(a), "unknown status");
		for (int b = a + 1; b <= SETT_OK; b++)
			cr_assert_str_neq(sett_status_text(a), sett_status_text(b));
	}
	cr_assert_str_eq(sett_status_text(SETT_NO_HANDLES - 1), "unknown status");
	cr_assert_str_eq(sett_status_text(1), "unknown status");
}

Test(status, an_error_is_filled_and_cut)
{
	struct sett_error e;
	cr_assert_eq(sett_error_set(&e, SETT_IO, 5, "read %s: %d", "file", 3), SETT_IO);
	cr_assert_eq(e.status, SETT_IO);
	cr_assert_eq(e.system_errno, 5);
	cr_assert_str_eq(e.message, "read file: 3");
	cr_assert_eq(sett_error_set(NULL, SETT_CORRUPT, 0, "x"), SETT_CORRUPT);
	sett_error_set(&e, SETT_IO, 0, "%*d", 5000, 1);
	cr_assert_eq(strlen(e.message), sizeof e.message - 1);
}

/* The generator's published test: with state 1, 2, 3, 4 the reference implementation begins so. */
Test(random, is_xoshiro256_star_star)
{
	struct random r = {{1, 2, 3, 4}};
	cr_assert_eq(random_next(&r), 11520ULL);
	cr_assert_eq(random_next(&r), 0ULL);
	cr_assert_eq(random_next(&r), 1509978240ULL);
	cr_assert_eq(random_next(&r), 1215971899390074240ULL);
}

Test(random, repeats_by_seed_and_stays_in_bounds)
{
	struct random a, b, c;
	random_seed(&a, 42);
	random_seed(&b, 42);
	random_seed(&c, 43);
	int differing = 0;
	unsigned hits[10] = {0};
	for (int i = 0; i < 10000; i++) {
		uint64_t x = random_below(&a, 10);
		cr_assert_lt(x, 10);
		cr_assert_eq(x, random_below(&b, 10));
		differing += x != random_below(&c, 10);
		hits[x]++;
	}
	cr_assert_gt(differing, 8000);
	for (int i = 0; i < 10; i++)
		cr_assert(hits[i] > 850 && hits[i] < 1150, "%u times %d", hits[i], i);
	cr_assert_eq(random_below(&a, 1), 0);
	cr_assert_neq(random_entropy(), random_entropy());
}

/* Used in files: must never change. The value is XXH3's own for no input. */
Test(hash, is_stable)
{
	cr_assert_eq(hash64("", 0, 0), 0x2d06800538d394c2ULL);
	cr_assert_eq(hash64(NULL, 0, 0), 0x2d06800538d394c2ULL);
	cr_assert_neq(hash64("a", 1, 0), hash64("a", 1, 1));
	cr_assert_eq(hash64_bytes(BYTES_LITERAL("abc"), 9), hash64("abc", 3, 9));
}

Test(log_sink, hands_over_one_line)
{
	struct test_log log;
	test_log_init(&log);
	log_sink_printf(&log.sink, LOG_LEVEL_NOTICE, "table %d of\n%s", 7, "level 3");
	cr_assert(test_log_contains(&log, "table 7 of level 3\n"));
	cr_assert_eq(test_log_warnings(&log), 0);
	log_sink_printf(&log.sink, LOG_LEVEL_WARNING, "%*d", 5000, 1);
	cr_assert_eq(test_log_warnings(&log), 1);
	cr_assert_eq(log.text.size, strlen("table 7 of level 3\n") + 1000 + 1);
	log_sink_printf(NULL, LOG_LEVEL_WARNING, "nobody listens");
	log_sink_printf(&(struct log_sink){0}, LOG_LEVEL_WARNING, "nobody listens");
	test_log_free(&log);
}

Test(clock, the_system_clock_moves_on)
{
	const struct sett_clock *c = sett_system_clock();
	uint64_t before = clock_monotonic_ns(c);
	cr_assert_gt(clock_wall_ms(c), 1600000000000ULL); /* September 2020 */
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_monotonic_ns(c);
		cr_assert_geq(now, before);
		before = now;
	}
}

Test(clock, the_test_clock_stands_still)
{
	struct test_clock t;
	test_clock_init(&t, 5000);
	uint64_t ns = clock_monotonic_ns(&t.clock);
	cr_assert_eq(clock_wall_ms(&t.clock), 5000);
	test_clock_advance_ms(&t, 7);
	cr_assert_eq(clock_wall_ms(&t.clock), 5007);
	cr_assert_eq(clock_monotonic_ns(&t.clock), ns + 7000000);
	test_clock_set_wall_ms(&t, 10);
	cr_assert_eq(clock_wall_ms(&t.clock), 10);
	cr_assert_eq(clock_monotonic_ns(&t.clock), ns + 7000000);
}
