/* Messages from any thread to one.
 *
 * A stack that senders push on with compare-and-swap and that the receiver takes as a whole, then reverses.
 * Nothing is ever popped singly, so the classic ABA problem of such stacks does not arise. Against a ring: no
 * bound to choose, no sender that must wait for room, no memory but the messages'.
 *
 * Atomics: the push releases the message's content; its partner is the acquiring exchange in mailbox_run. */
#include "loop/mailbox.h"

void
mailbox_push(struct mailbox *mailbox, struct mailbox_message *message)
{
	struct mailbox_message *newest = __atomic_load_n(&mailbox->newest, __ATOMIC_RELAXED);
	do {
		message->next = newest;
	} while (!__atomic_compare_exchange_n(&mailbox->newest, &newest, message, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

size_t
mailbox_run(struct mailbox *mailbox)
{
	if (mailbox_is_empty(mailbox))
		return 0;
	struct mailbox_message *newest = __atomic_exchange_n(&mailbox->newest, NULL, __ATOMIC_ACQUIRE);
	struct mailbox_message *oldest = NULL;
	while (newest != NULL) {
		struct mailbox_message *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	size_t count = 0;
	while (oldest != NULL) {
		struct mailbox_message *next = oldest->next;
		oldest->run(oldest);
		oldest = next;
		count++;
	}
	return count;
}

bool
mailbox_is_empty(const struct mailbox *mailbox)
{
	/* A hint: whoever must not miss a message is woken after the push (loop_post). */
	return __atomic_load_n(&mailbox->newest, __ATOMIC_RELAXED) == NULL;
}
