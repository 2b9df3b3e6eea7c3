/*
 * Random values of every type and size, made on one server, dumped, restored on the other, dumped there and restored on
 * the first: all three must have the same content, and the two that were restored the same encoding. The limits of
 * encodings, the compression, and the size at which Sett spreads a collection, change from round to round.
 *
 *	dump_exchange SERVER REDIS_SERVER [ROUNDS [SEED]]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "server_process.h"
#include "values.h"

enum {
	TIMEOUT_MS = 20000,
	BATCH_ARGUMENTS = 200,
	TEXT_MAX = 20000,
	ENTRY_PAIRS = 3,
	DIFFERENCES_MAX = 10,
	ROUNDS_PER_LIMITS = 20
};

struct side {
	const char *name;
	struct server_process *server;
	struct client *client;
};

struct run {
	struct side reference, subject;
	struct random random;
	size_t rounds, differences, bytes;
};

static uint64_t
below(struct run *run, uint64_t bound)
{
	return random_below(&run->random, bound);
}

/* ---- values ---- */

static size_t
make_integer(struct run *run, char *text)
{
	static const char *const edges[] = {"0",
					    "-1",
					    "127",
					    "128",
					    "-128",
					    "-129",
					    "4095",
					    "4096",
					    "-4096",
					    "-4097",
					    "32767",
					    "32768",
					    "8388607",
					    "-8388609",
					    "2147483647",
					    "-2147483649",
					    "9223372036854775807",
					    "-9223372036854775808",
					    "9223372036854775808",
					    "007"};
	if (below(run, 2) == 0)
		return (size_t)snprintf(text, TEXT_MAX, "%s",
					edges[below(run, sizeof(edges) / sizeof(edges[0]))]);
	int64_t number = (int64_t)(random_next(&run->random) >> below(run, 64));
	return (size_t)snprintf(text, TEXT_MAX, "%lld", (long long)(below(run, 2) == 0 ? number : -number));
}

/* Sizes around those at which the form of an element changes come often; some texts can be compressed. */
static size_t
make_text(struct run *run, char *text)
{
	static const size_t edges[] = {0,   1,   20,  21,   62,   63,   64,    65,   124,
				       126, 253, 254, 4090, 4095, 4096, 16378, 16379};
	size_t size = (size_t)below(run, 24);
	if (below(run, 6) == 0)
		size = (size_t)below(run, 200);
	if (below(run, 40) == 0)
		size = edges[below(run, sizeof(edges) / sizeof(edges[0]))];
	uint64_t letters = below(run, 3) == 0 ? 256 : 1 + below(run, 3);
	for (size_t i = 0; i < size; i++)
		text[i] = (char)('a' + below(run, letters));
	return size;
}

static size_t
make_element(struct run *run, char *text)
{
	return below(run, 3) == 0 ? make_integer(run, text) : make_text(run, text);
}

/* Not -0, which Sett keeps as 0. */
static size_t
make_score(struct run *run, char *text)
{
	static const char *const odd[] = {
		"inf", "-inf", "0", "1e300", "5e-324", "0.1", "-123456789012345680"};
	switch (below(run, 3)) {
	case 0:
		return (size_t)snprintf(text, TEXT_MAX, "%d", (int)below(run, 2000) - 1000);
	case 1:
		return (size_t)snprintf(text, TEXT_MAX, "%.17g", ((double)below(run, 1000000) - 500000) / 7);
	default:
		return (size_t)snprintf(text, TEXT_MAX, "%s", odd[below(run, sizeof(odd) / sizeof(odd[0]))]);
	}
}

struct type {
	const char *add;                                  /* ADD key argument ... */
	size_t (*arguments[2])(struct run *, char *text); /* of one element; the second may be NULL */
	const char *read[6];                              /* "%" stands for the key */
	bool is_single;                                   /* one element is the value */
	void (*make)(struct run *, struct side *);        /* in another way, or NULL */
};

static void make_stream(struct run *run, struct side *side);

static const struct type types[] = {
	{"SET", {make_element}, {"GET", "%"}, true},
	{"HSET", {make_element, make_element}, {"HGETALL", "%"}, false},
	{"SADD", {make_element}, {"SMEMBERS", "%"}, false},
	{"SADD", {make_integer}, {"SMEMBERS", "%"}, false},
	{"RPUSH", {make_element}, {"LRANGE", "%", "0", "-1"}, false},
	{"RPUSH", {make_integer}, {"LRANGE", "%", "0", "-1"}, false},
	{"ZADD", {make_score, make_element}, {"ZRANGE", "%", "0", "-1", "WITHSCORES"}, false},
	{.read = {"XINFO", "STREAM", "%", "FULL", "COUNT", "0"}, .make = make_stream},
};

static struct reply *
call(struct side *side, size_t argc, const char *const *argv, const size_t *sizes)
{
	struct reply *reply = client_call(side->client, argc, argv, sizes);
	if (reply == NULL || reply->type == '-') {
		printf("%s: %s: %s\n", side->name, argv[0],
		       reply != NULL ? reply->text : client_error(side->client));
		exit(1);
	}
	return reply;
}

/* One command with several elements. */
static void
add_elements(struct run *run, struct side *side, const struct type *type, size_t count)
{
	static char texts[BATCH_ARGUMENTS][TEXT_MAX];
	const char *argv[2 + BATCH_ARGUMENTS] = {type->add, "k"};
	size_t sizes[2 + BATCH_ARGUMENTS] = {strlen(type->add), 1}, argc = 2;
	for (size_t i = 0; i < count; i++)
		for (size_t part = 0; part < 2 && type->arguments[part] != NULL; part++) {
			argv[argc] = texts[argc - 2];
			sizes[argc] = type->arguments[part](run, texts[argc - 2]);
			argc++;
		}
	reply_free(call(side, argc, argv, sizes));
}

static void
make_value(struct run *run, struct side *side, const struct type *type)
{
	uint64_t size = 1 + below(run, 8);
	if (type->make != NULL) {
		type->make(run, side);
		return;
	}
	if (below(run, 3) == 0)
		size = 1 + below(run, 150);
	if (below(run, 12) == 0)
		size = 1 + below(run, 2000);
	if (type->is_single)
		size = 1;
	while (size > 0) {
		size_t count = size < BATCH_ARGUMENTS / 2 ? (size_t)size : BATCH_ARGUMENTS / 2;
		add_elements(run, side, type, count);
		size -= count;
	}
}

/* ---- streams ---- */

/* Most entries have the names of the entry before. */
static void
add_entry(struct run *run, struct side *side, const char *id)
{
	static char texts[2 * ENTRY_PAIRS][TEXT_MAX];
	static size_t sizes[3 + 2 * ENTRY_PAIRS], pairs;
	const char *argv[3 + 2 * ENTRY_PAIRS] = {"XADD", "k", id};
	bool new_names = pairs == 0 || below(run, 5) == 0;
	if (new_names)
		pairs = 1 + (size_t)below(run, ENTRY_PAIRS);
	sizes[0] = 4;
	sizes[1] = 1;
	sizes[2] = strlen(id);
	for (size_t i = 0; i < 2 * pairs; i++) {
		if (new_names || i % 2 == 1)
			sizes[3 + i] = make_element(run, texts[i]);
		argv[3 + i] = texts[i];
	}
	reply_free(call(side, 3 + 2 * pairs, argv, sizes));
}

/* The words end with a NULL. */
static void
call_words(struct side *side, const char *const *words)
{
	size_t argc = 0;
	while (words[argc] != NULL)
		argc++;
	reply_free(call(side, argc, words, NULL));
}

static const char *
any_id(struct run *run, uint64_t entries, char room[64])
{
	snprintf(room, 64, "5-%llu", (unsigned long long)below(run, entries + 1));
	return room;
}

static void
make_group(struct run *run, struct side *side, const char *name, uint64_t entries)
{
	char id[64], count[32];
	call_words(side,
		   (const char *[]){"XGROUP", "CREATE", "k", name,
				    below(run, 2) == 0 ? "0" : any_id(run, entries, id), NULL});
	for (uint64_t reads = below(run, 5); reads > 0; reads--) {
		snprintf(count, sizeof(count), "%llu", (unsigned long long)below(run, entries + 1) + 1);
		call_words(side,
			   (const char *[]){"XREADGROUP", "GROUP", name, reads % 2 == 0 ? "even" : "odd",
					    "COUNT", count, "STREAMS", "k", ">", NULL});
	}
	for (uint64_t acks = below(run, 10); acks > 0; acks--)
		call_words(side, (const char *[]){"XACK", "k", name, any_id(run, entries, id), NULL});
	if (below(run, 3) == 0)
		call_words(side, (const char *[]){"XGROUP", "CREATECONSUMER", "k", name, "none", NULL});
}

static void
make_stream(struct run *run, struct side *side)
{
	char id[64];
	uint64_t entries = below(run, 10), jump = below(run, 3) == 0 ? UINT64_MAX / 4000 : 1;
	if (below(run, 4) == 0)
		entries = below(run, 1000);
	for (uint64_t i = 0; i < entries; i++) {
		if (jump == 1)
			snprintf(id, sizeof(id), "5-%llu", (unsigned long long)i + 1);
		else
			snprintf(id, sizeof(id), "%llu-%llu", (unsigned long long)((i + 1) * jump),
				 (unsigned long long)(below(run, 2) * (UINT64_MAX - below(run, 1000))));
		add_entry(run, side, id);
	}
	if (entries == 0) {
		call_words(side, (const char *[]){"XGROUP", "CREATE", "k", "first", "$", "MKSTREAM", NULL});
		return;
	}
	for (uint64_t deletions = below(run, 1 + entries / 3); deletions > 0; deletions--)
		call_words(side, (const char *[]){"XDEL", "k", any_id(run, entries, id), NULL});
	make_group(run, side, "a", entries);
	if (below(run, 3) == 0)
		make_group(run, side, "longer:name", entries);
}

/* ---- exchange ---- */

static struct reply *
dump(struct side *side, const char *key)
{
	const char *argv[] = {"DUMP", key};
	struct reply *reply = call(side, 2, argv, NULL);
	if (reply->type != '$' || reply->size == 0) {
		printf("%s: no payload\n", side->name);
		exit(1);
	}
	return reply;
}

/* Each in one line; the caller frees it. */
static char *
describe_content(struct side *side, const struct type *type, const char *key)
{
	const char *read[6];
	size_t argc = 0;
	for (; argc < 6 && type->read[argc] != NULL; argc++)
		read[argc] = strcmp(type->read[argc], "%") == 0 ? key : type->read[argc];
	struct reply *content = call(side, argc, read, NULL);
	if (argc == 2)
		reply_sort(content, 0);
	/* How it is laid out. */
	reply_remove(content, "radix-tree-keys");
	reply_remove(content, "radix-tree-nodes");
	char *text = reply_render(content);
	reply_free(content);
	return text;
}

static char *
describe_encoding(struct side *side, const char *key)
{
	const char *encoding[] = {"OBJECT", "ENCODING", key};
	struct reply *reply = call(side, 3, encoding, NULL);
	char *text = reply_render(reply);
	reply_free(reply);
	return text;
}

static void
restore(struct side *side, const char *key, const struct reply *payload)
{
	const char *argv[] = {"RESTORE", key, "0", payload->text, "REPLACE"};
	size_t sizes[] = {7, strlen(key), 1, payload->size, 7};
	reply_free(call(side, 5, argv, sizes));
}

static void
compare(struct run *run, const char *what, const char *expected, char *found)
{
	if (strcmp(expected, found) != 0) {
		size_t same = 0;
		while (expected[same] != 0 && expected[same] == found[same])
			same++;
		same = same > 40 ? same - 40 : 0;
		run->differences++;
		printf("round %zu, %s: from byte %zu on\n  made:  %.400s\n  found: %.400s\n", run->rounds,
		       what, same, expected + same, found + same);
	}
	free(found);
}

static void
exchange(struct run *run, struct side *from, struct side *to, const struct type *type)
{
	const char *del[] = {"DEL", "k"};
	reply_free(call(from, 2, del, NULL));
	make_value(run, from, type);
	char *made = describe_content(from, type, "k");
	struct reply *there = dump(from, "k");
	restore(to, "there", there);
	compare(run, "restored by the other", made, describe_content(to, type, "there"));
	struct reply *back = dump(to, "there");
	restore(from, "back", back);
	compare(run, "restored from the other's dump", made, describe_content(from, type, "back"));
	/* That of what was made depends on what was there before its elements got their last values. */
	char *encoding = describe_encoding(to, "there");
	compare(run, "encoding", encoding, describe_encoding(from, "back"));
	free(encoding);
	run->bytes += there->size + back->size;
	reply_free(there);
	reply_free(back);
	free(made);
}

/* ---- limits ---- */

static void
configure(struct side *side, const char *directive, const char *value)
{
	const char *argv[] = {"CONFIG", "SET", directive, value};
	reply_free(call(side, 4, argv, NULL));
}

static void
configure_both(struct run *run, const char *directive, const char *value)
{
	configure(&run->reference, directive, value);
	configure(&run->subject, directive, value);
}

static void
choose_limits(struct run *run)
{
	static const char *const sizes[] = {"-1", "-2", "-5", "1", "128"};
	static const char *const entries[] = {"2", "16", "128", "512"}, *const values[] = {"8", "64", "200"};
	configure(&run->subject, "packed-max-size", below(run, 2) == 0 ? "64" : "1000");
	configure(&run->subject, "rdbcompression", below(run, 2) == 0 ? "yes" : "no");
	configure(&run->reference, "rdbcompression", below(run, 2) == 0 ? "yes" : "no");
	configure(&run->reference, "list-max-listpack-size", sizes[below(run, 5)]);
	configure_both(run, "hash-max-listpack-entries", entries[below(run, 4)]);
	configure_both(run, "hash-max-listpack-value", values[below(run, 3)]);
	configure_both(run, "zset-max-listpack-entries", entries[below(run, 4)]);
	configure_both(run, "zset-max-listpack-value", values[below(run, 3)]);
	configure_both(run, "set-max-intset-entries", entries[below(run, 4)]);
}

/* In RESP3, where the fields of a hash are pairs. */
static bool
connect_side(struct side *side, const char *path, const char *name)
{
	*side = (struct side){.name = name, .server = server_process_start(path, NULL, NULL)};
	if (side->server != NULL)
		side->client = client_connect(server_process_port(side->server), TIMEOUT_MS);
	if (side->client == NULL)
		return false;
	reply_free(client_command(side->client, "HELLO", "3", NULL));
	return true;
}

int
main(int argc, char **argv)
{
	size_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 2000;
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
	struct run run = {.random = {.state = seed}};

	if (argc < 3) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER [ROUNDS [SEED]]\n", argv[0]);
		return 2;
	}
	bool up = connect_side(&run.subject, argv[1], "subject") &&
		connect_side(&run.reference, argv[2], "reference");
	for (; up && run.rounds < rounds && run.differences < DIFFERENCES_MAX; run.rounds++) {
		const struct type *type = &types[below(&run, sizeof(types) / sizeof(types[0]))];
		if (run.rounds % ROUNDS_PER_LIMITS == 0)
			choose_limits(&run);
		if (below(&run, 2) == 0)
			exchange(&run, &run.subject, &run.reference, type);
		else
			exchange(&run, &run.reference, &run.subject, type);
	}
	printf("seed %llu: %zu values, %zu bytes of payloads, %zu differences\n", (unsigned long long)seed,
	       run.rounds, run.bytes, run.differences);
	client_close(run.subject.client);
	client_close(run.reference.client);
	server_process_free(run.subject.server, !up || run.differences > 0);
	server_process_free(run.reference.server, false);
	return up && run.differences == 0 ? 0 : 1;
}
