/* What the files of net share: the room's own state. Not for other rooms. */
#ifndef SETT_NET_NET_PRIVATE_H
#define SETT_NET_NET_PRIVATE_H

#include "loop/list.h"
#include "net/connection.h"
#include "net/listening.h"
#include "net/net.h"
#include "net/pool.h"
#include "net/reactor.h"
#include "net/registry.h"
#include "net/tls.h"
#include "storage/base/thread.h"

struct config;

/* Lock order: the registry's mutex, then the configuration's, then a pool's. Handlers run without any. */
struct net {
	/* set at creation */
	struct config *config;
	struct sett_engine *engine;
	struct log_sink sink;
	struct acl_users *users; /* NULL: clients are nobody in particular */
	struct request_handler handler;
	const struct sett_clock *clock;
	struct pool *pool, *handshake_pool;
	int shutdown_fd; /* eventfd */
	unsigned reactor_count;
	struct reactor **reactors;
	struct tls tls;
	struct listening listening; /* the first reactor's thread accepts */

	bool stopping;            /* atomic: nothing more is executed */
	bool cron_is_paused;      /* atomic: net_pause_cron */
	uint64_t asleep_until_ns; /* atomic: net_fall_asleep; monotonic, 0: awake */
	uint64_t accepted; /* atomic: connections alive, from accept to close: what maxclients bounds */

	struct registry registry;

	struct mutex eviction_mutex; /* a reactor chooses a client to close: eviction.c */
	struct mutex stats_mutex;
	struct net_stats stats_base; /* under stats_mutex: what the counters were at the last reset */

	/* start of threads */
	struct mutex start_mutex;
	struct condition start_condition;
	unsigned threads_ready; /* under start_mutex, as is the next one */
	int start_status;
};

#endif
