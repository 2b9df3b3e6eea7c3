/* Records of the value log, read and written in pieces: bodies of any size, a piece of them in memory.
 *
 * A record's header holds the checksum over its place and the whole body. So a reader gives its last piece
 * out only if the whole is right, and a writer writes the header last: until then nothing at that place
 * proves itself to be a record. What is packed (value_log.h) is small, and not for pieces. */
#ifndef SETT_VALUE_LOG_PIECES_H
#define SETT_VALUE_LOG_PIECES_H

#include "value_log_private.h"

struct record_reader {
	struct value_log *log;
	struct value_log_file *file;
	struct value_pointer pointer;
	uint64_t done; /* bytes of the body that were given out */
	struct hash64_stream *hash;
	uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE]; /* read before the first piece */
};

/* The caller holds the file, from before until the reader is closed. Reads nothing yet. SETT_NOT_FOUND,
 * SETT_CORRUPT, SETT_NO_MEMORY; SETT_INVALID: it is packed, and so small. */
int record_reader_open(struct record_reader *, struct value_log *, const struct value_pointer *,
		       struct sett_error *);
/* The next `capacity` bytes of the body, or what remains. SETT_CORRUPT, SETT_IO: it can only be closed. */
int record_reader_read(struct record_reader *, void *data, size_t capacity, size_t *ret, struct sett_error *);
static inline uint64_t
record_reader_remaining(const struct record_reader *r)
{
	return r->pointer.body_size - r->done;
}
/* Only of one that was opened. */
void record_reader_close(struct record_reader *);

struct record_writer {
	struct value_log *log;
	struct value_log_file *file;
	struct value_pointer pointer; /* valid once it is finished */
	uint64_t done;                /* bytes of the body that were written */
	struct hash64_stream *hash;
	uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE];
};

/* The range of `offset` and the record's size belongs to the caller, who keeps the file. Writes nothing yet.
 * SETT_NO_MEMORY. */
int record_writer_open(struct record_writer *, struct value_log *, struct value_log_file *, uint64_t offset,
		       uint64_t body_size);
/* The next bytes of the body, no more than remain. SETT_IO, SETT_NO_SPACE: it can only be closed. */
int record_writer_append(struct record_writer *, const void *data, size_t size, struct sett_error *);
/* The body is whole: writes the header. */
int record_writer_finish(struct record_writer *, struct sett_error *);
/* Only of one that was opened. */
void record_writer_close(struct record_writer *);

/* Copies the record that `from` points at, which the caller holds, to `offset` of a file whose range belongs
 * to the caller. SETT_NOT_FOUND and SETT_CORRUPT speak of the source; SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY.
 */
int record_copy(struct value_log *, const struct value_pointer *from, struct value_log_file *,
		uint64_t offset, struct value_pointer *ret, struct sett_error *);

#endif
