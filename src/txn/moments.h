/* The moments of the past that can be read (BEGIN READ ONLY AS OF), for as long as `as-of-window` says.
 *
 * While the window is open the engine has a horizon (storage/engine.h, the past), so every commit from there on can be read. A
 * thread notes now and then which commit is the newest, and at what time: by these moments a time is found, and by their age the
 * horizon moves on. It moves on earlier where what it keeps on the disk passes `snapshot-limit-bytes`, or where the disk is full. */
#ifndef SETT_TXN_MOMENTS_H
#define SETT_TXN_MOMENTS_H

#include <stdbool.h>
#include <stdint.h>

struct server;
struct moments;

/* All commits up to this one, and no others, were there at that time. */
struct moment {
	uint64_t commit, ms; /* since 1970 */
};

/* The thread runs from here on. The server has its engine, its configuration and its clock. SETT_NO_MEMORY, statuses of
 * thread_start. */
int moments_create(struct server *, struct moments **ret);
/* NULL is fine. No transaction may be about to begin in the past. */
void moments_destroy(struct moments *);

enum moments_answer {
	MOMENTS_FOUND,
	MOMENTS_NONE,    /* no past is kept */
	MOMENTS_GONE,    /* it is older than what is kept: `ret` is the oldest moment that is */
	MOMENTS_TO_COME, /* it has not come yet: `ret` is that of now */
};
/* The state as of a time: that of the newest moment at or before it, with the time that was asked for, by which deadlines are
 * judged. The first that could be asked for is given up at any time. NULL: MOMENTS_NONE. Any thread. */
enum moments_answer moments_at_time(struct moments *, uint64_t ms, struct moment *ret);
/* The state after a commit, exactly, with a time at which it was there. */
enum moments_answer moments_at_commit(struct moments *, uint64_t commit, struct moment *ret);
/* The oldest that is kept. False: none is. */
bool moments_oldest(struct moments *, struct moment *ret);

struct moments_figures {
	uint64_t oldest_commit, oldest_ms; /* 0: no past is kept */
	uint64_t held_bytes;               /* kept on the disk for it, as of some seconds ago */
	uint64_t count;                    /* of moments */
};
/* NULL: all 0. */
void moments_figures(struct moments *, struct moments_figures *ret);

#endif
