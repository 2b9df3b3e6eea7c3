/* Values that are read in pieces: memory is bounded however long they are. */
#include "cmd/bits.h"

enum { PIECE_SIZE = 256 * 1024 };

int
string_pieces_begin(struct command_context *c, const struct key *k, uint64_t from, uint64_t end,
		    struct string_pieces *ret)
{
	*ret = (struct string_pieces){.key = k, .at = from, .end = end};
	assert(from <= end && end <= string_size(k));
	if (end - from >= CONTEXT_LONG_MIN) {
		int status = context_enter_long_lane(c);
		if (status != SETT_OK)
			return status;
	}
	/* A small one that lies in one place is no more than looked at. */
	if (string_size(k) < CONTEXT_STREAM_MIN && (!k->exists || k->root.object == 0))
		return SETT_OK;
	ret->buffer = malloc(PIECE_SIZE);
	return ret->buffer != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static int
whole_value(struct string_pieces *p, struct bytes *ret)
{
	struct bytes body;
	int status = key_body(p->key, &body);
	if (status != SETT_OK)
		return status;
	*ret = bytes_of(body.data + p->at, (size_t)(p->end - p->at));
	p->at = p->end;
	return SETT_OK;
}

int
string_pieces_next(struct command_context *c, struct string_pieces *p, struct bytes *ret)
{
	*ret = (struct bytes){0};
	if (p->at == p->end)
		return SETT_OK;
	if (p->buffer == NULL)
		return whole_value(p, ret);
	if ((c->command->flags & COMMAND_READONLY) != 0 && context_is_given_up(c))
		return context_give_up(c);
	size_t size = p->end - p->at < PIECE_SIZE ? (size_t)(p->end - p->at) : PIECE_SIZE;
	int status = key_body_part(p->key, p->at, size, p->buffer);
	if (status != SETT_OK)
		return status;
	p->at += size;
	*ret = bytes_of(p->buffer, size);
	return SETT_OK;
}

void
string_pieces_end(struct string_pieces *p)
{
	free(p->buffer);
	p->buffer = NULL;
}
