/* The table `redis` of scripts, but for redis.call, and the random numbers. */
#include <math.h>

#include "config/config.h"
#include "script/private.h"
#include "txn/rights.h"

enum {
	REPLICATE_NONE = 0,
	REPLICATE_AOF = 1,
	REPLICATE_REPLICA = 2,
	REPLICATE_ALL = 3,
	RANDOM_MAX = INT32_MAX
};

static int
throw_text(lua_State *L, const char *text)
{
	script_push_error_text(L, text);
	return lua_error(L);
}

/* The present run; raises `text` if there is none. */
static struct script_run *
present_run(lua_State *L, const char *text)
{
	struct script_run *run = script_vm_of_state(L)->run;
	if (run == NULL)
		throw_text(L, text);
	return run;
}

/* ---- replies ---- */

static int
api_error_reply(lua_State *L)
{
	size_t size;
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
		script_push_error_text(L, "wrong number or type of arguments");
		return 1;
	}
	const char *text = lua_tolstring(L, 1, &size);
	if (text[0] != '-') {
		lua_pushliteral(L, "-");
		lua_pushvalue(L, 1);
		lua_concat(L, 2);
		text = lua_tolstring(L, -1, &size);
	}
	script_push_error(L, bytes_of_string(text));
	return 1;
}

static int
api_status_reply(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
		script_push_error_text(L, "wrong number or type of arguments");
		return 1;
	}
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "ok");
	return 1;
}

static int
api_sha1hex(lua_State *L)
{
	char digest[SHA1_HEX_SIZE + 1];
	size_t size;
	if (lua_gettop(L) != 1)
		return throw_text(L, "wrong number of arguments");
	const char *text = lua_tolstring(L, 1, &size);
	sha1_hex(bytes_of(text, text != NULL ? size : 0), digest);
	lua_pushlstring(L, digest, SHA1_HEX_SIZE);
	return 1;
}

/* ---- settings of the run ---- */

static int
api_setresp(lua_State *L)
{
	struct script_run *run =
		present_run(L, "redis.setresp can only be called inside a script invocation");
	if (lua_gettop(L) != 1)
		return throw_text(L, "redis.setresp() requires one argument.");
	int protocol = (int)lua_tonumber(L, 1);
	if (protocol != 2 && protocol != 3)
		return throw_text(L, "RESP version must be 2 or 3.");
	run->protocol = run->context->protocol = protocol;
	return 0;
}

/* Replication is of effects; a script may keep some from replicas. */
static int
api_set_repl(lua_State *L)
{
	struct script_run *run =
		present_run(L, "redis.set_repl can only be called inside a script invocation");
	if (lua_gettop(L) != 1)
		return throw_text(L, "redis.set_repl() requires two arguments.");
	int flags = (int)lua_tonumber(L, 1);
	if ((flags & ~REPLICATE_ALL) != 0)
		return throw_text(
			L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
	run->hides = (flags & REPLICATE_REPLICA) == 0;
	return 0;
}

static int
api_replicate_commands(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

/* There is no debugger. */
static int
api_breakpoint(lua_State *L)
{
	lua_pushboolean(L, 0);
	return 1;
}

static int
api_debug(lua_State *L)
{
	(void)L;
	return 0;
}

static int
api_acl_check_cmd(lua_State *L)
{
	struct script_run *run =
		present_run(L, "redis.acl_check_cmd can only be called inside a script invocation");
	size_t argc;
	struct bytes *argv;
	if (!script_take_arguments(L, run, &argc, &argv))
		return lua_error(L);
	const struct command *command = command_find(run->context->server->commands, argv, argc, NULL);
	if (command == NULL)
		return throw_text(L, "Invalid command passed to redis.acl_check_cmd()");
	size_t position;
	lua_pushboolean(L, rights_check(run->context, command, argv, argc, &position) == ACL_ALLOWED);
	return 1;
}

/* ---- redis.log ---- */

struct log_line {
	enum log_level level;
	size_t size;
	char text[];
};

static void
write_line(struct server *server, struct client *client, void *data)
{
	(void)client;
	const struct log_line *line = data;
	log_sink_printf(&server->sink, line->level, "%.*s", (int)line->size, line->text);
}

/* The arguments from the second on with spaces between them, on the top of the stack. */
static void
join_arguments(lua_State *L, int count)
{
	luaL_Buffer text;
	luaL_buffinit(L, &text);
	for (int i = 2; i <= count; i++) {
		if (!lua_isstring(L, i))
			continue;
		if (i > 2)
			luaL_addchar(&text, ' ');
		lua_pushvalue(L, i);
		luaL_addvalue(&text);
	}
	luaL_pushresult(&text);
}

/* The line is written once the script has committed: it may be run again. */
static int
api_log(lua_State *L)
{
	struct script_run *run = script_vm_of_state(L)->run;
	int count = lua_gettop(L);
	if (count < 2)
		return throw_text(L, "redis.log() requires two arguments or more.");
	if (!lua_isnumber(L, 1))
		return throw_text(L, "First argument must be a number (log level).");
	int level = (int)lua_tonumber(L, 1);
	if (level < LOG_LEVEL_DEBUG || level > LOG_LEVEL_WARNING)
		return throw_text(L, "Invalid debug level.");
	if (run == NULL)
		return 0;
	join_arguments(L, count);
	size_t size;
	const char *text = lua_tolstring(L, -1, &size);
	struct command_context *c = run->context;
	struct log_line *line = arena_allocate(c->arena, sizeof(*line) + size, _Alignof(struct log_line));
	if (line == NULL)
		return script_give_up(L, run, SETT_NO_MEMORY);
	*line = (struct log_line){.level = (enum log_level)level, .size = size};
	memcpy(line->text, text, size);
	if (context_defer(c, write_line, line) != SETT_OK)
		return script_give_up(L, run, SETT_NO_MEMORY);
	return 0;
}

/* ---- the table ---- */

void
script_push_api(lua_State *L)
{
	static const luaL_Reg functions[] = {{"call", script_call_raising},
					     {"pcall", script_call_returning},
					     {"error_reply", api_error_reply},
					     {"status_reply", api_status_reply},
					     {"sha1hex", api_sha1hex},
					     {"setresp", api_setresp},
					     {"set_repl", api_set_repl},
					     {"replicate_commands", api_replicate_commands},
					     {"breakpoint", api_breakpoint},
					     {"debug", api_debug},
					     {"acl_check_cmd", api_acl_check_cmd},
					     {"log", api_log}};
	static const struct {
		const char *name;
		int value;
	} numbers[] = {{"LOG_DEBUG", LOG_LEVEL_DEBUG},    {"LOG_VERBOSE", LOG_LEVEL_VERBOSE},
		       {"LOG_NOTICE", LOG_LEVEL_NOTICE},  {"LOG_WARNING", LOG_LEVEL_WARNING},
		       {"REPL_NONE", REPLICATE_NONE},     {"REPL_AOF", REPLICATE_AOF},
		       {"REPL_SLAVE", REPLICATE_REPLICA}, {"REPL_REPLICA", REPLICATE_REPLICA},
		       {"REPL_ALL", REPLICATE_ALL},       {"REDIS_VERSION_NUM", 0x0007000f}};
	lua_newtable(L);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		lua_pushcfunction(L, functions[i].func);
		lua_setfield(L, -2, functions[i].name);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		lua_pushinteger(L, numbers[i].value);
		lua_setfield(L, -2, numbers[i].name);
	}
	lua_pushliteral(L, "7.0.15");
	lua_setfield(L, -2, "REDIS_VERSION");
}

/* ---- math.random: the numbers of lrand48, the same in each run ---- */

int
script_random(lua_State *L)
{
	struct script_vm *vm = script_vm_of_state(L);
	long drawn;
	if (vm->run == NULL)
		return luaL_error(L, "math.random can only be called inside a script invocation");
	lrand48_r(&vm->random, &drawn);
	lua_Number r = (lua_Number)(drawn % RANDOM_MAX) / (lua_Number)RANDOM_MAX;
	int low = 1, high;
	switch (lua_gettop(L)) {
	case 0:
		lua_pushnumber(L, r);
		return 1;
	case 1:
		high = luaL_checkint(L, 1);
		luaL_argcheck(L, low <= high, 1, "interval is empty");
		break;
	case 2:
		low = luaL_checkint(L, 1);
		high = luaL_checkint(L, 2);
		luaL_argcheck(L, low <= high, 2, "interval is empty");
		break;
	default:
		return luaL_error(L, "wrong number of arguments");
	}
	lua_pushnumber(L, floor(r * ((lua_Number)high - low + 1)) + low);
	return 1;
}

int
script_random_seed(lua_State *L)
{
	struct script_vm *vm = script_vm_of_state(L);
	if (vm->run == NULL)
		return luaL_error(L, "math.randomseed can only be called inside a script invocation");
	srand48_r(luaL_checkint(L, 1), &vm->random);
	return 0;
}
