/* Streams of keys, as Redis 7.0 writes them. */
#include "rdb/stream_form.h"
#include "rdb/write_value.h"
#include "types/stream_groups.h"

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

static int
write_entries(struct value_write *v, struct stream *s)
{
	struct rdb_stream_writer nodes = {.out = v->out};
	struct stream_walk walk;
	struct stream_entry entry;
	int status;
	rdb_stream_begin(&nodes);
	stream_walk(s, (struct stream_id){0}, last_possible, false, &walk);
	while ((status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		status = rdb_stream_put(&nodes, &entry);
		if (status == SETT_OK)
			status = value_write_go_on(v);
		if (status != SETT_OK)
			break;
	}
	stream_walk_close(&walk);
	rdb_stream_end(&nodes);
	rdb_stream_writer_free(&nodes);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* What is pending for one consumer, or (NULL) for all, with what the group knows of it. */
static int
write_pending(struct value_write *v, struct stream_group *g, const struct stream_consumer *c)
{
	struct stream_pending_walk walk;
	struct stream_pending pending;
	uint64_t left = c != NULL ? c->pending : g->pending;
	rdb_put_length(v->out, left);
	int status = stream_pending_walk(g, c, (struct stream_id){0}, last_possible, &walk);
	while (status == SETT_OK && (status = stream_pending_walk_next(&walk, &pending)) == SETT_OK &&
	       left > 0) {
		left--;
		rdb_put_id_bytes(v->out, pending.id);
		if (c == NULL) {
			rdb_put_little_endian(v->out, pending.delivered, 8);
			rdb_put_length(v->out, pending.count);
		}
		status = value_write_go_on(v);
	}
	stream_pending_walk_close(&walk);
	if (status == SETT_OK || (status == SETT_NOT_FOUND && left > 0))
		return SETT_CORRUPT; /* as many as were said */
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
write_group(struct value_write *v, struct stream *s, struct bytes name)
{
	struct stream_group g;
	struct stream_consumer *consumer;
	struct bytes *names;
	size_t count;
	int status = stream_group_open(s, name, &g);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	rdb_put_string(v->out, name);
	rdb_put_id_lengths(v->out, g.last);
	rdb_put_length(v->out, g.read - 1);
	status = write_pending(v, &g, NULL);
	if (status == SETT_OK)
		status = stream_consumer_names(&g, &names, &count);
	if (status != SETT_OK)
		return status;
	rdb_put_length(v->out, count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		g.used = NULL; /* so that the search of the next is short */
		status = stream_consumer_find(&g, names[i], &consumer);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		rdb_put_string(v->out, names[i]);
		rdb_put_little_endian(v->out, consumer->seen, 8);
		status = write_pending(v, &g, consumer);
	}
	return status;
}

int
rdb_write_stream(struct value_write *v)
{
	struct stream s;
	struct bytes *names;
	size_t count;
	int status = stream_open(v->key, 0, &s);
	if (status == SETT_OK)
		status = write_entries(v, &s);
	if (status == SETT_OK)
		status = stream_group_names(&s, &names, &count);
	if (status != SETT_OK)
		return status;
	rdb_put_length(v->out, s.count);
	rdb_put_id_lengths(v->out, s.last);
	rdb_put_id_lengths(v->out, s.first);
	rdb_put_id_lengths(v->out, s.deleted);
	rdb_put_length(v->out, s.added);
	rdb_put_length(v->out, count);
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = write_group(v, &s, names[i]);
	return status;
}
