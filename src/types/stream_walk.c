/* Walks over streams; see stream.h. */
#include "types/stream_private.h"

void
stream_walk(struct stream *s, struct stream_id from, struct stream_id to, bool backward,
	    struct stream_walk *ret)
{
	if (stream_id_is_below(from, s->first))
		from = s->first;
	if (stream_id_is_below(s->last, to))
		to = s->last;
	*ret = (struct stream_walk){.stream = s, .from = from, .to = to, .backward = backward};
	if (s->count == 0 || stream_id_is_below(to, from))
		ret->state = STREAM_WALK_ENDS;
}

void
stream_walk_behind(struct stream_walk *w, struct stream_id node)
{
	assert(w->state == STREAM_WALK_BEGINS || w->state == STREAM_WALK_ENDS);
	w->node = node;
}

struct stream_id
stream_walk_node(const struct stream_walk *w)
{
	return w->state == STREAM_WALK_NODES ? w->base : (struct stream_id){0};
}

void
stream_walk_close(struct stream_walk *w)
{
	sett_iterator_close(w->iterator);
	w->iterator = NULL;
	w->state = STREAM_WALK_ENDS;
}

static int
gather_offsets(struct stream_walk *w)
{
	struct stream_entry entry = {0};
	int status;
	w->left = 0;
	while ((status = stream_run_at(w->run, w->base, entry.end, &entry)) == SETT_OK) {
		if (w->left == w->capacity) {
			size_t capacity = w->capacity > 0 ? 2 * w->capacity : 64;
			size_t *more = arena_allocate(w->stream->key->view->arena, capacity * sizeof(*more),
						      _Alignof(size_t));
			if (more == NULL)
				return SETT_NO_MEMORY;
			if (w->left > 0)
				memcpy(more, w->offsets, w->left * sizeof(*more));
			w->offsets = more;
			w->capacity = capacity;
		}
		w->offsets[w->left++] = entry.offset;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
enter_run(struct stream_walk *w, struct stream_id base, struct bytes run)
{
	w->base = base;
	w->run = run;
	w->offset = 0;
	return w->backward ? gather_offsets(w) : SETT_OK;
}

static int
enter_body(struct stream_walk *w)
{
	int status = stream_read_body(w->stream);
	w->state = STREAM_WALK_BODY;
	return status == SETT_OK ? enter_run(w, w->stream->base, w->stream->body) : status;
}

static int
enter_body_of(struct stream_walk *w, const struct stream_node *node)
{
	struct bytes run;
	int status = sett_txn_body(w->stream->elements->txn, &node->record, &run);
	w->state = STREAM_WALK_NODES;
	return status == SETT_OK ? enter_run(w, node->base, run) : status;
}

static int
enter_node(struct stream_walk *w)
{
	struct stream_node node;
	int status = stream_read_node(w->iterator, &node);
	return status == SETT_OK ? enter_body_of(w, &node) : status;
}

static int
enter_nodes(struct stream_walk *w, struct stream_id id)
{
	int status = w->iterator == NULL ? stream_open_nodes(w->stream, &w->iterator) : SETT_OK;
	if (status == SETT_OK)
		status = stream_seek_node(w->stream, w->iterator, id);
	return status == SETT_OK ? enter_node(w) : status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* A read of one entry of the engine, which its caches serve, instead of a search among all nodes. SETT_NOT_FOUND: it is
 * gone. */
static int
enter_node_at(struct stream_walk *w, struct stream_id base)
{
	struct stream_node node;
	int status = stream_get_node(w->stream, base, &node);
	return status == SETT_OK ? enter_body_of(w, &node) : status;
}

/* Where the entry with this id is, if anywhere, unless it is in the body. Zeros: not known. While there is nothing in the body,
 * its base is that of the node that was made of it last, or of none. */
static struct stream_id
known_node(const struct stream_walk *w, struct stream_id id)
{
	const struct stream *s = w->stream;
	if (s->run_count == 0 && !stream_id_is_below(id, s->base))
		return s->base;
	return !w->backward && !stream_id_is_below(id, w->node) ? w->node : (struct stream_id){0};
}

/* The first run in which there may be entries of the walk. */
static int
begin(struct stream_walk *w)
{
	struct stream_id id = w->backward ? w->to : w->from;
	if (stream_may_be_in_body(w->stream, id) || w->stream->nodes == 0)
		return enter_body(w);
	struct stream_id known = known_node(w, id);
	int status = known.ms != 0 || known.seq != 0 ? enter_node_at(w, known) : SETT_NOT_FOUND;
	return status == SETT_NOT_FOUND ? enter_nodes(w, id) : status;
}

/* Moves from the present node to one of its neighbours. */
static int
seek_neighbour(struct stream_walk *w)
{
	struct stream_id base = w->base;
	if (w->iterator != NULL)
		return w->backward ? sett_iterator_previous(w->iterator) : sett_iterator_next(w->iterator);
	int status = stream_open_nodes(w->stream, &w->iterator);
	if (status != SETT_OK)
		return status;
	if (!(w->backward ? stream_id_decrease(&base) : stream_id_increase(&base)))
		return SETT_NOT_FOUND;
	return w->backward ? stream_seek_node(w->stream, w->iterator, base)
			   : stream_seek_node_from(w->stream, w->iterator, base);
}

/* The run after the present one, or before it. SETT_NOT_FOUND: there is none. */
static int
enter_next(struct stream_walk *w)
{
	struct stream *s = w->stream;
	if (w->state == STREAM_WALK_BODY)
		return w->backward && s->nodes > 0 && stream_id_is_below(w->from, s->base)
			? enter_nodes(w, s->base)
			: SETT_NOT_FOUND;
	/* The nodes before that with the first entry are gone. */
	if (w->backward && !stream_id_is_below(w->from, w->base))
		return SETT_NOT_FOUND;
	int status = seek_neighbour(w);
	if (status == SETT_OK)
		return enter_node(w);
	return status == SETT_NOT_FOUND && !w->backward ? enter_body(w) : status;
}

static int
next_of_run(struct stream_walk *w, struct stream_entry *ret)
{
	if (w->backward)
		return w->left > 0 ? stream_run_at(w->run, w->base, w->offsets[--w->left], ret)
				   : SETT_NOT_FOUND;
	int status = stream_run_at(w->run, w->base, w->offset, ret);
	if (status == SETT_OK)
		w->offset = ret->end;
	return status;
}

int
stream_walk_next(struct stream_walk *w, struct stream_entry *ret)
{
	int status = w->state == STREAM_WALK_ENDS ? SETT_NOT_FOUND
		: w->state == STREAM_WALK_BEGINS  ? begin(w)
						  : SETT_OK;
	while (status == SETT_OK) {
		status = next_of_run(w, ret);
		if (status == SETT_NOT_FOUND) {
			status = enter_next(w);
			continue;
		}
		if (status != SETT_OK)
			break;
		bool is_low = stream_id_is_below(ret->id, w->from),
		     is_high = stream_id_is_below(w->to, ret->id);
		if (!is_low && !is_high)
			return SETT_OK;
		if (w->backward ? is_low : is_high)
			status = SETT_NOT_FOUND;
	}
	w->state = STREAM_WALK_ENDS;
	return status;
}
