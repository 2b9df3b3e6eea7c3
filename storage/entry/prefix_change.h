/* What a commit says of whole prefixes (I22). In the log's batches, in generations, in the pending set. */
#ifndef SETT_PREFIX_CHANGE_H
#define SETT_PREFIX_CHANGE_H

#include "storage/base/bytes.h"

enum prefix_change_kind { /* as in the log */
			  PREFIX_DROPPED = 0,
			  ID_DROPPED = 1,
			  ID_PENDING = 2,
			  ID_PUBLISHED = 3,
			  ID_CHECKED = 4, /* must be pending; in transactions alone */
};

struct prefix_change {
	enum prefix_change_kind kind;
	struct bytes prefix; /* 1 to SETT_MAX_PREFIX_SIZE bytes; an id's is its stem and 8 bytes */
	uint64_t bytes;      /* ID_DROPPED: about what it held; 0 is not known */
};

static inline bool
prefix_change_drops(const struct prefix_change *c)
{
	return c->kind == PREFIX_DROPPED || c->kind == ID_DROPPED;
}

#endif
