/* The value log: its files, the references on them, reading and syncing. (Writing: value_log_writer.c;
 * in pieces: value_log_pieces.c.)
 *
 * A file's life:   active --full--> retiring --nothing in flight--> sealed --no reference--> removed
 *
 * Invariants:
 *   1. A file goes only when it is sealed, has no reference and nothing in flight (I9). References stand for
 *      pointers: a reservation has one for each, which its transaction hands on to the memtable; open tables
 *      hold their own. File numbers are never used twice, so a stale number finds nothing rather than another
 *      file.
 *   2. value_log_sync covers every write that returned before it, and the directory entry of every new file
 *      (I10). After a failed sync it fails for good: what the failed one dropped is unknown.
 *   3. Files found at opening are synced by the first value_log_sync (a killed process leaves values in the
 *      page cache alone) and are not removed before value_log_remove_unreferenced: until recovery is through,
 *      a log record not yet replayed may point at them.
 *   4. A value is returned only if its checksum, which covers its place, is right.
 *
 * Readers hold a reference through their snapshot, so a file can't be closed while they read it; what they
 * need protection for is the table that maps numbers to files. Threads that are online with rcu.h probe it
 * without a lock, others take the lock for the look-up.
 *
 * Lock order: create_lock or sync_lock, then lock. */
#include "value_log.h"

#include <assert.h>

#include "value_log_pieces.h"

enum {
	TABLE_INITIAL = 64,      /* slots; a power of two */
	LEAST_FILE = 1 << 20,    /* bytes that a file is to hold at least; */
	FILES_OF_TINY_LOG = 16,  /* from there on about so many files, up to */
	SMALL_FILE = 16 << 20,   /* bytes in each, */
	FILES_OF_SMALL_LOG = 64, /* and from there on about so many */
	SMALL_READ = 4096,       /* records up to this size are read with one call into the stack */
};

/* ---- from numbers to files ---- */

static size_t
slot_of(uint64_t number, size_t capacity)
{
	return (size_t)((number * 0x9e3779b97f4a7c15ULL) >> 32) & (capacity - 1);
}

/* Under the lock, or online with rcu.h. NULL if there is no such file. */
static struct value_log_file *
table_find(const struct file_table *table, uint64_t number)
{
	if (table == NULL || number == 0)
		return NULL;
	size_t at = slot_of(number, table->capacity);
	for (size_t probes = 0; probes < table->capacity; probes++) {
		const struct file_slot *slot = &table->slots[at];
		uint64_t found = __atomic_load_n(&slot->number, __ATOMIC_ACQUIRE);
		if (found == number)
			return __atomic_load_n(&slot->file, __ATOMIC_ACQUIRE);
		if (found == 0)
			return NULL;
		at = (at + 1) & (table->capacity - 1);
	}
	return NULL;
}

/* The table has a free slot. The file is stored last: a reader that sees the number alone finds nothing. */
static void
table_put(struct file_table *table, struct value_log_file *file)
{
	assert(file->number != 0 && 2 * table->used < table->capacity + 1);
	size_t at = slot_of(file->number, table->capacity);
	while (table->slots[at].number != 0)
		at = (at + 1) & (table->capacity - 1);
	__atomic_store_n(&table->slots[at].number, file->number, __ATOMIC_RELEASE);
	__atomic_store_n(&table->slots[at].file, file, __ATOMIC_RELEASE);
	table->used++;
}

static void
table_free(struct rcu_deferred *deferred)
{
	free(deferred); /* the table's first member */
}

/* Makes room for one more file: a new table without the slots of removed files. */
static int
table_reserve_locked(struct value_log *log) REQUIRES(&log->lock)
{
	assert(mutex_is_mine(&log->lock));
	struct file_table *old = log->table;
	if (old != NULL && 2 * (old->used + 1) <= old->capacity)
		return SETT_OK;
	size_t capacity = TABLE_INITIAL;
	while (capacity < 4 * (log->file_count + 1))
		capacity *= 2;
	struct file_table *table = calloc(1, sizeof(*table) + capacity * sizeof(struct file_slot));
	if (table == NULL)
		return SETT_NO_MEMORY;
	table->capacity = capacity;
	for (size_t i = 0; i < log->file_count; i++)
		table_put(table, log->files[i]);
	rcu_publish(log->table, table);
	if (old != NULL)
		rcu_defer(&old->deferred, table_free);
	return SETT_OK;
}

static uint64_t
file_size_for(const struct value_log *log, uint64_t total)
{
	uint64_t tiny = total / FILES_OF_TINY_LOG, small = total / FILES_OF_SMALL_LOG;
	uint64_t size = small > SMALL_FILE ? small : tiny < SMALL_FILE ? tiny : SMALL_FILE;
	if (size < LEAST_FILE)
		size = LEAST_FILE;
	return size < log->options.file_size ? size : log->options.file_size;
}

static void
choose_file_size_locked(struct value_log *log) REQUIRES(&log->lock)
{
	assert(mutex_is_mine(&log->lock));
	uint64_t total = 0;
	for (size_t i = 0; i < log->file_count; i++)
		total += __atomic_load_n(&log->files[i]->size, __ATOMIC_RELAXED); /* some are being written */
	/* relaxed: the number stands for itself */
	__atomic_store_n(&log->file_size, file_size_for(log, total), __ATOMIC_RELAXED);
}

uint64_t
value_log_file_size(struct value_log *log)
{
	return __atomic_load_n(&log->file_size, __ATOMIC_RELAXED);
}

static int
enter_locked(struct value_log *log, struct value_log_file *file) REQUIRES(&log->lock)
{
	assert(mutex_is_mine(&log->lock));
	if (log->file_count == log->file_capacity) {
		size_t capacity = log->file_capacity ? 2 * log->file_capacity : 16;
		struct value_log_file **grown = realloc(log->files, capacity * sizeof(file));
		if (grown == NULL)
			return SETT_NO_MEMORY;
		log->files = grown;
		log->file_capacity = capacity;
	}
	int status = table_reserve_locked(log);
	if (status != SETT_OK)
		return status;
	size_t at = log->file_count++;
	for (; at > 0 && log->files[at - 1]->number > file->number; at--)
		log->files[at] = log->files[at - 1];
	log->files[at] = file;
	table_put(log->table, file);
	choose_file_size_locked(log);
	return SETT_OK;
}

static void
unlink_dirty(struct value_log_file **list, const struct value_log_file *file)
{
	for (; *list != NULL; list = &(*list)->next_dirty) {
		if (*list == file) {
			*list = file->next_dirty;
			return;
		}
	}
}

static void
leave_locked(struct value_log *log, struct value_log_file *file) REQUIRES(&log->lock)
{
	assert(file->references == 0 && file->in_flight == 0 && file->sealed);
	assert(mutex_is_mine(&log->lock));
	size_t at = slot_of(file->number, log->table->capacity);
	while (log->table->slots[at].number != file->number)
		at = (at + 1) & (log->table->capacity - 1);
	__atomic_store_n(&log->table->slots[at].file, NULL, __ATOMIC_RELEASE);

	size_t low = 0, high = log->file_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (log->files[middle]->number < file->number)
			low = middle + 1;
		else
			high = middle;
	}
	assert(log->files[low] == file);
	log->file_count--;
	memmove(log->files + low, log->files + low + 1, (log->file_count - low) * sizeof(file));

	if (file->dirty) {
		unlink_dirty(&log->dirty, file);
		unlink_dirty(&log->syncing, file);
	}
}

static struct value_log_file *
find(struct value_log *log, uint64_t number)
{
	if (rcu_thread_is_online())
		return table_find(rcu_read(log->table), number);
	mutex_lock(&log->lock);
	struct value_log_file *file = table_find(log->table, number);
	mutex_unlock(&log->lock);
	return file;
}

/* ---- making and removing files ---- */

static int
no_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the value log");
}

int
value_log_create_file(struct value_log *log, uint64_t references, bool by_commits,
		      struct value_log_file **ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	uint8_t header[VALUE_LOG_FILE_HEADER_SIZE];
	uint64_t number;
	int status = log->options.next_file_number(log->options.next_file_number_arg, &number, error);
	if (status != SETT_OK)
		return status;
	if (file_name_make(log->directory, number, VALUE_LOG_SUFFIX, path) != SETT_OK)
		return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", log->directory);
	struct value_log_file *file = calloc(1, sizeof(*file));
	if (file == NULL)
		return no_memory(error);
	file->log = log;
	file->number = number;
	file->size = VALUE_LOG_FILE_HEADER_SIZE;
	file->references = references;
	file->written_by_commits = by_commits;
	value_log_file_header_encode(header, number);
	status = vfs_open(log->options.vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_CLOSABLE,
			  &file->handle, error);
	if (status != SETT_OK) {
		free(file);
		return status;
	}
	status = vfs_write_bytes(file->handle, header, sizeof(header), 0, error);
	if (status == SETT_OK) {
		mutex_lock(&log->lock);
		status = enter_locked(log, file);
		if (status == SETT_OK && by_commits)
			log->directory_dirty = true;
		mutex_unlock(&log->lock);
		if (status != SETT_OK)
			no_memory(error);
	}
	if (status != SETT_OK) {
		vfs_close(file->handle, NULL);
		vfs_remove(log->options.vfs, path, NULL); /* if it stays, it is found without references */
		free(file);
		return status;
	}
	*ret = file;
	return SETT_OK;
}

void
value_log_seal_locked(struct value_log_file *file)
{
	if (file->retiring && file->in_flight == 0)
		file->sealed = true;
}

void
value_log_mark_dirty_locked(struct value_log *log, struct value_log_file *file)
{
	assert(mutex_is_mine(&log->lock));
	if (file->dirty)
		return;
	file->dirty = true;
	file->next_dirty = log->dirty;
	log->dirty = file;
}

/* Takes the file out if nothing needs it. */
static struct value_log_file *
take_if_unused_locked(struct value_log *log, uint64_t number) REQUIRES(&log->lock)
{
	assert(mutex_is_mine(&log->lock));
	struct value_log_file *file = table_find(log->table, number);
	if (log->keeping || file == NULL || !file->sealed || file->is_kept || file->references > 0 ||
	    file->in_flight > 0)
		return NULL;
	leave_locked(log, file);
	return file;
}

static int
erase(struct value_log *log, struct value_log_file *file, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	int status = file_name_make(log->directory, file->number, VALUE_LOG_SUFFIX, path);
	vfs_close(file->handle, NULL);
	free(file);
	return status == SETT_OK ? vfs_remove(log->options.vfs, path, error) : status;
}

static void
erase_or_warn(struct rcu_deferred *deferred)
{
	struct value_log_file *file = (struct value_log_file *)deferred;
	struct value_log *log = file->log;
	struct sett_error error = {0};
	uint64_t number = file->number;
	/* If it stays on the disk, the next opening finds it without references. */
	if (erase(log, file, &error) != SETT_OK)
		log_sink_printf(&log->options.sink, LOG_LEVEL_WARNING,
				"value log: file %06" PRIu64 " could not be removed: %s", number,
				error.message);
}

void
value_log_remove_if_unused(struct value_log *log, uint64_t number)
{
	mutex_lock(&log->lock);
	struct value_log_file *file = take_if_unused_locked(log, number);
	mutex_unlock(&log->lock);
	if (file == NULL)
		return;
	/* relaxed: the number stands for itself */
	__atomic_add_fetch(&log->removed, file->size, __ATOMIC_RELAXED);
	/* Removing a file can take the disk a tenth of a second: not on a thread that serves others. */
	if (rcu_thread_is_online())
		rcu_defer(&file->deferred, erase_or_warn);
	else
		erase_or_warn(&file->deferred);
}

/* ---- references ---- */

int
value_log_retain_number(struct value_log *log, uint64_t number)
{
	mutex_lock(&log->lock);
	struct value_log_file *file = table_find(log->table, number);
	if (file != NULL)
		file->references++;
	mutex_unlock(&log->lock);
	return file != NULL ? SETT_OK : SETT_NOT_FOUND;
}

void
value_log_release_number(struct value_log *log, uint64_t number)
{
	mutex_lock(&log->lock);
	struct value_log_file *file = table_find(log->table, number);
	assert(file != NULL && file->references > 0);
	bool last = --file->references == 0 && file->sealed;
	mutex_unlock(&log->lock);
	if (last)
		value_log_remove_if_unused(log, number);
}

void
value_log_keep_files(struct value_log *log)
{
	mutex_lock(&log->lock);
	log->keeping = true;
	mutex_unlock(&log->lock);
}

int
value_log_remove_unreferenced(struct value_log *log, struct sett_error *error)
{
	int status = SETT_OK;
	uint64_t after = 0;
	for (;;) {
		struct value_log_file *taken = NULL;
		mutex_lock(&log->lock);
		for (size_t i = 0; i < log->file_count && taken == NULL; i++) {
			struct value_log_file *file = log->files[i];
			if (file->number <= after)
				continue;
			after = file->number;
			file->is_kept = false;
			taken = take_if_unused_locked(log, after);
		}
		mutex_unlock(&log->lock);
		if (taken == NULL)
			return status;
		int result = erase(log, taken, status == SETT_OK ? error : NULL);
		if (status == SETT_OK)
			status = result;
	}
}

/* ---- syncing ---- */

/* The next file of the round, pinned; NULL at its end. Its mark goes before the sync: a write that returns
 * later marks it again, for the next round. */
static struct value_log_file *
next_to_sync(struct value_log *log)
{
	mutex_lock(&log->lock);
	struct value_log_file *file = log->syncing;
	if (file != NULL) {
		log->syncing = file->next_dirty;
		file->dirty = false;
		file->in_flight++;
	}
	mutex_unlock(&log->lock);
	return file;
}

static void
unpin(struct value_log *log, struct value_log_file *file)
{
	uint64_t number = file->number;
	mutex_lock(&log->lock);
	file->in_flight--;
	value_log_seal_locked(file);
	mutex_unlock(&log->lock);
	value_log_remove_if_unused(log, number);
}

static int
sync_round(struct value_log *log, struct sett_error *error)
{
	mutex_lock(&log->lock);
	bool directory = log->directory_dirty;
	log->directory_dirty = false;
	log->syncing = log->dirty;
	log->dirty = NULL;
	mutex_unlock(&log->lock);

	int status = SETT_OK;
	struct value_log_file *file;
	while (status == SETT_OK && (file = next_to_sync(log)) != NULL) {
		status = vfs_sync(file->handle, error);
		unpin(log, file);
	}
	if (status == SETT_OK && directory)
		status = vfs_sync_directory(log->options.vfs, log->directory, error);
	return status;
}

int
value_log_sync(struct value_log *log, struct sett_error *error)
{
	int status = SETT_OK;
	mutex_lock(&log->sync_lock);
	if (!log->sync_failed) {
		struct sett_error cause = {0};
		status = sync_round(log, &cause);
		if (status != SETT_OK) {
			log->sync_failed = true;
			sett_error_set(&log->sync_failure, SETT_IO, cause.system_errno,
				       "value log: sync failed: %s", cause.message);
		}
	}
	if (log->sync_failed) {
		status = SETT_IO;
		if (error != NULL)
			*error = log->sync_failure;
	}
	mutex_unlock(&log->sync_lock);
	return status;
}

/* ---- reading ---- */

int
value_log_refuse(const struct value_log *log, const struct value_pointer *pointer, int status,
		 const char *what, struct sett_error *error)
{
	return sett_error_set(error, status, 0, "%s/%06" PRIu64 VALUE_LOG_SUFFIX " at offset %" PRIu64 ": %s",
			      log->directory, pointer->file, pointer->offset, what);
}

int
value_log_damaged(const struct value_log *log, const struct value_pointer *pointer, const char *what,
		  struct sett_error *error)
{
	return value_log_refuse(log, pointer, SETT_CORRUPT, what, error);
}

/* Reads header and payload: a small record with one call, by way of the stack. */
static int
read_record(struct vfs_file *handle, const struct value_pointer *pointer, unsigned flags,
	    uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE], uint8_t *ret, struct sett_error *error)
{
	enum { HEADER = VALUE_LOG_RECORD_HEADER_SIZE };
	if (pointer->stored_size <= SMALL_READ) {
		uint8_t record[SMALL_READ];
		int status =
			vfs_read_exact(handle, record, pointer->stored_size, pointer->offset, flags, error);
		if (status == SETT_OK) {
			memcpy(header, record, HEADER);
			if (pointer->stored_size > HEADER)
				memcpy(ret, record + HEADER, pointer->stored_size - HEADER);
		}
		return status;
	}
	int status = vfs_read_exact(handle, header, HEADER, pointer->offset, flags, error);
	if (status != SETT_OK)
		return status;
	return vfs_read_exact(handle, ret, pointer->stored_size - HEADER, pointer->offset + HEADER, flags,
			      error);
}

int
value_log_locate(struct value_log *log, const struct value_pointer *pointer, struct value_log_file **ret,
		 struct sett_error *error)
{
	struct value_log_file *file = find(log, pointer->file);
	if (file == NULL)
		return sett_error_set(error, SETT_NOT_FOUND, 0,
				      "%s/%06" PRIu64 VALUE_LOG_SUFFIX ": no such file", log->directory,
				      pointer->file);
	uint64_t size = __atomic_load_n(&file->size, __ATOMIC_ACQUIRE);
	if (!value_log_sizes_fit(pointer) || pointer->offset > size ||
	    pointer->stored_size > size - pointer->offset)
		return value_log_damaged(log, pointer, "the pointer is out of bounds", error);
	*ret = file;
	return SETT_OK;
}

int
value_log_check(const struct value_log *log, const struct value_pointer *pointer, const uint8_t *header,
		struct bytes payload, enum codec *ret, struct sett_error *error)
{
	if (!value_log_record_is_valid(header, pointer->file, pointer->offset, payload))
		return value_log_damaged(log, pointer, "the value's checksum is wrong", error);
	/* A body that is packed is smaller, by the rule of writers. */
	bool is_sealed = (get_le32(header + 12) & VALUE_LOG_SEALED) != 0;
	uint32_t encoding = get_le32(header + 12) & ~(uint32_t)VALUE_LOG_SEALED;
	if (!is_sealed && !vfs_takes_plain(log->options.vfs))
		return value_log_damaged(log, pointer, "the value is not encrypted, though the database is",
					 error);
	bool has_room = pointer->stored_size == value_log_sealed_size(pointer->body_size);
	if (encoding >= CODEC_KINDS || (encoding != VALUE_LOG_PLAIN) != value_log_is_packed(pointer) ||
	    (encoding == VALUE_LOG_PLAIN && is_sealed != has_room))
		return value_log_damaged(log, pointer, "the value's encoding is unknown", error);
	*ret = (enum codec)encoding;
	return SETT_OK;
}

int
value_log_decrypt(const struct value_log *log, const struct value_pointer *pointer, const uint8_t *header,
		  struct bytes payload, uint8_t *to, struct bytes *ret, struct sett_error *error)
{
	const char *why = "";
	if (payload.size < SEAL_SIZE)
		return value_log_damaged(log, pointer, "the value's encryption is unknown", error);
	struct bytes sealed = bytes_of(payload.data, payload.size - SEAL_SIZE);
	struct seal_place place = value_log_place(pointer->file, pointer->offset, 0);
	int status = seal_open(log->options.vfs->keys, &place, sealed, bytes_end(sealed), to, &why);
	if (status == SETT_OK)
		*ret = bytes_of(to, sealed.size);
	return status == SETT_OK ? status : value_log_refuse(log, pointer, status, why, error);
}

int
value_log_unpack(struct value_log *log, const struct value_pointer *pointer, enum codec encoding,
		 struct bytes payload, uint8_t *ret, struct sett_error *error)
{
	int status = codec_pool_unpack(&log->codecs, encoding, payload, ret, (size_t)pointer->body_size);
	if (status == SETT_CORRUPT)
		return value_log_damaged(log, pointer, "the value does not unpack", error);
	return status == SETT_OK ? status : no_memory(error);
}

static int
read_checked(struct value_log *log, struct value_log_file *file, const struct value_pointer *pointer,
	     unsigned flags, uint8_t *ret, struct sett_error *error)
{
	uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE];
	enum codec encoding;
	size_t size = (size_t)pointer->stored_size - sizeof(header);
	/* Packed bodies come by way of a buffer of their own, and so do those that stand before a seal. */
	bool is_other = size != pointer->body_size, is_small = size <= SMALL_READ;
	uint8_t room[SMALL_READ];
	uint8_t *packed = is_other && !is_small ? malloc(size + 1) : NULL;
	if (is_other && !is_small && packed == NULL)
		return no_memory(error);
	uint8_t *at = !is_other ? ret : is_small ? room : packed;
	int status = read_record(file->handle, pointer, flags, header, at, error);
	if (status == SETT_OK)
		status = value_log_check(log, pointer, header, bytes_of(at, size), &encoding, error);
	struct bytes body = bytes_of(at, size);
	if (status == SETT_OK && (get_le32(header + 12) & VALUE_LOG_SEALED)) {
		/* What is not packed goes to its place at once. */
		status = value_log_decrypt(log, pointer, header, body, encoding == CODEC_RAW ? ret : at,
					   &body, error);
	}
	if (status == SETT_OK && encoding != CODEC_RAW)
		status = value_log_unpack(log, pointer, encoding, body, ret, error);
	free(packed);
	return status;
}

int
value_log_read_into(struct value_log *log, const struct value_pointer *pointer, unsigned flags, uint8_t *ret,
		    struct sett_error *error)
{
	struct value_log_file *file;
	if (value_log_is_pieced(pointer->body_size))
		return value_log_read_part(log, pointer, 0, (size_t)pointer->body_size, flags, ret, error);
	int status = value_log_locate(log, pointer, &file, error);
	return status == SETT_OK ? read_checked(log, file, pointer, flags, ret, error) : status;
}

void
value_log_prefetch(struct value_log *log, const struct value_pointer *pointer)
{
	struct value_log_file *file;
	if (value_log_locate(log, pointer, &file, NULL) == SETT_OK)
		vfs_prefetch(file->handle, pointer->offset, pointer->stored_size);
}

int
value_log_read(struct value_log *log, const struct value_pointer *pointer, unsigned flags, struct buffer *ret,
	       struct sett_error *error)
{
	struct value_log_file *file;
	int status = value_log_locate(log, pointer, &file, error);
	if (status != SETT_OK)
		return status;
	/* One byte more, so that an empty body has an address too. */
	if (buffer_reserve(ret, pointer->body_size + 1) != SETT_OK)
		return no_memory(error);
	status = value_log_read_into(log, pointer, flags, ret->data + ret->size, error);
	if (status == SETT_OK)
		ret->size += pointer->body_size;
	return status;
}

/* ---- figures ---- */

void
value_log_each_file(struct value_log *log, void (*each)(void *arg, const struct value_log_file_info *),
		    void *arg)
{
	mutex_lock(&log->lock);
	for (size_t i = 0; i < log->file_count; i++) {
		const struct value_log_file *file = log->files[i];
		struct value_log_file_info info = {
			.number = file->number,
			.size = __atomic_load_n(&file->size, __ATOMIC_RELAXED),
			.promised = file->promised,
			.sealed = file->sealed,
			.written_by_commits = file->written_by_commits,
		};
		each(arg, &info);
	}
	mutex_unlock(&log->lock);
}

static void
add_size(void *arg, const struct value_log_file_info *info)
{
	*(uint64_t *)arg += info->size;
}

uint64_t
value_log_total_bytes(struct value_log *log)
{
	uint64_t total = 0;
	value_log_each_file(log, add_size, &total);
	return total;
}

uint64_t
value_log_removed_bytes(struct value_log *log)
{
	return __atomic_load_n(&log->removed, __ATOMIC_RELAXED);
}

uint64_t
value_log_bytes_written(struct value_log *log)
{
	return __atomic_load_n(&log->bytes_written, __ATOMIC_RELAXED);
}

/* ---- opening and closing ---- */

/* Refuses a file that an intact header says is none of this log's. A header that is torn or damaged passes: a
 * record proves itself without it, and no record that anyone points at has a torn header before it. */
static int
check_header(const struct value_log_file *file, const char *path, struct sett_error *error)
{
	uint8_t header[VALUE_LOG_FILE_HEADER_SIZE];
	uint32_t version;
	uint64_t number;
	if (file->size < sizeof(header))
		return SETT_OK;
	int status = vfs_read_exact(file->handle, header, sizeof(header), 0, 0, error);
	if (status != SETT_OK || !value_log_file_header_decode(header, &version, &number))
		return status;
	if (version != VALUE_LOG_VERSION)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s at offset 0: a value log of version %" PRIu32
				      "; this program reads version %d",
				      path, version, VALUE_LOG_VERSION);
	if (number != file->number)
		return sett_error_set(
			error, SETT_CORRUPT, 0,
			"%s at offset 0: the file has another file's name: it is number %" PRIu64, path,
			number);
	return SETT_OK;
}

struct adoption {
	struct value_log *log;
	struct sett_error *error;
};

static int
adopt_file(struct adoption *adoption, uint64_t number)
{
	struct value_log *log = adoption->log;
	char path[SETT_PATH_MAX];
	struct value_log_file *file = calloc(1, sizeof(*file));
	if (file == NULL)
		return no_memory(adoption->error);
	file->log = log;
	file->number = number;
	file->sealed = file->retiring = file->is_kept = true;
	int status = file_name_make(log->directory, number, VALUE_LOG_SUFFIX, path);
	if (status == SETT_OK)
		status = vfs_open(log->options.vfs, path, VFS_READ | VFS_CLOSABLE, &file->handle,
				  adoption->error);
	if (status != SETT_OK) {
		free(file);
		return status;
	}
	status = vfs_size(file->handle, &file->size, adoption->error);
	if (status == SETT_OK)
		status = check_header(file, path, adoption->error);
	mutex_lock(&log->lock);
	if (status == SETT_OK)
		status = enter_locked(log, file);
	if (status == SETT_OK) {
		value_log_mark_dirty_locked(log, file);
		log->directory_dirty = true;
	}
	mutex_unlock(&log->lock);
	if (status != SETT_OK) {
		vfs_close(file->handle, NULL);
		free(file);
	}
	return status;
}

static int
adopt(void *arg, const char *name)
{
	struct adoption *adoption = arg;
	const struct value_log_options *options = &adoption->log->options;
	uint64_t number;
	if (!file_name_parse(name, VALUE_LOG_SUFFIX, &number))
		return SETT_OK;
	int status = adopt_file(adoption, number);
	if (status == SETT_OK || status == SETT_NO_MEMORY || options->on_bad_file == NULL)
		return status;
	options->on_bad_file(options->on_bad_file_arg, number, adoption->error);
	*adoption->error = (struct sett_error){0};
	return SETT_OK;
}

int
value_log_open(const struct value_log_options *options, struct value_log **ret, struct sett_error *error)
{
	size_t length = strlen(options->directory);
	if (length >= SETT_PATH_MAX)
		return sett_error_set(error, SETT_INVALID, 0, "value log: the path is too long");
	struct value_log *log = calloc(1, sizeof(*log));
	if (log == NULL)
		return no_memory(error);
	log->options = *options;
	log->seals = vfs_seals(options->vfs);
	log->file_size = file_size_for(log, 0);
	memcpy(log->directory, options->directory, length + 1);
	log->options.directory = log->directory;
	mutex_init(&log->create_lock);
	mutex_init(&log->sync_lock);
	mutex_init(&log->lock);
	codec_pool_init(&log->codecs);
	struct sett_error why = {0};
	struct adoption adoption = {log, &why};
	int status = vfs_list(options->vfs, log->directory, adopt, &adoption, &why);
	if (status != SETT_OK) {
		value_log_close(log);
		return sett_error_set(error, status, why.system_errno, "%s",
				      why.message[0] ? why.message : "cannot open the value-log files");
	}
	*ret = log;
	return SETT_OK;
}

void
value_log_close(struct value_log *log)
{
	if (log == NULL)
		return;
	rcu_barrier_wait(); /* files that are being removed */
	for (size_t i = 0; i < log->file_count; i++) {
		vfs_close(log->files[i]->handle, NULL);
		free(log->files[i]);
	}
	free(log->files);
	free(log->table);
	mutex_destroy(&log->create_lock);
	mutex_destroy(&log->sync_lock);
	mutex_destroy(&log->lock);
	codec_pool_free(&log->codecs);
	free(log);
}
