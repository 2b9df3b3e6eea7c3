/* Large values and replies on their way through a reactor, one piece of each in memory.
 *
 * Out: the pool makes the pieces of a reply's source (reply_source.h), one by one, as the socket takes them. In: a
 * large argument (upload.h) is stored by the pool, piece by piece, as it comes; the socket is not read while a piece
 * is being stored. In both cases no request of the connection runs meanwhile, so its one pool job and one message
 * serve all three.
 *
 * On the reactor's thread. */
#ifndef SETT_NET_BODIES_H
#define SETT_NET_BODIES_H

#include <stdbool.h>

struct reactor;
struct connection;

/* Makes the next piece of the first source: true if it was at hand; else the pool makes it, and it is sent when it is there,
 * or the source waits, or the connection was closed. */
bool bodies_next_piece(struct reactor *, struct connection *);
/* From the cron: closes the connection if one of its sources is past its limit (I20). True if it did. It is not in the
 * pool. */
bool bodies_close_limited(struct reactor *, struct connection *);
/* Begins an upload with the argument that the parser is in. `drops`: only its first bytes are kept, as the request
 * will be refused. False if out of memory. */
bool bodies_begin(struct reactor *, struct connection *, bool drops);
/* Continues the upload with the bytes that have come. */
void bodies_advance(struct reactor *, struct connection *);

#endif
