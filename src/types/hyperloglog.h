/* HyperLogLogs: estimates of how many different elements were seen, in strings as Redis stores them, so that a value may
 * be carried from one server to the other by GET and SET, and is the same byte for byte after the same operations. No
 * function here knows of keys.
 *
 * The format is as Redis' documentation and comments describe it (redis.io/docs, "HyperLogLog"; S. Sanfilippo, "Redis
 * new data structure: the HyperLogLog", 2014), the algorithm that of Flajolet and others 2007 with 2^14 registers:
 *
 *     "HYLL" encoding:u8 0 0 0 cardinality:u64le registers
 *
 *     encoding      0 dense, 1 sparse
 *     cardinality   as it was last estimated; with its highest bit set it is out of date
 *     dense         16384 numbers of 6 bits, the lowest bits of a byte first: 12288 bytes
 *     sparse        runs of registers from the first to the last, each of one or two bytes:
 *                       00nnnnnn                n+1 registers that are 0
 *                       01nnnnnn nnnnnnnn       n+1 registers that are 0, the high bits of n first
 *                       1vvvvvnn                n+1 registers that are v+1
 *
 * An element's hash is the 64-bit MurmurHash2 (A. Appleby, variant A) under the seed 0xadc83b19. Its low 14 bits say
 * which register, and the number of zeros below the lowest one of the other 50 bits, plus 1, is what that register is
 * at least (51 if there is none).
 *
 * A sparse value becomes dense when a register passes 32, or when it would grow past hll-sparse-max-bytes. */
#ifndef SETT_TYPES_HYPERLOGLOG_H
#define SETT_TYPES_HYPERLOGLOG_H

#include <stdbool.h>

#include "storage/base/bytes.h"

enum {
	HLL_REGISTERS = 1 << 14,
	HLL_HEADER_SIZE = 16,
	HLL_DENSE_SIZE = HLL_HEADER_SIZE + HLL_REGISTERS / 8 * 6,
	HLL_SIZE_MAX = HLL_HEADER_SIZE + 2 * HLL_REGISTERS, /* no sparse value that makes sense is longer */
	HLL_RANKS = 64,                                     /* what a register may be: below */
};

/* Whether a string of `size` bytes that begins like this (HLL_HEADER_SIZE bytes of it, if it has them) is one. Its runs
 * may still make no sense: then the functions below return SETT_CORRUPT. */
bool hll_is_valid(struct bytes header, uint64_t size);
bool hll_is_dense(struct bytes value);
/* The cardinality that the value keeps; false: it is out of date. */
bool hll_cached_count(struct bytes value, uint64_t *ret);

/* ---- registers ---- */

/* The register of an element, and what it is to be at least. */
struct hll_rank {
	unsigned index, rank;
};
struct hll_rank hll_rank_of(struct bytes element);
/* SETT_CORRUPT. */
int hll_register(struct bytes value, unsigned index, unsigned *ret);
/* Raises each of HLL_REGISTERS numbers to the value's register. SETT_CORRUPT. */
int hll_merge(struct bytes value, uint8_t *registers);
/* How many registers have which rank; `ret` has HLL_RANKS elements. SETT_CORRUPT. */
int hll_histogram(struct bytes value, unsigned *ret);
void hll_histogram_of(const uint8_t *registers, unsigned *ret);
/* The estimate of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), section 4. */
uint64_t hll_estimate(const unsigned *histogram);

/* ---- changes: `value` is a whole value in memory of its own ---- */

/* An empty one, sparse, with an estimate of 0. SETT_NO_MEMORY. */
int hll_make_empty(struct buffer *value);
/* SETT_NO_MEMORY, SETT_CORRUPT (the value is as before). */
int hll_make_dense(struct buffer *value);
/* Raises a register; `*ret_raised`: it was lower. SETT_NO_MEMORY, SETT_CORRUPT. */
int hll_raise(struct buffer *value, struct hll_rank, uint64_t sparse_max, bool *ret_raised);
/* Notes the estimate, or that the one there is out of date. */
void hll_set_count(struct buffer *value, uint64_t count);
void hll_spoil_count(struct buffer *value);

/* The runs of a sparse value as text: "Z:16000 v:3,1 z:20". SETT_NO_MEMORY, SETT_CORRUPT. */
int hll_describe(struct bytes value, struct buffer *ret);

#endif
