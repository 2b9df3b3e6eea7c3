/* Records of the value log, read and written in parts: bodies of any size, a piece of them in memory.
 *
 * A body of SETT_MAX_PACKED_SIZE and more stands in pieces, each with a checksum in the table behind the
 * body, which the header's checksum covers (value_log_format.h). A smaller one is a single piece whose
 * checksum the header has itself. A reader gives out what belongs to pieces that are right, and nothing else.
 * A writer writes the header last: until then nothing at that place proves itself to be a record. What is
 * packed (value_log.h) is small, and not for this. */
#ifndef SETT_VALUE_LOG_PIECES_H
#define SETT_VALUE_LOG_PIECES_H

#include "value_log_private.h"

struct record_reader {
	struct value_log *log;
	struct value_log_file *file;
	struct value_pointer pointer;
	unsigned flags;    /* of reads: VFS_NOWAIT */
	uint64_t position; /* in the body, of the next byte that is given out */
	uint64_t seed;     /* of a piece's checksum */
	uint8_t *sums;     /* of the pieces, as they are stored, or their seals; NULL: not read yet */
	bool is_sealed;    /* known once the sums are */
	uint8_t *piece;    /* one of which a part was wanted */
	uint64_t held;     /* its number, if `is_held` */
	bool is_held;
};

/* The caller holds the file, from before until the reader is closed. Reads nothing yet. SETT_NOT_FOUND,
 * SETT_CORRUPT; SETT_INVALID: it is packed, and so small. */
int record_reader_open(struct record_reader *, struct value_log *, const struct value_pointer *,
		       struct sett_error *);
/* The next `size` bytes of the body, which has them. SETT_WOULD_BLOCK (then again, where waiting is allowed),
 * SETT_CORRUPT, SETT_IO, SETT_NO_MEMORY. */
int record_reader_read(struct record_reader *, void *data, size_t size, struct sett_error *);
static inline uint64_t
record_reader_remaining(const struct record_reader *r)
{
	return r->pointer.body_size - r->position;
}
/* Only of one that was opened. */
void record_reader_close(struct record_reader *);

struct record_writer {
	struct value_log *log;
	struct value_log_file *file;
	struct value_pointer pointer; /* valid once it is finished */
	uint64_t done;                /* bytes of the body that were written */
	uint8_t *sums; /* of the pieces, as they are stored, or seals; NULL: it is a single one */
	uint8_t *clear,
		*sealed; /* of a record that is sealed: a piece as it comes, and encrypted; else NULL */
	struct hash64_stream *hash; /* of the present piece */
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
