/* The command table: what is known of a command before it runs. The rows are made from cmd/commands.toml (see
 * there what each field means) and never change; any thread reads them without a lock. struct server has the
 * table, so that this room and those above find commands without knowing the functions that run them. */
#ifndef SETT_TABLE_COMMAND_TABLE_H
#define SETT_TABLE_COMMAND_TABLE_H

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/status.h"

struct command_context;
struct command_docs; /* table/command_docs.h */

/* Returns a status or an outcome: command.h. */
typedef int (*command_function)(struct command_context *);

/* Redis' command flags (COMMAND INFO), by the same names and in the order in which it names them. */
enum command_flag {
	COMMAND_WRITE = 1 << 0,
	COMMAND_READONLY = 1 << 1,
	COMMAND_DENYOOM = 1 << 2,
	COMMAND_MODULE = 1 << 3,
	COMMAND_ADMIN = 1 << 4,
	COMMAND_PUBSUB = 1 << 5,
	COMMAND_NOSCRIPT = 1 << 6,
	COMMAND_BLOCKING = 1 << 7,
	COMMAND_LOADING = 1 << 8,
	COMMAND_STALE = 1 << 9,
	COMMAND_SKIP_MONITOR = 1 << 10,
	COMMAND_SKIP_SLOWLOG = 1 << 11,
	COMMAND_ASKING = 1 << 12,
	COMMAND_FAST = 1 << 13,
	COMMAND_NO_AUTH = 1 << 14,
	COMMAND_MAY_REPLICATE = 1 << 15,
	COMMAND_NO_MANDATORY_KEYS = 1 << 16,
	COMMAND_NO_ASYNC_LOADING = 1 << 17,
	COMMAND_NO_MULTI = 1 << 18,
	COMMAND_MOVABLE_KEYS = 1 << 19,
	COMMAND_ALLOW_BUSY = 1 << 20,
	/* Sett's own, not shown to users: */
	COMMAND_LONG = 1 << 24,       /* runs in the pool's long lane alone (KEYS, DEBUG SLEEP, SAVE, ...) */
	COMMAND_RUNNER = 1 << 25,     /* MULTI, EXEC, DISCARD, WATCH, RESET, QUIT: executed by the runner even
					inside MULTI as Redis does */
	COMMAND_ENDS_MULTI = 1 << 26, /* EXEC, DISCARD, RESET: MULTI is over after it, even if it failed */
	COMMAND_BATCHABLE = 1 << 27,  /* may share a transaction with other commands (I16) */
	COMMAND_FOR_SUBSCRIBERS = 1 << 28, /* a RESP2 client that is subscribed may run no others */
	COMMAND_HOLDS =
		1 << 29, /* of a batch: what it changes of its key may be held in memory (keyspace/held.h) */
};

/* ACL categories, in the order in which ACL CAT and COMMAND INFO name them. */
enum command_category {
	CATEGORY_KEYSPACE = 1 << 0,
	CATEGORY_READ = 1 << 1,
	CATEGORY_WRITE = 1 << 2,
	CATEGORY_SET = 1 << 3,
	CATEGORY_SORTEDSET = 1 << 4,
	CATEGORY_LIST = 1 << 5,
	CATEGORY_HASH = 1 << 6,
	CATEGORY_STRING = 1 << 7,
	CATEGORY_BITMAP = 1 << 8,
	CATEGORY_HYPERLOGLOG = 1 << 9,
	CATEGORY_GEO = 1 << 10,
	CATEGORY_STREAM = 1 << 11,
	CATEGORY_PUBSUB = 1 << 12,
	CATEGORY_ADMIN = 1 << 13,
	CATEGORY_FAST = 1 << 14,
	CATEGORY_SLOW = 1 << 15,
	CATEGORY_BLOCKING = 1 << 16,
	CATEGORY_DANGEROUS = 1 << 17,
	CATEGORY_CONNECTION = 1 << 18,
	CATEGORY_TRANSACTION = 1 << 19,
	CATEGORY_SCRIPTING = 1 << 20,
};

/* How a command uses a key: COMMAND INFO's names in their order. */
enum key_flag {
	KEY_RO = 1 << 0,
	KEY_RW = 1 << 1,
	KEY_OW = 1 << 2,
	KEY_RM = 1 << 3,
	KEY_ACCESS = 1 << 4,
	KEY_UPDATE = 1 << 5,
	KEY_INSERT = 1 << 6,
	KEY_DELETE = 1 << 7,
	KEY_NOT_KEY = 1 << 8,        /* looks like a key to a router, but is none */
	KEY_INCOMPLETE = 1 << 9,     /* the specification may miss keys */
	KEY_VARIABLE_FLAGS = 1 << 10 /* the use depends on other arguments */
};

/* Where some keys are among the arguments. */
struct key_spec {
	enum { BEGIN_UNKNOWN, BEGIN_INDEX, BEGIN_KEYWORD } begin;
	enum { FIND_UNKNOWN, FIND_RANGE, FIND_KEYNUM } find;
	int index; /* BEGIN_INDEX: the argument; BEGIN_KEYWORD: where the search begins, negative: from the
		      end, backwards */
	const char *keyword;
	int last;   /* FIND_RANGE: counted from the first key; negative: from the end */
	int limit;  /* FIND_RANGE: with `last` -1, the keys are one part of so many of what follows */
	int keynum; /* FIND_KEYNUM: the argument with the number of keys, counted from the beginning */
	int first;  /* FIND_KEYNUM: the first key, likewise */
	int step;
	uint32_t flags; /* enum key_flag */
	const char *notes;
};

/* Arguments with secrets. */
struct sensitive_argument {
	enum {
		SENSITIVE_FROM,      /* all from argument `first` on */
		SENSITIVE_AFTER,     /* `count` arguments after each `keyword` */
		SENSITIVE_DIRECTIVES /* values of sensitive directives, in pairs from `first` on */
	} kind;
	const char *keyword;
	unsigned first, count;
};

/* Channels among the arguments. */
enum command_channels {
	CHANNELS_NONE,
	CHANNELS_FIRST,   /* argument 1: PUBLISH */
	CHANNELS_ALL,     /* all arguments: SUBSCRIBE */
	CHANNELS_PATTERNS /* all, and they are patterns: PSUBSCRIBE */
};

struct command_key {
	size_t position; /* in argv */
	uint32_t flags;  /* enum key_flag */
};

/* Like command_key_positions. */
typedef int (*command_key_rule)(const struct bytes *argv, size_t argc, struct command_key *ret,
				size_t *ret_count);

/* One row; subcommands are rows of their own. */
struct command {
	const char *name;      /* lower case; of a subcommand its own word: "set" of "config|set" */
	const char *full_name; /* "config|set", or name */
	uint64_t name_head;    /* the first eight bytes of the name, the first one lowest */
	unsigned name_size;
	command_function run; /* NULL for a container without a function of its own */
	int arity;            /* as Redis: with the command's name; negative = at least */
	uint32_t flags;       /* enum command_flag */
	uint32_t categories;  /* enum command_category */
	unsigned index;       /* position among all rows, for statistics */
	unsigned
		number; /* the same in the table without renamed and removed commands: rights are kept by it */
	const struct key_spec *key_specs;
	unsigned key_spec_count;
	int first_key, last_key, key_step; /* COMMAND INFO's short form of key_specs; 0 = none */
	int first_value; /* argument that is stored whole under the first key, and so may come as a body
			    (net/argument_body.h), like those of the further keys; 0 = none */
	/* The first argument that names an element of the first key, about, 0 = none; and each so many after it. For hints. */
	int first_element, element_step;
	enum command_channels channels; /* which arguments are channels that users need a right to */
	command_key_rule key_rule;      /* finds the keys where key_specs are not exact; NULL: they are, or no
				      rule is known */
	const struct sensitive_argument *sensitive;
	unsigned sensitive_count;
	unsigned subcommand_count;
	const struct command *subcommands;
	const struct command_docs *docs;
};

static inline bool
command_arity_is_right(const struct command *command, size_t argc)
{
	return command->arity >= 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
}

struct command_table {
	const struct command *rows; /* top-level ones first */
	size_t top_count, row_count;
	const uint16_t *slots; /* row + 1, 0 = empty: open addressing over the names of top-level rows */
	size_t slot_mask;      /* the number of slots, a power of two, less one */
};

/* The row for argv (the subcommand's row where the command is a container with that subcommand), NULL if
 * unknown. `ret_container` (may be NULL) gets the container when only the subcommand is unknown, and is left
 * as it was otherwise. */
const struct command *command_find(const struct command_table *, const struct bytes *argv, size_t argc,
				   const struct command **ret_container);
/* Whether a row is that of a command, and not of a subcommand. */
static inline bool
command_is_top(const struct command_table *table, const struct command *row)
{
	assert(row >= table->rows && row < table->rows + table->row_count);
	return row < table->rows + table->top_count;
}
/* By full name, "get" or "config|get"; NULL if unknown. */
const struct command *command_find_full_name(const struct command_table *, struct bytes name);

/* Case-insensitive match of an argument with an upper- or lower-case word. */
bool argument_is(struct bytes argument, const char *word);

/* The first eight bytes, the first one lowest; zeros after a shorter name. `name` is not empty. */
static inline uint64_t
command_name_word(struct bytes name)
{
	const uint8_t *data = name.data;
	size_t size = name.size;
	uint64_t word;
	uint32_t low, high;
	if (size >= 8) {
		memcpy(&word, data, 8);
		return le64toh(word);
	}
	if (size >= 4) {
		memcpy(&low, data, 4);
		memcpy(&high, data + size - 4, 4);
		return le32toh(low) | (uint64_t)le32toh(high) << 8 * (size - 4);
	}
	size_t middle = size / 2;
	return data[0] | (uint64_t)data[middle] << 8 * middle | (uint64_t)data[size - 1] << 8 * (size - 1);
}
/* The same in lower case. */
uint64_t command_name_head(struct bytes name);
/* Where the search for a name with this head and size begins. */
size_t command_first_slot(const struct command_table *, uint64_t head, size_t size);

/* A run of arguments: first, first + step, ..., before `end`. Empty if first is not below `end`. */
struct key_range {
	size_t first, end, step;
};
/* key_spec_range, of all kinds. */
int key_spec_search(const struct key_spec *, const struct bytes *argv, size_t argc, struct key_range *ret);
/* The keys that a specification finds. Those of KEY_NOT_KEY are none. SETT_INVALID if the arguments do not say
 * where they are, or if nobody knows. */
static inline int
key_spec_range(const struct key_spec *spec, const struct bytes *argv, size_t argc, struct key_range *ret)
{
	/* Most commands have one key, in the same place always. */
	if (spec->begin == BEGIN_INDEX && spec->find == FIND_RANGE && spec->last == 0 &&
	    (spec->flags & KEY_NOT_KEY) == 0 && (size_t)spec->index < argc) {
		*ret = (struct key_range){(size_t)spec->index, (size_t)spec->index + 1, 1};
		return SETT_OK;
	}
	return key_spec_search(spec, argv, argc, ret);
}
/* All key arguments and how each is used, in order of the specifications. SETT_INVALID if the arguments make no
 * sense, or if keys may be missing. `ret` has room for `argc`. */
int command_key_positions(const struct command *, const struct bytes *argv, size_t argc,
			  struct command_key *ret, size_t *ret_count);
/* The position of the key under which the command stores argument `position` whole; 0 if it does not. */
size_t command_key_of_value(const struct command *, size_t position);
/* Whether an argument may be a secret, and so is not to be shown. */
bool command_argument_is_sensitive(const struct command *, const struct bytes *argv, size_t argc,
				   size_t position);

#endif
