/* CLUSTER, READONLY, READWRITE, ASKING: this server as a cluster of one node, which owns all slots, so that programs run
 * which know nothing but clusters. It forms none with others. */
#include "cluster/hash_slot.h"
#include "cluster/node.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "config/config.h"
#include "net/net.h"
#include "repl/replication.h"

enum { BUS_PORT_DISTANCE = 10000 /* as Redis has it */ };

#define ALONE_TEXT "ERR this node is the whole cluster, and owns all slots: it takes no other"

/* ---- who may ask ---- */

/* False: clients compare this text, word for word, to find out that the server is no cluster node. */
static bool
is_enabled(struct command_context *c)
{
	if (c->server->config->cluster_enabled)
		return true;
	context_error(c, "ERR This instance has cluster support disabled");
	return false;
}

static int
answer_ok(struct command_context *c)
{
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	resp_status(c->reply, "OK");
	return SETT_OK;
}

int
command_readonly(struct command_context *c)
{
	return answer_ok(c);
}

int
command_cluster_saveconfig(struct command_context *c)
{
	return answer_ok(c);
}

/* Whatever would make it another cluster. */
int
command_cluster_alone(struct command_context *c)
{
	return is_enabled(c) ? context_error(c, ALONE_TEXT) : OUTCOME_FAILED;
}

int
command_cluster_failover(struct command_context *c)
{
	return is_enabled(c) ? context_error(c, "ERR You should send CLUSTER FAILOVER to a replica")
			     : OUTCOME_FAILED;
}

/* ---- this node ---- */

struct endpoint {
	char ip[CLIENT_ADDRESS_SIZE], hostname[CLIENT_ADDRESS_SIZE];
	unsigned port, bus_port;
	int preferred; /* enum config_endpoint */
};

/* The host of "host:port" or "[host]:port". */
static void
copy_host(const char *address, char ret[CLIENT_ADDRESS_SIZE])
{
	const char *colon = strrchr(address, ':');
	size_t size = colon != NULL ? (size_t)(colon - address) : strlen(address);
	if (size >= 2 && address[0] == '[') {
		address++;
		size -= 2;
	}
	snprintf(ret, CLIENT_ADDRESS_SIZE, "%.*s", (int)size, address);
}

/* Where this client finds the node: as it is announced, else where it has come to. */
static void
find_endpoint(struct command_context *c, struct endpoint *ret)
{
	struct config *config = c->server->config;
	int port = __atomic_load_n(&config->cluster_announce_port, __ATOMIC_RELAXED);
	int bus_port = __atomic_load_n(&config->cluster_announce_bus_port, __ATOMIC_RELAXED);
	*ret = (struct endpoint){.preferred = __atomic_load_n(&config->cluster_endpoint, __ATOMIC_RELAXED)};
	mutex_lock(config_lock(config));
	if (config->cluster_announce_hostname != NULL)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", config->cluster_announce_hostname);
	if (config->cluster_announce_ip != NULL)
		snprintf(ret->ip, sizeof(ret->ip), "%s", config->cluster_announce_ip);
	mutex_unlock(config_lock(config));
	if (ret->ip[0] == '\0' && !c->client->unix_socket)
		copy_host(c->client->local_address, ret->ip);
	if (port == 0)
		port = net_tcp_port(c->server->net);
	if (port == 0)
		port = __atomic_load_n(&config->tls_port, __ATOMIC_RELAXED);
	if (bus_port == 0)
		bus_port = config->cluster_port != 0 ? config->cluster_port : port + BUS_PORT_DISTANCE;
	ret->port = (unsigned)port;
	ret->bus_port = (unsigned)bus_port;
}

static const char *
preferred_name(const struct endpoint *e)
{
	if (e->preferred == CONFIG_ENDPOINT_HOSTNAME)
		return e->hostname[0] != '\0' ? e->hostname : "?";
	return e->preferred == CONFIG_ENDPOINT_IP ? e->ip : NULL;
}

static void
reply_preferred(struct command_context *c, const struct endpoint *e)
{
	const char *name = preferred_name(e);
	if (name != NULL)
		resp_bulk_string(c->reply, name);
	else
		resp_null(c->reply);
}

static int
reply_text(struct command_context *c, const char *text, int size)
{
	resp_verbatim(c->reply, "txt", text, (size_t)size);
	return SETT_OK;
}

static int
describe_node(struct command_context *c, char *text, size_t size)
{
	struct endpoint e;
	find_endpoint(c, &e);
	return snprintf(text, size, "%s %s:%u@%u%s%s myself,master - 0 0 0 connected 0-16383",
			c->server->cluster->id, e.ip, e.port, e.bus_port, e.hostname[0] != '\0' ? "," : "",
			e.hostname);
}

int
command_cluster_nodes(struct command_context *c)
{
	char text[1024];
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	int size = describe_node(c, text, sizeof(text) - 1);
	text[size++] = '\n';
	return reply_text(c, text, size);
}

int
command_cluster_info(struct command_context *c)
{
	static const char text[] = "cluster_state:ok\r\n"
				   "cluster_slots_assigned:16384\r\n"
				   "cluster_slots_ok:16384\r\n"
				   "cluster_slots_pfail:0\r\n"
				   "cluster_slots_fail:0\r\n"
				   "cluster_known_nodes:1\r\n"
				   "cluster_size:1\r\n"
				   "cluster_current_epoch:0\r\n"
				   "cluster_my_epoch:0\r\n"
				   "cluster_stats_messages_sent:0\r\n"
				   "cluster_stats_messages_received:0\r\n"
				   "total_cluster_links_buffer_limit_exceeded:0\r\n";
	return is_enabled(c) ? reply_text(c, text, sizeof(text) - 1) : OUTCOME_FAILED;
}

int
command_cluster_myid(struct command_context *c)
{
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	resp_bulk_string(c->reply, c->server->cluster->id);
	return SETT_OK;
}

int
command_cluster_slots(struct command_context *c)
{
	struct endpoint e;
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	find_endpoint(c, &e);
	bool tells_ip = e.preferred != CONFIG_ENDPOINT_IP,
	     tells_hostname = e.preferred != CONFIG_ENDPOINT_HOSTNAME && e.hostname[0] != '\0';
	resp_array(c->reply, 1);
	resp_array(c->reply, 3);
	resp_integer(c->reply, 0);
	resp_integer(c->reply, HASH_SLOTS - 1);
	resp_array(c->reply, 4);
	reply_preferred(c, &e);
	resp_integer(c->reply, e.port);
	resp_bulk_string(c->reply, c->server->cluster->id);
	resp_map(c->reply, (size_t)tells_ip + (size_t)tells_hostname);
	if (tells_ip) {
		resp_bulk_string(c->reply, "ip");
		resp_bulk_string(c->reply, e.ip);
	}
	if (tells_hostname) {
		resp_bulk_string(c->reply, "hostname");
		resp_bulk_string(c->reply, e.hostname);
	}
	return SETT_OK;
}

static void
reply_pair(struct command_context *c, const char *name, const char *value)
{
	resp_bulk_string(c->reply, name);
	resp_bulk_string(c->reply, value);
}

static void
reply_details(struct command_context *c)
{
	struct endpoint e;
	struct replication_state state;
	find_endpoint(c, &e);
	replication_get(c->server->replication, &state);
	bool has_hostname = e.hostname[0] != '\0';
	resp_map(c->reply, 7 + (size_t)has_hostname);
	reply_pair(c, "id", c->server->cluster->id);
	resp_bulk_string(c->reply, "port");
	resp_integer(c->reply, e.port);
	reply_pair(c, "ip", e.ip);
	resp_bulk_string(c->reply, "endpoint");
	reply_preferred(c, &e);
	if (has_hostname)
		reply_pair(c, "hostname", e.hostname);
	reply_pair(c, "role", "master");
	resp_bulk_string(c->reply, "replication-offset");
	resp_integer(c->reply, (int64_t)state.position.offset);
	reply_pair(c, "health", "online");
}

int
command_cluster_shards(struct command_context *c)
{
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	resp_array(c->reply, 1);
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "slots");
	resp_array(c->reply, 2);
	resp_integer(c->reply, 0);
	resp_integer(c->reply, HASH_SLOTS - 1);
	resp_bulk_string(c->reply, "nodes");
	resp_array(c->reply, 1);
	reply_details(c);
	return SETT_OK;
}

int
command_cluster_links(struct command_context *c)
{
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	resp_array(c->reply, 0);
	return SETT_OK;
}

/* ---- nodes by name ---- */

static bool
names_itself(const struct command_context *c, struct bytes name)
{
	return bytes_equal(name, bytes_of(c->server->cluster->id, CLUSTER_ID_SIZE));
}

/* False: the error reply was given. */
static bool
is_known(struct command_context *c, struct bytes name)
{
	if (!is_enabled(c))
		return false;
	if (names_itself(c, name))
		return true;
	context_errorf(c, "ERR Unknown node %.*s", (int)(name.size < 128 ? name.size : 128),
		       (const char *)name.data);
	return false;
}

int
command_cluster_replicas(struct command_context *c)
{
	if (!is_known(c, c->argv[2]))
		return OUTCOME_FAILED;
	resp_array(c->reply, 0);
	return SETT_OK;
}

int
command_cluster_count_failure_reports(struct command_context *c)
{
	if (!is_known(c, c->argv[2]))
		return OUTCOME_FAILED;
	resp_integer(c->reply, 0);
	return SETT_OK;
}

int
command_cluster_forget(struct command_context *c)
{
	return is_known(c, c->argv[2]) ? context_error(c, "ERR I tried hard but I can't forget myself...")
				       : OUTCOME_FAILED;
}

int
command_cluster_replicate(struct command_context *c)
{
	return is_known(c, c->argv[2]) ? context_error(c, "ERR Can't replicate myself") : OUTCOME_FAILED;
}

/* ---- slots ---- */

static bool
parse_slot(struct command_context *c, struct bytes argument, int *ret)
{
	int64_t slot;
	if (!parse_integer(argument, &slot) || slot < 0 || slot >= HASH_SLOTS) {
		context_error(c, "ERR Invalid or out of range slot");
		return false;
	}
	*ret = (int)slot;
	return true;
}

/* It has them already, so nothing changes: scripts that set up a cluster go on. */
int
command_cluster_addslots(struct command_context *c)
{
	int slot;
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	for (size_t i = 2; i < c->argc; i++)
		if (!parse_slot(c, c->argv[i], &slot))
			return OUTCOME_FAILED;
	return answer_ok(c);
}

int
command_cluster_addslotsrange(struct command_context *c)
{
	int first, last;
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	if (c->argc % 2 == 1)
		return context_error(c, "ERR wrong number of arguments for 'cluster|addslotsrange' command");
	for (size_t i = 2; i < c->argc; i += 2) {
		if (!parse_slot(c, c->argv[i], &first) || !parse_slot(c, c->argv[i + 1], &last))
			return OUTCOME_FAILED;
		if (first > last)
			return context_errorf(c,
					      "ERR start slot number %d is greater than end slot number %d",
					      first, last);
	}
	return answer_ok(c);
}

/* Only where nothing is to move. */
int
command_cluster_setslot(struct command_context *c)
{
	int slot;
	if (!is_enabled(c) || !parse_slot(c, c->argv[2], &slot))
		return OUTCOME_FAILED;
	if (c->argc == 4 && argument_is(c->argv[3], "STABLE"))
		return answer_ok(c);
	if (c->argc != 5)
		return context_error(
			c, "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
	if (argument_is(c->argv[3], "NODE"))
		return is_known(c, c->argv[4]) ? answer_ok(c) : OUTCOME_FAILED;
	return context_error(c, ALONE_TEXT);
}

int
command_cluster_keyslot(struct command_context *c)
{
	if (!is_enabled(c))
		return OUTCOME_FAILED;
	resp_integer(c->reply, hash_slot(c->argv[2]));
	return SETT_OK;
}

/* Calls `take` for keys of the slot until it is false: a walk over all keys, on the pool. */
static int
walk_slot(struct command_context *c, int slot, bool (*take)(struct command_context *, struct bytes, void *),
	  void *arg)
{
	struct keyspace_cursor *cursor;
	struct key key;
	bool goes_on = true;
	int status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = keyspace_cursor_open(&c->view, c->db, (struct bytes){0}, (struct bytes){0}, &cursor);
	if (status != SETT_OK)
		return status;
	while (goes_on && (status = keyspace_cursor_next(cursor, &key)) == SETT_OK) {
		if (context_is_given_up(c)) {
			keyspace_cursor_close(cursor);
			return context_give_up(c);
		}
		if (hash_slot(key.name) == slot)
			goes_on = take(c, key.name, arg);
	}
	keyspace_cursor_close(cursor);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static bool
count_key(struct command_context *c, struct bytes key, void *arg)
{
	(void)c;
	(void)key;
	++*(int64_t *)arg;
	return true;
}

int
command_cluster_countkeysinslot(struct command_context *c)
{
	int64_t slot, count = 0;
	if (!is_enabled(c) || !context_integer(c, c->argv[2], &slot))
		return OUTCOME_FAILED;
	if (slot < 0 || slot >= HASH_SLOTS)
		return context_error(c, "ERR Invalid slot");
	int status = walk_slot(c, (int)slot, count_key, &count);
	if (status == SETT_OK)
		resp_integer(c->reply, count);
	return status;
}

struct slot_keys {
	size_t most, count;
};

static bool
reply_key(struct command_context *c, struct bytes key, void *arg)
{
	struct slot_keys *keys = arg;
	resp_bulk(c->reply, key.data, key.size);
	return ++keys->count < keys->most;
}

int
command_cluster_getkeysinslot(struct command_context *c)
{
	int64_t slot, most;
	if (!is_enabled(c) || !context_integer(c, c->argv[2], &slot) ||
	    !context_integer(c, c->argv[3], &most))
		return OUTCOME_FAILED;
	if (slot < 0 || slot >= HASH_SLOTS || most < 0)
		return context_error(c, "ERR Invalid slot or number of keys");
	struct slot_keys keys = {.most = (size_t)most};
	size_t token = resp_deferred_begin(c->reply);
	int status = most > 0 ? walk_slot(c, (int)slot, reply_key, &keys) : SETT_OK;
	if (status == SETT_OK)
		resp_deferred_array_end(c->reply, token, keys.count);
	return status;
}

/* ---- CLUSTER HELP ---- */

int
command_cluster_help(struct command_context *c)
{
	static const char *const lines[] = {
		"ADDSLOTS <slot> [<slot> ...]",
		"ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
		"    Change nothing: this node, which is the whole cluster, owns all slots.",
		"COUNT-FAILURE-REPORTS <node-id>",
		"    Return 0.",
		"COUNTKEYSINSLOT <slot>",
		"    Return the number of keys in <slot>.",
		"GETKEYSINSLOT <slot> <count>",
		"    Return names of keys in a slot.",
		"INFO",
		"    Return information about the cluster.",
		"KEYSLOT <key>",
		"    Return the hash slot for <key>.",
		"LINKS",
		"    Return an empty array.",
		"MYID",
		"    Return the node id.",
		"NODES",
		"    Return the configuration: one line.",
		"REPLICAS <node-id>",
		"    Return an empty array.",
		"SETSLOT <slot> (STABLE|NODE <node-id>)",
		"    Change nothing.",
		"SHARDS",
		"    Return the slots and the node.",
		"SLOTS",
		"    Return the slots and the node.",
		NULL,
	};
	return is_enabled(c) ? context_help(c, lines) : OUTCOME_FAILED;
}
