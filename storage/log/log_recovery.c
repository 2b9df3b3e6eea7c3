/* Recovery of the write-ahead log (I11).
 *
 *     segment 7            segment 9               segment 12
 *     [h|r1|r2|r3|000000]  [h|r4|r5|xx|r7|000000]  [h|000000]
 *                                 ^cut
 *
 * First pass, the *survey*: reads every segment to its end, also behind damage, and learns two things: the
 * highest durable timestamp that any intact record header carries (the *attested* one), and how far the chain
 * of records reaches. The caller may know a higher durable timestamp: the manifest keeps one, since the newest
 * records are attested by none, and those of a log that was cut short are gone.
 * The chain is whole while each record names the one before it as its predecessor, so a lost segment breaks
 * it as a lost record does. Second pass, the *replay*: hands the chain's records to the caller, who may end
 * it earlier (a value is gone). Then the cut is made durable.
 *
 * Invariants:
 *   1. What is replayed is a prefix of the commits: it ends where the chain breaks, whatever stands behind.
 *   2. If the chain ends before the highest durable timestamp, something durable is lost: SETT_CORRUPT, and
 *      no file is changed. This one comparison covers torn and flipped bytes, short files and missing
 *      segments. Commits at or below `after` count as read: tables have them. Where nothing may be cut, any
 *      end of the chain that is not the end of the log is corruption too.
 *   3. When log_recover returns, what was kept is durable and what was cut can't come back: segments are
 *      synced, the cut one is truncated and synced, later ones are removed (newest first), the directory is
 *      synced. A crash within leaves a log whose chain breaks at the same place, so recovery ends the same.
 *      Before the first removal the caller makes the manifest durable, which it may have read from the page
 *      cache alone: what an edit frees is removed once the edit is durable (I10).
 *   4. A damaged segment header is harmless only in a segment without any other byte: it was being made. A
 *      header is synced before the first record (log.c), so before records it is corruption.
 *   5. The segment that the manifest names as the first was durable, header and all, before the edit that
 *      names it (log_segments.c), and is removed only after a later one: its absence is corruption, also when
 *      no intact record tells how far the log went. */
#include "log.h"

#include <stdlib.h>

#include "log_format.h"
#include "log_reader.h"

enum { PROGRESS_STEP = 1024 * 1024 }; /* bytes between two reports */

struct segment {
	uint64_t number, size, seed;
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

	uint64_t newest;   /* highest number seen */
	uint64_t attested; /* highest durable timestamp that records or tables tell of */
	uint64_t durable;  /* highest durable timestamp known: this or the caller's */
	uint64_t whole;    /* intact records that tables do not have */
	uint64_t replayed; /* of them */
	uint64_t last;     /* end of the chain; 0 before its first record */
	uint64_t newest_now_ms;
	bool is_cut;         /* the chain ends at: */
	size_t cut_index;    /* this segment */
	uint64_t cut_offset; /* here */
	char cut_reason[200];
	uint64_t total, done;
};

/* Commits up to here are known: replayed, or in tables. */
static uint64_t
known_end(const struct recovery *r)
{
	return r->last > r->options->after ? r->last : r->options->after;
}

/* ---- reading one segment ---- */

static int
open_segment(struct recovery *r, const struct segment *segment, struct log_reader *ret)
{
	char path[SETT_PATH_MAX];
	int status = file_name_make(r->directory, segment->number, LOG_SUFFIX, path);
	if (status == SETT_OK)
		status = log_reader_open(ret, r->vfs, path, segment->number, r->error);
	return status;
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
end_chain(struct recovery *r, size_t index, uint64_t offset, const char *what)
{
	r->is_cut = true;
	r->cut_index = index;
	r->cut_offset = offset;
	snprintf(r->cut_reason, sizeof(r->cut_reason), "%s", what);
}

/* The chain is broken here: it ends, if it has not ended before. */
static void
cut(struct recovery *r, size_t index, uint64_t offset, const char *what)
{
	if (r->options->damage != NULL)
		r->options->damage(r->options->arg, r->segments[index].number, offset, what);
	if (!r->is_cut)
		end_chain(r, index, offset, what);
}

/* Whether the record continues the chain. A gap is none where tables hold all that could be in it. */
static bool
continues(const struct recovery *r, uint64_t previous, uint64_t timestamp)
{
	uint64_t after = r->options->after;
	bool linked = previous == r->last || (previous <= after && r->last <= after);
	return linked && timestamp > previous && timestamp > r->last;
}

static void
survey_record(struct recovery *r, size_t index, enum log_found found, const struct log_record *record,
	      uint64_t next)
{
	struct segment *segment = &r->segments[index];
	segment->data_end = next;
	if (record->durable > r->attested)
		r->attested = record->durable;
	r->whole += found == LOG_FOUND_RECORD && record->timestamp > r->options->after;
	if (found == LOG_FOUND_DAMAGED) {
		cut(r, index, record->offset, "a record's payload is damaged");
	} else if (!r->is_cut && !continues(r, record->previous, record->timestamp)) {
		cut(r, index, record->offset, "records before this one are missing");
	} else if (!r->is_cut) {
		r->last = record->timestamp;
		segment->records++;
		segment->end = next;
	}
}

/* What stands at `offset` is no record: where the next one begins. */
static int
survey_gap(struct recovery *r, struct log_reader *reader, size_t index, uint64_t offset, enum log_found found,
	   uint64_t *ret_next)
{
	struct segment *segment = &r->segments[index];
	uint64_t noise_end;
	int status = log_reader_search(reader, offset, ret_next, &noise_end);
	if (status != SETT_OK)
		return status;
	if (found == LOG_FOUND_NOISE && noise_end > segment->data_end)
		segment->data_end = noise_end;
	/* Behind zeros there is no record, though there may be what the file held before. */
	if (found == LOG_FOUND_NOISE || *ret_next < segment->size)
		cut(r, index, offset, "no record where one must begin");
	return SETT_OK;
}

static int
survey_records(struct recovery *r, struct log_reader *reader, size_t index)
{
	struct segment *segment = &r->segments[index];
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	segment->end = segment->data_end = offset;
	while (offset < segment->size) {
		enum log_found found;
		struct log_record record;
		uint64_t next;
		int status = log_reader_look(reader, offset, &found, &record, &next);
		if (status != SETT_OK)
			return status;
		if (found == LOG_FOUND_RECORD || found == LOG_FOUND_DAMAGED)
			survey_record(r, index, found, &record, next);
		else
			status = survey_gap(r, reader, index, offset, found, &next);
		if (status != SETT_OK)
			return status;
		offset = next;
	}
	return SETT_OK;
}

/* Reads the segment's header; one that cannot be read makes it `unused`, or is corruption (invariant 4). */
static int
survey_header(struct recovery *r, struct log_reader *reader, struct segment *segment)
{
	enum log_header header;
	int status = log_reader_header(reader, &header);
	if (status != SETT_OK)
		return status;
	switch (header) {
	case LOG_HEADER_INTACT:
		segment->seed = reader->seed;
		return SETT_OK;
	case LOG_HEADER_BLANK:
		segment->unused = true;
		return SETT_OK;
	case LOG_HEADER_DAMAGED:
		return corrupt(r, segment, 0, "the segment's header is damaged");
	case LOG_HEADER_OTHER_VERSION:
		return corrupt(r, segment, 0, "a log of another version than this program reads");
	case LOG_HEADER_OTHER_NUMBER:
		return corrupt(r, segment, 0, "the segment has another file's name");
	}
	return SETT_CORRUPT;
}

static int
survey_segment(struct recovery *r, size_t index)
{
	struct log_reader reader;
	struct segment *segment = &r->segments[index];
	int status = open_segment(r, segment, &reader);
	if (status != SETT_OK)
		return status;
	segment->size = reader.bytes.size;
	status = survey_header(r, &reader, segment);
	if (status == SETT_OK && !segment->unused)
		status = survey_records(r, &reader, index);
	log_reader_close(&reader);
	return status;
}

static int
may_not_cut(struct recovery *r, const char *why_not)
{
	char what[sizeof(r->cut_reason) + 64];
	snprintf(what, sizeof(what), "%s, and %s", r->cut_reason, why_not);
	return corrupt(r, &r->segments[r->cut_index], r->cut_offset, what);
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
	if (r->attested > r->durable)
		r->durable = r->attested;
	if (known_end(r) >= r->durable && r->is_cut && r->options->must_be_whole)
		return may_not_cut(r, "nothing may be cut off");
	if (known_end(r) >= r->durable)
		return SETT_OK;
	if (r->is_cut)
		return may_not_cut(r, "commits there are durable");
	/* Segments that were made ahead of their use are not where the end is. */
	size_t last = r->count;
	while (last > 1 && r->segments[last - 1].records == 0)
		last--;
	if (last > 0)
		return corrupt(r, &r->segments[last - 1], r->segments[last - 1].end,
			       "the log ends here, before its durable end");
	return sett_error_set(r->error, SETT_CORRUPT, 0,
			      "%s: the log is missing (durable up to commit %" PRIu64 ")", r->directory,
			      r->durable);
}

/* ---- the second pass ---- */

/* A value that the record points at is missing or damaged: the caller has put into words which one. */
static int
value_is_gone(struct recovery *r, size_t index, const struct log_record *record)
{
	char what[sizeof(r->cut_reason)];
	snprintf(what, sizeof(what), "a commit points at a value that is missing or damaged%s%.140s",
		 r->error->message[0] ? ": " : "", r->error->message);
	if (record->is_durable || r->options->must_be_whole)
		return corrupt(r, &r->segments[index], record->offset, what);
	end_chain(r, index, record->offset, what); /* earlier than the survey's cut, if there was one */
	return SETT_NOT_FOUND;
}

static int
replay_record(struct recovery *r, size_t index, struct log_record *record)
{
	int status = SETT_OK;
	record->is_durable = record->timestamp <= r->durable;
	record->is_attested = record->timestamp <= r->attested;
	if (record->timestamp > r->options->after) {
		status = r->options->replay(r->options->arg, record);
		r->replayed += status == SETT_OK;
	}
	if (status == SETT_NOT_FOUND)
		return value_is_gone(r, index, record);
	if (status == SETT_OK) {
		r->last = record->timestamp;
		if (record->now_ms > r->newest_now_ms)
			r->newest_now_ms = record->now_ms;
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
	struct log_reader reader;
	int status = open_segment(r, segment, &reader);
	if (status != SETT_OK)
		return status;
	reader.seed = segment->seed;
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	for (segment->records = 0; status == SETT_OK && segment->records < records;) {
		enum log_found found;
		struct log_record record;
		uint64_t next;
		status = log_reader_look(&reader, offset, &found, &record, &next);
		if (status == SETT_OK && found != LOG_FOUND_RECORD)
			status = corrupt(r, segment, offset, "the log changed while it was read");
		if (status == SETT_OK)
			status = replay_record(r, index, &record);
		if (status != SETT_OK)
			break;
		offset = segment->end = next;
		segment->records++;
		if (r->options->progress != NULL && r->done + offset - reported >= PROGRESS_STEP) {
			reported = r->done + offset;
			r->options->progress(r->options->arg, reported, r->total);
		}
	}
	log_reader_close(&reader);
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

/* Bytes in use behind the cut. */
static uint64_t
bytes_to_cut(const struct recovery *r)
{
	uint64_t bytes = 0;
	for (size_t i = r->cut_index; r->is_cut && i < r->count; i++) {
		uint64_t from = i == r->cut_index ? r->cut_offset : LOG_SEGMENT_HEADER_SIZE;
		if (r->segments[i].data_end > from)
			bytes += r->segments[i].data_end - from;
	}
	return bytes;
}

static void
report(const struct recovery *r, struct log_recovered *ret)
{
	*ret = (struct log_recovered){
		.last = known_end(r),
		.durable = r->durable,
		.cut_segment = r->is_cut ? r->segments[r->cut_index].number : 0,
		.cut_offset = r->cut_offset,
		.cut_bytes = bytes_to_cut(r),
		.cut_commits = r->is_cut ? r->whole - r->replayed : 0,
		.newest_segment = r->newest,
		.newest_now_ms = r->newest_now_ms,
	};
	if (r->is_cut)
		memcpy(ret->cut_reason, r->cut_reason, sizeof(ret->cut_reason));
}

static int
settle(struct recovery *r)
{
	struct log_recovered recovered;
	size_t kept_end = r->is_cut ? r->cut_index + 1 : r->count;
	for (size_t i = 0; i < kept_end; i++) {
		int status = r->segments[i].records > 0 || (r->is_cut && i == r->cut_index)
			? settle_segment(r, i)
			: SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	report(r, &recovered);
	int status = r->options->kept != NULL ? r->options->kept(r->options->arg, &recovered) : SETT_OK;
	if (status != SETT_OK)
		return status;
	/* Newest first: a crash in between leaves no segment behind a missing one. */
	for (size_t i = r->count; i-- > 0;) {
		struct segment *segment = &r->segments[i];
		/* The one that the manifest names stays, even if nothing is in it (invariant 5). */
		bool is_empty = segment->records == 0 && segment->number != r->options->first_segment;
		status = i >= kept_end || is_empty ? remove_segment(r, segment->number) : SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	for (size_t i = 0; i < r->leftover_count; i++) {
		status = remove_segment(r, r->leftovers[i]);
		if (status != SETT_OK)
			return status;
	}
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

static void
describe_segments(struct recovery *r)
{
	for (size_t i = 0; r->options->segment != NULL && i < r->leftover_count; i++)
		r->options->segment(
			r->options->arg,
			&(struct log_segment_info){.number = r->leftovers[i], .is_leftover = true});
	for (size_t i = 0; r->options->segment != NULL && i < r->count; i++) {
		const struct segment *s = &r->segments[i];
		struct log_segment_info info = {.number = s->number,
						.size = s->size,
						.used = s->data_end,
						.records = s->records,
						.is_unused = s->unused};
		r->options->segment(r->options->arg, &info);
	}
}

static int
run(struct vfs *vfs, const char *directory, const struct log_recovery *options, bool look_only,
    struct log_recovered *ret, struct sett_error *error)
{
	struct sett_error ignored = {0};
	struct recovery r = {
		.vfs = vfs,
		.directory = directory,
		.options = options,
		.error = error ? error : &ignored,
		.attested = options->after,
		.durable = options->durable,
	};
	r.error->message[0] = '\0';
	int status = vfs_list(vfs, directory, note_file, &r, r.error);
	if (status == SETT_NOT_FOUND)
		status = sett_error_set(r.error, SETT_NOT_FOUND, 0, "%s: no such directory", directory);
	if (status == SETT_OK)
		status = survey(&r);
	if (status == SETT_OK)
		status = replay(&r);
	if (status == SETT_OK && !look_only)
		status = settle(&r);
	if (status == SETT_OK)
		report(&r, ret);
	if (status == SETT_NO_MEMORY)
		(void)sett_error_set(r.error, status, 0, "%s: out of memory for the recovery of the log",
				     directory);
	describe_segments(&r);
	free(r.segments);
	free(r.leftovers);
	return status;
}

int
log_recover(struct vfs *vfs, const char *directory, const struct log_recovery *options,
	    struct log_recovered *ret, struct sett_error *error)
{
	return run(vfs, directory, options, false, ret, error);
}

int
log_examine(struct vfs *vfs, const char *directory, const struct log_recovery *options,
	    struct log_recovered *ret, struct sett_error *error)
{
	return run(vfs, directory, options, true, ret, error);
}
