/* Replies that are needed whole: scripts make values of them. */
#ifndef SETT_TXN_REPLY_COLLECT_H
#define SETT_TXN_REPLY_COLLECT_H

#include "txn/command.h"

/* Puts the bytes of all streams of the reply where they belong, and frees the streams. The reply has no other bytes
 * than those of the command that just ran. Waits for the disk: in the pool's long lane alone, elsewhere OUTCOME_LONG.
 * SETT_NO_MEMORY: also if the reply is larger than what a transaction may take. Other statuses of reading. */
int context_collect_streams(struct command_context *);

#endif
