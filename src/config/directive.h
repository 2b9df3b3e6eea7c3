/* One row of the directive table, and what a value of it is. Internal to config/. */
#ifndef SETT_CONFIG_DIRECTIVE_H
#define SETT_CONFIG_DIRECTIVE_H

#include "config/config.h"

enum directive_kind {
	KIND_BOOLEAN,
	KIND_CHOICE,  /* one word of a list */
	KIND_CHOICES, /* several words of a list, or'ed */
	KIND_INTEGER,
	KIND_DECIMAL,
	KIND_STRING,
	/* The rest keep their canonical text, as CONFIG GET shows it. */
	KIND_DIRECTORY,
	KIND_SAVE,
	KIND_CLIENT_LIMITS,
	KIND_SCORE_VALUES,
	KIND_EVENTS,
	KIND_BIND,
	KIND_REPLICA_OF,
	KIND_PERCENTILES,
	DIRECTIVE_KINDS
};

enum directive_flag {
	DIRECTIVE_IMMUTABLE = 1 << 0, /* CONFIG SET refuses */
	DIRECTIVE_PROTECTED = 1 << 1, /* CONFIG SET asks enable-protected-configs */
	DIRECTIVE_MULTIPLE = 1 << 2,  /* takes several words; CONFIG SET splits its one argument */
	DIRECTIVE_HIDDEN = 1 << 3,    /* CONFIG GET shows it only by its exact name */
	DIRECTIVE_MEMORY = 1 << 4,    /* integers: 1gb, 100mb, ... */
	DIRECTIVE_PERCENT = 1 << 5,   /* integers: may be a percentage, kept as a negative number */
	DIRECTIVE_OCTAL = 1 << 6,
	DIRECTIVE_NULLABLE = 1 << 7,   /* strings: "" is NULL */
	DIRECTIVE_FIXED = 1 << 8,      /* Redis can change it while running; here CONFIG SET takes only the
					   value it has */
	DIRECTIVE_CUMULATIVE = 1 << 9, /* several lines of a file add up, the first replaces the default */
	DIRECTIVE_SENSITIVE = 1 << 10, /* a secret: shown by CONFIG GET alone */
	DIRECTIVE_BINARY = 1 << 12,    /* strings: may hold NULs; the field is a struct bytes */
	DIRECTIVE_REREAD = 1 << 11,    /* names a file: set to the value that it has, the file is read anew */
};

enum { DIRECTIVE_REASON_SIZE = 512, DIRECTIVE_WORDS_MAX = 1024 };

struct choice {
	const char *word;
	int value;
};

/* Owned by whoever holds it; directive_value_free. */
struct directive_value {
	int64_t number; /* boolean, choice(s), integer (an unsigned one by its bits); of KIND_EVENTS: events_read,
			   which says more than the text */
	double decimal;
	char *text;  /* string and the textual kinds, with a NUL behind; NULL is a null string */
	size_t size; /* of the text */
};

struct directive {
	const char *name;
	const char *alias;
	enum directive_kind kind;
	unsigned flags;
	const char *initial; /* the default, as one would write it behind the name */
	int64_t low;
	uint64_t high;
	const struct choice *choices; /* ends with a NULL word */
	/* A further rule; false with `ret_reason` set refuses the value. May change it (clamp). */
	bool (*check)(struct directive_value *, char *ret_reason);
	const char *fixed; /* DIRECTIVE_FIXED: the reason, if not just "can't be changed while running" */
	/* What becomes of the setting. Both NULL: it does what it says. */
	const char *no_effect; /* why it changes nothing (beside the field, if there is one: not all that it
				  says); the log names it */
	const char *refused;   /* why only the default is taken: the setting protects data or access, and
				  would not */
	bool has_field;        /* mirrored in struct config: */
	size_t field;          /* offset */
	size_t width;
};

extern const struct directive directive_table[];
extern const size_t directive_count;
/* Index of the row with this name or alias, whatever its case; -1 if there is none. */
int directive_index(struct bytes name);

/* Parses the words that follow the name. `old` is the present value (for kinds that change a part of it),
 * `append` says that an earlier line of the same file gave it. SETT_OK, SETT_INVALID with the reason,
 * SETT_NO_MEMORY. */
int directive_parse(const struct directive *, const struct bytes *words, size_t count,
		    const struct directive_value *old, bool append, struct directive_value *ret,
		    char *reason);
/* The value as CONFIG GET shows it, appended. */
int directive_format(const struct directive *, const struct directive_value *, struct buffer *ret);
void directive_value_free(struct directive_value *);
bool directive_value_equal(const struct directive *, const struct directive_value *,
			   const struct directive_value *);

/* value_text.c: the kinds that keep their canonical text. */
typedef int (*directive_text_parser)(const struct directive *, const struct bytes *words, size_t count,
				     const char *old, struct buffer *ret, char *reason);
extern const directive_text_parser directive_text_parsers[DIRECTIVE_KINDS];
/* Reads the canonical text of client-output-buffer-limit. False if it is none. */
bool client_limits_read(const char *text, struct config_output_limit ret[CONFIG_CLIENT_CLASSES]);
/* The classes that letters of notify-keyspace-events stand for: bits in the order of CONFIG_EVENT_LETTERS. */
unsigned events_read(struct bytes word);
/* "1gb" and the like; false if it is none. Saturates. */
bool parse_memory(struct bytes text, uint64_t *ret);
bool parse_decimal_integer(struct bytes text, int64_t *ret);

/* One of the two. */
struct directive_listener {
	struct directive_listener *next;
	int index;
	bool (*allows)(void *arg, const struct config *planned, char *ret_reason, size_t size);
	void (*changed)(void *arg);
	void *arg;
};

struct config_private {
	struct mutex lock;
	struct directive_value *values;  /* by row; strings mirrored into struct config are owned here */
	struct directive_value *initial; /* the defaults, parsed */
	bool *given;                     /* by row: the file or the command line named it */
	char *file_path;                 /* absolute, NULL if none */
	struct directive_listener *listeners;
	struct config_rename *renames, **last_rename; /* `last_rename`: where the next one goes */
	struct config_user *users, **last_user;       /* likewise */
	int (*append_users)(void *arg,
			    struct buffer *ret); /* under the lock, as the next one; NULL: nobody */
	void *append_users_arg;
	struct buffer warnings, notes; /* for the log: lines, each ended by a newline */
};

/* config.c: takes over `value`, mirrors it into struct config. */
void config_store(struct config *, int index, struct directive_value *value);
/* config.c: whether only the default is taken of this row and this is another value; then with the reason. */
bool config_refuses(const struct config *, int index, const struct directive_value *, char *ret_reason);

#endif
