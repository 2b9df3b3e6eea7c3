/* See aof_manifest.h. */
#include "moving/aof_manifest.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/words.h"

enum { LINE_MAX_SIZE = 1024, LEAST_WORDS = 6, SHOWN_MAX = 100 };

struct line {
	struct bytes name;
	int64_t sequence;
	char type; /* 0: none was given */
};

struct parser {
	struct aof_manifest *manifest;
	const char *path;
	struct sett_error *error;
	int64_t sequence; /* of the last file that follows the base */
};

static int
refuse(const struct parser *p, const char *what, struct bytes line)
{
	return sett_error_set(p->error, SETT_INVALID, 0, "%s: %s: %.*s", p->path, what,
			      line.size < SHOWN_MAX ? (int)line.size : SHOWN_MAX, (const char *)line.data);
}

static bool
is_key(struct bytes word, const char *key)
{
	return word.size == strlen(key) && strncasecmp((const char *)word.data, key, word.size) == 0;
}

/* False: it is no line of a manifest. */
static bool
read_words(const struct words *words, struct line *ret)
{
	*ret = (struct line){0};
	if (words->count < LEAST_WORDS || words->count % 2 != 0)
		return false;
	for (size_t i = 0; i < words->count; i += 2) {
		struct bytes value = words->items[i + 1];
		if (is_key(words->items[i], "file"))
			ret->name = value;
		else if (is_key(words->items[i], "seq"))
			ret->sequence = strtoll((const char *)value.data, NULL, 10);
		else if (is_key(words->items[i], "type"))
			ret->type = value.size > 0 ? (char)value.data[0] : 0;
	}
	return ret->name.size > 0 && ret->name.size <= NAME_MAX && ret->sequence > 0 && ret->type != 0;
}

static int
add_name(struct parser *p, struct bytes name, size_t at)
{
	struct aof_manifest *m = p->manifest;
	char **more = reallocarray(m->names, m->count + 1, sizeof(*more));
	char *copy = strndup((const char *)name.data, name.size);
	if (more != NULL)
		m->names = more;
	if (more == NULL || copy == NULL) {
		free(copy);
		return sett_error_set(p->error, SETT_NO_MEMORY, 0, "out of memory");
	}
	memmove(more + at + 1, more + at, (m->count - at) * sizeof(*more));
	more[at] = copy;
	m->count++;
	return SETT_OK;
}

static int
take(struct parser *p, const struct line *line, struct bytes text)
{
	struct aof_manifest *m = p->manifest;
	if (memchr(line->name.data, '/', line->name.size) != NULL ||
	    memchr(line->name.data, '\\', line->name.size) != NULL)
		return refuse(p, "File can't be a path, just a filename", text);
	switch (line->type) {
	case 'b':
		if (m->has_base)
			return refuse(p, "Found duplicate base file information", text);
		m->has_base = true;
		return add_name(p, line->name, 0);
	case 'i':
		if (line->sequence <= p->sequence)
			return refuse(p, "Found a non-monotonic sequence number", text);
		p->sequence = line->sequence;
		return add_name(p, line->name, m->count);
	case 'h':
		return SETT_OK;
	default:
		return refuse(p, "Unknown AOF file type", text);
	}
}

static int
parse_line(struct parser *p, struct bytes text)
{
	struct words words = {0};
	struct line line;
	if (text.size > 0 && text.data[0] == '#')
		return SETT_OK;
	if (text.size > 0 && text.data[text.size - 1] == '\r')
		text.size--;
	int status = words_split(text, &words);
	if (status == SETT_NO_MEMORY)
		return sett_error_set(p->error, status, 0, "out of memory");
	if (status != SETT_OK)
		return refuse(p, "Invalid AOF manifest file format", text);
	status = read_words(&words, &line) ? take(p, &line, text)
					   : refuse(p, "Invalid AOF manifest file format", text);
	words_free(&words);
	return status;
}

static int
parse_lines(struct parser *p, struct bytes text)
{
	int status = text.size > 0 ? SETT_OK : refuse(p, "Found an empty AOF manifest", text);
	while (status == SETT_OK && text.size > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.size);
		size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
		/* A line that is cut off could name another file. */
		if (end == NULL || size >= LINE_MAX_SIZE)
			return refuse(p, "The AOF manifest file contains too long line", text);
		status = parse_line(p, bytes_of(text.data, size));
		text = bytes_of(text.data + size + 1, text.size - size - 1);
	}
	return status;
}

int
aof_manifest_parse(struct bytes text, const char *path, struct aof_manifest *ret, struct sett_error *error)
{
	*ret = (struct aof_manifest){0};
	struct parser p = {.manifest = ret, .path = path, .error = error};
	int status = parse_lines(&p, text);
	if (status != SETT_OK)
		aof_manifest_free(ret);
	return status;
}

void
aof_manifest_free(struct aof_manifest *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->names[i]);
	free(m->names);
	*m = (struct aof_manifest){0};
}
