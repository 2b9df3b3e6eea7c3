/* Bodies in pieces; see upload.h. */
#include "upload.h"

#include <stdlib.h>

void
upload_fill(uint8_t *p, size_t size, uint64_t content)
{
	struct random random;
	bool shrinks = content % 2; /* every other one, when it is packed */
	uint64_t word = 0;
	random_seed(&random, content);
	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0 && (i == 0 || !shrinks))
			word = random_next(&random);
		p[i] = (uint8_t)(word >> (i % 8 * 8));
	}
}

void
upload_close(struct upload *u)
{
	sett_body_writer_close(u->writer);
	*u = (struct upload){0};
}

static int
write_piece(struct upload *u, uint32_t wanted)
{
	struct sett_error error;
	uint32_t left = u->size - u->done, piece = wanted < left ? wanted : left;
	uint8_t *body = malloc(u->size + 1);
	if (!body)
		return SETT_NO_MEMORY;
	upload_fill(body, u->size, u->content);
	int r = sett_body_writer_append(u->writer, body + u->done, piece, &error);
	free(body);
	if (r == SETT_OK)
		u->done += piece;
	return r;
}

int
upload_step(struct upload *u, struct sett_engine *engine, uint64_t choice, uint32_t size_max)
{
	struct sett_error error;
	int r = SETT_OK;
	if (u->finished)
		return SETT_OK;
	if (!u->writer) {
		u->content = choice;
		u->size = (uint32_t)(choice >> 32) % (size_max + 1);
		r = sett_body_writer_open(engine, u->size, &u->writer, &error);
	} else if (choice % 16 == 0) {
		upload_close(u);
	} else if (u->done < u->size) {
		r = write_piece(u, 1 + (uint32_t)(choice >> 8) % size_max);
	} else {
		r = sett_body_writer_finish(u->writer, &error);
		u->finished = r == SETT_OK;
	}
	if (r != SETT_OK)
		upload_close(u);
	return r;
}
