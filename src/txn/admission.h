/* What is refused before it runs: unknown commands, wrong arity, no password, what MULTI forbids. */
#ifndef SETT_TXN_ADMISSION_H
#define SETT_TXN_ADMISSION_H

#include "txn/command.h"

/* Whether the context's command may run; if not, the error reply is given, a MULTI block is spoiled, and the
 * refusal is counted. `container` as command_find returns it. */
bool admission_check(struct command_context *, const struct command *container);
/* Whether it still may, before another run: the server may have become a replica since, which takes no writes. The error reply
 * is given as above. */
bool admission_check_again(struct command_context *);
/* Refuses the command for another reason, which begins with its code. */
void admission_refuse(struct command_context *, const char *text);
/* Why this server takes no writes of its clients now, as an error with its '-'; NULL: it does. */
const char *admission_objection_to_writes(const struct server *);

/* Of what runs scripts, its own flags say nothing: whether any flags may be refused now, for a reason of the server. */
bool admission_is_narrow(const struct command_context *);
/* Why a request with these flags is refused then, as an error with its '-'; NULL: it is not. */
const char *admission_objection_to_flags(const struct command_context *, uint32_t flags);

/* What a replica refuses, also to scripts: it takes writes of its master alone (replica-read-only), and without a link to
 * that it answers nothing (replica-serve-stale-data no). */
#define ADMISSION_READ_ONLY_TEXT "READONLY You can't write against a read only replica."
#define ADMISSION_STALE_TEXT \
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
bool admission_replica_is_read_only(const struct server *);
bool admission_replica_is_stale(const struct server *);

#endif
