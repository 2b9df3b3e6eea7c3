/* A whole database read by four threads at once: how large are its keys and values? */
#include <stdio.h>

#include "storage/stream.h"
#include "storage/write_batch.h"

enum { COUNT = 50000, SIZES = 16 };

/* By powers of two. Threads share it. */
struct histogram {
	unsigned long keys[SIZES], values[SIZES];
};

static unsigned
class_of(uint64_t size)
{
	unsigned class = 0;
	while (class + 1 < SIZES && size >> class > 1)
		class ++;
	return class;
}

static int
count(void *arg, unsigned range, struct sett_txn *txn, struct sett_iterator *it)
{
	struct histogram *h = arg;
	struct sett_record record;
	if (sett_iterator_record(it, &record) != SETT_OK) /* no value is read for it */
		return SETT_ABORTED;
	__atomic_add_fetch(&h->keys[class_of(sett_iterator_key(it).size)], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&h->values[class_of(record.body_size)], 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_write_batch *batch;
	struct histogram h = {0};
	static char value[4096];
	int r = argc == 2 ? sett_engine_open(argv[1], NULL, &engine, &error) : SETT_INVALID;
	if (r == SETT_OK)
		r = sett_write_batch_open(engine, 0, &batch);
	for (uint32_t i = 0; r == SETT_OK && i < COUNT; i++)
		r = sett_write_batch_put(batch, bytes_of(&i, sizeof(i)),
					 &(struct sett_put){.body = bytes_of(value, i % 4096)});
	if (r == SETT_OK && (r = sett_write_batch_flush(batch, true, &error)) == SETT_OK)
		r = sett_stream(engine, &(struct sett_stream_options){.entry = count, .arg = &h}, NULL,
				&error);
	if (r != SETT_OK)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	for (unsigned i = 0; i < SIZES; i++)
		printf("%6u bytes and more: %6lu keys, %6lu values\n", i ? 1U << i : 0, h.keys[i],
		       h.values[i]);
	sett_write_batch_close(batch);
	return sett_engine_close(engine, &error) == SETT_OK && h.keys[2] == COUNT ? 0 : 1;
}
