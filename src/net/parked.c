/* Requests that wait: see parked.h. */
#include "net/parked.h"

#include <assert.h>
#include <stdlib.h>

#include "net/blocked.h"
#include "net/connections.h"
#include "net/reactor_private.h"
#include "net/replies.h"

enum {
	PAUSED_RETRY_MS = 50,
	RETRY_DELAY_MIN_NS = 40000, /* about what the fastest disks take */
	RETRY_DELAY_MAX_NS = 4000000,
	POOL_WAITERS_FEW = 2, /* with fewer in the pool, the next one goes there, too: it is woken in time */
	RETRY_PLACES_MAX = 4, /* reads of one request */
	RETRY_TIMEOUTS_MAX = 16,
	RETRY_REST_NS = 1000000000,
	TURN_RETRY_NS = 2000000,     /* of who is not told that its turn has come */
	TURN_PATIENCE_NS = 50000000, /* then it goes without */
	PACE_LATE_NS = 200 * 1000,   /* the first turn may be this late, so that several are taken at once */
	POOL_ARGUMENTS_KEPT = 64,    /* of a request that is back from the pool, for the next one */
	POOL_REPLY_KEPT = 16 * 1024, /* likewise bytes */
};

/* ---- paused ---- */

static void
pause_request(struct reactor *r, struct connection *c)
{
	assert(c->state == CONNECTION_OPEN && !c->closing && !list_is_linked(&c->parked_link));
	c->state = CONNECTION_PAUSED;
	list_append(&r->parked.paused, &c->parked_link);
	counter_add(&r->counters.paused, 1);
	if (!timer_is_armed(&r->parked.paused_retry) &&
	    timers_arm(loop_timers(r->loop), &r->parked.paused_retry,
		       loop_now_ns(r->loop) + PAUSED_RETRY_MS * 1000000ULL) != SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a timer");
	connections_update_watch(r, c);
}

static void
unpause(struct reactor *r, struct connection *c)
{
	assert(c->state == CONNECTION_PAUSED);
	list_remove(&c->parked_link);
	c->state = CONNECTION_OPEN;
	counter_add(&r->counters.paused, (uint64_t)-1);
}

void
parked_resume_paused(struct reactor *r)
{
	struct list_link paused, *link;
	list_init(&paused);
	list_splice(&paused, &r->parked.paused);
	while ((link = paused.next) != &paused) {
		struct connection *c = list_entry(link, struct connection, parked_link);
		unpause(r, c);
		connections_update_watch(r, c);
		connections_queue_run(r, c); /* where it may pause again */
	}
}

/* ---- cold ---- */

/* The retried request found what it had missed: adapts the delay to the time that took. */
static void
note_success(struct reactor *r, struct connection *c)
{
	struct retry_delay *d = &r->parked.delay;
	uint64_t took = loop_now_ns(r->loop) - c->missed_ns;
	d->timeouts = 0;
	if (c->misses == 1) /* perhaps it was there long before */
		d->wait_ns -= d->wait_ns / 32;
	else if (took > d->wait_ns)
		d->wait_ns += (took - d->wait_ns) / 8;
	d->wait_ns = d->wait_ns < RETRY_DELAY_MIN_NS ? RETRY_DELAY_MIN_NS
		: d->wait_ns > RETRY_DELAY_MAX_NS    ? RETRY_DELAY_MAX_NS
						     : d->wait_ns;
	c->misses = 0;
}

/* All retries of a request failed, the last one `waited_ns` after the first miss, which is nearly five times
 * the first wait. Many such requests may have begun before the delay grew. */
static void
note_timeout(struct retry_delay *d, uint64_t now, uint64_t waited_ns)
{
	uint64_t wait_ns = waited_ns / 5 * 3 / 2;
	if (wait_ns > d->wait_ns)
		d->wait_ns = wait_ns < RETRY_DELAY_MAX_NS ? wait_ns : RETRY_DELAY_MAX_NS;
	if (wait_ns >= RETRY_DELAY_MAX_NS && ++d->timeouts == RETRY_TIMEOUTS_MAX) {
		d->timeouts = 0;
		d->rest_until_ns = now + RETRY_REST_NS;
	}
}

/* Whether the request, which has just missed, is retried on the reactor. Otherwise it goes to the pool. */
static bool
wait_for_disk(struct reactor *r, struct connection *c)
{
	struct retry_delay *d = &r->parked.delay;
	uint64_t now = loop_now_ns(r->loop);
	bool first = c->misses == 0;
	if (now < d->rest_until_ns || (first && d->in_pool < POOL_WAITERS_FEW))
		return false;
	if (!first && c->missing != c->client.missing) {
		note_success(r, c);
		if (++c->places == RETRY_PLACES_MAX)
			return false;
	}
	c->missing = c->client.missing;
	if (c->misses == RETRIES_MAX) {
		note_timeout(d, now, now - c->missed_ns);
		return false;
	}
	/* A quarter of the first wait again, then a half, then one, then two. */
	uint64_t wait = c->misses == 0 ? d->wait_ns : d->wait_ns / 4 << (c->misses - 1);
	if (c->misses++ == 0)
		c->missed_ns = now;
	c->retry_ns = now + wait;
	assert(c->misses >= 1 && c->misses <= RETRIES_MAX && !list_is_linked(&c->parked_link));
	c->state = CONNECTION_COLD;
	list_append(&r->parked.cold[c->misses - 1], &c->parked_link);
	return true;
}

static void
forget_turn(struct connection *c)
{
	c->turn_ns = 0;
	c->overdue = false;
}

/* Apart, as nearly no request has waited. */
static __attribute__((noinline)) void
end_waits(struct reactor *r, struct connection *c)
{
	if (c->misses > 0) {
		note_success(r, c);
		c->places = 0;
	}
	forget_turn(c);
}

void
parked_request_succeeded(struct reactor *r, struct connection *c)
{
	if (__builtin_expect((c->misses | c->turn_ns) != 0, 0))
		end_waits(r, c);
}

/* ---- slowed ---- */

/* Delays grow while others are given out, so the list is in order, except where the longest delay is capped. */
void
park_slowed(struct reactor *r, struct connection *c)
{
	uint64_t pause_ns = c->client.pause_ns;
	assert(reactor_is_here(r) && c->reactor == r);
	c->client.pause_ns = 0;
	if (c->closing || c->state != CONNECTION_OPEN || c->client.close_after_reply)
		return;
	assert(pause_ns > 0 && !list_is_linked(&c->parked_link));
	c->retry_ns = loop_now_ns(r->loop) + pause_ns;
	c->state = CONNECTION_SLOWED;
	list_append(&r->parked.slowed, &c->parked_link);
}

/* ---- turns ---- */

/* Whoever has the turn tells when it is over; the time is for turns that nobody gives up, as claims. */
static void
wait_for_key(struct reactor *r, struct connection *c)
{
	assert(c->state == CONNECTION_OPEN && !list_is_linked(&c->parked_link));
	uint64_t now = loop_now_ns(r->loop);
	if (c->turn_ns == 0)
		c->turn_ns = now;
	c->retry_ns = now + TURN_RETRY_NS;
	c->state = CONNECTION_TURN;
	r->parked.refused = c->client.turn_key;
	list_append(&r->parked.turns, &c->parked_link);
}

bool
parked_waits_on(struct reactor *r, struct connection *c)
{
	if (__builtin_expect(c->turn_ns == 0, 1) || c->overdue || c->client.turn_key == 0 ||
	    c->client.turn_key != r->parked.refused)
		return false;
	wait_for_key(r, c);
	return true;
}

/* ---- retrying ---- */

static struct connection *
first_parked(struct list_link *list)
{
	return list_is_empty(list) ? NULL : list_entry(list->next, struct connection, parked_link);
}

/* Those that are due at `until`. */
static void
retry_list(struct reactor *r, struct list_link *list, uint64_t until)
{
	struct connection *c;
	while ((c = first_parked(list)) != NULL && c->retry_ns <= until) {
		assert(c->reactor == r && !c->closing && c->state != CONNECTION_OPEN);
		list_remove(&c->parked_link);
		c->state = CONNECTION_OPEN;
		c->overdue = c->turn_ns != 0 && loop_now_ns(r->loop) - c->turn_ns > TURN_PATIENCE_NS;
		if (__builtin_expect(c->output.streams != NULL, 0))
			connections_queue_send(r, c); /* no piece of a large reply was made meanwhile */
		connections_update_watch(r, c);
		connections_queue_run(r, c);
	}
}

void
parked_take_turns(struct reactor *r)
{
	retry_list(r, &r->parked.turns, UINT64_MAX);
}

void
parked_retry_due(struct reactor *r)
{
	uint64_t now = loop_now_ns(r->loop);
	for (int i = 0; i < RETRIES_MAX; i++)
		retry_list(r, &r->parked.cold[i], now);
	retry_list(r, &r->parked.slowed, now);
	retry_list(r, &r->parked.turns, now);
}

static void
wake_for(struct reactor *r, struct list_link *list, uint64_t late_ns)
{
	const struct connection *c = first_parked(list);
	if (c != NULL)
		loop_wait_until(r->loop, c->retry_ns + late_ns);
}

void
parked_set_wakeup(struct reactor *r)
{
	for (int i = 0; i < RETRIES_MAX; i++)
		wake_for(r, &r->parked.cold[i], 0);
	wake_for(r, &r->parked.slowed, PACE_LATE_NS);
	wake_for(r, &r->parked.turns, 0);
}

/* ---- in the pool ---- */

/* What large requests have left to the next one counts nowhere. */
static void
trim_pool_request(struct pool_request *p)
{
	if (p->argument_capacity > POOL_ARGUMENTS_KEPT) {
		free(p->argv);
		p->argv = NULL;
		p->argument_capacity = 0;
	}
	if (p->reply.capacity > POOL_REPLY_KEPT)
		resp_writer_free(&p->reply);
}

/* On the reactor: the pool has finished with the request. */
static void
pool_request_done(struct mailbox_message *message)
{
	struct connection *c = list_entry(message, struct connection, pool.message);
	struct reactor *r = c->reactor;
	assert(reactor_is_here(r) && c->state == CONNECTION_IN_POOL);
	assert(r->parked.delay.in_pool >= (unsigned)c->pool.missed);
	c->state = CONNECTION_OPEN;
	r->parked.delay.in_pool -= c->pool.missed;
	bool blocked = !c->pool.cancelled && c->pool.result == REQUEST_BLOCKED;
	if (c->closing && blocked) {
		blocked_begin_closing(r, c);
		return;
	}
	if (c->closing) {
		connections_queue_free(r, c);
		return;
	}
	if (c->pool.cancelled) {
		connections_close(r, c);
		return;
	}
	if (c->pool.result != REQUEST_DONE)
		trim_pool_request(&c->pool);
	if (c->pool.result == REQUEST_PAUSED) {
		connections_account(r, c); /* it may be closed again (eviction.h) */
		pause_request(r, c);
		return;
	}
	if (blocked) {
		blocked_begin(r, c);
		return;
	}
	uint64_t start = c->output.base + c->output.writer.size;
	if (c->pool.result != REQUEST_DONE || !output_take(&c->output, &c->pool.reply)) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"A request failed in the blocking pool: closing client addr=%s",
				c->client.address);
		connections_close(r, c);
		return;
	}
	trim_pool_request(&c->pool);
	replies_finish_request(r, c, start, c->output.writer.size, c->pool.release);
	if (c->closing)
		return;
	connections_update_watch(r, c);
	connections_queue_run(r, c);
}

/* On a pool thread. Nothing of the connection may be touched after the post or the submission: the reactor may
 * free it from then on. */
static void
run_in_pool(struct pool_job *job, void *thread)
{
	struct connection *c = list_entry(job, struct connection, pool.job);
	struct pool_request *p = &c->pool;
	struct net *net = c->reactor->net;
	assert(c->state == CONNECTION_IN_POOL);
	/* Acquire pairs with net_stop's store; late is harmless: one request more is executed. */
	p->cancelled = __atomic_load_n(&net->stopping, __ATOMIC_ACQUIRE);
	if (!p->cancelled) {
		p->reply.protocol = c->client.protocol;
		p->release = 0;
		struct request request = {.argc = p->argc, .argv = p->argv, .in_long_lane = p->is_long};
		p->result = net->handler.execute(net->handler.arg, thread, &c->client, &request, &p->reply,
						 &p->release);
		if (p->result != REQUEST_DONE)
			resp_truncate(&p->reply, 0);
		if (p->result == REQUEST_MUST_WAIT_LONG && !p->is_long) {
			p->is_long = true;
			pool_submit(net->pool, POOL_LONG, &p->job);
			return;
		}
	}
	loop_post(c->reactor->loop, &p->message);
}

static void
send_to_pool(struct reactor *r, struct connection *c, enum request_result result,
	     const struct request *request)
{
	struct pool_request *p = &c->pool;
	assert(reactor_is_here(r) && c->state == CONNECTION_OPEN);
	size_t argc = request->argc;
	if (p->argument_capacity < argc) {
		struct bytes *grown = realloc(p->argv, argc * sizeof(*grown));
		if (grown == NULL) {
			log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING, "Out of memory for a request");
			connections_close(r, c);
			return;
		}
		p->argv = grown;
		p->argument_capacity = argc;
	}
	p->argc = argc;
	memcpy(p->argv, request->argv, argc * sizeof(*p->argv));
	p->job.run = run_in_pool;
	p->message.run = pool_request_done;
	c->state = CONNECTION_IN_POOL;
	p->missed = result == REQUEST_MISSED;
	r->parked.delay.in_pool += p->missed;
	p->is_long = result == REQUEST_MUST_WAIT_LONG;
	pool_submit(r->net->pool, p->is_long ? POOL_LONG : POOL_SHORT, &p->job);
}

void
park_request(struct reactor *r, struct connection *c, const struct request *request,
	     enum request_result result)
{
	assert(result != REQUEST_DONE && c->state == CONNECTION_OPEN && !c->closing);
	if (result == REQUEST_MISSED && wait_for_disk(r, c))
		return;
	c->misses = c->places = 0;
	if (result == REQUEST_TURN) {
		wait_for_key(r, c);
		return;
	}
	forget_turn(c);
	if (result == REQUEST_PAUSED)
		pause_request(r, c);
	else if (result == REQUEST_BLOCKED)
		blocked_begin(r, c);
	else
		send_to_pool(r, c, result, request);
}

static void
run_paused_retry(void *arg)
{
	parked_resume_paused(arg);
}

void
parked_init(struct reactor *r)
{
	list_init(&r->parked.paused);
	for (int i = 0; i < RETRIES_MAX; i++)
		list_init(&r->parked.cold[i]);
	list_init(&r->parked.slowed);
	list_init(&r->parked.turns);
	r->parked.delay.wait_ns = RETRY_DELAY_MIN_NS;
	r->parked.paused_retry = (struct timer){.run = run_paused_retry, .arg = r};
}
