/* Writing a body in pieces, before there is a transaction that puts it.
 *
 *     open: a range of the active file     append ...     finish: the header     put, commit     close
 *     |------------------ in flight: the file is not sealed -----------|
 *     |------------------ a reference: the file is not removed ---------------------------------|
 *
 * Invariants:
 * - From open to close one reference and, until it is finished, one reservation in flight keep the file (I9);
 *   a commit that puts the body gives the memtable a reference of its own.
 * - Each piece marks the file for the next sync once it is written, and so does the header: what a commit
 *   points at is synced before its log record is durable (I10), and a long upload is synced as it goes.
 * - The header is written last, so what is given up, or cut short by a crash, is a hole like that of a failed
 *   write: nothing points at it, and it would not pass for a record (I11). If nothing was reserved behind it,
 *   it is cut off the file; else it is garbage, which GC finds as it finds all garbage.
 * - What the body takes is `promised` until it is closed: GC does not take it for garbage. */
#include <stdlib.h>

#include "engine_private.h"
#include "storage/base/sync_point.h"
#include "value_log_pieces.h"

struct sett_body_writer {
	struct rcu_deferred deferred; /* first: the two have one address */
	struct record_writer record;
	bool finished, failed;
};

/* The file gets `more` bytes promised. */
static void
promise(struct sett_body_writer *writer, int64_t more)
{
	struct value_log *log = writer->record.log;
	mutex_lock(&log->lock);
	writer->record.file->promised += (uint64_t)more;
	mutex_unlock(&log->lock);
}

int
sett_body_writer_open(struct sett_engine *engine, uint64_t size, struct sett_body_writer **ret,
		      struct sett_error *error)
{
	struct value_log *log = engine->value_log;
	struct value_log_file *file;
	uint64_t offset, total = value_log_streamed_size(engine->value_log, size);
	if (size > SETT_MAX_BODY_SIZE)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "a value of %" PRIu64 " bytes", size);
	int r = engine->options.read_only
		? sett_error_set(error, SETT_READ_ONLY, 0, "the database is open for reading alone")
		: log_health(engine->log, error);
	if (r != SETT_OK)
		return r; /* nothing could ever commit it */
	if (engine_is_short(engine)) {
		engine_describe_shortage(engine, error);
		return SETT_NO_SPACE;
	}
	struct sett_body_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
	r = value_log_reserve(log, total, 1, &file, &offset, error);
	if (r == SETT_OK) {
		r = record_writer_open(&writer->record, log, file, offset, size);
		if (r != SETT_OK) {
			sett_error_set(error, r, 0, "out of memory for a value");
			value_log_conclude(log, file, offset, total, 1, false);
		}
	}
	if (r != SETT_OK) {
		free(writer);
		return r;
	}
	promise(writer, (int64_t)total);
	*ret = writer;
	return SETT_OK;
}

int
sett_body_writer_append(struct sett_body_writer *writer, const void *data, size_t size,
			struct sett_error *error)
{
	struct record_writer *record = &writer->record;
	if (writer->finished || writer->failed || size > record->pointer.body_size - record->done)
		return sett_error_set(error, SETT_INVALID, 0, "a value is not what it was said to be");
	int r = record_writer_append(record, data, size, error);
	writer->failed = r != SETT_OK;
	if (r == SETT_OK && size > 0) {
		mutex_lock(&record->log->lock);
		value_log_mark_dirty_locked(record->log, record->file);
		mutex_unlock(&record->log->lock);
	}
	return r;
}

int
sett_body_writer_finish(struct sett_body_writer *writer, struct sett_error *error)
{
	struct record_writer *record = &writer->record;
	const struct value_pointer *pointer = &record->pointer;
	if (writer->finished || writer->failed || record->done != pointer->body_size)
		return sett_error_set(error, SETT_INVALID, 0, "a value is not what it was said to be");
	int r = record_writer_finish(record, error);
	writer->failed = r != SETT_OK;
	if (r != SETT_OK)
		return r;
	value_log_conclude(record->log, record->file, pointer->offset, pointer->stored_size, 1, true);
	writer->finished = true;
	return SETT_OK;
}

uint64_t
sett_body_writer_size(const struct sett_body_writer *writer)
{
	return writer->record.pointer.body_size;
}

const struct value_pointer *
body_writer_pointer(const struct sett_body_writer *writer)
{
	return writer->finished ? &writer->record.pointer : NULL;
}

int
sett_body_writer_stream(const struct sett_body_writer *writer, struct sett_body_stream **ret)
{
	const struct value_pointer *pointer = body_writer_pointer(writer);
	if (!pointer)
		return SETT_INVALID;
	return body_stream_open(writer->record.log, pointer, 0, pointer->body_size, ret, NULL);
}

/* ---- giving up ---- */

/* Cuts the range off the file if nothing was reserved behind it. Meanwhile the file is nobody's to write to:
 * it is taken from the commits, and given back unless they have another by then. */
static void
cut_off(struct value_log *log, struct value_log_file *file, const struct value_pointer *range)
{
	mutex_lock(&log->create_lock); /* only its holder changes `active` */
	mutex_lock(&log->lock);
	bool is_last = file->size == range->offset + range->stored_size;
	bool was_active = is_last && log->active == file;
	if (was_active) {
		file->retiring = true; /* the range is in flight: it is not sealed yet */
		log->active = NULL;
	}
	mutex_unlock(&log->lock);
	mutex_unlock(&log->create_lock);
	/* If it fails, the file stays as long as it is, with a hole. */
	if (!is_last || vfs_truncate(file->handle, range->offset, NULL) != SETT_OK)
		return;
	mutex_lock(&log->create_lock);
	mutex_lock(&log->lock);
	__atomic_store_n(&file->size, range->offset, __ATOMIC_RELEASE);
	if (was_active && !log->active) {
		file->retiring = false;
		log->active = file;
	}
	mutex_unlock(&log->lock);
	mutex_unlock(&log->create_lock);
}

static void
end(struct rcu_deferred *deferred)
{
	struct sett_body_writer *writer = (struct sett_body_writer *)deferred;
	struct record_writer *record = &writer->record;
	promise(writer, -(int64_t)record->pointer.stored_size);
	const struct value_pointer *pointer = &record->pointer;
	if (writer->finished) {
		value_log_release_number(record->log, pointer->file);
	} else {
		cut_off(record->log, record->file, pointer);
		SYNC_POINT("body: cut off");
		/* The range is cut off, or stays as a hole: what follows its beginning may be others' by now.
		 */
		value_log_conclude(record->log, record->file, pointer->offset, 0, 1, false);
	}
	record_writer_close(record);
	free(writer);
}

void
sett_body_writer_close(struct sett_body_writer *writer)
{
	if (!writer)
		return;
	if (rcu_thread_is_online())
		rcu_defer(&writer->deferred, end);
	else
		end(&writer->deferred);
}
