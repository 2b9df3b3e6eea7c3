/* DEBUG, behind enable-debug-command. The whole command runs in the pool: parts of it wait for the disk, read
 * every key, or sleep. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "cmd/lookup.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "config/config.h"
#include "config/directive.h"
#include "expire/expirer.h"
#include "keyspace/view_reads.h"
#include "moving/importer.h"
#include "moving/saver.h"
#include "net/net.h"
#include "rdb/payload.h"
#include "repl/replication.h"
#include "txn/pause.h"
#include "types/digest.h"
#include "types/type.h"

static int
reply_ok(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* ---- SET-ACTIVE-EXPIRE, SLEEP, ERROR, LOG ---- */

/* What atoi makes of the argument is the switch, as in Redis. `set` gets `c` or NULL. */
static int
defer_switch(struct command_context *c, void (*set)(struct server *, struct client *, void *data))
{
	int64_t value;
	bool on = parse_integer(c->argv[2], &value) && value != 0;
	resp_status(c->reply, "OK");
	return context_defer(c, set, on ? c : NULL);
}

static void
set_active_expire(struct server *server, struct client *client, void *data)
{
	/* Partner: the expirer's relaxed load; the kick makes it look. */
	__atomic_store_n(&server->config->active_expire, data != NULL, __ATOMIC_RELAXED);
	if (server->expirer != NULL)
		expirer_kick(server->expirer);
}

static int
debug_set_active_expire(struct command_context *c)
{
	return defer_switch(c, set_active_expire);
}

/* ---- SEGFAULT, PANIC: for tests of the crash report ---- */

static void
end_by_signal(struct server *server, struct client *client, void *data)
{
	raise(data != NULL ? SIGSEGV : SIGABRT);
}

static int
debug_segfault(struct command_context *c)
{
	return context_defer(c, end_by_signal, c);
}

static int
debug_panic(struct command_context *c)
{
	return context_defer(c, end_by_signal, NULL);
}

static void
set_disable_deny_scripts(struct server *server, struct client *client, void *data)
{
	__atomic_store_n(&server->scripts_may_call_all, data != NULL, __ATOMIC_RELAXED);
}

static int
debug_set_disable_deny_scripts(struct command_context *c)
{
	return defer_switch(c, set_disable_deny_scripts);
}

static void
set_skip_checksum_validation(struct server *server, struct client *client, void *data)
{
	__atomic_store_n(&server->payloads_are_trusted, data != NULL, __ATOMIC_RELAXED);
}

static int
debug_set_skip_checksum_validation(struct command_context *c)
{
	return defer_switch(c, set_skip_checksum_validation);
}

static void
pause_cron(struct server *server, struct client *client, void *data)
{
	if (server->net != NULL)
		net_pause_cron(server->net, data != NULL);
}

static int
debug_pause_cron(struct command_context *c)
{
	return defer_switch(c, pause_cron);
}

static double
decimal_argument(struct bytes argument)
{
	char text[64];
	snprintf(text, sizeof text, "%.*s", argument.size < 63 ? (int)argument.size : 63,
		 (const char *)argument.data);
	return strtod(text, NULL);
}

/* In steps, as it ends with the server. */
static void
sleep_along(struct server *server, struct client *client, void *data)
{
	enum { STEP_NS = 10 * 1000 * 1000 };
	uint64_t left;
	(void)data;
	while ((left = net_sleep_left_ns(server->net)) > 0 &&
	       !__atomic_load_n(&client->gone, __ATOMIC_RELAXED))
		nanosleep(&(struct timespec){.tv_nsec = left < STEP_NS ? (long)left : STEP_NS}, NULL);
}

/* As Redis' one thread, all sleep who speak to clients, to the master and to replicas; what is under way on other threads goes
 * on. What was deferred before it in the same block happens before: the link is cut that CLIENT KILL has named. */
static int
debug_sleep(struct command_context *c)
{
	enum { SECONDS_MAX = 86400 };
	double seconds = decimal_argument(c->argv[2]);
	if (!(seconds > 0) || c->server->net == NULL)
		return reply_ok(c);
	if (seconds > SECONDS_MAX)
		seconds = SECONDS_MAX;
	net_fall_asleep(c->server->net, (uint64_t)(seconds * 1e9));
	resp_status(c->reply, "OK");
	if (c->first_effect != NULL)
		return context_defer(c, sleep_along, NULL);
	sleep_along(c->server, c->client, NULL);
	return SETT_OK;
}

static int
debug_error(struct command_context *c)
{
	c->failed = true;
	resp_error_data(c->reply, c->argv[2].data, c->argv[2].size);
	return OUTCOME_FAILED;
}

static int
debug_log(struct command_context *c)
{
	log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "DEBUG LOG: %.*s",
			c->argv[2].size < 900 ? (int)c->argv[2].size : 900, (const char *)c->argv[2].data);
	return reply_ok(c);
}

/* ---- RELOAD, LOADAOF, CONFIG-REWRITE-FORCE-ALL ---- */

/* LOADAOF: what is on disk is the database, so there is nothing to load again once all of it is there. */
static int
flush_to_disk(struct command_context *c)
{
	struct sett_error error = {0};
	if (sett_engine_flush(c->server->engine, &error) != SETT_OK ||
	    sett_engine_sync(c->server->engine, &error) != SETT_OK)
		return context_errorf(c, "ERR %s", error.message);
	return reply_ok(c);
}

struct reload {
	bool saves, empties, replaces;
};

/* As Redis, which does nothing else meanwhile: other clients are held back. */
static void
hold_others(struct server *server, bool hold)
{
	enum { MS_MAX = 24 * 60 * 60 * 1000 };
	uint64_t now = clock_wall_ms(server->clock);
	if (server->pause == NULL)
		return;
	if (hold)
		pause_set(server->pause, PAUSE_ALL, now, now + MS_MAX);
	else
		pause_clear(server->pause);
	if (!hold && server->net != NULL)
		net_resume_paused(server->net);
}

/* In the present version if it has room for all there is. */
static int
save_for_reload(struct command_context *c, struct sett_error *error)
{
	int status = saver_run(c->server->saver, 0, &c->client->gone, error);
	return status == SETT_INVALID ? saver_run(c->server->saver, RDB_VERSION_MAX, &c->client->gone, error)
				      : status;
}

/* It has its effect outside its transaction, which reads nothing and writes nothing; run again, it has the same. */
static int
reload(struct command_context *c, const struct reload *r)
{
	struct sett_error error = {0};
	struct import import = {.server = c->server, .replaces = r->replaces};
	hold_others(c->server, true);
	int status = r->saves ? save_for_reload(c, &error) : SETT_OK;
	bool saved = status == SETT_OK;
	if (saved)
		status = importer_reload(&import, r->empties, &error);
	hold_others(c->server, false);
	if (status == SETT_OK)
		return reply_ok(c);
	log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "DEBUG RELOAD: %s", error.message);
	return saved ? context_error(c, "ERR Error trying to load the RDB dump, check server logs.")
		     : context_errorf(c, "ERR %s", error.message);
}

static int
debug_reload(struct command_context *c)
{
	struct reload r = {.saves = true, .empties = true};
	if (loading_is_active(&c->server->loading))
		return context_error(c, "LOADING Redis is loading the dataset in memory");
	for (size_t i = 2; i < c->argc; i++) {
		if (argument_is(c->argv[i], "MERGE"))
			r.replaces = true;
		else if (argument_is(c->argv[i], "NOFLUSH"))
			r.empties = false;
		else if (argument_is(c->argv[i], "NOSAVE"))
			r.saves = false;
		else
			return context_error(c,
					     "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE "
					     "options.");
	}
	return reload(c, &r);
}

static int
debug_config_rewrite(struct command_context *c)
{
	struct buffer error = {0};
	int status = config_rewrite(c->server->config, true, &error);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	else
		status = context_errorf(c, "ERR CONFIG-REWRITE-FORCE-ALL failed: %.*s",
					error.size > 4 ? (int)error.size - 4 : 0,
					error.size > 4 ? (const char *)error.data + 4 : "");
	buffer_free(&error);
	return status;
}

/* ---- OBJECT, DIGEST ---- */

static int
debug_object(struct command_context *c)
{
	struct key k;
	c->view.allow_expired = true;
	int status = open_key(c, c->argv[2], &k);
	c->view.allow_expired = false;
	if (status != SETT_OK)
		return status;
	if (!k.exists)
		return context_error(c, "ERR no such key");
	char text[256];
	/* There is no address, reference count or idle time to a record on disk. */
	snprintf(text, sizeof text,
		 "Value at:0x0 refcount:1 encoding:%s serializedlength:%" PRIu64 " lru:0 lru_seconds_idle:0",
		 type_encoding_name(&k.root), type_stored_size(&k.root));
	resp_status(c->reply, text);
	return SETT_OK;
}

static int
digest_database(struct command_context *c, unsigned db, struct digest *sum)
{
	struct keyspace_cursor *cursor;
	struct key k;
	int status = keyspace_cursor_open(&c->view, db, (struct bytes){0}, (struct bytes){0}, &cursor);
	if (status != SETT_OK)
		return status;
	while ((status = keyspace_cursor_next(cursor, &k)) == SETT_OK) {
		struct digest one = {{0}};
		struct view_reads reads = view_reads_mark(&c->view);
		digest_mix(&one, 4 + (uint64_t)db, k.name);
		status = type_digest(&k, &one);
		if (status != SETT_OK)
			break;
		digest_add(sum, &one);
		view_reads_forget(&reads);
	}
	keyspace_cursor_close(cursor);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
debug_digest(struct command_context *c)
{
	struct digest digest = {{0}};
	char text[DIGEST_TEXT_SIZE + 1];
	const struct keyspace *keyspace = c->server->keyspace;
	for (unsigned db = 0; (db = keyspace_next_database(keyspace, db)) < keyspace_databases(keyspace);
	     db++) {
		int status = digest_database(c, db, &digest);
		if (status != SETT_OK)
			return status;
	}
	digest_text(&digest, text);
	resp_status(c->reply, text);
	return SETT_OK;
}

static int
debug_digest_value(struct command_context *c)
{
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++) {
		struct digest digest = {{0}};
		char text[DIGEST_TEXT_SIZE + 1];
		struct key k;
		int status = open_key(c, c->argv[i], &k);
		if (status == SETT_OK && k.exists)
			status = type_digest(&k, &digest);
		if (status != SETT_OK)
			return status;
		digest_text(&digest, text);
		resp_status(c->reply, text);
	}
	return SETT_OK;
}

/* ---- POPULATE ---- */

enum { POPULATE_BATCH_KEYS = 1000, POPULATE_BATCH_BYTES = 4 << 20, POPULATE_TRIES = 1000 };

/* Writes in transactions of its own, each of bounded size. */
struct populate {
	struct command_context *context;
	struct sett_txn *txn;
	struct arena arena;
	struct bytes prefix;
	uint64_t count, size;
	struct buffer key, value;
	struct keyspace_view view;
	uint64_t newest_commit;
};

static int
make_pair(struct populate *p, uint64_t i)
{
	char text[32];
	buffer_clear(&p->key);
	buffer_clear(&p->value);
	int size = snprintf(text, sizeof text, ":%" PRIu64, i);
	int status = buffer_append(&p->key, p->prefix.data, p->prefix.size);
	if (status == SETT_OK)
		status = buffer_append(&p->key, text, (size_t)size);
	size = snprintf(text, sizeof text, "value:%" PRIu64, i);
	size_t wanted = p->size > 0 ? p->size : (size_t)size;
	if (status == SETT_OK)
		status = buffer_reserve(&p->value, wanted);
	if (status != SETT_OK)
		return status;
	memset(p->value.data, 0, wanted);
	memcpy(p->value.data, text, wanted < (size_t)size ? wanted : (size_t)size);
	p->value.size = wanted;
	return SETT_OK;
}

/* Writes from key `first` on; keys that are there already stay. */
static int
write_batch(struct populate *p, uint64_t first, uint64_t *ret_next)
{
	uint64_t next = first, bytes = 0, timestamp = 0;
	unsigned db = p->context->db;
	arena_reset(&p->arena);
	int status = sett_txn_begin(p->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = keyspace_begin(&p->view, p->context->server->keyspace, p->txn, &p->arena);
	for (; status == SETT_OK && next < p->count && next - first < POPULATE_BATCH_KEYS &&
	     bytes < POPULATE_BATCH_BYTES;
	     next++) {
		struct key k;
		status = make_pair(p, next);
		if (status != SETT_OK)
			break;
		status = key_open(&p->view, db, buffer_bytes(&p->key), &k);
		if (status == SETT_OK && !k.exists)
			status = key_put_string(&k, buffer_bytes(&p->value), 0);
		bytes += p->key.size + p->value.size;
	}
	if (status != SETT_OK) {
		sett_txn_discard(p->txn);
		return status;
	}
	status = commit_transaction(p->context->server, &p->view, NULL, &timestamp, NULL);
	if (status != SETT_OK)
		return status;
	if (timestamp > p->newest_commit)
		p->newest_commit = timestamp;
	*ret_next = next;
	return SETT_OK;
}

static int
write_batches(struct populate *p)
{
	unsigned tries = 0;
	for (uint64_t next = 0; next < p->count;) {
		int status = write_batch(p, next, &next);
		if (status == SETT_CONFLICT && ++tries < POPULATE_TRIES)
			continue;
		if (status != SETT_OK)
			return status;
		tries = 0;
	}
	return SETT_OK;
}

static int
debug_populate(struct command_context *c)
{
	static const char not_positive[] = "ERR value is out of range, must be positive";
	int64_t count, size = 0;
	if (!context_integer_range(c, c->argv[2], 0, INT64_MAX, not_positive, &count) ||
	    (c->argc == 5 && !context_integer_range(c, c->argv[4], 0, INT32_MAX, not_positive, &size)))
		return OUTCOME_FAILED;
	struct populate p = {.context = c, .count = (uint64_t)count, .size = (uint64_t)size};
	p.prefix = c->argc > 3 ? c->argv[3] : BYTES_LITERAL("key");
	arena_init(&p.arena, 64 * 1024);
	int status = sett_txn_create(c->server->engine, &p.txn);
	if (status == SETT_OK)
		status = write_batches(&p);
	sett_txn_destroy(p.txn);
	arena_free(&p.arena);
	buffer_free(&p.key);
	buffer_free(&p.value);
	if (status == SETT_CONFLICT)
		return context_error(c, "ERR DEBUG POPULATE lost to other writers: try again");
	if (status != SETT_OK)
		return status;
	/* The reply waits for what was written (I1). */
	if (p.newest_commit > c->view.observed)
		c->view.observed = p.newest_commit;
	return reply_ok(c);
}

/* ---- PROTOCOL ---- */

static int
protocol_attribute(struct command_context *c)
{
	if (resp_attribute(c->reply, 1)) {
		resp_bulk_string(c->reply, "key-popularity");
		resp_array(c->reply, 2);
		resp_bulk_string(c->reply, "key:123");
		resp_integer(c->reply, 90);
	}
	resp_bulk_string(c->reply, "Some real reply following the attribute");
	return SETT_OK;
}

static int
protocol_push(struct command_context *c)
{
	if (c->protocol < 3)
		return context_error(c, "ERR RESP2 is not supported by this command");
	resp_push(c->reply, 2);
	resp_bulk_string(c->reply, "server-cpu-usage");
	resp_integer(c->reply, 42);
	resp_bulk_string(c->reply, "Some real reply following the push reply");
	return SETT_OK;
}

static void
protocol_numbers(struct command_context *c, bool as_map)
{
	for (int i = 0; i < 3; i++) {
		resp_integer(c->reply, i);
		if (as_map)
			resp_boolean(c->reply, i == 1);
	}
}

static int
debug_protocol(struct command_context *c)
{
	static const char verbatim[] = "This is a verbatim\nstring";
	static const char big[] = "1234567999999999999999999999999999999";
	struct bytes name = c->argv[2];
	if (argument_is(name, "string")) {
		resp_bulk_string(c->reply, "Hello World");
	} else if (argument_is(name, "integer")) {
		resp_integer(c->reply, 12345);
	} else if (argument_is(name, "double")) {
		/* As Redis writes it: "%.17g" would show more than was meant. */
		if (c->protocol == 3)
			resp_raw(c->reply, ",3.141\r\n", 8);
		else
			resp_bulk_string(c->reply, "3.141");
	} else if (argument_is(name, "bignum")) {
		resp_big_number(c->reply, big, sizeof big - 1);
	} else if (argument_is(name, "null")) {
		resp_null(c->reply);
	} else if (argument_is(name, "array")) {
		resp_array(c->reply, 3);
		protocol_numbers(c, false);
	} else if (argument_is(name, "set")) {
		resp_set(c->reply, 3);
		protocol_numbers(c, false);
	} else if (argument_is(name, "map")) {
		resp_map(c->reply, 3);
		protocol_numbers(c, true);
	} else if (argument_is(name, "attrib")) {
		return protocol_attribute(c);
	} else if (argument_is(name, "push")) {
		return protocol_push(c);
	} else if (argument_is(name, "verbatim")) {
		resp_verbatim(c->reply, "txt", verbatim, sizeof verbatim - 1);
	} else if (argument_is(name, "true") || argument_is(name, "false")) {
		resp_boolean(c->reply, argument_is(name, "true"));
	} else {
		return context_error(c,
				     "ERR Wrong protocol type name. Please use one of the following: "
				     "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|"
				     "true|false");
	}
	return SETT_OK;
}

/* ---- the subcommands ---- */

/* Accepted for programs that lower it to test large elements, which Sett stores by its own rule. */
static int
debug_packed_threshold(struct command_context *c)
{
	uint64_t size;
	if (!parse_memory(c->argv[2], &size) || size > (UINT64_C(1) << 32) - (1 << 20))
		return context_error(
			c, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
	return reply_ok(c);
}

/* Accepted for programs that keep the size of Redis' reply buffers as it is, to test what clients take in memory. Output is
 * kept in pieces here, so none is ever resized. */
static int
debug_reply_buffer(struct command_context *c)
{
	int64_t number;
	bool is_time = argument_is(c->argv[2], "PEAK-RESET-TIME");
	if (!is_time && !argument_is(c->argv[2], "RESIZING"))
		return context_syntax_error(c);
	if (is_time && (argument_is(c->argv[3], "NEVER") || argument_is(c->argv[3], "RESET")))
		return reply_ok(c);
	return context_integer(c, c->argv[3], &number) ? reply_ok(c) : OUTCOME_FAILED;
}

/* ---- REPLICATE ---- */

/* The arguments as a request of the stream's; in the arena. */
static int
make_request(struct command_context *c, struct stream_part *ret)
{
	struct resp_writer text = {.protocol = 2};
	resp_array(&text, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++)
		resp_bulk(&text, c->argv[i].data, c->argv[i].size);
	uint8_t *kept = text.failed ? NULL : arena_allocate(c->arena, text.size, 1);
	if (kept != NULL)
		memcpy(kept, text.data, text.size);
	*ret = (struct stream_part){
		.bytes = bytes_of(kept, text.size), .db_before = STREAM_DB_ANY, .db = STREAM_DB_SAME};
	resp_writer_free(&text);
	return kept != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static void
tell_replicas(struct server *server, struct client *client, void *data)
{
	(void)client;
	int status = replication_commit(server->replication, data);
	if (status != SETT_OK && status != SETT_ABORTED) /* nobody listens */
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "DEBUG REPLICATE: %s",
				sett_status_text(status));
}

static int
debug_replicate(struct command_context *c)
{
	struct stream_part *part = arena_allocate(c->arena, sizeof(*part), _Alignof(struct stream_part));
	if (part == NULL || make_request(c, part) != SETT_OK)
		return SETT_NO_MEMORY;
	resp_status(c->reply, "OK");
	return context_defer(c, tell_replicas, part);
}

static int
debug_help(struct command_context *c)
{
	static const char *const lines[] = {
		"CONFIG-REWRITE-FORCE-ALL",
		"    Like CONFIG REWRITE but writes all configuration options, including",
		"    keywords not listed in original configuration file or default values.",
		"DIGEST",
		"    Output a hex signature representing the current DB content.",
		"DIGEST-VALUE <key> [<key> ...]",
		"    Output a hex signature of the values of all the specified keys.",
		"ERROR <string>",
		"    Return a Redis protocol error with <string> as message. Useful for clients",
		"    unit tests to simulate Redis errors.",
		"LOG <message>",
		"    Write <message> to the server log.",
		"LOADAOF",
		"    Make everything durable and in tables.",
		"OBJECT <key>",
		"    Show low level info about `key` and associated value.",
		"PANIC",
		"    Crash the server simulating a panic.",
		"PAUSE-CRON <0|1>",
		"    Stop what is done for connections from time to time, or go on with it.",
		"POPULATE <count> [<prefix>] [<size>]",
		"    Create <count> string keys named key:<num>. If <prefix> is specified then",
		"    it is used instead of the 'key' prefix.",
		"PROTOCOL <type>",
		"    Reply with a test value of the specified type. <type> can be: string,",
		"    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
		"    true, false.",
		"QUICKLIST-PACKED-THRESHOLD <size>",
		"    Of no effect: how lists are stored depends on packed-max-size.",
		"RELOAD [option ...]",
		"    Save the databases to the RDB file and read them back from it. Valid <option> values:",
		"    * MERGE: keys that are there give way to those of the file;",
		"    * NOFLUSH: the databases are not emptied before, so no key may be in both;",
		"    * NOSAVE: the file is read as it is.",
		"REPLICATE <command> [<argument> ...]",
		"    Send the command to replicas as it is.",
		"REPLYBUFFER PEAK-RESET-TIME <never|reset|milliseconds>",
		"REPLYBUFFER RESIZING <0|1>",
		"    Of no effect: there is no buffer that is resized.",
		"SEGFAULT",
		"    Crash the server with sigsegv.",
		"SET-ACTIVE-EXPIRE <0|1>",
		"    Setting it to 0 disables expiring keys in background when they are not",
		"    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
		"    default.",
		"SET-DISABLE-DENY-SCRIPTS <0|1>",
		"    Let scripts call more commands than they may.",
		"SET-SKIP-CHECKSUM-VALIDATION <0|1>",
		"    Enables or disables checksum checks for the payloads of RESTORE and FUNCTION RESTORE.",
		"SLEEP <seconds>",
		"    Sleep before replying, for <seconds>. Decimals allowed.",
		NULL,
	};
	return context_help(c, lines);
}

static const struct {
	const char *name;
	size_t least, most; /* arguments, with DEBUG and the name */
	int (*run)(struct command_context *);
} subcommands[] = {
	{"HELP", 2, 2, debug_help},
	{"SET-ACTIVE-EXPIRE", 3, 3, debug_set_active_expire},
	{"SET-DISABLE-DENY-SCRIPTS", 3, 3, debug_set_disable_deny_scripts},
	{"SET-SKIP-CHECKSUM-VALIDATION", 3, 3, debug_set_skip_checksum_validation},
	{"SLEEP", 3, 3, debug_sleep},
	{"SEGFAULT", 2, 2, debug_segfault},
	{"PANIC", 2, 2, debug_panic},
	{"PAUSE-CRON", 3, 3, debug_pause_cron},
	{"REPLICATE", 3, SIZE_MAX, debug_replicate},
	{"REPLYBUFFER", 4, 4, debug_reply_buffer},
	{"ERROR", 3, 3, debug_error},
	{"LOG", 3, 3, debug_log},
	{"QUICKLIST-PACKED-THRESHOLD", 3, 3, debug_packed_threshold},
	{"RELOAD", 2, SIZE_MAX, debug_reload},
	{"LOADAOF", 2, 2, flush_to_disk},
	{"CONFIG-REWRITE-FORCE-ALL", 2, 2, debug_config_rewrite},
	{"OBJECT", 3, 4, debug_object},
	{"DIGEST", 2, 2, debug_digest},
	{"DIGEST-VALUE", 2, SIZE_MAX, debug_digest_value},
	{"POPULATE", 3, 5, debug_populate},
	{"PROTOCOL", 3, 3, debug_protocol},
};

int
command_debug(struct command_context *c)
{
	int enabled = c->server->config->enable_debug_command;
	if (enabled == 0 || (enabled == 2 && !client_is_local(c->client)))
		return context_error(
			c,
			"ERR DEBUG command not allowed. If the enable-debug-command option is set to "
			"\"local\", you can run it from a local connection, otherwise you need to set this "
			"option in the configuration file, and then restart the server.");
	for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++)
		if (argument_is(c->argv[1], subcommands[i].name) && c->argc >= subcommands[i].least &&
		    c->argc <= subcommands[i].most)
			return subcommands[i].run(c);
	return context_unknown_subcommand(c);
}
