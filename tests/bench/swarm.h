/*
 * Many connections in one thread that send a workload's requests and check every reply.
 *
 * Each connection sends `pipeline` requests in one go and sends again when all their replies have come. The
 * latency of a request is the time from that sending (with a rate: from when it was due) to the moment its
 * reply was received.
 */
#ifndef SETT_BENCH_SWARM_H
#define SETT_BENCH_SWARM_H

#include <stdint.h>

#include "histogram.h"
#include "workload.h"

struct swarm_settings {
	const char *host;   /* an IPv4 address */
	unsigned port;      /* or */
	const char *socket; /* the path of a Unix socket; NULL: TCP */
	unsigned clients;
	unsigned pipeline;
	uint64_t requests; /* stop after so many; 0: by time alone */
	double warm;       /* seconds that are not measured */
	double seconds;    /* measured; unlimited if requests is not 0 */
	double rate;       /* requests a second at most; 0: as fast as replies come */
	int server_pid;    /* whose CPU time and memory to read; 0: none */
};

struct swarm_result {
	uint64_t operations; /* replies within the measured time */
	double seconds;
	double own_cpu;           /* seconds */
	double server_cpu;        /* seconds, of all its threads and ended children; -1 if unknown */
	uint64_t server_memory;   /* most bytes that were resident meanwhile; 0 if unknown */
	uint64_t longest_pause;   /* ns in which no reply came on any connection */
	struct histogram latency; /* ns */
	char error[256];          /* of swarm_run == -1 */
};

/* Runs the load to its end. Returns 0, or -1 with ret_result->error: no connection, a connection that closed,
 * a wrong reply, nothing received for 60 s. */
int swarm_run(const struct swarm_settings *settings, struct workload *workload,
	      struct swarm_result *ret_result);

/* A blocking connection to the address in the settings; -1 with errno. */
int swarm_connect(const struct swarm_settings *settings);

/* Monotonic time in ns. */
uint64_t swarm_now(void);

#endif
