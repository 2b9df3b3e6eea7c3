/* Root records: one per key, found by one engine read.
 *
 *     head    type:u8 encoding:u8 flags:u8 [deadlines] [object] [fields] [text]
 *     flags   1: text is the key's full text, up to the end of the head
 *             2: text is the size of the key's full text (varint), which the body begins with
 *             4: object is the id of its elements and about the bytes they take (varint, varint)
 *             8: fields are the type's own: their size (varint), their bytes
 *            16: deadlines are the key's own (0 = none) and the earliest of its elements (u64 little-endian
 *                each); the engine's entry has the earlier of the two
 *
 * Heads of Sett 0.1 have flags 0, 1 and 2 alone and read as they are. */
#include "keyspace/root.h"

#include "keyspace/chunks.h"
#include "keyspace/private.h"
#include "storage/base/varint.h"
#include "storage/limits.h"

enum {
	FIXED_SIZE = 3,
	DEADLINES_SIZE = 16,
	FLAG_KEY_IN_HEAD = 1,
	FLAG_KEY_IN_BODY = 2,
	FLAG_OBJECT = 4,
	FLAG_FIELDS = 8,
	FLAG_DEADLINES = 16,
	FLAGS_ALL = 31,
	/* Longer keys go to the body: a head is copied by each rewrite. */
	HEAD_KEY_MAX = SETT_MAX_HEAD_SIZE - 64,
	/* All of a head but fields and text. */
	HEAD_OVERHEAD_MAX = FIXED_SIZE + DEADLINES_SIZE + 3 * VARINT_MAX_SIZE,
};

/* ---- decoding ---- */

struct head {
	uint64_t deadline, due_at;
	uint64_t object, object_bytes;
	struct bytes fields;
	struct bytes text;     /* of a long key, if in the head */
	uint64_t text_in_body; /* bytes of it at the front of the body */
};

static const uint8_t *
parse_object(const uint8_t *p, const uint8_t *end, struct head *h)
{
	p = varint_get(p, end, &h->object);
	if (p != NULL)
		p = varint_get(p, end, &h->object_bytes);
	return p != NULL && h->object != 0 ? p : NULL;
}

static const uint8_t *
parse_fields(const uint8_t *p, const uint8_t *end, struct head *h)
{
	uint64_t size;
	p = varint_get(p, end, &size);
	if (p == NULL || size > (size_t)(end - p))
		return NULL;
	h->fields = bytes_of(p, size);
	return p + size;
}

/* What comes after the flags, where there is anything. */
static __attribute__((noinline)) int
parse_rest(struct bytes head, struct head *ret)
{
	const uint8_t *p = head.data + FIXED_SIZE, *end = head.data + head.size;
	unsigned flags = head.data[2];
	struct head h = {0};
	if ((flags & ~(unsigned)FLAGS_ALL) != 0)
		return SETT_CORRUPT;
	if ((flags & FLAG_DEADLINES) != 0) {
		if (end - p < DEADLINES_SIZE)
			return SETT_CORRUPT;
		h.deadline = get_le64(p);
		h.due_at = get_le64(p + 8);
		p += DEADLINES_SIZE;
	}
	if ((flags & FLAG_OBJECT) != 0)
		p = parse_object(p, end, &h);
	if (p != NULL && (flags & FLAG_FIELDS) != 0)
		p = parse_fields(p, end, &h);
	if (p == NULL)
		return SETT_CORRUPT;
	switch (flags & (FLAG_KEY_IN_HEAD | FLAG_KEY_IN_BODY)) {
	case 0:
		break;
	case FLAG_KEY_IN_HEAD:
		h.text = bytes_of(p, (size_t)(end - p));
		p = end;
		break;
	case FLAG_KEY_IN_BODY:
		p = varint_get(p, end, &h.text_in_body);
		break;
	default:
		return SETT_CORRUPT;
	}
	if (p != end)
		return SETT_CORRUPT;
	*ret = h;
	return SETT_OK;
}

static inline int
parse_head(struct bytes head, struct head *ret)
{
	if (head.size < FIXED_SIZE)
		return SETT_CORRUPT;
	if (head.size == FIXED_SIZE && head.data[2] == 0) {
		*ret = (struct head){0};
		return SETT_OK;
	}
	return parse_rest(head, ret);
}

/* Those that this version writes. */
static bool
is_known_type(uint8_t type)
{
	return type == VALUE_STRING || type == VALUE_LIST || type == VALUE_SET || type == VALUE_ZSET ||
		type == VALUE_HASH || type == VALUE_STREAM;
}

int
root_parse(const struct sett_record *record, struct root *ret)
{
	struct head h;
	int status = parse_head(record->head, &h);
	if (status != SETT_OK || !is_known_type(record->head.data[0]) || h.text_in_body > record->body_size)
		return SETT_CORRUPT;
	*ret = (struct root){.type = (enum value_type)record->head.data[0],
			     .encoding = record->head.data[1],
			     .expires_at = record->expires_at,
			     .due_at = h.due_at,
			     .body_size = record->body_size - h.text_in_body,
			     .object = h.object,
			     .object_bytes = h.object_bytes,
			     .fields = h.fields,
			     .record = *record};
	if ((record->head.data[2] & FLAG_DEADLINES) != 0)
		ret->expires_at = h.deadline;
	if (__builtin_expect(root_is_chunked(ret), 0) &&
	    (h.text_in_body > 0 || !chunks_parse_size(h.fields, record->body_size, &ret->body_size)))
		return SETT_CORRUPT;
	return SETT_OK;
}

bool
root_is_expired(const struct keyspace_view *view, const struct root *root)
{
	if (root->expires_at == 0)
		return false;
	bool is_expired = view->now_ms > root->expires_at;
	if (is_expired)
		sett_txn_deadline_passed(view->txn, root->expires_at);
	else
		sett_txn_deadline_ahead(view->txn, root->expires_at);
	return is_expired;
}

int
root_user_key(struct keyspace_view *view, struct bytes engine_key, const struct root *root, struct bytes *ret)
{
	struct head h;
	int status = parse_head(root->record.head, &h);
	if (status != SETT_OK)
		return status;
	if (h.text.size > 0) {
		*ret = h.text;
	} else if (h.text_in_body > 0) {
		struct bytes body;
		status = sett_txn_body(view->txn, &root->record, &body);
		if (status != SETT_OK)
			return status;
		*ret = bytes_of(body.data, h.text_in_body);
	} else {
		*ret = bytes_of(engine_key.data + EPOCH_PREFIX_SIZE, engine_key.size - EPOCH_PREFIX_SIZE);
	}
	return SETT_OK;
}

bool
root_is_of(const struct root *root, struct bytes name)
{
	struct head h;
	if (name.size <= KEYSPACE_MAX_KEY_SIZE || parse_head(root->record.head, &h) != SETT_OK)
		return true;
	return h.text_in_body > 0 ? h.text_in_body == name.size : bytes_equal(h.text, name);
}

/* ---- encoding ---- */

size_t
root_longest_name_in_head(void)
{
	return HEAD_KEY_MAX;
}

static __attribute__((noinline)) int
encode_rest(const struct root_content *content, struct bytes name, struct arena *arena, unsigned flags,
	    struct bytes *ret)
{
	size_t text = (flags & FLAG_KEY_IN_HEAD) != 0 ? name.size : 0;
	size_t most = HEAD_OVERHEAD_MAX + content->fields.size + text;
	if (most > SETT_MAX_HEAD_SIZE)
		return SETT_TOO_LARGE;
	uint8_t *head = arena_allocate(arena, most, 1), *p = head;
	if (head == NULL)
		return SETT_NO_MEMORY;
	*p++ = (uint8_t)content->type;
	*p++ = content->encoding;
	*p++ = (uint8_t)flags;
	if ((flags & FLAG_DEADLINES) != 0) {
		put_le64(p, content->expires_at);
		put_le64(p + 8, content->due_at);
		p += DEADLINES_SIZE;
	}
	if ((flags & FLAG_OBJECT) != 0) {
		p = varint_put(p, content->object);
		p = varint_put(p, content->object_bytes);
	}
	if ((flags & FLAG_FIELDS) != 0) {
		p = varint_put(p, content->fields.size);
		memcpy(p, content->fields.data, content->fields.size);
		p += content->fields.size;
	}
	if ((flags & FLAG_KEY_IN_BODY) != 0)
		p = varint_put(p, name.size);
	if (text > 0)
		memcpy(p, name.data, text);
	*ret = bytes_of(head, (size_t)(p + text - head));
	return SETT_OK;
}

int
root_encode_head(const struct root_content *content, struct bytes name, struct arena *arena,
		 uint8_t room[ROOT_HEAD_ROOM], struct bytes *ret, bool *ret_text_in_body)
{
	unsigned flags = 0;
	if (name.size + content->fields.size > HEAD_KEY_MAX)
		flags |= FLAG_KEY_IN_BODY;
	else if (name.size > KEYSPACE_MAX_KEY_SIZE)
		flags |= FLAG_KEY_IN_HEAD;
	if (content->object != 0)
		flags |= FLAG_OBJECT;
	if (content->fields.size > 0)
		flags |= FLAG_FIELDS;
	if (content->due_at != 0)
		flags |= FLAG_DEADLINES;
	*ret_text_in_body = (flags & FLAG_KEY_IN_BODY) != 0;
	if (flags != 0)
		return encode_rest(content, name, arena, flags, ret);
	room[0] = (uint8_t)content->type;
	room[1] = content->encoding;
	room[2] = 0;
	*ret = bytes_of(room, FIXED_SIZE);
	return SETT_OK;
}
