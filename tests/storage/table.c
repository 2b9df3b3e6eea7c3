/* Tables: what is written is read back, by every way of reading; and damage is found, wherever it is. */
#include "table.h"

#include <criterion/criterion.h>

#include "bytes_file.h"
#include "iterator_model.h"
#include "table_block.h"
#include "table_format.h"

enum { NUMBER = 42 };

static struct table_properties
write_table(struct bytes_file *f, const struct model *m, enum table_compression compression,
	    size_t block_size)
{
	struct table_builder *b;
	struct table_builder_options options = {
		.number = NUMBER, .block_size = block_size, .compression = compression};
	cr_assert_eq(table_builder_create(bytes_file_open(f), &options, &b), SETT_OK);
	struct sett_error error = {0};
	for (size_t i = 0; i < m->count; i++) {
		int r = table_builder_add(b, m->entries[i].key, m->entries[i].value, &error);
		cr_assert_eq(r, SETT_OK, "%s", error.message);
	}
	cr_assert_eq(table_builder_entries(b), m->count);
	cr_assert_gt(table_builder_size(b), 0);
	uint64_t size, referenced = table_builder_referenced_bytes(b);
	struct table_properties properties;
	cr_assert_eq(table_builder_finish(b, &properties, &size, &error), SETT_OK);
	cr_assert_eq(size, f->content.size);
	cr_assert_eq(properties.referenced_bytes, referenced);
	table_builder_destroy(b);
	return properties;
}

static struct table *
open_table(struct bytes_file *f, struct block_cache *cache)
{
	struct table *t = NULL;
	struct sett_error error = {0};
	int r = table_open(bytes_file_open(f), "dir/000042.sst", NUMBER, cache, &t, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
	return t;
}

static void
check_gets(const struct model *m, struct table *t, uint64_t seed, unsigned steps)
{
	struct random r;
	random_seed(&r, seed);
	uint8_t room[MODEL_ROOM];
	for (unsigned n = 0; n < steps; n++) {
		struct ikey target = model_random_target(m, &r, room);
		size_t at = model_lower_bound(m, target);
		bool found = at < m->count && bytes_equal(m->entries[at].key.user, target.user);
		struct table_hit hit = {.timestamp = 77};
		struct sett_error error = {0};
		int status = table_get(t, target.user, table_filter_hash(target.user), target.timestamp, 0,
				       &hit, &error);
		cr_assert_eq(status, found ? SETT_OK : SETT_NOT_FOUND, "%d %s", status, error.message);
		if (!found) {
			cr_assert_eq(hit.timestamp, 77);
			continue;
		}
		cr_assert_eq(hit.timestamp, m->entries[at].key.timestamp);
		cr_assert(bytes_equal(hit.value, m->entries[at].value));
		block_release(hit.pin);
	}
}

static void
check_everything(const struct model *m, struct bytes_file *f, struct block_cache *cache, uint64_t seed)
{
	struct table *t = open_table(f, cache);
	struct sett_error error = {0};
	int r = table_verify(t, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
	check_gets(m, t, seed, 5000);
	for (unsigned flags = 0; flags <= TABLE_NO_FILL; flags += TABLE_NO_FILL) {
		struct internal_iterator *i;
		cr_assert_eq(table_iterator_create(t, flags, &i), SETT_OK);
		cr_assert_not(i->valid);
		model_check_iterator(m, i, seed, 5000);
		iiter_destroy(i);
	}
	table_close(t);
	cr_assert_eq(f->closes, 1);
	f->closes = 0;
}

Test(table, reads_like_a_sorted_array)
{
	static const enum table_compression kinds[] = {TABLE_RAW, TABLE_LZ4, TABLE_ZSTD};
	static const size_t block_sizes[] = {0, 128, 1};
	for (unsigned n = 0; n < 9; n++) {
		struct model m = model_create(n + 1, n % 4 == 3 ? 5 : 1500, 150);
		struct bytes_file f = {0};
		struct block_cache *cache = NULL;
		if (n % 2)
			cr_assert_eq(block_cache_create(n % 3 ? 4 << 20 : 40000, &cache), SETT_OK);
		struct table_properties p = write_table(&f, &m, kinds[n % 3], block_sizes[n / 3]);
		check_everything(&m, &f, cache, n);
		table_properties_free(&p);
		block_cache_destroy(cache);
		buffer_free(&f.content);
		model_free(&m);
	}
}

Test(table, large_index_goes_through_the_cache)
{
	struct model m = model_create(9, 5000, 10);
	struct bytes_file f = {0};
	struct block_cache *cache;
	cr_assert_eq(block_cache_create(8 << 20, &cache), SETT_OK);
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 1); /* a block for each entry */
	struct table_footer footer;
	const char *why;
	cr_assert_eq(table_footer_decode(f.content.data + f.content.size - TABLE_FOOTER_SIZE, f.content.size,
					 NUMBER, &footer, &why),
		     SETT_OK);
	cr_assert_gt(footer.index_end - footer.data_end, 256 * 1024);
	struct table *t = open_table(&f, cache);
	cr_assert_lt(table_memory(t), footer.index_end - footer.data_end);
	table_close(t);
	f.closes = 0;
	check_everything(&m, &f, cache, 9);
	table_properties_free(&p);
	block_cache_destroy(cache);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, one_entry_with_an_empty_key_and_a_large_value)
{
	uint8_t *body = malloc(20 << 20);
	cr_assert_not_null(body);
	memset(body, 'x', 20 << 20);
	for (unsigned n = 0; n < 6; n++) {
		struct entry e = {.kind = ENTRY_INLINE,
				  .body = bytes_of(body, n % 2 ? (20u << 20) : (5u << 20) + 3)};
		struct bytes value = model_encode(&e);
		struct model_entry entry = {{bytes_of(NULL, 0), 9}, value};
		struct model m = {&entry, 1};
		struct bytes_file f = {0};
		struct table_properties p = write_table(&f, &m, (enum table_compression)(n / 2), 0);
		struct table *t = open_table(&f, NULL);
		struct internal_iterator *i;
		cr_assert_eq(table_iterator_create(t, n % 2 ? TABLE_NO_FILL : 0, &i), SETT_OK);
		model_check_iterator(&m, i, 1, 20);
		iiter_destroy(i);
		check_gets(&m, t, 1, 20);
		cr_assert_eq(table_verify(t, NULL), SETT_OK);
		table_close(t);
		table_properties_free(&p);
		buffer_free(&f.content);
		free((void *)(uintptr_t)value.data);
	}
	free(body);
}

Test(table, longest_keys)
{
	static uint8_t key[SETT_MAX_KEY_SIZE + 1];
	memset(key, 0xff, sizeof(key));
	struct bytes value = model_encode(&(struct entry){.kind = ENTRY_TOMBSTONE});
	struct model_entry entries[40];
	struct model m = {entries, 40};
	for (size_t n = 0; n < 40; n++)
		entries[n] = (struct model_entry){{bytes_of(key, SETT_MAX_KEY_SIZE - 19 + n / 2), 2 - n % 2},
						  value};
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_LZ4, 0);
	struct table *t = open_table(&f, NULL);
	struct internal_iterator *i;
	cr_assert_eq(table_iterator_create(t, 0, &i), SETT_OK);
	int status = iiter_first(i);
	for (size_t n = 0; n < 40; n++, status = iiter_next(i))
		model_expect_at(&m, i, status, n);
	for (size_t n = 0; n < 40; n++)
		model_expect_at(&m, i, iiter_seek(i, entries[n].key), n);
	iiter_destroy(i);
	cr_assert_eq(table_verify(t, NULL), SETT_OK);
	table_close(t);
	table_properties_free(&p);

	struct table_builder *b;
	cr_assert_eq(
		table_builder_create(bytes_file_open(&f), &(struct table_builder_options){.number = 1}, &b),
		SETT_OK);
	struct sett_error error = {0};
	cr_assert_eq(
		table_builder_add(b, (struct ikey){bytes_of(key, SETT_MAX_KEY_SIZE + 1), 1}, value, &error),
		SETT_TOO_LARGE);
	table_builder_destroy(b);
	buffer_free(&f.content);
	free((void *)(uintptr_t)value.data);
}

Test(table, builder_refuses_what_is_out_of_order_or_malformed)
{
	struct bytes_file f = {0};
	struct table_builder_options options = {.number = NUMBER};
	struct bytes value = model_encode(&(struct entry){.kind = ENTRY_INLINE});
	struct sett_error error = {0};
	static const struct {
		const char *key;
		uint64_t timestamp;
		int status;
	} second[] = {{"b", 5, SETT_INVALID},
		      {"b", 6, SETT_INVALID},
		      {"a", 1, SETT_INVALID},
		      {"b", 4, SETT_OK},
		      {"ba", 9, SETT_OK}};
	for (size_t n = 0; n < sizeof(second) / sizeof(second[0]); n++) {
		struct table_builder *b;
		cr_assert_eq(table_builder_create(bytes_file_open(&f), &options, &b), SETT_OK);
		cr_assert_eq(table_builder_add(b, (struct ikey){BYTES_LITERAL("b"), 5}, value, &error),
			     SETT_OK);
		struct ikey key = {bytes_of_string(second[n].key), second[n].timestamp};
		cr_assert_eq(table_builder_add(b, key, value, &error), second[n].status, "case %zu", n);
		table_builder_destroy(b);
	}
	struct table_builder *b;
	cr_assert_eq(table_builder_create(bytes_file_open(&f), &options, &b), SETT_OK);
	cr_assert_eq(
		table_builder_add(b, (struct ikey){BYTES_LITERAL("b"), 5}, BYTES_LITERAL("\xff"), &error),
		SETT_CORRUPT);
	struct table_properties p;
	uint64_t size;
	cr_assert_neq(table_builder_finish(b, &p, &size, &error), SETT_OK);
	table_builder_destroy(b);
	buffer_free(&f.content);
	free((void *)(uintptr_t)value.data);
}

Test(table, a_failed_write_fails_the_builder)
{
	struct model m = model_create(4, 500, 100);
	struct bytes_file f = {.fail_writes = SETT_NO_SPACE};
	struct table_builder *b;
	cr_assert_eq(
		table_builder_create(bytes_file_open(&f), &(struct table_builder_options){.number = 1}, &b),
		SETT_OK);
	struct sett_error error = {0};
	int r = SETT_OK;
	for (size_t i = 0; i < m.count && r == SETT_OK; i++)
		r = table_builder_add(b, m.entries[i].key, m.entries[i].value, &error);
	struct table_properties p;
	uint64_t size;
	cr_assert_eq(table_builder_finish(b, &p, &size, &error), SETT_NO_SPACE);
	cr_assert_eq(table_builder_finish(b, &p, &size, &error), SETT_NO_SPACE);
	table_builder_destroy(b);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, properties_are_those_of_the_entries)
{
	struct model m = model_create(11, 800, 60);
	struct bytes_file f = {0};
	struct table_properties written = write_table(&f, &m, TABLE_LZ4, 0);
	struct table *t = open_table(&f, NULL);
	const struct table_properties *p = table_properties(t);
	uint64_t tombstones = 0, keys = 0, values = 0, expiry = UINT64_MAX, low = UINT64_MAX, high = 0;
	uint64_t by_file[8] = {0}, total = 0;
	for (size_t i = 0; i < m.count; i++) {
		struct entry e;
		cr_assert_eq(entry_decode(m.entries[i].value, &e), SETT_OK);
		tombstones += e.kind == ENTRY_TOMBSTONE;
		keys += m.entries[i].key.user.size + IKEY_TRAILER_SIZE;
		values += m.entries[i].value.size;
		if (e.expires_at && e.expires_at < expiry)
			expiry = e.expires_at;
		low = m.entries[i].key.timestamp < low ? m.entries[i].key.timestamp : low;
		high = m.entries[i].key.timestamp > high ? m.entries[i].key.timestamp : high;
		if (e.kind == ENTRY_POINTER) {
			by_file[e.pointer.file] += e.pointer.stored_size;
			total += e.pointer.stored_size;
		}
	}
	for (int n = 0; n < 2; n++, p = &written) {
		cr_assert_eq(p->entries, m.count);
		cr_assert_eq(p->tombstones, tombstones);
		cr_assert_eq(p->key_bytes, keys);
		cr_assert_eq(p->value_bytes, values);
		cr_assert_eq(p->smallest_expiry, expiry);
		cr_assert_eq(p->smallest_timestamp, low);
		cr_assert_eq(p->largest_timestamp, high);
		cr_assert_eq(p->referenced_bytes, total);
		cr_assert_eq(p->reference_count, 5);
		for (size_t i = 0; i < p->reference_count; i++) {
			cr_assert_eq(p->references[i].file, i + 1);
			cr_assert_eq(p->references[i].bytes, by_file[i + 1]);
		}
		struct ikey smallest = ikey_decode(buffer_bytes(&p->smallest));
		struct ikey largest = ikey_decode(buffer_bytes(&p->largest));
		cr_assert_eq(ikey_compare(smallest, m.entries[0].key), 0);
		cr_assert_eq(ikey_compare(largest, m.entries[m.count - 1].key), 0);
	}
	cr_assert_eq(table_number(t), NUMBER);
	cr_assert_eq(table_file_size(t), f.content.size);
	table_close(t);
	table_properties_free(&written);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, filter_lets_one_percent_through)
{
	struct bytes_file f = {0};
	struct table_builder *b;
	cr_assert_eq(table_builder_create(bytes_file_open(&f),
					  &(struct table_builder_options){.number = NUMBER}, &b),
		     SETT_OK);
	struct bytes value = model_encode(&(struct entry){.kind = ENTRY_TOMBSTONE});
	uint8_t key[8];
	for (uint64_t n = 0; n < 50000; n++) {
		put_be64(key, n * 2);
		cr_assert_eq(table_builder_add(b, (struct ikey){bytes_of(key, 8), 1}, value, NULL), SETT_OK);
	}
	struct table_properties p;
	uint64_t size;
	cr_assert_eq(table_builder_finish(b, &p, &size, NULL), SETT_OK);
	table_builder_destroy(b);
	struct table *t = open_table(&f, NULL);
	unsigned before = f.reads;
	for (uint64_t n = 0; n < 50000; n++) {
		put_be64(key, n * 2 + 1);
		struct table_hit hit;
		cr_assert_eq(
			table_get(t, bytes_of(key, 8), table_filter_hash(bytes_of(key, 8)), 9, 0, &hit, NULL),
			SETT_NOT_FOUND);
	}
	unsigned passed = f.reads - before;
	cr_assert_lt(passed, 50000 * 15 / 1000, "%u of 50000 absent keys passed the filter", passed);
	table_close(t);
	table_properties_free(&p);
	buffer_free(&f.content);
	free((void *)(uintptr_t)value.data);
}

Test(table, nowait_never_waits_and_works_once_cached)
{
	struct model m = model_create(21, 3000, 100);
	struct bytes_file f = {0};
	struct block_cache *cache;
	cr_assert_eq(block_cache_create(8 << 20, &cache), SETT_OK);
	struct table_properties p = write_table(&f, &m, TABLE_LZ4, 0);
	struct table *t = open_table(&f, cache);
	f.cold = true;
	struct bytes key = m.entries[m.count / 2].key.user;
	struct table_hit hit;
	cr_assert_eq(table_get(t, key, table_filter_hash(key), UINT64_MAX, VFS_NOWAIT, &hit, NULL),
		     SETT_WOULD_BLOCK);
	struct internal_iterator *i;
	cr_assert_eq(table_iterator_create(t, TABLE_NOWAIT, &i), SETT_OK);
	cr_assert_eq(iiter_first(i), SETT_WOULD_BLOCK);
	cr_assert_not(i->valid);
	cr_assert_eq(table_get(t, key, table_filter_hash(key), UINT64_MAX, 0, &hit, NULL), SETT_OK);
	block_release(hit.pin);
	unsigned reads = f.reads;
	cr_assert_eq(table_get(t, key, table_filter_hash(key), UINT64_MAX, VFS_NOWAIT, &hit, NULL), SETT_OK);
	block_release(hit.pin);
	cr_assert_eq(f.reads, reads);
	cr_assert_eq(iiter_seek(i, (struct ikey){key, UINT64_MAX}), SETT_OK);
	int r;
	while ((r = iiter_next(i)) == SETT_OK)
		;
	cr_assert_eq(r, SETT_WOULD_BLOCK);
	f.cold = false;
	model_check_iterator(&m, i, 1, 1000);
	f.cold = true; /* all is cached now */
	model_check_iterator(&m, i, 2, 1000);
	iiter_destroy(i);
	table_close(t);
	table_properties_free(&p);
	block_cache_destroy(cache);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, no_fill_reads_in_runs_and_leaves_the_cache_alone)
{
	struct model m = model_create(22, 6000, 300);
	struct bytes_file f = {0};
	struct block_cache *cache;
	cr_assert_eq(block_cache_create(8 << 20, &cache), SETT_OK);
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 0);
	struct table *t = open_table(&f, cache);
	struct internal_iterator *i;
	cr_assert_eq(table_iterator_create(t, TABLE_NO_FILL, &i), SETT_OK);
	unsigned before = f.reads;
	size_t count = 0;
	for (int r = iiter_first(i); r == SETT_OK; r = iiter_next(i))
		count++;
	cr_assert_eq(count, m.count);
	cr_assert_leq(f.reads - before, 6 + f.content.size / (128 * 1024));
	uint64_t bytes, hits, misses;
	block_cache_stats(cache, &bytes, &hits, &misses);
	cr_assert_eq(bytes, 0);
	iiter_destroy(i);
	table_close(t);
	table_properties_free(&p);
	block_cache_destroy(cache);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, sample_walks_over_all_blocks)
{
	struct model m = model_create(23, 3000, 100);
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 256);
	struct table *t = open_table(&f, NULL);
	struct buffer last = {0}, key = {0};
	size_t blocks = 0;
	for (;; blocks++) {
		buffer_clear(&key);
		cr_assert_eq(table_sample(t, blocks, 0, &key, NULL), SETT_OK);
		if (blocks && bytes_compare(buffer_bytes(&key), buffer_bytes(&last)) < 0)
			break; /* round again */
		buffer_clear(&last);
		cr_assert_eq(buffer_append(&last, key.data, key.size), SETT_OK);
		cr_assert_lt(blocks, m.count);
	}
	cr_assert_gt(blocks, 300);
	cr_assert(bytes_equal(buffer_bytes(&last), m.entries[m.count - 1].key.user));
	buffer_free(&last);
	buffer_free(&key);
	table_close(t);
	table_properties_free(&p);
	buffer_free(&f.content);
	model_free(&m);
}

/* The worked example of docs/format-table.md, byte for byte. It changes only together with the version. */
Test(table, worked_example)
{
	static const char expected[] = "000506076170706c65010168726564050001050002050b06"
				       "7269636f7412e80700038020e40fd00f0000000001000000"
				       "006fbf6cea5227cece010000000700000000000000000000"
				       "000600000000000000000000000000000039000000000000"
				       "000000000061707269636f740002bbdc94766cffb6010000"
				       "000700000000000000000000000600000000000000390000"
				       "000000000075000000000000000000000061707269636f74"
				       "003968a9bdb3c74c1c010000000000000000000000000000"
				       "000080000040020000000000000420000000000000200000"
				       "080000000010000200000000000010000000000000000000"
				       "0000e8b4cd70ddb11e7e030129120507e807e40f010103e4"
				       "0f010d6170706c65fffffffffffffff80f61707269636f74"
				       "fffffffffffffff900c23722846d750b8139000000000000"
				       "007500000000000000b100000000000000fa000000000000"
				       "0031010000000000002a0000000000000001000000000100"
				       "00b1cdeeb68abdd31b5345545441424c45";
	struct entry apple = {.kind = ENTRY_INLINE, .head = BYTES_LITERAL("h"), .body = BYTES_LITERAL("red")};
	struct entry gone = {.kind = ENTRY_TOMBSTONE};
	struct entry apricot = {.kind = ENTRY_POINTER, .expires_at = 1000, .pointer = {3, 4096, 2020, 2000}};
	struct model_entry entries[] = {
		{{BYTES_LITERAL("apple"), 7}, model_encode(&apple)},
		{{BYTES_LITERAL("apple"), 5}, model_encode(&gone)},
		{{BYTES_LITERAL("apricot"), 6}, model_encode(&apricot)},
	};
	struct model m = {entries, 3};
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 0);
	cr_assert_eq(f.content.size * 2, sizeof(expected) - 1);
	for (size_t i = 0; i < f.content.size; i++) {
		char hex[3];
		snprintf(hex, sizeof(hex), "%02x", f.content.data[i]);
		cr_assert(memcmp(hex, expected + 2 * i, 2) == 0, "byte %zu is %s", i, hex);
	}
	table_properties_free(&p);
	buffer_free(&f.content);
	for (size_t i = 0; i < 3; i++)
		free((void *)(uintptr_t)entries[i].value.data);
}

/* ---- damage ---- */

/* Opens, verifies and reads what may be damaged; the first status that is not OK. */
static int
read_all(struct bytes_file *f, struct sett_error *error)
{
	struct table *t;
	int r = table_open(bytes_file_open(f), "dir/000042.sst", NUMBER, NULL, &t, error);
	if (r != SETT_OK)
		return r;
	r = table_verify(t, error);
	struct internal_iterator *i;
	cr_assert_eq(table_iterator_create(t, 0, &i), SETT_OK);
	int walk = iiter_first(i);
	while (walk == SETT_OK)
		walk = iiter_next(i);
	walk = iiter_last(i);
	while (walk == SETT_OK)
		walk = iiter_previous(i);
	iiter_destroy(i);
	struct table_hit hit;
	if (table_get(t, BYTES_LITERAL("kk"), table_filter_hash(BYTES_LITERAL("kk")), 99, 0, &hit, NULL) ==
	    SETT_OK)
		block_release(hit.pin);
	table_close(t);
	return r;
}

/* Blocks of random bytes are tried less and less; what shrinks again is found again. */
Test(table, blocks_that_do_not_shrink_are_stored_as_they_are)
{
	struct block_packer packer = {0};
	struct buffer out = {0};
	struct random r;
	uint8_t noise[4096], text[4096];
	random_seed(&r, 5);
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)random_below(&r, 256);
	for (int i = 0; i < 200; i++) {
		buffer_clear(&out);
		cr_assert_eq(block_pack(&packer, bytes_of(noise, sizeof(noise)), TABLE_LZ4, NUMBER, 0, &out),
			     SETT_OK);
		cr_assert_eq(out.size, sizeof(noise) + TABLE_TRAILER_SIZE);
	}
	int raw = 0;
	do {
		buffer_clear(&out);
		cr_assert_eq(block_pack(&packer, bytes_of(text, sizeof(text)), TABLE_LZ4, NUMBER, 0, &out),
			     SETT_OK);
		raw += out.size > sizeof(text);
	} while (out.size > sizeof(text) && raw < 100);
	cr_assert_gt(raw, 0, "some are not tried");
	cr_assert_lt(raw, 40);
	buffer_clear(&out);
	cr_assert_eq(block_pack(&packer, bytes_of(text, sizeof(text)), TABLE_LZ4, NUMBER, 0, &out), SETT_OK);
	cr_assert_lt(out.size, sizeof(text));
	block_packer_free(&packer);
	buffer_free(&out);
}

Test(table, every_flipped_byte_is_found)
{
	static const enum table_compression kinds[] = {TABLE_RAW, TABLE_LZ4, TABLE_ZSTD};
	for (unsigned k = 0; k < 3; k++) {
		struct model m = model_create(31 + k, 30, 60);
		struct bytes_file f = {0};
		struct table_properties p = write_table(&f, &m, kinds[k], 300);
		struct random r;
		random_seed(&r, k);
		for (size_t at = 0; at < f.content.size; at++) {
			uint8_t mask = (uint8_t)(1 + random_below(&r, 255));
			f.content.data[at] ^= mask;
			struct sett_error error = {0};
			int status = read_all(&f, &error);
			cr_assert_eq(status, SETT_CORRUPT, "byte %zu of %zu xor %d: status %d", at,
				     f.content.size, mask, status);
			cr_assert(strstr(error.message, "dir/000042.sst at offset "), "%s", error.message);
			f.content.data[at] ^= mask;
		}
		cr_assert_eq(read_all(&f, NULL), SETT_OK);
		table_properties_free(&p);
		buffer_free(&f.content);
		model_free(&m);
	}
}

struct seen {
	uint64_t entries, damages;
};

static int
see_entry(void *arg, struct ikey key, struct bytes value, uint64_t offset)
{
	((struct seen *)arg)->entries++;
	return SETT_OK;
}

static void
see_damage(void *arg, const char *text)
{
	cr_assert(strstr(text, " at offset "), "%s", text);
	((struct seen *)arg)->damages++;
}

Test(table, a_visitor_is_told_of_every_damage_and_shown_the_rest)
{
	struct model m = model_create(37, 300, 60);
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 300);
	struct seen whole = {0}, damaged = {0};
	struct table_visitor visitor = {see_entry, see_damage, &whole};
	struct table *t = open_table(&f, NULL);
	cr_assert_eq(table_examine(t, &visitor, NULL), SETT_OK);
	cr_assert_eq(whole.entries, p.entries);
	cr_assert_eq(whole.damages, 0);
	/* Data in two places; the filter, which is behind the index and in memory already. */
	uint64_t data_end = get_le64(f.content.data + f.content.size - TABLE_FOOTER_SIZE);
	uint64_t top_end = get_le64(f.content.data + f.content.size - TABLE_FOOTER_SIZE + 16);
	f.content.data[data_end / 4] ^= 1;
	f.content.data[data_end / 4 * 3] ^= 1;
	f.content.data[top_end] ^= 1;
	visitor.arg = &damaged;
	cr_assert_eq(table_examine(t, &visitor, NULL), SETT_CORRUPT);
	cr_assert_eq(damaged.damages, 3);
	cr_assert(damaged.entries > whole.entries / 2 && damaged.entries < whole.entries);
	table_close(t);
	table_properties_free(&p);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, every_truncation_is_found)
{
	struct model m = model_create(35, 30, 60);
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_LZ4, 300);
	size_t size = f.content.size;
	for (size_t length = 0; length < size; length++) {
		f.content.size = length;
		struct table *t;
		struct sett_error error = {0};
		f.closes = 0;
		cr_assert_eq(table_open(bytes_file_open(&f), "dir/000042.sst", NUMBER, NULL, &t, &error),
			     SETT_CORRUPT);
		cr_assert_eq(f.closes, 1);
		cr_assert(strstr(error.message, "dir/000042.sst at offset "), "%s", error.message);
	}
	f.content.size = size;
	buffer_append(&f.content, "", 1);
	cr_assert_eq(read_all(&f, NULL), SETT_CORRUPT);
	table_properties_free(&p);
	buffer_free(&f.content);
	model_free(&m);
}

Test(table, another_tables_file_and_swapped_blocks_are_found)
{
	struct model m = model_create(36, 300, 60);
	struct bytes_file f = {0};
	struct table_properties p = write_table(&f, &m, TABLE_RAW, 1);
	struct table *t;
	struct sett_error error = {0};
	cr_assert_eq(table_open(bytes_file_open(&f), "x", NUMBER + 1, NULL, &t, &error), SETT_CORRUPT);
	/* Two blocks of equal size change places: each checksum is right, but not there. */
	size_t first = 0;
	bool swapped = false;
	t = open_table(&f, NULL);
	table_close(t);
	struct table_footer footer;
	const char *why;
	cr_assert_eq(table_footer_decode(f.content.data + f.content.size - TABLE_FOOTER_SIZE, f.content.size,
					 NUMBER, &footer, &why),
		     SETT_OK);
	/* Find the first two neighbouring blocks of one size through the sizes that pass their checksums. */
	for (size_t size = 20; size < 400 && !swapped; size++) {
		for (first = 0; first + 2 * size < footer.data_end && !swapped; first++) {
			uint8_t *a = f.content.data + first, *b = a + size;
			if (get_le64(a + size - 8) == hash64(a, size - 8, table_seed(NUMBER, first)) &&
			    get_le64(b + size - 8) == hash64(b, size - 8, table_seed(NUMBER, first + size))) {
				uint8_t *copy = malloc(size);
				cr_assert_not_null(copy);
				memcpy(copy, a, size);
				memcpy(a, b, size);
				memcpy(b, copy, size);
				free(copy);
				swapped = true;
			}
		}
	}
	cr_assert(swapped);
	cr_assert_eq(read_all(&f, &error), SETT_CORRUPT);
	cr_assert(strstr(error.message, "checksum"), "%s", error.message);
	table_properties_free(&p);
	buffer_free(&f.content);
	model_free(&m);
}
