/* Glob matching with Redis' rules, without recursion: a star that fails is retried one byte further from the
 * last star alone, because what an earlier star could still give, the last one can too.
 *
 * Redis' corner cases are kept: a pattern matches nothing that takes more than STARS_MAX stars, an unclosed
 * class ends with the pattern, a class's range may be written backwards, a backslash at the very end stands
 * for itself, and an empty text is matched by the empty pattern only (callers treat the pattern "*" as
 * "all"). */
#include "keyspace/glob.h"

enum { STARS_MAX = 1000 };

static uint8_t
fold(uint8_t c, bool ignore_case)
{
	return ignore_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Matches one byte against the class whose '[' is at *at; moves *at behind the class. */
static bool
class_match(struct bytes p, size_t *at, uint8_t c, bool ignore_case)
{
	size_t i = *at + 1;
	bool negated = i < p.size && p.data[i] == '^';
	bool found = false;
	if (negated)
		i++;
	for (; i < p.size && p.data[i] != ']'; i++) {
		if (p.data[i] == '\\' && p.size - i >= 2) {
			i++;
			/* An escaped byte is compared as it is, whatever the case. */
			if (p.data[i] == c)
				found = true;
		} else if (p.size - i >= 3 && p.data[i + 1] == '-') {
			uint8_t low = p.data[i], high = p.data[i + 2];
			if (low > high) {
				uint8_t swap = low;
				low = high;
				high = swap;
			}
			low = fold(low, ignore_case);
			high = fold(high, ignore_case);
			uint8_t folded = fold(c, ignore_case);
			if (folded >= low && folded <= high)
				found = true;
			i += 2;
		} else if (fold(p.data[i], ignore_case) == fold(c, ignore_case)) {
			found = true;
		}
	}
	*at = i < p.size ? i + 1 : p.size;
	return found != negated;
}

/* Matches one byte against the pattern's element at *at, which is no star; moves *at behind it. */
static bool
element_match(struct bytes p, size_t *at, uint8_t c, bool ignore_case)
{
	uint8_t element = p.data[*at];
	if (element == '[')
		return class_match(p, at, c, ignore_case);
	if (element == '\\' && p.size - *at >= 2)
		element = p.data[++*at];
	else if (element == '?') {
		++*at;
		return true;
	}
	++*at;
	return fold(element, ignore_case) == fold(c, ignore_case);
}

bool
glob_match(struct bytes p, struct bytes text, bool ignore_case)
{
	if (text.size == 0)
		return p.size == 0;
	size_t at = 0, position = 0;
	size_t stars = 0, star = SIZE_MAX, star_position = 0; /* behind the last star; where its match ends */
	while (position < text.size) {
		if (at < p.size && p.data[at] == '*') {
			while (at < p.size && p.data[at] == '*')
				at++;
			if (at == p.size)
				return true;
			if (++stars > STARS_MAX)
				return false;
			star = at;
			star_position = position;
			continue;
		}
		if (at < p.size && element_match(p, &at, text.data[position], ignore_case)) {
			position++;
			continue;
		}
		if (star == SIZE_MAX)
			return false;
		at = star;
		position = ++star_position;
	}
	while (at < p.size && p.data[at] == '*')
		at++;
	return at == p.size;
}

size_t
glob_literal_size(struct bytes p)
{
	size_t i = 0;
	while (i < p.size && p.data[i] != '*' && p.data[i] != '?' && p.data[i] != '[' && p.data[i] != '\\')
		i++;
	return i;
}
