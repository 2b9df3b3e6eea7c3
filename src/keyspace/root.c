/* Root records: one per key, found by one engine read.
 *
 *     head   type:u8 encoding:u8 flags:u8 [long key]
 *     flags  1: the rest of the head is the key's full text
 *            2: the rest of the head is the size of the key's full text (varint), which the body begins with
 *
 * Invariants
 * - Each write of a root keeps the two counters of its epoch right, from what the transaction itself read:
 * the number of records and of those with a deadline. A record past its deadline counts until it is removed,
 *   though it reads as absent; the view remembers such keys, because a write over one creates no new record.
 * - Each write names the key's conflict key, and "which keys exist" if that changed. */
#include "keyspace/private.h"

#include "storage/base/hash.h"
#include "storage/base/varint.h"
#include "storage/limits.h"

enum {
	HEAD_SIZE = 3,
	FLAG_KEY_IN_HEAD = 1,
	FLAG_KEY_IN_BODY = 2,
	/* Longer keys go to the body: a head is copied by each rewrite. */
	HEAD_KEY_MAX = SETT_MAX_HEAD_SIZE - 64,
	EMBSTR_MAX = 44,    /* Redis' limit between embstr and raw */
	EXPIRED_MAX = 1024, /* keys kept as hints by scans; lookups keep all they meet */
};

/* ---- names ---- */

void
long_key_hash(struct bytes key, uint8_t ret[16])
{
	struct hash128 h = hash128(key.data, key.size, 0);
	put_be64(ret, h.high);
	put_be64(ret + 8, h.low);
}

static bool
is_same_place(struct bytes a, struct bytes b)
{
	return a.data == b.data && a.size == b.size;
}

/* Whether the engine key used last is that of this key, which is not long. */
static bool
is_last_key(const struct keyspace_view *view, uint64_t epoch, struct bytes key)
{
	struct bytes last = view->last.bytes;
	return last.size == EPOCH_PREFIX_SIZE + key.size && get_be64(last.data + 1) == epoch &&
		(key.size == 0 || memcmp(last.data + EPOCH_PREFIX_SIZE, key.data, key.size) == 0);
}

static int
make_engine_key(struct sett_engine *engine, struct arena *arena, uint64_t epoch, struct bytes key,
		struct sett_key *ret)
{
	bool is_long = key.size > KEYSPACE_MAX_KEY_SIZE;
	size_t kept = is_long ? KEYSPACE_MAX_KEY_SIZE : key.size;
	size_t size = EPOCH_PREFIX_SIZE + (is_long ? (size_t)LONG_KEY_STORED_SIZE : kept);
	uint8_t *p = arena_allocate(arena, size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (kept > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, key.data, kept);
	if (is_long)
		long_key_hash(key, p + EPOCH_PREFIX_SIZE + kept);
	ret->bytes = bytes_of(p, size);
	ret->hash = sett_engine_hash(engine, ret->bytes);
	return SETT_OK;
}

bool
keyspace_prepare(struct keyspace *k, unsigned db, struct bytes key, struct arena *arena,
		 struct prepared_key *ret)
{
	if (db >= k->count || key.size > KEYSPACE_MAX_KEY_SIZE)
		return false;
	ret->key = key;
	/* Relaxed: whoever uses it compares it with the epoch of its snapshot. */
	ret->epoch = __atomic_load_n(&k->databases[db].epoch, __ATOMIC_RELAXED);
	return make_engine_key(k->engine, arena, ret->epoch, key, &ret->engine_key) == SETT_OK;
}

int
root_engine_key(struct keyspace_view *view, uint64_t epoch, struct bytes key, struct sett_key *ret)
{
	if (key.size <= KEYSPACE_MAX_KEY_SIZE && is_last_key(view, epoch, key)) {
		*ret = view->last;
		return SETT_OK;
	}
	const struct prepared_key *next = view->prepared;
	if (next != view->prepared_end && next->epoch == epoch && is_same_place(next->key, key)) {
		view->last = next->engine_key;
		view->prepared++;
	} else {
		int status = make_engine_key(view->keyspace->engine, view->arena, epoch, key, &view->last);
		if (status != SETT_OK)
			return status;
	}
	*ret = view->last;
	return SETT_OK;
}

/* Where a long key's full text is. */
struct key_text {
	struct bytes in_head;
	uint64_t in_body; /* bytes at the front of the body */
};

static int
parse_key_text(struct bytes head, struct key_text *ret)
{
	*ret = (struct key_text){0};
	if (head.size < HEAD_SIZE)
		return SETT_CORRUPT;
	const uint8_t *rest = head.data + HEAD_SIZE, *end = head.data + head.size;
	switch (head.data[2]) {
	case 0:
		return rest == end ? SETT_OK : SETT_CORRUPT;
	case FLAG_KEY_IN_HEAD:
		ret->in_head = bytes_of(rest, (size_t)(end - rest));
		return SETT_OK;
	case FLAG_KEY_IN_BODY:
		return varint_get(rest, end, &ret->in_body) == end ? SETT_OK : SETT_CORRUPT;
	default:
		return SETT_CORRUPT;
	}
}

int
root_parse(const struct sett_record *record, struct root *ret)
{
	struct key_text text;
	int status = parse_key_text(record->head, &text);
	if (status != SETT_OK || record->head.data[0] != VALUE_STRING || text.in_body > record->body_size)
		return SETT_CORRUPT;
	*ret = (struct root){.type = (enum value_type)record->head.data[0],
			     .encoding = record->head.data[1],
			     .expires_at = record->expires_at,
			     .body_size = record->body_size - text.in_body,
			     .record = *record};
	return SETT_OK;
}

bool
root_is_expired(const struct keyspace_view *view, const struct root *root)
{
	return root->expires_at != 0 && view->now_ms > root->expires_at;
}

int
root_user_key(struct keyspace_view *view, struct bytes engine_key, const struct root *root, struct bytes *ret)
{
	struct key_text text;
	int status = parse_key_text(root->record.head, &text);
	if (status != SETT_OK)
		return status;
	if (text.in_head.size > 0) {
		*ret = text.in_head;
	} else if (text.in_body > 0) {
		struct bytes body;
		status = sett_txn_body(view->txn, &root->record, &body);
		if (status != SETT_OK)
			return status;
		*ret = bytes_of(body.data, text.in_body);
	} else {
		*ret = bytes_of(engine_key.data + EPOCH_PREFIX_SIZE, engine_key.size - EPOCH_PREFIX_SIZE);
	}
	return SETT_OK;
}

/* Whether a record found under a long key's engine key is that key's: two keys whose prefix and hash are the
 * same cannot both be kept. */
static bool
is_record_of(struct bytes key, const struct root *root)
{
	struct key_text text;
	if (key.size <= KEYSPACE_MAX_KEY_SIZE || parse_key_text(root->record.head, &text) != SETT_OK)
		return true;
	return text.in_body > 0 ? text.in_body == key.size : bytes_equal(text.in_head, key);
}

/* ---- reading ---- */

int
root_note_expired(struct keyspace_view *view, unsigned db, struct bytes engine_key, struct bytes key)
{
	for (struct expired_key *e = view->first_expired; e != NULL; e = e->next)
		if (bytes_equal(e->engine_key, engine_key)) {
			e->replaced = false;
			return SETT_OK;
		}
	struct expired_key *e = arena_allocate(view->arena, sizeof(*e), _Alignof(struct expired_key));
	if (e == NULL)
		return SETT_NO_MEMORY;
	*e = (struct expired_key){.next = view->first_expired,
				  .engine_key = engine_key,
				  .key = key,
				  .db = db,
				  .had_expiry = true};
	view->first_expired = e;
	view->expired_count++;
	return SETT_OK;
}

int
keyspace_lookup(struct keyspace_view *view, unsigned db, struct bytes key, struct root *ret)
{
	uint64_t epoch;
	struct sett_key engine_key;
	struct sett_record record;
	struct root root;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = root_engine_key(view, epoch, key, &engine_key);
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, view->last.hash);
	if (status == SETT_OK)
		status = sett_txn_get_hashed(view->txn, engine_key, &record);
	if (status == SETT_OK)
		status = root_parse(&record, &root);
	if (status != SETT_OK)
		return status;
	if (!is_record_of(key, &root))
		return SETT_INVALID;
	if (!view->allow_expired && root_is_expired(view, &root)) {
		status = root_note_expired(view, db, engine_key.bytes, key);
		return status == SETT_OK ? SETT_NOT_FOUND : status;
	}
	*ret = root;
	return SETT_OK;
}

int
keyspace_body(struct keyspace_view *view, const struct root *root, struct bytes *ret)
{
	struct bytes body;
	int status = sett_txn_body(view->txn, &root->record, &body);
	if (status != SETT_OK)
		return status;
	if (body.size < root->body_size)
		return SETT_CORRUPT;
	size_t skip = body.size - root->body_size; /* a long key's text */
	*ret = bytes_of(body.data + skip, root->body_size);
	return SETT_OK;
}

/* Bytes of the record's body that stand before the root's: a long key's text. */
static uint64_t
before_body(const struct root *root)
{
	return root->record.body_size - root->body_size;
}

int
keyspace_body_part(struct keyspace_view *view, const struct root *root, uint64_t offset, size_t size,
		   void *ret)
{
	return sett_txn_body_part(view->txn, &root->record, before_body(root) + offset, size, ret);
}

int
keyspace_body_stream(struct keyspace_view *view, const struct root *root, uint64_t offset, uint64_t size,
		     struct sett_body_stream **ret)
{
	return sett_body_stream_open(view->txn, &root->record, before_body(root) + offset, size, ret);
}

/* ---- writing ---- */

/* What stood under the key before: from the caller's lookup, or an expired record that reads as absent. */
struct previous {
	bool exists, had_expiry, visible;
};

static struct previous
previous_of(struct keyspace_view *view, struct bytes engine_key, const struct root *old)
{
	if (old != NULL)
		return (struct previous){.exists = true, .had_expiry = old->expires_at != 0, .visible = true};
	for (struct expired_key *e = view->first_expired; e != NULL; e = e->next)
		if (!e->replaced && bytes_equal(e->engine_key, engine_key)) {
			e->replaced = true;
			return (struct previous){.exists = true, .had_expiry = e->had_expiry};
		}
	return (struct previous){0};
}

/* Counters, conflict keys and the list of touched keys. `now_exists` after the write, with `expires_at`. */
static int
account(struct keyspace_view *view, uint64_t epoch, unsigned db, struct bytes key, struct previous was,
	bool now_exists, uint64_t expires_at)
{
	int keys = (int)now_exists - (int)was.exists;
	int expires = (int)(now_exists && expires_at != 0) - (int)was.had_expiry;
	int status = sett_txn_write_conflict(view->txn, view->last.hash);
	if (status == SETT_OK && (keys != 0 || now_exists != was.visible))
		status = sett_txn_write_conflict(view->txn, existence_conflict_key(epoch));
	if (status == SETT_OK && keys != 0)
		status = sett_txn_counter_add(view->txn, 2 * epoch, keys);
	if (status == SETT_OK && expires != 0)
		status = sett_txn_counter_add(view->txn, 2 * epoch + 1, expires);
	if (status != SETT_OK)
		return status;
	struct touched_key *t = keyspace_touch(view, db, key);
	if (t == NULL)
		return SETT_NO_MEMORY;
	t->expires_at = expires_at;
	return SETT_OK;
}

/* The key's text as touched_key wants it: in the arena, which the engine key of a short one already is. */
static int
arena_key(struct keyspace_view *view, struct bytes engine_key, struct bytes key, struct bytes *ret)
{
	if (key.size <= KEYSPACE_MAX_KEY_SIZE) {
		*ret = bytes_of(engine_key.data + EPOCH_PREFIX_SIZE, key.size);
		return SETT_OK;
	}
	void *copy = arena_copy(view->arena, key.data, key.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	*ret = bytes_of(copy, key.size);
	return SETT_OK;
}

/* What a root is to hold: `value`, or else the body of a record or one that was written in pieces (in neither
 * of which a key's text stands). */
struct content {
	uint8_t type, encoding;
	struct bytes value;
	const struct sett_record *body_of;
	const struct sett_body_writer *written;
};

static int
put_root(struct keyspace_view *view, unsigned db, struct bytes key, const struct content *content,
	 uint64_t expires_at, const struct root *old)
{
	uint8_t short_head[HEAD_SIZE + VARINT_MAX_SIZE] = {content->type, content->encoding, 0};
	struct bytes value = content->value;
	struct sett_put put = {.head = bytes_of(short_head, HEAD_SIZE),
			       .body = value,
			       .body_of = content->body_of,
			       .written = content->written,
			       .expires_at = expires_at};
	uint64_t epoch;
	struct sett_key engine_key;
	struct bytes kept_key;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = root_engine_key(view, epoch, key, &engine_key);
	if (status == SETT_OK)
		status = arena_key(view, engine_key.bytes, key, &kept_key);
	if (status != SETT_OK)
		return status;
	uint8_t *joined = NULL;
	if (key.size > HEAD_KEY_MAX) {
		short_head[2] = FLAG_KEY_IN_BODY;
		put.head.size = (size_t)(varint_put(short_head + HEAD_SIZE, key.size) - short_head);
		joined = malloc(key.size + value.size);
		if (joined == NULL)
			return SETT_NO_MEMORY;
		memcpy(joined, key.data, key.size);
		if (value.size > 0)
			memcpy(joined + key.size, value.data, value.size);
		put.body = bytes_of(joined, key.size + value.size);
	} else if (key.size > KEYSPACE_MAX_KEY_SIZE) {
		uint8_t *head = arena_allocate(view->arena, HEAD_SIZE + key.size, 1);
		if (head == NULL)
			return SETT_NO_MEMORY;
		short_head[2] = FLAG_KEY_IN_HEAD;
		memcpy(head, short_head, HEAD_SIZE);
		memcpy(head + HEAD_SIZE, key.data, key.size);
		put.head = bytes_of(head, HEAD_SIZE + key.size);
	}
	status = sett_txn_put_hashed(view->txn, engine_key, &put);
	free(joined);
	if (status != SETT_OK)
		return status;
	return account(view, epoch, db, kept_key, previous_of(view, engine_key.bytes, old), true, expires_at);
}

int
keyspace_put_encoded(struct keyspace_view *view, unsigned db, struct bytes key, struct bytes value,
		     enum string_encoding encoding, uint64_t expires_at, const struct root *old)
{
	struct content content = {.type = VALUE_STRING, .encoding = (uint8_t)encoding, .value = value};
	return put_root(view, db, key, &content, expires_at, old);
}

bool
keyspace_key_takes_body(struct bytes key)
{
	return key.size <= HEAD_KEY_MAX;
}

int
keyspace_put_body(struct keyspace_view *view, unsigned db, struct bytes key,
		  const struct sett_body_writer *written, uint64_t expires_at, const struct root *old)
{
	struct content content = {.type = VALUE_STRING, .encoding = STRING_RAW, .written = written};
	if (!keyspace_key_takes_body(key))
		return SETT_INVALID;
	return put_root(view, db, key, &content, expires_at, old);
}

/* Whether the text is a 64-bit integer as it would be printed. */
static bool
is_integer(struct bytes text)
{
	size_t i = text.data[0] == '-', digits = text.size - i;
	if (digits == 0 || digits > 19 || (text.data[i] == '0' && text.size > 1))
		return false;
	uint64_t value = 0;
	for (size_t j = i; j < text.size; j++) {
		unsigned digit = (unsigned)text.data[j] - '0';
		if (digit > 9)
			return false;
		value = value * 10 + digit; /* 19 digits stay below 2^64 */
	}
	return value <= (uint64_t)INT64_MAX + i;
}

int
keyspace_put_string(struct keyspace_view *view, unsigned db, struct bytes key, struct bytes value,
		    uint64_t expires_at, const struct root *old)
{
	enum string_encoding encoding = STRING_RAW;
	if (value.size > 0 && value.size <= 20 && is_integer(value))
		encoding = STRING_INT;
	else if (value.size <= EMBSTR_MAX)
		encoding = STRING_EMBSTR;
	return keyspace_put_encoded(view, db, key, value, encoding, expires_at, old);
}

/* Puts the root's content under a key, without moving the body unless a key's text stands in front of it. */
static int
put_content(struct keyspace_view *view, const struct root *from, unsigned db, struct bytes key,
	    uint64_t expires_at, const struct root *old)
{
	struct content content = {.type = (uint8_t)from->type, .encoding = from->encoding};
	if (from->record.body_size == from->body_size && key.size <= HEAD_KEY_MAX) {
		content.body_of = &from->record;
	} else {
		int status = keyspace_body(view, from, &content.value);
		if (status != SETT_OK)
			return status;
	}
	return put_root(view, db, key, &content, expires_at, old);
}

int
keyspace_set_expiry(struct keyspace_view *view, unsigned db, struct bytes key, const struct root *root,
		    uint64_t expires_at)
{
	return put_content(view, root, db, key, expires_at, root);
}

int
keyspace_copy(struct keyspace_view *view, const struct root *from, unsigned to_db, struct bytes to_key,
	      const struct root *to_old)
{
	return put_content(view, from, to_db, to_key, from->expires_at, to_old);
}

int
keyspace_delete(struct keyspace_view *view, unsigned db, struct bytes key, const struct root *root)
{
	uint64_t epoch;
	struct sett_key engine_key;
	struct bytes kept_key;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = root_engine_key(view, epoch, key, &engine_key);
	if (status == SETT_OK)
		status = arena_key(view, engine_key.bytes, key, &kept_key);
	if (status == SETT_OK)
		status = sett_txn_delete_hashed(view->txn, engine_key);
	if (status != SETT_OK)
		return status;
	return account(view, epoch, db, kept_key, previous_of(view, engine_key.bytes, root), false, 0);
}

int
keyspace_expire(struct keyspace_view *view, unsigned db, struct bytes stored, uint64_t *ret_deadline)
{
	uint64_t epoch;
	struct sett_record record;
	struct root root;
	struct bytes key;
	int status = keyspace_epoch(view, db, &epoch);
	if (status != SETT_OK)
		return status;
	if (stored.size > LONG_KEY_STORED_SIZE)
		return SETT_INVALID;
	uint8_t *p = arena_allocate(view->arena, EPOCH_PREFIX_SIZE + stored.size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (stored.size > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, stored.data, stored.size);
	struct sett_key engine_key = {.bytes = bytes_of(p, EPOCH_PREFIX_SIZE + stored.size)};
	engine_key.hash = sett_engine_hash(view->keyspace->engine, engine_key.bytes);
	view->last = engine_key;
	status = sett_txn_read_conflict(view->txn, view->last.hash);
	if (status == SETT_OK)
		status = sett_txn_get_hashed(view->txn, engine_key, &record);
	if (status == SETT_OK)
		status = root_parse(&record, &root);
	if (status != SETT_OK || !root_is_expired(view, &root)) {
		*ret_deadline = status == SETT_OK ? root.expires_at : 0;
		return status == SETT_OK ? SETT_NOT_FOUND : status;
	}
	status = root_user_key(view, engine_key.bytes, &root, &key);
	if (status == SETT_OK)
		status = sett_txn_delete_hashed(view->txn, engine_key);
	if (status == SETT_OK)
		status = account(view, epoch, db, key, (struct previous){.exists = true, .had_expiry = true},
				 false, 0);
	if (status == SETT_OK)
		view->last_touched->expired = true;
	return status;
}
