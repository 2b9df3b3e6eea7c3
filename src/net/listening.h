/* Where the server listens, also when CONFIG SET changes `port` or `bind` while it runs. The unix socket stays. */
#ifndef SETT_NET_LISTENING_H
#define SETT_NET_LISTENING_H

#include "net/listener.h"
#include "storage/base/thread.h"

struct net;

struct listening {
	struct listeners *unix_socket;
	struct listeners *watched; /* of TCP: the accepting reactor's */
	struct mutex mutex;
	struct listeners
		*newest; /* under the mutex: as the configuration says; `watched` or what is to replace it */
};

/* Opens what the configuration names. The failure is logged. For its changes see net_allows_listening. */
int listening_open(struct net *, struct sett_error *);
/* NULL members are fine. */
void listening_close(struct net *);

/* ---- the accepting reactor's thread ---- */
/* SETT_IO. */
int listening_watch(struct net *, struct loop *);
void listening_unwatch(struct net *, struct loop *);
/* Takes over what another thread has opened. */
void listening_follow(struct net *, struct loop *);

#endif
