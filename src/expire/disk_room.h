/* What maxdisk amounts to, and what follows from how much of it is taken: numbers alone, for the evictor.
 *
 *     live bytes   0 ........................ LOW  START    SLOW ...... limit
 *                                              |<-- evicted |  slowed   | refused
 *
 * Steered by live bytes, never by the files, which compaction has yet to make smaller: deleting for those would empty
 * the database. The limit of live bytes leaves room for the garbage that the engine's space bound allows; should the
 * files come to maxdisk all the same (compaction is late, a snapshot holds much), writers are slowed and then refused. */
#ifndef SETT_EXPIRE_DISK_ROOM_H
#define SETT_EXPIRE_DISK_ROOM_H

#include <stdbool.h>
#include <stdint.h>

struct config;

/* In bytes. */
struct disk_room {
	uint64_t limit;      /* of all files; 0: there is none */
	uint64_t live_limit; /* of what is alive */
	uint64_t files, live;
};

/* maxdisk in bytes; 0: there is no limit, or the size of the file system is not known. A system call. */
uint64_t disk_room_limit(const struct config *);
/* How many live bytes should go, by a policy that evicts: 0 up to START. */
uint64_t disk_room_excess(const struct disk_room *);
/* For sett_engine_slow_writers; `evicts`: room is being made. */
double disk_room_pressure(const struct disk_room *, bool evicts);
/* Whether what takes space is to be refused. */
bool disk_room_is_full(const struct disk_room *, bool evicts);
/* Whether writers are slowed for the files, whatever is alive. */
bool disk_room_files_are_many(const struct disk_room *);
/* For how long writers may go on without another look, which may be late on a busy machine: UINT64_MAX, where there is
 * much room. */
uint64_t disk_room_time_ns(const struct disk_room *);
/* How long it may take until something of this is to be done, if writers are fast. */
uint64_t disk_room_pause_ns(const struct disk_room *);

#endif
