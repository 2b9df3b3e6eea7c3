/* A thread that hears of every change under a prefix, in commit order. */
#include <pthread.h>
#include <stdio.h>

#include "storage/subscription.h"

static void *
listen(void *arg)
{
	struct sett_change change;
	unsigned heard = 0;
	while (sett_subscription_next(arg, UINT64_MAX / 4, &change) == SETT_OK) {
		printf("commit %llu: %s %.*s\n", (unsigned long long)change.timestamp,
		       change.kind == SETT_CHANGE_PUT ? "put" : "deleted", (int)change.key.size,
		       (const char *)change.key.data);
		if (++heard == 3)
			break;
	}
	return heard == 3 ? arg : NULL;
}

static int
write_key(struct sett_txn *txn, const char *key, bool deletes)
{
	int r = sett_txn_begin(txn, 0);
	if (r == SETT_OK)
		r = deletes ? sett_txn_delete(txn, bytes_of_string(key))
			    : sett_txn_put(txn, bytes_of_string(key),
					   &(struct sett_put){.body = BYTES_LITERAL("x")});
	return r == SETT_OK ? sett_txn_commit(txn, NULL, NULL) : r;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct sett_subscription *users;
	pthread_t listener;
	void *heard = NULL;
	struct sett_subscription_options options = {.prefixes = &BYTES_LITERAL("user:"), .count = 1};
	if (argc != 2)
		return fprintf(stderr, "usage: embed_subscribe DIRECTORY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r == SETT_OK && (r = sett_txn_create(engine, &txn)) == SETT_OK)
		r = sett_subscribe(engine, &options, &users, NULL);
	if (r != SETT_OK || pthread_create(&listener, NULL, listen, users) != 0)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	if (write_key(txn, "user:ann", false) != SETT_OK || write_key(txn, "room:hall", false) != SETT_OK ||
	    write_key(txn, "user:bob", false) != SETT_OK || write_key(txn, "user:ann", true) != SETT_OK)
		sett_subscription_cancel(users);
	pthread_join(listener, &heard);
	sett_subscription_close(users);
	sett_txn_destroy(txn);
	return sett_engine_close(engine, &error) == SETT_OK && heard ? 0 : 1;
}
