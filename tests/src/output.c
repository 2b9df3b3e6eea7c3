/* What may leave, and when: the marks of one connection's output. */
#include <criterion/criterion.h>

#include "net/output.h"
#include "storage/base/random.h"

static void
append(struct output *o, const char *text, uint64_t timestamp, uint64_t frontier)
{
	resp_raw(&o->writer, text, strlen(text));
	struct frontier reached = {{[DURABILITY_DEFAULT] = frontier}};
	output_stamp(o, timestamp, DURABILITY_DEFAULT, &reached);
}

static void
release(struct output *o, uint64_t frontier)
{
	struct frontier reached = {{[DURABILITY_DEFAULT] = frontier}};
	output_release(o, &reached);
}

Test(output, what_depends_on_nothing_leaves_at_once_and_not_past_what_is_held)
{
	struct output o;
	output_init(&o);
	append(&o, "aa", 0, 5);
	append(&o, "bb", 5, 5);
	cr_assert_eq(output_sendable(&o), 4);
	append(&o, "cc", 6, 5);
	append(&o, "dd", 0, 5);
	cr_assert_eq(output_sendable(&o), 4);
	cr_assert(output_is_held(&o));
	release(&o, 5);
	cr_assert_eq(output_sendable(&o), 4);
	release(&o, 6);
	cr_assert_eq(output_sendable(&o), 8);
	cr_assert(!output_is_held(&o));
	output_free(&o);
}

Test(output, positions_survive_consumption)
{
	struct output o;
	output_init(&o);
	append(&o, "aaaa", 0, 0);
	append(&o, "bbbb", 1, 0);
	append(&o, "cccc", 2, 0);
	output_consume(&o, 3);
	cr_assert_eq(output_sendable(&o), 1);
	cr_assert_eq(output_pending(&o), 9);
	release(&o, 1);
	cr_assert_eq(output_sendable(&o), 5);
	cr_assert_eq(memcmp(o.writer.data + o.sent, "abbbb", 5), 0);
	output_consume(&o, 5);
	cr_assert_eq(output_sendable(&o), 0);
	release(&o, 2);
	output_consume(&o, 4);
	cr_assert_eq(output_pending(&o), 0);
	cr_assert_eq(o.base, 12);
	output_free(&o);
}

/* Model: every byte needs, in each place, the largest timestamp that a reply up to it needs there; a byte is sendable only
 * if all are reached. With the queue full a byte may wait for more, never for less, and what it waits for on the disk is
 * known. */
Test(output, a_random_run_never_releases_too_early_and_in_the_end_everything)
{
	enum { REPLIES = 20000 };
	struct random random;
	random_seed(&random, 7);
	struct output o;
	output_init(&o);
	static struct frontier needs[REPLIES * 8]; /* by stream position */
	struct frontier reached = {{0}}, need = {{0}};
	uint64_t total = 0, taken = 0, clock = 0;
	for (int i = 0; i < REPLIES; i++) {
		size_t size = random_below(&random, 8);
		enum durability where =
			i < REPLIES / 2 ? DURABILITY_DEFAULT : random_below(&random, DURABILITIES);
		uint64_t timestamp =
			random_below(&random, 3) == 0 ? 0 : clock - random_below(&random, 5) % (clock + 1);
		if (random_below(&random, 2) == 0)
			timestamp = ++clock;
		if (timestamp > need.reached[where])
			need.reached[where] = timestamp;
		for (size_t k = 0; k < size; k++)
			needs[total++] = need;
		resp_raw(&o.writer, "xxxxxxxx", size);
		output_stamp(&o, timestamp, where, &reached);
		cr_assert_geq(o.awaits_sync, o.marks[0].need == DURABILITY_SYNC ? o.marks[0].timestamp : 0);
		if (random_below(&random, 10) == 0) {
			/* As in the engine: what is on the disk is written, and the policy lies between. */
			uint64_t *at = reached.reached;
			at[DURABILITY_WRITTEN] += random_below(&random, clock - at[DURABILITY_WRITTEN] + 1);
			at[DURABILITY_SYNC] +=
				random_below(&random, at[DURABILITY_WRITTEN] - at[DURABILITY_SYNC] + 1);
			at[DURABILITY_DEFAULT] = at[DURABILITY_SYNC];
			output_release(&o, &reached);
		}
		size_t sendable = output_sendable(&o);
		for (size_t k = 0; sendable > 0 && k < DURABILITIES; k++)
			cr_assert_leq(needs[taken + sendable - 1].reached[k], reached.reached[k]);
		size_t size_out = random_below(&random, sendable + 1);
		output_consume(&o, size_out);
		taken += size_out;
		cr_assert_eq(output_pending(&o), total - taken);
	}
	output_release(&o, &(struct frontier){{clock, clock, clock}});
	cr_assert_eq(output_sendable(&o), total - taken);
	cr_assert(!output_is_held(&o));
	output_free(&o);
}

/* A full queue of unlike marks: those that become one want the more of both. */
Test(output, merged_marks_want_what_both_want)
{
	struct output o;
	output_init(&o);
	struct frontier reached = {{0}};
	for (uint64_t t = 1; t <= 3 * OUTPUT_MARKS; t++) {
		resp_raw(&o.writer, "x", 1);
		output_stamp(&o, t, t % 2 == 0 ? DURABILITY_SYNC : DURABILITY_DEFAULT, &reached);
		for (unsigned i = 0; i < o.mark_count; i++)
			cr_assert(o.marks[i].need != DURABILITY_SYNC ||
				  o.marks[i].timestamp <= o.awaits_sync);
	}
	reached.reached[DURABILITY_DEFAULT] = reached.reached[DURABILITY_WRITTEN] = 3 * OUTPUT_MARKS;
	output_release(&o, &reached);
	cr_assert_leq(output_sendable(&o), 1);
	cr_assert_eq(o.awaits_sync, 3 * OUTPUT_MARKS);
	reached.reached[DURABILITY_SYNC] = 3 * OUTPUT_MARKS;
	output_release(&o, &reached);
	cr_assert_eq(output_sendable(&o), 3 * OUTPUT_MARKS);
	output_free(&o);
}

Test(output, a_full_queue_delays_no_reply_by_more_than_a_small_part)
{
	enum { OUTSTANDING = 100 * OUTPUT_MARKS };
	struct output o;
	output_init(&o);
	uint64_t taken = 0;
	for (uint64_t t = 1; t <= 5 * OUTSTANDING; t++) {
		append(&o, "x", t, 0);
		if (t <= OUTSTANDING)
			continue;
		release(&o, t - OUTSTANDING);
		taken += output_sendable(&o);
		output_consume(&o, output_sendable(&o));
		cr_assert_leq(taken, t - OUTSTANDING);
		cr_assert_geq(taken + OUTSTANDING / 8, t - OUTSTANDING);
	}
	output_free(&o);
}

Test(output, a_big_reply_changes_hands_without_a_copy)
{
	struct output o;
	output_init(&o);
	struct resp_writer reply;
	resp_writer_init(&reply, 3);
	cr_assert(resp_reserve(&reply, 100000));
	uint8_t *space = resp_bulk_space(&reply, 90000);
	cr_assert_not_null(space);
	memset(space, 'x', 90000);
	uint8_t *data = reply.data;
	cr_assert(output_take(&o, &reply));
	cr_assert_eq(o.writer.data, data);
	resp_status(&reply, "OK");
	size_t before = o.writer.size;
	cr_assert(output_take(&o, &reply));
	cr_assert_eq(o.writer.size, before + 5);
	cr_assert_eq(reply.size, 0);
	resp_writer_free(&reply);
	output_free(&o);
}

Test(output, a_stream_takes_its_turn_between_the_bytes_around_it)
{
	struct output o;
	output_init(&o);
	append(&o, "aaaa", 0, 0);
	output_consume(&o, 4);
	append(&o, "$9\r\n", 1, 0);
	struct output_stream *first = output_stream_create(NULL, 4), *second = output_stream_create(NULL, 10);
	cr_assert(first != NULL && second != NULL);
	first->next = second;
	output_add_streams(&o, first, 4);
	append(&o, "\r\n$9\r\n\r\nbb", 1, 0);
	cr_assert_eq(output_sendable(&o), 0);
	cr_assert_null(output_ready_stream(&o));
	release(&o, 1);
	cr_assert_eq(output_sendable(&o), 4);
	cr_assert_null(output_ready_stream(&o));
	output_consume(&o, 4);
	cr_assert_eq(output_sendable(&o), 0);
	cr_assert_eq(output_ready_stream(&o), first);
	output_finish_stream(&o);
	cr_assert_eq(output_sendable(&o), 6);
	output_consume(&o, 6);
	cr_assert_eq(output_ready_stream(&o), second);
	output_finish_stream(&o);
	cr_assert_eq(output_sendable(&o), 4);
	output_consume(&o, 4);
	cr_assert_eq(output_pending(&o), 0);
	output_free(&o);
}

Test(output, a_stream_waits_for_its_reply_even_if_all_before_it_has_left)
{
	struct output o;
	output_init(&o);
	append(&o, "aaaa", 0, 0);
	output_consume(&o, 4);
	output_add_streams(&o, output_stream_create(NULL, 0), 4);
	append(&o, "\r\n", 1, 0);
	cr_assert_null(output_ready_stream(&o));
	cr_assert_eq(output_sendable(&o), 0);
	release(&o, 1);
	cr_assert_not_null(output_ready_stream(&o));
	output_free(&o);
}
