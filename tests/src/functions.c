/* Functions: which interpreter has which of them when. What they return and how errors read is compared with
 * redis-server (redis-tests). */
#include "script/private.h"
#include "server_support.h"

#define LIBRARY(name, code) "#!lua name=" name "\n" code
#define COUNTER(name) \
	LIBRARY(name, "local n = 0 redis.register_function('" name "', function() n = n + 1 return n end)")

static bool
reply_is(const struct fixture *f, const char *text)
{
	return f->reply.size == strlen(text) && memcmp(f->reply.data, text, f->reply.size) == 0;
}

static void
expect(struct fixture *f, const char *text)
{
	cr_assert(reply_is(f, text), "expected %s, got %.*s", text, (int)f->reply.size,
		  (const char *)f->reply.data);
}

static void
load(struct fixture *f, int client, const char *text)
{
	struct bytes argv[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"), BYTES_LITERAL("REPLACE"),
			       bytes_of_string(text)};
	fixture_run(f, client, 4, argv);
}

/* On the thread that must not wait, which has an interpreter of its own. */
static enum request_result
run_on_reactor(struct fixture *f, size_t argc, const struct bytes *argv)
{
	struct request request = {.argc = argc, .argv = argv};
	resp_truncate(&f->reply, 0);
	return f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
				  &f->release);
}

static void
call_on_reactor(struct fixture *f, const char *name)
{
	struct bytes argv[] = {BYTES_LITERAL("FCALL"), bytes_of_string(name), BYTES_LITERAL("0")};
	cr_assert_eq(run_on_reactor(f, 3, argv), REQUEST_DONE);
}

/* FLUSH frees them on the thread that next looks; what is left of one that is replaced does not count. */
Test(functions, what_they_take_is_counted)
{
	struct fixture *f = fixture_open();
	struct script_stats before, once, twice;
	const char *text = "#!lua name=counted\nredis.register_function('counted', function() return 1 end)";
	struct bytes load[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"), BYTES_LITERAL("REPLACE"),
			       bytes_of_string(text)};
	script_library_stats(f->server.scripts, &before);
	cr_assert_eq(before.function_bytes, 0);
	fixture_run(f, 0, 4, load);
	EXPECT(f, 0, "FCALL counted 0", ":1");
	script_library_stats(f->server.scripts, &once);
	cr_assert_gt(once.function_bytes, 0);
	fixture_run(f, 0, 4, load);
	EXPECT(f, 0, "FCALL counted 0", ":1");
	script_library_stats(f->server.scripts, &twice);
	cr_assert_eq(twice.function_bytes, once.function_bytes);
	EXPECT(f, 0, "FUNCTION FLUSH", "+OK");
	EXPECT(f, 0, "FCALL counted 0", "-ERR Function not found");
	script_library_stats(f->server.scripts, &twice);
	cr_assert_eq(twice.function_bytes, 0);
	fixture_close(f);
}

Test(functions, each_thread_follows)
{
	struct fixture *f = fixture_open();
	load(f, 0, LIBRARY("l", "redis.register_function('f', function() return 1 end)"));
	expect(f, "$1\r\nl\r\n");
	EXPECT(f, 0, "FCALL f 0", ":1");
	call_on_reactor(f, "f");
	expect(f, ":1\r\n");
	load(f, 0, LIBRARY("l", "redis.register_function('f', function() return 2 end)"));
	call_on_reactor(f, "f");
	expect(f, ":2\r\n");
	EXPECT(f, 0, "FCALL f 0", ":2");
	EXPECT(f, 0, "FUNCTION DELETE l", "+OK");
	call_on_reactor(f, "f");
	expect(f, "-ERR Function not found\r\n");
	fixture_close(f);
}

Test(functions, what_has_not_changed_is_not_loaded_again)
{
	struct fixture *f = fixture_open();
	load(f, 0, COUNTER("a"));
	EXPECT(f, 0, "FCALL a 0", ":1");
	load(f, 0, COUNTER("b"));
	EXPECT(f, 0, "FCALL b 0", ":1");
	EXPECT(f, 0, "FCALL a 0", ":2");
	EXPECT(f, 0, "FUNCTION DELETE b", "+OK");
	EXPECT(f, 0, "FCALL a 0", ":3");
	load(f, 0, COUNTER("a"));
	EXPECT(f, 0, "FCALL a 0", ":1");
	fixture_close(f);
}

Test(functions, a_block_sees_what_it_loads_and_nobody_else_does)
{
	struct fixture *f = fixture_open();
	load(f, 0, LIBRARY("l", "redis.register_function('f', function() return 1 end)"));
	EXPECT(f, 0, "FCALL f 0", ":1");
	EXPECT(f, 1, "WATCH key", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	load(f, 1, LIBRARY("l", "redis.register_function('f', function() return 2 end)"));
	EXPECT(f, 1, "FCALL f 0", "+QUEUED");
	EXPECT(f, 0, "SET key 1", "+OK");
	EXPECT(f, 1, "EXEC", "*-1");
	EXPECT(f, 0, "FCALL f 0", ":1");
	EXPECT(f, 1, "MULTI", "+OK");
	load(f, 1, LIBRARY("l", "redis.register_function('f', function() return 2 end)"));
	EXPECT(f, 1, "FCALL f 0", "+QUEUED");
	load(f, 1, LIBRARY("l", "redis.register_function('f', function() return 3 end)"));
	EXPECT(f, 1, "FCALL f 0", "+QUEUED");
	EXPECT(f, 0, "FCALL f 0", ":1");
	fixture_run_line(f, 1, "EXEC");
	expect(f, "*4\r\n$1\r\nl\r\n:2\r\n$1\r\nl\r\n:3\r\n");
	EXPECT(f, 0, "FCALL f 0", ":3");
	fixture_close(f);
}

Test(functions, they_are_there_after_a_restart_and_after_flushall)
{
	struct fixture *f = fixture_open();
	load(f, 0, LIBRARY("l", "redis.register_function('f', function() return 1 end)"));
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "FCALL f 0", ":1");
	fixture_stop(f);
	fixture_start(f);
	EXPECT(f, 0, "FCALL f 0", ":1");
	EXPECT(f, 0, "FUNCTION FLUSH", "+OK");
	EXPECT(f, 0, "FCALL f 0", "-ERR Function not found");
	fixture_close(f);
}

Test(functions, globals_of_scripts_are_not_theirs)
{
	struct fixture *f = fixture_open();
	struct bytes argv[] = {BYTES_LITERAL("EVAL"), BYTES_LITERAL("return KEYS[1]"), BYTES_LITERAL("1"),
			       BYTES_LITERAL("k")};
	fixture_run(f, 0, 4, argv);
	expect(f, "$1\r\nk\r\n");
	load(f, 0, LIBRARY("l", "redis.register_function('f', function() return KEYS end)"));
	EXPECT(f, 0, "FCALL f 0",
	       "-ERR user_function:2: Script attempted to access nonexistent global variable 'KEYS' script: "
	       "f, on "
	       "@user_function:2.");
	fixture_run(f, 0, 4, argv);
	expect(f, "$1\r\nk\r\n");
	fixture_close(f);
}

Test(functions, what_takes_long_is_loaded_off_the_reactor)
{
	struct fixture *f = fixture_open();
	struct bytes argv[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"), BYTES_LITERAL(COUNTER("a"))};
	cr_assert_eq(run_on_reactor(f, 3, argv), REQUEST_MUST_WAIT_LONG);
	load(f, 0, LIBRARY("l", "while true do end"));
	expect(f, "-ERR Error registering functions: ERR FUNCTION LOAD timeout\r\n");
	/* Loaded in time, but not in a reactor's: its calls go where it can be loaded. */
	load(f, 0,
	     LIBRARY("l", "for i = 1, 3000000 do end redis.register_function('f', function() return 1 end)"));
	expect(f, "$1\r\nl\r\n");
	struct bytes call[] = {BYTES_LITERAL("FCALL"), BYTES_LITERAL("f"), BYTES_LITERAL("0")};
	cr_assert_eq(run_on_reactor(f, 3, call), REQUEST_MUST_WAIT_LONG);
	EXPECT(f, 0, "FCALL f 0", ":1");
	fixture_close(f);
}

Test(functions, a_failed_load_changes_nothing)
{
	struct fixture *f = fixture_open();
	load(f, 0, COUNTER("a"));
	EXPECT(f, 0, "FCALL a 0", ":1");
	load(f, 0, LIBRARY("a", "redis.register_function('x', function() end) local t = nil + 1"));
	cr_assert(!reply_is(f, "$1\r\na\r\n"));
	EXPECT(f, 0, "FCALL x 0", "-ERR Function not found");
	EXPECT(f, 0, "FCALL a 0", ":2");
	fixture_close(f);
}

/* As a run does, a load takes what is beyond a piece of what all share. Who loads a library for itself, and lacks memory that
 * others have, tries again. */
Test(functions, loading_takes_of_what_scripts_share)
{
	enum { ALL = 16 << 20 };
	static const char big[] =
		LIBRARY("big",
			"local s = 'x' for i = 1, 21 do s = s .. s end redis.register_function('big', "
			"function() return #s end)");
	static const char refused[] = "-ERR Error registering functions: ERR not enough memory\r\n";
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.transaction_memory, 1024 * 1024, __ATOMIC_RELAXED);
	cr_assert(script_library_take_memory(f->server.scripts, ALL));
	load(f, 0, big);
	expect(f, refused);
	script_library_return_memory(f->server.scripts, ALL);
	load(f, 0, big);
	expect(f, "$3\r\nbig\r\n");
	cr_assert(script_library_take_memory(f->server.scripts, ALL));
	call_on_reactor(f, "big");
	cr_assert_eq(f->reply.data[0], '-');
	script_library_return_memory(f->server.scripts, ALL);
	call_on_reactor(f, "big");
	expect(f, ":2097152\r\n");
	fixture_close(f);
}

Test(functions, loading_is_bounded_in_memory)
{
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.transaction_memory, 1024 * 1024, __ATOMIC_RELAXED);
	load(f, 0, LIBRARY("l", "local s = '0123456789abcdef' while true do s = s .. s end"));
	expect(f, "-ERR Error registering functions: ERR not enough memory\r\n");
	load(f, 0, COUNTER("a"));
	EXPECT(f, 0, "FCALL a 0", ":1");
	fixture_close(f);
}

Test(functions, info_counts_them)
{
	struct fixture *f = fixture_open();
	load(f, 0, COUNTER("a"));
	load(f, 0,
	     LIBRARY("l",
		     "redis.register_function('f', function() end) redis.register_function('g', function() "
		     "end)"));
	fixture_run_line(f, 0, "INFO memory");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "number_of_functions:3\r\n", 23));
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "number_of_libraries:2\r\n", 23));
	EXPECT(f, 0, "FUNCTION FLUSH", "+OK");
	fixture_run_line(f, 0, "INFO memory");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "number_of_functions:0\r\n", 23));
	fixture_close(f);
}
