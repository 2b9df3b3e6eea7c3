/* SHA-1: see sha1.h. */
#include "script/sha1.h"

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 80 };

static uint32_t
rotate(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}

static uint32_t
read_word(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
add_block(uint32_t state[5], const uint8_t *block)
{
	uint32_t w[ROUNDS];
	for (int i = 0; i < 16; i++)
		w[i] = read_word(block + 4 * (size_t)i);
	for (int i = 16; i < ROUNDS; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t f, k;
		if (i < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		uint32_t next = rotate(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void
sha1_hex(struct bytes data, char ret[SHA1_HEX_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t tail[2 * BLOCK] = {0};
	size_t whole = data.size / BLOCK * BLOCK, rest = data.size - whole;
	for (size_t i = 0; i < whole; i += BLOCK)
		add_block(state, data.data + i);
	if (rest > 0)
		memcpy(tail, data.data + whole, rest);
	tail[rest] = 0x80;
	size_t end = rest < LENGTH_AT ? BLOCK : 2 * BLOCK;
	uint64_t bits = (uint64_t)data.size * 8;
	for (size_t i = 0; i < 8; i++)
		tail[end - 1 - i] = (uint8_t)(bits >> 8 * i);
	for (size_t i = 0; i < end; i += BLOCK)
		add_block(state, tail + i);
	for (size_t i = 0; i < SHA1_HEX_SIZE; i++)
		ret[i] = digits[state[i / 8] >> (28 - i % 8 * 4) & 15];
	ret[SHA1_HEX_SIZE] = '\0';
}
