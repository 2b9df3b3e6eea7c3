/* Walks over a part of what there is: a prefix, what came since a commit, all versions that are kept; and which those are. */
#include <stdio.h>

#include "storage/base/random.h"
#include "storage/engine.h"
#include "support.h"

enum { KEYS = 40, HISTORY = 400 };

static struct vfs *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;

static void
open_engine(unsigned keep_versions)
{
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 64,
				       .value_log_file_size = 64 << 10,
				       .keep_versions = keep_versions,
				       .manual_work = true};
	struct sett_error error = {0};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	SUCCEED(sett_txn_create(engine, &txn));
}

static void
close_engine(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	open_engine(1);
}

static void
tear_down(void)
{
	close_engine();
	test_vfs_destroy(vfs);
}

/* A value of NULL: a deletion. */
static uint64_t
write_key(const char *key, const char *value)
{
	uint64_t timestamp;
	SUCCEED(sett_txn_begin(txn, 0));
	if (value)
		SUCCEED(sett_txn_put(txn, bytes_of_string(key),
				     &(struct sett_put){.body = bytes_of_string(value)}));
	else
		SUCCEED(sett_txn_delete(txn, bytes_of_string(key)));
	SUCCEED(sett_txn_commit(txn, NULL, &timestamp));
	return timestamp;
}

static void
flush(void)
{
	struct sett_error error = {0};
	MUST(sett_engine_flush(engine, &error), &error);
}

static void
compact(void)
{
	struct sett_error error = {0};
	MUST(sett_engine_compact(engine, &error), &error);
}

/* Where the iterator is: "key=value", "key=-" for a deletion. */
static void
describe(struct sett_iterator *it, char *text, size_t size)
{
	struct bytes key = sett_iterator_key(it), body = BYTES_LITERAL("-");
	struct sett_record record;
	if (sett_iterator_is_deletion(it)) {
		MUST_FAIL(sett_iterator_record(it, &record), SETT_NOT_FOUND);
	} else {
		SUCCEED(sett_iterator_record(it, &record));
		cr_assert_eq(record.timestamp, sett_iterator_timestamp(it));
		SUCCEED(sett_txn_body(txn, &record, &body));
	}
	snprintf(text, size, "%.*s=%.*s ", (int)key.size, (const char *)key.data, (int)body.size,
		 (const char *)body.data);
}

/* All that a walk shows, with the status that ends it. */
static const char *
walk(const struct sett_iterator_options *options, bool backwards, int expected_end)
{
	static char text[4096];
	struct sett_iterator *it;
	size_t n = 0;
	text[0] = 0;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_iterator_open(txn, options, &it));
	int r = backwards ? sett_iterator_last(it) : sett_iterator_first(it);
	for (; r == SETT_OK; r = backwards ? sett_iterator_previous(it) : sett_iterator_next(it)) {
		describe(it, text + n, sizeof(text) - n);
		n += strlen(text + n);
	}
	cr_assert_eq(r, expected_end, "%s", sett_status_text(r));
	sett_txn_discard(txn);
	return text;
}

#define EXPECT(expected, ...) \
	cr_assert_str_eq(walk(&(struct sett_iterator_options){__VA_ARGS__}, false, SETT_NOT_FOUND), expected)
#define EXPECT_BACKWARDS(expected, ...) \
	cr_assert_str_eq(walk(&(struct sett_iterator_options){__VA_ARGS__}, true, SETT_NOT_FOUND), expected)

TestSuite(versions, .init = set_up, .fini = tear_down);

Test(versions, a_prefix_bounds_a_walk)
{
	for (const char *const *key =
		     (const char *const[]){"a", "b", "b1", "b2", "b\xff", "b\xff\xff", "c", NULL};
	     *key; key++)
		write_key(*key, "x");
	for (int round = 0; round < 2; round++) {
		EXPECT("b=x b1=x b2=x b\xff=x b\xff\xff=x ", .prefix = BYTES_LITERAL("b"));
		EXPECT_BACKWARDS("b\xff\xff=x b\xff=x b2=x b1=x b=x ", .prefix = BYTES_LITERAL("b"));
		EXPECT("b\xff=x b\xff\xff=x ", .prefix = BYTES_LITERAL("b\xff"));
		EXPECT("b1=x ", .prefix = BYTES_LITERAL("b1"));
		EXPECT("", .prefix = BYTES_LITERAL("bb"));
		EXPECT("", .prefix = BYTES_LITERAL("\xff"));
		EXPECT("b1=x b2=x ", .prefix = BYTES_LITERAL("b"), .lower = BYTES_LITERAL("b1"),
		       .upper = BYTES_LITERAL("b\xff"));
		EXPECT("b=x b1=x b2=x b\xff=x b\xff\xff=x ", .prefix = BYTES_LITERAL("b"),
		       .lower = BYTES_LITERAL("a"), .upper = BYTES_LITERAL("d"));
		flush();
	}
}

/* Flips a byte of every table but the newest: it may lie in a block, so reads of it fail. */
static void
damage_tables(uint64_t newest)
{
	for (uint64_t n = 1; n < newest; n++) {
		char path[SETT_TEST_PATH];
		snprintf(path, sizeof(path), "db/%06u.sst", (unsigned)n);
		(void)vfs_memory_damage(vfs, path, 20, 0xff); /* there may be none of this number */
	}
}

static uint64_t
newest_table(void)
{
	for (uint64_t n = 5000; n > 0; n--) {
		char path[SETT_TEST_PATH];
		struct vfs_file *f;
		snprintf(path, sizeof(path), "db/%06u.sst", (unsigned)n);
		if (vfs_open(vfs, path, VFS_READ, &f, NULL) == SETT_OK) {
			vfs_close(f, NULL);
			return n;
		}
	}
	return 0;
}

static void
reopen(unsigned keep_versions)
{
	close_engine();
	open_engine(keep_versions);
}

Test(versions, tables_that_can_have_nothing_are_not_read)
{
	write_key("a", "1");
	flush();
	uint64_t since = write_key("c", "1");
	flush();
	write_key("b", "1");
	flush();
	reopen(1);
	damage_tables(newest_table());
	EXPECT("b=1 ", .prefix = BYTES_LITERAL("b"));
	EXPECT("b=1 ", .lower = BYTES_LITERAL("aa"), .upper = BYTES_LITERAL("c"));
	EXPECT_BACKWARDS("b=1 ", .prefix = BYTES_LITERAL("b"));
	EXPECT("b=1 ", .since = since);
	EXPECT_BACKWARDS("b=1 ", .since = since);
	EXPECT("b=1 ", .since = since, .all_versions = true);
	(void)walk(&(struct sett_iterator_options){0}, false, SETT_CORRUPT);
	(void)walk(&(struct sett_iterator_options){.since = since - 1}, false, SETT_CORRUPT);
}

Test(versions, tables_of_deeper_levels_are_passed_over)
{
	/* Several tables on the bottom level, of which one is written anew. */
	enum { COUNT = 45000 };
	struct random random;
	char key[16], value[61];
	random_seed(&random, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(key, sizeof(key), "k%06u", i);
		for (size_t c = 0; c + 1 < sizeof(value); c++)
			value[c] = (char)('!' + random_below(&random, 90));
		value[sizeof(value) - 1] = 0;
		write_key(key, value);
	}
	compact();
	uint64_t since = sett_engine_visible(engine), before = newest_table();
	write_key("k000003", "new");
	compact();
	struct sett_stats stats;
	sett_engine_stats(engine, &stats);
	cr_assert_gt(stats.levels[SETT_LEVELS - 1].tables, 2U);
	reopen(1);
	damage_tables(before + 1);
	EXPECT("k000003=new ", .since = since);
	EXPECT_BACKWARDS("k000003=new ", .since = since);
	EXPECT("k000003=new ", .since = since, .lower = BYTES_LITERAL("k000002"));
	EXPECT("", .since = since, .lower = BYTES_LITERAL("k030000"));
}

Test(versions, what_came_since_a_commit)
{
	write_key("a", "1");
	write_key("b", "1");
	write_key("c", "1");
	uint64_t since = sett_engine_visible(engine);
	for (int round = 0; round < 2; round++) {
		EXPECT("", .since = since);
		flush();
	}
	write_key("b", "2");
	write_key("c", NULL);
	write_key("d", "1");
	write_key("d", "2");
	for (int round = 0; round < 2; round++) {
		EXPECT("b=2 d=2 ", .since = since);
		EXPECT_BACKWARDS("d=2 b=2 ", .since = since);
		EXPECT("b=2 ", .since = since, .upper = BYTES_LITERAL("c"));
		EXPECT("a=1 b=2 d=2 ", .since = 0);
		flush();
	}
	compact();
	EXPECT("b=2 d=2 ", .since = since);
}

Test(versions, own_writes_come_first)
{
	uint64_t since = write_key("a", "1");
	struct sett_iterator *it;
	char text[64];
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("a"), &(struct sett_put){.body = BYTES_LITERAL("own")}));
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.all_versions = true}, &it));
	SUCCEED(sett_iterator_first(it));
	describe(it, text, sizeof(text));
	cr_assert_str_eq(text, "a=own ");
	cr_assert_eq(sett_iterator_timestamp(it), UINT64_MAX);
	SUCCEED(sett_iterator_next(it));
	describe(it, text, sizeof(text));
	cr_assert_str_eq(text, "a=1 ");
	cr_assert_eq(sett_iterator_timestamp(it), since);
	MUST_FAIL(sett_iterator_next(it), SETT_NOT_FOUND);
	MUST_FAIL(sett_iterator_last(it), SETT_INVALID);
	MUST_FAIL(sett_iterator_seek_before(it, BYTES_LITERAL("z")), SETT_INVALID);
	sett_iterator_close(it);
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.since = since}, &it));
	SUCCEED(sett_iterator_first(it));
	cr_assert_eq(sett_iterator_timestamp(it), UINT64_MAX);
	sett_txn_discard(txn);
}

Test(versions, all_versions_of_a_memtable)
{
	write_key("a", "1");
	write_key("b", "1");
	write_key("a", "2");
	write_key("a", NULL);
	uint64_t since = write_key("a", "4");
	write_key("a", "5");
	EXPECT("a=5 a=4 a=- a=2 a=1 b=1 ", .all_versions = true);
	EXPECT("a=5 ", .all_versions = true, .since = since);
	EXPECT("a=5 a=4 ", .all_versions = true, .since = since - 1);
	EXPECT("b=1 ", .all_versions = true, .prefix = BYTES_LITERAL("b"));
	flush(); /* nobody sees the others */
	EXPECT("a=5 b=1 ", .all_versions = true);
}

/* A flush installs its table before it drops the memtable: whoever began in between has both. */
Test(versions, a_version_that_is_there_twice_is_shown_once)
{
	write_key("a", "1");
	flush();
	write_key("a", "2");
	struct sett_txn *reader;
	struct sett_iterator *it;
	SUCCEED(sett_txn_create(engine, &reader));
	SUCCEED(sett_txn_begin(reader, 0));
	flush();
	SUCCEED(sett_iterator_open(reader, &(struct sett_iterator_options){.all_versions = true}, &it));
	SUCCEED(sett_iterator_first(it));
	cr_assert_eq(sett_iterator_timestamp(it), 2);
	SUCCEED(sett_iterator_next(it));
	cr_assert_eq(sett_iterator_timestamp(it), 1);
	MUST_FAIL(sett_iterator_next(it), SETT_NOT_FOUND);
	sett_txn_destroy(reader);
}

Test(versions, so_many_versions_are_kept)
{
	reopen(3);
	for (int i = 1; i <= 6; i++)
		write_key("a", (const char[]){(char)('0' + i), 0});
	write_key("b", "1");
	write_key("b", NULL);
	write_key("b", "3");
	write_key("c", "1");
	write_key("c", NULL);
	flush();
	EXPECT("a=6 a=5 a=4 b=3 ", .all_versions = true);
	write_key("a", "7");
	compact();
	EXPECT("a=7 a=6 a=5 b=3 ", .all_versions = true);
	EXPECT("a=7 b=3 ", .since = 0);
	write_key("a", NULL);
	compact();
	EXPECT("b=3 ", .all_versions = true);
	reopen(1);
	write_key("b", "4");
	compact();
	EXPECT("b=4 ", .all_versions = true);
}

/* What is kept is no garbage: the engine comes to rest, and a look at it writes nothing more. */
Test(versions, what_is_kept_is_not_compacted_for_ever)
{
	struct sett_error error = {0};
	char value[300];
	reopen(4);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	for (int i = 0; i < 200; i++)
		for (int k = 0; k < 20; k++)
			write_key((const char[]){'k', (char)('a' + k), 0}, value);
	compact();
	unsigned jobs = 0;
	while (sett_engine_work(engine, &error) == SETT_OK)
		cr_assert_lt(++jobs, 1000U);
	struct sett_stats before, after;
	sett_engine_stats(engine, &before);
	compact();
	sett_engine_stats(engine, &after);
	cr_assert_eq(sett_engine_work(engine, &error), SETT_NOT_FOUND);
	cr_assert_leq(after.levels[SETT_LEVELS - 1].referenced_bytes,
		      before.levels[SETT_LEVELS - 1].referenced_bytes);
	cr_assert_geq(after.value_log_live_bytes, 4U * 20 * 299);
}

/* Of three versions to keep the second is a deletion: what stands deeper than a flush or a compaction can see does not come
 * back without it. */
Test(versions, what_was_deleted_does_not_come_back)
{
	reopen(3);
	write_key("a", "1");
	flush();
	compact();
	write_key("a", NULL);
	write_key("a", "3");
	flush();
	EXPECT("a=3 a=- a=1 ", .all_versions = true);
	compact();
	EXPECT("a=3 ", .all_versions = true);
}

Test(versions, what_a_snapshot_holds_stays_deleted)
{
	struct sett_snapshot *snapshot;
	reopen(3);
	write_key("a", "1");
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_snapshot_keep(txn, &snapshot));
	sett_txn_discard(txn);
	write_key("a", NULL);
	write_key("a", "3");
	compact();
	EXPECT("a=3 a=- a=1 ", .all_versions = true);
	EXPECT("a=3 ", .since = 0);
	sett_snapshot_release(snapshot);
	write_key("b", "1");
	compact();
	EXPECT("a=3 b=1 ", .all_versions = true);
}

/* ---- beside a model ---- */

struct model_version {
	uint64_t timestamp;
	bool is_deletion;
};
struct model_key {
	struct model_version versions[HISTORY]; /* oldest first */
	unsigned count;
};

/* What is shown must have been committed, newest first, and begin with what must be kept. A deletion that is among those comes
 * before anything older, and `is_compacted` has left nothing else. */
static void
check_key(const struct model_key *k, const struct model_version *shown, unsigned count, unsigned keep,
	  bool is_compacted)
{
	unsigned at = k->count, must = 0;
	for (unsigned i = 0; i < count; i++) {
		while (at > 0 && k->versions[at - 1].timestamp > shown[i].timestamp)
			at--;
		cr_assert_gt(at, 0U);
		cr_assert_eq(k->versions[at - 1].timestamp, shown[i].timestamp);
		cr_assert_eq(k->versions[at - 1].is_deletion, shown[i].is_deletion);
	}
	while (must < keep && must < k->count && !k->versions[k->count - 1 - must].is_deletion)
		must++;
	cr_assert_geq(count, must);
	for (unsigned i = 0; i < must; i++)
		cr_assert_eq(shown[i].timestamp, k->versions[k->count - 1 - i].timestamp);
	if (must < keep && count > must)
		cr_assert(shown[must].is_deletion &&
			  shown[must].timestamp == k->versions[k->count - 1 - must].timestamp);
	if (is_compacted)
		cr_assert_eq(count, must);
}

static void
check_all(struct model_key *model, unsigned keep, bool is_compacted)
{
	struct sett_iterator *it;
	unsigned counts[KEYS] = {0};
	static struct model_version shown[KEYS][HISTORY];
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.all_versions = true}, &it));
	int r = sett_iterator_first(it);
	for (; r == SETT_OK; r = sett_iterator_next(it)) {
		const uint8_t *digits = sett_iterator_key(it).data + 1;
		unsigned k = (unsigned)(digits[0] - '0') * 10 + (unsigned)(digits[1] - '0');
		cr_assert_lt(k, (unsigned)KEYS);
		cr_assert_lt(counts[k], (unsigned)HISTORY);
		shown[k][counts[k]++] =
			(struct model_version){sett_iterator_timestamp(it), sett_iterator_is_deletion(it)};
	}
	cr_assert_eq(r, SETT_NOT_FOUND);
	sett_txn_discard(txn);
	for (unsigned k = 0; k < KEYS; k++)
		check_key(&model[k], shown[k], counts[k], keep, is_compacted);
}

/* Since a commit: the keys whose newest version came after it, without the deleted. */
static void
check_since(const struct model_key *model, uint64_t since)
{
	struct sett_iterator *it;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.since = since}, &it));
	int r = sett_iterator_first(it);
	for (unsigned k = 0; k < KEYS; k++) {
		const struct model_version *newest =
			model[k].count ? &model[k].versions[model[k].count - 1] : NULL;
		if (!newest || newest->is_deletion || newest->timestamp <= since)
			continue;
		cr_assert_eq(r, SETT_OK);
		cr_assert_eq(sett_iterator_timestamp(it), newest->timestamp);
		r = sett_iterator_next(it);
	}
	cr_assert_eq(r, SETT_NOT_FOUND);
	sett_txn_discard(txn);
}

/* A snapshot that is held sees of each key the newest version up to its commit. */
struct held {
	struct sett_snapshot *snapshot;
	uint64_t at;
};

static void
check_held(const struct model_key *model, const struct held *held)
{
	char key[8];
	struct sett_record record;
	SUCCEED(sett_txn_begin_kept(txn, held->snapshot, SETT_TXN_MANUAL_CONFLICTS));
	for (unsigned k = 0; k < KEYS; k++) {
		unsigned at = model[k].count;
		while (at > 0 && model[k].versions[at - 1].timestamp > held->at)
			at--;
		snprintf(key, sizeof(key), "k%02u", k);
		int r = sett_txn_get(txn, bytes_of_string(key), &record);
		if (at == 0 || model[k].versions[at - 1].is_deletion) {
			cr_assert_eq(r, SETT_NOT_FOUND);
			continue;
		}
		SUCCEED(r);
		cr_assert_eq(record.timestamp, model[k].versions[at - 1].timestamp);
	}
	sett_txn_discard(txn);
}

/* Lets one go that is held, or holds one. */
static void
change_held(struct held *held)
{
	if (held->snapshot) {
		sett_snapshot_release(held->snapshot);
		held->snapshot = NULL;
		return;
	}
	SUCCEED(sett_txn_begin(txn, 0));
	held->at = sett_txn_snapshot(txn);
	SUCCEED(sett_snapshot_keep(txn, &held->snapshot));
	sett_txn_discard(txn);
}

static void
run_model(uint64_t seed, unsigned keep)
{
	static struct model_key model[KEYS];
	struct random random;
	struct held held = {0};
	memset(model, 0, sizeof(model));
	random_seed(&random, seed);
	reopen(keep);
	for (unsigned step = 0; step < 3000; step++) {
		unsigned k = (unsigned)(random_next(&random) % KEYS),
			 what = (unsigned)(random_next(&random) % 100);
		char key[8];
		if (what < 90 && model[k].count < HISTORY) {
			char value[100];
			snprintf(key, sizeof(key), "k%02u", k);
			memset(value, 'v', sizeof(value) - 1);
			value[random_next(&random) % sizeof(value)] = 0;
			value[sizeof(value) - 1] = 0;
			bool is_deletion = what >= 70;
			model[k].versions[model[k].count++] = (struct model_version){
				write_key(key, is_deletion ? NULL : value), is_deletion};
		} else if (what < 93) {
			flush();
		} else if (what < 94) {
			change_held(&held);
		} else if (what < 95) {
			compact();
			check_all(model, keep, !held.snapshot);
		} else if (what < 96) {
			if (held.snapshot)
				change_held(&held);
			reopen(keep);
		} else if (what < 98) {
			check_all(model, keep, false);
			if (held.snapshot)
				check_held(model, &held);
		} else {
			check_since(model, random_next(&random) % (sett_engine_visible(engine) + 1));
		}
	}
	if (held.snapshot)
		change_held(&held);
	check_all(model, keep, false);
}

Test(versions, beside_a_model)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		if (seed > 1) {
			tear_down();
			vfs = vfs_memory_create();
			open_engine(1);
		}
		run_model(seed, 1 + (unsigned)seed % 3 * 2);
	}
}
