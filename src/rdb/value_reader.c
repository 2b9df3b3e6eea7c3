/* Each type of value is a row of the table `forms`: elements one after another (plain), in one blob, or in nodes. */
#include "rdb/value_reader.h"

#include <math.h>

enum layout {
	LAYOUT_NONE,
	LAYOUT_STRING,
	LAYOUT_PLAIN,
	LAYOUT_BLOB,
	LAYOUT_NODES,
	LAYOUT_TYPED_NODES,
	LAYOUT_UNREAD
};

struct rdb_form {
	enum value_type type;
	enum layout layout;
	enum blob_form blob;
	bool has_first_deadline;
	/* A plain element. */
	int (*get)(struct rdb_reader *, struct rdb_element *ret);
	/* An element of a blob: its first part is `name`. */
	int (*get_rest)(struct rdb_reader *, struct rdb_element *ret);
};

/* ---- elements one after another ---- */

static int
get_name(struct rdb_reader *r, struct rdb_element *ret)
{
	return rdb_get_string(&r->in, &r->name_room, &ret->name);
}

static int
get_field(struct rdb_reader *r, struct rdb_element *ret)
{
	int status = get_name(r, ret);
	return status == SETT_OK ? rdb_get_string(&r->in, &r->value_room, &ret->value) : status;
}

static int
get_scored(struct rdb_reader *r, struct rdb_element *ret)
{
	int status = get_name(r, ret);
	if (status == SETT_OK)
		status = rdb_get_double(&r->in, &ret->score);
	return status == SETT_OK && isnan(ret->score) ? RDB_MALFORMED : status;
}

static int
get_old_scored(struct rdb_reader *r, struct rdb_element *ret)
{
	int status = get_name(r, ret);
	return status == SETT_OK ? rdb_get_old_double(&r->in, &ret->score) : status;
}

static int
get_field_with_deadline(struct rdb_reader *r, struct rdb_element *ret)
{
	uint64_t after;
	int status = rdb_get_length(&r->in, &after);
	if (status == SETT_OK && after != 0 &&
	    (__builtin_add_overflow(r->first_deadline, after - 1, &ret->deadline) || ret->deadline == 0 ||
	     ret->deadline > INT64_MAX))
		status = RDB_MALFORMED;
	return status == SETT_OK ? get_field(r, ret) : status;
}

/* ---- elements of blobs ---- */

/* An element that must be there, with its text. */
static int
next_text(struct rdb_reader *r, struct rdb_room *room, struct bytes *ret)
{
	struct blob_element element;
	int status = blob_next(&r->blob, &element);
	if (status == SETT_OK)
		*ret = element.is_integer ? rdb_integer_text(room, element.integer) : element.text;
	return status;
}

static int
must_follow(int status)
{
	return status == SETT_NOT_FOUND ? RDB_MALFORMED : status;
}

static int
rest_of_name(struct rdb_reader *r, struct rdb_element *ret)
{
	(void)r, (void)ret;
	return SETT_OK;
}

static int
rest_of_field(struct rdb_reader *r, struct rdb_element *ret)
{
	return must_follow(next_text(r, &r->value_room, &ret->value));
}

static int
rest_of_scored(struct rdb_reader *r, struct rdb_element *ret)
{
	struct blob_element score;
	int status = must_follow(blob_next(&r->blob, &score));
	if (status != SETT_OK)
		return status;
	if (!score.is_integer)
		return rdb_parse_double(score.text, &ret->score);
	ret->score = (double)score.integer;
	return SETT_OK;
}

static int
rest_of_field_with_deadline(struct rdb_reader *r, struct rdb_element *ret)
{
	struct blob_element deadline;
	int status = rest_of_field(r, ret);
	if (status == SETT_OK)
		status = must_follow(blob_next(&r->blob, &deadline));
	if (status != SETT_OK)
		return status;
	if (!deadline.is_integer || deadline.integer < 0)
		return RDB_MALFORMED;
	ret->deadline = (uint64_t)deadline.integer;
	return SETT_OK;
}

static const struct rdb_form forms[RDB_TYPE_END] = {
	[RDB_STRING] = {.type = VALUE_STRING, .layout = LAYOUT_STRING},
	[RDB_LIST] = {.type = VALUE_LIST, .layout = LAYOUT_PLAIN, .get = get_name},
	[RDB_SET] = {.type = VALUE_SET, .layout = LAYOUT_PLAIN, .get = get_name},
	[RDB_ZSET_TEXT] = {.type = VALUE_ZSET, .layout = LAYOUT_PLAIN, .get = get_old_scored},
	[RDB_HASH] = {.type = VALUE_HASH, .layout = LAYOUT_PLAIN, .get = get_field},
	[RDB_ZSET] = {.type = VALUE_ZSET, .layout = LAYOUT_PLAIN, .get = get_scored},
	[RDB_HASH_ZIPMAP] = {VALUE_HASH, LAYOUT_BLOB, BLOB_ZIPMAP, .get_rest = rest_of_field},
	[RDB_LIST_ZIPLIST] = {VALUE_LIST, LAYOUT_BLOB, BLOB_ZIPLIST, .get_rest = rest_of_name},
	[RDB_SET_INTSET] = {VALUE_SET, LAYOUT_BLOB, BLOB_INTSET, .get_rest = rest_of_name},
	[RDB_ZSET_ZIPLIST] = {VALUE_ZSET, LAYOUT_BLOB, BLOB_ZIPLIST, .get_rest = rest_of_scored},
	[RDB_HASH_ZIPLIST] = {VALUE_HASH, LAYOUT_BLOB, BLOB_ZIPLIST, .get_rest = rest_of_field},
	[RDB_LIST_QUICKLIST] = {VALUE_LIST, LAYOUT_NODES, BLOB_ZIPLIST, .get_rest = rest_of_name},
	[RDB_STREAM] = {.type = VALUE_STREAM, .layout = LAYOUT_UNREAD},
	[RDB_HASH_LISTPACK] = {VALUE_HASH, LAYOUT_BLOB, BLOB_LISTPACK, .get_rest = rest_of_field},
	[RDB_ZSET_LISTPACK] = {VALUE_ZSET, LAYOUT_BLOB, BLOB_LISTPACK, .get_rest = rest_of_scored},
	[RDB_LIST_QUICKLIST_2] = {VALUE_LIST, LAYOUT_TYPED_NODES, BLOB_LISTPACK, .get_rest = rest_of_name},
	[RDB_STREAM_2] = {.type = VALUE_STREAM, .layout = LAYOUT_UNREAD},
	[RDB_SET_LISTPACK] = {VALUE_SET, LAYOUT_BLOB, BLOB_LISTPACK, .get_rest = rest_of_name},
	[RDB_STREAM_3] = {.type = VALUE_STREAM, .layout = LAYOUT_UNREAD},
	[RDB_HASH_DEADLINES] = {.type = VALUE_HASH,
				.layout = LAYOUT_PLAIN,
				.has_first_deadline = true,
				.get = get_field_with_deadline},
	[RDB_HASH_LISTPACK_DEADLINES] = {.type = VALUE_HASH,
					 .layout = LAYOUT_BLOB,
					 .blob = BLOB_LISTPACK,
					 .has_first_deadline = true,
					 .get_rest = rest_of_field_with_deadline},
};

/* As Redis' log calls them. */
static const char *const form_names[RDB_TYPE_END] = {
	[RDB_LIST] = "List",
	[RDB_SET] = "Set",
	[RDB_ZSET_TEXT] = "Zset",
	[RDB_HASH] = "Hash",
	[RDB_ZSET] = "Zset",
	[RDB_HASH_ZIPMAP] = "Zipmap",
	[RDB_LIST_ZIPLIST] = "List ziplist",
	[RDB_SET_INTSET] = "Intset",
	[RDB_ZSET_ZIPLIST] = "Zset ziplist",
	[RDB_HASH_ZIPLIST] = "Hash ziplist",
	[RDB_LIST_QUICKLIST] = "Ziplist",
	[RDB_STREAM] = "Stream listpack",
	[RDB_STRING] = "String",
	[RDB_HASH_LISTPACK] = "Hash listpack",
	[RDB_ZSET_LISTPACK] = "Zset listpack",
	[RDB_LIST_QUICKLIST_2] = "Listpack",
	[RDB_STREAM_2] = "Stream listpack",
	[RDB_SET_LISTPACK] = "Set listpack",
	[RDB_STREAM_3] = "Stream listpack",
	[RDB_HASH_DEADLINES] = "Hash",
	[RDB_HASH_LISTPACK_DEADLINES] = "Hash listpack",
};

/* ---- reading ---- */

static int
open_blob(struct rdb_reader *r)
{
	struct bytes data;
	int status = rdb_get_string(&r->in, &r->blob_room, &data);
	if (status == SETT_OK)
		status = blob_open(r->form->blob, data, &r->blob);
	r->in_blob = status == SETT_OK;
	return status;
}

static int
open_layout(struct rdb_reader *r)
{
	int status = r->form->has_first_deadline ? rdb_get_u64le(&r->in, &r->first_deadline) : SETT_OK;
	if (status != SETT_OK)
		return status;
	switch (r->form->layout) {
	case LAYOUT_STRING:
		r->left = 1;
		return SETT_OK;
	case LAYOUT_PLAIN:
	case LAYOUT_NODES:
	case LAYOUT_TYPED_NODES:
		return rdb_get_length(&r->in, &r->left);
	case LAYOUT_BLOB:
		return open_blob(r);
	default:
		return SETT_OK;
	}
}

int
rdb_reader_open_typed(struct rdb_reader *r, uint8_t type, struct rdb_input in)
{
	/* In its place from the beginning: slices may be of its rooms. */
	*r = (struct rdb_reader){.in = in};
	if (type >= RDB_TYPE_END || forms[type].layout == LAYOUT_NONE)
		return RDB_MALFORMED;
	r->form = &forms[type];
	r->type = r->form->type;
	r->rdb_type = (enum rdb_type)type;
	int status = open_layout(r);
	if (status != SETT_OK)
		rdb_reader_close(r);
	return status;
}

int
rdb_reader_open(struct rdb_reader *r, struct bytes data)
{
	struct rdb_input in = {data.data, data.data + data.size};
	uint8_t type;
	int status = rdb_get_byte(&in, &type);
	return status == SETT_OK ? rdb_reader_open_typed(r, type, in) : status;
}

uint64_t
rdb_reader_weight(const struct rdb_reader *r)
{
	enum { ELEMENT = 64, NODE = 8192 };
	struct rdb_input in = r->in;
	uint64_t count = r->left;
	switch (r->form->layout) {
	case LAYOUT_UNREAD: /* a stream: nodes */
		if (rdb_get_length(&in, &count) != SETT_OK)
			return 0;
		return count < UINT64_MAX / NODE ? count * NODE : UINT64_MAX;
	case LAYOUT_NODES:
	case LAYOUT_TYPED_NODES:
		return count < UINT64_MAX / NODE ? count * NODE : UINT64_MAX;
	case LAYOUT_PLAIN:
		return count < UINT64_MAX / ELEMENT ? count * ELEMENT : UINT64_MAX;
	case LAYOUT_BLOB:
		return rdb_left(&r->blob.in);
	default: /* a string that is not packed begins with its length */
		return rdb_left(&in) > 0 && in.at[0] < 0xc0 && rdb_get_length(&in, &count) == SETT_OK ? count
												      : 0;
	}
}

uint64_t
rdb_reader_elements(const struct rdb_reader *r)
{
	enum { ELEMENT_MIN = 2 }; /* bytes of one in a blob */
	uint64_t most = rdb_left(&r->in);
	if (r->form->layout == LAYOUT_BLOB)
		return rdb_left(&r->blob.in) / ELEMENT_MIN;
	return r->left < most ? r->left : most;
}

/* The next node of a list: a blob, or an element by itself (`ret_is_element`). */
static int
next_node(struct rdb_reader *r, struct rdb_element *ret, bool *ret_is_element)
{
	uint64_t kind = QUICKLIST_PACKED;
	int status = SETT_OK;
	if (r->form->layout == LAYOUT_TYPED_NODES)
		status = rdb_get_length(&r->in, &kind);
	if (status != SETT_OK)
		return status;
	*ret_is_element = kind == QUICKLIST_PLAIN;
	if (kind == QUICKLIST_PLAIN) {
		status = get_name(r, ret);
		return status == SETT_OK && ret->name.size == 0 ? RDB_MALFORMED : status;
	}
	return kind == QUICKLIST_PACKED ? open_blob(r) : RDB_MALFORMED;
}

static int
next_in_blob(struct rdb_reader *r, struct rdb_element *ret)
{
	int status = next_text(r, &r->name_room, &ret->name);
	if (status == SETT_OK)
		status = r->form->get_rest(r, ret);
	r->in_blob = status != SETT_NOT_FOUND;
	return status;
}

static int
next_element(struct rdb_reader *r, struct rdb_element *ret)
{
	bool is_element = false;
	int status;
	for (;;) {
		if (r->in_blob) {
			status = next_in_blob(r, ret);
			if (status != SETT_NOT_FOUND)
				return status;
		}
		if (r->left == 0)
			return SETT_NOT_FOUND;
		r->left--;
		if (r->form->layout == LAYOUT_STRING)
			return get_name(r, ret);
		if (r->form->layout == LAYOUT_PLAIN)
			return r->form->get(r, ret);
		status = next_node(r, ret, &is_element);
		if (status != SETT_OK || is_element)
			return status;
	}
}

int
rdb_reader_next(struct rdb_reader *r, struct rdb_element *ret)
{
	assert(r->form->layout != LAYOUT_UNREAD);
	*ret = (struct rdb_element){0};
	int status = next_element(r, ret);
	if (status == SETT_OK)
		r->count++;
	r->is_empty = status == SETT_NOT_FOUND && r->count == 0;
	return r->is_empty ? RDB_MALFORMED : status;
}

const char *
rdb_reader_form_name(const struct rdb_reader *r)
{
	return r->form != NULL ? form_names[r->rdb_type] : "Type";
}

void
rdb_reader_close(struct rdb_reader *r)
{
	rdb_room_free(&r->blob_room);
	rdb_room_free(&r->name_room);
	rdb_room_free(&r->value_room);
}
