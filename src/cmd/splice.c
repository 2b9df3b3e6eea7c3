/* Short strings are changed by rewriting them in memory, long ones in place. Where a large part is put into a long one, it
 * is rewritten from file to file, a piece of it in memory at a time; the body that is made belongs to the transaction's
 * run: one more run makes another. */
#include "cmd/splice.h"

#include "config/config.h"

enum {
	PIECE_SIZE = 256 * 1024,
	/* Bytes that are put into a long string in place: the transaction keeps them. */
	IN_PLACE_MAX = 1024 * 1024,
	/* A string is long from so many times packed-max-size on. */
	IN_PLACE_FACTOR = 16,
};

/* ---- in memory ---- */

static int
copy_old(const struct key *k, uint8_t *value)
{
	struct bytes body;
	if (string_size(k) == 0)
		return SETT_OK;
	int status = key_body(k, &body);
	if (status == SETT_OK)
		memcpy(value, body.data, body.size);
	return status;
}

static int
splice_in_memory(struct key *k, const struct string_part *parts, size_t count, uint64_t size)
{
	/* Not from the arena, which keeps what it has once taken. */
	uint8_t *value = calloc(1, (size_t)size);
	if (value == NULL)
		return SETT_NO_MEMORY;
	int status = copy_old(k, value);
	for (size_t i = 0; status == SETT_OK && i < count; i++)
		memcpy(value + parts[i].offset, parts[i].data, (size_t)parts[i].size);
	if (status == SETT_OK)
		status = key_put_encoded(k, bytes_of(value, (size_t)size), STRING_RAW, key_deadline(k));
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

/* What can't be streamed is read part by part. */
static int
pour_parts(struct pouring *p, const struct key *k, uint64_t from, uint64_t size)
{
	int status = SETT_OK;
	for (uint64_t done = 0; status == SETT_OK && done < size; done += PIECE_SIZE) {
		size_t part = size - done < PIECE_SIZE ? (size_t)(size - done) : PIECE_SIZE;
		status = key_body_part(k, from + done, part, p->piece);
		if (status == SETT_OK)
			status = sett_body_writer_append(p->to, p->piece, part, &p->error);
	}
	return status;
}

static int
pour_old(struct pouring *p, const struct key *k, uint64_t from, uint64_t size)
{
	struct sett_body_stream *stream;
	if (size == 0)
		return SETT_OK;
	int status = key_body_stream(k, from, size, &stream);
	if (status == SETT_OK)
		return pour_stream(p, stream);
	return status == SETT_INVALID ? pour_parts(p, k, from, size) : status;
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

/* The old value from `at` to `end`, and zeros where it has ended. */
static int
pour_gap(struct pouring *p, const struct key *k, uint64_t at, uint64_t end)
{
	uint64_t size = string_size(k), old_end = at > size ? at : end < size ? end : size;
	int status = pour_old(p, k, at, old_end - at);
	return status == SETT_OK ? pour_zeros(p, end - old_end) : status;
}

static int
pour(struct pouring *p, const struct key *k, const struct string_part *parts, size_t count, uint64_t size)
{
	int status = SETT_OK;
	uint64_t at = 0;
	for (size_t i = 0; status == SETT_OK && i < count; i++) {
		status = pour_gap(p, k, at, parts[i].offset);
		if (status == SETT_OK)
			status = pour_part(p, &parts[i]);
		at = parts[i].offset + parts[i].size;
	}
	if (status == SETT_OK)
		status = pour_gap(p, k, at, size);
	return status == SETT_OK ? sett_body_writer_finish(p->to, &p->error) : status;
}

static int
splice_in_files(struct command_context *c, struct key *k, const struct string_part *parts, size_t count,
		uint64_t size)
{
	struct pouring p = {.c = c};
	int status = context_make_body(c, size, &p.to);
	if (status != SETT_OK)
		return status;
	p.piece = malloc(PIECE_SIZE);
	if (p.piece == NULL)
		return SETT_NO_MEMORY;
	status = pour(&p, k, parts, count, size);
	free(p.piece);
	if (status != SETT_OK && p.error.message[0] != 0)
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "A value cannot be changed: %s",
				p.error.message);
	if (status == SETT_OK)
		status = key_put_body(k, p.to, key_deadline(k));
	return status;
}

/* ---- in place ---- */

static int
splice_in_place(struct command_context *c, struct key *k, const struct string_part *parts, size_t count)
{
	struct key_edit *edits = arena_allocate(c->arena, count * sizeof(*edits), _Alignof(struct key_edit));
	if (edits == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++)
		edits[i] = (struct key_edit){.offset = parts[i].offset,
					     .data = bytes_of(parts[i].data, (size_t)parts[i].size)};
	return key_edit(k, edits, count);
}

/* Whether the string, which becomes `size` bytes long by `put` bytes that are put in, is edited in place. */
static bool
is_spliced_in_place(const struct command_context *c, const struct key *k, uint64_t size, uint64_t put)
{
	int64_t packed = __atomic_load_n(&c->server->config->packed_max_size, __ATOMIC_RELAXED);
	return size >= (uint64_t)packed * IN_PLACE_FACTOR && put <= IN_PLACE_MAX && put <= size / 2 &&
		key_takes_edits(k);
}

int
string_splice(struct command_context *c, struct key *k, const struct string_part *parts, size_t count)
{
	uint64_t size = string_size(k), end = parts[count - 1].offset + parts[count - 1].size, put = 0;
	bool has_body = false;
	for (size_t i = 0; i < count; i++) {
		assert(i == 0 || parts[i].offset >= parts[i - 1].offset + parts[i - 1].size);
		has_body = has_body || parts[i].body != NULL;
		put += parts[i].size;
	}
	if (size < end)
		size = end;
	if (!has_body && is_spliced_in_place(c, k, size, put))
		return splice_in_place(c, k, parts, count);
	if (size >= CONTEXT_LONG_MIN) {
		int status = context_enter_long_lane(c);
		if (status != SETT_OK)
			return status;
	}
	if (has_body || (size >= CONTEXT_STREAM_MIN && key_takes_body(k->name)))
		return splice_in_files(c, k, parts, count, size);
	return splice_in_memory(k, parts, count, size);
}
