/* Walking the keys of a database in order. Bodies are never read, but for keys so long that their text is kept
 * there. */
#include "keyspace/private.h"
#include "keyspace/root.h"

#include "storage/base/varint.h"

struct keyspace_cursor {
	struct keyspace_view *view;
	struct sett_iterator *iterator; /* NULL: the range is empty */
	uint64_t epoch;
	unsigned db;
	bool started;
	struct bytes prefix; /* of user keys */
};

/* The first key after all that begin with `prefix`, in place; its size shrinks. The epoch's kind byte is
 * never 0xff, so there is one. */
static void
successor(uint8_t *prefix, size_t *size)
{
	while (*size > 1 && prefix[*size - 1] == 0xff)
		--*size;
	prefix[*size - 1]++;
}

int
keyspace_prefix_bounds(struct keyspace_view *view, uint64_t epoch, struct bytes prefix,
		       struct bytes *ret_lower, struct bytes *ret_upper)
{
	size_t kept = prefix.size < KEYSPACE_MAX_KEY_SIZE ? prefix.size : (size_t)KEYSPACE_MAX_KEY_SIZE;
	size_t size = EPOCH_PREFIX_SIZE + kept;
	uint8_t *p = arena_allocate(view->arena, 2 * size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (kept > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, prefix.data, kept);
	memcpy(p + size, p, size);
	*ret_lower = bytes_of(p, size);
	successor(p + size, &size);
	*ret_upper = bytes_of(p + EPOCH_PREFIX_SIZE + kept, size);
	return SETT_OK;
}

static int
open_cursor(struct keyspace_view *view, unsigned db, uint64_t epoch, struct bytes prefix, struct bytes resume,
	    struct keyspace_cursor **ret)
{
	struct bytes lower, upper;
	int status = keyspace_prefix_bounds(view, epoch, prefix, &lower, &upper);
	if (status == SETT_OK && resume.size > LONG_KEY_STORED_SIZE)
		status = SETT_INVALID;
	if (status != SETT_OK)
		return status;
	uint8_t *p = arena_allocate(view->arena, EPOCH_PREFIX_SIZE + resume.size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (resume.size > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, resume.data, resume.size);
	struct bytes from = bytes_of(p, EPOCH_PREFIX_SIZE + resume.size);
	struct keyspace_cursor *c = arena_allocate(view->arena, sizeof(*c), _Alignof(struct keyspace_cursor));
	if (c == NULL)
		return SETT_NO_MEMORY;
	*c = (struct keyspace_cursor){.view = view, .epoch = epoch, .db = db, .prefix = prefix};
	if (bytes_compare(from, lower) > 0)
		lower = from;
	if (bytes_compare(lower, upper) < 0) {
		struct sett_iterator_options options = {.lower = lower, .upper = upper};
		status = sett_iterator_open(view->txn, &options, &c->iterator);
		if (status != SETT_OK)
			return status;
	}
	*ret = c;
	return SETT_OK;
}

int
keyspace_cursor_open(struct keyspace_view *view, unsigned db, struct bytes prefix, struct bytes resume,
		     struct keyspace_cursor **ret)
{
	uint64_t epoch;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, existence_conflict_key(epoch));
	return status == SETT_OK ? open_cursor(view, db, epoch, prefix, resume, ret) : status;
}

int
keyspace_cursor_open_kept(struct keyspace_view *view, unsigned db, uint64_t epoch, struct bytes resume,
			  struct keyspace_cursor **ret)
{
	return open_cursor(view, db, epoch, (struct bytes){0}, resume, ret);
}

struct bytes
keyspace_cursor_place(const struct key *k)
{
	struct bytes whole = k->engine_key.bytes;
	assert(whole.size >= EPOCH_PREFIX_SIZE);
	return bytes_of(whole.data + EPOCH_PREFIX_SIZE, whole.size - EPOCH_PREFIX_SIZE);
}

void
keyspace_cursor_close(struct keyspace_cursor *c)
{
	if (c != NULL && c->iterator != NULL)
		sett_iterator_close(c->iterator);
	if (c != NULL)
		c->iterator = NULL;
}

/* A hint for the expirer; the iterator's key does not last. */
static int
note_expired(struct keyspace_cursor *c, struct bytes engine_key)
{
	size_t size = engine_key.size - EPOCH_PREFIX_SIZE;
	if (c->view->expired_count >= HINTS_MAX || size > KEYSPACE_MAX_KEY_SIZE)
		return SETT_OK;
	const uint8_t *copy = arena_copy(c->view->arena, engine_key.data + EPOCH_PREFIX_SIZE, size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	return keyspace_note_expired(c->view, c->db, bytes_of(copy, size));
}

static int
fill_handle(struct keyspace_cursor *c, const struct sett_record *record, struct key *ret)
{
	struct bytes engine_key = sett_iterator_key(c->iterator);
	*ret = (struct key){.view = c->view,
			    .engine_key = {.bytes = engine_key},
			    .epoch = c->epoch,
			    .db = c->db,
			    .exists = true,
			    .is_stored = true};
	int status = root_parse(record, &ret->root);
	if (status != SETT_OK)
		return status;
	ret->deadline = ret->root.expires_at;
	ret->has_due = ret->root.due_at != 0;
	ret->object = ret->root.object;
	ret->object_bytes = ret->root.object_bytes;
	if (!c->view->allow_expired && root_is_expired(c->view, &ret->root)) {
		ret->exists = false;
		status = note_expired(c, engine_key);
	}
	return status == SETT_OK ? root_user_key(c->view, engine_key, &ret->root, &ret->name) : status;
}

int
keyspace_cursor_step(struct keyspace_cursor *c, struct key *ret)
{
	struct sett_record record;
	if (c->iterator == NULL)
		return SETT_NOT_FOUND;
	for (;;) {
		int status = c->started ? sett_iterator_next(c->iterator) : sett_iterator_first(c->iterator);
		if (status != SETT_OK)
			return status;
		c->started = true;
		status = sett_iterator_record(c->iterator, &record);
		if (status == SETT_OK)
			status = fill_handle(c, &record, ret);
		if (status != SETT_OK)
			return status;
		/* Of a prefix beyond what engine keys hold, the rest is compared here. */
		if (c->prefix.size > KEYSPACE_MAX_KEY_SIZE && !bytes_has_prefix(ret->name, c->prefix))
			continue;
		return SETT_OK;
	}
}

int
keyspace_cursor_next(struct keyspace_cursor *c, struct key *ret)
{
	int status;
	do
		status = keyspace_cursor_step(c, ret);
	while (status == SETT_OK && !ret->exists);
	return status;
}
