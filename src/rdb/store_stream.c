/* Streams that are read are stored through their type's own interface. */
#include "rdb/store_value.h"

#include "keyspace/build.h"
#include "rdb/stream_form.h"
#include "types/stream_groups.h"

static int
store_entries(struct rdb_stream_reader *r, struct stream *s)
{
	struct stream_id id;
	struct stream_texts texts;
	struct rdb_stream_numbers numbers;
	int status;
	while ((status = rdb_stream_entry(r, &id, &texts)) == SETT_OK) {
		status = stream_add_texts(s, id, &texts);
		if (status != SETT_OK)
			return status;
	}
	if (status == SETT_NOT_FOUND)
		status = rdb_stream_numbers(r, &numbers);
	if (status != SETT_OK)
		return status;
	s->last = numbers.last;
	s->deleted = numbers.deleted;
	s->added = numbers.added;
	return SETT_OK;
}

/* A name that lasts as long as the transaction. */
static int
keep_name(const struct stream *s, struct bytes *name)
{
	if (name->size > STREAM_NAME_MAX)
		return RDB_MALFORMED;
	const void *copy = arena_copy(s->key->view->arena, name->data, name->size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	name->data = copy;
	return SETT_OK;
}

static int
store_consumer(struct rdb_stream_reader *r, struct stream_group *g, struct rdb_stream_consumer *read)
{
	enum { ENTRY_BYTES = 150 /* of the two entries of what is pending */ };
	struct stream_consumer *c;
	struct rdb_stream_pending pending;
	int status = keep_name(g->stream, &read->name);
	if (status == SETT_OK)
		status = stream_consumer_find(g, read->name, &c);
	if (status == SETT_OK)
		return RDB_MALFORMED; /* it came twice */
	if (status == SETT_NOT_FOUND)
		status = stream_consumer_create(g, read->name, &c);
	if (status != SETT_OK)
		return status;
	c->seen = read->seen;
	while ((status = rdb_stream_owned(r, &pending)) == SETT_OK) {
		status = stream_pending_put(g, pending.id, c, pending.delivered, pending.count, NULL);
		if (status == SETT_OK)
			status = build_step(g->stream->elements, ENTRY_BYTES + c->name.size);
		if (status != SETT_OK)
			return status;
	}
	if (status == SETT_NOT_FOUND)
		status = stream_group_save(g);
	g->used = NULL; /* so that searches are short */
	return status == SETT_OK ? build_step(g->stream->elements, 2 * c->name.size) : status;
}

static int
store_group(struct rdb_stream_reader *r, struct stream *s, struct rdb_stream_group *read)
{
	struct stream_group g;
	struct rdb_stream_consumer consumer;
	uint64_t up_to;
	int status = keep_name(s, &read->name);
	if (status == SETT_OK)
		status = stream_group_open(s, read->name, &g);
	if (status == SETT_OK)
		return RDB_MALFORMED; /* it came twice */
	if (status == SETT_NOT_FOUND)
		status = stream_group_create(s, read->name, &g);
	if (status != SETT_OK)
		return status;
	g.last = read->last;
	g.read = read->read;
	if (!read->has_read)
		g.read = stream_entries_up_to(s, g.last, &up_to) ? up_to + 1 : 0;
	while ((status = rdb_stream_consumer(r, &consumer)) == SETT_OK) {
		status = store_consumer(r, &g, &consumer);
		if (status != SETT_OK)
			return status;
	}
	if (status == SETT_NOT_FOUND)
		status = stream_group_save(&g);
	return status == SETT_OK ? build_step(s->elements, g.name.size) : status;
}

int
rdb_store_stream(struct value_store *v)
{
	struct rdb_stream_reader r;
	struct rdb_stream_group group;
	struct stream s;
	int status = rdb_stream_open(&r, v->reader);
	if (status == SETT_OK)
		status = stream_open(v->key, v->limits->run_size, &s);
	if (status == SETT_OK)
		status = store_entries(&r, &s);
	while (status == SETT_OK && (status = rdb_stream_group(&r, &group)) == SETT_OK)
		status = store_group(&r, &s, &group);
	if (status == SETT_NOT_FOUND) {
		status = stream_save(&s);
		if (status == SETT_OK)
			status = SETT_NOT_FOUND;
	}
	rdb_stream_close(&r);
	return status;
}
