#include "keyspace/integer.h"

bool
parse_integer(struct bytes text, int64_t *ret)
{
	const uint8_t *p = text.data, *end = p + text.size;
	bool negative = text.size > 0 && *p == '-';
	if (negative)
		p++;
	if (p == end || end - p > 19)
		return false;
	if (*p == '0') {
		if (negative || end - p > 1)
			return false;
		*ret = 0;
		return true;
	}
	uint64_t value = 0;
	for (; p < end; p++) {
		unsigned digit = (unsigned)*p - '0';
		if (digit > 9)
			return false;
		/* 19 digits stay below 2^64. */
		value = value * 10 + digit;
	}
	if (value > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}
