/* BITCOUNT and BITPOS: what is asked of a range of a string's bits, in one pass over it. */
#include "cmd/bits.h"
#include "cmd/commands.h"

/* A range as in the arguments, of bytes or of bits; negative numbers count from the end. */
struct given_range {
	int64_t start, end;
	bool in_bits;
};

static bool
parse_unit(struct command_context *c, struct bytes argument, bool *ret_in_bits)
{
	*ret_in_bits = argument_is(argument, "BIT");
	if (*ret_in_bits || argument_is(argument, "BYTE"))
		return true;
	context_syntax_error(c);
	return false;
}

/* Bits from `first` up to `end` of a string of `size` bytes; false: there are none. */
static bool
range_of_bits(const struct given_range *range, uint64_t size, uint64_t *ret_first, uint64_t *ret_end)
{
	int64_t total = (int64_t)(range->in_bits ? size * 8 : size), scale = range->in_bits ? 1 : 8;
	int64_t start = range->start < 0 ? range->start + total : range->start;
	int64_t end = range->end < 0 ? range->end + total : range->end;
	if (start < 0)
		start = 0;
	if (end < 0)
		end = 0;
	if (end >= total)
		end = total - 1;
	if (start > end)
		return false;
	*ret_first = (uint64_t)(start * scale);
	*ret_end = (uint64_t)((end + 1) * scale);
	return true;
}

/* ---- BITCOUNT ---- */

/* Sums of bits in parallel, in a shape that compilers turn into vector code (Warren, Hacker's Delight, chapter 5). */
static uint64_t
count_ones(struct bytes b)
{
	uint64_t sum = 0;
	size_t i = 0;
	for (; i + 8 <= b.size; i += 8) {
		uint64_t x;
		memcpy(&x, b.data + i, 8);
		x -= x >> 1 & 0x5555555555555555;
		x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
		x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
		x += x >> 8;
		x += x >> 16;
		x += x >> 32;
		sum += x & 0xff;
	}
	for (; i < b.size; i++)
		sum += (uint64_t)__builtin_popcount(b.data[i]);
	return sum;
}

static int
count_range(struct command_context *c, const struct key *k, uint64_t first, uint64_t end, uint64_t *ret)
{
	struct string_pieces pieces;
	struct bytes piece = {0};
	uint64_t count = 0;
	bool at_first = true;
	uint8_t last = 0;
	int status = string_pieces_begin(c, k, first >> 3, (end + 7) >> 3, &pieces);
	while (status == SETT_OK) {
		status = string_pieces_next(c, &pieces, &piece);
		if (status != SETT_OK || piece.size == 0)
			break;
		count += count_ones(piece);
		/* Of the first and the last byte, bits outside the range. */
		if (at_first)
			count -= (uint64_t)__builtin_popcount((unsigned)piece.data[0] >> (8 - (first & 7)));
		at_first = false;
		last = piece.data[piece.size - 1];
	}
	if ((end & 7) != 0)
		count -= (uint64_t)__builtin_popcount((uint8_t)(last << (end & 7)));
	string_pieces_end(&pieces);
	*ret = count;
	return status;
}

int
command_bitcount(struct command_context *c)
{
	struct given_range range = {.end = -1};
	struct key k;
	uint64_t first, end, count = 0;
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) { /* whatever the arguments are */
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	if (c->argc == 3 || c->argc > 5)
		return context_syntax_error(c);
	if (c->argc > 3 &&
	    (!context_integer(c, c->argv[2], &range.start) || !context_integer(c, c->argv[3], &range.end)))
		return OUTCOME_FAILED;
	bool is_reversed = range.start < 0 && range.end < 0 && range.start > range.end;
	if (c->argc == 5 && !is_reversed && !parse_unit(c, c->argv[4], &range.in_bits))
		return OUTCOME_FAILED;
	if (!is_reversed && range_of_bits(&range, k.root.body_size, &first, &end))
		status = count_range(c, &k, first, end, &count);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)count);
	return status;
}

/* ---- BITPOS ---- */

/* The first byte from `at` on that is not `plain`, or the piece's end. */
static size_t
skip_plain(struct bytes piece, size_t at, uint8_t plain)
{
	uint64_t word, plain_word = plain * 0x0101010101010101u;
	for (; at + 8 <= piece.size; at += 8) {
		memcpy(&word, piece.data + at, 8);
		if (word != plain_word)
			break;
	}
	while (at < piece.size && piece.data[at] == plain)
		at++;
	return at;
}

/* The first bit of that value from `first` on, which may lie past the range's last bit in its byte; `bits` if there is
 * none. `skip` bits of the piece are before the range. */
static uint64_t
find_in_piece(struct bytes piece, unsigned skip, bool bit)
{
	uint8_t plain = bit ? 0 : 0xff;
	unsigned found = (uint8_t)(piece.data[0] ^ plain) & (0xffu >> skip);
	size_t at = 0;
	if (found == 0) {
		at = skip_plain(piece, 1, plain);
		if (at == piece.size)
			return piece.size * 8;
		found = (uint8_t)(piece.data[at] ^ plain);
	}
	return at * 8 + (uint64_t)(__builtin_clz(found) - 24);
}

/* The first bit of that value within the range, or its end. */
static int
find_in_range(struct command_context *c, const struct key *k, uint64_t first, uint64_t end, bool bit,
	      uint64_t *ret)
{
	struct string_pieces pieces;
	struct bytes piece;
	uint64_t at = first & ~7ull;
	int status = string_pieces_begin(c, k, first >> 3, (end + 7) >> 3, &pieces);
	while (status == SETT_OK && at < end) {
		status = string_pieces_next(c, &pieces, &piece);
		if (status != SETT_OK)
			break;
		uint64_t found = find_in_piece(piece, at < first ? (unsigned)(first & 7) : 0, bit);
		at += found;
		if (found < piece.size * 8)
			break;
	}
	string_pieces_end(&pieces);
	*ret = at < end ? at : end;
	return status;
}

static int
find_bit(struct command_context *c, const struct key *k, const struct given_range *range, bool bit,
	 bool end_given)
{
	uint64_t first, end, found;
	int64_t reply = -1;
	if (range_of_bits(range, k->root.body_size, &first, &end)) {
		int status = find_in_range(c, k, first, end, bit, &found);
		if (status != SETT_OK)
			return status;
		/* Without an end, a string of ones is followed by zeros. */
		if (found < end || (!bit && !end_given))
			reply = (int64_t)found;
	}
	resp_integer(c->reply, reply);
	return SETT_OK;
}

int
command_bitpos(struct command_context *c)
{
	struct given_range range = {.end = -1};
	struct key k;
	int64_t bit;
	if (!context_integer(c, c->argv[2], &bit))
		return OUTCOME_FAILED;
	if (bit != 0 && bit != 1)
		return context_error(c, "ERR The bit argument must be 1 or 0.");
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) { /* whatever the other arguments are */
		resp_integer(c->reply, bit != 0 ? -1 : 0);
		return SETT_OK;
	}
	if (c->argc > 6)
		return context_syntax_error(c);
	if ((c->argc > 3 && !context_integer(c, c->argv[3], &range.start)) ||
	    (c->argc > 5 && !parse_unit(c, c->argv[5], &range.in_bits)) ||
	    (c->argc > 4 && !context_integer(c, c->argv[4], &range.end)))
		return OUTCOME_FAILED;
	return find_bit(c, &k, &range, bit != 0, c->argc > 4);
}
