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
/* The consumer does something; it is created if it is new. */
int use_group_consumer(struct stream_group *, struct bytes name, struct stream_consumer **ret);
/* False: the name is too long, and the error reply was given. */
bool context_stream_name(struct command_context *, struct bytes name);
/* Of XINFO STREAM FULL. */
int reply_full_groups(struct command_context *, struct stream *, uint64_t most);

#endif
