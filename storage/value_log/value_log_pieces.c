/* Records in pieces; see value_log_pieces.h. */
#include "value_log_pieces.h"

#include "storage/base/hash.h"

enum { HEADER = VALUE_LOG_RECORD_HEADER_SIZE, PIECE = VALUE_LOG_PIECE_SIZE, COPIED_AT_ONCE = 256 * 1024 };

static int
no_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
}

/* ---- reading ---- */

int
record_reader_open(struct record_reader *r, struct value_log *log, const struct value_pointer *pointer,
		   struct sett_error *error)
{
	*r = (struct record_reader){.log = log, .pointer = *pointer};
	int status = value_log_locate(log, pointer, &r->file, error);
	if (status == SETT_OK && value_log_is_packed(pointer))
		return sett_error_set(error, SETT_INVALID, 0, "a value that is packed is read whole");
	return status;
}

static int
damaged(const struct record_reader *r, struct sett_error *error)
{
	return value_log_damaged(r->log, &r->pointer, "the value's checksum is wrong", error);
}

/* Bytes of a piece but for the last. */
static uint64_t
piece_size(const struct record_reader *r)
{
	return value_log_is_pieced(r->pointer.body_size) ? (uint64_t)PIECE : r->pointer.body_size;
}

/* The table of a body in pieces, if it is right. */
static int
read_table(struct record_reader *r, const uint8_t header[HEADER], uint8_t *table, size_t size,
	   struct sett_error *error)
{
	const struct value_pointer *p = &r->pointer;
	int status = vfs_read_exact(r->file->handle, table, size, p->offset + p->stored_size - size, r->flags,
				    error);
	/* The seal of a single piece proves itself. */
	if (status == SETT_OK && (!r->is_sealed || value_log_is_pieced(p->body_size)) &&
	    value_log_checksum(p->file, p->offset, header, bytes_of(table, size)) != get_le64(header))
		return damaged(r, error);
	return status;
}

/* What the pieces are to be measured by: before the first of them. */
static int
read_sums(struct record_reader *r, struct sett_error *error)
{
	const struct value_pointer *p = &r->pointer;
	uint8_t header[HEADER];
	bool is_pieced = value_log_is_pieced(p->body_size);
	int status = vfs_read_exact(r->file->handle, header, HEADER, p->offset, r->flags, error);
	if (status != SETT_OK)
		return status;
	r->is_sealed = p->stored_size == value_log_sealed_size(p->body_size);
	if (!r->is_sealed && !vfs_takes_plain(r->log->options.vfs))
		return value_log_damaged(r->log, p, "the value is not encrypted, though the database is",
					 error);
	uint32_t flags = (is_pieced ? (uint32_t)VALUE_LOG_PIECED : (uint32_t)VALUE_LOG_PLAIN) |
		(r->is_sealed ? VALUE_LOG_SEALED : 0);
	if (get_le32(header + 8) != p->stored_size - HEADER || get_le32(header + 12) != flags)
		return damaged(r, error);
	size_t size = r->is_sealed ? (size_t)value_log_seals_size(p->body_size)
		: is_pieced        ? (size_t)value_log_table_size(p->body_size)
				   : VALUE_LOG_SUM_SIZE;
	uint8_t *sums = malloc(size);
	if (sums == NULL)
		return no_memory(error);
	if (is_pieced || r->is_sealed) {
		status = read_table(r, header, sums, size, error);
	} else {
		memcpy(sums, header, size);
		r->seed = value_log_checksum_seed(p->file, p->offset, header);
	}
	if (status == SETT_OK)
		r->sums = sums;
	else
		free(sums);
	return status;
}

/* Decrypts whole pieces in their place. */
static int
decrypt_pieces(struct record_reader *r, uint64_t first, uint8_t *data, size_t size, struct sett_error *error)
{
	size_t step = (size_t)piece_size(r), at = 0;
	do {
		const char *why = "";
		size_t part = size - at < step ? size - at : step;
		struct seal_place place = value_log_place(r->pointer.file, r->pointer.offset, first);
		int status = seal_open(r->log->options.vfs->keys, &place, bytes_of(data + at, part),
				       r->sums + first * SEAL_SIZE, data + at, &why);
		if (status != SETT_OK)
			return value_log_refuse(r->log, &r->pointer, status, why, error);
		first++;
		at += part;
	} while (at < size);
	return SETT_OK;
}

/* Whole pieces from number `first` on: `size` bytes in all. */
static int
read_pieces(struct record_reader *r, uint64_t first, uint8_t *data, size_t size, struct sett_error *error)
{
	size_t step = (size_t)piece_size(r);
	int status = vfs_read_exact(r->file->handle, data, size, r->pointer.offset + HEADER + first * step,
				    r->flags, error);
	if (status != SETT_OK)
		return status;
	if (r->is_sealed)
		return decrypt_pieces(r, first, data, size, error);
	const uint8_t *sum = r->sums + first * VALUE_LOG_SUM_SIZE;
	for (size_t at = 0; at < size; at += step, sum += VALUE_LOG_SUM_SIZE)
		if (hash64(data + at, size - at < step ? size - at : step, r->seed) != get_le64(sum))
			return damaged(r, error);
	return SETT_OK;
}

static int
hold_piece(struct record_reader *r, uint64_t number, size_t size, struct sett_error *error)
{
	if (r->is_held && r->held == number)
		return SETT_OK;
	if (r->piece == NULL && (r->piece = malloc((size_t)piece_size(r))) == NULL)
		return no_memory(error);
	int status = read_pieces(r, number, r->piece, size, error);
	r->held = number;
	r->is_held = status == SETT_OK;
	return status;
}

/* What can be read at once of the next `size` bytes: whole pieces straight to their place, else a part of one
 * by way of the reader. */
static int
read_some(struct record_reader *r, uint8_t *data, size_t size, size_t *ret, struct sett_error *error)
{
	uint64_t step = piece_size(r), number = r->position / step, start = number * step;
	uint64_t left = r->pointer.body_size - start, length = left < step ? left : step;
	uint64_t skip = r->position - start;
	if (skip == 0 && size >= length) {
		size_t whole = size == left ? size : (size_t)(size / step * step);
		*ret = whole;
		return read_pieces(r, number, data, whole, error);
	}
	int status = hold_piece(r, number, (size_t)length, error);
	if (status == SETT_OK) {
		*ret = size < length - skip ? size : (size_t)(length - skip);
		memcpy(data, r->piece + skip, *ret);
	}
	return status;
}

int
record_reader_read(struct record_reader *r, void *data, size_t size, struct sett_error *error)
{
	uint8_t *at = data;
	assert(size <= record_reader_remaining(r));
	int status = r->sums == NULL ? read_sums(r, error) : SETT_OK;
	if (status == SETT_OK && r->pointer.body_size == 0 && r->is_sealed)
		return decrypt_pieces(r, 0, data, 0, error);
	if (status == SETT_OK && r->pointer.body_size == 0)
		return hash64("", 0, r->seed) == get_le64(r->sums) ? SETT_OK : damaged(r, error);
	while (status == SETT_OK && size > 0) {
		size_t part = 0;
		status = read_some(r, at, size, &part, error);
		if (status != SETT_OK)
			break;
		at += part;
		size -= part;
		r->position += part;
	}
	return status;
}

void
record_reader_close(struct record_reader *r)
{
	free(r->sums);
	free(r->piece);
}

int
value_log_read_part(struct value_log *log, const struct value_pointer *pointer, uint64_t position,
		    size_t size, unsigned flags, uint8_t *ret, struct sett_error *error)
{
	struct record_reader reader;
	int status = record_reader_open(&reader, log, pointer, error);
	if (status != SETT_OK)
		return status;
	reader.flags = flags;
	reader.position = position;
	status = record_reader_read(&reader, ret, size, error);
	record_reader_close(&reader);
	return status;
}

/* ---- writing ---- */

int
record_writer_open(struct record_writer *w, struct value_log *log, struct value_log_file *file,
		   uint64_t offset, uint64_t body_size)
{
	bool is_pieced = value_log_is_pieced(body_size);
	size_t table =
		(size_t)(log->seals ? value_log_seals_size(body_size) : value_log_table_size(body_size));
	size_t piece = !log->seals ? 0 : is_pieced ? (size_t)PIECE : (size_t)body_size;
	struct hash64_stream *hash = hash64_stream_create();
	uint8_t *sums = table > 0 ? malloc(table) : NULL, *clear = NULL;
	/* The piece as it comes, and behind it encrypted, with its seal if it is the only one. */
	if (log->seals)
		clear = malloc(2 * piece + SEAL_SIZE);
	if (hash == NULL || (table > 0 && sums == NULL) || (log->seals && clear == NULL)) {
		hash64_stream_free(hash);
		free(sums);
		free(clear);
		return SETT_NO_MEMORY;
	}
	*w = (struct record_writer){.log = log,
				    .file = file,
				    .pointer = {file->number, offset, HEADER + body_size + table, body_size},
				    .sums = sums,
				    .clear = clear,
				    .sealed = clear != NULL ? clear + piece : NULL,
				    .hash = hash};
	put_le32(w->header + 8, (uint32_t)(body_size + table));
	put_le32(w->header + 12,
		 (is_pieced ? (uint32_t)VALUE_LOG_PIECED : (uint32_t)VALUE_LOG_PLAIN) |
			 (log->seals ? VALUE_LOG_SEALED : 0));
	hash64_stream_reset(hash, is_pieced ? 0 : value_log_checksum_seed(file->number, offset, w->header));
	return SETT_OK;
}

/* The bytes are the next of the body, which stands in pieces. */
static void
note_pieces(struct record_writer *w, const uint8_t *data, size_t size)
{
	while (size > 0) {
		uint64_t number = w->done / PIECE;
		size_t left = (size_t)((number + 1) * PIECE - w->done), part = size < left ? size : left;
		hash64_stream_update(w->hash, data, part);
		data += part;
		size -= part;
		w->done += part;
		if (part < left && w->done < w->pointer.body_size)
			continue;
		put_le64(w->sums + number * VALUE_LOG_SUM_SIZE, hash64_stream_digest(w->hash));
		hash64_stream_reset(w->hash, 0);
	}
}

static int
write_at(struct record_writer *w, const void *data, size_t size, uint64_t offset, struct sett_error *error)
{
	int status = vfs_write_bytes(w->file->handle, data, size, w->pointer.offset + offset, error);
	if (status == SETT_OK)
		__atomic_fetch_add(&w->log->bytes_written, size, __ATOMIC_RELAXED);
	return status;
}

/* Encrypts the piece that ends at `done` and writes it. */
static int
put_sealed_piece(struct record_writer *w, size_t size, struct sett_error *error)
{
	bool is_pieced = value_log_is_pieced(w->pointer.body_size);
	uint64_t start = w->done - size, number = is_pieced ? start / PIECE : 0;
	struct seal_place place = value_log_place(w->pointer.file, w->pointer.offset, number);
	uint8_t *seal = w->sums + number * SEAL_SIZE;
	int status = seal_make(w->log->options.vfs->keys, &place, bytes_of(w->clear, size), w->sealed, seal);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "a value cannot be encrypted: %s",
				      sett_status_text(status));
	if (!is_pieced)
		hash64_stream_update(w->hash, w->sealed, size);
	return size > 0 ? write_at(w, w->sealed, size, HEADER + start, error) : SETT_OK;
}

static int
append_sealed(struct record_writer *w, const uint8_t *data, size_t size, struct sett_error *error)
{
	bool is_pieced = value_log_is_pieced(w->pointer.body_size);
	size_t step = is_pieced ? (size_t)PIECE : (size_t)w->pointer.body_size;
	while (size > 0) {
		size_t held = (size_t)(w->done % step), part = size < step - held ? size : step - held;
		memcpy(w->clear + held, data, part);
		data += part;
		size -= part;
		w->done += part;
		if (held + part < step && w->done < w->pointer.body_size)
			continue;
		int status = put_sealed_piece(w, held + part, error);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

int
record_writer_append(struct record_writer *w, const void *data, size_t size, struct sett_error *error)
{
	assert(size <= w->pointer.body_size - w->done);
	if (size == 0)
		return SETT_OK;
	if (w->clear != NULL)
		return append_sealed(w, data, size, error);
	int status = write_at(w, data, size, HEADER + w->done, error);
	if (status != SETT_OK)
		return status;
	if (w->sums != NULL) {
		note_pieces(w, data, size);
	} else {
		hash64_stream_update(w->hash, data, size);
		w->done += size;
	}
	return SETT_OK;
}

int
record_writer_finish(struct record_writer *w, struct sett_error *error)
{
	const struct value_pointer *p = &w->pointer;
	uint64_t table = p->stored_size - HEADER - p->body_size, checksum;
	int status = SETT_OK;
	assert(w->done == p->body_size);
	if (w->clear != NULL && p->body_size == 0)
		status = put_sealed_piece(w, 0, error);
	if (status != SETT_OK)
		return status;
	if (w->clear != NULL && !value_log_is_pieced(p->body_size)) {
		hash64_stream_update(w->hash, w->sums, SEAL_SIZE);
		checksum = hash64_stream_digest(w->hash);
		status = write_at(w, w->sums, SEAL_SIZE, HEADER + p->body_size, error);
	} else if (w->sums != NULL) {
		checksum =
			value_log_checksum(p->file, p->offset, w->header, bytes_of(w->sums, (size_t)table));
		status = write_at(w, w->sums, (size_t)table, HEADER + p->body_size, error);
	} else {
		checksum = hash64_stream_digest(w->hash);
	}
	put_le64(w->header, checksum);
	return status == SETT_OK ? write_at(w, w->header, HEADER, 0, error) : status;
}

void
record_writer_close(struct record_writer *w)
{
	hash64_stream_free(w->hash);
	free(w->sums);
	if (w->clear != NULL)
		seal_forget(w->clear, (size_t)(w->sealed - w->clear));
	free(w->clear);
}

/* ---- both ---- */

/* The next bytes: as many as are handled at once, or what remains. */
static int
read_next(struct record_reader *r, uint8_t buffer[COPIED_AT_ONCE], size_t *ret, struct sett_error *error)
{
	uint64_t left = record_reader_remaining(r);
	*ret = left < COPIED_AT_ONCE ? (size_t)left : COPIED_AT_ONCE;
	return record_reader_read(r, buffer, *ret, error);
}

int
value_log_verify(struct value_log *log, const struct value_pointer *pointer, struct sett_error *error)
{
	struct record_reader reader;
	uint8_t *buffer = malloc(COPIED_AT_ONCE);
	if (buffer == NULL)
		return no_memory(error);
	int status = record_reader_open(&reader, log, pointer, error);
	if (status == SETT_OK) {
		size_t size;
		do
			status = read_next(&reader, buffer, &size, error);
		while (status == SETT_OK && record_reader_remaining(&reader) > 0);
		record_reader_close(&reader);
	}
	free(buffer);
	return status;
}

static int
copy_body(struct record_reader *from, struct record_writer *to, struct sett_error *error)
{
	uint8_t *buffer = malloc(COPIED_AT_ONCE);
	if (buffer == NULL)
		return no_memory(error);
	int status;
	size_t size;
	do {
		status = read_next(from, buffer, &size, error);
		if (status == SETT_OK)
			status = record_writer_append(to, buffer, size, error);
	} while (status == SETT_OK && record_reader_remaining(from) > 0);
	free(buffer);
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
		no_memory(error);
	}
	record_reader_close(&reader);
	return status;
}
