/* Compiled scripts of an interpreter: a table by the names of scripts, which forgets all when it is full, or when the
 * library was flushed, or when the interpreter takes much. A script costs its compilation once per thread. */
#include <assert.h>

#include "script/private.h"

enum { FIRST_SLOTS = 64, SCRIPTS_MAX = 1000 };

/* ---- the table ---- */

static struct compiled_script *
slot_of(struct compiled_script *scripts, size_t slots, const char *sha)
{
	uint64_t hash;
	memcpy(&hash, sha, sizeof(hash));
	size_t i = hash * 0x9e3779b97f4a7c15u >> 32;
	while (scripts[i & (slots - 1)].sha[0] != '\0' &&
	       memcmp(scripts[i & (slots - 1)].sha, sha, SHA1_HEX_SIZE) != 0)
		i++;
	return &scripts[i & (slots - 1)];
}

static struct compiled_script *
find(struct script_vm *vm, const char *sha)
{
	struct compiled_script *s;
	if (vm->script_count == 0)
		return NULL;
	s = slot_of(vm->scripts, vm->script_slots, sha);
	return s->sha[0] != '\0' ? s : NULL;
}

static void
forget_all(struct script_vm *vm)
{
	for (size_t i = 0; i < vm->script_slots; i++)
		if (vm->scripts[i].sha[0] != '\0')
			luaL_unref(vm->state, LUA_REGISTRYINDEX, vm->scripts[i].function);
	free(vm->scripts);
	vm->scripts = NULL;
	vm->script_count = vm->script_slots = 0;
}

static int
collect(lua_State *L)
{
	lua_gc(L, LUA_GCCOLLECT, 0);
	return 0;
}

/* What the library has forgotten is not run any more. */
static void
follow_flushes(struct script_vm *vm)
{
	uint64_t generation = script_library_generation(vm->server->scripts);
	if (generation == vm->generation)
		return;
	forget_all(vm);
	vm->generation = generation;
	script_protect_call(vm, collect, NULL);
}

static int
grow(struct script_vm *vm)
{
	size_t slots = vm->script_slots == 0 ? FIRST_SLOTS : 2 * vm->script_slots;
	struct compiled_script *scripts = calloc(slots, sizeof(*scripts));
	if (scripts == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < vm->script_slots; i++)
		if (vm->scripts[i].sha[0] != '\0')
			*slot_of(scripts, slots, vm->scripts[i].sha) = vm->scripts[i];
	free(vm->scripts);
	vm->scripts = scripts;
	vm->script_slots = slots;
	return SETT_OK;
}

/* What the interpreter may have taken when another script is added. */
static size_t
memory_limit(const struct script_vm *vm)
{
	enum { SHARE = 4, LEAST = 4 << 20 };
	/* relaxed: the number stands for itself */
	size_t limit = (size_t)__atomic_load_n(&vm->server->transaction_memory, __ATOMIC_RELAXED) / SHARE;
	return limit == 0 ? SIZE_MAX : limit > LEAST ? limit : LEAST;
}

static int
add(struct script_vm *vm, const struct compiled_script *script, struct compiled_script **ret)
{
	if (vm->script_count >= SCRIPTS_MAX || vm->memory > memory_limit(vm)) {
		forget_all(vm);
		script_protect_call(vm, collect, NULL);
	}
	if (2 * vm->script_count >= vm->script_slots && grow(vm) != SETT_OK)
		return SETT_NO_MEMORY;
	struct compiled_script *slot = slot_of(vm->scripts, vm->script_slots, script->sha);
	assert(slot->sha[0] == '\0');
	*slot = *script;
	vm->script_count++;
	*ret = slot;
	return SETT_OK;
}

/* ---- the first line ---- */

static struct bytes
next_word(struct bytes *rest, char separator)
{
	const uint8_t *end = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
	struct bytes word = bytes_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->size);
	size_t taken = end != NULL ? word.size + 1 : word.size;
	*rest = bytes_of(rest->data + taken, rest->size - taken);
	return word;
}

static int
word_error(struct command_context *c, const char *text, struct bytes word)
{
	return context_errorf(c, "ERR %s: %.*s", text, (int)(word.size < 128 ? word.size : 128),
			      (const char *)word.data);
}

static int
read_flags(struct command_context *c, struct bytes names, unsigned *flags)
{
	bool is_last = names.size == 0;
	while (!is_last) {
		is_last = memchr(names.data, ',', names.size) == NULL;
		struct bytes name = next_word(&names, ',');
		unsigned flag = script_flag_of(name);
		if (flag == 0)
			return word_error(c, "Unexpected flag in script shebang", name);
		*flags |= flag;
	}
	return SETT_OK;
}

/* "#!lua flags=a,b": takes it off the text, but for its line end, so that lines keep their numbers. */
static int
take_first_line(struct command_context *c, struct bytes *text, unsigned *ret_flags)
{
	*ret_flags = SCRIPT_SAYS_NOTHING;
	if (text->size < 2 || memcmp(text->data, "#!", 2) != 0)
		return SETT_OK;
	const uint8_t *end = memchr(text->data, '\n', text->size);
	if (end == NULL)
		return context_error(c, "ERR Invalid script shebang");
	struct bytes line = bytes_of(text->data, (size_t)(end - text->data));
	*text = bytes_of(end, text->size - line.size);
	struct bytes engine = next_word(&line, ' ');
	if (!bytes_equal(engine, BYTES_LITERAL("#!lua")))
		return word_error(c, "Unexpected engine in script shebang", engine);
	*ret_flags = 0;
	while (line.size > 0) {
		struct bytes word = next_word(&line, ' ');
		struct bytes prefix = BYTES_LITERAL("flags=");
		if (word.size == 0)
			continue;
		if (!bytes_has_prefix(word, prefix))
			return word_error(c, "Unknown lua shebang option", word);
		int status =
			read_flags(c, bytes_of(word.data + prefix.size, word.size - prefix.size), ret_flags);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* ---- compilation ---- */

struct compilation {
	struct command_context *context;
	struct bytes text;
	int function;
	int status;
};

static int
compile_body(lua_State *L)
{
	struct compilation *compilation = lua_touserdata(L, 1);
	lua_settop(L, 0);
	if (script_load(L, compilation->text, "@user_script") == 0) {
		compilation->function = luaL_ref(L, LUA_REGISTRYINDEX);
		compilation->status = SETT_OK;
		return 0;
	}
	const char *text = lua_tostring(L, -1);
	compilation->status =
		context_errorf(compilation->context, "ERR Error compiling script (new function): %s",
			       text != NULL ? text : "");
	return 0;
}

static int
compile(struct command_context *c, struct script_vm *vm, const char *sha, struct bytes text,
	struct compiled_script **ret)
{
	struct compiled_script script = {0};
	struct compilation compilation = {.context = c, .status = SETT_NO_MEMORY};
	memcpy(script.sha, sha, sizeof(script.sha));
	int status = take_first_line(c, &text, &script.flags);
	if (status != SETT_OK)
		return status;
	compilation.text = text;
	if (!script_protect_call(vm, compile_body, &compilation) || compilation.status != SETT_OK)
		return compilation.status;
	script.function = compilation.function;
	status = add(vm, &script, ret);
	if (status != SETT_OK)
		luaL_unref(vm->state, LUA_REGISTRYINDEX, script.function);
	return status;
}

int
script_compile(struct command_context *c, struct script_vm *vm, struct bytes text,
	       struct compiled_script **ret)
{
	char sha[SHA1_HEX_SIZE + 1];
	sha1_hex(text, sha);
	follow_flushes(vm);
	*ret = find(vm, sha);
	if (*ret != NULL)
		return SETT_OK;
	int status = compile(c, vm, sha, text, ret);
	return status == SETT_OK ? script_library_add(c->server->scripts, sha, text) : status;
}

static int
no_script(struct command_context *c)
{
	return context_error(c, "NOSCRIPT No matching script. Please use EVAL.");
}

int
script_find(struct command_context *c, struct script_vm *vm, struct bytes sha, struct compiled_script **ret)
{
	char lower[SHA1_HEX_SIZE + 1];
	if (sha.size != SHA1_HEX_SIZE)
		return no_script(c);
	for (size_t i = 0; i < SHA1_HEX_SIZE; i++)
		lower[i] = (char)(sha.data[i] >= 'A' && sha.data[i] <= 'Z' ? sha.data[i] + 32 : sha.data[i]);
	lower[SHA1_HEX_SIZE] = '\0';
	follow_flushes(vm);
	*ret = find(vm, lower);
	if (*ret != NULL)
		return SETT_OK;
	struct script_text *text = script_library_find(c->server->scripts, lower);
	if (text == NULL)
		return no_script(c);
	int status = compile(c, vm, lower, text->text, ret);
	script_text_release(c->server->scripts, text);
	return status;
}
