/* Hashes through the runner: both layouts against a simple map, walks, random fields, and the bytes on disk. */
#include "collection_support.h"

#include <stdio.h>

#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "storage/base/varint.h"

/* ---- a model ---- */

enum { MODEL_FIELDS = 40, MODEL_KEYS = 3, MODEL_VALUE = 400 };

struct model_field {
	bool exists;
	size_t size;
	char value[MODEL_VALUE];
};
struct model {
	struct model_field fields[MODEL_KEYS][MODEL_FIELDS];
};

static size_t
model_count(const struct model *m, size_t key)
{
	size_t count = 0;
	for (size_t i = 0; i < MODEL_FIELDS; i++)
		count += m->fields[key][i].exists;
	return count;
}

static void
check_key(struct fixture *f, const struct model *m, size_t key)
{
	char line[64], expected[64];
	struct bytes bulks[2 * MODEL_FIELDS];
	snprintf(line, sizeof(line), "HGETALL key%zu", key);
	fixture_run_line(f, 0, line);
	size_t count = read_bulks(f, bulks, 2 * MODEL_FIELDS);
	cr_assert_eq(count, 2 * model_count(m, key));
	for (size_t i = 0; i < count; i += 2) {
		cr_assert(bulks[i].size >= 2 && bulks[i].data[0] == 'f');
		size_t n = strtoul((const char *)bulks[i].data + 1, NULL, 10);
		const struct model_field *field = &m->fields[key][n];
		cr_assert(field->exists, "field %zu", n);
		cr_assert(bytes_equal(bulks[i + 1], bytes_of(field->value, field->size)), "field %zu", n);
	}
	snprintf(line, sizeof(line), "HLEN key%zu", key);
	snprintf(expected, sizeof(expected), ":%zu\r\n", model_count(m, key));
	fixture_run_line(f, 0, line);
	cr_assert(reply_is(f, expected));
	snprintf(line, sizeof(line), "EXISTS key%zu", key);
	fixture_run_line(f, 0, line);
	cr_assert(reply_is(f, model_count(m, key) > 0 ? ":1\r\n" : ":0\r\n"));
}

static void
model_set(struct fixture *f, struct model *m, struct random *random, size_t key)
{
	char line[1024], expected[16];
	size_t n = random_below(random, MODEL_FIELDS);
	struct model_field *field = &m->fields[key][n];
	size_t size = random_below(random, random_below(random, 8) == 0 ? MODEL_VALUE : 20) + 1;
	snprintf(expected, sizeof(expected), ":%d\r\n", !field->exists);
	field->exists = true;
	field->size = size;
	for (size_t i = 0; i < size; i++)
		field->value[i] = (char)('a' + random_below(random, 26));
	snprintf(line, sizeof(line), "HSET key%zu f%zu %.*s", key, n, (int)size, field->value);
	fixture_run_line(f, 0, line);
	cr_assert(reply_is(f, expected), "%s", line);
}

static void
model_delete(struct fixture *f, struct model *m, struct random *random, size_t key)
{
	char line[64], expected[16];
	size_t n = random_below(random, MODEL_FIELDS);
	snprintf(line, sizeof(line), "HDEL key%zu f%zu", key, n);
	snprintf(expected, sizeof(expected), ":%d\r\n", m->fields[key][n].exists);
	m->fields[key][n].exists = false;
	fixture_run_line(f, 0, line);
	cr_assert(reply_is(f, expected), "%s", line);
}

static void
model_step(struct fixture *f, struct model *m, struct random *random)
{
	char line[64];
	size_t key = random_below(random, MODEL_KEYS), other = random_below(random, MODEL_KEYS);
	uint64_t what = random_below(random, 100);
	if (what < 60) {
		model_set(f, m, random, key);
	} else if (what < 95) {
		model_delete(f, m, random, key);
	} else if (what < 98 && other != key && model_count(m, key) > 0) {
		bool move = random_below(random, 2) == 0;
		snprintf(line, sizeof(line), "%s key%zu key%zu%s", move ? "RENAME" : "COPY", key, other,
			 move ? "" : " REPLACE");
		fixture_run_line(f, 0, line);
		cr_assert(reply_is(f, move ? "+OK\r\n" : ":1\r\n"), "%s", line);
		memcpy(m->fields[other], m->fields[key], sizeof(m->fields[key]));
		if (move)
			memset(m->fields[key], 0, sizeof(m->fields[key]));
	} else if (what == 98) {
		snprintf(line, sizeof(line), "DEL key%zu", key);
		fixture_run_line(f, 0, line);
		memset(m->fields[key], 0, sizeof(m->fields[key]));
	}
	set_packed_size(f, random_below(random, 2) == 0 ? 64 : 1000);
}

Test(hashes, are_what_a_map_is)
{
	static struct model m;
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 12);
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 400; i++)
			model_step(f, &m, &random);
		for (size_t key = 0; key < MODEL_KEYS; key++)
			check_key(f, &m, key);
		if (round % 3 == 2) {
			fixture_stop(f);
			fixture_start(f);
			for (size_t key = 0; key < MODEL_KEYS; key++)
				check_key(f, &m, key);
		}
	}
	fixture_close(f);
}

/* ---- layouts ---- */

Test(hashes, a_hash_is_spread_when_it_outgrows_its_root_and_nothing_is_left_of_removed_fields)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 64);
	EXPECT(f, 0, "HSET h a 1 b 2", ":2");
	cr_assert_eq(count_elements(f), 0, "packed");
	EXPECT(f, 0, "HSET h c 012345678901234567890123456789012345678901234567890123456789", ":1");
	cr_assert_eq(count_elements(f), 3);
	EXPECT(f, 0, "HGET h a", "$1\r\n1");
	EXPECT(f, 0, "HDEL h c", ":1");
	cr_assert_eq(count_elements(f), 2, "it stays spread");
	EXPECT(f, 0, "OBJECT ENCODING h", "$8\r\nlistpack");
	EXPECT(f, 0, "HDEL h a b", ":2");
	cr_assert_eq(count_elements(f), 0);
	EXPECT(f, 0, "EXISTS h", ":0");
	EXPECT(f, 0, "HSET h a 1", ":1");
	cr_assert_eq(count_elements(f), 0, "packed again");
	fixture_close(f);
}

/* DEL, SET over it and RENAME over it drop the elements; COPY and MOVE have their own. */
Test(hashes, a_copy_has_elements_of_its_own)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 64);
	EXPECT(f, 0,
	       "HSET h a 0123456789012345678901234567890123456789 b 0123456789012345678901234567890123456789",
	       ":2");
	EXPECT(f, 0, "COPY h c", ":1");
	EXPECT(f, 0, "HSET c a 1", ":0");
	EXPECT(f, 0, "HDEL c b", ":1");
	EXPECT(f, 0, "HSTRLEN h a", ":40");
	EXPECT(f, 0, "HSTRLEN h b", ":40");
	EXPECT(f, 0, "DEL c", ":1");
	EXPECT(f, 0, "HSTRLEN h b", ":40");
	EXPECT(f, 0, "MOVE h 3", ":1");
	EXPECT(f, 0, "HGETALL h", "*0");
	f->clients[0].db = 3;
	EXPECT(f, 0, "HSTRLEN h a", ":40");
	EXPECT(f, 0, "RENAME h g", "+OK");
	EXPECT(f, 0, "HSTRLEN g b", ":40");
	EXPECT(f, 0, "SET g v", "+OK");
	EXPECT(f, 0, "HGET g a", "-WRONGTYPE Operation against a key holding the wrong kind of value");
	fixture_close(f);
}

/* The digest does not depend on how a hash is stored, nor on the order in which it was made. */
Test(hashes, digests_are_of_the_content)
{
	struct fixture *f = fixture_open();
	char digest[64];
	EXPECT(f, 0, "HSET h a 1 b 2 c 3", ":3");
	f->server.config->enable_debug_command = 1;
	fixture_run_line(f, 0, "DEBUG DIGEST-VALUE h");
	cr_assert_lt(f->reply.size, sizeof(digest));
	snprintf(digest, sizeof(digest), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	set_packed_size(f, 64);
	EXPECT(f, 0,
	       "HSET g c 3 x 0123456789012345678901234567890123456789012345678901234567890123456789 b 2 a 1",
	       ":4");
	fixture_run_line(f, 0, "DEBUG DIGEST-VALUE g");
	cr_assert(!reply_is(f, digest));
	EXPECT(f, 0, "HDEL g x", ":1");
	cr_assert_eq(count_elements(f), 3);
	fixture_run_line(f, 0, "DEBUG DIGEST-VALUE g");
	cr_assert(reply_is(f, digest), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	EXPECT(f, 0, "HSET g a 2", ":0");
	fixture_run_line(f, 0, "DEBUG DIGEST-VALUE g");
	cr_assert(!reply_is(f, digest));
	fixture_close(f);
}

/* ---- walks and random fields ---- */

static void
fill(struct fixture *f, int fields)
{
	struct bytes argv[2 + 2 * 30];
	char names[60][16];
	argv[0] = BYTES_LITERAL("HSET");
	argv[1] = BYTES_LITERAL("big");
	for (int i = 0; i < fields; i += 30) {
		size_t argc = 2;
		for (int j = i; j < fields && j < i + 30; j++) {
			char *name = names[j - i];
			int size = snprintf(name, sizeof(names[0]), "%d", j);
			argv[argc++] = bytes_of(name, (size_t)size);
			argv[argc++] = bytes_of(name, (size_t)size);
		}
		fixture_run(f, 0, argc, argv);
		cr_assert_eq(f->reply.data[0], ':');
	}
}

/* All fields once, in bounded steps, while others come and go. */
Test(hashes, hscan_meets_every_field_that_stays)
{
	enum { FIELDS = 3000 };
	struct fixture *f = fixture_open();
	static bool met[FIELDS];
	char line[64];
	unsigned long long cursor = 0;
	size_t steps = 0;
	fill(f, FIELDS);
	do {
		snprintf(line, sizeof(line), "HSCAN big %llu COUNT 50", cursor);
		fixture_run_line(f, 0, line);
		const char *p = (const char *)f->reply.data;
		cr_assert_eq(memcmp(p, "*2\r\n$", 5), 0);
		p = strchr(p + 5, '\n') + 1;
		cursor = strtoull(p, NULL, 10);
		struct resp_writer rest = f->reply;
		p = strchr(p, '\n') + 1;
		struct fixture view = {.reply = rest};
		view.reply.data = (uint8_t *)p;
		view.reply.size = (size_t)(f->reply.data + f->reply.size - (const uint8_t *)p);
		struct bytes bulks[400];
		size_t count = read_bulks(&view, bulks, 400);
		cr_assert(count >= 100 || cursor == 0);
		for (size_t i = 0; i < count; i += 2) {
			int n = atoi((const char *)bulks[i].data);
			if (bulks[i].data[0] == 'x')
				continue;
			cr_assert(!met[n], "%d comes twice", n);
			cr_assert(bytes_equal(bulks[i], bulks[i + 1]));
			met[n] = true;
		}
		snprintf(line, sizeof(line), "HSET big x%zu 1", steps);
		fixture_run_line(f, 0, line);
		if (steps > 0) {
			snprintf(line, sizeof(line), "HDEL big x%zu", steps - 1);
			fixture_run_line(f, 0, line);
		}
		cr_assert_lt(++steps, 100);
	} while (cursor != 0);
	for (int i = 0; i < FIELDS; i++)
		cr_assert(met[i], "%d was never met", i);
	fixture_close(f);
}

/* Chi-squared over 100 groups of fields: with 99 degrees of freedom 160 is exceeded once in ten thousand. */
Test(hashes, random_fields_are_uniform)
{
	enum { FIELDS = 100000, GROUPS = 100, DRAWS = 50000, AT_ONCE = 500 };
	static unsigned groups[2][GROUPS];
	static struct bytes bulks[AT_ONCE];
	struct fixture *f = fixture_open();
	fill(f, FIELDS);
	for (int i = 0; i < DRAWS; i += AT_ONCE) {
		fixture_run_line(f, 0, i % 2 == 0 ? "HRANDFIELD big -500" : "HRANDFIELD big 500");
		cr_assert_eq(read_bulks(f, bulks, AT_ONCE), AT_ONCE);
		for (int j = 0; j < AT_ONCE; j++) {
			int n = atoi((const char *)bulks[j].data);
			groups[0][n % GROUPS]++;
			groups[1][n / (FIELDS / GROUPS)]++;
		}
	}
	for (int way = 0; way < 2; way++) {
		double squares = 0, expected = (double)DRAWS / GROUPS;
		for (int i = 0; i < GROUPS; i++)
			squares += (groups[way][i] - expected) * (groups[way][i] - expected) / expected;
		cr_assert(squares < 160, "%f", squares);
	}
	fixture_close(f);
}

/* The draw itself, by the hashes' neighbourhoods: fields after long gaps must not come more often. Twenty
 * thousand draws among 2,000 fields: each comes ten times on average, and with 1,999 degrees of freedom 2,300
 * is exceeded less than once in a hundred thousand. */
Test(hashes, each_field_has_the_same_chance)
{
	enum { FIELDS = 2000, DRAWS = 20000, AT_ONCE = 500 };
	static unsigned times[FIELDS];
	static struct bytes bulks[AT_ONCE];
	struct fixture *f = fixture_open();
	fill(f, FIELDS);
	for (int i = 0; i < DRAWS; i += AT_ONCE) {
		fixture_run_line(f, 0, "HRANDFIELD big -500");
		cr_assert_eq(read_bulks(f, bulks, AT_ONCE), AT_ONCE);
		for (int j = 0; j < AT_ONCE; j++)
			times[atoi((const char *)bulks[j].data)]++;
	}
	double squares = 0, expected = (double)DRAWS / FIELDS;
	for (int i = 0; i < FIELDS; i++)
		squares += (times[i] - expected) * (times[i] - expected) / expected;
	cr_assert(squares < 2300 && squares > 1700, "%f", squares);
	fixture_close(f);
}

/* Different fields, as many as asked for. */
Test(hashes, chosen_fields_are_distinct)
{
	enum { FIELDS = 2000 };
	static const int counts[] = {1, 10, 400, 665, 700, 1999, 2000, 5000};
	static struct bytes bulks[FIELDS];
	struct fixture *f = fixture_open();
	char line[64];
	fill(f, FIELDS);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		bool met[FIELDS] = {0};
		size_t expected = counts[i] < FIELDS ? (size_t)counts[i] : FIELDS;
		snprintf(line, sizeof(line), "HRANDFIELD big %d", counts[i]);
		fixture_run_line(f, 0, line);
		cr_assert_eq(read_bulks(f, bulks, FIELDS), expected);
		for (size_t j = 0; j < expected; j++) {
			int n = atoi((const char *)bulks[j].data);
			cr_assert(!met[n]);
			met[n] = true;
		}
	}
	fixture_close(f);
}

static enum request_result
run_on_reactor(struct fixture *f, size_t argc, const struct bytes *argv)
{
	struct request request = {.argc = argc, .argv = argv};
	resp_truncate(&f->reply, 0);
	return f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
				  &f->release);
}

/* A reactor only begins the reply of a large hash, whose fields the pool reads. What the transaction has changed is
 * in no snapshot: it is walked in the long lane. */
Test(hashes, walks_of_large_hashes_leave_the_reactor)
{
	static const char *const commands[] = {"HGETALL", "HKEYS", "HVALS"};
	struct fixture *f = fixture_open();
	fill(f, 1500);
	rcu_thread_register();
	for (size_t i = 0; i < 3; i++) {
		struct bytes argv[] = {bytes_of_string(commands[i]), BYTES_LITERAL("big")};
		cr_assert_eq(run_on_reactor(f, 2, argv), REQUEST_DONE);
		cr_assert(f->reply.size < 64 && f->clients[0].reply_streams != NULL);
		output_streams_free(f->clients[0].reply_streams);
		f->clients[0].reply_streams = NULL;
		EXPECT(f, 0, "MULTI", "+OK");
		EXPECT(f, 0, "HSET big one more", "+QUEUED");
		fixture_run(f, 0, 2, argv);
		struct bytes exec = BYTES_LITERAL("EXEC");
		cr_assert_eq(run_on_reactor(f, 1, &exec), REQUEST_MUST_WAIT_LONG);
		EXPECT(f, 0, "DISCARD", "+OK");
	}
	rcu_thread_unregister();
	fixture_close(f);
}

/* ---- on disk ---- */

/* The example of docs/format-keyspace.md: HSET h f v. */
Test(hashes, the_bytes_of_a_packed_hash)
{
	struct fixture *f = fixture_open();
	static const struct expected_entry expected[] = {
		{BYTES_LITERAL("\1\0\0\0\0\0\0\0\1h"), BYTES_LITERAL("\5\1\x08\2\1\0"),
		 BYTES_LITERAL("\2f\1v")},
	};
	EXPECT(f, 0, "HSET h f v", ":1");
	check_entries(f, "\1", expected, 1);
	fixture_close(f);
}

/* The second example: the same hash, spread. */
Test(hashes, the_bytes_of_a_spread_hash)
{
	struct fixture *f = fixture_open();
	uint8_t member[23] = "\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0....f";
	uint64_t seed = keyspace_member_seed(f->server.keyspace, 1);
	put_be32(member + 18, (uint32_t)(hash64("f", 1, seed) >> 32));
	EXPECT(f, 0, "HSET h f v", ":1");
	set_packed_size(f, 3);
	EXPECT(f, 0, "HSET h f w", ":0");
	const struct expected_entry expected[] = {
		{BYTES_LITERAL("\1\0\0\0\0\0\0\0\1h"), BYTES_LITERAL("\5\1\x0c\1\x28\2\1\0"),
		 BYTES_LITERAL("")},
		{bytes_of(member, sizeof(member)), BYTES_LITERAL(""), BYTES_LITERAL("w")},
	};
	check_entries(f, "\1", expected, 2);
	fixture_close(f);
}

/* Of a database too: its walk reads hashes of both layouts. */
Test(hashes, the_digest_of_a_database_is_of_the_content)
{
	struct fixture *f = fixture_open();
	char digest[64];
	f->server.config->enable_debug_command = 1;
	for (int64_t packed_size = 4; packed_size <= 1000; packed_size += 996) {
		set_packed_size(f, packed_size);
		EXPECT(f, 0, "FLUSHDB", "+OK");
		EXPECT(f, 0, "HSET h a 1 b 2 c 3", ":3");
		EXPECT(f, 0, "HSET g a 2", ":1");
		EXPECT(f, 0, "SET s v", "+OK");
		fixture_run_line(f, 0, "DEBUG DIGEST");
		if (packed_size == 4)
			snprintf(digest, sizeof(digest), "%.*s", (int)f->reply.size,
				 (const char *)f->reply.data);
		else
			cr_assert(reply_is(f, digest), "%s", digest);
	}
	EXPECT(f, 0, "HSET g a 3", ":0");
	fixture_run_line(f, 0, "DEBUG DIGEST");
	cr_assert(!reply_is(f, digest));
	fixture_close(f);
}

/* ---- damage ---- */

/* What makes no sense is answered with an error, and changes nothing. */
Test(hashes, damaged_roots_and_members_are_errors)
{
	static const struct {
		struct bytes head, body;
	} roots[] = {
		{BYTES_LITERAL("\5\1\0"), BYTES_LITERAL("\2f\1v")},           /* no fields */
		{BYTES_LITERAL("\5\1\x08\2\0\0"), BYTES_LITERAL("\2f\1v")},   /* no field */
		{BYTES_LITERAL("\5\1\x08\2\1\2"), BYTES_LITERAL("\2f\1v")},   /* more deadlines than fields */
		{BYTES_LITERAL("\5\1\x08\2\1\1"), BYTES_LITERAL("\2f\1v")},   /* which is the earliest? */
		{BYTES_LITERAL("\5\1\x08\3\1\0\0"), BYTES_LITERAL("\2f\1v")}, /* bytes too many */
		{BYTES_LITERAL("\5\1\x08\2\1\0"), BYTES_LITERAL("\2f\2v")},   /* the value is cut off */
		{BYTES_LITERAL("\5\1\x08\2\2\0"), BYTES_LITERAL("\4f\1v")},   /* the name is */
		{BYTES_LITERAL("\7\1\x08\2\1\0"), BYTES_LITERAL("\2f\1v")},   /* no such type */
	};
	static const struct bytes heads[] = {BYTES_LITERAL("\0"), BYTES_LITERAL("\1\0\0\0"),
					     BYTES_LITERAL("\4"), BYTES_LITERAL("\2\x09"),
					     BYTES_LITERAL("\2")};
	struct bytes root = BYTES_LITERAL("\1\0\0\0\0\0\0\0\1h");
	struct fixture *f = fixture_open();
	uint8_t member[23] = "\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0....f";
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		static const char *const lines[] = {"HGET h f", "HGETALL h", "HSET h f w", "HDEL h f"};
		overwrite(f, root, roots[i].head, roots[i].body);
		for (size_t j = 0; j < 4; j++) {
			fixture_run_line(f, 0, lines[j]);
			cr_assert_eq(f->reply.data[0], '-', "root %zu, %s: %.*s", i, lines[j],
				     (int)f->reply.size, (const char *)f->reply.data);
		}
	}
	put_be32(member + 18, (uint32_t)(hash64("f", 1, keyspace_member_seed(f->server.keyspace, 1)) >> 32));
	overwrite(f, root, BYTES_LITERAL("\5\1\x0c\1\x28\2\1\0"), (struct bytes){0});
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		overwrite(f, bytes_of(member, sizeof(member)), heads[i], BYTES_LITERAL("v"));
		fixture_run_line(f, 0, "HGET h f");
		cr_assert_eq(f->reply.data[0], '-', "member %zu", i);
		fixture_run_line(f, 0, "HGETALL h");
		cr_assert_eq(f->reply.data[0], '-', "member %zu", i);
	}
	/* A hash that says it has more fields than there are. */
	overwrite(f, bytes_of(member, sizeof(member)), (struct bytes){0}, BYTES_LITERAL("v"));
	EXPECT(f, 0, "HGETALL h", "*2\r\n$1\r\nf\r\n$1\r\nv");
	overwrite(f, root, BYTES_LITERAL("\5\1\x0c\1\x28\2\2\0"), (struct bytes){0});
	fixture_run_line(f, 0, "HGETALL h");
	cr_assert_eq(f->reply.data[0], '-');
	fixture_close(f);
}

/* A command that takes long ends when nobody waits for its reply: the connection was closed, or the server stops. */
Test(hashes, long_reads_end_when_nobody_waits)
{
	static const char *const lines[] = {"HRANDFIELD h -1000000000000", "HGETALL h", "HSCAN h 0",
					    "KEYS *"};
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "HSET h a 1 b 2 c 3", ":3");
	f->clients[0].gone = true;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		static const char end[] = "-ERR the client is gone\r\n";
		size_t size = sizeof(end) - 1;
		fixture_run_line(f, 0, lines[i]);
		cr_assert(f->reply.size >= size &&
				  memcmp(f->reply.data + f->reply.size - size, end, size) == 0,
			  "%s", lines[i]);
	}
	EXPECT(f, 0, "DEL h", ":1"); /* what was sent is done */
	fixture_close(f);
}

/* They are no bytes of the reply but streams among them, and the cursor comes in front of them at last. */
Test(hashes, hscan_sends_large_values)
{
	enum { SIZE = CONTEXT_STREAM_MIN + 5 };
	static const char begin[] = "*2\r\n$4\r\nPONG\r\n*2\r\n$1\r\n0\r\n*4\r\n",
			  header[] = "$1\r\nf\r\n$1048581\r\n";
	struct fixture *f = fixture_open();
	char *value = malloc(SIZE);
	cr_assert_not_null(value);
	memset(value, 'v', SIZE);
	struct bytes set[] = {BYTES_LITERAL("HSET"), BYTES_LITERAL("h"), BYTES_LITERAL("f"),
			      bytes_of(value, SIZE), BYTES_LITERAL("g"), BYTES_LITERAL("1")};
	fixture_run(f, 0, 6, set);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "ECHO PONG", "+QUEUED");
	EXPECT(f, 0, "HSCAN h 0", "+QUEUED");
	fixture_run_line(f, 0, "EXEC");
	const uint8_t *reply = f->reply.data,
		      *large = memmem(reply, f->reply.size, header, sizeof(header) - 1);
	cr_assert(f->reply.size > sizeof(begin) && memcmp(reply, begin, sizeof(begin) - 1) == 0, "%.64s",
		  reply);
	cr_assert_not_null(large);
	large += sizeof(header) - 1;
	cr_assert(memcmp(large, value, SIZE) == 0 && memcmp(large + SIZE, "\r\n", 2) == 0);
	cr_assert_eq(f->reply.size,
		     sizeof(begin) - 1 + sizeof(header) - 1 + SIZE + 2 + strlen("$1\r\ng\r\n$1\r\n1\r\n"));
	free(value);
	fixture_close(f);
}
