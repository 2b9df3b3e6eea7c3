/* cjson.encode: a Lua value as JSON. A table is an array if its keys are integers from 1 on, and its holes become null;
 * one that is mostly holes is refused or, by a setting, an object; an empty one is an object.
 *
 * The depth of recursion is bounded by encode_max_depth and by the slots of the Lua stack (8,000), of which each level
 * takes at least one. */
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>

#include "script/script_buffer.h"
#include "script/script_json_private.h"

struct encoder {
	lua_State *lua;
	const struct json_settings *settings;
	struct script_buffer out;
};

static void
refuse(struct encoder *e, int index, const char *why)
{
	luaL_error(e->lua, "Cannot serialise %s: %s", lua_typename(e->lua, lua_type(e->lua, index)), why);
}

static bool
needs_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '/' || c == '\\' || c == 0x7f;
}

static void
put_escaped(struct script_buffer *out, unsigned char c)
{
	static const char short_names[] = "btn\0fr"; /* from 8 on; 11 has none */
	static const char digits[] = "0123456789abcdef";
	char *at = script_buffer_reserve(out, 6);
	bool is_short = c >= '\b' && c <= '\r' && c != '\v';
	at[0] = '\\';
	if (is_short || c == '"' || c == '/' || c == '\\') {
		at[1] = is_short ? short_names[c - '\b'] : (char)c;
		out->size += 2;
		return;
	}
	at[1] = 'u';
	at[2] = at[3] = '0';
	at[4] = digits[c >> 4];
	at[5] = digits[c & 15];
	out->size += 6;
}

static void
put_string(struct encoder *e, int index)
{
	size_t size, from = 0;
	const char *text = lua_tolstring(e->lua, index, &size);
	script_buffer_add_byte(&e->out, '"');
	for (size_t i = 0; i < size; i++) {
		if (!needs_escape((unsigned char)text[i]))
			continue;
		script_buffer_add(&e->out, text + from, i - from);
		put_escaped(&e->out, (unsigned char)text[i]);
		from = i + 1;
	}
	script_buffer_add(&e->out, text + from, size - from);
	script_buffer_add_byte(&e->out, '"');
}

static void
put_number(struct encoder *e, int index)
{
	enum { TEXT_MAX = 32 };
	lua_Number n = lua_tonumber(e->lua, index);
	int invalid = e->settings->encode_invalid_numbers, precision = e->settings->encode_number_precision;
	if (!isfinite(n)) {
		if (invalid == JSON_INVALID_REFUSED)
			refuse(e, index, "must not be NaN or Inf");
		if (invalid == JSON_INVALID_AS_NULL) {
			script_buffer_add(&e->out, "null", 4);
			return;
		}
		if (isnan(n)) {
			script_buffer_add(&e->out, "nan", 3); /* of no sign */
			return;
		}
	}
	char *text = script_buffer_reserve(&e->out, TEXT_MAX);
	/* Whole numbers of few digits are most, and look the same in the quicker format. */
	bool whole = precision == 14 && fabs(n) < 1e14 && floor(n) == n && n != 0;
	int size = whole ? snprintf(text, TEXT_MAX, "%lld", (long long)n)
			 : snprintf(text, TEXT_MAX, "%.*g", precision, n);
	e->out.size += (size_t)size;
}

/* The largest key of the table on top if it is written as an array; 0 or less: as an object. */
static int
array_length(struct encoder *e)
{
	lua_State *lua = e->lua;
	const struct json_settings *s = e->settings;
	int64_t items = 0;
	int largest = 0;
	lua_pushnil(lua);
	while (lua_next(lua, -2) != 0) {
		lua_Number key = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;
		if (!(key >= 1 && floor(key) == key)) {
			lua_pop(lua, 2);
			return -1;
		}
		/* A key past an int makes it an object, as on x86-64 in Redis. */
		if (key > largest)
			largest = key <= INT_MAX ? (int)key : INT_MIN;
		items++;
		lua_pop(lua, 1);
	}
	if (s->sparse_ratio > 0 && largest > items * s->sparse_ratio && largest > s->sparse_safe) {
		if (!s->sparse_convert)
			refuse(e, -1, "excessively sparse array");
		return -1;
	}
	return largest;
}

static void put_top(struct encoder *e, int depth);

static void
put_array(struct encoder *e, int length, int depth)
{
	script_buffer_add_byte(&e->out, '[');
	for (int i = 1; i <= length; i++) {
		if (i > 1)
			script_buffer_add_byte(&e->out, ',');
		lua_rawgeti(e->lua, -1, i);
		put_top(e, depth);
		lua_pop(e->lua, 1);
	}
	script_buffer_add_byte(&e->out, ']');
}

static void
put_key(struct encoder *e)
{
	switch (lua_type(e->lua, -2)) {
	case LUA_TNUMBER:
		script_buffer_add_byte(&e->out, '"');
		put_number(e, -2);
		script_buffer_add_byte(&e->out, '"');
		break;
	case LUA_TSTRING:
		put_string(e, -2);
		break;
	default:
		refuse(e, -2, "table key must be a number or string");
	}
	script_buffer_add_byte(&e->out, ':');
}

static void
put_object(struct encoder *e, int depth)
{
	bool first = true;
	script_buffer_add_byte(&e->out, '{');
	lua_pushnil(e->lua);
	while (lua_next(e->lua, -2) != 0) {
		if (!first)
			script_buffer_add_byte(&e->out, ',');
		first = false;
		put_key(e);
		put_top(e, depth);
		lua_pop(e->lua, 1);
	}
	script_buffer_add_byte(&e->out, '}');
}

static void
put_table(struct encoder *e, int depth)
{
	if (depth > e->settings->encode_max_depth || !lua_checkstack(e->lua, 3))
		luaL_error(e->lua, "Cannot serialise, excessive nesting (%d)", depth);
	int length = array_length(e);
	if (length > 0)
		put_array(e, length, depth);
	else
		put_object(e, depth);
}

/* `depth`: of the tables around what is on top. */
static void
put_top(struct encoder *e, int depth)
{
	lua_State *lua = e->lua;
	int type = lua_type(lua, -1);
	if (type == LUA_TSTRING)
		put_string(e, -1);
	else if (type == LUA_TNUMBER)
		put_number(e, -1);
	else if (type == LUA_TBOOLEAN && lua_toboolean(lua, -1))
		script_buffer_add(&e->out, "true", 4);
	else if (type == LUA_TBOOLEAN)
		script_buffer_add(&e->out, "false", 5);
	else if (type == LUA_TTABLE)
		put_table(e, depth + 1);
	else if (type == LUA_TNIL || (type == LUA_TLIGHTUSERDATA && lua_touserdata(lua, -1) == NULL))
		script_buffer_add(&e->out, "null", 4);
	else
		refuse(e, -1, "type not supported");
}

int
json_encode(lua_State *lua)
{
	struct encoder e = {.lua = lua, .settings = lua_touserdata(lua, lua_upvalueindex(1))};
	luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
	lua_pushnil(lua);
	lua_insert(lua, 1);
	script_buffer_init(&e.out, lua, 1);
	put_top(&e, 0);
	script_buffer_push(&e.out);
	return 1;
}
