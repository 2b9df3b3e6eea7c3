/* Plain sockets as transports. */
#include "net/transport.h"

#include <sys/socket.h>
#include <unistd.h>

static ssize_t
socket_receive(struct transport *t, void *to, size_t room)
{
	return recv(t->fd, to, room, MSG_DONTWAIT);
}

static ssize_t
socket_send(struct transport *t, const void *data, size_t size)
{
	return send(t->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
socket_close(struct transport *t)
{
	close(t->fd);
}

struct transport
transport_socket(int fd)
{
	static const struct transport_operations operations = {
		.receive = socket_receive, .send = socket_send, .close = socket_close};
	return (struct transport){.operations = &operations, .fd = fd};
}
