/* Streams through the runner: beside an array, with small nodes and large ones. */
#include "collection_support.h"

#include <stdio.h>

#include "keyspace/key.h"
#include "storage/base/random.h"
#include "types/stream.h"

/* ---- a model ---- */

enum { MODEL_MOST = 8000, VALUE_MOST = 2500, RANGE_MOST = MODEL_MOST * 4 };

struct model_entry {
	struct stream_id id;
	unsigned value; /* its bytes follow from this */
};
struct model {
	struct fixture *f;
	struct random random;
	struct stream_id last;
	struct stream_id read; /* by the group */
	size_t count;
	struct model_entry entries[MODEL_MOST];
};

static struct bytes
value_of(unsigned value, char room[VALUE_MOST])
{
	size_t size = value % 50 == 0 ? value % VALUE_MOST : value % 40;
	memset(room, 'a' + (int)(value % 26), size);
	return bytes_of(room, size);
}

static struct bytes
id_text(struct stream_id id, char room[64])
{
	return bytes_of(room,
			(size_t)snprintf(room, 64, "%llu-%llu", (unsigned long long)id.ms,
					 (unsigned long long)id.seq));
}

static void
expect_integer(struct model *m, size_t expected)
{
	char text[32];
	snprintf(text, sizeof(text), ":%zu\r\n", expected);
	cr_assert(reply_is(m->f, text), "expected %zu, got %.*s", expected, (int)m->f->reply.size,
		  (const char *)m->f->reply.data);
}

static struct stream_id
any_id(struct model *m)
{
	return (struct stream_id){random_below(&m->random, m->last.ms + 3), random_below(&m->random, 4)};
}

static void
step_add(struct model *m)
{
	char text[64], room[VALUE_MOST], reply[128];
	struct stream_id id = {m->last.ms + random_below(&m->random, 3), random_below(&m->random, 4)};
	if (stream_id_compare(id, m->last) <= 0 || m->count == MODEL_MOST)
		return;
	struct model_entry e = {.id = id, .value = (unsigned)random_below(&m->random, 100000)};
	struct bytes argv[] = {BYTES_LITERAL("XADD"), BYTES_LITERAL("s"), id_text(id, text),
			       BYTES_LITERAL("field"), value_of(e.value, room)};
	fixture_run(m->f, 0, 5, argv);
	snprintf(reply, sizeof(reply), "$%zu\r\n%.*s\r\n", argv[2].size, (int)argv[2].size, text);
	cr_assert(reply_is(m->f, reply));
	m->entries[m->count++] = e;
	m->last = id;
}

static void
remove_front(struct model *m, size_t count)
{
	m->count -= count;
	memmove(m->entries, m->entries + count, m->count * sizeof(m->entries[0]));
}

static void
step_delete(struct model *m, bool from_front)
{
	char texts[8][64];
	struct bytes argv[10] = {BYTES_LITERAL("XDEL"), BYTES_LITERAL("s")};
	size_t deleted = 0;
	for (size_t i = 0; i < 8; i++) {
		struct stream_id id = from_front && m->count > i ? m->entries[0].id : any_id(m);
		argv[2 + i] = id_text(id, texts[i]);
		for (size_t at = 0; at < m->count; at++) {
			if (stream_id_compare(m->entries[at].id, id) != 0)
				continue;
			m->count--;
			memmove(m->entries + at, m->entries + at + 1,
				(m->count - at) * sizeof(m->entries[0]));
			deleted++;
			break;
		}
	}
	fixture_run(m->f, 0, 10, argv);
	expect_integer(m, deleted);
}

static void
step_trim(struct model *m, bool by_id)
{
	char text[64];
	struct stream_id id = m->count > 0 ? m->entries[random_below(&m->random, m->count)].id : any_id(m);
	size_t keep = m->count - random_below(&m->random, m->count / 4 + 1), gone = m->count - keep;
	struct bytes argv[] = {BYTES_LITERAL("XTRIM"), BYTES_LITERAL("s"), BYTES_LITERAL("MAXLEN"),
			       bytes_of(text, (size_t)snprintf(text, sizeof(text), "%zu", keep))};
	if (by_id) {
		if (random_below(&m->random, 4) > 0 && m->count > 20)
			id = m->entries[random_below(&m->random, 20)].id;
		argv[2] = BYTES_LITERAL("MINID");
		argv[3] = id_text(id, text);
		for (gone = 0; gone < m->count && stream_id_compare(m->entries[gone].id, id) < 0;)
			gone++;
	}
	fixture_run(m->f, 0, 4, argv);
	expect_integer(m, gone);
	remove_front(m, gone);
}

/* A line of the protocol. */
static void
append(struct buffer *b, char type, size_t number)
{
	char text[64];
	int size = snprintf(text, sizeof(text), "%c%zu\r\n", type, number);
	cr_assert_eq(buffer_append(b, text, (size_t)size), SETT_OK);
}

static void
append_bulk(struct buffer *b, struct bytes bulk)
{
	append(b, '$', bulk.size);
	buffer_append(b, bulk.data, bulk.size);
	buffer_append(b, "\r\n", 2);
}

static void
append_entry(struct buffer *b, const struct model_entry *e)
{
	char text[64], room[VALUE_MOST];
	append(b, '*', 2);
	append_bulk(b, id_text(e->id, text));
	append(b, '*', 2);
	append_bulk(b, BYTES_LITERAL("field"));
	append_bulk(b, value_of(e->value, room));
}

static void
expect_reply(struct model *m, const struct buffer *expected)
{
	cr_assert(m->f->reply.size == expected->size &&
			  memcmp(m->f->reply.data, expected->data, expected->size) == 0,
		  "%.*s\n%.*s", (int)m->f->reply.size, (const char *)m->f->reply.data, (int)expected->size,
		  (const char *)expected->data);
}

static void
check_range(struct model *m, struct stream_id from, struct stream_id to, bool backward, size_t most)
{
	char texts[3][64];
	struct buffer expected = {0}, entries = {0};
	size_t count = 0;
	struct bytes argv[] = {backward ? BYTES_LITERAL("XREVRANGE") : BYTES_LITERAL("XRANGE"),
			       BYTES_LITERAL("s"),
			       id_text(backward ? to : from, texts[0]),
			       id_text(backward ? from : to, texts[1]),
			       BYTES_LITERAL("COUNT"),
			       bytes_of(texts[2], (size_t)snprintf(texts[2], 64, "%zu", most))};
	for (size_t i = 0; i < m->count && count < most; i++) {
		const struct model_entry *e = &m->entries[backward ? m->count - 1 - i : i];
		if (stream_id_compare(e->id, from) < 0 || stream_id_compare(e->id, to) > 0)
			continue;
		append_entry(&entries, e);
		count++;
	}
	append(&expected, '*', count);
	buffer_append(&expected, entries.data, entries.size);
	fixture_run(m->f, 0, 6, argv);
	expect_reply(m, &expected);
	buffer_free(&expected);
	buffer_free(&entries);
}

/* The group reads on from where it is, which is set anew now and then. */
static void
step_read(struct model *m)
{
	char text[64], line[100];
	struct buffer expected = {0}, entries = {0};
	size_t count = 0, most = 1 + random_below(&m->random, 4);
	if (random_below(&m->random, 100) == 0) {
		m->read = any_id(m);
		snprintf(line, sizeof(line), "XGROUP SETID s g %.*s", (int)id_text(m->read, text).size, text);
		fixture_run_line(m->f, 0, line);
	}
	for (size_t i = 0; i < m->count && count < most; i++) {
		if (stream_id_compare(m->entries[i].id, m->read) <= 0)
			continue;
		append_entry(&entries, &m->entries[i]);
		m->read = m->entries[i].id;
		count++;
	}
	if (count > 0) {
		append(&expected, '*', 1);
		append(&expected, '*', 2);
		append_bulk(&expected, BYTES_LITERAL("s"));
		append(&expected, '*', count);
		buffer_append(&expected, entries.data, entries.size);
	} else {
		buffer_append(&expected, "*-1\r\n", 5);
	}
	snprintf(line, sizeof(line), "XREADGROUP GROUP g c COUNT %zu NOACK STREAMS s >", most);
	fixture_run_line(m->f, 0, line);
	expect_reply(m, &expected);
	buffer_free(&expected);
	buffer_free(&entries);
}

static void
check_all(struct model *m)
{
	const struct stream_id first = {0, 0}, last = {UINT64_MAX, UINT64_MAX};
	check_range(m, first, last, false, RANGE_MOST);
	check_range(m, first, last, true, RANGE_MOST);
}

static void
model_step(struct model *m, bool grows)
{
	uint64_t kind = random_below(&m->random, 100);
	size_t count = 1 + random_below(&m->random, 10);
	if (kind < (grows ? 80U : 40U))
		step_add(m);
	else if (kind < 84)
		step_delete(m, kind % 2 == 0);
	else if (kind < 86)
		step_trim(m, kind % 2 == 0);
	else
		check_range(m, any_id(m), any_id(m), kind % 2 == 0, count);
	if (random_below(&m->random, 4) > 0)
		step_read(m);
}

static void
run_model(uint64_t seed, int64_t packed_size)
{
	struct model *m = calloc(1, sizeof(*m));
	m->f = fixture_open();
	set_packed_size(m->f, packed_size);
	random_seed(&m->random, seed);
	EXPECT(m->f, 0, "XGROUP CREATE s g 0 MKSTREAM", "+OK");
	for (size_t i = 0; i < 6000; i++) {
		model_step(m, i / 1500 % 2 == 0);
		if (i % 500 == 0)
			check_all(m);
	}
	check_all(m);
	fixture_close(m->f);
	free(m);
}

Test(streams, as_a_model_with_small_nodes)
{
	run_model(1, 64);
	run_model(2, 200);
}

Test(streams, as_a_model_with_nodes_of_the_usual_size)
{
	run_model(3, 1000);
}

/* ---- what stays ---- */

static void
add(struct fixture *f, size_t i)
{
	char id[32];
	struct bytes argv[] = {BYTES_LITERAL("XADD"), BYTES_LITERAL("s"),
			       bytes_of(id, (size_t)snprintf(id, sizeof(id), "%zu-1", i)),
			       BYTES_LITERAL("field"), BYTES_LITERAL("a value of some length")};
	fixture_run(f, 0, 5, argv);
}

/* There a node is written once. */
Test(streams, nodes_of_small_entries_are_large_enough_for_the_value_log)
{
	struct fixture *f = fixture_open();
	uint64_t smallest = 0, threshold = (uint64_t)f->server.config->value_threshold;
	for (size_t i = 1; i <= 1000; i++)
		add(f, i);
	cr_assert_gt(look_at_elements(f, &smallest), 20);
	cr_assert_geq(smallest, threshold);
	cr_assert_lt(smallest, threshold + 100);
	fixture_close(f);
}

Test(streams, nodes_that_are_trimmed_leave_nothing)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 200);
	for (size_t i = 1; i <= 1000; i++)
		add(f, i);
	cr_assert_gt(count_elements(f), 100);
	fixture_run(f, 0, 4,
		    (struct bytes[]){BYTES_LITERAL("XTRIM"), BYTES_LITERAL("s"), BYTES_LITERAL("MAXLEN"),
				     BYTES_LITERAL("20")});
	cr_assert(reply_is(f, ":980\r\n"));
	cr_assert_lt(count_elements(f), 8);
	fixture_run(f, 0, 4,
		    (struct bytes[]){BYTES_LITERAL("XTRIM"), BYTES_LITERAL("s"), BYTES_LITERAL("MAXLEN"),
				     BYTES_LITERAL("0")});
	cr_assert_eq(count_elements(f), 0);
	fixture_run(f, 0, 2, (struct bytes[]){BYTES_LITERAL("XLEN"), BYTES_LITERAL("s")});
	cr_assert(reply_is(f, ":0\r\n"));
	fixture_close(f);
}

Test(streams, copies_are_apart)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 64);
	for (size_t i = 1; i <= 20; i++)
		add(f, i);
	fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("COPY"), BYTES_LITERAL("s"), BYTES_LITERAL("t")});
	cr_assert(reply_is(f, ":1\r\n"));
	fixture_run(f, 0, 2, (struct bytes[]){BYTES_LITERAL("DEL"), BYTES_LITERAL("s")});
	fixture_run(f, 0, 4,
		    (struct bytes[]){BYTES_LITERAL("XTRIM"), BYTES_LITERAL("t"), BYTES_LITERAL("MINID"),
				     BYTES_LITERAL("19")});
	cr_assert(reply_is(f, ":18\r\n"));
	fixture_close(f);
}

/* What was acknowledged is passed by, and what is claimed before it is not. */
Test(streams, pending_entries_before_those_that_were_acknowledged)
{
	struct fixture *f = fixture_open();
	for (size_t i = 1; i <= 9; i++)
		add(f, i);
	EXPECT(f, 0, "XGROUP CREATE s g 3", "+OK");
	fixture_run_line(f, 0, "XREADGROUP GROUP g c STREAMS s >");
	EXPECT(f, 0, "XACK s g 5-1 4-1 3-1 8-1", ":4");
	EXPECT(f, 0, "XPENDING s g", "*4\r\n:3\r\n$3\r\n6-1\r\n$3\r\n9-1\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n3");
	EXPECT(f, 0, "XCLAIM s g d 0 2-1 FORCE JUSTID", "*1\r\n$3\r\n2-1");
	EXPECT(f, 0, "XPENDING s g",
	       "*4\r\n:4\r\n$3\r\n2-1\r\n$3\r\n9-1\r\n*2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n*2\r\n$1\r\nd\r\n$"
	       "1\r\n1");
	EXPECT(f, 0, "XACK s g 2-1 6-1 7-1 9-1", ":4");
	EXPECT(f, 0, "XCLAIM s g d 0 1-1 FORCE JUSTID", "*1\r\n$3\r\n1-1");
	EXPECT(f, 0, "XAUTOCLAIM s g d 0 0 JUSTID", "*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n1-1\r\n*0");
	fixture_close(f);
}

static long long
memory_usage(struct fixture *f)
{
	fixture_run_line(f, 0, "MEMORY USAGE s");
	cr_assert_eq(f->reply.data[0], ':');
	return strtoll((const char *)f->reply.data + 1, NULL, 10);
}

Test(streams, memory_usage_counts_groups)
{
	struct fixture *f = fixture_open();
	for (size_t i = 1; i <= 300; i++)
		add(f, i);
	long long alone = memory_usage(f);
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	long long empty = memory_usage(f);
	fixture_run_line(f, 0, "XREADGROUP GROUP g c COUNT 100 STREAMS s >");
	long long some = memory_usage(f);
	fixture_run_line(f, 0, "XREADGROUP GROUP g c STREAMS s >");
	cr_assert(alone < empty && empty + 5000 < some && some + 15000 < memory_usage(f));
	EXPECT(f, 0, "XGROUP DESTROY s g", ":1");
	cr_assert_eq(memory_usage(f), alone);
	fixture_close(f);
}

/* As in Redis. */
Test(streams, the_largest_id_asks_for_what_is_new)
{
	static const char largest[] =
		"XREADGROUP GROUP g c STREAMS s 18446744073709551615-18446744073709551615";
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "XADD s 1-1 a b", "$3\r\n1-1");
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	fixture_expect_at(f, 0, largest,
			  "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
			  __LINE__);
	fixture_expect_at(f, 0, largest, "*-1\r\n", __LINE__);
	EXPECT(f, 0, "XREADGROUP GROUP g c STREAMS s 18446744073709551615", "*1\r\n*2\r\n$1\r\ns\r\n*0");
	fixture_close(f);
}

/* Once what is dead is gone from the files. */
static size_t
count_left(struct fixture *f)
{
	struct sett_error error;
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	return count_elements(f);
}

Test(streams, what_groups_leave)
{
	struct fixture *f = fixture_open();
	for (size_t i = 1; i <= 20; i++)
		add(f, i);
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	EXPECT(f, 0, "XGROUP CREATE s h 0", "+OK");
	fixture_run_line(f, 0, "XREADGROUP GROUP g c COUNT 5 STREAMS s >");
	fixture_run_line(f, 0, "XREADGROUP GROUP h c COUNT 1 STREAMS s >");
	/* Two groups with a consumer each, six that are pending: few, so without owners. */
	cr_assert_eq(count_elements(f), 2 + 2 + 6);
	EXPECT(f, 0, "XACK s g 1-1 3-1 99-1", ":2");
	cr_assert_eq(count_elements(f), 2 + 2 + 4);
	EXPECT(f, 0, "XGROUP DELCONSUMER s g c", ":3");
	cr_assert_eq(count_elements(f), 2 + 1 + 1);
	EXPECT(f, 0, "XGROUP DESTROY s h", ":1");
	cr_assert_eq(count_left(f), 1);
	EXPECT(f, 0, "XPENDING s g", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1");
	EXPECT(f, 0, "XGROUP DESTROY s g", ":1");
	cr_assert_eq(count_left(f), 0);
	EXPECT(f, 0, "XLEN s", ":20");
	fixture_close(f);
}

/* ---- a model of what is pending ---- */

enum { PENDING_MOST = 600, CONSUMERS = 3 };

struct pending_model {
	struct fixture *f;
	struct random random;
	int read;                     /* entries that the group was given */
	int owners[PENDING_MOST + 1]; /* 0: not pending */
};

static int
count_owned(const struct pending_model *m, int owner)
{
	int count = 0;
	for (int id = 1; id <= m->read; id++)
		count += owner == 0 ? m->owners[id] != 0 : m->owners[id] == owner;
	return count;
}

/* The ids that are pending for one, and nothing else. */
static void
check_owned(struct pending_model *m, int owner)
{
	char line[100], id[32];
	snprintf(line, sizeof(line), "XPENDING s g - + 10000 c%d", owner);
	fixture_run_line(m->f, 0, line);
	snprintf(line, sizeof(line), "*%d\r\n", count_owned(m, owner));
	cr_assert_eq(memcmp(m->f->reply.data, line, strlen(line)), 0, "%s, not %.10s", line,
		     (const char *)m->f->reply.data);
	const char *at = (const char *)m->f->reply.data;
	for (int n = 1; n <= m->read; n++) {
		if (m->owners[n] != owner)
			continue;
		snprintf(id, sizeof(id), "\r\n%d-1\r\n", n);
		at = memmem(at, (size_t)((const char *)m->f->reply.data + m->f->reply.size - at), id,
			    strlen(id));
		cr_assert_not_null(at, "%s of %d", id, owner);
	}
}

static void
step_pending(struct pending_model *m, bool grows)
{
	char line[100];
	int owner = 1 + (int)random_below(&m->random, CONSUMERS),
	    id = 1 + (int)random_below(&m->random, PENDING_MOST);
	if (random_below(&m->random, 3) < (grows ? 2 : 1)) {
		int count = 1 + (int)random_below(&m->random, 8);
		snprintf(line, sizeof(line), "XREADGROUP GROUP g c%d COUNT %d STREAMS s >", owner, count);
		fixture_run_line(m->f, 0, line);
		for (; count > 0 && m->read < PENDING_MOST; count--)
			m->owners[++m->read] = owner;
		return;
	}
	bool claims = random_below(&m->random, 3) == 0;
	for (int tries = 0; tries < 4; tries++, id = id % PENDING_MOST + 1) {
		bool is_pending = id <= m->read && m->owners[id] != 0;
		if (claims)
			snprintf(line, sizeof(line), "XCLAIM s g c%d 0 %d-1 JUSTID", owner, id);
		else
			snprintf(line, sizeof(line), "XACK s g %d-1", id);
		fixture_run_line(m->f, 0, line);
		cr_assert_eq(m->f->reply.data[1], is_pending ? '1' : '0', "%s: %.10s", line,
			     (const char *)m->f->reply.data);
		if (is_pending)
			m->owners[id] = claims ? owner : 0;
	}
}

/* Few and many are pending in turn: with owners and without. */
Test(streams, pending_as_a_model)
{
	struct sett_error error;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct pending_model *m = calloc(1, sizeof(*m));
		char line[100];
		m->f = fixture_open();
		random_seed(&m->random, seed);
		set_packed_size(m->f, seed == 1 ? 64 : 1000);
		for (size_t i = 1; i <= PENDING_MOST; i++)
			add(m->f, i);
		EXPECT(m->f, 0, "XGROUP CREATE s g 0", "+OK");
		for (int i = 0; i < 1500; i++) {
			step_pending(m, i < 100 || i > 700);
			for (int owner = 1; owner <= CONSUMERS && i % 25 == 0; owner++)
				check_owned(m, owner);
		}
		for (int id = 1; id <= PENDING_MOST; id++) {
			snprintf(line, sizeof(line), "XACK s g %d-1", id);
			fixture_run_line(m->f, 0, line);
		}
		EXPECT(m->f, 0, "XPENDING s g", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1");
		EXPECT(m->f, 0, "XTRIM s MAXLEN 0", ":600");
		cr_assert_eq(sett_engine_compact(m->f->server.engine, &error), SETT_OK);
		cr_assert_leq(count_elements(m->f), 1 + CONSUMERS);
		fixture_close(m->f);
		free(m);
	}
}

/* ---- long ranges ---- */

/* The entries of replies of few entries each, which are made in memory. */
static struct buffer
range_in_pieces(struct fixture *f, size_t from, size_t to, bool backward)
{
	struct buffer all = {0};
	size_t count = to - from + 1;
	char line[100];
	snprintf(line, sizeof(line), "*%zu\r\n", count);
	cr_assert_eq(buffer_append(&all, line, strlen(line)), SETT_OK);
	for (size_t i = 0; i < count; i += 100) {
		size_t low = backward ? to - i - 99 : from + i;
		snprintf(line, sizeof(line), backward ? "XREVRANGE s %zu %zu" : "XRANGE s %zu %zu",
			 backward ? low + 99 : low, backward ? low : low + 99);
		fixture_run_line(f, 0, line);
		cr_assert_eq(memcmp(f->reply.data, "*100\r\n", 6), 0);
		cr_assert_eq(buffer_append(&all, f->reply.data + 6, f->reply.size - 6), SETT_OK);
	}
	return all;
}

/* A long range is read while the reply is sent, from the snapshot of its command, whatever becomes of the stream. */
Test(streams, a_long_range_is_read_from_a_snapshot)
{
	enum { ENTRIES = 5000, FROM = 301, TO = 4500 };
	for (int round = 0; round < 2; round++) {
		struct fixture *f = fixture_open();
		struct bytes argv[] = {bytes_of_string(round == 0 ? "XRANGE" : "XREVRANGE"),
				       BYTES_LITERAL("s"), bytes_of_string(round == 0 ? "301" : "4500"),
				       bytes_of_string(round == 0 ? "4500" : "301")};
		for (size_t i = 1; i <= ENTRIES; i++)
			add(f, i);
		struct buffer expected = range_in_pieces(f, FROM, TO, round == 1);
		struct request request = {.argc = 4, .argv = argv, .in_long_lane = true};
		resp_truncate(&f->reply, 0);
		cr_assert_eq(f->handler.execute(f->handler.arg, f->thread, &f->clients[1], &request,
						&f->reply, &f->release),
			     REQUEST_DONE);
		cr_assert(f->reply.size < 64 && f->clients[1].reply_streams != NULL);
		struct resp_writer head = f->reply;
		resp_writer_init(&f->reply, 2);
		EXPECT(f, 0, "XDEL s 400-1 4400-1", ":2");
		EXPECT(f, 0, "XTRIM s MAXLEN 10", ":4988");
		EXPECT(f, 0, "DEL s", ":1");
		cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
		resp_writer_free(&f->reply);
		f->reply = head;
		fixture_join_streams(f, &f->clients[1]);
		cr_assert(bytes_equal(bytes_of(f->reply.data, f->reply.size), buffer_bytes(&expected)));
		buffer_free(&expected);
		fixture_close(f);
	}
}

/* So is one of XREAD, beside streams whose entries are few. */
Test(streams, a_long_read_is_read_from_a_snapshot)
{
	enum { ENTRIES = 5000, AFTER = 400 };
	static const char head[] =
		"*2\r\n*2\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
		"*2\r\n$1\r\ns\r\n";
	struct fixture *f = fixture_open();
	struct bytes argv[] = {BYTES_LITERAL("XREAD"), BYTES_LITERAL("STREAMS"), BYTES_LITERAL("t"),
			       BYTES_LITERAL("s"),     BYTES_LITERAL("none"),    BYTES_LITERAL("0"),
			       BYTES_LITERAL("400-1"), BYTES_LITERAL("0")};
	struct request request = {.argc = 8, .argv = argv, .in_long_lane = true};
	for (size_t i = 1; i <= ENTRIES; i++)
		add(f, i);
	EXPECT(f, 0, "XADD t 1-1 f v", "$3\r\n1-1");
	struct buffer expected = range_in_pieces(f, AFTER + 1, ENTRIES, false);
	resp_truncate(&f->reply, 0);
	cr_assert_eq(f->handler.execute(f->handler.arg, f->thread, &f->clients[1], &request, &f->reply,
					&f->release),
		     REQUEST_DONE);
	cr_assert(f->reply.size < 200 && f->clients[1].reply_streams != NULL);
	struct resp_writer reply = f->reply;
	resp_writer_init(&f->reply, 2);
	EXPECT(f, 0, "DEL s", ":1");
	resp_writer_free(&f->reply);
	f->reply = reply;
	fixture_join_streams(f, &f->clients[1]);
	cr_assert_eq(f->reply.size, strlen(head) + expected.size);
	cr_assert_eq(memcmp(f->reply.data, head, strlen(head)), 0);
	cr_assert_eq(memcmp(f->reply.data + strlen(head), expected.data, expected.size), 0);
	buffer_free(&expected);
	fixture_close(f);
}

/* The marks of what is pending follow where it ends. */
Test(streams, the_last_pending_entries_are_acknowledged_first)
{
	struct fixture *f = fixture_open();
	char line[100], last[32];
	for (size_t i = 1; i <= 400; i++)
		add(f, i);
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	fixture_run_line(f, 0, "XREADGROUP GROUP g c STREAMS s >");
	for (int i = 400; i > 100; i--) {
		snprintf(line, sizeof(line), "XACK s g %d-1", i);
		EXPECT(f, 0, line, ":1");
		snprintf(last, sizeof(last), "\r\n%d-1\r\n", i - 1);
		fixture_run_line(f, 0, "XPENDING s g");
		cr_assert_not_null(memmem(f->reply.data, f->reply.size, last, strlen(last)), "%s", last);
	}
	EXPECT(f, 0, "XCLAIM s g d 0 300-1 FORCE JUSTID", "*1\r\n$5\r\n300-1");
	fixture_run_line(f, 0, "XPENDING s g 200 + 9");
	cr_assert_eq(memcmp(f->reply.data, "*1\r\n*4\r\n$5\r\n300-1\r\n$1\r\nd\r\n", 26), 0);
	fixture_close(f);
}
