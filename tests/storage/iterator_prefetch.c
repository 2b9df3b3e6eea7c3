/* A walk whose values are not in memory asks for the next ones; one whose values are there asks for nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/rcu.h"
#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum { COUNT = 500, SIZE = 300 };

static struct vfs *memory, *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;

static struct bytes
key_of(unsigned i, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "key%06u", i));
}

static void
put(unsigned i, char letter)
{
	char room[16], body[SIZE];
	memset(body, letter, SIZE);
	memcpy(body, key_of(i, room).data, 9);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_put(txn, key_of(i, room), &(struct sett_put){.body = bytes_of(body, SIZE)}));
	MUST(sett_txn_commit(txn, NULL, NULL));
}

static void
set_up(void)
{
	struct sett_error error = {0};
	memory = vfs_memory_create();
	vfs = vfs_fault_create(memory);
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error));
	MUST(sett_txn_create(engine, &txn));
	/* Scattered, so that neighbours of the key's order do not follow one another in the file. */
	for (unsigned i = 0; i < COUNT; i++)
		put(i * 149 % COUNT, 'a');
	MUST(sett_engine_flush(engine, &error));
	for (unsigned i = 0; i < COUNT; i += 7)
		put(i, 'b');
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error));
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
}

TestSuite(iterator_prefetch, .init = set_up, .fini = tear_down);

static void
expect(struct sett_iterator *it, unsigned i)
{
	char room[16];
	struct sett_record record;
	struct bytes body;
	cr_assert(bytes_equal(sett_iterator_key(it), key_of(i, room)), "entry %u", i);
	MUST(sett_iterator_record(it, &record));
	MUST(sett_txn_body(txn, &record, &body));
	cr_assert_eq(body.size, SIZE);
	cr_assert_eq(memcmp(body.data, room, 9), 0);
	cr_assert_eq(body.data[SIZE - 1], i % 7 == 0 ? 'b' : 'a', "entry %u", i);
}

/* Walks from the first key on, all values read. */
static void
walk(const struct sett_iterator_options *options, unsigned from, unsigned to)
{
	struct sett_iterator *it;
	MUST(sett_iterator_open(txn, options, &it));
	MUST(sett_iterator_first(it));
	for (unsigned i = from; i < to; i++) {
		expect(it, i);
		cr_assert_eq(sett_iterator_next(it), i + 1 < to ? SETT_OK : SETT_NOT_FOUND);
	}
	sett_iterator_close(it);
}

Test(iterator_prefetch, values_in_memory_are_not_asked_for)
{
	MUST(sett_txn_begin(txn, 0));
	walk(NULL, 0, COUNT);
	cr_assert_eq(vfs_fault_prefetch_count(vfs), 0);
}

Test(iterator_prefetch, each_value_is_asked_for_once)
{
	vfs_memory_set_cold(memory, 100, 1);
	MUST(sett_txn_begin(txn, 0));
	walk(NULL, 0, COUNT);
	/* All but the first, whose miss began it, and the second, where the walk stood by then. */
	cr_assert_eq(vfs_fault_prefetch_count(vfs), COUNT - 2);
}

Test(iterator_prefetch, it_ends_at_the_upper_bound)
{
	char lower[16], upper[16];
	struct sett_iterator_options options = {key_of(100, lower), key_of(130, upper)};
	vfs_memory_set_cold(memory, 100, 1);
	MUST(sett_txn_begin(txn, 0));
	walk(&options, 100, 130);
	cr_assert_eq(vfs_fault_prefetch_count(vfs), 28);
}

Test(iterator_prefetch, a_short_walk_asks_for_little)
{
	struct sett_iterator *it;
	vfs_memory_set_cold(memory, 100, 1);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_iterator_open(txn, NULL, &it));
	MUST(sett_iterator_first(it));
	expect(it, 0);
	cr_assert_eq(vfs_fault_prefetch_count(vfs), 0);
	MUST(sett_iterator_next(it));
	cr_assert_eq(vfs_fault_prefetch_count(vfs), 16);
	sett_iterator_close(it);
}

Test(iterator_prefetch, an_old_snapshot_sees_its_own_versions)
{
	MUST(sett_txn_begin(txn, 0));
	struct sett_txn *other = txn;
	MUST(sett_txn_create(engine, &txn));
	for (unsigned i = 0; i < COUNT; i += 3)
		put(i, 'c');
	sett_txn_destroy(txn);
	txn = other;
	vfs_memory_set_cold(memory, 100, 1);
	walk(NULL, 0, COUNT);
	cr_assert_eq(vfs_fault_prefetch_count(vfs), COUNT - 2);
}

Test(iterator_prefetch, turning_and_seeking_begin_anew)
{
	char room[16];
	struct sett_iterator *it;
	vfs_memory_set_cold(memory, 50, 9);
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_iterator_open(txn, NULL, &it));
	for (unsigned round = 0; round < 20; round++) {
		unsigned i = round * 37 % (COUNT - 60);
		MUST(sett_iterator_seek(it, key_of(i, room)));
		for (unsigned end = i + 50; i < end; i++) {
			expect(it, i);
			MUST(sett_iterator_next(it));
		}
		expect(it, i);
		MUST(sett_iterator_previous(it));
		expect(it, i - 1);
		MUST(sett_iterator_next(it));
		expect(it, i);
	}
	sett_iterator_close(it);
	cr_assert(vfs_fault_prefetch_count(vfs) > 0);
}

Test(iterator_prefetch, who_may_not_wait_asks_for_nothing)
{
	struct sett_iterator *it;
	struct sett_record record;
	struct bytes body;
	rcu_thread_register();
	MUST(sett_txn_begin(txn, SETT_TXN_NOWAIT));
	MUST(sett_iterator_open(txn, NULL, &it));
	MUST(sett_iterator_first(it));
	MUST(sett_iterator_record(it, &record));
	vfs_memory_set_cold(memory, 100, 1);
	cr_assert_eq(sett_txn_body(txn, &record, &body), SETT_WOULD_BLOCK);
	sett_iterator_close(it);
	sett_txn_discard(txn);
	rcu_thread_unregister();
	cr_assert_eq(vfs_fault_prefetch_count(vfs), 0);
}
