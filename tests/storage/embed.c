/* The engine in a program of its own, without the server: what an embedding user writes. Built against the
 * public headers alone. */
#include <stdio.h>
#include <string.h>

#include "storage/engine.h"

static int
give_up(const char *what, int status, const struct sett_error *error)
{
	fprintf(stderr, "%s: %s: %s\n", what, sett_status_text(status), error->message);
	return 1;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_txn *txn;
	if (argc != 2)
		return fprintf(stderr, "usage: embed DIRECTORY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r != SETT_OK)
		return give_up("open", r, &error);
	if ((r = sett_txn_create(engine, &txn)) != SETT_OK)
		return give_up("transaction", r, &error);

	/* Count the runs of this program: read, add one, commit; run again if somebody else was faster. */
	unsigned long runs;
	do {
		struct sett_record record;
		struct bytes body = {0};
		sett_txn_begin(txn, 0);
		r = sett_txn_get(txn, BYTES_LITERAL("runs"), &record);
		if (r == SETT_OK)
			r = sett_txn_body(txn, &record, &body);
		runs = 0;
		if (r == SETT_OK && body.size == sizeof(runs))
			memcpy(&runs, body.data, sizeof(runs));
		runs++;
		if (r == SETT_OK || r == SETT_NOT_FOUND)
			r = sett_txn_put(txn, BYTES_LITERAL("runs"),
					 &(struct sett_put){.body = bytes_of(&runs, sizeof(runs))});
		if (r == SETT_OK)
			r = sett_txn_commit(txn, NULL, NULL);
	} while (r == SETT_CONFLICT);
	sett_txn_destroy(txn);
	if (r != SETT_OK)
		return give_up("commit", r, &error);
	if ((r = sett_engine_sync(engine, &error)) != SETT_OK)
		return give_up("sync", r, &error);
	printf("run %lu of this program is on disk\n", runs);
	r = sett_engine_close(engine, &error);
	return r == SETT_OK ? 0 : give_up("close", r, &error);
}
