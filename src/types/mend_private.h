/* What the files of mending share. */
#ifndef SETT_TYPES_MEND_PRIVATE_H
#define SETT_TYPES_MEND_PRIVATE_H

#include "keyspace/build.h"
#include "types/limits.h"
#include "types/mend.h"

/* A key whose collection is built anew. Of what it was `old` says where its elements are. */
struct rebuild {
	struct salvage_run *run;
	struct key *key;       /* to be stored: it is deleted, and has its deadline in `new_deadline` */
	const struct key *old; /* as it was opened */
	uint64_t had, has;
	bool is_unsorted;
};
int rebuild_members(struct rebuild *);
int rebuild_list(struct rebuild *);
int rebuild_stream(struct rebuild *);
/* The entries of the old object whose keys go on with `kind`, as they were before this transaction. */
int rebuild_open(const struct rebuild *, unsigned kind, struct sett_iterator **ret);

#endif
