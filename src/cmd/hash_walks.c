/* Walks over all fields of a hash or members of a set: HGETALL and its kin, SMEMBERS, HSCAN, SSCAN.
 *
 * A scan's cursor is the hash of the next field: it needs no state, and all fields of one hash come in one
 * call. A packed hash comes whole. */
#include "cmd/commands.h"
#include "cmd/hashes.h"
#include "cmd/scan.h"
#include "keyspace/glob.h"
#include "types/zset.h"

bool
hash_is_long(const struct hash *h)
{
	enum { LONG_BYTES = 1024 * 1024 };
	return h->object != 0 && (h->count > HASH_LONG_WALK || h->object_bytes > LONG_BYTES);
}

int
enter_lane_for_hash(struct command_context *c, const struct hash *h)
{
	return hash_is_long(h) ? context_enter_long_lane(c) : SETT_OK;
}

/* As Redis gives a score: what is a listpack to it has integers as such. */
static int
reply_score_text(struct command_context *c, struct hash *h, const struct hash_field *field)
{
	double score;
	int status = zset_score(h, field, &score);
	if (status != SETT_OK)
		return status;
	const double most = (double)(INT64_MAX / 2);
	if (h->encoding == ZSET_LISTPACK && score >= -most && score <= most &&
	    score == (double)(int64_t)score)
		resp_bulk_integer(c->reply, (int64_t)score);
	else
		resp_bulk_format(c->reply, "%.17g", score);
	return SETT_OK;
}

int
reply_parts(struct command_context *c, struct hash *h, const struct hash_field *field, unsigned parts)
{
	if ((parts & HASH_NAMES) != 0)
		reply_bytes(c, field->name);
	if ((parts & HASH_SCORE_TEXTS) != 0)
		return reply_score_text(c, h, field);
	return (parts & HASH_VALUES) != 0 ? reply_field_value(c, h, field) : SETT_OK;
}

/* ---- all of it ---- */

/* Appends the next fields, at most `most`; SETT_NOT_FOUND at the end. */
static int
reply_walk(struct command_context *c, struct hash_walk *walk, unsigned parts, uint64_t most,
	   uint64_t *ret_count)
{
	struct hash_field field;
	int status = SETT_OK;
	*ret_count = 0;
	while (*ret_count < most && (status = hash_walk_next(walk, &field)) == SETT_OK) {
		status = context_is_given_up(c) ? context_give_up(c)
						: reply_parts(c, walk->hash, &field, parts);
		if (status != SETT_OK)
			return status;
		++*ret_count;
	}
	return status;
}

static void
reply_header(struct command_context *c, const struct hash *h, unsigned parts, uint64_t count)
{
	if (h->type == VALUE_SET)
		resp_set(c->reply, count);
	else if (parts == (HASH_NAMES | HASH_VALUES))
		resp_map(c->reply, count);
	else
		resp_array(c->reply, count);
}

int
count_live_fields(struct command_context *c, struct open_hash *h, uint64_t *ret)
{
	struct hash_walk walk;
	struct hash_field field;
	uint64_t count = 0;
	if (!h->hash.some_due) {
		*ret = h->hash.count;
		return SETT_OK;
	}
	int status = enter_lane_for_hash(c, &h->hash);
	if (status == SETT_OK)
		status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	while (!context_is_given_up(c) && (status = hash_walk_next(&walk, &field)) == SETT_OK)
		count++;
	hash_walk_close(&walk);
	*ret = count;
	if (context_is_given_up(c))
		return context_give_up(c);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Reads all fields now. */
static int
reply_fields(struct command_context *c, struct open_hash *h, unsigned parts, uint64_t count)
{
	struct hash_walk walk;
	uint64_t found;
	int status = enter_lane_for_hash(c, &h->hash);
	if (status == SETT_OK)
		status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	status = reply_walk(c, &walk, parts, UINT64_MAX, &found);
	hash_walk_close(&walk);
	if (status == SETT_NOT_FOUND)
		status = found == count ? SETT_OK : SETT_CORRUPT;
	return status;
}

int
reply_whole_hash(struct command_context *c, struct open_hash *h, unsigned parts)
{
	uint64_t count;
	int status = count_live_fields(c, h, &count);
	if (status != SETT_OK)
		return status;
	reply_header(c, &h->hash, parts, count);
	status = SETT_TOO_LARGE;
	if (count > 0 && hash_is_long(&h->hash) && !key_is_changed(&h->key))
		status = reply_hash_source(c, h, parts, count);
	/* No snapshot has the hash as this transaction sees it, or none can be kept; or it is small. */
	return status == SETT_TOO_LARGE ? reply_fields(c, h, parts, count) : status;
}

static int
reply_all(struct command_context *c, unsigned parts)
{
	struct open_hash h;
	int status = open_hash(c, c->argv[1], &h);
	return status == SETT_OK ? reply_whole_hash(c, &h, parts) : status;
}

int
command_hgetall(struct command_context *c)
{
	return reply_all(c, HASH_NAMES | HASH_VALUES);
}

int
command_hkeys(struct command_context *c)
{
	return reply_all(c, HASH_NAMES);
}

int
command_hvals(struct command_context *c)
{
	return reply_all(c, HASH_VALUES);
}

/* ---- HSCAN, SSCAN ---- */

static int
scan_fields(struct command_context *c, struct hash_walk *walk, const struct scan_options *o,
	    size_t *ret_found, uint64_t *ret_next)
{
	unsigned values = walk->hash->type == VALUE_ZSET ? HASH_SCORE_TEXTS : HASH_VALUES;
	unsigned parts = o->no_values ? HASH_NAMES : HASH_NAMES | values;
	bool whole = walk->hash->object == 0;
	struct hash_field field;
	uint32_t last = 0;
	int status;
	*ret_next = 0;
	for (int64_t seen = 0; (status = hash_walk_step(walk, &field)) == SETT_OK; seen++) {
		if (!whole && seen >= o->count && field.member.hash != last) {
			*ret_next = field.member.hash;
			return SETT_OK;
		}
		if (!whole)
			last = field.member.hash;
		if (context_is_given_up(c))
			return context_give_up(c);
		if (field.is_due || (!o->all && !glob_match(o->pattern, field.name, false)))
			continue;
		status = reply_parts(c, walk->hash, &field, parts);
		if (status != SETT_OK)
			return status;
		*ret_found += o->no_values ? 1 : 2;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
scan_hash(struct command_context *c, struct open_hash *h, uint64_t cursor, enum scan_kind kind)
{
	struct scan_options options;
	struct hash_walk walk;
	uint64_t next = 0;
	size_t found = 0;
	int status = SETT_OK;
	/* As in Redis, nobody looks at the options if there is no hash. */
	if (h->key.exists && !scan_parse_options(c, 3, kind, &options))
		return OUTCOME_FAILED;
	if (h->key.exists && options.count > SCAN_LONG_COUNT)
		status = enter_lane_for_hash(c, &h->hash);
	if (status != SETT_OK)
		return status;
	struct scan_reply reply = scan_reply_begin(c);
	if (h->key.exists && cursor <= UINT32_MAX) {
		status = hash_walk_from(&h->hash, (uint32_t)cursor, &walk);
		if (status != SETT_OK)
			return status;
		status = scan_fields(c, &walk, &options, &found, &next);
		hash_walk_close(&walk);
	}
	return status == SETT_OK ? scan_reply_end(c, &reply, found, next) : status;
}

int
command_hscan(struct command_context *c)
{
	struct open_hash h;
	uint64_t cursor;
	if (!scan_parse_cursor(c, c->argv[2], &cursor))
		return OUTCOME_FAILED;
	int status = open_hash(c, c->argv[1], &h);
	return status == SETT_OK ? scan_hash(c, &h, cursor, SCAN_HASH) : status;
}
