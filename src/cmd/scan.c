/* Walking the keys: SCAN, KEYS, RANDOMKEY. Values are not read.
 *
 * SCAN's cursor names the place among the keys where the next call goes on (keyspace/scan_cursors.c). A call
 * looks at COUNT keys or somewhat more, whether they match or not, so its time is bounded. A pattern's literal
 * beginning narrows the walk to the keys that begin with it. */
#include "cmd/scan.h"
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "keyspace/glob.h"
#include "net/output.h"

#include <errno.h>

bool
scan_parse_cursor(struct command_context *c, struct bytes argument, uint64_t *ret)
{
	char text[32], *end = text;
	if (argument.size < sizeof(text) && memchr(argument.data, 0, argument.size) == NULL) {
		memcpy(text, argument.data, argument.size);
		text[argument.size] = 0;
		errno = 0;
		bool space = text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r');
		uint64_t value = strtoull(text, &end, 10);
		if (!space && errno != ERANGE && *end == 0) {
			*ret = value;
			return true;
		}
	}
	context_error(c, "ERR invalid cursor");
	return false;
}

bool
scan_parse_options(struct command_context *c, size_t first, enum scan_kind kind, struct scan_options *ret)
{
	struct scan_options o = {.all = true, .count = 10, .no_values = kind == SCAN_SET};
	for (size_t i = first; i < c->argc; i += 2) {
		if (kind == SCAN_HASH && argument_is(c->argv[i], "NOVALUES")) {
			o.no_values = true;
			i--;
			continue;
		}
		if (i + 1 == c->argc) {
			context_syntax_error(c);
			return false;
		}
		struct bytes value = c->argv[i + 1];
		if (argument_is(c->argv[i], "COUNT")) {
			if (!context_integer(c, value, &o.count))
				return false;
			if (o.count < 1) {
				context_syntax_error(c);
				return false;
			}
		} else if (argument_is(c->argv[i], "MATCH")) {
			o.pattern = value;
			o.all = bytes_equal(value, BYTES_LITERAL("*"));
		} else if (kind == SCAN_KEYS && argument_is(c->argv[i], "TYPE")) {
			o.has_type = true;
			o.type = value;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	*ret = o;
	return true;
}

static struct bytes
literal_prefix(bool all, struct bytes pattern)
{
	return all ? (struct bytes){0} : bytes_of(pattern.data, glob_literal_size(pattern));
}

/* Walks the keys of one call and appends those that match; `ret_next` gets the next cursor. */
static int
walk(struct command_context *c, struct keyspace_scan *scan, struct keyspace_cursor *cursor,
     const struct scan_options *o, size_t *ret_found, uint64_t *ret_next)
{
	size_t mark = 0, marked = 0, found = 0;
	uint64_t next = 0;
	for (;;) {
		struct key k;
		enum scan_step step;
		int status = context_is_given_up(c) ? context_give_up(c) : keyspace_cursor_step(cursor, &k);
		if (status == SETT_NOT_FOUND)
			break;
		if (status == SETT_OK)
			status = keyspace_scan_step(scan, &k, &step, &next);
		if (status != SETT_OK)
			return status;
		if (step == SCAN_STOP)
			break;
		if (step == SCAN_STOP_AT_MARK) {
			resp_truncate(c->reply, mark);
			found = marked;
			break;
		}
		if (step == SCAN_MARK) {
			mark = c->reply->size;
			marked = found;
		}
		if (!k.exists || (!o->all && !glob_match(o->pattern, k.name, false)) ||
		    (o->has_type && !argument_is(o->type, value_type_name(k.root.type))))
			continue;
		reply_bytes(c, k.name);
		found++;
	}
	*ret_found = found;
	*ret_next = next;
	return SETT_OK;
}

struct scan_reply
scan_reply_begin(struct command_context *c)
{
	size_t mark = c->reply->size;
	return (struct scan_reply){.mark = mark, .token = resp_deferred_begin(c->reply)};
}

int
scan_reply_end(struct command_context *c, const struct scan_reply *r, size_t found, uint64_t next)
{
	size_t end = c->reply->size;
	resp_deferred_array_end(c->reply, r->token, found);
	if (c->reply->failed)
		return SETT_NO_MEMORY;
	size_t size = c->reply->size - r->mark;
	void *elements = arena_copy(c->arena, c->reply->data + r->mark, size);
	if (elements == NULL)
		return SETT_NO_MEMORY;
	resp_truncate(c->reply, r->mark);
	resp_array(c->reply, 2);
	resp_bulk_format(c->reply, "%llu", (unsigned long long)next);
	resp_raw(c->reply, elements, size);
	/* Large values of a hash are streams between the elements, which have moved. */
	for (struct output_stream *s = c->streams; s != NULL && s->position > r->mark; s = s->next)
		s->position += c->reply->size - end;
	return SETT_OK;
}

int
command_scan(struct command_context *c)
{
	struct scan_options options;
	struct keyspace_scan scan;
	struct keyspace_cursor *cursor;
	uint64_t position, next;
	size_t found;
	if (!scan_parse_cursor(c, c->argv[1], &position) || !scan_parse_options(c, 2, SCAN_KEYS, &options))
		return OUTCOME_FAILED;
	int status = keyspace_scan_begin(&c->view, c->db, position, (uint64_t)options.count, &scan);
	if (status == SETT_OK && scan.count > SCAN_LONG_COUNT)
		status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = keyspace_cursor_open(&c->view, c->db, literal_prefix(options.all, options.pattern),
					      scan.place, &cursor);
	if (status != SETT_OK)
		return status;
	struct scan_reply reply = scan_reply_begin(c);
	status = walk(c, &scan, cursor, &options, &found, &next);
	keyspace_cursor_close(cursor);
	return status == SETT_OK ? scan_reply_end(c, &reply, found, next) : status;
}

int
command_keys(struct command_context *c)
{
	struct bytes pattern = c->argv[1];
	bool all = bytes_equal(pattern, BYTES_LITERAL("*"));
	struct keyspace_cursor *cursor;
	struct key k;
	size_t found = 0;
	int status = keyspace_cursor_open(&c->view, c->db, literal_prefix(all, pattern), (struct bytes){0},
					  &cursor);
	if (status != SETT_OK)
		return status;
	size_t token = resp_deferred_begin(c->reply);
	while ((status = keyspace_cursor_next(cursor, &k)) == SETT_OK) {
		if (context_is_given_up(c))
			return context_give_up(c);
		if (!all && !glob_match(pattern, k.name, false))
			continue;
		reply_bytes(c, k.name);
		found++;
	}
	keyspace_cursor_close(cursor);
	if (status != SETT_NOT_FOUND)
		return status;
	resp_deferred_array_end(c->reply, token, found);
	return SETT_OK;
}

int
command_randomkey(struct command_context *c)
{
	struct bytes key;
	int status = sett_txn_is_as_of(c->view.txn) ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK)
		status = keyspace_random_key(&c->view, c->db, &key);
	if (status == SETT_OK)
		reply_bytes(c, key);
	else if (status == SETT_NOT_FOUND)
		resp_null(c->reply);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
