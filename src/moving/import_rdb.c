/* An RDB file's keys, some hundred in a transaction; a large one in a transaction of its own, with its elements in commits
 * before (keyspace/build.h). A transaction that loses to another is run again from the place in the file where it began. */
#include "moving/feed.h"
#include "moving/import.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "keyspace/accesses.h"
#include "keyspace/build.h"
#include "keyspace/integer.h"
#include "keyspace/replacement.h"
#include "rdb/database_reader.h"
#include "txn/commit.h"

enum {
	BATCH_KEYS = 512,
	BATCH_BYTES = 512 * 1024,
	LARGE_WEIGHT = 256 * 1024, /* of a value that has a transaction to itself */
	BODY_MIN = 1024 * 1024,    /* a string that is written to the value log first */
	BODY_STEP = 1024 * 1024,
	TRIES_MAX = 100,
	ARENA_BLOCK = 64 * 1024,
	EMPTY_NAMED_MAX = 10, /* empty keys that the log names */
	KEY_BYTES = 64,       /* of a key in a file, rather few */
};

struct rdb_import {
	struct import *import;
	struct import_file *file;
	struct sett_txn *txn;
	struct arena arena;
	struct rdb_limits limits;
	struct rdb_room room, value_room;
	struct seen
		keys_seen; /* those that were not are stored without a look, where `import` fills what is empty */
	struct seen elements_seen;
	struct sett_body_writer *body; /* of the present transaction; NULL: none */
	enum rdb_uses uses;
	/* of the present transaction */
	uint64_t keys, expired, empty, functions;
	bool is_large;
};

static int
damaged(struct rdb_import *r, const struct rdb_database_reader *reader, const char *what)
{
	return import_damaged(r->import, r->file, rdb_database_offset(reader), what);
}

static int
damaged_value(struct rdb_import *r, const struct rdb_database_reader *reader, const struct rdb_reader *value)
{
	char what[64];
	snprintf(what, sizeof(what), "%s integrity check failed", rdb_reader_form_name(value));
	return damaged(r, reader, what);
}

/* ---- one key ---- */

static int
write_body(struct rdb_import *r, struct bytes value)
{
	struct sett_engine *engine = r->import->server->engine;
	int status = sett_body_writer_open(engine, value.size, &r->body, r->import->error);
	for (size_t at = 0; status == SETT_OK && at < value.size; at += BODY_STEP) {
		size_t left = value.size - at;
		status = sett_body_writer_append(r->body, value.data + at,
						 left < BODY_STEP ? left : BODY_STEP, r->import->error);
	}
	return status == SETT_OK ? sett_body_writer_finish(r->body, r->import->error) : status;
}

static int
store_large_string(struct rdb_import *r, struct rdb_reader *value, struct key *k)
{
	struct rdb_element string, more;
	int status = rdb_reader_next(value, &string);
	if (status != SETT_OK)
		return status;
	if (string.name.size >= BODY_MIN && key_takes_body(k->name)) {
		status = write_body(r, string.name);
		if (status == SETT_OK)
			status = key_put_body(k, r->body, k->new_deadline);
	} else {
		status = key_put_string(k, string.name, k->new_deadline);
	}
	if (status == SETT_OK)
		status = rdb_reader_next(value, &more);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
note_use(struct rdb_import *r, const struct key *k, const struct rdb_entry *e)
{
	struct server *server = r->import->server;
	if (r->uses == RDB_USES_NONE || (r->uses == RDB_USES_IDLE ? e->idle < 0 : e->frequency < 0))
		return SETT_OK;
	int status = server_note_accesses(server);
	if (status != SETT_OK)
		return status;
	if (r->uses == RDB_USES_IDLE)
		accesses_set_idle(server->accesses, k->engine_key.hash, k->view->now_ms, (uint64_t)e->idle);
	else
		accesses_set_frequency(server->accesses, k->engine_key.hash, k->view->now_ms,
				       (unsigned)e->frequency);
	return SETT_OK;
}

/* What is past its deadline was read, and stored, like all, and goes again. */
static int
delete_expired(struct rdb_import *r, struct keyspace_view *view, unsigned db, struct bytes name)
{
	struct key k;
	int status = key_open(view, db, name, &k);
	if (status != SETT_OK || !k.exists)
		return status;
	r->expired++;
	return key_delete(&k);
}

/* The key, with nothing stored under it. */
static int
open_new_key(struct rdb_import *r, struct keyspace_view *view, struct rdb_database_reader *reader,
	     unsigned db, struct bytes name, struct key *k)
{
	if (r->import->fills_empty) {
		int status = key_open_absent(view, db, name, k);
		if (status != SETT_OK || !seen_add(&r->keys_seen, k->engine_key.hash))
			return status;
	}
	int status = key_open(view, db, name, k);
	if (status == SETT_OK && k->is_stored && !r->import->replaces)
		return damaged(r, reader, "a key comes twice");
	return status == SETT_OK && k->exists ? key_delete(k) : status;
}

static int
store_key(struct rdb_import *r, struct keyspace_view *view, struct rdb_database_reader *reader,
	  const struct rdb_entry *e, struct rdb_reader *value)
{
	struct key k;
	unsigned db = (unsigned)e->db;
	if (e->db >= keyspace_databases(view->keyspace))
		return damaged(r, reader, "a key is in a database that is not there: raise `databases`");
	const void *copy = arena_copy(&r->arena, e->name.data, e->name.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	struct bytes name = bytes_of(copy, e->name.size);
	bool is_expired = e->deadline != 0 && e->deadline <= view->now_ms && !r->import->keeps_expired;
	int status = open_new_key(r, view, reader, db, name, &k);
	if (status != SETT_OK)
		return status;
	k.new_deadline = is_expired ? 0 : e->deadline;
	status = value->rdb_type == RDB_STRING ? store_large_string(r, value, &k)
					       : rdb_store_value(value, &r->limits, &r->elements_seen, &k);
	if (status == SETT_OK && is_expired)
		status = delete_expired(r, view, db, name);
	if (status == SETT_OK)
		status = note_use(r, &k, e);
	rdb_database_value_read(reader, value->in);
	r->keys += status == SETT_OK;
	return status;
}

/* Redis goes on, too: some of its versions left such keys behind. */
static int
skip_empty(struct rdb_import *r, struct rdb_database_reader *reader, const struct rdb_entry *e,
	   const struct rdb_reader *value)
{
	if (r->import->empty + r->empty++ < EMPTY_NAMED_MAX)
		log_sink_printf(&r->import->server->sink, LOG_LEVEL_WARNING, "skipping empty key: %.*s",
				(int)(e->name.size < INT_MAX ? e->name.size : INT_MAX),
				(const char *)e->name.data);
	rdb_database_value_read(reader, value->in);
	return SETT_OK;
}

/* ---- functions ---- */

void
import_free_libraries(struct import *i)
{
	while (i->libraries != NULL) {
		struct import_library *next = i->libraries->next;
		free(i->libraries);
		i->libraries = next;
	}
	i->last_library = NULL;
}

static int
keep_functions(struct import *i, struct bytes text)
{
	struct import_library *library = malloc(sizeof(*library) + text.size);
	if (library == NULL)
		return SETT_NO_MEMORY;
	library->next = NULL;
	library->size = text.size;
	memcpy(library->text, text.data, text.size);
	*(i->last_library != NULL ? i->last_library : &i->libraries) = library;
	i->last_library = &library->next;
	return SETT_OK;
}

/* A library, in a transaction of its own. What the server does not take is counted. */
static int
load_functions(struct rdb_import *r, struct bytes text)
{
	if (r->import->replacement != NULL)
		return keep_functions(r->import, text);
	const struct bytes argv[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"),
				     BYTES_LITERAL("REPLACE"), text};
	struct feed feed;
	int status = feed_open(&feed, r->import->server->runner);
	if (status == SETT_OK)
		status = feed_run(&feed, sizeof(argv) / sizeof(argv[0]), argv);
	if (status == SETT_INVALID) {
		log_sink_printf(&r->import->server->sink, LOG_LEVEL_WARNING,
				"A library of functions is not taken over: %s", feed.error);
		r->functions++;
		status = SETT_OK;
	}
	feed_close(&feed);
	return status;
}

static void
note_field(struct rdb_import *r, const struct rdb_entry *e)
{
	int64_t db;
	if (bytes_equal(e->name, BYTES_LITERAL("repl-stream-db")) && parse_integer(e->value, &db) && db >= 0)
		r->import->stream_db = db;
}

/* ---- one transaction ---- */

/* The entry at the reader. `ret_stop`: it is to have a transaction to itself, and was not taken. */
static int
take_entry(struct rdb_import *r, struct keyspace_view *view, struct rdb_database_reader *reader,
	   bool *ret_stop)
{
	struct rdb_entry e;
	struct rdb_reader value;
	int status = rdb_database_next(reader, &e);
	if (status == RDB_MALFORMED)
		return damaged(r, reader, reader->problem);
	if (status != SETT_OK)
		return status;
	if (e.kind == RDB_ENTRY_AUXILIARY) {
		note_field(r, &e);
		return SETT_OK;
	}
	if (e.kind == RDB_ENTRY_FUNCTION)
		return load_functions(r, e.value);
	status = rdb_reader_open_typed(&value, e.type, reader->in);
	if (status == RDB_MALFORMED)
		return damaged_value(r, reader, &value);
	if (status != SETT_OK)
		return status;
	r->is_large = rdb_reader_weight(&value) >= LARGE_WEIGHT;
	*ret_stop = r->is_large && r->keys > 0;
	if (!*ret_stop) {
		view->may_build = r->is_large;
		status = store_key(r, view, reader, &e, &value);
		if (status == RDB_MALFORMED)
			status = value.is_empty ? skip_empty(r, reader, &e, &value)
						: damaged_value(r, reader, &value);
	}
	rdb_reader_close(&value);
	return status;
}

/* Entries until it is enough. SETT_NOT_FOUND: those were the last. */
static int
take_entries(struct rdb_import *r, struct keyspace_view *view, struct rdb_database_reader *reader)
{
	const uint8_t *begin = reader->in.at;
	int status = SETT_OK;
	r->keys = r->expired = r->empty = r->functions = 0;
	r->is_large = false;
	while (status == SETT_OK && !r->is_large && r->keys < BATCH_KEYS &&
	       reader->in.at - begin < BATCH_BYTES) {
		struct rdb_database_reader before = *reader;
		bool stop = false;
		status = take_entry(r, view, reader, &stop);
		if (stop)
			*reader = before;
	}
	return status;
}

static void
tell_of_deadlines(struct server *server, const struct keyspace_view *view)
{
	for (const struct touched_key *t = view->first_touched; t != NULL; t = t->next)
		if (t->expires_at != 0 && server->listeners.deadline != NULL)
			server->listeners.deadline(server, t->db, t->key, t->expires_at, false);
}

/* Nobody is told of what is not served. */
static void
hide(struct keyspace_view *view, struct replacement *replacement)
{
	view->replacement = replacement;
	view->events = 0;
	view->propagates = false;
}

/* SETT_NOT_FOUND: it was the last. */
static int
run_transaction(struct rdb_import *r, struct rdb_database_reader *reader)
{
	struct server *server = r->import->server;
	struct keyspace_view view;
	arena_reset(&r->arena);
	int status = sett_txn_begin(r->txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, server->keyspace, r->txn, &r->arena);
	if (r->import->replacement != NULL)
		hide(&view, r->import->replacement);
	if (status == SETT_OK)
		status = take_entries(r, &view, reader);
	bool is_last = status == SETT_NOT_FOUND;
	if (status == SETT_OK || is_last)
		status = view.replacement != NULL ? replacement_commit(view.replacement, &view)
						  : commit_transaction(server, &view, NULL, NULL, NULL);
	else
		sett_txn_discard(r->txn);
	if (status == SETT_OK && view.replacement == NULL)
		tell_of_deadlines(server, &view);
	build_close_all(&view);
	sett_body_writer_close(r->body);
	r->body = NULL;
	return status == SETT_OK && is_last ? SETT_NOT_FOUND : status;
}

static int
run_until_committed(struct rdb_import *r, struct rdb_database_reader *reader)
{
	int status = SETT_CONFLICT;
	for (int tries = 0; tries < TRIES_MAX && (status == SETT_CONFLICT || status == SETT_ABORTED);
	     tries++) {
		struct rdb_database_reader from = *reader;
		status = run_transaction(r, &from);
		if (status == SETT_OK || status == SETT_NOT_FOUND)
			*reader = from;
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	r->import->keys += r->keys - r->expired;
	r->import->expired += r->expired;
	r->import->empty += r->empty;
	r->import->losses.functions += r->functions;
	rdb_sleep_for_keys(__atomic_load_n(&r->import->server->config->key_load_delay, __ATOMIC_RELAXED),
			   r->import->keys, r->keys - r->expired, r->import->should_stop, r->import->arg);
	int written = sett_engine_write(r->import->server->engine);
	return written == SETT_OK ? status : written;
}

static int
read_file(struct rdb_import *r, size_t *ret_size)
{
	struct rdb_database_reader reader;
	int status = rdb_database_open(&reader, r->file->content, &r->room, &r->value_room);
	if (status != SETT_OK)
		return damaged(r, &reader, reader.problem);
	while (status == SETT_OK) {
		status = run_until_committed(r, &reader);
		if (status == SETT_OK)
			status = import_progress(r->import, r->file, (size_t)rdb_database_offset(&reader));
	}
	if (status != SETT_NOT_FOUND)
		return status;
	*ret_size = (size_t)rdb_database_offset(&reader);
	return import_progress(r->import, r->file, *ret_size);
}

int
import_rdb(struct import *i, struct import_file *file, size_t *ret_size)
{
	const struct config *config = i->server->config;
	struct rdb_import r = {.import = i, .file = file, .limits = rdb_limits_of(config)};
	r.uses = config_policy_is_lfu(config)  ? RDB_USES_FREQUENCY
		: config_policy_is_lru(config) ? RDB_USES_IDLE
					       : RDB_USES_NONE;
	i->stream_db = -1;
	arena_init(&r.arena, ARENA_BLOCK);
	int status = sett_txn_create(i->server->engine, &r.txn);
	if (status == SETT_OK && i->fills_empty)
		status = seen_begin(&r.keys_seen, file->content.size / KEY_BYTES);
	if (status == SETT_OK)
		status = read_file(&r, ret_size);
	if (status != SETT_OK && i->error->status != status)
		sett_error_set(i->error, status, 0, "%s: %s", file->path,
			       r.txn != NULL && sett_txn_failure(r.txn)[0] != '\0'
				       ? sett_txn_failure(r.txn)
				       : sett_status_text(status));
	sett_txn_destroy(r.txn);
	rdb_room_free(&r.room);
	rdb_room_free(&r.value_room);
	seen_free(&r.keys_seen);
	seen_free(&r.elements_seen);
	arena_free(&r.arena);
	return status;
}
