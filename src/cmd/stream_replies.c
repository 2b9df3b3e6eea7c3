/* Ids of streams as arguments and in replies, and entries in replies. */
#include "cmd/streams.h"
#include "config/config.h"
#include "txn/propagation.h"
#include "types/limits.h"

int
open_stream(struct command_context *c, struct bytes name, struct open_stream *ret)
{
	const struct config *config = c->server->config;
	int status = open_typed(c, name, VALUE_STREAM, &ret->key);
	return status == SETT_OK ? stream_open(&ret->key, limits_of_runs(config), &ret->stream) : status;
}

/* ---- ids ---- */

static bool
parse_number(struct bytes text, uint64_t *ret)
{
	uint64_t n = 0;
	for (size_t i = 0; i < text.size; i++) {
		unsigned digit = (unsigned)text.data[i] - '0';
		if (digit > 9 || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*ret = n;
	return text.size > 0;
}

bool
parse_stream_id(struct bytes text, uint64_t missing, struct stream_id *ret)
{
	struct stream_id id = {.seq = missing};
	const uint8_t *dash = text.size > 0 ? memchr(text.data, '-', text.size) : NULL;
	size_t ms_size = dash != NULL ? (size_t)(dash - text.data) : text.size;
	if (!parse_number(bytes_of(text.data, ms_size), &id.ms))
		return false;
	if (dash != NULL && !parse_number(bytes_of(dash + 1, text.size - ms_size - 1), &id.seq))
		return false;
	*ret = id;
	return true;
}

static bool
refuse_id(struct command_context *c)
{
	context_error(c, "ERR Invalid stream ID specified as stream command argument");
	return false;
}

bool
context_stream_id(struct command_context *c, struct bytes argument, struct stream_id *ret)
{
	return parse_stream_id(argument, 0, ret) || refuse_id(c);
}

bool
context_stream_bound(struct command_context *c, struct bytes argument, bool is_end, struct stream_id *ret)
{
	bool exclusive = argument.size > 1 && argument.data[0] == '(';
	if (exclusive)
		argument = bytes_of(argument.data + 1, argument.size - 1);
	if (!exclusive && argument_is(argument, "-")) {
		*ret = (struct stream_id){0};
		return true;
	}
	if (!exclusive && argument_is(argument, "+")) {
		*ret = (struct stream_id){UINT64_MAX, UINT64_MAX};
		return true;
	}
	if (!parse_stream_id(argument, is_end ? UINT64_MAX : 0, ret))
		return refuse_id(c);
	if (!exclusive || (is_end ? stream_id_decrease(ret) : stream_id_increase(ret)))
		return true;
	context_errorf(c, "ERR invalid %s ID for the interval", is_end ? "end" : "start");
	return false;
}

size_t
stream_id_text(struct stream_id id, char ret[STREAM_ID_TEXT_MAX])
{
	/* Both halves may be above what a signed number holds. */
	char digits[20];
	size_t size = 0;
	for (int half = 0; half < 2; half++) {
		uint64_t n = half == 0 ? id.ms : id.seq;
		size_t count = 0;
		do
			digits[count++] = (char)('0' + n % 10);
		while ((n /= 10) > 0);
		while (count > 0)
			ret[size++] = digits[--count];
		if (half == 0)
			ret[size++] = '-';
	}
	return size;
}

/* ---- replies ---- */

static void
write_stream_id(struct resp_writer *w, struct stream_id id)
{
	char text[STREAM_ID_TEXT_MAX];
	resp_bulk(w, text, stream_id_text(id, text));
}

struct bytes
propagated_stream_id(struct command_context *c, struct stream_id id)
{
	char text[STREAM_ID_TEXT_MAX];
	size_t size = stream_id_text(id, text);
	return bytes_of(arena_copy(c->arena, text, size), size);
}

void
reply_stream_id(struct command_context *c, struct stream_id id)
{
	write_stream_id(c->reply, id);
}

static int
write_id_and_texts(struct resp_writer *w, const struct stream_entry *entry)
{
	struct stream_entry e = *entry;
	struct bytes text;
	write_stream_id(w, e.id);
	resp_array(w, e.texts);
	while (e.texts > 0) {
		int status = stream_entry_text(&e, &text);
		if (status != SETT_OK)
			return status;
		resp_bulk(w, text.data, text.size);
	}
	return SETT_OK;
}

int
write_stream_entry(struct resp_writer *w, const struct stream_entry *entry)
{
	resp_array(w, 2);
	return write_id_and_texts(w, entry);
}

int
reply_stream_entry(struct command_context *c, const struct stream_entry *entry)
{
	return write_stream_entry(c->reply, entry);
}

int
reply_claimed_entry(struct command_context *c, const struct stream_entry *entry, uint64_t idle_ms,
		    uint64_t count)
{
	resp_array(c->reply, 4);
	int status = write_id_and_texts(c->reply, entry);
	resp_integer(c->reply, (int64_t)idle_ms);
	resp_integer(c->reply, (int64_t)count);
	return status;
}

int
reply_stream_range(struct command_context *c, struct stream *s, const struct stream_id range[2],
		   bool backward, uint64_t most, uint64_t *ret_count)
{
	enum { LONG_ENTRIES = 1000 };
	struct stream_walk walk;
	struct stream_entry entry;
	uint64_t count = 0;
	int status = SETT_OK;
	size_t array = resp_deferred_begin(c->reply);
	stream_walk(s, range[0], range[1], backward, &walk);
	while (count < most && (status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		status = reply_stream_entry(c, &entry);
		if (++count % LONG_ENTRIES == 0 && status == SETT_OK)
			status = context_is_given_up(c) ? context_give_up(c) : context_enter_long_lane(c);
		if (status != SETT_OK)
			break;
	}
	stream_walk_close(&walk);
	resp_deferred_array_end(c->reply, array, count);
	if (ret_count != NULL)
		*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
