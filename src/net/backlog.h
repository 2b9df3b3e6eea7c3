/* A queue of blocks between a connection's socket and its input buffer: bytes that are received while the
 * requests before them wait. So a client can go on writing while its replies do not leave.
 *
 * One thread at a time. A zeroed struct is an empty queue. */
#ifndef SETT_NET_BACKLOG_H
#define SETT_NET_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct backlog_block;
struct transport;

struct backlog {
	struct backlog_block *first, *last; /* owned */
	size_t size;                        /* bytes in it */
	size_t blocks;
};

/* One read from the socket, behind what is there. Bytes received; 0 at the end of the input; -1 with errno,
 * ENOMEM too. */
ssize_t backlog_receive(struct backlog *, struct transport *);
/* Moves up to `room` bytes to `to`: how many. */
size_t backlog_take(struct backlog *, void *to, size_t room);
/* Memory it takes. */
size_t backlog_memory(const struct backlog *);
void backlog_free(struct backlog *);

#endif
