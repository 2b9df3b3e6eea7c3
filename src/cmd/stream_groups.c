/* XGROUP, XACK, XPENDING, and what XINFO tells of groups. */
#include "cmd/stream_groups.h"

#include "cmd/commands.h"
#include "cmd/help.h"
#include "txn/propagation.h"

int
open_group(struct command_context *c, struct bytes key, struct bytes name, struct open_stream *s,
	   struct stream_group *ret)
{
	int status = open_stream(c, key, s);
	if (status != SETT_OK)
		return status;
	return s->key.exists ? stream_group_open(&s->stream, name, ret) : SETT_NOT_FOUND;
}

int
save_group(struct stream_group *g)
{
	int status = stream_group_save(g);
	return status == SETT_OK && g->stream->changed ? stream_save(g->stream) : status;
}

int
use_group_consumer(struct command_context *c, struct stream_group *g, struct bytes name, bool is_told,
		   struct stream_consumer **ret)
{
	int status = stream_consumer_find(g, name, ret);
	if (status == SETT_NOT_FOUND) {
		status = stream_consumer_create(g, name, ret);
		if (status == SETT_OK)
			status = key_event(g->stream->key, EVENT_STREAM, "xgroup-createconsumer");
		if (status == SETT_OK && is_told)
			status = propagate(c, "XGROUP", BYTES_LITERAL("CREATECONSUMER"), g->stream->key->name,
					   g->name, name);
	}
	if (status != SETT_OK)
		return status;
	(*ret)->seen = g->stream->key->view->now_ms;
	(*ret)->changed = true;
	return SETT_OK;
}

int
propagate_pending(struct command_context *c, const struct stream_group *g, struct bytes consumer,
		  struct stream_id id, uint64_t delivered, uint64_t count)
{
	return propagate(c, "XCLAIM", g->stream->key->name, g->name, consumer, BYTES_LITERAL("0"),
			 propagated_stream_id(c, id), BYTES_LITERAL("TIME"),
			 propagated_unsigned(c, delivered), BYTES_LITERAL("RETRYCOUNT"),
			 propagated_unsigned(c, count), BYTES_LITERAL("FORCE"), BYTES_LITERAL("JUSTID"),
			 BYTES_LITERAL("LASTID"), propagated_stream_id(c, g->last));
}

int
propagate_position(struct command_context *c, const struct stream_group *g)
{
	return propagate(c, "XGROUP", BYTES_LITERAL("SETID"), g->stream->key->name, g->name,
			 propagated_stream_id(c, g->last), BYTES_LITERAL("ENTRIESREAD"),
			 propagated_integer(c, (int64_t)g->read - 1));
}

int
propagate_acknowledged(struct command_context *c, const struct stream_group *g, struct stream_id id)
{
	return propagate(c, "XACK", g->stream->key->name, g->name, propagated_stream_id(c, id));
}

bool
context_stream_name(struct command_context *c, struct bytes name)
{
	if (name.size > STREAM_NAME_MAX)
		context_errorf(c, "ERR names of groups and consumers have at most %d bytes", STREAM_NAME_MAX);
	return name.size <= STREAM_NAME_MAX;
}

static int
no_group(struct command_context *c, struct bytes key, struct bytes name)
{
	return context_errorf(c, "NOGROUP No such key '%.*s' or consumer group '%.*s'", (int)key.size,
			      (const char *)key.data, (int)name.size, (const char *)name.data);
}

int
open_needed_group(struct command_context *c, struct bytes key, struct bytes name, struct open_stream *s,
		  struct stream_group *ret)
{
	int status = open_group(c, key, name, s, ret);
	return status == SETT_NOT_FOUND ? no_group(c, key, name) : status;
}

/* ---- XGROUP ---- */

/* ENTRIESREAD at argv[i]; `ret` as in struct stream_group. */
static bool
parse_entries_read(struct command_context *c, size_t i, uint64_t *ret)
{
	int64_t read;
	if (!context_integer(c, c->argv[i + 1], &read))
		return false;
	if (read < -1) {
		context_error(c, "ERR value for ENTRIESREAD must be positive or -1");
		return false;
	}
	*ret = (uint64_t)read + 1;
	return true;
}

struct xgroup {
	bool make_stream;
	uint64_t read;
};

static bool
parse_xgroup(struct command_context *c, bool creates, struct xgroup *ret)
{
	*ret = (struct xgroup){0};
	for (size_t i = 5; i < c->argc; i++) {
		if (creates && argument_is(c->argv[i], "MKSTREAM")) {
			ret->make_stream = true;
		} else if (argument_is(c->argv[i], "ENTRIESREAD") && i + 1 < c->argc) {
			if (!parse_entries_read(c, i++, &ret->read))
				return false;
		} else {
			context_unknown_subcommand(c);
			return false;
		}
	}
	return true;
}

static bool
stream_must_exist(struct command_context *c, const struct open_stream *s)
{
	if (!s->key.exists)
		context_error(c,
			      "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you "
			      "may want "
			      "to use the MKSTREAM option to create an empty stream automatically.");
	return s->key.exists;
}

/* Of the key argv[2] the group argv[3], which must be there. */
static int
open_xgroup(struct command_context *c, struct open_stream *s, struct stream_group *ret)
{
	struct bytes key = c->argv[2], name = c->argv[3];
	int status = open_stream(c, key, s);
	if (status != SETT_OK)
		return status;
	if (!stream_must_exist(c, s))
		return OUTCOME_FAILED;
	status = stream_group_open(&s->stream, name, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	return context_errorf(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", (int)name.size,
			      (const char *)name.data, (int)key.size, (const char *)key.data);
}

/* SETID takes the ends of all ids too. */
static bool
parse_group_id(struct command_context *c, const struct stream *s, bool creates, struct stream_id *ret)
{
	struct bytes text = c->argv[4];
	if (argument_is(text, "$"))
		*ret = s->last;
	else if (!creates && (argument_is(text, "-") || argument_is(text, "+")))
		return context_stream_bound(c, text, false, ret);
	else
		return context_stream_id(c, text, ret);
	return true;
}

int
command_xgroup_create(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct xgroup x;
	struct stream_id last;
	if (!context_stream_name(c, c->argv[3]) || !parse_xgroup(c, true, &x))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[2], &s);
	if (status != SETT_OK)
		return status;
	if ((!x.make_stream && !stream_must_exist(c, &s)) || !parse_group_id(c, &s.stream, true, &last))
		return OUTCOME_FAILED;
	status = stream_group_open(&s.stream, c->argv[3], &g);
	if (status == SETT_OK)
		return context_error(c, "BUSYGROUP Consumer Group name already exists");
	if (status == SETT_NOT_FOUND)
		status = stream_group_create(&s.stream, c->argv[3], &g);
	if (status != SETT_OK)
		return status;
	g.last = last;
	g.read = x.read;
	resp_status(c->reply, "OK");
	status = key_event(&s.key, EVENT_STREAM, "xgroup-create");
	return status == SETT_OK ? save_group(&g) : status;
}

int
command_xgroup_setid(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct xgroup x;
	if (!parse_xgroup(c, false, &x))
		return OUTCOME_FAILED;
	int status = open_xgroup(c, &s, &g);
	if (status != SETT_OK)
		return status;
	if (!parse_group_id(c, &s.stream, false, &g.last))
		return OUTCOME_FAILED;
	g.read = x.read;
	g.changed = true;
	resp_status(c->reply, "OK");
	status = key_event(&s.key, EVENT_STREAM, "xgroup-setid");
	if (status == SETT_OK)
		status = save_group(&g);
	/* As in Redis: what the group is to read again comes with the next entry. */
	if (status == SETT_OK)
		c->view.last_touched->serves_nobody = true;
	return status;
}

int
command_xgroup_destroy(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	int status = open_stream(c, c->argv[2], &s);
	if (status != SETT_OK)
		return status;
	if (!stream_must_exist(c, &s))
		return OUTCOME_FAILED;
	status = stream_group_open(&s.stream, c->argv[3], &g);
	resp_integer(c->reply, status == SETT_OK);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	status = g.pending > STREAM_LONG_PENDING ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK)
		status = stream_group_destroy(&g);
	if (status == SETT_OK)
		status = key_event(&s.key, EVENT_STREAM, "xgroup-destroy");
	return status == SETT_OK ? save_group(&g) : status;
}

int
command_xgroup_createconsumer(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct stream_consumer *consumer;
	if (!context_stream_name(c, c->argv[4]))
		return OUTCOME_FAILED;
	int status = open_xgroup(c, &s, &g);
	if (status != SETT_OK)
		return status;
	status = stream_consumer_find(&g, c->argv[4], &consumer);
	resp_integer(c->reply, status == SETT_NOT_FOUND);
	if (status == SETT_NOT_FOUND)
		status = use_group_consumer(c, &g, c->argv[4], true, &consumer);
	return status == SETT_OK ? save_group(&g) : status;
}

int
command_xgroup_delconsumer(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct stream_consumer *consumer;
	uint64_t pending = 0;
	int status = open_xgroup(c, &s, &g);
	if (status != SETT_OK)
		return status;
	status = stream_consumer_find(&g, c->argv[4], &consumer);
	if (status == SETT_OK && consumer->pending > STREAM_LONG_PENDING)
		status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = stream_consumer_delete(&g, consumer, &pending);
	if (status == SETT_OK)
		status = key_event(&s.key, EVENT_STREAM, "xgroup-delconsumer");
	resp_integer(c->reply, (int64_t)pending);
	return status == SETT_OK ? save_group(&g) : status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
command_xgroup_help(struct command_context *c)
{
	static const char *const lines[] = {"CREATE <key> <groupname> <id|$> [option]",
					    "    Create a new consumer group. Options are:",
					    "    * MKSTREAM",
					    "      Create the empty stream if it does not exist.",
					    "    * ENTRIESREAD entries_read",
					    "      Set the group's entries_read counter (internal use).",
					    "CREATECONSUMER <key> <groupname> <consumer>",
					    "    Create a new consumer in the specified group.",
					    "DELCONSUMER <key> <groupname> <consumer>",
					    "    Remove the specified consumer.",
					    "DESTROY <key> <groupname>",
					    "    Remove the specified group.",
					    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
					    "    Set the current group ID and entries_read counter.",
					    NULL};
	return context_help(c, lines);
}

/* ---- XACK and XPENDING ---- */

int
command_xack(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	int64_t acknowledged = 0;
	int status = open_group(c, c->argv[1], c->argv[2], &s, &g);
	if (status == SETT_NOT_FOUND)
		resp_integer(c->reply, 0);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	struct stream_id *ids = arena_allocate(c->arena, c->argc * sizeof(*ids), _Alignof(struct stream_id));
	if (ids == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 3; i < c->argc; i++)
		if (!context_stream_id(c, c->argv[i], &ids[i]))
			return OUTCOME_FAILED;
	for (size_t i = 3; i < c->argc; i++) {
		struct stream_pending pending;
		status = stream_pending_get(&g, ids[i], &pending);
		if (status == SETT_NOT_FOUND)
			continue;
		if (status == SETT_OK)
			status = stream_pending_remove(&g, &pending);
		if (status != SETT_OK)
			return status;
		acknowledged++;
	}
	resp_integer(c->reply, acknowledged);
	return save_group(&g);
}

static uint64_t
idle_ms(const struct command_context *c, uint64_t since)
{
	return c->view.now_ms > since ? c->view.now_ms - since : 0;
}

static int
summarize_pending(struct command_context *c, struct stream_group *g)
{
	struct stream_pending *first;
	struct stream_consumer *consumer;
	struct stream_id last;
	struct bytes *names;
	size_t count, firsts;
	uint64_t told = 0;
	resp_array(c->reply, 4);
	resp_integer(c->reply, (int64_t)g->pending);
	if (g->pending == 0) {
		resp_null(c->reply);
		resp_null(c->reply);
		resp_null_array(c->reply);
		return SETT_OK;
	}
	int status = stream_pending_list(g, NULL, (struct stream_id){0},
					 (struct stream_id){UINT64_MAX, UINT64_MAX}, 1, &first, &firsts);
	if (status == SETT_OK && firsts == 0)
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = stream_pending_last(g, &last);
	if (status == SETT_OK)
		status = stream_consumer_names(g, &names, &count);
	if (status != SETT_OK)
		return status;
	reply_stream_id(c, first->id);
	reply_stream_id(c, last);
	size_t array = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = stream_consumer_find(g, names[i], &consumer);
		if (status != SETT_OK || consumer->pending == 0)
			continue;
		resp_array(c->reply, 2);
		reply_bytes(c, names[i]);
		resp_bulk_integer(c->reply, (int64_t)consumer->pending);
		told++;
	}
	resp_deferred_array_end(c->reply, array, told);
	return status;
}

struct xpending {
	int64_t idle, count;
	struct stream_id from, to;
	const struct bytes *consumer; /* NULL: all */
};

static bool
parse_xpending(struct command_context *c, struct xpending *x)
{
	size_t first = 3;
	*x = (struct xpending){0};
	if (c->argc < 6 || c->argc > 9)
		return context_syntax_error(c) == SETT_OK;
	if (argument_is(c->argv[3], "IDLE")) {
		if (!context_integer(c, c->argv[4], &x->idle))
			return false;
		if (c->argc < 8)
			return context_syntax_error(c) == SETT_OK;
		first += 2;
	}
	if (!context_integer(c, c->argv[first + 2], &x->count))
		return false;
	if (x->count < 0)
		x->count = 0;
	if (first + 3 < c->argc)
		x->consumer = &c->argv[first + 3];
	return context_stream_bound(c, c->argv[first], false, &x->from) &&
		context_stream_bound(c, c->argv[first + 1], true, &x->to);
}

static int
list_pending(struct command_context *c, struct stream_group *g, const struct xpending *x)
{
	struct stream_consumer *consumer = NULL;
	struct stream_pending *list;
	size_t count;
	int64_t told = 0;
	if (x->consumer != NULL) {
		int status = stream_consumer_find(g, *x->consumer, &consumer);
		if (status != SETT_OK) {
			resp_array(c->reply, 0);
			return status == SETT_NOT_FOUND ? SETT_OK : status;
		}
	}
	if (g->pending > STREAM_LONG_PENDING && (x->idle > 0 || x->count > STREAM_LONG_PENDING)) {
		int status = context_enter_long_lane(c);
		if (status != SETT_OK)
			return status;
	}
	int status = stream_pending_list(g, consumer, x->from, x->to,
					 x->idle > 0 ? UINT64_MAX : (uint64_t)x->count, &list, &count);
	if (status != SETT_OK)
		return status;
	size_t array = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < count && told < x->count; i++) {
		uint64_t idle = idle_ms(c, list[i].delivered);
		if (x->idle > 0 && idle < (uint64_t)x->idle)
			continue;
		resp_array(c->reply, 4);
		reply_stream_id(c, list[i].id);
		reply_bytes(c, list[i].consumer);
		resp_integer(c->reply, (int64_t)idle);
		resp_integer(c->reply, (int64_t)list[i].count);
		told++;
	}
	resp_deferred_array_end(c->reply, array, (size_t)told);
	return SETT_OK;
}

int
command_xpending(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct xpending x;
	if (c->argc != 3 && !parse_xpending(c, &x))
		return OUTCOME_FAILED;
	int status = open_needed_group(c, c->argv[1], c->argv[2], &s, &g);
	if (status != SETT_OK)
		return status;
	return c->argc == 3 ? summarize_pending(c, &g) : list_pending(c, &g, &x);
}

/* ---- XINFO ---- */

static void
reply_read(struct command_context *c, const struct stream_group *g)
{
	int64_t lag;
	resp_bulk_string(c->reply, "entries-read");
	if (g->read > 0)
		resp_integer(c->reply, (int64_t)(g->read - 1));
	else
		resp_null(c->reply);
	resp_bulk_string(c->reply, "lag");
	if (stream_group_lag(g, &lag))
		resp_integer(c->reply, lag);
	else
		resp_null(c->reply);
}

int
command_xinfo_groups(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct bytes *names;
	size_t count;
	int status = open_stream(c, c->argv[2], &s);
	if (status == SETT_OK && !s.key.exists)
		return context_error(c, "ERR no such key");
	if (status == SETT_OK)
		status = stream_group_names(&s.stream, &names, &count);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++) {
		status = stream_group_open(&s.stream, names[i], &g);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		resp_map(c->reply, 6);
		resp_bulk_string(c->reply, "name");
		reply_bytes(c, names[i]);
		resp_bulk_string(c->reply, "consumers");
		resp_integer(c->reply, (int64_t)g.consumers);
		resp_bulk_string(c->reply, "pending");
		resp_integer(c->reply, (int64_t)g.pending);
		resp_bulk_string(c->reply, "last-delivered-id");
		reply_stream_id(c, g.last);
		reply_read(c, &g);
	}
	return SETT_OK;
}

int
command_xinfo_consumers(struct command_context *c)
{
	struct open_stream s;
	struct stream_group g;
	struct stream_consumer *consumer;
	struct bytes *names, key = c->argv[2], name = c->argv[3];
	size_t count;
	int status = open_group(c, key, name, &s, &g);
	if (status == SETT_NOT_FOUND && !s.key.exists)
		return context_error(c, "ERR no such key");
	if (status == SETT_NOT_FOUND)
		return context_errorf(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
				      (int)name.size, (const char *)name.data, (int)key.size,
				      (const char *)key.data);
	if (status == SETT_OK)
		status = stream_consumer_names(&g, &names, &count);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++) {
		status = stream_consumer_find(&g, names[i], &consumer);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		resp_map(c->reply, 3);
		resp_bulk_string(c->reply, "name");
		reply_bytes(c, names[i]);
		resp_bulk_string(c->reply, "pending");
		resp_integer(c->reply, (int64_t)consumer->pending);
		resp_bulk_string(c->reply, "idle");
		resp_integer(c->reply, (int64_t)idle_ms(c, consumer->seen));
	}
	return SETT_OK;
}

/* What is pending in XINFO STREAM FULL; of one consumer or of all. */
static int
reply_pending(struct command_context *c, struct stream_group *g, const struct stream_consumer *consumer,
	      uint64_t most)
{
	struct stream_pending *list;
	size_t count;
	int status = stream_pending_list(g, consumer, (struct stream_id){0},
					 (struct stream_id){UINT64_MAX, UINT64_MAX}, most, &list, &count);
	if (status != SETT_OK)
		return status;
	resp_bulk_string(c->reply, "pel-count");
	resp_integer(c->reply, (int64_t)(consumer != NULL ? consumer->pending : g->pending));
	resp_bulk_string(c->reply, "pending");
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++) {
		resp_array(c->reply, consumer != NULL ? 3 : 4);
		reply_stream_id(c, list[i].id);
		if (consumer == NULL)
			reply_bytes(c, list[i].consumer);
		resp_integer(c->reply, (int64_t)list[i].delivered);
		resp_integer(c->reply, (int64_t)list[i].count);
	}
	return SETT_OK;
}

static int
reply_consumers(struct command_context *c, struct stream_group *g, uint64_t most)
{
	struct stream_consumer *consumer;
	struct bytes *names;
	size_t count;
	int status = stream_consumer_names(g, &names, &count);
	resp_bulk_string(c->reply, "consumers");
	resp_array(c->reply, count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = stream_consumer_find(g, names[i], &consumer);
		if (status != SETT_OK)
			break;
		resp_map(c->reply, 4);
		resp_bulk_string(c->reply, "name");
		reply_bytes(c, names[i]);
		resp_bulk_string(c->reply, "seen-time");
		resp_integer(c->reply, (int64_t)consumer->seen);
		status = reply_pending(c, g, consumer, most);
	}
	return status;
}

int
reply_full_groups(struct command_context *c, struct stream *s, uint64_t most)
{
	struct stream_group g;
	struct bytes *names;
	size_t count;
	int status = stream_group_names(s, &names, &count);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = stream_group_open(s, names[i], &g);
		if (status != SETT_OK)
			break;
		resp_map(c->reply, 7);
		resp_bulk_string(c->reply, "name");
		reply_bytes(c, names[i]);
		resp_bulk_string(c->reply, "last-delivered-id");
		reply_stream_id(c, g.last);
		reply_read(c, &g);
		status = reply_pending(c, &g, NULL, most);
		if (status == SETT_OK)
			status = reply_consumers(c, &g, most);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}
