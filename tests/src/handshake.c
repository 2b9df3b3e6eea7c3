/* What a master's lines mean to a replica. */
#include "moving/handshake.h"

#include <criterion/criterion.h>

#define ID "0123456789abcdef0123456789abcdef01234567"

static struct sync_answer
answer_of(const char *line)
{
	struct sync_answer answer;
	memset(&answer, 0xff, sizeof(answer));
	sync_answer_read(line, &answer);
	return answer;
}

Test(handshake, full_resync)
{
	struct sync_answer a = answer_of("+FULLRESYNC " ID " 0");
	cr_assert(a.kind == SYNC_FULL && strcmp(a.id, ID) == 0 && a.offset == 0);
	a = answer_of("+FULLRESYNC " ID " 9223372036854775000");
	cr_assert(a.kind == SYNC_FULL && a.offset == 9223372036854775000u);
}

Test(handshake, goes_on)
{
	struct sync_answer a = answer_of("+CONTINUE");
	cr_assert(a.kind == SYNC_CONTINUE && a.id[0] == '\0');
	a = answer_of("+CONTINUE " ID);
	cr_assert(a.kind == SYNC_CONTINUE && strcmp(a.id, ID) == 0);
}

Test(handshake, refusals)
{
	cr_assert_eq(answer_of("-NOMASTERLINK Can't SYNC while not connected with my master").kind,
		     SYNC_LATER);
	cr_assert_eq(answer_of("-LOADING Redis is loading the dataset in memory").kind, SYNC_LATER);
	cr_assert_eq(answer_of("-ERR unknown command 'PSYNC'").kind, SYNC_UNKNOWN);
	cr_assert_eq(answer_of("-NOAUTH Authentication required.").kind, SYNC_UNKNOWN);
}

Test(handshake, no_answers)
{
	static const char *const lines[] = {
		"",
		"+",
		"+OK",
		"$5",
		"+FULLRESYNC",
		"+FULLRESYNC ",
		"+FULLRESYNC " ID,
		"+FULLRESYNC " ID " ",
		"+FULLRESYNC " ID " -1",
		"+FULLRESYNC " ID " 1 ",
		"+FULLRESYNC " ID " 99999999999999999999",
		"+FULLRESYNC " ID "0 1",
		"+FULLRESYNC x" ID " 1",
		"+FULLRESYNC 0123 1",
		"+CONTINUED",
		"+CONTINUE ",
		"+CONTINUE 0123",
		"+CONTINUE " ID "0",
		"+CONTINUE " ID " 1",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_eq(answer_of(lines[i]).kind, SYNC_MALFORMED, "%s", lines[i]);
}

Test(handshake, every_cut_of_an_answer_is_none)
{
	static const char whole[] = "+FULLRESYNC " ID " 1";
	char line[sizeof(whole)];
	for (size_t size = 0; size < sizeof(whole) - 1; size++) {
		memcpy(line, whole, size);
		line[size] = '\0';
		cr_assert_eq(answer_of(line).kind, SYNC_MALFORMED, "%s", line);
	}
}

Test(handshake, payload_headers)
{
	struct payload_header h;
	cr_assert(payload_header_read("$0", &h) && !h.has_mark && h.size == 0);
	cr_assert(payload_header_read("$123456789012", &h) && !h.has_mark && h.size == 123456789012u);
	cr_assert(payload_header_read("$EOF:" ID, &h) && h.has_mark && strcmp(h.mark, ID) == 0);
	static const char *const lines[] = {"",
					    "$",
					    "5",
					    "$-1",
					    "$5 ",
					    "$x",
					    "$EOF",
					    "$EOF:",
					    "$EOF:" ID "0",
					    "$EOF:0123",
					    "-ERR no",
					    "+OK",
					    "$99999999999999999999"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_not(payload_header_read(lines[i], &h), "%s", lines[i]);
}
