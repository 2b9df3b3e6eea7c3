/* TLS above a socket as a transport. For tls.c, which says what it is made with. */
#ifndef SETT_NET_TRANSPORT_TLS_H
#define SETT_NET_TRANSPORT_TLS_H

#include "net/transport.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* A socket, which it takes over, connected or about to be, and non-blocking; as the side that `is_client` says. The context
 * may be freed after. SETT_NO_MEMORY (the socket stays the caller's). */
int transport_tls_create(struct ssl_ctx_st *, int fd, bool is_client, struct transport *ret);
/* The first of OpenSSL's errors on this thread in words; forgets them all. */
void transport_tls_error(char *ret, size_t size);

#endif
