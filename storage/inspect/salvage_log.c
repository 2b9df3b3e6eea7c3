/* The log, for a salvage: every record whose checksum is right, wherever it stands.
 *
 * Recovery ends at the first record that is missing; here the records behind it count too, and a line says which
 * commits may be missing before. The entries are sorted in memory: a log has no more than a few memtables. */
#include <stdlib.h>

#include "batch.h"
#include "log_format.h"
#include "log_reader.h"
#include "salvage_private.h"

static const struct bytes any = {0};

struct segment_walk {
	struct sett_salvage *salvage;
	char name[SALVAGE_NAME_MAX];
	uint64_t timestamp; /* of the present record */
};

static int
take_entry(void *arg, struct bytes key, struct bytes value)
{
	struct segment_walk *w = arg;
	struct sett_salvage *s = w->salvage;
	struct entry e;
	if (entry_decode(value, &e) != SETT_OK)
		return SETT_CORRUPT;
	const uint8_t *k = arena_copy(&s->arena, key.data, key.size);
	const uint8_t *v = arena_copy(&s->arena, value.data, value.size);
	if (k == NULL || v == NULL ||
	    !array_grow((void **)&s->log, s->log_count, &s->log_capacity, sizeof(*s->log)))
		return SETT_NO_MEMORY;
	s->log[s->log_count++] =
		(struct log_item){bytes_of(k, key.size), bytes_of(v, value.size), w->timestamp};
	return SETT_OK;
}

/* Counters are made anew by who knows what they count. */
static int
take_counter(void *arg, const struct batch_counter *counter)
{
	(void)arg;
	(void)counter;
	return SETT_OK;
}

/* An id that is pending at the end has nothing that leads to it; who knows where such would be leaves it out. */
static int
take_prefix(void *arg, const struct prefix_change *change)
{
	struct segment_walk *w = arg;
	return prefix_change_drops(change) ? drop_list_add(&w->salvage->drops, change) : SETT_OK;
}

static int
take_record(struct segment_walk *w, const struct log_record *record)
{
	struct sett_salvage *s = w->salvage;
	struct batch_visitor visitor = {take_entry, take_counter, take_prefix, w, NULL};
	uint64_t known = s->last_commit > s->manifest.flushed ? s->last_commit : s->manifest.flushed;
	bool is_first = s->last_commit == 0 && !s->figures.has_manifest;
	if (record->previous > known && !is_first)
		salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
			     " at offset %" PRIu64 ": commits %" PRIu64 " to %" PRIu64
			     " are missing before commit %" PRIu64,
			     record->offset, known + 1, record->previous, record->timestamp);
	w->timestamp = record->timestamp;
	int r = batch_visit(record->payload, &visitor);
	if (r == SETT_NO_MEMORY)
		return salvage_no_memory(s);
	if (r != SETT_OK)
		salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
			     " at offset %" PRIu64 ": the batch of commit %" PRIu64 " is malformed",
			     record->offset, record->timestamp);
	s->figures.commits++;
	if (record->timestamp > s->last_commit)
		s->last_commit = record->timestamp;
	return SETT_OK;
}

/* What is no record, up to the next one. Noise behind which none comes may be the end that a power cut has torn. */
static int
pass_gap(struct segment_walk *w, struct log_reader *reader, uint64_t offset, enum log_found found,
	 uint64_t *ret_next)
{
	struct sett_salvage *s = w->salvage;
	uint64_t noise;
	int r = log_reader_search(reader, offset, ret_next, &noise);
	if (r != SETT_OK)
		return r;
	if (*ret_next < reader->bytes.size)
		salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
			     " at offset %" PRIu64 ": %" PRIu64 " bytes are no record, and records follow",
			     offset, *ret_next - offset);
	else if (found == LOG_FOUND_NOISE)
		salvage_find(s, SETT_SALVAGE_DOUBT, w->name, any, any,
			     " at offset %" PRIu64 ": what stands here is no record: the end of what was "
			     "written, torn or damaged; commits "
			     "behind commit %" PRIu64 " that nothing else shows may be missing",
			     offset, s->last_commit);
	return SETT_OK;
}

static int
read_records(struct segment_walk *w, struct log_reader *reader)
{
	struct sett_salvage *s = w->salvage;
	int r = SETT_OK;
	for (uint64_t offset = LOG_SEGMENT_HEADER_SIZE, next; r == SETT_OK && offset < reader->bytes.size;
	     offset = next) {
		enum log_found found;
		struct log_record record;
		r = log_reader_look(reader, offset, &found, &record, &next);
		if (r != SETT_OK)
			return r;
		if (found == LOG_FOUND_RECORD)
			r = take_record(w, &record);
		else if (found == LOG_FOUND_DAMAGED)
			salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
				     " at offset %" PRIu64 ": commit %" PRIu64 " is damaged", offset,
				     record.timestamp);
		else
			r = pass_gap(w, reader, offset, found, &next);
		if (r == SETT_OK)
			r = salvage_progress(s, next - offset);
		if (found == LOG_FOUND_DAMAGED && record.timestamp > s->last_commit)
			s->last_commit = record.timestamp; /* it was told of */
	}
	return r;
}

/* A damaged header may still have its salt: then the first record is valid by it (LOG_FOUND_RECORD). Zeros in its place: the segment was
 * not used yet; behind them may stand what the file held before. */
static int
try_salt(struct log_reader *reader, enum log_found *ret)
{
	enum { SALT_AT = 24 };
	const uint8_t *p;
	struct log_record record;
	uint64_t next;
	*ret = LOG_FOUND_ZEROS;
	if (reader->bytes.size <= LOG_SEGMENT_HEADER_SIZE)
		return SETT_OK;
	int r = file_window_fetch(&reader->bytes, 0, LOG_SEGMENT_HEADER_SIZE, &p);
	if (r != SETT_OK)
		return r;
	reader->seed = log_segment_seed(reader->number, get_le64(p + SALT_AT));
	return log_reader_look(reader, LOG_SEGMENT_HEADER_SIZE, ret, &record, &next);
}

static int
read_segment(struct segment_walk *w, struct log_reader *reader)
{
	struct sett_salvage *s = w->salvage;
	enum log_header header;
	enum log_found first = LOG_FOUND_NOISE;
	int r = log_reader_header(reader, &header);
	if (r == SETT_OK && header == LOG_HEADER_DAMAGED)
		r = try_salt(reader, &first);
	if (r != SETT_OK)
		return r;
	bool has_salt = header == LOG_HEADER_DAMAGED && first == LOG_FOUND_RECORD;
	if (has_salt)
		salvage_find(s, SETT_SALVAGE_NOTE, w->name, any, any,
			     ": the segment's header is damaged, but what its records need of it is not");
	else if (header == LOG_HEADER_DAMAGED && first == LOG_FOUND_ZEROS &&
		 reader->number != s->manifest.log_segment)
		salvage_find(
			s, SETT_SALVAGE_DOUBT, w->name, any, any,
			": the segment's header is damaged, and no record begins behind it, but something "
			"stands there: what the file held before, or records");
	else if (header == LOG_HEADER_DAMAGED)
		salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
			     ": the segment's header is damaged, and without it no record can be told to be "
			     "whole");
	else if (header == LOG_HEADER_OTHER_VERSION)
		salvage_find(s, SETT_SALVAGE_LOST, w->name, any, any,
			     ": a log of another version than this program reads");
	else if (header == LOG_HEADER_OTHER_NUMBER)
		salvage_find(s, SETT_SALVAGE_NOTE, w->name, any, any,
			     ": the segment has another file's name");
	bool has_records = has_salt || header == LOG_HEADER_INTACT || header == LOG_HEADER_OTHER_NUMBER;
	return has_records ? read_records(w, reader) : salvage_progress(s, reader->bytes.size);
}

static int
compare_items(const void *a, const void *b)
{
	const struct log_item *x = a, *y = b;
	return ikey_compare((struct ikey){x->key, x->timestamp}, (struct ikey){y->key, y->timestamp});
}

int
salvage_read_log(struct sett_salvage *s, uint64_t first)
{
	const struct found_files *segments = &s->directory.segments;
	char path[SETT_PATH_MAX];
	int r = SETT_OK;
	if (first != 0 && !found_files_find(segments, first)) {
		char name[SALVAGE_NAME_MAX];
		salvage_name(first, LOG_SUFFIX, name);
		salvage_find(s, SETT_SALVAGE_LOST, name, any, any,
			     ": the manifest names this segment, and it is missing");
	}
	for (size_t i = 0; r == SETT_OK && i < segments->count; i++) {
		struct segment_walk w = {.salvage = s};
		struct log_reader reader;
		struct sett_error error = {0};
		if (segments->files[i].number < first)
			continue;
		salvage_name(segments->files[i].number, LOG_SUFFIX, w.name);
		r = file_name_make(s->path, segments->files[i].number, LOG_SUFFIX, path);
		if (r == SETT_OK)
			r = log_reader_open(&reader, s->directory.vfs, path, segments->files[i].number,
					    &error);
		if (r == SETT_OK) {
			r = read_segment(&w, &reader);
			log_reader_close(&reader);
		}
		if (r == SETT_IO || r == SETT_NOT_FOUND) {
			salvage_find(s, SETT_SALVAGE_LOST, w.name, any, any, ": can't be read: %s",
				     error.message);
			r = SETT_OK;
		}
	}
	if (r == SETT_OK && s->log_count > 1)
		qsort(s->log, s->log_count, sizeof(*s->log), compare_items);
	return r == SETT_NO_MEMORY ? salvage_no_memory(s) : r;
}
