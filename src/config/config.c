/* The current values of all directives.
 *
 * A value lives in config_private.values, by row; where something reads it, it is mirrored into a field of
 * struct config. Strings are owned by the value and borrowed by the field.
 *
 * Invariants: every row has a value that its parser accepted; values, fields and the text that CONFIG GET
 * shows agree whenever the lock is free; config_set changes all of its arguments or none. */
#include <ctype.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>

#include "config/directive.h"
#include "config/words.h"

enum { ARGUMENTS_MAX = 1024 }; /* pairs of one CONFIG SET */

struct mutex *
config_lock(struct config *config)
{
	return &config->private->lock;
}

const char *
config_file_path(const struct config *config)
{
	return config->private->file_path;
}

/* A reader may meet one figure of the old limits and one of the new: each holds by itself. */
static void
mirror_client_limits(struct config_output_limit *field, const char *text)
{
	struct config_output_limit limits[CONFIG_CLIENT_CLASSES];
	if (!client_limits_read(text, limits))
		return; /* never: the text is this room's own */
	for (int i = 0; i < CONFIG_CLIENT_CLASSES; i++) {
		__atomic_store_n(&field[i].hard, limits[i].hard, __ATOMIC_RELAXED);
		__atomic_store_n(&field[i].soft, limits[i].soft, __ATOMIC_RELAXED);
		__atomic_store_n(&field[i].soft_seconds, limits[i].soft_seconds, __ATOMIC_RELAXED);
	}
}

/* Partner: the relaxed loads of whoever reads the field. Only the value itself is handed over. */
static void
mirror(struct config *config, const struct directive *row, const struct directive_value *value)
{
	if (!row->has_field)
		return;
	void *field = (char *)config + row->field;
	if (row->kind == KIND_CLIENT_LIMITS) {
		mirror_client_limits(field, value->text);
		return;
	}
	if (row->kind == KIND_DECIMAL)
		*(double *)field = value->decimal;
	else if (row->kind == KIND_EVENTS)
		__atomic_store_n((unsigned *)field, (unsigned)value->number, __ATOMIC_RELAXED);
	else if ((row->flags & DIRECTIVE_BINARY) != 0)
		*(struct bytes *)field = bytes_of(value->text, value->size);
	else if (row->kind >= KIND_STRING)
		*(char **)field = value->text;
	else if (row->width == 1)
		__atomic_store_n((uint8_t *)field, (uint8_t)value->number, __ATOMIC_RELAXED);
	else if (row->width == sizeof(uint32_t))
		__atomic_store_n((uint32_t *)field, (uint32_t)value->number, __ATOMIC_RELAXED);
	else
		__atomic_store_n((uint64_t *)field, (uint64_t)value->number, __ATOMIC_RELAXED);
}

void
config_store(struct config *config, int index, struct directive_value *value)
{
	struct directive_value *stored = &config->private->values[index];
	struct directive_value old = *stored;
	*stored = *value;
	*value = (struct directive_value){0};
	mirror(config, &directive_table[index], stored);
	directive_value_free(&old);
}

static void
free_renames(struct config_rename *first)
{
	while (first != NULL) {
		struct config_rename *next = first->next;
		buffer_free(&first->from);
		buffer_free(&first->to);
		buffer_free(&first->line);
		free(first);
		first = next;
	}
}

static void
free_users(struct config_user *users)
{
	while (users != NULL) {
		struct config_user *next = users->next;
		words_free(&users->words);
		buffer_free(&users->line);
		free(users);
		users = next;
	}
}

const struct config_user *
config_users(const struct config *config)
{
	return config->private->users;
}

void
config_set_users(struct config *config, int (*append)(void *arg, struct buffer *ret), void *arg)
{
	mutex_lock(&config->private->lock);
	config->private->append_users = append;
	config->private->append_users_arg = arg;
	mutex_unlock(&config->private->lock);
}

const struct config_rename *
config_renames(const struct config *config)
{
	return config->private->renames;
}

void
config_destroy(struct config *config)
{
	if (config == NULL)
		return;
	struct config_private *private = config->private;
	if (private != NULL) {
		for (size_t i = 0; i < directive_count; i++) {
			if (private->values != NULL)
				directive_value_free(&private->values[i]);
			if (private->initial != NULL)
				directive_value_free(&private->initial[i]);
		}
		while (private->listeners != NULL) {
			struct directive_listener *next = private->listeners->next;
			free(private->listeners);
			private->listeners = next;
		}
		free_renames(private->renames);
		free_users(private->users);
		free(private->values);
		free(private->initial);
		free(private->given);
		free(private->file_path);
		buffer_free(&private->warnings);
		buffer_free(&private->notes);
		mutex_destroy(&private->lock);
		free(private);
	}
	free(config);
}

bool
config_refuses(const struct config *config, int index, const struct directive_value *value, char *ret_reason)
{
	const struct directive *row = &directive_table[index];
	if (row->refused == NULL || directive_value_equal(row, value, &config->private->initial[index]))
		return false;
	snprintf(ret_reason, DIRECTIVE_REASON_SIZE, "only the default is supported: %s", row->refused);
	return true;
}

const char *
config_no_effect(struct bytes directive)
{
	int index = directive_index(directive);
	return index < 0 ? NULL : directive_table[index].no_effect;
}

static void
print_lines(struct buffer *lines, const struct log_sink *sink, enum log_level level)
{
	for (size_t at = 0; at < lines->size;) {
		const char *line = (const char *)lines->data + at;
		const char *end = memchr(line, '\n', lines->size - at);
		if (end == NULL)
			break;
		log_sink_printf(sink, level, "%.*s", (int)(end - line), line);
		at += (size_t)(end - line) + 1;
	}
	buffer_clear(lines);
}

void
config_print_warnings(struct config *config, const struct log_sink *sink)
{
	mutex_lock(&config->private->lock);
	print_lines(&config->private->warnings, sink, LOG_LEVEL_WARNING);
	print_lines(&config->private->notes, sink, LOG_LEVEL_NOTICE);
	mutex_unlock(&config->private->lock);
}

bool
config_directive_is_sensitive(struct bytes name)
{
	int index = directive_index(name);
	return index >= 0 && (directive_table[index].flags & DIRECTIVE_SENSITIVE) != 0;
}

static int
add_listener(struct config *config, const char *directive, struct directive_listener added)
{
	added.index = directive_index(bytes_of_string(directive));
	if (added.index < 0)
		return SETT_INVALID;
	struct directive_listener *listener = malloc(sizeof *listener);
	if (listener == NULL)
		return SETT_NO_MEMORY;
	mutex_lock(&config->private->lock);
	added.next = config->private->listeners;
	*listener = added;
	config->private->listeners = listener;
	mutex_unlock(&config->private->lock);
	return SETT_OK;
}

bool
config_policy_is_lfu(const struct config *config)
{
	int policy = __atomic_load_n(&config->max_memory_policy, __ATOMIC_RELAXED);
	return policy == CONFIG_POLICY_VOLATILE_LFU || policy == CONFIG_POLICY_ALLKEYS_LFU;
}

bool
config_policy_is_lru(const struct config *config)
{
	int policy = __atomic_load_n(&config->max_memory_policy, __ATOMIC_RELAXED);
	return policy == CONFIG_POLICY_VOLATILE_LRU || policy == CONFIG_POLICY_ALLKEYS_LRU;
}

int
config_listen(struct config *config, const char *directive, void (*changed)(void *arg), void *arg)
{
	return add_listener(config, directive, (struct directive_listener){.changed = changed, .arg = arg});
}

int
config_guard(struct config *config, const char *directive,
	     bool (*allows)(void *arg, const struct config *planned, char *ret_reason, size_t size),
	     void *arg)
{
	return add_listener(config, directive, (struct directive_listener){.allows = allows, .arg = arg});
}

/* ---- CONFIG GET ---- */

static bool
name_is(const char *name, struct bytes given)
{
	return strlen(name) == given.size && strncasecmp(name, (const char *)given.data, given.size) == 0;
}

static bool
name_matches(struct bytes pattern, const char *name)
{
	char text[256];
	if (pattern.size == 0 || pattern.size >= sizeof text ||
	    memchr(pattern.data, '\0', pattern.size) != NULL)
		return false;
	memcpy(text, pattern.data, pattern.size);
	text[pattern.size] = '\0';
	return fnmatch(text, name, FNM_CASEFOLD) == 0;
}

static bool
is_pattern(struct bytes word)
{
	for (size_t i = 0; i < word.size; i++)
		if (word.data[i] == '*' || word.data[i] == '?' || word.data[i] == '[')
			return true;
	return false;
}

/* Whether a name, or alias, of a row is asked for, and how it is written in the reply: the first word that asks
 * decides. As in Redis, a name that is spelled out comes back in the letters that were used. */
static bool
is_asked(const struct directive *row, const char *name, const struct bytes *words, size_t count,
	 struct bytes *ret_name)
{
	for (size_t i = 0; i < count && name != NULL; i++) {
		bool exact = !is_pattern(words[i]);
		if (exact ? !name_is(name, words[i])
			  : (row->flags & DIRECTIVE_HIDDEN) || !name_matches(words[i], name))
			continue;
		*ret_name = exact ? words[i] : bytes_of_string(name);
		return true;
	}
	return false;
}

void
config_get(struct config *config, const struct bytes *words, size_t count,
	   void (*each)(void *arg, struct bytes name, struct bytes value), void *arg)
{
	struct buffer text = {0};
	mutex_lock(&config->private->lock);
	for (size_t i = 0; i < directive_count; i++) {
		const struct directive *row = &directive_table[i];
		struct bytes name, alias;
		bool by_name = is_asked(row, row->name, words, count, &name);
		bool by_alias = is_asked(row, row->alias, words, count, &alias);
		if (!by_name && !by_alias)
			continue;
		buffer_clear(&text);
		if (directive_format(row, &config->private->values[i], &text) != SETT_OK)
			continue;
		if (by_name)
			each(arg, name, buffer_bytes(&text));
		if (by_alias)
			each(arg, alias, buffer_bytes(&text));
	}
	mutex_unlock(&config->private->lock);
	buffer_free(&text);
}

/* ---- CONFIG SET ---- */

struct change {
	int index;
	const char *name; /* as the table writes the name or alias that was given */
	struct directive_value value;
};

static int __attribute__((format(printf, 2, 3))) fail(struct buffer *ret_error, const char *format, ...)
{
	char text[DIRECTIVE_REASON_SIZE + 256];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	size_t used = size < 0 ? 0 : (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
	buffer_clear(ret_error);
	return buffer_append(ret_error, text, used) == SETT_OK ? SETT_INVALID : SETT_NO_MEMORY;
}

static int
fail_at(struct buffer *ret_error, const char *name, const char *reason)
{
	return fail(ret_error, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", name,
		    reason);
}

static bool
may_set_protected(const struct config *config, bool is_local)
{
	return config->enable_protected_configs == 1 || (config->enable_protected_configs == 2 && is_local);
}

/* Finds the row of each name, and refuses what may not be set at all. */
static int
name_changes(struct config *config, const struct bytes *arguments, struct change *changes, size_t count,
	     bool is_local, struct buffer *ret_error)
{
	for (size_t i = 0; i < count; i++) {
		struct bytes given = arguments[i * 2];
		int index = directive_index(given);
		if (index < 0)
			return fail(ret_error,
				    "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
				    given.size < 128 ? (int)given.size : 128, (const char *)given.data);
		const struct directive *row = &directive_table[index];
		bool by_alias = row->alias != NULL && name_is(row->alias, given);
		changes[i].index = index;
		changes[i].name = by_alias ? row->alias : row->name;
		if (row->flags & DIRECTIVE_IMMUTABLE)
			return fail_at(ret_error, changes[i].name, "can't set immutable config");
		if ((row->flags & DIRECTIVE_PROTECTED) && !may_set_protected(config, is_local))
			return fail_at(ret_error, changes[i].name, "can't set protected config");
		for (size_t j = 0; j < i; j++)
			if (changes[j].name == changes[i].name)
				return fail_at(ret_error, changes[i].name, "duplicate parameter");
	}
	return SETT_OK;
}

/* A directive of several words comes as one argument: split at spaces, as nothing else separates them. */
static int
parse_argument(const struct directive *row, struct bytes text, const struct directive_value *old,
	       struct directive_value *ret, char *reason)
{
	struct bytes words[DIRECTIVE_WORDS_MAX];
	size_t count = 0;
	if (!(row->flags & DIRECTIVE_MULTIPLE) || text.size == 0)
		return directive_parse(row, &text, 1, old, false, ret, reason);
	for (size_t start = 0, i = 0; i <= text.size; i++) {
		if (i < text.size && text.data[i] != ' ')
			continue;
		if (count == DIRECTIVE_WORDS_MAX) {
			snprintf(reason, DIRECTIVE_REASON_SIZE, "wrong number of arguments");
			return SETT_INVALID;
		}
		words[count++] = bytes_of(text.data + start, i - start);
		start = i + 1;
	}
	return directive_parse(row, words, count, old, false, ret, reason);
}

static int
parse_changes(struct config *config, const struct bytes *arguments, struct change *changes, size_t count,
	      struct buffer *ret_error)
{
	for (size_t i = 0; i < count; i++) {
		const struct directive *row = &directive_table[changes[i].index];
		const struct directive_value *old = &config->private->values[changes[i].index];
		char reason[DIRECTIVE_REASON_SIZE];
		int status = parse_argument(row, arguments[i * 2 + 1], old, &changes[i].value, reason);
		if (status == SETT_INVALID)
			return fail_at(ret_error, changes[i].name, reason);
		if (status != SETT_OK)
			return fail(ret_error, "ERR out of memory");
		if (config_refuses(config, changes[i].index, &changes[i].value, reason))
			return fail_at(ret_error, changes[i].name, reason);
		if ((row->flags & DIRECTIVE_FIXED) && !directive_value_equal(row, old, &changes[i].value))
			return fail_at(ret_error, changes[i].name,
				       row->fixed ? row->fixed : "can't be changed while running");
	}
	return SETT_OK;
}

/* Whether the value changes, or what it stands for. */
static bool
is_changed(const struct config *config, const struct change *change)
{
	const struct directive *row = &directive_table[change->index];
	return (row->flags & DIRECTIVE_REREAD) ||
		!directive_value_equal(row, &config->private->values[change->index], &change->value);
}

static bool
is_same_listener(const struct directive_listener *a, const struct directive_listener *b)
{
	return b != NULL && a->allows == b->allows && a->changed == b->changed && a->arg == b->arg;
}

/* Whether those who are asked before a change allow all of them together. A value that stays is not asked about, and who
 * guards several directives in a row of the list is asked once. */
static int
ask_guards(struct config *config, const struct change *changes, size_t count, struct buffer *ret_error)
{
	struct config planned = *config;
	const struct directive_listener *asked = NULL;
	char reason[DIRECTIVE_REASON_SIZE];
	for (size_t i = 0; i < count; i++)
		mirror(&planned, &directive_table[changes[i].index], &changes[i].value);
	for (const struct directive_listener *l = config->private->listeners; l != NULL; l = l->next) {
		size_t i = 0;
		while (i < count && (changes[i].index != l->index || !is_changed(config, &changes[i])))
			i++;
		if (l->allows == NULL || i == count || is_same_listener(l, asked))
			continue;
		if (!l->allows(l->arg, &planned, reason, sizeof reason))
			return fail_at(ret_error, changes[i].name, reason);
		asked = l;
	}
	return SETT_OK;
}

/* Listeners run without the lock, so their list is copied; they are never removed. One of several directives in a row is
 * told once. */
static void
tell_listeners(struct config *config, const struct change *changes, size_t count)
{
	mutex_lock(&config->private->lock);
	const struct directive_listener *first = config->private->listeners, *told = NULL;
	mutex_unlock(&config->private->lock);
	for (const struct directive_listener *l = first; l != NULL; l = l->next) {
		bool touched = false;
		for (size_t i = 0; i < count; i++)
			touched = touched || changes[i].index == l->index;
		if (!touched || l->changed == NULL || is_same_listener(l, told))
			continue;
		l->changed(l->arg);
		told = l;
	}
}

/* Both: checks, and with `apply` does it. */
static int
set_or_check(struct config *config, const struct bytes *arguments, size_t count, bool is_local, bool apply,
	     struct buffer *ret_error)
{
	if (count == 0 || count % 2 != 0 || count / 2 > ARGUMENTS_MAX)
		return fail(ret_error, "ERR syntax error");
	size_t pairs = count / 2;
	struct change *changes = calloc(pairs, sizeof *changes);
	if (changes == NULL)
		return fail(ret_error, "ERR out of memory");
	mutex_lock(&config->private->lock);
	int status = name_changes(config, arguments, changes, pairs, is_local, ret_error);
	if (status == SETT_OK)
		status = parse_changes(config, arguments, changes, pairs, ret_error);
	if (status == SETT_OK)
		status = ask_guards(config, changes, pairs, ret_error);
	for (size_t i = 0; i < pairs; i++) {
		if (status == SETT_OK && apply)
			config_store(config, changes[i].index, &changes[i].value);
		else
			directive_value_free(&changes[i].value);
	}
	mutex_unlock(&config->private->lock);
	if (status == SETT_OK && apply)
		tell_listeners(config, changes, pairs);
	free(changes);
	return status;
}

int
config_set_from(struct config *config, const struct bytes *arguments, size_t count, bool is_local,
		struct buffer *ret_error)
{
	return set_or_check(config, arguments, count, is_local, true, ret_error);
}

int
config_check_from(struct config *config, const struct bytes *arguments, size_t count, bool is_local,
		  struct buffer *ret_error)
{
	return set_or_check(config, arguments, count, is_local, false, ret_error);
}

int
config_note_replica_of(struct config *config, const char *host, unsigned port)
{
	char text[16], reason[DIRECTIVE_REASON_SIZE];
	int index = directive_index(BYTES_LITERAL("replicaof"));
	snprintf(text, sizeof text, "%u", port);
	struct bytes words[] = {bytes_of_string(host), bytes_of_string(text)};
	struct directive_value value = {0};
	mutex_lock(&config->private->lock);
	int status = directive_parse(&directive_table[index], words, host[0] != '\0' ? 2 : 1,
				     &config->private->values[index], false, &value, reason);
	if (status == SETT_OK)
		config_store(config, index, &value);
	mutex_unlock(&config->private->lock);
	return status;
}

int
config_set(struct config *config, const struct bytes *arguments, size_t count, struct buffer *ret_error)
{
	return config_set_from(config, arguments, count, false, ret_error);
}
