/* What the files of streams share: the body of the root, and nodes. */
#ifndef SETT_TYPES_STREAM_PRIVATE_H
#define SETT_TYPES_STREAM_PRIVATE_H

#include "types/stream.h"

enum { STREAM_NODE_OVERHEAD = STREAM_NODE_KEY_SIZE + 16 /* what a node takes beside its run */ };

static inline bool
stream_id_is_below(struct stream_id a, struct stream_id b)
{
	return stream_id_compare(a, b) < 0;
}

/* ---- the body ---- */

/* Makes the body, which was read, one that may be changed, with room for `more` bytes at its end. */
int stream_own_body(struct stream *, size_t more);

static inline bool
stream_may_be_in_body(const struct stream *s, struct stream_id id)
{
	return s->run_count > 0 && !stream_id_is_below(id, s->base);
}

/* ---- nodes ---- */

/* As read; valid until the iterator moves. */
struct stream_node {
	struct stream_id base;
	uint64_t count;
	struct sett_record record;
};

void stream_node_key(const struct stream *, struct stream_id base, uint8_t ret[STREAM_NODE_KEY_SIZE]);
int stream_open_nodes(struct stream *, struct sett_iterator **ret);
/* Moves to the last node whose key is not above `id`: if an entry with this id is in a node, it is there. */
int stream_seek_node(struct stream *, struct sett_iterator *, struct stream_id);
/* Moves to the first node whose key is not below `base`. A search in the other direction would meet all the nodes that
 * were trimmed. */
int stream_seek_node_from(struct stream *, struct sett_iterator *, struct stream_id base);
/* That under this key. SETT_NOT_FOUND. */
int stream_get_node(struct stream *, struct stream_id base, struct stream_node *ret);
/* That at which the iterator is. */
int stream_read_node(struct sett_iterator *, struct stream_node *ret);
/* `over`: the record that it takes the place of, or NULL. */
int stream_put_node(struct stream *, struct stream_id base, uint64_t count, struct bytes run,
		    const struct sett_record *over);
int stream_delete_node(struct stream *, const struct stream_node *);
/* Of the object. */
void stream_count_bytes(struct stream *, uint64_t more, uint64_t less);

#endif
