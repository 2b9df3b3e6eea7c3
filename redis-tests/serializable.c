/*
 * Strict serializability over real connections on several reactors.
 *
 *	serializable SERVER [--transfers N] [--seed N] [--io-threads N]
 *
 * Eight connections move money between a few accounts: half of their transfers read under WATCH and write
 *with MULTI/EXEC, half are blind DECRBY/INCRBY in a MULTI; every block also sets its connection's clock. They
 *also play with pairs of switches of which one must stay on: each transaction reads both under WATCH and
 *turns off its own, which snapshot isolation alone would let two do at once. Two readers look at everything
 *all the time, with MGET and in MULTI: the total is exact, no pair is off, and a clock whose EXEC was
 *acknowledged before the look is not behind. At the end every account is what the acknowledged transfers make
 *it.
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
#define ACCOUNTS 10
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
	uint64_t watched, blind, switched, refused;
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

/* Sends one command of up to six words, and returns its reply; errors end the teller. */
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

/* WATCH of two keys and their numbers. */
static bool
watch_two(struct bank *bank, redisContext *context, const char *first, const char *second, long long ret[2])
{
	const char *watch[] = {"WATCH", first, second}, *names[] = {first, second};
	redisReply *reply = ask(bank, context, 3, watch);

	if (reply == NULL)
		return false;
	freeReplyObject(reply);
	for (int i = 0; i < 2; i++) {
		const char *get[] = {"GET", names[i]};
		reply = ask(bank, context, 2, get);
		if (reply == NULL || reply->type != REDIS_REPLY_STRING)
			return false;
		ret[i] = strtoll(reply->str, NULL, 10);
		freeReplyObject(reply);
	}
	return true;
}

/* MULTI, the two commands, the clock, EXEC, in one write. Returns 1 done, 0 refused, -1 broken. */
static int
run_block(struct teller *teller, redisContext *context, const char **one, const char **two)
{
	struct bank *bank = teller->bank;
	char clock_name[TEXT], clock_text[TEXT];
	uint64_t clock = __atomic_load_n(&bank->clocks[teller->number], __ATOMIC_RELAXED) + 1;
	const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"}, *set[] = {"SET", clock_name, clock_text};
	redisReply *reply;
	int done;

	snprintf(clock_name, sizeof(clock_name), "clock:%u", teller->number);
	snprintf(clock_text, sizeof(clock_text), "%" PRIu64, clock);
	if (!load_append(context, 1, multi, NULL) || !load_append(context, 3, one, NULL) ||
	    (two != NULL && !load_append(context, 3, two, NULL)) || !load_append(context, 3, set, NULL))
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
	char from_name[TEXT], to_name[TEXT], from_text[TEXT], to_text[TEXT];
	const char *one[] = {is_blind ? "DECRBY" : "SET", from_name, from_text};
	const char *two[] = {is_blind ? "INCRBY" : "SET", to_name, to_text};
	int done;

	snprintf(from_name, sizeof(from_name), "account:%u", from);
	snprintf(to_name, sizeof(to_name), "account:%u", to);
	if (is_blind) {
		snprintf(from_text, sizeof(from_text), "%lld", amount);
		snprintf(to_text, sizeof(to_text), "%lld", amount);
	} else {
		if (!watch_two(teller->bank, context, from_name, to_name, balances))
			return false;
		snprintf(from_text, sizeof(from_text), "%lld", balances[0] - amount);
		snprintf(to_text, sizeof(to_text), "%lld", balances[1] + amount);
	}
	done = run_block(teller, context, one, two);
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

/* Turns one switch off if both are on, and on if it is off. */
static bool
flip(struct teller *teller, redisContext *context)
{
	unsigned pair = (unsigned)random_below(&teller->random, PAIRS);
	unsigned side = (unsigned)random_below(&teller->random, 2);
	char names[2][TEXT];
	long long on[2];
	const char *set[] = {"SET", names[side], NULL};
	int done;

	snprintf(names[0], sizeof(names[0]), "switch:%u:0", pair);
	snprintf(names[1], sizeof(names[1]), "switch:%u:1", pair);
	if (!watch_two(teller->bank, context, names[0], names[1], on))
		return false;
	set[2] = on[0] + on[1] == 2 ? "0" : "1";
	done = run_block(teller, context, set, NULL);
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
		uint64_t kind = random_below(&teller->random, 3);
		if (!(kind == 2 ? flip(teller, context) : transfer(teller, context, kind == 1))) {
			fail(teller->bank, "teller %u stopped after %" PRIu64, teller->number, i);
			break;
		}
	}
	redisFree(context);
	return NULL;
}

#define LOOK_KEYS (ACCOUNTS + 2 * PAIRS + CONNECTIONS)

static void
look_names(char names[LOOK_KEYS][TEXT])
{
	unsigned n = 0;

	for (unsigned i = 0; i < ACCOUNTS; i++)
		snprintf(names[n++], TEXT, "account:%u", i);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		snprintf(names[n++], TEXT, "switch:%u:%u", i / 2, i % 2);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		snprintf(names[n++], TEXT, "clock:%u", i);
}

/* All numbers at one moment: with MGET, or with GETs in a block. */
static bool
look(struct bank *bank, redisContext *context, bool in_block, long long ret[LOOK_KEYS])
{
	static const char *multi[] = {"MULTI"}, *exec[] = {"EXEC"};
	char names[LOOK_KEYS][TEXT];
	const char *mget[1 + LOOK_KEYS] = {"MGET"};
	redisReply *reply;

	look_names(names);
	for (unsigned i = 0; i < LOOK_KEYS; i++)
		mget[1 + i] = names[i];
	if (!in_block) {
		reply = ask(bank, context, 1 + LOOK_KEYS, mget);
	} else {
		if (!load_append(context, 1, multi, NULL))
			return false;
		for (unsigned i = 0; i < LOOK_KEYS; i++) {
			const char *get[] = {"GET", names[i]};
			if (!load_append(context, 2, get, NULL))
				return false;
		}
		for (unsigned i = 0; i < 1 + LOOK_KEYS; i++) {
			reply = load_reply(context);
			if (reply == NULL)
				return false;
			freeReplyObject(reply);
		}
		reply = ask(bank, context, 1, exec);
	}
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != LOOK_KEYS)
		return false;
	for (unsigned i = 0; i < LOOK_KEYS; i++)
		ret[i] = reply->element[i]->type == REDIS_REPLY_STRING
			? strtoll(reply->element[i]->str, NULL, 10)
			: 0;
	freeReplyObject(reply);
	return true;
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
		if (!look(bank, context, auditor->looks % 2 == 1, numbers)) {
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

	for (unsigned i = 0; done && i < ACCOUNTS; i++)
		done = load_expect_ok(redisCommand(context, "SET account:%u %d", i, INITIAL));
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
	uint64_t watched = 0, blind = 0, switched = 0, refused = 0;

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
		switched += tellers[i].switched;
		refused += tellers[i].refused;
	}
	printf("serializable: %" PRIu64 " reactors, %d connections: %" PRIu64
	       " transfers under WATCH, %" PRIu64 " blind, %" PRIu64 " switches, %" PRIu64
	       " refused by EXEC, %" PRIu64 " looks, %.1f s: %" PRIu64 " failures\n",
	       io_threads, CONNECTIONS, watched, blind, switched, refused,
	       auditors[0].looks + auditors[1].looks, (double)(load_now_us() - start) / 1e6, bank.failures);
	return load_finish(server, bank.failures == 0);
}
