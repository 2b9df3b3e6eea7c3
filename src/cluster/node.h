/* This server as the one node of a cluster, which owns all slots (`cluster-enabled yes`). */
#ifndef SETT_CLUSTER_NODE_H
#define SETT_CLUSTER_NODE_H

#include "config/config.h"
#include "storage/status.h"

enum { CLUSTER_ID_SIZE = 40 };

struct cluster_node {
	char id[CLUSTER_ID_SIZE + 1];
};

/* Its name, from `cluster-config-file` in the data directory; where there is none yet, one is made with a new name. Of a file
 * that a cluster of Redis has left, the name of this node counts. SETT_IO, SETT_CORRUPT, SETT_NO_MEMORY. */
int cluster_node_open(struct cluster_node *, const struct config *, struct sett_error *);

#endif
