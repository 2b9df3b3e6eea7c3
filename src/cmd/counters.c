/* INCR and its family: numbers kept as text. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "txn/propagation.h"

#include <math.h>

enum { INTEGER_TEXT_MAX = 20 };

static int
add_integer(struct command_context *c, int64_t delta)
{
	struct key k;
	struct bytes old;
	int64_t value = 0;
	char text[RESP_INTEGER_MAX_SIZE];
	int status = open_short_string(c, c->argv[1], INTEGER_TEXT_MAX, &k, &old);
	if (status != SETT_OK)
		return status;
	if (k.exists && !context_integer(c, old, &value))
		return OUTCOME_FAILED;
	if (__builtin_add_overflow(value, delta, &value))
		return context_error(c, "ERR increment or decrement would overflow");
	size_t size = resp_format_integer(value, text);
	status = key_put_encoded(&k, bytes_of(text, size), STRING_INT, key_deadline(&k));
	if (status == SETT_OK)
		resp_integer(c->reply, value);
	return tell(status, &k, EVENT_STRING, "incrby");
}

int
command_incr(struct command_context *c)
{
	return add_integer(c, 1);
}

int
command_decr(struct command_context *c)
{
	return add_integer(c, -1);
}

int
command_incrby(struct command_context *c)
{
	int64_t delta;
	return context_integer(c, c->argv[2], &delta) ? add_integer(c, delta) : OUTCOME_FAILED;
}

int
command_decrby(struct command_context *c)
{
	int64_t delta;
	if (!context_integer(c, c->argv[2], &delta))
		return OUTCOME_FAILED;
	if (delta == INT64_MIN)
		return context_error(c, "ERR decrement would overflow");
	return add_integer(c, -delta);
}

size_t
format_long_double(long double value, char *text, size_t capacity)
{
	int printed = snprintf(text, capacity, "%.17Lf", value);
	if (printed <= 0 || (size_t)printed >= capacity)
		return 0;
	size_t size = (size_t)printed;
	if (memchr(text, '.', size) != NULL) {
		while (text[size - 1] == '0')
			size--;
		if (text[size - 1] == '.')
			size--;
	}
	if (size == 2 && text[0] == '-' && text[1] == '0') {
		text[0] = '0';
		size = 1;
	}
	return size;
}

/* What sums of fractions are depends on the machine. */
static int
propagate_number(struct command_context *c, const struct key *k, const char *text, size_t size)
{
	if (!is_propagated(c))
		return SETT_OK;
	struct bytes number = bytes_of(arena_copy(c->arena, text, size), size);
	return propagate(c, "SET", k->name, number, BYTES_LITERAL("KEEPTTL"));
}

int
command_incrbyfloat(struct command_context *c)
{
	struct key k;
	struct bytes old;
	long double value = 0, delta;
	char text[LONG_DOUBLE_TEXT_MAX];
	int status = open_short_string(c, c->argv[1], LONG_DOUBLE_TEXT_MAX, &k, &old);
	if (status != SETT_OK)
		return status;
	if (k.exists && !context_long_double(c, old, &value))
		return OUTCOME_FAILED;
	if (!context_long_double(c, c->argv[2], &delta))
		return OUTCOME_FAILED;
	value += delta;
	if (isnan(value) || isinf(value))
		return context_error(c, "ERR increment would produce NaN or Infinity");
	size_t size = format_long_double(value, text, sizeof(text));
	status = key_put_encoded(&k, bytes_of(text, size), STRING_EMBSTR, key_deadline(&k));
	if (status == SETT_OK)
		resp_bulk(c->reply, text, size);
	status = tell(status, &k, EVENT_STRING, "incrbyfloat");
	return status == SETT_OK ? propagate_number(c, &k, text, size) : status;
}
