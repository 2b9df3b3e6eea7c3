/* Messages from any thread to one. Never full and never fails: the messages are the senders' own memory,
 * linked together. Order: messages of one sender arrive in the order they were sent. */
#ifndef SETT_LOOP_MAILBOX_H
#define SETT_LOOP_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

/* Embedded in what is sent. The sender gives it away: it belongs to the receiver from the send until `run` is
 * called, which may free it or send it again. */
struct mailbox_message {
	struct mailbox_message *next;
	void (*run)(struct mailbox_message *);
};

struct mailbox {
	struct mailbox_message *newest; /* atomic: a stack, newest first */
};

/* Any thread, never blocks. Wakes nobody: see loop_post. */
void mailbox_push(struct mailbox *, struct mailbox_message *);
/* The receiver: runs what was pushed before the call, oldest first; returns how many. What those push is left
 * for the next call. */
size_t mailbox_run(struct mailbox *);
bool mailbox_is_empty(const struct mailbox *);

#endif
