/* Values that follow one another are read together.
 *
 * A run is a file and the place where the last value taken from it ends. A value that begins there, or a
 * little behind, is the next of the run: then the read goes on past it, twice as far as the last time, as
 * long as half of what the last one brought was asked for. Memory and transfer are thus at most about three
 * times what is used.
 *
 * Invariant: bytes read ahead are looked at only for values of the reader's snapshot. Those were in the file
 * before the snapshot was taken, so they are right in any later copy, though the file may still be growing.
 */
#include "value_log_ahead.h"

#include "value_log_private.h"

enum {
	GAP_MAX = 8 *
		1024, /* between a value and the next of its run, or the size of the value if that is more */
	STEP_MIN = 16 * 1024,
	STEP_MAX = 256 * 1024,
	VALUES_PER_STEP_MIN = 4,
};

static struct value_ahead_run *
run_of(struct value_ahead *ahead, uint64_t file)
{
	for (unsigned i = 0; i < VALUE_AHEAD_RUNS; i++)
		if (ahead->runs[i].file == file)
			return &ahead->runs[i];
	return NULL;
}

static bool
holds(const struct value_ahead_run *run, const struct value_pointer *pointer)
{
	return run->bytes && pointer->offset >= run->start && pointer->offset <= run->stop &&
		pointer->stored_size <= run->stop - pointer->offset && value_log_sizes_fit(pointer);
}

static bool
is_next(const struct value_ahead_run *run, const struct value_pointer *pointer)
{
	uint64_t gap = pointer->stored_size > GAP_MAX ? pointer->stored_size : GAP_MAX;
	return pointer->offset >= run->end && pointer->offset - run->end <= gap;
}

/* Half of what was read ahead last was asked for. */
static bool
paid_off(const struct value_ahead_run *run)
{
	return run->step > 0 && (!run->bytes || 2 * run->used >= run->stop - run->start);
}

void
value_ahead_forget(struct value_ahead *ahead)
{
	for (unsigned i = 0; i < VALUE_AHEAD_RUNS; i++) {
		struct value_ahead_run *run = &ahead->runs[i];
		if (!paid_off(run))
			run->step = 0;
		run->bytes = NULL;
	}
}

/* How much to read from the start of `pointer`'s record; its size alone if it does not look worth more. */
static uint64_t
choose_step(struct value_ahead_run *run, const struct value_pointer *pointer, uint64_t file_size)
{
	uint64_t least = pointer->stored_size * VALUES_PER_STEP_MIN;
	if (least < STEP_MIN)
		least = STEP_MIN;
	run->step = paid_off(run) ? 2 * run->step : least;
	if (run->step > STEP_MAX)
		run->step = STEP_MAX;
	uint64_t size = run->step > pointer->stored_size ? run->step : pointer->stored_size;
	uint64_t left = file_size - pointer->offset;
	return size < left ? size : left;
}

/* Reads from the record on; whether that brought the record. */
static bool
fetch(struct value_log *log, struct value_ahead_run *run, const struct value_pointer *pointer, unsigned flags,
      struct arena *arena)
{
	struct value_log_file *file;
	if (value_log_locate(log, pointer, &file, NULL) != SETT_OK)
		return false;
	size_t got, size = (size_t)choose_step(run, pointer, __atomic_load_n(&file->size, __ATOMIC_ACQUIRE));
	uint8_t *bytes = arena_allocate(arena, size, 8);
	if (!bytes || vfs_read(file->handle, bytes, size, pointer->offset, flags, &got, NULL) != SETT_OK)
		return false;
	run->start = pointer->offset;
	run->stop = pointer->offset + got;
	run->bytes = bytes;
	run->used = 0;
	return holds(run, pointer);
}

static int
no_memory(const struct arena *arena, struct sett_error *error)
{
	if (arena->limit != 0 && arena->allocated >= arena->limit)
		return sett_error_set(error, SETT_NO_MEMORY, 0,
				      "what one transaction has read takes more than the %zu bytes of memory "
				      "that it may take",
				      arena->limit);
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a value");
}

/* The record at its place in the run. */
static int
take(struct value_log *log, struct value_ahead_run *run, const struct value_pointer *pointer,
     struct arena *arena, struct bytes *ret, struct sett_error *error)
{
	enum { HEADER = VALUE_LOG_RECORD_HEADER_SIZE };
	const uint8_t *record = run->bytes + (pointer->offset - run->start);
	struct bytes body = bytes_of(record + HEADER, (size_t)pointer->stored_size - HEADER);
	enum codec encoding;
	int r = value_log_check(log, pointer, record, body, &encoding, error);
	if (r == SETT_OK && (get_le32(record + 12) & VALUE_LOG_SEALED)) {
		/* Not in its place: it may be asked for again. */
		uint8_t *clear = arena_allocate(arena, body.size, 1);
		r = clear ? value_log_decrypt(log, pointer, record, body, clear, &body, error)
			  : no_memory(arena, error);
	}
	if (r == SETT_OK && encoding != CODEC_RAW) {
		uint8_t *unpacked = arena_allocate(arena, (size_t)pointer->body_size, 1);
		r = unpacked ? value_log_unpack(log, pointer, encoding, body, unpacked, error)
			     : no_memory(arena, error);
		body = bytes_of(unpacked, (size_t)pointer->body_size);
	}
	if (r != SETT_OK)
		return r;
	run->used += pointer->stored_size;
	run->end = pointer->offset + pointer->stored_size;
	*ret = body;
	return SETT_OK;
}

static int
read_alone(struct value_log *log, struct value_ahead *ahead, const struct value_pointer *pointer,
	   unsigned flags, struct arena *arena, struct bytes *ret, struct sett_error *error)
{
	uint8_t *body = arena_allocate(arena, (size_t)pointer->body_size, 1);
	if (!body)
		return no_memory(arena, error);
	int r = value_log_read_into(log, pointer, ahead->counts_misses ? flags | VFS_NOWAIT : flags, body,
				    error);
	if (r == SETT_WOULD_BLOCK && ahead->counts_misses && !(flags & VFS_NOWAIT)) {
		ahead->misses++;
		r = value_log_read_into(log, pointer, flags, body, error);
	}
	if (r == SETT_OK)
		*ret = bytes_of(body, (size_t)pointer->body_size);
	return r;
}

int
value_log_read_ahead(struct value_log *log, struct value_ahead *ahead, const struct value_pointer *pointer,
		     unsigned flags, struct arena *arena, struct bytes *ret, struct sett_error *error)
{
	struct value_ahead_run *run = run_of(ahead, pointer->file);
	if (value_log_is_pieced(pointer->body_size)) /* large enough by itself */
		return read_alone(log, ahead, pointer, flags, arena, ret, error);
	if (run && holds(run, pointer))
		return take(log, run, pointer, arena, ret, error);
	if (run && is_next(run, pointer) && fetch(log, run, pointer, flags, arena))
		return take(log, run, pointer, arena, ret, error);
	/* Scattered; or what follows is not in memory, or cannot be read: which is no failure of this value.
	 */
	int r = read_alone(log, ahead, pointer, flags, arena, ret, error);
	if (r != SETT_OK)
		return r;
	if (!run) {
		run = &ahead->runs[ahead->next];
		ahead->next = (ahead->next + 1) % VALUE_AHEAD_RUNS;
	}
	*run = (struct value_ahead_run){.file = pointer->file, .end = pointer->offset + pointer->stored_size};
	return SETT_OK;
}
