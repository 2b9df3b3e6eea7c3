/* Words of a configuration line. See words.h. */
#include "config/words.h"

#include <ctype.h>

#include "storage/status.h"

struct splitter {
	const uint8_t *at, *end;
	struct words *words;
	size_t *offsets; /* start and size of each word: `text` moves while it grows */
	size_t capacity;
};

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (uint8_t)tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a double-quoted word behind the backslash. */
static uint8_t
unescape(struct splitter *s)
{
	uint8_t c = *s->at;
	if (c == 'x' && s->end - s->at > 2 && hex_digit(s->at[1]) >= 0 && hex_digit(s->at[2]) >= 0) {
		uint8_t value = (uint8_t)(hex_digit(s->at[1]) * 16 + hex_digit(s->at[2]));
		s->at += 3;
		return value;
	}
	s->at++;
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	default:
		return c;
	}
}

/* The rest of a quoted run, behind its opening quote. */
static int
split_quoted(struct splitter *s, uint8_t quote)
{
	while (s->at < s->end) {
		uint8_t c = *s->at++;
		if (c == quote)
			return s->at == s->end || isspace(*s->at) ? SETT_OK : SETT_INVALID;
		if (c == '\\' && s->at < s->end) {
			if (quote == '"')
				c = unescape(s);
			else if (*s->at == '\'')
				c = *s->at++;
		}
		int status = buffer_append(&s->words->text, &c, 1);
		if (status != SETT_OK)
			return status;
	}
	return SETT_INVALID;
}

static int
split_word(struct splitter *s)
{
	while (s->at < s->end && !isspace(*s->at)) {
		uint8_t c = *s->at++;
		if (c == '"' || c == '\'') {
			int status = split_quoted(s, c);
			if (status != SETT_OK)
				return status;
			continue;
		}
		int status = buffer_append(&s->words->text, &c, 1);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
note_word(struct splitter *s, size_t start)
{
	if (s->words->count == s->capacity) {
		size_t capacity = s->capacity ? s->capacity * 2 : 8;
		size_t *grown = realloc(s->offsets, capacity * 2 * sizeof(size_t));
		if (grown == NULL)
			return SETT_NO_MEMORY;
		s->offsets = grown;
		s->capacity = capacity;
	}
	s->offsets[s->words->count * 2] = start;
	s->offsets[s->words->count * 2 + 1] = s->words->text.size - start;
	s->words->count++;
	return buffer_append(&s->words->text, "", 1);
}

int
words_split(struct bytes line, struct words *ret)
{
	struct splitter s = {.at = line.data, .end = line.data + line.size, .words = ret};
	int status = SETT_OK;
	for (;;) {
		while (s.at < s.end && isspace(*s.at))
			s.at++;
		if (s.at == s.end)
			break;
		size_t start = ret->text.size;
		status = split_word(&s);
		if (status == SETT_OK)
			status = note_word(&s, start);
		if (status != SETT_OK)
			goto out;
	}
	ret->items = calloc(ret->count ? ret->count : 1, sizeof *ret->items);
	if (ret->items == NULL) {
		status = SETT_NO_MEMORY;
		goto out;
	}
	for (size_t i = 0; i < ret->count; i++)
		ret->items[i] = bytes_of(ret->text.data + s.offsets[i * 2], s.offsets[i * 2 + 1]);
out:
	free(s.offsets);
	if (status != SETT_OK)
		words_free(ret);
	return status;
}

void
words_free(struct words *words)
{
	free(words->items);
	buffer_free(&words->text);
	*words = (struct words){0};
}

int
words_append_quoted(struct buffer *buffer, struct bytes text)
{
	int status = buffer_append(buffer, "\"", 1);
	for (size_t i = 0; i < text.size && status == SETT_OK; i++) {
		uint8_t c = text.data[i];
		char escaped[8];
		static const char letters[] = "\nn\rr\tt\aa\bb";
		const char *found = c ? memchr(letters, c, sizeof letters - 1) : NULL;
		if (c == '\\' || c == '"')
			snprintf(escaped, sizeof escaped, "\\%c", c);
		else if (found != NULL && c < ' ')
			snprintf(escaped, sizeof escaped, "\\%c", found[1]);
		else if (c >= ' ' && c < 127)
			snprintf(escaped, sizeof escaped, "%c", c);
		else
			snprintf(escaped, sizeof escaped, "\\x%02x", c);
		status = buffer_append(buffer, escaped, strlen(escaped));
	}
	return status == SETT_OK ? buffer_append(buffer, "\"", 1) : status;
}
