/* Large values on their way through a reactor, one piece of each in memory.
 *
 * Out: a large body within a reply (output.h) is read by the pool, piece by piece, as the socket takes them. In: a
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

/* Has the pool read the next piece of the first stream; the piece is sent when it is there. */
void bodies_read_piece(struct reactor *, struct connection *);
/* Begins an upload with the argument that the parser is in. `drops`: only its first bytes are kept, as the request
 * will be refused. False if out of memory. */
bool bodies_begin(struct reactor *, struct connection *, bool drops);
/* Continues the upload with the bytes that have come. */
void bodies_advance(struct reactor *, struct connection *);

#endif
