/* Listening sockets, TCP and unix, and accepting. Does not know connections. */
#ifndef SETT_NET_LISTENER_H
#define SETT_NET_LISTENER_H

#include <stdbool.h>

#include "storage/base/log_sink.h"
#include "storage/status.h"

struct config;
struct sockaddr;
struct loop;
struct listeners;

/* An accepted socket. */
struct arrival {
	int fd;                      /* non-blocking */
	const struct sockaddr *peer; /* valid during the call */
	const char *unix_path;       /* of the unix socket that it came through; NULL: TCP */
};

/* Opens what the configuration names. Failures are logged as Redis words them. Accepted sockets are given to `take`,
 * which owns the descriptor from then on. SETT_IO, SETT_NO_MEMORY. */
int listeners_open(const struct config *, struct log_sink, void (*take)(void *arg, const struct arrival *),
		   void *arg, struct listeners **ret, struct sett_error *);
/* How many sockets that is at most. */
unsigned listeners_count(const struct config *);
/* Accepts from now on, on the loop's thread. SETT_IO. */
int listeners_watch(struct listeners *, struct loop *);
/* Accepts no more; the sockets stay open. The loop's thread. */
void listeners_unwatch(struct listeners *, struct loop *);
/* Closes the sockets and removes the unix socket's file. NULL is fine. */
void listeners_close(struct listeners *);

#endif
