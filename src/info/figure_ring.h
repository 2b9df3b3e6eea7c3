/* The file of the server's figures of the last day: one file of a fixed size, in which each sample has its place by its time.
 *
 * It holds three rings, a second, 15 seconds and a minute apart. A sample of each is written where the one lies that is a round
 * older, so nothing is ever moved or removed. Samples have checksums: one that is damaged, torn or of another round is absent.
 * The form on disk: docs/format-history.md.
 *
 * Threads: one writes; any number may read, also in other processes, as long as the ring is open. All may wait for the disk. */
#ifndef SETT_INFO_FIGURE_RING_H
#define SETT_INFO_FIGURE_RING_H

#include "storage/base/bytes.h"
#include "storage/vfs.h"

/* What a sample tells of. First what was counted in its span, then what was so at its end. Columns of HISTORY, in this order: figures
 * are added at the end, with a new FIGURE_RING_VERSION. */
enum figure {
	FIGURE_COMMANDS,
	FIGURE_ERRORS,
	FIGURE_BYTES_IN,
	FIGURE_BYTES_OUT,
	FIGURE_HITS,
	FIGURE_MISSES,
	FIGURE_EXPIRED_KEYS,
	FIGURE_EVICTED_KEYS,
	FIGURE_BYTES_WRITTEN,
	FIGURE_CONFLICTS,
	FIGURE_CPU_US,
	FIGURE_P50_NS, /* of the calls in the span; 0: there were none */
	FIGURE_P99_NS,
	FIGURE_P999_NS,
	FIGURE_CLIENTS,
	FIGURE_BLOCKED_CLIENTS,
	FIGURE_RESIDENT_BYTES,
	FIGURE_MEMORY_LIMIT,
	FIGURE_DISK_BYTES,
	FIGURE_LIVE_BYTES,
	FIGURE_DISK_LIMIT,
	FIGURE_LOG_BYTES,
	FIGURE_VALUE_LOG_BYTES,
	FIGURE_VALUE_LOG_GARBAGE,
	FIGURE_SYNC_LAG_US,
	FIGURE_LEVEL0, /* bytes of tables; the other levels follow */
	FIGURE_LEVEL6 = FIGURE_LEVEL0 + 6,
	FIGURES
};
/* Its column's name. */
const char *figure_name(enum figure);

struct figure_sample {
	uint64_t time_ms; /* since 1970: the end of its span */
	uint64_t span_ms;
	uint64_t values[FIGURES];
};

enum { FIGURE_RING_VERSION = 1, FIGURE_TIERS = 3, FIGURE_SECONDS_MAX = 86400 };
/* Seconds between two samples of a tier. */
uint64_t figure_ring_step(unsigned tier);

#define FIGURE_RING_NAME "sett-history" /* in the data directory */

struct figure_ring;

/* Opens the file of that path for writing, and makes it, with all the space that it will ever take, if it is not there; one that is no
 * such file, or of another version, is replaced (`ret_replaced`). SETT_NO_SPACE, SETT_IO, SETT_NO_HANDLES, SETT_NO_MEMORY. */
int figure_ring_open(struct vfs *, const char *path, struct figure_ring **ret, bool *ret_replaced,
		     struct sett_error *);
/* For reading alone. SETT_NOT_FOUND; SETT_CORRUPT: it is no such file, or of another version; SETT_IO, ... */
int figure_ring_open_to_read(struct vfs *, const char *path, struct figure_ring **ret, struct sett_error *);
/* NULL is fine. */
void figure_ring_close(struct figure_ring *);

/* Statuses of vfs_write. */
int figure_ring_write(struct figure_ring *, unsigned tier, const struct figure_sample *, struct sett_error *);
/* Appends the line of the columns' names. SETT_NO_MEMORY. */
int figure_ring_print_names(struct buffer *ret);
/* Appends the samples of the last `seconds` (1 to FIGURE_SECONDS_MAX) up to `end_ms`, oldest first, as text: the line of names, then a line for
 * each sample, with commas between. They are of the finest tier that reaches back so far, or as far as there are any. `end_ms` 0: up to the
 * newest sample. SETT_IO, SETT_NO_MEMORY. */
int figure_ring_print(struct figure_ring *, uint64_t seconds, uint64_t end_ms, struct buffer *ret,
		      struct sett_error *);

#endif
