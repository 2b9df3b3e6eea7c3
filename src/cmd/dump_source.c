#include "cmd/dump_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/output.h"
#include "net/reply_source.h"
#include "rdb/crc64.h"
#include "rdb/payload.h"
#include "txn/snapshot_source.h"
#include "txn/string_source.h"

struct dump_source {
	struct reply_source source; /* first: the two have one address */
	struct sett_body_stream *body;
	struct rdb_writer head; /* what comes before the string; empty once it has left */
	uint64_t crc;
};

static void
begin_payload(struct rdb_writer *head, uint64_t size)
{
	rdb_writer_init(head, false);
	rdb_put_byte(head, RDB_STRING);
	rdb_put_length(head, size);
}

static void
end_payload(uint64_t crc, struct resp_writer *piece)
{
	uint8_t trailer[RDB_TRAILER_SIZE];
	rdb_payload_trailer(crc, RDB_VERSION, trailer);
	resp_raw(piece, trailer, sizeof(trailer));
}

/* ---- from a file ---- */

static int
next_of_dump(struct reply_source *source, void *thread, struct resp_writer *piece, bool *ret_is_last,
	     struct sett_error *error)
{
	struct dump_source *s = (struct dump_source *)source;
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
	if (*ret_is_last)
		end_payload(s->crc, piece);
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
	begin_payload(&s->head, size);
	if (s->head.failed) {
		close_dump(&s->source);
		return SETT_NO_MEMORY;
	}
	return context_reply_source(c, &s->source, s->head.out.size + size + RDB_TRAILER_SIZE);
}

/* ---- from chunks ---- */

struct chunks_dump {
	struct snapshot_reader reader; /* first: the two have one address */
	struct string_rest rest;
	uint64_t crc;
	bool is_over;
};

static int
next_of_chunks(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	       size_t enough)
{
	struct chunks_dump *d = (struct chunks_dump *)reader;
	size_t begin = piece->size;
	if (d->is_over)
		return SETT_NOT_FOUND;
	if (d->rest.at == 0) {
		struct rdb_writer head;
		begin_payload(&head, d->rest.end);
		resp_raw(piece, head.out.data, head.out.size);
		bool failed = head.failed;
		rdb_writer_free(&head);
		if (failed)
			return SETT_NO_MEMORY;
	}
	int status = string_rest_read(&d->rest, view, piece, enough);
	if (status != SETT_OK)
		return status;
	d->crc = crc64(d->crc, bytes_of(piece->data + begin, piece->size - begin));
	d->is_over = d->rest.at == d->rest.end;
	if (d->is_over)
		end_payload(d->crc, piece);
	return SETT_OK;
}

static void
free_chunks(struct snapshot_reader *reader)
{
	struct chunks_dump *d = (struct chunks_dump *)reader;
	buffer_free(&d->rest.place.engine_key);
	free(d);
}

/* The bytes of the payload. */
static bool
payload_size(uint64_t string_size, uint64_t *ret)
{
	struct rdb_writer head;
	begin_payload(&head, string_size);
	*ret = head.out.size + string_size + RDB_TRAILER_SIZE;
	bool known = !head.failed;
	rdb_writer_free(&head);
	return known;
}

int
reply_dump_chunks(struct command_context *c, const struct key *k)
{
	char header[RESP_INTEGER_MAX_SIZE + 4];
	size_t before = c->reply->size;
	uint64_t size;
	struct chunks_dump *d = malloc(sizeof(*d));
	if (d == NULL)
		return SETT_NO_MEMORY;
	*d = (struct chunks_dump){.reader = {.next = next_of_chunks, .free = free_chunks},
				  .rest = {.end = k->root.body_size}};
	int status =
		payload_size(k->root.body_size, &size) ? key_place_of(k, &d->rest.place) : SETT_NO_MEMORY;
	if (status == SETT_OK) {
		int length = snprintf(header, sizeof(header), "$%" PRIu64 "\r\n", size);
		resp_raw(c->reply, header, (size_t)length);
		status = context_reply_snapshot(c, &d->reader, size);
	}
	if (status != SETT_OK) {
		resp_truncate(c->reply, before);
		free_chunks(&d->reader);
	}
	return status;
}
