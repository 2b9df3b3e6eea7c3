/* The engine through its public header: isolation, conflicts, own writes, savepoints, counters, prefix drops,
 * iterators, reopening. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

static struct vfs *vfs;
static struct sett_engine *engine;

static void
open_engine(bool manual)
{
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .value_log_file_size = 64 << 10,
				       .manual_work = manual};
	struct sett_error error = {0};
	int r = sett_engine_open("db", &options, &engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	open_engine(true);
}

static void
tear_down(void)
{
	struct sett_error error;
	if (engine)
		MUST(sett_engine_close(engine, &error));
	vfs->operations->destroy(vfs);
}

static void
reopen(void)
{
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
	open_engine(true);
}

static struct sett_txn *
begin(unsigned flags)
{
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, flags));
	return txn;
}

static int
commit(struct sett_txn *txn)
{
	int r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return r;
}

static int
put(struct sett_txn *txn, const char *key, const char *value)
{
	return sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = bytes_of_string(value)});
}

static void
set(const char *key, const char *value)
{
	struct sett_txn *txn = begin(0);
	MUST(put(txn, key, value));
	MUST(commit(txn));
}

/* The value as a terminated string in a static buffer; "-" if absent. */
static const char *
get(struct sett_txn *txn, const char *key)
{
	static char text[512];
	struct sett_record record;
	struct bytes body;
	int r = sett_txn_get(txn, bytes_of_string(key), &record);
	if (r == SETT_NOT_FOUND)
		return "-";
	cr_assert_eq(r, SETT_OK);
	MUST(sett_txn_body(txn, &record, &body));
	snprintf(text, sizeof(text), "%.*s", (int)body.size, (const char *)body.data);
	return text;
}

static void
expect(const char *key, const char *value)
{
	struct sett_txn *txn = begin(0);
	cr_assert_str_eq(get(txn, key), value);
	sett_txn_destroy(txn);
}

/* Keys of an iteration, joined by spaces. */
static const char *
keys(struct sett_txn *txn, const char *lower, const char *upper, bool backward)
{
	static char text[512];
	size_t n = 0;
	struct sett_iterator *it;
	struct sett_iterator_options options = {bytes_of_string(lower), bytes_of_string(upper)};
	MUST(sett_iterator_open(txn, &options, &it));
	text[0] = 0;
	int r = backward ? sett_iterator_last(it) : sett_iterator_first(it);
	while (r == SETT_OK) {
		struct bytes key = sett_iterator_key(it);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n ? " " : "", (int)key.size,
				      (const char *)key.data);
		r = backward ? sett_iterator_previous(it) : sett_iterator_next(it);
	}
	cr_assert_eq(r, SETT_NOT_FOUND);
	sett_iterator_close(it);
	return text;
}

TestSuite(engine, .init = set_up, .fini = tear_down);

Test(engine, a_snapshot_does_not_move)
{
	set("a", "1");
	struct sett_txn *reader = begin(0);
	cr_assert_str_eq(get(reader, "a"), "1");
	set("a", "2");
	set("b", "1");
	cr_assert_str_eq(get(reader, "a"), "1");
	cr_assert_str_eq(get(reader, "b"), "-");
	cr_assert_eq(sett_txn_observed(reader), 1);
	MUST(commit(reader));
	expect("a", "2");
}

Test(engine, own_writes_are_seen_and_roll_back_to_savepoints)
{
	set("a", "1");
	struct sett_txn *txn = begin(0);
	MUST(put(txn, "a", "2"));
	MUST(put(txn, "b", "2"));
	size_t mark = sett_txn_savepoint(txn);
	MUST(put(txn, "a", "3"));
	MUST(put(txn, "c", "3"));
	MUST(sett_txn_delete(txn, BYTES_LITERAL("b")));
	MUST(sett_txn_counter_add(txn, 1, 5));
	cr_assert_str_eq(keys(txn, "", "", false), "a c");
	cr_assert_str_eq(get(txn, "a"), "3");
	sett_txn_rollback_to(txn, mark);
	int64_t counter;
	MUST(sett_txn_counter(txn, 1, &counter));
	cr_assert_eq(counter, 0);
	cr_assert_str_eq(get(txn, "a"), "2");
	cr_assert_str_eq(keys(txn, "", "", false), "a b");
	cr_assert_str_eq(keys(txn, "", "", true), "b a");
	MUST(commit(txn));
	expect("a", "2");
	expect("b", "2");
	expect("c", "-");
}

Test(engine, what_is_written_again_has_one_undo_record_between_savepoints)
{
	int64_t counter;
	set("a", "1");
	struct sett_txn *txn = begin(0);
	for (int i = 0; i < 1000; i++) {
		MUST(put(txn, "a", i % 2 ? "odd" : "even"));
		MUST(sett_txn_delete(txn, BYTES_LITERAL("b")));
		MUST(sett_txn_counter_add(txn, 1, 1));
	}
	size_t first = sett_txn_savepoint(txn);
	cr_assert_eq(first, 3);
	MUST(put(txn, "b", "2"));
	MUST(sett_txn_delete(txn, BYTES_LITERAL("a")));
	MUST(sett_txn_counter_add(txn, 1, 1));
	MUST(sett_txn_counter_drop(txn, 1));
	MUST(sett_txn_counter_add(txn, 1, 7));
	MUST(sett_txn_counter_add(txn, 1, 7));
	size_t second = sett_txn_savepoint(txn);
	cr_assert_eq(second - first, 5);
	MUST(put(txn, "b", "3"));
	MUST(sett_txn_counter_add(txn, 1, 1));
	sett_txn_rollback_to(txn, second);
	cr_assert_str_eq(get(txn, "b"), "2");
	cr_assert_str_eq(get(txn, "a"), "-");
	MUST(sett_txn_counter(txn, 1, &counter));
	cr_assert_eq(counter, 14);
	sett_txn_rollback_to(txn, first);
	cr_assert_str_eq(get(txn, "b"), "-");
	cr_assert_str_eq(get(txn, "a"), "odd");
	MUST(sett_txn_counter(txn, 1, &counter));
	cr_assert_eq(counter, 1000);
	/* The savepoint holds on. */
	MUST(put(txn, "a", "2"));
	MUST(sett_txn_counter_add(txn, 1, 1));
	sett_txn_rollback_to(txn, first);
	cr_assert_str_eq(get(txn, "a"), "odd");
	MUST(commit(txn));
	expect("a", "odd");
	expect("b", "-");
}

Test(engine, own_writes_beyond_the_bounds_of_one_iterator_are_seen_by_the_next)
{
	struct sett_iterator *it;
	struct sett_iterator_options options = {BYTES_LITERAL("c"), BYTES_LITERAL("f")};
	struct sett_txn *txn = begin(0);
	MUST(put(txn, "a", "1"));
	MUST(sett_iterator_open(txn, &options, &it));
	cr_assert_eq(sett_iterator_first(it), SETT_NOT_FOUND);
	MUST(put(txn, "b", "1"));
	MUST(put(txn, "d", "1"));
	MUST(put(txn, "g", "1"));
	cr_assert_str_eq(keys(txn, "b", "e", false), "b d");
	MUST(put(txn, "c", "1"));
	MUST(put(txn, "f", "1"));
	MUST(put(txn, "aa", "1"));
	MUST(sett_iterator_first(it));
	cr_assert(bytes_equal(sett_iterator_key(it), BYTES_LITERAL("c")));
	MUST(sett_iterator_next(it));
	cr_assert(bytes_equal(sett_iterator_key(it), BYTES_LITERAL("d")));
	cr_assert_eq(sett_iterator_next(it), SETT_NOT_FOUND);
	cr_assert_str_eq(keys(txn, "", "", true), "g f d c b aa a");
	sett_iterator_close(it);
	cr_assert_str_eq(keys(txn, "", "c", false), "a aa b");
	MUST(commit(txn));
}

Test(engine, a_read_that_changed_meanwhile_is_a_conflict)
{
	set("a", "1");
	struct sett_txn *txn = begin(0);
	get(txn, "a");
	MUST(put(txn, "b", "from a"));
	set("a", "2");
	cr_assert_eq(commit(txn), SETT_CONFLICT);
	expect("b", "-");
	/* Blind writes don't conflict. */
	txn = begin(0);
	MUST(put(txn, "a", "3"));
	set("a", "4");
	MUST(commit(txn));
	expect("a", "3");
}

/* More conflict keys than are set one by one. */
Test(engine, a_large_write_set_conflicts_with_whoever_has_read_of_it)
{
	char name[16];
	set("other", "1");
	struct sett_txn *txn = begin(0), *reader = begin(0);
	for (int i = 0; i <= SETT_LARGE_WRITES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		MUST(put(txn, name, name));
	}
	cr_assert_str_eq(get(reader, "77"), "-");
	MUST(put(reader, "other", "2"));
	MUST(commit(txn));
	cr_assert_eq(commit(reader), SETT_CONFLICT);
	expect("0", "0");
	expect("77", "77");
	expect("32768", "32768");
	/* What begins afterwards has no conflict, and sees what each key is. */
	reader = begin(0);
	cr_assert_str_eq(get(reader, "77"), "77");
	MUST(sett_txn_delete(reader, BYTES_LITERAL("77")));
	MUST(commit(reader));
	expect("77", "-");
	set("78", "new");
	expect("78", "new");
}

Test(engine, write_skew_is_refused)
{
	set("x", "1");
	set("y", "1");
	struct sett_txn *one = begin(0), *two = begin(0);
	get(one, "x");
	get(one, "y");
	get(two, "x");
	get(two, "y");
	MUST(put(one, "x", "0"));
	MUST(put(two, "y", "0"));
	MUST(commit(one));
	cr_assert_eq(commit(two), SETT_CONFLICT);
}

Test(engine, a_phantom_in_a_walked_range_is_a_conflict)
{
	set("b", "1");
	set("d", "1");
	struct sett_txn *one = begin(0), *two = begin(0), *three = begin(0);
	keys(one, "a", "e", false);
	keys(two, "a", "e", true);
	keys(three, "x", "", false);
	MUST(put(one, "sum", "2"));
	MUST(put(two, "sum", "2"));
	MUST(put(three, "other", "2"));
	set("c", "1");
	cr_assert_eq(commit(one), SETT_CONFLICT);
	cr_assert_eq(commit(two), SETT_CONFLICT);
	MUST(commit(three));
}

Test(engine, iterators_keep_to_bounds_and_versions)
{
	for (int i = 0; i < 3; i++) {
		set("a", "x");
		set("b", "x");
		set("c", "x");
		set("d", "x");
		if (i == 1) {
			struct sett_error error;
			MUST(sett_engine_flush(engine, &error));
		}
	}
	struct sett_txn *txn = begin(0);
	MUST(sett_txn_delete(txn, BYTES_LITERAL("b")));
	MUST(commit(txn));
	txn = begin(0);
	set("e", "later");
	cr_assert_str_eq(keys(txn, "", "", false), "a c d");
	cr_assert_str_eq(keys(txn, "", "", true), "d c a");
	cr_assert_str_eq(keys(txn, "b", "d", false), "c");
	cr_assert_str_eq(keys(txn, "b", "d", true), "c");
	cr_assert_str_eq(keys(txn, "x", "", true), "");
	sett_txn_destroy(txn);
}

Test(engine, heads_bodies_and_deadlines_come_back)
{
	char big[2000];
	memset(big, 'v', sizeof(big));
	struct sett_txn *txn = begin(0);
	MUST(sett_txn_put(txn, BYTES_LITERAL("k"),
			  &(struct sett_put){.head = BYTES_LITERAL("head"),
					     .body = bytes_of(big, sizeof(big)),
					     .expires_at = 123456}));
	MUST(commit(txn));
	/* Rewriting the head copies the pointer: the value log does not grow. */
	struct sett_stats before, after;
	sett_engine_stats(engine, &before);
	cr_assert_geq(before.value_log_total_bytes, sizeof(big));
	txn = begin(0);
	struct sett_record record;
	MUST(sett_txn_get(txn, BYTES_LITERAL("k"), &record));
	cr_assert_eq(record.expires_at, 123456);
	MUST(sett_txn_put(txn, BYTES_LITERAL("k2"),
			  &(struct sett_put){.head = BYTES_LITERAL("new"), .body_of = &record}));
	MUST(commit(txn));
	sett_engine_stats(engine, &after);
	cr_assert_eq(before.value_log_total_bytes, after.value_log_total_bytes);
	reopen();
	txn = begin(0);
	struct bytes body;
	MUST(sett_txn_get(txn, BYTES_LITERAL("k2"), &record));
	cr_assert(bytes_equal(record.head, BYTES_LITERAL("new")));
	cr_assert_eq(record.body_size, sizeof(big));
	MUST(sett_txn_body(txn, &record, &body));
	cr_assert(bytes_equal(body, bytes_of(big, sizeof(big))));
	sett_txn_destroy(txn);
}

/* Bodies that the record cache holds, while what they came from moves: the tree has the pointers. */
Test(engine, cached_bodies_are_those_of_the_newest_version)
{
	char big[2000], text[32];
	struct sett_record record;
	struct bytes body;
	struct sett_stats before, after;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 200; i++) {
			memset(big, 'a' + round, sizeof(big));
			snprintf(text, sizeof(text), "key%d", i);
			memcpy(big, text, strlen(text));
			struct sett_txn *txn = begin(0);
			MUST(sett_txn_put(txn, bytes_of_string(text),
					  &(struct sett_put){.body = bytes_of(big, sizeof(big))}));
			MUST(commit(txn));
		}
		MUST(sett_engine_flush(engine, NULL));
		for (int pass = 0; pass < 3; pass++) {
			for (int i = 0; i < 200; i++) {
				memset(big, 'a' + round, sizeof(big));
				snprintf(text, sizeof(text), "key%d", i);
				memcpy(big, text, strlen(text));
				struct sett_txn *txn = begin(0);
				MUST(sett_txn_get(txn, bytes_of_string(text), &record));
				MUST(sett_txn_body(txn, &record, &body));
				cr_assert(bytes_equal(body, bytes_of(big, sizeof(big))), "%s", text);
				uint8_t part[100];
				MUST(sett_txn_body_part(txn, &record, 900, sizeof(part), part));
				cr_assert_arr_eq(part, big + 900, sizeof(part));
				sett_txn_destroy(txn);
			}
			if (pass == 1)
				MUST(sett_engine_compact(engine, NULL));
		}
	}
	/* From the cache or not: a new deadline writes no body. */
	sett_engine_stats(engine, &before);
	struct sett_txn *txn = begin(0);
	MUST(sett_txn_get(txn, BYTES_LITERAL("key7"), &record));
	MUST(sett_txn_put(txn, BYTES_LITERAL("key7"),
			  &(struct sett_put){.body_of = &record, .expires_at = 99}));
	MUST(commit(txn));
	sett_engine_stats(engine, &after);
	cr_assert_gt(after.record_cache_hits, before.record_cache_hits);
	cr_assert_eq(before.value_log_total_bytes, after.value_log_total_bytes);
	reopen();
	txn = begin(0);
	MUST(sett_txn_get(txn, BYTES_LITERAL("key7"), &record));
	cr_assert_eq(record.expires_at, 99);
	MUST(sett_txn_body(txn, &record, &body));
	memset(big, 'c', sizeof(big));
	memcpy(big, "key7", 4);
	cr_assert(bytes_equal(body, bytes_of(big, sizeof(big))));
	sett_txn_destroy(txn);
}

Test(engine, counters_survive_reopening_flushed_or_not)
{
	struct sett_error error;
	for (int round = 0; round < 2; round++) {
		struct sett_txn *txn = begin(0);
		MUST(sett_txn_counter_add(txn, 9, 10));
		MUST(sett_txn_counter_add(txn, 9, -3));
		MUST(sett_txn_counter_add(txn, 11, 1));
		MUST(put(txn, "k", "v"));
		MUST(commit(txn));
		if (round == 0)
			MUST(sett_engine_flush(engine, &error));
	}
	reopen();
	struct sett_txn *txn = begin(0);
	int64_t nine, eleven;
	MUST(sett_txn_counter(txn, 9, &nine));
	MUST(sett_txn_counter(txn, 11, &eleven));
	cr_assert_eq(nine, 14);
	cr_assert_eq(eleven, 2);
	MUST(sett_txn_counter_drop(txn, 9));
	MUST(sett_txn_counter(txn, 9, &nine));
	cr_assert_eq(nine, 0);
	MUST(commit(txn));
	reopen();
	txn = begin(0);
	MUST(sett_txn_counter(txn, 9, &nine));
	cr_assert_eq(nine, 0);
	sett_txn_destroy(txn);
}

Test(engine, reading_a_counter_makes_a_reader_validate)
{
	struct sett_txn *reader = begin(SETT_TXN_MANUAL_CONFLICTS);
	int64_t sum;
	MUST(sett_txn_counter(reader, 1, &sum));
	MUST(sett_txn_read_conflict(reader, 77));
	struct sett_txn *writer = begin(SETT_TXN_MANUAL_CONFLICTS);
	MUST(sett_txn_counter_add(writer, 1, 1));
	MUST(sett_txn_write_conflict(writer, 77));
	MUST(commit(writer));
	cr_assert_eq(commit(reader), SETT_CONFLICT);
}

Test(engine, a_dropped_prefix_gives_its_space_back)
{
	struct sett_error error;
	char key[32], value[1000];
	memset(value, 'x', sizeof(value));
	for (int i = 0; i < 300; i++) {
		struct sett_txn *txn = begin(0);
		snprintf(key, sizeof(key), "%s/%04d", i % 3 ? "gone" : "kept", i);
		MUST(sett_txn_put(txn, bytes_of_string(key),
				  &(struct sett_put){.body = bytes_of(value, sizeof(value))}));
		MUST(commit(txn));
	}
	MUST(sett_engine_flush(engine, &error));
	struct sett_txn *txn = begin(0);
	MUST(sett_txn_drop_prefix(txn, BYTES_LITERAL("gone/")));
	MUST(commit(txn));
	reopen();
	MUST(sett_engine_compact(engine, &error));
	struct sett_stats stats;
	sett_engine_stats(engine, &stats);
	cr_assert_lt(stats.value_log_live_bytes, 130 * 1000);
	txn = begin(0);
	struct sett_record record;
	cr_assert_eq(sett_txn_get(txn, BYTES_LITERAL("gone/0001"), &record), SETT_NOT_FOUND);
	MUST(sett_txn_get(txn, BYTES_LITERAL("kept/0000"), &record));
	sett_txn_destroy(txn);
}

Test(engine, nowait_reads_say_so_when_a_block_is_cold)
{
	struct sett_error error;
	set("k", "v");
	MUST(sett_engine_flush(engine, &error));
	reopen();
	vfs_memory_set_cold(vfs, 100, 1);
	rcu_thread_register();
	struct sett_txn *txn = begin(SETT_TXN_NOWAIT);
	struct sett_record record;
	cr_assert_eq(sett_txn_get(txn, BYTES_LITERAL("k"), &record), SETT_WOULD_BLOCK);
	sett_txn_discard(txn);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_get(txn, BYTES_LITERAL("k"), &record));
	sett_txn_discard(txn);
	/* Now it is in the block cache. */
	MUST(sett_txn_begin(txn, SETT_TXN_NOWAIT));
	MUST(sett_txn_get(txn, BYTES_LITERAL("k"), &record));
	sett_txn_destroy(txn);
	rcu_quiescent();
	rcu_thread_unregister();
}

static int
refuse(void *arg)
{
	return 1;
}

Test(engine, a_commit_check_can_refuse)
{
	struct sett_txn *txn = begin(0);
	MUST(put(txn, "k", "v"));
	cr_assert_eq(sett_txn_commit(txn, &(struct sett_commit_hooks){.check = refuse}, NULL), SETT_ABORTED);
	sett_txn_destroy(txn);
	expect("k", "-");
}

Test(engine, a_claim_holds_others_back_until_its_owner_is_through)
{
	set("k", "0");
	struct sett_txn *loser = begin(0);
	get(loser, "k");
	MUST(put(loser, "k", "loser"));
	MUST(put(loser, "blind", "loser"));
	set("k", "1");
	cr_assert_eq(sett_txn_commit(loser, NULL, NULL), SETT_CONFLICT);
	sett_txn_claim(loser);
	rcu_thread_register();
	struct sett_txn *blind = begin(SETT_TXN_NOWAIT);
	MUST(put(blind, "blind", "the loser only writes this one"));
	MUST(commit(blind));
	struct sett_txn *other = begin(SETT_TXN_NOWAIT);
	MUST(put(other, "k", "other"));
	cr_assert_eq(commit(other), SETT_WOULD_BLOCK);
	rcu_thread_unregister();
	set("unrelated", "fine");
	MUST(sett_txn_begin(loser, 0));
	cr_assert_str_eq(get(loser, "k"), "1");
	MUST(put(loser, "k", "loser"));
	MUST(sett_txn_commit(loser, NULL, NULL));
	sett_txn_destroy(loser);
	expect("k", "loser");
	set("k", "free again");
}

/* A transaction that has read `key`, and claims it. */
static struct sett_txn *
begin_claim(const char *key)
{
	struct sett_txn *txn = begin(0);
	get(txn, key);
	sett_txn_discard(txn);
	sett_txn_claim(txn);
	return txn;
}

static int
try_set(const char *key, unsigned flags)
{
	rcu_thread_register();
	struct sett_txn *txn = begin(SETT_TXN_NOWAIT | flags);
	MUST(put(txn, key, "other"));
	int r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	rcu_thread_unregister();
	return r;
}

static void
set_in(struct sett_txn *txn, const char *key, const char *value)
{
	MUST(sett_txn_begin(txn, 0));
	MUST(put(txn, key, value));
	MUST(sett_txn_commit(txn, NULL, NULL));
}

/* One thread holds both: a claim that had to wait for the other would never come. */
Test(engine, claims_without_a_common_key_are_held_side_by_side, .timeout = 300)
{
	struct sett_txn *a = begin_claim("a"), *b = begin_claim("b");
	cr_assert_eq(try_set("a", 0), SETT_WOULD_BLOCK);
	cr_assert_eq(try_set("b", 0), SETT_WOULD_BLOCK);
	MUST(try_set("c", 0));
	set_in(a, "a", "of a");
	MUST(try_set("a", 0));
	cr_assert_eq(try_set("b", 0), SETT_WOULD_BLOCK);
	set_in(b, "b", "of b");
	MUST(try_set("b", 0));
	sett_txn_destroy(a);
	sett_txn_destroy(b);
}

static void *
claim_and_read(void *arg)
{
	struct sett_txn *txn = begin_claim(arg);
	MUST(sett_txn_begin(txn, 0));
	cr_assert_str_eq(get(txn, arg), "first");
	sett_txn_destroy(txn);
	return NULL;
}

Test(engine, a_claim_with_a_common_key_waits_for_the_earlier_one, .timeout = 300)
{
	struct sett_txn *first = begin_claim("k");
	pthread_t second;
	char key[] = "k";
	cr_assert_eq(pthread_create(&second, NULL, claim_and_read, key), 0);
	set_in(first, "k", "first");
	pthread_join(second, NULL);
	sett_txn_destroy(first);
	MUST(try_set("k", 0));
}

enum { CROSSINGS = 300 };

/* Reads one key and writes the other, always under a claim. */
static void *
cross(void *arg)
{
	const char *const *keys = arg;
	struct sett_record record;
	struct sett_txn *txn = begin(0);
	sett_txn_discard(txn);
	for (int i = 0; i < CROSSINGS; i++) {
		int r, tries = 0;
		do {
			MUST(sett_txn_begin(txn, 0));
			r = sett_txn_get(txn, bytes_of_string(keys[0]), &record);
			cr_assert(r == SETT_OK || r == SETT_NOT_FOUND);
			MUST(put(txn, keys[1], keys[0]));
			if (tries++ == 0) {
				sett_txn_discard(txn);
				sett_txn_claim(txn);
				r = SETT_CONFLICT;
				continue;
			}
			r = sett_txn_commit(txn, NULL, NULL);
			if (r == SETT_CONFLICT)
				sett_txn_claim(txn);
		} while (r == SETT_CONFLICT);
		MUST(r);
	}
	sett_txn_destroy(txn);
	return NULL;
}

/* Each meets the other's claim at its commit, and gives its own up before it waits. */
Test(engine, claims_that_cross_do_not_wait_for_each_other, .timeout = 300)
{
	const char *there[] = {"x", "y"}, *back[] = {"y", "x"};
	pthread_t a, b;
	cr_assert_eq(pthread_create(&a, NULL, cross, there), 0);
	cr_assert_eq(pthread_create(&b, NULL, cross, back), 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	expect("x", "y");
	expect("y", "x");
}

Test(engine, the_third_claim_in_a_row_is_of_all_keys)
{
	struct sett_txn *loser = begin(0);
	for (int claims = 0; claims < 3; claims++) {
		MUST(try_set("unrelated", 0));
		if (claims > 0)
			MUST(sett_txn_begin(loser, 0));
		get(loser, "k");
		MUST(put(loser, "written", "x"));
		sett_txn_discard(loser);
		sett_txn_claim(loser);
		cr_assert_eq(try_set("k", 0), SETT_WOULD_BLOCK);
		cr_assert_eq(try_set("written", 0), claims > 0 ? SETT_WOULD_BLOCK : SETT_OK);
	}
	cr_assert_eq(try_set("unrelated", 0), SETT_WOULD_BLOCK);
	MUST(try_set("no conflict key", SETT_TXN_MANUAL_CONFLICTS));
	set_in(loser, "k", "v");
	MUST(try_set("unrelated", 0));
	/* It begins anew with its keys alone. */
	MUST(sett_txn_begin(loser, 0));
	get(loser, "k");
	sett_txn_discard(loser);
	sett_txn_claim(loser);
	MUST(try_set("unrelated", 0));
	sett_txn_destroy(loser);
}

Test(engine, two_openers_are_one_too_many)
{
	struct sett_engine *second;
	struct sett_error error;
	cr_assert_eq(sett_engine_open("db", &(struct sett_options){.vfs = vfs, .manual_work = true}, &second,
				      &error),
		     SETT_LOCKED);
}

/* ---- several threads ---- */

enum { ACCOUNTS = 10, THREADS = 4, TRANSFERS = 400 };

static void *
transfer(void *arg)
{
	struct random random;
	random_seed(&random, (uint64_t)(uintptr_t)arg);
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	for (int i = 0; i < TRANSFERS; i++) {
		int r, losses = 0;
		char from[16], to[16], text[16];
		snprintf(from, sizeof(from), "account%d", (int)random_below(&random, ACCOUNTS));
		snprintf(to, sizeof(to), "account%d", (int)random_below(&random, ACCOUNTS));
		do {
			struct sett_record record;
			struct bytes body;
			long balance[2];
			const char *names[2] = {from, to};
			MUST(sett_txn_begin(txn, 0));
			for (int k = 0; k < 2; k++) {
				MUST(sett_txn_get(txn, bytes_of_string(names[k]), &record));
				MUST(sett_txn_body(txn, &record, &body));
				memcpy(text, body.data, body.size);
				text[body.size] = 0;
				balance[k] = strtol(text, NULL, 10) + (k ? 1 : -1);
				snprintf(text, sizeof(text), "%ld", balance[k]);
				MUST(put(txn, names[k], text));
			}
			r = sett_txn_commit(txn, NULL, NULL);
			if (r == SETT_CONFLICT && ++losses >= 3)
				sett_txn_claim(txn);
		} while (r == SETT_CONFLICT);
		MUST(r);
		MUST(sett_engine_write(engine));
	}
	sett_txn_destroy(txn);
	return NULL;
}

/* Values come faster than flush and compaction take them, so writers are slowed down, and at times stopped.
 */
Test(engine, a_reactor_is_told_when_to_write_again)
{
	static uint8_t body[200];
	enum { SLOWED = 5, MOST = 2000000 };
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
	open_engine(false);
	rcu_thread_register();
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	int slowed = 0, spared = 0;
	bool stopped = false;
	for (int i = 0; i < MOST && (slowed < SLOWED || spared < SLOWED); i++) {
		char key[16];
		struct sett_put value = {.body = bytes_of(body, sizeof(body))};
		unsigned flags = stopped ? 0
			: i % 2 == 0     ? SETT_TXN_NOWAIT
					 : SETT_TXN_NOWAIT | SETT_TXN_PACED;
		snprintf(key, sizeof(key), "key%d", i * 7919 % 100000);
		MUST(sett_txn_begin(txn, flags));
		cr_assert_eq(sett_txn_pause_ns(txn), 0);
		MUST(sett_txn_put(txn, bytes_of_string(key), &value));
		int r = sett_txn_commit(txn, NULL, NULL);
		cr_assert(r == SETT_OK || (r == SETT_WOULD_BLOCK && !stopped));
		uint64_t pause_ns = sett_txn_pause_ns(txn);
		cr_assert(pause_ns == 0 || (r == SETT_OK && flags == SETT_TXN_NOWAIT));
		slowed += pause_ns != 0;
		spared += slowed > 0 && r == SETT_OK && (flags & SETT_TXN_PACED) != 0;
		stopped = r == SETT_WOULD_BLOCK; /* then it waits */
		rcu_quiescent();
	}
	cr_assert_eq(slowed >= SLOWED && spared >= SLOWED, true, "%d slowed, %d spared", slowed, spared);
	sett_txn_destroy(txn);
	rcu_thread_unregister();
}

Test(engine, transfers_between_accounts_keep_the_total)
{
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
	open_engine(false);
	char name[16];
	for (int i = 0; i < ACCOUNTS; i++) {
		snprintf(name, sizeof(name), "account%d", i);
		set(name, "100");
	}
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, transfer, (void *)(uintptr_t)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	reopen();
	long total = 0;
	struct sett_txn *txn = begin(0);
	for (int i = 0; i < ACCOUNTS; i++) {
		snprintf(name, sizeof(name), "account%d", i);
		total += strtol(get(txn, name), NULL, 10);
	}
	sett_txn_destroy(txn);
	cr_assert_eq(total, 100 * ACCOUNTS);
}

/* ---- writers that wait ---- */

struct flood {
	uint64_t committed; /* atomic */
	int status;         /* of the last commit; read after the join */
};

enum { FLOOD_COMMITS = 4000, FLOOD_HEAD = 1000 };

static void *
run_flood(void *arg)
{
	struct flood *flood = arg;
	uint8_t head[FLOOD_HEAD] = {1};
	struct sett_txn *txn;
	flood->status = sett_txn_create(engine, &txn);
	for (uint32_t i = 0; flood->status == SETT_OK && i < FLOOD_COMMITS; i++) {
		struct sett_put put = {.head = bytes_of(head, sizeof(head))};
		if ((flood->status = sett_txn_begin(txn, 0)) == SETT_OK &&
		    (flood->status = sett_txn_put(txn, bytes_of(&i, sizeof(i)), &put)) == SETT_OK)
			flood->status = sett_txn_commit(txn, NULL, NULL);
		__atomic_store_n(&flood->committed, i + 1, __ATOMIC_RELAXED);
	}
	sett_txn_destroy(txn);
	return NULL;
}

/* A slow disk: the next log segment is not ready when the memtable has grown past all bounds. The writers,
 * who wait for it, go on once it is there. */
Test(engine, writers_go_on_when_a_late_log_segment_comes)
{
	struct sett_error error;
	struct flood flood = {0};
	pthread_t writer;
	uint64_t before = 0, now = 1;
	MUST(sett_engine_close(engine, &error));
	open_engine(false);
	vfs_memory_hold_sync(vfs, true);
	cr_assert_eq(pthread_create(&writer, NULL, run_flood, &flood), 0);
	for (unsigned calm = 0; calm < 20; calm = now != 0 && now == before ? calm + 1 : 0) {
		struct timespec pause = {.tv_nsec = 5000000};
		before = now;
		nanosleep(&pause, NULL);
		now = __atomic_load_n(&flood.committed, __ATOMIC_RELAXED);
	}
	cr_assert(now < FLOOD_COMMITS, "nothing held the writer up");
	uint64_t start = clock_monotonic_ns(sett_system_clock());
	vfs_memory_hold_sync(vfs, false);
	/* A memtable that nobody ends is ended by its idleness, seconds later, if at all. Only its first step counts: how long the
	 * rest takes is the machine's. */
	while (__atomic_load_n(&flood.committed, __ATOMIC_RELAXED) == now)
		cr_assert(clock_monotonic_ns(sett_system_clock()) - start < 3000000000,
			  "the writer went on late");
	cr_assert_eq(pthread_join(writer, NULL), 0);
	MUST(flood.status);
	cr_assert_eq(flood.committed, FLOOD_COMMITS);
}
