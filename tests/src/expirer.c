/* Deadlines kept in memory, and the thread that removes expired keys. */
#include <unistd.h>

#include "expire/deadlines.h"
#include "server_support.h"
#include "storage/base/random.h"

Test(expirer, deadlines_come_in_order)
{
	struct deadlines *d;
	struct random r;
	struct buffer key = {0};
	unsigned db;
	cr_assert_eq(deadlines_create(1000, 1 << 20, &d), SETT_OK);
	random_seed(&r, 3);
	uint64_t nearest[50];
	for (int i = 0; i < 50; i++)
		nearest[i] = UINT64_MAX;
	for (int i = 0; i < 5000; i++) {
		uint64_t n = random_below(&r, 50), deadline = random_below(&r, 100000);
		char text[8];
		snprintf(text, sizeof(text), "k%d", (int)n);
		deadlines_note(d, (unsigned)n % 3, bytes_of_string(text), deadline);
		if (deadline < nearest[n])
			nearest[n] = deadline;
	}
	cr_assert_eq(deadlines_count(d), 50, "one place a key");
	for (uint64_t last = 0; deadlines_count(d) > 0;) {
		uint64_t at = deadlines_nearest(d);
		cr_assert_geq(at, last);
		last = at;
		buffer_clear(&key);
		cr_assert(deadlines_take(d, &db, &key));
		buffer_append(&key, "", 1);
		int n = atoi((const char *)key.data + 1);
		cr_assert_eq(at, nearest[n]);
		cr_assert_eq(db, (unsigned)n % 3);
	}
	cr_assert_eq(deadlines_nearest(d), UINT64_MAX);
	buffer_free(&key);
	deadlines_destroy(d);
}

Test(expirer, a_full_list_says_what_it_lost)
{
	struct deadlines *d;
	cr_assert_eq(deadlines_create(10, 1 << 20, &d), SETT_OK);
	for (uint64_t i = 0; i < 100; i++) {
		char text[8];
		snprintf(text, sizeof(text), "k%d", (int)i);
		deadlines_note(d, 0, bytes_of_string(text), 1000 - i);
	}
	cr_assert_eq(deadlines_count(d), 10);
	uint64_t lost = deadlines_lost(d);
	cr_assert_leq(lost, 1000);
	/* Whatever is kept, everything else is at or behind `lost`. */
	struct buffer key = {0};
	unsigned db, kept = 0;
	while (deadlines_count(d) > 0) {
		kept += deadlines_nearest(d) < lost;
		deadlines_take(d, &db, &key);
	}
	cr_assert_eq(kept, lost - 901);
	deadlines_forget_lost(d);
	cr_assert_eq(deadlines_lost(d), UINT64_MAX);
	buffer_free(&key);
	deadlines_destroy(d);
}

/* Waits until DBSIZE is `expected`; the thread needs a moment. */
static void
await_size(struct fixture *f, int64_t expected)
{
	char text[32];
	snprintf(text, sizeof(text), ":%lld\r\n", (long long)expected);
	for (int i = 0; i < 6000; i++) {
		fixture_run_line(f, 0, "DBSIZE");
		if (f->reply.size == strlen(text) && memcmp(f->reply.data, text, f->reply.size) == 0)
			return;
		usleep(10000);
	}
	cr_assert_fail("DBSIZE never was %s", text);
}

Test(expirer, removes_keys)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(expirer_create(&f->server, &f->server.expirer), SETT_OK);
	char line[64];
	for (int i = 0; i < 200; i++) {
		snprintf(line, sizeof(line), "SET k%d v PX %d", i, 100 + i);
		fixture_run_line(f, 0, line);
	}
	EXPECT(f, 0, "SET stays v", "+OK");
	EXPECT(f, 0, "SET later v PX 5", "+OK");
	EXPECT(f, 0, "SET later v EX 1000", "+OK");
	fixture_advance(f, 400);
	expirer_kick(f->server.expirer);
	await_size(f, 2);
	/* Counted after the commit that DBSIZE shows. */
	for (int i = 0; i < 6000 && expirer_expired_keys(f->server.expirer) != 200; i++)
		usleep(10000);
	cr_assert_eq(expirer_expired_keys(f->server.expirer), 200);
	fixture_advance(f, 1000000);
	expirer_kick(f->server.expirer);
	await_size(f, 1);
	fixture_close(f);
}

/* Deadlines from before the start are only in the files. */
Test(expirer, finds_old_deadlines_after_a_start)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a v PX 100", "+OK");
	EXPECT(f, 0, "SET b v", "+OK");
	fixture_stop(f);
	fixture_advance(f, 1000);
	fixture_start(f);
	EXPECT(f, 0, "DBSIZE", ":2");
	cr_assert_eq(expirer_create(&f->server, &f->server.expirer), SETT_OK);
	await_size(f, 1);
	fixture_close(f);
}

/* With active expiry off, a key goes when a read meets it. */
Test(expirer, reads_remove_what_they_meet)
{
	struct fixture *f = fixture_open();
	f->server.config->active_expire = false;
	cr_assert_eq(expirer_create(&f->server, &f->server.expirer), SETT_OK);
	EXPECT(f, 0, "MSET b 2 c 3", "+OK");
	EXPECT(f, 0, "SET a v PX 100", "+OK");
	fixture_advance(f, 101);
	expirer_kick(f->server.expirer);
	usleep(20000);
	EXPECT(f, 0, "DBSIZE", ":3");
	EXPECT(f, 0, "GET a", "$-1");
	await_size(f, 2);
	/* A watcher to whom the key was absent already sees nothing. */
	fixture_close(f);
}
