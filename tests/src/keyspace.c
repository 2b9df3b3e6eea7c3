/* The keyspace under transactions of its own. */
#include "keyspace/describe.h"
#include "keyspace/key.h"
#include "keyspace/libraries.h"
#include "server_support.h"

struct session {
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
};

static void
session_open(struct fixture *f, struct session *s)
{
	arena_init(&s->arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &s->txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(s->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(keyspace_begin(&s->view, f->server.keyspace, s->txn, &s->arena), SETT_OK);
}

static void
publish(void *arg, uint64_t timestamp)
{
	if (timestamp != 0)
		keyspace_publish(arg, timestamp);
}

static int
session_commit(struct session *s)
{
	struct sett_commit_hooks hooks = {.publish = publish, .arg = &s->view};
	int status = sett_txn_commit(s->txn, &hooks, NULL);
	sett_txn_destroy(s->txn);
	arena_free(&s->arena);
	return status;
}

static int
put(struct session *s, const char *key, const char *value)
{
	struct key k;
	int status = key_open(&s->view, 0, bytes_of_string(key), &k);
	return status == SETT_OK ? key_put_string(&k, bytes_of_string(value), 0) : status;
}

static bool
exists(struct session *s, const char *key)
{
	struct key k;
	cr_assert_eq(key_open(&s->view, 0, bytes_of_string(key), &k), SETT_OK);
	return k.exists;
}

static int64_t
count(struct fixture *f)
{
	struct session s;
	int64_t keys, expires;
	session_open(f, &s);
	cr_assert_eq(keyspace_count(&s.view, 0, &keys, &expires), SETT_OK);
	cr_assert_eq(session_commit(&s), SETT_OK);
	return keys;
}

/* Two that create the same key: one must lose, or it would count twice. */
Test(keyspace, one_of_two_creators_loses)
{
	struct fixture *f = fixture_open();
	struct session a, b;
	session_open(f, &a);
	session_open(f, &b);
	cr_assert_eq(put(&a, "k", "1"), SETT_OK);
	cr_assert_eq(put(&b, "k", "2"), SETT_OK);
	cr_assert_eq(session_commit(&a), SETT_OK);
	cr_assert_eq(session_commit(&b), SETT_CONFLICT);
	cr_assert_eq(count(f), 1);
	fixture_close(f);
}

/* A write into an epoch that was flushed meanwhile. */
Test(keyspace, nobody_writes_into_a_dropped_epoch)
{
	struct fixture *f = fixture_open();
	struct session setup, writer, flusher, late;
	session_open(f, &setup);
	cr_assert_eq(put(&setup, "k", "1"), SETT_OK);
	cr_assert_eq(session_commit(&setup), SETT_OK);
	session_open(f, &writer);
	session_open(f, &late);
	session_open(f, &flusher);
	cr_assert_eq(put(&writer, "other", "1"), SETT_OK);
	cr_assert_eq(keyspace_flush(&flusher.view, 0), SETT_OK);
	cr_assert_eq(session_commit(&flusher), SETT_OK);
	cr_assert_eq(session_commit(&writer), SETT_CONFLICT);
	/* A snapshot from before finds the epoch moved. */
	cr_assert_eq(put(&late, "other", "1"), SETT_CONFLICT);
	sett_txn_discard(late.txn);
	sett_txn_destroy(late.txn);
	arena_free(&late.arena);
	cr_assert_eq(count(f), 0);
	fixture_close(f);
}

/* "Which keys exist" is in the read set of whoever counts or walks (no phantoms). */
Test(keyspace, a_count_conflicts_with_a_creation)
{
	struct fixture *f = fixture_open();
	struct session reader, creator;
	int64_t keys, expires;
	session_open(f, &reader);
	session_open(f, &creator);
	cr_assert_eq(keyspace_count(&reader.view, 0, &keys, &expires), SETT_OK);
	cr_assert_eq(put(&reader, "sum", "0"), SETT_OK);
	cr_assert_eq(put(&creator, "k", "1"), SETT_OK);
	cr_assert_eq(session_commit(&creator), SETT_OK);
	cr_assert_eq(session_commit(&reader), SETT_CONFLICT);
	fixture_close(f);
}

Test(keyspace, rollback_restores_epochs_and_counts)
{
	struct fixture *f = fixture_open();
	struct session s;
	int64_t keys, expires;
	session_open(f, &s);
	cr_assert_eq(put(&s, "a", "1"), SETT_OK);
	struct keyspace_savepoint point;
	keyspace_savepoint(&s.view, &point);
	cr_assert_eq(keyspace_flush(&s.view, 0), SETT_OK);
	cr_assert_eq(keyspace_swap(&s.view, 0, 1), SETT_OK);
	cr_assert_eq(put(&s, "b", "1"), SETT_OK);
	cr_assert(!exists(&s, "a"));
	keyspace_rollback(&s.view, &point);
	cr_assert(exists(&s, "a"));
	cr_assert(!exists(&s, "b"));
	cr_assert_eq(keyspace_count(&s.view, 0, &keys, &expires), SETT_OK);
	cr_assert_eq(keys, 1);
	cr_assert_eq(s.view.first_touched, s.view.last_touched);
	cr_assert_eq(session_commit(&s), SETT_OK);
	cr_assert_eq(count(f), 1);
	fixture_close(f);
}

/* The counters against a model, through a restart. */
Test(keyspace, counts_are_exact)
{
	struct fixture *f = fixture_open();
	bool there[20] = {0};
	uint64_t state = 12345;
	for (int i = 0; i < 3000; i++) {
		char line[64];
		state = state * 6364136223846793005u + 1442695040888963407u;
		unsigned key = (unsigned)(state >> 33) % 20, other = (unsigned)(state >> 40) % 20;
		switch ((state >> 50) % 6) {
		case 0:
		case 1:
			snprintf(line, sizeof(line), "SET k%u v", key);
			there[key] = true;
			break;
		case 2:
			snprintf(line, sizeof(line), "DEL k%u", key);
			there[key] = false;
			break;
		case 3:
			snprintf(line, sizeof(line), "RENAME k%u k%u", key, other);
			if (there[key] && key != other) {
				there[other] = true;
				there[key] = false;
			}
			break;
		case 4:
			snprintf(line, sizeof(line), "SET k%u v PX 1", key);
			there[key] = true;
			break;
		default:
			snprintf(line, sizeof(line), "EXPIREAT k%u 1", key);
			there[key] = false;
			break;
		}
		fixture_run_line(f, 0, line);
		if (i == 1500) {
			fixture_stop(f);
			fixture_start(f);
		}
	}
	int64_t expected = 0;
	for (int i = 0; i < 20; i++)
		expected += there[i];
	cr_assert_eq(count(f), expected);
	fixture_close(f);
}

/* ---- objects ---- */

/* What a spread collection leaves in the tree: a root with an object, and one element. */
static uint64_t
put_object(struct session *s, const char *name, uint64_t expires_at)
{
	struct key k;
	uint64_t object = 0;
	uint8_t element[ELEMENT_PREFIX_SIZE + 1] = {0};
	cr_assert_eq(key_open(&s->view, 0, bytes_of_string(name), &k), SETT_OK);
	cr_assert_eq(keyspace_take_object(&s->view, &object), SETT_OK);
	struct root_content content = {.type = VALUE_HASH,
				       .encoding = STRING_RAW,
				       .object = object,
				       .object_bytes = 100,
				       .fields = BYTES_LITERAL("own"),
				       .expires_at = expires_at};
	cr_assert_eq(key_put(&k, &content), SETT_OK);
	keyspace_element_prefix(element, k.epoch, object);
	cr_assert_eq(sett_txn_put(s->txn, bytes_of(element, sizeof(element)), &(struct sett_put){0}),
		     SETT_OK);
	return object;
}

static size_t
count_elements(struct fixture *f)
{
	struct session s;
	struct sett_iterator *iterator;
	size_t elements = 0;
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	session_open(f, &s);
	struct sett_iterator_options bounds = {.lower = BYTES_LITERAL("\2"), .upper = BYTES_LITERAL("\3")};
	cr_assert_eq(sett_iterator_open(s.txn, &bounds, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator))
		elements++;
	cr_assert_eq(session_commit(&s), SETT_OK); /* which closes the iterator */
	return elements;
}

Test(keyspace, object_ids_are_never_used_twice)
{
	struct fixture *f = fixture_open();
	struct session s;
	uint64_t last = 0;
	for (int start = 0; start < 3; start++) {
		session_open(f, &s);
		for (int i = 0; i < 100000; i++) {
			uint64_t object;
			cr_assert_eq(keyspace_take_object(&s.view, &object), SETT_OK);
			cr_assert_gt(object, last);
			last = object;
		}
		sett_txn_discard(s.txn);
		sett_txn_destroy(s.txn);
		arena_free(&s.arena);
		fixture_stop(f);
		fixture_start(f);
	}
	fixture_close(f);
}

/* Whatever removes a root drops its elements; what only moves it does not. */
Test(keyspace, elements_go_with_their_root)
{
	static const char *const ends[] = {"DEL h", "SET h v", "RENAME other h", "FLUSHDB"};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct fixture *f = fixture_open();
		struct session s;
		session_open(f, &s);
		put_object(&s, "h", 0);
		cr_assert_eq(put(&s, "other", "1"), SETT_OK);
		cr_assert_eq(session_commit(&s), SETT_OK);
		fixture_run_line(f, 0, "PEXPIRE h 100000");
		fixture_run_line(f, 0, "PERSIST h");
		fixture_run_line(f, 0, "RENAME h moved");
		cr_assert_eq(count_elements(f), 1);
		fixture_run_line(f, 0, "RENAME moved h");
		fixture_run_line(f, 0, ends[i]);
		cr_assert_eq(count_elements(f), 0, "after %s", ends[i]);
		fixture_close(f);
	}
}

/* An overwrite of a key that has expired, and nobody deleted, must drop what the record leaves too. */
Test(keyspace, elements_of_an_expired_key_go_with_the_overwrite)
{
	struct fixture *f = fixture_open();
	struct session s;
	session_open(f, &s);
	put_object(&s, "h", f->now_ms + 10);
	cr_assert_eq(session_commit(&s), SETT_OK);
	__atomic_store_n(&f->now_ms, f->now_ms + 100, __ATOMIC_RELAXED);
	session_open(f, &s);
	cr_assert(!exists(&s, "h"));
	cr_assert_eq(put(&s, "h", "1"), SETT_OK);
	cr_assert_eq(session_commit(&s), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	cr_assert_eq(count(f), 1);
	fixture_close(f);
}

/* All that a head can have, under keys of every length, through a rename that changes where the text is. */
Test(keyspace, heads_keep_their_parts)
{
	static const size_t sizes[] = {1, KEYSPACE_MAX_KEY_SIZE + 1, 65000, 65472, 70000};
	struct fixture *f = fixture_open();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct session s;
		struct key k, to;
		struct bytes body;
		char *name = calloc(1, sizes[i] + 1);
		memset(name, 'a' + (int)i, sizes[i]);
		session_open(f, &s);
		cr_assert_eq(key_open(&s.view, 0, bytes_of(name, sizes[i]), &k), SETT_OK);
		struct root_content content = {.type = VALUE_HASH,
					       .encoding = STRING_RAW,
					       .object = 7 + i,
					       .object_bytes = 1000,
					       .due_at = f->now_ms + 1000,
					       .expires_at = f->now_ms + 5000,
					       .fields = BYTES_LITERAL("fields of the type"),
					       .value = BYTES_LITERAL("value")};
		cr_assert_eq(key_put(&k, &content), SETT_OK);
		cr_assert_eq(key_open(&s.view, 0, bytes_of(name, sizes[i]), &k), SETT_OK);
		cr_assert_eq(k.root.record.expires_at, f->now_ms + 1000);
		cr_assert_eq(key_open(&s.view, 0, BYTES_LITERAL("short"), &to), SETT_OK);
		cr_assert_eq(key_rename(&k, &to), SETT_OK);
		cr_assert_eq(key_open(&s.view, 0, BYTES_LITERAL("short"), &to), SETT_OK);
		cr_assert_eq(key_open(&s.view, 0, bytes_of(name, sizes[i]), &k), SETT_OK);
		cr_assert(!k.exists);
		cr_assert_eq(key_rename(&to, &k), SETT_OK);
		cr_assert_eq(key_open(&s.view, 0, bytes_of(name, sizes[i]), &k), SETT_OK);
		cr_assert(k.exists && k.root.object == 7 + i && k.root.object_bytes == 1000);
		cr_assert_eq(k.root.due_at, f->now_ms + 1000);
		cr_assert_eq(k.root.expires_at, f->now_ms + 5000);
		cr_assert(bytes_equal(k.root.fields, BYTES_LITERAL("fields of the type")));
		cr_assert_eq(key_body(&k, &body), SETT_OK);
		cr_assert(bytes_equal(body, BYTES_LITERAL("value")));
		cr_assert_eq(session_commit(&s), SETT_OK);
		free(name);
	}
	fixture_close(f);
}

/* The example of docs/format-keyspace.md. */
Test(keyspace, the_bytes_of_the_format)
{
	static const struct {
		struct bytes key, head, body;
	} expected[] = {
		{BYTES_LITERAL("\0e\0\0"), BYTES_LITERAL("\1\0\0\0\0\0\0\0"), BYTES_LITERAL("")},
		{BYTES_LITERAL("\0n"), BYTES_LITERAL("\2\0\0\0\0\0\0\0"), BYTES_LITERAL("")},
		{BYTES_LITERAL("\1\0\0\0\0\0\0\0\1a"), BYTES_LITERAL("\1\1\0"), BYTES_LITERAL("7")},
	};
	struct sett_engine *engine;
	struct sett_error error;
	struct sett_iterator *iterator;
	struct fixture f = {.vfs = vfs_memory_create()};
	struct session s;
	cr_assert_eq(sett_engine_open("db", &(struct sett_options){.vfs = f.vfs, .seed = 1}, &engine, &error),
		     SETT_OK);
	cr_assert_eq(keyspace_open(engine, 1, &f.server.keyspace, &error), SETT_OK);
	f.server.engine = engine;
	session_open(&f, &s);
	cr_assert_eq(put(&s, "a", "7"), SETT_OK);
	cr_assert_eq(session_commit(&s), SETT_OK);
	session_open(&f, &s);
	cr_assert_eq(sett_iterator_open(s.txn, &(struct sett_iterator_options){0}, &iterator), SETT_OK);
	int status = sett_iterator_first(iterator);
	for (size_t i = 0; i < 3; i++) {
		struct sett_record record;
		struct bytes body;
		cr_assert_eq(status, SETT_OK);
		/* Random bytes. */
		if (bytes_equal(sett_iterator_key(iterator), BYTES_LITERAL("\0s")))
			status = sett_iterator_next(iterator);
		cr_assert_eq(status, SETT_OK);
		cr_assert(bytes_equal(sett_iterator_key(iterator), expected[i].key), "key %zu", i);
		cr_assert_eq(sett_iterator_record(iterator, &record), SETT_OK);
		cr_assert(bytes_equal(record.head, expected[i].head), "head %zu", i);
		cr_assert_eq(sett_txn_body(s.txn, &record, &body), SETT_OK);
		cr_assert(bytes_equal(body, expected[i].body), "body %zu", i);
		status = sett_iterator_next(iterator);
	}
	cr_assert_eq(status, SETT_NOT_FOUND);
	sett_iterator_close(iterator);
	cr_assert_eq(session_commit(&s), SETT_OK);
	keyspace_close(f.server.keyspace);
	cr_assert_eq(sett_engine_close(engine, &error), SETT_OK);
	f.vfs->operations->destroy(f.vfs);
}

Test(keyspace, what_engine_keys_stand_for)
{
	struct engine_key k = keyspace_describe_key(BYTES_LITERAL("\0e\1\2"));
	cr_assert_eq(k.kind, ENGINE_KEY_EPOCH);
	cr_assert_eq(k.db, 258);
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0n")).kind, ENGINE_KEY_NEXT_EPOCH);
	k = keyspace_describe_key(BYTES_LITERAL("\1\0\0\0\0\0\0\0\7name"));
	cr_assert_eq(k.kind, ENGINE_KEY_ROOT);
	cr_assert_eq(k.epoch, 7);
	cr_assert(bytes_equal(k.name, BYTES_LITERAL("name")) && !k.is_cut);
	k = keyspace_describe_key(BYTES_LITERAL("\2\0\0\0\0\0\0\0\7\0\0\0\0\0\0\1\2element"));
	cr_assert_eq(k.kind, ENGINE_KEY_ELEMENT);
	cr_assert(k.epoch == 7 && k.object == 258 && bytes_equal(k.name, BYTES_LITERAL("element")));
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0o")).kind, ENGINE_KEY_NEXT_OBJECT);
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0s")).kind, ENGINE_KEY_MEMBER_SEED);
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0f")).kind, ENGINE_KEY_KNOWN_FILES);
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0c")).kind, ENGINE_KEY_STEM_COUNT);
	k = keyspace_describe_key(BYTES_LITERAL("\0c\0\0\0\1\0\0\1\2"));
	cr_assert(k.kind == ENGINE_KEY_STEM && k.generation == 1 && k.number == 258);
	cr_assert_eq(keyspace_describe_key(BYTES_LITERAL("\0l")).kind, ENGINE_KEY_LIBRARIES);
	k = keyspace_describe_key(BYTES_LITERAL("\0lname"));
	cr_assert(k.kind == ENGINE_KEY_LIBRARY && bytes_equal(k.name, BYTES_LITERAL("name")));
	static uint8_t cut[9 + KEYSPACE_MAX_KEY_SIZE + 16] = {1};
	k = keyspace_describe_key(bytes_of(cut, sizeof(cut)));
	cr_assert(k.kind == ENGINE_KEY_ROOT && k.is_cut && k.name.size == KEYSPACE_MAX_KEY_SIZE);
	static const struct bytes others[] = {BYTES_LITERAL(""),
					      BYTES_LITERAL("\0"),
					      BYTES_LITERAL("\0x"),
					      BYTES_LITERAL("\0e\1"),
					      BYTES_LITERAL("\1short"),
					      BYTES_LITERAL("\2\0\0\0\0\0\0\0\7\0"),
					      BYTES_LITERAL("a key of somebody else")};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_assert_eq(keyspace_describe_key(others[i]).kind, ENGINE_KEY_OTHER, "%zu", i);
}

/* (I18) A walk that leaves out a key because its deadline has passed has seen it pass, as a lookup has. */
Test(keyspace, a_walk_agrees_with_others_which_keys_are_there)
{
	struct fixture *f = fixture_open();
	struct session writer, reader;
	struct keyspace_cursor *cursor;
	struct key k;
	EXPECT(f, 0, "SET k v PX 100", "+OK");
	session_open(f, &writer);
	cr_assert(exists(&writer, "k"));
	cr_assert_eq(put(&writer, "other", "1"), SETT_OK);
	fixture_advance(f, 101);
	session_open(f, &reader);
	cr_assert_eq(keyspace_cursor_open(&reader.view, 0, (struct bytes){0}, (struct bytes){0}, &cursor),
		     SETT_OK);
	cr_assert_eq(keyspace_cursor_next(cursor, &k), SETT_NOT_FOUND);
	keyspace_cursor_close(cursor);
	cr_assert_eq(session_commit(&reader), SETT_OK);
	cr_assert_eq(session_commit(&writer), SETT_CONFLICT);
	fixture_close(f);
}

static void
reopen(struct fixture *f, unsigned databases)
{
	struct sett_error error;
	keyspace_close(f->server.keyspace);
	cr_assert_eq(keyspace_open(f->server.engine, databases, &f->server.keyspace, &error), SETT_OK, "%s",
		     error.message);
}

static void
put_in(struct session *s, unsigned db, const char *key, const char *value)
{
	struct key k;
	cr_assert_eq(key_open(&s->view, db, bytes_of_string(key), &k), SETT_OK);
	cr_assert_eq(key_put_string(&k, bytes_of_string(value), 0), SETT_OK);
}

/* The databases beyond those that are always walked which hold a key or were used, as text. */
static void
expect_in_use(struct fixture *f, const char *expected)
{
	const struct keyspace *k = f->server.keyspace;
	char text[128] = "";
	for (unsigned db = 16384; (db = keyspace_next_database(k, db)) < keyspace_databases(k); db++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%u ", db);
	cr_assert_str_eq(text, expected);
}

static void
expect_value_in(struct fixture *f, unsigned db, const char *key, const char *expected)
{
	struct session s;
	struct key k;
	struct bytes body;
	unsigned parsed;
	session_open(f, &s);
	cr_assert_eq(key_open(&s.view, db, bytes_of_string(key), &k), SETT_OK);
	cr_assert_eq(k.exists, expected != NULL, "%u %s", db, key);
	if (expected != NULL) {
		cr_assert_eq(key_body(&k, &body), SETT_OK);
		cr_assert(bytes_equal(body, bytes_of_string(expected)));
		cr_assert(keyspace_parse_root_key(f->server.keyspace, k.engine_key.bytes, &parsed, &body));
		cr_assert_eq(parsed, db);
		cr_assert(bytes_equal(body, bytes_of_string(key)));
	}
	cr_assert_eq(session_commit(&s), SETT_OK);
}

/* Databases whose epochs are their numbers, until they are flushed or swapped. */
Test(keyspace, a_million_databases)
{
	enum { COUNT = 1000000, LAST = COUNT - 1 };
	struct fixture *f = fixture_open();
	struct session s;
	reopen(f, COUNT);
	expect_in_use(f, "");
	session_open(f, &s);
	put_in(&s, LAST, "a", "last");
	put_in(&s, 70000, "a", "seventy");
	put_in(&s, 16384, "a", "first beyond");
	put_in(&s, 0, "a", "zero");
	for (unsigned db = 20000; db < 20010; db++)
		put_in(&s, db, "a", "more than the view's first table has room for");
	cr_assert_eq(session_commit(&s), SETT_OK);
	session_open(f, &s);
	for (unsigned db = 20000; db < 20010; db++)
		cr_assert_eq(keyspace_flush(&s.view, db), SETT_OK);
	put_in(&s, 20001, "b", "after the flush");
	cr_assert_eq(keyspace_swap(&s.view, 0, LAST), SETT_OK);
	cr_assert_eq(keyspace_swap(&s.view, 70000, 65537), SETT_OK);
	cr_assert_eq(session_commit(&s), SETT_OK);
	for (int round = 0; round < 2; round++) {
		expect_value_in(f, LAST, "a", "zero");
		expect_value_in(f, 0, "a", "last");
		expect_value_in(f, 70000, "a", NULL);
		expect_value_in(f, 65537, "a", "seventy");
		expect_value_in(f, 16384, "a", "first beyond");
		expect_value_in(f, 20000, "a", NULL);
		expect_value_in(f, 20001, "a", NULL);
		expect_value_in(f, 20001, "b", "after the flush");
		reopen(f, COUNT);
	}
	expect_in_use(
		f, "16384 20000 20001 20002 20003 20004 20005 20006 20007 20008 20009 65537 70000 999999 ");
	/* What a smaller number leaves out comes back with the larger one. */
	reopen(f, 16);
	expect_value_in(f, 0, "a", "last");
	expect_in_use(f, "");
	reopen(f, COUNT);
	expect_value_in(f, LAST, "a", "zero");
	fixture_close(f);
}

Test(keyspace, refuses_too_many_databases)
{
	struct fixture *f = fixture_open();
	struct keyspace *k = NULL;
	struct sett_error error;
	cr_assert_eq(keyspace_open(f->server.engine, 0, &k, &error), SETT_INVALID);
	cr_assert_eq(keyspace_open(f->server.engine, (unsigned)INT32_MAX + 1, &k, &error), SETT_INVALID);
	cr_assert_null(k);
	fixture_close(f);
}

/* ---- libraries of functions ---- */

static int
note_library(void *arg, const struct library *library)
{
	char *text = arg;
	size_t size = strlen(text);
	snprintf(text + size, 200 - size, "%.*s:%llu ", (int)library->name.size,
		 (const char *)library->name.data, (unsigned long long)library->functions);
	return library->name.data[0] == 'z' ? SETT_ABORTED : SETT_OK;
}

static void
expect_libraries(struct session *s, const char *expected, uint64_t libraries, uint64_t functions,
		 uint64_t bytes)
{
	char text[200] = "";
	struct libraries_state state;
	cr_assert_eq(libraries_walk(&s->view, note_library, text), SETT_OK);
	cr_expect_str_eq(text, expected);
	cr_assert_eq(libraries_read(&s->view, &state), SETT_OK);
	cr_expect(state.libraries == libraries && state.functions == functions && state.bytes == bytes);
}

static uint64_t
libraries_version(struct session *s)
{
	struct libraries_state state;
	cr_assert_eq(libraries_read(&s->view, &state), SETT_OK);
	return state.version;
}

static int
expect_text(void *arg, const struct library *library)
{
	struct session *s = arg;
	struct bytes text;
	cr_assert_eq(library_text(&s->view, library, &text), SETT_OK);
	cr_expect(bytes_equal(text, BYTES_LITERAL("the text")));
	return SETT_OK;
}

Test(keyspace, libraries_are_kept_with_a_version_of_all)
{
	struct fixture *f = fixture_open();
	struct session s;
	session_open(f, &s);
	expect_libraries(&s, "", 0, 0, 0);
	cr_assert_eq(libraries_version(&s), 0);
	cr_assert_eq(library_delete(&s.view, BYTES_LITERAL("b")), SETT_NOT_FOUND);
	cr_assert_eq(library_put(&s.view, BYTES_LITERAL("b"), BYTES_LITERAL("the text"), 3), SETT_OK);
	cr_assert_eq(libraries_version(&s), UINT64_MAX);
	cr_assert_eq(library_put(&s.view, BYTES_LITERAL("a"), BYTES_LITERAL("the text"), 2), SETT_OK);
	expect_libraries(&s, "a:2 b:3 ", 2, 5, 16);
	cr_assert_eq(session_commit(&s), SETT_OK);
	session_open(f, &s);
	uint64_t version = libraries_version(&s);
	cr_assert(version != 0 && version != UINT64_MAX);
	expect_libraries(&s, "a:2 b:3 ", 2, 5, 16);
	cr_assert_eq(libraries_walk(&s.view, expect_text, &s), SETT_OK);
	cr_assert_eq(library_put(&s.view, BYTES_LITERAL("b"), BYTES_LITERAL("another"), 1), SETT_OK);
	expect_libraries(&s, "a:2 b:1 ", 2, 3, 15);
	cr_assert_eq(library_delete(&s.view, BYTES_LITERAL("a")), SETT_OK);
	expect_libraries(&s, "b:1 ", 1, 1, 7);
	cr_assert_eq(session_commit(&s), SETT_OK);
	session_open(f, &s);
	cr_assert_gt(libraries_version(&s), version);
	cr_assert_eq(libraries_clear(&s.view), SETT_OK);
	expect_libraries(&s, "", 0, 0, 0);
	cr_assert_eq(session_commit(&s), SETT_OK);
	session_open(f, &s);
	expect_libraries(&s, "", 0, 0, 0);
	cr_assert_neq(libraries_version(&s), 0);
	cr_assert_eq(session_commit(&s), SETT_OK);
	fixture_close(f);
}

Test(keyspace, who_looked_at_libraries_conflicts_with_a_change)
{
	struct fixture *f = fixture_open();
	struct session reader, writer;
	session_open(f, &reader);
	cr_assert_eq(libraries_version(&reader), 0);
	session_open(f, &writer);
	cr_assert_eq(library_put(&writer.view, BYTES_LITERAL("b"), BYTES_LITERAL("the text"), 3), SETT_OK);
	cr_assert_eq(session_commit(&writer), SETT_OK);
	cr_assert_eq(put(&reader, "key", "value"), SETT_OK);
	cr_assert_eq(session_commit(&reader), SETT_CONFLICT);
	fixture_close(f);
}

Test(keyspace, names_of_libraries_have_a_limit)
{
	static uint8_t name[LIBRARY_NAME_MAX + 1];
	struct fixture *f = fixture_open();
	struct session s;
	session_open(f, &s);
	memset(name, 'n', sizeof(name));
	cr_assert_eq(library_put(&s.view, bytes_of(name, sizeof(name)), BYTES_LITERAL("x"), 1),
		     SETT_TOO_LARGE);
	cr_assert_eq(library_put(&s.view, bytes_of(name, LIBRARY_NAME_MAX), BYTES_LITERAL("x"), 1), SETT_OK);
	cr_assert_eq(library_delete(&s.view, bytes_of(name, sizeof(name))), SETT_NOT_FOUND);
	cr_assert_eq(session_commit(&s), SETT_OK);
	fixture_close(f);
}
