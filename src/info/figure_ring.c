/* See figure_ring.h and docs/format-history.md.
 *
 * Nothing is synced: after a power cut some samples are absent. The place of a sample is its time divided by the tier's step,
 * modulo the tier's length. A reader walks over the times that it wants, and takes what lies in each place only if it is of that time:
 * so neither a stop of the server nor a clock that was set needs care. */
#include "info/figure_ring.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/hash.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file has numbers as they are in memory");

enum { LINE_SIZE = (FIGURES + 2) * 21 + 1, COUNT_MAX = 3600 /* samples of a tier */ };

static const struct {
	uint64_t step, count; /* seconds, samples */
} tiers[FIGURE_TIERS] = {{1, COUNT_MAX}, {15, 1440}, {60, 1440}};

static const char *const names[FIGURES] = {
	[FIGURE_COMMANDS] = "commands",
	[FIGURE_ERRORS] = "errors",
	[FIGURE_BYTES_IN] = "bytes_in",
	[FIGURE_BYTES_OUT] = "bytes_out",
	[FIGURE_HITS] = "hits",
	[FIGURE_MISSES] = "misses",
	[FIGURE_EXPIRED_KEYS] = "expired_keys",
	[FIGURE_EVICTED_KEYS] = "evicted_keys",
	[FIGURE_BYTES_WRITTEN] = "bytes_written",
	[FIGURE_CONFLICTS] = "conflicts",
	[FIGURE_CPU_US] = "cpu_usec",
	[FIGURE_P50_NS] = "p50_nsec",
	[FIGURE_P99_NS] = "p99_nsec",
	[FIGURE_P999_NS] = "p99.9_nsec",
	[FIGURE_CLIENTS] = "clients",
	[FIGURE_BLOCKED_CLIENTS] = "blocked_clients",
	[FIGURE_RESIDENT_BYTES] = "resident_bytes",
	[FIGURE_MEMORY_LIMIT] = "memory_limit",
	[FIGURE_DISK_BYTES] = "disk_bytes",
	[FIGURE_LIVE_BYTES] = "live_bytes",
	[FIGURE_DISK_LIMIT] = "disk_limit",
	[FIGURE_LOG_BYTES] = "log_bytes",
	[FIGURE_VALUE_LOG_BYTES] = "value_log_bytes",
	[FIGURE_VALUE_LOG_GARBAGE] = "value_log_garbage",
	[FIGURE_SYNC_LAG_US] = "sync_lag_usec",
	[FIGURE_LEVEL0] = "level0_bytes",
	[FIGURE_LEVEL0 + 1] = "level1_bytes",
	[FIGURE_LEVEL0 + 2] = "level2_bytes",
	[FIGURE_LEVEL0 + 3] = "level3_bytes",
	[FIGURE_LEVEL0 + 4] = "level4_bytes",
	[FIGURE_LEVEL0 + 5] = "level5_bytes",
	[FIGURE_LEVEL6] = "level6_bytes",
};

struct header {
	char magic[8];
	uint32_t version, figures;
	uint64_t unused[6]; /* 0 */
};

struct record {
	struct figure_sample sample;
	uint64_t checksum; /* of the sample, under its tier */
};

static_assert(sizeof(struct header) == 64, "as documented");
static_assert(sizeof(struct record) == 8 * (FIGURES + 3), "without gaps");

static const struct header own_header = {
	.magic = "SETTHIST", .version = FIGURE_RING_VERSION, .figures = FIGURES};

struct figure_ring {
	struct vfs_file *file;
};

const char *
figure_name(enum figure figure)
{
	return names[figure];
}

uint64_t
figure_ring_step(unsigned tier)
{
	assert(tier < FIGURE_TIERS);
	return tiers[tier].step;
}

/* ---- places ---- */

static uint64_t
offset_of_tier(unsigned tier)
{
	uint64_t offset = sizeof(struct header);
	for (unsigned i = 0; i < tier; i++)
		offset += tiers[i].count * sizeof(struct record);
	return offset;
}

/* How often the tier's step fits into the time: counts on without an end. */
static uint64_t
slot_of(unsigned tier, uint64_t time_ms)
{
	return time_ms / 1000 / tiers[tier].step;
}

static bool
is_whole(const struct record *record, unsigned tier)
{
	return record->checksum == hash64(&record->sample, sizeof(record->sample), tier);
}

/* ---- opening ---- */

static int
read_all(struct vfs_file *file, void *data, size_t size, uint64_t offset, struct sett_error *error)
{
	size_t got = 0;
	int status = vfs_read(file, data, size, offset, 0, &got, error);
	if (status == SETT_OK && got < size)
		status = sett_error_set(error, SETT_CORRUPT, 0, "a file of figures that ends too early");
	return status;
}

static int
check_header(struct vfs_file *file, struct sett_error *error)
{
	struct header header;
	uint64_t size = 0;
	int status = vfs_size(file, &size, error);
	if (status == SETT_OK)
		status = read_all(file, &header, sizeof(header), 0, error);
	if (status == SETT_OK &&
	    (memcmp(&header, &own_header, sizeof(header)) != 0 || size != offset_of_tier(FIGURE_TIERS)))
		status = sett_error_set(error, SETT_CORRUPT, 0,
					"no file of figures, or one of another version");
	return status;
}

static int
write_header(struct vfs_file *file, struct sett_error *error)
{
	struct header header = own_header;
	const struct iovec piece = {&header, sizeof(header)};
	int status = vfs_allocate(file, offset_of_tier(FIGURE_TIERS), error);
	return status == SETT_OK ? vfs_write(file, &piece, 1, 0, error) : status;
}

static int
make_file(struct vfs *vfs, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	struct vfs_file *file;
	int status = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &file, error);
	if (status != SETT_OK)
		return status;
	status = write_header(file, error);
	if (status == SETT_OK) {
		*ret = file;
		return SETT_OK;
	}
	(void)vfs_close(file, NULL); /* what failed before is told of */
	(void)vfs_remove(vfs, path, NULL);
	return status;
}

static int
open_file(struct vfs *vfs, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	struct vfs_file *file;
	int status = vfs_open(vfs, path, flags, &file, error);
	if (status != SETT_OK)
		return status;
	status = check_header(file, error);
	if (status == SETT_OK)
		*ret = file;
	else
		(void)vfs_close(file, NULL); /* what is wrong with it is told of */
	return status;
}

static int
make_ring(struct vfs_file *file, struct figure_ring **ret, struct sett_error *error)
{
	struct figure_ring *ring = malloc(sizeof(*ring));
	if (ring == NULL) {
		(void)vfs_close(file, NULL); /* nothing was written that is not written */
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	}
	ring->file = file;
	*ret = ring;
	return SETT_OK;
}

int
figure_ring_open(struct vfs *vfs, const char *path, struct figure_ring **ret, bool *ret_replaced,
		 struct sett_error *error)
{
	struct vfs_file *file = NULL;
	int status = open_file(vfs, path, VFS_READ | VFS_WRITE, &file, error);
	bool is_wrong = status == SETT_CORRUPT;
	if (is_wrong)
		status = vfs_remove(vfs, path, error);
	if (status == SETT_NOT_FOUND || (is_wrong && status == SETT_OK))
		status = make_file(vfs, path, &file, error);
	if (status == SETT_OK)
		status = make_ring(file, ret, error);
	if (status == SETT_OK)
		*ret_replaced = is_wrong;
	return status;
}

int
figure_ring_open_to_read(struct vfs *vfs, const char *path, struct figure_ring **ret,
			 struct sett_error *error)
{
	struct vfs_file *file = NULL;
	int status = open_file(vfs, path, VFS_READ, &file, error);
	return status == SETT_OK ? make_ring(file, ret, error) : status;
}

void
figure_ring_close(struct figure_ring *ring)
{
	if (ring == NULL)
		return;
	(void)vfs_close(ring->file, NULL); /* samples may be lost */
	free(ring);
}

/* ---- samples ---- */

int
figure_ring_write(struct figure_ring *ring, unsigned tier, const struct figure_sample *sample,
		  struct sett_error *error)
{
	assert(tier < FIGURE_TIERS);
	struct record record = {.sample = *sample};
	record.checksum = hash64(&record.sample, sizeof(record.sample), tier);
	const struct iovec piece = {&record, sizeof(record)};
	uint64_t place = slot_of(tier, sample->time_ms) % tiers[tier].count;
	return vfs_write(ring->file, &piece, 1, offset_of_tier(tier) + place * sizeof(record), error);
}

int
figure_ring_print_names(struct buffer *ret)
{
	char line[FIGURES * 32];
	size_t size = (size_t)snprintf(line, sizeof(line), "time_ms,span_ms");
	for (unsigned i = 0; i < FIGURES; i++)
		size += (size_t)snprintf(line + size, sizeof(line) - size, ",%s", names[i]);
	assert(size + 1 < sizeof(line));
	line[size++] = '\n';
	return buffer_append(ret, line, size);
}

/* The number in decimal and a character behind it; returns the end. */
static char *
put_number(char *at, uint64_t number, char behind)
{
	char digits[20];
	size_t count = 0;
	do
		digits[count++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (count > 0)
		*at++ = digits[--count];
	*at++ = behind;
	return at;
}

static int
print_sample(const struct figure_sample *sample, struct buffer *ret)
{
	char line[LINE_SIZE], *end = put_number(line, sample->time_ms, ',');
	end = put_number(end, sample->span_ms, ',');
	for (unsigned i = 0; i < FIGURES; i++)
		end = put_number(end, sample->values[i], i + 1 < FIGURES ? ',' : '\n');
	assert(end <= line + sizeof(line));
	return buffer_append(ret, line, (size_t)(end - line));
}

/* What lies in the slot's place, if it is whole and of this slot; NULL if not. */
static const struct record *
find_record(const struct record *records, unsigned tier, uint64_t slot)
{
	const struct record *record = &records[slot % tiers[tier].count];
	return slot_of(tier, record->sample.time_ms) == slot && is_whole(record, tier) ? record : NULL;
}

static uint64_t
newest_time(const struct record *records, unsigned tier)
{
	uint64_t newest = 0;
	for (uint64_t i = 0; i < tiers[tier].count; i++) {
		uint64_t time = records[i].sample.time_ms, slot = slot_of(tier, time);
		if (time > newest && slot % tiers[tier].count == i &&
		    find_record(records, tier, slot) != NULL)
			newest = time;
	}
	return newest;
}

/* The slots of a span that ends at `end_ms`. */
struct range {
	uint64_t first, last;
};

static struct range
range_of(unsigned tier, uint64_t seconds, uint64_t end_ms)
{
	uint64_t last = slot_of(tier, end_ms), count = (seconds + tiers[tier].step - 1) / tiers[tier].step;
	count = count < tiers[tier].count ? count : tiers[tier].count;
	return (struct range){last >= count ? last - count + 1 : 0, last};
}

/* Whether a finer tier reaches back to the first of these: a server that runs for a minute has no day to show. */
static bool
is_finer_enough(const struct record *records, unsigned tier, struct range range)
{
	uint64_t slot = range.first;
	if (tier == 0)
		return false;
	while (slot <= range.last && find_record(records, tier, slot) == NULL)
		slot++;
	/* the sample's own span, too */
	return (range.last - slot + 2) * tiers[tier].step <= tiers[tier - 1].step * tiers[tier - 1].count;
}

static int
print_range(const struct record *records, unsigned tier, struct range range, struct buffer *ret)
{
	int status = figure_ring_print_names(ret);
	for (uint64_t slot = range.first; slot <= range.last && status == SETT_OK; slot++) {
		const struct record *record = find_record(records, tier, slot);
		if (record != NULL)
			status = print_sample(&record->sample, ret);
	}
	return status;
}

/* Somebody may have cut the file while it is open: there are no samples behind its end. */
static int
read_tier(struct figure_ring *ring, unsigned tier, struct record *ret, struct sett_error *error)
{
	size_t size = tiers[tier].count * sizeof(*ret), got = 0;
	int status = vfs_read(ring->file, ret, size, offset_of_tier(tier), 0, &got, error);
	memset((uint8_t *)ret + got, 0, size - got);
	return status;
}

/* `records` has room for a tier. */
static int
print_with(struct figure_ring *ring, struct record *records, uint64_t seconds, uint64_t end_ms,
	   struct buffer *ret, struct sett_error *error)
{
	unsigned tier = 0;
	int status = read_tier(ring, tier, records, error);
	if (status != SETT_OK)
		return status;
	if (end_ms == 0)
		end_ms = newest_time(records, tier);
	while (tiers[tier].step * tiers[tier].count < seconds)
		tier++;
	if (tier > 0)
		status = read_tier(ring, tier, records, error);
	while (status == SETT_OK && is_finer_enough(records, tier, range_of(tier, seconds, end_ms)))
		status = read_tier(ring, --tier, records, error);
	return status == SETT_OK ? print_range(records, tier, range_of(tier, seconds, end_ms), ret) : status;
}

int
figure_ring_print(struct figure_ring *ring, uint64_t seconds, uint64_t end_ms, struct buffer *ret,
		  struct sett_error *error)
{
	assert(seconds > 0 && seconds <= FIGURE_SECONDS_MAX);
	struct record *records = malloc(COUNT_MAX * sizeof(*records));
	if (records == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	int status = print_with(ring, records, seconds, end_ms, ret, error);
	free(records);
	return status;
}
