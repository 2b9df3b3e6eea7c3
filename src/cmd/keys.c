/* Commands on keys of any type. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "config/config.h"
#include "keyspace/accesses.h"
#include "types/type.h"

int
command_del(struct command_context *c)
{
	int64_t deleted = 0;
	for (size_t i = 1; i < c->argc; i++) {
		struct key k;
		struct sett_read_mark reads = sett_txn_read_mark(c->view.txn);
		int status = open_key(c, c->argv[i], &k);
		if (status == SETT_OK && k.exists) {
			status = tell_deleted(key_delete(&k), &k);
			deleted++;
		}
		sett_txn_forget_reads(c->view.txn, &reads);
		if (status != SETT_OK)
			return status;
	}
	resp_integer(c->reply, deleted);
	return SETT_OK;
}

static int
count_existing(struct command_context *c, int (*open)(struct command_context *, struct bytes, struct key *))
{
	int64_t found = 0;
	for (size_t i = 1; i < c->argc; i++) {
		struct key k;
		struct sett_read_mark reads = sett_txn_read_mark(c->view.txn);
		int status = open(c, c->argv[i], &k);
		sett_txn_forget_reads(c->view.txn, &reads);
		if (status != SETT_OK)
			return status;
		found += k.exists;
	}
	resp_integer(c->reply, found);
	return SETT_OK;
}

int
command_exists(struct command_context *c)
{
	return count_existing(c, peek_key);
}

int
command_touch(struct command_context *c)
{
	return count_existing(c, open_key);
}

int
command_type(struct command_context *c)
{
	struct key k;
	int status = peek_key(c, c->argv[1], &k);
	if (status == SETT_OK)
		resp_status(c->reply, k.exists ? value_type_name(k.root.type) : "none");
	return status;
}

/* What takes the place of a key that was there counts as new, as in Redis. */
static int
tell_replaced(int status, const struct key *k, bool existed)
{
	return status == SETT_OK && existed ? key_event(k, EVENT_NEW, "new") : status;
}

static int
rename_and_tell(struct key *from, struct key *to)
{
	bool existed = to->exists;
	int status = tell_replaced(key_rename(from, to), to, existed);
	if (status == SETT_OK)
		status = key_event(from, EVENT_GENERIC, "rename_from");
	status = tell(status, to, EVENT_GENERIC, "rename_to");
	return tell_overwritten(status, to, existed, from->root.type);
}

/* RENAME and RENAMENX. */
static int
rename_key(struct command_context *c, bool only_if_absent)
{
	struct key from, to;
	int status = open_key(c, c->argv[1], &from);
	if (status != SETT_OK)
		return status;
	if (!from.exists)
		return context_error(c, "ERR no such key");
	bool same = bytes_equal(c->argv[1], c->argv[2]);
	status = same ? SETT_OK : open_key(c, c->argv[2], &to);
	if (status != SETT_OK)
		return status;
	bool refused = only_if_absent && (same || to.exists);
	if (only_if_absent)
		resp_integer(c->reply, !refused);
	else
		resp_status(c->reply, "OK");
	return same || refused ? SETT_OK : rename_and_tell(&from, &to);
}

int
command_rename(struct command_context *c)
{
	return rename_key(c, false);
}

int
command_renamenx(struct command_context *c)
{
	return rename_key(c, true);
}

static bool
parse_copy_options(struct command_context *c, unsigned *ret_db, bool *ret_replace)
{
	*ret_db = c->db;
	*ret_replace = false;
	for (size_t i = 3; i < c->argc; i++) {
		if (argument_is(c->argv[i], "REPLACE")) {
			*ret_replace = true;
		} else if (argument_is(c->argv[i], "DB") && i + 1 < c->argc) {
			int64_t db;
			if (!context_integer_range(c, c->argv[++i], INT32_MIN, INT32_MAX,
						   "ERR value is not an integer or out of range", &db))
				return false;
			if (db < 0 || db >= keyspace_databases(c->server->keyspace)) {
				context_error(c, "ERR DB index is out of range");
				return false;
			}
			*ret_db = (unsigned)db;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	return true;
}

int
command_copy(struct command_context *c)
{
	unsigned db;
	bool replace;
	struct key from, to;
	if (!parse_copy_options(c, &db, &replace))
		return OUTCOME_FAILED;
	if (db != 0 && c->server->config->cluster_enabled)
		return context_error(c, "ERR Copying to another database is not allowed in cluster mode");
	if (db == c->db && bytes_equal(c->argv[1], c->argv[2]))
		return context_error(c, "ERR source and destination objects are the same");
	int status = open_key(c, c->argv[1], &from);
	if (status == SETT_OK)
		status = count_read(c, &from);
	if (status == SETT_OK && from.exists)
		status = key_open(&c->view, db, c->argv[2], &to);
	if (status != SETT_OK)
		return status;
	bool go = from.exists && (replace || !to.exists);
	resp_integer(c->reply, go);
	if (go)
		status = enter_lane_for_elements(c, &from.root);
	context_allow_builds(c);
	if (!go || status != SETT_OK)
		return status;
	bool existed = to.exists;
	status = tell_replaced(type_copy(&from, &to), &to, existed);
	status = tell(status, &to, EVENT_GENERIC, "copy_to");
	return tell_overwritten(status, &to, existed, from.root.type);
}

/* ---- OBJECT ---- */

/* The key in argv[2]; if it is missing the null reply is given. */
static int
object_lookup(struct command_context *c, struct key *ret)
{
	int status = key_open(&c->view, c->db, c->argv[2], ret);
	if (status != SETT_OK)
		return status;
	/* It counts, but is not told. */
	c->view.hits += ret->exists;
	c->view.misses += !ret->exists;
	if (!ret->exists)
		resp_null(c->reply);
	return status;
}

int
command_object_encoding(struct command_context *c)
{
	struct key k;
	int status = object_lookup(c, &k);
	if (status == SETT_OK && k.exists)
		resp_bulk_string(c->reply, type_encoding_name(&k.root));
	return status;
}

/* Records are not shared. */
int
command_object_refcount(struct command_context *c)
{
	struct key k;
	int status = object_lookup(c, &k);
	if (status == SETT_OK && k.exists)
		resp_integer(c->reply, 1);
	return status;
}

#define SWITCHING                                                                                      \
	"Please note that when switching between policies at runtime LRU and LFU data will take some " \
	"time to adjust."

/* Where no policy asks for it, uses of keys are noted from the first time that somebody wants to know. */
int
command_object_idletime(struct command_context *c)
{
	struct key k;
	int status = object_lookup(c, &k);
	if (status != SETT_OK || !k.exists)
		return status;
	if (config_policy_is_lfu(c->server->config))
		return context_error(
			c, "ERR An LFU maxmemory policy is selected, idle time not tracked. " SWITCHING);
	status = server_note_accesses(c->server);
	if (status == SETT_OK)
		resp_integer(c->reply,
			     (int64_t)accesses_idle_seconds(c->server->accesses, k.engine_key.hash,
							    c->view.now_ms));
	return status;
}

int
command_object_freq(struct command_context *c)
{
	struct key k;
	int status = object_lookup(c, &k);
	if (status != SETT_OK || !k.exists)
		return status;
	if (!config_policy_is_lfu(c->server->config))
		return context_error(c,
				     "ERR An LFU maxmemory policy is not selected, access frequency not "
				     "tracked. " SWITCHING);
	status = server_note_accesses(c->server);
	if (status == SETT_OK)
		resp_integer(c->reply,
			     accesses_frequency(c->server->accesses, k.engine_key.hash, c->view.now_ms,
						server_access_rule(c->server)));
	return status;
}

int
command_object_help(struct command_context *c)
{
	static const char *const lines[] = {
		"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
		"HELP",
		"    Prints this help.",

	};
	resp_array(c->reply, sizeof(lines) / sizeof(lines[0]));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		resp_status(c->reply, lines[i]);
	return SETT_OK;
}
