/* What a command that ran says of itself to others: the keys that it told a tracking client of (pubsub/tracking.h), and its
 * line for those who monitor. Both become so with the commit. */
#ifndef SETT_TXN_OBSERVERS_H
#define SETT_TXN_OBSERVERS_H

#include "txn/command.h"

static inline bool
observers_watch(const struct command_context *c)
{
	return (c->view.events & OBSERVER_MONITOR) != 0 || c->tracking != 0;
}
/* After the context's own call. SETT_NO_MEMORY. */
int observers_note(struct command_context *);
/* Adds the line of the context's own call, if somebody monitors and the call may be shown. For a command whose line
 * comes before those of the commands that it runs; its row says skip_monitor. SETT_NO_MEMORY. */
int observers_note_line(struct command_context *);
/* After a script that the context's own call ran. As in Redis, if the script has read anything for a client that tracks, all
 * keys that it was called with count as read, beside those that it read. SETT_NO_MEMORY. */
int observers_note_script(struct command_context *, const struct bytes *keys, size_t count);

#endif
