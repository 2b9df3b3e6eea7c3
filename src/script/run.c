/* One run of a script, from its call to its reply.
 *
 * A run is given up by an error that nothing can catch: its status is set, and from then on every instruction raises it
 * again (script_give_up), until the run's own protected call is reached. */
#include <assert.h>

#include "cluster/hash_slot.h"
#include "config/config.h"
#include "script/private.h"
#include "script/script_libraries.h"
#include "txn/admission.h"
#include "txn/observers.h"
#include "txn/propagation.h"
#include "txn/transaction.h"

#define MILLISECOND 1000000u

enum {
	REACTOR_MS = 2,              /* then it is run again on the pool, and others go on */
	SHORT_LANE_MS = 20,          /* of the pool, where it may have waited for the disk */
	BIG_HEAP = 16 * 1024 * 1024, /* what a run has left is collected at once, where memory is plenty */
	SHARE_KEPT = 8,              /* of what a run may take */
	HEAP_MIN = 8 * 1024 * 1024,  /* a script may take so much however small maxmemory is */
};

/* ---- giving up ---- */

int
script_give_up(lua_State *L, struct script_run *run, int status)
{
	run->status = status;
	lua_sethook(L, script_count_hook, LUA_MASKCOUNT, 1);
	if (status == SCRIPT_KILLED)
		script_push_error_text(L, "Script killed by user with SCRIPT KILL...");
	else
		lua_pushliteral(L, "the script is given up");
	lua_error(L);
	__builtin_unreachable();
}

void
script_look_around(lua_State *L, struct script_run *run)
{
	struct command_context *c = run->context;
	struct server *server = c->server;
	uint64_t now_ns = clock_monotonic_ns(server->clock), took_ns = now_ns - run->started_ns;
	uint64_t limit_ms = c->may_wait ? SHORT_LANE_MS : REACTOR_MS;
	if (took_ns < limit_ms * MILLISECOND)
		return;
	int status = context_enter_long_lane(c);
	if (status != SETT_OK)
		script_give_up(L, run, status);
	if (run->id == 0)
		script_library_enter_run(server->scripts, run);
	if (__atomic_load_n(&run->is_killed, __ATOMIC_RELAXED))
		script_give_up(L, run, SCRIPT_KILLED);
	if (c->end_ns != 0 && now_ns >= c->end_ns)
		script_give_up(L, run, SCRIPT_GIVEN_UP);
	/* What has written goes on: a client may send it and leave. Not if the server stops, or a COMMIT is missing, which will
	 * never come: nothing has happened yet. */
	if (context_is_given_up(c) &&
	    (!run->has_written || client_in_interactive(c->client) ||
	     __atomic_load_n(&server->stopping, __ATOMIC_RELAXED)))
		script_give_up(L, run, SCRIPT_GIVEN_UP);
}

void
script_count_hook(lua_State *L, lua_Debug *at)
{
	struct script_run *run = script_vm_of_state(L)->run;
	(void)at;
	if (run == NULL)
		return;
	if (run->status != SETT_OK)
		script_give_up(L, run, run->status);
	script_look_around(L, run);
}

/* ---- the reply ---- */

/* Whether the value on the top of the stack is the error of a command that was called. */
static bool
is_counted(lua_State *L)
{
	if (!lua_istable(L, -1))
		return false;
	lua_pushliteral(L, "ignore_error_stats_update");
	lua_rawget(L, -2);
	bool is_counted = lua_toboolean(L, -1) != 0;
	lua_pop(L, 1);
	return is_counted;
}

/* The error on the top of the stack. */
static void
append_error(lua_State *L, struct resp_writer *reply, const char *name)
{
	if (!lua_istable(L, -1)) {
		const char *text = lua_tostring(L, -1);
		resp_error_format(reply, "ERR Error running script %s, %.100s", name,
				  text != NULL ? text : "execution failure");
		return;
	}
	lua_pushliteral(L, "err");
	lua_rawget(L, -2);
	lua_pushliteral(L, "source");
	lua_rawget(L, -3);
	lua_pushliteral(L, "line");
	lua_rawget(L, -4);
	const char *text = lua_tostring(L, -3), *source = lua_tostring(L, -2), *line = lua_tostring(L, -1);
	if (text == NULL)
		text = "ERR unknown error";
	if (source != NULL && line != NULL)
		resp_error_format(reply, "%s script: %s, on %s:%s.", text, name, source, line);
	else
		resp_error(reply, text);
}

static void
push_texts(lua_State *L, const struct bytes *texts, size_t count)
{
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushlstring(L, (const char *)texts[i].data, texts[i].size);
		lua_rawseti(L, -2, (int)i + 1);
	}
}

static void
push_keys_and_arguments(lua_State *L, struct script_vm *vm, const struct script_call *call)
{
	if (call->is_eval) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
		push_texts(L, call->keys, call->key_count);
		lua_setfield(L, -2, "KEYS");
		push_texts(L, call->arguments, call->argument_count);
		lua_setfield(L, -2, "ARGV");
		lua_pop(L, 1);
	} else {
		push_texts(L, call->keys, call->key_count);
		push_texts(L, call->arguments, call->argument_count);
	}
}

static int
run_body(lua_State *L)
{
	struct script_vm *vm = lua_touserdata(L, 1);
	struct script_run *run = vm->run;
	const struct script_call *call = run->call;
	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->error_handler);
	lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
	push_keys_and_arguments(L, vm, call);
	int status = lua_pcall(L, call->is_eval ? 0 : 2, 1, 1);
	if (run->status != SETT_OK && run->status != SCRIPT_KILLED)
		return 0;
	/* What follows is the room's own work: no more looks at the clock. */
	lua_sethook(L, NULL, 0, 0);
	run->context->error_is_counted = is_counted(L);
	if (status != 0)
		append_error(L, run->reply, call->name);
	else
		script_append_value(L, run->reply, run->protocol);
	return 0;
}

/* ---- a run ---- */

/* Whether the server refuses what takes memory or space, and the script does not say that it may all the same. */
static bool
refuses_oom(const struct command_context *c, const struct script_call *call)
{
	bool is_exempt = (call->flags & (SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES)) != 0 || c->client->loads;
	return server_refuses(c->server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY) && !is_exempt;
}

static int
check_flags(struct command_context *c, const struct script_call *call)
{
	if (c->server->config->cluster_enabled && (call->flags & SCRIPT_SAYS_NOTHING) == 0 &&
	    (call->flags & SCRIPT_NO_CLUSTER) != 0)
		return context_error(c, "ERR Can not run script on cluster, 'no-cluster' flag is set.");
	if ((call->flags & (SCRIPT_SAYS_NOTHING | SCRIPT_NO_WRITES)) == 0 && call->read_only)
		return context_error(c, "ERR Can not execute a script with write flag using *_ro command.");
	if (refuses_oom(c, call) && (call->flags & SCRIPT_SAYS_NOTHING) == 0)
		return context_error(c,
				     "OOM allow-oom flag is not set on the script, can not run it when used "
				     "memory > 'maxmemory'");
	const char *objection =
		(call->flags & (SCRIPT_SAYS_NOTHING | SCRIPT_NO_WRITES)) == 0 && !c->client->loads
		? admission_objection_to_writes(c->server)
		: NULL;
	if (objection != NULL)
		return context_error(c, objection + 1);
	if (!replica_role_is_active(&c->server->replica_role) || c->client->loads)
		return SETT_OK;
	if ((call->flags & (SCRIPT_SAYS_NOTHING | SCRIPT_NO_WRITES)) == 0 &&
	    admission_replica_is_read_only(c->server))
		return context_error(c, ADMISSION_READ_ONLY_TEXT);
	if ((call->flags & SCRIPT_ALLOW_STALE) == 0 && admission_replica_is_stale(c->server))
		return context_error(c, ADMISSION_STALE_TEXT);
	return SETT_OK;
}

size_t
script_run_memory(const struct server *server)
{
	/* relaxed: the number stands for itself */
	size_t limit = (size_t)__atomic_load_n(&server->transaction_memory, __ATOMIC_RELAXED);
	return limit == 0 || limit > HEAP_MIN ? limit : HEAP_MIN;
}

void
script_limit_memory(struct script_vm *vm)
{
	size_t limit = script_run_memory(vm->server);
	assert(vm->memory_shared == 0);
	vm->memory_most = limit == 0 ? 0 : vm->memory + limit;
	vm->memory_limit = limit == 0 ? 0 : vm->memory + SCRIPT_MEMORY_PIECE;
	vm->is_short = false;
}

void
script_end_limit(struct script_vm *vm)
{
	vm->memory_limit = vm->memory_most = 0;
	if (vm->memory_shared > 0)
		script_library_return_memory(vm->server->scripts, vm->memory_shared);
	vm->memory_shared = 0;
}

/* From here on what a run has left is collected at once: each thread's interpreter may keep so much. */
static size_t
big_heap(const struct server *server)
{
	size_t limit = script_run_memory(server) / SHARE_KEPT;
	return limit != 0 && limit < BIG_HEAP ? limit : BIG_HEAP;
}

static int
collect(lua_State *L)
{
	lua_gc(L, LUA_GCCOLLECT, 0);
	return 0;
}

/* Takes back what setfenv has done to the thread and to the function that was called. */
static void
restore_environments(struct script_vm *vm, const struct script_call *call)
{
	lua_State *L = vm->state;
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->environment);
	lua_replace(L, LUA_GLOBALSINDEX);
	lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
	if (!lua_iscfunction(L, -1)) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, call->is_eval ? vm->environment : vm->function_environment);
		lua_setfenv(L, -2);
	}
	lua_pop(L, 1);
}

static void
clean_up(struct script_vm *vm, struct script_run *run)
{
	if (__builtin_expect(vm->server->config->lua_enable_deprecated_api, 0))
		restore_environments(vm, run->call);
	vm->run = NULL;
	script_end_limit(vm);
	lua_sethook(vm->state, NULL, 0, 0);
	if (run->id != 0)
		script_library_leave_run(vm->server->scripts, run);
	if (vm->memory > big_heap(vm->server))
		script_protect_call(vm, collect, NULL);
}

/* Whatever ended the run: what the caller is told. */
static int
conclude(struct command_context *c, const struct script_run *run, bool is_protected, size_t mark)
{
	if (is_protected && c->reply->failed)
		return SETT_NO_MEMORY;
	if (run->status == SETT_OK && is_protected)
		return SETT_OK;
	if (run->status == SCRIPT_KILLED && is_protected) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
				"Lua script killed by user with SCRIPT KILL.");
		c->failed = true;
		return OUTCOME_FAILED;
	}
	context_truncate_reply(c, mark);
	switch (run->status) {
	case SETT_OK:
		resp_error_format(c->reply, "ERR Error running script %s, not enough memory",
				  run->call->name);
		return SETT_OK;
	case SCRIPT_KILLED:
		return context_error(c, "ERR Script killed by user with SCRIPT KILL...");
	case SCRIPT_GIVEN_UP:
		return context_give_up(c);
	default:
		return run->status;
	}
}

int
script_run(struct command_context *c, struct script_vm *vm, const struct script_call *call)
{
	int status = check_flags(c, call);
	if (status != SETT_OK)
		return status;
	bool only_reads = call->read_only ||
		((call->flags & SCRIPT_SAYS_NOTHING) == 0 && (call->flags & SCRIPT_NO_WRITES) != 0);
	if (!only_reads && context_is_paused(c, false))
		return OUTCOME_PAUSED;
	struct script_run run = {.context = c,
				 .call = call,
				 .argc = c->argc,
				 .argv = c->argv,
				 .reply = c->reply,
				 .protocol = 2,
				 .slot = call->key_count > 0 ? hash_slot(call->keys[0]) : HASH_SLOT_NONE,
				 .read_only = only_reads,
				 .refuses_oom = refuses_oom(c, call),
				 .started_ns = clock_monotonic_ns(c->server->clock)};
	struct output_stream *streams = c->streams;
	unsigned db = c->db;
	int protocol = c->protocol;
	bool in_multi = c->in_multi;
	size_t mark = c->reply->size;
	assert(vm->run == NULL);
	propagate_nothing(c); /* the commands that it calls are told of */
	vm->run = &run;
	script_limit_memory(vm);
	srand48_r((long)random_next(&vm->seeds), &vm->random);
	script_json_reset(vm->state);
	lua_sethook(vm->state, script_count_hook, LUA_MASKCOUNT, SCRIPT_HOOK_COUNT);
	c->streams = NULL;
	c->in_script = true;
	c->in_multi = true; /* nothing waits, and a lack of memory ends all of it */
	c->reply = &vm->reply;
	c->protocol = run.protocol;
	bool is_protected = script_protect_call(vm, run_body, vm);
	context_truncate_reply(c, 0);
	c->reply = run.reply;
	c->in_script = false;
	c->in_multi = in_multi;
	c->streams = streams;
	c->db = db;
	c->protocol = c->reply->protocol = protocol;
	clean_up(vm, &run);
	if (__builtin_expect(c->script_has_read, 0) && run.status == SETT_OK)
		run.status = observers_note_script(c, call->keys, call->key_count);
	return conclude(c, &run, is_protected, mark);
}
