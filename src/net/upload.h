/* A large argument on its way from the socket to the value log, a piece of it in memory.
 *
 * The parser stands in the argument, whose bytes leave the input buffer as they come. When the last one has
 * been stored, the argument's first bytes take its place there, and the parser goes on behind it.
 *
 * While a piece is being stored the upload belongs to the pool thread; else to the reactor. */
#ifndef SETT_NET_UPLOAD_H
#define SETT_NET_UPLOAD_H

#include "net/argument_body.h"
#include "net/connection.h"

struct upload {
	struct argument_body *argument; /* owned */
	uint64_t taken;                 /* bytes of it that were received */
	size_t filled;                  /* of them in `piece`, not stored yet */
	struct sett_error error;        /* if argument->status says so */
	uint8_t shown[ARGUMENT_BODY_SHOWN];
	uint8_t piece[PIECE_SIZE];
};

/* Whether the parser waits for the rest of an argument that is worth it. */
static inline bool
connection_awaits_large(const struct connection *c)
{
	return c->parser.state == RESP_STATE_BULK && c->parser.bulk_size >= ARGUMENT_BODY_MIN;
}
/* Begins with the argument that the parser stands in; `drops`: of which the first bytes alone are wanted.
 * False if out of memory. */
bool upload_begin(struct connection *, bool drops);
/* Takes from the input buffer what it has of the argument and the piece has room for. */
void upload_take(struct connection *);
/* connection_receive into the piece. The piece is not ready, the input buffer has nothing of the
 * argument. */
enum input_result upload_read(struct connection *, size_t *ret_size);
/* Whether the piece is full, or the last one. */
static inline bool
upload_is_ready(const struct upload *u)
{
	return u->filled == PIECE_SIZE || u->taken == u->argument->size;
}
/* Whether all was received and stored, or dropped. */
static inline bool
upload_is_over(const struct upload *u)
{
	return u->taken == u->argument->size && u->filled == 0;
}
/* On a pool thread: stores the piece. Whatever fails is in argument->status; then later pieces are to be
 * dropped. */
void upload_store(struct upload *, struct sett_engine *);
/* It is over: hands the argument to the client, and the parser the way on. False if out of memory. */
bool upload_end(struct connection *);
/* NULL is fine. */
void upload_free(struct upload *);

#endif
