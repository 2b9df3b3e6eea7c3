/* The library `bit`: operations on 32 bits. What it does is described at bitop.luajit.org/semantics.html: numbers are
 * taken modulo 2^32 (rounded to an integer, halves to the even one) and results are signed. */
#include <lauxlib.h>

#include "script/script_libraries.h"

/* The lowest 32 bits of a number: added to 2^52 + 2^51, an integer stands in the lowest bits of a double. */
static uint32_t
bits_of(lua_State *lua, int argument)
{
	const double shift = 6755399441055744.0;
	double moved = lua_tonumber(lua, argument) + shift;
	uint64_t image;
	memcpy(&image, &moved, sizeof(image));
	uint32_t bits = (uint32_t)image;
	if (bits == 0 && !lua_isnumber(lua, argument))
		luaL_typerror(lua, argument, "number");
	return bits;
}

static int
push_bits(lua_State *lua, uint32_t bits)
{
	lua_pushnumber(lua, (int32_t)bits);
	return 1;
}

static int
bit_tobit(lua_State *lua)
{
	return push_bits(lua, bits_of(lua, 1));
}

static int
bit_bnot(lua_State *lua)
{
	return push_bits(lua, ~bits_of(lua, 1));
}

static int
bit_band(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	for (int i = lua_gettop(lua); i > 1; i--)
		bits &= bits_of(lua, i);
	return push_bits(lua, bits);
}

static int
bit_bor(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	for (int i = lua_gettop(lua); i > 1; i--)
		bits |= bits_of(lua, i);
	return push_bits(lua, bits);
}

static int
bit_bxor(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	for (int i = lua_gettop(lua); i > 1; i--)
		bits ^= bits_of(lua, i);
	return push_bits(lua, bits);
}

static uint32_t
rotated(uint32_t bits, unsigned count)
{
	return count == 0 ? bits : bits << count | bits >> (32 - count);
}

static int
bit_lshift(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	return push_bits(lua, bits << (bits_of(lua, 2) & 31));
}

static int
bit_rshift(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	return push_bits(lua, bits >> (bits_of(lua, 2) & 31));
}

static int
bit_arshift(lua_State *lua)
{
	int32_t bits = (int32_t)bits_of(lua, 1);
	return push_bits(lua, (uint32_t)(bits >> (bits_of(lua, 2) & 31)));
}

static int
bit_rol(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	return push_bits(lua, rotated(bits, bits_of(lua, 2) & 31));
}

static int
bit_ror(lua_State *lua)
{
	uint32_t bits = bits_of(lua, 1);
	return push_bits(lua, rotated(bits, (32 - (bits_of(lua, 2) & 31)) & 31));
}

static int
bit_bswap(lua_State *lua)
{
	return push_bits(lua, __builtin_bswap32(bits_of(lua, 1)));
}

/* The lowest digits; fewer than none: as many, in capitals. */
static int
bit_tohex(lua_State *lua)
{
	enum { DIGITS = 8 };
	uint32_t bits = bits_of(lua, 1);
	int64_t count = lua_isnone(lua, 2) ? DIGITS : (int32_t)bits_of(lua, 2);
	const char *digits = count < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[DIGITS];
	if (count < 0)
		count = -count;
	if (count > DIGITS)
		count = DIGITS;
	for (int64_t i = count - 1; i >= 0; i--) {
		text[i] = digits[bits & 15];
		bits >>= 4;
	}
	lua_pushlstring(lua, text, (size_t)count);
	return 1;
}

int
script_open_bit(lua_State *lua)
{
	static const struct luaL_Reg functions[] = {
		{"tobit", bit_tobit},   {"bnot", bit_bnot},       {"band", bit_band},
		{"bor", bit_bor},       {"bxor", bit_bxor},       {"lshift", bit_lshift},
		{"rshift", bit_rshift}, {"arshift", bit_arshift}, {"rol", bit_rol},
		{"ror", bit_ror},       {"bswap", bit_bswap},     {"tohex", bit_tohex},
		{NULL, NULL},
	};
	luaL_register(lua, "bit", functions);
	return 1;
}
