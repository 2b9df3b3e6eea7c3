/* Plain sockets as transports, and connections above a transport of another kind. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/connection.h"

static void
make_pair(struct transport *ret, int *ret_peer)
{
	int fds[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	*ret = transport_socket(fds[0]);
	*ret_peer = fds[1];
}

Test(transport, a_socket_never_waits_and_has_nothing_pending)
{
	struct transport t;
	int peer;
	char text[8];
	make_pair(&t, &peer);
	cr_assert_eq(transport_receive(&t, text, sizeof(text)), -1);
	cr_assert(errno == EAGAIN || errno == EWOULDBLOCK);
	cr_assert_eq(write(peer, "abcd", 4), 4);
	cr_assert_eq(transport_receive(&t, text, 3), 3);
	cr_assert_eq(transport_pending(&t), 0, "the kernel reports what is left");
	cr_assert_eq(transport_receive(&t, text + 3, 5), 1);
	cr_assert_eq(memcmp(text, "abcd", 4), 0);
	cr_assert_eq(transport_send(&t, "reply", 5), 5);
	cr_assert_eq(read(peer, text, sizeof(text)), 5);
	close(peer);
	cr_assert_eq(transport_receive(&t, text, sizeof(text)), 0);
	/* Without a signal, which would end the test. */
	cr_assert_eq(transport_send(&t, "x", 1), -1);
	cr_assert_eq(errno, EPIPE);
	int fd = t.fd;
	transport_close(&t);
	cr_assert_eq(fcntl(fd, F_GETFD), -1);
}

Test(transport, a_full_socket_says_so)
{
	struct transport t;
	int peer;
	static char zeros[65536];
	make_pair(&t, &peer);
	ssize_t sent;
	uint64_t sum = 0;
	while ((sent = transport_send(&t, zeros, sizeof(zeros))) > 0 && sum < 1 << 30)
		sum += (uint64_t)sent;
	cr_assert_eq(sent, -1);
	cr_assert(errno == EAGAIN || errno == EWOULDBLOCK);
	transport_close(&t);
	close(peer);
}

/* ---- a transport that is no socket: upper case outside, lower case inside, at most 3 bytes at a time ---- */

static const char *incoming;
static char outgoing[64];
static size_t sent_bytes;
static unsigned closed;

static ssize_t
fake_receive(struct transport *t, void *to, size_t room)
{
	size_t size = strlen(incoming);
	size = size < room ? size : room;
	size = size < 3 ? size : 3;
	if (size == 0) {
		errno = EAGAIN;
		return -1;
	}
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] =
			(char)(incoming[i] >= 'A' && incoming[i] <= 'Z' ? incoming[i] + 32 : incoming[i]);
	incoming += size;
	return (ssize_t)size;
}

static ssize_t
fake_send(struct transport *t, const void *data, size_t size)
{
	size = size < 3 ? size : 3;
	cr_assert_lt(sent_bytes + size, sizeof(outgoing));
	memcpy(outgoing + sent_bytes, data, size);
	sent_bytes += size;
	return (ssize_t)size;
}

static size_t
fake_pending(const struct transport *t)
{
	return strlen(incoming);
}

static void
fake_close(struct transport *t)
{
	closed++;
}

Test(transport, a_connection_uses_nothing_but_the_transport)
{
	static const struct transport_operations operations = {
		.receive = fake_receive, .send = fake_send, .pending = fake_pending, .close = fake_close};
	struct connection *c = connection_create((struct transport){.operations = &operations, .fd = -1});
	size_t size, sum = 0;
	incoming = "PING\r\n";
	cr_assert_not_null(c);
	c->client.authenticated = true;
	while (transport_pending(&c->transport) > 0) {
		cr_assert_eq(connection_read(c, 1024, &size), INPUT_OK);
		sum += size;
	}
	cr_assert_eq(sum, 6);
	cr_assert_eq(connection_read(c, 1024, &size), INPUT_NOTHING);
	cr_assert_eq(connection_parse(c, 1024), PARSE_REQUEST);
	struct bytes argv[1];
	cr_assert_eq(connection_next(c)->argc, 1);
	connection_arguments(c, connection_next(c), c->input_start, argv);
	cr_assert(bytes_equal(argv[0], bytes_of("ping", 4)));
	connection_consume(c);

	incoming = "GET";
	cr_assert_eq(connection_receive_ahead(c, &size), INPUT_OK);
	cr_assert_eq(size, 3);
	cr_assert_eq(connection_waiting_input(c), 3);

	resp_raw(&c->output.writer, "+PONG\r\n", 7);
	output_stamp_free(&c->output);
	for (int i = 0; i < 3 && output_pending(&c->output) > 0; i++) {
		cr_assert(connection_send(c, &size));
		c->writable = true;
	}
	cr_assert_eq(sent_bytes, 7);
	cr_assert_eq(memcmp(outgoing, "+PONG\r\n", 7), 0);
	connection_destroy(c);
	cr_assert_eq(closed, 1);
}
