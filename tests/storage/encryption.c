/* The keys, seals and sealed files, and what an encrypted engine leaves in its files. */
#include <stdlib.h>

#include "crypt_private.h"
#include "seal.h"
#include "storage/checkpoint.h"
#include "storage/engine.h"
#include "storage/keyring.h"
#include "support.h"

static const uint8_t master[SETT_MASTER_KEY_SIZE] = "a master key of thirty-two bytes";
static const uint8_t other[SETT_MASTER_KEY_SIZE] = "another key of thirty-two bytes.";

static struct keyring *
open_ring(struct vfs *v, const char *directory, const uint8_t *key)
{
	struct sett_error error = {0};
	struct keyring *ring = NULL;
	MUST(sett_keyring_open(v, directory, key, &ring, &error), &error);
	return ring;
}

static void
add_key(struct keyring *ring)
{
	struct sett_error error = {0};
	MUST(sett_keyring_add_key(ring, &error), &error);
}

Test(encryption, master_keys_are_hexadecimal_or_raw)
{
	uint8_t key[SETT_MASTER_KEY_SIZE];
	static const char hex[] = "  00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100\n";
	SUCCEED(sett_master_key_parse(hex, sizeof(hex) - 1, key));
	cr_assert_eq(key[1], 0x11);
	cr_assert_eq(key[16], 0xff);
	SUCCEED(sett_master_key_parse(master, sizeof(master), key));
	cr_assert_arr_eq(key, master, sizeof(master));
	MUST_FAIL(sett_master_key_parse(hex, 40, key), SETT_INVALID);
	MUST_FAIL(sett_master_key_parse("", 0, key), SETT_INVALID);
	MUST_FAIL(sett_master_key_parse("g0112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100",
					64, key),
		  SETT_INVALID);
}

Test(encryption, a_unit_opens_at_its_place_alone)
{
	struct vfs *v = test_memory_vfs("db");
	struct keyring *ring = open_ring(v, "db", master);
	cr_assert(!keyring_seals(ring));
	add_key(ring);
	cr_assert(keyring_seals(ring));
	uint8_t plain[1000], sealed[1000], back[1000], seal[SEAL_SIZE];
	const char *why = NULL;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	struct seal_place place = {.kind = SEAL_TABLE, .file = 3, .offset = 4096, .part = 1};
	SUCCEED(seal_make(ring, &place, bytes_of(plain, sizeof(plain)), sealed, seal));
	cr_assert(memcmp(plain, sealed, sizeof(plain)) != 0);
	SUCCEED(seal_open(ring, &place, bytes_of(sealed, sizeof(sealed)), seal, back, &why));
	cr_assert_arr_eq(plain, back, sizeof(plain));
	MUST_FAIL(seal_open(NULL, &place, bytes_of(sealed, sizeof(sealed)), seal, back, &why), SETT_IO);
	for (unsigned i = 0; i < 4; i++) {
		struct seal_place elsewhere = place;
		uint64_t *fields[] = {&elsewhere.file, &elsewhere.offset, &elsewhere.part};
		if (i < 3)
			++*fields[i];
		else
			elsewhere.kind = SEAL_VALUE;
		MUST_FAIL(seal_open(ring, &elsewhere, bytes_of(sealed, sizeof(sealed)), seal, back, &why),
			  SETT_CORRUPT);
	}
	for (size_t i = 0; i < SEAL_SIZE; i++) {
		seal[i] ^= 1;
		int r = seal_open(ring, &place, bytes_of(sealed, sizeof(sealed)), seal, back, &why);
		cr_assert_eq(r, i < 8 ? SETT_IO : SETT_CORRUPT, "byte %zu of the seal: %d", i, r);
		seal[i] ^= 1;
	}
	sealed[500] ^= 0x10;
	MUST_FAIL(seal_open(ring, &place, bytes_of(sealed, sizeof(sealed)), seal, back, &why), SETT_CORRUPT);
	sett_keyring_close(ring);
	test_vfs_destroy(v);
}

Test(encryption, keys_come_back_with_their_master_alone)
{
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct keyring *ring = open_ring(v, "db", master), *again;
	struct seal_place place = {.kind = SEAL_LOG, .file = 1};
	uint8_t sealed[5], back[5], seal[SEAL_SIZE];
	const char *why;
	add_key(ring);
	SUCCEED(seal_make(ring, &place, BYTES_LITERAL("hello"), sealed, seal));
	sett_keyring_close(ring);

	MUST_FAIL(sett_keyring_open(v, "db", other, &ring, &error), SETT_INVALID);
	cr_assert_str_eq(
		error.message,
		"db/keys: the key that was given is not the one that this directory was encrypted with");

	ring = open_ring(v, "db", master);
	MUST(sett_keyring_set_master(ring, other, &error), &error);
	add_key(ring);
	again = open_ring(v, "db", other);
	SUCCEED(seal_open(again, &place, bytes_of(sealed, 5), seal, back, &why));
	cr_assert_arr_eq(back, "hello", 5);
	struct keyring_figures f;
	sett_keyring_figures(again, &f);
	cr_assert_eq(f.keys, 2);
	cr_assert_eq(f.present, 0);
	sett_keyring_close(again);
	MUST(sett_keyring_drop_old(ring, &error), &error);
	sett_keyring_figures(ring, &f);
	cr_assert_eq(f.keys, 1);
	sett_keyring_close(ring);

	MUST_FAIL(sett_keyring_open(v, "db", master, &ring, &error), SETT_INVALID);
	SUCCEED(vfs_memory_damage(v, "db/keys", 70, 1));
	MUST_FAIL(sett_keyring_open(v, "db", other, &ring, &error), SETT_CORRUPT);
	test_vfs_destroy(v);
}

/* A power cut at each operation of a change of the master key, and of a new data key: one of the two masters opens the
 * keys, and what was sealed before opens. */
Test(encryption, a_rotation_that_is_cut_leaves_one_of_the_two)
{
	struct seal_place place = {.kind = SEAL_LOG, .file = 1};
	for (int mode = VFS_CRASH_DROP; mode <= VFS_CRASH_RANDOM; mode++) {
		bool was_cut = true;
		for (uint64_t n = 1; was_cut; n++) {
			struct vfs *v = test_memory_vfs("db");
			struct sett_error error = {0};
			struct keyring *ring = open_ring(v, "db", master), *after = NULL;
			uint8_t sealed[5], back[5], seal[SEAL_SIZE];
			const char *why;
			add_key(ring);
			SUCCEED(seal_make(ring, &place, BYTES_LITERAL("hello"), sealed, seal));
			struct test_cut cut;
			test_cut_arm(&cut, v, n, (enum vfs_crash_mode)mode, n);
			add_key(ring);
			MUST(sett_keyring_set_master(ring, other, &error), &error);
			add_key(ring);
			was_cut = cut.clone != NULL;
			if (was_cut) {
				int r = sett_keyring_open(cut.clone, "db", master, &after, &error);
				if (r != SETT_OK)
					r = sett_keyring_open(cut.clone, "db", other, &after, &error);
				cr_assert_eq(r, SETT_OK, "cut %llu: %s", (unsigned long long)n,
					     error.message);
				SUCCEED(seal_open(after, &place, bytes_of(sealed, 5), seal, back, &why));
				add_key(after); /* whatever the cut has left beside */
				sett_keyring_close(after);
				test_vfs_destroy(cut.clone);
			} else {
				cr_assert_gt(n, 10);
				MUST_FAIL(sett_keyring_open(v, "db", master, &after, &error), SETT_INVALID);
			}
			sett_keyring_close(ring);
			test_vfs_destroy(v);
		}
	}
}

/* ---- sealed files ---- */

Test(encryption, a_sealed_file_is_like_another)
{
	enum { SIZE = 100000, STEPS = 400 };
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct keyring *ring = open_ring(v, "db", master);
	add_key(ring);
	struct vfs *sealed = sett_keyring_vfs(ring);
	struct vfs_file *f, *g;
	uint8_t *model = calloc(1, SIZE), *back = malloc(SIZE);
	uint64_t size = 0, seed = 1;
	MUST(vfs_open(sealed, "db/x", VFS_WRITE | VFS_CREATE | VFS_SEALED, &f, &error), &error);
	for (int i = 0; i < STEPS; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		uint64_t at = (seed >> 33) % SIZE, n = (seed >> 20) % 40000;
		if (i % 7 == 3) {
			MUST(vfs_truncate(f, at, &error), &error);
			if (at < size)
				memset(model + at, 0, size - at);
			size = at;
		} else {
			if (i % 3 == 0)
				at = size;
			n = n < SIZE - at ? n : SIZE - at;
			for (uint64_t k = 0; k < n; k++)
				back[k] = (uint8_t)(seed + k);
			memcpy(model + at, back, n);
			struct iovec parts[2] = {{back, n / 3}, {back + n / 3, n - n / 3}};
			MUST(vfs_write(f, parts, 2, at, &error), &error);
			size = n > 0 && at + n > size ? at + n : size;
		}
		uint64_t said;
		size_t got;
		MUST(vfs_size(f, &said, &error), &error);
		cr_assert_eq(said, size, "step %d: %llu, not %llu", i, (unsigned long long)said,
			     (unsigned long long)size);
		MUST(vfs_read(f, back, SIZE, 0, 0, &got, &error), &error);
		cr_assert_eq(got, size);
		cr_assert(memcmp(back, model, size) == 0, "step %d", i);
	}
	MUST(vfs_sync(f, &error), &error);
	MUST(vfs_close(f, &error), &error);

	size_t got;
	MUST(vfs_open(sealed, "db/x", VFS_READ | VFS_SEALED, &g, &error), &error);
	MUST(vfs_read(g, back, SIZE, 0, 0, &got, &error), &error);
	cr_assert(got == size && memcmp(back, model, size) == 0);
	MUST(vfs_close(g, &error), &error);
	SUCCEED(vfs_memory_damage(v, "db/x", 32 + 32 + 5, 1));
	MUST(vfs_open(sealed, "db/x", VFS_READ | VFS_SEALED, &g, &error), &error);
	MUST_FAIL(vfs_read(g, back, SIZE, 0, 0, &got, &error), SETT_CORRUPT);
	MUST(vfs_close(g, &error), &error);
	free(model);
	free(back);
	sett_keyring_close(ring);
	test_vfs_destroy(v);
}

/* ---- the engine ---- */

/* All nonces that were ever used, by key. */
struct nonce {
	uint64_t key, counter;
};
struct nonces {
	struct mutex lock;
	struct nonce *all;
	size_t count, capacity;
};

static void
note_nonce(void *arg, uint64_t key, uint64_t counter)
{
	struct nonces *n = arg;
	mutex_lock(&n->lock);
	if (n->count == n->capacity) {
		n->capacity = n->capacity ? 2 * n->capacity : 1024;
		n->all = reallocarray(n->all, n->capacity, sizeof(*n->all));
		cr_assert_not_null(n->all);
	}
	n->all[n->count++] = (struct nonce){key, counter};
	mutex_unlock(&n->lock);
}

static int
compare_nonces(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct nonce));
}

static void
expect_no_nonce_twice(struct nonces *n)
{
	cr_assert_gt(n->count, 100);
	qsort(n->all, n->count, sizeof(*n->all), compare_nonces);
	for (size_t i = 1; i < n->count; i++)
		cr_assert(compare_nonces(&n->all[i - 1], &n->all[i]) != 0,
			  "nonce %llu of key %llx is used twice", (unsigned long long)n->all[i].counter,
			  (unsigned long long)n->all[i].key);
}

struct search {
	struct vfs *vfs;
	const char *directory, *marker;
	size_t files;
};

static int
look_into(void *arg, const char *name)
{
	struct search *s = arg;
	char path[SETT_TEST_PATH];
	struct buffer content;
	snprintf(path, sizeof(path), "%s/%s", s->directory, name);
	cr_assert(test_get_file(s->vfs, path, &content));
	void *found = memmem(content.data, content.size, s->marker, strlen(s->marker));
	cr_assert_null(found, "%s has '%s' at %zu", path, s->marker,
		       (size_t)((uint8_t *)found - content.data));
	s->files++;
	buffer_free(&content);
	return 0;
}

static void
expect_nowhere(struct vfs *v, const char *directory, const char *marker)
{
	struct sett_error error = {0};
	struct search s = {v, directory, marker, 0};
	MUST(vfs_list(v, directory, look_into, &s, &error), &error);
	cr_assert_gt(s.files, 3);
}

static struct sett_engine *
open_engine(struct vfs *v)
{
	struct sett_error error = {0};
	struct sett_engine *engine = NULL;
	struct sett_options options = {
		.vfs = v, .memory_budget = 1 << 20, .value_threshold = 256, .manual_work = true, .seed = 7};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	return engine;
}

static size_t
value_size(unsigned i)
{
	return i % 50 == 7 ? 1500000 : i % 3 == 0 ? 3000 : 40;
}

static void
fill(uint8_t *p, unsigned i)
{
	size_t size = value_size(i);
	for (size_t at = 0; at < size; at += 20)
		snprintf((char *)p + at, size - at < 20 ? size - at : 20, "VALUE-MARKER-%06u", i);
}

static void
put(struct sett_engine *engine, unsigned from, unsigned to)
{
	struct sett_txn *txn;
	SUCCEED(sett_txn_create(engine, &txn));
	for (unsigned i = from; i < to; i++) {
		char key[40];
		uint8_t *value = calloc(1, value_size(i) + 20);
		int n = snprintf(key, sizeof(key), "KEY-MARKER-%06u", i);
		fill(value, i);
		SUCCEED(sett_txn_begin(txn, 0));
		SUCCEED(sett_txn_put(txn, bytes_of(key, (size_t)n),
				     &(struct sett_put){.head = BYTES_LITERAL("HEAD-MARKER"),
							.body = bytes_of(value, value_size(i))}));
		SUCCEED(sett_txn_commit(txn, NULL, NULL));
		free(value);
	}
	sett_txn_destroy(txn);
}

static void
expect_all(struct sett_engine *engine, unsigned to)
{
	struct sett_txn *txn;
	struct sett_record record;
	struct bytes body;
	SUCCEED(sett_txn_create(engine, &txn));
	for (unsigned i = 0; i < to; i++) {
		char key[40];
		uint8_t *value = calloc(1, value_size(i) + 20);
		int n = snprintf(key, sizeof(key), "KEY-MARKER-%06u", i);
		fill(value, i);
		SUCCEED(sett_txn_begin(txn, 0));
		int r = sett_txn_get(txn, bytes_of(key, (size_t)n), &record);
		cr_assert_eq(r, SETT_OK, "%s: %d", key, r);
		r = sett_txn_body(txn, &record, &body);
		cr_assert_eq(r, SETT_OK, "%s: %d", key, r);
		cr_assert(bytes_equal(body, bytes_of(value, value_size(i))), "%s is another", key);
		sett_txn_discard(txn);
		free(value);
	}
	sett_txn_destroy(txn);
}

Test(encryption, nothing_of_keys_and_values_is_in_any_file, .timeout = 300)
{
	enum { KEYS = 300 };
	static const char *const markers[] = {"KEY-MARKER", "VALUE-MARKER", "HEAD-MARKER", "MARKER-0000"};
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct nonces nonces = {0};
	mutex_init(&nonces.lock);
	for (unsigned life = 0; life < 4; life++) {
		struct keyring *ring = open_ring(v, "db", master);
		sett_keyring_observe(ring, note_nonce, &nonces);
		struct sett_engine *engine = open_engine(sett_keyring_vfs(ring));
		expect_all(engine, life * KEYS);
		put(engine, life * KEYS, (life + 1) * KEYS);
		if (life == 1)
			MUST(sett_engine_flush(engine, &error), &error);
		if (life == 2)
			MUST(sett_engine_compact(engine, &error), &error);
		expect_all(engine, (life + 1) * KEYS);
		MUST(sett_engine_close(engine, &error), &error);
		sett_keyring_close(ring);
		for (size_t i = 0; i < sizeof(markers) / sizeof(*markers); i++)
			expect_nowhere(v, "db", markers[i]);
	}
	expect_no_nonce_twice(&nonces);
	free(nonces.all);
	test_vfs_destroy(v);
}

Test(encryption, an_engine_says_in_one_line_what_the_key_is_not)
{
	struct vfs *v = test_memory_vfs("db"), *plain = test_memory_vfs("db");
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_options options = {.vfs = v, .memory_budget = 1 << 20, .manual_work = true};
	struct keyring *ring = open_ring(v, "db", master);
	engine = open_engine(sett_keyring_vfs(ring));
	put(engine, 0, 10);
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);
	MUST_FAIL(sett_engine_open("db", &options, &engine, &error), SETT_INVALID);
	cr_assert_str_eq(error.message, "db: the database is encrypted, and no key was given");

	engine = open_engine(plain);
	put(engine, 0, 10);
	MUST(sett_engine_close(engine, &error), &error);
	ring = open_ring(plain, "db", master);
	options.vfs = sett_keyring_vfs(ring);
	MUST_FAIL(sett_engine_open("db", &options, &engine, &error), SETT_INVALID);
	cr_assert_str_eq(error.message, "db: a key was given, and the database is not encrypted");
	/* It becomes it where that is asked for. */
	sett_keyring_set_converts(ring, true);
	engine = open_engine(options.vfs);
	put(engine, 10, 20);
	expect_all(engine, 20);
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);
	test_vfs_destroy(v);
	test_vfs_destroy(plain);
}

Test(encryption, a_checkpoint_has_the_keys_and_goes_on_by_its_own)
{
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct nonces nonces = {0};
	mutex_init(&nonces.lock);
	struct keyring *ring = open_ring(v, "db", master), *copy;
	sett_keyring_observe(ring, note_nonce, &nonces);
	struct sett_engine *engine = open_engine(sett_keyring_vfs(ring)), *second;
	put(engine, 0, 100);
	MUST(sett_checkpoint(engine, "copy", NULL, &error), &error);
	expect_nowhere(v, "copy", "MARKER-0000");
	copy = open_ring(v, "copy", master);
	sett_keyring_observe(copy, note_nonce, &nonces);
	struct sett_options options = {
		.vfs = sett_keyring_vfs(copy), .memory_budget = 1 << 20, .manual_work = true};
	MUST(sett_engine_open("copy", &options, &second, &error), &error);
	expect_all(second, 100);
	put(second, 100, 120);
	put(engine, 100, 120);
	MUST(sett_engine_close(second, &error), &error);
	MUST(sett_engine_close(engine, &error), &error);
	expect_no_nonce_twice(&nonces);
	sett_keyring_close(copy);
	sett_keyring_close(ring);
	free(nonces.all);
	test_vfs_destroy(v);
}

/* ---- rewriting ---- */

static uint64_t
keys_of(struct keyring *ring)
{
	struct keyring_figures f;
	sett_keyring_figures(ring, &f);
	return f.keys;
}

Test(encryption, a_rewriting_leaves_one_key_and_nothing_plain, .timeout = 300)
{
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct sett_engine *engine = open_engine(v);
	put(engine, 0, 150);
	MUST(sett_engine_close(engine, &error), &error);

	struct keyring *ring = open_ring(v, "db", master);
	sett_keyring_set_converts(ring, true);
	engine = open_engine(sett_keyring_vfs(ring));
	cr_assert(sett_keyring_has_plain(ring));
	put(engine, 150, 200);
	MUST(sett_engine_rewrite(engine, NULL, NULL, &error), &error);
	cr_assert(!sett_keyring_has_plain(ring));
	cr_assert_eq(keys_of(ring), 1);
	expect_all(engine, 200);
	expect_nowhere(v, "db", "MARKER-0000");
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);

	for (unsigned life = 0; life < 3; life++) {
		ring = open_ring(v, "db", master);
		engine = open_engine(sett_keyring_vfs(ring));
		expect_all(engine, 200);
		cr_assert_eq(keys_of(ring), 2 + life);
		MUST(sett_engine_close(engine, &error), &error);
		sett_keyring_close(ring);
	}
	ring = open_ring(v, "db", master);
	engine = open_engine(sett_keyring_vfs(ring));
	MUST(sett_engine_rewrite(engine, NULL, NULL, &error), &error);
	cr_assert_eq(keys_of(ring), 1);
	expect_all(engine, 200);
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);
	ring = open_ring(v, "db", master);
	engine = open_engine(sett_keyring_vfs(ring));
	expect_all(engine, 200);
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);
	test_vfs_destroy(v);
}

/* A power cut at each operation of a rewriting that encrypts a plain database: all is there, and another one ends it. */
static void
expect_cuts_harmless(enum vfs_crash_mode mode)
{
	enum { KEYS = 30, STEP = 3 };
	bool was_cut = true;
	unsigned cuts = 0;
	for (uint64_t n = 1; was_cut; n += STEP, cuts++) {
		struct vfs *v = test_memory_vfs("db");
		struct sett_error error = {0};
		struct sett_engine *engine = open_engine(v);
		put(engine, 0, KEYS);
		MUST(sett_engine_close(engine, &error), &error);
		struct keyring *ring = open_ring(v, "db", master);
		sett_keyring_set_converts(ring, true);
		struct test_cut cut;
		test_cut_arm(&cut, v, n, mode, n);
		engine = open_engine(sett_keyring_vfs(ring));
		MUST(sett_engine_rewrite(engine, NULL, NULL, &error), &error);
		was_cut = cut.clone != NULL;
		MUST(sett_engine_close(engine, &error), &error);
		sett_keyring_close(ring);
		if (was_cut) {
			vfs_memory_on_operation(v, 0, NULL, NULL);
			ring = open_ring(cut.clone, "db", master);
			sett_keyring_set_converts(ring, true);
			engine = open_engine(sett_keyring_vfs(ring));
			expect_all(engine, KEYS);
			MUST(sett_engine_rewrite(engine, NULL, NULL, &error), &error);
			expect_all(engine, KEYS);
			cr_assert_eq(keys_of(ring), 1);
			expect_nowhere(cut.clone, "db", "MARKER-0000");
			MUST(sett_engine_close(engine, &error), &error);
			sett_keyring_close(ring);
			test_vfs_destroy(cut.clone);
		}
		test_vfs_destroy(v);
	}
	cr_assert_gt(cuts, 10);
}

Test(encryption, a_rewriting_that_is_cut_loses_nothing, .timeout = 300)
{
	expect_cuts_harmless(VFS_CRASH_DROP);
	expect_cuts_harmless(VFS_CRASH_RANDOM);
}

Test(encryption, what_is_not_sealed_is_refused_where_all_is)
{
	struct vfs *v = test_memory_vfs("db");
	struct sett_error error = {0};
	struct keyring *ring = open_ring(v, "db", master);
	struct sett_engine *engine = open_engine(sett_keyring_vfs(ring));
	put(engine, 0, 20);
	MUST(sett_engine_close(engine, &error), &error);
	sett_keyring_close(ring);
	/* Somebody puts another database in its place. */
	struct vfs *plain = test_memory_vfs("db");
	engine = open_engine(plain);
	put(engine, 0, 20);
	MUST(sett_engine_close(engine, &error), &error);
	struct buffer content = {0};
	cr_assert(test_get_file(plain, "db/MANIFEST", &content));
	MUST(vfs_remove(v, "db/MANIFEST", &error), &error);
	test_put_file(v, "db/MANIFEST", buffer_bytes(&content));
	buffer_free(&content);
	ring = open_ring(v, "db", master);
	struct sett_options options = {
		.vfs = sett_keyring_vfs(ring), .memory_budget = 1 << 20, .manual_work = true};
	MUST_FAIL(sett_engine_open("db", &options, &engine, &error), SETT_CORRUPT);
	cr_assert_str_eq(error.message,
			 "db/MANIFEST at offset 0: it is not encrypted, though the database is");
	sett_keyring_close(ring);
	test_vfs_destroy(plain);
	test_vfs_destroy(v);
}
