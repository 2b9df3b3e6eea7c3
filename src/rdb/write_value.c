/* Values that are small by Redis' rules (what OBJECT ENCODING shows) are written in one blob, as Redis does. */
#include "rdb/key_value.h"
#include <stdio.h>
#include <stdlib.h>

#include "keyspace/integer.h"
#include "rdb/payload.h"
#include "rdb/write_value.h"

/* A large string is read into its place piece by piece, and so not compressed. */
static int
write_large_string(struct value_write *v, uint64_t size)
{
	int status = SETT_OK;
	rdb_put_length(v->out, size);
	for (uint64_t at = 0; at < size && status == SETT_OK;) {
		size_t part = size - at < RDB_PIECE_SIZE ? (size_t)(size - at) : (size_t)RDB_PIECE_SIZE;
		uint8_t *space = rdb_put_space(v->out, part);
		status = space != NULL ? key_body_part(v->key, at, part, space) : SETT_NO_MEMORY;
		at += part;
		if (status == SETT_OK)
			status = value_write_go_on(v);
	}
	return status;
}

static int
write_string(struct value_write *v)
{
	struct bytes value;
	uint64_t size = v->key->root.body_size;
	rdb_put_type(v->out, RDB_STRING);
	if (size >= RDB_PIECE_SIZE)
		return write_large_string(v, size);
	int status = key_body(v->key, &value);
	if (status != SETT_OK)
		return status;
	rdb_put_string(v->out, value);
	return SETT_OK;
}

/* ---- hashes ---- */

/* What is to be known of the fields before the first is written. */
struct field_facts {
	uint64_t count, first_deadline;
};

/* Those of a packed hash lie in its body, which stays. */
static void
forget_fields(const struct hash *h, const struct view_reads *since)
{
	if (h->object != 0 && view_reads_are_many(since))
		view_reads_forget(since);
}

static int
survey_fields(struct value_write *v, struct hash *h, struct field_facts *ret)
{
	struct hash_walk walk;
	struct hash_field field;
	struct field_facts facts = {.count = h->count};
	if (h->with_deadline == 0) {
		*ret = facts;
		return SETT_OK;
	}
	facts.count = 0;
	int status = hash_walk(h, &walk);
	struct view_reads reads = view_reads_mark(v->key->view);
	while (status == SETT_OK && (status = hash_walk_next(&walk, &field)) == SETT_OK) {
		facts.count++;
		if (field.deadline != 0 &&
		    (facts.first_deadline == 0 || field.deadline < facts.first_deadline))
			facts.first_deadline = field.deadline;
		forget_fields(h, &reads);
		status = value_write_go_on(v);
	}
	hash_walk_close(&walk);
	if (status != SETT_NOT_FOUND)
		return status;
	if (v->out->leaves_out_field_deadlines)
		facts.first_deadline = 0;
	*ret = facts;
	return facts.count > 0 ? SETT_OK : SETT_NOT_FOUND;
}

/* A value in a place of its own is read into the same memory as the one before: the transaction would keep it. */
static int
put_field_value(struct value_write *v, struct hash *h, const struct hash_field *field)
{
	enum { APART_MIN = 512 };
	struct bytes value;
	int status;
	if (v->out->drain == NULL || !field->is_spread || field->value_size < APART_MIN) {
		status = hash_value(h, field, &value);
	} else {
		buffer_clear(&v->value);
		status = buffer_reserve(&v->value, (size_t)field->value_size);
		if (status == SETT_OK)
			status = sett_txn_body_part(v->key->view->txn, &field->member.record,
						    field->member.name_size, (size_t)field->value_size,
						    v->value.data);
		value = bytes_of(v->value.data, (size_t)field->value_size);
	}
	if (status == SETT_OK)
		rdb_put_string(v->out, value);
	return status;
}

static int
write_plain_fields(struct value_write *v, struct hash_walk *walk, const struct field_facts *facts)
{
	struct hash_field field;
	struct view_reads reads = view_reads_mark(v->key->view);
	uint64_t count = 0;
	int status;
	rdb_put_type(v->out, facts->first_deadline != 0 ? RDB_HASH_DEADLINES : RDB_HASH);
	if (facts->first_deadline != 0)
		rdb_put_little_endian(v->out, facts->first_deadline, 8);
	rdb_put_length(v->out, facts->count);
	while ((status = hash_walk_next(walk, &field)) == SETT_OK) {
		status = value_write_go_on(v);
		if (status != SETT_OK)
			return status;
		if (facts->first_deadline != 0)
			rdb_put_length(v->out,
				       field.deadline != 0 ? field.deadline - facts->first_deadline + 1 : 0);
		rdb_put_string(v->out, field.name);
		status = put_field_value(v, walk->hash, &field);
		if (status != SETT_OK)
			return status;
		forget_fields(walk->hash, &reads);
		count++;
	}
	return status == SETT_NOT_FOUND && count != facts->count ? SETT_CORRUPT : status;
}

/* Without deadlines: the packed form with them must be in their order. */
static int
write_packed_fields(struct value_write *v, struct hash_walk *walk)
{
	struct listpack_writer listpack = {0};
	struct hash_field field;
	struct bytes value;
	int status;
	listpack_begin(&listpack);
	while ((status = hash_walk_next(walk, &field)) == SETT_OK) {
		status = hash_value(walk->hash, &field, &value);
		if (status != SETT_OK)
			break;
		listpack_add(&listpack, field.name);
		listpack_add(&listpack, value);
	}
	rdb_put_type(v->out, RDB_HASH_LISTPACK);
	rdb_put_listpack(v->out, &listpack);
	listpack_free(&listpack);
	return status;
}

static int
write_hash(struct value_write *v)
{
	static const struct hash_limits no_limits;
	struct hash h;
	struct hash_walk walk;
	struct field_facts facts;
	int status = hash_open(v->key, &no_limits, &h);
	if (status == SETT_OK)
		status = survey_fields(v, &h, &facts);
	if (status == SETT_OK)
		status = hash_walk(&h, &walk);
	if (status != SETT_OK)
		return status;
	if (facts.first_deadline != 0)
		v->version = RDB_VERSION_DEADLINES;
	status = h.encoding == HASH_LISTPACK && facts.first_deadline == 0
		? write_packed_fields(v, &walk)
		: write_plain_fields(v, &walk, &facts);
	hash_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- lists ---- */

/* Between two nodes, as nothing is kept of those that were left; the root's body was read before. */
static void
forget_elements(const struct list_walk *walk, const struct view_reads *since)
{
	if (list_walk_is_between(walk) && view_reads_are_many(since))
		view_reads_forget(since);
}

/* What Redis makes of a list: nodes of about 8 KiB, a larger element in one of its own. */
static int
write_nodes(struct value_write *v, struct list_walk *walk, struct listpack_writer *node, uint64_t *ret_nodes)
{
	enum { NODE_MAX = 8192, ENTRY_MAX = 11 /* beside the element's own bytes, the end included */ };
	struct view_reads reads = view_reads_mark(v->key->view);
	struct list_element element;
	struct bytes value;
	int status;
	listpack_begin(node);
	while ((status = list_walk_next(walk, &element)) == SETT_OK) {
		status = list_value(walk->list, &element, &value);
		if (status == SETT_OK)
			status = value_write_go_on(v);
		if (status != SETT_OK)
			return status;
		if (node->count > 0 && node->out.size + value.size + ENTRY_MAX > NODE_MAX) {
			rdb_put_length(v->out, QUICKLIST_PACKED);
			rdb_put_listpack(v->out, node);
			listpack_begin(node);
			++*ret_nodes;
		}
		listpack_add(node, value);
		forget_elements(walk, &reads);
	}
	rdb_put_length(v->out, QUICKLIST_PACKED);
	rdb_put_listpack(v->out, node);
	++*ret_nodes;
	return status;
}

/* The older form, whose only length is known beforehand: for what is written to its file piece by piece. */
static int
write_elements(struct value_write *v, struct list_walk *walk)
{
	const struct list *list = walk->list;
	struct view_reads reads = view_reads_mark(v->key->view);
	struct list_element element;
	struct bytes value;
	uint64_t count = 0;
	int status;
	rdb_put_type(v->out, RDB_LIST);
	rdb_put_length(v->out, list->count);
	while ((status = list_walk_next(walk, &element)) == SETT_OK) {
		status = list_value(list, &element, &value);
		if (status != SETT_OK)
			return status;
		rdb_put_string(v->out, value);
		forget_elements(walk, &reads);
		count++;
		if ((status = value_write_go_on(v)) != SETT_OK)
			return status;
	}
	return status == SETT_NOT_FOUND && count != list->count ? SETT_CORRUPT : status;
}

static int
write_list(struct value_write *v)
{
	struct list list;
	struct list_walk walk;
	struct listpack_writer node = {0};
	uint64_t nodes = 0;
	int status = list_open(v->key, 0, &list);
	if (status == SETT_OK)
		status = list_read_body(&list);
	if (status == SETT_OK)
		status = list_walk_by(&list, 0, false, &walk);
	if (status != SETT_OK)
		return status;
	if (v->out->drain != NULL && v->key->root.object_bytes > RDB_PIECE_SIZE) {
		status = write_elements(v, &walk);
	} else {
		rdb_put_type(v->out, RDB_LIST_QUICKLIST_2);
		size_t length = rdb_put_length_space(v->out);
		status = write_nodes(v, &walk, &node, &nodes);
		rdb_set_length(v->out, length, nodes);
		listpack_free(&node);
	}
	list_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- sets ---- */

static int
write_members(struct value_write *v, struct hash *set, struct hash_walk *walk)
{
	struct hash_field member;
	struct view_reads reads = view_reads_mark(v->key->view);
	uint64_t count = 0;
	int status;
	rdb_put_type(v->out, RDB_SET);
	rdb_put_length(v->out, set->count);
	while ((status = hash_walk_next(walk, &member)) == SETT_OK &&
	       (status = value_write_go_on(v)) == SETT_OK) {
		rdb_put_string(v->out, member.name);
		forget_fields(set, &reads);
		count++;
	}
	return status == SETT_NOT_FOUND && count != set->count ? SETT_CORRUPT : status;
}

static int
compare_integers(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* SETT_NOT_FOUND at the end, as many as the set has. */
static int
read_integers(struct hash *set, struct hash_walk *walk, int64_t *values)
{
	struct hash_field member;
	uint64_t count = 0;
	int status;
	while ((status = hash_walk_next(walk, &member)) == SETT_OK)
		if (count == set->count || !parse_integer(member.name, &values[count++]))
			return SETT_CORRUPT;
	return status == SETT_NOT_FOUND && count != set->count ? SETT_CORRUPT : status;
}

/* Integers in order, each with as many bytes as the widest needs. */
static void
put_intset(struct rdb_writer *out, const int64_t *values, uint64_t count)
{
	int64_t low = values[0], high = values[count - 1];
	uint64_t width = low == (int16_t)low && high == (int16_t)high ? 2
		: low == (int32_t)low && high == (int32_t)high        ? 4
								      : 8;
	struct rdb_writer blob;
	rdb_writer_init(&blob, false);
	rdb_put_little_endian(&blob, width, 4);
	rdb_put_little_endian(&blob, count, 4);
	for (uint64_t i = 0; i < count; i++)
		rdb_put_little_endian(&blob, (uint64_t)values[i], (size_t)width);
	rdb_put_type(out, RDB_SET_INTSET);
	rdb_put_string(out, buffer_bytes(&blob.out));
	out->failed = out->failed || blob.failed;
	rdb_writer_free(&blob);
}

static int
write_integers(struct value_write *v, struct hash *set, struct hash_walk *walk)
{
	int64_t *values = malloc(set->count * sizeof(*values));
	if (values == NULL)
		return SETT_NO_MEMORY;
	int status = read_integers(set, walk, values);
	if (status == SETT_NOT_FOUND) {
		qsort(values, set->count, sizeof(*values), compare_integers);
		put_intset(v->out, values, set->count);
	}
	free(values);
	return status;
}

static int
write_set(struct value_write *v)
{
	static const struct set_limits no_limits;
	struct hash set;
	struct hash_walk walk;
	int status = set_open(v->key, &no_limits, &set);
	if (status == SETT_OK)
		status = hash_walk(&set, &walk);
	if (status != SETT_OK)
		return status;
	status = set.encoding == SET_INTSET ? write_integers(v, &set, &walk) : write_members(v, &set, &walk);
	hash_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- sorted sets ---- */

/* As Redis prints a score that is no integer. */
static void
add_score(struct listpack_writer *listpack, double score)
{
	enum { TEXT_MAX = 32 };
	char text[TEXT_MAX];
	const double exact = 9007199254740992; /* integers up to 2^53 */
	if (score >= -exact && score <= exact && score == (double)(int64_t)score) {
		listpack_add_integer(listpack, (int64_t)score);
		return;
	}
	int size = snprintf(text, sizeof(text), "%.17g", score);
	listpack_add(listpack, bytes_of(text, (size_t)size));
}

/* In the order of scores, which Redis takes for granted. */
static int
write_packed_scores(struct value_write *v, struct zset_walk *walk)
{
	struct listpack_writer listpack = {0};
	struct zset_element element;
	int status;
	listpack_begin(&listpack);
	while ((status = zset_walk_next(walk, &element)) == SETT_OK) {
		listpack_add(&listpack, element.name);
		add_score(&listpack, element.score);
	}
	rdb_put_type(v->out, RDB_ZSET_LISTPACK);
	rdb_put_listpack(v->out, &listpack);
	listpack_free(&listpack);
	return status;
}

/* The walk is in pages of the tree that were read: it begins anew behind the element that it has given last. */
static int
forget_scores(struct value_write *v, struct zset_walk *walk, const struct view_reads *since)
{
	struct zset *z = walk->zset;
	if (!z->has_tree || !view_reads_are_many(since))
		return SETT_OK;
	struct bytes key = zset_walk_key(walk);
	buffer_clear(&v->value);
	int status = buffer_append(&v->value, key.data, key.size);
	zset_walk_close(walk);
	view_reads_forget(since);
	zset_walk(z, 0, false, walk);
	return status == SETT_OK ? zset_walk_resume(walk, buffer_bytes(&v->value)) : status;
}

static int
write_plain_scores(struct value_write *v, struct zset_walk *walk, uint64_t expected)
{
	struct zset_element element;
	struct view_reads reads = view_reads_mark(v->key->view);
	uint64_t count = 0;
	int status;
	rdb_put_type(v->out, RDB_ZSET);
	rdb_put_length(v->out, expected);
	while ((status = zset_walk_next(walk, &element)) == SETT_OK &&
	       (status = value_write_go_on(v)) == SETT_OK) {
		rdb_put_string(v->out, element.name);
		rdb_put_double(v->out, element.score);
		count++;
		if ((status = forget_scores(v, walk, &reads)) != SETT_OK)
			return status;
	}
	return status == SETT_NOT_FOUND && count != expected ? SETT_CORRUPT : status;
}

static int
write_zset(struct value_write *v)
{
	static const struct hash_limits no_limits;
	struct hash members;
	struct zset z;
	struct zset_walk walk;
	int status = zset_open(v->key, &no_limits, &members, &z);
	if (status != SETT_OK)
		return status;
	zset_walk(&z, 0, false, &walk);
	status = members.encoding == ZSET_LISTPACK ? write_packed_scores(v, &walk)
						   : write_plain_scores(v, &walk, zset_count(&z));
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int (*const writers[VALUE_TYPE_END])(struct value_write *) = {
	[VALUE_STRING] = write_string, [VALUE_LIST] = write_list, [VALUE_SET] = write_set,
	[VALUE_ZSET] = write_zset,     [VALUE_HASH] = write_hash, [VALUE_STREAM] = rdb_write_stream,
};

int
rdb_write_value(struct key *k, const bool *gone, struct rdb_writer *out, unsigned *ret_version)
{
	struct value_write v = {.key = k, .gone = gone, .out = out, .version = RDB_VERSION};
	assert(k->exists && (unsigned)k->root.type < VALUE_TYPE_END);
	int status = writers[k->root.type](&v);
	buffer_free(&v.value);
	if (status == SETT_OK && out->failed)
		status = out->failure != SETT_OK ? out->failure : SETT_NO_MEMORY;
	assert(status != SETT_OK || !out->has_name);
	if (status == SETT_OK)
		*ret_version = v.version;
	return status;
}
