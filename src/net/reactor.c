/* A reactor: the tick and the thread.
 *
 *     collect  loop_wait: ready sockets, due timers, messages (adopted connections, requests from the pool)
 *     run      read all sockets that were reported, then run their requests (requests.c); then messages that came meanwhile
 *     write    one call of the engine for all commits; under `always` the sync starts once no socket is ready any
 *              more, so that it covers the commits of as many connections as there are (replies.c)
 *     send     what the frontier releases; the rest is held until net_on_progress wakes the reactor
 *     free     what was closed
 *
 * Invariant (I7): between ticks the thread holds no RCU-protected pointer. It passes a quiescent point at the end of
 * each tick and is offline while it sleeps. */
#include "net/reactor.h"

#include <assert.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "config/config.h"
#include "net/connections.h"
#include "net/cron.h"
#include "net/eviction.h"
#include "net/parked.h"
#include "net/reactor_private.h"
#include "net/replies.h"
#include "net/requests.h"
#include "storage/base/rcu.h"

/* Until DEBUG SLEEP is over; in steps, as a stop ends it. RCU does not wait for the thread. */
static void
sleep_along(struct net *net)
{
	enum { STEP_NS = 10 * 1000 * 1000 };
	uint64_t left;
	while (__builtin_expect((left = net_sleep_left_ns(net)) > 0, 0))
		nanosleep(&(struct timespec){.tv_nsec = left < STEP_NS ? (long)left : STEP_NS}, NULL);
}

static void
before_sleep(void *arg)
{
	(void)arg;
	rcu_thread_offline();
}

/* What has woken it is taken up by a server that is awake. */
static void
after_sleep(void *arg)
{
	sleep_along(arg);
	rcu_thread_online();
}

static struct loop_hooks
hooks_of(struct reactor *r)
{
	return (struct loop_hooks){.before_sleep = before_sleep, .after_sleep = after_sleep, .arg = r->net};
}

static void
handle_control(struct reactor *r)
{
	unsigned bits = __atomic_exchange_n(&r->control, 0, __ATOMIC_ACQUIRE);
	if (bits & REACTOR_KILL)
		connections_close_killed(r);
	if (bits & (REACTOR_STOP | REACTOR_EXIT)) {
		if (r->index == 0)
			listening_unwatch(r->net, r->loop);
		r->stopping = true;
	}
	if (bits & REACTOR_EXIT)
		r->exiting = true;
	if ((bits & REACTOR_LISTEN) && !r->stopping)
		listening_follow(r->net, r->loop);
	if (bits & REACTOR_EVICT)
		eviction_run(r);
	if (bits & REACTOR_RESUME)
		parked_resume_paused(r);
	if (bits & REACTOR_TURN)
		parked_take_turns(r);
}

static void
tick(struct reactor *r)
{
	assert(reactor_is_here(r));
	bool idle = list_is_empty(&r->runnable) && list_is_empty(&r->sending) && list_is_empty(&r->dead);
	bool may_sleep = idle && !r->sync_due && !r->exiting;
	struct loop_hooks hooks = hooks_of(r);
	if (__builtin_expect(net_sleep_left_ns(r->net) > 0, 0)) {
		rcu_thread_offline();
		sleep_along(r->net);
		rcu_thread_online();
	}
	parked_set_wakeup(r);
	/* Relaxed: CONFIG SET may change it at any time. */
	if (may_sleep && __atomic_load_n(&r->net->config->io_threads_yield, __ATOMIC_RELAXED))
		sched_yield();
	loop_wait(r->loop, may_sleep, &hooks);
	handle_control(r);
	parked_retry_due(r);
	bool busy = !list_is_empty(&r->runnable);
	requests_run(r);
	if (r->net->handler.rest != NULL)
		r->net->handler.rest(r->net->handler.arg, r->handler_thread);
	/* Mostly its own, of waits that its commits have ended: they are answered in this tick. */
	if (loop_take_messages(r->loop))
		handle_control(r);
	if (r->net->handler.deliver != NULL)
		r->net->handler.deliver(r->net->handler.arg, r->index);
	replies_write_commits(r);
	replies_start_sync(r, busy);
	replies_send(r);
	if (__builtin_expect(r->buffers_grew, 0))
		eviction_run(r);
	r->buffers_grew = false;
	connections_free_closed(r);
	rcu_quiescent();
}

/* The thread is ready, or failed to get there. */
static void
report_ready(struct net *net, int status)
{
	mutex_lock(&net->start_mutex);
	net->threads_ready++;
	if (status != SETT_OK && net->start_status == SETT_OK)
		net->start_status = status;
	condition_signal(&net->start_condition);
	mutex_unlock(&net->start_mutex);
}

static void *
reactor_main(void *arg)
{
	struct reactor *r = arg;
	struct net *net = r->net;
	r->owner = &thread_mark;
	rcu_thread_register();
	/* Waits for the disk are short: without this they would be 50 us longer than asked for. */
	(void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	int status = net->handler.thread_start(net->handler.arg, false, &r->handler_thread);
	bool prepared = status == SETT_OK;
	if (status == SETT_OK && r->index == 0)
		status = listening_watch(net, r->loop);
	report_ready(net, status);
	if (status == SETT_OK) {
		while (!r->exiting)
			tick(r);
		loop_wake(r->loop); /* nothing else would: the last tick must not sleep */
		tick(r); /* messages that came between the last wait and the look at the control bits */
		connections_close_all(r);
		struct loop_hooks hooks = hooks_of(r);
		while (!list_is_empty(&r->connections)) {
			/* Another thread is ending the wait of a blocked one. */
			loop_wait(r->loop, true, &hooks);
			connections_free_closed(r);
		}
	}
	if (prepared)
		net->handler.thread_stop(net->handler.arg, r->handler_thread);
	rcu_thread_unregister();
	r->owner = NULL;
	return NULL;
}

int
reactor_create(struct net *net, unsigned index, struct reactor **ret, struct sett_error *error)
{
	struct reactor *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);
	if (r == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a reactor");
	memset(r, 0, sizeof(*r));
	r->net = net;
	r->index = index;
	r->batch = 1;
	list_init(&r->connections);
	list_init(&r->runnable);
	list_init(&r->sending);
	list_init(&r->held);
	list_init(&r->dead);
	parked_init(r);
	handshakes_init(r);
	cron_init(r);
	int status = loop_create(net->clock, &r->loop, error);
	if (status != SETT_OK) {
		free(r);
		return status;
	}
	*ret = r;
	return SETT_OK;
}

int
reactor_start(struct reactor *r)
{
	char name[16];
	snprintf(name, sizeof(name), "reactor-%u", r->index % 1000);
	int status = thread_start(&r->thread, name, reactor_main, r);
	r->started = status == SETT_OK;
	return status;
}

void
reactor_join(struct reactor *r)
{
	if (r->started)
		thread_join(r->thread);
	r->started = false;
}

void
reactor_destroy(struct reactor *r)
{
	if (r == NULL)
		return;
	loop_destroy(r->loop);
	free(r->argv);
	free(r);
}

void
reactor_control(struct reactor *r, unsigned bits)
{
	__atomic_fetch_or(&r->control, bits, __ATOMIC_RELEASE); /* partner: handle_control */
	loop_wake(r->loop);
}

unsigned
reactor_index(const struct reactor *r)
{
	return r->index;
}

uint64_t
reactor_load(struct reactor *r)
{
	return __atomic_load_n(&r->load, __ATOMIC_RELAXED);
}

void
reactor_count_received(struct reactor *r)
{
	counter_add(&r->counters.connections_received, 1);
}

void
reactor_count_rejected(struct reactor *r)
{
	counter_add(&r->counters.connections_rejected, 1);
}

void
reactor_add_stats(struct reactor *r, struct net_stats *ret)
{
	const struct reactor_counters *from = &r->counters;
	ret->connections_received += __atomic_load_n(&from->connections_received, __ATOMIC_RELAXED);
	ret->connections_rejected += __atomic_load_n(&from->connections_rejected, __ATOMIC_RELAXED);
	ret->commands_processed += __atomic_load_n(&from->commands_processed, __ATOMIC_RELAXED);
	ret->bytes_in += __atomic_load_n(&from->bytes_in, __ATOMIC_RELAXED);
	ret->bytes_out += __atomic_load_n(&from->bytes_out, __ATOMIC_RELAXED);
	ret->reads += __atomic_load_n(&from->reads, __ATOMIC_RELAXED);
	ret->writes += __atomic_load_n(&from->writes, __ATOMIC_RELAXED);
	ret->client_buffer_bytes += __atomic_load_n(&from->buffer_bytes, __ATOMIC_RELAXED);
	ret->clients_evicted += __atomic_load_n(&from->clients_evicted, __ATOMIC_RELAXED);
	ret->replies_limited += __atomic_load_n(&from->replies_limited, __ATOMIC_RELAXED);
	uint64_t paused = __atomic_load_n(&from->paused, __ATOMIC_RELAXED);
	ret->paused_clients += paused;
	ret->blocked_clients += paused + __atomic_load_n(&from->blocked, __ATOMIC_RELAXED);
}
