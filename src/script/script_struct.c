/* The library `struct`: C structures in strings. The letters of a format are those of Roberto Ierusalimschy's library
 * (www.inf.puc-rio.br/~roberto/struct), results and errors those of redis-server 7.0:
 *
 *     >  <  ![n]    big endian, little endian, alignment up to n (8)
 *     x             a byte of padding
 *     b B  h H  l L  T  i[n] I[n]      integers of 1, 2, 8, 8 and n (4) bytes; small letters are signed
 *     f  d          float, double
 *     s             a string and a zero byte
 *     c[n]          n (1) bytes; c0: the whole string, or as many bytes as the number before says
 *     blank         nothing */
#include <assert.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>

#include "script/script_buffer.h"
#include "script/script_libraries.h"

enum {
	INTEGER_MAX = 32, /* bytes of an integer */
	ALIGNMENT_DEFAULT = 8,
};

/* A format that is being read. */
struct format {
	const char *at;
	bool big_endian;
	size_t alignment;
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct format
format_of(lua_State *lua)
{
	return (struct format){luaL_checkstring(lua, 1), .big_endian = false, .alignment = 1};
}

static int
number(lua_State *lua, struct format *f, int otherwise)
{
	int n = 0;
	if (!is_digit(*f->at))
		return otherwise;
	for (; is_digit(*f->at); f->at++) {
		int digit = *f->at - '0';
		if (n > (INT_MAX - digit) / 10)
			luaL_error(lua, "integral size overflow");
		n = n * 10 + digit;
	}
	return n;
}

/* Bytes that the next piece takes; 0 where the string says it, and for what takes none. */
static size_t
size_of(lua_State *lua, char letter, struct format *f)
{
	switch (letter) {
	case 'b':
	case 'B':
	case 'x':
		return 1;
	case 'h':
	case 'H':
		return sizeof(short);
	case 'l':
	case 'L':
	case 'T':
		return sizeof(long);
	case 'f':
		return sizeof(float);
	case 'd':
		return sizeof(double);
	case 'c':
		return (size_t)number(lua, f, 1);
	case 'i':
	case 'I': {
		int size = number(lua, f, sizeof(int));
		if (size > INTEGER_MAX)
			luaL_error(lua, "integral size %d is larger than limit of %d", size, INTEGER_MAX);
		return (size_t)size;
	}
	default:
		return 0;
	}
}

/* Padding before a piece of `size` bytes at `position`. For sizes that are no power of two it aligns nothing; Redis
 * pads them so. */
static size_t
padding(size_t position, const struct format *f, char letter, size_t size)
{
	if (size == 0 || letter == 'c')
		return 0;
	if (size > f->alignment)
		size = f->alignment;
	return (size - (position & (size - 1))) & (size - 1);
}

static void
set_option(lua_State *lua, char letter, struct format *f)
{
	switch (letter) {
	case ' ':
		break;
	case '>':
		f->big_endian = true;
		break;
	case '<':
		f->big_endian = false;
		break;
	case '!': {
		int n = number(lua, f, ALIGNMENT_DEFAULT);
		if (n <= 0 || (n & (n - 1)) != 0)
			luaL_error(lua, "alignment %d is not a power of 2", n);
		f->alignment = (size_t)n;
		break;
	}
	default:
		luaL_argerror(lua, 1, lua_pushfstring(lua, "invalid format option '%c'", letter));
	}
}

uint64_t
script_unsigned(lua_Number n)
{
	const lua_Number two_63 = 9223372036854775808.0, two_64 = 18446744073709551616.0;
	if (n != n || n < -two_63)
		return (uint64_t)INT64_MIN;
	if (n < 0)
		return (uint64_t)(int64_t)n;
	return n < two_64 ? (uint64_t)n : 0;
}

static void
put_integer(struct script_buffer *b, uint64_t value, const struct format *f, size_t size)
{
	char *bytes = script_buffer_reserve(b, size);
	for (size_t i = 0; i < size; i++, value >>= 8)
		bytes[f->big_endian ? size - 1 - i : i] = (char)(value & 0xff);
	b->size += size;
}

/* The lowest 64 bits. A sign that stands elsewhere than in bit 63 of more than 8 bytes is taken where the shift of
 * x86-64 puts it, as in Redis. */
static lua_Number
get_integer(const char *bytes, const struct format *f, bool is_signed, size_t size)
{
	uint64_t value = 0;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | (unsigned char)bytes[f->big_endian ? i : size - 1 - i];
	if (!is_signed)
		return (lua_Number)value;
	uint64_t mask = UINT64_MAX << ((size * 8 - 1) & 63);
	return (lua_Number)(int64_t)(value & mask ? value | mask : value);
}

/* Copies the bytes of a float or double, turned round if need be. */
static void
copy_real(char *to, const char *from, size_t size, const struct format *f)
{
	static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "reals are stored little endian");
	for (size_t i = 0; i < size; i++)
		to[i] = from[f->big_endian ? size - 1 - i : i];
}

static void
put_real(struct script_buffer *b, lua_Number n, const struct format *f, size_t size)
{
	float single = (float)n;
	double twice = n;
	char *bytes = script_buffer_reserve(b, size);
	copy_real(bytes, size == sizeof(float) ? (char *)&single : (char *)&twice, size, f);
	b->size += size;
}

static void
push_real(lua_State *lua, const char *bytes, const struct format *f, size_t size)
{
	float single;
	double twice;
	if (size == sizeof(float)) {
		copy_real((char *)&single, bytes, size, f);
		lua_pushnumber(lua, single);
	} else {
		copy_real((char *)&twice, bytes, size, f);
		lua_pushnumber(lua, twice);
	}
}

/* An error of a short string names the argument after it, as in Redis. */
static void
put_string(lua_State *lua, struct script_buffer *b, int argument, char letter, size_t size)
{
	size_t length;
	const char *text = luaL_checklstring(lua, argument, &length);
	if (size == 0)
		size = length;
	luaL_argcheck(lua, length >= size, argument + 1, "string too short");
	script_buffer_add(b, text, size);
	if (letter == 's')
		script_buffer_add_byte(b, '\0');
}

static void
put_zeros(struct script_buffer *b, size_t count)
{
	memset(script_buffer_reserve(b, count), 0, count);
	b->size += count;
}

static int
struct_pack(lua_State *lua)
{
	struct format f = format_of(lua);
	struct script_buffer b;
	int argument = 2;
	lua_pushnil(lua); /* what stands in place of a missing argument; later the buffer's slot */
	lua_pushnil(lua);
	script_buffer_init(&b, lua, lua_gettop(lua));
	while (*f.at != '\0') {
		char letter = *f.at++;
		size_t size = size_of(lua, letter, &f);
		put_zeros(&b, padding(b.size, &f, letter, size));
		switch (letter) {
		case 'b':
		case 'B':
		case 'h':
		case 'H':
		case 'l':
		case 'L':
		case 'T':
		case 'i':
		case 'I':
			put_integer(&b, script_unsigned(luaL_checknumber(lua, argument++)), &f, size);
			break;
		case 'x':
			put_zeros(&b, 1);
			break;
		case 'f':
		case 'd':
			put_real(&b, luaL_checknumber(lua, argument++), &f, size);
			break;
		case 'c':
		case 's':
			put_string(lua, &b, argument++, letter, size);
			break;
		default:
			set_option(lua, letter, &f);
		}
	}
	script_buffer_push(&b);
	return 1;
}

/* A string that is being unpacked. `results` stand on top of the stack. */
struct unpacking {
	const char *data;
	size_t size, position;
	int results;
};

static void
need(lua_State *lua, const struct unpacking *u, size_t size)
{
	luaL_argcheck(lua, size <= u->size && u->position <= u->size - size, 2, "data string too short");
}

/* Both: how many bytes were taken. */
static size_t
push_counted(lua_State *lua, struct unpacking *u, size_t size)
{
	if (size == 0) {
		if (u->results == 0 || !lua_isnumber(lua, -1))
			luaL_error(lua, "format 'c0' needs a previous size");
		size = script_unsigned(lua_tonumber(lua, -1));
		need(lua, u, size);
		lua_pop(lua, 1);
		u->results--;
	}
	lua_pushlstring(lua, u->data + u->position, size);
	u->results++;
	return size;
}

static size_t
push_ended(lua_State *lua, struct unpacking *u)
{
	const char *from = u->data + u->position;
	const char *end = memchr(from, '\0', u->size - u->position);
	if (end == NULL)
		luaL_error(lua, "unfinished string in data");
	lua_pushlstring(lua, from, (size_t)(end - from));
	u->results++;
	return (size_t)(end - from) + 1;
}

static void
unpack_piece(lua_State *lua, struct unpacking *u, struct format *f)
{
	char letter = *f->at++;
	size_t size = size_of(lua, letter, f);
	u->position += padding(u->position, f, letter, size);
	need(lua, u, size);
	luaL_checkstack(lua, 2, "too many results"); /* this one and the next position */
	switch (letter) {
	case 'b':
	case 'B':
	case 'h':
	case 'H':
	case 'l':
	case 'L':
	case 'T':
	case 'i':
	case 'I':
		lua_pushnumber(lua, get_integer(u->data + u->position, f, letter >= 'a', size));
		u->results++;
		break;
	case 'x':
		break;
	case 'f':
	case 'd':
		push_real(lua, u->data + u->position, f, size);
		u->results++;
		break;
	case 'c':
		size = push_counted(lua, u, size);
		break;
	case 's':
		size = push_ended(lua, u);
		break;
	default:
		set_option(lua, letter, f);
	}
	u->position += size;
}

static int
struct_unpack(lua_State *lua)
{
	struct format f = format_of(lua);
	struct unpacking u = {.results = 0};
	u.data = luaL_checklstring(lua, 2, &u.size);
	u.position = (size_t)luaL_optinteger(lua, 3, 1);
	luaL_argcheck(lua, u.position > 0, 3, "offset must be 1 or greater");
	u.position--;
	while (*f.at != '\0')
		unpack_piece(lua, &u, &f);
	lua_pushinteger(lua, (lua_Integer)(u.position + 1));
	return u.results + 1;
}

static int
struct_size(lua_State *lua)
{
	struct format f = format_of(lua);
	size_t position = 0;
	while (*f.at != '\0') {
		char letter = *f.at++;
		size_t size = size_of(lua, letter, &f);
		position += padding(position, &f, letter, size);
		if (letter == 's')
			luaL_argerror(lua, 1, "option 's' has no fixed size");
		if (letter == 'c' && size == 0)
			luaL_argerror(lua, 1, "option 'c0' has no fixed size");
		if (!is_letter(letter) && !is_digit(letter))
			set_option(lua, letter, &f);
		position += size;
	}
	lua_pushinteger(lua, (lua_Integer)position);
	return 1;
}

int
script_open_struct(lua_State *lua)
{
	static const struct luaL_Reg functions[] = {
		{"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}, {NULL, NULL}};
	luaL_register(lua, "struct", functions);
	return 1;
}
