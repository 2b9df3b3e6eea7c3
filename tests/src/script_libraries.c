/* The libraries of scripts: results and errors as redis-server 7.0.15 gives them, from its EVAL. */
#include "script/script_libraries.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>

static lua_State *
open_interpreter(void)
{
	const lua_CFunction libraries[] = {luaopen_base,     luaopen_string,      luaopen_table,
					   script_open_json, script_open_msgpack, script_open_struct,
					   script_open_bit};
	lua_State *lua = luaL_newstate();
	cr_assert_not_null(lua);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		lua_pushcfunction(lua, libraries[i]);
		lua_call(lua, 0, 0);
	}
	return lua;
}

struct example {
	const char *script, *result;
};

/* The results of a script as text: strings in hexadecimal if they are not printable; the error if it fails. */
static const char prelude[] =
	"local function text(v)\n"
	"  if v == cjson.null then return 'null' end\n"
	"  if type(v) == 'string' and v:find('[^ -~]') then\n"
	"    return (v:gsub('.', function(c) return ('%02x'):format(c:byte()) end):gsub('%z', '00'))\n"
	"  end\n"
	"  if type(v) == 'number' then return ('%.17g'):format(v) end\n"
	"  if type(v) ~= 'table' then return tostring(v) end\n"
	"  local pairs_of = {}\n"
	"  for k, x in pairs(v) do pairs_of[#pairs_of + 1] = text(k) .. '=' .. text(x) end\n"
	"  table.sort(pairs_of)\n"
	"  return '{' .. table.concat(pairs_of, ',') .. '}'\n"
	"end\n"
	"local function all(ok, ...)\n"
	"  if not ok then return ((...):gsub('^user_script:%d+: ', '')) end\n"
	"  local texts = {}\n"
	"  for i = 1, select('#', ...) do texts[i] = text((select(i, ...))) end\n"
	"  return table.concat(texts, ' ')\n"
	"end\n";

static void
check_example(lua_State *lua, const struct example *e)
{
	int top = lua_gettop(lua);
	lua_pushfstring(lua, "%sreturn all(pcall(function() %s end))", prelude, e->script);
	const char *script = lua_tostring(lua, -1);
	cr_assert_eq(luaL_loadbuffer(lua, script, strlen(script), "@user_script"), 0, "%s",
		     lua_tostring(lua, -1));
	cr_assert_eq(lua_pcall(lua, 0, 1, 0), 0, "%s", lua_tostring(lua, -1));
	cr_expect_str_eq(lua_tostring(lua, -1), e->result, "%s", e->script);
	lua_settop(lua, top);
}

#define CHECK(examples) check_all(examples, sizeof(examples) / sizeof(*(examples)))
static void
check_all(const struct example *examples, size_t count)
{
	lua_State *lua = open_interpreter();
	for (size_t i = 0; i < count; i++) {
		script_json_reset(lua);
		check_example(lua, &examples[i]);
	}
	lua_close(lua);
}

Test(script_libraries, msgpack_pack)
{
	static const struct example examples[] = {
		{"return cmsgpack.pack(0, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296)",
		 "007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000"},
		{"return cmsgpack.pack(-1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649)",
		 "ffe0d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffff"},
		{"return cmsgpack.pack(9007199254740992, 2^63, -2^63, 2^64, -0, 0.5, 0.1, 1e300, 1/0, -1/0)",
		 "cf0020000000000000ca5f000000d38000000000000000ca5f80000000ca3f000000cb3fb999999999999acb7e3"
		 "7e43c8800759ccaff800000ca7f800000"},
		{"return cmsgpack.pack(\"\", \"abc\", (\"x\"):rep(32)), #cmsgpack.pack((\"x\"):rep(256)), "
		 "#cmsgpack.pack((\"x\"):rep(65536))",
		 "a0a3616263d9207878787878787878787878787878787878787878787878787878787878787878 259 65541"},
		{"return cmsgpack.pack(true, false, nil, cjson.null, function() end)", "c3c2c0c0c0"},
		{"return cmsgpack.pack({}, {1, 2}, {a = 1}, {[1] = 1, [3] = 3}, {[0] = 1}, {[1.5] = 1})",
		 "9092010281a16101820101030381000181ca3fc0000001"},
		{"return cmsgpack.pack({{{{}}}, {a = {b = {}}}})", "9291919081a16181a16290"},
		{"local t = {} for i = 1, 20 do t = {t} end return cmsgpack.pack(t)",
		 "91919191919191919191919191919191c0"},
		{"local t = {} for i = 1, 20 do t = {a = t} end return cmsgpack.pack(t)",
		 "81a16181a16181a16181a16181a16181a16181a16181a16181a16181a16181a16181a16181a16181a16181a1618"
		 "1a161c0"},
		{"local t = {} t.t = t return #cmsgpack.pack(t)", "49"},
		{"local t = {} for i = 1, 16 do t[i] = i end return cmsgpack.pack(t)",
		 "dc00100102030405060708090a0b0c0d0e0f10"},
		{"local t = {} for i = 1, 65536 do t[i] = 1 end return #cmsgpack.pack(t), "
		 "cmsgpack.pack(t):sub(1, 6)",
		 "65541 dd0001000001"},
		{"return cmsgpack.pack()", "bad argument #0 to 'pack' (MessagePack pack needs input.)"},
	};
	CHECK(examples);
}

Test(script_libraries, msgpack_unpack)
{
	static const struct example examples[] = {
		{"return "
		 "cmsgpack.unpack("
		 "\"\\5\\255\\204\\200\\205\\1\\2\\206\\255\\2\\3\\4\\207\\128\\0\\0\\0\\0\\0\\0\\1\")",
		 "5 -1 200 258 4278321924 -9.2233720368547758e+18"},
		{"return "
		 "cmsgpack.unpack("
		 "\"\\208\\128\\209\\128\\1\\210\\128\\0\\0\\1\\211\\128\\0\\0\\0\\0\\0\\0\\1\")",
		 "-128 -32767 -2147483647 -9.2233720368547758e+18"},
		{"return "
		 "cmsgpack.unpack(\"\\202\\63\\192\\0\\0\\203\\63\\185\\153\\153\\153\\153\\153\\154\")",
		 "1.5 0.10000000000000001"},
		{"return cmsgpack.unpack(\"\\192\\195\\194\\163abc\\217\\1x\\218\\0\\1y\\219\\0\\0\\0\\1z\")",
		 "nil true false abc x y z"},
		{"return "
		 "cmsgpack.unpack("
		 "\"\\147\\1\\192\\3\\130\\1\\2\\161a\\192\\220\\0\\1\\7\\221\\0\\0\\0\\1\\8\\222\\0\\1\\1\\2"
		 "\\223\\0\\0\\0\\1\\3\\4\")",
		 "{1=1,3=3} {1=2} {1=7} {1=8} {1=2} {3=4}"},
		{"return cmsgpack.unpack(\"\")", ""},
		{"return cmsgpack.unpack(\"\\163ab\")", "Missing bytes in input."},
		{"return cmsgpack.unpack(\"\\146\\1\")", "Missing bytes in input."},
		{"return cmsgpack.unpack(\"\\221\\255\\255\\255\\255\")", "Missing bytes in input."},
		{"return cmsgpack.unpack(\"\\219\\255\\255\\255\\255abc\")", "Missing bytes in input."},
		{"return cmsgpack.unpack(\"\\196\\1a\")", "Bad data format in input."},
		{"return cmsgpack.unpack(\"\\193\")", "Bad data format in input."},
		{"return cmsgpack.unpack(\"\\1\\129\\192\\1\")", "table index is nil"},
		{"return cmsgpack.unpack(\"\\129\\203\\127\\248\\0\\0\\0\\0\\0\\0\\1\")",
		 "table index is NaN"},
		{"return cmsgpack.unpack((\"\\145\"):rep(10000))",
		 "stack overflow (in function mp_decode_to_lua_array)"},
		{"return select(\"#\", cmsgpack.unpack((\"\\1\"):rep(5000)))", "5000"},
		{"return select(\"#\", cmsgpack.unpack((\"\\1\"):rep(9000)))",
		 "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"},
		{"return cmsgpack.unpack_one(\"\\1\\2\\3\")", "1 1"},
		{"return cmsgpack.unpack_one(\"\\1\\2\\3\", 2)", "-1 3"},
		{"return cmsgpack.unpack_limit(\"\\1\\2\\3\\4\", 2, 1)", "3 2 3"},
		{"return cmsgpack.unpack_limit(\"\\1\\2\\3\\4\", 0)", "1 2 3 4"},
		{"return cmsgpack.unpack_limit(\"\\1\\2\\3\\4\", 0, 1)", "1"},
		{"return cmsgpack.unpack_one(\"abc\", -1)",
		 "Invalid request to unpack with offset of -1 and limit of 3."},
		{"return cmsgpack.unpack_one(\"abc\", 4)", "Start offset 4 greater than input length 3."},
		{"return cmsgpack.unpack_limit(\"abc\", -1)",
		 "Invalid request to unpack with offset of 0 and limit of 3."},
		{"return cmsgpack.unpack_limit(\"abc\")",
		 "bad argument #2 to 'unpack_limit' (number expected, got no value)"},
		{"return cmsgpack.unpack_one()",
		 "bad argument #1 to 'unpack_one' (string expected, got no value)"},
		{"return cmsgpack.unpack({})", "bad argument #1 to 'unpack' (string expected, got table)"},
	};
	CHECK(examples);
}

Test(script_libraries, json_encode)
{
	static const struct example examples[] = {
		{"return cjson.encode({1, 2, \"a\", true, false, cjson.null, {}, {x = 1}})",
		 "[1,2,\"a\",true,false,null,{},{\"x\":1}]"},
		{"return cjson.encode(\"\\0\\1\\8\\9\\10\\11\\12\\13\\31 \\\"/\\\\\\127\\128\\255\")",
		 "225c75303030305c75303030315c625c745c6e5c75303030625c665c725c7530303166205c225c2f5c5c5c75303"
		 "0376680ff22"},
		{"return cjson.encode({0, -0, 1e14, 99999999999999, -99999999999999, 0.1, 1e100, 1/3, "
		 "123456.789})",
		 "[0,0,1e+14,99999999999999,-99999999999999,0.1,1e+100,0.33333333333333,123456.789]"},
		{"return cjson.encode({[1] = 1, [3] = 3}), cjson.encode({[2] = 1})", "[1,null,3] [null,1]"},
		{"return cjson.encode({[1] = 1, [11] = 2})",
		 "Cannot serialise table: excessively sparse array"},
		{"return cjson.encode_sparse_array(true), cjson.encode({[11] = 2})", "true {\"11\":2}"},
		{"return cjson.encode({[3e9] = 1}), cjson.encode({[0] = 1}), cjson.encode({[1.5] = 1})",
		 "{\"3000000000\":1} {\"0\":1} {\"1.5\":1}"},
		{"return cjson.encode(0/0)", "Cannot serialise number: must not be NaN or Inf"},
		{"return cjson.encode({a = 1/0})", "Cannot serialise number: must not be NaN or Inf"},
		{"return cjson.encode_invalid_numbers(true), cjson.encode({0/0, 1/0, -1/0})",
		 "true [nan,inf,-inf]"},
		{"return cjson.encode_invalid_numbers(\"null\"), cjson.encode({0/0, 1/0, -1/0})",
		 "null [null,null,null]"},
		{"return cjson.encode_number_precision(3), cjson.encode({1234567, 1/3, 999})",
		 "3 [1.23e+06,0.333,999]"},
		{"return cjson.encode({[true] = 1})",
		 "Cannot serialise boolean: table key must be a number or string"},
		{"return cjson.encode(function() end)", "Cannot serialise function: type not supported"},
		{"local t = {} for i = 1, 999 do t = {t} end return #cjson.encode(t)", "2000"},
		{"local t = {} for i = 1, 1000 do t = {t} end return #cjson.encode(t)",
		 "Cannot serialise, excessive nesting (1001)"},
		{"return cjson.encode_max_depth(2), pcall(cjson.encode, {{1}}), pcall(cjson.encode, {{{1}}})",
		 "2 true false Cannot serialise, excessive nesting (3)"},
		{"return cjson.encode()", "bad argument #1 to 'encode' (expected 1 argument)"},
		{"return cjson.encode(1, 2)", "bad argument #1 to 'encode' (expected 1 argument)"},
	};
	CHECK(examples);
}

Test(script_libraries, json_decode)
{
	static const struct example examples[] = {
		{"return cjson.decode(' {\"a\" : [1, -2.5e3 ,true,false, null, \"\"] , \"b\":{\"c\":{}} } ')",
		 "{a={1=1,2=-2500,3=true,4=false,5=null,6=},b={c={}}}"},
		{"return "
		 "cjson.decode('\"\\\\u0041\\\\u00e9\\\\u20ac\\\\ud83d\\\\ude00\\\\n\\\\\"\\\\\\\\\\\\/"
		 "\\\\b\\\\f\\\\r\\\\t\\\\u0000\"')",
		 "41c3a9e282acf09f98800a225c2f080c0d0900"},
		{"return cjson.decode('{\"a\":1,\"a\":2}'), cjson.decode(\"[]\"), cjson.decode(\"{}\"), "
		 "cjson.decode(\"5\")",
		 "{a=2} {} {} 5"},
		{"return cjson.decode(\"[0x1f, 01, -0, 1e999, -inf, +5, 12345678901234567890]\")",
		 "{1=31,2=1,3=-0,4=inf,5=-inf,6=5,7=1.2345678901234567e+19}"},
		{"return cjson.decode_invalid_numbers(false), pcall(cjson.decode, \"[0x1f]\")",
		 "false false Expected value but found invalid number at character 2"},
		{"return cjson.decode(\"\")", "Expected value but found T_END at character 1"},
		{"return cjson.decode(\"[1,]\")", "Expected value but found T_ARR_END at character 4"},
		{"return cjson.decode(\"[1\")", "Expected comma or array end but found T_END at character 3"},
		{"return cjson.decode(\"{1:2}\")",
		 "Expected object key string but found T_NUMBER at character 2"},
		{"return cjson.decode('{\"a\" 1}')", "Expected colon but found T_NUMBER at character 6"},
		{"return cjson.decode('{\"a\":1,}')",
		 "Expected object key string but found T_OBJ_END at character 8"},
		{"return cjson.decode('{\"a\":1]')",
		 "Expected comma or object end but found T_ARR_END at character 7"},
		{"return cjson.decode('{\"a\":}')", "Expected value but found T_OBJ_END at character 6"},
		{"return cjson.decode('\"abc')",
		 "Expected value but found unexpected end of string at character 5"},
		{"return cjson.decode('\"a\\\\x\"')",
		 "Expected value but found invalid escape code at character 3"},
		{"return cjson.decode('\"a\\\\u12\"')",
		 "Expected value but found invalid unicode escape code at character 3"},
		{"return cjson.decode('\"a\\\\ud83d\"')",
		 "Expected value but found invalid unicode escape code at character 3"},
		{"return cjson.decode('\"\\\\udc00\"')",
		 "Expected value but found invalid unicode escape code at character 2"},
		{"return cjson.decode(\"[1] x\")", "Expected the end but found invalid token at character 5"},
		{"return cjson.decode(\"nul\")", "Expected value but found invalid token at character 1"},
		{"return cjson.decode(\"-\")", "Expected value but found invalid number at character 1"},
		{"return cjson.decode(\"?\")", "Expected value but found invalid token at character 1"},
		{"return cjson.decode(\"[1,\\0]\")", "Expected value but found T_END at character 4"},
		{"return cjson.decode(\"\\0\\0\")", "JSON parser does not support UTF-16 or UTF-32"},
		{"return cjson.decode((\"[\"):rep(1001))",
		 "Found too many nested data structures (1001) at character 1001"},
		{"return cjson.decode(('{\"a\":'):rep(1001))",
		 "Found too many nested data structures (1001) at character 5001"},
		{"return cjson.decode_max_depth(1), pcall(cjson.decode, \"[[]]\")",
		 "1 false Found too many nested data structures (2) at character 2"},
		{"return cjson.decode(12)", "12"},
		{"return cjson.decode({})", "bad argument #1 to 'decode' (string expected, got table)"},
		{"return cjson.decode()", "bad argument #1 to 'decode' (expected 1 argument)"},
	};
	CHECK(examples);
}

Test(script_libraries, json_settings)
{
	static const struct example examples[] = {
		{"return cjson.encode_sparse_array(), cjson.encode_max_depth(), cjson.decode_max_depth()",
		 "false 1000 1000"},
		{"return cjson.encode_number_precision(), cjson.encode_invalid_numbers(), "
		 "cjson.decode_invalid_numbers(), cjson.encode_keep_buffer()",
		 "14 false true true"},
		{"return cjson.encode_sparse_array(\"on\", 1, 5)", "true 1 5"},
		{"return cjson.encode_invalid_numbers(\"null\")", "null"},
		{"return cjson.encode_invalid_numbers(\"perhaps\")",
		 "bad argument #1 to 'encode_invalid_numbers' (invalid option 'perhaps')"},
		{"return cjson.encode_max_depth(0)",
		 "bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)"},
		{"return cjson.encode_max_depth(\"x\")",
		 "bad argument #1 to 'encode_max_depth' (number expected, got string)"},
		{"return cjson.encode_max_depth(1, 2)",
		 "bad argument #2 to 'encode_max_depth' (found too many arguments)"},
		{"return cjson.encode_number_precision(15)",
		 "bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)"},
		{"return cjson._NAME, cjson._VERSION, type(cjson.new), cjson.null",
		 "cjson 2.1.0 function null"},
		{"local other = cjson.new() other.encode_max_depth(1) return cjson.encode({{}}), "
		 "pcall(other.encode, {{}})",
		 "[{}] false Cannot serialise, excessive nesting (2)"},
	};
	CHECK(examples);
}

Test(script_libraries, structs)
{
	static const struct example examples[] = {
		{"return struct.pack(\"bBhH\", -1, 255, -2, 65535), struct.pack(\">hHiI\", -2, 1, -3, 4), "
		 "struct.pack(\"<lLT\", -1, 1, 2)",
		 "fffffeffffff fffe0001fffffffd00000004 ffffffffffffffff01000000000000000200000000000000"},
		{"return struct.pack(\"i3>i3\", 70000, -70000), struct.pack(\"I16>i16\", 1, -1)",
		 "701101feee90 010000000000000000000000000000000000000000000000ffffffffffffffff"},
		{"return struct.pack(\"fd>fd\", 1.5, 0.1, 1.5, 0.1)",
		 "0000c03f9a9999999999b93f3fc000003fb999999999999a"},
		{"return struct.pack(\"sc0c2c\", \"ab\", \"cde\", \"fgh\", \"i\")", "616200636465666769"},
		{"return struct.pack(\"!bxi!2bd !4 bi3h\", 1, 2, 3, 4, 5, 6, 7)",
		 "010000000200000003000000000000001040050600000700"},
		{"return struct.pack(\"L\", 2^63), struct.pack(\"L\", 2^64), struct.pack(\"l\", -2^64), "
		 "struct.pack(\"l\", 0/0), struct.pack(\"B\", 300)",
		 "0000000000000080 0000000000000000 0000000000000080 0000000000000080 ,"},
		{"return struct.unpack(\"<bBhHiIlL\", struct.pack(\"<bBhHiIlL\", -1, 255, -2, 65535, -3, 4, "
		 "-5, 6))",
		 "-1 255 -2 65535 -3 4 -5 6 31"},
		{"return struct.unpack(\">i3i9I16\", (\"\\255\\1\\2\"):rep(10))",
		 "-65278 -126 2.158924195168919e+17 29"},
		{"return struct.unpack(\"bsc0Bc0c2\", \"\\2ab\\0\\1xyzu\")",
		 "format 'c0' needs a previous size"},
		{"return struct.unpack(\"Bc0sx\", \"\\3abcde\\0\\9\")", "abc de 9"},
		{"return struct.unpack(\"b\", \"abc\", 3)", "99 4"},
		{"return struct.unpack(\"b\", \"abc\", 4)",
		 "bad argument #2 to 'unpack' (data string too short)"},
		{"return struct.unpack(\"b\", \"abc\", 0)",
		 "bad argument #3 to 'unpack' (offset must be 1 or greater)"},
		{"return struct.unpack(\"b\", \"abc\", -1)",
		 "bad argument #2 to 'unpack' (data string too short)"},
		{"return struct.unpack(\"!8d\", \"a\", 9223372036854775807)",
		 "bad argument #2 to 'unpack' (data string too short)"},
		{"return struct.unpack(\"c4\", \"abc\")",
		 "bad argument #2 to 'unpack' (data string too short)"},
		{"return struct.unpack(\"c2147483647\", \"abc\")",
		 "bad argument #2 to 'unpack' (data string too short)"},
		{"return struct.unpack(\"c0\", \"abc\")", "format 'c0' needs a previous size"},
		{"return struct.unpack(\"s\", \"abc\")", "unfinished string in data"},
		{"return struct.unpack(\"\", \"abc\")", "1"},
		{"return struct.size(\"bhilLTfdi3!8bd x\"), struct.size(\"c10\"), struct.size(\"z\")",
		 "57 10 0"},
		{"return struct.size(\"s\")", "bad argument #1 to 'size' (option 's' has no fixed size)"},
		{"return struct.size(\"c0\")", "bad argument #1 to 'size' (option 'c0' has no fixed size)"},
		{"return struct.pack(\"i33\", 1)", "integral size 33 is larger than limit of 32"},
		{"return struct.pack(\"i2147483648\", 1)", "integral size overflow"},
		{"return struct.pack(\"!3b\", 1)", "alignment 3 is not a power of 2"},
		{"return struct.pack(\"q\", 1)", "bad argument #1 to 'pack' (invalid format option 'q')"},
		{"return struct.pack(\"c5\", \"ab\")", "bad argument #3 to 'pack' (string too short)"},
		{"return struct.pack(\"b\")", "bad argument #2 to 'pack' (number expected, got nil)"},
		{"return struct.pack(\"s\", {})", "bad argument #2 to 'pack' (string expected, got table)"},
		{"return struct.pack()", "bad argument #1 to 'pack' (string expected, got no value)"},
	};
	CHECK(examples);
}

Test(script_libraries, bits)
{
	static const struct example examples[] = {
		{"return bit.tobit(2^32 + 5), bit.tobit(2^31), bit.tobit(0.5), bit.tobit(1.5), "
		 "bit.tobit(-1.5)",
		 "5 -2147483648 0 2 -2"},
		{"return bit.band(12, 10, 9), bit.bor(1, 2, 4), bit.bxor(7, 1), bit.bnot(0), "
		 "bit.band(\"12\", 8)",
		 "8 7 6 -1 8"},
		{"return bit.lshift(1, 31), bit.lshift(1, 32), bit.rshift(-1, 28), bit.arshift(-16, 2), "
		 "bit.rol(2^31, 1), bit.ror(1, 1), bit.rol(5, 0)",
		 "-2147483648 1 15 -4 1 -2147483648 5"},
		{"return bit.bswap(0x12345678), bit.tohex(255), bit.tohex(255, 4), bit.tohex(255, -4), "
		 "bit.tohex(1, 0), bit.tohex(-1, 100)",
		 "2018915346 000000ff 00ff 00FF  ffffffff"},
		{"return bit.tohex(65535, -2147483648)", "0000FFFF"},
		{"return bit.band()", "bad argument #1 to 'band' (number expected, got no value)"},
		{"return bit.band(1, {})", "bad argument #2 to 'band' (number expected, got table)"},
	};
	CHECK(examples);
}
