/* SORT and SORT_RO. Elements are copied with what they are sorted by; with LIMIT no more than twice as many as are wanted.
 * What GET names is read when the order is known. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/lists.h"
#include "cmd/sort_items.h"
#include "cmd/sort_pattern.h"
#include "cmd/sort_source.h"
#include "config/config.h"
#include "txn/rights.h"

struct sort {
	struct command_context *c;
	struct sort_order order;
	struct sort_pattern by;
	int64_t offset, limit; /* a negative limit: none */
	struct sort_pattern *patterns;
	size_t pattern_count;
	bool stores;
	struct bytes target;
	struct sort_source source;
	struct sort_items items;
	struct buffer room;
};

/* ---- options ---- */

static bool
parse_limit(struct sort *s, size_t i)
{
	return context_integer(s->c, s->c->argv[i + 1], &s->offset) &&
		context_integer(s->c, s->c->argv[i + 2], &s->limit);
}

static void
parse_by(struct sort *s, struct bytes pattern)
{
	s->by = sort_pattern_parse(pattern);
	s->order.by = true;
	/* A pattern that is the same for all elements means that nothing is sorted. */
	if (!s->by.has_star)
		s->order.unsorted = true;
}

/* What patterns name can be any key. */
static bool
may_read_all(struct sort *s, const char *option)
{
	const struct command_context *c = s->c;
	const struct acl_user *user = rights_user(c);
	if (user == NULL || user->may_do_all || acl_check_with_all_keys(user, c->command, c->argv, c->argc))
		return true;
	context_errorf(s->c, "ERR %s option of SORT denied due to insufficient ACL permissions.", option);
	return false;
}

static bool
may_leave_slot(struct sort *s, const char *option)
{
	if (!s->c->server->config->cluster_enabled)
		return true;
	context_errorf(s->c, "ERR %s option of SORT denied in Cluster mode.", option);
	return false;
}

/* The option at `i`; how many arguments it takes, 0 if it is none. */
static size_t
parse_option(struct sort *s, size_t i, bool may_store)
{
	const struct bytes *argv = s->c->argv;
	size_t left = s->c->argc - i - 1;
	if (argument_is(argv[i], "ASC") || argument_is(argv[i], "DESC")) {
		s->order.descending = argument_is(argv[i], "DESC");
		return 1;
	}
	if (argument_is(argv[i], "ALPHA")) {
		s->order.alpha = true;
		return 1;
	}
	if (argument_is(argv[i], "LIMIT") && left >= 2)
		return parse_limit(s, i) ? 3 : 0;
	if (argument_is(argv[i], "STORE") && left >= 1 && may_store) {
		s->stores = true;
		s->target = argv[i + 1];
		return 2;
	}
	if (argument_is(argv[i], "BY") && left >= 1) {
		parse_by(s, argv[i + 1]);
		if (s->by.has_star && !may_leave_slot(s, "BY"))
			return 0;
		return !s->by.has_star || may_read_all(s, "BY") ? 2 : 0;
	}
	if (argument_is(argv[i], "GET") && left >= 1) {
		if (!may_leave_slot(s, "GET") || !may_read_all(s, "GET"))
			return 0;
		s->patterns[s->pattern_count++] = sort_pattern_parse(argv[i + 1]);
		return 2;
	}
	return 0;
}

static bool
parse_options(struct sort *s, bool may_store)
{
	for (size_t i = 2, taken; i < s->c->argc; i += taken) {
		taken = parse_option(s, i, may_store);
		if (taken == 0) {
			if (!s->c->failed)
				context_syntax_error(s->c);
			return false;
		}
	}
	return true;
}

/* ---- elements and their order ---- */

/* As Redis reads a number here: what strtod takes to the end, spaces before it too; nothing is 0. */
static bool
parse_weight(struct bytes text, double *ret)
{
	enum { TEXT_MAX = 1024 };
	char copy[TEXT_MAX + 1], *end;
	if (text.size > TEXT_MAX)
		return false;
	if (text.size > 0)
		memcpy(copy, text.data, text.size);
	copy[text.size] = 0;
	errno = 0;
	*ret = strtod(copy, &end);
	return *end == 0 && errno != ERANGE && !isnan(*ret);
}

static int
weigh(struct sort *s, struct bytes element, struct sort_weight *ret)
{
	struct bytes value = element;
	bool exists = true;
	*ret = (struct sort_weight){0};
	if (s->order.unsorted)
		return SETT_OK;
	int status =
		s->order.by ? sort_pattern_value(s->c, &s->by, element, &s->room, &value, &exists) : SETT_OK;
	if (status != SETT_OK || !exists)
		return status;
	if (s->order.alpha) {
		ret->has_text = s->order.by;
		ret->text = value;
		return SETT_OK;
	}
	if (!parse_weight(value, &ret->number))
		return context_error(s->c, "ERR One or more scores can't be converted into double");
	return SETT_OK;
}

static int
collect(struct sort *s, uint64_t most)
{
	struct sort_weight weight;
	struct bytes element;
	int status = SETT_OK;
	while ((!s->order.unsorted || s->items.count < most) &&
	       (status = sort_source_next(&s->source, &element)) == SETT_OK) {
		if (!s->stores && context_is_given_up(s->c))
			return context_give_up(s->c);
		status = weigh(s, element, &weight);
		if (status == SETT_OK)
			status = sort_items_add(&s->items, element, &weight);
		if (status != SETT_OK)
			return status;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* The elements wanted, in order, are the items from `ret_first` on. */
static int
sort_elements(struct sort *s, size_t *ret_first)
{
	uint64_t count = s->source.count, offset = s->offset > 0 ? (uint64_t)s->offset : 0, first = 0, most;
	offset = offset < count ? offset : count;
	most = s->limit >= 0 && (uint64_t)s->limit < count - offset ? (uint64_t)s->limit : count - offset;
	/* Where nothing is sorted, those before the offset need not be read; but those of a set must. */
	bool is_set = count > 0 && s->source.key.root.type == VALUE_SET;
	if (!s->order.unsorted || is_set)
		first = offset;
	sort_items_init(&s->items, &s->order, first + most);
	*ret_first = (size_t)first;
	if (most == 0 && s->order.unsorted)
		return SETT_OK;
	if (count == 0)
		return SETT_OK;
	int status = sort_source_begin(&s->source, s->order.unsorted ? offset - first : 0,
				       s->order.unsorted && s->order.descending);
	if (status != SETT_OK)
		return status;
	status = collect(s, first + most);
	sort_source_end(&s->source);
	if (status == SETT_OK)
		sort_items_finish(&s->items);
	return status;
}

/* ---- results ---- */

/* Hands out the values of one element: itself, or one for each GET. `give` patterns NULL for what is not there. */
static int
give_values(struct sort *s, struct bytes element,
	    int (*give)(struct sort *, struct list *, const struct bytes *), struct list *list)
{
	int status = SETT_OK;
	if (s->pattern_count == 0)
		return give(s, list, &element);
	for (size_t i = 0; i < s->pattern_count && status == SETT_OK; i++) {
		struct bytes value;
		bool exists;
		status = sort_pattern_value(s->c, &s->patterns[i], element, &s->room, &value, &exists);
		if (status == SETT_OK)
			status = give(s, list, exists ? &value : NULL);
	}
	return status;
}

static int
reply_value(struct sort *s, struct list *list, const struct bytes *value)
{
	if (value != NULL)
		reply_bytes(s->c, *value);
	else
		resp_null(s->c->reply);
	return SETT_OK;
}

static int
push_value(struct sort *s, struct list *list, const struct bytes *value)
{
	return list_push(list, LIST_BACK, value != NULL ? *value : (struct bytes){0});
}

static uint64_t
count_values(const struct sort *s, size_t first)
{
	size_t elements = s->items.count > first ? s->items.count - first : 0;
	return (uint64_t)elements * (s->pattern_count > 0 ? s->pattern_count : 1);
}

static int
reply_values(struct sort *s, size_t first)
{
	int status = SETT_OK;
	resp_array(s->c->reply, count_values(s, first));
	for (size_t i = first; i < s->items.count && status == SETT_OK && !s->c->reply->failed; i++)
		status = context_is_given_up(s->c)
			? context_give_up(s->c)
			: give_values(s, sort_items_element(&s->items, i), reply_value, NULL);
	return status;
}

static int
store_values(struct sort *s, size_t first)
{
	struct open_list target;
	uint64_t count = count_values(s, first);
	context_allow_builds(s->c);
	int status = key_open(&s->c->view, s->c->db, s->target, &target.key);
	if (status != SETT_OK)
		return status;
	resp_integer(s->c->reply, (int64_t)count);
	const struct key before = target.key;
	if (before.exists)
		status = key_delete(&target.key);
	if (status == SETT_OK && count > 0)
		status = open_list(s->c, s->target, &target);
	if (status != SETT_OK || count == 0)
		return before.exists ? tell_deleted(status, &before) : status;
	for (size_t i = first; i < s->items.count && status == SETT_OK; i++)
		status = give_values(s, sort_items_element(&s->items, i), push_value, &target.list);
	if (status == SETT_OK)
		status = list_save(&target.list);
	status = tell_overwritten(status, &before, before.exists, VALUE_LIST);
	return tell(status, &target.key, EVENT_LIST, "sortstore");
}

static int
sort_and_answer(struct sort *s)
{
	size_t first;
	int status = sort_source_open(s->c, s->c->argv[1], &s->source);
	if (status != SETT_OK)
		return status;
	/* What is stored of a set, or seen by a script, has an order, whoever asked for none. */
	if (s->order.unsorted && (s->stores || s->c->in_script) && s->source.count > 0 &&
	    s->source.key.root.type == VALUE_SET)
		s->order = (struct sort_order){.alpha = true, .descending = s->order.descending};
	status = sort_elements(s, &first);
	if (status != SETT_OK)
		return status;
	return s->stores ? store_values(s, first) : reply_values(s, first);
}

static int
sort(struct command_context *c, bool may_store)
{
	struct sort s = {.c = c, .limit = -1};
	s.patterns = arena_allocate(c->arena, c->argc * sizeof(*s.patterns), _Alignof(struct sort_pattern));
	if (s.patterns == NULL)
		return SETT_NO_MEMORY;
	if (!parse_options(&s, may_store))
		return OUTCOME_FAILED;
	int status = sort_and_answer(&s);
	sort_items_free(&s.items);
	buffer_free(&s.room);
	return status;
}

int
command_sort(struct command_context *c)
{
	return sort(c, true);
}

int
command_sort_ro(struct command_context *c)
{
	return sort(c, false);
}

/* The key, and what the last STORE names; those that patterns make nobody knows beforehand. */
int
key_rule_of_sort(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	size_t count = 0;
	ret[count++] = (struct command_key){.position = 1, .flags = KEY_RO | KEY_ACCESS};
	for (size_t i = 2; i < argc; i++) {
		if (argument_is(argv[i], "LIMIT")) {
			i += 2;
		} else if (argument_is(argv[i], "GET") || argument_is(argv[i], "BY")) {
			i++;
		} else if (argument_is(argv[i], "STORE") && i + 1 < argc) {
			ret[1] = (struct command_key){.position = ++i, .flags = KEY_OW | KEY_UPDATE};
			count = 2;
		}
	}
	*ret_count = count;
	return SETT_OK;
}

int
key_rule_of_sort_ro(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	ret[0] = (struct command_key){.position = 1, .flags = KEY_RO | KEY_ACCESS};
	*ret_count = 1;
	return SETT_OK;
}
