/* Sources of replies that read the database: see snapshot_source.h. */
#include "txn/snapshot_source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "config/config.h"
#include "net/output.h"
#include "txn/runner_private.h"

struct snapshot_source {
	struct reply_source source; /* first: the two have one address */
	struct server *server;
	struct snapshot_reader *reader;
	struct sett_snapshot *snapshot;
	uint64_t began_ns;
};

/* Appends the next bytes of a large value, which lies in the value log. */
static int
next_of_body(struct snapshot_reader *reader, struct resp_writer *piece, struct sett_error *error)
{
	size_t got;
	if (!resp_reserve(piece, REPLY_PIECE_SIZE))
		return SETT_NO_MEMORY;
	int status =
		sett_body_stream_read(reader->body, piece->data + piece->size, REPLY_PIECE_SIZE, &got, error);
	if (status != SETT_OK)
		return status;
	piece->size += got;
	if (sett_body_stream_remaining(reader->body) == 0) {
		sett_body_stream_close(reader->body);
		reader->body = NULL;
	}
	return SETT_OK;
}

static int
next_of_reader(struct snapshot_source *s, struct runner_thread *t, struct resp_writer *piece,
	       struct sett_error *error)
{
	struct keyspace_view view;
	assert(t->may_wait);
	arena_reset(&t->arena);
	/* relaxed: the number stands for itself */
	t->arena.limit = __atomic_load_n(&t->server->transaction_memory, __ATOMIC_RELAXED);
	int status = sett_txn_begin_kept(t->txn, s->snapshot, SETT_TXN_MANUAL_CONFLICTS);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, s->server->keyspace, t->txn, &t->arena);
	if (status == SETT_OK)
		status = s->reader->next(s->reader, &view, piece, REPLY_PIECE_SIZE);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		sett_error_set(error, status, 0, "%s", sett_txn_failure(t->txn));
	sett_txn_discard(t->txn);
	runner_shrink(t);
	return status;
}

static int
next(struct reply_source *source, void *thread, struct resp_writer *piece, bool *ret_is_last,
     struct sett_error *error)
{
	struct snapshot_source *s = (struct snapshot_source *)source;
	int status = s->reader->body != NULL ? next_of_body(s->reader, piece, error)
					     : next_of_reader(s, thread, piece, error);
	*ret_is_last = status == SETT_NOT_FOUND;
	/* The size was a guess: something remains until the end. */
	source->remaining = *ret_is_last          ? 0
		: source->remaining > piece->size ? source->remaining - piece->size
						  : 1;
	return *ret_is_last ? SETT_OK : status;
}

static const char *
limit(struct reply_source *source)
{
	const struct snapshot_source *s = (const struct snapshot_source *)source;
	const struct config *config = s->server->config;
	uint64_t seconds = (uint64_t)__atomic_load_n(&config->snapshot_limit_seconds, __ATOMIC_RELAXED);
	uint64_t bytes = (uint64_t)__atomic_load_n(&config->snapshot_limit_bytes, __ATOMIC_RELAXED);
	uint64_t age_ns = clock_monotonic_ns(s->server->clock) - s->began_ns;
	if (seconds != 0 && age_ns / 1000000000 >= seconds)
		return "snapshot-limit-seconds";
	if (bytes != 0 && sett_snapshot_held_bytes(s->snapshot) > bytes)
		return "snapshot-limit-bytes";
	return NULL;
}

static void
close_source(struct reply_source *source)
{
	struct snapshot_source *s = (struct snapshot_source *)source;
	sett_body_stream_close(s->reader->body);
	s->reader->free(s->reader);
	sett_snapshot_release(s->snapshot);
	free(s);
}

void
snapshot_reader_bulk(struct snapshot_reader *reader, struct resp_writer *piece, struct bytes data)
{
	snapshot_reader_separate(reader, piece);
	resp_bulk(piece, data.data, data.size);
	/* Its line end comes with the next element. */
	if (!piece->failed)
		resp_truncate(piece, piece->size - 2);
}

int
snapshot_reader_record(struct snapshot_reader *reader, struct keyspace_view *view,
		       const struct sett_record *record, uint64_t offset, struct resp_writer *piece)
{
	struct bytes body;
	uint64_t size = record->body_size - offset;
	int status = SETT_INVALID;
	if (size >= CONTEXT_STREAM_MIN)
		status = sett_body_stream_open(view->txn, record, offset, size, &reader->body);
	if (status == SETT_OK) {
		char header[RESP_INTEGER_MAX_SIZE + 4];
		int length = snprintf(header, sizeof(header), "$%" PRIu64 "\r\n", size);
		snapshot_reader_separate(reader, piece);
		resp_raw(piece, header, (size_t)length);
	}
	if (status != SETT_INVALID)
		return status;
	status = sett_txn_body(view->txn, record, &body);
	if (status == SETT_OK)
		snapshot_reader_bulk(reader, piece, bytes_of(body.data + offset, (size_t)size));
	return status;
}

int
context_reply_snapshot(struct command_context *c, struct snapshot_reader *reader, uint64_t size)
{
	static const struct reply_source_operations operations = {
		.next = next, .limit = limit, .close = close_source};
	struct snapshot_source *s = malloc(sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	*s = (struct snapshot_source){.source = {.operations = &operations, .remaining = size > 0 ? size : 1},
				      .server = c->server,
				      .reader = reader,
				      .began_ns = clock_monotonic_ns(c->server->clock)};
	int status = sett_snapshot_keep(c->view.txn, &s->snapshot);
	struct output_stream *stream =
		status == SETT_OK ? output_stream_create(&s->source, c->reply->size) : NULL;
	if (stream == NULL) {
		sett_snapshot_release(s->snapshot);
		free(s);
		return status == SETT_OK ? SETT_NO_MEMORY : status;
	}
	context_add_stream(c, stream);
	/* (I1) It may reveal any commit that the snapshot has. */
	uint64_t revealed = sett_txn_snapshot(c->view.txn);
	if (c->view.observed < revealed)
		c->view.observed = revealed;
	return SETT_OK;
}
