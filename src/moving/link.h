/* A connection to another server, for a thread that may wait.
 *
 * Every wait ends when its time is over, or as soon as `wake`, an eventfd, can be read (SETT_ABORTED): so who stops the
 * thread need not wait for the network. What fails is in words in the error.
 *
 * Threads: one at a time. */
#ifndef SETT_MOVING_LINK_H
#define SETT_MOVING_LINK_H

#include <stdbool.h>

#include "net/transport.h"
#include "storage/base/bytes.h"
#include "storage/status.h"

enum { LINK_ROOM = 256 * 1024, LINK_ADDRESS_SIZE = 128 };

struct net;

struct link {
	struct transport transport; /* `fd` is -1: none */
	int wake;                   /* -1: none */
	/* received and not taken: room[begin, end) */
	uint8_t *room;
	size_t begin, end;
};

struct link_peer {
	const char *host;
	unsigned port;
	const char *source; /* the address of ours to come from, if that can be; NULL: the system chooses */
	struct net *tls;    /* over TLS, with its certificates; NULL: without */
};
/* `wake` is borrowed. Must be closed also after a failure. SETT_IO: it can't be reached within the time (system_errno says why, if
 * it was found); SETT_INVALID: there are no certificates; SETT_NO_MEMORY. */
int link_open(struct link *, int wake, const struct link_peer *, int timeout_ms, struct sett_error *);
static inline bool
link_is_open(const struct link *l)
{
	return l->transport.fd >= 0;
}
void link_close(struct link *);
/* Each piece of it within the time. SETT_IO. */
int link_send(struct link *, struct bytes, int timeout_ms, struct sett_error *);
/* A command as an array of bulks. */
int link_send_request(struct link *, const struct bytes *argv, size_t argc, int timeout_ms,
		      struct sett_error *);
/* The same of LINK_WORDS_MAX words at most. */
enum { LINK_WORDS_MAX = 8 };
int link_send_words(struct link *, const char *const *words, size_t count, int timeout_ms,
		    struct sett_error *);
/* Waits until something is there to be taken. SETT_NOT_FOUND: nothing came within the time; SETT_IO: it is closed. */
int link_fill(struct link *, int timeout_ms, struct sett_error *);
struct bytes link_received(const struct link *);
void link_take(struct link *, size_t size);
/* A line, without its end, as a C string; empty ones, which say that the other side is alive, are skipped. SETT_CORRUPT: it
 * is longer than `size`. SETT_IO: it is closed, or nothing came within the time. */
int link_read_line(struct link *, char *ret, size_t size, int timeout_ms, struct sett_error *);

/* Makes small writes leave at once, or not (repl-disable-tcp-nodelay); keep-alives of the system on. Hints. */
void link_set_no_delay(struct link *, bool on);

#endif
