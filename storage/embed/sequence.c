/* Sequences; see storage/sequence.h. The entry's body is one number of 8 bytes, big-endian. */
#include "storage/sequence.h"

#include <assert.h>
#include <stdlib.h>

#include "retry.h"
#include "storage/base/thread.h"
#include "storage/base/varint.h"

enum { NUMBER_SIZE = 8 };

struct sett_sequence {
	struct sett_engine *engine;
	struct buffer key;
	uint64_t lease;
	struct mutex lock; /* guards the group below; held while a lease is made durable */
	struct sett_txn *txn;
	uint64_t next, end; /* what is left of the lease */
	uint64_t first;     /* of the one that is being taken */
};

int
sett_sequence_open(struct sett_engine *engine, struct bytes key, uint64_t lease, struct sett_sequence **ret)
{
	if (lease == 0)
		return SETT_INVALID;
	if (key.size > SETT_MAX_KEY_SIZE)
		return SETT_TOO_LARGE;
	struct sett_sequence *s = calloc(1, sizeof(*s));
	if (!s)
		return SETT_NO_MEMORY;
	s->engine = engine;
	s->lease = lease;
	mutex_init(&s->lock);
	int r = buffer_append(&s->key, key.data, key.size);
	if (r == SETT_OK)
		r = sett_txn_create(engine, &s->txn);
	if (r != SETT_OK) {
		sett_sequence_close(s);
		return r;
	}
	*ret = s;
	return SETT_OK;
}

void
sett_sequence_close(struct sett_sequence *s)
{
	if (!s)
		return;
	sett_txn_destroy(s->txn);
	mutex_destroy(&s->lock);
	buffer_free(&s->key);
	free(s);
}

/* The first number that was not leased, within the running transaction. */
static int
read_number(struct sett_sequence *s, uint64_t *ret, struct sett_record *ret_record) REQUIRES(&s->lock)
{
	struct bytes body;
	int r = sett_txn_get(s->txn, buffer_bytes(&s->key), ret_record);
	if (r == SETT_NOT_FOUND) {
		*ret = 0;
		*ret_record = (struct sett_record){.timestamp = UINT64_MAX};
		return SETT_OK;
	}
	if (r == SETT_OK)
		r = sett_txn_body(s->txn, ret_record, &body);
	if (r == SETT_OK && body.size != NUMBER_SIZE)
		r = SETT_CORRUPT;
	if (r == SETT_OK)
		*ret = get_be64(body.data);
	return r;
}

static int
write_number(struct sett_sequence *s, uint64_t number, const struct sett_record *over) REQUIRES(&s->lock)
{
	uint8_t body[NUMBER_SIZE];
	put_be64(body, number);
	struct sett_put put = {.body = bytes_of(body, NUMBER_SIZE),
			       .over = over->timestamp == UINT64_MAX ? NULL : over};
	return sett_txn_put(s->txn, buffer_bytes(&s->key), &put);
}

/* One try. The caller holds the lock. */
static int
lease_once(void *arg) NO_THREAD_SAFETY_ANALYSIS
{
	struct sett_sequence *s = arg;
	struct sett_record record;
	int r = sett_txn_begin(s->txn, 0);
	if (r == SETT_OK)
		r = read_number(s, &s->first, &record);
	if (r == SETT_OK && s->lease > UINT64_MAX - s->first)
		r = SETT_TOO_LARGE;
	if (r == SETT_OK)
		r = write_number(s, s->first + s->lease, &record);
	if (r == SETT_OK)
		r = sett_txn_commit(s->txn, NULL, NULL);
	sett_txn_discard(s->txn);
	return r;
}

/* Gives the numbers [next, end) back, unless another lease begins at `end`. The caller holds the lock. */
static int
give_back_once(void *arg) NO_THREAD_SAFETY_ANALYSIS
{
	struct sett_sequence *s = arg;
	struct sett_record record;
	uint64_t first;
	int r = sett_txn_begin(s->txn, 0);
	if (r == SETT_OK)
		r = read_number(s, &first, &record);
	if (r == SETT_OK && first == s->end)
		r = write_number(s, s->next, &record);
	if (r == SETT_OK)
		r = sett_txn_commit(s->txn, NULL, NULL);
	sett_txn_discard(s->txn);
	return r;
}

static int
explain(int status, const struct sett_sequence *s, struct sett_error *error)
{
	const char *why = sett_txn_failure(s->txn);
	return sett_error_set(error, status, 0, "a sequence can't be leased: %s",
			      why[0] ? why : sett_status_text(status));
}

static int
lease(struct sett_sequence *s, struct sett_error *error) REQUIRES(&s->lock)
{
	int r = retry_conflicts(s->txn, lease_once, s);
	if (r != SETT_OK)
		return explain(r, s, error);
	/* Only now may its numbers leave: after a power cut an older lease would give them out again. */
	r = sett_engine_sync(s->engine, error);
	if (r != SETT_OK)
		return r;
	s->next = s->first;
	s->end = s->first + s->lease;
	return SETT_OK;
}

int
sett_sequence_next(struct sett_sequence *s, uint64_t *ret, struct sett_error *error)
{
	mutex_lock(&s->lock);
	int r = s->next < s->end ? SETT_OK : lease(s, error);
	if (r == SETT_OK) {
		assert(s->next < s->end);
		*ret = s->next++;
	}
	mutex_unlock(&s->lock);
	return r;
}

int
sett_sequence_release(struct sett_sequence *s, struct sett_error *error)
{
	int r = SETT_OK;
	mutex_lock(&s->lock);
	if (s->next < s->end) {
		r = retry_conflicts(s->txn, give_back_once, s);
		if (r != SETT_OK)
			(void)explain(r, s, error);
		/* Whatever became of the commit: these are not given out again from here. */
		s->next = s->end = 0;
	}
	mutex_unlock(&s->lock);
	return r;
}
