/* The port for programs that collect figures (metrics-port): INFO's figures in OpenMetrics' form over HTTP.
 *
 * A thread of its own answers one request at a time, so a collector never waits for commands, nor commands for it. Nobody logs
 * in there: the figures are for whoever reaches the port. Protected mode holds for it, too. */
#ifndef SETT_METRICS_H
#define SETT_METRICS_H

#include "storage/status.h"
#include "txn/server.h"

struct metrics;

/* Opens the port at the addresses of `bind`, and serves it. NULL if metrics-port is 0. The server's rooms are there, and stay until
 * metrics_stop. SETT_IO, SETT_INVALID, SETT_NO_MEMORY. */
int metrics_start(struct server *, struct metrics **ret, struct sett_error *);
/* NULL is fine. */
void metrics_stop(struct metrics *);
/* How many file descriptors it takes at most, beside the sockets that listen (net_descriptors counts those of all ports). */
unsigned metrics_descriptors(const struct config *);

#endif
