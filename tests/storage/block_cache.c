/* The block cache: what it returns, its bound, what CLOCK keeps, and threads. */
#include "block_cache.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "storage/base/random.h"
#include "storage/status.h"

static struct block *
block_with(uint32_t size, uint8_t fill)
{
	struct block *b = block_allocate(size);
	cr_assert_not_null(b);
	memset(b->data, fill, size);
	return b;
}

static void
insert(struct block_cache *c, uint64_t table, uint64_t offset, uint32_t size, uint8_t fill)
{
	struct block *b = block_with(size, fill);
	block_cache_insert(c, table, offset, b);
	block_release(b);
}

static uint64_t
bytes_of_cache(struct block_cache *c)
{
	uint64_t bytes, hits, misses;
	block_cache_stats(c, &bytes, &hits, &misses);
	return bytes;
}

Test(block_cache, returns_what_was_inserted)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(1 << 20, &c), SETT_OK);
	cr_assert_null(block_cache_lookup(c, 1, 0));
	for (unsigned i = 0; i < 100; i++)
		insert(c, i % 3, i * 4096, 64, (uint8_t)i);
	for (unsigned i = 0; i < 100; i++) {
		struct block *b = block_cache_lookup(c, i % 3, i * 4096);
		cr_assert_not_null(b);
		cr_assert_eq(b->data[0], (uint8_t)i);
		cr_assert_eq(b->references, 2);
		block_release(b);
		cr_assert_null(block_cache_lookup(c, i % 3, i * 4096 + 1));
		cr_assert_null(block_cache_lookup(c, 3, i * 4096));
	}
	uint64_t bytes, hits, misses;
	block_cache_stats(c, &bytes, &hits, &misses);
	cr_assert_eq(hits, 100);
	cr_assert_eq(misses, 201);
	block_cache_destroy(c);
}

Test(block_cache, keeps_the_old_block_of_a_key)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(1 << 20, &c), SETT_OK);
	insert(c, 1, 0, 100, 1);
	uint64_t bytes = bytes_of_cache(c);
	insert(c, 1, 0, 200, 2);
	cr_assert_eq(bytes_of_cache(c), bytes);
	struct block *b = block_cache_lookup(c, 1, 0);
	cr_assert_eq(b->data[0], 1);
	block_release(b);
	block_cache_destroy(c);
}

Test(block_cache, stays_within_its_bound_and_shrinks)
{
	struct block_cache *c;
	size_t capacity = 256 * 1024;
	cr_assert_eq(block_cache_create(capacity, &c), SETT_OK);
	struct random r;
	random_seed(&r, 1);
	for (unsigned i = 0; i < 5000; i++) {
		insert(c, 1, i, 1 + (uint32_t)random_below(&r, 8192), 1);
		cr_assert_leq(bytes_of_cache(c), capacity);
	}
	cr_assert_gt(bytes_of_cache(c), capacity / 2);
	block_cache_set_capacity(c, capacity / 4);
	cr_assert_leq(bytes_of_cache(c), capacity / 4);
	insert(c, 2, 0, (uint32_t)capacity, 1); /* larger than all of it */
	cr_assert_null(block_cache_lookup(c, 2, 0));
	block_cache_set_capacity(c, 0);
	cr_assert_eq(bytes_of_cache(c), 0);
	insert(c, 3, 0, 1, 1);
	cr_assert_eq(bytes_of_cache(c), 0);
	block_cache_destroy(c);
}

Test(block_cache, an_evicted_block_lives_until_its_last_pin_goes)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(64 * 1024, &c), SETT_OK);
	insert(c, 1, 0, 1000, 42);
	struct block *pinned = block_cache_lookup(c, 1, 0);
	block_cache_set_capacity(c, 0);
	cr_assert_null(block_cache_lookup(c, 1, 0));
	cr_assert_eq(pinned->references, 1);
	cr_assert_eq(pinned->data[999], 42);
	block_release(pinned);
	block_cache_destroy(c);
}

Test(block_cache, a_scan_does_not_push_out_what_is_in_use)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(2 << 20, &c), SETT_OK);
	for (unsigned i = 0; i < 20; i++)
		insert(c, 1, i, 4096, 1);
	unsigned lost = 0;
	for (unsigned i = 0; i < 5000; i++) {
		insert(c, 2, i, 4096, 2);
		struct block *b = block_cache_lookup(c, 1, i % 20);
		if (!b) {
			lost++;
			insert(c, 1, i % 20, 4096, 1);
		}
		block_release(b);
	}
	/* First in, first out would lose each of the twenty about ten times. */
	cr_assert_leq(lost, 5, "%u lookups of blocks in use missed", lost);
	block_cache_destroy(c);
}

static bool
holds(struct block_cache *c, uint64_t table, uint64_t offset)
{
	struct block *b = block_cache_lookup(c, table, offset);
	block_release(b);
	return b != NULL;
}

Test(block_cache, a_full_cache_takes_what_is_missed_again)
{
	enum { FIRST = 1000, OTHERS = 5000 };
	struct block_cache *c;
	cr_assert_eq(block_cache_create(2 << 20, &c), SETT_OK);
	for (unsigned i = 0; i < FIRST; i++)
		insert(c, 1, i, 4096, 1);
	uint64_t full = bytes_of_cache(c);
	unsigned kept = 0, before = 0, taken = 0;
	for (unsigned i = 0; i < FIRST; i++)
		before += holds(c, 1, i);
	cr_assert_gt(before, 400);
	for (unsigned i = 0; i < OTHERS; i++) { /* each once */
		insert(c, 2, i, 4096, 2);
		taken += holds(c, 2, i);
	}
	for (unsigned i = 0; i < FIRST; i++)
		kept += holds(c, 1, i);
	cr_assert_leq(taken, OTHERS / 100);
	cr_assert_geq(kept + taken, before);
	cr_assert_leq(bytes_of_cache(c), full + 4096 + 100);
	for (unsigned i = 0; i < 20; i++) {
		insert(c, 3, i, 4096, 3);
		insert(c, 3, i, 4096, 3);
		cr_assert(holds(c, 3, i));
	}
	block_cache_destroy(c);
}

Test(block_cache, forget_drops_one_table)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(4 << 20, &c), SETT_OK);
	for (unsigned i = 0; i < 500; i++)
		insert(c, 1 + i % 2, i, 1000, 1);
	uint64_t before = bytes_of_cache(c);
	block_cache_forget(c, 1);
	cr_assert_eq(bytes_of_cache(c) * 2, before);
	for (unsigned i = 0; i < 500; i++) {
		struct block *b = block_cache_lookup(c, 1 + i % 2, i);
		cr_assert_eq(b != NULL, i % 2 == 1);
		block_release(b);
	}
	for (unsigned i = 0; i < 500; i++) /* freed slots are used again */
		insert(c, 3, i, 1000, 1);
	cr_assert_gt(bytes_of_cache(c), before);
	block_cache_forget(c, 2);
	block_cache_forget(c, 3);
	cr_assert_eq(bytes_of_cache(c), 0);
	block_cache_destroy(c);
}

static void
count_destroyed(void *context)
{
	++*(int *)context;
}

Test(block_cache, lends_contexts_and_destroys_them)
{
	struct block_cache *c;
	int contexts[20] = {0};
	cr_assert_eq(block_cache_create(0, &c), SETT_OK);
	cr_assert_null(block_cache_take_context(c));
	for (int i = 0; i < 20; i++)
		block_cache_give_context(c, &contexts[i], count_destroyed);
	int *taken = block_cache_take_context(c);
	cr_assert_not_null(taken);
	cr_assert_eq(*taken, 0);
	block_cache_destroy(c);
	int destroyed = 0;
	for (int i = 0; i < 20; i++) {
		cr_assert_leq(contexts[i], 1);
		destroyed += contexts[i];
	}
	cr_assert_eq(destroyed, 19);
}

static void *
hammer(void *arg)
{
	struct block_cache *c = arg;
	struct random r;
	random_seed(&r, (uint64_t)(uintptr_t)&r);
	uintptr_t wrong = 0;
	for (int i = 0; i < 30000; i++) {
		uint64_t table = 1 + random_below(&r, 4), offset = random_below(&r, 300);
		struct block *b = block_cache_lookup(c, table, offset);
		if (b) {
			wrong += b->size != 512 || b->data[0] != (uint8_t)(table * 50 + offset) ||
				b->data[511] != b->data[0];
			block_release(b);
		} else if ((b = block_allocate(512))) {
			memset(b->data, (int)(uint8_t)(table * 50 + offset), 512);
			block_cache_insert(c, table, offset, b);
			block_release(b);
		}
		if (i % 5000 == 0)
			block_cache_forget(c, table);
		if (i % 7000 == 0)
			block_cache_set_capacity(c, i % 2 ? 100000 : 300000);
	}
	return (void *)wrong;
}

Test(block_cache, threads_share_it)
{
	struct block_cache *c;
	cr_assert_eq(block_cache_create(200000, &c), SETT_OK);
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, c), 0);
	for (int i = 0; i < 3; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		cr_assert_null(wrong);
	}
	for (uint64_t table = 1; table <= 4; table++)
		block_cache_forget(c, table);
	cr_assert_eq(bytes_of_cache(c), 0);
	block_cache_destroy(c);
}
