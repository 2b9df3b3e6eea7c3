/* See master_stream.h. */
#include "moving/master_stream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"

enum {
	BATCH_COMMANDS = 512,
	BATCH_BYTES = 256 * 1024,
	LOGGED_MAX = 10,             /* failures that are logged in a period */
	KEPT_CAPACITY = 1024 * 1024, /* of buffers that grew for a large command, so much stays */
};
#define LOG_PERIOD_NS 1000000000ull

/* One of the master's. */
struct streamed_command {
	size_t first_argument, argc;
	int64_t db;
	size_t end;  /* of it, or of its MULTI block's EXEC, if it is the last one in that */
	bool begins; /* it is the first of a block, or in none: what belongs together ends before it */
};

int
master_stream_open(struct master_stream *s, struct server *server, const uint64_t *orders)
{
	*s = (struct master_stream){.server = server, .allegiance = {.orders = orders}};
	resp_parser_init(&s->parser);
	int status = feed_open(&s->feed, server->runner);
	s->feed.client.is_master = true;
	return status;
}

void
master_stream_close(struct master_stream *s)
{
	if (s->server == NULL)
		return;
	feed_close(&s->feed);
	free(s->parser.arguments);
	free(s->bytes);
	free(s->commands);
	free(s->arguments);
	free(s->argument_offsets);
	*s = (struct master_stream){0};
}

void
master_stream_begin(struct master_stream *s, uint64_t order, int64_t db, const char *address)
{
	s->allegiance.order = order;
	s->size = s->parsed = s->whole = s->whole_count = s->count = s->argument_count = 0;
	s->db = s->whole_db = db;
	s->in_multi = s->wants_ack = false;
	bool is_there = db >= 0 && db < (int64_t)keyspace_databases(s->server->keyspace);
	s->feed.client.db = is_there ? (unsigned)db : 0;
	snprintf(s->feed.client.address, sizeof(s->feed.client.address), "%s", address);
	resp_parser_reset(&s->parser);
}

/* ---- receiving ---- */

int
master_stream_add(struct master_stream *s, struct bytes received, struct sett_error *error)
{
	uint64_t limit =
		(uint64_t)__atomic_load_n(&s->server->config->client_query_buffer_limit, __ATOMIC_RELAXED);
	size_t wanted = s->size + received.size;
	if (wanted > limit)
		return sett_error_set(error, SETT_TOO_LARGE, 0,
				      "the master sends a command, or a MULTI block, larger than "
				      "client-query-buffer-limit: raise it here");
	if (wanted > s->capacity) {
		size_t capacity = s->capacity < BATCH_BYTES ? (size_t)BATCH_BYTES : s->capacity;
		while (capacity < wanted)
			capacity *= 2;
		uint8_t *more = realloc(s->bytes, capacity);
		if (more == NULL)
			return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
		s->bytes = more;
		s->capacity = capacity;
	}
	memcpy(s->bytes + s->size, received.data, received.size);
	s->size = wanted;
	return SETT_OK;
}

/* What is committed goes; the rest moves to the front. */
static void
drop_front(struct master_stream *s, size_t end, size_t commands)
{
	assert(commands <= s->count && end <= s->whole);
	size_t arguments = commands < s->count ? s->commands[commands].first_argument : s->argument_count;
	memmove(s->bytes, s->bytes + end, s->size - end);
	if (commands < s->count)
		memmove(s->commands, s->commands + commands, (s->count - commands) * sizeof(*s->commands));
	s->size -= end;
	s->parsed -= end;
	s->whole -= end;
	s->whole_count -= commands;
	s->count -= commands;
	for (size_t i = 0; i < s->count; i++) {
		s->commands[i].first_argument -= arguments;
		s->commands[i].end -= end;
	}
	for (size_t i = arguments; i < s->argument_count; i++) {
		s->argument_offsets[i - arguments] = s->argument_offsets[i] - end;
		s->arguments[i - arguments] = s->arguments[i];
	}
	s->argument_count -= arguments;
	if (s->capacity > KEPT_CAPACITY && s->size == 0) {
		free(s->bytes);
		s->bytes = NULL;
		s->capacity = 0;
	}
}

/* ---- parsing ---- */

static int
reserve_arguments(struct master_stream *s, size_t more)
{
	size_t wanted = s->argument_count + more, capacity = s->arguments_capacity;
	if (wanted <= capacity)
		return SETT_OK;
	capacity = 2 * wanted;
	struct bytes *arguments = reallocarray(s->arguments, capacity, sizeof(*arguments));
	if (arguments == NULL)
		return SETT_NO_MEMORY;
	s->arguments = arguments;
	size_t *offsets = reallocarray(s->argument_offsets, capacity, sizeof(*offsets));
	if (offsets == NULL)
		return SETT_NO_MEMORY;
	s->argument_offsets = offsets;
	s->arguments_capacity = capacity;
	return SETT_OK;
}

static int
reserve_command(struct master_stream *s)
{
	if (s->count < s->commands_capacity)
		return SETT_OK;
	size_t capacity = s->commands_capacity == 0 ? (size_t)BATCH_COMMANDS : 2 * s->commands_capacity;
	struct streamed_command *more = reallocarray(s->commands, capacity, sizeof(*more));
	if (more == NULL)
		return SETT_NO_MEMORY;
	s->commands = more;
	s->commands_capacity = capacity;
	return SETT_OK;
}

static int
add_command(struct master_stream *s, size_t base, bool begins)
{
	const struct resp_parser *p = &s->parser;
	int status = reserve_command(s);
	if (status == SETT_OK)
		status = reserve_arguments(s, p->argc);
	if (status != SETT_OK)
		return status;
	s->commands[s->count++] = (struct streamed_command){.first_argument = s->argument_count,
							    .argc = p->argc,
							    .db = s->db,
							    .end = s->parsed,
							    .begins = begins};
	for (size_t i = 0; i < p->argc; i++) {
		s->argument_offsets[s->argument_count] = base + p->arguments[i].offset;
		s->arguments[s->argument_count++] = bytes_of(NULL, p->arguments[i].size);
	}
	return SETT_OK;
}

static int
malformed(struct master_stream *s, struct sett_error *error, const char *what)
{
	struct replication_state state;
	replication_get(s->server->replication, &state);
	return sett_error_set(error, SETT_CORRUPT, 0,
			      "the master's stream makes no sense behind offset %" PRIu64 ": %s",
			      state.position.offset + s->parsed, what);
}

static int
select_database(struct master_stream *s, struct bytes number, struct sett_error *error)
{
	int64_t db;
	if (!parse_integer(number, &db) || db < 0)
		return malformed(s, error, "it selects what is no database");
	if (db >= (int64_t)keyspace_databases(s->server->keyspace))
		return sett_error_set(
			error, SETT_INVALID, 0,
			"the master uses database %" PRId64 ", which is not there: raise `databases`", db);
	s->db = db;
	return SETT_OK;
}

/* Also what a full sync, or the last run of this server, says of it. */
static int
check_database(const struct master_stream *s, int64_t db, struct sett_error *error)
{
	if (db < (int64_t)keyspace_databases(s->server->keyspace))
		return SETT_OK;
	return sett_error_set(error, SETT_INVALID, 0,
			      "the master uses database %" PRId64 ", which is not there: raise `databases`",
			      db);
}

/* The command that was parsed, whose bytes began at `base`. */
static int
take_command(struct master_stream *s, size_t base, struct sett_error *error)
{
	const struct resp_parser *p = &s->parser;
	if (p->argc == 0)
		return SETT_OK;
	struct bytes name = bytes_of(s->bytes + base + p->arguments[0].offset, p->arguments[0].size);
	struct bytes second = {0};
	if (p->argc > 1)
		second = bytes_of(s->bytes + base + p->arguments[1].offset, p->arguments[1].size);
	if (argument_is(name, "MULTI") || argument_is(name, "EXEC")) {
		bool begins = argument_is(name, "MULTI");
		if (begins == s->in_multi)
			return malformed(s, error, "MULTI and EXEC do not take turns");
		s->in_multi = begins;
		if (!begins && s->count > s->whole_count)
			s->commands[s->count - 1].end = s->parsed;
		return SETT_OK;
	}
	if (argument_is(name, "SELECT") && p->argc == 2)
		return select_database(s, second, error);
	if (argument_is(name, "REPLCONF")) {
		s->wants_ack = s->wants_ack || argument_is(second, "GETACK");
		return SETT_OK;
	}
	if (argument_is(name, "PING"))
		return SETT_OK;
	int status = check_database(s, s->db, error);
	if (status != SETT_OK)
		return status;
	status = add_command(s, base, !s->in_multi || s->count == s->whole_count);
	return status == SETT_OK ? status : sett_error_set(error, status, 0, "out of memory");
}

static int
grow_parser(struct resp_parser *p, struct sett_error *error)
{
	struct resp_argument *more = reallocarray(p->arguments, p->arguments_needed, sizeof(*more));
	if (more == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	p->arguments = more;
	p->argument_capacity = p->arguments_needed;
	return SETT_OK;
}

/* Parses until it is enough for a transaction. `ret_more`: there may be more than that. */
static int
parse(struct master_stream *s, bool *ret_more, struct sett_error *error)
{
	int status = SETT_OK;
	*ret_more = true;
	s->parser.bulk_max = INT64_MAX; /* the buffer has a limit */
	while (status == SETT_OK) {
		if (!s->in_multi && (s->whole_count >= BATCH_COMMANDS || s->whole >= BATCH_BYTES))
			return SETT_OK;
		/* An empty line says that the master is alive; others are no requests of a master's. */
		if (s->parsed < s->size && memchr("*\r\n", s->bytes[s->parsed], 3) == NULL)
			return malformed(s, error, "this is inline protocol");
		switch (resp_parse(&s->parser, s->bytes + s->parsed, s->size - s->parsed)) {
		case RESP_NEED_MORE:
			*ret_more = false;
			return SETT_OK;
		case RESP_NEED_ARGUMENTS:
			status = grow_parser(&s->parser, error);
			continue;
		case RESP_ERROR:
			return malformed(s, error, s->parser.error);
		case RESP_REQUEST:
			break;
		}
		size_t base = s->parsed;
		s->parsed += s->parser.consumed;
		status = take_command(s, base, error);
		if (status == SETT_OK && !s->in_multi) {
			s->whole = s->parsed;
			s->whole_count = s->count;
			s->whole_db = s->db;
		}
	}
	return status;
}

/* ---- applying ---- */

static struct master_stream *
stream_of(struct commit_participant *p)
{
	return (struct master_stream *)((char *)p - offsetof(struct master_stream, participant));
}

static bool
may_commit(struct commit_participant *p)
{
	const struct master_stream *s = stream_of(p);
	return allegiance_holds(&s->allegiance);
}

static void
note_commit(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	stream_of(p)->is_committed = true;
}

static void
answer_refused(struct commit_participant *p, struct command_context *c)
{
	(void)p;
	context_error(c, "ERR another master is to be followed");
}

/* In the transaction of a command, or of an EXEC, once in each of its runs. */
static int
add_position(void *arg, struct command_context *c)
{
	struct master_stream *s = arg;
	c->view.stream = &s->part;
	s->participant = (struct commit_participant){
		.validate = may_commit, .apply = note_commit, .answer = answer_refused};
	context_join_commit(c, &s->participant);
	return SETT_OK;
}

/* As Redis words it, with the command's name in lower case. */
static void
log_failure(struct master_stream *s, struct bytes command)
{
	char name[64];
	uint64_t now = clock_monotonic_ns(s->server->clock);
	s->failures++;
	if (now - s->logged_since_ns >= LOG_PERIOD_NS) {
		s->logged_since_ns = now;
		s->logged = 0;
	}
	if (++s->logged > LOGGED_MAX)
		return;
	snprintf(name, sizeof(name), "%.*s",
		 command.size < sizeof(name) ? (int)command.size : (int)sizeof(name),
		 (const char *)command.data);
	for (char *c = name; *c != '\0'; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
	log_sink_printf(
		&s->server->sink, LOG_LEVEL_WARNING,
		"== CRITICAL == This replica is sending an error to its master: '%s' after processing "
		"the command '%s' (%" PRIu64 " such errors so far)",
		s->feed.error, name, s->failures);
}

/* Runs the request that commits. Whether it did. */
static bool
run_committing(struct master_stream *s, size_t argc, const struct bytes *argv)
{
	struct client *client = &s->feed.client;
	s->is_committed = false;
	client->before_commit = add_position;
	client->before_commit_arg = s;
	if (feed_run(&s->feed, argc, argv) != SETT_OK && s->is_committed)
		log_failure(s, argv[0]);
	client->before_commit = NULL;
	return s->is_committed;
}

static bool
run_word(struct master_stream *s, const char *word)
{
	struct bytes name = bytes_of_string(word);
	return feed_run(&s->feed, 1, &name) == SETT_OK;
}

static bool
switch_database(struct master_stream *s, int64_t db)
{
	char number[24];
	snprintf(number, sizeof(number), "%" PRId64, db);
	struct bytes argv[] = {BYTES_LITERAL("SELECT"), bytes_of_string(number)};
	return feed_run(&s->feed, 2, argv) == SETT_OK;
}

/* Runs commands [from, to) of the batch, several of them as one block. `end` is where the stream is behind them. */
static bool
run_commands(struct master_stream *s, size_t from, size_t to)
{
	bool several = to - from > 1, queued = true;
	int64_t db = s->feed.client.db;
	if (several)
		queued = run_word(s, "MULTI");
	for (size_t i = from; i < to && queued; i++) {
		const struct streamed_command *command = &s->commands[i];
		const struct bytes *argv = s->arguments + command->first_argument;
		if (command->db >= 0 && command->db != db)
			queued = switch_database(s, command->db);
		db = command->db >= 0 ? command->db : db;
		if (!several)
			return queued && run_committing(s, command->argc, argv);
		queued = queued && feed_run(&s->feed, command->argc, argv) == SETT_OK;
	}
	if (!queued) {
		char why[FEED_ERROR_SIZE];
		memcpy(why, s->feed.error, sizeof(why));
		(void)run_word(s, "DISCARD");
		memcpy(s->feed.error, why, sizeof(why));
		return false;
	}
	struct bytes exec = BYTES_LITERAL("EXEC");
	return run_committing(s, 1, &exec);
}

static void
point_arguments(struct master_stream *s)
{
	for (size_t i = 0; i < s->argument_count; i++)
		s->arguments[i].data = s->bytes + s->argument_offsets[i];
}

static int
failed(struct master_stream *s, struct sett_error *error)
{
	if (!allegiance_holds(&s->allegiance))
		return sett_error_set(error, SETT_ABORTED, 0, "another master is to be followed");
	return sett_error_set(error, SETT_FAILED, 0, "what the master sends can't be applied: %s",
			      s->feed.error);
}

/* Whether it says that nothing can be written now, which may change; not that the command itself is at fault. */
static bool
is_passing(const char *text)
{
	static const char *const codes[] = {
		"MISCONF ",          "OOM ", "EXECABORT ", "ERR internal error", "ERR stored data is damaged",
		"ERR another master"};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strncmp(text, codes[i], strlen(codes[i])) == 0)
			return true;
	return false;
}

/* The stream is at `end`, without a change of data. */
static int
commit_nothing(struct master_stream *s, size_t end, int64_t db, struct sett_error *error)
{
	struct bytes ping = BYTES_LITERAL("PING");
	s->part = (struct stream_part){.bytes = bytes_of(s->bytes, end), .db_before = -1, .db = db};
	return run_committing(s, 1, &ping) ? SETT_OK : failed(s, error);
}

/* What belongs together at the front of the batch, by itself. */
static int
apply_first(struct master_stream *s, struct sett_error *error)
{
	size_t to = 1;
	while (to < s->whole_count && !s->commands[to].begins)
		to++;
	const struct streamed_command *last = &s->commands[to - 1];
	size_t end = last->end;
	s->part = (struct stream_part){.bytes = bytes_of(s->bytes, end), .db_before = -1, .db = last->db};
	int status = SETT_OK;
	if (!run_commands(s, 0, to)) {
		if (to > 1 || is_passing(s->feed.error) || !allegiance_holds(&s->allegiance))
			return failed(s, error);
		log_failure(s, s->arguments[s->commands[0].first_argument]);
		status = commit_nothing(s, end, last->db, error);
	}
	if (status == SETT_OK)
		drop_front(s, end, to);
	return status;
}

static int
apply_batch(struct master_stream *s, struct sett_error *error)
{
	point_arguments(s);
	s->part = (struct stream_part){
		.bytes = bytes_of(s->bytes, s->whole), .db_before = -1, .db = s->whole_db};
	if (run_commands(s, 0, s->whole_count)) {
		drop_front(s, s->whole, s->whole_count);
		return SETT_OK;
	}
	int status = allegiance_holds(&s->allegiance) ? SETT_OK : failed(s, error);
	while (status == SETT_OK && s->whole_count > 0) {
		status = apply_first(s, error);
		point_arguments(s);
	}
	return status;
}

/* What is acknowledged is written. */
static int
write_log(struct master_stream *s, struct sett_error *error)
{
	int status = sett_engine_write(s->server->engine);
	return status == SETT_OK
		? status
		: sett_error_set(error, status, 0, "writing to the log: %s", sett_status_text(status));
}

/* What was parsed is applied, also before what makes no sense. */
static int
apply_parsed(struct master_stream *s, struct sett_error *error)
{
	int status = SETT_OK;
	if (s->whole_count > 0)
		status = apply_batch(s, error);
	else if (s->whole >= BATCH_BYTES)
		status = master_stream_settle(s, error);
	return status == SETT_OK ? write_log(s, error) : status;
}

int
master_stream_apply(struct master_stream *s, struct sett_error *error)
{
	int parsed = SETT_OK, applied = SETT_OK;
	for (bool more = true; more && parsed == SETT_OK && applied == SETT_OK;) {
		struct sett_error failure;
		parsed = parse(s, &more, error);
		applied = apply_parsed(s, &failure);
		if (applied != SETT_OK)
			*error = failure;
	}
	return applied != SETT_OK ? applied : parsed;
}

int
master_stream_settle(struct master_stream *s, struct sett_error *error)
{
	if (s->whole == 0)
		return SETT_OK;
	assert(s->whole_count == 0);
	int status = commit_nothing(s, s->whole, s->whole_db, error);
	if (status == SETT_OK) {
		drop_front(s, s->whole, 0);
		status = write_log(s, error);
	}
	return status;
}
