/* Commands of the server's own, run one after another as those of a client that is not there. */
#ifndef SETT_MOVING_FEED_H
#define SETT_MOVING_FEED_H

#include "net/client.h"
#include "resp/writer.h"
#include "txn/runner.h"

enum { FEED_ERROR_SIZE = 200 };

struct feed {
	struct request_handler handler;
	void *thread; /* of the runner; may wait */
	struct client client;
	struct resp_writer reply;
	/* Of the last one that failed */
	char error[FEED_ERROR_SIZE];
	uint64_t errors; /* how many: of an EXEC those of its commands */
	bool is_of_data; /* they failed because of the data that they met, as in Redis; what else an EXEC has took effect */
};

/* Its commands run while clients are told LOADING. SETT_NO_MEMORY. To be closed also then. */
int feed_open(struct feed *, struct runner *);
/* SETT_OK; SETT_INVALID: the command, or some of an EXEC, failed: `error`; SETT_NO_MEMORY. */
int feed_run(struct feed *, size_t argc, const struct bytes *argv);
void feed_close(struct feed *);

#endif
