/* Scripts as transactions. What they return and how errors read is compared with redis-server (redis-tests). */
#include <pthread.h>

#include "server_support.h"

static void
eval(struct fixture *f, const char *script, const char *key)
{
	struct bytes argv[] = {BYTES_LITERAL("EVAL"), bytes_of_string(script), BYTES_LITERAL("1"),
			       bytes_of_string(key)};
	fixture_run(f, 0, 4, argv);
}

static void
expect(struct fixture *f, const char *script, const char *expected)
{
	eval(f, script, "k");
	cr_assert(f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0,
		  "%s: expected %s, got %.*s", script, expected, (int)f->reply.size,
		  (const char *)f->reply.data);
}

static bool
reply_has(const struct fixture *f, const char *text)
{
	return memmem(f->reply.data, f->reply.size, text, strlen(text)) != NULL;
}

/* On a thread that must not wait. */
static enum request_result
eval_on_reactor(struct fixture *f, const char *script)
{
	struct bytes argv[] = {BYTES_LITERAL("EVAL"), bytes_of_string(script), BYTES_LITERAL("0")};
	struct request request = {.argc = 3, .argv = argv};
	resp_truncate(&f->reply, 0);
	return f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
				  &f->release);
}

Test(scripts, names_are_sha1)
{
	char hex[SHA1_HEX_SIZE + 1], text[200];
	sha1_hex(BYTES_LITERAL(""), hex);
	cr_assert_str_eq(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	sha1_hex(BYTES_LITERAL("abc"), hex);
	cr_assert_str_eq(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	sha1_hex(BYTES_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), hex);
	cr_assert_str_eq(hex, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	memset(text, 'a', sizeof(text));
	sha1_hex(bytes_of(text, sizeof(text)), hex);
	cr_assert_str_eq(hex, "e61cfffe0d9195a525fc6cf06ca2d77119c24a40");
}

Test(scripts, what_fails_takes_back_itself_alone)
{
	struct fixture *f = fixture_open();
	expect(f, "redis.call('set','a','1') return redis.call('get','a')", "$1\r\n1\r\n");
	expect(f,
	       "redis.call('set','a','x') local e = redis.pcall('incr','a') "
	       "redis.call('set','b', e.err) return redis.call('get','b')",
	       "$43\r\nERR value is not an integer or out of range\r\n");
	/* An error that ends the script keeps what it wrote before. */
	eval(f, "redis.call('set','c','1') redis.call('lpush','c','x')", "k");
	cr_assert(reply_has(f, "-WRONGTYPE"));
	EXPECT(f, 1, "GET c", "$1\r\n1");
	fixture_close(f);
}

Test(scripts, a_block_has_scripts)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	expect(f, "return redis.call('incr',KEYS[1])", "+QUEUED\r\n");
	expect(f, "redis.call('select',3) redis.call('set',KEYS[1],'there') error('late')", "+QUEUED\r\n");
	EXPECT(f, 0, "GET k", "+QUEUED");
	fixture_run_line(f, 0, "EXEC");
	cr_assert(reply_has(f, "*3\r\n:1\r\n-ERR user_script:1: late script: "));
	cr_assert(reply_has(f, "\r\n$1\r\n1\r\n"));
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "GET k", "$5\r\nthere");
	fixture_close(f);
}

Test(scripts, long_ones_leave_the_reactor)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(eval_on_reactor(f, "return 1"), REQUEST_DONE);
	cr_assert_eq(eval_on_reactor(f, "redis.call('set','x','1') while true do end"),
		     REQUEST_MUST_WAIT_LONG);
	/* One instruction, of two thousand million steps. */
	cr_assert_eq(eval_on_reactor(f, "table.insert({}, -2000000000, 1)"), REQUEST_MUST_WAIT_LONG);
	cr_assert_eq(eval_on_reactor(f, "while true do pcall(function() while true do end end) end"),
		     REQUEST_MUST_WAIT_LONG);
	cr_assert_eq(
		eval_on_reactor(
			f,
			"local f = coroutine.wrap(function() while true do pcall(redis.call, 'get', 'x') "
			"end end) while true do pcall(f) end"),
		REQUEST_MUST_WAIT_LONG);
	/* What it wrote is gone. */
	EXPECT(f, 0, "EXISTS x", ":0");
	/* On the pool it goes on. */
	expect(f, "local n = 0 for i = 1, 1000000 do n = n + i % 3 end redis.call('set','x',n) return n",
	       ":1000000\r\n");
	fixture_close(f);
}

Test(scripts, large_replies_are_whole)
{
	struct fixture *f = fixture_open();
	struct bytes set[] = {
		BYTES_LITERAL("EVAL"),
		BYTES_LITERAL("redis.call('set','big',string.rep('0123456789',300000)) "
			      "for i = 1, 3000 do redis.call('hset','h','field'..i,string.rep('v',500)) end"),
		BYTES_LITERAL("0")};
	fixture_run(f, 0, 3, set);
	cr_assert_eq(eval_on_reactor(f, "return #redis.call('get','big')"), REQUEST_MUST_WAIT_LONG);
	expect(f, "local v = redis.call('get','big') return {#v, string.sub(v, -3)}",
	       "*2\r\n:3000000\r\n$3\r\n789\r\n");
	expect(f, "return #redis.call('getrange','big',1,1500000)", ":1500000\r\n");
	expect(f,
	       "local all = redis.call('hgetall','h') local t = {} for i = 1, #all, 2 do t[all[i]] = #all[i "
	       "+ 1] end "
	       "return {#all, t.field1, t.field3000}",
	       "*3\r\n:6000\r\n:500\r\n:500\r\n");
	/* Also what the script itself has just written. */
	expect(f, "redis.call('hset','h','one','more') return #redis.call('hgetall','h')", ":6002\r\n");
	fixture_close(f);
}

Test(scripts, memory_is_bounded)
{
	struct fixture *f = fixture_open();
	f->server.transaction_memory = 16 << 20;
	eval(f, "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end", "k");
	cr_assert(reply_has(f, "not enough memory"), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	eval(f,
	     "local t = {} while true do local ok = pcall(function() t[#t + 1] = string.rep('x', 1000) .. #t "
	     "end) "
	     "if not ok then return #t > 1000 and 1 or 0 end end",
	     "k");
	cr_assert(reply_has(f, ":1\r\n"), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	eval(f, "return string.rep('x', 900000000)", "k");
	cr_assert(reply_has(f, "-ERR"));
	eval(f, "return string.rep('x', 100000000)", "k");
	cr_assert(reply_has(f, "not enough memory"));
	expect(f, "return 1", ":1\r\n");
	struct script_stats stats;
	script_library_stats(f->server.scripts, &stats);
	cr_assert_lt(stats.vm_bytes, 16 << 20);
	fixture_close(f);
}

/* What ended the process with Debian's library as it is. */
Test(scripts, known_holes_are_closed)
{
	static const char *const scripts[] = {
		"return {unpack({}, 0, 2147483647)}",
		"return {unpack({}, -2147483648, 2147483647)}",
		"return string.find(('a'):rep(300000), ('a?'):rep(300000))",
		"return string.gsub(('a'):rep(300000), ('a?'):rep(300000), '')",
		"return ('a'):rep(300000):match(('a?'):rep(300000))",
		"return loadstring(string.dump(function() return 1 end))()",
		"local n = 0 return load(function() n = n + 1 return ({'\\27', 'Lua'})[n] end)()",
		"getmetatable('').__index = {}",
		"getmetatable('').__index.rep = 1",
		"string.rep = 1",
		"rawset(string, 'rep', 1)",
		"table.insert(redis, 'x')",
		"setmetatable(redis, {})",
		"getmetatable(_G).__index = {}",
		"getmetatable(redis).__newindex = nil",
		"return getfenv(1)",
		"return newproxy(true)",
		"return require('os')",
		"local t = {} t[1] = t return t",
		"local f f = function() return pcall(f) end while true do f() error('x') end",
		"local function f() return f() + 1 end return f()",
		"return ('x'):rep(2147483647)",
	};
	struct fixture *f = fixture_open();
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		eval(f, scripts[i], "k");
		cr_assert(reply_has(f, "-ERR "), "%s: %.*s", scripts[i], (int)f->reply.size,
			  (const char *)f->reply.data);
	}
	expect(f, "return {string.rep('a', 3), type(getmetatable('')), #redis}",
	       "*3\r\n$3\r\naaa\r\n$5\r\ntable\r\n:0\r\n");
	expect(f, "return {string.find(string.rep('a', 5000) .. 'b', string.rep('a', 5000), 1, true)}",
	       "*2\r\n:1\r\n:5000\r\n");
	fixture_close(f);
}

Test(scripts, settings_do_not_outlive_a_run)
{
	struct fixture *f = fixture_open();
	expect(f,
	       "cjson.encode_max_depth(1) math.randomseed(1) return pcall(cjson.encode, {{{}}}) and 1 or 0",
	       ":0\r\n");
	expect(f, "return pcall(cjson.encode, {{{}}}) and 1 or 0", ":1\r\n");
	expect(f, "collectgarbage('stop') redis.setresp(3) return redis.call('get','nothing') == nil",
	       ":1\r\n");
	expect(f, "return redis.call('get','nothing') == false", ":1\r\n");
	fixture_close(f);
}

Test(scripts, the_cache_is_the_servers)
{
	struct fixture *f = fixture_open();
	struct script_stats stats;
	char script[32];
	EXPECT(f, 0, "SCRIPT LOAD return(7)", "$40\r\nbc70ae583496ef68242126e5f723b4224435af02");
	/* Known on another thread, in any case. */
	struct bytes argv[] = {BYTES_LITERAL("evalsha"),
			       BYTES_LITERAL("BC70AE583496EF68242126E5F723B4224435AF02"), BYTES_LITERAL("0")};
	struct request request = {.argc = 3, .argv = argv};
	resp_truncate(&f->reply, 0);
	cr_assert_eq(f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
					&f->release),
		     REQUEST_DONE);
	cr_assert(f->reply.size == 4 && memcmp(f->reply.data, ":7\r\n", 4) == 0);
	for (int i = 0; i < 2500; i++) {
		snprintf(script, sizeof(script), "return %d", i);
		eval(f, script, "k");
		cr_assert_eq(f->reply.data[0], ':');
	}
	script_library_stats(f->server.scripts, &stats);
	cr_assert_eq(stats.scripts, 2501);
	EXPECT(f, 0, "EVALSHA bc70ae583496ef68242126e5f723b4224435af02 0", ":7");
	EXPECT(f, 0, "SCRIPT FLUSH", "+OK");
	EXPECT(f, 0, "EVALSHA bc70ae583496ef68242126e5f723b4224435af02 0",
	       "-NOSCRIPT No matching script. Please use EVAL.");
	EXPECT(f, 0, "SCRIPT EXISTS bc70ae583496ef68242126e5f723b4224435af02", "*1\r\n:0");
	script_library_stats(f->server.scripts, &stats);
	cr_assert_eq(stats.scripts, 0);
	fixture_close(f);
}

/* An error is counted once, for the command that failed; EVAL failed, too. */
Test(scripts, errors_are_counted_once)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k x", "+OK");
	uint64_t before = command_stats_total_errors(f->server.command_stats);
	eval(f, "return redis.call('incr',KEYS[1])", "k");
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), before + 1);
	eval(f, "return redis.pcall('incr',KEYS[1])", "k");
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), before + 2);
	eval(f, "redis.pcall('incr',KEYS[1]) return 1", "k");
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), before + 3);
	eval(f, "return redis.call('nosuch')", "k");
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), before + 4);
	eval(f, "error('own')", "k");
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), before + 5);
	fixture_run_line(f, 0, "INFO commandstats");
	cr_assert(reply_has(f, "cmdstat_incr:calls=3"));
	cr_assert(reply_has(f, "cmdstat_eval:calls=5"));
	fixture_close(f);
}

/* However many there are: what they took is given back, and they are counted all the same. */
Test(scripts, calls_that_read_take_no_memory)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k x", "+OK");
	f->server.transaction_memory = 512 * 1024;
	uint64_t errors = command_stats_total_errors(f->server.command_stats);
	expect(f,
	       "for i = 1, 30000 do redis.call('get', KEYS[1]) redis.pcall('incr', KEYS[1]) "
	       "redis.pcall('nosuch') end "
	       "return redis.call('get', KEYS[1])",
	       "$1\r\nx\r\n");
	fixture_run_line(f, 0, "INFO commandstats");
	cr_assert(reply_has(f, "cmdstat_get:calls=30001,"));
	cr_assert(reply_has(f, "cmdstat_incr:calls=30000,"));
	cr_assert(reply_has(f, "rejected_calls=0,failed_calls=30000\r\n"));
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), errors + 60000);
	fixture_close(f);
}

/* A script may take as much as what frees space, until it calls what takes it. */
Test(scripts, calls_that_write_take_as_much_as_a_block)
{
	enum { MEMORY = 100000 };
	static const char fill[] = "for i = 1, 2000 do redis.call('set', 'key:' .. i, 'other') end return 1",
			  drop[] = "for i = 1, 2000 do redis.call('del', 'key:' .. i) end return 1",
			  oom[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
	struct fixture *f = fixture_open();
	expect(f, fill, ":1\r\n");
	EXPECT(f, 0, "SET k 0", "+OK");
	sett_engine_set_transaction_memory(f->server.engine, MEMORY);
	f->server.transaction_memory = MEMORY;
	expect(f, fill, oom);
	expect(f, "for i = 1, 2000 do redis.call('incr', KEYS[1]) end return 1", oom);
	expect(f,
	       "redis.call('set', KEYS[1], 1) for i = 1, 2000 do redis.call('del', 'key:' .. i) end return 1",
	       oom);
	EXPECT(f, 0, "DBSIZE", ":2001");
	expect(f, drop, ":1\r\n");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

/* What a call leaves behind for the commit stays, whatever is called after it. */
Test(scripts, what_calls_leave_behind_stays)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET e1 x PX 10", "+OK");
	EXPECT(f, 0, "SET e2 x PX 10", "+OK");
	fixture_advance(f, 100);
	f->server.config->slowlog_slower_than = 0;
	expect(f,
	       "for i = 1, 200 do redis.call('get', 'e' .. i) redis.call('select', i % 16) "
	       "redis.call('get', 'absent' .. i) redis.call('select', 0) redis.call('set', 'new' .. i % 7, "
	       "i) end "
	       "return redis.call('get', 'new3')",
	       "$3\r\n199\r\n");
	EXPECT(f, 0, "DBSIZE", ":7");
	fixture_run_line(f, 0, "SLOWLOG GET 7");
	cr_assert(reply_has(f, "$3\r\nget\r\n$4\r\nnew3\r\n"));
	cr_assert(reply_has(f, "$3\r\nset\r\n$4\r\nnew4\r\n$3\r\n200\r\n"));
	fixture_close(f);
}

Test(scripts, the_deprecated_api_does_not_outlive_a_run)
{
	struct fixture *f = fixture_open();
	f->server.config->lua_enable_deprecated_api = true;
	expect(f,
	       "local p = newproxy(true) getmetatable(p).__index = function(t, n) return n end "
	       "return {p.x, newproxy(p).y, type(newproxy()), tostring(pcall(newproxy, 1))}",
	       "*4\r\n$1\r\nx\r\n$1\r\ny\r\n$8\r\nuserdata\r\n$5\r\nfalse\r\n");
	/* A finalizer would run when nothing can stop it. */
	expect(f,
	       "local m = getmetatable(newproxy(true)) m.__gc = 1 rawset(m, '__gc', 2) rawset(m, 1, 3) "
	       "return {tostring(rawget(m, '__gc')), m[1], tostring(pcall(setmetatable, m, nil))}",
	       "*3\r\n$3\r\nnil\r\n:3\r\n$5\r\nfalse\r\n");
	expect(f, "return setfenv(function() return x end, {x = 7})()", ":7\r\n");
	expect(f, "return getfenv(redis.call) == _G and getfenv(0) == _G and getfenv() == _G", ":1\r\n");
	for (int i = 0; i < 2; i++)
		expect(f,
		       "local had = redis ~= nil and setfenv setfenv(0, {}) had(1, {}) "
		       "return had and redis == nil and 1 or 0",
		       ":1\r\n");
	expect(f, "return loadstring('return redis ~= nil')()", ":1\r\n");
	fixture_close(f);
}

/* ---- SCRIPT KILL ---- */

struct loop {
	struct fixture *f;
	const char *script;
	struct resp_writer reply;
};

static void *
run_loop(void *arg)
{
	struct loop *loop = arg;
	struct fixture *f = loop->f;
	struct bytes argv[] = {BYTES_LITERAL("EVAL"), bytes_of_string(loop->script), BYTES_LITERAL("0")};
	struct request request = {.argc = 3, .argv = argv, .in_long_lane = true};
	uint64_t release;
	f->handler.execute(f->handler.arg, f->thread, &f->clients[1], &request, &loop->reply, &release);
	return NULL;
}

static void
wait_for_run(struct fixture *f, struct running_script *ret)
{
	while (!script_longest_running(f->server.scripts, SCRIPT_ANY, ret))
		sched_yield();
}

static void
request_kill(struct fixture *f)
{
	struct bytes argv[] = {BYTES_LITERAL("SCRIPT"), BYTES_LITERAL("KILL")};
	struct request request = {.argc = 2, .argv = argv};
	resp_truncate(&f->reply, 0);
	f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply, &f->release);
}

Test(scripts, long_runs_can_be_killed)
{
	struct fixture *f = fixture_open();
	struct loop loop = {.f = f, .script = "while true do pcall(function() while true do end end) end"};
	struct running_script running;
	pthread_t thread;
	request_kill(f);
	cr_assert(reply_has(f, "-NOTBUSY"));
	resp_writer_init(&loop.reply, 2);
	f->server.config->busy_reply_threshold = 0;
	cr_assert_eq(pthread_create(&thread, NULL, run_loop, &loop), 0);
	wait_for_run(f, &running);
	cr_assert(running.is_eval && !running.has_written);
	cr_assert_eq(strlen(running.name), SHA1_HEX_SIZE);
	request_kill(f);
	cr_assert(reply_has(f, "+OK"));
	pthread_join(thread, NULL);
	cr_assert(memmem(loop.reply.data, loop.reply.size, "-ERR Script killed by user with SCRIPT KILL...",
			 46) != NULL);
	resp_truncate(&loop.reply, 0);
	loop.script = "redis.call('set','x','1') while true do pcall(function() while true do end end) end";
	cr_assert_eq(pthread_create(&thread, NULL, run_loop, &loop), 0);
	wait_for_run(f, &running);
	request_kill(f);
	cr_assert(reply_has(f, "-UNKILLABLE"));
	/* The server stops: nobody waits for it. */
	__atomic_store_n(&f->server.stopping, true, __ATOMIC_RELAXED);
	__atomic_store_n(&f->clients[1].gone, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT(f, 0, "EXISTS x", ":0");
	resp_writer_free(&loop.reply);
	fixture_close(f);
}
