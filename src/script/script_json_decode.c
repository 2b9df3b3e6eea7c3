/* cjson.decode: a Lua value of JSON. As in Redis, a zero byte ends the text, and numbers are what strtod takes: with
 * decode_invalid_numbers also hexadecimal, nan, inf. Strings are bytes; of \u escapes UTF-8 is made.
 *
 * Lua's strings end in a zero byte, and none is passed: every look ahead stops at the first byte that it does not want.
 *
 * The depth of recursion is bounded by decode_max_depth and by the slots of the Lua stack (8,000), of which each level
 * takes at least one. */
#include <assert.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

#include "script/script_buffer.h"
#include "script/script_json_private.h"

enum token_kind {
	OBJECT_BEGIN,
	OBJECT_END,
	ARRAY_BEGIN,
	ARRAY_END,
	STRING,
	NUMBER,
	BOOLEAN,
	NULL_VALUE,
	COLON,
	COMMA,
	END,
	ERROR,
};

/* As errors name them. */
static const char *const token_names[] = {
	[OBJECT_BEGIN] = "T_OBJ_BEGIN",
	[OBJECT_END] = "T_OBJ_END",
	[ARRAY_BEGIN] = "T_ARR_BEGIN",
	[ARRAY_END] = "T_ARR_END",
	[STRING] = "T_STRING",
	[NUMBER] = "T_NUMBER",
	[BOOLEAN] = "T_BOOLEAN",
	[NULL_VALUE] = "T_NULL",
	[COLON] = "T_COLON",
	[COMMA] = "T_COMMA",
	[END] = "T_END",
	[ERROR] = "T_ERROR",
};

struct token {
	enum token_kind kind;
	size_t position;
	const char *text; /* STRING: until the next token is read; ERROR: what is wrong */
	size_t size;
	lua_Number number;
	bool truth;
};

struct decoder {
	lua_State *lua;
	const struct json_settings *settings;
	const char *text, *at;
	int depth;
	struct script_buffer unescaped;
};

/* --- Tokens --- */

static void
set_error(struct decoder *d, struct token *t, const char *why)
{
	t->kind = ERROR;
	t->position = (size_t)(d->at - d->text);
	t->text = why;
}

/* Four hexadecimal digits, or -1. */
static int
hex4(const char *at)
{
	int value = 0;
	for (int i = 0; i < 4; i++) {
		char c = at[i];
		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value << 4 | ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

static void
put_utf8(struct script_buffer *b, uint32_t code)
{
	char *at = script_buffer_reserve(b, 4);
	size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = size - 1; i > 0; i--, code >>= 6)
		at[i] = (char)(0x80 | (code & 0x3f));
	at[0] = (char)(heads[size] | code);
	b->size += size;
}

/* An escape of \u, or of two that are a surrogate pair. False: it is none. */
static bool
take_unicode(struct decoder *d)
{
	int code = hex4(d->at + 2);
	size_t size = 6;
	if (code < 0)
		return false;
	if (code >= 0xd800 && code <= 0xdfff) {
		if (code >= 0xdc00 || d->at[6] != '\\' || d->at[7] != 'u')
			return false;
		int low = hex4(d->at + 8);
		if (low < 0xdc00 || low > 0xdfff)
			return false;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		size = 12;
	}
	put_utf8(&d->unescaped, (uint32_t)code);
	d->at += size;
	return true;
}

/* At a backslash. NULL, or what is wrong. */
static const char *
take_escape(struct decoder *d)
{
	static const char names[] = "\"\\/btnfr", meanings[] = "\"\\/\b\t\n\f\r";
	char name = d->at[1];
	if (name == 'u')
		return take_unicode(d) ? NULL : "invalid unicode escape code";
	const char *found = name == '\0' ? NULL : strchr(names, name);
	if (found == NULL)
		return "invalid escape code";
	script_buffer_add_byte(&d->unescaped, meanings[found - names]);
	d->at += 2;
	return NULL;
}

/* At a quote. A string without escapes is taken where it stands. */
static void
take_string(struct decoder *d, struct token *t)
{
	const char *why, *from = ++d->at;
	d->unescaped.size = 0;
	for (;;) {
		d->at += strcspn(d->at, "\"\\");
		if (*d->at == '\0') {
			set_error(d, t, "unexpected end of string");
			return;
		}
		bool plain = from == d->text + t->position + 1;
		if (*d->at == '"' && plain) {
			t->text = from;
			t->size = (size_t)(d->at - from);
			break;
		}
		script_buffer_add(&d->unescaped, from, (size_t)(d->at - from));
		if (*d->at == '"') {
			t->text = d->unescaped.bytes;
			t->size = d->unescaped.size;
			break;
		}
		if ((why = take_escape(d)) != NULL) {
			set_error(d, t, why);
			return;
		}
		from = d->at;
	}
	d->at++;
	t->kind = STRING;
}

/* Does strtod take what JSON does not know: a plus, leading zeros, hexadecimal numbers, inf and nan? */
static bool
is_invalid_number(const char *at)
{
	if (*at == '+')
		return true;
	if (*at == '-')
		at++;
	if (*at == '0')
		return (at[1] | 0x20) == 'x' || (at[1] >= '0' && at[1] <= '9');
	if (*at <= '9')
		return false;
	return strncasecmp(at, "inf", 3) == 0 || strncasecmp(at, "nan", 3) == 0;
}

static void
take_number(struct decoder *d, struct token *t)
{
	char *end;
	t->number = strtod(d->at, &end);
	if (end == d->at) {
		set_error(d, t, "invalid number");
		return;
	}
	t->kind = NUMBER;
	d->at = end;
}

static bool
take_word(struct decoder *d, const char *word)
{
	size_t size = strlen(word);
	if (strncmp(d->at, word, size) != 0)
		return false;
	d->at += size;
	return true;
}

static void
take_other(struct decoder *d, struct token *t)
{
	bool invalid_too = d->settings->decode_invalid_numbers != 0;
	char c = *d->at;
	if (c == '-' || (c >= '0' && c <= '9')) {
		if (!invalid_too && is_invalid_number(d->at))
			set_error(d, t, "invalid number");
		else
			take_number(d, t);
	} else if (take_word(d, "true")) {
		t->kind = BOOLEAN;
		t->truth = true;
	} else if (take_word(d, "false")) {
		t->kind = BOOLEAN;
		t->truth = false;
	} else if (take_word(d, "null")) {
		t->kind = NULL_VALUE;
	} else if (invalid_too && strchr("iInN+", c) != NULL && is_invalid_number(d->at)) {
		take_number(d, t);
	} else {
		set_error(d, t, "invalid token");
	}
}

static void
next_token(struct decoder *d, struct token *t)
{
	static const char signs[] = "{}[]:,";
	static const enum token_kind kinds[] = {OBJECT_BEGIN, OBJECT_END, ARRAY_BEGIN,
						ARRAY_END,    COLON,      COMMA};
	d->at += strspn(d->at, " \t\n\r");
	t->position = (size_t)(d->at - d->text);
	char c = *d->at;
	if (c == '\0') {
		t->kind = END;
		return;
	}
	if (c == '"') {
		take_string(d, t);
		return;
	}
	const char *sign = strchr(signs, c);
	if (sign == NULL) {
		take_other(d, t);
		return;
	}
	t->kind = kinds[sign - signs];
	d->at++;
}

/* --- Values --- */

static void
refuse(struct decoder *d, const struct token *t, const char *expected)
{
	luaL_error(d->lua, "Expected %s but found %s at character %d", expected,
		   t->kind == ERROR ? t->text : token_names[t->kind], (int)(t->position + 1));
}

static void
descend(struct decoder *d, int slots)
{
	d->depth++;
	if (d->depth > d->settings->decode_max_depth || !lua_checkstack(d->lua, slots))
		luaL_error(d->lua, "Found too many nested data structures (%d) at character %d", d->depth,
			   (int)(d->at - d->text));
}

static void push_value(struct decoder *d, struct token *t);

static void
push_object(struct decoder *d)
{
	struct token t;
	descend(d, 3);
	lua_newtable(d->lua);
	next_token(d, &t);
	while (t.kind != OBJECT_END) {
		if (t.kind != STRING)
			refuse(d, &t, "object key string");
		lua_pushlstring(d->lua, t.text, t.size);
		next_token(d, &t);
		if (t.kind != COLON)
			refuse(d, &t, "colon");
		next_token(d, &t);
		push_value(d, &t);
		lua_rawset(d->lua, -3);
		next_token(d, &t);
		if (t.kind == OBJECT_END)
			break;
		if (t.kind != COMMA)
			refuse(d, &t, "comma or object end");
		next_token(d, &t);
		if (t.kind == OBJECT_END)
			refuse(d, &t, "object key string");
	}
	d->depth--;
}

static void
push_array(struct decoder *d)
{
	struct token t;
	descend(d, 2);
	lua_newtable(d->lua);
	next_token(d, &t);
	for (int i = 1; t.kind != ARRAY_END; i++) {
		push_value(d, &t);
		lua_rawseti(d->lua, -2, i);
		next_token(d, &t);
		if (t.kind == ARRAY_END)
			break;
		if (t.kind != COMMA)
			refuse(d, &t, "comma or array end");
		next_token(d, &t);
		if (t.kind == ARRAY_END)
			refuse(d, &t, "value");
	}
	d->depth--;
}

static void
push_value(struct decoder *d, struct token *t)
{
	switch (t->kind) {
	case STRING:
		lua_pushlstring(d->lua, t->text, t->size);
		break;
	case NUMBER:
		lua_pushnumber(d->lua, t->number);
		break;
	case BOOLEAN:
		lua_pushboolean(d->lua, t->truth);
		break;
	case NULL_VALUE: /* cjson.null: nil would be no value of a table */
		lua_pushlightuserdata(d->lua, NULL);
		break;
	case OBJECT_BEGIN:
		push_object(d);
		break;
	case ARRAY_BEGIN:
		push_array(d);
		break;
	default:
		refuse(d, t, "value");
	}
}

int
json_decode(lua_State *lua)
{
	struct decoder d = {.lua = lua, .settings = lua_touserdata(lua, lua_upvalueindex(1))};
	struct token t;
	size_t size;
	luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
	d.text = d.at = luaL_checklstring(lua, 1, &size);
	if (size >= 2 && (d.text[0] == '\0' || d.text[1] == '\0'))
		luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
	lua_pushnil(lua);
	script_buffer_init(&d.unescaped, lua, 2);
	next_token(&d, &t);
	push_value(&d, &t);
	next_token(&d, &t);
	if (t.kind != END)
		refuse(&d, &t, "the end");
	return 1;
}
