/* What replicas are told of each command (txn/propagation.h). */
#include "keyspace/keyspace.h"
#include "server_support.h"
#include "txn/execution.h"
#include "txn/runner_private.h"

/* The commands among the effects: "SET k v | DEL x"; those of another database than 0 with its number before. "||" stands
 * before one that is apart. */
static void
list_commands(const struct keyspace_view *view, struct buffer *ret)
{
	char number[32];
	buffer_clear(ret);
	for (const struct effect *e = view->first_effect; e != NULL; e = e->next) {
		if (e->kind != EFFECT_COMMAND)
			continue;
		if (ret->size > 0)
			buffer_append(ret, e->apart ? " || " : " | ", e->apart ? 4 : 3);
		if (e->db != 0)
			buffer_append(ret, number, (size_t)snprintf(number, sizeof(number), "%u: ", e->db));
		for (size_t i = 0; i < e->argc; i++) {
			if (i > 0)
				buffer_append(ret, " ", 1);
			if (e->argv[i].size > 0)
				buffer_append(ret, e->argv[i].data, e->argv[i].size);
		}
	}
	buffer_append(ret, "", 1);
}

static bool
matches(const char *pattern, const char *text)
{
	for (; *pattern != 0; pattern++, text++) {
		if (*pattern == '*') {
			for (const char *rest = text;; rest++) {
				if (matches(pattern + 1, rest))
					return true;
				if (*rest == 0)
					return false;
			}
		}
		if (*pattern != *text)
			return false;
	}
	return *text == 0;
}

/* Runs the command as the runner does, and commits. */
static void
run_told(struct fixture *f, size_t argc, const struct bytes *argv, struct buffer *ret)
{
	struct runner_thread *t = f->thread;
	struct commit_participant *refuser;
	uint64_t timestamp;
	struct client *client = &f->clients[0];
	struct command_context c = {.server = &f->server,
				    .client = client,
				    .command = command_find(&sett_commands, argv, argc, NULL),
				    .argc = argc,
				    .argv = argv,
				    .reply = &f->reply,
				    .db = client->db,
				    .protocol = client->protocol,
				    .may_wait = true,
				    .in_long_lane = true,
				    .arena = &t->arena,
				    .script_vm = &t->script_vm};
	cr_assert_not_null(c.command);
	resp_truncate(&f->reply, 0);
	runner_look_at_clocks(t);
	t->deletes_expired = true;
	cr_assert_eq(runner_begin(t, &c), SETT_OK);
	runner_enter(t, &c);
	struct call call = {.command = c.command, .argc = argc, .argv = argv};
	int status = execution_run(&c, &call);
	cr_assert(status == SETT_OK || status == OUTCOME_FAILED || status == OUTCOME_BLOCKED, "%d", status);
	cr_assert_eq(runner_delete_expired(t, &c), SETT_OK);
	list_commands(&c.view, ret);
	c.view.propagates = false; /* nobody takes them */
	cr_assert_eq(commit_transaction(&f->server, &c.view, c.first_participant, &timestamp, &refuser),
		     SETT_OK);
	context_close_made(&c);
	runner_apply(&c);
	output_streams_free(c.streams);
	if (client_in_multi(client) && (c.command->flags & COMMAND_ENDS_MULTI) != 0)
		transaction_reset(&f->server, client, NULL);
}

static void
told(struct fixture *f, const char *line, const char *expected, int source_line)
{
	struct bytes argv[FIXTURE_ARGUMENTS];
	struct buffer text = {0};
	size_t argc = 0;
	const char *all = line;
	for (; *line != 0; line += strspn(line, " ")) {
		char quote = *line == '\'' ? '\'' : ' ';
		line += quote == '\'';
		const char *end = strchr(line, quote);
		size_t size = end != NULL ? (size_t)(end - line) : strlen(line);
		argv[argc++] = bytes_of(line, size);
		line += size + (quote == '\'');
	}
	run_told(f, argc, argv, &text);
	cr_assert(matches(expected, (const char *)text.data), "line %d: %s: expected %s, got %s (reply %.*s)",
		  source_line, all, expected, (const char *)text.data, (int)f->reply.size,
		  (const char *)f->reply.data);
	buffer_free(&text);
}

#define TOLD(line, expected) told(f, line, expected, __LINE__)
#define TOLD_AS_GIVEN(line) told(f, line, line, __LINE__)

static struct fixture *
open_told(void)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(replication_begin_stream(f->server.replication), SETT_OK);
	return f;
}

Test(propagation, nobody_is_told_without_replication)
{
	struct fixture *f = fixture_open();
	TOLD("set k v", "");
	TOLD("spop s 10", "");
	TOLD("getex k ex 10", "");
	fixture_close(f);
}

Test(propagation, what_changes_nothing_is_not_told)
{
	struct fixture *f = open_told();
	TOLD("get k", "");
	TOLD("del k", "");
	TOLD_AS_GIVEN("set k v");
	TOLD("setnx k v", "");
	TOLD("incr k", "");
	TOLD("persist k", "");
	TOLD("lpush k a", "");
	TOLD_AS_GIVEN("sadd s a");
	TOLD("sadd s a", "");
	TOLD("srem s b", "");
	TOLD("expire k 10 xx", "");
	TOLD("getex k", "");
	TOLD("set k w nx get", "");
	TOLD("set k w ifeq x", "");
	fixture_close(f);
}

Test(propagation, strings)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("set k v");
	TOLD_AS_GIVEN("SET k v XX");
	TOLD("set k v ex 10", "SET k v PXAT 1700000010000");
	TOLD("set k v keepttl", "set k v keepttl");
	TOLD("set k w get keepttl", "SET k w KEEPTTL");
	TOLD("set k v get", "SET k v");
	TOLD("set k w ifeq v", "SET k w");
	TOLD("set k v pxat 5", "DEL k");
	TOLD("set k v nx", "DEL k | set k v nx");
	TOLD("setex k 10 v", "SET k v PXAT 1700000010000");
	TOLD("psetex k 10 v", "SET k v PXAT 1700000000010");
	TOLD("getset k w", "SET k w");
	TOLD("getex k ex 10", "PEXPIREAT k 1700000010000");
	TOLD("getex k persist", "PERSIST k");
	TOLD("getex k persist", "");
	TOLD("getex k pxat 1", "DEL k");
	TOLD_AS_GIVEN("mset k 1 l 2");
	TOLD_AS_GIVEN("incrby k 2");
	TOLD("incrbyfloat k 0.1", "SET k 3.1 KEEPTTL");
	TOLD("getdel k", "DEL k");
	TOLD("getdel k", "");
	TOLD("msetex 2 a 1 b 2 ex 10", "SET a 1 PXAT 1700000010000 | SET b 2 PXAT 1700000010000");
	TOLD("msetex 2 a 1 b 2 keepttl", "SET a 1 KEEPTTL | SET b 2 KEEPTTL");
	TOLD("msetex 1 a 1", "SET a 1");
	TOLD("delex a ifeq 1", "DEL a");
	TOLD_AS_GIVEN("append a 1");
	TOLD_AS_GIVEN("setbit a 3 1");
	TOLD_AS_GIVEN("mset a A b B");
	TOLD_AS_GIVEN("bitop or d a b");
	TOLD("bitop one d a x", "SET d A");
	TOLD("bitop diff d x y", "DEL d");
	fixture_close(f);
}

Test(propagation, deadlines)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("set k v");
	TOLD("expire k 10", "PEXPIREAT k 1700000010000");
	TOLD("pexpire k 10 lt", "PEXPIREAT k 1700000000010");
	TOLD("expireat k 1800000000", "PEXPIREAT k 1800000000000");
	TOLD("pexpireat k 1800000000001", "PEXPIREAT k 1800000000001");
	TOLD_AS_GIVEN("persist k");
	TOLD("expire k -1", "DEL k");
	fixture_close(f);
}

Test(propagation, what_is_past_its_deadline_is_deleted_before)
{
	struct fixture *f = open_told();
	TOLD("set k 1 px 1", "SET k 1 PXAT *");
	TOLD("set l 1 px 1", "SET l 1 PXAT *");
	TOLD("set m 1 px 1", "SET m 1 PXAT *");
	fixture_advance(f, 10);
	TOLD("get k", "DEL k");
	TOLD("get k", "");
	TOLD("incr l", "DEL l | incr l");
	TOLD("bitop not n m", "DEL m");
	fixture_close(f);
}

Test(propagation, a_command_that_is_taken_back_leaves_nothing_in_front)
{
	struct fixture *f = open_told();
	struct runner_thread *t = f->thread;
	struct buffer text = {0};
	struct command_context c = {
		.server = &f->server, .client = &f->clients[0], .reply = &f->reply, .arena = &t->arena};
	const struct bytes set[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("a"), BYTES_LITERAL("1")};
	runner_look_at_clocks(t);
	cr_assert_eq(runner_begin(t, &c), SETT_OK);
	for (int i = 0; i < 2; i++) { /* at first behind nothing */
		struct keyspace_savepoint start;
		keyspace_savepoint(&c.view, &start);
		cr_assert_eq(keyspace_propagate_expired(&c.view, 0, BYTES_LITERAL("k")), SETT_OK);
		list_commands(&c.view, &text);
		cr_assert_str_eq((const char *)text.data, i == 0 ? "DEL k" : "DEL k | SET a 1");
		keyspace_rollback(&c.view, &start);
		list_commands(&c.view, &text);
		cr_assert_str_eq((const char *)text.data, i == 0 ? "" : "SET a 1");
		if (i == 0)
			cr_assert_eq(keyspace_propagate(&c.view, 0, 3, set), SETT_OK);
	}
	sett_txn_discard(t->txn);
	buffer_free(&text);
	fixture_close(f);
}

Test(propagation, all_that_was_met_past_its_deadline_is_deleted_before)
{
	enum { SETS = 40 };
	struct fixture *f = fixture_open();
	struct bytes argv[SETS + 2] = {BYTES_LITERAL("sunionstore"), BYTES_LITERAL("target")};
	char names[SETS][8], command[64];
	struct buffer text = {0};
	for (int i = 0; i < SETS; i++) {
		snprintf(names[i], sizeof(names[i]), "s%d", i);
		argv[i + 2] = bytes_of_string(names[i]);
		snprintf(command, sizeof(command), "sadd s%d a", i);
		fixture_run_line(f, 1, command);
		snprintf(command, sizeof(command), "pexpire s%d 1", i);
		fixture_run_line(f, 1, command);
	}
	fixture_run_line(f, 1, "sadd target b");
	keyspace_set_observed(f->server.keyspace, OBSERVER_REPLICATION, true);
	fixture_advance(f, 10);
	run_told(f, SETS + 2, argv, &text);
	const char *at = (const char *)text.data;
	for (int i = 0; i < SETS; i++, at += strcspn(at, "|") + 2)
		cr_assert_eq(strncmp(at, "DEL s", 5), 0, "%s", (const char *)text.data);
	cr_assert(matches("sunionstore target s0 s1 *", at), "%s", (const char *)text.data);
	buffer_free(&text);
	fixture_close(f);
}

/* SWAPDB gives a name another meaning. */
Test(propagation, what_is_past_its_deadline_behind_a_swap_is_deleted_there)
{
	struct fixture *f = fixture_open();
	fixture_run_line(f, 0, "psetex k 1 v");
	keyspace_set_observed(f->server.keyspace, OBSERVER_REPLICATION, true);
	fixture_advance(f, 10);
	fixture_run_line(f, 0, "multi");
	fixture_run_line(f, 0, "swapdb 0 1");
	fixture_run_line(f, 0, "set l v");
	fixture_run_line(f, 0, "select 1");
	fixture_run_line(f, 0, "incr k");
	TOLD("exec", "swapdb 0 1 | 1: DEL k | set l v | 1: incr k");
	fixture_close(f);
}

/* No command of a transaction saw the key, also not those before the one that makes it anew. */
Test(propagation, what_is_made_anew_was_gone_before)
{
	struct fixture *f = fixture_open();
	fixture_run_line(f, 0, "psetex k 1 v");
	fixture_run_line(f, 0, "sadd s a");
	keyspace_set_observed(f->server.keyspace, OBSERVER_REPLICATION, true);
	fixture_advance(f, 10);
	fixture_run_line(f, 0, "multi");
	fixture_run_line(f, 0, "sunionstore t s k");
	fixture_run_line(f, 0, "set k v");
	TOLD("exec", "DEL k | sunionstore t s k | set k v");
	fixture_close(f);
}

Test(propagation, hashes)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("hset h a 1 b 2 c 3 d 4");
	TOLD("hincrbyfloat h a 0.5", "HSET h a 1.5");
	TOLD("hexpire h 10 fields 3 a b x", "HPEXPIREAT h 1700000010000 FIELDS 2 a b");
	TOLD("hincrbyfloat h a 0.5", "HSET h a 2 | HPEXPIREAT h 1700000010000 FIELDS 1 a");
	TOLD("hpexpire h 20000 gt fields 2 a c", "HPEXPIREAT h 1700000020000 FIELDS 1 a");
	TOLD_AS_GIVEN("hpersist h fields 1 a");
	TOLD("hexpire h 0 fields 2 a x", "HDEL h a");
	TOLD("hgetdel h fields 2 b x", "HDEL h b");
	TOLD("hgetex h px 5 fields 1 c", "HPEXPIREAT h 1700000000005 FIELDS 1 c");
	TOLD("hgetex h persist fields 2 c d", "HPERSIST h FIELDS 1 c");
	TOLD("hgetex h fields 1 c", "");
	TOLD("hsetex h px 5 fields 2 c 1 e 2",
	     "HSET h c 1 | HPEXPIREAT h 1700000000005 FIELDS 1 c | HSET h e 2 | "
	     "HPEXPIREAT h 1700000000005 FIELDS 1 e");
	TOLD("hsetex h fields 1 d 1", "HSET h d 1");
	fixture_advance(f, 10);
	TOLD("hincrby h c 1", "*HDEL h c | *hincrby h c 1");
	fixture_close(f);
}

Test(propagation, lists)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("rpush l a b c d e f g h i j");
	TOLD_AS_GIVEN("lpop l");
	TOLD_AS_GIVEN("rpop l 2");
	TOLD("blpop x l 0", "LPOP l");
	TOLD("brpop l 0", "RPOP l");
	TOLD("blmove l m left right 0", "LMOVE l m left right");
	TOLD("brpoplpush l m 0", "RPOPLPUSH l m");
	TOLD_AS_GIVEN("rpoplpush l m");
	TOLD("lmpop 2 x l right count 2", "RPOP l 2");
	TOLD("blmpop 0 2 x m left count 9", "LPOP m 3");
	fixture_close(f);
}

Test(propagation, sets)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("sadd s a b c d e f g");
	TOLD("spop s", "SREM s *");
	TOLD("spop s 2", "SREM s * *");
	TOLD("spop s 9", "DEL s");
	TOLD("spop s 9", "");
	TOLD_AS_GIVEN("sadd s a");
	TOLD("spop s", "SREM s a");
	fixture_close(f);
}

Test(propagation, sorted_sets)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("zadd z 1 a 2 b 3 c 4 d 5 e 6 f 7 g");
	TOLD_AS_GIVEN("zincrby z 1 a");
	TOLD_AS_GIVEN("zpopmin z");
	TOLD("bzpopmin x z 0", "ZPOPMIN z");
	TOLD("bzpopmax z 0", "ZPOPMAX z");
	TOLD("zmpop 2 x z max count 2", "ZPOPMAX z 2");
	TOLD("bzmpop 0 1 z min count 9", "ZPOPMIN z 2");
	TOLD_AS_GIVEN("geoadd g 1 1 a 2 2 b");
	TOLD_AS_GIVEN("geosearchstore h g frommember a byradius 900 km");
	fixture_close(f);
}

Test(propagation, streams)
{
	struct fixture *f = open_told();
	TOLD("xadd s * a 1", "XADD s 1700000000000-0 a 1");
	TOLD("xadd s 1700000000000-* a 2", "XADD s 1700000000000-1 a 2");
	TOLD_AS_GIVEN("xadd s 1700000000001-0 a 3");
	TOLD("xadd s maxlen ~ 2 * a 4", "XADD s MAXLEN = 4 1700000000001-1 a 4");
	TOLD("xadd s maxlen 3 1700000000002-0 a 5", "XADD s MAXLEN = 3 1700000000002-0 a 5");
	TOLD("xtrim s minid 1700000000001-1", "XTRIM s MAXLEN = 2");
	TOLD("xtrim s maxlen ~ 2", "");
	TOLD_AS_GIVEN("xdel s 1700000000001-1");
	TOLD_AS_GIVEN("xsetid s 1700000000003-0");
	fixture_close(f);
}

Test(propagation, groups)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("xadd s 1-1 a 1");
	TOLD_AS_GIVEN("xadd s 1-2 a 1");
	TOLD_AS_GIVEN("xadd s 1-3 a 1");
	TOLD_AS_GIVEN("xgroup create s g 0");
	TOLD("xgroup createconsumer s g bob", "XGROUP CREATECONSUMER s g bob");
	TOLD("xgroup createconsumer s g bob", "");
	TOLD("xreadgroup group g ann count 1 streams s >",
	     "XCLAIM s g ann 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1");
	TOLD("xreadgroup group g carl streams s 0", "XGROUP CREATECONSUMER s g carl");
	TOLD("xreadgroup group g bob noack count 1 streams s >", "XGROUP SETID s g 1-2 ENTRIESREAD 2");
	TOLD("xreadgroup group g bob streams s >",
	     "XCLAIM s g bob 0 1-3 TIME * RETRYCOUNT 1 FORCE JUSTID LASTID 1-3");
	TOLD("xreadgroup group g bob streams s >", "");
	TOLD("xreadgroup group g bob streams s 0",
	     "XCLAIM s g bob 0 1-3 TIME * RETRYCOUNT 2 FORCE JUSTID LASTID 1-3");
	TOLD("xclaim s g ann 0 1-3",
	     "XCLAIM s g ann 0 1-3 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID LASTID 1-3");
	TOLD("xclaim s g ann 10000 1-3", "");
	TOLD_AS_GIVEN("xack s g 1-3");
	TOLD("xack s g 1-3", "");
	TOLD_AS_GIVEN("xdel s 1-1");
	TOLD("xautoclaim s g bob 0 0", "XACK s g 1-1");
	TOLD_AS_GIVEN("xadd s 2-1 a 1");
	TOLD("xreadgroup group g ann streams s >", "XCLAIM *");
	TOLD("xautoclaim s g bob 0 0", "XCLAIM s g bob 0 2-1 TIME * RETRYCOUNT 2 FORCE JUSTID LASTID 2-1");
	TOLD("xackdel s g keepref ids 1 2-1", "XACK s g 2-1 | XDEL s 2-1");
	TOLD("xdelex s ids 2 1-2 9-9", "XDEL s 1-2");
	TOLD_AS_GIVEN("xadd s 3-1 a 1");
	TOLD("xreadgroup group g ann streams s >", "XCLAIM *");
	TOLD("xdelex s delref ids 1 3-1", "XACK s g 3-1 | XDEL s 3-1");
	TOLD_AS_GIVEN("xgroup destroy s g");
	fixture_close(f);
}

Test(propagation, keys_and_databases)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("set k v");
	TOLD_AS_GIVEN("copy k l");
	TOLD("copy k l", "");
	TOLD_AS_GIVEN("rename k m");
	TOLD_AS_GIVEN("move m 1");
	TOLD_AS_GIVEN("unlink l x");
	TOLD_AS_GIVEN("flushdb");
	TOLD_AS_GIVEN("flushall async");
	TOLD_AS_GIVEN("swapdb 0 1");
	fixture_run_line(f, 0, "select 3");
	TOLD("set k v", "3: set k v");
	fixture_close(f);
}

Test(propagation, restore)
{
	struct fixture *f = fixture_open();
	struct buffer payload = {0}, text = {0};
	fixture_run_line(f, 0, "set k v");
	fixture_run_line(f, 0, "dump k");
	keyspace_set_observed(f->server.keyspace, OBSERVER_REPLICATION, true);
	const uint8_t *start = memchr(f->reply.data, '\n', f->reply.size);
	cr_assert_not_null(start);
	size_t size = f->reply.size - (size_t)(start + 1 - f->reply.data) - 2;
	buffer_append(&payload, start + 1, size);
	struct bytes argv[] = {BYTES_LITERAL("restore"), BYTES_LITERAL("l"), BYTES_LITERAL("5"),
			       buffer_bytes(&payload), BYTES_LITERAL("replace")};
	run_told(f, 5, argv, &text);
	cr_assert(matches("RESTORE l 1700000000005 *", (const char *)text.data), "%s",
		  (const char *)text.data);
	argv[2] = BYTES_LITERAL("0");
	run_told(f, 5, argv, &text);
	cr_assert(matches("restore l 0 *", (const char *)text.data), "%s", (const char *)text.data);
	struct bytes past[] = {argv[0], argv[1], BYTES_LITERAL("1"),
			       argv[3], argv[4], BYTES_LITERAL("absttl")};
	run_told(f, 6, past, &text);
	cr_assert_str_eq((const char *)text.data, "DEL l");
	run_told(f, 6, past, &text);
	cr_assert_str_eq((const char *)text.data, "");
	buffer_free(&payload);
	buffer_free(&text);
	fixture_close(f);
}

Test(propagation, messages_and_functions)
{
	struct fixture *f = open_told();
	TOLD_AS_GIVEN("publish c m");
	TOLD_AS_GIVEN("spublish c m");
	TOLD("function load '#!lua name=l\nredis.register_function(\"f\", function(k, a) return "
	     "redis.call(\"incr\", "
	     "\"n\") end)'",
	     "function load *");
	TOLD("fcall f 0", "incr n");
	TOLD_AS_GIVEN("function delete l");
	TOLD_AS_GIVEN("function flush");
	TOLD("script load 'return 1'", "");
	fixture_close(f);
}

Test(propagation, scripts_and_blocks_tell_of_their_commands)
{
	struct fixture *f = open_told();
	TOLD("eval 'redis.call(\"set\", \"a\", 1); redis.call(\"get\", \"a\"); redis.call(\"spop\", \"x\"); "
	     "return redis.call(\"incrbyfloat\", \"a\", \"0.5\")' 0",
	     "set a 1 | SET a 1.5 KEEPTTL");
	TOLD("eval 'redis.call(\"set\", \"a\", 2); redis.set_repl(redis.REPL_NONE); redis.call(\"set\", "
	     "\"a\", 3); "
	     "redis.set_repl(redis.REPL_ALL); redis.call(\"set\", \"a\", 4)' 0",
	     "set a 2 | set a 4");
	TOLD("eval 'redis.call(\"set\", \"a\", 5); redis.call(\"nonsense\")' 0", "set a 5");
	TOLD("eval 'return redis.call(\"get\", \"a\")' 0", "");
	fixture_run_line(f, 0, "multi");
	fixture_run_line(f, 0, "set a 1");
	fixture_run_line(f, 0, "lpush a 1");
	fixture_run_line(f, 0, "select 2");
	fixture_run_line(f, 0, "expire a 5");
	fixture_run_line(f, 0, "setex b 5 v");
	TOLD("exec", "set a 1 | 2: SET b v PXAT 1700000005000");
	fixture_close(f);
}
