/* The record cache: what it may answer, what it may keep (I14), and that it stays within its bound. */
#include <criterion/criterion.h>
#include <sys/resource.h>

#include "engine_private.h"
#include "internal_key.h"
#include "record_cache.h"
#include "storage/status.h"

static struct record_cache *cache;
static struct arena arena;

static void
set_up(void)
{
	cr_assert_eq(record_cache_create(1 << 20, 7, &cache), SETT_OK);
	arena_init(&arena, 4096);
}

static void
tear_down(void)
{
	record_cache_destroy(cache);
	arena_free(&arena);
}

TestSuite(record_cache, .init = set_up, .fini = tear_down);

static struct bytes
inline_value(const char *text, uint8_t *buffer)
{
	struct entry entry = {.kind = ENTRY_INLINE, .body = bytes_of_string(text)};
	return bytes_of(buffer, (size_t)(entry_encode(&entry, buffer) - buffer));
}

static void
admit(const char *key, uint64_t snapshot, const char *text, uint64_t timestamp)
{
	uint8_t buffer[1024];
	struct bytes k = bytes_of_string(key);
	struct bytes value = text ? inline_value(text, buffer) : bytes_of(NULL, 0);
	record_cache_admit(cache, record_cache_hash(cache, k), k, snapshot, value, timestamp);
}

static void
update(const char *key, const char *text, uint64_t timestamp)
{
	uint8_t buffer[128];
	struct bytes k = bytes_of_string(key);
	record_cache_update(cache, record_cache_hash(cache, k), k, inline_value(text, buffer),
			    bytes_of(NULL, 0), timestamp);
}

/* The text, "-" for absence, NULL if the cache does not know. */
static const char *
get(const char *key, uint64_t snapshot, uint64_t *ret_timestamp)
{
	static char text[128];
	struct bytes k = bytes_of_string(key), value;
	struct entry entry;
	int r = record_cache_get(cache, record_cache_hash(cache, k), k, snapshot, &arena, &value,
				 ret_timestamp);
	if (r == SETT_NOT_FOUND)
		return NULL;
	cr_assert_eq(r, SETT_OK);
	cr_assert_eq(entry_decode(value, &entry), SETT_OK);
	if (entry.kind == ENTRY_TOMBSTONE)
		return "-";
	snprintf(text, sizeof(text), "%.*s", (int)entry.body.size, (const char *)entry.body.data);
	return text;
}

Test(record_cache, answers_snapshots_at_or_after_the_record)
{
	uint64_t timestamp;
	cr_assert_null(get("k", 9, &timestamp));
	admit("k", 9, "five", 5);
	cr_assert_str_eq(get("k", 9, &timestamp), "five");
	cr_assert_eq(timestamp, 5);
	cr_assert_str_eq(get("k", 5, &timestamp), "five");
	cr_assert_null(get("k", 4, &timestamp));
	cr_assert_null(get("other", 9, &timestamp));
}

Test(record_cache, a_commit_replaces_the_record)
{
	uint64_t timestamp;
	admit("k", 9, "five", 5);
	update("k", "ten", 10);
	cr_assert_null(get("k", 9, &timestamp), "a reader before the commit must ask the tree");
	cr_assert_str_eq(get("k", 10, &timestamp), "ten");
	update("k", "a value that is much longer than the room the first one left behind it", 11);
	cr_assert_str_eq(get("k", 11, &timestamp),
			 "a value that is much longer than the room the first one left behind it");
	cr_assert_eq(timestamp, 11);
}

Test(record_cache, a_reader_behind_a_commit_may_not_admit)
{
	/* The reader took its snapshot at 9 and read "old"; then 10 was committed. */
	uint64_t timestamp;
	update("k", "new", 10);
	admit("k", 9, "old", 5);
	cr_assert_null(get("k", 20, &timestamp));
	admit("k", 10, "new", 10);
	cr_assert_str_eq(get("k", 20, &timestamp), "new");
}

Test(record_cache, absence_is_known_too)
{
	uint64_t timestamp;
	admit("k", 3, NULL, 0);
	cr_assert_str_eq(get("k", 3, &timestamp), "-");
	update("k", "there", 4);
	cr_assert_str_eq(get("k", 4, &timestamp), "there");
}

Test(record_cache, a_pointer_gives_way_to_the_body_of_its_version)
{
	uint64_t timestamp;
	uint8_t buffer[64];
	struct entry entry = {.kind = ENTRY_POINTER, .pointer = {1, 16, 5000, 4984}};
	struct bytes pointer = bytes_of(buffer, (size_t)(entry_encode(&entry, buffer) - buffer)), value;
	struct bytes k = BYTES_LITERAL("k");
	uint64_t hash = record_cache_hash(cache, k);
	admit("k", 3, "inline", 2);
	record_cache_update(cache, hash, k, pointer, bytes_of(NULL, 0), 4);
	cr_assert_eq(record_cache_get(cache, hash, k, 9, &arena, &value, &timestamp), SETT_OK);
	cr_assert(bytes_equal(value, pointer));
	cr_assert_eq(timestamp, 4);
	admit("k", 9, "of another version", 3);
	cr_assert_str_eq(get("k", 9, &timestamp), "", "a pointer still");
	admit("k", 3, "read before the commit", 4);
	cr_assert_str_eq(get("k", 9, &timestamp), "");
	admit("k", 9, "the body", 4);
	cr_assert_str_eq(get("k", 9, &timestamp), "the body");
	record_cache_admit(cache, hash, k, 9, pointer, 4);
	cr_assert_str_eq(get("k", 9, &timestamp), "the body");
	record_cache_update(cache, hash, k, pointer, bytes_of(NULL, 0), 10);
	cr_assert_str_eq(get("k", 10, &timestamp), "");
	cr_assert_eq(timestamp, 10);
}

Test(record_cache, a_commit_leaves_its_body_where_one_was_or_there_is_room)
{
	uint64_t timestamp, bytes, hits, misses;
	uint8_t buffer[64], whole[64], long_value[1100];
	char key[32], text[1001] = {0};
	struct entry entry = {.kind = ENTRY_POINTER, .pointer = {1, 16, 5000, 4984}};
	struct bytes pointer = bytes_of(buffer, (size_t)(entry_encode(&entry, buffer) - buffer));
	struct bytes k = BYTES_LITERAL("k");
	uint64_t hash = record_cache_hash(cache, k);
	memset(text, 'x', sizeof(text) - 1);
	admit("k", 3, NULL, 0);
	record_cache_update(cache, hash, k, pointer, inline_value("there is room", whole), 4);
	cr_assert_str_eq(get("k", 4, &timestamp), "there is room");
	cr_assert_eq(timestamp, 4);
	record_cache_update(cache, hash, k, pointer, bytes_of(NULL, 0), 5);
	cr_assert_str_eq(get("k", 5, &timestamp), "", "no body is at hand");
	for (int i = 0; i < 850; i++) {
		snprintf(key, sizeof(key), "other%d", i);
		struct bytes other = bytes_of_string(key);
		record_cache_admit(cache, record_cache_hash(cache, other), other, 5,
				   inline_value(text, long_value), 1);
	}
	record_cache_stats(cache, &bytes, &hits, &misses);
	cr_assert_gt(bytes, record_cache_capacity(cache) / 8 * 7);
	(void)get("k", 5, &timestamp);
	record_cache_update(cache, hash, k, pointer, inline_value("not read", whole), 6);
	cr_assert_str_eq(get("k", 6, &timestamp), "");
	admit("k", 6, "read", 6);
	record_cache_update(cache, hash, k, pointer, inline_value("written then", whole), 7);
	cr_assert_str_eq(get("k", 7, &timestamp), "written then");
	cr_assert_eq(timestamp, 7);
}

Test(record_cache, large_records_do_not_take_it_over)
{
	static char text[40000];
	static uint8_t buffer[sizeof(text) + 64];
	char key[32];
	uint64_t bytes, hits, misses;
	memset(text, 'x', sizeof(text) - 1);
	struct bytes big = inline_value(text, buffer), k = BYTES_LITERAL("big");
	struct bytes value;
	uint64_t hash = record_cache_hash(cache, k), timestamp;
	cr_assert(!record_cache_takes(cache, k.size + big.size));
	record_cache_admit(cache, hash, k, 9, big, 5);
	cr_assert_eq(record_cache_get(cache, hash, k, 9, &arena, &value, &timestamp), SETT_NOT_FOUND);
	text[3000] = '\0';
	big = inline_value(text, buffer);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		k = bytes_of_string(key);
		hash = record_cache_hash(cache, k);
		record_cache_admit(cache, hash, k, 9, big, 5);
		for (int j = i < 100 ? 0 : i - 100; j <= i; j += 7) { /* all in use */
			snprintf(key, sizeof(key), "key%d", j);
			k = bytes_of_string(key);
			(void)record_cache_get(cache, record_cache_hash(cache, k), k, 9, &arena, &value,
					       &timestamp);
		}
		arena_reset(&arena);
		record_cache_stats(cache, &bytes, &hits, &misses);
		cr_assert_leq(bytes + record_cache_table_memory(cache), (1 << 20) + 4096);
	}
	cr_assert_gt(bytes, 1 << 19);
}

Test(record_cache, memory_is_bounded_and_hot_records_stay)
{
	char key[32];
	uint64_t timestamp, bytes, hits, misses, found = 0;
	for (int i = 0; i < 50000; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		admit(key, 9, "some value of a usual length, which is not short", 5);
		if (i % 4 == 0)
			admit("hot", 9, "hot", 5);
		found += get("hot", 9, &timestamp) != NULL;
	}
	record_cache_stats(cache, &bytes, &hits, &misses);
	cr_assert_leq(bytes + record_cache_table_memory(cache), (1 << 20) + 8192);
	cr_assert_gt(bytes, 1 << 19);
	cr_assert_gt(found, 49000, "found %d", (int)found);
}

Test(record_cache, a_full_cache_takes_what_is_missed_again)
{
	enum { FILL = 20000, OTHERS = 5000 };
	static const char value[] = "some value of a usual length, which is not short";
	char key[32];
	uint64_t timestamp, before, hits, misses;
	unsigned taken = 0;
	for (int i = 0; i < FILL; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		admit(key, 9, value, 5);
	}
	record_cache_stats(cache, &before, &hits, &misses);
	cr_assert_gt(before, 1 << 19);
	for (int i = 0; i < OTHERS; i++) { /* each once */
		snprintf(key, sizeof(key), "other%d", i);
		admit(key, 9, value, 5);
		taken += get(key, 9, &timestamp) != NULL;
		arena_reset(&arena);
	}
	cr_assert_leq(taken, OTHERS / 10, "%u", taken);
	admit("again", 9, value, 5);
	admit("again", 9, value, 5);
	cr_assert_not_null(get("again", 9, &timestamp));
}

static uint64_t
bytes_kept(void)
{
	uint64_t bytes, hits, misses;
	record_cache_stats(cache, &bytes, &hits, &misses);
	return bytes;
}

static void
fill(const char *prefix, int count)
{
	char key[32], value[1000];
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = 0;
	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%d", prefix, i);
		admit(key, 9, value, 5);
	}
}

Test(record_cache, takes_more_memory_and_gives_it_back)
{
	fill("first", 20000);
	uint64_t before = bytes_kept();
	record_cache_set_memory(cache, 2 << 20);
	fill("second", 20000);
	cr_assert_gt(bytes_kept(), before + (before >> 3));
	record_cache_set_memory(cache, 1 << 20);
	cr_assert_leq(bytes_kept(), before);
}

Test(record_cache, has_what_the_cache_of_blocks_leaves)
{
	const size_t mib = 1 << 20;
	/* Little memory: each has its part. */
	cr_assert_eq(engine_record_memory(32 * mib, 0), 8 * mib);
	cr_assert_eq(engine_record_memory(128 * mib, 0), 32 * mib);
	/* With more memory an eighth stays with the block cache, at least 64 MiB. */
	cr_assert_eq(engine_record_memory(256 * mib, 0), (64 + 128 - 64) * mib);
	cr_assert_eq(engine_record_memory(4096 * mib, 0), (1024 + 2048 - 512) * mib);
	cr_assert_eq(engine_record_memory(4096 * mib, 100 * mib), (1024 + 2048 - 512 - 100) * mib);
	cr_assert_eq(engine_record_memory(4096 * mib, 2048 * mib), 1024 * mib);
	cr_assert_eq(engine_record_memory(4096 * mib, 4096 * mib),
		     1024 * mib); /* pinned blocks come on top */
}

static long
page_faults(void)
{
	struct rusage usage;
	cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_minflt;
}

/* Its table is large even where little is kept. */
Test(record_cache, to_destroy_it_touches_what_was_used_alone)
{
	record_cache_destroy(cache);
	cr_assert_eq(record_cache_create((size_t)1 << 30, 7, &cache), SETT_OK);
	admit("key", 9, "value", 5);
	long before = page_faults();
	record_cache_destroy(cache);
	cr_assert_lt(page_faults() - before, 2000);
	cache = NULL;
}
