/* Streams read (stream_form.h). Invariant: ids of entries ascend, and so do those of what is pending. */
#include "rdb/stream_form.h"

#include "storage/base/varint.h"

enum {
	ID_SIZE = 16,
	FLAG_DELETED = 1,
	FLAG_SAME_NAMES = 2,
	/* All that the entries of a node repeat of their names may be so many times the node: a few bytes must not fill a disk. Nodes of
	 * Redis' default size can't be near it. */
	EXPANSION_MAX = 256,
};

static struct stream_id
id_of(const uint8_t *p)
{
	return (struct stream_id){get_be64(p), get_be64(p + 8)};
}

static int
get_id_lengths(struct rdb_input *in, struct stream_id *ret)
{
	int status = rdb_get_length(in, &ret->ms);
	return status == SETT_OK ? rdb_get_length(in, &ret->seq) : status;
}

static int
get_id_bytes(struct rdb_input *in, struct stream_id *ret)
{
	if (rdb_left(in) < ID_SIZE)
		return RDB_MALFORMED;
	*ret = id_of(in->at);
	in->at += ID_SIZE;
	return SETT_OK;
}

/* A number that is told to clients as a signed one. */
static int
get_count(struct rdb_input *in, uint64_t *ret)
{
	int status = rdb_get_length(in, ret);
	return status == SETT_OK && *ret > INT64_MAX ? RDB_MALFORMED : status;
}

int
rdb_stream_open(struct rdb_stream_reader *r, struct rdb_reader *reader)
{
	*r = (struct rdb_stream_reader){.reader = reader,
					.has_numbers = reader->rdb_type != RDB_STREAM,
					.has_active = reader->rdb_type == RDB_STREAM_3};
	assert(reader->type == VALUE_STREAM);
	reader->in_blob = false;
	return rdb_get_length(&reader->in, &r->nodes);
}

void
rdb_stream_close(struct rdb_stream_reader *r)
{
	buffer_free(&r->texts);
	buffer_free(&r->pending);
}

/* ---- nodes ---- */

static int
next_element(struct blob *b, struct blob_element *ret)
{
	int status = blob_next(b, ret);
	return status == SETT_NOT_FOUND ? RDB_MALFORMED : status;
}

static int
next_integer(struct rdb_stream_reader *r, int64_t *ret)
{
	struct blob_element element;
	int status = next_element(&r->reader->blob, &element);
	if (status != SETT_OK)
		return status;
	*ret = element.integer;
	return element.is_integer ? SETT_OK : RDB_MALFORMED;
}

/* A number of things of which each has a byte at least. */
static int
next_count(struct rdb_stream_reader *r, uint64_t *ret)
{
	int64_t count;
	int status = next_integer(r, &count);
	if (status != SETT_OK)
		return status;
	*ret = (uint64_t)count;
	return count >= 0 && *ret <= rdb_left(&r->reader->blob.in) ? SETT_OK : RDB_MALFORMED;
}

static int
read_master(struct rdb_stream_reader *r)
{
	struct blob_element name;
	int64_t end = 0;
	int status = next_count(r, &r->node_entries);
	if (status == SETT_OK)
		status = next_count(r, &r->node_deleted);
	if (status == SETT_OK)
		status = next_count(r, &r->name_count);
	r->names = r->reader->blob;
	for (uint64_t i = 0; i < r->name_count && status == SETT_OK; i++)
		status = next_element(&r->reader->blob, &name);
	if (status == SETT_OK)
		status = next_integer(r, &end);
	return status == SETT_OK && end != 0 ? RDB_MALFORMED : status;
}

static int
open_node(struct rdb_stream_reader *r)
{
	struct rdb_reader *reader = r->reader;
	struct bytes id, data;
	int status = rdb_get_string(&reader->in, &reader->name_room, &id);
	if (status == SETT_OK && id.size != ID_SIZE)
		status = RDB_MALFORMED;
	if (status != SETT_OK)
		return status;
	r->node = id_of(id.data);
	r->expanded = 0;
	status = rdb_get_string(&reader->in, &reader->blob_room, &data);
	if (status == SETT_OK)
		status = blob_open(BLOB_LISTPACK, data, &reader->blob);
	if (status == SETT_OK)
		status = read_master(r);
	reader->in_blob = status == SETT_OK;
	return status;
}

static int
close_node(struct rdb_stream_reader *r)
{
	struct blob_element none;
	r->reader->in_blob = false;
	int status = blob_next(&r->reader->blob, &none);
	return status == SETT_NOT_FOUND ? SETT_OK : status == SETT_OK ? RDB_MALFORMED : status;
}

static int
append_text(struct rdb_stream_reader *r, const struct blob_element *element)
{
	uint8_t head[VARINT_MAX_SIZE];
	struct bytes text = element->is_integer ? rdb_integer_text(&r->reader->value_room, element->integer)
						: element->text;
	int status = buffer_append(&r->texts, head, (size_t)(varint_put(head, text.size) - head));
	return status == SETT_OK ? buffer_append(&r->texts, text.data, text.size) : status;
}

static bool
expands_too_much(struct rdb_stream_reader *r, const struct blob_element *name)
{
	const struct blob *b = &r->reader->blob;
	uint64_t size = (uint64_t)(b->in.end - b->begin);
	r->expanded += name->is_integer ? 0 : name->text.size;
	return r->expanded / EXPANSION_MAX > size;
}

static int
read_texts(struct rdb_stream_reader *r, uint64_t pairs, bool same_names)
{
	struct blob names = r->names;
	struct blob_element element;
	int status = SETT_OK;
	buffer_clear(&r->texts);
	for (uint64_t i = 0; i < pairs && status == SETT_OK; i++) {
		status = next_element(same_names ? &names : &r->reader->blob, &element);
		if (status == SETT_OK && same_names && expands_too_much(r, &element))
			status = RDB_MALFORMED;
		if (status == SETT_OK)
			status = append_text(r, &element);
		if (status == SETT_OK)
			status = next_element(&r->reader->blob, &element);
		if (status == SETT_OK)
			status = append_text(r, &element);
	}
	return status;
}

/* The next entry of the node, deleted or not. */
static int
read_entry(struct rdb_stream_reader *r, bool *ret_deleted, struct stream_id *ret, uint64_t *ret_pairs)
{
	int64_t flags, ms, seq, size;
	uint64_t pairs = r->name_count;
	int status = next_integer(r, &flags);
	if (status == SETT_OK)
		status = next_integer(r, &ms);
	if (status == SETT_OK)
		status = next_integer(r, &seq);
	if (status != SETT_OK)
		return status;
	if (flags < 0 || flags > (FLAG_DELETED | FLAG_SAME_NAMES))
		return RDB_MALFORMED;
	bool same_names = (flags & FLAG_SAME_NAMES) != 0;
	if (!same_names)
		status = next_count(r, &pairs);
	if (status == SETT_OK)
		status = read_texts(r, pairs, same_names);
	if (status == SETT_OK)
		status = next_integer(r, &size);
	if (status != SETT_OK)
		return status;
	*ret_deleted = (flags & FLAG_DELETED) != 0;
	/* Differences of unsigned numbers, so that each may be anything. */
	*ret = (struct stream_id){r->node.ms + (uint64_t)ms, r->node.seq + (uint64_t)seq};
	*ret_pairs = pairs;
	return size == (int64_t)(same_names ? pairs + 3 : 2 * pairs + 4) ? SETT_OK : RDB_MALFORMED;
}

static int
next_of_node(struct rdb_stream_reader *r, struct stream_id *ret, struct stream_texts *ret_texts)
{
	struct stream_id id;
	uint64_t pairs;
	while (r->node_entries > 0 || r->node_deleted > 0) {
		bool is_deleted;
		int status = read_entry(r, &is_deleted, &id, &pairs);
		if (status != SETT_OK)
			return status;
		uint64_t *left = is_deleted ? &r->node_deleted : &r->node_entries;
		if (*left == 0)
			return RDB_MALFORMED;
		--*left;
		if (is_deleted)
			continue;
		/* No entry has 0-0. */
		if (stream_id_compare(id, r->last) <= 0 || pairs == 0)
			return RDB_MALFORMED;
		r->count++;
		r->last = *ret = id;
		*ret_texts = (struct stream_texts){.written = buffer_bytes(&r->texts), .count = 2 * pairs};
		return SETT_OK;
	}
	return SETT_NOT_FOUND;
}

int
rdb_stream_entry(struct rdb_stream_reader *r, struct stream_id *ret, struct stream_texts *ret_texts)
{
	for (;;) {
		int status = r->reader->in_blob ? next_of_node(r, ret, ret_texts) : SETT_NOT_FOUND;
		if (status != SETT_NOT_FOUND)
			return status;
		if (r->reader->in_blob)
			status = close_node(r);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
		if (r->nodes == 0)
			return SETT_NOT_FOUND;
		r->nodes--;
		status = open_node(r);
		if (status != SETT_OK)
			return status;
	}
}

int
rdb_stream_numbers(struct rdb_stream_reader *r, struct rdb_stream_numbers *ret)
{
	struct rdb_input *in = &r->reader->in;
	struct rdb_stream_numbers n = {.added = r->count};
	struct stream_id first; /* as is known */
	uint64_t count;
	int status = rdb_get_length(in, &count);
	if (status == SETT_OK)
		status = get_id_lengths(in, &n.last);
	if (status == SETT_OK && r->has_numbers)
		status = get_id_lengths(in, &first);
	if (status == SETT_OK && r->has_numbers)
		status = get_id_lengths(in, &n.deleted);
	if (status == SETT_OK && r->has_numbers)
		status = get_count(in, &n.added);
	if (status == SETT_OK)
		status = rdb_get_length(in, &r->groups);
	if (status != SETT_OK)
		return status;
	if (count != r->count || stream_id_compare(n.last, r->last) < 0)
		return RDB_MALFORMED;
	*ret = n;
	return SETT_OK;
}

/* ---- groups ---- */

static int
read_pending(struct rdb_stream_reader *r)
{
	struct rdb_input *in = &r->reader->in;
	struct rdb_stream_pending p = {0};
	struct stream_id before = {0};
	uint64_t count;
	int status = rdb_get_length(in, &count);
	buffer_clear(&r->pending);
	r->left = 0;
	while (status == SETT_OK && count-- > 0) {
		status = get_id_bytes(in, &p.id);
		if (status == SETT_OK)
			status = rdb_get_u64le(in, &p.delivered);
		if (status == SETT_OK)
			status = get_count(in, &p.count);
		if (status == SETT_OK &&
		    ((r->left > 0 && stream_id_compare(p.id, before) <= 0) || p.delivered > INT64_MAX))
			status = RDB_MALFORMED;
		if (status == SETT_OK)
			status = buffer_append(&r->pending, &p, sizeof(p));
		before = p.id;
		r->left++;
	}
	return status;
}

int
rdb_stream_group(struct rdb_stream_reader *r, struct rdb_stream_group *ret)
{
	struct rdb_reader *reader = r->reader;
	struct rdb_stream_group g = {.has_read = r->has_numbers};
	uint64_t read = 0;
	if (r->groups == 0)
		return SETT_NOT_FOUND;
	r->groups--;
	int status = rdb_get_string(&reader->in, &reader->name_room, &g.name);
	if (status == SETT_OK)
		status = get_id_lengths(&reader->in, &g.last);
	if (status == SETT_OK && g.has_read)
		status = rdb_get_length(&reader->in, &read);
	if (status == SETT_OK && read > INT64_MAX && read != UINT64_MAX)
		status = RDB_MALFORMED;
	if (status == SETT_OK)
		status = read_pending(r);
	if (status == SETT_OK)
		status = rdb_get_length(&reader->in, &r->consumers);
	if (status != SETT_OK)
		return status;
	g.read = read + 1;
	*ret = g;
	return SETT_OK;
}

int
rdb_stream_consumer(struct rdb_stream_reader *r, struct rdb_stream_consumer *ret)
{
	struct rdb_reader *reader = r->reader;
	struct rdb_stream_consumer c;
	uint64_t active;
	if (r->consumers == 0)
		return r->left == 0 ? SETT_NOT_FOUND : RDB_MALFORMED;
	r->consumers--;
	int status = rdb_get_string(&reader->in, &reader->value_room, &c.name);
	if (status == SETT_OK)
		status = rdb_get_u64le(&reader->in, &c.seen);
	if (status == SETT_OK && r->has_active)
		status = rdb_get_u64le(&reader->in, &active);
	if (status == SETT_OK && c.seen > INT64_MAX)
		status = RDB_MALFORMED;
	if (status == SETT_OK)
		status = rdb_get_length(&reader->in, &r->owned);
	if (status == SETT_OK)
		*ret = c;
	return status;
}

static struct rdb_stream_pending *
find_pending(struct rdb_stream_reader *r, struct stream_id id)
{
	struct rdb_stream_pending *list = (struct rdb_stream_pending *)(void *)r->pending.data;
	size_t low = 0, high = r->pending.size / sizeof(*list);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = stream_id_compare(list[middle].id, id);
		if (order == 0)
			return &list[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int
rdb_stream_owned(struct rdb_stream_reader *r, struct rdb_stream_pending *ret)
{
	struct stream_id id;
	if (r->owned == 0)
		return SETT_NOT_FOUND;
	r->owned--;
	int status = get_id_bytes(&r->reader->in, &id);
	if (status != SETT_OK)
		return status;
	struct rdb_stream_pending *found = find_pending(r, id);
	if (found == NULL || found->is_owned)
		return RDB_MALFORMED;
	found->is_owned = true;
	r->left--;
	*ret = *found;
	return SETT_OK;
}
