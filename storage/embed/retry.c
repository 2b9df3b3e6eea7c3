/* See retry.h. */
#include "retry.h"

enum { PATIENCE = 3 }; /* conflicts before others are kept off */

int
retry_conflicts(struct sett_txn *txn, int (*once)(void *arg), void *arg)
{
	int r;
	for (unsigned losses = 0; (r = once(arg)) == SETT_CONFLICT;)
		if (++losses >= PATIENCE)
			sett_txn_claim(txn);
	if (r != SETT_OK)
		sett_txn_release_claim(txn); /* a read or a put may have failed: no commit has ended it */
	return r;
}
