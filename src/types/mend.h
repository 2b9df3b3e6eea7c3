/* The second half of a salvage (keyspace/salvage.h): collections of which something may be lost. */
#ifndef SETT_TYPES_MEND_H
#define SETT_TYPES_MEND_H

#include "keyspace/salvage.h"

/* Both halves. Statuses of salvage_copy. What is in the target after a failure is of no use. */
int salvage_all(const struct salvage_options *, struct salvage_figures *ret, struct sett_error *);

#endif
