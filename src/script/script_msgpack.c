/* The library `cmsgpack`: Lua values in MessagePack (github.com/msgpack/msgpack/blob/master/spec.md), in the forms that
 * redis-server 7.0 chooses:
 *
 *     a number      an integer if it is one within 64 bits, else a float if that keeps it, else a double
 *     a string      str 8, 16, 32
 *     a table       an array if its keys are 1 to n, also when it is empty; else a map
 *     all else      nil; also a table within MAX_NESTING others
 *
 * What it does not read: bin, ext. Integers from 2^63 on become negative, as in Redis.
 *
 * The depth of recursion is bounded: packing by MAX_NESTING, unpacking by the slots of the Lua stack (8,000), of which
 * each level takes at least one. */
#include <assert.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>

#include "script/script_buffer.h"
#include "script/script_libraries.h"

enum { MAX_NESTING = 16 };

/* Adds a tag and the lowest `size` bytes of a number. */
static void
put(struct script_buffer *b, unsigned char tag, uint64_t value, size_t size)
{
	unsigned char *at = (unsigned char *)script_buffer_reserve(b, 1 + size);
	at[0] = tag;
	for (size_t i = 0; i < size; i++)
		at[1 + i] = (unsigned char)(value >> 8 * (size - 1 - i));
	b->size += 1 + size;
}

static void
put_integer(struct script_buffer *b, int64_t n)
{
	uint64_t bits = (uint64_t)n;
	if (n >= -32 && n <= 127)
		put(b, (unsigned char)bits, 0, 0);
	else if (n >= 0 && n <= UINT8_MAX)
		put(b, 0xcc, bits, 1);
	else if (n >= 0 && n <= UINT16_MAX)
		put(b, 0xcd, bits, 2);
	else if (n >= 0 && n <= UINT32_MAX)
		put(b, 0xce, bits, 4);
	else if (n >= 0)
		put(b, 0xcf, bits, 8);
	else if (n >= INT8_MIN)
		put(b, 0xd0, bits, 1);
	else if (n >= INT16_MIN)
		put(b, 0xd1, bits, 2);
	else if (n >= INT32_MIN)
		put(b, 0xd2, bits, 4);
	else
		put(b, 0xd3, bits, 8);
}

static void
put_real(struct script_buffer *b, double n)
{
	float single = (float)n;
	uint32_t single_bits;
	uint64_t bits;
	memcpy(&single_bits, &single, sizeof(single));
	memcpy(&bits, &n, sizeof(n));
	if (single == n)
		put(b, 0xca, single_bits, sizeof(single));
	else
		put(b, 0xcb, bits, sizeof(n));
}

static void
put_number(struct script_buffer *b, lua_Number n)
{
	const lua_Number two_63 = 9223372036854775808.0;
	if (n >= -two_63 && n < two_63 && floor(n) == n)
		put_integer(b, (int64_t)n);
	else
		put_real(b, n);
}

static void
put_string(struct script_buffer *b, const char *bytes, size_t size)
{
	if (size < 32)
		put(b, (unsigned char)(0xa0 | size), 0, 0);
	else if (size <= UINT8_MAX)
		put(b, 0xd9, size, 1);
	else if (size <= UINT16_MAX)
		put(b, 0xda, size, 2);
	else
		put(b, 0xdb, size, 4);
	script_buffer_add(b, bytes, size);
}

/* The head of an array (`few` 0x90, `tag` 0xdc) or a map (0x80, 0xde). */
static void
put_count(struct script_buffer *b, unsigned char few, unsigned char tag, size_t count)
{
	if (count <= 15)
		put(b, (unsigned char)(few | count), 0, 0);
	else if (count <= UINT16_MAX)
		put(b, tag, count, 2);
	else
		put(b, (unsigned char)(tag + 1), count, 4);
}

/* Counts the keys of the table on top, and says if they are 1 to that count. */
static bool
keys_are_numbers(lua_State *lua, size_t *ret_count)
{
	lua_Number largest = 0;
	bool numbers = true;
	size_t count = 0;
	lua_pushnil(lua);
	while (lua_next(lua, -2) != 0) {
		lua_pop(lua, 1);
		count++;
		lua_Number key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
		if (!(key >= 1 && key <= INT_MAX && floor(key) == key))
			numbers = false;
		else if (key > largest)
			largest = key;
	}
	*ret_count = count;
	return numbers && largest == (lua_Number)count;
}

static void put_top(struct script_buffer *b, int depth);

/* What stands in the table is on top while it is put, and popped. */
static void
put_table(struct script_buffer *b, int depth)
{
	lua_State *lua = b->lua;
	size_t count;
	luaL_checkstack(lua, 4, "in function mp_encode_lua_table_as_map");
	if (keys_are_numbers(lua, &count)) {
		put_count(b, 0x90, 0xdc, count);
		for (size_t i = 1; i <= count; i++) {
			lua_rawgeti(lua, -1, (int)i);
			put_top(b, depth + 1);
			lua_pop(lua, 1);
		}
		return;
	}
	put_count(b, 0x80, 0xde, count);
	lua_pushnil(lua);
	while (lua_next(lua, -2) != 0) {
		lua_pushvalue(lua, -2);
		put_top(b, depth + 1);
		lua_pop(lua, 1);
		put_top(b, depth + 1);
		lua_pop(lua, 1);
	}
}

static void
put_top(struct script_buffer *b, int depth)
{
	size_t size;
	const char *bytes;
	switch (lua_type(b->lua, -1)) {
	case LUA_TSTRING:
		bytes = lua_tolstring(b->lua, -1, &size);
		put_string(b, bytes, size);
		break;
	case LUA_TBOOLEAN:
		put(b, lua_toboolean(b->lua, -1) ? 0xc3 : 0xc2, 0, 0);
		break;
	case LUA_TNUMBER:
		put_number(b, lua_tonumber(b->lua, -1));
		break;
	case LUA_TTABLE:
		if (depth < MAX_NESTING) {
			put_table(b, depth);
			break;
		}
		/* fall through */
	default:
		put(b, 0xc0, 0, 0);
	}
}

static int
msgpack_pack(lua_State *lua)
{
	struct script_buffer b;
	int arguments = lua_gettop(lua);
	if (arguments == 0)
		return luaL_argerror(lua, 0, "MessagePack pack needs input.");
	if (!lua_checkstack(lua, arguments + 2))
		return luaL_argerror(lua, 0, "Too many arguments for MessagePack pack.");
	lua_pushnil(lua);
	script_buffer_init(&b, lua, arguments + 1);
	for (int i = 1; i <= arguments; i++) {
		lua_pushvalue(lua, i);
		put_top(&b, 0);
		lua_pop(lua, 1);
	}
	script_buffer_push(&b);
	return 1;
}

/* Bytes that are being unpacked. */
struct unpacking {
	const unsigned char *at;
	size_t left;
	const char *error; /* why it can't go on, or NULL */
};

static const char missing[] = "Missing bytes in input.", malformed[] = "Bad data format in input.";

/* Takes a tag and a number of `size` bytes behind it. */
static bool
take(struct unpacking *u, size_t size, uint64_t *ret)
{
	uint64_t value = 0;
	if (u->left < 1 + size) {
		u->error = missing;
		return false;
	}
	for (size_t i = 0; i < size; i++)
		value = value << 8 | u->at[1 + i];
	u->at += 1 + size;
	u->left -= 1 + size;
	*ret = value;
	return true;
}

static void
push_string(lua_State *lua, struct unpacking *u, size_t size)
{
	if (u->left < size) {
		u->error = missing;
		return;
	}
	lua_pushlstring(lua, (const char *)u->at, size);
	u->at += size;
	u->left -= size;
}

static void
push_float(lua_State *lua, uint64_t value)
{
	uint32_t bits = (uint32_t)value;
	float f;
	memcpy(&f, &bits, sizeof(f));
	lua_pushnumber(lua, f);
}

static void
push_double(lua_State *lua, uint64_t bits)
{
	double d;
	memcpy(&d, &bits, sizeof(d));
	lua_pushnumber(lua, d);
}

static void push_value(lua_State *lua, struct unpacking *u);

static void
push_array(lua_State *lua, struct unpacking *u, uint64_t count)
{
	lua_newtable(lua);
	luaL_checkstack(lua, 1, "in function mp_decode_to_lua_array");
	for (uint64_t i = 1; i <= count; i++) {
		lua_pushnumber(lua, (lua_Number)i);
		push_value(lua, u);
		if (u->error != NULL)
			return;
		lua_rawset(lua, -3);
	}
}

static void
push_map(lua_State *lua, struct unpacking *u, uint64_t count)
{
	lua_newtable(lua);
	for (; count > 0; count--) {
		push_value(lua, u);
		if (u->error == NULL)
			push_value(lua, u);
		if (u->error != NULL)
			return;
		lua_settable(lua, -3); /* not raw: it refuses NaN and nil as keys */
	}
}

/* What a first byte below 0xc0 or from 0xe0 on says. */
static void
push_small(lua_State *lua, struct unpacking *u, unsigned char tag)
{
	u->at++;
	u->left--;
	if (tag < 0x80 || tag >= 0xe0)
		lua_pushinteger(lua, (signed char)tag);
	else if (tag >= 0xa0)
		push_string(lua, u, tag & 0x1f);
	else if (tag >= 0x90)
		push_array(lua, u, tag & 0x0f);
	else
		push_map(lua, u, tag & 0x0f);
}

/* How many bytes of a number follow a first byte from 0xc0 to 0xdf. -1: no value that is read here. */
static int
number_size(unsigned char tag)
{
	static const signed char sizes[32] = {
		0, -1, 0, 0, -1, -1, -1, -1, -1, -1, 4,  8,      /* nil, false, true; float, double */
		1, 2,  4, 8, 1,  2,  4,  8,  -1, -1, -1, -1, -1, /* unsigned, signed */
		1, 2,  4, 2, 4,  2,  4,                          /* strings, arrays, maps */
	};
	return sizes[tag - 0xc0];
}

/* Pushes one value, or sets the error; then what is on the stack has no meaning. */
static void
push_value(lua_State *lua, struct unpacking *u)
{
	uint64_t n;
	if (u->left == 0) {
		u->error = missing;
		return;
	}
	luaL_checkstack(lua, 1, "too many return values at once; use unpack_one or unpack_limit instead.");
	unsigned char tag = u->at[0];
	if (tag < 0xc0 || tag >= 0xe0) {
		push_small(lua, u, tag);
		return;
	}
	int size = number_size(tag);
	if (size < 0) {
		u->error = malformed;
		return;
	}
	if (!take(u, (size_t)size, &n))
		return;
	switch (tag) {
	case 0xc0:
		lua_pushnil(lua);
		break;
	case 0xc2:
	case 0xc3:
		lua_pushboolean(lua, tag == 0xc3);
		break;
	case 0xca:
		push_float(lua, n);
		break;
	case 0xcb:
		push_double(lua, n);
		break;
	case 0xd0:
		lua_pushnumber(lua, (int8_t)n);
		break;
	case 0xd1:
		lua_pushnumber(lua, (int16_t)n);
		break;
	case 0xd2:
		lua_pushnumber(lua, (int32_t)n);
		break;
	case 0xd9:
	case 0xda:
	case 0xdb:
		push_string(lua, u, n);
		break;
	case 0xdc:
	case 0xdd:
		push_array(lua, u, n);
		break;
	case 0xde:
	case 0xdf:
		push_map(lua, u, n);
		break;
	default: /* unsigned, and 64 bits */
		assert((tag >= 0xcc && tag <= 0xcf) || tag == 0xd3);
		lua_pushnumber(lua, (lua_Number)(int64_t)n);
	}
}

/* The values of argument 1 from `offset` on. With a limit or an offset, before them: where to go on, or -1 at the end. */
static int
unpack(lua_State *lua, lua_Integer limit, lua_Integer offset)
{
	struct unpacking u = {.error = NULL};
	size_t size;
	bool all = limit == 0 && offset == 0;
	int count = 0;
	u.at = (const unsigned char *)luaL_checklstring(lua, 1, &size);
	if (offset < 0 || limit < 0) /* Redis, too, names the size */
		return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
				  (int)offset, (int)size);
	if ((size_t)offset > size)
		return luaL_error(lua, "Start offset %d greater than input length %d.", (int)offset,
				  (int)size);
	u.at += offset;
	u.left = size - (size_t)offset;
	for (; u.left > 0 && (all || count < limit); count++) {
		push_value(lua, &u);
		if (u.error != NULL)
			return luaL_error(lua, "%s", u.error);
	}
	if (all)
		return count;
	luaL_checkstack(lua, 1, "in function mp_unpack_full");
	lua_pushinteger(lua, u.left == 0 ? -1 : (lua_Integer)(size - u.left));
	lua_insert(lua, 2);
	return count + 1;
}

static int
msgpack_unpack(lua_State *lua)
{
	return unpack(lua, 0, 0);
}

/* The results are to stand right above the text. */
static void
keep_first(lua_State *lua)
{
	if (lua_gettop(lua) > 1)
		lua_settop(lua, 1);
}

static int
msgpack_unpack_one(lua_State *lua)
{
	lua_Integer offset = luaL_optinteger(lua, 2, 0);
	keep_first(lua);
	return unpack(lua, 1, offset);
}

static int
msgpack_unpack_limit(lua_State *lua)
{
	lua_Integer limit = luaL_checkinteger(lua, 2), offset = luaL_optinteger(lua, 3, 0);
	keep_first(lua);
	return unpack(lua, limit, offset);
}

int
script_open_msgpack(lua_State *lua)
{
	static const struct luaL_Reg functions[] = {{"pack", msgpack_pack},
						    {"unpack", msgpack_unpack},
						    {"unpack_one", msgpack_unpack_one},
						    {"unpack_limit", msgpack_unpack_limit},
						    {NULL, NULL}};
	luaL_register(lua, "cmsgpack", functions);
	lua_pushliteral(lua, "cmsgpack");
	lua_setfield(lua, -2, "_NAME");
	lua_pushliteral(lua, "lua-cmsgpack 0.4.0"); /* the version whose behaviour this is */
	lua_setfield(lua, -2, "_VERSION");
	return 1;
}
