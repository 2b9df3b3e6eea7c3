/* Many small ids dropped one by one, at random, while other commits go on (I22).
 *
 * Of every three ids, filled with a few entries each, two are dropped. What must hold then is counted, not
 * timed: the memory that keeps track of the dead stays within DEAD_BYTES_MAX a piece; when all work is done,
 * what is on the disk is within SPACE_MAX of what is alive, and no entry that stays is lost. As a test all
 * work is done in the one thread, in turn with the commits, on the in-memory file system, and a reader holds
 * the first half back. With --directory DIR it runs there, with workers and without the reader, and reports how
 * long commits took and when the space was back: a measurement.
 *
 *     drops [--ids DROPPED] [--entries N] [--directory DIR] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/random.h"
#include "storage/engine.h"

enum {
	DEAD_BYTES_MAX = 16, /* per dead id in tables */
	COUNTED_FROM = 5000, /* fewer dead ids are not held to that */
	PER_FILL = 50,       /* ids filled by one commit */
	PER_LOOK = 10000,    /* drops between two looks at the figures, and turns of work */
	BODY = 48,
	OTHER_KEYS = 1000,
	WAIT_SECONDS = 180,
};
#define SPACE_MAX 1.5
#define STEM BYTES_LITERAL("\2\0\0\0\0\0\0\0\1")

struct run {
	uint64_t dropped, ids; /* ids: all that are filled */
	unsigned entries;
	bool threads;
	struct vfs *vfs;
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct random random;
	uint64_t longest_ns, longest_cpu_ns, commits;
	double worst_bytes; /* per dead id */
	uint64_t most_dead, most_memory;
};

static void
must(int status, const char *what)
{
	if (status == SETT_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, sett_status_text(status));
	exit(1);
}

static void
check(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "failed: %s\n", what);
	exit(1);
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
commit(struct run *r)
{
	uint64_t began = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	must(sett_txn_commit(r->txn, NULL, NULL), "commit");
	uint64_t took = clock_ns(CLOCK_MONOTONIC) - began;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	r->longest_ns = took > r->longest_ns ? took : r->longest_ns;
	r->longest_cpu_ns = cpu > r->longest_cpu_ns ? cpu : r->longest_cpu_ns;
	r->commits++;
}

/* Every third stays. */
static bool
stays(uint64_t id)
{
	return id % 3 == 0;
}

static struct bytes
entry_key(uint64_t id, unsigned entry, uint8_t ret[SETT_MAX_PREFIX_SIZE])
{
	size_t size = sett_id_prefix(STEM, id, ret);
	ret[size] = (uint8_t)entry;
	return bytes_of(ret, size + 1);
}

static void
work(struct run *r)
{
	struct sett_error error = {0};
	int status = SETT_OK;
	for (unsigned jobs = 0; !r->threads && status == SETT_OK; jobs++) {
		check(jobs < 100000, "the work comes to an end");
		status = sett_engine_work(r->engine, &error);
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		must(status, error.message);
}

static void
fill(struct run *r)
{
	uint8_t key[SETT_MAX_PREFIX_SIZE], body[BODY];
	struct sett_error error = {0};
	for (uint64_t id = 0; id < r->ids;) {
		must(sett_txn_begin(r->txn, 0), "begin");
		for (unsigned i = 0; i < PER_FILL && id < r->ids; i++, id++) {
			for (unsigned e = 0; e < r->entries; e++) {
				for (size_t b = 0; b < BODY; b += 8)
					memcpy(body + b, &(uint64_t){random_next(&r->random)}, 8);
				must(sett_txn_put(r->txn, entry_key(id, e, key),
						  &(struct sett_put){.body = bytes_of(body, BODY)}),
				     "put");
			}
		}
		must(sett_txn_commit(r->txn, NULL, NULL), "commit");
	}
	must(sett_engine_compact(r->engine, &error), error.message);
}

static void
look(struct run *r)
{
	struct sett_stats s;
	work(r);
	sett_engine_stats(r->engine, &s);
	r->most_dead = s.dead_ids > r->most_dead ? s.dead_ids : r->most_dead;
	r->most_memory = s.dead_memory > r->most_memory ? s.dead_memory : r->most_memory;
	if (s.dead_ids >= COUNTED_FROM && (double)s.dead_memory / (double)s.dead_ids > r->worst_bytes)
		r->worst_bytes = (double)s.dead_memory / (double)s.dead_ids;
}

/* A commit beside the drops. */
static void
write_other(struct run *r)
{
	char key[32], body[100];
	int size = snprintf(key, sizeof(key), "\1other%llu",
			    (unsigned long long)random_below(&r->random, OTHER_KEYS));
	memset(body, key[size - 1], sizeof(body));
	must(sett_txn_begin(r->txn, 0), "begin");
	must(sett_txn_put(r->txn, bytes_of(key, (size_t)size),
			  &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
	     "put");
	commit(r);
}

/* All ids but those that stay, in an order without order: the step has no factor in common with their number. */
static void
drop(struct run *r)
{
	uint64_t step = 1000003, at = 0;
	struct sett_txn *reader = NULL;
	if (!r->threads) {
		must(sett_txn_create(r->engine, &reader), "transaction");
		must(sett_txn_begin(reader, 0), "begin");
	}
	for (uint64_t i = 0; i < r->ids; i++) {
		uint64_t id = at;
		if (i == r->ids / 2)
			sett_txn_destroy(reader);
		at = (at + step) % r->ids;
		if (stays(id))
			continue;
		must(sett_txn_begin(r->txn, 0), "begin");
		must(sett_txn_drop_id(r->txn, STEM, id, r->entries * (BODY + 20)), "drop");
		commit(r);
		write_other(r);
		if (i % PER_LOOK == 0)
			look(r);
	}
}

/* Every entry that stays is there, and hardly any other. */
static uint64_t
count_entries(struct run *r)
{
	struct sett_iterator *it;
	uint64_t found = 0;
	int status;
	must(sett_txn_begin(r->txn, 0), "begin");
	must(sett_iterator_open(r->txn, &(struct sett_iterator_options){.lower = STEM}, &it), "iterator");
	for (status = sett_iterator_first(it); status == SETT_OK; status = sett_iterator_next(it)) {
		uint64_t id = 0;
		struct bytes key = sett_iterator_key(it);
		for (size_t i = STEM.size; i < STEM.size + SETT_ID_SIZE; i++)
			id = id << 8 | key.data[i];
		found += stays(id);
	}
	sett_iterator_close(it);
	sett_txn_discard(r->txn);
	check(status == SETT_NOT_FOUND, "the iterator comes to its end");
	return found;
}

/* What is alive, as measured when everything was, and what is on the disk beyond the log. */
static double
amplification(struct run *r, uint64_t bytes_when_full)
{
	struct sett_stats s;
	sett_engine_stats(r->engine, &s);
	return (double)(s.disk_bytes - s.log_bytes) / ((double)bytes_when_full / 3);
}

static double
wait_for_space(struct run *r, uint64_t bytes_when_full)
{
	uint64_t began = clock_ns(CLOCK_MONOTONIC);
	struct sett_error error = {0};
	must(sett_engine_flush(r->engine, &error), error.message);
	work(r);
	while (amplification(r, bytes_when_full) > SPACE_MAX) {
		/* A measurement alone gets here: in steps all work is done. */
		check(r->threads && clock_ns(CLOCK_MONOTONIC) - began < WAIT_SECONDS * 1000000000ULL,
		      "the space comes back");
		nanosleep(&(struct timespec){0, 20000000}, NULL);
	}
	return (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9;
}

static void
open_engine(struct run *r, const char *directory)
{
	struct sett_error error = {0};
	struct sett_options options = {.vfs = r->vfs,
				       .seed = 7,
				       .memory_budget = r->threads ? 64 << 20 : 2 << 20,
				       .manual_work = !r->threads};
	must(sett_engine_open(directory, &options, &r->engine, &error), error.message);
	must(sett_txn_create(r->engine, &r->txn), "transaction");
}

int
main(int argc, char **argv)
{
	struct run r = {.dropped = 40000, .entries = 5};
	const char *directory = NULL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--ids") == 0)
			r.dropped = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--entries") == 0)
			r.entries = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--directory") == 0)
			directory = argv[i + 1];
	}
	r.ids = r.dropped / 2 * 3;
	r.threads = directory != NULL;
	r.vfs = r.threads ? vfs_posix() : vfs_memory_create();
	random_seed(&r.random, 11);
	open_engine(&r, directory ? directory : "db");
	fill(&r);
	struct sett_stats full, end;
	sett_engine_stats(r.engine, &full);
	uint64_t bytes_when_full = full.levels[SETT_LEVELS - 1].bytes, began = clock_ns(CLOCK_MONOTONIC);
	drop(&r);
	double took = (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9,
	       back = wait_for_space(&r, bytes_when_full);
	sett_engine_stats(r.engine, &end);
	printf("%llu ids of %u entries dropped in %.1f s, with %llu other commits in between\n"
	       "longest commit: %.2f ms (%.2f ms of CPU)\n"
	       "the dead: at most %llu at once, %.1f bytes each in the set, %llu bytes in all; %llu at the "
	       "end\n"
	       "space: %.2f of what is alive, %.1f s after the last drop\n",
	       (unsigned long long)r.dropped, r.entries, took, (unsigned long long)(r.commits - r.dropped),
	       (double)r.longest_ns / 1e6, (double)r.longest_cpu_ns / 1e6, (unsigned long long)r.most_dead,
	       r.worst_bytes, (unsigned long long)r.most_memory, (unsigned long long)end.dead_ids,
	       amplification(&r, bytes_when_full), back);
	check(r.threads || r.worst_bytes > 0, "there were many dead at once");
	check(r.worst_bytes <= DEAD_BYTES_MAX, "the set takes few bytes for each dead id");
	check(count_entries(&r) == r.ids / 3 * r.entries, "everything that stays is there");
	sett_txn_destroy(r.txn);
	struct sett_error error = {0};
	must(sett_engine_close(r.engine, &error), error.message);
	open_engine(&r, directory ? directory : "db");
	check(count_entries(&r) == r.ids / 3 * r.entries, "everything that stays is there after a new start");
	sett_txn_destroy(r.txn);
	must(sett_engine_close(r.engine, &error), error.message);
	if (!r.threads)
		r.vfs->operations->destroy(r.vfs);
	return 0;
}
