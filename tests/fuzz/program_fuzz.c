/*
 * Fuzz target of the sandbox of scripts: the input chooses a program, a line of Lua for a few of its bytes, from what may get
 * out of the sandbox, change it for the next script, or bring the interpreter down: metatables, compiled code, other environments,
 * deep recursion, coroutines, patterns, proxies. They find no command to call. Each runs as EVAL would run it, with the limits of time and
 * memory of a reactor. After it, a script walks over all that scripts can reach and must find what the first one found; now and
 * then all scripts are forgotten, and the interpreter must be as small as before.
 */
#include <stdbool.h>
#include <stdio.h>

#include "config/config.h"
#include "script/private.h"
#include "storage/engine.h"
#include "storage/vfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MEMORY = 16 << 20,
	PROGRAM_MAX = 16 * 1024,
	ROUND = 200,        /* programs after which all is forgotten */
	SLACK = 256 * 1024, /* by which an interpreter may differ that has forgotten all */
};

static void
check(bool holds)
{
	if (!holds)
		abort();
}

/* ---- programs ---- */

struct input {
	const uint8_t *at, *end;
};

static unsigned
choose(struct input *in, size_t count)
{
	return in->at < in->end ? *in->at++ % (unsigned)count : 0;
}

static const char *const values[] = {
	"_G",
	"string",
	"table",
	"math",
	"redis",
	"cjson",
	"cmsgpack",
	"struct",
	"bit",
	"coroutine",
	"KEYS",
	"ARGV",
	"nil",
	"true",
	"0",
	"-1",
	"1/0",
	"0/0",
	"2^31",
	"-2^63",
	"1e15",
	"''",
	"'__index'",
	"'__gc'",
	"'x'",
	"('%a'):rep(900)",
	"('(.-)'):rep(31)",
	"('x'):rep(70000)",
	"{}",
	"{1,2,3}",
	"{__index=_G,__newindex=_G,__gc=print}",
	"setmetatable({},{__index=function(t,k) return k end,__call=function(...) return ... end})",
	"function(...) return ... end",
	"function() return 1,2,3 end",
	"getmetatable('')",
	"getmetatable(_G)",
	"string.dump",
	"string.rep",
	"pcall",
	"next",
	"rawset",
	"rawget",
	"setmetatable",
	"getmetatable",
	"loadstring",
	"load",
	"coroutine.wrap",
	"coroutine.create(function(...) return coroutine.yield(...) end)",
	"setfenv or 1",
	"getfenv or 1",
	"newproxy and newproxy(true) or 1",
	"newproxy and getmetatable(newproxy(true)) or {}",
	"cjson.null",
	"a",
	"b",
	"c"};
static const char *const functions[] = {"string.rep",
					"string.find",
					"string.match",
					"string.gmatch",
					"string.gsub",
					"string.format",
					"string.byte",
					"string.char",
					"string.sub",
					"string.dump",
					"string.len",
					"string.reverse",
					"string.upper",
					"table.insert",
					"table.remove",
					"table.concat",
					"table.sort",
					"table.maxn",
					"table.foreach",
					"table.getn",
					"table.setn",
					"math.random",
					"math.randomseed",
					"math.ldexp",
					"rawset",
					"rawget",
					"rawequal",
					"setmetatable",
					"getmetatable",
					"next",
					"pairs",
					"ipairs",
					"select",
					"unpack",
					"tonumber",
					"tostring",
					"type",
					"error",
					"assert",
					"pcall",
					"xpcall",
					"load",
					"loadstring",
					"collectgarbage",
					"gcinfo",
					"coroutine.create",
					"coroutine.wrap",
					"coroutine.resume",
					"coroutine.status",
					"coroutine.yield",
					"redis.error_reply",
					"redis.status_reply",
					"redis.sha1hex",
					"redis.setresp",
					"redis.set_repl",
					"redis.breakpoint",
					"redis.debug",
					"cjson.encode",
					"cjson.decode",
					"cjson.encode_max_depth",
					"cjson.decode_max_depth",
					"cjson.encode_sparse_array",
					"cjson.encode_keep_buffer",
					"cjson.encode_number_precision",
					"cmsgpack.pack",
					"cmsgpack.unpack",
					"cmsgpack.unpack_limit",
					"struct.pack",
					"struct.unpack",
					"struct.size",
					"bit.tohex",
					"bit.lshift",
					"bit.tobit",
					"bit.bswap",
					"setfenv",
					"getfenv",
					"newproxy"};
static const char *const fields[] = {"__index",    "__newindex", "__gc", "__metatable", "__call",
				     "__tostring", "__mode",     "rep",  "insert",      "call",
				     "KEYS",       "null",       "x",    "_G",          "redis"};
static const char *const bombs[] = {
	"local function f() return f() + 1 end f()",
	"local function f() return pcall(f) end f()",
	"local f f = function() return coroutine.wrap(f)() end f()",
	"local t = {} for i = 1, 200 do t = {t} end return cjson.encode(t), cmsgpack.pack(t)",
	"local t = {} t[1] = t return t",
	"return loadstring(string.dump(function() return 1 end))",
	"local n = 0 return load(function() n = n + 1 return n == 1 and '\\27Lua' or nil end)",
	"loadstring(('('):rep(300) .. '1' .. (')'):rep(300))()",
	"loadstring('return ' .. ('{'):rep(250) .. ('}'):rep(250))()",
	"local s = {} for i = 1, 300 do s[i] = 'local v' .. i end loadstring(table.concat(s, '\\n'))",
	"a = ('a'):rep(3000):gsub('.-b', '')",
	"return ('x'):rep(5000):find(('x?'):rep(200) .. ('x'):rep(200))",
	"while true do end",
	"while true do pcall(function() while true do end end) end",
	"local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
	"return unpack({}, -2^31, 2^31 - 1)",
	"return unpack({}, 1, 7000)",
	"table.sort({3, 1, 2, 5, 4, 9, 8}, function() return true end)",
	"table.sort({3, 1, 2}, function(x, y) error({}) end)",
	"return xpcall(function() error(_G) end, function(e) return e.redis end)",
	"error(setmetatable({}, {__tostring = function() error('x') end, __index = error}))",
	"return string.format(('%99.99f'):rep(60), unpack({}, 1, 60))",
	"return setmetatable({}, {__index = function(t, k) return t[k .. 'x'] end}).y",
	"local c = coroutine.wrap(function() while 1 do coroutine.yield() end end) repeat pcall(c) until nil",
	"for w in ('a b c'):gmatch('%w') do coroutine.yield(w) end",
	"collectgarbage('stop') collectgarbage('step', 1e9) collectgarbage('setpause', 0)",
	"return struct.pack('!1024i32', 1)",
	"return struct.unpack('i99', 'x')",
	"return struct.unpack('s', 'no end', 1e9)",
	"return bit.tohex(1, -2147483648)",
	"return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
	"return cjson.decode(('['):rep(100000))"};

#define ONE_OF(in, texts) ((texts)[choose(in, sizeof(texts) / sizeof(*(texts)))])

static void
add_line(struct input *in, FILE *to)
{
	static const char *const names[] = {"a", "b", "c"};
	fputs("pcall(function() ", to);
	switch (choose(in, 8)) {
	case 0:
		fprintf(to, "(%s).%s = %s", ONE_OF(in, values), ONE_OF(in, fields), ONE_OF(in, values));
		break;
	case 1:
		fprintf(to, "%s = (%s).%s", ONE_OF(in, names), ONE_OF(in, values), ONE_OF(in, fields));
		break;
	case 2:
		fprintf(to, "%s = setmetatable(%s, {%s = %s})", ONE_OF(in, names), ONE_OF(in, values),
			ONE_OF(in, fields), ONE_OF(in, values));
		break;
	case 3:
		fputs(ONE_OF(in, bombs), to);
		break;
	case 4:
		fprintf(to, "for k, v in pairs(%s) do %s = v %s(k, v) end", ONE_OF(in, values),
			ONE_OF(in, names), ONE_OF(in, functions));
		break;
	default:
		fprintf(to, "%s = %s(%s, %s, %s)", ONE_OF(in, names), ONE_OF(in, functions),
			ONE_OF(in, values), ONE_OF(in, values), ONE_OF(in, values));
	}
	fputs(" end)\n", to);
}

static struct bytes
make_program(const uint8_t *data, size_t size)
{
	static char text[PROGRAM_MAX];
	struct input in = {.at = data, .end = data + size};
	FILE *to = fmemopen(text, sizeof(text), "w");
	check(to != NULL);
	fputs("local a, b, c\n", to);
	while (in.at < in.end && ftell(to) < PROGRAM_MAX - 1024)
		add_line(&in, to);
	static const char *const ends[] = {"return {a, b, c}\n", "return a\n", "error(a)\n"};
	fputs(ends[size % 3], to);
	long end = ftell(to);
	check(fclose(to) == 0);
	return bytes_of(text, (size_t)end);
}

/* ---- runs ---- */

static struct world {
	struct server server;
	struct sett_txn *txn; /* of all runs */
	struct command_context context;
	struct arena arena;
	struct script_vm *vm;
	struct resp_writer reply;
	struct client client;
	struct resp_writer first; /* what the first walk found */
	size_t small;             /* the interpreter's memory when it has forgotten all */
	unsigned runs;
} world;

/* All that can be reached, as "path type" in order; what is new for each run apart. */
static const char walk[] =
	"local seen, found = {}, {} "
	"local function visit(v, path) "
	"  found[#found + 1] = path .. ' ' .. type(v) .. (type(v) == 'string' and v or '') "
	"  if type(v) ~= 'table' or seen[v] then return end seen[v] = true "
	"  for k, x in pairs(v) do visit(x, path .. '.' .. tostring(type(k) == 'string' and k or type(k))) "
	"end "
	"  for k, x in next, v do found[#found + 1] = path .. '!' .. type(k) end "
	"  visit(getmetatable(v), path .. '@') end "
	"visit(_G, '_G') visit(getmetatable(''), 'string@') visit(getmetatable(redis.breakpoint), "
	"'function@') "
	"found[#found + 1] = ('x'):rep(2) .. ('axa'):gsub('x', 'y') .. #KEYS .. #ARGV .. select('#', "
	"unpack({1, 2})) "
	"found[#found + 1] = tostring(pcall(cjson.encode, {{{{}}}})) .. tostring(rawget(_G, 'a')) .. "
	"cmsgpack.pack(1) "
	"table.sort(found) return table.concat(found, '\\n')";

static void
open_world(void)
{
	struct world *w = &world;
	struct buffer text = {0};
	char program[] = "sett", *arguments[] = {program};
	/* One slot, which is empty. */
	static const uint16_t slot;
	static const struct command_table commands = {.slots = &slot};
	struct sett_options options = {.vfs = vfs_memory_create(), .manual_work = true};
	struct sett_engine *engine = NULL;
	check(options.vfs != NULL && sett_engine_open("data", &options, &engine, NULL) == SETT_OK);
	check(sett_txn_create(engine, &w->txn) == SETT_OK && sett_txn_begin(w->txn, 0) == SETT_OK);
	w->server.clock = sett_system_clock();
	w->server.commands = &commands;
	check(config_load(1, arguments, &w->server.config, &text) == SETT_OK);
	w->server.config->lua_enable_deprecated_api = true;
	w->server.transaction_memory = MEMORY;
	check(script_library_create(&w->server, &w->server.scripts) == SETT_OK);
	arena_init(&w->arena, 64 * 1024);
	resp_writer_init(&w->reply, 3);
	resp_writer_init(&w->first, 3);
}

static void
run_text(struct bytes text)
{
	struct world *w = &world;
	struct compiled_script *script;
	struct bytes key = BYTES_LITERAL("k");
	arena_reset(&w->arena);
	resp_truncate(&w->reply, 0);
	w->context = (struct command_context){.server = &w->server,
					      .client = &w->client,
					      .arena = &w->arena,
					      .script_vm = &w->vm,
					      .view.txn = w->txn,
					      .reply = &w->reply,
					      .protocol = 3};
	struct command_context *c = &w->context;
	struct script_vm *vm = script_vm_of(c);
	check(vm != NULL);
	if (script_compile(c, vm, text, &script) != SETT_OK)
		return;
	struct script_call call = {.name = script->sha,
				   .function = script->function,
				   .flags = script->flags,
				   .is_eval = true,
				   .key_count = 1,
				   .keys = &key,
				   .argument_count = 1,
				   .arguments = &key};
	int status = script_run(c, vm, &call);
	check(status == SETT_OK || status == OUTCOME_LONG);
}

static void
check_walk(void)
{
	struct world *w = &world;
	do
		run_text(bytes_of_string(walk));
	while (w->reply.size == 0); /* it took too long */
	check(w->reply.data[0] == '$');
	if (w->first.size == 0)
		resp_raw(&w->first, w->reply.data, w->reply.size);
	check(w->reply.size == w->first.size && memcmp(w->reply.data, w->first.data, w->first.size) == 0);
}

static void
forget_all(void)
{
	struct world *w = &world;
	script_library_flush(w->server.scripts);
	run_text(BYTES_LITERAL("return 1"));
	/* Lua halves its table of strings once a collection. */
	for (int i = 0; i < 16; i++)
		lua_gc(w->vm->state, LUA_GCCOLLECT, 0);
	size_t memory = w->vm->memory;
	if (w->small == 0)
		w->small = memory;
	check(memory < w->small + SLACK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *w = &world;
	if (w->server.config == NULL) {
		open_world();
		check_walk();
		forget_all();
	}
	run_text(make_program(data, size));
	check_walk();
	if (++w->runs % ROUND == 0)
		forget_all();
	return 0;
}
