/* The server's figures of the last day: a thread takes them once a second and writes them to a file in the data directory
 * (figure_ring.h), while the directive `history` says so.
 *
 * A file that can't be made, read or written costs a line in the log and the history, nothing else. It is tried again every minute. */
#ifndef SETT_INFO_FIGURE_HISTORY_H
#define SETT_INFO_FIGURE_HISTORY_H

#include "storage/base/bytes.h"
#include "txn/server.h"

struct figure_history;

enum { FIGURE_HISTORY_DESCRIPTORS = 1 };

/* The server is borrowed; its rooms are there. SETT_NO_MEMORY, statuses of thread_start. */
int figure_history_start(struct server *, struct figure_history **ret);
/* Before the rooms go; nobody calls figure_history_print any more. NULL is fine. */
void figure_history_stop(struct figure_history *);
/* As figure_ring_print, up to now; the line of names alone if there is no file. Any thread that may wait for the disk. */
int figure_history_print(struct figure_history *, uint64_t seconds, struct buffer *ret);

#endif
