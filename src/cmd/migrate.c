/* MIGRATE: keys are dumped, restored at another server, and deleted here.
 *
 * It runs transactions of its own, beside that of its command, which does nothing: so the command is not run again, and
 * knows what it has sent. A key that changed here between its dump and its deletion is sent again, in place of what it
 * has sent itself; one that was deleted here meanwhile is deleted there. Here goes only what the last try has sent. */
#include "cmd/commands.h"
#include <errno.h>

#include "config/config.h"
#include "moving/link.h"
#include "net/net.h"
#include "rdb/key_value.h"
#include "rdb/payload.h"
#include "txn/runner.h"

enum {
	TIMEOUT_DEFAULT_MS = 1000,
	TRIES_MAX = 100,
	CLAIM_AFTER = 3,
	ARENA_BLOCK = 64 * 1024,
	LINE_SIZE = 1024, /* of a reply; what is longer counts as none */
	ERROR_SIZE = LINE_SIZE + 64,
	HOST_MAX = 255,
};

struct migration {
	struct command_context *c;
	bool copies, replaces;
	struct bytes user, password; /* size 0 and no data: none */
	int64_t db, timeout;
	const struct bytes *keys;
	size_t count;
	bool *placed; /* the target has a copy of the key by this command, perhaps an old one */
	bool *sent;   /* it has what is here, by the present try */
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view; /* of the present transaction */
	struct key *handles;
	bool *found;
	struct rdb_writer requests;
	struct link target;
	char error[ERROR_SIZE];
};

/* ---- the call ---- */

static bool
parse_keys(struct migration *m, size_t i)
{
	struct command_context *c = m->c;
	if (c->argv[3].size > 0) {
		context_error(c,
			      "ERR When using MIGRATE KEYS option, the key argument must be set to the empty "
			      "string");
		return false;
	}
	m->keys = c->argv + i + 1;
	m->count = c->argc - i - 1;
	return true;
}

static bool
parse(struct migration *m)
{
	struct command_context *c = m->c;
	m->keys = c->argv + 3;
	m->count = 1;
	for (size_t i = 6; i < c->argc; i++) {
		size_t more = c->argc - i - 1;
		if (argument_is(c->argv[i], "COPY")) {
			m->copies = true;
		} else if (argument_is(c->argv[i], "REPLACE")) {
			m->replaces = true;
		} else if (argument_is(c->argv[i], "AUTH") && more >= 1) {
			m->password = c->argv[++i];
		} else if (argument_is(c->argv[i], "AUTH2") && more >= 2) {
			m->user = c->argv[++i];
			m->password = c->argv[++i];
		} else if (argument_is(c->argv[i], "KEYS")) {
			if (!parse_keys(m, i))
				return false;
			break;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	if (!context_integer(c, c->argv[5], &m->timeout) || !context_integer(c, c->argv[4], &m->db))
		return false;
	if (m->timeout <= 0 || m->timeout > INT32_MAX)
		m->timeout = m->timeout <= 0 ? TIMEOUT_DEFAULT_MS : INT32_MAX;
	return true;
}

/* The keys follow KEYS where the key's place is left empty; what follows AUTH is none of the options. */
int
key_rule_of_migrate(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	size_t first = 3, count = 1;
	for (size_t i = 6; i < argc; i++) {
		if (argument_is(argv[i], "AUTH")) {
			i++;
		} else if (argument_is(argv[i], "AUTH2")) {
			i += 2;
		} else if (argument_is(argv[i], "KEYS") && i + 1 < argc) {
			first = i + 1;
			count = argv[3].size == 0 ? argc - first : 0; /* else they are refused */
			break;
		}
	}
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct command_key){.position = first + i,
					      .flags = KEY_RW | KEY_ACCESS | KEY_DELETE};
	*ret_count = count;
	return SETT_OK;
}

/* ---- requests ---- */

static void
put_count(struct rdb_writer *w, char kind, uint64_t number)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "%c%llu\r\n", kind, (unsigned long long)number);
	rdb_put_bytes(w, bytes_of(text, (size_t)size));
}

static void
put_bulk(struct rdb_writer *w, struct bytes data)
{
	put_count(w, '$', data.size);
	rdb_put_bytes(w, data);
	rdb_put_bytes(w, BYTES_LITERAL("\r\n"));
}

static void
put_number(struct rdb_writer *w, int64_t number)
{
	char text[RESP_INTEGER_MAX_SIZE];
	put_bulk(w, bytes_of(text, resp_format_integer(number, text)));
}

static void
put_greeting(struct migration *m)
{
	struct rdb_writer *w = &m->requests;
	if (m->password.data != NULL) {
		put_count(w, '*', m->user.data != NULL ? 3 : 2);
		put_bulk(w, BYTES_LITERAL("AUTH"));
		if (m->user.data != NULL)
			put_bulk(w, m->user);
		put_bulk(w, m->password);
	}
	put_count(w, '*', 2);
	put_bulk(w, BYTES_LITERAL("SELECT"));
	put_number(w, m->db);
}

static int
put_restore(struct migration *m, size_t i)
{
	struct key *k = &m->handles[i];
	struct rdb_writer payload;
	unsigned version;
	int64_t ttl = k->root.expires_at != 0 ? (int64_t)(k->root.expires_at - m->view.now_ms) : 0;
	bool replaces = m->replaces || m->placed[i];
	rdb_writer_init(&payload, m->requests.compresses);
	payload.limit = m->requests.limit;
	int status = rdb_write_value(k, NULL, &payload, &version);
	if (status == SETT_OK)
		rdb_payload_seal(&payload, version);
	if (status == SETT_OK && payload.failed)
		status = SETT_NO_MEMORY;
	if (status == SETT_OK) {
		put_count(&m->requests, '*', replaces ? 5 : 4);
		put_bulk(&m->requests, BYTES_LITERAL("RESTORE"));
		put_bulk(&m->requests, k->name);
		put_number(&m->requests, ttl);
		put_bulk(&m->requests, buffer_bytes(&payload.out));
		if (replaces)
			put_bulk(&m->requests, BYTES_LITERAL("REPLACE"));
	}
	rdb_writer_free(&payload);
	return status;
}

/* A key that was sent by an earlier try and has gone here since goes there too. */
static void
put_delete(struct migration *m, size_t i)
{
	put_count(&m->requests, '*', 2);
	put_bulk(&m->requests, BYTES_LITERAL("DEL"));
	put_bulk(&m->requests, m->keys[i]);
}

/* The keys that are there, and what it takes to restore them. */
static int
dump_keys(struct migration *m, size_t *ret_found, size_t *ret_requests)
{
	int status = SETT_OK;
	*ret_found = *ret_requests = 0;
	buffer_clear(&m->requests.out);
	put_greeting(m);
	for (size_t i = 0; i < m->count && status == SETT_OK; i++) {
		status = key_open(&m->view, m->c->db, m->keys[i], &m->handles[i]);
		m->found[i] = status == SETT_OK && m->handles[i].exists;
		if (m->found[i])
			status = put_restore(m, i);
		if (status == SETT_NOT_FOUND) { /* all of its elements are past their deadlines */
			m->found[i] = false;
			status = SETT_OK;
		}
		if (status == SETT_OK && !m->found[i] && m->placed[i])
			put_delete(m, i);
		*ret_found += m->found[i];
		*ret_requests += m->found[i] || m->placed[i];
	}
	return status == SETT_OK && m->requests.failed ? SETT_NO_MEMORY : status;
}

/* ---- the other side ---- */

/* One reply. False: nothing more can be said to it. */
static bool
read_reply(struct migration *m, bool *ret_ok)
{
	char line[LINE_SIZE];
	struct sett_error ignored;
	if (link_read_line(&m->target, line, sizeof(line), (int)m->timeout, &ignored) != SETT_OK) {
		snprintf(m->error, sizeof(m->error), "IOERR error or timeout reading to target instance");
		return false;
	}
	*ret_ok = line[0] != '-';
	if (!*ret_ok && m->error[0] == '\0')
		snprintf(m->error, sizeof(m->error), "ERR Target instance replied with error: %s", line + 1);
	return true;
}

/* False: `error` says what went wrong. */
static bool
connect_target(struct migration *m)
{
	struct command_context *c = m->c;
	struct sett_error error = {.status = SETT_IO};
	char host[HOST_MAX + 1];
	int64_t port;
	bool tls = __atomic_load_n(&c->server->config->tls.cluster, __ATOMIC_RELAXED);
	struct link_peer peer = {.host = host, .tls = tls ? c->server->net : NULL};
	snprintf(host, sizeof(host), "%.*s", (int)(c->argv[1].size <= HOST_MAX ? c->argv[1].size : 0),
		 (const char *)c->argv[1].data);
	if (host[0] != '\0' && parse_integer(c->argv[2], &port) && port > 0 && port <= UINT16_MAX) {
		peer.port = (unsigned)port;
		if (link_open(&m->target, -1, &peer, (int)m->timeout, &error) == SETT_OK) {
			link_set_no_delay(&m->target, true);
			return true;
		}
	}
	/* As in Redis, a refusal is found by the first write. */
	snprintf(m->error, sizeof(m->error), "IOERR error or timeout %s",
		 error.system_errno == ECONNREFUSED ? "writing to target instance"
						    : "connecting to the client");
	return false;
}

/* Sends all, and learns which keys are there now. `error` says what went wrong. False: replies may still come. */
static bool
exchange(struct migration *m)
{
	bool ok = true;
	struct sett_error ignored;
	if (!link_is_open(&m->target) && !connect_target(m))
		return false;
	if (link_send(&m->target, buffer_bytes(&m->requests.out), (int)m->timeout, &ignored) != SETT_OK) {
		snprintf(m->error, sizeof(m->error), "IOERR error or timeout writing to target instance");
		return false;
	}
	if ((m->password.data != NULL && (!read_reply(m, &ok) || !ok)) || !read_reply(m, &ok) || !ok)
		return false;
	for (size_t i = 0; i < m->count; i++) {
		if (!m->found[i] && !m->placed[i])
			continue;
		if (!read_reply(m, &ok))
			return false;
		m->sent[i] = m->found[i] && ok;
		m->placed[i] = m->found[i] ? m->placed[i] || ok : !ok;
	}
	return true;
}

/* What an earlier try has sent, and the replies that it left behind, are not this one's. */
static void
restore_keys(struct migration *m)
{
	memset(m->sent, 0, m->count * sizeof(*m->sent));
	if (!exchange(m))
		link_close(&m->target);
}

/* ---- all of it ---- */

static int
delete_sent(struct migration *m)
{
	int status = SETT_OK;
	size_t deleted = 1;
	struct bytes *argv =
		arena_allocate(&m->arena, (m->count + 1) * sizeof(*argv), _Alignof(struct bytes));
	if (argv == NULL)
		return SETT_NO_MEMORY;
	argv[0] = BYTES_LITERAL("DEL");
	for (size_t i = 0; i < m->count && status == SETT_OK && !m->copies; i++) {
		struct key k;
		if (!m->found[i] || !m->sent[i])
			continue;
		/* A key may be named twice. */
		status = key_open(&m->view, m->c->db, m->keys[i], &k);
		bool exists = status == SETT_OK && k.exists;
		if (exists)
			status = key_delete(&k);
		if (exists && status == SETT_OK)
			status = key_event(&k, EVENT_GENERIC, "del");
		if (exists)
			argv[deleted++] = m->keys[i];
	}
	if (status == SETT_OK && m->view.propagates && deleted > 1)
		status = keyspace_add_command(&m->view, m->c->db, deleted, argv, NULL);
	return status;
}

/* `ret_found`: keys that were there. */
static int
try_once(struct migration *m, size_t *ret_found)
{
	struct server *server = m->c->server;
	uint64_t timestamp = 0;
	size_t requests;
	arena_reset(&m->arena);
	m->error[0] = '\0';
	int status = sett_txn_begin(m->txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&m->view, server->keyspace, m->txn, &m->arena);
	m->view.needs_master = !m->c->on_replica;
	if (status == SETT_OK)
		status = dump_keys(m, ret_found, &requests);
	if (status == SETT_OK && requests > 0) {
		restore_keys(m);
		status = delete_sent(m);
	}
	if (status != SETT_OK) {
		sett_txn_discard(m->txn);
		return status;
	}
	/* Until here nobody may have changed what was dumped. */
	sett_txn_validate_reads(m->txn);
	uint64_t observed = sett_txn_observed(m->txn);
	status = commit_transaction(server, &m->view, NULL, &timestamp, NULL);
	if (status != SETT_OK)
		return status;
	runner_serve_waiters(server, &m->view);
	timestamp = timestamp > observed ? timestamp : observed;
	if (m->c->view.observed < timestamp)
		m->c->view.observed = timestamp;
	return SETT_OK;
}

static int
migrate(struct migration *m)
{
	size_t found = 0;
	int status = SETT_CONFLICT;
	for (int tries = 1; status == SETT_CONFLICT && tries <= TRIES_MAX; tries++) {
		status = try_once(m, &found);
		/* The runner's next try is refused. */
		if (status == SETT_CONFLICT && !m->c->on_replica &&
		    replica_role_is_active(&m->c->server->replica_role)) {
			sett_txn_release_claim(m->txn);
			return status;
		}
		if (status == SETT_CONFLICT && tries >= CLAIM_AFTER)
			sett_txn_claim(m->txn);
	}
	if (status != SETT_OK) {
		sett_txn_release_claim(m->txn);
		return status == SETT_CONFLICT ? context_error(m->c, "ERR the keys change too often")
					       : status;
	}
	if (found == 0)
		resp_status(m->c->reply, "NOKEY");
	else if (m->error[0] != '\0')
		return context_error(m->c, m->error);
	else
		resp_status(m->c->reply, "OK");
	return SETT_OK;
}

int
command_migrate(struct command_context *c)
{
	struct migration m = {.c = c, .target.transport.fd = -1};
	if (!parse(&m))
		return OUTCOME_FAILED;
	if (c->in_multi)
		return context_error(c, "ERR MIGRATE is not possible inside a transaction or a script");
	int status = context_enter_long_lane(c);
	if (status != SETT_OK)
		return status;
	arena_init(&m.arena, ARENA_BLOCK);
	rdb_writer_init(&m.requests, __atomic_load_n(&c->server->config->rdb_compression, __ATOMIC_RELAXED));
	m.requests.limit =
		SETT_ROOMY_FACTOR * __atomic_load_n(&c->server->transaction_memory, __ATOMIC_RELAXED);
	m.placed = calloc(m.count + 1, sizeof(*m.placed));
	m.sent = calloc(m.count + 1, sizeof(*m.sent));
	m.found = calloc(m.count + 1, sizeof(*m.found));
	m.handles = calloc(m.count + 1, sizeof(*m.handles));
	status = m.placed != NULL && m.sent != NULL && m.found != NULL && m.handles != NULL ? SETT_OK
											    : SETT_NO_MEMORY;
	if (status == SETT_OK)
		status = sett_txn_create(c->server->engine, &m.txn);
	if (status == SETT_OK)
		status = migrate(&m);
	sett_txn_destroy(m.txn);
	link_close(&m.target);
	rdb_writer_free(&m.requests);
	arena_free(&m.arena);
	free(m.placed);
	free(m.sent);
	free(m.found);
	free(m.handles);
	return status;
}
