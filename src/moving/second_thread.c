/* See second_thread.h. */
#include "moving/second_thread.h"

#include <assert.h>
#include <stddef.h>

void
second_thread_init(struct second_thread *t, void (*work)(void *job))
{
	*t = (struct second_thread){.work = work};
	mutex_init(&t->lock);
	condition_init(&t->changed);
}

static void *
run(void *arg)
{
	struct second_thread *t = arg;
	mutex_lock(&t->lock);
	while (!t->stop || t->job != NULL) {
		void *job = t->job;
		if (job == NULL) {
			condition_wait(&t->changed, &t->lock);
			continue;
		}
		mutex_unlock(&t->lock);
		t->work(job);
		mutex_lock(&t->lock);
		t->job = NULL;
		condition_broadcast(&t->changed);
	}
	mutex_unlock(&t->lock);
	return NULL;
}

int
second_thread_start(struct second_thread *t, const char *name)
{
	t->runs = true;
	int status = thread_start(&t->thread, name, run, t);
	t->runs = status == 0;
	return status;
}

void
second_thread_begin(struct second_thread *t, void *job)
{
	assert(job != NULL);
	if (!t->runs) {
		t->work(job);
		return;
	}
	mutex_lock(&t->lock);
	assert(t->job == NULL);
	t->job = job;
	condition_broadcast(&t->changed);
	mutex_unlock(&t->lock);
}

void
second_thread_wait(struct second_thread *t)
{
	mutex_lock(&t->lock);
	while (t->job != NULL)
		condition_wait(&t->changed, &t->lock);
	mutex_unlock(&t->lock);
}

void
second_thread_stop(struct second_thread *t)
{
	mutex_lock(&t->lock);
	t->stop = true;
	condition_broadcast(&t->changed);
	mutex_unlock(&t->lock);
	if (t->runs)
		thread_join(t->thread);
	condition_destroy(&t->changed);
	mutex_destroy(&t->lock);
}
