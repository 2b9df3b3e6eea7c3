/* A user and his rights: flags, passwords, and selectors. A selector says which commands may be run, on which keys and
 * channels; a command may run if one selector allows all of it. The first selector is the root, which the rules outside of
 * parentheses make.
 *
 * A user is changed by one thread alone, before others see him (acl/users.h); then he stays as he is, and lives as long as
 * anybody has a reference. All that hangs on him is in his arena. */
#ifndef SETT_ACL_USER_H
#define SETT_ACL_USER_H

#include "storage/base/arena.h"
#include "storage/base/bytes.h"
#include "storage/base/log_sink.h"
#include "table/command_table.h"

enum {
	ACL_COMMANDS_MAX = 1024, /* rows of the command table that rights can be kept for */
	ACL_HASH_SIZE = 64,      /* SHA-256 in hexadecimal digits */
};

/* In the order in which ACL LIST names them. */
enum acl_user_flag {
	ACL_USER_ON = 1 << 0,
	ACL_USER_OFF = 1 << 1, /* nobody can log in as this user; who has goes on */
	ACL_USER_NO_PASSWORD = 1 << 2,
	ACL_USER_SKIPS_SANITIZING = 1 << 3, /* kept and shown: payloads are always looked at here */
	ACL_USER_SANITIZES = 1 << 4,
	ACL_USER_FLAGS = 5
};
extern const char *const acl_user_flag_words[ACL_USER_FLAGS];

enum acl_right { ACL_READ = 1 << 0, ACL_WRITE = 1 << 1 };

struct acl_pattern {
	struct bytes text;
	unsigned rights; /* enum acl_right; of keys alone */
	/* What a glance can tell: the size of the literal beginning, and whether nothing, or just "*", follows. */
	size_t literal;
	uint64_t head,
		head_mask; /* up to eight bytes of that beginning, as they lie in memory, and which of them count */
	enum { PATTERN_LITERAL, PATTERN_PREFIX, PATTERN_GLOB } form;
};

/* Which of many patterns may match, by the first eight bytes of a text: a row for each value of each half byte, with the bits of
 * the patterns that allow it there. Pattern `i` has bit `i % 64`. */
enum { ACL_HALF_BYTES = 16, ACL_INDEX_BITS = 64 };
struct acl_index {
	uint64_t rows[ACL_HALF_BYTES][16];
	uint64_t all; /* the bits that are in use */
	/* The half bytes that are looked at: with the others no pattern would be told apart from more of the rest. */
	uint8_t places[ACL_HALF_BYTES];
	unsigned place_count;
};

struct acl_patterns {
	struct acl_pattern *items;
	size_t count, capacity;
	struct acl_index *index; /* NULL: they are few */
};

/* "+select|0": the command may be run with this first argument. */
struct acl_first_argument {
	unsigned command; /* its number */
	struct bytes word;
};

enum acl_selector_flag {
	ACL_ALL_KEYS = 1 << 0,
	ACL_ALL_CHANNELS = 1 << 1,
	ACL_ALL_COMMANDS = 1 << 2,
	ACL_FUTURE_COMMANDS = 1 << 3, /* begun with +@all: shown so, whatever was taken away since */
	ACL_EVERYTHING = ACL_ALL_KEYS | ACL_ALL_CHANNELS | ACL_ALL_COMMANDS
};

struct acl_selector {
	struct acl_selector *next;
	unsigned flags;                           /* enum acl_selector_flag */
	uint64_t commands[ACL_COMMANDS_MAX / 64]; /* by struct command's number */
	struct acl_patterns keys, channels;
	struct acl_first_argument *first_arguments;
	size_t first_argument_count, first_argument_capacity;
};

struct acl_password {
	char hash[ACL_HASH_SIZE]; /* hexadecimal, lower case */
};

struct acl_user {
	uint64_t references; /* atomic */
	uint64_t id; /* of all versions of a user; one who is made anew under the same name is another */
	struct bytes name;
	unsigned flags; /* enum acl_user_flag */
	bool may_do_all;
	struct acl_password *passwords;
	size_t password_count, password_capacity;
	struct acl_selector *root;
	struct arena arena;
};

/* What rules are read by. */
struct acl_terms {
	const struct command_table *commands; /* without what rename-command made of it */
	bool channels_are_open;               /* acl-pubsub-default allchannels */
	const struct log_sink *sink;
};

/* What is wrong with a rule. */
enum acl_fault {
	ACL_FINE,
	ACL_NO_MEMORY,
	ACL_UNKNOWN_NAME,
	ACL_SYNTAX,
	ACL_NEVER_CLOSED, /* a parenthesis, by the end of all rules */
	ACL_KEYS_ARE_OPEN,
	ACL_CHANNELS_ARE_OPEN,
	ACL_NO_SUCH_PASSWORD,
	ACL_BAD_HASH,
	ACL_FIRST_ARGUMENT_OF_SUBCOMMAND,
	ACL_DUPLICATE_USER,
};
/* As Redis words it. */
const char *acl_fault_text(enum acl_fault);

/* One who may do nothing, and is off. One reference. NULL: out of memory. */
struct acl_user *acl_user_create(struct bytes name, uint64_t id, const struct acl_terms *);
/* A copy to be changed, with the same id. NULL: out of memory. */
struct acl_user *acl_user_copy(const struct acl_user *);
/* Any thread. */
void acl_user_hold(struct acl_user *);
void acl_user_release(struct acl_user *); /* NULL is fine */

/* Applies one rule: "on", ">secret", "+get", "(~a +@read)", ... After a fault the user is to be thrown away. */
enum acl_fault acl_user_apply(struct acl_user *, const struct acl_terms *, struct bytes rule);
/* The selector's part of it. */
enum acl_fault acl_selector_apply(struct acl_user *, struct acl_selector *, const struct acl_terms *,
				  struct bytes rule);
/* Whether a name, or a pattern, holds white space or a NUL, which none may. */
bool acl_has_spaces(struct bytes);

/* Told of a rule that can't be applied; it is the caller's, or in the arena. SETT_OK: go on with the next; else all ends with
 * what it returns. */
typedef int (*acl_fault_function)(void *arg, enum acl_fault, struct bytes rule);
/* Applies rules one after the other. Those in parentheses may be spread over several words. The arena is scratch.
 * SETT_NO_MEMORY, or what the function said. */
int acl_user_apply_all(struct acl_user *, const struct acl_terms *, struct arena *, const struct bytes *rules,
		       size_t count, acl_fault_function, void *arg);

static inline bool
acl_selector_has(const struct acl_selector *s, unsigned command)
{
	return (s->commands[command / 64] >> command % 64 & 1) != 0;
}

/* ---- acl/describe.c: as ACL LIST, GETUSER and files have it. All append; SETT_NO_MEMORY. ---- */
int acl_describe_user(const struct acl_user *, const struct acl_terms *, struct buffer *ret);
/* The same after "user NAME ". */
int acl_describe_line(const struct acl_user *, const struct acl_terms *, struct buffer *ret);
int acl_describe_commands(const struct acl_selector *, const struct acl_terms *, struct buffer *ret);
/* Patterns with spaces between them. */
int acl_describe_keys(const struct acl_selector *, struct buffer *ret);
int acl_describe_channels(const struct acl_selector *, struct buffer *ret);

/* ---- acl/check.c ---- */

/* In Redis' order: of several selectors' answers the last one counts. */
enum acl_answer { ACL_ALLOWED, ACL_DENIED_COMMAND, ACL_DENIED_KEY, ACL_DENIED_CHANNEL, ACL_UNDECIDED };
/* Whether the user may run the command. `ret_position`: the argument that was denied. ACL_UNDECIDED: out of memory. */
enum acl_answer acl_check(const struct acl_user *, const struct command *, const struct bytes *argv,
			  size_t argc, size_t *ret_position);
/* Whether he may also read every key: for SORT's patterns. */
bool acl_check_with_all_keys(const struct acl_user *, const struct command *, const struct bytes *argv,
			     size_t argc);
/* Whether a list of channels allows one. Patterns of subscriptions must stand there as they are. */
bool acl_allows_channel(const struct acl_patterns *, struct bytes name, bool is_pattern);

#endif
