/* Checkpoints in a program of its own: a copy of a database, as it was, while it goes on. Built against the public
 * headers alone. */
#include <stdio.h>
#include <string.h>

#include "storage/checkpoint.h"

static int
put(struct sett_engine *engine, const char *word)
{
	struct sett_txn *txn;
	int r = sett_txn_create(engine, &txn);
	if (r != SETT_OK)
		return r;
	r = sett_txn_begin(txn, 0);
	if (r == SETT_OK)
		r = sett_txn_put(txn, BYTES_LITERAL("word"),
				 &(struct sett_put){.body = bytes_of(word, strlen(word))});
	if (r == SETT_OK)
		r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return r;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine, *copy;
	uint64_t commit;
	if (argc != 3)
		return fprintf(stderr, "usage: embed_checkpoint DIRECTORY COPY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r == SETT_OK)
		r = put(engine, "before");
	if (r == SETT_OK)
		r = sett_checkpoint(engine, argv[2], &commit, &error); /* hard links: no bytes are copied */
	if (r == SETT_OK)
		r = put(engine, "after");
	if (r == SETT_OK)
		r = sett_engine_open(argv[2], NULL, &copy, &error); /* a database of its own */
	if (r != SETT_OK)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	printf("the copy has %llu commits of %llu\n", (unsigned long long)sett_engine_visible(copy),
	       (unsigned long long)sett_engine_visible(engine));
	bool is_right = sett_engine_visible(copy) == commit && sett_engine_visible(engine) == commit + 1;
	r = sett_engine_close(copy, &error);
	if (r == SETT_OK)
		r = sett_engine_close(engine, &error);
	return r == SETT_OK && is_right ? 0 : 1;
}
