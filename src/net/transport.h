/* The byte stream below a connection: a plain socket, or whatever has the same operations (TLS). It does not know
 * connections. One thread at a time. */
#ifndef SETT_NET_TRANSPORT_H
#define SETT_NET_TRANSPORT_H

#include <stddef.h>
#include <sys/types.h>

struct transport;

struct transport_operations {
	/* Never waits. Bytes received; 0 at the end of the stream; -1 with errno (EAGAIN: nothing now). */
	ssize_t (*receive)(struct transport *, void *to, size_t room);
	/* Never waits and raises no signal. Bytes taken; -1 with errno (EAGAIN: takes nothing now). */
	ssize_t (*send)(struct transport *, const void *data, size_t size);
	/* Bytes that receive would return although the descriptor may not be reported as readable. NULL: there
	 * are never any. */
	size_t (*pending)(const struct transport *);
	/* Closes the descriptor. */
	void (*close)(struct transport *);
};

struct transport {
	const struct transport_operations *operations;
	int fd; /* to be watched for readiness; owned */
};

/* A connected, non-blocking socket, which it takes over. */
struct transport transport_socket(int fd);

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
