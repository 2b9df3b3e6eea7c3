#include "script/script_buffer.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdint.h>

void
script_buffer_init(struct script_buffer *b, lua_State *lua, int slot)
{
	assert(slot > 0 && slot <= lua_gettop(lua));
	b->lua = lua;
	b->slot = slot;
	b->bytes = b->first;
	b->size = 0;
	b->room = sizeof(b->first);
}

char *
script_buffer_reserve_more(struct script_buffer *b, size_t more)
{
	assert(b->size <= b->room);
	if (more > SIZE_MAX / 4 || b->size > SIZE_MAX / 4)
		luaL_error(b->lua, "not enough memory");
	size_t room = b->room * 2 >= b->size + more ? b->room * 2 : b->size + more;
	luaL_checkstack(b->lua, 1, "no room for a buffer");
	char *bytes = lua_newuserdata(b->lua, room);
	memcpy(bytes, b->bytes, b->size);
	lua_replace(b->lua, b->slot);
	b->bytes = bytes;
	b->room = room;
	return bytes + b->size;
}

void
script_buffer_push(struct script_buffer *b)
{
	lua_pushlstring(b->lua, b->bytes, b->size);
}
