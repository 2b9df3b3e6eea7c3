/* Streams written (stream_form.h). */
#include "rdb/stream_form.h"

#include <assert.h>

#include "storage/base/varint.h"

enum {
	NODE_BYTES = 4096, /* a node that would have as many gets no further entry */
	NODE_ENTRIES = 100,
	NODE_OVERHEAD = 15, /* what most nodes take beside the master's names and the entries */
	FLAG_SAME_NAMES = 2,
};

void
rdb_put_id_lengths(struct rdb_writer *w, struct stream_id id)
{
	rdb_put_length(w, id.ms);
	rdb_put_length(w, id.seq);
}

void
rdb_put_id_bytes(struct rdb_writer *w, struct stream_id id)
{
	uint8_t bytes[16];
	put_be64(bytes, id.ms);
	put_be64(bytes + 8, id.seq);
	rdb_put_bytes(w, bytes_of(bytes, sizeof(bytes)));
}

void
rdb_stream_begin(struct rdb_stream_writer *w)
{
	rdb_put_type(w->out, RDB_STREAM_2);
	if (w->expected > 0)
		rdb_put_length(w->out, w->expected);
	else
		w->length_at = rdb_put_length_space(w->out);
	listpack_begin(&w->master);
	listpack_begin(&w->body);
}

static void
put_node(struct rdb_stream_writer *w)
{
	struct listpack_writer node = {0};
	uint8_t id[16];
	put_be64(id, w->node.ms);
	put_be64(id + 8, w->node.seq);
	rdb_put_string(w->out, bytes_of(id, sizeof(id)));
	listpack_begin(&node);
	listpack_add_integer(&node, (int64_t)w->entries);
	listpack_add_integer(&node, 0);
	listpack_add_integer(&node, (int64_t)w->name_count);
	listpack_append(&node, &w->master);
	listpack_add_integer(&node, 0);
	listpack_append(&node, &w->body);
	rdb_put_listpack(w->out, &node);
	listpack_free(&node);
	w->nodes++;
	w->entries = 0;
}

/* The bytes of all texts, and the names alone as they are in a run, in `names`. */
static int
survey(const struct stream_entry *entry, struct buffer *names, uint64_t *ret_size)
{
	struct stream_entry e = *entry;
	struct bytes text;
	*ret_size = 0;
	buffer_clear(names);
	for (bool is_name = true; e.texts > 0; is_name = !is_name) {
		const uint8_t *start = e.rest.data;
		int status = stream_entry_text(&e, &text);
		if (status == SETT_OK && is_name)
			status = buffer_append(names, start, (size_t)(text.data + text.size - start));
		if (status != SETT_OK)
			return status;
		*ret_size += text.size;
	}
	return SETT_OK;
}

/* The master of a new node. */
static int
begin_node(struct rdb_stream_writer *w, const struct stream_entry *entry)
{
	struct stream_entry e = *entry;
	struct bytes text;
	w->node = e.id;
	w->name_count = e.texts / 2;
	listpack_begin(&w->master);
	listpack_begin(&w->body);
	for (bool is_name = true; e.texts > 0; is_name = !is_name) {
		int status = stream_entry_text(&e, &text);
		if (status != SETT_OK)
			return status;
		if (is_name)
			listpack_add(&w->master, text);
	}
	return SETT_OK;
}

static int
add_entry(struct rdb_stream_writer *w, const struct stream_entry *entry, bool same_names)
{
	struct stream_entry e = *entry;
	struct listpack_writer *body = &w->body;
	uint64_t before = body->count;
	struct bytes text;
	listpack_add_integer(body, same_names ? FLAG_SAME_NAMES : 0);
	listpack_add_integer(body, (int64_t)(e.id.ms - w->node.ms));
	listpack_add_integer(body, (int64_t)(e.id.seq - w->node.seq));
	if (!same_names)
		listpack_add_integer(body, (int64_t)(e.texts / 2));
	for (bool is_name = true; e.texts > 0; is_name = !is_name) {
		int status = stream_entry_text(&e, &text);
		if (status != SETT_OK)
			return status;
		if (!is_name || !same_names)
			listpack_add(body, text);
	}
	listpack_add_integer(body, (int64_t)(body->count - before));
	w->entries++;
	return SETT_OK;
}

static bool
is_full(const struct rdb_stream_writer *w, uint64_t more)
{
	size_t listpacks = w->master.out.size + w->body.out.size - 2 * LISTPACK_HEADER_SIZE;
	return w->entries == NODE_ENTRIES || listpacks + NODE_OVERHEAD + more >= NODE_BYTES;
}

int
rdb_stream_put(struct rdb_stream_writer *w, const struct stream_entry *entry)
{
	uint64_t size;
	bool same_names = true;
	if (entry->texts == 0 || entry->texts % 2 != 0)
		return SETT_CORRUPT;
	int status = survey(entry, &w->others, &size);
	if (status != SETT_OK)
		return status;
	if (w->entries > 0 && w->expected == 0 && is_full(w, size))
		put_node(w);
	if (w->entries > 0) {
		same_names = bytes_equal(buffer_bytes(&w->others), buffer_bytes(&w->names));
	} else {
		struct buffer names = w->others;
		w->others = w->names;
		w->names = names;
		status = begin_node(w, entry);
	}
	return status == SETT_OK ? add_entry(w, entry, same_names) : status;
}

void
rdb_stream_end_node(struct rdb_stream_writer *w)
{
	assert(w->expected > 0 && w->entries > 0);
	put_node(w);
}

void
rdb_stream_end(struct rdb_stream_writer *w)
{
	if (w->entries > 0)
		put_node(w);
	if (w->expected == 0)
		rdb_set_length(w->out, w->length_at, w->nodes);
}

void
rdb_stream_writer_free(struct rdb_stream_writer *w)
{
	buffer_free(&w->names);
	buffer_free(&w->others);
	listpack_free(&w->master);
	listpack_free(&w->body);
}
