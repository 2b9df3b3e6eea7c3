/* The keys of a database are written in transactions of their own in the kept snapshot, each from where the last one
 * stopped: so what reading takes is given back every some keys. */
#include "rdb/database_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keyspace/libraries.h"
#include "rdb/key_value.h"
#include "rdb/payload.h"

enum {
	STEP_KEYS = 1024, /* in one transaction */
	STEP_BYTES = 4 * 1024 * 1024,
	TAKE_TRIES = 1000, /* never reached: FLUSHDB and SWAPDB would have to come between each time */
	ARENA_BLOCK = 64 * 1024,
	TEXT_MAX = 32,
};

struct snapshot_database {
	unsigned db;
	uint64_t epoch, keys, deadlines;
};

struct rdb_snapshot {
	struct keyspace *keyspace;
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct arena arena;
	struct sett_snapshot *kept;
	uint64_t timestamp;
	struct snapshot_database *databases; /* that may have keys */
	size_t count, capacity;
};

/* ---- the moment ---- */

static int
add_database(struct rdb_snapshot *s, const struct snapshot_database *database)
{
	if (s->count == s->capacity) {
		size_t capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
		struct snapshot_database *more = reallocarray(s->databases, capacity, sizeof(*s->databases));
		if (more == NULL)
			return SETT_NO_MEMORY;
		s->databases = more;
		s->capacity = capacity;
	}
	s->databases[s->count++] = *database;
	return SETT_OK;
}

/* Counters are those of now: a database that was emptied since the transaction began looks empty, and its epoch has moved. */
static int
find_databases(struct rdb_snapshot *s, struct keyspace_view *view)
{
	const struct keyspace *k = s->keyspace;
	unsigned db = keyspace_next_database(k, 0);
	for (; db < keyspace_databases(k); db = keyspace_next_database(k, db + 1)) {
		struct snapshot_database d = {.db = db};
		int64_t keys, deadlines;
		int status = keyspace_count(view, db, &keys, &deadlines);
		if (status == SETT_OK)
			status = keyspace_epoch(view, db, &d.epoch);
		d.keys = keys > 0 ? (uint64_t)keys : 0;
		d.deadlines = deadlines > 0 ? (uint64_t)deadlines : 0;
		/* That it counts none now does not say that it had none then. */
		if (status == SETT_OK)
			status = add_database(s, &d);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
try_take(struct rdb_snapshot *s)
{
	struct keyspace_view view;
	arena_reset(&s->arena);
	s->count = 0;
	int status = sett_txn_begin(s->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, s->keyspace, s->txn, &s->arena);
	if (status == SETT_OK)
		status = find_databases(s, &view);
	if (status == SETT_OK)
		status = sett_snapshot_keep(s->txn, &s->kept);
	s->timestamp = sett_txn_snapshot(s->txn);
	sett_txn_discard(s->txn);
	return status;
}

int
rdb_snapshot_take(struct sett_engine *engine, struct keyspace *keyspace, struct rdb_snapshot **ret)
{
	struct rdb_snapshot *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	s->engine = engine;
	s->keyspace = keyspace;
	arena_init(&s->arena, ARENA_BLOCK);
	int status = sett_txn_create(engine, &s->txn);
	if (status == SETT_OK)
		status = SETT_CONFLICT;
	for (int tries = 0; status == SETT_CONFLICT && tries < TAKE_TRIES; tries++)
		status = try_take(s);
	if (status != SETT_OK) {
		rdb_snapshot_release(s);
		return status;
	}
	*ret = s;
	return SETT_OK;
}

void
rdb_snapshot_release(struct rdb_snapshot *s)
{
	if (s == NULL)
		return;
	sett_txn_destroy(s->txn);
	sett_snapshot_release(s->kept);
	arena_free(&s->arena);
	free(s->databases);
	free(s);
}

const struct sett_snapshot *
rdb_snapshot_kept(const struct rdb_snapshot *s)
{
	return s->kept;
}

uint64_t
rdb_snapshot_timestamp(const struct rdb_snapshot *s)
{
	return s->timestamp;
}

uint64_t
rdb_snapshot_keys(const struct rdb_snapshot *s)
{
	uint64_t keys = 0;
	for (size_t i = 0; i < s->count; i++)
		keys += s->databases[i].keys;
	return keys;
}

/* ---- writing ---- */

struct database_write {
	struct rdb_snapshot *snapshot;
	const struct rdb_database_options *options;
	struct rdb_writer *out;
	struct sett_error *error;
	const struct snapshot_database *database;
	struct buffer place; /* of the last key that was written */
	bool has_place;
	bool has_begun; /* the database: it is named in the file once there is a key */
	uint64_t keys;
	struct keyspace_view *view; /* of the libraries */
};

static void
put_auxiliary(struct rdb_writer *w, const char *name, const char *value)
{
	rdb_put_byte(w, RDB_OPCODE_AUXILIARY);
	rdb_put_string(w, bytes_of_string(name));
	rdb_put_string(w, bytes_of_string(value));
}

static void
put_auxiliary_number(struct rdb_writer *w, const char *name, uint64_t value)
{
	char text[TEXT_MAX];
	snprintf(text, sizeof(text), "%" PRIu64, value);
	put_auxiliary(w, name, text);
}

static void
put_head(struct database_write *d)
{
	enum { MS_PER_SECOND = 1000, BITS = 64 };
	char magic[TEXT_MAX];
	int size = snprintf(magic, sizeof(magic), "REDIS%04u", d->options->version);
	rdb_put_bytes(d->out, bytes_of(magic, (size_t)size));
	put_auxiliary(d->out, "redis-ver", "7.0.15");
	put_auxiliary_number(d->out, "redis-bits", BITS);
	put_auxiliary_number(d->out, "ctime", d->options->created_ms / MS_PER_SECOND);
	put_auxiliary_number(d->out, "used-mem", d->options->used_memory);
	if (d->options->replication_id != NULL) {
		put_auxiliary_number(d->out, "repl-stream-db", d->options->replication_db);
		put_auxiliary(d->out, "repl-id", d->options->replication_id);
		put_auxiliary_number(d->out, "repl-offset", d->options->replication_offset);
	}
	put_auxiliary_number(d->out, "aof-base", 0);
}

static void
begin_database(struct database_write *d)
{
	if (d->has_begun)
		return;
	d->has_begun = true;
	rdb_put_byte(d->out, RDB_OPCODE_SELECT);
	rdb_put_length(d->out, d->database->db);
	rdb_put_byte(d->out, RDB_OPCODE_RESIZE);
	rdb_put_length(d->out, d->database->keys);
	rdb_put_length(d->out, d->database->deadlines);
}

static void
put_use(const struct database_write *d, const struct key *k, uint64_t now_ms)
{
	const struct rdb_database_options *o = d->options;
	if (o->uses == RDB_USES_NONE || o->accesses == NULL)
		return;
	uint64_t hash = sett_engine_hash(d->snapshot->engine, k->engine_key.bytes);
	if (o->uses == RDB_USES_IDLE) {
		rdb_put_byte(d->out, RDB_OPCODE_IDLE);
		rdb_put_length(d->out, accesses_idle_seconds(o->accesses, hash, now_ms));
	} else {
		rdb_put_byte(d->out, RDB_OPCODE_FREQUENCY);
		rdb_put_byte(d->out, (uint8_t)accesses_frequency(o->accesses, hash, now_ms, o->rule));
	}
}

static int
refuse(const struct database_write *d, const struct key *k, unsigned needed)
{
	enum { SHOWN_MAX = 100 };
	int shown = k->name.size < SHOWN_MAX ? (int)k->name.size : SHOWN_MAX;
	return sett_error_set(d->error, SETT_INVALID, 0,
			      "fields of the hash '%.*s' in database %u have deadlines, which files of "
			      "version %u have no room for: remove those, or set rdb-version to %u",
			      shown, (const char *)k->name.data, d->database->db, d->options->version,
			      needed);
}

void
rdb_sleep_for_keys(int64_t key_delay, uint64_t keys, uint64_t more, bool (*stop)(void *arg), void *arg)
{
	enum { STEP_US = 10000, NS_PER_US = 1000 };
	if (key_delay == 0)
		return;
	uint64_t each = (uint64_t)(key_delay < 0 ? -key_delay : key_delay);
	uint64_t us = key_delay > 0 ? each * more : keys / each - (keys - more) / each;
	while (us > 0 && (stop == NULL || !stop(arg))) {
		uint64_t step = us < STEP_US ? us : STEP_US;
		struct timespec time = {.tv_nsec = (long)(step * NS_PER_US)};
		nanosleep(&time, NULL);
		us -= step;
	}
}

static bool
is_given_up(void *arg)
{
	const struct rdb_database_options *options = arg;
	return options->gone != NULL && __atomic_load_n(options->gone, __ATOMIC_RELAXED);
}

static int
write_key(struct database_write *d, struct key *k, uint64_t now_ms)
{
	unsigned needed = 0;
	int status = rdb_writer_drain(d->out, RDB_PIECE_SIZE / 2);
	if (status != SETT_OK)
		return status;
	begin_database(d);
	size_t before = d->out->out.size;
	if (k->root.expires_at != 0) {
		rdb_put_byte(d->out, RDB_OPCODE_DEADLINE_MS);
		rdb_put_little_endian(d->out, k->root.expires_at, sizeof(k->root.expires_at));
	}
	put_use(d, k, now_ms);
	d->out->name = k->name;
	d->out->has_name = true;
	status = rdb_write_value(k, d->options->gone, d->out, &needed);
	d->out->has_name = false;
	if (status == SETT_OK && needed > d->options->version)
		return refuse(d, k, needed);
	if (status == SETT_NOT_FOUND) {
		/* All of its elements are past their deadlines; nothing of it was drained. */
		assert(d->out->out.size >= before);
		d->out->out.size = before;
		return SETT_OK;
	}
	if (status == SETT_OK)
		d->keys++;
	if (status == SETT_OK)
		rdb_sleep_for_keys(d->options->key_delay, d->keys, 1, is_given_up,
				   (void *)(uintptr_t)d->options);
	return status;
}

/* Some keys from the place on. SETT_NOT_FOUND: those were the last. */
static int
write_keys(struct database_write *d, struct keyspace_view *view)
{
	struct keyspace_cursor *cursor;
	struct key k;
	uint64_t bytes = 0;
	int status = keyspace_cursor_open_kept(view, d->database->db, d->database->epoch,
					       buffer_bytes(&d->place), &cursor);
	if (status != SETT_OK)
		return status;
	for (unsigned keys = 0; keys < STEP_KEYS && bytes < STEP_BYTES; keys++) {
		status = keyspace_cursor_next(cursor, &k);
		if (status == SETT_OK && d->has_place &&
		    bytes_equal(keyspace_cursor_place(&k), buffer_bytes(&d->place)))
			status = keyspace_cursor_next(cursor, &k);
		if (status == SETT_OK)
			status = write_key(d, &k, view->now_ms);
		if (status != SETT_OK)
			break;
		struct bytes place = keyspace_cursor_place(&k);
		buffer_clear(&d->place);
		d->has_place = true;
		status = buffer_append(&d->place, place.data, place.size);
		if (status != SETT_OK)
			break;
		bytes += k.root.body_size + k.root.object_bytes;
	}
	keyspace_cursor_close(cursor);
	return status;
}

static int
write_step(struct database_write *d, int (*write)(struct database_write *, struct keyspace_view *))
{
	struct rdb_snapshot *s = d->snapshot;
	struct keyspace_view view;
	arena_reset(&s->arena);
	int status = sett_txn_begin_kept(s->txn, s->kept, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, s->keyspace, s->txn, &s->arena);
	if (status == SETT_OK)
		status = write(d, &view);
	if (status != SETT_OK && status != SETT_NOT_FOUND && d->error->status == SETT_OK) {
		const char *failure = sett_txn_failure(s->txn);
		sett_error_set(d->error, status, 0, "%s",
			       failure[0] != '\0' ? failure : sett_status_text(status));
	}
	sett_txn_discard(s->txn);
	return status;
}

static int
put_library(void *arg, const struct library *library)
{
	struct database_write *d = arg;
	struct bytes text;
	int status = library_text(d->view, library, &text);
	if (status != SETT_OK)
		return status;
	rdb_put_byte(d->out, RDB_OPCODE_FUNCTION);
	rdb_put_string(d->out, text);
	return rdb_writer_drain(d->out, RDB_PIECE_SIZE);
}

static int
put_libraries(struct database_write *d, struct keyspace_view *view)
{
	struct libraries_state state;
	d->view = view;
	int status = libraries_read(view, &state);
	if (status == SETT_OK && state.libraries > 0)
		status = libraries_walk(view, put_library, d);
	return status;
}

static int
write_database(struct database_write *d)
{
	int status;
	d->has_begun = d->has_place = false;
	buffer_clear(&d->place);
	do {
		status = write_step(d, write_keys);
		if (status == SETT_OK)
			status = d->options->progress(d->options->arg, d->keys);
	} while (status == SETT_OK);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
rdb_write_databases(struct rdb_snapshot *s, const struct rdb_database_options *options,
		    struct rdb_writer *out, struct sett_error *error)
{
	struct database_write d = {.snapshot = s, .options = options, .out = out, .error = error};
	int status = SETT_OK;
	assert(out->drain != NULL && options->version >= RDB_VERSION && options->version <= RDB_VERSION_MAX);
	*error = (struct sett_error){0};
	put_head(&d);
	if (!options->leaves_out_libraries)
		status = write_step(&d, put_libraries);
	for (size_t i = 0; i < s->count && status == SETT_OK && !options->leaves_out_keys; i++) {
		d.database = &s->databases[i];
		status = write_database(&d);
	}
	buffer_free(&d.place);
	if (status == SETT_OK) {
		rdb_put_byte(out, RDB_OPCODE_END);
		status = rdb_writer_drain(out, 1);
	}
	if (status == SETT_OK)
		status = options->progress(options->arg, d.keys);
	if (status != SETT_OK && error->status == SETT_OK)
		sett_error_set(error, status, 0, "%s", sett_status_text(status));
	return status;
}
