/* What a connection has yet to send, and how far it may be sent.
 *
 *     writer.data   |  sent already  |  may leave  |  waits for marks[0]  |  for marks[1]  | not stamped |
 *     position      base       base + sent     released              .end             .end    base + size
 *
 * Invariants:
 * - A byte leaves only when what every reply up to and with its own depends on has got to where it must be (I1): replies
 *   of one connection leave in order, so a reply that depends on less than the one before it joins its mark.
 * - A mark may want its timestamp on the disk while its neighbour wants it written. Two such marks that become one want
 *   the more of both.
 * - A client that pipelines without end gets its earlier replies: marks are released one by one, never only
 *   when all are. The queue has a fixed size; when it is full the newest mark takes the new reply in. That
 *   delays the replies under that one mark by at most one sync more, and releases of the older ones make
 *   room.
 * - A stream's bytes come behind those before its position and before those behind it. What follows it is of
 *   the same reply (its line end), so a stream may leave when its position has been passed by `released`.
 * - Positions count all bytes of the connection's life, so marks survive moves of the buffer. */
#include "net/output.h"

#include <assert.h>

#include <stdlib.h>
#include <string.h>

#include "storage/engine.h"

enum {
	OUTPUT_MOVE_MIN = 64 * 1024, /* sent bytes are worth closing the gap from here on */
	OUTPUT_SWAP_MIN = 16 * 1024, /* replies of this size change hands rather than being copied */
};

void
output_init(struct output *o)
{
	memset(o, 0, sizeof(*o));
	resp_writer_init(&o->writer, 2);
}

void
output_free(struct output *o)
{
	resp_writer_free(&o->writer);
	output_streams_free(o->streams);
	o->streams = NULL;
}

/* ---- streams ---- */

struct output_stream *
output_stream_create(struct reply_source *source, uint64_t position)
{
	struct output_stream *stream = malloc(sizeof(*stream));
	if (stream == NULL)
		return NULL;
	*stream = (struct output_stream){.position = position, .source = source};
	return stream;
}

struct output_stream *
output_streams_reverse(struct output_stream *stream)
{
	struct output_stream *reversed = NULL;
	while (stream != NULL) {
		struct output_stream *next = stream->next;
		stream->next = reversed;
		reversed = stream;
		stream = next;
	}
	return reversed;
}

void
output_streams_free(struct output_stream *stream)
{
	while (stream != NULL) {
		struct output_stream *next = stream->next;
		if (stream->source != NULL)
			stream->source->operations->close(stream->source);
		free(stream);
		stream = next;
	}
}

void
output_add_streams(struct output *o, struct output_stream *streams, uint64_t start)
{
	struct output_stream **end = &o->streams;
	while (*end != NULL)
		end = &(*end)->next;
	*end = streams;
	for (; streams != NULL; streams = streams->next)
		streams->position += start;
}

void
output_finish_stream(struct output *o)
{
	assert(o->streams != NULL);
	struct output_stream *done = o->streams;
	o->streams = done->next;
	done->next = NULL;
	output_streams_free(done);
}

/* ---- marks ---- */

/* What covers both. */
static enum durability
stronger(enum durability a, enum durability b)
{
	if (a == b)
		return a;
	return a == DURABILITY_SYNC || b == DURABILITY_SYNC ? DURABILITY_SYNC : DURABILITY_DEFAULT;
}

/* The first mark becomes part of the second. */
static void
merge_marks(struct output *o, const struct output_mark *first, struct output_mark *second)
{
	second->need = stronger(first->need, second->need);
	if (first->timestamp > second->timestamp)
		second->timestamp = first->timestamp;
	if (second->need == DURABILITY_SYNC && second->timestamp > o->awaits_sync)
		o->awaits_sync = second->timestamp;
}

/* Merges two neighbours: the first waits for the second. */
static void
make_mark_room(struct output *o)
{
	assert(o->mark_count == OUTPUT_MARKS);
	uint64_t before = o->released_timestamp, smallest = UINT64_MAX;
	unsigned choice = 0;
	for (unsigned i = 0; i + 1 < o->mark_count; i++) {
		/* Of unlike marks the second may want an older commit: then they are merged at no cost. */
		uint64_t after = o->marks[i + 1].timestamp, span = after > before ? after - before : 0;
		if (span < smallest) {
			smallest = span;
			choice = i;
		}
		before = o->marks[i].timestamp;
	}
	merge_marks(o, &o->marks[choice], &o->marks[choice + 1]);
	o->mark_count--;
	memmove(&o->marks[choice], &o->marks[choice + 1], (o->mark_count - choice) * sizeof(o->marks[0]));
}

void
output_stamp_to(struct output *o, size_t size, uint64_t timestamp, enum durability need,
		const struct frontier *frontier)
{
	uint64_t end = o->base + size;
	assert(size <= o->writer.size && end >= o->released);
	bool is_there = timestamp <= frontier->reached[need];
	if (o->mark_count == 0) {
		if (is_there) {
			o->released = end;
			return;
		}
	} else {
		struct output_mark *last = &o->marks[o->mark_count - 1];
		bool is_covered = timestamp <= last->timestamp && stronger(last->need, need) == last->need;
		if (is_there || is_covered) {
			last->end = end;
			return;
		}
	}
	assert(o->mark_count == 0 || end >= o->marks[o->mark_count - 1].end);
	assert(timestamp >> 62 == 0); /* the width that a mark has for it */
	if (o->mark_count == OUTPUT_MARKS)
		make_mark_room(o);
	o->marks[o->mark_count++] = (struct output_mark){.end = end, .timestamp = timestamp, .need = need};
	if (need == DURABILITY_SYNC && timestamp > o->awaits_sync)
		o->awaits_sync = timestamp;
}

void
output_release(struct output *o, const struct frontier *frontier)
{
	unsigned count = 0;
	while (count < o->mark_count && o->marks[count].timestamp <= frontier->reached[o->marks[count].need])
		count++;
	if (count == 0)
		return;
	assert(o->marks[count - 1].end >= o->released);
	o->released = o->marks[count - 1].end;
	o->released_timestamp = o->marks[count - 1].timestamp;
	o->mark_count -= count;
	memmove(o->marks, o->marks + count, o->mark_count * sizeof(o->marks[0]));
}

void
output_consume(struct output *o, size_t size)
{
	assert(size <= output_pending(o) && o->base + o->sent + size <= o->released);
	o->sent += size;
	size_t left = output_pending(o);
	if (left > 0 && (o->sent < OUTPUT_MOVE_MIN || o->sent < left))
		return;
	if (left > 0)
		memmove(o->writer.data, o->writer.data + o->sent, left);
	o->base += o->sent;
	o->sent = 0;
	resp_truncate(&o->writer, left);
}

bool
output_take(struct output *o, struct resp_writer *reply)
{
	if (reply->failed)
		return false;
	if (o->writer.size == 0 && reply->size >= OUTPUT_SWAP_MIN && !o->writer.failed) {
		struct resp_writer mine = o->writer;
		int protocol = mine.protocol;
		o->writer = *reply;
		*reply = mine;
		o->writer.protocol = protocol;
		return true;
	}
	resp_raw(&o->writer, reply->data, reply->size);
	resp_truncate(reply, 0);
	return !o->writer.failed;
}

void
output_shrink(struct output *o, size_t keep)
{
	/* Nothing may be held either: a held reply can be empty (CLIENT REPLY OFF). */
	if (o->writer.size == 0 && o->writer.capacity > keep && !o->writer.failed)
		resp_writer_free(&o->writer);
}
