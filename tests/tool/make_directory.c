/* Makes a database directory that holds every kind of file, for tests of sett-tool.
 *
 *     make_directory DIRECTORY [close|kill|hold]
 *
 * Tables on two levels, values live and dead, packed and not, a log with commits that are durable and some
 * that are only written, counters, a dropped prefix, expiries, and a key such as a server would write. Ends
 * by closing the engine (default), by killing itself, or stays, saying "open", until standard input ends. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/engine.h"

enum { COMMITS = 400, KEYS = 90, BODY_MAX = 3000, LARGE = 3 << 20 };

static void
must(int status, const char *what, const struct sett_error *error)
{
	if (status == SETT_OK)
		return;
	fprintf(stderr, "make_directory: %s: %s: %s\n", what, sett_status_text(status),
		error ? error->message : "");
	exit(1);
}

static void
put(struct sett_txn *txn, struct bytes key, unsigned seed)
{
	static uint8_t body[BODY_MAX];
	size_t size = seed % 5 == 0 ? 600 + seed * 37 % 2000 : seed % 300;
	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(seed * 31 + i * 7 +
				    (seed % 2 ? i * i / 251 : 0)); /* some are hard to compress */
	struct sett_put value = {.head = BYTES_LITERAL("head"),
				 .body = bytes_of(body, size),
				 .expires_at = seed % 7 == 0 ? 1900000000000 + seed : 0};
	must(sett_txn_put(txn, key, &value), "put", NULL);
}

/* A value that is read in pieces. */
static void
put_large(struct sett_txn *txn)
{
	static uint8_t body[LARGE];
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * i / 251 + i);
	struct sett_put value = {.body = bytes_of(body, sizeof(body))};
	must(sett_txn_put(txn, BYTES_LITERAL("large"), &value), "put", NULL);
}

static void
commit(struct sett_txn *txn, unsigned number)
{
	char key[32];
	must(sett_txn_begin(txn, 0), "begin", NULL);
	snprintf(key, sizeof(key), "key %u", number % KEYS);
	put(txn, bytes_of_string(key), number);
	snprintf(key, sizeof(key), "gone %u", number);
	put(txn, bytes_of_string(key), number + 1);
	if (number % 3 == 0) {
		snprintf(key, sizeof(key), "key %u", (number + 7) % KEYS);
		must(sett_txn_delete(txn, bytes_of_string(key)), "delete", NULL);
	}
	if (number == COMMITS / 4)
		put_large(txn);
	if (number == COMMITS / 2)
		must(sett_txn_drop_prefix(txn, BYTES_LITERAL("dropped\xff")), "drop", NULL);
	put(txn, BYTES_LITERAL("\1\0\0\0\0\0\0\0\1name"), number);
	must(sett_txn_counter_add(txn, 2, 1), "counter", NULL);
	must(sett_txn_commit(txn, NULL, NULL), "commit", NULL);
}

static void
fill(struct sett_engine *engine)
{
	struct sett_txn *txn;
	struct sett_error error = {0};
	must(sett_txn_create(engine, &txn), "transaction", NULL);
	for (unsigned i = 1; i <= COMMITS; i++) {
		commit(txn, i);
		if (i == 100)
			must(sett_engine_compact(engine, &error), "compact", &error);
		if (i == 200 || i == 250)
			must(sett_engine_flush(engine, &error), "flush", &error);
		if (i == COMMITS - 40)
			must(sett_engine_sync(engine, &error), "sync", &error);
	}
	must(sett_engine_write(engine), "write", NULL);
	sett_txn_destroy(txn);
}

int
main(int argc, char **argv)
{
	const char *end = argc > 2 ? argv[2] : "close";
	struct sett_options options = {.seed = 3,
				       .memory_budget = 1 << 20,
				       .value_threshold = 512,
				       .value_log_file_size = 32 << 10,
				       .value_compression = SETT_COMPRESSION_LZ4,
				       .manual_work = true};
	struct sett_engine *engine;
	struct sett_error error = {0};
	if (argc < 2) {
		fprintf(stderr, "usage: make_directory DIRECTORY [close|kill|hold]\n");
		return 2;
	}
	must(sett_engine_open(argv[1], &options, &engine, &error), "open", &error);
	fill(engine);
	if (strcmp(end, "kill") == 0)
		raise(SIGKILL);
	if (strcmp(end, "hold") == 0) {
		char byte;
		puts("open");
		(void)fflush(stdout);
		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
	}
	must(sett_engine_close(engine, &error), "close", &error);
	return 0;
}
