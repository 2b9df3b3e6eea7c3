#include "keyspace/libraries.h"

#include <assert.h>

#include "keyspace/private.h"
#include "storage/base/varint.h"

enum { PREFIX_SIZE = 2, STATE_SIZE = 24, HEAD_SIZE = 8 };

static const uint8_t state_key[PREFIX_SIZE] = {KIND_META, 'l'};

static struct bytes
state_bytes(void)
{
	return bytes_of(state_key, sizeof(state_key));
}

int
libraries_read(struct keyspace_view *view, struct libraries_state *ret)
{
	const struct sett_key key = {state_bytes(), sett_engine_hash(view->keyspace->engine, state_bytes())};
	struct sett_record record;
	int status = sett_txn_read_conflict(view->txn, key.hash);
	if (status == SETT_OK)
		status = sett_txn_get_hashed(view->txn, key, &record);
	if (status == SETT_NOT_FOUND) {
		*ret = (struct libraries_state){.version = 0};
		return SETT_OK;
	}
	if (status != SETT_OK)
		return status;
	if (record.head.size != STATE_SIZE)
		return SETT_CORRUPT;
	*ret = (struct libraries_state){.version = record.timestamp,
					.libraries = get_le64(record.head.data),
					.functions = get_le64(record.head.data + 8),
					.bytes = get_le64(record.head.data + 16)};
	return SETT_OK;
}

/* SETT_NO_MEMORY and other statuses of writes. */
static int
write_state(struct keyspace_view *view, const struct libraries_state *state)
{
	const struct sett_key key = {state_bytes(), sett_engine_hash(view->keyspace->engine, state_bytes())};
	uint8_t head[STATE_SIZE];
	put_le64(head, state->libraries);
	put_le64(head + 8, state->functions);
	put_le64(head + 16, state->bytes);
	int status = sett_txn_write_conflict(view->txn, key.hash);
	if (status != SETT_OK)
		return status;
	return sett_txn_put_hashed(view->txn, key, &(struct sett_put){.head = bytes_of(head, sizeof(head))});
}

/* What the state counts no more. */
static void
subtract(struct libraries_state *state, const struct library *l)
{
	state->libraries--;
	state->functions -= l->functions;
	state->bytes -= l->record.body_size;
}

static int
library_key(struct keyspace_view *view, struct bytes name, struct bytes *ret)
{
	if (name.size > LIBRARY_NAME_MAX)
		return SETT_TOO_LARGE;
	uint8_t *key = arena_allocate(view->arena, PREFIX_SIZE + name.size, 1);
	if (key == NULL)
		return SETT_NO_MEMORY;
	memcpy(key, state_key, PREFIX_SIZE);
	if (name.size > 0)
		memcpy(key + PREFIX_SIZE, name.data, name.size);
	*ret = bytes_of(key, PREFIX_SIZE + name.size);
	return SETT_OK;
}

static int
parse(struct bytes key, const struct sett_record *record, struct library *ret)
{
	assert(key.size > PREFIX_SIZE);
	if (record->head.size != HEAD_SIZE)
		return SETT_CORRUPT;
	*ret = (struct library){.name = bytes_of(key.data + PREFIX_SIZE, key.size - PREFIX_SIZE),
				.version = record->timestamp,
				.functions = get_le64(record->head.data),
				.record = *record};
	return SETT_OK;
}

int
libraries_walk(struct keyspace_view *view, int (*each)(void *arg, const struct library *), void *arg)
{
	/* The state's own key is the prefix of the others. */
	static const uint8_t lower[] = {KIND_META, 'l', 0}, upper[] = {KIND_META, 'l' + 1};
	const struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						      .upper = bytes_of(upper, sizeof(upper))};
	struct sett_iterator *iterator;
	struct libraries_state state;
	int status = libraries_read(view, &state);
	if (status != SETT_OK || state.libraries == 0)
		return status;
	status = sett_iterator_open(view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct sett_record record;
		struct library library;
		status = sett_iterator_record(iterator, &record);
		if (status == SETT_OK)
			status = parse(sett_iterator_key(iterator), &record, &library);
		if (status == SETT_OK)
			status = each(arg, &library);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
library_text(struct keyspace_view *view, const struct library *library, struct bytes *ret)
{
	return sett_txn_body(view->txn, &library->record, ret);
}

/* What a name stands for now, and its key. SETT_NOT_FOUND. */
static int
find(struct keyspace_view *view, struct bytes name, struct bytes *ret_key, struct library *ret)
{
	struct sett_record record;
	int status = library_key(view, name, ret_key);
	if (status == SETT_OK)
		status = sett_txn_get(view->txn, *ret_key, &record);
	return status == SETT_OK ? parse(*ret_key, &record, ret) : status;
}

int
library_find(struct keyspace_view *view, struct bytes name, struct library *ret)
{
	struct libraries_state state;
	struct bytes key;
	if (name.size == 0 || name.size > LIBRARY_NAME_MAX)
		return SETT_NOT_FOUND;
	int status = libraries_read(view, &state);
	return status == SETT_OK ? find(view, name, &key, ret) : status;
}

int
library_put(struct keyspace_view *view, struct bytes name, struct bytes text, uint64_t functions)
{
	struct libraries_state state;
	struct library old;
	struct bytes key;
	uint8_t head[HEAD_SIZE];
	assert(name.size > 0);
	int status = libraries_read(view, &state);
	if (status == SETT_OK)
		status = find(view, name, &key, &old);
	bool exists = status == SETT_OK;
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	if (exists)
		subtract(&state, &old);
	state.libraries++;
	state.functions += functions;
	state.bytes += text.size;
	put_le64(head, functions);
	const struct sett_put put = {
		.head = bytes_of(head, sizeof(head)), .body = text, .over = exists ? &old.record : NULL};
	status = sett_txn_put(view->txn, key, &put);
	return status == SETT_OK ? write_state(view, &state) : status;
}

int
library_delete(struct keyspace_view *view, struct bytes name)
{
	struct libraries_state state;
	struct library old;
	struct bytes key;
	if (name.size == 0 || name.size > LIBRARY_NAME_MAX)
		return SETT_NOT_FOUND;
	int status = libraries_read(view, &state);
	if (status == SETT_OK)
		status = find(view, name, &key, &old);
	if (status == SETT_OK)
		status = sett_txn_delete_over(view->txn, key, &old.record);
	if (status != SETT_OK)
		return status;
	subtract(&state, &old);
	return write_state(view, &state);
}

/* A name that will be deleted. */
struct condemned {
	struct condemned *next;
	struct bytes name;
};

struct condemnation {
	struct arena *arena;
	struct condemned *first;
};

static int
condemn(void *arg, const struct library *library)
{
	struct condemnation *c = arg;
	struct condemned *one = arena_allocate(c->arena, sizeof(*one), _Alignof(struct condemned));
	const void *name = arena_copy(c->arena, library->name.data, library->name.size);
	if (one == NULL || name == NULL)
		return SETT_NO_MEMORY;
	*one = (struct condemned){.next = c->first, .name = bytes_of(name, library->name.size)};
	c->first = one;
	return SETT_OK;
}

int
libraries_clear(struct keyspace_view *view)
{
	struct condemnation c = {.arena = view->arena};
	int status = libraries_walk(view, condemn, &c);
	for (const struct condemned *one = c.first; one != NULL && status == SETT_OK; one = one->next)
		status = library_delete(view, one->name);
	return status;
}
