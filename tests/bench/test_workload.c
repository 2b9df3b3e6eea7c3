/* Requests are well formed, keys are spread as asked, and a wrong reply is noticed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "workload.h"

static struct workload
open_workload(const char *name, uint64_t keys, size_t value_size)
{
	struct workload workload;
	struct workload_settings settings = {
		.command = workload_command_find(name), .keys = keys, .value_size = value_size, .seed = 3};
	cr_assert_not_null(settings.command);
	cr_assert_eq(workload_open(&workload, &settings), 0);
	return workload;
}

static uint64_t
key_number(const uint8_t *request, size_t size, const char *prefix)
{
	const uint8_t *at = memmem(request, size, prefix, strlen(prefix));
	cr_assert_not_null(at);
	return strtoull((const char *)at + strlen(prefix), NULL, 10);
}

Test(workload, a_get_is_one_multibulk_request)
{
	struct workload workload = open_workload("get", 1, 100);
	uint8_t request[256];
	uint64_t key;
	size_t size = (size_t)(workload_write(&workload, request, &key) - request);
	cr_assert_eq(key, 0);
	cr_assert_eq(size, workload.request_max);
	cr_assert_arr_eq(request, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n", size);
	workload_close(&workload);
}

Test(workload, an_mset_has_ten_pairs)
{
	struct workload workload = open_workload("MSET", 1000, 20);
	uint8_t request[1024];
	uint64_t key;
	cr_assert_leq(workload.request_max, sizeof(request));
	size_t size = (size_t)(workload_write(&workload, request, &key) - request);
	cr_assert_eq(size, workload.request_max);
	cr_assert_arr_eq(request, "*21\r\n$4\r\nMSET\r\n$16\r\nkey:", 24);
	workload_close(&workload);
}

Test(workload, an_hset_sets_a_field_of_one_hash)
{
	struct workload workload = open_workload("HSET", 1, 3);
	uint8_t request[256];
	uint64_t key;
	size_t size = (size_t)(workload_write(&workload, request, &key) - request);
	cr_assert_eq(size, workload.request_max);
	cr_assert_arr_eq(request, "*4\r\n$4\r\nHSET\r\n$4\r\nhash\r\n$18\r\nfield:000000000000\r\n$3\r\n",
			 53);
	workload_close(&workload);
}

Test(workload, each_once_visits_every_key)
{
	enum { KEYS = 1234 };
	static bool seen[KEYS];
	struct workload workload = open_workload("SET", KEYS, 20);
	workload.settings.each_once = true;
	uint8_t request[256];
	for (int i = 0; i < KEYS; i++) {
		uint64_t key;
		size_t size = (size_t)(workload_write(&workload, request, &key) - request);
		cr_assert_eq(key_number(request, size, "key:"), key);
		cr_assert_lt(key, KEYS);
		cr_assert_not(seen[key]);
		seen[key] = true;
	}
	workload_close(&workload);
}

Test(workload, zipf_prefers_few_keys)
{
	enum { KEYS = 1000, DRAWS = 100000 };
	static int drawn[KEYS];
	struct workload workload;
	struct workload_settings settings = {.command = workload_command_find("GET"),
					     .keys = KEYS,
					     .value_size = 20,
					     .zipf = true,
					     .seed = 3};
	cr_assert_eq(workload_open(&workload, &settings), 0);
	uint8_t request[256];
	for (int i = 0; i < DRAWS; i++) {
		uint64_t key;
		workload_write(&workload, request, &key);
		cr_assert_lt(key, KEYS);
		drawn[key]++;
	}
	int most = 0;
	for (int i = 0; i < KEYS; i++)
		most = drawn[i] > most ? drawn[i] : most;
	/* 1 / (sum of i^-0.99 for 1000 keys) is 0.13. */
	cr_assert(most > DRAWS / 10 && most < DRAWS / 6, "the first key was drawn %d times", most);
	workload_close(&workload);
}

/* What SET wrote is the right reply to GET, at every cut, and no other bytes are. */
static void
check_round_trip(size_t value_size)
{
	struct workload set = open_workload("SET", 500, value_size),
			get = open_workload("GET", 500, value_size);
	uint8_t request[512];
	for (int i = 0; i < 50; i++) {
		uint64_t key;
		size_t size = (size_t)(workload_write(&set, request, &key) - request), used;
		const uint8_t *reply = request + size - (value_size + 2 + set.value_head_size);
		size_t reply_size = (size_t)(request + size - reply);
		for (size_t cut = 0; cut < reply_size; cut++)
			cr_assert_eq(workload_check(&get, key, reply, cut, &used), WORKLOAD_MORE);
		cr_assert_eq(workload_check(&get, key, reply, reply_size, &used), WORKLOAD_RIGHT);
		cr_assert_eq(used, reply_size);
		cr_assert_eq(workload_check(&get, key + 1, reply, reply_size, &used), WORKLOAD_WRONG);
		request[size - 3] ^= 1;
		cr_assert_eq(workload_check(&get, key, reply, reply_size, &used), WORKLOAD_WRONG);
	}
	workload_close(&set);
	workload_close(&get);
}

Test(workload, values_are_checked)
{
	check_round_trip(8);
	check_round_trip(16);
	check_round_trip(100);
}

Test(workload, other_replies_are_checked)
{
	struct workload incr = open_workload("INCR", 10, 20), miss = open_workload("GETMISS", 10, 20);
	size_t used;
#define CHECK(workload, text) workload_check(&(workload), 0, (const uint8_t *)(text), strlen(text), &used)
	cr_assert_eq(CHECK(incr, ":12\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(used, 5);
	cr_assert_eq(CHECK(incr, ":12\r"), WORKLOAD_MORE);
	cr_assert_eq(CHECK(incr, ":12"), WORKLOAD_MORE);
	cr_assert_eq(CHECK(incr, ":0\r\n"), WORKLOAD_WRONG);
	cr_assert_eq(CHECK(incr, ":-1\r\n"), WORKLOAD_WRONG);
	cr_assert_eq(CHECK(incr, "-ERR value is not an integer or out of range\r\n"), WORKLOAD_WRONG);
	cr_assert_eq(CHECK(miss, "$-1\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(CHECK(miss, "$0\r\n\r\n"), WORKLOAD_WRONG);
	struct workload hset = open_workload("HSET", 10, 20);
	cr_assert_eq(CHECK(hset, ":0\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(CHECK(hset, ":1\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(CHECK(hset, ":"), WORKLOAD_MORE);
	cr_assert_eq(CHECK(hset, ":1\r"), WORKLOAD_MORE);
	cr_assert_eq(CHECK(hset, ":2\r\n"), WORKLOAD_WRONG);
	cr_assert_eq(CHECK(hset, "+OK\r\n"), WORKLOAD_WRONG);
	workload_close(&hset);
	workload_close(&incr);
	workload_close(&miss);
}

Test(workload, a_put_and_a_pop_are_one_operation)
{
	struct workload pop = open_workload("ZPOPMIN", 10, 20), rank = open_workload("ZRANK", 10, 20);
	uint8_t request[256];
	uint64_t key;
	size_t used, size = (size_t)(workload_write(&pop, request, &key) - request);
	cr_assert_eq(size, pop.request_max);
	cr_assert_arr_eq(request, "*4\r\n$4\r\nZADD\r\n$4\r\nzset\r\n$12\r\n", 29);
	cr_assert_not_null(memmem(request, size, "\r\n*2\r\n$7\r\nZPOPMIN\r\n$4\r\nzset\r\n", 29));
	static const char right[] = ":1\r\n*2\r\n$1\r\na\r\n$2\r\n10\r\n";
	for (size_t cut = 0; cut < sizeof(right) - 1; cut++)
		cr_assert_eq(workload_check(&pop, 0, (const uint8_t *)right, cut, &used), WORKLOAD_MORE);
	cr_assert_eq(CHECK(pop, right), WORKLOAD_RIGHT);
	cr_assert_eq(used, sizeof(right) - 1);
	cr_assert_eq(CHECK(pop, ":1\r\n*0\r\n"), WORKLOAD_WRONG);
	cr_assert_eq(CHECK(rank, ":0\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(CHECK(rank, "$-1\r\n"), WORKLOAD_WRONG);
	workload_close(&pop);
	workload_close(&rank);
	struct workload draw = open_workload("SPOP", 10, 20);
	size = (size_t)(workload_write(&draw, request, &key) - request);
	cr_assert_arr_eq(request, "*3\r\n$4\r\nSADD\r\n$3\r\nset\r\n$12\r\n", 28);
	cr_assert_not_null(memmem(request, size, "\r\n*2\r\n$4\r\nSPOP\r\n$3\r\nset\r\n", 25));
	cr_assert_eq(CHECK(draw, ":0\r\n$1\r\na\r\n"), WORKLOAD_RIGHT);
	cr_assert_eq(CHECK(draw, ":1\r\n$-1\r\n"), WORKLOAD_WRONG);
	workload_close(&draw);
}
