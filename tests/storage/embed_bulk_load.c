/* A new database from sorted data, by two threads; then it is opened as any other. */
#include <pthread.h>
#include <stdio.h>

#include "storage/bulk_load.h"

enum { COUNT = 200000, THREADS = 2 };

struct part {
	pthread_t thread;
	struct sett_bulk_load *load;
	unsigned from, to;
};

static void * /* NULL on failure; the load knows why */
write_part(void *arg)
{
	struct part *part = arg;
	struct sett_bulk_stream *stream;
	if (sett_bulk_stream_open(part->load, &stream) != SETT_OK)
		return NULL;
	for (unsigned i = part->from; i < part->to; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%08u", i);
		if (sett_bulk_stream_add(stream, bytes_of_string(key),
					 &(struct sett_put){.body = BYTES_LITERAL("value")}, NULL) != SETT_OK)
			break;
	}
	return sett_bulk_stream_close(stream, NULL) == SETT_OK ? part : NULL;
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_bulk_load *load;
	struct sett_engine *engine;
	struct part parts[THREADS];
	struct sett_stats stats;
	if (argc != 2 || sett_bulk_load_open(argv[1], NULL, &load, &error) != SETT_OK)
		return fprintf(stderr, "%s\n", error.message), 1;
	for (unsigned i = 0; i < THREADS; i++) {
		parts[i] = (struct part){
			.load = load, .from = i * (COUNT / THREADS), .to = (i + 1) * (COUNT / THREADS)};
		if (pthread_create(&parts[i].thread, NULL, write_part, &parts[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(parts[i].thread, NULL);
	if (sett_bulk_load_finish(load, &error) != SETT_OK ||
	    sett_engine_open(argv[1], NULL, &engine, &error) != SETT_OK)
		return fprintf(stderr, "%s\n", error.message), 1;
	sett_engine_stats(engine, &stats);
	printf("%llu tables on the bottom level\n", (unsigned long long)stats.levels[SETT_LEVELS - 1].tables);
	return sett_engine_close(engine, &error) == SETT_OK && stats.levels[SETT_LEVELS - 1].tables >= THREADS
		? 0
		: 1;
}
