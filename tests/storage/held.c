/* Transactions that last (SETT_TXN_HELD): suspended and resumed, beside flushes, compaction, GC and claims; and savepoints,
 * against a model. */
#include <criterion/criterion.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/engine.h"
#include "storage/vfs.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum { KEYS = 200, BODY = 20000, ROUNDS_MAX = 10000 };

static struct vfs *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn, *held;
static uint8_t body[KEYS + BODY];

static void
set_up(void)
{
	struct sett_error error = {0};
	vfs = vfs_memory_create();
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_log_file_size = 256 << 10,
				       .manual_work = true};
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 2654435761u >> 13);
	cr_assert_eq(sett_engine_open("db", &options, &engine, &error), SETT_OK, "%s", error.message);
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_create(engine, &held));
}

static void
tear_down(void)
{
	sett_txn_destroy(txn);
	sett_txn_destroy(held);
	MUST(sett_engine_close(engine, NULL));
	vfs->operations->destroy(vfs);
}

TestSuite(held, .init = set_up, .fini = tear_down);

static void
work(void)
{
	int rounds = 0, status;
	MUST(sett_engine_flush(engine, NULL));
	while ((status = sett_engine_work(engine, NULL)) == SETT_OK)
		cr_assert_lt(++rounds, ROUNDS_MAX);
	cr_assert_eq(status, SETT_NOT_FOUND);
}

static struct bytes
name_of(unsigned i, char text[16])
{
	return bytes_of(text, (size_t)snprintf(text, 16, "key%05u", i));
}

/* In a transaction of its own; the content depends on key and round. */
static void
set(unsigned key, unsigned round, size_t size)
{
	char text[16];
	struct sett_record record;
	MUST(sett_txn_begin(txn, 0));
	struct bytes name = name_of(key, text);
	bool there = sett_txn_get(txn, name, &record) == SETT_OK;
	MUST(sett_txn_put(txn, name,
			  &(struct sett_put){.body = bytes_of(body + (key + round) % KEYS, size),
					     .over = there ? &record : NULL}));
	MUST(sett_txn_commit(txn, NULL, NULL));
}

static void
expect(struct sett_txn *in, struct bytes name, unsigned at, size_t size)
{
	struct sett_record record;
	struct bytes got;
	MUST(sett_txn_get(in, name, &record));
	MUST(sett_txn_body(in, &record, &got));
	cr_assert(bytes_equal(got, bytes_of(body + at, size)));
}

Test(held, it_sees_its_snapshot_and_its_writes_whatever_becomes_of_tables)
{
	char text[16];
	for (unsigned i = 0; i < KEYS; i++)
		set(i, 0, 300);
	MUST(sett_txn_begin(held, SETT_TXN_HELD | SETT_TXN_MANUAL_CONFLICTS));
	MUST(sett_txn_put(held, BYTES_LITERAL("own"), &(struct sett_put){.body = bytes_of(body, BODY)}));
	for (unsigned round = 1; round < 4; round++) {
		sett_txn_suspend(held);
		for (unsigned i = 0; i < KEYS; i++)
			set(i, round, 300);
		work();
		sett_txn_resume(held, 0);
		for (unsigned i = 0; i < KEYS; i++)
			expect(held, name_of(i, text), i, 300);
		expect(held, BYTES_LITERAL("own"), 0, BODY);
	}
	cr_assert_gt(sett_txn_held_bytes(held), 0);
	cr_assert_gt(sett_txn_memory(held), BODY);
	MUST(sett_txn_commit(held, NULL, NULL));
	MUST(sett_txn_begin(txn, 0));
	expect(txn, BYTES_LITERAL("own"), 0, BODY);
	expect(txn, name_of(7, text), 10, 300);
	sett_txn_discard(txn);
}

/* (I9) A body that was put by its record lies where it lay at that time, though GC moves the value meanwhile. */
Test(held, a_body_that_it_has_put_stays)
{
	char text[16];
	struct sett_record record;
	for (unsigned i = 0; i < KEYS; i++)
		set(i, 0, BODY);
	for (unsigned i = 0; i < KEYS; i++)
		if (i % 20 != 0)
			set(i, 1, BODY);
	MUST(sett_txn_begin(held, SETT_TXN_HELD | SETT_TXN_MANUAL_CONFLICTS));
	for (unsigned i = 0; i < KEYS; i += 20) {
		char copy[16];
		MUST(sett_txn_get(held, name_of(i, text), &record));
		MUST(sett_txn_put(held, bytes_of(copy, (size_t)snprintf(copy, 16, "copy%u", i)),
				  &(struct sett_put){.body_of = &record}));
	}
	sett_txn_suspend(held);
	work();
	for (unsigned i = 0; i < KEYS; i += 20)
		set(i, 2, BODY);
	work();
	sett_txn_resume(held, 0);
	MUST(sett_txn_commit(held, NULL, NULL));
	work();
	MUST(sett_txn_begin(txn, 0));
	for (unsigned i = 0; i < KEYS; i += 20)
		expect(txn, bytes_of(text, (size_t)snprintf(text, 16, "copy%u", i)), i, BODY);
	sett_txn_discard(txn);
}

static int
spoil(void *arg, const char *name)
{
	static const uint8_t zeros[4096];
	char path[64];
	struct vfs_file *file;
	uint64_t size;
	(void)arg;
	if (strstr(name, ".vlog") == NULL)
		return SETT_OK;
	snprintf(path, sizeof(path), "db/%s", name);
	MUST(vfs_open(vfs, path, VFS_READ | VFS_WRITE, &file, NULL));
	MUST(vfs_size(file, &size, NULL));
	for (uint64_t at = sizeof(zeros); at + sizeof(zeros) <= size; at += sizeof(zeros))
		MUST(vfs_write_bytes(file, zeros, sizeof(zeros), at, NULL));
	return vfs_close(file, NULL);
}

/* All but the file's beginning. */
static void
spoil_value_log(void)
{
	MUST(vfs_list(vfs, "db", spoil, NULL, NULL));
}

/* Whose commit would have to wait goes on: also where its bodies were written already. */
Test(held, a_commit_that_would_block_can_be_made_again)
{
	struct sett_txn *claimer;
	struct bytes name = BYTES_LITERAL("k");
	struct sett_record record;
	MUST(sett_txn_create(engine, &claimer));
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_put(txn, name, &(struct sett_put){.body = bytes_of(body, 10)}));
	MUST(sett_txn_commit(txn, NULL, NULL));
	MUST(sett_txn_begin(claimer, 0));
	MUST(sett_txn_get(claimer, name, &record));
	MUST(sett_txn_put(claimer, BYTES_LITERAL("other"), &(struct sett_put){.body = bytes_of(body, 10)}));
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_put(txn, name, &(struct sett_put){.body = bytes_of(body, 20)}));
	MUST(sett_txn_commit(txn, NULL, NULL));
	cr_assert_eq(sett_txn_commit(claimer, NULL, NULL), SETT_CONFLICT);
	sett_txn_claim(claimer);

	rcu_thread_register();
	MUST(sett_txn_begin(held, SETT_TXN_HELD | SETT_TXN_NOWAIT));
	MUST(sett_txn_put(held, name, &(struct sett_put){.body = bytes_of(body, BODY)}));
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(sett_txn_commit(held, NULL, NULL), SETT_WOULD_BLOCK);
		cr_assert(sett_txn_is_running(held));
		sett_txn_suspend(held);
		/* What was written to the value log is garbage, and no longer what the transaction has. */
		spoil_value_log();
		sett_txn_resume(held, SETT_TXN_NOWAIT);
		expect(held, name, 0, BODY);
	}
	sett_txn_suspend(held);
	rcu_thread_unregister();
	sett_txn_destroy(claimer);
	sett_txn_resume(held, 0);
	MUST(sett_txn_commit(held, NULL, NULL));
	work();
	MUST(sett_txn_begin(txn, 0));
	expect(txn, name, 0, BODY);
	sett_txn_discard(txn);
}

/* (I20) Its reads and writes are bounded; what it has can be committed. */
Test(held, its_conflict_keys_are_limited)
{
	enum { LIMIT = 100000 };
	uint64_t key = 0;
	int status = SETT_OK;
	sett_engine_set_transaction_memory(engine, LIMIT);
	MUST(sett_txn_begin(held, SETT_TXN_HELD | SETT_TXN_MANUAL_CONFLICTS));
	while (status == SETT_OK && key < LIMIT)
		status = sett_txn_read_conflict(held, ++key * 0x9e3779b97f4a7c15);
	cr_assert_eq(status, SETT_NO_MEMORY);
	cr_assert_gt(key, LIMIT / 32);
	cr_assert_leq(key, LIMIT / 8 + 1);
	MUST(sett_txn_put(held, BYTES_LITERAL("own"), &(struct sett_put){.body = bytes_of(body, 10)}));
	sett_txn_lift_limit(held);
	MUST(sett_txn_read_conflict(held, 1));
	MUST(sett_txn_commit(held, NULL, NULL));
	MUST(sett_txn_begin(txn, 0));
	expect(txn, BYTES_LITERAL("own"), 0, 10);
	sett_txn_discard(txn);
}

Test(held, a_counter_that_differs_from_the_snapshot_is_found)
{
	int64_t sum;
	const unsigned flags = SETT_TXN_HELD | SETT_TXN_MANUAL_CONFLICTS;
	MUST(sett_txn_begin(held, flags));
	for (int round = 0; round < 3; round++) {
		struct sett_read_mark mark = sett_txn_read_mark(held);
		MUST(sett_txn_read_conflict(held, 77));
		MUST(sett_txn_counter(held, 5, &sum));
		int status = sett_txn_check_reads(held, &mark);
		cr_assert_eq(status, round == 2 ? SETT_CONFLICT : SETT_OK);
		sett_txn_suspend(held);
		MUST(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS));
		MUST(sett_txn_write_conflict(txn, round == 0 ? 78 : 77));
		MUST(sett_txn_counter_add(txn, round == 0 ? 6 : 5, 1));
		MUST(sett_txn_commit(txn, NULL, NULL));
		sett_txn_resume(held, 0);
	}
	sett_txn_discard(held);
}

/* ---- savepoints ---- */

enum { MODEL_KEYS = 12, DEPTH_MAX = 8, ABSENT = 0 };

struct model {
	unsigned values[MODEL_KEYS]; /* the size of the body; ABSENT */
	int64_t counter;
};

static void
check_model(const struct model *m, struct sett_txn *in)
{
	char text[16];
	struct sett_iterator *it;
	unsigned there = 0, met = 0;
	int64_t sum;
	for (unsigned k = 0; k < MODEL_KEYS; k++) {
		struct sett_record record;
		int status = sett_txn_get(in, name_of(k, text), &record);
		cr_assert_eq(status, m->values[k] == ABSENT ? SETT_NOT_FOUND : SETT_OK);
		there += status == SETT_OK;
		if (status == SETT_OK)
			expect(in, name_of(k, text), k, m->values[k]);
	}
	MUST(sett_txn_counter(in, 1, &sum));
	cr_assert_eq(sum, m->counter);
	MUST(sett_iterator_open(in, &(struct sett_iterator_options){.lower = BYTES_LITERAL("key")}, &it));
	for (int status = sett_iterator_first(it); status == SETT_OK; status = sett_iterator_next(it))
		met++;
	cr_assert_eq(met, there);
	sett_iterator_close(it);
}

static void
change(struct model *m, struct random *random)
{
	char text[16];
	unsigned k = (unsigned)random_below(random, MODEL_KEYS);
	struct bytes name = name_of(k, text);
	uint64_t kind = random_below(random, 8);
	if (kind == 0) {
		MUST(sett_txn_counter_add(held, 1, 1 + (int64_t)k));
		m->counter += 1 + (int64_t)k;
	} else if (kind < 3) {
		MUST(sett_txn_delete(held, name));
		m->values[k] = ABSENT;
	} else {
		m->values[k] = 1 + (unsigned)random_below(random, 3000);
		MUST(sett_txn_put(held, name, &(struct sett_put){.body = bytes_of(body + k, m->values[k])}));
	}
}

/* Savepoints nest; going back to one drops later ones, and it can be gone back to again. */
static void
run_model(uint64_t seed, struct model *committed)
{
	struct random random;
	struct model now = *committed, saved[DEPTH_MAX];
	size_t marks[DEPTH_MAX];
	unsigned depth = 0;
	random_seed(&random, seed);
	MUST(sett_txn_begin(held, SETT_TXN_HELD | SETT_TXN_MANUAL_CONFLICTS));
	for (int step = 0; step < 200; step++) {
		uint64_t kind = random_below(&random, 12);
		if (kind == 0 && depth < DEPTH_MAX) {
			marks[depth] = sett_txn_savepoint(held);
			saved[depth++] = now;
		} else if (kind == 1 && depth > 0) {
			unsigned to = (unsigned)random_below(&random, depth);
			sett_txn_rollback_to(held, marks[to]);
			now = saved[to];
			depth = to + 1;
		} else if (kind == 2 && depth > 0) {
			depth = (unsigned)random_below(&random, depth); /* released: what came after stays */
		} else if (kind == 3) {
			sett_txn_suspend(held);
			sett_txn_resume(held, 0);
		} else if (kind == 4) {
			check_model(&now, held);
		} else {
			change(&now, &random);
		}
	}
	check_model(&now, held);
	if (random_below(&random, 3) == 0) {
		sett_txn_discard(held);
		return;
	}
	MUST(sett_txn_commit(held, NULL, NULL));
	*committed = now;
}

Test(held, savepoints_give_what_the_model_gives)
{
	struct model committed = {0};
	for (uint64_t seed = 1; seed <= 300; seed++) {
		run_model(seed, &committed);
		MUST(sett_txn_begin(txn, 0));
		check_model(&committed, txn);
		MUST(sett_txn_commit(txn, NULL, NULL));
		if (seed % 50 == 0)
			work();
	}
}
