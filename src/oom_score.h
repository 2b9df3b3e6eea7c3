/* oom-score-adj: how ready the kernel is to end this process when memory runs out (/proc/self/oom_score_adj). */
#ifndef SETT_OOM_SCORE_H
#define SETT_OOM_SCORE_H

#include "config/config.h"
#include "storage/base/thread.h"

struct oom_score {
	struct config *config;
	struct log_sink sink;
	struct mutex mutex;
	/* under the mutex */
	bool adjusted; /* the server has changed it */
	int base;      /* what it was before */
};

/* Does what the configuration says, and follows its changes; a change that the system refuses is refused by CONFIG SET.
 * The struct must stay where it is as long as the configuration. A failure at start is logged. SETT_NO_MEMORY. */
int oom_score_start(struct oom_score *, struct config *, struct log_sink);

#endif
