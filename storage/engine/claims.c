/* See claims.h. */
#include "claims.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine_private.h"

enum { MADE_BEFORE_ALL = 2 }; /* claims of keys, before one of all keys */

static int
compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

void
claims_sort_keys(uint64_t *keys, size_t count)
{
	if (count > 1)
		qsort(keys, count, sizeof(*keys), compare_keys);
}

/* Both are sorted. */
static bool
have_common(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count)
{
	for (size_t i = 0, k = 0; i < a_count && k < b_count;) {
		if (a[i] == b[k])
			return true;
		if (a[i] < b[k])
			i++;
		else
			k++;
	}
	return false;
}

static bool
covers_any(const struct claim *claim, const uint64_t *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bsearch(&keys[i], claim->keys, claim->count, sizeof(*keys), compare_keys))
			return true;
	return false;
}

uint64_t
claims_meet_locked(const struct sett_txn *txn, bool written_is_sorted)
{
	assert(mutex_is_mine(&txn->engine->commit_lock));
	const struct claims *c = &txn->engine->claims;
	if (__builtin_expect(c->held == 0, 1) || txn->written_count == 0)
		return 0;
	for (const struct claim *claim = c->first; claim; claim = claim->next) {
		if (!claim->held || claim == &txn->claim)
			continue;
		if (claim->of_all_keys ||
		    (written_is_sorted
			     ? have_common(txn->written, txn->written_count, claim->keys, claim->count)
			     : covers_any(claim, txn->written, txn->written_count)))
			return claim->number;
	}
	return 0;
}

/* Under claim_lock: whether none that came before it is in its way. */
static bool
has_its_turn(const struct claims *c, const struct claim *claim)
{
	for (const struct claim *before = c->first; before != claim; before = before->next)
		if (before->of_all_keys || claim->of_all_keys ||
		    have_common(before->keys, before->count, claim->keys, claim->count))
			return false;
	return true;
}

/* Under claim_lock and commit_lock. */
static void
set_held(struct claims *c, struct claim *claim, bool held)
{
	assert(claim->held != held && (held || c->held > 0));
	claim->held = held;
	/* Release: who finds it without a lock looks again under one. */
	__atomic_store_n(&c->held, held ? c->held + 1 : c->held - 1, __ATOMIC_RELEASE);
}

/* The claim ends, held or not. */
static void
give_up(struct sett_engine *engine, struct claim *claim)
{
	struct claims *c = &engine->claims;
	if (claim->number == 0)
		return;
	mutex_lock(&engine->claim_lock);
	mutex_lock(&engine->commit_lock);
	struct claim **link = &c->first;
	while (*link != claim)
		link = &(*link)->next;
	*link = claim->next;
	if (claim->held)
		set_held(c, claim, false);
	mutex_unlock(&engine->commit_lock);
	condition_broadcast(&engine->claim_free);
	mutex_unlock(&engine->claim_lock);
	free(claim->keys);
	claim->next = NULL;
	claim->keys = NULL;
	claim->count = 0;
	claim->number = 0;
	claim->of_all_keys = false;
}

/* What the last run has read; if it has claimed that and lost all the same, also what it wrote. */
static bool
note_keys(struct sett_txn *txn)
{
	struct claim *claim = &txn->claim;
	size_t written = claim->made > 0 ? txn->written_count : 0;
	claim->keys = malloc((txn->read_count + written + 1) * sizeof(*claim->keys));
	if (!claim->keys)
		return false;
	if (txn->read_count > 0)
		memcpy(claim->keys, txn->reads, txn->read_count * sizeof(*claim->keys));
	if (written > 0)
		memcpy(claim->keys + txn->read_count, txn->written, written * sizeof(*claim->keys));
	claim->count = txn->read_count + written;
	claims_sort_keys(claim->keys, claim->count);
	return true;
}

void
sett_txn_claim(struct sett_txn *txn)
{
	assert(!txn->running);
	struct sett_engine *engine = txn->engine;
	struct claims *c = &engine->claims;
	struct claim *claim = &txn->claim;
	give_up(engine, claim);
	if (!note_keys(txn))
		return; /* no claim: the transaction just tries again */
	claim->of_all_keys = claim->made >= MADE_BEFORE_ALL;
	claim->made++;
	mutex_lock(&engine->claim_lock);
	/* Commits walk over the list, too. */
	mutex_lock(&engine->commit_lock);
	claim->number = ++c->last_number;
	struct claim **last = &c->first;
	while (*last)
		last = &(*last)->next;
	*last = claim;
	mutex_unlock(&engine->commit_lock);
	while (!has_its_turn(c, claim))
		condition_wait(&engine->claim_free, &engine->claim_lock);
	mutex_lock(&engine->commit_lock);
	set_held(c, claim, true);
	mutex_unlock(&engine->commit_lock);
	mutex_unlock(&engine->claim_lock);
}

void
sett_txn_release_claim(struct sett_txn *txn)
{
	give_up(txn->engine, &txn->claim);
	txn->claim.made = 0;
}

/* Under claim_lock. */
static bool
is_held(const struct claims *c, uint64_t number)
{
	for (const struct claim *claim = c->first; claim; claim = claim->next)
		if (claim->number == number)
			return claim->held;
	return false;
}

void
claims_wait_for(struct sett_txn *txn, uint64_t number)
{
	struct sett_engine *engine = txn->engine;
	give_up(engine, &txn->claim);
	mutex_lock(&engine->claim_lock);
	while (is_held(&engine->claims, number))
		condition_wait(&engine->claim_free, &engine->claim_lock);
	mutex_unlock(&engine->claim_lock);
}
