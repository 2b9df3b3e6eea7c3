/* TLS as a transport: see transport_tls.h.
 *
 * OpenSSL reads and writes through a BIO of this file's own, since its socket BIO would raise SIGPIPE. It reads ahead: one
 * system call for all records that have arrived, up to its buffer. So bytes may wait in OpenSSL that no event reports
 * (`pending`). What waits there may be less than a record, which would be reported as pending for ever: `dry` says that a
 * read has found that out.
 *
 * A record that the socket took in part is kept by OpenSSL, which asks for the same bytes again: whoever sends goes on with
 * them, as net's outputs do. While the peer changes its keys, a read may have to write (`receive_awaits_out`). The reverse
 * can't be: renegotiation is off.
 *
 * OpenSSL's buffers, 17 KiB each way, are given back whenever they are empty. */
#include "net/transport_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/status.h"

enum {
	/* of one call: others get their turn */
	RECEIVE_MAX = 256 * 1024,
	SEND_MAX = 256 * 1024,
	MEMORY = 19 * 1024, /* of an established connection that is idle, by measure */
};

struct tls_stream {
	SSL_CTX *context; /* a reference, until there is `ssl` */
	SSL *ssl;         /* NULL before the first step: whoever accepts many makes none of them */
	bool is_client;
	bool established;
	bool broken; /* OpenSSL may not be asked to say goodbye */
	bool dry;    /* the last read found no whole record */
	bool over;   /* it found the end, or an error: it says so again */
};

/* ---- the socket as OpenSSL sees it ---- */

static int
fd_of(BIO *bio)
{
	return (int)(intptr_t)BIO_get_data(bio);
}

static bool
is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static int
bio_read(BIO *bio, char *to, size_t room, size_t *ret_size)
{
	BIO_clear_retry_flags(bio);
	ssize_t got = recv(fd_of(bio), to, room, MSG_DONTWAIT);
	if (got > 0) {
		*ret_size = (size_t)got;
		return 1;
	}
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	else if (is_transient(errno))
		BIO_set_retry_read(bio);
	return 0;
}

static int
bio_write(BIO *bio, const char *data, size_t size, size_t *ret_size)
{
	BIO_clear_retry_flags(bio);
	ssize_t sent = send(fd_of(bio), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0) {
		*ret_size = (size_t)sent;
		return 1;
	}
	if (is_transient(errno))
		BIO_set_retry_write(bio);
	return 0;
}

static long
bio_control(BIO *bio, int command, long number, void *pointer)
{
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1; /* nothing is kept back */
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

static BIO_METHOD *socket_method; /* NULL: no memory */
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void
make_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sett socket");
	if (method == NULL || !BIO_meth_set_read_ex(method, bio_read) ||
	    !BIO_meth_set_write_ex(method, bio_write) || !BIO_meth_set_ctrl(method, bio_control))
		return;
	socket_method = method;
}

/* ---- errors ---- */

void
transport_tls_error(char *ret, size_t size)
{
	unsigned long code = ERR_get_error();
	if (code != 0)
		ERR_error_string_n(code, ret, size);
	else
		snprintf(ret, size, "unknown error");
	ERR_clear_error();
}

/* Why a call failed, of which OpenSSL says `kind`; `error` is errno after it. */
static void
explain(int kind, int error, char *ret_why, size_t size)
{
	if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SYSCALL && error == 0))
		snprintf(ret_why, size, "Connection closed");
	else if (kind == SSL_ERROR_SYSCALL)
		snprintf(ret_why, size, "%s", strerror(error));
	else
		transport_tls_error(ret_why, size);
}

/* Before a call whose failure is to be explained. Clearing costs more than to find that there is nothing to clear. */
static void
forget_errors(void)
{
	if (__builtin_expect(ERR_peek_error() != 0, 0))
		ERR_clear_error();
	errno = 0;
}

/* ---- the transport ---- */

/* False: out of memory. */
static bool
make_ssl(struct tls_stream *stream, int fd)
{
	pthread_once(&method_once, make_method);
	SSL *ssl = socket_method != NULL ? SSL_new(stream->context) : NULL;
	BIO *bio = ssl != NULL ? BIO_new(socket_method) : NULL;
	if (bio == NULL) {
		SSL_free(ssl);
		return false;
	}
	BIO_set_data(bio, (void *)(intptr_t)fd);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	if (stream->is_client)
		SSL_set_connect_state(ssl);
	else
		SSL_set_accept_state(ssl);
	stream->ssl = ssl;
	SSL_CTX_free(stream->context); /* `ssl` has a reference of its own */
	stream->context = NULL;
	return true;
}

static enum transport_step
tls_establish(struct transport *t, char *ret_why, size_t size)
{
	struct tls_stream *stream = t->state;
	forget_errors();
	if (stream->ssl == NULL && !make_ssl(stream, t->fd)) {
		ERR_clear_error();
		snprintf(ret_why, size, "out of memory");
		return TRANSPORT_FAILED;
	}
	int result = SSL_do_handshake(stream->ssl);
	int error = errno;
	if (result == 1) {
		stream->established = true;
		return TRANSPORT_READY;
	}
	int kind = SSL_get_error(stream->ssl, result);
	if (kind == SSL_ERROR_WANT_READ)
		return TRANSPORT_AWAITS_INPUT;
	if (kind == SSL_ERROR_WANT_WRITE)
		return TRANSPORT_AWAITS_OUTPUT;
	stream->broken = true;
	explain(kind, error, ret_why, size);
	return TRANSPORT_FAILED;
}

/* A failed read or write, after which errno was `error`: -1 with errno. */
static ssize_t
fail(struct tls_stream *stream, int error)
{
	stream->broken = true;
	ERR_clear_error();
	errno = error != 0 && !is_transient(error) ? error : EPROTO;
	return -1;
}

/* What a read that gave nothing means: 0 at the end, else -1 with errno. */
static ssize_t
read_nothing(struct transport *t, struct tls_stream *stream)
{
	int error = errno, kind = SSL_get_error(stream->ssl, 0);
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
		stream->dry = true;
		t->receive_awaits_out = kind == SSL_ERROR_WANT_WRITE;
		errno = EAGAIN;
		return -1;
	}
	stream->over = true;
	return kind == SSL_ERROR_ZERO_RETURN ? 0 : fail(stream, error);
}

static ssize_t
tls_receive(struct transport *t, void *to, size_t room)
{
	struct tls_stream *stream = t->state;
	size_t received = 0, got;
	if (room > RECEIVE_MAX)
		room = RECEIVE_MAX;
	stream->dry = false;
	t->receive_awaits_out = false;
	do {
		forget_errors();
		if (!SSL_read_ex(stream->ssl, (char *)to + received, room - received, &got)) {
			ssize_t why = read_nothing(t, stream);
			return received > 0 ? (ssize_t)received : why;
		}
		received += got;
	} while (received < room && SSL_has_pending(stream->ssl));
	return (ssize_t)received;
}

static ssize_t
tls_send(struct transport *t, const void *data, size_t size)
{
	struct tls_stream *stream = t->state;
	size_t sent = 0, taken;
	if (size > SEND_MAX)
		size = SEND_MAX;
	while (sent < size) {
		forget_errors();
		if (SSL_write_ex(stream->ssl, (const char *)data + sent, size - sent, &taken)) {
			sent += taken;
			continue;
		}
		int error = errno;
		if (SSL_get_error(stream->ssl, 0) != SSL_ERROR_WANT_WRITE)
			return fail(stream, error);
		if (sent > 0)
			break;
		errno = EAGAIN;
		return -1;
	}
	return (ssize_t)sent;
}

static size_t
tls_pending(const struct transport *t)
{
	const struct tls_stream *stream = t->state;
	return !stream->dry && (stream->over || SSL_has_pending(stream->ssl));
}

static void
tls_close(struct transport *t)
{
	struct tls_stream *stream = t->state;
	if (stream->established && !stream->broken)
		(void)SSL_shutdown(
			stream->ssl); /* a goodbye, if the socket takes it; nobody waits for the peer's */
	SSL_free(stream->ssl);
	SSL_CTX_free(stream->context);
	ERR_clear_error();
	close(t->fd);
	free(stream);
}

int
transport_tls_create(SSL_CTX *context, int fd, bool is_client, struct transport *ret)
{
	static const struct transport_operations operations = {.establish = tls_establish,
							       .receive = tls_receive,
							       .send = tls_send,
							       .pending = tls_pending,
							       .close = tls_close};
	struct tls_stream *stream = calloc(1, sizeof(*stream));
	if (stream == NULL || SSL_CTX_up_ref(context) != 1) {
		free(stream);
		ERR_clear_error();
		return SETT_NO_MEMORY;
	}
	stream->context = context;
	stream->is_client = is_client;
	*ret = (struct transport){.operations = &operations, .fd = fd, .memory = MEMORY, .state = stream};
	return SETT_OK;
}
