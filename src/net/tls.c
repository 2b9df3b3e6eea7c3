/* What TLS connections are made with: see tls.h.
 *
 * One OpenSSL context serves all who connect, another one all connections to others: they differ where
 * tls-client-cert-file says so. Both are made before either takes the place of an old one. A context counts its users,
 * so a connection keeps its own until it closes. A new context has new keys for session tickets and an empty cache: nobody
 * resumes a session that was begun under other certificates. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "net/transport_tls.h"
#include "storage/status.h"

enum { REASON_SIZE = 256 };

/* One context on its way. */
struct making {
	SSL_CTX *context;
	const struct config_tls *from;
	const struct log_sink *sink;
};

void
tls_init(struct tls *tls, struct config *config, struct log_sink sink)
{
	*tls = (struct tls){.config = config, .sink = sink};
	mutex_init(&tls->mutex);
}

void
tls_free(struct tls *tls)
{
	if (tls->server != NULL)
		SSL_CTX_free(tls->server);
	if (tls->client != NULL)
		SSL_CTX_free(tls->client);
	mutex_destroy(&tls->mutex);
}

bool
tls_is_wanted(const struct config *config)
{
	return __atomic_load_n(&config->tls_port, __ATOMIC_RELAXED) != 0 ||
		__atomic_load_n(&config->tls.replication, __ATOMIC_RELAXED) ||
		__atomic_load_n(&config->tls.cluster, __ATOMIC_RELAXED);
}

/* ---- parts of a context ---- */

static bool __attribute__((format(printf, 2, 3))) refuse(const struct log_sink *sink, const char *format, ...)
{
	char text[REASON_SIZE * 3];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_sink_printf(sink, LOG_LEVEL_WARNING, "%s", text);
	return false;
}

/* For something that OpenSSL has refused. */
static bool
refuse_file(const struct making *m, const char *what, const char *file)
{
	char why[REASON_SIZE];
	transport_tls_error(why, sizeof(why));
	return refuse(m->sink, "Failed to load %s: %s: %s", what, file, why);
}

static bool
refuse_setting(const struct making *m, const char *what)
{
	char why[REASON_SIZE];
	transport_tls_error(why, sizeof(why));
	return refuse(m->sink, "Failed to %s: %s", what, why);
}

static bool
set_protocols(const struct making *m)
{
	static const struct {
		const char *word;
		uint64_t off;
	} known[] = {{"TLSv1", SSL_OP_NO_TLSv1},
		     {"TLSv1.1", SSL_OP_NO_TLSv1_1},
		     {"TLSv1.2", SSL_OP_NO_TLSv1_2},
		     {"TLSv1.3", SSL_OP_NO_TLSv1_3}};
	enum { KNOWN = sizeof(known) / sizeof(known[0]) };
	const char *next = m->from->protocols != NULL ? m->from->protocols : "TLSv1.2 TLSv1.3";
	uint64_t off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
	const uint64_t all = off;
	while (*(next += strspn(next, " ")) != '\0') {
		size_t size = strcspn(next, " "), i = 0;
		while (i < KNOWN &&
		       (strlen(known[i].word) != size || strncasecmp(known[i].word, next, size) != 0))
			i++;
		if (i == KNOWN)
			break;
		off &= ~known[i].off;
		next += size;
	}
	if (*next != '\0' || off == all)
		return refuse(m->sink,
			      "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', "
			      "'TLSv1.2' and 'TLSv1.3'.");
	SSL_CTX_set_options(m->context, SSL_OP_NO_SSLv3 | off);
	return true;
}

static bool
set_ciphers(const struct making *m)
{
	const struct config_tls *from = m->from;
	if (from->ciphers != NULL && SSL_CTX_set_cipher_list(m->context, from->ciphers) != 1)
		return refuse(m->sink, "Failed to configure ciphers: %s", from->ciphers);
	if (from->ciphersuites != NULL && SSL_CTX_set_ciphersuites(m->context, from->ciphersuites) != 1)
		return refuse(m->sink, "Failed to configure ciphersuites: %s", from->ciphersuites);
	if (from->prefer_server_ciphers)
		SSL_CTX_set_options(m->context, SSL_OP_CIPHER_SERVER_PREFERENCE);
	return true;
}

/* OpenSSL's own would ask at the terminal. */
static int
give_password(char *to, int room, int for_writing, void *password)
{
	size_t size = password != NULL ? strlen(password) : 0;
	if (size == 0 || room < 0 || size > (size_t)room)
		return -1;
	memcpy(to, password, size);
	return (int)size;
}

static bool
set_certificate(const struct making *m, bool is_client)
{
	const struct config_tls *from = m->from;
	bool own = is_client && from->client_cert_file != NULL;
	const char *certificate = own ? from->client_cert_file : from->cert_file;
	const char *key = own ? from->client_key_file : from->key_file;
	char *password = own ? from->client_key_file_pass : from->key_file_pass;
	SSL_CTX_set_default_passwd_cb(m->context, give_password);
	SSL_CTX_set_default_passwd_cb_userdata(m->context, password);
	bool ok = SSL_CTX_use_certificate_chain_file(m->context, certificate) == 1 ||
		refuse_file(m, "certificate", certificate);
	ok = ok &&
		(SSL_CTX_use_PrivateKey_file(m->context, key, SSL_FILETYPE_PEM) == 1 ||
		 refuse_file(m, "private key", key));
	/* It belongs to the configuration. */
	SSL_CTX_set_default_passwd_cb_userdata(m->context, NULL);
	return ok;
}

static bool
set_authorities(const struct making *m)
{
	const struct config_tls *from = m->from;
	if (from->ca_cert_file == NULL && from->ca_cert_dir == NULL)
		return true;
	return SSL_CTX_load_verify_locations(m->context, from->ca_cert_file, from->ca_cert_dir) == 1 ||
		refuse_setting(m, "configure CA certificate(s) file/directory");
}

static bool
set_dh_parameters(const struct making *m)
{
	const char *path = m->from->dh_params_file;
	if (path == NULL)
		return true;
	BIO *file = BIO_new_file(path, "r");
	EVP_PKEY *parameters = file != NULL ? PEM_read_bio_Parameters(file, NULL) : NULL;
	bool ok = parameters != NULL && SSL_CTX_set0_tmp_dh_pkey(m->context, parameters) == 1;
	if (!ok) {
		refuse_file(m, "DH params file", path);
		EVP_PKEY_free(parameters);
	}
	BIO_free(file);
	return ok;
}

/* Sessions are resumed from the server's cache (TLS 1.2) or from tickets. */
static void
set_sessions(const struct making *m)
{
	static const unsigned char id[] = "sett";
	SSL_CTX_set_session_id_context(m->context, id, sizeof(id) - 1);
	if (!m->from->session_caching) {
		SSL_CTX_set_session_cache_mode(m->context, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_options(m->context, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(m->context, 0);
		return;
	}
	SSL_CTX_set_session_cache_mode(m->context, SSL_SESS_CACHE_SERVER);
	SSL_CTX_sess_set_cache_size(m->context, m->from->session_cache_size);
	SSL_CTX_set_timeout(m->context, m->from->session_cache_timeout);
}

static void
set_verification(const struct making *m, bool is_client)
{
	int mode = SSL_VERIFY_PEER;
	if (!is_client && m->from->auth_clients == CONFIG_TLS_CLIENTS_NO)
		mode = SSL_VERIFY_NONE;
	else if (is_client || m->from->auth_clients == CONFIG_TLS_CLIENTS_YES)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(m->context, mode, NULL);
}

static void
set_ways(const struct making *m)
{
	SSL_CTX_set_options(m->context,
			    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_SINGLE_DH_USE |
				    /* a peer that just closes: what came before is whole, or no request */
				    SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(m->context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				 SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(m->context, 1);
}

static bool
fill(const struct making *m, bool is_client)
{
	set_ways(m);
	set_sessions(m);
	set_verification(m, is_client);
	return set_protocols(m) && set_certificate(m, is_client) && set_authorities(m) && set_ciphers(m) &&
		set_dh_parameters(m);
}

/* ---- a configuration's contexts ---- */

/* What can be said without looking at files. */
static bool
is_complete(const struct config_tls *from, const struct log_sink *sink)
{
	if (from->cert_file == NULL)
		return refuse(sink, "No tls-cert-file configured!");
	if (from->key_file == NULL)
		return refuse(sink, "No tls-key-file configured!");
	if (from->client_cert_file != NULL && from->client_key_file == NULL)
		return refuse(sink, "tls-client-cert-file is configured, but no tls-client-key-file!");
	if ((from->auth_clients != CONFIG_TLS_CLIENTS_NO || from->cluster || from->replication) &&
	    from->ca_cert_file == NULL && from->ca_cert_dir == NULL)
		return refuse(sink,
			      "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when "
			      "tls-cluster, tls-replication or tls-auth-clients are enabled!");
	return true;
}

static SSL_CTX *
make_context(const struct config_tls *from, const struct log_sink *sink, bool is_client)
{
	struct making making = {.context = SSL_CTX_new(TLS_method()), .from = from, .sink = sink};
	if (making.context == NULL) {
		refuse_setting(&making, "make a TLS context");
		return NULL;
	}
	if (fill(&making, is_client))
		return making.context;
	SSL_CTX_free(making.context);
	return NULL;
}

/* Reads strings of the configuration: under its lock. False: the reason is logged. */
static bool
make_both(const struct config_tls *from, const struct log_sink *sink, SSL_CTX **ret_server,
	  SSL_CTX **ret_client)
{
	ERR_clear_error();
	if (!is_complete(from, sink))
		return false;
	SSL_CTX *server = make_context(from, sink, false);
	SSL_CTX *client = server != NULL ? make_context(from, sink, true) : NULL;
	if (client == NULL) {
		SSL_CTX_free(server);
		return false;
	}
	*ret_server = server;
	*ret_client = client;
	return true;
}

int
tls_load(struct tls *tls)
{
	SSL_CTX *server, *client;
	mutex_lock(config_lock(tls->config));
	bool ok = make_both(&tls->config->tls, &tls->sink, &server, &client);
	mutex_unlock(config_lock(tls->config));
	if (!ok)
		return SETT_INVALID;
	mutex_lock(&tls->mutex);
	SSL_CTX *old_server = tls->server, *old_client = tls->client;
	tls->server = server;
	tls->client = client;
	mutex_unlock(&tls->mutex);
	SSL_CTX_free(old_server);
	SSL_CTX_free(old_client);
	return SETT_OK;
}

/* ---- CONFIG SET ---- */

bool
tls_allows(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	struct tls *tls = arg;
	SSL_CTX *server, *client;
	if (!tls_is_wanted(planned))
		return true;
	if (make_both(&planned->tls, &tls->sink, &server, &client)) {
		SSL_CTX_free(server);
		SSL_CTX_free(client);
		return true;
	}
	snprintf(ret_reason, size, "Unable to update TLS configuration. Check server logs.");
	return false;
}

void
tls_reload(void *arg)
{
	struct tls *tls = arg;
	if (tls_is_wanted(tls->config) && tls_load(tls) != SETT_OK)
		log_sink_printf(&tls->sink, LOG_LEVEL_WARNING,
				"The TLS configuration could not be read a second time; the old one stays");
}

const char *
tls_directive(size_t n)
{
	static const char *const names[] = {"tls-cert-file",
					    "tls-key-file",
					    "tls-key-file-pass",
					    "tls-client-cert-file",
					    "tls-client-key-file",
					    "tls-client-key-file-pass",
					    "tls-dh-params-file",
					    "tls-ca-cert-file",
					    "tls-ca-cert-dir",
					    "tls-auth-clients",
					    "tls-protocols",
					    "tls-ciphers",
					    "tls-ciphersuites",
					    "tls-prefer-server-ciphers",
					    "tls-session-caching",
					    "tls-session-cache-size",
					    "tls-session-cache-timeout",
					    "tls-replication",
					    "tls-cluster"};
	return n < sizeof(names) / sizeof(names[0]) ? names[n] : NULL;
}

/* ---- connections ---- */

static int
make_transport(struct tls *tls, int fd, bool is_client, struct transport *ret)
{
	mutex_lock(&tls->mutex);
	SSL_CTX *context = is_client ? tls->client : tls->server;
	bool loaded = context != NULL && SSL_CTX_up_ref(context) == 1;
	mutex_unlock(&tls->mutex);
	if (!loaded)
		return SETT_INVALID;
	int status = transport_tls_create(context, fd, is_client, ret);
	SSL_CTX_free(context);
	return status;
}

int
tls_accept(struct tls *tls, int fd, struct transport *ret)
{
	return make_transport(tls, fd, false, ret);
}

int
tls_connect(struct tls *tls, int fd, struct transport *ret)
{
	int status = make_transport(tls, fd, true, ret);
	if (status == SETT_INVALID && tls_load(tls) == SETT_OK)
		status = make_transport(tls, fd, true, ret);
	return status;
}
