/* The log's segments: made ahead of time, grown, entered in a list, removed. (Their bytes: log.c.)
 *
 *     new file, or the retired one -> spare -> current -> (flushed) -> retired, or removed
 *
 * All file work that is not writing or syncing records happens here, on threads that may wait for the disk. A
 * segment is entered in the list only once its allocation, its header and its directory entry are durable, so
 * a crash leaves at most an unused file, which recovery removes. It leaves the list under sync_lock,
 * flush_lock and grow_lock: nobody is at work on it then, and nothing waits to be written to it. Lock order:
 * log.c. */
#include "log_private.h"

#include <assert.h>

#include "storage/base/random.h"

/* What a segment grows by at least when it must. */
#define GROWTH_STEP (1024ULL * 1024)
/* What a segment gets at least, */
#define SEGMENT_MIN (4ULL * 1024 * 1024)
/* and while space is short. */
#define SEGMENT_SHORT (256ULL * 1024)

/* Keeps the list in order of number. */
static int
list_insert(struct log *log, struct segment *segment)
{
	int status = SETT_OK;
	mutex_lock(&log->list_lock);
	if (log->segment_count == log->segment_capacity) {
		size_t capacity = log->segment_capacity ? 2 * log->segment_capacity : 8;
		struct segment **grown = realloc(log->segments, capacity * sizeof(struct segment *));
		if (grown == NULL) {
			status = SETT_NO_MEMORY;
			goto out;
		}
		log->segments = grown;
		log->segment_capacity = capacity;
	}
	size_t at = log->segment_count;
	for (; at > 0 && log->segments[at - 1]->number > segment->number; at--)
		log->segments[at] = log->segments[at - 1];
	log->segments[at] = segment;
	log->segment_count++;
out:
	mutex_unlock(&log->list_lock);
	return status;
}

void
log_segment_free(struct segment *segment)
{
	if (segment->file != NULL)
		vfs_close(segment->file, NULL);
	free(segment);
}

/* Twice what the last one took: preallocated space is taken from the disk, and where values lie in the value
 * log, a segment ends long before it is full. */
static uint64_t
choose_size(const struct log *log)
{
	uint64_t size = 2 * __atomic_load_n(&log->last_used, __ATOMIC_RELAXED);
	if (size < SEGMENT_MIN)
		size = SEGMENT_MIN;
	if (__atomic_load_n(&log->is_short, __ATOMIC_RELAXED))
		size = SEGMENT_SHORT;
	return size < log->options.segment_size ? size : log->options.segment_size;
}

/* ---- making one ---- */

static int
segment_path(const struct log *log, uint64_t number, char ret[SETT_PATH_MAX], struct sett_error *error)
{
	if (file_name_make(log->directory, number, LOG_SUFFIX, ret) == SETT_OK)
		return SETT_OK;
	return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", log->directory);
}

/* The header, and zeros up to the end of its page. */
static int
write_header(struct vfs_file *file, struct segment *segment, struct sett_error *error)
{
	assert(segment->allocated > LOG_SEGMENT_HEADER_SIZE);
	uint8_t page[LOG_PAGE] = {0};
	uint64_t salt = random_entropy();
	segment->seed = log_segment_seed(segment->number, salt);
	log_segment_header_encode(page, segment->number, salt);
	size_t size = segment->allocated < LOG_PAGE ? (size_t)segment->allocated : LOG_PAGE;
	int status = vfs_write_bytes(file, page, size, 0, error);
	return status == SETT_OK ? vfs_sync(file, error) : status;
}

static struct segment *
take_retired(struct log *log)
{
	mutex_lock(&log->list_lock);
	struct segment *retired = log->retired;
	log->retired = NULL;
	mutex_unlock(&log->list_lock);
	return retired;
}

/* False if there is one already, or the file is too large to be kept. */
static bool
retire(struct log *log, struct segment *segment)
{
	if (segment->file == NULL || segment->allocated > log->options.segment_size ||
	    __atomic_load_n(&log->is_short, __ATOMIC_RELAXED))
		return false;
	mutex_lock(&log->list_lock);
	bool taken = log->retired == NULL;
	if (taken)
		log->retired = segment;
	mutex_unlock(&log->list_lock);
	return taken;
}

/* The retired file under a new name, if there is one: its blocks are there and were written before, so that a
 * sync has no more to do than to write them. The new header is durable before the file gets the new name;
 * under the old one recovery removes it unread, whatever it holds. */
static bool
open_retired(struct log *log, struct segment *segment, const char *path)
{
	struct segment *old = take_retired(log);
	if (old == NULL)
		return false;
	char old_path[SETT_PATH_MAX];
	int status = segment_path(log, old->number, old_path, NULL);
	if (status == SETT_OK)
		status = segment->allocated < old->allocated
			? vfs_truncate(old->file, segment->allocated, NULL)
			: vfs_allocate(old->file, segment->allocated, NULL);
	if (status == SETT_OK)
		status = write_header(old->file, segment, NULL);
	if (status == SETT_OK)
		status = vfs_rename(log->options.vfs, old_path, path, NULL);
	if (status == SETT_OK)
		status = vfs_sync_directory(log->options.vfs, log->directory, NULL);
	if (status == SETT_OK) {
		segment->file = old->file;
		segment->clean_end = segment->allocated < LOG_PAGE ? segment->allocated : LOG_PAGE;
		old->file = NULL;
	} else { /* whatever it was: a new file may fare better */
		vfs_remove(log->options.vfs, old_path, NULL);
		vfs_remove(log->options.vfs, path, NULL);
	}
	log_segment_free(old);
	return status == SETT_OK;
}

/* Allocates a new file, writes its header, makes both and the directory entry durable. */
static int
open_new(struct log *log, struct segment *segment, const char *path, struct sett_error *error)
{
	struct vfs *vfs = log->options.vfs;
	int status = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &segment->file, error);
	if (status != SETT_OK)
		return status;
	segment->clean_end = UINT64_MAX;
	status = vfs_allocate(segment->file, segment->allocated, error);
	if (status == SETT_OK)
		status = write_header(segment->file, segment, error);
	if (status == SETT_OK)
		status = vfs_sync_directory(vfs, log->directory, error);
	if (status != SETT_OK)
		vfs_remove(vfs, path, NULL); /* an empty segment is harmless if it stays */
	return status;
}

int
log_segment_create(struct log *log, struct segment **ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	uint64_t number;
	int status = log->options.next_file_number(log->options.next_file_number_arg, &number, error);
	if (status == SETT_OK)
		status = segment_path(log, number, path, error);
	if (status != SETT_OK)
		return status;
	struct segment *segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a log segment");
	segment->number = number;
	segment->allocated = choose_size(log);
	segment->appended = segment->written_end = segment->synced_end = LOG_SEGMENT_HEADER_SIZE;
	if (!open_retired(log, segment, path))
		status = open_new(log, segment, path, error);
	if (status == SETT_OK) {
		status = list_insert(log, segment);
		if (status != SETT_OK)
			vfs_remove(log->options.vfs, path, NULL);
	}
	if (status != SETT_OK) {
		log_segment_free(segment);
		return status;
	}
	*ret = segment;
	return SETT_OK;
}

int
log_prepare(struct log *log, struct sett_error *error)
{
	int status = SETT_OK;
	struct segment *segment;
	mutex_lock(&log->prepare_lock);
	if (!log_has_spare(log)) {
		status = log_segment_create(log, &segment, error);
		if (status == SETT_OK)
			__atomic_store_n(&log->spare, segment, __ATOMIC_RELEASE);
	}
	mutex_unlock(&log->prepare_lock);
	return status;
}

int
log_reserve(struct log *log, uint64_t bytes, struct sett_error *error)
{
	if (bytes > SETT_MAX_BATCH_SIZE)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "a batch of %" PRIu64 " bytes", bytes);
	int status = log_health(log, error);
	if (status != SETT_OK)
		return status;
	/* The lock also keeps the segment from being removed under our eyes. */
	mutex_lock(&log->grow_lock);
	struct segment *segment = __atomic_load_n(&log->current, __ATOMIC_ACQUIRE);
	uint64_t end = __atomic_load_n(&segment->appended, __ATOMIC_RELAXED) +
		log_record_span(LOG_RECORD_TIMED_SIZE, bytes + (log->seals ? SEAL_SIZE : 0));
	if (end > segment->allocated) {
		/* Ahead of what is asked, as other commits may come first. */
		uint64_t size = (end / GROWTH_STEP + 2) * GROWTH_STEP;
		status = vfs_allocate(segment->file, size, error);
		if (status == SETT_OK)
			__atomic_store_n(&segment->allocated, size, __ATOMIC_RELEASE);
	}
	mutex_unlock(&log->grow_lock);
	return status;
}

/* Takes the first segment off the list if its number is below `bound`. */
static struct segment *
list_take_below(struct log *log, uint64_t bound)
{
	struct segment *taken = NULL;
	mutex_lock(&log->sync_lock);
	mutex_lock(&log->flush_lock);
	mutex_lock(&log->grow_lock);
	mutex_lock(&log->list_lock);
	if (log->segment_count > 0 && log->segments[0]->number < bound) {
		taken = log->segments[0];
		log->segment_count--;
		memmove(log->segments, log->segments + 1, log->segment_count * sizeof(struct segment *));
	}
	mutex_unlock(&log->list_lock);
	mutex_unlock(&log->grow_lock);
	mutex_unlock(&log->flush_lock);
	mutex_unlock(&log->sync_lock);
	return taken;
}

int
log_remove_before(struct log *log, uint64_t segment, struct sett_error *error)
{
	uint64_t current = log_segment(log);
	if (segment > current)
		segment = current;
	/* After this nothing waits for an older segment; a log that has failed writes nothing any more. */
	if (!log_has_failed(log))
		log_write(log, NULL);
	int status = SETT_OK;
	struct segment *old;
	while (status == SETT_OK && (old = list_take_below(log, segment)) != NULL) {
		if (retire(log, old))
			continue;
		char path[SETT_PATH_MAX];
		status = segment_path(log, old->number, path, error);
		log_segment_free(old);
		if (status == SETT_OK)
			status = vfs_remove(log->options.vfs, path, error);
		if (status == SETT_NOT_FOUND)
			status = SETT_OK;
	}
	return status;
}

void
log_set_short(struct log *log, bool is_short)
{
	/* relaxed: it matters for files made from now on, whoever makes them */
	__atomic_store_n(&log->is_short, is_short, __ATOMIC_RELAXED);
	if (is_short)
		log_segments_forget(log);
}

uint64_t
log_last_used(const struct log *log)
{
	return __atomic_load_n(&log->last_used, __ATOMIC_RELAXED);
}

void
log_segments_forget(struct log *log)
{
	struct segment *retired = take_retired(log);
	char path[SETT_PATH_MAX];
	if (retired == NULL)
		return;
	if (segment_path(log, retired->number, path, NULL) == SETT_OK)
		vfs_remove(log->options.vfs, path, NULL); /* else the next start does */
	log_segment_free(retired);
}

void
log_figures(const struct log *log, uint64_t *ret_segments, uint64_t *ret_bytes)
{
	struct mutex *lock = (struct mutex *)&log->list_lock;
	uint64_t bytes = 0;
	mutex_lock(lock);
	for (size_t i = 0; i < log->segment_count; i++)
		bytes += __atomic_load_n(&log->segments[i]->allocated, __ATOMIC_RELAXED);
	*ret_segments = log->segment_count;
	if (log->retired != NULL)
		bytes += log->retired->allocated;
	mutex_unlock(lock);
	*ret_bytes = bytes;
}

bool
log_next_segment(const struct log *log, uint64_t number, uint64_t *ret)
{
	struct mutex *lock = (struct mutex *)&log->list_lock;
	bool found = false;
	mutex_lock(lock);
	for (size_t i = 0; i < log->segment_count && !found; i++) {
		found = log->segments[i]->number > number;
		if (found)
			*ret = log->segments[i]->number;
	}
	mutex_unlock(lock);
	return found;
}

/* Enters a segment that an earlier run left, so that log_remove_before finds it. */
static int
adopt(void *arg, const char *name)
{
	struct log *log = arg;
	uint64_t number;
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	if (!file_name_parse(name, LOG_SUFFIX, &number))
		return SETT_OK;
	struct segment *segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return SETT_NO_MEMORY;
	segment->number = number;
	int status = segment_path(log, number, path, NULL);
	if (status == SETT_OK)
		status = vfs_open(log->options.vfs, path, VFS_READ, &file, NULL);
	if (status == SETT_OK) {
		status = vfs_size(file, &segment->allocated, NULL);
		vfs_close(file, NULL);
	}
	if (status == SETT_OK)
		status = list_insert(log, segment);
	if (status != SETT_OK)
		free(segment);
	return status;
}

int
log_segments_adopt(struct log *log, struct sett_error *error)
{
	int status = vfs_list(log->options.vfs, log->directory, adopt, log, error);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "%s: cannot list the log's segments", log->directory);
	return SETT_OK;
}
