/* What a client wants to be sure of when it reads a reply. */
#ifndef SETT_NET_DURABILITY_H
#define SETT_NET_DURABILITY_H

#include "storage/base/bytes.h"

/* Where a commit must have got to before a reply that depends on it may leave. */
enum durability {
	DURABILITY_DEFAULT, /* where `appendfsync` says */
	DURABILITY_WRITTEN, /* in the log's file */
	DURABILITY_SYNC,    /* on the disk */
	DURABILITIES
};

extern const char *const durability_names[DURABILITIES];
/* The one with this name, in any case. False: there is none. */
bool durability_find(struct bytes name, enum durability *ret);

#endif
