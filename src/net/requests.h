/* The run phase of a reactor's tick. On the reactor's thread. */
#ifndef SETT_NET_REQUESTS_H
#define SETT_NET_REQUESTS_H

struct reactor;

/* Reads all sockets that were reported, then runs all requests that can run. */
void requests_run(struct reactor *);

#endif
