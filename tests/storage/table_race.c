/* Threads that share what tables are read through: one block cache too small for them, its decompression
 * contexts, one memtable with its writer. A plain program, so that it also runs under the thread sanitizer.
 */
#include <pthread.h>

#include "memtable.h"
#include "storage/base/random.h"
#include "table.h"

enum { THREADS = 3, KEYS = 4000, ROUNDS = 8000 };

struct race {
	struct vfs *vfs;
	struct block_cache *cache;
	struct table *table;
	struct memtable *memtable;
	uint32_t announced; /* atomic: keys in the memtable (release by the writer, acquire by readers) */
};

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static struct bytes
key_of(uint32_t n, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "key:%07u", n));
}

static struct bytes
value_of(uint32_t n, uint8_t room[128])
{
	uint8_t body[64];
	memset(body, (int)(n % 251), sizeof(body));
	struct entry e = {.kind = ENTRY_INLINE, .body = bytes_of(body, sizeof(body))};
	return bytes_of(room, (size_t)(entry_encode(&e, room) - room));
}

static void
make_table(struct race *race)
{
	struct vfs_file *file;
	struct table_builder *b;
	struct table_builder_options options = {.number = 1, .compression = TABLE_ZSTD};
	char key[16];
	uint8_t value[128];
	CHECK(vfs_open(race->vfs, "t", VFS_WRITE | VFS_CREATE, &file, NULL) == SETT_OK);
	CHECK(table_builder_create(file, &options, &b) == SETT_OK);
	for (uint32_t n = 0; n < KEYS; n++)
		CHECK(table_builder_add(b, (struct ikey){key_of(n, key), n + 1}, value_of(n, value), NULL) ==
		      SETT_OK);
	struct table_properties properties;
	uint64_t size;
	CHECK(table_builder_finish(b, &properties, &size, NULL) == SETT_OK);
	table_builder_destroy(b);
	table_properties_free(&properties);
	CHECK(vfs_close(file, NULL) == SETT_OK);
	CHECK(vfs_open(race->vfs, "t", VFS_READ, &file, NULL) == SETT_OK);
	CHECK(table_open(file, "t", 1, race->cache, &race->table, NULL) == SETT_OK);
}

static void
walk_a_little(struct internal_iterator *i, struct bytes from, bool forwards)
{
	int r = iiter_seek(i, (struct ikey){from, UINT64_MAX});
	CHECK(r == SETT_OK && bytes_equal(i->key.user, from));
	for (int step = 0; step < 50 && r == SETT_OK; step++) {
		uint8_t room[128];
		CHECK(bytes_equal(i->value, value_of((uint32_t)i->key.timestamp - 1, room)));
		r = forwards ? iiter_next(i) : iiter_previous(i);
	}
	CHECK(r == SETT_OK || r == SETT_NOT_FOUND);
}

static void *
reader(void *arg)
{
	struct race *race = arg;
	struct random r;
	struct internal_iterator *table, *memtable;
	char key[16];
	uint8_t room[128];
	random_seed(&r, (uint64_t)(uintptr_t)&r);
	CHECK(table_iterator_create(race->table, 0, &table) == SETT_OK);
	CHECK(memtable_iterator_create(race->memtable, &memtable) == SETT_OK);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t n = (uint32_t)random_below(&r, KEYS);
		struct table_hit hit;
		struct bytes user = key_of(n, key);
		CHECK(table_get(race->table, user, table_filter_hash(user), UINT64_MAX, 0, &hit, NULL) ==
		      SETT_OK);
		CHECK(bytes_equal(hit.value, value_of(n, room)));
		block_release(hit.pin);
		if (round % 50 == 0)
			walk_a_little(table, user, round % 100 == 0);
		uint32_t announced = __atomic_load_n(&race->announced, __ATOMIC_ACQUIRE);
		if (!announced)
			continue;
		user = key_of((uint32_t)random_below(&r, announced), key);
		struct bytes value;
		uint64_t timestamp;
		CHECK(memtable_get(race->memtable, user, UINT64_MAX, &value, &timestamp) == SETT_OK);
		CHECK(bytes_equal(value, value_of((uint32_t)timestamp - 1, room)));
		if (round % 50 == 1)
			walk_a_little(memtable, user, round % 100 == 1);
	}
	iiter_destroy(table);
	iiter_destroy(memtable);
	return NULL;
}

static void *
writer(void *arg)
{
	struct race *race = arg;
	char key[16];
	uint8_t value[128];
	for (uint32_t n = 0; n < KEYS; n++) {
		CHECK(memtable_insert(race->memtable, (struct ikey){key_of(n, key), n + 1},
				      value_of(n, value)) == SETT_OK);
		__atomic_store_n(&race->announced, n + 1, __ATOMIC_RELEASE);
		if (n % 500 == 0)
			block_cache_forget(race->cache, 1);
		if (n % 700 == 0)
			block_cache_set_capacity(race->cache, n % 1400 ? 60000 : 200000);
	}
	return NULL;
}

int
main(void)
{
	struct race race = {.vfs = vfs_memory_create()};
	pthread_t threads[THREADS + 1];
	CHECK(race.vfs);
	CHECK(block_cache_create(100000, &race.cache) == SETT_OK);
	CHECK(memtable_create(&race.memtable) == SETT_OK);
	make_table(&race);
	for (int i = 0; i <= THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, i < THREADS ? reader : writer, &race) == 0);
	for (int i = 0; i <= THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(memtable_entries(race.memtable) == KEYS);
	table_close(race.table);
	memtable_destroy(race.memtable);
	block_cache_destroy(race.cache);
	race.vfs->operations->destroy(race.vfs);
	return 0;
}
