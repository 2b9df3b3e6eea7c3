/*
 * The script runner. A line is parsed once, then run on the reference, then on the subject; the two rendered
 * replies are compared after what the modifiers say has been done to both.
 */
#include "script.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "resp/parser.h"
#include "server_process.h"

#define CONNECTIONS 10
#define ARGUMENTS_MAX 256
#define VARIABLES 16
#define TIMEOUT_MS 180000
#define STOP_TIMEOUT_MS 180000
#define POLL_SECONDS 120
/* Differences printed per run; further ones are counted. */
#define SHOWN_MAX 400

struct modifiers {
	bool ignore, type, sorted, deep, numbers, keys, send, read, raw, closed;
	long long near;
	char save[32];
	char poll[256];
	char without[4][32];
	size_t without_count;
};

struct line {
	const char *file;
	size_t number;
	char text[65536]; /* as written, for messages */
	struct modifiers modifiers;
	size_t connection;
	uint8_t bytes[65536]; /* the command, unescaped in place */
	struct resp_argument arguments[ARGUMENTS_MAX];
	size_t argc;
};

struct variable {
	char name[32];
	char value[256];
};

/* One of the two servers, with our connections to it. */
struct side {
	const char *name;
	struct server_process *server;
	void *connections[CONNECTIONS];
	struct variable variables[VARIABLES];
};

struct runner {
	const struct script_backend *backend;
	int protocol;
	struct side reference, subject;
	size_t commands;
	size_t differences;
	bool dead;
};

static struct reply *
error_reply(const char *text)
{
	struct reply *reply = reply_new('-');

	reply_append_text(reply, "(", 1);
	reply_append_text(reply, text, strlen(text));
	reply_append_text(reply, ")", 1);
	return reply;
}

static void
close_connections(struct runner *runner, struct side *side)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (side->connections[i] != NULL)
			runner->backend->close(side->connections[i]);
		side->connections[i] = NULL;
	}
}

static void *
connection_of(struct runner *runner, struct side *side, size_t number)
{
	static const char *const hello[] = {"HELLO", "3"};
	void *connection = side->connections[number];

	if (connection != NULL)
		return connection;
	connection = runner->backend->open(server_process_port(side->server), TIMEOUT_MS);
	/* The reply may be NOAUTH: then the script says HELLO itself. */
	if (connection != NULL && runner->protocol == 3 && runner->backend->send(connection, 2, hello, NULL))
		reply_free(runner->backend->read(connection));
	side->connections[number] = connection;
	return connection;
}

static struct reply *
read_reply(struct runner *runner, struct side *side, size_t number)
{
	void *connection = side->connections[number];
	struct reply *reply = runner->backend->read(connection);

	if (reply != NULL)
		return reply;
	const char *error = runner->backend->error(connection);
	reply = error_reply(error);
	/* That both do not answer is no likeness: the line waits for a reply that does not come. */
	if (strcmp(error, "timeout") == 0) {
		printf("connection %zu: no reply of the %s\n", number, side->name);
		runner->differences++;
	}
	runner->backend->close(connection);
	side->connections[number] = NULL;
	return reply;
}

static const char *
variable_of(const struct side *side, const char *name, size_t size)
{
	for (size_t i = 0; i < VARIABLES; i++) {
		if (strlen(side->variables[i].name) == size &&
		    memcmp(side->variables[i].name, name, size) == 0)
			return side->variables[i].value;
	}
	return "";
}

static void
save_variable(struct side *side, const char *name, const struct reply *reply)
{
	size_t i = 0;

	while (i < VARIABLES - 1 && side->variables[i].name[0] != '\0' &&
	       strcmp(side->variables[i].name, name) != 0)
		i++;
	snprintf(side->variables[i].name, sizeof(side->variables[i].name), "%s", name);
	if (reply->type == ':')
		snprintf(side->variables[i].value, sizeof(side->variables[i].value), "%lld",
			 (long long)reply->integer);
	else
		snprintf(side->variables[i].value, sizeof(side->variables[i].value), "%s",
			 reply->text != NULL ? reply->text : "");
}

/* Appends what ${...} stands for: a value that was saved, or "x*100", a hundred times x. */
static void
append_value(const struct side *side, const char *name, size_t size, struct reply *text)
{
	char piece[4096];
	if (size < 3 || name[1] != '*') {
		const char *value = variable_of(side, name, size);
		reply_append_text(text, value, strlen(value));
		return;
	}
	memset(piece, name[0], sizeof(piece));
	for (size_t left = strtoull(name + 2, NULL, 10); left > 0;) {
		size_t part = left < sizeof(piece) ? left : sizeof(piece);
		reply_append_text(text, piece, part);
		left -= part;
	}
}

/* The argument with its ${...} replaced; to be freed. */
static char *
substitute(const struct side *side, const uint8_t *data, size_t size, size_t *ret_size)
{
	struct reply *text = reply_new('$');
	size_t at = 0;

	reply_append_text(text, "", 0);
	while (at < size) {
		const uint8_t *brace = at + 1 < size && data[at] == '$' && data[at + 1] == '{'
			? memchr(data + at, '}', size - at)
			: NULL;
		if (brace == NULL) {
			reply_append_text(text, data + at, 1);
			at++;
			continue;
		}
		append_value(side, (const char *)data + at + 2, (size_t)(brace - data) - at - 2, text);
		at = (size_t)(brace - data) + 1;
	}
	char *result = text->text;
	*ret_size = text->size;
	text->text = NULL;
	reply_free(text);
	return result;
}

static bool
send_line(struct runner *runner, struct side *side, const struct line *line, void *connection)
{
	char *argv[ARGUMENTS_MAX];
	size_t sizes[ARGUMENTS_MAX];
	bool sent;

	for (size_t i = 0; i < line->argc; i++)
		argv[i] = substitute(side, line->bytes + line->arguments[i].offset, line->arguments[i].size,
				     &sizes[i]);
	if (line->modifiers.raw)
		sent = line->argc == 1 && runner->backend->send_raw(connection, argv[0], sizes[0]);
	else
		sent = runner->backend->send(connection, line->argc, (const char *const *)argv, sizes);
	for (size_t i = 0; i < line->argc; i++)
		free(argv[i]);
	return sent;
}

/* Runs the line on one side. NULL: there is nothing to compare. */
static struct reply *
run_once(struct runner *runner, struct side *side, const struct line *line)
{
	const struct modifiers *modifiers = &line->modifiers;
	void *connection = connection_of(runner, side, line->connection);

	if (connection == NULL)
		return error_reply("cannot connect");
	if (modifiers->closed || modifiers->read)
		return read_reply(runner, side, line->connection);
	if (!send_line(runner, side, line, connection)) {
		struct reply *reply = error_reply(runner->backend->error(connection));
		runner->backend->close(connection);
		side->connections[line->connection] = NULL;
		return reply;
	}
	return modifiers->send ? NULL : read_reply(runner, side, line->connection);
}

static bool
poll_reached(const struct line *line, const struct reply *reply)
{
	char *text = reply_render(reply);
	bool there = strncmp(text, line->modifiers.poll, strlen(line->modifiers.poll)) == 0;

	free(text);
	return there;
}

static struct reply *
run_side(struct runner *runner, struct side *side, const struct line *line)
{
	struct reply *reply = run_once(runner, side, line);

	if (line->modifiers.poll[0] != '\0' && reply != NULL) {
		time_t end = time(NULL) + POLL_SECONDS;
		bool there = poll_reached(line, reply);
		while (!there && time(NULL) < end) {
			reply_free(reply);
			reply = run_once(runner, side, line);
			there = poll_reached(line, reply);
		}
		if (!there) {
			printf("%s:%zu: never so on the %s\n", line->file, line->number, side->name);
			runner->differences++;
		}
	}
	if (reply != NULL && line->modifiers.save[0] != '\0')
		save_variable(side, line->modifiers.save, reply);
	return reply;
}

static bool
same_type(const struct reply *a, const struct reply *b)
{
	if (a->type != b->type || a->header != b->header)
		return false;
	if (a->type != '-')
		return true;
	size_t code = strcspn(a->text, " ");
	return code == strcspn(b->text, " ") && memcmp(a->text, b->text, code) == 0;
}

static bool
same(struct reply *a, struct reply *b, const struct modifiers *modifiers)
{
	if (modifiers->ignore)
		return true;
	if (modifiers->type || modifiers->save[0] != '\0')
		return same_type(a, b);
	if (modifiers->near > 0 && a->type == ':' && b->type == ':' && a->integer >= 0 && b->integer >= 0)
		return llabs((long long)(a->integer - b->integer)) <= modifiers->near;
	for (size_t i = 0; i < modifiers->without_count; i++) {
		reply_remove(a, modifiers->without[i]);
		reply_remove(b, modifiers->without[i]);
	}
	if (modifiers->keys) {
		reply_keep_keys(a);
		reply_keep_keys(b);
	}
	if (modifiers->numbers) {
		reply_hide_numbers(a);
		reply_hide_numbers(b);
	}
	if (modifiers->sorted || modifiers->deep) {
		reply_sort(a, modifiers->deep);
		reply_sort(b, modifiers->deep);
	}
	char *text_a = reply_render(a);
	char *text_b = reply_render(b);
	bool equal = strcmp(text_a, text_b) == 0;
	free(text_a);
	free(text_b);
	return equal;
}

static void
show_difference(struct runner *runner, const struct line *line, const struct reply *a, const struct reply *b)
{
	if (++runner->differences > SHOWN_MAX)
		return;
	char *text_a = reply_render(a);
	char *text_b = reply_render(b);
	printf("%s:%zu (RESP%d): %s\n  reference: %s\n  subject:   %s\n", line->file, line->number,
	       runner->protocol, line->text, text_a, text_b);
	free(text_a);
	free(text_b);
}

static void
run_line(struct runner *runner, const struct line *line)
{
	struct reply *a = run_side(runner, &runner->reference, line);
	struct reply *b = run_side(runner, &runner->subject, line);

	runner->commands++;
	if (a != NULL && b != NULL && !same(a, b, &line->modifiers))
		show_difference(runner, line, a, b);
	else if ((a == NULL) != (b == NULL))
		show_difference(runner, line, a != NULL ? a : b, b != NULL ? b : a);
	else if (line->modifiers.closed && a != NULL &&
		 strcmp(a->text != NULL ? a->text : "", "(closed)") != 0)
		show_difference(runner, line, a, b);
	reply_free(a);
	reply_free(b);
	if (!server_process_alive(runner->subject.server) ||
	    !server_process_alive(runner->reference.server)) {
		printf("%s:%zu: %s: a server has ended\n", line->file, line->number, line->text);
		runner->differences++;
		runner->dead = true;
	}
}

/* One "[word value]" at text; returns what is behind it, NULL if it is not known. */
static char *
parse_modifier(char *text, struct modifiers *modifiers)
{
	static const struct {
		const char *name;
		size_t offset;
	} flags[] = {{"ignore", offsetof(struct modifiers, ignore)},
		     {"type", offsetof(struct modifiers, type)},
		     {"sorted", offsetof(struct modifiers, sorted)},
		     {"deep", offsetof(struct modifiers, deep)},
		     {"numbers", offsetof(struct modifiers, numbers)},
		     {"keys", offsetof(struct modifiers, keys)},
		     {"send", offsetof(struct modifiers, send)},
		     {"read", offsetof(struct modifiers, read)},
		     {"raw", offsetof(struct modifiers, raw)},
		     {"closed", offsetof(struct modifiers, closed)}};
	char *end = strchr(text, ']');
	char word[300];

	if (end == NULL || (size_t)(end - text) > sizeof(word))
		return NULL;
	snprintf(word, sizeof(word), "%.*s", (int)(end - text - 1), text + 1);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(word, flags[i].name) == 0) {
			*((bool *)modifiers + flags[i].offset) = true;
			return end + 1;
		}
	}
	if (strncmp(word, "near ", 5) == 0)
		modifiers->near = strtoll(word + 5, NULL, 10);
	else if (strncmp(word, "save ", 5) == 0)
		snprintf(modifiers->save, sizeof(modifiers->save), "%.31s", word + 5);
	else if (strncmp(word, "poll ", 5) == 0)
		snprintf(modifiers->poll, sizeof(modifiers->poll), "%.255s", word + 5);
	else if (strncmp(word, "without ", 8) == 0 && modifiers->without_count < 4)
		snprintf(modifiers->without[modifiers->without_count++], 32, "%.31s", word + 8);
	else
		return NULL;
	return end + 1;
}

/* Returns 1 for a command, 0 for nothing to do, -1 for a line that makes no sense. */
static int
parse_line(struct line *line)
{
	struct resp_parser parser;
	char *text = line->text;

	memset(&line->modifiers, 0, sizeof(line->modifiers));
	line->connection = 0;
	line->argc = 0;
	text[strcspn(text, "\r\n")] = '\0';
	text += strspn(text, " \t");
	if (*text == '\0' || *text == '#')
		return 0;
	if (text[0] == '@' && text[1] >= '0' && text[1] <= '9') {
		line->connection = (size_t)(text[1] - '0');
		text += 2;
	}
	for (text += strspn(text, " \t"); *text == '['; text += strspn(text, " \t")) {
		text = parse_modifier(text, &line->modifiers);
		if (text == NULL)
			return -1;
	}
	if (line->modifiers.read || line->modifiers.closed)
		return *text == '\0' ? 1 : -1;
	int size = snprintf((char *)line->bytes, sizeof(line->bytes), "%s\n", text);
	resp_parser_init(&parser);
	parser.arguments = line->arguments;
	parser.argument_capacity = ARGUMENTS_MAX;
	if (resp_parse(&parser, line->bytes, (size_t)size) != RESP_REQUEST || parser.argc == 0)
		return -1;
	line->argc = parser.argc;
	return 1;
}

static void
flush_side(struct runner *runner, struct side *side)
{
	static const char *const flushall[] = {"FLUSHALL"};
	void *connection;

	close_connections(runner, side);
	memset(side->variables, 0, sizeof(side->variables));
	connection = connection_of(runner, side, 0);
	if (connection != NULL && runner->backend->send(connection, 1, flushall, NULL))
		reply_free(runner->backend->read(connection));
	close_connections(runner, side);
}

static void
run_file(struct runner *runner, const char *path)
{
	struct line *line = calloc(1, sizeof(*line));
	FILE *file = fopen(path, "r");
	const char *slash = strrchr(path, '/');

	if (file == NULL || line == NULL) {
		printf("%s: %s\n", path, strerror(errno));
		runner->differences++;
		goto out;
	}
	line->file = slash != NULL ? slash + 1 : path;
	flush_side(runner, &runner->reference);
	flush_side(runner, &runner->subject);
	while (!runner->dead && fgets(line->text, sizeof(line->text), file) != NULL) {
		line->number++;
		int kind = parse_line(line);
		if (kind > 0) {
			run_line(runner, line);
		} else if (kind < 0) {
			printf("%s:%zu: what is this? %s\n", line->file, line->number, line->text);
			runner->differences++;
		}
	}
out:
	if (file != NULL)
		fclose(file);
	free(line);
}

/* It must end cleanly when asked to; a sanitizer has its say then. */
static void
stop_subject(struct runner *runner)
{
	int status = server_process_stop(runner->subject.server, SIGTERM, STOP_TIMEOUT_MS);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	printf("SIGTERM: wait status %d\n", status);
	runner->differences++;
	runner->dead = true;
}

bool
script_run(const struct script_backend *backend, int protocol, const char *subject, const char *reference,
	   const char *const *files, size_t file_count)
{
	struct runner runner = {.backend = backend,
				.protocol = protocol,
				.reference.name = "reference",
				.subject.name = "subject"};

	runner.reference.server = server_process_start(reference, NULL, NULL);
	runner.subject.server = server_process_start(subject, NULL, NULL);
	if (runner.reference.server == NULL || runner.subject.server == NULL) {
		runner.differences++;
	} else {
		for (size_t i = 0; i < file_count && !runner.dead; i++)
			run_file(&runner, files[i]);
		close_connections(&runner, &runner.reference);
		close_connections(&runner, &runner.subject);
	}
	if (runner.subject.server != NULL && !runner.dead)
		stop_subject(&runner);
	printf("RESP%d: %zu commands, %zu differences\n", protocol, runner.commands, runner.differences);
	server_process_free(runner.reference.server, false);
	server_process_free(runner.subject.server, runner.dead);
	return runner.differences == 0;
}
