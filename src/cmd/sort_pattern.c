#include "cmd/sort_pattern.h"

#include "types/hash.h"

struct sort_pattern
sort_pattern_parse(struct bytes text)
{
	struct sort_pattern p = {.is_element = text.size == 1 && text.data[0] == '#'};
	const uint8_t *end = text.data + text.size;
	const uint8_t *star = text.size > 0 ? memchr(text.data, '*', text.size) : NULL;
	if (star == NULL)
		return p;
	p.has_star = true;
	p.before = bytes_of(text.data, (size_t)(star - text.data));
	p.after = bytes_of(star + 1, (size_t)(end - star - 1));
	const uint8_t *arrow = memmem(p.after.data, p.after.size, "->", 2);
	/* An arrow at the very end belongs to the key. */
	if (arrow == NULL || arrow + 2 == end)
		return p;
	p.has_field = true;
	p.field = bytes_of(arrow + 2, (size_t)(end - arrow - 2));
	p.after.size = (size_t)(arrow - p.after.data);
	return p;
}

static int
make_name(const struct sort_pattern *p, struct bytes element, struct buffer *room)
{
	buffer_clear(room);
	int status = buffer_append(room, p->before.data, p->before.size);
	if (status == SETT_OK)
		status = buffer_append(room, element.data, element.size);
	return status == SETT_OK ? buffer_append(room, p->after.data, p->after.size) : status;
}

static int
read_field(struct key *k, struct bytes name, struct bytes *ret)
{
	static const struct hash_limits no_limits;
	struct hash h;
	struct hash_field field;
	if (k->root.type != VALUE_HASH)
		return SETT_NOT_FOUND;
	int status = hash_open(k, &no_limits, &h);
	if (status == SETT_OK)
		status = hash_find(&h, name, &field);
	return status == SETT_OK ? hash_value(&h, &field, ret) : status;
}

int
sort_pattern_value(struct command_context *c, const struct sort_pattern *p, struct bytes element,
		   struct buffer *room, struct bytes *ret, bool *ret_exists)
{
	struct key k;
	int status;
	*ret_exists = p->is_element;
	*ret = element;
	if (p->is_element || !p->has_star)
		return SETT_OK;
	status = make_name(p, element, room);
	if (status == SETT_OK)
		status = key_open(&c->view, c->db, buffer_bytes(room), &k);
	if (status != SETT_OK)
		return status;
	/* What is told of it outlives the room. */
	if (!k.exists && __builtin_expect((c->view.events & EVENT_KEY_MISS) != 0, 0)) {
		k.name.data = arena_copy(c->arena, k.name.data, k.name.size);
		if (k.name.data == NULL)
			return SETT_NO_MEMORY;
	}
	status = count_read(c, &k);
	if (status != SETT_OK)
		return status;
	note_access(c, &k);
	if (!k.exists)
		return SETT_OK;
	if (p->has_field)
		status = read_field(&k, p->field, ret);
	else
		status = k.root.type == VALUE_STRING ? key_body(&k, ret) : SETT_NOT_FOUND;
	*ret_exists = status == SETT_OK;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
