/*
 * Fuzz target of resp/: any bytes, taken as requests and as replies. They are parsed once whole and once in
 * pieces (cut where the bytes themselves say, from a buffer that moves each time); both ways must tell the
 * same, and no result may point outside the bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resp/parser.h"
#include "resp/reply_reader.h"

#define ARGUMENTS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

/* FNV-1a over everything that was told. */
static void
mix(uint64_t *hash, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		*hash = (*hash ^ at[i]) * 1099511628211u;
}

static void
mix_number(uint64_t *hash, uint64_t number)
{
	mix(hash, &number, sizeof(number));
}

/* Where the next piece ends: pseudo-random, from the position alone. */
static size_t
next_cut(size_t at, size_t size, bool pieces)
{
	size_t step = 1 + (at * 2654435761u >> 7) % 23;

	return !pieces || size - at < step ? size : at + step;
}

static void
note_request(uint64_t *hash, const struct resp_parser *parser, const uint8_t *data, size_t size)
{
	check(parser->consumed > 0 && parser->consumed <= size);
	mix_number(hash, parser->consumed);
	mix_number(hash, parser->argc);
	for (size_t i = 0; i < parser->argc; i++) {
		const struct resp_argument *argument = &parser->arguments[i];
		check(argument->offset <= parser->consumed);
		check(argument->size <= parser->consumed - argument->offset);
		mix_number(hash, argument->size);
		mix(hash, data + argument->offset, argument->size);
	}
}

static uint64_t
hash_requests(const uint8_t *bytes, size_t size, bool pieces)
{
	static struct resp_argument arguments[ARGUMENTS_MAX];
	struct resp_parser parser;
	uint8_t *buffer = malloc(1);
	size_t start = 0, have = 0; /* bytes[start .. have) are in the buffer, inline requests unescaped */
	uint64_t hash = 14695981039346656037u;

	resp_parser_init(&parser);
	parser.bulk_max = 1 << 16;
	parser.unauthenticated = size > 0 && bytes[size - 1] == 'u';
	parser.arguments = arguments;
	check(buffer != NULL);
	for (;;) {
		enum resp_result result = resp_parse(&parser, buffer, have - start);
		if (result == RESP_NEED_ARGUMENTS) {
			check(parser.arguments_needed > parser.argument_capacity);
			if (parser.arguments_needed > ARGUMENTS_MAX)
				break;
			parser.argument_capacity = parser.arguments_needed;
		} else if (result == RESP_REQUEST) {
			note_request(&hash, &parser, buffer, have - start);
			start += parser.consumed;
			memmove(buffer, buffer + parser.consumed, have - start);
		} else if (result == RESP_ERROR) {
			mix(&hash, parser.error, strlen(parser.error));
			break;
		} else {
			check(parser.missing > 0);
			if (have == size)
				break;
			size_t cut = next_cut(have, size, pieces);
			uint8_t *moved = malloc(cut - start);
			check(moved != NULL);
			memcpy(moved, buffer, have - start);
			memcpy(moved + (have - start), bytes + have, cut - have);
			free(buffer);
			buffer = moved;
			have = cut;
		}
	}
	free(buffer);
	return hash;
}

static int
mix_scalar(void *context, const struct resp_scalar *scalar)
{
	mix_number(context, scalar->type);
	mix_number(context, (uint64_t)scalar->integer);
	mix(context, scalar->text, scalar->size);
	return 0;
}

static int
mix_open(void *context, enum resp_reply_type type, int64_t count)
{
	mix_number(context, type);
	mix_number(context, (uint64_t)count);
	return 0;
}

static int
mix_close(void *context, enum resp_reply_type type)
{
	mix_number(context, type);
	return 0;
}

static int
mix_data(void *context, const uint8_t *data, size_t size)
{
	mix(context, data, size);
	return 0;
}

static uint64_t
hash_replies(const uint8_t *bytes, size_t size, bool pieces)
{
	static struct resp_reply_reader reader;
	uint64_t hash = 14695981039346656037u;
	struct resp_visitor visitor = {.context = &hash,
				       .scalar = mix_scalar,
				       .open = mix_open,
				       .close = mix_close,
				       .bulk_begin = mix_open,
				       .bulk_data = mix_data,
				       .bulk_end = mix_close};
	size_t start = 0, have = 0, consumed;

	resp_reader_init(&reader, &visitor);
	for (;;) {
		uint8_t *copy = malloc(have - start + 1);
		check(copy != NULL);
		memcpy(copy, bytes + start, have - start);
		enum resp_reader_result result = resp_reader_feed(&reader, copy, have - start, &consumed);
		free(copy);
		check(consumed <= have - start);
		check(reader.depth <= RESP_REPLY_DEPTH_MAX);
		start += consumed;
		if (result == RESP_READER_ERROR)
			mix(&hash, reader.error, strlen(reader.error));
		if (result == RESP_READER_REPLY)
			mix_number(&hash, result);
		else if (result != RESP_READER_NEED_MORE || have == size)
			break;
		else
			have = next_cut(have, size, pieces);
	}
	return hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(hash_requests(data, size, false) == hash_requests(data, size, true));
	check(hash_replies(data, size, false) == hash_replies(data, size, true));
	return 0;
}
