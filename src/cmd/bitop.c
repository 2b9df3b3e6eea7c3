/* BITOP: a string whose bits are made of those of other strings. All are read side by side, a piece of each in memory
 * at a time, as if zero bytes followed the shorter ones. DIFF, DIFF1, ANDOR and ONE are those of Redis 8.2
 * (redis.io/commands/bitop). */
#include "cmd/bits.h"
#include "cmd/commands.h"
#include "txn/propagation.h"

enum { PIECE_SIZE = 64 * 1024, PIECE_WORDS = PIECE_SIZE / 8 };

enum bit_operation { OP_AND, OP_OR, OP_XOR, OP_NOT, OP_DIFF, OP_DIFF1, OP_ANDOR, OP_ONE };

struct operation_word {
	char word[6];
	enum bit_operation operation;
	unsigned least, most; /* sources; 0: any number */
};

static const struct operation_word operation_words[] = {
	{"AND", OP_AND, 0, 0},   {"OR", OP_OR, 0, 0},       {"XOR", OP_XOR, 0, 0},     {"NOT", OP_NOT, 0, 1},
	{"DIFF", OP_DIFF, 2, 0}, {"DIFF1", OP_DIFF1, 2, 0}, {"ANDOR", OP_ANDOR, 2, 0}, {"ONE", OP_ONE, 0, 0},
};

/* ---- words ---- */

/* What is known of one piece after some of the sources. */
struct piece {
	uint64_t result[PIECE_WORDS];
	uint64_t aside[PIECE_WORDS]; /* DIFF, DIFF1, ANDOR: the first source. ONE: bits seen more than once */
	uint64_t source[PIECE_WORDS];
};

static void
take_first(struct piece *p, enum bit_operation operation, size_t words)
{
	bool is_aside = operation == OP_DIFF || operation == OP_DIFF1 || operation == OP_ANDOR;
	memcpy(is_aside ? p->aside : p->result, p->source, words * 8);
	memset(is_aside ? p->result : p->aside, 0, words * 8);
}

static void
take_next(struct piece *p, enum bit_operation operation, size_t words)
{
	uint64_t *restrict result = p->result, *restrict aside = p->aside;
	const uint64_t *restrict source = p->source;
	switch (operation) {
	case OP_AND:
		for (size_t i = 0; i < words; i++)
			result[i] &= source[i];
		break;
	case OP_XOR:
		for (size_t i = 0; i < words; i++)
			result[i] ^= source[i];
		break;
	case OP_ONE:
		for (size_t i = 0; i < words; i++)
			aside[i] |= result[i] & source[i];
		__attribute__((fallthrough));
	default:
		for (size_t i = 0; i < words; i++)
			result[i] |= source[i];
	}
}

static void
finish_piece(struct piece *p, enum bit_operation operation, size_t words)
{
	uint64_t *restrict result = p->result;
	const uint64_t *restrict aside = p->aside;
	/* Of DIFF, DIFF1 and ANDOR the result is the union of all sources but the first by now. */
	for (size_t i = 0; operation == OP_NOT && i < words; i++)
		result[i] = ~result[i];
	for (size_t i = 0; operation == OP_DIFF && i < words; i++)
		result[i] = aside[i] & ~result[i];
	for (size_t i = 0; operation == OP_ANDOR && i < words; i++)
		result[i] &= aside[i];
	for (size_t i = 0; (operation == OP_DIFF1 || operation == OP_ONE) && i < words; i++)
		result[i] &= ~aside[i];
}

/* ---- strings ---- */

struct bit_work {
	enum bit_operation operation;
	const struct key *sources;
	size_t count;
	uint64_t size; /* of the result */
	struct piece *piece;
	uint8_t *value; /* where the result goes; NULL: to `writer` */
	struct sett_body_writer *writer;
	struct sett_error error;
};

/* Makes the `size` bytes of the result from `at` on. */
static int
make_piece(struct bit_work *w, uint64_t at, size_t size)
{
	size_t words = (size + 7) / 8;
	for (size_t i = 0; i < w->count; i++) {
		const struct key *k = &w->sources[i];
		uint64_t left = string_size(k) > at ? string_size(k) - at : 0;
		size_t part = left < size ? (size_t)left : size;
		int status = part > 0 ? key_body_part(k, at, part, w->piece->source) : SETT_OK;
		if (status != SETT_OK)
			return status;
		memset((uint8_t *)w->piece->source + part, 0, words * 8 - part);
		if (i == 0)
			take_first(w->piece, w->operation, words);
		else
			take_next(w->piece, w->operation, words);
	}
	finish_piece(w->piece, w->operation, words);
	return SETT_OK;
}

static int
make_result(struct bit_work *w)
{
	int status = SETT_OK;
	for (uint64_t at = 0; status == SETT_OK && at < w->size; at += PIECE_SIZE) {
		size_t size = w->size - at < PIECE_SIZE ? (size_t)(w->size - at) : PIECE_SIZE;
		status = make_piece(w, at, size);
		if (status != SETT_OK)
			break;
		if (w->value != NULL)
			memcpy(w->value + at, w->piece->result, size);
		else
			status = sett_body_writer_append(w->writer, w->piece->result, size, &w->error);
	}
	if (status == SETT_OK && w->value == NULL)
		status = sett_body_writer_finish(w->writer, &w->error);
	return status;
}

/* Redis 7.0 does not know the operations of 8.2: its replicas are told of what they made. */
static int
propagate_result(struct command_context *c, const struct key *target, const struct bit_work *w)
{
	if (!is_propagated(c) || w->operation < OP_DIFF)
		return SETT_OK;
	if (w->value != NULL) {
		struct bytes value =
			bytes_of(arena_copy(c->arena, w->value, (size_t)w->size), (size_t)w->size);
		return propagate(c, "SET", target->name, value);
	}
	struct bytes *argv = arena_allocate(c->arena, 3 * sizeof(*argv), _Alignof(struct bytes));
	struct argument_body *body = arena_allocate(c->arena, sizeof(*body), _Alignof(struct argument_body));
	if (argv == NULL || body == NULL)
		return SETT_NO_MEMORY;
	argv[0] = BYTES_LITERAL("SET");
	argv[1] = target->name;
	argv[2] = (struct bytes){0};
	*body = (struct argument_body){.index = 2, .size = w->size, .body = w->writer};
	propagate_nothing(c); /* else */
	return keyspace_add_command(&c->view, c->db, 3, argv, body);
}

/* Makes the result in memory, or in pieces on the disk, and puts it. */
static int
put_result(struct command_context *c, struct key *target, struct bit_work *w)
{
	int status = SETT_OK;
	if (w->size >= CONTEXT_STREAM_MIN && key_takes_body(target->name))
		status = context_make_body(c, w->size, &w->writer);
	else if ((w->value = malloc((size_t)w->size)) == NULL)
		status = SETT_NO_MEMORY;
	if (status != SETT_OK)
		return status;
	w->piece = malloc(sizeof(*w->piece));
	status = w->piece != NULL ? make_result(w) : SETT_NO_MEMORY;
	if (status == SETT_OK && w->value != NULL)
		status = key_put_encoded(target, bytes_of(w->value, (size_t)w->size), STRING_RAW, 0);
	else if (status == SETT_OK)
		status = key_put_body(target, w->writer, 0);
	if (status == SETT_OK)
		status = propagate_result(c, target, w);
	if (status != SETT_OK && w->error.message[0] != 0)
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "A value cannot be made: %s",
				w->error.message);
	free(w->piece);
	free(w->value);
	return status;
}

/* ---- the command ---- */

static bool
parse_operation(struct command_context *c, enum bit_operation *ret)
{
	const struct operation_word *found = NULL;
	size_t sources = c->argc - 3;
	for (size_t i = 0; i < sizeof(operation_words) / sizeof(operation_words[0]); i++)
		if (argument_is(c->argv[1], operation_words[i].word))
			found = &operation_words[i];
	if (found == NULL)
		context_syntax_error(c);
	else if (found->most != 0 && sources > found->most)
		context_errorf(c, "ERR BITOP %s must be called with a single source key.", found->word);
	else if (sources < found->least)
		context_errorf(c, "ERR BITOP %s must be called with at least two source keys.", found->word);
	else
		*ret = found->operation;
	return !c->failed;
}

static int
open_sources(struct command_context *c, struct bit_work *w)
{
	struct key *keys = arena_allocate(c->arena, w->count * sizeof(*keys), _Alignof(struct key));
	if (keys == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < w->count; i++) {
		int status = open_read_string(c, c->argv[3 + i], &keys[i]);
		if (status != SETT_OK)
			return status;
		if (w->size < string_size(&keys[i]))
			w->size = string_size(&keys[i]);
	}
	w->sources = keys;
	return SETT_OK;
}

static int
delete_target(struct command_context *c, struct key *target)
{
	int status = tell_deleted(key_delete(target), target);
	return status == SETT_OK ? propagate(c, "DEL", target->name) : status;
}

int
command_bitop(struct command_context *c)
{
	struct bit_work w = {.count = c->argc - 3};
	struct key target;
	if (!parse_operation(c, &w.operation))
		return OUTCOME_FAILED;
	int status = open_sources(c, &w);
	if (status == SETT_OK)
		status = open_key(c, c->argv[2], &target);
	if (status == SETT_OK && w.size * w.count >= CONTEXT_LONG_MIN)
		status = context_enter_long_lane(c);
	if (status != SETT_OK)
		return status;
	bool existed = target.exists;
	if (w.size > 0)
		status = tell_stored(put_result(c, &target, &w), &target, existed, VALUE_STRING, "set");
	else if (existed)
		status = delete_target(c, &target);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)w.size);
	return status;
}
