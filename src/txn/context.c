/* What command functions share: error replies, argument parsing, effects that wait for the commit. */
#include "txn/command.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "config/config.h"
#include "net/output.h"
#include "storage/base/sync_point.h"
#include "txn/pause.h"
#include "txn/string_source.h"
#include "txn/waiting.h"

/* ---- errors ---- */

int
context_error(struct command_context *c, const char *text)
{
	c->failed = true;
	resp_error(c->reply, text);
	return OUTCOME_FAILED;
}

int
context_errorf(struct command_context *c, const char *format, ...)
{
	va_list arguments;
	c->failed = true;
	va_start(arguments, format);
	resp_error_format_va(c->reply, format, arguments);
	va_end(arguments);
	return OUTCOME_FAILED;
}

void
context_typed_name(const struct command_context *c, char ret[CONTEXT_NAME_SIZE])
{
	size_t i = 0;
	for (; i < c->argv[0].size && c->argv[0].data[i] != '\0' && i + 1 < CONTEXT_NAME_SIZE; i++) {
		uint8_t byte = c->argv[0].data[i];
		ret[i] = (char)(byte >= 'a' && byte <= 'z' ? byte - 32 : byte);
	}
	ret[i] = '\0';
}

int
context_wrong_type(struct command_context *c)
{
	return context_error(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

int
context_syntax_error(struct command_context *c)
{
	return context_error(c, "ERR syntax error");
}

int
context_wrong_arity(struct command_context *c)
{
	return context_errorf(c, "ERR wrong number of arguments for '%s' command", c->command->full_name);
}

/* ---- large replies ---- */

void
context_add_stream(struct command_context *c, struct output_stream *stream)
{
	assert(stream->position == c->reply->size);
	stream->next = c->streams;
	c->streams = stream;
	resp_raw(c->reply, "\r\n", 2);
}

int
context_reply_source(struct command_context *c, struct reply_source *source, uint64_t size)
{
	char header[RESP_INTEGER_MAX_SIZE + 4];
	int length = snprintf(header, sizeof(header), "$%" PRIu64 "\r\n", size);
	resp_raw(c->reply, header, (size_t)length);
	struct output_stream *stream = output_stream_create(source, c->reply->size);
	if (stream == NULL) {
		source->operations->close(source);
		return SETT_NO_MEMORY;
	}
	context_add_stream(c, stream);
	return SETT_OK;
}

/* Takes over the stream, which has `size` bytes. */
static int
reply_stream(struct command_context *c, struct sett_body_stream *body, uint64_t size)
{
	struct reply_source *source = reply_source_of_body(body);
	if (source != NULL)
		return context_reply_source(c, source, size);
	sett_body_stream_close(body);
	return SETT_NO_MEMORY;
}

/* Straight into the reply: the arena keeps what it has once taken. */
static int
reply_copy(struct command_context *c, const struct key *key, uint64_t offset, size_t size)
{
	int status = size >= CONTEXT_LONG_MIN ? context_enter_long_lane(c) : SETT_OK;
	if (status != SETT_OK)
		return status;
	uint8_t *space = resp_bulk_space(c->reply, size);
	return space != NULL ? key_body_part(key, offset, size, space) : SETT_NO_MEMORY;
}

int
context_reply_part(struct command_context *c, const struct key *key, uint64_t offset, uint64_t size)
{
	struct bytes value;
	struct sett_body_stream *body;
	int status = SETT_INVALID;
	if (__builtin_expect(size >= CONTEXT_STREAM_MIN, 0))
		status = key_body_stream(key, offset, size, &body);
	if (status != SETT_INVALID)
		return status == SETT_OK ? reply_stream(c, body, size) : status;
	if (size >= CONTEXT_STREAM_MIN && key->root.object != 0 && !key_is_changed(key)) {
		status = context_reply_chunks(c, key, offset, size);
		if (status != SETT_TOO_LARGE)
			return status;
	}
	if (__builtin_expect((key->root.body_size >= CONTEXT_STREAM_MIN || key->root.object != 0) && size > 0,
			     0))
		return reply_copy(c, key, offset, (size_t)size);
	status = key_body(key, &value);
	if (status == SETT_OK)
		resp_bulk(c->reply, value.data + offset, (size_t)size);
	return status;
}

int
context_reply_record(struct command_context *c, const struct sett_record *record, uint64_t offset)
{
	struct bytes value;
	struct sett_body_stream *body;
	uint64_t size = record->body_size - offset;
	int status = SETT_INVALID;
	if (__builtin_expect(size >= CONTEXT_STREAM_MIN, 0))
		status = sett_body_stream_open(c->view.txn, record, offset, size, &body);
	if (status != SETT_INVALID)
		return status == SETT_OK ? reply_stream(c, body, size) : status;
	status = sett_txn_body(c->view.txn, record, &value);
	if (status == SETT_OK)
		resp_bulk(c->reply, value.data + offset, (size_t)size);
	return status;
}

int
context_reply_string(struct command_context *c, const struct key *key)
{
	return context_reply_part(c, key, 0, key->root.body_size);
}

void
context_truncate_reply(struct command_context *c, size_t size)
{
	while (c->streams != NULL && c->streams->position > size) {
		struct output_stream *stream = c->streams;
		c->streams = stream->next;
		stream->next = NULL;
		output_streams_free(stream);
	}
	resp_truncate(c->reply, size);
}

/* ---- what takes long ---- */

void
context_allow_builds(struct command_context *c)
{
	c->view.may_build = c->in_long_lane && c->may_wait && !c->in_multi && !c->in_batch;
}

int
context_enter_long_lane(struct command_context *c)
{
	return c->in_long_lane ? SETT_OK : OUTCOME_LONG;
}

int
context_give_up(struct command_context *c)
{
	return context_error(c, "ERR the client is gone");
}

/* ---- what waits ---- */

bool
context_is_paused(const struct command_context *c, bool all)
{
	const struct server *server = c->server;
	if (server->pause == NULL || c->client->loads || pause_until(server->pause) == 0)
		return false;
	enum pause_mode mode = pause_mode_at(server->pause, clock_wall_ms(server->clock));
	return all ? mode == PAUSE_ALL : mode != PAUSE_NONE;
}

bool
context_may_take(struct command_context *c, struct bytes key, enum value_type type)
{
	if (c->served != NULL || c->in_multi || !waiting_has(c->server->waiting, c->db, key, 1U << type))
		return true;
	c->behind_others = true;
	return false;
}

void
context_wake_at(struct command_context *c, uint64_t wall_ms)
{
	enum { NS_PER_MS = 1000000 };
	uint64_t now_ns = clock_monotonic_ns(c->server->clock);
	assert(wall_ms > c->view.now_ms);
	uint64_t ms = wall_ms - c->view.now_ms;
	if (ms > (UINT64_MAX / 2 - now_ns) / NS_PER_MS)
		return; /* in centuries */
	uint64_t wake_ns = now_ns + ms * NS_PER_MS;
	if (c->wake_ns == 0 || wake_ns < c->wake_ns)
		c->wake_ns = wake_ns;
}

static int
park(struct command_context *c, const struct wait_request *request, uint64_t until_ns)
{
	struct client *client = c->client;
	assert(client->waiter == NULL); /* one of an earlier run was freed when that was lost */
	client->waiter = waiting_prepare(c->server->waiting, client, request);
	if (client->waiter == NULL)
		return SETT_NO_MEMORY;
	client->wait_until_ns = until_ns;
	client->wait_wake_ns = request->wake_ns;
	context_join_commit(c, waiting_entry(client->waiter));
	sett_txn_validate_reads(c->view.txn);
	SYNC_POINT("wait: nothing was found");
	return OUTCOME_BLOCKED;
}

int
context_wait(struct command_context *c, const struct bytes *keys, size_t count, enum value_type type,
	     uint64_t until_ns, bool null_is_array)
{
	if (c->in_multi && !null_is_array) {
		resp_null(c->reply);
		return SETT_OK;
	}
	return context_wait_with(c, c->argv, (struct bytes){0}, keys, count, type, until_ns);
}

int
context_wait_with(struct command_context *c, const struct bytes *argv, struct bytes made,
		  const struct bytes *keys, size_t count, enum value_type type, uint64_t until_ns)
{
	if (c->served != NULL)
		return OUTCOME_BLOCKED;
	if (c->in_multi) {
		resp_null_array(c->reply);
		return SETT_OK;
	}
	struct wait_request request = {.command = c->command,
				       .argc = c->argc,
				       .argv = argv,
				       .made = made,
				       .db = c->db,
				       .keys = keys,
				       .key_count = count,
				       .type = type,
				       .behind_others = c->behind_others,
				       .wake_ns = c->wake_ns};
	return park(c, &request, until_ns);
}

/* ---- large bodies that are written ---- */

struct made_body {
	struct made_body *next;
	struct sett_body_writer *writer;
};

int
context_make_body(struct command_context *c, uint64_t size, struct sett_body_writer **ret)
{
	if (!c->may_wait)
		return SETT_WOULD_BLOCK;
	struct made_body *made = arena_allocate(c->arena, sizeof(*made), _Alignof(struct made_body));
	if (made == NULL)
		return SETT_NO_MEMORY;
	int status = sett_body_writer_open(c->server->engine, size, &made->writer, NULL);
	if (status != SETT_OK)
		return status;
	made->next = c->made;
	c->made = made;
	*ret = made->writer;
	return SETT_OK;
}

void
context_close_made(struct command_context *c)
{
	for (struct made_body *made = c->made; made != NULL; made = made->next)
		sett_body_writer_close(made->writer);
	c->made = NULL;
}

/* ---- deferred effects ---- */

struct deferred_effect {
	struct deferred_effect *next;
	void (*run)(struct server *, struct client *, void *data);
	void *data;
};

int
context_defer(struct command_context *c, void (*run)(struct server *, struct client *, void *data),
	      void *data)
{
	struct deferred_effect *effect =
		arena_allocate(c->arena, sizeof(*effect), _Alignof(struct deferred_effect));
	if (effect == NULL)
		return SETT_NO_MEMORY;
	*effect = (struct deferred_effect){.run = run, .data = data};
	if (c->last_effect != NULL)
		c->last_effect->next = effect;
	else
		c->first_effect = effect;
	c->last_effect = effect;
	return SETT_OK;
}

const void *
context_deferred(const struct command_context *c, void (*run)(struct server *, struct client *, void *data))
{
	const void *data = NULL;
	for (const struct deferred_effect *e = c->first_effect; e != NULL; e = e->next)
		if (e->run == run)
			data = e->data;
	return data;
}

void
context_run_effects(struct command_context *c)
{
	for (struct deferred_effect *e = c->first_effect; e != NULL; e = e->next)
		e->run(c->server, c->client, e->data);
	c->first_effect = c->last_effect = NULL;
}

void
context_join_commit(struct command_context *c, struct commit_participant *p)
{
	p->next = NULL;
	if (c->last_participant != NULL)
		c->last_participant->next = p;
	else
		c->first_participant = p;
	c->last_participant = p;
}

void
context_drop_participants_after(struct command_context *c, struct commit_participant *last)
{
	c->last_participant = last;
	if (last != NULL)
		last->next = NULL;
	else
		c->first_participant = NULL;
}

void
context_drop_effects_after(struct command_context *c, struct deferred_effect *last)
{
	c->last_effect = last;
	if (last != NULL)
		last->next = NULL;
	else
		c->first_effect = NULL;
}

/* ---- arguments ---- */

bool
context_integer_or(struct command_context *c, struct bytes argument, const char *error, int64_t *ret)
{
	if (parse_integer(argument, ret))
		return true;
	context_error(c, error);
	return false;
}

bool
context_integer(struct command_context *c, struct bytes argument, int64_t *ret)
{
	return context_integer_or(c, argument, "ERR value is not an integer or out of range", ret);
}

bool
context_integer_range(struct command_context *c, struct bytes argument, int64_t low, int64_t high,
		      const char *error, int64_t *ret)
{
	int64_t value;
	if (error == NULL)
		error = "ERR value is out of range";
	if (!context_integer_or(c, argument, error, &value))
		return false;
	if (value < low || value > high) {
		context_error(c, error);
		return false;
	}
	*ret = value;
	return true;
}

bool
parse_long_double(struct bytes text, long double *ret)
{
	char copy[LONG_DOUBLE_TEXT_MAX];
	if (text.size == 0 || text.size >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = 0;
	uint8_t first = text.data[0];
	if (first == ' ' || (first >= '\t' && first <= '\r'))
		return false;
	char *end;
	errno = 0;
	long double value = strtold(copy, &end);
	if ((size_t)(end - copy) != text.size || isnan(value))
		return false;
	if (errno == ERANGE && (value == HUGE_VALL || value == -HUGE_VALL || fpclassify(value) == FP_ZERO))
		return false;
	*ret = value;
	return true;
}

bool
context_long_double(struct command_context *c, struct bytes argument, long double *ret)
{
	if (parse_long_double(argument, ret))
		return true;
	context_error(c, "ERR value is not a valid float");
	return false;
}

/* ---- uses of keys ---- */

int
server_note_accesses(struct server *server)
{
	struct accesses *none = NULL;
	if (__atomic_load_n(&server->accesses, __ATOMIC_ACQUIRE) != NULL)
		return SETT_OK;
	struct accesses *made = accesses_create(clock_wall_ms(server->clock));
	if (made == NULL)
		return SETT_NO_MEMORY;
	if (!__atomic_compare_exchange_n(&server->accesses, &none, made, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		accesses_destroy(made);
	return SETT_OK;
}

struct access_rule
server_access_rule(const struct server *server)
{
	const struct config *config = server->config;
	return (struct access_rule){
		.log_factor = (unsigned)__atomic_load_n(&config->lfu_log_factor, __ATOMIC_RELAXED),
		.decay_minutes = (unsigned)__atomic_load_n(&config->lfu_decay_minutes, __ATOMIC_RELAXED)};
}

void
context_note_access(struct command_context *c, struct accesses *accesses, const struct key *k)
{
	uint64_t hash = k->engine_key.hash, now_ms = c->view.now_ms;
	if (sett_txn_is_as_of(c->view.txn))
		return; /* it is not used now */
	if (k->exists)
		accesses_note(accesses, hash, now_ms, server_access_rule(c->server),
			      keyspace_random(c->server->keyspace));
	else if ((c->command->flags & COMMAND_WRITE) != 0)
		accesses_note_new(accesses, hash, now_ms);
}
