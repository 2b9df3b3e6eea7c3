/* An event loop on epoll: sockets, timers, a mailbox. One thread runs it; loop_post and loop_wake are for the
 * others. */
#ifndef SETT_LOOP_LOOP_H
#define SETT_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/mailbox.h"
#include "loop/timers.h"
#include "storage/base/clock.h"
#include "storage/status.h"

struct loop;

/* A descriptor and whom to tell. Owned by the caller; must stay where it is, and not be freed before the
 * loop_wait that was running at its removal has returned: an event for it may still be waiting there. */
struct loop_watch {
	int fd;
	uint32_t events; /* EPOLLIN, ... as last given to loop_add or loop_change; level-triggered */
	/* On the loop's thread, from loop_wait. */
	void (*ready)(struct loop_watch *, uint32_t events);
};

/* SETT_IO, SETT_NO_MEMORY. `clock` is borrowed. */
int loop_create(const struct sett_clock *clock, struct loop **ret, struct sett_error *);
/* Watches must be removed, messages taken. NULL is fine. */
void loop_destroy(struct loop *);

/* ---- the loop's thread ---- */
/* Fills the watch and watches it. SETT_IO (errno is kept). */
int loop_add(struct loop *, struct loop_watch *, int fd, uint32_t events,
	     void (*ready)(struct loop_watch *, uint32_t events));
/* Changes what is waited for; errors and hang-ups are always told. SETT_IO. No system call if nothing
 * changes. */
int loop_change(struct loop *, struct loop_watch *, uint32_t events);
/* No-op if it is not watched. The descriptor stays open. */
void loop_remove(struct loop *, struct loop_watch *);

struct loop_hooks {
	/* Around a wait that may sleep; not called when it does not. May be NULL. */
	void (*before_sleep)(void *arg);
	void (*after_sleep)(void *arg);
	void *arg;
};

/* Collects what is ready: sleeps, unless `may_sleep` is false, until a descriptor is ready, a timer due, or a
 * message or loop_wake arrives; then calls the watches, the due timers and the messages, in that order. */
void loop_wait(struct loop *, bool may_sleep, const struct loop_hooks *);
/* The next wait ends at this time of the monotonic clock at the latest, to the microsecond (timers are good
 * to the millisecond). */
void loop_wait_until(struct loop *, uint64_t monotonic_ns);
/* Runs the messages and takes the wake-ups since the last wait, so that the next one may sleep: what the loop's own thread has
 * posted needs no wait. False: there were none. */
bool loop_take_messages(struct loop *);
struct timers *loop_timers(struct loop *);
/* The clock as of the last loop_wait. */
uint64_t loop_now_ns(const struct loop *);
uint64_t loop_wall_ms(const struct loop *);

/* ---- any thread ---- */
/* Sends a message; its `run` is called by the loop's thread. Never blocks or fails. */
void loop_post(struct loop *, struct mailbox_message *);
/* Makes the loop's wait return soon, or the next one not sleep. What the caller stored before is seen by the
 * loop's thread after. Costs a system call only if the loop sleeps and nobody has woken it yet. */
void loop_wake(struct loop *);

#endif
