/* Numbers that are given out once, and a sum that several threads may add to: an order book of sorts. */
#include <stdio.h>
#include <string.h>

#include "storage/merge.h"
#include "storage/sequence.h"

static int
add(void *arg, struct bytes before, struct bytes operand, struct buffer *ret)
{
	uint64_t sum = 0, more;
	if (operand.size != sizeof(more))
		return SETT_INVALID;
	memcpy(&more, operand.data, sizeof(more));
	if (before.size == sizeof(sum))
		memcpy(&sum, before.data, sizeof(sum));
	sum += more;
	return buffer_append(ret, &sum, sizeof(sum));
}

int
main(int argc, char **argv)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_sequence *orders;
	struct sett_merge *turnover;
	struct buffer sum = {0};
	uint64_t number = 0, amount, total = 0;
	if (argc != 2)
		return fprintf(stderr, "usage: embed_sequence DIRECTORY\n"), 2;
	int r = sett_engine_open(argv[1], NULL, &engine, &error);
	if (r == SETT_OK)
		r = sett_sequence_open(engine, BYTES_LITERAL("orders"), 100,
				       &orders); /* a sync for 100 numbers */
	if (r == SETT_OK)
		r = sett_merge_open(engine, BYTES_LITERAL("turnover"),
				    &(struct sett_merge_operator){.fold = add}, &turnover);
	for (amount = 1; r == SETT_OK && amount <= 10; amount++) {
		r = sett_sequence_next(orders, &number, &error);
		if (r == SETT_OK)
			r = sett_merge_add(turnover, bytes_of(&amount, sizeof(amount)), NULL);
	}
	if (r == SETT_OK)
		r = sett_merge_get(turnover, &sum);
	if (r == SETT_OK)
		r = sett_sequence_release(orders, &error); /* the next run goes on where this one has ended */
	if (r != SETT_OK)
		return fprintf(stderr, "%s: %s\n", sett_status_text(r), error.message), 1;
	memcpy(&total, sum.data, sizeof(total));
	printf("order %llu, turnover %llu\n", (unsigned long long)number, (unsigned long long)total);
	buffer_free(&sum);
	sett_merge_close(turnover);
	sett_sequence_close(orders);
	r = sett_engine_close(engine, &error);
	return r == SETT_OK && number % 10 == 9 && total == (number + 1) / 10 * 55 ? 0 : 1;
}
