/* An event loop on epoll.
 *
 * Waking. Other threads must not pay a system call for a loop that is awake anyway, and no wake-up may be
 * lost. Two words decide:
 *
 *     waker                                   loop
 *       store what it wants seen                sleeping = true
 *       woken = true; return if it was true     if (woken) do not sleep
 *       if (sleeping) write to the eventfd      epoll_wait
 *                                               sleeping = false; woken = false
 *                                               look at mailbox and flags
 *
 * All four accesses are sequentially consistent: of "woken = true, read sleeping" and "sleeping = true, read
 * woken" at least one sees the other, so the loop does not fall asleep over a wake-up. The exchange that
 * clears `woken` acquires what the wakers released with theirs.
 *
 * Invariant: a watch that is removed is not called again, even when its event was collected already: the
 * removal clears `ready`. That is why its memory must outlive the wait. */
#include "loop/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LOOP_BATCH = 256 };

struct loop {
	int epoll_fd, wake_fd;
	const struct sett_clock *clock;
	struct timers timers;
	struct loop_watch wake_watch;
	uint64_t now_ns, wall_ms;
	uint64_t wait_until_ns; /* of the next wait; UINT64_MAX: none was asked for */
	bool coarse;            /* the system has no epoll_pwait2 */
	struct epoll_event batch[LOOP_BATCH];

	/* Shared with wakers, on lines of their own. */
	struct mailbox mailbox __attribute__((aligned(64)));
	bool woken;    /* atomic */
	bool sleeping; /* atomic */
};

/* Each write is an event of its own, as the descriptor is edge-triggered: nothing need be read from it. */
static void
wake_ready(struct loop_watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
}

static void
read_clock(struct loop *loop)
{
	loop->now_ns = clock_monotonic_ns(loop->clock);
	loop->wall_ms = clock_wall_ms(loop->clock);
}

int
loop_create(const struct sett_clock *clock, struct loop **ret, struct sett_error *error)
{
	struct loop *loop = aligned_alloc(64, (sizeof(*loop) + 63) / 64 * 64);
	if (loop == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for an event loop");
	memset(loop, 0, sizeof(*loop));
	loop->clock = clock;
	loop->wait_until_ns = UINT64_MAX;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
	    loop_add(loop, &loop->wake_watch, loop->wake_fd, EPOLLIN | EPOLLET, wake_ready) != SETT_OK) {
		int saved = errno;
		loop_destroy(loop);
		return sett_error_set(error, SETT_IO, saved, "creating an event loop: %s", strerror(saved));
	}
	read_clock(loop);
	*ret = loop;
	return SETT_OK;
}

void
loop_destroy(struct loop *loop)
{
	if (loop == NULL)
		return;
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	timers_free(&loop->timers);
	free(loop);
}

int
loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
	 void (*ready)(struct loop_watch *, uint32_t events))
{
	*watch = (struct loop_watch){.fd = fd, .events = events, .ready = ready};
	struct epoll_event event = {.events = events, .data.ptr = watch};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		watch->ready = NULL;
		return SETT_IO;
	}
	return SETT_OK;
}

int
loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	if (watch->ready == NULL || watch->events == events)
		return SETT_OK;
	struct epoll_event event = {.events = events, .data.ptr = watch};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
		return SETT_IO;
	watch->events = events;
	return SETT_OK;
}

void
loop_remove(struct loop *loop, struct loop_watch *watch)
{
	if (watch->ready == NULL)
		return;
	watch->ready = NULL;
	/* Fails only if the descriptor is not there, which is what is wanted. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

/* Nanoseconds until the wait has to end; UINT64_MAX: nothing says. */
static uint64_t
time_left(const struct loop *loop)
{
	uint64_t next = timers_next(&loop->timers);
	if (loop->wait_until_ns < next)
		next = loop->wait_until_ns;
	if (next == UINT64_MAX)
		return UINT64_MAX;
	uint64_t now = clock_monotonic_ns(loop->clock);
	return next <= now ? 0 : next - now;
}

/* In milliseconds, rounded up, so that the wait does not end just before a timer and spin; but to the
 * nanosecond where that was asked for. */
static int
wait_events(struct loop *loop, uint64_t left)
{
	if (loop->wait_until_ns != UINT64_MAX && !loop->coarse) {
		struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
		int count = epoll_pwait2(loop->epoll_fd, loop->batch, LOOP_BATCH, &timeout, NULL);
		loop->coarse = count < 0 && errno == ENOSYS;
		if (!loop->coarse)
			return count;
	}
	uint64_t ms = left / 1000000 + (left % 1000000 > 0);
	int timeout = left == UINT64_MAX ? -1 : ms > 1000000 ? 1000000 : (int)ms;
	return epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout);
}

static int
collect(struct loop *loop, bool may_sleep, const struct loop_hooks *hooks)
{
	uint64_t left = may_sleep ? time_left(loop) : 0;
	if (left == 0)
		return epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, 0);
	__atomic_store_n(&loop->sleeping, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&loop->woken, __ATOMIC_SEQ_CST))
		left = 0;
	if (left != 0 && hooks != NULL && hooks->before_sleep != NULL)
		hooks->before_sleep(hooks->arg);
	int count = wait_events(loop, left);
	if (left != 0 && hooks != NULL && hooks->after_sleep != NULL)
		hooks->after_sleep(hooks->arg);
	/* Late is harmless: a waker that still sees true writes to the eventfd for nothing. */
	__atomic_store_n(&loop->sleeping, false, __ATOMIC_RELAXED);
	return count;
}

bool
loop_take_messages(struct loop *loop)
{
	/* Relaxed: a wake-up that is missed here is seen before the next sleep. */
	if (!__atomic_load_n(&loop->woken, __ATOMIC_RELAXED) ||
	    !__atomic_exchange_n(&loop->woken, false, __ATOMIC_SEQ_CST))
		return false;
	mailbox_run(&loop->mailbox);
	return true;
}

void
loop_wait(struct loop *loop, bool may_sleep, const struct loop_hooks *hooks)
{
	/* Errors: EINTR only; the others are faults of this file and would show as a loop that does nothing.
	 */
	int count = collect(loop, may_sleep, hooks);
	loop->wait_until_ns = UINT64_MAX;
	read_clock(loop);
	for (int i = 0; i < count; i++) {
		struct loop_watch *watch = loop->batch[i].data.ptr;
		if (watch->ready != NULL)
			watch->ready(watch, loop->batch[i].events);
	}
	timers_run(&loop->timers, loop->now_ns);
	loop_take_messages(loop);
}

void
loop_wait_until(struct loop *loop, uint64_t monotonic_ns)
{
	if (monotonic_ns < loop->wait_until_ns)
		loop->wait_until_ns = monotonic_ns;
}

struct timers *
loop_timers(struct loop *loop)
{
	return &loop->timers;
}

uint64_t
loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

uint64_t
loop_wall_ms(const struct loop *loop)
{
	return loop->wall_ms;
}

void
loop_wake(struct loop *loop)
{
	if (__atomic_exchange_n(&loop->woken, true, __ATOMIC_SEQ_CST))
		return;
	if (!__atomic_load_n(&loop->sleeping, __ATOMIC_SEQ_CST))
		return;
	uint64_t one = 1;
	/* It does not fail: the counter has room for 2^64 - 2 of them. */
	ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
	(void)ignored;
}

void
loop_post(struct loop *loop, struct mailbox_message *message)
{
	mailbox_push(&loop->mailbox, message);
	loop_wake(loop);
}
