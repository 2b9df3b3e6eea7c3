/* What the files of set commands share. */
#ifndef SETT_CMD_SETS_H
#define SETT_CMD_SETS_H

#include "cmd/hashes.h"
#include "types/set.h"

struct set_limits set_limits_of(const struct command_context *);

#endif
