/* MULTI, EXEC and WATCH (I3), with several clients. */
#include "server_support.h"

Test(transactions, exec_runs_the_queue)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET a 1", "+QUEUED");
	EXPECT(f, 0, "INCR a", "+QUEUED");
	EXPECT(f, 1, "GET a", "$-1");
	EXPECT(f, 0, "EXEC", "*2\r\n+OK\r\n:2");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "DISCARD", "-ERR DISCARD without MULTI");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "MULTI", "-ERR MULTI calls can not be nested");
	EXPECT(f, 0, "WATCH a", "-ERR WATCH inside MULTI is not allowed");
	EXPECT(f, 0, "SET a 5", "+QUEUED");
	EXPECT(f, 0, "DISCARD", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*0");
	fixture_close(f);
}

Test(transactions, a_failed_command_takes_back_only_itself)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET a x", "+QUEUED");
	EXPECT(f, 0, "INCR a", "+QUEUED");
	EXPECT(f, 0, "FLUSHALL", "+QUEUED");
	EXPECT(f, 0, "SET b 1", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*4\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n+OK");
	EXPECT(f, 0, "KEYS *", "*1\r\n$1\r\nb");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

Test(transactions, what_cannot_be_queued_aborts)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET a", "-ERR wrong number of arguments for 'set' command");
	EXPECT(f, 0, "SET a 1", "+QUEUED");
	EXPECT(f, 0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC x",
	       "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	fixture_close(f);
}

/* WATCH `key`, let `change` happen elsewhere, and see what EXEC says. */
static void
watch_and_change(struct fixture *f, const char *key, const char *change, bool aborts, int line)
{
	char text[64];
	snprintf(text, sizeof(text), "WATCH %s", key);
	fixture_expect_at(f, 0, text, "+OK\r\n", line);
	if (change != NULL)
		fixture_run_line(f, 1, change);
	fixture_expect_at(f, 0, "MULTI", "+OK\r\n", line);
	fixture_expect_at(f, 0, "ECHO_IS_NOT_HERE",
			  "-ERR unknown command 'ECHO_IS_NOT_HERE', with args beginning with: \r\n", line);
	fixture_expect_at(f, 0, "DISCARD", "+OK\r\n", line);
	fixture_expect_at(f, 0, text, "+OK\r\n", line);
	if (change != NULL)
		fixture_run_line(f, 1, change);
	fixture_expect_at(f, 0, "MULTI", "+OK\r\n", line);
	fixture_expect_at(f, 0, "STRLEN nothing", "+QUEUED\r\n", line);
	fixture_expect_at(f, 0, "EXEC", aborts ? "*-1\r\n" : "*1\r\n:0\r\n", line);
}
#define WATCH(f, key, change, aborts) watch_and_change(f, key, change, aborts, __LINE__)

Test(transactions, watch)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 1, "SET k 1", "+OK");
	WATCH(f, "k", NULL, false);
	WATCH(f, "k", "GET k", false);
	WATCH(f, "k", "SET k 1", true);
	WATCH(f, "k", "SET other 1", false);
	WATCH(f, "k", "EXPIRE k 100", true);
	WATCH(f, "k", "APPEND k x", true);
	WATCH(f, "absent", "DEL absent", false);
	WATCH(f, "absent", "FLUSHDB", false);
	EXPECT(f, 1, "SET k 1", "+OK");
	WATCH(f, "k", "SET k x XX GET", true);
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 1, "FLUSHALL", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	EXPECT(f, 1, "SET k 1", "+OK");
	/* UNWATCH forgets, and so does EXEC. */
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 1, "SET k 2", "+OK");
	EXPECT(f, 0, "UNWATCH", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*0");
	cr_assert_eq(f->clients[0].watch_count, 0);
	/* Its own change counts. */
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 0, "SET k 3", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	fixture_close(f);
}

Test(transactions, watched_keys_and_time)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k 1 PX 100", "+OK");
	EXPECT(f, 0, "WATCH k", "+OK");
	fixture_advance(f, 101);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	/* Expired already when it was watched: absent, and its removal changes nothing. */
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*0");
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 1, "SET k 2", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	fixture_close(f);
}

Test(transactions, swapdb_and_watch)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k 1", "+OK");
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 1, "SWAPDB 0 1", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	/* Now absent in 0 and there in 1. */
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 1, "SWAPDB 0 1", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	/* In neither. */
	EXPECT(f, 0, "WATCH nowhere", "+OK");
	EXPECT(f, 1, "SWAPDB 0 1", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXEC", "*0");
	fixture_close(f);
}
