#include "cmd/dump_source.h"

#include <stdlib.h>

#include "net/output.h"
#include "net/reply_source.h"
#include "rdb/crc64.h"
#include "rdb/payload.h"

struct dump_source {
	struct reply_source source; /* first: the two have one address */
	struct sett_body_stream *body;
	struct rdb_writer head; /* what comes before the string; empty once it has left */
	uint64_t crc;
};

static int
next_of_dump(struct reply_source *source, void *thread, struct resp_writer *piece, bool *ret_is_last,
	     struct sett_error *error)
{
	struct dump_source *s = (struct dump_source *)source;
	uint8_t trailer[RDB_TRAILER_SIZE];
	size_t got;
	resp_raw(piece, s->head.out.data, s->head.out.size);
	buffer_clear(&s->head.out);
	if (!resp_reserve(piece, REPLY_PIECE_SIZE))
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	int status = sett_body_stream_read(s->body, piece->data + piece->size, REPLY_PIECE_SIZE, &got, error);
	if (status != SETT_OK)
		return status;
	piece->size += got;
	s->crc = crc64(s->crc, bytes_of(piece->data, piece->size));
	source->remaining = sett_body_stream_remaining(s->body);
	*ret_is_last = source->remaining == 0;
	if (*ret_is_last) {
		rdb_payload_trailer(s->crc, RDB_VERSION, trailer);
		resp_raw(piece, trailer, sizeof(trailer));
	}
	return SETT_OK;
}

static void
close_dump(struct reply_source *source)
{
	struct dump_source *s = (struct dump_source *)source;
	sett_body_stream_close(s->body);
	rdb_writer_free(&s->head);
	free(s);
}

int
reply_dump_source(struct command_context *c, struct sett_body_stream *body)
{
	static const struct reply_source_operations operations = {.next = next_of_dump, .close = close_dump};
	uint64_t size = sett_body_stream_remaining(body);
	struct dump_source *s = malloc(sizeof(*s));
	if (s == NULL) {
		sett_body_stream_close(body);
		return SETT_NO_MEMORY;
	}
	*s = (struct dump_source){.source = {.operations = &operations, .remaining = size}, .body = body};
	rdb_writer_init(&s->head, false);
	rdb_put_byte(&s->head, RDB_STRING);
	rdb_put_length(&s->head, size);
	if (s->head.failed) {
		close_dump(&s->source);
		return SETT_NO_MEMORY;
	}
	return context_reply_source(c, &s->source, s->head.out.size + size + RDB_TRAILER_SIZE);
}
