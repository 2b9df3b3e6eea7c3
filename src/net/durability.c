/* The names of DURABILITY's choices. */
#include "net/durability.h"

#include "table/command_table.h"

const char *const durability_names[DURABILITIES] = {
	[DURABILITY_DEFAULT] = "default", [DURABILITY_WRITTEN] = "written", [DURABILITY_SYNC] = "sync"};

bool
durability_find(struct bytes name, enum durability *ret)
{
	for (int i = 0; i < DURABILITIES; i++)
		if (argument_is(name, durability_names[i])) {
			*ret = (enum durability)i;
			return true;
		}
	return false;
}
