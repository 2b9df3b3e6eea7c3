/* What scripts see of Lua. Debian's library lacks Redis' read-only tables, so a table that scripts must not change is hidden
 * behind an empty one: reads go on to it, writes are refused. Functions that would pass by that (rawset, next, ...) have
 * versions here that know it.
 *
 * Lua 5.1 as Debian has it has holes that scripts must not reach: each is closed here.
 * - Compiled code is not verified: it is refused (script_load), also by load and loadstring.
 * - The parser may lose the name of a chunk to the garbage collector (CVE-2025-49844): that stands still meanwhile.
 * - unpack overflows for huge ranges (CVE-2025-46817).
 * - Matching recurses as deep as the pattern is long: long patterns are refused.
 * - The lexer counts the equal signs of a long bracket in an int: longer texts are refused (script_load).
 * - A finalizer can't be interrupted: proxies have none. They, setfenv and getfenv are there with
 *   lua-enable-deprecated-api alone; what setfenv does to a script ends with its run (run.c). */
#include <limits.h>
#include <lualib.h>

#include "config/config.h"
#include "script/private.h"
#include "script/script_libraries.h"

enum {
	PATTERN_MAX = 4000, /* bytes: a level of recursion each, of about 200 bytes */
	STRING_MAX = 512 * 1024 *
		1024, /* bytes that string.rep makes, and of what is loaded: as long as a string of
					   Redis may be */
};

#define READ_ONLY_TEXT "Attempt to modify a readonly table"

static void
set_function(lua_State *L, const char *name, lua_CFunction function)
{
	lua_pushcfunction(L, function);
	lua_setfield(L, -2, name);
}

/* ---- tables that can't be changed ---- */

static int
refuse_change(lua_State *L)
{
	return luaL_error(L, READ_ONLY_TEXT);
}

/* Where a function in C would change one: an error without a place, as Lua's own. */
static int
refuse_in_library(lua_State *L)
{
	lua_pushliteral(L, READ_ONLY_TEXT);
	return lua_error(L);
}

/* Whether the value is such a table; then what it hides is pushed. */
static bool
push_hidden(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE || lua_getmetatable(L, index) == 0)
		return false;
	lua_pushliteral(L, "__newindex");
	lua_rawget(L, -2);
	bool is_read_only = lua_tocfunction(L, -1) == refuse_change;
	lua_pop(L, 1);
	if (is_read_only) {
		lua_pushliteral(L, "__index");
		lua_rawget(L, -2);
		lua_remove(L, -2);
	} else {
		lua_pop(L, 1);
	}
	return is_read_only;
}

/* The table on the top of the stack becomes one that hides `hidden`, which is below it. */
static void
hide(lua_State *L)
{
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, refuse_change);
	lua_setfield(L, -2, "__newindex");
	/* What getmetatable shows: nothing, and that can't be changed either. */
	lua_newtable(L);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, refuse_change);
	lua_setfield(L, -2, "__newindex");
	lua_newtable(L);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
}

void
script_make_read_only(lua_State *L)
{
	lua_newtable(L);
	hide(L);
	lua_remove(L, -2);
}

/* ---- Lua's own functions, careful ---- */

static int
careful_next(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	if (push_hidden(L, 1))
		lua_replace(L, 1);
	return lua_next(L, 1) != 0 ? 2 : (lua_pushnil(L), 1);
}

static int
careful_pairs(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* What Lua does where a key is not there yet, in the metatable of a proxy: a finalizer would run when no script does, and
 * as long as it likes. */
static int
set_but_finalizer(lua_State *L)
{
	bool is_finalizer = lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "__gc") == 0;
	lua_settop(L, 3);
	if (!is_finalizer)
		lua_rawset(L, 1);
	return 0;
}

/* Whether the value has a metatable with set_but_finalizer. */
static bool
is_proxy_metatable(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE || lua_getmetatable(L, index) == 0)
		return false;
	lua_pushliteral(L, "__newindex");
	lua_rawget(L, -2);
	bool is_one = lua_tocfunction(L, -1) == set_but_finalizer;
	lua_pop(L, 2);
	return is_one;
}

static int
careful_rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	luaL_checkany(L, 3);
	lua_settop(L, 3);
	if (push_hidden(L, 1))
		return refuse_in_library(L);
	if (is_proxy_metatable(L, 1))
		set_but_finalizer(L);
	else
		lua_rawset(L, 1);
	lua_settop(L, 1);
	return 1;
}

static int
careful_rawget(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	lua_settop(L, 2);
	if (push_hidden(L, 1))
		lua_replace(L, 1);
	lua_rawget(L, 1);
	return 1;
}

static int
careful_setmetatable(lua_State *L)
{
	int type = lua_type(L, 2);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
	if (push_hidden(L, 1))
		return refuse_in_library(L);
	if (luaL_getmetafield(L, 1, "__metatable"))
		return luaL_error(L, "cannot change a protected metatable");
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

/* What the count hook does between instructions, for a long loop within one of them. It may raise an error. */
static void
look_around(lua_State *L)
{
	lua_Hook hook = lua_gethook(L);
	if (hook != NULL)
		hook(L, NULL);
}

/* table.insert: as Lua's, which writes past metatables. */
static int
careful_insert(lua_State *L)
{
	enum { LOOK_EVERY = 4096 }; /* elements */
	luaL_checktype(L, 1, LUA_TTABLE);
	if (push_hidden(L, 1))
		return refuse_in_library(L);
	int end = (int)lua_objlen(L, 1) + 1, at = end;
	switch (lua_gettop(L)) {
	case 2:
		break;
	case 3:
		at = luaL_checkint(L, 2);
		if (at > end)
			end = at;
		for (int i = end; i > at; i--) {
			lua_rawgeti(L, 1, i - 1);
			lua_rawseti(L, 1, i);
			/* A place far below 1 makes two thousand million steps. */
			if (i % LOOK_EVERY == 0)
				look_around(L);
		}
		break;
	default:
		return luaL_error(L, "wrong number of arguments to 'insert'");
	}
	lua_rawseti(L, 1, at);
	return 0;
}

static int
careful_unpack(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	int first = luaL_optint(L, 2, 1);
	int last = lua_isnoneornil(L, 3) ? (int)lua_objlen(L, 1) : luaL_checkint(L, 3);
	if (first > last)
		return 0;
	int64_t count = (int64_t)last - first + 1;
	if (count >= INT_MAX || !lua_checkstack(L, (int)count))
		return luaL_error(L, "too many results to unpack");
	for (int64_t i = first; i <= last; i++)
		lua_rawgeti(L, 1, (int)i);
	return (int)count;
}

/* As Redis has it: what an error says is a text, although redis.call raises a table. */
static int
careful_pcall(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	if (lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) == 0)
		return lua_gettop(L);
	if (lua_istable(L, -1)) {
		lua_pushliteral(L, "err");
		lua_rawget(L, -2);
		if (lua_isstring(L, -1))
			lua_replace(L, -2);
		else
			lua_pop(L, 1);
	}
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

/* Without the ways to stop the collector. */
static int
careful_collectgarbage(lua_State *L)
{
	static const char *const names[] = {"collect", "count",    "step",       "stop",
					    "restart", "setpause", "setstepmul", NULL};
	int which = luaL_checkoption(L, 1, "collect", names);
	int argument = luaL_optint(L, 2, 0);
	switch (which) {
	case 0:
		lua_pushinteger(L, lua_gc(L, LUA_GCCOLLECT, 0));
		return 1;
	case 1:
		lua_pushnumber(L, lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0);
		return 1;
	case 2:
		lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, argument));
		return 1;
	default:
		lua_pushinteger(L, 0);
		return 1;
	}
}

/* Pushes a metatable for a proxy. */
static void
push_proxy_metatable(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 2);
	set_function(L, "__newindex", set_but_finalizer);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
}

/* newproxy([true or a proxy]): a value without content that has a metatable. */
static int
careful_newproxy(lua_State *L)
{
	lua_settop(L, 1);
	lua_newuserdata(L, 0);
	if (!lua_toboolean(L, 1))
		return 1;
	if (lua_isboolean(L, 1))
		push_proxy_metatable(L);
	else
		luaL_argcheck(L, lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1) != 0, 1,
			      "boolean or proxy expected");
	lua_setmetatable(L, 2);
	return 1;
}

/* ---- loading ---- */

int
script_load(lua_State *L, struct bytes text, const char *chunk)
{
	if (text.size > 0 && text.data[0] == LUA_SIGNATURE[0]) {
		lua_pushfstring(L, "%s:1: unexpected symbol near 'char(27)'",
				chunk[0] == '@' || chunk[0] == '=' ? chunk + 1 : "?");
		return LUA_ERRSYNTAX;
	}
	if (text.size > STRING_MAX) {
		lua_pushliteral(L, "the text is too long");
		return LUA_ERRSYNTAX;
	}
	lua_gc(L, LUA_GCSTOP, 0);
	int status = luaL_loadbuffer(L, (const char *)text.data, text.size, chunk);
	lua_gc(L, LUA_GCRESTART, 0);
	return status;
}

/* The text on the top of the stack, as load and loadstring return it. */
static int
load_text(lua_State *L, const char *chunk)
{
	size_t size;
	const char *text = lua_tolstring(L, -1, &size);
	if (script_load(L, bytes_of(text, size), chunk != NULL ? chunk : text) == 0)
		return 1;
	lua_pushnil(L);
	lua_insert(L, -2);
	return 2;
}

static int
careful_loadstring(lua_State *L)
{
	luaL_checkstring(L, 1);
	const char *chunk = luaL_optstring(L, 2, NULL);
	lua_pushvalue(L, 1);
	return load_text(L, chunk);
}

static int
careful_load(lua_State *L)
{
	const char *chunk = luaL_optstring(L, 2, "=(load)");
	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_Buffer pieces;
	lua_settop(L, 2);
	luaL_buffinit(L, &pieces);
	for (;;) {
		lua_pushvalue(L, 1);
		lua_call(L, 0, 1);
		if (lua_isnil(L, -1) || (lua_isstring(L, -1) && lua_objlen(L, -1) == 0))
			break;
		if (!lua_isstring(L, -1))
			return luaL_error(L, "reader function must return a string");
		luaL_addvalue(&pieces);
	}
	lua_pop(L, 1);
	luaL_pushresult(&pieces);
	return load_text(L, chunk);
}

/* ---- strings ---- */

/* find, match, gmatch, gsub: Lua's function is the upvalue. */
static int
careful_match(lua_State *L)
{
	size_t size;
	luaL_checkstring(L, 1);
	const char *pattern = luaL_checklstring(L, 2, &size);
	bool is_plain = lua_toboolean(L, lua_upvalueindex(2)) && lua_toboolean(L, 4);
	if (size > PATTERN_MAX && !is_plain && strpbrk(pattern, "^$*+?.([%-") != NULL)
		return luaL_error(L, "pattern too complex");
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static int
careful_rep(lua_State *L)
{
	size_t size;
	luaL_checklstring(L, 1, &size);
	int count = luaL_checkint(L, 2);
	if (count > 0 && size > STRING_MAX / (size_t)count)
		return luaL_error(L, "resulting string too large");
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 1);
	return 1;
}

/* Replaces a function of the library on the top of the stack by one that calls it. */
static void
wrap_function(lua_State *L, const char *name, lua_CFunction function, bool may_be_plain)
{
	lua_getfield(L, -1, name);
	lua_pushboolean(L, may_be_plain);
	lua_pushcclosure(L, function, 2);
	lua_setfield(L, -2, name);
}

/* ---- all of it ---- */

static void
open_library(lua_State *L, lua_CFunction open, const char *name)
{
	lua_pushcfunction(L, open);
	lua_pushstring(L, name);
	lua_call(L, 1, 0);
}

/* The table of globals is on the top of the stack, here and below. */
static void
replace_base(lua_State *L)
{
	static const char *const removed[] = {"dofile",  "loadfile", "print",   "module",
					      "require", "newproxy", "getfenv", "setfenv"};
	enum { DEPRECATED = 3 }; /* the last ones: there with lua-enable-deprecated-api */
	bool has_deprecated = script_vm_of_state(L)->server->config->lua_enable_deprecated_api;
	size_t count = sizeof(removed) / sizeof(removed[0]) - (has_deprecated ? DEPRECATED : 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushnil(L);
		lua_setfield(L, -2, removed[i]);
	}
	if (has_deprecated)
		set_function(L, "newproxy", careful_newproxy);
	set_function(L, "rawset", careful_rawset);
	set_function(L, "rawget", careful_rawget);
	set_function(L, "setmetatable", careful_setmetatable);
	set_function(L, "unpack", careful_unpack);
	set_function(L, "pcall", careful_pcall);
	set_function(L, "load", careful_load);
	set_function(L, "loadstring", careful_loadstring);
	set_function(L, "collectgarbage", careful_collectgarbage);
	set_function(L, "next", careful_next);
	lua_pushcfunction(L, careful_next);
	lua_pushcclosure(L, careful_pairs, 1);
	lua_setfield(L, -2, "pairs");
}

static void
replace_in_libraries(lua_State *L)
{
	lua_getfield(L, -1, "table");
	set_function(L, "insert", careful_insert);
	lua_pop(L, 1);
	lua_getfield(L, -1, "math");
	set_function(L, "random", script_random);
	set_function(L, "randomseed", script_random_seed);
	lua_pop(L, 1);
	lua_getfield(L, -1, "string");
	wrap_function(L, "find", careful_match, true);
	wrap_function(L, "match", careful_match, false);
	wrap_function(L, "gmatch", careful_match, false);
	wrap_function(L, "gfind", careful_match, false);
	wrap_function(L, "gsub", careful_match, false);
	wrap_function(L, "rep", careful_rep, false);
	lua_pop(L, 1);
}

static int
refuse_unknown(lua_State *L)
{
	const char *name = lua_tostring(L, 2);
	return luaL_error(L, "Script attempted to access nonexistent global variable '%s'",
			  name != NULL ? name : luaL_typename(L, 2));
}

/* Libraries, and the metatable of strings. */
static void
protect_libraries(lua_State *L)
{
	static const char *const names[] = {"string", "table",    "math",   "coroutine", "redis",
					    "cjson",  "cmsgpack", "struct", "bit"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		lua_getfield(L, -1, names[i]);
		if (lua_istable(L, -1)) {
			script_make_read_only(L);
			lua_setfield(L, -2, names[i]);
		} else {
			lua_pop(L, 1);
		}
	}
	lua_pushliteral(L, "");
	if (lua_getmetatable(L, -1)) {
		lua_newtable(L);
		script_make_read_only(L);
		lua_setfield(L, -2, "__metatable");
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

void
script_sandbox_fill(lua_State *L)
{
	open_library(L, luaopen_base, "");
	open_library(L, luaopen_table, LUA_TABLIBNAME);
	open_library(L, luaopen_string, LUA_STRLIBNAME);
	open_library(L, luaopen_math, LUA_MATHLIBNAME);
	open_library(L, script_open_json, "cjson");
	open_library(L, script_open_msgpack, "cmsgpack");
	open_library(L, script_open_struct, "struct");
	open_library(L, script_open_bit, "bit");
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	replace_base(L);
	replace_in_libraries(L);
	script_push_api(L);
	lua_setfield(L, -2, "redis");
	protect_libraries(L);
	lua_createtable(L, 0, 1);
	set_function(L, "__index", refuse_unknown);
	lua_setmetatable(L, -2);
	lua_newtable(L);
	hide(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "_G");
	lua_pushvalue(L, -1);
	script_vm_of_state(L)->environment = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_replace(L, LUA_GLOBALSINDEX);
}
