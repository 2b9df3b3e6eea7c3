/* Conditions on values, and the commands that are made of them: DIGEST and DELEX. */
#include "cmd/string_conditions.h"

#include <inttypes.h>
#include <stdio.h>

#include "cmd/bits.h"
#include "cmd/commands.h"
#include "storage/base/hash.h"
#include "txn/propagation.h"

enum { DIGEST_DIGITS = 16 };

struct condition_word {
	char word[6];
	enum string_condition_kind kind;
};

static const struct condition_word condition_words[] = {
	{"IFEQ", CONDITION_EQUAL},
	{"IFNE", CONDITION_DIFFERENT},
	{"IFDEQ", CONDITION_DIGEST_EQUAL},
	{"IFDNE", CONDITION_DIGEST_DIFFERENT},
};

enum string_condition_kind
string_condition_of(struct bytes word)
{
	for (size_t i = 0; i < sizeof(condition_words) / sizeof(condition_words[0]); i++)
		if (argument_is(word, condition_words[i].word))
			return condition_words[i].kind;
	return CONDITION_NONE;
}

/* ---- values ---- */

static int
value_is(struct command_context *c, const struct key *k, struct bytes operand, bool *ret)
{
	struct string_pieces pieces;
	struct bytes piece;
	size_t at = 0;
	*ret = false;
	if (k->root.body_size != operand.size)
		return SETT_OK;
	int status = string_pieces_begin(c, k, 0, operand.size, &pieces);
	while (status == SETT_OK && at < operand.size) {
		status = string_pieces_next(c, &pieces, &piece);
		if (status != SETT_OK || memcmp(operand.data + at, piece.data, piece.size) != 0)
			break;
		at += piece.size;
	}
	string_pieces_end(&pieces);
	*ret = at == operand.size;
	return status;
}

static int
hash_pieces(struct command_context *c, struct string_pieces *pieces, struct hash64_stream *stream)
{
	struct bytes piece;
	int status;
	hash64_stream_reset(stream, 0);
	do {
		status = string_pieces_next(c, pieces, &piece);
		if (status == SETT_OK)
			hash64_stream_update(stream, piece.data, piece.size);
	} while (status == SETT_OK && piece.size > 0);
	return status;
}

/* XXH3 of the value, 64 bits, in hexadecimal digits. */
static int
digest_of(struct command_context *c, const struct key *k, char ret[DIGEST_DIGITS + 1])
{
	struct string_pieces pieces;
	uint64_t hash = 0;
	int status = string_pieces_begin(c, k, 0, k->root.body_size, &pieces);
	if (status == SETT_OK && pieces.buffer == NULL) {
		struct bytes value;
		status = key_body(k, &value);
		if (status == SETT_OK)
			hash = hash64_bytes(value, 0);
	} else if (status == SETT_OK) {
		struct hash64_stream *stream = hash64_stream_create();
		status = stream != NULL ? hash_pieces(c, &pieces, stream) : SETT_NO_MEMORY;
		if (status == SETT_OK)
			hash = hash64_stream_digest(stream);
		hash64_stream_free(stream);
	}
	string_pieces_end(&pieces);
	if (status == SETT_OK)
		snprintf(ret, DIGEST_DIGITS + 1, "%016" PRIx64, hash);
	return status;
}

static int
digest_is(struct command_context *c, const struct key *k, struct bytes operand, bool *ret)
{
	char digest[DIGEST_DIGITS + 1];
	if (operand.size != DIGEST_DIGITS)
		return context_error(c, "ERR must be exactly 16 hexadecimal characters");
	int status = digest_of(c, k, digest);
	if (status == SETT_OK)
		*ret = argument_is(operand, digest);
	return status;
}

int
string_condition_holds(struct command_context *c, const struct key *k,
		       const struct string_condition *condition, bool *ret)
{
	enum string_condition_kind kind = condition->kind;
	bool by_value = kind == CONDITION_EQUAL || kind == CONDITION_DIFFERENT, same = false;
	int status = by_value ? value_is(c, k, condition->operand, &same)
			      : digest_is(c, k, condition->operand, &same);
	if (status == SETT_OK)
		*ret = same == (kind == CONDITION_EQUAL || kind == CONDITION_DIGEST_EQUAL);
	return status;
}

/* ---- the commands ---- */

int
command_digest(struct command_context *c)
{
	char digest[DIGEST_DIGITS + 1];
	struct key k;
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) {
		resp_null(c->reply);
		return SETT_OK;
	}
	status = digest_of(c, &k, digest);
	if (status == SETT_OK)
		resp_bulk(c->reply, digest, DIGEST_DIGITS);
	return status;
}

/* Whether DELEX may delete the key, which exists. */
static int
may_delete(struct command_context *c, const struct key *k, bool *ret)
{
	struct string_condition condition;
	*ret = true;
	if (c->argc == 2)
		return SETT_OK;
	if (k->root.type != VALUE_STRING)
		return context_error(c, "ERR Key should be of string type if conditions are specified");
	condition = (struct string_condition){.kind = string_condition_of(c->argv[2]), .operand = c->argv[3]};
	if (condition.kind == CONDITION_NONE)
		return context_error(c, "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
	return string_condition_holds(c, k, &condition, ret);
}

int
command_delex(struct command_context *c)
{
	struct key k;
	bool go = false;
	if (c->argc != 2 && c->argc != 4)
		return context_wrong_arity(c);
	int status = open_key(c, c->argv[1], &k);
	if (status == SETT_OK && k.exists)
		status = may_delete(c, &k, &go);
	if (status == SETT_OK && go)
		status = tell_deleted(key_delete(&k), &k);
	if (status == SETT_OK && go)
		status = propagate(c, "DEL", k.name);
	if (status == SETT_OK)
		resp_integer(c->reply, go);
	return status;
}

/* DELEX reads its key only with a condition. */
int
key_rule_of_delex(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	(void)argv;
	ret[0] = (struct command_key){
		.position = 1, .flags = argc == 2 ? KEY_RM | KEY_DELETE : KEY_RW | KEY_ACCESS | KEY_DELETE};
	*ret_count = 1;
	return SETT_OK;
}
