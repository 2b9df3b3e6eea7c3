/* Writing to the value log: many threads to the commits' active file, or one GC job to files of its own.
 * (Bodies that come in pieces: body_writer.c.)
 *
 * Commits: reserve a range of the active file under a short lock, write outside of it with one vectored call.
 * Ranges don't overlap, so any number of threads write at once; a reservation in flight and the references of
 * its pointers keep the file from being sealed or removed (I9). A write that fails leaves a hole that nothing
 * points into (or takes the range back, if it was the last), and hurts no one else.
 *
 * GC: records are gathered in a buffer and written when it is full. Each file keeps the job's reference until
 * the job is over; by then the tables that point into it hold their own, or nobody does and the file goes. */
#include "value_log.h"

#include <assert.h>

#include "value_log_ahead.h"
#include "value_log_pieces.h"

enum {
	BODIES_PER_WRITE = 256, /* three vector elements each */
	WRITER_BUFFER_SIZE = 1024 * 1024,
	COPY_BLOCK = 256 * 1024,       /* of memory for bodies being copied, */
	COPY_MEMORY = 2 * 1024 * 1024, /* in all, but for one body */
	RECORD_HEADER = VALUE_LOG_RECORD_HEADER_SIZE,
};

/* ---- commits ---- */

/* Retires the active file that is full and puts a new one in its place. */
static int
replace_active(struct value_log *log, struct sett_error *error)
{
	int status = SETT_OK;
	struct value_log_file *fresh;
	uint64_t retired = 0;
	mutex_lock(&log->create_lock);
	/* Only holders of create_lock change `active`; another may have been here before us. */
	mutex_lock(&log->lock);
	bool is_needed = log->active == NULL || log->active->size >= value_log_file_size(log);
	mutex_unlock(&log->lock);
	if (is_needed)
		status = value_log_create_file(log, 0, true, &fresh, error);
	if (is_needed && status == SETT_OK) {
		mutex_lock(&log->lock);
		if (log->active != NULL) {
			retired = log->active->number;
			log->active->retiring = true;
			value_log_seal_locked(log->active);
		}
		log->active = fresh;
		mutex_unlock(&log->lock);
	}
	mutex_unlock(&log->create_lock);
	if (retired != 0)
		value_log_remove_if_unused(log, retired);
	return status;
}

void
value_log_retire_active(struct value_log *log)
{
	uint64_t retired = 0;
	mutex_lock(&log->create_lock); /* only its holder changes `active` */
	mutex_lock(&log->lock);
	if (log->active != NULL && log->active->size > VALUE_LOG_FILE_HEADER_SIZE) {
		retired = log->active->number;
		log->active->retiring = true;
		value_log_seal_locked(log->active);
		log->active = NULL;
	}
	mutex_unlock(&log->lock);
	mutex_unlock(&log->create_lock);
	if (retired != 0)
		value_log_remove_if_unused(log, retired);
}

int
value_log_reserve(struct value_log *log, uint64_t total, size_t count, struct value_log_file **ret_file,
		  uint64_t *ret_offset, struct sett_error *error)
{
	/* Each round but the last means that others have filled a whole file meanwhile. */
	for (;;) {
		mutex_lock(&log->lock);
		struct value_log_file *file = log->active;
		if (file != NULL && file->size < value_log_file_size(log)) {
			assert(!file->sealed && !file->retiring);
			*ret_file = file;
			*ret_offset = file->size;
			__atomic_store_n(&file->size, file->size + total, __ATOMIC_RELEASE);
			file->references += count;
			file->in_flight++;
			mutex_unlock(&log->lock);
			return SETT_OK;
		}
		mutex_unlock(&log->lock);
		int status = replace_active(log, error);
		if (status != SETT_OK)
			return status;
	}
}

void
value_log_conclude(struct value_log *log, struct value_log_file *file, uint64_t offset, uint64_t total,
		   size_t count, bool is_written)
{
	uint64_t number = file->number;
	mutex_lock(&log->lock);
	assert(file->in_flight > 0 && !file->sealed && offset + total <= file->size);
	file->in_flight--;
	if (is_written) {
		value_log_mark_dirty_locked(log, file);
	} else {
		assert(file->references >= count);
		file->references -= count;
		if (file->size == offset + total && !file->retiring)
			__atomic_store_n(&file->size, offset, __ATOMIC_RELEASE);
	}
	value_log_seal_locked(file);
	bool is_unused = file->sealed && file->references == 0;
	mutex_unlock(&log->lock);
	if (is_unused)
		value_log_remove_if_unused(log, number);
}

/* How a body stands in the file: as it is, packed, or in pieces. */
struct payload {
	struct bytes bytes;
	struct bytes
		table; /* behind it, of the checksums of its pieces, or of seals; empty if it has neither */
	uint32_t flags;
	uint8_t *
		sealed; /* where it is encrypted to, with the seals behind it, once its place is known; NULL: never */
};

static uint64_t
stored_size(const struct payload *p)
{
	return RECORD_HEADER + p->bytes.size + p->table.size;
}

static void
encode_header(uint8_t header[RECORD_HEADER], uint64_t file, uint64_t offset, const struct payload *p)
{
	value_log_header_encode(header, file, offset, p->flags, p->bytes.size + p->table.size,
				p->table.size > 0 ? p->table : p->bytes);
}

/* Encrypts the payload for its place. Then what is not in pieces has its seal among its bytes, so that the checksum
 * covers both. */
static int
payload_seal(struct value_log *log, struct payload *p, uint64_t file, uint64_t offset,
	     struct sett_error *error)
{
	bool is_pieced = (p->flags & VALUE_LOG_PIECED) != 0;
	uint8_t *seals = p->sealed + p->bytes.size;
	int status =
		value_log_seal(log->options.vfs->keys, file, offset, p->bytes, is_pieced, p->sealed, seals);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "a value cannot be encrypted: %s",
				      sett_status_text(status));
	p->bytes = bytes_of(p->sealed, p->bytes.size + (is_pieced ? 0 : p->table.size));
	p->table = bytes_of(seals, is_pieced ? p->table.size : 0);
	return SETT_OK;
}

/* What making its payload takes of the scratch. */
static size_t
payload_room(const struct value_log *log, struct bytes body)
{
	size_t seals = log->seals ? body.size + (size_t)value_log_seals_size(body.size) : 0;
	if (value_log_is_pieced(body.size))
		return log->seals ? seals : (size_t)value_log_table_size(body.size);
	return seals +
		(log->options.compression == CODEC_RAW ? 0
						       : codec_bound(log->options.compression, body.size));
}

/* Leaves room for the payload and its seals. Packed, it is only taken if it is smaller with them than the body. */
static struct payload
payload_plan_seal(struct payload payload, struct bytes body, struct buffer *scratch)
{
	if (payload.flags != VALUE_LOG_PLAIN && payload.bytes.size + SEAL_SIZE >= body.size)
		payload = (struct payload){.bytes = body, .flags = VALUE_LOG_PLAIN};
	uint64_t seals = value_log_seals_size(body.size);
	payload.sealed = scratch->data + scratch->size;
	payload.table = bytes_of(payload.sealed + payload.bytes.size, (size_t)seals);
	payload.flags |= VALUE_LOG_SEALED | (value_log_is_pieced(body.size) ? VALUE_LOG_PIECED : 0);
	scratch->size += payload.bytes.size + (size_t)seals;
	return payload;
}

/* What is made is put behind what `scratch` holds, which has room. The body stays as it is if packing saves
 * too little. */
static struct payload
payload_make(struct value_log *log, struct bytes body, struct buffer *scratch)
{
	enum codec codec = log->options.compression;
	struct payload payload = {.bytes = body, .flags = VALUE_LOG_PLAIN};
	assert(scratch->capacity - scratch->size >= payload_room(log, body));
	uint8_t *at = scratch->data ? scratch->data + scratch->size : NULL; /* it may have no room */
	size_t size = 0;
	if (log->seals && value_log_is_pieced(body.size)) {
		/* it has seals for checksums */
	} else if (value_log_is_pieced(body.size)) {
		size = (size_t)value_log_table_size(body.size);
		value_log_table_encode(body, at);
		payload = (struct payload){
			.bytes = body, .table = bytes_of(at, size), .flags = VALUE_LOG_PIECED};
	} else if (codec != CODEC_RAW) {
		size = codec_pool_pack(&log->codecs, codec, log->options.compression_level, body, at,
				       scratch->capacity - scratch->size);
		if (size > 0)
			payload = (struct payload){.bytes = bytes_of(at, size), .flags = codec};
	}
	scratch->size += size;
	assert(scratch->size <= scratch->capacity);
	return log->seals ? payload_plan_seal(payload, body, scratch) : payload;
}

struct payloads {
	const struct bytes *bodies;
	struct payload *made; /* of each body; NULL: all as they are */
	struct buffer scratch;
};

static struct payload
payload_at(const struct payloads *p, size_t i)
{
	return p->made != NULL ? p->made[i]
			       : (struct payload){.bytes = p->bodies[i], .flags = VALUE_LOG_PLAIN};
}

static int
payloads_make(struct value_log *log, const struct bytes *bodies, size_t count, struct payloads *ret)
{
	size_t room = 0;
	*ret = (struct payloads){.bodies = bodies};
	for (size_t i = 0; i < count; i++)
		room += payload_room(log, bodies[i]);
	if (room == 0)
		return SETT_OK;
	ret->made = calloc(count, sizeof(*ret->made));
	if (ret->made == NULL || buffer_reserve(&ret->scratch, room) != SETT_OK) {
		free(ret->made);
		return SETT_NO_MEMORY;
	}
	for (size_t i = 0; i < count; i++)
		ret->made[i] = payload_make(log, bodies[i], &ret->scratch);
	return SETT_OK;
}

static void
payloads_free(struct payloads *p)
{
	free(p->made);
	buffer_free(&p->scratch);
}

static void
add_to_vector(struct iovec *vector, int *used, struct bytes b)
{
	if (b.size > 0)
		vector[(*used)++] = (struct iovec){(void *)(uintptr_t)b.data, b.size};
}

static int
write_payloads(struct value_log *log, struct value_log_file *file, const struct payloads *payloads,
	       size_t count, uint64_t offset, struct sett_error *error)
{
	uint8_t headers[BODIES_PER_WRITE][RECORD_HEADER];
	struct iovec vector[3 * BODIES_PER_WRITE];
	for (size_t done = 0; done < count;) {
		uint64_t start = offset;
		int used = 0;
		for (size_t i = 0; i < BODIES_PER_WRITE && done < count; i++, done++) {
			struct payload p = payload_at(payloads, done);
			if (p.sealed != NULL) {
				int status = payload_seal(log, &p, file->number, offset, error);
				if (status != SETT_OK)
					return status;
			}
			encode_header(headers[i], file->number, offset, &p);
			add_to_vector(vector, &used, bytes_of(headers[i], RECORD_HEADER));
			add_to_vector(vector, &used, p.bytes);
			add_to_vector(vector, &used, p.table);
			offset += stored_size(&p);
		}
		assert(used >= 1 && used <= 3 * BODIES_PER_WRITE);
		int status = vfs_write(file->handle, vector, used, start, error);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* Reserves, writes, and fills the pointers. */
static int
write_reserved(struct value_log *log, const struct payloads *payloads, size_t count,
	       struct value_pointer *ret, struct sett_error *error)
{
	struct value_log_file *file;
	uint64_t offset, total = 0;
	for (size_t i = 0; i < count; i++) {
		struct payload p = payload_at(payloads, i);
		total += stored_size(&p);
	}
	int status = value_log_reserve(log, total, count, &file, &offset, error);
	if (status != SETT_OK)
		return status;
	uint64_t number = file->number;
	status = write_payloads(log, file, payloads, count, offset, error);
	value_log_conclude(log, file, offset, total, count, status == SETT_OK);
	if (status != SETT_OK)
		return status;
	__atomic_fetch_add(&log->bytes_written, total, __ATOMIC_RELAXED);
	for (size_t i = 0; i < count; i++) {
		struct payload p = payload_at(payloads, i);
		uint64_t stored = stored_size(&p);
		ret[i] = (struct value_pointer){number, offset, stored, payloads->bodies[i].size};
		offset += stored;
	}
	return SETT_OK;
}

int
value_log_write(struct value_log *log, const struct bytes *bodies, size_t count, struct value_pointer *ret,
		struct sett_error *error)
{
	struct payloads payloads;
	for (size_t i = 0; i < count; i++) {
		if (bodies[i].size > SETT_MAX_BODY_SIZE)
			return sett_error_set(error, SETT_TOO_LARGE, 0, "a value of %zu bytes",
					      bodies[i].size);
	}
	if (count == 0)
		return SETT_OK;
	int status = payloads_make(log, bodies, count, &payloads);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "out of memory for the value log");
	status = write_reserved(log, &payloads, count, ret, error);
	payloads_free(&payloads);
	return status;
}

/* ---- GC ---- */

struct value_log_writer {
	struct value_log *log;
	struct value_log_file *
		*files; /* made so far, each with the writer's reference; the last is written to */
	size_t count, capacity;
	struct buffer buffer;     /* records that follow the last file's size */
	struct buffer scratch;    /* of the payload being made */
	struct value_ahead ahead; /* files that GC wrote before are in key order */
	struct arena arena;       /* bodies being copied */
};

int
value_log_writer_create(struct value_log *log, struct value_log_writer **ret)
{
	struct value_log_writer *writer = calloc(1, sizeof(*writer));
	if (writer == NULL)
		return SETT_NO_MEMORY;
	writer->log = log;
	arena_init(&writer->arena, COPY_BLOCK);
	*ret = writer;
	return SETT_OK;
}

/* Appends to the last file what the vector holds. */
static int
writer_put(struct value_log_writer *writer, const struct iovec *vector, int count, uint64_t size,
	   struct sett_error *error)
{
	assert(writer->count > 0);
	struct value_log_file *file = writer->files[writer->count - 1];
	assert(!file->sealed);
	int status = vfs_write(file->handle, vector, count, file->size, error);
	if (status != SETT_OK)
		return status;
	vfs_begin_sync(file->handle, file->size, size); /* so that finish waits for little */
	__atomic_store_n(&file->size, file->size + size, __ATOMIC_RELEASE);
	__atomic_fetch_add(&writer->log->bytes_written, size, __ATOMIC_RELAXED);
	return SETT_OK;
}

static int
writer_flush(struct value_log_writer *writer, struct sett_error *error)
{
	if (writer->buffer.size == 0)
		return SETT_OK;
	assert(writer->buffer.size <= WRITER_BUFFER_SIZE);
	struct iovec vector = {writer->buffer.data, writer->buffer.size};
	int status = writer_put(writer, &vector, 1, writer->buffer.size, error);
	if (status == SETT_OK)
		buffer_clear(&writer->buffer);
	return status;
}

static int
writer_start_file(struct value_log_writer *writer, struct sett_error *error)
{
	if (writer->count == writer->capacity) {
		size_t capacity = writer->capacity ? 2 * writer->capacity : 4;
		void *grown = realloc(writer->files, capacity * sizeof(struct value_log_file *));
		if (grown == NULL)
			return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the value log");
		writer->files = grown;
		writer->capacity = capacity;
	}
	int status = writer_flush(writer, error);
	if (status == SETT_OK)
		status = value_log_create_file(writer->log, 1, false, &writer->files[writer->count], error);
	if (status == SETT_OK)
		writer->count++;
	return status;
}

/* Makes a file and the buffer ready for a record that takes `stored` bytes: one that is larger than the
 * buffer finds it empty. */
static int
writer_make_room(struct value_log_writer *writer, uint64_t stored, struct sett_error *error)
{
	if (writer->count == 0 ||
	    writer->files[writer->count - 1]->size + writer->buffer.size >= value_log_file_size(writer->log))
		return writer_start_file(writer, error);
	if (writer->buffer.size + stored > WRITER_BUFFER_SIZE)
		return writer_flush(writer, error);
	return SETT_OK;
}

int
value_log_writer_add(struct value_log_writer *writer, struct bytes body, struct value_pointer *ret,
		     struct sett_error *error)
{
	uint8_t header[RECORD_HEADER];
	if (body.size > SETT_MAX_BODY_SIZE)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "a value of %zu bytes", body.size);
	buffer_clear(&writer->scratch);
	if (buffer_reserve(&writer->scratch, payload_room(writer->log, body)) != SETT_OK)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the value log");
	struct payload p = payload_make(writer->log, body, &writer->scratch);
	uint64_t stored = stored_size(&p);
	int status = writer_make_room(writer, stored, error);
	if (status != SETT_OK)
		return status;

	struct value_log_file *file = writer->files[writer->count - 1];
	uint64_t offset = file->size + writer->buffer.size;
	if (p.sealed != NULL &&
	    (status = payload_seal(writer->log, &p, file->number, offset, error)) != SETT_OK)
		return status;
	encode_header(header, file->number, offset, &p);
	if (stored > WRITER_BUFFER_SIZE) {
		assert(writer->buffer.size == 0);
		struct iovec vector[3];
		int used = 0;
		add_to_vector(vector, &used, bytes_of(header, RECORD_HEADER));
		add_to_vector(vector, &used, p.bytes);
		add_to_vector(vector, &used, p.table);
		status = writer_put(writer, vector, used, stored, error);
	} else if (buffer_reserve(&writer->buffer, stored) == SETT_OK) {
		buffer_append(&writer->buffer, header, RECORD_HEADER); /* room is reserved */
		buffer_append(&writer->buffer, p.bytes.data, p.bytes.size);
		buffer_append(&writer->buffer, p.table.data, p.table.size);
	} else {
		status = sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the value log");
	}
	if (status == SETT_OK)
		*ret = (struct value_pointer){file->number, offset, stored, body.size};
	return status;
}

int
value_log_writer_copy(struct value_log_writer *writer, const struct value_pointer *from,
		      struct value_pointer *ret, struct sett_error *error)
{
	if (!value_log_is_pieced(from->body_size)) {
		struct bytes body;
		if (writer->arena.allocated >= COPY_MEMORY) {
			value_ahead_forget(&writer->ahead);
			arena_reset(&writer->arena);
		}
		int status = value_log_read_ahead(writer->log, &writer->ahead, from, 0, &writer->arena, &body,
						  error);
		return status == SETT_OK ? value_log_writer_add(writer, body, ret, error) : status;
	}
	int status = writer_make_room(writer, value_log_streamed_size(writer->log, from->body_size), error);
	if (status != SETT_OK)
		return status;
	struct value_log_file *file = writer->files[writer->count - 1];
	assert(from->stored_size > WRITER_BUFFER_SIZE && writer->buffer.size == 0);
	status = record_copy(writer->log, from, file, file->size, ret, error);
	if (status == SETT_OK)
		__atomic_store_n(&file->size, file->size + ret->stored_size, __ATOMIC_RELEASE);
	return status;
}

int
value_log_writer_finish(struct value_log_writer *writer, struct sett_error *error)
{
	struct value_log *log = writer->log;
	int status = writer_flush(writer, error);
	for (size_t i = 0; i < writer->count && status == SETT_OK; i++)
		status = vfs_sync(writer->files[i]->handle, error);
	if (status == SETT_OK && writer->count > 0)
		status = vfs_sync_directory(log->options.vfs, log->directory, error);
	if (status != SETT_OK)
		return status;
	mutex_lock(&log->lock);
	for (size_t i = 0; i < writer->count; i++) {
		assert(!writer->files[i]->sealed && writer->files[i]->references > 0);
		writer->files[i]->sealed = true;
	}
	mutex_unlock(&log->lock);
	return SETT_OK;
}

void
value_log_writer_destroy(struct value_log_writer *writer)
{
	if (writer == NULL)
		return;
	struct value_log *log = writer->log;
	for (size_t i = 0; i < writer->count; i++) {
		/* Also if the job failed: nothing is written to it any more. */
		mutex_lock(&log->lock);
		writer->files[i]->sealed = true;
		mutex_unlock(&log->lock);
		value_log_release_number(log, writer->files[i]->number);
	}
	free(writer->files);
	buffer_free(&writer->buffer);
	buffer_free(&writer->scratch);
	arena_free(&writer->arena);
	free(writer);
}
