/* Replies that are needed whole: see reply_collect.h. */
#include "txn/reply_collect.h"

#include <assert.h>

#include "net/output.h"
#include "txn/runner_private.h"

enum { ARENA_BLOCK = 64 * 1024 };

/* Appends what the source makes. A source that reads the database does so in transactions of its own, so `reader` is not
 * the thread whose transaction is under way. */
static int
read_source(struct runner_thread *reader, struct reply_source *source, uint64_t limit,
	    struct resp_writer *whole)
{
	struct resp_writer piece;
	struct sett_error error = {0};
	bool is_last = false;
	int status = SETT_OK;
	resp_writer_init(&piece, whole->protocol);
	while (status == SETT_OK && !is_last) {
		resp_truncate(&piece, 0);
		status = source->operations->next(source, reader, &piece, &is_last, &error);
		if (status == SETT_OK && (piece.failed || (limit != 0 && whole->size + piece.size > limit)))
			status = SETT_NO_MEMORY;
		if (status == SETT_OK)
			resp_raw(whole, piece.data, piece.size);
	}
	resp_writer_free(&piece);
	return status == SETT_OK && whole->failed ? SETT_NO_MEMORY : status;
}

static int
collect(struct command_context *c, struct runner_thread *reader, struct resp_writer *whole)
{
	/* relaxed: the number stands for itself */
	uint64_t limit = __atomic_load_n(&c->server->transaction_memory, __ATOMIC_RELAXED);
	size_t position = 0;
	int status = SETT_OK;
	for (struct output_stream *s = c->streams; s != NULL && status == SETT_OK; s = s->next) {
		assert(s->position >= position && s->position <= c->reply->size);
		resp_raw(whole, c->reply->data + position, s->position - position);
		position = s->position;
		status = read_source(reader, s->source, limit, whole);
	}
	resp_raw(whole, c->reply->data + position, c->reply->size - position);
	return status == SETT_OK && whole->failed ? SETT_NO_MEMORY : status;
}

int
context_collect_streams(struct command_context *c)
{
	struct resp_writer whole;
	struct runner_thread reader = {.server = c->server, .may_wait = true};
	int status = c->may_wait ? context_enter_long_lane(c) : OUTCOME_LONG;
	if (status != SETT_OK)
		return status;
	status = sett_txn_create(c->server->engine, &reader.txn);
	if (status != SETT_OK)
		return status;
	arena_init(&reader.arena, ARENA_BLOCK);
	resp_writer_init(&whole, c->reply->protocol);
	c->streams = output_streams_reverse(c->streams);
	status = collect(c, &reader, &whole);
	output_streams_free(c->streams);
	c->streams = NULL;
	sett_txn_destroy(reader.txn);
	arena_free(&reader.arena);
	if (status == SETT_OK) {
		struct resp_writer before = *c->reply;
		*c->reply = whole;
		whole = before;
	}
	resp_writer_free(&whole);
	return status;
}
