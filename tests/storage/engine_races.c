/* Moments at which two threads meet, each held by a sync point, so that the meeting takes place in every run.
 */
#include "storage/base/rcu.h"
#include "storage/base/sync_point.h"
#include "storage/engine.h"
#include "support.h"

static struct vfs *vfs;
static struct sett_engine *engine;

static void
open_engine(void)
{
	struct sett_error error = {0};
	struct sett_options options = {.vfs = vfs,
				       .seed = 7,
				       .memory_budget = 2 << 20,
				       .value_threshold = 4096,
				       .large_commit = 8,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	open_engine();
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	sync_point_arm(NULL);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

TestSuite(engine_races, .init = set_up, .fini = tear_down);

static struct sett_txn *
begin(void)
{
	struct sett_txn *txn;
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	return txn;
}

static void
put(const char *key, struct bytes value, uint64_t counter)
{
	struct sett_txn *txn = begin();
	MUST_FAIL(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = value}), SETT_OK);
	MUST_FAIL(sett_txn_counter_add(txn, counter, 1), SETT_OK);
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
}

static void
expect(struct sett_txn *txn, const char *key, const char *value)
{
	struct sett_record record;
	struct bytes body;
	MUST_FAIL(sett_txn_get(txn, bytes_of_string(key), &record), SETT_OK);
	MUST_FAIL(sett_txn_body(txn, &record, &body), SETT_OK);
	cr_assert(bytes_equal(body, bytes_of_string(value)), "%s is %.*s, not %s", key, (int)body.size,
		  (const char *)body.data, value);
}

static int64_t
counter(uint64_t number)
{
	struct sett_txn *txn = begin();
	int64_t sum;
	MUST_FAIL(sett_txn_counter(txn, number, &sum), SETT_OK);
	sett_txn_destroy(txn);
	return sum;
}

/* ---- a reader's admission to the record cache and a commit (I14) ---- */

static void
commit_newer(void *arg)
{
	*(bool *)arg = true;
	put("k", BYTES_LITERAL("new"), 1);
}

Test(engine_races, what_a_commit_has_replaced_meanwhile_is_not_admitted)
{
	bool came = false;
	struct sync_point point = {"admit: before the lock", commit_newer, &came};
	put("k", BYTES_LITERAL("old"), 1);
	struct sett_txn *reader = begin();
	sync_point_arm(&point);
	expect(reader, "k", "old");
	cr_assert(came);
	sett_txn_destroy(reader);
	struct sett_txn *later = begin();
	expect(later, "k", "new");
	sett_txn_destroy(later);
}

/* ---- a large commit, before it has the commit lock, and others (I17) ---- */

enum { LARGE = 20 }; /* past large_commit */

static struct sett_txn *
prepare_large(const char *value, unsigned flags)
{
	struct sett_txn *txn;
	char key[16];
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, flags), SETT_OK);
	for (int i = 0; i < LARGE; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		MUST_FAIL(sett_txn_put(txn, bytes_of_string(key),
				       &(struct sett_put){.body = bytes_of_string(value)}),
			  SETT_OK);
	}
	MUST_FAIL(sett_txn_counter_add(txn, 1, LARGE), SETT_OK);
	return txn;
}

static void
expect_all(const char *value)
{
	char key[16];
	struct sett_txn *txn = begin();
	for (int i = 0; i < LARGE; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		expect(txn, key, value);
	}
	sett_txn_destroy(txn);
}

static void
commit_large(const char *value)
{
	struct sett_txn *txn = prepare_large(value, 0);
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
}

struct meeting {
	struct sett_txn *reader; /* older than the commit */
	int came;
};

static void
read_old(void *arg)
{
	struct meeting *m = arg;
	m->came++;
	expect(m->reader, "k3", "old");
	struct sett_txn *newer = begin();
	expect(newer, "k3", "old");
	expect(newer, "k4", "old");
	sett_txn_destroy(newer);
}

/* Its records left the cache; what is read meanwhile, and later at an older snapshot, must not bring the old ones back. */
Test(engine_races, what_a_large_commit_replaces_is_not_admitted)
{
	struct meeting m = {0};
	struct sync_point point = {"large commit: prepared", read_old, &m};
	commit_large("old");
	expect_all("old"); /* which brings them into the cache */
	m.reader = begin();
	sync_point_arm(&point);
	commit_large("new");
	cr_assert_eq(m.came, 1);
	expect(m.reader, "k3", "old");
	expect(m.reader, "k5", "old");
	sett_txn_destroy(m.reader);
	expect_all("new");
}

static void
commit_small(void *arg)
{
	*(bool *)arg = true;
	put("k3", BYTES_LITERAL("between"), 1);
	struct sett_txn *reader = begin();
	expect(reader, "k3", "between");
	sett_txn_destroy(reader);
}

/* Of two blind writes the later one counts, in every place where it is looked for, and after a restart. */
Test(engine_races, a_large_commit_follows_what_was_committed_while_it_was_prepared)
{
	bool came = false;
	struct sett_error error = {0};
	struct sync_point point = {"large commit: prepared", commit_small, &came};
	commit_large("old");
	sync_point_arm(&point);
	commit_large("new");
	cr_assert(came);
	expect_all("new");
	expect_all("new");
	cr_assert_eq(counter(1), 2 * LARGE + 1);
	put("k7", BYTES_LITERAL("later"), 1);
	struct sett_txn *reader = begin();
	expect(reader, "k7", "later");
	expect(reader, "k8", "new");
	sett_txn_destroy(reader);
	put("k7", BYTES_LITERAL("new"), 1);
	/* The generation before it is flushed, with the counters as of then; it itself is in the log alone. */
	MUST(sett_engine_work(engine, &error), &error);
	for (int turn = 0; turn < 3; turn++) {
		MUST(sett_engine_close(engine, &error), &error);
		open_engine();
		expect_all("new");
		cr_assert_eq(counter(1), 2 * LARGE + 3);
		MUST(sett_engine_flush(engine, &error), &error);
		expect_all("new");
	}
}

static int
refuse(void *arg)
{
	(void)arg;
	return 1;
}

Test(engine_races, a_large_commit_that_is_refused_leaves_nothing)
{
	struct sett_commit_hooks hooks = {.check = refuse};
	commit_large("old");
	uint64_t visible = sett_engine_visible(engine);
	struct sett_txn *txn = prepare_large("new", 0);
	MUST_FAIL(sett_txn_commit(txn, &hooks, NULL), SETT_ABORTED);
	sett_txn_destroy(txn);
	cr_assert_eq(sett_engine_visible(engine), visible);
	expect_all("old");
	/* Who reads is admitted again. */
	struct sett_stats before, after;
	sett_engine_stats(engine, &before);
	expect_all("old");
	sett_engine_stats(engine, &after);
	cr_assert_geq(after.record_cache_hits - before.record_cache_hits, LARGE);
	cr_assert_eq(counter(1), LARGE);
}

static void
claim(void *owner)
{
	sett_txn_claim(owner);
}

/* A claim that comes while it is prepared holds it back as it does any other commit; one on other keys does not. */
Test(engine_races, a_large_commit_meets_a_claim)
{
	for (int turn = 0; turn < 2; turn++) {
		const char *key = turn == 0 ? "k19" : "other";
		put(key, BYTES_LITERAL("old"), 1);
		struct sett_txn *owner = begin();
		struct sync_point point = {"large commit: prepared", claim, owner};
		expect(owner, key, "old");
		MUST_FAIL(sett_txn_put(owner, bytes_of_string(key),
				       &(struct sett_put){.body = BYTES_LITERAL("x")}),
			  SETT_OK);
		put(key, BYTES_LITERAL("newer"), 1);
		MUST_FAIL(sett_txn_commit(owner, NULL, NULL), SETT_CONFLICT);
		rcu_thread_register();
		struct sett_txn *txn = prepare_large("new", SETT_TXN_NOWAIT);
		sync_point_arm(&point);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), turn == 0 ? SETT_WOULD_BLOCK : SETT_OK);
		cr_assert_eq(sett_txn_met_claim(txn), turn == 0);
		sett_txn_destroy(txn);
		rcu_thread_unregister();
		sett_txn_destroy(owner);
	}
	expect_all("new");
}

/* ---- a new generation and the flush of the one before it ---- */

static void
flush_at_once(void *arg)
{
	struct sett_error error = {0};
	*(bool *)arg = true;
	MUST(sett_engine_work(engine, &error), &error);
}

/* The manifest must say what the counters were: the log segments that told of them go with the flush. */
Test(engine_races, a_flush_that_follows_at_once_has_the_counters)
{
	static uint8_t value[4000];
	bool came = false;
	int64_t count = 0;
	char key[16];
	struct sett_error error = {0};
	struct sync_point point = {"rotate: pushed", flush_at_once, &came};
	sync_point_arm(&point);
	while (!came) {
		cr_assert_lt(count, 10000);
		snprintf(key, sizeof(key), "%06d", (int)count++);
		put(key, bytes_of(value, sizeof(value)), 9);
	}
	cr_assert_eq(counter(9), count);
	MUST(sett_engine_close(engine, &error), &error);
	open_engine();
	cr_assert_eq(counter(9), count);
}

/* ---- bodies in pieces ---- */

enum { BODY_SIZE = 5000 };

static struct sett_body_writer *
open_body(void)
{
	struct sett_error error = {0};
	struct sett_body_writer *writer;
	MUST(sett_body_writer_open(engine, BODY_SIZE, &writer, &error), &error);
	return writer;
}

static void
finish_body(struct sett_body_writer *writer, int fill)
{
	static uint8_t body[BODY_SIZE];
	struct sett_error error = {0};
	memset(body, fill, sizeof(body));
	MUST(sett_body_writer_append(writer, body, sizeof(body), &error), &error);
	MUST(sett_body_writer_finish(writer, &error), &error);
}

static void
put_written(struct sett_txn *txn, const char *key, struct sett_body_writer *writer)
{
	MUST_FAIL(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.written = writer}), SETT_OK);
}

static void
expect_filled(struct sett_txn *txn, const char *key, int fill)
{
	struct sett_record record;
	struct bytes body;
	MUST_FAIL(sett_txn_get(txn, bytes_of_string(key), &record), SETT_OK);
	MUST_FAIL(sett_txn_body(txn, &record, &body), SETT_OK);
	cr_assert_eq(body.size, BODY_SIZE);
	cr_assert(body.data[0] == fill && body.data[BODY_SIZE - 1] == fill);
}

static void
write_another(void *arg)
{
	struct sett_body_writer **writer = arg;
	*writer = open_body();
	finish_body(*writer, 'b');
}

/* The next one may begin where the one that was given up did, and be as large. */
Test(engine_races, a_body_that_is_given_up_takes_nothing_from_the_next)
{
	static uint8_t other[BODY_SIZE];
	struct sett_body_writer *next = NULL;
	struct sync_point point = {"body: cut off", write_another, &next};
	struct sett_body_writer *given_up = open_body();
	sync_point_arm(&point);
	sett_body_writer_close(given_up);
	cr_assert_not_null(next);
	put("other", bytes_of(other, sizeof(other)), 1);
	struct sett_txn *txn = begin();
	put_written(txn, "next", next);
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_body_writer_close(next);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	expect_filled(txn, "next", 'b');
	expect_filled(txn, "other", 0);
	sett_txn_destroy(txn);
}

/* A transaction reads values around the place of a body that is not all there yet, and then puts that body.
 */
Test(engine_races, what_was_read_ahead_is_not_taken_for_an_own_body)
{
	static uint8_t values[12][BODY_SIZE];
	struct sett_body_writer *writer = NULL;
	char key[16];
	for (int i = 0; i < 12; i++) {
		if (i == 6)
			writer = open_body();
		memset(values[i], 'A' + i, BODY_SIZE);
		snprintf(key, sizeof(key), "%02d", i);
		put(key, bytes_of(values[i], BODY_SIZE), 1);
	}
	struct sett_txn *txn = begin();
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "%02d", i);
		expect_filled(txn, key, 'A' + i);
	}
	finish_body(writer, 'w');
	put_written(txn, "own", writer);
	expect_filled(txn, "own", 'w');
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
	sett_body_writer_close(writer);
}
