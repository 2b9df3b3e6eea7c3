/* Deleting all that begins with a prefix, while others read and write. Who can name its data by prefixes that are used once drops
 * them in one step, whatever their size: sett_txn_drop_prefix, sett_txn_drop_id (storage/engine.h). This is for prefixes that
 * are used again: it deletes each entry, some in a commit, and so takes time for each. */
#ifndef SETT_STORAGE_DROP_H
#define SETT_STORAGE_DROP_H

#include "storage/engine.h"

/* Deletes every entry that begins with `prefix` (empty: all there are) and was committed before the call. What others write
 * meanwhile stays, also under a key that had been found before. Not atomic: others may see a part of it. Statuses of reads and
 * commits: what was deleted until then stays so. `ret_deleted` (may be NULL) is how many, in any case. Values are given back as
 * flush and compaction follow (sett_engine_compact does that at once). Any thread; may wait for the disk. */
int sett_drop_prefix(struct sett_engine *, struct bytes prefix, uint64_t *ret_deleted, struct sett_error *);

#endif
