/* What the files of this room share, from the ground up: convert.c, sandbox.c, vm.c, compile.c, call.c, api.c, run.c. */
#ifndef SETT_SCRIPT_PRIVATE_H
#define SETT_SCRIPT_PRIVATE_H

#include <lauxlib.h>
#include <lua.h>

#include "script/functions.h"
#include "script/script.h"
#include "storage/base/random.h"

enum {
	SCRIPT_HOOK_COUNT = 1000, /* Lua's instructions between two looks at the clock */
	/* Why a run is given up, beside statuses and outcomes. */
	SCRIPT_KILLED = 100,
	SCRIPT_GIVEN_UP = 101,
};

struct script_notes;
struct function_load;

enum {
	SCRIPT_MEMORY_PIECE = 1 << 20
}; /* what a run has from the start, and takes at once of what all share */

/* The present run. On the stack of script_run. */
struct script_run {
	struct command_context *context;
	const struct script_call *call;
	size_t argc; /* of its command */
	const struct bytes *argv;
	struct resp_writer *reply; /* of the script */
	bool read_only;
	bool refuses_oom; /* commands that take memory or space, until one has written (server_refuses) */
	int slot;         /* of a cluster's node: of the keys so far, HASH_SLOT_NONE */
	int protocol;     /* redis.setresp: of the replies of the commands that it calls */
	int status;       /* not SETT_OK: it is given up, and no more commands run */
	uint64_t started_ns;
	unsigned calls;             /* of redis.call */
	bool hides;                 /* redis.set_repl: replicas are not told of what it calls */
	struct script_notes *notes; /* call.c; NULL: no command was called yet */
	/* Of the library, under its lock: those that have run for long. */
	struct script_run *next;
	uint64_t id;      /* 0: not among them */
	bool has_written; /* atomic (relaxed): SCRIPT KILL reads it */
	bool is_killed;   /* atomic (relaxed): set by SCRIPT KILL */
};

struct script_vm {
	lua_State *state;
	struct server *server;
	size_t memory;                   /* atomic (relaxed): taken by the interpreter */
	size_t memory_limit;             /* 0: none */
	size_t memory_most;              /* it may be raised to this, while a script runs */
	size_t memory_shared;            /* of what all scripts share, this much has been taken for that */
	bool is_short;                   /* ... and it was refused more */
	uint64_t generation;             /* of the library, when the scripts below were compiled */
	struct compiled_script *scripts; /* by the hash of their names: open addressing */
	size_t script_count, script_slots;
	int error_handler; /* reference in the registry */
	int globals;       /* likewise: the table behind the read-only one */
	int environment;   /* likewise: the read-only one */
	/* function_load.c, functions.c */
	struct function_set functions;
	size_t function_bytes;      /* atomic (relaxed): that its libraries take, beside `memory` */
	struct function_load *load; /* the present one, or NULL */
	bool has_function_globals;  /* then these are references in the registry: */
	int function_globals,
		load_globals; /* the tables behind the globals of functions, when they run and when
					       they are loaded */
	int function_environment, function_metatable; /* the read-only table before them, and its metatable */
	struct script_run *run;                       /* the present one, or NULL */
	struct resp_writer reply;                     /* of the commands that it calls */
	struct random seeds; /* of the next line, for each run: what a script makes of it is forgotten */
	struct drand48_data random;
	struct script_vm *next, *previous; /* of the library, under its lock */
};

/* The interpreter that a state belongs to. */
static inline struct script_vm *
script_vm_of_state(lua_State *L)
{
	void *vm;
	lua_getallocf(L, &vm);
	return vm;
}

/* ---- library.c ---- */
struct script_text {
	unsigned references; /* under the library's lock */
	char sha[SHA1_HEX_SIZE + 1];
	struct script_text *next;  /* in its bucket */
	struct script_text *newer; /* the one that was added after it */
	struct bytes text;         /* behind the struct */
};
/* A reference; NULL: there is no such script. */
struct script_text *script_library_find(struct script_library *, const char sha[SHA1_HEX_SIZE + 1]);
void script_text_release(struct script_library *, struct script_text *);
/* Changes with each flush. */
uint64_t script_library_generation(const struct script_library *);
void script_library_enter_vm(struct script_library *, struct script_vm *);
void script_library_leave_vm(struct script_library *, struct script_vm *);
void script_library_enter_run(struct script_library *, struct script_run *);
void script_library_leave_run(struct script_library *, struct script_run *);
/* What all scripts that run at once share: twice what one may take, beside a first piece that each has. False: not so much is
 * left. Any thread. */
bool script_library_take_memory(struct script_library *, size_t);
void script_library_return_memory(struct script_library *, size_t);

/* ---- vm.c ---- */
/* Frees it: the listener script_thread_ends. */
void script_vm_free(struct script_vm *);
/* Where memory may run out: calls `body` with `argument` as its only one, like lua_cpcall. What it leaves on the stack is
 * gone. False: out of memory. */
bool script_protect_call(struct script_vm *, lua_CFunction body, void *argument);

/* ---- sandbox.c ---- */
/* Fills a new state: Lua's libraries, those of Redis, what must not be there taken away. In a protected call. */
void script_sandbox_fill(lua_State *);
/* Replaces the table on the top of the stack by one that reads it and can't be changed. */
void script_make_read_only(lua_State *);
/* Loads a text as a function named `chunk`. As luaL_loadbuffer, but compiled code is refused. */
int script_load(lua_State *, struct bytes text, const char *chunk);

/* ---- convert.c ---- */
/* Pushes the reply at `data`, in RESP, as a Lua value; where it ends. In a protected call. */
const uint8_t *script_push_reply(lua_State *, const uint8_t *data);
/* Appends the value on the top of the stack as a reply, and pops it. `protocol` is the script's. In a protected call. */
void script_append_value(lua_State *, struct resp_writer *, int protocol);
/* Pushes {err = text}, in Redis' way: a text with a leading '-' has a code of its own. */
void script_push_error(lua_State *, struct bytes text);
void script_push_error_text(lua_State *, const char *text);

/* ---- functions.c ---- */
void functions_free(struct script_vm *);

/* ---- call.c ---- */
int script_call_raising(lua_State *);   /* redis.call */
int script_call_returning(lua_State *); /* redis.pcall */
/* The arguments on the stack as those of a command, in the context's arena. False: an error is on the stack. */
bool script_take_arguments(lua_State *, struct script_run *, size_t *ret_argc, struct bytes **ret_argv);

/* ---- declared.c ---- */
/* The listener declared_flags. */
int script_declared_flags(struct command_context *, const struct command *, const struct bytes *argv,
			  uint32_t *ret);

/* ---- api.c ---- */
/* Pushes the table `redis`. */
void script_push_api(lua_State *);
int script_random(lua_State *);
int script_random_seed(lua_State *);

/* ---- run.c ---- */
/* What one run may take; 0: no limit. */
size_t script_run_memory(const struct server *);
/* Around what a client's text does in the interpreter: it may take so much, of what all scripts share where it takes more
 * than a piece. */
void script_limit_memory(struct script_vm *);
void script_end_limit(struct script_vm *);
/* Gives the run up: it ends, whatever it catches. Does not return. */
int script_give_up(lua_State *, struct script_run *, int status) __attribute__((noreturn));
/* Looks at the clock, at SCRIPT KILL and at the client; gives the run up if need be. */
void script_look_around(lua_State *, struct script_run *);
void script_count_hook(lua_State *, lua_Debug *);

#endif
