/* CLIENT PAUSE: until when which commands are held back. Commands look at it without a lock; net
 * asks again now and then for what was held back, so nobody needs to end a pause whose time is over. */
#ifndef SETT_TXN_PAUSE_H
#define SETT_TXN_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

struct pause_state;

enum pause_mode { PAUSE_NONE, PAUSE_WRITE, PAUSE_ALL };

/* SETT_NO_MEMORY. */
int pause_create(struct pause_state **ret);
void pause_destroy(struct pause_state *);

/* Pauses until `until_ms` (milliseconds since 1970). A pause under way keeps the longer time and the stricter
 * mode of the two. Any thread. */
void pause_set(struct pause_state *, enum pause_mode, uint64_t now_ms, uint64_t until_ms);
/* Ends the pause. Any thread. */
void pause_clear(struct pause_state *);
/* Forgets a pause whose deadline has passed; whether there was one. Any thread. */
bool pause_expire(struct pause_state *, uint64_t now_ms);
/* What is paused at `now_ms`. Any thread, lock-free. */
enum pause_mode pause_mode_at(const struct pause_state *, uint64_t now_ms);
/* Deadline of the pause, 0 if there is none (it may be past). Any thread, lock-free. */
uint64_t pause_until(const struct pause_state *);

/* Beside CLIENT PAUSE: the server itself holds writes back until as many releases (a fail-over, a shutdown). Any thread. */
void pause_hold(struct pause_state *);
void pause_release(struct pause_state *);
#endif
