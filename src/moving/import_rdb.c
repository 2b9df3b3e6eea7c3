/* An RDB file's keys, some hundred in a transaction; a large one in a transaction of its own, with its elements in commits
 * before (keyspace/build.h).
 *
 *     this thread    | fill 1 | fill 2   | fill 3   | ...
 *     the committer           | commit 1 | commit 2 | ...
 *
 * What fills databases that nobody serves is committed by a thread of its own, while the next transaction is filled: two of them take
 * turns (struct rdb_part). A transaction that loses to another, be it the one before, is filled again from the place in the file where
 * it began, and so is what was filled behind it. */
#include "moving/feed.h"
#include "moving/import.h"
#include "moving/second_thread.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	LOSS_SHOWN = 1000,    /* bytes of a name or reason that go into the log */
	PARTS = 2,
};

/* What is not taken over, for the log. */
struct loss {
	struct loss *next;
	bool is_empty_key; /* `text` is its name; else why a library is not */
	char text[];
};

/* A transaction. */
struct rdb_part {
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct sett_body_writer *body;         /* NULL: none */
	struct rdb_database_reader begin, end; /* in the file */
	uint64_t keys, expired, empty, functions;
	struct loss *losses, **last_loss; /* in the arena, in order: told once it is committed */
	bool is_large;
	struct server *server; /* whose commit it is */
	int status;            /* of that */
};

struct rdb_import {
	struct import *import;
	struct import_file *file;
	struct rdb_limits limits;
	struct rdb_room room, value_room;
	struct seen *keys_seen; /* those that were not are stored without a look; NULL: each is looked for */
	struct seen own_keys_seen;
	struct seen elements_seen;
	enum rdb_uses uses;
	struct rdb_part parts[PARTS];
	struct rdb_part *part; /* that is being filled */
	struct second_thread committer;
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

/* ---- losses ---- */

/* Of the part that is being filled: it may be filled again, and then meets them again. */
static int
note_loss(struct rdb_import *r, bool is_empty_key, struct bytes text)
{
	struct rdb_part *p = r->part;
	size_t size = text.size < LOSS_SHOWN ? text.size : LOSS_SHOWN;
	struct loss *loss = arena_allocate(&p->arena, sizeof(*loss) + size + 1, _Alignof(struct loss));
	if (loss == NULL)
		return SETT_NO_MEMORY;
	loss->next = NULL;
	loss->is_empty_key = is_empty_key;
	memcpy(loss->text, text.data, size);
	loss->text[size] = '\0';
	*p->last_loss = loss;
	p->last_loss = &loss->next;
	return SETT_OK;
}

/* Of all empty keys the log names the first few. */
static void
tell_losses(const struct import *i, const struct rdb_part *p)
{
	const struct log_sink *sink = &i->server->sink;
	uint64_t empty = i->empty;
	for (const struct loss *l = p->losses; l != NULL; l = l->next) {
		if (!l->is_empty_key)
			log_sink_printf(sink, LOG_LEVEL_WARNING,
					"A library of functions is not taken over: %s", l->text);
		else if (empty++ < EMPTY_NAMED_MAX)
			log_sink_printf(sink, LOG_LEVEL_WARNING, "skipping empty key: %s", l->text);
	}
}

/* ---- one key ---- */

static int
write_body(struct rdb_import *r, struct bytes value)
{
	struct sett_engine *engine = r->import->server->engine;
	int status = sett_body_writer_open(engine, value.size, &r->part->body, r->import->error);
	for (size_t at = 0; status == SETT_OK && at < value.size; at += BODY_STEP) {
		size_t left = value.size - at;
		status = sett_body_writer_append(r->part->body, value.data + at,
						 left < BODY_STEP ? left : BODY_STEP, r->import->error);
	}
	return status == SETT_OK ? sett_body_writer_finish(r->part->body, r->import->error) : status;
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
			status = key_put_body(k, r->part->body, k->new_deadline);
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
	r->part->expired++;
	return key_delete(&k);
}

/* The key, with nothing stored under it. */
static int
open_new_key(struct rdb_import *r, struct keyspace_view *view, struct rdb_database_reader *reader,
	     unsigned db, struct bytes name, struct key *k)
{
	if (r->keys_seen != NULL) {
		int status = key_open_absent(view, db, name, k);
		if (status != SETT_OK || !seen_add(r->keys_seen, k->engine_key.hash))
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
	const void *copy = arena_copy(&r->part->arena, e->name.data, e->name.size);
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
	r->part->keys += status == SETT_OK;
	return status;
}

/* Redis goes on, too: some of its versions left such keys behind. */
static int
skip_empty(struct rdb_import *r, struct rdb_database_reader *reader, const struct rdb_entry *e,
	   const struct rdb_reader *value)
{
	int status = SETT_OK;
	if (r->part->empty++ < EMPTY_NAMED_MAX)
		status = note_loss(r, true, e->name);
	rdb_database_value_read(reader, value->in);
	return status;
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
		status = note_loss(r, false, bytes_of_string(feed.error));
		r->part->functions++;
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
	bool is_large = rdb_reader_weight(&value) >= LARGE_WEIGHT;
	*ret_stop = is_large && r->part->keys > 0;
	r->part->is_large = is_large;
	if (!*ret_stop) {
		view->may_build = is_large;
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
take_entries(struct rdb_import *r, struct rdb_database_reader *reader)
{
	struct rdb_part *p = r->part;
	const uint8_t *begin = reader->in.at;
	int status = SETT_OK;
	p->keys = p->expired = p->empty = p->functions = 0;
	p->losses = NULL;
	p->last_loss = &p->losses;
	p->is_large = false;
	while (status == SETT_OK && !p->is_large && p->keys < BATCH_KEYS &&
	       reader->in.at - begin < BATCH_BYTES) {
		struct rdb_database_reader before = *reader;
		bool stop = false;
		status = take_entry(r, &p->view, reader, &stop);
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

static bool
is_filled(int status)
{
	return status == SETT_OK || status == SETT_NOT_FOUND;
}

/* It is to be filled again. */
static bool
is_lost(int status)
{
	return status == SETT_CONFLICT || status == SETT_ABORTED;
}

/* What it holds beside its transaction. */
static void
close_part(struct rdb_part *p)
{
	build_close_all(&p->view);
	sett_body_writer_close(p->body);
	p->body = NULL;
}

static void
discard_part(struct rdb_part *p)
{
	sett_txn_discard(p->txn);
	close_part(p);
}

/* The entries behind `from`. SETT_NOT_FOUND: they are the last. Unless it is filled, nothing is left of it but where it began. */
static int
fill_part(struct rdb_import *r, struct rdb_part *p, const struct rdb_database_reader *from)
{
	r->part = p;
	p->begin = p->end = *from;
	p->view = (struct keyspace_view){0};
	arena_reset(&p->arena);
	int status = sett_txn_begin(p->txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&p->view, r->import->server->keyspace, p->txn, &p->arena);
	if (r->import->replacement != NULL)
		hide(&p->view, r->import->replacement);
	if (status == SETT_OK)
		status = take_entries(r, &p->end);
	if (!is_filled(status))
		discard_part(p);
	return status;
}

/* ---- its commit ---- */

/* On the committer's thread, if there is one. */
static int
commit_part(struct server *server, struct rdb_part *p)
{
	struct keyspace_view *view = &p->view;
	int status = view->replacement != NULL ? replacement_commit(view->replacement, view)
					       : commit_transaction(server, view, NULL, NULL, NULL);
	if (status == SETT_OK && view->replacement == NULL)
		tell_of_deadlines(server, view);
	close_part(p);
	return status == SETT_OK ? sett_engine_write(server->engine) : status;
}

static void
run_commit(void *job)
{
	struct rdb_part *p = job;
	p->status = commit_part(p->server, p);
}

/* Transactions that fill what is empty, one of which is committed while the next is filled. */
static int
start_committer(struct rdb_import *r)
{
	second_thread_init(&r->committer, run_commit);
	if (!r->import->fills_empty || r->import->replacement != NULL)
		return SETT_OK;
	return second_thread_start(&r->committer, "import-commit");
}

/* Waits for its commit, and counts what it brought. */
static int
end_commit(struct rdb_import *r, struct rdb_part *p)
{
	struct import *i = r->import;
	second_thread_wait(&r->committer);
	if (p->status != SETT_OK)
		return p->status;
	tell_losses(i, p);
	i->keys += p->keys - p->expired;
	i->expired += p->expired;
	i->empty += p->empty;
	i->losses.functions += p->functions;
	rdb_sleep_for_keys(__atomic_load_n(&i->server->config->key_load_delay, __ATOMIC_RELAXED), i->keys,
			   p->keys - p->expired, i->should_stop, i->arg);
	return SETT_OK;
}

/* ---- the file ---- */

/* The status of one that could be neither filled nor committed. */
static const char *
failure_of(const struct rdb_import *r)
{
	for (size_t i = 0; i < PARTS; i++)
		if (r->parts[i].txn != NULL && sett_txn_failure(r->parts[i].txn)[0] != '\0')
			return sett_txn_failure(r->parts[i].txn);
	return NULL;
}

/* All entries. SETT_NOT_FOUND: `reader` is at the end. */
static int
read_entries(struct rdb_import *r, struct rdb_database_reader *reader)
{
	struct rdb_part *next = &r->parts[0], *before = NULL; /* `before`: is being committed */
	bool is_read = false;
	for (int tries = 0; !is_read || before != NULL;) {
		int filled = is_read ? SETT_OK : fill_part(r, next, reader);
		bool has_next = !is_read && is_filled(filled);
		int status = before != NULL ? end_commit(r, before) : SETT_OK;
		const struct rdb_part *lost = status != SETT_OK ? before : next;
		if (before != NULL && status == SETT_OK)
			tries = 0;
		if (status == SETT_OK && !is_filled(filled))
			status = filled;
		if (status != SETT_OK) {
			if (has_next)
				discard_part(next);
			if (!is_lost(status) || ++tries == TRIES_MAX)
				return status;
			*r->import->error = (struct sett_error){0}; /* what was met behind it is met again */
			*reader = lost->begin;
			before = NULL;
			is_read = false;
			continue;
		}
		before = NULL;
		if (!has_next)
			continue;
		*reader = next->end;
		is_read = filled == SETT_NOT_FOUND;
		status = import_progress(r->import, r->file, (size_t)rdb_database_offset(&next->begin));
		if (status != SETT_OK) {
			discard_part(next);
			return status;
		}
		second_thread_begin(&r->committer, next);
		before = next;
		next = &r->parts[before == &r->parts[0]];
	}
	return SETT_NOT_FOUND;
}

static int
read_file(struct rdb_import *r, size_t *ret_size)
{
	struct rdb_database_reader reader;
	int status = rdb_database_open(&reader, r->file->content, &r->room, &r->value_room);
	if (status != SETT_OK)
		return damaged(r, &reader, reader.problem);
	status = read_entries(r, &reader);
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
	int status = start_committer(&r);
	for (size_t p = 0; p < PARTS; p++) {
		arena_init(&r.parts[p].arena, ARENA_BLOCK);
		r.parts[p].server = i->server;
		if (status == SETT_OK)
			status = sett_txn_create(i->server->engine, &r.parts[p].txn);
	}
	if (i->keys_seen != NULL || i->fills_empty)
		r.keys_seen = i->keys_seen != NULL ? i->keys_seen : &r.own_keys_seen;
	if (status == SETT_OK && r.keys_seen == &r.own_keys_seen)
		status = seen_begin(r.keys_seen, file->content.size / IMPORT_KEY_BYTES);
	if (status == SETT_OK)
		status = read_file(&r, ret_size);
	second_thread_stop(&r.committer);
	if (status != SETT_OK && i->error->status != status)
		sett_error_set(i->error, status, 0, "%s: %s", file->path,
			       failure_of(&r) != NULL ? failure_of(&r) : sett_status_text(status));
	for (size_t p = 0; p < PARTS; p++) {
		sett_txn_destroy(r.parts[p].txn);
		arena_free(&r.parts[p].arena);
	}
	rdb_room_free(&r.room);
	rdb_room_free(&r.value_room);
	seen_free(&r.own_keys_seen);
	seen_free(&r.elements_seen);
	return status;
}
