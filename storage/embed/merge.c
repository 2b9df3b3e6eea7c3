/* Merging; see storage/merge.h. Who finds nobody at work takes all that wait, himself among them, and folds them in one
 * transaction; the others sleep until theirs is done, or until the work is free and theirs still waits.
 *
 *     waiting:  d  e          thread of c: [begin, get, fold a, fold b, fold c, put, commit]          wakes a and b
 */
#include "storage/merge.h"

#include <assert.h>
#include <stdlib.h>

#include "retry.h"
#include "storage/base/thread.h"

struct addition {
	struct addition *next;
	struct bytes operand;
	int status;
	uint64_t timestamp;
	bool is_done;
};

struct sett_merge {
	struct sett_engine *engine;
	struct sett_merge_operator operator;
	struct buffer key;
	struct sett_txn *txn;     /* of who is at work, as the next four */
	struct buffer body, next; /* what it is folded to so far; what it becomes */
	struct addition *work;
	uint64_t timestamp; /* of their commit */
	struct mutex lock;  /* guards the group below */
	struct condition changed;
	struct addition *first, **last;
	bool is_at_work;
};

int
sett_merge_open(struct sett_engine *engine, struct bytes key, const struct sett_merge_operator *operator,
		struct sett_merge ** ret)
{
	if (key.size > SETT_MAX_KEY_SIZE)
		return SETT_TOO_LARGE;
	struct sett_merge *m = calloc(1, sizeof(*m));
	if (!m)
		return SETT_NO_MEMORY;
	m->engine = engine;
	m->operator= * operator;
	m->last = &m->first;
	mutex_init(&m->lock);
	condition_init(&m->changed);
	int r = buffer_append(&m->key, key.data, key.size);
	if (r == SETT_OK)
		r = sett_txn_create(engine, &m->txn);
	if (r != SETT_OK) {
		sett_merge_close(m);
		return r;
	}
	*ret = m;
	return SETT_OK;
}

void
sett_merge_close(struct sett_merge *m)
{
	if (!m)
		return;
	assert(!m->is_at_work && !m->first);
	sett_txn_destroy(m->txn);
	mutex_destroy(&m->lock);
	condition_destroy(&m->changed);
	buffer_free(&m->key);
	buffer_free(&m->body);
	buffer_free(&m->next);
	free(m);
}

static int
read_body(struct sett_txn *txn, struct bytes key, struct sett_record *ret_record, struct buffer *ret)
{
	struct bytes body;
	int r = sett_txn_get(txn, key, ret_record);
	if (r == SETT_OK)
		r = sett_txn_body(txn, ret_record, &body);
	return r == SETT_OK ? buffer_append(ret, body.data, body.size) : r;
}

/* Each operand onto what those before it have made; how many were taken. */
static size_t
fold_all(struct sett_merge *m, struct addition *list)
{
	size_t taken = 0;
	for (struct addition *a = list; a; a = a->next) {
		buffer_clear(&m->next);
		a->status = m->operator.fold(m->operator.arg, buffer_bytes(&m->body), a->operand, &m->next);
		if (a->status == SETT_OK && m->next.size > SETT_MAX_BODY_SIZE)
			a->status = SETT_TOO_LARGE;
		if (a->status != SETT_OK)
			continue;
		struct buffer before = m->body;
		m->body = m->next;
		m->next = before;
		taken++;
	}
	return taken;
}

static int
merge_once(void *arg)
{
	struct sett_merge *m = arg;
	struct bytes key = buffer_bytes(&m->key);
	struct sett_record record;
	buffer_clear(&m->body);
	int r = sett_txn_begin(m->txn, 0);
	if (r != SETT_OK)
		return r;
	r = read_body(m->txn, key, &record, &m->body);
	bool exists = r == SETT_OK;
	if (r == SETT_OK || r == SETT_NOT_FOUND) {
		r = SETT_OK;
		if (fold_all(m, m->work) > 0)
			r = sett_txn_put(m->txn, key,
					 &(struct sett_put){.body = buffer_bytes(&m->body),
							    .over = exists ? &record : NULL});
	}
	if (r == SETT_OK)
		r = sett_txn_commit(m->txn, NULL, &m->timestamp);
	sett_txn_discard(m->txn);
	return r;
}

/* All of the list; each gets its status. */
static void
merge_all(struct sett_merge *m, struct addition *list)
{
	m->work = list;
	m->timestamp = 0;
	int r = retry_conflicts(m->txn, merge_once, m);
	for (struct addition *a = list; a; a = a->next) {
		a->status = r == SETT_OK ? a->status : r;
		a->timestamp = m->timestamp;
	}
}

static void
work_locked(struct sett_merge *m) REQUIRES(&m->lock)
{
	assert(!m->is_at_work);
	struct addition *list = m->first, *next;
	m->first = NULL;
	m->last = &m->first;
	m->is_at_work = true;
	mutex_unlock(&m->lock);
	merge_all(m, list);
	mutex_lock(&m->lock);
	m->is_at_work = false;
	for (; list; list = next) {
		next = list->next; /* it is its thread's again once it is done */
		list->is_done = true;
	}
	condition_broadcast(&m->changed);
}

int
sett_merge_add(struct sett_merge *m, struct bytes operand, uint64_t *ret_timestamp)
{
	struct addition own = {.operand = operand};
	mutex_lock(&m->lock);
	*m->last = &own;
	m->last = &own.next;
	while (!own.is_done) {
		if (m->is_at_work)
			condition_wait(&m->changed, &m->lock);
		else
			work_locked(m);
	}
	mutex_unlock(&m->lock);
	if (own.status == SETT_OK && ret_timestamp)
		*ret_timestamp = own.timestamp;
	return own.status;
}

int
sett_merge_get(struct sett_merge *m, struct buffer *ret)
{
	struct sett_txn *txn;
	struct sett_record record;
	int r = sett_txn_create(m->engine, &txn);
	if (r != SETT_OK)
		return r;
	r = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (r == SETT_OK)
		r = read_body(txn, buffer_bytes(&m->key), &record, ret);
	sett_txn_destroy(txn);
	return r;
}
