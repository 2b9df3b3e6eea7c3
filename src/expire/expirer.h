/* Deletes keys whose deadline has passed.
 *
 * One thread. It knows near deadlines from commits (a bounded heap), expired keys that reads met, and asks
 * the engine to sweep its tables for the rest. Whatever the source, a key is deleted in an ordinary
 * transaction that reads it again. While CLIENT PAUSE holds writes, nothing is deleted. */
#ifndef SETT_EXPIRE_EXPIRER_H
#define SETT_EXPIRE_EXPIRER_H

#include "storage/base/bytes.h"
#include "txn/server.h"

struct expirer;

/* Starts the thread and enters it among the server's listeners, which find it in server->expirer. `server`
 * needs engine, config, keyspace, interest, pause (may be NULL), clock, sink; net may be filled in later.
 * SETT_NO_MEMORY, SETT_IO. */
int expirer_create(struct server *, struct expirer **ret);
/* Stops and joins it. NULL is fine. */
void expirer_destroy(struct expirer *);

/* A commit gave the key a deadline. `is_own`: that of a client of a writable replica. The key is copied. Any thread, short. */
void expirer_note(struct expirer *, unsigned db, struct bytes key, uint64_t deadline_ms, bool is_own);
/* A full sync replaces what this replica's clients wrote. From its commit, or any thread. */
void expirer_forget_own(struct expirer *);
/* A read met the key past its deadline: it is deleted soon, even if active expiry is off. Any thread, short.
 */
void expirer_met(struct expirer *, unsigned db, struct bytes key);
/* config->active_expire changed. Any thread. */
void expirer_kick(struct expirer *);

/* Keys deleted because they expired. */
uint64_t expirer_expired_keys(const struct expirer *);
/* Processor time that its thread took since the last reset, in ns; 0 if the system does not say. */
uint64_t expirer_cpu_ns(const struct expirer *);
void expirer_reset_stats(struct expirer *);

#endif
