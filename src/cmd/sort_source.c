#include "cmd/sort_source.h"

enum { LONG_COUNT = 1000 /* to sort more takes long */ };

static int
open_type(struct sort_source *s)
{
	static const struct set_limits no_set_limits;
	static const struct hash_limits no_hash_limits;
	int status;
	switch (s->key.root.type) {
	case VALUE_LIST:
		status = list_open(&s->key, 0, &s->list);
		s->count = status == SETT_OK ? s->list.count : 0;
		return status;
	case VALUE_SET:
		status = set_open(&s->key, &no_set_limits, &s->members);
		s->count = status == SETT_OK ? s->members.count : 0;
		return status;
	default:
		status = zset_open(&s->key, &no_hash_limits, &s->members, &s->zset);
		s->count = status == SETT_OK ? s->members.count : 0;
		return status;
	}
}

int
sort_source_open(struct command_context *c, struct bytes name, struct sort_source *ret)
{
	int status = open_key(c, name, &ret->key);
	if (status == SETT_OK)
		status = count_source(c, &ret->key);
	ret->count = 0;
	if (status != SETT_OK || !ret->key.exists)
		return status;
	enum value_type type = ret->key.root.type;
	if (type != VALUE_LIST && type != VALUE_SET && type != VALUE_ZSET)
		return context_wrong_type(c);
	status = open_type(ret);
	if (status == SETT_OK)
		status = enter_lane_for_elements(c, &ret->key.root);
	return status == SETT_OK && ret->count > LONG_COUNT ? context_enter_long_lane(c) : status;
}

int
sort_source_begin(struct sort_source *s, uint64_t start, bool backward)
{
	assert(s->key.exists && start <= s->count);
	switch (s->key.root.type) {
	case VALUE_LIST:
		list_walk(&s->list, backward ? s->count - start : start, backward, &s->list_walk);
		return SETT_OK;
	case VALUE_SET:
		assert(start == 0);
		return hash_walk(&s->members, &s->set_walk);
	default:
		zset_walk(&s->zset, backward ? s->count - 1 - start : start, backward, &s->zset_walk);
		return SETT_OK;
	}
}

static int
next_of_list(struct sort_source *s, struct bytes *ret)
{
	struct list_element element;
	int status = list_walk_next(&s->list_walk, &element);
	return status == SETT_OK ? list_value(&s->list, &element, ret) : status;
}

int
sort_source_next(struct sort_source *s, struct bytes *ret)
{
	struct hash_field member;
	struct zset_element element;
	int status;
	switch (s->key.root.type) {
	case VALUE_LIST:
		return next_of_list(s, ret);
	case VALUE_SET:
		status = hash_walk_next(&s->set_walk, &member);
		if (status == SETT_OK)
			*ret = member.name;
		return status;
	default:
		status = zset_walk_next(&s->zset_walk, &element);
		if (status == SETT_OK)
			*ret = element.name;
		return status;
	}
}

void
sort_source_end(struct sort_source *s)
{
	if (s->key.root.type == VALUE_SET)
		hash_walk_close(&s->set_walk);
	else if (s->key.root.type == VALUE_ZSET)
		zset_walk_close(&s->zset_walk);
}
