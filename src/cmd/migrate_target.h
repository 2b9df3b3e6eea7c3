/* The server that MIGRATE sends keys to: a connection, plain or with TLS, on which a thread that may wait sends requests and reads the first
 * lines of replies, within a time for each step. */
#ifndef SETT_CMD_MIGRATE_TARGET_H
#define SETT_CMD_MIGRATE_TARGET_H

#include <stdbool.h>

#include "net/transport.h"
#include "storage/base/bytes.h"

enum { TARGET_LINE_SIZE = 512 };

struct net;

struct target {
	struct transport transport;
	bool is_open; /* otherwise there is none */
	int timeout_ms;
	uint8_t received[TARGET_LINE_SIZE];
	size_t received_size;
};

/* `tls`: the net whose certificates are used; NULL: without TLS. False: it can't be reached in time. `target` must be
 * closed also then. */
bool target_connect(struct target *, struct bytes host, struct bytes port, int timeout_ms, struct net *tls);
bool target_send(struct target *, struct bytes);
/* The next reply, which is one line, without its end, as a C string: the longest are cut. */
bool target_read_line(struct target *, char ret[TARGET_LINE_SIZE]);
void target_close(struct target *);

#endif
