/* See client_filter.h. */
#include "cmd/client_filter.h"

#include <string.h>

#include "config/config.h"
#include "txn/rights.h"

/* ---- the options, one function each ----
 * `value` is the argument behind the option. False: the error reply was given. */

enum {
	GIVEN_ID = 1 << 0,
	GIVEN_TYPE = 1 << 1,
	GIVEN_ADDRESS = 1 << 2,
	GIVEN_LOCAL_ADDRESS = 1 << 3,
	GIVEN_IP = 1 << 4,
	GIVEN_NAME = 1 << 5,
	GIVEN_FLAGS = 1 << 6,
	GIVEN_USER = 1 << 7,
	GIVEN_DB = 1 << 8,
};

static int
shown_size(struct bytes text)
{
	return text.size < 128 ? (int)text.size : 128;
}

static bool
parse_type(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	static const struct {
		const char *word;
		enum client_type type;
	} types[] = {{"normal", CLIENT_NORMAL},
		     {"slave", CLIENT_REPLICA},
		     {"replica", CLIENT_REPLICA},
		     {"pubsub", CLIENT_PUBSUB},
		     {"master", CLIENT_MASTER}};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (argument_is(value, types[i].word)) {
			wanted->type = types[i].type;
			return true;
		}
	context_errorf(c, "ERR Unknown client type '%.*s'", shown_size(value), (const char *)value.data);
	return false;
}

static bool
parse_address(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	(void)c;
	wanted->address = value;
	return true;
}

static bool
parse_local_address(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	(void)c;
	wanted->local_address = value;
	return true;
}

static bool
parse_ip(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	(void)c;
	wanted->ip = value;
	return true;
}

static bool
parse_name(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	(void)c;
	wanted->name = value;
	return true;
}

static bool
parse_flags(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	static const char known[] = "AbBcdeMNOPrRStTuUx";
	for (size_t i = 0; i < value.size; i++)
		if (value.data[i] == 0 || strchr(known, value.data[i]) == NULL) {
			context_errorf(c, "ERR Unknown flags found in the provided filter: %.*s",
				       shown_size(value), (const char *)value.data);
			return false;
		}
	wanted->flags = value;
	return true;
}

static bool
parse_user(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	wanted->user = value;
	const struct acl_set *set = rights_users(c);
	if (set != NULL && acl_set_find(set, value) != NULL)
		return true;
	context_errorf(c, "ERR No such user '%.*s'", shown_size(value), (const char *)value.data);
	return false;
}

static bool
parse_db(struct command_context *c, struct bytes value, struct client_wanted *wanted)
{
	int64_t db, end = (int64_t)keyspace_databases(c->server->keyspace);
	if (!context_integer_range(c, value, 0, end - 1, "ERR DB index is out of range", &db))
		return false;
	wanted->db = (unsigned)db;
	return true;
}

static const struct option {
	const char *word;
	unsigned bit;
	bool (*parse)(struct command_context *, struct bytes value, struct client_wanted *);
} options[] = {
	{"TYPE", GIVEN_TYPE, parse_type},
	{"ADDR", GIVEN_ADDRESS, parse_address},
	{"LADDR", GIVEN_LOCAL_ADDRESS, parse_local_address},
	{"IP", GIVEN_IP, parse_ip},
	{"NAME", GIVEN_NAME, parse_name},
	{"FLAGS", GIVEN_FLAGS, parse_flags},
	{"USER", GIVEN_USER, parse_user},
	{"DB", GIVEN_DB, parse_db},
};

/* ---- all of them ---- */

/* One or more from argv[first] on; the first argument that is no number ends them. Those of an option that is given again are
 * added. */
static int
parse_ids(struct command_context *c, size_t first, const char *bad_id, struct client_wanted *wanted,
	  size_t *ret_end)
{
	size_t capacity = wanted->id_count + c->argc - first;
	uint64_t *ids = arena_allocate(c->arena, capacity * sizeof *ids, sizeof *ids);
	if (ids == NULL)
		return SETT_NO_MEMORY;
	if (wanted->id_count > 0)
		memcpy(ids, wanted->ids, wanted->id_count * sizeof *ids);
	size_t end = first;
	int64_t id;
	for (; end < c->argc && (end == first || parse_integer(c->argv[end], &id)); end++) {
		if (!context_integer_range(c, c->argv[end], 1, INT64_MAX, bad_id, &id))
			return OUTCOME_FAILED;
		ids[wanted->id_count++] = (uint64_t)id;
	}
	wanted->ids = ids;
	wanted->given |= GIVEN_ID;
	*ret_end = end;
	return SETT_OK;
}

/* Seconds, which are more than 0. */
static bool
parse_seconds(struct command_context *c, struct bytes value, const char *not_integer, const char *too_small,
	      int64_t *ret)
{
	if (!context_integer_or(c, value, not_integer, ret))
		return false;
	if (*ret > 0)
		return true;
	context_error(c, too_small);
	return false;
}

/* An option without NOT-. False: the error reply was given. */
static bool
parse_own(struct command_context *c, struct bytes word, struct bytes value, struct client_filter *filter)
{
	if (argument_is(word, "MAXAGE"))
		return parse_seconds(c, value, "ERR maxage is not an integer or out of range",
				     "ERR maxage should be greater than 0", &filter->max_age);
	if (argument_is(word, "IDLE"))
		return parse_seconds(c, value, "ERR idle is not an integer or out of range",
				     "ERR idle should be greater than 0", &filter->idle);
	if (argument_is(word, "SKIPME") && (argument_is(value, "YES") || argument_is(value, "NO"))) {
		filter->skip_self = argument_is(value, "YES");
		return true;
	}
	context_syntax_error(c);
	return false;
}

static int
parse_option(struct command_context *c, size_t at, const char *bad_id, struct client_filter *filter,
	     size_t *ret_end)
{
	struct bytes word = c->argv[at];
	bool negated = word.size > 4 && argument_is(bytes_of(word.data, 4), "NOT-");
	struct bytes name = negated ? bytes_of(word.data + 4, word.size - 4) : word;
	struct client_wanted *wanted = negated ? &filter->is_not : &filter->is;
	if (at + 1 == c->argc)
		return context_syntax_error(c);
	if (argument_is(name, "ID"))
		return parse_ids(c, at + 1, bad_id, wanted, ret_end);
	*ret_end = at + 2;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (argument_is(name, options[i].word)) {
			wanted->given |= options[i].bit;
			return options[i].parse(c, c->argv[at + 1], wanted) ? SETT_OK : OUTCOME_FAILED;
		}
	if (negated)
		return context_syntax_error(c);
	return parse_own(c, word, c->argv[at + 1], filter) ? SETT_OK : OUTCOME_FAILED;
}

int
client_filter_parse(struct command_context *c, size_t first, const char *bad_id, struct client_filter *filter)
{
	int status = SETT_OK;
	filter->self = c->client;
	filter->now_ms = clock_wall_ms(c->server->clock);
	for (size_t at = first; at < c->argc && status == SETT_OK;)
		status = parse_option(c, at, bad_id, filter, &at);
	return status;
}

void
client_filter_by_address(struct command_context *c, struct bytes address, struct client_filter *filter)
{
	filter->self = c->client;
	filter->now_ms = clock_wall_ms(c->server->clock);
	filter->is.address = address;
	filter->is.given = GIVEN_ADDRESS;
}

/* ---- who is meant ---- */

static bool
has_id(const struct client_wanted *wanted, uint64_t id)
{
	for (size_t i = 0; i < wanted->id_count; i++)
		if (wanted->ids[i] == id)
			return true;
	return false;
}

static enum client_type
type_of(const struct client *client)
{
	if (__atomic_load_n(&client->is_replica, __ATOMIC_RELAXED))
		return CLIENT_REPLICA;
	if (client->is_master)
		return CLIENT_MASTER;
	return client_is_subscribed(client) ? CLIENT_PUBSUB : CLIENT_NORMAL;
}

static struct bytes
ip_of(const struct client *client)
{
	const char *colon = strrchr(client->address, ':');
	size_t size = colon != NULL ? (size_t)(colon - client->address) : strlen(client->address);
	return bytes_of(client->address, size);
}

static bool
has_flags(const struct client *client, struct bytes wanted)
{
	char flags[CLIENT_FLAGS_SIZE];
	client_write_flags(client, flags);
	for (size_t i = 0; i < wanted.size; i++)
		if (strchr(flags, wanted.data[i]) == NULL)
			return false;
	return true;
}

/* A bit for each option that holds. */
static unsigned
holding(const struct client_wanted *wanted, const struct client *client)
{
	unsigned given = wanted->given, bits = 0;
	if ((given & GIVEN_ID) != 0 && has_id(wanted, client->id))
		bits |= GIVEN_ID;
	if (type_of(client) == wanted->type)
		bits |= GIVEN_TYPE;
	if (bytes_equal(bytes_of_string(client->address), wanted->address))
		bits |= GIVEN_ADDRESS;
	if (bytes_equal(bytes_of_string(client->local_address), wanted->local_address))
		bits |= GIVEN_LOCAL_ADDRESS;
	if (bytes_equal(ip_of(client), wanted->ip))
		bits |= GIVEN_IP;
	if (bytes_equal(buffer_bytes(&client->name), wanted->name))
		bits |= GIVEN_NAME;
	if ((given & GIVEN_FLAGS) != 0 && has_flags(client, wanted->flags))
		bits |= GIVEN_FLAGS;
	if (__atomic_load_n(&client->db, __ATOMIC_RELAXED) == wanted->db)
		bits |= GIVEN_DB;
	if (client->user != NULL && bytes_equal(client->user->name, wanted->user))
		bits |= GIVEN_USER;
	return bits & given;
}

static bool
is_past(uint64_t since_ms, uint64_t now_ms, int64_t seconds)
{
	return seconds == 0 || (now_ms > since_ms && (now_ms - since_ms) / 1000 >= (uint64_t)seconds);
}

bool
client_filter_means(const struct client_filter *filter, const struct client *client)
{
	uint64_t active_ms = __atomic_load_n(&client->last_active_ms, __ATOMIC_RELAXED);
	return !(filter->skip_self && client == filter->self) &&
		is_past(client->created_ms, filter->now_ms, filter->max_age) &&
		is_past(active_ms, filter->now_ms, filter->idle) &&
		holding(&filter->is, client) == filter->is.given && holding(&filter->is_not, client) == 0;
}
