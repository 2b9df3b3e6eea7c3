/* Builds of collections in several commits; see build.h.
 *
 * Invariant (I22): the first commit marks the id as pending, each later one checks that it still is. */
#include "keyspace/build.h"

#include <assert.h>
#include <stdlib.h>

#include "keyspace/private.h"
#include "storage/base/sync_point.h"

enum {
	/* A commit of so much holds others up for less than a millisecond. */
	CHUNK_ELEMENTS = 512,
	CHUNK_BYTES = 128 * 1024,
};

struct object_build {
	struct object_build *next; /* of the same transaction */
	struct keyspace_view view; /* of the elements; its transaction is our own */
	struct sett_txn *txn;
	int (*before_commit)(void *arg); /* NULL: nothing to do */
	void *arg;
	uint8_t stem[EPOCH_PREFIX_SIZE];
	uint64_t object;
	uint64_t elements, bytes; /* of the present chunk */
};

static struct bytes
stem_of(const struct object_build *b)
{
	return bytes_of(b->stem, sizeof(b->stem));
}

static int
begin_chunk(struct object_build *b)
{
	b->elements = b->bytes = 0;
	int status = sett_txn_begin(b->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = keyspace_begin(&b->view, b->view.keyspace, b->txn, b->view.arena);
	b->view.build = b;
	return status;
}

static int
commit_chunk(struct object_build *b)
{
	struct sett_engine *engine = b->view.keyspace->engine;
	int status = b->before_commit != NULL ? b->before_commit(b->arg) : SETT_OK;
	if (status == SETT_OK)
		status = sett_txn_commit(b->txn, NULL, NULL);
	if (status == SETT_ABORTED)
		return SETT_CONFLICT;
	SYNC_POINT("build: committed");
	/* So that the log does not gather all of it in memory. */
	return status == SETT_OK ? sett_engine_write(engine) : status;
}

static int
open_build(struct keyspace_view *view, struct object_build *b)
{
	int status = sett_txn_create(view->keyspace->engine, &b->txn);
	if (status == SETT_OK)
		status = keyspace_take_object(view, &b->object);
	if (status == SETT_OK)
		status = begin_chunk(b);
	return status == SETT_OK ? sett_txn_pend_id(b->txn, stem_of(b), b->object) : status;
}

int
build_begin(struct keyspace_view *view, uint64_t epoch, uint64_t *ret_object,
	    struct keyspace_view **ret_elements)
{
	if (!view->may_build) {
		*ret_elements = view;
		return keyspace_take_object(view, ret_object);
	}
	assert(sett_txn_may_wait(view->txn) && view->build == NULL);
	struct object_build *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(b->stem, KIND_ELEMENT, epoch);
	b->view.keyspace = view->keyspace;
	b->view.arena = view->arena;
	b->next = view->builds;
	view->builds = b;
	int status = open_build(view, b);
	*ret_object = b->object;
	*ret_elements = &b->view;
	return status;
}

void
build_before_commit(struct keyspace_view *elements, int (*run)(void *arg), void *arg)
{
	if (elements->build == NULL)
		return;
	elements->build->before_commit = run;
	elements->build->arg = arg;
}

int
build_step(struct keyspace_view *elements, uint64_t size)
{
	struct object_build *b = elements->build;
	if (b == NULL)
		return SETT_OK;
	b->elements++;
	b->bytes += size;
	if (b->elements < CHUNK_ELEMENTS && b->bytes < CHUNK_BYTES)
		return SETT_OK;
	int status = commit_chunk(b);
	if (status == SETT_OK)
		status = begin_chunk(b);
	return status == SETT_OK ? sett_txn_check_pending(b->txn, stem_of(b), b->object) : status;
}

int
build_finish(struct keyspace_view *view, struct keyspace_view *elements)
{
	struct object_build *b = elements->build;
	if (b == NULL)
		return SETT_OK;
	assert(elements != view);
	int status = commit_chunk(b);
	return status == SETT_OK ? sett_txn_publish_id(view->txn, stem_of(b), b->object) : status;
}

void
build_close_all(struct keyspace_view *view)
{
	while (view->builds != NULL) {
		struct object_build *b = view->builds;
		view->builds = b->next;
		sett_txn_destroy(b->txn);
		/* Not found: it was published, or was never marked. Without memory it is dropped by the next start. */
		if (b->object != 0)
			(void)sett_engine_abandon_id(view->keyspace->engine, stem_of(b), b->object);
		free(b);
	}
}
