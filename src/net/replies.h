/* Replies of a reactor: the log write that they wait for, the frontier up to which they may leave, and sending.
 * On the reactor's thread, except where said.
 *
 * Invariants:
 * - (I1) A reply leaves only when its timestamp is written (`everysec`, `no`) or durable (`always`), or what its client
 *   has asked for instead (DURABILITY): only replies_send calls connection_send, after output_release with a frontier read from the engine.
 * - No wake-up for held replies is lost. The reactor sets `holding`, fences, reads the frontier again; the engine
 *   moves the frontier, replies_on_progress fences and reads `holding`. One of the two sees the other.
 *
 * A write that fails is retried with every tick (the cron's at the latest); its replies stay held. Once the engine
 * says that its log has failed for good, connections that hold replies are closed: those replies can never be given,
 * and whether their commits survive is unknown. */
#ifndef SETT_NET_REPLIES_H
#define SETT_NET_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"

struct reactor;
struct connection;
struct frontier;

/* The connection's next request has been answered: its reply lies in the output, up to `reply_end` bytes of the
 * writer, from stream position `start` on; it depends on timestamp `release`. Closes the connection if there was no
 * memory for the reply. */
void replies_finish_request(struct reactor *, struct connection *, uint64_t start, size_t reply_end,
			    uint64_t release);
/* The same for each of several requests that shared a transaction (they have neither large values nor a durability of their
 * own): replies_add_shared for one after the other, then replies_finish_shared once for `count` of one connection. */
void replies_add_shared(struct reactor *, struct connection *, size_t reply_end, uint64_t release);
void replies_finish_shared(struct reactor *, struct connection *, size_t count);
/* client_push: see net.h. */
void replies_push(struct reactor *, struct connection *, struct bytes message, uint64_t timestamp,
		  bool behind_reply);
/* What was held back to come behind a reply follows now. May close the connection. */
void replies_add_pushes(struct reactor *, struct connection *);
/* A frontier that was read for the present sync policy. */
const struct frontier *replies_frontier(struct reactor *);
/* Writes all commits that replies wait for to the log. */
void replies_write_commits(struct reactor *);
/* Under `always`: starts a sync for what is written and was not synced, whoever wrote it; else for what clients with
 * DURABILITY SYNC wait for. If connections had input in
 * this tick (`busy`), the next tick will probably commit more, so the sync waits for that, within a bound. */
void replies_start_sync(struct reactor *, bool busy);
/* Sends what may leave, and makes sure that the reactor is woken for the rest. */
void replies_send(struct reactor *);
/* The written or durable frontier moved: wakes the reactor if it holds replies. Any thread. */
void replies_on_progress(struct reactor *);
/* If the log has failed: closes the connections whose replies wait for it. */
void replies_close_held(struct reactor *);

#endif
