/* Commands that change streams, and XLEN. */
#include "cmd/streams.h"

#include "cmd/commands.h"
#include "config/config.h"
#include "txn/propagation.h"

/* ---- XADD ---- */

struct xadd {
	struct stream_trim trim;
	bool must_exist;
	struct stream_id id;
	bool has_id, has_seq;
	size_t first; /* argument with the first name */
};

static bool
parse_new_id(struct command_context *c, struct bytes text, struct xadd *x)
{
	static const char any_seq[] = "-*";
	x->has_id = x->has_seq = true;
	if (text.size > 2 && memcmp(text.data + text.size - 2, any_seq, 2) == 0) {
		x->has_seq = false;
		text.size -= 2;
		if (memchr(text.data, '-', text.size) != NULL)
			text.size = 0; /* no id */
	}
	return context_stream_id(c, text, &x->id);
}

static bool
parse_xadd(struct command_context *c, struct xadd *ret)
{
	size_t i = 2;
	*ret = (struct xadd){0};
	for (; i < c->argc && !argument_is(c->argv[i], "*");) {
		int taken = context_stream_trim(c, i, &ret->trim);
		if (taken < 0)
			return false;
		i += (size_t)taken;
		if (taken > 0)
			continue;
		if (argument_is(c->argv[i], "NOMKSTREAM")) {
			ret->must_exist = true;
			i++;
			continue;
		}
		if (!parse_new_id(c, c->argv[i], ret))
			return false;
		break;
	}
	if (!context_check_trim(c, &ret->trim))
		return false;
	ret->first = i + 1;
	if (ret->first + 2 > c->argc || (c->argc - ret->first) % 2 != 0) {
		context_wrong_arity(c);
		return false;
	}
	if (ret->has_id && ret->has_seq && ret->id.ms == 0 && ret->id.seq == 0) {
		context_error(c, "ERR The ID specified in XADD must be greater than 0-0");
		return false;
	}
	return true;
}

/* The id of the new entry. False: it can't be, and the error reply was given. */
static bool
choose_id(struct command_context *c, const struct stream *s, struct xadd *x)
{
	struct stream_id last = s->last, next = last;
	if (!stream_id_increase(&next)) {
		context_error(c,
			      "ERR The stream has exhausted the last possible ID, unable to add more items");
		return false;
	}
	if (!x->has_id)
		x->id = c->view.now_ms > last.ms ? (struct stream_id){c->view.now_ms, 0} : next;
	else if (!x->has_seq && x->id.ms == last.ms && last.seq < UINT64_MAX)
		x->id.seq = last.seq + 1;
	if (stream_id_compare(x->id, last) > 0)
		return true;
	context_error(c, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
	return false;
}

/* With the id that it got, and with the number of entries that trimming has left. */
static int
propagate_added(struct command_context *c, const struct stream *s, const struct xadd *x)
{
	struct propagated p = {0};
	bool trims = x->trim.by != TRIM_NOTHING;
	if (!is_propagated(c) || (x->has_id && x->has_seq && !trims))
		return SETT_OK;
	int status = propagated_add(c, &p, c->argv[1]);
	if (status == SETT_OK && trims)
		status = propagate_length(c, s, &p);
	if (status == SETT_OK)
		status = propagated_add(c, &p, propagated_stream_id(c, x->id));
	for (size_t i = x->first; i < c->argc && status == SETT_OK; i++)
		status = propagated_add(c, &p, c->argv[i]);
	return status == SETT_OK ? propagate_as(c, "XADD", p.arguments, p.count) : status;
}

int
command_xadd(struct command_context *c)
{
	struct open_stream s;
	struct xadd x;
	uint64_t trimmed;
	if (!parse_xadd(c, &x))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists && x.must_exist) {
		resp_null(c->reply);
		return SETT_OK;
	}
	if (!choose_id(c, &s.stream, &x))
		return OUTCOME_FAILED;
	reply_stream_id(c, x.id);
	status = stream_add(&s.stream, x.id, c->argv + x.first, c->argc - x.first);
	if (status == SETT_OK)
		status = key_event(&s.key, EVENT_STREAM, "xadd");
	if (status == SETT_OK && x.trim.by != TRIM_NOTHING)
		status = trim_stream(c, &s.stream, &x.trim, &trimmed);
	if (status == SETT_OK)
		status = stream_save(&s.stream);
	return status == SETT_OK ? propagate_added(c, &s.stream, &x) : status;
}

/* ---- others ---- */

int
command_xlen(struct command_context *c)
{
	struct open_stream s;
	int status = open_stream(c, c->argv[1], &s);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)s.stream.count);
	return status;
}

struct xsetid {
	struct stream_id id, deleted;
	int64_t added; /* -1: not given */
};

static bool
parse_xsetid(struct command_context *c, struct xsetid *ret)
{
	*ret = (struct xsetid){.added = -1};
	if (!context_stream_id(c, c->argv[2], &ret->id))
		return false;
	for (size_t i = 3; i < c->argc; i += 2) {
		bool has_more = i + 1 < c->argc;
		if (has_more && argument_is(c->argv[i], "ENTRIESADDED")) {
			if (!context_integer(c, c->argv[i + 1], &ret->added))
				return false;
			if (ret->added < 0)
				return context_error(c, "ERR entries_added must be positive") == SETT_OK;
		} else if (has_more && argument_is(c->argv[i], "MAXDELETEDID")) {
			if (!context_stream_id(c, c->argv[i + 1], &ret->deleted))
				return false;
			if (stream_id_compare(ret->id, ret->deleted) < 0)
				return context_error(c,
						     "ERR The ID specified in XSETID is smaller than the "
						     "provided max_deleted_entry_id") == SETT_OK;
		} else {
			return context_syntax_error(c) == SETT_OK;
		}
	}
	return true;
}

/* The id of the last entry; 0-0 if there is none. */
static int
last_entry(struct stream *s, struct stream_id *ret)
{
	struct stream_walk walk;
	struct stream_entry entry = {0};
	stream_walk(s, (struct stream_id){0}, (struct stream_id){UINT64_MAX, UINT64_MAX}, true, &walk);
	int status = stream_walk_next(&walk, &entry);
	stream_walk_close(&walk);
	*ret = status == SETT_OK ? entry.id : (struct stream_id){0};
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
command_xsetid(struct command_context *c)
{
	struct open_stream s;
	struct xsetid x;
	struct stream_id top;
	if (!parse_xsetid(c, &x))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		return context_error(c, "ERR no such key");
	struct stream *stream = &s.stream;
	status = last_entry(stream, &top);
	if (status != SETT_OK)
		return status;
	if (stream->count > 0 && stream_id_compare(x.id, top) < 0)
		return context_error(
			c, "ERR The ID specified in XSETID is smaller than the target stream top item");
	if (stream->count > 0 && x.added >= 0 && stream->count > (uint64_t)x.added)
		return context_error(
			c,
			"ERR The entries_added specified in XSETID is smaller than the target stream length");
	stream->last = x.id;
	if (x.added >= 0)
		stream->added = (uint64_t)x.added;
	if (x.deleted.ms != 0 || x.deleted.seq != 0)
		stream->deleted = x.deleted;
	stream->changed = true;
	status = stream_save(stream);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return key_event(&s.key, EVENT_STREAM, "xsetid");
}
