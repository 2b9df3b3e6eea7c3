/*
 * Strict serializability over real connections on several reactors.
 *
 *	serializable SERVER [--transfers N] [--seed N] [--io-threads N]
 *
 * Eight connections move money between a few accounts, strings and fields of two hashes: half of their
 * transfers read under WATCH and write with MULTI/EXEC, half are blind DECRBY/INCRBY in a MULTI; every block
 * also sets its connection's clock. They also play with pairs of switches of which one must stay on: each
 * transaction reads both under WATCH and turns off its own, which snapshot isolation alone would let two do at
 * once. Two readers look at everything all the time, in MULTI with MGET and HMGET, and with single reads in
 * MULTI: the total is exact, no pair is off, and a clock whose EXEC was acknowledged before the look is not
 * behind. A third of the transfers, and some of the switches, are scripts that declare none of their keys. Others are interactive transactions,
 * with the balances read in hand, which delete both and go back to a savepoint first, and some of which are rolled back; readers use BEGIN READ ONLY, too. At the end every account is what the
 * acknowledged transfers make it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "server_process.h"
#include "values.h"

#define CONNECTIONS 8
#define READERS 2
#define ACCOUNTS 10 /* the first are strings, then the fields of one hash, then those of the other */
#define STRING_ACCOUNTS 4
#define HASHES 2
#define HASH_ACCOUNTS ((ACCOUNTS - STRING_ACCOUNTS) / HASHES) /* in each */
#define PAIRS 4
#define INITIAL 1000
#define TEXT 32

struct bank {
	int port;
	uint64_t transfers;
	uint64_t clocks[CONNECTIONS]; /* atomic: stored (release) after EXEC's reply, loaded (acquire) before
					 a look */
	bool over;                    /* atomic, relaxed: only ends the readers */
	uint64_t failures;            /* atomic, relaxed */
};

struct teller {
	struct bank *bank;
	pthread_t thread;
	unsigned number;
	struct random random;
	long long moved[ACCOUNTS]; /* what the acknowledged transfers sum up to */
	uint64_t watched, blind, scripted, switched, refused, talked, rolled_back, conflicts;
};

struct auditor {
	struct bank *bank;
	pthread_t thread;
	uint64_t looks;
};

static void __attribute__((format(printf, 2, 3))) fail(struct bank *bank, const char *format, ...)
{
	va_list arguments;
	char text[256];

	if (__atomic_fetch_add(&bank->failures, 1, __ATOMIC_RELAXED) >= 20)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("FAILED: %s\n", text);
}

/* Sends one command, and returns its reply; errors end the teller. */
static redisReply *
ask(struct bank *bank, redisContext *context, int argc, const char **argv)
{
	redisReply *reply = load_append(context, argc, argv, NULL) ? load_reply(context) : NULL;

	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return reply;
	fail(bank, "%s: %s", argv[0], reply != NULL ? reply->str : context->errstr);
	if (reply != NULL)
		freeReplyObject(reply);
	return NULL;
}

/* Where a number is: under a key, or in a field of a hash. */
struct place {
	char key[TEXT], field[TEXT]; /* the field is empty for a string */
};

static struct place
account_place(unsigned account)
{
	struct place ret = {0};
	if (account < STRING_ACCOUNTS) {
		snprintf(ret.key, TEXT, "account:%u", account);
		return ret;
	}
	snprintf(ret.key, TEXT, "accounts:%u", (account - STRING_ACCOUNTS) / HASH_ACCOUNTS);
	snprintf(ret.field, TEXT, "account:%u", account);
	return ret;
}

/* A command on a place: the verb of strings or that of hashes, key, perhaps field, value (may be NULL). Returns
 * the number of words. */
static int
place_command(const struct place *place, const char *string_verb, const char *hash_verb, const char *value,
	      const char *ret[4])
{
	int argc = 0;
	ret[argc++] = place->field[0] != 0 ? hash_verb : string_verb;
	ret[argc++] = place->key;
	if (place->field[0] != 0)
		ret[argc++] = place->field;
	if (value != NULL)
		ret[argc++] = value;
	return argc;
}

struct command {
	const char *argv[4];
	int argc;
};

/* WATCH of two places and their numbers. */
static bool
watch_two(struct bank *bank, redisContext *context, const struct place *first, const struct place *second,
	  long long ret[2])
{
	const char *watch[] = {"WATCH", first->key, second->key};
	const struct place *places[] = {first, second};
	redisReply *reply = ask(bank, context, 3, watch);

	if (reply == NULL)
		return false;
	freeReplyObject(reply);
	for (int i = 0; i < 2; i++) {
		const char *get[4];
		int argc = place_command(places[i], "GET", "HGET", NULL, get);
		reply = ask(bank, context, argc, get);
		if (reply == NULL || reply->type != REDIS_REPLY_STRING)
			return false;
		ret[i] = strtoll(reply->str, NULL, 10);
		freeReplyObject(reply);
	}
	return true;
}

/* MULTI, the two commands, the clock, EXEC, in one write. Returns 1 done, 0 refused, -1 broken. */
static int
run_block(struct teller *teller, redisContext *context, struct command *one, struct command *two)
{
	struct bank *bank = teller->bank;
	char clock_name[TEXT], clock_text[TEXT];
	uint64_t clock = __atomic_load_n(&bank->clocks[teller->number], __ATOMIC_RELAXED) + 1;
	const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"}, *set[] = {"SET", clock_name, clock_text};
	redisReply *reply;
	int done;

	snprintf(clock_name, sizeof(clock_name), "clock:%u", teller->number);
	snprintf(clock_text, sizeof(clock_text), "%" PRIu64, clock);
	if (!load_append(context, 1, multi, NULL) || !load_append(context, one->argc, one->argv, NULL) ||
	    (two != NULL && !load_append(context, two->argc, two->argv, NULL)) ||
	    !load_append(context, 3, set, NULL))
		return -1;
	for (int i = 0; i < (two != NULL ? 4 : 3); i++) {
		reply = load_reply(context);
		if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
			fail(bank, "in MULTI: %s", reply != NULL ? reply->str : context->errstr);
			return -1;
		}
		freeReplyObject(reply);
	}
	reply = ask(bank, context, 1, exec);
	if (reply == NULL)
		return -1;
	done = reply->type == REDIS_REPLY_ARRAY;
	freeReplyObject(reply);
	if (done)
		__atomic_store_n(&bank->clocks[teller->number], clock, __ATOMIC_RELEASE);
	return done;
}

static bool
transfer(struct teller *teller, redisContext *context, bool is_blind)
{
	unsigned from = (unsigned)random_below(&teller->random, ACCOUNTS);
	unsigned to = (from + 1 + (unsigned)random_below(&teller->random, ACCOUNTS - 1)) % ACCOUNTS;
	long long amount = 1 + (long long)random_below(&teller->random, 50), balances[2];
	struct place from_place = account_place(from), to_place = account_place(to);
	char from_text[TEXT], to_text[TEXT];
	struct command one, two;
	int done;

	one.argc = place_command(&from_place, is_blind ? "INCRBY" : "SET", is_blind ? "HINCRBY" : "HSET",
				 from_text, one.argv);
	two.argc = place_command(&to_place, is_blind ? "INCRBY" : "SET", is_blind ? "HINCRBY" : "HSET",
				 to_text, two.argv);
	if (is_blind) {
		snprintf(from_text, sizeof(from_text), "%lld", -amount);
		snprintf(to_text, sizeof(to_text), "%lld", amount);
	} else {
		if (!watch_two(teller->bank, context, &from_place, &to_place, balances))
			return false;
		snprintf(from_text, sizeof(from_text), "%lld", balances[0] - amount);
		snprintf(to_text, sizeof(to_text), "%lld", balances[1] + amount);
	}
	done = run_block(teller, context, &one, &two);
	if (done < 0)
		return false;
	if (done == 0) {
		teller->refused++;
		if (is_blind)
			fail(teller->bank, "a block without WATCH was refused");
		return true;
	}
	teller->moved[from] -= amount;
	teller->moved[to] += amount;
	is_blind ? teller->blind++ : teller->watched++;
	return true;
}

/* Runs a script that sets the connection's clock to its last argument but one, and that to the last. Its reply is an
 * integer; -1: broken. */
static long long
run_script(struct teller *teller, redisContext *context, int argc, const char *argv[])
{
	struct bank *bank = teller->bank;
	char clock_name[TEXT], clock_text[TEXT];
	uint64_t clock = __atomic_load_n(&bank->clocks[teller->number], __ATOMIC_RELAXED) + 1;

	snprintf(clock_name, sizeof(clock_name), "clock:%u", teller->number);
	snprintf(clock_text, sizeof(clock_text), "%" PRIu64, clock);
	argv[argc++] = clock_name;
	argv[argc++] = clock_text;
	redisReply *reply = ask(bank, context, argc, argv);
	if (reply == NULL)
		return -1;
	long long ret = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
	freeReplyObject(reply);
	__atomic_store_n(&bank->clocks[teller->number], clock, __ATOMIC_RELEASE);
	return ret;
}

static bool
transfer_by_script(struct teller *teller, redisContext *context)
{
	static const char script[] = "local function get(k, f) return tonumber(f == '' and redis.call('GET', "
				     "k) or redis.call('HGET', k, f)) end "
				     "local function set(k, f, v) if f == '' then redis.call('SET', k, v) "
				     "else redis.call('HSET', k, f, v) end end "
				     "local a, b = get(ARGV[1], ARGV[2]), get(ARGV[3], ARGV[4]) "
				     "set(ARGV[1], ARGV[2], a - ARGV[5]) set(ARGV[3], ARGV[4], b + ARGV[5]) "
				     "redis.call('SET', ARGV[6], ARGV[7]) return 1";
	unsigned from = (unsigned)random_below(&teller->random, ACCOUNTS);
	unsigned to = (from + 1 + (unsigned)random_below(&teller->random, ACCOUNTS - 1)) % ACCOUNTS;
	long long amount = 1 + (long long)random_below(&teller->random, 50);
	struct place from_place = account_place(from), to_place = account_place(to);
	char amount_text[TEXT];
	const char *argv[10] = {"EVAL",       script,         "0",        from_place.key, from_place.field,
				to_place.key, to_place.field, amount_text};

	snprintf(amount_text, sizeof(amount_text), "%lld", amount);
	if (run_script(teller, context, 8, argv) != 1)
		return false;
	teller->moved[from] -= amount;
	teller->moved[to] += amount;
	teller->scripted++;
	return true;
}

/* As flip, in one script. */
static bool
flip_by_script(struct teller *teller, redisContext *context)
{
	static const char script[] =
		"local a, b = tonumber(redis.call('GET', ARGV[1])), tonumber(redis.call('GET', ARGV[2])) "
		"redis.call('SET', ARGV[1], a + b == 2 and 0 or 1) redis.call('SET', ARGV[3], ARGV[4]) "
		"return a + b";
	unsigned pair = (unsigned)random_below(&teller->random, PAIRS);
	unsigned side = (unsigned)random_below(&teller->random, 2);
	char own[TEXT], other[TEXT];
	const char *argv[7] = {"EVAL", script, "0", own, other};

	snprintf(own, TEXT, "switch:%u:%u", pair, side);
	snprintf(other, TEXT, "switch:%u:%u", pair, 1 - side);
	long long on = run_script(teller, context, 5, argv);
	if (on == 0)
		fail(teller->bank, "write skew: a script saw both switches of pair %u off", pair);
	teller->switched += on > 0;
	return on >= 0;
}

/* A command of an interactive transaction. NULL: the transaction is lost to a conflict, or the connection is broken. */
static redisReply *
say(struct bank *bank, redisContext *context, const struct command *command, bool *ret_lost)
{
	redisReply *reply = load_append(context, command->argc, (const char **)command->argv, NULL)
		? load_reply(context)
		: NULL;

	*ret_lost = false;
	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return reply;
	*ret_lost = reply != NULL && strncmp(reply->str, "CONFLICT ", 9) == 0;
	if (!*ret_lost)
		fail(bank, "%s: %s", command->argv[0], reply != NULL ? reply->str : context->errstr);
	if (reply != NULL)
		freeReplyObject(reply);
	return NULL;
}

static long long number_of(const redisReply *reply);

/* Reads both balances and writes what follows from them, each command with the reply to the one before in hand. One in
 * eight is rolled back. */
static bool
transfer_by_talk(struct teller *teller, redisContext *context)
{
	enum { BEGIN, READ_FROM, READ_TO, MARK, SPOIL, BACK, WRITE_FROM, WRITE_TO, CLOCK, END, STEPS };
	struct bank *bank = teller->bank;
	unsigned from = (unsigned)random_below(&teller->random, ACCOUNTS);
	unsigned to = (from + 1 + (unsigned)random_below(&teller->random, ACCOUNTS - 1)) % ACCOUNTS;
	long long amount = 1 + (long long)random_below(&teller->random, 50), balances[2] = {0};
	bool commits = random_below(&teller->random, 8) != 0, is_lost;
	uint64_t clock = __atomic_load_n(&bank->clocks[teller->number], __ATOMIC_RELAXED) + 1;
	struct place places[2] = {account_place(from), account_place(to)};
	char clock_name[TEXT], clock_text[TEXT], texts[2][TEXT];
	struct command steps[STEPS] = {
		[BEGIN] = {{"BEGIN"}, 1},
		[MARK] = {{"SAVEPOINT", "mark"}, 2},
		[SPOIL] = {{"DEL", places[0].key, places[1].key}, 3},
		[BACK] = {{"ROLLBACK", "TO", "mark"}, 3},
		[CLOCK] = {{"SET", clock_name, clock_text}, 3},
		[END] = {{commits ? "COMMIT" : "ROLLBACK"}, 1},
	};

	snprintf(clock_name, sizeof(clock_name), "clock:%u", teller->number);
	snprintf(clock_text, sizeof(clock_text), "%" PRIu64, clock);
	for (int i = 0; i < 2; i++) {
		steps[READ_FROM + i].argc =
			place_command(&places[i], "GET", "HGET", NULL, steps[READ_FROM + i].argv);
		steps[WRITE_FROM + i].argc =
			place_command(&places[i], "SET", "HSET", texts[i], steps[WRITE_FROM + i].argv);
	}
	for (int step = BEGIN; step < STEPS; step++) {
		redisReply *reply = say(bank, context, &steps[step], &is_lost);
		if (reply == NULL) {
			static const struct command rollback = {{"ROLLBACK"}, 1};
			teller->conflicts += is_lost;
			reply = is_lost && step < END ? say(bank, context, &rollback, &is_lost) : NULL;
			if (reply != NULL)
				freeReplyObject(reply);
			return reply != NULL || (is_lost && step == END);
		}
		if (step == READ_FROM || step == READ_TO)
			balances[step - READ_FROM] = number_of(reply);
		freeReplyObject(reply);
		snprintf(texts[0], TEXT, "%lld", balances[0] - amount);
		snprintf(texts[1], TEXT, "%lld", balances[1] + amount);
	}
	teller->rolled_back += !commits;
	teller->talked += commits;
	if (commits) {
		__atomic_store_n(&bank->clocks[teller->number], clock, __ATOMIC_RELEASE);
		teller->moved[from] -= amount;
		teller->moved[to] += amount;
	}
	return true;
}

/* Turns one switch off if both are on, and on if it is off. */
static bool
flip(struct teller *teller, redisContext *context)
{
	unsigned pair = (unsigned)random_below(&teller->random, PAIRS);
	unsigned side = (unsigned)random_below(&teller->random, 2);
	struct place switches[2] = {{{0}, {0}}};
	long long on[2];
	int done;

	snprintf(switches[0].key, TEXT, "switch:%u:0", pair);
	snprintf(switches[1].key, TEXT, "switch:%u:1", pair);
	if (!watch_two(teller->bank, context, &switches[0], &switches[1], on))
		return false;
	struct command set = {{"SET", switches[side].key, on[0] + on[1] == 2 ? "0" : "1"}, 3};
	done = run_block(teller, context, &set, NULL);
	/* Two GETs are two moments; if both were off in a transaction that stands, they were off at one. */
	if (done > 0 && on[0] + on[1] == 0)
		fail(teller->bank, "write skew: both switches of pair %u were off", pair);
	teller->switched += done > 0;
	teller->refused += done == 0;
	return done >= 0;
}

static void *
run_teller(void *argument)
{
	struct teller *teller = argument;
	redisContext *context = load_connect(teller->bank->port);

	if (context == NULL) {
		fail(teller->bank, "no connection");
		return NULL;
	}
	for (uint64_t i = 0; i < teller->bank->transfers; i++) {
		uint64_t kind = random_below(&teller->random, 9);
		if (!(kind >= 6           ? transfer_by_talk(teller, context)
			      : kind == 5 ? flip_by_script(teller, context)
			      : kind == 4 ? flip(teller, context)
			      : kind >= 2 ? transfer_by_script(teller, context)
					  : transfer(teller, context, kind == 1))) {
			fail(teller->bank, "teller %u stopped after %" PRIu64, teller->number, i);
			break;
		}
	}
	redisFree(context);
	return NULL;
}

#define LOOK_KEYS (ACCOUNTS + 2 * PAIRS + CONNECTIONS)

static void
look_places(struct place places[LOOK_KEYS])
{
	unsigned n = 0;

	memset(places, 0, LOOK_KEYS * sizeof(*places));
	for (unsigned i = 0; i < ACCOUNTS; i++)
		places[n++] = account_place(i);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		snprintf(places[n++].key, TEXT, "switch:%u:%u", i / 2, i % 2);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		snprintf(places[n++].key, TEXT, "clock:%u", i);
}

/* All places with few commands: an MGET of all strings, an HMGET of each hash. Returns how many were sent, 0 if
 * the connection broke. */
static unsigned
append_few(redisContext *context, const struct place places[LOOK_KEYS])
{
	const char *words[1 + LOOK_KEYS] = {"MGET"};
	int argc = 1;

	for (unsigned i = 0; i < LOOK_KEYS; i++)
		if (places[i].field[0] == 0)
			words[argc++] = places[i].key;
	if (!load_append(context, argc, words, NULL))
		return 0;
	words[0] = "HMGET";
	for (unsigned hash = 0; hash < HASHES; hash++) {
		const struct place *first = &places[STRING_ACCOUNTS + hash * HASH_ACCOUNTS];
		words[1] = first->key;
		for (unsigned i = 0; i < HASH_ACCOUNTS; i++)
			words[2 + i] = first[i].field;
		if (!load_append(context, 2 + HASH_ACCOUNTS, words, NULL))
			return 0;
	}
	return 1 + HASHES;
}

static unsigned
append_single(redisContext *context, const struct place places[LOOK_KEYS])
{
	for (unsigned i = 0; i < LOOK_KEYS; i++) {
		const char *get[4];
		int argc = place_command(&places[i], "GET", "HGET", NULL, get);
		if (!load_append(context, argc, get, NULL))
			return 0;
	}
	return LOOK_KEYS;
}

static long long
number_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
}

/* What append_few asked for: the fields of the hashes come after all strings, but belong between them. */
static bool
take_few(const redisReply *reply, long long ret[LOOK_KEYS])
{
	const unsigned fields = HASHES * HASH_ACCOUNTS;
	if (reply->elements != 1 + HASHES || reply->element[0]->elements != LOOK_KEYS - fields)
		return false;
	for (unsigned i = 0; i < LOOK_KEYS - fields; i++)
		ret[i < STRING_ACCOUNTS ? i : i + fields] = number_of(reply->element[0]->element[i]);
	for (unsigned i = 0; i < fields; i++) {
		const redisReply *hash = reply->element[1 + i / HASH_ACCOUNTS];
		if (hash->elements != HASH_ACCOUNTS)
			return false;
		ret[STRING_ACCOUNTS + i] = number_of(hash->element[i % HASH_ACCOUNTS]);
	}
	return true;
}

/* All numbers in an interactive transaction, which nothing can make fail. */
static bool
look_by_talk(redisContext *context, long long ret[LOOK_KEYS])
{
	static const char *begin[] = {"BEGIN", "READ", "ONLY"}, *commit[] = {"COMMIT"};
	struct place places[LOOK_KEYS];

	look_places(places);
	if (!load_append(context, 3, begin, NULL) || append_single(context, places) != LOOK_KEYS ||
	    !load_append(context, 1, commit, NULL) || !load_expect_ok(load_reply(context)))
		return false;
	for (unsigned i = 0; i < LOOK_KEYS; i++) {
		redisReply *reply = load_reply(context);
		if (reply == NULL)
			return false;
		ret[i] = number_of(reply);
		freeReplyObject(reply);
	}
	return load_expect_ok(load_reply(context));
}

/* All numbers at one moment. */
static bool
look(struct bank *bank, redisContext *context, bool single, long long ret[LOOK_KEYS])
{
	static const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"};
	struct place places[LOOK_KEYS];
	redisReply *reply;

	look_places(places);
	if (!load_append(context, 1, multi, NULL))
		return false;
	unsigned sent = single ? append_single(context, places) : append_few(context, places);
	for (unsigned i = 0; i < 1 + sent; i++) {
		reply = load_reply(context);
		if (reply == NULL)
			return false;
		freeReplyObject(reply);
	}
	reply = ask(bank, context, 1, exec);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return false;
	bool whole = single ? reply->elements == LOOK_KEYS : take_few(reply, ret);
	for (unsigned i = 0; whole && single && i < LOOK_KEYS; i++)
		ret[i] = number_of(reply->element[i]);
	freeReplyObject(reply);
	return whole;
}

static void
check_look(struct bank *bank, const long long numbers[LOOK_KEYS], const uint64_t clocks[CONNECTIONS])
{
	const long long *switches = numbers + ACCOUNTS, *seen = switches + 2 * PAIRS;
	long long total = 0;

	for (unsigned i = 0; i < ACCOUNTS; i++)
		total += numbers[i];
	if (total != (long long)ACCOUNTS * INITIAL)
		fail(bank, "a reader saw a total of %lld", total);
	for (unsigned i = 0; i < PAIRS; i++)
		if (switches[2 * i] + switches[2 * i + 1] == 0)
			fail(bank, "write skew: a reader saw both switches of pair %u off", i);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if ((uint64_t)seen[i] < clocks[i])
			fail(bank, "a reader saw clock %u at %lld after %" PRIu64 " was acknowledged", i,
			     seen[i], clocks[i]);
}

static void *
run_auditor(void *argument)
{
	struct auditor *auditor = argument;
	struct bank *bank = auditor->bank;
	redisContext *context = load_connect(bank->port);
	long long numbers[LOOK_KEYS];

	while (context != NULL && !__atomic_load_n(&bank->over, __ATOMIC_RELAXED)) {
		uint64_t clocks[CONNECTIONS];
		for (unsigned i = 0; i < CONNECTIONS; i++)
			clocks[i] = __atomic_load_n(&bank->clocks[i], __ATOMIC_ACQUIRE);
		unsigned way = (unsigned)(auditor->looks % 3);
		if (!(way == 2 ? look_by_talk(context, numbers) : look(bank, context, way == 1, numbers))) {
			fail(bank, "a reader stopped: %s", context->errstr);
			break;
		}
		check_look(bank, numbers, clocks);
		auditor->looks++;
	}
	if (context != NULL)
		redisFree(context);
	return NULL;
}

static bool
set_up(struct bank *bank)
{
	redisContext *context = load_connect(bank->port);
	bool done = context != NULL;

	/* The fields of one hash are entries of their own, those of the other are in its root. */
	for (unsigned i = 0; done && i < ACCOUNTS; i++) {
		struct place place = account_place(i);
		redisReply *reply = place.field[0] == 0
			? redisCommand(context, "SET %s %d", place.key, INITIAL)
			: redisCommand(context, "HMSET %s %s %d", place.key, place.field, INITIAL);
		done = load_expect_ok(reply);
	}
	done = done && load_expect_ok(redisCommand(context, "CONFIG SET packed-max-size 64")) &&
		load_expect_ok(redisCommand(context, "HMSET accounts:0 padding %s",
					    "0123456789012345678901234567890123456789")) &&
		load_expect_ok(redisCommand(context, "CONFIG SET packed-max-size 1000"));
	for (unsigned i = 0; done && i < 2 * PAIRS; i++)
		done = load_expect_ok(redisCommand(context, "SET switch:%u:%u 1", i / 2, i % 2));
	if (context != NULL)
		redisFree(context);
	return done;
}

static void
check_end(struct bank *bank, const struct teller *tellers)
{
	redisContext *context = load_connect(bank->port);
	long long numbers[LOOK_KEYS];

	if (context == NULL || !look(bank, context, false, numbers)) {
		fail(bank, "the end cannot be read");
	} else {
		check_look(bank, numbers, bank->clocks);
		for (unsigned i = 0; i < ACCOUNTS; i++) {
			long long expected = INITIAL;
			for (unsigned t = 0; t < CONNECTIONS; t++)
				expected += tellers[t].moved[i];
			if (numbers[i] != expected)
				fail(bank, "account %u ends at %lld, not %lld", i, numbers[i], expected);
		}
	}
	if (context != NULL)
		redisFree(context);
}

static void
run_bank(struct bank *bank, uint64_t seed, struct teller *tellers, struct auditor *auditors)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		tellers[i] = (struct teller){.bank = bank, .number = i, .random = {value_mix(seed, i)}};
		if (pthread_create(&tellers[i].thread, NULL, run_teller, &tellers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < READERS; i++) {
		auditors[i].bank = bank;
		if (pthread_create(&auditors[i].thread, NULL, run_auditor, &auditors[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		pthread_join(tellers[i].thread, NULL);
	__atomic_store_n(&bank->over, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(auditors[i].thread, NULL);
	check_end(bank, tellers);
}

int
main(int argc, char **argv)
{
	const char *path;
	uint64_t transfers = 3000, seed = 1, io_threads = 2, start = load_now_us();
	const struct load_option table[] = {{"transfers", &transfers, NULL},
					    {"seed", &seed, NULL},
					    {"io-threads", &io_threads, NULL},
					    {0}};
	char io_text[TEXT];
	struct bank bank = {0};
	struct teller tellers[CONNECTIONS];
	struct auditor auditors[READERS] = {0};
	uint64_t watched = 0, blind = 0, scripted = 0, switched = 0, refused = 0, talked = 0, rolled_back = 0,
		 conflicts = 0;

	if (!load_options(argc, argv, table, &path))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(io_text, sizeof(io_text), "%" PRIu64, io_threads);
	const char *arguments[] = {"--appendonly", "yes", "--io-threads", io_text, NULL};
	struct server_process *server = server_process_start(path, NULL, arguments);
	if (server == NULL)
		return 1;
	bank.port = server_process_port(server);
	bank.transfers = transfers;
	if (set_up(&bank))
		run_bank(&bank, seed, tellers, auditors);
	else
		fail(&bank, "the accounts cannot be opened");
	for (unsigned i = 0; bank.failures == 0 && i < CONNECTIONS; i++) {
		watched += tellers[i].watched;
		blind += tellers[i].blind;
		scripted += tellers[i].scripted;
		switched += tellers[i].switched;
		refused += tellers[i].refused;
		talked += tellers[i].talked;
		rolled_back += tellers[i].rolled_back;
		conflicts += tellers[i].conflicts;
	}
	printf("serializable: %" PRIu64 " reactors, %d connections: %" PRIu64
	       " transfers under WATCH, %" PRIu64 " blind, %" PRIu64 " by scripts, %" PRIu64
	       " by BEGIN and COMMIT, %" PRIu64 " rolled back, %" PRIu64 " lost, %" PRIu64
	       " switches, %" PRIu64 " refused by EXEC, %" PRIu64 " looks, %.1f s: %" PRIu64 " failures\n",
	       io_threads, CONNECTIONS, watched, blind, scripted, talked, rolled_back, conflicts, switched,
	       refused, auditors[0].looks + auditors[1].looks, (double)(load_now_us() - start) / 1e6,
	       bank.failures);
	return load_finish(server, bank.failures == 0);
}
