/* The libraries that scripts find beside Lua's own: cjson, cmsgpack, struct and bit, as Redis 7.0 has them. Written
 * here because the copies that Debian has can end or crash the process (cjson counts in ints and exits when memory is
 * short; bit.tohex writes outside its buffer), and because all memory has to come from the interpreter's allocator,
 * which has a limit. Bad input is an error of the script, never more.
 *
 * Thread: the interpreter's. Nothing is shared between interpreters. */
#ifndef SETT_SCRIPT_SCRIPT_LIBRARIES_H
#define SETT_SCRIPT_SCRIPT_LIBRARIES_H

#include <lua.h>
#include <stdint.h>

/* Each makes its table, sets the global of that name, and returns the table. To be called by lua_call or lua_pcall. */
int script_open_json(lua_State *);    /* cjson */
int script_open_msgpack(lua_State *); /* cmsgpack */
int script_open_struct(lua_State *);  /* struct */
int script_open_bit(lua_State *);     /* bit */

/* The global cjson has settings (encode_max_depth, ...) that a script may change. Back to the defaults: before each run,
 * since a script's result must not depend on what its thread ran before. Nothing if cjson was not opened. */
void script_json_reset(lua_State *);

/* A number as Redis' libraries make an unsigned integer of it on x86-64, where C leaves open what becomes of numbers
 * that do not fit: below 0 the bits of the signed integer (-2^63 if that is too small as well), from 2^64 on 0. */
uint64_t script_unsigned(lua_Number);

#endif
