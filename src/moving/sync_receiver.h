/* A whole data set from a master: received into a file of its own, made beside what is served (keyspace/replacement.h), and
 * put in its place in one commit, with the position at which it stands. Until then the old data are there; a sync that is cut
 * off leaves nothing behind.
 *
 * Threads: one, that may wait. */
#ifndef SETT_MOVING_SYNC_RECEIVER_H
#define SETT_MOVING_SYNC_RECEIVER_H

#include "moving/handshake.h"
#include "moving/master_stream.h"

/* For who looks on; atomic (relaxed): figures. */
struct sync_receiver_facts {
	bool is_loading;      /* it is received, and being read */
	uint64_t total_bytes; /* UINT64_MAX: not known */
	uint64_t read_bytes;  /* received */
};

struct sync_receiver {
	struct server *server;
	struct link *link;
	struct feed *feed;
	struct allegiance allegiance;
	int timeout_ms;
	/* Asked every now and then: whether to give up (SETT_ABORTED); and called each time that bytes have come. */
	bool (*should_stop)(void *arg);
	void (*on_bytes)(void *arg);
	void *arg;
	struct sync_receiver_facts *facts;
};

/* Receives a data set behind the answer to PSYNC. SETT_CORRUPT: that is none; SETT_NO_SPACE: there is no room for it twice;
 * statuses of links and files. */
int sync_receiver_receive(struct sync_receiver *, struct sett_error *);
/* Puts what was received in the place of all data. SETT_CORRUPT: it is damaged, and all is as it was; SETT_ABORTED;
 * statuses of commits. */
int sync_receiver_load(struct sync_receiver *, const struct stream_position *, struct sett_error *);
/* Removes the file. Also at a start, for what a killed process has left. */
void sync_receiver_clean(struct server *);

#endif
