/* Sorted pairs into a new database: storage/bulk_load.h beside RocksDB's SstFileWriter and IngestExternalFile, in turn, in one
 * process. RocksDB's library (7.8, of the package rocksdb-tools) is looked for at run time.
 *
 *     bulk_load DIRECTORY [PAIRS [THREADS [ROUNDS]]]
 *
 * Keys of 16 bytes (a number, in decimal), values of 16 bytes (half of them random). Either writes THREADS files or streams at once
 * and compresses by LZ4; `zstd` besides for the default of bottom levels here. Seconds, with the sync at the end. */
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "storage/base/random.h"
#include "storage/bulk_load.h"

enum { KEY_SIZE = 16, VALUE_SIZE = 16, MOST_THREADS = 16 };

/* What is used of rocksdb/c.h, by the names there. */
static struct {
	void *(*options_create)(void);
	void (*options_set_create_if_missing)(void *, unsigned char);
	void (*options_set_compression)(void *, int);
	void *(*envoptions_create)(void);
	void *(*sstfilewriter_create)(const void *, const void *);
	void (*sstfilewriter_open)(void *, const char *, char **);
	void (*sstfilewriter_put)(void *, const char *, size_t, const char *, size_t, char **);
	void (*sstfilewriter_finish)(void *, char **);
	void (*sstfilewriter_destroy)(void *);
	void *(*open)(const void *, const char *, char **);
	void *(*ingestexternalfileoptions_create)(void);
	void (*ingestexternalfileoptions_set_move_files)(void *, unsigned char);
	void (*ingest_external_file)(void *, const char *const *, size_t, const void *, char **);
	void (*close)(void *);
} rocks;

enum { ROCKS_LZ4 = 4 };

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "bulk_load: %s: %s\n", what, why);
	exit(1);
}

static void
load_rocks(void)
{
	void *library = dlopen("librocksdb.so.7.8", RTLD_NOW);
	if (!library)
		die("RocksDB", dlerror());
	static const struct {
		void *place;
		const char *name;
	} symbols[] = {
		{&rocks.options_create, "rocksdb_options_create"},
		{&rocks.options_set_create_if_missing, "rocksdb_options_set_create_if_missing"},
		{&rocks.options_set_compression, "rocksdb_options_set_compression"},
		{&rocks.envoptions_create, "rocksdb_envoptions_create"},
		{&rocks.sstfilewriter_create, "rocksdb_sstfilewriter_create"},
		{&rocks.sstfilewriter_open, "rocksdb_sstfilewriter_open"},
		{&rocks.sstfilewriter_put, "rocksdb_sstfilewriter_put"},
		{&rocks.sstfilewriter_finish, "rocksdb_sstfilewriter_finish"},
		{&rocks.sstfilewriter_destroy, "rocksdb_sstfilewriter_destroy"},
		{&rocks.open, "rocksdb_open"},
		{&rocks.ingestexternalfileoptions_create, "rocksdb_ingestexternalfileoptions_create"},
		{&rocks.ingestexternalfileoptions_set_move_files,
		 "rocksdb_ingestexternalfileoptions_set_move_files"},
		{&rocks.ingest_external_file, "rocksdb_ingest_external_file"},
		{&rocks.close, "rocksdb_close"},
	};
	for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
		void *symbol = dlsym(library, symbols[i].name);
		if (!symbol)
			die(symbols[i].name, "is not in the library");
		memcpy(symbols[i].place, &symbol, sizeof(symbol));
	}
}

/* ---- the pairs ---- */

struct part {
	pthread_t thread;
	const char *directory;
	void *shared; /* struct sett_bulk_load or RocksDB's options */
	uint64_t from, to;
	unsigned number;
};

struct pair {
	uint8_t key[KEY_SIZE], value[VALUE_SIZE];
};

static void
make_pair(uint64_t i, struct random *random, struct pair *ret)
{
	for (int digit = KEY_SIZE - 1; digit >= 0; digit--, i /= 10)
		ret->key[digit] = (uint8_t)('0' + i % 10);
	uint64_t noise = random_next(random);
	memset(ret->value, 'v', VALUE_SIZE);
	memcpy(ret->value, &noise, sizeof(noise));
}

static void
run_parts(void *(*run)(void *), const char *directory, void *shared, uint64_t pairs, unsigned threads)
{
	struct part parts[MOST_THREADS];
	for (unsigned i = 0; i < threads; i++) {
		parts[i] = (struct part){.directory = directory,
					 .shared = shared,
					 .from = pairs * i / threads,
					 .to = pairs * (i + 1) / threads,
					 .number = i};
		if (pthread_create(&parts[i].thread, NULL, run, &parts[i]) != 0)
			die("thread", "cannot be started");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
}

/* ---- ours ---- */

static void *
write_stream(void *arg)
{
	const struct part *part = arg;
	struct sett_bulk_stream *stream;
	struct sett_error error = {0};
	struct random random;
	struct pair pair;
	random_seed(&random, part->number + 1);
	if (sett_bulk_stream_open(part->shared, &stream) != SETT_OK)
		die("stream", "out of memory");
	for (uint64_t i = part->from; i < part->to; i++) {
		make_pair(i, &random, &pair);
		struct sett_put put = {.body = bytes_of(pair.value, VALUE_SIZE)};
		if (sett_bulk_stream_add(stream, bytes_of(pair.key, KEY_SIZE), &put, &error) != SETT_OK)
			die("add", error.message);
	}
	if (sett_bulk_stream_close(stream, &error) != SETT_OK)
		die("close", error.message);
	return NULL;
}

static void
load_ours(const char *directory, enum sett_compression compression, uint64_t pairs, unsigned threads)
{
	struct sett_bulk_load *load;
	struct sett_engine *engine;
	struct sett_error error = {0};
	struct sett_bulk_options options = {.bottom_compression = compression};
	if (sett_bulk_load_open(directory, &options, &load, &error) != SETT_OK)
		die("open", error.message);
	run_parts(write_stream, directory, load, pairs, threads);
	if (sett_bulk_load_finish(load, &error) != SETT_OK ||
	    sett_engine_open(directory, NULL, &engine, &error) != SETT_OK ||
	    sett_engine_close(engine, &error) != SETT_OK)
		die("finish", error.message);
}

/* ---- RocksDB's ---- */

static void
file_name(const char *directory, unsigned number, char ret[512])
{
	snprintf(ret, 512, "%s-%u.sst", directory, number);
}

static void *
write_file(void *arg)
{
	const struct part *part = arg;
	char name[512], *error = NULL;
	struct random random;
	struct pair pair;
	random_seed(&random, part->number + 1);
	void *writer = rocks.sstfilewriter_create(rocks.envoptions_create(), part->shared);
	file_name(part->directory, part->number, name);
	rocks.sstfilewriter_open(writer, name, &error);
	for (uint64_t i = part->from; i < part->to && !error; i++) {
		make_pair(i, &random, &pair);
		rocks.sstfilewriter_put(writer, (const char *)pair.key, KEY_SIZE, (const char *)pair.value,
					VALUE_SIZE, &error);
	}
	if (!error)
		rocks.sstfilewriter_finish(writer, &error);
	if (error)
		die("SstFileWriter", error);
	rocks.sstfilewriter_destroy(writer);
	return NULL;
}

static void
load_rocks_files(const char *directory, uint64_t pairs, unsigned threads)
{
	char names[MOST_THREADS][512], *error = NULL;
	const char *list[MOST_THREADS];
	void *options = rocks.options_create(), *ingest = rocks.ingestexternalfileoptions_create();
	rocks.options_set_create_if_missing(options, 1);
	rocks.options_set_compression(options, ROCKS_LZ4);
	rocks.ingestexternalfileoptions_set_move_files(ingest, 1);
	run_parts(write_file, directory, options, pairs, threads);
	for (unsigned i = 0; i < threads; i++) {
		file_name(directory, i, names[i]);
		list[i] = names[i];
	}
	void *db = rocks.open(options, directory, &error);
	if (!error)
		rocks.ingest_external_file(db, list, threads, ingest, &error);
	if (error)
		die("IngestExternalFile", error);
	rocks.close(db);
}

/* ---- the clock ---- */

static double
seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double
cpu_seconds(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int
main(int argc, char **argv)
{
	if (argc < 2)
		return fprintf(stderr, "usage: bulk_load DIRECTORY [PAIRS [THREADS [ROUNDS]]]\n"), 2;
	uint64_t pairs = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
	unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 1,
		 rounds = argc > 4 ? (unsigned)atoi(argv[4]) : 3;
	if (pairs == 0 || threads == 0 || threads > MOST_THREADS || threads > pairs)
		die("arguments", "out of range");
	load_rocks();
	for (unsigned round = 0; round < rounds; round++) {
		static const char *const names[] = {"rocksdb lz4", "sett lz4", "sett zstd"};
		for (unsigned kind = 0; kind < 3; kind++) {
			char directory[400];
			snprintf(directory, sizeof(directory), "%s/%u-%u", argv[1], round, kind);
			double began = seconds(), cpu = cpu_seconds();
			if (kind == 0)
				load_rocks_files(directory, pairs, threads);
			else
				load_ours(directory, kind == 1 ? SETT_COMPRESSION_LZ4 : SETT_COMPRESSION_ZSTD,
					  pairs, threads);
			double took = seconds() - began;
			printf("%-12s %8.2f s  %6.2f s of CPU  %10.0f pairs/s\n", names[kind], took,
			       cpu_seconds() - cpu, (double)pairs / took);
			fflush(stdout);
		}
	}
	return 0;
}
