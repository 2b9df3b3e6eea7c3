/* One file of a database, item by item. Each kind has its own reader elsewhere in storage/; here their
 * findings become items. */
#include <stdlib.h>

#include "batch.h"
#include "codec.h"
#include "describe.h"
#include "log_format.h"
#include "log_reader.h"
#include "manifest.h"
#include "pending_set.h"
#include "storage/inspect.h"
#include "value_log_format.h"
#include "value_walk.h"

struct reading {
	struct vfs *vfs;
	const char *path;
	uint64_t number;
	int (*each)(void *arg, const struct sett_item *);
	void *arg;
	struct sett_error *error;
	/* A visitor that can't return the result of `each` leaves it here. */
	int stopped;
};

static int
give(struct reading *r, const struct sett_item *item)
{
	return r->each(r->arg, item);
}

static int
give_damage(struct reading *r, uint64_t offset, uint64_t size, const char *text)
{
	return give(
		r,
		&(struct sett_item){.kind = SETT_ITEM_DAMAGE, .offset = offset, .size = size, .text = text});
}

/* Corruption that a reader has put into words is an item. */
static int
give_error(struct reading *r, int status, const struct sett_error *error)
{
	if (status == SETT_CORRUPT)
		return give_damage(r, 0, 0, error->message);
	if (r->error)
		*r->error = *error;
	return status;
}

static int
give_file(struct reading *r)
{
	struct vfs_file *file;
	struct sett_item item = {.kind = SETT_ITEM_FILE, .number = r->number};
	int status = vfs_open(r->vfs, r->path, VFS_READ, &file, r->error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(file, &item.size, r->error);
	(void)vfs_close(file, NULL);
	return status == SETT_OK ? give(r, &item) : status;
}

/* ---- entries ---- */

static int
give_entry(struct reading *r, struct bytes key, struct bytes value, uint64_t offset, uint64_t timestamp)
{
	struct entry e;
	if (entry_decode(value, &e) != SETT_OK)
		return give_damage(r, offset, 0, "an entry's value is malformed");
	struct sett_item item = {.kind = SETT_ITEM_ENTRY, .offset = offset, .timestamp = timestamp};
	item.entry = (struct sett_stored_entry){
		.key = key,
		.kind = e.kind == ENTRY_TOMBSTONE ? SETT_STORED_TOMBSTONE
			: e.kind == ENTRY_INLINE  ? SETT_STORED_INLINE
						  : SETT_STORED_POINTER,
		.expires_at = e.expires_at,
		.head = e.head,
	};
	if (e.kind == ENTRY_INLINE)
		item.entry.body = e.body;
	if (e.kind == ENTRY_POINTER) {
		item.entry.file = e.pointer.file;
		item.entry.offset = e.pointer.offset;
		item.entry.stored_size = e.pointer.stored_size;
		item.entry.body_size = e.pointer.body_size;
	}
	return give(r, &item);
}

/* ---- the log ---- */

static int
on_batch_entry(void *arg, struct bytes key, struct bytes value)
{
	return give_entry(arg, key, value, 0, 0);
}

static int
on_batch_counter(void *arg, const struct batch_counter *c)
{
	int r = SETT_OK;
	if (c->forget)
		r = give(arg, &(struct sett_item){.kind = SETT_ITEM_COUNTER_DROPPED, .counter = c->counter});
	if (r == SETT_OK && (!c->forget || c->delta != 0))
		r = give(arg,
			 &(struct sett_item){
				 .kind = SETT_ITEM_COUNTER, .counter = c->counter, .value = c->delta});
	return r;
}

static int
on_batch_prefix(void *arg, const struct prefix_change *c)
{
	struct sett_item item = {
		.kind = SETT_ITEM_PREFIX_DROPPED, .key = c->prefix, .count = 1, .size = c->bytes};
	if (!prefix_change_drops(c))
		item.kind = c->kind == ID_PENDING ? SETT_ITEM_ID_PENDING : SETT_ITEM_ID_PUBLISHED;
	return give(arg, &item);
}

static int
give_commit(struct reading *r, const struct log_record *record)
{
	struct sett_item item = {
		.kind = SETT_ITEM_COMMIT,
		.offset = record->offset,
		.size = record->payload.size,
		.timestamp = record->timestamp,
		.previous = record->previous,
		.durable = record->durable,
		.now_ms = record->now_ms,
	};
	int status = give(r, &item);
	struct batch_visitor visitor = {on_batch_entry, on_batch_counter, on_batch_prefix, r, NULL};
	if (status == SETT_OK)
		status = batch_visit(record->payload, &visitor);
	if (status == SETT_CORRUPT)
		status = give_damage(r, record->offset, 0, "the commit's batch is malformed");
	return status;
}

/* What is no record, up to the next one. */
static int
give_log_gap(struct reading *r, struct log_reader *reader, uint64_t offset, enum log_found found,
	     uint64_t *ret_next)
{
	uint64_t noise_end;
	int status = log_reader_search(reader, offset, ret_next, &noise_end);
	if (status != SETT_OK)
		return status;
	if (found == LOG_FOUND_NOISE || *ret_next < reader->bytes.size)
		return give_damage(r, offset, *ret_next - offset, "no record where one must begin");
	return give(
		r,
		&(struct sett_item){.kind = SETT_ITEM_UNUSED, .offset = offset, .size = *ret_next - offset});
}

static int
read_log_records(struct reading *r, struct log_reader *reader)
{
	int status = SETT_OK;
	for (uint64_t offset = LOG_SEGMENT_HEADER_SIZE; status == SETT_OK && offset < reader->bytes.size;) {
		enum log_found found;
		struct log_record record;
		uint64_t next;
		status = log_reader_look(reader, offset, &found, &record, &next);
		if (status != SETT_OK)
			break;
		if (found == LOG_FOUND_RECORD)
			status = give_commit(r, &record);
		else if (found == LOG_FOUND_DAMAGED)
			status = give_damage(r, offset, next - offset, "a record's payload is damaged");
		else
			status = give_log_gap(r, reader, offset, found, &next);
		offset = next;
	}
	return status;
}

static int
read_log(struct reading *r)
{
	struct log_reader reader;
	enum log_header header;
	int status = log_reader_open(&reader, r->vfs, r->path, r->number, r->error);
	if (status != SETT_OK)
		return status;
	status = log_reader_header(&reader, &header);
	if (status == SETT_OK) {
		switch (header) {
		case LOG_HEADER_INTACT:
			status = read_log_records(r, &reader);
			break;
		case LOG_HEADER_BLANK:
			status = give(
				r, &(struct sett_item){.kind = SETT_ITEM_UNUSED, .size = reader.bytes.size});
			break;
		case LOG_HEADER_DAMAGED:
			status = give_damage(r, 0, 0, "the segment's header is damaged");
			break;
		case LOG_HEADER_OTHER_VERSION:
			status = give_damage(r, 0, 0, "a log of another version than this program reads");
			break;
		case LOG_HEADER_OTHER_NUMBER:
			status = give_damage(r, 0, 0, "the segment has another file's name");
			break;
		}
	}
	log_reader_close(&reader);
	return status;
}

/* ---- tables ---- */

static int
on_table_entry(void *arg, struct ikey key, struct bytes value, uint64_t offset)
{
	struct reading *r = arg;
	return r->stopped != SETT_OK ? r->stopped : give_entry(r, key.user, value, offset, key.timestamp);
}

static void
on_table_damage(void *arg, const char *text)
{
	struct reading *r = arg;
	if (r->stopped == SETT_OK)
		r->stopped = give_damage(r, 0, 0, text);
}

static int
give_properties(struct reading *r, struct table *table)
{
	const struct table_properties *p = table_properties(table);
	struct sett_table_description description = {.number = r->number, .size = table_file_size(table)};
	int status = table_describe(p, &description);
	if (status == SETT_OK)
		status = give(r, &(struct sett_item){.kind = SETT_ITEM_PROPERTIES, .table = &description});
	else
		sett_error_set(r->error, status, 0, "%s: out of memory", r->path);
	table_description_free(&description);
	for (size_t i = 0; status == SETT_OK && i < p->reference_count; i++)
		status = give(r,
			      &(struct sett_item){.kind = SETT_ITEM_REFERENCE,
						  .number = p->references[i].file,
						  .size = p->references[i].bytes,
						  .count = p->references[i].entries});
	return status;
}

static int
read_table(struct reading *r)
{
	struct vfs_file *file;
	struct table *table;
	struct sett_error error = {0};
	int status = vfs_open(r->vfs, r->path, VFS_READ, &file, r->error);
	if (status != SETT_OK)
		return status;
	status = table_open(file, r->path, r->number, NULL, &table, &error);
	if (status != SETT_OK)
		return give_error(r, status, &error);
	status = give_properties(r, table);
	if (status == SETT_OK) {
		struct table_visitor visitor = {on_table_entry, on_table_damage, r};
		status = table_examine(table, &visitor, &error);
		if (r->stopped != SETT_OK)
			status = r->stopped;
		else if (status == SETT_CORRUPT)
			status = SETT_OK; /* told already */
		else if (status != SETT_OK && r->error)
			*r->error = error;
	}
	table_close(table);
	return status;
}

/* ---- the manifest ---- */

static int
on_manifest_record(void *arg, uint64_t offset, enum manifest_record kind, uint64_t size)
{
	struct sett_item item = {.kind = SETT_ITEM_EDIT, .offset = offset, .size = size};
	switch (kind) {
	case MANIFEST_EDIT:
		break;
	case MANIFEST_MARK:
		item.kind = SETT_ITEM_MARK;
		break;
	case MANIFEST_LOST_MARK:
		item = (struct sett_item){
			.kind = SETT_ITEM_DAMAGE, .offset = offset, .text = "a mark that was lost"};
		break;
	case MANIFEST_TORN:
		item.kind = SETT_ITEM_DAMAGE;
		item.text = "a torn last edit";
		break;
	}
	return give(arg, &item);
}

static int
give_counters(struct reading *r, const struct manifest_field *f)
{
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < f->counter_count; i++)
		status = give(r,
			      &(struct sett_item){.kind = SETT_ITEM_COUNTER,
						  .counter = f->counters[i].counter,
						  .value = f->counters[i].value});
	return status;
}

static int
give_ranges(struct reading *r, enum sett_item_kind kind, const struct manifest_field *f)
{
	struct dead_cursor c;
	int status = SETT_OK;
	for (dead_cursor_init(&c, f->dead); status == SETT_OK && c.valid; dead_cursor_next(&c))
		status = give(r,
			      &(struct sett_item){.kind = kind,
						  .key = dead_range_low(&c.now),
						  .count = c.now.count,
						  .size = c.now.units * DEAD_UNIT,
						  .timestamp = f->timestamp});
	return status;
}

static int
give_pending(struct reading *r, struct bytes encoded)
{
	struct pending_set set = {0};
	int status = pending_set_decode(&set, encoded);
	for (size_t i = 0; status == SETT_OK && i < set.count; i++)
		status = give(r,
			      &(struct sett_item){.kind = SETT_ITEM_ID_PENDING,
						  .key = bytes_of(set.ids[i].prefix, set.ids[i].size)});
	pending_set_free(&set);
	return status;
}

static int
on_manifest_field(void *arg, struct manifest_field *f)
{
	struct sett_item item = {0};
	switch (f->kind) {
	case MANIFEST_TABLE_ADDED:
		item = (struct sett_item){.kind = SETT_ITEM_TABLE_ADDED,
					  .number = f->table.number,
					  .size = f->table.size,
					  .level = f->table.level};
		break;
	case MANIFEST_SHADOWED: /* a figure of the table before */
		return SETT_OK;
	case MANIFEST_TABLE_REMOVED:
		item = (struct sett_item){.kind = SETT_ITEM_TABLE_REMOVED, .number = f->table.number};
		break;
	case MANIFEST_FLUSH:
		item = (struct sett_item){.kind = SETT_ITEM_FLUSH,
					  .number = f->log_segment,
					  .timestamp = f->flushed,
					  .now_ms = f->now_ms};
		break;
	case MANIFEST_COUNTERS:
		return give_counters(arg, f);
	case MANIFEST_PREFIX_DIED:
	case MANIFEST_DIED:
		return give_ranges(arg, SETT_ITEM_PREFIX_DROPPED, f);
	case MANIFEST_PREFIX_GONE:
	case MANIFEST_GONE:
		return give_ranges(arg, SETT_ITEM_PREFIX_ERASED, f);
	case MANIFEST_PENDING:
		return give_pending(arg, f->pending);
	case MANIFEST_FILE_LIMIT:
		item = (struct sett_item){.kind = SETT_ITEM_FILE_LIMIT, .number = f->file_limit};
		break;
	case MANIFEST_DURABLE:
		item = (struct sett_item){
			.kind = SETT_ITEM_DURABLE, .timestamp = f->timestamp, .count = f->is_closed};
		break;
	}
	return give(arg, &item);
}

static int
read_manifest(struct reading *r)
{
	struct sett_error error = {0};
	struct manifest_visitor visitor = {NULL, on_manifest_record, on_manifest_field, r};
	int status = manifest_read(r->vfs, r->path, &visitor, &error);
	return status == SETT_OK ? SETT_OK : give_error(r, status, &error);
}

/* ---- the value log ---- */

static int
on_value(void *arg, uint64_t offset, uint64_t size, uint32_t flags, struct bytes payload)
{
	static const char *const words[CODEC_KINDS] = {NULL, "lz4", "zstd"};
	struct reading *r = arg;
	struct sett_item item = {.kind = SETT_ITEM_VALUE, .offset = offset, .size = size, .key = payload};
	uint32_t encoding = flags & 0xff;
	item.count = payload.size;
	if (flags == VALUE_LOG_PIECED)
		item.count = value_log_pieced_body_size(size - VALUE_LOG_RECORD_HEADER_SIZE);
	if (flags == (VALUE_LOG_PIECED | VALUE_LOG_SEALED))
		item.count = value_log_sealed_body_size(size - VALUE_LOG_RECORD_HEADER_SIZE);
	if (encoding == CODEC_RAW)
		return give(r, &item);
	uint32_t raw = codec_raw_size(payload);
	if (encoding >= CODEC_KINDS || raw >= SETT_MAX_PACKED_SIZE)
		return give_damage(r, offset, size, "a value that does not unpack");
	uint8_t *body = malloc(raw + 1);
	if (body == NULL)
		return sett_error_set(r->error, SETT_NO_MEMORY, 0, "%s: out of memory", r->path);
	item.key = bytes_of(body, raw);
	item.count = raw;
	item.text = words[encoding];
	int status = codec_unpack((enum codec)encoding, NULL, payload, body, raw);
	if (status == SETT_CORRUPT)
		status = give_damage(r, offset, size, "a value that does not unpack");
	else if (status == SETT_OK)
		status = give(r, &item);
	free(body);
	return status;
}

static int
on_value_gap(void *arg, uint64_t offset, uint64_t size, const char *text)
{
	return give_damage(arg, offset, size, text);
}

static int
on_value_header(void *arg, const char *text)
{
	return give_damage(arg, 0, 0, text);
}

static int
read_values(struct reading *r)
{
	struct value_walk walk = {on_value, on_value_gap, on_value_header, r};
	return value_walk(r->vfs, r->path, r->number, &walk, r->error);
}

int
sett_read_file(struct vfs *vfs, const char *path, enum sett_file_kind kind, uint64_t number,
	       int (*each)(void *arg, const struct sett_item *), void *arg, struct sett_error *error)
{
	struct reading r = {.vfs = vfs ? vfs : vfs_posix(),
			    .path = path,
			    .number = number,
			    .each = each,
			    .arg = arg,
			    .error = error};
	int status = give_file(&r);
	if (status != SETT_OK)
		return status;
	switch (kind) {
	case SETT_FILE_LOG:
		return read_log(&r);
	case SETT_FILE_TABLE:
		return read_table(&r);
	case SETT_FILE_MANIFEST:
		return read_manifest(&r);
	case SETT_FILE_VALUE_LOG:
		return read_values(&r);
	}
	return sett_error_set(error, SETT_INVALID, 0, "%s: no kind of file", path);
}
