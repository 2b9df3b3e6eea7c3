/* Reads as of a commit of the past: what commits have overwritten, deleted and dropped since the horizon, beside flushes, compaction
 * and GC, against a model; and what goes once the horizon has moved on. */
#include <stdio.h>

#include "storage/base/random.h"
#include "storage/engine.h"
#include "support.h"

enum { KEYS = 40, COMMITS = 3000, READS = 1000, BODY_MAX = 400, ALL = COMMITS + 64 };

static struct vfs *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;

/* What there is after a commit: of each key which content it has, 0: none; all keys begin with the number of an epoch. */
struct state {
	unsigned epoch;
	uint32_t contents[KEYS];
};
static struct state states[ALL]; /* by commit */

static void
set_up(void)
{
	struct sett_error error = {0};
	vfs = vfs_memory_create();
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 128,
				       .value_log_file_size = 64 << 10,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	SUCCEED(sett_txn_create(engine, &txn));
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

TestSuite(past, .init = set_up, .fini = tear_down);

static struct bytes
prefix_of(unsigned epoch, char text[32])
{
	return bytes_of(text, (size_t)snprintf(text, 32, "%06u/", epoch));
}

static struct bytes
name_of(unsigned epoch, unsigned key, char text[32])
{
	return bytes_of(text, (size_t)snprintf(text, 32, "%06u/key%04u", epoch, key));
}

/* Its size and its bytes follow from its number. */
static struct bytes
content_of(uint32_t number, uint8_t room[BODY_MAX])
{
	size_t size = number * 2654435761u % BODY_MAX;
	for (size_t i = 0; i < size; i++)
		room[i] = (uint8_t)(number + (number >> 8) + i / 7);
	return bytes_of(room, size);
}

static void
change_some(struct random *random, struct state *state, uint32_t *content)
{
	char text[32];
	uint8_t room[BODY_MAX];
	if (random_below(random, 100) == 0) {
		SUCCEED(sett_txn_drop_prefix(txn, prefix_of(state->epoch, text)));
		*state = (struct state){.epoch = state->epoch + 1};
	}
	for (uint64_t n = 1 + random_below(random, 5); n > 0; n--) {
		unsigned key = (unsigned)random_below(random, KEYS);
		struct bytes name = name_of(state->epoch, key, text);
		if (random_below(random, 4) == 0) {
			SUCCEED(sett_txn_delete(txn, name));
			state->contents[key] = 0;
			continue;
		}
		state->contents[key] = ++*content;
		SUCCEED(sett_txn_put(txn, name, &(struct sett_put){.body = content_of(*content, room)}));
	}
}

static uint64_t
commit_one(struct random *random, uint32_t *content)
{
	uint64_t commit, before = sett_engine_visible(engine);
	struct state state = states[before];
	SUCCEED(sett_txn_begin(txn, 0));
	change_some(random, &state, content);
	SUCCEED(sett_txn_commit(txn, NULL, &commit));
	cr_assert(commit == before + 1 && commit < ALL);
	states[commit] = state;
	return commit;
}

static void
work(struct random *random)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	if (random_below(random, 10) == 0)
		MUST(sett_engine_compact(engine, &error), &error);
	else
		MUST(sett_engine_flush(engine, &error), &error);
	while (r == SETT_OK)
		r = sett_engine_work(engine, &error);
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
}

static void
compare_body(const struct sett_record *record, uint32_t content)
{
	uint8_t room[BODY_MAX];
	struct bytes body;
	SUCCEED(sett_txn_body(txn, record, &body));
	cr_assert(bytes_equal(body, content_of(content, room)));
}

/* One by one, and by a walk. */
static void
compare(uint64_t commit)
{
	const struct state *state = &states[commit];
	char text[32];
	struct sett_iterator *it;
	struct sett_record record;
	unsigned there = 0, walked = 0;
	SUCCEED(sett_txn_begin_as_of(txn, commit, 1000 + commit, 0));
	cr_assert(sett_txn_is_as_of(txn) && sett_txn_snapshot(txn) == commit &&
		  sett_txn_now_ms(txn) == 1000 + commit);
	for (unsigned key = 0; key < KEYS; key++) {
		int r = sett_txn_get(txn, name_of(state->epoch, key, text), &record);
		cr_assert_eq(r, state->contents[key] ? SETT_OK : SETT_NOT_FOUND, "commit %llu, key %u: %d",
			     (unsigned long long)commit, key, r);
		if (r == SETT_OK)
			compare_body(&record, state->contents[key]);
		there += r == SETT_OK;
	}
	struct sett_iterator_options options = {.prefix = prefix_of(state->epoch, text)};
	SUCCEED(sett_iterator_open(txn, &options, &it));
	for (int r = sett_iterator_first(it); r == SETT_OK; r = sett_iterator_next(it)) {
		unsigned key;
		struct bytes name = sett_iterator_key(it);
		char key_text[32] = {0};
		memcpy(key_text, name.data, name.size < sizeof(key_text) ? name.size : sizeof(key_text) - 1);
		cr_assert_eq(sscanf(key_text + 7, "key%4u", &key), 1);
		SUCCEED(sett_iterator_record(it, &record));
		compare_body(&record, state->contents[key]);
		walked++;
	}
	cr_assert_eq(walked, there);
	sett_txn_discard(txn);
}

static uint64_t
disk_bytes(void)
{
	struct sett_stats stats;
	sett_engine_stats(engine, &stats);
	return stats.disk_bytes;
}

Test(past, every_commit_from_the_horizon_on_can_be_read)
{
	struct random random;
	uint32_t content = 0;
	uint64_t horizon = 0, newest = 0;
	unsigned reads = 0;
	random_seed(&random, 7);
	for (unsigned n = 0; n < COMMITS; n++) {
		newest = commit_one(&random, &content);
		if (n == 200)
			cr_assert_eq(horizon = sett_engine_set_horizon(engine), newest);
		if (n == 300)
			cr_assert_eq(sett_engine_set_horizon(engine), horizon, "there is one already");
		if (random_below(&random, 30) == 0)
			work(&random);
		if (n > 200 && random_below(&random, 100) == 0) {
			horizon += random_below(&random, (newest - horizon) / 3 + 1);
			sett_engine_move_horizon(engine, horizon);
			sett_engine_move_horizon(engine, horizon / 2); /* not back */
		}
		for (unsigned i = 0; n > 200 && i < 2 && reads < READS; i++, reads++)
			compare(horizon + random_below(&random, newest - horizon + 1));
	}
	for (unsigned i = 0; i < 200; i++)
		compare(horizon + random_below(&random, newest - horizon + 1));
	compare(horizon);
	MUST_FAIL(sett_txn_begin_as_of(txn, horizon - 1, 1, 0), SETT_NOT_FOUND);
	MUST_FAIL(sett_txn_begin_as_of(txn, newest + 1, 1, 0), SETT_INVALID);
	compare(newest);
}

/* Who reads there already goes on. */
Test(past, what_it_keeps_goes_with_it)
{
	struct random random;
	struct sett_error error = {0};
	struct sett_record record;
	uint32_t content = 0;
	uint64_t held, later;
	char text[32];
	random_seed(&random, 8);
	uint64_t first = commit_one(&random, &content);
	cr_assert_eq(sett_engine_set_horizon(engine), first);
	for (unsigned n = 0; n < COMMITS; n++)
		(void)commit_one(&random, &content);
	uint64_t middle = first + COMMITS / 2;
	work(&random);
	MUST(sett_engine_compact(engine, &error), &error);
	uint64_t with = disk_bytes();
	SUCCEED(sett_engine_horizon_bytes(engine, first, &held));
	SUCCEED(sett_engine_horizon_bytes(engine, sett_engine_visible(engine), &later));
	cr_assert_gt(held, (uint64_t)COMMITS * 300, "%llu", (unsigned long long)held);
	cr_assert_eq(later, 0);
	struct sett_txn *reader;
	SUCCEED(sett_txn_create(engine, &reader));
	SUCCEED(sett_txn_begin_as_of(reader, middle, 1, SETT_TXN_HELD));
	sett_txn_suspend(reader);
	sett_engine_end_horizon(engine);
	MUST(sett_engine_compact(engine, &error), &error);
	MUST_FAIL(sett_txn_begin_as_of(txn, middle, 1, 0), SETT_NOT_FOUND);
	sett_txn_resume(reader, 0);
	for (unsigned key = 0; key < KEYS; key++)
		cr_assert_eq(sett_txn_get(reader, name_of(states[middle].epoch, key, text), &record),
			     states[middle].contents[key] ? SETT_OK : SETT_NOT_FOUND);
	sett_txn_destroy(reader);
	MUST(sett_engine_compact(engine, &error), &error);
	uint64_t without = disk_bytes();
	cr_assert_lt(without + held / 2, with, "%llu before, %llu after", (unsigned long long)with,
		     (unsigned long long)without);
}

Test(past, nothing_of_it_is_committed_or_in_conflict)
{
	struct random random;
	uint32_t content = 0;
	uint64_t commit;
	int64_t sum;
	char text[32];
	struct sett_record record;
	random_seed(&random, 9);
	uint64_t first = commit_one(&random, &content);
	cr_assert_eq(sett_engine_set_horizon(engine), first);
	(void)commit_one(&random, &content);
	struct bytes name = name_of(0, 1, text);
	SUCCEED(sett_txn_begin_as_of(txn, first, 1, 0));
	int status = sett_txn_get(txn, name, &record);
	cr_assert(status == SETT_OK || status == SETT_NOT_FOUND);
	sett_txn_validate_reads(txn);
	MUST_FAIL(sett_txn_counter(txn, 1, &sum), SETT_INVALID);
	sett_txn_deadline_passed(txn, 0); /* of its own time: others know nothing of it */
	struct sett_txn *writer;
	SUCCEED(sett_txn_create(engine, &writer));
	SUCCEED(sett_txn_begin(writer, 0));
	SUCCEED(sett_txn_put(writer, name, &(struct sett_put){.body = BYTES_LITERAL("new")}));
	SUCCEED(sett_txn_commit(writer, NULL, &commit));
	sett_txn_destroy(writer);
	SUCCEED(sett_txn_commit(txn, NULL, &commit));
	cr_assert_eq(commit, 0);
	SUCCEED(sett_txn_begin_as_of(txn, first, 1, 0));
	SUCCEED(sett_txn_put(txn, name, &(struct sett_put){.body = BYTES_LITERAL("lost")}));
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_INVALID);
}
