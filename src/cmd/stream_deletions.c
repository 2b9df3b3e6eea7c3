/* XDEL, and XDELEX and XACKDEL of Redis 8.2. */
#include "cmd/commands.h"
#include "cmd/stream_groups.h"
#include "txn/propagation.h"

int
command_xdel(struct command_context *c)
{
	struct open_stream s;
	struct stream_id id;
	int64_t deleted = 0;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	for (size_t i = 2; s.key.exists && i < c->argc; i++)
		if (!context_stream_id(c, c->argv[i], &id))
			return OUTCOME_FAILED;
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++) {
		bool found;
		if (!parse_stream_id(c->argv[i], 0, &id))
			break;
		status = stream_delete(&s.stream, id, &found);
		deleted += status == SETT_OK && found;
	}
	resp_integer(c->reply, deleted);
	if (status == SETT_OK && deleted > 0)
		status = key_event(&s.key, EVENT_STREAM, "xdel");
	return status == SETT_OK && s.key.exists ? stream_save(&s.stream) : status;
}

/* ---- XDELEX and XACKDEL ---- */

struct deletions {
	enum stream_refs_mode mode;
	bool has_mode;
	size_t first, count; /* arguments that are ids; none: not given */
};

static bool
parse_ids(struct command_context *c, size_t i, struct deletions *d)
{
	int64_t count;
	if (!parse_integer(c->argv[i], &count) || count <= 0) {
		context_error(c, "ERR Number of IDs must be a positive integer");
		return false;
	}
	if ((uint64_t)count > c->argc - i - 1) {
		context_error(c, "ERR The `numids` parameter must match the number of arguments");
		return false;
	}
	d->first = i + 1;
	d->count = (size_t)count;
	return true;
}

/* The options at argv[i] and after it. */
static bool
parse_deletions(struct command_context *c, size_t i, struct deletions *ret)
{
	struct stream_id id;
	*ret = (struct deletions){.mode = STREAM_KEEP_REFS};
	while (i < c->argc) {
		int taken = context_refs_mode(c, i, &ret->mode, &ret->has_mode);
		if (taken < 0)
			return false;
		if (taken == 0 && ret->count == 0 && i + 1 < c->argc && argument_is(c->argv[i], "IDS")) {
			if (!parse_ids(c, i + 1, ret))
				return false;
			taken = 2 + (int)ret->count;
		}
		if (taken == 0)
			break;
		i += (size_t)taken;
	}
	if (i < c->argc || ret->count == 0) {
		context_syntax_error(c);
		return false;
	}
	for (size_t n = 0; n < ret->count; n++)
		if (!context_stream_id(c, c->argv[ret->first + n], &id))
			return false;
	return true;
}

static struct stream_id
id_at(const struct command_context *c, const struct deletions *d, size_t i)
{
	struct stream_id id = {0};
	bool is_id = parse_stream_id(c->argv[d->first + i], 0, &id);
	assert(is_id);
	(void)is_id;
	return id;
}

/* There is no such key, or group. */
static int
reply_nothing_deleted(struct command_context *c, const struct deletions *d)
{
	resp_array(c->reply, d->count);
	for (size_t i = 0; i < d->count; i++)
		resp_integer(c->reply, -1);
	return SETT_OK;
}

static int
save_deletions(struct open_stream *s, struct stream_refs *refs, uint64_t deleted)
{
	int status = stream_refs_save(refs);
	if (status == SETT_OK && deleted > 0)
		status = key_event(&s->key, EVENT_STREAM, "xdel");
	return status == SETT_OK ? stream_save(&s->stream) : status;
}

static int
deletion_code(enum stream_deletion deletion)
{
	return deletion == STREAM_DELETED ? 1 : deletion == STREAM_WANTED ? 2 : -1;
}

int
command_xdelex(struct command_context *c)
{
	struct deletions d;
	struct open_stream s;
	struct stream_refs refs;
	uint64_t deleted = 0;
	propagate_nothing(c); /* but what stream_refs does */
	if (!parse_deletions(c, 2, &d))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		return reply_nothing_deleted(c, &d);
	status = stream_refs_open(&s.stream, d.mode, &refs);
	resp_array(c->reply, d.count);
	for (size_t i = 0; i < d.count && status == SETT_OK; i++) {
		enum stream_deletion deletion;
		status = stream_refs_delete(&refs, id_at(c, &d, i), &deletion);
		deleted += status == SETT_OK && deletion == STREAM_DELETED;
		resp_integer(c->reply, deletion_code(deletion));
	}
	return status == SETT_OK ? save_deletions(&s, &refs, deleted) : status;
}

/* -1: it was not pending. What was acknowledged and is not wanted counts as deleted, though it may have been so before. */
static int
acknowledge_and_delete(struct command_context *c, struct stream_group *g, struct stream_refs *refs,
		       struct stream_id id, int *ret_code, uint64_t *deleted)
{
	struct stream_pending pending;
	enum stream_deletion deletion = STREAM_ABSENT;
	int status = stream_pending_get(g, id, &pending);
	*ret_code = -1;
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	status = stream_pending_remove(g, &pending);
	if (status == SETT_OK)
		status = propagate_acknowledged(c, g, id);
	if (status == SETT_OK)
		status = stream_refs_delete(refs, id, &deletion);
	*deleted += deletion == STREAM_DELETED;
	*ret_code = deletion == STREAM_WANTED ? 2 : 1;
	return status;
}

int
command_xackdel(struct command_context *c)
{
	struct deletions d;
	struct open_stream s;
	struct stream_group kept, *g = NULL;
	struct stream_refs refs;
	uint64_t deleted = 0;
	propagate_nothing(c); /* but what it and stream_refs do */
	if (!parse_deletions(c, 3, &d))
		return OUTCOME_FAILED;
	int status = open_stream(c, c->argv[1], &s);
	if (status != SETT_OK)
		return status;
	if (!s.key.exists)
		return reply_nothing_deleted(c, &d);
	status = stream_refs_open(&s.stream, d.mode, &refs);
	if (status == SETT_OK)
		g = stream_refs_group(&refs, c->argv[2]);
	if (status == SETT_OK && d.mode == STREAM_KEEP_REFS) {
		status = stream_group_open(&s.stream, c->argv[2], &kept);
		g = status == SETT_OK ? &kept : NULL;
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	if (g == NULL)
		return reply_nothing_deleted(c, &d);
	resp_array(c->reply, d.count);
	for (size_t i = 0; i < d.count && status == SETT_OK; i++) {
		int code;
		status = acknowledge_and_delete(c, g, &refs, id_at(c, &d, i), &code, &deleted);
		resp_integer(c->reply, code);
	}
	if (status == SETT_OK && g == &kept)
		status = stream_group_save(g);
	return status == SETT_OK ? save_deletions(&s, &refs, deleted) : status;
}
