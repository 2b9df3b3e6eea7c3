/* Reads directives at start: defaults, then the file with what it includes, then standard input, then the
 * command line. As in Redis, the command line is turned into lines that follow the file's, so that one reader
 * and one wording of errors serve all.
 *
 * Lines that stand for several directives at once, or for something that is no directive, are handled here:
 * include, user, rename-command, loadmodule. Nothing is half loaded: a configuration with an error is
 * destroyed. */
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>

#include "config/directive.h"
#include "config/words.h"

enum { INCLUDE_DEPTH_MAX = 16, FILE_SIZE_MAX = 64 << 20, LINE_SHOWN_MAX = 1024, NOTE_LINE_SIZE = 700 };

struct loader {
	struct config *config;
	struct buffer *ret_error;
	int depth;
};

static int __attribute__((format(printf, 2, 3))) say(struct buffer *buffer, const char *format, ...)
{
	char text[LINE_SHOWN_MAX + DIRECTIVE_REASON_SIZE + 256];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size < 0)
		return SETT_NO_MEMORY;
	return buffer_append(buffer, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

/* Whether a line may hold a password. It need not be one that can be parsed. */
static bool
line_has_secret(struct bytes line, size_t *ret_name_size)
{
	size_t start = 0, end;
	while (start < line.size && strchr("\"'", line.data[start]) != NULL)
		start++;
	for (end = start; end < line.size && strchr(" \t\"'", line.data[end]) == NULL; end++) {
	}
	struct bytes name = bytes_of(line.data + start, end - start);
	*ret_name_size = end;
	return config_directive_is_sensitive(name) ||
		(name.size == 4 && strncasecmp((const char *)name.data, "user", 4) == 0);
}

int
config_refuse_line(struct buffer *ret_error, size_t line_number, struct bytes line, const char *reason)
{
	buffer_clear(ret_error);
	int status = say(ret_error, "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n");
	size_t shown = line.size < LINE_SHOWN_MAX ? line.size : LINE_SHOWN_MAX, name_size;
	bool secret = line_has_secret(line, &name_size);
	if (secret && name_size < shown)
		shown = name_size;
	if (status == SETT_OK && line_number > 0)
		status = say(ret_error, "Reading the configuration file, at line %zu\n>>> '%.*s%s'\n",
			     line_number, (int)shown, (const char *)line.data, secret ? " (redacted)" : "");
	if (status == SETT_OK)
		status = say(ret_error, "%s\n", reason);
	return status == SETT_OK ? SETT_INVALID : status;
}

static int
fail_line(struct loader *loader, size_t line_number, struct bytes line, const char *reason)
{
	return config_refuse_line(loader->ret_error, line_number, line, reason);
}

static bool
word_is(struct bytes word, const char *text)
{
	return word.size == strlen(text) && strncasecmp((const char *)word.data, text, word.size) == 0;
}

static int load_text(struct loader *, struct bytes text);

/* ---- files ---- */

static int
read_stream(FILE *file, struct buffer *ret)
{
	char piece[4096];
	size_t got;
	while ((got = fread(piece, 1, sizeof piece, file)) > 0) {
		if (ret->size + got > FILE_SIZE_MAX)
			return SETT_TOO_LARGE;
		int status = buffer_append(ret, piece, got);
		if (status != SETT_OK)
			return status;
	}
	return ferror(file) ? SETT_IO : SETT_OK;
}

static int
read_file(struct loader *loader, const char *path, struct buffer *ret)
{
	errno = 0;
	FILE *file = fopen(path, "re");
	int status = file == NULL ? SETT_IO : read_stream(file, ret);
	int saved_errno = errno;
	if (file != NULL)
		fclose(file);
	if (status == SETT_OK || status == SETT_NO_MEMORY)
		return status;
	buffer_clear(loader->ret_error);
	const char *why = status == SETT_TOO_LARGE ? "File too large" : strerror(saved_errno);
	status = say(loader->ret_error, "Fatal error, can't open config file '%s': %s\n", path, why);
	return status == SETT_OK ? SETT_INVALID : status;
}

static int
include_file(struct loader *loader, const char *path)
{
	struct buffer text = {0};
	int status = read_file(loader, path, &text);
	if (status == SETT_OK)
		status = load_text(loader, buffer_bytes(&text));
	buffer_free(&text);
	return status;
}

/* A pattern may match nothing; a plain name must be there. */
static int
include(struct loader *loader, struct bytes name)
{
	char path[PATH_MAX];
	if (name.size == 0 || name.size >= sizeof path)
		return SETT_INVALID;
	memcpy(path, name.data, name.size);
	path[name.size] = '\0';
	if (loader->depth == INCLUDE_DEPTH_MAX) {
		buffer_clear(loader->ret_error);
		int status = say(loader->ret_error,
				 "Fatal error, config files include each other too deeply at '%s'\n", path);
		return status == SETT_OK ? SETT_INVALID : status;
	}
	if (strpbrk(path, "*?[") == NULL) {
		loader->depth++;
		int status = include_file(loader, path);
		loader->depth--;
		return status;
	}
	glob_t found;
	int status = SETT_OK;
	if (glob(path, 0, NULL, &found) != 0)
		return SETT_OK;
	loader->depth++;
	for (size_t i = 0; i < found.gl_pathc && status == SETT_OK; i++)
		status = include_file(loader, found.gl_pathv[i]);
	loader->depth--;
	globfree(&found);
	return status;
}

/* ---- lines ---- */

static int
append_bytes(struct buffer *buffer, struct bytes bytes)
{
	return buffer_append(buffer, bytes.data, bytes.size);
}

static int
keep_rename(struct config_private *private, const struct words *words, size_t line_number, struct bytes line)
{
	struct config_rename *rename = calloc(1, sizeof *rename);
	if (rename == NULL)
		return SETT_NO_MEMORY;
	*private->last_rename = rename; /* config_destroy frees it whatever happens */
	private->last_rename = &rename->next;
	rename->line_number = line_number;
	int status = append_bytes(&rename->line, line);
	if (status == SETT_OK)
		status = append_bytes(&rename->from, words->items[1]);
	return status == SETT_OK ? append_bytes(&rename->to, words->items[2]) : status;
}

/* Takes the words over. */
static int
keep_user(struct config_private *private, struct words *words, size_t line_number, struct bytes line)
{
	struct config_user *user = calloc(1, sizeof *user);
	if (user == NULL)
		return SETT_NO_MEMORY;
	*private->last_user = user; /* config_destroy frees it whatever happens */
	private->last_user = &user->next;
	user->words = *words;
	*words = (struct words){0};
	user->line_number = line_number;
	return append_bytes(&user->line, line);
}

/* Lines that are no directive; `ret_reason` is left NULL if the line was taken. False if it is none of them.
 */
static bool
load_other(struct loader *loader, struct words *words, size_t line_number, struct bytes line,
	   const char **ret_reason, int *ret_status)
{
	struct bytes name = words->items[0];
	*ret_status = SETT_OK;
	if (word_is(name, "include") && words->count == 2)
		*ret_status = include(loader, words->items[1]);
	else if (word_is(name, "user") && words->count >= 2)
		*ret_status = keep_user(loader->config->private, words, line_number, line);
	else if (word_is(name, "rename-command") && words->count == 3)
		*ret_status = keep_rename(loader->config->private, words, line_number, line);
	else if (word_is(name, "loadmodule") && words->count >= 2)
		*ret_reason = "modules are not supported";
	else if (word_is(name, "list-max-ziplist-entries") || word_is(name, "list-max-ziplist-value"))
		return words->count == 2;
	else if (word_is(name, "sentinel"))
		*ret_reason = "sentinel directive while not in sentinel mode";
	else
		return false;
	return true;
}

static int
load_directive(struct loader *loader, int index, const struct words *words, char *reason)
{
	const struct directive *row = &directive_table[index];
	struct config_private *private = loader->config->private;
	struct directive_value value = {0};
	struct words split = {0};
	const struct bytes *items = words->items + 1;
	size_t count = words->count - 1;
	/* One quoted word may hold what else would be several. */
	if ((row->flags & DIRECTIVE_MULTIPLE) && count == 1 && items[0].size > 0) {
		int status = words_split(items[0], &split);
		if (status == SETT_NO_MEMORY)
			return status;
		if (status == SETT_OK) {
			items = split.items;
			count = split.count;
		}
	}
	bool append = (row->flags & DIRECTIVE_CUMULATIVE) && private->given[index];
	int status = directive_parse(row, items, count, &private->values[index], append, &value, reason);
	words_free(&split);
	if (status == SETT_OK && config_refuses(loader->config, index, &value, reason)) {
		directive_value_free(&value);
		status = SETT_INVALID;
	}
	if (status != SETT_OK)
		return status;
	private->given[index] = true;
	config_store(loader->config, index, &value);
	return SETT_OK;
}

static struct bytes
trim(struct bytes line)
{
	static const char blanks[] = " \t\r\n";
	while (line.size > 0 && memchr(blanks, line.data[0], sizeof blanks - 1) != NULL)
		line = bytes_of(line.data + 1, line.size - 1);
	while (line.size > 0 && memchr(blanks, line.data[line.size - 1], sizeof blanks - 1) != NULL)
		line.size--;
	return line;
}

static int
load_line(struct loader *loader, size_t line_number, struct bytes line)
{
	char reason[DIRECTIVE_REASON_SIZE];
	const char *other_reason = NULL;
	struct words words = {0};
	int status = words_split(line, &words);
	if (status == SETT_INVALID)
		return fail_line(loader, line_number, line, "Unbalanced quotes in configuration line");
	if (status != SETT_OK || words.count == 0)
		goto out;
	int index = directive_index(words.items[0]);
	if (index >= 0) {
		status = load_directive(loader, index, &words, reason);
		if (status == SETT_INVALID)
			status = fail_line(loader, line_number, line, reason);
	} else if (!load_other(loader, &words, line_number, line, &other_reason, &status)) {
		status = fail_line(loader, line_number, line, "Bad directive or wrong number of arguments");
	} else if (other_reason != NULL) {
		status = fail_line(loader, line_number, line, other_reason);
	}
out:
	words_free(&words);
	return status;
}

static int
load_text(struct loader *loader, struct bytes text)
{
	size_t line_number = 0;
	int status = SETT_OK;
	for (size_t start = 0; start < text.size && status == SETT_OK; line_number++) {
		const uint8_t *end = memchr(text.data + start, '\n', text.size - start);
		size_t size = end ? (size_t)(end - text.data) - start : text.size - start;
		struct bytes line = trim(bytes_of(text.data + start, size));
		if (line.size > 0 && line.data[0] != '#')
			status = load_line(loader, line_number + 1, line);
		start += size + 1;
	}
	return status;
}

/* ---- the command line ---- */

/* Turns "--name value value" into lines. An option directly behind one without a value is that one's value,
 * so that values may begin with dashes; but "--save" alone means no save points. */
static int
options_to_lines(int argc, char **argv, int first, struct buffer *ret)
{
	bool expects_value = false;
	int status = buffer_append(ret, "\n", 1);
	for (int i = first; i < argc && status == SETT_OK; i++) {
		bool is_option = strncmp(argv[i], "--", 2) == 0;
		if (!is_option || expects_value) {
			status = words_append_quoted(ret, bytes_of_string(argv[i]));
			if (status == SETT_OK)
				status = buffer_append(ret, " ", 1);
			expects_value = false;
			continue;
		}
		if (i > first)
			status = buffer_append(ret, "\n", 1);
		if (status == SETT_OK)
			status = buffer_append(ret, argv[i] + 2, strlen(argv[i] + 2));
		if (status == SETT_OK)
			status = buffer_append(ret, " ", 1);
		expects_value = strpbrk(argv[i], " \t") == NULL;
		bool next_is_option = i + 1 < argc && strncmp(argv[i + 1], "--", 2) == 0;
		if (strcasecmp(argv[i], "--save") == 0 && (i + 1 == argc || next_is_option)) {
			expects_value = false;
			if (status == SETT_OK)
				status = buffer_append(ret, "\"\"", 2);
		}
	}
	return status;
}

static char *
absolute_path(const char *path)
{
	if (path[0] == '/')
		return strdup(path);
	char *here = realpath(".", NULL), *joined = NULL;
	if (here != NULL && asprintf(&joined, "%s/%s", here, path) < 0)
		joined = NULL;
	free(here);
	return joined;
}

static int
load_all(struct loader *loader, int argc, char **argv)
{
	struct config_private *private = loader->config->private;
	struct buffer text = {0};
	int first = 1, status = SETT_OK;
	bool from_input = argc > 1 && strcmp(argv[argc - 1], "-") == 0;
	if (from_input)
		argc--;
	if (argc > 1 && argv[1][0] != '-') {
		first = 2;
		private->file_path = absolute_path(argv[1]);
		status = private->file_path ? read_file(loader, private->file_path, &text) : SETT_NO_MEMORY;
	}
	if (status == SETT_OK && from_input)
		status = read_stream(stdin, &text);
	if (status == SETT_OK && argc > first)
		status = options_to_lines(argc, argv, first, &text);
	if (status == SETT_OK)
		status = load_text(loader, buffer_bytes(&text));
	buffer_free(&text);
	return status;
}

/* ---- what concerns several directives ---- */

/* A setting that is not the default asks for something: it gets a line of its own, with the reason. */
static int
warn_of_unused(struct config *config)
{
	struct config_private *private = config->private;
	int status = SETT_OK;
	for (size_t i = 0; i < directive_count && status == SETT_OK; i++) {
		const struct directive *row = &directive_table[i];
		if (!private->given[i] || row->no_effect == NULL ||
		    directive_value_equal(row, &private->values[i], &private->initial[i]))
			continue;
		status = say(&private->warnings, "Directive '%s': accepted, has no effect: %s\n", row->name,
			     row->no_effect);
	}
	return status;
}

/* Those that were given at their defaults, as in most files, share lines. */
static int
list_unused(struct config *config)
{
	static const char begin[] = "Accepted at their defaults, without effect here:";
	struct config_private *private = config->private;
	size_t line = 0;
	int status = SETT_OK;
	for (size_t i = 0; i < directive_count && status == SETT_OK; i++) {
		const struct directive *row = &directive_table[i];
		if (!private->given[i] || row->no_effect == NULL ||
		    !directive_value_equal(row, &private->values[i], &private->initial[i]))
			continue;
		struct buffer *notes = &private->notes;
		if (line == 0 || notes->size - line > NOTE_LINE_SIZE) {
			status = say(notes, "%s%s", line == 0 ? "" : "\n", begin);
			line = notes->size;
		}
		if (status == SETT_OK)
			status = say(notes, "%s %s", notes->size == line ? "" : ",", row->name);
	}
	return status == SETT_OK && line > 0 ? say(&private->notes, "\n") : status;
}

static int
check_together(struct loader *loader)
{
	struct config *config = loader->config;
	int status = warn_of_unused(config);
	return status == SETT_OK ? list_unused(config) : status;
}

static int
parse_initial(const struct directive *row, struct directive_value *ret)
{
	char reason[DIRECTIVE_REASON_SIZE];
	if (row->initial == NULL)
		return SETT_OK;
	struct bytes whole = bytes_of_string(row->initial);
	if (!(row->flags & DIRECTIVE_MULTIPLE) || whole.size == 0)
		return directive_parse(row, &whole, 1, NULL, false, ret, reason);
	struct words words = {0};
	int status = words_split(whole, &words);
	if (status == SETT_OK)
		status = directive_parse(row, words.items, words.count, NULL, false, ret, reason);
	words_free(&words);
	return status;
}

static int
config_create(struct config **ret)
{
	struct config *config = calloc(1, sizeof *config);
	struct config_private *private = calloc(1, sizeof *private);
	if (config == NULL || private == NULL) {
		free(config);
		free(private);
		return SETT_NO_MEMORY;
	}
	mutex_init(&private->lock);
	config->private = private;
	private->last_rename = &private->renames;
	private->last_user = &private->users;
	config->active_expire = true;
	private->values = calloc(directive_count, sizeof *private->values);
	private->initial = calloc(directive_count, sizeof *private->initial);
	private->given = calloc(directive_count, sizeof *private->given);
	int status = private->values && private->initial && private->given ? SETT_OK : SETT_NO_MEMORY;
	for (size_t i = 0; i < directive_count && status == SETT_OK; i++) {
		struct directive_value value = {0};
		status = parse_initial(&directive_table[i], &private->initial[i]);
		if (status == SETT_OK)
			status = parse_initial(&directive_table[i], &value);
		if (status == SETT_OK)
			config_store(config, (int)i, &value);
	}
	if (status != SETT_OK)
		config_destroy(config);
	else
		*ret = config;
	return status;
}

int
config_load(int argc, char **argv, struct config **ret, struct buffer *ret_error)
{
	struct loader loader = {.ret_error = ret_error};
	int status = config_create(&loader.config);
	if (status != SETT_OK) {
		/* Only the working directory can be missing here. */
		if (say(ret_error, "Fatal error, can't prepare the configuration: %s\n",
			sett_status_text(status)) != SETT_OK)
			return SETT_NO_MEMORY;
		return status;
	}
	status = load_all(&loader, argc, argv);
	if (status == SETT_OK)
		status = check_together(&loader);
	if (status != SETT_OK)
		config_destroy(loader.config);
	else
		*ret = loader.config;
	return status;
}
