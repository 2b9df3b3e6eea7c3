/* A body on its way to the value log in pieces, beside all else that a run does. Its content follows from a
 * seed: the words that seed draws. */
#ifndef SETT_TESTS_UPLOAD_H
#define SETT_TESTS_UPLOAD_H

#include "storage/base/random.h"
#include "storage/engine.h"

struct upload {
	struct sett_body_writer *writer; /* NULL: none */
	uint64_t content;
	uint32_t size, done;
	bool finished;
};

/* The bytes of a body from its seed. */
void upload_fill(uint8_t *p, size_t size, uint64_t content);
/* One step: begins one of up to `size_max` bytes if there is none, writes some of it, finishes it; now and
 * then gives it up. `choice` decides all. On failure, which is returned, it is given up. */
int upload_step(struct upload *, struct sett_engine *, uint64_t choice, uint32_t size_max);
void upload_close(struct upload *);

#endif
