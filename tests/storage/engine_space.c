/* Space of what is deleted, overwritten or dropped: known at the commit, given back without further writes. Jobs
 * run in this thread, and none that time alone would bring is left out. */
#include <criterion/criterion.h>

#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum {
	KEYS = 200,
	BODY = 20000,
	SMALL_KEYS = 5000,
	SLACK = 64 * 1024, /* bytes in which a figure may be wrong: tables' own, tombstones */
	ROUNDS_MAX = 10000,
	MEMTABLE = 256 << 10, /* of the memory budget below */
	LARGE = 40,           /* entries of a commit that is large, */
	LARGE_BODY = 1000,    /* and of each the body, which is no value of the value log */
	LARGE_SETS = 5,
	LARGE_COMMITS = 60,
};

static struct vfs *vfs;
static struct sett_engine *engine;
static size_t large_commit;
static struct sett_txn *txn;
static uint8_t body[KEYS * BODY];

static void
start(void)
{
	struct sett_error error = {0};
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_log_file_size = 256 << 10,
				       .large_commit = large_commit,
				       .manual_work = true};
	int r = sett_engine_open("db", &options, &engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
	MUST(sett_txn_create(engine, &txn));
}

static void
stop(void)
{
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, NULL));
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 2654435761u >> 13);
	start();
}

static void
tear_down(void)
{
	stop();
	vfs->operations->destroy(vfs);
}

TestSuite(engine_space, .init = set_up, .fini = tear_down);

static struct sett_key
key_of(const char *prefix, unsigned i, char text[24])
{
	int n = snprintf(text, 24, "%s%06u", prefix, i);
	struct bytes key = bytes_of(text, (size_t)n);
	return (struct sett_key){key, sett_engine_hash(engine, key)};
}

/* In the running transaction, over what is there. */
static void
put(const char *prefix, unsigned i, size_t size)
{
	char text[24];
	struct sett_record record;
	struct sett_key key = key_of(prefix, i, text);
	int r = sett_txn_get_hashed(txn, key, &record);
	cr_assert(r == SETT_OK || r == SETT_NOT_FOUND);
	MUST(sett_txn_put_hashed(
		txn, key,
		&(struct sett_put){.body = bytes_of(body + i, size), .over = r == SETT_OK ? &record : NULL}));
}

static void delete (const char *prefix, unsigned i)
{
	char text[24];
	struct sett_record record;
	struct sett_key key = key_of(prefix, i, text);
	MUST(sett_txn_get_hashed(txn, key, &record));
	MUST(sett_txn_delete_hashed(txn, key, &record));
}

static void
move(const char *from_prefix, const char *to_prefix, unsigned i)
{
	char from_text[24], to_text[24];
	struct sett_record from, to;
	struct sett_key from_key = key_of(from_prefix, i, from_text), to_key = key_of(to_prefix, i, to_text);
	MUST(sett_txn_get_hashed(txn, from_key, &from));
	int r = sett_txn_get_hashed(txn, to_key, &to);
	MUST(sett_txn_put_hashed(txn, to_key,
				 &(struct sett_put){.body_of = &from, .over = r == SETT_OK ? &to : NULL}));
	MUST(sett_txn_delete_hashed(txn, from_key, &from));
}

static void
put_all(const char *prefix, unsigned count, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		MUST(sett_txn_begin(txn, 0));
		put(prefix, i, size);
		MUST(sett_txn_commit(txn, NULL, NULL));
	}
}

static struct sett_stats
stats(void)
{
	struct sett_stats s;
	sett_engine_stats(engine, &s);
	return s;
}

/* Until nothing is due. */
static void
settle(void)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	for (unsigned i = 0; r == SETT_OK && i < ROUNDS_MAX; i++)
		r = sett_engine_work(engine, &error);
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
}

static void
check_live(uint64_t expected, const char *when)
{
	uint64_t live = stats().live_bytes;
	cr_assert(live + SLACK > expected && live < expected + expected / 20 + SLACK,
		  "%s: %llu live bytes, not %llu", when, (unsigned long long)live,
		  (unsigned long long)expected);
}

/* Beside the log, the files hold half as much garbage as live bytes at the most, or what a small database may. */
static void
check_space(uint64_t live, const char *when)
{
	struct sett_stats s = stats();
	uint64_t files = s.disk_bytes - s.log_bytes - s.reserve_bytes;
	cr_assert_leq(files, live + live / 2 + SLACK, "%s: %llu bytes in files for %llu live ones", when,
		      (unsigned long long)files, (unsigned long long)live);
	check_live(live, when);
}

enum ending { AT_REST, IN_MEMTABLE, RESTARTED, FLUSHED_AND_RESTARTED, ENDINGS };

static void
delete_all(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		delete ("k", i);
}

static void
overwrite_all(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		put("k", i, 1);
}

static void
move_over_all(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		move("s", "k", i);
}

/* What was written and then rolled back shadows nothing; what is written twice shadows once. */
static void
delete_with_detours(void)
{
	for (unsigned i = 0; i < KEYS; i++) {
		size_t savepoint = sett_txn_savepoint(txn);
		delete ("s", i);
		sett_txn_rollback_to(txn, savepoint);
		put("k", i, 3);
		delete ("k", i);
	}
}

static void
drop_prefix(void)
{
	MUST(sett_txn_drop_prefix(txn, BYTES_LITERAL("k")));
}

Test(engine_space, what_a_commit_shadows_is_known_and_given_back)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} ways[] = {{"delete", delete_all},
		    {"overwrite", overwrite_all},
		    {"move over", move_over_all},
		    {"detours", delete_with_detours},
		    {"drop", drop_prefix}};
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		for (enum ending ending = AT_REST; ending < ENDINGS; ending++) {
			put_all("k", KEYS, BODY);
			put_all("s", KEYS, 1);
			if (ending != IN_MEMTABLE)
				MUST(sett_engine_compact(engine, NULL));
			check_live((uint64_t)KEYS * BODY, "written");
			MUST(sett_txn_begin(txn, 0));
			ways[i].run();
			MUST(sett_txn_commit(txn, NULL, NULL));
			check_live(0, ways[i].name);
			if (ending == FLUSHED_AND_RESTARTED)
				MUST(sett_engine_flush(engine, NULL));
			if (ending >= RESTARTED) {
				stop();
				start();
				check_live(0, "after a restart");
			}
			settle();
			check_space(0, ways[i].name);
			if (ways[i].run == drop_prefix) { /* its keys must not be used again */
				stop();
				vfs->operations->destroy(vfs);
				vfs = vfs_memory_create();
				start();
			}
		}
	}
}

/* One entry is most of the database: an average says nothing of it. */
Test(engine_space, a_large_entry_among_many_small_ones)
{
	put_all("s", SMALL_KEYS, 40);
	put_all("k", 1, sizeof(body) - 1);
	MUST(sett_engine_compact(engine, NULL));
	uint64_t small = stats().live_bytes - sizeof(body);
	MUST(sett_txn_begin(txn, 0));
	delete ("k", 0);
	MUST(sett_txn_commit(txn, NULL, NULL));
	check_live(small, "deleted");
	stop(); /* the log says what it was */
	start();
	check_live(small, "deleted before a restart");
	settle();
	check_space(small, "deleted");
	put_all("k", 1, sizeof(body) - 1);
	MUST(sett_engine_flush(engine, NULL));
	put_all("k", 1, 10);
	check_live(small, "overwritten");
	MUST(sett_engine_flush(engine, NULL));
	stop(); /* the manifest does */
	start();
	check_live(small, "overwritten before a restart");
	settle();
	check_space(small, "overwritten");
}

/* The tables in between keep what is shadowed in mind, level by level. */
Test(engine_space, a_part_is_deleted_while_more_is_written)
{
	uint64_t live = 0;
	for (unsigned round = 0; round < 12; round++) {
		char prefix[8];
		snprintf(prefix, sizeof(prefix), "r%02u", round);
		put_all(prefix, KEYS / 4, BODY);
		live += (uint64_t)KEYS / 4 * BODY;
		if (round % 3 == 2) {
			snprintf(prefix, sizeof(prefix), "r%02u", round - 1);
			MUST(sett_txn_begin(txn, 0));
			for (unsigned i = 0; i < KEYS / 4; i++)
				delete (prefix, i);
			MUST(sett_txn_commit(txn, NULL, NULL));
			live -= (uint64_t)KEYS / 4 * BODY;
		}
		check_live(live, "while it is written");
		if (round % 2)
			MUST(sett_engine_flush(engine, NULL));
		check_live(live, "flushed");
	}
	settle();
	check_space(live, "at rest");
}

/* An entry that is deleted unread counts as an average one. */
Test(engine_space, what_is_deleted_unread_is_given_back)
{
	char text[24];
	put_all("k", KEYS, BODY);
	MUST(sett_engine_compact(engine, NULL));
	MUST(sett_txn_begin(txn, 0));
	for (unsigned i = 0; i < KEYS; i++)
		MUST(sett_txn_delete(txn, key_of("k", i, text).bytes));
	MUST(sett_txn_commit(txn, NULL, NULL));
	check_live(0, "deleted");
	settle();
	check_space(0, "deleted");
}

Test(engine_space, an_empty_database_has_no_amplification)
{
	cr_assert_eq(stats().live_bytes, 0);
	cr_assert_eq(stats().space_amplification, 1);
	put_all("k", KEYS, BODY);
	cr_assert_lt(stats().space_amplification, 1.01);
	MUST(sett_txn_begin(txn, 0));
	delete_all();
	MUST(sett_txn_commit(txn, NULL, NULL));
	cr_assert_gt(stats().space_amplification, 3); /* 4 MB of garbage, told against a megabyte */
	settle();
	cr_assert_eq(stats().space_amplification, 1);
	cr_assert_eq(stats().value_log_live_bytes, 0);
}

/* ---- the log behind large commits (I17) ---- */

static void
commit_large(unsigned round, unsigned entries)
{
	MUST(sett_txn_begin(txn, 0));
	for (unsigned i = 0; i < entries; i++) {
		char text[24];
		struct sett_key key = key_of("k", round % LARGE_SETS * entries + i, text);
		MUST(sett_txn_put_hashed(txn, key,
					 &(struct sett_put){.body = bytes_of(body + round, LARGE_BODY)}));
	}
	MUST(sett_txn_commit(txn, NULL, NULL));
}

static unsigned
newest_round(unsigned rounds, unsigned set)
{
	return rounds - 1 - (rounds - 1 - set) % LARGE_SETS;
}

/* Of each set the newest commit, and all of it. */
static void
check_large(unsigned rounds, unsigned entries)
{
	MUST(sett_txn_begin(txn, 0));
	for (unsigned set = 0; set < LARGE_SETS; set++)
		for (unsigned i = 0; i < entries; i++) {
			char text[24];
			struct sett_record record;
			struct bytes found;
			MUST(sett_txn_get_hashed(txn, key_of("k", set * entries + i, text), &record));
			MUST(sett_txn_body(txn, &record, &found));
			cr_assert(bytes_equal(found, bytes_of(body + newest_round(rounds, set), LARGE_BODY)),
				  "%s after %u rounds", text, rounds);
		}
	MUST(sett_txn_commit(txn, NULL, NULL));
}

static void
restart_with_large_commits(void)
{
	stop();
	large_commit = 8;
	start();
}

/* Only those: what settles everything ends the newest memtable, too, and begins a segment with it. */
static void
flush_waiting(void)
{
	struct sett_error error = {0};
	for (unsigned i = 0; stats().memtables_waiting > 0 && i < ROUNDS_MAX; i++) {
		int r = sett_engine_work(engine, &error);
		cr_assert_eq(r, SETT_OK, "%s", error.message);
	}
}

/* The segment in use, the spare, one that is kept, one that waits for its last flush. */
static void
check_log(unsigned round, uint64_t commit_bytes)
{
	uint64_t bytes = stats().log_bytes, growth = commit_bytes > MEMTABLE ? 3 << 20 : 0;
	uint64_t bound = 4 * (MEMTABLE + SLACK) + growth;
	cr_assert_leq(bytes, bound, "%llu bytes of log after %u commits", (unsigned long long)bytes,
		      round + 1);
}

/* Small beside a memtable, so that many share a segment; and larger than half of one, which no segment may hold. */
Test(engine_space, large_commits_leave_a_bounded_log)
{
	static const struct {
		unsigned entries, commits;
	} cases[] = {{LARGE, 800}, {5 * LARGE, 160}, {10 * LARGE, 80}};
	restart_with_large_commits();
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		for (unsigned round = 0; round < cases[c].commits; round++) {
			commit_large(round, cases[c].entries);
			flush_waiting();
			check_log(round, cases[c].entries * LARGE_BODY);
		}
		check_large(cases[c].commits, cases[c].entries);
	}
}

/* A power cut finds what was synced, wherever segments began, and whether flushes took some of it or none. */
Test(engine_space, large_commits_in_several_segments_are_recovered)
{
	enum { CUT_AFTER = 15 }; /* commits: more than two segments of them */
	restart_with_large_commits();
	for (unsigned round = 0; round < LARGE_COMMITS; round++) {
		struct sett_error error = {0};
		commit_large(round, LARGE);
		bool flushes = round / CUT_AFTER % 2;
		if (flushes && round % 4 == 3)
			flush_waiting();
		if (round % CUT_AFTER != CUT_AFTER - 1)
			continue;
		cr_assert(flushes || stats().log_segments > 3, "%llu segments",
			  (unsigned long long)stats().log_segments);
		MUST(sett_engine_sync(engine, &error));
		struct vfs *after = vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, round);
		cr_assert_not_null(after);
		stop();
		vfs->operations->destroy(vfs);
		vfs = after;
		start();
		check_large(round + 1, LARGE);
	}
}
