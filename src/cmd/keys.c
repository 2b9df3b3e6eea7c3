/* Commands on keys of any type. */
#include "cmd/groups.h"
#include "cmd/lookup.h"

static int
command_del(struct command_context *c)
{
	int64_t deleted = 0;
	for (size_t i = 1; i < c->argc; i++) {
		struct root root;
		bool exists;
		int status = lookup_key(c, c->argv[i], &exists, &root);
		if (status == SETT_OK && exists) {
			status = keyspace_delete(&c->view, c->db, c->argv[i], &root);
			deleted++;
		}
		if (status != SETT_OK)
			return status;
	}
	resp_integer(c->reply, deleted);
	return SETT_OK;
}

static int
command_exists(struct command_context *c)
{
	int64_t found = 0;
	for (size_t i = 1; i < c->argc; i++) {
		struct root root;
		bool exists;
		int status = lookup_key(c, c->argv[i], &exists, &root);
		if (status != SETT_OK)
			return status;
		found += exists;
	}
	resp_integer(c->reply, found);
	return SETT_OK;
}

static int
command_type(struct command_context *c)
{
	struct root root;
	bool exists;
	int status = lookup_key(c, c->argv[1], &exists, &root);
	if (status == SETT_OK)
		resp_status(c->reply, exists ? "string" : "none");
	return status;
}

/* RENAME and RENAMENX. */
static int
rename_key(struct command_context *c, bool only_if_absent)
{
	struct bytes from = c->argv[1], to = c->argv[2];
	struct root root, old;
	bool exists, target_exists;
	int status = lookup_key(c, from, &exists, &root);
	if (status != SETT_OK)
		return status;
	if (!exists)
		return context_error(c, "ERR no such key");
	bool same = bytes_equal(from, to);
	status = same ? SETT_OK : lookup_key(c, to, &target_exists, &old);
	if (status != SETT_OK)
		return status;
	bool refused = only_if_absent && (same || target_exists);
	if (only_if_absent)
		resp_integer(c->reply, !refused);
	else
		resp_status(c->reply, "OK");
	if (same || refused)
		return SETT_OK;
	status = keyspace_copy(&c->view, &root, c->db, to, target_exists ? &old : NULL);
	return status == SETT_OK ? keyspace_delete(&c->view, c->db, from, &root) : status;
}

static int
command_rename(struct command_context *c)
{
	return rename_key(c, false);
}

static int
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

static int
command_copy(struct command_context *c)
{
	unsigned db;
	bool replace, exists;
	struct root root, old;
	if (!parse_copy_options(c, &db, &replace))
		return SETT_OK;
	if (db == c->db && bytes_equal(c->argv[1], c->argv[2]))
		return context_error(c, "ERR source and destination objects are the same");
	int status = lookup_key(c, c->argv[1], &exists, &root);
	if (status != SETT_OK)
		return status;
	if (exists) {
		status = keyspace_lookup(&c->view, db, c->argv[2], &old);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
		bool target_exists = status == SETT_OK;
		if (replace || !target_exists) {
			resp_integer(c->reply, 1);
			return keyspace_copy(&c->view, &root, db, c->argv[2], target_exists ? &old : NULL);
		}
	}
	resp_integer(c->reply, 0);
	return SETT_OK;
}

/* ---- OBJECT ---- */

static const char *
encoding_name(const struct root *root)
{
	switch (root->encoding) {
	case STRING_INT:
		return "int";
	case STRING_EMBSTR:
		return "embstr";
	default:
		return "raw";
	}
}

/* The key in argv[2]; if it is missing the null reply is given. */
static int
object_lookup(struct command_context *c, bool *ret_exists, struct root *ret)
{
	int status = lookup_key(c, c->argv[2], ret_exists, ret);
	if (status == SETT_OK && !*ret_exists)
		resp_null(c->reply);
	return status;
}

static int
command_object_encoding(struct command_context *c)
{
	struct root root;
	bool exists;
	int status = object_lookup(c, &exists, &root);
	if (status == SETT_OK && exists)
		resp_bulk_string(c->reply, encoding_name(&root));
	return status;
}

/* Records are not shared. */
static int
command_object_refcount(struct command_context *c)
{
	struct root root;
	bool exists;
	int status = object_lookup(c, &exists, &root);
	if (status == SETT_OK && exists)
		resp_integer(c->reply, 1);
	return status;
}

/* Nothing is evicted, so accesses are not tracked. */
static int
command_object_idletime(struct command_context *c)
{
	struct root root;
	bool exists;
	int status = object_lookup(c, &exists, &root);
	if (status == SETT_OK && exists)
		resp_integer(c->reply, 0);
	return status;
}

static int
command_object_freq(struct command_context *c)
{
	struct root root;
	bool exists;
	int status = object_lookup(c, &exists, &root);
	if (status == SETT_OK && exists)
		return context_error(c,
				     "ERR An LFU maxmemory policy is not selected, access frequency not "
				     "tracked. Please note "
				     "that when switching between policies at runtime LRU and LFU data will "
				     "take some time "
				     "to adjust.");
	return status;
}

static int
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

static const struct command object_subcommands[] = {
	{.name = "encoding",
	 .full_name = "object|encoding",
	 .run = command_object_encoding,
	 .arity = 3,
	 .flags = COMMAND_READONLY,
	 .first_key = 2,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_SLOW,
	 .summary = "Inspect the internal encoding of a Redis object",
	 .since = "2.2.3",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "freq",
	 .full_name = "object|freq",
	 .run = command_object_freq,
	 .arity = 3,
	 .flags = COMMAND_READONLY,
	 .first_key = 2,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_SLOW,
	 .summary = "Get the logarithmic access frequency counter of a Redis object",
	 .since = "4.0.0",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "help",
	 .full_name = "object|help",
	 .run = command_object_help,
	 .arity = 2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .first_key = 0,
	 .last_key = 0,
	 .key_step = 0,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_SLOW,
	 .summary = "Show helpful text about the different subcommands",
	 .since = "6.2.0",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "idletime",
	 .full_name = "object|idletime",
	 .run = command_object_idletime,
	 .arity = 3,
	 .flags = COMMAND_READONLY,
	 .first_key = 2,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_SLOW,
	 .summary = "Get the time since a Redis object was last accessed",
	 .since = "2.2.3",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "refcount",
	 .full_name = "object|refcount",
	 .run = command_object_refcount,
	 .arity = 3,
	 .flags = COMMAND_READONLY,
	 .first_key = 2,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_SLOW,
	 .summary = "Get the number of references to the value of the key",
	 .since = "2.2.3",
	 .group = "generic",
	 .complexity = "O(1)"},
	{0},
};

const struct command key_commands[] = {
	{.name = "del",
	 .full_name = "del",
	 .run = command_del,
	 .arity = -2,
	 .flags = COMMAND_WRITE,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_WRITE | CATEGORY_SLOW,
	 .summary = "Delete a key",
	 .since = "1.0.0",
	 .group = "generic",
	 .complexity = "O(N) where N is the number of keys that will be removed. When a key to remove holds "
		       "a value other than a string, the individual complexity for this key is O(M) where M "
		       "is the number of elements in the list, set, sorted set or hash. Removing a single "
		       "key that holds a string value is O(1)."},
	{.name = "unlink",
	 .full_name = "unlink",
	 .run = command_del,
	 .arity = -2,
	 .flags = COMMAND_WRITE | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_WRITE | CATEGORY_FAST,
	 .summary = "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non "
		    "blocking.",
	 .since = "4.0.0",
	 .group = "generic",
	 .complexity = "O(1) for each key removed regardless of its size. Then the command does O(N) work in "
		       "a different thread in order to reclaim memory, where N is the number of allocations "
		       "the deleted objects where composed of."},
	{.name = "exists",
	 .full_name = "exists",
	 .run = command_exists,
	 .arity = -2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_FAST,
	 .summary = "Determine if a key exists",
	 .since = "1.0.0",
	 .group = "generic",
	 .complexity = "O(N) where N is the number of keys to check."},
	{.name = "type",
	 .full_name = "type",
	 .run = command_type,
	 .arity = 2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_FAST,
	 .summary = "Determine the type stored at key",
	 .since = "1.0.0",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "rename",
	 .full_name = "rename",
	 .run = command_rename,
	 .arity = 3,
	 .flags = COMMAND_WRITE,
	 .first_key = 1,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_WRITE | CATEGORY_SLOW,
	 .summary = "Rename a key",
	 .since = "1.0.0",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "renamenx",
	 .full_name = "renamenx",
	 .run = command_renamenx,
	 .arity = 3,
	 .flags = COMMAND_WRITE | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_WRITE | CATEGORY_FAST,
	 .summary = "Rename a key, only if the new key does not exist",
	 .since = "1.0.0",
	 .group = "generic",
	 .complexity = "O(1)"},
	{.name = "copy",
	 .full_name = "copy",
	 .run = command_copy,
	 .arity = -3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 2,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_WRITE | CATEGORY_SLOW,
	 .summary = "Copy a key",
	 .since = "6.2.0",
	 .group = "generic",
	 .complexity = "O(N) worst case for collections, where N is the number of nested items. O(1) for "
		       "string values."},
	{.name = "touch",
	 .full_name = "touch",
	 .run = command_exists,
	 .arity = -2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_KEYSPACE | CATEGORY_READ | CATEGORY_FAST,
	 .summary = "Alters the last access time of a key(s). Returns the number of existing keys specified.",
	 .since = "3.2.1",
	 .group = "generic",
	 .complexity = "O(N) where N is the number of keys that will be touched."},
	{.name = "object",
	 .full_name = "object",
	 .run = NULL,
	 .arity = -2,
	 .flags = 0,
	 .first_key = 0,
	 .last_key = 0,
	 .key_step = 0,
	 .acl_categories = CATEGORY_SLOW,
	 .summary = "A container for object introspection commands",
	 .since = "2.2.3",
	 .group = "generic",
	 .complexity = "Depends on subcommand.",
	 .subcommands = object_subcommands},
	{0},
};
