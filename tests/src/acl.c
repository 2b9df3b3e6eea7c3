/* Users and rights: rules, what they allow, how they are described; passwords; files; what follows for clients. */
#include "acl/files.h"
#include "acl/password.h"
#include "keyspace/glob.h"
#include "server_support.h"
#include "storage/base/random.h"
#include "txn/rights.h"

#include <unistd.h>

static const int closed_channels, open_channels = 1;

static struct acl_users *
make_users(const int *channels)
{
	struct acl_users *users;
	struct log_sink silent = {0};
	cr_assert_eq(acl_users_create(&sett_commands, channels, silent, &users), SETT_OK);
	return users;
}

/* A new user with these rules, each a word; NULL if the last one is wrong in the way expected. */
static struct acl_user *
user_with(struct acl_users *users, const char *rules, enum acl_fault last)
{
	struct acl_terms terms = acl_terms_of(users);
	struct acl_user *user = acl_new_user(users, BYTES_LITERAL("u"));
	char copy[4096], *rest = copy, *rule;
	snprintf(copy, sizeof(copy), "%s", rules);
	while ((rule = strsep(&rest, ";")) != NULL) {
		enum acl_fault fault = acl_user_apply(user, &terms, bytes_of_string(rule));
		cr_assert_eq(fault, rest == NULL ? last : ACL_FINE, "%s: %s", rule, acl_fault_text(fault));
	}
	if (last == ACL_FINE)
		return user;
	acl_user_release(user);
	return NULL;
}

static void
expect_described(struct acl_users *users, const char *rules, const char *described)
{
	struct acl_terms terms = acl_terms_of(users);
	struct buffer text = {0};
	struct acl_user *user = user_with(users, rules, ACL_FINE);
	cr_assert_eq(acl_describe_user(user, &terms, &text), SETT_OK);
	cr_assert(bytes_equal(buffer_bytes(&text), bytes_of_string(described)), "%s: %.*s", rules,
		  (int)text.size, (const char *)text.data);
	/* A copy is the same. */
	struct acl_user *copy = acl_user_copy(user);
	buffer_clear(&text);
	cr_assert_eq(acl_describe_user(copy, &terms, &text), SETT_OK);
	cr_assert(bytes_equal(buffer_bytes(&text), bytes_of_string(described)));
	cr_assert_eq(copy->may_do_all, user->may_do_all);
	buffer_free(&text);
	acl_user_release(user);
	acl_user_release(copy);
}

Test(acl, rules_become_descriptions)
{
	struct acl_users *users = make_users(&closed_channels);
	expect_described(users, "", "off resetchannels -@all");
	expect_described(users, "on;nopass;~*;&*;+@all", "on nopass ~* &* +@all");
	expect_described(users, "reset;~a*;%R~b;%W~c;%RW~d;%w~b",
			 "off sanitize-payload ~a* ~b %W~c ~d resetchannels -@all");
	expect_described(users, "%R~b;%W~b;&x;&y*;&x", "off ~b resetchannels &x &y* -@all");
	expect_described(users, "+GET;+config|get;+select|0;+select|1;+select|0",
			 "off resetchannels -@all +get +select|0 +select|1 +config|get");
	expect_described(users, "+@all;-@dangerous", "off resetchannels +@all -@dangerous");
	expect_described(users, "+config;-config|set", "off resetchannels -@all +config -config|set");
	expect_described(users, "+select|0;-select", "off resetchannels -@all");
	expect_described(users, "(~a +get);( +@all -@all & );on",
			 "on resetchannels -@all (~a resetchannels -@all +get) (resetchannels & -@all)");
	expect_described(users, "(~a +get);clearselectors;skip-sanitize-payload",
			 "off skip-sanitize-payload resetchannels -@all");
	expect_described(users, "(\"~a)", "off resetchannels -@all (resetchannels -@all)");
	acl_users_destroy(users);
	users = make_users(&open_channels);
	expect_described(users, "(~a)", "off &* -@all (~a &* -@all)");
	expect_described(users, "resetchannels;reset", "off sanitize-payload &* -@all");
	acl_users_destroy(users);
}

/* What finds patterns among many forgets those that are reset. */
Test(acl, a_user_who_is_reset_gets_new_patterns)
{
	struct acl_users *users = make_users(&closed_channels);
	struct acl_user *user = user_with(users, "~a*;~b*;~c*;~d*;~e*;reset;~foo:*;+@all", ACL_FINE);
	struct bytes argv[] = {BYTES_LITERAL("get"), BYTES_LITERAL("foo:x")};
	const struct command *get = command_find(&sett_commands, argv, 2, NULL);
	size_t position;
	cr_assert_eq(acl_check(user, get, argv, 2, &position), ACL_ALLOWED);
	argv[1] = BYTES_LITERAL("ax");
	cr_assert_neq(acl_check(user, get, argv, 2, &position), ACL_ALLOWED);
	acl_user_release(user);
	acl_users_destroy(users);
}

static size_t
random_text(struct random *random, char *ret, size_t most, const char *letters)
{
	size_t size = 1 + random_below(random, most);
	for (size_t i = 0; i < size; i++)
		ret[i] = letters[random_below(random, strlen(letters))];
	return size;
}

/* The index of patterns finds what matching them one by one finds, however many they are. */
Test(acl, many_patterns_are_told_apart)
{
	enum { PATTERNS_MAX = 140, TEXT_MAX = 12 };
	struct acl_users *users = make_users(&closed_channels);
	struct random random;
	char rules[PATTERNS_MAX * (TEXT_MAX + 3) + 16], texts[PATTERNS_MAX][TEXT_MAX + 1], key[TEXT_MAX];
	size_t sizes[PATTERNS_MAX], position, allowed = 0, denied = 0;
	random_seed(&random, 7);
	for (size_t count = 1; count <= PATTERNS_MAX; count += 1 + count / 8) {
		size_t at = (size_t)snprintf(rules, sizeof(rules), "+get");
		for (size_t i = 0; i < count; i++) {
			sizes[i] = random_text(&random, texts[i], TEXT_MAX - 1, "abcaX:");
			if (random_below(&random, 3) > 0)
				texts[i][sizes[i]++] = '*';
			at += (size_t)snprintf(rules + at, sizeof(rules) - at, ";~%.*s", (int)sizes[i],
					       texts[i]);
		}
		struct acl_user *user = user_with(users, rules, ACL_FINE);
		for (int round = 0; round < 2000; round++) {
			struct bytes argv[] = {BYTES_LITERAL("get"), bytes_of(key, 0)};
			argv[1].size = random_text(&random, key, TEXT_MAX, "abcaX:");
			bool wanted = false;
			for (size_t i = 0; i < count && !wanted; i++)
				wanted = glob_match(bytes_of(texts[i], sizes[i]), argv[1], false);
			const struct command *get = command_find(&sett_commands, argv, 2, NULL);
			enum acl_answer answer = acl_check(user, get, argv, 2, &position);
			cr_assert_eq(answer == ACL_ALLOWED, wanted, "%zu patterns, %.*s", count,
				     (int)argv[1].size, key);
			allowed += wanted;
			denied += !wanted;
		}
		acl_user_release(user);
	}
	cr_assert(allowed > 1000 && denied > 1000);
	acl_users_destroy(users);
}

Test(acl, wrong_rules_are_refused)
{
	struct acl_users *users = make_users(&closed_channels);
	static const struct {
		const char *rules;
		enum acl_fault fault;
	} cases[] = {{"everything", ACL_SYNTAX},
		     {"%~a", ACL_SYNTAX},
		     {"%RR~a", ACL_SYNTAX},
		     {"%X~a", ACL_SYNTAX},
		     {"~a b", ACL_SYNTAX},
		     {"&a\tb", ACL_SYNTAX},
		     {"~*;~a", ACL_KEYS_ARE_OPEN},
		     {"allchannels;&a", ACL_CHANNELS_ARE_OPEN},
		     {"+nosuch", ACL_UNKNOWN_NAME},
		     {"+", ACL_UNKNOWN_NAME},
		     {"+|x", ACL_UNKNOWN_NAME},
		     {"-get|x", ACL_UNKNOWN_NAME},
		     {"+config|nosuch", ACL_UNKNOWN_NAME},
		     {"+config|get ~a)", ACL_UNKNOWN_NAME},
		     {"+get|a b", ACL_SYNTAX},
		     {"+@nosuch", ACL_UNKNOWN_NAME},
		     {"+get|", ACL_SYNTAX},
		     {"+config|get|x", ACL_FIRST_ARGUMENT_OF_SUBCOMMAND},
		     {"#abc", ACL_BAD_HASH},
		     {"<p", ACL_NO_SUCH_PASSWORD},
		     {">p;<q", ACL_NO_SUCH_PASSWORD},
		     {"(~a on)", ACL_SYNTAX},
		     {"(", ACL_SYNTAX}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		user_with(users, cases[i].rules, cases[i].fault);
	acl_users_destroy(users);
}

Test(acl, passwords)
{
	struct acl_users *users = make_users(&closed_channels);
	struct acl_user *user = user_with(
		users, "on;>one;>two;>one;#2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90",
		ACL_FINE); /* the last is "alice" */
	cr_assert_eq(user->password_count, 3);
	cr_assert_eq(password_check(user, BYTES_LITERAL("one")), SETT_OK);
	cr_assert_eq(password_check(user, BYTES_LITERAL("alice")), SETT_OK);
	cr_assert_eq(password_check(user, BYTES_LITERAL("on")), SETT_INVALID);
	cr_assert_eq(password_check(user, (struct bytes){0}), SETT_INVALID);
	acl_user_release(user);
	user = user_with(users, "on;>one;>two;<one", ACL_FINE);
	cr_assert_eq(password_check(user, BYTES_LITERAL("one")), SETT_INVALID);
	cr_assert_eq(password_check(user, BYTES_LITERAL("two")), SETT_OK);
	acl_user_release(user);
	user = user_with(users, "nopass;off", ACL_FINE);
	cr_assert_eq(password_check(user, BYTES_LITERAL("any")), SETT_INVALID);
	acl_user_release(user);
	acl_users_destroy(users);
}

/* What ACL LIST shows is what a file has: read again it is the same. */
Test(acl, a_file_keeps_all)
{
	struct acl_users *users = make_users(&closed_channels);
	char directory[] = "/tmp/sett-acl.XXXXXX";
	cr_assert_not_null(mkdtemp(directory));
	char name[] = "users.acl";
	struct config config = {.dir = directory, .acl_file = name};
	struct acl_set *present = acl_set_hold(users), *set = acl_set_copy(present), *again;
	struct buffer errors = {0}, before = {0}, after = {0};
	struct acl_user *user =
		user_with(users, "on;>p;%R~a*;&c;+@read;-get;+select|0;(~w +set);( +@all -@write)", ACL_FINE);
	cr_assert_eq(acl_set_put(set, user), SETT_OK);
	cr_assert_eq(acl_file_write(users, &config, set), SETT_OK);
	cr_assert_eq(acl_file_read(users, &config, present, &again, &errors), SETT_OK, "%.*s",
		     (int)errors.size, (const char *)errors.data);
	cr_assert_eq(acl_describe_set(users, set, &before), SETT_OK);
	cr_assert_eq(acl_describe_set(users, again, &after), SETT_OK);
	cr_assert(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
	/* The default user stays who he is, others are new. */
	cr_assert_eq(acl_set_find(again, BYTES_LITERAL("default"))->id,
		     acl_set_find(set, BYTES_LITERAL("default"))->id);
	cr_assert_neq(acl_set_find(again, BYTES_LITERAL("u"))->id, user->id);
	char path[64];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
	rmdir(directory);
	acl_set_release(set);
	acl_set_release(again);
	acl_set_release(present);
	buffer_free(&before);
	buffer_free(&after);
	buffer_free(&errors);
	acl_users_destroy(users);
}

/* ---- clients ---- */

#define NO_COMMAND(name) "-NOPERM this user has no permissions to run the '" name "' command"
#define NO_KEY "-NOPERM this user has no permissions to access one of the keys used as arguments"

Test(acl, rights_follow_the_user_at_once)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "ACL SETUSER u on >p ~a* +@all -flushall", "+OK");
	EXPECT(f, 1, "AUTH u p", "+OK");
	EXPECT(f, 1, "ACL WHOAMI", "$1\r\nu");
	EXPECT(f, 1, "SET a 1", "+OK");
	EXPECT(f, 1, "SET b 1", NO_KEY);
	EXPECT(f, 1, "FLUSHALL", NO_COMMAND("flushall"));
	EXPECT(f, 0, "ACL SETUSER u %R~b -set", "+OK");
	EXPECT(f, 1, "SET a 1", NO_COMMAND("set"));
	EXPECT(f, 1, "GET b", "$-1");
	EXPECT(f, 1, "APPEND b x", NO_KEY);
	EXPECT(f, 0, "ACL DELUSER u nosuch", ":1");
	EXPECT(f, 1, "GET a", "-NOAUTH Authentication required.");
	cr_assert(f->clients[1].close_after_reply);
	/* Another one of the same name is another one. */
	EXPECT(f, 0, "ACL SETUSER v on nopass +@all ~*", "+OK");
	EXPECT(f, 2, "AUTH v x", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "ACL DELUSER v", "+QUEUED");
	EXPECT(f, 0, "ACL SETUSER v on nopass +@all ~*", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*2\r\n:1\r\n+OK");
	EXPECT(f, 2, "GET a", "-NOAUTH Authentication required.");
	fixture_close(f);
}

/* A block sees the users as it has made them; what it made is dropped with it. */
Test(acl, blocks)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "ACL SETUSER u on nopass ~* +@all", "+OK");
	EXPECT(f, 1, "AUTH u p", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "GET a", "+QUEUED");
	EXPECT(f, 1, "ACL SETUSER u -get", "+QUEUED");
	EXPECT(f, 1, "GET a", "+QUEUED");
	EXPECT(f, 1, "ACL SETUSER u +get", "+QUEUED");
	EXPECT(f, 1, "GET a", "+QUEUED");
	EXPECT(f, 1, "EXEC",
	       "*5\r\n$-1\r\n+OK\r\n-NOPERM ACLs rules changed between the moment the transaction was "
	       "accumulated "
	       "and the EXEC call. This command is no longer allowed for the following reason: no permission "
	       "to "
	       "execute the command or subcommand\r\n+OK\r\n$-1");
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 0, "SET k 1", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "ACL DELUSER u", "+QUEUED");
	EXPECT(f, 1, "EXEC", "*-1");
	EXPECT(f, 1, "ACL WHOAMI", "$1\r\nu");
	/* AUTH counts for what follows in the block, and after it. */
	EXPECT(f, 0, "ACL SETUSER w on nopass +get ~k", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "AUTH w x", "+QUEUED");
	EXPECT(f, 1, "GET k", "+QUEUED");
	EXPECT(f, 1, "ACL WHOAMI", "+QUEUED");
	fixture_run_line(f, 1, "EXEC");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "$1\r\n1\r\n-NOPERM ACLs rules changed", 30));
	EXPECT(f, 1, "GET a", NO_KEY);
	fixture_close(f);
}

Test(acl, scripts_have_the_rights_of_who_runs_them)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "ACL SETUSER u on nopass ~a +eval +get +set -@dangerous", "+OK");
	EXPECT(f, 1, "AUTH u p", "+OK");
	struct bytes denied[] = {BYTES_LITERAL("EVAL"), BYTES_LITERAL("return redis.pcall('get','b').err"),
				 BYTES_LITERAL("0")};
	struct bytes asked[] = {
		BYTES_LITERAL("EVAL"),
		BYTES_LITERAL("return {redis.acl_check_cmd('get','a'), redis.acl_check_cmd('get','b'), "
			      "redis.acl_check_cmd('del','a')}"),
		BYTES_LITERAL("0")};
	fixture_run(f, 1, 3, denied);
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "can't access at least one of the keys", 37));
	fixture_run(f, 1, 3, asked);
	cr_assert_eq(memcmp(f->reply.data, "*3\r\n:1\r\n$-1\r\n$-1\r\n", 18), 0, "%.*s", (int)f->reply.size,
		     (const char *)f->reply.data);
	fixture_run_line(f, 0, "ACL LOG");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "$3\r\nlua\r\n", 9));
	fixture_close(f);
}

/* The log outlives its clients. */
Test(acl, the_log_cuts_the_names_of_clients)
{
	enum { SIZE = 100000 };
	struct fixture *f = fixture_open();
	char *name = malloc(SIZE);
	cr_assert_not_null(name);
	memset(name, 'n', SIZE);
	EXPECT(f, 0, "ACL SETUSER u on nopass ~a +get", "+OK");
	EXPECT(f, 1, "AUTH u p", "+OK");
	cr_assert_eq(buffer_append(&f->clients[1].name, name, SIZE), SETT_OK);
	fixture_run_line(f, 1, "GET b");
	fixture_run_line(f, 0, "ACL LOG");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "name=nnn", 8));
	cr_assert_lt(f->reply.size, 4096);
	buffer_free(&f->clients[1].name);
	free(name);
	fixture_close(f);
}
