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

/* Queues SETs until one is refused. */
static int
queue_until_refused(struct fixture *f)
{
	static const char out_of_memory[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
	char line[64];
	int count = 0;
	EXPECT(f, 0, "MULTI", "+OK");
	for (; count < 100000; count++) {
		snprintf(line, sizeof(line), "SET key:%d value", count);
		fixture_run_line(f, 0, line);
		struct bytes reply = bytes_of(f->reply.data, f->reply.size);
		if (!bytes_equal(reply, BYTES_LITERAL("+QUEUED\r\n"))) {
			cr_assert(bytes_equal(reply, bytes_of_string(out_of_memory)), "%.*s", (int)reply.size,
				  (const char *)reply.data);
			break;
		}
	}
	return count;
}

Test(transactions, a_queue_takes_no_more_memory_than_it_may)
{
	struct fixture *f = fixture_open();
	f->server.transaction_memory = 100000;
	int count = queue_until_refused(f);
	cr_assert_gt(count, 500);
	cr_assert_lt(count, 2000);
	EXPECT(f, 0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
	EXPECT(f, 0, "DBSIZE", ":0");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET a 1", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*1\r\n+OK");
	fixture_close(f);
}

/* Many queues, each within its bound, may be too much together. */
Test(transactions, a_queue_stays_small_while_memory_is_short)
{
	struct fixture *f = fixture_open();
	f->server.transaction_memory = 6400000;
	f->server.memory_is_short = true;
	int count = queue_until_refused(f);
	cr_assert_gt(count, 10000);
	cr_assert_lt(count, 40000);
	EXPECT(f, 0, "DISCARD", "+OK");
	f->server.memory_is_short = false;
	cr_assert_gt(queue_until_refused(f), 40000);
	fixture_close(f);
}

/* All of it or nothing: also where the queue fits, and what it writes does not. */
Test(transactions, an_exec_without_memory_comes_to_nothing)
{
	struct fixture *f = fixture_open();
	char line[64];
	EXPECT(f, 0, "SET before 1", "+OK");
	sett_engine_set_transaction_memory(f->server.engine, 100000);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET before 2", "+QUEUED");
	for (int i = 0; i < 2000; i++) {
		snprintf(line, sizeof(line), "SET key:%d value", i);
		EXPECT(f, 0, line, "+QUEUED");
	}
	EXPECT(f, 0, "EXEC",
	       "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
	       "'maxmemory'.");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "GET before", "$1\r\n1");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "SET after 1", "+OK");
	fixture_close(f);
}

static void
each_key(struct fixture *f, const char *command, const char *value, const char *reply)
{
	char line[64];
	for (int i = 0; i < 700; i++) {
		snprintf(line, sizeof(line), "%s key:%d%s", command, i, value);
		fixture_expect_at(f, 0, line, reply, __LINE__);
	}
}

/* As Redis refuses the former and never the latter. */
Test(transactions, what_frees_may_take_more_memory_than_what_fills)
{
	struct fixture *f = fixture_open();
	each_key(f, "SET", " value", "+OK\r\n");
	sett_engine_set_transaction_memory(f->server.engine, 100000);
	EXPECT(f, 0, "MULTI", "+OK");
	each_key(f, "SET", " other", "+QUEUED\r\n");
	EXPECT(f, 0, "EXEC",
	       "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
	       "'maxmemory'.");
	EXPECT(f, 0, "MULTI", "+OK");
	each_key(f, "DEL", "", "+QUEUED\r\n");
	fixture_run_line(f, 0, "EXEC");
	EXPECT(f, 0, "DBSIZE", ":0");
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

/* ---- what happens within a run, by a command that is not in the table ---- */

/* What the command did, and what it lets another client do before it ends. */
static struct intruder {
	struct fixture *f;
	void *thread;       /* the other client's */
	const char *change; /* its request; NULL: none */
	int changes_left;   /* runs in which it is made */
	int runs;
	char effects[16]; /* a digit for each effect that happened: the run that deferred it */
	size_t effect_count;
} intruder;

static void
note_effect(struct server *server, struct client *client, void *data)
{
	intruder.effects[intruder.effect_count++] = (char)('0' + (int)(uintptr_t)data);
}

/* A request of client 1 on a thread of its own, while the fixture's own is busy. */
static void
change_meanwhile(void)
{
	struct bytes argv[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of_string(intruder.change)};
	struct request request = {.argc = 3, .argv = argv};
	struct fixture *f = intruder.f;
	struct resp_writer reply;
	uint64_t release;
	resp_writer_init(&reply, 2);
	f->handler.execute(f->handler.arg, intruder.thread, &f->clients[1], &request, &reply, &release);
	cr_assert(reply.size == 5 && memcmp(reply.data, "+OK\r\n", 5) == 0);
	resp_writer_free(&reply);
}

/* Reads `k`, defers an effect, and is met by the change. */
static int
run_intruded(struct command_context *c)
{
	struct key k;
	intruder.runs++;
	int status = key_open(&c->view, c->db, BYTES_LITERAL("k"), &k);
	if (status != SETT_OK)
		return status;
	sett_txn_validate_reads(c->view.txn);
	/* Another run need not use memory like the one before it: here it leaves alone what that one had. */
	if (intruder.runs > 1 && arena_allocate(c->arena, 4096, 8) == NULL)
		return SETT_NO_MEMORY;
	status = context_defer(c, note_effect, (void *)(uintptr_t)intruder.runs);
	if (intruder.changes_left > 0) {
		intruder.changes_left--;
		change_meanwhile();
	}
	resp_integer(c->reply, intruder.runs);
	return status;
}

static const struct command intruded = {.name = "intruded", .full_name = "intruded", .run = run_intruded};

static void
intruder_start(struct fixture *f, int changes)
{
	intruder = (struct intruder){.f = f, .change = "changed", .changes_left = changes};
	cr_assert_eq(f->handler.thread_start(f->handler.arg, true, &intruder.thread), SETT_OK);
}

static void
intruder_stop(struct fixture *f)
{
	f->handler.thread_stop(f->handler.arg, intruder.thread);
}

static void
queue_intruded(struct fixture *f)
{
	static const struct bytes argv[] = {BYTES_LITERAL("intruded")};
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET mine 1", "+QUEUED");
	cr_assert_eq(transaction_queue(&f->clients[0], &intruded, 1, argv, SIZE_MAX), SETT_OK);
}

/* (I2) */
Test(transactions, effects_of_a_lost_run_do_not_happen, .timeout = 300)
{
	struct fixture *f = fixture_open();
	struct command_figures figures;
	intruder_start(f, 2);
	queue_intruded(f);
	EXPECT(f, 0, "EXEC", "*2\r\n+OK\r\n:3");
	cr_assert_str_eq(intruder.effects, "3");
	/* EXEC's own effects: its commands are counted, its queue is gone. */
	struct bytes name = BYTES_LITERAL("set");
	command_stats_get(f->server.command_stats, command_find(&sett_commands, &name, 1, NULL)->index,
			  &figures);
	cr_assert_eq(figures.calls, 3);
	cr_assert_not(client_in_multi(&f->clients[0]));
	intruder_stop(f);
	fixture_close(f);
}

/* (I3) The change comes when EXEC has looked at its mark and runs; it conflicts with nothing that EXEC reads.
 */
Test(transactions, a_watched_key_that_changes_while_exec_runs_aborts_it)
{
	struct fixture *f = fixture_open();
	static const struct bytes argv[] = {BYTES_LITERAL("intruded")};
	intruder_start(f, 1);
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 0, "SELECT 1", "+OK"); /* where the command does not read what is changed */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET mine 1", "+QUEUED");
	cr_assert_eq(transaction_queue(&f->clients[0], &intruded, 1, argv, SIZE_MAX), SETT_OK);
	EXPECT(f, 0, "EXEC", "*-1");
	cr_assert_gt(f->release, 0, "the reply tells of the change (I1)");
	cr_assert_eq(intruder.runs, 1);
	cr_assert_str_eq(intruder.effects, "");
	EXPECT(f, 0, "GET mine", "$-1");
	intruder_stop(f);
	fixture_close(f);
}

/* The look before that spares the run: what can't be committed need not be read from the disk. */
Test(transactions, exec_runs_nothing_once_a_watched_key_has_changed)
{
	struct fixture *f = fixture_open();
	intruder_start(f, 0);
	EXPECT(f, 0, "WATCH k", "+OK");
	queue_intruded(f);
	EXPECT(f, 1, "SET k 1", "+OK");
	EXPECT(f, 0, "EXEC", "*-1");
	cr_assert_eq(intruder.runs, 0);
	intruder_stop(f);
	fixture_close(f);
}

/* ---- EXEC whose commit fails ---- */

static char large_value[301]; /* goes to the value log, before the commit */

static struct fixture *
open_on_a_disk_that_fills(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	cr_assert_not_null(f);
	memset(large_value, 'v', sizeof(large_value) - 1);
	f->vfs = vfs_fault_create(vfs_memory_create());
	cr_assert_not_null(f->vfs);
	f->now_ms = 1700000000000;
	fixture_start(f);
	return f;
}

static void
fill_disk(struct fixture *f, bool full)
{
	vfs_fault_arm(f->vfs, VFS_FAULT_NO_SPACE, full ? 1 : 0, full);
}

static void
expect_begin(struct fixture *f, int client, const char *line, const char *expected)
{
	fixture_run_line(f, client, line);
	cr_assert(f->reply.size > strlen(expected) && memcmp(f->reply.data, expected, strlen(expected)) == 0,
		  "%s: expected %s, got %.*s", line, expected, (int)f->reply.size,
		  (const char *)f->reply.data);
}

Test(transactions, an_exec_that_fails_to_commit_ends_the_block)
{
	static const char discarded[] = "-EXECABORT Transaction discarded because of: MISCONF ";
	struct fixture *f = open_on_a_disk_that_fills();
	char line[400];
	snprintf(line, sizeof(line), "SET a %s", large_value);
	EXPECT(f, 0, "SET k 1", "+OK");
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SELECT 1", "+QUEUED");
	EXPECT(f, 0, "CLIENT SETNAME mine", "+QUEUED");
	EXPECT(f, 0, line, "+QUEUED");
	cr_assert_gt(client_kept_bytes(&f->clients[0]),
		     sizeof(line) / 2); /* what CLIENT LIST and eviction count */
	fill_disk(f, true);
	expect_begin(f, 0, "EXEC", discarded);
	/* Nothing of the block happened, nothing of it is left. */
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "GET k", "$1\r\n1");
	EXPECT(f, 0, "CLIENT GETNAME", "$-1");
	cr_assert_eq(f->clients[0].watch_count, 0);
	cr_assert_eq(f->clients[0].multi_count, UINT_MAX);
	cr_assert_eq(client_kept_bytes(&f->clients[0]), 0);
	cr_assert_eq(f->clients[0].transaction->count, 0);
	fill_disk(f, false);
	/* The keys are not watched any more either. */
	EXPECT(f, 1, "SET k 2", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, line, "+QUEUED");
	EXPECT(f, 0, "EXEC", "*1\r\n+OK");
	fixture_close(f);
}

Test(transactions, what_fails_otherwise_leaves_the_state_as_it_was)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "WATCH k", "+OK");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "DISCARD", "-ERR DISCARD without MULTI");
	cr_assert_eq(f->clients[0].watch_count, 1, "an EXEC outside of MULTI forgets nothing");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET a", "-ERR wrong number of arguments for 'set' command");
	EXPECT(f, 0, "DISCARD x", "-ERR wrong number of arguments for 'discard' command");
	cr_assert(client_in_multi(&f->clients[0]), "a DISCARD that was refused discards nothing");
	EXPECT(f, 0, "DISCARD", "+OK");
	cr_assert_not(client_in_multi(&f->clients[0]));
	cr_assert_eq(f->clients[0].watch_count, 0);
	EXPECT(f, 0, "DISCARD", "-ERR DISCARD without MULTI");
	fixture_close(f);
}
