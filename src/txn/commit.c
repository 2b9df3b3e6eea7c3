/* See commit.h. */
#include "txn/commit.h"

#include "pubsub/tracking.h"
#include "repl/encoding.h"
#include "repl/replication.h"
#include "storage/base/sync_point.h"
#include "txn/interest.h"
#include "txn/waiting.h"

struct commit {
	struct server *server;
	struct keyspace_view *view;
	struct commit_participant *first, *refuser;
	struct message_list messages; /* of its effects, until they are in the feed */
	uint64_t observed;            /* what its messages depend on if it writes nothing */
	bool writes, is_stale;
	struct tracking_part *tracking; /* NULL: there is nothing to tell of keys */
	struct stream_part *stream;     /* NULL: there is nothing for replicas */
};

static int
validate(void *arg)
{
	struct commit *c = arg;
	c->is_stale = c->writes && keyspace_events_are_stale(c->view);
	/* It was admitted before this server became a replica, and what it writes would be in no stream. */
	c->is_stale |= c->writes && c->view->needs_master && replica_role_is_active(&c->server->replica_role);
	if (c->is_stale)
		return SETT_ABORTED;
	if (__builtin_expect(c->stream != NULL, 0) &&
	    !replication_allows(c->server->replication, c->stream)) {
		c->is_stale = true;
		return SETT_ABORTED;
	}
	for (struct commit_participant *p = c->first; p != NULL; p = p->next)
		if (p->validate != NULL && !p->validate(p)) {
			c->refuser = p;
			return SETT_ABORTED;
		}
	return SETT_OK;
}

static void
count_changes(struct server *server, const struct keyspace_view *view)
{
	if (view->last_touched != NULL)
		__atomic_store_n(&server->changes, server->changes + view->last_touched->number,
				 __ATOMIC_RELAXED);
}

static void
apply(void *arg, uint64_t timestamp)
{
	struct commit *c = arg;
	if (timestamp != 0) {
		keyspace_publish(c->view, timestamp);
		count_changes(c->server, c->view);
		interest_mark(c->server->interest, c->view->first_touched, timestamp);
		waiting_mark(c->server->waiting, c->view->first_touched);
	}
	for (struct commit_participant *p = c->first; p != NULL; p = p->next)
		if (p->apply != NULL)
			p->apply(p, timestamp);
	/* Behind the participants: who subscribes in a MULTI block hears what the block says after it. */
	if (__builtin_expect(c->messages.first != NULL, 0))
		pubsub_append(c->server->pubsub, &c->messages, timestamp != 0 ? timestamp : c->observed);
	if (__builtin_expect(c->stream != NULL, 0)) {
		replication_append(c->server->replication, c->stream, timestamp);
		c->view->stream_offset = c->stream->end;
	}
	if (__builtin_expect(c->tracking != NULL, 0))
		tracking_commit(c->server->pubsub, c->view, c->tracking,
				timestamp != 0 ? timestamp : c->observed);
}

/* What others are told of it. */
static int
prepare_messages(struct commit *c, struct tracking_part *room)
{
	const struct keyspace_view *view = c->view;
	if (c->server->pubsub == NULL)
		return SETT_OK;
	/* Who publishes knows of all that is visible by now: his message must not be there before that is safe. */
	c->observed = sett_txn_snapshot(view->txn);
	if (view->observed > c->observed)
		c->observed = view->observed;
	int status = messages_create(view->first_effect, view->events, &c->messages);
	if (status == SETT_OK && tracking_concerns(view)) {
		status = tracking_prepare(view, room);
		c->tracking = status == SETT_OK ? room : NULL;
	}
	return status;
}

/* What replicas are told of it. `bytes` are those of `own`, but for a master's commands. */
static int
prepare_stream(struct commit *c, struct resp_writer *bytes, struct stream_part *own)
{
	struct keyspace_view *view = c->view;
	struct replication *r = c->server->replication;
	struct stream_part *part = view->stream;
	if (part == NULL) {
		*own = (struct stream_part){.db_before = replication_selected(r)};
		int status = stream_encode(view->first_effect, own->db_before, bytes, &own->db);
		if (status != SETT_OK || bytes->size == 0)
			return status;
		own->bytes = bytes_of(bytes->data, bytes->size);
		part = own;
	}
	int status = replication_prepare(r, view, part);
	c->stream = status == SETT_OK ? part : NULL;
	return status;
}

/* It failed, or nobody listens. */
static void
free_messages(struct commit *c)
{
	messages_free(&c->messages);
	if (c->tracking != NULL)
		tracking_finish(c->tracking);
}

int
commit_transaction(struct server *server, struct keyspace_view *view, struct commit_participant *first,
		   uint64_t *ret_timestamp, struct commit_participant **ret_refuser)
{
	struct commit c = {.server = server, .view = view, .first = first};
	assert(view->held == NULL && !view->held_is_lost);
	struct tracking_part tracking; /* set where it is used */
	struct stream_part stream;     /* likewise */
	struct resp_writer stream_bytes = {.protocol = 2};
	bool tells = __builtin_expect(view->first_effect != NULL || tracking_concerns(view), 0);
	bool streams = __builtin_expect(view->propagates || view->stream != NULL, 0) &&
		(view->first_effect != NULL || view->stream != NULL);
	int status = tells ? prepare_messages(&c, &tracking) : SETT_OK;
	if (status == SETT_OK && streams)
		status = prepare_stream(&c, &stream_bytes, &stream);
	if (status != SETT_OK) {
		free_messages(&c);
		resp_writer_free(&stream_bytes);
		sett_txn_discard(view->txn);
		return status;
	}
	SYNC_POINT("commit: prepared");
	c.writes = sett_txn_has_writes(view->txn);
	tells = c.messages.first != NULL || c.tracking != NULL;
	struct sett_commit_hooks hooks = {
		.check = c.writes || first != NULL || tells ? validate : NULL, .publish = apply, .arg = &c};
	status = sett_txn_commit(view->txn, &hooks, ret_timestamp);
	if (tells && status == SETT_OK)
		pubsub_wake(server->pubsub);
	if (c.stream != NULL && status == SETT_OK)
		replication_wake(server->replication);
	else if (c.stream != NULL)
		replication_drop(server->replication, c.stream);
	if (streams)
		resp_writer_free(&stream_bytes);
	if (__builtin_expect(tells, 0))
		free_messages(&c);
	if (status == SETT_ABORTED && c.is_stale)
		return SETT_CONFLICT;
	if (status == SETT_ABORTED)
		*ret_refuser = c.refuser;
	return status;
}

int
commit_alone(struct server *server, struct commit_participant *first)
{
	struct keyspace_view view = {.keyspace = server->keyspace};
	struct commit_participant *refuser;
	uint64_t timestamp;
	assert(first != NULL);
	int status = sett_txn_create(server->engine, &view.txn);
	if (status == SETT_OK)
		status = sett_txn_begin(view.txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = commit_transaction(server, &view, first, &timestamp, &refuser);
	sett_txn_destroy(view.txn);
	return status;
}
