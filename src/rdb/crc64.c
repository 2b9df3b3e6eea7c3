/* Eight bytes a step: table k says what a byte with k bytes behind it adds ("slicing", Kounavis and Berry, 2005). */
#include "rdb/crc64.h"

#include <endian.h>
#include <pthread.h>

enum { SLICES = 8, BYTE_VALUES = 256 };

static const uint64_t reflected_polynomial = UINT64_C(0x95ac9329ac4bc9b5);

static uint64_t tables[SLICES][BYTE_VALUES];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

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

uint64_t
crc64(uint64_t crc, struct bytes data)
{
	const uint8_t *p = data.data;
	size_t left = data.size;
	pthread_once(&tables_once, make_tables);
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
