/* Reading a body in pieces, after its transaction has ended.
 *
 * Invariants:
 * - The stream holds a reference on the body's value-log file, taken while the transaction's snapshot still
 *   held it, so the bytes stay where the pointer says until the stream is closed (I9).
 * - The checksum covers the whole body, so it is known only at its end: the last piece is given out only if
 *   the whole is what was written. Damage is never passed off as a complete body. */
#include <stdlib.h>

#include "engine_internal.h"
#include "storage/base/hash.h"
#include "value_log_private.h"

struct sett_body_stream {
	struct value_log *log;
	struct value_log_file *file; /* one reference of it is the stream's */
	struct value_pointer pointer;
	uint64_t done; /* bytes of the body that were given out */
	struct hash64_stream *hash;
	uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE]; /* read before the first piece */
};

int
sett_body_stream_open(struct sett_txn *txn, const struct sett_record *record, struct sett_body_stream **ret)
{
	struct value_log *log = txn->engine->value_log;
	struct entry entry;
	if (entry_decode(record->reserved_value, &entry) != SETT_OK)
		return SETT_CORRUPT;
	if (entry.kind != ENTRY_POINTER || value_log_is_packed(&entry.pointer))
		return SETT_INVALID;
	struct sett_body_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return SETT_NO_MEMORY;
	stream->log = log;
	stream->pointer = entry.pointer;
	stream->hash = hash64_stream_create();
	int r = stream->hash ? value_log_retain_number(log, entry.pointer.file) : SETT_NO_MEMORY;
	if (r == SETT_OK) {
		r = value_log_locate(log, &entry.pointer, &stream->file, &txn->error);
		if (r != SETT_OK)
			value_log_release_number(log, entry.pointer.file);
	}
	if (r != SETT_OK) {
		hash64_stream_free(stream->hash);
		free(stream);
		return r == SETT_NOT_FOUND ? SETT_CORRUPT : r; /* a pointer whose file is gone is damage */
	}
	*ret = stream;
	return SETT_OK;
}

uint64_t
sett_body_stream_remaining(const struct sett_body_stream *stream)
{
	return stream->pointer.body_size - stream->done;
}

static int
damaged(const struct sett_body_stream *stream, struct sett_error *error)
{
	return sett_error_set(error, SETT_CORRUPT, 0,
			      "%s/%06" PRIu64 VALUE_LOG_SUFFIX " at offset %" PRIu64
			      ": the value's checksum is wrong",
			      stream->log->directory, stream->pointer.file, stream->pointer.offset);
}

/* Reads the record's header; its size and encoding can be judged at once. */
static int
begin(struct sett_body_stream *stream, struct sett_error *error)
{
	const struct value_pointer *pointer = &stream->pointer;
	int r = vfs_read_exact(stream->file->handle, stream->header, sizeof(stream->header), pointer->offset,
			       0, error);
	if (r != SETT_OK)
		return r;
	if (get_le32(stream->header + 8) != pointer->body_size ||
	    get_le32(stream->header + 12) != VALUE_LOG_PLAIN)
		return damaged(stream, error);
	hash64_stream_reset(stream->hash,
			    value_log_checksum_seed(pointer->file, pointer->offset, stream->header));
	return SETT_OK;
}

int
sett_body_stream_read(struct sett_body_stream *stream, void *data, size_t capacity, size_t *ret,
		      struct sett_error *error)
{
	uint64_t left = sett_body_stream_remaining(stream);
	size_t size = left < capacity ? (size_t)left : capacity;
	int r = stream->done == 0 ? begin(stream, error) : SETT_OK;
	if (r == SETT_OK && size > 0)
		r = vfs_read_exact(stream->file->handle, data, size,
				   stream->pointer.offset + VALUE_LOG_RECORD_HEADER_SIZE + stream->done, 0,
				   error);
	if (r != SETT_OK)
		return r;
	hash64_stream_update(stream->hash, data, size);
	if (size == left && hash64_stream_digest(stream->hash) != get_le64(stream->header))
		return damaged(stream, error);
	stream->done += size;
	*ret = size;
	return SETT_OK;
}

void
sett_body_stream_close(struct sett_body_stream *stream)
{
	if (!stream)
		return;
	value_log_release_number(stream->log, stream->pointer.file);
	hash64_stream_free(stream->hash);
	free(stream);
}
