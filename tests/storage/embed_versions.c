/* Walks over a part of a database: keys alone, a prefix, what came since a commit, all versions that are kept. */
#include <stdio.h>

#include "storage/engine.h"

static int
put(struct sett_txn *txn, const char *key, const char *value)
{
	int r = sett_txn_begin(txn, 0);
	if (r == SETT_OK)
		r = sett_txn_put(txn, bytes_of_string(key),
				 &(struct sett_put){.body = bytes_of_string(value)});
	return r == SETT_OK ? sett_txn_commit(txn, NULL, NULL) : r;
}

/* Prints the keys, with the commit of each entry; no value is read for that. Returns how many there were, or -1. */
static int
show(struct sett_txn *txn, const char *what, const struct sett_iterator_options *options)
{
	struct sett_iterator *it;
	int count = 0;
	printf("\n%s:", what);
	int r = sett_txn_begin(txn, 0);
	if (r == SETT_OK)
		r = sett_iterator_open(txn, options, &it);
	if (r == SETT_OK)
		r = sett_iterator_first(it);
	for (; r == SETT_OK; r = sett_iterator_next(it), count++)
		printf(" %.*s@%llu", (int)sett_iterator_key(it).size,
		       (const char *)sett_iterator_key(it).data,
		       (unsigned long long)sett_iterator_timestamp(it));
	sett_txn_discard(txn); /* closes the iterator, too */
	return r == SETT_NOT_FOUND ? count : -1;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct sett_options options = {.keep_versions = 2};
	if (argc != 2)
		return 2;
	int r = sett_engine_open(argv[1], &options, &engine, &error);
	if (r == SETT_OK)
		r = sett_txn_create(engine, &txn);
	if (r != SETT_OK)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	if (put(txn, "user:1", "ann") != SETT_OK || put(txn, "user:2", "bob") != SETT_OK ||
	    put(txn, "room:1", "hall") != SETT_OK || put(txn, "user:1", "anne") != SETT_OK)
		return 1;
	int users = show(txn, "users", &(struct sett_iterator_options){.prefix = BYTES_LITERAL("user:")});
	int later = show(txn, "since commit 2", &(struct sett_iterator_options){.since = 2});
	int all = show(txn, "all versions", &(struct sett_iterator_options){.all_versions = true});
	sett_txn_destroy(txn);
	bool is_right = users == 2 && later == 2 && all == 4;
	return sett_engine_close(engine, &error) == SETT_OK && is_right ? 0 : 1;
}
