/* Listening sockets that a service manager has opened and passes to the server (systemd's socket activation): the descriptors
 * from 3 on, LISTEN_FDS of them, for the process LISTEN_PID. */
#ifndef SETT_NET_PASSED_SOCKETS_H
#define SETT_NET_PASSED_SOCKETS_H

#include "storage/status.h"

enum { PASSED_SOCKETS_MAX = 32, PASSED_PATH_SIZE = 108 };

struct passed_socket {
	int fd;                           /* non-blocking */
	int port;                         /* of TCP */
	char unix_path[PASSED_PATH_SIZE]; /* of a unix socket; empty: TCP */
};

struct passed_sockets {
	unsigned count;
	struct passed_socket items[PASSED_SOCKETS_MAX];
};

/* Finds them, once. (A child has another number than LISTEN_PID.) Without any, `ret` is empty. SETT_INVALID: one of them is no stream
 * socket that listens, or there are too many. */
int passed_sockets_find(struct passed_sockets *ret, struct sett_error *);

#endif
