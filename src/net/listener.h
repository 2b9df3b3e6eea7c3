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
	bool speaks_tls;
};

struct listener_options {
	const struct config *config;
	struct log_sink sink;
	bool speaks_tls; /* what comes in by TCP does */
	/* Gets accepted sockets, and owns the descriptor from then on. */
	void (*take)(void *arg, const struct arrival *);
	void *arg;
};

/* Opens the addresses of a value of `bind` (NULL: the default) on a port; none at all on port 0. Failures are logged as
 * Redis words them. SETT_IO, SETT_INVALID, SETT_NO_MEMORY. */
int listeners_open_tcp(const struct listener_options *, int port, const char *bind, struct listeners **ret);
/* Whether those addresses can be listened on, on some port. Likewise. */
int listeners_try(const struct listener_options *, const char *bind);
/* Opens the unix socket that the configuration names, if it names one. Likewise. */
int listeners_open_unix(const struct listener_options *, struct listeners **ret);
/* How many sockets these are, and of TCP the port and the addresses that they were opened with. */
unsigned listeners_size(const struct listeners *);
int listeners_port(const struct listeners *);
const char *listeners_bind(const struct listeners *);
/* How many sockets that is at most. */
unsigned listeners_count(const struct config *);
/* Accepts from now on, on the loop's thread. SETT_IO. */
int listeners_watch(struct listeners *, struct loop *);
/* Accepts no more; the sockets stay open. The loop's thread. */
void listeners_unwatch(struct listeners *, struct loop *);
/* Nobody can connect any more. Any thread; whoever watches them does so until it is told. */
void listeners_shut_down(struct listeners *);
/* Closes the sockets and removes the unix socket's file. NULL is fine. */
void listeners_close(struct listeners *);

#endif
