/* Bulk loads; see storage/bulk_load.h.
 *
 *     stream: add -> [value-log file of its own]
 *                 \-> table, another when that is full          synced and closed one by one
 *     finish: the tables in order, disjoint; sync the directory; MANIFEST beside, sync, rename, sync the directory
 *
 * Invariants:
 *  1. There is no MANIFEST before all that it names is durable (I10). An open refuses files without one.
 *  2. All entries have the timestamp 1, and the manifest says that commits up to it are in tables: there is no log. */
#include "storage/bulk_load.h"
#include "storage/keyring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "codec.h"
#include "file_names.h"
#include "manifest.h"
#include "storage/base/thread.h"
#include "storage/checkpoint.h"
#include "table.h"
#include "value_log.h"
#include "version.h"

enum { DEFAULT_THRESHOLD = 1024, THE_COMMIT = 1 };
static const uint64_t DEFAULT_TABLE_SIZE = 32 << 20, DEFAULT_VALUE_FILE_SIZE = 64 << 20;

struct loaded_table {
	uint64_t number, size;
	struct buffer smallest, largest; /* encoded internal keys */
};

struct sett_bulk_load {
	struct vfs *vfs;
	const struct sett_clock *clock;
	char directory[SETT_PATH_MAX];
	struct sett_bulk_options options; /* defaults filled in */
	struct vfs_file *lock_file;
	struct value_log *values;
	uint64_t next_number; /* atomic (relaxed) */
	struct mutex lock;    /* guards the group below */
	unsigned open_streams;
	struct loaded_table *tables;
	size_t count, capacity;
	int status; /* of the first stream that failed */
	struct sett_error error;
};

struct sett_bulk_stream {
	struct sett_bulk_load *load;
	struct vfs_file *file;
	struct table_builder *builder; /* NULL between tables */
	uint64_t number;               /* of the table */
	struct value_log_writer *values;
	struct buffer entry; /* scratch */
	struct loaded_table *tables;
	size_t count, capacity;
	int status;
	struct sett_error error; /* of the first failure */
};

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "bulk load: out of memory");
}

/* ---- the load ---- */

static int
next_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	struct sett_bulk_load *load = arg;
	*ret = __atomic_fetch_add(&load->next_number, 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

static enum codec
codec_of(enum sett_compression compression, enum codec initial)
{
	static const enum codec codecs[] = {[SETT_COMPRESSION_NONE] = CODEC_RAW,
					    [SETT_COMPRESSION_LZ4] = CODEC_LZ4,
					    [SETT_COMPRESSION_ZSTD] = CODEC_ZSTD};
	return compression == SETT_COMPRESSION_DEFAULT ? initial : codecs[compression];
}

static int
refuse_name(void *arg, const char *name)
{
	return strcmp(name, "LOCK") == 0 ? SETT_OK : SETT_INVALID;
}

static int
open_directory(struct sett_bulk_load *load, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16];
	struct vfs_file *lock = NULL;
	int r = vfs_make_durable_directory(load->vfs, load->directory, error);
	snprintf(path, sizeof(path), "%s/LOCK", load->directory);
	/* Before the lock, so that none is made where others are, and behind it, as some may have come. */
	if (r == SETT_OK)
		r = vfs_list(load->vfs, load->directory, refuse_name, NULL, error);
	if (r == SETT_OK)
		r = vfs_lock(load->vfs, path, &lock, error);
	if (r == SETT_OK)
		r = vfs_list(load->vfs, load->directory, refuse_name, NULL, error);
	if (r == SETT_INVALID)
		(void)sett_error_set(error, r, 0, "%s: the directory is not empty", load->directory);
	if (r != SETT_OK && lock)
		(void)vfs_close(lock, NULL);
	if (r == SETT_OK)
		load->lock_file = lock;
	return r;
}

static int
open_values(struct sett_bulk_load *load, struct sett_error *error)
{
	const struct sett_bulk_options *o = &load->options;
	struct value_log_options values = {.vfs = load->vfs,
					   .directory = load->directory,
					   .file_size = o->value_log_file_size,
					   .compression = codec_of(o->value_compression, CODEC_RAW),
					   .compression_level = o->compression_level,
					   .next_file_number = next_number,
					   .next_file_number_arg = load};
	int r = value_log_open(&values, &load->values, error);
	if (r == SETT_OK)
		value_log_keep_files(load->values); /* there is no engine that holds references */
	return r;
}

static void
free_tables(struct loaded_table *tables, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buffer_free(&tables[i].smallest);
		buffer_free(&tables[i].largest);
	}
	free(tables);
}

/* `discards`: what was written goes. */
static void
free_load(struct sett_bulk_load *load, bool discards)
{
	assert(load->open_streams == 0);
	value_log_close(load->values);
	if (discards && load->lock_file)
		(void)sett_checkpoint_discard(load->vfs, load->directory, NULL);
	if (load->lock_file)
		(void)vfs_close(load->lock_file, NULL);
	free_tables(load->tables, load->count);
	mutex_destroy(&load->lock);
	free(load);
}

static void
fill_defaults(struct sett_bulk_load *load, const struct sett_bulk_options *options)
{
	struct sett_bulk_options *o = &load->options;
	if (options)
		*o = *options;
	load->vfs = o->vfs ? o->vfs : vfs_posix();
	load->clock = o->clock ? o->clock : sett_system_clock();
	if (!o->value_threshold)
		o->value_threshold = DEFAULT_THRESHOLD;
	if (!o->table_size)
		o->table_size = DEFAULT_TABLE_SIZE;
	if (!o->value_log_file_size)
		o->value_log_file_size = DEFAULT_VALUE_FILE_SIZE;
}

int
sett_bulk_load_open(const char *directory, const struct sett_bulk_options *options,
		    struct sett_bulk_load **ret, struct sett_error *error)
{
	if (strlen(directory) >= SETT_PATH_MAX - 32)
		return sett_error_set(error, SETT_INVALID, ENAMETOOLONG, "The directory's path is too long");
	struct sett_bulk_load *load = calloc(1, sizeof(*load));
	if (!load)
		return out_of_memory(error);
	memcpy(load->directory, directory, strlen(directory) + 1);
	fill_defaults(load, options);
	load->next_number = 1;
	mutex_init(&load->lock);
	int r = open_directory(load, error);
	if (r == SETT_OK && load->vfs->keys)
		r = sett_keyring_add_key(load->vfs->keys, error);
	if (r == SETT_OK)
		r = open_values(load, error);
	if (r != SETT_OK) {
		free_load(load, true);
		return r;
	}
	*ret = load;
	return SETT_OK;
}

void
sett_bulk_load_abandon(struct sett_bulk_load *load)
{
	if (load)
		free_load(load, true);
}

static int
compare_tables(const void *a, const void *b)
{
	const struct loaded_table *x = a, *y = b;
	return ikey_compare(ikey_decode(buffer_bytes(&x->smallest)), ikey_decode(buffer_bytes(&y->smallest)));
}

static int
check_order(struct sett_bulk_load *load, struct sett_error *error)
{
	if (load->count == 0)
		return sett_error_set(error, SETT_INVALID, 0, "bulk load: nothing was added");
	qsort(load->tables, load->count, sizeof(*load->tables), compare_tables);
	for (size_t i = 1; i < load->count; i++) {
		struct bytes end = ikey_decode(buffer_bytes(&load->tables[i - 1].largest)).user;
		struct bytes begin = ikey_decode(buffer_bytes(&load->tables[i].smallest)).user;
		if (bytes_compare(end, begin) >= 0)
			return sett_error_set(error, SETT_INVALID, 0,
					      "bulk load: keys of two streams overlap");
	}
	return SETT_OK;
}

/* As of a database that was closed in good order, without a log: as version_set_picture has it. */
static int
encode_manifest(const struct sett_bulk_load *load, struct buffer *b)
{
	int r = manifest_put_file_limit(b, load->next_number);
	if (r == SETT_OK)
		r = manifest_put_flush(b, 0, THE_COMMIT, clock_wall_ms(load->clock));
	if (r == SETT_OK)
		r = manifest_put_durable(b, THE_COMMIT, true);
	for (size_t i = 0; r == SETT_OK && i < load->count; i++) {
		struct table_file table = {.number = load->tables[i].number, .size = load->tables[i].size};
		r = manifest_put_table_added(b, SETT_LEVELS - 1, &table);
	}
	return r;
}

static int
write_manifest(struct sett_bulk_load *load, struct sett_error *error)
{
	struct buffer payload = {0};
	struct manifest *manifest;
	int r = encode_manifest(load, &payload);
	if (r != SETT_OK)
		(void)out_of_memory(error);
	if (r == SETT_OK)
		r = vfs_sync_directory(load->vfs, load->directory, error);
	if (r == SETT_OK)
		r = manifest_create(load->vfs, load->directory, buffer_bytes(&payload), &manifest, error);
	if (r == SETT_OK)
		manifest_close(manifest);
	buffer_free(&payload);
	return r;
}

int
sett_bulk_load_finish(struct sett_bulk_load *load, struct sett_error *error)
{
	int r = load->status;
	if (r != SETT_OK && error)
		*error = load->error;
	if (r == SETT_OK)
		r = check_order(load, error);
	if (r == SETT_OK)
		r = write_manifest(load, error);
	free_load(load, r != SETT_OK);
	return r;
}

/* ---- a stream ---- */

int
sett_bulk_stream_open(struct sett_bulk_load *load, struct sett_bulk_stream **ret)
{
	struct sett_bulk_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return SETT_NO_MEMORY;
	s->load = load;
	mutex_lock(&load->lock);
	load->open_streams++;
	mutex_unlock(&load->lock);
	*ret = s;
	return SETT_OK;
}

static int
begin_table(struct sett_bulk_stream *s)
{
	struct sett_bulk_load *load = s->load;
	char path[SETT_PATH_MAX];
	int r = next_number(load, &s->number, &s->error);
	table_path(load->directory, s->number, path);
	if (r == SETT_OK)
		r = vfs_open(load->vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &s->file, &s->error);
	if (r != SETT_OK) {
		s->file = NULL;
		return r;
	}
	struct table_builder_options options = {
		.number = s->number,
		.compression = (enum table_compression)codec_of(load->options.bottom_compression, CODEC_ZSTD),
		.zstd_level = load->options.compression_level};
	r = table_builder_create(s->file, &options, &s->builder);
	return r == SETT_OK ? r : out_of_memory(&s->error);
}

static int
reserve_table(struct sett_bulk_stream *s)
{
	if (s->count < s->capacity)
		return SETT_OK;
	size_t capacity = s->capacity ? 2 * s->capacity : 16;
	void *grown = reallocarray(s->tables, capacity, sizeof(*s->tables));
	if (!grown)
		return out_of_memory(&s->error);
	s->tables = grown;
	s->capacity = capacity;
	return SETT_OK;
}

static int
end_table(struct sett_bulk_stream *s)
{
	struct table_properties properties;
	uint64_t size;
	if (!s->builder)
		return SETT_OK;
	int r = reserve_table(s);
	if (r == SETT_OK)
		r = table_builder_finish(s->builder, &properties, &size, &s->error);
	if (r != SETT_OK)
		return r;
	s->tables[s->count++] =
		(struct loaded_table){s->number, size, properties.smallest, properties.largest};
	properties.smallest = properties.largest = (struct buffer){0};
	table_properties_free(&properties);
	table_builder_destroy(s->builder);
	s->builder = NULL;
	r = vfs_sync(s->file, &s->error);
	int closed = vfs_close(s->file, r == SETT_OK ? &s->error : NULL);
	s->file = NULL;
	return r == SETT_OK ? closed : r;
}

/* The entry as it goes to the table, in s->entry. */
static int
encode(struct sett_bulk_stream *s, const struct sett_put *put)
{
	struct entry entry = {
		.kind = ENTRY_INLINE, .expires_at = put->expires_at, .head = put->head, .body = put->body};
	int r = SETT_OK;
	if (put->body.size >= s->load->options.value_threshold) {
		if (!s->values)
			r = value_log_writer_create(s->load->values, &s->values);
		if (r != SETT_OK)
			return out_of_memory(&s->error);
		entry.kind = ENTRY_POINTER;
		r = value_log_writer_add(s->values, put->body, &entry.pointer, &s->error);
	}
	buffer_clear(&s->entry);
	size_t size = entry_encoded_size(&entry);
	if (r == SETT_OK && buffer_reserve(&s->entry, size) != SETT_OK)
		r = out_of_memory(&s->error);
	if (r != SETT_OK)
		return r;
	s->entry.size = (size_t)(entry_encode(&entry, s->entry.data) - s->entry.data);
	return SETT_OK;
}

static int
add(struct sett_bulk_stream *s, struct bytes key, const struct sett_put *put)
{
	if (put->body_of || put->written || put->over)
		return sett_error_set(&s->error, SETT_INVALID, 0,
				      "bulk load: a value that is not given in bytes");
	if (key.size > SETT_MAX_KEY_SIZE || put->head.size > SETT_MAX_HEAD_SIZE ||
	    put->body.size > SETT_MAX_BODY_SIZE)
		return sett_error_set(&s->error, SETT_TOO_LARGE, 0, "bulk load: a key or value is too large");
	int r = encode(s, put);
	if (r == SETT_OK && s->builder && table_builder_size(s->builder) >= s->load->options.table_size)
		r = end_table(s);
	if (r == SETT_OK && !s->builder)
		r = begin_table(s);
	if (r == SETT_OK)
		r = table_builder_add(s->builder, (struct ikey){key, THE_COMMIT}, buffer_bytes(&s->entry),
				      &s->error);
	if (r == SETT_INVALID)
		(void)sett_error_set(&s->error, r, 0, "bulk load: keys of a stream don't ascend");
	return r;
}

int
sett_bulk_stream_add(struct sett_bulk_stream *s, struct bytes key, const struct sett_put *put,
		     struct sett_error *error)
{
	if (s->status == SETT_OK)
		s->status = add(s, key, put);
	if (__builtin_expect(s->status != SETT_OK, 0) && error)
		*error = s->error;
	return s->status;
}

/* The load has the stream's tables, or its failure. */
static int
hand_over_locked(struct sett_bulk_stream *s) REQUIRES(&s->load->lock)
{
	struct sett_bulk_load *load = s->load;
	if (s->status == SETT_OK && s->count > 0) {
		void *grown = reallocarray(load->tables, load->count + s->count, sizeof(*load->tables));
		if (grown) {
			load->tables = grown;
			memcpy(load->tables + load->count, s->tables, s->count * sizeof(*s->tables));
			load->count += s->count;
			s->count = 0;
		} else {
			s->status = out_of_memory(&s->error);
		}
	}
	if (s->status != SETT_OK && load->status == SETT_OK) {
		load->status = s->status;
		load->error = s->error;
	}
	assert(load->open_streams > 0);
	load->open_streams--;
	return s->status;
}

int
sett_bulk_stream_close(struct sett_bulk_stream *s, struct sett_error *error)
{
	if (!s)
		return SETT_OK;
	if (s->status == SETT_OK)
		s->status = end_table(s);
	if (s->status == SETT_OK && s->values)
		s->status = value_log_writer_finish(s->values, &s->error);
	if (s->values)
		value_log_writer_destroy(s->values);
	table_builder_destroy(s->builder);
	if (s->file)
		(void)vfs_close(s->file, NULL); /* of a table that is not to be */
	mutex_lock(&s->load->lock);
	int r = hand_over_locked(s);
	mutex_unlock(&s->load->lock);
	if (r != SETT_OK && error)
		*error = s->error;
	free_tables(s->tables, s->count);
	buffer_free(&s->entry);
	free(s);
	return r;
}
