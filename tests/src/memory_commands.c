/* MEMORY: figures that must agree with each other and with what there is. */
#include "server_support.h"

/* The integer after a name in the reply. */
static long long
figure(const struct fixture *f, const char *name)
{
	char pattern[64];
	int size = snprintf(pattern, sizeof pattern, "\r\n%s\r\n:", name);
	const char *found = memmem(f->reply.data, f->reply.size, pattern, (size_t)size);
	cr_assert_not_null(found, "%s", name);
	return strtoll(found + size, NULL, 10);
}

Test(memory_commands, stats_agree)
{
	struct fixture *f = fixture_open();
	f->server.startup_memory = 1000;
	EXPECT(f, 0, "MSET a 1 b 2", "+OK");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "SET c 3", "+OK");
	fixture_run_line(f, 0, "MEMORY STATS");
	long long used = figure(f, "total.allocated");
	cr_assert_eq(used, figure(f, "overhead.total") + figure(f, "dataset.bytes"));
	cr_assert_gt(figure(f, "dataset.bytes"), 0);
	cr_assert_geq(figure(f, "peak.allocated"), used);
	cr_assert_eq(figure(f, "startup.allocated"), 1000);
	cr_assert_eq(figure(f, "keys.count"), 3);
	cr_assert_eq(figure(f, "keys.bytes-per-key"), (used - 1000) / 3);
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "\r\ndb.0\r\n", 8));
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "\r\ndb.3\r\n", 8));
	cr_assert_null(memmem(f->reply.data, f->reply.size, "\r\ndb.1\r\n", 8));
	fixture_close(f);
}

Test(memory_commands, doctor_speaks_of_the_peak)
{
	static const char said[] = "At its peak the server used 1024 MiB";
	struct fixture *f = fixture_open();
	f->server.config->max_memory = 1LL << 40;
	fixture_run_line(f, 0, "MEMORY DOCTOR");
	cr_assert_null(memmem(f->reply.data, f->reply.size, said, sizeof said - 1));
	f->server.used_memory_peak = 1 << 30;
	fixture_run_line(f, 0, "MEMORY DOCTOR");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, said, sizeof said - 1));
	fixture_close(f);
}
