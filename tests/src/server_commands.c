/* Connection and server commands through the runner: replies as Redis words them, and effects that wait for
 * the commit. */
#include "server_support.h"

#define WRONG_PASSWORD "-WRONGPASS invalid username-password pair or user is disabled."

Test(server_commands, connection)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "PING", "+PONG");
	EXPECT(f, 0, "ping hi", "$2\r\nhi");
	EXPECT(f, 0, "PING a b", "-ERR wrong number of arguments for 'ping' command");
	EXPECT(f, 0, "ECHO x", "$1\r\nx");
	EXPECT(f, 0, "SELECT 16", "-ERR DB index is out of range");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 1, "EXISTS a", ":0");
	EXPECT(f, 0, "HELLO 4", "-NOPROTO unsupported protocol version");
	EXPECT(f, 0, "HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'");
	fixture_run_line(f, 0, "HELLO 3");
	cr_assert_eq(f->clients[0].protocol, 3);
	EXPECT(f, 0, "GET nosuch", "_");
	fixture_run_line(f, 0, "QUIT");
	cr_assert(f->clients[0].close_after_reply);
	fixture_close(f);
}

Test(server_commands, passwords)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "AUTH x",
	       "-ERR AUTH <password> called without any password configured for the default user. Are you "
	       "sure your configuration is correct?");
	EXPECT(f, 0, "AUTH default x", "+OK");
	EXPECT(f, 0, "CONFIG SET requirepass secret", "+OK");
	f->clients[1].authenticated = false;
	EXPECT(f, 1, "AUTH secre", WRONG_PASSWORD);
	EXPECT(f, 1, "AUTH secretsecret", WRONG_PASSWORD);
	EXPECT(f, 1, "AUTH other secret", WRONG_PASSWORD);
	EXPECT(f, 1, "GET a", "-NOAUTH Authentication required.");
	fixture_run_line(f, 1, "HELLO 2");
	cr_assert_eq(memcmp(f->reply.data, "-NOAUTH HELLO", 13), 0);
	EXPECT(f, 1, "AUTH secret", "+OK");
	cr_assert(f->clients[1].authenticated);
	EXPECT(f, 1, "GET a", "$-1");
	fixture_close(f);
}

/* Nothing of a block that is given up happens (I2). */
Test(server_commands, effects_wait_for_the_commit)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "CONFIG SET timeout 5", "+QUEUED");
	EXPECT(f, 0, "DISCARD", "+OK");
	cr_assert_eq(f->server.config->timeout_seconds, 0);
	EXPECT(f, 0, "WATCH w", "+OK");
	EXPECT(f, 1, "SET w 1", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "CONFIG SET timeout 5", "+QUEUED");
	EXPECT(f, 0, "CLIENT NO-EVICT on", "+QUEUED");
	EXPECT(f, 0, "SELECT 4", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*-1");
	cr_assert_eq(f->server.config->timeout_seconds, 0);
	cr_assert_not(f->clients[0].no_evict);
	cr_assert_eq(f->clients[0].db, 0);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "CONFIG SET timeout 5", "+QUEUED");
	EXPECT(f, 0, "CONFIG SET timeout x", "+QUEUED");
	EXPECT(f, 0, "EXEC",
	       "*2\r\n+OK\r\n-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument "
	       "couldn't be parsed into an integer");
	cr_assert_eq(f->server.config->timeout_seconds, 5);
	EXPECT(f, 0, "CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n5");
	fixture_close(f);
}

Test(server_commands, client_reply_modes)
{
	struct fixture *f = fixture_open();
	fixture_run_line(f, 0, "CLIENT REPLY SKIP");
	cr_assert_eq(f->reply.size, 0);
	fixture_run_line(f, 0, "PING");
	cr_assert_eq(f->reply.size, 0);
	EXPECT(f, 0, "PING", "+PONG");
	fixture_run_line(f, 0, "CLIENT REPLY OFF");
	cr_assert_eq(f->reply.size, 0);
	fixture_run_line(f, 0, "CLIENT REPLY SKIP");
	fixture_run_line(f, 0, "PING");
	fixture_run_line(f, 0, "PING");
	cr_assert_eq(f->reply.size, 0);
	EXPECT(f, 0, "CLIENT REPLY ON", "+OK");
	EXPECT(f, 0, "PING", "+PONG");
	fixture_close(f);
}

Test(server_commands, command_introspection)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb");
	EXPECT(f, 0, "COMMAND GETKEYS nosuch a", "-ERR Invalid command specified");
	EXPECT(f, 0, "COMMAND GETKEYS ping a", "-ERR The command has no key arguments");
	EXPECT(f, 0, "COMMAND GETKEYS set a", "-ERR Invalid number of arguments specified for command");
	EXPECT(f, 0, "COMMAND GETKEYSANDFLAGS set a 1", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update");
	EXPECT(f, 0, "COMMAND GETKEYSANDFLAGS set a 1 get",
	       "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update");
	EXPECT(f, 0, "COMMAND LIST FILTERBY PATTERN pin*", "*1\r\n$4\r\nping");
	EXPECT(f, 0, "COMMAND LIST FILTERBY ACLCAT nosuch", "*0");
	EXPECT(f, 0, "COMMAND INFO nosuch config|nosuch", "*2\r\n$-1\r\n$-1");
	EXPECT(f, 0, "COMMAND INFO config|get",
	       "*1\r\n*10\r\n$10\r\nconfig|get\r\n:-3\r\n*4\r\n+admin\r\n+noscript\r\n+loading\r\n+stale\r\n"
	       ":0\r\n:0\r\n:0\r\n*3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n*0\r\n*0\r\n*0");
	fixture_close(f);
}

Test(server_commands, debug_needs_to_be_enabled)
{
	struct fixture *f = fixture_open();
	f->server.config->enable_debug_command = 0;
	fixture_run_line(f, 0, "DEBUG DIGEST");
	cr_assert_eq(memcmp(f->reply.data, "-ERR DEBUG command not allowed.", 31), 0);
	f->server.config->enable_debug_command = 2;
	snprintf(f->clients[0].address, sizeof f->clients[0].address, "10.0.0.1:5");
	fixture_run_line(f, 0, "DEBUG DIGEST");
	cr_assert_eq(memcmp(f->reply.data, "-ERR DEBUG command not allowed.", 31), 0);
	snprintf(f->clients[0].address, sizeof f->clients[0].address, "127.0.0.1:5");
	EXPECT(f, 0, "DEBUG DIGEST", "+0000000000000000000000000000000000000000");
	fixture_close(f);
}

static void
digest(struct fixture *f, char ret[64])
{
	fixture_run_line(f, 0, "DEBUG DIGEST");
	cr_assert_eq(f->reply.size, 43);
	memcpy(ret, f->reply.data, 43);
	ret[43] = '\0';
}

/* Of the content alone: not of the order of writes, nor of what was deleted; of databases apart. */
Test(server_commands, digest)
{
	struct fixture *f = fixture_open();
	char first[64], second[64];
	f->server.config->enable_debug_command = 1;
	EXPECT(f, 0, "MSET a 1 b 2 c 3", "+OK");
	EXPECT(f, 0, "DEL c", ":1");
	digest(f, first);
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "MSET b 2 a 1", "+OK");
	digest(f, second);
	cr_assert_str_eq(first, second);
	EXPECT(f, 0, "SET a 2", "+OK");
	digest(f, second);
	cr_assert_str_neq(first, second);
	EXPECT(f, 0, "SET a 1", "+OK");
	EXPECT(f, 0, "MOVE a 1", ":1");
	digest(f, second);
	cr_assert_str_neq(first, second);
	fixture_close(f);
}

Test(server_commands, populate)
{
	struct fixture *f = fixture_open();
	f->server.config->enable_debug_command = 1;
	EXPECT(f, 0, "SET k:1 mine", "+OK");
	EXPECT(f, 0, "DEBUG POPULATE 2500 k 4", "+OK");
	cr_assert_geq(f->release, 3);
	EXPECT(f, 1, "DBSIZE", ":2500");
	EXPECT(f, 1, "GET k:1", "$4\r\nmine");
	EXPECT(f, 1, "GET k:2499", "$4\r\nvalu");
	EXPECT(f, 0, "DEBUG POPULATE x", "-ERR value is out of range, must be positive");
	fixture_close(f);
}
