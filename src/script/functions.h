/* Functions: Lua functions that a library registers while it is loaded, and that FCALL runs by name. The texts of the
 * libraries are in the keyspace (keyspace/libraries.h); each interpreter has them compiled, and compiles what is new
 * when it is asked for functions the next time (functions_follow). So who loads, deletes or calls needs no lock and sees
 * what his transaction sees.
 *
 * Invariants
 * - A library is loaded in each interpreter anew, so what loading does must be the same each time: it sees
 *   redis.register_function, redis.log and a few constants, and no other library.
 * - What a library keeps in its local variables between calls is an interpreter's own, and gone when that loads it anew:
 *   it is no place for data. */
#ifndef SETT_SCRIPT_FUNCTIONS_H
#define SETT_SCRIPT_FUNCTIONS_H

#include "script/script.h"

struct function_library;

struct script_function {
	char *name;
	struct bytes description; /* data is NULL: none was given */
	unsigned flags;           /* enum script_flag */
	int reference;            /* in the registry of the interpreter */
	bool is_alone;            /* as of struct compiled_script */
	const struct function_library *library;
};

struct function_library {
	char *name;
	uint64_t version;                  /* of struct library; UINT64_MAX: not committed */
	size_t bytes;                      /* that it takes, once it is loaded */
	struct script_function *functions; /* as they were registered */
	size_t function_count, function_capacity;
	bool is_kept; /* functions_follow's */
};

/* The libraries of an interpreter, by name, and their functions, by name in any case. */
struct function_set {
	bool is_valid;    /* it is what the version says */
	uint64_t version; /* of struct libraries_state */
	struct function_library **libraries;
	size_t library_count;
	struct script_function **functions;
	size_t function_count;
};

/* Those that the transaction sees; valid until the next call. SETT_NO_MEMORY, OUTCOME_LONG, statuses of reads. */
int functions_follow(struct command_context *, struct script_vm *, const struct function_set **ret);
/* In any case of letters. NULL: there is none. */
struct script_function *functions_find(const struct function_set *, struct bytes name);

/* New libraries, on their way from texts into the keyspace. All zero is empty. */
struct function_batch {
	struct function_library **libraries;
	struct bytes *texts;
	size_t count, capacity;
};
/* Loads a text into the batch, and logs what it says. OUTCOME_FAILED: it was answered why not; for one, that the batch has
 * the library, or a function of that name. The text is borrowed. */
int function_batch_add(struct command_context *, struct script_vm *, struct function_batch *,
		       struct bytes text);
/* Puts all into the keyspace, beside what is there. Libraries of the same names are replaced, if `replace`; else that, or
 * a function that another library has, is answered with an error: OUTCOME_FAILED. `quoted`: how the error names the
 * library. */
int function_batch_put(struct command_context *, struct script_vm *, const struct function_batch *,
		       bool replace, bool quoted);
void function_batch_free(struct script_vm *, struct function_batch *);

#endif
