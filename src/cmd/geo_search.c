/* Members near a place: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their read-only forms. */
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/geo.h"

/* ---- arguments ---- */

/* Which command it is: where its fixed arguments are. */
struct search_form {
	size_t key, options; /* arguments */
	bool is_search;      /* GEOSEARCH: the shape is among the options */
	bool by_member;      /* GEORADIUSBYMEMBER */
	bool may_store;      /* GEORADIUS: STORE, STOREDIST */
	bool stores;         /* GEOSEARCHSTORE */
};

enum search_order { UNSORTED, NEAREST_FIRST, FARTHEST_FIRST };

struct search {
	const struct search_form *form;
	struct open_zset source;
	struct geo_shape shape;
	bool has_place, has_member, has_radius, has_box;
	bool with_distance, with_hash, with_place, any;
	enum search_order order;
	int64_t count; /* 0 = all */
	const struct bytes *target;
	bool stores_distance;
};

static bool
parse_radius(struct command_context *c, const struct bytes *arguments, struct geo_shape *ret)
{
	if (!context_score(c, arguments[0], "ERR need numeric radius", &ret->radius))
		return false;
	if (ret->radius < 0) {
		context_error(c, "ERR radius cannot be negative");
		return false;
	}
	ret->is_box = false;
	return context_unit(c, arguments[1], &ret->unit);
}

static bool
parse_box(struct command_context *c, const struct bytes *arguments, struct geo_shape *ret)
{
	if (!context_score(c, arguments[0], "ERR need numeric width", &ret->width) ||
	    !context_score(c, arguments[1], "ERR need numeric height", &ret->height))
		return false;
	if (ret->width < 0 || ret->height < 0) {
		context_error(c, "ERR height or width cannot be negative");
		return false;
	}
	ret->is_box = true;
	return context_unit(c, arguments[2], &ret->unit);
}

/* Without a key there is no member to look for; the other arguments are checked all the same. */
static int
take_place_of_member(struct command_context *c, struct search *s, struct bytes name)
{
	if (!s->source.members.key.exists)
		return SETT_OK;
	int status = find_place(&s->source.zset, name, &s->shape.middle);
	return status == SETT_NOT_FOUND ? context_error(c, "ERR could not decode requested zset member")
					: status;
}

/* Each of these takes an option at argument `at`: `*ret_taken` is how many arguments it is, 0 if it is another one. */

static bool
take_flag(struct search *s, struct bytes word)
{
	if (argument_is(word, "WITHDIST"))
		s->with_distance = true;
	else if (argument_is(word, "WITHHASH"))
		s->with_hash = true;
	else if (argument_is(word, "WITHCOORD"))
		s->with_place = true;
	else if (argument_is(word, "ANY"))
		s->any = true;
	else if (argument_is(word, "ASC"))
		s->order = NEAREST_FIRST;
	else if (argument_is(word, "DESC"))
		s->order = FARTHEST_FIRST;
	else if (s->form->stores && argument_is(word, "STOREDIST"))
		s->stores_distance = true;
	else
		return false;
	return true;
}

static int
take_count_or_target(struct command_context *c, struct search *s, size_t at, size_t *ret_taken)
{
	struct bytes word = c->argv[at];
	bool has_next = at + 1 < c->argc, with_distance = argument_is(word, "STOREDIST");
	*ret_taken = 0;
	if (argument_is(word, "COUNT") && has_next) {
		*ret_taken = 2;
		if (!context_integer(c, c->argv[at + 1], &s->count))
			return OUTCOME_FAILED;
		if (s->count <= 0)
			return context_error(c, "ERR COUNT must be > 0");
	} else if (s->form->may_store && has_next && (with_distance || argument_is(word, "STORE"))) {
		*ret_taken = 2;
		s->target = &c->argv[at + 1];
		s->stores_distance = with_distance;
	}
	return SETT_OK;
}

static int
take_shape(struct command_context *c, struct search *s, size_t at, size_t *ret_taken)
{
	struct bytes word = c->argv[at];
	const struct bytes *next = &c->argv[at + 1];
	size_t left = c->argc - at - 1;
	bool done = true;
	*ret_taken = 0;
	if (!s->form->is_search)
		return SETT_OK;
	if (argument_is(word, "FROMMEMBER") && left >= 1 && !s->has_place) {
		s->has_member = true;
		*ret_taken = 2;
		return take_place_of_member(c, s, next[0]);
	}
	if (argument_is(word, "FROMLONLAT") && left >= 2 && !s->has_member) {
		s->has_place = true;
		*ret_taken = 3;
		done = context_place(c, next, &s->shape.middle);
	} else if (argument_is(word, "BYRADIUS") && left >= 2 && !s->has_box) {
		s->has_radius = true;
		*ret_taken = 3;
		done = parse_radius(c, next, &s->shape);
	} else if (argument_is(word, "BYBOX") && left >= 3 && !s->has_radius) {
		s->has_box = true;
		*ret_taken = 4;
		done = parse_box(c, next, &s->shape);
	}
	return done ? SETT_OK : OUTCOME_FAILED;
}

/* What GEORADIUS and GEORADIUSBYMEMBER have before their options. */
static int
parse_fixed_arguments(struct command_context *c, struct search *s)
{
	if (s->form->is_search)
		return SETT_OK;
	if (!s->form->by_member) {
		bool done = context_place(c, &c->argv[2], &s->shape.middle) &&
			parse_radius(c, &c->argv[4], &s->shape);
		return done ? SETT_OK : OUTCOME_FAILED;
	}
	/* Without a key Redis does not look at the radius. */
	if (!s->source.members.key.exists)
		return SETT_OK;
	int status = take_place_of_member(c, s, c->argv[2]);
	if (status == SETT_OK && !parse_radius(c, &c->argv[3], &s->shape))
		status = OUTCOME_FAILED;
	return status;
}

static int
parse_options(struct command_context *c, struct search *s)
{
	size_t taken;
	for (size_t at = s->form->options; at < c->argc; at += taken) {
		int status = SETT_OK;
		taken = take_flag(s, c->argv[at]);
		if (taken == 0)
			status = take_count_or_target(c, s, at, &taken);
		if (status == SETT_OK && taken == 0)
			status = take_shape(c, s, at, &taken);
		if (status != SETT_OK)
			return status;
		if (taken == 0)
			return context_syntax_error(c);
	}
	return SETT_OK;
}

/* What options must not, or must, be together. */
static int
check_options(struct command_context *c, const struct search *s)
{
	char name[CONTEXT_NAME_SIZE];
	size_t size = c->argv[0].size < sizeof(name) ? c->argv[0].size : sizeof(name) - 1;
	if (s->target != NULL && (s->with_distance || s->with_hash || s->with_place))
		return context_errorf(
			c, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
			s->form->stores ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
	memcpy(name, c->argv[0].data, size);
	name[size] = '\0';
	if (s->form->is_search && !s->has_member && !s->has_place)
		return context_errorf(
			c, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %s", name);
	if (s->form->is_search && !s->has_radius && !s->has_box)
		return context_errorf(c, "ERR exactly one of BYRADIUS and BYBOX can be specified for %s",
				      name);
	if (s->any && s->count == 0)
		return context_error(c, "ERR the ANY argument requires COUNT argument");
	return SETT_OK;
}

/* ---- finding ---- */

struct found_place {
	struct geo_place place;
	double score, distance; /* metres */
	size_t name_at, name_size;
};

struct found_places {
	struct found_place *items;
	size_t count, capacity;
	struct buffer names;
};

static int
note_found(struct found_places *f, const struct zset_element *element, struct geo_place place,
	   double distance)
{
	if (f->count == f->capacity) {
		size_t capacity = f->capacity == 0 ? 16 : 2 * f->capacity;
		struct found_place *items = realloc(f->items, capacity * sizeof(*items));
		if (items == NULL)
			return SETT_NO_MEMORY;
		f->items = items;
		f->capacity = capacity;
	}
	f->items[f->count++] = (struct found_place){.place = place,
						    .score = element->score,
						    .distance = distance,
						    .name_at = f->names.size,
						    .name_size = element->name.size};
	return buffer_append(&f->names, element->name.data, element->name.size) == 0 ? SETT_OK
										     : SETT_NO_MEMORY;
}

static bool
has_enough(const struct search *s, const struct found_places *f)
{
	return s->any && f->count >= (uint64_t)s->count;
}

/* Ranks of the members whose scores are in the range. */
static int
ranks_of(struct search *s, const struct geo_range *range, uint64_t *ret_start, uint64_t *ret_count)
{
	uint64_t start, end;
	int status = zset_rank_of_score(&s->source.zset, (double)range->low, false, &start);
	if (status == SETT_OK)
		status = zset_rank_of_score(&s->source.zset, (double)range->end, false, &end);
	if (status != SETT_OK)
		return status;
	*ret_start = start;
	*ret_count = end - start;
	return SETT_OK;
}

static int
find_among(struct command_context *c, struct search *s, uint64_t start, uint64_t count,
	   struct found_places *f)
{
	struct zset_walk walk;
	struct zset_element element;
	int status = SETT_OK;
	zset_walk(&s->source.zset, start, false, &walk);
	for (uint64_t i = 0; status == SETT_OK && i < count && !has_enough(s, f); i++) {
		double distance;
		if (i % 1024 == 1023 && context_is_given_up(c) && s->target == NULL)
			status = context_give_up(c);
		else
			status = zset_walk_next(&walk, &element);
		if (status != SETT_OK)
			break;
		struct geo_place place = geo_place_of(element.score);
		if (geo_shape_has(&s->shape, place, &distance))
			status = note_found(f, &element, place, distance);
	}
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static int
find_all(struct command_context *c, struct search *s, struct found_places *f)
{
	struct geo_range ranges[GEO_RANGES_MAX];
	uint64_t starts[GEO_RANGES_MAX], counts[GEO_RANGES_MAX], sum = 0;
	unsigned range_count = geo_ranges(&s->shape, ranges);
	for (unsigned i = 0; i < range_count; i++) {
		int status = ranks_of(s, &ranges[i], &starts[i], &counts[i]);
		if (status != SETT_OK)
			return status;
		sum += counts[i];
	}
	int status = sum > ZSET_LONG_WALK ? context_enter_long_lane(c) : SETT_OK;
	for (unsigned i = 0; status == SETT_OK && i < range_count && !has_enough(s, f); i++)
		if (counts[i] > 0)
			status = find_among(c, s, starts[i], counts[i], f);
	return status;
}

static int
compare_distances(const void *a, const void *b)
{
	double x = ((const struct found_place *)a)->distance, y = ((const struct found_place *)b)->distance;
	return x < y ? -1 : x > y;
}

static int
compare_distances_backwards(const void *a, const void *b)
{
	return compare_distances(b, a);
}

/* Sorts, and leaves no more than are asked for. */
static void
choose(struct search *s, struct found_places *f)
{
	/* The first of what has no order would mean nothing. */
	if (s->count > 0 && s->order == UNSORTED && !s->any)
		s->order = NEAREST_FIRST;
	if (s->order != UNSORTED && f->count > 0)
		qsort(f->items, f->count, sizeof(*f->items),
		      s->order == NEAREST_FIRST ? compare_distances : compare_distances_backwards);
	if (s->count > 0 && f->count > (uint64_t)s->count)
		f->count = (size_t)s->count;
}

/* ---- results ---- */

static struct bytes
name_of(const struct found_places *f, const struct found_place *p)
{
	return bytes_of(f->names.data + p->name_at, p->name_size);
}

static void
reply_found(struct command_context *c, const struct search *s, const struct found_places *f)
{
	size_t parts = 1 + (size_t)s->with_distance + (size_t)s->with_hash + (size_t)s->with_place;
	resp_array(c->reply, f->count);
	for (size_t i = 0; i < f->count; i++) {
		const struct found_place *p = &f->items[i];
		if (parts > 1)
			resp_array(c->reply, parts);
		reply_bytes(c, name_of(f, p));
		if (s->with_distance)
			reply_distance(c, p->distance / s->shape.unit);
		if (s->with_hash)
			resp_integer(c->reply, (int64_t)p->score);
		if (s->with_place)
			reply_place(c, p->place);
	}
}

/* A sorted set of what was found takes the place of the target; of nothing, none does. No member is found twice. */
static int
store_found(struct command_context *c, const struct search *s, const struct found_places *f)
{
	struct open_zset to;
	int status = open_new_zset(c, *s->target, &to);
	bool existed = status == SETT_OK && to.members.key.exists;
	for (size_t i = 0; status == SETT_OK && i < f->count; i++) {
		const struct found_place *p = &f->items[i];
		double score = s->stores_distance ? p->distance / s->shape.unit : p->score;
		status = zset_put(&to.zset, name_of(f, p), score, NULL);
	}
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)f->count);
	return tell_stored(zset_save(&to.zset), &to.members.key, existed, VALUE_ZSET,
			   s->form->is_search ? "geosearchstore" : "georadiusstore");
}

static int
run_search(struct command_context *c, const struct search_form *form)
{
	struct search s = {.form = form, .target = form->stores ? &c->argv[1] : NULL};
	struct found_places f = {0};
	int status = open_zset(c, c->argv[form->key], &s.source);
	if (status != SETT_OK)
		return status;
	/* Where the row says that it may write, the source is read all the same. */
	status = count_source(c, &s.source.members.key);
	if (status != SETT_OK)
		return status;
	status = parse_fixed_arguments(c, &s);
	if (status == SETT_OK)
		status = parse_options(c, &s);
	if (status == SETT_OK)
		status = check_options(c, &s);
	if (status == SETT_OK && s.source.members.key.exists)
		status = find_all(c, &s, &f);
	if (status == SETT_OK) {
		choose(&s, &f);
		if (s.target != NULL)
			status = store_found(c, &s, &f);
		else
			reply_found(c, &s, &f);
	}
	free(f.items);
	buffer_free(&f.names);
	return status;
}

/* ---- the commands ---- */

int
command_geosearch(struct command_context *c)
{
	static const struct search_form form = {.key = 1, .options = 2, .is_search = true};
	return run_search(c, &form);
}

int
command_geosearchstore(struct command_context *c)
{
	static const struct search_form form = {.key = 2, .options = 3, .is_search = true, .stores = true};
	return run_search(c, &form);
}

int
command_georadius(struct command_context *c)
{
	static const struct search_form form = {.key = 1, .options = 6, .may_store = true};
	return run_search(c, &form);
}

int
command_georadius_ro(struct command_context *c)
{
	static const struct search_form form = {.key = 1, .options = 6};
	return run_search(c, &form);
}

int
command_georadiusbymember(struct command_context *c)
{
	static const struct search_form form = {.key = 1, .options = 5, .by_member = true, .may_store = true};
	return run_search(c, &form);
}

int
command_georadiusbymember_ro(struct command_context *c)
{
	static const struct search_form form = {.key = 1, .options = 5, .by_member = true};
	return run_search(c, &form);
}

/* ---- keys ---- */

/* The key, and whatever a STORE or STOREDIST names: where there are several, the last one is written, but rights are asked for
 * all of them. */
static int
find_keys(const struct bytes *argv, size_t argc, size_t options, struct command_key *ret, size_t *ret_count)
{
	static const char *const words[] = {"STORE", "STOREDIST"};
	size_t count = 0;
	ret[count++] = (struct command_key){.position = 1, .flags = KEY_RO | KEY_ACCESS};
	for (size_t word = 0; word < 2; word++)
		for (size_t i = options; i + 1 < argc; i++)
			if (argument_is(argv[i], words[word]))
				ret[count++] =
					(struct command_key){.position = i + 1, .flags = KEY_OW | KEY_UPDATE};
	*ret_count = count;
	return SETT_OK;
}

int
key_rule_of_georadius(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	enum { OPTIONS = 6 };
	return find_keys(argv, argc, OPTIONS, ret, ret_count);
}

int
key_rule_of_georadiusbymember(const struct bytes *argv, size_t argc, struct command_key *ret,
			      size_t *ret_count)
{
	enum { OPTIONS = 5 };
	return find_keys(argv, argc, OPTIONS, ret, ret_count);
}
