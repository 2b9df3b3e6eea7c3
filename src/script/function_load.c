/* A library is loaded: its text is run once, and registers functions.
 *
 * Functions have globals of their own, beside those of EVAL: the same libraries, but never KEYS and ARGV. While a library
 * is loaded, the table behind these globals is another one, which has `redis` alone, with few things in it. */
#include <assert.h>

#include "config/words.h"
#include "keyspace/libraries.h"
#include "script/functions_private.h"

enum {
	LOAD_LIMIT_MS = 500,
	REACTOR_MS = 2, /* then it is loaded on the pool, and others go on */
	NANOSECONDS_PER_MS = 1000000,
};

/* A load that is under way. */
struct function_load {
	struct command_context *context;
	struct function_library *library;
	struct bytes text; /* from the end of the first line on */
	uint64_t started_ns;
	bool is_again; /* not by FUNCTION LOAD */
	int status;    /* why it was given up */
	bool is_loaded;
	struct buffer *error; /* of FUNCTION LOAD: what it is answered */
};

/* ---- libraries ---- */

static bool
is_name(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
		      (name[i] >= '0' && name[i] <= '9') || name[i] == '_'))
			return false;
	return size > 0;
}

static struct function_library *
create_library(struct bytes name)
{
	struct function_library *l = calloc(1, sizeof(*l));
	char *copy = l != NULL ? strndup((const char *)name.data, name.size) : NULL;
	if (copy == NULL) {
		free(l);
		return NULL;
	}
	l->name = copy;
	l->version = UINT64_MAX;
	return l;
}

static void
forget_functions(struct script_vm *vm, struct function_library *l)
{
	for (size_t i = 0; i < l->function_count; i++) {
		struct script_function *f = &l->functions[i];
		luaL_unref(vm->state, LUA_REGISTRYINDEX, f->reference);
		free(f->name);
		free((void *)f->description.data);
	}
	l->function_count = 0;
}

static void
add_bytes(struct script_vm *vm, size_t bytes)
{
	__atomic_store_n(&vm->function_bytes, vm->function_bytes + bytes, __ATOMIC_RELAXED);
}

/* It is loaded: what it takes beside the interpreter's own memory counts until it is freed. */
static void
count_bytes(struct script_vm *vm, struct function_library *l)
{
	l->bytes = sizeof(*l) + strlen(l->name) + l->function_capacity * sizeof(*l->functions);
	for (size_t i = 0; i < l->function_count; i++)
		l->bytes += strlen(l->functions[i].name) + l->functions[i].description.size;
	add_bytes(vm, l->bytes);
}

void
function_library_free(struct script_vm *vm, struct function_library *l)
{
	if (l == NULL)
		return;
	add_bytes(vm, -l->bytes);
	forget_functions(vm, l);
	free(l->functions);
	free(l->name);
	free(l);
}

/* ---- redis.register_function ---- */

/* What it was given: on the stack, where it stays. */
struct registration {
	int name, description, callback; /* indices; 0: not given */
	unsigned flags;
};

static const char not_a_name[] = "Library names can only contain letters, numbers, or underscores(_) and "
				 "must be at least one character long";

static int
raise_text(lua_State *L, const char *text)
{
	script_push_error_text(L, text);
	return lua_error(L);
}

static bool
word_is(lua_State *L, int index, const char *word)
{
	size_t size;
	const char *text = lua_tolstring(L, index, &size);
	return argument_is(bytes_of(text, size), word);
}

/* The flag that a text on the stack names; 0: none. */
static unsigned
flag_at(lua_State *L, int index)
{
	for (unsigned flag = 1; flag < SCRIPT_SAYS_NOTHING; flag <<= 1)
		if (word_is(L, index, script_flag_name((enum script_flag)flag)))
			return flag;
	return 0;
}

/* Of the table on the top of the stack. */
static unsigned
take_flags(lua_State *L)
{
	unsigned flags = 0;
	for (int i = 1;; i++) {
		lua_pushnumber(L, i);
		lua_gettable(L, -2);
		if (lua_isnil(L, -1))
			break;
		unsigned flag = lua_isstring(L, -1) ? flag_at(L, -1) : 0;
		if (flag == 0)
			raise_text(L, "unknown flag given");
		flags |= flag;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return flags;
}

/* The slots of the stack where values of named arguments are kept. */
enum named_argument { NAMED_NAME = 2, NAMED_DESCRIPTION, NAMED_CALLBACK, NAMED_FLAGS, NAMED_OTHER };

static enum named_argument
find_named(lua_State *L, int index)
{
	static const char *const names[] = {
		[NAMED_NAME] = "function_name",
		[NAMED_DESCRIPTION] = "description",
		[NAMED_CALLBACK] = "callback",
		[NAMED_FLAGS] = "flags",
	};
	if (lua_type(L, index) != LUA_TSTRING && !lua_isnumber(L, index))
		raise_text(L, "named argument key given to redis.register_function is not a string");
	enum named_argument which = NAMED_NAME;
	while (which < NAMED_OTHER && (lua_type(L, index) != LUA_TSTRING || !word_is(L, index, names[which])))
		which++;
	return which;
}

/* The argument whose name and value are on the top of the stack; pops the value. */
static void
take_named(lua_State *L, struct registration *r)
{
	enum named_argument which = find_named(L, -2);
	switch (which) {
	case NAMED_NAME:
		if (!lua_isstring(L, -1))
			raise_text(
				L,
				"function_name argument given to redis.register_function must be a string");
		r->name = which;
		break;
	case NAMED_DESCRIPTION:
		if (!lua_isstring(L, -1))
			raise_text(L,
				   "description argument given to redis.register_function must be a string");
		r->description = which;
		break;
	case NAMED_CALLBACK:
		if (!lua_isfunction(L, -1))
			raise_text(L,
				   "callback argument given to redis.register_function must be a function");
		r->callback = which;
		break;
	case NAMED_FLAGS:
		if (!lua_istable(L, -1))
			raise_text(L,
				   "flags argument to redis.register_function must be a table representing "
				   "function flags");
		r->flags = take_flags(L);
		break;
	default:
		raise_text(L, "unknown argument given to redis.register_function");
	}
	lua_replace(L, which);
}

static struct registration
take_table(lua_State *L)
{
	struct registration r = {0};
	if (!lua_istable(L, 1))
		raise_text(L,
			   "calling redis.register_function with a single argument is only applicable to Lua "
			   "table "
			   "(representing named arguments).");
	lua_settop(L, NAMED_FLAGS); /* the table, and room for the values */
	lua_pushnil(L);
	while (lua_next(L, 1) != 0)
		take_named(L, &r);
	if (r.name == 0)
		raise_text(L, "redis.register_function must get a function name argument");
	if (r.callback == 0)
		raise_text(L, "redis.register_function must get a callback argument");
	return r;
}

static struct registration
take_arguments(lua_State *L)
{
	int count = lua_gettop(L);
	if (count < 1 || count > 2)
		raise_text(L, "wrong number of arguments to redis.register_function");
	if (count == 1)
		return take_table(L);
	if (!lua_isstring(L, 1))
		raise_text(L, "first argument to redis.register_function must be a string");
	if (!lua_isfunction(L, 2))
		raise_text(L, "second argument to redis.register_function must be a function");
	return (struct registration){.name = 1, .callback = 2};
}

static struct script_function *
room_for_function(struct function_library *l)
{
	if (l->function_count == l->function_capacity) {
		size_t capacity = l->function_capacity == 0 ? 4 : 2 * l->function_capacity;
		struct script_function *functions = realloc(l->functions, capacity * sizeof(*functions));
		if (functions == NULL)
			return NULL;
		l->functions = functions;
		l->function_capacity = capacity;
	}
	return &l->functions[l->function_count];
}

/* Fills the function in, but for its reference. SETT_NO_MEMORY. */
static int
describe_function(lua_State *L, const struct registration *r, struct function_library *l,
		  struct script_function *f)
{
	size_t size;
	*f = (struct script_function){
		.flags = r->flags, .library = l, .name = strdup(lua_tostring(L, r->name))};
	if (f->name == NULL)
		return SETT_NO_MEMORY;
	if (r->description == 0)
		return SETT_OK;
	const char *text = lua_tolstring(L, r->description, &size);
	void *copy = malloc(size + 1);
	if (copy == NULL) {
		free(f->name);
		return SETT_NO_MEMORY;
	}
	memcpy(copy, text, size);
	f->description = bytes_of(copy, size);
	return SETT_OK;
}

static int
register_function(lua_State *L)
{
	size_t size;
	struct function_load *load = script_vm_of_state(L)->load;
	if (load == NULL)
		return raise_text(L, "redis.register_function can only be called on FUNCTION LOAD command");
	struct registration r = take_arguments(L);
	struct function_library *l = load->library;
	const char *name = lua_tolstring(L, r.name, &size);
	if (!is_name(name, size))
		return raise_text(L, not_a_name);
	for (size_t i = 0; i < l->function_count; i++)
		if (strcmp(l->functions[i].name, name) == 0)
			return raise_text(L, "Function already exists in the library");
	lua_pushvalue(L, r.callback);
	int reference = luaL_ref(L, LUA_REGISTRYINDEX);
	struct script_function *f = room_for_function(l);
	if (f == NULL || describe_function(L, &r, l, f) != SETT_OK) {
		luaL_unref(L, LUA_REGISTRYINDEX, reference);
		return luaL_error(L, "not enough memory");
	}
	f->reference = reference;
	l->function_count++;
	return 0;
}

/* ---- globals of functions ---- */

/* Copies the value that the table at `from` has under the name to the table on the top of the stack. */
static void
copy_field(lua_State *L, int from, const char *name)
{
	lua_getfield(L, from, name);
	lua_setfield(L, -2, name);
}

/* The table on the top of the stack gets the metatable of EVAL's globals, which is at `globals`: unknown names are errors. */
static void
refuse_unknown_names(lua_State *L, int globals)
{
	int has = lua_getmetatable(L, globals);
	assert(has != 0);
	(void)has;
	lua_setmetatable(L, -2);
}

/* Pushes what libraries see while they are loaded. */
static void
push_load_globals(lua_State *L, int globals)
{
	static const char *const names[] = {"log",         "LOG_DEBUG",     "LOG_VERBOSE",      "LOG_NOTICE",
					    "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"};
	lua_newtable(L);
	lua_getfield(L, globals, "redis");
	int redis = lua_gettop(L);
	lua_newtable(L);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		copy_field(L, redis, names[i]);
	lua_pushcfunction(L, register_function);
	lua_setfield(L, -2, "register_function");
	refuse_unknown_names(L, globals);
	script_make_read_only(L);
	lua_remove(L, redis);
	lua_setfield(L, -2, "redis");
	refuse_unknown_names(L, globals);
}

/* Pushes the globals of functions: those of EVAL without its arguments. */
static void
push_run_globals(lua_State *L, int globals)
{
	lua_newtable(L);
	lua_pushnil(L);
	while (lua_next(L, globals) != 0) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
	lua_pushnil(L);
	lua_setfield(L, -2, "KEYS");
	lua_pushnil(L);
	lua_setfield(L, -2, "ARGV");
	refuse_unknown_names(L, globals);
}

/* Once in an interpreter. */
static void
make_globals(lua_State *L, struct script_vm *vm)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
	int globals = lua_gettop(L);
	push_load_globals(L, globals);
	push_run_globals(L, globals);
	lua_pushvalue(L, -1);
	script_make_read_only(L); /* hides the run globals */
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "_G");
	lua_getmetatable(L, -1);
	/* load globals, run globals, environment, its metatable */
	vm->function_metatable = luaL_ref(L, LUA_REGISTRYINDEX);
	vm->function_environment = luaL_ref(L, LUA_REGISTRYINDEX);
	vm->function_globals = luaL_ref(L, LUA_REGISTRYINDEX);
	vm->load_globals = luaL_ref(L, LUA_REGISTRYINDEX);
	vm->has_function_globals = true;
	lua_settop(L, globals - 1);
}

/* Puts a table behind the globals of functions. Takes no memory: the field is there, and its name is kept by Lua. */
static void
set_globals(lua_State *L, const struct script_vm *vm, int reference)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->function_metatable);
	lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

/* ---- loading ---- */

static void
load_hook(lua_State *L, lua_Debug *at)
{
	struct function_load *load = script_vm_of_state(L)->load;
	(void)at;
	if (load == NULL)
		return;
	struct command_context *c = load->context;
	uint64_t took_ms = (clock_monotonic_ns(c->server->clock) - load->started_ns) / NANOSECONDS_PER_MS;
	if (load->is_again && took_ms >= REACTOR_MS)
		load->status = context_enter_long_lane(c);
	if (load->status != SETT_OK)
		luaL_error(L, "the load is given up");
	if (!load->is_again && took_ms > LOAD_LIMIT_MS)
		raise_text(L, "FUNCTION LOAD timeout");
}

/* Keeps what the error on the top of the stack says. */
static void
keep_error(lua_State *L, struct function_load *load, const char *what, const char *code)
{
	if (lua_istable(L, -1)) {
		lua_pushliteral(L, "err");
		lua_rawget(L, -2);
		code = "";
	}
	const char *text = lua_tostring(L, -1);
	lua_pushfstring(L, "%s: %s%s", what, code, text != NULL ? text : "unknown error");
	text = lua_tostring(L, -1);
	if (buffer_append(load->error, text, strlen(text)) != SETT_OK && load->status == SETT_OK)
		load->status = SETT_NO_MEMORY;
}

static int
load_body(lua_State *L)
{
	struct script_vm *vm = lua_touserdata(L, 1);
	struct function_load *load = vm->load;
	lua_settop(L, 0);
	if (!vm->has_function_globals)
		make_globals(L, vm);
	if (script_load(L, load->text, "@user_function") != 0) {
		keep_error(L, load, "Error compiling function", "");
		return 0;
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->function_environment);
	lua_setfenv(L, -2);
	set_globals(L, vm, vm->load_globals);
	lua_sethook(L, load_hook, LUA_MASKCOUNT, SCRIPT_HOOK_COUNT);
	int status = lua_pcall(L, 0, 0, 0);
	lua_sethook(L, NULL, 0, 0);
	load->is_loaded = status == 0;
	if (status != 0)
		keep_error(L, load, "Error registering functions", "ERR ");
	return 0;
}

/* Runs the text in the interpreter. SETT_OK: see load->is_loaded. */
static int
run_load(struct command_context *c, struct script_vm *vm, struct function_load *load)
{
	struct script_run run = {.context = c}; /* for redis.log */
	assert(vm->run == NULL && vm->load == NULL);
	load->context = c;
	load->started_ns = run.started_ns = clock_monotonic_ns(c->server->clock);
	vm->load = load;
	vm->run = load->is_again ? NULL : &run;
	script_limit_memory(vm);
	bool is_protected = script_protect_call(vm, load_body, vm);
	script_end_limit(vm);
	vm->run = NULL;
	vm->load = NULL;
	lua_sethook(vm->state, NULL, 0, 0);
	if (vm->has_function_globals)
		set_globals(vm->state, vm, vm->function_globals);
	if (run.status != SETT_OK)
		return run.status;
	if (load->status != SETT_OK)
		return load->status;
	/* Others' runs have it just now: that says nothing about the library, which is tried again. */
	if (load->is_again && vm->is_short)
		return SETT_NO_MEMORY;
	if (!is_protected &&
	    buffer_append(load->error, BYTES_LITERAL("Error registering functions: not enough memory").data,
			  sizeof("Error registering functions: not enough memory") - 1) != SETT_OK)
		return SETT_NO_MEMORY;
	load->is_loaded &= is_protected;
	return SETT_OK;
}

/* ---- the first line ---- */

static bool
begins_with(struct bytes word, const char *prefix)
{
	size_t size = strlen(prefix);
	return word.size >= size && argument_is(bytes_of(word.data, size), prefix);
}

/* "#!lua name=x": OUTCOME_FAILED, it was answered what is wrong. `ret_name` points into the words. */
static int
read_words(struct command_context *c, const struct words *words, struct bytes *ret_name)
{
	*ret_name = (struct bytes){0};
	for (size_t i = 1; i < words->count; i++) {
		struct bytes word = words->items[i];
		if (!begins_with(word, "name="))
			return context_errorf(c, "ERR Invalid metadata value given: %.*s",
					      (int)(word.size < 128 ? word.size : 128),
					      (const char *)word.data);
		if (ret_name->data != NULL)
			return context_error(
				c, "ERR Invalid metadata value, name argument was given multiple times");
		*ret_name = bytes_of(word.data + strlen("name="), word.size - strlen("name="));
	}
	if (ret_name->data == NULL)
		return context_error(c, "ERR Library name was not given");
	if (!is_name((const char *)ret_name->data, ret_name->size))
		return context_errorf(c, "ERR %s", not_a_name);
	struct bytes engine = bytes_of(words->items[0].data + 2, words->items[0].size - 2);
	if (!argument_is(engine, "lua"))
		return context_errorf(c, "ERR Engine '%.*s' not found",
				      (int)(engine.size < 128 ? engine.size : 128),
				      (const char *)engine.data);
	return SETT_OK;
}

/* The size of the first line; 0: there is none. */
static size_t
first_line(struct bytes text)
{
	const uint8_t *end = text.size > 0 ? memchr(text.data, '\n', text.size) : NULL;
	return end != NULL ? (size_t)(end - text.data) : 0;
}

static int
create_of_text(struct command_context *c, struct bytes text, struct function_library **ret)
{
	struct words words = {0};
	struct bytes name;
	size_t line = first_line(text);
	if (text.size < 2 || memcmp(text.data, "#!", 2) != 0)
		return context_error(c, "ERR Missing library metadata");
	int status = line == 0 ? SETT_INVALID : words_split(bytes_of(text.data, line), &words);
	if (status == SETT_INVALID || (status == SETT_OK && (words.count == 0 || words.items[0].size < 2)))
		status = context_error(c, "ERR Invalid library metadata");
	if (status == SETT_OK)
		status = read_words(c, &words, &name);
	if (status == SETT_OK)
		status = (*ret = create_library(name)) != NULL ? SETT_OK : SETT_NO_MEMORY;
	words_free(&words);
	return status;
}

int
function_library_load(struct command_context *c, struct script_vm *vm, struct bytes text,
		      struct function_library **ret)
{
	struct function_library *l = NULL;
	struct buffer error = {0};
	int status = create_of_text(c, text, &l);
	if (status != SETT_OK)
		return status;
	size_t line = first_line(text);
	struct function_load load = {
		.library = l, .text = bytes_of(text.data + line, text.size - line), .error = &error};
	status = run_load(c, vm, &load);
	if (status == SETT_OK && !load.is_loaded)
		status = context_errorf(c, "ERR %.*s", (int)(error.size < 1024 ? error.size : 1024),
					(const char *)error.data);
	else if (status == SETT_OK && l->function_count == 0)
		status = context_error(c, "ERR No functions registered");
	buffer_free(&error);
	if (status != SETT_OK) {
		function_library_free(vm, l);
		return status;
	}
	count_bytes(vm, l);
	*ret = l;
	return SETT_OK;
}

int
function_library_load_again(struct command_context *c, struct script_vm *vm, struct bytes name,
			    struct bytes text, struct function_library **ret)
{
	struct function_library *l = create_library(name);
	struct buffer error = {0};
	size_t line = first_line(text);
	if (l == NULL)
		return SETT_NO_MEMORY;
	struct function_load load = {.library = l,
				     .text = bytes_of(text.data + line, text.size - line),
				     .is_again = true,
				     .error = &error};
	int status = run_load(c, vm, &load);
	if (status == SETT_OK && !load.is_loaded) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
				"The library of functions %s can't be loaded: %.*s", l->name, (int)error.size,
				(const char *)error.data);
		forget_functions(vm, l);
	}
	buffer_free(&error);
	if (status != SETT_OK) {
		function_library_free(vm, l);
		return status;
	}
	count_bytes(vm, l);
	*ret = l;
	return SETT_OK;
}
