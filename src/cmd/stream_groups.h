/* What the files of commands on consumer groups share. */
#ifndef SETT_CMD_STREAM_GROUPS_H
#define SETT_CMD_STREAM_GROUPS_H

#include "cmd/streams.h"
#include "types/stream_groups.h"

enum { STREAM_LONG_PENDING = 1000 /* to go through more entries takes long */ };

/* SETT_NOT_FOUND: the key is absent (s->key), or it has no such group. */
int open_group(struct command_context *, struct bytes key, struct bytes name, struct open_stream *s,
	       struct stream_group *ret);
/* The same; then with the error reply NOGROUP. */
int open_needed_group(struct command_context *, struct bytes key, struct bytes name, struct open_stream *s,
		      struct stream_group *ret);
int save_group(struct stream_group *);
/* The consumer does something; it is created if it is new, which replicas are told of if `is_told`: no XCLAIM follows that
 * creates it there. */
int use_group_consumer(struct command_context *, struct stream_group *, struct bytes name, bool is_told,
		       struct stream_consumer **ret);

/* ---- what replicas are told of groups, in place of the command ---- */

/* The entry is pending for the consumer, delivered then and so many times. */
int propagate_pending(struct command_context *, const struct stream_group *, struct bytes consumer,
		      struct stream_id, uint64_t delivered, uint64_t count);
/* The last id and the number of entries read. */
int propagate_position(struct command_context *, const struct stream_group *);
/* The entry is pending no more. */
int propagate_acknowledged(struct command_context *, const struct stream_group *, struct stream_id);
/* False: the name is too long, and the error reply was given. */
bool context_stream_name(struct command_context *, struct bytes name);
/* Of XINFO STREAM FULL. */
int reply_full_groups(struct command_context *, struct stream *, uint64_t most);

#endif
