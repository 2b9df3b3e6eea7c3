/*
 * Random values of every type and size, made on one server, dumped, restored on the other, dumped there and restored on
 * the first: all three must have the same content, and the two that were restored the same encoding. The limits of
 * encodings, the compression, and the size at which Sett spreads a collection, change from lot to lot. The values of a lot
 * take each step together, in one pipeline.
 *
 *	dump_exchange SERVER REDIS_SERVER [VALUES [SEED]]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "server_process.h"
#include "values.h"

enum {
	TIMEOUT_MS = 180000,
	BATCH_ARGUMENTS = 200,
	TEXT_MAX = 20000,
	ENTRY_PAIRS = 3,
	DIFFERENCES_MAX = 10,
	LOT = 20,
	NAME_MAX_SIZE = 16
};

struct side {
	const char *name;
	struct server_process *server;
	struct client *client;
	size_t unheard; /* replies to what it was told */
};

struct run {
	struct side reference, subject;
	struct random random;
	char key[NAME_MAX_SIZE]; /* of the value that is being made */
	size_t values, differences, bytes;
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

/* Of a sorted set. Long ones do not begin alike: with one score, Sett has those in the order of their hashes. */
static size_t
make_member(struct run *run, char *text)
{
	enum { LONG = 8192, BEGINNING = 16 };
	size_t size = make_element(run, text);
	for (size_t i = 0; size > LONG && i < BEGINNING; i++)
		text[i] = (char)('a' + below(run, 26));
	return size;
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
	{"ZADD", {make_score, make_member}, {"ZRANGE", "%", "0", "-1", "WITHSCORES"}, false},
	{.read = {"XINFO", "STREAM", "%", "FULL", "COUNT", "0"}, .make = make_stream},
};

/* Queued, with its reply still to be heard. */
static void
tell(struct side *side, size_t argc, const char *const *argv, const size_t *sizes)
{
	client_append(side->client, argc, argv, sizes);
	side->unheard++;
}

/* The next reply, which must be no error. */
static struct reply *
hear(struct side *side)
{
	struct reply *reply = client_read(side->client);
	if (reply == NULL || reply->type == '-') {
		printf("%s: %s\n", side->name, reply != NULL ? reply->text : client_error(side->client));
		exit(1);
	}
	side->unheard--;
	return reply;
}

static void
hear_all(struct side *side)
{
	while (side->unheard > 0)
		reply_free(hear(side));
}

/* One command with several elements. */
static void
add_elements(struct run *run, struct side *side, const struct type *type, size_t count)
{
	static char texts[BATCH_ARGUMENTS][TEXT_MAX];
	const char *argv[2 + BATCH_ARGUMENTS] = {type->add, run->key};
	size_t sizes[2 + BATCH_ARGUMENTS] = {strlen(type->add), strlen(run->key)}, argc = 2;
	for (size_t i = 0; i < count; i++)
		for (size_t part = 0; part < 2 && type->arguments[part] != NULL; part++) {
			argv[argc] = texts[argc - 2];
			sizes[argc] = type->arguments[part](run, texts[argc - 2]);
			argc++;
		}
	tell(side, argc, argv, sizes);
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
	if (below(run, 60) == 0)
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
	const char *argv[3 + 2 * ENTRY_PAIRS] = {"XADD", run->key, id};
	bool new_names = pairs == 0 || below(run, 5) == 0;
	if (new_names)
		pairs = 1 + (size_t)below(run, ENTRY_PAIRS);
	sizes[0] = 4;
	sizes[1] = strlen(run->key);
	sizes[2] = strlen(id);
	for (size_t i = 0; i < 2 * pairs; i++) {
		if (new_names || i % 2 == 1)
			sizes[3 + i] = make_element(run, texts[i]);
		argv[3 + i] = texts[i];
	}
	tell(side, 3 + 2 * pairs, argv, sizes);
}

/* The words end with a NULL. */
static void
tell_words(struct side *side, const char *const *words)
{
	size_t argc = 0;
	while (words[argc] != NULL)
		argc++;
	tell(side, argc, words, NULL);
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
	tell_words(side,
		   (const char *[]){"XGROUP", "CREATE", run->key, name,
				    below(run, 2) == 0 ? "0" : any_id(run, entries, id), NULL});
	for (uint64_t reads = below(run, 5); reads > 0; reads--) {
		snprintf(count, sizeof(count), "%llu", (unsigned long long)below(run, entries + 1) + 1);
		tell_words(side,
			   (const char *[]){"XREADGROUP", "GROUP", name, reads % 2 == 0 ? "even" : "odd",
					    "COUNT", count, "STREAMS", run->key, ">", NULL});
	}
	for (uint64_t acks = below(run, 10); acks > 0; acks--)
		tell_words(side, (const char *[]){"XACK", run->key, name, any_id(run, entries, id), NULL});
	if (below(run, 3) == 0)
		tell_words(side, (const char *[]){"XGROUP", "CREATECONSUMER", run->key, name, "none", NULL});
}

static void
make_stream(struct run *run, struct side *side)
{
	char id[64];
	uint64_t entries = below(run, 10), jump = below(run, 3) == 0 ? UINT64_MAX / 4000 : 1;
	if (below(run, 20) == 0)
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
		tell_words(side,
			   (const char *[]){"XGROUP", "CREATE", run->key, "first", "$", "MKSTREAM", NULL});
		return;
	}
	for (uint64_t deletions = below(run, 1 + entries / 3); deletions > 0; deletions--)
		tell_words(side, (const char *[]){"XDEL", run->key, any_id(run, entries, id), NULL});
	make_group(run, side, "a", entries);
	if (below(run, 3) == 0)
		make_group(run, side, "longer:name", entries);
}

/* ---- exchange ---- */

/* A value of a lot, under these names. */
struct value {
	const struct type *type;
	char made[NAME_MAX_SIZE], there[NAME_MAX_SIZE], back[NAME_MAX_SIZE];
	char *content, *encoding; /* as it was made; as the other has it */
	struct reply *payload;    /* the last dump */
};

static void
ask_content(struct side *side, const struct type *type, const char *key)
{
	const char *read[6];
	size_t argc = 0;
	for (; argc < 6 && type->read[argc] != NULL; argc++)
		read[argc] = strcmp(type->read[argc], "%") == 0 ? key : type->read[argc];
	tell(side, argc, read, NULL);
}

static void
ask_dump(struct side *side, const char *key)
{
	tell_words(side, (const char *[]){"DUMP", key, NULL});
}

static void
ask_encoding(struct side *side, const char *key)
{
	tell_words(side, (const char *[]){"OBJECT", "ENCODING", key, NULL});
}

/* In one line; the caller frees it. */
static char *
hear_content(struct side *side, const struct type *type)
{
	struct reply *content = hear(side);
	if (type->read[2] == NULL)
		reply_sort(content, 0);
	/* How it is laid out. */
	reply_remove(content, "radix-tree-keys");
	reply_remove(content, "radix-tree-nodes");
	char *text = reply_render(content);
	reply_free(content);
	return text;
}

static char *
hear_encoding(struct side *side)
{
	struct reply *reply = hear(side);
	char *text = reply_render(reply);
	reply_free(reply);
	return text;
}

static void
hear_dump(struct run *run, struct side *side, struct value *v)
{
	reply_free(v->payload);
	v->payload = hear(side);
	if (v->payload->type != '$' || v->payload->size == 0) {
		printf("%s: no payload\n", side->name);
		exit(1);
	}
	run->bytes += v->payload->size;
}

static void
restore(struct side *side, const char *key, const struct reply *payload)
{
	const char *argv[] = {"RESTORE", key, "0", payload->text, "REPLACE"};
	size_t sizes[] = {7, strlen(key), 1, payload->size, 7};
	tell(side, 5, argv, sizes);
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
		printf("lot of value %zu, %s: from byte %zu on\n  made:  %.400s\n  found: %.400s\n",
		       run->values, what, same, expected + same, found + same);
	}
	free(found);
}

static void
make_lot(struct run *run, struct side *side, struct value *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct value *v = &values[i];
		*v = (struct value){.type = &types[below(run, sizeof(types) / sizeof(types[0]))]};
		snprintf(v->made, sizeof(v->made), "made:%zu", i);
		snprintf(v->there, sizeof(v->there), "there:%zu", i);
		snprintf(v->back, sizeof(v->back), "back:%zu", i);
		tell_words(side, (const char *[]){"DEL", v->made, NULL});
		memcpy(run->key, v->made, sizeof(run->key));
		make_value(run, side, v->type);
	}
	hear_all(side);
	for (size_t i = 0; i < count; i++) {
		ask_content(side, values[i].type, values[i].made);
		ask_dump(side, values[i].made);
	}
	for (size_t i = 0; i < count; i++) {
		values[i].content = hear_content(side, values[i].type);
		hear_dump(run, side, &values[i]);
	}
}

/* What the first side has dumped goes to the other and back. */
static void
exchange(struct run *run, struct side *from, struct side *to, struct value *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		restore(to, values[i].there, values[i].payload);
		ask_content(to, values[i].type, values[i].there);
		ask_encoding(to, values[i].there);
		ask_dump(to, values[i].there);
	}
	for (size_t i = 0; i < count; i++) {
		reply_free(hear(to));
		compare(run, "restored by the other", values[i].content, hear_content(to, values[i].type));
		values[i].encoding = hear_encoding(to);
		hear_dump(run, to, &values[i]);
	}
	for (size_t i = 0; i < count; i++) {
		restore(from, values[i].back, values[i].payload);
		ask_content(from, values[i].type, values[i].back);
		ask_encoding(from, values[i].back);
	}
	for (size_t i = 0; i < count; i++) {
		reply_free(hear(from));
		compare(run, "restored from the other's dump", values[i].content,
			hear_content(from, values[i].type));
		/* That of what was made depends on what was there before its elements got their last values. */
		compare(run, "encoding", values[i].encoding, hear_encoding(from));
	}
}

static void
run_lot(struct run *run, struct side *from, struct side *to, size_t count)
{
	static struct value values[LOT];
	make_lot(run, from, values, count);
	exchange(run, from, to, values, count);
	for (size_t i = 0; i < count; i++) {
		free(values[i].content);
		free(values[i].encoding);
		reply_free(values[i].payload);
	}
	run->values += count;
}

/* ---- limits ---- */

static void
configure(struct side *side, const char *directive, const char *value)
{
	const char *argv[] = {"CONFIG", "SET", directive, value};
	tell(side, 4, argv, NULL);
	hear_all(side);
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
	size_t wanted = argc > 3 ? strtoull(argv[3], NULL, 10) : 2000;
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
	struct run run = {.random = {.state = seed}};

	if (argc < 3) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER [VALUES [SEED]]\n", argv[0]);
		return 2;
	}
	bool up = connect_side(&run.subject, argv[1], "subject") &&
		connect_side(&run.reference, argv[2], "reference");
	while (up && run.values < wanted && run.differences < DIFFERENCES_MAX) {
		size_t left = wanted - run.values, count = left < LOT ? left : LOT;
		choose_limits(&run);
		if (below(&run, 2) == 0)
			run_lot(&run, &run.subject, &run.reference, count);
		else
			run_lot(&run, &run.reference, &run.subject, count);
	}
	printf("seed %llu: %zu values, %zu bytes of payloads, %zu differences\n", (unsigned long long)seed,
	       run.values, run.bytes, run.differences);
	client_close(run.subject.client);
	client_close(run.reference.client);
	server_process_free(run.subject.server, !up || run.differences > 0);
	server_process_free(run.reference.server, false);
	return up && run.differences == 0 ? 0 : 1;
}
