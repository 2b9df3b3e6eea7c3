/* Write batches; see storage/write_batch.h. What is gathered stays until its commit has succeeded: a commit that meets another
 * transaction's claim, or room in the log that somebody else took, is run again from it. */
#include "storage/write_batch.h"

#include <assert.h>
#include <stdlib.h>

#include "retry.h"

enum {
	DEFAULT_BYTES = 1 << 20,
	MOST_WRITES = 4096 /* of one commit: others wait for no longer than that takes */
};

/* Of one write; its key, head and body follow. */
struct gathered {
	uint64_t expires_at;
	uint32_t key, head, body;
	bool is_deletion;
};

struct sett_write_batch {
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct buffer writes;
	size_t bytes; /* a commit's */
	uint64_t gathered, committed;
	int status; /* of the first commit that failed */
	struct sett_error error;
};

int
sett_write_batch_open(struct sett_engine *engine, size_t bytes, struct sett_write_batch **ret)
{
	struct sett_write_batch *b = calloc(1, sizeof(*b));
	if (!b)
		return SETT_NO_MEMORY;
	b->engine = engine;
	b->bytes = bytes > 0 ? bytes : DEFAULT_BYTES;
	int r = sett_txn_create(engine, &b->txn);
	if (r != SETT_OK) {
		free(b);
		return r;
	}
	*ret = b;
	return SETT_OK;
}

void
sett_write_batch_close(struct sett_write_batch *b)
{
	if (!b)
		return;
	sett_txn_destroy(b->txn);
	buffer_free(&b->writes);
	free(b);
}

static int
write_one(struct sett_write_batch *b, const uint8_t **at)
{
	struct gathered g;
	memcpy(&g, *at, sizeof(g));
	const uint8_t *key = *at + sizeof(g), *head = key + g.key, *body = head + g.head;
	*at = body + g.body;
	if (g.is_deletion)
		return sett_txn_delete(b->txn, bytes_of(key, g.key));
	struct sett_put put = {
		.head = bytes_of(head, g.head), .body = bytes_of(body, g.body), .expires_at = g.expires_at};
	return sett_txn_put(b->txn, bytes_of(key, g.key), &put);
}

static int
commit_once(void *arg)
{
	struct sett_write_batch *b = arg;
	const uint8_t *at = b->writes.data, *end = bytes_end(buffer_bytes(&b->writes));
	int r = sett_txn_begin(b->txn, 0);
	while (r == SETT_OK && at != end)
		r = write_one(b, &at);
	if (r == SETT_OK)
		r = sett_txn_commit(b->txn, NULL, NULL);
	else
		sett_txn_discard(b->txn);
	return r;
}

static int
commit(struct sett_write_batch *b)
{
	if (b->status != SETT_OK || b->writes.size == 0)
		return b->status;
	int r = retry_conflicts(b->txn, commit_once, b);
	if (r != SETT_OK) {
		const char *why = sett_txn_failure(b->txn);
		b->status = sett_error_set(&b->error, r, 0, "a batch can't be committed: %s",
					   why[0] ? why : sett_status_text(r));
		return r;
	}
	b->committed += b->gathered;
	b->gathered = 0;
	buffer_clear(&b->writes);
	return SETT_OK;
}

static int
gather(struct sett_write_batch *b, struct bytes key, const struct sett_put *put)
{
	struct gathered g = {.key = (uint32_t)key.size, .is_deletion = put == NULL};
	struct bytes head = put ? put->head : bytes_of(NULL, 0), body = put ? put->body : bytes_of(NULL, 0);
	if (b->status != SETT_OK)
		return b->status;
	if (key.size > SETT_MAX_KEY_SIZE || head.size > SETT_MAX_HEAD_SIZE || body.size > SETT_MAX_BODY_SIZE)
		return SETT_TOO_LARGE;
	g.head = (uint32_t)head.size;
	g.body = (uint32_t)body.size;
	g.expires_at = put ? put->expires_at : 0;
	if (buffer_reserve(&b->writes, sizeof(g) + key.size + head.size + body.size) != SETT_OK)
		return SETT_NO_MEMORY;
	/* There is room: none of these fails. */
	(void)buffer_append(&b->writes, &g, sizeof(g));
	(void)buffer_append(&b->writes, key.data, key.size);
	(void)buffer_append(&b->writes, head.data, head.size);
	(void)buffer_append(&b->writes, body.data, body.size);
	b->gathered++;
	return b->writes.size >= b->bytes || b->gathered >= MOST_WRITES ? commit(b) : SETT_OK;
}

int
sett_write_batch_put(struct sett_write_batch *b, struct bytes key, const struct sett_put *put)
{
	if (put->body_of || put->written || put->over)
		return SETT_INVALID;
	return gather(b, key, put);
}

int
sett_write_batch_delete(struct sett_write_batch *b, struct bytes key)
{
	return gather(b, key, NULL);
}

int
sett_write_batch_flush(struct sett_write_batch *b, bool until_durable, struct sett_error *error)
{
	int r = commit(b);
	if (r != SETT_OK) {
		if (error)
			*error = b->error;
		return r;
	}
	assert(b->gathered == 0);
	return until_durable ? sett_engine_sync(b->engine, error) : SETT_OK;
}

uint64_t
sett_write_batch_count(const struct sett_write_batch *b)
{
	return b->committed;
}
