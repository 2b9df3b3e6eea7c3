/* From the log to the archive.
 *
 *     log:      [record 7][record 8 -> value a, value b][record 9] ...
 *     archive:  [commit 7][body b, piece][body b, piece][commit 8: value a within][commit 9] ...
 *
 * A commit's block has its batch, with the bodies of values in place of pointers. Large ones stand in blocks before it, so a
 * commit is there once its own block is, and nobody needs all of it in memory.
 *
 * Segments and value files are held by the generations that wait to be flushed (archive.c). A segment that is gone had
 * nothing more to be copied: its end was reached, and the next record names its predecessor, which tells if that is not so. */
#include "archive_copy.h"

#include <stdlib.h>

#include "batch.h"
#include "log_format.h"
#include "log_reader.h"

enum { BODIES_WITHIN = 32 << 20 }; /* bytes of bodies in one commit's block; what is more stands before it */

struct copying {
	struct archive_copy *copy;
	struct archive_writer *writer;
	const struct log_record *record;
	struct sett_error *error;
	struct buffer entries, counters, prefixes, head; /* of the batch */
	uint64_t entry_count, counter_count, prefix_count;
	uint64_t within, outside; /* bytes of bodies; bodies */
	struct buffer body;
};

static void
tell_progress(const struct archive_copy *c)
{
	/* relaxed: whoever looks wants to know whether it changes */
	__atomic_fetch_add(c->progress, 1, __ATOMIC_RELAXED);
}

/* ---- values ---- */

static int
append_piece(struct copying *c, uint64_t total, const void *data, size_t size)
{
	uint8_t head[2 * VARINT_MAX_SIZE], *p = varint_put(varint_put(head, c->outside), total);
	int r = archive_writer_append(c->writer, ARCHIVE_BODY, c->record->timestamp, c->copy->place.time_ms,
				      bytes_of(head, (size_t)(p - head)), bytes_of(data, size), c->error);
	tell_progress(c->copy);
	return r;
}

static int
pour_stream(struct copying *c, struct sett_body_stream *stream, uint64_t total)
{
	int r = buffer_reserve(&c->body, ARCHIVE_PIECE);
	while (r == SETT_OK && sett_body_stream_remaining(stream) > 0) {
		size_t size;
		r = sett_body_stream_read(stream, c->body.data, ARCHIVE_PIECE, &size, c->error);
		if (r == SETT_OK)
			r = append_piece(c, total, c->body.data, size);
	}
	return r;
}

/* The body in blocks of its own. */
static int
copy_outside(struct copying *c, const struct value_pointer *pointer)
{
	struct value_log *log = c->copy->engine->value_log;
	buffer_clear(&c->body);
	if (pointer->body_size >= SETT_MAX_PACKED_SIZE) {
		struct sett_body_stream *stream;
		int r = body_stream_open(log, pointer, 0, pointer->body_size, &stream, c->error);
		if (r != SETT_OK)
			return r;
		r = pour_stream(c, stream, pointer->body_size);
		sett_body_stream_close(stream);
		return r;
	}
	int r = value_log_read(log, pointer, 0, &c->body, c->error);
	return r == SETT_OK ? append_piece(c, pointer->body_size, c->body.data, c->body.size) : r;
}

/* What stands in the batch for a pointer. */
static int
resolve(struct copying *c, struct entry *e)
{
	struct value_pointer pointer = e->pointer;
	int r;
	if (pointer.body_size >= SETT_MAX_PACKED_SIZE || c->within + pointer.body_size > BODIES_WITHIN) {
		r = copy_outside(c, &pointer);
		e->pointer = (struct value_pointer){.offset = c->outside++, .body_size = pointer.body_size};
		return r;
	}
	buffer_clear(&c->body);
	r = value_log_read(c->copy->engine->value_log, &pointer, 0, &c->body, c->error);
	e->kind = ENTRY_INLINE;
	e->body = buffer_bytes(&c->body);
	c->within += pointer.body_size;
	return r;
}

/* ---- the batch ---- */

static int
copy_entry(void *arg, struct bytes key, struct bytes value)
{
	struct copying *c = arg;
	struct entry e;
	int r = entry_decode(value, &e);
	if (r == SETT_OK && e.kind == ENTRY_POINTER)
		r = resolve(c, &e);
	if (r != SETT_OK)
		return r;
	size_t size = entry_encoded_size(&e);
	r = buffer_reserve(&c->entries, 2 * VARINT_MAX_SIZE + key.size + size);
	if (r != SETT_OK)
		return r;
	uint8_t *p = varint_put(c->entries.data + c->entries.size, key.size);
	if (key.size > 0)
		memcpy(p, key.data, key.size);
	p = entry_encode(&e, varint_put(p + key.size, size));
	c->entries.size = (size_t)(p - c->entries.data);
	c->entry_count++;
	return SETT_OK;
}

static int
copy_counter(void *arg, const struct batch_counter *counter)
{
	struct copying *c = arg;
	c->counter_count++;
	return batch_append_counter(&c->counters, counter);
}

static int
copy_prefix(void *arg, const struct prefix_change *change)
{
	struct copying *c = arg;
	c->prefix_count++;
	return batch_append_prefix(&c->prefixes, change);
}

/* The batch's parts, one behind the other. What it makes garbage is worked out anew by who applies it. */
static int
assemble(struct copying *c)
{
	struct buffer *all = &c->head;
	buffer_clear(all);
	int r = batch_append_varint(all, c->record->now_ms);
	if (r == SETT_OK)
		r = batch_append_varint(all, c->entry_count);
	if (r == SETT_OK && c->entries.size > 0)
		r = buffer_append(all, c->entries.data, c->entries.size);
	if (r == SETT_OK)
		r = batch_append_varint(all, c->counter_count);
	if (r == SETT_OK && c->counters.size > 0)
		r = buffer_append(all, c->counters.data, c->counters.size);
	if (r == SETT_OK)
		r = batch_append_varint(all, c->prefix_count);
	if (r == SETT_OK && c->prefixes.size > 0)
		r = buffer_append(all, c->prefixes.data, c->prefixes.size);
	return r == SETT_OK ? batch_append_varint(all, 0) : r;
}

static int
copy_commit(struct copying *c, const struct log_record *record)
{
	struct archive_place *place = &c->copy->place;
	struct batch_visitor visitor = {copy_entry, copy_counter, copy_prefix, c, NULL};
	/* A log that kept no times: that of its transaction's begin is the best there is. */
	uint64_t time_ms = record->written_ms ? record->written_ms : record->now_ms;
	c->record = record;
	/* The clock may have been set back; before `known_ms` there is nothing else, as was said. */
	if (time_ms < place->known_ms)
		time_ms = place->known_ms;
	if (time_ms > place->time_ms)
		place->time_ms = time_ms;
	if (record->now_ms > place->now_ms)
		place->now_ms = record->now_ms;
	buffer_clear(&c->entries);
	buffer_clear(&c->counters);
	buffer_clear(&c->prefixes);
	c->entry_count = c->counter_count = c->prefix_count = c->within = c->outside = 0;
	int r = batch_visit(record->payload, &visitor);
	if (r == SETT_OK)
		r = assemble(c);
	if (r == SETT_OK)
		r = archive_writer_append(c->writer, ARCHIVE_COMMIT, record->timestamp, place->time_ms,
					  buffer_bytes(&c->head), (struct bytes){0}, c->error);
	place->commit = record->timestamp;
	tell_progress(c->copy);
	return r;
}

/* ---- the log ---- */

static int
copy_record(struct copying *c, const struct log_record *record)
{
	uint64_t last = c->copy->place.commit;
	if (record->timestamp <= last)
		return SETT_OK;
	if (record->previous != last)
		return sett_error_set(c->error, SETT_CORRUPT, 0,
				      "the log has no commit behind %" PRIu64 " but %" PRIu64, last,
				      record->timestamp);
	return copy_commit(c, record);
}

/* The records of one segment, from the copy's offset on. */
static int
copy_records(struct copying *c, struct log_reader *reader, uint64_t to)
{
	struct archive_copy *copy = c->copy;
	while (copy->place.commit < to && copy->offset < reader->bytes.size) {
		enum log_found found;
		struct log_record record;
		uint64_t next;
		int r = log_reader_look(reader, copy->offset, &found, &record, &next);
		if (r != SETT_OK || found != LOG_FOUND_RECORD)
			return r;
		r = copy_record(c, &record);
		if (r != SETT_OK)
			return r;
		copy->offset = next;
	}
	return SETT_OK;
}

static int
copy_segment(struct copying *c, uint64_t to)
{
	char path[SETT_PATH_MAX];
	struct log_reader reader;
	enum log_header header;
	struct archive_copy *copy = c->copy;
	int r = file_name_make(copy->engine->directory, copy->segment, LOG_SUFFIX, path);
	if (r == SETT_OK)
		r = log_reader_open(&reader, copy->engine->options.vfs, path, copy->segment, c->error);
	if (r == SETT_NOT_FOUND)
		return SETT_OK; /* flushed: all of it was copied */
	if (r != SETT_OK)
		return r;
	r = log_reader_header(&reader, &header);
	/* Another's header: the file is about to be that of another segment. */
	if (r == SETT_OK && header == LOG_HEADER_INTACT)
		r = copy_records(c, &reader, to);
	log_reader_close(&reader);
	return r;
}

int
archive_copy_up_to(struct archive_copy *copy, uint64_t to, struct archive_writer *writer,
		   struct sett_error *error)
{
	struct copying c = {.copy = copy, .writer = writer, .error = error};
	int r = copy_segment(&c, to);
	while (r == SETT_OK && copy->place.commit < to) {
		if (!log_next_segment(copy->engine->log, copy->segment, &copy->segment)) {
			r = sett_error_set(error, SETT_CORRUPT, 0, "the log has no commit behind %" PRIu64,
					   copy->place.commit);
			break;
		}
		copy->offset = LOG_SEGMENT_HEADER_SIZE;
		r = copy_segment(&c, to);
	}
	if (r == SETT_NO_MEMORY && error->message[0] == '\0')
		(void)sett_error_set(error, r, 0, "out of memory for the archive");
	buffer_free(&c.entries);
	buffer_free(&c.counters);
	buffer_free(&c.prefixes);
	buffer_free(&c.head);
	buffer_free(&c.body);
	return r;
}

/* Those of one segment up to the commit. */
static int
look_for_times(struct sett_engine *engine, uint64_t segment, uint64_t commit, uint64_t *now_ms,
	       struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct log_reader reader;
	enum log_header header;
	enum log_found found = LOG_FOUND_RECORD;
	struct log_record record;
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	int r = file_name_make(engine->directory, segment, LOG_SUFFIX, path);
	if (r == SETT_OK)
		r = log_reader_open(&reader, engine->options.vfs, path, segment, error);
	if (r != SETT_OK)
		return r;
	r = log_reader_header(&reader, &header);
	while (r == SETT_OK && header == LOG_HEADER_INTACT && offset < reader.bytes.size) {
		r = log_reader_look(&reader, offset, &found, &record, &offset);
		if (r != SETT_OK || found != LOG_FOUND_RECORD || record.timestamp > commit)
			break;
		if (record.now_ms > *now_ms)
			*now_ms = record.now_ms;
	}
	log_reader_close(&reader);
	return r;
}

int
archive_now_at(struct sett_engine *engine, uint64_t commit, uint64_t *ret, struct sett_error *error)
{
	uint64_t segment = 0;
	int r = SETT_OK;
	*ret = version_set_now_ms(engine->versions);
	if (commit == version_set_flushed(engine->versions))
		return SETT_OK;
	while (r == SETT_OK && log_next_segment(engine->log, segment, &segment))
		r = look_for_times(engine, segment, commit, ret, error);
	return r;
}
