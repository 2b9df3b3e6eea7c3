/* Users as text, from which the same users can be made again. What commands a selector allows is kept as bits, not as
 * the rules that set them, so rules are looked for that make the same bits: categories that fit, best first, and then
 * single commands, as in Redis 7.0. */
#include <assert.h>

#include "acl/user.h"
#include "storage/status.h"
#include "table/command_words.h"

static int
add(struct buffer *to, const char *text)
{
	return buffer_append(to, text, strlen(text));
}

static int
add_bytes(struct buffer *to, const char *before, struct bytes text)
{
	int status = add(to, before);
	return status == SETT_OK ? buffer_append(to, text.data, text.size) : status;
}

/* ---- commands ---- */

/* The bits of a selector, and those that the rules so far would make. */
struct description {
	const struct acl_selector *selector;
	const struct command_table *table;
	uint64_t made[ACL_COMMANDS_MAX / 64];
	uint64_t left[ACL_COMMANDS_MAX / 64]; /* the selector's, without the categories that were named */
	bool adds;                            /* begun with -@all; else with +@all */
	struct buffer *text;
};

static bool
has(const uint64_t *bits, const struct command *command)
{
	return (bits[command->number / 64] >> command->number % 64 & 1) != 0;
}

static void
set_one(uint64_t *bits, const struct command *command, bool on)
{
	uint64_t bit = 1ULL << command->number % 64;
	bits[command->number / 64] = (bits[command->number / 64] & ~bit) | (on ? bit : 0);
}

static void
set_with_subcommands(uint64_t *bits, const struct command *command, bool on)
{
	set_one(bits, command, on);
	for (unsigned i = 0; i < command->subcommand_count; i++)
		set_one(bits, &command->subcommands[i], on);
}

static void
set_category(const struct description *d, uint64_t *bits, uint32_t category, bool on)
{
	for (size_t i = 0; i < d->table->row_count; i++)
		if ((d->table->rows[i].categories & category) != 0)
			set_with_subcommands(bits, &d->table->rows[i], on);
}

/* How many commands of a category are as the rule for all of them would have them, and how many are not. */
static void
count_category(const struct description *d, uint32_t category, size_t *ret_same, size_t *ret_different)
{
	*ret_same = *ret_different = 0;
	for (size_t i = 0; i < d->table->row_count; i++) {
		const struct command *row = &d->table->rows[i];
		if ((row->categories & category) == 0)
			continue;
		if (has(d->left, row) == d->adds)
			++*ret_same;
		else
			++*ret_different;
	}
}

/* The category that fits best of those that are not named yet: it has the fewest exceptions, and of as many the most that fit.
 * 0: none fits better than it does not. */
static uint32_t
best_category(const struct description *d, uint32_t named)
{
	size_t least = SIZE_MAX, most = 0;
	uint32_t best = 0;
	for (unsigned i = 0; i < command_category_words.count; i++) {
		size_t same, different;
		uint32_t category = 1U << i;
		if ((named & category) != 0)
			continue;
		count_category(d, category, &same, &different);
		if (same > different && (different < least || (different == least && same > most))) {
			best = category;
			least = different;
			most = same;
		}
	}
	return best;
}

static int
name_categories(struct description *d)
{
	uint32_t named = 0, category;
	int status = SETT_OK;
	while (status == SETT_OK && (category = best_category(d, named)) != 0) {
		set_category(d, d->made, category, d->adds);
		set_category(d, d->left, category, !d->adds);
		named |= category;
		status = add(d->text, d->adds ? " +@" : " -@");
		if (status == SETT_OK)
			status = add(d->text, command_category_words.words[__builtin_ctz(category)]);
	}
	return status;
}

static int
name_first_arguments(struct description *d, const struct command *command)
{
	int status = SETT_OK;
	for (size_t i = 0; i < d->selector->first_argument_count && status == SETT_OK; i++) {
		const struct acl_first_argument *a = &d->selector->first_arguments[i];
		if (a->command != command->number)
			continue;
		status = add_bytes(d->text, " +", bytes_of_string(command->full_name));
		if (status == SETT_OK)
			status = add_bytes(d->text, "|", a->word);
	}
	return status;
}

/* A command, then its subcommands, where they differ from what the rules so far make of them. */
static int
name_command(struct description *d, const struct command *command)
{
	bool on = has(d->selector->commands, command);
	int status = SETT_OK;
	if (on != has(d->made, command)) {
		status = add_bytes(d->text, on ? " +" : " -", bytes_of_string(command->full_name));
		set_with_subcommands(d->made, command, on);
	}
	for (unsigned i = 0; i < command->subcommand_count && status == SETT_OK; i++)
		status = name_command(d, &command->subcommands[i]);
	return status == SETT_OK && !on ? name_first_arguments(d, command) : status;
}

int
acl_describe_commands(const struct acl_selector *s, const struct acl_terms *terms, struct buffer *ret)
{
	struct description d = {.selector = s,
				.table = terms->commands,
				.adds = (s->flags & ACL_FUTURE_COMMANDS) == 0,
				.text = ret};
	memset(d.made, d.adds ? 0 : 0xff, sizeof(d.made));
	memcpy(d.left, s->commands, sizeof(d.left));
	int status = add(ret, d.adds ? "-@all" : "+@all");
	if (status == SETT_OK)
		status = name_categories(&d);
	for (size_t i = 0; i < terms->commands->top_count && status == SETT_OK; i++)
		status = name_command(&d, &terms->commands->rows[i]);
	assert(status != SETT_OK || memcmp(d.made, s->commands, sizeof(d.made)) == 0);
	return status;
}

/* ---- keys, channels ---- */

static int
describe_patterns(const struct acl_patterns *patterns, const char *sign, struct buffer *ret)
{
	static const char *const signs[] = {"", "%R~", "%W~", "~"}; /* by rights */
	int status = SETT_OK;
	for (size_t i = 0; i < patterns->count && status == SETT_OK; i++) {
		const struct acl_pattern *p = &patterns->items[i];
		status = add(ret, i > 0 ? " " : "");
		if (status == SETT_OK)
			status = add_bytes(ret, sign != NULL ? sign : signs[p->rights], p->text);
	}
	return status;
}

int
acl_describe_keys(const struct acl_selector *s, struct buffer *ret)
{
	if ((s->flags & ACL_ALL_KEYS) != 0)
		return add(ret, "~*");
	return describe_patterns(&s->keys, NULL, ret);
}

int
acl_describe_channels(const struct acl_selector *s, struct buffer *ret)
{
	if ((s->flags & ACL_ALL_CHANNELS) != 0)
		return add(ret, "&*");
	return describe_patterns(&s->channels, "&", ret);
}

/* ---- whole users ---- */

static int
describe_selector(const struct acl_selector *s, const struct acl_terms *terms, struct buffer *ret)
{
	size_t begin = ret->size;
	int status = acl_describe_keys(s, ret);
	if (status == SETT_OK && ret->size > begin)
		status = add(ret, " ");
	if (status == SETT_OK && (s->flags & ACL_ALL_CHANNELS) == 0)
		status = add(ret, s->channels.count > 0 ? "resetchannels " : "resetchannels");
	if (status == SETT_OK)
		status = acl_describe_channels(s, ret);
	if (status == SETT_OK)
		status = add(ret, " ");
	return status == SETT_OK ? acl_describe_commands(s, terms, ret) : status;
}

int
acl_describe_user(const struct acl_user *u, const struct acl_terms *terms, struct buffer *ret)
{
	int status = SETT_OK;
	for (unsigned i = 0; i < ACL_USER_FLAGS && status == SETT_OK; i++)
		if ((u->flags & 1U << i) != 0)
			status = add_bytes(ret, acl_user_flag_words[i], BYTES_LITERAL(" "));
	for (size_t i = 0; i < u->password_count && status == SETT_OK; i++) {
		status = add_bytes(ret, "#", bytes_of(u->passwords[i].hash, ACL_HASH_SIZE));
		if (status == SETT_OK)
			status = add(ret, " ");
	}
	for (const struct acl_selector *s = u->root; s != NULL && status == SETT_OK; s = s->next) {
		status = add(ret, s == u->root ? "" : " (");
		if (status == SETT_OK)
			status = describe_selector(s, terms, ret);
		if (status == SETT_OK)
			status = add(ret, s == u->root ? "" : ")");
	}
	return status;
}

int
acl_describe_line(const struct acl_user *u, const struct acl_terms *terms, struct buffer *ret)
{
	int status = add_bytes(ret, "user ", u->name);
	if (status == SETT_OK)
		status = add(ret, " ");
	return status == SETT_OK ? acl_describe_user(u, terms, ret) : status;
}
