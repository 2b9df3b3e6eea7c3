/* Streams of keys, as Redis 7.0 writes them. */
#include "rdb/stream_form.h"
#include "rdb/write_value.h"
#include "types/stream_groups.h"

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

/* Of a large stream the nodes are those that it has, as their number is known before the first of them is read. */
static uint64_t
count_nodes(const struct value_write *v, const struct stream *s)
{
	bool is_large = v->out->drain != NULL && s->object_bytes > RDB_PIECE_SIZE;
	return is_large ? s->nodes + (s->run_count > 0) : 0;
}

/* Those of the root's body are read already. */
static int
write_entries_of(struct value_write *v, struct stream_walk *walk, struct rdb_stream_writer *nodes)
{
	struct view_reads reads = view_reads_mark(v->key->view);
	struct stream_entry entry;
	int status;
	while ((status = stream_walk_next(walk, &entry)) == SETT_OK) {
		status = rdb_stream_put(nodes, &entry);
		if (status != SETT_OK)
			return status;
		if (stream_walk_is_between(walk)) {
			if (nodes->expected > 0)
				rdb_stream_end_node(nodes);
			if (view_reads_are_many(&reads))
				view_reads_forget(&reads);
		}
		if ((status = value_write_go_on(v)) != SETT_OK)
			return status;
	}
	return status == SETT_NOT_FOUND && nodes->expected > 0 && nodes->nodes != nodes->expected
		? SETT_CORRUPT
		: status;
}

static int
write_entries(struct value_write *v, struct stream *s)
{
	struct rdb_stream_writer nodes = {.out = v->out, .expected = count_nodes(v, s)};
	struct stream_walk walk;
	int status = stream_read_body(s);
	if (status != SETT_OK)
		return status;
	rdb_stream_begin(&nodes);
	stream_walk(s, (struct stream_id){0}, last_possible, false, &walk);
	status = write_entries_of(v, &walk, &nodes);
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
	struct view_reads reads = view_reads_mark(v->key->view);
	while (status == SETT_OK && (status = stream_pending_walk_next(&walk, &pending)) == SETT_OK &&
	       left > 0) {
		left--;
		rdb_put_id_bytes(v->out, pending.id);
		if (c == NULL) {
			rdb_put_little_endian(v->out, pending.delivered, 8);
			rdb_put_length(v->out, pending.count);
		}
		if (view_reads_are_many(&reads))
			view_reads_forget(&reads);
		status = value_write_go_on(v);
	}
	stream_pending_walk_close(&walk);
	if (status == SETT_OK || (status == SETT_NOT_FOUND && left > 0))
		return SETT_CORRUPT; /* as many as were said */
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* What is written of each name: all names of a kind, some of them at a time. */
struct name_list {
	int (*next)(struct name_list *, const struct bytes *after, struct bytes **ret, size_t *ret_count);
	int (*write)(struct value_write *, struct name_list *, struct bytes name);
	struct stream *stream;
	struct stream_group *group; /* of consumers */
	uint64_t expected;
};
enum { NAMES_STEP = 64 };

static int
write_names(struct value_write *v, struct name_list *l)
{
	struct view_reads reads = view_reads_mark(v->key->view);
	struct buffer last = {0};
	struct bytes *names, after;
	size_t count = NAMES_STEP;
	uint64_t written = 0;
	int status = SETT_OK;
	rdb_put_length(v->out, l->expected);
	while (status == SETT_OK && count == NAMES_STEP) {
		after = buffer_bytes(&last);
		status = l->next(l, written > 0 ? &after : NULL, &names, &count);
		for (size_t i = 0; i < count && status == SETT_OK; i++)
			status = l->write(v, l, names[i]);
		if (status != SETT_OK || count == 0)
			break;
		written += count;
		buffer_clear(&last);
		status = buffer_append(&last, names[count - 1].data, names[count - 1].size);
		view_reads_forget(&reads);
	}
	buffer_free(&last);
	return status == SETT_OK && written != l->expected ? SETT_CORRUPT : status;
}

static int
next_consumers(struct name_list *l, const struct bytes *after, struct bytes **ret, size_t *ret_count)
{
	return stream_consumer_names_after(l->group, after, NAMES_STEP, ret, ret_count);
}

static int
write_consumer(struct value_write *v, struct name_list *l, struct bytes name)
{
	struct stream_consumer *consumer;
	int status = stream_consumer_find(l->group, name, &consumer);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	rdb_put_string(v->out, name);
	rdb_put_little_endian(v->out, consumer->seen, 8);
	status = write_pending(v, l->group, consumer);
	l->group->used = NULL; /* it is forgotten, and the search of the next is short */
	return status == SETT_OK ? value_write_go_on(v) : status;
}

static int
next_groups(struct name_list *l, const struct bytes *after, struct bytes **ret, size_t *ret_count)
{
	return stream_group_names_after(l->stream, after, NAMES_STEP, ret, ret_count);
}

static int
write_group(struct value_write *v, struct name_list *l, struct bytes name)
{
	struct stream_group g;
	int status = stream_group_open(l->stream, name, &g);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	rdb_put_string(v->out, name);
	rdb_put_id_lengths(v->out, g.last);
	rdb_put_length(v->out, g.read - 1);
	status = write_pending(v, &g, NULL);
	if (status != SETT_OK)
		return status;
	struct name_list consumers = {.next = next_consumers,
				      .write = write_consumer,
				      .stream = l->stream,
				      .group = &g,
				      .expected = g.consumers};
	return write_names(v, &consumers);
}

int
rdb_write_stream(struct value_write *v)
{
	struct stream s;
	int status = stream_open(v->key, 0, &s);
	if (status == SETT_OK)
		status = write_entries(v, &s);
	if (status != SETT_OK)
		return status;
	rdb_put_length(v->out, s.count);
	rdb_put_id_lengths(v->out, s.last);
	rdb_put_id_lengths(v->out, s.first);
	rdb_put_id_lengths(v->out, s.deleted);
	rdb_put_length(v->out, s.added);
	struct name_list groups = {
		.next = next_groups, .write = write_group, .stream = &s, .expected = s.groups};
	return write_names(v, &groups);
}
