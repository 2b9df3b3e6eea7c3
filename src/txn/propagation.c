/* See propagation.h. */
#include "txn/propagation.h"

#include <inttypes.h>
#include <stdio.h>

/* The bodies that stand for arguments of the command which are among the new one's. */
static int
find_bodies(struct command_context *c, size_t argc, const struct bytes *argv,
	    const struct argument_body **ret)
{
	struct argument_body *found = NULL;
	for (const struct argument_body *b = c->bodies; b != NULL; b = b->next)
		for (size_t i = 0; i < argc; i++) {
			if (argv[i].data != c->argv[b->index].data)
				continue;
			struct argument_body *copy =
				arena_allocate(c->arena, sizeof(*copy), _Alignof(struct argument_body));
			if (copy == NULL)
				return SETT_NO_MEMORY;
			*copy = *b;
			copy->index = i;
			copy->next = found;
			found = copy;
		}
	*ret = found;
	return SETT_OK;
}

int
propagate_as(struct command_context *c, const char *name, const struct bytes *arguments, size_t count)
{
	const struct argument_body *bodies = NULL;
	c->has_propagated = true;
	if (!is_propagated(c))
		return SETT_OK;
	struct bytes *argv = arena_allocate(c->arena, (count + 1) * sizeof(*argv), _Alignof(struct bytes));
	if (argv == NULL)
		return SETT_NO_MEMORY;
	argv[0] = bytes_of_string(name);
	for (size_t i = 0; i < count; i++) {
		if (arguments[i].data == NULL && arguments[i].size > 0)
			return SETT_NO_MEMORY; /* propagated_integer */
		argv[i + 1] = arguments[i];
	}
	int status = c->bodies != NULL ? find_bodies(c, count + 1, argv, &bodies) : SETT_OK;
	return status == SETT_OK ? keyspace_add_command(&c->view, c->db, count + 1, argv, bodies) : status;
}

int
propagate_as_given(struct command_context *c)
{
	c->has_propagated = true;
	if (!is_propagated(c))
		return SETT_OK;
	return keyspace_add_command(&c->view, c->db, c->argc, c->argv, c->bodies);
}

int
propagated_add(struct command_context *c, struct propagated *p, struct bytes argument)
{
	if (!is_propagated(c))
		return SETT_OK;
	if (p->count == p->capacity) {
		size_t capacity = p->capacity > 0 ? 2 * p->capacity : 8;
		struct bytes *more =
			arena_allocate(c->arena, capacity * sizeof(*more), _Alignof(struct bytes));
		if (more == NULL)
			return SETT_NO_MEMORY;
		if (p->count > 0)
			memcpy(more, p->arguments, p->count * sizeof(*more));
		p->arguments = more;
		p->capacity = capacity;
	}
	void *copy = arena_allocate(c->arena, argument.size + 1, 1);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	if (argument.size > 0)
		memcpy(copy, argument.data, argument.size);
	p->arguments[p->count++] = bytes_of(copy, argument.size);
	return SETT_OK;
}

static struct bytes
copy_digits(struct command_context *c, const char *digits, size_t size)
{
	return bytes_of(arena_copy(c->arena, digits, size), size);
}

struct bytes
propagated_integer(struct command_context *c, int64_t number)
{
	char digits[RESP_INTEGER_MAX_SIZE];
	return copy_digits(c, digits, resp_format_integer(number, digits));
}

struct bytes
propagated_unsigned(struct command_context *c, uint64_t number)
{
	char digits[RESP_INTEGER_MAX_SIZE];
	int size = snprintf(digits, sizeof(digits), "%" PRIu64, number);
	return copy_digits(c, digits, (size_t)size);
}

int
propagation_begin(struct command_context *c)
{
	c->has_propagated = false;
	return c->bodies != NULL && !c->may_wait ? SETT_WOULD_BLOCK : SETT_OK;
}

int
propagation_end(struct command_context *c, const struct touched_key *last)
{
	return c->has_propagated || c->view.last_touched == last ? SETT_OK : propagate_as_given(c);
}
