/* Bytes that grow, in the memory of an interpreter: first in the struct itself, then in userdata that a slot of the Lua
 * stack keeps alive. So there is nothing to free, whatever error ends the function that fills it. */
#ifndef SETT_SCRIPT_SCRIPT_BUFFER_H
#define SETT_SCRIPT_SCRIPT_BUFFER_H

#include <lua.h>
#include <stddef.h>
#include <string.h>

struct script_buffer {
	lua_State *lua;
	int slot; /* of the stack, for as long as the buffer is used */
	char *bytes;
	size_t size, room;
	char first[512];
};

/* `slot` exists already; what stands in it is replaced as the buffer grows. */
void script_buffer_init(struct script_buffer *, lua_State *, int slot);
/* Room for `more` bytes, to be counted in `size` by the caller. Or a Lua error. */
char *script_buffer_reserve_more(struct script_buffer *, size_t more);
/* Pushes what is in it as a string. */
void script_buffer_push(struct script_buffer *);

static inline char *
script_buffer_reserve(struct script_buffer *b, size_t more)
{
	return more <= b->room - b->size ? b->bytes + b->size : script_buffer_reserve_more(b, more);
}

static inline void
script_buffer_add(struct script_buffer *b, const void *bytes, size_t size)
{
	char *at = script_buffer_reserve(b, size);
	if (size > 0)
		memcpy(at, bytes, size);
	b->size += size;
}

static inline void
script_buffer_add_byte(struct script_buffer *b, char byte)
{
	*script_buffer_reserve(b, 1) = byte;
	b->size++;
}

#endif
