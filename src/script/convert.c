/* From replies to Lua values and back, by Redis' rules (https://redis.io/docs/interact/programmability/lua-api/):
 *
 *     RESP                         Lua
 *     :1                           number
 *     $text                        string
 *     $-1, *-1                     false
 *     +text                        {ok = text}
 *     -CODE text                   {err = "CODE text"}
 *     *n                           table 1..n
 *     after redis.setresp(3):
 *     _                            nil
 *     #t                           boolean
 *     ,1.5                         {double = 1.5}
 *     (123                         {big_number = "123"}
 *     %n, ~n                       {map = {...}}, {set = {element = true}}
 *     =txt:...                     {verbatim_string = {format, string}} */
#include <assert.h>
#include <math.h>

#include "script/private.h"

/* ---- replies to values ---- */

/* The line that begins at `p`, behind its first byte; `ret_next` is behind its end. */
static struct bytes
take_line(const uint8_t *p, const uint8_t **ret_next)
{
	const uint8_t *end = p;
	while (*end != '\r')
		end++;
	*ret_next = end + 2;
	return bytes_of(p, (size_t)(end - p));
}

static int64_t
take_integer(const uint8_t *p, const uint8_t **ret_next)
{
	bool is_negative = *p == '-';
	uint64_t value = 0;
	for (p += is_negative || *p == '+'; *p != '\r'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	*ret_next = p + 2;
	return (int64_t)(is_negative ? 0 - value : value);
}

static bool
is_line_end(uint8_t c)
{
	return c == '\r' || c == '\n';
}

void
script_push_error(lua_State *L, struct bytes text)
{
	struct bytes code = BYTES_LITERAL("ERR");
	if (text.size > 0 && text.data[0] == '-') {
		text = bytes_of(text.data + 1, text.size - 1);
		const uint8_t *space = memchr(text.data, ' ', text.size);
		if (space != NULL) {
			code = bytes_of(text.data, (size_t)(space - text.data));
			text = bytes_of(space + 1, text.size - code.size - 1);
		}
	}
	while (text.size > 0 && is_line_end(text.data[0]))
		text = bytes_of(text.data + 1, text.size - 1);
	while (text.size > 0 && is_line_end(text.data[text.size - 1]))
		text.size--;
	lua_createtable(L, 0, 4);
	lua_pushliteral(L, "err");
	lua_pushlstring(L, (const char *)code.data, code.size);
	lua_pushliteral(L, " ");
	lua_pushlstring(L, (const char *)text.data, text.size);
	lua_concat(L, 3);
	lua_rawset(L, -3);
}

void
script_push_error_text(lua_State *L, const char *text)
{
	script_push_error(L, bytes_of_string(text));
}

/* {name = value}, whose value is on the top of the stack. */
static void
wrap(lua_State *L, const char *name)
{
	lua_createtable(L, 0, 1);
	lua_insert(L, -2);
	lua_pushstring(L, name);
	lua_insert(L, -2);
	lua_rawset(L, -3);
}

static void
wrap_text(lua_State *L, const char *name, struct bytes text)
{
	lua_pushlstring(L, (const char *)text.data, text.size);
	wrap(L, name);
}

static const uint8_t *
push_array(lua_State *L, const uint8_t *p, int64_t count)
{
	lua_createtable(L, count < 1 << 20 ? (int)count : 1 << 20, 0);
	for (int i = 1; i <= count; i++) {
		p = script_push_reply(L, p);
		lua_rawseti(L, -2, i);
	}
	return p;
}

static const uint8_t *
push_pairs(lua_State *L, const uint8_t *p, int64_t count, bool is_map)
{
	lua_newtable(L);
	for (int64_t i = 0; i < count; i++) {
		p = script_push_reply(L, p);
		if (is_map)
			p = script_push_reply(L, p);
		else
			lua_pushboolean(L, 1);
		if (lua_isnil(L, -2))
			lua_pop(L, 2);
		else
			lua_rawset(L, -3);
	}
	wrap(L, is_map ? "map" : "set");
	return p;
}

static void
push_verbatim(lua_State *L, const uint8_t *p, size_t size)
{
	assert(size >= 4);
	lua_createtable(L, 0, 2);
	lua_pushlstring(L, (const char *)p + 4, size - 4);
	lua_setfield(L, -2, "string");
	lua_pushlstring(L, (const char *)p, 3);
	lua_setfield(L, -2, "format");
	wrap(L, "verbatim_string");
}

static const uint8_t *
push_sized(lua_State *L, uint8_t type, const uint8_t *p)
{
	int64_t size = take_integer(p, &p);
	if (size < 0) {
		lua_pushboolean(L, 0);
		return p;
	}
	switch (type) {
	case '$':
		lua_pushlstring(L, (const char *)p, (size_t)size);
		return p + size + 2;
	case '=':
		push_verbatim(L, p, (size_t)size);
		return p + size + 2;
	case '%':
		return push_pairs(L, p, size, true);
	case '~':
		return push_pairs(L, p, size, false);
	case '|': /* scripts do not get to see attributes */
		for (int64_t i = 0; i < 2 * size; i++) {
			p = script_push_reply(L, p);
			lua_pop(L, 1);
		}
		return script_push_reply(L, p);
	default:
		assert(type == '*' || type == '>');
		return push_array(L, p, size);
	}
}

static void
push_number(lua_State *L, struct bytes text)
{
	char copy[64];
	size_t size = text.size < sizeof(copy) ? text.size : sizeof(copy) - 1;
	memcpy(copy, text.data, size);
	copy[size] = '\0';
	lua_pushnumber(L, strtod(copy, NULL));
	wrap(L, "double");
}

const uint8_t *
script_push_reply(lua_State *L, const uint8_t *data)
{
	const uint8_t *next;
	struct bytes line;
	luaL_checkstack(L, 6, "a reply is nested too deeply");
	switch (data[0]) {
	case ':':
		lua_pushnumber(L, (lua_Number)take_integer(data + 1, &next));
		return next;
	case '+':
		line = take_line(data + 1, &next);
		wrap_text(L, "ok", line);
		return next;
	case '-':
		line = take_line(data, &next);
		script_push_error(L, line);
		lua_pushboolean(L, 1); /* the command was counted as failed */
		lua_setfield(L, -2, "ignore_error_stats_update");
		return next;
	case '_':
		lua_pushnil(L);
		return data + 3;
	case '#':
		lua_pushboolean(L, data[1] == 't');
		return data + 4;
	case ',':
		line = take_line(data + 1, &next);
		push_number(L, line);
		return next;
	case '(':
		line = take_line(data + 1, &next);
		wrap_text(L, "big_number", line);
		return next;
	default:
		return push_sized(L, data[0], data + 1);
	}
}

/* ---- values to replies ---- */

static void append(lua_State *, struct resp_writer *, int protocol);

/* Pushes the field of the table on the top of the stack if it is of that type. */
static bool
has_field(lua_State *L, const char *name, int type)
{
	lua_pushstring(L, name);
	lua_rawget(L, -2);
	if (lua_type(L, -1) == type)
		return true;
	lua_pop(L, 1);
	return false;
}

/* Numbers lose their fraction. What is out of range becomes what processors make of it. */
static int64_t
truncate_number(lua_Number number)
{
	return number >= -0x1p63 && number < 0x1p63 ? (int64_t)number : INT64_MIN;
}

static void
append_big_number(lua_State *L, struct resp_writer *reply)
{
	size_t size;
	const char *digits = lua_tolstring(L, -1, &size);
	luaL_Buffer clean;
	luaL_buffinit(L, &clean);
	for (size_t i = 0; i < size; i++)
		luaL_addchar(&clean, digits[i] == '\r' || digits[i] == '\n' ? ' ' : digits[i]);
	luaL_pushresult(&clean);
	digits = lua_tolstring(L, -1, &size);
	resp_big_number(reply, digits, size);
	lua_pop(L, 1);
}

/* {format, string}: it is on the top of the stack. */
static bool
append_verbatim(lua_State *L, struct resp_writer *reply)
{
	if (!has_field(L, "format", LUA_TSTRING))
		return false;
	const char *given = lua_tostring(L, -1);
	char format[4] = "   ";
	for (size_t i = 0; i < 3 && given[i] != '\0'; i++)
		format[i] = given[i];
	lua_pop(L, 1);
	if (!has_field(L, "string", LUA_TSTRING))
		return false;
	size_t size;
	const char *text = lua_tolstring(L, -1, &size);
	resp_verbatim(reply, format, text, size);
	lua_pop(L, 1);
	return true;
}

static bool
has_verbatim(lua_State *L, struct resp_writer *reply)
{
	if (!has_field(L, "verbatim_string", LUA_TTABLE))
		return false;
	bool is_verbatim = append_verbatim(L, reply);
	lua_pop(L, 1);
	return is_verbatim;
}

/* The map or set on the top of the stack. */
static void
append_pairs(lua_State *L, struct resp_writer *reply, int protocol, bool is_map)
{
	size_t token = resp_deferred_begin(reply), count = 0;
	lua_pushnil(L);
	while (lua_next(L, -2) != 0) {
		if (!is_map)
			lua_pop(L, 1);
		lua_pushvalue(L, is_map ? -2 : -1);
		append(L, reply, protocol);
		if (is_map)
			append(L, reply, protocol);
		count++;
	}
	if (is_map)
		resp_deferred_map_end(reply, token, count);
	else
		resp_deferred_set_end(reply, token, count);
}

static void
append_array(lua_State *L, struct resp_writer *reply, int protocol)
{
	size_t token = resp_deferred_begin(reply), count = 0;
	for (int i = 1;; i++, count++) {
		lua_rawgeti(L, -1, i);
		if (lua_isnil(L, -1))
			break;
		append(L, reply, protocol);
	}
	lua_pop(L, 1);
	resp_deferred_array_end(reply, token, count);
}

/* As in Redis, up to a byte 0. */
static void
append_status(lua_State *L, struct resp_writer *reply)
{
	const char *text = lua_tostring(L, -1);
	resp_status_data(reply, text, strlen(text));
}

/* The table on the top of the stack, where a field says that it is something else than an array. What is pushed remains
 * on the stack. */
static bool
append_named(lua_State *L, struct resp_writer *reply, int protocol)
{
	if (has_field(L, "err", LUA_TSTRING))
		resp_error(reply, lua_tostring(L, -1));
	else if (has_field(L, "ok", LUA_TSTRING))
		append_status(L, reply);
	else if (has_field(L, "double", LUA_TNUMBER))
		resp_double(reply, lua_tonumber(L, -1));
	else if (has_field(L, "big_number", LUA_TSTRING))
		append_big_number(L, reply);
	else if (has_verbatim(L, reply))
		return true;
	else if (has_field(L, "map", LUA_TTABLE))
		append_pairs(L, reply, protocol, true);
	else if (has_field(L, "set", LUA_TTABLE))
		append_pairs(L, reply, protocol, false);
	else
		return false;
	return true;
}

/* Pops the value. */
static void
append(lua_State *L, struct resp_writer *reply, int protocol)
{
	size_t size;
	const char *text;
	int top = lua_gettop(L);
	/* Redis' limit on nesting is that of Lua's stack, too. */
	if (!lua_checkstack(L, 6)) {
		resp_error(reply, "ERR reached lua stack limit");
		lua_settop(L, top - 1);
		return;
	}
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		text = lua_tolstring(L, -1, &size);
		resp_bulk(reply, text, size);
		break;
	case LUA_TBOOLEAN:
		if (protocol == 3)
			resp_boolean(reply, lua_toboolean(L, -1) != 0);
		else if (lua_toboolean(L, -1))
			resp_integer(reply, 1);
		else
			resp_null(reply);
		break;
	case LUA_TNUMBER:
		resp_integer(reply, truncate_number(lua_tonumber(L, -1)));
		break;
	case LUA_TTABLE:
		if (!append_named(L, reply, protocol)) {
			lua_settop(L, top);
			append_array(L, reply, protocol);
		}
		break;
	default:
		resp_null(reply);
	}
	lua_settop(L, top - 1);
}

void
script_append_value(lua_State *L, struct resp_writer *reply, int protocol)
{
	append(L, reply, protocol);
}
