/* What is refused before it runs: unknown commands, wrong arity, no password, what MULTI forbids. */
#ifndef SETT_TXN_ADMISSION_H
#define SETT_TXN_ADMISSION_H

#include "txn/command.h"

/* Whether the context's command may run; if not, the error reply is given, a MULTI block is spoiled, and the
 * refusal is counted. `container` as command_find returns it. */
bool admission_check(struct command_context *, const struct command *container);
/* Refuses the command for another reason, which begins with its code. */
void admission_refuse(struct command_context *, const char *text);

#endif
