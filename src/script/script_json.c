/* The library `cjson`: its table and its settings. Names, defaults and errors are those of lua-cjson 2.1.0
 * (www.kyne.com.au/~mark/software/lua-cjson-manual.html), which redis-server 7.0 has. */
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>

#include "script/script_json_private.h"
#include "script/script_libraries.h"

/* Its address is the key, in the registry, of the global library's settings. */
static const char global_settings = 0;

static const struct json_settings defaults = {
	.sparse_convert = 0,
	.sparse_ratio = 2,
	.sparse_safe = 10,
	.encode_max_depth = 1000,
	.decode_max_depth = 1000,
	.encode_invalid_numbers = JSON_INVALID_REFUSED,
	.decode_invalid_numbers = 1,
	.encode_number_precision = 14,
	.encode_keep_buffer = 1,
};

/* The settings; arguments that are not given become nil. */
static struct json_settings *
settings_of(lua_State *lua, int arguments)
{
	luaL_argcheck(lua, lua_gettop(lua) <= arguments, arguments + 1, "found too many arguments");
	lua_settop(lua, arguments);
	return lua_touserdata(lua, lua_upvalueindex(1));
}

/* Sets a number if the argument is not nil, and pushes what holds. */
static void
integer_setting(lua_State *lua, int argument, int *setting, int min, int max)
{
	char error[64];
	if (!lua_isnil(lua, argument)) {
		int value = (int)luaL_checkinteger(lua, argument);
		snprintf(error, sizeof(error), "expected integer between %d and %d", min, max);
		luaL_argcheck(lua, value >= min && value <= max, 1, error);
		*setting = value;
	}
	lua_pushinteger(lua, *setting);
}

/* As before, for one of some words. The first two are false and true. */
static void
word_setting(lua_State *lua, int argument, int *setting, const char *const *words)
{
	if (lua_isboolean(lua, argument))
		*setting = lua_toboolean(lua, argument);
	else if (!lua_isnil(lua, argument))
		*setting = luaL_checkoption(lua, argument, NULL, words);
	if (*setting <= 1)
		lua_pushboolean(lua, *setting);
	else
		lua_pushstring(lua, words[*setting]);
}

static const char *const off_on[] = {"off", "on", NULL};

static int
json_encode_sparse_array(lua_State *lua)
{
	struct json_settings *s = settings_of(lua, 3);
	word_setting(lua, 1, &s->sparse_convert, off_on);
	integer_setting(lua, 2, &s->sparse_ratio, 0, INT_MAX);
	integer_setting(lua, 3, &s->sparse_safe, 0, INT_MAX);
	return 3;
}

static int
json_encode_max_depth(lua_State *lua)
{
	integer_setting(lua, 1, &settings_of(lua, 1)->encode_max_depth, 1, INT_MAX);
	return 1;
}

static int
json_decode_max_depth(lua_State *lua)
{
	integer_setting(lua, 1, &settings_of(lua, 1)->decode_max_depth, 1, INT_MAX);
	return 1;
}

static int
json_encode_number_precision(lua_State *lua)
{
	integer_setting(lua, 1, &settings_of(lua, 1)->encode_number_precision, 1, 14);
	return 1;
}

static int
json_encode_keep_buffer(lua_State *lua)
{
	word_setting(lua, 1, &settings_of(lua, 1)->encode_keep_buffer, off_on);
	return 1;
}

static int
json_encode_invalid_numbers(lua_State *lua)
{
	static const char *const words[] = {"off", "on", "null", NULL};
	word_setting(lua, 1, &settings_of(lua, 1)->encode_invalid_numbers, words);
	return 1;
}

static int
json_decode_invalid_numbers(lua_State *lua)
{
	word_setting(lua, 1, &settings_of(lua, 1)->decode_invalid_numbers, off_on);
	return 1;
}

static int json_new(lua_State *lua);

static const struct luaL_Reg functions[] = {
	{"encode", json_encode},
	{"decode", json_decode},
	{"encode_sparse_array", json_encode_sparse_array},
	{"encode_max_depth", json_encode_max_depth},
	{"decode_max_depth", json_decode_max_depth},
	{"encode_number_precision", json_encode_number_precision},
	{"encode_keep_buffer", json_encode_keep_buffer},
	{"encode_invalid_numbers", json_encode_invalid_numbers},
	{"decode_invalid_numbers", json_decode_invalid_numbers},
	{"new", json_new},
	{NULL, NULL},
};

/* Pushes a userdata of settings, and above it a table of functions that use it. */
static void
push_library(lua_State *lua)
{
	*(struct json_settings *)lua_newuserdata(lua, sizeof(struct json_settings)) = defaults;
	lua_newtable(lua);
	for (const struct luaL_Reg *f = functions; f->name != NULL; f++) {
		lua_pushvalue(lua, -2);
		lua_pushcclosure(lua, f->func, 1);
		lua_setfield(lua, -2, f->name);
	}
	lua_pushlightuserdata(lua, NULL);
	lua_setfield(lua, -2, "null");
	lua_pushliteral(lua, "cjson");
	lua_setfield(lua, -2, "_NAME");
	lua_pushliteral(lua, "2.1.0"); /* the version whose behaviour this is */
	lua_setfield(lua, -2, "_VERSION");
}

static int
json_new(lua_State *lua)
{
	push_library(lua);
	return 1;
}

int
script_open_json(lua_State *lua)
{
	push_library(lua);
	lua_pushlightuserdata(lua, (void *)&global_settings);
	lua_pushvalue(lua, -3);
	lua_settable(lua, LUA_REGISTRYINDEX);
	lua_pushvalue(lua, -1);
	lua_setglobal(lua, "cjson");
	return 1;
}

void
script_json_reset(lua_State *lua)
{
	lua_pushlightuserdata(lua, (void *)&global_settings);
	lua_rawget(lua, LUA_REGISTRYINDEX);
	struct json_settings *s = lua_touserdata(lua, -1);
	if (s != NULL)
		*s = defaults;
	lua_pop(lua, 1);
}
