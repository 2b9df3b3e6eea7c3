/* Large arguments on their way to the value log; see upload.h. */
#include "net/upload.h"

#include <assert.h>

void
upload_free(struct upload *u)
{
	if (u == NULL)
		return;
	argument_bodies_free(u->argument);
	free(u);
}

bool
upload_begin(struct connection *c, bool drops)
{
	struct upload *u = malloc(sizeof(*u));
	struct argument_body *argument = calloc(1, sizeof(*argument));
	if (u == NULL || argument == NULL) {
		free(u);
		free(argument);
		return false;
	}
	argument->index = c->parser.argc;
	argument->size = c->parser.bulk_size;
	argument->status = drops ? SETT_INVALID : SETT_OK;
	u->argument = argument;
	u->taken = u->filled = 0;
	c->upload = u;
	c->input_wanted = 0;
	return true;
}

/* `size` bytes were put behind the piece. */
static void
note_taken(struct upload *u, size_t size)
{
	if (u->taken < sizeof(u->shown)) {
		size_t room = sizeof(u->shown) - (size_t)u->taken;
		memcpy(u->shown + u->taken, u->piece + u->filled, size < room ? size : room);
	}
	u->filled += size;
	u->taken += size;
}

/* Bytes that the piece has room for and the argument still lacks. */
static size_t
wanted(const struct upload *u)
{
	size_t room = sizeof(u->piece) - u->filled;
	uint64_t missing = u->argument->size - u->taken;
	return missing < room ? (size_t)missing : room;
}

void
upload_take(struct connection *c)
{
	struct upload *u = c->upload;
	size_t at = c->parse_start + c->parser.position, there = c->input_end - at, size = wanted(u);
	if (size > there)
		size = there;
	if (size == 0)
		return;
	memcpy(u->piece + u->filled, c->input + at, size);
	memmove(c->input + at, c->input + at + size, there - size);
	c->input_end -= size;
	c->input_seen = c->input_end;
	note_taken(u, size);
}

enum input_result
upload_read(struct connection *c, size_t *ret_size)
{
	struct upload *u = c->upload;
	assert(wanted(u) > 0); /* a full piece is with the pool: 0 bytes read would look like the end */
	size_t got;
	enum input_result result = connection_receive(c, u->piece + u->filled, wanted(u), &got);
	if (result != INPUT_OK)
		return result;
	note_taken(u, got);
	*ret_size = got;
	return INPUT_OK;
}

void
upload_store(struct upload *u, struct sett_engine *engine)
{
	struct argument_body *a = u->argument;
	int status = SETT_OK;
	if (a->body == NULL)
		status = sett_body_writer_open(engine, a->size, &a->body, &u->error);
	if (status == SETT_OK)
		status = sett_body_writer_append(a->body, u->piece, u->filled, &u->error);
	if (status == SETT_OK && u->taken == a->size)
		status = sett_body_writer_finish(a->body, &u->error);
	if (status != SETT_OK) {
		sett_body_writer_close(a->body);
		a->body = NULL;
		a->status = status;
	}
	u->filled = 0;
}

bool
upload_end(struct connection *c)
{
	struct upload *u = c->upload;
	size_t shown = sizeof(u->shown);
	if (!connection_reserve_input(c, shown))
		return false;
	size_t at = c->parse_start + c->parser.position;
	memmove(c->input + at + shown, c->input + at, c->input_end - at);
	memcpy(c->input + at, u->shown, shown);
	c->input_end += shown;
	c->input_seen = at; /* the parser has a look at what is there */
	resp_parser_shrink_bulk(&c->parser, shown);
	u->argument->next = c->client.argument_bodies;
	c->client.argument_bodies = u->argument;
	free(u);
	c->upload = NULL;
	return true;
}
