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
/* The same in place of `old`, whose sockets nobody can connect to any more if it succeeds; those of addresses that stay are
 * shared. `old` is to be closed then. If it fails, all is as before. */
int listeners_replace_tcp(const struct listener_options *, int port, const char *bind, struct listeners *old,
			  struct listeners **ret);
/* Whether that would succeed. `old` goes on listening. Likewise. */
int listeners_try_tcp(const struct listener_options *, int port, const char *bind,
		      const struct listeners *old);
/* Opens the unix socket that the configuration names, if it names one. Likewise. */
int listeners_open_unix(const struct listener_options *, struct listeners **ret);
/* None yet: to be filled by the next. `port` and `bind` are what the configuration says. SETT_NO_MEMORY. */
int listeners_make(const struct listener_options *, int port, const char *bind, struct listeners **ret);
/* A socket that listens already, and is taken over; `unix_path`: it is bound to that (NULL: TCP). SETT_INVALID: there are too
 * many. SETT_NO_MEMORY. */
int listeners_add(struct listeners *, int fd, const char *unix_path);

/* How many sockets these are, and of TCP the port and the addresses that they were opened with. */
unsigned listeners_size(const struct listeners *);
int listeners_port(const struct listeners *);
const char *listeners_bind(const struct listeners *);
/* Whether listeners_add was called. */
bool listeners_were_passed(const struct listeners *);
/* How many sockets the configuration asks for at most, that of metrics-port included. */
unsigned listeners_count(const struct config *);

/* Accepts from now on, on the loop's thread. SETT_IO. */
int listeners_watch(struct listeners *, struct loop *);
/* Accepts no more; the sockets stay open. The loop's thread. */
void listeners_unwatch(struct listeners *, struct loop *);
/* Closes the sockets and removes the file of a unix socket that was opened here. NULL is fine. */
void listeners_close(struct listeners *);

#endif
