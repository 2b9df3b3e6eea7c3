/* What changes, as it is committed: every change of a key that begins with one of some prefixes, in commit order.
 *
 *     sett_subscribe(engine, &options, &subscription, &since);
 *     ... read what is there in a transaction that begins now; its snapshot is at or past `since` ...
 *     while (sett_subscription_next(subscription, timeout_ns, &change) == SETT_OK)
 *             ... of changes with a timestamp past that snapshot make use ...
 *
 * A change is handed over once its commit is visible. It may not be durable yet: who tells the world waits for the frontier
 * that he promises (sett_engine_written, sett_engine_durable) to reach its timestamp.
 *
 * A commit copies what it changes to each subscription that wants it, under the commit lock; without subscriptions it costs a
 * comparison. So with one, others wait for as long as a commit of very many writes takes to be copied, or, where no prefix
 * matches, to be looked through. One that is behind costs a comparison again. What waits to be taken has a bound: who falls behind it has missed something, is told so, and begins anew. */
#ifndef SETT_STORAGE_SUBSCRIPTION_H
#define SETT_STORAGE_SUBSCRIPTION_H

#include "storage/engine.h"

struct sett_subscription;

struct sett_subscription_options {
	const struct bytes *prefixes; /* copied; none: all keys */
	size_t count;
	bool without_bodies;
	size_t limit; /* 16 MiB: bytes that may wait to be taken; beside them as much again may be with the taker */
};

enum sett_change_kind {
	SETT_CHANGE_PUT,
	SETT_CHANGE_DELETE,
	SETT_CHANGE_DROP, /* sett_txn_drop_prefix, sett_txn_drop_id, sett_engine_abandon_id: all keys that begin with `key`, which
			   * may be less than a prefix that was asked for */
};

/* Slices are valid until the next call on the subscription. */
struct sett_change {
	enum sett_change_kind kind;
	uint64_t timestamp; /* of the commit: all its changes have it. sett_engine_abandon_id has that of
			     * the last before it: heed it whatever the snapshot, as an id comes once */
	struct bytes key;
	/* Of a put: */
	struct bytes head, body;
	/* False: it was not asked for, or takes more than a quarter of the limit, or was put by `body_of` or `written` (struct
	 * sett_put): a transaction that begins now may read it, if it was not changed again. */
	bool has_body;
	uint64_t body_size, expires_at;
};

/* From the next commit on. `ret_since` (may be NULL): of commits up to this one nothing is handed over, of later ones
 * everything. SETT_NO_MEMORY. Any thread. */
int sett_subscribe(struct sett_engine *, const struct sett_subscription_options *,
		   struct sett_subscription **ret, uint64_t *ret_since);
/* The next change, waited for at most so long. SETT_NOT_FOUND: none came; SETT_TOO_LARGE: from here on some are missing (more
 * waited than the limit allows, or memory was short), and none will come: subscribe anew; SETT_ABORTED: sett_subscription_cancel
 * was called. One thread at a time. */
int sett_subscription_next(struct sett_subscription *, uint64_t timeout_ns, struct sett_change *ret);
/* Whoever waits in sett_subscription_next returns, and so does every later call: SETT_ABORTED, once the changes that it had
 * already taken from the engine are handed over. Any thread. */
void sett_subscription_cancel(struct sett_subscription *);
/* Nobody is in sett_subscription_next any more. Before the engine; NULL is fine. */
void sett_subscription_close(struct sett_subscription *);

#endif
