/* Strings are changed by rewriting them: short ones in memory, long ones from file to file, a piece of them
 * in memory at a time. The body that is made belongs to the transaction's run: one more run makes another. */
#include "cmd/splice.h"

enum { PIECE_SIZE = 256 * 1024 };

/* ---- in memory ---- */

static int
copy_old(struct command_context *c, const struct found_string *old, uint8_t *value)
{
	struct bytes body;
	if (found_size(old) == 0)
		return SETT_OK;
	int status = keyspace_body(&c->view, &old->root, &body);
	if (status == SETT_OK)
		memcpy(value, body.data, body.size);
	return status;
}

static int
splice_in_memory(struct command_context *c, struct bytes key, const struct found_string *old, uint64_t offset,
		 const struct string_part *part, uint64_t size)
{
	/* Not from the arena, which keeps what it has once taken. */
	uint8_t *value = calloc(1, (size_t)size);
	if (value == NULL)
		return SETT_NO_MEMORY;
	int status = copy_old(c, old, value);
	if (status == SETT_OK)
		memcpy(value + offset, part->data, (size_t)part->size);
	if (status == SETT_OK)
		status = keyspace_put_encoded(&c->view, c->db, key, bytes_of(value, (size_t)size), STRING_RAW,
					      found_deadline(old), found_root(old));
	free(value);
	return status;
}

/* ---- from file to file ---- */

struct pouring {
	struct command_context *c;
	struct sett_body_writer *to;
	uint8_t *piece;
	struct sett_error error; /* of the read or write that failed */
};

/* Takes the stream over. */
static int
pour_stream(struct pouring *p, struct sett_body_stream *stream)
{
	int status = SETT_OK;
	while (status == SETT_OK && sett_body_stream_remaining(stream) > 0) {
		size_t size;
		status = sett_body_stream_read(stream, p->piece, PIECE_SIZE, &size, &p->error);
		if (status == SETT_OK)
			status = sett_body_writer_append(p->to, p->piece, size, &p->error);
	}
	sett_body_stream_close(stream);
	return status;
}

static int
pour_old(struct pouring *p, const struct root *old, uint64_t from, uint64_t size)
{
	struct sett_body_stream *stream;
	struct bytes body;
	if (size == 0)
		return SETT_OK;
	int status = keyspace_body_stream(&p->c->view, old, from, size, &stream);
	if (status == SETT_OK)
		return pour_stream(p, stream);
	if (status != SETT_INVALID)
		return status;
	status = keyspace_body(&p->c->view, old, &body);
	return status == SETT_OK ? sett_body_writer_append(p->to, body.data + from, (size_t)size, &p->error)
				 : status;
}

static int
pour_zeros(struct pouring *p, uint64_t size)
{
	int status = SETT_OK;
	memset(p->piece, 0, PIECE_SIZE);
	while (status == SETT_OK && size > 0) {
		size_t part = size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
		status = sett_body_writer_append(p->to, p->piece, part, &p->error);
		size -= part;
	}
	return status;
}

static int
pour_part(struct pouring *p, const struct string_part *part)
{
	struct sett_body_stream *stream;
	if (part->body == NULL)
		return sett_body_writer_append(p->to, part->data, (size_t)part->size, &p->error);
	int status = sett_body_writer_stream(part->body, &stream);
	return status == SETT_OK ? pour_stream(p, stream) : status;
}

static int
pour(struct pouring *p, const struct found_string *old, uint64_t offset, const struct string_part *part)
{
	uint64_t old_size = found_size(old), before = offset < old_size ? offset : old_size;
	uint64_t end = offset + part->size;
	int status = pour_old(p, &old->root, 0, before);
	if (status == SETT_OK)
		status = pour_zeros(p, offset - before);
	if (status == SETT_OK)
		status = pour_part(p, part);
	if (status == SETT_OK && end < old_size)
		status = pour_old(p, &old->root, end, old_size - end);
	return status == SETT_OK ? sett_body_writer_finish(p->to, &p->error) : status;
}

static int
splice_in_files(struct command_context *c, struct bytes key, const struct found_string *old, uint64_t offset,
		const struct string_part *part, uint64_t size)
{
	struct pouring p = {.c = c};
	int status = context_make_body(c, size, &p.to);
	if (status != SETT_OK)
		return status;
	p.piece = malloc(PIECE_SIZE);
	if (p.piece == NULL)
		return SETT_NO_MEMORY;
	status = pour(&p, old, offset, part);
	free(p.piece);
	if (status != SETT_OK && p.error.message[0] != 0)
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "A value cannot be changed: %s",
				p.error.message);
	if (status == SETT_OK)
		status = keyspace_put_body(&c->view, c->db, key, p.to, found_deadline(old), found_root(old));
	return status;
}

int
string_splice(struct command_context *c, struct bytes key, const struct found_string *old, uint64_t offset,
	      const struct string_part *part)
{
	uint64_t size = offset + part->size;
	if (size < found_size(old))
		size = found_size(old);
	if (size >= CONTEXT_LONG_MIN) {
		int status = context_enter_long_lane(c);
		if (status != SETT_OK)
			return status;
	}
	if (part->body != NULL || (size >= CONTEXT_STREAM_MIN && keyspace_key_takes_body(key)))
		return splice_in_files(c, key, old, offset, part, size);
	return splice_in_memory(c, key, old, offset, part, size);
}
