/* The write-ahead log: appending, group writing, group syncing, rotation.
 *
 * Who works where (log_segments.c makes and removes the files):
 *
 *     appender (one at a time,   chunk -> chunk -> chunk (tail)      ready: atomic, only grows
 *     the engine's commit lock)    |                 ^ copies here
 *     flusher (flush_lock)         ^ writes [flushed, ready) of each chunk, then moves on
 *     syncer (sync_lock)         syncs values, then segments in order, then publishes `durable`
 *
 * Appender and flusher share the list of chunks without a lock, as one producer and one consumer do: bytes
 * below a chunk's `ready` belong to the flusher, the rest to the appender, and a chunk whose `next` is set
 * gets no more bytes. So a commit never waits for I/O, and appends go on while a write is under way. The
 * flusher also computes the checksums, which keeps them out of the commit lock. A caller of log_write whose
 * commits are written returns after two loads; the others queue on flush_lock, and whoever gets it writes for
 * all of them.
 *
 * Invariants:
 *   1. durable <= written <= appended; each only grows (what a reply may promise rests on this, I1).
 *      `written` moves after the write call has returned, `durable` after the values those records point
 *      at and every segment up to there were synced, in this order (I10). Rotation does not skip a
 *      segment: the old one is synced before the new one.
 *   2. No record is written behind one that is not: the first failed write or sync stops the log for good,
 *      also for bytes that wait in chunks (I12). A sync is never tried again: what a failed one dropped is
 *      unknown.
 *   3. Bytes beyond a segment's allocated size are never appended, so a full disk is met in log_reserve or
 *      log_prepare, before anything is committed (I12).
 *   4. Every record carries its predecessor's timestamp and the durable timestamp of the moment: what
 *      recovery needs to tell a lost tail from a hole (I11).
 *   5. A segment's header and directory entry are durable before its first record is appended.
 *   6. A segment leaves the list, and is closed, only under sync_lock, flush_lock and grow_lock, so their
 *      holders may use it without the list's lock.
 *
 * Lock order: prepare_lock, sync_lock, flush_lock, grow_lock, list_lock, failure_lock. The last two are never
 * held during I/O. */
#include "log_private.h"

#include <assert.h>

enum {
	CHUNK_SIZE = 256 * 1024, /* larger records get a chunk of their own */
	WRITE_VECTOR = 32,       /* chunks in one write */
};

static const uint8_t zero_page[LOG_PAGE];

/* ---- failure ---- */

/* Stops the log for good; the first failure is the one that is told. */
static int
fail(struct log *log, const char *what, const struct sett_error *cause, struct sett_error *error)
{
	mutex_lock(&log->failure_lock);
	if (!log->failed) {
		sett_error_set(&log->failure, SETT_FAILED, cause->system_errno, "the log stopped: %s: %s",
			       what, cause->message[0] ? cause->message : sett_status_text(cause->status));
		__atomic_store_n(&log->failed, true, __ATOMIC_RELEASE);
	}
	mutex_unlock(&log->failure_lock);
	return log_health(log, error);
}

int
log_health(const struct log *log, struct sett_error *error)
{
	if (!log_has_failed(log))
		return SETT_OK;
	if (error != NULL)
		*error = log->failure;
	return SETT_FAILED;
}

/* ---- chunks ---- */

static struct chunk *
chunk_new(size_t capacity)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + capacity);
	if (chunk == NULL)
		return NULL;
	chunk->next = NULL;
	chunk->capacity = capacity;
	chunk->ready = 0;
	return chunk;
}

static struct chunk *
chunk_obtain(struct log *log, size_t size)
{
	struct chunk *chunk = NULL;
	size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;
	for (int i = 0; capacity == CHUNK_SIZE && chunk == NULL && i < CHUNKS_KEPT; i++)
		chunk = __atomic_exchange_n(&log->kept[i], NULL, __ATOMIC_ACQUIRE);
	if (chunk == NULL)
		return chunk_new(capacity);
	chunk->next = NULL;
	chunk->ready = 0;
	return chunk;
}

static void
chunk_recycle(struct log *log, struct chunk *chunk)
{
	for (int i = 0; chunk->capacity == CHUNK_SIZE && i < CHUNKS_KEPT; i++) {
		struct chunk *empty = NULL;
		if (__atomic_compare_exchange_n(&log->kept[i], &empty, chunk, false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	}
	free(chunk);
}

/* Puts a chunk behind the tail. */
static void
chunk_link(struct log *log, struct segment *segment, struct chunk *chunk)
{
	assert(chunk->next == NULL && chunk->ready == 0);
	assert(chunk != log->tail);
	chunk->segment = segment;
	chunk->offset = segment->appended;
	__atomic_store_n(&log->tail->next, chunk, __ATOMIC_RELEASE);
	log->tail = chunk;
}

/* Room for `size` more bytes of the current segment: the tail, or a new chunk behind it. */
static struct chunk *
chunk_for(struct log *log, struct segment *segment, size_t size)
{
	struct chunk *tail = log->tail;
	if (tail->segment == segment && tail->capacity - tail->ready >= size)
		return tail;
	struct chunk *chunk = chunk_obtain(log, size);
	if (chunk == NULL)
		return NULL;
	chunk_link(log, segment, chunk);
	return chunk;
}

/* ---- appending (commit lock) ---- */

static uint16_t
header_size_of(const struct log *log)
{
	/* Relaxed: who copies a record without the commit lock is told later if it was changed. */
	bool keeps = __atomic_load_n(&log->keeps_times, __ATOMIC_RELAXED);
	return keeps ? LOG_RECORD_TIMED_SIZE : LOG_RECORD_HEADER_SIZE;
}

/* What a payload takes in the file. */
static inline size_t
stored_size(const struct log *log, size_t payload_size)
{
	return payload_size + (log->seals ? SEAL_SIZE : 0);
}

/* The payload, and what stands behind it up to the next record. */
static inline void
put_payload(uint8_t *p, uint16_t header_size, struct bytes payload, uint64_t span)
{
	size_t used = header_size + payload.size;
	assert(used <= span);
	if (payload.size > 0)
		memcpy(p + header_size, payload.data, payload.size);
	memset(p + used, 0, span - used);
}

static inline int
admit_record(const struct log *log, uint64_t timestamp, uint64_t span)
{
	const struct segment *segment = log->current;
	if (log_has_failed(log))
		return SETT_FAILED;
	if (timestamp <= log->appended)
		return SETT_INVALID;
	assert(segment->appended <= __atomic_load_n(&segment->allocated, __ATOMIC_ACQUIRE));
	bool fits = span <= __atomic_load_n(&segment->allocated, __ATOMIC_ACQUIRE) - segment->appended;
	return fits ? SETT_OK : SETT_NO_SPACE;
}

/* The record whose payload stands behind `p` belongs to the flusher from now on. */
static inline void
finish_record(struct log *log, uint8_t *p, uint16_t header_size, size_t payload_size, uint64_t timestamp,
	      uint64_t now_ms)
{
	struct segment *segment = log->current;
	payload_size = stored_size(log, payload_size);
	struct chunk *chunk = log->tail;
	uint64_t span = log_record_span(header_size, payload_size);
	assert(chunk->segment == segment && p == chunk->data + chunk->ready &&
	       chunk->ready + span <= chunk->capacity);
	log_record_header_encode(p,
				 &(struct log_record_header){
					 .payload_size = (uint32_t)payload_size,
					 .header_size = header_size,
					 .flags = log->seals ? LOG_SEALED : 0,
					 .timestamp = timestamp,
					 .previous = log->appended,
					 .durable = log_durable(log),
					 .now_ms = now_ms,
				 });
	__atomic_store_n(&segment->appended, segment->appended + span, __ATOMIC_RELAXED);
	__atomic_store_n(&chunk->ready, chunk->ready + span, __ATOMIC_RELEASE);
	__atomic_store_n(&log->appended, timestamp, __ATOMIC_RELEASE);
}

int
log_append(struct log *log, uint64_t timestamp, uint64_t now_ms, struct bytes payload)
{
	if (payload.size > SETT_MAX_BATCH_SIZE)
		return SETT_TOO_LARGE;
	uint16_t header_size = header_size_of(log);
	uint64_t span = log_record_span(header_size, stored_size(log, payload.size));
	int status = admit_record(log, timestamp, span);
	if (status != SETT_OK)
		return status;
	struct segment *segment = log->current;
	struct chunk *chunk = chunk_for(log, segment, span);
	if (chunk == NULL)
		return SETT_NO_MEMORY;
	uint8_t *p = chunk->data + chunk->ready;
	put_payload(p, header_size, payload, span);
	finish_record(log, p, header_size, payload.size, timestamp, now_ms);
	/* A chunk that a large record filled can go once it is written if there is one behind it; else it would
	 * stay until the next commit. Out of memory: so it does. */
	if (__builtin_expect(chunk->capacity > CHUNK_SIZE, 0))
		(void)chunk_for(log, segment, LOG_RECORD_HEADER_SIZE);
	return SETT_OK;
}

struct log_record_copy {
	size_t payload_size;
	uint16_t header_size;
	struct chunk *chunk; /* not linked yet, nothing in it is ready */
};

int
log_copy_record(const struct log *log, struct bytes payload, struct log_record_copy **ret)
{
	if (payload.size > SETT_MAX_BATCH_SIZE)
		return SETT_TOO_LARGE;
	uint16_t header_size = header_size_of(log);
	uint64_t span = log_record_span(header_size, stored_size(log, payload.size));
	struct log_record_copy *copy = malloc(sizeof(*copy));
	struct chunk *chunk = chunk_new(span);
	if (copy == NULL || chunk == NULL) {
		free(copy);
		free(chunk);
		return SETT_NO_MEMORY;
	}
	put_payload(chunk->data, header_size, payload, span);
	*copy = (struct log_record_copy){payload.size, header_size, chunk};
	*ret = copy;
	return SETT_OK;
}

void
log_free_copy(struct log_record_copy *copy)
{
	if (copy == NULL)
		return;
	free(copy->chunk);
	free(copy);
}

int
log_append_copy(struct log *log, uint64_t timestamp, uint64_t now_ms, struct log_record_copy *copy)
{
	if (copy->header_size != header_size_of(log))
		return SETT_CONFLICT;
	uint64_t span = log_record_span(copy->header_size, stored_size(log, copy->payload_size));
	int status = admit_record(log, timestamp, span);
	if (status != SETT_OK)
		return status;
	assert(copy->chunk->ready == 0); /* it is appended once */
	chunk_link(log, log->current, copy->chunk);
	finish_record(log, copy->chunk->data, copy->header_size, copy->payload_size, timestamp, now_ms);
	free(copy);
	/* As in log_append. */
	(void)chunk_for(log, log->current, LOG_RECORD_HEADER_SIZE);
	return SETT_OK;
}

int
log_rotate(struct log *log, uint64_t *ret_segment)
{
	struct segment *spare = __atomic_exchange_n(&log->spare, NULL, __ATOMIC_ACQUIRE);
	if (spare == NULL)
		return SETT_WOULD_BLOCK;
	assert(spare->number > log->current->number && spare->appended == LOG_SEGMENT_HEADER_SIZE);
	__atomic_store_n(&log->last_used, log->current->appended, __ATOMIC_RELAXED);
	__atomic_store_n(&log->current, spare, __ATOMIC_RELEASE);
	__atomic_store_n(&log->current_number, spare->number, __ATOMIC_RELEASE);
	*ret_segment = spare->number;
	return SETT_OK;
}

uint64_t
log_segment(const struct log *log)
{
	return __atomic_load_n(&log->current_number, __ATOMIC_ACQUIRE);
}

void
log_position(const struct log *log, uint64_t *ret_segment, uint64_t *ret_offset)
{
	*ret_segment = log->current->number;
	*ret_offset = log->current->appended;
}

void
log_keep_times(struct log *log, bool keep)
{
	assert(!keep || log->options.clock != NULL);
	__atomic_store_n(&log->keeps_times, keep, __ATOMIC_RELAXED);
}

bool
log_is_full(const struct log *log, uint64_t more)
{
	const struct segment *segment = __atomic_load_n(&log->current, __ATOMIC_ACQUIRE);
	uint64_t room = __atomic_load_n(&segment->allocated, __ATOMIC_ACQUIRE) -
		__atomic_load_n(&segment->appended, __ATOMIC_RELAXED);
	return more > SETT_MAX_BATCH_SIZE ||
		room < log_record_span(LOG_RECORD_TIMED_SIZE, stored_size(log, more));
}

bool
log_has_spare(const struct log *log)
{
	return __atomic_load_n(&log->spare, __ATOMIC_RELAXED) != NULL;
}

/* ---- writing (flush_lock) ---- */

/* Encrypts the payload in its place. Once: what a write that failed has left in memory is not written any more. */
static int
encrypt_record(const struct log *log, uint8_t *p, uint64_t segment, uint64_t offset)
{
	uint8_t room[LOG_RECORD_HEADER_MAX], *payload = p + get_le16(p + 12);
	size_t size = get_le32(p + 8) - SEAL_SIZE;
	struct seal_place place = {.kind = SEAL_LOG,
				   .file = segment,
				   .offset = offset,
				   .also = log_record_sealed_header(p, room)};
	return seal_make(log->options.vfs->keys, &place, bytes_of(payload, size), payload, payload + size);
}

/* Encrypts and checksums the records in `size` bytes at `data`, which will stand at `offset` of the segment, and gives the
 * time to those that ask for it; `ret_last` is the last one's timestamp. The records are there already, so their commits
 * were asked for before that time. */
static int
seal_records_locked(struct log *log, uint8_t *data, size_t size, const struct segment *segment,
		    uint64_t offset, uint64_t *ret_last) REQUIRES(&log->flush_lock)
{
	uint64_t last = 0, seed = segment->seed + offset;
	bool has_time = false;
	for (size_t at = 0; at < size;) {
		uint8_t *p = data + at;
		assert(size - at >= LOG_RECORD_HEADER_SIZE);
		if (log_record_is_timed(p)) {
			uint64_t now = has_time ? 0 : clock_wall_ms(log->options.clock);
			if (now > log->newest_ms)
				log->newest_ms = now;
			has_time = true;
			put_le64(p + 56, log->newest_ms);
		}
		if (__builtin_expect(log->seals, 0)) {
			int status = encrypt_record(log, p, segment->number, offset + at);
			if (status != SETT_OK)
				return status;
		}
		log_record_seal(p, seed + at);
		assert(get_le64(p + 24) > last);
		last = get_le64(p + 24);
		at += log_record_span(get_le16(p + 12), get_le32(p + 8));
	}
	*ret_last = last;
	return SETT_OK;
}

/* One write's worth of what is ready, all in one segment. */
struct gathering {
	struct iovec vector[WRITE_VECTOR + 1]; /* one for zeros */
	int count;
	struct segment *segment;
	uint64_t offset, size, last;
};

/* Gathers what is ready, from `head` on, and seals it. Nothing is marked as written: see advance_locked. SETT_NO_MEMORY,
 * SETT_IO: it cannot be encrypted. */
static int
gather_locked(struct log *log, struct gathering *ret) REQUIRES(&log->flush_lock)
{
	ret->count = 0;
	ret->size = 0;
	size_t from = log->flushed;
	for (struct chunk *chunk = log->head; chunk != NULL && ret->count < WRITE_VECTOR; from = 0) {
		/* `next` first: once it is set, `ready` is final. */
		struct chunk *next = __atomic_load_n(&chunk->next, __ATOMIC_ACQUIRE);
		size_t ready = __atomic_load_n(&chunk->ready, __ATOMIC_ACQUIRE);
		if (ready > from) {
			if (ret->count == 0) {
				ret->segment = chunk->segment;
				ret->offset = chunk->offset + from;
			} else if (chunk->segment != ret->segment) {
				break;
			}
			assert(chunk->offset + from == ret->offset + ret->size); /* without a gap */
			int status = seal_records_locked(log, chunk->data + from, ready - from,
							 chunk->segment, chunk->offset + from, &ret->last);
			if (status != SETT_OK)
				return status;
			ret->vector[ret->count++] = (struct iovec){chunk->data + from, ready - from};
			ret->size += ready - from;
		}
		chunk = next;
	}
	return SETT_OK;
}

/* Zeros to write behind the records that end at `end`, so that the log ends in zeros wherever it ends. They
 * also spare the system the reading of a page of which only the front is written. */
static size_t
padding_of(const struct segment *segment, uint64_t end)
{
	if (end < segment->clean_end)
		return 0;
	uint64_t allocated = __atomic_load_n(&segment->allocated, __ATOMIC_ACQUIRE);
	uint64_t page_end = log_page_end(end);
	assert(end <= allocated && page_end >= end);
	return (size_t)((page_end < allocated ? page_end : allocated) - end);
}

/* Takes `size` written bytes off the front of the list, and drained chunks with them. */
static void
advance_locked(struct log *log, uint64_t size) REQUIRES(&log->flush_lock)
{
	for (;;) {
		struct chunk *head = log->head;
		struct chunk *next = __atomic_load_n(&head->next, __ATOMIC_ACQUIRE);
		size_t ready = __atomic_load_n(&head->ready, __ATOMIC_ACQUIRE);
		size_t step = ready - log->flushed < size ? ready - log->flushed : size;
		assert(log->flushed <= ready);
		log->flushed += step;
		size -= step;
		if (next == NULL || log->flushed < ready)
			break;
		log->head = next;
		log->flushed = 0;
		chunk_recycle(log, head);
	}
	assert(size == 0);
}

/* Writes until `target` is written. */
static int
flush_locked(struct log *log, uint64_t target, struct sett_error *error) REQUIRES(&log->flush_lock)
{
	assert(mutex_is_mine(&log->flush_lock));
	struct gathering g;
	while (log->written < target) {
		if (log_has_failed(log))
			return log_health(log, error);
		struct sett_error cause = {0};
		cause.status = gather_locked(log, &g);
		if (cause.status != SETT_OK)
			return fail(log, "encryption", &cause, error);
		assert(g.count > 0);
		uint64_t end = g.offset + g.size;
		size_t padding = padding_of(g.segment, end);
		if (padding > 0)
			g.vector[g.count++] = (struct iovec){(void *)(uintptr_t)zero_page, padding};
		int status = vfs_write(g.segment->file, g.vector, g.count, g.offset, &cause);
		if (status != SETT_OK) {
			cause.status = status;
			return fail(log, "write", &cause, error);
		}
		if (padding > 0)
			g.segment->clean_end = end + padding;
		assert(g.last > log->written && end > g.segment->written_end);
		__atomic_store_n(&g.segment->written_end, end, __ATOMIC_RELEASE);
		__atomic_store_n(&log->written, g.last, __ATOMIC_RELEASE);
		__atomic_fetch_add(&log->bytes_written, g.size + padding, __ATOMIC_RELAXED);
		advance_locked(log, g.size);
	}
	return SETT_OK;
}

int
log_write(struct log *log, struct sett_error *error)
{
	uint64_t target = __atomic_load_n(&log->appended, __ATOMIC_ACQUIRE);
	if (log_written(log) >= target)
		return log_health(log, error);
	mutex_lock(&log->flush_lock);
	int status = flush_locked(log, target, error);
	mutex_unlock(&log->flush_lock);
	return status;
}

uint64_t
log_written(const struct log *log)
{
	return __atomic_load_n(&log->written, __ATOMIC_ACQUIRE);
}

uint64_t
log_durable(const struct log *log)
{
	return __atomic_load_n(&log->durable, __ATOMIC_ACQUIRE);
}

uint64_t
log_bytes_written(const struct log *log)
{
	return __atomic_load_n(&log->bytes_written, __ATOMIC_RELAXED);
}

/* ---- syncing (sync_lock) ---- */

/* The first segment past `number` with bytes that were written and not synced; NULL if none. */
static struct segment *
next_unsynced(struct log *log, uint64_t number)
{
	struct segment *found = NULL;
	mutex_lock(&log->list_lock);
	for (size_t i = 0; i < log->segment_count && found == NULL; i++) {
		struct segment *s = log->segments[i];
		if (s->number > number && __atomic_load_n(&s->written_end, __ATOMIC_ACQUIRE) > s->synced_end)
			found = s;
	}
	mutex_unlock(&log->list_lock);
	return found;
}

static int
sync_locked(struct log *log, struct sett_error *error) REQUIRES(&log->sync_lock)
{
	assert(mutex_is_mine(&log->sync_lock) && log->durable <= log_written(log));
	if (log_has_failed(log))
		return log_health(log, error);
	/* Taken first: what is covered below is at least this. */
	uint64_t target = log_written(log);
	struct sett_error cause = {0};
	int status = SETT_OK;
	if (log->options.sync_values != NULL)
		status = log->options.sync_values(log->options.sync_values_arg, &cause);
	if (status != SETT_OK) {
		cause.status = status;
		return fail(log, "sync of the values", &cause, error);
	}
	struct segment *s = NULL;
	while ((s = next_unsynced(log, s ? s->number : 0)) != NULL) {
		uint64_t end = __atomic_load_n(&s->written_end, __ATOMIC_ACQUIRE);
		status = vfs_sync(s->file, &cause);
		if (status != SETT_OK) {
			cause.status = status;
			return fail(log, "sync", &cause, error);
		}
		assert(end > s->synced_end);
		s->synced_end = end;
	}
	/* A write that failed meanwhile freezes the frontier where it is. */
	if (log_has_failed(log))
		return log_health(log, error);
	if (target > log->durable)
		__atomic_store_n(&log->durable, target, __ATOMIC_RELEASE);
	return SETT_OK;
}

int
log_sync(struct log *log, struct sett_error *error)
{
	int status = log_write(log, error);
	if (status != SETT_OK)
		return status;
	uint64_t target = log_written(log);
	if (log_durable(log) >= target)
		return log_health(log, error);
	mutex_lock(&log->sync_lock);
	/* Whoever held the lock before may have synced for this caller too. */
	if (log_durable(log) < target)
		status = sync_locked(log, error);
	mutex_unlock(&log->sync_lock);
	return status;
}

/* ---- opening and closing ---- */

static int
start(struct log *log, struct sett_error *error)
{
	int status = log_segments_adopt(log, error);
	/* Values of recovered commits may still be in the page cache alone (a killed process); they are
	 * called durable from here on. */
	if (status == SETT_OK && log->options.sync_values != NULL)
		status = log->options.sync_values(log->options.sync_values_arg, error);
	if (status == SETT_OK)
		status = log_segment_create(log, &log->current, error);
	if (status != SETT_OK)
		return status;
	log->current_number = log->current->number;
	log->head = log->tail = chunk_obtain(log, CHUNK_SIZE);
	if (log->head == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the log");
	assert(log->current->appended == LOG_SEGMENT_HEADER_SIZE);
	log->head->segment = log->current;
	log->head->offset = log->current->appended;
	return log_prepare(log, error);
}

int
log_create(const struct log_options *options, uint64_t last, struct log **ret, struct sett_error *error)
{
	size_t length = strlen(options->directory);
	if (length >= SETT_PATH_MAX || options->segment_size <= LOG_SEGMENT_HEADER_SIZE)
		return sett_error_set(error, SETT_INVALID, 0,
				      "log: the path is too long or the segment too small");
	struct log *log = calloc(1, sizeof(*log));
	if (log == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the log");
	log->options = *options;
	memcpy(log->directory, options->directory, length + 1);
	log->options.directory = log->directory;
	log->is_short = options->is_short;
	log->keeps_times = options->keeps_times;
	assert(log->options.clock != NULL || !log->keeps_times);
	log->seals = vfs_seals(options->vfs);
	log->appended = log->written = log->durable = last;
	mutex_init(&log->flush_lock);
	mutex_init(&log->sync_lock);
	mutex_init(&log->prepare_lock);
	mutex_init(&log->grow_lock);
	mutex_init(&log->list_lock);
	mutex_init(&log->failure_lock);
	int status = start(log, error);
	if (status != SETT_OK) {
		log_destroy(log);
		return status;
	}
	*ret = log;
	return SETT_OK;
}

void
log_destroy(struct log *log)
{
	if (log == NULL)
		return;
	for (struct chunk *chunk = log->head, *next; chunk != NULL; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	for (int i = 0; i < CHUNKS_KEPT; i++)
		free(log->kept[i]);
	for (size_t i = 0; i < log->segment_count; i++)
		log_segment_free(log->segments[i]);
	free(log->segments);
	log_segments_forget(log);
	mutex_destroy(&log->flush_lock);
	mutex_destroy(&log->sync_lock);
	mutex_destroy(&log->prepare_lock);
	mutex_destroy(&log->grow_lock);
	mutex_destroy(&log->list_lock);
	mutex_destroy(&log->failure_lock);
	free(log);
}
