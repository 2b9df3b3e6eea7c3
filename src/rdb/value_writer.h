/* Writes values as value_reader.h, input.h and blob.h describe them, into one buffer. Running out of memory is kept in
 * `failed`: further calls do nothing, and who finishes looks once. */
#ifndef SETT_RDB_VALUE_WRITER_H
#define SETT_RDB_VALUE_WRITER_H

#include "rdb/value_reader.h"

struct lzf_state;

struct rdb_writer {
	struct buffer out;
	bool compresses; /* long strings */
	bool leaves_out_field_deadlines;
	bool failed;
	struct lzf_state *lzf; /* once it is needed */
	/* What becomes of bytes that are ready; NULL: all stay in `out`. A failure is kept in `failure`. */
	int (*drain)(void *arg, struct bytes);
	void *drain_arg;
	int failure;
	size_t limit; /* of what is in `out`: past it, it fails as where there is no memory; 0: none */
	unsigned open_lengths; /* lengths that are not known yet: nothing can be drained */
	struct bytes name;     /* of a key of a file: it stands behind the type of the next value */
	bool has_name;
};
enum { RDB_PIECE_SIZE = 1024 * 1024 };

void rdb_writer_init(struct rdb_writer *, bool compresses);
void rdb_writer_free(struct rdb_writer *);

/* What a value begins with: its type, and in a file the key's name. */
void rdb_put_type(struct rdb_writer *, uint8_t type);
/* Hands on what is ready, if it is `least` bytes or more. SETT_OK, or what drain said; SETT_NO_MEMORY. */
int rdb_writer_drain(struct rdb_writer *, size_t least);

void rdb_put_byte(struct rdb_writer *, uint8_t);
void rdb_put_bytes(struct rdb_writer *, struct bytes);
/* Of 1 to 8 bytes. */
void rdb_put_little_endian(struct rdb_writer *, uint64_t, size_t size);
void rdb_put_length(struct rdb_writer *, uint64_t);
/* A length that is not known yet: where it is, for rdb_set_length. */
size_t rdb_put_length_space(struct rdb_writer *);
void rdb_set_length(struct rdb_writer *, size_t at, uint64_t);
/* As an integer if it is one's text, compressed if that saves something. */
void rdb_put_string(struct rdb_writer *, struct bytes);
void rdb_put_double(struct rdb_writer *, double);

/* `size` bytes that the caller fills in at once, at the address returned. NULL when failed. */
uint8_t *rdb_put_space(struct rdb_writer *, size_t size);

/* ---- listpacks ---- */
struct listpack_writer {
	struct buffer out;
	uint64_t count;
	bool failed;
};
void listpack_begin(struct listpack_writer *);
void listpack_add(struct listpack_writer *, struct bytes element);
void listpack_add_integer(struct listpack_writer *, int64_t);
enum { LISTPACK_HEADER_SIZE = 6 };
/* All elements of another one, which has not ended. */
void listpack_append(struct listpack_writer *, const struct listpack_writer *);
/* Ends the listpack and puts it as a string; the writer can begin anew. */
void rdb_put_listpack(struct rdb_writer *, struct listpack_writer *);
void listpack_free(struct listpack_writer *);

#endif
