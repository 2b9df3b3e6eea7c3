/*
 * Random members are drawn with the same chance: a chi-squared test of SRANDMEMBER, HRANDFIELD, ZRANDMEMBER and SPOP, also in
 * turn with SADD, on collections of 100,000, and of RANDOMKEY on as many keys, all in memory or nearly all in tables.
 *
 *	uniform SERVER [DRAWS_PER_MEMBER]
 *
 * The statistic of a fair server has ELEMENTS - 1 degrees of freedom, so it is normal as far as matters here; one beyond
 * DEVIATIONS_MAX standard deviations, on either side, comes once in five million times, and there are nine.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "server_process.h"

enum { ELEMENTS = 100000, AT_ONCE = 1000, TIMEOUT_MS = 180000, NAME_SIZE = 16 };
#define DEVIATIONS_MAX 5.2

struct tally {
	struct client *client;
	unsigned seen[ELEMENTS];
	char names[AT_ONCE][NAME_SIZE];
	const char *argv[2 + 2 * AT_ONCE];
};

static void
give_up(const char *what, const struct client *client)
{
	printf("%s: %s\n", what, client != NULL ? client_error(client) : "unexpected");
	exit(1);
}

/* Adds ELEMENTS elements, AT_ONCE a command: `before` and `after` are what stands beside each name, or NULL. */
static void
fill(struct tally *t, const char *command, const char *key, const char *before, const char *after)
{
	for (int i = 0; i < ELEMENTS; i += AT_ONCE) {
		size_t argc = 2;
		t->argv[0] = command;
		t->argv[1] = key;
		for (int j = 0; j < AT_ONCE; j++) {
			snprintf(t->names[j], NAME_SIZE, "m%d", i + j);
			if (before != NULL)
				t->argv[argc++] = before;
			t->argv[argc++] = t->names[j];
			if (after != NULL)
				t->argv[argc++] = after;
		}
		struct reply *reply = client_call(t->client, argc, t->argv, NULL);
		if (reply == NULL || reply->type != ':')
			give_up(command, t->client);
		reply_free(reply);
	}
}

/* Counts the names of an array of so many. */
static struct reply *
count_names(struct tally *t, const char *command, size_t count, struct reply *reply)
{
	if (reply == NULL || reply->count != count)
		give_up(command, reply == NULL ? t->client : NULL);
	for (size_t i = 0; i < reply->count; i++) {
		long n = strtol(reply->children[i]->text + 1, NULL, 10);
		if (reply->children[i]->text[0] != 'm' || n < 0 || n >= ELEMENTS)
			give_up(reply->children[i]->text, NULL);
		t->seen[n]++;
	}
	return reply;
}

static struct reply *
draw(struct tally *t, const char *command, const char *key, const char *count)
{
	return count_names(t, command, AT_ONCE, client_command(t->client, command, key, count, NULL));
}

/* AT_ONCE pops in one transaction, each of which finds what those before it have written. */
static struct reply *
pop_one_by_one(struct tally *t)
{
	static const char script[] =
		"local r = {} for i = 1, 1000 do r[i] = redis.call('SPOP', KEYS[1]) end return r";
	return count_names(t, "SPOP", AT_ONCE, client_command(t->client, "EVAL", script, "1", "s", NULL));
}

/* `draws` in all; `variance` is that of an element's count, as a share of its mean. */
static bool
judge(struct tally *t, const char *command, double draws, double variance)
{
	double mean = draws / ELEMENTS, sum = 0, degrees = ELEMENTS - 1;
	for (int i = 0; i < ELEMENTS; i++)
		sum += (t->seen[i] - mean) * (t->seen[i] - mean);
	double statistic = sum / (mean * variance), deviations = (statistic - degrees) / sqrt(2 * degrees);
	bool is_fair = fabs(deviations) < DEVIATIONS_MAX;
	printf("%s: %.0f draws, chi-squared %.0f of %.0f, %+.2f standard deviations%s\n", command, draws,
	       statistic, degrees, deviations, is_fair ? "" : ": NOT UNIFORM");
	memset(t->seen, 0, sizeof(t->seen));
	return is_fair;
}

static bool
test_draws(struct tally *t, const char *command, const char *key, const char *count, int per_member)
{
	long draws = (long)per_member * ELEMENTS;
	for (long i = 0; i < draws; i += AT_ONCE)
		reply_free(draw(t, command, key, count));
	return judge(t, command, (double)draws, 1);
}

/* A tenth is popped, and put back: of what is drawn without being put back, counts vary less. */
static bool
test_pops(struct tally *t, const char *what, bool one_by_one, int per_member)
{
	enum { TENTH = ELEMENTS / 10 };
	int rounds = per_member * 10;
	for (int round = 0; round < rounds; round++) {
		struct reply *popped[TENTH / AT_ONCE];
		for (int i = 0; i < TENTH / AT_ONCE; i++)
			popped[i] = one_by_one ? pop_one_by_one(t) : draw(t, "SPOP", "s", "1000");
		for (int i = 0; i < TENTH / AT_ONCE; i++) {
			t->argv[0] = "SADD";
			t->argv[1] = "s";
			for (size_t j = 0; j < AT_ONCE; j++)
				t->argv[2 + j] = popped[i]->children[j]->text;
			struct reply *reply = client_call(t->client, 2 + AT_ONCE, t->argv, NULL);
			if (reply == NULL || reply->type != ':')
				give_up("SADD", t->client);
			reply_free(reply);
			reply_free(popped[i]);
		}
	}
	return judge(t, what, (double)rounds * TENTH, 0.9);
}

/* What is popped is put back at once: `turns` of a pop and an addition in one transaction. */
static bool
test_turns(struct tally *t, const char *what, int turns, int per_member)
{
	static const char script[] =
		"local r = {} for i = 1, tonumber(ARGV[1]) do "
		"r[i] = redis.call('SPOP', KEYS[1]) redis.call('SADD', KEYS[1], r[i]) end "
		"return r";
	char count[16];
	long draws = (long)per_member * ELEMENTS;
	snprintf(count, sizeof(count), "%d", turns);
	for (long i = 0; i < draws; i += turns)
		reply_free(count_names(t, what, (size_t)turns,
				       client_command(t->client, "EVAL", script, "1", "s", count, NULL)));
	return judge(t, what, (double)draws, 1);
}

/* `options` decide whether the keys get into tables. */
static bool
test_keys(struct tally *t, const char *path, const char *const *options, int per_member)
{
	static const char script[] =
		"local r = {} for i = 1, 1000 do r[i] = redis.call('RANDOMKEY') end return r";
	struct server_process *server = server_process_start(path, NULL, options);
	t->client = server != NULL ? client_connect(server_process_port(server), TIMEOUT_MS) : NULL;
	if (t->client == NULL)
		give_up("connect", NULL);
	for (int i = 0; i < ELEMENTS; i += AT_ONCE) {
		t->argv[0] = "MSET";
		for (int j = 0; j < AT_ONCE; j++) {
			snprintf(t->names[j], NAME_SIZE, "m%d", i + j);
			t->argv[1 + 2 * j] = t->names[j];
			t->argv[2 + 2 * j] = t->names[j];
		}
		reply_free(client_call(t->client, 1 + 2 * AT_ONCE, t->argv, NULL));
	}
	bool is_fair = test_draws(t, "EVAL", script, "0", per_member);
	client_close(t->client);
	server_process_free(server, !is_fair);
	return is_fair;
}

int
main(int argc, char **argv)
{
	static struct tally tally;
	int per_member = argc > 2 ? atoi(argv[2]) : 1;
	if (argc < 2 || per_member < 1) {
		fprintf(stderr, "usage: %s SERVER [DRAWS_PER_MEMBER]\n", argv[0]);
		return 2;
	}
	struct server_process *server = server_process_start(argv[1], NULL, NULL);
	if (server == NULL)
		return 1;
	tally.client = client_connect(server_process_port(server), TIMEOUT_MS);
	if (tally.client == NULL)
		give_up("connect", NULL);
	fill(&tally, "SADD", "s", NULL, NULL);
	fill(&tally, "HSET", "h", NULL, "v");
	fill(&tally, "ZADD", "z", "1", NULL);
	int unfair = !test_draws(&tally, "SRANDMEMBER", "s", "-1000", per_member);
	unfair += !test_draws(&tally, "HRANDFIELD", "h", "-1000", per_member);
	unfair += !test_draws(&tally, "ZRANDMEMBER", "z", "-1000", per_member);
	unfair += !test_pops(&tally, "SPOP", false, per_member);
	unfair += !test_pops(&tally, "SPOP in a script", true, per_member);
	unfair += !test_turns(&tally, "SPOP and SADD in turn", 5, per_member);
	unfair += !test_turns(&tally, "SPOP and SADD in turn, very often in a transaction", AT_ONCE,
			      per_member);
	client_close(tally.client);
	server_process_free(server, unfair > 0);
	static const char *const small[] = {"--maxmemory", "16mb", NULL};
	unfair += !test_keys(&tally, argv[1], NULL, per_member);
	unfair += !test_keys(&tally, argv[1], small, per_member);
	return unfair == 0 ? 0 : 1;
}
