/* ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD, over sorted sets and sets, whose members count as 1.
 *
 * The result is gathered in memory, as it has to be sorted. */
#include <math.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/zsets.h"
#include "storage/base/hash.h"

enum operation { UNION, INTERSECTION, DIFFERENCE };
enum aggregate { SUM, MINIMUM, MAXIMUM };

/* A key that goes into the result. */
struct source {
	struct key key;
	struct hash hash; /* its members */
	double weight;
};

struct algebra {
	enum operation operation;
	enum aggregate aggregate;
	struct source *sources;
	struct source **order; /* as they are taken */
	size_t count;
	bool with_scores, stores;
	bool counts;   /* ZINTERCARD */
	int64_t limit; /* of it; 0: none */
};

/* ---- arguments ---- */

static int
open_source(struct command_context *c, struct bytes name, struct source *ret)
{
	static const struct hash_limits no_limits = {.packed_size = 0};
	int status = open_key(c, name, &ret->key);
	if (status == SETT_OK)
		status = count_source(c, &ret->key);
	if (status != SETT_OK)
		return status;
	ret->weight = 1;
	if (ret->key.exists && ret->key.root.type != VALUE_ZSET && ret->key.root.type != VALUE_SET)
		return context_wrong_type(c);
	return hash_open_as(&ret->key, ret->key.exists ? ret->key.root.type : VALUE_ZSET, &no_limits,
			    &ret->hash);
}

/* The keys, whose number is argument `at`. */
static int
open_sources(struct command_context *c, struct algebra *a, size_t at)
{
	int64_t count;
	if (!context_integer(c, c->argv[at], &count))
		return OUTCOME_FAILED;
	if (count < 1)
		return context_errorf(c, "ERR at least 1 input key is needed for '%s' command",
				      c->command->full_name);
	if ((uint64_t)count > c->argc - at - 1)
		return context_syntax_error(c);
	a->count = (size_t)count;
	a->sources = arena_allocate(c->arena, a->count * sizeof(*a->sources), _Alignof(struct source));
	a->order = arena_allocate(c->arena, a->count * sizeof(*a->order), _Alignof(struct source *));
	if (a->sources == NULL || a->order == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < a->count; i++) {
		int status = open_source(c, c->argv[at + 1 + i], &a->sources[i]);
		if (status != SETT_OK)
			return status;
		a->order[i] = &a->sources[i];
	}
	return SETT_OK;
}

static bool
parse_aggregate(struct command_context *c, struct bytes word, enum aggregate *ret)
{
	if (argument_is(word, "SUM"))
		*ret = SUM;
	else if (argument_is(word, "MIN"))
		*ret = MINIMUM;
	else if (argument_is(word, "MAX"))
		*ret = MAXIMUM;
	else
		context_syntax_error(c);
	return !c->failed;
}

static bool
parse_options(struct command_context *c, struct algebra *a, size_t i)
{
	while (i < c->argc) {
		size_t left = c->argc - i;
		struct bytes word = c->argv[i];
		bool combines = a->operation != DIFFERENCE && !a->counts;
		if (combines && left > a->count && argument_is(word, "WEIGHTS")) {
			for (size_t k = 0; k < a->count; k++)
				if (!context_score(c, c->argv[i + 1 + k], "ERR weight value is not a float",
						   &a->sources[k].weight))
					return false;
			i += 1 + a->count;
		} else if (combines && left >= 2 && argument_is(word, "AGGREGATE")) {
			if (!parse_aggregate(c, c->argv[i + 1], &a->aggregate))
				return false;
			i += 2;
		} else if (!a->stores && !a->counts && argument_is(word, "WITHSCORES")) {
			a->with_scores = true;
			i++;
		} else if (a->counts && left >= 2 && argument_is(word, "LIMIT")) {
			if (!context_integer_range(c, c->argv[i + 1], 0, INT64_MAX,
						   "ERR LIMIT can't be negative", &a->limit))
				return false;
			i += 2;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	return true;
}

static int
by_size(const void *a, const void *b)
{
	const struct source *one = *(struct source *const *)a, *other = *(struct source *const *)b;
	if (one->hash.count != other->hash.count)
		return one->hash.count < other->hash.count ? -1 : 1;
	return one < other ? -1 : one > other;
}

/* Opens the sources, with their number in argument `at`, in the order in which Redis adds their scores up. */
static int
prepare(struct command_context *c, struct algebra *a, size_t at)
{
	uint64_t walked = 0;
	int status = open_sources(c, a, at);
	if (status != SETT_OK)
		return status;
	if (!parse_options(c, a, at + 1 + a->count))
		return OUTCOME_FAILED;
	if (a->operation != DIFFERENCE)
		qsort(a->order, a->count, sizeof(*a->order), by_size);
	for (size_t i = 0; i < (a->operation == UNION ? a->count : 1); i++)
		walked += a->order[i]->hash.count;
	return walked > ZSET_LONG_WALK ? context_enter_long_lane(c) : SETT_OK;
}

/* ---- results ---- */

/* Elements, and for a union a table of where they are by their names. */
struct result {
	struct zset_element *elements;
	size_t count, capacity;
	size_t *slots; /* place + 1, 0 = free; open addressing, at most half full */
	size_t mask;
};

static void
result_free(struct result *r)
{
	free(r->elements);
	free(r->slots);
}

static size_t *
find_slot(const struct result *r, struct bytes name)
{
	size_t i = (size_t)hash64_bytes(name, 0) & r->mask;
	while (r->slots[i] != 0 && !bytes_equal(r->elements[r->slots[i] - 1].name, name))
		i = (i + 1) & r->mask;
	return &r->slots[i];
}

static int
result_grow(struct result *r, bool with_table)
{
	size_t capacity = r->capacity == 0 ? 64 : 2 * r->capacity;
	struct zset_element *elements = realloc(r->elements, capacity * sizeof(*elements));
	if (elements == NULL)
		return SETT_NO_MEMORY;
	r->elements = elements;
	r->capacity = capacity;
	if (!with_table)
		return SETT_OK;
	free(r->slots);
	r->slots = calloc(2 * capacity, sizeof(*r->slots));
	if (r->slots == NULL)
		return SETT_NO_MEMORY;
	r->mask = 2 * capacity - 1;
	for (size_t i = 0; i < r->count; i++)
		*find_slot(r, r->elements[i].name) = i + 1;
	return SETT_OK;
}

/* Copies the name. */
static int
result_add(struct command_context *c, struct result *r, struct bytes name, double score, bool with_table)
{
	int status = r->count == r->capacity ? result_grow(r, with_table) : SETT_OK;
	const void *copy = status == SETT_OK ? arena_copy(c->arena, name.data, name.size) : NULL;
	if (copy == NULL)
		return SETT_NO_MEMORY;
	r->elements[r->count++] = (struct zset_element){bytes_of(copy, name.size), score};
	if (with_table)
		*find_slot(r, name) = r->count;
	return SETT_OK;
}

static int
weighted_score(struct source *s, const struct hash_field *field, double *ret)
{
	double score = 1;
	int status = s->hash.type == VALUE_SET ? SETT_OK : zset_score(&s->hash, field, &score);
	score *= s->weight;
	/* As in Redis, infinity times 0 is 0, and so is the sum of both infinities. */
	*ret = isnan(score) ? 0 : score;
	return status;
}

static double
combine(enum aggregate aggregate, double a, double b)
{
	if (aggregate == MINIMUM)
		return b < a ? b : a;
	if (aggregate == MAXIMUM)
		return b > a ? b : a;
	return isnan(a + b) ? 0 : a + b;
}

static int
add_to_union(struct command_context *c, const struct algebra *a, struct source *s,
	     const struct hash_field *field, struct result *r)
{
	double score;
	int status = weighted_score(s, field, &score);
	size_t place = status == SETT_OK && r->count > 0 ? *find_slot(r, field->name) : 0;
	if (status == SETT_OK && place == 0)
		return result_add(c, r, field->name, score, true);
	if (status == SETT_OK)
		r->elements[place - 1].score = combine(a->aggregate, r->elements[place - 1].score, score);
	return status;
}

/* The score that a source gives a name. SETT_NOT_FOUND. */
static int
find_score(struct source *s, struct bytes name, double *ret)
{
	struct hash_field field;
	struct sett_read_mark reads = hash_read_mark(&s->hash);
	int status = hash_find(&s->hash, name, &field);
	if (status == SETT_OK)
		status = weighted_score(s, &field, ret);
	hash_forget_reads(&s->hash, &reads);
	return status;
}

/* An element of the first source, looked up in the others. */
static int
keep_or_not(struct command_context *c, const struct algebra *a, struct source *s,
	    const struct hash_field *field, struct result *r)
{
	double score;
	int status = weighted_score(s, field, &score);
	for (size_t i = 1; i < a->count && status == SETT_OK; i++) {
		double more;
		status = find_score(a->order[i], field->name, &more);
		if (status == SETT_OK && a->operation == DIFFERENCE)
			return SETT_OK;
		if (status == SETT_NOT_FOUND && a->operation == INTERSECTION)
			return SETT_OK;
		if (status == SETT_NOT_FOUND) {
			status = SETT_OK;
			continue;
		}
		if (status == SETT_OK)
			score = combine(a->aggregate, score, more);
	}
	return status == SETT_OK ? result_add(c, r, field->name, score, false) : status;
}

/* Takes the members of a source in. */
static int
take_source(struct command_context *c, const struct algebra *a, struct source *s, struct result *r)
{
	struct hash_walk walk;
	struct hash_field field;
	int status = hash_walk(&s->hash, &walk);
	while (status == SETT_OK) {
		if (!a->stores && context_is_given_up(c)) {
			status = context_give_up(c);
			break;
		}
		if (a->limit > 0 && r->count == (uint64_t)a->limit)
			break;
		status = hash_walk_next(&walk, &field);
		if (status == SETT_OK)
			status = a->operation == UNION ? add_to_union(c, a, s, &field, r)
						       : keep_or_not(c, a, s, &field, r);
	}
	hash_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
by_score(const void *a, const void *b)
{
	const struct zset_element *one = a, *other = b;
	if (one->score != other->score)
		return one->score < other->score ? -1 : 1;
	return bytes_compare(one->name, other->name);
}

/* All elements in order. */
static int
make_result(struct command_context *c, const struct algebra *a, struct result *r)
{
	int status = SETT_OK;
	for (size_t i = 0; i < (a->operation == UNION ? a->count : 1) && status == SETT_OK; i++)
		status = a->order[i]->key.exists ? take_source(c, a, a->order[i], r) : SETT_OK;
	if (status == SETT_OK && r->count > 1 && !a->counts)
		qsort(r->elements, r->count, sizeof(*r->elements), by_score);
	return status;
}

/* ---- replies ---- */

static int
reply_result(struct command_context *c, enum operation operation)
{
	struct algebra a = {.operation = operation};
	struct result r = {0};
	int status = prepare(c, &a, 1);
	if (status == SETT_OK)
		status = make_result(c, &a, &r);
	if (status == SETT_OK) {
		reply_elements_header(c, r.count, a.with_scores);
		for (size_t i = 0; i < r.count; i++)
			reply_element(c, &r.elements[i], a.with_scores);
	}
	result_free(&r);
	return status;
}

int
command_zunion(struct command_context *c)
{
	return reply_result(c, UNION);
}

int
command_zinter(struct command_context *c)
{
	return reply_result(c, INTERSECTION);
}

int
command_zdiff(struct command_context *c)
{
	return reply_result(c, DIFFERENCE);
}

int
command_zintercard(struct command_context *c)
{
	struct algebra a = {.operation = INTERSECTION, .counts = true};
	struct result r = {0};
	int status = prepare(c, &a, 1);
	if (status == SETT_OK)
		status = make_result(c, &a, &r);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)r.count);
	result_free(&r);
	return status;
}

static int
store_elements(struct command_context *c, enum operation operation, const struct result *r)
{
	static const char *const events[] = {
		[UNION] = "zunionstore", [INTERSECTION] = "zinterstore", [DIFFERENCE] = "zdiffstore"};
	struct open_zset to;
	int status = open_new_zset(c, c->argv[1], &to);
	bool existed = status == SETT_OK && to.members.key.exists;
	for (size_t i = 0; i < r->count && status == SETT_OK; i++)
		status = zset_put(&to.zset, r->elements[i].name, r->elements[i].score, NULL);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, (int64_t)r->count);
	return tell_stored(zset_save(&to.zset), &to.members.key, existed, VALUE_ZSET, events[operation]);
}

static int
store_result(struct command_context *c, enum operation operation)
{
	struct algebra a = {.operation = operation, .stores = true};
	struct result r = {0};
	int status = prepare(c, &a, 2);
	if (status == SETT_OK)
		status = make_result(c, &a, &r);
	if (status == SETT_OK)
		status = store_elements(c, operation, &r);
	result_free(&r);
	return status;
}

int
command_zunionstore(struct command_context *c)
{
	return store_result(c, UNION);
}

int
command_zinterstore(struct command_context *c)
{
	return store_result(c, INTERSECTION);
}

int
command_zdiffstore(struct command_context *c)
{
	return store_result(c, DIFFERENCE);
}
