/*
 * What a directory takes on the disk, sampled by a thread of its own while something else works in it.
 */
#ifndef SETT_BENCH_DISK_USAGE_H
#define SETT_BENCH_DISK_USAGE_H

#include <pthread.h>
#include <stdint.h>

struct disk_usage {
	uint64_t size;      /* of the files, as their lengths say */
	uint64_t allocated; /* blocks of the file system */
};

/* The files right in `directory`; one that goes meanwhile counts as gone. 0, or -1 with errno. */
int disk_usage_measure(const char *directory, struct disk_usage *ret);

/* Has the system drop what it caches of these files, once all of it is on the disk. 0, or -1 with errno. */
int disk_cache_drop(const char *directory);

/* All zero before start. */
struct disk_sampler {
	struct disk_usage largest; /* each over all samples; read after stop */
	uint64_t samples;
	int failure; /* an errno: sampling ended early */

	/* The sampler's own. */
	const char *directory;
	uint64_t interval_ns;
	int stop; /* atomic */
	pthread_t thread;
};

/* `directory` must outlive it. 0 or -1. */
int disk_sampler_start(struct disk_sampler *, const char *directory, uint64_t interval_ns);
/* Takes a last sample. */
void disk_sampler_stop(struct disk_sampler *);

#endif
