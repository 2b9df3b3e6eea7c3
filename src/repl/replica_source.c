/* See replica_source.h. On the reactor, what is in memory becomes a piece at once; what lies in files is read by the pool.
 *
 *     waits      "\n" now and then
 *     syncs      "+FULLRESYNC id offset\r\n", unless it is an old one; then
 *                "$EOF:mark\r\n" the databases as they are made, mark         for those that take it
 *                "\n" ... "$size\r\n" the databases                           for the others, once they are made
 *     stream     from the moment of the databases on, or from where a partial sync goes on */
#include "repl/replica_source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "repl/full_sync.h"
#include "repl/private.h"

enum { LINE_MAX_SIZE = 160 };

struct replica_source {
	struct reply_source source; /* first: the two have one address */
	struct replica *replica;
	/* of the databases */
	bool said_place, said_size, with_mark;
	uint64_t sent;
	/* of the stream */
	struct history_place place; /* of a block in the file, for the pool */
	size_t place_size;
};

/* ---- the databases ---- */

static void put_line(struct resp_writer *piece, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void
put_line(struct resp_writer *piece, const char *format, ...)
{
	char line[LINE_MAX_SIZE];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	resp_raw(piece, line, (size_t)size);
}

static bool
put_empty_line(struct replica *replica, struct resp_writer *piece)
{
	if (!replica->wants_line)
		return false;
	replica->wants_line = false;
	resp_raw(piece, "\n", 1);
	return true;
}

/* All databases have left: what comes next. */
static enum source_state
end_databases(struct replica_source *s, struct replication *r, struct resp_writer *piece) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	struct replica *replica = s->replica;
	struct full_sync *sync = replica->sync;
	if (s->with_mark)
		resp_raw(piece, sync->mark, SYNC_MARK_SIZE);
	replica->sync = NULL;
	full_sync_leave(sync);
	replica->heard_ms = replication_now_ms(r);
	/* What comes behind a mark may not be read together with it: it waits for a word. */
	replica->state = s->with_mark || replica->only_databases ? REPLICA_SENT : REPLICA_ONLINE;
	if (replica->only_databases)
		replica->gone = "it asked for the databases alone, and has them";
	if (replica->state == REPLICA_ONLINE)
		log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE,
				"Synchronization with replica %s succeeded", replica->client->address);
	replicas_judge_locked(r);
	return piece->size > 0 ? SOURCE_PIECE : SOURCE_AGAIN;
}

static enum source_state
next_of_databases(struct replica_source *s, struct replication *r, struct resp_writer *piece)
	REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	struct replica *replica = s->replica;
	struct full_sync *sync = replica->sync;
	/* Acquire: partners of the releases in full_sync.c, the end first. */
	bool done = __atomic_load_n(&sync->done, __ATOMIC_ACQUIRE);
	uint64_t size = __atomic_load_n(&sync->size, __ATOMIC_ACQUIRE);
	if (!s->said_place) {
		s->said_place = true;
		s->with_mark = (replica->abilities & REPLICA_CAN_EOF) != 0 &&
			__atomic_load_n(&r->options.config->repl_diskless_sync, __ATOMIC_RELAXED);
		if (!replica->is_old)
			put_line(piece, "+FULLRESYNC %s %" PRIu64 "\r\n", sync->id, sync->offset);
	}
	if (__atomic_load_n(&sync->failed, __ATOMIC_RELAXED))
		return SOURCE_CLOSE;
	if (!s->said_size && (s->with_mark || done)) {
		s->said_size = true;
		if (s->with_mark)
			put_line(piece, "$EOF:%s\r\n", sync->mark);
		else
			put_line(piece, "$%" PRIu64 "\r\n", size);
	}
	if (piece->size > 0)
		return SOURCE_PIECE;
	if (!s->said_size)
		return put_empty_line(replica, piece) ? SOURCE_PIECE : SOURCE_NOTHING;
	if (s->sent < size)
		return SOURCE_ON_DISK;
	return done ? end_databases(s, r, piece) : SOURCE_NOTHING;
}

/* ---- the stream ---- */

static enum source_state
next_of_stream(struct replica_source *s, struct replication *r, struct resp_writer *piece) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	struct replica *replica = s->replica;
	struct history *h = &r->history;
	uint64_t bit = reactor_bit(replica->reactor);
	if (replica->offset + 1 < h->start)
		return SOURCE_CLOSE; /* it was too slow: the bytes are gone */
	/* First the wish to be called, then the look: partner of the fence in replication_on_progress. */
	__atomic_fetch_or(&r->held, bit, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint64_t safe = replication_safe_locked(r);
	while (replica->offset < safe && piece->size < REPLY_PIECE_SIZE && !piece->failed) {
		struct history_place place;
		size_t size = history_find(h, replica->offset, safe, &place);
		if (place.block != NULL && piece->size > 0) {
			history_release(h, &place);
			break;
		}
		if (place.block != NULL) {
			s->place = place;
			s->place_size = size;
			return SOURCE_ON_DISK;
		}
		resp_raw(piece, place.bytes.data, size);
		replica->offset += size;
	}
	s->source.remaining = h->end - replica->offset;
	if (safe == h->end)
		__atomic_fetch_and(&r->held, ~bit, __ATOMIC_RELAXED);
	return piece->size > 0 ? SOURCE_PIECE : SOURCE_NOTHING;
}

static enum source_state
at_hand(struct reply_source *source, struct resp_writer *piece)
{
	struct replica_source *s = (struct replica_source *)source;
	struct replica *replica = s->replica;
	struct replication *r = replica->replication;
	enum source_state state = SOURCE_AGAIN;
	mutex_lock(&r->lock);
	replica->took_ms = replication_now_ms(r);
	while (state == SOURCE_AGAIN) {
		if (replica->gone != NULL) {
			state = SOURCE_CLOSE;
		} else if (replica->state == REPLICA_WAITS) {
			replica_join_locked(replica);
			if (replica->state == REPLICA_WAITS)
				state = put_empty_line(replica, piece) ? SOURCE_PIECE : SOURCE_NOTHING;
		} else if (replica->state == REPLICA_SYNCS) {
			state = next_of_databases(s, r, piece);
			/* Bytes of the stream that wait for it count for its limit. */
			source->remaining = r->history.end - replica->offset;
		} else if (replica->state == REPLICA_ONLINE) {
			state = next_of_stream(s, r, piece);
		} else {
			source->remaining = r->history.end - replica->offset;
			state = SOURCE_NOTHING;
		}
	}
	mutex_unlock(&r->lock);
	return state;
}

/* ---- on the pool ---- */

static int
read_databases(struct replica_source *s, struct full_sync *sync, struct resp_writer *piece,
	       struct sett_error *error)
{
	uint64_t left = __atomic_load_n(&sync->size, __ATOMIC_ACQUIRE) - s->sent;
	size_t size = left < REPLY_PIECE_SIZE ? (size_t)left : REPLY_PIECE_SIZE, got;
	if (!resp_reserve(piece, size))
		return SETT_NO_MEMORY;
	int status = vfs_read(sync->file, piece->data + piece->size, size, s->sent, 0, &got, error);
	if (status == SETT_OK && got < size)
		status = sett_error_set(error, SETT_IO, 0, "the file of a full sync is too short");
	if (status != SETT_OK)
		return status;
	piece->size += got;
	s->sent += got;
	return SETT_OK;
}

static int
read_stream(struct replica_source *s, struct resp_writer *piece, struct sett_error *error)
{
	struct replication *r = s->replica->replication;
	int status = resp_reserve(piece, s->place_size) ? SETT_OK : SETT_NO_MEMORY;
	if (status == SETT_OK)
		status = history_read_file(&r->history, &s->place, piece->data + piece->size, s->place_size,
					   error);
	mutex_lock(&r->lock);
	history_release(&r->history, &s->place);
	if (status == SETT_OK) {
		piece->size += s->place_size;
		s->replica->offset += s->place_size;
	}
	mutex_unlock(&r->lock);
	s->place = (struct history_place){0};
	return status;
}

static int
next(struct reply_source *source, void *thread, struct resp_writer *piece, bool *ret_is_last,
     struct sett_error *error)
{
	struct replica_source *s = (struct replica_source *)source;
	struct replication *r = s->replica->replication;
	(void)thread;
	*ret_is_last = false;
	if (s->place.block != NULL)
		return read_stream(s, piece, error);
	mutex_lock(&r->lock);
	struct full_sync *sync = s->replica->sync; /* it leaves that by itself alone */
	mutex_unlock(&r->lock);
	int status = read_databases(s, sync, piece, error);
	mutex_lock(&r->lock);
	s->replica->took_ms = replication_now_ms(r); /* the disk's time is not its own */
	mutex_unlock(&r->lock);
	return status;
}

/* Of one whose socket is full, which therefore is not asked for more: what waits for it meanwhile counts for its limit, too. The
 * keeper asks all others each second. */
static const char *
limit(struct reply_source *source)
{
	struct replica *replica = ((struct replica_source *)source)->replica;
	struct replication *r = replica->replication;
	/* relaxed: it stands for itself */
	uint64_t timeout = (uint64_t)__atomic_load_n(&r->options.config->repl_timeout, __ATOMIC_RELAXED);
	mutex_lock(&r->lock);
	bool is_wanted = replica->gone == NULL && replica->state != REPLICA_SYNCS;
	bool is_stuck = !is_wanted && replication_now_ms(r) - replica->took_ms > timeout * MS_PER_SECOND;
	if (replica->state >= REPLICA_SYNCS)
		source->remaining = r->history.end - replica->offset;
	mutex_unlock(&r->lock);
	return is_stuck ? "repl-timeout" : NULL;
}

/* ---- its end ---- */

static void
close_source(struct reply_source *source)
{
	struct replica_source *s = (struct replica_source *)source;
	struct replication *r = s->replica->replication;
	mutex_lock(&r->lock);
	history_release(&r->history, &s->place);
	mutex_unlock(&r->lock);
	replica_end(s->replica);
	free(s);
}

struct reply_source *
replica_source_create(struct replica *replica)
{
	static const struct reply_source_operations operations = {
		.next = next, .at_hand = at_hand, .limit = limit, .close = close_source};
	struct replica_source *s = malloc(sizeof(*s));
	if (s != NULL)
		*s = (struct replica_source){.source = {.operations = &operations}, .replica = replica};
	return s != NULL ? &s->source : NULL;
}
