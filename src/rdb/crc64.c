/* Eight bytes a step: table k says what a byte with k bytes behind it adds ("slicing", Kounavis and Berry, 2005). Where the
 * processor multiplies without carries, 64 bytes a step: what is read is kept in four numbers of 16 bytes, and a number is carried
 * over n bytes by what x^(8n) leaves ("folding", Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
 * Instruction", 2009). What they come to in the end, 16 bytes with the same checksum, goes through the tables. */
#include "rdb/crc64.h"

#include <endian.h>
#include <pthread.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { SLICES = 8, BYTE_VALUES = 256, LANES = 4, LANE = 16, FOLD_LEAST = 2 * LANES * LANE };

static const uint64_t reflected_polynomial = UINT64_C(0x95ac9329ac4bc9b5);

static uint64_t tables[SLICES][BYTE_VALUES];
static bool can_fold;
static pthread_once_t prepared_once = PTHREAD_ONCE_INIT;

static void
make_tables(void)
{
	for (unsigned byte = 0; byte < BYTE_VALUES; byte++) {
		uint64_t crc = byte;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? reflected_polynomial : 0);
		tables[0][byte] = crc;
	}
	for (int slice = 1; slice < SLICES; slice++)
		for (unsigned byte = 0; byte < BYTE_VALUES; byte++) {
			uint64_t before = tables[slice - 1][byte];
			tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
		}
}

static uint64_t
slice(uint64_t crc, const uint8_t *p, size_t left)
{
	for (; left >= SLICES; p += SLICES, left -= SLICES) {
		uint64_t word;
		memcpy(&word, p, sizeof(word));
		word = le64toh(word) ^ crc;
		crc = 0;
		for (int i = 0; i < SLICES; i++)
			crc ^= tables[SLICES - 1 - i][(word >> (8 * i)) & 0xff];
	}
	for (; left > 0; p++, left--)
		crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 0xff];
	return crc;
}

#ifdef __x86_64__
/* What carries a number on: for its first eight bytes, which have the higher powers, and for its last. */
struct carry {
	uint64_t first, last;
};
static struct carry carry_lane, carry_step;

/* x^n, less the 1 that a product of two reflected numbers is shifted by. */
static uint64_t
power(unsigned n)
{
	uint64_t value = UINT64_C(1) << 63;
	for (unsigned i = 1; i < n; i++)
		value = (value >> 1) ^ ((value & 1) != 0 ? reflected_polynomial : 0);
	return value;
}

static void
prepare_folding(void)
{
	enum { BITS = 8 * LANE, HALF = BITS / 2 };
	carry_lane = (struct carry){power(BITS + HALF), power(BITS)};
	carry_step = (struct carry){power(LANES * BITS + HALF), power(LANES * BITS)};
	can_fold = __builtin_cpu_supports("pclmul") != 0;
}

static inline __attribute__((target("pclmul"))) __m128i
carry_on(__m128i number, __m128i by)
{
	return _mm_xor_si128(_mm_clmulepi64_si128(number, by, 0x00), _mm_clmulepi64_si128(number, by, 0x11));
}

static inline __m128i
load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

/* Of at least LANES * LANE bytes; returns how many it took. */
static __attribute__((target("pclmul"))) size_t
fold(uint64_t *crc, const uint8_t *p, size_t size)
{
	__m128i lanes[LANES];
	__m128i by = _mm_set_epi64x((int64_t)carry_step.last, (int64_t)carry_step.first);
	size_t at = LANES * LANE;
	uint8_t rest[LANE];
	for (size_t i = 0; i < LANES; i++)
		lanes[i] = load(p + i * LANE);
	lanes[0] = _mm_xor_si128(lanes[0], _mm_set_epi64x(0, (int64_t)*crc));
	for (; size - at >= LANES * LANE; at += LANES * LANE)
		for (size_t i = 0; i < LANES; i++)
			lanes[i] = _mm_xor_si128(carry_on(lanes[i], by), load(p + at + i * LANE));
	by = _mm_set_epi64x((int64_t)carry_lane.last, (int64_t)carry_lane.first);
	for (size_t i = 1; i < LANES; i++)
		lanes[i] = _mm_xor_si128(carry_on(lanes[i - 1], by), lanes[i]);
	_mm_storeu_si128((__m128i *)rest, lanes[LANES - 1]);
	*crc = slice(0, rest, sizeof(rest));
	return at;
}
#else
static void
prepare_folding(void)
{
}

static size_t
fold(uint64_t *crc, const uint8_t *p, size_t size)
{
	(void)crc, (void)p, (void)size;
	return 0;
}
#endif

static void
prepare(void)
{
	make_tables();
	prepare_folding();
}

uint64_t
crc64(uint64_t crc, struct bytes data)
{
	size_t folded = 0;
	pthread_once(&prepared_once, prepare);
	if (can_fold && data.size >= FOLD_LEAST)
		folded = fold(&crc, data.data, data.size);
	return slice(crc, data.data + folded, data.size - folded);
}
