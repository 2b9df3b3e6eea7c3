/* TLS as a transport, beside OpenSSL's own client on the other end of a pair of sockets. Both ends are driven by turns on one
 * thread. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/connection.h"
#include "net/transport_tls.h"
#include "storage/status.h"

enum { STEPS_MAX = 100, LARGE = 3 * 1024 * 1024 };

struct ends {
	SSL_CTX *server_context, *client_context;
	struct transport server;
	SSL *client;
	int client_fd;
};

/* A key, and a certificate that it has signed itself. */
static void
certify(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	cr_assert(key != NULL && certificate != NULL);
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	cr_assert_gt(X509_sign(certificate, key, EVP_sha256()), 0);
	cr_assert_eq(SSL_CTX_use_certificate(context, certificate), 1);
	cr_assert_eq(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void
make_ends(struct ends *e)
{
	int fds[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	e->server_context = SSL_CTX_new(TLS_server_method());
	e->client_context = SSL_CTX_new(TLS_client_method());
	certify(e->server_context);
	SSL_CTX_set_mode(e->server_context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(e->server_context, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_read_ahead(e->server_context, 1);
	SSL_CTX_set_mode(e->client_context, SSL_MODE_ENABLE_PARTIAL_WRITE);
	cr_assert_eq(transport_tls_create(e->server_context, fds[0], false, &e->server), SETT_OK);
	SSL_CTX_free(e->server_context); /* the transport has its own hold of it */
	e->client = SSL_new(e->client_context);
	e->client_fd = fds[1];
	SSL_set_fd(e->client, fds[1]);
	SSL_set_connect_state(e->client);
}

static void
free_ends(struct ends *e)
{
	int fd = e->server.fd;
	transport_close(&e->server);
	cr_assert_eq(fcntl(fd, F_GETFD), -1, "closed");
	SSL_free(e->client);
	SSL_CTX_free(e->client_context);
	if (e->client_fd >= 0)
		close(e->client_fd);
}

static void
shake_hands(struct ends *e)
{
	enum transport_step step = TRANSPORT_AWAITS_INPUT;
	bool client_ready = false;
	char why[200];
	for (int i = 0; i < STEPS_MAX && !(client_ready && step == TRANSPORT_READY); i++) {
		if (!client_ready)
			client_ready = SSL_do_handshake(e->client) == 1;
		if (step != TRANSPORT_READY)
			step = transport_establish(&e->server, why, sizeof(why));
		cr_assert_neq(step, TRANSPORT_FAILED, "%s", why);
	}
	cr_assert(client_ready && step == TRANSPORT_READY);
}

static void
expect_nothing(struct ends *e)
{
	char byte;
	cr_assert_eq(transport_receive(&e->server, &byte, 1), -1);
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(transport_pending(&e->server), 0, "nothing to come back for");
}

Test(transport_tls, bytes_go_both_ways_and_the_end_is_seen)
{
	struct ends e;
	char text[16];
	make_ends(&e);
	cr_assert_not(transport_is_ready_at_once(&e.server));
	shake_hands(&e);
	expect_nothing(&e);
	cr_assert_eq(SSL_write(e.client, "abcd", 4), 4);
	cr_assert_eq(transport_receive(&e.server, text, 3), 3);
	cr_assert_gt(transport_pending(&e.server), 0, "no event reports what OpenSSL has read");
	cr_assert_eq(transport_receive(&e.server, text + 3, 5), 1);
	cr_assert_eq(memcmp(text, "abcd", 4), 0);
	expect_nothing(&e);
	cr_assert_eq(transport_send(&e.server, "reply", 5), 5);
	cr_assert_eq(SSL_read(e.client, text, sizeof(text)), 5);
	/* Half closed: what came before is received, the end is said twice, and replies still leave. */
	cr_assert_eq(SSL_write(e.client, "x", 1), 1);
	SSL_shutdown(e.client);
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 1);
	cr_assert_gt(transport_pending(&e.server), 0, "the end is to be told");
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 0);
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 0);
	cr_assert_eq(transport_send(&e.server, "last", 4), 4);
	cr_assert_eq(SSL_read(e.client, text, sizeof(text)), 4);
	free_ends(&e);
}

Test(transport_tls, a_peer_that_just_closes_has_ended_too)
{
	struct ends e;
	char text[16];
	make_ends(&e);
	shake_hands(&e);
	cr_assert_eq(SSL_read(e.client, text, sizeof(text)), -1, "session tickets alone");
	cr_assert_eq(SSL_write(e.client, "x", 1), 1);
	close(e.client_fd);
	e.client_fd = -1;
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 1);
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 0);
	/* Without a signal, which would end the test. */
	cr_assert_eq(transport_send(&e.server, "x", 1), -1);
	cr_assert_eq(errno, EPIPE);
	free_ends(&e);
}

Test(transport_tls, records_that_come_in_parts_are_not_pending)
{
	struct ends e;
	char text[64], record[256];
	make_ends(&e);
	shake_hands(&e);
	expect_nothing(&e);
	/* The client writes into a pair of its own, from which the bytes come over one by one. */
	int relay[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, relay), 0);
	BIO *direct = SSL_get_wbio(e.client);
	BIO_up_ref(direct);
	SSL_set0_wbio(e.client, BIO_new_socket(relay[0], BIO_NOCLOSE));
	cr_assert_eq(SSL_write(e.client, "whole", 5), 5);
	ssize_t size = read(relay[1], record, sizeof(record));
	cr_assert_gt(size, 5);
	for (ssize_t i = 0; i < size; i++) {
		expect_nothing(&e);
		cr_assert_eq(write(e.client_fd, record + i, 1), 1);
	}
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 5);
	cr_assert_eq(memcmp(text, "whole", 5), 0);
	SSL_set0_wbio(e.client, direct);
	close(relay[0]);
	close(relay[1]);
	free_ends(&e);
}

/* The client reads a record; it goes on at `*seen` of the pattern. False: there is none. */
static bool
drain_some(struct ends *e, const uint8_t *pattern, size_t *seen)
{
	static uint8_t got[64 * 1024];
	int size = SSL_read(e->client, got, sizeof(got));
	ERR_clear_error();
	if (size <= 0)
		return false;
	cr_assert_leq(*seen + (size_t)size, LARGE);
	cr_assert_eq(memcmp(got, pattern + *seen, (size_t)size), 0, "at %zu", *seen);
	*seen += (size_t)size;
	return true;
}

static uint8_t *
make_pattern(void)
{
	uint8_t *pattern = malloc(LARGE);
	cr_assert_not_null(pattern);
	for (size_t i = 0; i < LARGE; i++)
		pattern[i] = (uint8_t)(i * 2654435761u >> 24);
	return pattern;
}

Test(transport_tls, a_full_socket_takes_the_rest_later_from_another_place)
{
	struct ends e;
	uint8_t *pattern = make_pattern(), *moved = malloc(LARGE);
	size_t sent = 0, seen = 0;
	unsigned refusals = 0;
	make_ends(&e);
	shake_hands(&e);
	memcpy(moved, pattern, LARGE);
	for (int i = 0; seen < LARGE && i < 100000; i++) {
		ssize_t n = transport_send(&e.server, (i % 2 ? moved : pattern) + sent, LARGE - sent);
		if (n < 0) {
			cr_assert_eq(errno, EAGAIN);
			refusals++;
			while (drain_some(&e, pattern, &seen))
				;
		} else {
			sent += (size_t)n;
			if (sent == LARGE)
				while (drain_some(&e, pattern, &seen))
					;
		}
	}
	cr_assert_eq(seen, (size_t)LARGE);
	cr_assert_gt(refusals, 3);
	free(pattern);
	free(moved);
	free_ends(&e);
}

/* Fills the way to the client with bytes of no record; how many. */
static size_t
stuff(struct ends *e)
{
	static const char zeros[4096];
	size_t sum = 0;
	ssize_t n;
	while ((n = write(e->server.fd, zeros, sizeof(zeros))) > 0 || (n = write(e->server.fd, zeros, 1)) > 0)
		sum += (size_t)n;
	return sum;
}

static void
unstuff(struct ends *e, size_t size)
{
	char bytes[4096];
	while (size > 0) {
		ssize_t n = read(e->client_fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
		cr_assert_gt(n, 0);
		size -= (size_t)n;
	}
}

/* The peer asks for new keys, and the answer finds no room: it has to be written before anything more is received. */
Test(transport_tls, new_keys_wait_for_a_full_socket)
{
	struct ends e;
	char text[16];
	make_ends(&e);
	shake_hands(&e);
	cr_assert_eq(SSL_read(e.client, text, sizeof(text)), -1, "session tickets alone");
	cr_assert_eq(SSL_key_update(e.client, SSL_KEY_UPDATE_REQUESTED), 1);
	cr_assert_eq(SSL_write(e.client, "request", 7), 7);
	size_t stuffed = stuff(&e);
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 7);
	cr_assert_eq(transport_send(&e.server, "reply", 5), -1);
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(SSL_write(e.client, "second", 6), 6);
	expect_nothing(&e);
	cr_assert(e.server.receive_awaits_out);
	unstuff(&e, stuffed);
	cr_assert_eq(transport_receive(&e.server, text, sizeof(text)), 6);
	cr_assert_not(e.server.receive_awaits_out);
	cr_assert_eq(transport_send(&e.server, "reply", 5), 5);
	cr_assert_eq(SSL_read(e.client, text, sizeof(text)), 5);
	expect_nothing(&e);
	free_ends(&e);
}

Test(transport_tls, what_is_no_handshake_fails_with_a_reason)
{
	struct ends e;
	char why[200] = "";
	make_ends(&e);
	cr_assert_eq(transport_establish(&e.server, why, sizeof(why)), TRANSPORT_AWAITS_INPUT);
	cr_assert_eq(write(e.client_fd, "PING\r\nPING\r\n", 12), 12);
	cr_assert_eq(transport_establish(&e.server, why, sizeof(why)), TRANSPORT_FAILED);
	cr_assert_not_null(strstr(why, "wrong version number"), "%s", why);
	free_ends(&e);
	make_ends(&e);
	close(e.client_fd);
	e.client_fd = -1;
	cr_assert_eq(transport_establish(&e.server, why, sizeof(why)), TRANSPORT_FAILED);
	cr_assert_str_eq(why, "Connection closed");
	free_ends(&e);
}
