/* The byte stream below a connection: a plain socket, or whatever has the same operations (TLS). It does not know
 * connections. One thread at a time. */
#ifndef SETT_NET_TRANSPORT_H
#define SETT_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct transport;

enum transport_step {
	TRANSPORT_READY,         /* bytes may be received and sent */
	TRANSPORT_AWAITS_INPUT,  /* again, once the descriptor is readable */
	TRANSPORT_AWAITS_OUTPUT, /* likewise writable */
	TRANSPORT_FAILED,
};

struct transport_operations {
	/* A step of what comes before the first byte; may compute for milliseconds, never waits. `ret_why`, of
	 * `size` bytes, says why it failed. NULL: the transport is ready from the start. */
	enum transport_step (*establish)(struct transport *, char *ret_why, size_t size);
	/* Never waits. Bytes received; 0 at the end of the stream; -1 with errno (EAGAIN: nothing now). */
	ssize_t (*receive)(struct transport *, void *to, size_t room);
	/* Never waits and raises no signal. Bytes taken; -1 with errno (EAGAIN: takes nothing now). What follows has to
	 * begin with the bytes that were not taken. */
	ssize_t (*send)(struct transport *, const void *data, size_t size);
	/* Bytes that receive would return although the descriptor may not be reported as readable, or another
	 * number but 0 if it would say something else than EAGAIN. NULL: there are never any. */
	size_t (*pending)(const struct transport *);
	/* Closes the descriptor. */
	void (*close)(struct transport *);
};

struct transport {
	const struct transport_operations *operations;
	int fd;                  /* to be watched for readiness; owned */
	bool receive_awaits_out; /* the last receive said EAGAIN, and goes on once the descriptor is writable */
	size_t memory;           /* about the bytes it takes */
	void *state;             /* the operations' own */
};

/* A connected, non-blocking socket, which it takes over. */
struct transport transport_socket(int fd);

static inline bool
transport_is_ready_at_once(const struct transport *t)
{
	return t->operations->establish == NULL;
}
static inline enum transport_step
transport_establish(struct transport *t, char *ret_why, size_t size)
{
	return t->operations->establish(t, ret_why, size);
}
static inline ssize_t
transport_receive(struct transport *t, void *to, size_t room)
{
	return t->operations->receive(t, to, room);
}
static inline ssize_t
transport_send(struct transport *t, const void *data, size_t size)
{
	return t->operations->send(t, data, size);
}
static inline size_t
transport_pending(const struct transport *t)
{
	return t->operations->pending != NULL ? t->operations->pending(t) : 0;
}
static inline void
transport_close(struct transport *t)
{
	t->operations->close(t);
}

#endif
