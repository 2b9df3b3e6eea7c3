/* Making and changing users: see user.h. The rules are those of ACL SETUSER in Redis 7.0. */
#include "acl/user.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

#include "acl/password.h"
#include "config/words.h"
#include "keyspace/glob.h"
#include "table/command_words.h"

enum { ARENA_BLOCK = 1024 };

const char *const acl_user_flag_words[ACL_USER_FLAGS] = {"on", "off", "nopass", "skip-sanitize-payload",
							 "sanitize-payload"};

const char *
acl_fault_text(enum acl_fault fault)
{
	static const char *const texts[] = {
		[ACL_FINE] = "",
		[ACL_NO_MEMORY] = "Out of memory",
		[ACL_UNKNOWN_NAME] = "Unknown command or category name in ACL",
		[ACL_SYNTAX] = "Syntax error",
		[ACL_NEVER_CLOSED] = "Syntax error",
		[ACL_KEYS_ARE_OPEN] = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not "
				      "valid and does not have any effect. Try 'resetkeys' to start with an "
				      "empty list of patterns",
		[ACL_CHANNELS_ARE_OPEN] =
			"Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
			"does not have any effect. Try 'resetchannels' to start with an empty list of "
			"channels",
		[ACL_NO_SUCH_PASSWORD] = "The password you are trying to remove from the user does not exist",
		[ACL_BAD_HASH] =
			("The password hash must be exactly 64 characters and contain only lowercase "
			 "hexadecimal characters"),
		[ACL_FIRST_ARGUMENT_OF_SUBCOMMAND] = "Allowing first-arg of a subcommand is not supported",
		[ACL_DUPLICATE_USER] =
			"Duplicate user found. A user can only be defined once in config files",
	};
	return texts[fault];
}

bool
acl_has_spaces(struct bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] == 0 || isspace(text.data[i]))
			return true;
	return false;
}

/* ---- memory ---- */

/* Room for one more item of an array in the arena: what it had before stays there unused. False: out of memory. */
static bool
grow(struct arena *arena, void **items, size_t count, size_t *capacity, size_t item_size)
{
	if (count < *capacity)
		return true;
	size_t larger = *capacity > 0 ? 2 * *capacity : 4;
	void *grown = arena_allocate(arena, larger * item_size, 8);
	if (grown == NULL)
		return false;
	if (count > 0)
		memcpy(grown, *items, count * item_size);
	*items = grown;
	*capacity = larger;
	return true;
}

static bool
copy_text(struct arena *arena, struct bytes text, struct bytes *ret)
{
	*ret = (struct bytes){0};
	if (text.size == 0)
		return true;
	const void *copy = arena_copy(arena, text.data, text.size);
	if (copy == NULL)
		return false;
	*ret = bytes_of(copy, text.size);
	return true;
}

static struct acl_selector *
add_selector(struct acl_user *u)
{
	struct acl_selector *s = arena_allocate(&u->arena, sizeof(*s), 8), **last = &u->root;
	if (s == NULL)
		return NULL;
	*s = (struct acl_selector){0};
	while (*last != NULL)
		last = &(*last)->next;
	*last = s;
	return s;
}

static struct acl_user *
make_user(struct bytes name, uint64_t id)
{
	struct acl_user *u = calloc(1, sizeof(*u));
	if (u == NULL)
		return NULL;
	u->references = 1;
	u->id = id;
	arena_init(&u->arena, ARENA_BLOCK);
	if (copy_text(&u->arena, name, &u->name))
		return u;
	acl_user_release(u);
	return NULL;
}

struct acl_user *
acl_user_create(struct bytes name, uint64_t id, const struct acl_terms *terms)
{
	struct acl_user *u = make_user(name, id);
	if (u == NULL)
		return NULL;
	u->flags = ACL_USER_OFF;
	struct acl_selector *root = add_selector(u);
	if (root == NULL) {
		acl_user_release(u);
		return NULL;
	}
	root->flags = terms->channels_are_open ? ACL_ALL_CHANNELS : 0;
	return u;
}

static bool
copy_patterns(struct arena *arena, const struct acl_patterns *from, struct acl_patterns *to)
{
	*to = (struct acl_patterns){.count = from->count, .capacity = from->count};
	if (from->count == 0)
		return true;
	if (from->index != NULL) {
		to->index = arena_allocate(arena, sizeof(*to->index), 8);
		if (to->index == NULL)
			return false;
		*to->index = *from->index;
	}
	to->items = arena_allocate(arena, from->count * sizeof(*to->items), 8);
	if (to->items == NULL)
		return false;
	for (size_t i = 0; i < from->count; i++) {
		to->items[i] = from->items[i];
		if (!copy_text(arena, from->items[i].text, &to->items[i].text))
			return false;
	}
	return true;
}

static bool
copy_selector(struct acl_user *u, const struct acl_selector *from)
{
	struct acl_selector *s = add_selector(u);
	if (s == NULL || !copy_patterns(&u->arena, &from->keys, &s->keys) ||
	    !copy_patterns(&u->arena, &from->channels, &s->channels))
		return false;
	s->flags = from->flags;
	memcpy(s->commands, from->commands, sizeof(s->commands));
	for (size_t i = 0; i < from->first_argument_count; i++) {
		if (!grow(&u->arena, (void **)&s->first_arguments, i, &s->first_argument_capacity,
			  sizeof(*s->first_arguments)))
			return false;
		s->first_arguments[i].command = from->first_arguments[i].command;
		if (!copy_text(&u->arena, from->first_arguments[i].word, &s->first_arguments[i].word))
			return false;
		s->first_argument_count++;
	}
	return true;
}

static bool
copy_passwords(struct acl_user *u, const struct acl_user *from)
{
	if (from->password_count == 0)
		return true;
	u->passwords = arena_allocate(&u->arena, from->password_count * sizeof(*u->passwords), 8);
	if (u->passwords == NULL)
		return false;
	memcpy(u->passwords, from->passwords, from->password_count * sizeof(*u->passwords));
	u->password_count = u->password_capacity = from->password_count;
	return true;
}

struct acl_user *
acl_user_copy(const struct acl_user *from)
{
	struct acl_user *u = make_user(from->name, from->id);
	if (u == NULL)
		return NULL;
	u->flags = from->flags;
	u->may_do_all = from->may_do_all;
	bool done = copy_passwords(u, from);
	for (const struct acl_selector *s = from->root; s != NULL && done; s = s->next)
		done = copy_selector(u, s);
	if (done)
		return u;
	acl_user_release(u);
	return NULL;
}

void
acl_user_hold(struct acl_user *u)
{
	/* relaxed: who adds a reference has one, or a lock under which one is kept */
	__atomic_add_fetch(&u->references, 1, __ATOMIC_RELAXED);
}

void
acl_user_release(struct acl_user *u)
{
	/* The last one sees what the others did with it: acquire and release, with themselves. */
	if (u == NULL || __atomic_sub_fetch(&u->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	arena_free(&u->arena);
	free(u);
}

/* ---- selectors: commands ---- */

static void
forget_first_arguments(struct acl_selector *s, unsigned command)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->first_argument_count; i++)
		if (s->first_arguments[i].command != command)
			s->first_arguments[kept++] = s->first_arguments[i];
	s->first_argument_count = kept;
}

static void
set_bit(struct acl_selector *s, unsigned command, bool allow)
{
	uint64_t bit = 1ULL << command % 64;
	assert(command < ACL_COMMANDS_MAX);
	if (allow) {
		s->commands[command / 64] |= bit;
	} else {
		s->commands[command / 64] &= ~bit;
		s->flags &= ~(unsigned)ACL_ALL_COMMANDS;
	}
}

/* A container takes its subcommands along. */
static void
set_command(struct acl_selector *s, const struct command *command, bool allow)
{
	set_bit(s, command->number, allow);
	forget_first_arguments(s, command->number);
	for (unsigned i = 0; i < command->subcommand_count; i++)
		set_bit(s, command->subcommands[i].number, allow);
}

static void
set_all_commands(struct acl_selector *s, bool allow)
{
	unsigned bits = ACL_ALL_COMMANDS | ACL_FUTURE_COMMANDS;
	memset(s->commands, allow ? 0xff : 0, sizeof(s->commands));
	s->flags = allow ? s->flags | bits : s->flags & ~bits;
	s->first_argument_count = 0;
}

static enum acl_fault
set_category(struct acl_selector *s, const struct command_table *commands, struct bytes name, bool allow)
{
	uint32_t category = word_bit(&command_category_words, name);
	if (category == 0)
		return ACL_UNKNOWN_NAME;
	for (size_t i = 0; i < commands->row_count; i++)
		if ((commands->rows[i].categories & category) != 0)
			set_command(s, &commands->rows[i], allow);
	return ACL_FINE;
}

static enum acl_fault
add_first_argument(struct acl_user *u, struct acl_selector *s, unsigned command, struct bytes word)
{
	for (size_t i = 0; i < s->first_argument_count; i++) {
		const struct acl_first_argument *a = &s->first_arguments[i];
		if (a->command == command && a->word.size == word.size &&
		    strncasecmp((const char *)a->word.data, (const char *)word.data, word.size) == 0)
			return ACL_FINE;
	}
	struct acl_first_argument added = {.command = command};
	if (!grow(&u->arena, (void **)&s->first_arguments, s->first_argument_count,
		  &s->first_argument_capacity, sizeof(*s->first_arguments)) ||
	    !copy_text(&u->arena, word, &added.word))
		return ACL_NO_MEMORY;
	s->first_arguments[s->first_argument_count++] = added;
	return ACL_FINE;
}

/* The place of the last bar; `text.size` if there is none. */
static size_t
last_bar(struct bytes text)
{
	const uint8_t *bar = text.size > 0 ? memrchr(text.data, '|', text.size) : NULL;
	return bar != NULL ? (size_t)(bar - text.data) : text.size;
}

/* "+command", "+container|subcommand", "+command|first-argument": `name` is without the sign. */
static enum acl_fault
allow_command(struct acl_user *u, struct acl_selector *s, const struct acl_terms *terms, struct bytes name)
{
	size_t bar = last_bar(name);
	struct bytes before = bytes_of(name.data, bar);
	const struct command *command = command_find_full_name(terms->commands, before);
	if (command == NULL)
		return ACL_UNKNOWN_NAME;
	if (bar == name.size) {
		set_command(s, command, true);
		return ACL_FINE;
	}
	struct bytes after = bytes_of(name.data + bar + 1, name.size - bar - 1);
	if (memchr(before.data, '|', before.size) != NULL)
		return ACL_FIRST_ARGUMENT_OF_SUBCOMMAND;
	if (after.size == 0)
		return ACL_SYNTAX;
	if (command->subcommand_count > 0) {
		command = command_find_full_name(terms->commands, name);
		if (command == NULL)
			return ACL_UNKNOWN_NAME;
		set_command(s, command, true);
		return ACL_FINE;
	}
	/* A blank would end the word where the users are written to a file. */
	if (acl_has_spaces(after))
		return ACL_SYNTAX;
	log_sink_printf(terms->sink, LOG_LEVEL_WARNING,
			"Deprecation warning: Allowing a first arg of an otherwise blocked command is a "
			"misuse of ACL and may get disabled in the future (offender: +%.*s)",
			(int)name.size, (const char *)name.data);
	return add_first_argument(u, s, command->number, after);
}

static enum acl_fault
apply_command(struct acl_user *u, struct acl_selector *s, const struct acl_terms *terms, struct bytes rule)
{
	bool allow = rule.data[0] == '+';
	struct bytes name = bytes_of(rule.data + 1, rule.size - 1);
	if (name.size > 0 && name.data[0] == '@')
		return set_category(s, terms->commands, bytes_of(name.data + 1, name.size - 1), allow);
	if (allow)
		return allow_command(u, s, terms, name);
	const struct command *command = command_find_full_name(terms->commands, name);
	if (command == NULL)
		return ACL_UNKNOWN_NAME;
	set_command(s, command, false);
	return ACL_FINE;
}

/* ---- selectors: patterns ---- */

static void
look_at_pattern(struct acl_pattern *p)
{
	p->literal = glob_literal_size(p->text);
	p->head = p->head_mask = 0;
	size_t head_size = p->literal < sizeof(p->head) ? p->literal : sizeof(p->head);
	if (head_size > 0) {
		memcpy(&p->head, p->text.data, head_size);
		memset(&p->head_mask, 0xff, head_size);
	}
	p->form = PATTERN_GLOB;
	if (p->literal == p->text.size)
		p->form = PATTERN_LITERAL;
	else if (p->literal + 1 == p->text.size && p->text.data[p->literal] == '*')
		p->form = PATTERN_PREFIX;
}

static void
enter(struct acl_index *index, const struct acl_pattern *p, size_t number)
{
	for (unsigned i = 0; i < ACL_HALF_BYTES; i++)
		for (unsigned value = 0; value < 16; value++)
			if (((p->head >> 4 * i ^ value) & p->head_mask >> 4 * i & 0xf) == 0)
				index->rows[i][value] |= 1ULL << number % ACL_INDEX_BITS;
	index->all |= 1ULL << number % ACL_INDEX_BITS;
}

/* How many of the patterns are left for a text like one of these, if a place is looked at, too. */
static unsigned
count_left(const struct acl_patterns *of, const uint64_t *left, unsigned place)
{
	unsigned sum = 0;
	for (size_t i = 0; i < of->count; i++) {
		const struct acl_pattern *p = &of->items[i];
		bool says = (p->head_mask >> 4 * place & 0xf) != 0;
		uint64_t row = says ? of->index->rows[place][p->head >> 4 * place & 0xf] : UINT64_MAX;
		sum += (unsigned)__builtin_popcountll(left[i] & row);
	}
	return sum;
}

static void
take_place(const struct acl_patterns *of, uint64_t *left, unsigned place)
{
	of->index->places[of->index->place_count++] = (uint8_t)place;
	for (size_t i = 0; i < of->count; i++)
		if ((of->items[i].head_mask >> 4 * place & 0xf) != 0)
			left[i] &= of->index->rows[place][of->items[i].head >> 4 * place & 0xf];
}

/* Place after place, each time the one that leaves least, as long as one helps. Patterns that share bits are told apart by all. */
static void
choose_places(const struct acl_patterns *of)
{
	struct acl_index *index = of->index;
	uint64_t left[ACL_INDEX_BITS];
	index->place_count = 0;
	if (of->count > ACL_INDEX_BITS) {
		for (unsigned i = 0; i < ACL_HALF_BYTES; i++)
			index->places[index->place_count++] = (uint8_t)i;
		return;
	}
	for (size_t i = 0; i < of->count; i++)
		left[i] = index->all;
	unsigned least = (unsigned)(of->count * of->count);
	for (bool helps = true; helps;) {
		unsigned best = ACL_HALF_BYTES;
		for (unsigned place = 0; place < ACL_HALF_BYTES; place++) {
			unsigned sum = count_left(of, left, place);
			best = sum < least ? place : best;
			least = sum < least ? sum : least;
		}
		helps = best < ACL_HALF_BYTES;
		if (helps)
			take_place(of, left, best);
	}
}

/* Enters the last pattern. The index is made when there are some. False: out of memory. */
static bool
enter_last(struct arena *arena, struct acl_patterns *to)
{
	enum { INDEX_FROM = 4 };
	size_t first = to->count - 1;
	if (to->count < INDEX_FROM)
		return true;
	if (to->index == NULL) {
		to->index = arena_allocate(arena, sizeof(*to->index), 8);
		if (to->index == NULL)
			return false;
		*to->index = (struct acl_index){0};
		first = 0;
	}
	for (size_t i = first; i < to->count; i++)
		enter(to->index, &to->items[i], i);
	choose_places(to);
	return true;
}

static void
forget_patterns(struct acl_patterns *of)
{
	of->count = 0;
	of->index = NULL;
}

/* One that is there gets the rights besides. */
static enum acl_fault
add_pattern(struct acl_user *u, struct acl_patterns *to, struct bytes text, unsigned rights)
{
	if (acl_has_spaces(text))
		return ACL_SYNTAX;
	for (size_t i = 0; i < to->count; i++)
		if (bytes_equal(to->items[i].text, text)) {
			to->items[i].rights |= rights;
			return ACL_FINE;
		}
	struct acl_pattern added = {.rights = rights};
	if (!grow(&u->arena, (void **)&to->items, to->count, &to->capacity, sizeof(*to->items)) ||
	    !copy_text(&u->arena, text, &added.text))
		return ACL_NO_MEMORY;
	look_at_pattern(&added);
	to->items[to->count++] = added;
	return enter_last(&u->arena, to) ? ACL_FINE : ACL_NO_MEMORY;
}

/* The rights between '%' and '~'; where the pattern begins. False: they make no sense. */
static bool
parse_rights(struct bytes rule, unsigned *ret_rights, size_t *ret_begin)
{
	size_t i = 1;
	*ret_rights = 0;
	for (; i < rule.size && rule.data[i] != '~'; i++) {
		int letter = toupper(rule.data[i]);
		unsigned right = letter == 'R' ? ACL_READ : letter == 'W' ? ACL_WRITE : 0;
		if (right == 0 || (*ret_rights & right) != 0)
			return false;
		*ret_rights |= right;
	}
	*ret_begin = i < rule.size ? i + 1 : i;
	return *ret_rights != 0;
}

static enum acl_fault
apply_keys(struct acl_user *u, struct acl_selector *s, struct bytes rule)
{
	unsigned rights = ACL_READ | ACL_WRITE;
	size_t begin = 1;
	if ((s->flags & ACL_ALL_KEYS) != 0)
		return ACL_KEYS_ARE_OPEN;
	if (rule.data[0] == '%' && !parse_rights(rule, &rights, &begin))
		return ACL_SYNTAX;
	return add_pattern(u, &s->keys, bytes_of(rule.data + begin, rule.size - begin), rights);
}

static enum acl_fault
apply_channels(struct acl_user *u, struct acl_selector *s, struct bytes rule)
{
	if ((s->flags & ACL_ALL_CHANNELS) != 0)
		return ACL_CHANNELS_ARE_OPEN;
	return add_pattern(u, &s->channels, bytes_of(rule.data + 1, rule.size - 1), 0);
}

/* ---- rules that are words ---- */

/* Words are compared as C strings are: a NUL ends them. */
static struct bytes
up_to_nul(struct bytes rule)
{
	return bytes_of(rule.data, strnlen((const char *)rule.data, rule.size));
}

static bool
is_either(struct bytes rule, const char *word, const char *other)
{
	return argument_is(rule, word) || argument_is(rule, other);
}

/* False: it is no word that a selector knows. */
static bool
apply_selector_word(struct acl_selector *s, struct bytes word)
{
	if (is_either(word, "allkeys", "~*")) {
		s->flags |= ACL_ALL_KEYS;
		forget_patterns(&s->keys);
	} else if (argument_is(word, "resetkeys")) {
		s->flags &= ~(unsigned)ACL_ALL_KEYS;
		forget_patterns(&s->keys);
	} else if (is_either(word, "allchannels", "&*")) {
		s->flags |= ACL_ALL_CHANNELS;
		forget_patterns(&s->channels);
	} else if (argument_is(word, "resetchannels")) {
		s->flags &= ~(unsigned)ACL_ALL_CHANNELS;
		forget_patterns(&s->channels);
	} else if (is_either(word, "allcommands", "+@all")) {
		set_all_commands(s, true);
	} else if (is_either(word, "nocommands", "-@all")) {
		set_all_commands(s, false);
	} else {
		return false;
	}
	return true;
}

enum acl_fault
acl_selector_apply(struct acl_user *u, struct acl_selector *s, const struct acl_terms *terms,
		   struct bytes rule)
{
	if (rule.size == 0)
		return ACL_SYNTAX;
	struct bytes word = up_to_nul(rule);
	if (apply_selector_word(s, word))
		return ACL_FINE;
	switch (rule.data[0]) {
	case '~':
	case '%':
		return apply_keys(u, s, rule);
	case '&':
		return apply_channels(u, s, rule);
	case '+':
	case '-':
		return apply_command(u, s, terms, word);
	default:
		return ACL_SYNTAX;
	}
}

static void
set_flag(struct acl_user *u, enum acl_user_flag set, enum acl_user_flag clear)
{
	u->flags = (u->flags & ~(unsigned)clear) | set;
}

static void
reset(struct acl_user *u, const struct acl_terms *terms)
{
	u->flags = ACL_USER_OFF | ACL_USER_SANITIZES;
	u->password_count = 0;
	u->root->next = NULL;
	u->root->flags = terms->channels_are_open ? ACL_ALL_CHANNELS : 0;
	forget_patterns(&u->root->keys);
	forget_patterns(&u->root->channels);
	set_all_commands(u->root, false);
}

/* False: it is no word that a user knows. */
static bool
apply_user_word(struct acl_user *u, const struct acl_terms *terms, struct bytes word)
{
	if (argument_is(word, "on")) {
		set_flag(u, ACL_USER_ON, ACL_USER_OFF);
	} else if (argument_is(word, "off")) {
		set_flag(u, ACL_USER_OFF, ACL_USER_ON);
	} else if (argument_is(word, "skip-sanitize-payload")) {
		set_flag(u, ACL_USER_SKIPS_SANITIZING, ACL_USER_SANITIZES);
	} else if (argument_is(word, "sanitize-payload")) {
		set_flag(u, ACL_USER_SANITIZES, ACL_USER_SKIPS_SANITIZING);
	} else if (argument_is(word, "nopass")) {
		u->flags |= ACL_USER_NO_PASSWORD;
		u->password_count = 0;
	} else if (argument_is(word, "resetpass")) {
		u->flags &= ~(unsigned)ACL_USER_NO_PASSWORD;
		u->password_count = 0;
	} else if (argument_is(word, "clearselectors")) {
		u->root->next = NULL;
	} else if (argument_is(word, "reset")) {
		reset(u, terms);
	} else {
		return false;
	}
	return true;
}

/* ---- passwords ---- */

/* '>' and '<' come with the password, '#' and '!' with its hash. */
static enum acl_fault
read_password(struct bytes rule, struct acl_password *ret)
{
	struct bytes text = bytes_of(rule.data + 1, rule.size - 1);
	if (rule.data[0] == '>' || rule.data[0] == '<')
		return password_hash(text, ret->hash) == SETT_OK ? ACL_FINE : ACL_NO_MEMORY;
	if (!password_is_hash(text))
		return ACL_BAD_HASH;
	memcpy(ret->hash, text.data, ACL_HASH_SIZE);
	return ACL_FINE;
}

static enum acl_fault
apply_password(struct acl_user *u, struct bytes rule)
{
	struct acl_password password;
	enum acl_fault fault = read_password(rule, &password);
	if (fault != ACL_FINE)
		return fault;
	size_t at = 0;
	while (at < u->password_count && memcmp(u->passwords[at].hash, password.hash, ACL_HASH_SIZE) != 0)
		at++;
	if (rule.data[0] == '<' || rule.data[0] == '!') {
		if (at == u->password_count)
			return ACL_NO_SUCH_PASSWORD;
		memmove(&u->passwords[at], &u->passwords[at + 1],
			(--u->password_count - at) * sizeof(password));
		return ACL_FINE;
	}
	u->flags &= ~(unsigned)ACL_USER_NO_PASSWORD;
	if (at < u->password_count)
		return ACL_FINE;
	if (!grow(&u->arena, (void **)&u->passwords, at, &u->password_capacity, sizeof(password)))
		return ACL_NO_MEMORY;
	u->passwords[u->password_count++] = password;
	return ACL_FINE;
}

/* ---- "( ... )" ---- */

static enum acl_fault
apply_parentheses(struct acl_user *u, const struct acl_terms *terms, struct bytes rule)
{
	struct words words = {0};
	struct acl_selector *s = add_selector(u);
	int status = s == NULL ? SETT_NO_MEMORY : words_split(bytes_of(rule.data + 1, rule.size - 2), &words);
	if (status == SETT_NO_MEMORY)
		return ACL_NO_MEMORY;
	s->flags = terms->channels_are_open ? ACL_ALL_CHANNELS : 0;
	enum acl_fault fault = ACL_FINE;
	/* As in Redis, unbalanced quotes make a selector without rules, which allows nothing. */
	for (size_t i = 0; status == SETT_OK && i < words.count && fault == ACL_FINE; i++)
		fault = acl_selector_apply(u, s, terms, words.items[i]);
	words_free(&words);
	return fault;
}

static enum acl_fault
apply(struct acl_user *u, const struct acl_terms *terms, struct bytes rule)
{
	if (rule.size == 0 || apply_user_word(u, terms, up_to_nul(rule)))
		return ACL_FINE;
	if (strchr("><#!", rule.data[0]) != NULL && rule.data[0] != 0)
		return apply_password(u, rule);
	if (rule.data[0] == '(' && rule.data[rule.size - 1] == ')')
		return apply_parentheses(u, terms, rule);
	return acl_selector_apply(u, u->root, terms, rule);
}

enum acl_fault
acl_user_apply(struct acl_user *u, const struct acl_terms *terms, struct bytes rule)
{
	enum acl_fault fault = apply(u, terms, rule);
	u->may_do_all = false;
	for (const struct acl_selector *s = u->root; s != NULL; s = s->next)
		if ((s->flags & ACL_EVERYTHING) == ACL_EVERYTHING)
			u->may_do_all = true;
	return fault;
}

/* ---- words that belong together ---- */

static bool
ends_with(struct bytes word, uint8_t last)
{
	return word.size > 0 && word.data[word.size - 1] == last;
}

static bool
join(struct arena *arena, const struct bytes *words, size_t count, struct bytes *ret)
{
	size_t size = count - 1;
	for (size_t i = 0; i < count; i++)
		size += words[i].size;
	uint8_t *text = arena_allocate(arena, size, 1), *end = text;
	if (text == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			*end++ = ' ';
		if (words[i].size > 0)
			memcpy(end, words[i].data, words[i].size);
		end += words[i].size;
	}
	*ret = bytes_of(text, size);
	return true;
}

/* The array and what was joined are in the arena. SETT_NO_MEMORY; SETT_INVALID: the parenthesis that word `ret_open` begins is
 * never closed. */
static int
join_words(struct arena *arena, const struct bytes *words, size_t count, struct bytes **ret,
	   size_t *ret_count, size_t *ret_open)
{
	struct bytes *joined = arena_allocate(arena, (count + 1) * sizeof(*joined), 8);
	size_t joined_count = 0;
	if (joined == NULL)
		return SETT_NO_MEMORY;
	size_t begin = 0;
	bool is_open = false;
	for (size_t i = 0; i < count; i++) {
		/* As in Redis, one that opens within another replaces it. */
		if (words[i].size > 0 && words[i].data[0] == '(' && !ends_with(words[i], ')')) {
			begin = i;
			is_open = true;
			continue;
		}
		if (is_open && !ends_with(words[i], ')'))
			continue;
		joined[joined_count] = words[i];
		if (is_open && !join(arena, &words[begin], i - begin + 1, &joined[joined_count]))
			return SETT_NO_MEMORY;
		is_open = false;
		joined_count++;
	}
	if (is_open) {
		*ret_open = begin;
		return SETT_INVALID;
	}
	*ret = joined;
	*ret_count = joined_count;
	return SETT_OK;
}

int
acl_user_apply_all(struct acl_user *u, const struct acl_terms *terms, struct arena *arena,
		   const struct bytes *rules, size_t count, acl_fault_function function, void *arg)
{
	struct bytes *joined;
	size_t joined_count, open;
	int status = join_words(arena, rules, count, &joined, &joined_count, &open);
	if (status == SETT_INVALID)
		return function(arg, ACL_NEVER_CLOSED, rules[open]);
	for (size_t i = 0; status == SETT_OK && i < joined_count; i++) {
		enum acl_fault fault = acl_user_apply(u, terms, joined[i]);
		if (fault == ACL_NO_MEMORY)
			status = SETT_NO_MEMORY;
		else if (fault != ACL_FINE)
			status = function(arg, fault, joined[i]);
	}
	return status;
}
