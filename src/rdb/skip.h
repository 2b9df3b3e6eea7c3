/* Values of RDB files passed over: what they hold is not looked at, only where they end. */
#ifndef SETT_RDB_SKIP_H
#define SETT_RDB_SKIP_H

#include "rdb/input.h"

/* A value whose type was read before. SETT_OK or RDB_MALFORMED, also for a type that is not there. */
int rdb_skip_value(struct rdb_input *, uint8_t type);
/* What a module has written, after the number that names the module. */
int rdb_skip_module_data(struct rdb_input *);

#endif
