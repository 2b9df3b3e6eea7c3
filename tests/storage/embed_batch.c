/* Many writes in batches, then a prefix dropped, and what is past its deadline deleted. */
#include <stdio.h>
#include <string.h>

#include "storage/drop.h"
#include "storage/expiry.h"
#include "storage/write_batch.h"

enum { COUNT = 10000 };

static int
load(struct sett_engine *engine, struct sett_error *error)
{
	struct sett_write_batch *batch;
	int r = sett_write_batch_open(engine, 0, &batch);
	if (r != SETT_OK)
		return r;
	for (unsigned i = 0; r == SETT_OK && i < COUNT; i++) {
		char key[32];
		snprintf(key, sizeof(key), "%s:%05u", i % 10 == 0 ? "session" : "user", i);
		/* Sessions have a deadline that has passed long ago. */
		struct sett_put put = {.body = BYTES_LITERAL("value"), .expires_at = i % 10 == 0 ? 1 : 0};
		r = sett_write_batch_put(batch, bytes_of_string(key), &put);
	}
	if (r == SETT_OK)
		r = sett_write_batch_flush(batch, true, error); /* now it is on the disk */
	sett_write_batch_close(batch);
	return r;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	uint64_t deleted = 0, expired = 0, some = 0;
	if (argc != 2)
		return fprintf(stderr, "usage: embed_batch DIRECTORY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r == SETT_OK)
		r = load(engine, &error);
	if (r == SETT_OK)
		r = sett_drop_prefix(engine, BYTES_LITERAL("user:0"), &deleted, &error);
	while (r == SETT_OK) { /* a program would do this now and then */
		r = sett_delete_expired(engine, 1 << 20, &some);
		expired += some;
	}
	if (r != SETT_NOT_FOUND)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	printf("%llu users dropped, %llu sessions expired\n", (unsigned long long)deleted,
	       (unsigned long long)expired);
	r = sett_engine_close(engine, &error);
	return r == SETT_OK && deleted == 9 * COUNT / 10 && expired == COUNT / 10 ? 0 : 1;
}
