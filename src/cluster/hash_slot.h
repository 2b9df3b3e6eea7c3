/* Hash slots, by which clients of a cluster find the node that has a key. */
#ifndef SETT_CLUSTER_HASH_SLOT_H
#define SETT_CLUSTER_HASH_SLOT_H

#include "storage/base/arena.h"
#include "table/command_table.h"

enum {
	HASH_SLOTS = 16384,
	HASH_SLOT_NONE = -1,   /* there is no key */
	HASH_SLOT_SEVERAL = -2 /* keys lie in different ones */
};

/* Of a key: what stands between its first '{' and the next '}', if that is not empty, decides alone. */
int hash_slot(struct bytes key);
/* Of all keys of a command, and of its sharded channels. Arguments that make no sense have none. SETT_NO_MEMORY. */
int hash_slot_of_command(const struct command *, const struct bytes *argv, size_t argc, struct arena *,
			 int *ret);
/* The slot of both. */
int hash_slot_join(int a, int b);

#endif
