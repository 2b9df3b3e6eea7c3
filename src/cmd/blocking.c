/* See blocking.h. */
#include "cmd/blocking.h"

#include <math.h>

#include "storage/base/clock.h"

bool
context_timeout(struct command_context *c, struct bytes argument, uint64_t *ret_until_ns)
{
	enum { NS_PER_MS = 1000000 };
	long double seconds;
	uint64_t now_ns = clock_monotonic_ns(c->server->clock);
	if (!parse_long_double(argument, &seconds)) {
		context_error(c, "ERR timeout is not a float or out of range");
		return false;
	}
	long double ms = ceill(seconds * 1000);
	if (ms < 0 || ms > (long double)INT64_MAX) {
		context_error(c, "ERR timeout is negative"); /* Redis says so of both */
		return false;
	}
	/* Centuries from now is for ever. */
	uint64_t most_ms = (UINT64_MAX / 2 - now_ns) / NS_PER_MS;
	*ret_until_ns = ms == 0 || ms > (long double)most_ms ? 0 : now_ns + (uint64_t)ms * NS_PER_MS;
	return true;
}

int
next_wait_key(struct command_context *c, struct wait_keys *k, struct bytes *ret)
{
	struct key key;
	while (k->next < k->count) {
		struct bytes name = k->keys[k->next++];
		if (c->served != NULL && !bytes_equal(c->served_key, name))
			continue;
		int status = key_open(&c->view, c->db, name, &key);
		if (status != SETT_OK)
			return status;
		*ret = name;
		if (key.exists && key.root.type == k->type) {
			if (!k->waits || context_may_take(c, name, k->type))
				return SETT_OK;
			continue;
		}
		/* Who has waited is not told that the key holds something else: it goes on waiting. */
		if (key.exists && c->served == NULL)
			return context_wrong_type(c);
	}
	return SETT_NOT_FOUND;
}

int
wait_for_keys(struct command_context *c, const struct wait_keys *k)
{
	if (k->waits)
		return context_wait(c, k->keys, k->count, k->type, k->until_ns, k->null_is_array);
	if (k->null_is_array)
		resp_null_array(c->reply);
	else
		resp_null(c->reply);
	return SETT_OK;
}
