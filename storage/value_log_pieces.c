/* Records in pieces; see value_log_pieces.h. */
#include "value_log_pieces.h"

#include "storage/base/hash.h"

enum { HEADER = VALUE_LOG_RECORD_HEADER_SIZE, PIECE_SIZE = 256 * 1024 };

/* ---- reading ---- */

int
record_reader_open(struct record_reader *r, struct value_log *log, const struct value_pointer *pointer,
		   struct sett_error *error)
{
	struct record_reader reader = {.log = log, .pointer = *pointer};
	if (value_log_is_packed(pointer))
		return sett_error_set(error, SETT_INVALID, 0, "a value that is packed is read whole");
	int status = value_log_locate(log, pointer, &reader.file, error);
	if (status != SETT_OK)
		return status;
	reader.hash = hash64_stream_create();
	if (reader.hash == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
	*r = reader;
	return SETT_OK;
}

/* Reads the record's header; its size and encoding can be judged at once. */
static int
read_header(struct record_reader *r, struct sett_error *error)
{
	const struct value_pointer *pointer = &r->pointer;
	int status = vfs_read_exact(r->file->handle, r->header, HEADER, pointer->offset, 0, error);
	if (status != SETT_OK)
		return status;
	if (get_le32(r->header + 8) != pointer->body_size || get_le32(r->header + 12) != VALUE_LOG_PLAIN)
		return value_log_damaged(r->log, &r->pointer, "the value's checksum is wrong", error);
	hash64_stream_reset(r->hash, value_log_checksum_seed(pointer->file, pointer->offset, r->header));
	return SETT_OK;
}

int
record_reader_read(struct record_reader *r, void *data, size_t capacity, size_t *ret,
		   struct sett_error *error)
{
	uint64_t left = record_reader_remaining(r);
	size_t size = left < capacity ? (size_t)left : capacity;
	int status = r->done == 0 ? read_header(r, error) : SETT_OK;
	if (status == SETT_OK && size > 0)
		status = vfs_read_exact(r->file->handle, data, size, r->pointer.offset + HEADER + r->done, 0,
					error);
	if (status != SETT_OK)
		return status;
	hash64_stream_update(r->hash, data, size);
	if (size == left && hash64_stream_digest(r->hash) != get_le64(r->header))
		return value_log_damaged(r->log, &r->pointer, "the value's checksum is wrong", error);
	r->done += size;
	*ret = size;
	return SETT_OK;
}

void
record_reader_close(struct record_reader *r)
{
	hash64_stream_free(r->hash);
}

/* ---- writing ---- */

int
record_writer_open(struct record_writer *w, struct value_log *log, struct value_log_file *file,
		   uint64_t offset, uint64_t body_size)
{
	struct hash64_stream *hash = hash64_stream_create();
	if (hash == NULL)
		return SETT_NO_MEMORY;
	*w = (struct record_writer){.log = log,
				    .file = file,
				    .pointer = {file->number, offset, HEADER + body_size, body_size},
				    .hash = hash};
	put_le32(w->header + 8, (uint32_t)body_size);
	put_le32(w->header + 12, VALUE_LOG_PLAIN);
	hash64_stream_reset(hash, value_log_checksum_seed(file->number, offset, w->header));
	return SETT_OK;
}

int
record_writer_append(struct record_writer *w, const void *data, size_t size, struct sett_error *error)
{
	assert(size <= w->pointer.body_size - w->done);
	if (size == 0)
		return SETT_OK;
	int status =
		vfs_write_bytes(w->file->handle, data, size, w->pointer.offset + HEADER + w->done, error);
	if (status != SETT_OK)
		return status;
	hash64_stream_update(w->hash, data, size);
	w->done += size;
	__atomic_fetch_add(&w->log->bytes_written, size, __ATOMIC_RELAXED);
	return SETT_OK;
}

int
record_writer_finish(struct record_writer *w, struct sett_error *error)
{
	assert(w->done == w->pointer.body_size);
	put_le64(w->header, hash64_stream_digest(w->hash));
	int status = vfs_write_bytes(w->file->handle, w->header, HEADER, w->pointer.offset, error);
	if (status == SETT_OK)
		__atomic_fetch_add(&w->log->bytes_written, HEADER, __ATOMIC_RELAXED);
	return status;
}

void
record_writer_close(struct record_writer *w)
{
	hash64_stream_free(w->hash);
}

/* ---- both ---- */

int
value_log_verify(struct value_log *log, const struct value_pointer *pointer, struct sett_error *error)
{
	struct record_reader reader;
	uint8_t *piece = malloc(PIECE_SIZE);
	if (piece == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
	int status = record_reader_open(&reader, log, pointer, error);
	if (status == SETT_OK) {
		size_t size;
		do
			status = record_reader_read(&reader, piece, PIECE_SIZE, &size, error);
		while (status == SETT_OK && record_reader_remaining(&reader) > 0);
		record_reader_close(&reader);
	}
	free(piece);
	return status;
}

static int
copy_body(struct record_reader *from, struct record_writer *to, struct sett_error *error)
{
	uint8_t *piece = malloc(PIECE_SIZE);
	if (piece == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
	int status;
	size_t size;
	do {
		status = record_reader_read(from, piece, PIECE_SIZE, &size, error);
		if (status == SETT_OK)
			status = record_writer_append(to, piece, size, error);
	} while (status == SETT_OK && record_reader_remaining(from) > 0);
	free(piece);
	return status == SETT_OK ? record_writer_finish(to, error) : status;
}

int
record_copy(struct value_log *log, const struct value_pointer *from, struct value_log_file *file,
	    uint64_t offset, struct value_pointer *ret, struct sett_error *error)
{
	struct record_reader reader;
	struct record_writer writer;
	int status = record_reader_open(&reader, log, from, error);
	if (status != SETT_OK)
		return status;
	status = record_writer_open(&writer, log, file, offset, from->body_size);
	if (status == SETT_OK) {
		status = copy_body(&reader, &writer, error);
		if (status == SETT_OK)
			*ret = writer.pointer;
		record_writer_close(&writer);
	} else {
		sett_error_set(error, status, 0, "out of memory for a value");
	}
	record_reader_close(&reader);
	return status;
}
