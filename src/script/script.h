/* Lua scripts. A script is one transaction like any command (txn/command.h): it runs on any reactor, is run again after
 * a conflict or a cold read, and may touch keys that it did not declare.
 *
 * Each thread that runs scripts has an interpreter of its own (script_vm), with the scripts that it has compiled. The
 * library is the server's: the texts of scripts by their SHA-1, and which scripts run right now.
 *
 * Invariants
 * - What a script does to keys happens in the command's transaction: each command that it calls runs through
 *   execution_run, from a savepoint of its own. What else it wants (log lines, statistics) waits for the commit.
 * - An error that ends a script keeps what it wrote before, as in Redis. A run that is given up (conflict, cold read,
 *   kill) keeps nothing.
 * - A script leaves nothing in its interpreter: globals and libraries can't be changed (sandbox.c), settings of libraries
 *   and random numbers begin anew with each run. So it does not matter which thread runs it. */
#ifndef SETT_SCRIPT_SCRIPT_H
#define SETT_SCRIPT_SCRIPT_H

#include "script/sha1.h"
#include "txn/command.h"

struct script_library;
struct script_vm;

/* What a script says of itself in its first line: "#!lua flags=no-writes,allow-oom". */
enum script_flag {
	SCRIPT_NO_WRITES = 1 << 0,
	SCRIPT_ALLOW_OOM = 1 << 1,
	SCRIPT_ALLOW_STALE = 1 << 2,
	SCRIPT_NO_CLUSTER = 1 << 3,
	SCRIPT_ALLOW_CROSS_SLOT_KEYS = 1 << 4,
	SCRIPT_SAYS_NOTHING = 1 << 5, /* no such line: the command that runs it decides */
};
/* The flag of that name; 0 if there is none. */
unsigned script_flag_of(struct bytes name);
/* The name of one flag. */
const char *script_flag_name(enum script_flag);

/* ---- the library: any thread ---- */

/* Enters itself in the server, which it borrows. SETT_NO_MEMORY. */
int script_library_create(struct server *, struct script_library **ret);
/* After all threads that ran scripts have ended. NULL is fine. */
void script_library_destroy(struct script_library *);

/* Keeps the text under its SHA-1; if it is there, nothing happens. What is cached is named by what it is, so it may be
 * kept before anything commits. Texts that came first are forgotten when all take more than an eighth of maxmemory.
 * SETT_NO_MEMORY. */
int script_library_add(struct script_library *, const char sha[SHA1_HEX_SIZE + 1], struct bytes text);
/* `sha` in any case; another length is of no script. */
bool script_library_has(struct script_library *, struct bytes sha);
/* Forgets all texts; threads forget what they have compiled before they run the next script. */
void script_library_flush(struct script_library *);

struct script_stats {
	uint64_t scripts;        /* texts */
	uint64_t script_bytes;   /* that they take */
	uint64_t vm_bytes;       /* of all interpreters, functions included */
	uint64_t function_bytes; /* that libraries of functions take beside */
};
void script_library_stats(struct script_library *, struct script_stats *ret);

/* A script that has run for some milliseconds. */
struct running_script {
	uint64_t id; /* of this run */
	char name[64];
	bool is_eval;
	bool has_written;
	uint64_t duration_ms;
};
/* The one that has run longest; of EVAL or of functions alone, or any. False: there is none. */
enum script_kind { SCRIPT_EVAL, SCRIPT_FUNCTION, SCRIPT_ANY };
bool script_longest_running(struct script_library *, enum script_kind, struct running_script *ret);
/* A copy of the arguments of the command that runs it: in the arena; none, if it has ended meanwhile. SETT_NO_MEMORY. */
int script_running_command(struct script_library *, uint64_t id, struct arena *, size_t *ret_argc,
			   struct bytes **ret_argv);
/* SCRIPT KILL and FUNCTION KILL: answers, and ends at the commit one run after the other that has passed
 * busy-reply-threshold and has not written; with ROLLBACK also one that has: what it wrote is taken back. */
int script_kill(struct command_context *, enum script_kind);

/* ---- running ---- */

/* A compiled script in the interpreter of the thread. */
struct compiled_script {
	char sha[SHA1_HEX_SIZE + 1];
	unsigned flags; /* enum script_flag */
	int function;   /* reference in the registry */
	bool is_alone; /* it has called what shares no transaction with other requests (I16): no batch tries it again */
};

/* The interpreter of the context's thread, made at its first use; NULL: out of memory. */
struct script_vm *script_vm_of(struct command_context *);
/* The script of this text, compiled here if need be, and kept in the library. OUTCOME_FAILED: the error reply was given.
 * SETT_NO_MEMORY. The result is valid until the next call. */
int script_compile(struct command_context *, struct script_vm *, struct bytes text,
		   struct compiled_script **ret);
/* The script of this SHA-1, compiled here if need be. OUTCOME_FAILED: NOSCRIPT was answered. */
int script_find(struct command_context *, struct script_vm *, struct bytes sha, struct compiled_script **ret);

/* One run of a function of the interpreter. */
struct script_call {
	const char *name; /* SHA-1 of a script, name of a function: for error texts and SCRIPT KILL */
	int function;     /* reference in the registry */
	unsigned flags;   /* enum script_flag */
	bool is_eval;     /* keys and arguments are the globals KEYS and ARGV; else the function gets both */
	bool read_only;   /* EVAL_RO and its kin */
	size_t key_count, argument_count;
	const struct bytes *keys, *arguments;
};
/* Runs it, and appends what it returns to the reply. SETT_OK: it answered, with an error perhaps, and what it wrote
 * counts. Other statuses and outcomes as of a command function; OUTCOME_ALONE: it has called a command that can't be part of a
 * batch. */
int script_run(struct command_context *, struct script_vm *, const struct script_call *);

#endif
