/* Bodies of the value log as sources of replies. */
#include "net/reply_source.h"

#include <stdlib.h>

#include "storage/engine.h"

struct body_source {
	struct reply_source source; /* first: the two have one address */
	struct sett_body_stream *body;
};

static int
next_of_body(struct reply_source *source, void *thread, struct resp_writer *piece, bool *ret_is_last,
	     struct sett_error *error)
{
	struct body_source *s = (struct body_source *)source;
	size_t got;
	if (!resp_reserve(piece, REPLY_PIECE_SIZE))
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	int status = sett_body_stream_read(s->body, piece->data + piece->size, REPLY_PIECE_SIZE, &got, error);
	if (status != SETT_OK)
		return status;
	piece->size += got;
	source->remaining = sett_body_stream_remaining(s->body);
	*ret_is_last = source->remaining == 0;
	return SETT_OK;
}

static void
close_body(struct reply_source *source)
{
	struct body_source *s = (struct body_source *)source;
	sett_body_stream_close(s->body);
	free(s);
}

struct reply_source *
reply_source_of_body(struct sett_body_stream *body)
{
	static const struct reply_source_operations operations = {.next = next_of_body, .close = close_body};
	struct body_source *s = malloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	*s = (struct body_source){
		.source = {.operations = &operations, .remaining = sett_body_stream_remaining(body)},
		.body = body};
	return &s->source;
}
