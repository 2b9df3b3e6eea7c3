/* See commit.h. */
#include "txn/commit.h"

#include "txn/interest.h"
#include "txn/waiting.h"

struct commit {
	struct server *server;
	struct keyspace_view *view;
	struct commit_participant *first, *refuser;
};

static int
validate(void *arg)
{
	struct commit *c = arg;
	for (struct commit_participant *p = c->first; p != NULL; p = p->next)
		if (p->validate != NULL && !p->validate(p)) {
			c->refuser = p;
			return SETT_ABORTED;
		}
	return SETT_OK;
}

static void
apply(void *arg, uint64_t timestamp)
{
	struct commit *c = arg;
	if (timestamp != 0) {
		keyspace_publish(c->view, timestamp);
		interest_mark(c->server->interest, c->view->first_touched, timestamp);
		waiting_mark(c->server->waiting, c->view->first_touched);
	}
	for (struct commit_participant *p = c->first; p != NULL; p = p->next)
		if (p->apply != NULL)
			p->apply(p, timestamp);
}

int
commit_transaction(struct server *server, struct keyspace_view *view, struct commit_participant *first,
		   uint64_t *ret_timestamp, struct commit_participant **ret_refuser)
{
	struct commit c = {.server = server, .view = view, .first = first};
	struct sett_commit_hooks hooks = {
		.check = first != NULL ? validate : NULL, .publish = apply, .arg = &c};
	int status = sett_txn_commit(view->txn, &hooks, ret_timestamp);
	if (status == SETT_ABORTED)
		*ret_refuser = c.refuser;
	return status;
}
