/* Directives: loading from file and command line, Redis' error texts, CONFIG GET and SET. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "config/config.h"
#include "config/directive.h"
#include "storage/engine.h"

enum { ARGUMENTS_MAX = 16 };

/* A file in a directory of its own. */
static char *
write_file(const char *content)
{
	static char path[64];
	snprintf(path, sizeof path, "/tmp/sett-config-XXXXXX");
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	close(fd);
	return path;
}

static int
load(struct config **ret, struct buffer *error, int count, const char *const *arguments)
{
	char *argv[ARGUMENTS_MAX] = {(char *)"sett-server"};
	for (int i = 0; i < count; i++)
		argv[i + 1] = (char *)arguments[i];
	return config_load(count + 1, argv, ret, error);
}
#define LOAD(ret, error, ...)                                                    \
	load(ret, error, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	     (const char *[]){__VA_ARGS__})

static struct config *
load_content(const char *content)
{
	struct config *config = NULL;
	struct buffer error = {0};
	char *path = write_file(content);
	cr_assert_eq(LOAD(&config, &error, path), SETT_OK, "%.*s", (int)error.size, (char *)error.data);
	unlink(path);
	buffer_free(&error);
	return config;
}

static void
keep_value(void *arg, struct bytes name, struct bytes value)
{
	struct buffer *buffer = arg;
	buffer_append(buffer, value.data, value.size);
	buffer_append(buffer, ";", 1);
}

static void
expect_value(struct config *config, const char *name, const char *expected)
{
	struct buffer got = {0};
	struct bytes pattern = bytes_of_string(name);
	config_get(config, &pattern, 1, keep_value, &got);
	buffer_append(&got, "", 1);
	cr_assert_str_eq((char *)got.data, expected, "%s is %s", name, (char *)got.data);
	buffer_free(&got);
}

static void
expect_load_error(const char *content, const char *expected)
{
	struct config *config = NULL;
	struct buffer error = {0};
	char *path = write_file(content);
	cr_assert_eq(LOAD(&config, &error, path), SETT_INVALID, "%s", content);
	unlink(path);
	buffer_append(&error, "", 1);
	cr_assert_str_eq((char *)error.data, expected);
	buffer_free(&error);
}
#define FATAL "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n"

static void
expect_set(struct config *config, const char *const *arguments, size_t count, const char *expected)
{
	struct bytes words[ARGUMENTS_MAX];
	struct buffer error = {0};
	for (size_t i = 0; i < count; i++)
		words[i] = bytes_of_string(arguments[i]);
	int status = config_set(config, words, count, &error);
	buffer_append(&error, "", 1);
	cr_assert_eq(status, expected ? SETT_INVALID : SETT_OK, "%s", (char *)error.data);
	if (expected != NULL)
		cr_assert_str_eq((char *)error.data, expected);
	buffer_free(&error);
}
#define SET(config, expected, ...)                        \
	expect_set(config, (const char *[]){__VA_ARGS__}, \
		   sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), expected)
#define FAILED(name) "ERR CONFIG SET failed (possibly related to argument '" name "') - "

Test(config, defaults)
{
	struct config *config = load_content("");
	cr_assert_eq(config->port, 6379);
	cr_assert_eq(config->databases, 16);
	cr_assert_eq(config->sync, CONFIG_SYNC_EVERYSEC);
	cr_assert_eq(config->log_level, LOG_LEVEL_NOTICE);
	cr_assert_eq(config->max_clients, 10000);
	cr_assert_eq(config->require_password.size, 0);
	cr_assert_null(config->unix_socket);
	cr_assert_str_eq(config->log_file, "");
	cr_assert(config->protected_mode && config->active_expire && !config->daemonize);
	cr_assert_float_eq(config->space_amplification_limit, 1.5, 1e-9);
	cr_assert_eq(config->value_threshold, 1024);
	cr_assert_eq(config->table_compression, SETT_COMPRESSION_LZ4);
	cr_assert_eq(config->bottom_compression, SETT_COMPRESSION_ZSTD);
	cr_assert_eq(config->value_compression, SETT_COMPRESSION_NONE);
	cr_assert_eq(config->compression_level, 1);
	cr_assert_gt(config_effective_memory(config), 0);
	expect_value(config, "bind", "* -::*;");
	expect_value(config, "client-output-buffer-limit",
		     "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60;");
	expect_value(config, "latency-tracking-info-percentiles", "50 99 99.9;");
	expect_value(config, "SLAVE-*-data", "yes;");
	expect_value(config, "use-exit-*", "");
	expect_value(config, "use-exit-on-panic", "no;");
	config_destroy(config);
}

Test(config, file_and_command_line)
{
	struct config *config = NULL;
	struct buffer error = {0};
	char *path = write_file("# c\nport 7000\nsave 1 2\nsave 3 4\nmaxmemory 1gb\n"
				"requirepass \"x\\x41 \\\"y\"\nunixsocketperm 770\nAppendFsync ALWAYS\n"
				"user default on nopass ~* &* +@all\n");
	cr_assert_eq(LOAD(&config, &error, path, "--port", "7001", "--hz", "600", "--slowlog-log-slower-than",
			  "-1", "--dir", "/tmp/"),
		     SETT_OK, "%.*s", (int)error.size, (char *)error.data);
	unlink(path);
	const struct config_user *user = config_users(config);
	cr_assert(user != NULL && user->next == NULL && user->words.count == 7 && user->line_number == 9);
	cr_assert(bytes_equal(user->words.items[1], BYTES_LITERAL("default")));
	cr_assert_eq(config->port, 7001);
	cr_assert(bytes_equal(config->require_password, BYTES_LITERAL("xA \"y")));
	cr_assert_eq(config->unix_socket_permission, 0770);
	cr_assert_eq(config->sync, CONFIG_SYNC_ALWAYS);
	cr_assert_eq(config_effective_memory(config), 1ULL << 30);
	cr_assert_eq(config->slowlog_slower_than, -1);
	cr_assert_str_eq(config->dir, "/tmp");
	expect_value(config, "save", "1 2 3 4;");
	const char *points = config->save;
	struct config_save_point point;
	cr_assert(config_next_save_point(&points, &point) && point.seconds == 1 && point.changes == 2);
	cr_assert(config_next_save_point(&points, &point) && point.seconds == 3 && point.changes == 4);
	cr_assert_not(config_next_save_point(&points, &point));
	expect_value(config, "hz", "500;");
	config_destroy(config);
	buffer_free(&error);
}

Test(config, save_without_value)
{
	struct config *config = NULL;
	struct buffer error = {0};
	cr_assert_eq(LOAD(&config, &error, "--save", "--port", "7002"), SETT_OK);
	expect_value(config, "save", ";");
	cr_assert_eq(config->port, 7002);
	config_destroy(config);
}

Test(config, include)
{
	char inner[64], outer[128];
	snprintf(inner, sizeof inner, "%s", write_file("port 7003\n"));
	snprintf(outer, sizeof outer, "port 1\ninclude %s\ninclude /nonexistent/*.conf\n", inner);
	struct config *config = load_content(outer);
	unlink(inner);
	cr_assert_eq(config->port, 7003);
	config_destroy(config);
	expect_load_error("include /nonexistent/x\n",
			  "Fatal error, can't open config file "
			  "'/nonexistent/x': No such file or directory\n");
}

Test(config, load_errors)
{
	expect_load_error("\n\nfoo bar\n",
			  FATAL "Reading the configuration file, at line 3\n>>> 'foo bar'\n"
				"Bad directive or wrong number of arguments\n");
	expect_load_error("hz abc\n",
			  FATAL "Reading the configuration file, at line 1\n>>> 'hz abc'\n"
				"argument couldn't be parsed into an integer\n");
	expect_load_error("hz 10 11",
			  FATAL "Reading the configuration file, at line 1\n>>> 'hz 10 11'\n"
				"wrong number of arguments\n");
	expect_load_error("port \"a\n",
			  FATAL "Reading the configuration file, at line 1\n>>> 'port \"a'\n"
				"Unbalanced quotes in configuration line\n");
	expect_load_error("save 1\n",
			  FATAL "Reading the configuration file, at line 1\n>>> 'save 1'\n"
				"Invalid save parameters\n");
	expect_load_error("unixsocketperm 7777\n",
			  FATAL "Reading the configuration file, at line 1\n>>> 'unixsocketperm 7777'\n"
				"argument must be between 0 and 777 inclusive\n");
	expect_load_error("replicaof a b\n",
			  FATAL "Reading the configuration file, at line 1\n"
				">>> 'replicaof a b'\nInvalid master port\n");
	expect_load_error("dir /nonexistent\n",
			  FATAL "Reading the configuration file, at line 1\n>>> 'dir /nonexistent'\n"
				"No such file or directory\n");
	/* Passwords are not repeated, whatever is wrong with the line. */
	expect_load_error("requirepass secret surplus\n",
			  FATAL "Reading the configuration file, at line 1\n"
				">>> 'requirepass (redacted)'\nwrong number of arguments\n");
	expect_load_error("'masterauth' \"secret\n",
			  FATAL "Reading the configuration file, at line 1\n"
				">>> ''masterauth (redacted)'\nUnbalanced quotes in configuration line\n");
}

Test(config, command_line_error)
{
	struct config *config = NULL;
	struct buffer error = {0};
	cr_assert_eq(LOAD(&config, &error, "--port", "7993", "--foo"), SETT_INVALID);
	buffer_append(&error, "", 1);
	cr_assert_str_eq((char *)error.data,
			 FATAL "Reading the configuration file, at line 3\n>>> 'foo'\n"
			       "Bad directive or wrong number of arguments\n");
	buffer_free(&error);
}

Test(config, set_errors)
{
	struct config *config = load_content("");
	SET(config, FAILED("port") "argument couldn't be parsed into an integer", "port", "abc");
	SET(config, FAILED("port") "argument must be between 0 and 65535 inclusive", "PORT", "70000");
	SET(config, FAILED("maxmemory") "argument must be a memory value", "maxmemory", "-1");
	SET(config, FAILED("maxmemory-clients") "percentage argument must be less or equal to 100",
	    "maxmemory-clients", "101%");
	SET(config, FAILED("maxmemory-clients") "argument must be a memory or percent value",
	    "maxmemory-clients", "x");
	SET(config, FAILED("appendfsync") "argument(s) must be one of the following: everysec, always, no",
	    "appendfsync", "foo");
	SET(config, FAILED("daemonize") "can't set immutable config", "daemonize", "yes");
	SET(config, FAILED("dir") "can't set protected config", "dir", "/tmp");
	SET(config, "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'", "hz", "10",
	    "nosuch", "1");
	SET(config, FAILED("hz") "duplicate parameter", "hz", "10", "hz", "11");
	SET(config,
	    FAILED("client-output-buffer-limit") "Invalid client class specified in buffer limit "
						 "configuration.",
	    "client-output-buffer-limit", "foo 1 2 3");
	SET(config, FAILED("oom-score-adj-values") "wrong number of arguments", "oom-score-adj-values",
	    "1 2");
	SET(config, FAILED("appendonly") "argument must be 'yes' or 'no'", "appendonly", "maybe");
	SET(config,
	    FAILED("notify-keyspace-events") "Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'.",
	    "notify-keyspace-events", "KQ");
	config_destroy(config);
}

Test(config, set_is_all_or_nothing)
{
	struct config *config = load_content("timeout 5\n");
	SET(config, FAILED("maxclients") "argument must be between 1 and 4294967295 inclusive", "timeout",
	    "9", "maxclients", "0");
	cr_assert_eq(config->timeout_seconds, 5);
	SET(config, NULL, "timeout", "9", "maxclients", "7", "appendfsync", "always");
	cr_assert_eq(config->timeout_seconds, 9);
	cr_assert_eq(config->max_clients, 7);
	cr_assert_eq(config->sync, CONFIG_SYNC_ALWAYS);
	SET(config, NULL, "client-output-buffer-limit", "replica 1mb 2mb 3");
	expect_value(config, "client-output-buffer-limit",
		     "normal 0 0 0 slave 1048576 2097152 3 pubsub 33554432 8388608 60;");
	cr_assert_eq(config->output_limits[CONFIG_CLIENT_NORMAL].hard, 0);
	cr_assert_eq(config->output_limits[CONFIG_CLIENT_REPLICA].hard, 1 << 20);
	cr_assert_eq(config->output_limits[CONFIG_CLIENT_REPLICA].soft, 2 << 20);
	cr_assert_eq(config->output_limits[CONFIG_CLIENT_REPLICA].soft_seconds, 3);
	cr_assert_eq(config->output_limits[CONFIG_CLIENT_PUBSUB].soft_seconds, 60);
	SET(config, NULL, "save", "100 10", "notify-keyspace-events", "KEA", "maxmemory-clients", "5%");
	expect_value(config, "save", "100 10;");
	expect_value(config, "notify-keyspace-events", "AKE;");
	expect_value(config, "maxmemory-clients", "5%;");
	SET(config, NULL, "requirepass", "secret");
	cr_assert(bytes_equal(config->require_password, BYTES_LITERAL("secret")));
	SET(config, NULL, "requirepass", "");
	cr_assert_eq(config->require_password.size, 0);
	config_destroy(config);
}

Test(config, every_value_can_be_given_back)
{
	struct config *config = load_content("enable-protected-configs yes\n");
	static const char *const names[] = {"maxmemory",           "save",   "bind", "port",
					    "oom-score-adj",       "dir",    "hz",   "loglevel",
					    "shutdown-on-sigterm", "slaveof"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct buffer value = {0};
		struct bytes name = bytes_of_string(names[i]);
		config_get(config, &name, 1, keep_value, &value);
		cr_assert_gt(value.size, 0);
		value.data[value.size - 1] = '\0';
		if (strcmp(names[i], "slaveof") == 0)
			SET(config, FAILED("slaveof") "can't set immutable config", names[i],
			    (char *)value.data);
		else
			SET(config, NULL, names[i], (char *)value.data);
		buffer_free(&value);
	}
	config_destroy(config);
}

Test(config, protected_for_local_clients)
{
	struct config *config = load_content("enable-protected-configs local\n");
	struct bytes words[] = {BYTES_LITERAL("dbfilename"), BYTES_LITERAL("x.rdb")};
	struct buffer error = {0};
	cr_assert_eq(config_set_from(config, words, 2, false, &error), SETT_INVALID);
	cr_assert_eq(config_set_from(config, words, 2, true, &error), SETT_OK);
	expect_value(config, "dbfilename", "x.rdb;");
	buffer_free(&error);
	config_destroy(config);
}

static void
count_call(void *arg)
{
	++*(int *)arg;
}

Test(config, listeners)
{
	struct config *config = load_content("");
	int calls = 0;
	cr_assert_eq(config_listen(config, "timeout", count_call, &calls), SETT_OK);
	cr_assert_eq(config_listen(config, "nosuch", count_call, &calls), SETT_INVALID);
	SET(config, NULL, "timeout", "9", "maxclients", "7");
	SET(config, NULL, "maxclients", "8");
	cr_assert_eq(calls, 1);
	config_destroy(config);
}

/* Sees all that one CONFIG SET is to change, and refuses some of it. */
static bool
allow_less_than(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	++*(int *)arg;
	snprintf(ret_reason, size, "too many");
	return planned->max_clients < 10 * planned->timeout_seconds;
}

Test(config, a_guard_sees_what_is_planned)
{
	struct config *config = load_content("timeout 1\n");
	int calls = 0;
	cr_assert_eq(config_guard(config, "maxclients", allow_less_than, &calls), SETT_OK);
	SET(config, "ERR CONFIG SET failed (possibly related to argument 'maxclients') - too many",
	    "maxclients", "20");
	cr_assert_eq(config->max_clients, 10000);
	SET(config, NULL, "maxclients", "20", "timeout", "3");
	cr_assert_eq(config->max_clients, 20);
	cr_assert_eq(calls, 2);
	SET(config, NULL, "maxclients", "20"); /* stays what it is */
	cr_assert_eq(calls, 2);
	config_destroy(config);
}

static bool
count_asked(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	++*(int *)arg;
	return true;
}

static void
count_told(void *arg)
{
	++*(int *)arg;
}

/* A certificate that is named again has to be read again. */
Test(config, files_are_read_anew_by_their_name_and_a_change_of_several_is_one)
{
	struct config *config = load_content("tls-cert-file a\n");
	static const char *const names[] = {"tls-cert-file", "tls-key-file", "tls-ciphers"};
	int asked = 0, told = 0;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(config_guard(config, names[i], count_asked, &asked), SETT_OK);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(config_listen(config, names[i], count_told, &told), SETT_OK);
	SET(config, NULL, "tls-cert-file", "b", "tls-key-file", "c", "tls-ciphers", "d");
	cr_assert_eq(asked, 1);
	cr_assert_eq(told, 1);
	cr_assert_str_eq(config->tls.cert_file, "b");
	cr_assert_str_eq(config->tls.key_file, "c");
	SET(config, NULL, "tls-cert-file", "b");
	cr_assert_eq(asked, 2);
	cr_assert_eq(told, 2);
	SET(config, NULL, "tls-ciphers", "d"); /* stays what it is */
	cr_assert_eq(asked, 2);
	config_destroy(config);
}

static void
keep_line(void *arg, enum log_level level, const char *line)
{
	struct buffer *buffer = arg;
	buffer_append(buffer, line, strlen(line));
	buffer_append(buffer, "\n", 1);
}

Test(config, what_has_no_effect_is_named)
{
	struct config *config =
		load_content("maxmemory-eviction-tenacity 50\nreplicaof no one\nsave \"\"\n"
			     "appendonly yes\nrdb-del-sync-files no\nactiverehashing yes\ntimeout 3\n");
	struct buffer lines = {0};
	struct log_sink sink = {keep_line, &lines};
	config_print_warnings(config, &sink);
	config_print_warnings(config, &sink);
	buffer_append(&lines, "", 1);
	cr_assert_str_eq(
		(char *)lines.data,
		"Directive 'maxmemory-eviction-tenacity': accepted, has no effect: keys are evicted on a "
		"thread of their own, beside the commands\n"
		"Directive 'appendonly': accepted, has no effect: every commit is in the server's own log: "
		"there is no AOF\n"
		"Accepted at their defaults, without effect here: activerehashing, rdb-del-sync-files\n");
	buffer_free(&lines);
	config_destroy(config);
}

/* The reason that is given for a line that must not load. */
static void
expect_load_refused(const char *line, const char *reason)
{
	struct config *config = NULL;
	struct buffer error = {0};
	char *path = write_file(line);
	cr_assert_eq(LOAD(&config, &error, path), SETT_INVALID, "%s", line);
	unlink(path);
	buffer_append(&error, "", 1);
	cr_assert_not_null(strstr((char *)error.data, reason), "%s: %s", line, (char *)error.data);
	buffer_free(&error);
}

Test(config, what_protects_and_would_not_is_refused)
{
	expect_load_refused("shutdown-on-sigint\n",
			    "argument(s) must be one of the following: default, save, nosave, now, force");
	expect_load_refused("loadmodule /usr/lib/module.so\n", "modules are not supported");
	struct config *config = load_content("tls-port 0\ncluster-enabled yes\naclfile \"\"\n");
	config_destroy(config);
}

/* REPLICAOF changes what the directive says; it is kept as the file would have it. */
Test(config, the_master_that_is_followed)
{
	struct config *config = load_content("slaveof some.host 6379\n");
	cr_assert_str_eq(config->replica_of, "some.host 6379");
	cr_assert_eq(config_note_replica_of(config, "", 0), SETT_OK);
	cr_assert_str_eq(config->replica_of, "");
	cr_assert_eq(config_note_replica_of(config, "::1", 65535), SETT_OK);
	cr_assert_str_eq(config->replica_of, "::1 65535");
	cr_assert_eq(config_note_replica_of(config, "::1", 65536), SETT_INVALID);
	cr_assert_str_eq(config->replica_of, "::1 65535");
	config_destroy(config);
	expect_load_refused("replicaof host 65536\n", "Invalid master port");
	expect_load_refused("replicaof host\n", "wrong number of arguments");
}

/* No row promises without an answer to what becomes of it. */
Test(config, every_row_works_or_says_that_it_does_not)
{
	for (size_t i = 0; i < directive_count; i++) {
		const struct directive *row = &directive_table[i];
		cr_assert(row->has_field || row->no_effect != NULL || row->refused != NULL, "%s", row->name);
		cr_assert(row->no_effect == NULL || row->refused == NULL, "%s", row->name);
	}
}

/* Whatever the file holds: an error or a configuration, never a crash. */
Test(config, any_bytes)
{
	static const char alphabet[] = "\"'\\ \n\tx0#a?*[]save port";
	unsigned seed = 1;
	for (int round = 0; round < 300; round++) {
		char text[48];
		size_t size = 0;
		for (; size < sizeof text - 1; size++) {
			seed = seed * 1103515245 + 12345;
			text[size] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
		}
		text[size] = '\0';
		struct config *config = NULL;
		struct buffer error = {0};
		char *path = write_file(text);
		int status = LOAD(&config, &error, path);
		cr_assert(status == SETT_OK || (status == SETT_INVALID && error.size > 0));
		if (status == SETT_OK)
			config_destroy(config);
		buffer_free(&error);
		unlink(path);
	}
}
