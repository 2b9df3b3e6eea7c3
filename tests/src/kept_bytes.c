/* What other rooms keep for a client counts, with its names, and no more once it is gone. */
#include "server_support.h"

enum { LARGE = 10000 };

static char name[LARGE + 1];

static void
run(struct fixture *f, const char *words, bool with_name)
{
	struct bytes argv[8];
	size_t argc = 0;
	for (; *words != 0; words += strspn(words, " ")) {
		size_t size = strcspn(words, " ");
		argv[argc++] = bytes_of(words, size);
		words += size;
	}
	if (with_name)
		argv[argc++] = bytes_of(name, LARGE);
	fixture_run(f, 0, argc, argv);
	cr_assert(f->result == REQUEST_BLOCKED || f->reply.data[0] != '-', "%.*s", (int)f->reply.size,
		  (const char *)f->reply.data);
}

static uint64_t
kept(struct fixture *f)
{
	return client_kept_bytes(&f->clients[0]);
}

Test(kept_bytes, names_count_until_they_are_given_up)
{
	static const struct {
		const char *begin, *end;
		unsigned copies;
	} ways[] = {{"WATCH", "UNWATCH", 1},
		    {"SUBSCRIBE", "UNSUBSCRIBE", 3},
		    {"PSUBSCRIBE", "PUNSUBSCRIBE", 3},
		    {"SSUBSCRIBE", "SUNSUBSCRIBE", 3},
		    {"CLIENT TRACKING ON BCAST PREFIX", "CLIENT TRACKING OFF", 2}};
	struct fixture *f = fixture_open();
	memset(name, 'n', LARGE);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		cr_assert_eq(kept(f), 0);
		run(f, ways[i].begin, true);
		cr_assert_geq(kept(f), ways[i].copies * LARGE, "%s", ways[i].begin);
		cr_assert_leq(kept(f), ways[i].copies * LARGE + 1000, "%s", ways[i].begin);
		uint64_t once = kept(f);
		if (ways[i].copies != 2) /* a prefix twice is an error */
			run(f, ways[i].begin, true);
		cr_assert_eq(kept(f), once, "%s: it is there already", ways[i].begin);
		run(f, ways[i].end, false);
		cr_assert_eq(kept(f), 0, "%s", ways[i].end);
	}
	fixture_close(f);
}

Test(kept_bytes, a_queue_counts_with_what_it_takes_beside_its_words)
{
	enum { PINGS = 1000, LEAST = 64 /* of one: its place, its array of arguments */ };
	struct fixture *f = fixture_open();
	run(f, "MULTI", false);
	for (int i = 0; i < PINGS; i++)
		run(f, "PING", false);
	cr_assert_geq(kept(f), PINGS * LEAST);
	run(f, "DISCARD", false);
	cr_assert_eq(kept(f), 0);
	fixture_close(f);
}

Test(kept_bytes, a_wait_counts_until_it_is_over)
{
	struct fixture *f = fixture_open();
	run(f, "BLPOP a b c d 0", false);
	cr_assert_eq(f->result, REQUEST_BLOCKED);
	cr_assert_gt(kept(f), 200);
	fixture_run_line(f, 1, "RPUSH c x");
	cr_assert_eq(kept(f), 0);
	fixture_close(f);
}
