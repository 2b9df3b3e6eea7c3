/* Tells the command statistics and the slow log of every command that ran or was refused. */
#ifndef SETT_INFO_RECORDER_H
#define SETT_INFO_RECORDER_H

#include "txn/server.h"

/* Enters itself among the server's listeners, whose command_stats and slowlog it uses from then on. */
void recorder_listen(struct server *);

#endif
