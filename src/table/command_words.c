#include "table/command_words.h"

#include <assert.h>
#include <stdio.h>

#include "table/command_docs.h"
#include "table/command_table.h"

#define WORDS(array)                                     \
	{                                                \
		(array), sizeof(array) / sizeof *(array) \
	}

/* Each word has the place of its bit: the last one must have the last bit. */
#define LAST_BIT(array) (1U << (sizeof(array) / sizeof *(array)-1))

static const char *const flags[] = {
	"write",         "readonly",          "denyoom",          "module",   "admin",
	"pubsub",        "noscript",          "blocking",         "loading",  "stale",
	"skip_monitor",  "skip_slowlog",      "asking",           "fast",     "no_auth",
	"may_replicate", "no_mandatory_keys", "no_async_loading", "no_multi", "movablekeys",
	"allow_busy",
};
static_assert(LAST_BIT(flags) == COMMAND_ALLOW_BUSY, "a word a flag");
const struct bit_words command_flag_words = WORDS(flags);

static const char *const categories[] = {
	"keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
	"string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
	"fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};
static_assert(LAST_BIT(categories) == CATEGORY_SCRIPTING, "a word a category");
const struct bit_words command_category_words = WORDS(categories);

static const char *const key_flags[] = {
	"RO",     "RW",     "OW",      "RM",         "access",         "update",
	"insert", "delete", "not_key", "incomplete", "variable_flags",
};
static_assert(LAST_BIT(key_flags) == KEY_VARIABLE_FLAGS, "a word a flag");
const struct bit_words key_flag_words = WORDS(key_flags);

static const char *const argument_flags[] = {"optional", "multiple", "multiple_token"};
static_assert(LAST_BIT(argument_flags) == ARGUMENT_MULTIPLE_TOKEN, "a word a flag");
const struct bit_words argument_flag_words = WORDS(argument_flags);

static const char *const doc_flags[] = {"deprecated", "syscmd"};
static_assert(LAST_BIT(doc_flags) == DOC_SYSCMD, "a word a flag");
const struct bit_words doc_flag_words = WORDS(doc_flags);

void
reply_words(struct resp_writer *reply, const struct bit_words *words, uint32_t bits, const char *prefix)
{
	char text[64];
	uint32_t shown = bits & (uint32_t)((1ULL << words->count) - 1);
	resp_set(reply, (size_t)__builtin_popcount(shown));
	for (unsigned i = 0; i < words->count; i++)
		if (shown & 1U << i) {
			snprintf(text, sizeof text, "%s%s", prefix, words->words[i]);
			resp_status(reply, text);
		}
}

uint32_t
word_bit(const struct bit_words *words, struct bytes word)
{
	for (unsigned i = 0; i < words->count; i++)
		if (argument_is(word, words->words[i]))
			return 1U << i;
	return 0;
}
