/* See removal.h. */
#include "expire/removal.h"

#include "txn/commit.h"
#include "txn/runner.h"

enum { TRIES = 10, CLAIM_AFTER = 3, ARENA_BLOCK = 64 * 1024 };

int
removal_open(struct removal *r)
{
	arena_init(&r->arena, ARENA_BLOCK);
	return sett_txn_create(r->server->engine, &r->txn);
}

void
removal_close(struct removal *r)
{
	sett_txn_destroy(r->txn);
	arena_free(&r->arena);
}

/* Those of [first, last), in one transaction. */
static int
try_remove(struct removal *r, const struct key_list *keys, size_t first, size_t last, uint64_t *ret_removed)
{
	struct keyspace_view view;
	uint64_t removed = 0, timestamp;
	arena_reset(&r->arena);
	int status = sett_txn_begin(r->txn, SETT_TXN_MANUAL_CONFLICTS | r->flags);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, r->server->keyspace, r->txn, &r->arena);
	if (r->begin != NULL)
		r->begin(r->arg);
	view.shares = true;
	for (size_t i = first; i < last && status == SETT_OK; i++) {
		view.begins_apart = true;
		status = r->remove(r->arg, &view, &keys->items[i], &removed);
	}
	if (status != SETT_OK) {
		sett_txn_discard(r->txn);
		return status;
	}
	status = commit_transaction(r->server, &view, NULL, &timestamp, NULL);
	if (status != SETT_OK)
		return status;
	*ret_removed = removed;
	runner_serve_waiters(r->server, &view);
	return SETT_OK;
}

static uint64_t
remove_range(struct removal *r, const struct key_list *keys, size_t first, size_t last)
{
	uint64_t removed = 0;
	int status = SETT_CONFLICT;
	bool claimed = false;
	for (int tries = 1; status == SETT_CONFLICT && tries <= TRIES; tries++) {
		status = try_remove(r, keys, first, last, &removed);
		if (status == SETT_CONFLICT && last - first > 1)
			break;
		if (status == SETT_CONFLICT && tries >= CLAIM_AFTER) {
			sett_txn_claim(r->txn);
			claimed = true;
		}
	}
	if (claimed && status != SETT_OK)
		sett_txn_release_claim(r->txn);
	if (status == SETT_CONFLICT && last - first > 1) {
		for (size_t i = first; i < last; i++)
			removed += remove_range(r, keys, i, i + 1);
		return removed;
	}
	for (size_t i = first; i < last && status != SETT_OK; i++)
		r->failed(r->arg, &keys->items[i]);
	return removed;
}

uint64_t
removal_run(struct removal *r, struct key_list *keys)
{
	if (keys->count == 0)
		return 0;
	uint64_t removed = remove_range(r, keys, 0, keys->count);
	key_list_clear(keys);
	/* Nobody waits for these, and a reactor may be asleep. A failure shows in the engine's health. */
	(void)sett_engine_write(r->server->engine);
	return removed;
}
