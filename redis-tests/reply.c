/* Reply trees: see reply.h. The text grows in a memory stream; sorting compares rendered elements. */
#include "reply.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer texts are abbreviated. */
#define TEXT_SHOWN 2000

static void *
checked(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return memory;
}

struct reply *
reply_new(char type)
{
	struct reply *reply = checked(calloc(1, sizeof(*reply)));

	reply->type = reply->header = type;
	return reply;
}

void
reply_append_text(struct reply *reply, const void *data, size_t size)
{
	/* Doubles at powers of two, so that streaming a large bulk stays linear. */
	size_t old = reply->size + 1, need = reply->size + size + 1;

	if (reply->text == NULL || (old ^ need) > (old & need)) {
		size_t capacity = 64;
		while (capacity < need)
			capacity *= 2;
		reply->text = checked(realloc(reply->text, capacity * 2));
	}
	if (size > 0)
		memcpy(reply->text + reply->size, data, size);
	reply->size += size;
	reply->text[reply->size] = '\0';
}

void
reply_append_child(struct reply *reply, struct reply *child)
{
	if ((reply->count & (reply->count - 1)) == 0) {
		size_t capacity = reply->count == 0 ? 1 : reply->count * 2;
		reply->children = checked(realloc(reply->children, capacity * sizeof(*reply->children)));
	}
	reply->children[reply->count++] = child;
}

void
reply_free(struct reply *reply)
{
	if (reply == NULL)
		return;
	for (size_t i = 0; i < reply->count; i++)
		reply_free(reply->children[i]);
	free(reply->children);
	free(reply->text);
	free(reply);
}

static void
render_text(FILE *out, const char *text, size_t size)
{
	size_t shown = size <= TEXT_SHOWN ? size : TEXT_SHOWN / 4;
	uint64_t hash = 14695981039346656037u;

	fputc('"', out);
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\r' || c == '\n')
			fputs(c == '\r' ? "\\r" : "\\n", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c >= ' ' && c < 127)
			fputc(c, out);
		else
			fprintf(out, "\\x%02x", c);
	}
	fputc('"', out);
	if (shown == size)
		return;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	fprintf(out, "...(%zu bytes, hash %016llx)", size, (unsigned long long)hash);
}

static void
render(FILE *out, const struct reply *reply)
{
	bool map = reply->type == '%' || reply->type == '|';

	switch (reply->type) {
	case '_':
		fprintf(out, "(nil %c)", reply->header);
		break;
	case ':':
		fprintf(out, "(integer) %lld", (long long)reply->integer);
		break;
	case '#':
		fputs(reply->integer ? "(true)" : "(false)", out);
		break;
	case '*':
	case '%':
	case '~':
	case '|':
	case '>':
		fprintf(out, "%c%c", reply->type, map ? '{' : '[');
		for (size_t i = 0; i < reply->count; i++) {
			if (i > 0)
				fputs(map && i % 2 == 1 ? ": " : ", ", out);
			render(out, reply->children[i]);
		}
		fputc(map ? '}' : ']', out);
		break;
	case '+':
	case '-':
		fprintf(out, "%c%.*s", reply->type, (int)reply->size, reply->text != NULL ? reply->text : "");
		break;
	default:
		fputc(reply->type, out);
		render_text(out, reply->text != NULL ? reply->text : "", reply->size);
		break;
	}
}

char *
reply_render(const struct reply *reply)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = checked(open_memstream(&text, &size));

	render(out, reply);
	if (fclose(out) != 0)
		checked(NULL);
	return text;
}

struct sortable {
	char *text;
	struct reply *first;
	struct reply *second;
};

static int
compare_sortable(const void *a, const void *b)
{
	return strcmp(((const struct sortable *)a)->text, ((const struct sortable *)b)->text);
}

static void
sort_children(struct reply *reply)
{
	size_t width = reply->type == '%' || reply->type == '|' ? 2 : 1;
	size_t count = reply->count / width;

	if (count < 2)
		return;
	struct sortable *rows = checked(calloc(count, sizeof(*rows)));
	for (size_t i = 0; i < count; i++) {
		rows[i].first = reply->children[i * width];
		rows[i].second = width == 2 ? reply->children[i * 2 + 1] : NULL;
		rows[i].text = reply_render(rows[i].first);
	}
	qsort(rows, count, sizeof(*rows), compare_sortable);
	for (size_t i = 0; i < count; i++) {
		reply->children[i * width] = rows[i].first;
		if (width == 2)
			reply->children[i * 2 + 1] = rows[i].second;
		free(rows[i].text);
	}
	free(rows);
}

void
reply_sort(struct reply *reply, int deep)
{
	for (size_t i = 0; deep && i < reply->count; i++)
		reply_sort(reply->children[i], deep);
	sort_children(reply);
}

static void
remove_children(struct reply *reply, size_t at, size_t count)
{
	for (size_t i = at; i < at + count; i++)
		reply_free(reply->children[i]);
	memmove(reply->children + at, reply->children + at + count,
		(reply->count - at - count) * sizeof(*reply->children));
	reply->count -= count;
}

void
reply_remove(struct reply *reply, const char *key)
{
	for (size_t i = 0; reply->count % 2 == 0 && i < reply->count;) {
		const struct reply *child = reply->children[i];
		if (child->type == '$' && child->size == strlen(key) &&
		    memcmp(child->text, key, child->size) == 0)
			remove_children(reply, i, 2);
		else
			i += 2;
	}
	for (size_t i = 0; i < reply->count; i++)
		reply_remove(reply->children[i], key);
}

void
reply_keep_keys(struct reply *reply)
{
	for (size_t i = 1; i < reply->count; i += 2) {
		if (reply->children[i]->count > 0) {
			reply_keep_keys(reply->children[i]);
			continue;
		}
		reply_free(reply->children[i]);
		reply->children[i] = reply_new('_');
	}
}

void
reply_hide_numbers(struct reply *reply)
{
	size_t to = 0;

	reply->integer = 0;
	for (size_t i = 0; i < reply->size; i++) {
		bool digit = isdigit((unsigned char)reply->text[i]);
		if (digit && to > 0 && reply->text[to - 1] == '#')
			continue;
		reply->text[to++] = digit ? '#' : reply->text[i];
	}
	if (reply->text != NULL)
		reply->text[to] = '\0';
	reply->size = to;
	for (size_t i = 0; i < reply->count; i++)
		reply_hide_numbers(reply->children[i]);
}
