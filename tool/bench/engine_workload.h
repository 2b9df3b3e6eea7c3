/*
 * A load on an open engine, through its public interface: keys and operations as `db_bench` (RocksDB) draws
 * them, so that the two can be set side by side.
 *
 * A key is its number in 8 bytes, most significant first, then '0' up to ENGINE_KEY_SIZE. Each write is a
 * transaction of its own that is in the log file (not synced) when it counts as done; each read and each scan
 * has a snapshot of its own.
 *
 * Nothing is printed here.
 */
#ifndef SETT_BENCH_ENGINE_WORKLOAD_H
#define SETT_BENCH_ENGINE_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "storage/engine.h"
#include "values.h"

#define ENGINE_KEY_SIZE 16
#define ENGINE_THREADS_MAX 64

enum engine_workload_kind {
	ENGINE_FILL,      /* writes every key once, in a scattered order */
	ENGINE_OVERWRITE, /* writes keys drawn uniformly, with repetitions */
	ENGINE_READ,      /* reads keys drawn uniformly, values included */
	ENGINE_SCAN,      /* seeks a key drawn uniformly and reads scan_length entries, values included */
	ENGINE_MIXED,     /* reads and overwrites, read_percent of them reads */
};

struct engine_workload {
	enum engine_workload_kind kind;
	uint64_t keys;               /* how many different ones */
	const struct values *values; /* what is written, and what must be read */
	bool check_all;              /* every byte that is read, instead of each value's first ones */
	unsigned threads;            /* 1 to ENGINE_THREADS_MAX */
	uint64_t operations;         /* of all threads together; 0: by time alone */
	double seconds;              /* 0: by operations alone */
	double rate; /* operations per second of all threads together; 0: as fast as it goes */
	unsigned scan_length;
	unsigned read_percent;
	uint64_t seed;
};

struct engine_workload_result {
	uint64_t operations; /* done */
	uint64_t writes;     /* of them; each put one value */
	uint64_t entries;    /* read, by get or by iterator */
	uint64_t missing;    /* gets that found nothing */
	double seconds;
	struct histogram latency;  /* of each operation, in nanoseconds */
	struct histogram response; /* with a rate: the same, from the moment when it was due */
};

/* Name of a kind, and the kind of a name (false if there is none). */
const char *engine_workload_name(enum engine_workload_kind);
bool engine_workload_find(const char *name, enum engine_workload_kind *ret);

/* Runs it on threads of its own. What the engine says, or SETT_CORRUPT for a value that is not its key's. */
int engine_workload_run(struct sett_engine *, const struct engine_workload *,
			struct engine_workload_result *ret);

/* Waits until the engine has written nothing for `quiet_seconds`, at most `patience_seconds`: whether it has
 * come to rest. */
bool engine_wait_idle(struct sett_engine *, double quiet_seconds, double patience_seconds);

#endif
