/* Entries with a time to live. sett_put.expires_at gives an entry a deadline; the engine itself hides none that is past it, so
 * that its users decide. These agree: who asks sett_txn_is_expired of every record that it reads sees each entry up to its
 * deadline and not after, in every transaction alike, whatever becomes of the clock. */
#ifndef SETT_STORAGE_EXPIRY_H
#define SETT_STORAGE_EXPIRY_H

#include "storage/engine.h"

/* Whether the record, read in this running transaction, is past its deadline: to be taken for absent. The answer counts for the
 * commit: if others have seen the deadline pass meanwhile, it is SETT_CONFLICT. */
bool sett_txn_is_expired(struct sett_txn *, const struct sett_record *);
/* Deletes entries past their deadlines, from where the last call has ended, and reads about `max_bytes` of tables for that.
 * `ret_deleted` (may be NULL) is how many, also on failure. SETT_NOT_FOUND: nothing more is due; statuses of reads and commits:
 * those that are left are found again once compaction has written their tables anew, or the database is opened. May wait for
 * the disk. Any thread, one at a time. To be called now and then, for the space. */
int sett_delete_expired(struct sett_engine *, uint64_t max_bytes, uint64_t *ret_deleted);

#endif
