#include "acl/files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "config/replace_file.h"
#include "config/words.h"
#include "storage/status.h"

enum { FILE_SIZE_MAX = 64 << 20, ARENA_BLOCK = 4096, SHOWN_MAX = 1024 /* bytes of a word in an error */ };

static int __attribute__((format(printf, 2, 3))) say(struct buffer *to, const char *format, ...)
{
	char *text = NULL;
	va_list arguments;
	va_start(arguments, format);
	int size = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (size < 0)
		return SETT_NO_MEMORY;
	int status = buffer_append(to, text, (size_t)size);
	free(text);
	return status;
}

static int
shown(struct bytes word)
{
	return word.size < SHOWN_MAX ? (int)word.size : SHOWN_MAX;
}

/* ---- the ACL file ---- */

/* A relative path begins at the data directory, as in Redis. NULL: out of memory. */
static char *
path_of(const struct config *config)
{
	char *path = NULL;
	if (config->acl_file[0] == '/')
		return strdup(config->acl_file);
	return asprintf(&path, "%s/%s", config->dir, config->acl_file) < 0 ? NULL : path;
}

/* SETT_IO: see errno. */
static int
read_all(const struct config *config, struct buffer *ret)
{
	char piece[4096];
	size_t got;
	int status = SETT_OK;
	char *path = path_of(config);
	if (path == NULL)
		return SETT_NO_MEMORY;
	FILE *file = fopen(path, "re");
	int open_errno = errno;
	free(path);
	errno = open_errno;
	if (file == NULL)
		return SETT_IO;
	while (status == SETT_OK && (got = fread(piece, 1, sizeof(piece), file)) > 0) {
		status = buffer_append(ret, piece, got);
		if (ret->size > FILE_SIZE_MAX) {
			errno = EFBIG;
			status = SETT_IO;
		}
	}
	int saved_errno = errno;
	if (status == SETT_OK && ferror(file))
		status = SETT_IO;
	fclose(file);
	errno = saved_errno;
	return status;
}

struct reading {
	struct acl_users *users;
	const char *path;
	const struct acl_set *present;
	struct acl_set *set;
	struct arena arena; /* of one line */
	struct buffer *errors;
};

static struct bytes
trim(struct bytes text, const char *blanks)
{
	while (text.size > 0 && text.data[0] != 0 && strchr(blanks, text.data[0]) != NULL)
		text = bytes_of(text.data + 1, text.size - 1);
	while (text.size > 0 && text.data[text.size - 1] != 0 &&
	       strchr(blanks, text.data[text.size - 1]) != NULL)
		text.size--;
	return text;
}

/* Cuts at each space. Nothing is quoted in an ACL file. */
static int
split(struct arena *arena, struct bytes line, struct bytes **ret, size_t *ret_count)
{
	size_t count = 1, at = 0;
	for (size_t i = 0; i < line.size; i++)
		count += line.data[i] == ' ';
	struct bytes *words = arena_allocate(arena, count * sizeof(*words), 8);
	if (words == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0, begin = 0; i <= line.size; i++)
		if (i == line.size || line.data[i] == ' ') {
			words[at++] = trim(bytes_of(line.data + begin, i - begin), "\t\r\n");
			begin = i + 1;
		}
	*ret = words;
	*ret_count = count;
	return SETT_OK;
}

/* A line's faults. */
struct line_faults {
	const struct reading *reading;
	size_t number;
	bool is_complained_of;
};

/* All faults about names, and the first one of another kind, which may have led to others. */
static int
say_fault(void *arg, enum acl_fault fault, struct bytes rule)
{
	struct line_faults *f = arg;
	const struct reading *r = f->reading;
	if (fault == ACL_NEVER_CLOSED)
		return say(r->errors, "%s:%zu: Unmatched parenthesis in selector definition.", r->path,
			   f->number);
	if (fault == ACL_UNKNOWN_NAME)
		return say(r->errors, "%s:%zu: Error in applying operation '%.*s': %s. ", r->path, f->number,
			   shown(rule), (const char *)rule.data, acl_fault_text(fault));
	if (f->is_complained_of)
		return SETT_OK;
	f->is_complained_of = true;
	return say(r->errors, "%s:%zu: %s. ", r->path, f->number, acl_fault_text(fault));
}

static int
define_user(struct reading *r, const struct bytes *words, size_t count, size_t number)
{
	struct acl_terms terms = acl_terms_of(r->users);
	struct line_faults faults = {.reading = r, .number = number};
	bool is_default = bytes_equal(words[1], BYTES_LITERAL("default"));
	struct acl_user *user = acl_new_user(r->users, words[1]);
	if (user == NULL)
		return SETT_NO_MEMORY;
	if (is_default)
		user->id = acl_set_find(r->present, words[1])->id;
	int status = acl_user_apply_all(user, &terms, &r->arena, words + 2, count - 2, say_fault, &faults);
	if (status == SETT_OK)
		return acl_set_put(r->set, user);
	acl_user_release(user);
	return status;
}

static int
read_line(struct reading *r, struct bytes line, size_t number)
{
	struct bytes *words;
	size_t count;
	if (line.size == 0)
		return SETT_OK;
	int status = split(&r->arena, line, &words, &count);
	if (status != SETT_OK)
		return status;
	if (!bytes_equal(words[0], BYTES_LITERAL("user")) || count < 2)
		return say(r->errors, "%s:%zu should start with user keyword followed by the username. ",
			   r->path, number);
	if (acl_has_spaces(words[1]))
		return say(r->errors, "'%s:%zu: username '%.*s' contains invalid characters. ", r->path,
			   number, shown(words[1]), (const char *)words[1].data);
	if (acl_set_find(r->set, words[1]) != NULL)
		return say(r->errors, "WARNING: Duplicate user '%.*s' found on line %zu. ", shown(words[1]),
			   (const char *)words[1].data, number);
	return define_user(r, words, count, number);
}

static int
read_lines(struct reading *r, struct bytes text)
{
	int status = SETT_OK;
	size_t number = 1;
	for (size_t begin = 0; begin <= text.size && status == SETT_OK; number++) {
		const uint8_t *end =
			begin < text.size ? memchr(text.data + begin, '\n', text.size - begin) : NULL;
		size_t size = end != NULL ? (size_t)(end - text.data) - begin : text.size - begin;
		arena_reset(&r->arena);
		status = read_line(r, trim(bytes_of(text.data + begin, size), " \t\r\n"), number);
		begin += size + 1;
	}
	return status;
}

/* A file need not name the default user: then he is as at first. */
static int
add_default_user(struct reading *r)
{
	struct bytes name = BYTES_LITERAL("default");
	if (acl_set_find(r->set, name) != NULL)
		return SETT_OK;
	struct acl_user *user = acl_new_default_user(r->users);
	if (user == NULL)
		return SETT_NO_MEMORY;
	user->id = acl_set_find(r->present, name)->id;
	return acl_set_put(r->set, user);
}

int
acl_file_read(struct acl_users *users, const struct config *config, const struct acl_set *present,
	      struct acl_set **ret, struct buffer *ret_errors)
{
	struct buffer text = {0};
	const char *path = config->acl_file;
	struct reading r = {.users = users,
			    .path = path,
			    .present = present,
			    .set = acl_set_create(),
			    .errors = ret_errors};
	arena_init(&r.arena, ARENA_BLOCK);
	int status = r.set == NULL ? SETT_NO_MEMORY : read_all(config, &text);
	if (status == SETT_IO)
		status = say(ret_errors, "Error loading ACLs, opening file '%s': %s", path, strerror(errno));
	else if (status == SETT_OK)
		status = read_lines(&r, buffer_bytes(&text));
	if (status == SETT_OK && ret_errors->size > 0 && text.size > 0)
		status = say(ret_errors,
			     "WARNING: ACL errors detected, no change to the previously active "
			     "ACL rules was performed");
	if (status == SETT_OK)
		status = ret_errors->size > 0 ? SETT_INVALID : add_default_user(&r);
	buffer_free(&text);
	arena_free(&r.arena);
	if (status == SETT_OK)
		*ret = r.set;
	else
		acl_set_release(r.set);
	return status;
}

int
acl_file_write(struct acl_users *users, const struct config *config, const struct acl_set *set)
{
	struct buffer text = {0};
	char *path = path_of(config);
	int status = path == NULL ? SETT_NO_MEMORY : acl_describe_set(users, set, &text);
	if (status == SETT_OK && !replace_file(path, buffer_bytes(&text)))
		status = SETT_IO;
	int saved_errno = errno;
	buffer_free(&text);
	free(path);
	errno = saved_errno;
	return status;
}

/* ---- lines of the configuration ---- */

/* Rules of a line, behind "user NAME". */
static const struct bytes *
rules_of(const struct config_user *line, size_t *ret_count)
{
	*ret_count = line->words.count - 2;
	return line->words.items + 2;
}

/* An unknown name is no fault yet. */
static int
find_reason(void *arg, enum acl_fault fault, struct bytes rule)
{
	const char **reason = arg;
	(void)rule;
	if (fault == ACL_UNKNOWN_NAME)
		return SETT_OK;
	*reason = fault == ACL_NEVER_CLOSED ? "Unmatched parenthesis in acl selector" : acl_fault_text(fault);
	return SETT_INVALID;
}

/* `set` has the users of the lines before. */
static int
check_line(struct acl_users *users, struct acl_set *set, const struct config_user *line, struct arena *arena,
	   const char **ret_reason)
{
	struct acl_terms terms = acl_terms_of(users);
	struct bytes name = line->words.items[1];
	size_t count;
	const struct bytes *rules = rules_of(line, &count);
	if (acl_set_find(set, name) != NULL) {
		*ret_reason = acl_fault_text(ACL_DUPLICATE_USER);
		return SETT_INVALID;
	}
	struct acl_user *user = acl_new_user(users, name);
	if (user == NULL)
		return SETT_NO_MEMORY;
	int status = acl_user_apply_all(user, &terms, arena, rules, count, find_reason, ret_reason);
	if (status == SETT_OK)
		return acl_set_put(set, user);
	acl_user_release(user);
	return status;
}

int
acl_check_lines(struct acl_users *users, const struct config *config, struct buffer *ret_error)
{
	struct acl_set *set = acl_set_create();
	struct arena arena;
	const char *reason = NULL;
	int status = set != NULL ? SETT_OK : SETT_NO_MEMORY;
	arena_init(&arena, ARENA_BLOCK);
	for (const struct config_user *u = config_users(config); u != NULL && status == SETT_OK;
	     u = u->next) {
		status = check_line(users, set, u, &arena, &reason);
		if (status != SETT_INVALID)
			continue;
		char text[512];
		struct bytes name = u->words.items[1];
		snprintf(text, sizeof(text), "Error in user declaration '%.*s': %s",
			 name.size < 128 ? (int)name.size : 128, (const char *)name.data, reason);
		status = config_refuse_line(ret_error, u->line_number, buffer_bytes(&u->line), text);
	}
	arena_free(&arena);
	acl_set_release(set);
	return status;
}

static int
load_line(struct acl_users *users, struct acl_set *set, const struct config_user *line,
	  const struct log_sink *sink)
{
	struct acl_complaint complaint = {0};
	struct arena arena;
	size_t count;
	struct bytes name = line->words.items[1];
	const struct bytes *rules = rules_of(line, &count);
	if (acl_has_spaces(name)) {
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Spaces not allowed in ACL usernames");
		return SETT_INVALID;
	}
	arena_init(&arena, ARENA_BLOCK);
	int status = acl_set_define(users, set, name, rules, count, &arena, &complaint);
	if (status == SETT_INVALID)
		log_sink_printf(sink, LOG_LEVEL_WARNING,
				"Error loading ACL rule '%.*s' for the user named '%.*s': %s",
				shown(complaint.rule), (const char *)complaint.rule.data, shown(name),
				(const char *)name.data, acl_fault_text(complaint.fault));
	else if (status == SETT_OK && (acl_set_find(set, name)->flags & ACL_USER_OFF) != 0)
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"The user '%.*s' is disabled (there is no 'on' modifier in the user "
				"description). Make sure this is not a configuration error.",
				shown(name), (const char *)name.data);
	arena_free(&arena);
	return status;
}

/* Into a copy of the present set, whose default user may have the password of requirepass. */
static int
load_lines(struct acl_users *users, struct acl_set *set, struct config *config, const struct log_sink *sink)
{
	mutex_lock(config_lock(config));
	int status = acl_set_password(users, set, config->require_password);
	mutex_unlock(config_lock(config));
	for (const struct config_user *u = config_users(config); u != NULL && status == SETT_OK; u = u->next)
		status = load_line(users, set, u, sink);
	if (status == SETT_INVALID)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Critical error while loading ACLs. Exiting.");
	return status;
}

static int
load_file(struct acl_users *users, const struct config *config, struct acl_set **set,
	  const struct log_sink *sink)
{
	struct buffer errors = {0};
	struct acl_set *loaded;
	int status = acl_file_read(users, config, *set, &loaded, &errors);
	if (status == SETT_OK) {
		acl_set_release(*set);
		*set = loaded;
	} else if (status == SETT_INVALID) {
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Aborting Redis startup because of ACL errors: %.*s",
				(int)errors.size, (const char *)errors.data);
	}
	buffer_free(&errors);
	return status;
}

int
acl_load_all(struct acl_users *users, struct config *config, const struct log_sink *sink)
{
	const char *path = config->acl_file;
	bool has_file = path != NULL && path[0] != '\0';
	if (has_file && config_users(config) != NULL) {
		log_sink_printf(
			sink, LOG_LEVEL_WARNING,
			"Configuring Redis with users defined in redis.conf and at the same setting an "
			"ACL file path is invalid. This setup is very likely to lead to configuration "
			"errors and security holes, please define either an ACL file or declare users "
			"directly in your redis.conf, but not both.");
		return SETT_INVALID;
	}
	struct acl_set *present = acl_set_hold(users), *set = acl_set_copy(present);
	acl_set_release(present);
	int status = set == NULL ? SETT_NO_MEMORY : load_lines(users, set, config, sink);
	if (status == SETT_OK && has_file)
		status = load_file(users, config, &set, sink);
	if (status == SETT_OK)
		acl_publish(users, set);
	else
		acl_set_release(set);
	if (status == SETT_NO_MEMORY)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Out of memory for the ACL users");
	return status;
}
