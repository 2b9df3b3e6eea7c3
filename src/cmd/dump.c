/* DUMP and RESTORE. */
#include "cmd/commands.h"
#include "cmd/dump_source.h"
#include "cmd/hashes.h"
#include "cmd/lists.h"
#include "cmd/sets.h"
#include "cmd/zsets.h"
#include "config/config.h"
#include "rdb/key_value.h"
#include "rdb/payload.h"
#include "txn/propagation.h"

enum { LONG_PAYLOAD = 1024 * 1024 };

/* ---- DUMP ---- */

static int
write_payload(struct command_context *c, struct key *k, struct rdb_writer *w)
{
	unsigned version;
	int status = rdb_write_value(k, &c->client->gone, w, &version);
	if (status == SETT_ABORTED)
		return context_give_up(c);
	if (status != SETT_OK)
		return status;
	rdb_payload_seal(w, version);
	return w->failed ? SETT_NO_MEMORY : SETT_OK;
}

/* A large string is sent from where it lies. SETT_INVALID: it is none, or it has to be read into memory. */
static int
reply_large_string(struct command_context *c, const struct key *k)
{
	struct sett_body_stream *body;
	if (!k->exists || k->root.type != VALUE_STRING || k->root.body_size < CONTEXT_STREAM_MIN)
		return SETT_INVALID;
	int status = key_body_stream(k, 0, k->root.body_size, &body);
	if (status != SETT_INVALID)
		return status == SETT_OK ? reply_dump_source(c, body) : status;
	if (k->root.object == 0 || key_is_changed(k))
		return SETT_INVALID;
	status = reply_dump_chunks(c, k);
	return status == SETT_TOO_LARGE ? SETT_INVALID : status;
}

int
command_dump(struct command_context *c)
{
	struct key k;
	struct rdb_writer w;
	int status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	status = reply_large_string(c, &k);
	if (status != SETT_INVALID)
		return status;
	status = k.exists && k.root.body_size > LONG_PAYLOAD ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK && k.exists)
		status = enter_lane_for_elements(c, &k.root);
	if (status != SETT_OK)
		return status;
	rdb_writer_init(&w, __atomic_load_n(&c->server->config->rdb_compression, __ATOMIC_RELAXED));
	w.limit = __atomic_load_n(&c->server->transaction_memory, __ATOMIC_RELAXED);
	status = k.exists ? write_payload(c, &k, &w) : SETT_NOT_FOUND;
	if (status == SETT_OK)
		reply_bytes(c, buffer_bytes(&w.out));
	else if (status == SETT_NOT_FOUND)
		resp_null(c->reply);
	rdb_writer_free(&w);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- RESTORE ---- */

struct restore_options {
	bool replace, absolute;
	int64_t idle, frequency; /* -1: not given */
	int64_t ttl;
};

/* The option at `i` with an argument: at most one of the two. */
static bool
parse_use(struct command_context *c, size_t i, struct restore_options *o)
{
	bool is_idle = argument_is(c->argv[i], "IDLETIME");
	int64_t *number = is_idle ? &o->idle : &o->frequency;
	if (!context_integer(c, c->argv[i + 1], number))
		return false;
	if (is_idle && o->idle < 0)
		context_error(c, "ERR Invalid IDLETIME value, must be >= 0");
	else if (!is_idle && (o->frequency < 0 || o->frequency > 255))
		context_error(c, "ERR Invalid FREQ value, must be >= 0 and <= 255");
	return !c->failed;
}

static bool
parse_options(struct command_context *c, struct restore_options *ret)
{
	struct restore_options o = {.idle = -1, .frequency = -1};
	for (size_t i = 4; i < c->argc; i++) {
		bool more = i + 1 < c->argc;
		if (argument_is(c->argv[i], "REPLACE")) {
			o.replace = true;
		} else if (argument_is(c->argv[i], "ABSTTL")) {
			o.absolute = true;
		} else if ((argument_is(c->argv[i], "IDLETIME") && more && o.frequency < 0) ||
			   (argument_is(c->argv[i], "FREQ") && more && o.idle < 0)) {
			if (!parse_use(c, i++, &o))
				return false;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	*ret = o;
	return true;
}

/* Redis' log says what was wrong, too. */
static int
refuse_payload(struct command_context *c, const struct rdb_reader *reader)
{
	log_sink_printf(&c->server->sink, LOG_LEVEL_NOTICE, "RESTORE: %s integrity check failed",
			rdb_reader_form_name(reader));
	return context_error(c, "ERR Bad data format");
}

/* Stores the value under the key, which does not exist. */
static int
store_payload(struct command_context *c, struct key *k, struct bytes value, enum value_type *ret_type)
{
	struct rdb_limits limits = rdb_limits_of(c->server->config);
	struct rdb_reader reader;
	struct seen seen = {0};
	int status = rdb_reader_open(&reader, value);
	if (status == RDB_MALFORMED)
		return refuse_payload(c, &reader);
	if (status != SETT_OK)
		return status;
	*ret_type = reader.type;
	status = rdb_store_value(&reader, &limits, &seen, k);
	seen_free(&seen);
	/* Nothing may follow the value. */
	if (status == RDB_MALFORMED || (status == SETT_OK && rdb_left(&reader.in) > 0))
		status = refuse_payload(c, &reader);
	rdb_reader_close(&reader);
	return status;
}

/* Gives the new key its deadline, or deletes it where that has passed: then `ret_deadline` is 0. */
static int
settle_deadline(struct command_context *c, const struct restore_options *o, uint64_t *ret_deadline)
{
	struct key k;
	int64_t deadline = o->ttl;
	/* As in Redis, one that is too far away counts as passed. */
	if (!o->absolute && __builtin_add_overflow(deadline, (int64_t)c->view.now_ms, &deadline))
		deadline = 0;
	int status = key_open(&c->view, c->db, c->argv[1], &k);
	if (status != SETT_OK || !k.exists)
		return status;
	*ret_deadline =
		deadline > 0 && !keyspace_is_past(&c->view, (uint64_t)deadline) ? (uint64_t)deadline : 0;
	return *ret_deadline != 0 ? key_set_expiry(&k, *ret_deadline) : key_delete(&k);
}

/* Of a RESTORE with a deadline, which is 0 if it had passed. */
static int
propagate_restored(struct command_context *c, const struct restore_options *o, bool existed,
		   uint64_t deadline)
{
	if (!is_propagated(c) || (deadline != 0 && o->absolute))
		return SETT_OK;
	if (deadline == 0) {
		propagate_nothing(c);
		return existed ? propagate(c, "DEL", c->argv[1]) : SETT_OK;
	}
	struct bytes *arguments =
		arena_allocate(c->arena, c->argc * sizeof(*arguments), _Alignof(struct bytes));
	if (arguments == NULL)
		return SETT_NO_MEMORY;
	memcpy(arguments, c->argv + 1, (c->argc - 1) * sizeof(*arguments));
	arguments[1] = propagated_unsigned(c, deadline);
	arguments[c->argc - 1] = BYTES_LITERAL("ABSTTL");
	return propagate_as(c, "RESTORE", arguments, c->argc);
}

static int
note_use(struct command_context *c, const struct key *k, const struct restore_options *o)
{
	uint64_t hash = k->engine_key.hash, now_ms = c->view.now_ms;
	bool is_lfu = config_policy_is_lfu(c->server->config);
	if (is_lfu ? o->frequency < 0 : o->idle < 0)
		return SETT_OK;
	int status = server_note_accesses(c->server);
	if (status == SETT_OK && is_lfu)
		accesses_set_frequency(c->server->accesses, hash, now_ms, (unsigned)o->frequency);
	else if (status == SETT_OK)
		accesses_set_idle(c->server->accesses, hash, now_ms, (uint64_t)o->idle);
	return status;
}

static int
restore(struct command_context *c, struct key *k, const struct restore_options *o)
{
	struct bytes value;
	if (rdb_payload_open(c->argv[3], server_trusts_payloads(c->server), &value) != SETT_OK)
		return context_error(c, "ERR DUMP payload version or checksum are wrong");
	bool existed = k->exists;
	uint64_t deadline = 0;
	enum value_type type = k->root.type;
	int status = existed ? key_delete(k) : SETT_OK;
	if (status == SETT_OK)
		status = store_payload(c, k, value, &type);
	if (status == SETT_OK && o->ttl != 0)
		status = settle_deadline(c, o, &deadline);
	if (status == SETT_OK && o->ttl != 0)
		status = propagate_restored(c, o, existed, deadline);
	if (status == SETT_OK && (o->ttl == 0 || deadline != 0))
		status = tell_overwritten(key_event(k, EVENT_GENERIC, "restore"), k, existed, type);
	else if (existed)
		status = tell_deleted(status, k);
	if (status == SETT_OK)
		status = note_use(c, k, o);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

/* The order in which Redis finds fault. */
int
command_restore(struct command_context *c)
{
	struct restore_options options;
	struct key k;
	if (!parse_options(c, &options))
		return OUTCOME_FAILED;
	int status = c->argv[3].size > LONG_PAYLOAD ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK)
		status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (k.exists && !options.replace)
		return context_error(c, "BUSYKEY Target key name already exists.");
	if (!context_integer(c, c->argv[2], &options.ttl))
		return OUTCOME_FAILED;
	if (options.ttl < 0)
		return context_error(c, "ERR Invalid TTL value, must be >= 0");
	context_allow_builds(c);
	return restore(c, &k, &options);
}
