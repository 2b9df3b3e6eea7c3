/* Many threads on more files than there are handles: every read finds what the file's own thread wrote last or
 * just before, no operation fails, and the bound holds. Under the thread sanitizer: handles are closed only
 * when nobody uses them.
 *
 *     handle_race [OPERATIONS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handle_cache.h"
#include "storage/base/random.h"
#include "storage/base/thread.h"

enum { THREADS = 6, FILES_EACH = 8, BUDGET = 4, OPERATIONS = 100000, BLOCK = 64 };

struct race {
	struct vfs *memory, *cache;
	struct vfs_file *files[THREADS * FILES_EACH];
	unsigned long operations;
};

struct worker {
	struct race *race;
	pthread_t thread;
	unsigned number;
	uint8_t last[FILES_EACH]; /* what the worker's files are filled with */
	bool ok;
};

static bool
is_filled_with(const uint8_t *block, uint8_t byte)
{
	for (size_t i = 0; i < BLOCK; i++)
		if (block[i] != byte)
			return false;
	return true;
}

static bool
write_own(struct worker *w, struct random *random, size_t own)
{
	uint8_t block[BLOCK];
	w->last[own] = (uint8_t)random_next(random);
	memset(block, w->last[own], sizeof(block));
	return vfs_write_bytes(w->race->files[w->number * FILES_EACH + own], block, sizeof(block), 0, NULL) ==
		SETT_OK;
}

static bool
read_own(struct worker *w, size_t own)
{
	uint8_t block[BLOCK];
	return vfs_read_exact(w->race->files[w->number * FILES_EACH + own], block, sizeof(block), 0, 0,
			      NULL) == SETT_OK &&
		is_filled_with(block, w->last[own]);
}

/* The in-memory vfs writes a block as a whole, so a reader sees one of its contents. */
static bool
read_other(struct worker *w, struct random *random)
{
	uint8_t block[BLOCK];
	size_t n;
	struct vfs_file *f = w->race->files[random_below(random, THREADS * FILES_EACH)];
	unsigned flags = random_below(random, 4) == 0 ? VFS_NOWAIT : 0;
	int status = vfs_read(f, block, sizeof(block), 0, flags, &n, NULL);
	return (status == SETT_WOULD_BLOCK && flags) ||
		(status == SETT_OK && is_filled_with(block, block[0]));
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct random random;
	random_seed(&random, w->number + 1);
	w->ok = true;
	for (unsigned long i = 0; i < w->race->operations && w->ok; i++) {
		size_t own = random_below(&random, FILES_EACH), open;
		uint64_t reopened;
		switch (random_below(&random, 6)) {
		case 0:
			w->ok = write_own(w, &random, own);
			break;
		case 1:
			w->ok = read_own(w, own);
			break;
		case 2:
			w->ok = vfs_sync(w->race->files[w->number * FILES_EACH + own], NULL) == SETT_OK;
			break;
		case 3:
			vfs_prefetch(w->race->files[own], 0, BLOCK);
			break;
		default:
			w->ok = read_other(w, &random);
			break;
		}
		handle_cache_figures(w->race->cache, &open, &reopened);
		w->ok = w->ok && open <= BUDGET;
	}
	return NULL;
}

static bool
open_files(struct race *race)
{
	static const uint8_t zeros[BLOCK];
	char path[32];
	if (vfs_make_directory(race->memory, "d", NULL) != SETT_OK ||
	    handle_cache_create(race->memory, "d", BUDGET, &race->cache, NULL) != SETT_OK)
		return false;
	for (int i = 0; i < THREADS * FILES_EACH; i++) {
		snprintf(path, sizeof(path), "d/%d", i);
		if (vfs_open(race->cache, path, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_CLOSABLE,
			     &race->files[i], NULL) != SETT_OK ||
		    vfs_write_bytes(race->files[i], zeros, sizeof(zeros), 0, NULL) != SETT_OK)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct race race = {.memory = vfs_memory_create(),
			    .operations = argc > 1 ? strtoul(argv[1], NULL, 10) : OPERATIONS};
	struct worker workers[THREADS] = {0};
	bool ok = race.memory != NULL && open_files(&race);
	if (!ok) {
		fprintf(stderr, "cannot begin\n");
		return 1;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.race = &race, .number = i};
		if (thread_start(&workers[i].thread, "race", work, &workers[i]) != SETT_OK)
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++) {
		thread_join(workers[i].thread);
		ok = ok && workers[i].ok;
	}
	for (int i = 0; i < THREADS * FILES_EACH; i++)
		ok = vfs_close(race.files[i], NULL) == SETT_OK && ok;
	race.cache->operations->destroy(race.cache);
	race.memory->operations->destroy(race.memory);
	puts(ok ? "all as it should be" : "FAILED");
	return ok ? 0 : 1;
}
