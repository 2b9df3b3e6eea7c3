/* Each commit with the durability that it needs: a counter that may be lost, a payment that may not, and many payments whose
 * sender is told as soon as they are on the disk, while others are being made. And the same database read by who may not write. */
#include <stdio.h>

#include "storage/committer.h"

enum { PAYMENTS = 1000 };

static int
put(struct sett_txn *txn, const char *key)
{
	int r = sett_txn_begin(txn, 0);
	return r == SETT_OK
		? sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = BYTES_LITERAL("x")})
		: r;
}

static void
on_disk(void *arg, int status, uint64_t timestamp) /* on the committer's thread */
{
	*(unsigned *)arg += status == SETT_OK;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine, *reader;
	struct sett_txn *txn;
	struct sett_committer *committer;
	unsigned told = 0;
	if (argc != 2)
		return fprintf(stderr, "usage: embed_commit DIRECTORY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r == SETT_OK && (r = sett_txn_create(engine, &txn)) == SETT_OK &&
	    (r = put(txn, "visits")) == SETT_OK)
		r = sett_commit_until(engine, txn, SETT_UNTIL_VISIBLE, NULL, &error);
	if (r == SETT_OK && (r = put(txn, "payment")) == SETT_OK)
		r = sett_commit_until(engine, txn, SETT_UNTIL_DURABLE, NULL, &error);
	if (r == SETT_OK)
		r = sett_committer_open(engine, &committer);
	for (unsigned i = 0; r == SETT_OK && i < PAYMENTS; i++) {
		char key[32];
		snprintf(key, sizeof(key), "payment:%u", i);
		if ((r = put(txn, key)) == SETT_OK)
			r = sett_committer_commit(committer, txn, SETT_UNTIL_DURABLE, on_disk, &told);
	}
	if (r != SETT_OK)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	sett_committer_close(committer); /* waits for the callbacks */
	sett_txn_destroy(txn);
	if (sett_engine_close(engine, &error) != SETT_OK ||
	    sett_engine_open(argv[1], &(struct sett_options){.read_only = true}, &reader, &error) != SETT_OK)
		return fprintf(stderr, "%s\n", error.message), 1;
	printf("%u of %llu commits told\n", told, (unsigned long long)sett_engine_visible(reader));
	bool is_right = told == PAYMENTS && sett_engine_visible(reader) == PAYMENTS + 2;
	return sett_engine_close(reader, &error) == SETT_OK && is_right ? 0 : 1;
}
