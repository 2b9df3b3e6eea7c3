/* SCAN against a model: whatever others do, a scan ends, and what is there throughout is met exactly once. */
#include "keyspace/private.h"
#include "server_support.h"

enum { STABLE_MAX = 4096, KEY_MAX = 9000, CALLS_MAX = 200000 };
#define CURSOR_LIMIT (1ull << 53)

/* ---- calls ---- */

struct answer {
	unsigned long long cursor;
	size_t count;
	const uint8_t *at; /* of the next key in the reply */
};

static size_t
take_number(const uint8_t **at, char mark)
{
	char *end;
	cr_assert_eq(**at, mark);
	size_t n = strtoull((const char *)*at + 1, &end, 10);
	*at = (const uint8_t *)end + 2;
	return n;
}

static struct bytes
take_bulk(const uint8_t **at)
{
	size_t size = take_number(at, '$');
	struct bytes b = bytes_of(*at, size);
	*at += size + 2;
	return b;
}

static struct answer
scan_with(struct fixture *f, unsigned long long cursor, int count, const char *match)
{
	char number[32], counted[16];
	snprintf(number, sizeof(number), "%llu", cursor);
	snprintf(counted, sizeof(counted), "%d", count);
	struct bytes argv[] = {
		BYTES_LITERAL("SCAN"),  bytes_of_string(number),
		BYTES_LITERAL("COUNT"), bytes_of_string(counted),
		BYTES_LITERAL("MATCH"), match != NULL ? bytes_of_string(match) : BYTES_LITERAL("*")};
	fixture_run(f, 1, match != NULL ? 6 : 4, argv);
	struct answer a = {.at = f->reply.data};
	cr_assert_eq(f->result, REQUEST_DONE);
	cr_assert_eq(f->reply.data[0], '*', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	cr_assert_eq(take_number(&a.at, '*'), 2);
	struct bytes text = take_bulk(&a.at);
	a.cursor = strtoull((const char *)text.data, NULL, 10);
	cr_assert_lt(a.cursor, CURSOR_LIMIT, "exact in no double");
	a.count = take_number(&a.at, '*');
	return a;
}

static struct answer
scan(struct fixture *f, unsigned long long cursor, int count)
{
	return scan_with(f, cursor, count, NULL);
}

static void
set_key(struct fixture *f, struct bytes key)
{
	struct bytes argv[] = {BYTES_LITERAL("SET"), key, BYTES_LITERAL("v")};
	fixture_run(f, 0, 3, argv);
	cr_assert_eq(f->reply.data[0], '+', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
}

static void
delete_key(struct fixture *f, struct bytes key)
{
	struct bytes argv[] = {BYTES_LITERAL("DEL"), key};
	fixture_run(f, 0, 2, argv);
	cr_assert_eq(f->reply.data[0], ':');
}

/* Stems that were ever made. */
static uint64_t
stems_made(struct fixture *f)
{
	static const uint8_t key[] = {KIND_META, 'c'};
	struct sett_txn *txn;
	struct sett_record record;
	uint64_t made = 0;
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
	if (sett_txn_get(txn, bytes_of(key, sizeof(key)), &record) == SETT_OK)
		memcpy(&made, record.head.data, sizeof(made));
	sett_txn_destroy(txn);
	return made;
}

static void
restart(struct fixture *f)
{
	fixture_stop(f);
	fixture_start(f);
}

static uint64_t
next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* ---- shapes of names ---- */

enum shape { NUMBERS, LONG_PREFIX, PAIRS, CHAIN, BYTES, HUGE, SHAPES };

/* The i-th name of a shape; those of different i differ, and never begin with another one's text but in CHAIN. */
static struct bytes
name_of(enum shape shape, unsigned i, uint8_t room[KEY_MAX])
{
	uint64_t mixed = i * 0x9e3779b97f4a7c15u;
	size_t size = 0;
	switch (shape) {
	case NUMBERS:
		return bytes_of(room, (size_t)snprintf((char *)room, KEY_MAX, "user:%08u", i));
	case LONG_PREFIX:
		memset(room, 'p', 700);
		return bytes_of(room, 700 + (size_t)snprintf((char *)room + 700, 32, "%06u:x", i));
	case PAIRS: /* two of each beginning, so nearly every other place is a deep one */
		mixed = i / 2 * 0x9e3779b97f4a7c15u;
		size = (size_t)snprintf((char *)room, KEY_MAX, "%016llx%016llx:%c", (unsigned long long)mixed,
					(unsigned long long)~mixed, 'a' + (int)i % 2);
		return bytes_of(room, size);
	case CHAIN: /* each is the beginning of the next */
		memset(room, 'c', i + 1);
		return bytes_of(room, i + 1);
	case BYTES:
		memcpy(room, &mixed, sizeof(mixed));
		room[0] = i % 3 == 0 ? 0 : i % 3 == 1 ? 255 : room[0];
		memcpy(room + sizeof(mixed), &i, sizeof(i));
		return bytes_of(room, sizeof(mixed) + sizeof(i));
	default: /* longer than an engine key */
		memset(room, 'h', 8500);
		memcpy(room + 8400, &i, sizeof(i));
		return bytes_of(room, 8500);
	}
}

/* ---- the model ---- */

struct model_scan {
	unsigned long long cursor;
	unsigned calls;
	bool begun;
	int count;
	uint8_t seen[STABLE_MAX]; /* how often */
};

struct model {
	struct fixture *f;
	enum shape shape;
	unsigned stable; /* names 0, 2, 4, ... stay; odd ones come and go */
	uint64_t random;
	uint64_t ended, calls;
	uint64_t large;  /* calls that returned many more than COUNT: of scans that took long, by a guess */
	bool may_repeat; /* cursors get lost */
	size_t scan_count;
	struct model_scan *scans;
};

static unsigned
index_of(const struct model *m, struct bytes key)
{
	unsigned i;
	uint8_t room[KEY_MAX];
	char text[32] = "";
	switch (m->shape) {
	case NUMBERS:
		memcpy(text, key.data + 5, key.size - 5);
		return (unsigned)atoi(text);
	case LONG_PREFIX:
		memcpy(text, key.data + 700, 6);
		return (unsigned)atoi(text);
	case CHAIN:
		return (unsigned)key.size - 1;
	case BYTES:
		memcpy(&i, key.data + 8, sizeof(i));
		return i;
	case HUGE:
		memcpy(&i, key.data + 8400, sizeof(i));
		return i;
	default:
		for (i = 0; i < 2 * m->stable; i++)
			if (bytes_equal(name_of(m->shape, i, room), key))
				return i;
		return UINT32_MAX;
	}
}

static void
begin_scan(struct model *m, struct model_scan *s)
{
	static const int counts[] = {1, 2, 7, 10, 50, 1000};
	memset(s, 0, sizeof(*s));
	s->count = counts[next_random(&m->random) % 6];
}

static void
step_scan(struct model *m, struct model_scan *s)
{
	struct answer a = scan(m->f, s->cursor, s->count);
	m->calls++;
	m->large += a.count > (size_t)s->count + (size_t)s->count / 2 + 1;
	for (size_t i = 0; i < a.count; i++) {
		unsigned n = index_of(m, take_bulk(&a.at));
		cr_assert_lt(n, 2 * m->stable);
		if (n % 2 == 0 && s->seen[n / 2] < 255)
			s->seen[n / 2]++;
	}
	cr_assert_lt(++s->calls, CALLS_MAX, "it does not end");
	s->cursor = a.cursor;
	if (a.cursor != 0)
		return;
	for (unsigned i = 0; i < m->stable; i++)
		cr_assert(s->seen[i] == 1 || (m->may_repeat && s->seen[i] > 1),
			  "shape %d: key %u was met %u times in %u calls of COUNT %d", (int)m->shape, 2 * i,
			  s->seen[i], s->calls, s->count);
	m->ended++;
	begin_scan(m, s);
}

static void
write_something(struct model *m)
{
	uint8_t room[KEY_MAX];
	unsigned n = (unsigned)next_random(&m->random) % (2 * m->stable);
	struct bytes key = name_of(m->shape, n, room);
	if (n % 2 == 0 || next_random(&m->random) % 2 == 0)
		set_key(m->f, key); /* one that stays is overwritten */
	else
		delete_key(m->f, key);
}

static void
run_model(struct model *m, unsigned steps, unsigned restarts)
{
	uint8_t room[KEY_MAX];
	m->scans = calloc(m->scan_count, sizeof(*m->scans));
	cr_assert_not_null(m->scans);
	for (unsigned i = 0; i < m->stable; i++)
		set_key(m->f, name_of(m->shape, 2 * i, room));
	for (size_t i = 0; i < m->scan_count; i++)
		begin_scan(m, &m->scans[i]);
	for (unsigned i = 0; i < steps; i++) {
		step_scan(m, &m->scans[next_random(&m->random) % m->scan_count]);
		if (i % 4 == 0)
			write_something(m);
		if (restarts > 0 && i % (steps / restarts) == steps / restarts - 1)
			restart(m->f);
	}
	/* All come to their end. */
	for (size_t i = 0; i < m->scan_count; i++)
		for (uint64_t ended = m->ended; m->ended == ended;)
			step_scan(m, &m->scans[i]);
	cr_assert(m->may_repeat || m->large <= m->calls / 100, "%llu of %llu calls",
		  (unsigned long long)m->large, (unsigned long long)m->calls);
	free(m->scans);
}

static void
check_shape(enum shape shape, unsigned stable, size_t scans, unsigned steps)
{
	struct fixture *f = fixture_open();
	struct model m = {
		.f = f, .shape = shape, .stable = stable, .scan_count = scans, .random = 17 + shape};
	run_model(&m, steps, 10);
	cr_assert_geq(m.ended, scans);
	fixture_close(f);
}

Test(scan, numbers, .timeout = 400)
{
	check_shape(NUMBERS, 300, 2000, 5000);
}

Test(scan, long_common_beginnings, .timeout = 400)
{
	check_shape(LONG_PREFIX, 300, 500, 4000);
}

Test(scan, pairs, .timeout = 400)
{
	check_shape(PAIRS, 100, 150, 2000);
}

Test(scan, chains, .timeout = 400)
{
	check_shape(CHAIN, 300, 300, 3000);
}

Test(scan, any_bytes, .timeout = 400)
{
	check_shape(BYTES, 300, 1000, 4000);
}

Test(scan, names_longer_than_engine_keys, .timeout = 400)
{
	check_shape(HUGE, 40, 100, 1000);
}

/* ---- single properties ---- */

static void
add_numbers(struct fixture *f, unsigned count)
{
	uint8_t room[KEY_MAX];
	for (unsigned i = 0; i < count; i++)
		set_key(f, name_of(NUMBERS, i, room));
}

/* Other scans, however many, take nothing from a cursor. */
Test(scan, seventy_thousand_other_scans, .timeout = 400)
{
	struct fixture *f = fixture_open();
	add_numbers(f, 5000);
	struct answer a = scan(f, 0, 1000);
	unsigned long long cursor = a.cursor;
	size_t met = a.count;
	for (int i = 0; i < 70000; i++)
		scan(f, 0, 1);
	while (cursor != 0) {
		a = scan(f, cursor, 1000);
		cursor = a.cursor;
		met += a.count;
	}
	cr_assert_eq(met, 5000);
	fixture_close(f);
}

Test(scan, a_restart_after_each_call, .timeout = 400)
{
	struct fixture *f = fixture_open();
	add_numbers(f, 2000);
	unsigned long long cursor = 0;
	size_t met = 0;
	do {
		struct answer a = scan(f, cursor, 50);
		cursor = a.cursor;
		met += a.count;
		restart(f);
	} while (cursor != 0);
	cr_assert_eq(met, 2000);
	fixture_close(f);
}

Test(scan, stems_are_few_and_shared)
{
	struct fixture *f = fixture_open();
	add_numbers(f, 20000);
	uint64_t release = f->release, made = 0;
	for (unsigned long long cursor = 0, begun = 0; cursor != 0 || begun == 0; begun = 1) {
		cursor = scan(f, cursor, 10).cursor;
		if (stems_made(f) > made)
			cr_assert_gt(f->release, release, "the reply leaves before its stem is written (I1)");
		made = stems_made(f);
		release = f->release;
	}
	cr_assert(made > 0 && made <= 60, "%llu stems for 20,000 keys", (unsigned long long)made);
	for (int round = 0; round < 3; round++)
		for (unsigned long long cursor = 0, begun = 0; cursor != 0 || begun == 0; begun = 1)
			cursor = scan(f, cursor, 10).cursor;
	cr_assert_eq(stems_made(f), made);
	fixture_close(f);
}

Test(scan, match_seeks_and_may_change)
{
	struct fixture *f = fixture_open();
	add_numbers(f, 3000);
	set_key(f, BYTES_LITERAL("session:1"));
	set_key(f, BYTES_LITERAL("zebra"));
	size_t met = 0, calls = 0;
	unsigned long long cursor = 0;
	do {
		struct answer a = scan_with(f, cursor, 10, "user:000021*");
		cursor = a.cursor;
		met += a.count;
		calls++;
	} while (cursor != 0);
	cr_assert_eq(met, 100);
	cr_assert_leq(calls, 11);
	cursor = scan(f, 0, 1500).cursor;
	cr_assert_eq(scan_with(f, cursor, 10, "session:*").count, 0, "it is before the cursor");
	cr_assert_eq(scan_with(f, cursor, 10, "z*").count, 1);
	fixture_close(f);
}

/* Keys are made ahead of the scan faster than it goes on, and deleted at the other end. */
Test(scan, a_scan_arrives_although_keys_are_made_ahead_of_it, .timeout = 400)
{
	enum { WINDOW = 3000, AHEAD = 30 };
	struct fixture *f = fixture_open();
	uint8_t room[KEY_MAX];
	unsigned first = 0, end = 0;
	for (; end < WINDOW; end++)
		set_key(f, name_of(NUMBERS, end, room));
	unsigned long long cursor = 0;
	unsigned calls = 0;
	do {
		cursor = scan(f, cursor, 10).cursor;
		for (int i = 0; i < AHEAD; i++) {
			set_key(f, name_of(NUMBERS, end++, room));
			delete_key(f, name_of(NUMBERS, first++, room));
		}
		cr_assert_lt(++calls, 10000, "it does not end");
	} while (cursor != 0);
	fixture_close(f);
}

/* Stems are dropped while scans need them: they go back to the beginning, and end all the same. */
Test(scan, lost_stems_cost_duplicates_only, .timeout = 400)
{
	struct fixture *f = fixture_open();
	scan_cursors_set_generation_size(f->server.keyspace->cursors, 4);
	struct model m = {
		.f = f, .shape = CHAIN, .stable = 150, .scan_count = 20, .random = 5, .may_repeat = true};
	run_model(&m, 2000, 0);
	cr_assert_gt(stems_made(f), 12, "no generation was dropped");
	fixture_close(f);
}

static struct fixture *
open_on_a_failing_disk(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	cr_assert_not_null(f);
	f->vfs = vfs_fault_create(vfs_memory_create());
	cr_assert_not_null(f->vfs);
	f->now_ms = 1700000000000;
	fixture_start(f);
	return f;
}

/* By calls of COUNT 10, each of which returns not many more. */
static void
expect_scanned(struct fixture *f, size_t keys)
{
	size_t met = 0;
	unsigned long long cursor = 0;
	do {
		struct answer a = scan(f, cursor, 10);
		cursor = a.cursor;
		met += a.count;
		cr_assert_leq(a.count, 60);
	} while (cursor != 0);
	cr_assert_eq(met, keys);
}

/* Until the log has no room for another. */
static void
fill_log(struct fixture *f, const char *line)
{
	do {
		fixture_run_line(f, 0, line);
		cr_assert_eq(sett_engine_write_unsynced(f->server.engine), SETT_OK);
	} while (f->reply.data[0] == '+');
	cr_assert_eq(f->reply.data[0], '-');
}

Test(scan, a_disk_that_takes_no_stem, .timeout = 400)
{
	struct fixture *f = open_on_a_failing_disk();
	add_numbers(f, 5000);
	vfs_fault_arm(f->vfs, VFS_FAULT_RESIZE, 1, true);
	char line[256] = "SET user:00000000 ";
	memset(line + strlen(line), 'v', 200);
	fill_log(f, line);
	fill_log(f, "SET user:00000000 v");
	expect_scanned(f, 5000);
	cr_assert_eq(stems_made(f), 0);
	vfs_fault_arm(f->vfs, VFS_FAULT_RESIZE, 0, false);
	fixture_close(f);
}

/* With a key that was made and never written: it is not shown, and keeps nobody from the others. */
Test(scan, a_log_that_has_stopped, .timeout = 400)
{
	struct fixture *f = open_on_a_failing_disk();
	add_numbers(f, 20000);
	cr_assert_eq(sett_engine_sync(f->server.engine, NULL), SETT_OK);
	vfs_fault_arm(f->vfs, VFS_FAULT_WRITE, 1, true);
	set_key(f, BYTES_LITERAL("unwritten"));
	cr_assert_neq(sett_engine_sync(f->server.engine, NULL), SETT_OK);
	f->log_stopped = true;
	expect_scanned(f, 20000);
	fixture_close(f);
}

Test(scan, any_number_is_taken_for_a_cursor)
{
	static const unsigned long long numbers[] = {
		1,         12345, 1ull << 40, (1ull << 46) - 1, 1ull << 52, CURSOR_LIMIT - 1, CURSOR_LIMIT,
		UINT64_MAX};
	struct fixture *f = fixture_open();
	add_numbers(f, 100);
	uint64_t random = 3;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		scan(f, numbers[i], 10);
	for (int i = 0; i < 20000; i++)
		scan(f, next_random(&random) << 31 ^ next_random(&random), 3);
	fixture_close(f);
}
