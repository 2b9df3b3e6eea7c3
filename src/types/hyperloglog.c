/* HyperLogLogs; see hyperloglog.h.
 *
 * Where a sparse value is changed, the bytes that result must be those of Redis. So a run that covers the register is
 * split around it, and afterwards equal neighbours are joined, from the run before it on, within SCAN_RUNS steps and only
 * up to the longest run of its kind. */
#include "types/hyperloglog.h"

#include <math.h>
#include <stdio.h>

#include "storage/engine.h"

enum {
	RANK_BITS = 50, /* of the hash, beside the register's number */
	RANK_MAX = RANK_BITS + 1,
	DENSE = 0,
	SPARSE = 1,
	SHORT_ZEROS_MAX = 64,
	ONES_MAX = 4,         /* registers of one run that is not 0 */
	SPARSE_RANK_MAX = 32, /* of one, too */
	SCAN_RUNS = 5,
};

static const char magic[4] = {'H', 'Y', 'L', 'L'};

/* ---- the header ---- */

bool
hll_is_valid(struct bytes header, uint64_t size)
{
	if (size < HLL_HEADER_SIZE || memcmp(header.data, magic, sizeof(magic)) != 0)
		return false;
	return header.data[4] == SPARSE || (header.data[4] == DENSE && size == HLL_DENSE_SIZE);
}

bool
hll_is_dense(struct bytes value)
{
	return value.data[4] == DENSE;
}

bool
hll_cached_count(struct bytes value, uint64_t *ret)
{
	uint64_t count = 0;
	if ((value.data[HLL_HEADER_SIZE - 1] & 0x80) != 0)
		return false;
	for (int i = 7; i >= 0; i--)
		count = count << 8 | value.data[8 + i];
	*ret = count;
	return true;
}

void
hll_set_count(struct buffer *value, uint64_t count)
{
	for (int i = 0; i < 8; i++)
		value->data[8 + i] = (uint8_t)(count >> (8 * i));
}

void
hll_spoil_count(struct buffer *value)
{
	value->data[HLL_HEADER_SIZE - 1] |= 0x80;
}

int
hll_make_empty(struct buffer *value)
{
	uint8_t empty[HLL_HEADER_SIZE + 2] = {'H', 'Y', 'L', 'L', SPARSE};
	empty[HLL_HEADER_SIZE] = 0x40 | (HLL_REGISTERS - 1) >> 8;
	empty[HLL_HEADER_SIZE + 1] = (HLL_REGISTERS - 1) & 0xff;
	buffer_clear(value);
	return buffer_append(value, empty, sizeof(empty));
}

/* ---- elements ---- */

static uint64_t
little_endian(const uint8_t *data, size_t size)
{
	uint64_t word = 0;
	for (size_t i = 0; i < size; i++)
		word |= (uint64_t)data[i] << (8 * i);
	return word;
}

static uint64_t
murmur64a(struct bytes b, uint64_t seed)
{
	const uint64_t multiplier = 0xc6a4a7935bd1e995;
	uint64_t hash = seed ^ b.size * multiplier;
	size_t at = 0;
	for (; at + 8 <= b.size; at += 8) {
		uint64_t word = little_endian(b.data + at, 8) * multiplier;
		word ^= word >> 47;
		hash = (hash ^ word * multiplier) * multiplier;
	}
	if (at < b.size)
		hash = (hash ^ little_endian(b.data + at, b.size - at)) * multiplier;
	hash = (hash ^ hash >> 47) * multiplier;
	return hash ^ hash >> 47;
}

struct hll_rank
hll_rank_of(struct bytes element)
{
	uint64_t hash = murmur64a(element, 0xadc83b19);
	uint64_t rest = hash / HLL_REGISTERS | 1ull << RANK_BITS;
	return (struct hll_rank){.index = hash % HLL_REGISTERS, .rank = (unsigned)__builtin_ctzll(rest) + 1};
}

/* ---- dense registers ---- */

static unsigned
dense_get(const uint8_t *registers, unsigned index)
{
	const uint8_t *p = registers + index / 4 * 3;
	uint32_t four = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
	return four >> (index % 4 * 6) & 63;
}

static void
dense_set(uint8_t *registers, unsigned index, unsigned rank)
{
	uint8_t *p = registers + index / 4 * 3;
	unsigned shift = index % 4 * 6;
	uint32_t four = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
	four = (four & ~(63u << shift)) | rank << shift;
	p[0] = (uint8_t)four;
	p[1] = (uint8_t)(four >> 8);
	p[2] = (uint8_t)(four >> 16);
}

/* ---- sparse registers ---- */

/* Neighbours that are alike. */
struct run {
	unsigned rank, length;
	size_t size; /* of its encoding */
};

/* SETT_NOT_FOUND at the end of the value, SETT_CORRUPT. */
static int
decode_run(struct bytes value, size_t at, struct run *ret)
{
	if (at >= value.size)
		return SETT_NOT_FOUND;
	uint8_t first = value.data[at];
	if ((first & 0x80) != 0) {
		*ret = (struct run){.rank = (first >> 2 & 31u) + 1, .length = (first & 3u) + 1, .size = 1};
	} else if ((first & 0x40) == 0) {
		*ret = (struct run){.length = (first & 63u) + 1, .size = 1};
	} else if (at + 1 < value.size) {
		unsigned length = ((first & 63u) << 8 | value.data[at + 1]) + 1;
		*ret = (struct run){.length = length, .size = 2};
	} else {
		return SETT_CORRUPT;
	}
	return SETT_OK;
}

/* Returns its size; a run of no registers takes none. */
static size_t
encode_run(unsigned rank, unsigned length, uint8_t *ret)
{
	if (length == 0)
		return 0;
	if (rank > 0) {
		ret[0] = (uint8_t)(0x80 | (rank - 1) << 2 | (length - 1));
		return 1;
	}
	if (length <= SHORT_ZEROS_MAX) {
		ret[0] = (uint8_t)(length - 1);
		return 1;
	}
	ret[0] = (uint8_t)(0x40 | (length - 1) >> 8);
	ret[1] = (uint8_t)(length - 1);
	return 2;
}

/* A run in its place. */
struct place {
	size_t at, before; /* offsets of the run, and of that before it (its own if it is the first) */
	unsigned first;    /* its first register */
	struct run run;
};

static int
find_run(struct bytes value, unsigned index, struct place *ret)
{
	struct place p = {.at = HLL_HEADER_SIZE, .before = HLL_HEADER_SIZE};
	for (;;) {
		int status = decode_run(value, p.at, &p.run);
		if (status != SETT_OK)
			return SETT_CORRUPT;
		if (index < p.first + p.run.length)
			break;
		p.first += p.run.length;
		p.before = p.at;
		p.at += p.run.size;
	}
	*ret = p;
	return SETT_OK;
}

/* Joins runs from `at` on with those that follow them. */
static void
join_runs(struct buffer *value, size_t at)
{
	struct run run, next;
	for (int i = 0; i < SCAN_RUNS && decode_run(buffer_bytes(value), at, &run) == SETT_OK; i++) {
		size_t after = at + run.size;
		if (run.rank > 0 && decode_run(buffer_bytes(value), after, &next) == SETT_OK &&
		    next.rank == run.rank && run.length + next.length <= ONES_MAX) {
			encode_run(run.rank, run.length + next.length, value->data + at);
			memmove(value->data + after, value->data + after + next.size,
				value->size - after - next.size);
			value->size -= next.size;
		} else {
			at = after;
		}
	}
}

/* Puts `size` bytes in place of `old_size` at `at`. */
static int
replace_bytes(struct buffer *value, size_t at, size_t old_size, const uint8_t *bytes, size_t size)
{
	if (size > old_size && buffer_reserve(value, size - old_size) != 0)
		return SETT_NO_MEMORY;
	memmove(value->data + at + size, value->data + at + old_size, value->size - at - old_size);
	memcpy(value->data + at, bytes, size);
	value->size = value->size - old_size + size;
	return SETT_OK;
}

static int
raise_dense(struct buffer *value, struct hll_rank to, bool *ret_raised)
{
	uint8_t *registers = value->data + HLL_HEADER_SIZE;
	*ret_raised = dense_get(registers, to.index) < to.rank;
	if (*ret_raised)
		dense_set(registers, to.index, to.rank);
	return SETT_OK;
}

static int
raise_sparse(struct buffer *value, struct hll_rank to, uint64_t sparse_max, bool *ret_raised)
{
	struct place p;
	uint8_t runs[6];
	int status = find_run(buffer_bytes(value), to.index, &p);
	if (status != SETT_OK)
		return status;
	*ret_raised = p.run.rank < to.rank;
	if (!*ret_raised)
		return SETT_OK;
	size_t size = encode_run(p.run.rank, to.index - p.first, runs);
	size += encode_run(to.rank, 1, runs + size);
	size += encode_run(p.run.rank, p.first + p.run.length - 1 - to.index, runs + size);
	if (size > p.run.size && value->size + size - p.run.size > sparse_max) {
		status = hll_make_dense(value);
		return status == SETT_OK ? raise_dense(value, to, ret_raised) : status;
	}
	status = replace_bytes(value, p.at, p.run.size, runs, size);
	if (status == SETT_OK)
		join_runs(value, p.before);
	return status;
}

int
hll_raise(struct buffer *value, struct hll_rank to, uint64_t sparse_max, bool *ret_raised)
{
	bool is_dense = hll_is_dense(buffer_bytes(value));
	if (!is_dense && to.rank <= SPARSE_RANK_MAX)
		return raise_sparse(value, to, sparse_max, ret_raised);
	int status = is_dense ? SETT_OK : hll_make_dense(value);
	return status == SETT_OK ? raise_dense(value, to, ret_raised) : status;
}

/* ---- all registers ---- */

/* Calls run(arg, first, run) for each run of a sparse value, and checks that they are all registers. */
static int
walk_runs(struct bytes value, void (*run)(void *arg, unsigned first, const struct run *), void *arg)
{
	struct run r;
	unsigned first = 0;
	int status;
	size_t at = HLL_HEADER_SIZE;
	while ((status = decode_run(value, at, &r)) == SETT_OK) {
		if (r.length > HLL_REGISTERS - first)
			return SETT_CORRUPT;
		run(arg, first, &r);
		first += r.length;
		at += r.size;
	}
	return status == SETT_NOT_FOUND && first == HLL_REGISTERS ? SETT_OK : SETT_CORRUPT;
}

int
hll_register(struct bytes value, unsigned index, unsigned *ret)
{
	struct place p;
	if (hll_is_dense(value)) {
		*ret = dense_get(value.data + HLL_HEADER_SIZE, index);
		return SETT_OK;
	}
	int status = find_run(value, index, &p);
	if (status == SETT_OK)
		*ret = p.run.rank;
	return status;
}

static void
store_run(void *arg, unsigned first, const struct run *r)
{
	for (unsigned i = 0; r->rank > 0 && i < r->length; i++)
		dense_set(arg, first + i, r->rank);
}

int
hll_make_dense(struct buffer *value)
{
	struct buffer dense = {0};
	if (hll_is_dense(buffer_bytes(value)))
		return SETT_OK;
	if (buffer_reserve(&dense, HLL_DENSE_SIZE) != 0)
		return SETT_NO_MEMORY;
	dense.size = HLL_DENSE_SIZE;
	memset(dense.data, 0, HLL_DENSE_SIZE);
	memcpy(dense.data, value->data, HLL_HEADER_SIZE);
	dense.data[4] = DENSE;
	int status = walk_runs(buffer_bytes(value), store_run, dense.data + HLL_HEADER_SIZE);
	if (status != SETT_OK) {
		buffer_free(&dense);
		return status;
	}
	buffer_free(value);
	*value = dense;
	return SETT_OK;
}

static void
raise_run(void *arg, unsigned first, const struct run *r)
{
	uint8_t *registers = arg;
	for (unsigned i = first; i < first + r->length; i++)
		if (registers[i] < r->rank)
			registers[i] = (uint8_t)r->rank;
}

int
hll_merge(struct bytes value, uint8_t *registers)
{
	if (!hll_is_dense(value))
		return walk_runs(value, raise_run, registers);
	for (unsigned i = 0; i < HLL_REGISTERS; i++) {
		unsigned rank = dense_get(value.data + HLL_HEADER_SIZE, i);
		if (registers[i] < rank)
			registers[i] = (uint8_t)rank;
	}
	return SETT_OK;
}

static void
count_run(void *arg, unsigned first, const struct run *r)
{
	unsigned *histogram = arg;
	(void)first;
	histogram[r->rank] += r->length;
}

int
hll_histogram(struct bytes value, unsigned *ret)
{
	memset(ret, 0, HLL_RANKS * sizeof(*ret));
	if (!hll_is_dense(value))
		return walk_runs(value, count_run, ret);
	for (unsigned i = 0; i < HLL_REGISTERS; i++)
		ret[dense_get(value.data + HLL_HEADER_SIZE, i)]++;
	return SETT_OK;
}

void
hll_histogram_of(const uint8_t *registers, unsigned *ret)
{
	memset(ret, 0, HLL_RANKS * sizeof(*ret));
	for (unsigned i = 0; i < HLL_REGISTERS; i++)
		ret[registers[i]]++;
}

/* ---- the estimate ---- */

/* Ertl's two series, with his names: x^(2^k) * 2^(k-1) summed, and its counterpart for large ranks. */
static double
sigma(double x)
{
	double z = x, y = 1, before;
	if (x == 1)
		return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z != before);
	return z;
}

static double
tau(double x)
{
	double z = 1 - x, y = 1, before;
	if (x == 0 || x == 1)
		return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

uint64_t
hll_estimate(const unsigned *histogram)
{
	const double m = HLL_REGISTERS, alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
	double z = m * tau((m - histogram[RANK_MAX]) / m);
	for (int rank = RANK_BITS; rank >= 1; rank--)
		z = (z + histogram[rank]) * 0.5;
	z += m * sigma(histogram[0] / m);
	return (uint64_t)llround(alpha * m * m / z);
}

/* ---- for people ---- */

struct description {
	struct buffer *text;
	bool failed;
};

static void
describe_run(void *arg, unsigned first, const struct run *r)
{
	struct description *d = arg;
	char text[32];
	const char *space = first > 0 ? " " : "";
	int size = r->rank > 0
		? snprintf(text, sizeof(text), "%sv:%u,%u", space, r->rank, r->length)
		: snprintf(text, sizeof(text), "%s%c:%u", space, r->size == 1 ? 'z' : 'Z', r->length);
	d->failed = d->failed || buffer_append(d->text, text, (size_t)size) != 0;
}

int
hll_describe(struct bytes value, struct buffer *ret)
{
	struct description d = {.text = ret};
	int status = walk_runs(value, describe_run, &d);
	return status == SETT_OK && d.failed ? SETT_NO_MEMORY : status;
}
