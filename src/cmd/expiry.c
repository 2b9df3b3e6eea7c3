/* Deadlines of keys: setting, removing, asking. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "txn/propagation.h"

struct expire_options {
	bool if_none, if_some, if_later, if_earlier;
};

static bool
parse_expire_options(struct command_context *c, struct expire_options *ret)
{
	struct expire_options o = {0};
	for (size_t i = 3; i < c->argc; i++) {
		if (argument_is(c->argv[i], "NX")) {
			o.if_none = true;
		} else if (argument_is(c->argv[i], "XX")) {
			o.if_some = true;
		} else if (argument_is(c->argv[i], "GT")) {
			o.if_later = true;
		} else if (argument_is(c->argv[i], "LT")) {
			o.if_earlier = true;
		} else {
			context_errorf(c, "ERR Unsupported option %.*s",
				       (int)(c->argv[i].size < 128 ? c->argv[i].size : 128),
				       (const char *)c->argv[i].data);
			return false;
		}
	}
	if (o.if_none && (o.if_some || o.if_later || o.if_earlier)) {
		context_error(c, "ERR NX and XX, GT or LT options at the same time are not compatible");
		return false;
	}
	if (o.if_later && o.if_earlier) {
		context_error(c, "ERR GT and LT options at the same time are not compatible");
		return false;
	}
	*ret = o;
	return true;
}

/* The deadline in milliseconds since 1970; it may lie in the past, even before 1970. */
static bool
parse_when(struct command_context *c, enum deadline_form form, int64_t *ret)
{
	int64_t when, base = form == DEADLINE_EX || form == DEADLINE_PX ? (int64_t)c->view.now_ms : 0;
	if (!context_integer(c, c->argv[2], &when))
		return false;
	bool seconds = form == DEADLINE_EX || form == DEADLINE_EXAT;
	if ((seconds && __builtin_mul_overflow(when, 1000, &when)) || when > INT64_MAX - base) {
		context_errorf(c, "ERR invalid expire time in '%s' command", c->command->full_name);
		return false;
	}
	*ret = when + base;
	return true;
}

static bool
options_allow(const struct expire_options *o, uint64_t deadline, int64_t when)
{
	bool has = deadline != 0;
	int64_t current = (int64_t)deadline;
	if ((o->if_none && has) || (o->if_some && !has))
		return false;
	/* No deadline counts as an infinitely late one. */
	if (o->if_later && (!has || when <= current))
		return false;
	return !(o->if_earlier && has && when >= current);
}

static int
expire(struct command_context *c, enum deadline_form form)
{
	struct expire_options options;
	struct key k;
	int64_t when;
	if (!parse_expire_options(c, &options) || !parse_when(c, form, &when))
		return OUTCOME_FAILED;
	int status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists || !options_allow(&options, k.root.expires_at, when)) {
		resp_integer(c->reply, 0);
		return SETT_OK;
	}
	resp_integer(c->reply, 1);
	if (when <= (int64_t)c->view.now_ms && !c->client->loads) {
		status = tell_deleted(key_delete(&k), &k);
		return status == SETT_OK ? propagate(c, "DEL", k.name) : status;
	}
	status = tell(key_set_expiry(&k, (uint64_t)when), &k, EVENT_GENERIC, "expire");
	return status == SETT_OK ? propagate(c, "PEXPIREAT", k.name, propagated_integer(c, when)) : status;
}

int
command_expire(struct command_context *c)
{
	return expire(c, DEADLINE_EX);
}

int
command_pexpire(struct command_context *c)
{
	return expire(c, DEADLINE_PX);
}

int
command_expireat(struct command_context *c)
{
	return expire(c, DEADLINE_EXAT);
}

int
command_pexpireat(struct command_context *c)
{
	return expire(c, DEADLINE_PXAT);
}

/* Replies the deadline, or what is left until it; -1 without one, -2 without the key. */
static int
reply_deadline(struct command_context *c, bool absolute, bool seconds)
{
	struct key k;
	int status = peek_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists || k.root.expires_at == 0) {
		resp_integer(c->reply, k.exists ? -1 : -2);
		return SETT_OK;
	}
	uint64_t value = absolute ? k.root.expires_at : k.root.expires_at - c->view.now_ms;
	resp_integer(c->reply, (int64_t)(seconds ? (value + 500) / 1000 : value));
	return SETT_OK;
}

int
command_ttl(struct command_context *c)
{
	return reply_deadline(c, false, true);
}

int
command_pttl(struct command_context *c)
{
	return reply_deadline(c, false, false);
}

int
command_expiretime(struct command_context *c)
{
	return reply_deadline(c, true, true);
}

int
command_pexpiretime(struct command_context *c)
{
	return reply_deadline(c, true, false);
}

int
command_persist(struct command_context *c)
{
	struct key k;
	int status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	bool change = k.exists && k.root.expires_at != 0;
	resp_integer(c->reply, change);
	return change ? tell(key_set_expiry(&k, 0), &k, EVENT_GENERIC, "persist") : SETT_OK;
}
