/* May a user run a command? See user.h. A selector that allows the command, all its keys and all its channels allows it;
 * parts of several selectors are not put together. */
#include <stdlib.h>

#include "acl/user.h"
#include "keyspace/glob.h"
#include "storage/status.h"

/* ---- patterns ---- */

/* Up to eight bytes of the beginning, zeros behind a shorter text. */
static inline uint64_t
head_of(struct bytes text)
{
	uint64_t head = 0;
	if (text.size >= sizeof(head))
		memcpy(&head, text.data, sizeof(head));
	else if (text.size > 0)
		memcpy(&head, text.data, text.size);
	return head;
}

/* Most patterns are told apart by the head. */
static inline bool
matches(const struct acl_pattern *p, struct bytes text, uint64_t head)
{
	if (((head ^ p->head) & p->head_mask) != 0 || text.size < p->literal)
		return false;
	if (p->literal > sizeof(head) && memcmp(text.data, p->text.data, p->literal) != 0)
		return false;
	if (p->form == PATTERN_GLOB)
		return glob_match(p->text, text, false);
	return p->form == PATTERN_PREFIX || text.size == p->literal;
}

/* What a use of a key asks for. */
static unsigned
rights_for(uint32_t key_flags)
{
	return ((key_flags & KEY_ACCESS) != 0 ? ACL_READ : 0U) |
		((key_flags & (KEY_INSERT | KEY_DELETE | KEY_UPDATE)) != 0 ? ACL_WRITE : 0U);
}

/* The bits of the patterns that a text with this head may match. */
static inline uint64_t
candidates(const struct acl_patterns *all, uint64_t head)
{
	uint64_t bits = UINT64_MAX;
	if (all->index == NULL)
		return all->count < ACL_INDEX_BITS ? (1ULL << all->count) - 1 : bits;
	bits = all->index->all;
	for (unsigned i = 0; i < all->index->place_count; i++) {
		unsigned place = all->index->places[i];
		bits &= all->index->rows[place][head >> 4 * place & 0xf];
	}
	return bits;
}

/* Whether one with these rights matches. */
static bool
some_match(const struct acl_patterns *all, struct bytes text, unsigned rights)
{
	uint64_t head = head_of(text);
	for (uint64_t bits = candidates(all, head); bits != 0; bits &= bits - 1)
		for (size_t i = (size_t)__builtin_ctzll(bits); i < all->count; i += ACL_INDEX_BITS) {
			const struct acl_pattern *p = &all->items[i];
			if (matches(p, text, head) && (p->rights & rights) == rights)
				return true;
		}
	return false;
}

bool
acl_allows_channel(const struct acl_patterns *channels, struct bytes name, bool is_pattern)
{
	if (!is_pattern)
		return some_match(channels, name, 0);
	for (size_t i = 0; i < channels->count; i++)
		if (bytes_equal(channels->items[i].text, name))
			return true;
	return false;
}

/* ---- one selector ---- */

enum { KEYS_HERE = 32 };

/* A request, and its keys once they were looked for. */
struct question {
	const struct command *command;
	const struct bytes *argv;
	size_t argc;
	struct command_key *keys; /* NULL: they were not looked for */
	size_t key_count;
	struct command_key here[KEYS_HERE];
};

static enum acl_answer
check_command(const struct acl_selector *s, const struct question *q)
{
	unsigned number = q->command->number;
	if ((q->command->flags & COMMAND_NO_AUTH) != 0 || acl_selector_has(s, number))
		return ACL_ALLOWED;
	for (size_t i = 0; i < s->first_argument_count && q->argc > 1; i++) {
		struct bytes word = s->first_arguments[i].word, given = q->argv[1];
		if (s->first_arguments[i].command == number && word.size == given.size &&
		    strncasecmp((const char *)word.data, (const char *)given.data, word.size) == 0)
			return ACL_ALLOWED;
	}
	return ACL_DENIED_COMMAND;
}

/* Where the arguments make no sense no key is named: the command will say so. False: out of memory. */
static bool
find_keys(struct question *q)
{
	if (q->keys != NULL)
		return true;
	q->keys = q->argc <= KEYS_HERE ? q->here : malloc(q->argc * sizeof(*q->keys));
	if (q->keys == NULL)
		return false;
	if (command_key_positions(q->command, q->argv, q->argc, q->keys, &q->key_count) != SETT_OK)
		q->key_count = 0;
	return true;
}

static enum acl_answer
check_keys(const struct acl_selector *s, struct question *q, size_t *ret_position)
{
	const struct command *command = q->command;
	if ((s->flags & ACL_ALL_KEYS) != 0 || (command->key_spec_count == 0 && command->key_rule == NULL))
		return ACL_ALLOWED;
	const struct key_spec *spec = command->key_specs;
	/* Most commands have one key, always in the same place: no need to gather it. */
	if (command->key_rule == NULL && command->key_spec_count == 1 && spec->begin == BEGIN_INDEX &&
	    spec->find == FIND_RANGE && spec->last == 0 &&
	    (spec->flags & (KEY_NOT_KEY | KEY_INCOMPLETE)) == 0 && (size_t)spec->index < q->argc) {
		if (some_match(&s->keys, q->argv[spec->index], rights_for(spec->flags)))
			return ACL_ALLOWED;
		*ret_position = (size_t)spec->index;
		return ACL_DENIED_KEY;
	}
	if (!find_keys(q))
		return ACL_UNDECIDED;
	for (size_t i = 0; i < q->key_count; i++)
		if (!some_match(&s->keys, q->argv[q->keys[i].position], rights_for(q->keys[i].flags))) {
			*ret_position = q->keys[i].position;
			return ACL_DENIED_KEY;
		}
	return ACL_ALLOWED;
}

static enum acl_answer
check_channels(const struct acl_selector *s, const struct question *q, size_t *ret_position)
{
	enum command_channels channels = q->command->channels;
	if (channels == CHANNELS_NONE || (s->flags & ACL_ALL_CHANNELS) != 0)
		return ACL_ALLOWED;
	size_t end = channels == CHANNELS_FIRST && q->argc > 2 ? 2 : q->argc;
	for (size_t i = 1; i < end; i++)
		if (!acl_allows_channel(&s->channels, q->argv[i], channels == CHANNELS_PATTERNS)) {
			*ret_position = i;
			return ACL_DENIED_CHANNEL;
		}
	return ACL_ALLOWED;
}

static enum acl_answer
check_selector(const struct acl_selector *s, struct question *q, size_t *ret_position)
{
	enum acl_answer answer = check_command(s, q);
	if (answer == ACL_ALLOWED)
		answer = check_keys(s, q, ret_position);
	return answer == ACL_ALLOWED ? check_channels(s, q, ret_position) : answer;
}

static void
end_question(struct question *q)
{
	if (__builtin_expect(q->keys != NULL && q->keys != q->here, 0))
		free(q->keys);
}

/* ---- a user ---- */

enum acl_answer
acl_check(const struct acl_user *u, const struct command *command, const struct bytes *argv, size_t argc,
	  size_t *ret_position)
{
	struct question q;
	q.command = command;
	q.argv = argv;
	q.argc = argc;
	q.keys = NULL;
	enum acl_answer worst = ACL_DENIED_COMMAND;
	size_t position = 0, last = 0;
	for (const struct acl_selector *s = u->root; s != NULL; s = s->next) {
		enum acl_answer answer = check_selector(s, &q, &position);
		if (answer == ACL_ALLOWED || answer == ACL_UNDECIDED) {
			end_question(&q);
			return answer;
		}
		if (answer > worst || (answer == worst && position > last)) {
			worst = answer;
			last = position;
		}
	}
	*ret_position = last;
	end_question(&q);
	return worst;
}

static bool
reads_all_keys(const struct acl_selector *s)
{
	if ((s->flags & ACL_ALL_KEYS) != 0)
		return true;
	for (size_t i = 0; i < s->keys.count; i++)
		if ((s->keys.items[i].rights & ACL_READ) != 0 &&
		    bytes_equal(s->keys.items[i].text, BYTES_LITERAL("*")))
			return true;
	return false;
}

bool
acl_check_with_all_keys(const struct acl_user *u, const struct command *command, const struct bytes *argv,
			size_t argc)
{
	struct question q;
	q.command = command;
	q.argv = argv;
	q.argc = argc;
	q.keys = NULL;
	bool allowed = false;
	size_t position;
	for (const struct acl_selector *s = u->root; s != NULL && !allowed; s = s->next)
		allowed = check_selector(s, &q, &position) == ACL_ALLOWED && reads_all_keys(s);
	end_question(&q);
	return allowed;
}
