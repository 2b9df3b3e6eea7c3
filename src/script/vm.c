/* The interpreter of a thread: its memory, and where it can run out. */
#include <assert.h>

#include "script/private.h"

/* A run that needs more than it has asks for a piece of what all share. Most need none. */
static bool
raise_limit(struct script_vm *vm, size_t more)
{
	if (vm->memory > vm->memory_most || more > vm->memory_most - vm->memory)
		return false;
	size_t piece = vm->memory + more - vm->memory_limit, left = vm->memory_most - vm->memory_limit;
	if (piece < SCRIPT_MEMORY_PIECE)
		piece = left < SCRIPT_MEMORY_PIECE ? left : SCRIPT_MEMORY_PIECE;
	if (!script_library_take_memory(vm->server->scripts, piece)) {
		vm->is_short = true;
		return false;
	}
	vm->memory_shared += piece;
	vm->memory_limit += piece;
	return true;
}

/* The interpreter's memory. It is limited only while a script runs: what the room itself needs must be there. */
static void *
allocate(void *arg, void *old, size_t old_size, size_t size)
{
	struct script_vm *vm = arg;
	if (size == 0) {
		free(old);
		__atomic_store_n(&vm->memory, vm->memory - old_size, __ATOMIC_RELAXED);
		return NULL;
	}
	if (size > old_size && vm->memory_limit != 0 &&
	    (vm->memory > vm->memory_limit || size - old_size > vm->memory_limit - vm->memory) &&
	    !raise_limit(vm, size - old_size))
		return NULL;
	void *data = old == NULL ? malloc(size) : realloc(old, size); /* the former is faster */
	if (data != NULL)
		__atomic_store_n(&vm->memory, vm->memory - old_size + size, __ATOMIC_RELAXED);
	return data;
}

bool
script_protect_call(struct script_vm *vm, lua_CFunction body, void *argument)
{
	int status = lua_cpcall(vm->state, body, argument);
	if (status != 0)
		lua_settop(vm->state, 0);
	return status == 0;
}

/* Says where a script failed, as Redis does: an error becomes a table {err, source, line}. Where a function in C failed,
 * its caller is meant. */
static int
handle_error(lua_State *L)
{
	lua_Debug at;
	bool is_known = lua_getstack(L, 1, &at) != 0 && lua_getinfo(L, "Sl", &at) != 0;
	if (is_known && strcmp(at.what, "C") == 0)
		is_known = lua_getstack(L, 2, &at) != 0 && lua_getinfo(L, "Sl", &at) != 0;
	if (!lua_istable(L, 1)) {
		const char *text = lua_tostring(L, 1);
		lua_createtable(L, 0, 3);
		lua_pushfstring(L, "ERR %s", text != NULL ? text : luaL_typename(L, 1));
		lua_setfield(L, -2, "err");
		lua_replace(L, 1);
	}
	if (is_known) {
		lua_pushliteral(L, "source");
		lua_pushstring(L, at.source);
		lua_rawset(L, 1);
		lua_pushliteral(L, "line");
		lua_pushinteger(L, at.currentline);
		lua_rawset(L, 1);
	}
	lua_settop(L, 1);
	return 1;
}

static int
fill(lua_State *L)
{
	struct script_vm *vm = lua_touserdata(L, 1);
	lua_settop(L, 0);
	script_sandbox_fill(L);
	vm->globals = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushcfunction(L, handle_error);
	vm->error_handler = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

static struct script_vm *
create(struct server *server)
{
	struct script_vm *vm = calloc(1, sizeof(*vm));
	if (vm == NULL)
		return NULL;
	vm->server = server;
	resp_writer_init(&vm->reply, 2);
	random_seed(&vm->seeds, random_entropy());
	vm->state = lua_newstate(allocate, vm);
	bool is_made = vm->state != NULL && script_protect_call(vm, fill, vm);
	script_library_enter_vm(server->scripts, vm);
	if (is_made)
		return vm;
	script_vm_free(vm);
	return NULL;
}

struct script_vm *
script_vm_of(struct command_context *c)
{
	if (*c->script_vm == NULL)
		*c->script_vm = create(c->server);
	return *c->script_vm;
}

void
script_vm_free(struct script_vm *vm)
{
	assert(vm->run == NULL);
	script_library_leave_vm(vm->server->scripts, vm);
	if (vm->state != NULL) {
		functions_free(vm);
		lua_close(vm->state);
	}
	assert(vm->memory == 0);
	free(vm->scripts);
	resp_writer_free(&vm->reply);
	free(vm);
}
