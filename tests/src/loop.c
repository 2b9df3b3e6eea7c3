/* Timers, mailboxes and the event loop's waking. */
#include <criterion/criterion.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/list.h"
#include "loop/loop.h"
#include "storage/base/random.h"
#include "storage/base/thread.h"

/* ---- timers ---- */

enum { TIMERS = 300 };

struct timer_model {
	struct timer timer;
	uint64_t due; /* 0 = not armed */
};

static uint64_t last_run_due;

static void
run_model(void *arg)
{
	struct timer_model *m = arg;
	cr_assert_neq(m->due, 0, "ran though it was not armed");
	cr_assert_geq(m->due, last_run_due, "out of order");
	last_run_due = m->due;
	m->due = 0;
}

static uint64_t
model_next(const struct timer_model *models)
{
	uint64_t next = UINT64_MAX;
	for (int i = 0; i < TIMERS; i++)
		if (models[i].due != 0 && models[i].due < next)
			next = models[i].due;
	return next;
}

Test(timers, behave_like_a_sorted_list)
{
	static struct timer_model models[TIMERS];
	struct timers timers = {0};
	struct random random;
	random_seed(&random, 3);
	uint64_t now = 1;
	for (int i = 0; i < TIMERS; i++)
		models[i].timer = (struct timer){.run = run_model, .arg = &models[i]};
	for (int step = 0; step < 20000; step++) {
		struct timer_model *m = &models[random_below(&random, TIMERS)];
		switch (random_below(&random, 4)) {
		case 0:
		case 1:
			m->due = now + random_below(&random, 1000);
			cr_assert_eq(timers_arm(&timers, &m->timer, m->due), SETT_OK);
			break;
		case 2:
			timers_disarm(&timers, &m->timer);
			m->due = 0;
			break;
		default:
			now += random_below(&random, 20);
			last_run_due = 0;
			timers_run(&timers, now);
			cr_assert(model_next(models) > now, "one that is due was left");
		}
		cr_assert_eq(timers_next(&timers), model_next(models));
		cr_assert_eq(timer_is_armed(&m->timer), m->due != 0);
	}
	timers_free(&timers);
}

struct again {
	struct timers *timers;
	struct timer timer;
	int runs;
};

static void
run_again(void *arg)
{
	struct again *a = arg;
	a->runs++;
	cr_assert_eq(timers_arm(a->timers, &a->timer, 1), SETT_OK);
}

Test(timers, one_that_arms_itself_for_the_past_does_not_hold_up_the_loop)
{
	struct timers timers = {0};
	struct again a = {.timers = &timers};
	a.timer = (struct timer){.run = run_again, .arg = &a};
	cr_assert_eq(timers_arm(&timers, &a.timer, 1), SETT_OK);
	cr_assert_eq(timers_run(&timers, 100), 1);
	cr_assert_eq(a.runs, 1);
	cr_assert(timer_is_armed(&a.timer));
	timers_free(&timers);
}

/* ---- mailbox and loop ---- */

enum { PRODUCERS = 4, MESSAGES = 20000 };

struct post {
	struct mailbox_message message;
	struct receiver *receiver;
	unsigned producer, number;
};

struct receiver {
	struct loop *loop;
	unsigned next[PRODUCERS]; /* the loop's thread */
	uint64_t received;
	struct post posts[PRODUCERS][MESSAGES];
};

struct producer {
	struct receiver *receiver;
	unsigned index;
};

static void
receive(struct mailbox_message *message)
{
	struct post *p = list_entry(message, struct post, message);
	cr_assert_eq(p->number, p->receiver->next[p->producer], "out of order, lost or twice");
	p->receiver->next[p->producer]++;
	p->receiver->received++;
}

static void *
produce(void *arg)
{
	struct producer *producer = arg;
	struct receiver *r = producer->receiver;
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct post *p = &r->posts[producer->index][i];
		*p = (struct post){
			.message.run = receive, .receiver = r, .producer = producer->index, .number = i};
		loop_post(r->loop, &p->message);
		if (i % 64 == 0)
			sched_yield(); /* lets the loop fall asleep now and then */
	}
	return NULL;
}

/* The loop sleeps without a timer: a lost wake-up hangs the test. */
Test(loop, messages_of_several_producers_all_arrive_in_their_order, .timeout = 300)
{
	struct receiver *r = calloc(1, sizeof(*r));
	cr_assert_not_null(r);
	struct sett_error error;
	cr_assert_eq(loop_create(sett_system_clock(), &r->loop, &error), SETT_OK);
	struct producer producers[PRODUCERS];
	pthread_t threads[PRODUCERS];
	for (unsigned i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){.receiver = r, .index = i};
		cr_assert_eq(thread_start(&threads[i], "producer", produce, &producers[i]), 0);
	}
	while (r->received < PRODUCERS * MESSAGES)
		loop_wait(r->loop, true, NULL);
	for (unsigned i = 0; i < PRODUCERS; i++)
		thread_join(threads[i]);
	loop_destroy(r->loop);
	free(r);
}

struct ping_pong {
	struct loop *loops[2];
	struct mailbox_message message;
	uint64_t hops;
	bool done;
};

static void
hop(struct mailbox_message *message)
{
	struct ping_pong *p = list_entry(message, struct ping_pong, message);
	uint64_t hops = __atomic_add_fetch(&p->hops, 1, __ATOMIC_RELAXED);
	loop_post(p->loops[hops % 2], message);
}

static void *
run_second(void *arg)
{
	struct ping_pong *p = arg;
	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE))
		loop_wait(p->loops[1], true, NULL);
	return NULL;
}

/* Each side sleeps until the other posts: every post meets a loop that is falling asleep. */
Test(loop, no_wake_up_is_lost, .timeout = 300)
{
	struct ping_pong p = {.message.run = hop};
	struct sett_error error;
	cr_assert_eq(loop_create(sett_system_clock(), &p.loops[0], &error), SETT_OK);
	cr_assert_eq(loop_create(sett_system_clock(), &p.loops[1], &error), SETT_OK);
	pthread_t second;
	cr_assert_eq(thread_start(&second, "second", run_second, &p), 0);
	loop_post(p.loops[0], &p.message);
	while (__atomic_load_n(&p.hops, __ATOMIC_RELAXED) < 20000)
		loop_wait(p.loops[0], true, NULL);
	__atomic_store_n(&p.done, true, __ATOMIC_RELEASE);
	loop_wake(p.loops[1]);
	thread_join(second);
	loop_destroy(p.loops[0]);
	loop_destroy(p.loops[1]);
}

struct held_clock {
	uint64_t now_ns;
};

static uint64_t
held_wall(void *arg)
{
	return ((struct held_clock *)arg)->now_ns / 1000000;
}

static uint64_t
held_monotonic(void *arg)
{
	return ((struct held_clock *)arg)->now_ns;
}

static void
count(void *arg)
{
	(*(int *)arg)++;
}

Test(loop, timers_follow_the_clock_that_was_handed_in)
{
	struct held_clock held = {.now_ns = 1000};
	struct sett_clock clock = {.wall_ms = held_wall, .monotonic_ns = held_monotonic, .arg = &held};
	struct loop *loop;
	struct sett_error error;
	cr_assert_eq(loop_create(&clock, &loop, &error), SETT_OK);
	int runs = 0;
	struct timer timer = {.run = count, .arg = &runs};
	cr_assert_eq(timers_arm(loop_timers(loop), &timer, 5000), SETT_OK);
	loop_wait(loop, false, NULL);
	cr_assert_eq(runs, 0);
	held.now_ns = 5000;
	loop_wait(loop, true, NULL);
	cr_assert_eq(runs, 1);
	cr_assert_eq(loop_now_ns(loop), 5000);
	loop_destroy(loop);
}

struct pair {
	struct loop *loop;
	struct loop_watch first, second;
	int calls;
};

static struct pair *the_pair;

static void
remove_the_other(struct loop_watch *watch, uint32_t events)
{
	struct pair *p = the_pair;
	p->calls++;
	loop_remove(p->loop, watch == &p->first ? &p->second : &p->first);
}

Test(loop, a_watch_removed_by_another_is_not_called_though_its_event_was_collected)
{
	struct pair p = {0};
	struct sett_error error;
	int a[2], b[2];
	the_pair = &p;
	cr_assert_eq(loop_create(sett_system_clock(), &p.loop, &error), SETT_OK);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	cr_assert_eq(loop_add(p.loop, &p.first, a[0], EPOLLIN, remove_the_other), SETT_OK);
	cr_assert_eq(loop_add(p.loop, &p.second, b[0], EPOLLIN, remove_the_other), SETT_OK);
	cr_assert_eq(write(a[1], "x", 1), 1);
	cr_assert_eq(write(b[1], "x", 1), 1);
	loop_wait(p.loop, true, NULL);
	cr_assert_eq(p.calls, 1);
	loop_remove(p.loop, &p.first);
	loop_remove(p.loop, &p.second);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	loop_destroy(p.loop);
}

static void
note_run(struct mailbox_message *message)
{
	message->next = message; /* it is the receiver's now */
}

Test(loop, what_its_own_thread_posts_is_run_without_a_wait, .timeout = 300)
{
	struct loop *loop;
	const struct sett_clock *clock = sett_system_clock();
	cr_assert_eq(loop_create(clock, &loop, NULL), SETT_OK);
	struct mailbox_message message = {.run = note_run};
	cr_assert(!loop_take_messages(loop));
	loop_post(loop, &message);
	cr_assert(loop_take_messages(loop));
	cr_assert_eq(message.next, &message);
	cr_assert(!loop_take_messages(loop));
	/* The next wait sleeps. */
	uint64_t until = clock_monotonic_ns(clock) + 5000000;
	loop_wait_until(loop, until);
	loop_wait(loop, true, NULL);
	cr_assert_geq(loop_now_ns(loop), until);
	loop_destroy(loop);
}

Test(loop, a_wait_ends_when_it_was_asked_to, .timeout = 300)
{
	struct loop *loop;
	const struct sett_clock *clock = sett_system_clock();
	cr_assert_eq(loop_create(clock, &loop, NULL), SETT_OK);
	for (int i = 0; i < 100; i++) {
		uint64_t until = clock_monotonic_ns(clock) + 50000;
		loop_wait_until(loop, until + 1000000000000);
		loop_wait_until(loop, until); /* the earlier one counts */
		loop_wait_until(loop, until + 1000000000000);
		loop_wait(loop, true, NULL);
		cr_assert_geq(loop_now_ns(loop), until);
	}
	/* It counted for one wait: this one ends by the wake alone. */
	loop_wake(loop);
	loop_wait(loop, true, NULL);
	loop_destroy(loop);
}
