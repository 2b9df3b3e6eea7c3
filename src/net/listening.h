/* Where the server listens, also when CONFIG SET changes `port`, `tls-port` or `bind` while it runs. The unix socket stays. */
#ifndef SETT_NET_LISTENING_H
#define SETT_NET_LISTENING_H

#include "net/listener.h"
#include "storage/base/thread.h"

struct net;
struct passed_sockets;

/* The sockets of one port. */
struct door {
	struct listeners *watched; /* the accepting reactor's */
	struct listeners
		*newest; /* under the mutex: as the configuration says; `watched` or what is to replace it */
};

enum { DOOR_PLAIN, DOOR_TLS, DOORS };

struct listening {
	struct listeners *unix_socket;
	struct mutex mutex;
	struct door doors[DOORS];
};

/* Opens what the configuration names, and takes over what was passed. The failure is logged. */
int listening_open(struct net *, const struct passed_sockets *, struct sett_error *);
/* NULL members are fine. */
void listening_close(struct net *);

/* For config_guard and config_listen on `port`, `tls-port` and `bind`; `net` is the net. Any thread. */
bool listening_allows(void *net, const struct config *planned, char *ret_reason, size_t size);
void listening_change(void *net);

/* ---- the accepting reactor's thread ---- */
/* SETT_IO. */
int listening_watch(struct net *, struct loop *);
void listening_unwatch(struct net *, struct loop *);
/* Takes over what another thread has opened. */
void listening_follow(struct net *, struct loop *);

#endif
