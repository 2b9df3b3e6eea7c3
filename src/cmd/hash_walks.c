/* Commands on many fields of a hash: HGETALL and its kin, HSCAN, HRANDFIELD.
 *
 * HSCAN's cursor is the hash of the next field: it needs no state, and all fields of one hash come in one
 * call. A packed hash comes whole. */
#include "cmd/commands.h"
#include "cmd/hashes.h"
#include "cmd/scan.h"
#include "keyspace/glob.h"
#include "storage/base/hash.h"

enum {
	LONG_FIELDS = 1000, /* to walk more takes long */
	LONG_BYTES = 1024 * 1024,
};

static bool
is_long(const struct hash *h)
{
	return h->object != 0 && (h->count > LONG_FIELDS || h->object_bytes > LONG_BYTES);
}

static int
enter_lane(struct command_context *c, const struct hash *h)
{
	return is_long(h) ? context_enter_long_lane(c) : SETT_OK;
}

static int
reply_parts(struct command_context *c, struct hash *h, const struct hash_field *field, unsigned parts)
{
	if ((parts & HASH_NAMES) != 0)
		reply_bytes(c, field->name);
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
reply_header(struct command_context *c, unsigned parts, uint64_t count)
{
	if (parts == (HASH_NAMES | HASH_VALUES))
		resp_map(c->reply, count);
	else
		resp_array(c->reply, count);
}

/* Counts the fields that are there, which takes a walk if some are past their deadlines. */
static int
count_live(struct command_context *c, struct open_hash *h, uint64_t *ret)
{
	struct hash_walk walk;
	struct hash_field field;
	uint64_t count = 0;
	if (!h->hash.some_due) {
		*ret = h->hash.count;
		return SETT_OK;
	}
	int status = enter_lane(c, &h->hash);
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
	int status = enter_lane(c, &h->hash);
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

static int
reply_whole_hash(struct command_context *c, unsigned parts)
{
	struct open_hash h;
	uint64_t count;
	int status = open_hash(c, c->argv[1], &h);
	if (status == SETT_OK)
		status = count_live(c, &h, &count);
	if (status != SETT_OK)
		return status;
	reply_header(c, parts, count);
	status = SETT_TOO_LARGE;
	if (count > 0 && is_long(&h.hash) && !key_is_changed(&h.key))
		status = reply_hash_source(c, &h, parts, count);
	/* No snapshot has the hash as this transaction sees it, or none can be kept; or it is small. */
	return status == SETT_TOO_LARGE ? reply_fields(c, &h, parts, count) : status;
}

int
command_hgetall(struct command_context *c)
{
	return reply_whole_hash(c, HASH_NAMES | HASH_VALUES);
}

int
command_hkeys(struct command_context *c)
{
	return reply_whole_hash(c, HASH_NAMES);
}

int
command_hvals(struct command_context *c)
{
	return reply_whole_hash(c, HASH_VALUES);
}

/* ---- HSCAN ---- */

static int
scan_fields(struct command_context *c, struct hash_walk *walk, const struct scan_options *o,
	    size_t *ret_found, uint64_t *ret_next)
{
	unsigned parts = o->no_values ? HASH_NAMES : HASH_NAMES | HASH_VALUES;
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
command_hscan(struct command_context *c)
{
	struct open_hash h;
	struct scan_options options;
	struct hash_walk walk;
	uint64_t cursor, next = 0;
	size_t found = 0;
	if (!scan_parse_cursor(c, c->argv[2], &cursor))
		return OUTCOME_FAILED;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	/* As in Redis, nobody looks at the options if there is no hash. */
	if (h.key.exists && !scan_parse_options(c, 3, SCAN_HASH, &options))
		return OUTCOME_FAILED;
	if (h.key.exists && options.count > SCAN_LONG_COUNT)
		status = enter_lane(c, &h.hash);
	if (status != SETT_OK)
		return status;
	struct scan_reply reply = scan_reply_begin(c);
	if (h.key.exists && cursor <= UINT32_MAX) {
		status = hash_walk_from(&h.hash, (uint32_t)cursor, &walk);
		if (status != SETT_OK)
			return status;
		status = scan_fields(c, &walk, &options, &found, &next);
		hash_walk_close(&walk);
	}
	return status == SETT_OK ? scan_reply_end(c, &reply, found, next) : status;
}

/* ---- HRANDFIELD ---- */

/* One of several chosen fields. */
static int
reply_chosen(struct command_context *c, struct hash *h, const struct hash_field *field, bool with_values)
{
	if (with_values && c->protocol == 3)
		resp_array(c->reply, 2);
	return reply_parts(c, h, field, with_values ? HASH_NAMES | HASH_VALUES : HASH_NAMES);
}

/* The field at `place` among those that are there. */
static int
walk_to(struct hash_walk *walk, uint64_t place, struct hash_field *ret)
{
	int status = hash_walk(walk->hash, walk);
	while (status == SETT_OK) {
		status = hash_walk_next(walk, ret);
		if (place-- == 0)
			break;
	}
	return status;
}

/* A field drawn from `live`, which is not 0. Where most are past their deadlines, by walking to it. */
static int
draw(struct command_context *c, struct hash_walk *walk, uint64_t live, struct hash_field *ret)
{
	struct hash *h = walk->hash;
	if (context_is_given_up(c))
		return context_give_up(c);
	int status = hash_walk_draw(walk, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	status = enter_lane(c, h);
	if (status != SETT_OK)
		return status;
	hash_walk_close(walk);
	return walk_to(walk, keyspace_random(c->server->keyspace) % live, ret);
}

static int
reply_one(struct command_context *c, struct open_hash *h)
{
	struct hash_walk walk;
	struct hash_field field;
	uint64_t live;
	int status = count_live(c, h, &live);
	if (status != SETT_OK)
		return status;
	if (live == 0) {
		resp_null(c->reply);
		return SETT_OK;
	}
	status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	status = draw(c, &walk, live, &field);
	if (status == SETT_OK)
		reply_bytes(c, field.name);
	hash_walk_close(&walk);
	return status;
}

/* `count` fields, perhaps the same ones again. */
static int
reply_draws(struct command_context *c, struct open_hash *h, uint64_t live, uint64_t count, bool with_values)
{
	struct hash_walk walk;
	struct hash_field field;
	int status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, with_values && c->protocol == 2 ? 2 * count : count);
	for (uint64_t i = 0; i < count && status == SETT_OK && !c->reply->failed; i++) {
		status = draw(c, &walk, live, &field);
		if (status == SETT_OK)
			status = reply_chosen(c, &h->hash, &field, with_values);
	}
	hash_walk_close(&walk);
	return status;
}

/* `count` of `live` fields, in the order of a walk (Knuth's algorithm S): each set of so many has the same
 * chance. */
static int
reply_selection(struct command_context *c, struct open_hash *h, uint64_t live, uint64_t count,
		bool with_values)
{
	struct hash_walk walk;
	struct hash_field field;
	int status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, with_values && c->protocol == 2 ? 2 * count : count);
	for (uint64_t left = live; count > 0 && status == SETT_OK; left--) {
		status = context_is_given_up(c) ? context_give_up(c) : hash_walk_next(&walk, &field);
		if (status == SETT_OK && keyspace_random(c->server->keyspace) % left < count) {
			status = reply_chosen(c, &h->hash, &field, with_values);
			count--;
		}
	}
	hash_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* A set of names in the arena: open addressing, at most half full. */
struct name_set {
	struct bytes *slots;
	size_t mask;
};

static int
name_set_create(struct arena *arena, uint64_t count, struct name_set *ret)
{
	size_t slots = 16;
	while (slots < 2 * count)
		slots *= 2;
	ret->mask = slots - 1;
	ret->slots = arena_allocate(arena, slots * sizeof(*ret->slots), _Alignof(struct bytes));
	if (ret->slots == NULL)
		return SETT_NO_MEMORY;
	memset(ret->slots, 0, slots * sizeof(*ret->slots));
	return SETT_OK;
}

/* SETT_NOT_FOUND if the name was there already; it is copied. */
static int
name_set_add(struct arena *arena, struct name_set *set, struct bytes name)
{
	size_t i = (size_t)hash64_bytes(name, 0) & set->mask;
	for (; set->slots[i].data != NULL; i = (i + 1) & set->mask)
		if (bytes_equal(set->slots[i], name))
			return SETT_NOT_FOUND;
	void *copy = arena_copy(arena, name.data, name.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	set->slots[i] = bytes_of(copy, name.size);
	return SETT_OK;
}

/* The same for few of many: drawn, and again if a field was drawn before. */
static int
reply_distinct_draws(struct command_context *c, struct open_hash *h, uint64_t live, uint64_t count,
		     bool with_values)
{
	struct hash_walk walk;
	struct hash_field field;
	struct name_set set;
	int status = name_set_create(c->arena, count, &set);
	if (status == SETT_OK)
		status = hash_walk(&h->hash, &walk);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, with_values && c->protocol == 2 ? 2 * count : count);
	while (count > 0 && status == SETT_OK) {
		status = draw(c, &walk, live, &field);
		if (status == SETT_OK)
			status = name_set_add(c->arena, &set, field.name);
		if (status == SETT_OK) {
			status = reply_chosen(c, &h->hash, &field, with_values);
			count--;
		} else if (status == SETT_NOT_FOUND) {
			status = SETT_OK;
		}
	}
	hash_walk_close(&walk);
	return status;
}

static int
reply_some(struct command_context *c, struct open_hash *h, int64_t count, bool with_values)
{
	uint64_t wanted = count < 0 ? 0 - (uint64_t)count : (uint64_t)count, live;
	int status = wanted > LONG_FIELDS ? enter_lane(c, &h->hash) : SETT_OK;
	if (status == SETT_OK)
		status = count_live(c, h, &live);
	if (status != SETT_OK)
		return status;
	if (live == 0 || count == 0) {
		resp_array(c->reply, 0);
		return SETT_OK;
	}
	if (count < 0)
		return reply_draws(c, h, live, wanted, with_values);
	if (wanted > live)
		wanted = live;
	/* As in Redis: draws that hit what was drawn before get frequent from a third on. */
	if (h->hash.object == 0 || wanted >= live / 3) {
		status = enter_lane(c, &h->hash);
		return status == SETT_OK ? reply_selection(c, h, live, wanted, with_values) : status;
	}
	return reply_distinct_draws(c, h, live, wanted, with_values);
}

int
command_hrandfield(struct command_context *c)
{
	struct open_hash h;
	int64_t count;
	bool with_values = c->argc == 4;
	if (c->argc >= 3) {
		if (!context_integer(c, c->argv[2], &count))
			return OUTCOME_FAILED;
		if (count == INT64_MIN)
			return context_error(
				c,
				"ERR value is out of range, value must between -9223372036854775807 "
				"and 9223372036854775807");
		if (c->argc > 4 || (with_values && !argument_is(c->argv[3], "WITHVALUES")))
			return context_syntax_error(c);
		if (with_values && (count < -(INT64_MAX / 2) || count > INT64_MAX / 2))
			return context_error(c, "ERR value is out of range");
	}
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	return c->argc >= 3 ? reply_some(c, &h, count, with_values) : reply_one(c, &h);
}
