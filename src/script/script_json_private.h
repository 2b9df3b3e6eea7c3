/* What the two halves of cjson share: its settings. */
#ifndef SETT_SCRIPT_SCRIPT_JSON_PRIVATE_H
#define SETT_SCRIPT_SCRIPT_JSON_PRIVATE_H

#include <lua.h>

enum json_invalid_numbers { JSON_INVALID_REFUSED, JSON_INVALID_AS_TEXT, JSON_INVALID_AS_NULL };

/* Numbers as scripts give and read them. */
struct json_settings {
	int sparse_convert, sparse_ratio, sparse_safe;
	int encode_max_depth, decode_max_depth;
	int encode_invalid_numbers; /* enum json_invalid_numbers */
	int decode_invalid_numbers; /* 0 or 1 */
	int encode_number_precision;
	int encode_keep_buffer; /* without effect: there is no buffer between calls */
};

/* Functions with a userdata of settings as their first upvalue. */
int json_encode(lua_State *);
int json_decode(lua_State *);

#endif
