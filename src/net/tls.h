/* What TLS connections are made with: certificates, keys, ciphers and so on, as the tls- directives say, and anew when
 * CONFIG SET changes one or names a file again. A connection keeps what it was made with.
 *
 * OpenSSL is not touched before something is loaded. */
#ifndef SETT_NET_TLS_H
#define SETT_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "net/transport.h"
#include "storage/base/log_sink.h"
#include "storage/base/thread.h"

struct config;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

struct tls {
	/* set once */
	struct config *config;
	struct log_sink sink;
	struct mutex mutex;
	/* under the mutex: for those who connect to this server, and for its own connections to others; NULL until
	 * loaded */
	struct ssl_ctx_st *server, *client;
};

/* Loads nothing. `config` is borrowed. */
void tls_init(struct tls *, struct config *, struct log_sink);
void tls_free(struct tls *);
/* Whether a configuration asks for TLS anywhere. */
bool tls_is_wanted(const struct config *);
/* Loads what the configuration names, in place of what was loaded before. SETT_INVALID: the reason is logged, and what was
 * loaded before stays. Any thread. */
int tls_load(struct tls *);

/* For config_guard on the tls- directives; `tls` is the struct tls. */
bool tls_allows(void *tls, const struct config *planned, char *ret_reason, size_t size);
/* For config_listen on them. */
void tls_reload(void *tls);
/* The n-th tls- directive that these two are for; NULL behind the last. tls-port is none of them. */
const char *tls_directive(size_t n);

/* The transport of a connection that was accepted, or is being made, on this socket (connected or about to be,
 * non-blocking). Takes the socket over. A peer that this side connects to must show a certificate of the CA that is
 * configured. SETT_INVALID: nothing is loaded, and for tls_connect nothing can be (logged). SETT_NO_MEMORY. The socket
 * stays the caller's then. Any thread. */
int tls_accept(struct tls *, int fd, struct transport *ret);
int tls_connect(struct tls *, int fd, struct transport *ret);

#endif
