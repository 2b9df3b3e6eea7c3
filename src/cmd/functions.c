/* FCALL and FUNCTION. What functions are: script/functions.h. */
#include "script/functions.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "config/config.h"
#include "keyspace/glob.h"
#include "keyspace/libraries.h"
#include "rdb/payload.h"
#include "txn/observers.h"
#include "txn/propagation.h"

enum { OPCODE_LIBRARY = 245 }; /* before a library, in Redis' files and in DUMP's payload */

/* The functions that the transaction sees. */
static int
follow(struct command_context *c, struct script_vm **ret_vm, const struct function_set **ret)
{
	*ret_vm = script_vm_of(c);
	return *ret_vm != NULL ? functions_follow(c, *ret_vm, ret) : SETT_NO_MEMORY;
}

/* ---- FCALL ---- */

static bool
take_keys(struct command_context *c, struct script_call *call)
{
	int64_t count;
	if (!context_integer_or(c, c->argv[2], "ERR Bad number of keys provided", &count))
		return false;
	if (count > (int64_t)c->argc - 3)
		context_error(c, "ERR Number of keys can't be greater than number of args");
	else if (count < 0)
		context_error(c, "ERR Number of keys can't be negative");
	if (c->failed)
		return false;
	call->keys = c->argv + 3;
	call->key_count = (size_t)count;
	call->arguments = call->keys + count;
	call->argument_count = c->argc - 3 - (size_t)count;
	return true;
}

int
command_fcall(struct command_context *c)
{
	struct script_vm *vm;
	const struct function_set *set;
	int status = observers_note_line(c); /* before those of its commands */
	if (status == SETT_OK)
		status = follow(c, &vm, &set);
	if (status != SETT_OK)
		return status;
	struct script_function *f = functions_find(set, c->argv[1]);
	if (f == NULL)
		return context_error(c, "ERR Function not found");
	if (c->in_batch && f->is_alone)
		return OUTCOME_ALONE;
	struct script_call call = {.name = f->name,
				   .function = f->reference,
				   .flags = f->flags,
				   .read_only = (c->command->flags & COMMAND_READONLY) != 0};
	if (!take_keys(c, &call))
		return OUTCOME_FAILED;
	status = script_run(c, vm, &call);
	if (status == OUTCOME_ALONE)
		f->is_alone = true;
	return status;
}

/* ---- LOAD, DELETE, FLUSH ---- */

/* Puts a text into the keyspace, in the lane for what may take long. */
static int
load(struct command_context *c, struct bytes text, bool replace, struct bytes *ret_name)
{
	struct function_batch batch = {0};
	struct script_vm *vm = script_vm_of(c);
	if (vm == NULL)
		return SETT_NO_MEMORY;
	int status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = function_batch_add(c, vm, &batch, text);
	if (status == SETT_OK)
		status = function_batch_put(c, vm, &batch, replace, true);
	if (status == SETT_OK) {
		struct bytes name = bytes_of_string(batch.libraries[0]->name);
		*ret_name = bytes_of(arena_copy(c->arena, name.data, name.size), name.size);
		status = ret_name->data != NULL ? SETT_OK : SETT_NO_MEMORY;
	}
	function_batch_free(vm, &batch);
	return status;
}

int
command_function_load(struct command_context *c)
{
	bool replace = false;
	struct bytes name;
	for (size_t i = 2; i < c->argc - 1; i++) {
		if (!argument_is(c->argv[i], "REPLACE"))
			return context_errorf(c, "ERR Unknown option given: %.*s",
					      c->argv[i].size < 128 ? (int)c->argv[i].size : 128,
					      (const char *)c->argv[i].data);
		replace = true;
	}
	int status = load(c, c->argv[c->argc - 1], replace, &name);
	if (status == SETT_OK)
		resp_bulk(c->reply, name.data, name.size);
	return status == SETT_OK ? propagate_as_given(c) : status;
}

int
command_function_delete(struct command_context *c)
{
	int status = library_delete(&c->view, c->argv[2]);
	if (status == SETT_NOT_FOUND)
		return context_error(c, "ERR Library not found");
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status == SETT_OK ? propagate_as_given(c) : status;
}

int
command_function_flush(struct command_context *c)
{
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 3 && !argument_is(c->argv[2], "SYNC") && !argument_is(c->argv[2], "ASYNC"))
		return context_error(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
	int status = libraries_clear(&c->view);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status == SETT_OK ? propagate_as_given(c) : status;
}

/* ---- DUMP, RESTORE ---- */

struct dump {
	struct command_context *context;
	struct rdb_writer writer;
};

static int
dump_library(void *arg, const struct library *library)
{
	struct dump *d = arg;
	struct bytes text;
	int status = library_text(&d->context->view, library, &text);
	if (status != SETT_OK)
		return status;
	rdb_put_byte(&d->writer, OPCODE_LIBRARY);
	rdb_put_string(&d->writer, text);
	return d->writer.failed ? SETT_NO_MEMORY : SETT_OK;
}

int
command_function_dump(struct command_context *c)
{
	struct dump d = {.context = c};
	rdb_writer_init(&d.writer, __atomic_load_n(&c->server->config->rdb_compression, __ATOMIC_RELAXED));
	int status = libraries_walk(&c->view, dump_library, &d);
	rdb_payload_seal(&d.writer, RDB_VERSION);
	if (status == SETT_OK && d.writer.failed)
		status = SETT_NO_MEMORY;
	if (status == SETT_OK)
		resp_bulk(c->reply, d.writer.out.data, d.writer.out.size);
	rdb_writer_free(&d.writer);
	return status;
}

enum restore_policy { RESTORE_APPEND, RESTORE_FLUSH, RESTORE_REPLACE };

/* Reads the libraries of a payload. */
static int
read_payload(struct command_context *c, struct script_vm *vm, struct bytes payload,
	     struct function_batch *batch)
{
	struct rdb_input in = {payload.data, payload.data + payload.size};
	struct rdb_room room = {0};
	int status = SETT_OK;
	while (status == SETT_OK && rdb_left(&in) > 0) {
		uint8_t opcode;
		struct bytes text;
		status = rdb_get_byte(&in, &opcode);
		if (status == SETT_OK && opcode != OPCODE_LIBRARY) {
			status = context_error(c, "ERR given type is not a function");
			break;
		}
		if (status == SETT_OK)
			status = rdb_get_string(&in, &room, &text);
		if (status == RDB_MALFORMED)
			status = context_error(c, "ERR Failed loading library payload");
		if (status != SETT_OK)
			break;
		const void *copy = arena_copy(c->arena, text.data, text.size);
		status = copy != NULL ? function_batch_add(c, vm, batch, bytes_of(copy, text.size))
				      : SETT_NO_MEMORY;
	}
	rdb_room_free(&room);
	return status;
}

static int
restore(struct command_context *c, struct bytes payload, enum restore_policy policy)
{
	struct function_batch batch = {0};
	struct script_vm *vm = script_vm_of(c);
	if (vm == NULL)
		return SETT_NO_MEMORY;
	int status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = read_payload(c, vm, payload, &batch);
	if (status == SETT_OK && policy == RESTORE_FLUSH)
		status = libraries_clear(&c->view);
	if (status == SETT_OK)
		status = function_batch_put(c, vm, &batch, policy == RESTORE_REPLACE, false);
	function_batch_free(vm, &batch);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status == SETT_OK ? propagate_as_given(c) : status;
}

int
command_function_restore(struct command_context *c)
{
	enum restore_policy policy = RESTORE_APPEND;
	struct bytes payload;
	if (c->argc > 4)
		return context_unknown_subcommand(c);
	if (c->argc == 4 && argument_is(c->argv[3], "FLUSH"))
		policy = RESTORE_FLUSH;
	else if (c->argc == 4 && argument_is(c->argv[3], "REPLACE"))
		policy = RESTORE_REPLACE;
	else if (c->argc == 4 && !argument_is(c->argv[3], "APPEND"))
		return context_error(
			c,
			"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
	if (rdb_payload_open(c->argv[2], server_trusts_payloads(c->server), &payload) != SETT_OK)
		return context_error(c, "ERR DUMP payload version or checksum are wrong");
	return restore(c, payload, policy);
}

/* ---- LIST ---- */

struct list_options {
	struct bytes pattern; /* data is NULL: none */
	bool with_code;
};

static bool
parse_list(struct command_context *c, struct list_options *ret)
{
	struct list_options o = {.with_code = false};
	for (size_t i = 2; i < c->argc; i++) {
		if (!o.with_code && argument_is(c->argv[i], "WITHCODE")) {
			o.with_code = true;
		} else if (o.pattern.data == NULL && argument_is(c->argv[i], "LIBRARYNAME")) {
			if (++i == c->argc) {
				context_error(c, "ERR library name argument was not given");
				return false;
			}
			o.pattern = c->argv[i];
		} else {
			context_errorf(c, "ERR Unknown argument %.*s",
				       c->argv[i].size < 128 ? (int)c->argv[i].size : 128,
				       (const char *)c->argv[i].data);
			return false;
		}
	}
	*ret = o;
	return true;
}

static bool
is_listed(const struct list_options *o, const struct function_library *l)
{
	return o->pattern.data == NULL || glob_match(o->pattern, bytes_of_string(l->name), true);
}

static void
reply_function(struct resp_writer *reply, const struct script_function *f)
{
	resp_map(reply, 3);
	resp_bulk_string(reply, "name");
	resp_bulk_string(reply, f->name);
	resp_bulk_string(reply, "description");
	if (f->description.data != NULL)
		resp_bulk(reply, f->description.data, f->description.size);
	else
		resp_null(reply);
	resp_bulk_string(reply, "flags");
	resp_set(reply, (size_t)__builtin_popcount(f->flags));
	for (unsigned flag = 1; flag < SCRIPT_SAYS_NOTHING; flag <<= 1)
		if ((f->flags & flag) != 0)
			resp_status(reply, script_flag_name((enum script_flag)flag));
}

static int
reply_library(struct command_context *c, const struct function_library *l, bool with_code)
{
	resp_map(c->reply, with_code ? 4 : 3);
	resp_bulk_string(c->reply, "library_name");
	resp_bulk_string(c->reply, l->name);
	resp_bulk_string(c->reply, "engine");
	resp_bulk_string(c->reply, "LUA");
	resp_bulk_string(c->reply, "functions");
	resp_array(c->reply, l->function_count);
	for (size_t i = 0; i < l->function_count; i++)
		reply_function(c->reply, &l->functions[i]);
	if (!with_code)
		return SETT_OK;
	struct library library;
	struct bytes text;
	int status = library_find(&c->view, bytes_of_string(l->name), &library);
	if (status == SETT_OK)
		status = library_text(&c->view, &library, &text);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	resp_bulk_string(c->reply, "library_code");
	resp_bulk(c->reply, text.data, text.size);
	return SETT_OK;
}

int
command_function_list(struct command_context *c)
{
	struct list_options options;
	struct script_vm *vm;
	const struct function_set *set;
	size_t count = 0;
	if (!parse_list(c, &options))
		return OUTCOME_FAILED;
	int status = follow(c, &vm, &set);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < set->library_count; i++)
		count += is_listed(&options, set->libraries[i]);
	resp_array(c->reply, count);
	for (size_t i = 0; i < set->library_count && status == SETT_OK; i++)
		if (is_listed(&options, set->libraries[i]))
			status = reply_library(c, set->libraries[i], options.with_code);
	return status;
}

/* ---- STATS, KILL, HELP ---- */

static int
reply_running(struct command_context *c)
{
	struct running_script running;
	struct bytes *argv = NULL;
	size_t argc = 0;
	if (!script_longest_running(c->server->scripts, SCRIPT_FUNCTION, &running)) {
		resp_null(c->reply);
		return SETT_OK;
	}
	int status = script_running_command(c->server->scripts, running.id, c->arena, &argc, &argv);
	if (status != SETT_OK)
		return status;
	resp_map(c->reply, 3);
	resp_bulk_string(c->reply, "name");
	resp_bulk_string(c->reply, running.name);
	resp_bulk_string(c->reply, "command");
	resp_array(c->reply, argc);
	for (size_t i = 0; i < argc; i++)
		resp_bulk(c->reply, argv[i].data, argv[i].size);
	resp_bulk_string(c->reply, "duration_ms");
	resp_integer(c->reply, (int64_t)running.duration_ms);
	return SETT_OK;
}

int
command_function_stats(struct command_context *c)
{
	struct libraries_state state;
	int status = libraries_read(&c->view, &state);
	if (status != SETT_OK)
		return status;
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "running_script");
	status = reply_running(c);
	resp_bulk_string(c->reply, "engines");
	resp_map(c->reply, 1);
	resp_bulk_string(c->reply, "LUA");
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "libraries_count");
	resp_integer(c->reply, (int64_t)state.libraries);
	resp_bulk_string(c->reply, "functions_count");
	resp_integer(c->reply, (int64_t)state.functions);
	return status;
}

int
command_function_kill(struct command_context *c)
{
	return script_kill(c, SCRIPT_FUNCTION);
}

int
command_function_help(struct command_context *c)
{
	static const char *const lines[] = {
		"LOAD [REPLACE] <FUNCTION CODE>",
		"    Create a new library with the given library name and code.",
		"DELETE <LIBRARY NAME>",
		"    Delete the given library.",
		"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
		"    Return general information on all the libraries:",
		"    * Library name",
		"    * The engine used to run the Library",
		"    * Library description",
		"    * Functions list",
		"    * Library code (if WITHCODE is given)",
		"    It also possible to get only function that matches a pattern using LIBRARYNAME "
		"argument.",
		"STATS",
		"    Return information about the current function running:",
		"    * Function name",
		"    * Command used to run the function",
		"    * Duration in MS that the function is running",
		"    If no function is running, return nil",
		"    In addition, returns a list of available engines.",
		"KILL",
		"    Kill the current running function.",
		"FLUSH [ASYNC|SYNC]",
		"    Delete all the libraries.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the libraries.",
		"    * SYNC: Synchronously flush the libraries.",
		"DUMP",
		"    Return a serialized payload representing the current libraries, can be restored using "
		"FUNCTION "
		"RESTORE command",
		"RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
		"    Restore the libraries represented by the given payload, it is possible to give a "
		"restore policy "
		"to",
		"    control how to handle existing libraries (default APPEND):",
		"    * FLUSH: delete all existing libraries.",
		"    * APPEND: appends the restored libraries to the existing libraries. On collision, "
		"abort.",
		"    * REPLACE: appends the restored libraries to the existing libraries, On collision, "
		"replace the "
		"old",
		"      libraries with the new libraries (notice that even on this option there is a chance "
		"of failure",
		"      in case of functions name collision with another library).",
		NULL,
	};
	return context_help(c, lines);
}
