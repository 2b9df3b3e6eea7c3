/* What the files of stream commands share. */
#ifndef SETT_CMD_STREAMS_H
#define SETT_CMD_STREAMS_H

#include "cmd/lookup.h"
#include "types/stream_refs.h"

/* A key with the stream that it holds; an absent key is an empty stream. */
struct open_stream {
	struct key key;
	struct stream stream;
};
/* If the key holds another type: OUTCOME_FAILED, with the error reply. */
int open_stream(struct command_context *, struct bytes name, struct open_stream *ret);

/* An id as typed: "ms-seq", or "ms" alone, whose sequence is then `missing`. */
bool parse_stream_id(struct bytes text, uint64_t missing, struct stream_id *ret);
/* The same; if it is none, the error reply is given. */
bool context_stream_id(struct command_context *, struct bytes argument, struct stream_id *ret);
/* What ends a range: an id, "-" or "+", or one of them after "(", which leaves out the id itself. */
bool context_stream_bound(struct command_context *, struct bytes argument, bool is_end,
			  struct stream_id *ret);

/* "ms-seq"; its size. */
enum { STREAM_ID_TEXT_MAX = 41 };
size_t stream_id_text(struct stream_id, char ret[STREAM_ID_TEXT_MAX]);
/* As an argument of what replicas are told (txn/propagation.h). */
struct bytes propagated_stream_id(struct command_context *, struct stream_id);
void reply_stream_id(struct command_context *, struct stream_id);
/* [id, [name, value, ...]] */
int write_stream_entry(struct resp_writer *, const struct stream_entry *);
int reply_stream_entry(struct command_context *, const struct stream_entry *);
/* [id, [name, value, ...], idle, count] */
int reply_claimed_entry(struct command_context *, const struct stream_entry *, uint64_t idle_ms,
			uint64_t count);
/* An array of up to `most` entries from one id to another. `ret_count` may be NULL. */
int reply_stream_range(struct command_context *, struct stream *, const struct stream_id range[2],
		       bool backward, uint64_t most, uint64_t *ret_count);
/* `count` entries, which there are, are read while the reply is sent. SETT_TOO_LARGE: it must be made in another way. The stream
 * was not changed. */
int reply_stream_source(struct command_context *, struct stream *, const struct stream_id range[2],
			bool backward, uint64_t count);

/* MAXLEN, MINID and their options. */
struct stream_trim {
	enum { TRIM_NOTHING, TRIM_COUNT, TRIM_BELOW } by;
	bool approximate;
	uint64_t count; /* to keep */
	struct stream_id below;
	int64_t limit; /* the most to remove; 0: any number */
	bool has_limit;
	enum stream_refs_mode refs;
	bool has_refs;
};
/* The option at argv[i], if it is one of them; how many arguments it is, 0: it is none, -1: the error reply was given. */
int context_stream_trim(struct command_context *, size_t i, struct stream_trim *);
/* After all options were read. */
bool context_check_trim(struct command_context *, struct stream_trim *);
int trim_stream(struct command_context *, struct stream *, const struct stream_trim *, uint64_t *ret_count);
/* For replicas: adds the option that trims to what is left, whichever way it was trimmed. */
struct propagated;
int propagate_length(struct command_context *, const struct stream *, struct propagated *);
/* The same as context_stream_trim for KEEPREF, DELREF or ACKED, of which there may be one. */
int context_refs_mode(struct command_context *, size_t i, enum stream_refs_mode *, bool *has_mode);

#endif
