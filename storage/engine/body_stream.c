/* Reading a body in pieces, after its transaction has ended.
 *
 * Invariants:
 * - The stream holds a reference on the body's value-log file, taken while the transaction's snapshot still
 *   held it, so the bytes stay where the pointer says until the stream is closed (I9).
 * - Damage is never given out (value_log_pieces.h). */
#include <stdlib.h>

#include "engine_private.h"
#include "value_log_pieces.h"

struct sett_body_stream {
	struct rcu_deferred deferred; /* first: the two have one address */
	struct record_reader reader;  /* one reference of its file is the stream's */
	uint64_t left;
};

int
body_stream_open(struct value_log *log, const struct value_pointer *pointer, uint64_t offset, uint64_t size,
		 struct sett_body_stream **ret, struct sett_error *error)
{
	if (size > pointer->body_size || offset > pointer->body_size - size)
		return SETT_INVALID;
	struct sett_body_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return SETT_NO_MEMORY;
	int r = value_log_retain_number(log, pointer->file);
	if (r == SETT_OK) {
		r = record_reader_open(&stream->reader, log, pointer, error);
		if (r != SETT_OK)
			value_log_release_number(log, pointer->file);
	}
	if (r != SETT_OK) {
		free(stream);
		return r == SETT_NOT_FOUND ? SETT_CORRUPT : r; /* a pointer whose file is gone is damage */
	}
	stream->reader.position = offset;
	stream->left = size;
	*ret = stream;
	return SETT_OK;
}

uint64_t
sett_body_stream_remaining(const struct sett_body_stream *stream)
{
	return stream->left;
}

int
sett_body_stream_read(struct sett_body_stream *stream, void *data, size_t capacity, size_t *ret,
		      struct sett_error *error)
{
	size_t size = stream->left < capacity ? (size_t)stream->left : capacity;
	int r = record_reader_read(&stream->reader, data, size, error);
	if (r != SETT_OK)
		return r;
	stream->left -= size;
	*ret = size;
	return SETT_OK;
}

static void
end(struct rcu_deferred *deferred)
{
	struct sett_body_stream *stream = (struct sett_body_stream *)deferred;
	value_log_release_number(stream->reader.log, stream->reader.pointer.file);
	record_reader_close(&stream->reader);
	free(stream);
}

void
sett_body_stream_close(struct sett_body_stream *stream)
{
	if (!stream)
		return;
	/* The last reference takes the file off the disk. */
	if (rcu_thread_is_online())
		rcu_defer(&stream->deferred, end);
	else
		end(&stream->deferred);
}
