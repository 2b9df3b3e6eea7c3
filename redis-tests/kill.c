/*
 * What kill -9 must not take back.
 *
 *	kill SERVER [--fsync always|everysec|no] [--rounds N] [--operations N] [--seed N] [--maxmemory BYTES]
 *	     [--check SETT_TOOL]
 *
 * Four writers send small pipelines of SET, APPEND, DEL, INCR and MULTI blocks (of SETs, and of changes to
 * hashes, a sorted set, a set, a list, a stream and its group), each to keys of its own and all to some shared ones; two readers look at what is there.
 * After a number of acknowledged operations that the seed chooses, one of the writers kills the server. It is
 * started again on its directory, everything is read back and compared with the models (kill_model.h): each
 * writer's keys are as after some prefix of what it sent, which contains all that was acknowledged and all that
 * any reader saw; values are whole, blocks are whole, DBSIZE is what a full SCAN finds. The next round goes on
 * with what is there. With --check, sett-tool must find no damage in what each kill leaves.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill_model.h"
#include "load.h"
#include "server_process.h"

#define WRITERS 4
#define READERS 2
#define FAILURES_SHOWN 40
#define LOOKS_PER_INFO 50

struct trial {
	struct server_process *server;
	int port;
	pid_t pid;
	uint64_t seed, round, target;
	uint64_t acknowledged; /* atomic, relaxed: a count; in this round */
	bool killed; /* atomic; set (release) before the kill, loaded (acquire) when a connection breaks */
	uint64_t failures; /* atomic, relaxed */
	struct writer *writers;
	uint64_t shared; /* the shared counter as last verified */
	uint64_t total_acknowledged, total_seen, total_lost_unacknowledged;
	uint64_t total_flushes, total_compactions, total_moved; /* what took part, as far as a reader heard */
	struct latencies restarts;                              /* in milliseconds */
	const char *tool;                                       /* sett-tool; NULL: no checks */
	uint64_t checks;
};

struct writer {
	struct trial *trial;
	unsigned number;
	struct random random;
	struct kill_model model; /* as acknowledged */
	struct kill_change pending[KILL_PENDING_MAX];
	unsigned pending_count;
	uint64_t version;       /* of the last change made up */
	uint64_t shared_acked;  /* largest reply to INCR of the shared counter */
	uint64_t shared_before; /* own INCRs of it acknowledged in this round */
	char value[KILL_VALUE_MAX];
};

struct reader {
	struct trial *trial;
	struct random random;
	uint64_t version[WRITERS];                 /* newest seen of each writer */
	uint64_t counters[WRITERS][KILL_COUNTERS]; /* largest seen */
	uint64_t shared, seen, looks;
	uint64_t flushes, compactions, moved; /* INFO's, as last asked in this round */
};

static void __attribute__((format(printf, 2, 3))) fail(struct trial *trial, const char *format, ...)
{
	va_list arguments;
	char text[512];

	if (__atomic_fetch_add(&trial->failures, 1, __ATOMIC_RELAXED) >= FAILURES_SHOWN)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("FAILED: round %" PRIu64 ": %s\n", trial->round, text);
}

/* A connection broke: fine only if we did it. */
static void
connection_broke(struct trial *trial, redisContext *context, const char *who)
{
	if (!__atomic_load_n(&trial->killed, __ATOMIC_ACQUIRE))
		fail(trial, "the connection of a %s broke before the kill: %s", who, context->errstr);
}

/* ---- writers ---- */

/* The field's entry of the stream goes, and a new one comes, which the group's consumer gets. */
static bool
send_entry(const struct writer *writer, redisContext *context, const struct kill_change *change,
	   enum kill_collection collection)
{
	bool is_set = change->kind == KILL_FIELD_SET;
	char key[KILL_KEY_MAX], name[KILL_FIELD_MAX], value[KILL_FIELD_MAX], old[KILL_FIELD_MAX],
		id[KILL_FIELD_MAX];
	const char *create[] = {"XGROUP", "CREATE", key, "g", "$", "MKSTREAM"};
	const char *del[] = {"XDEL", key, old}, *add[] = {"XADD", key, id, "field", name};
	const char *ack[] = {"XACK", key, "g", old};
	const char *read[] = {"XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", key, ">"};

	kill_field(change, name, value);
	kill_key(writer->number, change->kind, change->key, KILL_STREAM, key);
	snprintf(old, sizeof(old), "%" PRIu64 "-1", change->old);
	snprintf(id, sizeof(id), "%" PRIu64 "-1", change->version);
	if (collection == KILL_STREAM)
		return load_append(context, 6, create, NULL) && load_append(context, 3, del, NULL) &&
			(!is_set || load_append(context, 5, add, NULL));
	if (collection == KILL_PENDING)
		return load_append(context, 4, ack, NULL) && (!is_set || load_append(context, 9, read, NULL));
	return true;
}

/* One command that sets, or removes, a field in one of the writer's collections. */
static bool
send_field(const struct writer *writer, redisContext *context, const struct kill_change *change,
	   enum kill_collection collection)
{
	bool is_set = change->kind == KILL_FIELD_SET;
	char key[KILL_KEY_MAX], name[KILL_FIELD_MAX], value[KILL_FIELD_MAX], score[KILL_FIELD_MAX];
	const char *hash[] = {is_set ? "HSET" : "HDEL", key, name, value};
	const char *zset[] = {is_set ? "ZADD" : "ZREM", key, is_set ? score : name, name};
	const char *set[] = {is_set ? "SADD" : "SREM", key, name};
	const char *push[] = {"RPUSH", key, name}, *remove[] = {"LREM", key, "0", name};

	if (collection >= KILL_STREAM)
		return send_entry(writer, context, change, collection);
	kill_field(change, name, value);
	snprintf(score, sizeof(score), "%" PRIu64, change->version);
	kill_key(writer->number, change->kind, change->key, collection, key);
	switch (collection) {
	case KILL_HASH:
	case KILL_OTHER_HASH:
		return load_append(context, is_set ? 4 : 3, hash, NULL);
	case KILL_ZSET:
		return load_append(context, is_set ? 4 : 3, zset, NULL);
	case KILL_MEMBERS:
		return load_append(context, 3, set, NULL);
	case KILL_LIST:
		return load_append(context, 4, remove, NULL) &&
			(!is_set || load_append(context, 3, push, NULL));
	default:
		break;
	}
	return false;
}

/* The same change of one field in each of the writer's collections. */
static bool
send_fields(const struct writer *writer, redisContext *context, const struct kill_change *change)
{
	const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"};

	if (!load_append(context, 1, multi, NULL))
		return false;
	for (unsigned i = 0; i < KILL_COLLECTIONS; i++)
		if (!send_field(writer, context, change, (enum kill_collection)i))
			return false;
	return load_append(context, 1, exec, NULL);
}

/* Commands of the MULTI block that makes the change; 0 if none does. */
static unsigned
block_size(const struct kill_change *change)
{
	switch (change->kind) {
	case KILL_BLOCK:
	case KILL_SHARED_BLOCK:
		return KILL_PARTS;
	case KILL_FIELD_SET:
		return 11;
	case KILL_FIELD_DEL:
		return 8;
	default:
		return 0;
	}
}

static bool
send_change(struct writer *writer, redisContext *context, const struct kill_change *change)
{
	char key[KILL_KEY_MAX];
	const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"}, *incr[] = {"INCR", key}, *del[] = {"DEL", key};
	const char *set[] = {change->kind == KILL_APPEND ? "APPEND" : "SET", key, writer->value};
	size_t sizes[] = {strlen(set[0]), 0, change->size};

	kill_key(writer->number, change->kind, change->key, 0, key);
	sizes[1] = strlen(key);
	switch (change->kind) {
	case KILL_INCR:
	case KILL_SHARED_INCR:
		return load_append(context, 2, incr, NULL);
	case KILL_DEL:
		return load_append(context, 2, del, NULL);
	case KILL_SET:
	case KILL_APPEND:
		chunk_write(writer->value, change->size,
			    kill_owner(writer->number, change->kind, change->key, 0),
			    kill_version(writer->number, change));
		return load_append(context, 3, set, sizes);
	case KILL_FIELD_SET:
	case KILL_FIELD_DEL:
		return send_fields(writer, context, change);
	case KILL_BLOCK:
	case KILL_SHARED_BLOCK:
		break;
	}
	if (!load_append(context, 1, multi, NULL))
		return false;
	for (unsigned part = 0; part < KILL_PARTS; part++) {
		kill_key(writer->number, change->kind, change->key, part, key);
		/* One part small, one in between, one as large as drawn. */
		sizes[2] = kill_part_size(change->size, part);
		chunk_write(writer->value, sizes[2],
			    kill_owner(writer->number, change->kind, change->key, part),
			    kill_version(writer->number, change));
		if (!load_append(context, 3, set, sizes))
			return false;
	}
	return load_append(context, 1, exec, NULL);
}

/* The last reply of a change; those before it in a block are OK and QUEUED. NULL: the connection broke. */
static redisReply *
last_reply(redisContext *context, const struct kill_change *change)
{
	unsigned in_block = block_size(change);
	for (unsigned i = 0; in_block > 0 && i < in_block + 1; i++) {
		redisReply *reply = load_reply(context);
		if (reply == NULL)
			return NULL;
		freeReplyObject(reply);
	}
	return load_reply(context);
}

/* The stream took the id, and the group was given the entry; what was acknowledged had been pending. */
static void
check_entry(const struct writer *writer, const struct kill_change *change, const redisReply *reply)
{
	const redisReply *added = reply->element[8], *acknowledged = reply->element[9],
			 *read = reply->element[10];
	if (added->type != REDIS_REPLY_STRING || read->type != REDIS_REPLY_ARRAY ||
	    acknowledged->integer != (change->old != 0))
		fail(writer->trial, "writer %u: XADD of %" PRIu64 " in the place of %" PRIu64 ": %s",
		     writer->number, change->version, change->old,
		     added->str != NULL ? added->str : "it was not delivered");
}

static void
take_reply(struct writer *writer, const struct kill_change *change, const redisReply *reply)
{
	struct trial *trial = writer->trial;

	if (reply->type == REDIS_REPLY_ERROR || reply->type == REDIS_REPLY_NIL) {
		fail(trial, "writer %u: %s", writer->number, reply->str != NULL ? reply->str : "a null");
		return;
	}
	kill_model_apply(&writer->model, change);
	switch (change->kind) {
	case KILL_INCR:
		if ((uint64_t)reply->integer != writer->model.counters[change->key])
			fail(trial, "writer %u: INCR says %lld, not %" PRIu64, writer->number, reply->integer,
			     writer->model.counters[change->key]);
		break;
	case KILL_SHARED_INCR:
		if ((uint64_t)reply->integer > writer->shared_acked)
			writer->shared_acked = (uint64_t)reply->integer;
		else
			fail(trial, "writer %u: the shared counter went back", writer->number);
		writer->shared_before++;
		break;
	case KILL_BLOCK:
	case KILL_SHARED_BLOCK:
	case KILL_FIELD_SET:
	case KILL_FIELD_DEL:
		if (reply->type != REDIS_REPLY_ARRAY || reply->elements != block_size(change))
			fail(trial, "writer %u: EXEC did not answer %u results", writer->number,
			     block_size(change));
		else if (change->kind == KILL_FIELD_SET)
			check_entry(writer, change, reply);
		break;
	default:
		break;
	}
}

/* True while the connection stands. What has no reply stays pending. */
static bool
run_pipeline(struct writer *writer, redisContext *context)
{
	struct trial *trial = writer->trial;
	unsigned count = 1 + (unsigned)random_below(&writer->random, KILL_PENDING_MAX);
	struct kill_model ahead = writer->model;
	unsigned answered;

	for (unsigned i = 0; i < count; i++) {
		writer->pending[i] = kill_change_draw(&writer->random, &ahead, ++writer->version);
		kill_model_apply(&ahead, &writer->pending[i]);
		if (!send_change(writer, context, &writer->pending[i]))
			return false;
	}
	writer->pending_count = count;
	for (answered = 0; answered < count; answered++) {
		redisReply *reply = last_reply(context, &writer->pending[answered]);
		if (reply == NULL)
			break;
		take_reply(writer, &writer->pending[answered], reply);
		freeReplyObject(reply);
		if (__atomic_add_fetch(&trial->acknowledged, 1, __ATOMIC_RELAXED) == trial->target) {
			__atomic_store_n(&trial->killed, true, __ATOMIC_RELEASE);
			kill(trial->pid, SIGKILL);
		}
	}
	writer->pending_count = count - answered;
	memmove(writer->pending, writer->pending + answered,
		writer->pending_count * sizeof(*writer->pending));
	return answered == count;
}

static void *
run_writer(void *argument)
{
	struct writer *writer = argument;
	redisContext *context = load_connect(writer->trial->port);

	if (context == NULL) {
		connection_broke(writer->trial, &(redisContext){0}, "writer");
		return NULL;
	}
	while (run_pipeline(writer, context))
		;
	connection_broke(writer->trial, context, "writer");
	redisFree(context);
	return NULL;
}

/* ---- readers ---- */

static void
see_version(struct reader *reader, unsigned writer, uint64_t version)
{
	if (version > reader->version[writer])
		reader->version[writer] = version;
	reader->seen++;
}

static void
see_string(struct reader *reader, unsigned writer, unsigned key, const redisReply *reply)
{
	struct kill_string string;

	if (reply->type == REDIS_REPLY_NIL)
		return;
	if (reply->type != REDIS_REPLY_STRING ||
	    !kill_string_read(writer, key, reply->str, (size_t)reply->len, &string)) {
		fail(reader->trial, "a reader saw a broken value at string %u of writer %u", key, writer);
		return;
	}
	for (unsigned i = 0; i < string.count; i++)
		see_version(reader, writer, string.versions[i]);
}

/* The parts of a block must agree at any moment. */
static void
see_block(struct reader *reader, unsigned writer, enum kill_kind kind, unsigned key, const redisReply *reply)
{
	uint64_t version;

	if (!kill_block_read(writer, kind, key, reply, &version)) {
		fail(reader->trial, "a reader saw half a block: block %u of writer %u", key, writer);
	} else if (kind == KILL_BLOCK) {
		see_version(reader, writer, version);
	} else if (version != 0) {
		see_version(reader, kill_version_writer(version), kill_version_number(version));
	}
}

static bool
ask_for_block(redisContext *context, unsigned writer, enum kill_kind kind, unsigned key)
{
	char keys[KILL_PARTS][KILL_KEY_MAX];
	const char *mget[1 + KILL_PARTS] = {"MGET"};

	for (unsigned part = 0; part < KILL_PARTS; part++) {
		kill_key(writer, kind, key, part, keys[part]);
		mget[1 + part] = keys[part];
	}
	return load_append(context, 1 + KILL_PARTS, mget, NULL);
}

/* One look at a string, a block, a shared block, a counter and the shared counter. */
static bool
look(struct reader *reader, redisContext *context)
{
	unsigned writer = (unsigned)random_below(&reader->random, WRITERS);
	unsigned string = (unsigned)random_below(&reader->random, KILL_STRINGS);
	unsigned block = (unsigned)random_below(&reader->random, KILL_BLOCKS);
	unsigned shared = (unsigned)random_below(&reader->random, KILL_SHARED_BLOCKS);
	unsigned counter = (unsigned)random_below(&reader->random, KILL_COUNTERS);
	char keys[3][KILL_KEY_MAX];

	kill_key(writer, KILL_SET, string, 0, keys[0]);
	kill_key(writer, KILL_INCR, counter, 0, keys[1]);
	kill_key(writer, KILL_SHARED_INCR, 0, 0, keys[2]);
	for (int i = 0; i < 3; i++) {
		const char *get[] = {"GET", keys[i]};
		if (!load_append(context, 2, get, NULL))
			return false;
	}
	if (!ask_for_block(context, writer, KILL_BLOCK, block) ||
	    !ask_for_block(context, writer, KILL_SHARED_BLOCK, shared))
		return false;
	for (int i = 0; i < 5; i++) {
		redisReply *reply = load_reply(context);
		uint64_t number;
		if (reply == NULL)
			return false;
		number = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
		if (i == 0)
			see_string(reader, writer, string, reply);
		else if (i == 1 && number > reader->counters[writer][counter])
			reader->counters[writer][counter] = number;
		else if (i == 2 && number > reader->shared)
			reader->shared = number;
		else if (i == 3)
			see_block(reader, writer, KILL_BLOCK, block, reply);
		else if (i == 4)
			see_block(reader, 0, KILL_SHARED_BLOCK, shared, reply);
		freeReplyObject(reply);
	}
	return true;
}

static void
note_figure(redisContext *context, const char *field, uint64_t *figure)
{
	long long value = load_info(context, field);

	if (value > (long long)*figure)
		*figure = (uint64_t)value;
}

static void
ask_what_takes_part(struct reader *reader, redisContext *context)
{
	note_figure(context, "flushes", &reader->flushes);
	note_figure(context, "compactions", &reader->compactions);
	note_figure(context, "value_log_moved_bytes", &reader->moved);
}

static void *
run_reader(void *argument)
{
	struct reader *reader = argument;
	redisContext *context = load_connect(reader->trial->port);

	if (context == NULL) {
		connection_broke(reader->trial, &(redisContext){0}, "reader");
		return NULL;
	}
	while (look(reader, context))
		if (++reader->looks % LOOKS_PER_INFO == 0)
			ask_what_takes_part(reader, context);
	connection_broke(reader->trial, context, "reader");
	redisFree(context);
	return NULL;
}

/* ---- what is there after the restart ---- */

/* Which numbers of pending changes explain what is there? False: none. */
static bool
explain(struct writer *writer, const struct kill_model *found, unsigned *ret_least, unsigned *ret_most)
{
	struct kill_model model = writer->model;
	bool explained = false;

	for (unsigned applied = 0;; applied++) {
		if (kill_model_equal(&model, found)) {
			if (!explained)
				*ret_least = applied;
			*ret_most = applied;
			explained = true;
		}
		if (applied == writer->pending_count)
			return explained;
		kill_model_apply(&model, &writer->pending[applied]);
	}
}

static void
verify_seen(struct writer *writer, const struct kill_model *found, unsigned most,
	    const struct reader *readers)
{
	struct trial *trial = writer->trial;
	/* Everything before the first change that was not applied stands. */
	uint64_t standing =
		most < writer->pending_count ? writer->pending[most].version - 1 : writer->version;

	for (unsigned r = 0; r < READERS; r++) {
		if (readers[r].version[writer->number] > standing)
			fail(trial, "writer %u: a reader saw change %" PRIu64 ", only %" PRIu64 " are there",
			     writer->number, readers[r].version[writer->number], standing);
		for (unsigned i = 0; i < KILL_COUNTERS; i++)
			if (readers[r].counters[writer->number][i] > found->counters[i])
				fail(trial,
				     "writer %u: a reader saw counter %u at %" PRIu64 ", it is %" PRIu64,
				     writer->number, i, readers[r].counters[writer->number][i],
				     found->counters[i]);
	}
}

/* Adds the keys of this writer and the INCRs of the shared counter that stand to the sums. */
static void
verify_writer(struct writer *writer, redisContext *context, const struct reader *readers, uint64_t *keys,
	      uint64_t *shared_least, uint64_t *shared_most)
{
	struct trial *trial = writer->trial;
	struct kill_model found;
	unsigned least = 0, most = 0;
	char why[256];

	if (!kill_model_read(context, writer->number, &found, why, sizeof(why))) {
		fail(trial, "writer %u: %s", writer->number, why);
		return;
	}
	*keys += kill_model_keys(&found);
	if (!explain(writer, &found, &least, &most)) {
		kill_model_difference(&writer->model, &found, why, sizeof(why));
		fail(trial,
		     "writer %u: what is there is no prefix of what was sent that contains all that was "
		     "acknowledged: %s",
		     writer->number, why);
	}
	verify_seen(writer, &found, most, readers);
	*shared_least += writer->shared_before;
	*shared_most += writer->shared_before;
	for (unsigned i = 0; i < writer->pending_count; i++) {
		bool is_shared = writer->pending[i].kind == KILL_SHARED_INCR;
		*shared_least += is_shared && i < least;
		/* Changes behind `most` that leave no trace in the model may have been applied too: `most` is
		 * already the largest number that explains. */
		*shared_most += is_shared && i < most;
	}
	trial->total_lost_unacknowledged += writer->pending_count - most;
	writer->model = found;
	writer->pending_count = 0;
}

static void
verify_shared(struct trial *trial, redisContext *context, const struct reader *readers, uint64_t least,
	      uint64_t most, uint64_t *keys)
{
	char key[KILL_KEY_MAX];
	redisReply *reply;

	kill_key(0, KILL_SHARED_INCR, 0, 0, key);
	reply = redisCommand(context, "GET %s", key);
	uint64_t found =
		reply != NULL && reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
	*keys += reply != NULL && reply->type == REDIS_REPLY_STRING;
	freeReplyObject(reply);
	if (found < trial->shared + least || found > trial->shared + most)
		fail(trial, "the shared counter is %" PRIu64 ", not %" PRIu64 " to %" PRIu64, found,
		     trial->shared + least, trial->shared + most);
	for (unsigned i = 0; i < WRITERS; i++)
		if (found < trial->writers[i].shared_acked)
			fail(trial, "the shared counter is %" PRIu64 ", %" PRIu64 " was acknowledged", found,
			     trial->writers[i].shared_acked);
	for (unsigned i = 0; i < READERS; i++)
		if (found < readers[i].shared)
			fail(trial, "the shared counter is %" PRIu64 ", %" PRIu64 " was seen", found,
			     readers[i].shared);
	trial->shared = found;
	for (unsigned i = 0; i < KILL_SHARED_BLOCKS; i++) {
		uint64_t version = 0;
		bool whole;
		if (!ask_for_block(context, 0, KILL_SHARED_BLOCK, i) ||
		    (reply = load_reply(context)) == NULL) {
			fail(trial, "reading shared block %u: %s", i, context->errstr);
			return;
		}
		whole = kill_block_read(0, KILL_SHARED_BLOCK, i, reply, &version);
		freeReplyObject(reply);
		if (!whole)
			fail(trial, "shared block %u is not whole", i);
		*keys += version != 0 ? KILL_PARTS : 0;
	}
}

static int
compare_text(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Keys that a full SCAN finds, each counted once. */
static uint64_t
scan_count(struct trial *trial, redisContext *context)
{
	char cursor[32] = "0", **keys = NULL;
	size_t count = 0, capacity = 0, distinct = 0;

	do {
		redisReply *reply = redisCommand(context, "SCAN %s COUNT 500", cursor);
		if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
			fail(trial, "SCAN: %s",
			     reply != NULL && reply->str != NULL ? reply->str : context->errstr);
			freeReplyObject(reply);
			break;
		}
		snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
		for (size_t i = 0; i < reply->element[1]->elements; i++) {
			if (count == capacity) {
				capacity = capacity * 2 + 1024;
				keys = realloc(keys, capacity * sizeof(*keys));
				if (keys == NULL)
					abort();
			}
			keys[count++] = strdup(reply->element[1]->element[i]->str);
		}
		freeReplyObject(reply);
	} while (strcmp(cursor, "0") != 0 && count < 1000000);
	if (count > 0)
		qsort(keys, count, sizeof(*keys), compare_text);
	for (size_t i = 0; i < count; i++)
		distinct += i == 0 || strcmp(keys[i - 1], keys[i]) != 0;
	for (size_t i = 0; i < count; i++)
		free(keys[i]);
	free(keys);
	return distinct;
}

static void
verify(struct trial *trial, const struct reader *readers)
{
	redisContext *context = load_connect(trial->port);
	uint64_t keys = 0, least = 0, most = 0, scanned;
	redisReply *reply;

	if (context == NULL) {
		fail(trial, "no connection after the restart");
		return;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		verify_writer(&trial->writers[i], context, readers, &keys, &least, &most);
	verify_shared(trial, context, readers, least, most, &keys);
	scanned = scan_count(trial, context);
	reply = redisCommand(context, "DBSIZE");
	uint64_t size =
		reply != NULL && reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : UINT64_MAX;
	freeReplyObject(reply);
	if (size != keys || scanned != keys)
		fail(trial, "%" PRIu64 " keys are there, DBSIZE says %" PRIu64 ", SCAN finds %" PRIu64, keys,
		     size, scanned);
	redisFree(context);
}

/* ---- rounds ---- */

static void
run_until_killed(struct trial *trial, struct reader *readers)
{
	pthread_t threads[WRITERS + READERS];

	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		int error = i < WRITERS
			? pthread_create(&threads[i], NULL, run_writer, &trial->writers[i])
			: pthread_create(&threads[i], NULL, run_reader, &readers[i - WRITERS]);
		if (error != 0)
			abort();
	}
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
}

/* What the kill has left must be whole, before anybody repairs it. */
static void
check_files(struct trial *trial)
{
	const char *directory = server_process_directory(trial->server);
	const char *arguments[] = {trial->tool, "check", "--quiet", directory, NULL};
	int status = -1;
	pid_t pid;

	if (trial->tool == NULL)
		return;
	server_process_stop(trial->server, 0, 10000); /* waits for the end of the killed one */
	if (posix_spawn(&pid, trial->tool, NULL, NULL, (char **)(uintptr_t)arguments, environ) != 0) {
		fail(trial, "%s can't be run", trial->tool);
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	trial->checks++;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(trial, "sett-tool check of what the kill has left: wait status %#x", (unsigned)status);
}

static bool
restart(struct trial *trial, struct random *random)
{
	check_files(trial);
	uint64_t start = load_now_us();
	bool up = server_process_restart(trial->server);

	latencies_add(&trial->restarts, (load_now_us() - start) / 1000);
	/* Now and then once more at once: recovery of what recovery wrote. */
	if (up && random_below(random, 5) == 0)
		up = server_process_restart(trial->server);
	trial->pid = server_process_pid(trial->server);
	return up;
}

static bool
run_round(struct trial *trial, uint64_t operations)
{
	struct random random = {.state = value_mix(trial->seed, trial->round)};
	struct reader readers[READERS];

	memset(readers, 0, sizeof(readers));
	trial->acknowledged = 0;
	trial->killed = false;
	trial->target = operations / 10 + random_below(&random, operations);
	for (unsigned i = 0; i < WRITERS; i++) {
		trial->writers[i].random.state = random_next(&random);
		trial->writers[i].shared_before = 0;
	}
	for (unsigned i = 0; i < READERS; i++) {
		readers[i].trial = trial;
		readers[i].random.state = random_next(&random);
	}
	run_until_killed(trial, readers);
	if (!trial->killed)
		return false;
	if (!restart(trial, &random)) {
		fail(trial, "the server does not come up again");
		return false;
	}
	trial->total_acknowledged += trial->acknowledged;
	for (unsigned i = 0; i < READERS; i++)
		trial->total_seen += readers[i].seen;
	trial->total_flushes += readers[0].flushes;
	trial->total_compactions += readers[0].compactions;
	trial->total_moved += readers[0].moved;
	verify(trial, readers);
	return true;
}

int
main(int argc, char **argv)
{
	const char *path, *fsync_policy = "everysec", *tool = NULL;
	uint64_t rounds = 50, operations = 4000, seed = 1, memory = 16 << 20;
	const struct load_option table[] = {{"fsync", NULL, &fsync_policy},
					    {"rounds", &rounds, NULL},
					    {"operations", &operations, NULL},
					    {"seed", &seed, NULL},
					    {"maxmemory", &memory, NULL},
					    {"check", NULL, &tool},
					    {0}};
	char memory_text[32];
	uint64_t start = load_now_us();
	struct trial trial = {0};

	if (!load_options(argc, argv, table, &path))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(memory_text, sizeof(memory_text), "%" PRIu64, memory);
	/* So the collections are within their roots at times, and at times not. */
	const char *arguments[] = {"--packed-max-size", "100",         "--appendonly", "yes", "--appendfsync",
				   fsync_policy,        "--maxmemory", memory_text,    NULL};
	trial.seed = seed;
	trial.tool = tool;
	trial.writers = calloc(WRITERS, sizeof(*trial.writers));
	trial.server = server_process_start(path, NULL, arguments);
	if (trial.writers == NULL || trial.server == NULL)
		return 1;
	trial.port = server_process_port(trial.server);
	trial.pid = server_process_pid(trial.server);
	for (unsigned i = 0; i < WRITERS; i++) {
		trial.writers[i].trial = &trial;
		trial.writers[i].number = i;
	}
	while (trial.round < rounds && run_round(&trial, operations) && trial.failures < FAILURES_SHOWN)
		trial.round++;
	printf("kill: appendfsync %s, seed %" PRIu64 ": %" PRIu64 " of %" PRIu64 " rounds, %" PRIu64
	       " acknowledged changes, %" PRIu64 " versions seen, %" PRIu64
	       " changes in flight not there, restart p50 %u ms, max %u ms, %.1f s: %" PRIu64 " failures\n",
	       fsync_policy, seed, trial.round, rounds, trial.total_acknowledged, trial.total_seen,
	       trial.total_lost_unacknowledged, latencies_at(&trial.restarts, 500),
	       latencies_at(&trial.restarts, 1000), (double)(load_now_us() - start) / 1e6, trial.failures);
	printf("kill: at least %" PRIu64 " flushes and %" PRIu64 " compactions took part, %" PRIu64
	       " bytes were moved in the value log\n",
	       trial.total_flushes, trial.total_compactions, trial.total_moved);
	if (tool != NULL)
		printf("kill: %" PRIu64 " directories were checked\n", trial.checks);
	bool passed = trial.round == rounds && trial.failures == 0;
	latencies_free(&trial.restarts);
	free(trial.writers);
	return load_finish(trial.server, passed);
}
