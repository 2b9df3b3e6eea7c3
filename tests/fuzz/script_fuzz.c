/*
 * Fuzz target of the libraries of scripts: the first byte chooses a decoder (cmsgpack, cjson, struct), the others are
 * its input; for struct, a zero byte ends the format. What is read is written again, and must then be read as the same.
 * The interpreter has little memory, so errors of its allocator are met as well.
 */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

#include "script/script_libraries.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

/* At most a MiB. */
static void *
allocate(void *context, void *memory, size_t old_size, size_t size)
{
	enum { LIMIT = 1 << 20 };
	size_t *used = context;
	if (memory == NULL)
		old_size = 0;
	if (size > old_size && size - old_size > LIMIT - *used)
		return NULL;
	void *other = size > 0 ? realloc(memory, size) : (free(memory), NULL);
	check(other != NULL || size == 0 || size > old_size);
	if (other != NULL || size == 0)
		*used += size - old_size;
	return other;
}

static lua_State *
interpreter(void)
{
	static size_t used;
	static lua_State *lua;
	const lua_CFunction libraries[] = {script_open_json, script_open_msgpack, script_open_struct};
	if (lua != NULL)
		return lua;
	lua = lua_newstate(allocate, &used);
	check(lua != NULL);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		lua_pushcfunction(lua, libraries[i]);
		check(lua_pcall(lua, 0, 0, 0) == 0);
	}
	return lua;
}

/* Calls a function with what stands on the stack from `from` on, and leaves its results there. */
static bool
call(lua_State *lua, const char *library, const char *function, int from)
{
	lua_getglobal(lua, library);
	lua_getfield(lua, -1, function);
	lua_remove(lua, -2);
	lua_insert(lua, from);
	return lua_pcall(lua, lua_gettop(lua) - from, LUA_MULTRET, 0) == 0;
}

static size_t
write_value(lua_State *lua, const char *library, const char *function)
{
	if (!call(lua, library, function, 1))
		return 0;
	check(lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING);
	return lua_objlen(lua, 1);
}

/* `same`: what was written once is written with the same size again. */
static void
decode(lua_State *lua, const char *library, const char *reader, const char *writer, bool same)
{
	if (!call(lua, library, reader, 1) || lua_gettop(lua) == 0)
		return;
	size_t size = write_value(lua, library, writer);
	if (size == 0 || !call(lua, library, reader, 1))
		return;
	size_t again = write_value(lua, library, writer);
	check(again == size || again == 0 || !same);
}

static void
decode_struct(lua_State *lua, const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	size_t format = end == NULL ? size : (size_t)(end - data);
	lua_pushlstring(lua, (const char *)data, format);
	lua_pushvalue(lua, -1);
	lua_pushlstring(lua, end == NULL ? "" : (const char *)end + 1, end == NULL ? 0 : size - format - 1);
	if (!call(lua, "struct", "unpack", 2))
		return;
	check(lua_gettop(lua) >= 2 && lua_isnumber(lua, -1));
	lua_pop(lua, 1);
	lua_pushvalue(lua, 1);
	bool fixed = call(lua, "struct", "size", lua_gettop(lua));
	lua_Number expected = fixed ? lua_tonumber(lua, -1) : -1;
	lua_pop(lua, 1);
	if (call(lua, "struct", "pack", 1))
		check(!fixed || (lua_Number)lua_objlen(lua, 1) == expected);
}

static int
run(lua_State *lua)
{
	size_t size;
	const uint8_t *data = lua_touserdata(lua, 1);
	size = (size_t)lua_tointeger(lua, 2);
	lua_settop(lua, 0);
	if (data[0] % 3 == 2) {
		decode_struct(lua, data + 1, size - 1);
		return 0;
	}
	lua_pushlstring(lua, (const char *)data + 1, size - 1);
	if (data[0] % 3 == 0) /* what is nested deeper than 16 is not written */
		decode(lua, "cmsgpack", "unpack", "pack", size < 16);
	else
		decode(lua, "cjson", "decode", "encode", true);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	lua_State *lua = interpreter();
	if (size == 0)
		return 0;
	lua_settop(lua, 0);
	lua_pushcfunction(lua, run);
	lua_pushlightuserdata(lua, (void *)data);
	lua_pushinteger(lua, (lua_Integer)size);
	int status = lua_pcall(lua, 2, 0, 0);
	check(status == 0 || status == LUA_ERRMEM || status == LUA_ERRRUN);
	return 0;
}
