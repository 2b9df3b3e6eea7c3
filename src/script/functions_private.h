/* What functions.c takes of function_load.c, and vm.c of functions.c. */
#ifndef SETT_SCRIPT_FUNCTIONS_PRIVATE_H
#define SETT_SCRIPT_FUNCTIONS_PRIVATE_H

#include "script/functions.h"
#include "script/private.h"

/* Runs the text of FUNCTION LOAD, within its time. OUTCOME_FAILED: it was answered why not. SETT_NO_MEMORY. */
int function_library_load(struct command_context *, struct script_vm *, struct bytes text,
			  struct function_library **ret);
/* Runs the text of a library that is in the keyspace. If it can't be loaded here, which the log says, it has no
 * functions. SETT_NO_MEMORY; OUTCOME_LONG: not on a reactor. */
int function_library_load_again(struct command_context *, struct script_vm *, struct bytes name,
				struct bytes text, struct function_library **ret);
/* NULL is fine. */
void function_library_free(struct script_vm *, struct function_library *);

#endif
