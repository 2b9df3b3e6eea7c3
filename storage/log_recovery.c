/* Recovery of the write-ahead log (I11).
 *
 *     segment 7            segment 9               segment 12
 *     [h|r1|r2|r3|000000]  [h|r4|r5|xx|r7|000000]  [h|000000]
 *                                 ^cut
 *
 * First pass, the *survey*: reads every segment to its end, also behind damage, and learns two things: the
 * highest durable timestamp that any intact record header carries, and how far the chain of records reaches.
 * The chain is whole while each record names the one before it as its predecessor, so a lost segment breaks
 * it as a lost record does. Second pass, the *replay*: hands the chain's records to the caller, who may end
 * it earlier (a value is gone). Then the cut is made durable.
 *
 * Invariants:
 *   1. What is replayed is a prefix of the commits: it ends where the chain breaks, whatever stands behind.
 *   2. If the chain ends before the highest durable timestamp, something durable is lost: SETT_CORRUPT, and
 * no file is changed. This one comparison covers torn and flipped bytes, short files and missing segments.
 *      Commits at or below `after` count as read: tables have them.
 *   3. When log_recover returns, what was kept is durable and what was cut can't come back: segments are
 *      synced, the cut one is truncated and synced, later ones are removed (newest first), the directory is
 *      synced. A crash within leaves a log whose chain breaks at the same place, so recovery ends the same.
 *   4. A damaged segment header is harmless only in a segment without any other byte: it was being made. A
 *      header is synced before the first record (log.c), so before records it is corruption.
 *   5. The segment that the manifest names as the first was durable, header and all, before the edit that
 *      names it (log_segments.c), and is removed only after a later one: its absence is corruption, also when
 *      no intact record tells how far the log went.
 *
 * Every length read from a file is checked against the file's size before it is used. */
#include "log.h"

#include <stdlib.h>

#include "log_format.h"

enum {
	WINDOW_SIZE = 1024 * 1024, /* bytes read at once */
	SCAN_STEP = 64 * 1024,     /* bytes searched at once for a record behind damage */
};

struct segment {
	uint64_t number, seed, size;
	uint64_t records;  /* of the chain */
	uint64_t end;      /* of the last of them */
	uint64_t data_end; /* last byte that is not zero, rounded up to a record's end */
	bool unused;       /* no valid header, nothing else either */
};

struct recovery {
	struct vfs *vfs;
	const char *directory;
	const struct log_recovery *options;
	struct sett_error *error;

	struct segment *segments; /* by number */
	size_t count, capacity;
	uint64_t *leftovers; /* numbers below first_segment */
	size_t leftover_count, leftover_capacity;

	uint64_t newest;  /* highest number seen */
	uint64_t durable; /* highest durable timestamp known */
	uint64_t last;    /* end of the chain; 0 before its first record */
	uint64_t last_now_ms;
	bool is_cut;         /* the chain ends at: */
	size_t cut_index;    /* this segment */
	uint64_t cut_offset; /* here */
	uint64_t total, done;
};

/* Commits up to here are known: replayed, or in tables. */
static uint64_t
known_end(const struct recovery *r)
{
	return r->last > r->options->after ? r->last : r->options->after;
}

/* ---- reading one segment ---- */

struct reader {
	struct recovery *recovery;
	struct segment *segment;
	struct vfs_file *file;
	struct buffer window;
	uint64_t base; /* offset of the window's first byte */
};

static int
reader_open(struct reader *reader, struct recovery *r, struct segment *segment)
{
	char path[SETT_PATH_MAX];
	*reader = (struct reader){.recovery = r, .segment = segment};
	int status = file_name_make(r->directory, segment->number, LOG_SUFFIX, path);
	if (status == SETT_OK)
		status = vfs_open(r->vfs, path, VFS_READ | VFS_SEQUENTIAL, &reader->file, r->error);
	return status;
}

static void
reader_close(struct reader *reader)
{
	buffer_free(&reader->window);
	vfs_close(reader->file, NULL);
}

/* Makes `size` bytes at `offset` readable until the next call; they lie within the file. */
static int
reader_fetch(struct reader *reader, uint64_t offset, size_t size, const uint8_t **ret)
{
	struct buffer *window = &reader->window;
	if (offset < reader->base || offset + size > reader->base + window->size) {
		uint64_t left = reader->segment->size - offset;
		size_t wanted = size > WINDOW_SIZE ? size : WINDOW_SIZE;
		if (wanted > left)
			wanted = left;
		buffer_clear(window);
		if (buffer_reserve(window, wanted) != SETT_OK)
			return sett_error_set(reader->recovery->error, SETT_NO_MEMORY, 0,
					      "out of memory for a log record");
		int status = vfs_read_exact(reader->file, window->data, wanted, offset, 0,
					    reader->recovery->error);
		if (status != SETT_OK)
			return status;
		window->size = wanted;
		reader->base = offset;
	}
	*ret = window->data + (offset - reader->base);
	return SETT_OK;
}

static bool
is_zero(const uint8_t *p, size_t size)
{
	return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

enum found {
	FOUND_RECORD,  /* intact */
	FOUND_DAMAGED, /* its header is intact, its payload is not */
	FOUND_ZEROS,   /* where a header would be: the end of what was written, or of the file */
	FOUND_NOISE,
};

/* What stands at `offset` (a multiple of 8). For a header that is intact, `ret` and `ret_next` are set. */
static int
reader_look(struct reader *reader, uint64_t offset, enum found *ret_found, struct log_record *ret,
	    uint64_t *ret_next)
{
	const uint8_t *p;
	uint64_t left = reader->segment->size - offset;
	uint64_t seed = reader->segment->seed + offset;
	size_t probe = left < LOG_RECORD_HEADER_SIZE ? left : LOG_RECORD_HEADER_SIZE;
	int status = reader_fetch(reader, offset, probe, &p);
	if (status != SETT_OK)
		return status;
	*ret_found = is_zero(p, probe) ? FOUND_ZEROS : FOUND_NOISE;
	size_t header_size = probe < LOG_RECORD_HEADER_SIZE ? 0 : log_record_header_claim(p);
	if (header_size == 0 || header_size > left)
		return SETT_OK;
	status = reader_fetch(reader, offset, header_size, &p);
	struct log_record_header h;
	if (status != SETT_OK || !log_record_header_decode(p, header_size, seed, &h))
		return status;

	uint64_t span = log_record_span(header_size, h.payload_size);
	*ret_found = FOUND_DAMAGED;
	*ret = (struct log_record){
		.timestamp = h.timestamp,
		.durable = h.durable,
		.now_ms = h.now_ms,
		.segment = reader->segment->number,
		.offset = offset,
	};
	*ret_next = offset + (span < left ? span : left);
	if (span > left)
		return SETT_OK;
	status = reader_fetch(reader, offset, span, &p);
	if (status != SETT_OK)
		return status;
	size_t used = header_size + h.payload_size;
	ret->payload = bytes_of(p + header_size, h.payload_size);
	if (hash64_bytes(ret->payload, seed) == h.payload_checksum && is_zero(p + used, span - used))
		*ret_found = FOUND_RECORD;
	return SETT_OK;
}

/* The predecessor's timestamp of a record that reader_look has just found. */
static int
reader_previous(struct reader *reader, uint64_t offset, uint64_t *ret)
{
	const uint8_t *p;
	int status = reader_fetch(reader, offset, LOG_RECORD_HEADER_SIZE, &p);
	if (status == SETT_OK)
		*ret = get_le64(p + 32);
	return status;
}

/* Looks from `offset` on for the next record whose header is intact; the file's size if there is none. */
static int
reader_search(struct reader *reader, uint64_t offset, uint64_t *ret)
{
	struct segment *segment = reader->segment;
	while (offset < segment->size) {
		const uint8_t *p;
		uint64_t left = segment->size - offset;
		size_t step = left < SCAN_STEP ? left : SCAN_STEP;
		int status = reader_fetch(reader, offset, step, &p);
		if (status != SETT_OK)
			return status;
		if (is_zero(p, step)) {
			offset += step;
			continue;
		}
		uint64_t end = offset + step;
		for (; offset < end; offset += LOG_ALIGNMENT) {
			enum found found;
			struct log_record record;
			uint64_t next;
			status = reader_look(reader, offset, &found, &record, &next);
			if (status != SETT_OK)
				return status;
			if (found == FOUND_NOISE && offset + LOG_ALIGNMENT > segment->data_end)
				segment->data_end = offset + LOG_ALIGNMENT;
			if (found == FOUND_RECORD || found == FOUND_DAMAGED) {
				*ret = offset;
				return SETT_OK;
			}
		}
	}
	*ret = segment->size;
	return SETT_OK;
}

/* ---- the first pass ---- */

static int
corrupt(struct recovery *r, const struct segment *segment, uint64_t offset, const char *what)
{
	return sett_error_set(r->error, SETT_CORRUPT, 0,
			      "%s/%06" PRIu64 LOG_SUFFIX " at offset %" PRIu64
			      ": %s (durable up to commit %" PRIu64 ", readable up to %" PRIu64 ")",
			      r->directory, segment->number, offset, what, r->durable, known_end(r));
}

static void
cut(struct recovery *r, size_t index, uint64_t offset)
{
	if (r->is_cut)
		return;
	r->is_cut = true;
	r->cut_index = index;
	r->cut_offset = offset;
}

/* Whether the record continues the chain. A gap is none where tables hold all that could be in it. */
static bool
continues(const struct recovery *r, uint64_t previous, uint64_t timestamp)
{
	uint64_t after = r->options->after;
	bool linked = previous == r->last || (previous <= after && r->last <= after);
	return linked && timestamp > previous && timestamp > r->last;
}

static int
survey_record(struct reader *reader, size_t index, enum found found, const struct log_record *record,
	      uint64_t next)
{
	struct recovery *r = reader->recovery;
	struct segment *segment = reader->segment;
	segment->data_end = next;
	if (record->durable > r->durable)
		r->durable = record->durable;
	if (r->is_cut)
		return SETT_OK;
	uint64_t previous;
	int status = reader_previous(reader, record->offset, &previous);
	if (status != SETT_OK)
		return status;
	if (found == FOUND_RECORD && continues(r, previous, record->timestamp)) {
		r->last = record->timestamp;
		segment->records++;
		segment->end = next;
	} else {
		cut(r, index, record->offset);
	}
	return SETT_OK;
}

static int
survey_records(struct reader *reader, size_t index)
{
	struct segment *segment = reader->segment;
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	segment->end = segment->data_end = offset;
	while (offset < segment->size) {
		enum found found;
		struct log_record record;
		uint64_t next;
		int status = reader_look(reader, offset, &found, &record, &next);
		if (status != SETT_OK)
			return status;
		if (found == FOUND_RECORD || found == FOUND_DAMAGED) {
			status = survey_record(reader, index, found, &record, next);
		} else {
			if (found == FOUND_NOISE)
				cut(reader->recovery, index, offset);
			status = reader_search(reader, offset, &next);
			/* Behind zeros nothing may follow. */
			if (status == SETT_OK && segment->data_end > offset)
				cut(reader->recovery, index, offset);
			if (status == SETT_OK && next < segment->size)
				cut(reader->recovery, index, offset);
		}
		if (status != SETT_OK)
			return status;
		offset = next;
	}
	return SETT_OK;
}

/* Reads the segment's header; one that cannot be read makes it `unused`, or is corruption (invariant 4). */
static int
survey_header(struct reader *reader)
{
	struct recovery *r = reader->recovery;
	struct segment *segment = reader->segment;
	const uint8_t *p;
	uint32_t version;
	uint64_t number, salt;
	if (segment->size < LOG_SEGMENT_HEADER_SIZE) {
		segment->unused = true;
		return SETT_OK;
	}
	int status = reader_fetch(reader, 0, LOG_SEGMENT_HEADER_SIZE, &p);
	if (status != SETT_OK)
		return status;
	if (log_segment_header_decode(p, &version, &number, &salt)) {
		if (version != LOG_VERSION)
			return corrupt(r, segment, 0, "made by another version");
		if (number != segment->number)
			return corrupt(r, segment, 0, "the segment has another file's name");
		segment->seed = log_segment_seed(number, salt);
		return SETT_OK;
	}
	segment->unused = true;
	for (uint64_t at = LOG_SEGMENT_HEADER_SIZE; at < segment->size; at += SCAN_STEP) {
		size_t step = segment->size - at < SCAN_STEP ? segment->size - at : SCAN_STEP;
		status = reader_fetch(reader, at, step, &p);
		if (status != SETT_OK)
			return status;
		if (!is_zero(p, step))
			return corrupt(r, segment, 0, "the segment's header is damaged");
	}
	return SETT_OK;
}

static int
survey_segment(struct recovery *r, size_t index)
{
	struct reader reader;
	struct segment *segment = &r->segments[index];
	int status = reader_open(&reader, r, segment);
	if (status != SETT_OK)
		return status;
	status = vfs_size(reader.file, &segment->size, r->error);
	if (status == SETT_OK)
		status = survey_header(&reader);
	if (status == SETT_OK && !segment->unused)
		status = survey_records(&reader, index);
	reader_close(&reader);
	return status;
}

static int
survey(struct recovery *r)
{
	for (size_t i = 0; i < r->count; i++) {
		int status = survey_segment(r, i);
		if (status != SETT_OK)
			return status;
		r->total += r->segments[i].end;
	}
	uint64_t first = r->options->first_segment;
	if (first != 0 && (r->count == 0 || r->segments[0].number != first || r->segments[0].unused))
		return sett_error_set(r->error, SETT_CORRUPT, 0,
				      "%s/%06" PRIu64 LOG_SUFFIX
				      " at offset 0: the log begins with this segment, "
				      "which is missing or empty",
				      r->directory, first);
	if (known_end(r) >= r->durable)
		return SETT_OK;
	if (r->is_cut)
		return corrupt(r, &r->segments[r->cut_index], r->cut_offset,
			       "a durable commit is damaged or missing here");
	if (r->count > 0)
		return corrupt(r, &r->segments[r->count - 1], r->segments[r->count - 1].end,
			       "the log ends before its durable end");
	return sett_error_set(r->error, SETT_CORRUPT, 0,
			      "%s: the log is missing (durable up to commit %" PRIu64 ")", r->directory,
			      r->durable);
}

/* ---- the second pass ---- */

static int
replay_record(struct recovery *r, size_t index, struct log_record *record)
{
	int status = SETT_OK;
	record->is_durable = record->timestamp <= r->durable;
	if (record->timestamp > r->options->after)
		status = r->options->replay(r->options->arg, record);
	if (status == SETT_NOT_FOUND) {
		if (record->is_durable)
			return corrupt(r, &r->segments[index], record->offset,
				       "a durable commit points at a value that is missing or damaged");
		/* Earlier than the survey's cut, if there was one. */
		r->is_cut = false;
		cut(r, index, record->offset);
		return SETT_NOT_FOUND;
	}
	if (status == SETT_OK) {
		r->last = record->timestamp;
		r->last_now_ms = record->now_ms;
	}
	return status;
}

/* SETT_NOT_FOUND once the caller has ended the replay. */
static int
replay_segment(struct recovery *r, size_t index)
{
	struct segment *segment = &r->segments[index];
	uint64_t records = segment->records;
	uint64_t reported = r->done;
	struct reader reader;
	int status = reader_open(&reader, r, segment);
	if (status != SETT_OK)
		return status;
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	for (segment->records = 0; status == SETT_OK && segment->records < records;) {
		enum found found;
		struct log_record record;
		uint64_t next;
		status = reader_look(&reader, offset, &found, &record, &next);
		if (status == SETT_OK && found != FOUND_RECORD)
			status = corrupt(r, segment, offset, "the log changed while it was read");
		if (status == SETT_OK)
			status = replay_record(r, index, &record);
		if (status != SETT_OK)
			break;
		offset = segment->end = next;
		segment->records++;
		if (r->options->progress != NULL && r->done + offset - reported >= WINDOW_SIZE) {
			reported = r->done + offset;
			r->options->progress(r->options->arg, reported, r->total);
		}
	}
	reader_close(&reader);
	r->done += offset;
	return status;
}

static int
replay(struct recovery *r)
{
	size_t end = r->is_cut ? r->cut_index + 1 : r->count;
	r->last = 0;
	for (size_t i = 0; i < end; i++) {
		int status = r->segments[i].records > 0 ? replay_segment(r, i) : SETT_OK;
		if (status == SETT_NOT_FOUND)
			break;
		if (status != SETT_OK)
			return status;
	}
	if (r->options->progress != NULL)
		r->options->progress(r->options->arg, r->total, r->total);
	return SETT_OK;
}

/* ---- making it durable ---- */

static int
remove_segment(struct recovery *r, uint64_t number)
{
	char path[SETT_PATH_MAX];
	int status = file_name_make(r->directory, number, LOG_SUFFIX, path);
	return status == SETT_OK ? vfs_remove(r->vfs, path, r->error) : status;
}

/* Truncates at the cut if it lies in this segment; syncs what is kept. */
static int
settle_segment(struct recovery *r, size_t index)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	int status = file_name_make(r->directory, r->segments[index].number, LOG_SUFFIX, path);
	if (status == SETT_OK)
		status = vfs_open(r->vfs, path, VFS_READ | VFS_WRITE, &file, r->error);
	if (status != SETT_OK)
		return status;
	if (r->is_cut && index == r->cut_index)
		status = vfs_truncate(file, r->cut_offset, r->error);
	if (status == SETT_OK)
		status = vfs_sync(file, r->error);
	vfs_close(file, NULL);
	return status;
}

static int
settle(struct recovery *r, uint64_t *ret_cut_bytes)
{
	uint64_t cut_bytes = 0;
	size_t kept_end = r->is_cut ? r->cut_index + 1 : r->count;
	for (size_t i = 0; i < kept_end; i++) {
		int status = r->segments[i].records > 0 || (r->is_cut && i == r->cut_index)
			? settle_segment(r, i)
			: SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	/* Newest first: a crash in between leaves no segment behind a missing one. */
	for (size_t i = r->count; i-- > 0;) {
		struct segment *segment = &r->segments[i];
		uint64_t from = i < kept_end ? r->cut_offset : LOG_SEGMENT_HEADER_SIZE;
		if (r->is_cut && i >= r->cut_index && segment->data_end > from)
			cut_bytes += segment->data_end - from;
		/* The one that the manifest names stays, even if nothing is in it (invariant 5). */
		bool is_empty = segment->records == 0 && segment->number != r->options->first_segment;
		int status = i >= kept_end || is_empty ? remove_segment(r, segment->number) : SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	for (size_t i = 0; i < r->leftover_count; i++) {
		int status = remove_segment(r, r->leftovers[i]);
		if (status != SETT_OK)
			return status;
	}
	*ret_cut_bytes = cut_bytes;
	return vfs_sync_directory(r->vfs, r->directory, r->error);
}

/* ---- the whole ---- */

static int
grow(void **array, size_t count, size_t *capacity, size_t element)
{
	if (count < *capacity)
		return SETT_OK;
	size_t more = *capacity ? 2 * *capacity : 8;
	void *grown = realloc(*array, more * element);
	if (grown == NULL)
		return SETT_NO_MEMORY;
	*array = grown;
	*capacity = more;
	return SETT_OK;
}

static int
note_file(void *arg, const char *name)
{
	struct recovery *r = arg;
	uint64_t number;
	if (!file_name_parse(name, LOG_SUFFIX, &number))
		return SETT_OK;
	if (number > r->newest)
		r->newest = number;
	if (number < r->options->first_segment) {
		int status = grow((void **)&r->leftovers, r->leftover_count, &r->leftover_capacity,
				  sizeof(*r->leftovers));
		if (status == SETT_OK)
			r->leftovers[r->leftover_count++] = number;
		return status;
	}
	int status = grow((void **)&r->segments, r->count, &r->capacity, sizeof(*r->segments));
	if (status != SETT_OK)
		return status;
	size_t at = r->count++;
	for (; at > 0 && r->segments[at - 1].number > number; at--)
		r->segments[at] = r->segments[at - 1];
	r->segments[at] = (struct segment){.number = number};
	return SETT_OK;
}

int
log_recover(struct vfs *vfs, const char *directory, const struct log_recovery *options,
	    struct log_recovered *ret, struct sett_error *error)
{
	struct recovery r = {
		.vfs = vfs,
		.directory = directory,
		.options = options,
		.error = error,
		.durable = options->durable,
	};
	uint64_t cut_bytes = 0;
	int status = vfs_list(vfs, directory, note_file, &r, error);
	if (status == SETT_NOT_FOUND)
		status = sett_error_set(error, SETT_NOT_FOUND, 0, "%s: no such directory", directory);
	if (status == SETT_OK)
		status = survey(&r);
	if (status == SETT_OK)
		status = replay(&r);
	if (status == SETT_OK)
		status = settle(&r, &cut_bytes);
	if (status == SETT_OK)
		*ret = (struct log_recovered){
			.last = known_end(&r),
			.durable = r.durable,
			.cut_bytes = cut_bytes,
			.newest_segment = r.newest,
			.last_now_ms = r.last_now_ms,
		};
	free(r.segments);
	free(r.leftovers);
	return status;
}
