/* See disk_room.h. */
#include "expire/disk_room.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "config/config.h"
#include "storage/engine.h"

/* In thousandths of the limits. */
enum {
	WHOLE = 1000,
	LOW = 960, /* evicted down to */
	START = 970,
	SLOW = 980,       /* writers, while room is made */
	FULL = 1030,      /* of the limit of live bytes: what is made room for may pass it by so much */
	FILES_SLOW = 975, /* of maxdisk */
};
#define PAUSE_LEAST_NS 5000000ull
#define PAUSE_MOST_NS 1000000000ull
#define BYTES_PER_NS 1ull /* what the fastest writers may bring */
#define NS_PER_BYTE 10ull /* what fast writers bring while they are slowed */
#define TIME_LEAST_NS 20000000ull

static uint64_t
part(uint64_t of, unsigned thousandths)
{
	return (uint64_t)((double)of / WHOLE * thousandths);
}

/* Of the file system that the data directory lies on. */
static uint64_t
file_system_size(const struct config *config)
{
	struct statvfs st;
	int result;
	do
		result = statvfs(config->dir, &st);
	while (result != 0 && errno == EINTR);
	return result == 0 ? (uint64_t)st.f_blocks * st.f_frsize : 0;
}

uint64_t
disk_room_limit(const struct config *config)
{
	int64_t set = __atomic_load_n(&config->max_disk, __ATOMIC_RELAXED);
	return set >= 0 ? (uint64_t)set : file_system_size(config) / 100 * (uint64_t)-set;
}

uint64_t
disk_room_excess(const struct disk_room *r)
{
	if (r->limit == 0 || r->live <= part(r->live_limit, START))
		return 0;
	return r->live - part(r->live_limit, LOW);
}

static double
ramp(uint64_t value, uint64_t from, uint64_t to)
{
	return value <= from ? 0 : value >= to ? 1 : (double)(value - from) / (double)(to - from);
}

double
disk_room_pressure(const struct disk_room *r, bool evicts)
{
	if (r->limit == 0)
		return 0;
	double files = ramp(r->files, part(r->limit, FILES_SLOW), r->limit);
	double live = evicts ? ramp(r->live, part(r->live_limit, SLOW), r->live_limit) : 0;
	return SETT_SLOWEST * (live > files ? live : files);
}

bool
disk_room_is_full(const struct disk_room *r, bool evicts)
{
	if (r->limit == 0)
		return false;
	return r->files >= r->limit || r->live >= (evicts ? part(r->live_limit, FULL) : r->live_limit);
}

bool
disk_room_files_are_many(const struct disk_room *r)
{
	return r->limit != 0 && r->files > part(r->limit, FILES_SLOW);
}

static uint64_t
lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How many bytes may be written before a part of either limit is taken. */
static uint64_t
bytes_to(const struct disk_room *r, unsigned live_part, unsigned files_part)
{
	uint64_t live = part(r->live_limit, live_part), files = part(r->limit, files_part);
	return lesser(live > r->live ? live - r->live : 0, files > r->files ? files - r->files : 0);
}

uint64_t
disk_room_time_ns(const struct disk_room *r)
{
	if (r->limit == 0)
		return UINT64_MAX;
	uint64_t time = bytes_to(r, FULL, WHOLE) * NS_PER_BYTE;
	if (time > 2 * PAUSE_MOST_NS)
		return UINT64_MAX;
	return time > TIME_LEAST_NS ? time : TIME_LEAST_NS;
}

uint64_t
disk_room_pause_ns(const struct disk_room *r)
{
	uint64_t live = part(r->live_limit, START), files = part(r->limit, FILES_SLOW);
	if (r->limit == 0)
		return PAUSE_MOST_NS;
	uint64_t bytes = lesser(live > r->live ? live - r->live : 0, files > r->files ? files - r->files : 0);
	uint64_t pause = lesser(bytes / BYTES_PER_NS, PAUSE_MOST_NS);
	return pause > PAUSE_LEAST_NS ? pause : PAUSE_LEAST_NS;
}
