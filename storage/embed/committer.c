/* Waiting for commits; see storage/committer.h. The thread takes all that wait, calls back those that want no file, then
 * those that want no sync once the log is written, syncs once for the others, and looks again: what came meanwhile is the
 * next group. */
#include "storage/committer.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/thread.h"

struct waiting_commit {
	struct waiting_commit *next;
	enum sett_until until;
	uint64_t timestamp;
	sett_committed *done;
	void *arg;
};

struct sett_committer {
	struct sett_engine *engine;
	pthread_t thread;
	struct mutex lock; /* guards the group below */
	struct condition wake, room;
	struct waiting_commit *first, **last;
	size_t count; /* of those too that the thread has at hand */
	bool stop;
};

static int
bring_about(struct sett_engine *engine, enum sett_until until, struct sett_error *error)
{
	if (until == SETT_UNTIL_DURABLE)
		return sett_engine_sync(engine, error);
	return until == SETT_UNTIL_WRITTEN ? sett_engine_write(engine) : SETT_OK;
}

int
sett_commit_until(struct sett_engine *engine, struct sett_txn *txn, enum sett_until until,
		  uint64_t *ret_timestamp, struct sett_error *error)
{
	uint64_t timestamp;
	int r = sett_txn_commit(txn, NULL, &timestamp);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "%s", sett_status_text(r));
	if (ret_timestamp)
		*ret_timestamp = timestamp;
	/* What it has read is visible, so it is written with everything that is. */
	r = bring_about(engine, until, error);
	return r == SETT_OK || until == SETT_UNTIL_DURABLE
		? r
		: sett_error_set(error, r, 0, "the log can't be written: %s", sett_status_text(r));
}

/* Calls back those of the list that want no more than `until`, and returns the others. */
static struct waiting_commit *
call_back(struct sett_committer *c, struct waiting_commit *list, enum sett_until until, int status)
{
	struct waiting_commit *others = NULL, **last = &others;
	size_t called = 0;
	while (list) {
		struct waiting_commit *w = list;
		list = w->next;
		if (w->until > until) {
			*last = w;
			last = &w->next;
			w->next = NULL;
			continue;
		}
		w->done(w->arg, status, w->timestamp);
		free(w);
		called++;
	}
	mutex_lock(&c->lock);
	assert(c->count >= called);
	c->count -= called;
	condition_broadcast(&c->room);
	mutex_unlock(&c->lock);
	return others;
}

static void *
run(void *arg)
{
	struct sett_committer *c = arg;
	mutex_lock(&c->lock);
	for (;;) {
		while (!c->first && !c->stop)
			condition_wait(&c->wake, &c->lock);
		struct waiting_commit *list = c->first;
		if (!list)
			break;
		c->first = NULL;
		c->last = &c->first;
		mutex_unlock(&c->lock);
		list = call_back(c, list, SETT_UNTIL_VISIBLE, SETT_OK); /* they are */
		if (list) {
			int r = bring_about(c->engine, SETT_UNTIL_WRITTEN, NULL);
			list = call_back(c, list, SETT_UNTIL_WRITTEN, r);
		}
		if (list) {
			int r = bring_about(c->engine, SETT_UNTIL_DURABLE, NULL);
			list = call_back(c, list, SETT_UNTIL_DURABLE, r);
		}
		assert(!list);
		mutex_lock(&c->lock);
	}
	mutex_unlock(&c->lock);
	return NULL;
}

int
sett_committer_open(struct sett_engine *engine, struct sett_committer **ret)
{
	struct sett_committer *c = calloc(1, sizeof(*c));
	if (!c)
		return SETT_NO_MEMORY;
	c->engine = engine;
	c->last = &c->first;
	mutex_init(&c->lock);
	condition_init(&c->wake);
	condition_init(&c->room);
	int r = thread_start(&c->thread, "sett-committer", run, c);
	if (r != SETT_OK) {
		condition_destroy(&c->wake);
		condition_destroy(&c->room);
		mutex_destroy(&c->lock);
		free(c);
		return r;
	}
	*ret = c;
	return SETT_OK;
}

void
sett_committer_close(struct sett_committer *c)
{
	if (!c)
		return;
	mutex_lock(&c->lock);
	c->stop = true;
	condition_signal(&c->wake);
	mutex_unlock(&c->lock);
	thread_join(c->thread);
	assert(c->count == 0 && !c->first);
	condition_destroy(&c->wake);
	condition_destroy(&c->room);
	mutex_destroy(&c->lock);
	free(c);
}

int
sett_committer_commit(struct sett_committer *c, struct sett_txn *txn, enum sett_until until,
		      sett_committed *done, void *arg)
{
	/* First: once it is committed nothing may fail. */
	struct waiting_commit *w = malloc(sizeof(*w));
	if (!w)
		return SETT_NO_MEMORY;
	*w = (struct waiting_commit){.until = until, .done = done, .arg = arg};
	bool is_callback = pthread_equal(pthread_self(), c->thread);
	mutex_lock(&c->lock);
	while (c->count >= SETT_COMMITTER_MAX && !is_callback)
		condition_wait(&c->room, &c->lock);
	c->count++;
	mutex_unlock(&c->lock);
	int r = sett_txn_commit(txn, NULL, &w->timestamp);
	mutex_lock(&c->lock);
	if (r == SETT_OK) {
		*c->last = w;
		c->last = &w->next;
		condition_signal(&c->wake);
	} else {
		c->count--;
		condition_signal(&c->room);
	}
	mutex_unlock(&c->lock);
	if (r != SETT_OK)
		free(w);
	return r;
}
