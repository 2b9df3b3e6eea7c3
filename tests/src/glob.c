/* Glob patterns, against a recursive matcher written from the rules. */
#include "keyspace/glob.h"

#include <criterion/criterion.h>

#include "storage/base/random.h"

struct row {
	const char *pattern, *text;
	bool ignore_case, matches;
};

static const struct row rows[] = {
	{"", "", false, true},
	{"*", "", false, false}, /* Redis' own corner: callers treat "*" as all */
	{"*", "a", false, true},
	{"a*", "a", false, true},
	{"a**", "a", false, true},
	{"?", "a", false, true},
	{"?", "", false, false},
	{"?a", "a", false, false},
	{"h?llo", "hello", false, true},
	{"h*llo", "heeeello", false, true},
	{"h[ae]llo", "hallo", false, true},
	{"h[ae]llo", "hillo", false, false},
	{"h[^e]llo", "hello", false, false},
	{"h[^e]llo", "hallo", false, true},
	{"h[a-b]llo", "hbllo", false, true},
	{"h[b-a]llo", "hbllo", false, true},
	{"h[a-b]llo", "hcllo", false, false},
	{"h[\\]]x", "h]x", false, true},
	{"h[a", "ha", false, true},
	{"h[a", "hb", false, false},
	{"\\*", "*", false, true},
	{"\\*", "a", false, false},
	{"a\\", "a\\", false, true},
	{"HELLO", "hello", false, false},
	{"HELLO", "hello", true, true},
	{"[A-Z]", "q", true, true},
	{"*a*b*c*", "xxaxxbxxcxx", false, true},
	{"*a*b*c*", "xxcxxbxxaxx", false, false},
	{"a*b", "ab", false, true},
	{"a*b", "abc", false, false},
};

Test(glob, follows_the_rules)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		cr_assert_eq(
			glob_match(bytes_of_string(r->pattern), bytes_of_string(r->text), r->ignore_case),
			r->matches, "%s against %s", r->pattern, r->text);
	}
}

/* Stars and letters alone: all ways. */
static bool
slow_match(const char *p, const char *t)
{
	if (*p == 0)
		return *t == 0;
	if (*p == '*')
		return slow_match(p + 1, t) || (*t != 0 && slow_match(p, t + 1));
	return *t != 0 && (*p == '?' || *p == *t) && slow_match(p + 1, t + 1);
}

Test(glob, agrees_with_trying_all_ways)
{
	struct random r;
	random_seed(&r, 7);
	for (int n = 0; n < 20000; n++) {
		char pattern[9] = {0}, text[9] = {0};
		for (uint64_t i = 0, size = random_below(&r, 9); i < size; i++)
			pattern[i] = "ab*?"[random_below(&r, 4)];
		for (uint64_t i = 0, size = 1 + random_below(&r, 8); i < size; i++)
			text[i] = "ab"[random_below(&r, 2)];
		cr_assert_eq(glob_match(bytes_of_string(pattern), bytes_of_string(text), false),
			     slow_match(pattern, text), "%s against %s", pattern, text);
	}
}

Test(glob, takes_no_exponential_time)
{
	char pattern[64], text[20000];
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 == 0 ? '*' : 'a';
	pattern[sizeof(pattern) - 1] = 'b';
	cr_assert_not(glob_match(bytes_of(pattern, sizeof(pattern)), bytes_of(text, sizeof(text)), false));
}

Test(glob, gives_up_on_too_many_stars)
{
	char pattern[2002], text[1001];
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 == 0 ? '*' : '?';
	cr_assert(glob_match(bytes_of(pattern, 2000), bytes_of(text, 1000), false));
	cr_assert_not(glob_match(bytes_of(pattern, 2002), bytes_of(text, 1001), false));
}

Test(glob, literal_beginning)
{
	cr_assert_eq(glob_literal_size(BYTES_LITERAL("user:*")), 5);
	cr_assert_eq(glob_literal_size(BYTES_LITERAL("a\\*b")), 1);
	cr_assert_eq(glob_literal_size(BYTES_LITERAL("plain")), 5);
	cr_assert_eq(glob_literal_size(BYTES_LITERAL("")), 0);
}
