/* Random fields of a hash or members of a set: HRANDFIELD, SRANDMEMBER, and what SPOP chooses. */
#include "cmd/commands.h"
#include "cmd/hashes.h"

#include <inttypes.h>

#include "config/config.h"
#include "net/client.h"
#include "storage/base/hash.h"

enum { DRAWS_LONG = 50000 /* of the smallest key: some milliseconds */ };

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

static int
draw_by_walk(struct command_context *c, struct hash_walk *walk, uint64_t live, struct hash_field *ret)
{
	struct hash *h = walk->hash;
	if (context_is_given_up(c))
		return context_give_up(c);
	int status = hash_walk_draw(walk, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	status = enter_lane_for_hash(c, h);
	if (status != SETT_OK)
		return status;
	hash_walk_close(walk);
	return walk_to(walk, keyspace_random(c->server->keyspace) % live, ret);
}

int
begin_draws(struct command_context *c, struct hash *h, uint64_t live, bool is_whole, struct field_draws *ret)
{
	struct member_counts counts;
	hash_member_counts(h, &counts);
	ret->c = c;
	ret->hash = h;
	ret->live = live;
	ret->is_whole = is_whole;
	ret->by_name = h->object != 0 && h->with_deadline == 0 &&
		member_draw_begin(&h->members, &counts, &ret->names);
	return ret->by_name ? SETT_OK : hash_walk(h, &ret->walk);
}

void
end_draws(struct field_draws *d)
{
	if (d->by_name)
		member_draw_end(&d->names);
	else
		hash_walk_close(&d->walk);
}

/* SETT_NOT_FOUND: it takes a walk. */
static int
draw_by_name(struct field_draws *d, struct hash_field *ret)
{
	enum { TRIES = 64 };
	struct bytes stored;
	bool is_certain;
	int status = SETT_NOT_FOUND;
	for (int tries = 0; status == SETT_NOT_FOUND && tries < TRIES; tries++) {
		status = member_draw_next(&d->names, &stored, &is_certain);
		if (status != SETT_OK)
			return status;
		/* A long name is another than what is stored for it. */
		if (!d->is_whole && is_certain && stored.size <= MEMBER_STORED_MAX) {
			ret->name = stored;
			return SETT_OK;
		}
		status = hash_find_stored(d->hash, stored, ret);
	}
	return status;
}

int
next_draw(struct field_draws *d, struct hash_field *ret)
{
	if (!d->by_name)
		return draw_by_walk(d->c, &d->walk, d->live, ret);
	if (context_is_given_up(d->c))
		return context_give_up(d->c);
	int status = draw_by_name(d, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	member_draw_end(&d->names);
	d->by_name = false;
	status = hash_walk(d->hash, &d->walk);
	return status == SETT_OK ? draw_by_walk(d->c, &d->walk, d->live, ret) : status;
}

int
draw_taken(struct field_draws *d)
{
	return d->by_name ? member_draw_taken(&d->names) : SETT_OK;
}

int
reply_random_field(struct command_context *c, struct open_hash *h)
{
	struct field_draws draws;
	struct hash_field field;
	uint64_t live;
	int status = count_live_fields(c, h, &live);
	if (status != SETT_OK)
		return status;
	if (live == 0) {
		resp_null(c->reply);
		return SETT_OK;
	}
	status = begin_draws(c, &h->hash, live, false, &draws);
	if (status != SETT_OK)
		return status;
	status = next_draw(&draws, &field);
	if (status == SETT_OK)
		reply_bytes(c, field.name);
	end_draws(&draws);
	return status;
}

/* A reply may be of any length, whatever the size of the key. Past the limit for which its client is closed the rest is not
 * made: nothing of it is sent. `start`: where it begins. What a script is told has no such limit. */
static bool
ends_for_its_size(const struct command_context *c, size_t start)
{
	enum config_client_class class =
		client_is_subscribed(c->client) ? CONFIG_CLIENT_PUBSUB : CONFIG_CLIENT_NORMAL;
	/* Relaxed: CONFIG SET may change it at any time. */
	uint64_t limit = __atomic_load_n(&c->server->config->output_limits[class].hard, __ATOMIC_RELAXED);
	if (!c->reply->failed && !c->in_script && limit != 0 && c->reply->size - start > limit) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
				"Client id=%" PRIu64 " closed for overcoming of output buffer limits.",
				c->client->id);
		c->reply->failed = true;
	}
	return c->reply->failed;
}

/* `count` fields, perhaps the same ones again. */
static int
reply_draws(struct command_context *c, struct open_hash *h, uint64_t live, uint64_t count, bool with_values)
{
	struct field_draws draws;
	struct hash_field field;
	int status = begin_draws(c, &h->hash, live, with_values, &draws);
	if (status != SETT_OK)
		return status;
	size_t start = c->reply->size;
	resp_array(c->reply, with_values && c->protocol == 2 ? 2 * count : count);
	for (uint64_t i = 0; i < count && status == SETT_OK && !ends_for_its_size(c, start); i++) {
		struct sett_read_mark reads = hash_read_mark(&h->hash);
		status = next_draw(&draws, &field);
		if (status == SETT_OK)
			status = reply_chosen(c, &h->hash, &field, with_values);
		hash_forget_reads(&h->hash, &reads);
	}
	end_draws(&draws);
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
	struct field_draws draws;
	struct hash_field field;
	struct name_set set;
	int status = name_set_create(c->arena, count, &set);
	if (status == SETT_OK)
		status = begin_draws(c, &h->hash, live, with_values, &draws);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, with_values && c->protocol == 2 ? 2 * count : count);
	while (count > 0 && status == SETT_OK) {
		struct sett_read_mark reads = hash_read_mark(&h->hash);
		status = next_draw(&draws, &field);
		if (status == SETT_OK)
			status = name_set_add(c->arena, &set, field.name);
		if (status == SETT_OK) {
			status = reply_chosen(c, &h->hash, &field, with_values);
			count--;
		} else if (status == SETT_NOT_FOUND) {
			status = SETT_OK;
		}
		hash_forget_reads(&h->hash, &reads);
	}
	end_draws(&draws);
	return status;
}

int
reply_random_fields(struct command_context *c, struct open_hash *h, int64_t count, bool with_values)
{
	uint64_t wanted = count < 0 ? 0 - (uint64_t)count : (uint64_t)count, live;
	int status = wanted > HASH_LONG_WALK ? enter_lane_for_hash(c, &h->hash) : SETT_OK;
	if (status == SETT_OK)
		status = count_live_fields(c, h, &live);
	if (status == SETT_OK && count < 0 && live > 0 && wanted > DRAWS_LONG)
		status = context_enter_long_lane(c);
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
		status = enter_lane_for_hash(c, &h->hash);
		return status == SETT_OK ? reply_selection(c, h, live, wanted, with_values) : status;
	}
	return reply_distinct_draws(c, h, live, wanted, with_values);
}

bool
parse_random_count(struct command_context *c, struct bytes argument, int64_t *ret)
{
	return context_integer(c, argument, ret) &&
		context_integer_range(c, argument, -INT64_MAX, INT64_MAX,
				      "ERR value is out of range, value must between -9223372036854775807 "
				      "and 9223372036854775807",
				      ret);
}

bool
parse_random_arguments(struct command_context *c, const char *word, int64_t *ret_count, bool *ret_with_values)
{
	bool with_values = c->argc == 4;
	*ret_count = 1;
	*ret_with_values = with_values;
	if (c->argc < 3)
		return true;
	if (!parse_random_count(c, c->argv[2], ret_count))
		return false;
	if (c->argc > 4 || (with_values && !argument_is(c->argv[3], word)))
		context_syntax_error(c);
	else if (with_values && (*ret_count < -(INT64_MAX / 2) || *ret_count > INT64_MAX / 2))
		context_error(c, "ERR value is out of range");
	return !c->failed;
}

int
command_hrandfield(struct command_context *c)
{
	struct open_hash h;
	int64_t count;
	bool with_values;
	if (!parse_random_arguments(c, "WITHVALUES", &count, &with_values))
		return OUTCOME_FAILED;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	return c->argc >= 3 ? reply_random_fields(c, &h, count, with_values) : reply_random_field(c, &h);
}
