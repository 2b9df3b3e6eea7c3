/* BEGIN, COMMIT and ROLLBACK, with several clients. */
#include "txn/interactive.h"
#include "net/durability.h"
#include "server_support.h"

#define CONFLICT                                                                                         \
	"-CONFLICT The transaction was rolled back, as another commit changed what it has read. Please " \
	"retry"
#define READ_ONLY "-READONLY You can't write in a transaction that is READ ONLY."
#define NOT_ALLOWED "-ERR Command not allowed inside a transaction"

Test(interactive, commands_are_answered_and_nobody_else_sees_them)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "INCR a", ":2");
	EXPECT(f, 0, "RPUSH list x y", ":2");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 1, "GET a", "$1\r\n1");
	EXPECT(f, 1, "EXISTS list", ":0");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_gt(f->release, 0);
	EXPECT(f, 1, "GET a", "$1\r\n2");
	EXPECT(f, 1, "LRANGE list 0 -1", "*2\r\n$1\r\nx\r\n$1\r\ny");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "DEL a list", ":2");
	EXPECT(f, 0, "DBSIZE", ":0");
	EXPECT(f, 0, "ROLLBACK", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 0, "DBSIZE", ":2");
	fixture_close(f);
}

Test(interactive, what_is_read_is_as_of_begin)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 1", "+OK");
	EXPECT(f, 0, "BEGIN READ ONLY", "+OK");
	EXPECT(f, 1, "MSET a 2 b 2", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 1, "SET b 3", "+OK");
	EXPECT(f, 1, "DEL a", ":1");
	EXPECT(f, 0, "MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n1");
	EXPECT(f, 0, "COMMIT", "+OK"); /* it has written nothing: it is as of BEGIN */
	EXPECT(f, 0, "MGET a b", "*2\r\n$-1\r\n$1\r\n3");
	fixture_close(f);
}

Test(interactive, a_conflict_is_the_answer_to_commit)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 1", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "SET b 2", "+OK");
	EXPECT(f, 1, "SET a 5", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, "COMMIT", "-ERR COMMIT without BEGIN");
	EXPECT(f, 0, "MGET a b", "*2\r\n$1\r\n5\r\n$1\r\n1");
	/* Two that read what the other writes: one of them commits. */
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 1, "BEGIN", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n5");
	EXPECT(f, 1, "GET b", "$1\r\n1");
	EXPECT(f, 0, "SET b 7", "+OK");
	EXPECT(f, 1, "SET a 7", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 1, "COMMIT", CONFLICT);
	/* What was only written is no conflict. */
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET c 1", "+OK");
	EXPECT(f, 1, "SET d 2", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_eq(f->server.interactive.conflicts, 2);
	cr_assert_eq(f->server.interactive.committed, 2);
	cr_assert_eq(f->server.interactive.open, 0);
	fixture_close(f);
}

/* It is known before COMMIT: from then on it answers nothing else. */
Test(interactive, a_conflict_that_is_known_early_ends_it)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 1, "FLUSHALL", "+OK");
	EXPECT(f, 0, "GET a", CONFLICT);
	EXPECT(f, 0, "SET a 2", CONFLICT);
	EXPECT(f, 0, "CONFIG GET port", CONFLICT);
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET b 1", "+OK");
	EXPECT(f, 1, "SET other 1", "+OK");
	EXPECT(f, 0, "DBSIZE", CONFLICT); /* a counter has no snapshot */
	EXPECT(f, 0, "ROLLBACK", "+OK");
	EXPECT(f, 0, "KEYS *", "*1\r\n$5\r\nother");
	fixture_close(f);
}

/* A count that was told is that of the snapshot, and no reason for a conflict later, where nothing is written. */
Test(interactive, counts_are_as_of_begin)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 1", "+OK");
	EXPECT(f, 0, "BEGIN READ ONLY", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 1, "SET a 2", "+OK");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 1, "SET c 1", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "KEYS [abc]", "*2\r\n$1\r\na\r\n$1\r\nb");
	EXPECT(f, 0, "COMMIT", "+OK");
	/* The counter of a database that was flushed is gone. */
	EXPECT(f, 0, "BEGIN READ ONLY", "+OK");
	EXPECT(f, 0, "DBSIZE", ":3");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 1, "FLUSHALL", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 0, "DBSIZE", CONFLICT);
	EXPECT(f, 0, "ROLLBACK", "+OK");
	fixture_close(f);
}

Test(interactive, a_failed_command_takes_back_only_itself)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a x", "+OK");
	EXPECT(f, 0, "INCR a", "-ERR value is not an integer or out of range");
	EXPECT(f, 0, "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ");
	EXPECT(f, 0, "SET b", "-ERR wrong number of arguments for 'set' command");
	EXPECT(f, 0, "SET b 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "MGET a b", "*2\r\n$1\r\nx\r\n$1\r\n1");
	fixture_close(f);
}

Test(interactive, read_only_means_it)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "begin read only", "+OK");
	EXPECT(f, 0, "SET a 2", READ_ONLY);
	EXPECT(f, 0, "EVAL redis.call('set','a',2) 0", READ_ONLY);
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "BEGIN READ", "-ERR syntax error");
	EXPECT(f, 0, "BEGIN READ ONLY x", "-ERR syntax error");
	EXPECT(f, 0, "COMMIT", "-ERR COMMIT without BEGIN");
	fixture_close(f);
}

Test(interactive, what_may_not_run_inside)
{
	static const char *const refused[] = {
		"MULTI",      "WATCH a",          "SUBSCRIBE c",  "HELLO 3",
		"AUTH x y",   "CLIENT LIST",      "CONFIG GET *", "DURABILITY SYNC",
		"MONITOR",    "REPLICAOF NO ONE", "BGSAVE",       "SHUTDOWN",
		"INFO",       "FUNCTION FLUSH",   "SCRIPT FLUSH", "WAIT 0 0",
		"ACL WHOAMI", "SLOWLOG LEN",      "DEBUG JMAP"};
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		EXPECT(f, 0, refused[i], NOT_ALLOWED);
	EXPECT(f, 0, "BEGIN", "-ERR BEGIN calls can not be nested");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "DISCARD", "-ERR DISCARD without MULTI");
	EXPECT(f, 0, "PING", "+PONG");
	EXPECT(f, 0, "BLPOP none 0", "*-1");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "BEGIN", NOT_ALLOWED);
	EXPECT(f, 0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
	EXPECT(f, 0, "EVAL return(redis.call('begin')) 0",
	       "-ERR This Redis command is not allowed from script script: "
	       "b2508802068762babd5c6ca9278c0675fb17e827, on @user_script:1.");
	fixture_close(f);
}

Test(interactive, a_closed_connection_rolls_back)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 1, "BEGIN", "+OK");
	EXPECT(f, 1, "SET a 1", "+OK");
	f->handler.client_closed(f->handler.arg, &f->clients[1]);
	EXPECT(f, 0, "GET a", "$-1");
	cr_assert_eq(f->server.interactive.open, 0);
	fixture_close(f);
}

/* COMMIT ends it, whatever it answers. */
Test(interactive, commit_always_ends_it)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "COMMIT x", "-ERR syntax error");
	EXPECT(f, 0, "COMMIT", "-ERR COMMIT without BEGIN");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "ROLLBACK x", "-ERR syntax error");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	fixture_close(f);
}

Test(interactive, watched_keys_count_from_watch_on)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "WATCH a", "+OK");
	EXPECT(f, 1, "SET a 1", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET b 1", "+OK");
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, "WATCH a", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 2", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	/* A transaction's commit is one for those that watch. */
	EXPECT(f, 1, "WATCH a", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 3", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "PING", "+QUEUED");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 1, "EXEC", "*-1");
	fixture_close(f);
}

Test(interactive, a_database_is_selected_with_the_commit)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "ROLLBACK", "+OK");
	cr_assert_eq(f->clients[0].db, 0);
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_eq(f->clients[0].db, 3);
	EXPECT(f, 0, "GET a", "$1\r\n1");
	fixture_close(f);
}

/* `now` is that of BEGIN. */
Test(interactive, time_stands_still)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1 PX 1000", "+OK");
	EXPECT(f, 0, "SET b 1 PX 1000", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "PTTL a", ":1000");
	fixture_advance(f, 5000);
	EXPECT(f, 0, "PTTL a", ":1000");
	EXPECT(f, 0, "SET c 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK"); /* nobody has seen it go */
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "SET a 1 PX 1000", "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "SET c 2", "+OK");
	fixture_advance(f, 5000);
	EXPECT(f, 1, "GET a", "$-1");
	EXPECT(f, 0, "COMMIT", CONFLICT); /* (I18) */
	EXPECT(f, 0, "GET c", "$1\r\n1");
	fixture_close(f);
}

Test(interactive, what_is_past_its_deadline_goes_with_the_commit)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1 PX 1000", "+OK");
	fixture_advance(f, 5000);
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "SET b 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

Test(interactive, it_takes_no_more_memory_than_it_may)
{
	struct fixture *f = fixture_open();
	char line[64];
	int refused = 0;
	EXPECT(f, 0, "SET before 1", "+OK");
	f->server.transaction_memory = 100000;
	sett_engine_set_transaction_memory(f->server.engine, 100000);
	EXPECT(f, 0, "BEGIN", "+OK");
	for (int i = 0; i < 5000; i++) {
		snprintf(line, sizeof(line), "SET key:%d value", i);
		fixture_run_line(f, 0, line);
		refused += f->reply.data[0] == '-';
	}
	cr_assert_gt(refused, 1000);
	cr_assert_lt(refused, 4950);
	cr_assert_lt(client_kept_bytes(&f->clients[0]), 400000);
	cr_assert_gt(client_kept_bytes(&f->clients[0]), 50000);
	EXPECT(f, 0, "GET before", "-OOM command not allowed when used memory > 'maxmemory'.");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_eq(client_kept_bytes(&f->clients[0]), 0);
	fixture_run_line(f, 0, "DBSIZE");
	cr_assert_eq(atoi((const char *)f->reply.data + 1), 5001 - refused);
	fixture_close(f);
}

/* What a commit adds to what was admitted is not counted: the places of large values, the line for who monitors. */
Test(interactive, what_was_admitted_can_be_committed)
{
	enum { SIZE = 300 };
	struct fixture *f = fixture_open();
	char key[16], value[SIZE];
	int kept = -1, i = 0;
	f->server.transaction_memory = 100000;
	sett_engine_set_transaction_memory(f->server.engine, 100000);
	memset(value, 'v', sizeof(value));
	EXPECT(f, 0, "BEGIN", "+OK");
	do {
		int size = snprintf(key, sizeof(key), "key:%d", i++);
		struct bytes argv[] = {BYTES_LITERAL("SET"), bytes_of(key, (size_t)size),
				       bytes_of(value, sizeof(value))};
		fixture_run(f, 0, 3, argv);
		kept++;
	} while (f->reply.data[0] == '+' && i < 5000);
	cr_assert_gt(kept, 100);
	cr_assert_lt(kept, 1000);
	EXPECT(f, 0, "COMMIT", "+OK");
	fixture_run_line(f, 0, "DBSIZE");
	cr_assert_eq(atoi((const char *)f->reply.data + 1), kept);
	fixture_close(f);
}

/* (I20) */
Test(interactive, its_time_is_limited)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	f->handler.check_client(f->handler.arg, &f->clients[0]);
	EXPECT(f, 0, "GET a", "$1\r\n1");
	__atomic_store_n(&f->server.config->transaction_timeout, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&f->server.config->transaction_idle_timeout, 0, __ATOMIC_RELAXED);
	struct timespec wait = {1, 100000000};
	nanosleep(&wait, NULL);
	f->handler.check_client(f->handler.arg, &f->clients[0]);
	cr_assert_eq(f->server.interactive.limited, 1);
	cr_assert_eq(f->server.interactive.open, 0); /* its client need not speak for that */
	cr_assert_eq(client_kept_bytes(&f->clients[0]), 0);
	f->handler.check_client(f->handler.arg, &f->clients[0]);
	cr_assert_eq(f->server.interactive.limited, 1);
	EXPECT(f, 0, "GET a", "-TIMEOUT The transaction was rolled back: it has passed transaction-timeout");
	EXPECT(f, 0, "COMMIT", "-TIMEOUT The transaction was rolled back: it has passed transaction-timeout");
	EXPECT(f, 0, "GET a", "$-1");
	__atomic_store_n(&f->server.config->transaction_timeout, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&f->server.config->transaction_idle_timeout, 1, __ATOMIC_RELAXED);
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	nanosleep(&wait, NULL);
	EXPECT(f, 0, "SET b 1",
	       "-TIMEOUT The transaction was rolled back: it has passed transaction-idle-timeout");
	EXPECT(f, 0, "ROLLBACK", "+OK");
	EXPECT(f, 0, "DBSIZE", ":0");
	cr_assert_eq(f->server.interactive.open, 0);
	fixture_close(f);
}

/* Replicas are told of the whole, once, with its commit. */
Test(interactive, effects_follow_the_commit)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 1, "SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "PUBLISH news one", ":1");
	EXPECT(f, 0, "ROLLBACK", "+OK");
	cr_assert(!f->handler.has_news(f->handler.arg, 0));
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "PUBLISH news two", ":1");
	cr_assert(!f->handler.has_news(f->handler.arg, 0));
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert(f->handler.has_news(f->handler.arg, 0));
	fixture_close(f);
}

/* A cache is told of no flush that was taken back. */
Test(interactive, a_flush_that_is_taken_back_is_told_to_nobody)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a 1", "+OK");
	fixture_run_line(f, 1, "HELLO 3");
	EXPECT(f, 1, "CLIENT TRACKING ON", "+OK");
	EXPECT(f, 1, "GET a", "$1\r\n1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "SET b 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert(!f->handler.has_news(f->handler.arg, 0));
	EXPECT(f, 0, "FLUSHALL", "+OK");
	cr_assert(f->handler.has_news(f->handler.arg, 0));
	fixture_close(f);
}

/* As a MULTI block's, a transaction's keys lie in one slot; who asks for another is refused, and it goes on. */
Test(interactive, keys_lie_in_one_slot_of_a_cluster)
{
	struct fixture *f = fixture_open();
	f->server.config->cluster_enabled = true;
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET {x}a 1", "+OK");
	EXPECT(f, 0, "SET y 1", "-CROSSSLOT Keys in request don't hash to the same slot");
	EXPECT(f, 0, "GET {x}a", "$1\r\n1");
	EXPECT(f, 0, "PING", "+PONG");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET y", "$-1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET y 1", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	fixture_close(f);
}

/* SET, too, looks at what is there. */
Test(interactive, what_a_write_looks_at_counts_as_read)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 1, "SET k 1", "+OK");
	EXPECT(f, 0, "SET k 2", "+OK");
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, "GET k", "$1\r\n1");
	fixture_close(f);
}

Test(interactive, who_waits_is_served_by_the_commit)
{
	struct fixture *f = fixture_open();
	fixture_run_line(f, 1, "BLPOP list 0");
	cr_assert_eq(f->result, REQUEST_BLOCKED);
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "RPUSH list a", ":1");
	EXPECT(f, 0, "LRANGE list 0 -1", "*1\r\n$1\r\na");
	cr_assert_eq(fixture_waits_over[2], 0);
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_eq(fixture_waits_over[2], 1);
	EXPECT(f, 0, "EXISTS list", ":0");
	fixture_close(f);
}

/* It may go from a reactor to the pool and back. */
Test(interactive, threads_take_turns)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	EXPECT(f, 0, "SET a 1", "+OK");
	fixture_run_beside(f, 0, "BEGIN", "+OK\r\n");
	EXPECT(f, 0, "INCR a", ":2");
	fixture_run_beside(f, 0, "INCR a", ":3\r\n");
	EXPECT(f, 0, "KEYS *", "*1\r\n$1\r\na");
	fixture_run_beside(f, 0, "COMMIT", "+OK\r\n");
	fixture_run_beside(f, 0, "GET a", "$1\r\n3\r\n");
	/* What is spare is of another thread each time. */
	for (int i = 0; i < 3; i++) {
		fixture_run_beside(f, 0, "BEGIN", "+OK\r\n");
		EXPECT(f, 1, "BEGIN", "+OK");
		EXPECT(f, 0, "ROLLBACK", "+OK");
		fixture_run_beside(f, 1, "ROLLBACK", "+OK\r\n");
	}
	rcu_thread_unregister();
	fixture_close(f);
}

Test(interactive, scripts_run_within)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "EVAL return(redis.call('incr',KEYS[1])) 1 a", ":2");
	EXPECT(f, 1, "EVAL return(redis.call('get',KEYS[1])) 1 a", "$-1");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 1, "EVAL return(redis.call('get',KEYS[1])) 1 a", "$1\r\n2");
	fixture_close(f);
}

/* Values that lie in the value log are moved and copied by their place. */
Test(interactive, large_values_keep_their_place)
{
	struct fixture *f = fixture_open();
	char *value = malloc(2001), *line = malloc(2100), *expected = malloc(2100);
	memset(value, 'v', 2000);
	value[2000] = 0;
	snprintf(line, 2100, "SET a %s", value);
	snprintf(expected, 2100, "$2000\r\n%s\r\n", value);
	EXPECT(f, 0, line, "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "RENAME a b", "+OK");
	EXPECT(f, 0, "EXPIRE b 100", ":1");
	EXPECT(f, 1, "DEL a", ":1");
	fixture_expect_at(f, 0, "GET b", expected, __LINE__);
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, line, "+OK");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "COPY a b", ":1");
	EXPECT(f, 0, "EXPIRE b 100", ":1");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 1, "DEL a", ":1");
	fixture_expect_at(f, 0, "GET b", expected, __LINE__);
	free(value);
	free(line);
	free(expected);
	fixture_close(f);
}

Test(interactive, savepoints)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SAVEPOINT s", "-ERR SAVEPOINT without BEGIN");
	EXPECT(f, 0, "RELEASE s", "-ERR RELEASE without BEGIN");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "SET a 2", "+OK");
	EXPECT(f, 0, "RPUSH l x", ":1");
	EXPECT(f, 0, "SAVEPOINT t", "+OK");
	EXPECT(f, 0, "SET a 3", "+OK");
	EXPECT(f, 0, "ROLLBACK TO t", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "MGET a l", "*2\r\n$1\r\n1\r\n$-1");
	EXPECT(f, 0, "ROLLBACK TO t", "-ERR no such savepoint"); /* it came after s */
	EXPECT(f, 0, "SET a 4", "+OK");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "rollback to s", "+OK"); /* again */
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "SET a 5", "+OK");
	EXPECT(f, 0, "RELEASE s", "+OK");
	EXPECT(f, 0, "ROLLBACK TO s", "-ERR no such savepoint");
	EXPECT(f, 0, "ROLLBACK TO", "-ERR syntax error");
	EXPECT(f, 0, "ROLLBACK S s", "-ERR syntax error");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n5");
	/* One may hide another. */
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "SET a 6", "+OK");
	EXPECT(f, 0, "SELECT 1", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "SET a 7", "+OK");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "RELEASE s", "+OK");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n5"); /* also the database is the one of that time */
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert_eq(f->clients[0].db, 0);
	EXPECT(f, 0, "GET a", "$1\r\n5");
	fixture_close(f);
}

/* What was read stays read, and what is taken back tells nobody. */
Test(interactive, a_savepoint_takes_back_effects_and_no_reads)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 1", "+OK");
	EXPECT(f, 1, "SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1");
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "PUBLISH news x", ":1");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "SET b 2", "+OK");
	EXPECT(f, 2, "SET a 2", "+OK");
	EXPECT(f, 0, "COMMIT", CONFLICT);
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "PUBLISH news x", ":1");
	EXPECT(f, 0, "ROLLBACK TO s", "+OK");
	EXPECT(f, 0, "COMMIT", "+OK");
	cr_assert(!f->handler.has_news(f->handler.arg, 0));
	EXPECT(f, 0, "DBSIZE", ":2");
	/* A lost transaction can't be gone back in. */
	EXPECT(f, 0, "BEGIN", "+OK");
	EXPECT(f, 0, "SAVEPOINT s", "+OK");
	EXPECT(f, 2, "FLUSHALL", "+OK");
	EXPECT(f, 0, "GET a", CONFLICT);
	EXPECT(f, 0, "ROLLBACK TO s", CONFLICT);
	EXPECT(f, 0, "SAVEPOINT t", CONFLICT);
	EXPECT(f, 0, "RELEASE s", CONFLICT);
	EXPECT(f, 0, "ROLLBACK", "+OK");
	fixture_close(f);
}

static void
word_change(unsigned kind, unsigned key, int step, char *ret, size_t size)
{
	static const char *const verbs[] = {"SET s",  "INCR n", "RPUSH l", "LPOP l",
					    "HSET h", "DEL h",  "ZADD z"};
	static const char *const rest[] = {" x", "", " x", "", " field", "", " 1 member"};
	if (kind == 1 || kind == 3 || kind == 5)
		snprintf(ret, size, "%s%u", verbs[kind], key);
	else
		snprintf(ret, size, "%s%u%s%d%s", verbs[kind], key, rest[kind], step, kind == 4 ? " v" : "");
}

/* Commands of several types and savepoints at random, against another database in which only what stays is done. */
Test(interactive, savepoints_at_random_leave_what_stays)
{
	enum { STEPS = 60, NAMES = 4 };
	struct fixture *f = fixture_open();
	unsigned seed = 1;
	f->clients[1].db = 1;
	for (int round = 0; round < 60; round++) {
		char stays[STEPS][64], line[64];
		int count = 0, marks[NAMES];
		for (int n = 0; n < NAMES; n++)
			marks[n] = -1;
		EXPECT(f, 0, "BEGIN", "+OK");
		for (int step = 0; step < STEPS; step++) {
			unsigned kind = (unsigned)rand_r(&seed) % 10, key = (unsigned)rand_r(&seed) % 3;
			int name = rand_r(&seed) % NAMES;
			if (kind == 7) {
				snprintf(line, sizeof(line), "SAVEPOINT %d", name);
				EXPECT(f, 0, line, "+OK");
				marks[name] = count; /* hides an older one of its name */
			} else if (kind == 8 && marks[name] >= 0) {
				snprintf(line, sizeof(line), "ROLLBACK TO %d", name);
				EXPECT(f, 0, line, "+OK");
				count = marks[name];
				for (int n = 0; n < NAMES; n++)
					if (marks[n] > count)
						marks[n] = -1;
				/* Others as old may have come before it or after: none is used again. */
				for (int n = 0; n < NAMES; n++)
					if (n != name && marks[n] == count)
						marks[n] = -1;
			} else if (kind < 7) {
				word_change(kind, key, step, stays[count], sizeof(stays[count]));
				fixture_run_line(f, 0, stays[count]);
				cr_assert_neq(f->reply.data[0], '-', "%s", stays[count]);
				count++;
			}
		}
		bool commits = rand_r(&seed) % 4 != 0;
		fixture_expect_at(f, 0, commits ? "COMMIT" : "ROLLBACK", "+OK\r\n", __LINE__);
		for (int i = 0; commits && i < count; i++)
			fixture_run_line(f, 1, stays[i]);
		for (unsigned key = 0; key < 3; key++) {
			static const char *const looks[] = {"GET s", "GET n", "LRANGE l", "HGETALL h",
							    "ZRANGE z"};
			for (size_t l = 0; l < sizeof(looks) / sizeof(*looks); l++) {
				snprintf(line, sizeof(line), "%s%u%s", looks[l], key,
					 l == 2 || l == 4 ? " 0 -1" : "");
				fixture_run_line(f, 1, line);
				char *expected = strndup((const char *)f->reply.data, f->reply.size);
				fixture_expect_at(f, 0, line, expected, __LINE__);
				free(expected);
			}
		}
	}
	fixture_close(f);
}
