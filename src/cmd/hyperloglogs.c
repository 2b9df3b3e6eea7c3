/* PFADD and its kin, on strings that are HyperLogLogs (types/hyperloglog.h). */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "config/config.h"
#include "storage/base/random.h"
#include "types/hyperloglog.h"

/* ---- keys ---- */

/* A key that holds one, or none. */
struct hll_key {
	struct key key;
	struct bytes value;    /* as it is stored; of an absent key empty */
	struct buffer changed; /* the new value, from the first change on */
};

static int
corrupt_hll(struct command_context *c)
{
	return context_error(c, "INVALIDOBJ Corrupted HLL object detected");
}

/* What a function of hyperloglog.h returned, as the command's. */
static int
outcome_of(struct command_context *c, int status)
{
	return status == SETT_CORRUPT ? corrupt_hll(c) : status;
}

/* Checks that the string is a HyperLogLog by its first bytes, and reads it: a string that is too long for one is not. */
static int
read_hll(struct command_context *c, struct hll_key *h)
{
	uint8_t header[HLL_HEADER_SIZE];
	uint64_t size = h->key.root.body_size;
	size_t part = size < HLL_HEADER_SIZE ? (size_t)size : HLL_HEADER_SIZE;
	int status = key_body_part(&h->key, 0, part, header);
	if (status != SETT_OK)
		return status;
	if (!hll_is_valid(bytes_of(header, part), size))
		return context_error(c, "WRONGTYPE Key is not a valid HyperLogLog string value.");
	return size <= HLL_SIZE_MAX ? key_body(&h->key, &h->value) : corrupt_hll(c);
}

static int
open_hll(struct command_context *c, struct bytes name, bool counts_as_read, struct hll_key *ret)
{
	*ret = (struct hll_key){0};
	int status = counts_as_read ? open_read_string(c, name, &ret->key) : open_string(c, name, &ret->key);
	return status == SETT_OK && ret->key.exists ? read_hll(c, ret) : status;
}

/* Makes the copy that is changed; of an absent key an empty one. */
static int
begin_change(struct hll_key *h)
{
	if (h->changed.data != NULL)
		return SETT_OK;
	int status = h->key.exists ? buffer_append(&h->changed, h->value.data, h->value.size)
				   : hll_make_empty(&h->changed);
	if (status == SETT_OK)
		h->value = buffer_bytes(&h->changed);
	return status;
}

static int
put_hll(struct hll_key *h)
{
	return key_put_encoded(&h->key, buffer_bytes(&h->changed), STRING_RAW, key_deadline(&h->key));
}

static uint64_t
sparse_max(const struct command_context *c)
{
	return (uint64_t)__atomic_load_n(&c->server->config->hll_sparse_max_bytes, __ATOMIC_RELAXED);
}

/* Raises a register, if it is lower; the value is copied only then. */
static int
raise_register(struct command_context *c, struct hll_key *h, struct hll_rank to)
{
	unsigned old;
	bool raised;
	int status = hll_register(h->value, to.index, &old);
	if (status != SETT_OK || old >= to.rank)
		return status;
	status = begin_change(h);
	if (status == SETT_OK)
		status = hll_raise(&h->changed, to, sparse_max(c), &raised);
	h->value = buffer_bytes(&h->changed);
	return status;
}

/* ---- PFADD ---- */

static int
add_elements(struct command_context *c, struct hll_key *h)
{
	int status = h->key.exists ? SETT_OK : begin_change(h);
	for (size_t i = 2; status == SETT_OK && i < c->argc; i++)
		status = raise_register(c, h, hll_rank_of(c->argv[i]));
	if (status != SETT_OK || h->changed.data == NULL)
		return status;
	hll_spoil_count(&h->changed);
	return put_hll(h);
}

int
command_pfadd(struct command_context *c)
{
	struct hll_key h;
	int status = open_hll(c, c->argv[1], false, &h);
	if (status != SETT_OK)
		return status;
	status = add_elements(c, &h);
	if (status == SETT_OK)
		resp_integer(c->reply, h.changed.data != NULL);
	if (h.changed.data != NULL)
		status = tell(status, &h.key, EVENT_STRING, "pfadd");
	buffer_free(&h.changed);
	return outcome_of(c, status);
}

/* ---- PFCOUNT ---- */

/* The estimate is kept in the value, as Redis does: the next question reads it. */
static int
count_one(struct command_context *c, struct bytes name)
{
	struct hll_key h;
	unsigned histogram[HLL_RANKS];
	uint64_t count = 0;
	int status = open_hll(c, name, true, &h);
	if (status != SETT_OK)
		return status;
	if (h.key.exists && !hll_cached_count(h.value, &count)) {
		status = hll_histogram(h.value, histogram);
		if (status != SETT_OK)
			return outcome_of(c, status);
		count = hll_estimate(histogram);
		status = begin_change(&h);
		if (status == SETT_OK) {
			hll_set_count(&h.changed, count);
			status = put_hll(&h);
		}
		buffer_free(&h.changed);
	}
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)count);
	return status;
}

/* The greatest registers of all keys from argument `first` on. */
static int
merge_keys(struct command_context *c, size_t first, uint8_t *registers, bool *ret_any_dense)
{
	memset(registers, 0, HLL_REGISTERS);
	for (size_t i = first; i < c->argc; i++) {
		struct hll_key h;
		int status = open_hll(c, c->argv[i], true, &h);
		if (status != SETT_OK)
			return status;
		if (!h.key.exists)
			continue;
		*ret_any_dense = *ret_any_dense || hll_is_dense(h.value);
		status = hll_merge(h.value, registers);
		if (status != SETT_OK)
			return outcome_of(c, status);
	}
	return SETT_OK;
}

int
command_pfcount(struct command_context *c)
{
	uint8_t registers[HLL_REGISTERS];
	unsigned histogram[HLL_RANKS];
	bool any_dense = false;
	if (c->argc == 2)
		return count_one(c, c->argv[1]);
	int status = merge_keys(c, 1, registers, &any_dense);
	if (status != SETT_OK)
		return status;
	hll_histogram_of(registers, histogram);
	resp_integer(c->reply, (int64_t)hll_estimate(histogram));
	return SETT_OK;
}

/* ---- PFMERGE ---- */

/* Raises the registers of argv[1] one after another, as Redis does: the same bytes result. */
static int
put_merged(struct command_context *c, struct hll_key *h, const uint8_t *registers, bool is_dense)
{
	bool raised;
	int status = begin_change(h);
	if (status == SETT_OK && is_dense)
		status = hll_make_dense(&h->changed);
	for (unsigned i = 0; status == SETT_OK && i < HLL_REGISTERS; i++)
		if (registers[i] > 0)
			status = hll_raise(&h->changed, (struct hll_rank){.index = i, .rank = registers[i]},
					   sparse_max(c), &raised);
	if (status != SETT_OK)
		return status;
	hll_spoil_count(&h->changed);
	return put_hll(h);
}

int
command_pfmerge(struct command_context *c)
{
	uint8_t registers[HLL_REGISTERS];
	struct hll_key h;
	bool any_dense = false;
	int status = merge_keys(c, 1, registers, &any_dense);
	if (status == SETT_OK)
		status = open_hll(c, c->argv[1], false, &h);
	if (status != SETT_OK)
		return status;
	status = put_merged(c, &h, registers, any_dense);
	status = tell(status, &h.key, EVENT_STRING, "pfadd");
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	buffer_free(&h.changed);
	return outcome_of(c, status);
}

/* ---- PFDEBUG ---- */

static int
reply_registers(struct command_context *c, struct bytes value)
{
	uint8_t registers[HLL_REGISTERS] = {0};
	int status = hll_merge(value, registers);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, HLL_REGISTERS);
	for (size_t i = 0; i < HLL_REGISTERS; i++)
		resp_integer(c->reply, registers[i]);
	return SETT_OK;
}

static int
reply_runs(struct command_context *c, struct bytes value)
{
	struct buffer text = {0};
	if (hll_is_dense(value))
		return context_error(c, "ERR HLL encoding is not sparse");
	int status = hll_describe(value, &text);
	if (status == SETT_OK)
		resp_bulk(c->reply, text.data, text.size);
	buffer_free(&text);
	return status;
}

static int
turn_dense(struct hll_key *h)
{
	if (hll_is_dense(h->value))
		return SETT_OK;
	int status = begin_change(h);
	if (status == SETT_OK)
		status = hll_make_dense(&h->changed);
	if (status == SETT_OK)
		status = put_hll(h);
	buffer_free(&h->changed);
	return status;
}

int
command_pfdebug(struct command_context *c)
{
	struct hll_key h;
	struct bytes word = c->argv[1];
	int status = open_hll(c, c->argv[2], false, &h);
	if (status != SETT_OK)
		return status;
	if (!h.key.exists)
		return context_error(c, "ERR The specified key does not exist");
	bool is_dense = hll_is_dense(h.value);
	if (argument_is(word, "GETREG")) {
		status = reply_registers(c, h.value);
		if (status == SETT_OK)
			status = turn_dense(&h);
	} else if (argument_is(word, "DECODE")) {
		status = reply_runs(c, h.value);
	} else if (argument_is(word, "ENCODING")) {
		resp_status(c->reply, is_dense ? "dense" : "sparse");
	} else if (argument_is(word, "TODENSE")) {
		status = turn_dense(&h);
		if (status == SETT_OK)
			resp_integer(c->reply, !is_dense);
	} else {
		return context_errorf(c, "ERR Unknown PFDEBUG subcommand '%.*s'",
				      (int)(word.size < 128 ? word.size : 128), (const char *)word.data);
	}
	return outcome_of(c, status);
}

/* ---- PFSELFTEST ---- */

enum { TEST_ELEMENTS = 1000000 };

/* Registers keep what they are given, whatever is done to their neighbours. */
static bool
registers_are_right(struct buffer *dense, struct random *random)
{
	uint8_t expected[HLL_REGISTERS] = {0}, found[HLL_REGISTERS] = {0};
	bool raised;
	for (int i = 0; i < 4 * HLL_REGISTERS; i++) {
		struct hll_rank to = {.index = (unsigned)random_below(random, HLL_REGISTERS),
				      .rank = (unsigned)random_below(random, HLL_RANKS)};
		if (hll_raise(dense, to, 0, &raised) != SETT_OK || raised != (expected[to.index] < to.rank))
			return false;
		if (raised)
			expected[to.index] = (uint8_t)to.rank;
	}
	return hll_merge(buffer_bytes(dense), found) == SETT_OK &&
		memcmp(expected, found, sizeof(found)) == 0;
}

/* Both forms have the same registers, and their estimate is within six standard errors (1.04 / sqrt(m)). */
static bool
estimate_is_right(const struct buffer *sparse, const struct buffer *dense, uint64_t elements)
{
	unsigned a[HLL_RANKS], b[HLL_RANKS];
	if (hll_histogram(buffer_bytes(sparse), a) != SETT_OK ||
	    hll_histogram(buffer_bytes(dense), b) != SETT_OK)
		return false;
	double difference = (double)hll_estimate(a) - (double)elements;
	return memcmp(a, b, sizeof(a)) == 0 &&
		difference * difference <=
		(double)elements * (double)elements * 36 * 1.0816 / HLL_REGISTERS + 1;
}

static bool
estimates_are_right(struct buffer *sparse, struct buffer *dense, uint64_t seed)
{
	bool raised;
	if (hll_make_empty(sparse) != SETT_OK || hll_make_empty(dense) != SETT_OK ||
	    hll_make_dense(dense) != SETT_OK)
		return false;
	for (uint64_t i = 1, next = 1; i <= TEST_ELEMENTS; i++) {
		uint64_t element = i ^ seed;
		struct hll_rank rank = hll_rank_of(bytes_of(&element, sizeof(element)));
		if (hll_raise(sparse, rank, 3000, &raised) != SETT_OK ||
		    hll_raise(dense, rank, 0, &raised) != SETT_OK)
			return false;
		if (i < next)
			continue;
		next *= 10;
		if (!estimate_is_right(sparse, dense, i))
			return false;
	}
	return true;
}

int
command_pfselftest(struct command_context *c)
{
	struct buffer sparse = {0}, dense = {0};
	struct random random;
	uint64_t seed = keyspace_random(c->server->keyspace);
	int status = SETT_OK;
	random_seed(&random, seed);
	if (hll_make_empty(&dense) != SETT_OK || hll_make_dense(&dense) != SETT_OK)
		status = SETT_NO_MEMORY;
	else if (!registers_are_right(&dense, &random))
		status = context_errorf(c, "TESTFAILED Registers are wrong, seed %llu",
					(unsigned long long)seed);
	else if (!estimates_are_right(&sparse, &dense, seed))
		status = context_errorf(c, "TESTFAILED Estimates are wrong, seed %llu",
					(unsigned long long)seed);
	else
		resp_status(c->reply, "OK");
	buffer_free(&sparse);
	buffer_free(&dense);
	return status;
}
