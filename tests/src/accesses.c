/* When keys were last used and how often. */
#include "keyspace/accesses.h"

#include <criterion/criterion.h>

static const struct access_rule rule = {.log_factor = 10, .decay_minutes = 1};
enum { SECOND = 1000, MINUTE = 60 * SECOND };

/* Of one bucket, whose number is the low bits. */
static uint64_t
hash_of(unsigned key)
{
	return (uint64_t)(2 * key + 1) << 32 | 7;
}

Test(accesses, a_key_is_idle_since_its_last_use)
{
	struct accesses *a = accesses_create(5 * MINUTE);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 5 * MINUTE + 3 * SECOND), 3,
		     "since the table was made");
	accesses_note(a, hash_of(1), 5 * MINUTE + 10 * SECOND, rule, 1);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 5 * MINUTE + 10 * SECOND), 0);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 5 * MINUTE + 14 * SECOND), 4);
	accesses_note_new(a, hash_of(1), 5 * MINUTE + 20 * SECOND);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 5 * MINUTE + 21 * SECOND), 1);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 0), 0, "a clock that goes back");
	accesses_destroy(a);
}

/* What had to give way is known to have been used when it did, or before. */
Test(accesses, the_longest_unused_key_gives_way)
{
	struct accesses *a = accesses_create(0);
	for (unsigned i = 0; i < 4; i++)
		accesses_note(a, hash_of(i), (10 + i) * SECOND, rule, 1);
	for (unsigned i = 1; i < 4; i++)
		cr_assert_eq(accesses_idle_seconds(a, hash_of(i), 20 * SECOND), 10 - i);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(0), 20 * SECOND), 10);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(9), 20 * SECOND), 10);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(0) + 1, 20 * SECOND), 20, "another bucket");
	accesses_destroy(a);
}

Test(accesses, idleness_and_frequency_can_be_told)
{
	struct accesses *a = accesses_create(5 * MINUTE);
	accesses_set_idle(a, hash_of(1), 6 * MINUTE, 1000);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 6 * MINUTE + 2 * SECOND), 1002,
		     "before the table was made");
	accesses_set_idle(a, hash_of(1), 6 * MINUTE, UINT64_MAX);
	cr_assert_geq(accesses_idle_seconds(a, hash_of(1), 6 * MINUTE), 60 * 24 * 3600,
		      "as long as can be told");
	accesses_set_frequency(a, hash_of(1), 6 * MINUTE, 100);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 6 * MINUTE, rule), 100);
	cr_assert_eq(accesses_idle_seconds(a, hash_of(1), 6 * MINUTE), 0);
	accesses_destroy(a);
}

Test(accesses, the_frequency_grows_ever_slower_and_decays)
{
	struct accesses *a = accesses_create(0);
	accesses_note_new(a, hash_of(1), 0);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, rule), 5);
	/* The first use after 5 always counts, then one in 11, one in 21, ... */
	accesses_note(a, hash_of(1), 0, rule, 1);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, rule), 6);
	accesses_note(a, hash_of(1), 0, rule, 10);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, rule), 6);
	accesses_note(a, hash_of(1), 0, rule, 11);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, rule), 7);
	accesses_note(a, hash_of(1), 0, rule, 11);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, rule), 7);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 3 * MINUTE, rule), 4);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 30 * MINUTE, rule), 0);
	const struct access_rule for_ever = {.log_factor = 0, .decay_minutes = 0};
	cr_assert_eq(accesses_frequency(a, hash_of(1), 30 * MINUTE, for_ever), 7);
	for (int i = 0; i < 300; i++)
		accesses_note(a, hash_of(1), 0, for_ever, (uint64_t)i);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, for_ever), 255);
	accesses_note_new(a, hash_of(1), 0);
	cr_assert_eq(accesses_frequency(a, hash_of(1), 0, for_ever), 5);
	accesses_destroy(a);
}
