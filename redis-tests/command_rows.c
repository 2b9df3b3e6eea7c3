/*
 * The command table beside redis-server's:
 *
 *	command_rows SERVER REDIS_SERVER WAITING
 *
 * - COMMAND INFO and COMMAND DOCS of every command and subcommand are equal, but for the summaries, which are
 *   our own.
 * - COMMAND LIST by each ACL category gives the same commands, as far as we have them.
 * - Every command of redis-server is there, or in the file WAITING, which names the feature that it waits for.
 *   What redis-server does not have is newer than it, or Sett's own.
 * - A few commands have the form of a later version: their arity and arguments are not compared.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "server_process.h"

enum { TIMEOUT_MS = 180000, NAME_SIZE = 64, NEWEST_MAJOR = 7 };

struct side {
	const char *path;
	struct server_process *server;
	struct client *client;
	struct reply *names; /* COMMAND LIST */
};

static unsigned differences;

static void
differ(const char *name, const char *what)
{
	printf("%s: %s\n", name, what);
	differences++;
}

/* Exits on failure: nothing can be compared then. */
static struct reply *
ask(struct side *side, const char *subcommand, const char *a, const char *b, const char *c)
{
	struct reply *reply = client_command(side->client, "COMMAND", subcommand, a, b, c, NULL);
	if (reply == NULL) {
		fprintf(stderr, "%s: COMMAND %s: %s\n", side->path, subcommand, client_error(side->client));
		exit(1);
	}
	return reply;
}

static bool
open_side(struct side *side, int protocol)
{
	side->client = client_connect(server_process_port(side->server), TIMEOUT_MS);
	if (side->client == NULL)
		return false;
	struct reply *hello = client_command(side->client, "HELLO", protocol == 3 ? "3" : "2", NULL);
	bool good = hello != NULL && hello->type != '-';
	if (hello != NULL)
		reply_free(hello);
	if (good)
		side->names = ask(side, "LIST", NULL, NULL, NULL);
	return good;
}

static void
close_side(struct side *side)
{
	if (side->names != NULL)
		reply_free(side->names);
	if (side->client != NULL)
		client_close(side->client);
	side->names = NULL;
	side->client = NULL;
}

static bool
has(const struct reply *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->children[i]->text, name) == 0)
			return true;
	return false;
}

/* ---- rows ---- */

static void
expect_equal(const char *name, struct reply *ours, struct reply *theirs)
{
	reply_sort(ours, 1);
	reply_sort(theirs, 1);
	char *a = reply_render(ours), *b = reply_render(theirs);
	if (strcmp(a, b) != 0) {
		differ(name, "not as redis-server has it");
		printf("  ours:   %s\n  theirs: %s\n", a, b);
	}
	free(a);
	free(b);
}

/* COMMAND INFO of a container without its subcommands: we may not have all of them. */
static void
drop_subcommands(struct reply *info)
{
	if (info->count != 1 || info->children[0]->count != 10)
		return;
	struct reply *row = info->children[0];
	reply_free(row->children[--row->count]);
}

static const char *
text_after(const struct reply *pairs, const char *key)
{
	for (size_t i = 0; i + 1 < pairs->count; i += 2)
		if (pairs->children[i]->text != NULL && strcmp(pairs->children[i]->text, key) == 0)
			return pairs->children[i + 1]->text;
	return "";
}

static void
compare_docs(const char *name, struct reply *ours, struct reply *theirs)
{
	const char *summary = ours->count == 2 ? text_after(ours->children[1], "summary") : "";
	if (summary[0] == '\0')
		differ(name, "no summary");
	else if (theirs->count == 2 && strcmp(summary, text_after(theirs->children[1], "summary")) == 0)
		differ(name, "its summary is copied");
	static const char *const ignored[] = {"summary", "subcommands"};
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
		reply_remove(ours, ignored[i]);
		reply_remove(theirs, ignored[i]);
	}
	expect_equal(name, ours, theirs);
}

static bool
has_newer_form(const char *name)
{
	static const char *const names[] = {"zrank", "zrevrank", "script|kill", "function|kill", "exec"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Takes out of COMMAND INFO and COMMAND DOCS what a later version has changed. */
static void
drop_form(struct reply *info, struct reply *docs)
{
	if (info->count == 1 && info->children[0]->count > 1)
		info->children[0]->children[1]->integer = 0;
	reply_remove(docs, "arguments");
	reply_remove(docs, "history");
}

static void
compare_row(struct side *ours, struct side *theirs, const char *name)
{
	struct reply *a = ask(ours, "INFO", name, NULL, NULL), *b = ask(theirs, "INFO", name, NULL, NULL);
	struct reply *c = ask(ours, "DOCS", name, NULL, NULL), *d = ask(theirs, "DOCS", name, NULL, NULL);
	drop_subcommands(a);
	drop_subcommands(b);
	if (has_newer_form(name)) {
		drop_form(a, c);
		drop_form(b, d);
	}
	expect_equal(name, a, b);
	compare_docs(name, c, d);
	reply_free(a);
	reply_free(b);
	reply_free(c);
	reply_free(d);
}

/* A command that redis-server 7.0 lacks came later. */
static void
check_newer(struct side *ours, const char *name)
{
	struct reply *docs = ask(ours, "DOCS", name, NULL, NULL);
	const char *since = docs->count == 2 ? text_after(docs->children[1], "since") : "";
	char *end;
	long major = strtol(since, &end, 10), minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
	bool is_own = strncmp(since, "sett-", 5) == 0;
	if (!is_own && (major < NEWEST_MAJOR || (major == NEWEST_MAJOR && minor == 0)))
		differ(name, "redis-server has no such command");
	reply_free(docs);
}

static void
compare_rows(struct side *ours, struct side *theirs)
{
	for (size_t i = 0; i < ours->names->count; i++) {
		const char *name = ours->names->children[i]->text;
		if (has(theirs->names, name))
			compare_row(ours, theirs, name);
		else
			check_newer(ours, name);
	}
}

/* ---- categories ---- */

static void
compare_category(struct side *ours, struct side *theirs, const char *category)
{
	struct reply *a = ask(ours, "LIST", "FILTERBY", "ACLCAT", category);
	struct reply *b = ask(theirs, "LIST", "FILTERBY", "ACLCAT", category);
	if (b->count == 0)
		differ(category, "redis-server has no such category");
	for (size_t i = 0; i < a->count; i++)
		if (!has(b, a->children[i]->text) && has(theirs->names, a->children[i]->text))
			differ(a->children[i]->text, category);
	for (size_t i = 0; i < b->count; i++)
		if (!has(a, b->children[i]->text) && has(ours->names, b->children[i]->text))
			differ(b->children[i]->text, category);
	reply_free(a);
	reply_free(b);
}

static void
compare_categories(struct side *ours, struct side *theirs)
{
	static const char *const categories[] = {
		"keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
		"string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
		"fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
	};
	for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
		compare_category(ours, theirs, categories[i]);
}

/* ---- what waits ---- */

static void
add_words(struct reply *names, const char *line)
{
	for (line += strspn(line, " \n"); *line != '\0'; line += strspn(line, " \n")) {
		size_t size = strcspn(line, " \n");
		struct reply *name = reply_new('$');
		reply_append_text(name, line, size);
		reply_append_child(names, name);
		line += size;
	}
}

/* The names in the file as one list; exits if it can't be read. */
static struct reply *
read_waiting(const char *path)
{
	char line[1024];
	bool has_feature = false;
	struct reply *names = reply_new('*');
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof line, file) != NULL) {
		if (line[0] == '[')
			has_feature = true;
		else if (line[0] != '#')
			add_words(names, line);
		if (names->count > 0 && !has_feature)
			differ(path, "a name without a feature");
	}
	fclose(file);
	return names;
}

static void
check_waiting(const struct side *ours, const struct side *theirs, const char *path)
{
	struct reply *waiting = read_waiting(path);
	for (size_t i = 0; i < theirs->names->count; i++) {
		const char *name = theirs->names->children[i]->text;
		bool waits = has(waiting, name);
		if (has(ours->names, name) == waits)
			differ(name,
			       waits ? "waits, but is there" : "neither there nor waiting for a feature");
	}
	for (size_t i = 0; i < waiting->count; i++)
		if (!has(theirs->names, waiting->children[i]->text))
			differ(waiting->children[i]->text, "waits, but redis-server has no such command");
	reply_free(waiting);
}

int
main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER WAITING\n", argv[0]);
		return 2;
	}
	struct side ours = {.path = argv[1]}, theirs = {.path = argv[2]};
	ours.server = server_process_start(ours.path, NULL, NULL);
	theirs.server = server_process_start(theirs.path, NULL, NULL);
	if (ours.server == NULL || theirs.server == NULL)
		return 1;
	for (int protocol = 2; protocol <= 3; protocol++) {
		if (!open_side(&ours, protocol) || !open_side(&theirs, protocol)) {
			differ("HELLO", "no connection");
			break;
		}
		compare_rows(&ours, &theirs);
		compare_categories(&ours, &theirs);
		check_waiting(&ours, &theirs, argv[3]);
		printf("RESP%d: %zu of %zu commands, %u differences\n", protocol, ours.names->count,
		       theirs.names->count, differences);
		close_side(&ours);
		close_side(&theirs);
	}
	server_process_free(ours.server, false);
	server_process_free(theirs.server, false);
	return differences == 0 ? 0 : 1;
}
