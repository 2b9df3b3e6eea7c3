/* Opening and changing one key.
 *
 * Invariants
 * - Each write of a root keeps the counters of its epoch right, from what the transaction itself read: the
 *   number of records, of those with a deadline, and of those with a deadline among their elements. A record
 *   past its deadline counts until it is removed, though it reads as absent.
 * - Each write names the key's conflict key, and "which keys exist" if that changed.
 * - Elements whose root goes are dropped in the same transaction (I22). */
#include "keyspace/key.h"

#include "keyspace/chunks.h"
#include "keyspace/held.h"
#include "keyspace/integer.h"
#include "keyspace/private.h"
#include "keyspace/root.h"
#include "keyspace/seen.h"

enum {
	EMBSTR_MAX = 44, /* Redis' limit between embstr and raw */
};

const char *
value_type_name(enum value_type type)
{
	static const char *const names[VALUE_TYPE_END] = {
		[VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
		[VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream"};
	assert((unsigned)type < VALUE_TYPE_END && names[type] != NULL);
	return names[type];
}

/* ---- opening ---- */

static bool
is_same_place(struct bytes a, struct bytes b)
{
	return a.data == b.data && a.size == b.size;
}

/* The engine key made ahead if this is the next of those, else a new one. */
static int
find_engine_key(struct keyspace_view *view, struct key *k)
{
	const struct prepared_key *next = view->prepared;
	if (next != view->prepared_end && next->epoch == k->epoch && is_same_place(next->key, k->name)) {
		k->engine_key = next->engine_key;
		view->prepared++;
		return SETT_OK;
	}
	return root_engine_key(view->keyspace->engine, view->arena, k->epoch, k->name, &k->engine_key);
}

int
keyspace_note_expired(struct keyspace_view *view, unsigned db, struct bytes key)
{
	const struct expired_key *newest = view->first_expired;
	if (sett_txn_is_as_of(view->txn))
		return SETT_OK; /* it says nothing of now */
	if ((view->expired_count >= HINTS_MAX && !view->propagates) ||
	    (newest != NULL && newest->db == db && bytes_equal(newest->key, key)))
		return SETT_OK;
	struct expired_key *e = arena_allocate(view->arena, sizeof(*e), _Alignof(struct expired_key));
	if (e == NULL)
		return SETT_NO_MEMORY;
	*e = (struct expired_key){.next = view->first_expired, .key = key, .db = db};
	view->first_expired = e;
	view->expired_count++;
	return SETT_OK;
}

static void
set_absent(struct key *k)
{
	k->exists = k->is_stored = k->was_stored = k->has_due = false;
	k->deadline = k->object = k->object_bytes = k->new_deadline = 0;
}

/* What a batch holds under the key has to be there. */
static __attribute__((noinline)) int
write_if_held(const struct key *k)
{
	const struct key *held = k->view->held->key;
	return held->engine_key.hash == k->engine_key.hash &&
			bytes_equal(held->engine_key.bytes, k->engine_key.bytes)
		? keyspace_write_held(k->view)
		: SETT_OK;
}

/* Reads the record; `exists` says that one is there, past its deadline or not. */
static int
read_root(struct key *k)
{
	struct sett_record record;
	struct keyspace_view *view = k->view;
	set_absent(k);
	int status = __builtin_expect(view->held != NULL, 0) ? write_if_held(k) : SETT_OK;
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, k->engine_key.hash);
	if (__builtin_expect(view->keys_seen != NULL, 0) && !seen_has(view->keys_seen, k->engine_key.hash))
		return status;
	if (status == SETT_OK)
		status = sett_txn_get_hashed(view->txn, k->engine_key, &record);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	status = root_parse(&record, &k->root);
	if (status != SETT_OK)
		return status;
	k->exists = k->is_stored = k->was_stored = true;
	k->deadline = k->root.expires_at;
	k->has_due = k->root.due_at != 0;
	k->object = k->root.object;
	k->object_bytes = k->root.object_bytes;
	return SETT_OK;
}

int
key_open(struct keyspace_view *view, unsigned db, struct bytes name, struct key *ret)
{
	ret->view = view;
	ret->db = db;
	ret->name = name;
	int status = keyspace_epoch(view, db, &ret->epoch);
	if (status == SETT_OK)
		status = find_engine_key(view, ret);
	if (status == SETT_OK)
		status = read_root(ret);
	if (status != SETT_OK || !ret->exists)
		return status;
	if (__builtin_expect(name.size > KEYSPACE_MAX_KEY_SIZE, 0) && !root_is_of(&ret->root, name))
		return SETT_INVALID;
	if (ret->root.expires_at == 0 || view->allow_expired || !root_is_expired(view, &ret->root))
		return SETT_OK;
	ret->exists = false;
	return keyspace_note_expired(view, db, name);
}

int
key_open_absent(struct keyspace_view *view, unsigned db, struct bytes name, struct key *ret)
{
	*ret = (struct key){.view = view, .db = db, .name = name};
	int status = keyspace_epoch(view, db, &ret->epoch);
	return status == SETT_OK ? find_engine_key(view, ret) : status;
}

int
key_open_stored(struct keyspace_view *view, unsigned db, struct bytes stored, struct key *ret)
{
	*ret = (struct key){.view = view, .db = db, .name = stored};
	int status = keyspace_epoch(view, db, &ret->epoch);
	if (status == SETT_OK)
		status = stored_engine_key(view->keyspace->engine, view->arena, ret->epoch, stored,
					   &ret->engine_key);
	if (status == SETT_OK)
		status = read_root(ret);
	if (status != SETT_OK || !ret->exists)
		return status;
	ret->exists = !root_is_expired(view, &ret->root);
	return root_user_key(view, ret->engine_key.bytes, &ret->root, &ret->name);
}

int
key_note_due(const struct key *k)
{
	return keyspace_note_expired(k->view, k->db, k->name);
}

/* ---- reading the body ---- */

/* All of a string in chunks, in the arena. */
static __attribute__((noinline)) int
join_chunks(const struct key *k, struct bytes *ret)
{
	uint8_t *room = arena_allocate(k->view->arena, k->root.body_size, 1);
	int status = room != NULL ? chunks_read(k, 0, k->root.body_size, room) : SETT_NO_MEMORY;
	if (status == SETT_OK)
		*ret = bytes_of(room, k->root.body_size);
	return status;
}

int
key_body(const struct key *k, struct bytes *ret)
{
	struct bytes body;
	assert(k->exists);
	if (__builtin_expect(root_is_chunked(&k->root), 0))
		return join_chunks(k, ret);
	int status = sett_txn_body(k->view->txn, &k->root.record, &body);
	if (status != SETT_OK)
		return status;
	if (body.size < k->root.body_size)
		return SETT_CORRUPT;
	size_t skip = body.size - k->root.body_size; /* a long key's text */
	*ret = bytes_of(body.data + skip, k->root.body_size);
	return SETT_OK;
}

/* Bytes of the record's body before the root's own: a long key's text. */
static uint64_t
before_body(const struct root *root)
{
	return root->record.body_size - root->body_size;
}

int
key_body_part(const struct key *k, uint64_t offset, size_t size, void *ret)
{
	assert(k->exists && offset <= k->root.body_size && size <= k->root.body_size - offset);
	if (__builtin_expect(root_is_chunked(&k->root), 0))
		return chunks_read(k, offset, size, ret);
	return sett_txn_body_part(k->view->txn, &k->root.record, before_body(&k->root) + offset, size, ret);
}

int
key_body_stream(const struct key *k, uint64_t offset, uint64_t size, struct sett_body_stream **ret)
{
	assert(k->exists);
	if (root_is_chunked(&k->root))
		return SETT_INVALID;
	return sett_body_stream_open(k->view->txn, &k->root.record, before_body(&k->root) + offset, size,
				     ret);
}

int
key_place_of(const struct key *k, struct key_place *ret)
{
	*ret = (struct key_place){.epoch = k->epoch, .hash = k->engine_key.hash};
	return buffer_append(&ret->engine_key, k->engine_key.bytes.data, k->engine_key.bytes.size) == 0
		? SETT_OK
		: SETT_NO_MEMORY;
}

int
key_open_place(struct keyspace_view *view, const struct key_place *place, struct key *ret)
{
	*ret = (struct key){.view = view,
			    .epoch = place->epoch,
			    .engine_key = {.bytes = buffer_bytes(&place->engine_key), .hash = place->hash}};
	int status = read_root(ret);
	return status == SETT_OK && !ret->exists ? SETT_CORRUPT : status;
}

/* ---- accounting ---- */

/* The key's text in the arena, which the engine key of a short one already has. */
static int
arena_name(const struct key *k, struct bytes *ret)
{
	if (k->name.size <= KEYSPACE_MAX_KEY_SIZE) {
		*ret = bytes_of(k->engine_key.bytes.data + EPOCH_PREFIX_SIZE, k->name.size);
		return SETT_OK;
	}
	void *copy = arena_copy(k->view->arena, k->name.data, k->name.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	*ret = bytes_of(copy, k->name.size);
	return SETT_OK;
}

/* `deadline` is the new one, 0 for none. */
static int
count_deadline(const struct key *k, uint64_t deadline)
{
	struct sett_txn *txn = k->view->txn;
	int change = (int)(deadline != 0) - (int)(k->deadline != 0);
	int status = SETT_OK;
	if (change != 0)
		status = sett_txn_counter_add(txn, deadlines_counter(k->epoch), change);
	if (status == SETT_OK)
		status = sett_txn_counter_add(txn, deadline_sum_counter(k->epoch),
					      deadline_share(deadline) - deadline_share(k->deadline));
	return status;
}

static int
count(const struct key *k, int keys, uint64_t deadline, int due)
{
	struct sett_txn *txn = k->view->txn;
	int status = SETT_OK;
	if (keys != 0)
		status = sett_txn_counter_add(txn, keys_counter(k->epoch), keys);
	if (status == SETT_OK && deadline != k->deadline)
		status = count_deadline(k, deadline);
	if (status == SETT_OK && __builtin_expect(due != 0, 0))
		status = sett_txn_counter_add(txn, due_counter(k->epoch), due);
	return status;
}

static int
touch(struct key *k, uint64_t deadline, bool is_gone)
{
	struct bytes name;
	int status = arena_name(k, &name);
	if (status != SETT_OK)
		return status;
	struct touched_key *t = keyspace_touch(k->view, k->db, name);
	if (t == NULL)
		return SETT_NO_MEMORY;
	t->expires_at = deadline;
	t->is_gone = is_gone;
	return SETT_OK;
}

/* What the engine calls the deadline: the earlier of the key's own and its elements', 0 being none. */
static uint64_t
first_deadline(const struct root_content *content)
{
	uint64_t own = content->expires_at, due = content->due_at;
	return own == 0 || (due != 0 && due < own) ? due : own;
}

/* The record under the key has become `now`, or is gone (NULL). */
/* What every change of which keys there are tells by itself: a key past its deadline is gone before it is written
 * over, as in Redis, and a key that was not there is new. */
static int
tell_of_existence(const struct key *k, bool exists_now)
{
	struct keyspace_view *view = k->view;
	struct bytes name = view->last_touched->key; /* the key's, in the arena */
	int status = SETT_OK;
	bool expired = k->is_stored && !k->exists;
	if (expired && (view->events & EVENT_EXPIRED) != 0)
		status = keyspace_add_event(view, k->db, name, "expired");
	if (expired && status == SETT_OK && view->propagates)
		status = keyspace_propagate_expired(view, k->db, name);
	if (status == SETT_OK && exists_now && !k->exists && (view->events & EVENT_NEW) != 0)
		status = keyspace_add_event(view, k->db, name, "new");
	return status;
}

static int
account(struct key *k, const struct root_content *now)
{
	uint64_t deadline = now != NULL ? now->expires_at : 0;
	bool has_due = now != NULL && now->due_at != 0;
	int keys = (int)(now != NULL) - (int)k->is_stored;
	struct sett_txn *txn = k->view->txn;
	int status = sett_txn_write_conflict(txn, k->engine_key.hash);
	if (status == SETT_OK && (keys != 0 || (now != NULL) != k->exists))
		status = sett_txn_write_conflict(txn, existence_conflict_key(k->epoch));
	if (status == SETT_OK)
		status = count(k, keys, deadline, (int)has_due - (int)k->has_due);
	if (status == SETT_OK && __builtin_expect(k->object != 0, 0) &&
	    (now == NULL || now->object != k->object))
		status = keyspace_drop_object(k->view, k->epoch, k->object, k->object_bytes);
	if (status == SETT_OK)
		status = touch(k, now != NULL ? first_deadline(now) : 0, now == NULL);
	if (status == SETT_OK && __builtin_expect(k->view->events != 0, 0))
		status = tell_of_existence(k, now != NULL);
	if (status != SETT_OK)
		return status;
	k->exists = k->is_stored = now != NULL;
	k->deadline = deadline;
	k->has_due = has_due;
	k->object = now != NULL ? now->object : 0;
	k->object_bytes = now != NULL ? now->object_bytes : 0;
	return SETT_OK;
}

/* ---- writing ---- */

/* The committed record that a write goes over, for the engine to count as garbage. */
static const struct sett_record *
record_over(const struct key *k)
{
	return k->was_stored ? &k->root.record : NULL;
}

/* Puts the key's text before the value. */
static int
put_joined(struct key *k, const struct root_content *content, struct sett_put *put)
{
	size_t size = k->name.size + content->value.size;
	/* Not from the arena, which keeps what it has once taken. */
	uint8_t *joined = malloc(size);
	if (joined == NULL)
		return SETT_NO_MEMORY;
	memcpy(joined, k->name.data, k->name.size);
	if (content->value.size > 0)
		memcpy(joined + k->name.size, content->value.data, content->value.size);
	put->body = bytes_of(joined, size);
	int status = sett_txn_put_hashed(k->view->txn, k->engine_key, put);
	free(joined);
	return status;
}

int
key_put(struct key *k, const struct root_content *content)
{
	uint8_t room[ROOT_HEAD_ROOM];
	bool text_in_body;
	struct sett_put put = {.body = content->value,
			       .body_of = content->body_of,
			       .written = content->written,
			       .over = record_over(k),
			       .expires_at = first_deadline(content)};
	int status = root_encode_head(content, k->name, k->view->arena, room, &put.head, &text_in_body);
	if (status != SETT_OK)
		return status;
	if (__builtin_expect(k->view->keys_seen != NULL, 0))
		(void)seen_add(k->view->keys_seen, k->engine_key.hash);
	if (__builtin_expect(text_in_body, 0)) {
		assert(content->body_of == NULL && content->written == NULL);
		status = put_joined(k, content, &put);
	} else {
		status = sett_txn_put_hashed(k->view->txn, k->engine_key, &put);
	}
	return status == SETT_OK ? account(k, content) : status;
}

int
key_rewrite(struct key *k, const struct root_content *content)
{
	uint8_t room[ROOT_HEAD_ROOM];
	bool text_in_body;
	struct sett_put put = {.over = record_over(k), .expires_at = first_deadline(content)};
	assert(k->exists && content->object == k->object && content->expires_at == k->deadline &&
	       (content->due_at != 0) == k->has_due && content->value.size == 0);
	int status = root_encode_head(content, k->name, k->view->arena, room, &put.head, &text_in_body);
	assert(status != SETT_OK || !text_in_body);
	if (status == SETT_OK)
		status = sett_txn_put_hashed(k->view->txn, k->engine_key, &put);
	k->object_bytes = content->object_bytes;
	return status;
}

int
key_put_encoded(struct key *k, struct bytes value, enum string_encoding encoding, uint64_t expires_at)
{
	struct root_content content = {.type = VALUE_STRING,
				       .encoding = (uint8_t)encoding,
				       .value = value,
				       .expires_at = expires_at};
	return key_put(k, &content);
}

bool
key_takes_body(struct bytes name)
{
	return name.size <= root_longest_name_in_head();
}

int
key_put_body(struct key *k, const struct sett_body_writer *written, uint64_t expires_at)
{
	struct root_content content = {
		.type = VALUE_STRING, .encoding = STRING_RAW, .written = written, .expires_at = expires_at};
	if (!key_takes_body(k->name))
		return SETT_INVALID;
	return key_put(k, &content);
}

bool
value_is_integer(struct bytes text)
{
	int64_t value;
	return parse_integer(text, &value);
}

int
key_put_string(struct key *k, struct bytes value, uint64_t expires_at)
{
	enum string_encoding encoding = STRING_RAW;
	if (value_is_integer(value))
		encoding = STRING_INT;
	else if (value.size <= EMBSTR_MAX)
		encoding = STRING_EMBSTR;
	return key_put_encoded(k, value, encoding, expires_at);
}

/* The content of a root as it was opened. Its body is taken over without being read, unless the text of a key
 * stands before it, here or there. */
static int
content_of(const struct key *from, const struct key *to, struct root_content *ret)
{
	const struct root *root = &from->root;
	assert(from->exists);
	*ret = (struct root_content){.type = root->type,
				     .encoding = root->encoding,
				     .expires_at = root->expires_at,
				     .due_at = root->due_at,
				     .object = root->object,
				     .object_bytes = root->object_bytes,
				     .fields = root->fields};
	if ((root_is_chunked(root) || before_body(root) == 0) &&
	    to->name.size + root->fields.size <= root_longest_name_in_head()) {
		ret->body_of = &root->record;
		return SETT_OK;
	}
	if (root_is_chunked(root)) {
		ret->object = ret->object_bytes = 0;
		ret->fields = (struct bytes){0};
	}
	return key_body(from, &ret->value);
}

int
key_set_expiry(struct key *k, uint64_t expires_at)
{
	struct root_content content;
	int status = content_of(k, k, &content);
	content.expires_at = expires_at;
	return status == SETT_OK ? key_put(k, &content) : status;
}

int
key_copy_packed(const struct key *from, struct key *to)
{
	struct root_content content;
	assert(from->root.object == 0);
	int status = content_of(from, to, &content);
	return status == SETT_OK ? key_put(to, &content) : status;
}

int
key_delete(struct key *k)
{
	assert(k->is_stored);
	int status = sett_txn_delete_hashed(k->view->txn, k->engine_key, record_over(k));
	return status == SETT_OK ? account(k, NULL) : status;
}

int
key_rename(struct key *from, struct key *to)
{
	struct root_content content;
	assert(from->db == to->db && from->view == to->view);
	int status = content_of(from, to, &content);
	if (status == SETT_OK)
		status = key_put(to, &content);
	if (status != SETT_OK)
		return status;
	if (content.object != 0)
		from->object = 0; /* it is the other's now */
	return key_delete(from);
}

bool
key_is_changed(const struct key *k)
{
	for (const struct touched_key *t = k->view->first_touched; t != NULL; t = t->next)
		if (t->db == k->db && (t->whole_database || bytes_equal(t->key, k->name)))
			return true;
	return false;
}

int
key_touch(struct key *k)
{
	assert(k->exists);
	int status = sett_txn_write_conflict(k->view->txn, k->engine_key.hash);
	return status == SETT_OK ? touch(k, 0, false) : status;
}
