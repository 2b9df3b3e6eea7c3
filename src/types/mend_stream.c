/* Streams: the entries of all nodes and of the root, in the order of their ids, and the groups with what is pending. The ids and numbers
 * that XINFO tells stay as the root has them. A stream without an entry is one, too. */
#include "types/mend_private.h"
#include "types/stream_groups.h"
#include "types/stream_private.h"

struct stream_rebuild {
	struct rebuild *rebuild;
	struct stream old, stream; /* `stream` is the new one */
	struct stream_id last;     /* that was added */
	bool has_last;
};

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

static int
add_run(struct stream_rebuild *b, struct bytes run, struct stream_id base)
{
	struct stream_entry e = {0};
	int status;
	while ((status = stream_run_at(run, base, e.end, &e)) == SETT_OK) {
		const struct stream_texts texts = {.written = e.rest, .count = (size_t)e.texts};
		/* An older root or node may have what others have, too, and what was trimmed. */
		if (stream_id_is_below(e.id, b->old.first) ||
		    (b->has_last && !stream_id_is_below(b->last, e.id)))
			continue;
		status = stream_add_texts(&b->stream, e.id, &texts);
		if (status != SETT_OK)
			return status;
		b->last = e.id;
		b->has_last = true;
	}
	return status == SETT_NOT_FOUND || status == SETT_CORRUPT ? SETT_OK : status;
}

static int
add_nodes(struct stream_rebuild *b)
{
	struct sett_iterator *iterator;
	struct sett_txn *txn = b->old.key->view->txn;
	int status = stream_open_nodes(&b->old, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct stream_node node;
		struct bytes run;
		struct sett_read_mark mark = sett_txn_read_mark(txn);
		status = stream_read_node(iterator, &node);
		if (status == SETT_CORRUPT)
			continue;
		if (status == SETT_OK)
			status = sett_txn_body(txn, &node.record, &run);
		if (status == SETT_OK)
			status = add_run(b, run, node.base);
		if (status != SETT_OK)
			break;
		sett_txn_forget_reads(txn, &mark);
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* A consumer of the new group; made if it is not there. */
static int
take_consumer(struct stream_group *g, struct bytes name, struct stream_consumer **ret)
{
	int status = stream_consumer_find(g, name, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	const void *copy = arena_copy(g->stream->key->view->arena, name.data, name.size);
	return copy != NULL ? stream_consumer_create(g, bytes_of(copy, name.size), ret) : SETT_NO_MEMORY;
}

static int
copy_consumers(struct stream_group *from, struct stream_group *to)
{
	struct bytes *names;
	size_t count;
	int status = stream_consumer_names(from, &names, &count);
	for (size_t i = 0; status == SETT_OK && i < count; i++) {
		struct stream_consumer *c, *new;
		status = stream_consumer_find(from, names[i], &c);
		if (status == SETT_CORRUPT || status == SETT_NOT_FOUND) {
			status = SETT_OK;
			continue;
		}
		if (status == SETT_OK)
			status = take_consumer(to, names[i], &new);
		if (status == SETT_OK) {
			new->seen = c->seen;
			new->changed = true;
		}
		from->used = NULL; /* so that searches are short */
	}
	return status;
}

static int
copy_pending(struct stream_group *from, struct stream_group *to)
{
	enum { ENTRY_BYTES = 150 /* of the two entries of what is pending */ };
	struct stream_pending_walk walk;
	struct stream_pending p;
	int status = stream_pending_walk(from, NULL, (struct stream_id){0}, last_possible, &walk);
	while (status == SETT_OK && (status = stream_pending_walk_next(&walk, &p)) == SETT_OK) {
		struct stream_consumer *c;
		status = take_consumer(to, p.consumer, &c);
		if (status == SETT_OK)
			status = stream_pending_put(to, p.id, c, p.delivered, p.count, NULL);
		if (status == SETT_OK)
			status = build_step(to->stream->elements, ENTRY_BYTES + p.consumer.size);
	}
	stream_pending_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
copy_group(struct stream_rebuild *b, struct bytes name)
{
	struct stream_group from, to;
	int status = stream_group_open(&b->old, name, &from);
	if (status == SETT_CORRUPT || status == SETT_NOT_FOUND)
		return SETT_OK;
	if (status == SETT_OK)
		status = stream_group_create(&b->stream, name, &to);
	if (status != SETT_OK)
		return status;
	to.last = from.last;
	to.read = from.read;
	status = copy_consumers(&from, &to);
	if (status == SETT_OK)
		status = copy_pending(&from, &to);
	if (status == SETT_OK)
		status = stream_group_save(&to);
	return status == SETT_OK ? build_step(b->stream.elements, name.size) : status;
}

static int
copy_groups(struct stream_rebuild *b)
{
	struct bytes *names;
	size_t count;
	if (b->old.groups == 0)
		b->old.groups = 1; /* an older root may not know of them */
	int status = stream_group_names(&b->old, &names, &count);
	for (size_t i = 0; status == SETT_OK && i < count; i++)
		status = copy_group(b, names[i]);
	return status;
}

int
rebuild_stream(struct rebuild *r)
{
	struct stream_rebuild b = {.rebuild = r};
	struct key old = *r->old;
	size_t run_size = limits_of_runs(r->run->options->config);
	int status = stream_open(&old, run_size, &b.old);
	if (status == SETT_OK)
		status = stream_read_body(&b.old);
	if (status == SETT_OK)
		status = stream_open(r->key, run_size, &b.stream);
	r->had = b.old.count + 1; /* the stream itself is one: it may be empty */
	if (status == SETT_OK)
		status = add_nodes(&b);
	if (status == SETT_OK && b.old.run_count > 0)
		status = add_run(&b, b.old.body, b.old.base);
	if (status == SETT_OK)
		status = copy_groups(&b);
	if (status != SETT_OK)
		return status;
	r->has = b.stream.count + 1;
	if (stream_id_is_below(b.stream.last, b.old.last))
		b.stream.last = b.old.last;
	b.stream.deleted = b.old.deleted;
	b.stream.added = b.old.added > b.stream.count ? b.old.added : b.stream.count;
	return stream_save(&b.stream);
}
