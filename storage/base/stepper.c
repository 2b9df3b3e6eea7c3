/* See stepper.h. */
#include "storage/base/stepper.h"

#include <stddef.h>

void
stepper_init(struct stepper *s, void (*begin)(void *arg), uint64_t (*step)(void *arg), void *arg)
{
	*s = (struct stepper){.begin = begin, .step = step, .arg = arg};
	mutex_init(&s->lock);
	condition_init(&s->told);
}

void
stepper_free(struct stepper *s)
{
	condition_destroy(&s->told);
	mutex_destroy(&s->lock);
}

static void *
run(void *arg)
{
	struct stepper *s = arg;
	if (s->begin != NULL)
		s->begin(s->arg);
	mutex_lock(&s->lock);
	while (!s->stop) {
		s->is_woken = false;
		mutex_unlock(&s->lock);
		uint64_t sleep_ns = s->step(s->arg);
		mutex_lock(&s->lock);
		if (sleep_ns > 0 && !s->stop && !s->is_woken)
			(void)condition_wait_for(&s->told, &s->lock, sleep_ns);
	}
	mutex_unlock(&s->lock);
	return NULL;
}

int
stepper_start(struct stepper *s, const char *name)
{
	return thread_start(&s->thread, name, run, s);
}

void
stepper_stop(struct stepper *s)
{
	mutex_lock(&s->lock);
	s->stop = true;
	condition_signal(&s->told);
	mutex_unlock(&s->lock);
	thread_join(s->thread);
}

void
stepper_wake(struct stepper *s)
{
	mutex_lock(&s->lock);
	s->is_woken = true;
	condition_signal(&s->told);
	mutex_unlock(&s->lock);
}
