/* The log's segments: made ahead of time, grown, entered in a list, removed. (Their bytes: log.c.)
 *
 * All file work that is not writing or syncing records happens here, on threads that may wait for the disk. A
 * segment is entered in the list only once its allocation, its header and its directory entry are durable, so
 * a crash leaves at most an unused file, which recovery removes. It leaves the list under sync_lock,
 * flush_lock and grow_lock: nobody is at work on it then, and nothing waits to be written to it. Lock order:
 * log.c. */
#include "log_private.h"

#include "storage/base/random.h"

/* What a segment grows by at least when it must. */
#define GROWTH_STEP (1024ULL * 1024)
/* What a segment gets at least. */
#define SEGMENT_MIN (8ULL * 1024 * 1024)

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

/* Allocates the file, writes its header, makes both and the directory entry durable. */
static int
segment_fill(struct log *log, struct segment *segment, struct sett_error *error)
{
	uint8_t header[LOG_SEGMENT_HEADER_SIZE];
	uint64_t salt = random_entropy();
	segment->seed = log_segment_seed(segment->number, salt);
	log_segment_header_encode(header, segment->number, salt);
	int status = vfs_allocate(segment->file, segment->allocated, error);
	if (status == SETT_OK)
		status = vfs_write_bytes(segment->file, header, sizeof(header), 0, error);
	if (status == SETT_OK)
		status = vfs_sync(segment->file, error);
	if (status == SETT_OK)
		status = vfs_sync_directory(log->options.vfs, log->directory, error);
	return status;
}

/* Twice what the last one took: preallocated space is taken from the disk, and where values lie in the value
 * log, a segment ends long before it is full. */
static uint64_t
choose_size(const struct log *log)
{
	uint64_t size = 2 * __atomic_load_n(&log->last_used, __ATOMIC_RELAXED);
	if (size < SEGMENT_MIN)
		size = SEGMENT_MIN;
	return size < log->options.segment_size ? size : log->options.segment_size;
}

int
log_segment_create(struct log *log, struct segment **ret, struct sett_error *error)
{
	struct vfs *vfs = log->options.vfs;
	char path[SETT_PATH_MAX];
	uint64_t number = log->options.next_file_number(log->options.next_file_number_arg);
	if (file_name_make(log->directory, number, LOG_SUFFIX, path) != SETT_OK)
		return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", log->directory);
	struct segment *segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a log segment");
	segment->number = number;
	segment->allocated = choose_size(log);
	segment->appended = segment->written_end = segment->synced_end = LOG_SEGMENT_HEADER_SIZE;
	int status = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &segment->file, error);
	if (status == SETT_OK) {
		status = segment_fill(log, segment, error);
		if (status == SETT_OK)
			status = list_insert(log, segment);
		if (status != SETT_OK)
			vfs_remove(vfs, path, NULL); /* an empty segment is harmless if it stays */
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
		log_record_span(LOG_RECORD_HEADER_SIZE, bytes);
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
		char path[SETT_PATH_MAX];
		status = file_name_make(log->directory, old->number, LOG_SUFFIX, path);
		log_segment_free(old);
		if (status == SETT_OK)
			status = vfs_remove(log->options.vfs, path, error);
		if (status == SETT_NOT_FOUND)
			status = SETT_OK;
	}
	return status;
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
	mutex_unlock(lock);
	*ret_bytes = bytes;
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
	int status = file_name_make(log->directory, number, LOG_SUFFIX, path);
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
